#include "ir/order.h"

#define RANK_STEP (1L << 24)

typedef struct sorter {
  ifd_error *err;
  ifd_arena scratch;
  ifd_graph *graph;
  ifd_node **nodes; /* in the list's order; a node's index follows from its rank */
  int *start;       /* deps of node i are at [start[i], start[i + 1]) */
  IFD_VEC(int) deps;
  int *next;  /* by index: where its search of deps goes on; -1 when done */
  int *stack; /* path from the node being placed to its deepest dep */
  ifd_node **order;
  int n_order;
} sorter;

static int index_of(const ifd_node *node) { return (int)(node->rank / RANK_STEP) - 1; }

static ifd_status add_deps(sorter *s, const ifd_node *node) {
  for (int i = 0; i < node->n_inputs; i++) {
    const ifd_value *v = node->inputs[i];
    if (v && v->graph == s->graph && v->producer)
      IFD_PUSH(s->err, &s->scratch, &s->deps, index_of(v->producer));
  }
  for (int a = 0; a < node->n_attrs; a++) {
    ifd_graph *const *graphs;
    int n = ifd_attr_graphs(&node->attrs[a], &graphs);
    for (int g = 0; g < n; g++) IFD_EACH_NODE(inner, graphs[g]) TRY(add_deps(s, inner));
  }
  return IFD_OK;
}

static ifd_status collect(sorter *s, bool *sorted) {
  int n = s->graph->n_nodes, i = 0;
  ALLOC(s->err, s->nodes, ifd_new_array(&s->scratch, ifd_node *, n));
  ALLOC(s->err, s->start, ifd_new_array(&s->scratch, int, n + 1));
  IFD_EACH_NODE(node, s->graph) {
    s->nodes[i] = node;
    node->rank = ++i * RANK_STEP;
  }
  *sorted = true;
  for (i = 0; i < n; i++) {
    TRY(add_deps(s, s->nodes[i]));
    s->start[i + 1] = s->deps.n;
    for (int d = s->start[i]; d < s->deps.n; d++) *sorted = *sorted && s->deps.v[d] < i;
  }
  return IFD_OK;
}

/* Depth first, with a stack of our own: a list may be one long chain turned around. */
static ifd_status place(sorter *s, int root) {
  int depth = 0;
  if (s->next[root] < 0) return IFD_OK;
  s->stack[depth++] = root;
  while (depth) {
    int i = s->stack[depth - 1], at = s->start[i] + s->next[i];
    if (at == s->start[i + 1]) {
      s->order[s->n_order++] = s->nodes[i];
      s->next[i] = -1;
      depth--;
      continue;
    }
    s->next[i]++;
    int dep = s->deps.v[at];
    if (s->next[dep] < 0) continue;
    if (s->next[dep] > 0 || dep == i) { /* begun, not done: it is on the stack */
      char label[256];
      FAIL(s->err, BAD_MODEL, "%s depends on its own output",
           ifd_node_label(s->nodes[dep], label, sizeof label));
    }
    s->stack[depth++] = dep;
  }
  return IFD_OK;
}

static void relink(sorter *s) {
  ifd_graph *graph = s->graph;
  for (int i = 0; i < s->n_order; i++) {
    s->order[i]->prev = i ? s->order[i - 1] : NULL;
    s->order[i]->next = i + 1 < s->n_order ? s->order[i + 1] : NULL;
    s->order[i]->rank = (i + 1) * RANK_STEP;
  }
  graph->first = s->order[0];
  graph->last = s->order[s->n_order - 1];
}

static ifd_status sort_nodes(sorter *s) {
  bool sorted;
  int n = s->graph->n_nodes;
  TRY(collect(s, &sorted));
  if (sorted) return IFD_OK;
  ALLOC(s->err, s->next, ifd_new_array(&s->scratch, int, n));
  ALLOC(s->err, s->stack, ifd_new_array(&s->scratch, int, n));
  ALLOC(s->err, s->order, ifd_new_array(&s->scratch, ifd_node *, n));
  for (int i = 0; i < n; i++) TRY(place(s, i));
  relink(s);
  return IFD_OK;
}

static ifd_status sort_one(ifd_graph *graph, void *err) {
  sorter s = {.err = err, .graph = graph};
  ifd_arena_init(&s.scratch, graph->model->arena.budget);
  ifd_status status = sort_nodes(&s);
  ifd_arena_free(&s.scratch);
  return status;
}

ifd_status ifd_graph_sort(ifd_error *err, ifd_graph *graph) { return ifd_graph_visit(graph, sort_one, err); }
