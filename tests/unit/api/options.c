/* Options that make no sense are refused, whatever the rest would do. */
#include "infold/infold.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static infold_model *parse(void) {
  static const char text[] = "<ir_version: 8, opset_import: [\"\" : 17]>\n"
                             "g (float[N,2] x) => (float[N,2] y) { z = Identity(x)\n y = Neg(z) }\n";
  infold_error err;
  infold_model *model;
  if (infold_parse_model(&err, &model, text, sizeof text - 1)) fail_msg("%s", err.message);
  return model;
}

static void of_sessions(void **state) {
  (void)state;
  static const infold_session_options wrong[] = {
      {.threads = -1}, {.threads = 4097}, {.cpu = "sse"}, {.max_steps = -1}};
  infold_error err;
  infold_session *session;
  infold_model *model = parse();
  for (int i = 0; i < 4; i++) {
    assert_int_equal(infold_create_session(&err, &session, model, &wrong[i]), INFOLD_USAGE);
    assert_null(session);
  }
  const infold_session_options fine = {.threads = 4096, .cpu = "ref", .max_steps = INT64_MAX};
  assert_int_equal(infold_create_session(&err, &session, model, &fine), INFOLD_OK);
  infold_destroy_session(session);
  infold_destroy_model(model);
}

static void of_the_environment(void **state) {
  (void)state;
  infold_error err;
  infold_session *session;
  infold_model *model = parse();
  char *before = getenv("INFOLD_CPU");
  before = before ? strdup(before) : NULL;
  setenv("INFOLD_CPU", "AVX2", 1);
  assert_int_equal(infold_create_session(&err, &session, model, NULL), INFOLD_USAGE);
  assert_string_equal(err.message, "INFOLD_CPU is 'ref', 'avx2' or 'avx512', not 'AVX2'");
  setenv("INFOLD_CPU", "", 1); /* as if it were not there */
  assert_int_equal(infold_create_session(&err, &session, model, NULL), INFOLD_OK);
  infold_destroy_session(session);
  if (before)
    setenv("INFOLD_CPU", before, 1);
  else
    unsetenv("INFOLD_CPU");
  free(before);
  infold_destroy_model(model);
}

static void of_pools(void **state) {
  (void)state;
  infold_error err;
  infold_pool *pool;
  assert_int_equal(infold_create_pool(&err, &pool, -1), INFOLD_USAGE);
  assert_null(pool);
}

static void of_optimizing(void **state) {
  (void)state;
  const infold_optimize_options wrong = {.has_max_rewrites = 1, .max_rewrites = -1};
  infold_error err;
  infold_model *model = parse(), *out;
  assert_int_equal(infold_optimize_model(&err, &out, NULL, model, &wrong), INFOLD_USAGE);
  assert_null(out);
  infold_destroy_model(model);
}

/* No batches are the usual ones: something is always compared. */
static void of_verifying(void **state) {
  (void)state;
  static const infold_verify_options wrong[] = {
      {.tolerance = -1}, {.tolerance = NAN}, {.max_seconds = -1}, {.n_batches = -1}, {.threads = -1}};
  infold_error err;
  char *text;
  infold_model *model = parse();
  for (int i = 0; i < 5; i++) {
    assert_int_equal(infold_verify_models(&err, &text, model, model, &wrong[i]), INFOLD_USAGE);
    assert_null(text);
  }
  const infold_verify_options none = {.batches = (int64_t[]){7}, .n_batches = 0};
  assert_int_equal(infold_verify_models(&err, &text, model, model, &none), INFOLD_OK);
  assert_non_null(strstr(text, "2 runs of each"));
  infold_free(text);
  infold_destroy_model(model);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(of_sessions), cmocka_unit_test(of_the_environment),
                                     cmocka_unit_test(of_pools), cmocka_unit_test(of_optimizing),
                                     cmocka_unit_test(of_verifying)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
