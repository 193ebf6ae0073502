#include "inspect/json.h"

#include "inspect/view.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- values ---- */

static size_t utf8_length(const unsigned char *s) {
  size_t n = s[0] < 0x80                   ? 1
             : s[0] >= 0xc2 && s[0] < 0xe0 ? 2
             : (s[0] & 0xf0) == 0xe0       ? 3
             : s[0] < 0xf5                 ? 4
                                           : 0;
  if (s[0] >= 0x80 && s[0] < 0xc2) return 0;
  for (size_t i = 1; i < n; i++)
    if ((s[i] & 0xc0) != 0x80) return 0;
  return n;
}

json_t *ifd_json_text(const char *text) {
  if (!text) return json_null();
  char *clean = strdup(text);
  if (!clean) return NULL;
  for (char *s = clean; *s;) {
    size_t n = utf8_length((unsigned char *)s);
    if (!n || *s == 0x7f) *s = '?';
    s += n ? n : 1;
  }
  json_t *value = json_string(clean);
  if (!value) { /* surrogates and overlong forms */
    for (char *s = clean; *s; s++)
      if ((unsigned char)*s >= 0x80) *s = '?';
    value = json_string(clean);
  }
  free(clean);
  return value;
}

json_t *ifd_json_number(double x) {
  if (!isfinite(x)) return json_null();
  return x == floor(x) && fabs(x) < 9e15 ? json_integer((json_int_t)x) : json_real(x);
}

json_t *ifd_json_append(json_t *list, json_t *item) {
  if (json_array_append_new(list, item) == 0) return list;
  json_decref(list);
  return NULL;
}

json_t *ifd_json_set(json_t *object, const char *name, json_t *value) {
  if (json_object_set_new(object, name, value) == 0) return object;
  json_decref(object);
  return NULL;
}

ifd_status ifd_json_print(ifd_error *err, json_t *value, FILE *to) {
  char *text = value ? json_dumps(value, JSON_INDENT(2) | JSON_REAL_PRECISION(9)) : NULL;
  json_decref(value);
  EXPECT(err, text, NO_MEMORY, "out of memory");
  fputs(text, to);
  fputc('\n', to);
  free(text);
  return IFD_OK;
}

/* ---- types ---- */

static json_t *type_json(const ifd_survey *s, const ifd_type *t) {
  char text[512];
  json_t *shape = json_null();
  if (t->kind == IFD_KIND_TENSOR && t->has_rank) {
    shape = json_array();
    for (int i = 0; i < t->rank; i++)
      shape = ifd_json_append(
          shape, ifd_dim_is_number(t->dims[i])
                     ? json_integer(t->dims[i])
                     : ifd_json_text(ifd_dim_text(s->model->dims, t->dims[i], text, sizeof text)));
  }
  json_t *type = ifd_json_text(ifd_type_text(s->model->dims, t, text, sizeof text));
  return json_pack("{s:o, s:o}", "type", type, "shape", shape);
}

/* The object with the members of another, which is taken over. */
static json_t *merged(json_t *object, json_t *more) {
  bool whole = json_object_update(object, more) == 0;
  json_decref(more);
  if (whole) return object;
  json_decref(object);
  return NULL;
}

static json_t *value_json(const ifd_survey *s, const ifd_value *v) {
  json_t *value = json_pack("{s:o}", "name", ifd_json_text(v->name)), *type = type_json(s, v->type);
  return merged(value, type);
}

static json_t *values_json(const ifd_survey *s, ifd_value *const *values, int n, bool inputs) {
  json_t *list = json_array();
  for (int i = 0; i < n; i++) {
    if (inputs && ifd_value_constant(values[i])) continue;
    json_t *value = value_json(s, values[i]);
    if (inputs && values[i]->constant) value = ifd_json_set(value, "has_default", json_true());
    list = ifd_json_append(list, value);
  }
  return list;
}

/* ---- totals ---- */

static json_t *quantity_json(const ifd_survey *s, const ifd_quantity *q) {
  json_t *at = q->is_exact ? json_null() : ifd_json_text(s->probe_text);
  return json_pack("{s:o, s:o, s:o}", "expression", ifd_json_text(q->expression), "number",
                   q->has_number ? ifd_json_number(q->number) : json_null(), "at", at);
}

static json_t *dim_json(const ifd_survey *s, ifd_dim d) {
  char text[512];
  if (ifd_dim_is_number(d)) return json_integer(d);
  return ifd_json_text(ifd_dim_text(s->model->dims, d, text, sizeof text));
}

static json_t *parameters_json(const ifd_survey *s) {
  json_t *types = json_object();
  for (int i = 0; i < s->types.n; i++) {
    const ifd_type_row *t = &s->types.v[i];
    types = ifd_json_set(types, ifd_dtype_name(t->dtype),
                         json_pack("{s:i, s:o, s:o}", "tensors", t->n_tensors, "elements",
                                   ifd_json_number(t->elements), "bytes", ifd_json_number(t->bytes)));
  }
  return json_pack("{s:o, s:o, s:o}", "elements", ifd_json_number(s->elements), "bytes",
                   ifd_json_number(s->bytes), "by_type", types);
}

static json_t *operators_json(const ifd_survey *s) {
  json_t *list = json_array();
  for (int i = 0; i < s->operators.n; i++) {
    const ifd_operator_row *o = &s->operators.v[i];
    list = ifd_json_append(list, json_pack("{s:o, s:o, s:i, s:i, s:o, s:i, s:I, s:b, s:b}", "operator",
                                           ifd_json_text(o->op_type), "domain",
                                           ifd_json_text(*o->domain ? o->domain : "ai.onnx"), "since",
                                           o->opset, "nodes", o->n_nodes, "macs", dim_json(s, o->macs),
                                           "nodes_of_unknown_macs", o->n_unknown_macs, "parameters",
                                           (json_int_t)o->elements, "supported", o->supported, "is_function",
                                           o->is_function));
  }
  return list;
}

static json_t *norms_json(const ifd_survey *s) {
  json_t *list = json_array();
  for (int i = 0; i < s->norms.n; i++) {
    const ifd_norm_row *r = &s->norms.v[i];
    list = ifd_json_append(
        list,
        json_pack("{s:o, s:s, s:b, s:o, s:s, s:o, s:b}", "node", ifd_json_text(ifd_survey_node_name(r->node)),
                  "normalization", r->norm.label, "written_out", r->norm.written_out, "over",
                  ifd_json_text(r->norm.over), "statistics", ifd_norm_statistics_text(r->norm.statistics),
                  "after", ifd_json_text(r->after), "mixes_batch", r->norm.statistics == IFD_NORM_OF_BATCH));
  }
  return list;
}

static json_t *opsets_json(const ifd_model *m) {
  json_t *opsets = json_object();
  for (int i = 0; i < m->opsets.n; i++) {
    json_t *domain = ifd_json_text(*ifd_domain(m->opsets.v[i].domain) ? m->opsets.v[i].domain : "ai.onnx");
    opsets = ifd_json_set(opsets, json_string_value(domain), json_integer(m->opsets.v[i].version));
    json_decref(domain);
  }
  return opsets;
}

/* ---- details ---- */

static json_t *names_json(ifd_value *const *values, int n) {
  json_t *list = json_array();
  for (int i = 0; i < n; i++) list = ifd_json_append(list, ifd_json_text(values[i] ? values[i]->name : ""));
  return list;
}

static json_t *nodes_json(const ifd_survey *s) {
  json_t *list = json_array();
  for (int i = 0; i < s->nodes.n; i++) {
    const ifd_node_row *r = &s->nodes.v[i];
    const ifd_node *n = r->node;
    json_t *outputs = json_array();
    for (int k = 0; k < n->n_outputs; k++)
      outputs = ifd_json_append(outputs, n->outputs[k] ? value_json(s, n->outputs[k]) : json_null());
    list =
        ifd_json_append(list, json_pack("{s:o, s:o, s:o, s:i, s:o, s:o, s:o}", "name", ifd_json_text(n->name),
                                        "operator", ifd_json_text(n->op_type), "domain",
                                        ifd_json_text(*n->domain ? n->domain : "ai.onnx"), "depth", r->depth,
                                        "inputs", names_json(n->inputs, n->n_inputs), "outputs", outputs,
                                        "macs", r->has_macs ? dim_json(s, r->macs) : json_null()));
  }
  return list;
}

static json_t *shape_json(const ifd_shape *shape) {
  json_t *list = json_array();
  for (int i = 0; i < shape->rank; i++) list = ifd_json_append(list, json_integer(shape->dim[i]));
  return list;
}

static json_t *weights_json(const ifd_survey *s) {
  json_t *list = json_array();
  for (int i = 0; i < s->weights.n; i++) {
    const ifd_weight_row *w = &s->weights.v[i];
    ifd_weight_facts f;
    ifd_weight_measure(w->tensor, &f);
    json_t *row = json_pack("{s:o, s:s, s:o, s:I}", "name", ifd_json_text(w->name), "type",
                            ifd_dtype_name(w->tensor->dtype), "shape", shape_json(&w->tensor->shape), "bytes",
                            (json_int_t)ifd_tensor_bytes(w->tensor));
    if (f.is_number) {
      json_t *facts = json_pack("{s:o, s:o, s:o, s:I, s:I, s:I}", "min", ifd_json_number(f.min), "max",
                                ifd_json_number(f.max), "mean", ifd_json_number(f.mean), "zeros",
                                (json_int_t)f.n_zero, "nan", (json_int_t)f.n_nan, "inf", (json_int_t)f.n_inf);
      row = merged(row, facts);
    }
    list = ifd_json_append(list, row);
  }
  return list;
}

json_t *ifd_json_survey(const ifd_survey *s, bool details) {
  const ifd_model *m = s->model;
  const ifd_graph *g = m->graph;
  json_t *all =
      json_pack("{s:{s:o, s:o}, s:I, s:o, s:o, s:i, s:i}", "producer", "name",
                ifd_json_text(m->producer_name), "version", ifd_json_text(m->producer_version), "ir_version",
                (json_int_t)m->ir_version, "opsets", opsets_json(m), "graph", ifd_json_text(g->name), "nodes",
                s->n_nodes, "batch_normalizations", s->n_batch_norms);
  if (!all) return NULL;
  all = ifd_json_set(all, "inputs", values_json(s, g->inputs.v, g->inputs.n, true));
  all = ifd_json_set(all, "outputs", values_json(s, g->outputs.v, g->outputs.n, false));
  all = ifd_json_set(all, "parameters", parameters_json(s));
  all = ifd_json_set(all, "macs", quantity_json(s, &s->macs));
  all = ifd_json_set(all, "memory", quantity_json(s, &s->memory));
  all = ifd_json_set(all, "operators", operators_json(s));
  all = ifd_json_set(all, "normalization", norms_json(s));
  if (details) {
    all = ifd_json_set(all, "node_list", nodes_json(s));
    all = ifd_json_set(all, "weights", weights_json(s));
  }
  return all;
}

ifd_status ifd_survey_json(const ifd_survey *s, FILE *to, int width) {
  (void)width;
  return ifd_json_print(s->err, ifd_json_survey(s, true), to);
}
