#include "pass/match.h"

/* (x − mean(x)) / √(mean((x − mean(x))²) + ε) over the last dimensions is LayerNormalization (an operator
 * since version 17), x / √(mean(x²) + ε) is RMSNormalization (23). A scale and a shift of the normalized
 * dimensions behind are taken in. The formula's statistics are computed in float32 by the operators. */

typedef struct norm {
  ifd_value *x, *y; /* y: the last value taken in */
  int n;            /* normalized dimensions, the last ones */
  double epsilon;
  bool centered;
  const ifd_tensor *scale, *shift; /* or NULL */
} norm;

/* √(v + ε): v, or NULL. */
static ifd_status root_of(ifd_rewrite *rw, ifd_value *r, ifd_value **v, double *epsilon) {
  double a;
  int n = 0;
  const ifd_node *sqrt = ifd_made_by(r, "Sqrt");
  *v = NULL;
  if (!sqrt) return IFD_OK;
  TRY(ifd_line_of(rw, sqrt->inputs[0], &a, epsilon, v, &n));
  if (a != 1 || *epsilon < 0) *v = NULL;
  return IFD_OK;
}

/* What node divides (d), and by the root of which value. */
static ifd_status quotient(ifd_rewrite *rw, ifd_node *node, ifd_value **d, ifd_value **v, double *epsilon) {
  *v = NULL;
  if (node->n_inputs != 2 || node->opset < 7) return IFD_OK;
  if (ifd_node_is(node, "Div")) {
    *d = node->inputs[0];
    return root_of(rw, node->inputs[1], v, epsilon);
  }
  for (int i = 0; i < 2 && !*v; i++) {
    const ifd_node *reciprocal = ifd_made_by(node->inputs[i], "Reciprocal");
    const ifd_node *one_over = ifd_made_by(node->inputs[i], "Div");
    double one;
    *d = node->inputs[1 - i];
    if (reciprocal) TRY(root_of(rw, reciprocal->inputs[0], v, epsilon));
    if (one_over && ifd_rw_scalar(rw, one_over->inputs[0], &one) && one == 1)
      TRY(root_of(rw, one_over->inputs[1], v, epsilon));
  }
  return IFD_OK;
}

/* d = x − mean(x) over the last n dimensions. */
static bool is_centered(ifd_rewrite *rw, const ifd_value *d, int n, ifd_value **x) {
  const ifd_node *sub = ifd_rw_producer(d, "Sub");
  int over;
  if (!sub || sub->n_inputs != 2 || ifd_mean_of(rw, sub->inputs[1], &over) != sub->inputs[0] || over != n)
    return false;
  *x = sub->inputs[0];
  return true;
}

/* Two values that are the same difference, though perhaps computed twice. */
static bool is_same(const ifd_value *a, const ifd_value *b) {
  const ifd_node *p = ifd_rw_producer(a, "Sub"), *q = ifd_rw_producer(b, "Sub");
  return a == b || (p && q && p->inputs[0] == q->inputs[0] && p->inputs[1] == q->inputs[1]);
}

static ifd_status find(ifd_rewrite *rw, ifd_node *node, norm *l, bool *found) {
  ifd_value *d = NULL, *v, *squared;
  *found = false;
  TRY(quotient(rw, node, &d, &v, &l->epsilon));
  const ifd_value *mean = v ? ifd_mean_of(rw, v, &l->n) : NULL;
  if (!mean || ifd_value_n_readers(v) != 1 || !ifd_is_square(rw, mean, &squared) || !is_same(squared, d))
    return IFD_OK;
  l->x = d;
  l->centered = is_centered(rw, d, l->n, &l->x);
  l->y = node->outputs[0];
  *found = true;
  return IFD_OK;
}

/* A constant of exactly the normalized dimensions, but for ones before them. */
static const ifd_tensor *of_last_dims(ifd_rewrite *rw, const norm *l, const ifd_value *c) {
  const ifd_tensor *t = ifd_rw_constant(rw, c);
  int rank = ifd_rw_rank(rw, l->x);
  if (!t || t->shape.rank < l->n || t->shape.rank > rank) return NULL;
  for (int i = 0; i < t->shape.rank; i++) {
    int from_last = t->shape.rank - i;
    if (from_last > l->n ? t->shape.dim[i] != 1 : t->shape.dim[i] != ifd_rw_dim(rw, l->x, rank - from_last))
      return NULL;
  }
  return t;
}

/* The constant that the one reader multiplies or adds, when it is one of the normalized dimensions. */
static const ifd_tensor *take_in(ifd_rewrite *rw, norm *l, const char *op_type) {
  const ifd_node *reader = ifd_value_only_reader(l->y);
  if (!reader || reader->graph != l->y->graph || !ifd_node_is(reader, op_type) || reader->n_inputs != 2)
    return NULL;
  const ifd_tensor *t = of_last_dims(rw, l, reader->inputs[reader->inputs[0] == l->y]);
  if (t) l->y = reader->outputs[0];
  return t;
}

/* Of the normalized dimensions' shape; ones where there is none. */
static ifd_status add_vector(ifd_rewrite *rw, ifd_value **out, const norm *l, const ifd_tensor *from,
                             const char *hint) {
  ifd_tensor t;
  ifd_shape shape = {.rank = l->n};
  for (int i = 0; i < l->n; i++) shape.dim[i] = ifd_rw_dim(rw, l->x, ifd_rw_rank(rw, l->x) - l->n + i);
  if (from) {
    t = *from;
  } else {
    TRY(ifd_tensor_new(ifd_rw_error(rw), &t, ifd_rw_arena(rw), ifd_rw_dtype(rw, l->x), &(ifd_shape){0}));
    ifd_tensor_set_f64(&t, 0, 1);
    t.splat = ifd_shape_count(&shape) > 1;
  }
  t.shape = shape;
  return ifd_rw_add_constant(rw, out, &t, hint);
}

static bool has_number_dims(ifd_rewrite *rw, const norm *l) {
  for (int i = 1; i <= l->n; i++)
    if (!ifd_dim_is_number(ifd_rw_dim(rw, l->x, -i)) || ifd_rw_dim(rw, l->x, -i) == 0) return false;
  return true;
}

static const char *operator_of(const norm *l) {
  return l->centered ? "LayerNormalization" : "RMSNormalization";
}

static ifd_status build(ifd_rewrite *rw, const norm *l) {
  ifd_error *err = ifd_rw_error(rw);
  ifd_value *inputs[3] = {l->x, NULL, NULL};
  ifd_node *node;
  TRY(add_vector(rw, &inputs[1], l, l->scale, "scale"));
  if (l->shift) TRY(add_vector(rw, &inputs[2], l, l->shift, "shift"));
  TRY(ifd_rw_add_node(rw, &node, operator_of(l), inputs, l->shift ? 3 : 2, 1));
  TRY(ifd_node_set_int(err, node, "axis", -l->n));
  TRY(ifd_node_set_float(err, node, "epsilon", (float)l->epsilon));
  return ifd_rw_replace(rw, l->y, node->outputs[0]);
}

static ifd_status fuse(ifd_rewrite *rw, ifd_node *node) {
  norm l = {0};
  bool found;
  TRY(find(rw, node, &l, &found));
  if (!found) return IFD_OK;
  ifd_dtype dtype = ifd_rw_dtype(rw, l.x);
  if (!ifd_rw_offers(rw, node, operator_of(&l)))
    return ifd_rw_refuse(rw, "it is %s, an operator since opset %d (--raise-opset)", operator_of(&l),
                         l.centered ? 17 : 23);
  if (dtype != IFD_FLOAT && dtype != IFD_FLOAT16 && dtype != IFD_BFLOAT16)
    return ifd_rw_refuse(rw, "the operator would compute its statistics in float32");
  if (!has_number_dims(rw, &l)) return ifd_rw_refuse(rw, "the normalized dimensions are not known");
  l.scale = take_in(rw, &l, "Mul");
  if (l.centered) l.shift = take_in(rw, &l, "Add");
  return build(rw, &l);
}

const ifd_pass ifd_pass_fuse_layer_norm = {
    .summary = "makes LayerNormalization and RMSNormalization of their formulas",
    .phase = IFD_PHASE_SIMPLIFY,
    .rules = (const ifd_rule[]){{"Div Mul", IFD_REASSOCIATES, fuse}, {0}},
};
