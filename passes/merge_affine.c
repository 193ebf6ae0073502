#include "pass/affine.h"

/* Scales and shifts one after another are one scale and shift: BN→BN, BN→Mul→Add, Mul→Mul, Add→Mul→Add … */

/* A constant that broadcasts along the map's axis: [n, 1, …] up to the last dimension, or one element. */
static ifd_status add_broadcast(ifd_rewrite *rw, ifd_value **out, const ifd_affine *f, const double *v,
                                const char *hint) {
  ifd_tensor t;
  ifd_shape shape = {0};
  if (f->n > 1) {
    shape.rank = ifd_rw_rank(rw, f->x) - f->axis;
    shape.dim[0] = f->n;
    for (int i = 1; i < shape.rank; i++) shape.dim[i] = 1;
  }
  TRY(ifd_tensor_new(ifd_rw_error(rw), &t, ifd_rw_arena(rw), ifd_rw_dtype(rw, f->x), &shape));
  for (int64_t i = 0; i < f->n; i++) ifd_tensor_set_f64(&t, i, v[i]);
  return ifd_rw_add_constant(rw, out, &t, hint);
}

static ifd_status as_arithmetic(ifd_rewrite *rw, ifd_value **y, const ifd_affine *f) {
  ifd_value *c;
  ifd_node *node;
  *y = f->x;
  if (f->scales) {
    TRY(add_broadcast(rw, &c, f, f->a, "scale"));
    TRY(ifd_rw_add_node(rw, &node, "Mul", (ifd_value *[]){*y, c}, 2, 1));
    *y = node->outputs[0];
  }
  if (f->shifts) {
    TRY(add_broadcast(rw, &c, f, f->b, "shift"));
    TRY(ifd_rw_add_node(rw, &node, "Add", (ifd_value *[]){*y, c}, 2, 1));
    *y = node->outputs[0];
  }
  return IFD_OK;
}

/* As BatchNormalization with mean 0, variance 1 and epsilon 0: scale and B are the map itself. */
static ifd_status as_bn(ifd_rewrite *rw, ifd_value **y, const ifd_affine *f, const ifd_node *like) {
  ifd_error *err = ifd_rw_error(rw);
  ifd_dtype dtype = ifd_rw_dtype(rw, f->x);
  int64_t n = f->n > 1 || f->axis == 1 ? f->n : ifd_rw_dim(rw, f->x, 1);
  double *v[4];
  ifd_value *inputs[5] = {f->x};
  ifd_node *bn;
  static const char *const hints[] = {"scale", "B", "mean", "var"};
  for (int i = 0; i < 4; i++) {
    ALLOC(err, v[i], ifd_new_array(ifd_rw_scratch(rw), double, n));
    for (int64_t c = 0; c < n; c++)
      v[i][c] = i == 0 ? f->a[f->n == 1 ? 0 : c] : i == 1 ? f->b[f->n == 1 ? 0 : c] : i == 3;
    TRY(ifd_affine_add_vector(rw, &inputs[i + 1], dtype, v[i], n, hints[i]));
  }
  TRY(ifd_rw_add_like(rw, &bn, like, inputs, 5));
  TRY(ifd_node_set_float(err, bn, "epsilon", 0));
  *y = bn->outputs[0];
  return IFD_OK;
}

static const ifd_node *first_bn(const ifd_affine *f, const ifd_node *last) {
  for (const ifd_node *n = last; n; n = n->inputs[0] ? n->inputs[0]->producer : NULL)
    if (ifd_node_is(n, "BatchNormalization")) return n;
  (void)f;
  return NULL;
}

static ifd_status merge(ifd_rewrite *rw, ifd_node *last) {
  ifd_affine f;
  const char *why;
  ifd_value *y;
  TRY(ifd_affine_chain(rw, last, &f, &why));
  if (!f.n_nodes) return IFD_OK;
  bool goes_on;
  TRY(ifd_affine_goes_on(rw, last, &goes_on));
  if (goes_on) return IFD_OK;
  bool whole_channels = f.n > 1 ? f.axis == 1 : f.axis == 1 || ifd_dim_is_number(ifd_rw_dim(rw, f.x, 1));
  const ifd_node *bn = f.n_bn ? first_bn(&f, last) : NULL;
  int arithmetic = f.scales + f.shifts;
  if (arithmetic < f.n_nodes && (arithmetic < 2 || !bn))
    TRY(as_arithmetic(rw, &y, &f));
  else if (f.n_nodes > 1 && bn && whole_channels)
    TRY(as_bn(rw, &y, &f, bn));
  else
    return IFD_OK;
  return ifd_rw_replace(rw, last->outputs[0], y);
}

const ifd_pass ifd_pass_merge_affine = {
    .summary = "merges chains of BatchNormalization, Mul, Add, Sub, Div into one",
    .phase = IFD_PHASE_FUSE,
    .rules = (const ifd_rule[]){{"BatchNormalization Mul Add Sub Div", IFD_REASSOCIATES, merge}, {0}},
};
