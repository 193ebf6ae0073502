#include "pass/pass.h"

/* Initial states, biases and peepholes of zeros are what LSTM, GRU and RNN take when nothing is given; the
 * nodes that make zeros of the batch's size go with them. */

enum { MAX_DEPTH = 32 };

/* Nodes whose output holds elements of input 0 alone, whatever its shape. */
static bool rearranges(const ifd_node *node) {
  static const char *const op_types[] = {"Expand",  "Reshape", "Slice",  "Squeeze", "Unsqueeze", "Transpose",
                                         "Flatten", "Tile",    "Gather", "Split",   "Cast",      "Identity"};
  for (size_t i = 0; i < sizeof op_types / sizeof *op_types; i++)
    if (ifd_node_is(node, op_types[i])) return true;
  return false;
}

static bool is_zero(ifd_rewrite *rw, const ifd_value *v, int depth) {
  const ifd_node *maker = v->producer;
  if (ifd_rw_constant(rw, v)) return ifd_rw_is_filled_with(rw, v, 0);
  if (!maker || depth == MAX_DEPTH) return false;
  if (ifd_node_is(maker, "ConstantOfShape")) {
    const ifd_tensor *value = ifd_node_tensor(maker, "value");
    return !value || ifd_tensor_get_f64(value, 0) == 0;
  }
  if (ifd_node_is(maker, "Concat")) {
    for (int i = 0; i < maker->n_inputs; i++)
      if (!is_zero(rw, maker->inputs[i], depth + 1)) return false;
    return true;
  }
  return rearranges(maker) && maker->inputs[0] && is_zero(rw, maker->inputs[0], depth + 1);
}

static ifd_status drop(ifd_rewrite *rw, ifd_node *node) {
  enum { B = 3, INITIAL_H = 5, INITIAL_C = 6, P = 7 };
  static const int optional[] = {B, INITIAL_H, INITIAL_C, P};
  int n = 0;
  for (size_t k = 0; k < sizeof optional / sizeof *optional; k++) {
    int i = optional[k];
    if (!ifd_node_has_input(node, i) || !is_zero(rw, node->inputs[i], 0)) continue;
    TRY(ifd_rw_set_input(rw, node, i, NULL));
    n++;
  }
  return n ? IFD_OK
           : ifd_rw_refuse(rw, "none of its initial states, biases and peepholes is known to be zero");
}

const ifd_pass ifd_pass_drop_zero_state = {
    .summary = "leaves out initial states and biases of zeros of LSTM, GRU, RNN",
    .phase = IFD_PHASE_SIMPLIFY,
    .rules = (const ifd_rule[]){{"LSTM GRU RNN", IFD_EXACT, drop}, {0}},
};
