#include "kernels/reduce/integer.h"
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

ifd_reduce_columns *IFD_K(ifd_reduce_integers)(ifd_reduce op, ifd_dtype t) {
#define ENTRIES(t)                                                                                           \
  {                                                                                                          \
    [IFD_REDUCE_Sum] = sum_##t, [IFD_REDUCE_Mean] = mean_##t, [IFD_REDUCE_Max] = max_##t,                    \
    [IFD_REDUCE_Min] = min_##t, [IFD_REDUCE_Prod] = product_##t, [IFD_REDUCE_SumSquare] = squares_##t,       \
    [IFD_REDUCE_L1] = l1_##t                                                                                 \
  }
  static ifd_reduce_columns *const i64[IFD_N_REDUCE] = ENTRIES(int64_t), *const i32[IFD_N_REDUCE] =
                                                                             ENTRIES(int32_t);
  return t == IFD_INT64 ? i64[op] : t == IFD_INT32 ? i32[op] : NULL;
}
