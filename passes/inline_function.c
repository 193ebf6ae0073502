#include "pass/pass.h"

/* A local function that is called once, or that is one node, becomes nodes like any others: fewer either way.
 * Where it is called oftener its body stays in one place. */

typedef struct calls {
  ifd_rewrite *rw;
  int *n;          /* of each function, by id */
  int64_t *growth; /* of the file, were they all written out: of functions that are one node */
  IFD_VEC(ifd_node *) all;
} calls;

static bool is_one_node(const ifd_function *f) {
  const ifd_node *node = f->body->first;
  return f->body->n_nodes == 1 && !ifd_node_has_graphs(node) && ifd_node_find_function(node) != f;
}

static ifd_status find_calls(ifd_graph *graph, void *context) {
  calls *c = context;
  IFD_EACH_NODE(node, graph) {
    const ifd_function *f = ifd_node_find_function(node);
    if (!f) continue;
    c->n[f->id]++;
    if (is_one_node(f)) c->growth[f->id] += ifd_rw_inline_growth(node);
    IFD_PUSH(ifd_rw_error(c->rw), ifd_rw_scratch(c->rw), &c->all, node);
  }
  return IFD_OK;
}

static bool is_worth_it(const calls *c, const ifd_function *f) {
  return c->n[f->id] == 1 || (is_one_node(f) && ifd_rw_may_grow(c->rw, c->growth[f->id]));
}

static ifd_status inline_calls(ifd_rewrite *rw, ifd_graph *graph) {
  const ifd_model *model = graph->model;
  calls c = {.rw = rw};
  bool *worth;
  if (graph != model->graph || !model->functions.n) return IFD_OK;
  TRY(ifd_rw_drop_uncalled(rw));
  ALLOC(ifd_rw_error(rw), c.n, ifd_new_array(ifd_rw_scratch(rw), int, model->functions.n));
  ALLOC(ifd_rw_error(rw), c.growth, ifd_new_array(ifd_rw_scratch(rw), int64_t, model->functions.n));
  ALLOC(ifd_rw_error(rw), worth, ifd_new_array(ifd_rw_scratch(rw), bool, model->functions.n));
  TRY(ifd_graph_visit(model->graph, find_calls, &c));
  for (int i = 0; i < model->functions.n; i++) {
    const ifd_function *f = model->functions.v[i];
    c.growth[i] -= ifd_rw_function_bytes(f);
    TRY(ifd_graph_visit(f->body, find_calls, &c));
  }
  for (int i = 0; i < model->functions.n; i++) worth[i] = is_worth_it(&c, model->functions.v[i]);
  for (int i = 0; i < c.all.n; i++) {
    const ifd_function *f = ifd_node_find_function(c.all.v[i]);
    if (worth[f->id] && c.all.v[i]->graph->function != f) TRY(ifd_rw_inline_call(rw, c.all.v[i]));
  }
  return ifd_rw_drop_uncalled(rw);
}

const ifd_pass ifd_pass_inline_function = {
    .summary =
        "writes out local functions that are called once or are one node, and drops those never called",
    .phase = IFD_PHASE_SIMPLIFY,
    .graph = inline_calls,
};
