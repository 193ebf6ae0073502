#include "kernels/eltwise/plain.h"
#include "kernels/eltwise/rows.h"
#include "kernels/quotient.h"
#include "kernels/vmath.h"

/* ---- FLOAT ---- */

#define C(value) v16_set1(value)
IFD_INLINE v16 Add_lanes(v16 a, v16 b) { return v16_add(a, b); }
IFD_INLINE v16 Sub_lanes(v16 a, v16 b) { return v16_sub(a, b); }
IFD_INLINE v16 Mul_lanes(v16 a, v16 b) { return v16_mul(a, b); }
IFD_INLINE v16 Div_lanes(v16 a, v16 b) { return v16_div(a, b); }
/* min gives b where either is NaN */
IFD_INLINE v16 Min_lanes(v16 a, v16 b) { return v16_select(v16_isnan(a), a, v16_min(a, b)); }
IFD_INLINE v16 Max_lanes(v16 a, v16 b) { return v16_select(v16_isnan(a), a, v16_max(a, b)); }
IFD_INLINE v16 Pow_lanes(v16 a, v16 b) { return v16_pow(a, b); }
IFD_INLINE v16 PRelu_lanes(v16 a, v16 b) { return v16_select(v16_lt(C(0), a), a, v16_mul(a, b)); }

#define LOAD(x, step, i)   (step ? v16_load(x + i) : v16_set1(*x))
#define LOAD_N(x, step, i) (step ? v16_load_n(x + i, (int)(n - i)) : v16_set1(*x))
#define FLOAT_LOOP(sa, sb, name)                                                                             \
  size_t i = 0;                                                                                              \
  for (; i + 16 <= n; i += 16) v16_store(z + i, name##_lanes(LOAD(a, sa, i), LOAD(b, sb, i)));               \
  if (i < n) v16_store_n(z + i, name##_lanes(LOAD_N(a, sa, i), LOAD_N(b, sb, i)), (int)(n - i));
#define FLOAT_ROW(name) FLOAT_ROW_OF(name##_row, name)
#define FLOAT_ROW_OF(function, name)                                                                         \
  static void function(const void *left, int a_step, const void *right, int b_step, void *to, size_t n) {    \
    const float *a = left, *b = right;                                                                       \
    float *z = to;                                                                                           \
    if (n) {                                                                                                 \
      BY_STEPS(FLOAT_LOOP, name)                                                                             \
    }                                                                                                        \
  }
FLOAT_ROW(Add)
FLOAT_ROW(Sub)
FLOAT_ROW(Mul)
FLOAT_ROW(Min)
FLOAT_ROW(Max)
FLOAT_ROW(Pow)
FLOAT_ROW(PRelu)

/* By one divisor, whose reciprocal is r. */
#if defined(IFD_ISA_ref)
IFD_INLINE v16 quotient_lanes(v16 a, v16 b, v16 r) { return (void)r, v16_div(a, b); }
#else
IFD_INLINE v16 quotient_lanes(v16 a, v16 b, v16 r) {
  const v16 size = v16_abs(a);
  const m16 fair = m16_and(v16_le(C(0x1p-60f), size), v16_le(size, C(0x1p90f))), none = v16_eq(a, C(0));
  if (m16_any(m16_andnot(m16_first(16), m16_or(fair, none)))) return v16_div(a, b);
  return v16_select(none, v16_mul(a, r), ifd_v_quotient(a, b, r));
}
#endif
#define Quotient_lanes(x, y) quotient_lanes(x, y, r)
FLOAT_ROW_OF(divide, Div)
static void Div_row(const void *left, int a_step, const void *right, int b_step, void *to, size_t n) {
  enum { FEW = 64 }; /* that the reciprocal is not worth */
  const float *a = left, *b = right;
  float *z = to;
  if (b_step || n < FEW || !ifd_has_quotients(*b)) {
    divide(left, a_step, right, b_step, to, n);
    return;
  }
  const v16 r = C(1 / *b);
  if (a_step) {
    FLOAT_LOOP(1, 0, Quotient)
  } else {
    FLOAT_LOOP(0, 0, Quotient)
  }
}

ifd_el_binary_row *const IFD_K(ifd_el_binary_f32)[IFD_EL_N_FLOAT - IFD_EL_N_UNARY] = {
#define ENTRY(name) [IFD_EL_##name - IFD_EL_N_UNARY] = name##_row,
    IFD_EL_BINARY_LIST(ENTRY)
#undef ENTRY
};

/* ---- other types, and comparisons: loops that the compiler vectorizes ---- */

/* What is the same for signed numbers. */
#define SUMS(t, u)                                                                                           \
  PLAIN(Add_##t, t, t, (u)a + (u)b)                                                                          \
  PLAIN(Sub_##t, t, t, (u)a - (u)b)                                                                          \
  PLAIN(Mul_##t, t, t, (u)a *(u)b)                                                                           \
  PLAIN(And_##t, t, t, a &b)                                                                                 \
  PLAIN(Or_##t, t, t, a | b)                                                                                 \
  PLAIN(Xor_##t, t, t, a ^ b)                                                                                \
  PLAIN(Equal_##t, t, uint8_t, a == b)
#define SWAPPED(name, of)                                                                                    \
  static void name(const void *x, int a_step, const void *y, int b_step, void *to, size_t n) {               \
    of(y, b_step, x, a_step, to, n);                                                                         \
  }
#define COMPARISONS(t)                                                                                       \
  PLAIN(Less_##t, t, uint8_t, a < b)                                                                         \
  PLAIN(LessOrEqual_##t, t, uint8_t, a <= b)                                                                 \
  SWAPPED(Greater_##t, Less_##t)                                                                             \
  SWAPPED(GreaterOrEqual_##t, LessOrEqual_##t)
#define ORDER(t)                                                                                             \
  COMPARISONS(t)                                                                                             \
  PLAIN(Min_##t, t, t, (a < b) | (a != a) ? a : b)                                                           \
  PLAIN(Max_##t, t, t, (a > b) | (a != a) ? a : b)
SUMS(uint8_t, unsigned)
SUMS(uint16_t, unsigned)
SUMS(uint32_t, uint32_t)
SUMS(uint64_t, uint64_t)
ORDER(int8_t)
ORDER(int16_t)
ORDER(int32_t)
ORDER(int64_t)
ORDER(uint8_t)
ORDER(uint16_t)
ORDER(uint32_t)
ORDER(uint64_t)
COMPARISONS(float)
ORDER(double)
PLAIN(Equal_float, float, uint8_t, a == b)
PLAIN(Equal_double, double, uint8_t, a == b)
PLAIN(Add_double, double, double, a + b)
PLAIN(Sub_double, double, double, a - b)
PLAIN(Mul_double, double, double, a *b)
PLAIN(Div_double, double, double, a / b)
PLAIN(PRelu_double, double, double, a > 0 ? a : a * b)
PLAIN(PRelu_int64_t, int64_t, int64_t, a > 0 ? (uint64_t)a : (uint64_t)a * (uint64_t)b)
PLAIN(PRelu_int32_t, int32_t, int32_t, a > 0 ? (uint32_t)a : (uint32_t)a * (uint32_t)b)

#define NUMBER_ROWS(t) [IFD_EL_Add] = Add_##t, [IFD_EL_Sub] = Sub_##t, [IFD_EL_Mul] = Mul_##t
#define BIT_ROWS(t)    [IFD_EL_And] = And_##t, [IFD_EL_Or] = Or_##t, [IFD_EL_Xor] = Xor_##t
#define COMPARE_ROWS(t)                                                                                      \
  [IFD_EL_Less] = Less_##t, [IFD_EL_LessOrEqual] = LessOrEqual_##t, [IFD_EL_Greater] = Greater_##t,          \
  [IFD_EL_GreaterOrEqual] = GreaterOrEqual_##t
#define ORDER_ROWS(t)      COMPARE_ROWS(t), [IFD_EL_Min] = Min_##t, [IFD_EL_Max] = Max_##t
#define INTEGER_ROWS(t, u) NUMBER_ROWS(u), BIT_ROWS(u), [IFD_EL_Equal] = Equal_##u, ORDER_ROWS(t)
static ifd_el_binary_row *const plain[IFD_N_DTYPES][IFD_EL_N] = {
    [IFD_FLOAT] = {COMPARE_ROWS(float), [IFD_EL_Equal] = Equal_float},
    [IFD_DOUBLE] = {NUMBER_ROWS(double), ORDER_ROWS(double), [IFD_EL_Equal] = Equal_double,
                    [IFD_EL_Div] = Div_double, [IFD_EL_PRelu] = PRelu_double},
    [IFD_INT8] = {INTEGER_ROWS(int8_t, uint8_t)},
    [IFD_INT16] = {INTEGER_ROWS(int16_t, uint16_t)},
    [IFD_INT32] = {INTEGER_ROWS(int32_t, uint32_t), [IFD_EL_PRelu] = PRelu_int32_t},
    [IFD_INT64] = {INTEGER_ROWS(int64_t, uint64_t), [IFD_EL_PRelu] = PRelu_int64_t},
    [IFD_UINT8] = {INTEGER_ROWS(uint8_t, uint8_t)},
    [IFD_UINT16] = {INTEGER_ROWS(uint16_t, uint16_t)},
    [IFD_UINT32] = {INTEGER_ROWS(uint32_t, uint32_t)},
    [IFD_UINT64] = {INTEGER_ROWS(uint64_t, uint64_t)},
    [IFD_BOOL] = {BIT_ROWS(uint8_t), [IFD_EL_Equal] = Equal_uint8_t, COMPARE_ROWS(uint8_t)},
};

ifd_el_binary_row *IFD_K(ifd_el_binary)(ifd_el op, ifd_dtype t) {
  if (op < IFD_EL_N_UNARY || op >= IFD_EL_N) return NULL;
  return t == IFD_FLOAT && op < IFD_EL_N_FLOAT ? IFD_K(ifd_el_binary_f32)[op - IFD_EL_N_UNARY] : plain[t][op];
}

/* ---- Where ---- */

#define SELECT(t)                                                                                            \
  static void select_##t(const uint8_t *c, int c_step, const void *x, int a_step, const void *y, int b_step, \
                         void *to, size_t n) {                                                               \
    const t *left = x, *right = y;                                                                           \
    t *z = to;                                                                                               \
    if (!n) return;                                                                                          \
    if (c_step) {                                                                                            \
      BY_STEPS(SELECT_LOOP, t)                                                                               \
    } else {                                                                                                 \
      const t *from = *c ? left : right;                                                                     \
      int step = *c ? a_step : b_step;                                                                       \
      _Pragma("GCC ivdep") for (size_t i = 0; i < n; i++) z[i] = from[step ? i : 0];                         \
    }                                                                                                        \
  }
#define SELECT_LOOP(sa, sb, t)                                                                               \
  const t a0 = *left, b0 = *right;                                                                           \
  _Pragma("GCC ivdep") for (size_t i = 0; i < n; i++) {                                                      \
    const t a = sa ? left[i] : a0, b = sb ? right[i] : b0;                                                   \
    z[i] = c[i] ? a : b;                                                                                     \
  }
SELECT(uint8_t)
SELECT(uint16_t)
SELECT(uint32_t)
SELECT(uint64_t)

ifd_el_select_row *IFD_K(ifd_el_select)(size_t element_size) {
  switch (element_size) {
  case 1: return select_uint8_t;
  case 2: return select_uint16_t;
  case 4: return select_uint32_t;
  case 8: return select_uint64_t;
  default: return NULL;
  }
}
