#include "pass/inline.h"

#include "ir/clone.h"
#include "ops/schema.h"

enum { MAX_NODES = 1000000 };

typedef struct inliner {
  ifd_error *err;
  ifd_model *model;
  ifd_arena scratch;
  int64_t *sizes; /* by function id: nodes when written out, COUNTING while that is found, 0 before */
} inliner;

enum { COUNTING = -1 };

/* ---- how large it gets ---- */

typedef struct count {
  inliner *in;
  int64_t nodes;
} count;

static ifd_status size_of(inliner *in, const ifd_function *f, int64_t *out);

static ifd_status count_graph(ifd_graph *graph, void *context) {
  count *c = context;
  IFD_EACH_NODE(node, graph) {
    const ifd_function *f = ifd_node_find_function(node);
    int64_t n = 1;
    if (f) TRY(size_of(c->in, f, &n));
    c->nodes += n;
    EXPECT(c->in->err, c->nodes <= MAX_NODES, LIMIT, "writing out local functions takes more than %d nodes",
           MAX_NODES);
  }
  return IFD_OK;
}

/* Functions call each other without cycles, and however often they double, their size is found in one
 * walk. */
static ifd_status size_of(inliner *in, const ifd_function *f, int64_t *out) {
  count c = {in, 0};
  EXPECT(in->err, in->sizes[f->id] != COUNTING, BAD_MODEL, "function %s calls itself", f->name);
  if (!in->sizes[f->id]) {
    in->sizes[f->id] = COUNTING;
    TRY(ifd_graph_visit(f->body, count_graph, &c));
    in->sizes[f->id] = c.nodes + 1;
  }
  *out = in->sizes[f->id];
  return IFD_OK;
}

/* ---- writing out ---- */

/* One output of the call becomes what was made for it; an output of the graph keeps its name. */
static ifd_status splice_output(ifd_error *err, ifd_node *call, int i, ifd_value *made) {
  ifd_value *old = call->outputs[i];
  if (!old->n_outputs) return ifd_value_replace(err, old, made, false);
  ifd_node *maker = made->graph == call->graph && !made->n_outputs ? made->producer : NULL;
  int output = made->output;
  if (!maker) { /* made elsewhere: a node has to give it the output's name */
    TRY(ifd_node_new(err, &maker, call->graph, "", "Identity", 1, 1));
    TRY(ifd_node_set_input(err, maker, 0, made));
    ifd_node_insert(maker, call);
    output = 0;
  } else
    TRY(ifd_value_replace(err, made, old, false));
  TRY(ifd_node_set_output(err, call, i, NULL));
  return ifd_node_set_output(err, maker, output, old);
}

ifd_status ifd_splice_outputs(ifd_error *err, ifd_node *call, ifd_value *const *made) {
  for (int i = 0; i < call->n_outputs; i++)
    if (call->outputs[i]) TRY(splice_output(err, call, i, made[i]));
  return IFD_OK;
}

/* Absent inputs of the call are absent in the body; the body's defaults stand in for attributes the call
 * leaves out. */
static ifd_status write_out(ifd_error *err, ifd_arena *scratch, ifd_node *call, const ifd_function *f) {
  int n_in = f->body->inputs.n, n_out = f->body->outputs.n, n_attrs = 0;
  ifd_value **inputs, **outputs;
  ifd_attr *attrs;
  EXPECT(err, call->n_inputs <= n_in && call->n_outputs <= n_out, BAD_MODEL,
         "node '%s' calls %s with %d inputs and %d outputs; it has %d and %d", call->name, f->name,
         call->n_inputs, call->n_outputs, n_in, n_out);
  ALLOC(err, inputs, ifd_new_array(scratch, ifd_value *, n_in));
  ALLOC(err, outputs, ifd_new_array(scratch, ifd_value *, n_out));
  ALLOC(err, attrs, ifd_new_array(scratch, ifd_attr, call->n_attrs + f->n_defaults));
  for (int i = 0; i < call->n_inputs; i++) inputs[i] = call->inputs[i];
  for (int i = 0; i < call->n_attrs; i++) attrs[n_attrs++] = call->attrs[i];
  for (int i = 0; i < f->n_defaults; i++)
    if (!ifd_node_find_attr(call, f->defaults[i].name)) attrs[n_attrs++] = f->defaults[i];
  TRY(ifd_graph_inline(err, call->graph, call, f->body, inputs, outputs, attrs, n_attrs));
  TRY(ifd_splice_outputs(err, call, outputs));
  ifd_node_remove(call);
  return IFD_OK;
}

/* The nodes that have come between `before` and `end`. */
static ifd_node *first_between(const ifd_node *before, ifd_graph *graph, const ifd_node *end) {
  ifd_node *first = before ? before->next : graph->first;
  return first == end ? NULL : first;
}

static ifd_status inline_call(inliner *in, ifd_node *call, const ifd_function *f) {
  const ifd_node *before = call->prev, *end = call->next;
  ifd_graph *graph = call->graph;
  TRY(write_out(in->err, &in->scratch, call, f));
  for (ifd_node *n = first_between(before, graph, end), *next; n && n != end; n = next) {
    next = n->next;
    const ifd_function *inner = ifd_node_find_function(n);
    if (inner) TRY(inline_call(in, n, inner));
  }
  return IFD_OK;
}

static ifd_status inline_graph(ifd_graph *graph, void *context) {
  inliner *in = context;
  IFD_EACH_NODE(node, graph) {
    const ifd_function *f = ifd_node_find_function(node);
    if (f) TRY(inline_call(in, node, f));
  }
  return IFD_OK;
}

static ifd_status inline_model(inliner *in) {
  count c = {in, 0};
  ALLOC(in->err, in->sizes, ifd_new_array(&in->scratch, int64_t, in->model->functions.n));
  TRY(ifd_graph_visit(in->model->graph, count_graph, &c));
  return ifd_graph_visit(in->model->graph, inline_graph, in);
}

ifd_status ifd_inline_functions(ifd_error *err, ifd_model *model) {
  if (!model->functions.n) return IFD_OK;
  inliner in = {.err = err, .model = model};
  ifd_arena_init(&in.scratch, model->arena.budget);
  ifd_status status = inline_model(&in);
  ifd_arena_free(&in.scratch);
  return status;
}

/* ---- one call, in a model that is to be written ---- */

typedef struct meaning {
  const ifd_graph *at;
  bool stays;
} meaning;

static bool means_the_same(const ifd_node *node, const ifd_graph *at) {
  int opset = ifd_graph_opset(at, node->domain);
  if (ifd_node_find_function(node)) return opset;
  return node->schema ? ifd_schema_find(node->domain, node->op_type, opset) == node->schema
                      : opset == node->opset;
}

static ifd_status check_meaning(ifd_graph *graph, void *context) {
  meaning *m = context;
  IFD_EACH_NODE(node, graph) m->stays &= means_the_same(node, m->at);
  return IFD_OK;
}

static ifd_status resolve(ifd_graph *graph, void *context) {
  (void)context;
  IFD_EACH_NODE(node, graph) ifd_node_resolve(node);
  return IFD_OK;
}

static ifd_status resolve_node(ifd_node *node) {
  ifd_node_resolve(node);
  for (int i = 0; i < node->n_attrs; i++) {
    ifd_graph *const *graphs;
    int n = ifd_attr_graphs(&node->attrs[i], &graphs);
    for (int k = 0; k < n; k++) TRY(ifd_graph_visit(graphs[k], resolve, NULL));
  }
  return IFD_OK;
}

ifd_status ifd_inline_call(ifd_error *err, ifd_arena *scratch, ifd_node *call, bool *done) {
  const ifd_function *f = ifd_node_find_function(call);
  const ifd_node *before = call->prev, *end = call->next;
  ifd_graph *graph = call->graph;
  meaning m = {.at = graph, .stays = true};
  TRY(ifd_graph_visit(f->body, check_meaning, &m));
  *done = m.stays;
  if (!m.stays) return IFD_OK;
  TRY(write_out(err, scratch, call, f));
  for (ifd_node *n = first_between(before, graph, end); n && n != end; n = n->next) TRY(resolve_node(n));
  return IFD_OK;
}
