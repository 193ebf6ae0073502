#include "kernels/quant/elements.h"

#include "kernels/quant/finish.h"

typedef struct operand {
  const uint8_t *p;
  int step;
  i16 flip, zero; /* byte ^ flip is in order as uint8 */
  v16 scale;
} operand;

IFD_INLINE operand operand_of(const ifd_k_quant_operand *o, const uint8_t *p, int step) {
  const int32_t flip = o->is_signed ? 128 : 0;
  return (operand){p, step, i16_set1(flip), i16_set1(o->zero + flip), v16_set1(o->scale)};
}

/* n real values from element i on, as DequantizeLinear gives them: one rounding. */
IFD_INLINE v16 real_values(const operand *o, int64_t i, int n) {
  uint8_t some[16] = {0};
  const uint8_t *p = o->p + i * o->step;
  i16 v = i16_set1(*p);
  if (o->step && n < 16) {
    for (int k = 0; k < n; k++) some[k] = p[k];
    p = some;
  }
  if (o->step) v = i16_load_bytes(p);
  return v16_mul(i16_to_v16(i16_sub(i16_xor(v, o->flip), o->zero)), o->scale);
}

/* 16 bytes from i on as floats, as they are or above their zero point. */
IFD_INLINE v16 bytes_at(const operand *o, int64_t i, bool above) {
  const uint8_t *p = o->p + i * o->step;
  i16 v = i16_xor(o->step ? i16_load_bytes(p) : i16_set1(*p), o->flip);
  return i16_to_v16(above ? i16_sub(v, o->zero) : v);
}

enum { FOLDED = 64 };

IFD_INLINE bool fold(const bool multiplies, const ifd_k_quant_binary *q, const operand *a, const operand *b,
                     int64_t i, uint8_t *y) {
  v16 va[FOLDED / 16], vb[FOLDED / 16];
  _Pragma("GCC unroll 4") for (int k = 0; k < FOLDED / 16; k++) {
    va[k] = bytes_at(a, i + k * 16, multiplies);
    vb[k] = bytes_at(b, i + k * 16, multiplies);
  }
  i16 v[FOLDED / 16];
  if (!ifd_quant_folded(multiplies, q, va, vb, v)) return false;
  const int32_t lo = (int32_t)rintf(q->lo) + q->zero, hi = (int32_t)rintf(q->hi) + q->zero;
  const i16 bytes = i16_nearest_bytes(v, i16_set1(0), lo < 0, lo, hi);
  memcpy(y, &bytes, sizeof bytes);
  return true;
}

/* Where one rounding does it, all at once. `multiplies` is a constant where this is inlined. */
IFD_INLINE void binary(const bool multiplies, const ifd_k_quant_binary *q, const operand *a, const operand *b,
                       uint8_t *y, int64_t n) {
  const bool divides = !ifd_quant_has_quotients(q);
  const v16 scale = v16_set1(q->scale), reciprocal = v16_set1(1 / q->scale);
  const v16 lo = v16_set1(q->lo), hi = v16_set1(q->hi);
  const i16 zero = i16_set1(q->zero);
  for (int64_t i = 0, exact = 0; i < n; i += 16) {
    int some = n - i < 16 ? (int)(n - i) : 16;
    if (q->sure > 0 && i >= exact && n - i >= FOLDED) {
      if (fold(multiplies, q, a, b, i, y + i)) {
        i += FOLDED - 16;
        continue;
      }
      exact = i + FOLDED; /* these one by one */
    }
    v16 va = real_values(a, i, some), vb = real_values(b, i, some);
    v16 v = multiplies ? v16_mul(va, vb) : v16_add(va, vb);
    v = divides ? v16_div(v, scale) : ifd_v_quotient(v, scale, reciprocal);
    i16 r = i16_add(v16_to_i16(v16_min(v16_max(v, lo), hi)), zero);
    if (some == 16)
      i16_store_bytes(y + i, r);
    else
      i16_store_bytes_n(y + i, r, some);
  }
}

void IFD_K(ifd_quant_binary)(const ifd_k_quant_binary *q, const uint8_t *a, int a_step, const uint8_t *b,
                             int b_step, uint8_t *y, int64_t n) {
  const operand oa = operand_of(&q->a, a, a_step), ob = operand_of(&q->b, b, b_step);
  q->multiplies ? binary(true, q, &oa, &ob, y, n) : binary(false, q, &oa, &ob, y, n);
}

#if defined(IFD_ISA_avx512)
/* 64 bytes at a time: two permutations of half the table each, of which a byte's first bit chooses one. How
 * many were done. */
__attribute__((target("avx512vbmi"))) static int64_t permute_bytes(const uint8_t *table, const uint8_t *x,
                                                                   uint8_t *y, int64_t n) {
  const __m512i t[4] = {_mm512_loadu_si512(table), _mm512_loadu_si512(table + 64),
                        _mm512_loadu_si512(table + 128), _mm512_loadu_si512(table + 192)};
  int64_t i = 0;
  for (; i + 64 <= n; i += 64) {
    const __m512i at = _mm512_loadu_si512(x + i);
    const __m512i low = _mm512_permutex2var_epi8(t[0], at, t[1]);
    const __m512i high = _mm512_permutex2var_epi8(t[2], at, t[3]);
    _mm512_storeu_si512(y + i, _mm512_mask_blend_epi8(_mm512_movepi8_mask(at), low, high));
  }
  return i;
}
static int64_t look_up_most(const uint8_t *table, const uint8_t *x, uint8_t *y, int64_t n) {
  return __builtin_cpu_supports("avx512vbmi") ? permute_bytes(table, x, y, n) : 0;
}
#elif defined(IFD_ISA_avx2)
/* Sixteen bytes of the table stand as what differs from the sixteen before, in each half. In its own half a
 * byte finds all up to its own sixteen: beyond these, and in the other half, its index is negative and finds
 * zero. */
static int64_t look_up_most(const uint8_t *table, const uint8_t *x, uint8_t *y, int64_t n) {
  enum { ROW = 16, HALF = 8, WORTH_IT = 256 };
  if (n < WORTH_IT) return 0;
  __m256i steps[2 * HALF], before = _mm256_setzero_si256();
  for (int r = 0; r < 2 * HALF; r++) {
    const __m256i row = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(table + r * ROW)));
    steps[r] = r % HALF ? uint8s_xor(row, before) : row, before = row;
  }
  const __m256i down = _mm256_set1_epi8(ROW), flip = _mm256_set1_epi8((char)0x80);
  int64_t i = 0;
  for (; i + UINT8S <= n; i += UINT8S) {
    __m256i low = uint8s_load(x + i), high = uint8s_xor(low, flip), sum = _mm256_setzero_si256();
    for (int r = 0; r < HALF; r++) {
      sum = uint8s_xor(sum, _mm256_shuffle_epi8(steps[r], low));
      sum = uint8s_xor(sum, _mm256_shuffle_epi8(steps[HALF + r], high));
      low = _mm256_subs_epi8(low, down), high = _mm256_subs_epi8(high, down);
    }
    uint8s_store(y + i, sum);
  }
  return i;
}
#else
static int64_t look_up_most(const uint8_t *table, const uint8_t *x, uint8_t *y, int64_t n) {
  (void)table, (void)x, (void)y, (void)n;
  return 0;
}
#endif

void IFD_K(ifd_quant_lookup)(const uint8_t *table, const uint8_t *x, uint8_t *y, int64_t n) {
  for (int64_t i = look_up_most(table, x, y, n); i < n; i++) y[i] = table[x[i]];
}

/* ---- pools ---- */

enum { CHANNELS = 256 };

/* Taps [*from, *to) of window o that lie in the image. */
static void taps_inside(const ifd_k_pool_shape *p, int axis, int64_t o, int64_t *from, int64_t *to) {
  int64_t first = o * p->stride[axis] - p->begin[axis], step = p->dilation[axis], n = p->kernel[axis];
  *from = 0, *to = n;
  if (first < 0) *from = ifd_min_i64(ifd_ceil_div(-first, step), n);
  if (first + (n - 1) * step >= p->image[axis])
    *to = first < p->image[axis] ? (p->image[axis] - 1 - first) / step + 1 : 0;
}

/* Elements that the average divides by along an axis: taps in the image and its padding. */
static int64_t taps_counted(const ifd_k_pool_shape *p, int axis, int64_t o) {
  int64_t first = o * p->stride[axis] - p->begin[axis], end = p->image[axis] + p->end[axis];
  return first < end ? ifd_min_i64((end - 1 - first) / p->dilation[axis] + 1, p->kernel[axis]) : 0;
}

/* A window's pixels that lie in the image, on each axis those of taps [from, to). */
typedef struct window {
  const ifd_k_quant_pool *q;
  const uint8_t *x; /* that of the first taps */
  int64_t at[IFD_POOL_AXES], from[IFD_POOL_AXES], to[IFD_POOL_AXES];
  int64_t n[IFD_POOL_AXES], step[IFD_POOL_AXES]; /* taps, bytes from one to the next */
} window;

#define EACH_PIXEL(w, c, statement)                                                                          \
  for (int64_t tz = 0; tz < (w)->n[0]; tz++)                                                                 \
    for (int64_t ty = 0; ty < (w)->n[1]; ty++) {                                                             \
      const uint8_t *restrict pixel = (w)->x + tz * (w)->step[0] + ty * (w)->step[1] + (c);                  \
      for (int64_t tx = (w)->n[2]; tx > 0; tx--, pixel += (w)->step[2]) statement                            \
    }

/* What taps [from, to) of an axis are, to a window whose x is the sample's. */
static void find_axis(window *w, int axis) {
  const ifd_k_pool_shape *p = &w->q->shape;
  int64_t stride = w->q->c;
  for (int i = axis + 1; i < IFD_POOL_AXES; i++) stride *= p->image[i];
  taps_inside(p, axis, w->at[axis], &w->from[axis], &w->to[axis]);
  w->n[axis] = ifd_max_i64(0, w->to[axis] - w->from[axis]);
  w->step[axis] = p->dilation[axis] * stride;
  w->x += (w->at[axis] * p->stride[axis] - p->begin[axis]) * stride + w->from[axis] * w->step[axis];
}

/* The greatest of a window's registers at x; n taps of a line, a constant where this is inlined, or any
 * number. */
IFD_INLINE uint8s most_at(const window *w, const uint8_t *x, int64_t n, uint8s flips) {
  uint8s most = uint8s_set1(0);
  for (int64_t tz = 0; tz < w->n[0]; tz++)
    for (int64_t ty = 0; ty < w->n[1]; ty++) {
      const uint8_t *pixel = x + tz * w->step[0] + ty * w->step[1];
      _Pragma("GCC unroll 3") for (int64_t tx = 0; tx < n; tx++, pixel += w->step[2]) most =
          uint8s_max(most, uint8s_xor(uint8s_load(pixel), flips));
    }
  return most;
}

/* Fewer channels than a register holds, n or more, by vectors of n. */
#define MOST_BY(n)                                                                                           \
  typedef uint8_t bytes_##n __attribute__((vector_size(n)));                                                 \
  static void most_by_##n(const window *w, uint8_t *restrict y, int64_t c, int64_t channels, uint8_t flip) { \
    for (int64_t k = 0; k < channels; k += n) {                                                              \
      bytes_##n most = {0};                                                                                  \
      if (k > channels - n) k = channels - n;                                                                \
      EACH_PIXEL(w, c + k, {                                                                                 \
        bytes_##n v;                                                                                         \
        memcpy(&v, pixel, n);                                                                                \
        v ^= flip;                                                                                           \
        const bytes_##n greater = (bytes_##n)(v > most);                                                     \
        most = (v & greater) | (most & ~greater);                                                            \
      })                                                                                                     \
      most ^= flip;                                                                                          \
      memcpy(y + k, &most, n);                                                                               \
    }                                                                                                        \
  }
MOST_BY(16)
MOST_BY(4)
MOST_BY(1)

/* Greatest bytes; signed ones with their first bit turned are in order as unsigned ones. Channels by whole
 * registers, the last of which may overlap the one before. */
static void most_of(const window *w, uint8_t *restrict y, int64_t c, int64_t n) {
  const uint8_t flip = w->q->is_signed ? 0x80 : 0;
  const uint8s flips = uint8s_set1(flip);
  for (int64_t k = 0; n >= UINT8S && k < n; k += UINT8S) {
    if (k > n - UINT8S) k = n - UINT8S;
    const uint8_t *x = w->x + c + k;
    uint8s most = w->n[2] == 3   ? most_at(w, x, 3, flips)
                  : w->n[2] == 2 ? most_at(w, x, 2, flips)
                                 : most_at(w, x, w->n[2], flips);
    uint8s_store(y + k, uint8s_xor(most, flips));
  }
  if (n < UINT8S) (n >= 16 ? most_by_16 : n >= 4 ? most_by_4 : most_by_1)(w, y, c, n, flip);
}

static void average_of(const window *w, uint8_t *restrict y, int64_t c, int64_t n) {
  const ifd_k_quant_pool *q = w->q;
  const uint8_t flip = q->is_signed ? 0x80 : 0;
  int32_t sum[CHANNELS] = {0};
  int64_t inside = 1, counted = 1;
  for (int i = 0; i < IFD_POOL_AXES; i++) {
    inside *= w->n[i];
    counted *= q->shape.count_padding ? taps_counted(&q->shape, i, w->at[i]) : w->n[i];
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

/* Windows [*from, *to) of the last axis have all their taps in the image. */
static void windows_inside(const ifd_k_pool_shape *p, int64_t *from, int64_t *to) {
  const int64_t last = p->image[2] - 1 - (p->kernel[2] - 1) * p->dilation[2] + p->begin[2];
  *from = ifd_ceil_div(p->begin[2], p->stride[2]);
  *to = last < 0 ? 0 : ifd_min_i64(last / p->stride[2] + 1, p->windows[2]);
}

void IFD_K(ifd_quant_pool)(const ifd_k_quant_pool *q, const uint8_t *x, uint8_t *y, int64_t r0, int64_t r1) {
  const ifd_k_pool_shape *p = &q->shape;
  int64_t sample = p->image[0] * p->image[1] * p->image[2] * q->c, whole[2];
  windows_inside(p, &whole[0], &whole[1]);
  for (int64_t r = r0; r < r1; r++) {
    int64_t plane = r / p->windows[1];
    window line = {.q = q, .x = x + plane / p->windows[0] * sample};
    line.at[0] = plane % p->windows[0], line.at[1] = r % p->windows[1];
    find_axis(&line, 0);
    find_axis(&line, 1);
    window w = line;
    for (int64_t o = 0; o < p->windows[2]; o++) {
      if (o > whole[0] && o < whole[1]) { /* as the one before */
        w.at[2] = o;
        w.x += p->stride[2] * q->c;
      } else {
        w = line;
        w.at[2] = o;
        find_axis(&w, 2);
      }
      uint8_t *to = y + (r * p->windows[2] + o) * q->c;
      for (int64_t c = 0; c < q->c; c += CHANNELS)
        (p->average ? average_of : most_of)(&w, to + c, c, ifd_min_i64(CHANNELS, q->c - c));
    }
  }
}
