/* The convolution as a product of places and taps: A's segments are (16 input channels of the group, tap), or
 * the taps first, gathered from x as they are needed, or x itself where a place reads only its own pixel. A
 * part is a phase and a group. A group may begin and end within a block: its segments then come from two
 * blocks of x, and its columns go to the lanes of y that are its own. Phases may all be one part, whose
 * columns are their channels (phase.h). */
#include "kernels/conv/task.h"

/* Rows of the product: output places of a phase, from `first` on; where a sample has one place alone,
 * samples. */
typedef struct places {
  const ifd_conv_task *task;
  ifd_conv_phase phase;
  const float *x;  /* the block in which the group's channels begin */
  int64_t lane;    /* of the first of them */
  int64_t channel; /* of the output, of the product's first column; of boxes, the group's first */
  int64_t column;  /* the first, of the group's */
  int64_t first;
  int64_t blocks; /* of channels, where they come after the taps; else 0 */
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

static tap tap_of(const places *of, int64_t segment) {
  const ifd_conv_phase *p = &of->phase;
  tap t = {.block = of->blocks ? segment % of->blocks : segment / p->n_taps};
  int64_t index = of->blocks ? segment / of->blocks : segment % p->n_taps;
  for (int d = IFD_K_DIMS; d-- > 0; index /= p->axis[d].n_taps) t.at[d] = index % p->axis[d].n_taps;
  return t;
}

static void next_tap(const places *of, tap *t) {
  const ifd_conv_phase *p = &of->phase;
  if (of->blocks && ++t->block < of->blocks) return;
  if (of->blocks) t->block = 0;
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

/* The same of 16 channels from lane `lane` of the block on; where they reach into the next block, that is
 * `next` further. */
static void copy_lanes(float *to, const float *line, int64_t width, int64_t i, int64_t step, int64_t n,
                       int lane, int64_t next) {
  for (int64_t k = 0; k < n; k++, i += step, to += 16) {
    bool inside = i >= 0 && i < width;
    v16_store(to, inside ? v16_load_n(line + i * 16 + lane, 16 - lane) : v16_zero());
    if (inside && next) v16_store_n(to + 16 - lane, v16_load(line + i * 16 + next), lane);
  }
}

static void gather_tap(const places *p, float *to, const run *r, const tap *t) {
  const ifd_conv_task *task = p->task;
  const ifd_k_conv_shape *s = &task->plan->shape;
  const int64_t *in = s->in;
  const ifd_conv_axis *a = p->phase.axis;
  int64_t line = 0;
  bool inside = true;
  for (int d = 0; d < IFD_K_W; d++) {
    int64_t i = input_place(&a[d], r->at[d], t->at[d]);
    inside = inside && i >= 0 && i < in[d];
    line = line * in[d] + i;
  }
  const float *x = r->x + (t->block * task->x_plane + (inside ? line : 0) * in[IFD_K_W]) * 16;
  int64_t width = inside ? in[IFD_K_W] : 0, i = input_place(&a[IFD_K_W], r->at[IFD_K_W], t->at[IFD_K_W]);
  int64_t channels = ifd_min_i64(16, s->c / s->groups - t->block * 16);
  if (p->lane == 0)
    copy_pixels(to, x, width, i, a[IFD_K_W].step, r->n);
  else
    copy_lanes(to, x, width, i, a[IFD_K_W].step, r->n, (int)p->lane,
               p->lane + channels > 16 ? task->x_plane * 16 : 0);
}

/* n pixels of a block of x, as they shall be read. */
static void prepare(const ifd_k_prologue *p, int64_t block, float *x, int64_t n) {
  const v16 scale = v16_load(p->scale + block * 16), shift = v16_load(p->shift + block * 16);
  const v16 lo = v16_set1(p->lo), hi = v16_set1(p->hi);
  for (int64_t i = 0; i < n; i++) {
    v16 v = v16_add(v16_mul(v16_load(x + i * 16), scale), shift);
    v16_store(x + i * 16, v16_min(hi, v16_max(lo, v)));
  }
}

static void gather(const void *source, float *to, int64_t i0, int64_t i1, int64_t s0, int64_t s1) {
  const places *p = source;
  for (int64_t i = i0; i < i1 && s0 < s1;) {
    run r = run_from(p, i, i1);
    tap t = tap_of(p, s0);
    for (int64_t s = s0; s < s1; s++, next_tap(p, &t)) {
      float *at = to + ((s - s0) * (i1 - i0) + i - i0) * 16;
      gather_tap(p, at, &r, &t);
      if (p->task->prologue) prepare(p->task->prologue, t.block, at, r.n);
    }
    i += r.n;
  }
}

/* Sums of n pixels `apart` from one another to channels [channel, channel + n_cols) of one block, and zeros
 * to the lanes that no channel has. */
static void put_lanes(const places *p, const float *sums, int64_t sums_rs, int64_t pixel, int64_t n,
                      int64_t apart, int64_t channel, int64_t n_cols) {
  const ifd_conv_task *t = p->task;
  const ifd_k_epilogue *e = &t->epilogue;
  int64_t lane = channel % 16, at = (channel / 16 * t->y_plane + pixel) * 16 + lane;
  IFD_K(ifd_k_finish)
  (e, &(ifd_k_tile){.sums = sums,
                    .sums_rs = sums_rs,
                    .y = t->y + at,
                    .y_rs = apart * 16,
                    .other = e->join ? e->other + at : NULL,
                    .other_rs = apart * 16,
                    .bias = e->bias ? e->bias + channel : NULL,
                    .n_rows = n,
                    .n_cols = n_cols});
  int beyond = channel + n_cols == t->plan->shape.m ? (int)(16 - lane - n_cols) : 0;
  for (int64_t i = 0; i < n && beyond; i++)
    v16_store_n(t->y + at + n_cols + i * apart * 16, v16_zero(), beyond);
}

/* A block of sums to the outputs of its phase, which are y_step apart, and to its group's channels. */
static void scatter(const ifd_product *product, const float *sums, int64_t columns, int64_t i0, int64_t i1,
                    int64_t j0, int64_t j1) {
  const places *p = product->source;
  const ifd_conv_axis *a = p->phase.axis;
  for (int64_t i = i0; i < i1;) {
    run r = run_from(p, i, i1);
    int64_t y = 0;
    for (int d = 0; d < IFD_K_DIMS; d++)
      y = y * p->task->plan->shape.out[d] + a[d].y_begin + r.at[d] * a[d].y_step;
    for (int64_t j = ifd_max_i64(j0, product->skip), n; j < j1; j += n) {
      int64_t channel = p->channel + j;
      n = ifd_min_i64(16 - channel % 16, j1 - j);
      put_lanes(p, sums + (i - i0) * columns + j - j0, columns, y, r.n, a[IFD_K_W].y_step, channel, n);
    }
    i += r.n;
  }
}

/* ---- one line: a strip of x, read at every tap ---- */

static void fill_strip(const places *p, const ifd_conv_strip *z, float *to) {
  const ifd_k_conv_shape *s = &p->task->plan->shape;
  int64_t stride = s->stride[IFD_K_W], width = s->in[IFD_K_W], blocks = ifd_ceil_div(s->c / s->groups, 16);
  int64_t n = z->by_taps ? s->kernel[IFD_K_W] : stride, apart = z->by_taps ? s->dilation[IFD_K_W] : 1;
  for (int64_t b = 0; b < blocks; b++)
    for (int64_t i = 0; i < n; i++)
      copy_pixels(to + b * z->block + i * z->pitch * 16, p->x + b * p->task->x_plane * 16, width,
                  p->first * stride - s->pad[IFD_K_W] + i * apart, stride, z->pitch);
}

static void fill_places(const places *p, const ifd_conv_strip *z, int64_t *at) {
  const ifd_k_conv_shape *s = &p->task->plan->shape;
  int64_t stride = s->stride[IFD_K_W], blocks = ifd_ceil_div(s->c / s->groups, 16);
  for (int64_t t = 0; t < s->kernel[IFD_K_W]; t++) {
    int64_t column = t * s->dilation[IFD_K_W];
    int64_t first = z->by_taps ? t * z->pitch : column % stride * z->pitch + column / stride;
    for (int64_t b = 0; b < blocks; b++)
      at[p->blocks ? t * blocks + b : b * s->kernel[IFD_K_W] + t] = b * z->block + first * 16;
  }
}

/* The outputs [o, returned) before `end` that meet the same taps inside x, of which there is one at least, or
 * one that reads zeros. */
static int64_t same_taps(const ifd_k_conv_shape *s, int64_t o, int64_t end, int64_t *first, int64_t *n) {
  *first = *n = 0;
  for (int64_t t = 0; t < s->kernel[IFD_K_W]; t++) {
    int64_t from, to = INT64_MAX;
    ifd_conv_tap_reach(s, t, &from, &to);
    if (from <= o && o < to && (*n)++ == 0) *first = t;
    if (from > o) end = ifd_min_i64(end, from);
    if (to > o) end = ifd_min_i64(end, to);
  }
  if (*n == 0) *n = 1;
  return end;
}

/* Rows of a strip at x, without the taps that are padding. */
static void run_inside(const places *p, const ifd_product *all, void *scratch) {
  const ifd_k_conv_shape *s = &p->task->plan->shape;
  ifd_k_epilogue e = *all->epilogue;
  for (int64_t i = 0, end, first, n; i < all->m; i = end) {
    ifd_product some = *all;
    end = same_taps(s, p->first + i, p->first + all->m, &first, &n) - p->first;
    some.m = end - i, some.n_full = n * p->blocks, some.b_steps = p->phase.steps;
    some.a += i * 16, some.c += i * all->c_rs;
    some.at += first * p->blocks, some.b += first * p->blocks * 16 * 16;
    some.epilogue = &e;
    if (e.join) e.other = all->epilogue->other + i * all->other_rs;
    IFD_K(ifd_product_run)(&some, scratch);
  }
}

static void run_whole(const places *p, const ifd_product *all, void *scratch) {
  (void)p;
  IFD_K(ifd_product_run)(all, scratch);
}

/* The product by strips of rows. */
static void run_line(places *p, ifd_product *product, ifd_k_epilogue *e, void *scratch) {
  const ifd_k_conv_plan *plan = p->task->plan;
  bool skips = ifd_conv_skips_padding(&plan->shape);
  int64_t n_rows = product->m;
  ifd_conv_strip z = ifd_conv_strip_of(&plan->shape, plan->rows);
  char *strip = (char *)scratch + plan->scratch_len - z.len; /* what follows the product's */
  float *x = (float *)(strip + z.table);
  fill_places(p, &z, (int64_t *)strip);
  product->pack = NULL, product->a = x, product->at = (int64_t *)strip;
  for (int64_t i = 0, n; i < n_rows; i += n) {
    n = product->m = ifd_min_i64(z.rows, n_rows - i);
    fill_strip(p, &z, x);
    (skips ? run_inside : run_whole)(p, product, scratch);
    p->first += n;
    product->c += n * product->c_rs;
    if (e->join) e->other += n * product->other_rs;
  }
}

/* ---- boxes: all phases ---- */

/* Output of an axis at remainder `rest` of box `place`; it may lie outside. */
static int64_t output_at(const ifd_conv_axis *a, int64_t place, int64_t rest) {
  return a->y_begin + place * a->y_step + rest;
}

/* The first pixel of the line of outputs that a run meets at these remainders, or -1. */
static int64_t line_of(const places *p, const run *r, const ifd_conv_column *c) {
  const int64_t *out = p->task->plan->shape.out;
  int64_t line = 0;
  for (int d = 0; d < IFD_K_W; d++) {
    int64_t o = output_at(&p->phase.axis[d], r->at[d], c->rest[d]);
    if (o < 0 || o >= out[d]) return -1;
    line = line * out[d] + o;
  }
  return line * out[IFD_K_W];
}

/* Of the columns from j0 on, those of one phase and one block of y; how many is returned. */
static int64_t put_phase(const places *p, const float *sums, int64_t columns, const run *r, int64_t j,
                         int64_t j1) {
  const ifd_k_conv_shape *s = &p->task->plan->shape;
  const ifd_conv_axis *a = &p->phase.axis[IFD_K_W];
  ifd_conv_column c = ifd_conv_column_at(s, IFD_K_CONV_PHASES, p->column + j);
  int64_t channel = p->channel + c.channel,
          n = ifd_min_i64(ifd_min_i64(s->m / s->groups - c.channel, 16 - channel % 16), j1 - j);
  int64_t line = line_of(p, r, &c), o = output_at(a, r->at[IFD_K_W], c.rest[IFD_K_W]);
  int64_t from = o < 0 ? ifd_ceil_div(-o, a->y_step) : 0,
          end = o < s->out[IFD_K_W] ? (s->out[IFD_K_W] - 1 - o) / a->y_step + 1 : 0;
  end = ifd_min_i64(end, r->n);
  if (line >= 0 && from < end)
    put_lanes(p, sums + from * columns, columns, line + o + from * a->y_step, end - from, a->y_step, channel,
              n);
  return n;
}

/* The same to y that is not blocked: columns of one channel and one line of outputs, places of a run. */
static int64_t put_box(const places *p, const float *sums, int64_t columns, const run *r, int64_t j,
                       int64_t j1) {
  const ifd_conv_task *t = p->task;
  const ifd_k_conv_shape *s = &t->plan->shape;
  const ifd_k_epilogue *e = &t->epilogue;
  const ifd_conv_axis *a = &p->phase.axis[IFD_K_W];
  ifd_conv_column c = ifd_conv_column_at(s, IFD_K_CONV_PHASES_OUT, p->column + j);
  int64_t width = s->out[IFD_K_W], n = ifd_min_i64(a->y_step - c.rest[IFD_K_W], j1 - j);
  int64_t line = line_of(p, r, &c), at_once;
  float bias[IFD_PRODUCT_ROWS];
  for (int64_t i = 0; i < r->n && e->bias; i++) bias[i] = e->bias[c.channel];
  for (int64_t i = 0; i < r->n && line >= 0; i += at_once) {
    int64_t o = output_at(a, r->at[IFD_K_W] + i, c.rest[IFD_K_W]);
    int64_t from = ifd_max_i64(0, -o), end = ifd_min_i64(n, width - o);
    int64_t at = c.channel * t->y_plane + line + o + from;
    at_once = from ? 1 : ifd_min_i64(r->n - i, ifd_max_i64(1, (width - o - n) / a->y_step + 1));
    if (from >= end) continue;
    IFD_K(ifd_k_finish)
    (e, &(ifd_k_tile){.sums = sums + i * columns + from,
                      .sums_rs = columns,
                      .sums_vs = 16,
                      .y = t->y + at,
                      .y_rs = a->y_step,
                      .y_vs = 16,
                      .other = e->join ? e->other + at : NULL,
                      .other_rs = a->y_step,
                      .other_vs = 16,
                      .row_bias = e->bias ? bias : NULL,
                      .n_rows = at_once,
                      .n_cols = end - from});
  }
  return n;
}

static void put_boxes(const ifd_product *product, const float *sums, int64_t columns, int64_t i0, int64_t i1,
                      int64_t j0, int64_t j1) {
  const places *p = product->source;
  bool out = p->task->plan->algo == IFD_K_CONV_PHASES_OUT;
  for (int64_t i = i0; i < i1;) {
    run r = run_from(p, i, i1);
    for (int64_t j = j0; j < j1;) {
      const float *at = sums + (i - i0) * columns + j - j0;
      j += out ? put_box(p, at, columns, &r, j, j1) : put_phase(p, at, columns, &r, j, j1);
    }
    i += r.n;
  }
}

/* ---- a task ---- */

/* Sums go to y as they are, from the block of the first column on. */
static void write_in_place(const places *p, ifd_product *product, ifd_k_epilogue *e) {
  const ifd_conv_task *t = p->task;
  bool spans = t->plan->spans_batch;
  int64_t block = p->channel * t->y_plane;
  product->c_rs = spans ? t->y_sample : 16;
  product->other_rs = spans ? t->other_sample : 16;
  product->c_vs = product->other_vs = t->y_plane * 16;
  product->c = t->y + block + t->r0 * product->c_rs;
  product->fill = p->channel + product->n == t->plan->shape.m;
  if (e->join) e->other += block + t->r0 * product->other_rs;
  if (e->bias) e->bias += p->channel;
}

/* x as it lies, from a lane of its first block on. */
static void read_in_place(const places *p, ifd_product *product) {
  int64_t c = p->phase.steps, head = p->lane + c > 16 ? (16 - p->lane) % 16 : 0;
  product->k_head = head;
  product->n_full = (c - head) / 16;
  product->n_part = (c - head) % 16 != 0;
  product->k_part = (c - head) % 16;
  product->a = p->x + p->first * 16 + (head ? 0 : p->lane);
  product->a_segment = p->task->x_plane * 16;
}

/* The product's first column is that of the task's first panel: one of the group's, or before its first lane,
 * or one of all phases'. */
void IFD_K(ifd_conv_direct)(const ifd_conv_task *t, void *scratch) {
  const ifd_k_conv_shape *s = &t->plan->shape;
  ifd_k_conv_algo algo = t->plan->algo;
  bool boxes = ifd_conv_has_boxes(algo), spans = t->plan->spans_batch;
  int64_t group = t->part % s->groups, phase = t->part / s->groups;
  int64_t from = group * (s->c / s->groups), to = group * (s->m / s->groups), lane = boxes ? 0 : to % 16;
  places p = {.task = t,
              .phase = boxes ? ifd_conv_boxes(s) : ifd_conv_phase_at(s, phase),
              .x = t->x + from / 16 * t->x_plane * 16,
              .lane = from % 16,
              .channel = boxes ? to : to - lane + t->b0 * 16,
              .column = t->b0 * 16,
              .first = t->r0,
              .blocks = ifd_conv_taps_first(s) ? s->c / s->groups / 16 : 0};
  int64_t n_rows = ifd_min_i64(t->r1, spans ? t->plan->batch : p.phase.n_places) - t->r0;
  int64_t n = ifd_min_i64(t->b1 * 16, lane + ifd_conv_product_columns(s, algo)) - t->b0 * 16;
  if (n_rows <= 0 || n <= 0) return;
  int64_t steps_before = p.phase.taps_before * s->c + p.phase.steps * group;
  ifd_k_epilogue e = t->epilogue;
  ifd_product product = {.m = n_rows,
                         .n = n,
                         .n_full = p.phase.n_full,
                         .n_part = p.phase.n_part,
                         .k_part = p.phase.k_part,
                         .source = &p,
                         .b = t->packed +
                              (steps_before * ifd_conv_panels(s, algo) + t->b0 * p.phase.steps) * 16,
                         .streams = ifd_product_streams(ifd_conv_product_columns(s, algo), p.phase.steps),
                         .skip = t->b0 == 0 ? lane : 0,
                         .store = boxes           ? put_boxes
                                  : s->transposed ? scatter
                                                  : NULL,
                         .epilogue = &e};
  if (ifd_conv_reads_as_it_lies(&p.phase, s) && !spans && !t->prologue)
    read_in_place(&p, &product);
  else
    product.pack = gather;
  if (!product.store) write_in_place(&p, &product, &e);
  if (ifd_conv_is_line(s))
    run_line(&p, &product, &e, scratch);
  else
    IFD_K(ifd_product_run)(&product, scratch);
}
