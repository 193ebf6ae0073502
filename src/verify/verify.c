/* Two models on the same inputs: do they mean the same?
 *
 * Both run as they are, not optimized again, and without Winograd's algorithm, whose errors are larger than
 * those that are looked for. Floats may differ by a part of the output's largest magnitude; where they differ
 * by more, the first model is asked how exact its own arithmetic is (noise.c). */
#include "verify/verify.h"

#include "base/os.h"
#include "inspect/table.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double usual_tolerance = 1e-4;

static const ifd_graph *graph_of(const infold_model *m) { return m->ir->graph; }

static bool has_default(const ifd_value *input) {
  return input->constant || input->type->kind == IFD_KIND_OPTIONAL;
}

static ifd_status try_session(ifd_verifier *v, infold_session **out, const infold_model *model,
                              const infold_session_options *options) {
  infold_error e;
  if (infold_create_session(&e, out, model, options)) return ifd_api_fail_as(v->err, &e);
  (*out)->deadline = v->deadline;
  return IFD_OK;
}

/* Weights in external data may be larger than the memory for packing them. Where a session with this bound
 * does not fit, they are read from where they lie, by reference kernels. */
static size_t bound_of(const ifd_verifier *v, const infold_model *model) {
  enum { ENOUGH = 192 << 20 };
  size_t most = v->options->max_memory;
  return ifd_api_has_external_data(model) && (!most || most > ENOUGH) ? ENOUGH : most;
}

static ifd_status open_unpacked(ifd_verifier *v, infold_session **out, const infold_model *model) {
  infold_session_options options = {.threads = v->options->threads,
                                    .reference = true,
                                    .no_optimize = true,
                                    .max_memory = v->options->max_memory};
  return try_session(v, out, model, &options);
}

ifd_status ifd_verifier_open(ifd_verifier *v, infold_session **out, const infold_model *model, bool wide) {
  infold_session_options options = {.threads = v->options->threads,
                                    .reference = wide,
                                    .float64 = wide,
                                    .no_optimize = true,
                                    .exact_conv = true,
                                    .max_memory = wide ? v->options->max_memory : bound_of(v, model)};
  ifd_status status = try_session(v, out, model, &options);
  if (status != IFD_NO_MEMORY || options.max_memory == v->options->max_memory) return status;
  ifd_error_clear(v->err);
  return open_unpacked(v, out, model);
}

/* ---- the same inputs and outputs ---- */

static int find_name(const ifd_value *const *values, int n, const char *name) {
  for (int i = 0; i < n; i++)
    if (strcmp(values[i]->name, name) == 0) return i;
  return -1;
}

static ifd_status check_signature(ifd_verifier *v) {
  const ifd_graph *a = graph_of(v->a), *b = graph_of(v->b);
  for (int i = 0; i < b->inputs.n; i++)
    EXPECT(v->err,
           find_name((const ifd_value *const *)a->inputs.v, a->inputs.n, b->inputs.v[i]->name) >= 0 ||
               has_default(b->inputs.v[i]),
           DIFFERS, "input '%s' is only in the second model", b->inputs.v[i]->name);
  EXPECT(v->err, a->outputs.n == b->outputs.n, DIFFERS, "%d outputs against %d", a->outputs.n, b->outputs.n);
  for (int i = 0; i < a->outputs.n; i++)
    EXPECT(v->err, strcmp(a->outputs.v[i]->name, b->outputs.v[i]->name) == 0, DIFFERS,
           "output %d is '%s' in the first model and '%s' in the second", i, a->outputs.v[i]->name,
           b->outputs.v[i]->name);
  return IFD_OK;
}

/* ---- running ---- */

ifd_status ifd_verifier_run(ifd_verifier *v, infold_session *s, infold_value *const *inputs,
                            infold_value **outputs, infold_error *e) {
  const ifd_graph *a = graph_of(v->a), *g = graph_of(s->model);
  const infold_value **in;
  ALLOC(v->err, in, ifd_new_array(&v->arena, const infold_value *, g->inputs.n));
  for (int i = 0; i < g->inputs.n; i++) {
    int k = find_name((const ifd_value *const *)a->inputs.v, a->inputs.n, g->inputs.v[i]->name);
    in[i] = k < 0 ? NULL : inputs[k];
  }
  return (ifd_status)infold_run(e, outputs, s, in, NULL);
}

static bool time_is_up(const ifd_verifier *v, double deadline) {
  return v->deadline > 0 && ifd_now() > deadline;
}

/* The same, without packed weights where they do not fit. */
static ifd_status run_either(ifd_verifier *v, infold_session **s, const infold_model *model,
                             infold_value *const *inputs, infold_value **outputs, infold_error *e) {
  ifd_status status = ifd_verifier_run(v, *s, inputs, outputs, e);
  bool bounded = !(*s)->options.reference && (*s)->options.max_memory != v->options->max_memory;
  if (status != IFD_NO_MEMORY || !bounded) return status;
  infold_session *unpacked;
  if (open_unpacked(v, &unpacked, model) != IFD_OK) {
    ifd_error_clear(v->err);
    return status;
  }
  unpacked->deadline = (*s)->deadline;
  infold_destroy_session(*s);
  *s = unpacked;
  return ifd_verifier_run(v, unpacked, inputs, outputs, e);
}

/* ---- differences ---- */

double ifd_verifier_tolerance(const ifd_verifier *v, const ifd_difference *d) {
  return d->is_float ? fmax(v->tolerance, 8 * fmax(v->epsilon, d->epsilon)) * d->scale : 0;
}

static bool fits(ifd_verifier *v, const ifd_trial *t, int output, const infold_value *b, ifd_difference *d) {
  ifd_compare(&t->outputs[output]->datum, &b->datum, false, d);
  double allowed = ifd_verifier_tolerance(v, d);
  bool fine = d->same_form && d->worst <= allowed;
  if (!fine && d->same_form && isfinite(d->worst)) fine = ifd_noise_explains(v, t, output, b, d, &allowed);
  ifd_outcome *o = &v->outcomes[output];
  double scale = d->scale > 0 ? d->scale : 1;
  if (d->worst / scale >= o->worst) {
    o->worst = d->worst / scale;
    o->allowed = allowed / scale;
  }
  o->n += d->n;
  o->n_nan += d->n_nan;
  o->is_float |= d->is_float;
  return fine;
}

/* ---- the first model ---- */

static void drop_trial(ifd_verifier *v, ifd_trial *t) {
  ifd_api_drop_values(t->inputs, v->n_in);
  ifd_api_drop_values(t->outputs, v->n_out);
}

static ifd_status keep_trial(ifd_verifier *v, ifd_trial *t) {
  ifd_shape *shapes;
  ALLOC(v->err, shapes, ifd_new_array(&v->arena, ifd_shape, v->n_in));
  for (int i = 0; i < v->n_in; i++) {
    const infold_value *x = t->inputs[i];
    shapes[i].rank = -1;
    if (x && x->datum.kind == IFD_KIND_TENSOR) shapes[i] = x->datum.tensor.shape;
  }
  t->shapes = shapes;
  if (v->evidence && strcmp(t->how, "given") == 0) ifd_certificate_hash_inputs(t->inputs, v->n_in, t->sha256);
  IFD_PUSH(v->err, &v->arena, &v->trials, *t);
  return IFD_OK;
}

ifd_status ifd_verifier_try(ifd_verifier *v, const ifd_trial *trial, bool *ran, infold_error *e) {
  ifd_trial t = *trial;
  *ran = false;
  ALLOC(v->err, t.inputs, ifd_arena_memdup(&v->arena, v->inputs, (size_t)v->n_in * sizeof *v->inputs));
  ALLOC(v->err, t.outputs, ifd_new_array(&v->arena, infold_value *, v->n_out));
  memset(v->inputs, 0, (size_t)v->n_in * sizeof *v->inputs);
  *ran = run_either(v, &v->run_a, v->a, t.inputs, t.outputs, e) == IFD_OK;
  ifd_status status = *ran ? keep_trial(v, &t) : IFD_OK;
  if (!*ran || status != IFD_OK) drop_trial(v, &t);
  return status;
}

static ifd_status try_given(ifd_verifier *v) {
  static const ifd_trial given = {.how = "given"};
  infold_error e;
  bool ran;
  if (infold_read_inputs(&e, v->inputs, v->run_a, v->options->inputs)) return ifd_api_fail_as(v->err, &e);
  ifd_status status = ifd_verifier_try(v, &given, &ran, &e);
  return status == IFD_OK && !ran ? ifd_api_fail_as(v->err, &e) : status;
}

ifd_status ifd_verifier_try_all(ifd_verifier *v) {
  static const int64_t usual[] = {1, 3};
  int n = v->options->n_batches ? v->options->n_batches : 2;
  const int64_t *batches = v->options->n_batches ? v->options->batches : usual;
  ifd_trial good = {0};
  infold_error why = {0};
  if (v->options->inputs) return try_given(v);
  if (!ifd_trial_has_free(v, true)) n = 1;
  ifd_status status = IFD_OK;
  for (int i = 0; i < n && status == IFD_OK; i++) status = ifd_trial_find(v, batches[i], &good, &why);
  v->late = status == IFD_LIMIT && v->trials.n && time_is_up(v, v->run_a->deadline);
  if (v->late) ifd_error_clear(v->err);
  if (v->late || v->trials.n) return v->late ? IFD_OK : status;
  return status == IFD_OK ? ifd_api_fail_as(v->err, &why) : status;
}

/* ---- the second model ---- */

static void add_evidence(ifd_verifier *v, infold_value **a, infold_value **b, infold_value **exact) {
  for (int i = 0; i < v->n_out; i++) {
    ifd_difference d;
    ifd_compare(&a[i]->datum, &b[i]->datum, false, &d);
    v->evidence[i].n += d.n;
    ifd_deviation_add(&v->evidence[i].original, &a[i]->datum, &exact[i]->datum);
    ifd_deviation_add(&v->evidence[i].optimized, &b[i]->datum, &exact[i]->datum);
  }
}

/* Errors against a in double; where a does not run so, in float. All runs are measured alike. */
static ifd_status collect_evidence(ifd_verifier *v, const ifd_trial *t, infold_value **b) {
  bool is_wide = ifd_noise_run_wide(v, t), late = !is_wide && v->wide && time_is_up(v, v->deadline);
  if (!late) add_evidence(v, t->outputs, b, is_wide ? v->exact : t->outputs);
  v->no_wide = !is_wide;
  EXPECT(v->err, !late, LIMIT, "the run in double takes longer than the time that was given for it");
  return IFD_OK;
}

static ifd_status compare_outputs(ifd_verifier *v, const ifd_trial *t, infold_value **b) {
  infold_error e;
  ifd_status status = run_either(v, &v->run_b, v->b, t->inputs, b, &e);
  if (status == IFD_LIMIT || status == IFD_NO_MEMORY) return ifd_api_fail_as(v->err, &e);
  EXPECT(v->err, status == IFD_OK, DIFFERS, "the second model fails (%s): %s", ifd_trial_text(v, t),
         e.message);
  for (int i = 0; i < v->n_out; i++) {
    ifd_difference d;
    if (!fits(v, t, i, b[i], &d)) return ifd_verifier_report(v, t, i, &d);
  }
  return v->evidence ? collect_evidence(v, t, b) : IFD_OK;
}

static ifd_status compare_trial(ifd_verifier *v, ifd_trial *t) {
  infold_value **b;
  ALLOC(v->err, b, calloc((size_t)v->n_out + 1, sizeof *b));
  ifd_status status = compare_outputs(v, t, b);
  v->n_runs += status == IFD_OK;
  ifd_api_drop_values(v->exact, v->n_out);
  ifd_api_drop_values(v->shaken, v->n_out);
  ifd_api_drop_values(b, v->n_out);
  free(b);
  return status;
}

static ifd_status open_second(ifd_verifier *v) {
  ifd_status status = ifd_verifier_open(v, &v->run_b, v->b, false);
  if (status == IFD_OK || status == IFD_LIMIT || status == IFD_NO_MEMORY) return status;
  ifd_error why = *v->err;
  ifd_error_clear(v->err);
  FAIL(v->err, DIFFERS, "the second model cannot run: %s%s", why.where, why.text);
}

ifd_status ifd_verifier_compare(ifd_verifier *v) {
  infold_destroy_session(v->run_a);
  v->run_a = NULL;
  TRY(open_second(v));
  ifd_status status = IFD_OK;
  for (int i = 0; i < v->trials.n && status == IFD_OK; i++) status = compare_trial(v, &v->trials.v[i]);
  bool late = status == IFD_LIMIT && v->n_runs && time_is_up(v, v->deadline);
  if (late) ifd_error_clear(v->err);
  v->late |= late;
  return late ? IFD_OK : status;
}

/* ---- beginning and end ---- */

static void note_epsilon(ifd_verifier *v, const ifd_type *t) {
  double e = t->kind != IFD_KIND_TENSOR ? 0
             : t->dtype == IFD_FLOAT16  ? 0x1p-10
             : t->dtype == IFD_BFLOAT16 ? 0x1p-7
                                        : 0;
  if (e > v->epsilon) v->epsilon = e;
}

static ifd_status find_epsilon(ifd_graph *graph, void *context) {
  for (int i = 0; i < graph->inputs.n; i++) note_epsilon(context, graph->inputs.v[i]->type);
  IFD_EACH_NODE(node, graph)
  for (int i = 0; i < node->n_outputs; i++)
    if (node->outputs[i]) note_epsilon(context, node->outputs[i]->type);
  return IFD_OK;
}

static ifd_status check_options(ifd_error *err, const infold_verify_options *o) {
  EXPECT(err, o->tolerance >= 0, USAGE, "a tolerance of %g", o->tolerance);
  EXPECT(err, o->max_seconds >= 0, USAGE, "max_seconds is at least 0, not %g", o->max_seconds);
  EXPECT(err, o->n_batches >= 0, USAGE, "n_batches is at least 0, not %d", o->n_batches);
  return IFD_OK;
}

ifd_status ifd_verifier_begin(ifd_verifier *v, ifd_error *err, const infold_model *a, const infold_model *b,
                              const infold_verify_options *options) {
  static const infold_verify_options usual = {0};
  *v = (ifd_verifier){.err = err, .a = a, .b = b, .options = options ? options : &usual};
  ifd_arena_init(&v->arena, NULL);
  TRY(check_options(err, v->options));
  v->tolerance = v->options->tolerance > 0 ? v->options->tolerance : usual_tolerance;
  v->n_in = graph_of(a)->inputs.n;
  v->n_out = graph_of(a)->outputs.n;
  ALLOC(err, v->inputs, ifd_new_array(&v->arena, infold_value *, v->n_in));
  ALLOC(err, v->outcomes, ifd_new_array(&v->arena, ifd_outcome, v->n_out));
  ALLOC(err, v->exact, ifd_new_array(&v->arena, infold_value *, v->n_out));
  ALLOC(err, v->shaken, ifd_new_array(&v->arena, infold_value *, v->n_out));
  if (v->options->measure) ALLOC(err, v->evidence, ifd_new_array(&v->arena, ifd_evidence, v->n_out));
  TRY(ifd_graph_visit(a->ir->graph, find_epsilon, v));
  TRY(check_signature(v));
  TRY(ifd_verifier_open(v, &v->run_a, a, false));
  if (v->options->max_seconds <= 0) return IFD_OK;
  /* Half of the time is for the first. */
  v->deadline = ifd_now() + v->options->max_seconds;
  v->run_a->deadline = v->deadline - v->options->max_seconds / 2;
  return IFD_OK;
}

void ifd_verifier_end(ifd_verifier *v) {
  for (int i = 0; i < v->trials.n; i++) drop_trial(v, &v->trials.v[i]);
  ifd_api_drop_values(v->inputs, v->n_in);
  infold_destroy_session(v->run_a);
  infold_destroy_session(v->run_b);
  infold_destroy_session(v->wide);
  ifd_arena_free(&v->arena);
}

/* ---- what was found ---- */

static ifd_status print_outcomes(ifd_verifier *v, FILE *to) {
  static const ifd_column columns[] = {{"Output", .flexible = true},
                                       {"Elements", .right = true},
                                       {"Worst difference", .right = true},
                                       {"Allowed", .right = true},
                                       {0}};
  ifd_table table;
  bool nan = false;
  ifd_table_init(&table, v->err, &v->arena, columns);
  for (int i = 0; i < v->n_out; i++) {
    const ifd_outcome *o = &v->outcomes[i];
    const char *cells[4] = {graph_of(v->a)->outputs.v[i]->name, ifd_text_count(&v->arena, (double)o->n),
                            o->worst > 0 ? ifd_arena_printf(&v->arena, "%.2g", o->worst) : "0",
                            o->is_float ? ifd_arena_printf(&v->arena, "%.2g", o->allowed) : "0"};
    TRY(ifd_table_add(&table, cells));
    nan |= o->n_nan > 0;
  }
  ifd_table_print(&table, to, 0);
  fprintf(to, "\n%d run%s of each; differences are parts of an output's largest value\n", v->n_runs,
          v->n_runs == 1 ? "" : "s");
  if (v->late) fputs("time was up before all batches were run\n", to);
  if (nan) fputs("some elements are not a number in both\n", to);
  return IFD_OK;
}

infold_status infold_verify_models(infold_error *to, char **out, const infold_model *a, const infold_model *b,
                                   const infold_verify_options *options) {
  IFD_API_COMPUTES;
  ifd_error err = {0};
  ifd_verifier v;
  if (out) *out = NULL;
  ifd_status status = ifd_verifier_begin(&v, &err, a, b, options);
  if (status == IFD_OK) status = ifd_verifier_try_all(&v);
  if (status == IFD_OK) status = ifd_verifier_compare(&v);
  if (out && v.n_runs && (status == IFD_OK || status == IFD_DIFFERS)) {
    size_t len;
    ifd_error print_err = {0};
    FILE *f = open_memstream(out, &len);
    v.err = &print_err;
    if (f && print_outcomes(&v, f) != IFD_OK && status == IFD_OK) status = err.code = IFD_NO_MEMORY;
    ifd_status ended = ifd_api_text_end(&print_err, f, out, IFD_OK);
    if (status == IFD_OK) status = ended;
  }
  ifd_verifier_end(&v);
  return ifd_api_report(to, &err, NULL, status);
}

static ifd_status describe(ifd_verifier *v, char **out) {
  double worst = 0;
  int64_t n_nan = 0;
  const char *text;
  for (int i = 0; i < v->n_out; i++) {
    if (v->outcomes[i].worst > worst) worst = v->outcomes[i].worst;
    n_nan += v->outcomes[i].n_nan;
  }
  ALLOC(v->err, text,
        ifd_arena_printf(&v->arena, "verified by %d run%s of both: %s%.2g of an output's largest value%s%s",
                         v->n_runs, v->n_runs == 1 ? "" : "s",
                         worst > 0 ? "worst difference " : "difference ", worst,
                         v->late ? "; time was up before all batches were run" : "",
                         n_nan ? "; some elements are not a number in both" : ""));
  return ifd_api_text(v->err, out, text);
}

infold_status infold_verify_report(infold_error *to, infold_report *report,
                                   const infold_verify_options *options) {
  IFD_API_COMPUTES;
  ifd_error err = {0};
  ifd_verifier v;
  free(report->verified);
  report->verified = NULL;
  json_decref(report->evidence);
  report->evidence = NULL;
  ifd_status status = ifd_verifier_begin(&v, &err, report->before, report->after, options);
  if (status == IFD_OK) status = ifd_verifier_try_all(&v);
  if (status == IFD_OK) status = ifd_verifier_compare(&v);
  if (status == IFD_OK) status = describe(&v, &report->verified);
  if (status == IFD_OK && v.evidence) status = ifd_certificate_evidence(&v, &report->evidence);
  ifd_verifier_end(&v);
  return ifd_api_report(to, &err, NULL, status);
}
