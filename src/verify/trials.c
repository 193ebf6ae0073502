/* Inputs that are made up for comparing two models. */
#include "verify/verify.h"

#include <string.h>

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
    return ifd_api_fail_as(v->err, &e);
  }
  ifd_shape shape = shape_for(v, trial, i);
  ifd_datum d = {0};
  TRY(ifd_api_make_tensor(v->err, &d, t->dtype, &shape, trial->how, seed, ifd_api_input_limit(v->run_a)));
  return ifd_api_value(v->err, &v->inputs[i], &d);
}

ifd_status ifd_trial_run(ifd_verifier *v, const ifd_trial *trial, bool *ran, infold_error *e) {
  for (int i = 0; i < v->n_in; i++) TRY(make_input(v, i, trial));
  return ifd_verifier_try(v, trial, ran, e);
}

/* ---- sizes ---- */

enum { LARGEST = 4096 };

typedef IFD_VEC(int64_t) sizes;
typedef struct naming {
  ifd_verifier *v;
  sizes *sizes;
} naming;

static ifd_status add_size(naming *to, int64_t size) {
  int at = to->sizes->n;
  if (size < 2 || size > LARGEST) return IFD_OK;
  while (at && to->sizes->v[at - 1] > size) at--;
  if (at && to->sizes->v[at - 1] == size) return IFD_OK;
  IFD_PUSH(to->v->err, &to->v->arena, to->sizes, size);
  memmove(&to->sizes->v[at + 1], &to->sizes->v[at], (size_t)(to->sizes->n - 1 - at) * sizeof size);
  to->sizes->v[at] = size;
  return IFD_OK;
}

static ifd_status add_sizes(naming *to, const ifd_tensor *t) {
  if (!t || t->dtype != IFD_INT64 || ifd_tensor_count(t) > IFD_MAX_RANK) return IFD_OK;
  for (int64_t i = 0; i < ifd_tensor_count(t); i++) TRY(add_size(to, ifd_tensor_get_i64(t, i)));
  return IFD_OK;
}

static ifd_status add_sizes_of_graph(ifd_graph *graph, void *context) {
  for (int i = 0; i < graph->constants.n; i++) TRY(add_sizes(context, graph->constants.v[i]->constant));
  IFD_EACH_NODE(node, graph)
  if (ifd_node_is(node, "Constant")) TRY(add_sizes(context, ifd_node_tensor(node, "value")));
  return IFD_OK;
}

/* Numbers that the model's own shapes and indices are made of, ascending: an exporter that traces may leave a
 * dimension free and write the size that it saw into shapes behind it. */
static ifd_status name_sizes(ifd_verifier *v, sizes *out) {
  naming to = {v, out};
  return ifd_graph_visit(v->a->ir->graph, add_sizes_of_graph, &to);
}

/* ---- trying ---- */

/* *why gets why a does not run on it, should that be the first that fails. A bound that was hit ends it
 * all. */
static ifd_status try_trial(ifd_verifier *v, const ifd_trial *trial, bool *ran, infold_error *why) {
  infold_error e;
  TRY(ifd_trial_run(v, trial, ran, &e));
  if (!*ran && (e.status == INFOLD_LIMIT || e.status == INFOLD_NO_MEMORY)) return ifd_api_fail_as(v->err, &e);
  if (!*ran && !why->status) *why = e;
  return IFD_OK;
}

static ifd_status try_sizes(ifd_verifier *v, int64_t batch, const int64_t *sizes, int n, ifd_trial *good,
                            infold_error *why) {
  static const char *const hows[] = {"random", "zeros"};
  for (int k = 0; k < 2 * n && !good->how; k++) {
    bool ran;
    ifd_trial trial = {.how = hows[k / n], .batch = batch, .other = sizes[k % n]};
    TRY(try_trial(v, &trial, &ran, why));
    if (ran) *good = trial;
  }
  return IFD_OK;
}

/* Not every number does for every free dimension (some nets halve them five times, some want a second of
 * sound), nor every integer for an index: the first that a runs on. */
ifd_status ifd_trial_find(ifd_verifier *v, int64_t batch, ifd_trial *good, infold_error *why) {
  static const int64_t usual[] = {16, 64, 224, 512, 1280, 1};
  sizes named = {0};
  bool ran;
  if (good->how) {
    good->batch = batch;
    return try_trial(v, good, &ran, why);
  }
  bool is_free = ifd_trial_has_free(v, false);
  TRY(try_sizes(v, batch, usual, is_free ? sizeof usual / sizeof *usual : 1, good, why));
  if (good->how || !is_free) return IFD_OK;
  TRY(name_sizes(v, &named));
  return try_sizes(v, batch, named.v, named.n, good, why);
}
