#include <string.h>

#include "pass/foreign.h"
#include "pass/order.h"

/* Operators that ONNX Runtime's optimizer makes of several of ONNX's (domain com.microsoft, a few of them
 * in its own name for ai.onnx) are written as these again: then any rule knows them. */

enum { SINCE = 7 }; /* of broadcasting */

static bool is_called(const ifd_node *node, const char *op_type) {
  return strcmp(node->op_type, op_type) == 0;
}

/* ---- activations ---- */

static ifd_status expand_gelu(ifd_rewrite *rw, ifd_node *node) {
  bool quick = is_called(node, "QuickGelu"), offered;
  ifd_value *x;
  ifd_node *made;
  if (!ifd_is_foreign(node, SINCE, 1)) return IFD_OK;
  TRY(ifd_foreign_offer(rw, &offered, node, quick ? "Swish" : "Gelu"));
  if (!offered) return IFD_OK;
  TRY(ifd_foreign_binary(rw, &x, "Add", node->inputs[0], ifd_node_input(node, 1)));
  TRY(ifd_rw_add_node(rw, &made, quick ? "Swish" : "Gelu", &x, 1, 1));
  made->name = node->name;
  if (quick)
    TRY(ifd_node_set_float(ifd_rw_error(rw), made, "alpha", ifd_node_float(node, "alpha", 1.702f)));
  else if (is_called(node, "FastGelu"))
    TRY(ifd_node_set_string(ifd_rw_error(rw), made, "approximate", "tanh"));
  return ifd_rw_replace(rw, node->outputs[0], made->outputs[0]);
}

typedef struct activation {
  const char *op_type, *params[2]; /* in the order of activation_params */
} activation;

static const activation activations[] = {
    {"Relu", {NULL}},         {"Tanh", {NULL}},         {"Sigmoid", {NULL}},
    {"LeakyRelu", {"alpha"}}, {"Clip", {"min", "max"}}, {"HardSigmoid", {"alpha", "beta"}},
    {"HardSwish", {NULL}},    {"Elu", {"alpha"}},       {"Selu", {"alpha", "gamma"}},
    {"Softplus", {NULL}},     {"Softsign", {NULL}},     {"ThresholdedRelu", {"alpha"}},
    {"Celu", {"alpha"}},
};

static const activation *find_activation(const ifd_node *node) {
  for (size_t i = 0; i < sizeof activations / sizeof *activations; i++)
    if (ifd_node_string_is(node, "activation", "", activations[i].op_type)) return &activations[i];
  return NULL;
}

/* FusedConv has the parameters in one list, FusedGemm as activation_alpha and so on. */
static bool param_of(const ifd_node *node, const activation *a, int i, float *out) {
  char name[32] = "activation_";
  const ifd_attr *own = ifd_node_find_attr(node, strcat(name, a->params[i]));
  const float *list;
  int n = ifd_node_floats(node, "activation_params", &list);
  if (own && own->type == IFD_ATTR_FLOAT) return *out = own->f, true;
  return i < n ? *out = list[i], true : false;
}

/* x becomes what the activation makes of it. Clip has its bounds as inputs in later versions. */
static ifd_status activate(ifd_rewrite *rw, ifd_value **x, const ifd_node *node, const activation *a) {
  const ifd_schema *schema = ifd_schema_find("", a->op_type, ifd_rw_opset(node));
  ifd_value *in[3] = {*x};
  ifd_node *made;
  float v;
  int n = 0;
  bool by_input = a->params[0] && schema && !ifd_schema_find_attr(schema, a->params[0]);
  for (int i = 0; i < 2 && by_input; i++)
    if (param_of(node, a, i, &v)) TRY(ifd_foreign_number(rw, &in[n = i + 1], node->inputs[0], v));
  TRY(ifd_rw_add_node(rw, &made, a->op_type, in, n + 1, 1));
  for (int i = 0; i < 2 && a->params[i] && !by_input; i++)
    if (param_of(node, a, i, &v)) TRY(ifd_node_set_float(ifd_rw_error(rw), made, a->params[i], v));
  *x = made->outputs[0];
  return IFD_OK;
}

/* ---- products ---- */

/* Gemm, or Conv and what is added to it, and an activation. */
static ifd_status expand_linear(ifd_rewrite *rw, ifd_node *node) {
  const char *op_type = node->op_type + strlen("Fused");
  const activation *a = find_activation(node);
  bool conv = strcmp(op_type, "Conv") == 0, none = !ifd_node_find_attr(node, "activation");
  int n = node->n_inputs < 3 ? node->n_inputs : 3;
  ifd_value *y;
  ifd_node *made;
  if (!ifd_is_foreign(node, SINCE, 3)) return IFD_OK;
  if (!a && !none) return ifd_rw_refuse(rw, "its activation is not known");
  if (a && !ifd_rw_dtype(rw, node->inputs[0])) return ifd_rw_refuse(rw, "its type is not known");
  TRY(ifd_foreign_add(rw, &made, node, op_type, node->inputs, n, 1));
  TRY(ifd_foreign_binary(rw, &y, "Add", made->outputs[0], conv ? ifd_node_input(node, 3) : NULL));
  if (a) TRY(activate(rw, &y, node, a));
  return ifd_rw_replace(rw, node->outputs[0], y);
}

/* x as MatMul takes it: transposed are the last two axes; before, of a transposed batch, the first axis went
 * to where the last but one is. */
static ifd_status operand(ifd_rewrite *rw, ifd_value **x, bool transposed, bool batch) {
  int rank = ifd_rw_rank(rw, *x);
  ifd_order o = {.rank = rank};
  ifd_node *made;
  if ((!transposed && !batch) || rank < 2) return IFD_OK;
  for (int i = 0; i < rank; i++) o.at[i] = (int8_t)(batch && i < rank - 1 ? (i + 1) % (rank - 1) : i);
  if (transposed) {
    int8_t last = o.at[rank - 1];
    o.at[rank - 1] = o.at[rank - 2];
    o.at[rank - 2] = last;
  }
  TRY(ifd_order_transpose(rw, &made, *x, &o));
  *x = made->outputs[0];
  return IFD_OK;
}

static ifd_status expand_matmul(ifd_rewrite *rw, ifd_node *node) {
  float alpha = ifd_node_float(node, "alpha", 1);
  ifd_value *in[2], *y, *factor;
  ifd_node *made;
  if (!ifd_is_foreign(node, SINCE, 3)) return IFD_OK;
  for (int i = 0; i < 2; i++) {
    in[i] = node->inputs[i];
    if (ifd_rw_rank(rw, in[i]) < 0 || !ifd_rw_dtype(rw, in[i]))
      return ifd_rw_refuse(rw, "the types of its inputs are not known");
    TRY(operand(rw, &in[i], ifd_node_int(node, i ? "transB" : "transA", 0) != 0,
                ifd_node_int(node, i ? "transBatchB" : "transBatchA", 0) != 0));
  }
  TRY(ifd_rw_add_node(rw, &made, "MatMul", in, 2, 1));
  made->name = node->name;
  y = made->outputs[0];
  if (alpha != 1) {
    TRY(ifd_foreign_number(rw, &factor, node->inputs[0], alpha));
    TRY(ifd_foreign_binary(rw, &y, "Mul", y, factor));
  }
  return ifd_rw_replace(rw, node->outputs[0], y);
}

/* ---- normalizations ---- */

/* LayerNormalization of the last axis; beta may be NULL. */
static ifd_status normalize(ifd_rewrite *rw, ifd_value **out, const ifd_node *node, const char *op_type,
                            ifd_value *x, ifd_value *gamma, ifd_value *beta) {
  ifd_node *made;
  ifd_value *in[3] = {x, gamma, beta};
  TRY(ifd_rw_add_node(rw, &made, op_type, in, beta ? 3 : 2, 1));
  made->name = node->name;
  TRY(ifd_node_set_float(ifd_rw_error(rw), made, "epsilon", ifd_node_float(node, "epsilon", 1e-12f)));
  *out = made->outputs[0];
  return IFD_OK;
}

/* input, skip, gamma, beta where it is no simplified one, bias */
static ifd_status expand_skip(ifd_rewrite *rw, ifd_node *node) {
  bool simple = is_called(node, "SkipSimplifiedLayerNormalization"), offered;
  const char *op_type = simple ? "RMSNormalization" : "LayerNormalization";
  ifd_value *sum, *y;
  if (!ifd_is_foreign(node, SINCE, 7)) return IFD_OK;
  TRY(ifd_foreign_offer(rw, &offered, node, op_type));
  if (!offered) return IFD_OK;
  if (ifd_node_has_output(node, 1) || ifd_node_has_output(node, 2))
    return ifd_rw_refuse(rw, "its mean or deviation is read");
  TRY(ifd_foreign_binary(rw, &sum, "Add", node->inputs[0], node->inputs[1]));
  TRY(ifd_foreign_binary(rw, &sum, "Add", sum, ifd_node_input(node, simple ? 3 : 4)));
  TRY(normalize(rw, &y, node, op_type, sum, node->inputs[2], simple ? NULL : ifd_node_input(node, 3)));
  if (ifd_node_has_output(node, 3)) TRY(ifd_rw_replace(rw, node->outputs[3], sum));
  return ifd_rw_replace(rw, node->outputs[0], y);
}

/* LayerNormalization before ONNX had it, and RMSNormalization under another name. */
static ifd_status expand_early(ifd_rewrite *rw, ifd_node *node) {
  bool simple = is_called(node, "SimplifiedLayerNormalization"), offered;
  const char *op_type = simple ? "RMSNormalization" : "LayerNormalization";
  int n_outputs = simple ? 1 : node->n_outputs < 3 ? node->n_outputs : 3;
  ifd_node *made;
  if (node->schema || !ifd_is_foreign(node, SINCE, 3)) return IFD_OK;
  TRY(ifd_foreign_offer(rw, &offered, node, op_type));
  if (!offered) return IFD_OK;
  for (int i = n_outputs; i < node->n_outputs; i++)
    if (node->outputs[i]) return ifd_rw_refuse(rw, "its deviation is read");
  TRY(ifd_foreign_add(rw, &made, node, op_type, node->inputs, node->n_inputs < 3 ? node->n_inputs : 3,
                      n_outputs));
  for (int i = 1; i < n_outputs; i++)
    if (node->outputs[i]) TRY(ifd_rw_replace(rw, node->outputs[i], made->outputs[i]));
  return ifd_rw_replace(rw, node->outputs[0], made->outputs[0]);
}

const ifd_pass ifd_pass_expand_fused = {
    .summary = "writes operators that ONNX Runtime's optimizer fuses as ONNX's own",
    .phase = IFD_PHASE_SIMPLIFY,
    .defines = true,
    .rules =
        (const ifd_rule[]){
            {"com.microsoft.Gelu com.microsoft.BiasGelu com.microsoft.FastGelu com.microsoft.QuickGelu",
             IFD_REASSOCIATES, expand_gelu},
            {"com.microsoft.FusedConv com.microsoft.FusedGemm", IFD_REASSOCIATES, expand_linear},
            {"com.microsoft.FusedMatMul com.microsoft.TransposeMatMul", IFD_REASSOCIATES, expand_matmul},
            {"com.microsoft.SkipLayerNormalization com.microsoft.SkipSimplifiedLayerNormalization",
             IFD_REASSOCIATES, expand_skip},
            {"LayerNormalization SimplifiedLayerNormalization", IFD_REASSOCIATES, expand_early},
            {0}},
};
