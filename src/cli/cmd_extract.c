/* infold extract: the part of a model between some values and others. */
#include "cli.h"

#include <string.h>

typedef struct extract_record {
  model_options model;
  const char *output, *external_data;
  texts inputs, outputs;
} extract_record;

static const option options[] = {
    {"--output", "-o", "OUT.onnx", "where the part goes", OPTION_TEXT, offsetof(extract_record, output)},
    {"--inputs", NULL, "A,…", "values that become its inputs (default: the model's that are needed)",
     OPTION_NAMES, offsetof(extract_record, inputs)},
    {"--outputs", NULL, "C,…", "values that become its outputs (default: the model's)", OPTION_NAMES,
     offsetof(extract_record, outputs)},
    {"--external-data", NULL, "FILE", "put the weights into this file beside OUT.onnx", OPTION_TEXT,
     offsetof(extract_record, external_data)},
    MODEL_OPTIONS(extract_record),
    {0}};

static int run(void *record, char **args, int n_args) {
  extract_record *r = record;
  infold_error err;
  infold_model *model;
  (void)n_args;
  if (!r->output) return cli_usage("extract: needs -o OUT.onnx");
  if (!r->inputs.n && !r->outputs.n) return cli_usage("extract: needs --inputs or --outputs, or both");
  int code = cli_load(&model, args[0], &r->model);
  if (!code && infold_extract_model(&err, model, r->inputs.v, r->outputs.v)) code = cli_fail(&err, args[0]);
  if (!code) code = cli_save(model, r->output, r->external_data);
  infold_destroy_model(model);
  return code;
}

const command cmd_extract = {.name = "extract",
                             .arguments = "IN.onnx",
                             .summary = "writes the part of a model between some values and others",
                             .min_args = 1,
                             .max_args = 1,
                             .options = options,
                             .record_size = sizeof(extract_record),
                             .run = run};
