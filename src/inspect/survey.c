#include "inspect/survey.h"

#include "ops/infer.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *ifd_survey_node_name(const ifd_node *node) {
  if (*node->name) return node->name;
  for (int i = 0; i < node->n_outputs; i++)
    if (node->outputs[i]) return node->outputs[i]->name;
  return "";
}

/* ---- free dimensions ---- */

static ifd_status name_dims(ifd_survey *s, ifd_value *v, int *n_named) {
  const ifd_type *t = v->type;
  ifd_model *model = (ifd_model *)s->model;
  ifd_dim dims[IFD_MAX_RANK];
  bool changed = false;
  if (t->kind != IFD_KIND_TENSOR || !t->has_rank || t->rank > IFD_MAX_RANK) return IFD_OK;
  for (int i = 0; i < t->rank; i++) {
    dims[i] = t->dims[i];
    if (ifd_dim_is_number(dims[i]) || ifd_dim_name(model->dims, dims[i])) continue;
    char name[16];
    snprintf(name, sizeof name, "?%d", ++*n_named);
    dims[i] = ifd_dim_symbol(model->dims, name);
    changed = true;
  }
  if (changed) ALLOC(s->err, v->type, ifd_type_tensor(&model->arena, t->dtype, t->rank, dims));
  if (changed) v->declared = v->type;
  return IFD_OK;
}

static ifd_status name_free_dims(ifd_survey *s) {
  ifd_model *model = (ifd_model *)s->model;
  int n_named = 0;
  for (int i = 0; i < model->graph->inputs.n; i++) TRY(name_dims(s, model->graph->inputs.v[i], &n_named));
  if (!n_named) return IFD_OK;
  ifd_inference inf;
  TRY(ifd_inference_init(&inf, s->err, &model->arena, model->dims, model->n_values));
  return ifd_infer_model(&inf, model);
}

static ifd_status add_symbol(ifd_survey *s, const char *name, int64_t number) {
  if (ifd_map_find(&s->probe.map, name)) return IFD_OK;
  int64_t *bound;
  ALLOC(s->err, bound, ifd_new(s->arena, int64_t));
  *bound = number;
  EXPECT(s->err, ifd_map_set(&s->probe.map, name, bound), NO_MEMORY, "out of memory");
  IFD_PUSH(s->err, s->arena, &s->symbols, name);
  return IFD_OK;
}

/* Symbols of inputs: first dimensions, which are 1 in the probe, before the others. */
static ifd_status find_symbols(ifd_survey *s) {
  const ifd_graph *g = s->model->graph;
  for (int first = 1; first >= 0; first--)
    for (int i = 0; i < g->inputs.n; i++) {
      const ifd_type *t = g->inputs.v[i]->type;
      for (int k = 0; t->kind == IFD_KIND_TENSOR && t->has_rank && k < t->rank; k++) {
        const char *name = ifd_dim_is_number(t->dims[k]) ? NULL : ifd_dim_name(s->model->dims, t->dims[k]);
        if (name && (k == 0) == first) TRY(add_symbol(s, name, first ? 1 : IFD_PROBE));
      }
    }
  return IFD_OK;
}

/* Whether every dimension that the probe decides is at least `least`. */
static bool probe_fits(const ifd_survey *s, int64_t least) {
  IFD_EACH_NODE(node, s->model->graph)
  for (int i = 0; i < node->n_outputs; i++) {
    const ifd_type *t = node->outputs[i] ? node->outputs[i]->type : &ifd_type_unknown;
    for (int k = 0; t->kind == IFD_KIND_TENSOR && t->has_rank && k < t->rank; k++) {
      int64_t number;
      if (ifd_dim_eval(s->model->dims, t->dims[k], &s->probe, &number) && number < least) return false;
    }
  }
  return true;
}

static void set_probe(ifd_survey *s, int64_t number) {
  for (int i = 0; i < s->symbols.n; i++) {
    int64_t *bound = ifd_map_find(&s->probe.map, s->symbols.v[i]);
    if (*bound != 1) *bound = number;
  }
}

/* Windows may be larger than 64: the least power of two that leaves no dimension empty, or else none
 * negative. */
static void fit_probe(ifd_survey *s) {
  enum { MOST = IFD_PROBE << 14 };
  for (int64_t least = 1; least >= 0; least--)
    for (int64_t number = IFD_PROBE; number <= MOST; number *= 2) {
      set_probe(s, number);
      if (probe_fits(s, least)) return;
    }
  set_probe(s, IFD_PROBE);
}

/* "N = 1, H = W = 64" */
static ifd_status describe_probe(ifd_survey *s) {
  s->probe_text = "";
  for (int i = 0; i < s->symbols.n; i++) {
    int64_t number = *(int64_t *)ifd_map_find(&s->probe.map, s->symbols.v[i]);
    bool last =
        i + 1 == s->symbols.n || *(int64_t *)ifd_map_find(&s->probe.map, s->symbols.v[i + 1]) != number;
    ALLOC(s->err, s->probe_text, ifd_arena_printf(s->arena, "%s%s = ", s->probe_text, s->symbols.v[i]));
    if (last)
      ALLOC(s->err, s->probe_text,
            ifd_arena_printf(s->arena, "%s%lld%s", s->probe_text, (long long)number,
                             i + 1 < s->symbols.n ? ", " : ""));
  }
  return IFD_OK;
}

static ifd_status quantify(ifd_survey *s, ifd_dim d, ifd_quantity *out) {
  char text[1024];
  int64_t number;
  ALLOC(s->err, out->expression,
        ifd_arena_strdup(s->arena, ifd_dim_text(s->model->dims, d, text, sizeof text)));
  out->is_exact = ifd_dim_is_number(d);
  out->has_number = ifd_dim_eval(s->model->dims, d, &s->probe, &number);
  out->number = out->has_number ? (double)number : 0;
  return IFD_OK;
}

/* ---- weights ---- */

static ifd_type_row *type_row(ifd_survey *s, ifd_dtype dtype) {
  for (int i = 0; i < s->types.n; i++)
    if (s->types.v[i].dtype == dtype) return &s->types.v[i];
  return NULL;
}

static ifd_status add_weight(ifd_survey *s, const char *name, const ifd_tensor *t, const ifd_graph *graph) {
  ifd_weight_row row = {.name = name, .tensor = t, .graph = graph};
  double elements = (double)ifd_tensor_count(t);
  double bytes =
      t->packed ? (double)ifd_packed_bytes(t->dtype, ifd_tensor_count(t)) : (double)ifd_tensor_bytes(t);
  IFD_PUSH(s->err, s->arena, &s->weights, row);
  if (!type_row(s, t->dtype)) {
    ifd_type_row new = {.dtype = t->dtype};
    IFD_PUSH(s->err, s->arena, &s->types, new);
  }
  ifd_type_row *type = type_row(s, t->dtype);
  type->n_tensors++;
  type->elements += elements;
  type->bytes += bytes;
  s->elements += elements;
  s->bytes += bytes;
  return IFD_OK;
}

static ifd_status add_constants(ifd_survey *s, const ifd_graph *g) {
  for (int i = 0; i < g->constants.n; i++)
    if (g->constants.v[i]->constant)
      TRY(add_weight(s, g->constants.v[i]->name, g->constants.v[i]->constant, g));
  return IFD_OK;
}

/* ---- operators ---- */

static ifd_status label_of(ifd_survey *s, const ifd_node *node, const char **out) {
  ALLOC(s->err, *out,
        ifd_arena_printf(s->arena, "%s%s%s", node->domain, *node->domain ? "." : "", node->op_type));
  return IFD_OK;
}

static int64_t elements_read(const ifd_node *node) {
  int64_t n = 0;
  for (int i = 0; i < node->n_inputs; i++)
    if (node->inputs[i] && node->inputs[i]->constant && node->inputs[i]->uses.n &&
        node->inputs[i]->uses.v[0].node == node)
      n += ifd_tensor_count(node->inputs[i]->constant);
  return n;
}

static bool is_function(const ifd_survey *s, const ifd_node *node) {
  return ifd_model_find_function(s->model, node->domain, node->op_type, node->overload) != NULL;
}

/* The row of the node's operator, made if it is the first. */
static ifd_status get_operator(ifd_survey *s, ifd_operator_row **out, const ifd_node *node) {
  const char *key;
  int opset = node->schema ? node->schema->since_version : 0;
  ALLOC(s->err, key, ifd_arena_printf(s->arena, "%s\n%s\n%d", node->domain, node->op_type, opset));
  uintptr_t i = (uintptr_t)ifd_map_find(&s->operators_by_key, key);
  if (!i) {
    ifd_operator_row new = {.domain = node->domain, .op_type = node->op_type, .opset = opset};
    new.is_function = is_function(s, node);
    new.supported = new.is_function || (node->op && node->op->eval);
    TRY(label_of(s, node, &new.label));
    IFD_PUSH(s->err, s->arena, &s->operators, new);
    i = (uintptr_t)s->operators.n;
    EXPECT(s->err, ifd_map_set(&s->operators_by_key, key, (void *)i), NO_MEMORY, "out of memory");
  }
  *out = &s->operators.v[i - 1];
  return IFD_OK;
}

static ifd_status add_operator(ifd_survey *s, const ifd_node *node, const ifd_node_row *row) {
  ifd_operator_row *o;
  TRY(get_operator(s, &o, node));
  o->n_nodes++;
  o->elements += elements_read(node);
  if (row->has_macs) o->macs = ifd_dim_add(s->model->dims, o->macs, row->macs);
  o->n_unknown_macs += !row->has_macs;
  return IFD_OK;
}

static int compare_operators(const void *a, const void *b) {
  const ifd_operator_row *x = a, *y = b;
  if (x->n_nodes != y->n_nodes) return x->n_nodes > y->n_nodes ? -1 : 1;
  int order = strcmp(x->label, y->label);
  return order ? order : (x->opset > y->opset) - (x->opset < y->opset);
}

/* ---- normalization ---- */

static const char *what_is_before(const ifd_value *x) {
  if (x->producer) return x->producer->op_type;
  return x->constant ? "a constant" : "an input";
}

static ifd_status add_norm(ifd_survey *s, const ifd_node *node) {
  ifd_norm_row row = {.node = node};
  TRY(ifd_norm_of(s->err, s->arena, node, &row.norm));
  if (!row.norm.label) return IFD_OK;
  row.after = what_is_before(row.norm.x);
  if (ifd_node_is(node, "BatchNormalization")) s->n_batch_norms++;
  IFD_PUSH(s->err, s->arena, &s->norms, row);
  return IFD_OK;
}

/* ---- nodes ---- */

static int depth_of(const ifd_graph *g) {
  int depth = 0;
  for (; g->outer; g = g->outer) depth++;
  return depth;
}

static ifd_status add_node(ifd_survey *s, const ifd_node *node) {
  const ifd_tensor *value = ifd_node_is(node, "Constant") ? ifd_node_tensor(node, "value") : NULL;
  ifd_node_row row = {.node = node, .depth = depth_of(node->graph)};
  if (ifd_node_is(node, "Constant")) {
    if (value) TRY(add_weight(s, ifd_survey_node_name(node), value, node->graph));
    return IFD_OK;
  }
  int64_t number; /* what depends on data is as good as unknown */
  row.has_macs = ifd_cost_node(s->model->dims, node, &row.macs) &&
                 ifd_dim_eval(s->model->dims, row.macs, &s->probe, &number);
  if (!row.has_macs) s->n_unknown_macs++;
  s->n_nodes++;
  IFD_PUSH(s->err, s->arena, &s->nodes, row);
  TRY(add_operator(s, node, &row));
  return add_norm(s, node);
}

static ifd_status add_graph(ifd_graph *graph, void *context) {
  ifd_survey *s = context;
  s->n_graphs++;
  TRY(add_constants(s, graph));
  IFD_EACH_NODE(node, graph) TRY(add_node(s, node));
  return IFD_OK;
}

static ifd_status add_totals(ifd_survey *s) {
  ifd_dim macs = 0;
  for (int i = 0; i < s->nodes.n; i++)
    if (s->nodes.v[i].has_macs) macs = ifd_dim_add(s->model->dims, macs, s->nodes.v[i].macs);
  TRY(quantify(s, macs, &s->macs));
  ifd_arena scratch;
  ifd_arena_init(&scratch, s->arena->budget);
  ifd_status status = ifd_cost_peak(s->err, &scratch, s->model, &s->probe, &s->peak);
  ifd_arena_free(&scratch);
  TRY(status);
  return quantify(s, s->peak.bytes, &s->memory);
}

ifd_status ifd_survey_new(ifd_error *err, ifd_survey **out, ifd_model *model, ifd_arena *arena) {
  ifd_survey *s;
  ALLOC(err, s, ifd_new(arena, ifd_survey));
  s->model = model;
  s->arena = arena;
  s->err = err;
  ifd_map_init(&s->probe.map, arena);
  ifd_map_init(&s->operators_by_key, arena);
  TRY(name_free_dims(s));
  TRY(find_symbols(s));
  fit_probe(s);
  TRY(describe_probe(s));
  TRY(ifd_graph_visit(model->graph, add_graph, s));
  for (int i = 0; i < model->functions.n; i++)
    TRY(ifd_graph_visit(model->functions.v[i]->body, add_graph, s));
  if (s->operators.n)
    qsort(s->operators.v, (size_t)s->operators.n, sizeof *s->operators.v, compare_operators);
  TRY(add_totals(s));
  *out = s;
  return IFD_OK;
}

/* ---- elements ---- */

void ifd_weight_measure(const ifd_tensor *t, ifd_weight_facts *out) {
  int64_t n = ifd_tensor_count(t), finite = 0;
  double sum = 0;
  ifd_dtype_class class = ifd_dtypes[t->dtype].class;
  *out = (ifd_weight_facts){.min = NAN, .max = NAN, .mean = NAN};
  out->is_number = class != IFD_CLASS_STRING && class != IFD_CLASS_COMPLEX;
  if (!out->is_number || (n && !t->data)) return;
  int64_t distinct = t->splat && n ? 1 : n, times = t->splat ? n : 1;
  for (int64_t i = 0; i < distinct; i++) {
    double x = ifd_tensor_get_f64(t, i);
    if (isnan(x)) {
      out->n_nan += times;
      continue;
    }
    if (isinf(x)) {
      out->n_inf += times;
      continue;
    }
    if (x == 0) out->n_zero += times;
    if (!finite || x < out->min) out->min = x;
    if (!finite || x > out->max) out->max = x;
    sum += x;
    finite++;
  }
  if (finite) out->mean = sum / (double)finite;
}
