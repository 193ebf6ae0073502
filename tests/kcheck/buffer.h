/* Numbers for kernel checks: random contents with the awkward values mixed in, and memory with guards on both
 * sides. */
#ifndef IFD_TESTS_KCHECK_BUFFER_H
#define IFD_TESTS_KCHECK_BUFFER_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static inline uint32_t rand_u32(uint64_t *state) {
  *state = *state * 6364136223846793005u + 1442695040888963407u;
  return (uint32_t)(*state >> 32);
}
/* in [lo, hi] */
static inline int64_t rand_in(uint64_t *state, int64_t lo, int64_t hi) {
  return lo + (int64_t)(rand_u32(state) % (uint64_t)(hi - lo + 1));
}
static inline float rand_float(uint64_t *state) { return (float)(int32_t)rand_u32(state) * 0x1p-31f; }

enum { GUARD = 64 };

/* len bytes, 64-aligned, with GUARD bytes around that buffer_check finds untouched. */
typedef struct buffer {
  unsigned char *whole;
  float *f;
  size_t len;
} buffer;

static inline buffer buffer_new(size_t len) {
  buffer b = {.len = len};
  b.whole = aligned_alloc(64, (len + 2 * GUARD + 63) / 64 * 64);
  assert_non_null(b.whole);
  memset(b.whole, 0xa5, len + 2 * GUARD);
  b.f = (float *)(b.whole + GUARD);
  return b;
}
static inline buffer buffer_floats(int64_t n) { return buffer_new(sizeof(float) * (size_t)n); }

static inline void buffer_check(const buffer *b) {
  for (size_t i = 0; i < GUARD; i++) {
    assert_int_equal(b->whole[i], 0xa5);
    assert_int_equal(b->whole[GUARD + b->len + i], 0xa5);
  }
}
static inline void buffer_free(buffer *b) {
  buffer_check(b);
  free(b->whole);
  *b = (buffer){0};
}

/* Uniform in (-1, 1); where `odd`, one in fifty is a zero, denormal, huge, infinite or NaN. */
static inline void buffer_fill(buffer *b, uint64_t *state, bool odd) {
  static const float odds[] = {0, -0.f, 1e-45f, -3e-39f, 1e38f, -3e38f, INFINITY, -INFINITY, NAN};
  for (size_t i = 0; i < b->len / sizeof(float); i++) {
    b->f[i] = rand_float(state);
    if (odd && rand_u32(state) % 50 == 0) b->f[i] = odds[rand_u32(state) % (sizeof odds / sizeof *odds)];
  }
}

/* The same bits; any NaN is as good as another. */
static inline bool same_floats(const float *a, const float *b, int64_t n) {
  for (int64_t i = 0; i < n; i++)
    if (memcmp(a + i, b + i, sizeof *a) && !(isnan(a[i]) && isnan(b[i]))) return false;
  return true;
}

#endif
