/* Arenas: alignment, zeroing, limits, reuse. */
#include "base/arena.h"

#include "unit/arena_data.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

/* Every piece is zero when given, aligned, and apart from all others. */
static void arena_pieces_are_zero_and_apart(void **state) {
  (void)state;
  ifd_budget budget = {0};
  ifd_arena arena;
  ifd_arena_init(&arena, &budget);
  enum { N = 400 };
  unsigned char *piece[N];
  size_t size[N];
  for (int round = 0; round < 2; round++) {
    for (int i = 0; i < N; i++) {
      size[i] = i % 50 == 49 ? 300000 : (size_t)(i * 37 % 777);
      bool data = i % 3 == 0;
      piece[i] = data ? ifd_arena_alloc_data(&arena, size[i]) : ifd_arena_alloc(&arena, size[i]);
      assert_non_null(piece[i]);
      assert_int_equal((uintptr_t)piece[i] % (data ? 64 : 16), 0);
      for (size_t k = 0; k < size[i]; k++) assert_int_equal(piece[i][k], 0);
      memset(piece[i], i % 255 + 1, size[i]);
    }
    for (int i = 0; i < N; i++)
      for (size_t k = 0; k < size[i]; k++) assert_int_equal(piece[i][k], i % 255 + 1);
    assert_true(budget.used > 0);
    ifd_arena_free(&arena);
    assert_int_equal(budget.used, 0);
  }
}

static bool is_it(void *context, const void *data, size_t size) {
  assert_true(size >= IFD_ARENA_LARGE);
  return data == context;
}

/* Large data goes alone; what is small, or no data, stays. */
static void arena_gives_back_large_data(void **state) {
  (void)state;
  ifd_budget budget = {0};
  ifd_arena arena;
  ifd_arena_init(&arena, &budget);
  char *first = ifd_arena_alloc_data(&arena, IFD_ARENA_LARGE);
  char *small = ifd_arena_alloc_data(&arena, 100), *list = ifd_arena_alloc(&arena, IFD_ARENA_LARGE);
  char *second = ifd_arena_alloc_data(&arena, IFD_ARENA_LARGE);
  size_t before = budget.used;
  assert_true(arena_has_data(&arena, first, IFD_ARENA_LARGE));
  assert_false(arena_has_data(&arena, first, IFD_ARENA_LARGE + 1));
  assert_false(arena_has_data(&arena, list, 1) || arena_has_data(&arena, small, 1));
  ifd_arena_collect(&arena, is_it, second);
  assert_true(budget.used < before - IFD_ARENA_LARGE && budget.used > 2 * IFD_ARENA_LARGE);
  assert_false(arena_has_data(&arena, first, 1));
  memset(small, 1, 100), memset(list, 1, IFD_ARENA_LARGE), memset(second, 1, IFD_ARENA_LARGE);
  ifd_arena_collect(&arena, is_it, NULL);
  char *third = ifd_arena_alloc_data(&arena, 200);
  for (int i = 0; i < 200; i++) assert_int_equal(third[i], 0);
  ifd_arena_free(&arena);
  assert_int_equal(budget.used, 0);
}

enum { N_PIECES = 60 };

static size_t size_of_piece(int i) { return 100000 + (size_t)i * 5000; }

static bool begins_odd(void *context, const void *data, size_t size) {
  (void)context;
  return size >= size_of_piece(0) && *(const char *)data % 2;
}

/* What was given back is taken again, and what stays is not touched. */
static void arena_takes_again_what_was_given_back(void **state) {
  (void)state;
  ifd_budget budget = {0};
  ifd_arena arena;
  ifd_arena_init(&arena, &budget);
  char *piece[N_PIECES];
  for (int i = 0; i < N_PIECES; i++) {
    piece[i] = ifd_arena_alloc_data(&arena, size_of_piece(i));
    for (size_t k = 0; k < size_of_piece(i); k += 100) assert_int_equal(piece[i][k], 0);
    memset(piece[i], i, size_of_piece(i));
  }
  size_t most = budget.used;
  ifd_arena_collect(&arena, begins_odd, NULL);
  for (int i = 0; i < N_PIECES; i++) assert_int_equal(arena_has_data(&arena, piece[i], 1), i % 2);
  for (int i = 0; i < N_PIECES; i += 2)
    memset(ifd_arena_alloc_data(&arena, size_of_piece(i)), 1, size_of_piece(i));
  assert_true(budget.used <= most);
  for (int i = 1; i < N_PIECES; i += 2)
    for (size_t k = 0; k < size_of_piece(i); k++) assert_int_equal(piece[i][k], i);
  ifd_arena_free(&arena);
  assert_int_equal(budget.used, 0);
}

/* Room for more is not asked for where only a piece fits. */
static void arena_takes_what_a_budget_has(void **state) {
  (void)state;
  ifd_budget budget = {.limit = 13 << 19};
  ifd_arena arena;
  ifd_arena_init(&arena, &budget);
  for (int i = 0; i < 2; i++) assert_non_null(ifd_arena_alloc_data(&arena, (2 << 20) + (1 << 18)));
  assert_null(ifd_arena_alloc_data(&arena, (2 << 20) + (1 << 18)));
  ifd_arena_free(&arena);
  assert_int_equal(budget.used, 0);
}

static void arena_refuses_overflow_and_over_budget(void **state) {
  (void)state;
  ifd_budget budget = {.limit = 64 << 10};
  ifd_arena arena;
  ifd_arena_init(&arena, &budget);
  assert_null(ifd_arena_alloc_array(&arena, SIZE_MAX / 2, 3));
  assert_null(ifd_arena_alloc(&arena, SIZE_MAX));
  assert_null(ifd_arena_strndup(&arena, "", SIZE_MAX));
  assert_null(ifd_arena_alloc(&arena, 1 << 20));
  assert_non_null(ifd_arena_alloc(&arena, 1 << 10));
  ifd_arena_free(&arena);
  assert_int_equal(budget.used, 0);
}

static void arena_copies_text(void **state) {
  (void)state;
  ifd_arena arena;
  ifd_arena_init(&arena, NULL);
  assert_string_equal(ifd_arena_strdup(&arena, "weight"), "weight");
  assert_string_equal(ifd_arena_strndup(&arena, "weight", 3), "wei");
  assert_string_equal(ifd_arena_strndup(&arena, NULL, 0), "");
  assert_string_equal(ifd_arena_printf(&arena, "%s_%d", "conv", 12), "conv_12");
  char *wide = ifd_arena_printf(&arena, "%5000d", 7);
  assert_int_equal(strlen(wide), 5000);
  assert_memory_equal(ifd_arena_memdup(&arena, "a\0b", 3), "a\0b", 3);
  ifd_arena_free(&arena);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(arena_pieces_are_zero_and_apart),
      cmocka_unit_test(arena_gives_back_large_data),
      cmocka_unit_test(arena_takes_again_what_was_given_back),
      cmocka_unit_test(arena_takes_what_a_budget_has),
      cmocka_unit_test(arena_refuses_overflow_and_over_budget),
      cmocka_unit_test(arena_copies_text),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
