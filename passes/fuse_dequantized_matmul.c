#include "pass/quant.h"

/* Products with large constant matrices of integers or 16-bit floats read them as they are, which takes a
 * fraction of the memory and of the time to read it: MatMul(a, DequantizeLinear(b)) → infold.MatMul(a, b),
 * and so of a Cast, with the same bits. */

static ifd_status fuse(ifd_rewrite *rw, ifd_node *node) {
  ifd_narrow_product p;
  ifd_node *fused;
  if (!ifd_rw_narrow_product(rw, node, &p)) return IFD_OK;
  ifd_value *in[] = {node->inputs[0], p.q, p.bias, NULL, p.scale, p.zero};
  TRY(ifd_rw_add_node(rw, &fused, "infold.MatMul", in, p.zero ? 6 : p.scale ? 5 : p.bias ? 3 : 2, 1));
  fused->name = node->name;
  TRY(ifd_node_set_int(ifd_rw_error(rw), fused, "transB", p.turned));
  TRY(ifd_node_set_int(ifd_rw_error(rw), fused, "block_size", p.block));
  return ifd_rw_replace(rw, node->outputs[0], fused->outputs[0]);
}

const ifd_pass ifd_pass_fuse_dequantized_matmul = {
    .summary = "multiplies by large constant matrices of integers and 16-bit floats as they are",
    .phase = IFD_PHASE_PLAN,
    .rules = (const ifd_rule[]){{"MatMul Gemm", IFD_EXACT, fuse}, {0}},
};
