#include "kernels/quant/winograd.h"

#include "kernels/quant/finish.h"
#include "kernels/quant/image.h"

enum { LANES = 16, POINTS = IFD_QUANT_MOST_POINTS * IFD_QUANT_MOST_POINTS };
enum { OUTPUTS = IFD_QUANT_MOST_OUTPUTS * IFD_QUANT_MOST_OUTPUTS };
#define UNROLL_  _Pragma("GCC unroll 16")
#define EACH_ROW UNROLL_ for (int i = 0; i < M; i++)

/* ---- points of inputs ---- */

/* 16 channels of a pixel. */
typedef int8_t bytes __attribute__((vector_size(LANES)));
typedef int16_t words __attribute__((vector_size(LANES * 2)));

/* In place, `step` apart, of 2 and of 4 outputs. */
IFD_INLINE void points_2(words *v, int step) {
  const words d1 = v[step], d2 = v[2 * step];
  v[0] -= d2, v[3 * step] = d1 - v[3 * step];
  v[step] = d1 + d2, v[2 * step] = d2 - d1;
}
IFD_INLINE void points_4(words *v, int step) {
  const words d0 = v[0], d1 = v[step], d2 = v[2 * step], d3 = v[3 * step], d4 = v[4 * step], d5 = v[5 * step];
  const words even = d4 - d2, odd = (d3 - d1) * 2;
  v[0] = (d0 - d2) * 4 + even;
  v[step] = (d1 + d2) * 4 - (d3 + d4);
  v[2 * step] = (d2 - d1) * 4 + (d3 - d4);
  v[3 * step] = even + odd, v[4 * step] = even - odd;
  v[5 * step] = (d5 - d3) - odd * 2;
}
IFD_INLINE void points_of(const int n, words *v, int step) { n == 2 ? points_2(v, step) : points_4(v, step); }

#if defined(IFD_ISA_avx2) || defined(IFD_ISA_avx512)
IFD_INLINE words words_of(bytes v) { return (words)_mm256_cvtepi8_epi16((__m128i)v); }
#else
IFD_INLINE words words_of(bytes v) { return __builtin_convertvector(v, words); }
#endif

IFD_INLINE words load_pixel(const uint8_t *p, bytes flip) {
  bytes v;
  memcpy(&v, p, sizeof v);
  return words_of(v ^ flip);
}

/* What a block of tiles is made of. */
typedef struct block {
  const ifd_k_quant_winograd *w;
  const ifd_k_quant_product *p;
  const ifd_k_quant_image *g;
  ifd_quant_winograd_sizes z;
  int64_t t0, t1; /* tiles */
  int16_t *points;
  int32_t *sums;
  uint8_t *fill;
  char *spare;
} block;

typedef struct place {
  int64_t sample, at[2]; /* the first output */
} place;

static place place_of(const ifd_k_quant_winograd *w, int64_t tile) {
  const int64_t row = tile / w->tiles[1];
  return (place){row / w->tiles[0], {row % w->tiles[0] * w->outputs[0], tile % w->tiles[1] * w->outputs[1]}};
}

/* The pixels that a tile reads. */
static void find_pixels(const block *k, int64_t tile, const uint8_t **pixels) {
  const ifd_k_conv_shape *s = k->g->shape;
  const place at = place_of(k->w, tile);
  const int64_t h0 = at.at[0] - s->pad[IFD_K_H], w0 = at.at[1] - s->pad[IFD_K_W];
  for (int64_t h = h0; h < h0 + k->w->outputs[0] + 2; h++) {
    const uint8_t *line = k->g->x + (at.sample * s->in[IFD_K_H] + h) * s->in[IFD_K_W] * s->c;
    const bool inside = h >= 0 && h < s->in[IFD_K_H];
    for (int64_t w = w0; w < w0 + k->w->outputs[1] + 2; w++)
      *pixels++ = inside && w >= 0 && w < s->in[IFD_K_W] ? line + w * s->c : k->fill;
  }
}

/* 16 channels of a tile's pixels; H, W are constants where this is inlined, as below. */
IFD_INLINE void transform_pixels(const int H, const int W, const uint8_t *const *pixels, int64_t c,
                                 bytes flip, int16_t *to, int64_t plane) {
  const int NH = H + 2, NW = W + 2;
  words v[POINTS];
  UNROLL_ for (int w = 0; w < NW; w++) {
    UNROLL_ for (int h = 0; h < NH; h++) v[h * NW + w] = load_pixel(pixels[h * NW + w] + c, flip);
    points_of(H, v + w, NW);
  }
  UNROLL_ for (int h = 0; h < NH; h++) {
    points_of(W, v + h * NW, 1);
    UNROLL_ for (int w = 0; w < NW; w++, to += plane) memcpy(to, &v[h * NW + w], sizeof *v);
  }
}

IFD_INLINE void transform_inputs(const int H, const int W, const block *k) {
  const bytes flip = (bytes){0} + (int8_t)k->g->flip;
  const int64_t whole = k->w->c / LANES * LANES, rest = k->w->c - whole;
  const uint8_t *pixels[POINTS];
  for (int64_t tile = k->t0; tile < k->t1; tile++) {
    int16_t *to = k->points + (tile - k->t0) * k->z.channels;
    find_pixels(k, tile, pixels);
    for (int64_t c = 0; c < whole; c += LANES) transform_pixels(H, W, pixels, c, flip, to + c, k->z.plane);
    if (rest == 0) continue;
    uint8_t last[POINTS][LANES] = {{0}};
    for (int i = 0; i < (H + 2) * (W + 2); i++) pixels[i] = memcpy(last[i], pixels[i] + whole, (size_t)rest);
    transform_pixels(H, W, pixels, 0, flip, to + whole, k->z.plane);
  }
}

/* ---- products ---- */

/* M rows of points by a panel; what stands `ahead` bytes behind it is fetched meanwhile. */
#define ROW_(i) (a[(i) / 3] + (i) % 3 * rs)
#define KERNEL(M)                                                                                            \
  static __attribute__((noinline)) void product_##M(const int16_t *from, int64_t rs, const int16_t *b,       \
                                                    int64_t pairs, int64_t ahead, int32_t *to) {             \
    i16 sum[M];                                                                                              \
    const int16_t *a[(M + 2) / 3];                                                                           \
    UNROLL_ for (int i = 0; i < M; i += 3) a[i / 3] = from + i * rs;                                         \
    UNROLL_ for (int i = 0; i < M; i++) sum[i] = i16_set1(0);                                                \
    for (int64_t k = 0; k < pairs; k++, b += 2 * LANES) {                                                    \
      const i16 bv = i16_load((const int32_t *)b);                                                           \
      __builtin_prefetch((const char *)b + ahead, 0, 3);                                                     \
      UNROLL_ for (int i = 0; i < M; i++) sum[i] = add_words(sum[i], i16_set_quad(ROW_(i)), bv);             \
      UNROLL_ for (int i = 0; i < M; i += 3) a[i / 3] += 2;                                                  \
    }                                                                                                        \
    UNROLL_ for (int i = 0; i < M; i++) i16_store(to + i * LANES, sum[i]);                                   \
  }
#define ENTRY(M) product_##M,
#define ROWS(X)  X(1) X(2) X(3) X(4) X(5) X(6)
ROWS(KERNEL)

typedef void product(const int16_t *from, int64_t rs, const int16_t *b, int64_t pairs, int64_t ahead,
                     int32_t *to);
static product *const products[] = {NULL, ROWS(ENTRY)};

/* All points of the block by the panel of column j. */
static void multiply(const block *k, int64_t j) {
  enum { MOST = sizeof products / sizeof *products - 1 };
  const int64_t n = k->t1 - k->t0, n_tiles = ifd_ceil_div(n, MOST), pairs = ifd_quant_pairs(k->w->c),
                points = ifd_quant_points(k->w->outputs), len = pairs * 2 * LANES;
  const int16_t *b =
      (const int16_t *)(k->p->b + (size_t)(j / LANES) * ifd_quant_points_len(k->w->outputs, k->w->c));
  for (int64_t point = 0; point < points; point++, b += len) {
    const int16_t *a = k->points + point * k->z.plane;
    int32_t *to = k->sums + point * k->z.block * LANES;
    for (int64_t r = 0; r < n_tiles; r++) {
      const int64_t i = n * r / n_tiles, end = n * (r + 1) / n_tiles;
      products[end - i](a + i * k->z.channels, k->z.channels, b, pairs, r == n_tiles - 1 ? len * 2 : 0,
                        to + i * LANES);
    }
  }
}

/* ---- outputs ---- */

/* So many times the outputs, in place, `step` apart. */
IFD_INLINE void outputs_2(i16 *m, int step) {
  const i16 m1 = m[step], m2 = m[2 * step];
  m[0] = i16_add(m[0], i16_add(m1, m2));
  m[step] = i16_sub(i16_sub(m1, m2), m[3 * step]);
}
IFD_INLINE void outputs_4(i16 *m, int step) {
  const i16 a = i16_add(m[step], m[2 * step]), b = i16_sub(m[step], m[2 * step]);
  const i16 c = i16_add(m[3 * step], m[4 * step]), d = i16_sub(m[3 * step], m[4 * step]);
  m[0] = i16_add(i16_add(m[0], c), i16_sll(a, 2));
  m[step] = i16_add(i16_add(b, b), d);
  m[2 * step] = i16_add(a, c);
  m[3 * step] = i16_add(i16_add(b, m[5 * step]), i16_add(d, d));
}
IFD_INLINE void outputs_of(const int n, i16 *m, int step) {
  n == 2 ? outputs_2(m, step) : outputs_4(m, step);
}
/* 2^shift times 3 or not. */
IFD_INLINE int shift_of(const int n, int i) {
  static const int8_t shifts[] = {3, 2, 1, 1};
  return n == 2 ? 1 : shifts[i];
}

IFD_INLINE i16 i16_shift(i16 a, int n) {
  switch (n) {
  case 2: return i16_sra(a, 2);
  case 3: return i16_sra(a, 3);
  case 4: return i16_sra(a, 4);
  case 5: return i16_sra(a, 5);
  default: return i16_sra(a, 6);
  }
}

/* A tile's outputs of 16 columns. */
IFD_INLINE void sum_points(const int H, const int W, const block *k, const int32_t *from, i16 *y) {
  const int NH = H + 2, NW = W + 2;
  const int32_t inverse = (int32_t)(H == 2 && W == 2 ? 1 : H == 4 && W == 4 ? 0x38e38e39 : 0xaaaaaaab);
  i16 m[POINTS];
  UNROLL_ for (int w = 0; w < NW; w++) {
    UNROLL_ for (int h = 0; h < NH; h++) m[h * NW + w] = i16_load(from + (h * NW + w) * k->z.block * LANES);
    outputs_of(H, m + w, NW);
  }
  UNROLL_ for (int h = 0; h < H; h++) {
    outputs_of(W, m + h * NW, 1);
    UNROLL_ for (int w = 0; w < W; w++) {
      i16 v = m[h * NW + w];
      if (H == 4 || W == 4) v = i16_mul(v, i16_set1(inverse));
      y[h * W + w] = i16_shift(v, shift_of(H, h) + shift_of(W, w));
    }
  }
}

/* Where a tile's outputs go, and what is added to them is; those that are outside, to spare. */
typedef struct targets {
  char *to[OUTPUTS], *from[OUTPUTS];
} targets;

IFD_INLINE void find_targets(const int H, const int W, const block *k, const ifd_quant_store *s, int64_t tile,
                             targets *t) {
  const ifd_k_conv_shape *shape = k->g->shape;
  const place at = place_of(k->w, tile);
  const int64_t height = shape->out[IFD_K_H], width = shape->out[IFD_K_W], step = k->p->c_rs * s->size;
  const int64_t rows = height - at.at[0], columns = width - at.at[1];
  int64_t line = ((at.sample * height + at.at[0]) * width + at.at[1]) * step + s->at;
  for (int h = 0; h < H; h++, line += width * step)
    for (int w = 0; w < W; w++) {
      const bool inside = h < rows && w < columns;
      t->to[h * W + w] = inside ? *s->to + line + w * step : k->spare;
      t->from[h * W + w] = inside ? *s->from + line + w * step : k->spare;
    }
}

/* `out` is a constant where this is inlined. */
IFD_INLINE void put_tiles(const ifd_k_quant_out out, const int H, const int W, const block *k,
                          const ifd_quant_store *s) {
  const ifd_quant_column c = ifd_quant_column_at(s, 0);
  const ifd_quant_clip clip = ifd_quant_clip_of(&s->f);
  const bool whole = out >= IFD_K_QUANT_INT8 && s->lanes == LANES;
  for (int64_t tile = k->t0; tile < k->t1; tile++) {
    i16 y[OUTPUTS];
    targets t;
    sum_points(H, W, k, k->sums + (tile - k->t0) * LANES, y);
    find_targets(H, W, k, s, tile, &t);
    for (int i = 0; whole && i < H * W; i++) y[i] = ifd_quant_total(s, &c, y[i], 0);
    for (int i = 0; whole && i < H * W; i += 4)
      ifd_quant_put_four(out, s, &c, &clip, y + i, t.to + i, t.from + i, LANES);
    for (int i = 0; !whole && i < H * W; i++)
      if (t.to[i] != k->spare) ifd_quant_put(out, s, &c, y[i], 0, t.to[i], (int)s->lanes);
  }
}

IFD_INLINE void put_outputs(const int H, const int W, const block *k, const ifd_quant_store *s) {
  switch (s->f.out) {
  case IFD_K_QUANT_INT8: put_tiles(IFD_K_QUANT_INT8, H, W, k, s); break;
  case IFD_K_QUANT_FLOAT: put_tiles(IFD_K_QUANT_FLOAT, H, W, k, s); break;
  case IFD_K_QUANT_INT32: put_tiles(IFD_K_QUANT_INT32, H, W, k, s); break;
  case IFD_K_QUANT_SUM: put_tiles(IFD_K_QUANT_SUM, H, W, k, s); break;
  }
}

/* ---- all ---- */

#define SIZES(X) X(2, 2) X(2, 4) X(4, 2) X(4, 4)
#define FUNCTIONS(H, W)                                                                                      \
  static void inputs_##H##x##W(const block *k) { transform_inputs(H, W, k); }                                \
  static void outputs_##H##x##W(const block *k, const ifd_quant_store *s) { put_outputs(H, W, k, s); }
SIZES(FUNCTIONS)

static const struct {
  void (*inputs)(const block *k);
  void (*outputs)(const block *k, const ifd_quant_store *s);
} ways[2][2] = {{{inputs_2x2, outputs_2x2}, {inputs_2x4, outputs_2x4}},
                {{inputs_4x2, outputs_4x2}, {inputs_4x4, outputs_4x4}}};

void IFD_K(ifd_quant_winograd)(const ifd_k_quant_winograd *w, const ifd_k_quant_product *p, int64_t i0,
                               int64_t i1, int64_t j0, int64_t j1, void *scratch) {
  const ifd_k_quant_image *g = p->source;
  const ifd_quant_winograd_sizes z = ifd_quant_winograd_sizes_of(w, i1 - i0);
  char *const base = p->c, *const other = (char *)(uintptr_t)p->other;
  const int64_t size = ifd_k_quant_size(p->finish.out);
  block k = {.w = w,
             .p = p,
             .g = g,
             .z = z,
             .points = scratch,
             .sums = (int32_t *)((char *)scratch + z.sums),
             .fill = (uint8_t *)scratch + z.fill,
             .spare = (char *)scratch + z.spare};
  memset(k.fill, g->fill ^ g->flip, (size_t)z.channels);
  for (k.t0 = i0; k.t0 < i1; k.t0 = k.t1) {
    k.t1 = ifd_min_i64(k.t0 + z.block, i1);
    ways[w->outputs[0] == 4][w->outputs[1] == 4].inputs(&k);
    for (int64_t j = j0; j < j1; j += LANES) {
      ifd_quant_store s = {.f = p->finish,
                           .to = &base,
                           .from = &other,
                           .at = j * size,
                           .size = size,
                           .lanes = ifd_min_i64(LANES, j1 - j)};
      s.f.add += j;
      if (s.f.scale) s.f.scale += j, s.f.shift += j;
      multiply(&k, j);
      ways[w->outputs[0] == 4][w->outputs[1] == 4].outputs(&k, &s);
    }
  }
}
