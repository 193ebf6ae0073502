/* B of a product as integers of a few bits, with a scale for each column and every `block` steps of k: its
 * number is (integer - zero) * scale, rounded once, as DequantizeLinear has it. Tasks make floats of the part
 * that they read, so a product has the bits that it has with floats. */
#ifndef IFD_KERNELS_GEMM_NARROW_H
#define IFD_KERNELS_GEMM_NARROW_H

#include <stddef.h>
#include <stdint.h>

/* Panels of 16 columns, one after another. Integers are not negative: signed ones, and their zeros, come with
 * `added`, half of their range. */
typedef struct ifd_k_narrow {
  int bits;            /* of an integer: 4 or 8 */
  int64_t k, block;    /* steps of all, and with one scale */
  const uint8_t *b;    /* 8 bits: [k][16]; 4 bits: [ceil(k / 2)][16], the even step in the low halves */
  const float *scale;  /* [ceil(k / block)][16] */
  const uint8_t *zero; /* the same, or NULL: all are `added` */
  uint8_t added;
} ifd_k_narrow;

/* Bytes of n columns of k integers. */
size_t ifd_k_narrow_len(int bits, int64_t n, int64_t k);
/* Packs columns [j0, j1) of bytes B[k, j] = b[k * b_rs + j * b_cs] with `added` to their place in `packed`;
 * j0 is a multiple of 16. Zeros are packed likewise, a step for each block, in 8 bits. */
void ifd_k_narrow_pack(uint8_t *packed, int bits, uint8_t added, const uint8_t *b, int64_t b_rs, int64_t b_cs,
                       int64_t k, int64_t j0, int64_t j1);
/* The same matrix from column j on, a multiple of 16. */
ifd_k_narrow ifd_k_narrow_from(const ifd_k_narrow *b, int64_t j);

#ifdef IFD_ISA
#include "kernels/simd.h"
struct ifd_k_product;
/* Columns [j0, j1) of a product of one row, whose A lies side by side. */
void IFD_K(ifd_narrow_row)(const struct ifd_k_product *g, int64_t j0, int64_t j1);
/* Steps [k0, k1) of n_panels panels as floats, [n_panels][k1 - k0][16]; k0 is even. */
void IFD_K(ifd_narrow_widen)(float *to, const ifd_k_narrow *b, int64_t n_panels, int64_t k0, int64_t k1);
#endif
#endif
