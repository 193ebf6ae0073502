/* infold passes: what infold knows of passes. */
#include "cli.h"

static int run(void *record, char **args, int n_args) {
  infold_error err;
  char *text;
  (void)record;
  infold_status status = infold_describe_passes(&err, &text, n_args ? args[0] : NULL, cli_width());
  return cli_give(status, &err, &text, NULL);
}

const command cmd_passes = {.name = "passes",
                            .arguments = "[NAME]",
                            .summary = "lists the passes of the optimizer, or explains one",
                            .max_args = 1,
                            .run = run};
