/* Products by AMX tiles: 16 rows of 64 bytes of A by 16 quads of 16 columns of B, four tiles of sums at a
 * time. */
#include "kernels/quant/block.h"

#if defined(IFD_ISA_avx512)
#define AMX __attribute__((target("amx-tile,amx-int8")))
enum { TILE = 16, DEPTH = 64, PANEL_STEP = 1024 };

typedef struct config {
  uint8_t palette, start_row, reserved[14];
  uint16_t bytes[16];
  uint8_t rows[16];
} config;

/* All tiles are whole: 16 rows of 64 bytes. */
AMX static void configure(void) {
  config c = {.palette = 1};
  for (int t = 0; t < 8; t++) c.bytes[t] = 64, c.rows[t] = TILE;
  _tile_loadconfig(&c);
}

/* Up to 32 rows by 32 columns of sums on their way to C, while the next ones are summed: rows from i on,
 * counted in the block, columns from j on. Nothing but what differs between two of them: what was just
 * written in parts and is read as a whole waits until all stores before it are done, those of tiles too. */
typedef struct finish {
  const ifd_quant_block *block;
  const int32_t *sums;
  int64_t i, j, panels;
  int64_t next, rows;
} finish;

IFD_INLINE ifd_quant_store store_of(const finish *f) {
  return ifd_quant_store_at(f->block, f->i, f->j, f->panels);
}

typedef struct operands {
  const uint8_t *a[2]; /* 16 rows each; */
  int64_t second;      /* the second tile's first one, counted from the first's: the tiles may overlap */
  int64_t a_rs;
  const int8_t *b[2];
  const int32_t *add;    /* to the sums of columns */
  int64_t pieces, steps; /* of a row; steps of a piece */
  const int64_t *offsets;
} operands;

/* Rows [row, end) of panel v; `out` is a constant where this is inlined. */
IFD_INLINE void put_panel(const ifd_k_quant_out out, const finish *f, int v, int64_t row, int64_t end) {
  const ifd_quant_store s = store_of(f);
  ifd_quant_column c = ifd_quant_column_at(&s, v * TILE);
  c.add = i16_set1(0); /* the tiles began with it */
  const int64_t at = s.at + v * TILE * s.size;
  const int n = v == f->panels - 1 ? (int)s.lanes : TILE;
  const int32_t *sums = f->sums + v * TILE;
  for (; row < end; row++) {
    i16 sum = i16_load(sums + row * 2 * TILE);
    if (n == TILE)
      ifd_quant_put(out, &s, &c, sum, row, s.to[row] + at, TILE);
    else
      ifd_quant_put(out, &s, &c, sum, row, s.to[row] + at, n);
  }
}

IFD_INLINE void put_panels(const ifd_k_quant_out out, const finish *f, int64_t end) {
  for (int v = 0; v < f->panels; v++) put_panel(out, f, v, f->next, end);
}

/* What 16 sums become before they are clipped from below, which NaN is after it. */
IFD_INLINE v16 value_of(const ifd_quant_store *s, const ifd_quant_column *c, const int32_t *sum,
                        int64_t row) {
  i16 total = i16_load(sum);
  if (s->f.b_zero) total = i16_sub(total, i16_mul(c->b_zero, i16_set1(s->row_sums[row])));
  return v16_min(v16_set1(s->f.hi), v16_fma(i16_to_v16(total), c->scale, c->shift));
}

/* Two rows of two whole panels at a time. TMUL leaves one port to what works on vectors: each instruction for
 * all sums counts. Packing saturates, so that bytes are clipped from below. */
static void put_bytes(const finish *f, int64_t end) {
  const ifd_quant_store s = store_of(f);
  const ifd_quant_column c[2] = {ifd_quant_column_at(&s, 0), ifd_quant_column_at(&s, TILE)};
  const int32_t lo = (int32_t)rintf(s.f.lo) + s.f.zero, hi = (int32_t)rintf(s.f.hi) + s.f.zero;
  const i16 zero = _mm512_set1_epi16((int16_t)s.f.zero);
  const int32_t *sums = f->sums + f->next * 2 * TILE;
  for (int64_t row = f->next; row < end; row += 2, sums += 4 * TILE) {
    i16 v[4];
    for (int i = 0; i < 4; i++) v[i] = v16_to_i16(value_of(&s, &c[i % 2], sums + i * TILE, row + i / 2));
    i16 bytes = i16_nearest_bytes(v, zero, lo < 0, lo, hi);
    _mm256_storeu_si256((__m256i *)(s.to[row] + s.at), _mm512_castsi512_si256(bytes));
    _mm256_storeu_si256((__m256i *)(s.to[row + 1] + s.at), _mm512_extracti64x4_epi64(bytes, 1));
  }
}

/* The same, with what is added: int8 where it `flips`, a constant where this is inlined. */
IFD_INLINE void put_sums(const bool flips, const finish *f, int64_t end) {
  const ifd_quant_store s = store_of(f);
  const ifd_k_quant_binary *q = s.f.sum;
  const ifd_quant_column c[2] = {ifd_quant_column_at(&s, 0), ifd_quant_column_at(&s, TILE)};
  const int32_t lo = (int32_t)rintf(q->lo) + q->zero, hi = (int32_t)rintf(q->hi) + q->zero;
  const i16 flip = i16_set1(128);
  const int32_t *sums = f->sums + f->next * 2 * TILE;
  for (int64_t row = f->next; row < end; row += 2, sums += 4 * TILE) {
    i16 steps[4], others[4], v[4];
    v16 a[4], b[4];
    for (int i = 0; i < 4; i++) {
      v16 value = value_of(&s, &c[i % 2], sums + i * TILE, row + i / 2);
      steps[i] = v16_to_i16(v16_max(value, v16_set1(s.f.lo)));
      others[i] = i16_load_bytes(s.from[row + i / 2] + s.at + i % 2 * TILE);
      a[i] = i16_to_v16(steps[i]), b[i] = i16_to_v16(flips ? i16_xor(others[i], flip) : others[i]);
    }
    if (!ifd_quant_folded(false, q, a, b, v))
      for (int i = 0; i < 4; i++) v[i] = ifd_quant_sum(q, steps[i], others[i]);
    i16 bytes = i16_nearest_bytes(v, i16_set1(0), lo < 0, lo, hi);
    _mm256_storeu_si256((__m256i *)(s.to[row] + s.at), _mm512_castsi512_si256(bytes));
    _mm256_storeu_si256((__m256i *)(s.to[row + 1] + s.at), _mm512_extracti64x4_epi64(bytes, 1));
  }
}

/* The next n rows, an even number, if so many are left. */
static __attribute__((noinline)) void put_rows(finish *f, int64_t n) {
  int64_t end = ifd_min_i64(f->next + n, f->rows);
  if (f->next >= end) return;
  bool whole = f->panels == 2 && f->j + 2 * TILE <= f->block->j1 && end % 2 == 0;
  bool flips = f->block->p->finish.sum && f->block->p->finish.sum->b.is_signed;
  switch (f->block->p->finish.out) {
  case IFD_K_QUANT_INT8: whole ? put_bytes(f, end) : put_panels(IFD_K_QUANT_INT8, f, end); break;
  case IFD_K_QUANT_SUM:
    !whole ? put_panels(IFD_K_QUANT_SUM, f, end) : flips ? put_sums(true, f, end) : put_sums(false, f, end);
    break;
  case IFD_K_QUANT_FLOAT: put_panels(IFD_K_QUANT_FLOAT, f, end); break;
  case IFD_K_QUANT_INT32: put_panels(IFD_K_QUANT_INT32, f, end); break;
  }
  f->next = end;
}

/* Sums 0, 1: the first rows by two panels; 2, 3: the second. The rows of `before` are finished meanwhile,
 * from the second step on: earlier they would wait for the tiles stored last, and the next steps behind them.
 * R and V are constants where this is inlined. */
AMX IFD_INLINE void multiply(const int R, const int V, const operands *t, int32_t *sums, finish *before) {
  const int64_t rows = 2 * ifd_ceil_div(before->rows, 2 * ifd_max_i64(1, t->pieces * t->steps - 1));
  bool stored = false;
  const int8_t *b = t->b[0], *b1 = t->b[1];
  _tile_loadd(0, t->add, 0); /* the same row 16 times */
  if (V > 1) _tile_loadd(1, t->add + TILE, 0);
  if (R > 1) _tile_loadd(2, t->add, 0);
  if (R > 1 && V > 1) _tile_loadd(3, t->add + TILE, 0);
  for (int64_t q = 0; q < t->pieces; q++) {
    const uint8_t *a = t->a[0] + t->offsets[q], *a1 = t->a[1] + t->offsets[q];
    for (int64_t k = 0; k < t->steps; k++, b += PANEL_STEP, b1 += PANEL_STEP, a += DEPTH, a1 += DEPTH) {
      _tile_loadd(6, b, 64);
      _tile_loadd(4, a, t->a_rs);
      _tile_dpbusd(0, 4, 6);
      if (V > 1) {
        _tile_loadd(7, b1, 64);
        _tile_dpbusd(1, 4, 7);
      }
      if (R > 1) {
        _tile_loadd(5, a1, t->a_rs);
        _tile_dpbusd(2, 5, 6);
        if (V > 1) _tile_dpbusd(3, 5, 7);
      }
      if (stored && before->next < before->rows) put_rows(before, rows);
      stored = true;
    }
  }
  _tile_stored(0, sums, 128);
  if (V > 1) _tile_stored(1, sums + 16, 128);
  sums += t->second * 2 * TILE;
  if (R > 1) _tile_stored(2, sums, 128);
  if (R > 1 && V > 1) _tile_stored(3, sums + 16, 128);
}

AMX static __attribute__((noinline)) void multiply_any(int tiles, int panels, const operands *t,
                                                       int32_t *sums, finish *before) {
  if (tiles > 1 && panels > 1)
    multiply(2, 2, t, sums, before);
  else if (tiles > 1)
    multiply(2, 1, t, sums, before);
  else if (panels > 1)
    multiply(1, 2, t, sums, before);
  else
    multiply(1, 1, t, sums, before);
}

/* Rows by 32, the last ones again from where a whole tile fits: integers may be summed twice. */
AMX void IFD_K(ifd_quant_run_amx)(const ifd_quant_block *k) {
  int32_t sums[2][2 * TILE * 2 * TILE] __attribute__((aligned(64)));
  int64_t rows = k->i1 - k->i0, panel = ifd_quant_quads(k->p->k) * 64, which = 0;
  operands t = {
      .a_rs = k->a_rs, .pieces = k->pieces, .steps = ifd_ceil_div(k->piece, DEPTH), .offsets = k->offsets};
  finish before = {0};
  configure();
  for (int64_t j = k->j0; j < k->j1; j += 2 * TILE) {
    int panels = k->j1 - j > TILE ? 2 : 1;
    t.b[0] = k->p->b + j / TILE * panel;
    t.b[1] = t.b[0] + panel;
    t.add = k->p->finish.add + j;
    for (int64_t i = 0; i < rows; i += 2 * TILE, which = !which) {
      int64_t first = ifd_max_i64(0, ifd_min_i64(i, rows - TILE)), n = ifd_min_i64(rows - first, 2 * TILE);
      int tiles = n > TILE ? 2 : 1;
      t.second = n - TILE;
      t.a[0] = k->a + first * k->a_rs;
      t.a[1] = t.a[0] + t.second * k->a_rs;
      multiply_any(tiles, panels, &t, sums[which], &before);
      put_rows(&before, before.rows);
      before = (finish){.block = k, .sums = sums[which], .i = first, .j = j, .panels = panels, .rows = n};
    }
  }
  put_rows(&before, before.rows);
  _tile_release();
}

#else
void IFD_K(ifd_quant_run_amx)(const ifd_quant_block *k) { (void)k; }
#endif
