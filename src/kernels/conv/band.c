#include "kernels/conv/band.h"

/* One line of x, from column -pad on, by phases; zeros outside. NULL: all zeros. */
static void copy_line(float *to, const float *line, int64_t width, int64_t pad, const ifd_conv_band *b) {
  for (int64_t phase = 0; phase < b->phases; phase++, to += b->pitch) {
    int64_t first = ifd_max_i64(0, ifd_ceil_div(pad - phase, b->phases));
    int64_t end = line ? ifd_min_i64(b->pitch, ifd_ceil_div(width + pad - phase, b->phases)) : 0;
    first = ifd_min_i64(first, ifd_max_i64(0, end)), end = ifd_max_i64(first, end);
    int64_t shift = phase - pad;
    memset(to, 0, sizeof *to * (size_t)first);
    if (b->phases == 1 && end > first)
      memcpy(to + first, line + first + shift, sizeof *to * (size_t)(end - first));
    else
      for (int64_t i = first; i < end; i++) to[i] = line[i * b->phases + shift];
    memset(to + end, 0, sizeof *to * (size_t)(b->pitch - end));
  }
}

static void copy_band(const ifd_conv_task *t, const ifd_conv_band *b, float *to) {
  const ifd_k_conv_shape *s = &t->plan->shape;
  int64_t lines =
      (t->r1 - t->r0 - 1) * s->stride[IFD_K_H] + (s->kernel[IFD_K_H] - 1) * s->dilation[IFD_K_H] + 1;
  for (int64_t p = 0; p < b->planes; p++) {
    int64_t c = p / s->kernel[IFD_K_D], d = p % s->kernel[IFD_K_D];
    int64_t i_d = t->part * s->stride[IFD_K_D] + d * s->dilation[IFD_K_D] - s->pad[IFD_K_D];
    for (int64_t l = 0; l < lines; l++) {
      int64_t i_h = t->r0 * s->stride[IFD_K_H] + l - s->pad[IFD_K_H];
      bool inside = i_d >= 0 && i_d < s->in[IFD_K_D] && i_h >= 0 && i_h < s->in[IFD_K_H];
      int64_t at = c * t->x_plane + (i_d * s->in[IFD_K_H] + i_h) * s->in[IFD_K_W];
      copy_line(to + (p * b->lines + l) * ifd_conv_band_line(b), inside ? t->x + at : NULL, s->in[IFD_K_W],
                s->pad[IFD_K_W], b);
    }
  }
}

static void fill_table(const ifd_k_conv_shape *s, const ifd_conv_band *b, int64_t *at) {
  for (int64_t p = 0; p < b->planes; p++)
    for (int64_t h = 0; h < s->kernel[IFD_K_H]; h++)
      for (int64_t w = 0; w < s->kernel[IFD_K_W]; w++) {
        int64_t line = p * b->lines + h * s->dilation[IFD_K_H], column = w * s->dilation[IFD_K_W];
        *at++ = line * ifd_conv_band_line(b) + column % b->phases * b->pitch + column / b->phases;
      }
}

const float *IFD_K(ifd_conv_band_fill)(const ifd_conv_task *t, const ifd_conv_band *b, void *scratch,
                                       const int64_t **at) {
  float *x = (float *)((char *)scratch + ifd_conv_band_table(b));
  fill_table(&t->plan->shape, b, scratch);
  copy_band(t, b, x);
  *at = scratch;
  return x;
}
