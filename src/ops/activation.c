/* Activation functions: a row, the attributes that are its parameters and an expression each. */
#include <math.h>

#include "ops/shared/eltwise_work.h"
#include "ops/shared/elementwise.h"

static inline double softplus(double a) { return log1p(exp(-fabs(a))) + (a > 0 ? a : 0); }
static inline double sigmoid(double a) { return 1 / (1 + exp(-a)); }
static inline double hard_sigmoid(double alpha, double beta, double a) {
  double y = alpha * a + beta;
  return y < 0 ? 0 : y > 1 ? 1 : y;
}

/* X(name, since, attribute p[0], attribute p[1], expression) */
#define ACTIVATIONS(X)                                                                                       \
  X(LeakyRelu, 1, "alpha", NULL, a < 0 ? p[0] * a : a)                                                       \
  X(Elu, 1, "alpha", NULL, a < 0 ? p[0] * expm1(a) : a)                                                      \
  X(Celu, 12, "alpha", NULL, a > 0 ? a : p[0] * expm1(a / p[0]))                                             \
  X(Selu, 1, "alpha", "gamma", p[1] * (a > 0 ? a : p[0] * expm1(a)))                                         \
  X(HardSigmoid, 1, "alpha", "beta", hard_sigmoid(p[0], p[1], a))                                            \
  X(HardSwish, 14, NULL, NULL, a *hard_sigmoid(1. / 6, .5, a))                                               \
  X(Mish, 18, NULL, NULL, a *tanh(softplus(a)))                                                              \
  X(Sigmoid, 1, NULL, NULL, sigmoid(a))                                                                      \
  X(Softplus, 1, NULL, NULL, softplus(a))                                                                    \
  X(Softsign, 1, NULL, NULL, a / (1 + fabs(a)))                                                              \
  X(Swish, 24, "alpha", NULL, a *sigmoid(p[0] * a))                                                          \
  X(ThresholdedRelu, 10, "alpha", NULL, a > p[0] ? a : 0)                                                    \
  X(Shrink, 9, "lambd", "bias", a<-p[0] ? a + p[1] : a> p[0] ? a - p[1] : 0)

static ifd_status eval_with(ifd_eval *x, const ifd_elementwise *f, const char *first, const char *second) {
  const double p[] = {first ? ifd_attr_float(x->node, first) : 0,
                      second ? ifd_attr_float(x->node, second) : 0};
  return ifd_elementwise_eval(x, f, IFD_UNDEFINED, p);
}

#define ACTIVATION(name, since_, first, second, f)                                                           \
  IFD_COMPUTE_F64(name, f)                                                                                   \
  static ifd_status eval_##name(ifd_eval *x) {                                                               \
    static const ifd_elementwise function = {.f64 = name##_f64};                                             \
    return eval_with(x, &function, first, second);                                                           \
  }
ACTIVATIONS(ACTIVATION)

IFD_COMPUTE_F64(Relu, a < 0 ? 0 : a)
IFD_COMPUTE_I64(Relu, a < 0 ? 0 : a)
static ifd_status eval_Relu(ifd_eval *x) {
  static const ifd_elementwise function = {.f64 = Relu_f64, .i64 = Relu_i64};
  return ifd_elementwise_eval(x, &function, IFD_UNDEFINED, NULL);
}

/* ---- SwiGLU: a gate and a value, not broadcast ---- */

IFD_COMPUTE_F64(SwiGLU, a *sigmoid(p[0] * a) * b)
static ifd_status eval_SwiGLU(ifd_eval *x) {
  static const ifd_elementwise function = {.f64 = SwiGLU_f64};
  EXPECT(x->err, ifd_shape_equal(&ifd_eval_in(x, 0)->shape, &ifd_eval_in(x, 1)->shape), BAD_INPUT,
         "inputs A and B differ in shape");
  return eval_with(x, &function, "alpha", NULL);
}

static ifd_status lower_SwiGLU(ifd_lower *x) {
  const float alpha[] = {(float)ifd_attr_float(x->node, "alpha"), 0};
  ifd_eltwise e = ifd_eltwise_of(x);
  if (!ifd_shape_equal(&x->in[0]->shape, &x->in[1]->shape)) return IFD_OK;
  ifd_eltwise_unary(&e, IFD_EL_Swish, ifd_eltwise_input(&e, 0, NULL), alpha);
  ifd_eltwise_binary(&e, IFD_EL_Mul, IFD_ELTWISE_RESULT, ifd_eltwise_input(&e, 1, NULL));
  return ifd_eltwise_lower(&e);
}

/* ---- Gelu ---- */

#define SQRT_2_OVER_PI 0.79788456080286535588
IFD_COMPUTE_F64(gelu_none, .5 * a * erfc(-a * M_SQRT1_2))
IFD_COMPUTE_F64(gelu_tanh, .5 * a * (1 + tanh(SQRT_2_OVER_PI * (a + .044715 * a * a * a))))

static ifd_status eval_Gelu(ifd_eval *x) {
  static const ifd_elementwise none = {.f64 = gelu_none_f64}, with_tanh = {.f64 = gelu_tanh_f64};
  bool is_none = ifd_node_string_is(x->node, "approximate", "none", "none");
  EXPECT(x->err, is_none || ifd_node_string_is(x->node, "approximate", "none", "tanh"), BAD_MODEL,
         "attribute approximate is neither none nor tanh");
  return ifd_elementwise_eval(x, is_none ? &none : &with_tanh, IFD_UNDEFINED, NULL);
}

static ifd_status lower_Gelu(ifd_lower *x) {
  bool is_none = ifd_node_string_is(x->node, "approximate", "none", "none");
  if (!is_none && !ifd_node_string_is(x->node, "approximate", "none", "tanh")) return IFD_OK;
  ifd_eltwise e = ifd_eltwise_of(x);
  ifd_eltwise_unary(&e, is_none ? IFD_EL_Gelu : IFD_EL_GeluTanh, ifd_eltwise_input(&e, 0, NULL), NULL);
  return ifd_eltwise_lower(&e);
}

/* ---- PRelu ---- */

IFD_COMPUTE_F64(PRelu, a > 0 ? a : a * b)
IFD_COMPUTE_I64(PRelu, a > 0 ? (uint64_t)a : (uint64_t)a * (uint64_t)b)
IFD_COMPUTE_U64(PRelu, a)
static const ifd_elementwise PRelu = {PRelu_f64, PRelu_i64, PRelu_u64};

static ifd_status prelu(ifd_eval *x, const ifd_tensor *slope) {
  const ifd_tensor *in = ifd_eval_in(x, 0);
  ifd_tensor *out;
  ifd_shape shape;
  char ti[256], ts[256];
  TRY(ifd_shape_broadcast(x->err, &shape, &in->shape, &slope->shape));
  EXPECT(x->err, ifd_shape_equal(&shape, &in->shape), BAD_INPUT, "slope %s does not broadcast to input %s",
         ifd_shape_text(&slope->shape, ts, sizeof ts), ifd_shape_text(&in->shape, ti, sizeof ti));
  TRY(ifd_eval_out(x, &out, 0, in->dtype, &shape));
  return ifd_elementwise_apply(x->err, &PRelu, out, (const ifd_tensor *const[]){in, slope}, 2, NULL);
}

static ifd_status eval_PRelu(ifd_eval *x) { return prelu(x, ifd_eval_in(x, 1)); }

/* Before opset 7 a slope of more than one element has one for each channel, which is dimension 1. */
static ifd_shape channel_slope(const ifd_shape *slope, int rank) {
  ifd_shape view = *slope;
  if (ifd_shape_count(&view) == 1)
    view.rank = 0;
  else if (view.rank == 1)
    while (view.rank < rank - 1) view.dim[view.rank++] = 1;
  return view;
}

static ifd_status eval_PRelu_1(ifd_eval *x) {
  ifd_tensor slope = *ifd_eval_in(x, 1);
  slope.shape = channel_slope(&slope.shape, ifd_eval_in(x, 0)->shape.rank);
  return prelu(x, &slope);
}

static ifd_status lower_PRelu_1(ifd_lower *x) {
  ifd_shape slope = channel_slope(&x->in[1]->shape, x->in[0]->shape.rank);
  ifd_eltwise e = ifd_eltwise_of(x);
  int in = ifd_eltwise_input(&e, 0, NULL);
  ifd_eltwise_binary(&e, IFD_EL_PRelu, in, ifd_eltwise_input(&e, 1, &slope));
  return ifd_eltwise_lower(&e);
}

/* ---- Clip ---- */

#define LOWER_BOUND(a, low)  ((a) < (low) ? (low) : (a))
#define UPPER_BOUND(a, high) ((a) > (high) ? (high) : (a))
#define NUMBERS(name, expression)                                                                            \
  IFD_COMPUTE_F64(name, expression)                                                                          \
  IFD_COMPUTE_I64(name, expression)                                                                          \
  IFD_COMPUTE_U64(name, expression)                                                                          \
  static const ifd_elementwise name = {name##_f64, name##_i64, name##_u64};
NUMBERS(lower_bound, LOWER_BOUND(a, b))
NUMBERS(upper_bound, UPPER_BOUND(a, b))
NUMBERS(both_bounds, UPPER_BOUND(LOWER_BOUND(a, b), c))

/* Output 0 = input 0 within bounds of one element each; NULL is no bound. */
static ifd_status clip(ifd_eval *x, const ifd_tensor *low, const ifd_tensor *high) {
  static const ifd_elementwise *const functions[] = {&lower_bound, &upper_bound, &both_bounds};
  const ifd_tensor *bounds[] = {low, high};
  ifd_tensor scalar[2], *out;
  const ifd_tensor *operands[3] = {ifd_eval_in(x, 0)};
  int n = 1;
  for (int i = 0; i < 2; i++) {
    if (!bounds[i]) continue;
    EXPECT(x->err, ifd_tensor_count(bounds[i]) == 1, BAD_INPUT, "%s is not a scalar", i ? "max" : "min");
    scalar[i] = *bounds[i];
    scalar[i].shape.rank = 0;
    operands[n++] = &scalar[i];
  }
  if (n == 1) return ifd_eval_forward(x, 0, 0);
  TRY(ifd_eval_out(x, &out, 0, operands[0]->dtype, &operands[0]->shape));
  return ifd_elementwise_apply(x->err, functions[n == 3 ? 2 : !low], out, operands, n, NULL);
}

static ifd_status eval_Clip(ifd_eval *x) {
  return clip(x, ifd_eval_has(x, 1) ? ifd_eval_in(x, 1) : NULL,
              ifd_eval_has(x, 2) ? ifd_eval_in(x, 2) : NULL);
}

/* Before opset 11 the bounds are attributes; opset 1 has none by default, opset 6 those of float. */
static bool has_bound(const ifd_node *node, const char *name) {
  const ifd_schema_attr *a = node->schema ? ifd_schema_find_attr(node->schema, name) : NULL;
  return ifd_node_find_attr(node, name) || (a && a->has_default);
}

static ifd_status eval_Clip_1(ifd_eval *x) {
  static const char *const names[] = {"min", "max"};
  float value[2];
  ifd_tensor bound[2];
  bool has[2];
  for (int i = 0; i < 2; i++) {
    has[i] = has_bound(x->node, names[i]);
    value[i] = (float)ifd_attr_float(x->node, names[i]);
    bound[i] = (ifd_tensor){.dtype = IFD_FLOAT, .data = &value[i]};
  }
  return clip(x, has[0] ? &bound[0] : NULL, has[1] ? &bound[1] : NULL);
}

/* Bounds of floats are parameters of one kernel, whether known or read in the run; those of integers are
 * steps. */
static ifd_status lower_Clip(ifd_lower *x) {
  static const ifd_el steps[] = {IFD_EL_Max, IFD_EL_Min};
  const float unbounded[] = {-INFINITY, INFINITY};
  const ifd_shape scalar = {0};
  ifd_eltwise e = ifd_eltwise_of(x);
  int result = ifd_eltwise_input(&e, 0, NULL);
  ifd_eltwise_step *clip =
      e.compute == IFD_FLOAT ? ifd_eltwise_unary(&e, IFD_EL_Clip, result, unbounded) : NULL;
  for (int i = 0; i < 2; i++) {
    if (i + 1 >= x->node->n_inputs || !x->in[i + 1]) continue;
    if (ifd_tensor_count(x->in[i + 1]) != 1) return IFD_OK;
    int bound = ifd_eltwise_input(&e, i + 1, &scalar);
    if (clip)
      clip->p_from[i] = bound + 1;
    else
      ifd_eltwise_binary(&e, steps[i], result, bound), result = IFD_ELTWISE_RESULT;
  }
  return e.n_steps || e.loop.declined ? ifd_eltwise_lower(&e) : ifd_lower_copy(x);
}

static ifd_status lower_Clip_1(ifd_lower *x) {
  float bounds[] = {-INFINITY, INFINITY};
  for (int i = 0; i < 2; i++) {
    const char *name = i ? "max" : "min";
    if (has_bound(x->node, name)) bounds[i] = (float)ifd_attr_float(x->node, name);
  }
  ifd_eltwise e = ifd_eltwise_of(x);
  int in = ifd_eltwise_input(&e, 0, NULL);
  if (e.compute != IFD_FLOAT) return IFD_OK;
  ifd_eltwise_unary(&e, IFD_EL_Clip, in, bounds);
  return ifd_eltwise_lower(&e);
}

#define ROW(name_, since_, eval_, lower_)                                                                    \
  {                                                                                                          \
    .name = #name_, .since = since_, .flags = IFD_OP_ELEMENTWISE, .infer = ifd_infer_like_first,             \
    .eval = eval_, .lower = lower_                                                                           \
  }
#define ACTIVATION_ROW(name, since, first, second, f) ROW(name, since, eval_##name, ifd_lower_elementwise),
const ifd_op ifd_ops_activation[] = {ACTIVATIONS(ACTIVATION_ROW)
                                         ROW(Relu, 1, eval_Relu, ifd_lower_elementwise),
                                     ROW(SwiGLU, 28, eval_SwiGLU, lower_SwiGLU),
                                     ROW(Gelu, 20, eval_Gelu, lower_Gelu),
                                     ROW(PRelu, 1, eval_PRelu_1, lower_PRelu_1),
                                     ROW(PRelu, 7, eval_PRelu, ifd_lower_elementwise),
                                     ROW(Clip, 1, eval_Clip_1, lower_Clip_1),
                                     ROW(Clip, 11, eval_Clip, lower_Clip),
                                     {0}};
