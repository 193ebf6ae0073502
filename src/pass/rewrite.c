#include "pass/manager.h"

#include "ir/clone.h"
#include "ir/equal.h"
#include "ops/op.h"
#include "ops/schema.h"
#include "pass/inline.h"

#include <stdio.h>
#include <string.h>

/* ---- looking ---- */

static const ifd_facts nothing = {.type = &ifd_type_unknown};

const ifd_facts *ifd_rw_facts(ifd_rewrite *rw, const ifd_value *value) {
  const ifd_facts *f = value ? ifd_inference_get(&rw->manager->inf, value) : NULL;
  return f ? f : &nothing;
}

const ifd_tensor *ifd_rw_constant(ifd_rewrite *rw, const ifd_value *value) {
  (void)rw;
  return value ? ifd_value_constant(value) : NULL;
}

const ifd_tensor *ifd_rw_known(ifd_rewrite *rw, const ifd_value *value) {
  const ifd_manager *m = rw->manager;
  const ifd_tensor *t = ifd_rw_constant(rw, value);
  return t || !value || value->id >= m->n_known ? t : m->known[value->id];
}

ifd_status ifd_rw_remember(ifd_rewrite *rw, const ifd_value *value, const ifd_tensor *content) {
  enum { FREE_BYTES = 1 << 26 };
  ifd_manager *m = rw->manager;
  ifd_arena *arena = &m->model->arena;
  int64_t bytes = (int64_t)ifd_tensor_bytes(content);
  if (m->known_bytes + bytes > m->bytes_allowed + FREE_BYTES) return IFD_OK;
  if (value->id >= m->n_known) {
    int n = 2 * value->id + 16;
    const ifd_tensor **grown;
    const ifd_value **values;
    ALLOC(m->err, grown, ifd_new_array(arena, const ifd_tensor *, n));
    ALLOC(m->err, values, ifd_new_array(arena, const ifd_value *, n));
    if (m->n_known) memcpy(grown, m->known, (size_t)m->n_known * sizeof *grown);
    if (m->n_known) memcpy(values, m->known_values, (size_t)m->n_known * sizeof *values);
    m->known = grown;
    m->known_values = values;
    m->n_known = n;
  }
  ALLOC(m->err, m->known[value->id], ifd_arena_memdup(arena, content, sizeof *content));
  m->known_values[value->id] = value;
  m->known_bytes += bytes;
  return IFD_OK;
}

ifd_node *ifd_rw_producer(const ifd_value *value, const char *op_type) {
  ifd_node *node = value ? value->producer : NULL;
  return node && ifd_node_is(node, op_type) && !ifd_node_is_open(node) ? node : NULL;
}

bool ifd_rw_is_own(const ifd_node *node, const char *op_type) {
  return node && strcmp(node->domain, IFD_OWN_DOMAIN) == 0 && strcmp(node->op_type, op_type) == 0;
}

ifd_node *ifd_rw_own_producer(const ifd_value *value, const char *op_type) {
  return value && ifd_rw_is_own(value->producer, op_type) ? value->producer : NULL;
}

ifd_node *ifd_rw_sole_producer(const ifd_value *value, const char *op_type) {
  ifd_node *node = ifd_rw_producer(value, op_type);
  return node && ifd_value_n_readers(value) == 1 ? node : NULL;
}

int ifd_rw_rank(ifd_rewrite *rw, const ifd_value *value) {
  const ifd_type *t = ifd_rw_facts(rw, value)->type;
  return t->kind == IFD_KIND_TENSOR && t->has_rank ? t->rank : -1;
}

ifd_dim ifd_rw_dim(ifd_rewrite *rw, const ifd_value *value, int axis) {
  int rank = ifd_rw_rank(rw, value);
  if (axis < 0) axis += rank;
  return axis >= 0 && axis < rank ? ifd_rw_facts(rw, value)->type->dims[axis]
                                  : ifd_dim_unknown(rw->manager->inf.dims);
}

bool ifd_rw_same_shape(ifd_rewrite *rw, const ifd_value *a, const ifd_value *b) {
  int rank = ifd_rw_rank(rw, a);
  if (rank < 0 || rank != ifd_rw_rank(rw, b)) return false;
  for (int i = 0; i < rank; i++)
    if (ifd_rw_dim(rw, a, i) != ifd_rw_dim(rw, b, i)) return false;
  return true;
}

ifd_dtype ifd_rw_dtype(ifd_rewrite *rw, const ifd_value *value) {
  const ifd_type *t = ifd_rw_facts(rw, value)->type;
  return t->kind == IFD_KIND_TENSOR ? t->dtype : IFD_UNDEFINED;
}

bool ifd_rw_is_filled_with(ifd_rewrite *rw, const ifd_value *value, double x) {
  const ifd_tensor *t = ifd_rw_constant(rw, value);
  if (!t || t->dtype == IFD_STRING || ifd_dtypes[t->dtype].class == IFD_CLASS_COMPLEX) return false;
  int64_t n = t->splat ? 1 : ifd_tensor_count(t);
  for (int64_t i = 0; i < n; i++)
    if (ifd_tensor_get_f64(t, i) != x) return false;
  return n > 0;
}

bool ifd_rw_scalar(ifd_rewrite *rw, const ifd_value *value, double *out) {
  const ifd_tensor *t = ifd_rw_constant(rw, value);
  if (!t || ifd_tensor_count(t) != 1 || t->dtype == IFD_STRING) return false;
  *out = ifd_tensor_get_f64(t, 0);
  return true;
}

int ifd_rw_opset(const ifd_node *node) { return ifd_graph_opset(node->graph, ""); }

bool ifd_rw_for_running(const ifd_rewrite *rw) { return rw->manager->options->for_running; }

bool ifd_rw_exact_conv(const ifd_rewrite *rw) { return rw->manager->options->exact_conv; }

bool ifd_rw_offers(const ifd_rewrite *rw, const ifd_node *at, const char *op_type) {
  int own = *at->domain ? ifd_rw_opset(at) : at->opset;
  int opset = ifd_rw_for_running(rw) ? ifd_schema_latest_opset("") : own;
  return ifd_schema_find("", op_type, opset) != NULL;
}

ifd_arena *ifd_rw_scratch(ifd_rewrite *rw) { return &rw->scratch; }
ifd_arena *ifd_rw_arena(ifd_rewrite *rw) { return &rw->manager->model->arena; }
ifd_error *ifd_rw_error(ifd_rewrite *rw) { return rw->manager->err; }
ifd_inference *ifd_rw_inference(ifd_rewrite *rw) { return &rw->manager->inf; }
ifd_dims *ifd_rw_dims(ifd_rewrite *rw) { return rw->manager->inf.dims; }

/* ---- refusing ---- */

ifd_status ifd_rw_refuse(ifd_rewrite *rw, const char *format, ...) {
  ifd_manager *m = rw->manager;
  rw->refused = true;
  if (!m->last_look) return IFD_OK;
  char text[512];
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  ifd_arena *arena = &m->report->arena;
  ifd_refusal r = {.op_type = rw->root->op_type, .pass = rw->pass->name};
  const char *name = rw->root->name;
  for (int i = 0; !*name && i < rw->root->n_outputs; i++)
    if (rw->root->outputs[i]) name = rw->root->outputs[i]->name;
  ALLOC(m->err, r.node, ifd_arena_strdup(arena, name));
  ALLOC(m->err, r.op_type, ifd_arena_strdup(arena, rw->root->op_type));
  ALLOC(m->err, r.reason, ifd_arena_strdup(arena, text));
  IFD_PUSH(m->err, arena, &m->report->refusals, r);
  return IFD_OK;
}

ifd_status ifd_rw_warn(ifd_rewrite *rw, const char *format, ...) {
  ifd_manager *m = rw->manager;
  char text[512];
  char *copy;
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  for (int i = 0; i < m->report->warnings.n; i++)
    if (strcmp(m->report->warnings.v[i], text) == 0) return IFD_OK;
  ALLOC(m->err, copy, ifd_arena_strdup(&m->report->arena, text));
  IFD_PUSH(m->err, &m->report->arena, &m->report->warnings, copy);
  return IFD_OK;
}

/* ---- the patch ---- */

ifd_status ifd_rw_add_constant(ifd_rewrite *rw, ifd_value **out, const ifd_tensor *tensor, const char *hint) {
  ifd_manager *m = rw->manager;
  ifd_tensor *copy;
  ALLOC(m->err, copy, ifd_arena_memdup(&m->model->arena, tensor, sizeof *tensor));
  TRY(ifd_value_new(m->err, out, rw->root->graph, ifd_graph_unique_name(rw->root->graph, hint)));
  (*out)->constant = copy;
  TRY(ifd_inference_set_tensor(&m->inf, *out, copy));
  IFD_PUSH(m->err, &rw->scratch, &rw->constants, *out);
  return IFD_OK;
}

static bool is_same_constant(const ifd_value *v, const ifd_tensor *t, const char *hint) {
  const ifd_tensor *c = ifd_value_constant(v);
  return c && strncmp(v->name, hint, strlen(hint)) == 0 && ifd_tensor_equal(c, t);
}

/* The same numbers under the same name: made by this patch, or among the graph's latest. */
static ifd_value *find_ints(const ifd_rewrite *rw, const ifd_tensor *t, const char *hint) {
  enum { LATEST = 32 };
  const ifd_graph *graph = rw->root->graph;
  for (int k = 0; k < rw->constants.n; k++)
    if (is_same_constant(rw->constants.v[k], t, hint)) return rw->constants.v[k];
  for (int k = graph->constants.n - 1; k >= 0 && k >= graph->constants.n - LATEST; k--)
    if (is_same_constant(graph->constants.v[k], t, hint)) return graph->constants.v[k];
  return NULL;
}

ifd_status ifd_rw_add_ints(ifd_rewrite *rw, ifd_value **out, const int64_t *v, int n, const char *hint) {
  ifd_tensor t;
  TRY(ifd_tensor_new(ifd_rw_error(rw), &t, ifd_rw_arena(rw), IFD_INT64, &(ifd_shape){1, {n}}));
  if (n) memcpy(t.data, v, (size_t)n * sizeof *v);
  *out = find_ints(rw, &t, hint);
  return *out ? IFD_OK : ifd_rw_add_constant(rw, out, &t, hint);
}

ifd_status ifd_rw_add_scalar(ifd_rewrite *rw, ifd_value **out, ifd_dtype dtype, double x, const char *hint) {
  ifd_tensor t;
  TRY(ifd_tensor_new(ifd_rw_error(rw), &t, ifd_rw_arena(rw), dtype, &(ifd_shape){0}));
  ifd_tensor_set_f64(&t, 0, x);
  return ifd_rw_add_constant(rw, out, &t, hint);
}

/* Inputs are noted without counting as reads, so that a dropped patch leaves no trace. */
static ifd_status stage_node(ifd_rewrite *rw, ifd_node *node, ifd_value *const *inputs, const char *hint) {
  ifd_manager *m = rw->manager;
  for (int i = 0; i < node->n_inputs; i++) node->inputs[i] = inputs[i];
  for (int i = 0; i < node->n_outputs; i++) {
    ifd_value *v;
    TRY(ifd_value_new(m->err, &v, node->graph, ifd_graph_unique_name(node->graph, hint)));
    TRY(ifd_node_set_output(m->err, node, i, v));
  }
  IFD_PUSH(m->err, &rw->scratch, &rw->nodes, node);
  return IFD_OK;
}

/* An operator younger than the opset, which only a session's model may have, is its first version. */
static void find_younger(const ifd_rewrite *rw, ifd_node *node) {
  int latest = ifd_rw_for_running(rw) ? ifd_schema_latest_opset("") : 0;
  while (!*node->domain && !node->schema && node->opset < latest)
    node->schema = ifd_schema_find("", node->op_type, ++node->opset);
  if (!node->op) node->op = ifd_op_find(node->domain, node->op_type, node->opset);
}

ifd_status ifd_rw_add_node(ifd_rewrite *rw, ifd_node **out, const char *op_type, ifd_value *const *inputs,
                           int n_inputs, int n_outputs) {
  size_t own = strlen(IFD_OWN_DOMAIN ".");
  bool is_own = strncmp(op_type, IFD_OWN_DOMAIN ".", own) == 0;
  TRY(ifd_node_new(rw->manager->err, out, rw->root->graph, is_own ? IFD_OWN_DOMAIN : "",
                   op_type + (is_own ? own : 0), n_inputs, n_outputs));
  find_younger(rw, *out);
  return stage_node(rw, *out, inputs, (*out)->op_type);
}

ifd_status ifd_rw_add_like(ifd_rewrite *rw, ifd_node **out, const ifd_node *like, ifd_value *const *inputs,
                           int n_inputs) {
  ifd_error *err = rw->manager->err;
  TRY(ifd_node_new(err, out, rw->root->graph, like->domain, like->op_type, n_inputs, like->n_outputs));
  (*out)->opset = like->opset;
  (*out)->schema = like->schema;
  (*out)->op = like->op;
  (*out)->name = like->name;
  (*out)->overload = like->overload;
  (*out)->origin = like->origin;
  (*out)->provenance = like->provenance;
  for (int i = 0; i < like->n_attrs; i++) TRY(ifd_node_set_attr(err, *out, &like->attrs[i]));
  return stage_node(rw, *out, inputs, like->op_type);
}

ifd_status ifd_rw_add_gather(ifd_rewrite *rw, ifd_node **out, ifd_value *x, int64_t axis, int64_t index,
                             bool keeps) {
  ifd_value *inputs[2] = {x};
  TRY(keeps ? ifd_rw_add_ints(rw, &inputs[1], &index, 1, "indices")
            : ifd_rw_add_scalar(rw, &inputs[1], IFD_INT64, (double)index, "index"));
  TRY(ifd_rw_add_node(rw, out, "Gather", inputs, 2, 1));
  return axis ? ifd_node_set_int(ifd_rw_error(rw), *out, "axis", axis) : IFD_OK;
}

ifd_status ifd_rw_replace(ifd_rewrite *rw, ifd_value *old, ifd_value *with) {
  ifd_edit_value e = {old, with};
  IFD_PUSH(rw->manager->err, &rw->scratch, &rw->values, e);
  return IFD_OK;
}

ifd_status ifd_rw_set_input(ifd_rewrite *rw, ifd_node *reader, int index, ifd_value *with) {
  ifd_edit_input e = {reader, index, with};
  IFD_PUSH(rw->manager->err, &rw->scratch, &rw->inputs, e);
  return IFD_OK;
}

/* ---- for whole-graph steps ---- */

ifd_status ifd_rw_remove_dead(ifd_rewrite *rw, ifd_node *node) { return ifd_remove_dead(rw->manager, node); }
void ifd_rw_remove_constant(ifd_rewrite *rw, ifd_value *value) {
  ifd_remove_unread_constant(rw->manager, value);
}

/* Merged parameters would be trained as one. */
static bool is_of_batch_norm(const ifd_value *v) {
  if (v->producer && ifd_node_is(v->producer, "BatchNormalization")) return true;
  for (int i = 0; i < v->uses.n; i++)
    if (v->uses.v[i].index && ifd_node_is(v->uses.v[i].node, "BatchNormalization")) return true;
  return false;
}

ifd_status ifd_rw_merge(ifd_rewrite *rw, ifd_value *from, ifd_value *into) {
  ifd_manager *m = rw->manager;
  if (m->options->keep_bn && (is_of_batch_norm(from) || is_of_batch_norm(into))) return IFD_OK;
  TRY(ifd_value_replace(m->err, from, into, false));
  m->changes++;
  if (from->producer) return ifd_remove_dead(m, from->producer);
  ifd_remove_unread_constant(m, from);
  return IFD_OK;
}

/* ---- what Loops carry ---- */

/* Whether all readers of `from` see `to` under its name, be it behind `from`, which goes. */
static bool can_read(const ifd_value *from, const ifd_value *to) {
  for (int i = 0; i < from->uses.n; i++) {
    const ifd_value *seen = ifd_graph_find_value(from->uses.v[i].node->graph, to->name);
    if (seen != to && seen != from) return false;
  }
  return true;
}

ifd_status ifd_rw_drop_carried(ifd_rewrite *rw, ifd_node *loop, int i) {
  enum { CARRIED = 2, MADE = 1 }; /* the first input, the body's first output */
  ifd_manager *m = rw->manager;
  ifd_graph *body = ifd_node_graph(loop, "body");
  ifd_value *first = loop->inputs[CARRIED + i], *inside = body->inputs.v[CARRIED + i],
            *last = ifd_node_output(loop, i);
  if (!can_read(inside, first) || (last && (last->n_outputs || !can_read(last, first)))) return IFD_OK;
  int64_t bytes = ifd_node_bytes(loop);
  TRY(ifd_value_replace(m->err, inside, first, false));
  if (last) TRY(ifd_value_replace(m->err, last, first, false));
  m->changes++;
  if (last && loop->n_outputs == 1) return ifd_remove_dead(m, loop);
  ifd_graph_drop_output(body, MADE + i);
  ifd_graph_drop_input(body, CARRIED + i);
  ifd_node_drop_input(loop, CARRIED + i);
  if (i < loop->n_outputs) ifd_node_drop_output(loop, i);
  m->bytes += ifd_node_bytes(loop) - bytes;
  return IFD_OK;
}

int64_t ifd_rw_inline_growth(const ifd_node *call) {
  return ifd_graph_bytes(ifd_node_find_function(call)->body) - ifd_node_bytes(call);
}

int64_t ifd_rw_function_bytes(const ifd_function *f) {
  return ifd_graph_bytes(f->body) + ifd_header_bytes(f);
}

ifd_status ifd_rw_inline_call(ifd_rewrite *rw, ifd_node *call) {
  ifd_manager *m = rw->manager;
  int64_t growth = ifd_rw_inline_growth(call);
  bool done;
  TRY(ifd_inline_call(m->err, &rw->scratch, call, &done));
  if (done) m->changes++, m->bytes += growth;
  return IFD_OK;
}

ifd_status ifd_rw_drop_uncalled(ifd_rewrite *rw) {
  ifd_manager *m = rw->manager;
  int before = m->model->functions.n;
  TRY(ifd_model_drop_uncalled(m->err, m->model));
  m->changes += m->model->functions.n != before;
  return IFD_OK;
}

ifd_status ifd_rw_copy_body(ifd_rewrite *rw, const ifd_graph *body, ifd_value **inputs, ifd_value **made,
                            ifd_node *node) {
  return ifd_graph_inline(rw->manager->err, node->graph, node, body, inputs, made, NULL, 0);
}

ifd_status ifd_rw_supplant(ifd_rewrite *rw, ifd_node *node, ifd_value *const *made) {
  TRY(ifd_splice_outputs(rw->manager->err, node, made));
  ifd_node_remove(node);
  rw->acted = true;
  return IFD_OK;
}

ifd_status ifd_rw_inline(ifd_rewrite *rw, const ifd_graph *body, ifd_node *node) {
  ifd_value **made;
  ALLOC(rw->manager->err, made, ifd_new_array(&rw->scratch, ifd_value *, body->outputs.n));
  TRY(ifd_rw_copy_body(rw, body, NULL, made, node));
  return ifd_rw_supplant(rw, node, made);
}
