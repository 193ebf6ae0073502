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

typedef struct operands {
  const uint8_t *a[2]; /* 16 rows each */
  int64_t a_rs;
  const int8_t *b[2];
  int64_t steps;
} operands;

/* Sums 0, 1: the first rows by two panels; 2, 3: the second. R and V are constants where this is inlined. */
AMX IFD_INLINE void multiply(const int R, const int V, const operands *t, int32_t *sums) {
  _tile_zero(0);
  if (V > 1) _tile_zero(1);
  if (R > 1) _tile_zero(2);
  if (R > 1 && V > 1) _tile_zero(3);
  for (int64_t k = 0; k < t->steps; k++) {
    _tile_loadd(6, t->b[0] + k * PANEL_STEP, 64);
    _tile_loadd(4, t->a[0] + k * DEPTH, t->a_rs);
    _tile_dpbusd(0, 4, 6);
    if (V > 1) {
      _tile_loadd(7, t->b[1] + k * PANEL_STEP, 64);
      _tile_dpbusd(1, 4, 7);
    }
    if (R > 1) {
      _tile_loadd(5, t->a[1] + k * DEPTH, t->a_rs);
      _tile_dpbusd(2, 5, 6);
      if (V > 1) _tile_dpbusd(3, 5, 7);
    }
  }
  _tile_stored(0, sums, 128);
  if (V > 1) _tile_stored(1, sums + 16, 128);
  if (R > 1) _tile_stored(2, sums + 512, 128);
  if (R > 1 && V > 1) _tile_stored(3, sums + 528, 128);
}

AMX static __attribute__((noinline)) void multiply_any(int rows, int panels, const operands *t,
                                                       int32_t *sums) {
  if (rows > 1 && panels > 1)
    multiply(2, 2, t, sums);
  else if (rows > 1)
    multiply(2, 1, t, sums);
  else if (panels > 1)
    multiply(1, 2, t, sums);
  else
    multiply(1, 1, t, sums);
}

IFD_INLINE void store_as(const ifd_k_quant_out out, const ifd_quant_store *s, const int32_t *sums,
                         int64_t rows, int panels) {
  for (int v = 0; v < panels; v++) {
    const ifd_quant_column c = ifd_quant_column_at(s, v * 16);
    int n = v == panels - 1 ? (int)s->lanes : 16;
    if (n == 16)
      for (int64_t i = 0; i < rows; i++)
        ifd_quant_put(out, s, &c, i16_load(sums + i * 32 + v * 16), i, v * 16, 16);
    else
      for (int64_t i = 0; i < rows; i++)
        ifd_quant_put(out, s, &c, i16_load(sums + i * 32 + v * 16), i, v * 16, n);
  }
}

static void store(const ifd_quant_store *s, const int32_t *sums, int64_t rows, int panels) {
  switch (s->f.out) {
  case IFD_K_QUANT_INT8: store_as(IFD_K_QUANT_INT8, s, sums, rows, panels); break;
  case IFD_K_QUANT_FLOAT: store_as(IFD_K_QUANT_FLOAT, s, sums, rows, panels); break;
  case IFD_K_QUANT_INT32: store_as(IFD_K_QUANT_INT32, s, sums, rows, panels); break;
  }
}

/* Rows by 32, the last ones again from where a whole tile fits: integers may be summed twice. */
AMX void IFD_K(ifd_quant_run_amx)(const ifd_quant_block *k) {
  int32_t sums[2 * TILE * 2 * TILE] __attribute__((aligned(64)));
  int64_t rows = k->i1 - k->i0, panel = ifd_quant_quads(k->p->k) * 64;
  operands t = {.a_rs = k->a_rs, .steps = ifd_ceil_div(k->p->k, DEPTH)};
  configure();
  for (int64_t j = k->j0; j < k->j1; j += 2 * TILE) {
    int panels = k->j1 - j > TILE ? 2 : 1;
    t.b[0] = k->p->b + j / TILE * panel;
    t.b[1] = t.b[0] + panel;
    for (int64_t i = 0; i < rows; i += 2 * TILE) {
      int64_t left = rows - i, first = i, n = ifd_min_i64(left, 2 * TILE);
      if (left < TILE && rows >= TILE) first = rows - TILE, n = TILE;
      int tiles = n > TILE ? 2 : 1;
      int64_t second = tiles > 1 && n < 2 * TILE ? first + n - TILE : first + TILE;
      t.a[0] = k->a + first * k->a_rs;
      t.a[1] = k->a + second * k->a_rs;
      multiply_any(tiles, panels, &t, sums);
      ifd_quant_store s = ifd_quant_store_at(k, first, j, panels);
      store(&s, sums, ifd_min_i64(n, TILE), panels);
      if (tiles == 1) continue;
      s = ifd_quant_store_at(k, second, j, panels);
      store(&s, sums + 512, TILE, panels);
    }
  }
  _tile_release();
}

#else
void IFD_K(ifd_quant_run_amx)(const ifd_quant_block *k) { (void)k; }
#endif
