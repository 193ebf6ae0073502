#include "kernels/quant/elements.h"

/* Bytes as the integers they are. */
IFD_INLINE v16 load_values(const uint8_t *p, int step, bool is_signed, int n) {
  uint8_t some[16] = {0};
  if (!step) {
    return v16_set1(is_signed ? (float)(int8_t)*p : (float)*p);
  }
  if (n < 16) {
    for (int i = 0; i < n; i++) some[i] = p[i];
    p = some;
  }
  i16 v = i16_load_bytes(p);
  if (is_signed) v = i16_sub(i16_xor(v, i16_set1(128)), i16_set1(128));
  return i16_to_v16(v);
}

/* `multiplies` is a constant where this is inlined. */
IFD_INLINE void binary(const bool multiplies, const ifd_k_quant_binary *q, const uint8_t *a, int a_step,
                       const uint8_t *b, int b_step, uint8_t *y, int64_t n) {
  for (int64_t i = 0; i < n; i += 16) {
    int some = n - i < 16 ? (int)(n - i) : 16;
    v16 va = load_values(a + i * a_step, a_step, q->a_signed, some);
    v16 vb = load_values(b + i * b_step, b_step, q->b_signed, some), v;
    if (multiplies)
      v = v16_mul(v16_mul(v16_sub(va, v16_set1(q->a_zero)), v16_sub(vb, v16_set1(q->b_zero))),
                  v16_set1(q->a_factor));
    else
      v = v16_fma(va, v16_set1(q->a_factor), v16_fma(vb, v16_set1(q->b_factor), v16_set1(q->shift)));
    v = v16_min(v16_max(v, v16_set1(q->lo)), v16_set1(q->hi));
    i16 r = i16_add(v16_to_i16(v), i16_set1(q->zero));
    if (some == 16)
      i16_store_bytes(y + i, r);
    else
      i16_store_bytes_n(y + i, r, some);
  }
}

void IFD_K(ifd_quant_binary)(const ifd_k_quant_binary *q, const uint8_t *a, int a_step, const uint8_t *b,
                             int b_step, uint8_t *y, int64_t n) {
  if (q->multiplies)
    binary(true, q, a, a_step, b, b_step, y, n);
  else
    binary(false, q, a, a_step, b, b_step, y, n);
}

void IFD_K(ifd_quant_lookup)(const uint8_t *table, const uint8_t *x, uint8_t *y, int64_t n) {
  for (int64_t i = 0; i < n; i++) y[i] = table[x[i]];
}

/* ---- pools ---- */

enum { CHANNELS = 256 };

/* Taps [*from, *to) of window o that lie in the image. */
static void taps_inside(const ifd_k_pool_shape *p, int axis, int64_t o, int64_t *from, int64_t *to) {
  int64_t first = o * p->stride[axis] - p->begin[axis], step = p->dilation[axis];
  *from = first < 0 ? ifd_min_i64(ifd_ceil_div(-first, step), p->kernel[axis]) : 0;
  *to = first < p->image[axis] ? ifd_min_i64((p->image[axis] - 1 - first) / step + 1, p->kernel[axis]) : 0;
}

/* Elements that the average divides by along an axis: taps in the image and its padding. */
static int64_t taps_counted(const ifd_k_pool_shape *p, int axis, int64_t o) {
  int64_t first = o * p->stride[axis] - p->begin[axis], end = p->image[axis] + p->end[axis];
  return first < end ? ifd_min_i64((end - 1 - first) / p->dilation[axis] + 1, p->kernel[axis]) : 0;
}

/* Channels [c, c + n) of a window's pixels. */
typedef struct window {
  const ifd_k_quant_pool *q;
  const uint8_t *x; /* the sample's */
  int64_t at[IFD_POOL_AXES], from[IFD_POOL_AXES], to[IFD_POOL_AXES];
} window;

#define EACH_PIXEL(w, c, statement)                                                                          \
  for (int64_t tz = (w)->from[0]; tz < (w)->to[0]; tz++)                                                     \
    for (int64_t ty = (w)->from[1]; ty < (w)->to[1]; ty++)                                                   \
      for (int64_t tx = (w)->from[2]; tx < (w)->to[2]; tx++) {                                               \
        const uint8_t *restrict pixel = pixel_at(w, tz, ty, tx) + (c);                                       \
        statement                                                                                            \
      }

static const uint8_t *pixel_at(const window *w, int64_t z, int64_t y, int64_t x) {
  const ifd_k_pool_shape *p = &w->q->shape;
  const int64_t tap[IFD_POOL_AXES] = {z, y, x};
  int64_t at = 0;
  for (int i = 0; i < IFD_POOL_AXES; i++)
    at = at * p->image[i] + w->at[i] * p->stride[i] + tap[i] * p->dilation[i] - p->begin[i];
  return w->x + at * w->q->c;
}

/* Greatest bytes; signed ones with their first bit turned are in order as unsigned ones. */
static void most_of(const window *w, uint8_t *restrict y, int64_t c, int64_t n) {
  const uint8_t flip = w->q->is_signed ? 0x80 : 0;
  for (int64_t k = 0; k < n; k++) y[k] = 0;
  EACH_PIXEL(
      w, c, for (int64_t k = 0; k < n; k++) {
        uint8_t v = pixel[k] ^ flip;
        y[k] = v > y[k] ? v : y[k];
      })
  for (int64_t k = 0; k < n; k++) y[k] ^= flip;
}

static void average_of(const window *w, uint8_t *restrict y, int64_t c, int64_t n) {
  const ifd_k_quant_pool *q = w->q;
  const uint8_t flip = q->is_signed ? 0x80 : 0;
  int32_t sum[CHANNELS] = {0};
  int64_t inside = 1, counted = 1;
  for (int i = 0; i < IFD_POOL_AXES; i++) {
    inside *= w->to[i] - w->from[i];
    counted *= q->shape.count_padding ? taps_counted(&q->shape, i, w->at[i]) : w->to[i] - w->from[i];
  }
  EACH_PIXEL(w, c, for (int64_t k = 0; k < n; k++) sum[k] += pixel[k] ^ flip;)
  const float factor = q->factor / (float)counted;
  const int32_t none = (int32_t)inside * (q->x_zero + flip);
  for (int64_t k = 0; k < n; k += 16) {
    v16 v = v16_mul(i16_to_v16(i16_sub(i16_load(sum + k), i16_set1(none))), v16_set1(factor));
    v = v16_min(v16_max(v, v16_set1(q->lo)), v16_set1(q->hi));
    i16_store_bytes_n(y + k, i16_add(v16_to_i16(v), i16_set1(q->zero)), n - k < 16 ? (int)(n - k) : 16);
  }
}

void IFD_K(ifd_quant_pool)(const ifd_k_quant_pool *q, const uint8_t *x, uint8_t *y, int64_t r0, int64_t r1) {
  const ifd_k_pool_shape *p = &q->shape;
  int64_t pixels = p->image[0] * p->image[1] * p->image[2];
  for (int64_t r = r0; r < r1; r++)
    for (int64_t o = 0; o < p->windows[2]; o++) {
      int64_t plane = r / p->windows[1];
      window w = {.q = q, .x = x + plane / p->windows[0] * pixels * q->c};
      w.at[0] = plane % p->windows[0], w.at[1] = r % p->windows[1], w.at[2] = o;
      for (int i = 0; i < IFD_POOL_AXES; i++) taps_inside(p, i, w.at[i], &w.from[i], &w.to[i]);
      uint8_t *to = y + (r * p->windows[2] + o) * q->c;
      for (int64_t c = 0; c < q->c; c += CHANNELS)
        (p->average ? average_of : most_of)(&w, to + c, c, ifd_min_i64(CHANNELS, q->c - c));
    }
}
