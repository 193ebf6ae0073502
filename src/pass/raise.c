#include "pass/raise.h"

#include "ops/infer.h"
#include "ops/schema.h"

#include <float.h>
#include <string.h>

/* What changed in operators from version 7 on (Changelog.md of ONNX): one row for each version of an operator
 * that has another form or default than the one before. Versions without a row only took more types, or said
 * the same in other words. */

typedef struct raiser {
  ifd_error *err;
  ifd_model *model;
  int version; /* to be reached */
} raiser;

typedef ifd_status (*adapter)(raiser *r, ifd_node **node);

static ifd_status refuse(raiser *r, const ifd_node *node, const char *why) {
  char label[256];
  return ifd_error_set(r->err, IFD_UNSUPPORTED, "%s cannot be raised from version %d to %d: %s",
                       ifd_node_label(node, label, sizeof label), node->opset, r->version, why);
}

/* ---- nodes and constants ---- */

/* The node with room for more inputs, or as another operator: the old one is gone. */
static ifd_status rebuild(raiser *r, ifd_node **node, const char *op_type, int n_inputs) {
  ifd_node *old = *node, *made;
  int opset = old->opset;
  TRY(ifd_node_new(r->err, &made, old->graph, old->domain, op_type, n_inputs, old->n_outputs));
  made->name = old->name;
  made->provenance = old->provenance;
  for (int i = 0; i < old->n_attrs; i++) TRY(ifd_node_set_attr(r->err, made, &old->attrs[i]));
  ifd_node_insert(made, old);
  for (int i = 0; i < old->n_inputs && i < n_inputs; i++)
    TRY(ifd_node_set_input(r->err, made, i, old->inputs[i]));
  for (int i = 0; i < old->n_outputs; i++) {
    ifd_value *v = old->outputs[i];
    TRY(ifd_node_set_output(r->err, old, i, NULL));
    TRY(ifd_node_set_output(r->err, made, i, v));
  }
  ifd_node_remove(old);
  made->opset = opset; /* of what it still means */
  *node = made;
  return IFD_OK;
}

static ifd_status set_constant(raiser *r, ifd_node *node, int input, const ifd_tensor *t, const char *hint) {
  ifd_value *v;
  TRY(ifd_value_new(r->err, &v, node->graph, ifd_graph_unique_name(node->graph, hint)));
  TRY(ifd_graph_add_constant(r->err, node->graph, v, t));
  return ifd_node_set_input(r->err, node, input, v);
}

static ifd_status set_ints(raiser *r, ifd_node *node, int input, const int64_t *v, int n, const char *hint) {
  ifd_tensor t;
  TRY(ifd_tensor_new(r->err, &t, &r->model->arena, IFD_INT64, &(ifd_shape){1, {n}}));
  if (n) memcpy(t.data, v, (size_t)n * sizeof *v);
  return set_constant(r, node, input, &t, hint);
}

static ifd_status set_scalar(raiser *r, ifd_node *node, int input, ifd_dtype dtype, double x,
                             const char *hint) {
  ifd_tensor t;
  TRY(ifd_tensor_new(r->err, &t, &r->model->arena, dtype, &(ifd_shape){0}));
  ifd_tensor_set_f64(&t, 0, x);
  return set_constant(r, node, input, &t, hint);
}

static bool is_parameter(const ifd_node *node, const char *attr) {
  const ifd_attr *a = ifd_node_find_attr(node, attr);
  return a && a->ref;
}

/* A list that was an attribute is an input from now on; absent stays absent. */
static ifd_status list_to_input(raiser *r, ifd_node **node, const char *attr, int input) {
  const int64_t *v;
  if (!ifd_node_find_attr(*node, attr)) return IFD_OK;
  if (is_parameter(*node, attr)) return refuse(r, *node, "its attribute is a parameter of a function");
  int n = ifd_node_ints(*node, attr, &v);
  if (input >= (*node)->n_inputs) TRY(rebuild(r, node, (*node)->op_type, input + 1));
  ifd_node_remove_attr(*node, attr);
  return set_ints(r, *node, input, v, n, attr);
}

/* ---- what changed ---- */

static ifd_status cannot(raiser *r, ifd_node **node) {
  return refuse(r, *node, "the newer version means something else");
}

static ifd_status batch_norm_9(raiser *r, ifd_node **node) {
  if (ifd_bn_is_per_position(*node)) return refuse(r, *node, "spatial = 0 is no more");
  ifd_node_remove_attr(*node, "spatial");
  return IFD_OK;
}

static ifd_status batch_norm_14(raiser *r, ifd_node **node) {
  for (int i = 1; i < (*node)->n_outputs; i++)
    if ((*node)->outputs[i]) return refuse(r, *node, "it is in training mode, whose outputs have changed");
  return IFD_OK;
}

static ifd_status upsample_9(raiser *r, ifd_node **node) {
  const float *scales;
  ifd_tensor t;
  int n = ifd_node_floats(*node, "scales", &scales);
  TRY(rebuild(r, node, "Upsample", 2));
  TRY(ifd_tensor_new(r->err, &t, &r->model->arena, IFD_FLOAT, &(ifd_shape){1, {n}}));
  for (int i = 0; i < n; i++) ifd_tensor_set_f64(&t, i, scales[i]);
  ifd_node_remove_attr(*node, "scales");
  return set_constant(r, *node, 1, &t, "scales");
}

static ifd_status upsample_10(raiser *r, ifd_node **node) { return rebuild(r, node, "Resize", 2); }

static ifd_status resize_11(raiser *r, ifd_node **node) {
  ifd_value *scales = (*node)->inputs[1];
  TRY(rebuild(r, node, "Resize", 3));
  TRY(ifd_node_set_input(r->err, *node, 1, NULL));
  TRY(ifd_node_set_input(r->err, *node, 2, scales));
  TRY(ifd_node_set_string(r->err, *node, "coordinate_transformation_mode", "asymmetric"));
  return ifd_node_set_string(r->err, *node, "nearest_mode", "floor");
}

static ifd_status resize_13(raiser *r, ifd_node **node) {
  return ifd_node_string_is(*node, "coordinate_transformation_mode", "", "tf_half_pixel_for_nn")
             ? refuse(r, *node, "tf_half_pixel_for_nn is no more")
             : IFD_OK;
}

static ifd_status dropout_10(raiser *r, ifd_node **node) {
  const ifd_value *mask = ifd_node_output(*node, 1);
  return mask && ifd_value_n_readers(mask) ? refuse(r, *node, "its mask has another type") : IFD_OK;
}

/* In inference, which these versions mean, the ratio has no effect. */
static ifd_status dropout_12(raiser *r, ifd_node **node) {
  (void)r;
  ifd_node_remove_attr(*node, "ratio");
  return IFD_OK;
}

static ifd_status slice_10(raiser *r, ifd_node **node) {
  TRY(list_to_input(r, node, "starts", 1));
  TRY(list_to_input(r, node, "ends", 2));
  return list_to_input(r, node, "axes", 3);
}

static ifd_status top_k_10(raiser *r, ifd_node **node) {
  int64_t k = ifd_node_int(*node, "k", 1);
  TRY(rebuild(r, node, "TopK", 2));
  ifd_node_remove_attr(*node, "k");
  return set_ints(r, *node, 1, &k, 1, "k");
}

static ifd_status element_type(raiser *r, const ifd_node *node, ifd_dtype *out) {
  const ifd_type *t = node->inputs[0]->type;
  *out = t->kind == IFD_KIND_TENSOR ? t->dtype : IFD_UNDEFINED;
  return *out ? IFD_OK : refuse(r, node, "the element type of its input is not known");
}

/* A bound that is not given was the largest float. */
static ifd_status clip_11(raiser *r, ifd_node **node) {
  ifd_dtype dtype;
  float low = ifd_node_float(*node, "min", -FLT_MAX), high = ifd_node_float(*node, "max", FLT_MAX);
  bool half = false;
  TRY(element_type(r, *node, &dtype));
  half = dtype == IFD_FLOAT16;
  TRY(rebuild(r, node, "Clip", 3));
  ifd_node_remove_attr(*node, "min");
  ifd_node_remove_attr(*node, "max");
  if (!half || low > -FLT_MAX) TRY(set_scalar(r, *node, 1, dtype, low, "min"));
  return !half || high < FLT_MAX ? set_scalar(r, *node, 2, dtype, high, "max") : IFD_OK;
}

static ifd_status pad_11(raiser *r, ifd_node **node) {
  ifd_dtype dtype;
  float value = ifd_node_float(*node, "value", 0);
  TRY(element_type(r, *node, &dtype));
  TRY(list_to_input(r, node, "pads", 1));
  ifd_node_remove_attr(*node, "value");
  if (value == 0) return IFD_OK;
  TRY(rebuild(r, node, "Pad", 3));
  return set_scalar(r, *node, 2, dtype, value, "value");
}

static ifd_status conv_transpose_11(raiser *r, ifd_node **node) {
  return ifd_node_find_attr(*node, "output_shape")
             ? refuse(r, *node, "output_shape divides odd padding otherwise")
             : IFD_OK;
}

static ifd_status scatter_11(raiser *r, ifd_node **node) {
  return rebuild(r, node, "ScatterElements", (*node)->n_inputs);
}

/* Over the last dimension it means the same; over several at once there is no such operator any more. */
static ifd_status softmax_13(raiser *r, ifd_node **node) {
  const ifd_type *t = (*node)->inputs[0]->type;
  int64_t axis = ifd_node_int(*node, "axis", 1);
  if (t->kind != IFD_KIND_TENSOR || !t->has_rank)
    return refuse(r, *node, "the rank of its input is not known");
  if (axis < 0) axis += t->rank;
  for (int64_t i = axis + 1; i < t->rank; i++)
    if (t->dims[i] != 1) return refuse(r, *node, "it runs over several dimensions at once");
  return ifd_node_set_int(r->err, *node, "axis", axis);
}

static ifd_status axes_to_input(raiser *r, ifd_node **node) { return list_to_input(r, node, "axes", 1); }
static ifd_status split_13(raiser *r, ifd_node **node) { return list_to_input(r, node, "split", 1); }

static ifd_status split_18(raiser *r, ifd_node **node) {
  return ifd_node_has_input(*node, 1) ? IFD_OK
                                      : ifd_node_set_int(r->err, *node, "num_outputs", (*node)->n_outputs);
}

static ifd_status roi_align_16(raiser *r, ifd_node **node) {
  return ifd_node_set_string(r->err, *node, "coordinate_transformation_mode", "output_half_pixel");
}

static ifd_status average_pool_19(raiser *r, ifd_node **node) {
  bool same = ifd_node_string_is(*node, "auto_pad", "NOTSET", "SAME_UPPER") ||
              ifd_node_string_is(*node, "auto_pad", "NOTSET", "SAME_LOWER");
  return same ? refuse(r, *node, "auto_pad gives other sizes") : IFD_OK;
}

static ifd_status pool_22(raiser *r, ifd_node **node) {
  return ifd_node_int(*node, "ceil_mode", 0)
             ? refuse(r, *node, "ceil_mode drops windows that start in the padding")
             : IFD_OK;
}

static ifd_status grid_sample_20(raiser *r, ifd_node **node) {
  if (ifd_node_string_is(*node, "mode", "bilinear", "bilinear"))
    return ifd_node_set_string(r->err, *node, "mode", "linear");
  if (ifd_node_string_is(*node, "mode", "bilinear", "bicubic"))
    return ifd_node_set_string(r->err, *node, "mode", "cubic");
  return IFD_OK;
}

static ifd_status dft_20(raiser *r, ifd_node **node) {
  int64_t axis = ifd_node_int(*node, "axis", 1);
  TRY(rebuild(r, node, "DFT", 3));
  ifd_node_remove_attr(*node, "axis");
  return set_scalar(r, *node, 2, IFD_INT64, (double)axis, "axis");
}

static const struct {
  const char *op_types;
  int since;
  adapter adapt;
} changes[] = {
    /* by version */
    {"Scan", 9, cannot},
    {"BatchNormalization", 9, batch_norm_9},
    {"Upsample", 9, upsample_9},
    {"Upsample", 10, upsample_10},
    {"Dropout", 10, dropout_10},
    {"Slice", 10, slice_10},
    {"TopK", 10, top_k_10},
    {"Clip", 11, clip_11},
    {"Pad", 11, pad_11},
    {"Resize", 11, resize_11},
    {"ConvTranspose", 11, conv_transpose_11},
    {"OneHot", 11, cannot},
    {"Scatter", 11, scatter_11},
    {"Dropout", 12, dropout_12},
    {"Softmax LogSoftmax Hardmax", 13, softmax_13},
    {"Squeeze Unsqueeze ReduceSum", 13, axes_to_input},
    {"Split", 13, split_13},
    {"Resize", 13, resize_13},
    {"BatchNormalization", 14, batch_norm_14},
    {"RoiAlign", 16, roi_align_16},
    {"ReduceMean ReduceMax ReduceMin ReduceProd ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp "
     "ReduceSumSquare",
     18, axes_to_input},
    {"Split", 18, split_18},
    {"AveragePool", 19, average_pool_19},
    {"GridSample", 20, grid_sample_20},
    {"DFT", 20, dft_20},
    {"GroupNormalization", 21, cannot},
    {"MaxPool AveragePool LpPool", 22, pool_22},
    {"Mod", 28, cannot},
};

/* ---- all nodes ---- */

static ifd_status raise_node(raiser *r, ifd_node *node) {
  if (*node->domain || node->opset >= r->version) return IFD_OK;
  if (node->opset < 7) return refuse(r, node, "its version is older than 7");
  for (size_t i = 0; i < sizeof changes / sizeof *changes; i++)
    if (changes[i].since > node->opset && changes[i].since <= r->version &&
        ifd_node_is_any(node, changes[i].op_types))
      TRY(changes[i].adapt(r, &node));
  const ifd_schema *schema = ifd_schema_find("", node->op_type, r->version);
  if (node->schema && (!schema || schema->deprecated)) return refuse(r, node, "it has been withdrawn");
  ifd_node_resolve(node);
  return IFD_OK;
}

static ifd_status raise_graph(ifd_graph *graph, void *context) {
  IFD_EACH_NODE(node, graph) TRY(raise_node(context, node));
  return IFD_OK;
}

static void set_opset(ifd_opset *opsets, int n, int version) {
  for (int i = 0; i < n; i++)
    if (ifd_domain_equal(opsets[i].domain, "") && opsets[i].version < version) opsets[i].version = version;
}

ifd_status ifd_raise_opset(ifd_error *err, ifd_model *model, int version) {
  raiser r = {.err = err, .model = model, .version = version};
  ifd_inference inf;
  int latest = ifd_schema_latest_opset("");
  EXPECT(err, version >= 13 && version <= latest, USAGE, "versions to raise to are 13 to %d, not %d", latest,
         version);
  TRY(ifd_inference_init(&inf, err, &model->arena, model->dims, model->n_values));
  TRY(ifd_infer_model(&inf, model));
  set_opset(model->opsets.v, model->opsets.n, version);
  TRY(ifd_graph_visit(model->graph, raise_graph, &r));
  for (int i = 0; i < model->functions.n; i++) {
    ifd_function *f = model->functions.v[i];
    set_opset(f->opsets.v, f->opsets.n, version);
    TRY(ifd_graph_visit(f->body, raise_graph, &r));
  }
  return IFD_OK;
}
