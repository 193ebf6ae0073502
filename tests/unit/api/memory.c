/* Allocation failure is a status: every allocation on the way from a file to an output fails once, alone and
 * with all that follow; nothing crashes, nothing is lost, and what succeeds in spite of it is right. The
 * linker puts the functions below in the place of the C library's (see tests/CMakeLists.txt). */
#include "infold/infold.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

/* ---- the allocator ---- */

static atomic_long n_calls, fail_at, n_live;
static atomic_bool fail_later_too;

static bool refuses(void) {
  long n = atomic_fetch_add(&n_calls, 1) + 1, at = atomic_load(&fail_at);
  return at && (n == at || (n > at && atomic_load(&fail_later_too)));
}

static void *counted(void *p) {
  if (p) atomic_fetch_add(&n_live, 1);
  return p;
}

#define REAL(type, name, ...)                                                                                \
  type __real_##name(__VA_ARGS__);                                                                           \
  type __wrap_##name(__VA_ARGS__);
REAL(void *, malloc, size_t)
REAL(void *, calloc, size_t, size_t)
REAL(void *, realloc, void *, size_t)
REAL(void *, aligned_alloc, size_t, size_t)
REAL(int, posix_memalign, void **, size_t, size_t)
REAL(char *, strdup, const char *)
REAL(void, free, void *)

void *__wrap_malloc(size_t n) { return refuses() ? NULL : counted(__real_malloc(n)); }
void *__wrap_calloc(size_t n, size_t size) { return refuses() ? NULL : counted(__real_calloc(n, size)); }
void *__wrap_aligned_alloc(size_t a, size_t n) {
  return refuses() ? NULL : counted(__real_aligned_alloc(a, n));
}
char *__wrap_strdup(const char *s) { return refuses() ? NULL : counted(__real_strdup(s)); }
void *__wrap_realloc(void *p, size_t n) {
  if (refuses()) return NULL;
  return p ? __real_realloc(p, n) : counted(__real_realloc(p, n));
}
int __wrap_posix_memalign(void **p, size_t a, size_t n) {
  int failed = refuses() ? 12 : __real_posix_memalign(p, a, n);
  if (!failed) counted(*p);
  return failed;
}
void __wrap_free(void *p) {
  if (p) atomic_fetch_sub(&n_live, 1);
  __real_free(p);
}

/* ---- the way from a file to an output ---- */

typedef struct way {
  infold_model *model, *small;
  infold_report *report;
  infold_session *session;
  infold_value *inputs[4], *outputs[8];
  infold_diagnosis *diagnosis;
  char *texts[4];
  infold_error err;
} way;

typedef infold_status walk(way *w, const char *folder);

static infold_status load(way *w, const char *folder) {
  char path[256];
  snprintf(path, sizeof path, "%s/model.onnx", folder);
  return infold_load_model(&w->err, &w->model, path, NULL);
}

static infold_status run(way *w, const char *folder) {
  infold_session_options options = {.threads = 2};
  infold_status s = load(w, folder);
  if (!s) s = infold_optimize_model(&w->err, &w->small, &w->report, w->model, NULL);
  if (!s) s = infold_create_session(&w->err, &w->session, w->small, &options);
  for (int i = 0; !s && i < infold_get_n_inputs(w->session); i++)
    if (!infold_input_has_default(w->session, i))
      s = infold_make_value(&w->err, &w->inputs[i], w->session, i, "random", 1, 2, 2);
  if (!s) s = infold_run(&w->err, w->outputs, w->session, (const infold_value *const *)w->inputs, NULL);
  return s;
}

/* What there is to say of a model and of its BatchNormalization. */
static infold_status examine(way *w, const char *folder) {
  infold_status s = load(w, folder);
  if (!s) s = infold_diagnose_model(&w->err, &w->diagnosis, w->model);
  if (!s) s = infold_format_diagnosis(&w->err, &w->texts[0], w->diagnosis, "table", 80);
  if (!s) s = infold_format_diagnosis(&w->err, &w->texts[1], w->diagnosis, "json", 0);
  if (!s) s = infold_format_diagnosis(&w->err, &w->texts[2], w->diagnosis, "sarif", 0);
  if (!s) s = infold_inspect_model(&w->err, &w->texts[3], w->model, "json", 0);
  return s;
}

static infold_status measure(way *w, const char *folder) {
  char data[256];
  snprintf(data, sizeof data, "%s/inputs.npz", folder);
  infold_recalibrate_options options = {.data = data, .batch = 1, .threads = 1, .format = "json"};
  infold_status s = load(w, folder);
  if (!s) s = infold_recalibrate_model(&w->err, &w->small, &w->texts[0], w->model, &options);
  return s;
}

static infold_status measure_by_batches(way *w, const char *folder) {
  char data[256];
  snprintf(data, sizeof data, "%s/inputs.npz", folder);
  infold_recalibrate_options options = {
      .data = data, .batch = 1, .threads = 1, .estimate = INFOLD_AVERAGE, .width = 80};
  infold_status s = load(w, folder);
  if (!s) s = infold_recalibrate_model(&w->err, &w->small, &w->texts[0], w->model, &options);
  return s;
}

static infold_status repair(way *w, const char *folder) {
  infold_optimize_options options = {.bn_inference = 1};
  infold_status s = load(w, folder);
  if (!s) s = infold_optimize_model(&w->err, &w->small, &w->report, w->model, &options);
  if (!s) s = infold_format_report(&w->err, &w->texts[0], w->report, "markdown", 0);
  return s;
}

static void end(way *w) {
  for (int i = 0; i < 4; i++) infold_free(w->texts[i]);
  infold_destroy_diagnosis(w->diagnosis);
  for (int i = 0; i < 4; i++) infold_destroy_value(w->inputs[i]);
  for (int i = 0; i < 8; i++) infold_destroy_value(w->outputs[i]);
  infold_destroy_session(w->session);
  infold_destroy_report(w->report);
  infold_destroy_model(w->small);
  infold_destroy_model(w->model);
}

/* Of texts, those that hold no times, and no dimensions (which out of memory become unknown). */
static void same_outputs(const way *a, const way *b) {
  for (int i = 0; i < 3; i++)
    if (a->texts[i] && !a->report) assert_string_equal(a->texts[i], b->texts[i]);
  for (int i = 0; a->session && i < infold_get_n_outputs(a->session); i++) {
    const infold_value *x = a->outputs[i], *y = b->outputs[i];
    assert_int_equal(infold_get_kind(x), INFOLD_TENSOR);
    assert_int_equal(infold_get_rank(x), infold_get_rank(y));
    size_t n = 4; /* the models give float and int64 */
    for (int k = 0; k < infold_get_rank(x); k++) n *= (size_t)infold_get_dims(x)[k];
    assert_memory_equal(infold_get_data(x), infold_get_data(y), n);
  }
}

/* Fails allocation n of the way; whether there was one. */
static bool fail_one(walk *go, const char *path, long n, bool later_too, const way *right) {
  way w = {0};
  long live = atomic_load(&n_live);
  atomic_store(&fail_later_too, later_too);
  atomic_store(&n_calls, 0);
  atomic_store(&fail_at, n);
  infold_status s = go(&w, path);
  bool reached = atomic_load(&n_calls) >= n;
  atomic_store(&fail_at, 0);
  if (s && s != INFOLD_NO_MEMORY) fail_msg("%s, allocation %ld: status %d: %s", path, n, s, w.err.message);
  if (s && !*w.err.message) fail_msg("%s, allocation %ld: no message", path, n);
  if (!s) same_outputs(&w, right);
  end(&w);
  if (atomic_load(&n_live) > live) /* fewer: texts that the C library made are freed here */
    fail_msg("%s, allocation %ld: %ld blocks are lost", path, n, atomic_load(&n_live) - live);
  return reached;
}

static void every_allocation_fails(void **state) {
  static const struct {
    walk *go;
    const char *folder;
  } ways[] = {{run, "models/mobile_net"},          {run, "models/control_flow"},
              {run, "models/local_functions"},     {examine, "models/bn_training"},
              {examine, "models/local_functions"}, {measure, "models/local_functions"},
              {measure, "models/bn_training"},     {measure_by_batches, "models/bn_opset9"},
              {repair, "models/bn_training"}};
  (void)state;
  for (size_t m = 0; m < sizeof ways / sizeof *ways; m++) {
    way right = {0};
    if (ways[m].go(&right, ways[m].folder)) fail_msg("%s", right.err.message);
    for (int later = 0; later < 2; later++) {
      long n = 1;
      while (fail_one(ways[m].go, ways[m].folder, n, later, &right)) n += n < 400 ? 1 : 1 + n / 100;
      assert_true(n > 100);
    }
    end(&right);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(every_allocation_fails)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
