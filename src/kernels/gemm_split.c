/* How a product splits in tasks, and what its memory takes: the same for every ISA. */
#include <math.h>

#include "kernels/gemm/few.h"
#include "kernels/gemm/gemm.h"
#include "kernels/gemm/product.h"
#include "kernels/launch.h"

size_t ifd_k_gemm_packed_len(int64_t n, int64_t k) {
  return sizeof(float) * 16 * (size_t)ifd_ceil_div(n, 16) * (size_t)k;
}

size_t ifd_k_gemm_packed_a_len(int64_t m, int64_t k) {
  return sizeof(float) * 16 * (size_t)ifd_ceil_div(k, 16) * (size_t)m;
}

/* Packed A that all tasks read stays in L2 up to some such size; more is better packed by each. */
static bool stays_near(int64_t m, int64_t k) { return (double)m * (double)k <= 1 << 18; }

bool ifd_k_gemm_shares_a(const ifd_k_gemm_grid *grid, int64_t m, int64_t k, int64_t a_cs) {
  return grid->n_tasks > grid->n_m && (m > 1 || a_cs != 1) && stays_near(m, k);
}

size_t ifd_k_gemm_scratch_len(const ifd_k_gemm_grid *grid, int64_t k, ifd_k_gemm_b b) {
  return ifd_product_scratch_of(grid->m_step, grid->n_step, k, ifd_ceil_div(k, 16), b, false).len;
}

static int64_t round_up(int64_t n, int64_t to) { return ifd_ceil_div(n, to) * to; }

/* One thread has one task, whose ends and packed rows are fewer, unless weights from afar would come once for
 * each block of rows. */
static bool is_one_task(int64_t m, int64_t n, int64_t k, int threads) {
  return threads == 1 && (m <= 2 * IFD_PRODUCT_ROWS || !ifd_product_streams(n, k));
}

/* Reading a weight from memory takes a core as long as that many products. A task fetches each panel of B for
 * all its rows, so where rows are few it has as many as are packed at a time, and columns are shared out
 * next: many to a task that packs A for these alone. Rows make up what is left to a few tasks, shared by
 * tiles, all about equally high. */
ifd_k_gemm_grid ifd_k_gemm_split(int64_t m, int64_t n, int64_t k, bool packed, int threads) {
  const double task = 1 << 19, weight = 12;
  int64_t wish = ifd_tasks_worth(((double)m + weight) * (double)n * (double)k, task);
  bool near = stays_near(m, k);
  int64_t columns = m == 1 ? 64 : near ? 128 : 384, few = ifd_min_i64(wish, 4);
  int64_t rows = m > few * IFD_PRODUCT_ROWS ? IFD_PRODUCT_ROWS / 2 : IFD_PRODUCT_ROWS;
  int64_t n_m = ifd_min_i64(wish, ifd_ceil_div(m, rows));
  int64_t n_n = ifd_min_i64(near ? ifd_ceil_div(wish, n_m) : wish / n_m, ifd_ceil_div(n, columns));
  int64_t least = (double)n * (double)k < 1 << 18 ? 28 : 56;
  if (n_m * n_n < few) n_m = ifd_min_i64(ifd_ceil_div(few, n_n), ifd_ceil_div(m, least));
  int64_t tiles = ifd_ceil_div(m, 14);
  double tile = (double)m / (double)tiles;
  ifd_k_gemm_grid grid = {.m_step = (int64_t)ceil(tile * (double)ifd_ceil_div(tiles, n_m)),
                          .n_step = round_up(ifd_ceil_div(n, n_n), 64)};
  if (is_one_task(m, n, k, threads)) grid.m_step = m, grid.n_step = round_up(n, 64);
  if (!packed && m > IFD_FEW_ROWS) grid.n_step = ifd_min_i64(grid.n_step, IFD_PRODUCT_OWN_B);
  grid.n_m = ifd_ceil_div(m, grid.m_step);
  grid.n_tasks = grid.n_m * ifd_ceil_div(n, grid.n_step);
  return grid;
}
