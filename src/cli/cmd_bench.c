/* infold bench: how long a model takes. */
#include "cli.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct bench_record {
  model_options model;
  input_options input;
  session_flags session;
  long runs;
  int json, interactive;
} bench_record;

static const option options[] = {
    INPUT_OPTIONS(bench_record),
    {"--runs", NULL, "N", "runs to measure (default: as many as fit in a second, 5 to 1000)", OPTION_NUMBER,
     offsetof(bench_record, runs), 1, 1000000},
    {"--json", NULL, NULL, "print JSON", OPTION_FLAG, offsetof(bench_record, json)},
    {"--interactive", NULL, NULL, "read a number of runs per line, answer each with the runs' seconds",
     OPTION_FLAG, offsetof(bench_record, interactive)},
    SESSION_OPTIONS(bench_record),
    MODEL_OPTIONS(bench_record),
    {0}};

enum { FEWEST_RUNS = 5, MOST_RUNS = 1000 };

/* What is measured. */
typedef struct subject {
  const infold_session *session;
  infold_value **inputs, **outputs;
  const char *path;
  double prepared; /* seconds to load and prepare */
} subject;

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* One run; its seconds. */
static int run_once(const subject *s, double *seconds) {
  infold_error err;
  double start = now();
  infold_status status =
      infold_run(&err, s->outputs, s->session, (const infold_value *const *)s->inputs, NULL);
  *seconds = now() - start;
  for (int i = 0; i < infold_get_n_outputs(s->session); i++) {
    infold_destroy_value(s->outputs[i]);
    s->outputs[i] = NULL;
  }
  return status ? cli_fail(&err, s->path) : 0;
}

static void print_list(const double *seconds, int n) {
  putchar('[');
  for (int i = 0; i < n; i++) printf("%s%.9f", i ? ", " : "", seconds[i]);
  putchar(']');
}

/* A line with a number of runs in, a line with a JSON list out, so that a driver can interleave engines. */
static int interact(const subject *s) {
  char line[64];
  while (fgets(line, sizeof line, stdin)) {
    char *end;
    long n = strtol(line, &end, 10);
    if (end == line || n < 1 || n > 1000000) {
      line[strcspn(line, "\n")] = 0;
      return cli_usage("bench: --interactive reads numbers of runs, not '%s'", line);
    }
    double *seconds = calloc((size_t)n, sizeof *seconds);
    int code = seconds ? 0 : EXIT_LIMIT;
    for (long i = 0; !code && i < n; i++) code = run_once(s, &seconds[i]);
    if (!code) {
      print_list(seconds, (int)n);
      putchar('\n');
      fflush(stdout);
    }
    free(seconds);
    if (code) return code;
  }
  return 0;
}

static int compare_seconds(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static void report(const bench_record *r, const subject *s, const double *sorted, int n) {
  double median = n % 2 ? sorted[n / 2] : (sorted[n / 2 - 1] + sorted[n / 2]) / 2, sum = 0;
  infold_error err;
  size_t peak = 0;
  for (int i = 0; i < n; i++) sum += sorted[i];
  if (infold_get_peak_memory(&err, &peak, s->session, (const infold_value *const *)s->inputs)) peak = 0;
  if (!r->json) {
    printf("median %.3f ms, least %.3f ms, mean %.3f ms of %d runs; ready after %.1f ms", median * 1e3,
           sorted[0] * 1e3, sum / n * 1e3, n, s->prepared * 1e3);
    if (peak)
      printf("; a run holds %.3g %s", (double)peak / (peak < 1000000 ? 1e3 : 1e6),
             peak < 1000000 ? "kB" : "MB");
    printf("\n");
    return;
  }
  printf("{\"median\": %.9f, \"min\": %.9f, \"mean\": %.9f, \"prepare\": %.9f, \"peak_memory\": %zu, "
         "\"threads\": "
         "%ld, \"runs\": ",
         median, sorted[0], sum / n, s->prepared, peak, r->session.threads);
  print_list(sorted, n);
  printf("}\n");
}

static int measure(const bench_record *r, const subject *s) {
  double first;
  cli_begin("measuring", s->path);
  int code = run_once(s, &first); /* plans, packs and warms up */
  if (!code) code = run_once(s, &first);
  if (code) return code;
  double fit = first > 0 ? 1 / first : MOST_RUNS;
  int n = r->runs ? (int)r->runs : (int)fmin(MOST_RUNS, fmax(FEWEST_RUNS, fit));
  double *seconds = calloc((size_t)n, sizeof *seconds);
  if (!seconds) return EXIT_LIMIT;
  for (int i = 0; !code && i < n; i++) code = run_once(s, &seconds[i]);
  cli_end();
  if (!code) {
    qsort(seconds, (size_t)n, sizeof *seconds, compare_seconds);
    report(r, s, seconds, n);
  }
  free(seconds);
  return code;
}

static int bench(bench_record *r, const infold_session *session, const char *path, double prepared) {
  int n_in = infold_get_n_inputs(session), n_out = infold_get_n_outputs(session);
  subject s = {.session = session, .path = path, .prepared = prepared};
  s.outputs = calloc((size_t)n_out + 1, sizeof *s.outputs);
  int code = s.outputs ? cli_read_inputs(&s.inputs, session, path, &r->input) : EXIT_LIMIT;
  if (!code) code = cli_fill_inputs(s.inputs, session, path, r->input.seed);
  if (!code) code = r->interactive ? interact(&s) : measure(r, &s);
  cli_end();
  cli_free_values(s.inputs, n_in);
  free(s.outputs);
  return code;
}

static int run(void *record, char **args, int n_args) {
  bench_record *r = record;
  infold_model *model;
  infold_session *session = NULL;
  (void)n_args;
  double start = now();
  if (r->json && r->interactive) return cli_usage("bench: --json and --interactive exclude each other");
  int code = cli_load(&model, args[0], &r->model);
  if (code) return code;
  code = cli_create_session(&session, model, args[0], &r->session, &r->model, false);
  if (!code) code = bench(r, session, args[0], now() - start);
  infold_destroy_session(session);
  infold_destroy_model(model);
  return code;
}

const command cmd_bench = {.name = "bench",
                           .arguments = "MODEL",
                           .summary = "measures how long a run takes",
                           .min_args = 1,
                           .max_args = 1,
                           .options = options,
                           .record_size = sizeof(bench_record),
                           .run = run};
