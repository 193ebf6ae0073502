#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "ir/clone.h"
#include "ir/text.h"
#include "ir/verify.h"

#define OK(call) assert_int_equal(call, IFD_OK)
#define H        "<ir_version: 10, opset_import: [\"\" : 17, \"d\" : 1]>\n"

static ifd_model *parse(const char *text) {
  ifd_error err = {0};
  ifd_model *m = NULL;
  if (ifd_text_parse(&err, &m, text, strlen(text), NULL) != IFD_OK) fail_msg("%s%s", err.where, err.text);
  return m;
}

static void verify(const ifd_model *m) {
  ifd_error err = {0};
  if (ifd_verify_model(&err, m) != IFD_OK) fail_msg("%s%s", err.where, err.text);
}

static void expect_text(const ifd_model *m, const char *expected) {
  ifd_error err = {0};
  ifd_arena arena;
  ifd_arena_init(&arena, NULL);
  ifd_model *other = parse(expected);
  char *a, *b;
  OK(ifd_text_print(&err, &a, &arena, m, NULL));
  OK(ifd_text_print(&err, &b, &arena, other, NULL));
  assert_string_equal(a, b);
  ifd_model_destroy(other);
  ifd_arena_free(&arena);
}

static const char rich[] =
    H "g (float[N,\"N*2 + 1\"] x, bool c, float d = {1.5}) => (z, y, y) <float[2] w = {1, 2}, float[3] u = "
      "splat 4>\n"
      "{ a, b = Split <axis = 1> (x)  [n] y = Where (c, a, b)  q = d.f <k = 3> (y)\n"
      "  z = If (c) <then_branch = t () => (p) <float[1] v = {3}> { p = Mul (q, v) },\n"
      "    else_branch = e () => (r) { s = Add (q, d)  r = Neg (s) }>\n"
      "  = d.Sink <g = [h (i) => (i) {}], t = float[2] {1, 2}> (z) }\n"
      "<domain: \"d\", opset_import: [\"\" : 13]> f <k, j = 2> (x) => (y) { y = Softmax <axis: int = @k> (x) "
      "}\n";

static void a_clone_is_the_same_and_its_own(void **state) {
  (void)state;
  ifd_error err = {0};
  ifd_model *m = parse(rich), *copy;
  OK(ifd_model_clone(&err, &copy, m, NULL));
  expect_text(copy, rich);
  verify(copy);
  assert_ptr_equal(copy->graph->first->schema, m->graph->first->schema);
  assert_int_equal(copy->functions.v[0]->body->first->opset, 13);
  assert_int_equal(ifd_dim_symbol(copy->dims, "N"), copy->graph->inputs.v[0]->type->dims[0]);
  assert_ptr_equal(copy->graph->constants.v[1]->constant->data, m->graph->constants.v[1]->constant->data);
  ifd_node_remove(copy->graph->last);
  expect_text(m, rich);
  ifd_model_destroy(copy);
  ifd_model_destroy(m);
}

/* Replaces a call by the nodes of its function. */
static void inline_call(ifd_model *m, ifd_node *call) {
  ifd_error err = {0};
  ifd_value *inputs[8] = {0}, *outputs[8];
  const ifd_function *f = ifd_model_find_function(m, call->domain, call->op_type, "");
  for (int i = 0; i < call->n_inputs; i++) inputs[i] = call->inputs[i];
  OK(ifd_graph_inline(&err, call->graph, call, f->body, inputs, outputs, call->attrs, call->n_attrs));
  for (int i = 0; i < call->n_outputs; i++) OK(ifd_value_replace(&err, call->outputs[i], outputs[i], true));
  ifd_node_remove(call);
}

#define F                                                                                                    \
  "<domain: \"d\", opset_import: [\"\" : 13]> f <k, m, j = 2> (x, lo) => (y, x)\n"                           \
  "{ c = Constant <v = 1> ()  s = Softmax <axis: int = @k> (x)  t = Clip (s, lo)\n"                          \
  "  y = If (c) <then_branch = a () => (p) { p = Op <j: int = @j, m: int = @m> (t) }> }\n"

static void a_function_is_inlined(void **state) {
  (void)state;
  ifd_model *m = parse(H "g (float[N] x) => (y, r) { y, r = d.f <k = 1> (x) }\n" F);
  inline_call(m, m->graph->first);
  expect_text(m, H "g (float[N] x) => (y_1, x)\n"
                   "{ c_1 = Constant <v = 1> ()  s_1 = Softmax <axis = 1> (x)  t_1 = Clip (s_1, \"\")\n"
                   "  y_1 = If (c_1) <then_branch = a () => (p_1) { p_1 = Op <j = 2> (t_1) }> }\n" F);
  assert_int_equal(m->graph->first->next->opset, 13);
  ifd_model_destroy(m);
}

static void a_branch_is_inlined(void **state) {
  (void)state;
  ifd_error err = {0};
  ifd_model *m =
      parse(H "g (float[N] x, bool c) => (z) <float[1] v = {5}>\n"
              "{ q = Neg (x)  z = If (c) <then_branch = t () => (p) <float[1] v = {3}> { p = Mul (q, v) },\n"
              "  else_branch = e () => (r) { r = Neg (q) }> }");
  ifd_node *branch = m->graph->last;
  ifd_value *outputs[1];
  OK(ifd_graph_inline(&err, m->graph, branch, ifd_node_graph(branch, "then_branch"), NULL, outputs, NULL, 0));
  OK(ifd_value_replace(&err, branch->outputs[0], outputs[0], true));
  ifd_node_remove(branch);
  expect_text(m, H "g (float[N] x, bool c) => (p_1) <float[1] v = {5}, float[1] v_1 = {3}> { q = Neg (x) p_1 "
                   "= Mul (q, v_1) }");
  verify(m);
  ifd_model_destroy(m);
}

/* A default of the body's input is taken when the call gives none, and only then. */
static void defaults_of_inputs_are_inlined(void **state) {
  (void)state;
  ifd_error err = {0};
  for (int given = 0; given < 2; given++) {
    ifd_model *m = parse(H "g (float a) => (z) { b = Neg (a)  z = Op (b) <g = h (float i, float j = {2}) => "
                           "(k) { k = Add (i, j) }> }");
    ifd_node *op = m->graph->last;
    ifd_value *a = m->graph->inputs.v[0], *inputs[2] = {op->inputs[0], given ? a : NULL}, *outputs[1];
    OK(ifd_graph_inline(&err, m->graph, op, ifd_node_graph(op, "g"), inputs, outputs, NULL, 0));
    OK(ifd_value_replace(&err, op->outputs[0], outputs[0], true));
    ifd_node_remove(op);
    expect_text(m, given ? H "g (float a) => (k_1) { b = Neg (a) k_1 = Add (b, a) }"
                         : H "g (float a) => (k_1) <float j_1 = {2}> { b = Neg (a) k_1 = Add (b, j_1) }");
    verify(m);
    ifd_model_destroy(m);
  }
}

/* The n-th allocation fails, for each n until none does: a status, nothing lost, nothing broken. */
static void out_of_memory_is_a_status(void **state) {
  (void)state;
  bool done = false;
  for (long fail = 1; !done; fail++) {
    ifd_error err = {0};
    ifd_budget budget = {.fail_after = fail};
    ifd_model *m = NULL, *copy = NULL;
    ifd_arena arena;
    char *text;
    ifd_arena_init(&arena, &budget);
    ifd_status status = ifd_text_parse(&err, &m, rich, sizeof rich - 1, &budget);
    if (status == IFD_OK) status = ifd_model_clone(&err, &copy, m, &budget);
    if (status == IFD_OK) status = ifd_verify_model(&err, copy);
    if (status == IFD_OK) status = ifd_text_print(&err, &text, &arena, copy, NULL);
    done = status == IFD_OK;
    assert_true(done || status == IFD_NO_MEMORY);
    assert_true(!done || strstr(text, "then_branch"));
    ifd_arena_free(&arena);
    ifd_model_destroy(copy);
    ifd_model_destroy(m);
    assert_int_equal(budget.used, 0);
    assert_true(fail < 1000);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_clone_is_the_same_and_its_own),
      cmocka_unit_test(a_function_is_inlined),
      cmocka_unit_test(a_branch_is_inlined),
      cmocka_unit_test(defaults_of_inputs_are_inlined),
      cmocka_unit_test(out_of_memory_is_a_status),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
