#include "kernels/quant/block.h"
#include "kernels/quant/elements.h"
#include "kernels/quant/image.h"
#include "kernels/quant/tile.h"

/* Sums of n bytes. */
static int32_t sum_bytes(const uint8_t *a, int64_t n) {
  uint32_t sum = 0;
  for (int64_t k = 0; k < n; k++) sum += a[k];
  return (int32_t)sum;
}

/* How many panels a tile takes: one or two, or four where few rows are left. */
static int64_t vectors_of(ifd_dot dot, int64_t rows, int64_t panels) {
  int64_t v = IFD_K(ifd_quant_rows)(dot, 4) >= rows ? 4 : IFD_K(ifd_quant_rows)(dot, 2) >= 8 ? 2 : 1;
  while (v > panels) v /= 2;
  return v;
}

static void run_tiles(const ifd_quant_block *k) {
  const ifd_k_quant_product *p = k->p;
  int64_t rows = k->i1 - k->i0, panel = ifd_quant_quads(p->k) * 64;
  ifd_quant_tile t = {.a_rs = k->a_rs, .quads = ifd_ceil_div(p->k, 4), .b_vs = panel};
  for (int64_t j = k->j0, v; j < k->j1; j += v * 16) {
    v = vectors_of(p->dot, rows, ifd_ceil_div(k->j1 - j, 16));
    int64_t n_tiles = ifd_ceil_div(rows, IFD_K(ifd_quant_rows)(p->dot, v));
    t.b = p->b + j / 16 * panel;
    for (int64_t r = 0; r < n_tiles; r++) {
      int64_t i = rows * r / n_tiles, end = rows * (r + 1) / n_tiles;
      t.a = k->a + i * k->a_rs;
      t.store = ifd_quant_store_at(k, i, j, v);
      IFD_K(ifd_quant_find)(p->dot, end - i, v)(&t);
    }
  }
}

static void copy_rows(const ifd_k_quant_product *p, uint8_t *to, int64_t stride, int64_t i0, int64_t i1) {
  for (int64_t i = i0; i < i1; i++, to += stride) memcpy(to, p->a + i * p->a_rs, (size_t)p->k);
}

/* Tiles read whole ones: rows that lie as they are must have what they read. */
static bool reads_beyond(const ifd_k_quant_product *p, int64_t rows) {
  return p->dot == IFD_DOT_AMX && (p->k % 64 || rows < IFD_QUANT_TILE);
}

static void run(const ifd_k_quant_product *p, int64_t i0, int64_t i1, int64_t j0, int64_t j1, void *scratch) {
  if (i0 >= i1 || j0 >= j1) return;
  ifd_quant_sizes z = ifd_quant_sizes_of(i1 - i0, p->n, p->k);
  int32_t *row_sums = (int32_t *)((char *)scratch + z.a_len);
  for (int64_t i = i0; i < i1; i += z.rows) {
    ifd_quant_block k = {.p = p, .j0 = j0, .j1 = j1, .row_sums = row_sums};
    k.i0 = i, k.i1 = ifd_min_i64(i + z.rows, i1);
    k.a = scratch, k.a_rs = z.stride;
    if (p->pack)
      p->pack(p->source, scratch, z.stride, k.i0, k.i1);
    else if (reads_beyond(p, k.i1 - k.i0))
      copy_rows(p, scratch, z.stride, k.i0, k.i1);
    else
      k.a = p->a + k.i0 * p->a_rs, k.a_rs = p->a_rs;
    for (int64_t row = 0; p->finish.b_zero && row < k.i1 - k.i0; row++)
      row_sums[row] = sum_bytes(k.a + row * k.a_rs, p->k);
    p->dot == IFD_DOT_AMX ? IFD_K(ifd_quant_run_amx)(&k) : run_tiles(&k);
  }
}

const struct ifd_k_quant_table IFD_K(ifd_k_quant) = {.run = run,
                                                     .gather = IFD_K(ifd_quant_gather),
                                                     .depthwise = IFD_K(ifd_quant_depthwise),
                                                     .binary = IFD_K(ifd_quant_binary),
                                                     .lookup = IFD_K(ifd_quant_lookup),
                                                     .pool = IFD_K(ifd_quant_pool)};
