#include "ops/op.h"
#include "pass/match.h"

/* Frameworks without an instance normalization write it as one of batches: [N,C,…] is seen as [1,N·C,…],
 * whose channels are then normalized by their own statistics, in training mode or in inference mode by a mean
 * and a variance that are computed. With a batch of 1 that is
 * InstanceNormalization by definition; and where scale and B repeat for each sample, the views can go. */

/* x's view is one sample of more channels than x has. */
static bool folds_batch(ifd_rewrite *rw, const ifd_node *reshape, const ifd_value *view) {
  const ifd_value *x = reshape->inputs[0];
  int rank = ifd_rw_rank(rw, x);
  if (rank < 3 || ifd_rw_rank(rw, view) != rank || ifd_rw_dim(rw, view, 0) != 1) return false;
  if (ifd_rw_dim(rw, x, 0) == 1) return false;
  for (int i = 2; i < rank; i++)
    if (ifd_rw_dim(rw, x, i) != ifd_rw_dim(rw, view, i)) return false;
  return true;
}

/* Whether mean and variance are those of the input, over all axes but the channels. */
static bool computes_statistics(ifd_rewrite *rw, const ifd_node *bn) {
  const ifd_value *x = bn->inputs[0];
  ifd_value *deviation, *squares;
  unsigned others = ((1u << ifd_rw_rank(rw, x)) - 1) & ~2u, axes;
  bool kept;
  if (bn->n_inputs != 5 || ifd_mean_over(rw, bn->inputs[3], &axes, &kept) != x || axes != others)
    return false;
  squares = ifd_mean_over(rw, bn->inputs[4], &axes, &kept);
  if (!squares || axes != others || !ifd_is_square(rw, squares, &deviation)) return false;
  const ifd_node *sub = ifd_rw_producer(deviation, "Sub");
  return sub && sub->inputs[0] == x && ifd_mean_over(rw, sub->inputs[1], &axes, &kept) == x && kept &&
         axes == others;
}

static ifd_status fuse(ifd_rewrite *rw, ifd_node *bn) {
  ifd_node *node, *reshape = ifd_rw_producer(bn->inputs[0], "Reshape");
  if (!reshape || !folds_batch(rw, reshape, bn->inputs[0])) return IFD_OK;
  if (!ifd_op_mixes_batch(bn) && !computes_statistics(rw, bn)) return IFD_OK;
  if (ifd_bn_is_per_position(bn)) return ifd_rw_refuse(rw, "spatial = 0 normalizes each position by itself");
  for (int i = 1; i < bn->n_outputs; i++)
    if (bn->outputs[i] && ifd_value_n_readers(bn->outputs[i]))
      return ifd_rw_refuse(rw,
                           "it normalizes each sample by itself, but its new running statistics are read");
  ifd_dtype dtype = ifd_rw_dtype(rw, bn->inputs[0]);
  if (!dtype || ifd_rw_dtype(rw, bn->inputs[1]) != dtype || ifd_rw_dtype(rw, bn->inputs[2]) != dtype)
    return ifd_rw_refuse(rw, "InstanceNormalization has scale and B of the type of its input");
  TRY(ifd_rw_add_node(rw, &node, "InstanceNormalization", bn->inputs, 3, 1));
  node->name = bn->name;
  float epsilon = ifd_node_float(bn, "epsilon", 1e-5f);
  if (epsilon != 1e-5f) TRY(ifd_node_set_float(ifd_rw_error(rw), node, "epsilon", epsilon));
  return ifd_rw_replace(rw, bn->outputs[0], node->outputs[0]);
}

/* ---- without the views ---- */

static bool repeats(const ifd_tensor *t, int64_t n) {
  for (int64_t i = n, count = t->splat ? 0 : ifd_tensor_count(t); i < count; i++)
    if (ifd_tensor_get_f64(t, i) != ifd_tensor_get_f64(t, i - n)) return false;
  return true;
}

static ifd_status first_of(ifd_rewrite *rw, ifd_value **out, const ifd_tensor *t, int64_t n,
                           const char *hint) {
  ifd_tensor part;
  TRY(ifd_tensor_new(ifd_rw_error(rw), &part, ifd_rw_arena(rw), t->dtype, &(ifd_shape){1, {n}}));
  for (int64_t i = 0; i < n; i++) ifd_tensor_set_f64(&part, i, ifd_tensor_get_f64(t, i));
  return ifd_rw_add_constant(rw, out, &part, hint);
}

/* The vector of n elements that v repeats: a part of a constant, the one number that an Expand takes, or what
 * a Tile takes. NULL when it does not repeat. */
static ifd_status period_of(ifd_rewrite *rw, ifd_value **out, ifd_value *v, int64_t n) {
  const ifd_tensor *t = ifd_rw_constant(rw, v);
  const ifd_node *tile = ifd_rw_producer(v, "Tile"), *expand = ifd_rw_producer(v, "Expand");
  ifd_tensor one;
  *out = NULL;
  if (expand && (t = ifd_rw_constant(rw, expand->inputs[0]))) {
    one = *t;
    one.splat = true; /* its one element stands for as many as are asked for */
    return ifd_tensor_count(t) == 1 ? first_of(rw, out, &one, n, v->name) : IFD_OK;
  }
  if (t && repeats(t, n)) return first_of(rw, out, t, n, v->name);
  if (tile && ifd_rw_rank(rw, tile->inputs[0]) == 1 && ifd_rw_dim(rw, tile->inputs[0], 0) == n)
    *out = tile->inputs[0];
  return IFD_OK;
}

static bool same_shape(ifd_rewrite *rw, const ifd_value *a, const ifd_value *b) {
  int rank = ifd_rw_rank(rw, a);
  if (rank < 0 || rank != ifd_rw_rank(rw, b)) return false;
  for (int i = 0; i < rank; i++)
    if (ifd_rw_dim(rw, a, i) != ifd_rw_dim(rw, b, i)) return false;
  return true;
}

static ifd_status drop_views(ifd_rewrite *rw, ifd_node *back) {
  ifd_node *node, *norm = ifd_rw_producer(back->inputs[0], "InstanceNormalization");
  ifd_node *reshape = norm ? ifd_rw_producer(norm->inputs[0], "Reshape") : NULL;
  if (!reshape || !folds_batch(rw, reshape, norm->inputs[0])) return IFD_OK;
  ifd_value *x = reshape->inputs[0], *inputs[3] = {x};
  ifd_dim channels = ifd_rw_dim(rw, x, 1);
  if (!ifd_dim_is_number(channels) || !same_shape(rw, x, back->outputs[0])) return IFD_OK;
  if (ifd_value_n_readers(back->inputs[0]) != 1)
    return ifd_rw_refuse(rw, "the normalized view before it is read by others too");
  for (int i = 1; i < 3; i++) {
    TRY(period_of(rw, &inputs[i], norm->inputs[i], channels));
    if (!inputs[i])
      return ifd_rw_refuse(rw, "%s of InstanceNormalization '%s' differs between samples",
                           i == 1 ? "scale" : "B", norm->name);
  }
  TRY(ifd_rw_add_like(rw, &node, norm, inputs, 3));
  return ifd_rw_replace(rw, back->outputs[0], node->outputs[0]);
}

const ifd_pass ifd_pass_fuse_instance_norm = {
    .summary = "makes InstanceNormalization of BatchNormalization of its own statistics over [1, N*C, ...]",
    .phase = IFD_PHASE_FUSE,
    .rules = (const ifd_rule[]){{"BatchNormalization", IFD_REASSOCIATES, fuse},
                                {"Reshape", IFD_REASSOCIATES, drop_views},
                                {0}},
};
