#include "pass/foreign.h"
#include "pass/ints.h"

/* com.microsoft.CDist, which scikit-learn's nearest neighbours and Gaussian processes become: the distances
 * of the rows of A from those of B, |a|² − 2·a·b + |b|², which rounding must not bring below 0, or their
 * roots. */

enum { SINCE = 7 }; /* of Gemm's broadcasting */

/* The sum of the squares of each row. */
static ifd_status add_squares(ifd_rewrite *rw, ifd_value **out, ifd_value *x, bool keeps) {
  const int64_t last = 1;
  ifd_node *sum;
  TRY(ifd_ints_add_node(rw, &sum, "ReduceSumSquare", x, "axes", &last, 1, 1));
  if (!keeps) TRY(ifd_node_set_int(ifd_rw_error(rw), sum, "keepdims", 0));
  *out = sum->outputs[0];
  return IFD_OK;
}

static ifd_status expand_distance(ifd_rewrite *rw, ifd_node *node) {
  bool squared = ifd_node_string_is(node, "metric", "sqeuclidean", "sqeuclidean");
  ifd_value *a2, *in[3], *y;
  ifd_node *product;
  if (!ifd_is_foreign(node, SINCE, 3)) return IFD_OK;
  if (!squared && !ifd_node_string_is(node, "metric", "sqeuclidean", "euclidean"))
    return ifd_rw_refuse(rw, "its metric is not known");
  in[0] = node->inputs[0];
  in[1] = node->inputs[1];
  TRY(add_squares(rw, &a2, in[0], true));
  TRY(add_squares(rw, &in[2], in[1], false));
  TRY(ifd_rw_add_node(rw, &product, "Gemm", in, 3, 1));
  TRY(ifd_node_set_float(ifd_rw_error(rw), product, "alpha", -2));
  TRY(ifd_node_set_int(ifd_rw_error(rw), product, "transB", 1));
  product->name = node->name;
  TRY(ifd_foreign_binary(rw, &y, "Add", product->outputs[0], a2));
  TRY(ifd_foreign_apply(rw, &y, "Relu", &y, 1));
  if (!squared) TRY(ifd_foreign_apply(rw, &y, "Sqrt", &y, 1));
  return ifd_rw_replace(rw, node->outputs[0], y);
}

const ifd_pass ifd_pass_expand_distance = {
    .summary = "writes com.microsoft's CDist as ONNX's own operators",
    .phase = IFD_PHASE_SIMPLIFY,
    .defines = true,
    .rules = (const ifd_rule[]){{"com.microsoft.CDist", IFD_REASSOCIATES, expand_distance}, {0}},
};
