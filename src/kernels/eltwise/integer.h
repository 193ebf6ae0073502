/* Rows that no instruction of vectors computes as it is: division of integers, remainders, powers and shifts,
 * and the remainder of floats. They are called as ifd_el_binary_row; the divisor of Div and of the remainders
 * must have no zero. */
#ifndef IFD_KERNELS_ELTWISE_INTEGER_H
#define IFD_KERNELS_ELTWISE_INTEGER_H

#include <stdint.h>

typedef enum ifd_integer_op {
  IFD_INTEGER_DIV,       /* truncated */
  IFD_INTEGER_FLOOR_MOD, /* of the divisor's sign */
  IFD_INTEGER_TRUNC_MOD, /* of the dividend's sign; FLOAT and DOUBLE too */
  IFD_INTEGER_POW,       /* wraps; a negative exponent gives the truncated fraction */
  IFD_INTEGER_SHIFT_LEFT,
  IFD_INTEGER_SHIFT_RIGHT,
  IFD_N_INTEGER
} ifd_integer_op;

/* ---- what they compute ---- */

static inline int64_t ifd_quotient(int64_t a, int64_t b) {
  return b == -1 ? (int64_t) - (uint64_t)a : a / b; /* the one quotient that overflows wraps */
}
static inline int64_t ifd_remainder(int64_t a, int64_t b) { return b == -1 ? 0 : a % b; }
static inline uint64_t ifd_power_u64(uint64_t base, uint64_t exponent) {
  uint64_t y = 1;
  for (; exponent; exponent >>= 1, base *= base)
    if (exponent & 1) y *= base;
  return y;
}
/* A negative exponent gives the truncated fraction; of 0, which has none, 0. */
static inline int64_t ifd_power_i64(int64_t base, int64_t exponent) {
  if (exponent >= 0) return (int64_t)ifd_power_u64((uint64_t)base, (uint64_t)exponent);
  return base == 1 ? 1 : base == -1 ? (exponent & 1 ? -1 : 1) : 0;
}

#endif
