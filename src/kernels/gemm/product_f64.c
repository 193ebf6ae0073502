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
enum { ROWS = 3 };
#else
enum { ROWS = 1 };
#endif

/* Four steps of four columns that lie step by step, `apart` from each other. */
IFD_INLINE void turn(double *to, const double *b, int64_t apart) {
#if defined(__AVX2__)
  __m256d r[4], s[4];
  for (int i = 0; i < 4; i++) r[i] = _mm256_loadu_pd(b + i * apart);
  for (int i = 0; i < 2; i++) {
    s[i] = _mm256_unpacklo_pd(r[2 * i], r[2 * i + 1]);
    s[i + 2] = _mm256_unpackhi_pd(r[2 * i], r[2 * i + 1]);
  }
  for (int i = 0; i < 2; i++) {
    _mm256_storeu_pd(to + i * LANES, _mm256_permute2f128_pd(s[2 * i], s[2 * i + 1], 0x20));
    _mm256_storeu_pd(to + (i + 2) * LANES, _mm256_permute2f128_pd(s[2 * i], s[2 * i + 1], 0x31));
  }
#else
  for (int i = 0; i < 4; i++)
    for (int k = 0; k < 4; k++) to[k * LANES + i] = b[i * apart + k];
#endif
}

/* Columns [j, j + n) of steps [k0, k1) of B, zeros beyond n. */
static void pack_panel(const ifd_k_product_f64 *g, double *to, int64_t k0, int64_t k1, int64_t j, int64_t n) {
  int64_t k = k0;
  for (; g->b_rs == 1 && n == LANES && k + 4 <= k1; k += 4, to += 4 * LANES)
    for (int64_t l = 0; l < LANES; l += 4) turn(to + l, g->b + k + (j + l) * g->b_cs, g->b_cs);
  for (; k < k1; k++, to += LANES) {
    const double *b = g->b + k * g->b_rs + j * g->b_cs;
    if (g->b_cs == 1 && n == LANES)
      d16_store(to, d16_load(b));
    else
      for (int64_t l = 0; l < LANES; l++) to[l] = l < n ? b[l * g->b_cs] : 0;
  }
}

/* Where a tile's sums lie and what becomes of them at the last step. */
typedef struct place {
  double *c;
  int64_t c_rs;
  bool first, last;
  const double *bias; /* of LANES columns */
} place;

/* M is a constant wherever this is inlined: the sums then live in registers. */
IFD_INLINE void tile(const int M, const ifd_k_product_f64 *g, const double *a, const double *panel,
                     int64_t n_k, const place *to) {
  d16 sum[ROWS];
  for (int i = 0; i < M; i++) sum[i] = to->first ? d16_set1(0) : d16_load(to->c + i * to->c_rs);
  for (int64_t k = 0; k < n_k; k++) {
    d16 b = d16_load(panel + k * LANES);
    for (int i = 0; i < M; i++) sum[i] = d16_fma(d16_set1(a[i * g->a_rs + k * g->a_cs]), b, sum[i]);
  }
  for (int i = 0; i < M && to->last; i++)
    sum[i] = d16_add(d16_mul(d16_set1(g->scale), sum[i]), d16_load(to->bias));
  for (int i = 0; i < M; i++) d16_store(to->c + i * to->c_rs, sum[i]);
}

/* m <= ROWS rows. */
static void some_rows(int64_t m, const ifd_k_product_f64 *g, const double *a, const double *panel,
                      int64_t n_k, place to) {
  if (m == ROWS) {
    tile(ROWS, g, a, panel, n_k, &to);
    return;
  }
  for (int64_t step; m; m -= step, a += step * g->a_rs, to.c += step * to.c_rs) {
    step = ROWS > 2 && m > 1 ? 2 : 1;
    if (step == 2)
      tile(ROWS > 2 ? 2 : 1, g, a, panel, n_k, &to);
    else
      tile(1, g, a, panel, n_k, &to);
  }
}

/* The same of n < LANES columns, or such as do not lie side by side: by way of a copy. */
static void some_columns(int64_t m, int64_t n, const ifd_k_product_f64 *g, const double *a,
                         const double *panel, int64_t n_k, const place *to) {
  double part[ROWS * LANES] = {0};
  bool last = to->last;
  for (int64_t r = 0; r < m && !to->first; r++)
    for (int64_t l = 0; l < n; l++) part[r * LANES + l] = to->c[r * to->c_rs + l * g->c_cs];
  some_rows(m, g, a, panel, n_k, (place){.c = part, .c_rs = LANES, .first = to->first});
  for (int64_t r = 0; r < m; r++)
    for (int64_t l = 0; l < n; l++) {
      double sum = part[r * LANES + l], bias = to->bias[g->bias_by_row ? r : l];
      to->c[r * to->c_rs + l * g->c_cs] = last ? g->scale * sum + bias : sum;
    }
}

/* Rows [i, i + m) of the panel's n columns over steps [k0, k1). */
static void run_tile(const ifd_k_product_f64 *g, int64_t i, int64_t m, int64_t j, int64_t n, int64_t k0,
                     int64_t k1, const double *panel) {
  double bias[LANES] = {0};
  int64_t n_bias = g->bias_by_row ? m : n;
  if (g->bias) memcpy(bias, g->bias + (g->bias_by_row ? i : j), sizeof *bias * (size_t)n_bias);
  const double *a = g->a + i * g->a_rs + k0 * g->a_cs;
  const place to = {g->c + i * g->c_rs + j * g->c_cs, g->c_rs, k0 == 0, k1 == g->k, bias};
  if (n == LANES && g->c_cs == 1 && !g->bias_by_row)
    some_rows(m, g, a, panel, k1 - k0, to);
  else
    some_columns(m, n, g, a, panel, k1 - k0, &to);
}

/* Few columns as rows, whose columns fill panels. */
static ifd_k_product_f64 turned(const ifd_k_product_f64 *g, int64_t i0, int64_t i1) {
  return (ifd_k_product_f64){.m = g->n,
                             .n = i1 - i0,
                             .k = g->k,
                             .a = g->b,
                             .a_rs = g->b_cs,
                             .a_cs = g->b_rs,
                             .b = g->a + i0 * g->a_rs,
                             .b_rs = g->a_cs,
                             .b_cs = g->a_rs,
                             .c = g->c + i0 * g->c_rs,
                             .c_rs = g->c_cs,
                             .c_cs = g->c_rs,
                             .scale = g->scale,
                             .bias = g->bias,
                             .bias_by_row = true};
}

void IFD_K(ifd_product_run_f64)(const ifd_k_product_f64 *g, int64_t i0, int64_t i1) {
  if (2 * g->n <= LANES && g->n < i1 - i0 && !g->bias_by_row) {
    const ifd_k_product_f64 rows = turned(g, i0, i1);
    IFD_K(ifd_product_run_f64)(&rows, 0, rows.m);
    return;
  }
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
