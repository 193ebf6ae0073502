#include "pass/affine.h"

#include <math.h>

/* Clip(a·x + b, 0, h) is h · HardSigmoid(x) with alpha = a/h and beta = b/h; x times it, with alpha 1/6 and
 * beta 1/2, is h · HardSwish(x) (an operator since version 14). Scales behind are taken in. */

typedef struct gate { /* scale · max(0, min(1, alpha·x + beta)) */
  ifd_value *x;
  double alpha, beta, scale;
  int n_nodes;
} gate;

/* The scale that node's output is of the value *of (itself: 1), and how many nodes that takes. */
static ifd_status scale_of(ifd_rewrite *rw, ifd_node *node, double *scale, ifd_value **of, int *n_nodes) {
  ifd_affine f = {0};
  const char *why;
  *scale = 1, *of = node->outputs[0];
  TRY(ifd_affine_chain(rw, node, &f, &why));
  if (!f.n_nodes || f.n != 1 || f.shifts || f.n_bn || ifd_value_n_readers(f.x) != 1) return IFD_OK;
  *scale = f.a[0], *of = f.x;
  *n_nodes += f.n_nodes;
  return IFD_OK;
}

static bool upper_bound(ifd_rewrite *rw, const ifd_node *clip, double *h) {
  double low;
  if (clip->opset < 11) {
    *h = ifd_node_float(clip, "max", INFINITY);
    return ifd_node_float(clip, "min", -1) == 0 && *h > 0 && isfinite(*h);
  }
  return ifd_rw_scalar(rw, ifd_node_input(clip, 1), &low) && low == 0 &&
         ifd_rw_scalar(rw, ifd_node_input(clip, 2), h) && *h > 0 && isfinite(*h);
}

static ifd_status gate_of_clip(ifd_rewrite *rw, const ifd_node *clip, gate *g, bool *found) {
  ifd_affine f = {0};
  const char *why;
  double h;
  const ifd_value *inner = clip->inputs[0];
  if (!upper_bound(rw, clip, &h) || !inner->producer || ifd_value_n_readers(inner) != 1) return IFD_OK;
  TRY(ifd_affine_chain(rw, inner->producer, &f, &why));
  if (!f.n_nodes || f.n != 1 || f.n_bn) return IFD_OK;
  g->x = f.x;
  g->alpha = f.a[0] / h, g->beta = f.b[0] / h, g->scale *= h;
  g->n_nodes += f.n_nodes + 1;
  *found = true;
  return IFD_OK;
}

/* What node's output is as a gate: HardSigmoid or Clip, scaled. */
static ifd_status gate_of(ifd_rewrite *rw, ifd_node *node, gate *g, bool *found) {
  ifd_value *inner;
  *g = (gate){0};
  *found = false;
  TRY(scale_of(rw, node, &g->scale, &inner, &g->n_nodes));
  if (ifd_rw_producer(inner, "Clip")) return gate_of_clip(rw, inner->producer, g, found);
  if (!(node = ifd_rw_producer(inner, "HardSigmoid"))) return IFD_OK;
  g->x = node->inputs[0];
  g->alpha = ifd_node_float(node, "alpha", 0.2f), g->beta = ifd_node_float(node, "beta", 0.5f);
  g->n_nodes++;
  *found = true;
  return IFD_OK;
}

/* As scale · x · gate(x), or as gate(x) itself (*product: which). */
static ifd_status find(ifd_rewrite *rw, ifd_node *last, gate *g, bool *product, bool *found) {
  double scale;
  ifd_value *inner;
  int n = 0;
  TRY(gate_of(rw, last, g, found));
  *product = false;
  if (*found) return IFD_OK;
  TRY(scale_of(rw, last, &scale, &inner, &n));
  const ifd_node *mul = ifd_rw_producer(inner, "Mul");
  for (int side = 0; mul && mul->n_inputs == 2 && side < 2 && !*found; side++) {
    const ifd_value *v = mul->inputs[side];
    if (!v->producer || ifd_value_n_readers(v) != 1) continue;
    TRY(gate_of(rw, v->producer, g, found));
    *found &= g->x == mul->inputs[1 - side];
  }
  if (!*found) return IFD_OK;
  *product = true;
  g->scale *= scale;
  g->n_nodes += n + 1;
  return IFD_OK;
}

static bool is_hard_swish(const gate *g) { return fabs(g->alpha - 1. / 6) < 1e-8 && g->beta == 0.5; }

static ifd_status build(ifd_rewrite *rw, ifd_value **y, const gate *g, bool product, bool swish) {
  ifd_node *node;
  TRY(ifd_rw_add_node(rw, &node, swish ? "HardSwish" : "HardSigmoid", (ifd_value *[]){g->x}, 1, 1));
  if (!swish) {
    TRY(ifd_node_set_float(ifd_rw_error(rw), node, "alpha", (float)g->alpha));
    TRY(ifd_node_set_float(ifd_rw_error(rw), node, "beta", (float)g->beta));
  }
  *y = node->outputs[0];
  if (product && !swish) {
    TRY(ifd_rw_add_node(rw, &node, "Mul", (ifd_value *[]){g->x, *y}, 2, 1));
    *y = node->outputs[0];
  }
  if (g->scale == 1) return IFD_OK;
  ifd_value *c;
  TRY(ifd_rw_add_scalar(rw, &c, ifd_rw_dtype(rw, g->x), g->scale, "scale"));
  TRY(ifd_rw_add_node(rw, &node, "Mul", (ifd_value *[]){*y, c}, 2, 1));
  *y = node->outputs[0];
  return IFD_OK;
}

static ifd_status fuse(ifd_rewrite *rw, ifd_node *last) {
  gate g;
  bool product, found;
  ifd_value *y;
  if (last->opset < 7 || !ifd_dtype_is_float(ifd_rw_dtype(rw, last->outputs[0]))) return IFD_OK;
  TRY(find(rw, last, &g, &product, &found));
  if (!found) return IFD_OK;
  if (fabs(g.scale - 1) < 1e-7) g.scale = 1; /* 6 · (1/6), the latter rounded */
  bool swish = product && is_hard_swish(&g) && ifd_rw_offers(rw, last, "HardSwish");
  int n_after = 1 + (product && !swish) + (g.scale != 1);
  if (n_after >= g.n_nodes) return ifd_rw_refuse(rw, "HardSigmoid would take as many nodes");
  TRY(build(rw, &y, &g, product, swish));
  return ifd_rw_replace(rw, last->outputs[0], y);
}

const ifd_pass ifd_pass_fuse_hard_sigmoid = {
    .summary = "makes HardSigmoid and HardSwish of Add, Clip, Mul, Div",
    .phase = IFD_PHASE_SIMPLIFY,
    .rules = (const ifd_rule[]){{"Mul Div Clip", IFD_REASSOCIATES, fuse}, {0}},
};
