/* A square of 16 × 16 floats turned: lane i of vector j becomes lane j of vector i. In registers, or, by
 * ifd_turn_square(), from 16 rows to 16 rows. */
#ifndef IFD_KERNELS_TRANSPOSE_H
#define IFD_KERNELS_TRANSPOSE_H

#include "kernels/simd.h"

#if defined(IFD_ISA_avx512)
IFD_INLINE void v16_transpose(v16 t[16]) {
  v16 u[16];
  _Pragma("GCC unroll 8") for (int i = 0; i < 16; i += 2) {
    u[i] = _mm512_unpacklo_ps(t[i], t[i + 1]);
    u[i + 1] = _mm512_unpackhi_ps(t[i], t[i + 1]);
  }
  _Pragma("GCC unroll 4") for (int i = 0; i < 16; i += 4) { /* now lanes of four vectors stand together */
    t[i] = _mm512_castpd_ps(_mm512_unpacklo_pd(_mm512_castps_pd(u[i]), _mm512_castps_pd(u[i + 2])));
    t[i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(_mm512_castps_pd(u[i]), _mm512_castps_pd(u[i + 2])));
    t[i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(_mm512_castps_pd(u[i + 1]), _mm512_castps_pd(u[i + 3])));
    t[i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(_mm512_castps_pd(u[i + 1]), _mm512_castps_pd(u[i + 3])));
  }
  _Pragma("GCC unroll 4") for (int i = 0; i < 4; i++) {
    u[i] = _mm512_shuffle_f32x4(t[i], t[i + 4], 0x88);
    u[i + 4] = _mm512_shuffle_f32x4(t[i], t[i + 4], 0xdd);
    u[i + 8] = _mm512_shuffle_f32x4(t[i + 8], t[i + 12], 0x88);
    u[i + 12] = _mm512_shuffle_f32x4(t[i + 8], t[i + 12], 0xdd);
  }
  _Pragma("GCC unroll 4") for (int i = 0; i < 4; i++) {
    t[i] = _mm512_shuffle_f32x4(u[i], u[i + 8], 0x88);
    t[i + 4] = _mm512_shuffle_f32x4(u[i + 4], u[i + 12], 0x88);
    t[i + 8] = _mm512_shuffle_f32x4(u[i], u[i + 8], 0xdd);
    t[i + 12] = _mm512_shuffle_f32x4(u[i + 4], u[i + 12], 0xdd);
  }
}
#define IFD_TURN_IN_REGISTERS
#elif defined(IFD_ISA_avx2)
IFD_INLINE void ifd_transpose_8(__m256 t[8]) {
  __m256 u[8];
  _Pragma("GCC unroll 4") for (int i = 0; i < 8; i += 2) {
    u[i] = _mm256_unpacklo_ps(t[i], t[i + 1]);
    u[i + 1] = _mm256_unpackhi_ps(t[i], t[i + 1]);
  }
  _Pragma("GCC unroll 2") for (int i = 0; i < 8; i += 4) {
    t[i] = _mm256_shuffle_ps(u[i], u[i + 2], 0x44);
    t[i + 1] = _mm256_shuffle_ps(u[i], u[i + 2], 0xee);
    t[i + 2] = _mm256_shuffle_ps(u[i + 1], u[i + 3], 0x44);
    t[i + 3] = _mm256_shuffle_ps(u[i + 1], u[i + 3], 0xee);
  }
  _Pragma("GCC unroll 4") for (int i = 0; i < 4; i++) {
    u[i] = _mm256_permute2f128_ps(t[i], t[i + 4], 0x20);
    u[i + 4] = _mm256_permute2f128_ps(t[i], t[i + 4], 0x31);
  }
  _Pragma("GCC unroll 8") for (int i = 0; i < 8; i++) t[i] = u[i];
}
IFD_INLINE void v16_transpose(v16 t[16]) {
  __m256 ll[8], lh[8], hl[8], hh[8];
  for (int i = 0; i < 8; i++) ll[i] = t[i].l, lh[i] = t[i].h, hl[i] = t[i + 8].l, hh[i] = t[i + 8].h;
  ifd_transpose_8(ll);
  ifd_transpose_8(lh);
  ifd_transpose_8(hl);
  ifd_transpose_8(hh);
  for (int i = 0; i < 8; i++) t[i] = (v16){ll[i], hl[i]}, t[i + 8] = (v16){lh[i], hh[i]};
}
/* Four columns of eight rows, whose halves are joined as they are loaded. */
IFD_INLINE void ifd_turned_8x4(__m256 to[4], const ifd_float_anywhere *from, int64_t from_rs) {
  __m256 t[4];
  _Pragma("GCC unroll 4") for (int i = 0; i < 4; i++) {
    const __m256 low = _mm256_castps128_ps256(_mm_loadu_ps(from + i * from_rs));
    t[i] = _mm256_insertf128_ps(low, _mm_loadu_ps(from + (i + 4) * from_rs), 1);
  }
  const __m256 a = _mm256_unpacklo_ps(t[0], t[1]), b = _mm256_unpackhi_ps(t[0], t[1]);
  const __m256 c = _mm256_unpacklo_ps(t[2], t[3]), d = _mm256_unpackhi_ps(t[2], t[3]);
  to[0] = _mm256_shuffle_ps(a, c, 0x44), to[1] = _mm256_shuffle_ps(a, c, 0xee);
  to[2] = _mm256_shuffle_ps(b, d, 0x44), to[3] = _mm256_shuffle_ps(b, d, 0xee);
}
IFD_INLINE void ifd_turn_8x4(float *to, int64_t to_rs, const ifd_float_anywhere *from, int64_t from_rs) {
  __m256 t[4];
  ifd_turned_8x4(t, from, from_rs);
  _Pragma("GCC unroll 4") for (int i = 0; i < 4; i++) _mm256_storeu_ps(to + i * to_rs, t[i]);
}
IFD_INLINE void ifd_turn_square(float *to, int64_t to_rs, const ifd_float_anywhere *from, int64_t from_rs) {
  for (int i = 0; i < 16; i += 8)
    for (int j = 0; j < 16; j += 4) ifd_turn_8x4(to + j * to_rs + i, to_rs, from + i * from_rs + j, from_rs);
}
#else
IFD_INLINE void v16_transpose(v16 t[16]) {
  for (int i = 0; i < 16; i++)
    for (int j = 0; j < i; j++) {
      float swap = t[i].f[j];
      t[i].f[j] = t[j].f[i];
      t[j].f[i] = swap;
    }
}
#define IFD_TURN_IN_REGISTERS
#endif

#if defined(IFD_TURN_IN_REGISTERS)
IFD_INLINE void ifd_turn_square(float *to, int64_t to_rs, const ifd_float_anywhere *from, int64_t from_rs) {
  v16 t[16];
  for (int i = 0; i < 16; i++) t[i] = v16_load(from + i * from_rs);
  v16_transpose(t);
  for (int i = 0; i < 16; i++) v16_store(to + i * to_rs, t[i]);
}
#endif

/* The first n <= 16 columns of 16 rows. far: three floats beyond the last may be read. */
IFD_INLINE void v16_load_turned(v16 t[16], const ifd_float_anywhere *from, int64_t from_rs, int n, bool far) {
#if defined(IFD_ISA_avx2)
  if (far) {
    for (int k = 0; k < n; k += 4) {
      __m256 low[4], high[4];
      ifd_turned_8x4(low, from + k, from_rs);
      ifd_turned_8x4(high, from + k + 8 * from_rs, from_rs);
      for (int i = 0; i < 4; i++) t[k + i] = (v16){low[i], high[i]};
    }
    return;
  }
#endif
  (void)far;
  for (int r = 0; r < 16; r++) t[r] = v16_load_n(from + r * from_rs, n);
  v16_transpose(t);
}
#endif
