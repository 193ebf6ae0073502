/* Arithmetic on sizes that a file may choose: false instead of overflow. */
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
static inline int64_t ifd_ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

#endif
