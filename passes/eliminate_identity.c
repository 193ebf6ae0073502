#include "pass/pass.h"

/* Identity, and Dropout in inference: its output is its input. Dropout's mask is all true then. */
static ifd_status identity(ifd_rewrite *rw, ifd_node *node) {
  return ifd_rw_replace(rw, node->outputs[0], node->inputs[0]);
}

static ifd_status dropout(ifd_rewrite *rw, ifd_node *node) {
  double training = 0;
  if (ifd_node_has_output(node, 1) && ifd_value_n_readers(node->outputs[1]))
    return ifd_rw_refuse(rw, "its mask is read");
  if (node->op && node->op->since < 7 && !ifd_node_int(node, "is_test", 0))
    return ifd_rw_refuse(rw, "it is in training mode (is_test = 0)");
  if (ifd_node_has_input(node, 2) && (!ifd_rw_scalar(rw, node->inputs[2], &training) || training))
    return ifd_rw_refuse(rw, "it is, or may be, in training mode");
  return identity(rw, node);
}

const ifd_pass ifd_pass_eliminate_identity = {
    .summary = "removes Identity, and Dropout in inference",
    .phase = IFD_PHASE_SIMPLIFY,
    .rules = (const ifd_rule[]){{"Identity", IFD_EXACT, identity}, {"Dropout", IFD_EXACT, dropout}, {0}},
};
