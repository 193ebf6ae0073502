#include <string.h>

#include "pass/foreign.h"
#include "pass/quant.h"

/* Operators that ONNX Runtime's quantizer writes beside ONNX's own (domain com.microsoft) say in one word
 * what ONNX says in three: QLinearAdd is QuantizeLinear(Add(DequantizeLinear(a), DequantizeLinear(b))). As
 * these, any rule knows them; its QuantizeLinear and DequantizeLinear had types before ONNX's did. */

enum { SINCE = 10 }; /* of QuantizeLinear */

/* zero may be NULL */
static ifd_status real_of(ifd_rewrite *rw, ifd_value **out, ifd_value *q, ifd_value *scale, ifd_value *zero) {
  ifd_node *made;
  ifd_value *in[3] = {q, scale, zero};
  TRY(ifd_rw_add_node(rw, &made, "DequantizeLinear", in, zero ? 3 : 2, 1));
  *out = made->outputs[0];
  return IFD_OK;
}

static ifd_status dequantized(ifd_rewrite *rw, ifd_value **out, const ifd_node *node, int at) {
  return real_of(rw, out, ifd_node_input(node, at), ifd_node_input(node, at + 1),
                 ifd_node_input(node, at + 2));
}

static ifd_status quantized(ifd_rewrite *rw, ifd_node *node, ifd_value *v, int at) {
  ifd_node *made;
  ifd_value *in[3] = {v, ifd_node_input(node, at), ifd_node_input(node, at + 1)};
  TRY(ifd_rw_add_node(rw, &made, "QuantizeLinear", in, in[2] ? 3 : 2, 1));
  return ifd_rw_replace(rw, node->outputs[0], made->outputs[0]);
}

static const char *float_name(const ifd_node *node) { return node->op_type + strlen("QLinear"); }

/* a, its scale and zero point, b, …, those of the result */
static ifd_status expand_binary(ifd_rewrite *rw, ifd_node *node) {
  ifd_value *in[2];
  ifd_node *made;
  if (!ifd_is_foreign(node, SINCE, 0x5b)) return IFD_OK;
  for (int i = 0; i < 2; i++) TRY(dequantized(rw, &in[i], node, 3 * i));
  TRY(ifd_foreign_add(rw, &made, node, float_name(node), in, 2, 1));
  return quantized(rw, node, made->outputs[0], 6);
}

static ifd_status expand_unary(ifd_rewrite *rw, ifd_node *node) {
  ifd_value *in;
  ifd_node *made;
  if (!ifd_is_foreign(node, SINCE, 0xb)) return IFD_OK;
  int rank = ifd_node_int(node, "channels_last", 0) ? ifd_rw_rank(rw, node->inputs[0]) : 0;
  if (rank < 0) return ifd_rw_refuse(rw, "its channels are last, and its rank is not known");
  TRY(dequantized(rw, &in, node, 0));
  if (rank) TRY(ifd_rw_channels_first(rw, &in, in, rank));
  TRY(ifd_foreign_add(rw, &made, node, float_name(node), &in, 1, 1));
  in = made->outputs[0];
  if (rank) TRY(ifd_rw_channels_last(rw, &in, in, rank));
  return quantized(rw, node, in, 3);
}

/* Operators of images of bytes that are ONNX's but for their channels, which are last. */
static ifd_status expand_image(ifd_rewrite *rw, ifd_node *node) {
  bool max_pool = strcmp(node->op_type, "NhwcMaxPool") == 0;
  bool last = max_pool || ifd_node_int(node, "channels_last", 0);
  ifd_value **in, *y;
  ifd_node *made;
  if (!ifd_is_foreign(node, max_pool ? 12 : SINCE, max_pool ? 1 : 0xff)) return IFD_OK;
  int rank = ifd_rw_rank(rw, node->inputs[0]);
  if (last && rank < 3) return ifd_rw_refuse(rw, "its channels are last, and its rank is not known");
  ALLOC(ifd_rw_error(rw), in, ifd_new_array(ifd_rw_scratch(rw), ifd_value *, node->n_inputs));
  memcpy(in, node->inputs, (size_t)node->n_inputs * sizeof *in);
  if (last) TRY(ifd_rw_channels_first(rw, &in[0], in[0], rank));
  TRY(ifd_foreign_add(rw, &made, node, max_pool ? "MaxPool" : node->op_type, in, node->n_inputs, 1));
  y = made->outputs[0];
  if (last) TRY(ifd_rw_channels_last(rw, &y, y, rank));
  return ifd_rw_replace(rw, node->outputs[0], y);
}

/* Attribute opset says which Softmax is meant: before 13 it took all axes from its own on as one. */
static ifd_status expand_softmax(ifd_rewrite *rw, ifd_node *node) {
  ifd_value *in;
  ifd_node *made;
  if (!ifd_is_foreign(node, SINCE, 0xb)) return IFD_OK;
  int rank = ifd_rw_rank(rw, node->inputs[0]);
  bool one_axis = ifd_node_int(node, "opset", 0) >= 13, is_new = ifd_rw_opset(node) >= 13;
  int64_t axis = ifd_node_int(node, "axis", one_axis ? -1 : 1);
  if (one_axis != is_new && axis != -1 && (rank < 0 || axis != rank - 1))
    return ifd_rw_refuse(rw, "it is the Softmax of another opset");
  TRY(dequantized(rw, &in, node, 0));
  TRY(ifd_foreign_add(rw, &made, node, "Softmax", &in, 1, 1));
  TRY(ifd_node_set_int(ifd_rw_error(rw), made, "axis", axis));
  return quantized(rw, node, made->outputs[0], 3);
}

/* a condition, then a, its scale and zero point, b, …, those of the result */
static ifd_status expand_where(ifd_rewrite *rw, ifd_node *node) {
  ifd_value *in[3] = {node->inputs[0]};
  ifd_node *made;
  if (!ifd_is_foreign(node, SINCE, 0xb7)) return IFD_OK;
  for (int i = 0; i < 2; i++) TRY(dequantized(rw, &in[1 + i], node, 1 + 3 * i));
  TRY(ifd_foreign_add(rw, &made, node, float_name(node), in, 3, 1));
  return quantized(rw, node, made->outputs[0], 7);
}

/* ONNX's own have 8-bit integers from opset 10 on, an axis from 13, all else from 21; a session takes them
 * anywhere. */
static bool is_standard(ifd_rewrite *rw, const ifd_node *node) {
  const ifd_value *q = strcmp(node->op_type, "QuantizeLinear") == 0 ? node->outputs[0] : node->inputs[0];
  int opset = ifd_rw_opset(node);
  bool whole = ifd_rw_rank(rw, node->inputs[1]) == 0 || opset >= 13;
  return opset >= 21 || ifd_rw_for_running(rw) ||
         (ifd_dtype_is_byte(ifd_rw_dtype(rw, q)) && ifd_rw_dtype(rw, node->inputs[1]) == IFD_FLOAT && whole &&
          !ifd_node_int(node, "block_size", 0));
}

static ifd_status expand_same(ifd_rewrite *rw, ifd_node *node) {
  ifd_node *made;
  if (!ifd_is_foreign(node, SINCE, 3)) return IFD_OK;
  if (!is_standard(rw, node)) return ifd_rw_refuse(rw, "ONNX's own has these types from opset 21 on");
  TRY(ifd_foreign_add(rw, &made, node, node->op_type, node->inputs, node->n_inputs, 1));
  if (made->opset < 21 && ifd_rw_for_running(rw))
    made->opset = 21, made->schema = ifd_schema_find("", made->op_type, made->opset);
  TRY(ifd_foreign_keep(rw, made, node));
  return ifd_rw_replace(rw, node->outputs[0], made->outputs[0]);
}

/* Whether there are n parts, each with its scale. */
static bool has_parts(const ifd_node *node, int n) {
  for (int i = 0; i < n; i++)
    if (!ifd_node_has_input(node, 2 + 3 * i) || !ifd_node_has_input(node, 3 + 3 * i)) return false;
  return n > 0 && node->n_inputs == 3 * n + 2;
}

/* scale and zero point of the result, then three inputs for each part */
static ifd_status expand_concat(ifd_rewrite *rw, ifd_node *node) {
  ifd_value **in;
  ifd_node *made;
  int n = (node->n_inputs - 2) / 3;
  if (!ifd_is_foreign(node, SINCE, 1) || !has_parts(node, n)) return IFD_OK;
  ALLOC(ifd_rw_error(rw), in, ifd_new_array(ifd_rw_scratch(rw), ifd_value *, n));
  for (int i = 0; i < n; i++) TRY(dequantized(rw, &in[i], node, 2 + 3 * i));
  TRY(ifd_foreign_add(rw, &made, node, "Concat", in, n, 1));
  return quantized(rw, node, made->outputs[0], 0);
}

/* An int32 bias has the scale of the products: alpha * a_scale * b_scale[j]. */
static ifd_status real_bias(ifd_rewrite *rw, ifd_value **out, const ifd_node *node, double alpha) {
  enum { A_SCALE = 1, B_SCALE = 4, C = 6 };
  const ifd_tensor *c = ifd_rw_constant(rw, ifd_node_input(node, C)),
                   *s = ifd_rw_constant(rw, node->inputs[B_SCALE]);
  ifd_tensor t;
  double a_scale;
  *out = NULL;
  if (!c || !s || !ifd_rw_scalar(rw, node->inputs[A_SCALE], &a_scale)) return IFD_OK;
  int64_t n = ifd_tensor_count(c), n_scales = ifd_tensor_count(s);
  if (n_scales != 1 && n_scales != n) return IFD_OK;
  TRY(ifd_tensor_new(ifd_rw_error(rw), &t, ifd_rw_arena(rw), IFD_FLOAT, &c->shape));
  for (int64_t i = 0; i < n; i++)
    ifd_tensor_set_f64(
        &t, i, ifd_tensor_get_f64(c, i) * alpha * a_scale * ifd_tensor_get_f64(s, n_scales == 1 ? 0 : i));
  return ifd_rw_add_constant(rw, out, &t, ifd_node_input(node, C)->name);
}

static ifd_status expand_gemm(ifd_rewrite *rw, ifd_node *node) {
  enum { A, B = 3, B_SCALE, C = 6, Y_SCALE };
  ifd_value *in[3] = {NULL};
  ifd_node *made;
  if (!ifd_is_foreign(node, SINCE, 0x1b)) return IFD_OK;
  if (ifd_node_has_input(node, C)) {
    TRY(real_bias(rw, &in[2], node, ifd_node_float(node, "alpha", 1)));
    if (!in[2]) return ifd_rw_refuse(rw, "the bias or its scale is not constant");
  }
  bool by_column =
      ifd_rw_rank(rw, node->inputs[B_SCALE]) == 1 && ifd_rw_dim(rw, node->inputs[B_SCALE], 0) != 1;
  if (by_column && ifd_rw_opset(node) < 13)
    return ifd_rw_refuse(rw, "before opset 13 DequantizeLinear has one scale");
  TRY(dequantized(rw, &in[0], node, A));
  TRY(dequantized(rw, &in[1], node, B));
  if (by_column)
    TRY(ifd_node_set_int(ifd_rw_error(rw), in[1]->producer, "axis", !ifd_node_int(node, "transB", 0)));
  TRY(ifd_foreign_add(rw, &made, node, "Gemm", in, in[2] ? 3 : 2, 1));
  if (ifd_node_has_input(node, Y_SCALE)) return quantized(rw, node, made->outputs[0], Y_SCALE);
  return ifd_rw_replace(rw, node->outputs[0], made->outputs[0]);
}

/* MatMul of a real A and of B, quantized as a whole or by columns, and the bias: inputs at
 * these places. */
static ifd_status expand_product(ifd_rewrite *rw, ifd_node *node, ifd_value *a, int b_scale, int b_zero,
                                 int bias) {
  ifd_value *in[2] = {a}, *zero = ifd_node_input(node, b_zero), *c = ifd_node_input(node, bias);
  ifd_node *made;
  TRY(real_of(rw, &in[1], node->inputs[1], node->inputs[b_scale], zero));
  TRY(ifd_foreign_add(rw, &made, node, "MatMul", in, 2, 1));
  if (c) TRY(ifd_rw_add_node(rw, &made, "Add", (ifd_value *[]){made->outputs[0], c}, 2, 1));
  return ifd_rw_replace(rw, node->outputs[0], made->outputs[0]);
}

/* One scale of rank 0, or, from opset 13 on, one for each column of a matrix, whose axis is 1 as
 * DequantizeLinear's is where it says none; zero points likewise. */
static bool is_scale(ifd_rewrite *rw, const ifd_value *q, const ifd_value *scale, const ifd_value *zero) {
  int rank = ifd_rw_rank(rw, scale);
  bool fits =
      rank == 0 || (rank == 1 && ifd_rw_rank(rw, q) == 2 && ifd_rw_dim(rw, scale, 0) == ifd_rw_dim(rw, q, 1));
  return fits && (!zero || ifd_rw_rank(rw, zero) == rank);
}

static ifd_status expand_matmul(ifd_rewrite *rw, ifd_node *node) {
  enum { A, B, A_SCALE, B_SCALE, A_ZERO, B_ZERO, BIAS };
  ifd_value *a;
  if (!ifd_is_foreign(node, SINCE, 0xf)) return IFD_OK;
  ifd_value *a_zero = ifd_node_input(node, A_ZERO);
  if (ifd_rw_opset(node) < 13 || ifd_rw_rank(rw, node->inputs[A_SCALE]) != 0 ||
      (a_zero && ifd_rw_rank(rw, a_zero) != 0) ||
      !is_scale(rw, node->inputs[B], node->inputs[B_SCALE], ifd_node_input(node, B_ZERO)))
    return ifd_rw_refuse(rw, "its scales are not such as DequantizeLinear has");
  TRY(real_of(rw, &a, node->inputs[A], node->inputs[A_SCALE], a_zero));
  return expand_product(rw, node, a, B_SCALE, B_ZERO, BIAS);
}

static ifd_status expand_dynamic_matmul(ifd_rewrite *rw, ifd_node *node) {
  enum { A, B, B_SCALE, B_ZERO, BIAS };
  ifd_value *a;
  ifd_node *made;
  if (!ifd_is_foreign(node, SINCE, 7)) return IFD_OK;
  if (ifd_rw_opset(node) < 13 ||
      !is_scale(rw, node->inputs[B], node->inputs[B_SCALE], ifd_node_input(node, B_ZERO)))
    return ifd_rw_refuse(rw, "its scales are not such as DequantizeLinear has");
  TRY(ifd_rw_add_node(rw, &made, "DynamicQuantizeLinear", &node->inputs[A], 1, 3));
  TRY(real_of(rw, &a, made->outputs[0], made->outputs[1], made->outputs[2]));
  return expand_product(rw, node, a, B_SCALE, B_ZERO, BIAS);
}

const ifd_pass ifd_pass_expand_qlinear = {
    .summary = "writes quantized operators of ONNX Runtime's own as ONNX's, between Q and DQ",
    .phase = IFD_PHASE_SIMPLIFY,
    .defines = true,
    .rules =
        (const ifd_rule[]){
            {"com.microsoft.QLinearAdd com.microsoft.QLinearMul", IFD_EXACT, expand_binary},
            {"com.microsoft.QLinearGlobalAveragePool com.microsoft.QLinearAveragePool "
             "com.microsoft.QLinearSigmoid com.microsoft.QLinearLeakyRelu",
             IFD_EXACT, expand_unary},
            {"com.microsoft.QLinearConv com.microsoft.NhwcMaxPool", IFD_EXACT, expand_image},
            {"com.microsoft.QLinearSoftmax", IFD_EXACT, expand_softmax},
            {"com.microsoft.QLinearWhere", IFD_EXACT, expand_where},
            {"com.microsoft.QuantizeLinear com.microsoft.DequantizeLinear", IFD_EXACT, expand_same},
            {"com.microsoft.QLinearConcat", IFD_EXACT, expand_concat},
            {"com.microsoft.QGemm", IFD_EXACT, expand_gemm},
            {"com.microsoft.MatMulIntegerToFloat", IFD_EXACT, expand_matmul},
            {"com.microsoft.DynamicQuantizeMatMul", IFD_EXACT, expand_dynamic_matmul},
            {0}},
};
