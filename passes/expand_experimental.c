#include "pass/foreign.h"
#include "pass/ints.h"

#include <string.h>

/* Operators that ONNX had as experimental ones until version 1.5, which converters from Core ML, Keras and
 * Caffe2 wrote, are written as those that it has. What they mean is in onnx/defs/experiments of ONNX 1.4. */

enum { SINCE = 7 }; /* of broadcasting */

/* Output 0 is scale * function(factor * x) + shift: the attributes that say so, any of which may be absent.
 */
typedef struct formula {
  const char *op_type, *factor, *function, *scale, *shift;
} formula;

static const formula formulas[] = {
    {"Affine", NULL, NULL, "alpha", "beta"},
    {"ImageScaler", NULL, NULL, "scale", NULL},
    {"ParametricSoftplus", "beta", "Softplus", "alpha", NULL},
    {"ScaledTanh", "beta", "Tanh", "alpha", NULL},
};

static const formula *find_formula(const ifd_node *node) {
  for (size_t i = 0; i < sizeof formulas / sizeof *formulas; i++)
    if (strcmp(formulas[i].op_type, node->op_type) == 0) return &formulas[i];
  return NULL;
}

/* Whether the node is what ONNX had, and what it is written as can be at this opset. */
static bool is_withdrawn(ifd_rewrite *rw, const ifd_node *node, unsigned needed) {
  return !node->schema && ifd_is_foreign(node, ifd_rw_for_running(rw) ? 1 : SINCE, needed);
}

/* *x becomes *x op a, in the version that broadcasts. */
static ifd_status combine(ifd_rewrite *rw, ifd_value **x, const char *op_type, ifd_value *a) {
  ifd_node *made;
  TRY(ifd_rw_add_node(rw, &made, op_type, (ifd_value *[]){*x, a}, 2, 1));
  ifd_foreign_raise(made, SINCE);
  *x = made->outputs[0];
  return IFD_OK;
}

static ifd_status combine_number(ifd_rewrite *rw, ifd_value **x, const char *op_type, const ifd_node *node,
                                 const char *attr, float otherwise) {
  ifd_value *number;
  if (!attr) return IFD_OK;
  TRY(ifd_foreign_number(rw, &number, node->inputs[0], ifd_node_float(node, attr, otherwise)));
  return combine(rw, x, op_type, number);
}

/* *x and what each channel has of an ImageScaler's bias. */
static ifd_status add_bias(ifd_rewrite *rw, ifd_value **x, const ifd_node *node) {
  const float *bias;
  int n = ifd_node_floats(node, "bias", &bias);
  ifd_value *values;
  ifd_tensor t;
  if (!n) return IFD_OK;
  TRY(ifd_tensor_new(ifd_rw_error(rw), &t, ifd_rw_arena(rw), ifd_rw_dtype(rw, node->inputs[0]),
                     &(ifd_shape){3, {n, 1, 1}}));
  for (int i = 0; i < n; i++) ifd_tensor_set_f64(&t, i, bias[i]);
  TRY(ifd_rw_add_constant(rw, &values, &t, "bias"));
  return combine(rw, x, "Add", values);
}

static ifd_status expand_formula(ifd_rewrite *rw, ifd_node *node) {
  const formula *f = find_formula(node);
  ifd_value *y;
  if (!is_withdrawn(rw, node, 1)) return IFD_OK;
  if (!ifd_rw_dtype(rw, y = node->inputs[0])) return ifd_rw_refuse(rw, "its type is not known");
  TRY(combine_number(rw, &y, "Mul", node, f->factor, 1));
  if (f->function) TRY(ifd_foreign_apply(rw, &y, f->function, &y, 1));
  TRY(combine_number(rw, &y, "Mul", node, f->scale, 1));
  TRY(combine_number(rw, &y, "Add", node, f->shift, 0));
  TRY(add_bias(rw, &y, node));
  return ifd_rw_replace(rw, node->outputs[0], y);
}

/* Those that came back under their name. */
static ifd_status rename_early(ifd_rewrite *rw, ifd_node *node) {
  return is_withdrawn(rw, node, 1) ? ifd_foreign_rename(rw, node) : IFD_OK;
}

/* Columns and rows of images taken off at the left, top, right and bottom; `scale`, where it is given, is the
 * height and width that stay. */
static ifd_status expand_crop(ifd_rewrite *rw, ifd_node *node) {
  enum { LEFT, TOP, RIGHT, BOTTOM, N_BORDERS };
  const int64_t *border, *size, axes[] = {2, 3};
  bool sized = ifd_node_ints(node, "scale", &size) == 2;
  ifd_node *made;
  if (!is_withdrawn(rw, node, 1)) return IFD_OK;
  if (ifd_node_ints(node, "border", &border) != N_BORDERS) return ifd_rw_refuse(rw, "it has no border");
  for (int i = 0; i < N_BORDERS; i++)
    if (border[i] < 0 || border[i] > INT32_MAX) return ifd_rw_refuse(rw, "its border is out of range");
  for (int i = 0; i < 2 && sized; i++)
    if (size[i] < 0 || size[i] > INT32_MAX) return ifd_rw_refuse(rw, "its size is out of range");
  const int64_t starts[] = {border[TOP], border[LEFT]};
  int64_t ends[] = {border[BOTTOM] ? -border[BOTTOM] : INT32_MAX, border[RIGHT] ? -border[RIGHT] : INT32_MAX};
  for (int i = 0; i < 2 && sized; i++) ends[i] = starts[i] + size[i];
  TRY(ifd_ints_add_slice(rw, &made, node->inputs[0], starts, ends, axes, NULL, 2));
  made->name = node->name;
  return ifd_rw_replace(rw, node->outputs[0], made->outputs[0]);
}

const ifd_pass ifd_pass_expand_experimental = {
    .summary = "writes operators that ONNX withdrew before version 1.5 as those that it has",
    .phase = IFD_PHASE_SIMPLIFY,
    .defines = true,
    .rules = (const ifd_rule[]){{"Affine ImageScaler ParametricSoftplus ScaledTanh", IFD_REASSOCIATES,
                                 expand_formula},
                                {"ThresholdedRelu", IFD_EXACT, rename_early},
                                {"Crop", IFD_EXACT, expand_crop},
                                {0}},
};
