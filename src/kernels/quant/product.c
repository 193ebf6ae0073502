#include "kernels/quant/block.h"
#include "kernels/quant/elements.h"
#include "kernels/quant/image.h"
#include "kernels/quant/tile.h"

static void copy_rows(const ifd_k_quant_product *p, uint8_t *to, int64_t stride, int64_t i0, int64_t i1) {
  for (int64_t i = i0; i < i1; i++, to += stride) memcpy(to, p->a + i * p->a_rs, (size_t)p->k);
}

/* Tiles read whole ones: rows that lie as they are must have what they read; as must those that are kept
 * within bounds. */
static bool reads_beyond(const ifd_k_quant_product *p, int64_t i0, int64_t i1) {
  const int64_t beyond = ifd_ceil_div(p->k, 64) * 64 - ifd_ceil_div(p->k, 4) * 4;
  if (IFD_K(ifd_quant_has_pairs)(p)) return (p->m - i1) * p->a_rs < beyond;
  return p->dot == IFD_DOT_AMX && (p->k % 64 || i1 - i0 < IFD_QUANT_TILE);
}

static void place_rows(ifd_quant_block *k, const ifd_quant_sizes *z, uint8_t *to) {
  const ifd_k_quant_product *p = k->p;
  k->a = to, k->a_rs = z->stride;
  if (p->lines)
    IFD_K(ifd_quant_copy_lines)(p->source, p->lines, to, z->plane, k->i0, k->i1);
  else if (p->pack)
    p->pack(p->source, to, z->stride, k->i0, k->i1);
  else if (reads_beyond(p, k->i0, k->i1))
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

static int32_t sum_row(const ifd_quant_block *k, int64_t row) {
  uint32_t sum = 0;
  for (int64_t q = 0; q < k->pieces; q++)
    sum += (uint32_t)ifd_quant_sum_bytes(k->a + row * k->a_rs + k->offsets[q], k->piece);
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
  ifd_quant_block k = {.p = p,
                       .j0 = j0,
                       .j1 = j1,
                       .pieces = z.pieces,
                       .piece = z.piece,
                       .offsets = offsets,
                       .to = to,
                       .from = from,
                       .add = p->finish.add,
                       .row_sums = row_sums};
  *offsets = 0;
  if (p->lines) IFD_K(ifd_quant_line_offsets)(p->lines, z.plane, offsets);
  ifd_quant_bounding bounding = IFD_K(ifd_quant_bounding_of)(p, &z, scratch);
  for (int64_t i = i0; i < i1; i = k.i1) {
    k.i0 = i, k.i1 = ifd_min_i64(i + (bounding.is_dense ? z.words_rows : z.rows), i1);
    place_rows(&k, &z, scratch);
    place_results(&k, p->c, step, to, (char *)scratch + z.spare);
    if (p->other) place_results(&k, (char *)(uintptr_t)p->other, step, from, (char *)scratch + z.spare);
    for (int64_t row = 0; p->finish.b_zero && row < k.i1 - i; row++) row_sums[row] = sum_row(&k, row);
    if (IFD_K(ifd_quant_bound)(&k, &z, &bounding))
      blocks[p->dot](&k);
    else
      k.i1 = i; /* the same rows, fewer of them */
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
