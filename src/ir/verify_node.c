#include "ir/verify.h"

#include <string.h>

#include "ops/schema.h"

/* ---- types ---- */

/* The kind and element type of a schema's type; false where the type is not known in full or no schema has
 * it. */
static bool schema_type(const ifd_type *type, ifd_schema_kind *kind, ifd_dtype *dtype) {
  static const struct {
    ifd_kind outer[2];
    ifd_schema_kind kind;
  } kinds[] = {
      {{IFD_KIND_UNKNOWN, IFD_KIND_UNKNOWN}, IFD_SCHEMA_TENSOR},
      {{IFD_KIND_SEQUENCE, IFD_KIND_UNKNOWN}, IFD_SCHEMA_SEQ},
      {{IFD_KIND_OPTIONAL, IFD_KIND_UNKNOWN}, IFD_SCHEMA_OPTIONAL},
      {{IFD_KIND_OPTIONAL, IFD_KIND_SEQUENCE}, IFD_SCHEMA_OPTIONAL_SEQ},
      {{IFD_KIND_MAP, IFD_KIND_UNKNOWN}, IFD_SCHEMA_MAP_INT64},
      {{IFD_KIND_SEQUENCE, IFD_KIND_MAP}, IFD_SCHEMA_SEQ_MAP_INT64},
  };
  ifd_kind outer[2] = {IFD_KIND_UNKNOWN, IFD_KIND_UNKNOWN};
  bool string_keys = false;
  int depth = 0;
  for (; type && type->kind != IFD_KIND_TENSOR; type = type->elem) {
    if (type->kind == IFD_KIND_UNKNOWN || type->kind == IFD_KIND_SPARSE_TENSOR || depth == 2) return false;
    if (type->kind == IFD_KIND_MAP) string_keys = type->dtype == IFD_STRING;
    outer[depth++] = type->kind;
  }
  if (!type || type->dtype == IFD_UNDEFINED) return false;
  *dtype = type->dtype;
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
    if (kinds[i].outer[0] == outer[0] && kinds[i].outer[1] == outer[1]) {
      *kind = kinds[i].kind + string_keys; /* maps of string keys follow those of int64 keys */
      return true;
    }
  return false;
}

/* A declared type of an inner value is a claim until inference has found it. */
static const ifd_type *known_type(const ifd_value *value) {
  bool given = (value->is_input && !value->graph->outer) || value->constant;
  return given || value->type != value->declared ? value->type : &ifd_type_unknown;
}

/* What each type variable of a schema stands for at one node. */
enum { MAX_CONSTRAINTS = 32 };
typedef struct bindings {
  bool bound[MAX_CONSTRAINTS];
  ifd_schema_kind kind[MAX_CONSTRAINTS];
  ifd_dtype dtype[MAX_CONSTRAINTS];
} bindings;

static ifd_status check_type(ifd_error *err, const ifd_schema *schema, const ifd_schema_param *param,
                             const ifd_value *value, bindings *b) {
  ifd_schema_kind kind;
  ifd_dtype dtype;
  char text[128];
  int c = param->constraint;
  if (!schema_type(known_type(value), &kind, &dtype)) return IFD_OK;
  ifd_type_text(value->graph->model->dims, value->type, text, sizeof text);
  EXPECT(err, ifd_schema_type_allowed(schema, param, kind, dtype), BAD_MODEL,
         "%s '%s' is %s, which is not allowed for %s", param->name, value->name, text, param->type);
  if (c < 0 || c >= MAX_CONSTRAINTS || !param->homogeneous) return IFD_OK;
  EXPECT(err, !b->bound[c] || (b->kind[c] == kind && b->dtype[c] == dtype), BAD_MODEL,
         "%s '%s' is %s, but %s is another type at this node", param->name, value->name, text, param->type);
  b->bound[c] = true;
  b->kind[c] = kind;
  b->dtype[c] = dtype;
  return IFD_OK;
}

/* ---- inputs and outputs ---- */

typedef const ifd_schema_param *find_param(const ifd_schema *schema, size_t i);

/* "" stands for an optional value, and for one of several like outputs that nobody reads. */
static bool may_be_absent(const ifd_schema_param *param, find_param *find) {
  return param->option == IFD_PARAM_OPTIONAL ||
         (param->option == IFD_PARAM_VARIADIC && find == ifd_schema_find_output);
}

static ifd_status check_values(ifd_error *err, const ifd_schema *schema, find_param *find,
                               ifd_value *const *values, int n, const char *what, bindings *b) {
  for (int i = 0; i < n; i++) {
    const ifd_schema_param *param = find(schema, (size_t)i);
    if (!param) continue;
    EXPECT(err, values[i] || may_be_absent(param, find), BAD_MODEL, "%s %d (%s) is absent", what, i,
           param->name);
    if (values[i]) TRY(check_type(err, schema, param, values[i], b));
  }
  return IFD_OK;
}

static ifd_status check_count(ifd_error *err, const char *what, int n, int min, int max) {
  EXPECT(err, n >= min && n <= max, BAD_MODEL, "%d %s, but the operator takes %s %d", n, what,
         n < min ? "at least" : "at most", n < min ? min : max);
  return IFD_OK;
}

/* ---- attributes ---- */

static ifd_status check_attrs(ifd_error *err, const ifd_node *node) {
  const ifd_schema *schema = node->schema;
  for (int i = 0; i < node->n_attrs; i++) {
    const ifd_attr *attr = &node->attrs[i];
    const ifd_schema_attr *known = ifd_schema_find_attr(schema, attr->name);
    EXPECT(err, known, BAD_MODEL, "attribute '%s' does not exist", attr->name);
    EXPECT(err, (int)attr->type == known->type, BAD_MODEL, "attribute '%s' has type %d instead of %d",
           attr->name, attr->type, known->type);
  }
  for (int i = 0; i < schema->n_attrs; i++)
    EXPECT(err, !schema->attrs[i].required || ifd_node_find_attr(node, schema->attrs[i].name), BAD_MODEL,
           "attribute '%s' is missing", schema->attrs[i].name);
  return IFD_OK;
}

/* Operators of ai.onnx at opsets that do not have them: ONNX Runtime's optimizer writes the first two, and
 * the others were experimental before ONNX 1.5 (passes/expand_experimental.c). */
static bool is_outside(const ifd_node *node) {
  return ifd_node_is_any(node, "LayerNormalization SimplifiedLayerNormalization Affine Crop ImageScaler "
                               "ParametricSoftplus ScaledTanh ThresholdedRelu");
}

static ifd_status check_known(ifd_error *err, const ifd_node *node) {
  int latest = ifd_schema_latest_opset(node->domain);
  bool ours = latest > 0;
  EXPECT(err, !ours || node->opset <= latest, UNSUPPORTED,
         "opset %d of domain \"%s\" is newer than %d, the last one known here", node->opset, node->domain,
         latest);
  EXPECT(err, !ours || node->opset > 0, BAD_MODEL, "opset_import lacks domain \"%s\"", node->domain);
  EXPECT(err, !ours || node->schema || is_outside(node), BAD_MODEL, "the operator does not exist at opset %d",
         node->opset);
  EXPECT(err, !node->schema || !node->schema->deprecated, BAD_MODEL, "the operator is withdrawn at opset %d",
         node->opset);
  return IFD_OK;
}

ifd_status ifd_verify_node(ifd_error *err, const ifd_node *node) {
  const ifd_schema *schema = node->schema;
  bindings b = {0};
  if (ifd_node_find_function(node)) return IFD_OK;
  TRY(check_known(err, node));
  if (!schema) return IFD_OK;
  TRY(check_count(err, "inputs", node->n_inputs, schema->min_inputs, schema->max_inputs));
  TRY(check_count(err, "outputs", node->n_outputs, schema->min_outputs, schema->max_outputs));
  TRY(check_attrs(err, node));
  TRY(check_values(err, schema, ifd_schema_find_input, node->inputs, node->n_inputs, "input", &b));
  return check_values(err, schema, ifd_schema_find_output, node->outputs, node->n_outputs, "output", &b);
}
