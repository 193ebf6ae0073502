#include "kernels/gemm/narrow.h"

#include <string.h>

#include "base/checked.h"

enum { LANES = 16 };

static bool is_floats(ifd_k_narrow_form form) {
  return form == IFD_K_NARROW_FLOAT16 || form == IFD_K_NARROW_BFLOAT16;
}

/* Bytes of a panel of k steps. */
static size_t panel_len(ifd_k_narrow_form form, int64_t k) {
  return LANES * (size_t)(form == IFD_K_NARROW_HALVES ? ifd_ceil_div(k, 2) : is_floats(form) ? 2 * k : k);
}

size_t ifd_k_narrow_len(ifd_k_narrow_form form, int64_t n, int64_t k) {
  return (size_t)ifd_ceil_div(n, LANES) * panel_len(form, k);
}

/* A matrix of which n columns become a panel. */
typedef struct source {
  const void *b;
  int64_t rs, cs, k, n;
} source;

static void pack_integers(uint8_t *to, ifd_k_narrow_form form, uint8_t added, const source *from) {
  const uint8_t *b = from->b;
  for (int64_t i = 0; i < from->k; i++)
    for (int64_t j = 0; j < from->n; j++) {
      uint8_t v = (uint8_t)(b[i * from->rs + j * from->cs] + added);
      if (form == IFD_K_NARROW_BYTES)
        to[i * LANES + j] = v;
      else
        to[i / 2 * LANES + j] |= (uint8_t)((v & 15) << i % 2 * 4);
    }
}

static void pack_floats(uint16_t *to, const source *from) {
  typedef uint16_t word __attribute__((aligned(1)));
  for (int64_t i = 0; i < from->k; i++, to += LANES) {
    const word *row = (const word *)from->b + i * from->rs;
    if (from->cs == 1)
      memcpy(to, row, (size_t)from->n * sizeof *to);
    else
      for (int64_t j = 0; j < from->n; j++) to[j] = row[j * from->cs];
  }
}

void ifd_k_narrow_pack(void *packed, ifd_k_narrow_form form, uint8_t added, const void *b, int64_t b_rs,
                       int64_t b_cs, int64_t k, int64_t j0, int64_t j1) {
  const size_t len = panel_len(form, k), size = is_floats(form) ? sizeof(uint16_t) : 1;
  for (int64_t j = j0; j < j1; j += LANES) {
    char *to = (char *)packed + (size_t)(j / LANES) * len;
    const source from = {(const char *)b + (size_t)(j * b_cs) * size, b_rs, b_cs, k,
                         ifd_min_i64(LANES, j1 - j)};
    if (from.n < LANES || form == IFD_K_NARROW_HALVES) memset(to, 0, len);
    if (is_floats(form))
      pack_floats((uint16_t *)to, &from);
    else
      pack_integers((uint8_t *)to, form, added, &from);
  }
}

ifd_k_narrow ifd_k_narrow_from(const ifd_k_narrow *b, int64_t j) {
  ifd_k_narrow from = *b;
  int64_t blocks = ifd_ceil_div(b->k, b->block);
  from.b += (size_t)(j / LANES) * panel_len(b->form, b->k);
  if (from.scale) from.scale += j * blocks;
  if (from.zero) from.zero += j * blocks;
  return from;
}
