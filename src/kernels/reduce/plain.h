/* The parts of the reduce table that plain.c, arg.c, top.c and running.c hold. */
#ifndef IFD_KERNELS_REDUCE_PLAIN_H
#define IFD_KERNELS_REDUCE_PLAIN_H

#include "kernels/reduce/reduce.h"
#include "kernels/simd.h"

ifd_reduce_plain *IFD_K(ifd_reduce_plain_of)(ifd_reduce op, ifd_dtype t, bool columns);
ifd_reduce_arg *IFD_K(ifd_reduce_arg_of)(ifd_dtype t, bool columns);
ifd_reduce_top *IFD_K(ifd_reduce_top_of)(ifd_dtype t, bool columns);
ifd_reduce_running *IFD_K(ifd_reduce_running_of)(bool product, ifd_dtype t, bool columns);
/* The greatest or least of n doubles, a NaN if one is; minus or plus infinity of none */
double IFD_K(ifd_reduce_extreme)(bool least, const double *x, size_t n);

#endif
