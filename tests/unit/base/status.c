/* Statuses: the first error wins, callers add where, nothing unprintable gets through, checked arithmetic. */
#include "base/checked.h"
#include "base/status.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

static ifd_status inner(ifd_error *err, int x) {
  EXPECT(err, x > 0, BAD_MODEL, "x is %d, expected more than 0", x);
  return IFD_OK;
}

static ifd_status outer(ifd_error *err, int x) {
  TRY(inner(err, x));
  FAIL(err, LIMIT, "reached only when x is %d", x);
}

static void first_failure_is_kept(void **state) {
  (void)state;
  ifd_error err = {0};
  assert_int_equal(outer(&err, -1), IFD_BAD_MODEL);
  assert_int_equal(err.code, IFD_BAD_MODEL);
  assert_string_equal(err.text, "x is -1, expected more than 0");
  assert_int_equal(outer(&err, 1), IFD_LIMIT); /* its own status, but the record stays */
  assert_int_equal(err.code, IFD_BAD_MODEL);
  assert_string_equal(err.text, "x is -1, expected more than 0");
  ifd_error_clear(&err);
  assert_int_equal(outer(&err, 1), IFD_LIMIT);
  assert_string_equal(err.text, "reached only when x is 1");
  assert_int_equal(outer(NULL, -1), IFD_BAD_MODEL);
}

static void where_reads_outermost_first(void **state) {
  (void)state;
  ifd_error err = {0};
  assert_int_equal(inner(&err, 0), IFD_BAD_MODEL);
  ifd_error_add(&err, "attribute %s", "axis");
  ifd_error_add(&err, "node %s", "Concat_3");
  assert_int_equal(strncmp(err.where, "node Concat_3: attribute axis", 29), 0);
  assert_int_equal(err.code, IFD_BAD_MODEL);
}

static void control_bytes_and_length_are_tamed(void **state) {
  (void)state;
  ifd_error err = {0};
  char wide[4096];
  memset(wide, 'a', sizeof wide - 1);
  wide[sizeof wide - 1] = 0;
  assert_int_equal(ifd_error_set(&err, IFD_BAD_FILE, "name \x1b[31m\n%s", wide), IFD_BAD_FILE);
  assert_int_equal(strncmp(err.text, "name ?[31m?aaa", 14), 0);
  assert_int_equal(strlen(err.text), sizeof err.text - 1);
  for (int i = 0; i < 10; i++) ifd_error_add(&err, "%.200s\x7f", wide);
  assert_true(strlen(err.where) < sizeof err.where);
  assert_null(strchr(err.where, 0x7f));
}

static void statuses_have_texts_and_exit_codes(void **state) {
  (void)state;
  assert_int_equal(ifd_status_exit_code(IFD_OK), 0);
  assert_int_equal(ifd_status_exit_code(IFD_BAD_MODEL), 3);
  assert_string_equal(ifd_status_text(IFD_NO_MEMORY), "out of memory");
}

static void arithmetic_reports_overflow(void **state) {
  (void)state;
  int64_t r;
  size_t z;
  assert_true(ifd_mul_i64(&r, INT64_MAX / 2, 2) && r == INT64_MAX - 1);
  assert_false(ifd_mul_i64(&r, INT64_MAX / 2 + 1, 2));
  assert_false(ifd_add_i64(&r, INT64_MIN, -1));
  assert_false(ifd_mul_size(&z, SIZE_MAX, 2));
  assert_false(ifd_add_size(&z, SIZE_MAX, 1));
  assert_true(ifd_add_size(&z, SIZE_MAX - 1, 1) && z == SIZE_MAX);
  assert_int_equal(ifd_ceil_div(7, 3), 3);
  assert_int_equal(ifd_ceil_div(6, 3), 2);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(first_failure_is_kept),
      cmocka_unit_test(where_reads_outermost_first),
      cmocka_unit_test(control_bytes_and_length_are_tamed),
      cmocka_unit_test(statuses_have_texts_and_exit_codes),
      cmocka_unit_test(arithmetic_reports_overflow),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
