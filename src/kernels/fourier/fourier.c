#include "kernels/fourier/fourier.h"
#include "kernels/part.h"
#include "kernels/transpose.h"

#define UNROLL_ _Pragma("GCC unroll 8")

/* A complex number of each of sixteen frames; in memory its real parts stand before its imaginary ones. */
typedef struct number {
  v16 re, im;
} number;

IFD_INLINE number load(const float *z) { return (number){v16_load(z), v16_load(z + 16)}; }
IFD_INLINE number load_part(const float *z) { return (number){part_load(z), part_load(z + 16)}; }
IFD_INLINE void store_part(float *z, number a) {
  part_store(z, a.re);
  part_store(z + 16, a.im);
}
IFD_INLINE number spread(ifd_fourier_number w) { return (number){v16_set1(w.re), v16_set1(w.im)}; }
IFD_INLINE number add(number a, number b) { return (number){v16_add(a.re, b.re), v16_add(a.im, b.im)}; }
IFD_INLINE number subtract(number a, number b) { return (number){v16_sub(a.re, b.re), v16_sub(a.im, b.im)}; }
IFD_INLINE number multiply(number a, number w) {
  return (number){v16_fnma(a.im, w.im, v16_mul(a.re, w.re)), v16_fma(a.im, w.re, v16_mul(a.re, w.im))};
}
IFD_INLINE number times_minus_i(number a) { return (number){a.im, v16_neg(a.re)}; }

/* ---- frames to numbers ---- */

/* Elements [t, t + n) of all frames, two of them a number, windowed and halved (which is exact). */
static void read_frames(const ifd_k_transform *f, const ifd_k_fourier_frames *p, int64_t t, int n, float *z) {
  v16 v[16];
  for (int64_t i = 0; i < 16; i++)
    v[i] = v16_load_n(p->x + (i < p->n_frames ? i : p->n_frames - 1) * p->step + t, n);
  v16_transpose(v);
  for (int i = 0; i < n; i++)
    v16_store(z + f->places[(t + i) / 2] * 32 + i % 2 * 16, v16_mul(v[i], v16_set1(0.5f * p->window[t + i])));
}

/* ---- stages ---- */

/* A stage joins transforms of length `len`, p of which lie side by side, into ones of p times the length. */
typedef struct stage {
  const ifd_fourier_number *roots;
  int64_t half, len;
} stage;

IFD_INLINE void join_4(number a[4]) {
  const number s = add(a[0], a[2]), d = subtract(a[0], a[2]), t = add(a[1], a[3]),
               e = times_minus_i(subtract(a[1], a[3]));
  a[0] = add(s, t), a[1] = add(d, e), a[2] = subtract(s, t), a[3] = subtract(d, e);
}

IFD_INLINE void join_any(const int p, const stage *g, number a[]) {
  number sums[IFD_FOURIER_MAX_RADIX];
  UNROLL_ for (int k = 0; k < p; k++) {
    sums[k] = a[0];
    UNROLL_ for (int r = 1; r < p; r++) sums[k] =
        add(sums[k], multiply(a[r], spread(g->roots[r * k % p * (g->half / p)])));
  }
  UNROLL_ for (int k = 0; k < p; k++) a[k] = sums[k];
}

IFD_INLINE void join(const int p, const stage *g, number a[]) {
  if (p == 4)
    join_4(a);
  else if (p == 2) {
    const number b = a[1];
    a[1] = subtract(a[0], b), a[0] = add(a[0], b);
  } else
    join_any(p, g, a);
}

/* Of the frames from z on, as many as a part has. */
IFD_INLINE void run_stage_part(const int p, const stage *g, float *z) {
  const int64_t whole = g->len * p;
  for (int64_t k = 0; k < g->len; k++) {
    number turn[IFD_FOURIER_MAX_RADIX], a[IFD_FOURIER_MAX_RADIX];
    UNROLL_ for (int r = 1; r < p; r++) turn[r] = spread(g->roots[r * k * (g->half / whole)]);
    for (float *at = z + k * 32; at < z + g->half * 32; at += whole * 32) {
      UNROLL_ for (int r = 0; r < p; r++) a[r] = load_part(at + r * g->len * 32);
      if (k) UNROLL_ for (int r = 1; r < p; r++) a[r] = multiply(a[r], turn[r]);
      join(p, g, a);
      UNROLL_ for (int r = 0; r < p; r++) store_part(at + r * g->len * 32, a[r]);
    }
  }
}

IFD_INLINE void run_stage(const int p, const stage *g, float *z) {
  for (int lane = 0; lane < 16; lane += IFD_PART) run_stage_part(p, g, z + lane);
}

static void run_stages(const ifd_k_transform *f, float *z) {
  stage g = {f->roots, f->half, 1};
  for (int i = 0; i < f->n_factors; g.len *= f->factors[i++]) switch (f->factors[i]) {
    case 2: run_stage(2, &g, z); break;
    case 3: run_stage(3, &g, z); break;
    case 4: run_stage(4, &g, z); break;
    default: run_stage(5, &g, z);
    }
}

/* ---- numbers to bins ---- */

IFD_INLINE void put(const ifd_k_fourier_frames *p, int64_t k, number a) {
  const int n = (int)p->n_frames;
  if (k >= p->n_bins) return;
  if (p->re) v16_store_n(p->re + k * p->rs, a.re, n);
  if (p->im) v16_store_n(p->im + k * p->rs, v16_mul(v16_set1(p->im_sign), a.im), n);
}

/* Elements at even and at odd places have the transforms z[k] + conj z[half - k] and -i times the difference;
 * they make bins k and half - k. */
static void take_apart(const ifd_k_transform *f, const ifd_k_fourier_frames *p, const float *z) {
  for (int64_t k = 0; 2 * k <= f->half; k++) {
    const number a = load(z + k * 32), b = load(z + (k ? f->half - k : 0) * 32), c = {b.re, v16_neg(b.im)};
    const number even = add(a, c), odd = multiply(times_minus_i(subtract(a, c)), spread(f->turns[k]));
    const number low = add(even, odd), high = subtract(even, odd);
    put(p, k, low);
    if (2 * k != f->half) put(p, f->half - k, (number){high.re, v16_neg(high.im)});
  }
}

static void run(const ifd_k_transform *f, const ifd_k_fourier_frames *p, float *scratch) {
  for (int64_t t = 0; t < f->n; t += 16) read_frames(f, p, t, f->n - t < 16 ? (int)(f->n - t) : 16, scratch);
  run_stages(f, scratch);
  take_apart(f, p, scratch);
}

const struct ifd_k_fourier_table IFD_K(ifd_k_fourier) = {.run = run};
