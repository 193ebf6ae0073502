/* Constant matrices of integers of a few bits, or of 16-bit floats, that products read as they are
 * (kernels/gemm/narrow.h). */
#ifndef IFD_OPS_SHARED_NARROW_H
#define IFD_OPS_SHARED_NARROW_H

#include "kernels/gemm/narrow.h"
#include "ops/op.h"

/* Numbers of a matrix or table from which on it is held so: smaller ones are near as floats, too. */
enum { IFD_NARROW_LEAST = 1 << 18 };

/* The inputs of a node that are B, its scales and its zero points (absent: zeros), as DequantizeLinear has
 * them: one scale, one for each column, or one for each column of each block of `block` steps of k. 16-bit
 * floats have none. */
typedef struct ifd_narrow_inputs {
  int b, scale, zero;
  int64_t n, k, block; /* block 0: k */
  bool turned;         /* B is [n, k], scales of blocks are [n, blocks]; else [k, n] and [blocks, n] */
} ifd_narrow_inputs;

/* Whether products read matrices of this type so. */
bool ifd_narrow_is(ifd_dtype dtype);
/* B in the form that kernels read, made once for the session. */
ifd_status ifd_lower_narrow(ifd_lower *x, ifd_k_narrow *out, const ifd_narrow_inputs *in);

#endif
