#include "cli.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_RANK = 12 };
/* Free dimensions of made inputs: the batch, and others, which inspect counts by too. */
enum { BATCH = 1, SIZE = 64 };

/* ---- loading ---- */

static bool parse_dims(char *text, int64_t *dims, int *rank) {
  *rank = 0;
  while (*text) {
    char *end;
    errno = 0;
    if (*rank == MAX_RANK || *text < '0' || *text > '9') return false;
    dims[(*rank)++] = strtoll(text, &end, 10);
    if (errno || (*end && *end != ',') || (*end == ',' && !end[1])) return false;
    text = *end ? end + 1 : end;
  }
  return true;
}

static int set_shape(infold_model *model, const char *path, const char *shape) {
  int64_t dims[MAX_RANK];
  int rank, code = 0;
  char *name, *value;
  infold_error err;
  if (!cli_split(shape, &name, &value) || !parse_dims(value, dims, &rank))
    code = cli_usage("--shape takes NAME=1,3,224,224 with whole numbers, not '%s'", shape);
  else if (infold_set_input_shape(&err, model, name, dims, rank))
    code = cli_fail(&err, path);
  free(name);
  return code;
}

int cli_load(infold_model **out, const char *path, const model_options *options) {
  infold_error err;
  int code = 0;
  infold_load_options load = {.allow_links = options->allow_links, .max_memory = options->max_memory};
  cli_begin("loading", path);
  if (infold_load_model(&err, out, path, &load)) code = cli_fail(&err, path);
  for (int i = 0; !code && i < options->shapes.n; i++) code = set_shape(*out, path, options->shapes.v[i]);
  cli_end();
  if (code) {
    infold_destroy_model(*out);
    *out = NULL;
  }
  return code;
}

int cli_save(const infold_model *model, const char *path, const char *external_data) {
  infold_error err;
  cli_begin("writing", path);
  infold_status status = infold_save_model(&err, model, path, external_data);
  cli_end();
  return status ? cli_fail(&err, path) : 0;
}

int cli_create_session(infold_session **out, const infold_model *model, const char *path,
                       const session_flags *flags, const model_options *options, bool profile) {
  infold_error err;
  bool reference = flags->backend && strcmp(flags->backend, "ref") == 0;
  *out = NULL;
  if (flags->backend && !reference && strcmp(flags->backend, "auto") != 0)
    return cli_usage("--backend is 'auto' or 'ref', not '%s'", flags->backend);
  infold_session_options session = {.threads = (int)flags->threads,
                                    .reference = reference || flags->float64,
                                    .float64 = flags->float64,
                                    .no_optimize = flags->no_optimize,
                                    .exact_conv = flags->exact_conv,
                                    .max_memory = options->max_memory,
                                    .max_steps = flags->max_steps,
                                    .profile = profile};
  cli_begin("preparing", path);
  infold_status status = infold_create_session(&err, out, model, &session);
  cli_end();
  return status ? cli_fail(&err, path) : 0;
}

/* ---- inputs ---- */

/* The input whose name stands before a '=' at the start of the text; the longest one when several do. */
static int find_input(const infold_session *session, const char *text, const char **value) {
  int found = -1;
  size_t longest = 0;
  for (int i = 0; i < infold_get_n_inputs(session); i++) {
    const char *name = infold_get_input_name(session, i);
    size_t n = strlen(name);
    if (n < longest || strncmp(text, name, n) != 0 || text[n] != '=') continue;
    found = i;
    longest = n;
    *value = text + n + 1;
  }
  return found;
}

static int read_input(infold_value **values, const infold_session *session, const char *path,
                      const char *text, long seed) {
  const char *value = NULL;
  infold_error err;
  int i = find_input(session, text, &value);
  if (i < 0)
    return cli_usage(
        "%s: --input takes NAME=FILE, NAME=random or NAME=zeros, and no input of the model is named "
        "in '%s'",
        path, text);
  infold_destroy_value(values[i]);
  values[i] = NULL;
  bool made = strcmp(value, "random") == 0 || strcmp(value, "zeros") == 0;
  infold_status status =
      made ? infold_make_value(&err, &values[i], session, i, value, (uint64_t)seed + (uint64_t)i, BATCH, SIZE)
           : infold_read_value(&err, &values[i], value, session, i);
  return status ? cli_fail(&err, made ? path : value) : 0;
}

int cli_read_inputs(infold_value ***out, const infold_session *session, const char *path,
                    const input_options *options) {
  infold_error err;
  int n = infold_get_n_inputs(session), code = 0;
  infold_value **values = calloc((size_t)n + 1, sizeof *values);
  *out = values;
  if (!values) {
    cli_say("out of memory");
    return EXIT_LIMIT;
  }
  if (options->inputs && infold_read_inputs(&err, values, session, options->inputs))
    code = cli_fail(&err, options->inputs);
  for (int i = 0; !code && i < options->input.n; i++)
    code = read_input(values, session, path, options->input.v[i], options->seed);
  return code;
}

int cli_fill_inputs(infold_value **values, const infold_session *session, const char *path, long seed) {
  infold_error err;
  for (int i = 0; i < infold_get_n_inputs(session); i++)
    if (!values[i] && !infold_input_has_default(session, i) &&
        infold_make_value(&err, &values[i], session, i, "random", (uint64_t)seed + (uint64_t)i, BATCH, SIZE))
      return cli_fail(&err, path);
  return 0;
}

void cli_free_values(infold_value **values, int n) {
  for (int i = 0; values && i < n; i++) infold_destroy_value(values[i]);
  free(values);
}
