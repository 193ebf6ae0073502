/* Inputs and outputs in files, from outside: what is written is read again, and what does not fit is refused.
 */
#include "infold/infold.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

static char folder[] = "/tmp/infold-files-XXXXXX";

/* A path in the tests' folder; the last one stays until the next call. */
static const char *at(const char *name) {
  static char path[256];
  snprintf(path, sizeof path, "%s/%s", folder, name);
  return path;
}

static infold_session *open_text(const char *graph) {
  char text[1000];
  infold_error err;
  infold_model *model;
  infold_session *session;
  int n = snprintf(text, sizeof text, "<ir_version: 8, opset_import: [\"\" : 17]>\n%s", graph);
  if (infold_parse_model(&err, &model, text, (size_t)n)) fail_msg("%s", err.message);
  if (infold_create_session(&err, &session, model, NULL)) fail_msg("%s", err.message);
  infold_destroy_model(model);
  return session;
}

/* Writes the random inputs of a model under the names of its outputs. */
static void write_random(const char *graph, const char *path) {
  infold_error err;
  infold_session *session = open_text(graph);
  infold_value *in[4] = {0}, *out[4] = {0};
  int n_in = infold_get_n_inputs(session), n_out = infold_get_n_outputs(session);
  for (int i = 0; i < n_in; i++)
    if (infold_make_value(&err, &in[i], session, i, "random", 7, 2, 3)) fail_msg("%s", err.message);
  if (infold_run(&err, out, session, (const infold_value *const *)in, NULL)) fail_msg("%s", err.message);
  if (infold_write_outputs(&err, out, session, path)) fail_msg("%s", err.message);
  for (int i = 0; i < n_in; i++) infold_destroy_value(in[i]);
  for (int i = 0; i < n_out; i++) infold_destroy_value(out[i]);
  infold_destroy_session(session);
}

static const char pair[] = "g (float[N,3] a, int64[K] b) => (float[N,3] x, int64[K] y)\n"
                           "{ x = Identity(a)\n y = Identity(b) }\n";
static const char reads_pair[] = "g (float[N,3] x, int64[K] y) => (float[N,3] p, int64[K] q)\n"
                                 "{ p = Neg(x)\n q = Neg(y) }\n";

static void expect_pair(infold_value *const *v) {
  assert_int_equal(infold_get_dtype(v[0]), 1 /* FLOAT */);
  assert_int_equal(infold_get_rank(v[0]), 2);
  assert_int_equal(infold_get_dims(v[0])[0], 2);
  assert_int_equal(infold_get_dims(v[0])[1], 3);
  assert_int_equal(infold_get_dtype(v[1]), 7 /* INT64 */);
  assert_int_equal(infold_get_rank(v[1]), 1);
}

static void what_was_written_is_read(void **state) {
  (void)state;
  infold_error err;
  infold_session *session = open_text(reads_pair);
  infold_value *archive[2], *one;
  write_random(pair, at("pair.npz"));
  assert_int_equal(infold_read_inputs(&err, archive, session, at("pair.npz")), INFOLD_OK);
  expect_pair(archive);
  assert_int_equal(infold_read_value(&err, &one, at("pair.npz"), session, 0), INFOLD_OK);
  assert_memory_equal(infold_get_data(one), infold_get_data(archive[0]), 24);
  infold_destroy_value(one);
  write_random(pair, at("pair"));
  assert_int_equal(infold_read_value(&err, &one, at("pair/output_0.pb"), session, 0), INFOLD_OK);
  assert_memory_equal(infold_get_data(one), infold_get_data(archive[0]), 24);
  infold_destroy_value(one);
  for (int i = 0; i < 2; i++) infold_destroy_value(archive[i]);
  infold_destroy_session(session);
}

/* A folder's files are input_0.pb …, where outputs are output_0.pb …. */
static void folders_hold_inputs_in_order(void **state) {
  (void)state;
  char from[300], to[300];
  infold_error err;
  infold_session *session = open_text(reads_pair);
  infold_value *v[2];
  write_random(pair, at("folder"));
  assert_int_equal(infold_read_inputs(&err, v, session, at("folder")), INFOLD_BAD_INPUT);
  for (int i = 0; i < 2; i++) {
    snprintf(from, sizeof from, "%s/output_%d.pb", at("folder"), i);
    snprintf(to, sizeof to, "%s/input_%d.pb", at("folder"), i);
    assert_int_equal(rename(from, to), 0);
  }
  assert_int_equal(infold_read_inputs(&err, v, session, at("folder")), INFOLD_OK);
  expect_pair(v);
  for (int i = 0; i < 2; i++) infold_destroy_value(v[i]);
  infold_destroy_session(session);
}

/* Nothing comes back where one of several fails. */
static void what_does_not_fit_is_refused(void **state) {
  (void)state;
  static const struct {
    const char *graph, *file, *words;
    infold_status status;
  } cases[] = {
      {"g (float[N,3] x) => (float[N,3] z) { z = Neg(x) }", "pair.npz", "array 'y' has the name of no input",
       INFOLD_BAD_INPUT},
      {"g (float[N,3] x, optional(seq(int64[K])) y) => (bool h) { h = OptionalHasElement(y) }", "pair.npz",
       "array 'y': an archive cannot hold a value of this type", INFOLD_UNSUPPORTED},
      {"g (float[N,3] x) => (float[N,3] z) { z = Neg(x) }", "none.npz", "No such file", INFOLD_IO},
      {"g (float[N,3] x) => (float[N,3] z) { z = Neg(x) }", "pair/output_0.pb", "", INFOLD_BAD_FILE},
      /* no member of this name is the optional itself */
      {"g (optional(float[N,3]) x) => (bool has) { has = OptionalHasElement(x) }", "item.npz",
       "array 'x.0' has the name of no input", INFOLD_BAD_INPUT},
  };
  write_random(pair, at("pair.npz"));
  write_random(pair, at("pair"));
  write_random("g (float[2,3] a) => (seq(float[2,3]) x) { x = SequenceConstruct(a) }", at("item.npz"));
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    infold_error err;
    infold_value *v[2] = {(infold_value *)&err, (infold_value *)&err};
    infold_session *session = open_text(cases[i].graph);
    infold_status status = infold_read_inputs(&err, v, session, at(cases[i].file));
    if (status != cases[i].status || !strstr(err.message, cases[i].words))
      fail_msg("case %zu: %d: %s", i, status, err.message);
    for (int k = 0; k < infold_get_n_inputs(session); k++) assert_null(v[k]);
    infold_destroy_session(session);
  }
}

static void optionals_and_sequences_by_name(void **state) {
  (void)state;
  infold_error err;
  infold_value *v;
  infold_session *list = open_text("g (seq(float[2,3]) x) => (int64 n) { n = SequenceLength(x) }");
  infold_session *maybe = open_text("g (optional(float[N,3]) x) => (bool h) { h = OptionalHasElement(x) }");
  write_random("g (float[2,3] a) => (seq(float[2,3]) x) { x = SequenceConstruct(a, a) }", at("items.npz"));
  assert_int_equal(infold_read_inputs(&err, &v, list, at("items.npz")), INFOLD_OK);
  assert_int_equal(infold_get_kind(v), INFOLD_SEQUENCE);
  assert_int_equal(infold_get_count(v), 2);
  infold_destroy_value(v);
  write_random("g (float[N,3] a) => (float[N,3] x) { x = Identity(a) }", at("one.npz"));
  assert_int_equal(infold_read_inputs(&err, &v, maybe, at("one.npz")), INFOLD_OK);
  assert_int_equal(infold_get_kind(v), INFOLD_OPTIONAL);
  assert_int_equal(infold_get_count(v), 1);
  infold_destroy_value(v);
  infold_destroy_session(list);
  infold_destroy_session(maybe);
}

static void values_for_inputs_that_there_are_not(void **state) {
  (void)state;
  infold_error err;
  infold_value *v = (infold_value *)&err;
  infold_session *session = open_text(reads_pair);
  for (int i = -1; i < 4; i += 3) {
    assert_int_equal(infold_make_value(&err, &v, session, i, "zeros", 0, 1, 1), INFOLD_USAGE);
    assert_null(v);
    assert_int_equal(infold_read_value(&err, &v, at("pair.npz"), session, i), INFOLD_USAGE);
    assert_null(v);
  }
  assert_int_equal(infold_make_value(&err, &v, session, 0, "ones", 0, 1, 1), INFOLD_USAGE);
  assert_non_null(strstr(err.message, "'random' or 'zeros', not 'ones'"));
  assert_int_equal(infold_read_value(&err, &v, at("none.npy"), session, 0), INFOLD_IO);
  infold_destroy_session(session);
}

static void nothing_is_left_of_what_cannot_be_written(void **state) {
  (void)state;
  infold_error err;
  infold_value *in, *out;
  infold_session *session = open_text("g (float[2] a) => (float[2] x) { x = Neg(a) }");
  assert_int_equal(infold_make_value(&err, &in, session, 0, "random", 1, 1, 1), INFOLD_OK);
  assert_int_equal(infold_run(&err, &out, session, (const infold_value *const *)&in, NULL), INFOLD_OK);
  assert_int_equal(infold_write_outputs(&err, &out, session, at("no/such/folder")), INFOLD_IO);
  assert_int_equal(infold_write_outputs(&err, &out, session, at("no/such.npz")), INFOLD_IO);
  assert_int_not_equal(access(at("no"), F_OK), 0);
  infold_value *none = NULL;
  assert_int_equal(infold_write_outputs(&err, &none, session, at("empty.npz")), INFOLD_OK);
  infold_destroy_value(in), infold_destroy_value(out);
  infold_destroy_session(session);
}

static int make_folder(void **state) {
  (void)state;
  return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state) {
  char command[300];
  (void)state;
  snprintf(command, sizeof command, "rm -r '%s'", folder);
  return system(command);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(what_was_written_is_read),
      cmocka_unit_test(folders_hold_inputs_in_order),
      cmocka_unit_test(what_does_not_fit_is_refused),
      cmocka_unit_test(optionals_and_sequences_by_name),
      cmocka_unit_test(values_for_inputs_that_there_are_not),
      cmocka_unit_test(nothing_is_left_of_what_cannot_be_written),
  };
  return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
