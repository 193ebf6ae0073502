/* Before and after, layer by layer. */
#include "recalibrate/recalibrate.h"

#include "inspect/json.h"
#include "inspect/norm.h"
#include "inspect/table.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* How far a layer's statistics moved, over its channels. */
typedef struct shift {
  double mean_median, mean_most;                         /* |new - old| in old deviations */
  double variance_least, variance_middle, variance_most; /* new / old, epsilon in both; middle: geometric */
} shift;

static int compare_doubles(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static ifd_status shift_of(ifd_recalibration *r, const ifd_stat_layer *l, shift *out) {
  const ifd_map *values = &r->model->ir->graph->values;
  const ifd_tensor *mean = ifd_norm_constant(ifd_map_find(values, l->mean));
  const ifd_tensor *var = ifd_norm_constant(ifd_map_find(values, l->var));
  double epsilon = ifd_node_float(l->node, "epsilon", 1e-5f), sum = 0, *moved;
  ALLOC(r->err, moved, ifd_new_array(&r->arena, double, l->n));
  *out = (shift){.variance_least = INFINITY, .variance_most = -INFINITY};
  for (int64_t c = 0; c < l->n; c++) {
    double old = ifd_tensor_get_f64(var, c) + epsilon, ratio = (l->new_var[c] + epsilon) / old;
    moved[c] = fabs(l->new_mean[c] - ifd_tensor_get_f64(mean, c)) / sqrt(old);
    sum += log(ratio);
    out->mean_most = moved[c] > out->mean_most || isnan(moved[c]) ? moved[c] : out->mean_most;
    out->variance_least = fmin(out->variance_least, ratio);
    out->variance_most = fmax(out->variance_most, ratio);
  }
  qsort(moved, (size_t)l->n, sizeof *moved, compare_doubles);
  out->mean_median = l->n ? moved[l->n / 2] : 0;
  out->variance_middle = exp(sum / (double)l->n);
  return IFD_OK;
}

static const char *how(const ifd_recalibration *r) {
  const infold_recalibrate_options *o = r->options;
  if (o->estimate == INFOLD_EXACT)
    return "statistics of all of it together, each layer measured behind the earlier ones as they now are";
  if (o->estimate == INFOLD_AVERAGE)
    return "the average over batches, every layer normalizing by the batch's own statistics";
  return "running averages, every layer normalizing by the batch's own statistics";
}

/* ---- table ---- */

static ifd_status add_row(ifd_recalibration *r, ifd_table *table, const ifd_stat_layer *l) {
  shift s;
  TRY(shift_of(r, l, &s));
  ifd_arena *a = &r->arena;
  const char *cells[6] = {l->name,
                          ifd_text_count(a, (double)l->n),
                          ifd_text_count(a, r->layers.v[l->twin].moments[0].n),
                          ifd_arena_printf(a, "%.2g (at most %.2g)", s.mean_median, s.mean_most),
                          ifd_arena_printf(a, "%.2g", s.variance_middle),
                          ifd_arena_printf(a, "%.2g … %.2g", s.variance_least, s.variance_most)};
  return ifd_table_add(table, cells);
}

static void print_heading(const ifd_recalibration *r, FILE *to) {
  int n = r->data.batches.n;
  fprintf(to, "%d of %d BatchNormalization from %lld sample%s in %d batch%s:\n%s", r->n_left, r->layers.n,
          (long long)r->data.n_samples, r->data.n_samples == 1 ? "" : "s", n, n == 1 ? "" : "es", how(r));
  if (r->options->estimate == INFOLD_MOMENTUM) fprintf(to, "; momentum %g", r->options->momentum);
  fprintf(to, "; variance of %s\n", r->options->sample_variance ? "a sample (n - 1)" : "the population (n)");
  if (r->data.n_left_out)
    fprintf(to, "%lld sample%s left out: they fill no batch of the size that the model fixes\n",
            (long long)r->data.n_left_out, r->data.n_left_out == 1 ? " was" : "s were");
  fputc('\n', to);
}

/* "left as they were: 'a', 'b' and 3 more: why", at the first layer that has the reason. */
static void print_left(const ifd_recalibration *r, FILE *to, int first) {
  enum { SHOWN = 4 };
  const char *why = r->layers.v[first].skipped;
  int n = 0;
  for (int i = 0; i < first; i++)
    if (why && r->layers.v[i].skipped && strcmp(why, r->layers.v[i].skipped) == 0) return;
  for (int i = first; why && i < r->layers.n; i++) {
    if (!r->layers.v[i].skipped || strcmp(why, r->layers.v[i].skipped) != 0 || n++ >= SHOWN) continue;
    fputs(n > 1 ? ", '" : "left as it was: '", to);
    ifd_put_clean(to, r->layers.v[i].name);
    fputc('\'', to);
  }
  if (n > SHOWN) fprintf(to, " and %d more", n - SHOWN);
  if (why) fprintf(to, ": %s\n", why);
}

static ifd_status print_table(ifd_recalibration *r, FILE *to, int width) {
  static const ifd_column columns[] = {{"Layer", .flexible = true},
                                       {"Channels", .right = true},
                                       {"Values", .right = true},
                                       {"Mean moved, in deviations"},
                                       {"Variance ×", .right = true},
                                       {"of channels"},
                                       {0}};
  ifd_table table;
  print_heading(r, to);
  ifd_table_init(&table, r->err, &r->arena, columns);
  for (int i = 0; i < r->layers.n; i++)
    if (!r->layers.v[i].skipped) TRY(add_row(r, &table, &r->layers.v[i]));
  ifd_table_print(&table, to, width);
  for (int i = 0; i < r->layers.n; i++) print_left(r, to, i);
  return IFD_OK;
}

/* ---- JSON ---- */

static json_t *shift_json(json_t *row, const shift *s) {
  row = ifd_json_set(row, "mean_moved",
                     json_pack("{s:o, s:o}", "median", ifd_json_number(s->mean_median), "max",
                               ifd_json_number(s->mean_most)));
  return ifd_json_set(row, "variance_ratio",
                      json_pack("{s:o, s:o, s:o}", "min", ifd_json_number(s->variance_least),
                                "geometric_mean", ifd_json_number(s->variance_middle), "max",
                                ifd_json_number(s->variance_most)));
}

static ifd_status add_layer_json(ifd_recalibration *r, json_t **list, const ifd_stat_layer *l) {
  shift s;
  if (!l->skipped) TRY(shift_of(r, l, &s));
  json_t *row = json_pack("{s:o}", "name", ifd_json_text(l->name));
  if (l->skipped)
    row = ifd_json_set(row, "left", json_string(l->skipped));
  else {
    row = ifd_json_set(row, "channels", json_integer(l->n));
    row = ifd_json_set(row, "values", ifd_json_number(r->layers.v[l->twin].moments[0].n));
    row = shift_json(row, &s);
  }
  *list = ifd_json_append(*list, row);
  return IFD_OK;
}

static ifd_status print_json(ifd_recalibration *r, FILE *to, int width) {
  json_t *list = json_array();
  ifd_status status = IFD_OK;
  (void)width;
  for (int i = 0; i < r->layers.n && status == IFD_OK; i++)
    status = add_layer_json(r, &list, &r->layers.v[i]);
  json_t *all =
      json_pack("{s:o, s:I, s:I, s:i, s:s, s:s}", "layers", list, "samples", (json_int_t)r->data.n_samples,
                "left_out", (json_int_t)r->data.n_left_out, "batches", r->data.batches.n, "method", how(r),
                "variance", r->options->sample_variance ? "sample" : "population");
  if (r->options->estimate == INFOLD_MOMENTUM)
    all = ifd_json_set(all, "momentum", ifd_json_number(r->options->momentum));
  if (status == IFD_OK) return ifd_json_print(r->err, all, to);
  json_decref(all);
  return status;
}

ifd_status ifd_recalibrate_report(ifd_recalibration *r, char **out) {
  const char *format = r->options->format;
  bool json = format && strcmp(format, "json") == 0;
  size_t len;
  *out = NULL;
  EXPECT(r->err, json || !format || strcmp(format, "table") == 0, USAGE,
         "a report is a table or json, not '%s'", format);
  FILE *f = open_memstream(out, &len);
  ifd_status status = f ? (json ? print_json : print_table)(r, f, r->options->width) : IFD_OK;
  return ifd_api_text_end(r->err, f, out, status);
}
