/* infold recalibrate: running statistics from data. */
#include "cli.h"

#include <stdlib.h>
#include <string.h>

typedef struct recalibrate_record {
  model_options model;
  const char *data, *output, *momentum, *variance, *report, *external_data;
  int exact;
  long batch, threads;
} recalibrate_record;

static const option options[] = {
    {"--data", NULL, "DIR|FILE.npz", "what to measure on: arrays by input name, or a folder of such data",
     OPTION_TEXT, offsetof(recalibrate_record, data)},
    {"--output", "-o", "OUT.onnx", "where the model goes (without it: only the report)", OPTION_TEXT,
     offsetof(recalibrate_record, output)},
    {"--exact", NULL, NULL, "statistics of all data together, layer by layer (the default)", OPTION_FLAG,
     offsetof(recalibrate_record, exact)},
    {"--momentum", NULL, "M|average", "as training does: batch by batch, keeping the part M of the old",
     OPTION_TEXT, offsetof(recalibrate_record, momentum)},
    {"--variance", NULL, "population|sample", "divided by n (the default) or by n - 1", OPTION_TEXT,
     offsetof(recalibrate_record, variance)},
    {"--batch", NULL, "N", "samples at a time (default: 32)", OPTION_NUMBER,
     offsetof(recalibrate_record, batch), 1, LONG_MAX},
    {"--report", NULL, "table|json", "form of the report", OPTION_TEXT, offsetof(recalibrate_record, report)},
    {"--threads", NULL, "N", "threads to use", OPTION_NUMBER, offsetof(recalibrate_record, threads), 1, 4096},
    {"--external-data", NULL, "FILE", "put the weights into this file beside OUT.onnx", OPTION_TEXT,
     offsetof(recalibrate_record, external_data)},
    MODEL_OPTIONS(recalibrate_record),
    {0}};

static bool is(const char *text, const char *word) { return text && strcmp(text, word) == 0; }

static int read_estimate(const recalibrate_record *r, infold_recalibrate_options *o) {
  char *end;
  if (!r->momentum) return 0;
  if (r->exact) return cli_usage("recalibrate: --exact and --momentum exclude each other");
  o->estimate = INFOLD_AVERAGE;
  if (is(r->momentum, "average")) return 0;
  o->estimate = INFOLD_MOMENTUM;
  o->momentum = strtod(r->momentum, &end);
  if (end != r->momentum && !*end && o->momentum >= 0 && o->momentum <= 1) return 0;
  return cli_usage("recalibrate: --momentum takes a number in [0, 1] or 'average', not '%s'", r->momentum);
}

static int read_options(const recalibrate_record *r, infold_recalibrate_options *o) {
  *o = (infold_recalibrate_options){.data = r->data,
                                    .batch = r->batch,
                                    .sample_variance = is(r->variance, "sample"),
                                    .threads = (int)r->threads,
                                    .max_memory = r->model.max_memory,
                                    .format = r->report,
                                    .width = cli_width()};
  if (!r->data) return cli_usage("recalibrate: --data DIR|FILE.npz is needed");
  if (r->external_data && !r->output) return cli_usage("recalibrate: --external-data needs -o OUT.onnx");
  if (r->variance && !is(r->variance, "population") && !o->sample_variance)
    return cli_usage("recalibrate: --variance is 'population' or 'sample', not '%s'", r->variance);
  if (r->report && !is(r->report, "table") && !is(r->report, "json"))
    return cli_usage("recalibrate: --report is table or json, not '%s'", r->report);
  return read_estimate(r, o);
}

static void show(void *context, const char *text) {
  (void)context;
  cli_show(text);
}

static int run(void *record, char **args, int n_args) {
  recalibrate_record *r = record;
  infold_recalibrate_options o;
  infold_error err;
  infold_model *model, *measured;
  char *report;
  (void)n_args;
  int code = cli_load(&model, args[0], &r->model);
  if (!code && (code = read_options(r, &o))) infold_destroy_model(model);
  if (code) return code;
  o.progress = show;
  cli_begin("recalibrating", args[0]);
  infold_status status = infold_recalibrate_model(&err, &measured, &report, model, &o);
  cli_end();
  code = cli_give(status, &err, &report, args[0]);
  if (!code && r->output) code = cli_save(measured, r->output, r->external_data);
  infold_destroy_model(measured);
  infold_destroy_model(model);
  return code;
}

const command cmd_recalibrate = {.name = "recalibrate",
                                 .arguments = "MODEL",
                                 .summary = "measures the statistics of BatchNormalization on data",
                                 .min_args = 1,
                                 .max_args = 1,
                                 .options = options,
                                 .record_size = sizeof(recalibrate_record),
                                 .run = run};
