#include "kernels/move/rows.h"

void IFD_K(ifd_move_copy_rows)(char *to, int64_t to_stride, const char *from, int64_t from_stride,
                               int64_t n_rows, size_t n) {
  for (int64_t r = 0; r < n_rows; r++) copy_run(to + r * to_stride, from + r * from_stride, n);
}

/* n bytes of a pattern, whose period divides n. */
IFD_INLINE void fill_run(char *to, e32 pattern, size_t n) {
  const e16 half = {pattern[0], pattern[1]};
  if (n >= 32) {
    for (size_t i = 0; i + 32 < n; i += 32) AT(e32, to + i) = pattern;
    AT(e32, to + n - 32) = pattern;
  } else if (n >= 16)
    AT(e16, to) = AT(e16, to + n - 16) = half;
  else if (n >= 8)
    AT(e8, to) = AT(e8, to + n - 8) = half[0];
  else
    for (size_t i = 0; i < n; i++) to[i] = (char)(half[0] >> 8 * i);
}

#define FILL_ROWS(type, element)                                                                             \
  static void fill_##type(char *to, int64_t to_stride, const char *from, int64_t from_stride,                \
                          int64_t n_rows, size_t n) {                                                        \
    typedef element lanes __attribute__((vector_size(32)));                                                  \
    for (int64_t r = 0; r < n_rows; r++) {                                                                   \
      const element x = (element)AT(const type, from + r * from_stride);                                     \
      fill_run(to + r * to_stride, (e32)(x - (lanes){0}), n);                                                \
    }                                                                                                        \
  }
FILL_ROWS(e1, uint8_t)
FILL_ROWS(e2, uint16_t)
FILL_ROWS(e4, uint32_t)
FILL_ROWS(e8, uint64_t)
static void fill_e16(char *to, int64_t to_stride, const char *from, int64_t from_stride, int64_t n_rows,
                     size_t n) {
  for (int64_t r = 0; r < n_rows; r++) {
    const e16 x = AT(const e16, from + r * from_stride);
    fill_run(to + r * to_stride, (e32){x[0], x[1], x[0], x[1]}, n);
  }
}

void IFD_K(ifd_move_fill_rows)(char *to, int64_t to_stride, const char *from, int64_t from_stride,
                               int64_t n_rows, size_t size, int64_t n) {
  static void (*const fills[])(char *, int64_t, const char *, int64_t, int64_t, size_t) = {
      [1] = fill_e1, [2] = fill_e2, [4] = fill_e4, [8] = fill_e8, [16] = fill_e16};
  fills[size](to, to_stride, from, from_stride, n_rows, (size_t)n * size);
}
