/* infold doctor: the health of BatchNormalization. */
#include "cli.h"

typedef struct doctor_record {
  model_options model;
  int json, strict;
  const char *sarif;
} doctor_record;

static const option options[] = {
    {"--json", NULL, NULL, "all of it as JSON", OPTION_FLAG, offsetof(doctor_record, json)},
    {"--strict", NULL, NULL, "warnings, too, are reasons for exit code 1", OPTION_FLAG,
     offsetof(doctor_record, strict)},
    {"--sarif", NULL, "FILE", "write the findings as SARIF 2.1.0", OPTION_TEXT,
     offsetof(doctor_record, sarif)},
    MODEL_OPTIONS(doctor_record),
    {0}};

static int report(const doctor_record *r, const infold_diagnosis *d, const char *path) {
  infold_error err;
  char *text;
  infold_status status = infold_format_diagnosis(&err, &text, d, r->json ? "json" : "table", cli_width());
  int code = cli_give(status, &err, &text, path);
  if (code || !r->sarif) return code;
  if (infold_format_diagnosis(&err, &text, d, "sarif", 0)) return cli_fail(&err, path);
  code = cli_write_file(r->sarif, text);
  infold_free(text);
  return code;
}

static int run(void *record, char **args, int n_args) {
  doctor_record *r = record;
  infold_error err;
  infold_model *model;
  infold_diagnosis *d;
  (void)n_args;
  int code = cli_load(&model, args[0], &r->model);
  if (code) return code;
  cli_begin("examining", args[0]);
  infold_status status = infold_diagnose_model(&err, &d, model);
  cli_end();
  code = status ? cli_fail(&err, args[0]) : report(r, d, args[0]);
  if (!code &&
      (infold_count_findings(d, INFOLD_ERROR) || (r->strict && infold_count_findings(d, INFOLD_WARNING))))
    code = EXIT_FINDINGS;
  if (!status) infold_destroy_diagnosis(d);
  infold_destroy_model(model);
  return code;
}

const command cmd_doctor = {.name = "doctor",
                            .arguments = "MODEL",
                            .summary = "examines the BatchNormalization of a model",
                            .min_args = 1,
                            .max_args = 1,
                            .options = options,
                            .record_size = sizeof(doctor_record),
                            .run = run};
