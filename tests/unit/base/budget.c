/* Budgets: counts, limits, injected failures; created ones keep blocks and outlive their owner. */
#include "base/budget.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

static void budget_counts_and_refuses(void **state) {
  (void)state;
  ifd_budget budget = {.limit = 1024};
  void *a = ifd_budget_alloc(&budget, 1), *b = ifd_budget_alloc(&budget, 900);
  assert_non_null(a);
  assert_non_null(b);
  assert_int_equal((uintptr_t)a % 64 + (uintptr_t)b % 64, 0);
  size_t both = budget.used;
  assert_true(both >= 901 && both <= 1024);
  assert_null(ifd_budget_alloc(&budget, 256));
  assert_int_equal(budget.used, both);
  ifd_budget_free(&budget, b, 900);
  b = ifd_budget_alloc(&budget, 256);
  assert_non_null(b);
  ifd_budget_free(&budget, b, 256);
  ifd_budget_free(&budget, a, 1);
  ifd_budget_free(&budget, NULL, 77);
  assert_int_equal(budget.used, 0);
  assert_int_equal(budget.peak, both);
  assert_null(ifd_budget_alloc(&budget, SIZE_MAX));
  assert_null(ifd_budget_alloc(NULL, SIZE_MAX - 3));
  assert_int_equal(budget.used, 0);
}

static void budget_fails_the_nth_and_later(void **state) {
  (void)state;
  ifd_budget budget = {.fail_after = 3};
  void *a = ifd_budget_alloc(&budget, 8), *b = ifd_budget_alloc(&budget, 8);
  assert_non_null(a);
  assert_non_null(b);
  for (int i = 0; i < 4; i++) assert_null(ifd_budget_alloc(&budget, 8));
  ifd_budget_free(&budget, a, 8);
  ifd_budget_free(&budget, b, 8);
  assert_int_equal(budget.used, 0);
}

static void large_blocks_are_whole(void **state) {
  (void)state;
  ifd_budget budget = {0};
  size_t sizes[] = {(2 << 20) - 64, 2 << 20, (2 << 20) + 1, (9 << 20) + 77};
  for (int i = 0; i < 4; i++) {
    char *p = ifd_budget_alloc(&budget, sizes[i]);
    assert_non_null(p);
    assert_int_equal((uintptr_t)p % 64, 0);
    memset(p, i, sizes[i]);
    assert_int_equal(p[sizes[i] - 1], i);
    ifd_budget_free(&budget, p, sizes[i]);
  }
  assert_int_equal(budget.used, 0);
}

static void freed_blocks_serve_again(void **state) {
  (void)state;
  ifd_budget *b = ifd_budget_create(0);
  size_t empty = b->used;
  if (!b->keeps) { /* under AddressSanitizer */
    ifd_budget_close(b);
    skip();
  }
  void *p = ifd_budget_alloc(b, 10000), *q = ifd_budget_alloc(b, 10000), *other = ifd_budget_alloc(b, 20000);
  ifd_budget_free(b, p, 10000);
  ifd_budget_free(b, q, 10000);
  assert_ptr_equal(ifd_budget_alloc(b, 9999), q);
  assert_ptr_equal(ifd_budget_alloc(b, 10000), p);
  ifd_budget_free(b, p, 10000);
  ifd_budget_free(b, q, 10000);
  ifd_budget_free(b, other, 20000);
  assert_true(b->used > empty + 40000);
  for (int round = 0; round < 3; round++) { /* q is asked for in every round, the others in none */
    ifd_budget_free(b, ifd_budget_alloc(b, 10000), 10000);
    ifd_budget_end_round(b);
  }
  assert_int_equal(b->n_kept, 3);
  ifd_budget_free(b, ifd_budget_alloc(b, 10000), 10000);
  ifd_budget_end_round(b);
  assert_int_equal(b->n_kept, 1);
  for (int round = 0; round < 4; round++) ifd_budget_end_round(b);
  assert_int_equal(b->n_kept, 0);
  assert_int_equal(b->used, empty);
  ifd_budget_close(b);
}

/* What is kept is no reason to refuse. */
static void kept_blocks_make_room(void **state) {
  (void)state;
  ifd_budget *b = ifd_budget_create(100000);
  ifd_budget_free(b, ifd_budget_alloc(b, 60000), 60000);
  void *p = ifd_budget_alloc(b, 80000);
  assert_non_null(p);
  assert_null(ifd_budget_alloc(b, 60000));
  assert_true(b->was_exceeded);
  ifd_budget_raise(b, 50000);
  assert_null(ifd_budget_alloc(b, 60000));
  ifd_budget_raise(b, 200000);
  void *q = ifd_budget_alloc(b, 60000);
  assert_non_null(q);
  ifd_budget_free(b, p, 80000);
  ifd_budget_free(b, q, 60000);
  ifd_budget_close(b);
}

static void asks_the_machine_late(void **state) {
  (void)state;
  enum { LITTLE = 1 << 20, MUCH = 1 << 25 };
  ifd_budget b = {.of_machine = true}, other = {.limit = MUCH / 2};
  ifd_budget_free(&b, ifd_budget_alloc(&b, LITTLE), LITTLE);
  assert_int_equal(b.half, 0);
  ifd_budget_free(&b, ifd_budget_alloc(&b, MUCH), MUCH);
  assert_true(b.half > 0);
  assert_int_equal(ifd_budget_most(&b), b.half);

  b.half = MUCH - 1;
  assert_null(ifd_budget_alloc(&b, MUCH));
  assert_true(b.was_exceeded);
  ifd_budget_limit_like(&other, &b);
  assert_int_equal(ifd_budget_most(&other), MUCH - 1);
  other.limit = LITTLE;
  assert_null(ifd_budget_alloc(&other, LITTLE + 1));
  assert_int_equal(ifd_budget_most(&other), LITTLE);
}

/* AddressSanitizer sees a budget that goes too early, or never. */
static void blocks_outlive_the_owner(void **state) {
  (void)state;
  ifd_budget *b = ifd_budget_create(0);
  char *p = ifd_budget_alloc(b, 5000), *q = ifd_budget_alloc(b, 50);
  ifd_budget_free(b, ifd_budget_alloc(b, 7000), 7000);
  ifd_budget_close(b);
  memset(p, 1, 5000);
  ifd_budget_free(b, p, 5000);
  memset(q, 1, 50);
  ifd_budget_free(b, q, 50);
  ifd_budget_close(NULL);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(budget_counts_and_refuses), cmocka_unit_test(budget_fails_the_nth_and_later),
      cmocka_unit_test(large_blocks_are_whole),    cmocka_unit_test(freed_blocks_serve_again),
      cmocka_unit_test(kept_blocks_make_room),     cmocka_unit_test(blocks_outlive_the_owner),
      cmocka_unit_test(asks_the_machine_late),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
