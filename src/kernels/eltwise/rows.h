/* The parts of the eltwise table, one a source. */
#ifndef IFD_KERNELS_ELTWISE_ROWS_H
#define IFD_KERNELS_ELTWISE_ROWS_H

#include "kernels/eltwise/eltwise.h"
#include "kernels/simd.h"

ifd_el_unary_row *IFD_K(ifd_el_unary)(ifd_el op, ifd_dtype t);
ifd_el_binary_row *IFD_K(ifd_el_binary)(ifd_el op, ifd_dtype t);
ifd_el_binary_row *IFD_K(ifd_el_integer)(ifd_integer_op op, ifd_dtype t);
bool IFD_K(ifd_el_has_zero)(size_t element_size, const void *x, size_t n);
ifd_el_select_row *IFD_K(ifd_el_select)(size_t element_size);
ifd_el_cast_row *IFD_K(ifd_el_cast)(ifd_dtype to, ifd_dtype from);
ifd_el_quantize_row *IFD_K(ifd_el_quantize)(ifd_dtype to);
ifd_el_dequantize_row *IFD_K(ifd_el_dequantize)(ifd_dtype from);
/* FLOAT rows by operator */
extern ifd_el_unary_row *const IFD_K(ifd_el_unary_f32)[IFD_EL_N_UNARY];
extern ifd_el_binary_row *const IFD_K(ifd_el_binary_f32)[IFD_EL_N_FLOAT - IFD_EL_N_UNARY];

#endif
