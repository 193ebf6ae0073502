#include "kernels/eltwise/rows.h"
#include "kernels/quant/bytes.h"
#include "kernels/quotient.h"

/* To the nearest whole number, ties to even: |x| <= 2^22. */
IFD_INLINE float nearest(float x) { return (x + 0x1.8p23f) - 0x1.8p23f; }

/* n values of one scale to bytes from `least` to `most`. What is out of bounds for certain is clipped before
 * the division, too: quotients are of moderate numbers. */
static void quantize_bytes(const float *x, float scale, float least, float most, float shift, uint8_t *y,
                           size_t n) {
  const v16 s = v16_set1(scale), r = v16_set1(1 / scale), far = v16_set1(0x1p20f * fabsf(scale));
  const v16 low = v16_set1(least - shift), high = v16_set1(most - shift);
  const i16 zero = i16_set1((int32_t)shift);
  for (size_t i = 0; i < n; i += 16) {
    const int some = n - i < 16 ? (int)(n - i) : 16;
    const v16 v = some == 16 ? v16_load(x + i) : v16_load_n(x + i, some);
    v16 q = ifd_v_quotient(v16_min(v16_max(v, v16_neg(far)), far), s, r);
    q = v16_select(v16_isnan(v), v16_set1(-shift), q);
    const i16 whole = i16_add(v16_to_i16(v16_min(v16_max(q, low), high)), zero);
    if (some == 16)
      i16_store_bytes(y + i, whole);
    else
      i16_store_bytes_n(y + i, whole, some);
  }
}

/* The bounds are whole numbers, so that rounding after them is rounding before; NaN becomes 0. */
#define QUANTIZE(name, t, least, most)                                                                       \
  static void quantize_##name(const float *x, const float *scale, int scale_step, const void *zero,          \
                              int zero_step, void *to, size_t n) {                                           \
    const t *restrict z = zero;                                                                              \
    t *restrict y = to;                                                                                      \
    if (!scale_step && !zero_step) {                                                                         \
      const float s = *scale, shift = z ? *z : 0, low = least - shift, high = most - shift;                  \
      if (sizeof(t) == 1 && ifd_has_quotients(s)) {                                                          \
        quantize_bytes(x, s, least, most, shift, to, n);                                                     \
        return;                                                                                              \
      }                                                                                                      \
      for (size_t i = 0; i < n; i++) {                                                                       \
        float q = x[i] / s;                                                                                  \
        q = q != q ? -shift : q < low ? low : q > high ? high : q;                                           \
        y[i] = (t)(int32_t)(nearest(q) + shift);                                                             \
      }                                                                                                      \
      return;                                                                                                \
    }                                                                                                        \
    for (size_t i = 0; i < n; i++) {                                                                         \
      const float s = scale[scale_step ? i : 0], shift = z ? z[zero_step ? i : 0] : 0;                       \
      const float low = least - shift, high = most - shift;                                                  \
      float q = x[i] / s;                                                                                    \
      q = q != q ? -shift : q < low ? low : q > high ? high : q;                                             \
      y[i] = (t)(int32_t)(nearest(q) + shift);                                                               \
    }                                                                                                        \
  }
QUANTIZE(uint2, uint8_t, 0, 3)
QUANTIZE(int2, int8_t, -2, 1)
QUANTIZE(uint4, uint8_t, 0, 15)
QUANTIZE(int4, int8_t, -8, 7)
QUANTIZE(uint8, uint8_t, 0, UINT8_MAX)
QUANTIZE(int8, int8_t, INT8_MIN, INT8_MAX)
QUANTIZE(uint16, uint16_t, 0, UINT16_MAX)
QUANTIZE(int16, int16_t, INT16_MIN, INT16_MAX)

/* The difference is exact in `wide`, so the product alone rounds. */
#define DEQUANTIZE(t, wide)                                                                                  \
  static void dequantize_##t(const void *from, const float *scale, int scale_step, const void *zero,         \
                             int zero_step, float *restrict y, size_t n) {                                   \
    const t *x = from, *z = zero;                                                                            \
    if (!scale_step && !zero_step) {                                                                         \
      const wide s = *scale, shift = z ? *z : 0;                                                             \
      for (size_t i = 0; i < n; i++) y[i] = (float)(((wide)x[i] - shift) * s);                               \
      return;                                                                                                \
    }                                                                                                        \
    for (size_t i = 0; i < n; i++) {                                                                         \
      const wide shift = z ? z[zero_step ? i : 0] : 0;                                                       \
      y[i] = (float)(((wide)x[i] - shift) * (wide)scale[scale_step ? i : 0]);                                \
    }                                                                                                        \
  }
DEQUANTIZE(uint8_t, float)
DEQUANTIZE(int8_t, float)
DEQUANTIZE(uint16_t, float)
DEQUANTIZE(int16_t, float)
DEQUANTIZE(int32_t, double)

ifd_el_quantize_row *IFD_K(ifd_el_quantize)(ifd_dtype to) {
  static ifd_el_quantize_row *const rows[IFD_N_DTYPES] = {
      [IFD_UINT2] = quantize_uint2,   [IFD_INT2] = quantize_int2,   [IFD_UINT4] = quantize_uint4,
      [IFD_INT4] = quantize_int4,     [IFD_UINT8] = quantize_uint8, [IFD_INT8] = quantize_int8,
      [IFD_UINT16] = quantize_uint16, [IFD_INT16] = quantize_int16};
  return rows[to];
}

ifd_el_dequantize_row *IFD_K(ifd_el_dequantize)(ifd_dtype from) {
  static ifd_el_dequantize_row *const rows[IFD_N_DTYPES] = {
      [IFD_UINT2] = dequantize_uint8_t,   [IFD_INT2] = dequantize_int8_t,   [IFD_UINT4] = dequantize_uint8_t,
      [IFD_INT4] = dequantize_int8_t,     [IFD_UINT8] = dequantize_uint8_t, [IFD_INT8] = dequantize_int8_t,
      [IFD_UINT16] = dequantize_uint16_t, [IFD_INT16] = dequantize_int16_t, [IFD_INT32] = dequantize_int32_t};
  return rows[from];
}
