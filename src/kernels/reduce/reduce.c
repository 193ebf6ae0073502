#include "kernels/reduce/plain.h"
#include "kernels/fold.h"
#include "kernels/transpose.h"
#include "kernels/vmath.h"

enum { COLUMN_BLOCK = IFD_FOLD_BLOCK / 16, WIDTH = 512 };

/* ---- steps ---- */

IFD_INLINE v16 step_product(v16 sum, v16 x, v16 c) { return (void)c, v16_mul(sum, x); }
IFD_INLINE v16 step_abs(v16 sum, v16 x, v16 c) { return (void)c, v16_add(sum, v16_abs(x)); }
/* exp(x - c), 0 where both are -Inf */
IFD_INLINE v16 step_exp(v16 sum, v16 x, v16 c) { return v16_add(sum, v16_exp(v16_sub(x, c))); }

/* What becomes of the m folds of n elements. */
static void finish(ifd_reduce op, size_t n, float *y, size_t m) {
  if (op != IFD_REDUCE_Mean && op != IFD_REDUCE_L2 && op != IFD_REDUCE_LogSum) return;
  for (size_t j = 0; j < m; j += 16) {
    const int rest = m - j < 16 ? (int)(m - j) : 16;
    const v16 v = v16_load_n(y + j, rest);
    const v16 end = op == IFD_REDUCE_Mean ? v16_div(v, v16_set1((float)n))
                    : op == IFD_REDUCE_L2 ? v16_sqrt(v)
                                          : v16_log(v);
    v16_store_n(y + j, end, rest);
  }
}

/* ---- rows ---- */

static float product_row(const float *x, size_t n) {
  return v16_product(v16_fold(x, n, v16_set1(1), step_product, v16_zero(), v16_mul));
}
static float abs_row(const float *x, size_t n) {
  return v16_sum(v16_fold(x, n, v16_zero(), step_abs, v16_zero(), v16_add));
}
static float sum_row(const float *x, size_t n) { return ifd_row_sum(x, n); }
static float max_row(const float *x, size_t n) { return ifd_row_max(x, n); }
static float min_row(const float *x, size_t n) { return ifd_row_min(x, n); }
static float square_row(const float *x, size_t n) { return ifd_row_squares(x, n); }
static float log_sum_exp_row(const float *x, size_t n) {
  float max = ifd_row_max(x, n);
  if (!isfinite(max)) return max;
  float sum = v16_sum(v16_fold(x, n, v16_zero(), step_exp, v16_set1(max), v16_add));
  finish(IFD_REDUCE_LogSum, n, &sum, 1);
  return max + sum;
}

/* One row in each lane: element k in vector k. What the tree joins with the start stays as it is. */
IFD_INLINE v16 fold_turned(v16 t[16], size_t n, float start, ifd_fold_step *step, ifd_fold_join *join) {
  for (size_t k = 0; k < n; k++) t[k] = step(v16_set1(start), t[k], v16_zero());
  for (size_t half = 8; half; half /= 2)
    for (size_t k = 0; k < half && k + half < n; k++) t[k] = join(t[k], t[k + half]);
  return n ? t[0] : v16_set1(start);
}

#define TURNED(name, start, step, join)                                                                      \
  static v16 name##_turned(v16 *t, size_t n) { return fold_turned(t, n, start, step, join); }
TURNED(sum, 0, v16_step_sum, v16_add)
TURNED(max, -INFINITY, v16_step_greater, v16_greater)
TURNED(min, INFINITY, v16_step_smaller, v16_smaller)
TURNED(product, 1, step_product, v16_mul)
TURNED(square, 0, v16_step_square, v16_add)
TURNED(abs, 0, step_abs, v16_add)
static v16 log_sum_exp_turned(v16 *t, size_t n) {
  v16 max = v16_set1(-INFINITY);
  for (size_t k = 0; k < n; k++) max = v16_greater(max, t[k]);
  for (size_t k = 0; k < n; k++) t[k] = v16_exp(v16_sub(t[k], max));
  const v16 log = v16_log(sum_turned(t, n));
  return v16_select(v16_lt(v16_abs(max), v16_set1(INFINITY)), v16_add(max, log), max);
}

/* Rows of at most sixteen elements, sixteen rows at a time. */
static void short_rows(v16 (*turned)(v16 *t, size_t n), const float *x, size_t row_stride, size_t n_rows,
                       size_t n, float *y) {
  v16 t[16];
  size_t r = 0;
  for (; r + 16 <= n_rows; r += 16) {
    v16_load_turned(t, x + r * row_stride, (int64_t)row_stride, (int)n, n && r + 32 <= n_rows);
    v16_store(y + r, turned(t, n));
  }
  if (r == n_rows) return;
  for (size_t k = 0; k < 16; k++)
    t[k] = r + k < n_rows ? v16_load_n(x + (r + k) * row_stride, (int)n) : v16_zero();
  v16_transpose(t);
  v16_store_n(y + r, turned(t, n), (int)(n_rows - r));
}

/* ---- columns ---- */

/* y[j] = step(y[j], x[j], c[j]); c may be NULL */
IFD_INLINE void step_columns(const float *x, const float *c, float *y, size_t width, ifd_fold_step *step) {
  size_t j = 0;
  for (; j + 16 <= width; j += 16)
    v16_store(y + j, step(v16_load(y + j), v16_load(x + j), c ? v16_load(c + j) : v16_zero()));
  if (j < width) {
    const int rest = (int)(width - j);
    v16 r = step(v16_load_n(y + j, rest), v16_load_n(x + j, rest), c ? v16_load_n(c + j, rest) : v16_zero());
    v16_store_n(y + j, r, rest);
  }
}

/* The same fold of V vectors of columns, held in registers */
IFD_INLINE void fold_vectors(const int V, const float *x, size_t stride, size_t n, const float *c, v16 start,
                             ifd_fold_step *step, ifd_fold_step *join, float *y) {
  enum { MOST = 4 };
  v16 total[MOST], block[MOST], with[MOST];
  for (int v = 0; v < V; v++) total[v] = start, with[v] = c ? v16_load(c + 16 * v) : v16_zero();
  for (size_t at = 0; at < n; at += COLUMN_BLOCK) {
    const size_t end = n - at < COLUMN_BLOCK ? n : at + COLUMN_BLOCK;
    for (int v = 0; v < V; v++) block[v] = start;
    for (size_t i = at; i < end; i++)
      for (int v = 0; v < V; v++) block[v] = step(block[v], v16_load(x + i * stride + 16 * v), with[v]);
    for (int v = 0; v < V; v++) total[v] = join(total[v], block[v], v16_zero());
  }
  for (int v = 0; v < V; v++) v16_store(y + 16 * v, total[v]);
}

/* Of up to sixteen columns */
IFD_INLINE void fold_sixteen(const float *x, size_t stride, size_t n, int width, v16 c, v16 start,
                             ifd_fold_step *step, ifd_fold_step *join, float *y) {
  v16 total = start;
  for (size_t at = 0; at < n; at += COLUMN_BLOCK) {
    const size_t end = n - at < COLUMN_BLOCK ? n : at + COLUMN_BLOCK;
    v16 block = start;
    if (width == 16)
      for (size_t i = at; i < end; i++) block = step(block, v16_load(x + i * stride), c);
    else
      for (size_t i = at; i < end; i++) block = step(block, v16_load_n(x + i * stride, width), c);
    total = join(total, block, c);
  }
  v16_store_n(y, total, width);
}

/* y[j] = fold of column j, width <= WIDTH */
IFD_INLINE void fold_columns(const float *x, size_t stride, size_t n, size_t width, const float *c,
                             float start, ifd_fold_step *step, ifd_fold_step *join, float *y) {
  if (width <= 16) {
    v16 v = c ? v16_load_n(c, (int)width) : v16_zero();
    fold_sixteen(x, stride, n, (int)width, v, v16_set1(start), step, join, y);
    return;
  }
  if (width == 32) {
    fold_vectors(2, x, stride, n, c, v16_set1(start), step, join, y);
    return;
  }
  if (width == 64) {
    fold_vectors(4, x, stride, n, c, v16_set1(start), step, join, y);
    return;
  }
  _Alignas(64) float block[WIDTH];
  for (size_t j = 0; j < width; j++) y[j] = start;
  for (size_t at = 0; at < n; at += COLUMN_BLOCK) {
    const size_t end = n - at < COLUMN_BLOCK ? n : at + COLUMN_BLOCK;
    for (size_t j = 0; j < width; j++) block[j] = start;
    for (size_t i = at; i < end; i++) step_columns(x + i * stride, c, block, width, step);
    step_columns(block, NULL, y, width, join);
  }
}

static void sum_columns(const float *x, size_t stride, size_t n, size_t width, float *y) {
  fold_columns(x, stride, n, width, NULL, 0, v16_step_sum, v16_step_sum, y);
}
static void max_columns(const float *x, size_t stride, size_t n, size_t width, float *y) {
  fold_columns(x, stride, n, width, NULL, -INFINITY, v16_step_greater, v16_step_greater, y);
}
static void min_columns(const float *x, size_t stride, size_t n, size_t width, float *y) {
  fold_columns(x, stride, n, width, NULL, INFINITY, v16_step_smaller, v16_step_smaller, y);
}
static void product_columns(const float *x, size_t stride, size_t n, size_t width, float *y) {
  fold_columns(x, stride, n, width, NULL, 1, step_product, step_product, y);
}
static void square_columns(const float *x, size_t stride, size_t n, size_t width, float *y) {
  fold_columns(x, stride, n, width, NULL, 0, v16_step_square, v16_step_sum, y);
}
static void abs_columns(const float *x, size_t stride, size_t n, size_t width, float *y) {
  fold_columns(x, stride, n, width, NULL, 0, step_abs, v16_step_sum, y);
}
static void log_sum_exp_columns(const float *x, size_t stride, size_t n, size_t width, float *y) {
  _Alignas(64) float max[WIDTH];
  max_columns(x, stride, n, width, max);
  fold_columns(x, stride, n, width, max, 0, step_exp, v16_step_sum, y);
  finish(IFD_REDUCE_LogSum, n, y, width);
  for (size_t j = 0; j < width; j++) y[j] = isfinite(max[j]) ? max[j] + y[j] : max[j];
}

/* ---- operators ---- */

typedef struct fold {
  float (*row)(const float *x, size_t n);
  v16 (*turned)(v16 *t, size_t n); /* of rows of at most 16 */
  void (*columns)(const float *x, size_t stride, size_t n, size_t width, float *y);
} fold;
static const fold folds[IFD_N_REDUCE] = {
#define FOLD(name)                                                                                           \
  { name##_row, name##_turned, name##_columns }
    [IFD_REDUCE_Sum] = FOLD(sum),      [IFD_REDUCE_Mean] = FOLD(sum),
    [IFD_REDUCE_Max] = FOLD(max),      [IFD_REDUCE_Min] = FOLD(min),
    [IFD_REDUCE_Prod] = FOLD(product), [IFD_REDUCE_SumSquare] = FOLD(square),
    [IFD_REDUCE_L1] = FOLD(abs),       [IFD_REDUCE_L2] = FOLD(square),
    [IFD_REDUCE_LogSum] = FOLD(sum),   [IFD_REDUCE_LogSumExp] = FOLD(log_sum_exp),
#undef FOLD
};

static void rows(ifd_reduce op, const float *x, size_t row_stride, size_t n_rows, size_t n, float *y) {
  if (n <= 16)
    short_rows(folds[op].turned, x, row_stride, n_rows, n, y);
  else
    for (size_t r = 0; r < n_rows; r++) y[r] = folds[op].row(x + r * row_stride, n);
  finish(op, n, y, n_rows);
}

static void columns(ifd_reduce op, const float *x, size_t stride, size_t n, size_t n_columns, float *y) {
  for (size_t j = 0; j < n_columns; j += WIDTH)
    folds[op].columns(x + j, stride, n, n_columns - j < WIDTH ? n_columns - j : WIDTH, y + j);
  finish(op, n, y, n_columns);
}

const struct ifd_k_reduce_table IFD_K(ifd_k_reduce) = {.rows = rows,
                                                       .columns = columns,
                                                       .plain = IFD_K(ifd_reduce_plain_of),
                                                       .arg = IFD_K(ifd_reduce_arg_of),
                                                       .top = IFD_K(ifd_reduce_top_of),
                                                       .running = IFD_K(ifd_reduce_running_of)};
