/* Arithmetic on sizes that a file may choose: false instead of overflow; and other integers of 64 bits. */
#ifndef IFD_BASE_CHECKED_H
#define IFD_BASE_CHECKED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline bool ifd_mul_i64(int64_t *out, int64_t a, int64_t b) {
  return !__builtin_mul_overflow(a, b, out);
}
static inline bool ifd_add_i64(int64_t *out, int64_t a, int64_t b) {
  return !__builtin_add_overflow(a, b, out);
}
static inline bool ifd_mul_size(size_t *out, size_t a, size_t b) {
  return !__builtin_mul_overflow(a, b, out);
}
static inline bool ifd_add_size(size_t *out, size_t a, size_t b) {
  return !__builtin_add_overflow(a, b, out);
}
static inline int64_t ifd_min_i64(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t ifd_max_i64(int64_t a, int64_t b) { return a > b ? a : b; }
static inline int64_t ifd_ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; } /* of positive ones */
/* The quotient rounded down (not of INT64_MIN by -1), and what remains, which has the sign of b. */
static inline int64_t ifd_floor_div(int64_t a, int64_t b) {
  return a / b - (a % b != 0 && (a < 0) != (b < 0));
}
static inline int64_t ifd_floor_mod(int64_t a, int64_t b) {
  int64_t r = b == -1 ? 0 : a % b;
  return r != 0 && (r < 0) != (b < 0) ? r + b : r;
}

#endif
