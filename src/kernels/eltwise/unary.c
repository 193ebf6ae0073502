#include "kernels/eltwise/rows.h"
#include "kernels/exp_double.h"
#include "kernels/vmath.h"

#define C(value) v16_set1(value)

/* Each operator on sixteen lanes: x the element, p and q the parameters. */
#define LANES(name, expression)                                                                              \
  IFD_INLINE v16 name##_lanes(v16 x, v16 p, v16 q) {                                                         \
    (void)p, (void)q;                                                                                        \
    return expression;                                                                                       \
  }
IFD_INLINE v16 hard_sigmoid(v16 x, v16 alpha, v16 beta) {
  return v16_min(C(1), v16_max(C(0), v16_add(v16_mul(x, alpha), beta)));
}
LANES(Identity, x)
LANES(Abs, v16_abs(x))
LANES(Neg, v16_neg(x))
LANES(Sign, v16_select(v16_lt(C(0), x), C(1), v16_select(v16_lt(x, C(0)), C(-1), x)))
LANES(Reciprocal, v16_div(C(1), x))
LANES(Sqrt, v16_sqrt(x))
LANES(Exp, v16_exp(x))
LANES(Log, v16_log(x))
LANES(Sin, v16_sin(x))
LANES(Cos, v16_cos(x))
LANES(Tan, v16_tan(x))
LANES(Asin, v16_asin(x))
LANES(Acos, v16_acos(x))
LANES(Atan, v16_atan(x))
LANES(Sinh, v16_sinh(x))
LANES(Cosh, v16_cosh(x))
LANES(Asinh, v16_asinh(x))
LANES(Acosh, v16_acosh(x))
LANES(Atanh, v16_atanh(x))
LANES(Erf, v16_erf(x))
LANES(Ceil, v16_ceil(x))
LANES(Floor, v16_floor(x))
LANES(Round, v16_round(x))
LANES(Relu, v16_max(C(0), x))
LANES(LeakyRelu, v16_select(v16_lt(x, C(0)), v16_mul(p, x), x))
LANES(Elu, v16_select(v16_lt(x, C(0)), v16_mul(p, v16_expm1(x)), x))
LANES(Celu, v16_select(v16_lt(C(0), x), x, v16_mul(p, v16_expm1(v16_div(x, p)))))
LANES(Selu, v16_mul(q, v16_select(v16_lt(C(0), x), x, v16_mul(p, v16_expm1(x)))))
LANES(HardSigmoid, hard_sigmoid(x, p, q))
LANES(HardSwish, v16_mul(x, hard_sigmoid(x, C(1.f / 6), C(0.5f))))
LANES(Mish, v16_mish(x))
LANES(Sigmoid, v16_sigmoid(x))
LANES(Softplus, v16_softplus(x))
LANES(Softsign, v16_div(x, v16_add(C(1), v16_abs(x))))
LANES(Swish, v16_swish(x, p))
LANES(ThresholdedRelu, v16_select(v16_lt(p, x), x, C(0)))
LANES(Shrink, v16_select(v16_lt(x, v16_neg(p)), v16_add(x, q), v16_select(v16_lt(p, x), v16_sub(x, q), C(0))))
LANES(Tanh, v16_tanh(x))
LANES(Gelu, v16_gelu(x))
LANES(GeluTanh, v16_gelu_tanh(x))
LANES(Clip, v16_min(q, v16_max(p, x)))
LANES(RoundFloat16, v16_round_float16(x))
LANES(RoundBFloat16, v16_round_bfloat16(x))

#define ROW(name)                                                                                            \
  static void name##_row(const float *params, const void *from, void *to, size_t n) {                        \
    const float *x = from;                                                                                   \
    float *y = to;                                                                                           \
    const v16 p = C(params ? params[0] : 0), q = C(params ? params[1] : 0);                                  \
    size_t i = 0;                                                                                            \
    for (; i + 16 <= n; i += 16) v16_store(y + i, name##_lanes(v16_load(x + i), p, q));                      \
    if (i < n) v16_store_n(y + i, name##_lanes(v16_load_n(x + i, (int)(n - i)), p, q), (int)(n - i));        \
  }
IFD_EL_UNARY_LIST(ROW)

ifd_el_unary_row *const IFD_K(ifd_el_unary_f32)[IFD_EL_N_UNARY] = {
#define ENTRY(name) [IFD_EL_##name] = name##_row,
    IFD_EL_UNARY_LIST(ENTRY)
#undef ENTRY
};

/* ---- tests, and the integer types: loops that the compiler vectorizes ---- */

#define PLAIN(name, from_type, to_type, expression)                                                          \
  static void name(const float *p, const void *from, void *to, size_t n) {                                   \
    const from_type *x = from;                                                                               \
    to_type *y = to;                                                                                         \
    (void)p;                                                                                                 \
    _Pragma("GCC ivdep") for (size_t i = 0; i < n; i++) y[i] = (to_type)(expression);                        \
  }
#define TESTS(t)                                                                                             \
  PLAIN(is_nan_##t, t, uint8_t, x[i] != x[i])                                                                \
  static void is_inf_##t(const float *p, const void *from, void *to, size_t n) {                             \
    const t *x = from, low = p[0] != 0 ? -INFINITY : NAN, high = p[1] != 0 ? INFINITY : NAN;                 \
    uint8_t *y = to;                                                                                         \
    _Pragma("GCC ivdep") for (size_t i = 0; i < n; i++) y[i] = (x[i] == low) | (x[i] == high);               \
  }
TESTS(float)
TESTS(double)
PLAIN(not_bool, uint8_t, uint8_t, !x[i])
#define INTEGER_ROWS(t, u)                                                                                   \
  PLAIN(identity_##t, t, t, x[i])                                                                            \
  PLAIN(abs_##t, t, t, x[i] < 0 ? -(u)x[i] : (u)x[i])                                                        \
  PLAIN(neg_##t, t, t, -(u)x[i])                                                                             \
  PLAIN(sign_##t, t, t, (x[i] > 0) - (x[i] < 0))                                                             \
  PLAIN(relu_##t, t, t, x[i] > 0 ? x[i] : 0)
INTEGER_ROWS(int64_t, uint64_t)
INTEGER_ROWS(int32_t, uint32_t)
PLAIN(identity_double, double, double, x[i])
PLAIN(abs_double, double, double, fabs(x[i]))
PLAIN(neg_double, double, double, -x[i])
PLAIN(sign_double, double, double, x[i] > 0 ? 1 : x[i] < 0 ? -1 : x[i] == 0 ? 0 : x[i])
PLAIN(relu_double, double, double, (x[i] > 0) | (x[i] != x[i]) ? x[i] : 0)
PLAIN(sqrt_double, double, double, sqrt(x[i]))
PLAIN(reciprocal_double, double, double, 1 / x[i])
PLAIN(floor_double, double, double, floor(x[i]))
PLAIN(ceil_double, double, double, ceil(x[i]))
PLAIN(round_double, double, double, rint(x[i]))

static void exp_double(const float *p, const void *from, void *to, size_t n) {
  (void)p;
  ifd_exp_row(from, to, n);
}

typedef union double_word {
  double value;
  uint64_t bits;
} double_word;
/* condition ? a : b, both computed: what is chosen by bits takes no branch, and loops become vectors. */
IFD_INLINE double choose_double(bool condition, double a, double b) {
  const double_word yes = {a}, no = {b};
  const uint64_t mask = -(uint64_t)condition;
  return (double_word){.bits = (yes.bits & mask) | (no.bits & ~mask)}.value;
}

/* At most 3 units in the last place off; below 0.625 by the coefficients of Cephes' tanh.c. */
IFD_INLINE double tanh_of(double x) {
  const double a = fabs(x), z = a * a;
  const double p = (-9.64399179425052238628e-1 * z - 9.92877231001918586564e1) * z - 1.61468768441708447952e3;
  const double q =
      ((z + 1.12811678491632931402e2) * z + 2.23548839060100448583e3) * z + 4.84406305325125486048e3;
  const double large = 1 - 2 / (ifd_exp_near(choose_double(a < 22.5, 2 * a, 45)) + 1);
  return copysign(choose_double(a >= 0.625, large, a + a * z * (p / q)), x);
}
PLAIN(tanh_double, double, double, tanh_of(x[i]))

ifd_el_unary_row *IFD_K(ifd_el_unary)(ifd_el op, ifd_dtype t) {
  static ifd_el_unary_row *const i64[IFD_EL_N_UNARY] = {[IFD_EL_Identity] = identity_int64_t,
                                                        [IFD_EL_Abs] = abs_int64_t,
                                                        [IFD_EL_Neg] = neg_int64_t,
                                                        [IFD_EL_Sign] = sign_int64_t,
                                                        [IFD_EL_Relu] = relu_int64_t};
  static ifd_el_unary_row *const i32[IFD_EL_N_UNARY] = {[IFD_EL_Identity] = identity_int32_t,
                                                        [IFD_EL_Abs] = abs_int32_t,
                                                        [IFD_EL_Neg] = neg_int32_t,
                                                        [IFD_EL_Sign] = sign_int32_t,
                                                        [IFD_EL_Relu] = relu_int32_t};
  static ifd_el_unary_row *const f64[IFD_EL_N_UNARY] = {[IFD_EL_Identity] = identity_double,
                                                        [IFD_EL_Abs] = abs_double,
                                                        [IFD_EL_Neg] = neg_double,
                                                        [IFD_EL_Sign] = sign_double,
                                                        [IFD_EL_Relu] = relu_double,
                                                        [IFD_EL_Sqrt] = sqrt_double,
                                                        [IFD_EL_Reciprocal] = reciprocal_double,
                                                        [IFD_EL_Floor] = floor_double,
                                                        [IFD_EL_Ceil] = ceil_double,
                                                        [IFD_EL_Round] = round_double,
                                                        [IFD_EL_Exp] = exp_double,
                                                        [IFD_EL_Tanh] = tanh_double};
  if (op < IFD_EL_N_UNARY)
    return t == IFD_FLOAT    ? IFD_K(ifd_el_unary_f32)[op]
           : t == IFD_INT64  ? i64[op]
           : t == IFD_INT32  ? i32[op]
           : t == IFD_DOUBLE ? f64[op]
                             : NULL;
  if (op == IFD_EL_Not) return t == IFD_BOOL ? not_bool : NULL;
  const bool nan = op == IFD_EL_IsNaN;
  if (!nan && op != IFD_EL_IsInf) return NULL;
  return t == IFD_FLOAT    ? (nan ? is_nan_float : is_inf_float)
         : t == IFD_DOUBLE ? (nan ? is_nan_double : is_inf_double)
                           : NULL;
}
