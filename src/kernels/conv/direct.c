/* The convolution as a product of places and taps: A's segments are (block of 16 input channels, tap),
 * gathered from x as they are needed, or x itself where a place reads only its own pixel. A part is a phase
 * and a group. */
#include "kernels/conv/task.h"

/* Rows of the product: output places of a phase, from `first` on; where a sample has one place alone,
 * samples. */
typedef struct places {
  const ifd_conv_task *task;
  ifd_conv_phase phase;
  const float *x; /* first block of channels of the group */
  int64_t first;
} places;

/* Places side by side on one line of outputs. */
typedef struct run {
  int64_t at[IFD_K_DIMS], n; /* the first, how many */
  const float *x;
} run;

static run run_from(const places *p, int64_t row, int64_t end) {
  const ifd_conv_axis *a = p->phase.axis;
  if (p->task->plan->spans_batch) return (run){.n = 1, .x = p->x + (p->first + row) * p->task->x_sample};
  int64_t width = a[IFD_K_W].n_places, place = p->first + row, line = place / width;
  run r = {.at = {line / a[IFD_K_H].n_places, line % a[IFD_K_H].n_places, place % width}, .x = p->x};
  r.n = ifd_min_i64(end - row, width - r.at[IFD_K_W]);
  return r;
}

/* What a run reads at one segment. */
typedef struct tap {
  int64_t block, at[IFD_K_DIMS];
} tap;

static tap tap_of(const ifd_conv_phase *p, int64_t segment) {
  tap t = {.block = segment / p->n_taps};
  int64_t index = segment % p->n_taps;
  for (int d = IFD_K_DIMS; d-- > 0; index /= p->axis[d].n_taps) t.at[d] = index % p->axis[d].n_taps;
  return t;
}

static void next_tap(const ifd_conv_phase *p, tap *t) {
  for (int d = IFD_K_DIMS; d-- > 0; t->at[d] = 0)
    if (++t->at[d] < p->axis[d].n_taps) return;
  t->block++;
}

static int64_t input_place(const ifd_conv_axis *a, int64_t place, int64_t tap) {
  return a->begin + place * a->step + tap * a->tap_step;
}

/* n pixels of a line, from column i on, `step` apart; zeros outside [0, width). */
static void copy_pixels(float *to, const float *line, int64_t width, int64_t i, int64_t step, int64_t n) {
  int64_t k = 0, inside = i < width ? ifd_min_i64(n, (width - 1 - i) / step + 1) : 0;
  for (; k < inside && i < 0; k++, i += step) v16_store(to + k * 16, v16_zero());
  for (; k < inside; k++, i += step) v16_store(to + k * 16, v16_load(line + i * 16));
  for (; k < n; k++) v16_store(to + k * 16, v16_zero());
}

static void gather_tap(const places *p, float *to, const run *r, const tap *t) {
  const ifd_conv_task *task = p->task;
  const int64_t *in = task->plan->shape.in;
  const ifd_conv_axis *a = p->phase.axis;
  int64_t line = 0;
  bool inside = true;
  for (int d = 0; d < IFD_K_W; d++) {
    int64_t i = input_place(&a[d], r->at[d], t->at[d]);
    inside = inside && i >= 0 && i < in[d];
    line = line * in[d] + i;
  }
  const float *x = r->x + (t->block * task->x_plane + (inside ? line : 0) * in[IFD_K_W]) * 16;
  copy_pixels(to, x, inside ? in[IFD_K_W] : 0, input_place(&a[IFD_K_W], r->at[IFD_K_W], t->at[IFD_K_W]),
              a[IFD_K_W].step, r->n);
}

static void gather(const void *source, float *to, int64_t i0, int64_t i1, int64_t s0, int64_t s1) {
  const places *p = source;
  for (int64_t i = i0; i < i1 && s0 < s1;) {
    run r = run_from(p, i, i1);
    tap t = tap_of(&p->phase, s0);
    for (int64_t s = s0; s < s1; s++, next_tap(&p->phase, &t))
      gather_tap(p, to + ((s - s0) * (i1 - i0) + i - i0) * 16, &r, &t);
    i += r.n;
  }
}

/* A block of sums to the outputs of its phase, which are y_step apart. */
static void scatter(const ifd_product *product, const float *sums, int64_t columns, int64_t i0, int64_t i1,
                    int64_t j0, int64_t j1) {
  const places *p = product->source;
  const ifd_conv_task *t = p->task;
  const ifd_k_epilogue *e = product->epilogue;
  for (int64_t i = i0; i < i1;) {
    run r = run_from(p, i, i1);
    int64_t y = 0;
    for (int d = 0; d < IFD_K_DIMS; d++)
      y = y * t->plan->shape.out[d] + p->phase.axis[d].y_begin + r.at[d] * p->phase.axis[d].y_step;
    int64_t apart = p->phase.axis[IFD_K_W].y_step * 16, at = (y + j0 / 16 * t->y_plane) * 16;
    IFD_K(ifd_k_finish)
    (e, &(ifd_k_tile){.sums = sums + (i - i0) * columns,
                      .sums_rs = columns,
                      .sums_vs = 16,
                      .y = product->c + at,
                      .y_rs = apart,
                      .y_vs = product->c_vs,
                      .other = e->join ? e->other + at : NULL,
                      .other_rs = apart,
                      .other_vs = product->other_vs,
                      .bias = e->bias ? e->bias + j0 : NULL,
                      .n_rows = r.n,
                      .n_cols = j1 - j0,
                      .fill = true});
    i += r.n;
  }
}

/* Floats of packed weights before the part's. */
static int64_t packed_before(const ifd_k_conv_shape *s, int64_t phase, int64_t group) {
  int64_t panels = ifd_ceil_div(s->m / s->groups, 16) * 16, before = 0;
  for (int64_t i = 0; i < phase; i++) before += ifd_conv_phase_at(s, i).steps * s->groups;
  return (before + ifd_conv_phase_at(s, phase).steps * group) * panels;
}

void IFD_K(ifd_conv_direct)(const ifd_conv_task *t, void *scratch) {
  const ifd_k_conv_shape *s = &t->plan->shape;
  int64_t group = t->part % s->groups, phase = t->part / s->groups;
  int64_t c = s->c / s->groups, m = s->m / s->groups, column = group * m + t->b0 * 16;
  places p = {
      .task = t, .phase = ifd_conv_phase_at(s, phase), .x = t->x + group * c * t->x_plane, .first = t->r0};
  bool spans = t->plan->spans_batch, in_place = ifd_conv_pointwise(s) && !spans;
  int64_t n_rows = ifd_min_i64(t->r1, spans ? t->plan->batch : p.phase.n_places) - t->r0;
  if (n_rows <= 0) return;
  int64_t y_row = spans ? t->y_sample : 16, other_row = spans ? t->other_sample : 16;
  int64_t from = s->transposed ? 0 : t->r0; /* scatter finds its places itself */
  ifd_k_epilogue e = t->epilogue;
  if (e.join) e.other += column * t->y_plane + from * other_row;
  if (e.bias) e.bias += column;
  IFD_K(ifd_product_run)
  (&(ifd_product){.m = n_rows,
                  .n = ifd_min_i64(t->b1 * 16, m) - t->b0 * 16,
                  .n_full = p.phase.n_full,
                  .n_part = p.phase.n_part,
                  .k_part = p.phase.k_part,
                  .pack = in_place ? NULL : gather,
                  .source = &p,
                  .a = p.x + t->r0 * 16,
                  .a_segment = t->x_plane * 16,
                  .b = t->packed + packed_before(s, phase, group) + t->b0 * 16 * p.phase.steps,
                  .c = t->y + column * t->y_plane + from * y_row,
                  .c_rs = y_row,
                  .c_vs = t->y_plane * 16,
                  .other_rs = other_row,
                  .other_vs = t->y_plane * 16,
                  .fill = true,
                  .store = s->transposed ? scatter : NULL,
                  .epilogue = &e},
   scratch);
}
