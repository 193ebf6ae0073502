#include "pass/affine.h"

#include <math.h>

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

/* As the chain's BatchNormalization with its mean and variance, and another scale and B: a = scale / √(var +
 * ε), b = B − mean·a. */
static ifd_status as_bn(ifd_rewrite *rw, ifd_value **y, const ifd_affine *f, const ifd_node *like) {
  ifd_error *err = ifd_rw_error(rw);
  const ifd_tensor *mean = ifd_rw_constant(rw, like->inputs[3]), *var = ifd_rw_constant(rw, like->inputs[4]);
  int64_t n = ifd_tensor_count(mean);
  double *scale, *shift, epsilon = ifd_node_float(like, "epsilon", 1e-5f);
  ifd_value *inputs[5] = {f->x, NULL, NULL, like->inputs[3], like->inputs[4]};
  ifd_node *bn;
  ALLOC(err, scale, ifd_new_array(ifd_rw_scratch(rw), double, n));
  ALLOC(err, shift, ifd_new_array(ifd_rw_scratch(rw), double, n));
  for (int64_t c = 0; c < n; c++) {
    int64_t i = f->n == 1 ? 0 : c;
    scale[c] = f->a[i] * sqrt(ifd_tensor_get_f64(var, c) + epsilon);
    shift[c] = f->b[i] + ifd_tensor_get_f64(mean, c) * f->a[i];
  }
  TRY(ifd_affine_add_vector(rw, &inputs[1], ifd_rw_dtype(rw, like->inputs[1]), scale, n,
                            like->inputs[1]->name));
  TRY(ifd_affine_add_vector(rw, &inputs[2], ifd_rw_dtype(rw, like->inputs[2]), shift, n,
                            like->inputs[2]->name));
  TRY(ifd_rw_add_like(rw, &bn, like, inputs, 5));
  *y = bn->outputs[0];
  return IFD_OK;
}

/* The BatchNormalization of a chain that ends in `last`: the first one met, going back along x. */
static ifd_status find_bn(ifd_rewrite *rw, const ifd_node *last, const ifd_value *end, const ifd_node **out) {
  ifd_affine f = {.x = last->outputs[0]};
  bool is_affine = true;
  const char *why;
  *out = NULL;
  for (const ifd_node *n = last; n && f.x != end && is_affine && !*out; n = f.x->producer) {
    if (ifd_node_is(n, "BatchNormalization")) *out = n;
    TRY(ifd_affine_of(rw, n, &f, &is_affine, &why));
  }
  return IFD_OK;
}

static ifd_status merge(ifd_rewrite *rw, ifd_node *last) {
  ifd_affine f;
  const char *why;
  ifd_value *y;
  bool goes_on; /* asked first: only ends go back along their chains */
  TRY(ifd_affine_goes_on(rw, last, &goes_on));
  if (goes_on) return IFD_OK;
  TRY(ifd_affine_chain(rw, last, &f, &why));
  if (!f.n_nodes) return IFD_OK;
  bool whole_channels = f.n > 1 ? f.axis == 1 : f.axis == 1 || ifd_dim_is_number(ifd_rw_dim(rw, f.x, 1));
  const ifd_node *bn = NULL;
  if (f.n_bn) TRY(find_bn(rw, last, f.x, &bn));
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
    .summary = "merges chains of BatchNormalization, Mul, Add, Sub, Div, Neg into one",
    .phase = IFD_PHASE_FUSE,
    .rules = (const ifd_rule[]){{"BatchNormalization Mul Add Sub Div Neg", IFD_REASSOCIATES, merge}, {0}},
};
