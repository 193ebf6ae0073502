#include "kernels/softmax/softmax.h"
#include "kernels/fold.h"
#include "kernels/transpose.h"
#include "kernels/vmath.h"

/* ---- rows ---- */

/* y = scale * x + mask */
static void scale_row(const float *x, float scale, const float *mask, float *y, size_t n) {
  const v16 s = v16_set1(scale);
  for (size_t i = 0; i < n; i += 16) {
    const int rest = n - i < 16 ? (int)(n - i) : 16;
    v16 v = v16_mul(v16_load_n(x + i, rest), s);
    v16_store_n(y + i, mask ? v16_add(v, v16_load_n(mask + i, rest)) : v, rest);
  }
}

/* The sum of exp(x - max), in the order of fold.h; y = exp(x - max) unless y is NULL */
IFD_INLINE float exp_row(const float *x, float max, float *y, size_t n) {
  const v16 m = v16_set1(max);
  v16 total = v16_zero();
  for (size_t at = 0; at < n; at += IFD_FOLD_BLOCK) {
    const size_t end = n - at < IFD_FOLD_BLOCK ? n : at + IFD_FOLD_BLOCK;
    v16 sum = v16_zero();
    size_t i = at;
    for (; i + 16 <= end; i += 16) {
      v16 e = v16_exp_down(v16_sub(v16_load(x + i), m));
      if (y) v16_store(y + i, e);
      sum = v16_add(sum, e);
    }
    if (i < end) {
      const int rest = (int)(end - i);
      v16 e = v16_exp_down(v16_sub(v16_load_n(x + i, rest), m));
      if (y) v16_store_n(y + i, e, rest);
      sum = v16_add(sum, v16_select(m16_first(rest), e, v16_zero()));
    }
    total = v16_add(total, sum);
  }
  return v16_sum(total);
}

/* y = x - max - log_sum */
static void shift_row(const float *x, float max, float log_sum, float *y, size_t n) {
  const v16 m = v16_set1(max), l = v16_set1(log_sum);
  size_t i = 0;
  for (; i + 16 <= n; i += 16) v16_store(y + i, v16_sub(v16_sub(v16_load(x + i), m), l));
  if (i < n) v16_store_n(y + i, v16_sub(v16_sub(v16_load_n(x + i, (int)(n - i)), m), l), (int)(n - i));
}

/* Up to 16 rows, step by step: what one waits for, its greatest and its sum, the others do not. */
static void some_rows(bool log, const float *x, size_t x_stride, float *y, size_t y_stride, size_t n_rows,
                      size_t n) {
  float max[16], sum[16] = {0};
  for (size_t r = 0; r < n_rows; r++) max[r] = ifd_row_max(x + r * x_stride, n);
  for (size_t r = 0; r < n_rows; r++)
    sum[r] = exp_row(x + r * x_stride, max[r], log ? NULL : y + r * y_stride, n);
  v16_store(sum, log ? v16_log(v16_load(sum)) : v16_div(v16_set1(1), v16_load(sum)));
  for (size_t r = 0; r < n_rows; r++)
    if (log)
      shift_row(x + r * x_stride, max[r], sum[r], y + r * y_stride, n);
    else
      scale_row(y + r * y_stride, sum[r], NULL, y + r * y_stride, n);
}

/* Up to 16 rows of fewer than 16 elements, a lane each: the same operations in the same order. */
static void narrow_rows(bool log, const float *x, size_t x_stride, float *y, size_t y_stride, size_t n_rows,
                        int n) {
  v16 v[16], e[16];
  for (size_t r = 0; r < 16; r++) v[r] = v16_load_n(x + (r < n_rows ? r : 0) * x_stride, n);
  v16_transpose(v);
  v16 max = v[0];
  for (int i = 1; i < n; i++) max = v16_greater(max, v[i]);
  for (int i = 0; i < n; i++) v[i] = v16_sub(v[i], max), e[i] = v16_exp_down(v[i]);
  for (int i = n; i < 16; i++) v[i] = e[i] = v16_zero();
  for (int i = 0; i < n && !log; i++) v[i] = e[i];
  for (int half = 8; half; half /= 2)
    for (int i = 0; i < half; i++) e[i] = v16_add(e[i], e[i + half]);
  const v16 last = log ? v16_log(e[0]) : v16_div(v16_set1(1), e[0]);
  for (int i = 0; i < n; i++) v[i] = log ? v16_sub(v[i], last) : v16_mul(v[i], last);
  v16_transpose(v);
  for (size_t r = 0; r < n_rows && r < 16; r++) v16_store_n(y + r * y_stride, v[r], n);
}

static void rows(bool log, const float *x, size_t x_stride, float scale, const float *mask,
                 size_t mask_stride, float *y, size_t y_stride, size_t n_rows, size_t n) {
  enum { AT_ONCE = 2048 }; /* elements, which stay in the first-level cache */
  const bool plain = !mask && scale == 1, narrow = n < 16 && plain;
  const size_t many = narrow || n * 16 <= AT_ONCE ? 16 : n < AT_ONCE ? AT_ONCE / n : 1;
  for (size_t r = 0, some; r < n_rows; r += some, x += some * x_stride, y += some * y_stride) {
    some = n_rows - r < many ? n_rows - r : many;
    for (size_t k = 0; k < some && !plain; k++)
      scale_row(x + k * x_stride, scale, mask ? mask + (r + k) * mask_stride : NULL, y + k * y_stride, n);
    if (narrow && some >= 4)
      narrow_rows(log, x, x_stride, y, y_stride, some, (int)n);
    else
      some_rows(log, plain ? x : y, plain ? x_stride : y_stride, y, y_stride, some, n);
  }
}

/* ---- columns ---- */

/* Up to sixteen columns */
IFD_INLINE void sixteen_columns(bool log, const float *x, float *y, size_t stride, size_t n, int width) {
  v16 max = v16_set1(-INFINITY), sum = v16_zero();
  for (size_t i = 0; i < n; i++) max = v16_greater(max, v16_load_n(x + i * stride, width));
  for (size_t i = 0; i < n; i++) {
    v16 d = v16_sub(v16_load_n(x + i * stride, width), max), e = v16_exp_down(d);
    v16_store_n(y + i * stride, log ? d : e, width);
    sum = v16_add(sum, e);
  }
  const v16 last = log ? v16_log(sum) : v16_div(v16_set1(1), sum);
  for (size_t i = 0; i < n; i++) {
    v16 v = v16_load_n(y + i * stride, width);
    v16_store_n(y + i * stride, log ? v16_sub(v, last) : v16_mul(v, last), width);
  }
}

static void columns(bool log, const float *x, float *y, size_t stride, size_t n, size_t n_columns) {
  size_t j = 0;
  for (; j + 16 <= n_columns; j += 16)
    if (log)
      sixteen_columns(true, x + j, y + j, stride, n, 16);
    else
      sixteen_columns(false, x + j, y + j, stride, n, 16);
  if (j < n_columns) sixteen_columns(log, x + j, y + j, stride, n, (int)(n_columns - j));
}

/* ---- rows of scores ---- */

/* Up to 16 elements, masked; the greatest so far. A NaN may be forgotten: its weight will tell. */
IFD_INLINE v16 mask_some(float *x, v16 scale, const float *mask, int n, v16 most) {
  v16 v = v16_load_n(x, n);
  if (mask) {
    v = v16_fma(v, scale, v16_load_n(mask, n));
    v16_store_n(x, v, n);
  }
  return v16_max(most, n == 16 ? v : v16_select(m16_first(n), v, v16_set1(-INFINITY)));
}

static float mask_scores(float *x, size_t vs, float scale, const float *mask, size_t n) {
  const v16 s = v16_set1(scale);
  v16 most = v16_set1(-INFINITY);
  size_t i = 0;
  for (; i + 16 <= n; i += 16, x += vs) most = mask_some(x, s, mask ? mask + i : NULL, 16, most);
  if (i < n) most = mask_some(x, s, mask ? mask + i : NULL, (int)(n - i), most);
  return v16_hmax(most);
}

/* 2^((x - most) * factor) of up to 16 elements; their sum to *sum. */
IFD_INLINE void exp_some(float *x, v16 most, v16 factor, int n, v16 *sum) {
  v16 e = v16_exp2_down(v16_mul(v16_sub(v16_load_n(x, n), most), factor));
  v16_store_n(x, e, n);
  *sum = v16_add(*sum, n == 16 ? e : v16_select(m16_first(n), e, v16_zero()));
}

/* The sum, in the order of fold.h */
static float exp_scores(float *x, size_t vs, float most, float factor, size_t n) {
  const v16 m = v16_set1(most), f = v16_set1(factor);
  v16 total = v16_zero();
  for (size_t at = 0; at < n; at += IFD_FOLD_BLOCK) {
    const size_t end = n - at < IFD_FOLD_BLOCK ? n : at + IFD_FOLD_BLOCK;
    v16 sum = v16_zero();
    size_t i = at;
    for (; i + 16 <= end; i += 16, x += vs) exp_some(x, m, f, 16, &sum);
    if (i < end) exp_some(x, m, f, (int)(end - i), &sum);
    total = v16_add(total, sum);
  }
  return v16_sum(total);
}

static bool is_blind(const float *x, size_t vs, size_t n) {
  for (size_t i = 0; i < n; i++)
    if (x[i / 16 * vs + i % 16] != -INFINITY) return false;
  return true;
}

static void clear(float *x, size_t vs, size_t n) {
  for (size_t i = 0; i < n; i++) x[i / 16 * vs + i % 16] = 0;
}

static void weights(float *x, size_t rs, size_t vs, float scale, const float *mask, size_t mask_stride,
                    bool blind, float *factors, size_t n_rows, size_t n) {
  const float log2_e = 0x1.715476p+0f, factor = mask ? log2_e : scale * log2_e;
  for (size_t r = 0; r < n_rows; r++)
    factors[r] = mask_scores(x + r * rs, vs, scale, mask ? mask + r * mask_stride : NULL, n);
  for (size_t r = 0; r < n_rows; r++, x += rs)
    if (blind && factors[r] == -INFINITY && is_blind(x, vs, n)) {
      clear(x, vs, n);
      factors[r] = 0;
    } else
      factors[r] = 1 / exp_scores(x, vs, factors[r], factor, n);
}

/* ---- rows of 16-bit floats' values ---- */

IFD_INLINE v16 load_some(const float *x, int n) { return n == 16 ? v16_load(x) : v16_load_n(x, n); }
IFD_INLINE void store_some(float *y, v16 v, int n) {
  if (n == 16)
    v16_store(y, v);
  else
    v16_store_n(y, v, n);
}
static int some(size_t n, size_t i) { return n - i < 16 ? (int)(n - i) : 16; }

/* Scaled and masked, to y; the greatest. A NaN may be forgotten: the sum will tell. */
static float rounded_scores(ifd_k_act r, const float *x, float *y, size_t vs, float scale, const float *mask,
                            size_t n) {
  v16 most = v16_set1(-INFINITY);
  for (size_t i = 0; i < n; i += 16, x += vs, y += vs) {
    const int m = some(n, i);
    v16 v = load_some(x, m);
    if (scale != 1) v = v16_rounded(r, v16_mul(v, v16_set1(scale)));
    if (mask) v = v16_rounded(r, v16_add(v, load_some(mask + i, m)));
    store_some(y, v, m);
    most = v16_max(most, m == 16 ? v : v16_select(m16_first(m), v, v16_set1(-INFINITY)));
  }
  return v16_hmax(most);
}

/* exp(y - most) in place; the sum, in the order of fold.h */
static v16 rounded_exps(ifd_k_act r, float *y, size_t vs, v16 most, size_t n) {
  v16 total = v16_zero();
  for (size_t at = 0; at < n; at += IFD_FOLD_BLOCK) {
    const size_t end = n - at < IFD_FOLD_BLOCK ? n : at + IFD_FOLD_BLOCK;
    v16 sum = v16_zero();
    for (size_t i = at; i < end; i += 16, y += vs) {
      const int m = some(end, i);
      const v16 e = v16_rounded(r, v16_exp_down(v16_rounded(r, v16_sub(load_some(y, m), most))));
      store_some(y, e, m);
      sum = v16_add(sum, m == 16 ? e : v16_select(m16_first(m), e, v16_zero()));
    }
    total = v16_add(total, sum);
  }
  return v16_rounded(r, v16_set1(v16_sum(total)));
}

static void rounded(ifd_k_act r, const float *x, float *y, size_t rs, size_t vs, float scale,
                    const float *mask, size_t mask_stride, size_t n_rows, size_t n) {
  for (size_t k = 0; k < n_rows; k++, x += rs, y += rs, mask = mask ? mask + mask_stride : NULL) {
    const v16 most = v16_set1(rounded_scores(r, x, y, vs, scale, mask, n));
    const v16 sum = rounded_exps(r, y, vs, most, n);
    for (size_t i = 0; i < n; i += 16) {
      float *at = y + i / 16 * vs;
      store_some(at, v16_rounded(r, v16_div(load_some(at, some(n, i)), sum)), some(n, i));
    }
  }
}

static void scale_rows(float *y, size_t stride, const float *factors, size_t n_rows, size_t n) {
  for (size_t r = 0; r < n_rows; r++, y += stride) scale_row(y, factors[r], NULL, y, n);
}

const struct ifd_k_softmax_table IFD_K(ifd_k_softmax) = {
    .rows = rows, .columns = columns, .weights = weights, .rounded = rounded, .scale_rows = scale_rows};
