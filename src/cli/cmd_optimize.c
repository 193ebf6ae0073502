/* infold optimize: a model that does the same with less. */
#include "cli.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

typedef struct optimize_record {
  model_options model;
  const char *output, *report, *inputs, *external_data, *certificate;
  texts only, skip, why, fix_dims;
  long max_rewrites, batch, threads, seed, raise_opset; /* max_rewrites and batch are one more than given */
  double tolerance, seconds;
  int no_verify, grow, keep_bn, no_provenance, explain, bn_inference;
} optimize_record;

static const option options[] = {
    {"--output", "-o", "OUT.onnx", "where the optimized model goes (without it: only the report)",
     OPTION_TEXT, offsetof(optimize_record, output)},
    {"--only", NULL, "P,…", "only these passes; 'infold passes' lists them", OPTION_NAMES,
     offsetof(optimize_record, only)},
    {"--skip", NULL, "P,…", "not these passes", OPTION_NAMES, offsetof(optimize_record, skip)},
    {"--keep-bn", NULL, NULL, "fold and remove no BatchNormalization: for training on", OPTION_FLAG,
     offsetof(optimize_record, keep_bn)},
    {"--batch", NULL, "N", "fix the free first dimension of all inputs", OPTION_COUNT,
     offsetof(optimize_record, batch), 1, LONG_MAX - 1},
    {"--fix-dim", NULL, "NAME=N", "fix a free dimension by its name; may be repeated", OPTION_TEXTS,
     offsetof(optimize_record, fix_dims)},
    {"--raise-opset", NULL, "N", "first raise the model to this version of ai.onnx, which has more operators",
     OPTION_NUMBER, offsetof(optimize_record, raise_opset), 13, 100},
    {"--why", NULL, "NODE", "say why a node was left as it is, or what became of it; may be repeated",
     OPTION_TEXTS, offsetof(optimize_record, why)},
    {"--explain", NULL, NULL,
     "say so of every BatchNormalization, Mul, Add, Reshape, Transpose; and where new nodes came from",
     OPTION_FLAG, offsetof(optimize_record, explain)},
    {"--no-provenance", NULL, NULL, "do not note in new nodes' metadata_props where they came from",
     OPTION_FLAG, offsetof(optimize_record, no_provenance)},
    {"--max-rewrites", NULL, "N", "stop after so many rewrites (bisects a bad one)", OPTION_COUNT,
     offsetof(optimize_record, max_rewrites), 0, LONG_MAX - 1},
    {"--report", NULL, "table|json|markdown", "form of the before/after report", OPTION_TEXT,
     offsetof(optimize_record, report)},
    {"--no-verify", NULL, NULL, "do not compare the two models by running them", OPTION_FLAG,
     offsetof(optimize_record, no_verify)},
    {"--inputs", NULL, "DIR|FILE.npz", "inputs to verify with (default: random ones)", OPTION_TEXT,
     offsetof(optimize_record, inputs)},
    {"--tolerance", NULL, "X", "allowed difference, as part of an output's largest value (1e-4)", OPTION_REAL,
     offsetof(optimize_record, tolerance)},
    {"--seconds", NULL, "S", "most time for verifying (default: 5; for a certificate: no limit)", OPTION_REAL,
     offsetof(optimize_record, seconds)},
    {"--certificate", NULL, "FILE",
     "write what was done and how exact it is, against a run in double; 'infold verify' checks it",
     OPTION_TEXT, offsetof(optimize_record, certificate)},
    {"--seed", NULL, "N", "of random inputs to verify with", OPTION_NUMBER, offsetof(optimize_record, seed),
     0, LONG_MAX},
    {"--threads", NULL, "N", "threads for verifying", OPTION_NUMBER, offsetof(optimize_record, threads), 1,
     4096},
    {"--grow", NULL, NULL, "the file may become larger", OPTION_FLAG, offsetof(optimize_record, grow)},
    {"--bn-inference", NULL, NULL,
     "training-mode BatchNormalization exported by mistake: into inference mode", OPTION_FLAG,
     offsetof(optimize_record, bn_inference)},
    {"--external-data", NULL, "FILE", "put the weights into this file beside OUT.onnx", OPTION_TEXT,
     offsetof(optimize_record, external_data)},
    MODEL_OPTIONS(optimize_record),
    {0}};

/* What differs is a failure; what could not be compared is said, and part of the report. */
static int verify(const optimize_record *r, infold_report *report, const char *path) {
  infold_error err;
  infold_verify_options verify = {.inputs = r->inputs,
                                  .tolerance = r->tolerance,
                                  .threads = (int)r->threads,
                                  .max_memory = r->model.max_memory,
                                  .seed = (uint64_t)r->seed,
                                  .max_seconds = r->seconds > 0 || r->certificate ? r->seconds : 5,
                                  .measure = r->certificate != NULL};
  cli_begin("verifying", path);
  infold_status status = infold_verify_report(&err, report, &verify);
  cli_end();
  if (!status) return 0;
  if (status == INFOLD_DIFFERS || r->inputs || r->certificate) return cli_fail(&err, path);
  cli_say("%s: not verified: %s", path, err.message);
  return 0;
}

static int print_report(const optimize_record *r, const infold_report *report, const char *path) {
  infold_error err;
  char *text;
  infold_status status =
      infold_format_report(&err, &text, report, r->report ? r->report : "table", cli_width());
  return cli_give(status, &err, &text, path);
}

/* One node's explanation, or all of them. */
static int explain_node(const infold_report *report, const char *node, const char *path) {
  infold_error err;
  char *text;
  infold_status status =
      node ? infold_explain_node(&err, &text, report, node) : infold_explain_report(&err, &text, report);
  if (!status) cli_print("\n");
  return cli_give(status, &err, &text, path);
}

static int explain(const optimize_record *r, const infold_report *report, const char *path) {
  int code = 0;
  for (int i = 0; i < r->why.n && !code; i++) code = explain_node(report, r->why.v[i], path);
  return r->explain && !code ? explain_node(report, NULL, path) : code;
}

static int certify(const optimize_record *r, const infold_report *report, const char *path) {
  infold_error err;
  if (infold_write_certificate(&err, report, r->certificate, path, r->output))
    return cli_fail(&err, r->certificate);
  return 0;
}

/* The file is written last, when nothing else can fail. */
static int finish(const optimize_record *r, infold_model *optimized, infold_report *report,
                  const char *path) {
  int code = r->no_verify ? 0 : verify(r, report, path);
  if (!code) code = print_report(r, report, path);
  if (!code) code = explain(r, report, path);
  if (!code && r->output) code = cli_save(optimized, r->output, r->external_data);
  return code || !r->certificate ? code : certify(r, report, path);
}

static bool known_format(const char *format) {
  return !format || strcmp(format, "table") == 0 || strcmp(format, "json") == 0 ||
         strcmp(format, "markdown") == 0;
}

static int fix_dim(infold_model *model, const char *path, const char *text) {
  infold_error err;
  char *name, *value, *end;
  bool whole = cli_split(text, &name, &value) && *value;
  errno = 0;
  long long n = whole ? strtoll(value, &end, 10) : 0;
  int code = 0;
  if (!whole || *end || errno || n < 0)
    code = cli_usage("optimize: --fix-dim takes NAME=N with a whole number, not '%s'", text);
  else if (infold_fix_dim(&err, model, name, n))
    code = cli_fail(&err, path);
  free(name);
  return code;
}

static int specialise(const optimize_record *r, infold_model *model, const char *path) {
  infold_error err;
  int code = 0;
  for (int i = 0; i < r->fix_dims.n && !code; i++) code = fix_dim(model, path, r->fix_dims.v[i]);
  if (!code && r->batch && infold_fix_dim(&err, model, NULL, r->batch - 1)) code = cli_fail(&err, path);
  return code;
}

static int run(void *record, char **args, int n_args) {
  optimize_record *r = record;
  infold_error err;
  infold_model *model, *optimized;
  infold_report *report;
  (void)n_args;
  if (!known_format(r->report))
    return cli_usage("optimize: --report is table, json or markdown, not '%s'", r->report);
  if (r->external_data && !r->output) return cli_usage("optimize: --external-data needs -o OUT.onnx");
  if (r->certificate && !r->output) return cli_usage("optimize: --certificate needs -o OUT.onnx");
  if (r->certificate && r->no_verify)
    return cli_usage("optimize: --certificate needs what --no-verify skips");
  int code = cli_load(&model, args[0], &r->model);
  if (!code) code = specialise(r, model, args[0]);
  if (code) {
    infold_destroy_model(model);
    return code;
  }
  infold_optimize_options optimize = {.only = r->only.v,
                                      .skip = r->skip.v,
                                      .has_max_rewrites = r->max_rewrites > 0,
                                      .max_rewrites = r->max_rewrites - 1,
                                      .grow = r->grow,
                                      .raise_opset = (int)r->raise_opset,
                                      .keep_bn = r->keep_bn,
                                      .no_provenance = r->no_provenance,
                                      .bn_inference = r->bn_inference};
  cli_begin("optimizing", args[0]);
  infold_status status = infold_optimize_model(&err, &optimized, &report, model, &optimize);
  cli_end();
  code = status ? cli_fail(&err, args[0]) : finish(r, optimized, report, args[0]);
  if (!status) {
    infold_destroy_report(report);
    infold_destroy_model(optimized);
  }
  infold_destroy_model(model);
  return code;
}

const command cmd_optimize = {.name = "optimize",
                              .arguments = "IN.onnx",
                              .summary = "makes a model smaller and faster, and checks that it does the same",
                              .min_args = 1,
                              .max_args = 1,
                              .options = options,
                              .record_size = sizeof(optimize_record),
                              .run = run};
