#include "kernels/reduce/plain.h"
#include "kernels/simd.h"

/* What the elements of a column become, a tile of columns at a time; `acc` holds them wide. */
#define MAGNITUDE(a) ((a) < 0 ? -(uint64_t)(a) : (uint64_t)(a))
#define REDUCE(name, t, acc, start, step, end)                                                               \
  static void name##_##t(const void *from, size_t stride, size_t n, size_t columns, void *to) {              \
    enum { TILE = 256 };                                                                                     \
    const t *x = from;                                                                                       \
    t *out = to;                                                                                             \
    if (columns == 1 && stride == 1) {                                                                       \
      acc y = start;                                                                                         \
      for (size_t i = 0; i < n; i++) {                                                                       \
        const acc a = x[i];                                                                                  \
        y = (acc)(step);                                                                                     \
      }                                                                                                      \
      out[0] = (t)(end);                                                                                     \
      return;                                                                                                \
    }                                                                                                        \
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

/* double: a row is eight chains, element i in chain i % 8, joined in order; a column is one chain. NaN is
 * greatest and least. */
#define REDUCE_DOUBLE(name, start, step, join, end)                                                          \
  static double name##_row(const double *x, size_t n) {                                                      \
    enum { CHAINS = 8 };                                                                                     \
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
    for (size_t k = 1; k < CHAINS; k++) {                                                                    \
      const double y = chain[0], a = chain[k];                                                               \
      chain[0] = join;                                                                                       \
    }                                                                                                        \
    return chain[0];                                                                                         \
  }                                                                                                          \
  static void name##_double(const void *from, size_t stride, size_t n, size_t columns, void *to) {           \
    const double *x = from;                                                                                  \
    double *out = to;                                                                                        \
    bool row = columns == 1 && stride == 1;                                                                  \
    for (size_t j = 0; j < columns; j++) out[j] = row ? name##_row(x, n) : start;                            \
    for (size_t i = 0; i < n && !row; i++)                                                                   \
      for (size_t j = 0; j < columns; j++) {                                                                 \
        const double y = out[j], a = x[i * stride + j];                                                      \
        out[j] = step;                                                                                       \
      }                                                                                                      \
    for (size_t j = 0; j < columns; j++) {                                                                   \
      const double y = out[j];                                                                               \
      out[j] = end;                                                                                          \
    }                                                                                                        \
  }
#define GREATER ((y > a) | (y != y) ? y : a)
#define LESS    ((y < a) | (y != y) ? y : a)
REDUCE_DOUBLE(sum, 0, y + a, y + a, y)
REDUCE_DOUBLE(mean, 0, y + a, y + a, y / (double)n)
REDUCE_DOUBLE(max, -INFINITY, GREATER, GREATER, y)
REDUCE_DOUBLE(min, INFINITY, LESS, LESS, y)
REDUCE_DOUBLE(product, 1, y *a, y *a, y)
REDUCE_DOUBLE(squares, 0, y + a * a, y + a, y)
REDUCE_DOUBLE(l1, 0, y + fabs(a), y + a, y)
REDUCE_DOUBLE(l2, 0, y + a * a, y + a, sqrt(y))

ifd_reduce_columns *IFD_K(ifd_reduce_plain)(ifd_reduce op, ifd_dtype t) {
#define ENTRIES(t)                                                                                           \
  {                                                                                                          \
    [IFD_REDUCE_Sum] = sum_##t, [IFD_REDUCE_Mean] = mean_##t, [IFD_REDUCE_Max] = max_##t,                    \
    [IFD_REDUCE_Min] = min_##t, [IFD_REDUCE_Prod] = product_##t, [IFD_REDUCE_SumSquare] = squares_##t,       \
    [IFD_REDUCE_L1] = l1_##t                                                                                 \
  }
  static ifd_reduce_columns *const i64[IFD_N_REDUCE] = ENTRIES(int64_t), *const i32[IFD_N_REDUCE] =
                                                                             ENTRIES(int32_t);
  static ifd_reduce_columns *const f64[IFD_N_REDUCE] = {
      [IFD_REDUCE_Sum] = sum_double,      [IFD_REDUCE_Mean] = mean_double,
      [IFD_REDUCE_Max] = max_double,      [IFD_REDUCE_Min] = min_double,
      [IFD_REDUCE_Prod] = product_double, [IFD_REDUCE_SumSquare] = squares_double,
      [IFD_REDUCE_L1] = l1_double,        [IFD_REDUCE_L2] = l2_double};
  static ifd_reduce_columns *const i8[IFD_N_REDUCE] = {
      [IFD_REDUCE_Max] = max_int8_t, [IFD_REDUCE_Min] = min_int8_t};
  static ifd_reduce_columns *const u8[IFD_N_REDUCE] = {
      [IFD_REDUCE_Max] = max_uint8_t, [IFD_REDUCE_Min] = min_uint8_t};
  switch (t) {
  case IFD_INT64: return i64[op];
  case IFD_INT32: return i32[op];
  case IFD_DOUBLE: return f64[op];
  case IFD_INT8: return i8[op];
  case IFD_UINT8:
  case IFD_BOOL: return u8[op];
  default: return NULL;
  }
}
