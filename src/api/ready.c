/* The model that a session runs, and the memory of its weights.
 *
 * A weight that kernels read in another form is packed when a plan is made, and then its own bytes go: pages
 * of the file by themselves; those of a weight that passes computed, if nothing else reads it. Should another
 * input's shape want them after all, in another form or as they are, the model is made ready once more, which
 * gives the same weights, and from then on they stay. */
#include "api/api.h"

#include "base/os.h"
#include "pass/gradient.h"
#include "pass/inline.h"
#include <stdlib.h>
#include <string.h>

/* ---- making ready ---- */

/* The passes of a session whose graph shall stay as it is: those that say what operators mean, and, where it
 * runs on kernels, those that put the graph onto them. */
static ifd_status needed_passes(ifd_error *err, ifd_arena *arena, bool on_kernels, const char *const **out) {
  const char **names;
  int n = 0;
  while (ifd_passes[n].name) n++;
  ALLOC(err, names, ifd_new_array(arena, const char *, n + 1));
  *out = names;
  for (const ifd_pass_entry *p = ifd_passes; p->name; p++)
    if (p->pass->defines || (on_kernels && p->pass->phase >= IFD_PHASE_INTEGER)) *names++ = p->name;
  return IFD_OK;
}

static ifd_status optimize(ifd_error *err, ifd_model *model, infold_session *s) {
  TRY(ifd_inline_functions(err, model));
  TRY(ifd_expand_gradients(err, model));
  bool on_kernels = !s->options.reference && !s->options.float64;
  ifd_optimize_options options = {.max_rewrites = -1,
                                  .grow = true,
                                  .for_running = true,
                                  .exact_conv = s->options.exact_conv,
                                  .no_refusals = true};
  ifd_optimize_report report = {0};
  if (s->options.no_optimize || !on_kernels) TRY(needed_passes(err, &s->arena, on_kernels, &options.only));
  ifd_arena_init(&report.arena, NULL);
  ifd_status status = ifd_optimize(err, model, &options, &report);
  ifd_arena_free(&report.arena);
  ifd_arena_trim(&model->arena);
  if (on_kernels) ifd_model_let_go(model, NULL, 0);
  return status;
}

static ifd_status make(ifd_error *err, infold_model **out, infold_session *s) {
  TRY(ifd_api_clone(err, out, s->model, s->budget));
  return optimize(err, (*out)->ir, s);
}

/* ---- letting go ---- */

static bool list_block(void *context, const void *data, size_t size) {
  infold_session *s = context;
  ifd_weight w = {.data = data, .bytes = size};
  void *grown = s->weights.n < s->weights.cap
                    ? s->weights.v
                    : ifd_vec_grow(&s->arena, s->weights.v, s->weights.n, &s->weights.cap, sizeof w);
  if (!grown) return true; /* then it stays */
  s->weights.v = grown;
  s->weights.v[s->weights.n++] = w;
  return true;
}

static int compare(const void *a, const void *b) {
  const ifd_weight *x = a, *y = b;
  return (x->data > y->data) - (x->data < y->data);
}

/* The weight whose bytes begin at or before `data` and reach beyond, or NULL. */
static ifd_weight *find_weight(const infold_session *s, const void *data) {
  int low = 0, high = s->weights.n;
  while (low < high) {
    int middle = (low + high) / 2;
    if ((const char *)data < s->weights.v[middle].data + s->weights.v[middle].bytes)
      high = middle;
    else
      low = middle + 1;
  }
  return low < s->weights.n && s->weights.v[low].data <= (const char *)data ? &s->weights.v[low] : NULL;
}

static ifd_status count_readers(ifd_graph *graph, void *context) {
  for (int i = 0; i < graph->constants.n; i++) {
    const ifd_value *v = graph->constants.v[i];
    ifd_weight *w = v->constant ? find_weight(context, v->constant->data) : NULL;
    if (w) w->readers += ifd_value_n_readers(v);
  }
  return IFD_OK;
}

static ifd_status list_weights(infold_session *s) {
  ifd_model *ready = s->ready->ir;
  ifd_arena_collect(&ready->arena, list_block, s);
  if (s->weights.n) qsort(s->weights.v, (size_t)s->weights.n, sizeof *s->weights.v, compare);
  return ifd_graph_visit(ready->graph, count_readers, s);
}

ifd_status ifd_api_make_ready(ifd_error *err, infold_session *s) {
  TRY(make(err, &s->ready, s));
  return list_weights(s);
}

void ifd_api_let_go(void *session, const void *data, size_t bytes) {
  infold_session *s = session;
  ifd_weight *w = find_weight(s, data);
  if (!data) ifd_model_let_go(s->ready->ir, NULL, 0);
  if (!w || w->data != data || bytes > w->bytes || w->readers > 1 || w->needed || s->keeps_weights) return;
  w->gone = true;
  ifd_memory_let_go(data, w->bytes);
}

/* ---- bringing back ---- */

typedef struct constants {
  ifd_error *err;
  ifd_arena arena;
  IFD_VEC(const ifd_value *) all;
} constants;

static ifd_status list_constants(ifd_graph *graph, void *context) {
  constants *c = context;
  for (int i = 0; i < graph->constants.n; i++)
    if (graph->constants.v[i]->constant) IFD_PUSH(c->err, &c->arena, &c->all, graph->constants.v[i]);
  return IFD_OK;
}

/* Passes do the same with the same model. */
static ifd_status copy_weights(ifd_error *err, infold_session *s, const constants *to,
                               const constants *from) {
  EXPECT(err, to->all.n == from->all.n, UNSUPPORTED, "the model's weights could not be made again");
  for (int i = 0; i < to->all.n; i++) {
    const ifd_tensor *a = to->all.v[i]->constant, *b = from->all.v[i]->constant;
    const ifd_weight *w = find_weight(s, a->data);
    if (!w || !w->gone) continue;
    EXPECT(err,
           strcmp(to->all.v[i]->name, from->all.v[i]->name) == 0 && a->dtype == b->dtype &&
               ifd_tensor_stored_bytes(a) == ifd_tensor_stored_bytes(b),
           UNSUPPORTED, "the weight '%s' could not be made again", to->all.v[i]->name);
    memcpy(a->data, b->data, ifd_tensor_stored_bytes(a));
  }
  return IFD_OK;
}

static ifd_status bring_back(ifd_error *err, infold_session *s) {
  infold_model *again = NULL;
  constants to = {.err = err}, from = {.err = err};
  ifd_arena_init(&to.arena, NULL);
  ifd_arena_init(&from.arena, NULL);
  ifd_status status = make(err, &again, s);
  if (status == IFD_OK) status = ifd_graph_visit(s->ready->ir->graph, list_constants, &to);
  if (status == IFD_OK) status = ifd_graph_visit(again->ir->graph, list_constants, &from);
  if (status == IFD_OK) status = copy_weights(err, s, &to, &from);
  ifd_arena_free(&to.arena);
  ifd_arena_free(&from.arena);
  infold_destroy_model(again);
  if (status != IFD_OK) return status;
  for (int i = 0; i < s->weights.n; i++) s->weights.v[i].gone = false;
  s->keeps_weights = true;
  return IFD_OK;
}

ifd_status ifd_api_need(ifd_error *err, void *session, const void *data, bool for_good) {
  infold_session *s = session;
  ifd_weight *w = find_weight(s, data);
  if (w && for_good) w->needed = true;
  return w && w->gone ? bring_back(err, s) : IFD_OK;
}
