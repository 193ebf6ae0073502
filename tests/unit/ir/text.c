#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "ir/equal.h"
#include "ir/text.h"

#define H "<ir_version: 10, opset_import: [\"\" : 21, \"com.acme\" : 1]>\n"

static ifd_model *parse(const char *text) {
  ifd_error err = {0};
  ifd_model *m = NULL;
  if (ifd_text_parse(&err, &m, text, strlen(text), NULL) != IFD_OK) fail_msg("%s: %s", err.where, err.text);
  return m;
}

static char *print(ifd_arena *arena, const ifd_model *m, const ifd_text_options *options) {
  ifd_error err = {0};
  char *text;
  assert_int_equal(ifd_text_print(&err, &text, arena, m, options), IFD_OK);
  return text;
}

static const char everything[] =
    "<ir_version: 10, opset_import: [\"\" : 21, \"com.acme\" : 1], producer_name: \"me \\\"q\\\" \\\\\",\n"
    " doc_string: \"two\nlines\", model_version: 3, metadata_props: [\"a\": \"b\"]>\n"
    "\"g 1\" (float[N, 3, \"H*2\", ?] x, float[] y, seq(float[?]) s, optional(seq(int64[2])) o,\n"
    "  map(string, float[N]) m, float d = {1.5}, sparse_tensor(float[3,4]) sp, opaque(a.b) q, undeclared)\n"
    " => (float[N,4] z, z2, x)\n"
    " <float[2,2] w = {1, -2.5, 1e-7, inf}, float16[3] h = {15360, 1.5, -0.1}, bool[2] b = {1,0},\n"
    "  string[2] st = {\"a\\\"b\", \"c\"}, int4[3] i4 = {-8, 7, 0}, uint64[1] u = {18446744073709551615},\n"
    "  int64[1] i = {-9223372036854775808}, complex64[1] c = {1, 2.5}, float8e4m3fn[2] f8 = {1, 255},\n"
    "  double dd = {0.1}, float[0] e = {}, float[1000] big = splat 0.5, float[2,2] rnd = random 7,\n"
    "  int8[4] ri = random 1, float[N,3] t1, float4e2m1[2] f4 = {1, 15}, float[4] nn = {nan, -nan, -inf, "
    "3e38},\n"
    "  string[3] many = splat \"x\\x00y\">\n"
    "{\n"
    "  # a comment\n"
    "  [n1] t1 = Relu <alpha = 1.0, beta: float = 2, g = 3, name = \"x\", l = [1,2], f = [1.0, 2.5],\n"
    "    ss = [\"a\",\"b\"], e: ints = [], value = float[2] foo {1,2}, v2 = float[3] = splat 1, tp = "
    "float[N],\n"
    "    tq: type_proto = seq(float[]), ts = [float {1}, int8[2] {1, 2}], sp: sparse_tensor = float[2] {0, "
    "3},\n"
    "    tps = [float[]]> (x)\n"
    "  [\"n 2\"] a, \"\", bb = com.acme.Op:ov (t1, , w, \"\")\n"
    "  z = If (b) <then_branch = tb () => (float[N] k) <float[1] c1 = {1}> { k = Add(c1, x) },\n"
    "    else_branch = \"e b\" () => (kk) { kk = Sub(x, d) }>\n"
    "  z2 = acme.f <a = 3> (t1)\n"
    "  gg = \"my domain\".\"my op\" <gs: graphs = [a () => () {}, b () => () {}]> ()\n"
    "  \"float\", \"nan\" = Split (x)\n"
    "   = Sink (\"float\")\n"
    "}\n"
    "<domain: \"acme\", opset_import: [\"\" : 18]>\n"
    "f <a, b: int = 3, c = [1.5, 2.0]> (float[N] x, y) => (z) <float[1] w>\n"
    "{ w = Foo <p: int = @a, r: ints = @c> (x, y)  z = Neg(w) }\n"
    "<domain: \"acme\", overload: \"v2\", opset_import: [\"\" : 18]>\n"
    "f (x) => (x) { }\n";

static void printing_and_parsing_agree(void **state) {
  (void)state;
  ifd_arena arena;
  ifd_arena_init(&arena, NULL);
  ifd_model *m = parse(everything);
  char *once = print(&arena, m, NULL);
  ifd_model *again = parse(once);
  assert_string_equal(once, print(&arena, again, NULL));
  assert_int_equal(m->graph->n_nodes, 7);
  assert_int_equal(again->functions.n, 2);
  ifd_text_options with_types = {.types = true};
  ifd_model *commented = parse(print(&arena, m, &with_types));
  assert_string_equal(once, print(&arena, commented, NULL));
  ifd_model_destroy(m);
  ifd_model_destroy(again);
  ifd_model_destroy(commented);
  ifd_arena_free(&arena);
}

static void what_is_read_is_what_is_written(void **state) {
  (void)state;
  ifd_model *m = parse(everything);
  ifd_graph *g = m->graph;
  const ifd_node *n1 = g->first, *n2 = n1->next, *branch = n2->next, *call = branch->next;
  assert_string_equal(g->name, "g 1");
  assert_string_equal(m->producer_name, "me \"q\" \\");
  assert_string_equal(m->doc, "two\nlines");
  assert_int_equal(ifd_model_opset(m, "com.acme"), 1);
  assert_string_equal(ifd_dim_name(m->dims, g->inputs.v[0]->type->dims[2]), "H*2");
  assert_false(g->inputs.v[1]->type->has_rank);
  assert_int_equal(g->inputs.v[6]->type->kind, IFD_KIND_SPARSE_TENSOR);
  assert_int_equal(g->inputs.v[8]->type->kind, IFD_KIND_UNKNOWN);
  assert_null(ifd_value_constant(g->inputs.v[5])); /* a default may be overridden */
  assert_int_equal(g->inputs.v[5]->constant->shape.rank, 0);
  assert_true(ifd_node_float(n1, "alpha", 0) == 1 && ifd_node_float(n1, "beta", 0) == 2);
  assert_int_equal(ifd_node_find_attr(n1, "e")->type, IFD_ATTR_INTS);
  assert_true(ifd_node_tensor(n1, "v2")->splat);
  assert_int_equal(ifd_node_find_attr(n1, "ts")->n, 2);
  assert_string_equal(n2->domain, "com.acme");
  assert_string_equal(n2->overload, "ov");
  assert_int_equal(n2->n_inputs, 4);
  assert_null(n2->inputs[1]);
  assert_null(n2->outputs[1]);
  assert_int_equal(n2->outputs[2]->output, 2);
  assert_ptr_equal(ifd_node_graph(branch, "then_branch")->first->inputs[1], g->inputs.v[0]);
  assert_int_equal(call->opset, 0);
  assert_null(call->schema);
  const ifd_function *f = ifd_model_find_function(m, "acme", "f", "");
  assert_string_equal(f->attributes[0], "a");
  assert_int_equal(f->defaults[0].i, 3);
  assert_string_equal(ifd_node_find_attr(f->body->first, "r")->ref, "c");
  assert_int_equal(f->body->last->opset, 18);
  const ifd_tensor *h = ifd_graph_find_value(g, "h")->constant;
  assert_true(ifd_tensor_get_f64(h, 0) == 1 && ifd_tensor_get_f64(h, 1) == 1.5);
  assert_int_equal(ifd_tensor_get_i64(ifd_graph_find_value(g, "i4")->constant, 0), -8);
  const ifd_str *many = ifd_graph_find_value(g, "many")->constant->data;
  assert_memory_equal(many->s, "x\0y", many->len);
  ifd_model_destroy(m);
}

/* Random elements depend on the seed alone and look normal. */
static void random_constants_are_seeded(void **state) {
  (void)state;
  ifd_model *m = parse(
      H "g () => () <float[64,64] a = random 7, float[64,64] b = random 7, float[64,64] c = random 8> {}");
  const ifd_tensor *t[3];
  for (int i = 0; i < 3; i++) t[i] = m->graph->constants.v[i]->constant;
  assert_true(ifd_tensor_equal(t[0], t[1]));
  assert_false(ifd_tensor_equal(t[0], t[2]));
  double sum = 0, squares = 0;
  for (int i = 0; i < 4096; i++) {
    double x = ifd_tensor_get_f64(t[0], i);
    sum += x;
    squares += x * x;
  }
  assert_true(sum / 4096 > -0.01 && sum / 4096 < 0.01);
  assert_true(squares / 4096 > 0.008 && squares / 4096 < 0.012);
  ifd_model_destroy(m);
}

static void big_constants_are_shortened(void **state) {
  (void)state;
  ifd_arena arena;
  ifd_arena_init(&arena, NULL);
  ifd_model *m = parse(H "g () => () <float[3] a = {1, 2, 3}, float[5] b = {1, 2, 3, 4, 5}> {}");
  char *text = print(&arena, m, &(ifd_text_options){.max_elements = 4});
  assert_non_null(strstr(text, "float[3] a = {1, 2, 3}"));
  assert_non_null(strstr(text, "float[5] b = {… 5 elements, hash "));
  ifd_error err = {0};
  ifd_model *again;
  assert_int_equal(ifd_text_parse(&err, &again, text, strlen(text), NULL), IFD_BAD_FILE);
  ifd_model_destroy(m);
  ifd_arena_free(&arena);
}

static void errors_are_placed(void **state) {
  (void)state;
  static const struct {
    const char *text, *where, *what;
  } cases[] = {
      {"", "line 1, column 1", "a name was expected"},
      {"g (float[N x) => () {}", "line 1, column 12", "']' was expected"},
      {"g (float x) =>\n(y) {\n  y = Relu (z)\n}", "line 3, column 3", "z is read but not defined above"},
      {"g (x) => (y) { a = Relu (x)\n a = Neg (x) }", "line 2, column 2", "a is defined twice"},
      {"g (x) => (y) { x = Relu (x) }", "line 1, column 16", "x is defined twice"},
      {"g (x, x) => () { }", "line 1, column 8", "x is defined twice"},
      {"g () => () <float[2] w = {1}> { }", "", "1 elements instead of 2"},
      {"g () => () <float[2] w = {1, 2, 3}> { }", "", "'}' was expected after 2 elements"},
      {"g () => () <float[N] w = {1}> { }", "", "shape of numbers"},
      {"g () => () <float[] w = {1}> { }", "", "with a shape"},
      {"g () => () <float[-1] w> { }", "", "dimension is negative"},
      {"g () => () <uint8[1] w = {256}> { }", "", "256 is out of range"},
      {"g () => () <int8[1] w = {-129}> { }", "", "-129 is out of range"},
      {"g () => () <int4[1] w = {8}> { }", "", "8 is out of range"},
      {"g () => () <uint32[1] w = {-1}> { }", "", "-1 is out of range"},
      {"g () => () <int64[1] w = {9223372036854775808}> { }", "", "out of range"},
      {"g () => () <int32[1] w = {1.5}> { }", "", "1.5 is no element of int32"},
      {"g () => () <float[4000000000,4000000000] w = {1}> { }", "", "larger than memory"},
      {"g () => () <float[1000000000] w = {1}> { }", "", "fewer elements"},
      {"g () => () <float[4] w = [\"location\": \"x\"]> { }", "", "external data"},
      {"g () => () { = Op <a = []> () }", "", "empty list needs a type"},
      {"g () => () { = Op <a = [1, 2.5]> () }", "", "int was expected, not float"},
      {"g () => () { = Op <a: int = \"x\"> () }", "", "int was expected, not string"},
      {"g () => () { = Op <a: thing = 1> () }", "", "attribute's type"},
      {"g () => () { = Op <a = @b> () }", "", "attribute a needs a type"},
      {"g () => () { = Op <a = 1, a = 2> () }", "", "given twice"},
      {"g () => () { = Op <a = 99999999999999999999> () }", "", "no integer of 64 bits"},
      {"g () => (nothing) { }", "", "output nothing of the graph"},
      {"g () => () { = Op (\"x) }", "", "a string has no end"},
      {"<opset_import: [\"\" : 0]> g () => () { }", "", "no opset version"},
      {"<unheard: 1> g () => () { }", "", "unheard is not known"},
      {"g () => () { } <ir_version: 3> f () => () { }", "", "ir_version is not known"},
      {"g () => () { } f () => () { } f () => () { }", "", "defined twice"},
      {"g () => () { } f <a = h () => () {}> () => () { }", "", "graph cannot stand here"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    ifd_error err = {0};
    ifd_model *m = NULL;
    ifd_status status = ifd_text_parse(&err, &m, cases[i].text, strlen(cases[i].text), NULL);
    if (status == IFD_OK || !strstr(err.where, cases[i].where) || !strstr(err.text, cases[i].what))
      fail_msg("%s\n gives %s: %s", cases[i].text, err.where, err.text);
  }
}

static void nesting_is_limited(void **state) {
  (void)state;
  static char text[1 << 20];
  static const char *const opens[] = {"{ = Op <b = g () => () ", "seq("};
  for (int kind = 0; kind < 2; kind++) {
    strcpy(text, kind ? "g (" : "g () => () ");
    for (int i = 0; i < 20000; i++) strcat(text + i * (int)strlen(opens[kind]), opens[kind]);
    ifd_error err = {0};
    ifd_model *m;
    assert_int_equal(ifd_text_parse(&err, &m, text, strlen(text), NULL), IFD_BAD_FILE);
    assert_non_null(strstr(err.text, "levels of nesting"));
  }
}

/* Any prefix of a text is refused or read, never a crash. */
static void cut_texts_are_safe(void **state) {
  (void)state;
  for (size_t len = 0; len < sizeof everything - 1; len++) {
    ifd_error err = {0};
    ifd_model *m = NULL;
    char *copy = test_malloc(len + 1); /* exactly as long: reading past the end is seen */
    memcpy(copy, everything, len);
    if (ifd_text_parse(&err, &m, copy, len, NULL) == IFD_OK)
      ifd_model_destroy(m);
    else
      assert_true(err.code == IFD_BAD_FILE || err.code == IFD_BAD_MODEL);
    test_free(copy);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(printing_and_parsing_agree),  cmocka_unit_test(what_is_read_is_what_is_written),
      cmocka_unit_test(random_constants_are_seeded), cmocka_unit_test(big_constants_are_shortened),
      cmocka_unit_test(errors_are_placed),           cmocka_unit_test(nesting_is_limited),
      cmocka_unit_test(cut_texts_are_safe),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
