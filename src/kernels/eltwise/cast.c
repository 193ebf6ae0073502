#include "kernels/eltwise/rows.h"
#include "tensor/convert.h"

#define CAST(name, from_type, to_type, expression)                                                           \
  static void name(const void *from, void *to, size_t n) {                                                   \
    const from_type *restrict x = from;                                                                      \
    to_type *restrict y = to;                                                                                \
    for (size_t i = 0; i < n; i++) y[i] = (to_type)(expression);                                             \
  }

/* Truncated; what does not fit, and NaN, is the most negative number. */
IFD_INLINE int32_t to_i32(float x) { return x >= -0x1p31f && x < 0x1p31f ? (int32_t)x : INT32_MIN; }
IFD_INLINE int64_t to_i64(float x) { return x >= -0x1p63f && x < 0x1p63f ? (int64_t)x : INT64_MIN; }

/* X(type of ifd_dtype, C type, from float) */
#define NUMBERS(X)                                                                                           \
  X(DOUBLE, double, x[i])                                                                                    \
  X(INT64, int64_t, to_i64(x[i]))                                                                            \
  X(INT32, int32_t, to_i32(x[i]))                                                                            \
  X(INT16, int16_t, to_i32(x[i]))                                                                            \
  X(INT8, int8_t, to_i32(x[i]))                                                                              \
  X(UINT16, uint16_t, to_i32(x[i]))                                                                          \
  X(UINT8, uint8_t, to_i32(x[i]))                                                                            \
  X(BOOL, uint8_t, x[i] != 0)
#define FLOAT_AND(name, type, from_float)                                                                    \
  CAST(FLOAT_to_##name, float, type, from_float)                                                             \
  CAST(name##_to_FLOAT, type, float, x[i])
NUMBERS(FLOAT_AND)

/* X(name, C type, name, C type): the expression is the conversion itself, modulo 2^bits */
#define INTEGERS(X)                                                                                          \
  X(INT64, int64_t, INT32, int32_t)                                                                          \
  X(INT64, int64_t, UINT8, uint8_t)                                                                          \
  X(INT32, int32_t, INT8, int8_t)                                                                            \
  X(INT32, int32_t, UINT8, uint8_t)
#define BOTH_WAYS(a, ta, b, tb)                                                                              \
  CAST(a##_to_##b, ta, tb, x[i])                                                                             \
  CAST(b##_to_##a, tb, ta, x[i])
INTEGERS(BOTH_WAYS)
CAST(INT64_to_BOOL, int64_t, uint8_t, x[i] != 0)
CAST(INT32_to_BOOL, int32_t, uint8_t, x[i] != 0)

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

ifd_el_cast_row *IFD_K(ifd_el_cast)(ifd_dtype to, ifd_dtype from) {
  static const struct {
    ifd_dtype from, to;
    ifd_el_cast_row *row;
  } rows[] = {
#define FLOAT_ENTRIES(name, type, from_float)                                                                \
  {IFD_FLOAT, IFD_##name, FLOAT_to_##name}, {IFD_##name, IFD_FLOAT, name##_to_FLOAT},
#define PAIR_ENTRIES(a, ta, b, tb) {IFD_##a, IFD_##b, a##_to_##b}, {IFD_##b, IFD_##a, b##_to_##a},
      NUMBERS(FLOAT_ENTRIES) INTEGERS(PAIR_ENTRIES){IFD_FLOAT, IFD_FLOAT16, FLOAT_to_FLOAT16},
      {IFD_FLOAT16, IFD_FLOAT, FLOAT16_to_FLOAT},
      {IFD_FLOAT, IFD_BFLOAT16, FLOAT_to_BFLOAT16},
      {IFD_BFLOAT16, IFD_FLOAT, BFLOAT16_to_FLOAT},
      {IFD_INT64, IFD_BOOL, INT64_to_BOOL},
      {IFD_INT32, IFD_BOOL, INT32_to_BOOL},
      {IFD_BOOL, IFD_INT64, UINT8_to_INT64},
      {IFD_BOOL, IFD_INT32, UINT8_to_INT32},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
    if (rows[i].from == from && rows[i].to == to) return rows[i].row;
  return NULL;
}
