#include "pass/match.h"

#include <math.h>

/* Activations written out: x·½(1 + erf(x/√2)) is Gelu, and so is its form with tanh; x·sigmoid(a·x) is Swish;
 * x·tanh(softplus(x)) is Mish; log(1 + exp(x)) is Softplus. Where the model may have the operator. */

typedef struct gate { /* scale · gate(x): what x is multiplied by */
  ifd_value *x;
  double scale, alpha; /* alpha: of Swish */
  int n_nodes;
} gate;

typedef ifd_status (*finder)(ifd_rewrite *rw, ifd_value *v, gate *g, bool *found);

/* v = scale·(1 + f(…)) with f made by op_type: its input is *inner. */
static ifd_status one_plus(ifd_rewrite *rw, ifd_value *v, const char *op_type, gate *g, ifd_value **inner) {
  double a, b;
  ifd_value *f;
  *inner = NULL;
  TRY(ifd_line_of(rw, v, &a, &b, &f, &g->n_nodes));
  const ifd_node *node = ifd_made_by(f, op_type);
  if (!node || a != b || a == 0) return IFD_OK;
  *inner = node->inputs[0];
  g->scale = 2 * a; /* Gelu has the half in it */
  g->n_nodes++;
  return IFD_OK;
}

static ifd_status find_erf(ifd_rewrite *rw, ifd_value *v, gate *g, bool *found) {
  double a, b;
  ifd_value *inner;
  TRY(one_plus(rw, v, "Erf", g, &inner));
  if (!inner) return IFD_OK;
  TRY(ifd_line_of(rw, inner, &a, &b, &g->x, &g->n_nodes));
  *found = b == 0 && ifd_is_near(a, M_SQRT1_2, ifd_rw_dtype(rw, v));
  return IFD_OK;
}

/* v = c·x³ */
static bool is_cube(ifd_rewrite *rw, ifd_value *v, const ifd_value *x, double *c) {
  ifd_factors p;
  double e;
  ifd_node *mul = ifd_made_by(v, "Mul");
  if (!mul || !ifd_factors_of(rw, mul, &p)) p = (ifd_factors){.scale = 1, .n = 1, .factors = {v}};
  *c = p.scale;
  if (p.n == 3) return p.factors[0] == x && p.factors[1] == x && p.factors[2] == x;
  const ifd_node *pow = p.n == 1 ? ifd_made_by(p.factors[0], "Pow") : NULL;
  if (pow) return pow->inputs[0] == x && ifd_rw_scalar(rw, pow->inputs[1], &e) && e == 3;
  ifd_value *squared;
  for (int i = 0; i < p.n && p.n == 2; i++)
    if (p.factors[i] == x && ifd_is_square(rw, p.factors[1 - i], &squared)) return squared == x;
  return false;
}

/* v = a·x + c·x³ */
static bool is_cubic(ifd_rewrite *rw, ifd_value *v, double *a, double *c, ifd_value **x) {
  const ifd_node *add = ifd_made_by(v, "Add");
  ifd_factors p;
  for (int i = 0; add && add->n_inputs == 2 && i < 2; i++) {
    ifd_node *mul = ifd_made_by(add->inputs[i], "Mul");
    *a = 1, *x = add->inputs[i];
    if (is_cube(rw, add->inputs[1 - i], *x, c)) return true;
    if (!mul || !ifd_factors_of(rw, mul, &p) || p.n != 1) continue;
    *a = p.scale, *x = p.factors[0];
    if (is_cube(rw, add->inputs[1 - i], *x, c)) return true;
  }
  return false;
}

/* v = x·(a + c·x²) */
static ifd_status is_x_times(ifd_rewrite *rw, const ifd_factors *p, double *a, double *c, ifd_value **x,
                             bool *found) {
  ifd_value *square, *root;
  int n = 0;
  for (int i = 0; p->n == 2 && i < 2 && !*found; i++) {
    TRY(ifd_line_of(rw, p->factors[1 - i], c, a, &square, &n));
    *x = p->factors[i];
    *found = *a != 0 && ifd_is_square(rw, square, &root) && root == *x;
  }
  return IFD_OK;
}

static ifd_status find_tanh(ifd_rewrite *rw, ifd_value *v, gate *g, bool *found) {
  double a, c, k = sqrt(2 / M_PI);
  ifd_value *inner;
  ifd_factors p;
  ifd_dtype dtype = ifd_rw_dtype(rw, v);
  TRY(one_plus(rw, v, "Tanh", g, &inner));
  if (!inner || !inner->producer) return IFD_OK;
  if (!ifd_factors_of(rw, inner->producer, &p) || ifd_value_n_readers(inner) != 1)
    p = (ifd_factors){.scale = 1, .n = 1, .factors = {inner}};
  if (p.n == 1)
    *found = is_cubic(rw, p.factors[0], &a, &c, &g->x);
  else
    TRY(is_x_times(rw, &p, &a, &c, &g->x, found));
  *found = *found && ifd_is_near(p.scale * a, k, dtype) && ifd_is_near(p.scale * c, 0.044715 * k, dtype);
  g->n_nodes += 4;
  return IFD_OK;
}

static ifd_status find_sigmoid(ifd_rewrite *rw, ifd_value *v, gate *g, bool *found) {
  double b;
  const ifd_node *sigmoid = ifd_made_by(v, "Sigmoid");
  if (!sigmoid) return IFD_OK;
  g->n_nodes++;
  TRY(ifd_line_of(rw, sigmoid->inputs[0], &g->alpha, &b, &g->x, &g->n_nodes));
  if (b != 0) g->alpha = 1, g->x = sigmoid->inputs[0];
  *found = true;
  return IFD_OK;
}

static ifd_status find_softplus(ifd_rewrite *rw, ifd_value *v, gate *g, bool *found) {
  (void)rw;
  const ifd_node *tanh = ifd_made_by(v, "Tanh"),
                 *softplus = tanh ? ifd_made_by(tanh->inputs[0], "Softplus") : NULL;
  if (!softplus) return IFD_OK;
  g->x = softplus->inputs[0];
  g->n_nodes += 2;
  *found = true;
  return IFD_OK;
}

static const struct {
  const char *op_type, *approximate;
  finder find;
} activations[] = {
    {"Gelu", NULL, find_erf},
    {"Gelu", "tanh", find_tanh},
    {"Mish", NULL, find_softplus},
    {"Swish", NULL, find_sigmoid},
};
enum { N_ACTIVATIONS = sizeof activations / sizeof *activations };

/* Which activation the product of x and v is, or -1. */
static ifd_status find(ifd_rewrite *rw, const ifd_value *x, ifd_value *v, const ifd_node *last, gate *g,
                       int *which) {
  *which = -1;
  for (int k = 0; k < N_ACTIVATIONS && *which < 0; k++) {
    bool found = false;
    *g = (gate){.scale = 1, .alpha = 1};
    if (!ifd_rw_offers(rw, last, activations[k].op_type)) continue;
    TRY(activations[k].find(rw, v, g, &found));
    if (found && g->x == x) *which = k;
  }
  return IFD_OK;
}

static ifd_status build(ifd_rewrite *rw, ifd_node *last, const gate *g, int which, double scale) {
  ifd_error *err = ifd_rw_error(rw);
  ifd_value *c, *y;
  ifd_node *node;
  TRY(ifd_rw_add_node(rw, &node, activations[which].op_type, (ifd_value *[]){g->x}, 1, 1));
  if (activations[which].approximate)
    TRY(ifd_node_set_string(err, node, "approximate", activations[which].approximate));
  if (g->alpha != 1) TRY(ifd_node_set_float(err, node, "alpha", (float)g->alpha));
  y = node->outputs[0];
  if (scale != 1) {
    TRY(ifd_rw_add_scalar(rw, &c, ifd_rw_dtype(rw, g->x), scale, "scale"));
    TRY(ifd_rw_add_node(rw, &node, "Mul", (ifd_value *[]){y, c}, 2, 1));
    y = node->outputs[0];
  }
  return ifd_rw_replace(rw, last->outputs[0], y);
}

static ifd_status fuse_product(ifd_rewrite *rw, ifd_node *last) {
  ifd_factors p;
  gate g;
  int which;
  if (!ifd_dtype_is_float(ifd_rw_dtype(rw, last->outputs[0])) || ifd_factors_go_on(rw, last) ||
      !ifd_factors_of(rw, last, &p) || p.n != 2)
    return IFD_OK;
  for (int i = 0; i < 2; i++) {
    TRY(find(rw, p.factors[i], p.factors[1 - i], last, &g, &which));
    if (which < 0) continue;
    double scale = p.scale * g.scale;
    if (1 + (scale != 1) >= p.n_nodes + g.n_nodes) return IFD_OK;
    return build(rw, last, &g, which, scale);
  }
  return IFD_OK;
}

static ifd_status fuse_log(ifd_rewrite *rw, ifd_node *log) {
  double a, b;
  int n = 0;
  ifd_value *e;
  ifd_node *node;
  TRY(ifd_line_of(rw, log->inputs[0], &a, &b, &e, &n));
  const ifd_node *exp = ifd_made_by(e, "Exp");
  if (!exp || !n) return IFD_OK;
  if (a != 1 || b != 1) return ifd_rw_refuse(rw, "Softplus is log(1 + exp(x)), with no other numbers");
  TRY(ifd_rw_add_node(rw, &node, "Softplus", exp->inputs, 1, 1));
  return ifd_rw_replace(rw, log->outputs[0], node->outputs[0]);
}

const ifd_pass ifd_pass_fuse_activation = {
    .summary = "makes Gelu, Swish, Mish, Softplus of their formulas",
    .phase = IFD_PHASE_SIMPLIFY,
    .rules = (const ifd_rule[]){{"Mul Div", IFD_REASSOCIATES, fuse_product},
                                {"Log", IFD_REASSOCIATES, fuse_log},
                                {0}},
};
