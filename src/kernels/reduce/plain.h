/* The parts of the reduce table that plain.c and arg.c hold. */
#ifndef IFD_KERNELS_REDUCE_PLAIN_H
#define IFD_KERNELS_REDUCE_PLAIN_H

#include "kernels/reduce/reduce.h"
#include "kernels/simd.h"

ifd_reduce_columns *IFD_K(ifd_reduce_plain)(ifd_reduce op, ifd_dtype t);
ifd_reduce_arg *IFD_K(ifd_reduce_arg_plain)(ifd_dtype t, bool columns);

#endif
