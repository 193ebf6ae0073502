/* infold edit: other names, outputs and batch sizes. */
#include "cli.h"

#include <stdlib.h>

typedef struct edit_record {
  model_options model;
  const char *output, *external_data, *batch;
  texts renames, added, removed;
} edit_record;

static const option options[] = {
    {"--output", "-o", "OUT.onnx", "where the edited model goes", OPTION_TEXT, offsetof(edit_record, output)},
    {"--add-output", NULL, "VALUE", "make a value an output; may be repeated", OPTION_TEXTS,
     offsetof(edit_record, added)},
    {"--remove-output", NULL, "NAME", "remove an output and what only it needs; may be repeated",
     OPTION_TEXTS, offsetof(edit_record, removed)},
    {"--rename", NULL, "OLD=NEW", "rename an input, output or other value; may be repeated", OPTION_TEXTS,
     offsetof(edit_record, renames)},
    {"--batch", NULL, "N|NAME", "another first dimension of the inputs; a name makes it free", OPTION_TEXT,
     offsetof(edit_record, batch)},
    {"--external-data", NULL, "FILE", "put the weights into this file beside OUT.onnx", OPTION_TEXT,
     offsetof(edit_record, external_data)},
    MODEL_OPTIONS(edit_record),
    {0}};

static int change_outputs(const edit_record *r, infold_model *model, const char *path) {
  infold_error err;
  for (int i = 0; i < r->added.n; i++)
    if (infold_add_output(&err, model, r->added.v[i])) return cli_fail(&err, path);
  for (int i = 0; i < r->removed.n; i++)
    if (infold_remove_output(&err, model, r->removed.v[i])) return cli_fail(&err, path);
  return 0;
}

static int change_name(infold_model *model, const char *path, const char *text) {
  infold_error err;
  char *old, *new_name;
  int code = 0;
  if (!cli_split(text, &old, &new_name) || !*new_name)
    code = cli_usage("edit: --rename takes OLD=NEW, not '%s'", text);
  else if (infold_rename_value(&err, model, old, new_name))
    code = cli_fail(&err, path);
  free(old);
  return code;
}

static int change_batch(const edit_record *r, infold_model *model, const char *path) {
  infold_error err;
  char *notes;
  return cli_give(infold_set_batch(&err, &notes, model, r->batch), &err, &notes, path);
}

static int run(void *record, char **args, int n_args) {
  edit_record *r = record;
  infold_model *model;
  (void)n_args;
  if (!r->output) return cli_usage("edit: needs -o OUT.onnx");
  int code = cli_load(&model, args[0], &r->model);
  if (!code) code = change_outputs(r, model, args[0]);
  for (int i = 0; i < r->renames.n && !code; i++) code = change_name(model, args[0], r->renames.v[i]);
  if (!code && r->batch) code = change_batch(r, model, args[0]);
  if (!code) code = cli_save(model, r->output, r->external_data);
  infold_destroy_model(model);
  return code;
}

const command cmd_edit = {.name = "edit",
                          .arguments = "IN.onnx",
                          .summary = "renames values, adds and removes outputs, changes the batch",
                          .min_args = 1,
                          .max_args = 1,
                          .options = options,
                          .record_size = sizeof(edit_record),
                          .run = run};
