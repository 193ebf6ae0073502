/* Few input channels, read unblocked (band.h): tiles of outputs side by side by vectors of output
 * channels. */
#include "kernels/conv/band.h"

#if defined(IFD_ISA_avx512)
enum { LEAST = IFD_CONV_FIRST_LEAST, MOST = IFD_CONV_FIRST_TILE, VECTORS = 2 };
#define TILES(X, ...)                                                                                        \
  X(4, __VA_ARGS__)                                                                                          \
  X(5, __VA_ARGS__)                                                                                          \
  X(6, __VA_ARGS__)                                                                                          \
  X(7, __VA_ARGS__)                                                                                          \
  X(8, __VA_ARGS__)                                                                                          \
  X(9, __VA_ARGS__)                                                                                          \
  X(10, __VA_ARGS__) X(11, __VA_ARGS__) X(12, __VA_ARGS__) X(13, __VA_ARGS__) X(14, __VA_ARGS__)
#elif defined(IFD_ISA_avx2)
enum { LEAST = 2, MOST = 6, VECTORS = 1 };
#define TILES(X, ...)                                                                                        \
  X(2, __VA_ARGS__) X(3, __VA_ARGS__) X(4, __VA_ARGS__) X(5, __VA_ARGS__) X(6, __VA_ARGS__)
#else
enum { LEAST = 2, MOST = 4, VECTORS = 1 };
#define TILES(X, ...) X(2, __VA_ARGS__) X(3, __VA_ARGS__) X(4, __VA_ARGS__)
#endif
#define UNROLL_ _Pragma("GCC unroll 16")

/* N neighbouring outputs of NV blocks; STEP is their distance in x. */
typedef struct tile {
  const float *x;
  const int64_t *at; /* of each tap in x */
  int64_t n_taps;
  const float *w; /* [NV][n_taps][16] */
  float *y;
  int64_t y_vs; /* between blocks; outputs are 16 apart */
  const float *other;
  const ifd_conv_fused *fused; /* one for each block, without rounding; NULL: the sums */
} tile;

#define EACH     UNROLL_ for (int i = 0; i < N; i++)
#define LOAD_(p) (HALF ? part_load(p) : v16_load(p))
/* One block's sums of outputs from o on, as ifd_conv_fused_of; whatever a store may change is read before. */
IFD_INLINE void store(const int N, const bool HALF, v16 sum[][VECTORS], int v, const tile *t, int64_t o) {
  float *y = t->y + v * t->y_vs + o * 16;
  if (t->fused) {
    const ifd_conv_fused *f = &t->fused[v];
    const v16 bias = f->bias, lo = f->lo, hi = f->hi;
    const m16 lanes = f->lanes;
    EACH sum[i][v] = v16_add(sum[i][v], bias);
    if (t->other) EACH sum[i][v] = v16_add(sum[i][v], LOAD_(t->other + v * t->y_vs + (o + i) * 16));
    EACH sum[i][v] = v16_select(lanes, v16_min(hi, v16_max(lo, sum[i][v])), v16_zero());
  }
  EACH if (HALF) part_store(y + i * 16, sum[i][v]), part_store(y + i * 16 + IFD_PART, v16_zero());
  else v16_store(y + i * 16, sum[i][v]);
}

/* HALF: the channels are a part of the lanes. */
IFD_INLINE void run_tile(const int N, const int NV, const bool HALF, const int STEP, const tile *t,
                         int64_t o) {
  v16 sum[MOST][VECTORS];
  EACH UNROLL_ for (int v = 0; v < NV; v++) sum[i][v] = v16_zero();
  for (int64_t k = 0; k < t->n_taps; k++) {
    const float *x = t->x + o * STEP + t->at[k];
    v16 w[VECTORS];
    UNROLL_ for (int v = 0; v < NV; v++) w[v] = LOAD_(t->w + (v * t->n_taps + k) * 16);
    EACH {
      v16 xv = v16_set1(x[i * STEP]);
      UNROLL_ for (int v = 0; v < NV; v++) sum[i][v] = v16_fma(xv, w[v], sum[i][v]);
    }
  }
  UNROLL_ for (int v = 0; v < NV; v++) store(N, HALF, sum, v, t, o);
}

/* Tiles side by side up to output `end`. */
typedef void (*kernel)(const tile *t, int64_t o, int64_t end);
#define KERNEL(N, NV, HALF, STEP)                                                                            \
  static __attribute__((noinline)) void tile_##N##x##NV##_##HALF##_##STEP(const tile *t, int64_t o,          \
                                                                          int64_t end) {                     \
    for (; o < end; o += N) run_tile(N, NV, HALF, STEP, t, o);                                               \
  }
#define ENTRY(N, NV, HALF, STEP) [HALF][NV - 1][STEP][N] = tile_##N##x##NV##_##HALF##_##STEP,
#define STEPS(X, NV, HALF)       TILES(X, NV, HALF, 1) TILES(X, NV, HALF, 2) TILES(X, NV, HALF, 4)
#if defined(IFD_ISA_avx512)
#define KINDS(X) STEPS(X, 1, 0) STEPS(X, 2, 0)
#elif defined(IFD_ISA_avx2)
#define KINDS(X) STEPS(X, 1, 0) STEPS(X, 1, 1)
#else
#define KINDS(X) STEPS(X, 1, 0)
#endif
KINDS(KERNEL)
static const kernel kernels[16 / IFD_PART][VECTORS][5][MOST + 1] = {KINDS(ENTRY)};

/* A line of blocks [b, b + nv) in tiles of about equal width, the last of which may be less than the least.
 */
static void run_line(const ifd_conv_task *t, tile *k, int64_t step, const ifd_conv_fused *fused, int64_t row,
                     int64_t b, int64_t nv) {
  const ifd_k_conv_shape *s = &t->plan->shape;
  float sums[MOST * VECTORS * 16] __attribute__((aligned(64)));
  int64_t width = s->out[IFD_K_W], n_tiles = ifd_ceil_div(width, MOST), n = width / n_tiles;
  int64_t pixel = (t->part * s->out[IFD_K_H] + row) * width, at = (b * t->y_plane + pixel) * 16;
  int64_t wider = width % n_tiles * (n + 1);
  bool half = ifd_conv_columns(t, b + nv - 1) <= 16 - IFD_PART, fits = n >= LEAST;
  const kernel *of = kernels[half][nv - 1][step];
  for (int64_t v = 0; v < nv; v++)
    fits = fits && (fused[v].fits || fused[v].waits) && fused[v].rounding == IFD_K_ACT_NONE;
  if (fits) {
    k->fused = fused, k->y = t->y + at, k->y_vs = t->y_plane * 16;
    k->other = t->epilogue.join ? t->epilogue.other + at : NULL;
    if (wider) of[n + 1](k, 0, wider);
    of[n](k, wider, width);
    for (int64_t v = 0; v < nv; v++) ifd_conv_fused_end(&fused[v], k->y + v * k->y_vs, width);
    return;
  }
  tile one = {.x = k->x, .at = k->at, .n_taps = k->n_taps, .w = k->w, .y = sums, .y_vs = MOST * 16};
  for (int64_t o = 0, end; o < width; one.x += (end - o) * step, o = end) {
    end = o + n + (o < wider);
    of[ifd_max_i64(end - o, LEAST)](&one, 0, end - o);
    for (int64_t v = 0; v < nv; v++) ifd_conv_finish(t, sums + v * MOST * 16, b + v, pixel + o, end - o, 1);
  }
}

void IFD_K(ifd_conv_first)(const ifd_conv_task *t, void *scratch) {
  const ifd_k_conv_shape *s = &t->plan->shape;
  const ifd_conv_band band = ifd_conv_band_first(s, t->plan->rows);
  const int64_t *at;
  const float *x = IFD_K(ifd_conv_band_fill)(t, &band, scratch, &at);
  for (int64_t b = t->b0, nv; b < t->b1; b += nv) {
    nv = ifd_min_i64(VECTORS, t->b1 - b);
    ifd_conv_fused fused[VECTORS];
    for (int64_t v = 0; v < nv; v++) fused[v] = ifd_conv_fuse(t, b + v);
    tile k = {.at = at, .n_taps = band.taps, .w = t->packed + b * band.taps * 16};
    k.x = x;
    for (int64_t row = t->r0; row < t->r1; row++) {
      run_line(t, &k, band.step, fused, row, b, nv);
      k.x += s->stride[IFD_K_H] * ifd_conv_band_line(&band);
    }
  }
}
