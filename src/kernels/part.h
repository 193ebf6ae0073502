/* Sixteen lanes in as many steps as they take registers: a part is PART of them, the low ones of a v16 whose
 * others are of no account, so that the compiler leaves them out. Sums that would fill twice as many
 * registers are made part by part. */
#ifndef IFD_KERNELS_PART_H
#define IFD_KERNELS_PART_H

#include "kernels/simd.h"

#if defined(IFD_ISA_avx2)
enum { IFD_PART = 8 };
IFD_INLINE v16 part_load(const float *p) { return (v16){.l = _mm256_loadu_ps(p)}; }
IFD_INLINE void part_store(float *p, v16 a) { _mm256_storeu_ps(p, a.l); }
/* lanes [from, end) alone */
IFD_INLINE void part_store_range(float *p, v16 a, int from, int end) { ifd_store8_range(p, a.l, from, end); }
IFD_INLINE i16 part_load_lanes(const int32_t *p) {
  return (i16){.l = _mm256_loadu_si256((const __m256i *)p)};
}
/* lane k is lane i[k] mod IFD_PART of a */
IFD_INLINE v16 part_permute(v16 a, i16 i) { return (v16){.l = _mm256_permutevar8x32_ps(a.l, i.l)}; }
/* IFD_REPEATED floats again and again, and lane k of those its lane i[k] mod IFD_REPEATED: without AVX-512 a
 * permute across a register takes twice as long. */
enum { IFD_REPEATED = 4 };
IFD_INLINE v16 part_load_repeated(const float *p) {
  return (v16){.l = _mm256_broadcast_ps((const __m128 *)p)};
}
IFD_INLINE v16 part_permute_repeated(v16 a, i16 i) { return (v16){.l = _mm256_permutevar_ps(a.l, i.l)}; }
IFD_INLINE v16 part_keep(v16 a) {
  __asm__("" : "+x"(a.l));
  return a;
}
/* the i-th part of a vector */
IFD_INLINE v16 part_of(v16 a, int i) { return i ? (v16){.l = a.h} : a; }
IFD_INLINE m16 part_of_lanes(m16 a, int i) { return i ? (m16){.l = a.h} : a; }
/* p, of which the compiler does not know how it came about: else it computes the addresses of all that a
 * function reads and writes before anything else, and keeps them in memory */
IFD_INLINE void *part_address(const void *p) {
  __asm__("" : "+r"(p));
  return (void *)p;
}
#else
enum { IFD_PART = 16 };
IFD_INLINE v16 part_load(const float *p) { return v16_load(p); }
IFD_INLINE void part_store(float *p, v16 a) { v16_store(p, a); }
IFD_INLINE void part_store_range(float *p, v16 a, int from, int end) { v16_store_range(p, a, from, end); }
IFD_INLINE i16 part_load_lanes(const int32_t *p) { return i16_load(p); }
IFD_INLINE v16 part_permute(v16 a, i16 i) { return v16_permute(a, i); }
enum { IFD_REPEATED = IFD_PART };
IFD_INLINE v16 part_load_repeated(const float *p) { return part_load(p); }
IFD_INLINE v16 part_permute_repeated(v16 a, i16 i) { return part_permute(a, i); }
IFD_INLINE v16 part_keep(v16 a) { return v16_keep(a); }
IFD_INLINE v16 part_of(v16 a, int i) { return (void)i, a; }
IFD_INLINE m16 part_of_lanes(m16 a, int i) { return (void)i, a; }
IFD_INLINE void *part_address(const void *p) { return (void *)p; }
#endif
#endif
