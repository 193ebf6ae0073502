/* Inputs that are made up for comparing two models. */
#include "verify/verify.h"

static const ifd_graph *graph_of(const ifd_verifier *v) { return v->a->ir->graph; }

bool ifd_trial_has_free(const ifd_verifier *v, bool batch) {
  const ifd_graph *g = graph_of(v);
  for (int i = 0; i < g->inputs.n; i++) {
    const ifd_type *t = g->inputs.v[i]->type;
    for (int k = 0; t->kind == IFD_KIND_TENSOR && t->has_rank && k < t->rank; k++)
      if (!ifd_dim_is_number(t->dims[k]) && ifd_api_is_batch(v->a->ir, t, k) == batch) return true;
  }
  return false;
}

/* ---- making ---- */

static ifd_shape shape_for(const ifd_verifier *v, const ifd_trial *trial, int i) {
  const ifd_type *t = graph_of(v)->inputs.v[i]->type;
  if (trial->shapes) return trial->shapes[i];
  ifd_shape shape = {.rank = t->rank};
  for (int k = 0; k < t->rank; k++)
    shape.dim[k] = ifd_dim_is_number(t->dims[k])      ? t->dims[k]
                   : ifd_api_is_batch(v->a->ir, t, k) ? trial->batch
                                                      : trial->other;
  return shape;
}

static ifd_status make_input(ifd_verifier *v, int i, const ifd_trial *trial) {
  const ifd_type *t = graph_of(v)->inputs.v[i]->type;
  uint64_t seed = v->options->seed + (uint64_t)i * 7919 + (uint64_t)trial->batch;
  if (infold_input_has_default(v->run_a, i)) return IFD_OK;
  if (t->kind != IFD_KIND_TENSOR || !t->has_rank || t->rank > IFD_MAX_RANK) {
    infold_error e;
    if (!infold_make_value(&e, &v->inputs[i], v->run_a, i, trial->how, seed, trial->batch, trial->other))
      return IFD_OK;
    return ifd_error_set(v->err, (ifd_status)e.status, __FILE__, "%s", e.message);
  }
  ifd_shape shape = shape_for(v, trial, i);
  ifd_datum d = {0};
  TRY(ifd_api_make_tensor(v->err, &d, t->dtype, &shape, trial->how, seed, v->run_a->base_limit));
  return ifd_api_value(v->err, &v->inputs[i], &d);
}

ifd_status ifd_trial_run(ifd_verifier *v, const ifd_trial *trial, bool *ran, infold_error *e) {
  for (int i = 0; i < v->n_in; i++) TRY(make_input(v, i, trial));
  return ifd_verifier_try(v, trial, ran, e);
}

static ifd_status fail_as(ifd_verifier *v, const infold_error *e) {
  return ifd_error_set(v->err, (ifd_status)e->status, __FILE__, "%s", e->message);
}

/* Not every number does for every free dimension (some nets halve them five times, some want a second of
 * sound), nor every integer for an index: the first that a runs on. */
ifd_status ifd_trial_find(ifd_verifier *v, int64_t batch, ifd_trial *good) {
  static const int64_t others[] = {16, 64, 224, 512, 1280, 1};
  static const char *const hows[] = {"random", "zeros"};
  infold_error first = {0};
  bool ran = false;
  if (good->how) {
    good->batch = batch;
    TRY(ifd_trial_run(v, good, &ran, &first));
    return ran || first.status != INFOLD_LIMIT ? IFD_OK : fail_as(v, &first);
  }
  size_t n = ifd_trial_has_free(v, false) ? sizeof others / sizeof *others : 1;
  for (size_t k = 0; k < 2 * n && !ran; k++) {
    infold_error e;
    ifd_trial trial = {.how = hows[k / n], .batch = batch, .other = others[k % n]};
    TRY(ifd_trial_run(v, &trial, &ran, &e));
    if (!ran && !first.status) first = e;
    if (!ran && (e.status == INFOLD_LIMIT || e.status == INFOLD_NO_MEMORY)) break;
    if (ran) *good = trial;
  }
  return ran ? IFD_OK : fail_as(v, &first);
}
