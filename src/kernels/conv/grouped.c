/* Depthwise convolutions and those of small groups. A part is a phase and a plane of outputs in depth, rows
 * are its lines. With several input channels to a group, each is spread over the lanes of the outputs that
 * read it, and then met as by a depthwise convolution. */
#include "kernels/conv/line.h"
#include <string.h>

/* Lines of outputs of a block in one plane, and what they read: an input channel for each lane, of which
 * planes [plane, …) and lines [line, line + n_lines) of x are there. */
typedef struct lines {
  const ifd_conv_task *t;
  ifd_conv_phase phase;
  int64_t o_d, block;
  const float *x;
  int64_t plane, n_planes, line, n_lines;
  int64_t column, n_columns; /* of a line there: from column `column` of x on, zeros outside */
} lines;

/* What row r reads, of n_c input channels x_c apart. */
static ifd_conv_line line_at(const lines *g, int64_t n_c, int64_t x_c, const float *w, int64_t row) {
  const int64_t *in = g->t->plan->shape.in;
  const ifd_conv_axis *d = &g->phase.axis[IFD_K_D], *h = &g->phase.axis[IFD_K_H],
                      *c = &g->phase.axis[IFD_K_W];
  int64_t width = g->n_columns, tap_d, tap_h;
  ifd_conv_line l = {.n_c = n_c,
                     .x_c = x_c,
                     .w_c = g->phase.n_taps * 16,
                     .n_w = c->n_taps,
                     .begin = c->begin - g->column,
                     .step = c->step,
                     .tap_step = c->tap_step,
                     .width = width};
  l.n_d = ifd_conv_taps_inside(d, in[IFD_K_D], g->o_d, &tap_d);
  l.n_h = ifd_conv_taps_inside(h, in[IFD_K_H], row, &tap_h);
  if (l.n_d * l.n_h * l.n_w == 0) return l;
  l.w_h = l.n_w * 16;
  l.w_d = h->n_taps * l.w_h;
  l.w = w + tap_d * l.w_d + tap_h * l.w_h;
  l.x_h = h->tap_step * width * 16;
  l.x_d = d->tap_step * g->n_lines * width * 16;
  int64_t plane = d->begin + g->o_d * d->step + tap_d * d->tap_step - g->plane;
  int64_t line = h->begin + row * h->step + tap_h * h->tap_step - g->line;
  l.x = g->x + (plane * g->n_lines + line) * width * 16;
  return l;
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

/* A row that goes on from `init` (NULL: from 0) and is finished, of outputs that are apart or whose epilogue
 * needs more than registers: by parts through a buffer. */
static void run_buffered(const lines *g, const ifd_conv_line *l, int64_t at, const float *init) {
  enum { PART = 64 };
  float sums[PART * 16] __attribute__((aligned(64)));
  const ifd_conv_axis *a = &g->phase.axis[IFD_K_W];
  ifd_conv_line part = *l;
  for (int64_t o = 0; o < a->n_places; o += PART) {
    int64_t n = ifd_min_i64(PART, a->n_places - o);
    part.begin = l->begin + o * l->step;
    IFD_K(ifd_conv_line_find)
    (&part)(&part, 0, n, &(ifd_conv_sink){.y = sums, .init = init ? init + o * 16 : NULL});
    ifd_conv_finish(g->t, sums, g->block, at + o * a->y_step, n, a->y_step);
  }
}

static void run_row(const lines *g, const ifd_conv_line *l, const ifd_conv_fused *fused, int64_t row,
                    const float *init) {
  const ifd_conv_task *t = g->t;
  const ifd_conv_axis *a = &g->phase.axis[IFD_K_W];
  int64_t at = output_at(g, row);
  if (!fused->fits || a->y_step != 1) {
    run_buffered(g, l, at, init);
    return;
  }
  ifd_conv_sink to = {.init = init, .fused = *fused, .y = t->y + (g->block * t->y_plane + at) * 16};
  if (t->epilogue.join) to.other = t->epilogue.other + (to.y - t->y);
  IFD_K(ifd_conv_line_find)(l)(l, 0, a->n_places, &to);
}

/* ---- depthwise: x as it lies ---- */

static void run_depthwise(lines *g) {
  const ifd_conv_task *t = g->t;
  const float *w = weights_of(g);
  const ifd_conv_fused fused = ifd_conv_fuse(t, g->block);
  g->x = t->x + g->block * t->x_plane * 16;
  for (int64_t row = t->r0; row < ifd_min_i64(t->r1, g->phase.axis[IFD_K_H].n_places); row++) {
    ifd_conv_line l = line_at(g, 1, 0, w, row);
    run_row(g, &l, &fused, row, NULL);
  }
}

/* ---- groups ---- */

/* The blocks of x from which the lanes of a block of outputs read one input channel of their groups. */
static int sources_of(const lines *g, int64_t channel, ifd_k_lanes sources[16]) {
  const ifd_k_conv_shape *s = &g->t->plan->shape;
  int64_t m = s->m / s->groups, c = s->c / s->groups, first = g->block * 16, last = -1;
  int n = 0;
  for (int lane = 0; lane < ifd_min_i64(16, s->m - first); lane++) {
    int64_t at = (first + lane) / m * c + channel;
    if (at / 16 != last) {
      last = at / 16;
      sources[n].x = g->t->x + last * g->t->x_plane * 16;
      memset(sources[n++].from, -1, sizeof sources->from);
    }
    sources[n - 1].from[lane] = (int32_t)(at % 16);
  }
  return n;
}

/* Input channel `channel` of every group to the lanes that read it, lines padded. */
static void spread(const lines *g, int64_t channel, float *to) {
  const int64_t *in = g->t->plan->shape.in;
  ifd_k_lanes sources[16], at[16];
  int n = sources_of(g, channel, sources);
  int64_t first = ifd_max_i64(0, g->column), end = ifd_min_i64(g->column + g->n_columns, in[IFD_K_W]);
  int64_t inside = ifd_max_i64(0, end - first), left = ifd_min_i64(first - g->column, g->n_columns);
  for (int64_t plane = g->plane; plane < g->plane + g->n_planes; plane++)
    for (int64_t line = g->line; line < g->line + g->n_lines; line++, to += g->n_columns * 16) {
      memset(to, 0, sizeof *to * 16 * (size_t)left);
      int64_t pixel = (plane * in[IFD_K_H] + line) * in[IFD_K_W] + first;
      for (int i = 0; i < n; i++) at[i] = sources[i], at[i].x += pixel * 16;
      IFD_K(ifd_conv_pick)(to + left * 16, at, n, inside);
      memset(to + (left + inside) * 16, 0, sizeof *to * 16 * (size_t)(g->n_columns - left - inside));
    }
}

/* What places [o0, o1) read of a dimension: from *lo on, so many. */
static int64_t reach(const ifd_conv_axis *a, int64_t o0, int64_t o1, int64_t *lo) {
  int64_t last_tap = (ifd_max_i64(1, a->n_taps) - 1) * a->tap_step;
  *lo = a->begin + o0 * a->step + ifd_min_i64(0, last_tap);
  return a->begin + (o1 - 1) * a->step + ifd_max_i64(0, last_tap) - *lo + 1;
}

/* The same of those of [0, size); at least one. */
static int64_t reach_inside(const ifd_conv_axis *a, int64_t size, int64_t o0, int64_t o1, int64_t *first) {
  int64_t lo, hi = reach(a, o0, o1, &lo) + lo - 1;
  *first = ifd_max_i64(0, ifd_min_i64(lo, size - 1));
  return ifd_max_i64(*first, ifd_min_i64(hi, size - 1)) - *first + 1;
}

static void run_groups(lines *g, float *scratch) {
  const ifd_conv_task *t = g->t;
  const ifd_k_conv_shape *s = &t->plan->shape;
  const ifd_conv_axis *a = g->phase.axis;
  const ifd_conv_grouped_sizes z = ifd_conv_grouped_sizes_of(s, t->plan->rows);
  const ifd_conv_fused fused = ifd_conv_fuse(t, g->block);
  int64_t c = s->c / s->groups, width = a[IFD_K_W].n_places, r1 = ifd_min_i64(t->r1, a[IFD_K_H].n_places);
  if (r1 <= t->r0 || width <= 0) return;
  g->n_planes = reach_inside(&a[IFD_K_D], s->in[IFD_K_D], g->o_d, g->o_d + 1, &g->plane);
  g->n_lines = reach_inside(&a[IFD_K_H], s->in[IFD_K_H], t->r0, r1, &g->line);
  g->n_columns = reach(&a[IFD_K_W], 0, width, &g->column);
  float *x = scratch, *sums = scratch + z.channels * z.x_channel;
  const float *w = weights_of(g);
  g->x = x;
  for (int64_t c0 = 0, n; c0 < c; c0 += n, w += n * g->phase.n_taps * 16) {
    n = ifd_min_i64(z.channels, c - c0);
    for (int64_t k = 0; k < n; k++) spread(g, c0 + k, x + k * z.x_channel);
    for (int64_t row = t->r0; row < r1; row++) {
      float *waiting = sums + (row - t->r0) * width * 16, *init = c0 ? waiting : NULL;
      ifd_conv_line l = line_at(g, n, z.x_channel, w, row);
      if (c0 + n == c)
        run_row(g, &l, &fused, row, init);
      else
        IFD_K(ifd_conv_line_find) (&l)(&l, 0, width, &(ifd_conv_sink){.init = init, .y = waiting});
    }
  }
}

static lines lines_of(const ifd_conv_task *t) {
  const ifd_k_conv_shape *s = &t->plan->shape;
  return (lines){.t = t,
                 .phase = ifd_conv_phase_at(s, t->part / s->out[IFD_K_D]),
                 .o_d = t->part % s->out[IFD_K_D],
                 .n_planes = s->in[IFD_K_D],
                 .n_lines = s->in[IFD_K_H],
                 .n_columns = s->in[IFD_K_W]};
}

void IFD_K(ifd_conv_depthwise)(const ifd_conv_task *t, void *scratch) {
  (void)scratch;
  lines g = lines_of(t);
  if (g.o_d >= g.phase.axis[IFD_K_D].n_places) return;
  for (g.block = t->b0; g.block < t->b1; g.block++) run_depthwise(&g);
}

void IFD_K(ifd_conv_grouped)(const ifd_conv_task *t, void *scratch) {
  lines g = lines_of(t);
  if (g.o_d >= g.phase.axis[IFD_K_D].n_places) return;
  for (g.block = t->b0; g.block < t->b1; g.block++) run_groups(&g, scratch);
}
