#include "ops/shared/types.h"

static const ifd_type *join_tensors(ifd_infer *x, const ifd_type *a, const ifd_type *b) {
  ifd_dtype dtype = a->dtype == b->dtype ? a->dtype : IFD_UNDEFINED;
  ifd_dim dims[IFD_MAX_RANK];
  if (!a->has_rank || !b->has_rank || a->rank != b->rank || a->rank > IFD_MAX_RANK)
    return ifd_type_tensor_unranked(x->arena, dtype);
  for (int i = 0; i < a->rank; i++)
    dims[i] = a->dims[i] == b->dims[i] ? a->dims[i] : ifd_dim_unknown(x->dims);
  return ifd_type_tensor(x->arena, dtype, a->rank, dims);
}

const ifd_type *ifd_type_join(ifd_infer *x, const ifd_type *a, const ifd_type *b) {
  if (ifd_type_equal(a, b)) return a;
  if (a->kind != b->kind) return &ifd_type_unknown;
  if (a->kind == IFD_KIND_TENSOR) return join_tensors(x, a, b);
  if ((a->kind != IFD_KIND_SEQUENCE && a->kind != IFD_KIND_OPTIONAL) || !a->elem || !b->elem)
    return &ifd_type_unknown;
  const ifd_type *elem = ifd_type_join(x, a->elem, b->elem);
  return elem ? ifd_type_of(x->arena, a->kind, elem) : NULL;
}

const ifd_type *ifd_type_widen(ifd_infer *x, const ifd_type *t) {
  if (t->kind == IFD_KIND_TENSOR) return ifd_type_tensor_unranked(x->arena, t->dtype);
  if ((t->kind != IFD_KIND_SEQUENCE && t->kind != IFD_KIND_OPTIONAL) || !t->elem) return t;
  const ifd_type *elem = ifd_type_widen(x, t->elem);
  return elem ? ifd_type_of(x->arena, t->kind, elem) : NULL;
}

ifd_status ifd_infer_subgraph(ifd_infer *x, const ifd_graph *graph, const ifd_type *const *in, int n_in,
                              const ifd_type **out) {
  int n_out = graph->outputs.n;
  ifd_status status = x->subgraph(x, graph, in, n_in, out, n_out);
  if (status == IFD_OK || status == IFD_NO_MEMORY) return status;
  ifd_error_clear(x->err);
  for (int i = 0; i < n_out; i++) {
    const ifd_type *declared = graph->outputs.v[i]->declared;
    ALLOC(x->err, out[i], ifd_type_widen(x, declared ? declared : &ifd_type_unknown));
  }
  return IFD_OK;
}

/* ---- graphs run many times ---- */

/* Whether every value of type b is one of type a. Unknowns made after `mark` stand for any dimension. */
static bool covers(const ifd_type *a, const ifd_type *b, ifd_dim mark) {
  if (a->kind == IFD_KIND_UNKNOWN || ifd_type_equal(a, b)) return true;
  if (a->kind != b->kind) return false;
  if (a->kind != IFD_KIND_TENSOR) return a->elem && b->elem && covers(a->elem, b->elem, mark);
  if (a->dtype && a->dtype != b->dtype) return false;
  if (!a->has_rank) return true;
  if (!b->has_rank || a->rank != b->rank) return false;
  for (int i = 0; i < a->rank; i++) {
    bool any = !ifd_dim_is_number(a->dims[i]) && a->dims[i] > mark;
    if (a->dims[i] != b->dims[i] && !any) return false;
  }
  return true;
}

/* How many repeating nodes a graph stands in. */
static int depth_of(const ifd_graph *graph) {
  int depth = 0;
  for (; graph; graph = graph->outer) depth += graph->owner && !ifd_node_is(graph->owner, "If");
  return depth;
}

/* Each carried type is joined with what the body makes of it, and widened if that is not enough. Deep inside
 * others, types start wide, so that the tries do not multiply. */
ifd_status ifd_infer_repeated(ifd_infer *x, const ifd_graph *body, const ifd_carried *carried,
                              const ifd_type **in, int n_in, const ifd_type **out) {
  enum { DEEP = 3, LAST = 2 };
  const ifd_type **state = in + carried->in_first, **made = out + carried->out_first;
  bool wide = depth_of(x->node->graph) > DEEP;
  ifd_dim mark = ifd_dim_unknown(x->dims);
  for (int i = 0; wide && i < carried->n; i++) ALLOC(x->err, state[i], ifd_type_widen(x, state[i]));
  for (int attempt = wide ? LAST : 0; attempt <= LAST; attempt++) {
    bool stable = true;
    TRY(ifd_infer_subgraph(x, body, in, n_in, out));
    for (int i = 0; i < carried->n; i++) {
      if (covers(state[i], made[i], mark)) continue;
      stable = false;
      ALLOC(x->err, state[i], ifd_type_join(x, state[i], made[i]));
      if (attempt) ALLOC(x->err, state[i], ifd_type_widen(x, state[i]));
    }
    if (stable) break;
  }
  return IFD_OK;
}
