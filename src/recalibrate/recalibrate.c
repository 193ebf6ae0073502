/* Running statistics measured anew on the caller's data. Nothing else of the model changes. */
#include "recalibrate/recalibrate.h"

#include "inspect/norm.h"
#include "pass/inline.h"
#include <string.h>

/* ---- what cannot be done ---- */

static ifd_status count_written_out(ifd_graph *graph, void *context) {
  ifd_recalibration *r = ((void **)context)[0];
  int *n = ((void **)context)[1];
  IFD_EACH_NODE(node, graph) {
    ifd_norm norm;
    TRY(ifd_norm_of(r->err, &r->arena, node, &norm));
    *n += norm.label && norm.written_out && strcmp(norm.label, "BatchNormalization") == 0;
  }
  return IFD_OK;
}

/* Folding multiplies the statistics into weights: what they were cannot be told from the product. */
static ifd_status check_layers(ifd_recalibration *r) {
  int n_written_out = 0;
  if (!r->layers.n)
    TRY(ifd_graph_visit(r->work->ir->graph, count_written_out, (void *[]){r, &n_written_out}));
  EXPECT(r->err, r->layers.n || !n_written_out, UNSUPPORTED,
         "there is no BatchNormalization; %d written out as Mul and Add no longer tell their running "
         "statistics: "
         "recalibrate the model as it was before, then optimize it",
         n_written_out);
  EXPECT(r->err, r->layers.n, UNSUPPORTED,
         "there is no BatchNormalization: if it was folded into the weights, its running statistics are no "
         "longer "
         "apart; recalibrate the model as it was before, then optimize it");
  EXPECT(r->err, r->n_left, UNSUPPORTED, "none of %d BatchNormalization can be measured; '%s': %s",
         r->layers.n, r->layers.v[0].name, r->layers.v[0].skipped);
  return IFD_OK;
}

/* ---- writing ---- */

static ifd_status fill(ifd_recalibration *r, ifd_tensor *out, infold_model *m, const ifd_tensor *like,
                       const double *v) {
  TRY(ifd_tensor_new(r->err, out, &m->ir->arena, like->dtype, &like->shape));
  for (int64_t c = 0, n = ifd_tensor_count(like); c < n; c++) ifd_tensor_set_f64(out, c, v[c]);
  return IFD_OK;
}

/* The constant keeps its name and place. */
static ifd_status rewrite(ifd_recalibration *r, infold_model *m, const char *name, const double *v) {
  ifd_value *value = ifd_map_find(&m->ir->graph->values, name);
  ifd_tensor *t;
  ALLOC(r->err, t, ifd_new(&m->ir->arena, ifd_tensor));
  TRY(fill(r, t, m, ifd_norm_constant(value), v));
  if (!value->producer) {
    value->constant = t;
    return IFD_OK;
  }
  ifd_attr attr = {.name = "value", .type = IFD_ATTR_TENSOR, .tensor = t};
  return ifd_node_set_attr(r->err, value->producer, &attr);
}

/* A constant of its own for a layer that read one with others. */
static ifd_status part(ifd_recalibration *r, infold_model *m, ifd_node *bn, int input, const char *name,
                       const double *v) {
  ifd_graph *g = m->ir->graph;
  ifd_value *value;
  ifd_tensor t;
  TRY(fill(r, &t, m, ifd_norm_constant(ifd_map_find(&g->values, name)), v));
  TRY(ifd_value_new(r->err, &value, g, ifd_graph_unique_name(g, name)));
  TRY(ifd_graph_add_constant(r->err, g, value, &t));
  ALLOC(r->err, value->type, ifd_type_of_tensor(&m->ir->arena, value->constant));
  return ifd_node_set_input(r->err, bn, input, value);
}

static ifd_status write_layer(ifd_recalibration *r, infold_model *m, const ifd_stat_layer *l) {
  if (!l->shares) {
    TRY(rewrite(r, m, l->mean, l->new_mean));
    return rewrite(r, m, l->var, l->new_var);
  }
  ifd_node *bn = ((ifd_value *)ifd_map_find(&m->ir->graph->values, l->node->outputs[0]->name))->producer;
  TRY(part(r, m, bn, 3, l->mean, l->new_mean));
  return part(r, m, bn, 4, l->var, l->new_var);
}

static ifd_status write_layers(ifd_recalibration *r, infold_model **out) {
  TRY(ifd_api_clone(r->err, out, r->model, &r->model->budget));
  for (int i = 0; i < r->layers.n; i++)
    if (!r->layers.v[i].skipped) TRY(write_layer(r, *out, &r->layers.v[i]));
  return IFD_OK;
}

/* ---- all of it ---- */

static ifd_status check_options(ifd_error *err, const infold_recalibrate_options *o) {
  EXPECT(err, o->data, USAGE, "there is no data to measure on");
  EXPECT(err, o->estimate != INFOLD_MOMENTUM || (o->momentum >= 0 && o->momentum <= 1), USAGE,
         "momentum %g is outside [0, 1]", o->momentum);
  EXPECT(err, o->batch >= 0, USAGE, "a batch of %lld", (long long)o->batch);
  return IFD_OK;
}

static ifd_status prepare(ifd_recalibration *r) {
  enum { USUAL_BATCH = 32 };
  const infold_recalibrate_options *o = r->options;
  ifd_budget limited = ifd_api_limited(o->max_memory);
  TRY(ifd_api_clone(r->err, &r->work, r->model, &limited));
  TRY(ifd_inline_functions(r->err, r->work->ir));
  ifd_inference inf;
  TRY(ifd_inference_init(&inf, r->err, &r->work->ir->arena, r->work->ir->dims, r->work->ir->n_values));
  TRY(ifd_infer_model(&inf, r->work->ir));
  TRY(ifd_recalibrate_find_layers(r));
  TRY(check_layers(r));
  return ifd_calibration_read(r->err, &r->data, r->model, o->data, o->batch ? o->batch : USUAL_BATCH);
}

static ifd_status recalibrate(ifd_recalibration *r, infold_model **out, char **report) {
  TRY(check_options(r->err, r->options));
  TRY(prepare(r));
  TRY(r->options->estimate == INFOLD_EXACT ? ifd_recalibrate_exactly(r) : ifd_recalibrate_by_batches(r));
  TRY(write_layers(r, out));
  return report ? ifd_recalibrate_report(r, report) : IFD_OK;
}

infold_status infold_recalibrate_model(infold_error *to, infold_model **out, char **report,
                                       const infold_model *model, const infold_recalibrate_options *options) {
  IFD_API_COMPUTES;
  ifd_error err = {0};
  ifd_recalibration r = {.err = &err, .options = options, .model = model};
  *out = NULL;
  if (report) *report = NULL;
  ifd_arena_init(&r.arena, NULL);
  ifd_status status = recalibrate(&r, out, report);
  if (status != IFD_OK) {
    infold_destroy_model(*out);
    *out = NULL;
  }
  ifd_calibration_destroy(&r.data);
  infold_destroy_model(r.work);
  ifd_arena_free(&r.arena);
  return ifd_api_report(to, &err, NULL, status);
}
