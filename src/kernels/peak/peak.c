#include "kernels/peak/peak.h"

#include "kernels/simd.h"

#if defined(IFD_ISA_avx2) /* vectors of 16 take two registers */
enum { CHAINS = 6 };
#else
enum { CHAINS = 12 };
#endif

static float multiply(float a, float b, int64_t n) {
  v16 x[CHAINS];
  const v16 va = v16_set1(a), vb = v16_set1(b);
  for (int c = 0; c < CHAINS; c++) x[c] = v16_zero();
  for (int64_t i = 0; i < n; i++)
    _Pragma("GCC unroll 12") for (int c = 0; c < CHAINS; c++) x[c] = v16_fma(x[c], va, vb);
  v16 sum = v16_zero(); /* of all lanes: what nobody reads is not computed */
  for (int c = 0; c < CHAINS; c++) sum = v16_add(sum, x[c]);
  return v16_sum(sum);
}

static float read(const float *x, size_t n) {
  v16 sum[4] = {v16_zero(), v16_zero(), v16_zero(), v16_zero()};
  for (size_t i = 0; i < n; i += 64)
    _Pragma("GCC unroll 4") for (int k = 0; k < 4; k++) sum[k] = v16_add(sum[k], v16_load(x + i + 16 * k));
  return v16_sum(v16_add(v16_add(sum[0], sum[1]), v16_add(sum[2], sum[3])));
}

const struct ifd_k_peak_table IFD_K(ifd_k_peak) = {.chains = CHAINS, .multiply = multiply, .read = read};
