#include "cli.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const option *find(const command *c, const char *word, size_t len) {
  for (const option *o = c->options; o && o->name; o++)
    if ((strlen(o->name) == len && strncmp(o->name, word, len) == 0) ||
        (o->letter && strlen(o->letter) == len && strncmp(o->letter, word, len) == 0))
      return o;
  return NULL;
}

/* ---- values ---- */

static bool append(texts *list, const char *text) {
  const char **v = realloc(list->v, ((size_t)list->n + 2) * sizeof *v);
  if (!v) return false;
  v[list->n++] = text;
  v[list->n] = NULL;
  list->v = v;
  return true;
}

static bool append_names(texts *list, char *value) {
  for (char *save, *name = strtok_r(value, ",", &save); name; name = strtok_r(NULL, ",", &save))
    if (!append(list, name)) return false;
  return true;
}

static bool read_number(const option *o, const char *value, long *out) {
  char *end;
  errno = 0;
  *out = strtol(value, &end, 10);
  return !errno && end != value && !*end && *out >= o->min && *out <= o->max;
}

static bool read_real(const char *value, double *out) {
  char *end;
  *out = strtod(value, &end);
  return end != value && !*end && *out >= 0;
}

static bool read_bytes(const char *value, size_t *out) {
  static const char units[] = "KMGT";
  char *end;
  if (*value < '0' || *value > '9') return false;
  errno = 0;
  unsigned long long n = strtoull(value, &end, 10);
  if (errno) return false;
  const char *unit = *end ? strchr(units, *end & ~0x20) : NULL;
  if (*end && (!unit || end[1])) return false;
  int shift = unit ? 10 * (int)(unit - units + 1) : 0;
  if (n > SIZE_MAX >> shift) return false;
  *out = (size_t)n << shift;
  return true;
}

static int store(const command *c, const option *o, char *record, char *value) {
  void *to = record + o->target;
  bool fine = true;
  switch (o->kind) {
  case OPTION_FLAG: *(int *)to = 1; return 0;
  case OPTION_TEXT: *(const char **)to = value; return 0;
  case OPTION_TEXTS: fine = append(to, value); break;
  case OPTION_NAMES: fine = append_names(to, value); break;
  case OPTION_NUMBER:
  case OPTION_COUNT:
    if (read_number(o, value, to)) {
      *(long *)to += o->kind == OPTION_COUNT;
      return 0;
    }
    if (o->max >= LONG_MAX - 1)
      return cli_usage("%s: %s takes a whole number of at least %ld, not '%s'", c->name, o->name, o->min,
                       value);
    return cli_usage("%s: %s takes a whole number in [%ld, %ld], not '%s'", c->name, o->name, o->min, o->max,
                     value);
  case OPTION_REAL:
    if (read_real(value, to)) return 0;
    return cli_usage("%s: %s takes a number, not '%s'", c->name, o->name, value);
  case OPTION_BYTES:
    if (read_bytes(value, to)) return 0;
    return cli_usage("%s: %s takes a number of bytes such as 500M or 2G, not '%s'", c->name, o->name, value);
  }
  if (fine) return 0;
  cli_say("out of memory");
  return EXIT_LIMIT;
}

bool cli_split(const char *text, char **name, char **value) {
  *name = strdup(text);
  char *equals = *name ? strrchr(*name, '=') : NULL;
  if (!equals || equals == *name) return false;
  *equals = 0;
  *value = equals + 1;
  return true;
}

/* ---- words ---- */

static int read_option(const command *c, int argc, char **argv, int *i, char *record) {
  char *word = argv[*i], *equals = word[1] == '-' ? strchr(word, '=') : NULL;
  const option *o = find(c, word, equals ? (size_t)(equals - word) : strlen(word));
  if (!o) return cli_usage("%s: there is no option '%s'; see 'infold help %s'", c->name, word, c->name);
  if (o->kind == OPTION_FLAG) {
    if (equals) return cli_usage("%s: %s takes no value", c->name, o->name);
    return store(c, o, record, NULL);
  }
  if (equals) return store(c, o, record, equals + 1);
  if (*i + 1 >= argc) return cli_usage("%s: %s needs %s", c->name, o->name, o->argument);
  return store(c, o, record, argv[++*i]);
}

int cli_parse(const command *c, int argc, char **argv, void *record, char **args, int *n_args) {
  bool options = true;
  for (int i = 0; i < argc; i++) {
    if (options && strcmp(argv[i], "--") == 0)
      options = false;
    else if (options && argv[i][0] == '-' && argv[i][1]) {
      int code = read_option(c, argc, argv, &i, record);
      if (code) return code;
    } else
      args[(*n_args)++] = argv[i];
  }
  if (*n_args < c->min_args || *n_args > c->max_args)
    return cli_usage("%s takes %s; see 'infold help %s'", c->name,
                     *c->arguments ? c->arguments : "no argument", c->name);
  return 0;
}

void cli_free_record(const command *c, void *record) {
  for (const option *o = c->options; o && o->name; o++)
    if (o->kind == OPTION_TEXTS || o->kind == OPTION_NAMES) free(((texts *)((char *)record + o->target))->v);
}

/* ---- help ---- */

static void print_overview(void) {
  printf("infold optimizes, runs and inspects ONNX models on CPUs.\n\n");
  for (int i = 0; cli_commands[i]; i++)
    printf("  infold %-11s %-16s %s\n", cli_commands[i]->name, cli_commands[i]->arguments,
           cli_commands[i]->summary);
  printf("\n'infold help COMMAND' lists a command's options.\n"
         "Exit codes: 0 fine, 1 a check found a difference, 2 wrong usage, 3 bad file, 4 not supported, 5 a "
         "limit was reached.\n");
}

/* Of UTF-8: bytes that begin a character. */
static int columns(const char *text) {
  int n = 0;
  for (; *text; text++) n += (*text & 0xc0) != 0x80;
  return n;
}

void cli_print_help(const command *c) {
  if (!c) {
    print_overview();
    return;
  }
  printf("infold %s%s%s%s\n\n%s.\n", c->name, *c->arguments ? " " : "", c->arguments,
         c->options ? " [option]…" : "", c->summary);
  if (c->options) printf("\n");
  for (const option *o = c->options; o && o->name; o++) {
    char left[64];
    snprintf(left, sizeof left, "%s%s%s%s%s", o->letter ? o->letter : "", o->letter ? ", " : "", o->name,
             o->argument ? " " : "", o->argument ? o->argument : "");
    int missing = 28 - columns(left);
    printf("  %s%*s %s\n", left, missing > 0 ? missing : 0, "", o->help);
  }
}
