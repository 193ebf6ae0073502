#include "kernels/reduce/plain.h"
#include "kernels/exp_double.h"
#include "kernels/simd_double.h"

/* What the elements of a column become, a tile of columns at a time; `acc` holds them wide. */
#define MAGNITUDE(a) ((a) < 0 ? -(uint64_t)(a) : (uint64_t)(a))
#define REDUCE(name, t, acc, start, step, end)                                                               \
  static void name##_rows_##t(const void *from, size_t stride, size_t n, size_t n_rows, void *to) {          \
    const t *x = from;                                                                                       \
    t *out = to;                                                                                             \
    for (size_t r = 0; r < n_rows; r++, x += stride) {                                                       \
      acc y = start;                                                                                         \
      for (size_t i = 0; i < n; i++) {                                                                       \
        const acc a = x[i];                                                                                  \
        y = (acc)(step);                                                                                     \
      }                                                                                                      \
      out[r] = (t)(end);                                                                                     \
    }                                                                                                        \
  }                                                                                                          \
  static void name##_columns_##t(const void *from, size_t stride, size_t n, size_t columns, void *to) {      \
    enum { TILE = 256 };                                                                                     \
    const t *x = from;                                                                                       \
    t *out = to;                                                                                             \
    acc tile[TILE];                                                                                          \
    for (size_t at = 0; at < columns; at += TILE) {                                                          \
      const size_t width = columns - at < TILE ? columns - at : TILE;                                        \
      for (size_t j = 0; j < width; j++) tile[j] = start;                                                    \
      for (size_t i = 0; i < n; i++)                                                                         \
        for (size_t j = 0; j < width; j++) {                                                                 \
          const acc y = tile[j], a = x[i * stride + at + j];                                                 \
          tile[j] = (acc)(step);                                                                             \
        }                                                                                                    \
      for (size_t j = 0; j < width; j++) {                                                                   \
        const acc y = tile[j];                                                                               \
        out[at + j] = (t)(end);                                                                              \
      }                                                                                                      \
    }                                                                                                        \
  }
#define TYPE(t, least, most)                                                                                 \
  REDUCE(sum, t, int64_t, 0, (uint64_t)y + (uint64_t)a, y)                                                   \
  REDUCE(mean, t, int64_t, 0, (uint64_t)y + (uint64_t)a, y / (int64_t)n)                                     \
  REDUCE(max, t, t, least, y > a ? y : a, y)                                                                 \
  REDUCE(min, t, t, most, y < a ? y : a, y)                                                                  \
  REDUCE(product, t, int64_t, 1, (uint64_t)y *(uint64_t)a, y)                                                \
  REDUCE(squares, t, int64_t, 0, (uint64_t)y + (uint64_t)a * (uint64_t)a, y)                                 \
  REDUCE(l1, t, int64_t, 0, (uint64_t)y + MAGNITUDE(a), y)
TYPE(int64_t, INT64_MIN, INT64_MAX)
TYPE(int32_t, INT32_MIN, INT32_MAX)
#define EXTREMES(t, least, most)                                                                             \
  REDUCE(max, t, t, least, y > a ? y : a, y)                                                                 \
  REDUCE(min, t, t, most, y < a ? y : a, y)
EXTREMES(int8_t, INT8_MIN, INT8_MAX)
EXTREMES(uint8_t, 0, UINT8_MAX)

/* double: the sum of a row is eight chains, element i in chain i % 8, joined in order, which for one of eight
 * elements and fewer is one chain; a column is one chain. NaN is greatest and least. */
enum { CHAINS = 8 };
#define DOUBLES(name, start, step, end)                                                                      \
  static void name##_rows_double(const void *from, size_t stride, size_t n, size_t n_rows, void *to) {       \
    enum { AT_ONCE = 8 };                                                                                    \
    const double *x = from;                                                                                  \
    double *out = to;                                                                                        \
    size_t r = 0;                                                                                            \
    for (; n <= CHAINS && r + AT_ONCE <= n_rows; r += AT_ONCE, x += AT_ONCE * stride) {                      \
      double row[AT_ONCE];                                                                                   \
      for (size_t k = 0; k < AT_ONCE; k++) row[k] = start;                                                   \
      for (size_t i = 0; i < n; i++)                                                                         \
        for (size_t k = 0; k < AT_ONCE; k++) {                                                               \
          const double y = row[k], a = x[k * stride + i];                                                    \
          row[k] = step;                                                                                     \
        }                                                                                                    \
      for (size_t k = 0; k < AT_ONCE; k++) {                                                                 \
        const double y = row[k];                                                                             \
        out[r + k] = end;                                                                                    \
      }                                                                                                      \
    }                                                                                                        \
    for (; r < n_rows; r++, x += stride) {                                                                   \
      const double y = name##_row(x, n);                                                                     \
      out[r] = end;                                                                                          \
    }                                                                                                        \
  }                                                                                                          \
  static void name##_columns_double(const void *from, size_t stride, size_t n, size_t columns, void *to) {   \
    const double *x = from;                                                                                  \
    double *out = to;                                                                                        \
    for (size_t j = 0; j < columns; j++) out[j] = start;                                                     \
    for (size_t i = 0; i < n; i++)                                                                           \
      for (size_t j = 0; j < columns; j++) {                                                                 \
        const double y = out[j], a = x[i * stride + j];                                                      \
        out[j] = step;                                                                                       \
      }                                                                                                      \
    for (size_t j = 0; j < columns; j++) {                                                                   \
      const double y = out[j];                                                                               \
      out[j] = end;                                                                                          \
    }                                                                                                        \
  }
#define FOLD_DOUBLE(of, n, start, step)                                                                      \
  {                                                                                                          \
    double y = start;                                                                                        \
    for (size_t i = 0; i < n; i++) {                                                                         \
      const double a = of[i];                                                                                \
      y = step;                                                                                              \
    }                                                                                                        \
    return y;                                                                                                \
  }
#define REDUCE_DOUBLE(name, start, step, join, end)                                                          \
  static double name##_row(const double *x, size_t n) {                                                      \
    if (n <= CHAINS) FOLD_DOUBLE(x, n, start, step)                                                          \
    double chain[CHAINS];                                                                                    \
    for (size_t k = 0; k < CHAINS; k++) chain[k] = start;                                                    \
    size_t i = 0;                                                                                            \
    for (; i + CHAINS <= n; i += CHAINS)                                                                     \
      for (size_t k = 0; k < CHAINS; k++) {                                                                  \
        const double y = chain[k], a = x[i + k];                                                             \
        chain[k] = step;                                                                                     \
      }                                                                                                      \
    for (size_t k = 0; i + k < n; k++) {                                                                     \
      const double y = chain[k], a = x[i + k];                                                               \
      chain[k] = step;                                                                                       \
    }                                                                                                        \
    FOLD_DOUBLE(chain, CHAINS, start, join)                                                                  \
  }                                                                                                          \
  DOUBLES(name, start, step, end)
REDUCE_DOUBLE(sum, 0, y + a, y + a, y)
REDUCE_DOUBLE(mean, 0, y + a, y + a, y / (double)n)
REDUCE_DOUBLE(product, 1, y *a, y *a, y)
REDUCE_DOUBLE(squares, 0, y + a * a, y + a, y)
REDUCE_DOUBLE(l1, 0, y + fabs(a), y + a, y)
REDUCE_DOUBLE(l2, 0, y + a * a, y + a, sqrt(y))
REDUCE_DOUBLE(log_sum, 0, y + a, y + a, log(y))

/* Which element wins over all does not depend on their order, but of equal zeros and among NaNs: the order is
 * that of two chains of vectors, then of the lanes. */
#define EXTREME_DOUBLE(name, start, op, WINNER)                                                              \
  IFD_INLINE d16 name##_step(d16 best, d16 x) { return d16_keep_nan(best, d16_##op(best, x)); }              \
  static double name##_row(const double *x, size_t n) {                                                      \
    double lane[16], y = start;                                                                              \
    size_t i = 0;                                                                                            \
    if (n >= 16) {                                                                                           \
      d16 one = d16_set1(start), two = one;                                                                  \
      for (; i + 32 <= n; i += 32)                                                                           \
        one = name##_step(one, d16_load(x + i)), two = name##_step(two, d16_load(x + i + 16));               \
      for (; i + 16 <= n; i += 16) one = name##_step(one, d16_load(x + i));                                  \
      d16_store(lane, name##_step(one, two));                                                                \
      for (size_t half = 8; half; half /= 2)                                                                 \
        for (size_t k = 0; k < half; k++) lane[k] = WINNER(lane[k], lane[k + half]);                         \
      y = lane[0];                                                                                           \
    }                                                                                                        \
    for (; i < n; i++) y = WINNER(y, x[i]);                                                                  \
    return y;                                                                                                \
  }                                                                                                          \
  DOUBLES(name, start, WINNER(y, a), y)
#define GREATER(y, a) ((y) != (y) ? (y) : (y) > (a) ? (y) : (a))
#define LESS(y, a)    ((y) != (y) ? (y) : (y) < (a) ? (y) : (a))
EXTREME_DOUBLE(max, -INFINITY, max, GREATER)
EXTREME_DOUBLE(min, INFINITY, min, LESS)

/* The logarithm of the sum of exponentials, the greatest taken out of them: it is the result where it is
 * infinite or NaN. A row in eight chains, a column in one. */
enum { TILE = 256 }; /* a multiple of CHAINS */
static double log_sum_exp_row(const double *x, size_t n) {
  const double max = max_row(x, n);
  double chain[CHAINS] = {0}, e[TILE];
  if (!isfinite(max)) return max;
  for (size_t at = 0; at < n; at += TILE) {
    const size_t some = n - at < TILE ? n - at : TILE;
    for (size_t i = 0; i < some; i++) e[i] = x[at + i] - max;
    ifd_exp_row(e, e, some);
    for (size_t i = 0; i < some; i++) chain[i % CHAINS] += e[i];
  }
  return max + log(sum_row(chain, CHAINS));
}
static void log_sum_exp_rows_double(const void *from, size_t stride, size_t n, size_t n_rows, void *to) {
  double *out = to;
  for (size_t r = 0; r < n_rows; r++) out[r] = log_sum_exp_row((const double *)from + r * stride, n);
}
static void log_sum_exp_columns_double(const void *from, size_t stride, size_t n, size_t columns, void *to) {
  double sum[TILE], e[TILE], *out = to;
  max_columns_double(from, stride, n, columns, to);
  for (size_t at = 0; at < columns; at += TILE) {
    const size_t width = columns - at < TILE ? columns - at : TILE;
    for (size_t j = 0; j < width; j++) sum[j] = 0;
    for (size_t i = 0; i < n; i++) {
      const double *x = (const double *)from + i * stride + at;
      for (size_t j = 0; j < width; j++) e[j] = x[j] - out[at + j];
      ifd_exp_row(e, e, width);
      for (size_t j = 0; j < width; j++) sum[j] += e[j];
    }
    for (size_t j = 0; j < width; j++)
      if (isfinite(out[at + j])) out[at + j] += log(sum[j]);
  }
}

double IFD_K(ifd_reduce_extreme)(bool least, const double *x, size_t n) {
  return least ? min_row(x, n) : max_row(x, n);
}

ifd_reduce_plain *IFD_K(ifd_reduce_plain_of)(ifd_reduce op, ifd_dtype t, bool columns) {
#define ENTRY(op, name, t) [IFD_REDUCE_##op] = { name##_rows_##t, name##_columns_##t }
#define EXTREMES_OF(t)     ENTRY(Max, max, t), ENTRY(Min, min, t)
#define ENTRIES(t)                                                                                           \
  EXTREMES_OF(t), ENTRY(Sum, sum, t), ENTRY(Mean, mean, t), ENTRY(Prod, product, t),                         \
      ENTRY(SumSquare, squares, t), ENTRY(L1, l1, t)
  static ifd_reduce_plain *const table[IFD_N_DTYPES][IFD_N_REDUCE][2] = {
      [IFD_INT64] = {ENTRIES(int64_t)},
      [IFD_INT32] = {ENTRIES(int32_t)},
      [IFD_DOUBLE] = {ENTRIES(double), ENTRY(L2, l2, double), ENTRY(LogSum, log_sum, double),
                      ENTRY(LogSumExp, log_sum_exp, double)},
      [IFD_INT8] = {EXTREMES_OF(int8_t)},
      [IFD_UINT8] = {EXTREMES_OF(uint8_t)},
      [IFD_BOOL] = {EXTREMES_OF(uint8_t)},
  };
  return table[t][op][columns];
}
