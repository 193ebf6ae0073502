#include "pass/carry.h"
#include "pass/linear.h"

/* a·(W x + bias) + b = (a·W) x + (a·bias + b): BatchNormalization, and scales and shifts written as Mul, Add,
 * Sub or Div, go into the Conv, ConvTranspose, Gemm or MatMul before them, also through what rearranges or
 * pools what these make. Computed in double, rounded once. */

/* Takes the map back through what carries it, if that ends behind a linear operator. Rows of a MatMul are
 * fuse_bn_view's: it makes one Gemm of all. */
static ifd_status go_back(ifd_rewrite *rw, const ifd_node *last, ifd_affine *f, ifd_carriers *between) {
  ifd_affine carried = *f;
  ifd_linear l;
  const char *why;
  TRY(ifd_carriers_find(rw, last, &carried, between));
  ifd_node *node = between->n ? carried.x->producer : NULL;
  bool found = node && node->graph == last->graph && ifd_linear_of(rw, node, &l, &why) &&
               (l.has_bias_input || ifd_rw_rank(rw, carried.x) == ifd_rw_rank(rw, f->x));
  if (found)
    *f = carried;
  else
    between->n = 0;
  return IFD_OK;
}

static ifd_status fuse(ifd_rewrite *rw, ifd_node *last) {
  ifd_affine f;
  ifd_linear l;
  ifd_carriers between = {0};
  const char *why;
  TRY(ifd_affine_chain(rw, last, &f, &why));
  if (!f.n_nodes) return why ? ifd_rw_refuse(rw, "%s", why) : IFD_OK;
  bool goes_on;
  TRY(ifd_affine_goes_on(rw, last, &goes_on));
  if (goes_on) return IFD_OK;
  ifd_node *before = f.x->producer;
  if (!before || before->graph != last->graph)
    return f.n_bn ? ifd_rw_refuse(rw, "nothing computes its input: it is an input of the graph") : IFD_OK;
  if (!ifd_linear_of(rw, before, &l, &why) && !why) TRY(go_back(rw, last, &f, &between));
  if (between.n) before = f.x->producer;
  if (!ifd_linear_of(rw, before, &l, &why)) {
    if (why) return ifd_rw_refuse(rw, "%s before it: %s", before->op_type, why);
    return f.n_bn ? ifd_rw_refuse(rw, "its input comes from %s, which has no weights to fold into",
                                  before->op_type)
                  : IFD_OK;
  }
  if (ifd_value_n_readers(f.x) != 1)
    return ifd_rw_refuse(rw, "the result of %s '%s' is read by others too, or is an output of the graph",
                         before->op_type, before->name);
  if (f.n > 1 && (f.axis != l.axis_out || f.n != l.out.n))
    return ifd_rw_refuse(rw, "it runs along another axis than the channels of %s '%s'", before->op_type,
                         before->name);
  if (!l.has_bias_input && f.n_nodes < 2 && f.shifts &&
      !(f.n_bn && f.n_nodes == 1 && !between.n && ifd_rw_rank(rw, f.x) == 2))
    return ifd_rw_refuse(rw, "MatMul has no bias to take the shift: an Add would be left, as now");
  ifd_value *y;
  TRY(ifd_linear_fold(rw, &y, &l, &f));
  if (!y) return IFD_OK;
  TRY(ifd_carriers_rebuild(rw, &y, &between, y));
  return ifd_rw_replace(rw, last->outputs[0], y);
}

const ifd_pass ifd_pass_fuse_bn = {
    .summary = "folds BatchNormalization, Mul, Add, Sub, Div, Neg into the Conv, ConvTranspose, Gemm or "
               "MatMul before",
    .phase = IFD_PHASE_FUSE,
    .rules = (const ifd_rule[]){{"BatchNormalization Mul Add Sub Div Neg", IFD_REASSOCIATES, fuse}, {0}},
};
