/* Statistics of all data together, depth by depth. */
#include "recalibrate/recalibrate.h"

#include <string.h>

static int find_held(const ifd_held *h, const char *name) {
  for (int i = 0; i < h->n; i++)
    if (strcmp(h->names[i], name) == 0) return i;
  return -1;
}

/* ---- what a depth needs ---- */

typedef struct frontier {
  ifd_recalibration *r;
  ifd_arena arena;
  int depth;
  bool *needed; /* by node id: layers of this depth and deeper come from it */
  bool *listed; /* by value id */
  IFD_VEC(const char *) names;
} frontier;

static int depth_of(const frontier *f, const ifd_value *v) {
  return v->producer ? f->r->depth_of[v->producer->id] : 0;
}

/* A value before the depth that something of it reads belongs to the frontier; one within it is needed. */
static ifd_status read_value(frontier *f, const ifd_value *v) {
  if (v->graph != f->r->work->ir->graph || ifd_value_constant(v)) return IFD_OK;
  if (depth_of(f, v) >= f->depth) {
    f->needed[v->producer->id] = true;
    return IFD_OK;
  }
  if (!f->listed[v->id]) IFD_PUSH(f->r->err, &f->arena, &f->names, v->name);
  f->listed[v->id] = true;
  return IFD_OK;
}

static ifd_status read_node(frontier *f, const ifd_node *node) {
  f->r->reads.n = 0;
  TRY(ifd_node_add_reads(f->r->err, &f->r->arena, node, &f->r->reads));
  for (int i = 0; i < f->r->reads.n; i++) TRY(read_value(f, f->r->reads.v[i]));
  return IFD_OK;
}

/* Values from before this depth that its layers and all deeper ones are computed from, their inputs among
 * them. */
static ifd_status find_frontier(frontier *f) {
  ifd_recalibration *r = f->r;
  int depth = f->depth;
  ALLOC(r->err, f->needed, ifd_new_array(&f->arena, bool, r->work->ir->n_nodes + 1));
  ALLOC(r->err, f->listed, ifd_new_array(&f->arena, bool, r->work->ir->n_values + 1));
  for (int i = 0; i < r->layers.n; i++)
    if (!r->layers.v[i].skipped && r->layers.v[i].depth >= depth) f->needed[r->layers.v[i].node->id] = true;
  for (const ifd_node *node = r->work->ir->graph->last; node; node = node->prev)
    if (f->needed[node->id]) TRY(read_node(f, node));
  return IFD_OK;
}

/* ---- depth by depth ---- */

typedef struct step {
  ifd_recalibration *r;
  int depth;
  const ifd_held *from;
  ifd_held to;
  IFD_VEC(const char *) made; /* names of the frontier that the step computes; others are held already */
  infold_session *session;    /* NULL when there is nothing to compute */
  bool keeps;                 /* what it makes fits into memory */
} step;

static ifd_status measure(step *s, infold_value *const *made, int batch) {
  for (int i = 0; i < s->r->layers.n; i++) {
    const ifd_stat_layer *l = &s->r->layers.v[i];
    if (l->skipped || l->depth != s->depth) continue;
    const char *x = l->node->inputs[0]->name;
    int k = find_held(s->from, x), m = 0;
    while (k < 0 && strcmp(s->made.v[m], x) != 0) m++;
    const infold_value *value = k < 0 ? made[m] : s->from->values[batch * s->from->n + k];
    TRY(ifd_recalibrate_add_moments(s->r, l, value, s->r->layers.v[l->twin].moments));
  }
  return IFD_OK;
}

/* Half of the memory may go to held values; the rest is for running. */
static bool fits(const step *s, size_t bytes) {
  static const size_t usual = (size_t)2 << 30;
  size_t limit = s->r->options->max_memory ? s->r->options->max_memory / 2 : usual;
  return s->from->bytes + bytes <= limit;
}

static size_t bytes_of(const infold_value *v) {
  return v->datum.kind == IFD_KIND_TENSOR ? ifd_tensor_bytes(&v->datum.tensor) : 0;
}

/* What was made goes to its place among the held values; what is no longer kept is dropped. */
static void keep(step *s, infold_value **made, int batch) {
  for (int m = 0; m < s->made.n; m++) s->to.bytes += s->keeps ? bytes_of(made[m]) : 0;
  if (s->keeps && !fits(s, s->to.bytes)) {
    s->keeps = false;
    ifd_api_drop_values(s->to.values, s->to.n * batch);
  }
  for (int m = 0; m < s->made.n; m++) {
    if (s->keeps)
      s->to.values[batch * s->to.n + m] = made[m];
    else
      infold_destroy_value(made[m]);
  }
}

static ifd_status run_batch(step *s, int batch, infold_value **made) {
  if (s->session)
    TRY(ifd_recalibrate_run(s->r, s->session, s->from->values + (int64_t)batch * s->from->n, s->from->n,
                            made));
  ifd_status status = measure(s, made, batch);
  keep(s, made, batch);
  return status;
}

/* The values of the frontier that are held already move on, those of the start as views. */
static ifd_status move_on(step *s, const frontier *f, ifd_held *from) {
  int n = s->made.n;
  for (int i = 0; i < f->names.n; i++) {
    int k = find_held(from, f->names.v[i]);
    if (k < 0) continue;
    for (int b = 0; b < from->n_batches; b++) {
      infold_value **place = &from->values[b * from->n + k], **to = &s->to.values[b * s->to.n + n];
      if (from->borrowed) {
        ifd_datum view;
        ifd_datum_ref(&view, &(*place)->datum);
        TRY(ifd_api_value(s->r->err, to, &view));
      } else {
        *to = *place;
        *place = NULL;
      }
      s->to.bytes += bytes_of(*to);
    }
    s->to.names[n++] = f->names.v[i];
  }
  return IFD_OK;
}

static ifd_status prepare(step *s, frontier *f) {
  ifd_recalibration *r = s->r;
  TRY(ifd_held_new(r, &s->to, f->names.n));
  s->keeps = true;
  for (int i = 0; i < f->names.n; i++)
    if (find_held(s->from, f->names.v[i]) < 0) {
      s->to.names[s->made.n] = f->names.v[i];
      IFD_PUSH(r->err, &f->arena, &s->made, f->names.v[i]);
    }
  if (!s->made.n) return IFD_OK;
  IFD_PUSH(r->err, &f->arena, &s->made, NULL); /* ends the list */
  s->made.n--;
  return ifd_recalibrate_open(r, &s->session, s->from->names, s->made.v);
}

static ifd_status run_step(step *s, frontier *f, ifd_held *from) {
  infold_value **made;
  TRY(prepare(s, f));
  ALLOC(s->r->err, made, ifd_new_array(&f->arena, infold_value *, s->made.n + 1));
  for (int b = 0; b < s->to.n_batches; b++) TRY(run_batch(s, b, made));
  if (!s->keeps) return IFD_OK;
  TRY(move_on(s, f, from));
  ifd_held_drop(from);
  *from = s->to;
  s->to = (ifd_held){0};
  return IFD_OK;
}

/* The work model's layer reads the new statistics from now on. */
static ifd_status use(ifd_recalibration *r, const ifd_stat_layer *l, int input, const double *v) {
  ifd_graph *g = r->work->ir->graph;
  ifd_tensor t;
  ifd_value *value;
  const ifd_value *old = l->node->inputs[input];
  TRY(ifd_tensor_new(r->err, &t, &r->work->ir->arena, old->type->dtype, &(ifd_shape){1, {l->n}}));
  for (int64_t c = 0; c < l->n; c++) ifd_tensor_set_f64(&t, c, v[c]);
  TRY(ifd_value_new(r->err, &value, g, ifd_graph_unique_name(g, old->name)));
  TRY(ifd_graph_add_constant(r->err, g, value, &t));
  ALLOC(r->err, value->type, ifd_type_of_tensor(&r->work->ir->arena, value->constant));
  return ifd_node_set_input(r->err, l->node, input, value);
}

static ifd_status settle(ifd_recalibration *r, ifd_stat_layer *l) {
  const ifd_stat_layer *first = &r->layers.v[l->twin];
  TRY(ifd_recalibrate_check_count(r, l, first->moments[0].n));
  for (int64_t c = 0; c < l->n; c++) {
    l->new_mean[c] = first->moments[c].mean;
    l->new_var[c] = ifd_moments_variance(&first->moments[c], r->options->sample_variance);
  }
  TRY(use(r, l, 3, l->new_mean));
  return use(r, l, 4, l->new_var);
}

/* From what is held to the inputs of the layers of one depth. Where their values of all batches fit into
 * memory they are held instead, so that nothing is computed twice; else the next depth starts from here
 * again. */
static ifd_status measure_depth(ifd_recalibration *r, int depth, ifd_held *from) {
  frontier f = {.r = r, .depth = depth};
  step s = {.r = r, .depth = depth, .from = from};
  ifd_recalibrate_tell(r, "measuring layers of depth", depth, r->n_depths);
  ifd_arena_init(&f.arena, NULL);
  ifd_status status = find_frontier(&f);
  if (status == IFD_OK) status = run_step(&s, &f, from);
  infold_destroy_session(s.session);
  ifd_held_drop(&s.to);
  ifd_arena_free(&f.arena);
  TRY(status);
  for (int i = 0; i < r->layers.n; i++)
    if (!r->layers.v[i].skipped && r->layers.v[i].depth == depth) TRY(settle(r, &r->layers.v[i]));
  return IFD_OK;
}

ifd_status ifd_recalibrate_exactly(ifd_recalibration *r) {
  ifd_held from = {0};
  ifd_status status = ifd_held_inputs(r, &from);
  for (int depth = 1; status == IFD_OK && depth <= r->n_depths; depth++)
    status = measure_depth(r, depth, &from);
  ifd_held_drop(&from);
  return status;
}
