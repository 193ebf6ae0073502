/* Another batch size.
 *
 * The first dimension of the inputs becomes a symbol. Nodes are then inferred in order; where a Reshape meets
 * a tensor of symbol times a number of elements, and its constant shape holds the old batch in front, that
 * entry becomes -1: the rest of the shape fixes what is left, and each sample's elements stay together as
 * they were. Then the symbol becomes what was asked for, and everything is inferred anew. */
#include "api/api.h"

#include <stdlib.h>
#include <string.h>

static const char symbol_name[] = "infold.batch";

typedef struct rebatching {
  ifd_error *err;
  ifd_model *model;
  ifd_arena arena;
  FILE *notes;
  ifd_dim batch;  /* the symbol */
  int64_t before; /* what the model is made for; 0: free */
  ifd_inference inf;
} rebatching;

static bool is_shaped(const ifd_type *t) { return t && t->kind == IFD_KIND_TENSOR && t->has_rank; }

static const ifd_type *with_dims(rebatching *r, const ifd_type *t, const ifd_dim *dims) {
  return ifd_type_tensor(&r->model->arena, t->dtype, t->rank, dims);
}

/* ---- claims ---- */

/* What the file claims of shapes need not hold any more: only the inputs' numbers, ranks and element types
 * do. */
static ifd_status weaken(rebatching *r, ifd_value *v) {
  const ifd_type *t = v ? v->declared : NULL;
  ifd_dim *dims;
  if (!v || v->constant) return IFD_OK;
  if (is_shaped(t)) {
    ALLOC(r->err, dims, ifd_new_array(&r->arena, ifd_dim, t->rank));
    for (int i = 0; i < t->rank; i++) dims[i] = ifd_dim_unknown(r->model->dims);
    ALLOC(r->err, v->declared, with_dims(r, t, dims));
    v->origin = NULL;
  }
  v->type = v->declared ? v->declared : &ifd_type_unknown;
  return IFD_OK;
}

static ifd_status weaken_graph(ifd_graph *graph, void *context) {
  for (int i = 0; graph->outer && i < graph->inputs.n; i++) TRY(weaken(context, graph->inputs.v[i]));
  IFD_EACH_NODE(node, graph)
  for (int i = 0; i < node->n_outputs; i++) TRY(weaken(context, node->outputs[i]));
  return IFD_OK;
}

/* Then what was found is declared. */
static ifd_status strengthen_graph(ifd_graph *graph, void *context) {
  (void)context;
  for (int i = 0; graph->outer && i < graph->inputs.n; i++)
    if (graph->inputs.v[i]->declared) graph->inputs.v[i]->declared = graph->inputs.v[i]->type;
  IFD_EACH_NODE(node, graph)
  for (int i = 0; i < node->n_outputs; i++) {
    ifd_value *v = node->outputs[i];
    if (v && v->declared && is_shaped(v->type)) v->declared = v->type;
  }
  return IFD_OK;
}

/* ---- inputs ---- */

/* Puts `to` for `from` into the first dimension of inputs, and, where `from` is no number, everywhere. */
static ifd_status replace_dim(rebatching *r, ifd_dim from, ifd_dim to) {
  const ifd_graph *g = r->model->graph;
  for (int i = 0; i < g->inputs.n; i++) {
    ifd_value *v = g->inputs.v[i];
    ifd_dim *dims;
    if (!is_shaped(v->type) || ifd_value_constant(v)) continue;
    ALLOC(r->err, dims, ifd_new_array(&r->arena, ifd_dim, v->type->rank));
    bool changed = false;
    for (int k = 0; k < v->type->rank; k++) {
      bool here = v->type->dims[k] == from && (k == 0 || !ifd_dim_is_number(from));
      dims[k] = here ? to : v->type->dims[k];
      changed |= here;
    }
    if (!changed) continue;
    ALLOC(r->err, v->type, with_dims(r, v->type, dims));
    v->declared = v->type;
    v->origin = NULL;
  }
  return IFD_OK;
}

static ifd_status find_batch(rebatching *r, ifd_dim *out) {
  const ifd_graph *g = r->model->graph;
  int i = 0;
  while (i < g->inputs.n &&
         (g->inputs.v[i]->constant || !is_shaped(g->inputs.v[i]->type) || !g->inputs.v[i]->type->rank))
    i++;
  EXPECT(r->err, i < g->inputs.n, USAGE, "no input has a first dimension");
  *out = g->inputs.v[i]->type->dims[0];
  r->before = ifd_dim_is_number(*out) ? *out : 0;
  return IFD_OK;
}

static void note_inputs(rebatching *r) {
  const ifd_graph *g = r->model->graph;
  char text[256];
  for (int i = 0; i < g->inputs.n; i++) {
    const ifd_value *v = g->inputs.v[i];
    if (v->constant) continue;
    bool follows = false;
    for (int k = 0; is_shaped(v->type) && k < v->type->rank; k++) follows |= v->type->dims[k] == r->batch;
    if (!follows)
      fprintf(r->notes, "input '%s' stays %s\n", v->name,
              ifd_type_text(r->model->dims, v->type, text, sizeof text));
  }
}

/* ---- Reshape ---- */

/* A Reshape whose shape is constant. */
typedef struct reshape {
  ifd_node *node;
  int64_t per_sample; /* elements of the input for each sample; 0: not known, or not batch first */
  int n;
  int64_t shape[IFD_MAX_RANK];
} reshape;

/* The number of elements of a sample when the type is [batch * number, number …]. */
static int64_t elements_per_sample(rebatching *r, const ifd_type *t) {
  if (!is_shaped(t) || !t->rank) return 0;
  ifd_dim count = ifd_dim_floor_div(r->model->dims, t->dims[0], r->batch);
  if (!ifd_dim_is_number(count) || ifd_dim_mul(r->model->dims, count, r->batch) != t->dims[0]) return 0;
  for (int i = 1; i < t->rank; i++) {
    if (!ifd_dim_is_number(t->dims[i])) return 0;
    count = ifd_dim_mul(r->model->dims, count, t->dims[i]);
  }
  return ifd_dim_is_number(count) && count > 0 ? count : 0;
}

static bool depends_on_batch(rebatching *r, const ifd_type *t) {
  char text[512];
  for (int i = 0; is_shaped(t) && i < t->rank; i++)
    if (!ifd_dim_is_number(t->dims[i]) &&
        strstr(ifd_dim_text(r->model->dims, t->dims[i], text, sizeof text), symbol_name))
      return true;
  return !is_shaped(t);
}

static ifd_status read_shape(rebatching *r, const ifd_node *node, reshape *out) {
  const int64_t *list = NULL;
  out->n = 0;
  if (node->opset < 5) {
    out->n = ifd_node_ints(node, "shape", &list);
  } else if (ifd_node_has_input(node, 1)) {
    const ifd_facts *f;
    ALLOC(r->err, f, ifd_inference_get(&r->inf, node->inputs[1]));
    if (f->elements) list = f->elements->d;
    if (f->elements) out->n = (int)f->elements->n;
  }
  if (out->n > IFD_MAX_RANK) out->n = 0;
  for (int i = 0; i < out->n; i++) {
    out->shape[i] = list[i];
    if (!ifd_dim_is_number(list[i])) out->n = 0; /* it follows the input already */
  }
  return IFD_OK;
}

/* What the shape without its first entry holds for one row of the output, or 0; a -1 in it is worked out from
 * `rows`, the rows of one batch of `before`. */
static int64_t settle_rest(const reshape *x, const ifd_type *in, int64_t before, int64_t *rest) {
  int deduced = 0;
  int64_t count = 1;
  bool allow_zero = ifd_node_int(x->node, "allowzero", 0);
  for (int i = 1; i < x->n; i++) {
    rest[i] = x->shape[i];
    if (rest[i] == 0 && !allow_zero)
      rest[i] = i < in->rank && ifd_dim_is_number(in->dims[i]) ? in->dims[i] : 0;
    if (rest[i] == -1 && !deduced)
      deduced = i;
    else if (rest[i] <= 0 || count > INT64_MAX / rest[i])
      return 0;
    else
      count *= rest[i];
  }
  if (!deduced) return count;
  int64_t all = before * x->per_sample, others = x->shape[0] * count;
  if (!before || x->shape[0] <= 0 || all % others) return 0;
  rest[deduced] = all / others;
  return count * rest[deduced];
}

/* Whether the shape holds a batch in front and nothing of it elsewhere: then `rest` is what stands behind. */
static bool holds_batch(const rebatching *r, const reshape *x, const ifd_type *in, int64_t *rest) {
  if (!x->per_sample || x->shape[0] <= 0) return false;
  int64_t row = settle_rest(x, in, r->before, rest);
  if (!row || x->per_sample % row) return false;
  int64_t rows = x->per_sample / row; /* of the output for each sample */
  if (x->shape[0] % rows) return false;
  int64_t batch = x->shape[0] / rows;
  if (r->before && batch != r->before) return false;
  return rows == 1 || batch > 1; /* a first dimension of one sample alone may mean something else */
}

static ifd_status set_shape(rebatching *r, reshape *x, const int64_t *rest) {
  ifd_graph *g = x->node->graph;
  ifd_tensor t;
  ifd_value *v;
  const char *name;
  TRY(ifd_tensor_new(r->err, &t, &r->model->arena, IFD_INT64, &(ifd_shape){1, {x->n}}));
  int64_t *to = t.data;
  to[0] = -1;
  for (int i = 1; i < x->n; i++) to[i] = rest[i];
  if (x->node->opset < 5) return ifd_node_set_ints(r->err, x->node, "shape", to, x->n);
  ALLOC(r->err, name, ifd_graph_unique_name(g, x->node->inputs[1]->name));
  TRY(ifd_value_new(r->err, &v, g, name));
  TRY(ifd_graph_add_constant(r->err, g, v, &t));
  TRY(ifd_inference_set_tensor(&r->inf, v, v->constant));
  ifd_value *was = x->node->inputs[1];
  TRY(ifd_node_set_input(r->err, x->node, 1, v));
  if (ifd_value_n_readers(was)) return IFD_OK;
  if (was->constant && !was->is_input) ifd_graph_remove_constant(was);
  if (was->producer && ifd_node_is(was->producer, "Constant")) ifd_node_remove(was->producer);
  return IFD_OK;
}

static void note_shape(rebatching *r, const ifd_node *node, const int64_t *shape, int n, const char *after) {
  char label[256];
  fprintf(r->notes, "%s: shape [", ifd_node_label(node, label, sizeof label));
  for (int i = 0; i < n; i++) fprintf(r->notes, "%s%lld", i ? "," : "", (long long)shape[i]);
  fprintf(r->notes, "]%s", after);
}

/* Shapes without a free entry, and those that begin with the old batch, cannot fit another one. */
static bool is_suspect(const rebatching *r, const reshape *x) {
  bool free_entry = false;
  for (int i = 0; i < x->n; i++) free_entry |= x->shape[i] <= 0;
  return !free_entry || (r->before && x->shape[0] == r->before);
}

static ifd_status fix_reshape(rebatching *r, ifd_node *node, bool *changed) {
  reshape x = {.node = node};
  int64_t rest[IFD_MAX_RANK];
  const ifd_facts *f;
  ALLOC(r->err, f, ifd_inference_get(&r->inf, node->inputs[0]));
  TRY(read_shape(r, node, &x));
  if (!x.n || !depends_on_batch(r, f->type)) return IFD_OK;
  x.per_sample = elements_per_sample(r, f->type);
  if (holds_batch(r, &x, f->type, rest)) {
    TRY(set_shape(r, &x, rest));
    note_shape(r, node, x.shape, x.n, " became ");
    fputs("[-1", r->notes);
    for (int i = 1; i < x.n; i++) fprintf(r->notes, ",%lld", (long long)rest[i]);
    fputs("]\n", r->notes);
    *changed = true;
  } else if (is_suspect(r, &x))
    note_shape(r, node, x.shape, x.n, " was left: that it holds the batch is not proven\n");
  return IFD_OK;
}

static ifd_status fix_graph(rebatching *r, ifd_graph *graph, bool *changed) {
  IFD_EACH_NODE(node, graph) {
    bool inner = false;
    if (ifd_node_is(node, "Reshape") && ifd_node_has_input(node, 0)) TRY(fix_reshape(r, node, changed));
    TRY(ifd_infer_node(&r->inf, node));
    for (int i = 0; i < node->n_attrs; i++) {
      ifd_graph *const *graphs;
      int n = ifd_attr_graphs(&node->attrs[i], &graphs);
      for (int k = 0; k < n; k++) TRY(fix_graph(r, graphs[k], &inner));
    }
    if (inner) TRY(ifd_infer_node(&r->inf, node));
    *changed |= inner;
  }
  return IFD_OK;
}

/* ---- all of it ---- */

static ifd_status parse_batch(rebatching *r, ifd_dim *out, const char *text) {
  char *end;
  long long n = strtoll(text, &end, 10);
  EXPECT(r->err, *text && (*end || n > 0), USAGE, "a batch is a number of at least 1, or a name, not '%s'",
         text);
  *out = *end ? ifd_dim_symbol(r->model->dims, text) : ifd_dim_number(r->model->dims, n);
  return IFD_OK;
}

/* Inputs hold the symbol: facts of constants and inputs, then of nodes, one after another. */
static ifd_status fix_model(rebatching *r) {
  ifd_graph *g = r->model->graph;
  bool changed = false;
  TRY(ifd_inference_init(&r->inf, r->err, &r->arena, r->model->dims, r->model->n_values));
  for (int i = 0; i < g->inputs.n; i++) {
    ifd_facts *f;
    ALLOC(r->err, f, ifd_inference_get(&r->inf, g->inputs.v[i]));
    f->type = g->inputs.v[i]->type;
  }
  for (int i = 0; i < g->constants.n; i++) {
    const ifd_tensor *t = ifd_value_constant(g->constants.v[i]);
    if (t) TRY(ifd_inference_set_tensor(&r->inf, g->constants.v[i], t));
  }
  return fix_graph(r, g, &changed);
}

static ifd_status set_batch(rebatching *r, const char *text) {
  ifd_dim before, after;
  TRY(parse_batch(r, &after, text));
  TRY(find_batch(r, &before));
  r->batch = ifd_dim_symbol(r->model->dims, symbol_name);
  TRY(ifd_graph_visit(r->model->graph, weaken_graph, r));
  TRY(replace_dim(r, before, r->batch));
  note_inputs(r);
  TRY(fix_model(r));
  TRY(replace_dim(r, r->batch, after));
  TRY(ifd_api_infer(r->err, r->model));
  return ifd_graph_visit(r->model->graph, strengthen_graph, r);
}

infold_status infold_set_batch(infold_error *to, char **notes, infold_model *model, const char *batch) {
  IFD_API_COMPUTES;
  ifd_error err = {0};
  char *text = NULL;
  size_t len;
  rebatching r = {.err = &err, .model = model->ir};
  ifd_arena_init(&r.arena, model->ir->arena.budget);
  r.notes = open_memstream(&text, &len);
  ifd_status status = r.notes ? set_batch(&r, batch) : IFD_OK;
  status = ifd_api_text_end(&err, r.notes, &text, status);
  ifd_arena_free(&r.arena);
  if (notes)
    *notes = text;
  else
    free(text);
  return ifd_api_report(to, &err, NULL, status);
}
