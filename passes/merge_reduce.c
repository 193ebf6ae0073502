#include "pass/ints.h"

#include <string.h>

/* Reductions: a view behind one that drops its axes of 1, or puts them back, is its keepdims; one of another
 * of the same kind is one over both their axes. A pool over the whole image is a reduction, too: with a
 * Flatten behind it, ReduceMean or ReduceMax alone does. */

typedef struct reduction {
  const char *op_type;
  ifd_value *x;
  unsigned axes; /* bit i: axis i of x */
  int rank;      /* of x */
  bool keeps;
} reduction;

/* ---- recognizing ---- */

static bool axes_of(ifd_rewrite *rw, const ifd_node *node, reduction *r) {
  if (!ifd_ints_axis_bits(rw, node, r->rank, &r->axes)) return false;
  if (r->axes) return true;
  r->axes = (1u << r->rank) - 1;
  return !ifd_node_int(node, "noop_with_empty_axes", 0);
}

static bool is_reduce(const ifd_node *node) {
  return ifd_node_is_any(node,
                         "ReduceMean ReduceMax ReduceMin ReduceSum ReduceProd ReduceL1 ReduceL2 ReduceLogSum "
                         "ReduceLogSumExp ReduceSumSquare");
}

/* One window, which is all of the image. */
static bool is_whole(ifd_rewrite *rw, const ifd_node *pool, int rank) {
  const int64_t *kernel, *v;
  if (ifd_node_ints(pool, "kernel_shape", &kernel) != rank - 2) return false;
  if (!ifd_node_string_is(pool, "auto_pad", "NOTSET", "NOTSET")) return false;
  for (int i = ifd_node_ints(pool, "pads", &v) - 1; i >= 0; i--)
    if (v[i]) return false;
  for (int i = ifd_node_ints(pool, "dilations", &v) - 1; i >= 0; i--)
    if (v[i] != 1) return false;
  for (int i = 2; i < rank; i++)
    if (ifd_rw_dim(rw, pool->inputs[0], i) != kernel[i - 2] || ifd_rw_dim(rw, pool->outputs[0], i) != 1)
      return false;
  return true;
}

static bool is_quantized(const ifd_value *x) { return ifd_rw_producer(x, "DequantizeLinear"); }

static bool pool_of(ifd_rewrite *rw, const ifd_node *node, reduction *r) {
  static const char *const table[][2] = {{"GlobalAveragePool", "ReduceMean"},
                                         {"GlobalMaxPool", "ReduceMax"},
                                         {"AveragePool", "ReduceMean"},
                                         {"MaxPool", "ReduceMax"}};
  for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
    if (!ifd_node_is(node, table[i][0])) continue;
    r->op_type = table[i][1];
    r->axes = (1u << r->rank) - 4;
    r->keeps = true;
    /* Runtimes have quantized pools, but not quantized reductions. */
    return r->rank > 2 && !is_quantized(r->x) && (i < 2 || is_whole(rw, node, r->rank));
  }
  return false;
}

static bool reduction_of(ifd_rewrite *rw, const ifd_node *node, reduction *r) {
  if (!node || ifd_node_is_open(node) || !node->n_inputs || !node->inputs[0]) return false;
  if (ifd_node_has_output(node, 1)) return false;
  *r = (reduction){.op_type = node->op_type, .x = node->inputs[0], .rank = ifd_rw_rank(rw, node->inputs[0])};
  if (r->rank < 1 || r->rank > IFD_MAX_RANK) return false;
  if (!is_reduce(node)) return pool_of(rw, node, r);
  r->keeps = ifd_node_int(node, "keepdims", 1) != 0;
  return axes_of(rw, node, r);
}

/* ---- building ---- */

static ifd_status replace(ifd_rewrite *rw, ifd_node *last, const reduction *r) {
  int64_t axes[IFD_MAX_RANK];
  ifd_node *node;
  int n = 0;
  for (int i = 0; i < r->rank; i++)
    if (r->axes >> i & 1) axes[n++] = i;
  TRY(ifd_ints_add_node(rw, &node, r->op_type, r->x, "axes", axes, n, 1));
  if (!r->keeps) TRY(ifd_node_set_int(ifd_rw_error(rw), node, "keepdims", 0));
  node->name = last->inputs[0]->producer->name;
  return ifd_rw_replace(rw, last->outputs[0], node->outputs[0]);
}

/* ---- a view behind ---- */

/* Whether y has the shape of the reduction, were its axes kept (or dropped). */
static bool has_shape(ifd_rewrite *rw, const ifd_value *y, const reduction *r, bool keeps) {
  int n = 0, rank = ifd_rw_rank(rw, y);
  for (int i = 0; i < r->rank; i++) {
    bool reduced = r->axes >> i & 1;
    if (reduced && !keeps) continue;
    if (n >= rank || ifd_rw_dim(rw, y, n++) != (reduced ? 1 : ifd_rw_dim(rw, r->x, i))) return false;
  }
  return n == rank;
}

static ifd_status merge_view(ifd_rewrite *rw, ifd_node *view, bool pools) {
  reduction r;
  ifd_value *x = view->inputs[0];
  if (!x || !reduction_of(rw, x->producer, &r) || x->producer->graph != view->graph) return IFD_OK;
  if (is_reduce(x->producer) == pools || !has_shape(rw, view->outputs[0], &r, !r.keeps)) return IFD_OK;
  if (ifd_value_n_readers(x) != 1)
    return ifd_rw_refuse(rw, "%s before it is read by others too, or is an output of the graph",
                         x->producer->op_type);
  r.keeps = !r.keeps;
  return replace(rw, view, &r);
}

static ifd_status merge_reduce_and_view(ifd_rewrite *rw, ifd_node *view) {
  return merge_view(rw, view, false);
}
static ifd_status merge_pool_and_view(ifd_rewrite *rw, ifd_node *view) { return merge_view(rw, view, true); }

/* ---- another reduction behind ---- */

/* Axes of what is left of x, as axes of x. */
static unsigned through(const reduction *first, unsigned axes) {
  unsigned out = 0;
  for (int i = 0, left = 0; i < first->rank; i++)
    if (!(first->axes >> i & 1)) out |= (axes >> left++ & 1) << i;
  return out;
}

static ifd_status merge_reduces(ifd_rewrite *rw, ifd_node *last) {
  reduction first, r;
  if (!reduction_of(rw, last, &r) || !reduction_of(rw, r.x->producer, &first)) return IFD_OK;
  if (strcmp(first.op_type, r.op_type) != 0 || first.keeps != r.keeps || r.x->producer->graph != last->graph)
    return IFD_OK;
  if (ifd_value_n_readers(r.x) != 1)
    return ifd_rw_refuse(rw, "the %s before it is read by others too, or is an output of the graph",
                         first.op_type);
  first.axes |= r.keeps ? r.axes : through(&first, r.axes);
  return replace(rw, last, &first);
}

#define VIEWS "Reshape Flatten Squeeze Unsqueeze"

const ifd_pass ifd_pass_merge_reduce = {
    .summary = "merges reductions, and pools over whole images, with the views and reductions behind them",
    .phase = IFD_PHASE_FUSE,
    .rules = (const ifd_rule[]){{VIEWS, IFD_EXACT, merge_reduce_and_view},
                                {VIEWS, IFD_REASSOCIATES, merge_pool_and_view},
                                {"ReduceMean ReduceMax ReduceMin ReduceSum ReduceProd", IFD_REASSOCIATES,
                                 merge_reduces},
                                {0}},
};
