#include "pass/match.h"
#include "pass/quant.h"

/* Products of quantized matrices run on integers (ops/quantized.c):
 * QuantizeLinear(MatMul(DequantizeLinear(a), DequantizeLinear(b))) → infold.QMatMul(a, b), and Gemm likewise.
 * A bias, a clip and the quantization that follow are done with it; a result that is not quantized stays
 * float. */

enum { X, X_SCALE, X_ZERO, W, W_SCALE, W_ZERO, Y_SCALE, Y_ZERO, BIAS, N_INPUTS, MOST_TERMS = 1 << 15 };

static bool few_terms(ifd_dim k) { return ifd_dim_is_number(k) && k >= 1 && k <= MOST_TERMS; }

/* Both operands, b with one scale or one for each column. */
static bool operands(ifd_rewrite *rw, const ifd_node *node, bool trans_b, ifd_value **in) {
  ifd_dequantized x, w;
  if (!ifd_rw_dequantized_whole(rw, node->inputs[0], &x) || !ifd_rw_dequantized(rw, node->inputs[1], &w))
    return false;
  int ra = ifd_rw_rank(rw, x.q), rb = ifd_rw_rank(rw, w.q);
  bool whole = ifd_rw_is_one(rw, w.scale) && ifd_rw_is_one(rw, w.zero);
  if (ra < 2 || rb < 2 || (!whole && (rb != 2 || !ifd_rw_scales_along(rw, &w, trans_b ? 0 : 1))))
    return false;
  ifd_value *all[] = {x.q, x.scale, x.zero, w.q, w.scale, w.zero};
  for (int i = X; i <= W_ZERO; i++) in[i] = all[i];
  return few_terms(ifd_rw_dim(rw, x.q, ra - 1)) || few_terms(ifd_rw_dim(rw, w.q, trans_b ? rb - 1 : rb - 2));
}

/* The Add of a bias that alone reads the product takes part. */
static void take_bias(ifd_rewrite *rw, const ifd_node *node, ifd_value **in, ifd_value **result) {
  const ifd_node *add = ifd_value_only_reader(node->outputs[0]);
  if (!add || !ifd_node_is(add, "Add") || add->opset < 7 || add->graph != node->graph) return;
  ifd_value *bias = add->inputs[add->inputs[0] == node->outputs[0]];
  if (bias == node->outputs[0] || !ifd_made_before(bias, node) || !ifd_rw_is_row(rw, bias, node->outputs[0]))
    return;
  in[BIAS] = bias;
  *result = add->outputs[0];
}

static ifd_status fuse(ifd_rewrite *rw, ifd_node *node) {
  ifd_value *in[N_INPUTS] = {NULL}, *result = node->outputs[0];
  bool trans_b = ifd_node_int(node, "transB", 0) != 0;
  ifd_requantized r;
  ifd_node *fused;
  if (!operands(rw, node, trans_b, in)) return IFD_OK;
  if (!ifd_rw_is_product(rw, node))
    return ifd_rw_refuse(rw, "it transposes A, has factors, or its C is not one row");
  in[BIAS] = ifd_node_input(node, 2);
  if (!in[BIAS]) take_bias(rw, node, in, &result);
  TRY(ifd_rw_requantized(rw, result, &r));
  in[Y_SCALE] = r.scale, in[Y_ZERO] = r.zero;
  TRY(ifd_rw_add_node(rw, &fused, "infold.QMatMul", in, N_INPUTS, 1));
  fused->name = node->name;
  if (trans_b) TRY(ifd_node_set_int(ifd_rw_error(rw), fused, "transB", 1));
  TRY(ifd_rw_set_clip(rw, fused, &r));
  return ifd_rw_replace(rw, r.result, fused->outputs[0]);
}

const ifd_pass ifd_pass_fuse_quantized_matmul = {
    .summary = "runs products of quantized matrices on integers",
    .phase = IFD_PHASE_INTEGER,
    .rules = (const ifd_rule[]){{"MatMul Gemm", IFD_REASSOCIATES, fuse}, {0}},
};
