#include "ops/shared/taps.h"

#include <math.h>
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

ifd_neighbours ifd_neighbours_linear(double x, int64_t size) {
  double low = floor(x), t = x - low;
  ifd_neighbours r = {.n = 2, .weight = {1 - t, t}};
  for (int k = 0; k < 2; k++)
    r.index[k] = low + k >= 0 && low + k <= (double)(size - 1) ? (int64_t)low + k : -1;
  return r;
}

/* ---- blocks of positions ---- */

void ifd_taps_axis_put(ifd_taps_axis *to, int i, const ifd_neighbours *at) {
  to->n = at->n;
  for (int k = 0; k < at->n; k++) {
    to->index[k][i] = (int32_t)at->index[k];
    to->weight[k][i] = at->weight[k];
  }
}

/* Positions that have no neighbour inside, and NaN, are as good as -2 or the size: then a conversion rounds
 * down. */
void ifd_taps_axis_linear(ifd_taps_axis *to, const double *x, int n) {
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

/* Tap n is this combination of neighbours. */
static void set_tap(ifd_taps *t, int n, const ifd_taps_axis *axes, int n_axes, const int *k,
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

void ifd_taps_set(ifd_taps *t, const ifd_taps_axis *axes, int n_axes, const float *scale) {
  int k[IFD_TAPS_AXES] = {0}, a;
  t->n = 0;
  do { /* the last axis fastest */
    set_tap(t, t->n++, axes, n_axes, k, scale);
    for (a = n_axes - 1; a >= 0 && ++k[a] == axes[a].n; a--) k[a] = 0;
  } while (a >= 0);
}

ifd_k_samples ifd_taps_samples(ifd_taps *t) {
  int32_t n = 0;
  for (int i = 0; i < t->n_points; i++) {
    t->first[i] = n;
    for (int k = 0; k < t->n; k++) {
      t->inside[n] = t->index[k][i];
      t->inside_weight[n] = t->weight[k][i];
      n += t->index[k][i] >= 0;
    }
  }
  t->first[t->n_points] = n;
  return (ifd_k_samples){.n = t->n_points, .first = t->first, .index = t->inside, .weight = t->inside_weight};
}
