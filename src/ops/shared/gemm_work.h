/* Lowering matrix products onto the gemm kernels: one launch for a batch of products of one size,
 * C = epilogue(A · B), whose operands are inputs of the node in any strides. A constant B is packed once for
 * the session. Elements of C depend on neither the batch nor the split (kernels/gemm/gemm.h). */
#ifndef IFD_OPS_SHARED_GEMM_WORK_H
#define IFD_OPS_SHARED_GEMM_WORK_H

#include "kernels/gemm/gemm.h"
#include "ops/shared/matmul.h"
#include "ops/shared/rows.h"

typedef struct ifd_products {
  int64_t m, n, k;
  int64_t a_rs, a_cs, b_rs, b_cs, c_rs; /* strides of rows and columns in floats; C's columns are adjacent */
  int64_t a_vs, c_vs;                   /* between vectors of 16 columns where these are packed, else 0 */
  ifd_shape batch;                      /* the products, and how far apart their parts are */
  int64_t a_batch[IFD_MAX_RANK], b_batch[IFD_MAX_RANK], c_batch[IFD_MAX_RANK];
  const ifd_k_narrow *narrow; /* B, where it is so packed already; else NULL */
  bool c_shared;              /* C is at the start of the work's shared memory, not output 0 */
  /* Rows are steps of n_lengths sequences, step by step, of which none after the longest one's last is
   * needed: input `lengths` says, int32. 0: all are. */
  int64_t n_lengths;
  int lengths;
} ifd_products;

/* Dense operands as MatMul has them: rows of A that meet the same matrix are rows of one product. */
ifd_products ifd_products_of(const ifd_matmul *sizes, int b_rank);

/* Where an operand of the epilogue lies. */
typedef enum ifd_operand_place { IFD_OPERAND_NONE, IFD_OPERAND_INPUT, IFD_OPERAND_SHARED } ifd_operand_place;
typedef struct ifd_operand {
  ifd_operand_place place;
  int input;            /* where it is one */
  int64_t offset, step; /* of its first number, and from one product's to the next's, in floats */
} ifd_operand;
typedef struct ifd_gemm_epilogue {
  ifd_k_epilogue e; /* its pointers are set when it runs */
  ifd_operand bias, row_bias, other;
} ifd_gemm_epilogue;

/* Adds the launch: A is input a, B input b, C output 0. Nothing is done where a size is 0:
 * then the node is evaluated. */
ifd_status ifd_lower_products(ifd_lower *x, const ifd_products *p, int a, int b,
                              const ifd_gemm_epilogue *epilogue);

/* The same of doubles: scale * A · B, plus input `bias` for each column where that is not negative. */
ifd_status ifd_lower_products_f64(ifd_lower *x, const ifd_products *p, int a, int b, double scale, int bias);

#endif
