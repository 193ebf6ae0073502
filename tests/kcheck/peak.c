/* What measures the machine does the work that it is counted for. */
#include "kcheck/buffer.h"

#include "kernels/kernels.h"
#include "kernels/peak/peak.h"

static void chains(void **unused) {
  (void)unused;
  for (ifd_isa isa = IFD_ISA_REF; isa <= ifd_cpu_isa(); isa++) {
    const struct ifd_k_peak_table *t = ifd_k_peak(isa);
    assert_true(t->multiply(0.5F, 1, 0) == 0);
    assert_true(t->multiply(0.5F, 1, 3) == 16 * 1.75F * (float)t->chains); /* 1, 1.5, 1.75 */
    assert_true(t->multiply(1, 1, 1000) == 16 * 1000.F * (float)t->chains);
  }
}

static void sums(void **unused) {
  enum { N = 64 * 37 };
  uint64_t state = 1;
  (void)unused;
  buffer x = buffer_floats(N);
  buffer_fill(&x, &state, false);
  float want = ifd_k_peak(IFD_ISA_REF)->read(x.f, N);
  double sum = 0;
  for (int i = 0; i < N; i++) sum += (double)x.f[i];
  assert_true(fabs(sum - (double)want) < 1e-3);
  for (ifd_isa isa = IFD_ISA_AVX2; isa <= ifd_cpu_isa(); isa++) {
    float got = ifd_k_peak(isa)->read(x.f, N);
    assert_true(same_floats(&got, &want, 1));
  }
  buffer_free(&x);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(chains), cmocka_unit_test(sums)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
