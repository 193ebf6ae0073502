/* Winograd's convolutions F(4×4, 3×3) and F(2×2, 3×3) (Lavin and Gray, "Fast Algorithms for Convolutional
 * Neural Networks", 2015), the former with the interpolation points 0, ±3/4, ±3/2 and infinity, whose
 * rounding errors are several times smaller than those of 0, ±1, ±2. Tiles of 6×6 (4×4) inputs and their 4×4
 * (2×2) outputs are numbered through a batch: samples, planes in depth, lines of tiles, tiles. Sizes that the
 * plan and the kernels agree on. */
#ifndef IFD_KERNELS_CONV_WINOGRAD_H
#define IFD_KERNELS_CONV_WINOGRAD_H

#include "kernels/conv/phase.h"

enum { IFD_WINOGRAD_IN = 6, IFD_WINOGRAD_OUT = 4, IFD_WINOGRAD_PLANES = 36 }; /* the most */

static inline int64_t ifd_winograd_out(ifd_k_conv_algo algo) { return algo == IFD_K_CONV_WINOGRAD_2 ? 2 : 4; }

typedef struct ifd_winograd_sizes {
  int64_t out, in, planes;         /* pixels along an edge of a tile of outputs, of inputs; in² */
  int64_t down, across, tiles;     /* of a plane of outputs; of a sample */
  int64_t segments, steps;         /* of k: (block of input channels, tap of depth) */
  int64_t at_once, blocks_at_once; /* tiles and output blocks that stay in L2 together */
  bool stays;                      /* the weights of so many blocks, in L2 */
  int64_t v_plane, m_plane;        /* floats of one of the planes of transformed inputs and of products */
} ifd_winograd_sizes;

/* An odd number of cache lines, so that the planes of one tile do not fall on the same lines of the cache. */
static inline int64_t ifd_winograd_plane(int64_t n_vectors) { return (n_vectors | 1) * 16; }

/* For tasks of up to `tiles` tiles and `blocks` output blocks. Weights that stay in L2 leave half of it to
 * the tiles of a block, all planes of them. Larger weights are read once for each block of tiles: then there
 * are as many tiles as let one plane of them stay. */
static inline ifd_winograd_sizes ifd_winograd_sizes_of(const ifd_k_conv_shape *s, int64_t out, int64_t tiles,
                                                       int64_t blocks) {
  enum { TILE = 14, VECTORS = 1 << 13 }; /* half a megabyte of vectors */
  ifd_winograd_sizes z = {.out = out,
                          .in = out + 2,
                          .planes = (out + 2) * (out + 2),
                          .down = ifd_ceil_div(s->out[IFD_K_H], out),
                          .across = ifd_ceil_div(s->out[IFD_K_W], out)};
  z.tiles = s->out[IFD_K_D] * z.down * z.across;
  z.segments = ifd_ceil_div(s->c, 16) * s->kernel[IFD_K_D];
  z.steps = s->c * s->kernel[IFD_K_D];
  z.stays = z.planes * z.steps * blocks <= 2 * VECTORS;
  int64_t per_tile = (z.segments + blocks) * (z.stays ? z.planes : 1);
  z.at_once = ifd_min_i64(tiles, ifd_max_i64(TILE, ifd_min_i64(VECTORS / per_tile / TILE, 8) * TILE));
  z.blocks_at_once = blocks;
  z.v_plane = ifd_winograd_plane(z.segments * z.at_once);
  z.m_plane = ifd_winograd_plane(z.blocks_at_once * z.at_once);
  return z;
}

#endif
