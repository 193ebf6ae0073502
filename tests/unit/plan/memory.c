/* Places in the slab: buffers that live at once never overlap, freed room serves again, time follows the
 * number. */
#include "plan/memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

enum { N = 400 };

static bool meet(const ifd_buffer *a, const ifd_buffer *b) {
  return a->first <= b->last && b->first <= a->last;
}

static size_t room(const ifd_buffer *b) { return b->bytes ? (b->bytes + 63) & ~(size_t)63 : 64; }

/* The most bytes that live at one step: no plan takes less. */
static size_t least(const ifd_buffer *buffers, int n) {
  size_t most = 0;
  for (int t = 0; t < N; t++) {
    size_t now = 0;
    for (int i = 0; i < n; i++)
      if (buffers[i].first <= t && t <= buffers[i].last) now += room(&buffers[i]);
    if (now > most) most = now;
  }
  return most;
}

static size_t plan(ifd_buffer *buffers, int n) {
  ifd_error err = {0};
  ifd_arena scratch;
  size_t slab;
  ifd_arena_init(&scratch, NULL);
  assert_int_equal(ifd_memory_plan(&err, buffers, n, &slab, &scratch), IFD_OK);
  ifd_arena_free(&scratch);
  return slab;
}

static void buffers_alive_at_once_are_apart(void **state) {
  (void)state;
  double excess = 0;
  srand(1);
  for (int round = 0; round < 50; round++) {
    ifd_buffer b[N];
    for (int i = 0; i < N; i++)
      b[i] = (ifd_buffer){.first = i,
                          .last = i + rand() % (rand() % 20 ? 6 : N / 2),
                          .bytes = (size_t)(rand() % 9 ? rand() % 5000 : rand() % 400000)};
    size_t slab = plan(b, N);
    for (int i = 0; i < N; i++) {
      assert_int_equal(b[i].offset % 64, 0);
      assert_true(b[i].offset + room(&b[i]) <= slab);
      for (int k = 0; k < i; k++)
        assert_true(!meet(&b[i], &b[k]) || b[i].offset + room(&b[i]) <= b[k].offset ||
                    b[k].offset + room(&b[k]) <= b[i].offset);
    }
    excess += (double)slab / (double)least(b, N) / 50;
  }
  assert_true(excess >= 1 && excess < 1.35);
}

static void a_chain_takes_two_buffers(void **state) {
  (void)state;
  ifd_buffer b[N];
  for (int i = 0; i < N; i++) b[i] = (ifd_buffer){.first = i, .last = i + 1, .bytes = 1000};
  assert_int_equal(plan(b, N), 2 * 1024);
  assert_int_equal(plan(b, 1), 1024);
  assert_int_equal(plan(b, 0), 0);
}

static void neighbours_become_one(void **state) {
  (void)state;
  ifd_buffer b[] = {{0, 1, 64, 0}, {0, 2, 64, 0}, {0, 1, 64, 0}, {0, 9, 64, 0}, {3, 3, 192, 0}};
  assert_int_equal(plan(b, 5), 256);
  assert_int_equal(b[4].offset, 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(buffers_alive_at_once_are_apart),
                                     cmocka_unit_test(a_chain_takes_two_buffers),
                                     cmocka_unit_test(neighbours_become_one)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
