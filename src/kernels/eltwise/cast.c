#include "kernels/eltwise/rows.h"
#include "tensor/convert.h"

#define CAST(name, from_type, to_type, expression)                                                           \
  static void name(const void *from, void *to, size_t n) {                                                   \
    const from_type *restrict x = from;                                                                      \
    to_type *restrict y = to;                                                                                \
    for (size_t i = 0; i < n; i++) y[i] = (to_type)(expression);                                             \
  }

/* The same of two ways: blocks whose elements all pass the test take the quicker one. */
#define CAST_NEAR(name, from_type, to_type, test, near, expression)                                          \
  static void name(const void *from, void *to, size_t n) {                                                   \
    enum { BLOCK = 64 };                                                                                     \
    for (size_t at = 0; at < n; at += BLOCK) {                                                               \
      const size_t some = n - at < BLOCK ? n - at : BLOCK;                                                   \
      const from_type *restrict x = (const from_type *)from + at;                                            \
      to_type *restrict y = (to_type *)to + at;                                                              \
      unsigned far = some < BLOCK;                                                                           \
      for (size_t i = 0; i < BLOCK && some == BLOCK; i++) far |= !(test);                                    \
      if (far)                                                                                               \
        for (size_t i = 0; i < some; i++) y[i] = (to_type)(expression);                                      \
      else                                                                                                   \
        for (size_t i = 0; i < BLOCK; i++) y[i] = (to_type)(near);                                           \
    }                                                                                                        \
  }

/* ---- reals to integers: truncated; what does not fit, and NaN, is the most negative number ---- */

#define WHOLE(real)                                                                                          \
  IFD_INLINE int32_t i32_of_##real(real x) {                                                                 \
    return x > (real)-0x1p31 - 1 && x < (real)0x1p31 ? (int32_t)x : INT32_MIN;                               \
  }                                                                                                          \
  IFD_INLINE int64_t i64_of_##real(real x) {                                                                 \
    return x >= (real)-0x1p63 && x < (real)0x1p63 ? (int64_t)x : INT64_MIN;                                  \
  }                                                                                                          \
  IFD_INLINE uint64_t u64_of_##real(real x) {                                                                \
    return x >= (real)0x1p63 && x < (real)0x1p64 ? (uint64_t)x : (uint64_t)i64_of_##real(x);                 \
  }
WHOLE(float)
WHOLE(double)

/* X(type of ifd_dtype, C type, bits, the integer that a real becomes first) */
#define INTEGERS(X)                                                                                          \
  X(INT8, int8_t, 8, i32)                                                                                    \
  X(INT16, int16_t, 16, i32)                                                                                 \
  X(INT32, int32_t, 32, i32)                                                                                 \
  X(INT64, int64_t, 64, i64)                                                                                 \
  X(UINT8, uint8_t, 8, i32)                                                                                  \
  X(UINT16, uint16_t, 16, i32)                                                                               \
  X(UINT32, uint32_t, 32, i64)                                                                               \
  X(UINT64, uint64_t, 64, u64)
#define FROM_REALS(name, type, bits, whole)                                                                  \
  CAST(FLOAT_to_##name, float, type, whole##_of_float(x[i]))                                                 \
  CAST(DOUBLE_to_##name, double, type, whole##_of_double(x[i]))
#if !defined(IFD_ISA_avx2)
INTEGERS(FROM_REALS)
#else /* which has no vectors from reals to 64 bits: by 32, where these hold all of a block */
#define FROM_REALS_NEAR(name, type, bits, whole)                                                             \
  CAST_NEAR(FLOAT_to_##name, float, type, fabsf(x[i]) < 0x1p31f, (int32_t)x[i], whole##_of_float(x[i]))      \
  CAST_NEAR(DOUBLE_to_##name, double, type, fabs(x[i]) < 0x1p31, (int32_t)x[i], whole##_of_double(x[i]))
#define FROM_REALS_i32                    FROM_REALS_NEAR
#define FROM_REALS_i64                    FROM_REALS_NEAR
#define FROM_REALS_u64                    FROM_REALS_NEAR
#define BY_WHOLE(name, type, bits, whole) FROM_REALS_##whole(name, type, bits, whole)
INTEGERS(BY_WHOLE)
#endif

/* ---- integers to others ---- */

#define double_of_i32(x) (x)
#if !defined(IFD_ISA_avx2)
#define double_of_i64(x) (x)
#define double_of_u64(x) (x)
#else /* which has no vectors from 64 bits to reals: both halves as the last bits of large numbers */
IFD_INLINE double of_halves(uint64_t high, uint64_t low, double both) {
  double h, l;
  low = (low & 0xffffffff) | 0x4330000000000000; /* 2^52 + low */
  memcpy(&h, &high, sizeof h);
  memcpy(&l, &low, sizeof l);
  return (h - both) + l;
}
/* 2^84 + 2^32 (the high half, a sign made 2^31 more) */
IFD_INLINE double double_of_i64(int64_t x) {
  return of_halves((uint64_t)x >> 32 ^ 0x4530000080000000, (uint64_t)x, 0x1p84 + 0x1p63 + 0x1p52);
}
IFD_INLINE double double_of_u64(uint64_t x) {
  return of_halves(x >> 32 | 0x4530000000000000, x, 0x1p84 + 0x1p52);
}
#endif
#define TO_OTHERS(name, type, bits, whole)                                                                   \
  CAST(name##_to_FLOAT, type, float, x[i])                                                                   \
  CAST(name##_to_DOUBLE, type, double, double_of_##whole(x[i]))                                              \
  CAST(name##_to_BOOL, type, uint8_t, x[i] != 0)
INTEGERS(TO_OTHERS)
CAST(FLOAT_to_DOUBLE, float, double, x[i])
CAST(DOUBLE_to_FLOAT, double, float, x[i])
CAST(FLOAT_to_BOOL, float, uint8_t, x[i] != 0)
CAST(DOUBLE_to_BOOL, double, uint8_t, x[i] != 0)

/* Among integers, modulo 2^bits: the sign of the result does not matter. */
#define TO_WIDTHS(name, type, bits, whole)                                                                   \
  CAST(name##_to_8, type, uint8_t, x[i])                                                                     \
  CAST(name##_to_16, type, uint16_t, x[i])                                                                   \
  CAST(name##_to_32, type, uint32_t, x[i])                                                                   \
  CAST(name##_to_64, type, uint64_t, x[i])
INTEGERS(TO_WIDTHS)

/* ---- 16-bit floats ---- */

IFD_INLINE float from_bf16(uint16_t h) {
  uint32_t u = (uint32_t)h << 16;
  float x;
  memcpy(&x, &u, sizeof x);
  return x;
}
/* To nearest even; NaN stays one. */
IFD_INLINE uint16_t to_bf16(float x) {
  uint32_t u;
  memcpy(&u, &x, sizeof u);
  uint32_t rounded = (u + 0x7fff + (u >> 16 & 1)) >> 16, quiet = u >> 16 | 0x40;
  return (uint16_t)((u & 0x7fffffff) > 0x7f800000 ? quiet : rounded);
}
CAST(BFLOAT16_to_FLOAT, uint16_t, float, from_bf16(x[i]))
CAST(FLOAT_to_BFLOAT16, float, uint16_t, to_bf16(x[i]))

#if defined(IFD_ISA_ref)
/* The processor's conversions make a signalling NaN quiet. */
IFD_INLINE float from_f16(uint16_t h) { return ifd_f16_to_f32((h & 0x7fff) > 0x7c00 ? h | 0x200 : h); }
IFD_INLINE uint16_t to_f16(float x) { return ifd_f32_to_f16(x) | (x != x ? 0x200 : 0); }
CAST(FLOAT16_to_FLOAT, uint16_t, float, from_f16(x[i]))
CAST(FLOAT_to_FLOAT16, float, uint16_t, to_f16(x[i]))
#else
enum { TO_NEAREST = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC };
static void FLOAT16_to_FLOAT(const void *from, void *to, size_t n) {
  const uint16_t *x = from;
  float *y = to;
  size_t i = 0;
  for (; i + 8 <= n; i += 8)
    _mm256_storeu_ps(y + i, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(x + i))));
  for (; i < n; i++) y[i] = _cvtsh_ss(x[i]);
}
static void FLOAT_to_FLOAT16(const void *from, void *to, size_t n) {
  const float *x = from;
  uint16_t *y = to;
  size_t i = 0;
  for (; i + 8 <= n; i += 8)
    _mm_storeu_si128((__m128i *)(y + i), _mm256_cvtps_ph(_mm256_loadu_ps(x + i), TO_NEAREST));
  for (; i < n; i++) y[i] = (uint16_t)_cvtss_sh(x[i], TO_NEAREST);
}
#endif

/* Of the two floats beside a double the odd one, which rounds to fewer bits as the double does. */
IFD_INLINE float odd_of_double(double x) {
  const float near = (float)x;
  const double size = fabs(x), rounded = fabs((double)near);
  uint32_t bits;
  float odd;
  memcpy(&bits, &near, sizeof bits);
  bits -= rounded > size;
  bits |= (rounded < size) | (rounded > size);
  memcpy(&odd, &bits, sizeof odd);
  return odd;
}
CAST(ODD_to_FLOAT, double, float, odd_of_double(x[i]))

/* By way of FLOAT, a block at a time. Out of a 16-bit float that is exact; into one it is where the integer
 * is: what FLOAT rounds is infinite in FLOAT16, and what BFLOAT16 is made of here has 16 bits. */
#define BY_FLOAT(from_name, from_type, to_name, to_type)                                                     \
  static void from_name##_to_##to_name(const void *from, void *to, size_t n) {                               \
    enum { BLOCK = 512 };                                                                                    \
    float block[BLOCK];                                                                                      \
    for (size_t i = 0; i < n; i += BLOCK) {                                                                  \
      const size_t some = n - i < BLOCK ? n - i : BLOCK;                                                     \
      from_name##_to_FLOAT((const from_type *)from + i, block, some);                                        \
      FLOAT_to_##to_name(block, (to_type *)to + i, some);                                                    \
    }                                                                                                        \
  }
BY_FLOAT(ODD, double, FLOAT16, uint16_t)
#define FROM_HALF(name, type, bits, whole)                                                                   \
  BY_FLOAT(FLOAT16, uint16_t, name, type)                                                                    \
  BY_FLOAT(BFLOAT16, uint16_t, name, type)                                                                   \
  BY_FLOAT(name, type, FLOAT16, uint16_t)
INTEGERS(FROM_HALF)
BY_FLOAT(FLOAT16, uint16_t, DOUBLE, double)
BY_FLOAT(BFLOAT16, uint16_t, DOUBLE, double)
BY_FLOAT(FLOAT16, uint16_t, BOOL, uint8_t)
BY_FLOAT(BFLOAT16, uint16_t, BOOL, uint8_t)
BY_FLOAT(INT8, int8_t, BFLOAT16, uint16_t)
BY_FLOAT(INT16, int16_t, BFLOAT16, uint16_t)
BY_FLOAT(UINT8, uint8_t, BFLOAT16, uint16_t)
BY_FLOAT(UINT16, uint16_t, BFLOAT16, uint16_t)

ifd_el_cast_row *IFD_K(ifd_el_cast)(ifd_dtype to, ifd_dtype from) {
  static ifd_el_cast_row *const rows[IFD_N_DTYPES][IFD_N_DTYPES] = {
#define ROW(from, to)           [IFD_##from][IFD_##to] = from##_to_##to,
#define WIDTH(from, to, suffix) [IFD_##from][IFD_##to] = from##_to_##suffix,
#define INTEGER_ROWS(name, type, bits, whole)                                                                \
  ROW(FLOAT, name)                                                                                           \
  ROW(DOUBLE, name)                                                                                          \
  ROW(FLOAT16, name)                                                                                         \
  ROW(BFLOAT16, name)                                                                                        \
  ROW(name, FLOAT)                                                                                           \
  ROW(name, DOUBLE)                                                                                          \
  ROW(name, FLOAT16)                                                                                         \
  ROW(name, BOOL)                                                                                            \
  WIDTH(INT8, name, bits)                                                                                    \
  WIDTH(INT16, name, bits)                                                                                   \
  WIDTH(INT32, name, bits)                                                                                   \
  WIDTH(INT64, name, bits)                                                                                   \
  WIDTH(UINT8, name, bits)                                                                                   \
  WIDTH(UINT16, name, bits)                                                                                  \
  WIDTH(UINT32, name, bits)                                                                                  \
  WIDTH(UINT64, name, bits)                                                                                  \
  [IFD_BOOL][IFD_##name] = UINT8_to_##bits,
      /* clang-format off */
      INTEGERS(INTEGER_ROWS)
      ROW(FLOAT, DOUBLE) ROW(FLOAT, FLOAT16) ROW(FLOAT, BFLOAT16) ROW(FLOAT, BOOL)
      ROW(DOUBLE, FLOAT) ROW(DOUBLE, BOOL) [IFD_DOUBLE][IFD_FLOAT16] = ODD_to_FLOAT16,
      ROW(FLOAT16, FLOAT) ROW(FLOAT16, DOUBLE) ROW(FLOAT16, BOOL)
      ROW(BFLOAT16, FLOAT) ROW(BFLOAT16, DOUBLE) ROW(BFLOAT16, BOOL)
      ROW(INT8, BFLOAT16) ROW(INT16, BFLOAT16) ROW(UINT8, BFLOAT16) ROW(UINT16, BFLOAT16)
      [IFD_BOOL][IFD_FLOAT] = UINT8_to_FLOAT, [IFD_BOOL][IFD_DOUBLE] = UINT8_to_DOUBLE,
      [IFD_BOOL][IFD_FLOAT16] = UINT8_to_FLOAT16, [IFD_BOOL][IFD_BFLOAT16] = UINT8_to_BFLOAT16,
      /* clang-format on */
  };
  return rows[from][to];
}
