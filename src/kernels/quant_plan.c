/* Packing and splitting of integer products: the same for every ISA. */
#include <string.h>

#include "kernels/quant/quant.h"
#include "kernels/quant/sizes.h"

enum { LANES = 16, QUAD = 4 };

static int64_t panels(int64_t n) { return ifd_ceil_div(n, LANES); }
static size_t panel_len(int64_t k) { return (size_t)ifd_quant_quads(k) * LANES * QUAD; }

size_t ifd_k_quant_packed_len(int64_t n, int64_t k) {
  return (size_t)panels(n) * (panel_len(k) + LANES * sizeof(int32_t));
}

const int32_t *ifd_k_quant_column_sums(const int8_t *packed, int64_t n, int64_t k) {
  return (const int32_t *)(packed + (size_t)panels(n) * panel_len(k));
}

/* Row i of B to its places in the panels, adding to the sums of columns. */
static void pack_row(int8_t *packed, int32_t *sums, const ifd_k_quant_matrix *m, int64_t i) {
  const uint8_t *row = (const uint8_t *)m->b + i / m->inner * m->outer_rs + i % m->inner * m->inner_rs;
  const uint8_t flip = m->is_unsigned ? 0x80 : 0;
  const size_t panel = panel_len(m->k);
  int8_t *to = packed + i / QUAD * LANES * QUAD + i % QUAD;
  for (int64_t j = 0; j < m->n; j++) {
    int8_t v = (int8_t)(row[j * m->b_cs] ^ flip);
    to[(size_t)(j / LANES) * panel + (size_t)(j % LANES * QUAD)] = v;
    sums[j] = (int32_t)((uint32_t)sums[j] + (uint32_t)v);
  }
}

void ifd_k_quant_pack_b(int8_t *packed, const ifd_k_quant_matrix *from) {
  memset(packed, 0, ifd_k_quant_packed_len(from->n, from->k));
  int32_t *sums = (int32_t *)ifd_k_quant_column_sums(packed, from->n, from->k);
  for (int64_t i = 0; i < from->k; i++) pack_row(packed, sums, from, i);
}

size_t ifd_k_quant_scratch_len(int64_t m, int64_t n, int64_t k) { return ifd_quant_sizes_of(m, n, k).len; }

size_t ifd_k_quant_depthwise_scratch_len(const ifd_k_conv_shape *shape) {
  return ifd_quant_depthwise_sizes_of(shape).len;
}

/* Rows are shared out first, since a task packs the rows of A that it reads. */
ifd_k_quant_grid ifd_k_quant_split(int64_t m, int64_t n, int64_t k) {
  const double task = 1 << 22, most = 16;
  double work = (double)m * (double)n * (double)k / task;
  int64_t wish = work < 1 ? 1 : (int64_t)(work < most ? work : most);
  int64_t n_m = ifd_max_i64(1, ifd_min_i64(wish, m / 56));
  int64_t n_n = ifd_min_i64(ifd_ceil_div(wish, n_m), ifd_ceil_div(n, 128));
  ifd_k_quant_grid g = {.m_step = ifd_ceil_div(m, n_m),
                        .n_step = ifd_ceil_div(ifd_ceil_div(n, n_n), 64) * 64};
  if (n_m > 1) g.m_step = ifd_ceil_div(g.m_step, 112) * 112;
  g.n_m = ifd_ceil_div(m, g.m_step);
  g.n_tasks = g.n_m * ifd_ceil_div(n, g.n_step);
  return g;
}
