/* Products of doubles: panels of 16 columns by blocks of k, copied side by side; in them tiles of some rows,
 * whose sums wait in C for the next block. One fused chain for each element, begun at 0. */
#include "base/checked.h"
#include "kernels/gemm/gemm.h"
#include "kernels/gemm/product.h"
#include "kernels/simd_double.h"

enum { LANES = 16, BLOCK = 128 };
#if defined(IFD_ISA_avx512)
enum { ROWS = 8 };
#elif defined(IFD_ISA_avx2)
enum { ROWS = 2 };
#else
enum { ROWS = 1 };
#endif

/* Columns [j, j + n) of steps [k0, k1) of B, zeros beyond n. */
static void pack_panel(const ifd_k_product_f64 *g, double *to, int64_t k0, int64_t k1, int64_t j, int64_t n) {
  for (int64_t k = k0; k < k1; k++, to += LANES) {
    const double *b = g->b + k * g->b_rs + j * g->b_cs;
    if (g->b_cs == 1 && n == LANES)
      d16_store(to, d16_load(b));
    else
      for (int64_t l = 0; l < LANES; l++) to[l] = l < n ? b[l * g->b_cs] : 0;
  }
}

/* M is a constant wherever this is inlined: the sums then live in registers. */
IFD_INLINE void tile(const int M, const ifd_k_product_f64 *g, const double *a, const double *panel,
                     int64_t n_k, double sums[][LANES]) {
  d16 sum[ROWS];
  for (int i = 0; i < M; i++) sum[i] = d16_load(sums[i]);
  for (int64_t k = 0; k < n_k; k++) {
    d16 b = d16_load(panel + k * LANES);
    for (int i = 0; i < M; i++) sum[i] = d16_fma(d16_set1(a[i * g->a_rs + k * g->a_cs]), b, sum[i]);
  }
  for (int i = 0; i < M; i++) d16_store(sums[i], sum[i]);
}

/* Rows [i, i + m) of the panel's n columns over steps [k0, k1). */
static void run_tile(const ifd_k_product_f64 *g, int64_t i, int64_t m, int64_t j, int64_t n, int64_t k0,
                     int64_t k1, const double *panel) {
  double sums[ROWS][LANES] = {{0}}, *c = g->c + i * g->c_rs + j;
  const double *a = g->a + i * g->a_rs + k0 * g->a_cs;
  size_t row = sizeof *c * (size_t)n;
  for (int64_t r = 0; r < m && k0; r++) memcpy(sums[r], c + r * g->c_rs, row);
  if (m == ROWS)
    tile(ROWS, g, a, panel, k1 - k0, sums);
  else
    for (int64_t r = 0; r < m; r++) tile(1, g, a + r * g->a_rs, panel, k1 - k0, sums + r);
  for (int64_t r = 0; r < m; r++) {
    for (int64_t l = 0; l < n && k1 == g->k; l++)
      sums[r][l] = g->scale * sums[r][l] + (g->bias ? g->bias[j + l] : 0);
    memcpy(c + r * g->c_rs, sums[r], row);
  }
}

void IFD_K(ifd_product_run_f64)(const ifd_k_product_f64 *g, int64_t i0, int64_t i1) {
  double panel[BLOCK * LANES] __attribute__((aligned(64)));
  for (int64_t j = 0; j < g->n; j += LANES) {
    int64_t n = ifd_min_i64(LANES, g->n - j), k0 = 0;
    do {
      int64_t k1 = ifd_min_i64(k0 + BLOCK, g->k);
      pack_panel(g, panel, k0, k1, j, n);
      for (int64_t i = i0; i < i1; i += ROWS) run_tile(g, i, ifd_min_i64(ROWS, i1 - i), j, n, k0, k1, panel);
      k0 = k1;
    } while (k0 < g->k);
  }
}
