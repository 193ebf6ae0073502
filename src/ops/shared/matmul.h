/* Matrix products as MatMul has them: the last two dimensions are matrices, those before broadcast; a first
 * operand of rank 1 is a row, a second one a column, and the dimension so added is not in the result. Float
 * elements are multiplied and summed in double, integers modulo 2^64, which wraps to any narrower width. */
#ifndef IFD_OPS_SHARED_MATMUL_H
#define IFD_OPS_SHARED_MATMUL_H

#include "ops/op.h"

typedef struct ifd_matmul {
  int64_t m, n, k;
  ifd_shape batch; /* the dimensions before the matrices, broadcast */
  ifd_shape out;
  int64_t a_batch[IFD_MAX_RANK], b_batch[IFD_MAX_RANK]; /* strides of batch in a and in b, in elements */
} ifd_matmul;

/* Sizes of a times b; BAD_INPUT when they do not fit. */
ifd_status ifd_matmul_init(ifd_error *err, ifd_matmul *p, const ifd_shape *a, const ifd_shape *b);
/* Dimensions of output 0 from inputs a and b, in symbols. */
ifd_status ifd_matmul_infer(ifd_infer *x, int a, int b, ifd_dtype dtype);

/* A matrix in memory: element (i, j) is at[i * row + j * column]. */
typedef struct ifd_matrix_f64 {
  const double *at;
  int64_t row, column;
} ifd_matrix_f64;
typedef struct ifd_matrix_u64 {
  const uint64_t *at;
  int64_t row, column;
} ifd_matrix_u64;
/* c += a b for a dense, row-major c of m × n: each element's terms are added in order of k. */
void ifd_matmul_add_f64(double *c, ifd_matrix_f64 a, ifd_matrix_f64 b, int64_t m, int64_t n, int64_t k);
void ifd_matmul_add_u64(uint64_t *c, ifd_matrix_u64 a, ifd_matrix_u64 b, int64_t m, int64_t n, int64_t k);

/* The whole product of dense operands into a dense, zeroed c. */
void ifd_matmul_run_f64(const ifd_matmul *p, const double *a, const double *b, double *c);
void ifd_matmul_run_u64(const ifd_matmul *p, const uint64_t *a, const uint64_t *b, uint64_t *c);

#endif
