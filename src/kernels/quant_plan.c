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

static const uint8_t *row_of(const ifd_k_quant_matrix *m, int64_t i) {
  return (const uint8_t *)m->b + i / m->inner * m->outer_rs + i % m->inner * m->inner_rs;
}

/* Four rows by the columns of a panel, all there and side by side: what attention multiplies by is packed in
 * every run. */
static void pack_block(int8_t *restrict to, int32_t *restrict sums, const uint8_t *const rows[QUAD],
                       uint8_t flip) {
  const uint8_t *restrict a = rows[0], *restrict b = rows[1], *restrict c = rows[2], *restrict d = rows[3];
  for (int j = 0; j < LANES; j++) {
    to[QUAD * j] = (int8_t)(a[j] ^ flip), to[QUAD * j + 1] = (int8_t)(b[j] ^ flip);
    to[QUAD * j + 2] = (int8_t)(c[j] ^ flip), to[QUAD * j + 3] = (int8_t)(d[j] ^ flip);
  }
  for (int j = 0; j < LANES; j++)
    sums[j] += (int8_t)(a[j] ^ flip) + (int8_t)(b[j] ^ flip) + (int8_t)(c[j] ^ flip) + (int8_t)(d[j] ^ flip);
}

/* Columns [j0, n) of row i to their places in the panels, adding to the sums of columns. */
static void pack_row(int8_t *packed, int32_t *sums, const ifd_k_quant_matrix *m, int64_t i, int64_t j0) {
  const uint8_t *row = row_of(m, i);
  const uint8_t flip = m->is_unsigned ? 0x80 : 0;
  const size_t panel = panel_len(m->k);
  int8_t *to = packed + i / QUAD * LANES * QUAD + i % QUAD;
  for (int64_t j = j0; j < m->n; j++) {
    int8_t v = (int8_t)(row[j * m->b_cs] ^ flip);
    to[(size_t)(j / LANES) * panel + (size_t)(j % LANES * QUAD)] = v;
    sums[j] = (int32_t)((uint32_t)sums[j] + (uint32_t)v);
  }
}

/* Whole blocks of rows i to i + 3; how many columns those are. */
static int64_t pack_blocks(int8_t *packed, int32_t *sums, const ifd_k_quant_matrix *m, int64_t i) {
  const uint8_t *rows[QUAD];
  int64_t j = 0;
  for (int r = 0; r < QUAD; r++) rows[r] = row_of(m, i + r);
  for (; j + LANES <= m->n; j += LANES) {
    pack_block(packed + (size_t)(j / LANES) * panel_len(m->k) + i * LANES, sums + j, rows,
               m->is_unsigned ? 0x80 : 0);
    for (int r = 0; r < QUAD; r++) rows[r] += LANES;
  }
  return j;
}

void ifd_k_quant_pack_b(int8_t *packed, const ifd_k_quant_matrix *from) {
  memset(packed, 0, ifd_k_quant_packed_len(from->n, from->k));
  int32_t *sums = (int32_t *)ifd_k_quant_column_sums(packed, from->n, from->k);
  for (int64_t i = 0; i < from->k; i += QUAD) {
    int64_t rows = ifd_min_i64(QUAD, from->k - i);
    int64_t done = rows == QUAD && from->b_cs == 1 ? pack_blocks(packed, sums, from, i) : 0;
    for (int64_t r = i; r < i + rows; r++) pack_row(packed, sums, from, r, done);
  }
}

size_t ifd_k_quant_scratch_len(const ifd_k_quant_product *p, int64_t m) {
  return ifd_quant_sizes_of(p, m).len;
}

/* Tiles take pieces of 64 bytes, and so fast that gathering costs more than rows that are no output places;
 * other instructions do not. Pixels that are read ahead are not worth more than half of what a block may
 * hold.
 */
bool ifd_k_quant_lines_init(ifd_k_quant_lines *l, const ifd_k_conv_shape *s, int64_t samples, ifd_dot dot) {
  const int64_t piece = dot == IFD_DOT_AMX ? 64 : QUAD;
  const double most = dot == IFD_DOT_AMX ? 1.3 : 1.05; /* rows to an output place */
  int64_t step[2], out[2];                             /* whole strides from the first tap to the last */
  *l = (ifd_k_quant_lines){.samples = samples * s->in[IFD_K_D], .pixel = s->c / s->groups};
  if (l->pixel % piece || s->in[IFD_K_D] != s->out[IFD_K_D] || s->kernel[IFD_K_D] != 1) return false;
  for (int i = 0; i < 2; i++) {
    int d = i ? IFD_K_W : IFD_K_H;
    int64_t reach = (s->kernel[d] - 1) * s->dilation[d];
    step[i] = reach / s->stride[d], out[i] = s->out[d];
    l->phases[i] = ifd_min_i64(s->stride[d], reach + 1);
  }
  l->height = out[0] + step[0], l->width = out[1] + step[1];
  l->taps = s->kernel[IFD_K_H] * s->kernel[IFD_K_W];
  l->reach = step[0] * l->width + step[1];
  l->m = ((l->samples - 1) * l->height + out[0] - 1) * l->width + out[1];
  double real = (double)(l->samples * out[0] * out[1]),
         bytes = (double)(l->pixel * l->phases[0] * l->phases[1]);
  return (double)l->m <= most * real && (double)l->reach * bytes <= IFD_QUANT_L2 / 2;
}

size_t ifd_k_quant_depthwise_scratch_len(const ifd_k_conv_shape *shape) {
  return ifd_quant_depthwise_sizes_of(shape).len;
}

/* A sum costs as much to finish, and a weight to read, as so many products. Rows are shared out first, since
 * a task packs the rows of A that it reads. */
ifd_k_quant_grid ifd_k_quant_split(int64_t m, int64_t n, int64_t k) {
  const double task = 1 << 23, most = 16, finish = 256, weight = 32;
  double work = ((double)m + weight) * (double)n * ((double)k + finish) / task;
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
