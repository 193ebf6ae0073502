#include "ops/schema.h"

#include <float.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

/* TensorProto.DataType and AttributeProto.AttributeType. */
enum { FLOAT = 1, INT32 = 6, INT64 = 7, STRING = 8, BOOL = 9, FLOAT16 = 10, DOUBLE = 11, BFLOAT16 = 16 };
enum { ATTR_FLOAT = 1, ATTR_INT = 2, ATTR_STRING = 3, ATTR_GRAPH = 5, ATTR_INTS = 7, ATTR_STRINGS = 8 };

static int since(const char *domain, const char *name, int opset) {
  const ifd_schema *s = ifd_schema_find(domain, name, opset);
  return s ? s->since_version : 0;
}

static const ifd_schema *get(const char *name, int opset) {
  const ifd_schema *s = ifd_schema_find("", name, opset);
  assert_non_null(s);
  return s;
}

static const ifd_schema_attr *attr(const char *op, int opset, const char *name) {
  const ifd_schema_attr *a = ifd_schema_find_attr(get(op, opset), name);
  assert_non_null(a);
  assert_string_equal(a->name, name);
  return a;
}

static void test_find_takes_the_newest_not_younger(void **state) {
  (void)state;
  assert_int_equal(since("", "BatchNormalization", 1), 1);
  assert_int_equal(since("", "BatchNormalization", 5), 1);
  assert_int_equal(since("", "BatchNormalization", 6), 6);
  assert_int_equal(since("", "BatchNormalization", 8), 7);
  assert_int_equal(since("", "BatchNormalization", 13), 9);
  assert_int_equal(since("", "BatchNormalization", 14), 14);
  assert_int_equal(since("", "BatchNormalization", 28), 15);
  assert_int_equal(since("", "BatchNormalization", INT32_MAX), 15);
  assert_int_equal(since("", "Gelu", 20), 20);
  assert_int_equal(since("", "Conv", 10), 1); /* neighbours of a common prefix: */
  assert_int_equal(since("", "ConvInteger", 10), 10);
}

static void test_find_refuses(void **state) {
  (void)state;
  assert_null(ifd_schema_find("", "Gelu", 19));
  assert_null(ifd_schema_find("", "Conv", 0));
  assert_null(ifd_schema_find("", "Conv", INT32_MIN));
  assert_null(ifd_schema_find("", "conv", 28));
  assert_null(ifd_schema_find("", "Con", 28));
  assert_null(ifd_schema_find("", "", 28));
  assert_null(ifd_schema_find("", "~", 28)); /* after every operator of the domain */
  assert_null(ifd_schema_find("ai.onnx.ml", "Conv", 28));
  assert_null(ifd_schema_find("", "ZipMap", 28));
  assert_null(ifd_schema_find("com.example", "Conv", 28));
  assert_null(ifd_schema_find("zz", "Conv", 28)); /* after every domain */
}

static void test_domains(void **state) {
  (void)state;
  const ifd_schema *relu = get("Relu", 14);
  assert_ptr_equal(ifd_schema_find("ai.onnx", "Relu", 14), relu);
  assert_ptr_equal(ifd_schema_find(NULL, "Relu", 14), relu);
  assert_string_equal(relu->domain, "");
  assert_int_equal(since("ai.onnx.ml", "ZipMap", 5), 1);
  assert_int_equal(since("ai.onnx.preview.training", "Adam", 1), 1);
  assert_int_equal(since("ai.onnx.preview", "FlexAttention", 1), 1);
  assert_int_equal(ifd_schema_latest_opset(""), 28);
  assert_int_equal(ifd_schema_latest_opset("ai.onnx"), 28);
  assert_int_equal(ifd_schema_latest_opset("ai.onnx.ml"), 5);
  assert_int_equal(ifd_schema_latest_opset("ai.onnx.preview"), 1);
  assert_int_equal(ifd_schema_latest_opset("com.example"), 0);
}

/* What ifd_schema_find means, without the binary search. */
static const ifd_schema *find_slowly(const char *domain, const char *name, int opset) {
  const ifd_schema *best = NULL;
  for (size_t i = 0; i < ifd_schema_count(); i++) {
    const ifd_schema *s = ifd_schema_at(i);
    if (strcmp(s->domain, domain) != 0 || strcmp(s->name, name) != 0 || s->since_version > opset) continue;
    if (!best || s->since_version > best->since_version) best = s;
  }
  return best;
}

static void test_every_operator_at_every_opset(void **state) {
  (void)state;
  for (size_t i = 0; i < ifd_schema_count(); i++) {
    const ifd_schema *s = ifd_schema_at(i);
    for (int opset = 0; opset <= 30; opset++)
      assert_ptr_equal(ifd_schema_find(s->domain, s->name, opset), find_slowly(s->domain, s->name, opset));
  }
}

static void check_params(const ifd_schema *s, const ifd_schema_param *params, size_t n, int min, int max) {
  int least = 0, most = (int)n;
  for (size_t i = 0; i < n; i++) {
    const ifd_schema_param *p = &params[i];
    if (p->constraint >= 0) {
      assert_true(p->constraint < s->n_constraints);
      assert_string_equal(p->type, s->constraints[p->constraint].name);
      assert_int_equal(p->dtype, 0);
    } else {
      assert_int_equal(strncmp(p->type, "tensor(", 7), 0);
      assert_true(ifd_schema_type_allowed(s, p, IFD_SCHEMA_TENSOR, p->dtype));
    }
    if (p->option == IFD_PARAM_SINGLE) least = (int)i + 1;
    if (p->option == IFD_PARAM_VARIADIC) {
      assert_int_equal(i, n - 1);
      least = (int)i + p->min_arity;
      most = IFD_SCHEMA_UNBOUNDED;
    }
  }
  assert_int_equal(least, min);
  assert_int_equal(most, max);
}

static void test_the_table_is_consistent(void **state) {
  (void)state;
  assert_true(ifd_schema_count() > 600);
  for (size_t i = 0; i < ifd_schema_count(); i++) {
    const ifd_schema *s = ifd_schema_at(i);
    assert_in_range(s->since_version, 1, ifd_schema_latest_opset(s->domain));
    check_params(s, s->inputs, s->n_inputs, s->min_inputs, s->max_inputs);
    check_params(s, s->outputs, s->n_outputs, s->min_outputs, s->max_outputs);
    for (size_t k = 0; k < s->n_attrs; k++) {
      assert_false(s->attrs[k].required && s->attrs[k].has_default);
      assert_ptr_equal(ifd_schema_find_attr(s, s->attrs[k].name), &s->attrs[k]);
      if (k) assert_true(strcmp(s->attrs[k - 1].name, s->attrs[k].name) < 0);
    }
  }
}

static void test_attributes(void **state) {
  (void)state;
  const ifd_schema_attr *group = attr("Conv", 11, "group");
  assert_int_equal(group->type, ATTR_INT);
  assert_true(group->has_default && !group->required);
  assert_int_equal(group->value.i, 1);
  const ifd_schema_attr *pads = attr("Conv", 11, "pads");
  assert_int_equal(pads->type, ATTR_INTS);
  assert_false(pads->has_default || pads->required);
  assert_true(attr("Cast", 13, "to")->required);
  assert_string_equal(attr("Conv", 22, "auto_pad")->value.s, "NOTSET");
  assert_int_equal(attr("If", 16, "then_branch")->type, ATTR_GRAPH);
  assert_null(ifd_schema_find_attr(get("Conv", 11), "Group"));
  assert_null(ifd_schema_find_attr(get("Relu", 14), "alpha")); /* a schema without attributes */
  /* The same attribute, another default: softmax changed its axis in opset 13. */
  assert_int_equal(attr("Softmax", 11, "axis")->value.i, 1);
  assert_int_equal(attr("Softmax", 13, "axis")->value.i, -1);
  assert_true(attr("Concat", 4, "axis")->required);
  assert_false(attr("Concat", 1, "axis")->required);
}

static void test_float_defaults_are_exact(void **state) {
  (void)state;
  assert_true(attr("Clip", 6, "max")->value.f == FLT_MAX);
  assert_true(attr("Clip", 6, "min")->value.f == -FLT_MAX);
  assert_true(attr("BatchNormalization", 15, "epsilon")->value.f == 1e-5f);
  assert_true(attr("Selu", 6, "alpha")->value.f == 1.67326319217681884765625f);
  assert_true(attr("Selu", 6, "gamma")->value.f == 1.05070102214813232421875f);
}

static void test_list_defaults(void **state) {
  (void)state;
  const ifd_schema_attr *axes = attr("MeanVarianceNormalization", 13, "axes");
  assert_int_equal(axes->type, ATTR_INTS);
  assert_int_equal(axes->n_values, 3);
  const int64_t expected[] = {0, 2, 3};
  assert_memory_equal(axes->value.ints, expected, sizeof expected);
  const ifd_schema_attr *activations = attr("RNN", 7, "activations");
  assert_int_equal(activations->type, ATTR_STRINGS);
  assert_int_equal(activations->n_values, 2);
  assert_string_equal(activations->value.strings[0], "Tanh");
  assert_string_equal(activations->value.strings[1], "Tanh");
}

static void test_parameters(void **state) {
  (void)state;
  const ifd_schema *conv = get("Conv", 22);
  assert_string_equal(ifd_schema_find_input(conv, 1)->name, "W");
  assert_int_equal(ifd_schema_find_input(conv, 1)->option, IFD_PARAM_SINGLE);
  assert_int_equal(ifd_schema_find_input(conv, 2)->option, IFD_PARAM_OPTIONAL);
  assert_null(ifd_schema_find_input(conv, 3));
  assert_null(ifd_schema_find_output(conv, 1));
  const ifd_schema *concat = get("Concat", 13);
  assert_ptr_equal(ifd_schema_find_input(concat, 1000000), ifd_schema_find_input(concat, 0));
  assert_true(ifd_schema_find_input(concat, 5)->homogeneous);
  assert_int_equal(concat->max_inputs, IFD_SCHEMA_UNBOUNDED);
  const ifd_schema *loop = get("Loop", 16);
  assert_string_equal(ifd_schema_find_input(loop, 1)->name, "cond");
  assert_string_equal(ifd_schema_find_input(loop, 7)->name, "v_initial");
  assert_false(ifd_schema_find_input(loop, 7)->homogeneous);
  assert_int_equal(ifd_schema_find_input(loop, 2)->min_arity, 0);
  assert_int_equal(loop->min_inputs, 2);
  assert_null(ifd_schema_find_input(get("Constant", 13), 0)); /* no inputs at all */
}

static bool allowed(const char *op, int opset, size_t input, ifd_schema_kind kind, int dtype) {
  const ifd_schema *s = get(op, opset);
  return ifd_schema_type_allowed(s, ifd_schema_find_input(s, input), kind, dtype);
}

static void test_types(void **state) {
  (void)state;
  assert_true(allowed("Relu", 13, 0, IFD_SCHEMA_TENSOR, BFLOAT16));
  assert_false(allowed("Relu", 6, 0, IFD_SCHEMA_TENSOR, BFLOAT16));
  assert_false(allowed("Relu", 13, 0, IFD_SCHEMA_TENSOR, INT32));
  assert_true(allowed("Relu", 14, 0, IFD_SCHEMA_TENSOR, INT32));
  assert_false(allowed("Relu", 14, 0, IFD_SCHEMA_SEQ, INT32));
  /* A fixed type beside constraints. */
  assert_true(allowed("Reshape", 13, 1, IFD_SCHEMA_TENSOR, INT64));
  assert_false(allowed("Reshape", 13, 1, IFD_SCHEMA_TENSOR, INT32));
  assert_false(allowed("Reshape", 13, 1, IFD_SCHEMA_SEQ, INT64));
  /* Two constraints of one operator. */
  assert_true(allowed("Where", 16, 0, IFD_SCHEMA_TENSOR, BOOL));
  assert_false(allowed("Where", 16, 0, IFD_SCHEMA_TENSOR, FLOAT));
  assert_true(allowed("Where", 16, 1, IFD_SCHEMA_TENSOR, FLOAT));
}

static void test_types_that_are_no_tensors(void **state) {
  (void)state;
  assert_false(allowed("Identity", 13, 0, IFD_SCHEMA_SEQ, FLOAT));
  assert_true(allowed("Identity", 14, 0, IFD_SCHEMA_SEQ, FLOAT));
  assert_false(allowed("Identity", 14, 0, IFD_SCHEMA_OPTIONAL, FLOAT));
  assert_true(allowed("Identity", 16, 0, IFD_SCHEMA_OPTIONAL, FLOAT));
  assert_true(allowed("Identity", 16, 0, IFD_SCHEMA_OPTIONAL_SEQ, STRING));
  assert_false(allowed("Identity", 28, 0, IFD_SCHEMA_SPARSE_TENSOR, FLOAT));
  const ifd_schema *zip = ifd_schema_find("ai.onnx.ml", "ZipMap", 1);
  const ifd_schema_param *z = ifd_schema_find_output(zip, 0);
  assert_true(ifd_schema_type_allowed(zip, z, IFD_SCHEMA_SEQ_MAP_INT64, FLOAT));
  assert_true(ifd_schema_type_allowed(zip, z, IFD_SCHEMA_SEQ_MAP_STRING, FLOAT));
  assert_false(ifd_schema_type_allowed(zip, z, IFD_SCHEMA_SEQ_MAP_INT64, DOUBLE));
  assert_false(ifd_schema_type_allowed(zip, z, IFD_SCHEMA_MAP_INT64, FLOAT));
}

static void test_types_beyond_the_numbers(void **state) {
  (void)state;
  const int beyond[] = {INT32_MIN, -1, 0, 29, 31, 32, 63, 64, 65, INT32_MAX};
  for (size_t i = 0; i < sizeof beyond / sizeof *beyond; i++) {
    assert_false(allowed("Identity", 28, 0, IFD_SCHEMA_TENSOR, beyond[i]));
    assert_false(allowed("Reshape", 13, 1, IFD_SCHEMA_TENSOR, beyond[i]));
  }
}

static void test_flags(void **state) {
  (void)state;
  assert_false(get("Upsample", 9)->deprecated);
  assert_true(get("Upsample", 10)->deprecated);
  assert_true(get("Upsample", 28)->deprecated);
  assert_true(get("GroupNormalization", 20)->deprecated);
  assert_false(get("GroupNormalization", 21)->deprecated);
  assert_true(get("GroupNormalization", 21)->has_function);
  assert_false(get("Conv", 22)->has_function);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_find_takes_the_newest_not_younger),
      cmocka_unit_test(test_find_refuses),
      cmocka_unit_test(test_domains),
      cmocka_unit_test(test_every_operator_at_every_opset),
      cmocka_unit_test(test_the_table_is_consistent),
      cmocka_unit_test(test_attributes),
      cmocka_unit_test(test_float_defaults_are_exact),
      cmocka_unit_test(test_list_defaults),
      cmocka_unit_test(test_parameters),
      cmocka_unit_test(test_types),
      cmocka_unit_test(test_types_that_are_no_tensors),
      cmocka_unit_test(test_types_beyond_the_numbers),
      cmocka_unit_test(test_flags),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
