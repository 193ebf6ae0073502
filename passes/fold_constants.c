#include "pass/fold.h"
#include "pass/quant.h"

static bool is_dequantized(ifd_rewrite *rw, const ifd_value *v) {
  const ifd_node *node = v ? ifd_rw_producer(v, "DequantizeLinear") : NULL;
  return node && !ifd_rw_known(rw, node->inputs[0]);
}

/* Whether an operator reads it beside a value that is dequantized: runtimes take such operands as the
 * integers that they are made of, or, if one is float, the whole operator in float, which rounds otherwise.
 */
static bool is_quantized_operand(ifd_rewrite *rw, const ifd_node *node) {
  const ifd_value *v = node->outputs[0];
  if (ifd_rw_for_running(rw) || !ifd_node_is(node, "DequantizeLinear")) return false;
  for (int i = 0; i < v->uses.n; i++) {
    const ifd_node *reader = v->uses.v[i].node;
    for (int k = 0; k < reader->n_inputs; k++)
      if (is_dequantized(rw, reader->inputs[k])) return true;
  }
  return false;
}

static ifd_status fold(ifd_rewrite *rw, ifd_node *node) {
  if (is_quantized_operand(rw, node)) return ifd_rw_refuse(rw, "runtimes take it as integers");
  return ifd_rw_stays_narrow(rw, node) ? IFD_OK : ifd_rw_fold(rw, node);
}

const ifd_pass ifd_pass_fold_constants = {
    .summary = "computes what depends on constants alone; tensors of one repeated value stay short",
    .phase = IFD_PHASE_SIMPLIFY,
    .rules = (const ifd_rule[]){{"*", IFD_EXACT, fold}, {0}},
};
