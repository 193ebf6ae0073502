/* Sixteen 16-bit floats as the floats that they are. A signalling NaN becomes quiet, if not here then in what
 * is computed of it. */
#ifndef IFD_KERNELS_HALF_H
#define IFD_KERNELS_HALF_H

#include "kernels/simd.h"

#if defined(IFD_ISA_avx512)
IFD_INLINE v16 v16_load_float16(const void *p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p));
}
IFD_INLINE v16 v16_load_bfloat16(const void *p) {
  const i16 words = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)p));
  return i16_float(i16_sll(words, 16));
}
#elif defined(IFD_ISA_avx2)
IFD_INLINE v16 v16_load_float16(const void *p) {
  const __m128i *halves = p;
  return (v16){_mm256_cvtph_ps(_mm_loadu_si128(halves)), _mm256_cvtph_ps(_mm_loadu_si128(halves + 1))};
}
IFD_INLINE v16 v16_load_bfloat16(const void *p) {
  const __m128i *halves = p;
  const i16 words = {_mm256_cvtepu16_epi32(_mm_loadu_si128(halves)),
                     _mm256_cvtepu16_epi32(_mm_loadu_si128(halves + 1))};
  return i16_float(i16_sll(words, 16));
}
#else
IFD_INLINE v16 v16_load_halves(const void *p, float (*widened)(uint16_t half)) {
  uint16_t halves[16];
  v16 r;
  memcpy(halves, p, sizeof halves);
  for (int k = 0; k < 16; k++) r.f[k] = widened(halves[k]);
  return r;
}
IFD_INLINE v16 v16_load_float16(const void *p) { return v16_load_halves(p, ifd_f16_to_f32); }
IFD_INLINE v16 v16_load_bfloat16(const void *p) { return v16_load_halves(p, ifd_bf16_to_f32); }
#endif

#endif
