#include "ir/extract.h"

#include <string.h>

/* What the outputs need. */
typedef struct need {
  ifd_error *err;
  ifd_arena arena;
  ifd_model *model;
  bool *nodes;  /* by id */
  bool *values; /* by id */
} need;

/* ---- what is needed ---- */

static ifd_status mark_value(need *n, ifd_values *work, ifd_value *v) {
  if (v->graph != n->model->graph || n->values[v->id]) return IFD_OK;
  n->values[v->id] = true;
  IFD_PUSH(n->err, &n->arena, work, v);
  return IFD_OK;
}

static ifd_status mark(need *n) {
  const ifd_graph *g = n->model->graph;
  ifd_values work = {0}, reads = {0};
  ALLOC(n->err, n->nodes, ifd_new_array(&n->arena, bool, n->model->n_nodes));
  ALLOC(n->err, n->values, ifd_new_array(&n->arena, bool, n->model->n_values));
  for (int i = 0; i < g->outputs.n; i++) TRY(mark_value(n, &work, g->outputs.v[i]));
  while (work.n) {
    const ifd_node *node = work.v[--work.n]->producer;
    if (!node || n->nodes[node->id]) continue;
    n->nodes[node->id] = true;
    reads.n = 0;
    TRY(ifd_node_add_reads(n->err, &n->arena, node, &reads));
    for (int i = 0; i < reads.n; i++) TRY(mark_value(n, &work, reads.v[i]));
  }
  return IFD_OK;
}

/* ---- what is not ---- */

static void remove_nodes(const need *n) {
  ifd_graph *g = n->model->graph;
  for (ifd_node *node = g->last, *before; node; node = before) {
    before = node->prev;
    if (!n->nodes[node->id]) ifd_node_remove(node);
  }
}

static void remove_constants(const need *n) {
  ifd_graph *g = n->model->graph;
  for (int i = 0; i < g->constants.n; i++) {
    ifd_value *v = g->constants.v[i];
    if (v->constant && !n->values[v->id] && (!v->is_input || g->model->ir_version < 4))
      ifd_graph_remove_constant(v);
  }
}

static ifd_status remove_rest(need *n) {
  remove_nodes(n);
  remove_constants(n);
  return ifd_model_drop_uncalled(n->err, n->model);
}

/* ---- the new signature ---- */

static ifd_status find_value(ifd_error *err, ifd_value **out, ifd_model *model, const char *name) {
  *out = ifd_map_find(&model->graph->values, name);
  EXPECT(err, *out, USAGE, "the main graph has no value '%s'", name);
  return IFD_OK;
}

static ifd_status set_outputs(ifd_error *err, ifd_model *model, const char *const *names) {
  ifd_graph *g = model->graph;
  ifd_value *v;
  for (int i = 0; i < g->outputs.n; i++) g->outputs.v[i]->n_outputs--;
  g->outputs.n = 0;
  for (; *names; names++) {
    TRY(find_value(err, &v, model, *names));
    EXPECT(err, !v->n_outputs, USAGE, "output '%s' is given twice", *names);
    TRY(ifd_graph_add_output(err, g, v));
  }
  EXPECT(err, g->outputs.n, USAGE, "no output is given");
  return IFD_OK;
}

/* The value is no longer computed here. Its node may still be needed for another output: this one then gets a
 * name of its own. */
static ifd_status detach(ifd_error *err, ifd_value *v) {
  ifd_node *node = v->producer;
  int output = v->output;
  ifd_value *unread;
  const char *name;
  if (!node) return IFD_OK;
  TRY(ifd_node_set_output(err, node, output, NULL));
  ALLOC(err, name, ifd_graph_unique_name(v->graph, v->name));
  TRY(ifd_value_new(err, &unread, v->graph, name));
  unread->type = v->type;
  return ifd_node_set_output(err, node, output, unread);
}

static ifd_status make_input(ifd_error *err, ifd_value *v) {
  const ifd_type *t = v->type->kind != IFD_KIND_UNKNOWN ? v->type : v->declared;
  bool known = t && t->kind != IFD_KIND_UNKNOWN && (t->kind != IFD_KIND_TENSOR || t->dtype);
  EXPECT(err, known, UNSUPPORTED, "the type of '%s' is not known: it cannot become an input", v->name);
  if (!v->declared) v->declared = t;
  return detach(err, v);
}

/* Initializers that are named as inputs are such no more, defaults aside; before IR version 4 none was
 * one. */
static void drop_constant(ifd_value *v, bool was_input) {
  ifd_graph *g = v->graph;
  int n = 0;
  if (!v->constant || (was_input && g->model->ir_version >= 4)) return;
  ifd_graph_remove_constant(v);
  v->is_initializer = false;
  for (int i = 0; i < g->constants.n; i++)
    if (g->constants.v[i] != v) g->constants.v[n++] = g->constants.v[i];
  g->constants.n = n;
}

/* Puts the named values in the place of the graph's inputs; *before is where the others were. */
static ifd_status set_inputs(ifd_error *err, ifd_model *model, const char *const *names, ifd_values *before) {
  ifd_graph *g = model->graph;
  ifd_values old = {.v = g->inputs.v, .n = g->inputs.n, .cap = g->inputs.cap};
  bool *listed;
  ALLOC(err, listed, ifd_new_array(&model->arena, bool, model->n_values + 1));
  for (int i = 0; i < old.n; i++) listed[old.v[i]->id] = true;
  ifd_values list = {0};
  for (; *names; names++) {
    ifd_value *v;
    TRY(find_value(err, &v, model, *names));
    if (!listed[v->id]) TRY(make_input(err, v));
    for (int i = 0; i < list.n; i++) EXPECT(err, list.v[i] != v, USAGE, "input '%s' is given twice", *names);
    IFD_PUSH(err, &model->arena, &list, v);
  }
  for (int i = 0; i < old.n; i++) old.v[i]->is_input = false;
  g->inputs.v = NULL;
  g->inputs.n = g->inputs.cap = 0;
  for (int i = 0; i < list.n; i++) {
    drop_constant(list.v[i], listed[list.v[i]->id]);
    TRY(ifd_graph_add_input(err, g, list.v[i]));
  }
  *before = old;
  return IFD_OK;
}

/* Old inputs that were not named: those with a default stay while they are needed, any other must not be. */
static ifd_status keep_defaults(need *n, const ifd_values *before) {
  ifd_graph *g = n->model->graph;
  for (int i = 0; i < before->n; i++) {
    ifd_value *v = before->v[i];
    if (v->is_input || !n->values[v->id]) continue;
    const ifd_node *reader = NULL;
    char label[256];
    for (int k = 0; k < v->uses.n && !reader; k++)
      if (n->nodes[v->uses.v[k].node->id]) reader = v->uses.v[k].node;
    EXPECT(n->err, v->constant, USAGE, "input '%s' is needed, too: %s reads it", v->name,
           reader ? ifd_node_label(reader, label, sizeof label) : "what is asked for");
    TRY(ifd_graph_add_input(n->err, g, v));
  }
  return IFD_OK;
}

/* Without names, inputs that are not needed go. */
static void drop_unneeded(const need *n) {
  ifd_graph *g = n->model->graph;
  int kept = 0;
  for (int i = 0; i < g->inputs.n; i++) {
    ifd_value *v = g->inputs.v[i];
    v->is_input = n->values[v->id];
    if (v->is_input) g->inputs.v[kept++] = v;
  }
  g->inputs.n = kept;
}

static ifd_status extract(need *n, const char *const *inputs, const char *const *outputs) {
  ifd_values before = {0};
  if (outputs) TRY(set_outputs(n->err, n->model, outputs));
  if (inputs) TRY(set_inputs(n->err, n->model, inputs, &before));
  TRY(mark(n));
  TRY(keep_defaults(n, &before));
  if (!inputs) drop_unneeded(n);
  return remove_rest(n);
}

ifd_status ifd_model_extract(ifd_error *err, ifd_model *model, const char *const *inputs,
                             const char *const *outputs) {
  need n = {.err = err, .model = model};
  ifd_arena_init(&n.arena, model->arena.budget);
  ifd_status status = extract(&n, inputs, outputs);
  ifd_arena_free(&n.arena);
  return status;
}

ifd_status ifd_model_prune(ifd_error *err, ifd_model *model) {
  need n = {.err = err, .model = model};
  ifd_arena_init(&n.arena, model->arena.budget);
  ifd_status status = mark(&n);
  if (status == IFD_OK) status = remove_rest(&n);
  ifd_arena_free(&n.arena);
  return status;
}
