/* Few input channels, read unblocked: every tap of every channel is one step of k, its place in a padded band
 * of x in a table. A part is a plane of outputs in depth, rows are its lines. */
#include "kernels/conv/first.h"
#include "kernels/conv/task.h"

#if defined(IFD_ISA_avx512)
enum { ROWS = 14, VECTORS = 2 };
#elif defined(IFD_ISA_avx2)
enum { ROWS = 6, VECTORS = 1 };
#else
enum { ROWS = 4, VECTORS = 1 };
#endif
#define UNROLL_ _Pragma("GCC unroll 16")

/* ROWS neighbouring outputs of NV blocks; STEP is the stride. */
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

/* One line of x into the band: `columns` of them from column -pad on, zeros outside. */
static void copy_line(float *to, const float *line, int64_t width, int64_t pad, int64_t columns) {
  int64_t left = ifd_min_i64(pad, columns), inside = ifd_min_i64(columns - left, width);
  if (!line) left = columns, inside = 0;
  memset(to, 0, sizeof *to * (size_t)left);
  if (inside > 0) memcpy(to + left, line, sizeof *to * (size_t)inside);
  memset(to + left + inside, 0, sizeof *to * (size_t)(columns - left - inside));
}

static void copy_band(const ifd_conv_task *t, const ifd_conv_band *band, float *to) {
  const ifd_k_conv_shape *s = &t->plan->shape;
  int64_t lines =
      ((t->r1 - t->r0) - 1) * s->stride[IFD_K_H] + (s->kernel[IFD_K_H] - 1) * s->dilation[IFD_K_H] + 1;
  for (int64_t p = 0; p < band->planes; p++) {
    int64_t c = p / s->kernel[IFD_K_D], d = p % s->kernel[IFD_K_D];
    int64_t i_d = t->part * s->stride[IFD_K_D] + d * s->dilation[IFD_K_D] - s->pad[IFD_K_D];
    for (int64_t l = 0; l < lines; l++) {
      int64_t i_h = t->r0 * s->stride[IFD_K_H] + l - s->pad[IFD_K_H];
      bool inside = i_d >= 0 && i_d < s->in[IFD_K_D] && i_h >= 0 && i_h < s->in[IFD_K_H];
      const float *line = t->x + c * t->x_plane + (i_d * s->in[IFD_K_H] + i_h) * s->in[IFD_K_W];
      copy_line(to + (p * band->lines + l) * band->columns, inside ? line : NULL, s->in[IFD_K_W],
                s->pad[IFD_K_W], band->columns);
    }
  }
}

static void fill_table(const ifd_k_conv_shape *s, const ifd_conv_band *band, int64_t *at) {
  for (int64_t p = 0; p < band->planes; p++)
    for (int64_t h = 0; h < s->kernel[IFD_K_H]; h++)
      for (int64_t w = 0; w < s->kernel[IFD_K_W]; w++)
        *at++ = (p * band->lines + h * s->dilation[IFD_K_H]) * band->columns + w * s->dilation[IFD_K_W];
}

/* Outputs from o on of one line, at most ROWS, of blocks [b, b + nv). */
static void run_outputs(const ifd_conv_task *t, tile *k, const ifd_conv_fused *fused, int64_t row, int64_t o,
                        int64_t b, int64_t nv) {
  const ifd_k_conv_shape *s = &t->plan->shape;
  float sums[ROWS * VECTORS * 16] __attribute__((aligned(64)));
  int64_t width = s->out[IFD_K_W], n = ifd_min_i64(ROWS, width - o);
  int64_t pixel = (t->part * s->out[IFD_K_H] + row) * width + o, at = (b * t->y_plane + pixel) * 16;
  bool fits = n == ROWS;
  for (int64_t v = 0; v < nv; v++) fits = fits && fused[v].fits;
  k->fused = fits ? fused : NULL;
  k->y = fits ? t->y + at : sums;
  k->y_vs = fits ? t->y_plane * 16 : ROWS * 16;
  k->other = fits && t->epilogue.join ? t->epilogue.other + at : NULL;
  kernels[nv - 1][s->stride[IFD_K_W]](k);
  for (int64_t v = 0; v < nv && !fits; v++) ifd_conv_finish(t, sums + v * ROWS * 16, b + v, pixel, n, 1);
}

void IFD_K(ifd_conv_first)(const ifd_conv_task *t, void *scratch) {
  const ifd_k_conv_shape *s = &t->plan->shape;
  ifd_conv_band band = ifd_conv_band_of(s, t->plan->rows);
  int64_t *at = scratch;
  float *x = (float *)((char *)scratch + ifd_round_64(sizeof *at * (size_t)band.taps));
  fill_table(s, &band, at);
  copy_band(t, &band, x);
  for (int64_t b = t->b0, nv; b < t->b1; b += nv) {
    nv = ifd_min_i64(VECTORS, t->b1 - b);
    ifd_conv_fused fused[VECTORS];
    for (int64_t v = 0; v < nv; v++) fused[v] = ifd_conv_fuse(t, b + v);
    tile k = {.at = at, .n_taps = band.taps, .w = t->packed + b * band.taps * 16};
    for (int64_t row = t->r0; row < t->r1; row++)
      for (int64_t o = 0; o < s->out[IFD_K_W]; o += ROWS) {
        k.x = x + (row - t->r0) * s->stride[IFD_K_H] * band.columns + o * s->stride[IFD_K_W];
        run_outputs(t, &k, fused, row, o, b, nv);
      }
  }
}
