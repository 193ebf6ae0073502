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
static int64_t vectors_of(ifd_quant_way way, int64_t rows, int64_t panels) {
  int64_t v = IFD_K(ifd_quant_rows)(way, 4) >= rows ? 4 : IFD_K(ifd_quant_rows)(way, 2) >= 8 ? 2 : 1;
  while (v > panels) v /= 2;
  return v;
}

static int pair_lanes(ifd_dot dot) { return dot == IFD_DOT_PLAIN ? PAIR_LANES : 0; }

static void run_tiles(const ifd_quant_block *k) {
  const ifd_k_quant_product *p = k->p;
  const int lanes = pair_lanes(p->dot);
  const ifd_k_quant_excess excess = ifd_k_quant_excess_of(p->b, p->n, p->k, lanes);
  const ifd_quant_way way = p->dot >= IFD_DOT_VNNI ? IFD_QUANT_VNNI
                            : excess.first         ? IFD_QUANT_PAIRS
                                                   : IFD_QUANT_WORDS;
  int64_t rows = k->i1 - k->i0, panel = ifd_quant_quads(p->k) * 64;
  ifd_quant_tile t = {.a_rs = k->a_rs,
                      .pieces = k->pieces,
                      .quads = ifd_ceil_div(k->piece, 4),
                      .offsets = k->offsets,
                      .b_vs = panel,
                      .excess = excess,
                      .quad_at = k->quad_at};
  for (int64_t j = k->j0, v; j < k->j1; j += v * 16) {
    v = vectors_of(way, rows, ifd_ceil_div(k->j1 - j, 16));
    int64_t n_tiles = ifd_ceil_div(rows, IFD_K(ifd_quant_rows)(way, v));
    t.b = p->b + j / 16 * panel;
    if (excess.first) t.excess.first = excess.first + j / lanes;
    for (int64_t r = 0; r < n_tiles; r++) {
      int64_t i = rows * r / n_tiles, end = rows * (r + 1) / n_tiles;
      t.a = k->a + i * k->a_rs;
      t.store = ifd_quant_store_at(k, i, j, v);
      IFD_K(ifd_quant_find)(way, end - i, v)(&t);
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

static void place_rows(ifd_quant_block *k, const ifd_quant_sizes *z, uint8_t *to) {
  const ifd_k_quant_product *p = k->p;
  k->a = to, k->a_rs = z->stride;
  if (p->lines)
    IFD_K(ifd_quant_copy_lines)(p->source, p->lines, to, z->plane, k->i0, k->i1);
  else if (p->pack)
    p->pack(p->source, to, z->stride, k->i0, k->i1);
  else if (reads_beyond(p, k->i1 - k->i0))
    copy_rows(p, to, z->stride, k->i0, k->i1);
  else
    k->a = p->a + k->i0 * p->a_rs, k->a_rs = p->a_rs;
}

/* Where the block's rows are in a matrix like C, of so many bytes from a row to the next; what is no output
 * place goes to `spare`. */
static void place_results(const ifd_quant_block *k, char *c, int64_t step, char **to, char *spare) {
  const ifd_k_quant_lines *l = k->p->lines;
  const int64_t n = k->i1 - k->i0;
  for (int64_t i = 0; !l && i < n; i++) to[i] = c + (k->i0 + i) * step;
  if (!l) return;
  const ifd_k_conv_shape *s = ((const ifd_k_quant_image *)k->p->source)->shape;
  const int64_t height = s->out[IFD_K_H], width = s->out[IFD_K_W];
  for (int64_t i = 0; i < n;) {
    int64_t line = (k->i0 + i) / l->width, x = (k->i0 + i) % l->width, y = line % l->height;
    int64_t end = ifd_min_i64(n, i + l->width - x);
    char *first = c + ((line / l->height * height + y) * width + x) * step;
    for (; i < end; i++, x++, first += step) to[i] = y < height && x < width ? first : spare;
  }
}

static void place_quads(const ifd_quant_sizes *z, const int64_t *offsets, int64_t *quad_at) {
  for (int64_t q = 0; q < z->pieces; q++)
    for (int64_t i = 0; i < z->piece; i += 4) *quad_at++ = offsets[q] + i;
}

static int32_t sum_row(const ifd_quant_block *k, int64_t row) {
  uint32_t sum = 0;
  for (int64_t q = 0; q < k->pieces; q++)
    sum += (uint32_t)sum_bytes(k->a + row * k->a_rs + k->offsets[q], k->piece);
  return (int32_t)sum;
}

void IFD_K(ifd_quant_put_sum)(const ifd_k_quant_binary *q, const i16 *steps, const char *others, char *to,
                              int n) {
  uint8_t some[16] = {0};
  memcpy(some, others, (size_t)n);
  i16_store_bytes_n(to, ifd_quant_sum(q, *steps, i16_load_bytes(some)), n);
}

static void run(const ifd_k_quant_product *p, int64_t i0, int64_t i1, int64_t j0, int64_t j1, void *scratch) {
  if (i0 >= i1 || j0 >= j1) return;
  ifd_quant_sizes z = ifd_quant_sizes_of(p, i1 - i0);
  char **to = (char **)((char *)scratch + z.to), **from = (char **)((char *)scratch + z.from);
  const int64_t step = p->c_rs * ifd_k_quant_size(p->finish.out);
  int32_t *row_sums = (int32_t *)((char *)scratch + z.sums);
  int64_t *offsets = (int64_t *)((char *)scratch + z.offsets);
  int64_t *quad_at = (int64_t *)((char *)scratch + z.quad_at);
  ifd_quant_block k = {.p = p,
                       .j0 = j0,
                       .j1 = j1,
                       .pieces = z.pieces,
                       .piece = z.piece,
                       .offsets = offsets,
                       .quad_at = quad_at,
                       .to = to,
                       .from = from,
                       .row_sums = row_sums};
  *offsets = 0;
  if (p->lines) IFD_K(ifd_quant_line_offsets)(p->lines, z.plane, offsets);
  if (pair_lanes(p->dot)) place_quads(&z, offsets, quad_at);
  for (int64_t i = i0; i < i1; i += z.rows) {
    k.i0 = i, k.i1 = ifd_min_i64(i + z.rows, i1);
    place_rows(&k, &z, scratch);
    place_results(&k, p->c, step, to, (char *)scratch + z.spare);
    if (p->other) place_results(&k, (char *)(uintptr_t)p->other, step, from, (char *)scratch + z.spare);
    for (int64_t row = 0; p->finish.b_zero && row < k.i1 - i; row++) row_sums[row] = sum_row(&k, row);
    p->dot == IFD_DOT_AMX ? IFD_K(ifd_quant_run_amx)(&k) : run_tiles(&k);
  }
}

const struct ifd_k_quant_table IFD_K(ifd_k_quant) = {.run = run,
                                                     .gather = IFD_K(ifd_quant_gather),
                                                     .winograd = IFD_K(ifd_quant_winograd),
                                                     .depthwise = IFD_K(ifd_quant_depthwise),
                                                     .depthwise_quads = IFD_K(ifd_quant_depthwise_quads),
                                                     .binary = IFD_K(ifd_quant_binary),
                                                     .lookup = IFD_K(ifd_quant_lookup),
                                                     .pool = IFD_K(ifd_quant_pool)};
