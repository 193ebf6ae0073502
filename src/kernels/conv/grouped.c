/* Depthwise convolutions and those of small groups. A part is a phase and a plane of outputs in depth, rows
 * are its lines. With several input channels to a group, each is spread over the lanes of the outputs that
 * read it, and then met as by a depthwise convolution. */
#include "kernels/conv/line.h"
#include "kernels/part.h"
#include <string.h>

enum { TOGETHER = 8 };
#define UNROLL_ _Pragma("GCC unroll 8")

/* Lines of outputs of a block in one plane. */
typedef struct lines {
  const ifd_conv_task *t;
  ifd_conv_phase phase;
  int64_t o_d, block;
  ifd_conv_fused fused;
  ifd_conv_tap_line *found; /* room for those that a row reads */
} lines;

static lines lines_of(const ifd_conv_task *t, void *scratch) {
  const ifd_k_conv_shape *s = &t->plan->shape;
  return (lines){.t = t,
                 .phase = ifd_conv_phase_at(s, t->part / s->out[IFD_K_D]),
                 .o_d = t->part % s->out[IFD_K_D],
                 .found = scratch};
}

/* Pixel of y where row r of the task's lines begins. */
static int64_t output_at(const lines *g, int64_t row) {
  const ifd_conv_axis *a = g->phase.axis;
  const int64_t *out = g->t->plan->shape.out;
  int64_t d = a[IFD_K_D].y_begin + g->o_d * a[IFD_K_D].y_step,
          h = a[IFD_K_H].y_begin + row * a[IFD_K_H].y_step;
  return (d * out[IFD_K_H] + h) * out[IFD_K_W] + a[IFD_K_W].y_begin;
}

static const float *weights_of(const lines *g) {
  const ifd_k_conv_shape *s = &g->t->plan->shape;
  int64_t taps = g->phase.taps_before * ifd_ceil_div(s->m, 16) + g->block * g->phase.n_taps;
  return g->t->packed + taps * (s->c / s->groups) * 16;
}

/* Lines found one by one, all of which lie inside, whatever the row. */
static void set_found(ifd_conv_line *l, int64_t n) {
  l->n_d = 1, l->n_h = n;
  l->top = l->down = l->apart = 0, l->height = 1;
}

/* The lines of x inside that row r reads, in the order of their taps, each where `place` has it. */
static void find_lines(const lines *g, int64_t row, ifd_conv_line *l,
                       int64_t (*place)(void *context, int64_t tap_d, int64_t plane, int64_t line),
                       void *context) {
  const int64_t *in = g->t->plan->shape.in;
  const ifd_conv_axis *d = &g->phase.axis[IFD_K_D], *h = &g->phase.axis[IFD_K_H];
  int64_t n_w = g->phase.axis[IFD_K_W].n_taps, d0, h0;
  int64_t n_d = ifd_conv_taps_inside(d, in[IFD_K_D], g->o_d, &d0);
  int64_t n_h = ifd_conv_taps_inside(h, in[IFD_K_H], row, &h0);
  set_found(l, 0);
  l->lines = g->found;
  for (int64_t i = d0; i < d0 + n_d; i++)
    for (int64_t j = h0; j < h0 + n_h; j++) {
      int64_t plane = d->begin + g->o_d * d->step + i * d->tap_step;
      int64_t line = h->begin + row * h->step + j * h->tap_step;
      g->found[l->n_h++] =
          (ifd_conv_tap_line){place(context, i, plane, line), (i * h->n_taps + j) * n_w * 16};
    }
}

/* Places of one row that go on from `init` (NULL: from 0) and are finished, of outputs that are apart or
 * whose epilogue needs more than registers: by parts through a buffer. */
static void run_buffered(const lines *g, const ifd_conv_line *l, int64_t n, int64_t at, const float *init) {
  enum { PART = 64 };
  float sums[PART * 16] __attribute__((aligned(64)));
  int64_t apart = g->phase.axis[IFD_K_W].y_step;
  ifd_conv_line part = *l;
  part.n_rows = 1;
  for (int64_t o = 0; o < n; o += PART) {
    int64_t n_part = ifd_min_i64(PART, n - o);
    part.begin = l->begin + o * l->step;
    IFD_K(ifd_conv_line_find)
    (&part)(&part, 0, n_part, &(ifd_conv_sink){.y = sums, .init = init ? init + o * 16 : NULL});
    ifd_conv_finish(g->t, sums, g->block, at + o * apart, n_part, apart);
  }
}

/* n places side by side of each row, the first of which is pixel `at` of y. */
static void run_places(const lines *g, const ifd_conv_line *l, int64_t n, int64_t at, const float *init) {
  const ifd_conv_task *t = g->t;
  const ifd_conv_axis *a = g->phase.axis;
  int64_t y_row = a[IFD_K_H].y_step * t->plan->shape.out[IFD_K_W];
  if (!(g->fused.fits || g->fused.waits) || a[IFD_K_W].y_step != 1) {
    ifd_conv_line row = *l;
    for (int64_t i = 0; i < l->n_rows; i++, row.x += l->x_row, row.top += l->down, at += y_row)
      run_buffered(g, &row, n, at, init);
    return;
  }
  ifd_conv_sink to = {
      .init = init, .fused = g->fused, .y = t->y + (g->block * t->y_plane + at) * 16, .y_row = y_row * 16};
  if (t->epilogue.join) to.other = t->epilogue.other + (to.y - t->y);
  IFD_K(ifd_conv_line_find)(l)(l, 0, n, &to);
}

/* ---- depthwise: x as it lies ---- */

/* But for x and weights, which are a block's. */
static ifd_conv_line depthwise_line(const lines *g) {
  const ifd_conv_axis *a = &g->phase.axis[IFD_K_W];
  return (ifd_conv_line){.lines = g->found,
                         .n_c = 1,
                         .n_w = a->n_taps,
                         .n_rows = 1,
                         .begin = a->begin,
                         .step = a->step,
                         .tap_step = a->tap_step,
                         .width = g->t->plan->shape.in[IFD_K_W]};
}

/* Where lines lie, in floats: of a tap of depth, a plane, a line, which are numbered from `first` on. */
typedef struct lying {
  int64_t first, tap, plane, line;
} lying;

/* Of the task's rows, the lines of x that lie inside; whatever the block. */
static void find_inside(const lines *g, ifd_conv_line *l, lying in) {
  const ifd_k_conv_shape *s = &g->t->plan->shape;
  const ifd_conv_axis *d = &g->phase.axis[IFD_K_D], *h = &g->phase.axis[IFD_K_H];
  int64_t r0 = g->t->r0, tap, n_w = g->phase.axis[IFD_K_W].n_taps;
  l->n_d = ifd_conv_taps_inside(d, s->in[IFD_K_D], g->o_d, &tap);
  l->n_h = h->n_taps;
  l->top = h->begin + r0 * h->step, l->down = h->step, l->apart = h->tap_step, l->height = s->in[IFD_K_H];
  for (int64_t i = 0; i < l->n_d; i++, tap++) {
    int64_t plane = d->begin + g->o_d * d->step + tap * d->tap_step, at = tap * in.tap + plane * in.plane;
    for (int64_t j = 0; j < l->n_h; j++)
      g->found[i * l->n_h + j] = (ifd_conv_tap_line){at + (l->top + j * h->tap_step - in.first) * in.line,
                                                     (tap * l->n_h + j) * n_w * 16};
  }
  l->n_rows = ifd_max_i64(0, ifd_min_i64(g->t->r1, h->n_places) - r0);
  l->x_row = h->step * in.line;
}

static void run_inside(const lines *g, const ifd_conv_line *l) {
  run_places(g, l, g->phase.axis[IFD_K_W].n_places, output_at(g, g->t->r0), NULL);
}

/* ---- depthwise: a padded copy ---- */

/* n columns of a line of x from column -pad on, zeros outside. NULL: all zeros. */
static void copy_padded(float *to, const float *line, int64_t width, int64_t pad, int64_t n) {
  int64_t i = 0, end = line ? ifd_min_i64(n, width + pad) : 0;
  for (; i < ifd_min_i64(pad, end); i++) v16_store(to + i * 16, v16_zero());
  for (; i < end; i++) v16_store(to + i * 16, v16_load(line + (i - pad) * 16));
  for (; i < n; i++) v16_store(to + i * 16, v16_zero());
}

/* The lines that the task's rows read, of each tap of depth. */
static void copy_lines(const lines *g, const float *x, const ifd_conv_padded_sizes *z, int64_t n, float *to) {
  const ifd_k_conv_shape *s = &g->t->plan->shape;
  const ifd_conv_axis *d = &g->phase.axis[IFD_K_D], *h = &g->phase.axis[IFD_K_H];
  for (int64_t i = 0; i < d->n_taps; i++, to += z->lines * z->columns * 16)
    for (int64_t l = 0; l < n; l++) {
      int64_t plane = d->begin + g->o_d * d->step + i * d->tap_step, line = h->begin + g->t->r0 * h->step + l;
      bool inside = plane >= 0 && plane < s->in[IFD_K_D] && line >= 0 && line < s->in[IFD_K_H];
      int64_t at = inside ? (plane * s->in[IFD_K_H] + line) * s->in[IFD_K_W] * 16 : 0;
      copy_padded(to + l * z->columns * 16, inside ? x + at : NULL, s->in[IFD_K_W], s->pad[IFD_K_W],
                  z->columns);
    }
}

/* All the task's rows at once, lines of zeros among what they read. */
static void run_plane(const lines *g, ifd_conv_line *l, const ifd_conv_padded_sizes *z) {
  const ifd_conv_axis *d = &g->phase.axis[IFD_K_D], *h = &g->phase.axis[IFD_K_H],
                      *c = &g->phase.axis[IFD_K_W];
  set_found(l, 0);
  for (int64_t i = 0; i < d->n_taps; i++)
    for (int64_t j = 0; j < h->n_taps; j++, l->n_h++)
      g->found[l->n_h] =
          (ifd_conv_tap_line){(i * z->lines + j * h->tap_step) * z->columns * 16, l->n_h * c->n_taps * 16};
  l->n_rows = g->t->r1 - g->t->r0, l->x_row = h->step * z->columns * 16;
  run_places(g, l, c->n_places, output_at(g, g->t->r0), NULL);
}

static void run_padded(const lines *g, ifd_conv_line *l, const ifd_conv_padded_sizes *z, float *copy) {
  const ifd_conv_axis *h = &g->phase.axis[IFD_K_H];
  int64_t n = (g->t->r1 - g->t->r0 - 1) * h->step + (h->n_taps - 1) * h->tap_step + 1;
  int64_t line = z->columns * 16, first = h->begin + g->t->r0 * h->step;
  copy_lines(g, l->x, z, n, copy);
  l->x = copy, l->begin = 0, l->width = z->columns;
  if (z->fits)
    run_plane(g, l, z);
  else {
    find_inside(g, l, (lying){.first = first, .tap = z->lines * line, .line = line});
    run_inside(g, l);
  }
}

void IFD_K(ifd_conv_depthwise)(const ifd_conv_task *t, void *scratch) {
  const ifd_k_conv_shape *s = &t->plan->shape;
  const ifd_conv_padded_sizes z = ifd_conv_padded_sizes_of(s);
  float *copy = (float *)((char *)scratch + ifd_conv_tap_lines_len(s));
  int64_t line = s->in[IFD_K_W] * 16;
  lines g = lines_of(t, scratch);
  if (g.o_d >= g.phase.axis[IFD_K_D].n_places) return;
  ifd_conv_line l = depthwise_line(&g);
  find_inside(&g, &l, (lying){.plane = s->in[IFD_K_H] * line, .line = line});
  for (g.block = t->b0; g.block < t->b1; g.block++) {
    g.fused = ifd_conv_fuse(t, g.block);
    l.x = t->x + g.block * t->x_plane * 16, l.w = weights_of(&g);
    if (z.fits || z.wide)
      run_padded(&g, &l, &z, copy);
    else
      run_inside(&g, &l);
  }
}

/* ---- depthwise: lines of x elsewhere ---- */

void IFD_K(ifd_conv_depthwise_rows)(const ifd_conv_task *t, const float *x, int64_t first, int64_t block,
                                    int64_t r0, int64_t r1, void *room) {
  ifd_conv_task rows = *t;
  rows.r0 = r0, rows.r1 = r1;
  lines g = lines_of(&rows, room);
  g.block = block;
  g.fused = ifd_conv_fuse(t, block);
  ifd_conv_line l = depthwise_line(&g);
  l.x = x, l.w = weights_of(&g);
  find_inside(&g, &l, (lying){.first = first, .line = l.width * 16});
  run_inside(&g, &l);
}

/* ---- groups ---- */

/* Lines of x spread over the lanes of a block (line.h). */
typedef struct spread {
  const ifd_conv_task *t;
  ifd_conv_spread_sizes z;
  const ifd_conv_sources *sources; /* of the channels in hand */
  int64_t n_channels;
  int64_t column; /* of x, the first of a line's; it may lie outside */
  int64_t *held;  /* of each slot of each tap of depth, the line; -1: none */
  float *x;
} spread;

/* Where lanes [l, end), which read input channels at[l] + k, find those of one block; the first lane
 * behind. */
static int sources_from(const ifd_conv_task *t, ifd_k_lanes *to, const int64_t *at, int64_t k, int l,
                        int end) {
  int64_t block = (at[l] + k) / 16;
  to->x = t->x + block * t->x_plane * 16;
  for (int i = 0; i < 16; i++) to->from[i] = -1;
  for (; l < end && (at[l] + k) / 16 == block; l++) to->from[l] = (int32_t)((at[l] + k) % 16);
  return l;
}

static bool is_level(const ifd_conv_sources *s, int end) {
  bool level = s->n == 1;
  for (int l = 0; l < end; l++) level = level && s->from->from[l] / IFD_PART == l / IFD_PART;
  return level;
}

/* Where the lanes of a block of outputs find each input channel of their groups. */
static void find_sources(const lines *g, ifd_conv_sources *to) {
  const ifd_conv_task *t = g->t;
  const ifd_k_conv_shape *s = &t->plan->shape;
  int64_t m = s->m / s->groups, c = s->c / s->groups, at[16];
  int end = (int)ifd_conv_columns(t, g->block);
  for (int l = 0; l < end; l++) at[l] = (g->block * 16 + l) / m * c;
  for (int64_t k = 0; k < c; k++) {
    to[k].n = 0;
    for (int l = 0; l < end;) l = sources_from(t, &to[k].from[to[k].n++], at, k, l, end);
    to[k].level = is_level(&to[k], end);
  }
}

/* n pixels from pixel `at` on. */
static void spread_channel(float *to, const ifd_conv_sources *s, int64_t at, int64_t n) {
  ifd_k_lanes from[16];
  for (int i = 0; i < s->n; i++) from[i] = s->from[i], from[i].x += at * 16;
  IFD_K(ifd_conv_pick)(to, from, s->n, n);
}

/* The same of K level channels of one block; lanes that no source gives are of no account. */
IFD_INLINE void spread_together(const int K, float *to, int64_t apart, const ifd_conv_sources *s, int64_t at,
                                int64_t n) {
  for (int lane = 0; lane < 16; lane += IFD_PART) {
    const float *x = s->from->x + at * 16 + lane;
    i16 lanes[TOGETHER];
    UNROLL_ for (int k = 0; k < K; k++) lanes[k] = part_load_lanes(s[k].from->from + lane);
    for (int64_t i = 0; i < n; i++) {
      v16 xv = part_load(x + i * 16);
      UNROLL_ for (int k = 0; k < K; k++)
          part_store(to + k * apart + i * 16 + lane, part_permute(xv, lanes[k]));
    }
  }
}

/* How many channels from the first on, of up to n, are level and come from one block. */
static int64_t same_block(const ifd_conv_sources *s, int64_t n) {
  int64_t k = 0;
  while (k < n && s[k].level && s[k].from->x == s->from->x) k++;
  return k;
}

/* As many channels of up to n as is quick: their number. */
static int64_t spread_some(float *to, int64_t apart, const ifd_conv_sources *s, int64_t n, int64_t at,
                           int64_t n_pixels) {
  int64_t same = same_block(s, n);
  if (same >= 8) {
    spread_together(8, to, apart, s, at, n_pixels);
    return 8;
  }
  if (same >= 4) {
    spread_together(4, to, apart, s, at, n_pixels);
    return 4;
  }
  if (same >= 1) {
    spread_together(1, to, apart, s, at, n_pixels);
    return 1;
  }
  spread_channel(to, s, at, n_pixels);
  return 1;
}

/* Columns of the slots that lie in x, from *left on. */
static int64_t columns_inside(const spread *p, int64_t *left) {
  int64_t width = p->t->plan->shape.in[IFD_K_W];
  int64_t first = ifd_max_i64(0, p->column), end = ifd_min_i64(p->column + p->z.columns, width);
  *left = ifd_min_i64(first - p->column, p->z.columns);
  return ifd_max_i64(0, end - first);
}

/* Slots of which no line is known, zeros in the columns that no line has. */
static void clear_slots(const spread *p) {
  int64_t n = p->t->plan->shape.kernel[IFD_K_D] * p->z.slots, left, inside = columns_inside(p, &left);
  for (int64_t i = 0; i < n; i++) p->held[i] = -1;
  for (int64_t i = 0; i < p->n_channels * n && inside < p->z.columns; i++) {
    float *line = p->x + i * p->z.line;
    for (int64_t k = 0; k < left; k++) v16_store(line + k * 16, v16_zero());
    for (int64_t k = left + inside; k < p->z.columns; k++) v16_store(line + k * 16, v16_zero());
  }
}

/* A line of all channels in hand. */
static void spread_line(const spread *p, float *to, int64_t plane, int64_t line) {
  const int64_t *in = p->t->plan->shape.in;
  int64_t left, inside = columns_inside(p, &left);
  int64_t pixel = (plane * in[IFD_K_H] + line) * in[IFD_K_W] + p->column + left;
  to += left * 16;
  for (int64_t k = 0; k < p->n_channels;)
    k += spread_some(to + k * p->z.channel, p->z.channel, p->sources + k, p->n_channels - k, pixel, inside);
}

static int64_t place_in_slot(void *context, int64_t tap_d, int64_t plane, int64_t line) {
  const spread *p = context;
  int64_t slot = tap_d * p->z.slots + line % p->z.slots, at = slot * p->z.line;
  if (p->held[slot] != line) spread_line(p, p->x + at, plane, line);
  p->held[slot] = line;
  return at;
}

/* Places [o, o + n) of all rows, by the channels in hand: from the sums that wait on, and to there again. */
static void run_strip(const lines *g, spread *p, const float *w, int64_t o, int64_t n, const float *init,
                      float *waiting) {
  const ifd_conv_task *t = g->t;
  const ifd_conv_axis *a = &g->phase.axis[IFD_K_W];
  int64_t reach = (ifd_max_i64(1, a->n_taps) - 1) * a->tap_step, lo = ifd_min_i64(0, reach);
  p->column = a->begin + o * a->step + lo;
  clear_slots(p);
  ifd_conv_line l = {.x = p->x,
                     .w = w,
                     .n_c = p->n_channels,
                     .n_rows = 1,
                     .n_w = a->n_taps,
                     .x_c = p->z.channel,
                     .w_c = g->phase.n_taps * 16,
                     .begin = -lo,
                     .step = a->step,
                     .tap_step = a->tap_step,
                     .width = p->z.columns};
  for (int64_t row = t->r0; row < ifd_min_i64(t->r1, g->phase.axis[IFD_K_H].n_places); row++) {
    int64_t at = (row - t->r0) * IFD_CONV_STRIP * 16;
    const float *from = init ? init + at : NULL;
    find_lines(g, row, &l, place_in_slot, p);
    if (waiting)
      IFD_K(ifd_conv_line_find) (&l)(&l, 0, n, &(ifd_conv_sink){.init = from, .y = waiting + at});
    else
      run_places(g, &l, n, output_at(g, row) + o * a->y_step, from);
  }
}

static void run_groups(const lines *g, char *scratch) {
  const ifd_k_conv_shape *s = &g->t->plan->shape;
  const ifd_conv_spread_scratch m = ifd_conv_spread_scratch_of(s, g->t->plan->rows);
  ifd_conv_sources *sources = (ifd_conv_sources *)(scratch + m.lanes);
  spread p = {.t = g->t,
              .z = ifd_conv_spread_sizes_of(s),
              .held = (int64_t *)(scratch + m.held),
              .x = (float *)(scratch + m.x)};
  float *sums = (float *)(scratch + m.sums);
  int64_t c = s->c / s->groups, width = g->phase.axis[IFD_K_W].n_places;
  int64_t n_strips = ifd_ceil_div(width, IFD_CONV_STRIP);
  find_sources(g, sources);
  for (int64_t i = 0; i < n_strips; i++) {
    int64_t o = width * i / n_strips, end = width * (i + 1) / n_strips;
    const float *w = weights_of(g);
    for (int64_t c0 = 0; c0 < c; c0 += p.n_channels, w += p.n_channels * g->phase.n_taps * 16) {
      p.sources = sources + c0;
      p.n_channels = ifd_min_i64(p.z.channels, c - c0);
      bool last = c0 + p.n_channels == c;
      run_strip(g, &p, w, o, end - o, c0 ? sums : NULL, last ? NULL : sums);
    }
  }
}

void IFD_K(ifd_conv_grouped)(const ifd_conv_task *t, void *scratch) {
  lines g = lines_of(t, scratch);
  if (g.o_d >= g.phase.axis[IFD_K_D].n_places) return;
  for (g.block = t->b0; g.block < t->b1; g.block++) {
    g.fused = ifd_conv_fuse(t, g.block);
    run_groups(&g, scratch);
  }
}
