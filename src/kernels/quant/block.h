/* A block of a product: rows [i0, i1) of A, which stand at `a`, by columns [j0, j1). */
#ifndef IFD_KERNELS_QUANT_BLOCK_H
#define IFD_KERNELS_QUANT_BLOCK_H

#include "base/checked.h"
#include "kernels/quant/finish.h"
#include "kernels/quant/sizes.h"
#include "kernels/quant/tile.h"

/* What bytes of A have beyond the least and the greatest that they keep within, quad by quad. */
typedef struct ifd_quant_rests {
  int64_t *first; /* of each part of IFD_QUANT_KEPT_ROWS rows */
  int32_t *at;    /* 64 times the number of the quad, + the row in the part */
  int32_t *above; /* four bytes; */
  int32_t *below; /* and those to take off, where there is a base */
  bool has_base;
} ifd_quant_rests;

/* How the rows of a task keep within bounds. */
typedef struct ifd_quant_bounding {
  bool is_open;   /* all bytes are within them */
  bool is_dense;  /* too many are not: rows become words */
  bool has_begun; /* base is known: what is taken off all bytes, and added to the sums instead */
  bool fours;     /* the bounds are those of fours */
  uint8_t *bases, *rows;
  int32_t *add;
  ifd_quant_rests rests;
} ifd_quant_bounding;

typedef struct ifd_quant_block {
  const ifd_k_quant_product *p;
  const uint8_t *a;
  int64_t a_rs, i0, i1, j0, j1;
  int64_t pieces, piece;   /* a row's bytes are `pieces` times `piece`, */
  const int64_t *offsets;  /* these from its place */
  char *const *to;         /* where the rows of C are, from column 0 on; of what is none, a place to spare; */
  char *const *from;       /* and those of what is added, where something is */
  const int32_t *row_sums; /* where the finish asks for them */
  ifd_quant_way way;
  const int32_t *add;           /* what is added to sums */
  const ifd_quant_rests *rests; /* of rows within bounds; NULL: none */
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

static inline int64_t ifd_quant_sum_bytes(const uint8_t *a, int64_t n) {
  uint32_t sum = 0;
  for (int64_t k = 0; k < n; k++) sum += a[k];
  return sum;
}

/* Whether products are added by pairs or words. Then rows, of which whole steps of 64 bytes are readable,
 * become bytes within bounds, or words, and the block says how it is summed. False: more bytes than are worth
 * while are beyond; this and what follows is to be in blocks of words. */
bool IFD_K(ifd_quant_has_pairs)(const ifd_k_quant_product *p);
ifd_quant_bounding IFD_K(ifd_quant_bounding_of)(const ifd_k_quant_product *p, const ifd_quant_sizes *z,
                                                char *scratch);
bool IFD_K(ifd_quant_bound)(ifd_quant_block *k, const ifd_quant_sizes *z, ifd_quant_bounding *b);
/* Adds those of a part of the rows to its sums of 1, 2 or 4 panels, [panels][IFD_QUANT_KEPT_ROWS][16]. */
void IFD_K(ifd_quant_add_rests)(const ifd_quant_rests *rests, int64_t part, const int8_t *b, int64_t b_vs,
                                int64_t panels, int32_t *sums);

/* The block by instructions that sum bytes by fours, IFD_DOT_VNNI; without them. */
void IFD_K(ifd_quant_run_quads)(const ifd_quant_block *k);
void IFD_K(ifd_quant_run_plain)(const ifd_quant_block *k);

/* The block by AMX tiles; rows of A are readable up to multiples of 64 bytes, and there are 16 or more, or as
 * many readable ones. Only where the machine has IFD_DOT_AMX. */
void IFD_K(ifd_quant_run_amx)(const ifd_quant_block *k);

#endif
