#include "kernels/eltwise/rows.h"

/* To the nearest whole number, ties to even: |x| <= 2^22. */
IFD_INLINE float nearest(float x) { return (x + 0x1.8p23f) - 0x1.8p23f; }

/* The bounds are whole numbers, so that rounding after them is rounding before; NaN becomes 0. */
#define QUANTIZE(t, least, most)                                                                             \
  static void quantize_##t(const float *x, const float *scale, int scale_step, const void *zero,             \
                           int zero_step, void *to, size_t n) {                                              \
    const t *restrict z = zero;                                                                              \
    t *restrict y = to;                                                                                      \
    if (!scale_step && !zero_step) {                                                                         \
      const float s = *scale, shift = z ? *z : 0, low = least - shift, high = most - shift;                  \
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
QUANTIZE(uint8_t, 0, UINT8_MAX)
QUANTIZE(int8_t, INT8_MIN, INT8_MAX)
QUANTIZE(uint16_t, 0, UINT16_MAX)
QUANTIZE(int16_t, INT16_MIN, INT16_MAX)

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
  static ifd_el_quantize_row *const rows[IFD_N_DTYPES] = {[IFD_UINT8] = quantize_uint8_t,
                                                          [IFD_INT8] = quantize_int8_t,
                                                          [IFD_UINT16] = quantize_uint16_t,
                                                          [IFD_INT16] = quantize_int16_t};
  return rows[to];
}

ifd_el_dequantize_row *IFD_K(ifd_el_dequantize)(ifd_dtype from) {
  static ifd_el_dequantize_row *const rows[IFD_N_DTYPES] = {[IFD_UINT8] = dequantize_uint8_t,
                                                            [IFD_INT8] = dequantize_int8_t,
                                                            [IFD_UINT16] = dequantize_uint16_t,
                                                            [IFD_INT16] = dequantize_int16_t,
                                                            [IFD_INT32] = dequantize_int32_t};
  return rows[from];
}
