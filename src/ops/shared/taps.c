#include "ops/shared/taps.h"

#include <string.h>

/* The next combination of neighbours, the last axis fastest; false after the last. */
static bool next_tap(const ifd_neighbours *at, int n_axes, int *k) {
  int a = n_axes - 1;
  while (a >= 0 && ++k[a] == at[a].n) k[a--] = 0;
  return a >= 0;
}

/* The element of a combination, or -1 outside, and its weight. */
static int64_t tap_of(const ifd_neighbours *at, int n_axes, const int64_t *size, const int *k,
                      double *weight) {
  int64_t index = 0;
  *weight = 1;
  for (int a = 0; a < n_axes; a++) {
    if (at[a].index[k[a]] < 0) return -1;
    index = index * size[a] + at[a].index[k[a]];
    *weight *= at[a].weight[k[a]];
  }
  return index;
}

double ifd_taps_weigh(const ifd_neighbours *at, int n_axes, const int64_t *size, const double *plane) {
  double sum = 0, weight;
  int k[IFD_TAPS_AXES] = {0};
  do {
    int64_t index = tap_of(at, n_axes, size, k, &weight);
    if (index >= 0) sum += weight * plane[index];
  } while (next_tap(at, n_axes, k));
  return sum;
}

void ifd_taps_set(ifd_taps *t, int i, const ifd_neighbours *at, int n_axes, const int64_t *size,
                  double scale) {
  int k[IFD_TAPS_AXES] = {0}, n = 0;
  do {
    double weight;
    t->index[n][i] = (int32_t)tap_of(at, n_axes, size, k, &weight);
    t->weight[n++][i] = (float)(weight * scale);
  } while (next_tap(at, n_axes, k));
  t->n = n;
}

void ifd_taps_apply(const ifd_taps *t, const float *plane, float *out) {
  float sum[IFD_TAPS_BLOCK] = {0};
  for (int k = 0; k < t->n; k++)
    for (int i = 0; i < t->n_points; i++) {
      int32_t at = t->index[k][i];
      float product = t->weight[k][i] * plane[at < 0 ? 0 : at];
      sum[i] += at < 0 ? 0 : product;
    }
  memcpy(out, sum, (size_t)t->n_points * sizeof *out);
}
