/* Images whose channels lie together, [N, D, H, W, C], as convolutions read them. */
#ifndef IFD_KERNELS_QUANT_IMAGE_H
#define IFD_KERNELS_QUANT_IMAGE_H

#include "base/checked.h"
#include "kernels/quant/quant.h"
#include "kernels/simd.h"

void IFD_K(ifd_quant_gather)(const void *source, uint8_t *to, int64_t stride, int64_t i0, int64_t i1);
void IFD_K(ifd_quant_winograd)(const ifd_k_quant_winograd *w, const ifd_k_quant_product *p, int64_t i0,
                               int64_t i1, int64_t j0, int64_t j1, void *scratch);
void IFD_K(ifd_quant_depthwise)(const ifd_k_quant_image *g, const int8_t *packed, const ifd_k_quant_finish *f,
                                void *y, int64_t r0, int64_t r1, void *scratch);
void IFD_K(ifd_quant_depthwise_quads)(const ifd_k_quant_image *g, const int8_t *packed,
                                      const ifd_k_quant_finish *f, void *y, int64_t r0, int64_t r1,
                                      void *scratch);

/* What rows [i0, i1) read, in planes `plane` bytes apart; where a row's pieces are from its first place. */
void IFD_K(ifd_quant_copy_lines)(const ifd_k_quant_image *g, const ifd_k_quant_lines *l, uint8_t *to,
                                 int64_t plane, int64_t i0, int64_t i1);
void IFD_K(ifd_quant_line_offsets)(const ifd_k_quant_lines *l, int64_t plane, int64_t *offsets);

/* Line i_h of the padded image where tap d of an output place is, from its column 0 and the image's first
 * channel on; NULL: padding. */
IFD_INLINE const uint8_t *ifd_quant_line_at(const ifd_k_quant_image *g, int64_t sample, const int64_t *at,
                                            int64_t d, int64_t i_h) {
  const ifd_k_conv_shape *s = g->shape;
  const int64_t i_d = at[IFD_K_D] * s->stride[IFD_K_D] + d * s->dilation[IFD_K_D] - s->pad[IFD_K_D];
  i_h -= s->pad[IFD_K_H];
  if (i_d < 0 || i_d >= s->in[IFD_K_D] || i_h < 0 || i_h >= s->in[IFD_K_H]) return NULL;
  return g->x + ((sample * s->in[IFD_K_D] + i_d) * s->in[IFD_K_H] + i_h) * s->in[IFD_K_W] * s->c;
}

/* The same of tap (d, h) of an output place. */
IFD_INLINE const uint8_t *ifd_quant_line(const ifd_k_quant_image *g, int64_t sample, const int64_t *at,
                                         int64_t d, int64_t h) {
  const ifd_k_conv_shape *s = g->shape;
  return ifd_quant_line_at(g, sample, at, d, at[IFD_K_H] * s->stride[IFD_K_H] + h * s->dilation[IFD_K_H]);
}

#endif
