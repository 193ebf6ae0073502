/* Normalizations: the same bits on every ISA for every length, in place and with parts left out, and values
 * against double. */
#include "kcheck/buffer.h"

#include "kernels/kernels.h"
#include "kernels/norm/norm.h"

static const struct ifd_k_norm_table *table(ifd_isa isa) { return ifd_k_norm(isa); }

static buffer filled(size_t n, uint64_t *state, bool odd) {
  buffer b = buffer_floats((int64_t)n);
  buffer_fill(&b, state, odd);
  return b;
}
static buffer copy_of(const buffer *b) {
  buffer c = buffer_new(b->len);
  memcpy(c.f, b->f, b->len);
  return c;
}

/* y = (x - mean) / sqrt(variance + epsilon); without `center` by the mean square */
static void standardize_f64(const float *x, size_t n, bool center, double epsilon, double *y) {
  double mean = 0, squares = 0;
  for (size_t i = 0; i < n && center; i++) mean += x[i] / (double)n;
  for (size_t i = 0; i < n; i++) squares += (x[i] - mean) * (x[i] - mean);
  for (size_t i = 0; i < n; i++) y[i] = (x[i] - mean) / sqrt(squares / (double)n + epsilon);
}

static void assert_near(const float *y, const double *want, size_t n) {
  for (size_t i = 0; i < n; i++)
    if (!(fabs(y[i] - want[i]) <= 4e-6 * (1 + fabs(want[i]))))
      fail_msg("%zu of %zu: %a, not %a", i, n, (double)y[i], want[i]);
}

static void check_layer(size_t n, bool has_scale, bool has_bias, bool odd, uint64_t *state) {
  enum { ROWS = 7 };
  buffer x = filled(ROWS * n, state, odd), s = filled(n, state, false), b = filled(n, state, false),
         want = buffer_new(x.len), stat = buffer_floats(2 * ROWS);
  const float *scale = has_scale ? s.f : NULL, *bias = has_bias ? b.f : NULL, epsilon = 1e-5f;
  double y[9000];
  table(IFD_ISA_REF)->layer(x.f, ROWS, n, scale, bias, epsilon, want.f, stat.f, stat.f + ROWS);
  for (size_t r = 0; r < ROWS && !odd; r++) {
    standardize_f64(x.f + r * n, n, true, epsilon, y);
    for (size_t i = 0; i < n; i++) y[i] = y[i] * (scale ? scale[i] : 1) + (bias ? bias[i] : 0);
    assert_near(want.f + r * n, y, n);
  }
  for (ifd_isa isa = IFD_ISA_AVX2; isa <= ifd_cpu_isa(); isa++) {
    buffer z = copy_of(&x), stat_z = buffer_floats(2 * ROWS);
    table(isa)->layer(z.f, ROWS, n, scale, bias, epsilon, z.f, stat_z.f, stat_z.f + ROWS);
    assert_true(same_floats(z.f, want.f, (int64_t)(ROWS * n)));
    assert_true(same_floats(stat_z.f, stat.f, 2 * ROWS));
    buffer_free(&z), buffer_free(&stat_z);
  }
  table(IFD_ISA_REF)->rms(x.f, ROWS, n, scale, epsilon, want.f);
  for (size_t r = 0; r < ROWS && !odd; r++) {
    standardize_f64(x.f + r * n, n, false, epsilon, y);
    for (size_t i = 0; i < n; i++) y[i] *= scale ? scale[i] : 1;
    assert_near(want.f + r * n, y, n);
  }
  for (ifd_isa isa = IFD_ISA_AVX2; isa <= ifd_cpu_isa(); isa++) {
    buffer z = buffer_new(x.len);
    table(isa)->rms(x.f, ROWS, n, scale, epsilon, z.f);
    assert_true(same_floats(z.f, want.f, (int64_t)(ROWS * n)));
    buffer_free(&z);
  }
  buffer_free(&x), buffer_free(&s), buffer_free(&b), buffer_free(&want);
  buffer_free(&stat);
}

static void layers(void **unused) {
  (void)unused;
  uint64_t state = 1;
  for (size_t n = 1; n < 70; n++) check_layer(n, n & 1, n & 2, n % 5 == 4, &state);
  check_layer(4096, true, true, false, &state);
  check_layer(8999, true, false, false, &state);
}

static void groups(void **unused) {
  (void)unused;
  uint64_t state = 2;
  for (size_t plane = 0; plane < 70; plane++)
    for (size_t channels = 1; channels < 4; channels++) {
      const size_t step = plane & 1;
      const bool odd = plane % 5 == 4;
      buffer x = filled(channels * plane, &state, odd), s = filled(channels, &state, false),
             b = filled(channels, &state, false), want = buffer_new(x.len);
      double y[300];
      table(IFD_ISA_REF)->group(x.f, channels, plane, s.f, b.f, step, 1e-3f, want.f);
      standardize_f64(x.f, channels * plane, true, 1e-3f, y);
      for (size_t i = 0; i < channels * plane; i++)
        y[i] = y[i] * s.f[i / plane * step] + b.f[i / plane * step];
      if (!odd) assert_near(want.f, y, channels * plane);
      for (ifd_isa isa = IFD_ISA_AVX2; isa <= ifd_cpu_isa(); isa++) {
        buffer z = copy_of(&x);
        table(isa)->group(z.f, channels, plane, s.f, b.f, step, 1e-3f, z.f);
        assert_true(same_floats(z.f, want.f, (int64_t)(channels * plane)));
        buffer_free(&z);
      }
      buffer_free(&x), buffer_free(&s), buffer_free(&b), buffer_free(&want);
    }
}

/* Channels [c0, c0 + n) of a blocked sample, as planes. */
static void gather_planes(float *to, const float *blocked, size_t plane, size_t c0, size_t n) {
  for (size_t c = c0; c < c0 + n; c++)
    for (size_t i = 0; i < plane; i++) *to++ = blocked[(c / 16 * plane + i) * 16 + c % 16];
}

static void check_blocked_groups(size_t plane, size_t in_group, size_t n_groups, bool shares, bool odd,
                                 uint64_t *state) {
  const size_t channels = in_group * n_groups, blocks = (channels + 15) / 16, n = in_group * plane;
  const size_t in_part = shares ? in_group : 1;
  buffer x = filled(blocks * 16 * plane, state, odd), s = filled(channels, state, false),
         b = filled(channels, state, false), want = buffer_new(x.len),
         room = buffer_floats((int64_t)(32 * blocks)), group = buffer_floats((int64_t)n);
  double *y = malloc(n * sizeof *y + 1);
  table(IFD_ISA_REF)->group_blocked(x.f, channels, plane, in_group, s.f, b.f, in_part, 1e-3f, want.f, room.f);
  for (size_t c = 0; c < channels && !odd; c += in_group) {
    gather_planes(group.f, x.f, plane, c, in_group);
    standardize_f64(group.f, n, true, 1e-3f, y);
    for (size_t i = 0; i < n; i++) {
      size_t part = (c + i / plane) / in_part;
      y[i] = y[i] * s.f[part] + b.f[part];
    }
    gather_planes(group.f, want.f, plane, c, in_group);
    assert_near(group.f, y, n);
  }
  for (size_t i = 0; i < blocks * 16 * plane; i++)
    if (i / (16 * plane) * 16 + i % 16 >= channels) assert_true(want.f[i] == 0);
  for (ifd_isa isa = IFD_ISA_AVX2; isa <= ifd_cpu_isa(); isa++) {
    buffer z = copy_of(&x);
    table(isa)->group_blocked(z.f, channels, plane, in_group, s.f, b.f, in_part, 1e-3f, z.f, room.f);
    assert_true(same_floats(z.f, want.f, (int64_t)(blocks * 16 * plane)));
    buffer_free(&z);
  }
  free(y);
  buffer_free(&x), buffer_free(&s), buffer_free(&b), buffer_free(&want), buffer_free(&room),
      buffer_free(&group);
}

static void blocked_groups(void **unused) {
  static const size_t in_group[] = {1, 2, 3, 8, 16, 20, 37};
  (void)unused;
  uint64_t state = 6;
  for (size_t plane = 1; plane < 12; plane++)
    for (size_t i = 0; i < sizeof in_group / sizeof *in_group; i++)
      check_blocked_groups(plane, in_group[i], plane % 5 + 1, plane & 1, plane % 4 == 3, &state);
  check_blocked_groups(255, 1, 17, false, false, &state);
  check_blocked_groups(600, 8, 2, false, false, &state);
  check_blocked_groups(1027, 3, 4, true, false, &state);
}

static void affines(void **unused) {
  (void)unused;
  uint64_t state = 3;
  for (size_t n = 0; n < 70; n++)
    for (int relu = 0; relu < 2; relu++) {
      enum { ROWS = 7 };
      const size_t m = n > ROWS ? n : ROWS;
      buffer x = filled(ROWS * n, &state, true), f = filled(m, &state, false), s = filled(m, &state, false);
      for (ifd_isa isa = IFD_ISA_REF; isa <= ifd_cpu_isa(); isa++)
        for (int planes = 0; planes < 2; planes++) {
          buffer z = buffer_new(x.len);
          (planes ? table(isa)->affine_planes : table(isa)->affine_rows)(x.f, ROWS, n, f.f, s.f, relu, z.f);
          for (size_t i = 0; i < ROWS * n; i++) {
            const size_t k = planes ? i / n : i % n;
            float want = fmaf(x.f[i], f.f[k], s.f[k]);
            if (relu && want < 0) want = 0;
            assert_true(same_floats(&z.f[i], &want, 1));
          }
          buffer_free(&z);
        }
      buffer_free(&x), buffer_free(&f), buffer_free(&s);
    }
}

/* Squares of a region in double, and the quotient. */
static double lrn_f64(const ifd_k_lrn *p, const float *x, size_t c, size_t i) {
  double squares = 0;
  for (size_t k = c < p->before ? 0 : c - p->before; k <= c + p->after && k < p->channels; k++)
    squares += (double)x[k * p->plane + i] * x[k * p->plane + i];
  return x[c * p->plane + i] / pow((double)p->bias + (double)p->alpha * squares, (double)p->beta);
}

/* Blocks of what lies in planes, zeros beyond the channels. */
static buffer blocked(const float *x, size_t channels, size_t plane) {
  buffer b = buffer_floats((int64_t)((channels + 15) / 16 * plane * 16));
  memset(b.f, 0, b.len);
  for (size_t c = 0; c < channels; c++)
    for (size_t i = 0; i < plane; i++) b.f[(c / 16 * plane + i) * 16 + c % 16] = x[c * plane + i];
  return b;
}

/* In blocks the same bits as in planes, and zeros beyond the channels even where these have none. */
static void blocked_lrns(void **unused) {
  enum { PLANE = 3 };
  (void)unused;
  uint64_t state = 5;
  for (size_t channels = 1; channels < 50; channels++)
    for (size_t size = 1; size < 32; size += 3) {
      const ifd_k_lrn p = {channels, PLANE, (size - 1) / 2, size / 2, 0.25f, 0.75f, (float)(channels % 2)};
      const size_t n_blocks = (channels + 15) / 16;
      buffer x = filled(channels * PLANE, &state, size % 2), y = buffer_new(x.len);
      for (ifd_isa isa = IFD_ISA_REF; isa <= ifd_cpu_isa(); isa++) {
        table(isa)->lrn(&p, x.f, 0, channels, y.f);
        buffer b = blocked(x.f, channels, PLANE), want = blocked(y.f, channels, PLANE), z = buffer_new(b.len);
        table(isa)->lrn_blocked(&p, b.f, 0, n_blocks / 2, z.f);
        table(isa)->lrn_blocked(&p, b.f, n_blocks / 2, n_blocks, z.f);
        assert_true(same_floats(z.f, want.f, (int64_t)(n_blocks * PLANE * 16)));
        buffer_free(&b), buffer_free(&want), buffer_free(&z);
      }
      buffer_free(&x), buffer_free(&y);
    }
}

static void lrns(void **unused) {
  static const float betas[] = {0.75f, 0.6f, 0, 1, -0.5f, 1.75f, 3, INFINITY};
  (void)unused;
  uint64_t state = 4;
  for (size_t plane = 1; plane < 70; plane++)
    for (size_t b = 0; b < sizeof betas / sizeof *betas; b++) {
      const bool odd = plane % 3 == 2;
      const ifd_k_lrn p = {5, plane, plane % 4, plane / 4 % 6, .alpha = 0.25f, betas[b], (float)(plane % 5)};
      const int64_t n = (int64_t)(p.channels * plane);
      buffer x = filled((size_t)n, &state, odd), want = buffer_new(x.len);
      table(IFD_ISA_REF)->lrn(&p, x.f, 0, p.channels, want.f);
      for (int64_t i = 0; i < n && !odd && betas[b] <= 3; i++) {
        double y = lrn_f64(&p, x.f, (size_t)i / plane, (size_t)i % plane);
        if (!(fabs(want.f[i] - y) <= 6e-7 * fabs(y))) fail_msg("%a, not %a", (double)want.f[i], y);
      }
      for (ifd_isa isa = IFD_ISA_REF; isa <= ifd_cpu_isa(); isa++) {
        buffer z = buffer_new(x.len);
        table(isa)->lrn(&p, x.f, 0, 2, z.f);
        table(isa)->lrn(&p, x.f, 2, p.channels, z.f);
        assert_true(same_floats(z.f, want.f, n));
        buffer_free(&z);
      }
      buffer_free(&x), buffer_free(&want);
    }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(layers),         cmocka_unit_test(groups),
                                     cmocka_unit_test(blocked_groups), cmocka_unit_test(affines),
                                     cmocka_unit_test(lrns),           cmocka_unit_test(blocked_lrns)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
