/* infold: optimizes, runs and inspects ONNX models. */
#include "cli.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* In the order of help. */
// clang-format off
#define COMMANDS(X) \
  X(optimize) X(extract) X(edit) \
  X(run) X(inspect) X(doctor) X(recalibrate) X(verify) \
  X(bench) X(ops) X(passes) \
  X(help) X(version)
// clang-format on

#define X(name) extern const command cmd_##name;
COMMANDS(X)
#undef X

#define X(name) &cmd_##name,
const command *const cli_commands[] = {COMMANDS(X) NULL};
#undef X

const command *cli_find_command(const char *name) {
  for (int i = 0; cli_commands[i]; i++)
    if (strcmp(cli_commands[i]->name, name) == 0) return cli_commands[i];
  return NULL;
}

static int run_command(const command *c, int argc, char **argv) {
  void *record = calloc(1, c->record_size ? c->record_size : 1);
  char **args = calloc((size_t)argc + 1, sizeof *args);
  int n_args = 0;
  int code = EXIT_LIMIT;
  if (!record || !args)
    cli_say("out of memory");
  else {
    code = cli_parse(c, argc, argv, record, args, &n_args);
    if (!code) code = c->run(record, args, n_args);
    cli_free_record(c, record);
  }
  free(record);
  free(args);
  return code;
}

/* The words that other programs understand, too. */
static const char *spelled(const char *word) {
  if (strcmp(word, "--version") == 0 || strcmp(word, "-V") == 0) return "version";
  if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) return "help";
  return word;
}

int main(int argc, char **argv) {
  if (argc < 2) {
    cli_print_help(NULL);
    return cli_close_output(EXIT_USAGE);
  }
  const command *c = cli_find_command(spelled(argv[1]));
  if (!c) return cli_usage("there is no command '%s'; 'infold help' lists them", argv[1]);
  for (int i = 2; i < argc && strcmp(argv[i], "--") != 0; i++)
    if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
      cli_print_help(c);
      return cli_close_output(0);
    }
  return cli_close_output(run_command(c, argc - 2, argv + 2));
}
