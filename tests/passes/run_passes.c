/* Runs one file of pass tests (tests/passes/NAME.txt). A case, its lines in this order:
 *
 *   ### name of the case
 *   passes: fuse_bn,fold_constants        (what --only takes; default: the file's name)
 *   growth: no                            (the file may not grow; default: it may)
 *   meaning: changes                      (on request, results differ: they are not compared)
 *   running: yes                          (the model is for a session, not for a file)
 *   bodies: shown                         (after: has the nodes of graphs in a node behind it)
 *   before:
 *   <ir_version: 8, opset_import: ["" : 17]> g (float[N,3] x) => (y) { y = … }     (ir/text.h)
 *   after:
 *   y = Conv(x, W_1, bias)                (every node that is left, in order; then those of local functions)
 *   refuses: words of a reason            (instead of after: nothing changes; with it: one that is among the
 * reasons) warns: words of a warning
 *
 * Both graphs are also run in float64 on random inputs, free dimensions being small primes: what a pass makes
 * must compute the same. Exit status: the number of failed cases. */
#include "exec/run.h"
#include "ir/clone.h"
#include "ir/text.h"
#include "ir/verify.h"
#include "pass/inline.h"
#include "pass/pass.h"
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct test_case {
  char *name, *passes, *growth, *meaning, *running, *bodies, *before, *after, *refuses, *warns;
} test_case;

static ifd_error err;

/* ---- reading the file ---- */

static char *trimmed(char *s) {
  while (isspace((unsigned char)*s)) s++;
  for (char *end = s + strlen(s); end > s && isspace((unsigned char)end[-1]);) *--end = 0;
  return s;
}

static char *take_section(char *text, const char *key) {
  char *at = text;
  size_t len = strlen(key);
  while ((at = strstr(at, key)) && at != text && at[-1] != '\n') at += len;
  if (!at) return NULL;
  memset(at, 0, len); /* ends the section before */
  return at + len;
}

static void parse_case(char *text, const char *stem, test_case *c) {
  char *end = strchr(text, '\n');
  *c = (test_case){.name = text};
  if (end)
    *end++ = 0;
  else
    end = text + strlen(text);
  const struct {
    const char *key;
    char **at;
  } head[] = {{"passes:", &c->passes},   {"growth:", &c->growth}, {"meaning:", &c->meaning},
              {"running:", &c->running}, {"bodies:", &c->bodies}, {"before:", &c->before}};
  char *rest = end;
  for (size_t i = 0; i < sizeof head / sizeof *head; i++)
    if ((*head[i].at = take_section(rest, head[i].key))) rest = *head[i].at;
  char *after = take_section(rest, "after:"), *refuses = take_section(after ? after : rest, "refuses:");
  char *warns = take_section(refuses ? refuses : after ? after : rest, "warns:");
  c->after = after ? trimmed(after) : NULL;
  c->refuses = refuses ? trimmed(refuses) : NULL;
  c->warns = warns ? trimmed(warns) : NULL;
  c->passes = c->passes ? trimmed(c->passes) : (char *)stem;
}

/* ---- comparing text ---- */

static void print_lines(FILE *f, const ifd_graph *g, bool bodies);

static void print_bodies(FILE *f, const ifd_node *node) {
  for (int i = 0; i < node->n_attrs; i++) {
    ifd_graph *const *graphs;
    int n = ifd_attr_graphs(&node->attrs[i], &graphs);
    for (int k = 0; k < n; k++) print_lines(f, graphs[k], true);
  }
}

static void print_lines(FILE *f, const ifd_graph *g, bool bodies) {
  IFD_EACH_NODE(n, g) {
    for (int i = 0; i < n->n_outputs; i++)
      fprintf(f, "%s%s", i ? ", " : "", n->outputs[i] ? n->outputs[i]->name : "");
    fprintf(f, " = %s(", n->op_type);
    for (int i = 0; i < n->n_inputs; i++)
      fprintf(f, "%s%s", i ? ", " : "", n->inputs[i] ? n->inputs[i]->name : "");
    fprintf(f, ")\n");
    if (bodies) print_bodies(f, n);
  }
}

static char *node_lines(const ifd_model *m, bool bodies) {
  char *text;
  size_t len;
  FILE *f = open_memstream(&text, &len);
  print_lines(f, m->graph, bodies);
  for (int i = 0; i < m->functions.n; i++) print_lines(f, m->functions.v[i]->body, bodies);
  fclose(f);
  return text;
}

static bool same_lines(const char *a, const char *b) {
  for (;;) {
    while (isspace((unsigned char)*a)) a++;
    while (isspace((unsigned char)*b)) b++;
    if (!*a || !*b) return !*a && !*b;
    if (*a++ != *b++) return false;
  }
}

/* ---- running both ---- */

static ifd_status random_input(ifd_datum *out, const ifd_model *model, const ifd_value *v, ifd_arena *arena,
                               uint64_t *seed) {
  static const int64_t primes[] = {5, 7, 11, 13};
  ifd_shape shape = {.rank = v->type->rank};
  *out = (ifd_datum){.kind = IFD_KIND_TENSOR};
  for (int i = 0; i < shape.rank; i++) {
    const char *name = ifd_dim_name(model->dims, v->type->dims[i]);
    shape.dim[i] = ifd_dim_is_number(v->type->dims[i]) ? v->type->dims[i]
                                                       : primes[name ? (unsigned char)name[0] % 4 : 1];
  }
  ifd_dtype dtype = v->type->dtype == IFD_FLOAT ? IFD_DOUBLE : v->type->dtype;
  TRY(ifd_tensor_new(&err, &out->tensor, arena, dtype, &shape));
  for (int64_t i = 0, n = ifd_tensor_count(&out->tensor); i < n; i++) {
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    double x = (double)(*seed >> 33) / (1u << 30) - 1;
    ifd_tensor_set_f64(&out->tensor, i, ifd_dtype_is_float(dtype) ? x * 2 : floor((x + 1) * 2));
  }
  return IFD_OK;
}

static ifd_status run_model(ifd_datum *out, const ifd_model *model, ifd_arena *arena) {
  ifd_program *program;
  ifd_program_options options = {.isa = IFD_ISA_REF, .float64 = true, .reference = true};
  ifd_run_options run = {0};
  ifd_datum *in = ifd_new_array(arena, ifd_datum, model->graph->inputs.n + 1);
  uint64_t seed = 7;
  for (int i = 0; i < model->graph->inputs.n; i++) {
    const ifd_value *v = model->graph->inputs.v[i];
    if (ifd_value_constant(v))
      in[i] = (ifd_datum){.kind = IFD_KIND_TENSOR, .tensor = *ifd_value_constant(v)};
    else
      TRY(random_input(&in[i], model, v, arena, &seed));
  }
  TRY(ifd_program_create(&err, &program, model->graph, NULL, &options, NULL));
  ifd_status status = ifd_run(&err, program, &run, in, out);
  ifd_run_free_frames(program);
  ifd_program_destroy(program);
  return status;
}

static bool same_tensor(const ifd_tensor *a, const ifd_tensor *b) {
  if (a->dtype != b->dtype || !ifd_shape_equal(&a->shape, &b->shape)) return false;
  double scale = 1e-30, worst = 0,
         tolerance = a->dtype == IFD_FLOAT16 || a->dtype == IFD_BFLOAT16 ? 2e-2 : 2e-6;
  for (int64_t i = 0, n = ifd_tensor_count(a); i < n; i++) {
    double x = ifd_tensor_get_f64(a, i), y = ifd_tensor_get_f64(b, i);
    if (isnan(x) && isnan(y)) continue;
    scale = fmax(scale, fabs(x));
    worst = isnan(x - y) ? INFINITY : fmax(worst, fabs(x - y));
  }
  return worst <= tolerance * scale;
}

/* Weights are rounded to float32 once by a pass; sums are in double: 2e-6 of the largest value covers it. */
static bool same_results(ifd_model *a, ifd_model *b) {
  ifd_arena arena;
  ifd_datum x[16] = {0}, y[16] = {0};
  ifd_arena_init(&arena, NULL);
  int n = a->graph->outputs.n;
  bool same = n == b->graph->outputs.n && n <= 16;
  if (same && (ifd_inline_functions(&err, a) != IFD_OK || ifd_inline_functions(&err, b) != IFD_OK ||
               run_model(x, a, &arena) != IFD_OK || run_model(y, b, &arena) != IFD_OK)) {
    printf("  running failed: %s%s\n", err.where, err.text);
    same = false;
  }
  for (int i = 0; i < n && same; i++)
    if (x[i].kind == IFD_KIND_TENSOR && !same_tensor(&x[i].tensor, &y[i].tensor)) {
      printf("  output '%s' differs\n", a->graph->outputs.v[i]->name);
      same = false;
    }
  for (int i = 0; i < 16; i++) {
    ifd_datum_unref(&x[i]);
    ifd_datum_unref(&y[i]);
  }
  ifd_arena_free(&arena);
  return same;
}

/* ---- a case ---- */

static bool reason_found(const ifd_optimize_report *r, const char *words) {
  for (int i = 0; i < r->refusals.n; i++)
    if (strstr(r->refusals.v[i].reason, words)) return true;
  for (int i = 0; i < r->refusals.n; i++)
    printf("  %s at %s: %s\n", r->refusals.v[i].pass, r->refusals.v[i].node, r->refusals.v[i].reason);
  return false;
}

static bool warning_found(const ifd_optimize_report *r, const char *words) {
  for (int i = 0; i < r->warnings.n; i++)
    if (strstr(r->warnings.v[i], words)) return true;
  return false;
}

static bool judge(const test_case *c, ifd_model *before, ifd_model *after,
                  const ifd_optimize_report *report) {
  char *lines = node_lines(after, c->bodies), *old = node_lines(before, c->bodies);
  const char *want = c->after ? c->after : old;
  bool good = same_lines(lines, want);
  if (!good) printf("  expected:\n%s\n  got:\n%s", want, lines);
  if (c->refuses && !reason_found(report, c->refuses)) {
    printf("  nobody refused with '%s'\n", c->refuses);
    good = false;
  }
  if (c->warns && !warning_found(report, c->warns)) {
    printf("  nobody warned of '%s'\n", c->warns);
    good = false;
  }
  free(lines);
  free(old);
  return (c->meaning || same_results(before, after)) && good;
}

static ifd_status infer(ifd_model *m) {
  ifd_inference inf;
  TRY(ifd_inference_init(&inf, &err, &m->arena, m->dims, m->n_values));
  return ifd_infer_model(&inf, m);
}

static bool run_case(const test_case *c) {
  ifd_model *before = NULL, *after = NULL;
  const char *only[32] = {0};
  ifd_optimize_report report = {0};
  ifd_arena_init(&report.arena, NULL);
  ifd_error_clear(&err);
  char *passes = strdup(c->passes), *save = NULL;
  int n = 0;
  for (char *p = strtok_r(passes, ", ", &save); p && n < 31; p = strtok_r(NULL, ", ", &save)) only[n++] = p;
  ifd_optimize_options options = {.only = only,
                                  .max_rewrites = -1,
                                  .grow = !c->growth,
                                  .verify = true,
                                  .provenance = true,
                                  .for_running = c->running};
  bool good = c->before && ifd_text_parse(&err, &before, c->before, strlen(c->before), NULL) == IFD_OK &&
              ifd_verify_model(&err, before) == IFD_OK && infer(before) == IFD_OK &&
              ifd_model_clone(&err, &after, before, NULL) == IFD_OK &&
              ifd_optimize(&err, after, &options, &report) == IFD_OK;
  if (!good)
    printf("  %s%s\n", err.where, err.text);
  else
    good = judge(c, before, after, &report);
  if (after) ifd_model_destroy(after);
  if (before) ifd_model_destroy(before);
  ifd_arena_free(&report.arena);
  free(passes);
  return good;
}

static char *read_file(const char *path) {
  FILE *f = fopen(path, "rb");
  char *text = NULL;
  size_t len = 0;
  if (!f || getdelim(&text, &len, 0, f) < 0) {
    fprintf(stderr, "%s cannot be read\n", path);
    exit(2);
  }
  fclose(f);
  return text;
}

int main(int argc, char **argv) {
  if (argc < 2) return 2;
  char *text = read_file(argv[1]), stem[256];
  const char *slash = strrchr(argv[1], '/');
  snprintf(stem, sizeof stem, "%s", slash ? slash + 1 : argv[1]);
  *strrchr(stem, '.') = 0;
  int failed = 0, n = 0;
  for (char *at = strstr(text, "### "), *next; at; at = next) {
    test_case c;
    next = strstr(at + 4, "\n### ");
    if (next) *next++ = 0;
    parse_case(at + 4, stem, &c);
    bool good = run_case(&c);
    printf("%s %s\n", good ? "ok    " : "FAILED", c.name);
    failed += !good;
    n++;
  }
  printf("%s: %d cases, %d failed\n", stem, n, failed);
  free(text);
  return failed || !n;
}
