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

#define INTEGERS(t, u)                                                                                       \
  PLAIN(Add_##t, t, t, (u)a + (u)b)                                                                          \
  PLAIN(Sub_##t, t, t, (u)a - (u)b)                                                                          \
  PLAIN(Mul_##t, t, t, (u)a *(u)b)                                                                           \
  PLAIN(Min_##t, t, t, a < b ? a : b)                                                                        \
  PLAIN(Max_##t, t, t, a > b ? a : b)                                                                        \
  PLAIN(PRelu_##t, t, t, a > 0 ? (u)a : (u)a * (u)b)
INTEGERS(int64_t, uint64_t)
INTEGERS(int32_t, uint32_t)
INTEGERS(uint8_t, unsigned)
PLAIN(Add_double, double, double, a + b)
PLAIN(Sub_double, double, double, a - b)
PLAIN(Mul_double, double, double, a *b)
PLAIN(Div_double, double, double, a / b)
PLAIN(Min_double, double, double, (a < b) | (a != a) ? a : b)
PLAIN(Max_double, double, double, (a > b) | (a != a) ? a : b)
PLAIN(PRelu_double, double, double, a > 0 ? a : a * b)
#define BITS(t)                                                                                              \
  PLAIN(And_##t, t, t, a &b)                                                                                 \
  PLAIN(Or_##t, t, t, a | b)                                                                                 \
  PLAIN(Xor_##t, t, t, a ^ b)
BITS(uint8_t)
BITS(uint16_t)
BITS(uint32_t)
BITS(uint64_t)
#define COMPARISONS(t)                                                                                       \
  PLAIN(Equal_##t, t, uint8_t, a == b)                                                                       \
  PLAIN(Less_##t, t, uint8_t, a < b)                                                                         \
  PLAIN(LessOrEqual_##t, t, uint8_t, a <= b)                                                                 \
  PLAIN(Greater_##t, t, uint8_t, a > b)                                                                      \
  PLAIN(GreaterOrEqual_##t, t, uint8_t, a >= b)
COMPARISONS(float)
COMPARISONS(double)
COMPARISONS(int64_t)
COMPARISONS(int32_t)
COMPARISONS(uint8_t)

#define ARITHMETIC_ENTRIES(t)                                                                                \
  [IFD_EL_Add] = Add_##t, [IFD_EL_Sub] = Sub_##t, [IFD_EL_Mul] = Mul_##t, [IFD_EL_Min] = Min_##t,            \
  [IFD_EL_Max] = Max_##t, [IFD_EL_PRelu] = PRelu_##t
#define COMPARE_ENTRIES(t)                                                                                   \
  [IFD_EL_Equal] = Equal_##t, [IFD_EL_Less] = Less_##t, [IFD_EL_LessOrEqual] = LessOrEqual_##t,              \
  [IFD_EL_Greater] = Greater_##t, [IFD_EL_GreaterOrEqual] = GreaterOrEqual_##t
typedef ifd_el_binary_row *const rows[IFD_EL_N];
static rows f32_rows = {COMPARE_ENTRIES(float)};
static rows f64_rows = {ARITHMETIC_ENTRIES(double), COMPARE_ENTRIES(double), [IFD_EL_Div] = Div_double};
static rows i64_rows = {ARITHMETIC_ENTRIES(int64_t), COMPARE_ENTRIES(int64_t)};
static rows i32_rows = {ARITHMETIC_ENTRIES(int32_t), COMPARE_ENTRIES(int32_t)};
static rows u8_rows = {ARITHMETIC_ENTRIES(uint8_t), COMPARE_ENTRIES(uint8_t)};
static rows bool_rows = {COMPARE_ENTRIES(uint8_t)};

static ifd_el_binary_row *bits_row(ifd_el op, size_t element_size) {
  static ifd_el_binary_row *const by_size[][4] = {{And_uint8_t, And_uint16_t, And_uint32_t, And_uint64_t},
                                                  {Or_uint8_t, Or_uint16_t, Or_uint32_t, Or_uint64_t},
                                                  {Xor_uint8_t, Xor_uint16_t, Xor_uint32_t, Xor_uint64_t}};
  return by_size[op - IFD_EL_And][element_size == 1 ? 0 : element_size == 2 ? 1 : element_size == 4 ? 2 : 3];
}

ifd_el_binary_row *IFD_K(ifd_el_binary)(ifd_el op, ifd_dtype t) {
  if (op < IFD_EL_N_UNARY || op >= IFD_EL_N) return NULL;
  if (op >= IFD_EL_And && op <= IFD_EL_Xor)
    return ifd_dtype_is_integer(t) || t == IFD_BOOL ? bits_row(op, ifd_dtype_size(t)) : NULL;
  switch (t) {
  case IFD_FLOAT: return op < IFD_EL_N_FLOAT ? IFD_K(ifd_el_binary_f32)[op - IFD_EL_N_UNARY] : f32_rows[op];
  case IFD_DOUBLE: return f64_rows[op];
  case IFD_INT64: return i64_rows[op];
  case IFD_INT32: return i32_rows[op];
  case IFD_UINT8: return u8_rows[op];
  case IFD_BOOL: return bool_rows[op];
  default: return NULL;
  }
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
