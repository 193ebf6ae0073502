#include "ir/equal.h"
#include "ops/op.h"
#include "pass/pass.h"

/* What both branches of an If compute from values around it is computed before it: whichever branch runs, it
 * runs just as often. */

static bool is_inside(const ifd_graph *graph, const ifd_graph *branch) {
  while (graph && graph != branch) graph = graph->outer;
  return graph != NULL;
}

/* It depends on nothing in its branch, can be anywhere, and gives none of the branch's outputs. */
static bool can_leave(const ifd_node *node) {
  if (!node->op || (node->op->flags & IFD_OP_IMPURE) || ifd_node_has_graphs(node)) return false;
  for (int i = 0; i < node->n_inputs; i++)
    if (node->inputs[i] && is_inside(node->inputs[i]->graph, node->graph)) return false;
  for (int i = 0; i < node->n_outputs; i++)
    if (node->outputs[i] && node->outputs[i]->n_outputs) return false;
  return true;
}

static const ifd_value *least_read_input(const ifd_node *node) {
  const ifd_value *least = NULL;
  for (int i = 0; i < node->n_inputs; i++)
    if (node->inputs[i] && (!least || node->inputs[i]->uses.n < least->uses.n)) least = node->inputs[i];
  return least;
}

static ifd_node *find_equal(const ifd_node *node, const ifd_graph *graph) {
  const ifd_value *read = least_read_input(node);
  for (int i = 0; read && i < read->uses.n; i++) {
    ifd_node *other = read->uses.v[i].node;
    if (other->graph == graph && can_leave(other) && ifd_node_equal(node, other)) return other;
  }
  return NULL;
}

static ifd_status merge_outputs(ifd_rewrite *rw, const ifd_node *old, const ifd_node *into) {
  for (int i = 0; i < old->n_outputs && old->rank >= 0; i++)
    if (old->outputs[i]) TRY(ifd_rw_merge(rw, old->outputs[i], into->outputs[i]));
  return IFD_OK;
}

static ifd_status hoist_from(ifd_rewrite *rw, ifd_node *node) {
  const ifd_graph *yes = ifd_node_graph(node, "then_branch"), *no = ifd_node_graph(node, "else_branch");
  if (!yes || !no) return IFD_OK;
  IFD_EACH_NODE(one, yes) {
    const ifd_node *other = can_leave(one) ? find_equal(one, no) : NULL;
    ifd_node *common;
    if (!other) continue;
    TRY(ifd_rw_add_like(rw, &common, one, one->inputs, one->n_inputs));
    TRY(ifd_rw_place(rw, node));
    TRY(merge_outputs(rw, one, common));
    TRY(merge_outputs(rw, other, common));
  }
  return IFD_OK;
}

static ifd_status hoist(ifd_rewrite *rw, ifd_graph *graph) {
  IFD_EACH_NODE(node, graph) if (ifd_node_is(node, "If")) TRY(hoist_from(rw, node));
  return IFD_OK;
}

const ifd_pass ifd_pass_hoist_common_node = {
    .summary = "computes before an If what both its branches compute",
    .phase = IFD_PHASE_FINISH,
    .graph = hoist,
};
