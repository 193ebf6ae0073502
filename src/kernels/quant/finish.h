/* From sums in registers to memory; see ifd_k_quant_finish. */
#ifndef IFD_KERNELS_QUANT_FINISH_H
#define IFD_KERNELS_QUANT_FINISH_H

#include "kernels/quant/bytes.h"
#include "kernels/quant/quant.h"
#include "kernels/quotient.h"

/* Where a tile's sums go; pointers are those of its first row and column. */
typedef struct ifd_quant_store {
  ifd_k_quant_finish f;
  const int32_t *row_sums; /* where f.b_zero is given */
  char *const *to;         /* rows of C, */
  char *const *from;       /* and of what is added to it: SUM alone */
  int64_t at, size;        /* bytes to the first column, of an element */
  int64_t lanes;           /* columns of the last panel */
} ifd_quant_store;

/* The finish of a panel's columns, in registers. */
typedef struct ifd_quant_column {
  i16 add, b_zero;
  v16 scale, shift;
} ifd_quant_column;

IFD_INLINE ifd_quant_column ifd_quant_column_at(const ifd_quant_store *s, int64_t j) {
  ifd_quant_column c = {.add = i16_load(s->f.add + j)};
  if (s->f.b_zero) c.b_zero = i16_load(s->f.b_zero + j);
  if (s->f.out == IFD_K_QUANT_INT32) return c;
  c.scale = v16_load(s->f.scale + j);
  c.shift = v16_load(s->f.shift + j);
  return c;
}

IFD_INLINE i16 ifd_quant_total(const ifd_quant_store *s, const ifd_quant_column *c, i16 sum, int64_t row) {
  sum = i16_add(sum, c->add);
  return s->f.b_zero ? i16_sub(sum, i16_mul(c->b_zero, i16_set1(s->row_sums[row]))) : sum;
}

IFD_INLINE v16 ifd_quant_value(const ifd_quant_store *s, const ifd_quant_column *c, i16 total) {
  v16 v = v16_fma(i16_to_v16(total), c->scale, c->shift);
  return v16_min(v16_max(v, v16_set1(s->f.lo)), v16_set1(s->f.hi));
}

IFD_INLINE bool ifd_quant_has_quotients(const ifd_k_quant_binary *q) {
  return ifd_has_quotients(q->a.scale) && ifd_has_quotients(q->b.scale) && ifd_has_quotients(q->scale);
}

/* Bytes that stand `steps` above their zero point, and others: the sum's bytes, in order. */
IFD_INLINE i16 ifd_quant_sum(const ifd_k_quant_binary *q, i16 steps, i16 others) {
  const int32_t flip = q->b.is_signed ? 128 : 0;
  const v16 scale = v16_set1(q->scale);
  i16 b = i16_sub(i16_xor(others, i16_set1(flip)), i16_set1(q->b.zero + flip));
  v16 v =
      v16_add(v16_mul(i16_to_v16(steps), v16_set1(q->a.scale)), v16_mul(i16_to_v16(b), v16_set1(q->b.scale)));
  v = ifd_quant_has_quotients(q) ? ifd_v_quotient(v, scale, v16_set1(1 / q->scale)) : v16_div(v, scale);
  v = v16_min(v16_max(v, v16_set1(q->lo)), v16_set1(q->hi));
  return i16_add(v16_to_i16(v), i16_set1(q->zero));
}

/* 64 bytes of y by one rounding, not yet clipped; false where they may not be as above. `multiplies` is a
 * constant where this is inlined. */
IFD_INLINE bool ifd_quant_folded(const bool multiplies, const ifd_k_quant_binary *q, const v16 *a,
                                 const v16 *b, i16 *y) {
  const v16 fold_a = v16_set1(q->fold_a), fold_b = v16_set1(q->fold_b), shift = v16_set1(q->shift);
  v16 worst = v16_set1(0);
  _Pragma("GCC unroll 4") for (int i = 0; i < 4; i++) {
    v16 v = multiplies ? v16_fma(v16_mul(a[i], b[i]), fold_a, shift)
                       : v16_fma(a[i], fold_a, v16_fma(b[i], fold_b, shift));
    y[i] = v16_to_i16(v);
    worst = v16_max_abs(worst, v16_sub(v, i16_to_v16(y[i])));
  }
  return q->sure > 0 && !m16_any(v16_lt(v16_set1(q->sure), worst));
}

/* The same of n lanes in memory. No part of the tiles, which would be many times as large. */
void IFD_K(ifd_quant_put_sum)(const ifd_k_quant_binary *q, const i16 *steps, const char *others, char *to,
                              int n);

/* n lanes of a row to `to`; `out` is a constant where this is inlined. */
IFD_INLINE void ifd_quant_put(const ifd_k_quant_out out, const ifd_quant_store *s, const ifd_quant_column *c,
                              i16 sum, int64_t row, char *to, int n) {
  i16 total = ifd_quant_total(s, c, sum, row);
  if (out == IFD_K_QUANT_SUM) {
    i16 steps = v16_to_i16(ifd_quant_value(s, c, total));
    IFD_K(ifd_quant_put_sum)(s->f.sum, &steps, s->from[row] + (to - s->to[row]), to, n);
  } else if (out == IFD_K_QUANT_INT8) {
    i16 q = i16_add(v16_to_i16(ifd_quant_value(s, c, total)), i16_set1(s->f.zero));
    if (n == 16)
      i16_store_bytes(to, q);
    else
      i16_store_bytes_n(to, q, n);
  } else {
    /* an int32 is stored as the bits of a float */
    v16 v = out == IFD_K_QUANT_FLOAT ? ifd_quant_value(s, c, total) : i16_float(total);
    v16_store_n((float *)to, v, n);
  }
}

/* What all bytes of a result have in common: the least and the greatest, and what is added to the words of
 * which they are made. */
typedef struct ifd_quant_clip {
  int32_t lo, hi;
  i16 words;
} ifd_quant_clip;

IFD_INLINE ifd_quant_clip ifd_quant_clip_of(const ifd_k_quant_finish *f) {
  const ifd_k_quant_binary *q = f->out == IFD_K_QUANT_SUM ? f->sum : NULL;
  const int32_t zero = q ? q->zero : f->zero, added = q ? 0 : zero;
  return (ifd_quant_clip){.lo = (int32_t)rintf(q ? q->lo : f->lo) + zero,
                          .hi = (int32_t)rintf(q ? q->hi : f->hi) + zero,
                          .words = i16_set1((int32_t)((uint32_t)(uint16_t)added * 0x10001))};
}

/* Before a value is clipped from below, which NaN is then. */
IFD_INLINE v16 ifd_quant_value_below(const ifd_quant_store *s, const ifd_quant_column *c, i16 total) {
  return v16_min(v16_set1(s->f.hi), v16_fma(i16_to_v16(total), c->scale, c->shift));
}

/* Four rows of bytes to which others are added, by one rounding; false where that is not sure. */
IFD_INLINE bool ifd_quant_sum_four(const ifd_k_quant_binary *q, const i16 *steps, const i16 *others, i16 *y) {
  const i16 flip = i16_set1(q->b.is_signed ? 128 : 0);
  v16 a[4], b[4];
  _Pragma("GCC unroll 4") for (int i = 0; i < 4; i++) {
    a[i] = i16_to_v16(steps[i]), b[i] = i16_to_v16(i16_xor(others[i], flip));
  }
  return ifd_quant_folded(false, q, a, b, y);
}

IFD_INLINE i16 ifd_quant_load_some(const char *from, int n) {
  uint8_t some[16] = {0};
  copy_some(some, from, n);
  return i16_load_bytes(some);
}

/* n columns of four rows to bytes; packing saturates, so that they are clipped from below. `out` is a
 * constant where this is inlined, n is, or is below 16. */
IFD_INLINE void ifd_quant_put_four(const ifd_k_quant_out out, const ifd_quant_store *s,
                                   const ifd_quant_column *c, const ifd_quant_clip *clip, const i16 *total,
                                   char *const *to, char *const *from, int n) {
  i16 y[4];
  if (out == IFD_K_QUANT_SUM) {
    i16 steps[4], others[4];
    _Pragma("GCC unroll 4") for (int i = 0; i < 4; i++) {
      steps[i] = v16_to_i16(v16_max(ifd_quant_value_below(s, c, total[i]), v16_set1(s->f.lo)));
      others[i] = n == 16 ? i16_load_bytes(from[i]) : ifd_quant_load_some(from[i], n);
    }
    if (!ifd_quant_sum_four(s->f.sum, steps, others, y)) {
      for (int i = 0; i < 4; i++) IFD_K(ifd_quant_put_sum)(s->f.sum, &steps[i], from[i], to[i], n);
      return;
    }
  } else {
    _Pragma("GCC unroll 4") for (int i = 0; i < 4; i++) y[i] =
        v16_to_i16(ifd_quant_value_below(s, c, total[i]));
  }
  const i16 bytes = i16_nearest_bytes(y, clip->words, clip->lo < 0, clip->lo, clip->hi);
  if (n == 16) {
    i16_store_quarters(to, bytes);
  } else {
    char some[4][16];
    i16_store_quarters((char *const[]){some[0], some[1], some[2], some[3]}, bytes);
    _Pragma("GCC unroll 4") for (int i = 0; i < 4; i++) copy_some(to[i], some[i], n);
  }
}

#endif
