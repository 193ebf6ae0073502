/* infold help: the commands, or the options of one. */
#include "cli.h"

static int run(void *record, char **args, int n_args) {
  (void)record;
  const command *c = n_args ? cli_find_command(args[0]) : NULL;
  if (n_args && !c) return cli_usage("there is no command '%s'; 'infold help' lists them", args[0]);
  cli_print_help(c);
  return 0;
}

const command cmd_help = {
    .name = "help", .arguments = "[COMMAND]", .summary = "explains a command", .max_args = 1, .run = run};
