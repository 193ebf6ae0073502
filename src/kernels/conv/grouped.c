/* Depthwise convolutions and those of groups that do not fill blocks. A part is a phase and a plane of
 * outputs in depth, rows are its lines. With several input channels to a group, one after another is spread
 * over the lanes of the outputs that read it, and sums wait in scratch in between. */
#include "kernels/conv/line.h"

/* Lines of outputs of a block in one plane, and what they read: an input channel for each lane, of which
 * planes [plane, …) and lines [line, line + n_lines) of x are there. */
typedef struct lines {
  const ifd_conv_task *t;
  ifd_conv_phase phase;
  int64_t o_d, block;
  const float *x;
  int64_t plane, n_planes, line, n_lines;
} lines;

/* What row r reads, with the taps of one input channel. */
static ifd_conv_line line_at(const lines *g, const float *w, int64_t row) {
  const int64_t *in = g->t->plan->shape.in;
  const ifd_conv_axis *d = &g->phase.axis[IFD_K_D], *h = &g->phase.axis[IFD_K_H],
                      *c = &g->phase.axis[IFD_K_W];
  int64_t width = in[IFD_K_W], tap_d, tap_h;
  ifd_conv_line l = {
      .n_w = c->n_taps, .begin = c->begin, .step = c->step, .tap_step = c->tap_step, .width = width};
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
  int64_t phase = g->t->part / s->out[IFD_K_D], c = s->c / s->groups, before = 0;
  for (int64_t i = 0; i < phase; i++) before += ifd_conv_phase_at(s, i).n_taps;
  return g->t->packed + (before * ifd_ceil_div(s->m, 16) + g->block * g->phase.n_taps) * c * 16;
}

/* ---- depthwise: x as it lies ---- */

/* A row whose epilogue needs more than registers, or whose outputs are apart: by parts through a buffer. */
static void run_buffered(const lines *g, const ifd_conv_line *l, ifd_conv_line_kernel run, int64_t at) {
  enum { PART = 64 };
  float sums[PART * 16] __attribute__((aligned(64)));
  const ifd_conv_axis *a = &g->phase.axis[IFD_K_W];
  ifd_conv_line part = *l;
  for (int64_t o = 0; o < a->n_places; o += PART) {
    int64_t n = ifd_min_i64(PART, a->n_places - o);
    part.begin = l->begin + o * l->step;
    run(&part, 0, n, &(ifd_conv_sink){.y = sums});
    ifd_conv_finish(g->t, sums, g->block, at + o * a->y_step, n, a->y_step);
  }
}

static void run_depthwise(lines *g) {
  const ifd_conv_task *t = g->t;
  const ifd_conv_axis *a = &g->phase.axis[IFD_K_W];
  const float *w = weights_of(g);
  ifd_conv_sink to = {.fused = ifd_conv_fuse(t, g->block)};
  g->x = t->x + g->block * t->x_plane * 16;
  for (int64_t row = t->r0; row < ifd_min_i64(t->r1, g->phase.axis[IFD_K_H].n_places); row++) {
    ifd_conv_line l = line_at(g, w, row);
    ifd_conv_line_kernel run = IFD_K(ifd_conv_line_find)(&l);
    int64_t at = output_at(g, row);
    to.y = t->y + (g->block * t->y_plane + at) * 16;
    to.other = t->epilogue.join ? t->epilogue.other + (to.y - t->y) : NULL;
    if (to.fused.fits && a->y_step == 1)
      run(&l, 0, a->n_places, &to);
    else
      run_buffered(g, &l, run, at);
  }
}

/* ---- groups ---- */

/* The lanes of a block that read one input channel. */
typedef struct source {
  const float *x; /* the channel's first pixel */
  m16 lanes;
} source;

static int sources_of(const lines *g, int64_t channel, source sources[16]) {
  const ifd_k_conv_shape *s = &g->t->plan->shape;
  int64_t m = s->m / s->groups, c = s->c / s->groups, from = g->block * 16, to = ifd_min_i64(from + 16, s->m);
  int n = 0;
  for (int64_t end; from < to; from = end) {
    int64_t group = from / m, at = group * c + channel;
    end = ifd_min_i64((group + 1) * m, to);
    sources[n].x = g->t->x + at / 16 * g->t->x_plane * 16 + at % 16;
    sources[n++].lanes =
        m16_andnot(m16_first((int)(end - g->block * 16)), m16_first((int)(from - g->block * 16)));
  }
  return n;
}

/* Input channel `channel` of every group to the lanes that read it. */
static void spread(const lines *g, int64_t channel, float *to) {
  const int64_t *in = g->t->plan->shape.in;
  source sources[16];
  int n = sources_of(g, channel, sources);
  for (int64_t plane = g->plane; plane < g->plane + g->n_planes; plane++) {
    int64_t from = (plane * in[IFD_K_H] + g->line) * in[IFD_K_W];
    for (int64_t p = from; p < from + g->n_lines * in[IFD_K_W]; p++, to += 16) {
      v16 v = v16_zero();
      for (int i = 0; i < n; i++) v = v16_select(sources[i].lanes, v16_set1(sources[i].x[p * 16]), v);
      v16_store(to, v);
    }
  }
}

/* What places [o0, o1) read of a dimension: from *first on, so many; at least one. */
static int64_t reach(const ifd_conv_axis *a, int64_t size, int64_t o0, int64_t o1, int64_t *first) {
  int64_t last_tap = (a->n_taps - 1) * a->tap_step;
  int64_t lo = a->begin + o0 * a->step + ifd_min_i64(0, last_tap);
  int64_t hi = a->begin + (o1 - 1) * a->step + ifd_max_i64(0, last_tap);
  *first = ifd_max_i64(0, ifd_min_i64(lo, size - 1));
  return ifd_max_i64(*first, ifd_min_i64(hi, size - 1)) - *first + 1;
}

static void run_groups(lines *g, float *scratch) {
  const ifd_conv_task *t = g->t;
  const ifd_k_conv_shape *s = &t->plan->shape;
  const ifd_conv_axis *a = g->phase.axis;
  int64_t c = s->c / s->groups, width = a[IFD_K_W].n_places, r1 = ifd_min_i64(t->r1, a[IFD_K_H].n_places);
  if (r1 <= t->r0) return;
  g->n_planes = reach(&a[IFD_K_D], s->in[IFD_K_D], g->o_d, g->o_d + 1, &g->plane);
  g->n_lines = reach(&a[IFD_K_H], s->in[IFD_K_H], t->r0, r1, &g->line);
  float *sums = scratch, *x = scratch + t->plan->rows * t->plan->shape.out[IFD_K_W] * 16;
  const float *w = weights_of(g);
  g->x = x;
  for (int64_t channel = 0; channel < c; channel++, w += g->phase.n_taps * 16) {
    spread(g, channel, x);
    for (int64_t row = t->r0; row < r1; row++) {
      float *y = sums + (row - t->r0) * width * 16;
      ifd_conv_line l = line_at(g, w, row);
      IFD_K(ifd_conv_line_find) (&l)(&l, 0, width, &(ifd_conv_sink){.init = channel ? y : NULL, .y = y});
    }
  }
  for (int64_t row = t->r0; row < r1; row++)
    ifd_conv_finish(t, sums + (row - t->r0) * width * 16, g->block, output_at(g, row), width,
                    a[IFD_K_W].y_step);
}

static lines lines_of(const ifd_conv_task *t) {
  const ifd_k_conv_shape *s = &t->plan->shape;
  return (lines){.t = t,
                 .phase = ifd_conv_phase_at(s, t->part / s->out[IFD_K_D]),
                 .o_d = t->part % s->out[IFD_K_D],
                 .n_planes = s->in[IFD_K_D],
                 .n_lines = s->in[IFD_K_H]};
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
