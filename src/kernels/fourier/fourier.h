/* Short-time Fourier transforms of real floats: sixteen frames at once, a lane for each. Frames are read as
 * complex numbers, two elements in one, whose transform of half the length (in place, mixed radix, decimation
 * in time) is then taken apart. What is computed depends on the length alone; a frame's bits on nothing but
 * the frame and the window. */
#ifndef IFD_KERNELS_FOURIER_FOURIER_H
#define IFD_KERNELS_FOURIER_FOURIER_H

#include "kernels/anywhere.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { IFD_FOURIER_FRAMES = 16, IFD_FOURIER_MAX_FACTORS = 32, IFD_FOURIER_MAX_RADIX = 5 };

typedef struct ifd_fourier_number {
  float re, im;
} ifd_fourier_number;

/* Tables of one length, an even one without prime factors above IFD_FOURIER_MAX_RADIX beside the 2. */
typedef struct ifd_k_transform {
  int64_t n, half;
  int n_factors;
  int factors[IFD_FOURIER_MAX_FACTORS]; /* of half; the first stage's first */
  const ifd_fourier_number *roots;      /* exp(-2 pi i k / half), k < half */
  const ifd_fourier_number *turns;      /* exp(-2 pi i k / n), k <= half / 2 */
  const int32_t *places;                /* where the first stage wants number k < half */
} ifd_k_transform;

/* Frames [0, n_frames), at most 16, frame i being x[i * step + t] * window[t], t < n. Bins k < n_bins <= n /
 * 2
 * + 1 of frame i go to re[k * rs + i], and im_sign times their imaginary parts to im[k * rs + i]; either may
 * be NULL. */
typedef struct ifd_k_fourier_frames {
  const float *x;
  int64_t step, n_frames;
  const ifd_float_anywhere *window;
  float *re, *im;
  int64_t rs, n_bins;
  float im_sign;
} ifd_k_fourier_frames;

struct ifd_k_fourier_table {
  /* scratch: ifd_k_fourier_scratch_len */
  void (*run)(const ifd_k_transform *f, const ifd_k_fourier_frames *frames, float *scratch);
};

/* Whether there are tables for the length, how many bytes they take, and making them there; memory is
 * 8-aligned. */
bool ifd_k_fourier_suits(int64_t n);
size_t ifd_k_fourier_tables_len(int64_t n);
void ifd_k_fourier_init(ifd_k_transform *out, int64_t n, void *tables);

/* exp(-2 pi i a / b) for 0 <= a < b. The angle is brought below an eighth of the circle as a fraction, so
 * that only its last step is rounded. */
void ifd_k_fourier_root(int64_t a, int64_t b, double *re, double *im);

static inline size_t ifd_k_fourier_scratch_len(int64_t n) {
  return sizeof(float) * IFD_FOURIER_FRAMES * (size_t)n;
}

#endif
