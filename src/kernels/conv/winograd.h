/* Winograd's convolutions F(4×4, 3×3) and F(2×2, 3×3) (Lavin and Gray, "Fast Algorithms for Convolutional
 * Neural Networks", 2015), the former with the interpolation points 0, ±3/4, ±3/2 and infinity, whose
 * rounding errors are several times smaller than those of 0, ±1, ±2. Tiles of 6×6 (4×4) inputs and their 4×4
 * (2×2) outputs are numbered through a batch: samples, planes in depth, lines of tiles, tiles. Sizes that the
 * plan and the kernels agree on.
 *
 * Along an axis of dilation d the outputs o, o + d, o + 2 d … and their inputs are a phase, a line of its own
 * with its own tiles. All phases count as many outputs as the longest: what a tile computes outside the image
 * is not kept.
 *
 * The last tile of an axis may have fewer outputs, and takes fewer points of the same weights for them. All
 * outputs of F(n, 3) but the last do without the point ∞. F(2, 3) of the points 0, ±a and ∞ differs in its
 * weights from those of F(4, 3) at p by the factor p² - b², which Bᵀ can have as well.
 *
 * Of several groups in a part (phase.h) an output block is the sum over the blocks of inputs that its groups
 * reach into; weights between channels of different groups are zeros.
 *
 * Weights that only few tiles meet are waited for. Packed half, as G w, they are half as many or three
 * quarters; a line of planes, or half of one, is then made of them for some segments of k at a time, which
 * stay in L1, and multiplied at once while the next are fetched. */
#ifndef IFD_KERNELS_CONV_WINOGRAD_H
#define IFD_KERNELS_CONV_WINOGRAD_H

#include "kernels/conv/phase.h"

enum { IFD_WINOGRAD_IN = 6, IFD_WINOGRAD_OUT = 4 }; /* the most */
enum { IFD_WINOGRAD_TILES = 112 };                  /* in hand at once, at most */

enum { IFD_WINOGRAD_HALF_TILES = 56, IFD_WINOGRAD_HALF_BLOCKS = 2, IFD_WINOGRAD_HALF_SEGMENTS = 2 };

static inline int64_t ifd_winograd_out(ifd_k_conv_algo algo) {
  return algo == IFD_K_CONV_WINOGRAD_2 || algo == IFD_K_CONV_WINOGRAD_2_HALF ? 2 : 4;
}
static inline bool ifd_winograd_half(ifd_k_conv_algo algo) {
  return algo == IFD_K_CONV_WINOGRAD_HALF || algo == IFD_K_CONV_WINOGRAD_2_HALF;
}

/* The i-th point that a tile of n outputs takes of those of F(of, 3): 0, ±a, ±b, ∞ or 0, ±1, ∞. */
static inline int64_t ifd_winograd_point(int64_t of, int64_t n, int64_t i) {
  return of == 4 && n <= 2 && i == 3 ? 5 : i;
}

/* The tiles along an axis. */
typedef struct ifd_winograd_axis {
  int64_t phases, apart; /* outputs and inputs of one lie so far apart */
  int64_t n, of, last;   /* of a phase: tiles, outputs of each, of the last */
} ifd_winograd_axis;

/* Whether the last tile takes a point. */
static inline bool ifd_winograd_takes(const ifd_winograd_axis *a, int64_t point) {
  for (int64_t i = 0; i < a->last + 2; i++)
    if (ifd_winograd_point(a->of, a->last, i) == point) return true;
  return false;
}

/* The points that all tiles of an axis take. */
static inline int64_t ifd_winograd_points(const ifd_winograd_axis *a) {
  return a->phases * ((a->n - 1) * (a->of + 2) + a->last + 2);
}

static inline ifd_winograd_axis ifd_winograd_axis_of(const ifd_k_conv_shape *s, int d, int64_t of) {
  int64_t apart = s->dilation[d], length = ifd_ceil_div(s->out[d], apart), n = ifd_ceil_div(length, of);
  return (ifd_winograd_axis){ifd_min_i64(apart, s->out[d]), apart, n, of, length - (n - 1) * of};
}

typedef struct ifd_winograd_sizes {
  int64_t out, in, planes; /* pixels along an edge of a tile of outputs, of inputs; in² */
  ifd_winograd_axis down, across;
  int64_t tiles;            /* of a sample */
  int64_t segments, steps;  /* of k: (block of input channels, tap of depth) */
  int64_t at_once;          /* tiles that stay in L2 together */
  bool stays;               /* the weights, in L2 */
  bool half;                /* they are packed so */
  bool in_place;            /* products of a plane take the place of the inputs of the one before */
  int64_t blocks;           /* of outputs, in hand at once */
  int64_t v_plane, m_plane; /* floats of one of the planes of transformed inputs and of products */
  int64_t u_plane,
      u_panel; /* between planes and panels of weights made of half ones; these are as far apart */
} ifd_winograd_sizes;

/* An odd number of cache lines, so that the planes of one tile do not fall on the same lines of the cache. */
static inline int64_t ifd_winograd_plane(int64_t n_vectors) { return (n_vectors | 1) * 16; }

/* For tasks of up to `tiles` tiles and `blocks` output blocks. Weights that stay in L2 leave half of it to
 * the tiles of a block, all planes of them. Larger weights are read once for each block of tiles: then there
 * are as many tiles as let one plane of them stay. */
static inline ifd_winograd_sizes ifd_winograd_sizes_of(const ifd_k_conv_shape *s, ifd_k_conv_algo algo,
                                                       int64_t tiles, int64_t blocks) {
  enum { TILE = 14, MOST = IFD_WINOGRAD_TILES / TILE, VECTORS = 1 << 13 }; /* half a megabyte of vectors */
  const int64_t out = ifd_winograd_out(algo);
  ifd_winograd_sizes z = {.out = out,
                          .half = ifd_winograd_half(algo),
                          .blocks = blocks,
                          .in = out + 2,
                          .planes = (out + 2) * (out + 2),
                          .down = ifd_winograd_axis_of(s, IFD_K_H, out),
                          .across = ifd_winograd_axis_of(s, IFD_K_W, out)};
  z.tiles = s->out[IFD_K_D] * z.down.phases * z.down.n * z.across.phases * z.across.n;
  z.segments = ifd_ceil_div(s->c, 16) * s->kernel[IFD_K_D];
  z.steps = s->c * s->kernel[IFD_K_D];
  z.stays = z.planes * z.steps * blocks <= 2 * VECTORS;
  int64_t per_tile = (z.segments + blocks) * (z.stays ? z.planes : 1);
  z.at_once = ifd_min_i64(tiles, ifd_max_i64(TILE, ifd_min_i64(VECTORS / per_tile / TILE, MOST) * TILE));
  if (z.half) {
    z.at_once = ifd_min_i64(tiles, IFD_WINOGRAD_HALF_TILES);
    z.blocks = ifd_min_i64(blocks, IFD_WINOGRAD_HALF_BLOCKS);
    z.u_plane = ifd_winograd_plane(IFD_WINOGRAD_HALF_SEGMENTS * 16);
    z.u_panel = ifd_max_i64(z.in * z.u_plane, z.in * z.steps * 3 * 16);
  }
  z.v_plane = ifd_winograd_plane(z.segments * z.at_once);
  z.m_plane = ifd_winograd_plane(z.blocks * z.at_once);
  return z;
}

/* Of the tasks of a plan. Where these share the inputs, transformed before, every task has all tiles in hand,
 * as many as one of all output blocks would have. */
static inline ifd_winograd_sizes ifd_winograd_sizes_of_plan(const ifd_k_conv_plan *p) {
  int64_t blocks = p->n_before ? p->n_blocks : p->blocks;
  const ifd_k_conv_shape s = ifd_conv_part(&p->shape, 0);
  ifd_winograd_sizes z = ifd_winograd_sizes_of(&s, p->algo, p->rows, blocks);
  z.blocks = ifd_min_i64(z.blocks, p->blocks);
  z.m_plane = ifd_winograd_plane(z.blocks * z.at_once);
  z.in_place = !z.half && !p->n_before; /* then nothing else reads the inputs */
  if (z.in_place) z.v_plane = z.m_plane = ifd_max_i64(z.v_plane, z.m_plane);
  return z;
}
/* Floats before the inputs that are the products' alone. */
static inline int64_t ifd_winograd_products(const ifd_winograd_sizes *z) {
  return (z->in_place ? 1 : z->planes) * z->m_plane;
}
/* Floats of the weights that are made at once. */
static inline int64_t ifd_winograd_made(const ifd_winograd_sizes *z) {
  return z->half ? (z->blocks - 1) * z->u_panel + z->in * z->u_plane : 0;
}
static inline size_t ifd_winograd_inputs_len(const ifd_winograd_sizes *z) {
  return sizeof(float) * (size_t)z->planes * (size_t)z->v_plane;
}

#endif
