#include "recalibrate/moments.h"

void ifd_moments_merge(ifd_moments *into, const ifd_moments *more) {
  double n = into->n + more->n, step = more->mean - into->mean;
  if (more->n == 0) return;
  into->m2 += more->m2 + step * step * (into->n * more->n / n);
  into->mean += step * (more->n / n);
  into->n = n;
}

double ifd_moments_variance(const ifd_moments *m, bool sample) { return m->m2 / (sample ? m->n - 1 : m->n); }

static double element(const ifd_tensor *x, int64_t i) {
  return x->dtype == IFD_FLOAT ? (double)((const float *)x->data)[i] : ifd_tensor_get_f64(x, i);
}

/* Of n elements from `from` on: the mean first, then the deviations from it. */
static ifd_moments of_plane(const ifd_tensor *x, int64_t from, int64_t n) {
  ifd_moments m = {.n = (double)n};
  for (int64_t i = from; i < from + n; i++) m.mean += element(x, i);
  m.mean /= (double)n;
  for (int64_t i = from; i < from + n; i++) m.m2 += (element(x, i) - m.mean) * (element(x, i) - m.mean);
  return m;
}

void ifd_moments_add(ifd_moments *moments, const ifd_tensor *x, int64_t features, int64_t plane) {
  int64_t n_planes = plane ? ifd_tensor_count(x) / plane : 0;
  for (int64_t p = 0; p < n_planes; p++) {
    ifd_moments m = of_plane(x, p * plane, plane);
    ifd_moments_merge(&moments[p % features], &m);
  }
}
