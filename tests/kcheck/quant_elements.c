/* Sums, products and pools of bytes: every ISA gives what plain C does in the same steps. */
#include "kcheck/buffer.h"

#include "kernels/kernels.h"
#include "kernels/quant/quant.h"

enum { N = 5000 };

static int32_t value(uint8_t byte, bool is_signed) { return is_signed ? (int8_t)byte : byte; }

static float real(const ifd_k_quant_operand *o, uint8_t byte) {
  return (float)(value(byte, o->is_signed) - o->zero) * o->scale;
}

static uint8_t wanted(const ifd_k_quant_binary *q, uint8_t a, uint8_t b) {
  float ra = real(&q->a, a), rb = real(&q->b, b), v = (q->multiplies ? ra * rb : ra + rb) / q->scale;
  v = v > q->lo ? v : q->lo;
  v = v < q->hi ? v : q->hi;
  return (uint8_t)((int32_t)rintf(v) + q->zero);
}

static float draw_scale(uint64_t *state) {
  static const float odd[] = {0x1p-140f, 0x1p-100f, 0x1p-31f, 0x1p31f, 0x1p100f, 0.0f, 1.0f, 0.1f};
  if (rand_in(state, 0, 7) == 0) return odd[rand_in(state, 0, 7)];
  return ldexpf(1 + fabsf(rand_float(state)), (int)rand_in(state, -12, 4));
}

static ifd_k_quant_operand draw_operand(uint64_t *state) {
  bool is_signed = rand_in(state, 0, 1);
  return (ifd_k_quant_operand){is_signed, (int32_t)rand_in(state, 0, 255) - (is_signed ? 128 : 0),
                               draw_scale(state)};
}

static void binary(void **unused) {
  (void)unused;
  uint64_t state = 1;
  for (int round = 0; round < 200; round++) {
    ifd_k_quant_binary q = {
        .multiplies = rand_in(&state, 0, 1), .a = draw_operand(&state), .b = draw_operand(&state)};
    ifd_k_quant_operand y = draw_operand(&state);
    /* results that are about as large as the type */
    float size = q.multiplies ? q.a.scale * q.b.scale * 64 : q.a.scale + q.b.scale;
    q.scale = rand_in(&state, 0, 9) ? size * (1 + fabsf(rand_float(&state))) : y.scale;
    q.zero = y.zero, q.lo = (float)((y.is_signed ? -128 : 0) - q.zero), q.hi = q.lo + 255;
    if (rand_in(&state, 0, 3) == 0) q.b.scale = -q.b.scale;
    if (rand_in(&state, 0, 4)) ifd_k_quant_fold(&q);
    int n = rand_in(&state, 0, 1) ? N : (int)rand_in(&state, 1, 40), sa = rand_in(&state, 0, 4) > 0,
        sb = sa ? rand_in(&state, 0, 4) > 0 : 1;
    buffer a = buffer_new(sa ? (size_t)n : 1), b = buffer_new(sb ? (size_t)n : 1);
    for (size_t i = 0; i < a.len; i++) ((uint8_t *)a.f)[i] = (uint8_t)rand_u32(&state);
    for (size_t i = 0; i < b.len; i++) ((uint8_t *)b.f)[i] = (uint8_t)rand_u32(&state);
    for (ifd_isa isa = IFD_ISA_REF; isa <= ifd_cpu_isa(); isa++) {
      buffer got = buffer_new((size_t)n);
      ifd_k_quant(isa)->binary(&q, (uint8_t *)a.f, sa, (uint8_t *)b.f, sb, (uint8_t *)got.f, n);
      for (int i = 0; i < n; i++) {
        uint8_t pa = ((uint8_t *)a.f)[sa ? i : 0], pb = ((uint8_t *)b.f)[sb ? i : 0];
        if (((uint8_t *)got.f)[i] != wanted(&q, pa, pb))
          fail_msg("%s: %d %d with scales %a %a %a gives %d, not %d", ifd_isa_name(isa), pa, pb,
                   (double)q.a.scale, (double)q.b.scale, (double)q.scale, ((uint8_t *)got.f)[i],
                   wanted(&q, pa, pb));
      }
      buffer_free(&got);
    }
    buffer_free(&a), buffer_free(&b);
  }
}

/* Every byte with every other: one rounding where it is sure, and the steps' where it is not, such as halfway
 * between two results. */
static void all_pairs(void **unused) {
  static const float scales[][3] = {
      {1, 1, 2},         {0.5f, 1, 4},    {0.1f, 0.3f, 0.4f}, {0.02f, 0.07f, 0.1f},
      {3, 5, 7},         {1, 64, 100},    {0.1f, 0.1f, 0.3f}, {0x1p-20f, 1, 1.5f},
      {1e-3f, 2e-3f, 1}, {1, 1, 0x1p-9f}, {200, 300, 1.7f},   {0.7f, 0.3f, 0.01f}};
  buffer a = buffer_new(1 << 16), b = buffer_new(1 << 16), got = buffer_new(1 << 16);
  uint64_t state = 3;
  (void)unused;
  for (int i = 0; i < 1 << 16; i++) ((uint8_t *)a.f)[i] = (uint8_t)i, ((uint8_t *)b.f)[i] = (uint8_t)(i >> 8);
  for (size_t round = 0; round < 2 * sizeof scales / sizeof *scales; round++) {
    const float *s = scales[round / 2];
    ifd_k_quant_binary q = {.multiplies = round % 2, .a = draw_operand(&state), .b = draw_operand(&state)};
    ifd_k_quant_operand y = draw_operand(&state);
    q.a.scale = s[0], q.b.scale = rand_in(&state, 0, 1) ? s[1] : -s[1],
    q.scale = s[2] * (q.multiplies ? 40 : 1);
    q.zero = y.zero, q.lo = (float)((y.is_signed ? -128 : 0) - q.zero), q.hi = q.lo + 255;
    ifd_k_quant_fold(&q);
    for (ifd_isa isa = IFD_ISA_REF; isa <= ifd_cpu_isa(); isa++) {
      ifd_k_quant(isa)->binary(&q, (uint8_t *)a.f, 1, (uint8_t *)b.f, 1, (uint8_t *)got.f, 1 << 16);
      for (int i = 0; i < 1 << 16; i++)
        if (((uint8_t *)got.f)[i] != wanted(&q, (uint8_t)i, (uint8_t)(i >> 8)))
          fail_msg("%s: round %d, %d and %d", ifd_isa_name(isa), (int)round, i & 255, i >> 8);
    }
  }
  buffer_free(&a), buffer_free(&b), buffer_free(&got);
}

/* The greatest byte of a window, or the average's sum and count, by going through all its places. */
typedef struct seen {
  int32_t most, sum, inside, counted;
} seen;

static seen look(const ifd_k_quant_pool *q, const uint8_t *x, const int64_t *at, int64_t c) {
  const ifd_k_pool_shape *p = &q->shape;
  seen s = {.most = INT32_MIN};
  for (int64_t z = 0; z < p->kernel[0]; z++)
    for (int64_t y = 0; y < p->kernel[1]; y++)
      for (int64_t k = 0; k < p->kernel[2]; k++) {
        const int64_t tap[] = {z, y, k};
        int64_t pixel = 0;
        bool inside = true, counted = true;
        for (int i = 0; i < IFD_POOL_AXES; i++) {
          int64_t place = at[i] * p->stride[i] + tap[i] * p->dilation[i] - p->begin[i];
          inside = inside && place >= 0 && place < p->image[i];
          counted = counted && place < p->image[i] + p->end[i];
          pixel = pixel * p->image[i] + place;
        }
        s.counted += counted;
        if (!inside) continue;
        int32_t v = value(x[pixel * q->c + c], q->is_signed);
        s.inside++, s.sum += v;
        if (v > s.most) s.most = v;
      }
  return s;
}

static ifd_k_quant_pool draw_pool(uint64_t *state) {
  ifd_k_quant_pool q = {.c = rand_in(state, 1, 150), .is_signed = rand_in(state, 0, 1)};
  ifd_k_pool_shape *p = &q.shape;
  for (int i = 0; i < IFD_POOL_AXES; i++) {
    p->kernel[i] = rand_in(state, 1, 3), p->stride[i] = rand_in(state, 1, 2),
    p->dilation[i] = rand_in(state, 1, 2);
    int64_t reach = (p->kernel[i] - 1) * p->dilation[i];
    p->begin[i] = rand_in(state, 0, p->kernel[i] - 1), p->end[i] = rand_in(state, 0, p->kernel[i] - 1);
    p->image[i] = reach + rand_in(state, 1, 4);
    p->windows[i] = (p->image[i] + p->begin[i] + p->end[i] - reach - 1) / p->stride[i] + 1;
  }
  p->average = rand_in(state, 0, 1), p->count_padding = rand_in(state, 0, 1);
  q.factor = fabsf(rand_float(state)) + 0.1f;
  q.x_zero = (int32_t)rand_in(state, 0, 255) - (q.is_signed ? 128 : 0);
  q.zero = 100, q.lo = -100, q.hi = 155;
  return q;
}

static uint8_t pooled(const ifd_k_quant_pool *q, const uint8_t *x, const int64_t *at, int64_t c) {
  seen s = look(q, x, at, c);
  if (!q->shape.average) return (uint8_t)s.most;
  float v = (float)(s.sum - s.inside * q->x_zero) *
            (q->factor / (float)(q->shape.count_padding ? s.counted : s.inside));
  v = v > q->lo ? v : q->lo;
  v = v < q->hi ? v : q->hi;
  return (uint8_t)((int32_t)rintf(v) + q->zero);
}

static void pools(void **unused) {
  (void)unused;
  uint64_t state = 2;
  for (int round = 0; round < 60; round++) {
    ifd_k_quant_pool q = draw_pool(&state);
    const ifd_k_pool_shape *p = &q.shape;
    int64_t lines = p->windows[0] * p->windows[1], w = p->windows[2];
    buffer x = buffer_new((size_t)(p->image[0] * p->image[1] * p->image[2] * q.c));
    for (size_t i = 0; i < x.len; i++) ((uint8_t *)x.f)[i] = (uint8_t)rand_u32(&state);
    for (ifd_isa isa = IFD_ISA_REF; isa <= ifd_cpu_isa(); isa++) {
      buffer y = buffer_new((size_t)(lines * w * q.c));
      for (int64_t r = 0; r < lines; r += 2)
        ifd_k_quant(isa)->pool(&q, (uint8_t *)x.f, (uint8_t *)y.f, r, r + 2 < lines ? r + 2 : lines);
      for (int64_t i = 0; i < lines * w; i++) {
        const int64_t at[] = {i / w / p->windows[1], i / w % p->windows[1], i % w};
        for (int64_t c = 0; c < q.c; c++)
          if (look(&q, (uint8_t *)x.f, at, c).inside)
            assert_int_equal(((uint8_t *)y.f)[i * q.c + c], pooled(&q, (uint8_t *)x.f, at, c));
      }
      buffer_free(&y);
    }
    buffer_free(&x);
  }
}

static void lookups(void **unused) {
  (void)unused;
  uint64_t state = 3;
  uint8_t table[256];
  for (int i = 0; i < 256; i++) table[i] = (uint8_t)rand_u32(&state);
  for (int n = 0; n < 300; n++) {
    buffer x = buffer_new((size_t)n), y = buffer_new((size_t)n);
    for (int i = 0; i < n; i++) ((uint8_t *)x.f)[i] = (uint8_t)rand_u32(&state);
    for (ifd_isa isa = IFD_ISA_REF; isa <= ifd_cpu_isa(); isa++) {
      ifd_k_quant(isa)->lookup(table, (uint8_t *)x.f, (uint8_t *)y.f, n);
      for (int i = 0; i < n; i++) assert_int_equal(((uint8_t *)y.f)[i], table[((uint8_t *)x.f)[i]]);
    }
    buffer_free(&x), buffer_free(&y);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(binary), cmocka_unit_test(all_pairs),
                                     cmocka_unit_test(lookups), cmocka_unit_test(pools)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
