/* Blocks of a product by tiles: those that are finished in registers, and those whose sums are kept. */
#include "kernels/quant/block.h"

/* How many panels a tile takes: one or two, or four where few rows are left. */
static int64_t vectors_of(ifd_quant_way way, int64_t rows, int64_t panels) {
  int64_t v = IFD_K(ifd_quant_rows)(way, 4) >= rows ? 4 : IFD_K(ifd_quant_rows)(way, 2) >= 8 ? 2 : 1;
  while (v > panels) v /= 2;
  return v;
}

static ifd_quant_tile tile_of(const ifd_quant_block *k) {
  return (ifd_quant_tile){.a_rs = k->a_rs,
                          .pieces = k->pieces,
                          .quads = ifd_ceil_div(k->piece, 4),
                          .offsets = k->offsets,
                          .b_vs = ifd_quant_quads(k->p->k) * 64};
}

void IFD_K(ifd_quant_run_quads)(const ifd_quant_block *k) {
  const int64_t rows = k->i1 - k->i0;
  ifd_quant_tile t = tile_of(k);
  for (int64_t j = k->j0, v; j < k->j1; j += v * 16) {
    v = vectors_of(IFD_QUANT_QUADS, rows, ifd_ceil_div(k->j1 - j, 16));
    int64_t n_tiles = ifd_ceil_div(rows, IFD_K(ifd_quant_rows)(IFD_QUANT_QUADS, v));
    t.b = k->p->b + j / 16 * t.b_vs;
    for (int64_t r = 0; r < n_tiles; r++) {
      int64_t i = rows * r / n_tiles, end = rows * (r + 1) / n_tiles;
      t.a = k->a + i * k->a_rs;
      t.store = ifd_quant_store_at(k, i, j, v);
      IFD_K(ifd_quant_find)(IFD_QUANT_QUADS, end - i, v)(&t);
    }
  }
}

/* ---- without instructions that sum bytes by fours ---- */

/* Rows [i, i + 4) of a panel's sums to bytes; `out` is a constant where this is inlined, lanes are 16 or
 * below. */
IFD_INLINE void put_four(const ifd_k_quant_out out, const ifd_quant_store *s, const ifd_quant_column *c,
                         const ifd_quant_clip *clip, const int32_t *sums, int64_t i, int lanes) {
  i16 total[4];
  char *to[4], *from[4];
  _Pragma("GCC unroll 4") for (int r = 0; r < 4; r++) {
    total[r] = i16_load(sums + (i + r) * 16);
    if (s->f.b_zero) total[r] = i16_sub(total[r], i16_mul(c->b_zero, i16_set1(s->row_sums[i + r])));
    to[r] = s->to[i + r] + s->at;
    if (out == IFD_K_QUANT_SUM) from[r] = s->from[i + r] + s->at;
  }
  ifd_quant_put_four(out, s, c, clip, total, to, from, lanes);
}

/* n rows of a panel. */
IFD_INLINE void put_rows_as(const ifd_k_quant_out out, const ifd_quant_store *s, const ifd_quant_clip *clip,
                            const int32_t *sums, int64_t n) {
  ifd_quant_column c = ifd_quant_column_at(s, 0);
  c.add = i16_set1(0); /* the tiles began with it */
  const int lanes = (int)s->lanes;
  int64_t i = 0;
  if (out >= IFD_K_QUANT_INT8 && lanes == 16)
    for (; i + 4 <= n; i += 4) put_four(out, s, &c, clip, sums, i, 16);
  else if (out >= IFD_K_QUANT_INT8)
    for (; i + 4 <= n; i += 4) put_four(out, s, &c, clip, sums, i, lanes);
  if (lanes == 16)
    for (; i < n; i++) ifd_quant_put(out, s, &c, i16_load(sums + i * 16), i, s->to[i] + s->at, 16);
  else
    for (; i < n; i++) ifd_quant_put(out, s, &c, i16_load(sums + i * 16), i, s->to[i] + s->at, lanes);
}

static void put_rows(const ifd_quant_store *s, const ifd_quant_clip *clip, const int32_t *sums, int64_t n) {
  switch (s->f.out) {
  case IFD_K_QUANT_INT8: put_rows_as(IFD_K_QUANT_INT8, s, clip, sums, n); break;
  case IFD_K_QUANT_FLOAT: put_rows_as(IFD_K_QUANT_FLOAT, s, clip, sums, n); break;
  case IFD_K_QUANT_INT32: put_rows_as(IFD_K_QUANT_INT32, s, clip, sums, n); break;
  case IFD_K_QUANT_SUM: put_rows_as(IFD_K_QUANT_SUM, s, clip, sums, n); break;
  }
}

/* So many rows' sums of v panels. */
static void sum_rows(ifd_quant_way way, ifd_quant_tile *t, const uint8_t *a, int32_t *sums, int64_t rows,
                     int64_t v) {
  const int64_t most = IFD_K(ifd_quant_rows)(way, v);
  for (int64_t r = 0; r < rows; r += t->rows) {
    const int64_t m = ifd_min_i64(most, rows - r);
    t->a = a + r * t->a_rs, t->rows = (rows - r) / m * m, t->sums = sums + r * 16;
    IFD_K(ifd_quant_find)(way, m, v)(t);
  }
}

/* Panels whose sums are kept at a time, so that a rest is read once for some and lines of C are written
 * whole: so many that L1 holds their weights. */
static int64_t kept_panels(const ifd_quant_block *k, int64_t vectors, int64_t panels) {
  int64_t v = IFD_QUANT_VECTORS;
  while (v > panels || v * k->p->k > IFD_QUANT_KEPT_K) v /= 2;
  return ifd_max_i64(v, vectors);
}

void IFD_K(ifd_quant_run_plain)(const ifd_quant_block *k) {
  enum { ROWS = IFD_QUANT_KEPT_ROWS };
  int32_t sums[IFD_QUANT_VECTORS][ROWS * 16] __attribute__((aligned(64)));
  const ifd_quant_clip clip = ifd_quant_clip_of(&k->p->finish);
  const int64_t rows = k->i1 - k->i0;
  ifd_quant_tile t = tile_of(k);
  for (int64_t j = k->j0, kept; j < k->j1; j += kept * 16) {
    const int64_t panels = ifd_ceil_div(k->j1 - j, 16), v = vectors_of(k->way, rows, panels);
    const int8_t *b = k->p->b + j / 16 * t.b_vs;
    kept = kept_panels(k, v, panels);
    for (int64_t i = 0; i < rows; i += ROWS) {
      const int64_t n = ifd_min_i64(ROWS, rows - i);
      for (int64_t u = 0; u < kept; u += v) {
        t.b = b + u * t.b_vs, t.add = k->add + j + u * 16;
        sum_rows(k->way, &t, k->a + i * k->a_rs, sums[u], n, v);
      }
      if (k->rests) IFD_K(ifd_quant_add_rests)(k->rests, i / ROWS, b, t.b_vs, kept, *sums);
      for (int64_t u = 0; u < kept; u++) {
        const ifd_quant_store s = ifd_quant_store_at(k, i, j + u * 16, 1);
        put_rows(&s, &clip, sums[u], n);
      }
    }
  }
}
