/* Softmax: the same bits on every ISA for every length, and values against double. */
#include "kcheck/buffer.h"

#include <float.h>

#include "kernels/eltwise/eltwise.h"
#include "kernels/kernels.h"
#include "kernels/reduce/reduce.h"
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

/* Rows of one call have the bits that each has alone, also where several share a vector; what lies between
 * them stays as it is. */
static void many_rows(void **unused) {
  (void)unused;
  uint64_t state = 5;
  for (int round = 0; round < 400; round++) {
    const int64_t n = rand_in(&state, 1, 20), m = rand_in(&state, 1, 40), step = n + rand_in(&state, 0, 3);
    const bool log = round & 1;
    buffer x = buffer_floats((m - 1) * step + n), want = buffer_floats((m - 1) * step + n);
    buffer_fill(&x, &state, round % 5 == 4);
    memcpy(want.f, x.f, x.len);
    for (int64_t i = 0; i < m; i++) {
      float *row = want.f + i * step;
      ifd_k_softmax(IFD_ISA_REF)->rows(log, row, 0, 1, NULL, 0, row, 0, 1, (size_t)n);
    }
    for (ifd_isa isa = IFD_ISA_REF; isa <= ifd_cpu_isa(); isa++) {
      buffer y = buffer_floats((m - 1) * step + n);
      memcpy(y.f, x.f, x.len);
      ifd_k_softmax(isa)->rows(log, y.f, (size_t)step, 1, NULL, 0, y.f, (size_t)step, (size_t)m, (size_t)n);
      assert_true(same_floats(y.f, want.f, (m - 1) * step + n));
      buffer_free(&y);
    }
    buffer_free(&x), buffer_free(&want);
  }
}

/* Scores of `n` keys by `m` queries: rows rs apart, vectors vs; what is between them stays as it is. */
typedef struct scores {
  size_t m, n, rs, vs;
  buffer x, mask, factors;
} scores;

static float *score_at(const scores *s, size_t i, size_t j) {
  return s->x.f + i * s->rs + j / 16 * s->vs + j % 16;
}

static scores scores_new(size_t m, size_t n, bool apart) {
  scores s = {m, n, apart ? 16 : (n + 15) / 16 * 16, apart ? m * 16 : 16};
  s.x = buffer_floats((int64_t)(m * ((n + 15) / 16 * 16)));
  s.mask = buffer_floats((int64_t)(m * n)), s.factors = buffer_floats((int64_t)m);
  return s;
}

static void scores_free(scores *s) { buffer_free(&s->x), buffer_free(&s->mask), buffer_free(&s->factors); }

static void run_weights(ifd_isa isa, const scores *s, bool masked, bool blind) {
  ifd_k_softmax(isa)->weights(s->x.f, s->rs, s->vs, .125f, masked ? s->mask.f : NULL, s->n, blind,
                              s->factors.f, s->m, s->n);
}

static void check_weights(size_t m, size_t n, bool masked, bool odd, uint64_t *state) {
  scores want = scores_new(m, n, false);
  buffer_fill(&want.x, state, odd), buffer_fill(&want.mask, state, false);
  for (size_t i = 0; i < m * n;
       i++) /* a row that sees nothing as exporters say it, and some keys as they do */
    if (i < n || rand_u32(state) % 3 == 0) want.mask.f[i] = i < n || i % 2 ? -FLT_MAX : -INFINITY;
  for (size_t i = 0; i < m * n; i++) *score_at(&want, i / n, i % n) *= 100;
  if (m > 2 && n > 1) /* blind, and blind but for a NaN */
    for (size_t j = 0; j < 2 * n; j++) *score_at(&want, 1 + j / n, j % n) = j == n ? NAN : -INFINITY;
  double v[6000], y[6000];
  scores x = scores_new(m, n, false);
  memcpy(x.x.f, want.x.f, x.x.len), memcpy(x.mask.f, want.mask.f, x.mask.len);
  run_weights(IFD_ISA_REF, &want, masked, !masked);
  for (size_t i = 0; i < m && !odd; i++) {
    for (size_t j = 0; j < n; j++)
      v[j] =
          masked ? fmaf(*score_at(&x, i, j), .125f, x.mask.f[i * n + j]) : .125 * (double)*score_at(&x, i, j);
    softmax_f64(false, v, n, y);
    for (size_t j = 0; j < n; j++) {
      double got = (double)*score_at(&want, i, j) * (double)want.factors.f[i];
      if (!masked && m > 2 && n > 1 && i == 1) y[j] = 0;
      double bound = 1e-6 - 0x1.8p-24 * __builtin_log(y[j] + 1e-37); /* an exponent is rounded three times */
      if (!(fabs(got - y[j]) <= bound * y[j] + 1e-37) && (got == got || y[j] == y[j]))
        fail_msg("element %zu of %zu, row %zu: %a, not %a", j, n, i, got, y[j]);
    }
  }
  for (ifd_isa isa = IFD_ISA_AVX2; isa <= ifd_cpu_isa(); isa++) {
    scores z = scores_new(m, n, true);
    for (size_t i = 0; i < m * n; i++) *score_at(&z, i / n, i % n) = *score_at(&x, i / n, i % n);
    memcpy(z.mask.f, x.mask.f, z.mask.len);
    run_weights(isa, &z, masked, !masked);
    assert_true(same_floats(z.factors.f, want.factors.f, (int64_t)m));
    for (size_t i = 0; i < m; i++)
      for (size_t j = 0; j < n && want.factors.f[i] == want.factors.f[i]; j++)
        assert_true(same_floats(score_at(&z, i, j), score_at(&want, i, j), 1));
    uint32_t gap = 0xa5a5a5a5;
    for (size_t i = 0; i < m; i++)
      for (size_t j = n; j % 16; j++) assert_memory_equal(score_at(&z, i, j), &gap, 4);
    scores_free(&z);
  }
  scores_free(&x), scores_free(&want);
}

static void weights(void **unused) {
  (void)unused;
  uint64_t state = 3;
  for (int mode = 0; mode < 4; mode++) {
    for (size_t n = 1; n < 70; n++) check_weights(1 + n % 5, n, mode & 1, mode & 2, &state);
    check_weights(3, 4100, mode & 1, mode & 2, &state);
    check_weights(2, 5999, mode & 1, mode & 2, &state);
  }
}

/* One after another, as operators: product, sum, difference, exponential, sum, quotient, each rounded. */
static void rounded_row(ifd_el op, const float *x, const float *mask, float *y, size_t n) {
  const struct ifd_k_eltwise_table *t = ifd_k_eltwise(IFD_ISA_REF);
  ifd_el_unary_row *rounding = t->unary(op, IFD_FLOAT);
  const float scale = .125f;
  float most, sum;
  t->binary(IFD_EL_Mul, IFD_FLOAT)(x, 1, &scale, 0, y, n);
  rounding(NULL, y, y, n);
  if (mask) t->binary(IFD_EL_Add, IFD_FLOAT)(y, 1, mask, 1, y, n);
  rounding(NULL, y, y, n);
  ifd_k_reduce(IFD_ISA_REF)->rows(IFD_REDUCE_Max, y, n, 1, n, &most);
  t->binary(IFD_EL_Sub, IFD_FLOAT)(y, 1, &most, 0, y, n);
  rounding(NULL, y, y, n);
  t->unary(IFD_EL_Exp, IFD_FLOAT)(NULL, y, y, n);
  rounding(NULL, y, y, n);
  ifd_k_reduce(IFD_ISA_REF)->rows(IFD_REDUCE_Sum, y, n, 1, n, &sum);
  rounding(NULL, &sum, &sum, 1);
  t->binary(IFD_EL_Div, IFD_FLOAT)(y, 1, &sum, 0, y, n);
  rounding(NULL, y, y, n);
}

static void check_rounded(bool bfloat, size_t m, size_t n, bool masked, bool odd, uint64_t *state) {
  float row[6000], want[6000];
  scores x = scores_new(m, n, true);
  buffer_fill(&x.x, state, odd), buffer_fill(&x.mask, state, false);
  for (size_t i = 0; i < m * n; i++) {
    *score_at(&x, i / n, i % n) *= 20;
    if (rand_u32(state) % 3 == 0) x.mask.f[i] = i % 2 ? -65504 : -INFINITY;
  }
  for (ifd_isa isa = IFD_ISA_REF; isa <= ifd_cpu_isa(); isa++) {
    scores y = scores_new(m, n, true);
    bool in_place = rand_u32(state) % 2;
    for (size_t i = 0; i < m * n && in_place; i++) *score_at(&y, i / n, i % n) = *score_at(&x, i / n, i % n);
    ifd_k_softmax(isa)->rounded(bfloat ? IFD_K_ACT_ROUND_BFLOAT16 : IFD_K_ACT_ROUND_FLOAT16,
                                in_place ? y.x.f : x.x.f, y.x.f, x.rs, x.vs, .125f, masked ? x.mask.f : NULL,
                                n, m, n);
    for (size_t i = 0; i < m; i++) {
      for (size_t j = 0; j < n; j++) row[j] = *score_at(&x, i, j);
      rounded_row(bfloat ? IFD_EL_RoundBFloat16 : IFD_EL_RoundFloat16, row, masked ? x.mask.f + i * n : NULL,
                  want, n);
      for (size_t j = 0; j < n; j++) assert_true(same_floats(score_at(&y, i, j), &want[j], 1));
    }
    scores_free(&y);
  }
  scores_free(&x);
}

static void rounded(void **unused) {
  (void)unused;
  uint64_t state = 7;
  for (int mode = 0; mode < 8; mode++) {
    for (size_t n = 1; n < 70; n++) check_rounded(mode & 4, 1 + n % 5, n, mode & 1, mode & 2, &state);
    check_rounded(mode & 4, 3, 4100, mode & 1, mode & 2, &state);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(rows), cmocka_unit_test(many_rows),
                                     cmocka_unit_test(columns), cmocka_unit_test(weights),
                                     cmocka_unit_test(rounded)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
