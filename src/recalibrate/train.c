/* Statistics as training makes them, batch by batch. */
#include "recalibrate/recalibrate.h"

#include "inspect/norm.h"
#include <string.h>

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
  ifd_status status = ifd_recalibrate_add_moments(r, l, x, m);
  if (status == IFD_OK) status = ifd_recalibrate_check_count(r, l, m[0].n);
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

static ifd_status run_training(ifd_recalibration *r, const infold_session *s, const ifd_held *inputs, int n,
                               const int *at) {
  infold_value **outputs;
  int *n_updates;
  ALLOC(r->err, outputs, ifd_new_array(&r->arena, infold_value *, n + 1));
  ALLOC(r->err, n_updates, ifd_new_array(&r->arena, int, r->layers.n + 1));
  for (int b = 0; b < inputs->n_batches; b++) {
    ifd_recalibrate_tell(r, "running batch", b + 1, inputs->n_batches);
    TRY(ifd_recalibrate_run(r, s, inputs->values + (int64_t)b * inputs->n, inputs->n, outputs));
    ifd_status status = IFD_OK;
    for (int i = 0; i < r->layers.n && status == IFD_OK; i++) {
      int first = r->layers.v[i].twin;
      if (!r->layers.v[i].skipped) status = update(r, &r->layers.v[first], outputs[at[i]], &n_updates[first]);
    }
    ifd_api_drop_values(outputs, n);
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

static ifd_status train(ifd_recalibration *r, ifd_held *inputs) {
  const char **names;
  int *at;
  infold_session *s = NULL;
  TRY(ifd_held_inputs(r, inputs));
  TRY(set_training(r));
  ALLOC(r->err, names, ifd_new_array(&r->arena, const char *, r->layers.n + 1));
  ALLOC(r->err, at, ifd_new_array(&r->arena, int, r->layers.n + 1));
  int n = list_inputs(r, names, at);
  ifd_status status = ifd_recalibrate_open(r, &s, inputs->names, names);
  if (status == IFD_OK) status = run_training(r, s, inputs, n, at);
  infold_destroy_session(s);
  return status;
}

ifd_status ifd_recalibrate_by_batches(ifd_recalibration *r) {
  ifd_held inputs = {0};
  ifd_status status = train(r, &inputs);
  ifd_held_drop(&inputs);
  for (int i = 0; i < r->layers.n && status == IFD_OK; i++) {
    ifd_stat_layer *l = &r->layers.v[i], *first = &r->layers.v[l->twin];
    if (l->skipped || l == first) continue;
    memcpy(l->new_mean, first->new_mean, (size_t)l->n * sizeof *l->new_mean);
    memcpy(l->new_var, first->new_var, (size_t)l->n * sizeof *l->new_var);
  }
  return status;
}
