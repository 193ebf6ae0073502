#include <stdio.h>
#include <assert.h>
#include <string.h>

#include "ir/ir.h"

ifd_model *ifd_model_create(ifd_budget *budget) {
  ifd_arena arena;
  ifd_arena_init(&arena, budget);
  ifd_model *model = ifd_new(&arena, ifd_model);
  if (!model) return NULL;
  model->arena = arena;
  ifd_map_init(&model->names, &model->arena);
  ifd_map_init(&model->function_keys, &model->arena);
  model->ir_version = 10;
  model->producer_name = model->producer_version = model->domain = model->doc = "";
  model->dims = ifd_dims_new(&model->arena);
  model->graph = ifd_graph_new(model, NULL);
  if (!model->dims || !model->graph) {
    ifd_model_destroy(model);
    return NULL;
  }
  return model;
}

void ifd_model_destroy(ifd_model *model) {
  if (!model) return;
  if (model->release_files) model->release_files(model->files);
  ifd_arena_free(&model->arena);
}

void ifd_model_let_go(const ifd_model *model, const void *p, size_t len) {
  if (model->let_files_go) model->let_files_go(model->files, p, len);
}

ifd_graph *ifd_graph_new(ifd_model *model, ifd_graph *outer) {
  ifd_graph *graph = ifd_new(&model->arena, ifd_graph);
  if (!graph) return NULL;
  graph->model = model;
  graph->outer = outer;
  graph->function = outer ? outer->function : NULL;
  graph->name = "";
  ifd_map_init(&graph->values, &model->arena);
  return graph;
}

/* The key of a function in model->function_keys; those that share one are chained. */
static const char *function_key(char key[24], const char *domain, const char *name, const char *overload) {
  const char *part[] = {ifd_domain(domain), name, overload ? overload : ""};
  uint64_t hash = 0;
  for (int i = 0; i < 3; i++) hash = ifd_hash_mix(hash, ifd_hash_bytes(part[i], strlen(part[i])));
  snprintf(key, 24, "%016llx", (unsigned long long)hash);
  return key;
}

/* Puts a function at the end of the model's list, to be found by its key. */
static ifd_status list_function(ifd_error *err, ifd_model *model, ifd_function *f) {
  char text[24];
  const char *key;
  ALLOC(err, key, ifd_arena_strdup(&model->arena, function_key(text, f->domain, f->name, f->overload)));
  f->id = model->functions.n;
  f->same_key = ifd_map_find(&model->function_keys, key);
  EXPECT(err, ifd_map_set(&model->function_keys, key, f), NO_MEMORY, "out of memory");
  IFD_PUSH(err, &model->arena, &model->functions, f);
  return IFD_OK;
}

typedef struct calls {
  ifd_error *err;
  ifd_arena scratch;
  const ifd_model *model;
  bool *called; /* by the function's id */
  IFD_VEC(ifd_graph *) work;
} calls;

static ifd_status note_calls(ifd_graph *graph, void *context) {
  calls *c = context;
  IFD_EACH_NODE(node, graph) {
    const ifd_function *f = ifd_node_find_function(node);
    if (!f || c->called[f->id]) continue;
    c->called[f->id] = true;
    IFD_PUSH(c->err, &c->scratch, &c->work, f->body);
  }
  return IFD_OK;
}

static ifd_status find_called(calls *c) {
  ALLOC(c->err, c->called, ifd_new_array(&c->scratch, bool, c->model->functions.n));
  TRY(ifd_graph_visit(c->model->graph, note_calls, c));
  while (c->work.n) TRY(ifd_graph_visit(c->work.v[--c->work.n], note_calls, c));
  return IFD_OK;
}

static ifd_status keep_functions(ifd_error *err, ifd_model *model, const bool *keep) {
  int n = model->functions.n;
  model->functions.n = 0;
  ifd_map_init(&model->function_keys, &model->arena);
  for (int i = 0; i < n; i++)
    if (keep[i]) TRY(list_function(err, model, model->functions.v[i]));
  return IFD_OK;
}

ifd_status ifd_model_drop_uncalled(ifd_error *err, ifd_model *model) {
  if (!model->functions.n) return IFD_OK;
  calls c = {.err = err, .model = model};
  ifd_arena_init(&c.scratch, model->arena.budget);
  ifd_status status = find_called(&c);
  if (status == IFD_OK) status = keep_functions(err, model, c.called);
  ifd_arena_free(&c.scratch);
  return status;
}

ifd_status ifd_function_new(ifd_error *err, ifd_function **out, ifd_model *model, const char *domain,
                            const char *name, const char *overload) {
  EXPECT(err, !ifd_model_find_function(model, domain, name, overload), BAD_MODEL,
         "function %s of domain \"%s\" is defined twice", name, domain);
  ifd_function *f;
  ALLOC(err, f, ifd_new(&model->arena, ifd_function));
  ALLOC(err, f->domain, ifd_arena_strdup(&model->arena, ifd_domain(domain)));
  ALLOC(err, f->name, ifd_arena_strdup(&model->arena, name));
  ALLOC(err, f->overload, ifd_arena_strdup(&model->arena, overload ? overload : ""));
  ALLOC(err, f->body, ifd_graph_new(model, NULL));
  f->body->function = f;
  TRY(list_function(err, model, f));
  *out = f;
  return IFD_OK;
}

const char *ifd_unique_name(ifd_map *names, const char *hint) {
  intptr_t tried = (intptr_t)ifd_map_find(names, hint);
  const char *name = ifd_arena_strdup(names->arena, hint);
  if (!name || !tried) return name;
  const char *base = name;
  while (name && ifd_map_find(names, name))
    name = ifd_arena_printf(names->arena, "%s_%ld", hint, (long)tried++);
  return name && ifd_map_set(names, base, (void *)(tried - 1)) ? name : NULL;
}

const char *ifd_graph_unique_name(ifd_graph *graph, const char *hint) {
  return ifd_unique_name(&graph->model->names, hint);
}

ifd_status ifd_graph_add_input(ifd_error *err, ifd_graph *graph, ifd_value *value) {
  EXPECT(err, value->graph == graph && !value->producer, BAD_MODEL, "%s cannot be an input", value->name);
  EXPECT(err, !value->is_input, BAD_MODEL, "input %s is listed twice", value->name);
  IFD_PUSH(err, &graph->model->arena, &graph->inputs, value);
  value->is_input = true;
  return IFD_OK;
}

/* A value of this graph with the value of an outer one. */
static ifd_status copy_outer(ifd_error *err, ifd_value **value, ifd_graph *graph) {
  ifd_node *identity;
  ifd_value *copy;
  const char *name;
  TRY(ifd_node_new(err, &identity, graph, "", "Identity", 1, 1));
  ALLOC(err, name, ifd_graph_unique_name(graph, (*value)->name));
  TRY(ifd_value_new(err, &copy, graph, name));
  copy->type = (*value)->type;
  TRY(ifd_node_set_input(err, identity, 0, *value));
  TRY(ifd_node_set_output(err, identity, 0, copy));
  ifd_node_insert(identity, NULL);
  *value = copy;
  return IFD_OK;
}

ifd_status ifd_graph_add_output(ifd_error *err, ifd_graph *graph, ifd_value *value) {
  if (value->graph != graph) TRY(copy_outer(err, &value, graph));
  IFD_PUSH(err, &graph->model->arena, &graph->outputs, value);
  value->n_outputs++;
  return IFD_OK;
}

static void drop_at(ifd_value **list, int *n, int index) {
  --*n;
  for (int i = index; i < *n; i++) list[i] = list[i + 1];
}

void ifd_graph_drop_input(ifd_graph *graph, int index) {
  ifd_value *value = graph->inputs.v[index];
  assert(!ifd_value_n_readers(value));
  value->is_input = false;
  (void)ifd_map_set(&graph->values, value->name, NULL);
  drop_at(graph->inputs.v, &graph->inputs.n, index);
}

void ifd_graph_drop_output(ifd_graph *graph, int index) {
  graph->outputs.v[index]->n_outputs--;
  drop_at(graph->outputs.v, &graph->outputs.n, index);
}

ifd_status ifd_graph_add_constant(ifd_error *err, ifd_graph *graph, ifd_value *value,
                                  const ifd_tensor *tensor) {
  EXPECT(err, value->graph == graph && !value->producer, BAD_MODEL, "%s cannot be an initializer",
         value->name);
  EXPECT(err, !value->constant, BAD_MODEL, "initializer %s is given twice", value->name);
  ifd_tensor *copy;
  ALLOC(err, copy, ifd_arena_memdup(&graph->model->arena, tensor, sizeof *tensor));
  if (!value->is_initializer) IFD_PUSH(err, &graph->model->arena, &graph->constants, value);
  value->is_initializer = true;
  value->constant = copy;
  return IFD_OK;
}

static void remove_input(ifd_graph *graph, ifd_value *value) {
  int n = 0;
  for (int i = 0; i < graph->inputs.n; i++)
    if (graph->inputs.v[i] != value) graph->inputs.v[n++] = graph->inputs.v[i];
  graph->inputs.n = n;
  value->is_input = false;
}

void ifd_graph_remove_constant(ifd_value *value) {
  value->constant = NULL;
  value->constant_origin = NULL;
  value->sparse_bytes = 0;
  if (value->is_input) remove_input(value->graph, value);
}

const char *ifd_domain(const char *domain) { return !domain || strcmp(domain, "ai.onnx") == 0 ? "" : domain; }

bool ifd_domain_equal(const char *a, const char *b) { return strcmp(ifd_domain(a), ifd_domain(b)) == 0; }

static int find_opset(const ifd_opset *opsets, int n, const char *domain) {
  for (int i = 0; i < n; i++)
    if (ifd_domain_equal(opsets[i].domain, domain)) return opsets[i].version;
  return 0;
}

int ifd_model_opset(const ifd_model *model, const char *domain) {
  return find_opset(model->opsets.v, model->opsets.n, domain);
}

int ifd_graph_opset(const ifd_graph *graph, const char *domain) {
  const ifd_function *f = graph->function;
  return f ? find_opset(f->opsets.v, f->opsets.n, domain) : ifd_model_opset(graph->model, domain);
}

const ifd_function *ifd_model_find_function(const ifd_model *model, const char *domain, const char *name,
                                            const char *overload) {
  char key[24];
  if (!model->functions.n) return NULL;
  const ifd_function *f = ifd_map_find(&model->function_keys, function_key(key, domain, name, overload));
  for (; f; f = f->same_key)
    if (strcmp(f->name, name) == 0 && ifd_domain_equal(f->domain, domain) &&
        strcmp(f->overload, overload ? overload : "") == 0)
      return f;
  return NULL;
}

const ifd_function *ifd_node_find_function(const ifd_node *node) {
  return ifd_model_find_function(node->graph->model, node->domain, node->op_type, node->overload);
}

ifd_value *ifd_graph_find_value(const ifd_graph *graph, const char *name) {
  for (; graph; graph = graph->outer) {
    ifd_value *value = ifd_map_find(&graph->values, name);
    if (value) return value;
  }
  return NULL;
}

int ifd_attr_graphs(const ifd_attr *attr, ifd_graph *const **out) {
  *out = NULL;
  if (attr->ref) return 0;
  if (attr->type == IFD_ATTR_GRAPH) *out = &attr->graph;
  if (attr->type == IFD_ATTR_GRAPHS) *out = attr->graphs;
  return !*out ? 0 : attr->type == IFD_ATTR_GRAPH ? 1 : attr->n;
}

bool ifd_node_has_graphs(const ifd_node *node) {
  ifd_graph *const *graphs;
  for (int i = 0; i < node->n_attrs; i++)
    if (ifd_attr_graphs(&node->attrs[i], &graphs)) return true;
  return false;
}

ifd_status ifd_graph_visit(ifd_graph *graph, ifd_status (*visit)(ifd_graph *graph, void *context),
                           void *context) {
  TRY(visit(graph, context));
  IFD_EACH_NODE(node, graph)
  for (int a = 0; a < node->n_attrs; a++) {
    ifd_graph *const *graphs;
    int n = ifd_attr_graphs(&node->attrs[a], &graphs);
    for (int i = 0; i < n; i++) TRY(ifd_graph_visit(graphs[i], visit, context));
  }
  return IFD_OK;
}
