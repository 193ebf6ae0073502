/* The first law over random models: the output bits of a row depend on nothing but the row. Each model runs
 * on a drawn batch, and again with more threads, on every other instruction set, and on some of its rows
 * alone; every bit must be the same.
 *
 * usage: law.bits [CASES [FIRST]]      (6000 from 1; INFOLD_LAW_PRINT=1 prints each model)
 * A failure prints the model and how to run it again. Exit status: 1 when any failed. */
#include "draw.h"
#include "infold/infold.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_ROWS = 9, REF_WORK = 300000 };

typedef struct trial {
  draw d;
  infold_model *model;
  int64_t rows;
  float *x;
  size_t row_elements;
  infold_value *expected;
  const char *cpus[3]; /* those of this machine, the best first */
  int n_cpus;
  infold_error err;
} trial;

static size_t bytes_of(const infold_value *v) {
  size_t n = sizeof(float); /* all outputs are float */
  for (int i = 0; i < infold_get_rank(v); i++) n *= (size_t)infold_get_dims(v)[i];
  return n;
}

/* Uniform, of several magnitudes, some of them zeros or subnormal. */
static float number(draw *d) {
  float u = (float)draw_int(d, -1000000, 1000000) * 1e-6f;
  int64_t kind = draw_int(d, 0, 49);
  return kind == 0 ? 0.0f : kind == 1 ? -0.0f : kind == 2 ? u * 1e-39f : kind < 6 ? u * 20 : u * 2;
}

static int open_session(trial *t, infold_session **out, int threads, const char *cpu) {
  infold_session_options options = {.threads = threads, .cpu = cpu};
  return infold_create_session(&t->err, out, t->model, &options);
}

/* Rows [from, from + n) of x. */
static int run(trial *t, const infold_session *s, infold_value **out, int64_t from, int64_t n) {
  int64_t dims[1 + DRAW_RANK] = {n};
  infold_value *x;
  memcpy(dims + 1, t->d.x_dim, sizeof t->d.x_dim);
  if (infold_borrow_tensor(&t->err, &x, 1, dims, 1 + t->d.x_rank, t->x + (size_t)from * t->row_elements))
    return 1;
  const infold_value *ins[] = {x};
  int failed = infold_run(&t->err, out, s, ins, NULL);
  infold_destroy_value(x);
  return failed;
}

/* Whether the value is rows [from, from + n) of what is expected. */
static int differs(trial *t, const infold_value *v, int64_t from, int64_t n) {
  size_t all = bytes_of(t->expected), row = all / (size_t)t->rows, at = 0;
  const char *a = (const char *)infold_get_data(t->expected) + (size_t)from * row, *b = infold_get_data(v);
  if (bytes_of(v) != row * (size_t)n) {
    snprintf(t->err.message, sizeof t->err.message, "%zu bytes, not %zu", bytes_of(v), row * (size_t)n);
    return 1;
  }
  for (; at < row * (size_t)n; at += sizeof(float)) {
    float p, q;
    memcpy(&p, a + at, sizeof p);
    memcpy(&q, b + at, sizeof q);
    if (memcmp(&p, &q, sizeof p) == 0 || (p != p && q != q)) continue; /* NaN is NaN, whatever its sign */
    snprintf(t->err.message, sizeof t->err.message, "element %zu: %.9g, not %.9g", at / 4, (double)q,
             (double)p);
    return 1;
  }
  return 0;
}

/* A session of its own and these rows in it. */
static int try_session(trial *t, int threads, const char *cpu, char *how, size_t how_len) {
  infold_session *s;
  infold_value *v = NULL;
  snprintf(how, how_len, "all %lld rows with %d threads on %s", (long long)t->rows, threads, cpu);
  int failed = open_session(t, &s, threads, cpu) || run(t, s, &v, 0, t->rows) || differs(t, v, 0, t->rows);
  infold_destroy_value(v);
  infold_destroy_session(s);
  return failed;
}

static int try_rows(trial *t, const infold_session *s, int64_t n, char *how, size_t how_len) {
  infold_value *v = NULL;
  int64_t from = draw_int(&t->d, 0, t->rows - n);
  snprintf(how, how_len, "%lld of %lld rows, from row %lld", (long long)n, (long long)t->rows,
           (long long)from);
  int failed = run(t, s, &v, from, n) || differs(t, v, from, n);
  infold_destroy_value(v);
  return failed;
}

static int try_all(trial *t, char *how, size_t how_len) {
  infold_session *s = NULL;
  snprintf(how, how_len, "first run");
  int failed = open_session(t, &s, 1, t->cpus[0]) || run(t, s, &t->expected, 0, t->rows);
  if (!failed) failed = try_rows(t, s, 1, how, how_len);
  if (!failed && t->rows > 2) failed = try_rows(t, s, draw_int(&t->d, 2, t->rows - 1), how, how_len);
  infold_destroy_session(s);
  if (!failed) failed = try_session(t, (int)draw_int(&t->d, 2, 4), t->cpus[0], how, how_len);
  for (int i = 1; i < t->n_cpus && !failed; i++) {
    if (strcmp(t->cpus[i], "ref") == 0 && t->d.work * (double)t->rows > REF_WORK) continue;
    failed = try_session(t, draw_chance(&t->d, 70) ? 1 : 3, t->cpus[i], how, how_len);
  }
  return failed;
}

static int try_case(uint64_t seed, const char *const *cpus, int n_cpus) {
  static trial t;
  char how[96] = "parsing";
  t = (trial){.n_cpus = n_cpus, .row_elements = 1};
  memcpy(t.cpus, cpus, sizeof t.cpus);
  draw_model(&t.d, seed);
  if (getenv("INFOLD_LAW_PRINT")) printf("# %llu\n%s", (unsigned long long)seed, t.d.text);
  t.rows = draw_int(&t.d, 1, t.d.work > 1e6 ? 3 : MOST_ROWS);
  for (int i = 0; i < t.d.x_rank; i++) t.row_elements *= (size_t)t.d.x_dim[i];
  t.x = malloc((size_t)t.rows * t.row_elements * sizeof *t.x);
  for (size_t i = 0; i < (size_t)t.rows * t.row_elements; i++) t.x[i] = number(&t.d);
  int failed = infold_parse_model(&t.err, &t.model, t.d.text, strlen(t.d.text));
  if (!failed) failed = try_all(&t, how, sizeof how);
  if (failed)
    printf("%s: %s: %s\nagain: law.bits 1 %llu\n%s\n", t.d.family, how, t.err.message,
           (unsigned long long)seed, t.d.text);
  infold_destroy_value(t.expected);
  infold_destroy_model(t.model);
  free(t.x);
  return failed;
}

/* The instruction sets that this machine has and INFOLD_CPU allows, the best first. */
static int find_cpus(const char **cpus) {
  static const char *const all[] = {"avx512", "avx2", "ref"};
  const char *most = getenv("INFOLD_CPU");
  int first = 0, n = 0;
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (!__builtin_cpu_supports("avx512bw")) first = __builtin_cpu_supports("fma") ? 1 : 2;
#else
  first = 2;
#endif
  for (int i = first; i < 3; i++)
    if (n || !most || !*most || strcmp(all[i], most) == 0) cpus[n++] = all[i];
  return n;
}

int main(int argc, char **argv) {
  const char *cpus[3] = {0};
  long n = argc > 1 ? atol(argv[1]) : 6000, n_failed = 0;
  uint64_t first = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
  int n_cpus = find_cpus(cpus);
  for (long i = 0; i < n; i++) n_failed += try_case(first + (uint64_t)i, cpus, n_cpus) != 0;
  printf("%ld models, %ld failed\n", n, n_failed);
  return n_failed != 0;
}
