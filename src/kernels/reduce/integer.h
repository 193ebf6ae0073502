/* The part of the reduce table that integer.c holds. */
#ifndef IFD_KERNELS_REDUCE_INTEGER_H
#define IFD_KERNELS_REDUCE_INTEGER_H

#include "kernels/reduce/reduce.h"
#include "kernels/simd.h"

ifd_reduce_columns *IFD_K(ifd_reduce_integers)(ifd_reduce op, ifd_dtype t);

#endif
