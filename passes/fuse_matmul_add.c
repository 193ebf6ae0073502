#include "pass/match.h"

/* MatMul of matrices and Add of a row is Gemm. */

static ifd_status fuse(ifd_rewrite *rw, ifd_node *add) {
  for (int side = 0; side < 2 && add->n_inputs == 2 && add->opset >= 7; side++) {
    ifd_node *product = ifd_rw_sole_producer(add->inputs[side], "MatMul"), *gemm;
    ifd_value *c = add->inputs[1 - side];
    if (!product) continue;
    if (ifd_rw_rank(rw, product->inputs[0]) != 2 || ifd_rw_rank(rw, product->inputs[1]) != 2)
      return ifd_rw_refuse(rw, "Gemm multiplies matrices; the MatMul before has other ranks");
    if (!ifd_rw_is_row(rw, c, product->outputs[0])) return ifd_rw_refuse(rw, "what is added is not one row");
    TRY(ifd_rw_add_node(rw, &gemm, "Gemm", (ifd_value *[]){product->inputs[0], product->inputs[1], c}, 3, 1));
    gemm->name = product->name;
    return ifd_rw_replace(rw, add->outputs[0], gemm->outputs[0]);
  }
  return IFD_OK;
}

const ifd_pass ifd_pass_fuse_matmul_add = {
    .summary = "makes Gemm of MatMul and Add of a row",
    .phase = IFD_PHASE_FUSE,
    .rules = (const ifd_rule[]){{"Add", IFD_REASSOCIATES, fuse}, {0}},
};
