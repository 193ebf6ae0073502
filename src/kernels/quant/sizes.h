/* Sizes that the planner and the kernels of integer products agree on. */
#ifndef IFD_KERNELS_QUANT_SIZES_H
#define IFD_KERNELS_QUANT_SIZES_H

#include "base/checked.h"
#include "kernels/quant/quant.h"

enum { IFD_QUANT_TILE = 16 }; /* rows of an AMX tile */

/* Where no instruction sums bytes by fours: rows whose sums are kept; k of all panels whose are. Of so many
 * quads of A one may have a byte beyond its bounds. */
enum { IFD_QUANT_KEPT_ROWS = 24, IFD_QUANT_KEPT_K = 1024, IFD_QUANT_SELDOM = 8 };

/* Quads of a packed column: whole tiles of 16. */
static inline int64_t ifd_quant_quads(int64_t k) { return ifd_ceil_div(k, 64) * 16; }

/* A block of rows that are packed together: they stay in L1 while B passes from L2, or in L2 where B does not
 * stay there; pixels that several taps read stay in L2. What a run lays out in its scratch memory, in
 * bytes. */
typedef struct ifd_quant_sizes {
  int64_t rows, words_rows, stride;                  /* rows: of bytes; of words, that these become */
  int64_t pieces, piece;                             /* of a row */
  int64_t plane;                                     /* of lines: from a plane to the next */
  size_t words, to, from, sums, offsets, spare, len; /* behind the packed rows; words: these as such, or
                                                        within bounds; spare: a line of C */
  size_t add, bases, first, at, above, below;        /* of bounded rows; see ifd_quant_rests */
} ifd_quant_sizes;

/* Tiles of 6 and 12 rows, or of 16. */
static inline int64_t ifd_quant_block_rows(int64_t m, int64_t wish, ifd_dot dot) {
  const int64_t least = dot == IFD_DOT_PLAIN ? 24 : 32;
  return ifd_min_i64(m, ifd_max_i64(least, wish / least * least));
}

static inline size_t ifd_quant_whole(size_t bytes) { return (bytes + 63) / 64 * 64; }

enum { IFD_QUANT_L1 = 3 << 13, IFD_QUANT_L2 = 1 << 18, IFD_QUANT_NEAR = 1 << 19 };

/* One more step of all kept rows, with two rests of a quad, may go beyond the most that are worth while. */
static inline ifd_quant_sizes ifd_quant_bounded_sizes(ifd_quant_sizes z, const ifd_k_quant_product *p) {
  const int64_t step = (2 * IFD_QUANT_KEPT_ROWS + 2) * 16;
  const size_t most = (size_t)(z.rows * z.stride / (4 * IFD_QUANT_SELDOM) + step);
  const int64_t firsts = ifd_ceil_div(z.rows, IFD_QUANT_KEPT_ROWS) + 1;
  z.add = z.len;
  z.bases = z.add + ifd_quant_whole(sizeof(int32_t) * (size_t)p->n + 64);
  z.first = z.bases + (size_t)z.stride;
  z.at = z.first + ifd_quant_whole(sizeof(int64_t) * (size_t)firsts);
  z.above = z.at + ifd_quant_whole(sizeof(int32_t) * most);
  z.below = z.above + ifd_quant_whole(sizeof(int32_t) * most);
  z.len = z.below + ifd_quant_whole(sizeof(int32_t) * most);
  return z;
}

static inline ifd_quant_sizes ifd_quant_sizes_of(const ifd_k_quant_product *p, int64_t m) {
  ifd_quant_sizes z = {.pieces = 1, .piece = p->k, .stride = ifd_max_i64(1, ifd_ceil_div(p->k, 64)) * 64};
  const ifd_k_quant_lines *l = p->lines;
  size_t a_len;
  if (l) {
    int64_t phases = l->axis[0].phases * l->axis[1].phases;
    z.stride = l->step * l->pixel;
    z.pieces = l->axis[0].pieces * l->axis[1].pieces, z.piece = l->piece;
    z.rows = ifd_quant_block_rows(m, IFD_QUANT_L2 / (z.stride * phases) - l->reach, p->dot);
    z.plane = (z.rows + l->reach + IFD_QUANT_TILE) * z.stride + 64;
    a_len = (size_t)(z.plane * phases);
  } else {
    bool near = p->n * z.stride <= IFD_QUANT_NEAR;
    z.rows = ifd_quant_block_rows(m, (near ? IFD_QUANT_L1 : 2 * IFD_QUANT_L2) / z.stride, p->dot);
    a_len = (size_t)(ifd_max_i64(z.rows, IFD_QUANT_TILE) * z.stride);
  }
  const size_t rows = (size_t)ifd_max_i64(z.rows, IFD_QUANT_TILE);
  z.words_rows = ifd_quant_block_rows(z.rows, z.rows / 2, p->dot);
  z.words = ifd_quant_whole(a_len);
  z.to = z.words + (p->dot == IFD_DOT_PLAIN ? 2 * z.words : 0);
  z.from = z.to + ifd_quant_whole(sizeof(char *) * rows);
  z.sums = z.from + (p->finish.out == IFD_K_QUANT_SUM ? ifd_quant_whole(sizeof(char *) * rows) : 0);
  z.offsets = z.sums + ifd_quant_whole(sizeof(int32_t) * rows);
  z.spare = z.offsets + ifd_quant_whole(sizeof(int64_t) * (size_t)z.pieces);
  z.len = z.spare + ifd_quant_whole(sizeof(int32_t) * (size_t)p->n);
  return p->dot == IFD_DOT_PLAIN ? ifd_quant_bounded_sizes(z, p) : z;
}

/* What some outputs of a line need that are summed by quads of lines of taps: their columns, for 64
 * channels. */
enum { IFD_QUANT_CHANNELS = 64, IFD_QUANT_ONCE = 32 };
typedef struct ifd_quant_quads_sizes {
  int64_t groups;
  size_t weights, columns, lines, len; /* behind the columns, which are 64-aligned as the others */
} ifd_quant_quads_sizes;

static inline ifd_quant_quads_sizes ifd_quant_quads_sizes_of(const ifd_k_conv_shape *s) {
  int64_t lines = s->kernel[IFD_K_D] * s->kernel[IFD_K_H], n = ifd_min_i64(IFD_QUANT_ONCE, s->out[IFD_K_W]);
  int64_t columns = (n - 1) * s->stride[IFD_K_W] + (s->kernel[IFD_K_W] - 1) * s->dilation[IFD_K_W] + 1;
  ifd_quant_quads_sizes z = {.groups = ifd_ceil_div(lines, 4)};
  const size_t quads = (size_t)z.groups * IFD_QUANT_CHANNELS * 4;
  z.weights = (size_t)columns * quads;
  z.columns = z.weights + (size_t)s->kernel[IFD_K_W] * quads;
  z.lines = z.columns + 3 * IFD_QUANT_CHANNELS * sizeof(float);
  z.len = z.lines + ifd_quant_whole((size_t)lines * sizeof(char *));
  return z;
}

/* What some outputs of a line need whose taps are summed by pairs of lines, for as many channels or less. Of
 * a depth of taps, a line of outputs meets so many pairs at most, which stay for the next ones: of each line
 * that a dilation skips, or, if these are too large, of the last one. */
enum { IFD_QUANT_FOUR = 4 };
typedef struct ifd_quant_depthwise_sizes {
  int64_t taps, once;                    /* outputs */
  int64_t pairs, phases, columns;        /* of a pair */
  size_t weights, copies, held, at, len; /* bytes, behind the pairs */
} ifd_quant_depthwise_sizes;

/* Pairs that hold a column of taps, the first of which is in the first or the second line of one. */
static inline int64_t ifd_quant_line_pairs(const ifd_k_conv_shape *s, int64_t second) {
  return (s->kernel[IFD_K_H] + second + 1) / 2;
}

static inline ifd_quant_depthwise_sizes ifd_quant_depthwise_sizes_of(const ifd_k_conv_shape *s) {
  const int64_t width = s->out[IFD_K_W], blocks = ifd_ceil_div(ifd_min_i64(s->m, IFD_QUANT_CHANNELS), 16);
  const int64_t reach = (s->kernel[IFD_K_W] - 1) * s->dilation[IFD_K_W];
  ifd_quant_depthwise_sizes z = {.taps = s->kernel[IFD_K_D] * s->kernel[IFD_K_H] * s->kernel[IFD_K_W],
                                 .pairs = ifd_quant_line_pairs(s, 1)};
  const int64_t near = 2 * IFD_QUANT_L1; /* of which a block reads a part */
  const int64_t column = s->kernel[IFD_K_D] * z.pairs * blocks * 64;
  const int64_t most = ifd_max_i64(16, (near / column - reach) / s->stride[IFD_K_W]);
  z.once = ifd_ceil_div(ifd_ceil_div(width, ifd_ceil_div(width, most)), IFD_QUANT_FOUR) * IFD_QUANT_FOUR;
  z.columns = (z.once - 1) * s->stride[IFD_K_W] + reach + 1;
  z.phases = s->dilation[IFD_K_H] * z.columns * column > IFD_QUANT_L2 ? 1 : s->dilation[IFD_K_H];
  const int64_t places = s->kernel[IFD_K_D] * z.phases * z.pairs,
                taps = s->kernel[IFD_K_D] * z.pairs * s->kernel[IFD_K_W];
  z.weights = (size_t)(z.phases * z.columns * column);
  z.copies = z.weights + (size_t)(2 * IFD_QUANT_CHANNELS * taps) * 4;
  z.held = z.copies + (s->m < 16 ? ifd_quant_whole((size_t)s->in[IFD_K_W] * 32) : 0);
  z.at = z.held + ifd_quant_whole((size_t)places * sizeof(int64_t));
  z.len = z.at + ifd_quant_whole((size_t)taps * sizeof(char *));
  return z;
}

#endif
