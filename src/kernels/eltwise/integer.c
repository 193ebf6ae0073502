#include "kernels/eltwise/integer.h"

#include <math.h>
#include <string.h>

#include "kernels/eltwise/plain.h"
#include "kernels/eltwise/rows.h"

/* ---- quotients ---- */

/* What a / b lies above an integer is 0 or at least 1 / b: more than the rounding error of a float where a is
 * less than 2^24, of a double where it is less than 2^53. So the rounded quotient truncates to the same. */
#define NARROW(t)                                                                                            \
  IFD_INLINE t quotient_##t(t a, t b) { return (t)(int32_t)((float)a / (float)b); }
NARROW(int8_t)
NARROW(uint8_t)
NARROW(int16_t)
NARROW(uint16_t)
/* The one quotient that overflows wraps. */
IFD_INLINE int32_t quotient_int32_t(int32_t a, int32_t b) {
  double q = (double)a / b;
  return (int32_t)((uint32_t)(int32_t)(q > INT32_MAX ? INT32_MAX : q) + (q > INT32_MAX));
}
/* By a conversion to signed integers, which every ISA has. */
IFD_INLINE uint32_t quotient_uint32_t(uint32_t a, uint32_t b) {
  double q = (double)a / b;
  bool high = q >= 0x1p31;
  return (uint32_t)(int32_t)(q - (high ? 0x1p31 : 0)) + ((uint32_t)high << 31);
}
IFD_INLINE int64_t quotient_int64_t(int64_t a, int64_t b) { return ifd_quotient(a, b); }
IFD_INLINE uint64_t quotient_uint64_t(uint64_t a, uint64_t b) { return a / b; }

/* ---- rows ---- */

#define ROW(name, t, expression) PLAIN(name##_##t, t, t, expression)
#define BITS(t)                  (8 * sizeof(t))
/* u: an unsigned type of at least 32 bits, in which nothing overflows */
#define REMAINDER(t, u) ((t)((u)a - (u)quotient_##t(a, b) * (u)b))
#define COMMON(t, u)                                                                                         \
  ROW(div, t, quotient_##t(a, b))                                                                            \
  ROW(trunc_mod, t, REMAINDER(t, u))
#define SIGNED(t, u)                                                                                         \
  COMMON(t, u)                                                                                               \
  IFD_INLINE t floored_##t(t r, t b) { return (t)(r + ((r != 0) & ((r ^ b) < 0) ? b : 0)); }                 \
  ROW(floor_mod, t, floored_##t(REMAINDER(t, u), b))                                                         \
  ROW(power, t, ifd_power_i64(a, b))                                                                         \
  ROW(shift_left, t, b >= 0 && (u)b < BITS(t) ? (uint64_t)a << b : 0)                                        \
  ROW(shift_right, t, b >= 0 && (u)b < BITS(t) ? a >> b : a < 0 ? -1 : 0)
#define UNSIGNED(t, u)                                                                                       \
  COMMON(t, u)                                                                                               \
  ROW(power, t, ifd_power_u64(a, b))                                                                         \
  ROW(shift_left, t, b < BITS(t) ? (uint64_t)a << b : 0)                                                     \
  ROW(shift_right, t, b < BITS(t) ? a >> b : 0)
SIGNED(int8_t, uint32_t)
SIGNED(int16_t, uint32_t)
SIGNED(int32_t, uint32_t)
SIGNED(int64_t, uint64_t)
UNSIGNED(uint8_t, uint32_t)
UNSIGNED(uint16_t, uint32_t)
UNSIGNED(uint32_t, uint32_t)
UNSIGNED(uint64_t, uint64_t)

/* The remainder of floats: in double quotients below 2^28 truncate to what they are, for they lie 2^-24 and
 * more from any other integer, and neither their product with b nor what it lacks of a is rounded. */
enum { MOD_BLOCK = 64 };
IFD_INLINE bool mod_block(const float *x, size_t x_step, const float *y, size_t y_step, float *z) {
  uint32_t far = 0;
  for (size_t i = 0; i < MOD_BLOCK; i++) {
    const double a = x[i * x_step], b = y[i * y_step], q = a / b;
    const double whole = (double)(int32_t)(fabs(q) < 0x1p28 ? q : 0);
    far |= !((fabs(q) < 0x1p28) & (fabs(b) < INFINITY));
    z[i] = (float)copysign(a - whole * b, a);
  }
  return !far;
}
static void trunc_mod_float(const void *x, int x_step, const void *y, int y_step, void *to, size_t n) {
  const float *a = x, *b = y;
  const size_t sa = (size_t)x_step, sb = (size_t)y_step;
  float *z = to, block[MOD_BLOCK];
  for (size_t i = 0; i < n; i += MOD_BLOCK) {
    const size_t some = n - i < MOD_BLOCK ? n - i : MOD_BLOCK;
    const float *from = a + i * sa, *by = b + i * sb;
    bool near = some == MOD_BLOCK &&
                (sa && sb ? mod_block(from, 1, by, 1, block) : mod_block(from, sa, by, sb, block));
    for (size_t k = 0; k < some && !near; k++) block[k] = fmodf(from[k * sa], by[k * sb]);
    memcpy(z + i, block, some * sizeof *z);
  }
}
ROW(trunc_mod, double, fmod(a, b))

ifd_el_binary_row *IFD_K(ifd_el_integer)(ifd_integer_op op, ifd_dtype t) {
#define ROWS(t, floors)                                                                                      \
  {                                                                                                          \
    [IFD_INTEGER_DIV] = div_##t, [IFD_INTEGER_FLOOR_MOD] = floors##_##t,                                     \
    [IFD_INTEGER_TRUNC_MOD] = trunc_mod_##t, [IFD_INTEGER_POW] = power_##t,                                  \
    [IFD_INTEGER_SHIFT_LEFT] = shift_left_##t, [IFD_INTEGER_SHIFT_RIGHT] = shift_right_##t                   \
  }
  static ifd_el_binary_row *const rows[IFD_N_DTYPES][IFD_N_INTEGER] = {
      [IFD_INT8] = ROWS(int8_t, floor_mod),
      [IFD_INT16] = ROWS(int16_t, floor_mod),
      [IFD_INT32] = ROWS(int32_t, floor_mod),
      [IFD_INT64] = ROWS(int64_t, floor_mod),
      [IFD_UINT8] = ROWS(uint8_t, trunc_mod),
      [IFD_UINT16] = ROWS(uint16_t, trunc_mod),
      [IFD_UINT32] = ROWS(uint32_t, trunc_mod),
      [IFD_UINT64] = ROWS(uint64_t, trunc_mod),
      [IFD_FLOAT] = {[IFD_INTEGER_TRUNC_MOD] = trunc_mod_float},
      [IFD_DOUBLE] = {[IFD_INTEGER_TRUNC_MOD] = trunc_mod_double},
  };
  return rows[t][op];
}

#define HAS_ZERO(t)                                                                                          \
  static bool has_zero_##t(const void *data, size_t n) {                                                     \
    const t *x = data;                                                                                       \
    t found = 0;                                                                                             \
    for (size_t i = 0; i < n; i++) found |= x[i] == 0;                                                       \
    return found;                                                                                            \
  }
HAS_ZERO(uint8_t)
HAS_ZERO(uint16_t)
HAS_ZERO(uint32_t)
HAS_ZERO(uint64_t)

bool IFD_K(ifd_el_has_zero)(size_t element_size, const void *x, size_t n) {
  return element_size == 1   ? has_zero_uint8_t(x, n)
         : element_size == 2 ? has_zero_uint16_t(x, n)
         : element_size == 4 ? has_zero_uint32_t(x, n)
                             : has_zero_uint64_t(x, n);
}
