#include "ops/shared/taps.h"

#include <math.h>

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

int64_t ifd_taps_find(const ifd_neighbours *at, int n_axes, const int64_t *size, int64_t *index,
                      double *weight) {
  int64_t n = 0;
  int k[IFD_TAPS_AXES] = {0};
  do {
    index[n] = tap_of(at, n_axes, size, k, &weight[n]);
    n += index[n] >= 0;
  } while (next_tap(at, n_axes, k));
  return n;
}

double ifd_taps_sum(const int64_t *index, const double *weight, int64_t n, const double *plane) {
  double sum = 0;
  for (int64_t i = 0; i < n; i++) sum += weight[i] * plane[index[i]];
  return sum;
}

ifd_neighbours ifd_neighbours_linear(double x, int64_t size) {
  double low = floor(x), t = x - low;
  ifd_neighbours r = {.n = 2, .weight = {1 - t, t}};
  for (int k = 0; k < 2; k++)
    r.index[k] = low + k >= 0 && low + k <= (double)(size - 1) ? (int64_t)low + k : -1;
  return r;
}

/* ---- blocks of positions ---- */

void ifd_taps_axis_put(ifd_k_taps_axis *to, int i, const ifd_neighbours *at) {
  to->n = at->n;
  for (int k = 0; k < at->n; k++) {
    to->index[k][i] = (int32_t)at->index[k];
    to->weight[k][i] = at->weight[k];
  }
}

ifd_k_samples ifd_taps_samples(const ifd_k_taps *t, ifd_taps_inside *inside) {
  int32_t n = 0;
  for (int i = 0; i < t->n_points; i++) {
    inside->first[i] = n;
    for (int k = 0; k < t->n; k++) {
      inside->index[n] = t->index[k][i];
      inside->weight[n] = t->weight[k][i];
      n += t->index[k][i] >= 0;
    }
  }
  inside->first[t->n_points] = n;
  return (ifd_k_samples){
      .n = t->n_points, .first = inside->first, .index = inside->index, .weight = inside->weight};
}
