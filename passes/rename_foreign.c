#include "pass/foreign.h"
#include "pass/ints.h"

/* Operators of com.microsoft that ONNX has under the same name, since a later opset, or in other words. */

enum { SINCE = 7 };

static ifd_status rename_early(ifd_rewrite *rw, ifd_node *node) {
  return ifd_is_foreign(node, SINCE, 1) ? ifd_foreign_rename(rw, node) : IFD_OK;
}

/* Values in the order they come in, where in these each element is, and how often each comes; ONNX gives
 * where each came first, too. */
static ifd_status expand_unique(ifd_rewrite *rw, ifd_node *node) {
  enum { FIRST = 1, N_OUTPUTS = 4 };
  ifd_node *made;
  bool offered;
  if (!ifd_is_foreign(node, SINCE, 1)) return IFD_OK;
  TRY(ifd_foreign_offer(rw, &offered, node, "Unique"));
  if (!offered) return IFD_OK;
  TRY(ifd_foreign_add(rw, &made, node, "Unique", node->inputs, 1, N_OUTPUTS));
  TRY(ifd_node_set_int(ifd_rw_error(rw), made, "sorted", 0));
  for (int i = 0; i < node->n_outputs && i + FIRST < N_OUTPUTS; i++)
    if (node->outputs[i]) TRY(ifd_rw_replace(rw, node->outputs[i], made->outputs[i ? i + FIRST : 0]));
  return IFD_OK;
}

/* Unsqueeze of the one axis that a number says. */
static ifd_status expand_dims(ifd_rewrite *rw, ifd_node *node) {
  const ifd_tensor *axis;
  ifd_node *made;
  if (!ifd_is_foreign(node, SINCE, 3)) return IFD_OK;
  axis = ifd_rw_constant(rw, node->inputs[1]);
  if (!axis || ifd_tensor_count(axis) != 1) return ifd_rw_refuse(rw, "its axis is not constant");
  int64_t at = ifd_tensor_get_i64(axis, 0);
  TRY(ifd_ints_add_node(rw, &made, "Unsqueeze", node->inputs[0], "axes", &at, 1, 1));
  made->name = node->name;
  return ifd_rw_replace(rw, node->outputs[0], made->outputs[0]);
}

const ifd_pass ifd_pass_rename_foreign = {
    .summary = "writes what com.microsoft has in other words as ONNX's own",
    .phase = IFD_PHASE_SIMPLIFY,
    .defines = true,
    .rules = (const ifd_rule[]){{"com.microsoft.Trilu com.microsoft.Range com.microsoft.GatherND", IFD_EXACT,
                                 rename_early},
                                {"com.microsoft.Unique", IFD_EXACT, expand_unique},
                                {"com.microsoft.ExpandDims", IFD_EXACT, expand_dims},
                                {0}},
};
