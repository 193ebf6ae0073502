#include "pass/linear.h"

/* W (a·x + b) + bias = (W·a) x + (W b + bias): BatchNormalization, and scales and shifts, go into the Conv,
 * ConvTranspose, Gemm or MatMul behind them. A shift cannot pass zero padding: the zeros around x are not
 * shifted. */

static ifd_status fold(ifd_rewrite *rw, ifd_node *node, const ifd_affine *f, const ifd_linear *l) {
  ifd_value *weight = l->node->inputs[1], *y;
  double *bias, *shift;
  TRY(ifd_linear_bias(rw, &bias, l));
  if (f->shifts) {
    TRY(ifd_linear_shift(rw, &shift, l, f->b, f->n));
    for (int64_t c = 0; c < l->out.n; c++) bias[c] += shift[c];
  }
  if (f->scales) TRY(ifd_linear_scale(rw, &weight, l, &l->in, f->a, f->n));
  if (!ifd_linear_fits(rw, l, weight, bias)) return IFD_OK;
  TRY(ifd_linear_rebuild(rw, &y, l, f->x, weight, bias));
  return ifd_rw_replace(rw, node->outputs[0], y);
}

static ifd_status fuse(ifd_rewrite *rw, ifd_node *node) {
  ifd_affine f;
  ifd_linear l;
  const char *why;
  ifd_node *before = node->inputs[0] ? node->inputs[0]->producer : NULL;
  if (!before || before->graph != node->graph || !ifd_linear_of(rw, node, &l, &why)) return IFD_OK;
  TRY(ifd_affine_chain(rw, before, &f, &why));
  if (!f.n_nodes) return IFD_OK;
  if (ifd_value_n_readers(node->inputs[0]) != 1)
    return ifd_rw_refuse(rw, "the %s before it is read by others too", before->op_type);
  if (f.shifts && l.pads)
    return ifd_rw_refuse(rw, "the shift of the %s before it cannot pass the zero padding", before->op_type);
  if (f.n > 1 && (f.axis != l.axis_in || f.n != l.in.n))
    return ifd_rw_refuse(rw, "the %s before it runs along another axis", before->op_type);
  if (!l.has_bias_input && f.shifts && f.n_nodes < 2 &&
      !ifd_rw_producer(node->inputs[0], "BatchNormalization"))
    return ifd_rw_refuse(rw, "MatMul has no bias to take the shift: an Add would be left, as now");
  return fold(rw, node, &f, &l);
}

const ifd_pass ifd_pass_fuse_bn_forward = {
    .summary = "folds BatchNormalization, Mul, Add, Sub, Div into the Conv, ConvTranspose, Gemm or "
               "MatMul behind",
    .phase = IFD_PHASE_FUSE,
    .rules = (const ifd_rule[]){{"Conv ConvTranspose Gemm MatMul", IFD_REASSOCIATES, fuse}, {0}},
};
