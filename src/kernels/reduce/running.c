#include "kernels/reduce/plain.h"

/* Running sums and products, floats in double. Rows are some chains at once, which do not wait for each
 * other; of columns, a tile's folds wait in L1. */
#define RUNNING(name, t, acc, start, expression)                                                             \
  IFD_INLINE void name##_some_##t(const int ROWS, const t *x, t *y, size_t stride, size_t n, bool reverse,   \
                                  bool exclusive) {                                                          \
    acc running[8];                                                                                          \
    for (int r = 0; r < ROWS; r++) running[r] = start;                                                       \
    for (size_t k = 0; k < n; k++) {                                                                         \
      const size_t i = reverse ? n - 1 - k : k;                                                              \
      for (int r = 0; r < ROWS; r++) {                                                                       \
        const acc before = running[r], a = (acc)x[(size_t)r * stride + i];                                   \
        running[r] = (expression);                                                                           \
        y[(size_t)r * stride + i] = (t)(exclusive ? before : running[r]);                                    \
      }                                                                                                      \
    }                                                                                                        \
  }                                                                                                          \
  static void name##_rows_##t(const void *from, void *to, size_t stride, size_t n, size_t m, bool reverse,   \
                              bool exclusive) {                                                              \
    enum { AT_ONCE = 4 };                                                                                    \
    const t *x = from;                                                                                       \
    t *y = to;                                                                                               \
    for (; m >= AT_ONCE; m -= AT_ONCE, x += AT_ONCE * stride, y += AT_ONCE * stride)                         \
      name##_some_##t(AT_ONCE, x, y, stride, n, reverse, exclusive);                                         \
    for (; m; m--, x += stride, y += stride) name##_some_##t(1, x, y, stride, n, reverse, exclusive);        \
  }                                                                                                          \
  static void name##_columns_##t(const void *from, void *to, size_t stride, size_t n, size_t m,              \
                                 bool reverse, bool exclusive) {                                             \
    enum { TILE = 512 };                                                                                     \
    acc running[TILE];                                                                                       \
    for (size_t at = 0; at < m; at += TILE) {                                                                \
      const size_t width = m - at < TILE ? m - at : TILE;                                                    \
      for (size_t j = 0; j < width; j++) running[j] = start;                                                 \
      for (size_t k = 0; k < n; k++) {                                                                       \
        const size_t i = (reverse ? n - 1 - k : k) * stride + at;                                            \
        const t *restrict x = (const t *)from + i;                                                           \
        t *restrict y = (t *)to + i;                                                                         \
        for (size_t j = 0; j < width; j++) {                                                                 \
          const acc before = running[j], a = (acc)x[j];                                                      \
          running[j] = (expression);                                                                         \
          y[j] = (t)(exclusive ? before : running[j]);                                                       \
        }                                                                                                    \
      }                                                                                                      \
    }                                                                                                        \
  }
#define BOTH(t, acc)                                                                                         \
  RUNNING(sum, t, acc, 0, before + a)                                                                        \
  RUNNING(product, t, acc, 1, before *a)
BOTH(float, double)
BOTH(double, double)
BOTH(int32_t, uint64_t)
BOTH(int64_t, uint64_t)

ifd_reduce_running *IFD_K(ifd_reduce_running_of)(bool product, ifd_dtype t, bool columns) {
#define ENTRY(t)                                                                                             \
  {                                                                                                          \
    {sum_rows_##t, sum_columns_##t}, { product_rows_##t, product_columns_##t }                               \
  }
  static ifd_reduce_running *const table[IFD_N_DTYPES][2][2] = {
      [IFD_FLOAT] = ENTRY(float),   [IFD_DOUBLE] = ENTRY(double),  [IFD_INT32] = ENTRY(int32_t),
      [IFD_INT64] = ENTRY(int64_t), [IFD_UINT64] = ENTRY(int64_t),
  };
  return table[t][product][columns];
}
