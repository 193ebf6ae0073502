/* Sixteen double lanes beside simd.h's sixteen floats, for the few steps whose float result needs more than
 * 24 bits on the way (v16_pow, long reductions). Same law: every operation is the same IEEE operation on
 * every ISA. */
#ifndef IFD_KERNELS_SIMD_DOUBLE_H
#define IFD_KERNELS_SIMD_DOUBLE_H

#include "kernels/simd.h"

#if defined(IFD_ISA_avx512)
#define DN_              2
#define DV_              __m512d
#define DOP_(op)         _mm512_##op##_pd
#define DROUND_(a)       _mm512_roundscale_pd(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)
#define DKEEP_NAN_(a, b) _mm512_mask_blend_pd(_mm512_cmp_pd_mask(a, a, _CMP_UNORD_Q), b, a)
#elif defined(IFD_ISA_avx2)
#define DN_              4
#define DV_              __m256d
#define DOP_(op)         _mm256_##op##_pd
#define DROUND_(a)       _mm256_round_pd(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)
#define DKEEP_NAN_(a, b) _mm256_blendv_pd(b, a, _mm256_cmp_pd(a, a, _CMP_UNORD_Q))
#else
#define DN_ 16
#define DV_ double
#endif

typedef struct {
  DV_ d[DN_];
} d16;

#define EACH_(expression)                                                                                    \
  d16 r;                                                                                                     \
  for (int k = 0; k < DN_; k++) r.d[k] = (expression);                                                       \
  return r
#if defined(DOP_)
IFD_INLINE d16 d16_set1(double x) { EACH_(DOP_(set1)(x)); }
IFD_INLINE d16 d16_load(const double *p) { EACH_(DOP_(loadu)(p + k * (16 / DN_))); }
IFD_INLINE void d16_store(double *p, d16 a) {
  for (int k = 0; k < DN_; k++) DOP_(storeu)(p + k * (16 / DN_), a.d[k]);
}
IFD_INLINE d16 d16_add(d16 a, d16 b) { EACH_(DOP_(add)(a.d[k], b.d[k])); }
IFD_INLINE d16 d16_sub(d16 a, d16 b) { EACH_(DOP_(sub)(a.d[k], b.d[k])); }
IFD_INLINE d16 d16_mul(d16 a, d16 b) { EACH_(DOP_(mul)(a.d[k], b.d[k])); }
IFD_INLINE d16 d16_div(d16 a, d16 b) { EACH_(DOP_(div)(a.d[k], b.d[k])); }
/* a * b + c, rounded once */
IFD_INLINE d16 d16_fma(d16 a, d16 b, d16 c) { EACH_(DOP_(fmadd)(a.d[k], b.d[k], c.d[k])); }
/* the second operand where either is NaN */
IFD_INLINE d16 d16_min(d16 a, d16 b) { EACH_(DOP_(min)(a.d[k], b.d[k])); }
IFD_INLINE d16 d16_max(d16 a, d16 b) { EACH_(DOP_(max)(a.d[k], b.d[k])); }
IFD_INLINE d16 d16_round(d16 a) { EACH_(DROUND_(a.d[k])); }
/* a where it is NaN, else b */
IFD_INLINE d16 d16_keep_nan(d16 a, d16 b) { EACH_(DKEEP_NAN_(a.d[k], b.d[k])); }
#else
IFD_INLINE d16 d16_set1(double x) { EACH_(x); }
IFD_INLINE d16 d16_load(const double *p) { EACH_(p[k]); }
IFD_INLINE void d16_store(double *p, d16 a) { memcpy(p, a.d, sizeof a.d); }
IFD_INLINE d16 d16_add(d16 a, d16 b) { EACH_(a.d[k] + b.d[k]); }
IFD_INLINE d16 d16_sub(d16 a, d16 b) { EACH_(a.d[k] - b.d[k]); }
IFD_INLINE d16 d16_mul(d16 a, d16 b) { EACH_(a.d[k] * b.d[k]); }
IFD_INLINE d16 d16_div(d16 a, d16 b) { EACH_(a.d[k] / b.d[k]); }
IFD_INLINE d16 d16_fma(d16 a, d16 b, d16 c) { EACH_(fma(a.d[k], b.d[k], c.d[k])); }
IFD_INLINE d16 d16_min(d16 a, d16 b) { EACH_(a.d[k] < b.d[k] ? a.d[k] : b.d[k]); }
IFD_INLINE d16 d16_max(d16 a, d16 b) { EACH_(a.d[k] > b.d[k] ? a.d[k] : b.d[k]); }
IFD_INLINE d16 d16_round(d16 a) { EACH_(rint(a.d[k])); }
IFD_INLINE d16 d16_keep_nan(d16 a, d16 b) { EACH_(a.d[k] != a.d[k] ? a.d[k] : b.d[k]); }
#endif

IFD_INLINE d16 v16_to_d16(v16 a) {
#if defined(IFD_ISA_avx512)
  return (d16){{_mm512_cvtps_pd(_mm512_castps512_ps256(a)), _mm512_cvtps_pd(_mm512_extractf32x8_ps(a, 1))}};
#elif defined(IFD_ISA_avx2)
  return (d16){{_mm256_cvtps_pd(_mm256_castps256_ps128(a.l)), _mm256_cvtps_pd(_mm256_extractf128_ps(a.l, 1)),
                _mm256_cvtps_pd(_mm256_castps256_ps128(a.h)),
                _mm256_cvtps_pd(_mm256_extractf128_ps(a.h, 1))}};
#else
  EACH_(a.f[k]);
#endif
}
IFD_INLINE v16 d16_to_v16(d16 a) {
#if defined(IFD_ISA_avx512)
  return _mm512_insertf32x8(_mm512_castps256_ps512(_mm512_cvtpd_ps(a.d[0])), _mm512_cvtpd_ps(a.d[1]), 1);
#elif defined(IFD_ISA_avx2)
  return (v16){_mm256_set_m128(_mm256_cvtpd_ps(a.d[1]), _mm256_cvtpd_ps(a.d[0])),
               _mm256_set_m128(_mm256_cvtpd_ps(a.d[3]), _mm256_cvtpd_ps(a.d[2]))};
#else
  v16 r;
  for (int k = 0; k < 16; k++) r.f[k] = (float)a.d[k];
  return r;
#endif
}
#undef EACH_
#undef DN_
#undef DV_
#if defined(DOP_)
#undef DOP_
#undef DROUND_
#undef DKEEP_NAN_
#endif

#endif
