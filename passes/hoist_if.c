#include "pass/pass.h"

/* If with a constant condition is its branch. */

static ifd_status hoist(ifd_rewrite *rw, ifd_node *node) {
  const ifd_tensor *condition = ifd_rw_constant(rw, node->inputs[0]);
  if (!condition) return ifd_rw_refuse(rw, "its condition is not constant");
  if (ifd_tensor_count(condition) != 1) return IFD_OK;
  const ifd_graph *branch =
      ifd_node_graph(node, ifd_tensor_get_i64(condition, 0) ? "then_branch" : "else_branch");
  if (!branch || branch->outputs.n < node->n_outputs) return IFD_OK;
  return ifd_rw_inline(rw, branch, node);
}

const ifd_pass ifd_pass_hoist_if = {
    .summary = "puts the branch of an If whose condition is known in its place",
    .phase = IFD_PHASE_SIMPLIFY,
    .rules = (const ifd_rule[]){{"If", IFD_EXACT, hoist}, {0}},
};
