#include <string.h>

#include "kernels/fold.h"
#include "kernels/reduce/plain.h"

/* ArgMax and ArgMin, as loops that the compiler vectorizes. */

enum { BLOCK = 64, FEW = 8, WIDTH = 256, SHORT = 16 };
#define SAME(a, b)   ((a) == (b))
#define SAME_F(a, b) (((a) == (b)) | (((a) != (a)) & ((b) != (b))))

/* ---- columns: index by index, the element becomes the best if it is greater, or equal and the last
 * counts ---- */

#define STEP_INTEGER(t)                                                                                      \
  IFD_INLINE void step_##t(const t *x, int32_t at, bool smallest, bool last, t *best, int32_t *index,        \
                           size_t n) {                                                                       \
    const t flip = (t)(smallest ? -1 : 0);                                                                   \
    for (size_t j = 0; j < n; j++) {                                                                         \
      const t key = (t)(x[j] ^ flip), than = (t)(best[j] ^ flip);                                            \
      const bool take = (key > than) | (last & (key == than));                                               \
      best[j] = take ? x[j] : best[j];                                                                       \
      index[j] = take ? at : index[j];                                                                       \
    }                                                                                                        \
  }
#define STEP_FLOAT(t, index_t)                                                                               \
  IFD_INLINE void step_by_##t(const t *x, index_t at, const bool smallest, bool last, t *best,               \
                              index_t *index, size_t n) {                                                    \
    for (size_t j = 0; j < n; j++) {                                                                         \
      const t a = x[j], b = best[j];                                                                         \
      const bool greater = smallest ? a < b : a > b;                                                         \
      const bool take = (greater & (b == b)) | ((a != a) & (b == b)) | (last & SAME_F(a, b));                \
      best[j] = take ? a : b;                                                                                \
      index[j] = take ? at : index[j];                                                                       \
    }                                                                                                        \
  }                                                                                                          \
  IFD_INLINE void step_##t(const t *x, index_t at, bool smallest, bool last, t *best, index_t *index,        \
                           size_t n) {                                                                       \
    if (smallest)                                                                                            \
      step_by_##t(x, at, true, last, best, index, n);                                                        \
    else                                                                                                     \
      step_by_##t(x, at, false, last, best, index, n);                                                       \
  }
#define COLUMNS(t, index_t)                                                                                  \
  static void columns_##t(bool smallest, bool last, const void *from, size_t stride, size_t n,               \
                          size_t n_columns, int64_t *y) {                                                    \
    t best[WIDTH];                                                                                           \
    index_t index[WIDTH];                                                                                    \
    for (size_t at = 0; at < n_columns; at += WIDTH) {                                                       \
      const t *x = (const t *)from + at;                                                                     \
      const size_t width = n_columns - at < WIDTH ? n_columns - at : WIDTH;                                  \
      memcpy(best, x, width * sizeof *best);                                                                 \
      memset(index, 0, sizeof index);                                                                        \
      for (size_t i = 1; i < n; i++)                                                                         \
        step_##t(x + i * stride, (index_t)i, smallest, last, best, index, width);                            \
      for (size_t j = 0; j < width; j++) y[at + j] = index[j];                                               \
    }                                                                                                        \
  }

/* ---- rows of a few elements: as columns ---- */

#define SHORT_ROWS(t, index_t)                                                                               \
  static void short_rows_##t(bool smallest, bool last, const t *x, size_t stride, size_t n, size_t n_rows,   \
                             int64_t *y) {                                                                   \
    t best[WIDTH], next[WIDTH];                                                                              \
    index_t index[WIDTH];                                                                                    \
    for (size_t at = 0; at < n_rows; at += WIDTH, x += WIDTH * stride) {                                     \
      const size_t width = n_rows - at < WIDTH ? n_rows - at : WIDTH;                                        \
      memset(index, 0, sizeof index);                                                                        \
      for (size_t j = 0; j < width; j++) best[j] = x[j * stride];                                            \
      for (size_t i = 1; i < n; i++) {                                                                       \
        for (size_t j = 0; j < width; j++) next[j] = x[j * stride + i];                                      \
        step_##t(next, (index_t)i, smallest, last, best, index, width);                                      \
      }                                                                                                      \
      for (size_t j = 0; j < width; j++) y[at + j] = index[j];                                               \
    }                                                                                                        \
  }

/* ---- rows: what is sought, then where it is ---- */

/* An integer's key is itself, or for ArgMin its complement, whose order is the other way round. */
#define SEEK_INTEGER(t)                                                                                      \
  IFD_INLINE t seek_##t(bool smallest, const t *x, size_t n) {                                               \
    const t flip = (t)(smallest ? -1 : 0);                                                                   \
    t best = (t)(x[0] ^ flip);                                                                               \
    for (size_t i = 1; i < n; i++) {                                                                         \
      const t key = (t)(x[i] ^ flip);                                                                        \
      best = key > best ? key : best;                                                                        \
    }                                                                                                        \
    return (t)(best ^ flip);                                                                                 \
  }
static float seek_float(bool smallest, const float *x, size_t n) {
  return smallest ? ifd_row_min(x, n) : ifd_row_max(x, n);
}
static double seek_double(bool smallest, const double *x, size_t n) {
  return IFD_K(ifd_reduce_extreme)(smallest, x, n);
}

/* found: a type of the elements' width */
#define ROWS(t, found_t, SAME_)                                                                              \
  IFD_INLINE bool holds_##t(const t *x, t sought, const size_t n) {                                          \
    found_t found = 0;                                                                                       \
    for (size_t i = 0; i < n; i++) found |= SAME_(x[i], sought);                                             \
    return found;                                                                                            \
  }                                                                                                          \
  static void rows_##t(bool smallest, bool last, const void *from, size_t stride, size_t n, size_t n_rows,   \
                       int64_t *y) {                                                                         \
    if (n <= SHORT) {                                                                                        \
      short_rows_##t(smallest, last, from, stride, n, n_rows, y);                                            \
      return;                                                                                                \
    }                                                                                                        \
    for (size_t r = 0; r < n_rows; r++) {                                                                    \
      const t *x = (const t *)from + r * stride, sought = seek_##t(smallest, x, n);                          \
      size_t i = last ? n : 0;                                                                               \
      if (last) {                                                                                            \
        while (i >= BLOCK && !holds_##t(x + i - BLOCK, sought, BLOCK)) i -= BLOCK;                           \
        while (i >= FEW && !holds_##t(x + i - FEW, sought, FEW)) i -= FEW;                                   \
        do i--;                                                                                              \
        while (!SAME_(x[i], sought));                                                                        \
      } else {                                                                                               \
        while (i + BLOCK <= n && !holds_##t(x + i, sought, BLOCK)) i += BLOCK;                               \
        while (i + FEW <= n && !holds_##t(x + i, sought, FEW)) i += FEW;                                     \
        while (!SAME_(x[i], sought)) i++;                                                                    \
      }                                                                                                      \
      y[r] = (int64_t)i;                                                                                     \
    }                                                                                                        \
  }

#define INTEGER(t) STEP_INTEGER(t) COLUMNS(t, int32_t) SHORT_ROWS(t, int32_t) SEEK_INTEGER(t) ROWS(t, t, SAME)
#define FLOAT(t, index_t)                                                                                    \
  STEP_FLOAT(t, index_t) COLUMNS(t, index_t) SHORT_ROWS(t, index_t) ROWS(t, index_t, SAME_F)
INTEGER(int8_t)
INTEGER(uint8_t)
INTEGER(int16_t)
INTEGER(uint16_t)
INTEGER(int32_t)
INTEGER(uint32_t)
INTEGER(int64_t)
INTEGER(uint64_t)
FLOAT(float, int32_t)
FLOAT(double, int64_t)

ifd_reduce_arg *IFD_K(ifd_reduce_arg_of)(ifd_dtype t, bool columns) {
#define ENTRY(t)                                                                                             \
  { rows_##t, columns_##t }
  static ifd_reduce_arg *const table[IFD_N_DTYPES][2] = {
      [IFD_INT8] = ENTRY(int8_t),     [IFD_UINT8] = ENTRY(uint8_t),   [IFD_INT16] = ENTRY(int16_t),
      [IFD_UINT16] = ENTRY(uint16_t), [IFD_INT32] = ENTRY(int32_t),   [IFD_UINT32] = ENTRY(uint32_t),
      [IFD_INT64] = ENTRY(int64_t),   [IFD_UINT64] = ENTRY(uint64_t), [IFD_FLOAT] = ENTRY(float),
      [IFD_DOUBLE] = ENTRY(double),
  };
  return table[t][columns];
}
