/* Reductions of FLOAT, DOUBLE and integers along one axis, seen as [outer, n, inner]. Rows (inner = 1) are
 * reduced in the order of kernels/fold.h. Columns (inner > 1) are one chain over the axis for each column, in
 * the order of the index, begun anew every 256 elements and then joined. A row's or column's result depends
 * on itself alone, so any split of the rows or columns gives the same bits. An axis of length 0 gives the
 * neutral element (Mean: NaN). */
#ifndef IFD_KERNELS_REDUCE_REDUCE_H
#define IFD_KERNELS_REDUCE_REDUCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tensor/dtype.h"

/* ONNX's Reduce… operators. Max and Min: NaN wins. A reduction over several axes that do not adjoin is one of
 * these after another: Sum after SumSquare, and so on. */
#define IFD_REDUCE_LIST(X)                                                                                   \
  X(Sum) X(Mean) X(Max) X(Min) X(Prod) X(SumSquare) X(L1) X(L2) X(LogSum) X(LogSumExp)
typedef enum ifd_reduce {
#define X(name) IFD_REDUCE_##name,
  IFD_REDUCE_LIST(X)
#undef X
      IFD_N_REDUCE
} ifd_reduce;

/* Of m rows of n elements, `stride` apart, or of m columns of n rows, `stride` apart; n > 0. */

/* y[j] = reduction of row or column j. Sums wrap, Mean truncates. */
typedef void ifd_reduce_plain(const void *x, size_t stride, size_t n, size_t m, void *y);
/* Indices of the greatest (or smallest) elements: the first or the last of equal ones; of a NaN, if there is
 * one. n < 2^31. */
typedef void ifd_reduce_arg(bool smallest, bool last, const void *x, size_t stride, size_t n, size_t m,
                            int64_t *y);
/* Indices of the k greatest (or smallest) elements, best first, of equal ones the first; NaN is greatest:
 * y[r * k + i] of row r, y[i * m + j] of column j. k <= n <= IFD_REDUCE_FEW. */
enum { IFD_REDUCE_FEW = 32 };
typedef void ifd_reduce_top(bool smallest, const void *x, size_t stride, size_t n, size_t m, size_t k,
                            int64_t *y);
/* y: as x, each element the fold of those up to it, or, exclusive, before it, from the other end in reverse:
 * floats in double, integers wrap. */
typedef void ifd_reduce_running(const void *x, void *y, size_t stride, size_t n, size_t m, bool reverse,
                                bool exclusive);

struct ifd_k_reduce_table {
  /* y[r] = reduction of the n elements at x + r * row_stride */
  void (*rows)(ifd_reduce op, const float *x, size_t row_stride, size_t rows, size_t n, float *y);
  /* y[j] = reduction over i < n of x[i * stride + j], j < columns */
  void (*columns)(ifd_reduce op, const float *x, size_t stride, size_t n, size_t columns, float *y);
  /* INT64, INT32, DOUBLE: Sum, Mean, Max, Min, Prod, SumSquare, L1, of DOUBLE also L2, LogSum, LogSumExp;
   * INT8, UINT8, BOOL: Max, Min; else NULL */
  ifd_reduce_plain *(*plain)(ifd_reduce op, ifd_dtype t, bool columns);
  /* Of FLOAT, DOUBLE and integers; else NULL */
  ifd_reduce_arg *(*arg)(ifd_dtype t, bool columns);
  ifd_reduce_top *(*top)(ifd_dtype t, bool columns);
  /* Of FLOAT, DOUBLE, INT32, INT64, UINT64; else NULL */
  ifd_reduce_running *(*running)(bool product, ifd_dtype t, bool columns);
};

#endif
