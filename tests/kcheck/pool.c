/* Pools: random windows in both layouts on every ISA, against a plain loop in the order that
 * kernels/pool/pool.h promises. */
#include "kcheck/buffer.h"

#include "kernels/kernels.h"
#include "kernels/pool/pool.h"

enum { Z, Y, X };

static float step(bool average, float a, float b) { return average ? a + b : a > b || a != a ? a : b; }

static bool inside(const ifd_k_pool_shape *p, int axis, int64_t o, int64_t k, int64_t *at) {
  *at = o * p->stride[axis] + k * p->dilation[axis] - p->begin[axis];
  return *at >= 0 && *at < p->image[axis];
}

static int64_t count(const ifd_k_pool_shape *p, int axis, int64_t o) {
  int64_t n = 0, at;
  for (int64_t k = 0; k < p->kernel[axis]; k++)
    n += inside(p, axis, o, k, &at) || (p->count_padding && at < p->image[axis] + p->end[axis]);
  return n;
}

/* One window of the plane x, whose elements are `lanes` apart. */
static float window_of(const ifd_k_pool_shape *p, const float *x, int lanes, const int64_t *o) {
  float y = p->average ? 0 : -INFINITY;
  int64_t z, row, column;
  for (int64_t kx = 0; kx < p->kernel[X]; kx++) {
    if (!inside(p, X, o[X], kx, &column)) continue;
    float t = 0;
    bool any = false;
    for (int64_t kz = 0; kz < p->kernel[Z]; kz++)
      for (int64_t ky = 0; ky < p->kernel[Y]; ky++) {
        if (!inside(p, Z, o[Z], kz, &z) || !inside(p, Y, o[Y], ky, &row)) continue;
        const float a = x[((z * p->image[Y] + row) * p->image[X] + column) * lanes];
        t = any ? step(p->average, t, a) : a;
        any = true;
      }
    if (any) y = step(p->average, y, t);
  }
  return p->average ? y / (float)(count(p, Z, o[Z]) * count(p, Y, o[Y]) * count(p, X, o[X])) : y;
}

static void check(const ifd_k_pool_shape *p, int lanes, bool odd, uint64_t *state) {
  const int64_t in = p->image[Z] * p->image[Y] * p->image[X] * lanes;
  const int64_t rows = p->windows[Z] * p->windows[Y], out = rows * p->windows[X] * lanes;
  buffer x = buffer_floats(in), want = buffer_floats(out);
  float *exact = malloc(x.len + 1);
  buffer_fill(&x, state, odd);
  memcpy(exact, x.f, x.len);
  for (int64_t i = 0; i < out; i++) {
    const int64_t w = i / lanes, o[] = {w / p->windows[X] / p->windows[Y], w / p->windows[X] % p->windows[Y],
                                        w % p->windows[X]};
    want.f[i] = window_of(p, x.f + i % lanes, lanes, o);
  }
  for (ifd_isa isa = IFD_ISA_REF; isa <= ifd_cpu_isa(); isa++) {
    buffer y = buffer_floats(out);
    ifd_k_pool(isa)->rows(p, lanes, exact, y.f, 0, (size_t)rows / 2);
    ifd_k_pool(isa)->rows(p, lanes, exact, y.f, (size_t)rows / 2, (size_t)rows);
    if (!same_floats(y.f, want.f, out))
      fail_msg("%s: image %d %d %d kernel %d %d %d stride %d dilation %d begin %d average %d lanes %d",
               ifd_isa_name(isa), (int)p->image[Z], (int)p->image[Y], (int)p->image[X], (int)p->kernel[Z],
               (int)p->kernel[Y], (int)p->kernel[X], (int)p->stride[X], (int)p->dilation[X], (int)p->begin[X],
               p->average, lanes);
    buffer_free(&y);
  }
  free(exact);
  buffer_free(&x), buffer_free(&want);
}

/* Sizes and, as ceil_mode may have it, sometimes a window more than fits. */
static void set_axis(ifd_k_pool_shape *p, int axis, int64_t image, int64_t kernel, uint64_t *state) {
  p->image[axis] = image, p->kernel[axis] = kernel;
  p->stride[axis] = rand_in(state, 1, 4), p->dilation[axis] = rand_in(state, 1, 3);
  const int64_t reach = (kernel - 1) * p->dilation[axis] + 1;
  p->begin[axis] = rand_in(state, 0, reach - 1), p->end[axis] = rand_in(state, 0, reach - 1);
  while (image + p->begin[axis] + p->end[axis] < reach) p->end[axis]++;
  const int64_t room = image + p->begin[axis] + p->end[axis] - reach;
  p->windows[axis] = room / p->stride[axis] + 1;
  if (rand_u32(state) % 3 == 0 && p->windows[axis] * p->stride[axis] < image + p->begin[axis])
    p->windows[axis]++;
}

static void random_windows(void **unused) {
  (void)unused;
  uint64_t state = 1;
  for (int round = 0; round < 600; round++) {
    ifd_k_pool_shape p = {.average = round & 1, .count_padding = round & 2};
    const int axes = (int)rand_in(&state, 1, 3);
    for (int axis = 0; axis < 3; axis++) {
      if (axis < 3 - axes) {
        p.image[axis] = p.windows[axis] = p.kernel[axis] = p.stride[axis] = p.dilation[axis] = 1;
        continue;
      }
      set_axis(&p, axis, rand_in(&state, 1, axis == X ? 40 : 9), rand_in(&state, 1, 5), &state);
    }
    check(&p, round % 5 < 3 ? 1 : 16, round % 7 == 0, &state);
  }
}

/* Beyond the room for columns: long rows, and windows wider than it. */
static void wide(void **unused) {
  (void)unused;
  uint64_t state = 2;
  for (int round = 0; round < 8; round++) {
    ifd_k_pool_shape p = {
        .average = round & 1, .image = {1}, .windows = {1}, .kernel = {1}, .stride = {1}, .dilation = {1}};
    set_axis(&p, Y, 2, 2, &state);
    set_axis(&p, X, round < 4 ? 9000 : 700, round < 4 ? 3 : 400, &state);
    check(&p, round < 4 ? 1 : 16, false, &state);
    set_axis(&p, X, 5000, round < 4 ? 3 : 4500, &state);
    p.stride[X] = 300,
    p.windows[X] = (5000 + p.begin[X] + p.end[X] - 1 - (p.kernel[X] - 1) * p.dilation[X]) / 300 + 1;
    check(&p, 1, false, &state);
  }
}

/* Taps of rows of windows, with indices. */
#define CHECK_GREATER(t, index_t, take_greater)                                                              \
  static void greater_##t(void **unused) {                                                                   \
    enum { N = 75, MOST = 3 };                                                                               \
    uint64_t state = 3;                                                                                      \
    (void)unused;                                                                                            \
    for (ifd_isa isa = IFD_ISA_REF; isa <= ifd_cpu_isa(); isa++)                                             \
      for (int n = 0; n < N; n++) {                                                                          \
        static const t odd[] = {NAN, -INFINITY, INFINITY, 0};                                                \
        const int step = 1 + n % MOST;                                                                       \
        t x[N * MOST], best[N], want[N];                                                                     \
        index_t index[N], at[N];                                                                             \
        for (int i = 0; i < N; i++) best[i] = want[i] = -INFINITY, index[i] = at[i] = -1;                    \
        for (int tap = 0; tap < 4; tap++) {                                                                  \
          for (int i = 0; i < N * MOST; i++)                                                                 \
            x[i] = rand_u32(&state) % 8 ? (t)rand_in(&state, -9, 9) : odd[rand_u32(&state) % 4];             \
          ifd_k_pool(isa)->take_greater(x, step, n, 1000 * tap, best, index);                                \
          for (int i = 0; i < n; i++) {                                                                      \
            const t a = x[i * step];                                                                         \
            if (a > want[i] || isnan(a) || at[i] < 0) want[i] = a, at[i] = 1000 * tap + i * step;            \
          }                                                                                                  \
        }                                                                                                    \
        assert_memory_equal(best, want, sizeof best);                                                        \
        assert_memory_equal(index, at, sizeof index);                                                        \
      }                                                                                                      \
  }
CHECK_GREATER(float, int32_t, greater_f32)
CHECK_GREATER(double, int64_t, greater_f64)

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(random_windows), cmocka_unit_test(wide),
                                     cmocka_unit_test(greater_float), cmocka_unit_test(greater_double)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
