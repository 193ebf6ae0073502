#include "ops/shared/foreign.h"

#include <string.h>

enum { ALL = 1 << 30, NONE = -1 };

/* Output 0 is as an operator of ONNX makes it from some of the inputs: from `first` on every `step`-th, or
 * the two, or `count` in a row; its elements are of the type of input `typed`, or where that is absent
 * `otherwise`, or as the operator has them (NONE). Attributes have the same names in both, but for those in
 * `unless`: where one of them is set nothing is known. */
typedef struct stand_in {
  const char *name, *of;
  int first, step, count;
  int typed, otherwise;
  const char *unless;
} stand_in;

#define TURNED "transA transB transBatchA transBatchB"

static const stand_in stand_ins[] = {
    {"QLinearAdd", "Add", 0, 3, 2, 0, NONE, ""},
    {"QLinearMul", "Mul", 0, 3, 2, 0, NONE, ""},
    {"QLinearSigmoid", "Identity", 0, 1, 1, NONE, NONE, ""},
    {"QLinearLeakyRelu", "Identity", 0, 1, 1, NONE, NONE, ""},
    {"QLinearSoftmax", "Identity", 0, 1, 1, NONE, NONE, ""},
    {"QLinearConcat", "Concat", 2, 3, ALL, 1, NONE, ""},
    {"QLinearConv", "QLinearConv", 0, 1, 9, NONE, NONE, "channels_last"},
    {"QLinearGlobalAveragePool", "GlobalAveragePool", 0, 1, 1, 0, NONE, "channels_last"},
    {"QLinearAveragePool", "AveragePool", 0, 1, 1, 0, NONE, "channels_last"},
    {"QGemm", "Gemm", 0, 3, 2, 8, 1, ""},
    {"QuantizeLinear", "QuantizeLinear", 0, 1, 3, NONE, NONE, ""},
    {"DequantizeLinear", "DequantizeLinear", 0, 1, 3, NONE, NONE, ""},
    {"MatMulIntegerToFloat", "MatMul", 0, 1, 2, 2, NONE, ""},
    {"DynamicQuantizeMatMul", "MatMul", 0, 1, 2, 0, NONE, ""},
    {"FusedConv", "Conv", 0, 1, 2, NONE, NONE, ""},
    {"FusedGemm", "Gemm", 0, 1, 3, NONE, NONE, ""},
    {"FusedMatMul", "MatMul", 0, 1, 2, NONE, NONE, TURNED},
    {"TransposeMatMul", "MatMul", 0, 1, 2, NONE, NONE, TURNED},
    {"Gelu", "Identity", 0, 1, 1, NONE, NONE, ""},
    {"BiasGelu", "Identity", 0, 1, 1, NONE, NONE, ""},
    {"FastGelu", "Identity", 0, 1, 1, NONE, NONE, ""},
    {"QuickGelu", "Identity", 0, 1, 1, NONE, NONE, ""},
    {"RotaryEmbedding", "Identity", 0, 1, 1, NONE, NONE, ""},
    {"SkipLayerNormalization", "Identity", 0, 1, 1, NONE, NONE, ""},
    {"SkipSimplifiedLayerNormalization", "Identity", 0, 1, 1, NONE, NONE, ""},
    {"Affine", "Identity", 0, 1, 1, NONE, NONE, ""},
    {"ImageScaler", "Identity", 0, 1, 1, NONE, NONE, ""},
    {"ParametricSoftplus", "Identity", 0, 1, 1, NONE, NONE, ""},
    {"ScaledTanh", "Identity", 0, 1, 1, NONE, NONE, ""},
    {"ThresholdedRelu", "Identity", 0, 1, 1, NONE, NONE, ""},
};

static const stand_in *find(const ifd_node *node) {
  for (size_t i = 0; i < sizeof stand_ins / sizeof *stand_ins; i++)
    if (strcmp(stand_ins[i].name, node->op_type) == 0) return &stand_ins[i];
  return NULL;
}

/* Whether one of these is not 0, which is what it is where it is not given. */
static bool sets_any(const ifd_node *node, const char *attrs) {
  for (int i = 0; i < node->n_attrs; i++) {
    const char *name = node->attrs[i].name, *at = strstr(attrs, name);
    if (at && (at == attrs || at[-1] == ' ') && ifd_node_int(node, name, 1)) return true;
  }
  return false;
}

/* Gives the node, and what is known, those inputs that the operator of ONNX has. */
static ifd_status take_inputs(ifd_infer *y, ifd_node *node, const stand_in *s) {
  int n = 0, most = node->n_inputs;
  ifd_value **inputs;
  const ifd_type **in;
  const ifd_tensor **constant;
  const ifd_elements **elements;
  ALLOC(y->err, inputs, ifd_new_array(y->arena, ifd_value *, most));
  ALLOC(y->err, in, ifd_new_array(y->arena, const ifd_type *, most));
  ALLOC(y->err, constant, ifd_new_array(y->arena, const ifd_tensor *, most));
  ALLOC(y->err, elements, ifd_new_array(y->arena, const ifd_elements *, most));
  for (int i = s->first; i < most && n < s->count; i += s->step, n++) {
    inputs[n] = node->inputs[i];
    in[n] = y->in[i], constant[n] = y->constant[i], elements[n] = y->elements[i];
  }
  node->inputs = inputs;
  node->n_inputs = n;
  y->in = in, y->constant = constant, y->elements = elements;
  return IFD_OK;
}

static ifd_dtype type_of(const ifd_infer *x, const stand_in *s) {
  ifd_dtype t = s->typed < 0 ? IFD_UNDEFINED : ifd_infer_dtype(x, s->typed);
  return t || s->otherwise < 0 ? t : ifd_infer_dtype(x, s->otherwise);
}

static ifd_status retype(ifd_infer *x, ifd_dtype t) {
  const ifd_type *y = x->out[0];
  if (!t || y->kind != IFD_KIND_TENSOR) return IFD_OK;
  return y->has_rank ? ifd_infer_tensor(x, 0, t, y->rank, y->dims) : ifd_infer_unranked(x, 0, t);
}

/* A node that is wrong is for those to report who run it. */
static ifd_status infer_as(ifd_infer *x, const stand_in *s) {
  ifd_node node = *x->node;
  ifd_infer y = *x;
  node.op_type = s->of;
  node.domain = "";
  node.opset = ifd_graph_opset(x->node->graph, "");
  node.schema = ifd_schema_find("", s->of, node.opset);
  node.op = ifd_op_find("", s->of, node.opset);
  if (!node.op || !node.op->infer || !node.schema) return IFD_OK;
  TRY(take_inputs(&y, &node, s));
  y.node = &node;
  for (int i = 0; i < node.schema->min_inputs; i++)
    if (!ifd_node_has_input(&node, i)) return IFD_OK;
  ifd_status status = node.op->infer(&y);
  if (status == IFD_OK) return retype(x, type_of(x, s));
  x->out[0] = &ifd_type_unknown;
  if (status == IFD_NO_MEMORY) return status;
  ifd_error_clear(x->err);
  return IFD_OK;
}

ifd_status ifd_infer_foreign(ifd_infer *x) {
  const ifd_node *node = x->node;
  bool foreign = strcmp(node->domain, "com.microsoft") == 0 || (!*node->domain && !node->schema);
  const stand_in *s = foreign && node->n_outputs && !ifd_node_find_function(node) ? find(node) : NULL;
  return s && !sets_any(node, s->unless) && !ifd_node_is_open(node) ? infer_as(x, s) : IFD_OK;
}
