/* The part of the reduce table that plain.c holds. */
#ifndef IFD_KERNELS_REDUCE_PLAIN_H
#define IFD_KERNELS_REDUCE_PLAIN_H

#include "kernels/reduce/reduce.h"
#include "kernels/simd.h"

ifd_reduce_columns *IFD_K(ifd_reduce_plain)(ifd_reduce op, ifd_dtype t);

#endif
