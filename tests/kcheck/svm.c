/* Support vector machines: the same bits on every ISA for every size, and values against double. */
#include "kcheck/buffer.h"

#include "kernels/kernels.h"
#include "kernels/svm/svm.h"

enum { MOST_BLOCKS = 20 };

static double kernel_of(const ifd_k_svm_vectors *p, const float *x, int64_t j) {
  const float *v = p->vectors + j / 16 * p->n_features * 16 + j % 16;
  double dot = 0, distance = 0;
  for (int64_t f = 0; f < p->n_features; f++) {
    dot += (double)x[f] * v[f * 16];
    distance += ((double)x[f] - v[f * 16]) * ((double)x[f] - v[f * 16]);
  }
  switch (p->kernel) {
  case IFD_K_SVM_POLY: return pow(p->gamma * dot + p->coef0, p->degree);
  case IFD_K_SVM_RBF: return exp(-p->gamma * distance);
  case IFD_K_SVM_SIGMOID: return tanh(p->gamma * dot + p->coef0);
  default: return dot;
  }
}

static void check(ifd_k_svm_kernel kernel, int64_t n_features, int64_t n_blocks, bool odd, uint64_t *state) {
  buffer x = buffer_floats(n_features), v = buffer_floats(n_blocks * n_features * 16);
  double want[16 * MOST_BLOCKS], got[16 * MOST_BLOCKS];
  buffer_fill(&x, state, odd), buffer_fill(&v, state, odd);
  const ifd_k_svm_vectors p = {.kernel = kernel,
                               .gamma = 0.25f,
                               .coef0 = kernel == IFD_K_SVM_POLY ? (float)n_features : 0.5f,
                               .degree = 3,
                               .n_features = n_features,
                               .n_blocks = n_blocks,
                               .vectors = v.f};
  ifd_k_svm(IFD_ISA_REF)->kernels(&p, x.f, want);
  for (int64_t j = 0; j < n_blocks * 16 && !odd; j++) {
    const double y = kernel_of(&p, x.f, j);
    const double bound = kernel <= IFD_K_SVM_POLY ? 1e-13 : 2e-5;
    if (!(fabs(want[j] - y) <= bound * (fabs(y) + 1)))
      fail_msg("vector %lld: %g, not %g", (long long)j, want[j], y);
  }
  for (ifd_isa isa = IFD_ISA_AVX2; isa <= ifd_cpu_isa(); isa++) {
    ifd_k_svm(isa)->kernels(&p, x.f, got);
    for (int64_t j = 0; j < n_blocks * 16; j++)
      assert_true(memcmp(&got[j], &want[j], sizeof *got) == 0 || (got[j] != got[j] && want[j] != want[j]));
  }
  buffer_free(&x), buffer_free(&v);
}

static void kernels(void **unused) {
  (void)unused;
  uint64_t state = 1;
  for (int round = 0; round < 300; round++)
    check((ifd_k_svm_kernel)(round % 4), rand_in(&state, 1, 40), rand_in(&state, 1, MOST_BLOCKS),
          round % 7 == 6, &state);
}

static void dots(void **unused) {
  (void)unused;
  uint64_t state = 2;
  for (int64_t n = 0; n < 300; n++) {
    buffer w = buffer_floats(n);
    double k[300], exact = 0;
    buffer_fill(&w, &state, false);
    for (int64_t i = 0; i < n; i++) k[i] = rand_float(&state), exact += k[i] * w.f[i];
    const double want = ifd_k_svm(IFD_ISA_REF)->dot(k, w.f, n);
    assert_true(fabs(want - exact) <= 1e-12 * (double)(n + 1));
    for (ifd_isa isa = IFD_ISA_AVX2; isa <= ifd_cpu_isa(); isa++) {
      const double y = ifd_k_svm(isa)->dot(k, w.f, n);
      assert_memory_equal(&y, &want, sizeof y);
    }
    buffer_free(&w);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(kernels), cmocka_unit_test(dots)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
