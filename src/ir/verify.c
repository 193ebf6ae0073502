#include "ir/verify.h"

#include <string.h>

/* Functions that call each other deeper than this are refused: exporters nest a few dozen levels. */
enum { MAX_CALLS = 500 };

/* What the nodes and output lists say of a value, to compare with what it says itself. */
typedef struct tally {
  int n_reads, n_outputs;
} tally;

typedef struct verifier {
  ifd_error *err;
  const ifd_model *model;
  ifd_arena scratch;
  tally *tallies; /* by value id */
  char *calls;    /* by function id: NEW, OPEN, DONE */
  int depth;      /* of open calls */
} verifier;

/* ---- scopes ---- */

/* Whether the value is defined before the node, in its graph or, seen from an outer one, before the node that
 * holds the subgraph. */
static bool is_before(const ifd_value *value, const ifd_node *node) {
  while (node && node->graph != value->graph) node = node->graph->owner;
  if (!node) return false;
  if (value->producer) return value->producer->rank < node->rank;
  return value->is_input || value->constant;
}

static ifd_status check_input(verifier *v, const ifd_node *node, int i) {
  const ifd_value *value = node->inputs[i];
  EXPECT(v->err, ifd_graph_find_value(node->graph, value->name) == value, BAD_MODEL,
         "input %d '%s' cannot be seen from this graph", i, value->name);
  EXPECT(v->err, is_before(value, node), BAD_MODEL, "input %d '%s' is not defined before", i, value->name);
  int at = node->use_at[i];
  EXPECT(v->err, at < value->uses.n && value->uses.v[at].node == node && value->uses.v[at].index == i,
         BAD_MODEL, "the list of readers of '%s' lacks input %d", value->name, i);
  v->tallies[value->id].n_reads++;
  return IFD_OK;
}

/* Node outputs must not hide a name of an outer graph (ONNX IR.md, Names Within a Graph). */
static bool hides_outer(const ifd_value *value) {
  const ifd_graph *graph = value->graph;
  const ifd_value *outer = graph->outer ? ifd_graph_find_value(graph->outer, value->name) : NULL;
  return outer && graph->owner && is_before(outer, graph->owner);
}

static ifd_status check_output(verifier *v, const ifd_node *node, int i) {
  const ifd_value *value = node->outputs[i];
  EXPECT(v->err, value->graph == node->graph && ifd_map_find(&node->graph->values, value->name) == value,
         BAD_MODEL, "output %d '%s' is not of this graph", i, value->name);
  EXPECT(v->err, value->producer == node && value->output == i, BAD_MODEL,
         "output %d '%s' is also made elsewhere", i, value->name);
  EXPECT(v->err, !value->is_input && !value->constant, BAD_MODEL,
         "output %d '%s' is also an input or initializer of the graph", i, value->name);
  EXPECT(v->err, !hides_outer(value), BAD_MODEL, "output %d '%s' hides a value of an outer graph", i,
         value->name);
  return IFD_OK;
}

/* ---- nodes ---- */

static ifd_status verify_graph(verifier *v, const ifd_graph *graph);

static bool function_has(const ifd_function *f, const char *attr) {
  for (int i = 0; i < f->n_attributes; i++)
    if (strcmp(f->attributes[i], attr) == 0) return true;
  for (int i = 0; i < f->n_defaults; i++)
    if (strcmp(f->defaults[i].name, attr) == 0) return true;
  return false;
}

static ifd_status check_attr(verifier *v, const ifd_node *node, const ifd_attr *attr) {
  const ifd_function *f = node->graph->function;
  EXPECT(v->err, !attr->ref || (f && function_has(f, attr->ref)), BAD_MODEL,
         "attribute '%s' refers to '%s', which is no attribute of a function around it", attr->name,
         attr->ref);
  ifd_graph *const *graphs;
  int n = ifd_attr_graphs(attr, &graphs);
  for (int i = 0; i < n; i++) {
    EXPECT(v->err, graphs[i]->owner == node && graphs[i]->outer == node->graph, BAD_MODEL,
           "attribute '%s' holds a graph of another node", attr->name);
    TRY(verify_graph(v, graphs[i]));
  }
  return IFD_OK;
}

static ifd_status verify_function(verifier *v, const ifd_function *f);

static ifd_status check_call(verifier *v, const ifd_node *node) {
  const ifd_function *f = ifd_model_find_function(v->model, node->domain, node->op_type, node->overload);
  return f ? verify_function(v, f) : IFD_OK;
}

static ifd_status check_node(verifier *v, const ifd_node *node) {
  EXPECT(v->err,
         node->next ? node->next->prev == node && node->rank < node->next->rank : node->graph->last == node,
         BAD_MODEL, "the node list is out of order");
  for (int i = 0; i < node->n_inputs; i++)
    if (node->inputs[i]) TRY(check_input(v, node, i));
  for (int i = 0; i < node->n_outputs; i++)
    if (node->outputs[i]) TRY(check_output(v, node, i));
  TRY(ifd_verify_node(v->err, node));
  for (int i = 0; i < node->n_attrs; i++) TRY(check_attr(v, node, &node->attrs[i]));
  return check_call(v, node);
}

static ifd_status verify_node(verifier *v, const ifd_node *node) {
  ifd_status status = check_node(v, node);
  char label[256];
  if (status != IFD_OK) ifd_error_add(v->err, "%s", ifd_node_label(node, label, sizeof label));
  return status;
}

/* ---- graphs ---- */

static ifd_status check_inputs(verifier *v, const ifd_graph *graph) {
  for (int i = 0; i < graph->inputs.n; i++) {
    const ifd_value *value = graph->inputs.v[i];
    EXPECT(v->err, value->is_input && value->graph == graph && !value->producer, BAD_MODEL,
           "graph input '%s' is no input value", value->name);
  }
  return IFD_OK;
}

static ifd_status check_constants(verifier *v, const ifd_graph *graph) {
  for (int i = 0; i < graph->constants.n; i++) {
    const ifd_value *value = graph->constants.v[i];
    const ifd_tensor *t = value->constant;
    EXPECT(v->err, value->is_initializer && value->graph == graph, BAD_MODEL,
           "initializer '%s' is of another graph", value->name);
    if (!t) continue;
    EXPECT(v->err, ifd_dtype_valid(t->dtype), BAD_MODEL, "initializer '%s' has no element type", value->name);
    TRY(ifd_shape_check(v->err, &t->shape, ifd_dtype_size(t->dtype)));
    EXPECT(v->err, t->data || !ifd_tensor_count(t), BAD_MODEL, "initializer '%s' has no data", value->name);
  }
  return IFD_OK;
}

static ifd_status check_outputs(verifier *v, const ifd_graph *graph) {
  for (int i = 0; i < graph->outputs.n; i++) {
    const ifd_value *value = graph->outputs.v[i];
    EXPECT(v->err, value->graph == graph, BAD_MODEL, "graph output '%s' is of another graph", value->name);
    EXPECT(v->err, value->producer || value->is_input || value->constant, BAD_MODEL,
           "graph output '%s' is not defined", value->name);
    v->tallies[value->id].n_outputs++;
  }
  return IFD_OK;
}

static ifd_status check_nodes(verifier *v, const ifd_graph *graph) {
  int n = 0;
  for (const ifd_node *node = graph->first; node; node = node->next, n++) {
    EXPECT(v->err, node->graph == graph && (node->prev || node == graph->first), BAD_MODEL,
           "a node of another graph is in the list");
    TRY(verify_node(v, node));
  }
  EXPECT(v->err, n == graph->n_nodes, BAD_MODEL, "%d nodes instead of %d", n, graph->n_nodes);
  return IFD_OK;
}

/* After the graph and all graphs inside were walked. Each read was found at a place of its own in the
 * use-list, so equal numbers mean equal sets. */
static ifd_status check_tally(verifier *v, const ifd_value *value) {
  const tally *t = &v->tallies[value->id];
  EXPECT(v->err, value->uses.n == t->n_reads, BAD_MODEL, "'%s' lists %d readers instead of %d", value->name,
         value->uses.n, t->n_reads);
  EXPECT(v->err, value->n_outputs == t->n_outputs, BAD_MODEL, "'%s' is %d times an output instead of %d",
         value->name, t->n_outputs, value->n_outputs);
  const ifd_node *p = value->producer;
  EXPECT(v->err, !p || (value->output < p->n_outputs && p->outputs[value->output] == value), BAD_MODEL,
         "'%s' is not an output of its producer", value->name);
  return IFD_OK;
}

static ifd_status check_tallies(verifier *v, const ifd_graph *graph) {
  for (size_t i = 0; i < graph->values.cap; i++) {
    const ifd_value *value = graph->values.entries[i].value;
    if (value) TRY(check_tally(v, value));
  }
  return IFD_OK;
}

static ifd_status verify_graph(verifier *v, const ifd_graph *graph) {
  TRY(check_inputs(v, graph));
  TRY(check_constants(v, graph));
  TRY(check_nodes(v, graph));
  TRY(check_outputs(v, graph));
  return check_tallies(v, graph);
}

/* ---- functions ---- */

enum { NEW, OPEN, DONE };

static ifd_status verify_function(verifier *v, const ifd_function *f) {
  char *state = &v->calls[f->id];
  EXPECT(v->err, *state != OPEN, BAD_MODEL, "function '%s' calls itself", f->name);
  if (*state == DONE) return IFD_OK;
  EXPECT(v->err, v->depth < MAX_CALLS, LIMIT, "functions call each other more than %d levels deep",
         MAX_CALLS);
  *state = OPEN;
  v->depth++;
  ifd_status status = verify_graph(v, f->body);
  if (status != IFD_OK) ifd_error_add(v->err, "function '%s'", f->name);
  v->depth--;
  *state = DONE;
  return status;
}

static ifd_status verify_all(verifier *v) {
  ALLOC(v->err, v->tallies, ifd_new_array(&v->scratch, tally, v->model->n_values));
  ALLOC(v->err, v->calls, ifd_new_array(&v->scratch, char, v->model->functions.n));
  TRY(verify_graph(v, v->model->graph));
  for (int i = 0; i < v->model->functions.n; i++) TRY(verify_function(v, v->model->functions.v[i]));
  return IFD_OK;
}

ifd_status ifd_verify_model(ifd_error *err, const ifd_model *model) {
  verifier v = {.err = err, .model = model};
  ifd_arena_init(&v.scratch, model->arena.budget);
  ifd_status status = verify_all(&v);
  ifd_arena_free(&v.scratch);
  return status;
}
