/* Functions of one element: a row and an expression each. */
#include <math.h>

#include "ops/shared/eltwise_work.h"
#include "ops/shared/elementwise.h"
#include "ops/shared/elements.h"

/* X(name, since, expression): float types; others, where the schema allows them, go through double. */
#define FLOAT_FUNCTIONS(X)                                                                                   \
  X(Ceil, 1, ceil(a))                                                                                        \
  X(Floor, 1, floor(a))                                                                                      \
  X(Round, 11, rint(a))                                                                                      \
  X(Sqrt, 1, sqrt(a))                                                                                        \
  X(Reciprocal, 1, 1 / a)                                                                                    \
  X(Exp, 1, exp(a))                                                                                          \
  X(Log, 1, log(a))                                                                                          \
  X(Sin, 7, sin(a))                                                                                          \
  X(Cos, 7, cos(a))                                                                                          \
  X(Tan, 7, tan(a))                                                                                          \
  X(Asin, 7, asin(a))                                                                                        \
  X(Acos, 7, acos(a))                                                                                        \
  X(Atan, 7, atan(a))                                                                                        \
  X(Sinh, 9, sinh(a))                                                                                        \
  X(Cosh, 9, cosh(a))                                                                                        \
  X(Tanh, 1, tanh(a))                                                                                        \
  X(Asinh, 9, asinh(a))                                                                                      \
  X(Acosh, 9, acosh(a))                                                                                      \
  X(Atanh, 9, atanh(a))                                                                                      \
  X(Erf, 9, erf(a))

/* X(name, since, float expression, signed expression, unsigned expression) */
#define NUMBER_FUNCTIONS(X)                                                                                  \
  X(Abs, 1, fabs(a), a < 0 ? -(uint64_t)a : (uint64_t)a, a)                                                  \
  X(Neg, 1, -a, -(uint64_t)a, -a)                                                                            \
  X(Sign, 9, a > 0 ? 1 : a < 0 ? -1 : a, (a > 0) - (a < 0), a != 0)

#define EVAL(name)                                                                                           \
  static ifd_status eval_##name(ifd_eval *x) { return ifd_elementwise_eval(x, &name, IFD_UNDEFINED, NULL); }
#define FLOAT_FUNCTION(name, since_, f)                                                                      \
  IFD_COMPUTE_F64(name, f)                                                                                   \
  static const ifd_elementwise name = {.f64 = name##_f64};                                                   \
  EVAL(name)
#define NUMBER_FUNCTION(name, since_, f, i, u)                                                               \
  IFD_COMPUTE_F64(name, f)                                                                                   \
  IFD_COMPUTE_I64(name, i)                                                                                   \
  IFD_COMPUTE_U64(name, u)                                                                                   \
  static const ifd_elementwise name = {name##_f64, name##_i64, name##_u64};                                  \
  EVAL(name)

FLOAT_FUNCTIONS(FLOAT_FUNCTION)
NUMBER_FUNCTIONS(NUMBER_FUNCTION)

/* ---- tests of a float ---- */

IFD_COMPUTE_F64(IsNaN, a != a)
static const ifd_elementwise IsNaN = {.f64 = IsNaN_f64};
static ifd_status eval_IsNaN(ifd_eval *x) { return ifd_elementwise_eval(x, &IsNaN, IFD_BOOL, NULL); }

IFD_COMPUTE_F64(IsInf, a == INFINITY ? p[0] : a == -INFINITY ? p[1] : 0)
static const ifd_elementwise IsInf = {.f64 = IsInf_f64};
static ifd_status eval_IsInf(ifd_eval *x) {
  const double detect[] = {ifd_attr_int(x->node, "detect_positive") != 0,
                           ifd_attr_int(x->node, "detect_negative") != 0};
  return ifd_elementwise_eval(x, &IsInf, IFD_BOOL, detect);
}

static ifd_status lower_IsInf(ifd_lower *x) {
  const float detect[] = {ifd_attr_int(x->node, "detect_negative") != 0,
                          ifd_attr_int(x->node, "detect_positive") != 0};
  ifd_eltwise e = ifd_eltwise_of(x);
  ifd_eltwise_unary(&e, IFD_EL_IsInf, ifd_eltwise_input(&e, 0, NULL), detect);
  return ifd_eltwise_lower(&e);
}

/* ---- shape arithmetic ---- */

static ifd_dim negated(ifd_dims *dims, const ifd_dim *d) { return ifd_dim_sub(dims, 0, d[0]); }

static ifd_status infer_Neg(ifd_infer *x) {
  TRY(ifd_infer_like_first(x));
  return ifd_elements_map(x, 1, negated);
}

#define ROW(name_, since_, infer_, lower_)                                                                   \
  {                                                                                                          \
    .name = #name_, .since = since_, .flags = IFD_OP_ELEMENTWISE, .infer = infer_, .eval = eval_##name_,     \
    .lower = lower_                                                                                          \
  }
#define FLOAT_ROW(name, since, f) ROW(name, since, ifd_infer_like_first, ifd_lower_elementwise),
const ifd_op ifd_ops_math[] = {FLOAT_FUNCTIONS(FLOAT_ROW)
                                   ROW(Abs, 1, ifd_infer_like_first, ifd_lower_elementwise),
                               ROW(Neg, 1, infer_Neg, ifd_lower_elementwise),
                               ROW(Sign, 9, ifd_infer_like_first, ifd_lower_elementwise),
                               ROW(IsNaN, 9, ifd_infer_bool_like_first, ifd_lower_elementwise),
                               ROW(IsInf, 10, ifd_infer_bool_like_first, lower_IsInf),
                               {0}};
