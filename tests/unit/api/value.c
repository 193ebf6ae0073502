/* Values from outside: what is made of items, and what is refused. */
#include "infold/infold.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

enum { FLOAT = 1, INT64 = 7 };

static infold_value *tensor(int dtype, int64_t n, const void *data) {
  infold_error err;
  infold_value *v;
  if (infold_create_tensor(&err, &v, dtype, &n, 1, data)) fail_msg("%s", err.message);
  return v;
}

static infold_value *make(infold_kind kind, int dtype, const infold_value *const *items, int n) {
  infold_error err;
  infold_value *v;
  if (infold_create_value(&err, &v, kind, dtype, items, n)) fail_msg("%s", err.message);
  return v;
}

static void items_are_copied(void **state) {
  (void)state;
  float data[] = {1, 2};
  infold_value *borrowed, *owned = tensor(FLOAT, 2, data);
  assert_int_equal(infold_borrow_tensor(NULL, &borrowed, FLOAT, (int64_t[]){2}, 1, data), INFOLD_OK);
  infold_value *v = make(INFOLD_SEQUENCE, 0, (const infold_value *[]){borrowed, owned}, 2);
  infold_destroy_value(borrowed);
  infold_destroy_value(owned);
  data[0] = data[1] = 9;
  assert_int_equal(infold_get_kind(v), INFOLD_SEQUENCE);
  assert_int_equal(infold_get_dtype(v), FLOAT);
  assert_int_equal(infold_get_count(v), 2);
  for (int i = 0; i < 2; i++)
    assert_memory_equal(infold_get_data(infold_get_item(v, i)), ((float[]){1, 2}), sizeof data);
  infold_destroy_value(v);
}

static void none_has_its_dtype(void **state) {
  (void)state;
  infold_value *list = make(INFOLD_SEQUENCE, INT64, NULL, 0);
  infold_value *maybe = make(INFOLD_OPTIONAL, 0, (const infold_value *[]){list}, 1);
  assert_int_equal(infold_get_dtype(list), INT64);
  assert_int_equal(infold_get_count(list), 0);
  assert_int_equal(infold_get_count(maybe), 1);
  assert_int_equal(infold_get_kind(infold_get_item(maybe, 0)), INFOLD_SEQUENCE);
  infold_destroy_value(list);
  infold_destroy_value(maybe);
}

static void strings_come_one_by_one_or_joined(void **state) {
  (void)state;
  enum { STRING = 8 };
  infold_value *v = tensor(STRING, 3, (const char *[]){"ab", "", "c"});
  const char *text;
  char joined[6];
  assert_int_equal(infold_get_string(v, 0, &text), 2);
  assert_memory_equal(text, "ab", 2);
  assert_int_equal(infold_join_strings(v, NULL), 6);
  assert_int_equal(infold_join_strings(v, joined), 6);
  assert_memory_equal(joined, "ab\0\0c", 6);
  infold_destroy_value(v);
}

static void maps_have_keys_and_values(void **state) {
  (void)state;
  infold_value *keys = tensor(INT64, 2, (int64_t[]){5, 7}), *values = tensor(FLOAT, 2, (float[]){1, 2});
  infold_value *map = make(INFOLD_MAP, 0, (const infold_value *[]){keys, values}, 2);
  assert_int_equal(infold_get_dtype(map), INT64);
  assert_int_equal(infold_get_count(map), 2);
  assert_memory_equal(infold_get_data(infold_get_item(map, 0)), ((int64_t[]){5, 7}), 16);
  assert_memory_equal(infold_get_data(infold_get_item(map, 1)), ((float[]){1, 2}), 8);
  infold_destroy_value(keys);
  infold_destroy_value(values);
  infold_destroy_value(map);
}

static void what_makes_no_value_is_refused(void **state) {
  (void)state;
  infold_value *three = tensor(INT64, 3, (int64_t[]){1, 2, 3}), *two = tensor(FLOAT, 2, (float[]){1, 2});
  infold_value *list = make(INFOLD_SEQUENCE, FLOAT, NULL, 0);
  const struct {
    infold_kind kind;
    int dtype, n;
    const infold_value *items[2];
  } wrong[] = {
      {INFOLD_SEQUENCE, FLOAT, -1},        {INFOLD_SEQUENCE, 1000, 0},
      {INFOLD_OPTIONAL, 0, 2, {two, two}}, {INFOLD_MAP, 0, 1, {three}},
      {INFOLD_MAP, 0, 2, {three, two}},  /* three keys, two values */
      {INFOLD_MAP, 0, 2, {two, two}},    /* floats are no keys */
      {INFOLD_MAP, 0, 2, {three, list}}, /* no tensor */
      {INFOLD_TENSOR, FLOAT, 0},           {INFOLD_UNKNOWN, 0, 0},
  };
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    infold_error err;
    infold_value *v = two;
    assert_int_equal(infold_create_value(&err, &v, wrong[i].kind, wrong[i].dtype, wrong[i].items, wrong[i].n),
                     INFOLD_USAGE);
    assert_null(v);
    assert_true(err.message[0]);
  }
  infold_destroy_value(three);
  infold_destroy_value(two);
  infold_destroy_value(list);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(items_are_copied),
      cmocka_unit_test(none_has_its_dtype),
      cmocka_unit_test(strings_come_one_by_one_or_joined),
      cmocka_unit_test(maps_have_keys_and_values),
      cmocka_unit_test(what_makes_no_value_is_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
