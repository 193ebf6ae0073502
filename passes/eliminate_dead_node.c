#include "pass/pass.h"

/* Only producers go with a node, and those stand before it. */
static ifd_status remove_dead(ifd_rewrite *rw, ifd_graph *graph) {
  IFD_EACH_NODE(node, graph) TRY(ifd_rw_remove_dead(rw, node));
  for (int i = graph->constants.n - 1; i >= 0; i--) ifd_rw_remove_constant(rw, graph->constants.v[i]);
  return IFD_OK;
}

const ifd_pass ifd_pass_eliminate_dead_node = {
    .summary = "removes nodes and constants that no output needs",
    .phase = IFD_PHASE_SIMPLIFY,
    .graph = remove_dead,
};
