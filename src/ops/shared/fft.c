#include "ops/shared/fft.h"

#include "kernels/fourier/fourier.h"

#include <string.h>

/* ---- complex numbers ---- */

static inline ifd_complex add(ifd_complex a, ifd_complex b) {
  return (ifd_complex){a.re + b.re, a.im + b.im};
}
static inline ifd_complex subtract(ifd_complex a, ifd_complex b) {
  return (ifd_complex){a.re - b.re, a.im - b.im};
}
static inline ifd_complex multiply(ifd_complex a, ifd_complex b) {
  return (ifd_complex){a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re};
}
static inline ifd_complex conjugate(ifd_complex a) { return (ifd_complex){a.re, -a.im}; }
static inline ifd_complex times_minus_i(ifd_complex a) { return (ifd_complex){a.im, -a.re}; }

ifd_complex ifd_fft_root(int64_t a, int64_t b) {
  ifd_complex r;
  ifd_k_fourier_root(a, b, &r.re, &r.im);
  return r;
}

bool ifd_fft_has_kernel(int64_t n) { return ifd_k_fourier_suits(n); }

/* ---- plans ---- */

enum { MOST_RADIX = 32 }; /* a greater prime factor makes Bluestein's way shorter */
static const int64_t most_len = (int64_t)1 << 30;

/* Factors of n, fours first; what is left has only greater prime factors. */
static int64_t factorize(ifd_fft *f, int64_t n) {
  for (int p = 4; p < MOST_RADIX; p = p == 4 ? 2 : p == 2 ? 3 : p + 2)
    for (; n % p == 0; n /= p) f->factors[f->n_factors++] = p;
  return n;
}

static ifd_status init_bluestein(ifd_error *err, ifd_fft *f, ifd_arena *arena) {
  int64_t n = f->n, m = 1;
  ifd_complex *scratch;
  while (m < 2 * n - 1) m *= 2;
  ALLOC(err, f->inner, ifd_new(arena, ifd_fft));
  TRY(ifd_fft_init(err, f->inner, arena, m));
  ALLOC(err, f->chirp, ifd_new_array(arena, ifd_complex, n));
  ALLOC(err, f->filter, ifd_new_array(arena, ifd_complex, m));
  ALLOC(err, scratch, ifd_new_array(arena, ifd_complex, m));
  for (int64_t k = 0; k < n; k++) {
    f->chirp[k] = ifd_fft_root(k * k % (2 * n), 2 * n);
    f->filter[k] = conjugate(f->chirp[k]);
    if (k) f->filter[m - k] = f->filter[k];
  }
  ifd_fft_run(f->inner, f->filter, scratch, false);
  return IFD_OK;
}

ifd_status ifd_fft_init(ifd_error *err, ifd_fft *out, ifd_arena *arena, int64_t n) {
  EXPECT(err, n >= 1 && n <= most_len, LIMIT, "a transform of length %lld; at most %lld are done",
         (long long)n, (long long)most_len);
  *out = (ifd_fft){.n = n};
  if (factorize(out, n) > 1) return init_bluestein(err, out, arena);
  ALLOC(err, out->roots, ifd_new_array(arena, ifd_complex, n));
  for (int64_t k = 0; k < n; k++) out->roots[k] = ifd_fft_root(k, n);
  return IFD_OK;
}

int64_t ifd_fft_scratch(const ifd_fft *f) { return f->inner ? 2 * f->inner->n : f->n; }

/* ---- mixed radix ---- */

/* A stage splits transforms of length p * m, of which there are s side by side, into p times as many of
 * length m: y[s (p q + k) + j] = w^(q k) sum over r of x[s (q + m r) + j] exp(-2 pi i r k / p). */
typedef struct stage {
  const ifd_complex *roots;
  int64_t n, m, s;
  int p;
} stage;

static void run_radix_2(const stage *t, const ifd_complex *x, ifd_complex *y) {
  for (int64_t q = 0; q < t->m; q++) {
    ifd_complex w = t->roots[q * t->s];
    const ifd_complex *a = x + t->s * q, *b = a + t->s * t->m;
    ifd_complex *to = y + t->s * 2 * q;
    for (int64_t j = 0; j < t->s; j++) {
      to[j] = add(a[j], b[j]);
      to[t->s + j] = multiply(w, subtract(a[j], b[j]));
    }
  }
}

static void run_radix_4(const stage *t, const ifd_complex *x, ifd_complex *y) {
  int64_t s = t->s;
  for (int64_t q = 0; q < t->m; q++) {
    ifd_complex w1 = t->roots[q * s], w2 = t->roots[2 * q * s], w3 = t->roots[3 * q * s];
    const ifd_complex *a = x + s * q, *b = a + s * t->m, *c = b + s * t->m, *d = c + s * t->m;
    ifd_complex *to = y + s * 4 * q;
    for (int64_t j = 0; j < s; j++) {
      ifd_complex ac = add(a[j], c[j]), bd = add(b[j], d[j]), a_c = subtract(a[j], c[j]),
                  b_d = times_minus_i(subtract(b[j], d[j]));
      to[j] = add(ac, bd);
      to[s + j] = multiply(w1, add(a_c, b_d));
      to[2 * s + j] = multiply(w2, subtract(ac, bd));
      to[3 * s + j] = multiply(w3, subtract(a_c, b_d));
    }
  }
}

static void run_any_radix(const stage *t, const ifd_complex *x, ifd_complex *y) {
  int64_t step = t->n / t->p;
  for (int64_t q = 0; q < t->m; q++)
    for (int k = 0; k < t->p; k++)
      for (int64_t j = 0; j < t->s; j++) {
        const ifd_complex *from = x + t->s * q + j;
        ifd_complex sum = *from;
        for (int r = 1; r < t->p; r++)
          sum = add(sum, multiply(from[t->s * t->m * r], t->roots[r * k % t->p * step]));
        y[t->s * (t->p * q + k) + j] = multiply(t->roots[q * k * t->s], sum);
      }
}

static void run_mixed(const ifd_fft *f, ifd_complex *x, ifd_complex *scratch) {
  ifd_complex *from = x, *to = scratch, *t;
  stage g = {.roots = f->roots, .n = f->n, .m = f->n, .s = 1};
  for (int i = 0; i < f->n_factors; i++, g.s *= g.p) {
    g.p = f->factors[i];
    g.m /= g.p;
    (g.p == 4 ? run_radix_4 : g.p == 2 ? run_radix_2 : run_any_radix)(&g, from, to);
    t = from, from = to, to = t;
  }
  if (from != x) memcpy(x, from, (size_t)f->n * sizeof *x);
}

/* ---- Bluestein ---- */

/* j k = (j^2 + k^2 - (k - j)^2) / 2 makes the transform a convolution with the chirp. */
static void run_bluestein(const ifd_fft *f, ifd_complex *x, ifd_complex *scratch) {
  int64_t m = f->inner->n;
  ifd_complex *a = scratch, *rest = scratch + m;
  for (int64_t k = 0; k < f->n; k++) a[k] = multiply(x[k], f->chirp[k]);
  memset(a + f->n, 0, (size_t)(m - f->n) * sizeof *a);
  ifd_fft_run(f->inner, a, rest, false);
  for (int64_t k = 0; k < m; k++) a[k] = multiply(a[k], f->filter[k]);
  ifd_fft_run(f->inner, a, rest, true);
  for (int64_t k = 0; k < f->n; k++) x[k] = multiply(a[k], f->chirp[k]);
}

void ifd_fft_run(const ifd_fft *f, ifd_complex *x, ifd_complex *scratch, bool inverse) {
  for (int64_t k = 0; inverse && k < f->n; k++) x[k] = conjugate(x[k]);
  (f->inner ? run_bluestein : run_mixed)(f, x, scratch);
  for (int64_t k = 0; inverse && k < f->n; k++)
    x[k] = (ifd_complex){x[k].re / (double)f->n, -x[k].im / (double)f->n};
}
