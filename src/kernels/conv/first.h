/* The first layer: x unblocked, few channels. Sizes that the plan and the kernels agree on. */
#ifndef IFD_KERNELS_CONV_FIRST_H
#define IFD_KERNELS_CONV_FIRST_H

#include "kernels/conv/phase.h"

enum { IFD_CONV_FIRST_TILE = 14 }; /* the widest tile of outputs on any ISA */

/* A band of x, padded: [c][tap of depth][lines][columns], what `rows` lines of outputs read and what the last
 * tile of a line reads beyond. */
typedef struct ifd_conv_band {
  int64_t planes, lines, columns, taps;
} ifd_conv_band;

static inline ifd_conv_band ifd_conv_band_of(const ifd_k_conv_shape *s, int64_t rows) {
  int64_t width = s->out[IFD_K_W] + IFD_CONV_FIRST_TILE;
  return (ifd_conv_band){
      .planes = s->c * s->kernel[IFD_K_D],
      .lines = (rows - 1) * s->stride[IFD_K_H] + (s->kernel[IFD_K_H] - 1) * s->dilation[IFD_K_H] + 1,
      .columns = (width - 1) * s->stride[IFD_K_W] + (s->kernel[IFD_K_W] - 1) * s->dilation[IFD_K_W] + 1,
      .taps = s->c * ifd_conv_volume(s->kernel)};
}

#endif
