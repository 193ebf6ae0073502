/* The command: what its files share. Nothing here knows more of infold than its public header.
 *
 * A command is one file cmd_NAME.c that defines a `command`: a table of options, each with the place in the
 * command's record that it fills, and a function that does the work and returns the exit code. Records are
 * zeroed, so options that are not given are 0 or NULL. What fails prints one line on standard error and
 * leaves no file behind. */
#ifndef INFOLD_CLI_H
#define INFOLD_CLI_H

#include "infold/infold.h"

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

/* Several texts, borrowed from the command line; v[n] is NULL. v is NULL when there are none. */
typedef struct texts {
  const char **v;
  int n;
} texts;

/* What an option's target is. */
typedef enum option_kind {
  OPTION_FLAG,   /* int: 1 when given */
  OPTION_TEXT,   /* const char *: the last one given */
  OPTION_TEXTS,  /* texts: one more each time */
  OPTION_NAMES,  /* texts: separated by commas, more each time */
  OPTION_NUMBER, /* long, within [min, max] */
  OPTION_COUNT,  /* long: one more than the number given, so that 0 is none given */
  OPTION_REAL,   /* double >= 0 */
  OPTION_BYTES   /* size_t: a number with K, M or G */
} option_kind;

typedef struct option {
  const char *name;     /* "--threads"; NULL ends a table */
  const char *letter;   /* "-o", or NULL */
  const char *argument; /* as help shows it: "N"; NULL for flags */
  const char *help;
  option_kind kind;
  size_t target; /* offset in the record */
  long min, max; /* of numbers */
} option;

typedef struct command {
  const char *name;
  const char *arguments; /* as help shows them: "MODEL" */
  const char *summary;
  int min_args, max_args;
  const option *options;
  size_t record_size;
  int (*run)(void *record, char **args, int n_args);
} command;

/* All commands in the order of help; ended by NULL. */
extern const command *const cli_commands[];
const command *cli_find_command(const char *name);

enum { EXIT_FINDINGS = 1, EXIT_USAGE = 2, EXIT_FILE = 3, EXIT_LIMIT = 5 };

/* ---- options.c ---- */

/* Fills the record from argv (after the command's name); args gets the others, n of them. 0, or the exit code
 * of a usage error that was printed. */
int cli_parse(const command *c, int argc, char **argv, void *record, char **args, int *n_args);
/* Cuts NAME=VALUE at the last '=': the name may hold others. False where the name is missing. The value lies
 * behind it; the caller frees the name in any case. */
bool cli_split(const char *text, char **name, char **value);
/* Frees what lists in the record hold. */
void cli_free_record(const command *c, void *record);
void cli_print_help(const command *c);

/* ---- terminal.c ---- */

/* Columns of the terminal on standard output; elsewhere those that COLUMNS says, or 0: as wide as it
 * takes. */
int cli_width(void);
/* Text to standard output; control bytes other than newlines are shown as '?'. On a terminal the title row of
 * a table is bold, unless NO_COLOR is set. */
void cli_print(const char *text);
/* One line on standard error, "infold: …", cleaned of control bytes and at most 8 KiB. */
void cli_say(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The same for wrong usage; its exit code. */
int cli_usage(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Prints the error, after the file's name unless it begins with that, and gives its exit code. */
int cli_fail(const infold_error *err, const char *file);
/* What a call of the library ended with: prints and frees its text, unless that is NULL, then its error,
 * unless the status is OK; the exit code. */
int cli_give(infold_status status, const infold_error *err, char **text, const char *file);
/* What is being done, shown on standard error when it is a terminal and more than a second passes. */
void cli_begin(const char *what, const char *file);
/* What of it is being done now. */
void cli_show(const char *text);
void cli_end(void);
/* Reports what could not be written to standard output; the exit code. */
int cli_close_output(int exit_code);
/* Writes a file whole or not at all; what is no regular file is written to as it is. 0, or the exit code of
 * an error that was printed. */
int cli_write_file(const char *path, const char *text);
/* Takes such a file back. */
void cli_remove_file(const char *path);

/* ---- model.c: what commands on models share ---- */

typedef struct model_options {
  texts shapes; /* NAME=1,3,224,224 */
  size_t max_memory;
  int allow_links;
} model_options;
// clang-format off
#define MODEL_OPTIONS(record) \
  {"--shape", NULL, "NAME=1,3,224,224", "fix the shape of an input; may be repeated", \
   OPTION_TEXTS, offsetof(record, model.shapes)}, \
  {"--max-memory", NULL, "BYTES", "most memory to hold (K, M, G; default: 2G and some times the weights and inputs)", \
   OPTION_BYTES, offsetof(record, model.max_memory)}, \
  {"--allow-links", NULL, NULL, "external data may be behind symbolic or hard links", \
   OPTION_FLAG, offsetof(record, model.allow_links)}
// clang-format on

/* Loads and fixes shapes. Exit codes here and below; a failure was printed. */
int cli_load(infold_model **out, const char *path, const model_options *options);

/* Writes a model; external_data may be NULL. */
int cli_save(const infold_model *model, const char *path, const char *external_data);

typedef struct input_options {
  const char *inputs; /* folder or .npz */
  texts input;        /* NAME=FILE|random|zeros */
  long seed;
} input_options;
// clang-format off
#define INPUT_OPTIONS(record) \
  {"--inputs", NULL, "DIR|FILE.npz", "inputs: a folder of input_0.pb …, or arrays by name", \
   OPTION_TEXT, offsetof(record, input.inputs)}, \
  {"--input", NULL, "NAME=FILE", "one input: a .npy, .pb or .npz file, 'random' or 'zeros'; may be repeated", \
   OPTION_TEXTS, offsetof(record, input.input)}, \
  {"--seed", NULL, "N", "of random inputs", \
   OPTION_NUMBER, offsetof(record, input.seed), 0, LONG_MAX}
// clang-format on

/* One value for each input, NULL where none was given; free them with cli_free_values. */
int cli_read_inputs(infold_value ***out, const infold_session *session, const char *path,
                    const input_options *options);
/* Inputs that have no value and no default become random ones: free dimensions are 1
 * where they are the batch, else 64. */
int cli_fill_inputs(infold_value **values, const infold_session *session, const char *path, long seed);
void cli_free_values(infold_value **values, int n);

typedef struct session_flags {
  long threads;
  int no_optimize;
  const char *backend;
  int float64;
  int exact_conv;
  long max_steps;
} session_flags;
// clang-format off
#define SESSION_OPTIONS(record) \
  {"--threads", NULL, "N", "threads to use (default: all that this process may)", \
   OPTION_NUMBER, offsetof(record, session.threads), 1, 4096}, \
  {"--no-optimize", NULL, NULL, "run the graph as it is", \
   OPTION_FLAG, offsetof(record, session.no_optimize)}, \
  {"--backend", NULL, "auto|ref", "ref: every node by its reference kernel", \
   OPTION_TEXT, offsetof(record, session.backend)}, \
  {"--float64", NULL, NULL, "run a float32 model in double, by reference kernels", \
   OPTION_FLAG, offsetof(record, session.float64)}, \
  {"--exact-conv", NULL, NULL, "no convolution by Winograd's algorithm or a fast Fourier transform", \
   OPTION_FLAG, offsetof(record, session.exact_conv)}, \
  {"--max-steps", NULL, "N", "most loop trips of a run", \
   OPTION_NUMBER, offsetof(record, session.max_steps), 1, LONG_MAX}
// clang-format on

int cli_create_session(infold_session **out, const infold_model *model, const char *path,
                       const session_flags *flags, const model_options *options, bool profile);

#endif
