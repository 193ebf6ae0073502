#include "plan/program_priv.h"

#include <stdio.h>
#include <string.h>

/* ---- unsupported operators, all at once ---- */

typedef struct listing {
  char text[768];
  size_t len;
  int n;
  ifd_map seen;
  ifd_arena arena;
} listing;

static void list_operator(listing *l, const ifd_node *node) {
  char name[128];
  snprintf(name, sizeof name, "%s%s%s (opset %d)", node->domain, *node->domain ? "." : "", node->op_type,
           node->opset);
  if (ifd_map_find(&l->seen, name)) return;
  char *key = ifd_arena_strdup(&l->arena, name);
  if (!key || !ifd_map_set(&l->seen, key, key)) return;
  int written = snprintf(l->text + l->len, sizeof l->text - l->len, "%s%s", l->n ? ", " : "", name);
  if (written > 0 && l->len + (size_t)written < sizeof l->text) l->len += (size_t)written;
  l->n++;
}

static ifd_status list_graph(ifd_graph *graph, void *context) {
  IFD_EACH_NODE(node, graph)
  if (!node->op || !(node->op->eval || node->op->lower)) list_operator(context, node);
  return IFD_OK;
}

static ifd_status check_supported(ifd_error *err, const ifd_graph *graph) {
  listing l = {0};
  ifd_arena_init(&l.arena, NULL);
  ifd_map_init(&l.seen, &l.arena);
  ifd_status status = ifd_graph_visit((ifd_graph *)graph, list_graph, &l);
  if (status == IFD_OK && l.n)
    status = ifd_error_set(err, IFD_UNSUPPORTED, "%d operator%s not supported: %s", l.n, l.n > 1 ? "s" : "",
                           l.text);
  ifd_arena_free(&l.arena);
  return status;
}

/* ---- slots ---- */

/* A float32 constant as double, splats staying splats. */
static ifd_status widen(ifd_error *err, ifd_program *p, ifd_tensor *t) {
  ifd_tensor wide = {.dtype = IFD_DOUBLE, .splat = t->splat, .shape = t->shape};
  int64_t n = t->splat ? 1 : ifd_tensor_count(t);
  ALLOC(err, wide.data, ifd_arena_alloc_data(&p->arena, (size_t)n * sizeof(double)));
  if (t->data) ifd_tensor_get_f64s(t, 0, wide.data, n);
  *t = wide;
  return IFD_OK;
}

static ifd_status slot_of(ifd_error *err, ifd_program *p, const ifd_value *v, int *slot) {
  ifd_program_priv *priv = p->priv;
  uintptr_t found = (uintptr_t)ifd_map_find(&priv->slots, v->name);
  if (found) {
    *slot = (int)found - 1;
    return IFD_OK;
  }
  ifd_datum constant = {0};
  const ifd_tensor *t = ifd_value_constant(v);
  if (t) {
    constant = (ifd_datum){.kind = IFD_KIND_TENSOR, .tensor = *t};
    if (p->options.float64 && t->dtype == IFD_FLOAT) TRY(widen(err, p, &constant.tensor));
  }
  *slot = priv->values.n;
  IFD_PUSH(err, &p->arena, &priv->values, v);
  IFD_PUSH(err, &p->arena, &priv->constants, constant);
  EXPECT(err, ifd_map_set(&priv->slots, v->name, (void *)(uintptr_t)(*slot + 1)), NO_MEMORY, "out of memory");
  if (t || v->graph == p->graph) return IFD_OK;
  EXPECT(err, p->parent, BAD_MODEL, "value '%s' is not defined in this graph", v->name);
  ifd_capture c = {.slot = *slot};
  TRY(slot_of(err, p->parent, v, &c.outer));
  IFD_PUSH(err, &p->arena, &p->captures, c);
  return IFD_OK;
}

static ifd_status slots_of(ifd_error *err, ifd_program *p, ifd_value *const *values, int n, const int **out) {
  int *slots;
  ALLOC(err, slots, ifd_new_array(&p->arena, int, n));
  for (int i = 0; i < n; i++) {
    slots[i] = -1;
    if (values[i]) TRY(slot_of(err, p, values[i], &slots[i]));
  }
  *out = slots;
  return IFD_OK;
}

static ifd_status add_child(ifd_error *err, ifd_program *p, const ifd_graph *graph, ifd_program_node *node) {
  ifd_program *child;
  TRY(ifd_program_create(err, &child, graph, p, &p->options, p->budget));
  if (p->children.n == p->children.cap) { /* the child must not be lost when memory ends here */
    void *grown =
        ifd_vec_grow(&p->arena, p->children.v, p->children.n, &p->children.cap, sizeof *p->children.v);
    if (!grown) ifd_program_destroy(child);
    ALLOC(err, p->children.v, grown);
  }
  p->children.v[p->children.n++] = child;
  int *reads;
  ALLOC(err, reads, ifd_new_array(&p->arena, int, node->n_reads + child->captures.n));
  if (node->n_reads) memcpy(reads, node->reads, (size_t)node->n_reads * sizeof *reads);
  for (int i = 0; i < child->captures.n; i++) reads[node->n_reads + i] = child->captures.v[i].outer;
  node->reads = reads;
  node->n_reads += child->captures.n;
  return IFD_OK;
}

static ifd_status add_node(ifd_error *err, ifd_program *p, const ifd_node *node, ifd_program_node *out) {
  out->node = node;
  TRY(slots_of(err, p, node->inputs, node->n_inputs, &out->in));
  for (int i = 0; i < node->n_attrs; i++) {
    const ifd_attr *a = &node->attrs[i];
    if (a->type == IFD_ATTR_GRAPH) TRY(add_child(err, p, a->graph, out));
    for (int k = 0; a->type == IFD_ATTR_GRAPHS && k < a->n; k++) TRY(add_child(err, p, a->graphs[k], out));
  }
  return slots_of(err, p, node->outputs, node->n_outputs, &out->out);
}

static ifd_status build(ifd_error *err, ifd_program *p) {
  const ifd_graph *g = p->graph;
  ifd_program_priv *priv;
  ALLOC(err, priv, ifd_new(&p->arena, ifd_program_priv));
  p->priv = priv;
  pthread_mutex_init(&priv->pack_lock, NULL);
  ifd_map_init(&priv->slots, &p->arena);
  p->n_inputs = g->inputs.n;
  p->n_outputs = g->outputs.n;
  TRY(slots_of(err, p, g->inputs.v, g->inputs.n, &p->inputs));
  ALLOC(err, priv->nodes, ifd_new_array(&p->arena, ifd_program_node, g->n_nodes));
  IFD_EACH_NODE(node, g) TRY(add_node(err, p, node, &priv->nodes[priv->n_nodes++]));
  return slots_of(err, p, g->outputs.v, g->outputs.n, &p->outputs);
}

/* Nodes are in the order of their ranks. */
ifd_program_node *ifd_program_node_of(const ifd_program *program, const ifd_node *node) {
  const ifd_program_priv *priv = program->priv;
  int low = 0, high = priv->n_nodes - 1;
  while (low < high) {
    int middle = (low + high) / 2;
    if (priv->nodes[middle].node->rank < node->rank)
      low = middle + 1;
    else
      high = middle;
  }
  return &priv->nodes[low];
}

ifd_status ifd_program_create(ifd_error *err, ifd_program **out, const ifd_graph *graph, ifd_program *parent,
                              const ifd_program_options *options, ifd_budget *budget) {
  if (!parent) TRY(check_supported(err, graph));
  ifd_program *p;
  ifd_arena arena;
  ifd_arena_init(&arena, budget);
  ALLOC(err, p, ifd_new(&arena, ifd_program));
  *p = (ifd_program){.arena = arena, .budget = budget, .options = *options, .graph = graph, .parent = parent};
  pthread_mutex_init(&p->lock, NULL);
  ifd_status status = build(err, p);
  if (status != IFD_OK) {
    ifd_program_destroy(p);
    return status;
  }
  ifd_program_priv *priv = p->priv;
  p->n_slots = priv->values.n;
  p->constants = priv->constants.v;
  *out = p;
  return IFD_OK;
}

void ifd_program_destroy(ifd_program *p) {
  if (!p) return;
  for (int i = 0; i < p->children.n; i++) ifd_program_destroy(p->children.v[i]);
  ifd_program_priv *priv = p->priv;
  for (const ifd_slab *s = priv ? priv->slabs : NULL; s; s = s->next)
    ifd_budget_free(p->budget, s->memory, s->size);
  for (int i = 0; priv && i < priv->n_nodes; i++) ifd_arena_free(&priv->nodes[i].kept);
  if (priv) pthread_mutex_destroy(&priv->pack_lock);
  for (ifd_plan *plan = p->plans, *next; plan; plan = next) {
    next = plan->next;
    ifd_arena_free(&plan->arena);
  }
  pthread_mutex_destroy(&p->lock);
  ifd_arena_free(&p->arena);
}
