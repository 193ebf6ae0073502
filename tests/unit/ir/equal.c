#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "ir/equal.h"
#include "ir/text.h"

static ifd_model *parse(const char *text) {
  ifd_error err = {0};
  ifd_model *m = NULL;
  if (ifd_text_parse(&err, &m, text, strlen(text), NULL) != IFD_OK) fail_msg("%s%s", err.where, err.text);
  return m;
}

static void expect_tensors(const ifd_tensor *a, const ifd_tensor *b, bool equal) {
  assert_int_equal(ifd_tensor_equal(a, b), equal);
  assert_int_equal(ifd_tensor_equal(b, a), equal);
  assert_int_equal(ifd_tensor_hash(a) == ifd_tensor_hash(b), equal);
  if (equal) assert_true(ifd_tensor_sketch(a) == ifd_tensor_sketch(b));
}

/* Pairs (a, b), (c, d) …: equal in the first model, different in the second. */
static void tensors_compare_by_content(void **state) {
  (void)state;
  static const char *const texts[] = {
      "g () => () <float[3] a = splat 2, float[3] b = {2, 2, 2}, float[2] c = {nan, 0}, float[2] d = {nan, "
      "0},\n"
      "string[2] e = {\"x\", \"\"}, string[2] f = {\"x\", \"\"}, float[0] h = {}, float[0] i = {},\n"
      "int4[5] j = splat -3, int4[5] k = {-3, -3, -3, -3, -3}, float[3,1000] l = random 1, float[3,1000] m = "
      "random 1> {}",
      "g () => () <float[3] a = splat 2, float[3] b = {2, 2, 3}, float c = {0}, float d = {-0.0},\n"
      "string[2] e = {\"x\", \"\"}, string[2] f = {\"\", \"x\"}, float[0] h = {}, float[0,1] i = {},\n"
      "int4[5] j = splat -3, int8[5] k = {-3, -3, -3, -3, -3}, float[3,1000] l = random 1, float[3,1000] m = "
      "random 2> {}"};
  for (int t = 0; t < 2; t++) {
    ifd_model *model = parse(texts[t]);
    for (int i = 0; i < model->graph->constants.n; i += 2)
      expect_tensors(model->graph->constants.v[i]->constant, model->graph->constants.v[i + 1]->constant,
                     t == 0);
    ifd_model_destroy(model);
  }
}

static void packed_tensors_equal_plain_ones(void **state) {
  (void)state;
  enum { N = 5001 };
  static uint8_t packed[(N + 1) / 2];
  static int8_t plain[N];
  for (int i = 0; i < N; i++) {
    plain[i] = (int8_t)(i * 7 % 16 - 8);
    packed[i / 2] |= (uint8_t)((plain[i] & 15) << (i % 2 * 4));
  }
  ifd_tensor a = {.dtype = IFD_INT4, .packed = true, .shape = {1, {N}}, .data = packed};
  ifd_tensor b = {.dtype = IFD_INT4, .shape = {1, {N}}, .data = plain};
  expect_tensors(&a, &b, true);
  plain[N - 1] ^= 1;
  expect_tensors(&a, &b, false);
}

/* Each node against the first: equal only those named "same". */
static void nodes_compare_by_what_they_compute(void **state) {
  (void)state;
  ifd_model *m = parse("<ir_version: 10, opset_import: [\"\" : 17]>\n"
                       "g (float[N] x, float[N] y) => ()\n"
                       "{ [same] a = Op <i = 1, f = 2.0, s = \"t\", is = [1, 2], fs = [1.0], ss = [\"a\"], t "
                       "= float[2] {1, 1}, e: ints = [],\n"
                       "    tp = float[N], ts = [float {1}]> (x, y)\n"
                       "  [same] b = Op <f = 2.0, i = 1, e: ints = [], s = \"t\", is = [1, 2], fs = [1.0], "
                       "ss = [\"a\"], t = float[2] = splat 1,\n"
                       "    tp = float[N], ts = [float {1}]> (x, y)\n"
                       "  c = Op <i = 2, f = 2.0, s = \"t\", is = [1, 2], fs = [1.0], ss = [\"a\"], t = "
                       "float[2] {1, 1}, e: ints = [],\n"
                       "    tp = float[N], ts = [float {1}]> (x, y)\n"
                       "  d = Op <i = 1, f = 2.0, s = \"u\", is = [1, 2], fs = [1.0], ss = [\"a\"], t = "
                       "float[2] {1, 1}, e: ints = [],\n"
                       "    tp = float[N], ts = [float {1}]> (x, y)\n"
                       "  e = Op <i = 1, f = 2.0, s = \"t\", is = [1, 2, 3], fs = [1.0], ss = [\"a\"], t = "
                       "float[2] {1, 1}, e: ints = [],\n"
                       "    tp = float[N], ts = [float {1}]> (x, y)\n"
                       "  f = Op <i = 1, f = 2.0, s = \"t\", is = [1, 2], fs = [1.5], ss = [\"a\"], t = "
                       "float[2] {1, 1}, e: ints = [],\n"
                       "    tp = float[N], ts = [float {1}]> (x, y)\n"
                       "  h = Op <i = 1, f = 2.0, s = \"t\", is = [1, 2], fs = [1.0], ss = [\"b\"], t = "
                       "float[2] {1, 1}, e: ints = [],\n"
                       "    tp = float[N], ts = [float {1}]> (x, y)\n"
                       "  i = Op <i = 1, f = 2.0, s = \"t\", is = [1, 2], fs = [1.0], ss = [\"a\"], t = "
                       "float[2] {1, 2}, e: ints = [],\n"
                       "    tp = float[N], ts = [float {1}]> (x, y)\n"
                       "  j = Op <i = 1, f = 2.0, s = \"t\", is = [1, 2], fs = [1.0], ss = [\"a\"], t = "
                       "float[2] {1, 1}, e: floats = [],\n"
                       "    tp = float[N], ts = [float {1}]> (x, y)\n"
                       "  k = Op <i = 1, f = 2.0, s = \"t\", is = [1, 2], fs = [1.0], ss = [\"a\"], t = "
                       "float[2] {1, 1}, e: ints = [],\n"
                       "    tp = float[M], ts = [float {1}]> (x, y)\n"
                       "  l = Op <i = 1, f = 2.0, s = \"t\", is = [1, 2], fs = [1.0], ss = [\"a\"], t = "
                       "float[2] {1, 1}, e: ints = [],\n"
                       "    tp = float[N], ts = [float {2}]> (x, y)\n"
                       "  n = Op <i = 1, f = 2.0, s = \"t\", is = [1, 2], fs = [1.0], ss = [\"a\"], t = "
                       "float[2] {1, 1}, e: ints = [],\n"
                       "    tp = float[N], ts = [float {1}]> (y, x)\n"
                       "  o = Op <i = 1> (x, y)\n"
                       "  p = d.Op <i = 1, f = 2.0, s = \"t\", is = [1, 2], fs = [1.0], ss = [\"a\"], t = "
                       "float[2] {1, 1}, e: ints = [],\n"
                       "    tp = float[N], ts = [float {1}]> (x, y) }\n");
  const ifd_node *first = m->graph->first;
  for (const ifd_node *node = first; node; node = node->next) {
    bool same = strcmp(node->name, "same") == 0;
    assert_int_equal(ifd_node_equal(first, node), same);
    assert_int_equal(ifd_node_equal(node, first), same);
    assert_true(!same || ifd_node_hash(first) == ifd_node_hash(node));
  }
  ifd_model_destroy(m);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(tensors_compare_by_content),
      cmocka_unit_test(packed_tensors_equal_plain_ones),
      cmocka_unit_test(nodes_compare_by_what_they_compute),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
