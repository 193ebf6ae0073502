#include "kernels/sample/taps.h"
#include "kernels/transpose.h"

/* ---- planes ---- */

static float sum_of(const ifd_k_samples *s, int point, const float *x) {
  float sum = 0;
  for (int32_t k = s->first[point]; k < s->first[point + 1]; k++)
    sum = fmaf(s->weight[k], x[s->index[k]], sum);
  return sum;
}

static float greatest_of(const ifd_k_samples *s, int point, const float *x) {
  float best = -INFINITY;
  for (int32_t k = s->first[point]; k < s->first[point + 1]; k++) {
    const float v = s->index[k] < 0 ? 0 : s->weight[k] * x[s->index[k]];
    best = v > best ? v : best;
  }
  return best;
}

static void planar(const ifd_k_samples *s, const float *x, int64_t plane, int64_t channels, float *y,
                   int64_t y_stride) {
  for (int64_t c = 0; c < channels; c++, x += plane, y += y_stride)
    for (int i = 0; i < s->n; i++) y[i] = s->greatest ? greatest_of(s, i, x) : sum_of(s, i, x);
}

/* ---- blocks ---- */

IFD_INLINE v16 block_sum(const ifd_k_samples *s, int point, const float *x) {
  v16 sum = v16_zero();
  for (int32_t k = s->first[point]; k < s->first[point + 1]; k++)
    sum = v16_fma(v16_set1(s->weight[k]), v16_load(x + (int64_t)s->index[k] * 16), sum);
  return sum;
}

IFD_INLINE v16 block_greatest(const ifd_k_samples *s, int point, const float *x) {
  v16 best = v16_set1(-INFINITY);
  for (int32_t k = s->first[point]; k < s->first[point + 1]; k++) {
    const int64_t at = s->index[k];
    const v16 v = at < 0 ? v16_zero() : v16_mul(v16_set1(s->weight[k]), v16_load(x + at * 16));
    best = v16_max(v, best);
  }
  return best;
}

static void blocked(const ifd_k_samples *s, const float *x, int channels, float *y, int64_t y_stride) {
  for (int i = 0; i < s->n; i += 16) {
    const int some = s->n - i < 16 ? s->n - i : 16;
    v16 t[16];
    for (int k = 0; k < 16; k++) t[k] = v16_zero();
    if (s->greatest)
      for (int k = 0; k < some; k++) t[k] = block_greatest(s, i + k, x);
    else
      for (int k = 0; k < some; k++) t[k] = block_sum(s, i + k, x);
    v16_transpose(t);
    for (int c = 0; c < channels; c++) v16_store_n(y + c * y_stride + i, t[c], some);
  }
}

const struct ifd_k_sample_table IFD_K(ifd_k_sample) = {.neighbours = IFD_K(ifd_sample_neighbours),
                                                       .nearest = IFD_K(ifd_sample_nearest),
                                                       .cross = IFD_K(ifd_sample_cross),
                                                       .taps = IFD_K(ifd_sample_taps),
                                                       .planar = planar,
                                                       .blocked = blocked};
