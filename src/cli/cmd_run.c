/* infold run: a model on inputs. */
#include "cli.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct run_record {
  model_options model;
  input_options input;
  session_flags session;
  const char *output_dir, *output;
  texts output_names;
  int profile;
  const char *trace;
} run_record;

static const option options[] = {
    INPUT_OPTIONS(run_record),
    {"--output-dir", NULL, "DIR", "write output_0.pb … there", OPTION_TEXT, offsetof(run_record, output_dir)},
    {"--output", NULL, "FILE.npz", "write the outputs there, by name", OPTION_TEXT,
     offsetof(run_record, output)},
    {"--output-names", NULL, "A,B", "only these outputs", OPTION_NAMES, offsetof(run_record, output_names)},
    SESSION_OPTIONS(run_record),
    {"--profile", NULL, NULL, "print the time of each node and operator", OPTION_FLAG,
     offsetof(run_record, profile)},
    {"--trace", NULL, "FILE", "write the times as Chrome trace events", OPTION_TEXT,
     offsetof(run_record, trace)},
    MODEL_OPTIONS(run_record),
    {0}};

/* Which outputs are wanted: a byte for each, or NULL for all. */
static int choose_outputs(char **out, const infold_session *session, const texts *names) {
  int n = infold_get_n_outputs(session);
  *out = NULL;
  if (!names->n) return 0;
  *out = calloc((size_t)n + 1, 1);
  for (int k = 0; *out && k < names->n; k++) {
    int i = 0;
    while (i < n && strcmp(infold_get_output_name(session, i), names->v[k]) != 0) i++;
    if (i == n) return cli_usage("run: --output-names: the model has no output '%s'", names->v[k]);
    (*out)[i] = 1;
  }
  if (*out) return 0;
  cli_say("out of memory");
  return EXIT_LIMIT;
}

static int print_outputs(const infold_session *session, infold_value *const *values) {
  for (int i = 0; i < infold_get_n_outputs(session); i++) {
    infold_error err;
    char *text;
    if (!values[i]) continue;
    if (infold_format_value(&err, &text, values[i])) return cli_fail(&err, NULL);
    cli_print(infold_get_output_name(session, i));
    cli_print(": ");
    cli_print(text);
    cli_print("\n");
    infold_free(text);
  }
  return 0;
}

static int write_trace(const infold_session *session, const char *path) {
  infold_error err;
  char *text;
  if (infold_format_profile(&err, &text, session, "trace", 0)) return cli_fail(&err, NULL);
  int code = cli_write_file(path, text);
  infold_free(text);
  return code;
}

static int print_profile(const infold_session *session) {
  infold_error err;
  char *text;
  return cli_give(infold_format_profile(&err, &text, session, "roofline", cli_width()), &err, &text, NULL);
}

/* The trace is written first and taken back when the outputs cannot be. */
static int give_outputs(const run_record *r, const infold_session *session, infold_value *const *values) {
  infold_error err;
  const char *path = r->output_dir ? r->output_dir : r->output;
  int code = r->trace ? write_trace(session, r->trace) : 0;
  if (code) return code;
  if (!path)
    code = print_outputs(session, values);
  else if (infold_write_outputs(&err, values, session, path))
    code = cli_fail(&err, path);
  if (code && r->trace) cli_remove_file(r->trace);
  return code || !r->profile ? code : print_profile(session);
}

/* Outputs by the second run where times are asked for: the first one takes memory and wakes threads. */
static infold_status run_warm(infold_error *err, const run_record *r, infold_value **outputs,
                              const infold_session *session, infold_value *const *inputs,
                              const char *wanted) {
  int n = infold_get_n_outputs(session);
  const infold_value *const *in = (const infold_value *const *)inputs;
  infold_status status = infold_run(err, outputs, session, in, wanted);
  if (status || !(r->profile || r->trace)) return status;
  for (int i = 0; i < n; i++) infold_destroy_value(outputs[i]);
  return infold_run(err, outputs, session, in, wanted);
}

static int check_inputs(infold_value *const *inputs, const infold_session *session, const char *path) {
  for (int i = 0; i < infold_get_n_inputs(session); i++) {
    const char *name = infold_get_input_name(session, i);
    if (inputs[i] || infold_input_has_default(session, i)) continue;
    return cli_usage("%s: input '%s' (%s) is missing: give --inputs, or --input '%s=FILE', '%s=random' or "
                     "'%s=zeros'",
                     path, name, infold_get_input_type(session, i), name, name, name);
  }
  return 0;
}

static int run_session(const run_record *r, const infold_session *session, const char *path) {
  infold_error err;
  int n_in = infold_get_n_inputs(session), n_out = infold_get_n_outputs(session);
  infold_value **inputs = NULL, **outputs = calloc((size_t)n_out + 1, sizeof *outputs);
  char *wanted = NULL;
  int code = outputs ? choose_outputs(&wanted, session, &r->output_names) : EXIT_LIMIT;
  if (!code) code = cli_read_inputs(&inputs, session, path, &r->input);
  if (!code) code = check_inputs(inputs, session, path);
  if (!code) {
    cli_begin("running", path);
    infold_status status = run_warm(&err, r, outputs, session, inputs, wanted);
    cli_end();
    code = status ? cli_fail(&err, path) : give_outputs(r, session, outputs);
  }
  cli_free_values(inputs, n_in);
  cli_free_values(outputs, n_out);
  free(wanted);
  return code;
}

static bool is_npz(const char *path) {
  size_t n = strlen(path);
  return n > 4 && strcmp(path + n - 4, ".npz") == 0;
}

static int run(void *record, char **args, int n_args) {
  run_record *r = record;
  infold_model *model;
  infold_session *session = NULL;
  (void)n_args;
  if (r->output && r->output_dir) return cli_usage("run: --output and --output-dir exclude each other");
  if (r->output && !is_npz(r->output)) return cli_usage("run: --output takes a file name that ends in .npz");
  int code = cli_load(&model, args[0], &r->model);
  if (code) return code;
  code = cli_create_session(&session, model, args[0], &r->session, &r->model, r->profile || r->trace);
  if (!code) code = run_session(r, session, args[0]);
  infold_destroy_session(session);
  infold_destroy_model(model);
  return code;
}

const command cmd_run = {.name = "run",
                         .arguments = "MODEL",
                         .summary = "runs a model and prints or writes its outputs",
                         .min_args = 1,
                         .max_args = 1,
                         .options = options,
                         .record_size = sizeof(run_record),
                         .run = run};
