/* Convolutions of bytes as products: rows that are gathered, rows that are read by lines and tiles of
 * Winograd's algorithm give, on every ISA and by every instruction, the sums of plain C, and write no other
 * place. */
#include "kcheck/buffer.h"
#include "kcheck/quant_pack.h"

#include "base/checked.h"
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

/* How a layer runs: one of the two is given, or none. */
typedef struct how {
  const ifd_k_quant_lines *lines;
  const ifd_k_quant_winograd *winograd;
} how;

static ifd_k_quant_matrix matrix_of(const layer *l, int64_t group, how h, bool is_bounded) {
  const ifd_k_conv_shape *s = &l->shape;
  int64_t cg = s->c / s->groups, n = s->m / s->groups, taps = count(s->kernel);
  ifd_k_quant_matrix m = {.b = (const int8_t *)l->w.f + group * n * cg * taps,
                          .n = n,
                          .k = taps * cg,
                          .inner = cg,
                          .inner_rs = taps,
                          .outer_rs = 1,
                          .b_cs = cg * taps,
                          .is_bounded = !h.winograd && is_bounded};
  if (h.lines) ifd_k_quant_lines_matrix(&m, h.lines, s);
  if (h.winograd) memcpy(m.outputs, h.winograd->outputs, sizeof m.outputs);
  return m;
}

/* What 128 less for each byte takes from the sums of columns. */
static buffer moved_sums(const layer *l, const int8_t *packed, const ifd_k_quant_matrix *m) {
  buffer add = buffer_new(l->zeros.len);
  memcpy(add.f, l->zeros.f, add.len);
  for (int64_t j = 0; j < m->n; j++) ((int32_t *)add.f)[j] = 128 * ifd_k_quant_column_sums(packed, m)[j];
  return add;
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

/* All groups, in tasks of some rows. */
static void check(const layer *l, ifd_isa isa, ifd_dot dot, how h, uint64_t *state) {
  const ifd_k_quant_lines *lines = h.lines;
  const ifd_k_quant_winograd *w = h.winograd;
  const struct ifd_k_quant_table *kernels = ifd_k_quant(isa);
  const ifd_k_conv_shape *s = &l->shape;
  int64_t cg = s->c / s->groups, n = s->m / s->groups, k = cg * count(s->kernel);
  const bool adds = rand_in(state, 0, 1);
  buffer y = buffer_new((size_t)(l->places * s->m * (adds ? 1 : 4)));
  for (int64_t g = 0; g < s->groups; g++) {
    const ifd_k_quant_matrix matrix = matrix_of(l, g, h, ifd_k_quant_has_pairs(isa, dot));
    buffer packed = buffer_new(ifd_k_quant_packed_len(&matrix));
    pack_in_parts((int8_t *)packed.f, &matrix);
    buffer add = moved_sums(l, (const int8_t *)packed.f, &matrix);
    ifd_k_quant_image image = {.shape = s,
                               .x = (const uint8_t *)l->x.f + g * cg,
                               .end = (const uint8_t *)l->x.f + l->x.len,
                               .flip = l->is_signed ? FLIP : 0,
                               .fill = FILL};
    if (w) image.flip ^= FLIP, image.fill ^= FLIP;
    ifd_k_quant_product p = {.m = lines ? lines->m : l->places,
                             .n = n,
                             .k = lines ? lines->axis[0].pieces * lines->axis[1].pieces * lines->piece : k,
                             .dot = dot,
                             .pack = kernels->gather,
                             .source = &image,
                             .lines = lines,
                             .b = (const int8_t *)packed.f,
                             .c = (char *)y.f + g * n * (adds ? 1 : 4),
                             .c_rs = s->m,
                             .finish = {.add = (const int32_t *)(w ? add.f : l->zeros.f)}};
    if (adds) {
      p.other = (const uint8_t *)l->other.f + g * n;
      p.finish = (ifd_k_quant_finish){.out = IFD_K_QUANT_SUM,
                                      .add = p.finish.add,
                                      .scale = l->ones.f,
                                      .shift = l->zeros.f,
                                      .hi = 255,
                                      .sum = &sum};
    }
    const int64_t rows = w ? w->m : p.m, step = rand_in(state, 1, rows);
    buffer scratch =
        buffer_new(w ? ifd_k_quant_winograd_scratch_len(w, step) : ifd_k_quant_scratch_len(&p, step));
    for (int64_t i = 0; i < rows; i += step) {
      const int64_t end = i + step < rows ? i + step : rows;
      w ? kernels->winograd(w, &p, i, end, 0, n, scratch.f) : kernels->run(&p, i, end, 0, n, scratch.f);
    }
    buffer_free(&scratch), buffer_free(&add), buffer_free(&packed);
  }
  if (!is_wanted(l, &y, adds))
    fail_msg("%s dot %d %s: %d channels, %d places", ifd_isa_name(isa), dot,
             w       ? "by Winograd's algorithm"
             : lines ? "by lines"
                     : "gathered",
             (int)s->c, (int)l->places);
  buffer_free(&y);
}

/* Kinds of kernels that may run by lines, and how often they did. */
typedef struct counts {
  int all, by_lines;
} counts;

static void check_layer(counts *n, uint64_t *state, int64_t c, bool deep) {
  layer l = make(state, draw_shape(state, c, deep));
  ifd_k_quant_lines lines;
  for (ifd_isa isa = IFD_ISA_REF; isa <= ifd_cpu_isa(); isa++)
    for (ifd_dot dot = IFD_DOT_PLAIN; dot <= ifd_cpu_dot(isa); dot++) {
      const ifd_dot planned = isa == IFD_ISA_REF ? IFD_DOT_VNNI : dot;
      check(&l, isa, dot, (how){0}, state);
      n->all += planned != IFD_DOT_PLAIN;
      if (!ifd_k_quant_lines_init(&lines, &l.shape, l.samples, planned, rand_in(state, 0, 3) == 0)) continue;
      check(&l, isa, dot, (how){.lines = &lines}, state);
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
  assert_true(n.by_lines > 30 || n.all <= 90); /* three kinds of kernels */
  assert_true(4 * n.by_lines > n.all);
}

/* ---- Winograd ---- */

static void check_tiles(const layer *l, int64_t height, int64_t width, uint64_t *state) {
  const ifd_k_conv_shape *s = &l->shape;
  ifd_k_quant_winograd w = {.c = s->c / s->groups, .outputs = {height, width}, .m = l->samples};
  for (int i = 0; i < 2; i++) {
    w.tiles[i] = (s->out[IFD_K_H + i] + w.outputs[i] - 1) / w.outputs[i];
    w.m *= w.tiles[i];
  }
  for (ifd_isa isa = IFD_ISA_REF; isa <= ifd_cpu_isa(); isa++)
    check(l, isa, IFD_DOT_PLAIN, (how){.winograd = &w}, state);
}

static ifd_k_conv_shape draw_taps(uint64_t *state, int64_t c) {
  ifd_k_conv_shape s = {.c = c, .m = rand_in(state, 1, 40), .groups = 1, .in = {1}, .out = {1}};
  if (c % 2 == 0 && rand_in(state, 0, 3) == 0) s.groups = 2, s.m *= 2;
  for (int d = 0; d < IFD_K_DIMS; d++) {
    s.kernel[d] = d == IFD_K_D ? 1 : 3, s.stride[d] = s.dilation[d] = 1;
    if (d == IFD_K_D) continue;
    s.pad[d] = rand_in(state, 0, 2);
    s.in[d] = rand_in(state, 3, 15), s.out[d] = s.in[d] + 2 * s.pad[d] - 2;
  }
  return s;
}

static void winograd(void **unused) {
  (void)unused;
  uint64_t state = 5;
  for (int i = 0; i < 40; i++) {
    layer l = make(&state, draw_taps(&state, rand_in(&state, 1, i % 4 ? 40 : 150)));
    for (int64_t h = 2; h <= 4; h += 2)
      for (int64_t w = 2; w <= 4; w += 2) check_tiles(&l, h, w, &state);
    drop(&l);
  }
}

/* The most channels that tiles are chosen for: the largest sums come out, of either sign. */
static void largest_sums(void **unused) {
  (void)unused;
  const int64_t sizes[][2] = {{4, 4}, {4, 2}, {2, 2}}, most[] = {227, 910, 3640};
  uint64_t state = 6;
  for (int i = 0; i < 3; i++) {
    ifd_k_conv_shape s = draw_taps(&state, most[i]);
    s.groups = 1, s.m = 2, s.in[1] = s.in[2] = 4, s.pad[1] = s.pad[2] = 0, s.out[1] = s.out[2] = 2;
    layer l = make(&state, s);
    memset(l.x.f, l.is_signed ? 0x80 : 0, l.x.len);
    memset(l.w.f, 0x80, l.w.len / 2), memset((char *)l.w.f + l.w.len / 2, 0x7f, l.w.len / 2);
    memset(l.want.f, 0, l.want.len); /* of uint8 that are 0 */
    check_tiles(&l, sizes[i][0], sizes[i][1], &state);
    drop(&l);
  }
}

/* Chosen for many channels of taps next to each other alone, without instructions that sum bytes. */
static void chosen(void **unused) {
  (void)unused;
  uint64_t state = 7;
  ifd_k_quant_winograd w;
  for (int64_t c = 64; c <= 8192; c *= 2) {
    ifd_k_conv_shape s = draw_taps(&state, c), strided, dilated;
    s.groups = 1, s.m = 64, s.in[1] = s.in[2] = s.out[1] = s.out[2] = 28, s.pad[1] = s.pad[2] = 1;
    strided = dilated = s;
    strided.stride[1] = 2, strided.out[1] = 14;
    dilated.dilation[2] = 2, dilated.out[2] = 26;
    assert_int_equal(ifd_k_quant_winograd_init(&w, &s, 1, IFD_DOT_PLAIN), c < 3641);
    assert_true(c >= 3641 ||
                147456 * c * (w.outputs[0] == 4 ? 8 : 2) * (w.outputs[1] == 4 ? 8 : 2) < 1L << 31);
    assert_false(ifd_k_quant_winograd_init(&w, &s, 1, IFD_DOT_VNNI));
    assert_false(ifd_k_quant_winograd_init(&w, &strided, 1, IFD_DOT_PLAIN));
    assert_false(ifd_k_quant_winograd_init(&w, &dilated, 1, IFD_DOT_PLAIN));
  }
}

/* ---- depthwise ---- */

/* Padding may be more than the image. */
static ifd_k_conv_shape draw_depthwise(uint64_t *state, int64_t c, bool deep) {
  ifd_k_conv_shape s = {.c = c, .m = c, .groups = c};
  for (int d = 0; d < IFD_K_DIMS; d++) {
    const bool has = d != IFD_K_D || deep;
    s.kernel[d] = has ? rand_in(state, 1, deep ? 3 : 5) : 1;
    s.stride[d] = has ? rand_in(state, 1, 3) : 1;
    s.dilation[d] = has ? rand_in(state, 1, 3) : 1;
    const int64_t reach = (s.kernel[d] - 1) * s.dilation[d];
    s.pad[d] = has ? rand_in(state, 0, reach + 1) : 0;
    s.in[d] = has ? ifd_max_i64(reach + 1 - 2 * s.pad[d], 1) + rand_in(state, 0, d == IFD_K_W ? 40 : 6) : 1;
    s.out[d] = (s.in[d] + 2 * s.pad[d] - reach - 1) / s.stride[d] + 1;
  }
  return s;
}

static bool is_finished(const layer *l, int64_t i, const ifd_k_quant_finish *f, const buffer *y) {
  const int32_t sum = ((const int32_t *)l->want.f)[i];
  float v = (float)sum * 0x1p-9f;
  v = v < f->lo ? f->lo : v > f->hi ? f->hi : v;
  if (f->out == IFD_K_QUANT_INT32) return ((const int32_t *)y->f)[i] == sum;
  if (f->out == IFD_K_QUANT_FLOAT) return y->f[i] == v;
  return ((const uint8_t *)y->f)[i] == (uint8_t)((int32_t)rintf(v) + f->zero);
}

/* Zero points of channels, by which weights are moved. */
static void move_weights(const layer *l, uint64_t *state, int8_t *w, int32_t *zeros) {
  const int64_t taps = count(l->shape.kernel);
  for (int64_t c = 0; c < l->shape.m; c++) {
    int8_t *of = w + c * taps, least = of[0], most = of[0];
    for (int64_t t = 0; t < taps; t++)
      least = of[t] < least ? of[t] : least, most = of[t] > most ? of[t] : most;
    zeros[c] = (int32_t)rand_in(state, -128 - least, 127 - most);
    for (int64_t t = 0; t < taps; t++) of[t] = (int8_t)(of[t] + zeros[c]);
  }
}

/* Output lines by some at a time; with `quads`, by the instruction that sums four. */
static void check_depthwise(const layer *l, ifd_isa isa, bool quads, ifd_k_quant_out out, uint64_t *state) {
  const ifd_k_conv_shape *s = &l->shape;
  const struct ifd_k_quant_table *k = ifd_k_quant(isa);
  const int64_t taps = count(s->kernel), lines = l->places / s->out[IFD_K_W], step = rand_in(state, 1, lines);
  const bool moves = !quads && rand_in(state, 0, 1);
  buffer w = buffer_new(l->w.len), zeros = buffer_new(l->zeros.len);
  memcpy(w.f, l->w.f, w.len), memset(zeros.f, 0, zeros.len);
  if (moves) move_weights(l, state, (int8_t *)w.f, (int32_t *)zeros.f);
  ifd_k_quant_matrix m = {.b = w.f, .n = s->m, .k = taps, .inner = taps, .inner_rs = 1, .b_cs = taps};
  if (quads) ifd_k_quant_quads_matrix(&m, s);
  buffer packed = buffer_new(ifd_k_quant_packed_len(&m));
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
                          .b_zero = moves ? (const int32_t *)zeros.f : NULL,
                          .scale = l->ones.f,
                          .shift = l->zeros.f,
                          .zero = rand_in(state, 0, 1) ? 7 : -100};
  f.lo = (f.zero < 0 ? -128.0f : 0.0f) - (float)f.zero, f.hi = f.lo + 255;
  if (rand_in(state, 0, 1)) f.lo += 20;
  for (int64_t r = 0; r < lines; r += step)
    (quads ? k->depthwise_quads : k->depthwise)(&image, (const int8_t *)packed.f, &f, y.f, r,
                                                r + step < lines ? r + step : lines, scratch.f);
  bool same = true;
  for (int64_t i = 0; i < l->places * s->m; i++) same = same && is_finished(l, i, &f, &y);
  if (!same)
    fail_msg("%s%s: %d channels, %d places", ifd_isa_name(isa), quads ? " by quads" : "", (int)s->c,
             (int)l->places);
  buffer *all[] = {&scratch, &y, &packed, &zeros, &w};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) buffer_free(all[i]);
}

static void depthwise(void **unused) {
  (void)unused;
  uint64_t state = 4;
  for (int i = 0; i < 80; i++) {
    const int64_t c = rand_in(&state, 1, i % 3 ? 40 : 150);
    layer l = make(&state, draw_depthwise(&state, c, i % 4 == 0));
    for (ifd_isa isa = IFD_ISA_REF; isa <= ifd_cpu_isa(); isa++) {
      for (ifd_k_quant_out out = IFD_K_QUANT_INT32; out <= IFD_K_QUANT_INT8; out++)
        check_depthwise(&l, isa, false, out, &state);
      if (ifd_k_quant_has_quads(isa, ifd_cpu_dot(isa)))
        check_depthwise(&l, isa, true, IFD_K_QUANT_INT8, &state);
    }
    drop(&l);
  }
}

/* Lines that a dilation skips: as many as stay, and more. */
static void dilations(void **unused) {
  (void)unused;
  uint64_t state = 8;
  for (int64_t apart = 1; apart <= 64; apart *= 4) {
    ifd_k_conv_shape s = {.c = 64,
                          .m = 64,
                          .groups = 64,
                          .kernel = {1, 3, 3},
                          .stride = {1, 1, 1},
                          .dilation = {1, apart, 1},
                          .pad = {0, apart, 1},
                          .in = {1, 2 * apart + 1, 20},
                          .out = {1, 2 * apart + 1, 20}};
    layer l = make(&state, s);
    for (ifd_isa isa = IFD_ISA_REF; isa <= ifd_cpu_isa(); isa++)
      check_depthwise(&l, isa, false, IFD_K_QUANT_INT8, &state);
    drop(&l);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(few_channels), cmocka_unit_test(many_channels),
                                     cmocka_unit_test(winograd),     cmocka_unit_test(largest_sums),
                                     cmocka_unit_test(chosen),       cmocka_unit_test(depthwise),
                                     cmocka_unit_test(dilations)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
