#include "pass/activation.h"

#include "pass/match.h"

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

/* The product that v is of inner values, v itself where it is none. */
static ifd_factors factors_of(ifd_rewrite *rw, ifd_value *v) {
  ifd_factors p;
  ifd_node *node = ifd_made_by(v, "Mul");
  if (!node) node = ifd_made_by(v, "Div");
  return node && ifd_factors_of(rw, node, &p) ? p : (ifd_factors){.scale = 1, .n = 1, .factors = {v}};
}

static bool near(double a, double b) { return ifd_is_near(a, b, IFD_FLOAT); }

/* The other operand of an Add of the number 1 that makes v. */
static ifd_value *one_plus(ifd_rewrite *rw, ifd_value *v) {
  const ifd_node *add = ifd_made_by(v, "Add");
  for (int i = 0; add && i < 2; i++)
    if (ifd_rw_is_filled_with(rw, add->inputs[i], 1)) return add->inputs[1 - i];
  return NULL;
}

/* Whether v is c * x to the power n; counts uses of x. */
static bool is_power(ifd_rewrite *rw, ifd_value *v, const ifd_value *x, double c, int n, int *uses) {
  ifd_factors f = factors_of(rw, v);
  double exponent;
  for (int i = 0; i < f.n; i++) {
    const ifd_node *pow = ifd_made_by(f.factors[i], "Pow");
    ++*uses;
    if (f.factors[i] == x)
      n--;
    else if (pow && pow->inputs[0] == x && ifd_rw_scalar(rw, pow->inputs[1], &exponent) && exponent == n)
      n = 0;
    else
      return false;
  }
  return f.n && n == 0 && near(f.scale, c);
}

/* sqrt(2 / pi) (x + 0.044715 x^3), or sqrt(2 / pi) x (1 + 0.044715 x^2) */
static bool is_tanh_argument(ifd_rewrite *rw, ifd_value *v, const ifd_value *x, int *uses) {
  ifd_factors f = factors_of(rw, v);
  if (!near(f.scale, 0.7978845608028654)) return false;
  if (f.n == 2) {
    int side = f.factors[1] == x;
    ifd_value *square = f.factors[side] == x ? one_plus(rw, f.factors[1 - side]) : NULL;
    ++*uses;
    return square && is_power(rw, square, x, 0.044715, 2, uses);
  }
  const ifd_node *add = f.n == 1 ? ifd_made_by(f.factors[0], "Add") : NULL;
  if (!add) return false;
  int side = add->inputs[1] == x;
  ++*uses;
  return add->inputs[side] == x && is_power(rw, add->inputs[1 - side], x, 0.044715, 3, uses);
}

/* c x (1 + erf(x / sqrt 2)) and c x (1 + tanh(…)) are 2c gelu(x). */
static const char *find_gelu(ifd_rewrite *rw, const ifd_value *x, ifd_value *v, int *uses) {
  ifd_value *inner = one_plus(rw, v);
  const ifd_node *erf = inner ? ifd_made_by(inner, "Erf") : NULL,
                 *tanh = inner ? ifd_made_by(inner, "Tanh") : NULL;
  if (erf && is_power(rw, erf->inputs[0], x, 0.7071067811865476, 1, uses)) return "Gelu";
  return tanh && is_tanh_argument(rw, tanh->inputs[0], x, uses) ? "GeluTanh" : NULL;
}

/* The activation that is c * x * v. */
static ifd_activation product_with(ifd_rewrite *rw, ifd_value *x, ifd_value *v, double c) {
  ifd_activation a = {.x = x, .n_uses = 1, .p = {(float)(2 * c)}};
  a.name = find_gelu(rw, x, v, &a.n_uses);
  if (a.name || c != 1) return a;
  const ifd_node *sigmoid = ifd_made_by(v, "Sigmoid"), *hard = ifd_made_by(v, "HardSigmoid"),
                 *tanh = ifd_made_by(v, "Tanh"),
                 *softplus = tanh ? ifd_made_by(tanh->inputs[0], "Softplus") : NULL;
  ifd_factors f = sigmoid ? factors_of(rw, sigmoid->inputs[0]) : (ifd_factors){0};
  a.n_uses = 2;
  if (f.n == 1 && f.factors[0] == x)
    a.name = "Swish", a.p[0] = (float)f.scale;
  else if (hard && hard->inputs[0] == x)
    a.name = "HardSwish", a.p[0] = ifd_node_float(hard, "alpha", .2f),
    a.p[1] = ifd_node_float(hard, "beta", .5f);
  else if (softplus && softplus->inputs[0] == x)
    a.name = "Mish";
  return a;
}

static ifd_activation written_out(ifd_rewrite *rw, ifd_node *mul) {
  ifd_factors f;
  ifd_activation a = {0};
  if (ifd_factors_go_on(rw, mul) || !ifd_factors_of(rw, mul, &f) || f.n != 2) return a;
  a = product_with(rw, f.factors[0], f.factors[1], f.scale);
  if (!a.name) a = product_with(rw, f.factors[1], f.factors[0], f.scale);
  if (a.name && !ifd_rw_same_shape(rw, a.x, mul->outputs[0])) a.name = NULL; /* a number of higher rank */
  return a;
}

ifd_activation ifd_rw_find_activation(ifd_rewrite *rw, ifd_node *root) {
  if (ifd_node_is(root, "Clip")) return clip(rw, root);
  return ifd_node_is(root, "Mul") ? written_out(rw, root) : single(root);
}
