#include "api/recalibrate.h"

#include "inspect/norm.h"
#include "ir/extract.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- one layer's input ---- */

/* Statistics are of channels, or (spatial = 0) of each position of a sample. */
static ifd_status add_moments(ifd_recalibration *r, const ifd_stat_layer *l, const infold_value *value,
                              ifd_moments *moments) {
  const ifd_tensor *x = &value->datum.tensor;
  int rank = x->shape.rank;
  int64_t channels = rank > 1 ? x->shape.dim[1] : 1,
          plane = ifd_shape_span(&x->shape, rank > 1 ? 2 : 1, rank);
  bool is_tensor = value->datum.kind == IFD_KIND_TENSOR && rank >= 1 && ifd_dtype_is_float(x->dtype);
  EXPECT(r->err, is_tensor && (l->n == channels || l->n == channels * plane), BAD_MODEL,
         "layer '%s': its input does not fit %lld statistics", l->name, (long long)l->n);
  ifd_moments_add(moments, x, l->n, l->n == channels ? plane : 1);
  for (int64_t c = 0; c < l->n; c++)
    EXPECT(r->err, isfinite(moments[c].mean) && isfinite(moments[c].m2), BAD_INPUT,
           "layer '%s': channel %lld of its input is not finite on this data", l->name, (long long)c);
  return IFD_OK;
}

static ifd_status check_count(ifd_recalibration *r, const ifd_stat_layer *l, double n) {
  double least = r->options->sample_variance ? 2 : 1;
  EXPECT(r->err, n >= least, BAD_INPUT,
         "layer '%s': %.0f value%s for a channel's statistics; %.0f are needed", l->name, n,
         n == 1 ? "" : "s", least);
  return IFD_OK;
}

static void tell(const ifd_recalibration *r, const char *what, int done, int total) {
  char text[96];
  snprintf(text, sizeof text, "%s %d of %d", what, done, total);
  if (r->options->progress) r->options->progress(r->options->progress_context, text);
}

/* Runs what makes the values `to` of the values `from`, by name, in the work model as it is now. */
static ifd_status open_session(ifd_recalibration *r, infold_session **out, const char *const *from,
                               const char *const *to) {
  infold_session_options options = {.threads = r->options->threads, .max_memory = r->options->max_memory};
  infold_model *part;
  infold_error e;
  TRY(ifd_api_clone(r->err, &part, r->work, r->work->budget.limit));
  ifd_status status = ifd_model_extract(r->err, part->ir, from, to);
  if (status == IFD_OK) status = ifd_api_infer(r->err, part->ir);
  if (status == IFD_OK && infold_create_session(&e, out, part, &options))
    status = ifd_error_set(r->err, (ifd_status)e.status, __FILE__, "%s", e.message);
  infold_destroy_model(part);
  return status;
}

/* Inputs behind those that are given have defaults. */
static ifd_status run_session(ifd_recalibration *r, const infold_session *s, infold_value *const *given,
                              int n, infold_value **outputs) {
  const infold_value **inputs;
  ifd_arena scratch;
  infold_error e = {0};
  ifd_arena_init(&scratch, NULL);
  inputs = ifd_new_array(&scratch, const infold_value *, infold_get_n_inputs(s) + n);
  for (int i = 0; inputs && i < n; i++) inputs[i] = given[i];
  infold_status status = inputs ? infold_run(&e, outputs, s, inputs, NULL) : INFOLD_NO_MEMORY;
  ifd_arena_free(&scratch);
  return status ? ifd_error_set(r->err, (ifd_status)status, __FILE__, "%s", e.message) : IFD_OK;
}

/* ---- values held for every batch ---- */

/* Some values of the graph, for each batch of the data. Those of the start are the calibration's. */
typedef struct held {
  ifd_arena arena;
  const char **names;
  int n, n_batches;
  infold_value **values; /* [n_batches][n] */
  bool borrowed;
  size_t bytes;
} held;

static void drop_held(held *h) {
  for (int i = 0; h->values && !h->borrowed && i < h->n * h->n_batches; i++)
    infold_destroy_value(h->values[i]);
  ifd_arena_free(&h->arena);
  *h = (held){0};
}

static ifd_status new_held(ifd_recalibration *r, held *h, int n) {
  *h = (held){.n = n, .n_batches = r->data.batches.n};
  ifd_arena_init(&h->arena, NULL);
  ALLOC(r->err, h->names, ifd_new_array(&h->arena, const char *, n + 1));
  ALLOC(r->err, h->values, ifd_new_array(&h->arena, infold_value *, (int64_t)n * h->n_batches + 1));
  return IFD_OK;
}

static int find_held(const held *h, const char *name) {
  for (int i = 0; i < h->n; i++)
    if (strcmp(h->names[i], name) == 0) return i;
  return -1;
}

/* The inputs that the data gives (in its first batch, and so in all). */
static ifd_status hold_inputs(ifd_recalibration *r, held *h) {
  const ifd_graph *g = r->work->ir->graph;
  TRY(new_held(r, h, g->inputs.n));
  h->borrowed = true;
  h->n = 0;
  for (int i = 0; i < g->inputs.n; i++)
    if (r->data.batches.v[0][i]) h->names[h->n++] = g->inputs.v[i]->name;
  for (int b = 0; b < h->n_batches; b++)
    for (int i = 0, k = 0; i < g->inputs.n; i++) {
      bool given = r->data.batches.v[b][i] != NULL;
      EXPECT(r->err, given == (r->data.batches.v[0][i] != NULL), BAD_INPUT,
             "input '%s' is given in some batches only", g->inputs.v[i]->name);
      if (given) h->values[b * h->n + k++] = r->data.batches.v[b][i];
    }
  return IFD_OK;
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
 * them.
 */
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
  const held *from;
  held to;
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
    TRY(add_moments(s->r, l, value, s->r->layers.v[l->twin].moments));
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
    for (int i = 0; i < s->to.n * batch; i++) {
      infold_destroy_value(s->to.values[i]);
      s->to.values[i] = NULL;
    }
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
    TRY(run_session(s->r, s->session, s->from->values + (int64_t)batch * s->from->n, s->from->n, made));
  ifd_status status = measure(s, made, batch);
  keep(s, made, batch);
  return status;
}

/* The values of the frontier that are held already move on, those of the start as views. */
static ifd_status move_on(step *s, const frontier *f, held *from) {
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
  TRY(new_held(r, &s->to, f->names.n));
  s->keeps = true;
  for (int i = 0; i < f->names.n; i++)
    if (find_held(s->from, f->names.v[i]) < 0) {
      s->to.names[s->made.n] = f->names.v[i];
      IFD_PUSH(r->err, &f->arena, &s->made, f->names.v[i]);
    }
  if (!s->made.n) return IFD_OK;
  IFD_PUSH(r->err, &f->arena, &s->made, NULL); /* ends the list */
  s->made.n--;
  return open_session(r, &s->session, s->from->names, s->made.v);
}

static ifd_status run_step(step *s, frontier *f, held *from) {
  infold_value **made;
  TRY(prepare(s, f));
  ALLOC(s->r->err, made, ifd_new_array(&f->arena, infold_value *, s->made.n + 1));
  for (int b = 0; b < s->to.n_batches; b++) TRY(run_batch(s, b, made));
  if (!s->keeps) return IFD_OK;
  TRY(move_on(s, f, from));
  drop_held(from);
  *from = s->to;
  s->to = (held){0};
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
  TRY(check_count(r, l, first->moments[0].n));
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
static ifd_status measure_depth(ifd_recalibration *r, int depth, held *from) {
  frontier f = {.r = r, .depth = depth};
  step s = {.r = r, .depth = depth, .from = from};
  tell(r, "measuring layers of depth", depth, r->n_depths);
  ifd_arena_init(&f.arena, NULL);
  ifd_status status = find_frontier(&f);
  if (status == IFD_OK) status = run_step(&s, &f, from);
  infold_destroy_session(s.session);
  drop_held(&s.to);
  ifd_arena_free(&f.arena);
  TRY(status);
  for (int i = 0; i < r->layers.n; i++)
    if (!r->layers.v[i].skipped && r->layers.v[i].depth == depth) TRY(settle(r, &r->layers.v[i]));
  return IFD_OK;
}

ifd_status ifd_recalibrate_exactly(ifd_recalibration *r) {
  held from = {0};
  ifd_status status = hold_inputs(r, &from);
  for (int depth = 1; status == IFD_OK && depth <= r->n_depths; depth++)
    status = measure_depth(r, depth, &from);
  drop_held(&from);
  return status;
}

/* ---- batch by batch ---- */

/* Updates start from the statistics that the model has. */
static void start_from_old(const ifd_recalibration *r, ifd_stat_layer *l) {
  const ifd_graph *g = r->model->ir->graph;
  const ifd_tensor *old_mean = ifd_norm_constant(ifd_map_find(&g->values, l->mean));
  const ifd_tensor *old_var = ifd_norm_constant(ifd_map_find(&g->values, l->var));
  for (int64_t c = 0; c < l->n; c++) {
    l->new_mean[c] = ifd_tensor_get_f64(old_mean, c);
    l->new_var[c] = ifd_tensor_get_f64(old_var, c);
  }
}

/* running = running * kept + batch * (1 - kept); for an average, the k-th update keeps (k - 1) / k. */
static ifd_status update(ifd_recalibration *r, ifd_stat_layer *l, const infold_value *x, int *n_updates) {
  ifd_moments *m;
  ifd_arena scratch;
  ifd_arena_init(&scratch, NULL);
  ALLOC(r->err, m, ifd_new_array(&scratch, ifd_moments, l->n));
  ifd_status status = add_moments(r, l, x, m);
  if (status == IFD_OK) status = check_count(r, l, m[0].n);
  double kept =
      r->options->estimate == INFOLD_AVERAGE ? (double)*n_updates / (*n_updates + 1) : r->options->momentum;
  ++*n_updates;
  for (int64_t c = 0; status == IFD_OK && c < l->n; c++) {
    l->new_mean[c] = l->new_mean[c] * kept + m[c].mean * (1 - kept);
    l->new_var[c] =
        l->new_var[c] * kept + ifd_moments_variance(&m[c], r->options->sample_variance) * (1 - kept);
    ifd_moments_merge(&l->moments[c], &m[c]);
  }
  ifd_arena_free(&scratch);
  return status;
}

/* The inputs of all layers, each once. */
static int list_inputs(const ifd_recalibration *r, const char **names, int *at) {
  int n = 0;
  for (int i = 0; i < r->layers.n; i++) {
    int k = 0;
    if (r->layers.v[i].skipped) continue;
    const char *x = r->layers.v[i].node->inputs[0]->name;
    while (k < n && strcmp(names[k], x) != 0) k++;
    if (k == n) names[n++] = x;
    at[i] = k;
  }
  return n;
}

static ifd_status run_training(ifd_recalibration *r, const infold_session *s, const held *inputs, int n,
                               const int *at) {
  infold_value **outputs;
  int *n_updates;
  ALLOC(r->err, outputs, ifd_new_array(&r->arena, infold_value *, n + 1));
  ALLOC(r->err, n_updates, ifd_new_array(&r->arena, int, r->layers.n + 1));
  for (int b = 0; b < inputs->n_batches; b++) {
    tell(r, "running batch", b + 1, inputs->n_batches);
    TRY(run_session(r, s, inputs->values + (int64_t)b * inputs->n, inputs->n, outputs));
    ifd_status status = IFD_OK;
    for (int i = 0; i < r->layers.n && status == IFD_OK; i++) {
      int first = r->layers.v[i].twin;
      if (!r->layers.v[i].skipped) status = update(r, &r->layers.v[first], outputs[at[i]], &n_updates[first]);
    }
    for (int k = 0; k < n; k++) infold_destroy_value(outputs[k]);
    TRY(status);
  }
  return IFD_OK;
}

static ifd_status set_training(ifd_recalibration *r) {
  for (int i = 0; i < r->layers.n; i++) {
    ifd_stat_layer *l = &r->layers.v[i];
    if (l->skipped) continue;
    start_from_old(r, l);
    TRY(ifd_recalibrate_set_mode(r->err, &l->node, true));
  }
  return IFD_OK;
}

static ifd_status train(ifd_recalibration *r, held *inputs) {
  const char **names;
  int *at;
  infold_session *s = NULL;
  TRY(hold_inputs(r, inputs));
  TRY(set_training(r));
  ALLOC(r->err, names, ifd_new_array(&r->arena, const char *, r->layers.n + 1));
  ALLOC(r->err, at, ifd_new_array(&r->arena, int, r->layers.n + 1));
  int n = list_inputs(r, names, at);
  ifd_status status = open_session(r, &s, inputs->names, names);
  if (status == IFD_OK) status = run_training(r, s, inputs, n, at);
  infold_destroy_session(s);
  return status;
}

ifd_status ifd_recalibrate_by_batches(ifd_recalibration *r) {
  held inputs = {0};
  ifd_status status = train(r, &inputs);
  drop_held(&inputs);
  for (int i = 0; i < r->layers.n && status == IFD_OK; i++) {
    ifd_stat_layer *l = &r->layers.v[i], *first = &r->layers.v[l->twin];
    if (l->skipped || l == first) continue;
    memcpy(l->new_mean, first->new_mean, (size_t)l->n * sizeof *l->new_mean);
    memcpy(l->new_var, first->new_var, (size_t)l->n * sizeof *l->new_var);
  }
  return status;
}
