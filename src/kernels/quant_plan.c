/* Sizes and splitting of integer products: the same for every ISA. */
#include "kernels/launch.h"
#include "kernels/quant/quant.h"
#include "kernels/quant/sizes.h"
#include "kernels/quant/winograd.h"
#include "kernels/quotient.h"

enum { QUAD = 4, LANES = 16, TILE_BYTES = 64 };

size_t ifd_k_quant_scratch_len(const ifd_k_quant_product *p, int64_t m) {
  return ifd_quant_sizes_of(p, m).len;
}

/* ---- lines ---- */

static int64_t greatest_divisor(int64_t a, int64_t b) { return b ? greatest_divisor(b, a % b) : a; }

/* How lines are read when `merge` of the image's are one. */
static ifd_k_quant_lines lines_of(const ifd_k_conv_shape *s, int64_t samples, ifd_dot dot, int64_t merge) {
  const int64_t *kernel = s->kernel + IFD_K_H, *stride = s->stride + IFD_K_H, *out = s->out + IFD_K_H;
  int64_t line = s->dilation[IFD_K_W] == 1 ? kernel[1] : 1, lines[2];
  ifd_k_quant_lines l = {.merge = merge,
                         .pixel = merge * (s->c / s->groups),
                         .step = line > 1 ? stride[1] : 1,
                         .samples = samples * s->in[IFD_K_D]};
  const int64_t taps[2] = {merge, line}, steps[2] = {1, l.step};
  for (int i = 0; i < 2; i++) {
    int64_t pieces = ifd_ceil_div(kernel[i], taps[i]), apart = s->dilation[IFD_K_H + i] * (i ? 1 : merge);
    int64_t across = stride[i] / steps[i], phase = greatest_divisor(apart, across);
    l.axis[i].pieces = pieces, l.axis[i].apart = apart, l.axis[i].stride = across, l.axis[i].phase = phase;
    l.axis[i].phases = pieces == 1 ? 1 : across / phase;
    lines[i] = (pieces - 1) * apart / across + (i ? line - 1 : 0);
  }
  l.piece = ifd_ceil_div(line * l.pixel, dot == IFD_DOT_AMX ? TILE_BYTES : QUAD);
  l.piece *= dot == IFD_DOT_AMX ? TILE_BYTES : QUAD;
  l.height = out[0] + lines[0], l.width = out[1] + ifd_ceil_div(lines[1], l.step);
  l.reach = lines[0] * l.width + ifd_ceil_div(lines[1], l.step);
  l.m = ((l.samples - 1) * l.height + out[0] - 1) * l.width + out[1];
  return l;
}

/* What a step of 64 bytes costs a row and a panel of columns; and the rows that are there to be summed. */
static double step_cost(ifd_dot dot) { return dot == IFD_DOT_AMX ? 1 : 8; }
static double summed_rows(int64_t m, ifd_dot dot) {
  return (double)(dot == IFD_DOT_AMX ? ifd_ceil_div(m, IFD_QUANT_TILE) * IFD_QUANT_TILE : m);
}

static double steps(int64_t bytes) { return (double)ifd_ceil_div(bytes, 64); }

static double lines_cost(const ifd_k_quant_lines *l, int64_t panels, ifd_dot dot) {
  const double bytes = (double)(l->axis[0].pieces * l->axis[1].pieces * l->piece),
               planes = (double)(l->axis[0].phases * l->axis[1].phases),
               copied = (double)(l->merge * l->step) * steps(l->pixel / l->merge);
  return summed_rows(l->m, dot) * bytes / 64 * (double)panels * step_cost(dot) +
         (double)l->m * planes * copied;
}

static double gathered_cost(const ifd_k_conv_shape *s, int64_t samples, int64_t panels, ifd_dot dot) {
  const bool whole = s->groups == 1 && s->dilation[IFD_K_W] == 1;
  const int64_t cg = s->c / s->groups, taps = whole ? s->kernel[IFD_K_W] : 1,
                runs = s->kernel[IFD_K_H] * s->kernel[IFD_K_W] / taps,
                m = samples * s->out[IFD_K_D] * s->out[IFD_K_H] * s->out[IFD_K_W];
  const double run = 3, move = 4;
  return summed_rows(m, dot) * steps(runs * taps * cg) * (double)panels * step_cost(dot) +
         (double)(m * runs) * (move * steps(taps * cg) + run);
}

/* Depth is but more samples; pixels that are read ahead are not worth more than half of what a block may
 * hold. */
static bool suits_lines(const ifd_k_conv_shape *s) {
  const int d = IFD_K_D;
  return s->kernel[d] == 1 && s->in[d] == s->out[d] && !s->pad[d] && (s->in[d] == 1 || s->stride[d] == 1);
}
static bool fits_lines(const ifd_k_quant_lines *l) {
  int64_t bytes = l->step * l->pixel * l->axis[0].phases * l->axis[1].phases;
  return (double)l->reach * (double)bytes <= IFD_QUANT_L2 / 2;
}

bool ifd_k_quant_lines_init(ifd_k_quant_lines *l, const ifd_k_conv_shape *s, int64_t samples, ifd_dot dot,
                            bool exact) {
  const int64_t panels = ifd_ceil_div(s->m / s->groups, LANES), cg = s->c / s->groups;
  const int64_t line = s->dilation[IFD_K_W] == 1 ? s->kernel[IFD_K_W] : 1;
  const bool pads = dot == IFD_DOT_AMX && !exact;
  const int64_t most = pads && line == s->kernel[IFD_K_W] ? TILE_BYTES / (line * cg) : 1;
  double least = gathered_cost(s, samples, panels, dot);
  bool found = false;
  if (dot == IFD_DOT_PLAIN || !suits_lines(s)) return false;
  for (int64_t merge = 1; merge == 1 || merge <= ifd_min_i64(most, s->kernel[IFD_K_H]); merge++) {
    ifd_k_quant_lines how = lines_of(s, samples, dot, merge);
    double cost = lines_cost(&how, panels, dot);
    if (cost >= least || (!pads && how.piece != line * how.pixel) || !fits_lines(&how)) continue;
    *l = how, least = cost, found = true;
  }
  return found;
}

void ifd_k_quant_lines_matrix(ifd_k_quant_matrix *w, const ifd_k_quant_lines *l, const ifd_k_conv_shape *s) {
  w->k = l->axis[0].pieces * l->axis[1].pieces * l->piece;
  w->piece = l->piece, w->merge = l->merge;
  w->lines = s->kernel[IFD_K_H] * l->axis[1].pieces, w->line = s->kernel[IFD_K_W] / l->axis[1].pieces;
  w->line_rs = w->line, w->tap_rs = 1;
}

/* ---- Winograd ---- */

/* Sums of taps that meet int8, modulo 2^32 less what is shifted out. */
static bool fits_winograd(const ifd_k_quant_winograd *w) {
  const int64_t most = 128 * 128 * IFD_QUANT_TAPS * IFD_QUANT_TAPS * w->c;
  return most < (int64_t)1 << (31 - ifd_quant_shifts(w->outputs[0]) - ifd_quant_shifts(w->outputs[1]));
}

static ifd_k_quant_winograd winograd_of(const ifd_k_conv_shape *s, int64_t samples,
                                        const int64_t outputs[2]) {
  ifd_k_quant_winograd w = {.c = s->c / s->groups, .m = samples * s->in[IFD_K_D]};
  for (int i = 0; i < 2; i++) {
    w.outputs[i] = outputs[i];
    w.tiles[i] = ifd_ceil_div(s->out[IFD_K_H + i], outputs[i]);
    w.m *= w.tiles[i];
  }
  return w;
}

/* In cycles; n columns. */
static double winograd_cost(const ifd_k_quant_winograd *w, int64_t n) {
  const double products = 25, bytes = 6, input = 2.5, sum = 3.5, output = 12;
  const double points = (double)ifd_quant_points(w->outputs), m = (double)w->m;
  const double c = (double)ifd_ceil_div(w->c, LANES), panels = (double)ifd_ceil_div(n, LANES);
  return m * points * c * panels * LANES * LANES / products +
         (double)ifd_quant_points_len(w->outputs, w->c) * panels / bytes + m * c * points * input +
         m * panels * (points * sum + (double)(w->outputs[0] * w->outputs[1]) * output);
}

static double direct_cost(const ifd_k_conv_shape *s, int64_t samples, int64_t n) {
  const double products = 30, copied = 2, output = 12;
  const double k = (double)(IFD_QUANT_TAPS * IFD_QUANT_TAPS * s->c / s->groups);
  const double m = (double)(samples * s->in[IFD_K_D] * s->out[IFD_K_H] * s->out[IFD_K_W]),
               panels = (double)ifd_ceil_div(n, LANES);
  return m * (k * panels * LANES / products + k / 32 * copied + panels * output);
}

bool ifd_k_quant_winograd_init(ifd_k_quant_winograd *w, const ifd_k_conv_shape *s, int64_t samples,
                               ifd_dot dot) {
  static const int64_t outputs[][2] = {{2, 2}, {2, 4}, {4, 2}, {4, 4}};
  const int64_t n = s->m / s->groups;
  double least = direct_cost(s, samples, n);
  bool found = false;
  if (dot != IFD_DOT_PLAIN || !suits_lines(s)) return false;
  for (int i = IFD_K_H; i <= IFD_K_W; i++)
    if (s->kernel[i] != IFD_QUANT_TAPS || s->stride[i] != 1 || s->dilation[i] != 1) return false;
  for (size_t i = 0; i < sizeof outputs / sizeof *outputs; i++) {
    const ifd_k_quant_winograd how = winograd_of(s, samples, outputs[i]);
    const double cost = winograd_cost(&how, n);
    if (cost >= least || !fits_winograd(&how)) continue;
    *w = how, least = cost, found = true;
  }
  return found;
}

size_t ifd_k_quant_winograd_scratch_len(const ifd_k_quant_winograd *w, int64_t tiles) {
  return ifd_quant_winograd_sizes_of(w, tiles).len;
}

/* ---- elements ---- */

/* With u = 2^-24, the most that a rounding is off, and f the factors' sum: the folded way is off by 255 fu
 * for the factors and (255 f + 255) u for the shift and each of two sums, the other one by 255 fu for the
 * operands, their sum and the quotient. Of a product of up to 255 * 255 = p: 2 pfu + 255 u, and 4 pfu. */
void ifd_k_quant_fold(ifd_k_quant_binary *q) {
  const double a = (double)q->a.scale, b = (double)q->b.scale, y = (double)q->scale;
  const int32_t zero_a = q->a.zero + (q->a.is_signed ? 128 : 0),
                zero_b = q->b.zero + (q->b.is_signed ? 128 : 0);
  const double fold_a = (q->multiplies ? a * b : a) / y, fold_b = q->multiplies ? 0 : b / y;
  const double shift = q->zero - (q->multiplies ? 0 : zero_a * fold_a + zero_b * fold_b);
  const double f = fabs(fold_a) + fabs(fold_b);
  const double off = (q->multiplies ? 400000 * f + 300 : 1800 * f + 800) * 0x1p-24;
  const bool holds =
      ifd_has_quotients(q->a.scale) && ifd_has_quotients(q->b.scale) && ifd_has_quotients(q->scale);
  q->fold_a = (float)fold_a, q->fold_b = (float)fold_b, q->shift = (float)shift;
  q->sure = holds && off < 0.25 ? (float)(0.5 - off) : 0;
}

/* ---- the rest ---- */

/* A "line" of such a piece is a column of taps, whose places are lines. */
void ifd_k_quant_quads_matrix(ifd_k_quant_matrix *w, const ifd_k_conv_shape *s) {
  const int64_t lines = s->kernel[IFD_K_D] * s->kernel[IFD_K_H];
  w->inner = w->merge = 1, w->piece = ifd_quant_quads_sizes_of(s).groups * QUAD;
  w->line = lines, w->lines = s->kernel[IFD_K_W];
  w->line_rs = 1, w->tap_rs = s->kernel[IFD_K_W];
  w->outer_rs = 1, w->k = w->lines * w->piece;
}

size_t ifd_k_quant_depthwise_scratch_len(const ifd_k_conv_shape *shape) {
  size_t len = ifd_quant_depthwise_sizes_of(shape).len, quads = ifd_quant_quads_sizes_of(shape).len;
  return len > quads ? len : quads;
}

/* m rows, at least so many a task and whole blocks of them, and n columns. */
static ifd_k_quant_grid split(int64_t wish, int64_t m, int64_t n, int64_t least, int64_t whole) {
  int64_t n_m = ifd_max_i64(1, ifd_min_i64(wish, m / least));
  int64_t n_n = ifd_min_i64(ifd_ceil_div(wish, n_m), ifd_ceil_div(n, 128));
  ifd_k_quant_grid g = {.m_step = ifd_ceil_div(m, n_m),
                        .n_step = ifd_ceil_div(ifd_ceil_div(n, n_n), 64) * 64};
  if (n_m > 1) g.m_step = ifd_ceil_div(g.m_step, whole) * whole;
  g.n_m = ifd_ceil_div(m, g.m_step);
  g.n_tasks = g.n_m * ifd_ceil_div(n, g.n_step);
  return g;
}

/* A sum costs as much to finish, and a weight to read, as so many products. Rows are shared out first, since
 * a task packs the rows of A that it reads; so one thread has one task. */
ifd_k_quant_grid ifd_k_quant_split(const ifd_k_quant_product *p, int threads) {
  const double task = 1 << 23, finish = 256, weight = 32;
  const int64_t whole = p->dot == IFD_DOT_AMX ? 2 * IFD_QUANT_TILE : 112;
  int64_t wish = ifd_tasks_worth(((double)p->m + weight) * (double)p->n * ((double)p->k + finish), task);
  return split(threads == 1 ? 1 : wish, p->m, p->n, 56, whole);
}

ifd_k_quant_grid ifd_k_quant_winograd_split(const ifd_k_quant_winograd *w, int64_t n, int threads) {
  const double task = 20000;
  return split(threads == 1 ? 1 : ifd_tasks_worth(winograd_cost(w, n), task), w->m, n, 24, 1);
}
