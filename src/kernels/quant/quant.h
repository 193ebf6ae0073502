/* Products of 8-bit integers, exact in 32 bits: C = finish(A · B), A [m, k] of bytes, B [k, n] packed.
 *
 * A's bytes are read as uint8, whose zero point is a_zero; int8 operands are offset by 128, and so is their
 * zero point. B is packed as int8 in panels of 16 columns by quads of k, [ceil(n / 16)][quads][16][4], zeros
 * beyond n and k, where quads is ceil(k / 4) rounded up to whole tiles of 16; behind it stand the sums of its
 * columns, int32, padded to panels. Sums wrap modulo 2^32. Since integers add exactly, no order, split, ISA
 * or instruction changes a bit; what follows in floats is the same few operations everywhere.
 *
 * Where products of bytes are added by pairs in 16 bits that saturate (vpmaddubsw), A's bytes keep within
 * bounds: behind the sums of columns stands, for each k, the greatest byte whose pair fits whatever the
 * column, and then the greatest whose pair fits together with that of the other quad of two. What a byte of A
 * has beyond that is added by itself. Where few bytes have some, products are added by fours; where too many
 * have some even of pairs, as 16-bit words. */
#ifndef IFD_KERNELS_QUANT_QUANT_H
#define IFD_KERNELS_QUANT_QUANT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cpu.h"
#include "kernels/conv/conv.h"
#include "kernels/pool/pool.h"

/* real(a) op real(b), quantized, each step rounded as DequantizeLinear, op and QuantizeLinear round:
 * y = the low byte of rint(min(max((ra op rb) / scale, lo), hi)) + zero, ra = (a - zero) * scale of a. */
typedef struct ifd_k_quant_operand {
  bool is_signed;
  int32_t zero;
  float scale;
} ifd_k_quant_operand;
typedef struct ifd_k_quant_binary {
  bool multiplies; /* else adds */
  ifd_k_quant_operand a, b;
  float scale, lo, hi;
  int32_t zero;
  /* The bytes of y by one rounding: of a * fold_a + b * fold_b + shift, or (a - zero) * (b - zero) * fold_a +
   * shift, of bytes as uint8. Up to `sure` from the next whole number it is as above; 0: nowhere. */
  float fold_a, fold_b, shift, sure;
} ifd_k_quant_binary;
/* Fills in the last four; without, they are 0. */
void ifd_k_quant_fold(ifd_k_quant_binary *q);

typedef enum ifd_k_quant_out {
  IFD_K_QUANT_INT32,
  IFD_K_QUANT_FLOAT,
  IFD_K_QUANT_INT8,
  IFD_K_QUANT_SUM
} ifd_k_quant_out;
/* Bytes of a result. */
static inline int64_t ifd_k_quant_size(ifd_k_quant_out out) { return out >= IFD_K_QUANT_INT8 ? 1 : 4; }

/* What becomes of a sum of column j and row i:
 *
 *     t = sum + add[j] - b_zero[j] * row_sum[i]                                INT32: t
 *     v = min(max(float(t) * scale[j] + shift[j], lo), hi), one fma             FLOAT: v
 *                                                                       INT8: the low byte of rint(v) + zero
 *                             SUM: of these bytes, as operand a of `sum`, and of a product's `other` as its b
 * The arrays are padded to whole panels. A NaN becomes lo. */
typedef struct ifd_k_quant_finish {
  ifd_k_quant_out out;
  const int32_t *add;
  const int32_t *b_zero; /* NULL: all 0 */
  const float *scale, *shift;
  float lo, hi;
  int32_t zero;
  const ifd_k_quant_binary *sum; /* SUM alone; an addition, of whose a the zero point is `zero` */
} ifd_k_quant_finish;

/* Images whose channels lie together, [N, D, H, W, C], as the operand of a convolution. Row i of the product
 * is output place i of all samples, the bytes of a row are [tap][channel of the group]. */
typedef struct ifd_k_quant_image {
  const ifd_k_conv_shape *shape;
  const uint8_t *x;   /* from the group's first channel on */
  const uint8_t *end; /* of all images */
  uint8_t flip;       /* 128 where x is int8: bytes ^ flip are uint8 */
  uint8_t fill;       /* the zero point of uint8: what padding holds */
} ifd_k_quant_image;

/* Rows of a convolution that are not gathered: pixels of the padded image are copied to planes, one for each
 * place that a stride skips and a row reads ([phase_h][phase_w], height lines of width × step pixels for each
 * sample), and there a row's taps lie `step` pixels behind those of the row before, in pieces: one tap, or a
 * line of them. Where these are short, `merge` lines of the image stand side by side as one, the first taps
 * of each, then the second ones …; what a piece reads beyond its taps meets weights of 0. Rows go on where a
 * line of outputs ends: (i / width, i % width) is an output place only where it lies in the output. */
typedef struct ifd_k_quant_lines {
  int64_t merge, step, pixel; /* bytes of a pixel's channels in the group, of all lines side by side */
  int64_t width, height, samples;
  /* Of lines and columns: pieces that a row reads, image places from one to the next and from a plane's pixel
   * to the next, planes, image places from a plane to the next. */
  struct {
    int64_t pieces, apart, stride, phases, phase;
  } axis[2];
  int64_t piece; /* bytes */
  int64_t reach; /* rows from a row's first place to its last in a plane */
  int64_t m;     /* rows */
} ifd_k_quant_lines;

typedef struct ifd_k_quant_product {
  int64_t m, n, k;
  ifd_dot dot;
  /* Row i of A is a + i * a_rs, k bytes and readable up to a multiple of 4; or pack copies rows [i0, i1),
   * `stride` apart, a multiple of 64; of what lies beyond k nothing is read but its place, and 64 bytes
   * behind the last row are spare. Or `lines` is given, and source is an ifd_k_quant_image; m and k are
   * theirs. */
  const uint8_t *a;
  int64_t a_rs;
  void (*pack)(const void *source, uint8_t *to, int64_t stride, int64_t i0, int64_t i1);
  const void *source;
  const ifd_k_quant_lines *lines;
  const int8_t *b; /* packed */
  void *c;         /* of the type of finish.out; row i is c_rs elements after row i - 1 */
  int64_t c_rs;
  const uint8_t *other; /* SUM alone: bytes that lie as those of C do */
  ifd_k_quant_finish finish;
} ifd_k_quant_product;

/* Whether products are added by such pairs. */
bool ifd_k_quant_has_pairs(ifd_isa isa, ifd_dot dot);
/* B as it lies: element (i, j) is b[i / inner * outer_rs + i % inner * inner_rs + j * b_cs], so that a row
 * may be channel i % inner of tap i / inner. With a piece, rows are those of ifd_k_quant_lines: pieces of so
 * many rows, in which `merge` lines of `line` taps are side by side, of `lines` lines in all; the others are
 * rows of 0. Tap t of line l is then number l * line_rs + t * tap_rs. */
typedef struct ifd_k_quant_matrix {
  const void *b;
  bool is_unsigned; /* packed offset by -128 */
  int64_t n, k;
  int64_t inner, inner_rs, outer_rs, b_cs;
  int64_t piece, merge, line, lines, line_rs, tap_rs; /* 0, or as said above */
  bool is_bounded;                                    /* where bounds stand behind it */
  int64_t outputs[2]; /* 0, or those of a tile: points of 3×3 taps, as ifd_k_quant_winograd says */
} ifd_k_quant_matrix;
/* Bytes of packed B, sums of columns and bounds included; where these are. */
size_t ifd_k_quant_packed_len(const ifd_k_quant_matrix *m);
const int32_t *ifd_k_quant_column_sums(const int8_t *packed, const ifd_k_quant_matrix *m);
/* A pair of A's bytes, or a four of them, keeps within bounds if all are at most `bytes` of their k, or their
 * sum is at most `sums` of the pair; a four are two pairs, each in its half of one of two quads. */
typedef struct ifd_k_quant_bounds {
  const uint8_t *bytes;
  const int16_t *sums;
} ifd_k_quant_bounds;
ifd_k_quant_bounds ifd_k_quant_bounds_of(const int8_t *packed, int64_t n, int64_t k, bool fours);
/* Parts that threads may pack at the same time, and those of [begin, end). */
int64_t ifd_k_quant_parts(const ifd_k_quant_matrix *m);
void ifd_k_quant_pack_b(int8_t *packed, const ifd_k_quant_matrix *from, int64_t begin, int64_t end);
/* Bytes that runs of at most m rows need. */
size_t ifd_k_quant_scratch_len(const ifd_k_quant_product *p, int64_t m);
/* Whether a convolution is better run by lines than gathered, and how; not where products are added by pairs,
 * of rows that each keep within bounds. Pieces are as long as the taps in them
 * where it matters what lies beyond (`exact`): where the weights have a zero point. */
bool ifd_k_quant_lines_init(ifd_k_quant_lines *lines, const ifd_k_conv_shape *shape, int64_t samples,
                            ifd_dot dot, bool exact);
/* The weights of a group as rows of such pieces. */
void ifd_k_quant_lines_matrix(ifd_k_quant_matrix *weights, const ifd_k_quant_lines *lines,
                              const ifd_k_conv_shape *shape);

/* Convolutions of 3×3 taps next to each other by Winograd's algorithm, in integers: inputs and weights become
 * points of 16 bits, whose products are added in 32. Exact, since no output is so large that it would not
 * fit; so whether a layer runs so may follow from the machine. */
typedef struct ifd_k_quant_winograd {
  int64_t c;          /* channels of a group */
  int64_t outputs[2]; /* of a tile, along lines and columns: 2 or 4 */
  int64_t tiles[2];   /* of an image */
  int64_t m;          /* tiles of all samples */
} ifd_k_quant_winograd;
/* Whether a convolution of weights without zero points is better run so, and of what tiles. */
bool ifd_k_quant_winograd_init(ifd_k_quant_winograd *w, const ifd_k_conv_shape *shape, int64_t samples,
                               ifd_dot dot);
size_t ifd_k_quant_winograd_scratch_len(const ifd_k_quant_winograd *w, int64_t tiles);

/* C split in tasks, as many as so many threads need: no bit depends on it. Rows fastest; n_step is a multiple
 * of 64. */
typedef struct ifd_k_quant_grid {
  int64_t m_step, n_step, n_m, n_tasks;
} ifd_k_quant_grid;
ifd_k_quant_grid ifd_k_quant_split(const ifd_k_quant_product *p, int threads);
/* The same of tiles of n columns. */
ifd_k_quant_grid ifd_k_quant_winograd_split(const ifd_k_quant_winograd *w, int64_t n, int threads);

/* Whether an instruction sums four lines of taps; the weights' rows then: quads of lines, of each column. */
static inline bool ifd_k_quant_has_quads(ifd_isa isa, ifd_dot dot) {
  return isa == IFD_ISA_AVX512 && dot >= IFD_DOT_VNNI;
}
void ifd_k_quant_quads_matrix(ifd_k_quant_matrix *weights, const ifd_k_conv_shape *shape);
size_t ifd_k_quant_depthwise_scratch_len(const ifd_k_conv_shape *shape);

/* Pools of images whose channels lie together: the greatest bytes, or rint of factor times the mean of
 * x - x_zero, clipped to [lo, hi], + zero. At most 2^23 pixels to a window. */
typedef struct ifd_k_quant_pool {
  ifd_k_pool_shape shape;
  int64_t c;
  bool is_signed; /* x; and y of a maximum */
  float factor, lo, hi;
  int32_t x_zero, zero;
} ifd_k_quant_pool;

struct ifd_k_quant_table {
  /* Rows [i0, i1) and columns [j0, j1); j0 is a multiple of 16. Scratch: ifd_k_quant_scratch_len(p, rows). */
  void (*run)(const ifd_k_quant_product *p, int64_t i0, int64_t i1, int64_t j0, int64_t j1, void *scratch);
  /* A product's pack, whose source is an ifd_k_quant_image. */
  void (*gather)(const void *image, uint8_t *to, int64_t stride, int64_t i0, int64_t i1);
  /* Tiles [i0, i1) and columns [j0, j1), j0 a multiple of 16. Of p are read its source, an ifd_k_quant_image
   * whose bytes ^ flip are int8, as is its fill; b, c, c_rs, other and a finish without zero points of B. */
  void (*winograd)(const ifd_k_quant_winograd *w, const ifd_k_quant_product *p, int64_t i0, int64_t i1,
                   int64_t j0, int64_t j1, void *scratch);
  /* groups = C = M, weights packed as one matrix [taps, C]: output lines [r0, r1) of all samples and planes,
   * whose first is at y. */
  void (*depthwise)(const ifd_k_quant_image *image, const int8_t *packed, const ifd_k_quant_finish *finish,
                    void *y, int64_t r0, int64_t r1, void *scratch);
  /* The same to bytes, of weights without zero points that ifd_k_quant_quads_matrix says. */
  void (*depthwise_quads)(const ifd_k_quant_image *image, const int8_t *packed,
                          const ifd_k_quant_finish *finish, void *y, int64_t r0, int64_t r1, void *scratch);
  /* n elements; steps are 0 or 1 */
  void (*binary)(const ifd_k_quant_binary *q, const uint8_t *a, int a_step, const uint8_t *b, int b_step,
                 uint8_t *y, int64_t n);
  /* y[i] = table[x[i]] */
  void (*lookup)(const uint8_t *table, const uint8_t *x, uint8_t *y, int64_t n);
  /* Lines [r0, r1) of the windows of all samples and planes; x and y are whole. */
  void (*pool)(const ifd_k_quant_pool *q, const uint8_t *x, uint8_t *y, int64_t r0, int64_t r1);
};

#endif
