#include <string.h>

#include "kernels/reduce/plain.h"

/* ArgMax and ArgMin of integers, as loops that the compiler vectorizes. A key is an element, or for ArgMin
 * its complement, whose order is the other way round. */

enum { BLOCK = 64, WIDTH = 256 };

#define ROWS(t)                                                                                              \
  IFD_INLINE t greatest_##t(const t *x, size_t n, t flip) {                                                  \
    t best = (t)(x[0] ^ flip);                                                                               \
    for (size_t i = 1; i < n; i++) {                                                                         \
      const t key = (t)(x[i] ^ flip);                                                                        \
      best = key > best ? key : best;                                                                        \
    }                                                                                                        \
    return (t)(best ^ flip);                                                                                 \
  }                                                                                                          \
  IFD_INLINE size_t first_##t(const t *x, t sought) {                                                        \
    size_t i = 0;                                                                                            \
    while (x[i] != sought) i++;                                                                              \
    return i;                                                                                                \
  }                                                                                                          \
  IFD_INLINE bool holds_##t(const t *x, t sought) {                                                          \
    uint8_t found = 0;                                                                                       \
    for (size_t i = 0; i < BLOCK; i++) found |= x[i] == sought;                                              \
    return found;                                                                                            \
  }                                                                                                          \
  static void rows_##t(bool smallest, bool last, const void *from, size_t stride, size_t n, size_t n_rows,   \
                       int64_t *y) {                                                                         \
    for (size_t r = 0; r < n_rows; r++) {                                                                    \
      const t *x = (const t *)from + r * stride, sought = greatest_##t(x, n, (t)(smallest ? -1 : 0));        \
      size_t i = last ? n : 0;                                                                               \
      if (last) {                                                                                            \
        while (x[--i] != sought) continue;                                                                   \
      } else {                                                                                               \
        while (i + BLOCK <= n && !holds_##t(x + i, sought)) i += BLOCK;                                      \
        i += first_##t(x + i, sought);                                                                       \
      }                                                                                                      \
      y[r] = (int64_t)i;                                                                                     \
    }                                                                                                        \
  }
#define COLUMNS(t)                                                                                           \
  IFD_INLINE void step_##t(const t *x, int32_t at, t flip, bool last, t *best, int32_t *index, size_t n) {   \
    for (size_t j = 0; j < n; j++) {                                                                         \
      const t key = (t)(x[j] ^ flip);                                                                        \
      const bool greater = (key > best[j]) | (last & (key == best[j]));                                      \
      best[j] = greater ? key : best[j];                                                                     \
      index[j] = greater ? at : index[j];                                                                    \
    }                                                                                                        \
  }                                                                                                          \
  static void columns_##t(bool smallest, bool last, const void *from, size_t stride, size_t n,               \
                          size_t n_columns, int64_t *y) {                                                    \
    const t flip = (t)(smallest ? -1 : 0);                                                                   \
    t best[WIDTH];                                                                                           \
    int32_t index[WIDTH];                                                                                    \
    for (size_t at = 0; at < n_columns; at += WIDTH) {                                                       \
      const t *x = (const t *)from + at;                                                                     \
      const size_t width = n_columns - at < WIDTH ? n_columns - at : WIDTH;                                  \
      for (size_t j = 0; j < width; j++) best[j] = (t)(x[j] ^ flip), index[j] = 0;                           \
      for (size_t i = 1; i < n; i++) step_##t(x + i * stride, (int32_t)i, flip, last, best, index, width);   \
      for (size_t j = 0; j < width; j++) y[at + j] = index[j];                                               \
    }                                                                                                        \
  }
#define INTEGERS(X) X(int8_t) X(uint8_t) X(int16_t) X(uint16_t) X(int32_t) X(uint32_t) X(int64_t) X(uint64_t)
INTEGERS(ROWS)
INTEGERS(COLUMNS)

ifd_reduce_arg *IFD_K(ifd_reduce_arg_plain)(ifd_dtype t, bool columns) {
#define ENTRY(t)                                                                                             \
  { rows_##t, columns_##t }
  static ifd_reduce_arg *const table[IFD_N_DTYPES][2] = {
      [IFD_INT8] = ENTRY(int8_t),     [IFD_UINT8] = ENTRY(uint8_t),   [IFD_INT16] = ENTRY(int16_t),
      [IFD_UINT16] = ENTRY(uint16_t), [IFD_INT32] = ENTRY(int32_t),   [IFD_UINT32] = ENTRY(uint32_t),
      [IFD_INT64] = ENTRY(int64_t),   [IFD_UINT64] = ENTRY(uint64_t),
  };
  return table[t][columns];
}
