#include "pass/quant.h"

/* Moving bytes is cheaper than moving floats: f(DequantizeLinear(x)) = DequantizeLinear(f(x)) where f moves
 * elements, or takes the greatest, and all of them have one scale. */

/* The same DequantizeLinear of other bytes. */
static ifd_status dequantize(ifd_rewrite *rw, ifd_node *old, const ifd_dequantized *x, ifd_value *q) {
  ifd_node *made;
  ifd_value *in[] = {q, x->scale, x->zero};
  TRY(ifd_rw_add_like(rw, &made, x->node, in, x->zero ? 3 : 2));
  return ifd_rw_replace(rw, old->outputs[0], made->outputs[0]);
}

/* Nobody else needs the floats before f, or bytes are asked for behind it. */
static bool pays(const ifd_node *node, const ifd_value *before) {
  static const char *const takers[] = {"QuantizeLinear", "Conv", "MatMul", "Gemm"};
  const ifd_node *reader = ifd_value_only_reader(node->outputs[0]);
  if (ifd_value_only_reader(before) == node) return true;
  for (size_t i = 0; reader && i < sizeof takers / sizeof *takers; i++)
    if (ifd_node_is(reader, takers[i])) return true;
  return false;
}

static ifd_status sink(ifd_rewrite *rw, ifd_node *node) {
  ifd_dequantized x;
  ifd_node *moved;
  ifd_value *inputs[8];
  if (node->n_inputs > 8 || !ifd_rw_dequantized_whole(rw, node->inputs[0], &x) ||
      !pays(node, node->inputs[0]) || ifd_rw_constant(rw, x.q))
    return IFD_OK;
  for (int i = 0; i < node->n_inputs; i++) inputs[i] = i ? node->inputs[i] : x.q;
  TRY(ifd_rw_add_like(rw, &moved, node, inputs, node->n_inputs));
  return dequantize(rw, node, &x, moved->outputs[0]);
}

static ifd_status sink_concat(ifd_rewrite *rw, ifd_node *node) {
  ifd_dequantized first = {0}, x;
  ifd_node *moved;
  ifd_value **inputs;
  ALLOC(ifd_rw_error(rw), inputs, ifd_new_array(ifd_rw_scratch(rw), ifd_value *, node->n_inputs));
  for (int i = 0; i < node->n_inputs; i++) {
    if (!ifd_rw_dequantized_whole(rw, node->inputs[i], &x)) return IFD_OK;
    if (i == 0) first = x;
    if (!ifd_rw_same_content(rw, x.scale, first.scale) || !ifd_rw_same_content(rw, x.zero, first.zero) ||
        ifd_rw_dtype(rw, x.q) != ifd_rw_dtype(rw, first.q))
      return IFD_OK;
    inputs[i] = x.q;
  }
  TRY(ifd_rw_add_like(rw, &moved, node, inputs, node->n_inputs));
  return dequantize(rw, node, &first, moved->outputs[0]);
}

/* A scale that is not negative keeps the order. */
static ifd_status sink_max_pool(ifd_rewrite *rw, ifd_node *node) {
  ifd_dequantized x;
  double scale;
  bool indices = ifd_node_has_output(node, 1) && ifd_value_n_readers(node->outputs[1]);
  int rank = ifd_rw_rank(rw, node->inputs[0]);
  if (indices || rank < 3 || rank > 5 || !ifd_rw_dequantized_whole(rw, node->inputs[0], &x) ||
      !ifd_rw_scalar(rw, x.scale, &scale) || !(scale > 0))
    return IFD_OK;
  return sink(rw, node);
}

const ifd_pass ifd_pass_sink_dequantize = {
    .summary = "moves bytes before they are dequantized",
    .phase = IFD_PHASE_INTEGER,
    .rules = (const ifd_rule[]){{"Reshape Flatten Squeeze Unsqueeze Transpose Slice Gather DepthToSpace "
                                 "SpaceToDepth Expand Tile",
                                 IFD_EXACT, sink},
                                {"Concat", IFD_EXACT, sink_concat},
                                {"MaxPool", IFD_EXACT, sink_max_pool},
                                {0}},
};
