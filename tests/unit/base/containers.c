/* Maps and vectors. */
#include "base/map.h"
#include "base/status.h"
#include "base/vec.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

enum { N = 3000 };

static void map_keeps_what_was_set(void **state) {
  (void)state;
  ifd_arena arena;
  ifd_arena_init(&arena, NULL);
  ifd_map map;
  ifd_map_init(&map, &arena);
  static int value[N];
  assert_null(ifd_map_find(&map, "absent"));
  for (int i = 0; i < N; i++)
    assert_true(ifd_map_set(&map, ifd_arena_printf(&arena, "node_%d", i), &value[i]));
  assert_int_equal(map.n, N);
  for (int i = 0; i < N; i += 3) assert_true(ifd_map_set(&map, ifd_arena_printf(&arena, "node_%d", i), NULL));
  for (int i = 1; i < N; i += 3)
    assert_true(ifd_map_set(&map, ifd_arena_printf(&arena, "node_%d", i), &value[0]));
  for (int i = 0; i < N; i++) {
    char key[32];
    snprintf(key, sizeof key, "node_%d", i);
    void *expected = i % 3 == 0 ? NULL : i % 3 == 1 ? &value[0] : &value[i];
    assert_ptr_equal(ifd_map_find(&map, key), expected);
  }
  assert_null(ifd_map_find(&map, ""));
  assert_int_equal(map.n, N);
  ifd_arena_free(&arena);
}

static void map_survives_lack_of_memory(void **state) {
  (void)state;
  ifd_budget budget = {.limit = 16 << 10};
  ifd_arena arena;
  ifd_arena_init(&arena, &budget);
  ifd_map map;
  ifd_map_init(&map, &arena);
  static char key[N][12];
  int set = 0;
  for (; set < N; set++) {
    snprintf(key[set], sizeof key[set], "%d", set);
    if (!ifd_map_set(&map, key[set], key[set])) break;
  }
  assert_in_range(set, 1, N - 1);
  for (int i = 0; i < set; i++) assert_ptr_equal(ifd_map_find(&map, key[i]), key[i]);
  ifd_arena_free(&arena);
}

static void hash_depends_on_every_byte_and_the_length(void **state) {
  (void)state;
  uint8_t bytes[16] = {0};
  uint64_t h = ifd_hash_bytes(bytes, 16);
  assert_true(ifd_hash_bytes(bytes, 15) != h);
  for (int i = 0; i < 16; i++) {
    bytes[i] = 1;
    assert_true(ifd_hash_bytes(bytes, 16) != h);
    bytes[i] = 0;
  }
  assert_true(ifd_hash_mix(1, 2) != ifd_hash_mix(2, 1));
}

typedef IFD_VEC(int64_t) numbers;

static ifd_status push_all(ifd_error *err, ifd_arena *arena, numbers *v, int n) {
  for (int i = 0; i < n; i++) IFD_PUSH(err, arena, v, (int64_t)i * i);
  return IFD_OK;
}

static void vector_grows(void **state) {
  (void)state;
  ifd_error err = {0};
  ifd_arena arena;
  ifd_arena_init(&arena, NULL);
  numbers v = {0};
  assert_int_equal(push_all(&err, &arena, &v, N), IFD_OK);
  assert_int_equal(v.n, N);
  for (int i = 0; i < N; i++) assert_int_equal(v.v[i], (int64_t)i * i);
  ifd_arena_free(&arena);
}

static void vector_survives_lack_of_memory(void **state) {
  (void)state;
  ifd_error err = {0};
  ifd_budget budget = {.limit = 8 << 10};
  ifd_arena arena;
  ifd_arena_init(&arena, &budget);
  numbers v = {0};
  assert_int_equal(push_all(&err, &arena, &v, N), IFD_NO_MEMORY);
  assert_int_equal(err.code, IFD_NO_MEMORY);
  assert_in_range(v.n, 8, N - 1);
  for (int i = 0; i < v.n; i++) assert_int_equal(v.v[i], (int64_t)i * i);
  int cap = INT32_MAX / 2 + 1;
  assert_null(ifd_vec_grow(&arena, NULL, 0, &cap, 1));
  ifd_arena_free(&arena);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(map_keeps_what_was_set),
      cmocka_unit_test(map_survives_lack_of_memory),
      cmocka_unit_test(hash_depends_on_every_byte_and_the_length),
      cmocka_unit_test(vector_grows),
      cmocka_unit_test(vector_survives_lack_of_memory),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
