#include "ops/op.h"
#include "pass/pass.h"

/* Local functions in which a BatchNormalization may be in training mode are written out where they are
 * called: there its statistics are known, and whether it is a mistake (untrain_bn). From sweep to sweep,
 * those that call them, too. */

enum { MOST_NODES = 1 << 20 };

typedef struct calls {
  ifd_rewrite *rw;
  bool *wanted; /* of each function, by id */
  IFD_VEC(ifd_node *) all;
} calls;

static ifd_status look(ifd_graph *graph, void *found) {
  IFD_EACH_NODE(node, graph)
  if (ifd_node_is(node, "BatchNormalization") && (ifd_op_mixes_batch(node) || ifd_node_is_open(node)))
    *(bool *)found = true;
  return IFD_OK;
}

static ifd_status find_calls(ifd_graph *graph, void *context) {
  calls *c = context;
  IFD_EACH_NODE(node, graph) {
    const ifd_function *f = ifd_node_find_function(node);
    if (f && f != graph->function && c->wanted[f->id])
      IFD_PUSH(ifd_rw_error(c->rw), ifd_rw_scratch(c->rw), &c->all, node);
  }
  return IFD_OK;
}

static ifd_status inline_calls(ifd_rewrite *rw, ifd_graph *graph) {
  const ifd_model *model = graph->model;
  calls c = {.rw = rw};
  if (graph != model->graph || !model->functions.n) return IFD_OK;
  ALLOC(ifd_rw_error(rw), c.wanted, ifd_new_array(ifd_rw_scratch(rw), bool, model->functions.n));
  for (int i = 0; i < model->functions.n; i++)
    TRY(ifd_graph_visit(model->functions.v[i]->body, look, &c.wanted[i]));
  TRY(ifd_graph_visit(graph, find_calls, &c));
  for (int i = 0; i < model->functions.n; i++)
    TRY(ifd_graph_visit(model->functions.v[i]->body, find_calls, &c));
  for (int i = 0; i < c.all.n && c.all.v[i]->graph->n_nodes < MOST_NODES; i++)
    TRY(ifd_rw_inline_call(rw, c.all.v[i]));
  return ifd_rw_drop_uncalled(rw);
}

const ifd_pass ifd_pass_inline_training_bn = {
    .summary = "writes out local functions that hold a BatchNormalization in training mode (--bn-inference)",
    .phase = IFD_PHASE_SIMPLIFY,
    .on_request = true,
    .graph = inline_calls,
};
