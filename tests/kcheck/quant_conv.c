/* Convolutions of bytes as products: rows that are gathered and rows that are read by lines give, on every
 * ISA and by every instruction, the sums of plain C, and write no other place. */
#include "kcheck/buffer.h"
#include "kcheck/quant_pack.h"

#include "kernels/kernels.h"
#include "kernels/quant/quant.h"

enum { FLIP = 0x80, FILL = 77 };

typedef struct layer {
  ifd_k_conv_shape shape;
  int64_t samples, places; /* output places of all samples */
  bool is_signed;
  buffer x, w, zeros, want;
  buffer other, ones; /* what is added to results of this scale */
} layer;

static int64_t count(const int64_t *d) { return d[IFD_K_D] * d[IFD_K_H] * d[IFD_K_W]; }

static ifd_k_conv_shape draw_shape(uint64_t *state, int64_t c, bool deep) {
  ifd_k_conv_shape s = {.c = c, .m = rand_in(state, 1, 40), .groups = 1};
  if (c % 2 == 0 && rand_in(state, 0, 3) == 0) s.groups = 2, s.m *= 2;
  for (int d = 0; d < IFD_K_DIMS; d++) {
    bool has = d != IFD_K_D || deep;
    s.kernel[d] = has ? rand_in(state, 1, 4) : 1;
    s.stride[d] = has ? rand_in(state, 1, 3) : 1;
    s.dilation[d] = has ? rand_in(state, 1, 2) : 1;
    s.pad[d] = has ? rand_in(state, 0, s.kernel[d] - 1) : 0;
    int64_t reach = (s.kernel[d] - 1) * s.dilation[d];
    s.in[d] = has ? reach + rand_in(state, 1, d == IFD_K_D ? 3 : 24) : 1;
    s.out[d] = (s.in[d] + 2 * s.pad[d] - reach - 1) / s.stride[d] + 1;
  }
  return s;
}

/* The sum of an output channel at a place, the zero point not taken off. */
static int32_t sum_at(const layer *l, int64_t sample, const int64_t *at, int64_t m) {
  const ifd_k_conv_shape *s = &l->shape;
  const uint8_t *x = (const uint8_t *)l->x.f;
  int64_t cg = s->c / s->groups, group = m / (s->m / s->groups), taps = count(s->kernel);
  uint32_t sum = 0;
  for (int64_t t = 0; t < taps; t++) {
    int64_t rest = t, pixel = 0, tap[IFD_K_DIMS];
    bool inside = true;
    for (int d = IFD_K_DIMS - 1; d >= 0; d--) tap[d] = rest % s->kernel[d], rest /= s->kernel[d];
    for (int d = 0; d < IFD_K_DIMS; d++) {
      int64_t i = at[d] * s->stride[d] + tap[d] * s->dilation[d] - s->pad[d];
      inside = inside && i >= 0 && i < s->in[d];
      pixel = pixel * s->in[d] + i;
    }
    for (int64_t c = 0; c < cg; c++) {
      int32_t v = FILL;
      if (inside) v = x[(sample * count(s->in) + pixel) * s->c + group * cg + c] ^ (l->is_signed ? FLIP : 0);
      sum += (uint32_t)(v * ((const int8_t *)l->w.f)[(m * cg + c) * taps + t]);
    }
  }
  return (int32_t)sum;
}

static layer make(uint64_t *state, ifd_k_conv_shape shape) {
  layer l = {.shape = shape, .samples = rand_in(state, 1, 3), .is_signed = rand_in(state, 0, 1)};
  const ifd_k_conv_shape *s = &l.shape;
  int64_t cg = s->c / s->groups, taps = count(s->kernel);
  l.places = l.samples * count(s->out);
  l.x = buffer_new((size_t)(l.samples * count(s->in) * s->c));
  l.w = buffer_new((size_t)(s->m * cg * taps));
  for (size_t i = 0; i < l.x.len; i++) ((uint8_t *)l.x.f)[i] = (uint8_t)rand_u32(state);
  int64_t rare = rand_in(state, 0, 1) * 60; /* large weights are rare, or all are any */
  for (size_t i = 0; i < l.w.len; i++)
    ((uint8_t *)l.w.f)[i] =
        (uint8_t)(rand_in(state, 0, rare) ? rand_in(state, -30, 30) : rand_in(state, -128, 127));
  l.zeros = buffer_floats(s->m + 16);
  for (int64_t i = 0; i < s->m + 16; i++) ((int32_t *)l.zeros.f)[i] = 0;
  l.want = buffer_floats(l.places * s->m);
  for (int64_t p = 0; p < l.places; p++) {
    int64_t rest = p, at[IFD_K_DIMS];
    for (int d = IFD_K_DIMS - 1; d >= 0; d--) at[d] = rest % s->out[d], rest /= s->out[d];
    for (int64_t m = 0; m < s->m; m++) ((int32_t *)l.want.f)[p * s->m + m] = sum_at(&l, rest, at, m);
  }
  l.other = buffer_new((size_t)(l.places * s->m)), l.ones = buffer_floats(s->m + 16);
  for (size_t i = 0; i < l.other.len; i++) ((uint8_t *)l.other.f)[i] = (uint8_t)rand_u32(state);
  for (int64_t i = 0; i < s->m + 16; i++) l.ones.f[i] = 0x1p-9f;
  return l;
}

static void drop(layer *l) {
  buffer *all[] = {&l->x, &l->w, &l->zeros, &l->want, &l->other, &l->ones};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) buffer_free(all[i]);
}

static buffer pack(const layer *l, int64_t group, const ifd_k_quant_lines *lines, int pair_lanes) {
  const ifd_k_conv_shape *s = &l->shape;
  int64_t cg = s->c / s->groups, n = s->m / s->groups, taps = count(s->kernel);
  ifd_k_quant_matrix m = {.b = (const int8_t *)l->w.f + group * n * cg * taps,
                          .n = n,
                          .k = taps * cg,
                          .inner = cg,
                          .inner_rs = taps,
                          .outer_rs = 1,
                          .b_cs = cg * taps,
                          .pair_lanes = pair_lanes};
  if (lines) ifd_k_quant_lines_matrix(&m, lines, s);
  buffer packed = buffer_new(ifd_k_quant_packed_len(n, m.k, pair_lanes));
  pack_in_parts((int8_t *)packed.f, &m);
  return packed;
}

/* Sums to bytes, to which others are added. */
static const ifd_k_quant_binary sum = {
    .a.scale = 1, .b = {.scale = 1, .zero = 100}, .scale = 2, .lo = -50, .hi = 205, .zero = 50};
static uint8_t added(const layer *l, int64_t i) {
  float v = rintf((float)((const int32_t *)l->want.f)[i] * 0x1p-9f);
  v = ((v < 0 ? 0 : v > 255 ? 255 : v) + (float)(((const uint8_t *)l->other.f)[i] - sum.b.zero)) / 2;
  return (uint8_t)(rintf(v < sum.lo ? sum.lo : v > sum.hi ? sum.hi : v) + 50);
}

static bool is_wanted(const layer *l, const buffer *y, bool adds) {
  if (!adds) return memcmp(y->f, l->want.f, y->len) == 0;
  for (int64_t i = 0; i < l->places * l->shape.m; i++)
    if (((uint8_t *)y->f)[i] != added(l, i)) return false;
  return true;
}

/* All groups, in tasks of some rows; `lines` may be NULL. */
static void check(const layer *l, ifd_isa isa, ifd_dot dot, const ifd_k_quant_lines *lines, uint64_t *state) {
  const ifd_k_conv_shape *s = &l->shape;
  int64_t cg = s->c / s->groups, n = s->m / s->groups, k = cg * count(s->kernel);
  const bool adds = rand_in(state, 0, 1);
  buffer y = buffer_new((size_t)(l->places * s->m * (adds ? 1 : 4)));
  for (int64_t g = 0; g < s->groups; g++) {
    buffer packed = pack(l, g, lines, ifd_k_quant_pair_lanes(isa, dot));
    ifd_k_quant_image image = {.shape = s,
                               .x = (const uint8_t *)l->x.f + g * cg,
                               .end = (const uint8_t *)l->x.f + l->x.len,
                               .flip = l->is_signed ? FLIP : 0,
                               .fill = FILL};
    ifd_k_quant_product p = {.m = lines ? lines->m : l->places,
                             .n = n,
                             .k = lines ? lines->axis[0].pieces * lines->axis[1].pieces * lines->piece : k,
                             .dot = dot,
                             .pack = ifd_k_quant(isa)->gather,
                             .source = &image,
                             .lines = lines,
                             .b = (const int8_t *)packed.f,
                             .c = (char *)y.f + g * n * (adds ? 1 : 4),
                             .c_rs = s->m,
                             .finish = {.add = (const int32_t *)l->zeros.f}};
    if (adds) {
      p.other = (const uint8_t *)l->other.f + g * n;
      p.finish = (ifd_k_quant_finish){.out = IFD_K_QUANT_SUM,
                                      .add = p.finish.add,
                                      .scale = l->ones.f,
                                      .shift = l->zeros.f,
                                      .hi = 255,
                                      .sum = &sum};
    }
    int64_t step = rand_in(state, 1, p.m);
    buffer scratch = buffer_new(ifd_k_quant_scratch_len(&p, step));
    for (int64_t i = 0; i < p.m; i += step)
      ifd_k_quant(isa)->run(&p, i, i + step < p.m ? i + step : p.m, 0, n, scratch.f);
    buffer_free(&scratch);
    buffer_free(&packed);
  }
  if (!is_wanted(l, &y, adds))
    fail_msg("%s dot %d %s: %d channels, %d places", ifd_isa_name(isa), dot, lines ? "by lines" : "gathered",
             (int)s->c, (int)l->places);
  buffer_free(&y);
}

/* Layers, each by every kind of kernel that the machine has, and those of them that ran by lines, too. */
typedef struct counts {
  int all, by_lines;
} counts;

static void check_layer(counts *n, uint64_t *state, int64_t c, bool deep) {
  layer l = make(state, draw_shape(state, c, deep));
  ifd_k_quant_lines lines;
  for (ifd_isa isa = IFD_ISA_REF; isa <= ifd_cpu_isa(); isa++)
    for (ifd_dot dot = IFD_DOT_PLAIN; dot <= ifd_cpu_dot(isa); dot++) {
      check(&l, isa, dot, NULL, state);
      n->all++;
      if (!ifd_k_quant_lines_init(&lines, &l.shape, l.samples, dot, rand_in(state, 0, 3) == 0)) continue;
      check(&l, isa, dot, &lines, state);
      n->by_lines++;
    }
  drop(&l);
}

static void few_channels(void **unused) {
  (void)unused;
  uint64_t state = 1;
  counts n = {0};
  for (int i = 0; i < 90; i++) check_layer(&n, &state, rand_in(&state, 1, 24), i % 3 == 0);
  assert_true(n.by_lines > 30 || ifd_cpu_dot(ifd_cpu_isa()) != IFD_DOT_AMX);
}

static void many_channels(void **unused) {
  (void)unused;
  uint64_t state = 2;
  counts n = {0};
  for (int i = 0; i < 30; i++) check_layer(&n, &state, 64 * rand_in(&state, 1, 2), i % 10 == 0);
  assert_true(n.by_lines > 30 || n.all < 90); /* three kinds of kernels */
  assert_true(4 * n.by_lines > n.all);
}

/* ---- depthwise ---- */

static uint8_t as_byte(const layer *l, int64_t i, const ifd_k_quant_finish *f) {
  float v = rintf((float)((const int32_t *)l->want.f)[i] * 0x1p-9f);
  return (uint8_t)((int32_t)(v < f->lo ? f->lo : v > f->hi ? f->hi : v) + f->zero);
}

/* Output lines by some at a time; with `quads`, by the instruction that sums four. */
static void check_depthwise(const layer *l, ifd_isa isa, bool quads, ifd_k_quant_out out, uint64_t *state) {
  const ifd_k_conv_shape *s = &l->shape;
  const struct ifd_k_quant_table *k = ifd_k_quant(isa);
  const int64_t taps = count(s->kernel), lines = l->places / s->out[IFD_K_W], step = rand_in(state, 1, lines);
  ifd_k_quant_matrix m = {.b = l->w.f, .n = s->m, .k = taps, .inner = taps, .inner_rs = 1, .b_cs = taps};
  if (quads) ifd_k_quant_quads_matrix(&m, s);
  buffer packed = buffer_new(ifd_k_quant_packed_len(s->m, m.k, 0));
  pack_in_parts((int8_t *)packed.f, &m);
  buffer y = buffer_new((size_t)(l->places * s->m * ifd_k_quant_size(out)));
  buffer scratch = buffer_new(ifd_k_quant_depthwise_scratch_len(s));
  const ifd_k_quant_image image = {.shape = s,
                                   .x = (const uint8_t *)l->x.f,
                                   .end = (const uint8_t *)l->x.f + l->x.len,
                                   .flip = l->is_signed ? FLIP : 0,
                                   .fill = FILL};
  ifd_k_quant_finish f = {.out = out,
                          .add = (const int32_t *)l->zeros.f,
                          .scale = l->ones.f,
                          .shift = l->zeros.f,
                          .zero = rand_in(state, 0, 1) ? 7 : -100};
  f.lo = (f.zero < 0 ? -128.0f : 0.0f) - (float)f.zero, f.hi = f.lo + 255;
  if (rand_in(state, 0, 1)) f.lo += 20;
  for (int64_t r = 0; r < lines; r += step)
    (quads ? k->depthwise_quads : k->depthwise)(&image, (const int8_t *)packed.f, &f, y.f, r,
                                                r + step < lines ? r + step : lines, scratch.f);
  bool same = out == IFD_K_QUANT_INT8 || memcmp(y.f, l->want.f, y.len) == 0;
  for (int64_t i = 0; out == IFD_K_QUANT_INT8 && i < l->places * s->m; i++)
    same = same && ((const uint8_t *)y.f)[i] == as_byte(l, i, &f);
  if (!same)
    fail_msg("%s%s: %d channels, %d places", ifd_isa_name(isa), quads ? " by quads" : "", (int)s->c,
             (int)l->places);
  buffer_free(&scratch), buffer_free(&y), buffer_free(&packed);
}

static void depthwise(void **unused) {
  (void)unused;
  uint64_t state = 4;
  for (int i = 0; i < 60; i++) {
    ifd_k_conv_shape s = draw_shape(&state, rand_in(&state, 1, i % 3 ? 40 : 150), i % 5 == 0);
    s.groups = s.m = s.c;
    layer l = make(&state, s);
    for (ifd_isa isa = IFD_ISA_REF; isa <= ifd_cpu_isa(); isa++) {
      check_depthwise(&l, isa, false, IFD_K_QUANT_INT32, &state);
      check_depthwise(&l, isa, false, IFD_K_QUANT_INT8, &state);
      if (ifd_k_quant_has_quads(isa, ifd_cpu_dot(isa)))
        check_depthwise(&l, isa, true, IFD_K_QUANT_INT8, &state);
    }
    drop(&l);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(few_channels), cmocka_unit_test(many_channels),
                                     cmocka_unit_test(depthwise)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
