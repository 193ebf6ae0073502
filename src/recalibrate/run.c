/* What both ways of measuring do: run a part of the work model, and take the moments of a layer's input. */
#include "recalibrate/recalibrate.h"

#include "ir/extract.h"
#include <math.h>
#include <stdio.h>

/* ---- one layer's input ---- */

/* Statistics are of channels, or (spatial = 0) of each position of a sample. */
ifd_status ifd_recalibrate_add_moments(ifd_recalibration *r, const ifd_stat_layer *l,
                                       const infold_value *value, ifd_moments *moments) {
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

ifd_status ifd_recalibrate_check_count(ifd_recalibration *r, const ifd_stat_layer *l, double n) {
  double least = r->options->sample_variance ? 2 : 1;
  EXPECT(r->err, n >= least, BAD_INPUT,
         "layer '%s': %.0f value%s for a channel's statistics; %.0f are needed", l->name, n,
         n == 1 ? "" : "s", least);
  return IFD_OK;
}

void ifd_recalibrate_tell(const ifd_recalibration *r, const char *what, int done, int total) {
  char text[96];
  snprintf(text, sizeof text, "%s %d of %d", what, done, total);
  if (r->options->progress) r->options->progress(r->options->progress_context, text);
}

/* Runs what makes the values `to` of the values `from`, by name, in the work model as it is now. */
ifd_status ifd_recalibrate_open(ifd_recalibration *r, infold_session **out, const char *const *from,
                                const char *const *to) {
  infold_session_options options = {.threads = r->options->threads, .max_memory = r->options->max_memory};
  infold_model *part;
  infold_error e;
  TRY(ifd_api_clone(r->err, &part, r->work, &r->work->budget));
  ifd_status status = ifd_model_extract(r->err, part->ir, from, to);
  if (status == IFD_OK) status = ifd_api_infer(r->err, part->ir);
  if (status == IFD_OK && infold_create_session(&e, out, part, &options))
    status = ifd_api_fail_as(r->err, &e);
  infold_destroy_model(part);
  return status;
}

/* Inputs behind those that are given have defaults. */
ifd_status ifd_recalibrate_run(ifd_recalibration *r, const infold_session *s, infold_value *const *given,
                               int n, infold_value **outputs) {
  const infold_value **inputs;
  ifd_arena scratch;
  infold_error e = {0};
  ifd_arena_init(&scratch, NULL);
  inputs = ifd_new_array(&scratch, const infold_value *, infold_get_n_inputs(s) + n);
  for (int i = 0; inputs && i < n; i++) inputs[i] = given[i];
  infold_status status = inputs ? infold_run(&e, outputs, s, inputs, NULL) : INFOLD_NO_MEMORY;
  ifd_arena_free(&scratch);
  return status ? ifd_error_set(r->err, (ifd_status)status, "%s", e.message) : IFD_OK;
}

/* ---- values held for every batch ---- */

void ifd_held_drop(ifd_held *h) {
  for (int i = 0; h->values && !h->borrowed && i < h->n * h->n_batches; i++)
    infold_destroy_value(h->values[i]);
  ifd_arena_free(&h->arena);
  *h = (ifd_held){0};
}

ifd_status ifd_held_new(ifd_recalibration *r, ifd_held *h, int n) {
  *h = (ifd_held){.n = n, .n_batches = r->data.batches.n};
  ifd_arena_init(&h->arena, NULL);
  ALLOC(r->err, h->names, ifd_new_array(&h->arena, const char *, n + 1));
  ALLOC(r->err, h->values, ifd_new_array(&h->arena, infold_value *, (int64_t)n * h->n_batches + 1));
  return IFD_OK;
}

/* The inputs that the data gives (in its first batch, and so in all). */
ifd_status ifd_held_inputs(ifd_recalibration *r, ifd_held *h) {
  const ifd_graph *g = r->work->ir->graph;
  TRY(ifd_held_new(r, h, g->inputs.n));
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
