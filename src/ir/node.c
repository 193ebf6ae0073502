#include <assert.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "ir/ir.h"
#include "ops/op.h"
#include "ops/schema.h"

/* More than any operator has; keeps the search for an attribute's name short whatever a file says. */
enum { MAX_ATTRS = 1024 };

/* A new node stands this far from its neighbour at the end of the list, so that others fit between. */
#define RANK_GAP (1L << 24)

/* ---- making ---- */

static const ifd_resolved *look_up(ifd_model *model, const ifd_node *node) {
  uint64_t hash = ifd_hash_bytes(node->op_type, strlen(node->op_type));
  ifd_resolved *r = &model->resolved[hash % IFD_RESOLVED];
  bool same = r->op_type && r->opset == node->opset && strcmp(r->op_type, node->op_type) == 0 &&
              strcmp(r->domain, node->domain) == 0;
  if (!same)
    *r = (ifd_resolved){.domain = node->domain,
                        .op_type = node->op_type,
                        .opset = node->opset,
                        .schema = ifd_schema_find(node->domain, node->op_type, node->opset),
                        .op = ifd_op_find(node->domain, node->op_type, node->opset)};
  return r;
}

void ifd_node_resolve(ifd_node *node) {
  ifd_model *model = node->graph->model;
  bool local = ifd_model_find_function(model, node->domain, node->op_type, node->overload);
  node->opset = ifd_graph_opset(node->graph, node->domain);
  node->schema = local ? NULL : look_up(model, node)->schema;
  node->op = local ? NULL : look_up(model, node)->op;
}

static ifd_status new_places(ifd_error *err, ifd_value ***out, ifd_model *model, int n) {
  EXPECT(err, n >= 0, LIMIT, "too many inputs or outputs");
  ALLOC(err, *out, ifd_new_array(&model->arena, ifd_value *, n));
  return IFD_OK;
}

static ifd_status new_node(ifd_error *err, ifd_node **out, ifd_graph *graph, int n_inputs, int n_outputs) {
  ifd_model *model = graph->model;
  ifd_node *node;
  EXPECT(err, model->n_nodes < INT_MAX, LIMIT, "too many nodes");
  ALLOC(err, node, ifd_new(&model->arena, ifd_node));
  TRY(new_places(err, &node->inputs, model, n_inputs));
  ALLOC(err, node->use_at, ifd_new_array(&model->arena, int, n_inputs));
  TRY(new_places(err, &node->outputs, model, n_outputs));
  node->graph = graph;
  node->n_inputs = n_inputs;
  node->n_outputs = n_outputs;
  node->id = model->n_nodes++;
  *out = node;
  return IFD_OK;
}

ifd_status ifd_node_new(ifd_error *err, ifd_node **out, ifd_graph *graph, const char *domain,
                        const char *op_type, int n_inputs, int n_outputs) {
  ifd_arena *arena = &graph->model->arena;
  ifd_node *node;
  TRY(new_node(err, &node, graph, n_inputs, n_outputs));
  node->name = node->overload = "";
  ALLOC(err, node->op_type, ifd_arena_strdup(arena, op_type));
  ALLOC(err, node->domain, ifd_arena_strdup(arena, ifd_domain(domain)));
  ifd_node_resolve(node);
  *out = node;
  return IFD_OK;
}

ifd_status ifd_node_new_like(ifd_error *err, ifd_node **out, ifd_graph *graph, const ifd_node *like) {
  ifd_node *node;
  TRY(new_node(err, &node, graph, like->n_inputs, like->n_outputs));
  node->name = like->name;
  node->op_type = like->op_type;
  node->domain = like->domain;
  node->overload = like->overload;
  node->opset = like->opset;
  node->schema = like->schema;
  node->op = like->op;
  node->provenance = like->provenance;
  node->origin = like->origin;
  *out = node;
  return IFD_OK;
}

/* ---- inputs and outputs ---- */

static void drop_use(ifd_node *node, int index) {
  ifd_value *value = node->inputs[index];
  if (!value) return;
  node->inputs[index] = NULL;
  int at = node->use_at[index];
  ifd_use last = value->uses.v[--value->uses.n];
  value->uses.v[at] = last;
  last.node->use_at[last.index] = at;
}

ifd_status ifd_node_set_input(ifd_error *err, ifd_node *node, int index, ifd_value *value) {
  assert(index >= 0 && index < node->n_inputs);
  if (node->inputs[index] == value) return IFD_OK;
  ifd_use use = {node, index};
  if (value) IFD_PUSH(err, &node->graph->model->arena, &value->uses, use);
  drop_use(node, index);
  node->inputs[index] = value;
  if (value) node->use_at[index] = value->uses.n - 1;
  return IFD_OK;
}

static void drop_output(ifd_node *node, int index) {
  if (node->outputs[index]) node->outputs[index]->producer = NULL;
  node->outputs[index] = NULL;
}

ifd_status ifd_node_set_output(ifd_error *err, ifd_node *node, int index, ifd_value *value) {
  assert(index >= 0 && index < node->n_outputs);
  if (node->outputs[index] == value) return IFD_OK;
  if (value) {
    EXPECT(err, value->graph == node->graph, BAD_MODEL, "%s belongs to another graph", value->name);
    EXPECT(err, !value->producer, BAD_MODEL, "value %s is the output of two nodes", value->name);
    EXPECT(err, !value->is_input && !value->constant, BAD_MODEL,
           "value %s is the output of a node and a graph input or initializer", value->name);
    value->producer = node;
    value->output = index;
  }
  drop_output(node, index);
  node->outputs[index] = value;
  return IFD_OK;
}

void ifd_node_drop_input(ifd_node *node, int index) {
  assert(index >= 0 && index < node->n_inputs);
  drop_use(node, index);
  for (int i = index; i + 1 < node->n_inputs; i++) {
    node->inputs[i] = node->inputs[i + 1];
    node->use_at[i] = node->use_at[i + 1];
    if (node->inputs[i]) node->inputs[i]->uses.v[node->use_at[i]].index = i;
  }
  node->n_inputs--;
}

void ifd_node_drop_output(ifd_node *node, int index) {
  assert(index >= 0 && index < node->n_outputs);
  drop_output(node, index);
  for (int i = index; i + 1 < node->n_outputs; i++) {
    node->outputs[i] = node->outputs[i + 1];
    if (node->outputs[i]) node->outputs[i]->output = i;
  }
  node->n_outputs--;
}

/* ---- the list ---- */

static void spread(ifd_node *first, int n, long from, long span) {
  long step = span / (n + 1), rank = from + step;
  for (int i = 0; i < n; i++, rank += step, first = first->next) first->rank = rank;
}

/* Makes room around a node without any: the smallest aligned window of ranks that is sparse enough is spread
 * evenly. What counts as sparse falls with the window's size (density (2/3)^level), which makes n inserts at
 * one place cost O(n log² n) (Bender et al., Two Simplified Algorithms for Maintaining Order in a List,
 * 2002). */
static void make_room(ifd_node *node) {
  ifd_node *first = node, *last = node;
  double most = 1;
  int n = 1;
  for (int level = 1; level < 62; level++) {
    long span = 1L << level, from = node->rank & ~(span - 1);
    most *= 2 / 1.5;
    while (first->prev && first->prev->rank >= from) first = first->prev, n++;
    while (last->next && last->next->rank < from + span) last = last->next, n++;
    if (n < most && span / (n + 1) > 2) {
      spread(first, n, from, span);
      return;
    }
  }
}

static void link_before(ifd_node *node, ifd_node *before) {
  ifd_graph *graph = node->graph;
  node->next = before;
  node->prev = before ? before->prev : graph->last;
  *(node->prev ? &node->prev->next : &graph->first) = node;
  *(before ? &before->prev : &graph->last) = node;
  graph->n_nodes++;
}

static void unlink_node(ifd_node *node) {
  ifd_graph *graph = node->graph;
  *(node->prev ? &node->prev->next : &graph->first) = node->next;
  *(node->next ? &node->next->prev : &graph->last) = node->prev;
  node->prev = node->next = NULL;
  graph->n_nodes--;
}

void ifd_node_insert(ifd_node *node, ifd_node *before) {
  assert(!node->prev && !node->next && node->graph->first != node);
  assert(!before || before->graph == node->graph);
  ifd_node *prev = before ? before->prev : node->graph->last;
  if (before && before->rank - (prev ? prev->rank : 0) < 2) make_room(before);
  long from = prev ? prev->rank : 0;
  node->rank = before ? from + (before->rank - from) / 2 : from + RANK_GAP;
  link_before(node, before);
}

static void drop_all(ifd_node *node);

/* The nodes of a graph that goes away leave the use-lists of outer values. */
static void drop_graph(ifd_graph *graph) {
  for (ifd_node *node = graph->first; node; node = node->next) drop_all(node);
}

static void drop_attr_graphs(const ifd_attr *attr) {
  ifd_graph *const *graphs;
  int n = ifd_attr_graphs(attr, &graphs);
  for (int i = 0; i < n; i++) drop_graph(graphs[i]);
}

static void drop_all(ifd_node *node) {
  for (int i = 0; i < node->n_inputs; i++) drop_use(node, i);
  for (int i = 0; i < node->n_outputs; i++) drop_output(node, i);
  for (int i = 0; i < node->n_attrs; i++) drop_attr_graphs(&node->attrs[i]);
}

void ifd_node_remove(ifd_node *node) {
  drop_all(node);
  unlink_node(node);
  node->rank = -1;
}

/* ---- attributes ---- */

static ifd_attr *find_attr(const ifd_node *node, const char *name) {
  for (int i = 0; i < node->n_attrs; i++)
    if (strcmp(node->attrs[i].name, name) == 0) return &node->attrs[i];
  return NULL;
}

/* The array has room for the next power of two. */
static ifd_status append_attr(ifd_error *err, ifd_attr **out, ifd_node *node, const char *name) {
  int n = node->n_attrs;
  ifd_arena *arena = &node->graph->model->arena;
  EXPECT(err, n < MAX_ATTRS, LIMIT, "a node has more than %d attributes", MAX_ATTRS);
  if ((n & (n - 1)) == 0) {
    ifd_attr *grown;
    ALLOC(err, grown, ifd_new_array(arena, ifd_attr, n ? 2 * n : 1));
    if (n) memcpy(grown, node->attrs, (size_t)n * sizeof *grown);
    node->attrs = grown;
  }
  ALLOC(err, node->attrs[n].name, ifd_arena_strdup(arena, name));
  *out = &node->attrs[n];
  node->n_attrs++;
  return IFD_OK;
}

ifd_status ifd_node_set_attr(ifd_error *err, ifd_node *node, const ifd_attr *attr) {
  ifd_attr *place = find_attr(node, attr->name);
  if (place)
    drop_attr_graphs(place);
  else
    TRY(append_attr(err, &place, node, attr->name));
  const char *name = place->name;
  *place = *attr;
  place->name = name;
  ifd_graph *const *graphs;
  int n = ifd_attr_graphs(place, &graphs);
  for (int i = 0; i < n; i++) graphs[i]->owner = node;
  return IFD_OK;
}

ifd_status ifd_node_set_int(ifd_error *err, ifd_node *node, const char *name, int64_t i) {
  return ifd_node_set_attr(err, node, &(ifd_attr){.name = name, .type = IFD_ATTR_INT, .i = i});
}

ifd_status ifd_node_set_float(ifd_error *err, ifd_node *node, const char *name, float f) {
  return ifd_node_set_attr(err, node, &(ifd_attr){.name = name, .type = IFD_ATTR_FLOAT, .f = f});
}

ifd_status ifd_node_set_string(ifd_error *err, ifd_node *node, const char *name, const char *s) {
  const char *copy;
  ALLOC(err, copy, ifd_arena_strdup(&node->graph->model->arena, s));
  ifd_attr attr = {.name = name, .type = IFD_ATTR_STRING, .s = {copy, strlen(copy)}};
  return ifd_node_set_attr(err, node, &attr);
}

ifd_status ifd_node_set_ints(ifd_error *err, ifd_node *node, const char *name, const int64_t *v, int n) {
  const int64_t *copy;
  ALLOC(err, copy, ifd_arena_memdup(&node->graph->model->arena, v, (size_t)n * sizeof *v));
  ifd_attr attr = {.name = name, .type = IFD_ATTR_INTS, .n = n, .ints = copy};
  return ifd_node_set_attr(err, node, &attr);
}

void ifd_node_remove_attr(ifd_node *node, const char *name) {
  ifd_attr *attr = find_attr(node, name);
  if (!attr) return;
  drop_attr_graphs(attr);
  ifd_attr *last = &node->attrs[--node->n_attrs];
  memmove(attr, attr + 1, (size_t)(last - attr) * sizeof *attr);
}

const ifd_attr *ifd_node_find_attr(const ifd_node *node, const char *name) { return find_attr(node, name); }

/* The attribute when it has a value of this type here: not a reference to a function's attribute. */
static const ifd_attr *typed(const ifd_node *node, const char *name, ifd_attr_type type) {
  const ifd_attr *attr = find_attr(node, name);
  return attr && attr->type == type && !attr->ref ? attr : NULL;
}

int64_t ifd_node_int(const ifd_node *node, const char *name, int64_t otherwise) {
  const ifd_attr *attr = typed(node, name, IFD_ATTR_INT);
  return attr ? attr->i : otherwise;
}

float ifd_node_float(const ifd_node *node, const char *name, float otherwise) {
  const ifd_attr *attr = typed(node, name, IFD_ATTR_FLOAT);
  return attr ? attr->f : otherwise;
}

ifd_str ifd_node_string(const ifd_node *node, const char *name, const char *otherwise) {
  const ifd_attr *attr = typed(node, name, IFD_ATTR_STRING);
  return attr ? attr->s : (ifd_str){otherwise, otherwise ? strlen(otherwise) : 0};
}

bool ifd_node_string_is(const ifd_node *node, const char *name, const char *otherwise, const char *expected) {
  ifd_str s = ifd_node_string(node, name, otherwise);
  return s.len == strlen(expected) && memcmp(s.s, expected, s.len) == 0;
}

int ifd_node_ints(const ifd_node *node, const char *name, const int64_t **out) {
  const ifd_attr *attr = typed(node, name, IFD_ATTR_INTS);
  *out = attr ? attr->ints : NULL;
  return attr ? attr->n : 0;
}

int ifd_node_floats(const ifd_node *node, const char *name, const float **out) {
  const ifd_attr *attr = typed(node, name, IFD_ATTR_FLOATS);
  *out = attr ? attr->floats : NULL;
  return attr ? attr->n : 0;
}

const ifd_tensor *ifd_node_tensor(const ifd_node *node, const char *name) {
  const ifd_attr *attr = typed(node, name, IFD_ATTR_TENSOR);
  return attr ? attr->tensor : NULL;
}

ifd_graph *ifd_node_graph(const ifd_node *node, const char *name) {
  const ifd_attr *attr = typed(node, name, IFD_ATTR_GRAPH);
  return attr ? attr->graph : NULL;
}

bool ifd_node_is(const ifd_node *node, const char *op_type) {
  return !*node->domain && strcmp(node->op_type, op_type) == 0;
}

bool ifd_node_is_open(const ifd_node *node) {
  for (int i = 0; i < node->n_attrs && node->graph->function; i++)
    if (node->attrs[i].ref) return true;
  return false;
}

bool ifd_node_is_any(const ifd_node *node, const char *op_types) {
  size_t len = strlen(node->op_type);
  if (*node->domain) return false;
  for (const char *at = op_types; (at = strstr(at, node->op_type)); at += len)
    if ((at == op_types || at[-1] == ' ') && (at[len] == ' ' || !at[len])) return true;
  return false;
}

const char *ifd_node_label(const ifd_node *node, char *text, size_t n) {
  const char *name = node->name;
  for (int i = 0; !*name && i < node->n_outputs; i++)
    if (node->outputs[i]) name = node->outputs[i]->name;
  snprintf(text, n, "node '%s' (%s)", name, node->op_type);
  return text;
}

ifd_status ifd_node_add_reads(ifd_error *err, ifd_arena *arena, const ifd_node *node, ifd_values *reads) {
  for (int i = 0; i < node->n_inputs; i++)
    if (node->inputs[i]) IFD_PUSH(err, arena, reads, node->inputs[i]);
  for (int i = 0; i < node->n_attrs; i++) {
    ifd_graph *const *graphs;
    int n = ifd_attr_graphs(&node->attrs[i], &graphs);
    for (int k = 0; k < n; k++)
      IFD_EACH_NODE(inner, graphs[k]) TRY(ifd_node_add_reads(err, arena, inner, reads));
  }
  return IFD_OK;
}
