/* Moves: random strided copies in every element size on every ISA and under random splits, against a plain
 * loop; rows gathered by good and bad indices. */
#include "kcheck/buffer.h"

#include "kernels/kernels.h"
#include "kernels/move/move.h"

enum { RANK = 5 };
typedef struct copy {
  size_t size;
  int rank;
  int64_t shape[RANK], to[RANK], from[RANK];
} copy;

static int64_t count_of(const copy *c) {
  int64_t n = 1;
  for (int d = 0; d < c->rank; d++) n *= c->shape[d];
  return n;
}

/* Place of index i, counted row-major, under strides. */
static int64_t place(const copy *c, const int64_t *strides, int64_t i) {
  int64_t at = 0;
  for (int d = c->rank - 1; d >= 0; d--) {
    at += i % c->shape[d] * strides[d];
    i /= c->shape[d];
  }
  return at;
}

/* Lowest and highest place that strides reach. */
static void reach(const copy *c, const int64_t *strides, int64_t *low, int64_t *high) {
  *low = *high = 0;
  for (int d = 0; d < c->rank; d++) *(strides[d] < 0 ? low : high) += (c->shape[d] - 1) * strides[d];
}

static void check(const copy *c, uint64_t *state) {
  int64_t low, high, to_low, to_high, n = count_of(c);
  if (n == 0) return;
  reach(c, c->from, &low, &high);
  reach(c, c->to, &to_low, &to_high);
  const size_t from_len = (size_t)(high - low + 1) * c->size,
               to_len = (size_t)(to_high - to_low + 1) * c->size;
  unsigned char *from = malloc(from_len), *want = malloc(to_len);
  for (size_t i = 0; i < from_len; i++) from[i] = (unsigned char)rand_u32(state);
  memset(want, 0x5a, to_len);
  for (int64_t i = 0; i < n; i++)
    memcpy(want + (size_t)(place(c, c->to, i) - to_low) * c->size,
           from + (size_t)(place(c, c->from, i) - low) * c->size, c->size);
  ifd_k_copy m;
  ifd_k_move_plan(&m, c->size, c->rank, c->shape, c->to, c->from);
  for (ifd_isa isa = IFD_ISA_REF; isa <= ifd_cpu_isa(); isa++) {
    buffer to = buffer_new(to_len);
    memset(to.f, 0x5a, to_len);
    const int64_t cut = rand_in(state, 0, m.tasks);
    char *t = (char *)to.f - to_low * (int64_t)c->size, *f = (char *)from - low * (int64_t)c->size;
    ifd_k_move(isa)->copy(&m, t, f, cut, m.tasks);
    ifd_k_move(isa)->copy(&m, t, f, 0, cut);
    if (memcmp(to.f, want, to_len))
      fail_msg("%s: kind %d, rank %d, elements of %zu", ifd_isa_name(isa), m.kind, c->rank, c->size);
    buffer_free(&to);
  }
  free(from), free(want);
}

/* Strides of a dense tensor whose dimensions lie in memory in the order perm, each gap elements wider than
 * needed. */
static void dense(const copy *c, const int *perm, int64_t gap, int64_t *strides) {
  int64_t stride = 1;
  for (int i = c->rank - 1; i >= 0; i--) {
    strides[perm[i]] = stride;
    stride = stride * c->shape[perm[i]] + gap;
  }
}

static void shuffle(int *perm, int n, uint64_t *state) {
  for (int i = 0; i < n; i++) perm[i] = i;
  for (int i = n - 1; i > 0; i--) {
    int k = (int)rand_in(state, 0, i), swap = perm[i];
    perm[i] = perm[k], perm[k] = swap;
  }
}

static void random_copies(void **unused) {
  (void)unused;
  uint64_t state = 1;
  for (int round = 0; round < 3000; round++) {
    copy c = {.size = (size_t)1 << rand_in(&state, 0, 4), .rank = (int)rand_in(&state, 0, RANK)};
    int perm[RANK];
    for (int d = 0; d < c.rank; d++)
      c.shape[d] = rand_in(&state, round % 50 == 0 ? 0 : 1, c.rank < 3 ? 70 : 9);
    shuffle(perm, c.rank, &state);
    dense(&c, perm, round % 3 == 0 ? rand_in(&state, 0, 3) : 0, c.to);
    shuffle(perm, c.rank, &state);
    dense(&c, perm, round % 4 == 0 ? rand_in(&state, 0, 3) : 0, c.from);
    for (int d = 0; d < c.rank; d++) { /* flips, repeats, steps */
      if (rand_u32(&state) % 8 == 0) c.from[d] = -c.from[d];
      if (rand_u32(&state) % 8 == 0) c.from[d] = 0;
      if (rand_u32(&state) % 8 == 0) c.from[d] *= 2;
    }
    check(&c, &state);
  }
}

/* Matrices across the edges of tiles and strips, and runs across pieces. */
static void matrices(void **unused) {
  (void)unused;
  uint64_t state = 2;
  for (size_t size = 1; size <= 16; size *= 2)
    for (int64_t a = 1; a < 150; a = a * 2 + 5)
      for (int64_t b = 1; b < 150; b = b * 2 + 3) check(&(copy){size, 2, {a, b}, {b, 1}, {1, a + 1}}, &state);
  for (int64_t a = 1; a < 150; a += 3) /* pixels of few channels */
    for (int64_t b = 2; b <= 5; b++) check(&(copy){1, 2, {a, b}, {b, 1}, {1, a}}, &state);
  for (size_t size = 1; size <= 4; size *= 2) /* elements that take turns */
    for (int64_t n = 2; n <= 5; n++)
      for (int64_t m = 1; m < 300; m += 1 + m / 70 * 6)
        check(&(copy){size, 2, {n, m}, {m + 1, 1}, {1, n}}, &state);
  check(&(copy){1, 2, {50000, 3}, {3, 1}, {1, 50000}}, &state);
  check(&(copy){4, 2, {3, 40000}, {40000, 1}, {40001, 1}}, &state);
  check(&(copy){4, 1, {100003}, {1}, {1}}, &state);
  check(&(copy){8, 1, {20000}, {1}, {0}}, &state);
}

static void gathers(void **unused) {
  (void)unused;
  uint64_t state = 3;
  enum { LIMIT = 9, N = 20 };
  for (ifd_isa isa = IFD_ISA_REF; isa <= ifd_cpu_isa(); isa++)
    for (size_t row = 1; row < 140; row++) {
      unsigned char from[LIMIT * 140];
      int64_t wide[N];
      int32_t narrow[N];
      bool failed = false;
      buffer to = buffer_new(N * row);
      for (size_t i = 0; i < sizeof from; i++) from[i] = (unsigned char)rand_u32(&state);
      for (int i = 0; i < N; i++) narrow[i] = (int32_t)(wide[i] = rand_in(&state, -LIMIT, LIMIT - 1));
      ifd_k_gather g = {.size = row, .stride = (int64_t)row, .limit = LIMIT, .wide = row & 1};
      ifd_k_move(isa)->gather(&g, to.f, from, row & 1 ? (void *)wide : (void *)narrow, N, &failed);
      assert_false(failed);
      for (int i = 0; i < N; i++) {
        const size_t at = (size_t)(wide[i] < 0 ? wide[i] + LIMIT : wide[i]);
        assert_memory_equal((char *)to.f + (size_t)i * row, from + at * row, row);
      }
      wide[7] = row % 2 ? LIMIT : INT64_MIN;
      g.wide = true;
      ifd_k_move(isa)->gather(&g, to.f, from, wide, N, &failed);
      assert_true(failed);
      buffer_free(&to);
    }
}

/* Elements of GatherElements: each index counts from a place of its own. */
static void gathers_in_steps(void **unused) {
  (void)unused;
  uint64_t state = 4;
  enum { LIMIT = 9, N = 20 };
  for (ifd_isa isa = IFD_ISA_REF; isa <= ifd_cpu_isa(); isa++)
    for (size_t size = 1; size <= 16; size *= 2) {
      unsigned char from[LIMIT * N * 16];
      int64_t index[N];
      bool failed = false;
      buffer to = buffer_new(N * size);
      for (size_t i = 0; i < sizeof from; i++) from[i] = (unsigned char)rand_u32(&state);
      for (int i = 0; i < N; i++) index[i] = rand_in(&state, -LIMIT, LIMIT - 1);
      ifd_k_gather g = {
          .size = size, .step = (int64_t)size, .stride = (int64_t)(N * size), .limit = LIMIT, .wide = true};
      ifd_k_move(isa)->gather(&g, to.f, from, index, N, &failed);
      assert_false(failed);
      for (int i = 0; i < N; i++) {
        const size_t at = (size_t)(index[i] < 0 ? index[i] + LIMIT : index[i]) * N + (size_t)i;
        assert_memory_equal((char *)to.f + (size_t)i * size, from + at * size, size);
      }
      buffer_free(&to);
    }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(random_copies), cmocka_unit_test(matrices),
                                     cmocka_unit_test(gathers), cmocka_unit_test(gathers_in_steps)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
