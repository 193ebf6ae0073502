/* Products of few rows by B as it lies: to pack it would take longer than to multiply it. The chains are
 * those of tiles (kernels/gemm/ukr.h). */
#ifndef IFD_KERNELS_GEMM_FEW_H
#define IFD_KERNELS_GEMM_FEW_H

#include "kernels/gemm/gemm.h"

/* Rows that are few. */
#if defined(IFD_ISA_avx512)
#define IFD_FEW_MOST 1
#else
#define IFD_FEW_MOST 4
#endif
enum { IFD_FEW_ROWS = IFD_FEW_MOST };

#ifdef IFD_ISA
#include "kernels/simd.h"
/* Whether so many rows and columns are multiplied so: a row's numbers of B are side by side, or a column's,
 * then of sixteen columns at least, as are a row's of A. */
static inline bool ifd_few_takes(const ifd_k_product *g, int64_t rows, int64_t columns) {
  if (rows > IFD_FEW_ROWS || g->narrow) return false;
  return g->b_cs == 1 || (g->b_rs == 1 && columns >= 16 && g->a_vs == 0 && g->a_cs == 1);
}
void IFD_K(ifd_few_rows)(const ifd_k_product *g, int64_t i0, int64_t i1, int64_t j0, int64_t j1);
#endif
#endif
