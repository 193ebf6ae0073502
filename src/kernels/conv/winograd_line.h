/* Winograd's algorithm along one axis of the kernel, that where it saves most; the taps of the other axes are
 * summed as they are. Always eight points, 0, ±1/2, ±1, ±2 and infinity: parts of r taps give 9 - r
 * neighbouring outputs, F(7, 2), F(6, 3), F(5, 4) or F(4, 5), of eight inputs each, so one transform of
 * inputs serves all. Longer kernels are parts of r taps one after another, and taps that meet different
 * remainders of inputs modulo the stride are parts of their own; the products of all parts are summed before
 * the one transform of outputs. Errors are those of F(4×4, 3×3) (winograd.h), whose transforms are two of six
 * points.
 *
 * Outputs that are a dilation apart along the axis are a line; tiles are numbered through a batch: samples,
 * places of the other axes, tiles of a line, lines, which lie side by side in memory. Sizes that the plan and
 * the kernels agree on. */
#ifndef IFD_KERNELS_CONV_WINOGRAD_LINE_H
#define IFD_KERNELS_CONV_WINOGRAD_LINE_H

#include "kernels/conv/phase.h"

enum { IFD_WINOGRAD_LINE_POINTS = 8, IFD_WINOGRAD_LINE_OUT = 7 /* the most outputs of a tile */ };
enum { IFD_WINOGRAD_LINE_TILES = 112 }; /* in hand at once, at most */

/* How a kernel's taps along an axis are cut. From the kernel, its stride and dilation alone, as packed
 * weights are. Tap x of part i of phase p is tap p + stride * (i * taps + x), if the kernel has that. */
typedef struct ifd_winograd_line_cut {
  int axis;                    /* or -1: none is worth it */
  int64_t taps, phases, parts; /* of a part; remainders modulo the stride; parts of all of these */
  int64_t out;                 /* outputs of a tile */
  int64_t others;              /* taps of the other axes */
} ifd_winograd_line_cut;

static inline ifd_winograd_line_cut ifd_winograd_line_cut_of(const ifd_k_conv_shape *s) {
  enum { MOST_TAPS = 5, LEAST_TAPS = IFD_WINOGRAD_LINE_POINTS + 1 - IFD_WINOGRAD_LINE_OUT };
  ifd_winograd_line_cut best = {.axis = -1};
  double most = 1;
  for (int d = IFD_K_DIMS; d-- > 0;)
    for (int64_t taps = MOST_TAPS; taps >= LEAST_TAPS; taps--) {
      int64_t n = s->kernel[d], out = IFD_WINOGRAD_LINE_POINTS + 1 - taps;
      int64_t phases = ifd_min_i64(s->stride[d], n);
      int64_t parts = phases * ifd_ceil_div(ifd_ceil_div(n, s->stride[d]), taps);
      double gain = (double)n * (double)out / (double)(IFD_WINOGRAD_LINE_POINTS * parts);
      if (gain <= most || (s->stride[d] > 1 && s->dilation[d] > 1)) continue;
      most = gain;
      best = (ifd_winograd_line_cut){d, taps, phases, parts, out, ifd_conv_volume(s->kernel) / n};
    }
  return best;
}

typedef struct ifd_winograd_line_sizes {
  ifd_winograd_line_cut cut;
  int64_t lines, per_line, tiles; /* of a place of the other axes; of a line; of a sample */
  int64_t taps, segments, steps;  /* of k: (block of input channels, tap of the others, part) */
  int64_t at_once;                /* tiles that stay in L2 together */
  int64_t pitch;                  /* floats of the tiles of a segment, or of an output block, */
  int64_t v_plane, m_plane;       /* of the transformed inputs, and of the products, of a point */
} ifd_winograd_line_sizes;

/* An odd number of cache lines, so that neighbours do not fall on the same ones. */
static inline int64_t ifd_winograd_line_pitch(int64_t n_vectors) { return (n_vectors | 1) * 16; }

/* For tasks of up to `tiles` tiles and `blocks` output blocks, never less for more of them; the cut has an
 * axis. */
static inline ifd_winograd_line_sizes ifd_winograd_line_sizes_of(const ifd_k_conv_shape *s, int64_t tiles,
                                                                 int64_t blocks) {
  enum { TILE = 14, MOST = IFD_WINOGRAD_LINE_TILES / TILE, VECTORS = 1 << 15 };
  ifd_winograd_line_sizes z = {.cut = ifd_winograd_line_cut_of(s)};
  int axis = z.cut.axis;
  z.lines = ifd_min_i64(s->dilation[axis], s->out[axis]);
  z.per_line = ifd_ceil_div(ifd_ceil_div(s->out[axis], z.lines), z.cut.out);
  z.tiles = ifd_conv_volume(s->out) / s->out[axis] * z.lines * z.per_line;
  z.taps = z.cut.others * z.cut.parts;
  z.segments = ifd_ceil_div(s->c, 16) * z.taps;
  z.steps = s->c * z.taps;
  int64_t per_tile = (z.segments + ifd_ceil_div(s->m, 16)) * IFD_WINOGRAD_LINE_POINTS;
  int64_t most = ifd_max_i64(2, ifd_min_i64(VECTORS / per_tile / TILE, MOST)) * TILE;
  z.at_once = ifd_min_i64(tiles, most);
  z.pitch = ifd_winograd_line_pitch(z.at_once);
  z.v_plane = ifd_winograd_line_pitch(z.segments * z.pitch / 16);
  z.m_plane = ifd_winograd_line_pitch(blocks * z.pitch / 16);
  return z;
}

#endif
