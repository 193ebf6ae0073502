#include "ops/shared/integer_rows.h"

#include <math.h>

#define ROW(name, t, expression)                                                                             \
  static void name##_##t(const void *x, int a_step, const void *y, int b_step, void *to, size_t n) {         \
    const t *left = x, *right = y;                                                                           \
    t *z = to;                                                                                               \
    for (size_t i = 0; i < n; i++) {                                                                         \
      const t a = left[a_step ? i : 0], b = right[b_step ? i : 0];                                           \
      z[i] = (t)(expression);                                                                                \
    }                                                                                                        \
  }
#define BITS(t) (8 * sizeof(t))
/* In the type itself, whose division is cheaper than that of 64 bits. */
#define REMAINDER(a, b) (b == -1 ? 0 : a % b)
#define SIGNED(t, u)                                                                                         \
  ROW(div, t, b == -1 ? (t) - (u)a : a / b)                                                                  \
  ROW(floor_mod, t, REMAINDER(a, b) + (REMAINDER(a, b) && (REMAINDER(a, b) < 0) != (b < 0) ? b : 0))         \
  ROW(trunc_mod, t, REMAINDER(a, b))                                                                         \
  ROW(power, t, ifd_power_i64(a, b))                                                                         \
  ROW(shift_left, t, b >= 0 && (u)b < BITS(t) ? (uint64_t)a << b : 0)                                        \
  ROW(shift_right, t, b >= 0 && (u)b < BITS(t) ? a >> b : a < 0 ? -1 : 0)
#define UNSIGNED(t)                                                                                          \
  ROW(div, t, a / b)                                                                                         \
  ROW(floor_mod, t, a % b)                                                                                   \
  ROW(trunc_mod, t, a % b)                                                                                   \
  ROW(power, t, ifd_power_u64(a, b))                                                                         \
  ROW(shift_left, t, b < BITS(t) ? (uint64_t)a << b : 0)                                                     \
  ROW(shift_right, t, b < BITS(t) ? a >> b : 0)
SIGNED(int8_t, uint8_t)
SIGNED(int16_t, uint16_t)
SIGNED(int32_t, uint32_t)
SIGNED(int64_t, uint64_t)
UNSIGNED(uint8_t)
UNSIGNED(uint16_t)
UNSIGNED(uint32_t)
UNSIGNED(uint64_t)
ROW(trunc_mod, float, fmodf(a, b))
ROW(trunc_mod, double, fmod(a, b))

ifd_el_binary_row *ifd_integer_row(ifd_integer_op op, ifd_dtype t) {
#define ROWS(t)                                                                                              \
  {                                                                                                          \
    [IFD_INTEGER_DIV] = div_##t, [IFD_INTEGER_FLOOR_MOD] = floor_mod_##t,                                    \
    [IFD_INTEGER_TRUNC_MOD] = trunc_mod_##t, [IFD_INTEGER_POW] = power_##t,                                  \
    [IFD_INTEGER_SHIFT_LEFT] = shift_left_##t, [IFD_INTEGER_SHIFT_RIGHT] = shift_right_##t                   \
  }
  static ifd_el_binary_row *const rows[IFD_N_DTYPES][IFD_N_INTEGER] = {
      [IFD_INT8] = ROWS(int8_t),
      [IFD_INT16] = ROWS(int16_t),
      [IFD_INT32] = ROWS(int32_t),
      [IFD_INT64] = ROWS(int64_t),
      [IFD_UINT8] = ROWS(uint8_t),
      [IFD_UINT16] = ROWS(uint16_t),
      [IFD_UINT32] = ROWS(uint32_t),
      [IFD_UINT64] = ROWS(uint64_t),
      [IFD_FLOAT] = {[IFD_INTEGER_TRUNC_MOD] = trunc_mod_float},
      [IFD_DOUBLE] = {[IFD_INTEGER_TRUNC_MOD] = trunc_mod_double},
  };
  return rows[t][op];
}
