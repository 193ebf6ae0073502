/* Floats at any address: constants lie in a file as its writer put them there. */
#ifndef IFD_KERNELS_ANYWHERE_H
#define IFD_KERNELS_ANYWHERE_H

typedef float ifd_float_anywhere __attribute__((aligned(1)));

#endif
