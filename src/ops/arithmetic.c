/* Arithmetic of two and of many inputs. Integers wrap to the width of their type; division truncates, and by
 * zero is refused: ONNX leaves it undefined, and no answer would be right. */
#include <math.h>

#include "ops/shared/eltwise_work.h"
#include "ops/shared/elementwise.h"
#include "ops/shared/elements.h"

/* ---- expressions ---- */

/* The remainder of the sign of b. */
static inline double floor_mod_f64(double a, double b) {
  double r = fmod(a, b);
  if (r == 0) return copysign(0, b);
  return (r < 0) != (b < 0) ? r + b : r;
}

/* NaN wins, as in numpy's minimum and maximum. */
#define MIN_OF(a, b) ((a) < (b) || (a) != (a) ? (a) : (b))
#define MAX_OF(a, b) ((a) > (b) || (a) != (a) ? (a) : (b))

/* X(name, float expression, signed expression, unsigned expression) */
#define FUNCTIONS(X)                                                                                         \
  X(Add, a + b, (uint64_t)a + (uint64_t)b, a + b)                                                            \
  X(Sub, a - b, (uint64_t)a - (uint64_t)b, a - b)                                                            \
  X(Mul, a *b, (uint64_t)a *(uint64_t)b, a *b)                                                               \
  X(Div, a / b, ifd_quotient(a, b), a / b)                                                                   \
  X(Pow, pow(a, b), ifd_power_i64(a, b), ifd_power_u64(a, b))                                                \
  X(floor_mod, floor_mod_f64(a, b), ifd_floor_mod(a, b), a % b)                                              \
  X(trunc_mod, fmod(a, b), ifd_remainder(a, b), a % b)                                                       \
  X(Min, MIN_OF(a, b), MIN_OF(a, b), MIN_OF(a, b))                                                           \
  X(Max, MAX_OF(a, b), MAX_OF(a, b), MAX_OF(a, b))                                                           \
  X(copy, a, a, a)                                                                                           \
  X(divide_by, a / p[0], a, a)
#define FUNCTION(name, f, i, u)                                                                              \
  IFD_COMPUTE_F64(compute_##name, f)                                                                         \
  IFD_COMPUTE_I64(compute_##name, i)                                                                         \
  IFD_COMPUTE_U64(compute_##name, u)                                                                         \
  static const ifd_elementwise name = {compute_##name##_f64, compute_##name##_i64, compute_##name##_u64};
FUNCTIONS(FUNCTION)

/* ---- two inputs ---- */

#define EVAL(name)                                                                                           \
  static ifd_status eval_##name(ifd_eval *x) { return ifd_elementwise_eval(x, &name, IFD_UNDEFINED, NULL); } \
  static ifd_status eval_##name##_1(ifd_eval *x) {                                                           \
    return ifd_elementwise_legacy_eval(x, &name, IFD_UNDEFINED);                                             \
  }
EVAL(Add)
EVAL(Sub)
EVAL(Mul)
EVAL(Pow)

static ifd_status refuse_zero_divisor(ifd_eval *x) {
  const ifd_tensor *b = ifd_eval_in(x, 1);
  if (ifd_dtype_is_float(b->dtype)) return IFD_OK;
  for (int64_t i = 0, n = ifd_tensor_count(b); i < n; i++)
    EXPECT(x->err, ifd_tensor_get_i64(b, i) != 0, BAD_INPUT, "integer division by zero");
  return IFD_OK;
}

static ifd_status eval_Div(ifd_eval *x) {
  TRY(refuse_zero_divisor(x));
  return ifd_elementwise_eval(x, &Div, IFD_UNDEFINED, NULL);
}

static ifd_status eval_Div_1(ifd_eval *x) {
  TRY(refuse_zero_divisor(x));
  return ifd_elementwise_legacy_eval(x, &Div, IFD_UNDEFINED);
}

static ifd_status eval_Mod(ifd_eval *x) {
  TRY(refuse_zero_divisor(x));
  return ifd_elementwise_eval(x, ifd_attr_int(x->node, "fmod") ? &trunc_mod : &floor_mod, IFD_UNDEFINED,
                              NULL);
}

/* ---- many inputs: folded from the left into the output ---- */

static ifd_status fold_inputs(ifd_eval *x, const ifd_elementwise *f, const ifd_shape *shape,
                              ifd_tensor **out) {
  const ifd_tensor *first = ifd_eval_in(x, 0);
  TRY(ifd_eval_out(x, out, 0, first->dtype, shape));
  TRY(ifd_elementwise_apply(x->err, &copy, *out, &first, 1, NULL));
  for (int i = 1; i < x->n_in; i++)
    TRY(ifd_elementwise_apply(x->err, f, *out, (const ifd_tensor *const[]){*out, ifd_eval_in(x, i)}, 2,
                              NULL));
  return IFD_OK;
}

static ifd_status fold_broadcast(ifd_eval *x, const ifd_elementwise *f, ifd_tensor **out) {
  ifd_shape shape = ifd_eval_in(x, 0)->shape;
  for (int i = 1; i < x->n_in; i++)
    TRY(ifd_shape_broadcast(x->err, &shape, &shape, &ifd_eval_in(x, i)->shape));
  return fold_inputs(x, f, &shape, out);
}

/* Before opset 8 all inputs have one shape. */
static ifd_status fold_same(ifd_eval *x, const ifd_elementwise *f, ifd_tensor **out) {
  const ifd_shape *shape = &ifd_eval_in(x, 0)->shape;
  for (int i = 1; i < x->n_in; i++)
    EXPECT(x->err, ifd_shape_equal(shape, &ifd_eval_in(x, i)->shape), BAD_INPUT,
           "input %d differs in shape from input 0", i);
  return fold_inputs(x, f, shape, out);
}

typedef ifd_status (*fold)(ifd_eval *x, const ifd_elementwise *f, ifd_tensor **out);

static ifd_status mean(ifd_eval *x, fold sum) {
  const double p[] = {x->n_in};
  ifd_tensor *out;
  TRY(sum(x, &Add, &out));
  return ifd_elementwise_apply(x->err, &divide_by, out, (const ifd_tensor *const[]){out}, 1, p);
}

#define EVAL_MANY(name, f)                                                                                   \
  static ifd_status eval_##name(ifd_eval *x) { return fold_broadcast(x, &f, &(ifd_tensor *){NULL}); }        \
  static ifd_status eval_##name##_1(ifd_eval *x) { return fold_same(x, &f, &(ifd_tensor *){NULL}); }
EVAL_MANY(Sum, Add)
EVAL_MANY(Min, Min)
EVAL_MANY(Max, Max)
static ifd_status eval_Mean(ifd_eval *x) { return mean(x, fold_broadcast); }
static ifd_status eval_Mean_1(ifd_eval *x) { return mean(x, fold_same); }

/* ---- on kernels ---- */

/* Integer division, by a row of its own; of other types, by the kernel. */
static ifd_status lower_Div(ifd_lower *x) {
  if (ifd_dtype_is_float(x->in[0]->dtype)) return ifd_lower_elementwise(x);
  ifd_eltwise e = ifd_eltwise_of(x);
  int a = ifd_eltwise_input(&e, 0, NULL);
  ifd_eltwise_integer(&e, IFD_INTEGER_DIV, a, ifd_eltwise_input(&e, 1, NULL));
  return ifd_eltwise_lower(&e);
}

static ifd_status lower_Mod(ifd_lower *x) {
  ifd_eltwise e = ifd_eltwise_of(x);
  bool truncates = ifd_attr_int(x->node, "fmod");
  int a = ifd_eltwise_input(&e, 0, NULL), b = ifd_eltwise_input(&e, 1, NULL);
  if (e.dtype != e.compute) return IFD_OK;
  ifd_eltwise_integer(&e, truncates ? IFD_INTEGER_TRUNC_MOD : IFD_INTEGER_FLOOR_MOD, a, b);
  return ifd_eltwise_lower(&e);
}

/* Squares and cubes are products; a known exponent may have any type. */
static ifd_status lower_Pow(ifd_lower *x) {
  const ifd_tensor *exponent = x->in[1];
  bool known = exponent->data && (exponent->splat || ifd_tensor_count(exponent) == 1);
  double value = known ? ifd_tensor_get_f64(exponent, 0) : 0;
  ifd_eltwise e = ifd_eltwise_of(x);
  int a = ifd_eltwise_input(&e, 0, NULL);
  if (known && (value == 2 || value == 3)) {
    ifd_eltwise_binary(&e, IFD_EL_Mul, a, a);
    if (value == 3) ifd_eltwise_binary(&e, IFD_EL_Mul, IFD_ELTWISE_RESULT, a);
  } else if (ifd_dtype_is_float(e.dtype)) {
    ifd_eltwise_binary(&e, IFD_EL_Pow, a,
                       known ? ifd_eltwise_value(&e, value) : ifd_eltwise_input(&e, 1, NULL));
  } else {
    ifd_eltwise_integer(&e, IFD_INTEGER_POW, a, ifd_eltwise_input(&e, 1, NULL));
  }
  return ifd_eltwise_lower(&e);
}

static ifd_status lower_Mean(ifd_lower *x) {
  ifd_eltwise e = ifd_eltwise_of(x);
  int result = ifd_eltwise_input(&e, 0, NULL);
  for (int i = 1; i < x->node->n_inputs; i++) {
    ifd_eltwise_binary(&e, IFD_EL_Add, result, ifd_eltwise_input(&e, i, NULL));
    result = IFD_ELTWISE_RESULT;
  }
  if (x->node->n_inputs == 1) return ifd_lower_copy(x);
  ifd_eltwise_binary(&e, IFD_EL_Div, result, ifd_eltwise_value(&e, x->node->n_inputs));
  return ifd_eltwise_lower(&e);
}

/* ---- shape arithmetic ---- */

static ifd_dim add_dims(ifd_dims *dims, const ifd_dim *d) { return ifd_dim_add(dims, d[0], d[1]); }
static ifd_dim sub_dims(ifd_dims *dims, const ifd_dim *d) { return ifd_dim_sub(dims, d[0], d[1]); }
static ifd_dim mul_dims(ifd_dims *dims, const ifd_dim *d) { return ifd_dim_mul(dims, d[0], d[1]); }
static ifd_dim min_dims(ifd_dims *dims, const ifd_dim *d) { return ifd_dim_min(dims, d[0], d[1]); }
static ifd_dim max_dims(ifd_dims *dims, const ifd_dim *d) { return ifd_dim_max(dims, d[0], d[1]); }

/* Truncation is floor where neither operand is negative. */
static ifd_dim div_dims(ifd_dims *dims, const ifd_dim *d) {
  ifd_dim exact;
  if (ifd_dim_is_number(d[0]) && ifd_dim_is_number(d[1]))
    return d[1] ? ifd_quotient(d[0], d[1]) : ifd_dim_unknown(dims);
  if (ifd_dim_known_positive(dims, d[1]) && ifd_dim_divides(dims, d[0], d[1], &exact)) return exact;
  bool floors =
      ifd_dim_known_positive(dims, ifd_dim_add(dims, d[0], 1)) && ifd_dim_known_positive(dims, d[1]);
  return floors ? ifd_dim_floor_div(dims, d[0], d[1]) : ifd_dim_unknown(dims);
}

static ifd_dim mod_dims(ifd_dims *dims, const ifd_dim *d) {
  if (ifd_dim_is_number(d[0]) && ifd_dim_is_number(d[1]))
    return d[1] ? ifd_floor_mod(d[0], d[1]) : ifd_dim_unknown(dims);
  bool positive =
      ifd_dim_known_positive(dims, ifd_dim_add(dims, d[0], 1)) && ifd_dim_known_positive(dims, d[1]);
  return positive ? ifd_dim_mod(dims, d[0], d[1]) : ifd_dim_unknown(dims);
}

#define INFER(name, f)                                                                                       \
  static ifd_status infer_##name(ifd_infer *x) {                                                             \
    TRY(ifd_infer_broadcast_all(x));                                                                         \
    return x->node->n_inputs == 2 ? ifd_elements_map(x, 2, f) : IFD_OK;                                      \
  }
INFER(Add, add_dims)
INFER(Sub, sub_dims)
INFER(Mul, mul_dims)
INFER(Div, div_dims)
INFER(Min, min_dims)
INFER(Max, max_dims)

static ifd_status infer_Mod(ifd_infer *x) {
  TRY(ifd_infer_broadcast_all(x));
  return ifd_attr_int(x->node, "fmod") ? IFD_OK : ifd_elements_map(x, 2, mod_dims);
}

#define ROW(name_, since_, flags_, infer_, eval_, lower_)                                                    \
  {                                                                                                          \
    .name = #name_, .since = since_, .flags = IFD_OP_ELEMENTWISE | flags_, .infer = infer_, .eval = eval_,   \
    .lower = lower_                                                                                          \
  }
const ifd_op ifd_ops_arithmetic[] = {
    ROW(Add, 1, 0, ifd_infer_like_first, eval_Add_1, ifd_lower_elementwise_legacy),
    ROW(Add, 7, IFD_OP_COMMUTATIVE, infer_Add, eval_Add, ifd_lower_elementwise),
    ROW(Sub, 1, 0, ifd_infer_like_first, eval_Sub_1, ifd_lower_elementwise_legacy),
    ROW(Sub, 7, 0, infer_Sub, eval_Sub, ifd_lower_elementwise),
    ROW(Mul, 1, 0, ifd_infer_like_first, eval_Mul_1, ifd_lower_elementwise_legacy),
    ROW(Mul, 7, IFD_OP_COMMUTATIVE, infer_Mul, eval_Mul, ifd_lower_elementwise),
    ROW(Div, 1, 0, ifd_infer_like_first, eval_Div_1, NULL),
    ROW(Div, 7, 0, infer_Div, eval_Div, lower_Div),
    ROW(Pow, 1, 0, ifd_infer_like_first, eval_Pow_1, ifd_lower_elementwise_legacy),
    ROW(Pow, 7, 0, ifd_infer_broadcast_all, eval_Pow, lower_Pow),
    ROW(Mod, 10, 0, infer_Mod, eval_Mod, lower_Mod),
    ROW(Sum, 1, IFD_OP_COMMUTATIVE, ifd_infer_like_first, eval_Sum_1, ifd_lower_elementwise),
    ROW(Sum, 8, IFD_OP_COMMUTATIVE, infer_Add, eval_Sum, ifd_lower_elementwise),
    ROW(Min, 1, IFD_OP_COMMUTATIVE, ifd_infer_like_first, eval_Min_1, ifd_lower_elementwise),
    ROW(Min, 8, IFD_OP_COMMUTATIVE, infer_Min, eval_Min, ifd_lower_elementwise),
    ROW(Max, 1, IFD_OP_COMMUTATIVE, ifd_infer_like_first, eval_Max_1, ifd_lower_elementwise),
    ROW(Max, 8, IFD_OP_COMMUTATIVE, infer_Max, eval_Max, ifd_lower_elementwise),
    ROW(Mean, 1, IFD_OP_COMMUTATIVE, ifd_infer_like_first, eval_Mean_1, lower_Mean),
    ROW(Mean, 8, IFD_OP_COMMUTATIVE, ifd_infer_broadcast_all, eval_Mean, lower_Mean),
    {0}};
