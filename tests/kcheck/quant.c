/* Integer products: every ISA and every instruction gives the sums of plain C, and the same bits after
 * them. */
#include "kcheck/buffer.h"
#include "kcheck/quant_pack.h"

#include "kernels/kernels.h"
#include "kernels/quant/quant.h"

typedef struct operands {
  int64_t m, n, k, a_rs, c_rs;
  bool packs, b_unsigned;
  buffer a, b, add, b_zero, scale, shift, other, want;
  ifd_k_quant_binary sum;
  ifd_k_quant_finish f;
} operands;

static int64_t panels(int64_t n) { return (n + 15) / 16 * 16; }

/* Random bytes, those of the largest sums, such as pairs of weights of about 128 are made of, few of these
 * among small ones (int8, offset by 128 as uint8, and uint8), and first few, then many. */
typedef enum bytes { RANDOM, EXTREME, BORDER, FEW, FEW_OFFSET, FEW_ABOVE, LATE, N_BYTES } bytes;
static uint8_t draw_byte(uint64_t *state, bytes of, uint8_t extreme) {
  static const uint8_t border[] = {127, 1, 2, 64, 65, 0, 128, 255, 254, 192, 191, 129};
  uint8_t at_border = border[rand_in(state, 0, sizeof border - 1)], small = (uint8_t)rand_in(state, -30, 30);
  bool is_small = rand_in(state, 0, 40) != 0;
  switch (of) {
  case EXTREME: return extreme;
  case BORDER: return at_border;
  case FEW: return is_small ? small : at_border;
  case FEW_OFFSET: return (is_small ? small : at_border) ^ 0x80;
  case FEW_ABOVE: return is_small ? small & 31 : at_border;
  default: return (uint8_t)rand_u32(state);
  }
}

static void fill_bytes(buffer *b, uint64_t *state, bytes of) {
  uint8_t extreme = rand_in(state, 0, 1) ? 0xff : 0x80;
  for (size_t i = 0; i < b->len; i++) {
    const bytes now = of != LATE ? of : i < b->len / 2 ? FEW_OFFSET : RANDOM;
    ((uint8_t *)b->f)[i] = draw_byte(state, now, extreme);
  }
}

static int32_t int_at(const buffer *b, int64_t i) { return ((const int32_t *)b->f)[i]; }

/* The byte that DequantizeLinear, Add and QuantizeLinear make of a result so far above its zero point and of
 * another byte. */
static uint8_t added(const ifd_k_quant_binary *q, float steps, uint8_t other) {
  int32_t b = q->b.is_signed ? (int8_t)other : other;
  float v = (steps * q->a.scale + (float)(b - q->b.zero) * q->b.scale) / q->scale;
  v = v > q->lo ? v : q->lo;
  v = v < q->hi ? v : q->hi;
  return (uint8_t)((int32_t)rintf(v) + q->zero);
}

static void element(const operands *o, int64_t i, int64_t j) {
  const uint8_t *a = (const uint8_t *)o->a.f + i * o->a_rs, *b = (const uint8_t *)o->b.f + j;
  uint32_t sum = (uint32_t)int_at(&o->add, j), row = 0;
  for (int64_t k = 0; k < o->k; k++) {
    int32_t v = o->b_unsigned ? b[k * o->n] - 128 : (int8_t)b[k * o->n];
    sum += (uint32_t)(a[k] * v), row += a[k];
  }
  if (o->f.b_zero) sum -= (uint32_t)int_at(&o->b_zero, j) * row;
  float v = fmaf((float)(int32_t)sum, o->scale.f[j], o->shift.f[j]);
  v = v > o->f.lo ? v : o->f.lo;
  v = v < o->f.hi ? v : o->f.hi;
  int64_t at = i * o->c_rs + j;
  switch (o->f.out) {
  case IFD_K_QUANT_INT32: ((int32_t *)o->want.f)[at] = (int32_t)sum; break;
  case IFD_K_QUANT_FLOAT: o->want.f[at] = v; break;
  case IFD_K_QUANT_INT8: ((uint8_t *)o->want.f)[at] = (uint8_t)((int32_t)rintf(v) + o->f.zero); break;
  case IFD_K_QUANT_SUM:
    ((uint8_t *)o->want.f)[at] = added(&o->sum, rintf(v), ((uint8_t *)o->other.f)[at]);
    break;
  }
}

static size_t out_len(const operands *o) {
  return (size_t)((o->m - 1) * o->c_rs + o->n) * (size_t)ifd_k_quant_size(o->f.out);
}

/* Scales that quotients hold for, and others. */
static ifd_k_quant_binary draw_sum(uint64_t *state) {
  float scale = rand_in(state, 0, 4) ? 0.02f : 0x1p-35f;
  bool b_signed = rand_in(state, 0, 1), is_signed = rand_in(state, 0, 1);
  ifd_k_quant_binary q = {.a.scale = scale * (1 + fabsf(rand_float(state))),
                          .b = {.is_signed = b_signed,
                                .zero = (int32_t)rand_in(state, 0, 255) - (b_signed ? 128 : 0),
                                .scale = scale * (1 + fabsf(rand_float(state)))},
                          .scale = 2 * scale * (1 + fabsf(rand_float(state))),
                          .zero = (int32_t)rand_in(state, 0, 255) - (is_signed ? 128 : 0)};
  q.lo = (float)((is_signed ? -128 : 0) - q.zero), q.hi = q.lo + 255;
  if (rand_in(state, 0, 1)) q.lo += 3.25f;
  if (rand_in(state, 0, 3)) ifd_k_quant_fold(&q);
  return q;
}

static operands make(int64_t m, int64_t n, int64_t k, uint64_t *state) {
  bytes a = (bytes)rand_in(state, 0, N_BYTES - 1), b = (bytes)rand_in(state, 0, N_BYTES - 1);
  operands o = {.m = m, .n = n, .k = k, .packs = rand_in(state, 0, 1), .b_unsigned = rand_in(state, 0, 1)};
  o.a_rs = o.packs ? k + rand_in(state, 0, 3) : (k + 3) / 4 * 4 + rand_in(state, 0, 9);
  o.c_rs = n + rand_in(state, 0, 3);
  o.f.out = (ifd_k_quant_out)rand_in(state, 0, 3);
  o.a = buffer_new((size_t)((m - 1) * o.a_rs + (o.packs ? k : (k + 3) / 4 * 4)));
  o.b = buffer_new((size_t)(k * n));
  o.add = buffer_floats(panels(n)), o.b_zero = buffer_floats(panels(n));
  o.scale = buffer_floats(panels(n)), o.shift = buffer_floats(panels(n));
  o.want = buffer_new(out_len(&o)), o.other = buffer_new(out_len(&o));
  o.sum = draw_sum(state);
  fill_bytes(&o.a, state, a), fill_bytes(&o.b, state, b), fill_bytes(&o.add, state, RANDOM);
  fill_bytes(&o.other, state, RANDOM);
  for (int64_t j = 0; j < panels(n); j++) {
    ((int32_t *)o.b_zero.f)[j] = (int32_t)rand_in(state, -128, 127);
    o.scale.f[j] = rand_float(state) * 1e-7f, o.shift.f[j] = rand_float(state) * 60;
    if (rand_in(state, 0, 30) == 0) o.scale.f[j] = j % 2 ? NAN : INFINITY;
  }
  o.f.add = (const int32_t *)o.add.f, o.f.scale = o.scale.f, o.f.shift = o.shift.f;
  o.f.b_zero = rand_in(state, 0, 1) ? (const int32_t *)o.b_zero.f : NULL;
  bool is_signed = rand_in(state, 0, 1);
  o.f.zero = (int32_t)rand_in(state, is_signed ? -128 : 0, is_signed ? 127 : 255);
  o.f.lo = (float)((is_signed ? -128 : 0) - o.f.zero), o.f.hi = o.f.lo + 255;
  if (rand_in(state, 0, 1)) o.f.lo += 3.25f, o.f.hi -= 60.5f;
  for (int64_t i = 0; i < m; i++)
    for (int64_t j = 0; j < n; j++) element(&o, i, j);
  return o;
}

static void drop(operands *o) {
  buffer *all[] = {&o->a, &o->b, &o->add, &o->b_zero, &o->scale, &o->shift, &o->other, &o->want};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) buffer_free(all[i]);
}

static void pack_rows(const void *source, uint8_t *to, int64_t stride, int64_t i0, int64_t i1) {
  const operands *o = source;
  for (int64_t i = i0; i < i1; i++, to += stride) {
    memcpy(to, (const uint8_t *)o->a.f + i * o->a_rs, (size_t)o->k);
  }
}

static buffer pack(const operands *o, bool is_bounded) {
  const ifd_k_quant_matrix m = {o->b.f,        o->b_unsigned,    o->n,      o->k,
                                .inner = o->k, .inner_rs = o->n, .b_cs = 1, .is_bounded = is_bounded};
  buffer packed = buffer_new(ifd_k_quant_packed_len(&m));
  pack_in_parts((int8_t *)packed.f, &m);
  return packed;
}

static void check(const operands *o, ifd_isa isa, ifd_dot dot, uint64_t *state) {
  buffer packed = pack(o, ifd_k_quant_has_pairs(isa, dot));
  buffer c = buffer_new(out_len(o));
  size_t size = (size_t)ifd_k_quant_size(o->f.out);
  const bool adds = o->f.out == IFD_K_QUANT_SUM;
  ifd_k_quant_product p = {.m = o->m,
                           .n = o->n,
                           .k = o->k,
                           .dot = dot,
                           .a = (const uint8_t *)o->a.f,
                           .a_rs = o->a_rs,
                           .pack = o->packs ? pack_rows : NULL,
                           .source = o,
                           .b = (const int8_t *)packed.f,
                           .c = c.f,
                           .c_rs = o->c_rs,
                           .other = adds ? (const uint8_t *)o->other.f : NULL,
                           .finish = o->f};
  p.finish.sum = adds ? &o->sum : NULL;
  int64_t i_step = rand_in(state, 1, o->m), j_step = 16 * rand_in(state, 1, (o->n + 15) / 16);
  buffer scratch = buffer_new(ifd_k_quant_scratch_len(&p, i_step));
  for (int64_t i = 0; i < o->m; i += i_step)
    for (int64_t j = 0; j < o->n; j += j_step)
      ifd_k_quant(isa)->run(&p, i, i + i_step < o->m ? i + i_step : o->m, j,
                            j + j_step < o->n ? j + j_step : o->n, scratch.f);
  for (int64_t i = 0; i < o->m; i++) {
    const char *got = (const char *)c.f + (size_t)(i * o->c_rs) * size;
    if (memcmp(got, (const char *)o->want.f + (size_t)(i * o->c_rs) * size, (size_t)o->n * size))
      fail_msg("%s dot %d: %dx%dx%d row %d out %d", ifd_isa_name(isa), dot, (int)o->m, (int)o->n, (int)o->k,
               (int)i, o->f.out);
    for (size_t g = (size_t)o->n * size; i + 1 < o->m && g < (size_t)o->c_rs * size; g++)
      assert_int_equal((unsigned char)got[g], 0xa5);
  }
  buffer_free(&scratch);
  buffer_free(&packed);
  buffer_free(&c);
}

static void check_shape(int64_t m, int64_t n, int64_t k, uint64_t *state) {
  operands o = make(m, n, k, state);
  for (ifd_isa isa = IFD_ISA_REF; isa <= ifd_cpu_isa(); isa++)
    for (ifd_dot dot = IFD_DOT_PLAIN; dot <= ifd_cpu_dot(isa); dot++) check(&o, isa, dot, state);
  drop(&o);
}

static void random_shapes(void **unused) {
  (void)unused;
  uint64_t state = 1;
  for (int i = 0; i < 400; i++)
    check_shape(rand_in(&state, 1, 40), rand_in(&state, 1, 70), rand_in(&state, 1, 140), &state);
}

static void tiles(void **unused) {
  (void)unused;
  uint64_t state = 2;
  for (int m = 1; m <= 34; m++)
    for (int n = 16; n <= 80; n += 16) check_shape(m, n + (m & 1), 64 + (m & 2), &state);
  for (int m = 35; m <= 54; m++) check_shape(m, 24 + m % 3 * 4, 8 + (m & 3), &state); /* and sums kept */
}

static void blocks(void **unused) {
  (void)unused;
  uint64_t state = 3;
  check_shape(300, 37, 1500, &state);
  check_shape(3, 300, 5000, &state);
  check_shape(1, 530, 40000, &state); /* sums that wrap */
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(random_shapes), cmocka_unit_test(tiles),
                                     cmocka_unit_test(blocks)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
