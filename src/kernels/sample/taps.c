#include "kernels/sample/taps.h"

enum { AXES = 8 };

/* Positions that have no neighbour inside, and NaN, are as good as -2 or the size: then a conversion rounds
 * down. */
void IFD_K(ifd_sample_neighbours)(ifd_k_taps_axis *to, const double *x, int n) {
  const int32_t size = (int32_t)to->size;
  to->n = 2;
  for (int i = 0; i < n; i++) {
    double v = x[i] > -2 ? x[i] : -2;
    v = v < size ? v : size;
    int32_t low = (int32_t)v;
    low -= v < low;
    double t = v - low;
    to->index[0][i] = low >= 0 && low < size ? low : -1;
    to->index[1][i] = low >= -1 && low < size - 1 ? low + 1 : -1;
    to->weight[0][i] = 1 - t;
    to->weight[1][i] = t;
  }
}

void IFD_K(ifd_sample_nearest)(ifd_k_taps_axis *to, const double *x, int n) {
  const int32_t size = (int32_t)to->size;
  to->n = 1;
  for (int i = 0; i < n; i++) {
    double v = x[i] > -2 ? x[i] : -2;
    v = v < size ? v : size;
    const int32_t at = (int32_t)rint(v);
    to->index[0][i] = at >= 0 && at < size ? at : -1;
    to->weight[0][i] = 1;
  }
}

/* Tap n is this combination of neighbours. */
static void set_tap(ifd_k_taps *t, int n, const ifd_k_taps_axis *axes, int n_axes, const int *k,
                    const float *scale) {
  int32_t *index = t->index[n];
  double weight[IFD_TAPS_BLOCK];
  memcpy(index, axes[0].index[k[0]], sizeof axes[0].index[0]);
  memcpy(weight, axes[0].weight[k[0]], sizeof axes[0].weight[0]);
  for (int a = 1; a < n_axes; a++) {
    const int32_t *next = axes[a].index[k[a]], size = (int32_t)axes[a].size;
    for (int i = 0; i < t->n_points; i++) {
      int32_t at = index[i] * size + next[i];
      index[i] = (index[i] | next[i]) < 0 ? -1 : at;
      weight[i] *= axes[a].weight[k[a]][i];
    }
  }
  for (int i = 0; i < t->n_points; i++) t->weight[n][i] = (float)(weight[i] * (scale ? scale[i] : 1));
}

void IFD_K(ifd_sample_cross)(ifd_k_taps *t, const ifd_k_taps_axis *axes, int n_axes, const float *scale) {
  int k[AXES] = {0}, a;
  t->n = 0;
  do { /* the last axis fastest */
    set_tap(t, t->n++, axes, n_axes, k, scale);
    for (a = n_axes - 1; a >= 0 && ++k[a] == axes[a].n; a--) k[a] = 0;
  } while (a >= 0);
}

/* Sixteen points of one plane. */
IFD_INLINE v16 sixteen_points(const ifd_k_taps *t, int first, m16 points, const float *x) {
  v16 sum = v16_zero();
  for (int k = 0; k < t->n; k++) {
    const i16 index = i16_load(t->index[k] + first);
    const m16 inside = m16_and(points, v16_le(v16_zero(), i16_to_v16(index)));
    const v16 v = v16_gather_lanes(x, index, inside);
    sum = v16_select(inside, v16_fma(v16_load(t->weight[k] + first), v, sum), sum);
  }
  return sum;
}

void IFD_K(ifd_sample_taps)(const ifd_k_taps *t, const float *x, int64_t plane, int64_t channels, float *y,
                            int64_t y_stride) {
  for (int64_t c = 0; c < channels; c++, x += plane, y += y_stride)
    for (int i = 0; i < t->n_points; i += 16) {
      const int some = t->n_points - i < 16 ? t->n_points - i : 16;
      v16_store_n(y + i, sixteen_points(t, i, m16_first(some), x), some);
    }
}
