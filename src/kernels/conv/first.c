/* Few input channels, read unblocked (band.h): tiles of outputs side by side by vectors of output
 * channels. */
#include "kernels/conv/band.h"

#if defined(IFD_ISA_avx512)
enum { ROWS = IFD_CONV_FIRST_TILE, VECTORS = 2 };
#elif defined(IFD_ISA_avx2)
enum { ROWS = 6, VECTORS = 1 };
#else
enum { ROWS = 4, VECTORS = 1 };
#endif
#define UNROLL_ _Pragma("GCC unroll 16")

/* ROWS neighbouring outputs of NV blocks; STEP is their distance in x. */
typedef struct tile {
  const float *x;
  const int64_t *at; /* of each tap in x */
  int64_t n_taps;
  const float *w; /* [NV][n_taps][16] */
  float *y;
  int64_t y_vs; /* between blocks; outputs are 16 apart */
  const float *other;
  const ifd_conv_fused *fused; /* one for each block; NULL: the sums */
} tile;

IFD_INLINE void run_tile(const int NV, const int STEP, const tile *t) {
  v16 sum[ROWS][VECTORS];
  UNROLL_ for (int i = 0; i < ROWS; i++) UNROLL_ for (int v = 0; v < NV; v++) sum[i][v] = v16_zero();
  for (int64_t k = 0; k < t->n_taps; k++) {
    const float *x = t->x + t->at[k];
    v16 w[VECTORS];
    UNROLL_ for (int v = 0; v < NV; v++) w[v] = v16_load(t->w + (v * t->n_taps + k) * 16);
    UNROLL_ for (int i = 0; i < ROWS; i++) {
      v16 xv = v16_set1(x[i * STEP]);
      UNROLL_ for (int v = 0; v < NV; v++) sum[i][v] = v16_fma(xv, w[v], sum[i][v]);
    }
  }
  UNROLL_ for (int v = 0; v < NV; v++) UNROLL_ for (int i = 0; i < ROWS; i++) {
    const float *other = t->other ? t->other + v * t->y_vs + i * 16 : NULL;
    v16_store(t->y + v * t->y_vs + i * 16,
              t->fused ? ifd_conv_fused_of(&t->fused[v], sum[i][v], other) : sum[i][v]);
  }
}

typedef void (*kernel)(const tile *t);
#define KERNEL(NV, STEP)                                                                                     \
  static __attribute__((noinline)) void tile_##NV##_##STEP(const tile *t) { run_tile(NV, STEP, t); }
KERNEL(1, 1)
KERNEL(1, 2)
KERNEL(1, 4)
#if defined(IFD_ISA_avx512)
KERNEL(2, 1)
KERNEL(2, 2)
KERNEL(2, 4)
#endif
static const kernel kernels[VECTORS][5] = {{[1] = tile_1_1, [2] = tile_1_2, [4] = tile_1_4},
#if defined(IFD_ISA_avx512)
                                           {[1] = tile_2_1, [2] = tile_2_2, [4] = tile_2_4}
#endif
};

/* Outputs from o on of one line, at most ROWS, of blocks [b, b + nv). */
static void run_outputs(const ifd_conv_task *t, tile *k, int64_t step, const ifd_conv_fused *fused,
                        int64_t row, int64_t o, int64_t b, int64_t nv) {
  const ifd_k_conv_shape *s = &t->plan->shape;
  float sums[ROWS * VECTORS * 16] __attribute__((aligned(64)));
  int64_t width = s->out[IFD_K_W], n = ifd_min_i64(ROWS, width - o);
  int64_t pixel = (t->part * s->out[IFD_K_H] + row) * width + o, at = (b * t->y_plane + pixel) * 16;
  bool fits = n == ROWS;
  for (int64_t v = 0; v < nv; v++) fits = fits && (fused[v].fits || fused[v].waits);
  k->fused = fits ? fused : NULL;
  k->y = fits ? t->y + at : sums;
  k->y_vs = fits ? t->y_plane * 16 : ROWS * 16;
  k->other = fits && t->epilogue.join ? t->epilogue.other + at : NULL;
  kernels[nv - 1][step](k);
  for (int64_t v = 0; v < nv; v++)
    if (fits)
      ifd_conv_fused_end(&fused[v], k->y + v * k->y_vs, n);
    else
      ifd_conv_finish(t, sums + v * ROWS * 16, b + v, pixel, n, 1);
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
    for (int64_t row = t->r0; row < t->r1; row++)
      for (int64_t o = 0; o < s->out[IFD_K_W]; o += ROWS) {
        k.x = x + (row - t->r0) * s->stride[IFD_K_H] * ifd_conv_band_line(&band) + o * band.step;
        run_outputs(t, &k, band.step, fused, row, o, b, nv);
      }
  }
}
