/* Weights packed as threads do it: in parts, in any order. */
#ifndef IFD_TESTS_KCHECK_QUANT_PACK_H
#define IFD_TESTS_KCHECK_QUANT_PACK_H

#include "kernels/quant/quant.h"

static inline void pack_in_parts(int8_t *packed, const ifd_k_quant_matrix *m) {
  const int64_t parts = ifd_k_quant_parts(m), half = parts / 2;
  ifd_k_quant_pack_b(packed, m, half, parts);
  if (half) ifd_k_quant_pack_b(packed, m, 0, half);
}

#endif
