/* Few output channels: x and y unblocked (band.h), tiles of output channels by vectors of 16 outputs side by
 * side. */
#include "kernels/conv/band.h"

#define VECTORS_2(X, M) X(M, 1) X(M, 2)
#define VECTORS_3(X, M) VECTORS_2(X, M) X(M, 3)
#define VECTORS_4(X, M) VECTORS_3(X, M) X(M, 4)
#define VECTORS_6(X, M) VECTORS_4(X, M) X(M, 5) X(M, 6)
#define VECTORS_8(X, M) VECTORS_6(X, M) X(M, 7) X(M, 8)
#if defined(IFD_ISA_avx512)
enum { MAX_M = 8, MAX_VECTORS = 8 };
#define TILES(X) VECTORS_8(X, 1) VECTORS_8(X, 2) VECTORS_6(X, 4) VECTORS_3(X, 8)
#elif defined(IFD_ISA_avx2)
enum { MAX_M = 4, MAX_VECTORS = 4 };
#define TILES(X) VECTORS_4(X, 1) VECTORS_2(X, 2) X(4, 1)
#else
enum { MAX_M = 2, MAX_VECTORS = 2 };
#define TILES(X) VECTORS_2(X, 1) X(2, 1)
#endif
#define UNROLL_ _Pragma("GCC unroll 8")

typedef struct tile {
  const float *x;
  const int64_t *at; /* of each tap in x */
  int64_t n_taps;
  const float *w; /* [M][n_taps] */
  float *sums;    /* [M][MAX_VECTORS * 16] */
} tile;

IFD_INLINE void run_tile(const int M, const int NV, const tile *t) {
  v16 sum[MAX_M][MAX_VECTORS];
  UNROLL_ for (int m = 0; m < M; m++) UNROLL_ for (int v = 0; v < NV; v++) sum[m][v] = v16_zero();
  for (int64_t k = 0; k < t->n_taps; k++) {
    const float *x = t->x + t->at[k];
    v16 xv[MAX_VECTORS];
    UNROLL_ for (int v = 0; v < NV; v++) xv[v] = v16_load(x + v * 16);
    UNROLL_ for (int m = 0; m < M; m++) {
      v16 wv = v16_set1(t->w[m * t->n_taps + k]);
      UNROLL_ for (int v = 0; v < NV; v++) sum[m][v] = v16_fma(wv, xv[v], sum[m][v]);
    }
  }
  UNROLL_ for (int m = 0; m < M; m++) UNROLL_ for (int v = 0; v < NV; v++)
      v16_store(t->sums + (m * MAX_VECTORS + v) * 16, sum[m][v]);
}

typedef void (*kernel)(const tile *t);
#define KERNEL(M, NV)                                                                                        \
  static __attribute__((noinline)) void tile_##M##_##NV(const tile *t) { run_tile(M, NV, t); }
TILES(KERNEL)
#define ENTRY(M, NV) [M][NV] = tile_##M##_##NV,
static const kernel kernels[MAX_M + 1][MAX_VECTORS + 1] = {TILES(ENTRY)};

/* The largest M of a kernel that does not exceed m; the most vectors of one with so many. */
static int64_t channels_at_once(int64_t m) {
  int64_t n = MAX_M;
  while (n > m) n /= 2;
  return n;
}
static int64_t vectors_at_once(int64_t m) {
  int64_t n = MAX_VECTORS;
  while (!kernels[m][n]) n--;
  return n;
}

/* n outputs from o on of one line, of channels [m, m + n_m). */
static void run_outputs(const ifd_conv_task *t, tile *k, int64_t row, int64_t o, int64_t n, int64_t m,
                        int64_t n_m) {
  const ifd_k_conv_shape *s = &t->plan->shape;
  const ifd_k_epilogue *e = &t->epilogue;
  int64_t pixel = (t->part * s->out[IFD_K_H] + row) * s->out[IFD_K_W] + o, at = m * t->y_plane + pixel;
  kernels[n_m][ifd_ceil_div(n, 16)](k);
  IFD_K(ifd_k_finish)
  (e, &(ifd_k_tile){.sums = k->sums,
                    .sums_rs = MAX_VECTORS * 16,
                    .sums_vs = 16,
                    .y = t->y + at,
                    .y_rs = t->y_plane,
                    .y_vs = 16,
                    .other = e->join ? e->other + at : NULL,
                    .other_rs = t->y_plane,
                    .other_vs = 16,
                    .row_bias = e->bias ? e->bias + m : NULL,
                    .n_rows = n_m,
                    .n_cols = n});
}

void IFD_K(ifd_conv_planar)(const ifd_conv_task *t, void *scratch) {
  const ifd_k_conv_shape *s = &t->plan->shape;
  const ifd_conv_band band = ifd_conv_band_planar(s, t->plan->rows);
  float sums[MAX_M * MAX_VECTORS * 16] __attribute__((aligned(64)));
  tile k = {.n_taps = band.taps, .sums = sums};
  const float *x = IFD_K(ifd_conv_band_fill)(t, &band, scratch, &k.at);
  int64_t width = s->out[IFD_K_W], vectors = ifd_ceil_div(width, 16);
  for (int64_t row = t->r0; row < t->r1; row++)
    for (int64_t m = 0, n_m; m < s->m; m += n_m) {
      n_m = channels_at_once(s->m - m);
      k.w = t->packed + m * band.taps;
      int64_t n = ifd_ceil_div(vectors, vectors_at_once(n_m));
      for (int64_t i = 0; i < n; i++) {
        int64_t o = vectors * i / n * 16, end = ifd_min_i64(vectors * (i + 1) / n * 16, width);
        k.x = x + (row - t->r0) * s->stride[IFD_K_H] * ifd_conv_band_line(&band) + o;
        run_outputs(t, &k, row, o, end - o, m, n_m);
      }
    }
}
