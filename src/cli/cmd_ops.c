/* infold ops: what infold knows of operators. */
#include "cli.h"

typedef struct ops_record {
  int markdown;
} ops_record;

static const option options[] = {{"--markdown", NULL, NULL, "the list as Markdown, with types", OPTION_FLAG,
                                  offsetof(ops_record, markdown)},
                                 {0}};

static int run(void *record, char **args, int n_args) {
  infold_error err;
  char *text;
  const ops_record *r = record;
  infold_status status =
      infold_describe_operators(&err, &text, n_args ? args[0] : NULL, r->markdown ? -1 : cli_width());
  return cli_give(status, &err, &text, NULL);
}

const command cmd_ops = {.name = "ops",
                         .arguments = "[NAME]",
                         .summary = "lists the operators that infold runs, or explains one",
                         .max_args = 1,
                         .options = options,
                         .record_size = sizeof(ops_record),
                         .run = run};
