#include "kernels/gemm/pack.h"

/* Sixteen lanes, stride apart, of which n are there; zeros beyond. */
IFD_INLINE v16 load_apart(const float *p, int64_t stride, int n) {
  float lane[16] = {0};
  for (int i = 0; i < n; i++) lane[i] = p[i * stride];
  return v16_load(lane);
}

void IFD_K(ifd_k_pack_a)(float *to, const float *a, int64_t a_rs, int64_t a_cs, int64_t rows, int64_t k) {
  for (int64_t k0 = 0; k0 < k; k0 += 16) {
    int n = k - k0 < 16 ? (int)(k - k0) : 16;
    const float *from = a + k0 * a_cs;
    for (int64_t i = 0; i < rows; i++, to += 16, from += a_rs)
      v16_store(to, a_cs == 1 ? (n == 16 ? v16_load(from) : v16_load_n(from, n)) : load_apart(from, a_cs, n));
  }
}

void IFD_K(ifd_k_pack_b)(float *to, const float *b, int64_t b_rs, int64_t b_cs, int64_t k, int64_t n) {
  for (int64_t j = 0; j < n; j += 16) {
    int lanes = n - j < 16 ? (int)(n - j) : 16;
    const float *from = b + j * b_cs;
    for (int64_t i = 0; i < k; i++, to += 16, from += b_rs)
      v16_store(to, b_cs == 1 ? (lanes == 16 ? v16_load(from) : v16_load_n(from, lanes))
                              : load_apart(from, b_cs, lanes));
  }
}
