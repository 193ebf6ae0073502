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

/* y[j] = reduction over i < n of x[i * stride + j], j < columns; n > 0. Sums wrap, Mean truncates. */
typedef void ifd_reduce_columns(const void *x, size_t stride, size_t n, size_t columns, void *y);

/* As arg_rows (stride: from row to row; m rows of n) or arg_columns (m columns of n, stride apart). */
typedef void ifd_reduce_arg(bool smallest, bool last, const void *x, size_t stride, size_t n, size_t m,
                            int64_t *y);

struct ifd_k_reduce_table {
  /* y[r] = reduction of the n elements at x + r * row_stride */
  void (*rows)(ifd_reduce op, const float *x, size_t row_stride, size_t rows, size_t n, float *y);
  /* y[j] = reduction over i < n of x[i * stride + j], j < columns */
  void (*columns)(ifd_reduce op, const float *x, size_t stride, size_t n, size_t columns, float *y);
  /* INT64, INT32, DOUBLE: Sum, Mean, Max, Min, Prod, SumSquare, L1, of DOUBLE also L2; INT8, UINT8, BOOL:
   * Max, Min; else NULL */
  ifd_reduce_columns *(*plain)(ifd_reduce op, ifd_dtype t);
  /* Index of the greatest (or smallest) element, the first or the last of equal ones; of a NaN, if there is
   * one. n > 0, n < 2^31. */
  void (*arg_rows)(bool smallest, bool last, const float *x, size_t row_stride, size_t rows, size_t n,
                   int64_t *y);
  void (*arg_columns)(bool smallest, bool last, const float *x, size_t stride, size_t n, size_t columns,
                      int64_t *y);
  /* Of integers; else NULL */
  ifd_reduce_arg *(*arg_plain)(ifd_dtype t, bool columns);
};

#endif
