#include "ir/clone.h"

#include <string.h>

/* A value of the source and what stands for it in the copy (NULL: an absent input). */
typedef struct pair {
  const ifd_value *from; /* NULL: free */
  ifd_value *to;
} pair;

typedef struct copier {
  ifd_error *err;
  ifd_arena scratch;
  pair *pairs; /* open addressing by the source's id */
  size_t n_pairs, cap;
  const ifd_model
      *source; /* of a model's copy: every value must have a pair; else values without one are shared */
  bool rename;
  bool resolve_refs;
  const ifd_function *function; /* whose defaults stand in for attributes that the call lacks */
  const ifd_attr *attrs;        /* of the call */
  int n_attrs;
} copier;

/* ---- values ---- */

static pair *find_pair(const copier *c, const ifd_value *from) {
  for (size_t i = (size_t)ifd_hash_mix((uint64_t)from->id, 0);; i++) {
    pair *p = &c->pairs[i & (c->cap - 1)];
    if (!p->from || p->from == from) return p;
  }
}

static ifd_status grow_pairs(copier *c) {
  copier bigger = *c;
  bigger.cap = c->cap ? 2 * c->cap : 64;
  ALLOC(c->err, bigger.pairs, ifd_new_array(&c->scratch, pair, bigger.cap));
  bigger.scratch = c->scratch;
  for (size_t i = 0; i < c->cap; i++)
    if (c->pairs[i].from) *find_pair(&bigger, c->pairs[i].from) = c->pairs[i];
  *c = bigger;
  return IFD_OK;
}

static ifd_status set_pair(copier *c, const ifd_value *from, ifd_value *to) {
  if (4 * (c->n_pairs + 1) > 3 * c->cap) TRY(grow_pairs(c));
  pair *p = find_pair(c, from);
  c->n_pairs += !p->from;
  *p = (pair){from, to};
  return IFD_OK;
}

static ifd_status find_value(copier *c, ifd_value **out, ifd_value *from) {
  const pair *p = from && c->cap ? find_pair(c, from) : NULL;
  *out = p && p->from ? p->to : from;
  EXPECT(c->err, !from || (p && p->from) || !c->source, BAD_MODEL, "'%s' is read before it is defined",
         from->name);
  return IFD_OK;
}

static ifd_status copy_value(copier *c, ifd_value **out, ifd_graph *to, const ifd_value *from) {
  const char *name = from->name;
  if (c->rename) ALLOC(c->err, name, ifd_graph_unique_name(to, name));
  TRY(ifd_value_new(c->err, out, to, name));
  (*out)->type = from->type;
  (*out)->declared = from->declared;
  (*out)->origin = c->rename ? NULL : from->origin; /* which holds the old name */
  (*out)->old_name = c->rename ? NULL : from->old_name;
  return set_pair(c, from, *out);
}

/* ---- attributes ---- */

static ifd_status copy_graph(copier *c, ifd_graph *to, const ifd_graph *from);

static ifd_status copy_attr_graphs(copier *c, ifd_attr *attr, ifd_graph *outer) {
  ifd_graph *const *from, **to;
  int n = ifd_attr_graphs(attr, &from);
  if (!n) return IFD_OK;
  ALLOC(c->err, to, ifd_new_array(&outer->model->arena, ifd_graph *, n));
  for (int i = 0; i < n; i++) {
    ALLOC(c->err, to[i], ifd_graph_new(outer->model, outer));
    TRY(copy_graph(c, to[i], from[i]));
  }
  if (attr->type == IFD_ATTR_GRAPH)
    attr->graph = to[0];
  else
    attr->graphs = to;
  return IFD_OK;
}

static const ifd_attr *find_named(const ifd_attr *attrs, int n, const char *name) {
  for (int i = 0; i < n; i++)
    if (strcmp(attrs[i].name, name) == 0) return &attrs[i];
  return NULL;
}

/* What a reference stands for at this call, or NULL. */
static const ifd_attr *resolve(const copier *c, const char *ref) {
  const ifd_attr *attr = find_named(c->attrs, c->n_attrs, ref);
  if (attr || !c->function) return attr;
  return find_named(c->function->defaults, c->function->n_defaults, ref);
}

static ifd_status copy_attr(copier *c, ifd_node *to, const ifd_attr *from) {
  ifd_attr attr = *from;
  bool replaced = c->resolve_refs && attr.ref;
  if (replaced) {
    const ifd_attr *given = resolve(c, attr.ref);
    if (!given) return IFD_OK;
    attr = *given;
    attr.name = from->name;
    attr.origin = NULL;
    c->resolve_refs = false; /* references in what the call gives are those of its surroundings */
  }
  TRY(copy_attr_graphs(c, &attr, to->graph));
  c->resolve_refs = c->resolve_refs || replaced;
  return ifd_node_set_attr(c->err, to, &attr);
}

/* ---- nodes and graphs ---- */

static ifd_status copy_node(copier *c, ifd_graph *graph, ifd_node *before, const ifd_node *from) {
  ifd_node *node;
  ifd_value *value;
  TRY(ifd_node_new_like(c->err, &node, graph, from));
  for (int i = 0; i < from->n_inputs; i++) {
    TRY(find_value(c, &value, from->inputs[i]));
    TRY(ifd_node_set_input(c->err, node, i, value));
  }
  for (int i = 0; i < from->n_attrs; i++) TRY(copy_attr(c, node, &from->attrs[i]));
  for (int i = 0; i < from->n_outputs; i++) {
    if (!from->outputs[i]) continue;
    TRY(copy_value(c, &value, graph, from->outputs[i]));
    TRY(ifd_node_set_output(c->err, node, i, value));
  }
  ifd_node_insert(node, before);
  return IFD_OK;
}

/* Initializers. One that is an input as well is its default: of a copied graph it stays so; where nodes are
 * inlined it is taken when the input is absent. */
static ifd_status copy_constants(copier *c, ifd_graph *to, const ifd_graph *from, bool inlined) {
  for (int i = 0; i < from->constants.n; i++) {
    const ifd_value *constant = from->constants.v[i];
    const pair *p = c->cap ? find_pair(c, constant) : NULL;
    ifd_value *value = p ? p->to : NULL;
    if (!constant->constant || (inlined && value)) continue;
    if (!value) TRY(copy_value(c, &value, to, constant));
    TRY(ifd_graph_add_constant(c->err, to, value, constant->constant));
    value->constant_origin = c->rename ? NULL : constant->constant_origin;
    value->was_node = constant->was_node;
    value->sparse_bytes = c->rename ? 0 : constant->sparse_bytes;
  }
  return IFD_OK;
}

static ifd_status copy_nodes(copier *c, ifd_graph *to, ifd_node *before, const ifd_graph *from) {
  for (const ifd_node *node = from->first; node; node = node->next) TRY(copy_node(c, to, before, node));
  return IFD_OK;
}

static ifd_status copy_graph(copier *c, ifd_graph *to, const ifd_graph *from) {
  ifd_value *value;
  to->name = from->name;
  to->origin = from->origin;
  for (int i = 0; i < from->inputs.n; i++) {
    TRY(copy_value(c, &value, to, from->inputs.v[i]));
    TRY(ifd_graph_add_input(c->err, to, value));
  }
  TRY(copy_constants(c, to, from, false));
  TRY(copy_nodes(c, to, NULL, from));
  for (int i = 0; i < from->outputs.n; i++) {
    TRY(find_value(c, &value, from->outputs.v[i]));
    TRY(ifd_graph_add_output(c->err, to, value));
  }
  return IFD_OK;
}

static ifd_status inline_nodes(copier *c, ifd_graph *into, ifd_node *before, const ifd_graph *body,
                               ifd_value **inputs, ifd_value **outputs) {
  for (int i = 0; i < body->inputs.n; i++) TRY(set_pair(c, body->inputs.v[i], inputs[i]));
  TRY(copy_constants(c, into, body, true));
  TRY(copy_nodes(c, into, before, body));
  for (int i = 0; i < body->outputs.n; i++) TRY(find_value(c, &outputs[i], body->outputs.v[i]));
  return IFD_OK;
}

ifd_status ifd_graph_inline(ifd_error *err, ifd_graph *into, ifd_node *before, const ifd_graph *body,
                            ifd_value **inputs, ifd_value **outputs, const ifd_attr *attrs, int n_attrs) {
  bool is_function = body->function && !body->outer;
  copier c = {.err = err,
              .rename = true,
              .resolve_refs = is_function,
              .function = is_function ? body->function : NULL,
              .attrs = attrs,
              .n_attrs = n_attrs};
  ifd_arena_init(&c.scratch, into->model->arena.budget);
  ifd_status status = inline_nodes(&c, into, before, body, inputs, outputs);
  ifd_arena_free(&c.scratch);
  return status;
}

/* ---- models ---- */

static ifd_status copy_opsets(ifd_error *err, ifd_arena *arena, ifd_opset **out, const ifd_opset *from,
                              int n) {
  ALLOC(err, *out, ifd_arena_memdup(arena, from, (size_t)n * sizeof *from));
  return IFD_OK;
}

static ifd_status copy_function(copier *c, ifd_model *to, const ifd_function *from) {
  ifd_function *f;
  TRY(ifd_function_new(c->err, &f, to, from->domain, from->name, from->overload));
  TRY(copy_opsets(c->err, &to->arena, &f->opsets.v, from->opsets.v, from->opsets.n));
  f->opsets.n = f->opsets.cap = from->opsets.n;
  f->n_attributes = from->n_attributes;
  f->attributes = from->attributes;
  f->n_defaults = from->n_defaults;
  f->defaults = from->defaults;
  f->origin = from->origin;
  return copy_graph(c, f->body, from->body);
}

static ifd_status copy_model(copier *c, ifd_model *to, const ifd_model *from) {
  ALLOC(c->err, to->dims, ifd_dims_clone(from->dims, &to->arena));
  to->ir_version = from->ir_version;
  to->producer_name = from->producer_name;
  to->producer_version = from->producer_version;
  to->domain = from->domain;
  to->doc = from->doc;
  to->model_version = from->model_version;
  to->path = from->path;
  to->origin = from->origin;
  to->files = from->files;
  to->let_files_go = from->let_files_go;
  TRY(copy_opsets(c->err, &to->arena, &to->opsets.v, from->opsets.v, from->opsets.n));
  to->opsets.n = to->opsets.cap = from->opsets.n;
  for (int i = 0; i < from->functions.n; i++) TRY(copy_function(c, to, from->functions.v[i]));
  return copy_graph(c, to->graph, from->graph);
}

ifd_status ifd_model_clone(ifd_error *err, ifd_model **out, const ifd_model *model, ifd_budget *budget) {
  copier c = {.err = err, .source = model};
  ifd_model *copy;
  ALLOC(err, copy, ifd_model_create(budget));
  ifd_arena_init(&c.scratch, budget);
  ifd_status status = copy_model(&c, copy, model);
  ifd_arena_free(&c.scratch);
  if (status == IFD_OK)
    *out = copy;
  else
    ifd_model_destroy(copy);
  return status;
}
