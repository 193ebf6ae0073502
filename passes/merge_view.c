#include "pass/match.h"
#include "pass/order.h"

/* Views give the elements of their input another shape: Reshape, Flatten, Squeeze, Unsqueeze, and Transpose
 * that moves nothing but axes of 1. A chain of them is one Reshape, or nothing; and the shape of a Reshape
 * that a graph computes is a constant wherever at most one of its dimensions is neither known nor one of the
 * input's. */

static bool moves_ones_only(ifd_rewrite *rw, const ifd_node *transpose) {
  ifd_order o;
  int last = -1;
  if (!ifd_order_of(rw, transpose, &o)) return false;
  for (int i = 0; i < o.rank; i++) {
    if (ifd_rw_dim(rw, transpose->inputs[0], o.at[i]) == 1) continue;
    if (o.at[i] < last) return false;
    last = o.at[i];
  }
  return true;
}

static bool is_view(ifd_rewrite *rw, const ifd_node *node) {
  if (!node || *node->domain || !node->op || !node->inputs[0]) return false;
  if (ifd_node_is(node, "Transpose")) return moves_ones_only(rw, node);
  return ifd_node_is(node, "Reshape") || ifd_node_is(node, "Flatten") || ifd_node_is(node, "Squeeze") ||
         ifd_node_is(node, "Unsqueeze");
}

/* Nobody but views reads it: it may vanish, reader by reader. */
static bool only_views_read(ifd_rewrite *rw, const ifd_value *v) {
  for (int i = 0; i < v->uses.n; i++)
    if (v->uses.v[i].index || !is_view(rw, v->uses.v[i].node)) return false;
  return !v->n_outputs;
}

/* The value farthest back along views of which y is a view that can be written down; or one of y's shape. */
static ifd_value *farthest(ifd_rewrite *rw, const ifd_node *last) {
  enum { MOST = 64 };
  int64_t shape[IFD_MAX_RANK];
  ifd_value *best = NULL;
  const ifd_node *node = last;
  for (int n = 1; n <= MOST && is_view(rw, node) && node->graph == last->graph; n++) {
    ifd_value *x = node->inputs[0];
    if (ifd_rw_same_shape(rw, x, last->outputs[0])) return x;
    if (ifd_view_shape(rw, x, last->outputs[0], shape)) best = x;
    node = x->producer;
  }
  return best;
}

static bool has_computed_shape(ifd_rewrite *rw, const ifd_node *node) {
  return ifd_node_is(node, "Reshape") && !ifd_rw_constant(rw, node->inputs[1]);
}

static ifd_status merge(ifd_rewrite *rw, ifd_node *last) {
  int64_t shape[IFD_MAX_RANK];
  ifd_node *reshape;
  if (last->opset < 5 || !is_view(rw, last)) return IFD_OK;
  ifd_value *y = last->outputs[0], *x = farthest(rw, last), *c;
  bool computed = has_computed_shape(rw, last);
  if (!x)
    return computed
               ? ifd_rw_refuse(rw, "more than one dimension of its shape is neither known nor its input's")
               : IFD_OK;
  if (ifd_rw_same_shape(rw, x, y)) return ifd_rw_replace(rw, y, x);
  bool shortens = x != last->inputs[0] && only_views_read(rw, last->inputs[0]);
  if (!computed && !shortens && !ifd_node_is(last, "Transpose")) return IFD_OK;
  if (!shortens && ifd_view_shape(rw, last->inputs[0], y, shape)) x = last->inputs[0];
  if (!ifd_view_shape(rw, x, y, shape) || (x != last->inputs[0] && !shortens && !computed)) return IFD_OK;
  TRY(ifd_rw_add_ints(rw, &c, shape, ifd_rw_rank(rw, y), "shape"));
  TRY(ifd_rw_add_node(rw, &reshape, "Reshape", (ifd_value *[]){x, c}, 2, 1));
  reshape->name = last->name;
  return ifd_rw_replace(rw, y, reshape->outputs[0]);
}

const ifd_pass ifd_pass_merge_view = {
    .summary = "merges Reshape, Flatten, Squeeze, Unsqueeze; makes the shapes of Reshapes constant",
    .phase = IFD_PHASE_FUSE,
    .rules = (const ifd_rule[]){{"Reshape Flatten Squeeze Unsqueeze Transpose", IFD_EXACT, merge}, {0}},
};
