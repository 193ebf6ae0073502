/* The kernel tables, one per family and ISA. A family is a folder here: FAMILY/FAMILY.h declares
 * `struct ifd_k_FAMILY_table` of function pointers, and its sources, compiled once per ISA, define
 * `const struct ifd_k_FAMILY_table IFD_K(ifd_k_FAMILY)`. ifd_k_FAMILY(isa) gives the table. */
#ifndef IFD_KERNELS_KERNELS_H
#define IFD_KERNELS_KERNELS_H

#include "base/cpu.h"

#define X(family)                                                                                            \
  struct ifd_k_##family##_table;                                                                             \
  const struct ifd_k_##family##_table *ifd_k_##family(ifd_isa isa);
#include "kernels.inc"
#undef X

#endif
