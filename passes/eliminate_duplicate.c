#include "ir/equal.h"
#include "pass/affine.h"

/* Nodes that compute the same from the same inputs, and equal constants, become one: the first, in the same
 * graph or in one around it, so that a branch or a loop's body does not compute again what stands before it.
 */

typedef struct slot {
  uint64_t hash;
  void *thing; /* a node, or the value of a constant */
} slot;

/* What is in sight: things of the graph that is looked through and of those around it. */
typedef struct table {
  slot *slots;
  size_t cap; /* a power of two, at most half full */
  IFD_VEC(slot *) added;
} table;

typedef struct search {
  ifd_rewrite *rw;
  table nodes, constants;
} search;

static bool same_node(const void *a, const void *b) {
  return ((const ifd_node *)a)->rank >= 0 && ifd_node_equal(a, b);
}

static bool same_constant(const void *a, const void *b) {
  return ifd_tensor_equal(ifd_value_constant(a), ifd_value_constant(b));
}

/* *first: the equal thing in sight, or NULL where this is the first. */
static ifd_status find_or_add(search *s, table *t, void **first, uint64_t hash, void *thing,
                              bool (*same)(const void *, const void *)) {
  for (size_t i = hash & (t->cap - 1);; i = (i + 1) & (t->cap - 1)) {
    slot *at = &t->slots[i];
    *first = at->thing;
    if (!at->thing) {
      *at = (slot){hash, thing};
      IFD_PUSH(ifd_rw_error(s->rw), ifd_rw_scratch(s->rw), &t->added, at);
      return IFD_OK;
    }
    if (at->hash == hash && same(at->thing, thing)) return IFD_OK;
  }
}

/* Things that were added last go first, so that no search passes a gap. */
static void forget_since(table *t, int n) {
  while (t->added.n > n) *t->added.v[--t->added.n] = (slot){0};
}

/* Runtimes may write a training BatchNormalization's new statistics over the old ones: equal ones stay
 * apart. */
static bool may_be_overwritten(const ifd_value *v) {
  for (int i = 0; i < v->uses.n; i++)
    if (ifd_node_is(v->uses.v[i].node, "BatchNormalization") && ifd_bn_trains(v->uses.v[i].node)) return true;
  return false;
}

static bool can_merge(const ifd_node *node) {
  if (!node->op || (node->op->flags & IFD_OP_IMPURE)) return false;
  for (int i = 0; i < node->n_outputs; i++)
    if (node->outputs[i] && (node->outputs[i]->n_outputs || may_be_overwritten(node->outputs[i])))
      return false;
  return true;
}

/* Every output read must exist in the first node too. */
static bool covers(const ifd_node *first, const ifd_node *node) {
  for (int i = 0; i < node->n_outputs; i++)
    if (node->outputs[i] && ifd_value_n_readers(node->outputs[i]) && !ifd_node_has_output(first, i))
      return false;
  return true;
}

static ifd_status merge_node(search *s, ifd_node *node) {
  void *found = NULL;
  if (can_merge(node)) TRY(find_or_add(s, &s->nodes, &found, ifd_node_hash(node), node, same_node));
  const ifd_node *first = found;
  if (!first || !covers(first, node)) return IFD_OK;
  for (int i = 0; i < node->n_outputs && node->rank >= 0; i++)
    if (node->outputs[i]) TRY(ifd_rw_merge(s->rw, node->outputs[i], first->outputs[i]));
  return IFD_OK;
}

static ifd_status merge_constants(search *s, const ifd_graph *graph) {
  for (int k = 0; k < graph->constants.n; k++) {
    ifd_value *v = graph->constants.v[k];
    const ifd_tensor *t = ifd_value_constant(v);
    void *first = NULL;
    if (!t || !v->uses.n || v->n_outputs || may_be_overwritten(v)) continue;
    TRY(find_or_add(s, &s->constants, &first, ifd_tensor_sketch(t), v, same_constant));
    if (first) TRY(ifd_rw_merge(s->rw, v, first));
  }
  return IFD_OK;
}

static ifd_status merge_graph(search *s, const ifd_graph *graph);

static ifd_status merge_inside(search *s, const ifd_node *node) {
  for (int i = 0; i < node->n_attrs; i++) {
    ifd_graph *const *graphs;
    int n = ifd_attr_graphs(&node->attrs[i], &graphs);
    for (int k = 0; k < n; k++) TRY(merge_graph(s, graphs[k]));
  }
  return IFD_OK;
}

static ifd_status merge_graph(search *s, const ifd_graph *graph) {
  int n_nodes = s->nodes.added.n, n_constants = s->constants.added.n;
  TRY(merge_constants(s, graph));
  IFD_EACH_NODE(node, graph) {
    TRY(merge_inside(s, node));
    TRY(merge_node(s, node));
  }
  forget_since(&s->nodes, n_nodes);
  forget_since(&s->constants, n_constants);
  return IFD_OK;
}

typedef struct sizes {
  size_t nodes, constants;
} sizes;

static ifd_status add_sizes(ifd_graph *graph, void *context) {
  sizes *n = context;
  n->nodes += (size_t)graph->n_nodes;
  n->constants += (size_t)graph->constants.n;
  return IFD_OK;
}

static ifd_status make_table(search *s, table *t, size_t n) {
  t->cap = 16;
  while (t->cap < 2 * n) t->cap *= 2;
  ALLOC(ifd_rw_error(s->rw), t->slots, ifd_new_array(ifd_rw_scratch(s->rw), slot, t->cap));
  return IFD_OK;
}

/* Subgraphs are looked through together with what they stand in. */
static ifd_status merge(ifd_rewrite *rw, ifd_graph *graph) {
  search s = {.rw = rw};
  sizes n = {0};
  if (graph->outer) return IFD_OK;
  TRY(ifd_graph_visit(graph, add_sizes, &n));
  TRY(make_table(&s, &s.nodes, n.nodes));
  TRY(make_table(&s, &s.constants, n.constants));
  return merge_graph(&s, graph);
}

const ifd_pass ifd_pass_eliminate_duplicate = {
    .summary = "computes equal things once and keeps equal constants once",
    .phase = IFD_PHASE_FINISH,
    .graph = merge,
};
