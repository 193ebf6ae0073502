#include "api/api.h"

#include "base/cpu.h"
#include "base/os.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- making ---- */

static ifd_status format_types(ifd_error *err, infold_session *s) {
  const ifd_graph *g = s->model->ir->graph;
  char text[512];
  ALLOC(err, s->input_types, ifd_new_array(&s->arena, char *, g->inputs.n));
  ALLOC(err, s->output_types, ifd_new_array(&s->arena, char *, g->outputs.n));
  for (int i = 0; i < g->inputs.n; i++)
    ALLOC(err, s->input_types[i],
          ifd_arena_strdup(&s->arena,
                           ifd_type_text(s->model->ir->dims, g->inputs.v[i]->type, text, sizeof text)));
  for (int i = 0; i < g->outputs.n; i++)
    ALLOC(err, s->output_types[i],
          ifd_arena_strdup(&s->arena,
                           ifd_type_text(s->model->ir->dims, g->outputs.v[i]->type, text, sizeof text)));
  return IFD_OK;
}

/* The type of an input as runs will have it, false where it is open. The batch, where it is free, decides
 * nothing about weights; other dimensions are guessed. */
static bool foresee_input(const ifd_model *model, const ifd_type *t, ifd_datum *out, bool *guessed) {
  enum { GUESS = 32 };
  if (t->kind != IFD_KIND_TENSOR || !t->dtype || !t->has_rank || t->rank > IFD_MAX_RANK) return false;
  *out = (ifd_datum){.kind = IFD_KIND_TENSOR, .tensor = {.dtype = t->dtype, .shape.rank = t->rank}};
  for (int k = 0; k < t->rank; k++) {
    bool known = ifd_dim_is_number(t->dims[k]), batch = !known && ifd_api_is_batch(model, t, k);
    out->tensor.shape.dim[k] = known ? t->dims[k] : batch ? 1 : GUESS;
    *guessed |= !known && !batch;
  }
  return true;
}

/* Packs weights before the first run. What cannot be planned is for a run to say. */
static ifd_status prepare(infold_session *s) {
  const ifd_graph *g = s->ready->ir->graph;
  ifd_error err = {0};
  ifd_datum *inputs;
  bool known = !s->options.reference && !s->options.float64, guessed = false;
  ALLOC(&err, inputs, ifd_new_array(&s->arena, ifd_datum, g->inputs.n));
  for (int i = 0; i < g->inputs.n && known; i++)
    known = foresee_input(s->ready->ir, g->inputs.v[i]->type, &inputs[i], &guessed);
  return known ? ifd_run_prepare(&err, s->program, inputs, guessed) : IFD_OK;
}

static ifd_status check_isa(ifd_error *err, const char *whose, const char *name) {
  EXPECT(err, ifd_isa_is(name), USAGE, "%s is 'ref', 'avx2' or 'avx512', not '%s'", whose, name);
  return IFD_OK;
}

static ifd_status check_options(ifd_error *err, const infold_session_options *o) {
  EXPECT(err, o->max_steps >= 0, USAGE, "max_steps is at least 0, not %lld", (long long)o->max_steps);
  TRY(check_isa(err, "cpu", o->cpu));
  const char *cpu = getenv("INFOLD_CPU");
  return check_isa(err, "INFOLD_CPU", cpu && *cpu ? cpu : NULL);
}

static ifd_status create_session(ifd_error *err, infold_session *s) {
  TRY(check_options(err, &s->options));
  TRY(format_types(err, s));
  TRY(ifd_api_make_ready(err, s));
  ifd_program_options options = {.isa = ifd_cpu_isa_at_most(s->options.cpu),
                                 .reference = s->options.reference,
                                 .float64 = s->options.float64,
                                 .exact_conv = s->options.exact_conv,
                                 .caches = ifd_cpu_caches(),
                                 .let_go = ifd_api_let_go,
                                 .need = ifd_api_need,
                                 .owner = s};
  TRY(ifd_api_get_pool(err, &s->pool, s->options.pool, s->options.threads));
  options.pool = s->pool->threads;
  TRY(ifd_program_create(err, &s->program, s->ready->ir->graph, NULL, &options, s->budget));
  (void)!prepare(s);
  return IFD_OK;
}

infold_status infold_create_session(infold_error *to, infold_session **out, const infold_model *model,
                                    const infold_session_options *options) {
  IFD_API_COMPUTES;
  ifd_error err = {0};
  *out = NULL;
  infold_session *s = calloc(1, sizeof *s);
  if (!s) return ifd_api_report(to, &err, NULL, ifd_error_set(&err, IFD_NO_MEMORY, "out of memory"));
  if (options) s->options = *options;
  s->model = ifd_api_ref(model);
  s->base_limit = ifd_api_memory_limit(s->options.max_memory, model);
  s->budget = ifd_budget_create(s->base_limit);
  if (s->budget) s->budget->of_machine = !s->options.max_memory;
  ifd_arena_init(&s->arena, s->budget);
  ifd_arena_init(&s->profile.arena, NULL);
  pthread_mutex_init(&s->lock, NULL);
  ifd_status status =
      s->budget ? create_session(&err, s) : ifd_error_set(&err, IFD_NO_MEMORY, "out of memory");
  if (status == IFD_OK)
    *out = s;
  else {
    if (s->budget) status = ifd_api_name_limit(&err, status, s->budget);
    if (s->ready) status = ifd_api_name_limit(&err, status, &s->ready->budget);
    infold_destroy_session(s);
  }
  return ifd_api_report(to, &err, NULL, status);
}

void infold_destroy_session(infold_session *s) {
  if (!s) return;
  if (s->program) ifd_run_free_frames(s->program);
  ifd_program_destroy(s->program);
  infold_destroy_session(s->loose);
  infold_destroy_pool(s->pool);
  infold_destroy_model(s->ready);
  infold_destroy_model(s->model);
  ifd_arena_free(&s->arena);
  ifd_arena_free(&s->profile.arena);
  ifd_budget_close(s->budget);
  pthread_mutex_destroy(&s->lock);
  free(s);
}

/* ---- asking ---- */

static const ifd_graph *graph_of(const infold_session *s) { return s->model->ir->graph; }
int infold_get_n_inputs(const infold_session *s) { return graph_of(s)->inputs.n; }
int infold_get_n_outputs(const infold_session *s) { return graph_of(s)->outputs.n; }
const char *infold_get_input_name(const infold_session *s, int i) { return graph_of(s)->inputs.v[i]->name; }
const char *infold_get_output_name(const infold_session *s, int i) { return graph_of(s)->outputs.v[i]->name; }
const char *infold_get_input_type(const infold_session *s, int i) { return s->input_types[i]; }
const char *infold_get_output_type(const infold_session *s, int i) { return s->output_types[i]; }
int infold_input_has_default(const infold_session *s, int i) {
  const ifd_value *v = graph_of(s)->inputs.v[i];
  return v->constant != NULL || v->type->kind == IFD_KIND_OPTIONAL;
}

/* ---- inputs ---- */

/* What inputs say of the model's free dimensions. */
typedef struct binding {
  ifd_error *err;
  const infold_session *session;
  ifd_arena *arena;
  ifd_map sizes;    /* by the dimensions' names */
  bool contradicts; /* two sizes of one name: the error says which */
} binding;

/* One dimension against what the model declares: numbers must agree, a symbol is bound by the first input
 * that has it. */
static ifd_status bind_dim(binding *b, int input, int axis, int64_t given) {
  const infold_session *s = b->session;
  const ifd_value *v = graph_of(s)->inputs.v[input];
  ifd_dim declared = v->type->dims[axis];
  if (ifd_dim_is_number(declared)) {
    EXPECT(b->err, declared == given, BAD_INPUT, "input '%s': dimension %d is %lld; the model has %s",
           v->name, axis, (long long)given, s->input_types[input]);
    return IFD_OK;
  }
  const char *symbol = ifd_dim_name(s->model->ir->dims, declared);
  if (!symbol) return IFD_OK;
  int64_t *known = ifd_map_find(&b->sizes, symbol);
  if (known && *known != given && !b->contradicts) {
    b->contradicts = true;
    (void)ifd_error_set(b->err, IFD_BAD_INPUT,
                        "input '%s': dimension %d (%s) is %lld, but %lld in an earlier input", v->name, axis,
                        symbol, (long long)given, (long long)*known);
  }
  if (known) return IFD_OK;
  ALLOC(b->err, known, ifd_new(b->arena, int64_t));
  *known = given;
  EXPECT(b->err, ifd_map_set(&b->sizes, symbol, known), NO_MEMORY, "out of memory");
  return IFD_OK;
}

/* Whether the elements inside a sequence, optional or map are of the declared types; shapes are not asked. */
static bool elements_fit(const ifd_datum *d, const ifd_type *t) {
  if (!t || t->kind == IFD_KIND_UNKNOWN) return true;
  if (t->kind != d->kind) return false;
  bool has_tensor = t->kind == IFD_KIND_TENSOR || t->kind == IFD_KIND_MAP;
  if (has_tensor && t->dtype && t->dtype != d->tensor.dtype) return false;
  for (int i = 0; d->list && i < d->list->n; i++)
    if (!elements_fit(&d->list->items[i], t->elem)) return false;
  return true;
}

static ifd_status check_input(binding *b, int i, const ifd_datum *d) {
  const infold_session *s = b->session;
  ifd_error *err = b->err;
  const ifd_value *v = graph_of(s)->inputs.v[i];
  const ifd_type *t = v->type;
  if (t->kind == IFD_KIND_UNKNOWN) return IFD_OK;
  EXPECT(err, t->kind == d->kind, BAD_INPUT, "input '%s' has another kind than the model's %s", v->name,
         s->input_types[i]);
  EXPECT(err, t->kind == IFD_KIND_TENSOR || elements_fit(d, t), BAD_INPUT,
         "input '%s' holds elements of other types than the model's %s", v->name, s->input_types[i]);
  if (t->kind != IFD_KIND_TENSOR) return IFD_OK;
  EXPECT(err, !t->dtype || t->dtype == d->tensor.dtype, BAD_INPUT,
         "input '%s' has elements of type %s; the model has %s", v->name, ifd_dtype_name(d->tensor.dtype),
         s->input_types[i]);
  if (!t->has_rank) return IFD_OK;
  EXPECT(err, t->rank == d->tensor.shape.rank, BAD_INPUT, "input '%s' has rank %d; the model has %s", v->name,
         d->tensor.shape.rank, s->input_types[i]);
  for (int k = 0; k < t->rank; k++) TRY(bind_dim(b, i, k, d->tensor.shape.dim[k]));
  return IFD_OK;
}

/* An input that was not given: the model's default as it lies, an absent optional, or an error that says what
 * is wanted. */
static ifd_status default_input(ifd_error *err, const infold_session *s, int i, ifd_datum *out) {
  const ifd_value *v = graph_of(s)->inputs.v[i];
  if (v->type->kind == IFD_KIND_OPTIONAL) {
    *out = (ifd_datum){.kind = IFD_KIND_OPTIONAL};
    return IFD_OK;
  }
  EXPECT(err, v->constant, BAD_INPUT, "input '%s' (%s) is missing and has no default", v->name,
         s->input_types[i]);
  *out = (ifd_datum){.kind = IFD_KIND_TENSOR, .tensor = *v->constant};
  return IFD_OK;
}

/* A default as a run takes it. */
static ifd_status expand(ifd_error *err, ifd_datum *d, ifd_arena *arena) {
  const ifd_tensor from = d->tensor;
  if (d->kind != IFD_KIND_TENSOR || (!from.splat && !from.packed)) return IFD_OK;
  TRY(ifd_tensor_new(err, &d->tensor, arena, from.dtype, &from.shape));
  ifd_tensor_expand(&from, d->tensor.data);
  return IFD_OK;
}

/* A float32 input of a float64 run. */
static ifd_status widen(ifd_error *err, ifd_datum *d, ifd_arena *arena) {
  if (d->kind != IFD_KIND_TENSOR || d->tensor.dtype != IFD_FLOAT) return IFD_OK;
  ifd_tensor wide;
  TRY(ifd_tensor_new(err, &wide, arena, IFD_DOUBLE, &d->tensor.shape));
  const float *from = d->tensor.data;
  for (int64_t i = 0, n = ifd_tensor_count(&wide); i < n; i++) ((double *)wide.data)[i] = from[i];
  d->tensor = wide;
  return IFD_OK;
}

static ifd_status bind_inputs(binding *b, const infold_value *const *inputs, ifd_datum *out) {
  ifd_map_init(&b->sizes, b->arena);
  for (int i = 0; i < graph_of(b->session)->inputs.n; i++) {
    if (inputs[i])
      out[i] = inputs[i]->datum;
    else
      TRY(default_input(b->err, b->session, i, &out[i]));
    TRY(check_input(b, i, &out[i]));
  }
  return IFD_OK;
}

/* Whether input i is the run's to give; else it is a constant, as weights are that old models name as
 * inputs. */
static bool takes_input(const ifd_program *p, int i) {
  return p->constants[p->inputs[i]].kind == IFD_KIND_UNKNOWN;
}

/* The program's inputs are those of the model that is left after optimizing; the order is the same, constants
 * may be gone. */
static ifd_status order_inputs(ifd_error *err, const infold_session *s, const ifd_datum *given,
                               ifd_datum *out, ifd_arena *arena) {
  const ifd_graph *from = graph_of(s), *to = s->ready->ir->graph;
  for (int i = 0, k = 0; i < to->inputs.n; i++) {
    while (k < from->inputs.n && strcmp(from->inputs.v[k]->name, to->inputs.v[i]->name) != 0) k++;
    EXPECT(err, k < from->inputs.n, BAD_MODEL, "input '%s' appeared while optimizing", to->inputs.v[i]->name);
    out[i] = given[k];
    if (!takes_input(s->program, i)) continue;
    TRY(expand(err, &out[i], arena));
    if (s->options.float64) TRY(widen(err, &out[i], arena));
  }
  return IFD_OK;
}

/* ---- running ---- */

static ifd_status wrap_outputs(ifd_error *err, infold_value **outputs, ifd_datum *made, int n,
                               const char *wanted) {
  ifd_status status = IFD_OK;
  for (int i = 0; i < n; i++) {
    outputs[i] = NULL;
    if (status == IFD_OK && (!wanted || wanted[i]))
      status = ifd_api_value(err, &outputs[i], &made[i]);
    else
      ifd_datum_unref(&made[i]);
  }
  if (status != IFD_OK) ifd_api_drop_values(outputs, n);
  return status;
}

static bool is_late(void *session) { return ifd_now() > ((const infold_session *)session)->deadline; }

static ifd_status run_profiled(ifd_error *err, infold_session *s, ifd_run_options *options,
                               const ifd_datum *inputs, ifd_datum *outputs) {
  pthread_mutex_lock(&s->lock);
  ifd_arena_free(&s->profile.arena);
  s->profile.entries.v = NULL;
  s->profile.entries.n = s->profile.entries.cap = 0;
  s->runs_loose = false;
  options->profile = &s->profile;
  double start = ifd_now();
  ifd_status status = ifd_run(err, s->program, options, inputs, outputs);
  s->profile_seconds = ifd_now() - start;
  pthread_mutex_unlock(&s->lock);
  return status;
}

static ifd_status run_program(ifd_error *err, infold_session *s, const ifd_datum *inputs,
                              ifd_datum *outputs) {
  ifd_run_options options = {.pool = s->pool->threads, .max_steps = s->options.max_steps};
  bool hurries = s->deadline > 0;
  if (hurries) {
    options.cancelled = is_late;
    options.cancel_context = s;
  }
  ifd_status status = s->options.profile ? run_profiled(err, s, &options, inputs, outputs)
                                         : ifd_run(err, s->program, &options, inputs, outputs);
  if (status == IFD_LIMIT && hurries && is_late(s)) {
    ifd_error_clear(err);
    FAIL(err, LIMIT, "running takes longer than the time that was given for it");
  }
  return status;
}

/* What a caller brings may be worked on: the default limit is for what a file asks. */
static void allow_for_inputs(infold_session *s, const ifd_datum *inputs, int n) {
  size_t limit = s->base_limit;
  if (s->options.max_memory) return;
  for (int i = 0; i < n; i++)
    if (inputs[i].kind == IFD_KIND_TENSOR) limit += 64 * ifd_tensor_bytes(&inputs[i].tensor);
  ifd_budget_raise(s->budget, limit);
}

size_t ifd_api_input_limit(const infold_session *s) {
  size_t most = ifd_budget_most(s->budget);
  return s->base_limit < most ? s->base_limit : most;
}

/* A run of inputs that contradict names of dimensions: what that says is the error if they do not fit without
 * the names either. */
static ifd_status run_loose(ifd_error *err, infold_value **outputs, infold_session *s,
                            const infold_value *const *inputs, const char *wanted) {
  infold_session *loose;
  infold_error failed;
  ifd_error own = {0};
  infold_status status = INFOLD_BAD_INPUT;
  if (ifd_api_get_loose(&own, &loose, s) == IFD_OK)
    status = infold_run(&failed, outputs, loose, inputs, wanted);
  if (status == INFOLD_BAD_INPUT || status == INFOLD_BAD_MODEL) return err->code;
  ifd_error_clear(err);
  return status ? ifd_api_fail_as(err, &failed) : IFD_OK;
}

static ifd_status run(ifd_error *err, infold_value **outputs, infold_session *s,
                      const infold_value *const *inputs, const char *wanted, ifd_arena *arena) {
  int n_in = graph_of(s)->inputs.n, n_out = graph_of(s)->outputs.n;
  ifd_datum *given, *ordered, *made;
  ALLOC(err, given, ifd_new_array(arena, ifd_datum, n_in));
  ALLOC(err, ordered, ifd_new_array(arena, ifd_datum, n_in));
  ALLOC(err, made, ifd_new_array(arena, ifd_datum, n_out));
  binding b = {.err = err, .session = s, .arena = arena};
  TRY(bind_inputs(&b, inputs, given));
  if (b.contradicts) return run_loose(err, outputs, s, inputs, wanted);
  TRY(order_inputs(err, s, given, ordered, arena));
  allow_for_inputs(s, given, n_in);
  TRY(run_program(err, s, ordered, made));
  return wrap_outputs(err, outputs, made, n_out, wanted);
}

infold_status infold_run(infold_error *to, infold_value **outputs, const infold_session *session,
                         const infold_value *const *inputs, const char *wanted) {
  IFD_API_COMPUTES;
  ifd_error err = {0};
  ifd_arena arena;
  infold_session *s =
      (infold_session *)session; /* immutable but for its profile and counters, which are locked */
  memset(outputs, 0, (size_t)graph_of(s)->outputs.n * sizeof *outputs);
  ifd_arena_init(&arena, s->budget);
  ifd_status status = run(&err, outputs, s, inputs, wanted, &arena);
  ifd_arena_free(&arena);
  ifd_budget_end_round(s->budget);
  return ifd_api_report(to, &err, NULL, ifd_api_name_limit(&err, status, s->budget));
}

static ifd_status peak_loose(ifd_error *err, size_t *out, infold_session *s,
                             const infold_value *const *inputs) {
  infold_session *loose;
  infold_error failed;
  ifd_error_clear(err);
  TRY(ifd_api_get_loose(err, &loose, s));
  return infold_get_peak_memory(&failed, out, loose, inputs) ? ifd_api_fail_as(err, &failed) : IFD_OK;
}

static ifd_status peak(ifd_error *err, size_t *out, infold_session *s, const infold_value *const *inputs,
                       ifd_arena *arena) {
  int n_in = graph_of(s)->inputs.n;
  ifd_datum *given, *ordered;
  ALLOC(err, given, ifd_new_array(arena, ifd_datum, n_in));
  ALLOC(err, ordered, ifd_new_array(arena, ifd_datum, n_in));
  binding b = {.err = err, .session = s, .arena = arena};
  TRY(bind_inputs(&b, inputs, given));
  if (b.contradicts) return peak_loose(err, out, s, inputs);
  TRY(order_inputs(err, s, given, ordered, arena));
  return ifd_run_peak(err, out, s->program, ordered);
}

infold_status infold_get_peak_memory(infold_error *to, size_t *out, const infold_session *session,
                                     const infold_value *const *inputs) {
  IFD_API_COMPUTES;
  ifd_error err = {0};
  ifd_arena arena;
  infold_session *s = (infold_session *)session;
  *out = 0;
  ifd_arena_init(&arena, s->budget);
  ifd_status status = peak(&err, out, s, inputs, &arena);
  ifd_arena_free(&arena);
  return ifd_api_report(to, &err, NULL, status);
}
