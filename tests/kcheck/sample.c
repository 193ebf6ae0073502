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
  for (int32_t k = s->first[i]; k < s->first[i + 1]; k++)
    if (!s->greatest)
      y = fmaf(s->weight[k], plane[s->index[k]], y);
    else
      y = fmaxf(y, s->index[k] < 0 ? 0 : s->weight[k] * plane[s->index[k]]);
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

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(same_in_planes_and_blocks)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
