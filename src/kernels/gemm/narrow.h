/* B of a product in a form of fewer bits than floats have. Tasks make floats of the part that they read, so a
 * product has the bits that it has with floats. Integers have a scale for each column and every `block` steps
 * of k: a number is (integer - zero) * scale, rounded once, as DequantizeLinear has it. 16-bit floats are the
 * numbers that they are. */
#ifndef IFD_KERNELS_GEMM_NARROW_H
#define IFD_KERNELS_GEMM_NARROW_H

#include <stddef.h>
#include <stdint.h>

typedef enum ifd_k_narrow_form {
  IFD_K_NARROW_HALVES, /* two integers in a byte, the even step in its low half */
  IFD_K_NARROW_BYTES,
  IFD_K_NARROW_FLOAT16,
  IFD_K_NARROW_BFLOAT16
} ifd_k_narrow_form;

/* Panels of 16 columns, one after another. Integers are not negative: signed ones, and their zeros, come with
 * `added`, half of their range. */
typedef struct ifd_k_narrow {
  ifd_k_narrow_form form;
  int64_t k, block;    /* steps of all, and with one scale; floats: k */
  const uint8_t *b;    /* [k][16]; halves: [ceil(k / 2)][16] */
  const float *scale;  /* [ceil(k / block)][16]; floats: NULL */
  const uint8_t *zero; /* the same, or NULL: all are `added` */
  uint8_t added;
} ifd_k_narrow;

/* Bytes of n columns of k numbers. */
size_t ifd_k_narrow_len(ifd_k_narrow_form form, int64_t n, int64_t k);
/* Packs columns [j0, j1) of B[k, j] = b[k * b_rs + j * b_cs], bytes with `added` or 16-bit floats, to their
 * place in `packed`; j0 is a multiple of 16. Zeros are packed likewise, a step for each block, as bytes. */
void ifd_k_narrow_pack(void *packed, ifd_k_narrow_form form, uint8_t added, const void *b, int64_t b_rs,
                       int64_t b_cs, int64_t k, int64_t j0, int64_t j1);
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
