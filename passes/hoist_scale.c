#include "pass/linear.h"

/* One number that multiplies what a linear operator with constant weights has made, some moves of elements
 * and products later, belongs into those weights: the scale of attention's scores goes to where the queries
 * are made. It is moved there, for fuse_bn to fold. Two numbers on both sides of a product are one. */

enum { MAX_PATH = 8 };

/* In half precision a number applied elsewhere shows in what is rounded in between. */
static bool is_coarse(ifd_rewrite *rw, const ifd_value *v) {
  ifd_dtype dtype = ifd_rw_dtype(rw, v);
  return ifd_dtype_is_half(dtype);
}

typedef struct step {
  ifd_node *node;
  int operand; /* through which the scale goes */
} step;

typedef struct path { /* from the scale back to the linear operator */
  int n;
  step steps[MAX_PATH];
  const ifd_node *split; /* at whose output it ends, where it ends so */
  const ifd_node *view;  /* the Reshape before the Split, or NULL */
} path;

/* Its output holds elements of input 0, each or some of them, and nothing else. */
static bool moves(const ifd_node *node) {
  return ifd_node_is_any(node, "Reshape Transpose Squeeze Unsqueeze Flatten Slice Gather Expand Identity");
}

/* The linear operator, with weights that a scale folds into, that v comes from; its node is NULL where there
 * is none. */
static ifd_status source_of(ifd_rewrite *rw, const ifd_value *v, ifd_linear *l) {
  ifd_affine f;
  const char *why;
  l->node = NULL;
  if (!v->producer || ifd_value_n_readers(v) != 1) return IFD_OK;
  TRY(ifd_affine_chain(rw, v->producer, &f, &why));
  const ifd_value *made = f.n_nodes ? f.x : v;
  if (!made->producer || made->producer->graph != v->graph || ifd_value_n_readers(made) != 1 ||
      !ifd_linear_of(rw, made->producer, l, &why))
    l->node = NULL;
  return IFD_OK;
}

/* v is part of the last axis of what a linear operator makes, seen in heads perhaps: what scales the part
 * scales some of the operator's channels. */
static ifd_status ends_at_split(ifd_rewrite *rw, const ifd_value *v, path *p, bool *found) {
  ifd_linear l;
  const ifd_node *split = ifd_rw_producer(v, "Split");
  int rank = split ? ifd_rw_rank(rw, split->inputs[0]) : -1;
  if (rank < 1 || (ifd_node_int(split, "axis", 0) + rank) % rank != rank - 1) return IFD_OK;
  const ifd_node *view = ifd_rw_sole_producer(split->inputs[0], "Reshape");
  const ifd_value *made = view ? view->inputs[0] : split->inputs[0];
  ifd_dim parted = ifd_rw_dim(rw, split->inputs[0], -1), channels = ifd_rw_dim(rw, made, -1);
  if (!ifd_dim_is_number(parted) || !ifd_dim_is_number(channels) || parted < 1 || channels % parted)
    return IFD_OK;
  TRY(source_of(rw, made, &l));
  *found = l.node && l.axis_out == ifd_rw_rank(rw, made) - 1 && split->graph == v->graph &&
           ifd_value_n_readers(split->inputs[0]) == 1;
  if (*found) p->split = split, p->view = view;
  return IFD_OK;
}

/* Looks back from v; through products only what multiplies goes. */
static ifd_status look_back(ifd_rewrite *rw, const ifd_value *v, bool shifts, path *p, bool *found) {
  ifd_node *node = v->producer;
  ifd_linear l;
  TRY(source_of(rw, v, &l));
  *found = l.node != NULL;
  if (*found || !node || node->graph != v->graph || ifd_value_n_readers(v) != 1 || p->n == MAX_PATH)
    return IFD_OK;
  if (ifd_node_is(node, "Split") && !shifts) return ends_at_split(rw, v, p, found);
  bool product = ifd_node_is(node, "MatMul") && !shifts;
  if (!product && !moves(node)) return IFD_OK;
  for (int i = 0; i < 1 + product && !*found; i++) {
    if (ifd_rw_constant(rw, node->inputs[i])) continue;
    int n = p->n;
    p->steps[p->n++] = (step){node, i};
    TRY(look_back(rw, node->inputs[i], shifts, p, found));
    if (!*found) p->n = n;
  }
  return IFD_OK;
}

/* `scale` for the channels that are part `k` of the Split, 1 for the others. */
static ifd_status add_scales(ifd_rewrite *rw, ifd_value **out, const path *p, int k, int64_t channels,
                             double scale) {
  const ifd_node *split = p->split;
  int64_t parted = ifd_rw_dim(rw, split->inputs[0], -1), first = 0;
  double *v;
  for (int i = 0; i < k; i++) first += ifd_rw_dim(rw, split->outputs[i], -1);
  int64_t end = first + ifd_rw_dim(rw, split->outputs[k], -1);
  ALLOC(ifd_rw_error(rw), v, ifd_new_array(ifd_rw_scratch(rw), double, channels));
  for (int64_t c = 0; c < channels; c++) v[c] = c % parted >= first && c % parted < end ? scale : 1;
  return ifd_affine_add_vector(rw, out, ifd_rw_dtype(rw, split->inputs[0]), v, channels, "scale");
}

/* The Split again, of which the part y is scaled. */
static ifd_status build_split(ifd_rewrite *rw, ifd_value **y, const path *p, double scale) {
  const ifd_node *last = p->view ? p->view : p->split;
  ifd_value *inputs[2] = {last->inputs[0]};
  ifd_node *node;
  int k = (*y)->output;
  for (int i = 0; i < p->split->n_outputs; i++)
    if (!p->split->outputs[i] || !ifd_dim_is_number(ifd_rw_dim(rw, p->split->outputs[i], -1))) return IFD_OK;
  TRY(add_scales(rw, &inputs[1], p, k, ifd_rw_dim(rw, inputs[0], -1), scale));
  TRY(ifd_rw_add_node(rw, &node, "Mul", inputs, 2, 1));
  if (p->view)
    TRY(ifd_rw_add_like(rw, &node, p->view, (ifd_value *[]){node->outputs[0], p->view->inputs[1]}, 2));
  inputs[0] = node->outputs[0];
  inputs[1] = ifd_node_input(p->split, 1);
  TRY(ifd_rw_add_like(rw, &node, p->split, inputs, p->split->n_inputs));
  for (int i = 0; i < node->n_outputs; i++)
    if (i != k) TRY(ifd_rw_replace(rw, p->split->outputs[i], node->outputs[i]));
  *y = node->outputs[k];
  return IFD_OK;
}

/* The path's nodes again, behind a·x + b. */
static ifd_status build(ifd_rewrite *rw, ifd_value **y, const path *p, const ifd_affine *f) {
  ifd_node *node;
  ifd_value *c;
  *y = p->n ? p->steps[p->n - 1].node->inputs[p->steps[p->n - 1].operand] : f->x;
  ifd_dtype dtype = ifd_rw_dtype(rw, *y);
  if (p->split && !p->n) { /* else it goes behind the Split first, for then all has its place */
    TRY(build_split(rw, y, p, f->a[0]));
  } else if (f->scales) {
    TRY(ifd_rw_add_scalar(rw, &c, dtype, f->a[0], "scale"));
    TRY(ifd_rw_add_node(rw, &node, "Mul", (ifd_value *[]){*y, c}, 2, 1));
    *y = node->outputs[0];
  }
  if (f->shifts) {
    TRY(ifd_rw_add_scalar(rw, &c, dtype, f->b[0], "shift"));
    TRY(ifd_rw_add_node(rw, &node, "Add", (ifd_value *[]){*y, c}, 2, 1));
    *y = node->outputs[0];
  }
  for (int k = p->n - 1; k >= 0; k--) {
    const step *s = &p->steps[k];
    ifd_value *inputs[5];
    if (s->node->n_inputs > 5) return IFD_OK;
    for (int i = 0; i < s->node->n_inputs; i++) inputs[i] = i == s->operand ? *y : s->node->inputs[i];
    TRY(ifd_rw_add_like(rw, &node, s->node, inputs, s->node->n_inputs));
    *y = node->outputs[0];
  }
  return IFD_OK;
}

static ifd_status hoist(ifd_rewrite *rw, ifd_node *last) {
  ifd_affine f;
  const char *why;
  path p = {0};
  bool found = false, goes_on;
  ifd_value *y;
  if (is_coarse(rw, last->outputs[0])) return IFD_OK;
  TRY(ifd_affine_chain(rw, last, &f, &why));
  if (!f.n_nodes || f.n != 1 || f.n_bn || ifd_rw_rank(rw, f.x) != ifd_rw_rank(rw, last->outputs[0]))
    return IFD_OK;
  TRY(ifd_affine_goes_on(rw, last, &goes_on));
  if (goes_on) return IFD_OK;
  TRY(look_back(rw, f.x, f.shifts, &p, &found));
  if (!found || (!p.n && !p.split)) return IFD_OK;
  TRY(build(rw, &y, &p, &f));
  return ifd_rw_replace(rw, last->outputs[0], y);
}

/* a·x of one number, x read for that alone. */
static ifd_status scaled(ifd_rewrite *rw, ifd_value *v, ifd_affine *f, bool *is_scaled) {
  const char *why;
  *is_scaled = false;
  if (!v->producer || ifd_value_n_readers(v) != 1) return IFD_OK;
  TRY(ifd_affine_chain(rw, v->producer, f, &why));
  *is_scaled = f->n_nodes && f->n == 1 && !f->n_bn && f->scales && !f->shifts &&
               ifd_rw_rank(rw, f->x) == ifd_rw_rank(rw, v);
  return IFD_OK;
}

static ifd_status merge_sides(ifd_rewrite *rw, ifd_node *product) {
  ifd_affine f[2];
  bool is_scaled;
  ifd_value *c;
  ifd_node *scale, *merged;
  for (int i = 0; i < 2; i++) {
    TRY(scaled(rw, product->inputs[i], &f[i], &is_scaled));
    if (!is_scaled) return IFD_OK;
  }
  if (is_coarse(rw, product->outputs[0]))
    return ifd_rw_refuse(rw, "in a narrow type each side's own rounding shows");
  double a = f[0].a[0] * f[1].a[0];
  TRY(ifd_rw_add_scalar(rw, &c, ifd_rw_dtype(rw, f[0].x), a, "scale"));
  TRY(ifd_rw_add_node(rw, &scale, "Mul", (ifd_value *[]){f[0].x, c}, 2, 1));
  TRY(ifd_rw_add_like(rw, &merged, product, (ifd_value *[]){scale->outputs[0], f[1].x}, 2));
  return ifd_rw_replace(rw, product->outputs[0], merged->outputs[0]);
}

const ifd_pass ifd_pass_hoist_scale = {
    .summary = "moves a number that scales later results to the weights that made them",
    .phase = IFD_PHASE_FUSE,
    .rules = (const ifd_rule[]){{"Mul Div Add Sub Neg", IFD_REASSOCIATES, hoist},
                                {"MatMul", IFD_REASSOCIATES, merge_sides},
                                {0}},
};
