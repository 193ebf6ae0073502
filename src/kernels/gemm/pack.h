/* Operands copied to the order in which the micro-kernels read them. */
#ifndef IFD_KERNELS_GEMM_PACK_H
#define IFD_KERNELS_GEMM_PACK_H

#include "kernels/simd.h"

/* A [rows, k] to segments [ceil(k / 16)], `apart` floats from one to the next, of [rows][16]; what lies
 * beyond k in the last is left unset. */
void IFD_K(ifd_k_pack_a)(float *to, int64_t apart, const ifd_float_anywhere *a, int64_t a_rs, int64_t a_cs,
                         int64_t rows, int64_t k);
/* B [k, n] to panels [ceil(n / 16)][k][16], zeros beyond n. */
void IFD_K(ifd_k_pack_b)(float *to, const ifd_float_anywhere *b, int64_t b_rs, int64_t b_cs, int64_t k,
                         int64_t n);

#endif
