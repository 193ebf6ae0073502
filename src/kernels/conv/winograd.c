#include "kernels/conv/winograd.h"
#include "kernels/conv/task.h"
#include "kernels/gemm/ukr.h"

enum { MAX_IN = IFD_WINOGRAD_IN, MAX_OUT = IFD_WINOGRAD_OUT };
#define UNROLL_ _Pragma("GCC unroll 6")

/* The points' a = 3/4 and b = 3/2 and what the transforms make of them, all exact. */
#define C_(x)       v16_set1(x)
#define A_          C_(0.75f)
#define B_          C_(1.5f)
#define A2_         C_(0.5625f)
#define B2_         C_(2.25f)
#define A3_         C_(0.421875f)
#define B3_         C_(3.375f)
#define A2B2_       C_(1.265625f)
#define A2_PLUS_B2_ C_(2.8125f)
#define A2_LESS_B2_ C_(-1.6875f)

/* Bᵀ d of OUT + 2 inputs, where the weights are those of F(OF, 3). OF and OUT, here and below, are constants
 * where this is inlined. */
IFD_INLINE void transform_in(const int OF, const int OUT, const v16 *d, v16 *o) {
  if (OF == 2) {
    o[0] = v16_sub(d[0], d[2]), o[1] = v16_add(d[1], d[2]), o[2] = v16_sub(d[2], d[1]);
    if (OUT == 2) o[3] = v16_sub(d[1], d[3]);
    return;
  }
  if (OUT <= 2) {
    v16 p = v16_mul(A2_LESS_B2_, d[2]), q = v16_mul(A2_LESS_B2_, d[1]);
    o[0] = v16_fnma(B2_, d[2], v16_mul(A2B2_, d[0]));
    o[1] = v16_fma(A_, q, p);
    o[2] = v16_fnma(A_, q, p);
    if (OUT == 2) o[3] = v16_fnma(A2_, d[1], d[3]);
    return;
  }
  o[0] = v16_fma(A2B2_, d[0], v16_fnma(A2_PLUS_B2_, d[2], d[4]));
  v16 p = v16_fnma(B2_, d[2], d[4]), q = v16_fnma(B2_, d[1], d[3]);
  v16 r = v16_fnma(A2_, d[2], d[4]), s = v16_fnma(A2_, d[1], d[3]);
  o[1] = v16_fma(A_, q, p);
  o[2] = v16_fnma(A_, q, p);
  o[3] = v16_fma(B_, s, r);
  o[4] = v16_fnma(B_, s, r);
  if (OUT == 4) o[5] = v16_fma(A2B2_, d[1], v16_fnma(A2_PLUS_B2_, d[3], d[5]));
}

/* Aᵀ m */
IFD_INLINE void transform_out(const int OF, const int OUT, const v16 *m, v16 *o) {
  v16 s1 = v16_add(m[1], m[2]), e1 = v16_sub(m[1], m[2]);
  if (OUT <= 2) {
    o[0] = v16_add(m[0], s1);
    if (OUT == 2) o[1] = OF == 2 ? v16_sub(e1, m[3]) : v16_fma(A_, e1, m[3]);
    return;
  }
  v16 s2 = v16_add(m[3], m[4]), e2 = v16_sub(m[3], m[4]);
  o[0] = v16_add(v16_add(m[0], s1), s2);
  o[1] = v16_fma(B_, e2, v16_mul(A_, e1));
  o[2] = v16_fma(B2_, s2, v16_mul(A2_, s1));
  if (OUT == 4) o[3] = v16_fma(B3_, e2, v16_fma(A3_, e1, m[5]));
}

/* G g of 3 weights, rounded after each operation where they are packed half, in the points' order. */
IFD_INLINE void transform_weights(const int OF, v16 g0, v16 g1, v16 g2, v16 *o) {
  if (OF == 2) {
    v16 half = C_(0.5f), even = v16_mul(half, v16_add(g0, g2));
    o[0] = g0, o[1] = v16_fma(half, g1, even), o[2] = v16_fnma(half, g1, even), o[3] = g2;
    return;
  }
  const double a = -128 / 243., b = 32 / 243.; /* 1 / (2 a² (a² - b²)), 1 / (2 b² (b² - a²)) of the points */
  v16 even_a = v16_fma(C_((float)(a * 0.5625)), g2, v16_mul(C_((float)a), g0));
  v16 even_b = v16_fma(C_((float)(b * 2.25)), g2, v16_mul(C_((float)b), g0));
  o[0] = v16_mul(C_((float)(64 / 81.)), g0);
  o[1] = v16_fma(C_((float)(a * 0.75)), g1, even_a);
  o[2] = v16_fnma(C_((float)(a * 0.75)), g1, even_a);
  o[3] = v16_fma(C_((float)(b * 1.5)), g1, even_b);
  o[4] = v16_fnma(C_((float)(b * 1.5)), g1, even_b);
  o[5] = g2;
}

/* n steps of half weights w [3][16], to planes [BEGIN, END) of a line. */
IFD_INLINE void make_weights(const int OF, const int BEGIN, const int END, const float *w, int64_t n,
                             float *u, int64_t plane) {
  for (int64_t i = 0; i < n; i++, w += 3 * 16, u += 16) {
    v16 o[MAX_IN];
    transform_weights(OF, v16_load(w), v16_load(w + 16), v16_load(w + 32), o);
    UNROLL_ for (int j = BEGIN; j < END; j++) v16_store(u + (j - BEGIN) * plane, o[j]);
  }
}
static void make_weights_2(const float *w, int64_t n, float *u, int64_t plane) {
  make_weights(2, 0, 4, w, n, u, plane);
}
static void make_weights_4_low(const float *w, int64_t n, float *u, int64_t plane) {
  make_weights(4, 0, 3, w, n, u, plane);
}
static void make_weights_4_high(const float *w, int64_t n, float *u, int64_t plane) {
  make_weights(4, 3, 6, w, n, u, plane);
}

/* Planes of a line that are made and multiplied together, so that they stay in L1. */
typedef struct made {
  int64_t begin, end;
  void (*make)(const float *w, int64_t n, float *u, int64_t plane);
} made;
static const made made_2[] = {{0, 4, make_weights_2}};
static const made made_4[] = {{0, 3, make_weights_4_low}, {3, 6, make_weights_4_high}};

/* A tile. */
typedef struct tile {
  int64_t sample, d, h, w;      /* its first output, */
  int64_t x;                    /* and input, which may be outside the image, in floats from (0, 0) on */
  int rows, columns;            /* of outputs; */
  int kept_rows, kept_columns;  /* those in the image */
  int top, bottom, left, right; /* the inputs in the image: lines [top, bottom), columns [left, right) */
  bool whole_in, whole_out;     /* all inputs, all outputs of a tile are in the image */
} tile;

/* How many of n places from i on, apart from one another, are below end. */
static int places_below(int64_t i, int64_t end, int64_t apart, int64_t n) {
  return i < end ? (int)ifd_min_i64(n, (end - 1 - i) / apart + 1) : 0;
}

/* Tiles in their order: those of neighbouring phases across read pixels side by side. */
enum { SAMPLE, DEPTH, PHASE_DOWN, DOWN, ACROSS, PHASE_ACROSS, N_COUNTS };
typedef struct counter {
  int64_t at[N_COUNTS], n[N_COUNTS];
} counter;

static counter counter_at(const ifd_k_conv_shape *s, const ifd_winograd_sizes *z, int64_t index) {
  counter c = {.n = {INT64_MAX, s->out[IFD_K_D], z->down.phases, z->down.n, z->across.n, z->across.phases}};
  for (int i = N_COUNTS; i-- > 0; index /= c.n[i]) c.at[i] = index % c.n[i];
  return c;
}
static void count(counter *c) {
  for (int i = N_COUNTS; i-- > 0; c->at[i] = 0)
    if (++c->at[i] < c->n[i]) return;
}

static tile tile_of(const ifd_k_conv_shape *s, const ifd_winograd_sizes *z, const counter *c) {
  const ifd_winograd_axis *down = &z->down, *across = &z->across;
  tile t = {.sample = c->at[SAMPLE],
            .d = c->at[DEPTH],
            .h = c->at[PHASE_DOWN] + c->at[DOWN] * z->out * down->apart,
            .w = c->at[PHASE_ACROSS] + c->at[ACROSS] * z->out * across->apart};
  t.rows = (int)(c->at[DOWN] + 1 < down->n ? z->out : down->last);
  t.columns = (int)(c->at[ACROSS] + 1 < across->n ? z->out : across->last);
  t.kept_rows = places_below(t.h, s->out[IFD_K_H], down->apart, t.rows);
  t.kept_columns = places_below(t.w, s->out[IFD_K_W], across->apart, t.columns);
  int64_t h = t.h - s->pad[IFD_K_H], w = t.w - s->pad[IFD_K_W];
  t.x = (h * s->in[IFD_K_W] + w) * 16;
  t.top = places_below(h, 0, down->apart, z->in);
  t.left = places_below(w, 0, across->apart, z->in);
  t.bottom = places_below(h, s->in[IFD_K_H], down->apart, z->in);
  t.right = places_below(w, s->in[IFD_K_W], across->apart, z->in);
  t.whole_in = t.top + t.left == 0 && t.bottom == z->in && t.right == z->in;
  t.whole_out = t.kept_rows == z->out && t.kept_columns == z->out;
  return t;
}

/* A block of tiles in hand. The last tiles of an axis may take part in fewer planes: first come those that
 * are last down, then the others, those that are last across, and last in both; so the tiles of any plane lie
 * side by side. */
enum { LOW, INNER, RIGHT, CORNER, N_KINDS };
/* Output blocks [b0, b1) that meet the blocks [first, end) of inputs; of each group of a part, and where two
 * meet in a block. */
typedef struct run {
  int64_t b0, b1, first, end;
} run;
enum { MAX_RUNS = 2 * 16 };
typedef struct work {
  const ifd_conv_task *t;
  ifd_winograd_sizes z;
  int64_t *at; /* of the segments in a plane of v */
  float *v, *m, *u;
  int64_t b0, b1; /* output blocks in hand */
  run runs[MAX_RUNS];
  int n_runs;
  bool again; /* the task has met its weights before */
  bool low[MAX_IN],
      right[MAX_IN]; /* whether the last tiles down and across take a line, a column of planes */
  tile tiles[IFD_WINOGRAD_TILES];
  int64_t n_tiles, first[N_KINDS + 1]; /* of each kind */
} work;

static void take_tiles(work *k, int64_t first, int64_t end) {
  static const int kinds[2][2] = {{INNER, RIGHT}, {LOW, CORNER}};
  const ifd_k_conv_shape *s = &k->t->plan->shape;
  tile tiles[N_KINDS][IFD_WINOGRAD_TILES];
  counter c = counter_at(s, &k->z, first);
  int64_t n[N_KINDS] = {0};
  for (int64_t i = first; i < end; i++, count(&c)) {
    tile t = tile_of(s, &k->z, &c);
    int kind = kinds[t.rows < k->z.out][t.columns < k->z.out];
    tiles[kind][n[kind]++] = t;
  }
  k->n_tiles = end - first;
  for (int kind = 0; kind < N_KINDS; kind++) {
    k->first[kind + 1] = k->first[kind] + n[kind];
    memcpy(k->tiles + k->first[kind], tiles[kind], sizeof *tiles[kind] * (size_t)n[kind]);
  }
}

/* Pixels of y from a line of a tile to the next, and before a tile's first. */
static int64_t line_apart(const work *k) { return k->z.down.apart * k->t->plan->shape.out[IFD_K_W]; }
static int64_t first_pixel(const work *k, const tile *t) {
  const ifd_k_conv_shape *s = &k->t->plan->shape;
  return (t->d * s->out[IFD_K_H] + t->h) * s->out[IFD_K_W] + t->w;
}

/* Pixels of one block of channels that a tile reads. */
typedef struct window {
  const float *x; /* (0, 0) of the image */
  const tile *t;
  int64_t line, column; /* floats from one to the next */
} window;

/* Column j of pixels, to points of t; zeros are outside the image. */
IFD_INLINE void column_in(const int OF, const int OUT, const window *x, int j, v16 t[MAX_IN][MAX_IN]) {
  const tile *p = x->t;
  int64_t from = p->x + j * x->column;
  bool has = j >= p->left && j < p->right;
  v16 d[MAX_IN], o[MAX_IN];
  UNROLL_ for (int i = 0; i < OUT + 2; i++) d[i] =
      has && i >= p->top && i < p->bottom ? v16_load(x->x + (from + i * x->line)) : v16_zero();
  transform_in(OF, OUT, d, o);
  UNROLL_ for (int i = 0; i < OUT + 2; i++) t[i][j] = o[i];
}

/* Points of a line, to places of v. */
IFD_INLINE void line_in(const int OF, const int OUT, const v16 t[MAX_IN], float *v, int64_t plane) {
  v16 o[MAX_IN];
  transform_in(OF, OUT, t, o);
  UNROLL_ for (int j = 0; j < OUT + 2; j++) v16_store(v + ifd_winograd_point(OF, OUT, j) * plane, o[j]);
}

/* n columns of pixels. */
IFD_INLINE void columns_in(const int OF, const int OUT, const window *x, int64_t n, v16 t[MAX_IN][MAX_IN]) {
  for (int j = 0; j < n; j++) column_in(OF, OUT, x, j, t);
}

/* Lines of a tile of n_out of them. */
IFD_INLINE void lines_in(const int OF, const int OUT, v16 t[MAX_IN][MAX_IN], int64_t n_out, float *v,
                         int64_t plane) {
  for (int64_t i = 0; i < n_out + 2; i++)
    line_in(OF, OUT, t[i], v + ifd_winograd_point(OF, n_out, i) * (OF + 2) * plane, plane);
}

/* Lines of a tile that are computed together, as bits: all of them, or, where registers are few, those that
 * have sums in common. Then none waits in memory for its other axis. */
enum { ALL = 63, ZERO = 1 << 0, PLUS_MINUS_A = 3 << 1, PLUS_MINUS_B = 3 << 3, INFINITE = 1 << 5 };
enum { EVEN = 1 << 0 | 1 << 2, ODD = 1 << 1 | 1 << 3 };

/* The i-th of six places, `apart` from one another, of which `middle` is the fourth. */
#define SIXTH_(first, middle, i, apart) ((i) < 3 ? (first) + (i) * (apart) : (middle) + ((i)-3) * (apart))

/* LINES of points of a tile of OF outputs each way, a part of their lanes. */
IFD_INLINE void part_in(const int OF, const bool INSIDE, const int LINES, const window *w, const float *x,
                        float *v, int64_t plane) {
  static const float zeros[16];
  const tile *p = w->t;
  v16 t[MAX_IN][MAX_IN];
  UNROLL_ for (int j = 0; j < OF + 2; j++, x += w->column) {
    v16 d[MAX_IN], o[MAX_IN];
    const float *first = part_address(x), *middle = part_address(first + 3 * w->line);
    bool has = INSIDE || (j >= p->left && j < p->right);
    UNROLL_ for (int i = 0; i < OF + 2; i++) {
      bool inside = INSIDE || (has && i >= p->top && i < p->bottom);
      d[i] = part_load(inside ? SIXTH_(first, middle, i, w->line) : zeros);
    }
    transform_in(OF, OF, d, o);
    UNROLL_ for (int i = 0; i < OF + 2; i++) if (LINES >> i & 1) t[i][j] = o[i];
  }
  UNROLL_ for (int i = 0; i < OF + 2; i++) if (LINES >> i & 1) {
    v16 o[MAX_IN];
    transform_in(OF, OF, t[i], o);
    float *first = part_address(v + i * (OF + 2) * plane), *middle = part_address(first + 3 * plane);
    UNROLL_ for (int j = 0; j < OF + 2; j++) part_store(SIXTH_(first, middle, j, plane), o[j]);
  }
}

/* A tile of OF outputs each way. INSIDE: all its pixels are in the image. */
IFD_INLINE void tile_in(const int OF, const bool INSIDE, const window *w, float *v, int64_t plane) {
  const float *x = w->x + w->t->x;
  for (int part = 0; part < 16 / IFD_PART; part++, x += IFD_PART, v += IFD_PART) {
    if (IFD_PART == 16 || OF == 2) {
      part_in(OF, INSIDE, ALL, w, x, v, plane);
      continue;
    }
    part_in(OF, INSIDE, ZERO, w, x, v, plane);
    part_in(OF, INSIDE, PLUS_MINUS_A, w, x, v, plane);
    part_in(OF, INSIDE, PLUS_MINUS_B, w, x, v, plane);
    part_in(OF, INSIDE, INFINITE, w, x, v, plane);
  }
}

/* Column j of planes of m, to lines of t. */
IFD_INLINE void column_out(const int OF, const int OUT, const float *m, int64_t plane, int64_t n_out,
                           int64_t j, v16 t[MAX_OUT][MAX_IN]) {
  const float *from = m + ifd_winograd_point(OF, n_out, j) * plane;
  v16 d[MAX_IN], o[MAX_OUT];
  UNROLL_ for (int i = 0; i < OUT + 2; i++) d[i] =
      v16_load(from + ifd_winograd_point(OF, OUT, i) * (OF + 2) * plane);
  transform_out(OF, OUT, d, o);
  UNROLL_ for (int i = 0; i < OUT; i++) t[i][j] = o[i];
}

IFD_INLINE void columns_out(const int OF, const int OUT, const float *m, int64_t plane, int64_t n_out,
                            v16 t[MAX_OUT][MAX_IN]) {
  for (int64_t j = 0; j < n_out + 2; j++) column_out(OF, OUT, m, plane, n_out, j, t);
}

/* Where outputs of a tile go. */
typedef struct target {
  const ifd_conv_fused *fused;
  float *y;                  /* of the first, */
  const float *other;        /* and what is added to it, or NULL */
  int64_t line, column;      /* floats from one to the next */
  int rows, columns;         /* those kept */
  const ifd_conv_task *task; /* of the tile's sample */
  int64_t block, pixel;
} target;

IFD_INLINE void put(const ifd_conv_fused *fused, const target *to, int64_t at, v16 sum) {
  v16_store(to->y + at, ifd_conv_fused_of(fused, sum, to->other ? to->other + at : NULL));
}

/* LINES of a whole tile of outputs, a part of their lanes, from `at` on. */
IFD_INLINE void part_out(const int OF, const int LINES, const float *m, int64_t plane,
                         const ifd_conv_fused *fused, const target *to, int64_t at) {
  const int64_t line = (OF + 2) * plane;
  v16 t[MAX_OUT][MAX_IN];
  UNROLL_ for (int j = 0; j < OF + 2; j++, m += plane) {
    v16 d[MAX_IN], o[MAX_OUT];
    const float *first = part_address(m), *middle = part_address(first + 3 * line);
    UNROLL_ for (int i = 0; i < OF + 2; i++) d[i] = part_load(SIXTH_(first, middle, i, line));
    transform_out(OF, OF, d, o);
    UNROLL_ for (int i = 0; i < OF; i++) if (LINES >> i & 1) t[i][j] = o[i];
  }
  UNROLL_ for (int i = 0; i < OF; i++, at += to->line) if (LINES >> i & 1) {
    v16 o[MAX_OUT];
    transform_out(OF, OF, t[i], o);
    float *y = part_address(to->y + at);
    const float *other = to->other ? part_address(to->other + at) : NULL;
    UNROLL_ for (int j = 0; j < OF; j++) {
      v16 joined = other ? part_load(other + j * to->column) : v16_zero();
      part_store(y + j * to->column, ifd_conv_fused_join(fused, o[j], other, joined));
    }
  }
}

/* A whole tile of outputs through the fused epilogue. */
IFD_INLINE void tile_out(const int OF, const float *m, int64_t plane, const target *to) {
  for (int part = 0; part < 16 / IFD_PART; part++, m += IFD_PART) {
    const ifd_conv_fused fused = ifd_conv_fused_part(to->fused, part);
    const int64_t at = part * IFD_PART;
    if (IFD_PART == 16 || OF == 2) {
      part_out(OF, ALL, m, plane, &fused, to, at);
      continue;
    }
    part_out(OF, EVEN, m, plane, &fused, to, at);
    part_out(OF, ODD, m, plane, &fused, to, at);
  }
}

static bool is_fused(const ifd_conv_fused *f) { return f->fits || f->waits; }

/* Lines of t, each to outputs. */
IFD_INLINE void lines_out(const int OF, const int OUT, v16 t[MAX_OUT][MAX_IN], const target *to) {
  for (int64_t i = 0; i < to->rows; i++) {
    v16 o[MAX_OUT];
    transform_out(OF, OUT, t[i], o);
    if (is_fused(to->fused)) {
      UNROLL_ for (int j = 0; j < OUT; j++) if (j < to->columns)
          put(to->fused, to, i * to->line + j * to->column, o[j]);
      continue;
    }
    float sums[MAX_OUT * 16] __attribute__((aligned(64)));
    UNROLL_ for (int j = 0; j < OUT; j++) v16_store(sums + j * 16, o[j]);
    ifd_conv_finish(to->task, sums, to->block, to->pixel + i * to->line / 16, to->columns, to->column / 16);
  }
}

/* One axis of a transform. */
typedef struct transform {
  void (*columns_in)(const window *x, int64_t n, v16 t[MAX_IN][MAX_IN]);
  void (*lines_in)(v16 t[MAX_IN][MAX_IN], int64_t n_out, float *v, int64_t plane);
  void (*columns_out)(const float *m, int64_t plane, int64_t n_out, v16 t[MAX_OUT][MAX_IN]);
  void (*lines_out)(v16 t[MAX_OUT][MAX_IN], const target *to);
} transform;

#define TRANSFORMS(X) X(2, 1) X(2, 2) X(4, 1) X(4, 2) X(4, 3) X(4, 4)
#define FUNCTIONS(OF, OUT)                                                                                   \
  static void columns_in_##OF##_##OUT(const window *x, int64_t n, v16 t[MAX_IN][MAX_IN]) {                   \
    columns_in(OF, OUT, x, n, t);                                                                            \
  }                                                                                                          \
  static void lines_in_##OF##_##OUT(v16 t[MAX_IN][MAX_IN], int64_t n_out, float *v, int64_t plane) {         \
    lines_in(OF, OUT, t, n_out, v, plane);                                                                   \
  }                                                                                                          \
  static void columns_out_##OF##_##OUT(const float *m, int64_t plane, int64_t n_out,                         \
                                       v16 t[MAX_OUT][MAX_IN]) {                                             \
    columns_out(OF, OUT, m, plane, n_out, t);                                                                \
  }                                                                                                          \
  static void lines_out_##OF##_##OUT(v16 t[MAX_OUT][MAX_IN], const target *to) { lines_out(OF, OUT, t, to); }
TRANSFORMS(FUNCTIONS)

static const transform *transform_of(int64_t of, int64_t out) {
#define ENTRY(OF, OUT)                                                                                       \
  [OF][OUT] = {columns_in_##OF##_##OUT, lines_in_##OF##_##OUT, columns_out_##OF##_##OUT,                     \
               lines_out_##OF##_##OUT},
  static const transform transforms[MAX_OUT + 1][MAX_OUT + 1] = {TRANSFORMS(ENTRY)};
  return &transforms[of][out];
}

/* Both axes of a tile that is not shorter than others, in registers: its inputs where some are outside the
 * image or all inside, its outputs where all are inside. */
typedef struct whole {
  void (*in[2])(const window *x, float *v, int64_t plane);
  void (*out)(const float *m, int64_t plane, const target *to);
} whole;

#define WHOLE(OF)                                                                                            \
  static void border_in_##OF(const window *x, float *v, int64_t plane) { tile_in(OF, false, x, v, plane); }  \
  static void tile_in_##OF(const window *x, float *v, int64_t plane) { tile_in(OF, true, x, v, plane); }     \
  static void tile_out_##OF(const float *m, int64_t plane, const target *to) { tile_out(OF, m, plane, to); }
WHOLE(2)
WHOLE(4)

static const whole *whole_of(int64_t of) {
  static const whole wholes[MAX_OUT + 1] = {
      [2] = {{border_in_2, tile_in_2}, tile_out_2}, [4] = {{border_in_4, tile_in_4}, tile_out_4}};
  return &wholes[of];
}

/* One segment of all tiles, to v. */
static void transform_segment(const work *k, int64_t block, int64_t tap, float *v) {
  static const tile nothing; /* in the image */
  const ifd_winograd_sizes *z = &k->z;
  const ifd_k_conv_shape *s = &k->t->plan->shape;
  const whole *all = whole_of(z->out);
  int64_t lines = s->in[IFD_K_H], line = s->in[IFD_K_W] * 16;
  const float *x = k->t->x + block * k->t->x_plane * 16;
  window w = {.line = z->down.apart * line, .column = z->across.apart * 16};
  for (int64_t i = 0; i < k->n_tiles; i++, v += 16) {
    const tile *p = &k->tiles[i];
    int64_t d = p->d * s->stride[IFD_K_D] + tap * s->dilation[IFD_K_D] - s->pad[IFD_K_D];
    bool inside = d >= 0 && d < s->in[IFD_K_D];
    w.t = inside ? p : &nothing;
    w.x = x + p->sample * k->t->x_sample + (inside ? d * lines * line : 0);
    if (p->rows == z->out && p->columns == z->out) {
      all->in[w.t->whole_in](&w, v, z->v_plane);
      continue;
    }
    v16 t[MAX_IN][MAX_IN];
    transform_of(z->out, p->rows)->columns_in(&w, p->columns + 2, t);
    transform_of(z->out, p->columns)->lines_in(t, p->rows, v, z->v_plane);
  }
}

/* Segments [s0, s1) of all tiles. */
static void transform_inputs(const work *k, int64_t s0, int64_t s1) {
  int64_t depth = k->t->plan->shape.kernel[IFD_K_D], block = s0 / depth, tap = s0 % depth;
  for (int64_t s = s0; s < s1; s++) {
    transform_segment(k, block, tap, k->v + s * k->n_tiles * 16);
    if (++tap == depth) tap = 0, block++;
  }
}

/* What the products of all planes share. Arguments are changed in place, here and below: a copy would be read
 * in wider pieces than it was written in, and wait for all stores before. */
static ifd_ukr_args *products_of(const work *k, ifd_ukr_args *t, int64_t b_vs) {
  int64_t vs = k->n_tiles * 16;
  *t = (ifd_ukr_args){.k_part = k->t->plan->shape.c % 16, .b_vs = b_vs, .c_rs = 16, .c_vs = vs};
  t->init_rs = 16, t->init_vs = vs;
  return t;
}

/* Over segments [s0, s1). */
static void set_segments(const work *k, ifd_ukr_args *t, int64_t s0, int64_t s1) {
  const ifd_k_conv_shape *s = &k->t->plan->shape;
  int64_t n_full = s->c / 16 * s->kernel[IFD_K_D];
  t->at = k->at + s0;
  t->n_full = ifd_max_i64(0, ifd_min_i64(s1, n_full) - s0);
  t->n_part = s1 - s0 - t->n_full;
}

/* The products of the plane in column j of line i, of the tiles that take it and output blocks [b0, b1),
 * whose weights begin at b; those of later segments are added. */
static void multiply(const work *k, ifd_ukr_args *t, const float *b, int64_t b0, int64_t b1, int64_t i,
                     int64_t j, bool adds) {
  const ifd_winograd_sizes *z = &k->z;
  bool low = k->low[i], right = k->right[j];
  int64_t first = k->first[low ? LOW : INNER], end = k->first[!right ? RIGHT : low ? N_KINDS : CORNER];
  int64_t plane = i * z->in + j;
  t->a = k->v + plane * z->v_plane + first * 16;
  t->b = b;
  t->c = k->m + plane * z->m_plane + first * 16 + (b0 - k->b0) * t->c_vs;
  for (int64_t left = b1 - b0, vectors; left > 0; left -= vectors) {
    vectors = ifd_ukr_vectors(end - first, left);
    t->init = adds ? t->c : NULL;
    IFD_K(ifd_ukr_run)(t, end - first, vectors);
    t->b += vectors * t->b_vs, t->c += vectors * t->c_vs;
    if (t->next) t->next += vectors * t->b_vs;
  }
}

/* The output blocks in hand by the blocks of inputs that they meet. */
static void find_runs(work *k) {
  run *r = k->runs - 1;
  for (int64_t b = k->b0, n, first, end; b < k->b1; b += n) {
    n = ifd_min_i64(ifd_conv_met_blocks(&k->t->plan->shape, b, &first, &end), k->b1 - b);
    if (b == k->b0 || first != r->first || end != r->end) *++r = (run){.b0 = b, .first = first, .end = end};
    r->b1 = b + n;
  }
  k->n_runs = (int)(r + 1 - k->runs);
}

static void multiply_whole(work *k) {
  const ifd_winograd_sizes *z = &k->z;
  int64_t panel = z->steps * 16, plane = ifd_ceil_div(k->t->plan->shape.m, 16) * panel;
  int64_t depth = k->t->plan->shape.kernel[IFD_K_D];
  const float *b = k->t->packed;
  ifd_ukr_args args, *t = products_of(k, &args, panel);
  t->near = k->again && z->stays;
  find_runs(k);
  for (int64_t i = 0; i < z->in; i++)
    for (int64_t j = 0; j < z->in; j++, b += plane)
      for (const run *r = k->runs; r < k->runs + k->n_runs; r++) {
        set_segments(k, t, r->first * depth, r->end * depth);
        multiply(k, t, b + r->b0 * panel + r->first * depth * 16 * 16, r->b0, r->b1, i, j, false);
      }
}

/* Half weights of output block b, line i of planes, from step k0 on. */
static const float *half_weights(const work *k, int64_t b, int64_t i, int64_t k0) {
  return k->t->packed + ((b * k->z.in + i) * k->z.steps + k0) * 3 * 16;
}

/* Line i of planes over steps [k0, k1), the segments of t; meanwhile the half weights that come next are
 * fetched, a part with each plane. */
static void multiply_line(const work *k, ifd_ukr_args *t, int64_t i, int64_t k0, int64_t k1) {
  const ifd_winograd_sizes *z = &k->z;
  int64_t share = ifd_ceil_div(3 * (k1 - k0), z->in);
  bool last = k1 == z->steps && i + 1 == z->in;
  const float *next = last ? half_weights(k, k->b1, 0, 0) : half_weights(k, k->b0, i, k1);
  t->n_next = ifd_ceil_div(share, t->n_full + t->n_part);
  const made *parts = z->out == 2 ? made_2 : made_4;
  for (const made *part = parts; part == parts || part[-1].end < z->in; part++) {
    for (int64_t b = k->b0; b < k->b1; b++)
      part->make(half_weights(k, b, i, k0), k1 - k0, k->u + (b - k->b0) * t->b_vs, z->u_plane);
    for (int64_t j = part->begin; j < part->end; j++) {
      t->next = next + j * share * 16;
      multiply(k, t, k->u + (j - part->begin) * z->u_plane, k->b0, k->b1, i, j, t->at > k->at);
    }
  }
}

static void multiply_half(work *k) {
  const ifd_winograd_sizes *z = &k->z;
  ifd_ukr_args args, *t = products_of(k, &args, z->u_panel);
  for (int64_t i = 0; i < z->in; i++)
    for (int64_t s0 = 0, s1, k0 = 0, k1; s0 < z->segments; s0 = s1, k0 = k1) {
      s1 = ifd_min_i64(s0 + IFD_WINOGRAD_HALF_SEGMENTS, z->segments);
      set_segments(k, t, s0, s1);
      k1 = k0 + t->n_full * 16 + t->n_part * t->k_part;
      multiply_line(k, t, i, k0, k1);
    }
}

/* What waits, in all outputs of block b; those side by side at once. */
static void activate(const work *k, int64_t b, const ifd_conv_fused *fused) {
  const ifd_winograd_sizes *z = &k->z;
  int64_t line = line_apart(k), column = z->across.apart;
  int64_t side = column == 1 ? z->out : 1; /* columns of a tile that lie so */
  float *from = NULL, *end = NULL;
  for (int64_t i = 0; i < z->out; i++)
    for (int64_t j = 0; j < z->out; j += side)
      for (const tile *p = k->tiles; p < k->tiles + k->n_tiles; p++) {
        if (i >= p->kept_rows || j >= p->kept_columns) continue;
        int64_t pixel = b * k->t->y_plane + first_pixel(k, p) + i * line + j * column;
        float *y = k->t->y + p->sample * k->t->y_sample + pixel * 16;
        if (y != end) {
          ifd_conv_fused_end(fused, from, (end - from) / 16);
          from = end = y;
        }
        end += ifd_min_i64(side, p->kept_columns - j) * 16;
      }
  ifd_conv_fused_end(fused, from, (end - from) / 16);
}

static void transform_block(const work *k, int64_t b, const ifd_conv_fused *fused) {
  const ifd_winograd_sizes *z = &k->z;
  const whole *all = whole_of(z->out);
  ifd_conv_task task = *k->t;
  target to = {.fused = fused, .task = &task, .block = b};
  to.line = line_apart(k) * 16, to.column = z->across.apart * 16;
  const float *m = k->m + (b - k->b0) * k->n_tiles * 16;
  for (const tile *p = k->tiles; p < k->tiles + k->n_tiles; p++, m += 16) {
    to.pixel = first_pixel(k, p);
    int64_t at = (b * task.y_plane + to.pixel) * 16;
    task.y = k->t->y + p->sample * task.y_sample;
    to.y = task.y + at;
    if (task.epilogue.join) {
      task.epilogue.other = k->t->epilogue.other + p->sample * task.other_sample;
      to.other = task.epilogue.other + at;
    }
    if (p->whole_out && is_fused(fused)) {
      all->out(m, z->m_plane, &to);
      continue;
    }
    v16 t[MAX_OUT][MAX_IN];
    to.rows = p->kept_rows, to.columns = p->kept_columns;
    transform_of(z->out, p->rows)->columns_out(m, z->m_plane, p->columns, t);
    transform_of(z->out, p->columns)->lines_out(t, &to);
  }
}

static void transform_outputs(const work *k) {
  for (int64_t b = k->b0; b < k->b1; b++) {
    ifd_conv_fused fused = ifd_conv_fuse(k->t, b);
    transform_block(k, b, &fused);
    if (fused.waits) activate(k, b, &fused);
  }
}

void IFD_K(ifd_conv_winograd_inputs)(const ifd_conv_task *t, int64_t part, int64_t n_parts) {
  work k = {.t = t, .z = ifd_winograd_sizes_of_plan(t->plan), .v = t->shared};
  take_tiles(&k, t->r0, t->r1);
  transform_inputs(&k, k.z.segments * part / n_parts, k.z.segments * (part + 1) / n_parts);
}

void IFD_K(ifd_conv_winograd)(const ifd_conv_task *t, void *scratch) {
  work k = {.t = t, .z = ifd_winograd_sizes_of_plan(t->plan), .at = scratch};
  bool shares = t->plan->n_before > 0;
  k.u = (float *)((char *)scratch + ifd_round_64(sizeof *k.at * (size_t)k.z.segments));
  k.m = k.u + ifd_winograd_made(&k.z);
  k.v = shares ? t->shared : k.m + ifd_winograd_products(&k.z);
  for (int64_t i = 0; i < k.z.in; i++)
    k.low[i] = ifd_winograd_takes(&k.z.down, i), k.right[i] = ifd_winograd_takes(&k.z.across, i);
  int64_t n = ifd_ceil_div(t->r1 - t->r0, k.z.at_once);
  for (int64_t i = 0; i < n; i++, k.again = true) {
    take_tiles(&k, t->r0 + (t->r1 - t->r0) * i / n, t->r0 + (t->r1 - t->r0) * (i + 1) / n);
    for (int64_t s = 0; s < k.z.segments; s++) k.at[s] = s * k.n_tiles * 16;
    if (!shares) transform_inputs(&k, 0, k.z.segments);
    for (k.b0 = t->b0; k.b0 < t->b1; k.b0 = k.b1) {
      k.b1 = ifd_min_i64(k.b0 + k.z.blocks, t->b1);
      (k.z.half ? multiply_half : multiply_whole)(&k);
      transform_outputs(&k);
    }
  }
}
