
#include "pass/pass.h"

/* com.microsoft.DynamicQuantizeLSTM runs on the kernels of LSTM: X passes through DynamicQuantizeLinear and
 * back, W and R become floats in ONNX's order, and infold.LSTM does to H in each step what was done to X. */

enum { X, W, R, B, LENGTHS, INITIAL_H, INITIAL_C, P, W_SCALE, W_ZERO, R_SCALE, R_ZERO, N_INPUTS };

/* [directions, columns, rows] of bytes to [directions, rows, columns] of floats; *out stays NULL where what
 * is needed is not constant or does not fit. */
static ifd_status real_weights(ifd_rewrite *rw, ifd_value **out, const ifd_node *node, int at, int scale_at) {
  const ifd_tensor *q = ifd_rw_constant(rw, ifd_node_input(node, at)),
                   *s = ifd_rw_constant(rw, ifd_node_input(node, scale_at)),
                   *z = ifd_rw_constant(rw, ifd_node_input(node, scale_at + 1));
  ifd_tensor t;
  if (!q || !s || !ifd_dtype_is_byte(q->dtype) || q->shape.rank != 3) return IFD_OK;
  const int64_t directions = q->shape.dim[0], columns = q->shape.dim[1], rows = q->shape.dim[2];
  const int64_t n = ifd_tensor_count(s);
  if ((n != directions && n != directions * rows) ||
      (z ? ifd_tensor_count(z) != n : ifd_node_has_input(node, scale_at + 1)))
    return IFD_OK;
  TRY(ifd_tensor_new(ifd_rw_error(rw), &t, ifd_rw_arena(rw), IFD_FLOAT,
                     &(ifd_shape){3, {directions, rows, columns}}));
  for (int64_t i = 0; i < ifd_tensor_count(q); i++) {
    int64_t d = i / (columns * rows), c = i / rows % columns, r = i % rows,
            p = n == directions ? d : d * rows + r;
    double zero = z ? ifd_tensor_get_f64(z, p) : 0;
    ifd_tensor_set_f64(&t, (d * rows + r) * columns + c,
                       (ifd_tensor_get_f64(q, i) - zero) * ifd_tensor_get_f64(s, p));
  }
  return ifd_rw_add_constant(rw, out, &t, node->inputs[at]->name);
}

static ifd_status through_bytes(ifd_rewrite *rw, ifd_value **out, ifd_value *x) {
  ifd_node *q, *real;
  TRY(ifd_rw_add_node(rw, &q, "DynamicQuantizeLinear", &x, 1, 3));
  TRY(ifd_rw_add_node(rw, &real, "DequantizeLinear", q->outputs, 3, 1));
  *out = real->outputs[0];
  return IFD_OK;
}

static ifd_status apply(ifd_rewrite *rw, ifd_node *node) {
  ifd_value *in[P + 1] = {NULL};
  ifd_node *made;
  bool local = ifd_node_find_function(node);
  if (local || ifd_rw_opset(node) < 11 || node->n_inputs <= R_SCALE) return IFD_OK;
  if (ifd_node_has_input(node, LENGTHS))
    return ifd_rw_refuse(rw, "X beyond the longest sequence has no part in its range");
  for (int i = B; i <= P; i++) in[i] = ifd_node_input(node, i);
  TRY(real_weights(rw, &in[W], node, W, W_SCALE));
  TRY(real_weights(rw, &in[R], node, R, R_SCALE));
  if (!in[W] || !in[R]) return ifd_rw_refuse(rw, "its weights are not constant");
  TRY(through_bytes(rw, &in[X], node->inputs[X]));
  TRY(ifd_rw_add_node(rw, &made, "infold.LSTM", in, P + 1, node->n_outputs));
  made->name = node->name;
  for (int i = 0; i < node->n_attrs; i++) TRY(ifd_node_set_attr(ifd_rw_error(rw), made, &node->attrs[i]));
  for (int i = 0; i < node->n_outputs; i++)
    if (node->outputs[i]) TRY(ifd_rw_replace(rw, node->outputs[i], made->outputs[i]));
  return IFD_OK;
}

const ifd_pass ifd_pass_fuse_quantized_lstm = {
    .summary = "runs dynamically quantized LSTMs by the kernels of LSTM",
    .phase = IFD_PHASE_INTEGER,
    .rules = (const ifd_rule[]){{"com.microsoft.DynamicQuantizeLSTM", IFD_REASSOCIATES, apply}, {0}},
};
