/* A square of 16 × 16 floats in registers, turned: lane i of vector j becomes lane j of vector i. */
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
#else
IFD_INLINE void v16_transpose(v16 t[16]) {
  for (int i = 0; i < 16; i++)
    for (int j = 0; j < i; j++) {
      float swap = t[i].f[j];
      t[i].f[j] = t[j].f[i];
      t[j].f[i] = swap;
    }
}
#endif
#endif
