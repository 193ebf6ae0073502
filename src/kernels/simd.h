/* Sixteen float lanes, the same on every ISA: one AVX-512 register, two AVX2 registers, an array of 16 in the
 * reference build. Kernels written over v16/i16 give the same bits everywhere, because every operation here
 * is the same IEEE operation on each lane and a reduction (v16_sum, v16_max) is one fixed tree. Kernels are
 * compiled with -ffp-contract=off: only v16_fma fuses. Tails go through v16_load_n/v16_store_n, which touch
 * no byte past n. */
#ifndef IFD_KERNELS_SIMD_H
#define IFD_KERNELS_SIMD_H

#include "kernels/anywhere.h"
#include "tensor/convert.h"
#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define IFD_CAT_(a, b) a##_##b
#define IFD_CAT(a, b)  IFD_CAT_(a, b)
/* The name of a kernel or table in this ISA's build. */
#define IFD_K(name) IFD_CAT(name, IFD_ISA)
#if defined(IFD_ISA_avx2) || defined(IFD_ISA_avx512)
#define IFD_INLINE static inline __attribute__((always_inline, unused))
#else /* sixteen lanes in a row, inlined one into another, would take the compiler minutes */
#define IFD_INLINE static __attribute__((noinline, unused))
#endif

#if defined(IFD_ISA_avx512)
#include <immintrin.h>
typedef __m512 v16;
typedef __m512i i16;
typedef __mmask16 m16;
IFD_INLINE v16 v16_set1(float x) { return _mm512_set1_ps(x); }
IFD_INLINE v16 v16_load(const ifd_float_anywhere *p) { return _mm512_loadu_ps(p); }
IFD_INLINE void v16_store(float *p, v16 a) { _mm512_storeu_ps(p, a); }
IFD_INLINE m16 m16_first(int n) { return (m16)(n >= 16 ? 0xffff : (1u << n) - 1); }
IFD_INLINE v16 v16_load_n(const ifd_float_anywhere *p, int n) {
  return _mm512_maskz_loadu_ps(m16_first(n), p);
}
IFD_INLINE void v16_store_n(float *p, v16 a, int n) { _mm512_mask_storeu_ps(p, m16_first(n), a); }
/* the lanes of the mask alone: zeros for the others */
IFD_INLINE v16 v16_load_lanes(const float *p, m16 m) { return _mm512_maskz_loadu_ps(m, p); }
/* lanes [from, end) alone */
IFD_INLINE void v16_store_range(float *p, v16 a, int from, int end) {
  _mm512_mask_storeu_ps(p, (m16)(m16_first(end) & ~m16_first(from)), a);
}
/* lane k is p[i[k]] where the mask has it, else 0 */
IFD_INLINE v16 v16_gather_lanes(const float *p, i16 i, m16 m) {
  return _mm512_mask_i32gather_ps(_mm512_setzero_ps(), m, i, p, 4);
}
IFD_INLINE v16 v16_add(v16 a, v16 b) { return _mm512_add_ps(a, b); }
IFD_INLINE v16 v16_sub(v16 a, v16 b) { return _mm512_sub_ps(a, b); }
IFD_INLINE v16 v16_mul(v16 a, v16 b) { return _mm512_mul_ps(a, b); }
IFD_INLINE v16 v16_div(v16 a, v16 b) { return _mm512_div_ps(a, b); }
IFD_INLINE v16 v16_sqrt(v16 a) { return _mm512_sqrt_ps(a); }
/* a * b + c, rounded once */
IFD_INLINE v16 v16_fma(v16 a, v16 b, v16 c) { return _mm512_fmadd_ps(a, b, c); }
/* c - a * b, rounded once */
IFD_INLINE v16 v16_fnma(v16 a, v16 b, v16 c) { return _mm512_fnmadd_ps(a, b, c); }
/* a < b ? a : b and a > b ? a : b: the second operand where either is NaN */
IFD_INLINE v16 v16_min(v16 a, v16 b) { return _mm512_min_ps(a, b); }
IFD_INLINE v16 v16_max(v16 a, v16 b) { return _mm512_max_ps(a, b); }
IFD_INLINE m16 v16_lt(v16 a, v16 b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ); }
IFD_INLINE m16 v16_le(v16 a, v16 b) { return _mm512_cmp_ps_mask(a, b, _CMP_LE_OQ); }
IFD_INLINE m16 v16_eq(v16 a, v16 b) { return _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ); }
IFD_INLINE m16 v16_isnan(v16 a) { return _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q); }
/* mask ? a : b */
IFD_INLINE v16 v16_select(m16 m, v16 a, v16 b) { return _mm512_mask_blend_ps(m, b, a); }
/* lane k is lane i[k] mod 16 of a */
IFD_INLINE v16 v16_permute(v16 a, i16 i) { return _mm512_permutexvar_ps(i, a); }
/* lane k is lane i[k] mod 8 of a */
IFD_INLINE v16 v16_permute_low(v16 a, i16 i) {
  return _mm512_permutexvar_ps(_mm512_and_si512(i, _mm512_set1_epi32(7)), a);
}
/* lanes 0, 2, … of a, then of b */
IFD_INLINE v16 v16_even(v16 a, v16 b) {
  const i16 even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
  return _mm512_permutex2var_ps(a, even, b);
}
IFD_INLINE m16 m16_and(m16 a, m16 b) { return a & b; }
IFD_INLINE m16 m16_or(m16 a, m16 b) { return a | b; }
IFD_INLINE m16 m16_andnot(m16 a, m16 b) { return (m16)(a & ~b); }
IFD_INLINE bool m16_any(m16 a) { return a != 0; }
/* to the nearest integer, ties to even */
IFD_INLINE v16 v16_round(v16 a) {
  return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
IFD_INLINE v16 v16_floor(v16 a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC); }
/* to the nearest value of float16, ties to even, as a float; NaN becomes quiet */
IFD_INLINE v16 v16_round_float16(v16 a) {
  return _mm512_cvtph_ps(_mm512_cvtps_ph(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
/* nearest even; out-of-range and NaN give INT32_MIN */
IFD_INLINE i16 v16_to_i16(v16 a) { return _mm512_cvtps_epi32(a); }
IFD_INLINE v16 i16_to_v16(i16 a) { return _mm512_cvtepi32_ps(a); }
IFD_INLINE i16 v16_bits(v16 a) { return _mm512_castps_si512(a); }
IFD_INLINE v16 i16_float(i16 a) { return _mm512_castsi512_ps(a); }
IFD_INLINE i16 i16_set1(int32_t x) { return _mm512_set1_epi32(x); }
IFD_INLINE i16 i16_load(const int32_t *p) { return _mm512_loadu_si512(p); }
IFD_INLINE void i16_store(int32_t *p, i16 a) { _mm512_storeu_si512(p, a); }
IFD_INLINE i16 i16_add(i16 a, i16 b) { return _mm512_add_epi32(a, b); }
IFD_INLINE i16 i16_sub(i16 a, i16 b) { return _mm512_sub_epi32(a, b); }
IFD_INLINE i16 i16_mul(i16 a, i16 b) { return _mm512_mullo_epi32(a, b); }
IFD_INLINE i16 i16_and(i16 a, i16 b) { return _mm512_and_si512(a, b); }
IFD_INLINE i16 i16_or(i16 a, i16 b) { return _mm512_or_si512(a, b); }
IFD_INLINE i16 i16_xor(i16 a, i16 b) { return _mm512_xor_si512(a, b); }
#define i16_sll(a, n) _mm512_slli_epi32(a, n)
#define i16_srl(a, n) _mm512_srli_epi32(a, n)
#define i16_sra(a, n) _mm512_srai_epi32(a, n)

#elif defined(IFD_ISA_avx2)
#include <immintrin.h>
typedef struct {
  __m256 l, h;
} v16;
typedef struct {
  __m256i l, h;
} i16;
typedef struct {
  __m256 l, h;
} m16;
#define V2_(name, call)                                                                                      \
  IFD_INLINE v16 name(v16 a, v16 b) { return (v16){call(a.l, b.l), call(a.h, b.h)}; }
V2_(v16_add, _mm256_add_ps)
V2_(v16_sub, _mm256_sub_ps)
V2_(v16_mul, _mm256_mul_ps)
V2_(v16_div, _mm256_div_ps)
V2_(v16_min, _mm256_min_ps)
V2_(v16_max, _mm256_max_ps)
#undef V2_
IFD_INLINE v16 v16_set1(float x) { return (v16){_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
IFD_INLINE v16 v16_load(const ifd_float_anywhere *p) {
  return (v16){_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)};
}
IFD_INLINE void v16_store(float *p, v16 a) {
  _mm256_storeu_ps(p, a.l);
  _mm256_storeu_ps(p + 8, a.h);
}
IFD_INLINE __m256i ifd_first8(int n) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
IFD_INLINE m16 m16_first(int n) {
  return (m16){_mm256_castsi256_ps(ifd_first8(n)), _mm256_castsi256_ps(ifd_first8(n - 8))};
}
IFD_INLINE v16 v16_load_n(const ifd_float_anywhere *p, int n) {
  if (n >= 16) return v16_load(p);
  return (v16){_mm256_maskload_ps(p, ifd_first8(n)),
               n > 8 ? _mm256_maskload_ps(p + 8, ifd_first8(n - 8)) : _mm256_setzero_ps()};
}
/* Masked stores take a dozen cycles on AMD's processors. */
IFD_INLINE void ifd_store_below8(float *p, __m256 a, int n) {
  __m128 rest = _mm256_castps256_ps128(a);
  if (n & 4) {
    _mm_storeu_ps(p, rest);
    rest = _mm256_extractf128_ps(a, 1), p += 4;
  }
  if (n & 2) {
    _mm_storel_pi((__m64 *)p, rest);
    rest = _mm_movehl_ps(rest, rest), p += 2;
  }
  if (n & 1) _mm_store_ss(p, rest);
}
IFD_INLINE void v16_store_n(float *p, v16 a, int n) {
  if (n >= 16) {
    v16_store(p, a);
  } else if (n >= 8) {
    _mm256_storeu_ps(p, a.l);
    ifd_store_below8(p + 8, a.h, n - 8);
  } else {
    ifd_store_below8(p, a.l, n);
  }
}
IFD_INLINE v16 v16_load_lanes(const float *p, m16 m) {
  return (v16){_mm256_maskload_ps(p, _mm256_castps_si256(m.l)),
               _mm256_maskload_ps(p + 8, _mm256_castps_si256(m.h))};
}
IFD_INLINE void ifd_store8_range(float *p, __m256 a, int from, int end) {
  const __m256i at = _mm256_add_epi32(_mm256_set1_epi32(from), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
  if (end - from >= 8)
    _mm256_storeu_ps(p, a);
  else if (end > from)
    ifd_store_below8(p + from, _mm256_permutevar8x32_ps(a, at), end - from);
}
IFD_INLINE void v16_store_range(float *p, v16 a, int from, int end) {
  ifd_store8_range(p, a.l, from, end < 8 ? end : 8);
  ifd_store8_range(p + 8, a.h, from > 8 ? from - 8 : 0, end - 8);
}
IFD_INLINE v16 v16_gather_lanes(const float *p, i16 i, m16 m) {
  return (v16){_mm256_mask_i32gather_ps(_mm256_setzero_ps(), p, i.l, m.l, 4),
               _mm256_mask_i32gather_ps(_mm256_setzero_ps(), p, i.h, m.h, 4)};
}
IFD_INLINE v16 v16_sqrt(v16 a) { return (v16){_mm256_sqrt_ps(a.l), _mm256_sqrt_ps(a.h)}; }
IFD_INLINE v16 v16_fma(v16 a, v16 b, v16 c) {
  return (v16){_mm256_fmadd_ps(a.l, b.l, c.l), _mm256_fmadd_ps(a.h, b.h, c.h)};
}
IFD_INLINE v16 v16_fnma(v16 a, v16 b, v16 c) {
  return (v16){_mm256_fnmadd_ps(a.l, b.l, c.l), _mm256_fnmadd_ps(a.h, b.h, c.h)};
}
#define CMP_(name, op)                                                                                       \
  IFD_INLINE m16 name(v16 a, v16 b) {                                                                        \
    return (m16){_mm256_cmp_ps(a.l, b.l, op), _mm256_cmp_ps(a.h, b.h, op)};                                  \
  }
CMP_(v16_lt, _CMP_LT_OQ)
CMP_(v16_le, _CMP_LE_OQ)
CMP_(v16_eq, _CMP_EQ_OQ)
#undef CMP_
IFD_INLINE m16 v16_isnan(v16 a) {
  return (m16){_mm256_cmp_ps(a.l, a.l, _CMP_UNORD_Q), _mm256_cmp_ps(a.h, a.h, _CMP_UNORD_Q)};
}
IFD_INLINE v16 v16_select(m16 m, v16 a, v16 b) {
  return (v16){_mm256_blendv_ps(b.l, a.l, m.l), _mm256_blendv_ps(b.h, a.h, m.h)};
}
/* a in a register: a permute of what is in memory takes twice the time on some processors (Zen 3). */
IFD_INLINE __m256 ifd_loaded8(__m256 a) {
  __asm__("" : "+x"(a));
  return a;
}
IFD_INLINE __m256 ifd_permute8(v16 a, __m256i i) {
  __m256 high = _mm256_castsi256_ps(_mm256_slli_epi32(i, 28));
  return _mm256_blendv_ps(_mm256_permutevar8x32_ps(a.l, i), _mm256_permutevar8x32_ps(a.h, i), high);
}
IFD_INLINE v16 v16_permute(v16 a, i16 i) {
  const v16 of = {ifd_loaded8(a.l), ifd_loaded8(a.h)};
  return (v16){ifd_permute8(of, i.l), ifd_permute8(of, i.h)};
}
IFD_INLINE v16 v16_permute_low(v16 a, i16 i) {
  const __m256 of = ifd_loaded8(a.l);
  return (v16){_mm256_permutevar8x32_ps(of, i.l), _mm256_permutevar8x32_ps(of, i.h)};
}
IFD_INLINE __m256 ifd_even8(v16 a) {
  const __m256d mixed = _mm256_castps_pd(_mm256_shuffle_ps(a.l, a.h, 0x88));
  return _mm256_castpd_ps(_mm256_permute4x64_pd(mixed, 0xd8));
}
IFD_INLINE v16 v16_even(v16 a, v16 b) { return (v16){ifd_even8(a), ifd_even8(b)}; }
#define M2_(name, call)                                                                                      \
  IFD_INLINE m16 name(m16 a, m16 b) { return (m16){call(a.l, b.l), call(a.h, b.h)}; }
M2_(m16_and, _mm256_and_ps)
M2_(m16_or, _mm256_or_ps)
#undef M2_
IFD_INLINE m16 m16_andnot(m16 a, m16 b) {
  return (m16){_mm256_andnot_ps(b.l, a.l), _mm256_andnot_ps(b.h, a.h)};
}
IFD_INLINE bool m16_any(m16 a) { return _mm256_movemask_ps(_mm256_or_ps(a.l, a.h)) != 0; }
IFD_INLINE v16 v16_round(v16 a) {
  return (v16){_mm256_round_ps(a.l, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC),
               _mm256_round_ps(a.h, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}
IFD_INLINE v16 v16_floor(v16 a) { return (v16){_mm256_floor_ps(a.l), _mm256_floor_ps(a.h)}; }
IFD_INLINE v16 v16_round_float16(v16 a) {
  enum { TO_NEAREST = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC };
  return (v16){_mm256_cvtph_ps(_mm256_cvtps_ph(a.l, TO_NEAREST)),
               _mm256_cvtph_ps(_mm256_cvtps_ph(a.h, TO_NEAREST))};
}
IFD_INLINE i16 v16_to_i16(v16 a) { return (i16){_mm256_cvtps_epi32(a.l), _mm256_cvtps_epi32(a.h)}; }
IFD_INLINE v16 i16_to_v16(i16 a) { return (v16){_mm256_cvtepi32_ps(a.l), _mm256_cvtepi32_ps(a.h)}; }
IFD_INLINE i16 v16_bits(v16 a) { return (i16){_mm256_castps_si256(a.l), _mm256_castps_si256(a.h)}; }
IFD_INLINE v16 i16_float(i16 a) { return (v16){_mm256_castsi256_ps(a.l), _mm256_castsi256_ps(a.h)}; }
IFD_INLINE i16 i16_set1(int32_t x) { return (i16){_mm256_set1_epi32(x), _mm256_set1_epi32(x)}; }
IFD_INLINE i16 i16_load(const int32_t *p) {
  return (i16){_mm256_loadu_si256((const __m256i *)p), _mm256_loadu_si256((const __m256i *)(p + 8))};
}
IFD_INLINE void i16_store(int32_t *p, i16 a) {
  _mm256_storeu_si256((__m256i *)p, a.l);
  _mm256_storeu_si256((__m256i *)(p + 8), a.h);
}
#define I2_(name, call)                                                                                      \
  IFD_INLINE i16 name(i16 a, i16 b) { return (i16){call(a.l, b.l), call(a.h, b.h)}; }
I2_(i16_add, _mm256_add_epi32)
I2_(i16_sub, _mm256_sub_epi32)
I2_(i16_mul, _mm256_mullo_epi32)
I2_(i16_and, _mm256_and_si256)
I2_(i16_or, _mm256_or_si256)
I2_(i16_xor, _mm256_xor_si256)
#undef I2_
#define i16_sll(a, n) ((i16){_mm256_slli_epi32((a).l, n), _mm256_slli_epi32((a).h, n)})
#define i16_srl(a, n) ((i16){_mm256_srli_epi32((a).l, n), _mm256_srli_epi32((a).h, n)})
#define i16_sra(a, n) ((i16){_mm256_srai_epi32((a).l, n), _mm256_srai_epi32((a).h, n)})

#else /* reference: plain C, sixteen lanes one after another */
typedef struct {
  float f[16];
} v16;
typedef struct {
  int32_t i[16];
} i16;
typedef struct {
  bool b[16];
} m16;
#define LANES_(type, field, expression)                                                                      \
  type r;                                                                                                    \
  for (int k = 0; k < 16; k++) r.field[k] = (expression);                                                    \
  return r
IFD_INLINE v16 v16_set1(float x) { LANES_(v16, f, x); }
IFD_INLINE v16 v16_load(const ifd_float_anywhere *p) { LANES_(v16, f, p[k]); }
IFD_INLINE void v16_store(float *p, v16 a) { memcpy(p, a.f, sizeof a.f); }
IFD_INLINE m16 m16_first(int n) { LANES_(m16, b, k < n); }
IFD_INLINE v16 v16_load_n(const ifd_float_anywhere *p, int n) { LANES_(v16, f, k < n ? p[k] : 0); }
IFD_INLINE void v16_store_n(float *p, v16 a, int n) {
  for (int k = 0; k < n && k < 16; k++) p[k] = a.f[k];
}
IFD_INLINE v16 v16_load_lanes(const float *p, m16 m) { LANES_(v16, f, m.b[k] ? p[k] : 0); }
IFD_INLINE void v16_store_range(float *p, v16 a, int from, int end) {
  for (int k = from; k < end; k++) p[k] = a.f[k];
}
IFD_INLINE v16 v16_gather_lanes(const float *p, i16 i, m16 m) { LANES_(v16, f, m.b[k] ? p[i.i[k]] : 0); }
IFD_INLINE v16 v16_add(v16 a, v16 b) { LANES_(v16, f, a.f[k] + b.f[k]); }
IFD_INLINE v16 v16_sub(v16 a, v16 b) { LANES_(v16, f, a.f[k] - b.f[k]); }
IFD_INLINE v16 v16_mul(v16 a, v16 b) { LANES_(v16, f, a.f[k] * b.f[k]); }
IFD_INLINE v16 v16_div(v16 a, v16 b) { LANES_(v16, f, a.f[k] / b.f[k]); }
IFD_INLINE v16 v16_sqrt(v16 a) { LANES_(v16, f, sqrtf(a.f[k])); }
IFD_INLINE v16 v16_fma(v16 a, v16 b, v16 c) { LANES_(v16, f, fmaf(a.f[k], b.f[k], c.f[k])); }
IFD_INLINE v16 v16_fnma(v16 a, v16 b, v16 c) { LANES_(v16, f, fmaf(-a.f[k], b.f[k], c.f[k])); }
IFD_INLINE v16 v16_min(v16 a, v16 b) { LANES_(v16, f, a.f[k] < b.f[k] ? a.f[k] : b.f[k]); }
IFD_INLINE v16 v16_max(v16 a, v16 b) { LANES_(v16, f, a.f[k] > b.f[k] ? a.f[k] : b.f[k]); }
IFD_INLINE m16 v16_lt(v16 a, v16 b) { LANES_(m16, b, a.f[k] < b.f[k]); }
IFD_INLINE m16 v16_le(v16 a, v16 b) { LANES_(m16, b, a.f[k] <= b.f[k]); }
IFD_INLINE m16 v16_eq(v16 a, v16 b) { LANES_(m16, b, a.f[k] == b.f[k]); }
IFD_INLINE m16 v16_isnan(v16 a) { LANES_(m16, b, a.f[k] != a.f[k]); }
IFD_INLINE v16 v16_select(m16 m, v16 a, v16 b) { LANES_(v16, f, m.b[k] ? a.f[k] : b.f[k]); }
IFD_INLINE v16 v16_permute(v16 a, i16 i) { LANES_(v16, f, a.f[i.i[k] & 15]); }
IFD_INLINE v16 v16_permute_low(v16 a, i16 i) { LANES_(v16, f, a.f[i.i[k] & 7]); }
IFD_INLINE v16 v16_even(v16 a, v16 b) { LANES_(v16, f, k < 8 ? a.f[2 * k] : b.f[2 * k - 16]); }
IFD_INLINE m16 m16_and(m16 x, m16 y) { LANES_(m16, b, x.b[k] & y.b[k]); }
IFD_INLINE m16 m16_or(m16 x, m16 y) { LANES_(m16, b, x.b[k] | y.b[k]); }
IFD_INLINE m16 m16_andnot(m16 x, m16 y) { LANES_(m16, b, x.b[k] & !y.b[k]); }
IFD_INLINE bool m16_any(m16 a) {
  bool any = false;
  for (int k = 0; k < 16; k++) any |= a.b[k];
  return any;
}
IFD_INLINE v16 v16_round(v16 a) { LANES_(v16, f, rintf(a.f[k])); }
IFD_INLINE v16 v16_floor(v16 a) { LANES_(v16, f, floorf(a.f[k])); }
IFD_INLINE v16 v16_round_float16(v16 a) {
  LANES_(v16, f, ifd_f16_to_f32(ifd_f32_to_f16(a.f[k]) | (a.f[k] != a.f[k] ? 0x200 : 0)));
}
IFD_INLINE i16 v16_to_i16(v16 a) {
  LANES_(i16, i, a.f[k] >= -2147483648.f && a.f[k] < 2147483648.f ? (int32_t)rintf(a.f[k]) : INT32_MIN);
}
IFD_INLINE v16 i16_to_v16(i16 a) { LANES_(v16, f, (float)a.i[k]); }
IFD_INLINE i16 v16_bits(v16 a) {
  i16 r;
  memcpy(&r, &a, sizeof r);
  return r;
}
IFD_INLINE v16 i16_float(i16 a) {
  v16 r;
  memcpy(&r, &a, sizeof r);
  return r;
}
IFD_INLINE i16 i16_set1(int32_t x) { LANES_(i16, i, x); }
IFD_INLINE i16 i16_load(const int32_t *p) { LANES_(i16, i, p[k]); }
IFD_INLINE void i16_store(int32_t *p, i16 a) { memcpy(p, a.i, sizeof a.i); }
IFD_INLINE i16 i16_add(i16 a, i16 b) { LANES_(i16, i, (int32_t)((uint32_t)a.i[k] + (uint32_t)b.i[k])); }
IFD_INLINE i16 i16_sub(i16 a, i16 b) { LANES_(i16, i, (int32_t)((uint32_t)a.i[k] - (uint32_t)b.i[k])); }
IFD_INLINE i16 i16_mul(i16 a, i16 b) { LANES_(i16, i, (int32_t)((uint32_t)a.i[k] * (uint32_t)b.i[k])); }
IFD_INLINE i16 i16_and(i16 a, i16 b) { LANES_(i16, i, a.i[k] & b.i[k]); }
IFD_INLINE i16 i16_or(i16 a, i16 b) { LANES_(i16, i, a.i[k] | b.i[k]); }
IFD_INLINE i16 i16_xor(i16 a, i16 b) { LANES_(i16, i, a.i[k] ^ b.i[k]); }
IFD_INLINE i16 i16_sll(i16 a, int n) { LANES_(i16, i, (int32_t)((uint32_t)a.i[k] << n)); }
IFD_INLINE i16 i16_srl(i16 a, int n) { LANES_(i16, i, (int32_t)((uint32_t)a.i[k] >> n)); }
IFD_INLINE i16 i16_sra(i16 a, int n) { LANES_(i16, i, a.i[k] >> n); }
#undef LANES_
#endif

/* a, which the compiler then keeps in a register, where it would rather load it again at each use; and *sum =
 * v16_fma(a, b, *sum) in the register of *sum, where it would rather move and spill some of many sums */
#if defined(IFD_ISA_avx512)
IFD_INLINE void v16_add_product(v16 *sum, v16 a, v16 b) {
  __asm__("vfmadd231ps %2, %1, %0" : "+v"(*sum) : "v"(a), "v"(b));
}
IFD_INLINE v16 v16_keep(v16 a) {
  __asm__("" : "+v"(a));
  return a;
}
#elif defined(IFD_ISA_avx2)
IFD_INLINE void v16_add_product(v16 *sum, v16 a, v16 b) { *sum = v16_fma(a, b, *sum); }
IFD_INLINE v16 v16_keep(v16 a) {
  __asm__("" : "+x"(a.l), "+x"(a.h));
  return a;
}
#else
IFD_INLINE void v16_add_product(v16 *sum, v16 a, v16 b) { *sum = v16_fma(a, b, *sum); }
IFD_INLINE v16 v16_keep(v16 a) { return a; }
#endif
IFD_INLINE v16 v16_zero(void) { return v16_set1(0); }
IFD_INLINE v16 v16_neg(v16 a) { return i16_float(i16_xor(v16_bits(a), i16_set1(INT32_MIN))); }
IFD_INLINE v16 v16_abs(v16 a) { return i16_float(i16_and(v16_bits(a), i16_set1(INT32_MAX))); }
/* to the nearest value of bfloat16, likewise */
IFD_INLINE v16 v16_round_bfloat16(v16 a) {
  const i16 u = v16_bits(a), high = i16_set1(-(1 << 16)), odd = i16_and(i16_srl(u, 16), i16_set1(1));
  const i16 near = i16_add(i16_add(u, i16_set1(0x7fff)), odd), quiet = i16_or(u, i16_set1(1 << 22));
  const v16 y = v16_select(v16_isnan(a), i16_float(quiet), i16_float(near));
  return i16_float(i16_and(v16_bits(y), high));
}

/* The one tree of every reduction along a vector: lane k meets lane k + 8, then 4, 2, 1. v16_hmax and
 * v16_hmin give the later lane where either is NaN. */
#if defined(IFD_ISA_avx2) || defined(IFD_ISA_avx512)
#if defined(IFD_ISA_avx512)
#define LOW_(a)  _mm512_castps512_ps256(a)
#define HIGH_(a) _mm512_extractf32x8_ps(a, 1)
#else
#define LOW_(a)  (a).l
#define HIGH_(a) (a).h
#endif
#define TREE_(name, op)                                                                                      \
  IFD_INLINE float name(v16 a) {                                                                             \
    __m256 b = _mm256_##op##_ps(LOW_(a), HIGH_(a));                                                          \
    __m128 c = _mm_##op##_ps(_mm256_castps256_ps128(b), _mm256_extractf128_ps(b, 1));                        \
    c = _mm_##op##_ps(c, _mm_movehl_ps(c, c));                                                               \
    return _mm_cvtss_f32(_mm_##op##_ss(c, _mm_shuffle_ps(c, c, 1)));                                         \
  }
#else
#define TREE_(name, op)                                                                                      \
  IFD_INLINE float name(v16 a) {                                                                             \
    for (int half = 8; half; half /= 2)                                                                      \
      for (int k = 0; k < half; k++) a.f[k] = op##_(a.f[k], a.f[k + half]);                                  \
    return a.f[0];                                                                                           \
  }
#define add_(x, y) ((x) + (y))
#define mul_(x, y) ((x) * (y))
#define max_(x, y) ((x) > (y) ? (x) : (y))
#define min_(x, y) ((x) < (y) ? (x) : (y))
#endif
TREE_(v16_sum, add)
TREE_(v16_product, mul)
TREE_(v16_hmax, max)
TREE_(v16_hmin, min)
#undef TREE_
#undef LOW_
#undef HIGH_
#undef add_
#undef mul_
#undef max_
#undef min_

#endif
