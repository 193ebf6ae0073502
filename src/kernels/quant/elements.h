/* The parts of the quant table that elements.c holds. */
#ifndef IFD_KERNELS_QUANT_ELEMENTS_H
#define IFD_KERNELS_QUANT_ELEMENTS_H

#include "base/checked.h"
#include "kernels/quant/bytes.h"
#include "kernels/quant/quant.h"

void IFD_K(ifd_quant_binary)(const ifd_k_quant_binary *q, const uint8_t *a, int a_step, const uint8_t *b,
                             int b_step, uint8_t *y, int64_t n);
void IFD_K(ifd_quant_lookup)(const uint8_t *table, const uint8_t *x, uint8_t *y, int64_t n);
void IFD_K(ifd_quant_pool)(const ifd_k_quant_pool *q, const uint8_t *x, uint8_t *y, int64_t r0, int64_t r1);

#endif
