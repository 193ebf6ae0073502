/* A block of a product: rows [i0, i1) of A, which stand at `a`, by columns [j0, j1). */
#ifndef IFD_KERNELS_QUANT_BLOCK_H
#define IFD_KERNELS_QUANT_BLOCK_H

#include "base/checked.h"
#include "kernels/quant/finish.h"
#include "kernels/quant/sizes.h"

typedef struct ifd_quant_block {
  const ifd_k_quant_product *p;
  const uint8_t *a;
  int64_t a_rs, i0, i1, j0, j1;
  int64_t pieces, piece;   /* a row's bytes are `pieces` times `piece`, */
  const int64_t *offsets;  /* these from its place; */
  const int64_t *quad_at;  /* and its quads these, where pairs may have excess */
  char *const *to;         /* where the rows of C are, from column 0 on; of what is none, a place to spare; */
  char *const *from;       /* and those of what is added, where something is */
  const int32_t *row_sums; /* where the finish asks for them */
} ifd_quant_block;

/* Where the sums of rows from i on, counted in the block, of `panels` panels from column j on go. */
IFD_INLINE ifd_quant_store ifd_quant_store_at(const ifd_quant_block *k, int64_t i, int64_t j,
                                              int64_t panels) {
  int64_t size = ifd_k_quant_size(k->p->finish.out);
  ifd_quant_store s = {.f = k->p->finish,
                       .row_sums = k->row_sums + i,
                       .to = k->to + i,
                       .from = k->from + i,
                       .at = j * size,
                       .size = size,
                       .lanes = ifd_min_i64(panels * 16, k->j1 - j) - (panels - 1) * 16};
  s.f.add += j;
  if (s.f.b_zero) s.f.b_zero += j;
  if (s.f.scale) s.f.scale += j, s.f.shift += j;
  return s;
}

/* The block by instructions that sum bytes by fours, IFD_DOT_VNNI; without them. Then A's rows may have to
 * be words, two bytes each: where products are of IFD_QUANT_WORDS. */
void IFD_K(ifd_quant_run_quads)(const ifd_quant_block *k);
void IFD_K(ifd_quant_run_plain)(const ifd_quant_block *k);

/* The block by AMX tiles; rows of A are readable up to multiples of 64 bytes, and there are 16 or more, or as
 * many readable ones. Only where the machine has IFD_DOT_AMX. */
void IFD_K(ifd_quant_run_amx)(const ifd_quant_block *k);

#endif
