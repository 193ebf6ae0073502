#include "kernels/gemm/gemm.h"
#include "kernels/gemm/block.h"
#include "kernels/gemm/pack.h"
#include "kernels/gemm/ukr.h"

/* A block of rows and columns of C over one block of k. */
typedef struct block {
  const ifd_k_product *g;
  const ifd_k_epilogue *e;
  ifd_ukr_args t; /* what all tiles share */
  int64_t i0, i1; /* rows of C */
  int64_t j0, j1; /* columns */
  const float *b; /* panel of column j0, at the block's first k */
  float *sums;    /* of the block, [rows][columns], where they wait between blocks of k */
  int64_t columns;
  bool first, last; /* block of k */
} block;

/* min(max(v, lo), hi) is the epilogue's activation, and the kernels can do the whole epilogue in registers.
 */
static bool set_fused(ifd_ukr_args *t, const ifd_k_epilogue *e) {
  t->lo = e->act == IFD_K_ACT_CLIP ? e->p[0] : -INFINITY;
  t->hi = e->act == IFD_K_ACT_CLIP ? e->p[1] : INFINITY;
  return e->act <= IFD_K_ACT_CLIP && e->join <= IFD_K_JOIN_ADD && e->scale == 1 && !e->row_bias;
}

/* The tile's sums to C through the general epilogue. */
static void finish(const block *k, const float *sums, int64_t i, int64_t n_rows, int64_t j, int64_t n_cols) {
  const ifd_k_epilogue *e = k->e;
  IFD_K(ifd_k_finish)
  (e, &(ifd_k_tile){.sums = sums,
                    .sums_rs = 16,
                    .sums_vs = n_rows * 16,
                    .y = k->g->c + i * k->g->c_rs + j,
                    .y_rs = k->g->c_rs,
                    .y_vs = 16,
                    .other = e->join ? e->other + i * e->other_rs + j : NULL,
                    .other_rs = e->other_rs,
                    .other_vs = 16,
                    .bias = e->bias ? e->bias + j : NULL,
                    .row_bias = e->row_bias ? e->row_bias + i : NULL,
                    .n_rows = n_rows,
                    .n_cols = n_cols});
}

static void run_tile(const block *k, int64_t i, int64_t n_rows, int64_t j, int64_t n_vectors) {
  float sums[IFD_UKR_TILE] __attribute__((aligned(64)));
  ifd_ukr_args t = k->t;
  t.a += (i - k->i0) * 16;
  t.b = k->b + (j - k->j0) / 16 * t.b_vs;
  float *waiting = k->sums + (i - k->i0) * k->columns + (j - k->j0);
  if (!k->first) t.init = waiting, t.init_rs = k->columns, t.init_vs = 16;
  bool whole = j + n_vectors * 16 <= k->j1;
  t.finish = k->last && t.finish && whole;
  if (!k->last)
    t.c = waiting, t.c_rs = k->columns, t.c_vs = 16;
  else if (t.finish)
    t.c = k->g->c + i * k->g->c_rs + j, t.c_rs = k->g->c_rs, t.c_vs = 16;
  else
    t.c = sums, t.c_rs = 16, t.c_vs = n_rows * 16;
  if (t.finish) {
    if (t.bias) t.bias += j;
    if (t.other) t.other += i * t.other_rs + j;
  }
  IFD_K(ifd_ukr_find)(n_rows, n_vectors)(&t);
  if (k->last && !t.finish) finish(k, sums, i, n_rows, j, ifd_min_i64(n_vectors * 16, k->j1 - j));
}

/* Panels of B outside, so that one stays near while the rows of A pass by. */
static void run_tiles(const block *k) {
  int64_t n_rows = k->i1 - k->i0;
  for (int64_t j = k->j0, v; j < k->j1; j += v * 16) {
    v = ifd_ukr_vectors(n_rows, ifd_ceil_div(k->j1 - j, 16));
    int64_t n_tiles = ifd_ceil_div(n_rows, ifd_ukr_rows(v));
    for (int64_t r = 0; r < n_tiles; r++) {
      int64_t i = n_rows * r / n_tiles, end = n_rows * (r + 1) / n_tiles;
      run_tile(k, k->i0 + i, end - i, j, v);
    }
  }
}

/* The rows and columns of the block over all k; A is packed from `a` on, or read in place. */
static void run_k_blocks(block *k, const float *a, const float *b, int64_t *at) {
  const ifd_k_product *g = k->g;
  bool in_place = k->i1 - k->i0 == 1 && g->a_cs == 1;
  int64_t step = in_place ? 16 : (k->i1 - k->i0) * 16;
  for (int64_t k0 = 0; k0 == 0 || k0 < g->k; k0 += IFD_K_GEMM_K_BLOCK) {
    int64_t n = ifd_min_i64(g->k - k0, IFD_K_GEMM_K_BLOCK);
    k->first = k0 == 0;
    k->last = k0 + n == g->k;
    k->t.n_full = n / 16;
    k->t.k_part = n % 16;
    k->t.n_part = n % 16 != 0;
    k->t.a = (in_place ? g->a + k->i0 * g->a_rs : a) + k0 / 16 * step;
    for (int64_t s = 0; s < k->t.n_full + k->t.n_part; s++) at[s] = s * step;
    k->b = b + k0 * 16;
    run_tiles(k);
  }
}

static void run_f32(const ifd_k_product *g, int64_t i0, int64_t i1, int64_t j0, int64_t j1, void *scratch) {
  static const ifd_k_epilogue none = {.scale = 1};
  if (i0 >= i1 || j0 >= j1) return;
  bool packed = g->b_rs == 0 && g->b_cs == 0;
  ifd_k_gemm_block size = ifd_k_gemm_block_of(i1 - i0, j1 - j0, g->k, packed);
  char *base = scratch;
  float *a = (float *)(base + size.a), *own_b = (float *)(base + size.b);
  block k = {.g = g, .e = g->epilogue ? g->epilogue : &none, .sums = (float *)(base + size.sums)};
  k.t = (ifd_ukr_args){.at = (int64_t *)base, .b_vs = g->k * 16, .bias = k.e->bias, .other_vs = 16};
  k.t.finish = set_fused(&k.t, k.e);
  if (k.e->join) k.t.other = k.e->other, k.t.other_rs = k.e->other_rs;
  bool packs_a = i1 - i0 > 1 || g->a_cs != 1, once = i1 - i0 <= size.rows;
  int64_t n_blocks = ifd_ceil_div(i1 - i0, size.rows), rows = ifd_ceil_div(i1 - i0, n_blocks);
  for (k.j0 = j0; k.j0 < j1; k.j0 = k.j1) {
    k.j1 = ifd_min_i64(k.j0 + size.columns, j1);
    k.columns = size.columns;
    if (!packed) IFD_K(ifd_k_pack_b)(own_b, g->b + k.j0 * g->b_cs, g->b_rs, g->b_cs, g->k, k.j1 - k.j0);
    for (k.i0 = i0; k.i0 < i1; k.i0 = k.i1) {
      k.i1 = ifd_min_i64(k.i0 + rows, i1);
      if (packs_a && (k.j0 == j0 || !once))
        IFD_K(ifd_k_pack_a)(a, g->a + k.i0 * g->a_rs, g->a_rs, g->a_cs, k.i1 - k.i0, g->k);
      run_k_blocks(&k, a, packed ? g->b + k.j0 * g->k : own_b, (int64_t *)base);
    }
  }
}

static void pack_f32(float *packed, const float *b, int64_t b_rs, int64_t b_cs, int64_t k, int64_t j0,
                     int64_t j1) {
  IFD_K(ifd_k_pack_b)(packed + j0 * k, b + j0 * b_cs, b_rs, b_cs, k, j1 - j0);
}

/* Plain: one fused chain for each element. */
static void run_f64(const ifd_k_product_f64 *g, int64_t i0, int64_t i1) {
  enum { COLUMNS = 64 };
  for (int64_t i = i0; i < i1; i++)
    for (int64_t j0 = 0; j0 < g->n; j0 += COLUMNS) {
      double sum[COLUMNS] = {0};
      int64_t n = ifd_min_i64(COLUMNS, g->n - j0);
      for (int64_t k = 0; k < g->k; k++) {
        double a = g->a[i * g->a_rs + k * g->a_cs];
        const double *b = g->b + k * g->b_rs + j0 * g->b_cs;
        for (int64_t j = 0; j < n; j++) sum[j] = fma(a, b[j * g->b_cs], sum[j]);
      }
      for (int64_t j = 0; j < n; j++)
        g->c[i * g->c_rs + j0 + j] = g->scale * sum[j] + (g->bias ? g->bias[j0 + j] : 0);
    }
}

const struct ifd_k_gemm_table IFD_K(ifd_k_gemm) = {
    .pack_f32 = pack_f32, .run_f32 = run_f32, .run_f64 = run_f64};
