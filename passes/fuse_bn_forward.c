#include "pass/carry.h"
#include "pass/linear.h"

/* W (a·x + b) + bias = (W·a) x + (W b + bias): BatchNormalization, and scales and shifts, go into the Conv,
 * ConvTranspose, Gemm or MatMul behind them, also through what rearranges or pools in between. A shift cannot
 * pass zero padding: the zeros around x are not shifted. */

static ifd_status fold(ifd_rewrite *rw, ifd_node *node, const ifd_affine *f, const ifd_linear *l,
                       const ifd_carriers *between) {
  ifd_value *weight = l->node->inputs[1], *x, *y;
  double *bias, *shift;
  TRY(ifd_linear_bias(rw, &bias, l));
  if (f->shifts) {
    TRY(ifd_linear_shift(rw, &shift, l, f->b, f->n));
    for (int64_t c = 0; c < l->out.n; c++) bias[c] += shift[c];
  }
  if (f->scales) TRY(ifd_linear_scale(rw, &weight, l, &l->in, f->a, f->n));
  if (!ifd_linear_fits(rw, l, weight, bias)) return IFD_OK;
  TRY(ifd_carriers_rebuild(rw, &x, between, f->x));
  TRY(ifd_linear_rebuild(rw, &y, l, x, weight, bias));
  return ifd_rw_replace(rw, node->outputs[0], y);
}

/* The map before `node`, as it is behind what stands between the two; *read is what it makes. */
static ifd_status find_map(ifd_rewrite *rw, const ifd_node *node, ifd_affine *f, ifd_carriers *between,
                           ifd_value **read) {
  ifd_value *v = node->inputs[0];
  const char *ignored;
  bool carried = true;
  *f = (ifd_affine){0};
  for (between->n = 0; v && v->producer && v->producer->graph == node->graph; v = v->producer->inputs[0]) {
    TRY(ifd_affine_chain(rw, v->producer, f, &ignored));
    if (f->n_nodes || !ifd_is_carrier(v->producer) || ifd_value_n_readers(v) != 1) break;
    if (between->n == IFD_MOST_CARRIERS) break;
    between->nodes[between->n++] = v->producer;
  }
  ifd_value *x = f->x;
  for (int i = between->n - 1; i >= 0 && f->n_nodes && carried; i--)
    TRY(ifd_carry_on(rw, between->nodes[i], f, f, &carried));
  if (!carried) f->n_nodes = 0;
  f->x = x;
  *read = v;
  return IFD_OK;
}

static ifd_status fuse(ifd_rewrite *rw, ifd_node *node) {
  ifd_affine f;
  ifd_linear l;
  ifd_carriers between;
  ifd_value *read;
  const char *why;
  if (!node->inputs[0] || !ifd_linear_of(rw, node, &l, &why)) return IFD_OK;
  TRY(find_map(rw, node, &f, &between, &read));
  if (!f.n_nodes) return IFD_OK;
  const ifd_node *before = read->producer;
  if (ifd_value_n_readers(read) != 1)
    return ifd_rw_refuse(rw, "the %s before it is read by others too", before->op_type);
  if (f.shifts && l.pads)
    return ifd_rw_refuse(rw, "the shift of the %s before it cannot pass the zero padding", before->op_type);
  if (f.n > 1 && (f.axis != l.axis_in || f.n != l.in.n))
    return ifd_rw_refuse(rw, "the %s before it runs along another axis", before->op_type);
  if (!l.has_bias_input && f.shifts && f.n_nodes < 2 && !f.n_bn)
    return ifd_rw_refuse(rw, "MatMul has no bias to take the shift: an Add would be left, as now");
  return fold(rw, node, &f, &l, &between);
}

const ifd_pass ifd_pass_fuse_bn_forward = {
    .summary = "folds BatchNormalization, Mul, Add, Sub, Div into the Conv, ConvTranspose, Gemm or "
               "MatMul behind",
    .phase = IFD_PHASE_FUSE,
    .rules = (const ifd_rule[]){{"Conv ConvTranspose Gemm MatMul", IFD_REASSOCIATES, fuse}, {0}},
};
