#include "kernels/fourier/fourier.h"

#include <math.h>
#include <string.h>

void ifd_k_fourier_root(int64_t a, int64_t b, double *re, double *im) {
  double x, y;
  if (2 * a > b) {
    ifd_k_fourier_root(b - a, b, &x, &y);
    *re = x, *im = -y;
  } else if (4 * a > b) {
    ifd_k_fourier_root(b - 2 * a, 2 * b, &x, &y);
    *re = -x, *im = y;
  } else if (8 * a > b) {
    ifd_k_fourier_root(b - 4 * a, 4 * b, &x, &y);
    *re = -y, *im = -x;
  } else {
    double angle = 2 * M_PI * (double)a / (double)b;
    *re = cos(angle), *im = -sin(angle);
  }
}

/* Factors of half the length, fours first; what is left beside them. */
static int64_t factorize(int64_t half, int *n_factors, int *factors) {
  static const int radices[] = {4, 2, 3, 5};
  *n_factors = 0;
  for (size_t i = 0; i < sizeof radices / sizeof *radices; i++)
    for (; half % radices[i] == 0 && *n_factors < IFD_FOURIER_MAX_FACTORS; half /= radices[i])
      factors[(*n_factors)++] = radices[i];
  return half;
}

bool ifd_k_fourier_suits(int64_t n) {
  enum { MOST = 1 << 16 };
  int n_factors, factors[IFD_FOURIER_MAX_FACTORS];
  return n >= 2 && n <= MOST && n % 2 == 0 && factorize(n / 2, &n_factors, factors) == 1;
}

static size_t n_numbers(int64_t n) { return (size_t)(n / 2 + n / 4 + 1); }
size_t ifd_k_fourier_tables_len(int64_t n) {
  return n_numbers(n) * sizeof(ifd_fourier_number) + (size_t)(n / 2) * sizeof(int32_t);
}

static ifd_fourier_number root(int64_t a, int64_t b) {
  double re, im;
  ifd_k_fourier_root(a, b, &re, &im);
  return (ifd_fourier_number){(float)re, (float)im};
}

/* The last stage joins the transforms of every p-th number; each of them is made alike. */
static int32_t place_of(const ifd_k_transform *f, int64_t k) {
  int64_t place = 0, len = f->half;
  for (int i = f->n_factors; i-- > 0; k /= f->factors[i]) {
    len /= f->factors[i];
    place += k % f->factors[i] * len;
  }
  return (int32_t)place;
}

void ifd_k_fourier_init(ifd_k_transform *out, int64_t n, void *tables) {
  ifd_fourier_number *roots = tables, *turns = roots + n / 2;
  int32_t *places = (int32_t *)(roots + n_numbers(n));
  memset(out, 0, sizeof *out);
  out->n = n, out->half = n / 2;
  out->roots = roots, out->turns = turns, out->places = places;
  factorize(out->half, &out->n_factors, out->factors);
  for (int64_t k = 0; k < out->half; k++) {
    roots[k] = root(k, out->half);
    places[k] = place_of(out, k);
  }
  for (int64_t k = 0; 2 * k <= out->half; k++) turns[k] = root(k, n);
}
