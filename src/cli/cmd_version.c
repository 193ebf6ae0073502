/* infold version. */
#include "cli.h"

#include <stdio.h>

static int run(void *record, char **args, int n_args) {
  (void)record;
  (void)args;
  (void)n_args;
  printf("infold %s\n", infold_version());
  return 0;
}

const command cmd_version = {.name = "version", .arguments = "", .summary = "prints the version", .run = run};
