#include "kernels/gemm/narrow.h"

#include <string.h>

#include "base/checked.h"

enum { LANES = 16 };

/* Bytes of a panel of k steps. */
static size_t panel_len(int bits, int64_t k) { return LANES * (size_t)(bits == 4 ? ifd_ceil_div(k, 2) : k); }

size_t ifd_k_narrow_len(int bits, int64_t n, int64_t k) {
  return (size_t)ifd_ceil_div(n, LANES) * panel_len(bits, k);
}

static void pack_panel(uint8_t *to, int bits, uint8_t added, const uint8_t *b, int64_t b_rs, int64_t b_cs,
                       int64_t k, int64_t n) {
  memset(to, 0, panel_len(bits, k));
  for (int64_t i = 0; i < k; i++)
    for (int64_t j = 0; j < n; j++) {
      uint8_t v = (uint8_t)(b[i * b_rs + j * b_cs] + added);
      if (bits == 8)
        to[i * LANES + j] = v;
      else
        to[i / 2 * LANES + j] |= (uint8_t)((v & 15) << i % 2 * 4);
    }
}

void ifd_k_narrow_pack(uint8_t *packed, int bits, uint8_t added, const uint8_t *b, int64_t b_rs, int64_t b_cs,
                       int64_t k, int64_t j0, int64_t j1) {
  for (int64_t j = j0; j < j1; j += LANES)
    pack_panel(packed + (size_t)(j / LANES) * panel_len(bits, k), bits, added, b + j * b_cs, b_rs, b_cs, k,
               ifd_min_i64(LANES, j1 - j));
}

ifd_k_narrow ifd_k_narrow_from(const ifd_k_narrow *b, int64_t j) {
  ifd_k_narrow from = *b;
  int64_t blocks = ifd_ceil_div(b->k, b->block);
  from.b += (size_t)(j / LANES) * panel_len(b->bits, b->k);
  from.scale += j * blocks;
  if (from.zero) from.zero += j * blocks;
  return from;
}
