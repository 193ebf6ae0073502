#include "kernels/conv/winograd.h"
#include "kernels/conv/task.h"
#include "kernels/gemm/ukr.h"

enum { MAX_IN = IFD_WINOGRAD_IN, MAX_OUT = IFD_WINOGRAD_OUT, MAX_PLANES = IFD_WINOGRAD_PLANES };
#define UNROLL_ _Pragma("GCC unroll 6")

/* The points' a = 3/4 and b = 3/2 and what the transforms make of them, all exact. */
#define C_(x)  v16_set1(x)
#define A_     C_(0.75f)
#define B_     C_(1.5f)
#define A2_    C_(0.5625f)
#define B2_    C_(2.25f)
#define A3_    C_(0.421875f)
#define B3_    C_(3.375f)
#define A2B2_  C_(1.265625f)
#define A2_B2_ C_(2.8125f) /* a² + b² */

/* Bᵀ d. OUT, here and below, is a constant where this is inlined: 4 or 2. */
IFD_INLINE void transform_in(const int OUT, const v16 *d, v16 *o) {
  if (OUT == 2) {
    o[0] = v16_sub(d[0], d[2]), o[1] = v16_add(d[1], d[2]);
    o[2] = v16_sub(d[2], d[1]), o[3] = v16_sub(d[1], d[3]);
    return;
  }
  o[0] = v16_fma(A2B2_, d[0], v16_fnma(A2_B2_, d[2], d[4]));
  v16 p = v16_fnma(B2_, d[2], d[4]), q = v16_fnma(B2_, d[1], d[3]);
  v16 r = v16_fnma(A2_, d[2], d[4]), s = v16_fnma(A2_, d[1], d[3]);
  o[1] = v16_fma(A_, q, p);
  o[2] = v16_fnma(A_, q, p);
  o[3] = v16_fma(B_, s, r);
  o[4] = v16_fnma(B_, s, r);
  o[5] = v16_fma(A2B2_, d[1], v16_fnma(A2_B2_, d[3], d[5]));
}

/* Aᵀ m */
IFD_INLINE void transform_out(const int OUT, const v16 *m, v16 *o) {
  v16 s1 = v16_add(m[1], m[2]), e1 = v16_sub(m[1], m[2]);
  if (OUT == 2) {
    o[0] = v16_add(m[0], s1), o[1] = v16_sub(e1, m[3]);
    return;
  }
  v16 s2 = v16_add(m[3], m[4]), e2 = v16_sub(m[3], m[4]);
  o[0] = v16_add(v16_add(m[0], s1), s2);
  o[1] = v16_fma(B_, e2, v16_mul(A_, e1));
  o[2] = v16_fma(B2_, s2, v16_mul(A2_, s1));
  o[3] = v16_fma(B3_, e2, v16_fma(A3_, e1, m[5]));
}

/* Bᵀ x B of a tile of pixels, lines `apart` floats apart, to the planes of v. */
IFD_INLINE void tile_in(const int OUT, const float *x, int64_t apart, float *v, int64_t plane) {
  const int IN = OUT + 2;
  v16 t[MAX_IN][MAX_IN];
  UNROLL_ for (int j = 0; j < IN; j++) {
    v16 d[MAX_IN], o[MAX_IN];
    UNROLL_ for (int i = 0; i < IN; i++) d[i] = v16_load(x + i * apart + j * 16);
    transform_in(OUT, d, o);
    UNROLL_ for (int i = 0; i < IN; i++) t[i][j] = o[i];
  }
  UNROLL_ for (int i = 0; i < IN; i++) {
    v16 o[MAX_IN];
    transform_in(OUT, t[i], o);
    UNROLL_ for (int j = 0; j < IN; j++) v16_store(v + (i * IN + j) * plane, o[j]);
  }
}

/* Aᵀ m A of the planes of m. */
IFD_INLINE void tile_out(const int OUT, const float *m, int64_t plane, v16 y[MAX_OUT][MAX_OUT]) {
  const int IN = OUT + 2;
  v16 t[MAX_OUT][MAX_IN];
  UNROLL_ for (int j = 0; j < IN; j++) {
    v16 d[MAX_IN], o[MAX_OUT];
    UNROLL_ for (int i = 0; i < IN; i++) d[i] = v16_load(m + (i * IN + j) * plane);
    transform_out(OUT, d, o);
    UNROLL_ for (int i = 0; i < OUT; i++) t[i][j] = o[i];
  }
  UNROLL_ for (int i = 0; i < OUT; i++) transform_out(OUT, t[i], y[i]);
}

/* Where a tile lies. */
typedef struct place {
  int64_t sample, d, h, w; /* its first output */
} place;

static place place_of(const ifd_winograd_sizes *z, int64_t tile) {
  int64_t plane = z->down * z->across, in_sample = tile % z->tiles;
  return (place){tile / z->tiles, in_sample / plane, in_sample % plane / z->across * z->out,
                 in_sample % z->across * z->out};
}

/* A block of tiles and output blocks in hand. */
typedef struct work {
  const ifd_conv_task *t;
  ifd_winograd_sizes z;
  int64_t *at; /* of the segments in a plane of v */
  float *v, *m;
  int64_t tile, n_tiles;
} work;

/* n×n pixels of the plane x of a block that reach beyond its edges: copied, zeros outside. x is NULL where
 * the plane itself is outside. */
static void copy_edge(const ifd_k_conv_shape *s, const float *x, int64_t h, int64_t w, int64_t n,
                      float to[MAX_PLANES * 16]) {
  for (int64_t i = 0; i < n; i++)
    for (int64_t j = 0; j < n; j++) {
      int64_t y = h + i, c = w + j;
      bool inside = x && y >= 0 && y < s->in[IFD_K_H] && c >= 0 && c < s->in[IFD_K_W];
      v16_store(to + (i * n + j) * 16, inside ? v16_load(x + (y * s->in[IFD_K_W] + c) * 16) : v16_zero());
    }
}

/* The inputs of one tile at one segment to place `to` of the planes of v. */
static void transform_input(const work *k, place p, int64_t segment, float *to) {
  const ifd_k_conv_shape *s = &k->t->plan->shape;
  int64_t block = segment / s->kernel[IFD_K_D], tap = segment % s->kernel[IFD_K_D];
  int64_t d = p.d * s->stride[IFD_K_D] + tap * s->dilation[IFD_K_D] - s->pad[IFD_K_D];
  int64_t h = p.h - s->pad[IFD_K_H], w = p.w - s->pad[IFD_K_W], width = s->in[IFD_K_W];
  const float *x = NULL;
  if (d >= 0 && d < s->in[IFD_K_D])
    x = k->t->x + p.sample * k->t->x_sample + (block * k->t->x_plane + d * s->in[IFD_K_H] * width) * 16;
  int64_t n = k->z.in, apart = width * 16;
  float edge[MAX_PLANES * 16] __attribute__((aligned(64)));
  if (x && h >= 0 && w >= 0 && h + n <= s->in[IFD_K_H] && w + n <= width) {
    x += (h * width + w) * 16;
  } else {
    copy_edge(s, x, h, w, n, edge);
    x = edge, apart = n * 16;
  }
  if (k->z.out == 2)
    tile_in(2, x, apart, to, k->z.v_plane);
  else
    tile_in(4, x, apart, to, k->z.v_plane);
}

static void transform_inputs(const work *k) {
  for (int64_t segment = 0; segment < k->z.segments; segment++)
    for (int64_t i = 0; i < k->n_tiles; i++)
      transform_input(k, place_of(&k->z, k->tile + i), segment, k->v + (segment * k->n_tiles + i) * 16);
}

/* The products of all planes for output blocks [b0, b1). */
static void multiply(const work *k, int64_t b0, int64_t b1) {
  const ifd_k_conv_shape *s = &k->t->plan->shape;
  const ifd_winograd_sizes *z = &k->z;
  int64_t panels = ifd_ceil_div(s->m, 16);
  ifd_ukr_args t = {.at = k->at, .b_vs = z->steps * 16, .c_rs = 16, .c_vs = k->n_tiles * 16};
  t.n_full = s->c / 16 * s->kernel[IFD_K_D];
  t.n_part = s->c % 16 ? s->kernel[IFD_K_D] : 0;
  t.k_part = s->c % 16;
  for (int64_t plane = 0; plane < z->planes; plane++)
    for (int64_t b = b0, v; b < b1; b += v) {
      v = ifd_ukr_vectors(k->n_tiles, b1 - b);
      int64_t n = ifd_ceil_div(k->n_tiles, ifd_ukr_rows(v));
      t.b = k->t->packed + (plane * panels + b) * z->steps * 16;
      for (int64_t r = 0; r < n; r++) {
        int64_t i = k->n_tiles * r / n, end = k->n_tiles * (r + 1) / n;
        t.a = k->v + plane * z->v_plane + i * 16;
        t.c = k->m + plane * z->m_plane + ((b - b0) * k->n_tiles + i) * 16;
        ifd_ukr_share(&t, r, n, v);
        IFD_K(ifd_ukr_find)(end - i, v)(&t);
      }
    }
}

/* One tile of output block b from place `m` of the products. */
IFD_INLINE void transform_output(const int OUT, const work *k, place p, int64_t b,
                                 const ifd_conv_fused *fused, const float *m) {
  const ifd_k_conv_shape *s = &k->t->plan->shape;
  ifd_conv_task t = *k->t;
  v16 y[MAX_OUT][MAX_OUT];
  int64_t width = s->out[IFD_K_W], pixel = (p.d * s->out[IFD_K_H] + p.h) * width + p.w;
  int64_t rows = ifd_min_i64(OUT, s->out[IFD_K_H] - p.h), columns = ifd_min_i64(OUT, width - p.w);
  t.y += p.sample * t.y_sample;
  if (t.epilogue.join) t.epilogue.other += p.sample * t.other_sample;
  tile_out(OUT, m, k->z.m_plane, y);
  if (fused->fits && rows == OUT && columns == OUT) {
    int64_t at = (b * t.y_plane + pixel) * 16;
    const float *other = t.epilogue.join ? t.epilogue.other + at : NULL;
    UNROLL_ for (int i = 0; i < OUT; i++) UNROLL_ for (int j = 0; j < OUT; j++) {
      int64_t to = (i * width + j) * 16;
      v16_store(t.y + at + to, ifd_conv_fused_of(fused, y[i][j], other ? other + to : NULL));
    }
    return;
  }
  float sums[MAX_OUT * MAX_OUT * 16] __attribute__((aligned(64)));
  UNROLL_ for (int i = 0; i < OUT; i++) UNROLL_ for (int j = 0; j < OUT; j++)
      v16_store(sums + (i * OUT + j) * 16, y[i][j]);
  for (int64_t i = 0; i < rows; i++)
    ifd_conv_finish(&t, sums + i * OUT * 16, b, pixel + i * width, columns, 1);
}

static void transform_outputs(const work *k, int64_t b0, int64_t b1) {
  for (int64_t b = b0; b < b1; b++) {
    ifd_conv_fused fused = ifd_conv_fuse(k->t, b);
    for (int64_t i = 0; i < k->n_tiles; i++) {
      const float *m = k->m + ((b - b0) * k->n_tiles + i) * 16;
      place p = place_of(&k->z, k->tile + i);
      if (k->z.out == 2)
        transform_output(2, k, p, b, &fused, m);
      else
        transform_output(4, k, p, b, &fused, m);
    }
  }
}

void IFD_K(ifd_conv_winograd)(const ifd_conv_task *t, void *scratch) {
  const ifd_k_conv_plan *plan = t->plan;
  work k = {.t = t,
            .z = ifd_winograd_sizes_of(&plan->shape, ifd_winograd_out(plan->algo), plan->rows, plan->blocks),
            .at = scratch};
  k.v = (float *)((char *)scratch + ifd_round_64(sizeof *k.at * (size_t)k.z.segments));
  k.m = k.v + k.z.planes * k.z.v_plane;
  int64_t n = ifd_ceil_div(t->r1 - t->r0, k.z.at_once);
  for (int64_t i = 0; i < n; i++) {
    k.tile = t->r0 + (t->r1 - t->r0) * i / n;
    k.n_tiles = t->r0 + (t->r1 - t->r0) * (i + 1) / n - k.tile;
    for (int64_t s = 0; s < k.z.segments; s++) k.at[s] = s * k.n_tiles * 16;
    transform_inputs(&k);
    for (int64_t b = t->b0; b < t->b1; b += k.z.blocks_at_once) {
      int64_t end = ifd_min_i64(b + k.z.blocks_at_once, t->b1);
      multiply(&k, b, end);
      transform_outputs(&k, b, end);
    }
  }
}
