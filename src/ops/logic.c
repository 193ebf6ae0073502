/* Comparisons, boolean and bitwise operators. */
#include <string.h>

#include "ops/shared/eltwise_work.h"
#include "ops/shared/elementwise.h"
#include "ops/shared/elements.h"
#include "ops/shared/walk.h"

/* X(name, expression for every compute type) */
#define COMPARISONS(X)                                                                                       \
  X(Equal, a == b)                                                                                           \
  X(Greater, a > b)                                                                                          \
  X(GreaterOrEqual, a >= b)                                                                                  \
  X(Less, a < b)                                                                                             \
  X(LessOrEqual, a <= b)

/* X(name, expression over the bits) */
#define BIT_FUNCTIONS(X)                                                                                     \
  X(And, a &b)                                                                                               \
  X(Or, a | b)                                                                                               \
  X(Xor, a ^ b)                                                                                              \
  X(Not, !a)                                                                                                 \
  X(BitwiseNot, ~a)

#define EVAL(name, dtype)                                                                                    \
  static ifd_status eval_##name(ifd_eval *x) { return ifd_elementwise_eval(x, &name, dtype, NULL); }
#define COMPARISON(name, f)                                                                                  \
  IFD_COMPUTE_F64(name, f)                                                                                   \
  IFD_COMPUTE_I64(name, f)                                                                                   \
  IFD_COMPUTE_U64(name, f)                                                                                   \
  static const ifd_elementwise name = {name##_f64, name##_i64, name##_u64};                                  \
  EVAL(name, IFD_BOOL)
#define BIT_FUNCTION(name, f)                                                                                \
  IFD_COMPUTE_U64(name, f)                                                                                   \
  static const ifd_elementwise name = {.u64 = name##_u64};                                                   \
  EVAL(name, IFD_UNDEFINED)
COMPARISONS(COMPARISON)
BIT_FUNCTIONS(BIT_FUNCTION)

#define EVAL_LEGACY(name)                                                                                    \
  static ifd_status eval_##name##_1(ifd_eval *x) { return ifd_elementwise_legacy_eval(x, &name, IFD_BOOL); }
EVAL_LEGACY(Equal)
EVAL_LEGACY(Greater)
EVAL_LEGACY(Less)
EVAL_LEGACY(And)
EVAL_LEGACY(Or)
EVAL_LEGACY(Xor)

/* ---- strings ---- */

static bool equal_strings(const ifd_str *a, const ifd_str *b) {
  return a->len == b->len && (a->len == 0 || memcmp(a->s, b->s, a->len) == 0);
}

static ifd_status eval_Equal_19(ifd_eval *x) {
  const ifd_tensor *a = ifd_eval_in(x, 0), *b = ifd_eval_in(x, 1);
  if (a->dtype != IFD_STRING) return eval_Equal(x);
  ifd_tensor *out;
  ifd_shape shape;
  TRY(ifd_shape_broadcast(x->err, &shape, &a->shape, &b->shape));
  TRY(ifd_eval_out(x, &out, 0, IFD_BOOL, &shape));
  ifd_walk w = ifd_walk_over(&shape);
  ifd_walk_add_shape(&w, &a->shape);
  ifd_walk_add_shape(&w, &b->shape);
  ifd_walk_add_shape(&w, &shape);
  while (ifd_walk_next(&w)) {
    const ifd_str *sa = (const ifd_str *)a->data + w.offset[0], *sb = (const ifd_str *)b->data + w.offset[1];
    bool *to = (bool *)out->data + w.offset[2];
    for (int64_t i = 0; i < w.n; i++) to[i] = equal_strings(&sa[i * w.step[0]], &sb[i * w.step[1]]);
  }
  return IFD_OK;
}

/* ---- shifts: p[0] is the width of the type. Beyond it, only copies of the sign are left ---- */

#define IN_WIDTH(b) ((b) >= 0 && (double)(b) < p[0])
IFD_COMPUTE_U64(shift_left, (double)b < p[0] ? a << b : 0)
IFD_COMPUTE_I64(shift_left, IN_WIDTH(b) ? (uint64_t)a << b : 0)
IFD_COMPUTE_U64(shift_right, (double)b < p[0] ? a >> b : 0)
IFD_COMPUTE_I64(shift_right, IN_WIDTH(b) ? a >> b : a < 0 ? -1 : 0)

static ifd_status eval_BitShift(ifd_eval *x) {
  static const ifd_elementwise left = {.i64 = shift_left_i64, .u64 = shift_left_u64};
  static const ifd_elementwise right = {.i64 = shift_right_i64, .u64 = shift_right_u64};
  const double bits[] = {ifd_dtypes[ifd_eval_in(x, 0)->dtype].bits};
  bool is_left = ifd_node_string_is(x->node, "direction", "", "LEFT");
  EXPECT(x->err, is_left || ifd_node_string_is(x->node, "direction", "", "RIGHT"), BAD_MODEL,
         "attribute direction is neither LEFT nor RIGHT");
  return ifd_elementwise_eval(x, is_left ? &left : &right, IFD_UNDEFINED, bits);
}

static ifd_status lower_BitShift(ifd_lower *x) {
  bool is_left = ifd_node_string_is(x->node, "direction", "", "LEFT");
  ifd_eltwise e = ifd_eltwise_of(x);
  if (!is_left && !ifd_node_string_is(x->node, "direction", "", "RIGHT")) return IFD_OK;
  int a = ifd_eltwise_input(&e, 0, NULL), b = ifd_eltwise_input(&e, 1, NULL);
  ifd_eltwise_integer(&e, is_left ? IFD_INTEGER_SHIFT_LEFT : IFD_INTEGER_SHIFT_RIGHT, a, b);
  return ifd_eltwise_lower(&e);
}

/* Every bit with a one. */
static ifd_status lower_BitwiseNot(ifd_lower *x) {
  const uint64_t ones = UINT64_MAX;
  ifd_eltwise e = ifd_eltwise_of(x);
  int a = ifd_eltwise_input(&e, 0, NULL);
  ifd_eltwise_binary(&e, IFD_EL_Xor, a, ifd_loop_value(&e.loop, &ones, ifd_dtype_size(e.dtype)));
  return ifd_eltwise_lower(&e);
}

/* ---- inference ---- */

static ifd_dim equal_dims(ifd_dims *dims, const ifd_dim *d) {
  if (d[0] == d[1]) return 1;
  if (ifd_dim_is_number(d[0]) && ifd_dim_is_number(d[1])) return 0;
  ifd_dim above = ifd_dim_sub(dims, d[0], d[1]), below = ifd_dim_sub(dims, d[1], d[0]);
  bool differ = ifd_dim_known_positive(dims, above) || ifd_dim_known_positive(dims, below);
  return differ ? 0 : ifd_dim_unknown(dims);
}

static ifd_status infer_Equal(ifd_infer *x) {
  TRY(ifd_infer_broadcast_bool(x));
  return ifd_elements_map(x, 2, equal_dims);
}

/* Whether a < b. */
static ifd_dim less_dims(ifd_dims *dims, ifd_dim a, ifd_dim b) {
  if (ifd_dim_known_positive(dims, ifd_dim_sub(dims, b, a))) return 1;
  bool not_less = ifd_dim_known_positive(dims, ifd_dim_add(dims, ifd_dim_sub(dims, a, b), 1));
  return not_less ? 0 : ifd_dim_unknown(dims);
}

static ifd_dim not_dim(ifd_dims *dims, const ifd_dim *d) {
  return ifd_dim_is_number(d[0]) ? d[0] == 0 : ifd_dim_unknown(dims);
}
static ifd_dim and_dims(ifd_dims *dims, const ifd_dim *d) {
  if (d[0] == 0 || d[1] == 0) return 0;
  return ifd_dim_is_number(d[0]) && ifd_dim_is_number(d[1]) ? 1 : ifd_dim_unknown(dims);
}
static ifd_dim or_dims(ifd_dims *dims, const ifd_dim *d) {
  if (d[0] == 1 || d[1] == 1) return 1;
  return d[0] == 0 && d[1] == 0 ? 0 : ifd_dim_unknown(dims);
}
static ifd_dim Less_dims(ifd_dims *dims, const ifd_dim *d) { return less_dims(dims, d[0], d[1]); }
static ifd_dim Greater_dims(ifd_dims *dims, const ifd_dim *d) { return less_dims(dims, d[1], d[0]); }
static ifd_dim LessOrEqual_dims(ifd_dims *dims, const ifd_dim *d) {
  const ifd_dim greater = less_dims(dims, d[1], d[0]);
  return not_dim(dims, &greater);
}
static ifd_dim GreaterOrEqual_dims(ifd_dims *dims, const ifd_dim *d) {
  const ifd_dim less = less_dims(dims, d[0], d[1]);
  return not_dim(dims, &less);
}

#define INFER_BOOL(name, n, f)                                                                               \
  static ifd_status infer_##name(ifd_infer *x) {                                                             \
    TRY(ifd_infer_broadcast_bool(x));                                                                        \
    return ifd_elements_map(x, n, f);                                                                        \
  }
INFER_BOOL(Less, 2, Less_dims)
INFER_BOOL(Greater, 2, Greater_dims)
INFER_BOOL(LessOrEqual, 2, LessOrEqual_dims)
INFER_BOOL(GreaterOrEqual, 2, GreaterOrEqual_dims)
INFER_BOOL(And, 2, and_dims)
INFER_BOOL(Or, 2, or_dims)
INFER_BOOL(Not, 1, not_dim)

#define ROW(name_, since_, flags_, infer_, eval_, lower_)                                                    \
  {                                                                                                          \
    .name = #name_, .since = since_, .flags = IFD_OP_ELEMENTWISE | flags_, .infer = infer_, .eval = eval_,   \
    .lower = lower_                                                                                          \
  }
const ifd_op ifd_ops_logic[] = {
    ROW(Equal, 1, 0, ifd_infer_bool_like_first, eval_Equal_1, ifd_lower_elementwise_legacy),
    ROW(Equal, 7, IFD_OP_COMMUTATIVE, infer_Equal, eval_Equal, ifd_lower_elementwise),
    ROW(Equal, 19, IFD_OP_COMMUTATIVE, infer_Equal, eval_Equal_19, ifd_lower_elementwise),
    ROW(Greater, 1, 0, ifd_infer_bool_like_first, eval_Greater_1, ifd_lower_elementwise_legacy),
    ROW(Greater, 7, 0, infer_Greater, eval_Greater, ifd_lower_elementwise),
    ROW(Less, 1, 0, ifd_infer_bool_like_first, eval_Less_1, ifd_lower_elementwise_legacy),
    ROW(Less, 7, 0, infer_Less, eval_Less, ifd_lower_elementwise),
    ROW(GreaterOrEqual, 12, 0, infer_GreaterOrEqual, eval_GreaterOrEqual, ifd_lower_elementwise),
    ROW(LessOrEqual, 12, 0, infer_LessOrEqual, eval_LessOrEqual, ifd_lower_elementwise),
    ROW(And, 1, 0, ifd_infer_bool_like_first, eval_And_1, ifd_lower_elementwise_legacy),
    ROW(And, 7, IFD_OP_COMMUTATIVE, infer_And, eval_And, ifd_lower_elementwise),
    ROW(Or, 1, 0, ifd_infer_bool_like_first, eval_Or_1, ifd_lower_elementwise_legacy),
    ROW(Or, 7, IFD_OP_COMMUTATIVE, infer_Or, eval_Or, ifd_lower_elementwise),
    ROW(Xor, 1, 0, ifd_infer_bool_like_first, eval_Xor_1, ifd_lower_elementwise_legacy),
    ROW(Xor, 7, IFD_OP_COMMUTATIVE, ifd_infer_broadcast_bool, eval_Xor, ifd_lower_elementwise),
    ROW(Not, 1, 0, infer_Not, eval_Not, ifd_lower_elementwise),
    ROW(BitwiseAnd, 18, IFD_OP_COMMUTATIVE, ifd_infer_broadcast_all, eval_And, ifd_lower_elementwise),
    ROW(BitwiseOr, 18, IFD_OP_COMMUTATIVE, ifd_infer_broadcast_all, eval_Or, ifd_lower_elementwise),
    ROW(BitwiseXor, 18, IFD_OP_COMMUTATIVE, ifd_infer_broadcast_all, eval_Xor, ifd_lower_elementwise),
    ROW(BitwiseNot, 18, 0, ifd_infer_like_first, eval_BitwiseNot, lower_BitwiseNot),
    ROW(BitShift, 11, 0, ifd_infer_broadcast_all, eval_BitShift, lower_BitShift),
    {0}};
