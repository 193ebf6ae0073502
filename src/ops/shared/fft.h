/* Discrete Fourier transforms of any length, in double: mixed radix where the prime factors are small
 * (Stockham's autosort form), else Bluestein's chirp over a power of two. Errors grow with the logarithm of
 * the length. What is computed depends on the length alone. A plan lives in the arena it was made in and is
 * not changed by running. */
#ifndef IFD_OPS_SHARED_FFT_H
#define IFD_OPS_SHARED_FFT_H

#include "base/arena.h"
#include "base/status.h"

typedef struct ifd_complex {
  double re, im;
} ifd_complex;

typedef struct ifd_fft {
  int64_t n;
  int n_factors;
  int factors[64];    /* their product is n, or, with Bluestein, nothing */
  ifd_complex *roots; /* exp(-2 pi i k / n) */
  /* Bluestein */
  struct ifd_fft *inner; /* of length >= 2 n - 1; NULL for mixed radix */
  ifd_complex *chirp;    /* exp(-pi i k^2 / n) */
  ifd_complex *filter;   /* the transform of its conjugate */
} ifd_fft;

/* exp(-2 pi i a / b) for 0 <= a < b. */
ifd_complex ifd_fft_root(int64_t a, int64_t b);
/* Whether kernels of floats transform frames of this length (kernels/fourier/fourier.h). */
bool ifd_fft_has_kernel(int64_t n);

/* n >= 1. LIMIT when it is too large. */
ifd_status ifd_fft_init(ifd_error *err, ifd_fft *out, ifd_arena *arena, int64_t n);
/* How many elements of scratch ifd_fft_run needs. */
int64_t ifd_fft_scratch(const ifd_fft *f);
/* x: n elements, in place. Forward: sum of x[j] exp(-2 pi i j k / n). Inverse: exp(+…), divided by n. */
void ifd_fft_run(const ifd_fft *f, ifd_complex *x, ifd_complex *scratch, bool inverse);

#endif
