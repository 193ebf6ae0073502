#include "ops/shared/signature.h"

/* What a schema says of a value; dtype IFD_UNDEFINED where it is not known. */
typedef struct form {
  ifd_schema_kind kind;
  ifd_dtype dtype;
} form;

static const form unknown = {IFD_SCHEMA_TENSOR, IFD_UNDEFINED};

static const char *const kind_names[] = {[IFD_SCHEMA_TENSOR] = "a tensor",
                                         [IFD_SCHEMA_SPARSE_TENSOR] = "a sparse tensor",
                                         [IFD_SCHEMA_SEQ] = "a sequence",
                                         [IFD_SCHEMA_OPTIONAL] = "an optional",
                                         [IFD_SCHEMA_OPTIONAL_SEQ] = "an optional sequence",
                                         [IFD_SCHEMA_MAP_INT64] = "a map",
                                         [IFD_SCHEMA_MAP_STRING] = "a map",
                                         [IFD_SCHEMA_SEQ_MAP_INT64] = "a sequence of maps",
                                         [IFD_SCHEMA_SEQ_MAP_STRING] = "a sequence of maps"};

/* The form of something of `outer` kind that holds `inner`. */
static form wrap(ifd_kind outer, form inner) {
  if (outer == IFD_KIND_SEQUENCE && inner.kind == IFD_SCHEMA_TENSOR)
    return (form){IFD_SCHEMA_SEQ, inner.dtype};
  if (outer == IFD_KIND_SEQUENCE && inner.kind == IFD_SCHEMA_MAP_INT64)
    return (form){IFD_SCHEMA_SEQ_MAP_INT64, inner.dtype};
  if (outer == IFD_KIND_SEQUENCE && inner.kind == IFD_SCHEMA_MAP_STRING)
    return (form){IFD_SCHEMA_SEQ_MAP_STRING, inner.dtype};
  if (outer == IFD_KIND_OPTIONAL && inner.kind == IFD_SCHEMA_TENSOR)
    return (form){IFD_SCHEMA_OPTIONAL, inner.dtype};
  if (outer == IFD_KIND_OPTIONAL && inner.kind == IFD_SCHEMA_SEQ)
    return (form){IFD_SCHEMA_OPTIONAL_SEQ, inner.dtype};
  return unknown;
}

static form map_form(ifd_dtype key, ifd_dtype value) {
  return (form){key == IFD_STRING ? IFD_SCHEMA_MAP_STRING : IFD_SCHEMA_MAP_INT64, value};
}

static form form_of_type(const ifd_type *t) {
  if (!t || t->kind == IFD_KIND_UNKNOWN) return unknown;
  if (t->kind == IFD_KIND_TENSOR) return (form){IFD_SCHEMA_TENSOR, t->dtype};
  if (t->kind == IFD_KIND_SPARSE_TENSOR) return (form){IFD_SCHEMA_SPARSE_TENSOR, t->dtype};
  if (t->kind == IFD_KIND_MAP) return map_form(t->dtype, t->elem ? t->elem->dtype : IFD_UNDEFINED);
  return wrap(t->kind, form_of_type(t->elem));
}

static form form_of_value(const ifd_datum *d) {
  if (d->kind == IFD_KIND_TENSOR) return (form){IFD_SCHEMA_TENSOR, d->tensor.dtype};
  if (d->kind == IFD_KIND_MAP)
    return map_form(d->tensor.dtype, d->list && d->list->n ? d->list->items[0].tensor.dtype : IFD_UNDEFINED);
  if (d->list && d->list->n) return wrap(d->kind, form_of_value(&d->list->items[0]));
  form elem = {d->elem_kind == IFD_KIND_SEQUENCE ? IFD_SCHEMA_SEQ : IFD_SCHEMA_TENSOR, d->elem};
  return d->elem_kind == IFD_KIND_MAP ? unknown : wrap(d->kind, elem);
}

/* A value may come where an optional is taken: a loop may carry an optional that its body then fills. */
static bool is_taken(const ifd_schema *schema, const ifd_schema_param *param, form f) {
  form optional = wrap(IFD_KIND_OPTIONAL, f);
  return ifd_schema_type_allowed(schema, param, f.kind, f.dtype) ||
         (optional.dtype && ifd_schema_type_allowed(schema, param, optional.kind, optional.dtype));
}

static bool is_allowed(const ifd_schema *schema, const ifd_schema_param *param, form f, bool float64) {
  return is_taken(schema, param, f) ||
         (float64 && f.dtype == IFD_DOUBLE && is_taken(schema, param, (form){f.kind, IFD_FLOAT}));
}

/* Whether one type variable may stand for both. */
static bool agree(form a, form b, bool float64) {
  bool floats =
      (a.dtype == IFD_FLOAT || a.dtype == IFD_DOUBLE) && (b.dtype == IFD_FLOAT || b.dtype == IFD_DOUBLE);
  return a.kind == b.kind && (a.dtype == b.dtype || (float64 && floats));
}

enum { MAX_CONSTRAINTS = 32 };

/* The first form met of each type variable. */
typedef struct bindings {
  form bound[MAX_CONSTRAINTS];
  int by[MAX_CONSTRAINTS]; /* 1 + input */
} bindings;

static ifd_status check_input(ifd_error *err, const ifd_node *node, ifd_status code, int i, form f,
                              bindings *b, bool float64) {
  const ifd_schema_param *param = ifd_schema_find_input(node->schema, (size_t)i);
  if (!param || !f.dtype) return IFD_OK;
  if (!is_allowed(node->schema, param, f, float64))
    return ifd_error_set(err, code, "input %d (%s) is %s of %s, which %s of opset %d does not take", i,
                         param->name, kind_names[f.kind], ifd_dtype_name(f.dtype), node->op_type,
                         node->opset);
  int c = param->constraint;
  if (c < 0 || c >= MAX_CONSTRAINTS || !param->homogeneous) return IFD_OK;
  if (b->by[c] && !agree(b->bound[c], f, float64))
    return ifd_error_set(err, code, "input %d (%s) is %s of %s, but input %d is %s of %s", i, param->name,
                         kind_names[f.kind], ifd_dtype_name(f.dtype), b->by[c] - 1,
                         kind_names[b->bound[c].kind], ifd_dtype_name(b->bound[c].dtype));
  b->bound[c] = f;
  b->by[c] = 1 + i;
  return IFD_OK;
}

bool ifd_signature_allows(const ifd_node *node, int i, const ifd_type *type) {
  const ifd_schema_param *param = node->schema ? ifd_schema_find_input(node->schema, (size_t)i) : NULL;
  form f = form_of_type(type);
  return !param || !f.dtype || is_taken(node->schema, param, f);
}

ifd_status ifd_signature_check_types(ifd_error *err, const ifd_node *node) {
  bindings b = {0};
  ifd_status status = IFD_OK;
  for (int i = 0; node->schema && i < node->n_inputs && status == IFD_OK; i++)
    if (node->inputs[i])
      status = check_input(err, node, IFD_BAD_MODEL, i, form_of_type(node->inputs[i]->type), &b, false);
  char label[256];
  if (status != IFD_OK) ifd_error_add(err, "%s", ifd_node_label(node, label, sizeof label));
  return status;
}

ifd_status ifd_signature_check_tensors(ifd_error *err, const ifd_node *node, const ifd_tensor *const *in) {
  bindings b = {0};
  for (int i = 0; node->schema && i < node->n_inputs; i++)
    if (in[i])
      TRY(check_input(err, node, IFD_BAD_INPUT, i, (form){IFD_SCHEMA_TENSOR, in[i]->dtype}, &b, false));
  return IFD_OK;
}

ifd_status ifd_signature_check_values(ifd_error *err, const ifd_node *node, const ifd_datum *const *in,
                                      int n_in, bool float64) {
  bindings b = {0};
  for (int i = 0; node->schema && i < n_in; i++)
    if (in[i]) TRY(check_input(err, node, IFD_BAD_INPUT, i, form_of_value(in[i]), &b, float64));
  return IFD_OK;
}
