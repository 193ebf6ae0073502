#include "pass/range.h"

#include "pass/affine.h"
#include "pass/manager.h"
#include <math.h>
#include <string.h>

static const ifd_range anything = {-INFINITY, INFINITY};

/* ---- arithmetic of ranges ---- */

/* As fmin and fmax, which go by way of the library: of the two, the one that is a number. */
static double lesser(double a, double b) { return a < b || isnan(b) ? a : b; }
static double greater(double a, double b) { return a > b || isnan(b) ? a : b; }

static ifd_range hull(ifd_range a, ifd_range b) {
  return (ifd_range){lesser(a.lo, b.lo), greater(a.hi, b.hi)};
}
static ifd_range both(ifd_range a, ifd_range b) {
  return (ifd_range){greater(a.lo, b.lo), lesser(a.hi, b.hi)};
}
static ifd_range plus(ifd_range a, ifd_range b) { return (ifd_range){a.lo + b.lo, a.hi + b.hi}; }
static ifd_range minus(ifd_range a) { return (ifd_range){-a.hi, -a.lo}; }
static ifd_range larger(ifd_range a, ifd_range b) {
  return (ifd_range){greater(a.lo, b.lo), greater(a.hi, b.hi)};
}
static ifd_range smaller(ifd_range a, ifd_range b) {
  return (ifd_range){lesser(a.lo, b.lo), lesser(a.hi, b.hi)};
}

/* 0 times what has no bound is 0: it stands for every number below, not for infinity. */
static double times(double a, double b) { return a == 0 || b == 0 ? 0 : a * b; }

static ifd_range product(ifd_range a, ifd_range b) {
  double p[] = {times(a.lo, b.lo), times(a.lo, b.hi), times(a.hi, b.lo), times(a.hi, b.hi)};
  return (ifd_range){lesser(lesser(p[0], p[1]), lesser(p[2], p[3])),
                     greater(greater(p[0], p[1]), greater(p[2], p[3]))};
}

/* Only the sign is left of what is summed any number of times. */
static ifd_range signs(ifd_range a) {
  return (ifd_range){a.lo >= 0 ? 0 : -INFINITY, a.hi <= 0 ? 0 : INFINITY};
}

static ifd_range only(double x) { return (ifd_range){x, x}; }

/* ---- operators ---- */

typedef struct look {
  ifd_rewrite *rw;
  const ifd_node *node;
  const ifd_range *in; /* of each input; an absent one is 0 */
} look;

static ifd_range any_number(const look *l) { return (void)l, anything; }
static ifd_range first(const look *l) { return l->in[0]; }
static ifd_range sign_of_first(const look *l) { return signs(l->in[0]); }
static ifd_range positive_of_first(const look *l) { return (ifd_range){signs(l->in[0]).lo, INFINITY}; }
static ifd_range second_or_third(const look *l) { return hull(l->in[1], l->in[2]); }

static ifd_range fold_inputs(const look *l, ifd_range (*f)(ifd_range, ifd_range)) {
  ifd_range r = l->in[0];
  for (int i = 1; i < l->node->n_inputs; i++) r = f(r, l->in[i]);
  return r;
}

static ifd_range all_inputs(const look *l) { return fold_inputs(l, hull); }
static ifd_range greatest(const look *l) { return fold_inputs(l, larger); }
static ifd_range least(const look *l) { return fold_inputs(l, smaller); }
static ifd_range sum(const look *l) { return fold_inputs(l, plus); }
static ifd_range difference(const look *l) { return plus(l->in[0], minus(l->in[1])); }
static ifd_range negated(const look *l) { return minus(l->in[0]); }
static ifd_range relu(const look *l) { return larger(l->in[0], only(0)); }
static ifd_range absolute(const look *l) {
  ifd_range x = l->in[0], y = larger(x, minus(x));
  return larger(y, only(0));
}

static ifd_range clip(const look *l) {
  const ifd_node *n = l->node;
  if (n->opset < 11)
    return smaller(larger(l->in[0], only(ifd_node_float(n, "min", -INFINITY))),
                   only(ifd_node_float(n, "max", INFINITY)));
  ifd_range low = ifd_node_has_input(n, 1) ? l->in[1] : only(-INFINITY);
  ifd_range high = ifd_node_has_input(n, 2) ? l->in[2] : only(INFINITY);
  return smaller(larger(l->in[0], low), high);
}

static ifd_range leaky(const look *l) {
  double slope = ifd_node_float(l->node, "alpha", 0.01f);
  return hull(relu(l), product(smaller(l->in[0], only(0)), only(slope)));
}

static ifd_range mean(const look *l) { return product(sum(l), only(1.0 / l->node->n_inputs)); }

static ifd_range multiplied(const look *l) {
  ifd_range r = product(l->in[0], l->in[1]);
  return l->node->inputs[0] == l->node->inputs[1] ? larger(r, only(0)) : r;
}

/* By what stays away from 0, which may be -0. */
static ifd_range divided(const look *l) {
  ifd_range d = l->in[1];
  return d.lo > 0 || d.hi < 0 ? product(l->in[0], (ifd_range){1 / d.hi, 1 / d.lo}) : anything;
}

static ifd_range power(const look *l) {
  double e;
  bool even = ifd_rw_scalar(l->rw, l->node->inputs[1], &e) && fmod(e, 2) == 0;
  return even || l->in[0].lo >= 0 ? (ifd_range){0, INFINITY} : anything;
}

/* Zeros, or another constant, stand around or among the numbers. */
static ifd_range padded(const look *l) {
  const ifd_node *n = l->node;
  if (!ifd_node_string_is(n, "mode", "constant", "constant")) return l->in[0];
  return hull(l->in[0], n->opset < 11 ? only(ifd_node_float(n, "value", 0)) : l->in[2]);
}

static ifd_range with_zeros(const look *l) { return hull(l->in[0], only(0)); }

/* Averages of neighbours, but for the cubic kind and for what is looked up outside the image. */
static ifd_range resized(const look *l) {
  const ifd_node *n = l->node;
  bool averages = !ifd_node_string_is(n, "mode", "nearest", "cubic") &&
                  !ifd_node_string_is(n, "coordinate_transformation_mode", "", "tf_crop_and_resize");
  return averages ? l->in[0] : anything;
}

static ifd_range cast(const look *l) {
  int64_t to = ifd_node_int(l->node, "to", 0);
  if (to == IFD_FLOAT || to == IFD_DOUBLE) return l->in[0];
  return to == IFD_FLOAT16 || to == IFD_BFLOAT16 ? signs(l->in[0]) : anything;
}

/* x / (bias + alpha/size·Σx²)^beta */
static ifd_range normalized(const look *l) {
  bool positive = ifd_node_float(l->node, "bias", 1) > 0 && ifd_node_float(l->node, "alpha", 1e-4f) >= 0;
  return positive ? signs(l->in[0]) : anything;
}

/* A maximum of nothing is no number of the input's. */
static ifd_range extreme(const look *l) {
  const ifd_value *x = l->node->inputs[0];
  for (int i = ifd_rw_rank(l->rw, x) - 1; i >= 0; i--)
    if (!ifd_dim_known_positive(ifd_rw_dims(l->rw), ifd_rw_dim(l->rw, x, i))) return anything;
  return ifd_rw_rank(l->rw, x) < 0 ? anything : l->in[0];
}

/* A window may lie in the padding whole where its steps are wide, or where it may end outside. */
static ifd_range pooled(const look *l) {
  const int64_t *dilations;
  int n = ifd_node_ints(l->node, "dilations", &dilations);
  bool wide = ifd_node_int(l->node, "ceil_mode", 0) != 0;
  for (int i = 0; i < n; i++) wide |= dilations[i] != 1;
  return wide ? anything : l->in[0];
}

static ifd_range dequantized(const look *l) { return product(plus(l->in[0], minus(l->in[2])), l->in[1]); }

/* Sums of products, and a bias. */
static ifd_range products(const look *l) {
  ifd_range p = signs(product(l->in[0], l->in[1]));
  return l->node->n_inputs > 2 ? plus(p, l->in[2]) : p;
}

static ifd_range gemm(const look *l) {
  ifd_range p = product(l->in[0], l->in[1]);
  ifd_range ab = signs(product(p, only(ifd_node_float(l->node, "alpha", 1))));
  return l->node->n_inputs > 2 ? plus(ab, product(l->in[2], only(ifd_node_float(l->node, "beta", 1)))) : ab;
}

typedef enum rounding {
  CHOOSES,  /* its numbers are among its inputs' */
  ROUNDS,   /* each number is rounded a few times */
  AVERAGES, /* numbers of its first input are added up: of one sign, they keep it */
  SUMS,     /* numbers of all inputs are */
  PRODUCTS  /* products are added up, in any way */
} rounding;

typedef struct row {
  const char *op_types;
  ifd_range (*of)(const look *l);
  ifd_range within; /* whatever the inputs are */
  rounding rounding;
} row;

#define ANY                                                                                                  \
  { -INFINITY, INFINITY }
#define POSITIVE                                                                                             \
  { 0, INFINITY }
static const row rows[] = {
    {"Identity Reshape Flatten Squeeze Unsqueeze Transpose Slice Gather GatherElements GatherND Expand Tile "
     "Split "
     "DepthToSpace SpaceToDepth GlobalMaxPool ReverseSequence",
     first, ANY, CHOOSES},
    {"MaxPool", pooled, ANY, CHOOSES},
    {"Relu", relu, ANY, CHOOSES},
    {"Clip", clip, ANY, CHOOSES},
    {"Max", greatest, ANY, CHOOSES},
    {"Min", least, ANY, CHOOSES},
    {"Abs", absolute, ANY, CHOOSES},
    {"Neg", negated, ANY, CHOOSES},
    {"Concat", all_inputs, ANY, CHOOSES},
    {"Where", second_or_third, ANY, CHOOSES},
    {"Pad", padded, ANY, CHOOSES},
    {"ReduceMax ReduceMin", extreme, ANY, CHOOSES},
    {"Trilu", with_zeros, ANY, CHOOSES},
    {"Shape Size NonZero ArgMax ArgMin", any_number, POSITIVE, CHOOSES},
    {"Sigmoid HardSigmoid Softmax Hardmax", any_number, {0, 1}, ROUNDS},
    {"Exp Softplus Sqrt ReduceL1 ReduceL2 ReduceSumSquare", any_number, POSITIVE, ROUNDS},
    {"Tanh Erf Softsign", sign_of_first, {-1, 1}, ROUNDS},
    {"Sin Cos", any_number, {-1, 1}, ROUNDS},
    {"Swish HardSwish Gelu Mish Floor Ceil Round CumSum", sign_of_first, ANY, ROUNDS},
    {"Elu Celu", positive_of_first, ANY, ROUNDS},
    {"LRN", normalized, ANY, ROUNDS},
    {"LogSoftmax", any_number, {-INFINITY, 0}, ROUNDS},
    {"LeakyRelu", leaky, ANY, ROUNDS},
    {"Mul", multiplied, ANY, ROUNDS},
    {"Div", divided, ANY, ROUNDS},
    {"Pow", power, ANY, ROUNDS},
    {"Cast", cast, ANY, ROUNDS},
    {"DequantizeLinear", dequantized, ANY, ROUNDS},
    {"Resize Upsample", resized, ANY, AVERAGES},
    {"AveragePool", with_zeros, ANY, AVERAGES},
    {"GlobalAveragePool ReduceMean", first, ANY, AVERAGES},
    {"ReduceSum", sign_of_first, ANY, AVERAGES},
    {"Add", sum, ANY, ROUNDS},
    {"Sub", difference, ANY, ROUNDS},
    {"Sum", sum, ANY, SUMS},
    {"Mean", mean, ANY, SUMS},
    {"Conv ConvTranspose MatMul", products, ANY, PRODUCTS},
    {"Gemm", gemm, ANY, PRODUCTS},
};

/* ---- rounding ---- */

static double size(ifd_range r) { return greater(fabs(r.lo), fabs(r.hi)); }

static bool one_sign(const look *l, int n) {
  bool negative = false, positive = false;
  for (int i = 0; i < n; i++) {
    negative |= l->in[i].lo < 0;
    positive |= l->in[i].hi > 0;
  }
  return !negative || !positive;
}

/* Wide enough for the error of the narrowest float type, in any order of a few operations. A number that is
 * rounded keeps its sign. */
static ifd_range loosen(ifd_range r, const look *l, rounding how) {
  const double unit = 1.0 / 64;
  if (how == CHOOSES) return r;
  if (how == PRODUCTS) return anything;
  double slack = 0;
  int n = how == SUMS ? l->node->n_inputs : how == AVERAGES ? 1 : 0; /* summands */
  for (int i = 0; i < n; i++) slack += unit * size(l->in[i]);
  ifd_range wide = {r.lo - greater(slack, unit * fabs(r.lo)), r.hi + greater(slack, unit * fabs(r.hi))};
  if (isnan(wide.lo)) wide.lo = -INFINITY;
  if (isnan(wide.hi)) wide.hi = INFINITY;
  if (!one_sign(l, n)) return wide;
  return (ifd_range){r.lo >= 0 ? greater(wide.lo, 0) : wide.lo, r.hi <= 0 ? lesser(wide.hi, 0) : wide.hi};
}

static ifd_range apply(const row *row, const look *l) {
  ifd_range r = both(row->of(l), row->within);
  if (isnan(r.lo)) r.lo = -INFINITY;
  if (isnan(r.hi)) r.hi = INFINITY;
  return r;
}

/* ---- nodes ---- */

/* Integers wrap around, narrower floats saturate. */
static bool is_plain_float(ifd_dtype t) { return t == IFD_FLOAT || t == IFD_DOUBLE || ifd_dtype_is_half(t); }

static const row *find_row(const ifd_node *node) {
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
    if (ifd_node_is_any(node, rows[i].op_types)) return &rows[i];
  return NULL;
}

static ifd_status find(ifd_rewrite *rw, ifd_bounds *out, const ifd_value *value, int depth);

/* Channel by channel, since its shift and its mean belong together. */
static ifd_status of_batch_norm(ifd_rewrite *rw, ifd_bounds *out, const ifd_node *bn, int depth) {
  ifd_affine f;
  ifd_bounds x;
  bool is_affine;
  const char *why;
  TRY(find(rw, &x, bn->inputs[0], depth));
  TRY(ifd_affine_of(rw, bn, &f, &is_affine, &why));
  if (!is_affine || f.n < 1) return IFD_OK;
  ifd_range r = {INFINITY, -INFINITY};
  for (int64_t c = 0; c < f.n; c++) r = hull(r, plus(product(x.real, only(f.a[c])), only(f.b[c])));
  out->real = r;
  return IFD_OK;
}

static ifd_status of_node(ifd_rewrite *rw, ifd_bounds *out, const ifd_node *node, int depth) {
  enum { ABSENT = 3 }; /* optional inputs behind the last */
  int n = node->n_inputs + ABSENT;
  ifd_range *in;
  ifd_bounds b;
  if (ifd_node_is(node, "BatchNormalization")) return of_batch_norm(rw, out, node, depth);
  const row *row = find_row(node);
  if (!row || (row->rounding != CHOOSES && !is_plain_float(ifd_rw_dtype(rw, node->outputs[0]))))
    return IFD_OK;
  ALLOC(ifd_rw_error(rw), in, ifd_new_array(ifd_rw_scratch(rw), ifd_range, 2 * n));
  for (int i = 0; i < node->n_inputs; i++) {
    TRY(find(rw, &b, node->inputs[i], depth));
    in[i] = b.real;
    in[n + i] = b.rounded;
  }
  look l = {rw, node, in};
  out->real = both(apply(row, &l), out->real);
  l.in = in + n;
  out->rounded = both(loosen(apply(row, &l), &l, row->rounding), out->rounded);
  return IFD_OK;
}

/* What a type can hold at all. */
static ifd_range of_dtype(ifd_dtype t) {
  double n = ldexp(1, ifd_dtypes[t].bits);
  switch (ifd_dtypes[t].class) {
  case IFD_CLASS_BOOL: return (ifd_range){0, 1};
  case IFD_CLASS_UINT: return (ifd_range){0, n - 1};
  case IFD_CLASS_INT: return (ifd_range){-n / 2, n / 2 - 1};
  default: return anything;
  }
}

/* Of many numbers, that one is negative, or their type, is enough to know: trained weights need not be read
 * to their end. */
static ifd_range of_constant(const ifd_tensor *t) {
  enum { MANY = 1 << 12, SOME = 1 << 8 };
  double x[SOME];
  int64_t n = t->splat ? 1 : ifd_tensor_count(t);
  if (!n || t->dtype == IFD_STRING || ifd_dtypes[t->dtype].class == IFD_CLASS_COMPLEX) return anything;
  if (n > MANY && ifd_dtype_is_integer(t->dtype)) return of_dtype(t->dtype);
  ifd_range r = {INFINITY, -INFINITY};
  for (int64_t i = 0; i < n; i += SOME) {
    int64_t some = ifd_min_i64(SOME, n - i);
    ifd_tensor_get_f64s(t, i, x, some);
    for (int64_t j = 0; j < some; j++) {
      if (x[j] < 0 && n > MANY) return anything;
      r = hull(r, only(x[j]));
    }
  }
  return r;
}

/* ---- values ---- */

static ifd_status make_room(ifd_manager *m, int id) {
  if (id < m->n_bounds) return IFD_OK;
  int n = 2 * id + 16;
  ifd_bounds **grown;
  ALLOC(m->err, grown, ifd_new_array(&m->facts_arena, ifd_bounds *, n));
  if (m->n_bounds) memcpy(grown, m->bounds, (size_t)m->n_bounds * sizeof *grown);
  m->bounds = grown;
  m->n_bounds = n;
  return IFD_OK;
}

static ifd_status find(ifd_rewrite *rw, ifd_bounds *out, const ifd_value *v, int depth) {
  enum { DEEPEST = 200 }; /* further back nothing is known: what was met before is remembered */
  ifd_manager *m = rw->manager;
  *out = (ifd_bounds){only(0), only(0)};
  if (!v) return IFD_OK;
  if (v->id < m->n_bounds && m->bounds[v->id]) return *out = *m->bounds[v->id], IFD_OK;
  ifd_range held = of_dtype(ifd_rw_dtype(rw, v));
  *out = (ifd_bounds){held, held};
  const ifd_tensor *t = ifd_value_constant(v);
  const ifd_node *maker = v->producer;
  if (t)
    out->real = out->rounded = of_constant(t);
  else if (maker && depth < DEEPEST && (!v->output || ifd_node_is(maker, "Split")))
    TRY(of_node(rw, out, maker, depth + 1));
  TRY(make_room(m, v->id));
  ALLOC(m->err, m->bounds[v->id], ifd_arena_memdup(&m->facts_arena, out, sizeof *out));
  return IFD_OK;
}

ifd_status ifd_rw_bounds(ifd_rewrite *rw, ifd_bounds *out, const ifd_value *value) {
  return find(rw, out, value, 0);
}
