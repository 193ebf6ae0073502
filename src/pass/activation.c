#include "pass/activation.h"

#include <math.h>

/* ---- single operators ---- */

static ifd_activation clip(ifd_rewrite *rw, const ifd_node *node) {
  ifd_activation a = {.p = {-INFINITY, INFINITY}, .x = node->inputs[0], .n_uses = 1};
  double x;
  for (int i = 0; i < 2; i++) {
    if (!ifd_node_has_input(node, i + 1)) continue;
    if (!ifd_rw_scalar(rw, node->inputs[i + 1], &x)) return a;
    a.p[i] = (float)x;
  }
  if (node->opset < 11) {
    a.p[0] = ifd_node_float(node, "min", -3.402823466e38f);
    a.p[1] = ifd_node_float(node, "max", 3.402823466e38f);
  }
  if (a.p[0] <= a.p[1]) a.name = "Clip";
  return a;
}

/* An operator with up to two parameters: attributes, or numbers where these are NULL. */
typedef struct form {
  const char *op_type, *name, *attrs[2];
  float p[2];
} form;

static const form forms[] = {
    {"Relu", "Clip", .p = {0, INFINITY}},
    {"LeakyRelu", "LeakyRelu", {"alpha"}, {.01f}},
    {"HardSigmoid", "HardSigmoid", {"alpha", "beta"}, {.2f, .5f}},
    {"HardSwish", "HardSwish", .p = {1.f / 6, .5f}},
    {"Sigmoid", "Sigmoid", .p = {0}},
    {"Tanh", "Tanh", .p = {0}},
    {"Erf", "Erf", .p = {0}},
    {"Exp", "Exp", .p = {0}},
    {"Gelu", "Gelu", .p = {1}},
    {"Elu", "Elu", {"alpha"}, {1}},
    {"Softplus", "Softplus", .p = {0}},
    {"Mish", "Mish", .p = {0}},
    {"Swish", "Swish", {"alpha"}, {1}},
};

static ifd_activation single(const ifd_node *node) {
  ifd_activation a = {.n_uses = 1};
  for (size_t i = 0; i < sizeof forms / sizeof *forms && !a.name; i++) {
    const form *f = &forms[i];
    if (!ifd_node_is(node, f->op_type)) continue;
    a.name = f->name;
    a.x = node->inputs[0];
    for (int k = 0; k < 2; k++) a.p[k] = f->attrs[k] ? ifd_node_float(node, f->attrs[k], f->p[k]) : f->p[k];
  }
  if (ifd_node_is(node, "Gelu") && ifd_node_string_is(node, "approximate", "none", "tanh"))
    a.name = "GeluTanh";
  return a;
}

/* ---- written out: products of x and a function of x ---- */

/* c * v[0] * v[1] …: a tree of Mul, and Div by numbers, whose inner results nobody else reads. */
enum { MOST_FACTORS = 4, MOST_NODES = 8 };
typedef struct factors {
  double c;
  int n, n_nodes;
  ifd_value *v[MOST_FACTORS];
} factors;

static bool collect(ifd_rewrite *rw, ifd_value *v, factors *f);

static bool collect_node(ifd_rewrite *rw, const ifd_node *node, factors *f) {
  double c;
  if (++f->n_nodes > MOST_NODES || node->n_inputs != 2) return false;
  if (ifd_node_is(node, "Mul")) return collect(rw, node->inputs[0], f) && collect(rw, node->inputs[1], f);
  if (!ifd_rw_scalar(rw, node->inputs[1], &c) || c == 0) return false;
  f->c /= c;
  return collect(rw, node->inputs[0], f);
}

static bool collect(ifd_rewrite *rw, ifd_value *v, factors *f) {
  double c, divisor;
  if (ifd_rw_scalar(rw, v, &c)) {
    f->c *= c;
    return true;
  }
  const ifd_node *node = ifd_rw_sole_producer(v, "Mul");
  if (!node) node = ifd_rw_sole_producer(v, "Div");
  if (node && (ifd_node_is(node, "Mul") || ifd_rw_scalar(rw, node->inputs[1], &divisor)))
    return collect_node(rw, node, f);
  if (f->n == MOST_FACTORS) return false;
  f->v[f->n++] = v;
  return true;
}

static factors factors_of(ifd_rewrite *rw, ifd_value *v) {
  factors f = {.c = 1};
  return collect(rw, v, &f) ? f : (factors){0};
}

static bool near(double a, double b) { return fabs(a - b) <= 1e-5 * fabs(b); }

/* The other operand of an Add of the number 1 that makes v. */
static ifd_value *one_plus(ifd_rewrite *rw, ifd_value *v) {
  const ifd_node *add = ifd_rw_sole_producer(v, "Add");
  for (int i = 0; add && i < 2; i++)
    if (ifd_rw_is_filled_with(rw, add->inputs[i], 1)) return add->inputs[1 - i];
  return NULL;
}

/* Whether v is c * x to the power n; counts uses of x. */
static bool is_power(ifd_rewrite *rw, ifd_value *v, const ifd_value *x, double c, int n, int *uses) {
  factors f = factors_of(rw, v);
  double exponent;
  for (int i = 0; i < f.n; i++) {
    const ifd_node *pow = ifd_rw_sole_producer(f.v[i], "Pow");
    ++*uses;
    if (f.v[i] == x)
      n--;
    else if (pow && pow->inputs[0] == x && ifd_rw_scalar(rw, pow->inputs[1], &exponent) && exponent == n)
      n = 0;
    else
      return false;
  }
  return f.n && n == 0 && near(f.c, c);
}

/* sqrt(2 / pi) (x + 0.044715 x^3), or sqrt(2 / pi) x (1 + 0.044715 x^2) */
static bool is_tanh_argument(ifd_rewrite *rw, ifd_value *v, const ifd_value *x, int *uses) {
  factors f = factors_of(rw, v);
  if (!near(f.c, 0.7978845608028654)) return false;
  if (f.n == 2) {
    int side = f.v[1] == x;
    ifd_value *square = f.v[side] == x ? one_plus(rw, f.v[1 - side]) : NULL;
    ++*uses;
    return square && is_power(rw, square, x, 0.044715, 2, uses);
  }
  const ifd_node *add = f.n == 1 ? ifd_rw_sole_producer(f.v[0], "Add") : NULL;
  if (!add) return false;
  int side = add->inputs[1] == x;
  ++*uses;
  return add->inputs[side] == x && is_power(rw, add->inputs[1 - side], x, 0.044715, 3, uses);
}

/* c x (1 + erf(x / sqrt 2)) and c x (1 + tanh(…)) are 2c gelu(x). */
static const char *find_gelu(ifd_rewrite *rw, const ifd_value *x, ifd_value *v, int *uses) {
  ifd_value *inner = one_plus(rw, v);
  const ifd_node *erf = inner ? ifd_rw_sole_producer(inner, "Erf") : NULL,
                 *tanh = inner ? ifd_rw_sole_producer(inner, "Tanh") : NULL;
  if (erf && is_power(rw, erf->inputs[0], x, 0.7071067811865476, 1, uses)) return "Gelu";
  return tanh && is_tanh_argument(rw, tanh->inputs[0], x, uses) ? "GeluTanh" : NULL;
}

/* The activation that is c * x * v. */
static ifd_activation product_with(ifd_rewrite *rw, ifd_value *x, ifd_value *v, double c) {
  ifd_activation a = {.x = x, .n_uses = 1, .p = {(float)(2 * c)}};
  a.name = find_gelu(rw, x, v, &a.n_uses);
  if (a.name || c != 1) return a;
  const ifd_node *sigmoid = ifd_rw_sole_producer(v, "Sigmoid"),
                 *hard = ifd_rw_sole_producer(v, "HardSigmoid"), *tanh = ifd_rw_sole_producer(v, "Tanh"),
                 *softplus = tanh ? ifd_rw_sole_producer(tanh->inputs[0], "Softplus") : NULL;
  factors f = sigmoid ? factors_of(rw, sigmoid->inputs[0]) : (factors){0};
  a.n_uses = 2;
  if (f.n == 1 && f.v[0] == x)
    a.name = "Swish", a.p[0] = (float)f.c;
  else if (hard && hard->inputs[0] == x)
    a.name = "HardSwish", a.p[0] = ifd_node_float(hard, "alpha", .2f),
    a.p[1] = ifd_node_float(hard, "beta", .5f);
  else if (softplus && softplus->inputs[0] == x)
    a.name = "Mish";
  return a;
}

static ifd_activation written_out(ifd_rewrite *rw, const ifd_node *mul) {
  factors f = {.c = 1};
  ifd_activation a = {0};
  if (!collect_node(rw, mul, &f) || f.n != 2) return a;
  a = product_with(rw, f.v[0], f.v[1], f.c);
  if (!a.name) a = product_with(rw, f.v[1], f.v[0], f.c);
  if (a.name && !ifd_rw_same_shape(rw, a.x, mul->outputs[0])) a.name = NULL; /* a number of higher rank */
  return a;
}

ifd_activation ifd_rw_find_activation(ifd_rewrite *rw, const ifd_node *root) {
  if (ifd_node_is(root, "Clip")) return clip(rw, root);
  return ifd_node_is(root, "Mul") ? written_out(rw, root) : single(root);
}
