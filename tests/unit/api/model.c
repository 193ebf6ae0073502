/* Models from outside: reading, writing, fixing dimensions, editing, asking; and what each refuses. */
#include "infold/infold.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

static const char net[] = "<ir_version: 8, opset_import: [\"\" : 17]>\n"
                          "net (float[batch_size,4] a, float[batch,4] b, float[] any)\n"
                          "  => (float[batch_size,2] y, float u)\n"
                          "<float[4,2] w = random 1>\n"
                          "{ h = MatMul(a, w)\n r = Relu(h)\n s = ReduceSum<keepdims = 0>(b)\n"
                          "  y = Add(r, s)\n u = ReduceSum<keepdims = 0>(any) }\n";

static infold_model *parse(const char *text) {
  infold_error err;
  infold_model *model;
  if (infold_parse_model(&err, &model, text, strlen(text))) fail_msg("%s", err.message);
  return model;
}

/* An error of this status whose message has these words. */
static void expect(infold_status status, const infold_error *err, infold_status wanted, const char *words) {
  if (status != wanted || err->status != wanted || !strstr(err->message, words))
    fail_msg("status %d, '%s', not %d, '%s'", status, err->message, wanted, words);
}

/* The names and types of a model's inputs and outputs: "a float[N,4] … > y float[N,2]". */
static void expect_interface(const infold_model *model, const char *wanted) {
  char got[1000] = "";
  infold_error err;
  infold_session *s;
  if (infold_create_session(&err, &s, model, NULL)) fail_msg("%s", err.message);
  for (int i = 0; i < infold_get_n_inputs(s); i++) {
    strcat(strcat(got, infold_get_input_name(s, i)), " ");
    strcat(strcat(got, infold_get_input_type(s, i)), " ");
  }
  strcat(got, ">");
  for (int i = 0; i < infold_get_n_outputs(s); i++) {
    strcat(strcat(strcat(got, " "), infold_get_output_name(s, i)), " ");
    strcat(got, infold_get_output_type(s, i));
  }
  assert_string_equal(got, wanted);
  infold_destroy_session(s);
}

static void statuses_have_exit_codes(void **state) {
  (void)state;
  static const int codes[] = {0, 1, 2, 2, 3, 3, 3, 4, 5, 5};
  for (int i = INFOLD_OK; i <= INFOLD_NO_MEMORY; i++)
    assert_int_equal(infold_exit_code((infold_status)i), codes[i]);
  assert_true(infold_version()[0]);
}

/* ---- reading and writing ---- */

static void what_is_saved_is_loaded(void **state) {
  (void)state;
  char path[] = "/tmp/infold-model-XXXXXX";
  void *bytes;
  size_t len;
  infold_error err;
  infold_model *model = parse(net), *again;
  assert_int_equal(infold_save_model_to_memory(&err, &bytes, &len, model), INFOLD_OK);
  assert_int_equal(infold_load_model_from_memory(&err, &again, bytes, len, NULL, NULL), INFOLD_OK);
  expect_interface(again,
                   "a float[batch_size,4] b float[batch,4] any float[] > y float[batch_size,2] u float[]");
  infold_destroy_model(again);
  close(mkstemp(path));
  assert_int_equal(infold_save_model(&err, model, path, NULL), INFOLD_OK);
  assert_int_equal(infold_load_model(&err, &again, path, NULL), INFOLD_OK);
  infold_destroy_model(again);
  unlink(path);
  expect(infold_load_model(&err, &again, path, NULL), &err, INFOLD_IO, path);
  assert_null(again);
  expect(infold_save_model(&err, model, "/no/such/folder/model.onnx", NULL), &err, INFOLD_IO,
         "/no/such/folder");
  infold_destroy_model(model);
  infold_free(bytes);
}

static void what_is_no_model_is_refused(void **state) {
  (void)state;
  static const struct {
    const char *text, *words;
    infold_status status;
  } cases[] = {
      {"", "empty", INFOLD_BAD_FILE},
      {"net (float x => (float y) { y = Neg(x) }", "", INFOLD_BAD_FILE},
      {"<ir_version: 8, opset_import: [\"\" : 17]>\ng (float x) => (float y) { y = Neg(z) }",
       "z is read but not defined", INFOLD_BAD_FILE},
      {"<ir_version: 8, opset_import: [\"\" : 17]>\ng (float x) => (int64 y) { y = Neg(x) }",
       "output 'y' is declared as int64, but the graph gives float", INFOLD_BAD_MODEL},
  };
  infold_error err;
  infold_model *model;
  for (size_t i = 1; i < sizeof cases / sizeof *cases; i++) {
    infold_status status = infold_parse_model(&err, &model, cases[i].text, strlen(cases[i].text));
    expect(status, &err, cases[i].status, cases[i].words);
    assert_null(model);
  }
  expect(infold_load_model_from_memory(&err, &model, "", 0, NULL, NULL), &err, INFOLD_BAD_FILE, "empty");
  assert_int_equal(infold_load_model_from_memory(NULL, &model, "", 0, NULL, NULL), INFOLD_BAD_FILE);
  assert_null(model);
}

static void memory_is_limited(void **state) {
  (void)state;
  const infold_load_options little = {.max_memory = 1000};
  infold_error err;
  infold_model *model;
  expect(infold_load_model(&err, &model, "models/digits.onnx", &little), &err, INFOLD_NO_MEMORY,
         "its limit of 1000 bytes");
  assert_null(model);
}

/* ---- dimensions ---- */

static void dimensions_become_numbers(void **state) {
  (void)state;
  infold_error err;
  infold_model *model = parse(net);
  assert_int_equal(infold_fix_dim(&err, model, "batch", 3), INFOLD_OK);
  expect_interface(model, "a float[batch_size,4] b float[3,4] any float[] > y float[batch_size,2] u float[]");
  assert_int_equal(infold_fix_dim(&err, model, NULL, 2), INFOLD_OK);
  assert_int_equal(infold_set_input_shape(&err, model, "any", (int64_t[]){5, 1}, 2), INFOLD_OK);
  expect_interface(model, "a float[2,4] b float[3,4] any float[5,1] > y float[2,2] u float");
  infold_destroy_model(model);
}

static void dimensions_that_do_not_fit(void **state) {
  (void)state;
  infold_error err;
  infold_model *model = parse(net);
  const int64_t dims[20] = {2, 5, -1};
  expect(infold_fix_dim(&err, model, "N", 3), &err, INFOLD_USAGE,
         "no input has a free dimension 'N'; there are 'batch_size', 'batch'");
  expect(infold_fix_dim(&err, model, "batch", -1), &err, INFOLD_USAGE, "at least 0");
  expect(infold_set_input_shape(&err, model, "h", dims, 2), &err, INFOLD_USAGE, "no input 'h'");
  expect(infold_set_input_shape(&err, model, "a", dims, 1), &err, INFOLD_USAGE, "has rank 2");
  expect(infold_set_input_shape(&err, model, "a", dims, 2), &err, INFOLD_USAGE, "dimension 1 is 4");
  expect(infold_set_input_shape(&err, model, "any", dims, 3), &err, INFOLD_USAGE, "dimension 2 is -1");
  expect(infold_set_input_shape(&err, model, "any", dims, -1), &err, INFOLD_USAGE, "rank -1");
  expect(infold_set_input_shape(&err, model, "any", dims, 20), &err, INFOLD_USAGE, "rank 20");
  expect_interface(model,
                   "a float[batch_size,4] b float[batch,4] any float[] > y float[batch_size,2] u float[]");
  infold_destroy_model(model);
}

/* ---- edits ---- */

static void edits_change_the_interface(void **state) {
  (void)state;
  char *notes;
  infold_error err;
  infold_model *model = parse(net);
  assert_int_equal(infold_extract_model(&err, model, NULL, (const char *[]){"r", NULL}), INFOLD_OK);
  expect_interface(model, "a float[batch_size,4] > r float[batch_size,2]");
  assert_int_equal(infold_add_output(&err, model, "h"), INFOLD_OK);
  assert_int_equal(infold_rename_value(&err, model, "h", "hidden"), INFOLD_OK);
  assert_int_equal(infold_set_batch(&err, &notes, model, "8"), INFOLD_OK);
  assert_string_equal(notes, "");
  infold_free(notes);
  expect_interface(model, "a float[8,4] > r float[8,2] hidden float[8,2]");
  assert_int_equal(infold_remove_output(&err, model, "r"), INFOLD_OK);
  expect(infold_remove_output(&err, model, "hidden"), &err, INFOLD_USAGE, "only output");
  assert_int_equal(infold_set_batch(&err, NULL, model, "N"), INFOLD_OK);
  expect_interface(model, "a float[N,4] > hidden float[N,2]");
  assert_int_equal(infold_extract_model(&err, model, (const char *[]){"a", NULL}, NULL), INFOLD_OK);
  infold_destroy_model(model);
}

static const char *const none[] = {"z", NULL}, *const output[] = {"u", NULL};
static infold_status extract(infold_error *err, infold_model *m, const char *inputs, const char *outputs) {
  return infold_extract_model(err, m, inputs ? none : NULL, outputs ? none : output);
}
static infold_status set_batch(infold_error *err, infold_model *m, const char *batch, const char *unused) {
  (void)unused;
  return infold_set_batch(err, NULL, m, batch);
}
static infold_status add(infold_error *err, infold_model *m, const char *name, const char *unused) {
  (void)unused;
  return infold_add_output(err, m, name);
}
static infold_status remove_one(infold_error *err, infold_model *m, const char *name, const char *unused) {
  (void)unused;
  return infold_remove_output(err, m, name);
}

/* Each on a model of its own: what failed may have begun. */
static void edits_that_cannot_be(void **state) {
  (void)state;
  static const struct {
    infold_status (*edit)(infold_error *err, infold_model *model, const char *a, const char *b);
    const char *a, *b, *words;
  } cases[] = {
      {extract, NULL, "z", "no value 'z'"},
      {extract, "z", NULL, "no value 'z'"},
      {infold_rename_value, "z", "x", "no value 'z'"},
      {infold_rename_value, "h", "r", "there is such a value"},
      {infold_rename_value, "h", "", "is empty"},
      {add, "z", NULL, "no value 'z'"},
      {add, "y", NULL, "already"},
      {remove_one, "h", NULL, "no output"},
      {set_batch, "0", NULL, "not '0'"},
      {set_batch, "", NULL, "not ''"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    infold_error err;
    infold_model *model = parse(net);
    expect(cases[i].edit(&err, model, cases[i].a, cases[i].b), &err, INFOLD_USAGE, cases[i].words);
    infold_destroy_model(model);
  }
}

/* ---- asking ---- */

/* A text that a function gave, which must have these words. */
static void expect_text(infold_status status, const infold_error *err, char **text, const char *words) {
  if (status) fail_msg("%s", err->message);
  if (!strstr(*text, words)) fail_msg("'%s' is not in: %s", words, *text);
  infold_free(*text);
}

static void models_are_inspected(void **state) {
  (void)state;
  static const struct {
    const char *what, *words;
  } views[] = {{"summary", "MatMul"},  {"nodes", "Relu"},     {"weights", "w"},  {"norms", "Normalization"},
               {"text", "ir_version"}, {"json", "\"nodes\""}, {"dot", "digraph"}};
  char *text;
  infold_error err;
  infold_model *model = parse(net);
  for (size_t i = 0; i < sizeof views / sizeof *views; i++)
    expect_text(infold_inspect_model(&err, &text, model, views[i].what, 80), &err, &text, views[i].words);
  expect(infold_inspect_model(&err, &text, model, "picture", 0), &err, INFOLD_USAGE, "not 'picture'");
  assert_null(text);
  infold_destroy_model(model);
}

static void operators_and_passes_are_described(void **state) {
  (void)state;
  char *text;
  infold_error err;
  expect_text(infold_describe_operators(&err, &text, NULL, 0), &err, &text, "Conv");
  expect_text(infold_describe_operators(&err, &text, NULL, -1), &err, &text, "|");
  expect_text(infold_describe_operators(&err, &text, "Conv", 0), &err, &text, "auto_pad");
  expect(infold_describe_operators(&err, &text, "Convolve", 0), &err, INFOLD_USAGE, "Convolve");
  assert_null(text);
  expect_text(infold_describe_passes(&err, &text, NULL, 0), &err, &text, "fuse_bn");
  expect_text(infold_describe_passes(&err, &text, "fuse_bn", 0), &err, &text, "BatchNormalization");
  expect(infold_describe_passes(&err, &text, "fuse", 0), &err, INFOLD_USAGE, "'fuse'");
  assert_null(text);
}

static void reports_say_what_happened(void **state) {
  (void)state;
  char *text;
  infold_error err;
  infold_report *report;
  infold_model *model, *better;
  if (infold_load_model(&err, &model, "models/bn_edges/model.onnx", NULL)) fail_msg("%s", err.message);
  assert_int_equal(infold_optimize_model(&err, &better, &report, model, NULL), INFOLD_OK);
  expect_text(infold_format_report(&err, &text, report, "table", 0), &err, &text, "rewrites in");
  expect_text(infold_format_report(&err, &text, report, "markdown", 0), &err, &text, "| Conv");
  expect_text(infold_format_report(&err, &text, report, "json", 0), &err, &text, "\"rewrites\"");
  expect(infold_format_report(&err, &text, report, "xml", 0), &err, INFOLD_USAGE, "not 'xml'");
  assert_null(text);
  expect_text(infold_explain_node(&err, &text, report, "read_twice.bn"), &err, &text, "read by others");
  expect_text(infold_explain_report(&err, &text, report), &err, &text, "new:");
  expect(infold_explain_node(&err, &text, report, "none"), &err, INFOLD_USAGE, "no node 'none'");
  assert_null(text);
  assert_int_equal(infold_verify_report(&err, report, NULL), INFOLD_OK);
  expect_text(infold_format_report(&err, &text, report, "table", 0), &err, &text, "verified by 2 runs");
  infold_destroy_report(report);
  infold_destroy_model(better);
  infold_destroy_model(model);
}

/* Each is written as seen from its own folder, wherever the one before was. */
static void certificates_are_written_and_checked(void **state) {
  (void)state;
  static const char original[] = "models/bn_edges/model.onnx";
  static const char *const names[] = {"/c.json", ".json"}; /* in the folder and beside it */
  char folder[] = "/tmp/infold-certificate-XXXXXX", path[100], optimized[100], *text;
  const infold_verify_options measured = {.inputs = "models/bn_edges/inputs.npz", .measure = 1};
  infold_error err;
  infold_report *report;
  infold_model *model, *better;
  assert_non_null(mkdtemp(folder));
  snprintf(optimized, sizeof optimized, "%s/out.onnx", folder);
  if (infold_load_model(&err, &model, original, NULL)) fail_msg("%s", err.message);
  assert_int_equal(infold_optimize_model(&err, &better, &report, model, NULL), INFOLD_OK);
  assert_int_equal(infold_save_model(&err, better, optimized, NULL), INFOLD_OK);
  infold_status unmeasured = infold_write_certificate(&err, report, "/tmp/none.json", original, optimized);
  expect(unmeasured, &err, INFOLD_USAGE, "not measured");
  assert_int_equal(infold_verify_report(&err, report, &measured), INFOLD_OK);
  for (int i = 0; i < 2; i++) {
    snprintf(path, sizeof path, "%s%s", folder, names[i]);
    assert_int_equal(infold_write_certificate(&err, report, path, original, optimized), INFOLD_OK);
    infold_status status = infold_verify_certificate(&err, &text, path, NULL, NULL, NULL);
    expect_text(status, &err, &text, "came out again");
    status = infold_verify_certificate(&err, &text, path, original, original, NULL);
    expect(status, &err, INFOLD_DIFFERS, "is another file");
    assert_null(text);
    unlink(path);
  }
  expect(infold_verify_certificate(&err, &text, path, NULL, NULL, NULL), &err, INFOLD_IO, "No such file");
  unlink(optimized);
  rmdir(folder);
  infold_destroy_report(report);
  infold_destroy_model(better);
  infold_destroy_model(model);
}

static void models_are_compared(void **state) {
  (void)state;
  char *text;
  infold_error err;
  infold_model *a = parse("<ir_version: 8, opset_import: [\"\" : 17]>\n"
                          "g (float[N,2] x) => (float[N,2] y) { y = Neg(x) }"),
               *b = parse("<ir_version: 8, opset_import: [\"\" : 17]>\n"
                          "g (float[N,2] x) => (float[N,2] y) { y = Abs(x) }");
  expect_text(infold_verify_models(&err, &text, a, a, NULL), &err, &text, "2 runs of each");
  infold_status status = infold_verify_models(&err, &text, a, b, NULL);
  expect(status, &err, INFOLD_DIFFERS, "output 'y");
  assert_non_null(text);
  infold_free(text);
  assert_int_equal(infold_verify_models(&err, NULL, a, b, NULL), INFOLD_DIFFERS);
  expect_text(infold_verify_bits(&err, &text, a, NULL), &err, &text, "same bits");
  infold_destroy_model(a);
  infold_destroy_model(b);
}

static void layers_are_examined(void **state) {
  (void)state;
  char *text;
  infold_error err;
  infold_model *model;
  infold_diagnosis *d;
  if (infold_load_model(&err, &model, "models/bn_training/model.onnx", NULL)) fail_msg("%s", err.message);
  assert_int_equal(infold_diagnose_model(&err, &d, model), INFOLD_OK);
  assert_int_equal(infold_count_findings(d, INFOLD_ERROR), 1);
  assert_int_equal(infold_count_findings(d, INFOLD_WARNING), 1);
  assert_int_equal(infold_count_findings(d, INFOLD_NOTE), 0);
  expect_text(infold_format_diagnosis(&err, &text, d, "table", 80), &err, &text, "[training-mode]");
  expect(infold_format_diagnosis(&err, &text, d, "xml", 0), &err, INFOLD_USAGE, "not 'xml'");
  infold_destroy_diagnosis(d);
  infold_destroy_model(model);
}

static void runs_are_profiled(void **state) {
  (void)state;
  const infold_session_options profiled = {.threads = 1, .profile = 1}, plain = {.threads = 1};
  char *text;
  infold_error err;
  infold_session *s;
  infold_value *in, *out;
  infold_model *model;
  if (infold_load_model(&err, &model, "models/digits.onnx", NULL)) fail_msg("%s", err.message);
  assert_int_equal(infold_create_session(&err, &s, model, &plain), INFOLD_OK);
  expect(infold_format_profile(&err, &text, s, "table", 0), &err, INFOLD_USAGE, "without profiling");
  infold_destroy_session(s);
  assert_int_equal(infold_create_session(&err, &s, model, &profiled), INFOLD_OK);
  assert_int_equal(infold_make_value(&err, &in, s, 0, "random", 7, 2, 1), INFOLD_OK);
  assert_int_equal(infold_run(&err, &out, s, (const infold_value *const *)&in, NULL), INFOLD_OK);
  expect_text(infold_format_profile(&err, &text, s, "table", 0), &err, &text, "Conv");
  expect_text(infold_format_profile(&err, &text, s, "roofline", 0), &err, &text, "GMAC/s of float32");
  expect_text(infold_format_profile(&err, &text, s, "trace", 0), &err, &text, "traceEvents");
  expect(infold_format_profile(&err, &text, s, "xml", 0), &err, INFOLD_USAGE, "not 'xml'");
  assert_null(text);
  expect_text(infold_format_value(&err, &text, out), &err, &text, "float[2,10]  ");
  infold_destroy_value(in), infold_destroy_value(out);
  infold_destroy_session(s);
  infold_destroy_model(model);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(statuses_have_exit_codes),    cmocka_unit_test(what_is_saved_is_loaded),
      cmocka_unit_test(what_is_no_model_is_refused), cmocka_unit_test(memory_is_limited),
      cmocka_unit_test(dimensions_become_numbers),   cmocka_unit_test(dimensions_that_do_not_fit),
      cmocka_unit_test(edits_change_the_interface),  cmocka_unit_test(edits_that_cannot_be),
      cmocka_unit_test(models_are_inspected),        cmocka_unit_test(operators_and_passes_are_described),
      cmocka_unit_test(reports_say_what_happened),   cmocka_unit_test(certificates_are_written_and_checked),
      cmocka_unit_test(models_are_compared),         cmocka_unit_test(layers_are_examined),
      cmocka_unit_test(runs_are_profiled),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
