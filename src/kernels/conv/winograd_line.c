#include "kernels/conv/winograd_line.h"
#include "kernels/conv/task.h"
#include "kernels/gemm/ukr.h"

enum { POINTS = IFD_WINOGRAD_LINE_POINTS, MAX_OUT = IFD_WINOGRAD_LINE_OUT };
#define UNROLL_ _Pragma("GCC unroll 8")
#define C_(x)   v16_set1(x)

/* Bᵀ d: at point p, d's polynomial divided by the others' factors. The even and the odd inputs apart serve p
 * and -p. */
IFD_INLINE void transform_in(const v16 *d, v16 *o) {
  o[0] = v16_fma(C_(5.25f), v16_sub(d[2], d[4]), v16_sub(d[6], d[0]));
  o[7] = v16_fma(C_(5.25f), v16_sub(d[3], d[5]), v16_sub(d[7], d[1]));
  v16 even = v16_fma(C_(4), d[2], v16_fnma(C_(5), d[4], d[6]));
  v16 odd = v16_fma(C_(4), d[1], v16_fnma(C_(5), d[3], d[5]));
  o[1] = v16_fma(C_(0.5f), odd, even), o[2] = v16_fnma(C_(0.5f), odd, even);
  even = v16_fnma(C_(4.25f), d[4], v16_add(d[2], d[6]));
  odd = v16_fnma(C_(4.25f), d[3], v16_add(d[1], d[5]));
  o[3] = v16_add(even, odd), o[4] = v16_sub(even, odd);
  even = v16_fma(C_(0.25f), d[2], v16_fnma(C_(1.25f), d[4], d[6]));
  odd = v16_fma(C_(0.25f), d[1], v16_fnma(C_(1.25f), d[3], d[5]));
  o[5] = v16_fma(C_(2), odd, even), o[6] = v16_fnma(C_(2), odd, even);
}

/* Aᵀ m of OUT outputs: Σ p^i m. OUT is a constant wherever this is inlined. */
IFD_INLINE void transform_out(const int OUT, const v16 *m, v16 *o) {
  v16 s[3], e[3];
  UNROLL_ for (int k = 0; k < 3; k++) {
    s[k] = v16_add(m[1 + 2 * k], m[2 + 2 * k]);
    e[k] = v16_sub(m[1 + 2 * k], m[2 + 2 * k]);
  }
  o[0] = v16_add(v16_add(m[0], s[0]), v16_add(s[1], s[2]));
  UNROLL_ for (int i = 1; i < OUT; i++) {
    const v16 *of = i % 2 ? e : s;
    float power = (float)(1 << i);
    v16 middle = i == OUT - 1 ? v16_add(of[1], m[7]) : of[1];
    o[i] = v16_fma(C_(power), of[2], v16_fma(C_(1 / power), of[0], middle));
  }
}

/* A tile: its line's number and its own in that, the first output in each axis, how many there are. */
typedef struct tile {
  int64_t sample, line, nth, at[IFD_K_DIMS], n;
} tile;

/* Eight inputs of a tile in a plane of x; those outside [begin, end) are zeros. */
typedef struct window {
  int64_t at, begin, end; /* floats from the first sample's first pixel */
} window;

typedef struct work {
  const ifd_conv_task *t;
  ifd_winograd_line_sizes z;
  int64_t *at; /* of the segments in the inputs of a point */
  float *v, *m;
  int64_t apart; /* floats between inputs of a tile */
  tile tiles[IFD_WINOGRAD_LINE_TILES];
  int64_t n_tiles;
} work;

static int64_t pixels_apart(const int64_t *size, int axis) {
  int64_t n = 1;
  for (int d = axis + 1; d < IFD_K_DIMS; d++) n *= size[d];
  return n;
}

/* From its numbers and the places of the other axes to where it lies on its own. */
static void place_tile(const work *k, tile *t) {
  const ifd_k_conv_shape *s = &k->t->plan->shape;
  int axis = k->z.cut.axis;
  int64_t apart = s->dilation[axis], out = k->z.cut.out;
  t->at[axis] = t->line + t->nth * out * apart;
  int64_t left = s->out[axis] - t->at[axis];
  t->n = left > (out - 1) * apart ? out : left > 0 ? (left - 1) / apart + 1 : 0;
}

static tile tile_at(const work *k, int64_t index) {
  const ifd_k_conv_shape *s = &k->t->plan->shape;
  const ifd_winograd_line_sizes *z = &k->z;
  int64_t nth = index % z->tiles / z->lines, place = nth / z->per_line;
  tile t = {.sample = index / z->tiles, .line = index % z->lines, .nth = nth % z->per_line};
  for (int d = IFD_K_DIMS; d-- > 0;) {
    if (d == z->cut.axis) continue;
    t.at[d] = place % s->out[d];
    place /= s->out[d];
  }
  place_tile(k, &t);
  return t;
}

static __attribute__((noinline)) void next_tile(const work *k, tile *t) {
  if (++t->line == k->z.lines) {
    t->line = 0;
    if (++t->nth == k->z.per_line) {
      int d = IFD_K_DIMS;
      t->nth = 0;
      while (d-- > 0 && (d == k->z.cut.axis || ++t->at[d] == k->t->plan->shape.out[d])) t->at[d] = 0;
      t->sample += d < 0;
    }
  }
  place_tile(k, t);
}

/* What a tile reads at one tap; along the axis, part. */
static window window_of(const work *k, const tile *t, const int64_t *tap) {
  const ifd_k_conv_shape *s = &k->t->plan->shape;
  const ifd_winograd_line_cut *cut = &k->z.cut;
  int64_t per_phase = cut->parts / cut->phases;
  window w = {.end = POINTS};
  for (int d = 0; d < IFD_K_DIMS; d++) {
    bool along = d == cut->axis;
    int64_t at = along ? tap[d] / per_phase + tap[d] % per_phase * cut->taps * s->stride[d] : tap[d];
    int64_t i = t->at[d] * s->stride[d] + at * s->dilation[d] - s->pad[d], in = s->in[d];
    int64_t apart = s->stride[d] * s->dilation[d];
    w.at = w.at * in + i;
    if (!along && (i < 0 || i >= in)) w.end = 0;
    if (along && i < 0) w.begin = ifd_ceil_div(-i, apart);
    if (along && i + (POINTS - 1) * apart >= in)
      w.end = ifd_min_i64(w.end, i < in ? (in - 1 - i) / apart + 1 : 0);
  }
  w.at = t->sample * k->t->x_sample + w.at * 16;
  return w;
}

IFD_INLINE void put_points(const v16 *d, float *v, int64_t plane) {
  v16 o[POINTS];
  transform_in(d, o);
  UNROLL_ for (int p = 0; p < POINTS; p++) v16_store(v + p * plane, o[p]);
}

/* One block of channels of a tile, to v. */
static void tile_in(const float *x, int64_t apart, const window *w, float *v, int64_t plane) {
  v16 d[POINTS];
  if (w->begin == 0 && w->end == POINTS) {
    UNROLL_ for (int j = 0; j < POINTS; j++) d[j] = v16_load(x + w->at + j * apart);
  } else {
    for (int64_t j = 0; j < POINTS; j++)
      d[j] = j >= w->begin && j < w->end ? v16_load(x + w->at + j * apart) : v16_zero();
  }
  put_points(d, v, plane);
}

/* All tiles at one tap, as the index-th of a block. */
static __attribute__((noinline)) void transform_tap(const work *k, const int64_t *tap, int64_t index) {
  const ifd_conv_task *t = k->t;
  window w[IFD_WINOGRAD_LINE_TILES];
  for (int64_t i = 0; i < k->n_tiles; i++) w[i] = window_of(k, &k->tiles[i], tap);
  for (int64_t b = 0; b < ifd_ceil_div(t->plan->shape.c, 16); b++) {
    float *v = k->v + (b * k->z.taps + index) * k->z.pitch;
    const float *x = t->x + b * t->x_plane * 16;
    for (int64_t i = 0; i < k->n_tiles; i++) tile_in(x, k->apart, &w[i], v + i * 16, k->z.v_plane);
  }
}

static void transform_inputs(const work *k) {
  const ifd_k_conv_shape *s = &k->t->plan->shape;
  for (int64_t index = 0; index < k->z.taps; index++) {
    int64_t tap[IFD_K_DIMS], rest = index / k->z.cut.parts;
    for (int d = IFD_K_DIMS; d-- > 0;) {
      if (d == k->z.cut.axis) continue;
      tap[d] = rest % s->kernel[d];
      rest /= s->kernel[d];
    }
    tap[k->z.cut.axis] = index % k->z.cut.parts;
    transform_tap(k, tap, index);
  }
}

/* The products of all points. Arguments are changed in place: a copy would be read in wider pieces than it
 * was written in, and wait for all stores before. */
static void multiply(const work *k) {
  const ifd_k_conv_shape *s = &k->t->plan->shape;
  int64_t panel = k->z.steps * 16, plane = ifd_ceil_div(s->m, 16) * panel, vs = k->z.pitch;
  ifd_ukr_args t = {.k_part = s->c % 16, .b_vs = panel, .c_rs = 16, .c_vs = vs, .at = k->at};
  t.n_full = s->c / 16 * k->z.taps, t.n_part = k->z.segments - t.n_full;
  for (int64_t p = 0; p < POINTS; p++) {
    t.a = k->v + p * k->z.v_plane;
    t.b = k->t->packed + p * plane + k->t->b0 * panel;
    t.c = k->m + p * k->z.m_plane;
    for (int64_t left = k->t->b1 - k->t->b0, vectors; left > 0; left -= vectors) {
      vectors = ifd_ukr_vectors(k->n_tiles, left);
      IFD_K(ifd_ukr_run)(&t, k->n_tiles, vectors);
      t.b += vectors * panel, t.c += vectors * vs;
    }
  }
}

/* n of the OUT outputs of a tile, to y as they are or through the fused epilogue. */
IFD_INLINE void tile_out(const int OUT, const float *m, int64_t plane, const ifd_conv_fused *fused, float *y,
                         const float *other, int64_t apart, int64_t n) {
  v16 d[POINTS], o[MAX_OUT];
  UNROLL_ for (int p = 0; p < POINTS; p++) d[p] = v16_load(m + p * plane);
  transform_out(OUT, d, o);
  UNROLL_ for (int i = 0; i < OUT; i++) {
    if (i >= n) break;
    v16_store(y + i * apart, fused ? ifd_conv_fused_of(fused, o[i], other ? other + i * apart : NULL) : o[i]);
  }
}

typedef void (*out_kernel)(const float *m, int64_t plane, const ifd_conv_fused *fused, float *y,
                           const float *other, int64_t apart, int64_t n);
#define OUTS(X) X(4) X(5) X(6) X(7)
#define KERNEL(OUT)                                                                                          \
  static void tile_out_##OUT(const float *m, int64_t plane, const ifd_conv_fused *fused, float *y,           \
                             const float *other, int64_t apart, int64_t n) {                                 \
    tile_out(OUT, m, plane, fused, y, other, apart, n);                                                      \
  }
OUTS(KERNEL)

/* A tile of output block b. */
static void finish_tile(const work *k, const ifd_conv_task *task, const tile *p, const ifd_conv_fused *fused,
                        int64_t b, const float *m) {
#define ENTRY(OUT) [OUT] = tile_out_##OUT,
  static const out_kernel kernels[MAX_OUT + 1] = {OUTS(ENTRY)};
  const int64_t *out = task->plan->shape.out;
  out_kernel kernel = kernels[k->z.cut.out];
  int64_t pixel = (p->at[IFD_K_D] * out[IFD_K_H] + p->at[IFD_K_H]) * out[IFD_K_W] + p->at[IFD_K_W];
  int64_t apart = task->plan->shape.dilation[k->z.cut.axis] * pixels_apart(out, k->z.cut.axis);
  int64_t at = (b * task->y_plane + pixel) * 16;
  if (fused->fits || fused->waits) {
    const float *other = task->epilogue.join ? task->epilogue.other + at : NULL;
    kernel(m, k->z.m_plane, fused, task->y + at, other, apart * 16, p->n);
    if (fused->waits) IFD_K(ifd_k_activate)(&fused->after, task->y + at, apart * 16, p->n, 0, fused->n_lanes);
    return;
  }
  float sums[MAX_OUT * 16] __attribute__((aligned(64)));
  kernel(m, k->z.m_plane, NULL, sums, NULL, 16, p->n);
  ifd_conv_finish(task, sums, b, pixel, p->n, apart);
}

static __attribute__((noinline)) void transform_outputs(const work *k) {
  ifd_conv_task task = *k->t;
  for (int64_t b = task.b0; b < task.b1; b++) {
    ifd_conv_fused fused = ifd_conv_fuse(k->t, b);
    for (int64_t i = 0; i < k->n_tiles; i++) {
      const tile *p = &k->tiles[i];
      if (p->n == 0) continue;
      task.y = k->t->y + p->sample * task.y_sample;
      if (task.epilogue.join) task.epilogue.other = k->t->epilogue.other + p->sample * task.other_sample;
      finish_tile(k, &task, p, &fused, b, k->m + (b - task.b0) * k->z.pitch + i * 16);
    }
  }
}

void IFD_K(ifd_conv_winograd_line)(const ifd_conv_task *t, void *scratch) {
  const ifd_k_conv_shape *s = &t->plan->shape;
  work k = {.t = t, .z = ifd_winograd_line_sizes_of(s, t->plan->rows, t->plan->blocks), .at = scratch};
  k.v = (float *)((char *)scratch + ifd_round_64(sizeof *k.at * (size_t)k.z.segments));
  k.m = k.v + POINTS * k.z.v_plane;
  int axis = k.z.cut.axis;
  k.apart = s->stride[axis] * s->dilation[axis] * pixels_apart(s->in, axis) * 16;
  for (int64_t j = 0; j < k.z.segments; j++) k.at[j] = j * k.z.pitch;
  int64_t n = ifd_ceil_div(t->r1 - t->r0, k.z.at_once);
  for (int64_t i = 0; i < n; i++) {
    int64_t first = t->r0 + (t->r1 - t->r0) * i / n, end = t->r0 + (t->r1 - t->r0) * (i + 1) / n;
    k.n_tiles = end - first;
    tile at = tile_at(&k, first);
    for (int64_t j = 0; j < k.n_tiles; j++, next_tile(&k, &at)) k.tiles[j] = at;
    transform_inputs(&k);
    multiply(&k);
    transform_outputs(&k);
  }
}
