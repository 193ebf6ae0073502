/* The one order in which a contiguous row of floats is reduced, on every ISA and for every kernel: sixteen
 * virtual lanes, lane k taking elements k, k + 16, … in order; every 4096 elements the lanes are joined to
 * those of the row so far (so that a long sum keeps its digits), at the end simd.h's tree joins the lanes. */
#ifndef IFD_KERNELS_FOLD_H
#define IFD_KERNELS_FOLD_H

#include "kernels/simd.h"

enum { IFD_FOLD_BLOCK = 4096 };

typedef v16 ifd_fold_step(v16 sum, v16 x, v16 c);
typedef v16 ifd_fold_join(v16 a, v16 b);

/* step(… step(step(start, x0, c), x1, c) …, c) on each lane, in blocks that join makes one */
IFD_INLINE v16 v16_fold(const float *x, size_t n, v16 start, ifd_fold_step *step, v16 c,
                        ifd_fold_join *join) {
  v16 total = start;
  for (size_t at = 0; at < n; at += IFD_FOLD_BLOCK) {
    const size_t end = n - at < IFD_FOLD_BLOCK ? n : at + IFD_FOLD_BLOCK;
    v16 sum = start;
    size_t i = at;
    for (; i + 16 <= end; i += 16) sum = step(sum, v16_load(x + i), c);
    if (i < end) {
      const int rest = (int)(end - i);
      sum = v16_select(m16_first(rest), step(sum, v16_load_n(x + i, rest), c), sum);
    }
    total = join(total, sum);
  }
  return total;
}

/* Sums of R rows, rs apart, from 0, row r with c[r], each as v16_fold makes it: their chains do not wait for
 * each other. R is a constant where this is inlined. */
IFD_INLINE void v16_fold_rows(const int R, v16 *total, const float *x, size_t rs, size_t n,
                              ifd_fold_step *step, const v16 *c) {
  for (int r = 0; r < R; r++) total[r] = v16_zero();
  for (size_t at = 0; at < n; at += IFD_FOLD_BLOCK) {
    const size_t end = n - at < IFD_FOLD_BLOCK ? n : at + IFD_FOLD_BLOCK;
    v16 sum[8];
    size_t i = at;
    for (int r = 0; r < R; r++) sum[r] = v16_zero();
    for (; i + 16 <= end; i += 16)
      for (int r = 0; r < R; r++) sum[r] = step(sum[r], v16_load(x + (size_t)r * rs + i), c[r]);
    const int rest = (int)(end - i);
    for (int r = 0; r < R && rest; r++) {
      v16 more = step(sum[r], v16_load_n(x + (size_t)r * rs + i, rest), c[r]);
      sum[r] = v16_select(m16_first(rest), more, sum[r]);
    }
    for (int r = 0; r < R; r++) total[r] = v16_add(total[r], sum[r]);
  }
}

IFD_INLINE v16 v16_step_sum(v16 sum, v16 x, v16 c) { return (void)c, v16_add(sum, x); }
IFD_INLINE v16 v16_step_square(v16 sum, v16 x, v16 c) { return (void)c, v16_fma(x, x, sum); }
/* (x - c)^2 */
IFD_INLINE v16 v16_step_deviation(v16 sum, v16 x, v16 c) {
  v16 d = v16_sub(x, c);
  return v16_fma(d, d, sum);
}
/* NaN wins, as soon as it is met */
IFD_INLINE v16 v16_greater(v16 a, v16 b) { return v16_select(v16_isnan(a), a, v16_max(a, b)); }
IFD_INLINE v16 v16_smaller(v16 a, v16 b) { return v16_select(v16_isnan(a), a, v16_min(a, b)); }
IFD_INLINE v16 v16_step_greater(v16 best, v16 x, v16 c) { return (void)c, v16_greater(best, x); }
IFD_INLINE v16 v16_step_smaller(v16 best, v16 x, v16 c) { return (void)c, v16_smaller(best, x); }

IFD_INLINE float ifd_row_sum(const float *x, size_t n) {
  return v16_sum(v16_fold(x, n, v16_zero(), v16_step_sum, v16_zero(), v16_add));
}
IFD_INLINE float ifd_row_squares(const float *x, size_t n) {
  return v16_sum(v16_fold(x, n, v16_zero(), v16_step_square, v16_zero(), v16_add));
}
/* What wins over all elements, in four chains that do not wait for each other: here the order does not
 * matter */
IFD_INLINE v16 v16_winner(const float *x, size_t n, v16 start, ifd_fold_join *wins) {
  v16 a = start, b = start, c = start, d = start;
  size_t i = 0;
  for (; i + 64 <= n; i += 64) {
    a = wins(a, v16_load(x + i)), b = wins(b, v16_load(x + i + 16));
    c = wins(c, v16_load(x + i + 32)), d = wins(d, v16_load(x + i + 48));
  }
  for (; i + 16 <= n; i += 16) a = wins(a, v16_load(x + i));
  if (i < n) {
    const int rest = (int)(n - i);
    a = v16_select(m16_first(rest), wins(a, v16_load_n(x + i, rest)), a);
  }
  return wins(wins(a, b), wins(c, d));
}
/* The greatest element, NaN if one is; -Inf of none */
IFD_INLINE float ifd_row_max(const float *x, size_t n) {
  v16 best = v16_winner(x, n, v16_set1(-INFINITY), v16_greater);
  return m16_any(v16_isnan(best)) ? NAN : v16_hmax(best);
}
IFD_INLINE float ifd_row_min(const float *x, size_t n) {
  v16 best = v16_winner(x, n, v16_set1(INFINITY), v16_smaller);
  return m16_any(v16_isnan(best)) ? NAN : v16_hmin(best);
}

#endif
