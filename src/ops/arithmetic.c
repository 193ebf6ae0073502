/* Arithmetic of two and of many inputs. Integers wrap to the width of their type; division truncates, and by
 * zero is refused: ONNX leaves it undefined, and no answer would be right. */
#include <math.h>

#include "ops/shared/elementwise.h"
#include "ops/shared/elements.h"

/* ---- expressions ---- */

static inline int64_t quotient(int64_t a, int64_t b) {
  return b == -1 ? (int64_t) - (uint64_t)a : a / b; /* the one quotient that overflows wraps */
}
static inline int64_t remainder_of(int64_t a, int64_t b) { return b == -1 ? 0 : a % b; }

/* The remainder of the sign of b. */
static inline int64_t floor_mod_i64(int64_t a, int64_t b) {
  int64_t r = remainder_of(a, b);
  return r != 0 && (r < 0) != (b < 0) ? r + b : r;
}
static inline double floor_mod_f64(double a, double b) {
  double r = fmod(a, b);
  if (r == 0) return copysign(0, b);
  return (r < 0) != (b < 0) ? r + b : r;
}

static inline uint64_t power_u64(uint64_t base, uint64_t exponent) {
  uint64_t y = 1;
  for (; exponent; exponent >>= 1, base *= base)
    if (exponent & 1) y *= base;
  return y;
}
/* A negative exponent gives the truncated fraction; of 0, which has none, 0. */
static inline int64_t power_i64(int64_t base, int64_t exponent) {
  if (exponent >= 0) return (int64_t)power_u64((uint64_t)base, (uint64_t)exponent);
  return base == 1 ? 1 : base == -1 ? (exponent & 1 ? -1 : 1) : 0;
}

/* NaN wins, as in numpy's minimum and maximum. */
#define MIN_OF(a, b) ((a) < (b) || (a) != (a) ? (a) : (b))
#define MAX_OF(a, b) ((a) > (b) || (a) != (a) ? (a) : (b))

/* X(name, float expression, signed expression, unsigned expression) */
#define FUNCTIONS(X)                                                                                         \
  X(Add, a + b, (uint64_t)a + (uint64_t)b, a + b)                                                            \
  X(Sub, a - b, (uint64_t)a - (uint64_t)b, a - b)                                                            \
  X(Mul, a *b, (uint64_t)a *(uint64_t)b, a *b)                                                               \
  X(Div, a / b, quotient(a, b), a / b)                                                                       \
  X(Pow, pow(a, b), power_i64(a, b), power_u64(a, b))                                                        \
  X(floor_mod, floor_mod_f64(a, b), floor_mod_i64(a, b), a % b)                                              \
  X(trunc_mod, fmod(a, b), remainder_of(a, b), a % b)                                                        \
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
    return d[1] ? quotient(d[0], d[1]) : ifd_dim_unknown(dims);
  if (ifd_dim_known_positive(dims, d[1]) && ifd_dim_divides(dims, d[0], d[1], &exact)) return exact;
  bool floors =
      ifd_dim_known_positive(dims, ifd_dim_add(dims, d[0], 1)) && ifd_dim_known_positive(dims, d[1]);
  return floors ? ifd_dim_floor_div(dims, d[0], d[1]) : ifd_dim_unknown(dims);
}

static ifd_dim mod_dims(ifd_dims *dims, const ifd_dim *d) {
  if (ifd_dim_is_number(d[0]) && ifd_dim_is_number(d[1]))
    return d[1] ? floor_mod_i64(d[0], d[1]) : ifd_dim_unknown(dims);
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

#define ROW(name_, since_, flags_, infer_, eval_)                                                            \
  { .name = #name_, .since = since_, .flags = IFD_OP_ELEMENTWISE | flags_, .infer = infer_, .eval = eval_ }
const ifd_op ifd_ops_arithmetic[] = {ROW(Add, 1, 0, ifd_infer_like_first, eval_Add_1),
                                     ROW(Add, 7, IFD_OP_COMMUTATIVE, infer_Add, eval_Add),
                                     ROW(Sub, 1, 0, ifd_infer_like_first, eval_Sub_1),
                                     ROW(Sub, 7, 0, infer_Sub, eval_Sub),
                                     ROW(Mul, 1, 0, ifd_infer_like_first, eval_Mul_1),
                                     ROW(Mul, 7, IFD_OP_COMMUTATIVE, infer_Mul, eval_Mul),
                                     ROW(Div, 1, 0, ifd_infer_like_first, eval_Div_1),
                                     ROW(Div, 7, 0, infer_Div, eval_Div),
                                     ROW(Pow, 1, 0, ifd_infer_like_first, eval_Pow_1),
                                     ROW(Pow, 7, 0, ifd_infer_broadcast_all, eval_Pow),
                                     ROW(Mod, 10, 0, infer_Mod, eval_Mod),
                                     ROW(Sum, 1, IFD_OP_COMMUTATIVE, ifd_infer_like_first, eval_Sum_1),
                                     ROW(Sum, 8, IFD_OP_COMMUTATIVE, infer_Add, eval_Sum),
                                     ROW(Min, 1, IFD_OP_COMMUTATIVE, ifd_infer_like_first, eval_Min_1),
                                     ROW(Min, 8, IFD_OP_COMMUTATIVE, infer_Min, eval_Min),
                                     ROW(Max, 1, IFD_OP_COMMUTATIVE, ifd_infer_like_first, eval_Max_1),
                                     ROW(Max, 8, IFD_OP_COMMUTATIVE, infer_Max, eval_Max),
                                     ROW(Mean, 1, IFD_OP_COMMUTATIVE, ifd_infer_like_first, eval_Mean_1),
                                     ROW(Mean, 8, IFD_OP_COMMUTATIVE, ifd_infer_broadcast_all, eval_Mean),
                                     {0}};
