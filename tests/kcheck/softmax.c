/* Softmax: the same bits on every ISA for every length, and values against double. */
#include "kcheck/buffer.h"

#include "kernels/kernels.h"
#include "kernels/softmax/softmax.h"

static void softmax_f64(bool log, const double *v, size_t n, double *y) {
  double max = -INFINITY, sum = 0;
  for (size_t i = 0; i < n; i++) max = v[i] > max || v[i] != v[i] ? v[i] : max;
  for (size_t i = 0; i < n; i++) sum += exp(v[i] - max);
  for (size_t i = 0; i < n; i++) y[i] = log ? v[i] - max - __builtin_log(sum) : exp(v[i] - max) / sum;
}

static void check_row(bool log, size_t n, bool masked, bool odd, uint64_t *state) {
  buffer x = buffer_floats((int64_t)n), mask = buffer_floats((int64_t)n), want = buffer_floats((int64_t)n);
  buffer_fill(&x, state, odd), buffer_fill(&mask, state, false);
  for (size_t i = 0; i < n; i++) {
    x.f[i] *= 20;
    if (masked && i && rand_u32(state) % 3 == 0) mask.f[i] = -INFINITY;
  }
  const float scale = masked ? 0.125f : 1, *m = masked ? mask.f : NULL;
  ifd_k_softmax(IFD_ISA_REF)->rows(log, x.f, n, scale, m, 0, want.f, n, 1, n);
  double v[6000], y[6000];
  for (size_t i = 0; i < n; i++) v[i] = masked ? (float)(x.f[i] * scale) + mask.f[i] : x.f[i];
  softmax_f64(log, v, n, y);
  for (size_t i = 0; i < n && !odd; i++)
    if (!(fabs(want.f[i] - y[i]) <= (log ? 4e-6 : (1e-6 + 40 * 0x1p-24) * y[i] + 1e-37)) && want.f[i] != y[i])
      fail_msg("element %zu of %zu: %a, not %a", i, n, (double)want.f[i], y[i]);
  for (ifd_isa isa = IFD_ISA_AVX2; isa <= ifd_cpu_isa(); isa++) {
    buffer z = buffer_floats((int64_t)n);
    memcpy(z.f, x.f, z.len); /* in place */
    ifd_k_softmax(isa)->rows(log, z.f, n, scale, m, 0, z.f, n, 1, n);
    assert_true(same_floats(z.f, want.f, (int64_t)n));
    buffer_free(&z);
  }
  buffer_free(&x), buffer_free(&mask), buffer_free(&want);
}

static void rows(void **unused) {
  (void)unused;
  uint64_t state = 1;
  for (int mode = 0; mode < 8; mode++) {
    for (size_t n = 1; n < 70; n++) check_row(mode & 1, n, mode & 2, mode & 4, &state);
    check_row(mode & 1, 4100, mode & 2, false, &state);
    check_row(mode & 1, 5999, mode & 2, false, &state);
  }
}

static void columns(void **unused) {
  (void)unused;
  uint64_t state = 2;
  for (size_t m = 1; m < 50; m++) {
    const bool log = m & 1, odd = m % 3 == 0;
    const size_t n = 1 + m % 9, stride = m + m % 4;
    buffer x = buffer_floats((int64_t)(n * stride)), want = buffer_floats((int64_t)(n * stride));
    buffer_fill(&x, &state, odd);
    memcpy(want.f, x.f, x.len);
    ifd_k_softmax(IFD_ISA_REF)->columns(log, x.f, want.f, stride, n, m);
    for (size_t j = 0; j < m && !odd; j++) {
      double v[16], y[16];
      for (size_t i = 0; i < n; i++) v[i] = x.f[i * stride + j];
      softmax_f64(log, v, n, y);
      for (size_t i = 0; i < n; i++) assert_true(fabs(want.f[i * stride + j] - y[i]) <= 1e-6);
    }
    for (ifd_isa isa = IFD_ISA_AVX2; isa <= ifd_cpu_isa(); isa++) {
      buffer z = buffer_floats((int64_t)(n * stride));
      memcpy(z.f, x.f, x.len); /* what lies between the columns stays as it is */
      ifd_k_softmax(isa)->columns(log, z.f, z.f, stride, n, m / 2);
      ifd_k_softmax(isa)->columns(log, z.f + m / 2, z.f + m / 2, stride, n, m - m / 2);
      assert_true(same_floats(z.f, want.f, (int64_t)(n * stride)));
      buffer_free(&z);
    }
    buffer_free(&x), buffer_free(&want);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(rows), cmocka_unit_test(columns)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
