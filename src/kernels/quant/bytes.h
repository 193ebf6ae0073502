/* Bytes in lanes of 32 bits, and their dot products by fours. */
#ifndef IFD_KERNELS_QUANT_BYTES_H
#define IFD_KERNELS_QUANT_BYTES_H

#include "kernels/simd.h"

#if defined(IFD_ISA_avx512)
IFD_INLINE i16 i16_load_bytes(const void *p) { return _mm512_cvtepu8_epi32(_mm_loadu_si128(p)); }
IFD_INLINE void i16_store_bytes(void *p, i16 a) { _mm_storeu_si128(p, _mm512_cvtepi32_epi8(a)); }
/* The even or the odd int8 of each lane as 16-bit words; sum + the products of two words and two others. */
IFD_INLINE i16 i16_load_words(const void *p, int odd) {
  i16 a = _mm512_loadu_si512(p);
  return _mm512_srai_epi16(odd ? a : _mm512_slli_epi16(a, 8), 8);
}
IFD_INLINE i16 add_words(i16 sum, i16 a, i16 b) { return _mm512_add_epi32(sum, _mm512_madd_epi16(a, b)); }
/* a: where it is one of many sums, the compiler would rather add all products first, and spill them. */
IFD_INLINE i16 i16_keep(i16 a) {
  __asm__("" : "+v"(a));
  return a;
}
/* 16 bytes of a in the lanes' low words, of b in the high ones. */
IFD_INLINE i16 i16_zip_bytes(const void *a, const void *b) {
  __m128i x = _mm_loadu_si128(a), y = _mm_loadu_si128(b);
  return _mm512_cvtepu8_epi16(_mm256_set_m128i(_mm_unpackhi_epi8(x, y), _mm_unpacklo_epi8(x, y)));
}
/* Products of bytes, of whose pairs none exceeds 16 bits. */
IFD_INLINE i16 mul_pairs(i16 a, i16 b) {
  return _mm512_madd_epi16(_mm512_maddubs_epi16(a, b), _mm512_set1_epi16(1));
}
/* Of pairs of a and of c, whose differences do not, either. */
IFD_INLINE i16 mul_pairs_less(i16 a, i16 c, i16 b) {
  const i16 pairs = _mm512_sub_epi16(_mm512_maddubs_epi16(a, b), _mm512_maddubs_epi16(c, b));
  return _mm512_madd_epi16(pairs, _mm512_set1_epi16(1));
}
__attribute__((target("avx512vnni"))) IFD_INLINE i16 dot_quads(i16 sum, i16 a, i16 b) {
  return _mm512_dpbusd_epi32(sum, a, b);
}
#define IFD_QUADS_TARGET __attribute__((target("avx512vnni")))

#elif defined(IFD_ISA_avx2)
IFD_INLINE i16 i16_load_bytes(const void *p) {
  __m128i x = _mm_loadu_si128(p);
  return (i16){_mm256_cvtepu8_epi32(x), _mm256_cvtepu8_epi32(_mm_srli_si128(x, 8))};
}
IFD_INLINE void i16_store_bytes(void *p, i16 a) {
  const __m256i low = _mm256_set1_epi32(0xff);
  __m256i words = _mm256_packus_epi32(_mm256_and_si256(a.l, low), _mm256_and_si256(a.h, low));
  words = _mm256_permute4x64_epi64(words, 0xd8);
  _mm_storeu_si128(p, _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1)));
}
IFD_INLINE i16 i16_load_words(const void *p, int odd) {
  i16 a = i16_load(p);
  return odd ? (i16){_mm256_srai_epi16(a.l, 8), _mm256_srai_epi16(a.h, 8)}
             : (i16){_mm256_srai_epi16(_mm256_slli_epi16(a.l, 8), 8),
                     _mm256_srai_epi16(_mm256_slli_epi16(a.h, 8), 8)};
}
IFD_INLINE i16 add_words(i16 sum, i16 a, i16 b) {
  return (i16){_mm256_add_epi32(sum.l, _mm256_madd_epi16(a.l, b.l)),
               _mm256_add_epi32(sum.h, _mm256_madd_epi16(a.h, b.h))};
}
IFD_INLINE i16 i16_keep(i16 a) {
  __asm__("" : "+x"(a.l), "+x"(a.h));
  return a;
}
IFD_INLINE i16 i16_zip_bytes(const void *a, const void *b) {
  const __m256i words = _mm256_setr_epi8(0, -1, 1, -1, 2, -1, 3, -1, 4, -1, 5, -1, 6, -1, 7, -1, 8, -1, 9, -1,
                                         10, -1, 11, -1, 12, -1, 13, -1, 14, -1, 15, -1);
  __m256i x = _mm256_broadcastsi128_si256(_mm_loadu_si128(a)),
          y = _mm256_broadcastsi128_si256(_mm_loadu_si128(b));
  return (i16){_mm256_shuffle_epi8(_mm256_unpacklo_epi8(x, y), words),
               _mm256_shuffle_epi8(_mm256_unpackhi_epi8(x, y), words)};
}
IFD_INLINE i16 mul_pairs(i16 a, i16 b) {
  const __m256i ones = _mm256_set1_epi16(1);
  return (i16){_mm256_madd_epi16(_mm256_maddubs_epi16(a.l, b.l), ones),
               _mm256_madd_epi16(_mm256_maddubs_epi16(a.h, b.h), ones)};
}
/* Of the pairs of two quads, whose sums do not, either. */
IFD_INLINE i16 mul_fours(i16 a, i16 b, i16 c, i16 d) {
  const __m256i ones = _mm256_set1_epi16(1);
  const __m256i l = _mm256_add_epi16(_mm256_maddubs_epi16(a.l, b.l), _mm256_maddubs_epi16(c.l, d.l));
  const __m256i h = _mm256_add_epi16(_mm256_maddubs_epi16(a.h, b.h), _mm256_maddubs_epi16(c.h, d.h));
  return (i16){_mm256_madd_epi16(l, ones), _mm256_madd_epi16(h, ones)};
}
IFD_INLINE i16 mul_pairs_less(i16 a, i16 c, i16 b) {
  const __m256i ones = _mm256_set1_epi16(1);
  const __m256i l = _mm256_sub_epi16(_mm256_maddubs_epi16(a.l, b.l), _mm256_maddubs_epi16(c.l, b.l));
  const __m256i h = _mm256_sub_epi16(_mm256_maddubs_epi16(a.h, b.h), _mm256_maddubs_epi16(c.h, b.h));
  return (i16){_mm256_madd_epi16(l, ones), _mm256_madd_epi16(h, ones)};
}
__attribute__((target("avxvnni"))) IFD_INLINE i16 dot_quads(i16 sum, i16 a, i16 b) {
  return (i16){_mm256_dpbusd_avx_epi32(sum.l, a.l, b.l), _mm256_dpbusd_avx_epi32(sum.h, a.h, b.h)};
}
#define IFD_QUADS_TARGET __attribute__((target("avxvnni")))

#else
IFD_INLINE i16 i16_load_bytes(const void *p) {
  i16 r;
  for (int k = 0; k < 16; k++) r.i[k] = ((const uint8_t *)p)[k];
  return r;
}
IFD_INLINE void i16_store_bytes(void *p, i16 a) {
  for (int k = 0; k < 16; k++) ((uint8_t *)p)[k] = (uint8_t)a.i[k];
}
IFD_INLINE i16 i16_keep(i16 a) { return a; }
IFD_INLINE i16 i16_zip_bytes(const void *a, const void *b) {
  i16 r;
  for (int k = 0; k < 16; k++) r.i[k] = ((const uint8_t *)a)[k] | ((const uint8_t *)b)[k] << 16;
  return r;
}
IFD_INLINE i16 dot_quads(i16 sum, i16 a, i16 b) {
  for (int k = 0; k < 16; k++)
    for (int shift = 0; shift < 32; shift += 8) {
      int32_t x = (uint8_t)((uint32_t)a.i[k] >> shift), y = (int8_t)((uint32_t)b.i[k] >> shift);
      sum.i[k] = (int32_t)((uint32_t)sum.i[k] + (uint32_t)(x * y));
    }
  return sum;
}
IFD_INLINE i16 add_words(i16 sum, i16 a, i16 b) {
  for (int k = 0; k < 16; k++) {
    int32_t even = (int16_t)a.i[k] * (int16_t)b.i[k], odd = (a.i[k] >> 16) * (b.i[k] >> 16);
    sum.i[k] = (int32_t)((uint32_t)sum.i[k] + (uint32_t)even + (uint32_t)odd);
  }
  return sum;
}
#endif

/* n quads of bytes as words, the two even ones and the two odd ones. */
IFD_INLINE void words_widen_quad(uint8_t *to, const uint8_t *from) {
  const uint32_t low = 0x00ff00ff;
  uint32_t quad;
  memcpy(&quad, from, sizeof quad);
  const uint32_t words[2] = {quad & low, quad >> 8 & low};
  memcpy(to, words, sizeof words);
}
IFD_INLINE void words_widen(uint8_t *to, const uint8_t *from, int64_t n) {
  int64_t i = 0;
#if defined(IFD_ISA_avx2) || defined(IFD_ISA_avx512)
  for (; i + 8 <= n; i += 8) {
    const __m256i a = _mm256_loadu_si256((const __m256i *)(from + 4 * i));
    const __m256i even = _mm256_and_si256(a, _mm256_set1_epi16(0xff)), odd = _mm256_srli_epi16(a, 8);
    const __m256i x = _mm256_unpacklo_epi32(even, odd), y = _mm256_unpackhi_epi32(even, odd);
    _mm256_storeu_si256((__m256i *)(to + 8 * i), _mm256_permute2x128_si256(x, y, 0x20));
    _mm256_storeu_si256((__m256i *)(to + 8 * i + 32), _mm256_permute2x128_si256(x, y, 0x31));
  }
#endif
  for (; i < n; i++) words_widen_quad(to + 8 * i, from + 4 * i);
}

/* As many uint8 as a register holds. */
#if defined(IFD_ISA_avx512)
typedef __m512i uint8s;
IFD_INLINE uint8s uint8s_load(const void *p) { return _mm512_loadu_si512(p); }
IFD_INLINE void uint8s_store(void *p, uint8s a) { _mm512_storeu_si512(p, a); }
IFD_INLINE uint8s uint8s_set1(uint8_t a) { return _mm512_set1_epi8((char)a); }
IFD_INLINE uint8s uint8s_xor(uint8s a, uint8s b) { return _mm512_xor_si512(a, b); }
IFD_INLINE uint8s uint8s_max(uint8s a, uint8s b) { return _mm512_max_epu8(a, b); }
IFD_INLINE uint8s uint8s_min(uint8s a, uint8s b) { return _mm512_min_epu8(a, b); }
IFD_INLINE uint8s uint8s_above(uint8s a, uint8s b) { return _mm512_subs_epu8(a, b); }
#elif defined(IFD_ISA_avx2)
typedef __m256i uint8s;
IFD_INLINE uint8s uint8s_load(const void *p) { return _mm256_loadu_si256(p); }
IFD_INLINE void uint8s_store(void *p, uint8s a) { _mm256_storeu_si256(p, a); }
IFD_INLINE uint8s uint8s_set1(uint8_t a) { return _mm256_set1_epi8((char)a); }
IFD_INLINE uint8s uint8s_xor(uint8s a, uint8s b) { return _mm256_xor_si256(a, b); }
IFD_INLINE uint8s uint8s_max(uint8s a, uint8s b) { return _mm256_max_epu8(a, b); }
IFD_INLINE uint8s uint8s_min(uint8s a, uint8s b) { return _mm256_min_epu8(a, b); }
IFD_INLINE uint8s uint8s_above(uint8s a, uint8s b) { return _mm256_subs_epu8(a, b); }
#else
typedef uint8_t uint8s;
IFD_INLINE uint8s uint8s_load(const void *p) { return *(const uint8_t *)p; }
IFD_INLINE void uint8s_store(void *p, uint8s a) { *(uint8_t *)p = a; }
IFD_INLINE uint8s uint8s_set1(uint8_t a) { return a; }
IFD_INLINE uint8s uint8s_xor(uint8s a, uint8s b) { return a ^ b; }
IFD_INLINE uint8s uint8s_max(uint8s a, uint8s b) { return a > b ? a : b; }
#endif
enum { UINT8S = sizeof(uint8s) };

/* max(a, |b|), of a that is not negative. */
#if defined(IFD_ISA_avx512)
IFD_INLINE v16 v16_max_abs(v16 a, v16 b) { return _mm512_range_ps(a, b, 11); }
#else
IFD_INLINE v16 v16_max_abs(v16 a, v16 b) { return v16_max(a, v16_abs(b)); }
#endif

/* 64 numbers, to which `words` are added, as bytes, uint8 or int8: the nearest ones in [lo, hi]. */
#if defined(IFD_ISA_avx512)
/* Four of each vector in turn. */
IFD_INLINE i16 i16_nearest_lanes(const i16 *v, i16 words, bool is_signed, int32_t lo, int32_t hi) {
  const i16 least = _mm512_set1_epi8((char)lo), most = _mm512_set1_epi8((char)hi);
  i16 a = _mm512_adds_epi16(_mm512_packs_epi32(v[0], v[1]), words);
  i16 b = _mm512_adds_epi16(_mm512_packs_epi32(v[2], v[3]), words);
  return is_signed ? _mm512_min_epi8(_mm512_max_epi8(_mm512_packs_epi16(a, b), least), most)
                   : _mm512_min_epu8(_mm512_max_epu8(_mm512_packus_epi16(a, b), least), most);
}
/* In their order. */
IFD_INLINE i16 i16_nearest_bytes(const i16 *v, i16 words, bool is_signed, int32_t lo, int32_t hi) {
  const i16 order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  return _mm512_permutexvar_epi32(order, i16_nearest_lanes(v, words, is_signed, lo, hi));
}
IFD_INLINE void i16_store_quarters(char *const to[4], i16 a) {
  _mm_storeu_si128((void *)to[0], _mm512_castsi512_si128(a));
  _mm_storeu_si128((void *)to[1], _mm512_extracti32x4_epi32(a, 1));
  _mm_storeu_si128((void *)to[2], _mm512_extracti32x4_epi32(a, 2));
  _mm_storeu_si128((void *)to[3], _mm512_extracti32x4_epi32(a, 3));
}
#elif defined(IFD_ISA_avx2)
IFD_INLINE __m256i ifd_nearest_bytes(const i16 *v, __m256i words, bool is_signed, int32_t lo, int32_t hi) {
  const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
  const __m256i least = _mm256_set1_epi8((char)lo), most = _mm256_set1_epi8((char)hi);
  __m256i a = _mm256_adds_epi16(_mm256_packs_epi32(v[0].l, v[0].h), words);
  __m256i b = _mm256_adds_epi16(_mm256_packs_epi32(v[1].l, v[1].h), words);
  __m256i bytes = is_signed ? _mm256_min_epi8(_mm256_max_epi8(_mm256_packs_epi16(a, b), least), most)
                            : _mm256_min_epu8(_mm256_max_epu8(_mm256_packus_epi16(a, b), least), most);
  return _mm256_permutevar8x32_epi32(bytes, order);
}
IFD_INLINE i16 i16_nearest_bytes(const i16 *v, i16 words, bool is_signed, int32_t lo, int32_t hi) {
  return (i16){ifd_nearest_bytes(v, words.l, is_signed, lo, hi),
               ifd_nearest_bytes(v + 2, words.h, is_signed, lo, hi)};
}
IFD_INLINE void i16_store_quarters(char *const to[4], i16 a) {
  _mm_storeu_si128((void *)to[0], _mm256_castsi256_si128(a.l));
  _mm_storeu_si128((void *)to[1], _mm256_extracti128_si256(a.l, 1));
  _mm_storeu_si128((void *)to[2], _mm256_castsi256_si128(a.h));
  _mm_storeu_si128((void *)to[3], _mm256_extracti128_si256(a.h, 1));
}
#else
IFD_INLINE i16 i16_nearest_bytes(const i16 *v, i16 words, bool is_signed, int32_t lo, int32_t hi) {
  uint8_t bytes[64];
  i16 r;
  (void)is_signed;
  for (int i = 0; i < 64; i++) {
    int64_t x = (int64_t)v[i / 16].i[i % 16] + (int16_t)words.i[0];
    bytes[i] = (uint8_t)(x < lo ? lo : x > hi ? hi : x);
  }
  memcpy(&r, bytes, sizeof bytes);
  return r;
}
/* 16 bytes each. */
IFD_INLINE void i16_store_quarters(char *const to[4], i16 a) {
  for (int i = 0; i < 4; i++) memcpy(to[i], (const char *)&a + 16 * i, 16);
}
#endif

/* At most 16 bytes. */
IFD_INLINE void copy_some(void *to, const void *from, int n) {
  char *p = to;
  const char *q = from;
  if (n & 16) memcpy(p, q, 16);
  if (n & 8) memcpy(p, q, 8), p += 8, q += 8;
  if (n & 4) memcpy(p, q, 4), p += 4, q += 4;
  if (n & 2) memcpy(p, q, 2), p += 2, q += 2;
  if (n & 1) *p = *q;
}

IFD_INLINE void i16_store_bytes_n(void *p, i16 a, int n) {
  uint8_t all[16];
  i16_store_bytes(all, a);
  copy_some(p, all, n);
}
/* Four bytes to every lane. */
IFD_INLINE i16 i16_set_quad(const void *p) {
  int32_t quad;
  memcpy(&quad, p, sizeof quad);
  return i16_set1(quad);
}

#endif
