#include <string.h>

#include "kernels/reduce/plain.h"

/* TopK of rows or columns of few elements, a tile of them side by side: an element's place is the number of
 * those that are better. */

enum { TILE = 64 };

/* An element as an integer that is greater where it is better. */
#define KEY_OF_REAL(t, key_t, greatest)                                                                      \
  IFD_INLINE key_t key_of_##t(t x) {                                                                         \
    key_t bits;                                                                                              \
    x += 0; /* -0 becomes 0 */                                                                               \
    memcpy(&bits, &x, sizeof bits);                                                                          \
    bits = bits < 0 ? -(bits & greatest) : bits;                                                             \
    return x != x ? greatest : bits;                                                                         \
  }
KEY_OF_REAL(float, int32_t, INT32_MAX)
KEY_OF_REAL(double, int64_t, INT64_MAX)
#define SAME(x)     (x)
#define UNSIGNED(x) ((int64_t)((x) ^ (uint64_t)INT64_MIN))

/* Those before an element are better where they equal it. */
#define PLACES(key_t)                                                                                        \
  static void places_##key_t(key_t keys[][TILE], size_t n, size_t i, key_t *restrict place) {                \
    for (size_t j = 0; j < TILE; j++) place[j] = 0;                                                          \
    for (size_t h = 0; h < i; h++)                                                                           \
      for (size_t j = 0; j < TILE; j++) place[j] += keys[h][j] >= keys[i][j];                                \
    for (size_t h = i + 1; h < n; h++)                                                                       \
      for (size_t j = 0; j < TILE; j++) place[j] += keys[h][j] > keys[i][j];                                 \
  }
PLACES(int32_t)
PLACES(int64_t)

#define TOP(t, key_t, KEY)                                                                                   \
  IFD_INLINE void top_##t(const bool columns, bool smallest, const void *from, size_t stride, size_t n,      \
                          size_t m, size_t k, int64_t *y) {                                                  \
    const size_t across = columns ? 1 : stride, along = columns ? stride : 1;                                \
    const size_t y_across = columns ? 1 : k, y_along = columns ? m : 1;                                      \
    const key_t turned = smallest ? -1 : 0;                                                                  \
    key_t keys[IFD_REDUCE_FEW][TILE] = {0}, place[TILE];                                                     \
    int64_t none;                                                                                            \
    for (size_t at = 0; at < m; at += TILE) {                                                                \
      const size_t width = m - at < TILE ? m - at : TILE;                                                    \
      const t *x = (const t *)from + at * across;                                                            \
      for (size_t i = 0; i < n; i++)                                                                         \
        for (size_t j = 0; j < width; j++) keys[i][j] = (key_t)KEY(x[j * across + i * along]) ^ turned;      \
      for (size_t i = 0; i < n; i++) {                                                                       \
        places_##key_t(keys, n, i, place);                                                                   \
        for (size_t j = 0; j < width; j++) {                                                                 \
          const size_t p = (size_t)place[j];                                                                 \
          int64_t *to = p < k ? &y[(at + j) * y_across + p * y_along] : &none;                               \
          *to = (int64_t)i;                                                                                  \
        }                                                                                                    \
      }                                                                                                      \
    }                                                                                                        \
  }                                                                                                          \
  static void top_rows_##t(bool smallest, const void *x, size_t stride, size_t n, size_t m, size_t k,        \
                           int64_t *y) {                                                                     \
    top_##t(false, smallest, x, stride, n, m, k, y);                                                         \
  }                                                                                                          \
  static void top_columns_##t(bool smallest, const void *x, size_t stride, size_t n, size_t m, size_t k,     \
                              int64_t *y) {                                                                  \
    top_##t(true, smallest, x, stride, n, m, k, y);                                                          \
  }
TOP(int8_t, int32_t, SAME)
TOP(uint8_t, int32_t, SAME)
TOP(int16_t, int32_t, SAME)
TOP(uint16_t, int32_t, SAME)
TOP(int32_t, int32_t, SAME)
TOP(uint32_t, int64_t, SAME)
TOP(int64_t, int64_t, SAME)
TOP(uint64_t, int64_t, UNSIGNED)
TOP(float, int32_t, key_of_float)
TOP(double, int64_t, key_of_double)

ifd_reduce_top *IFD_K(ifd_reduce_top_of)(ifd_dtype t, bool columns) {
#define ENTRY(t)                                                                                             \
  { top_rows_##t, top_columns_##t }
  static ifd_reduce_top *const table[IFD_N_DTYPES][2] = {
      [IFD_INT8] = ENTRY(int8_t),     [IFD_UINT8] = ENTRY(uint8_t),   [IFD_INT16] = ENTRY(int16_t),
      [IFD_UINT16] = ENTRY(uint16_t), [IFD_INT32] = ENTRY(int32_t),   [IFD_UINT32] = ENTRY(uint32_t),
      [IFD_INT64] = ENTRY(int64_t),   [IFD_UINT64] = ENTRY(uint64_t), [IFD_FLOAT] = ENTRY(float),
      [IFD_DOUBLE] = ENTRY(double),
  };
  return table[t][columns];
}
