/* Samples: random taps of images in planes and in blocks, on every ISA, against a plain loop. */
#include "kcheck/buffer.h"

#include "kernels/conv/conv.h"
#include "kernels/kernels.h"
#include "kernels/sample/sample.h"

enum { POINTS = 37, MOST = 9, PIXELS = 50 };

typedef struct taps {
  int32_t first[POINTS + 1], index[POINTS * MOST];
  float weight[POINTS * MOST];
} taps;

static ifd_k_samples random_taps(taps *t, bool greatest, uint64_t *state) {
  int32_t n = 0;
  for (int i = 0; i < POINTS; i++) {
    t->first[i] = n;
    for (int64_t k = rand_in(state, 0, MOST); k > 0; k--, n++) {
      t->index[n] = (int32_t)rand_in(state, greatest ? -1 : 0, PIXELS - 1);
      t->weight[n] = rand_float(state);
    }
  }
  t->first[POINTS] = n;
  return (ifd_k_samples){POINTS, t->first, t->index, t->weight, greatest};
}

static float sample_of(const ifd_k_samples *s, int i, const float *plane) {
  float y = s->greatest ? -INFINITY : 0;
  for (int32_t k = s->first[i]; k < s->first[i + 1]; k++) {
    const float v = s->index[k] < 0 ? 0 : s->weight[k] * plane[s->index[k]];
    if (!s->greatest)
      y = fmaf(s->weight[k], plane[s->index[k]], y);
    else if (v > y) /* of zeros of either sign the first, which fmaxf leaves open */
      y = v;
  }
  return y;
}

static void same_in_planes_and_blocks(void **unused) {
  (void)unused;
  uint64_t state = 3;
  for (int round = 0; round < 40; round++) {
    const bool greatest = round & 1;
    const int64_t channels = rand_in(&state, 1, 16), stride = POINTS + rand_in(&state, 0, 5);
    taps t;
    const ifd_k_samples s = random_taps(&t, greatest, &state);
    buffer x = buffer_floats(channels * PIXELS), want = buffer_floats(channels * stride);
    buffer_fill(&x, &state, round % 3 == 0);
    for (int64_t c = 0; c < channels; c++)
      for (int i = 0; i < POINTS; i++) want.f[c * stride + i] = sample_of(&s, i, x.f + c * PIXELS);
    for (ifd_isa isa = IFD_ISA_REF; isa <= ifd_cpu_isa(); isa++)
      for (int in_blocks = 0; in_blocks < 2; in_blocks++) {
        buffer y = buffer_floats(channels * stride), block = buffer_floats(PIXELS * 16);
        ifd_k_conv(isa)->planar_to_blocked(block.f, x.f, channels, PIXELS, 0, 1);
        if (in_blocks)
          ifd_k_sample(isa)->blocked(&s, block.f, (int)channels, y.f, stride);
        else
          ifd_k_sample(isa)->planar(&s, x.f, PIXELS, channels, y.f, stride);
        for (int64_t c = 0; c < channels; c++)
          if (!same_floats(y.f + c * stride, want.f + c * stride, POINTS))
            fail_msg("%s: %s, channel %d of %d, greatest %d", ifd_isa_name(isa),
                     in_blocks ? "blocks" : "planes", (int)c, (int)channels, greatest);
        buffer_free(&y), buffer_free(&block);
      }
    buffer_free(&x), buffer_free(&want);
  }
}

/* Positions in and around [0, size), some far away or no number. */
static void random_positions(double *x, int n, int64_t size, uint64_t *state) {
  static const double odd[] = {NAN, INFINITY, -INFINITY, 1e300, -1, -2, -1e10, 0};
  for (int i = 0; i < n; i++) {
    x[i] = rand_float(state) * (double)size * 1.2;
    if (i % 5 == 0) x[i] = odd[rand_in(state, 0, 7)];
    if (i % 7 == 0) x[i] = (double)rand_in(state, -2, size) + (i % 2 ? .5 : 0);
  }
}

static bool is_neighbour(const ifd_k_taps_axis *a, int k, int i, double x) {
  const double at = floor(x) + k, weight = k ? x - floor(x) : 1 - (x - floor(x));
  if (!(at >= 0 && at < (double)a->size)) return a->index[k][i] == -1;
  return a->index[k][i] == (int32_t)at && a->weight[k][i] == weight;
}

static bool is_nearest(const ifd_k_taps_axis *a, int i, double x) {
  const double at = nearbyint(x);
  return a->n == 1 && a->weight[0][i] == 1 &&
         a->index[0][i] == (at >= 0 && at < (double)a->size ? (int32_t)at : -1);
}

static void taps_of_positions(void **unused) {
  enum { H = 7, W = 11, CHANNELS = 3 };
  (void)unused;
  uint64_t state = 9;
  for (int round = 0; round < 60; round++) {
    const int n = (int)rand_in(&state, 1, IFD_TAPS_BLOCK), n_axes = round % 3 ? 2 : 1;
    const int64_t size[] = {H, W}, plane = n_axes == 2 ? H * W : H;
    double x[2][IFD_TAPS_BLOCK];
    float scale[IFD_TAPS_BLOCK], want[CHANNELS * IFD_TAPS_BLOCK];
    buffer image = buffer_floats(CHANNELS * plane);
    buffer_fill(&image, &state, false);
    for (int a = 0; a < n_axes; a++) random_positions(x[a], n, size[a], &state);
    for (int i = 0; i < n; i++) scale[i] = rand_float(&state);
    for (ifd_isa isa = IFD_ISA_REF; isa <= ifd_cpu_isa(); isa++) {
      const struct ifd_k_sample_table *kernels = ifd_k_sample(isa);
      ifd_k_taps_axis axes[2];
      ifd_k_taps t = {.n_points = n};
      buffer y = buffer_floats(CHANNELS * n);
      for (int a = 0; a < n_axes; a++) {
        axes[a].size = size[a];
        kernels->nearest(&axes[a], x[a], n);
        for (int i = 0; i < n; i++) assert_true(is_nearest(&axes[a], i, x[a][i]));
        kernels->neighbours(&axes[a], x[a], n);
        for (int i = 0; i < n; i++)
          for (int k = 0; k < 2; k++) assert_true(is_neighbour(&axes[a], k, i, x[a][i]));
      }
      kernels->cross(&t, axes, n_axes, round & 1 ? scale : NULL);
      kernels->taps(&t, image.f, plane, CHANNELS, y.f, n);
      for (int c = 0; c < CHANNELS && isa == IFD_ISA_REF; c++)
        for (int i = 0; i < n; i++) {
          float sum = 0;
          for (int k = 0; k < t.n; k++)
            if (t.index[k][i] >= 0) sum = fmaf(t.weight[k][i], image.f[c * plane + t.index[k][i]], sum);
          want[c * n + i] = sum;
        }
      assert_int_equal(t.n, 1 << n_axes);
      assert_true(same_floats(y.f, want, CHANNELS * n));
      buffer_free(&y);
    }
    buffer_free(&image);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(same_in_planes_and_blocks),
                                     cmocka_unit_test(taps_of_positions)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
