/* infold ops: what infold knows of operators. */
#include "cli.h"

static int run(void *record, char **args, int n_args) {
  infold_error err;
  char *text;
  (void)record;
  if (infold_describe_operators(&err, &text, n_args ? args[0] : NULL, cli_width()))
    return cli_fail(&err, NULL);
  cli_print(text);
  infold_free(text);
  return 0;
}

const command cmd_ops = {.name = "ops",
                         .arguments = "[NAME]",
                         .summary = "lists the operators that infold runs, or explains one",
                         .max_args = 1,
                         .run = run};
