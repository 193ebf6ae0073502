#include "pass/pass.h"

/* Of two products by constant matrices, the second of which alone reads what the first makes, the first one
 * stores its results in the order in which the second one's kernels read them. */

/* A product with a constant matrix. */
static bool is_product(ifd_rewrite *rw, const ifd_node *node) {
  if (!node || !ifd_rw_is_own(node, "MatMul")) return false;
  const ifd_tensor *weights = ifd_rw_constant(rw, node->inputs[1]);
  return weights && weights->shape.rank == 2;
}

static ifd_status pack(ifd_rewrite *rw, ifd_node *product) {
  ifd_value *x = product->inputs[0];
  ifd_node *before = x->producer, *first, *second;
  if (!is_product(rw, product) || !is_product(rw, before) || before->graph != product->graph ||
      ifd_value_n_readers(x) != 1 || ifd_node_int(product, "packed_input", 0))
    return IFD_OK;
  if (ifd_rw_rank(rw, x) < 3) return ifd_rw_refuse(rw, "its rows may be those of several samples");
  TRY(ifd_rw_add_like(rw, &first, before, before->inputs, before->n_inputs));
  TRY(ifd_node_set_int(ifd_rw_error(rw), first, "packed_output", 1));
  ifd_value **inputs;
  ALLOC(ifd_rw_error(rw), inputs,
        ifd_arena_memdup(ifd_rw_scratch(rw), product->inputs, (size_t)product->n_inputs * sizeof *inputs));
  inputs[0] = first->outputs[0];
  TRY(ifd_rw_add_like(rw, &second, product, inputs, product->n_inputs));
  TRY(ifd_node_set_int(ifd_rw_error(rw), second, "packed_input", 1));
  return ifd_rw_replace(rw, product->outputs[0], second->outputs[0]);
}

const ifd_pass ifd_pass_pack_rows = {
    .summary = "stores results of products in the order in which the next product reads them",
    .phase = IFD_PHASE_CHAIN,
    .rules = (const ifd_rule[]){{"infold.MatMul", IFD_EXACT, pack}, {0}},
};
