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

/* The block's rows as they were placed become words: whole planes, or what tiles read of each row. */
static void widen_rows(ifd_quant_block *k, const ifd_quant_sizes *z, uint16_t *to) {
  const ifd_k_quant_lines *l = k->p->lines;
  const int64_t rows = k->i1 - k->i0, n = l ? l->axis[0].phases * l->axis[1].phases : rows;
  const int64_t len = l ? (rows + l->reach) * z->stride : ifd_ceil_div(k->p->k, 4) * 4;
  const int64_t from_rs = l ? z->plane : k->a_rs, to_rs = l ? z->plane : z->stride;
  for (int64_t i = 0; i < n; i++) words_widen(to + i * to_rs, k->a + i * from_rs, len);
  k->a = (const uint8_t *)to, k->a_rs = z->stride * (int64_t)sizeof *to;
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
  i16_store_bytes_n(to, ifd_quant_sum(q, *steps, ifd_quant_load_some(others, n)), n);
}

static void (*const blocks[])(const ifd_quant_block *k) = {
    [IFD_DOT_PLAIN] = IFD_K(ifd_quant_run_plain),
    [IFD_DOT_VNNI] = IFD_K(ifd_quant_run_quads),
    [IFD_DOT_AMX] = IFD_K(ifd_quant_run_amx),
};

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
  if (p->dot == IFD_DOT_PLAIN) place_quads(&z, offsets, quad_at);
  const bool widens = IFD_K(ifd_quant_way_of)(p) == IFD_QUANT_WORDS;
  const int64_t block = widens ? z.words_rows : z.rows;
  for (int64_t i = i0; i < i1; i += block) {
    k.i0 = i, k.i1 = ifd_min_i64(i + block, i1);
    place_rows(&k, &z, scratch);
    place_results(&k, p->c, step, to, (char *)scratch + z.spare);
    if (p->other) place_results(&k, (char *)(uintptr_t)p->other, step, from, (char *)scratch + z.spare);
    for (int64_t row = 0; p->finish.b_zero && row < k.i1 - i; row++) row_sums[row] = sum_row(&k, row);
    if (widens) widen_rows(&k, &z, (uint16_t *)((char *)scratch + z.words));
    blocks[p->dot](&k);
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
