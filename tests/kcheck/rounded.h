/* The epilogues that plain float arithmetic says exactly: activations of sums and products, and the rounding
 * of each result to a 16-bit float. */
#ifndef IFD_TESTS_KCHECK_ROUNDED_H
#define IFD_TESTS_KCHECK_ROUNDED_H

#include "kcheck/buffer.h"
#include "kernels/epilogue.h"
#include "tensor/convert.h"

static inline float exactly_activated(const ifd_k_epilogue *e, float v) {
  float line = v * e->p[0] + e->p[1], hard = line != line ? line : line < 0 ? 0 : line > 1 ? 1 : line;
  switch (e->act) {
  case IFD_K_ACT_CLIP: return v < e->p[0] ? e->p[0] : v > e->p[1] ? e->p[1] : v;
  case IFD_K_ACT_LEAKY_RELU: return v < 0 ? v * e->p[0] : v;
  case IFD_K_ACT_HARD_SIGMOID: return hard;
  case IFD_K_ACT_HARD_SWISH: return v * hard;
  default: return v;
  }
}

static inline float rounded(const ifd_k_epilogue *e, float v) {
  if (e->rounding == IFD_K_ACT_ROUND_FLOAT16) return ifd_f16_to_f32(ifd_f32_to_f16(v));
  return e->rounding == IFD_K_ACT_ROUND_BFLOAT16 ? ifd_bf16_to_f32(ifd_f32_to_bf16(v)) : v;
}

/* For the activations above. */
static inline void random_rounding(ifd_k_epilogue *e, uint64_t *state) {
  static const ifd_k_act kinds[] = {IFD_K_ACT_NONE, IFD_K_ACT_NONE, IFD_K_ACT_ROUND_FLOAT16,
                                    IFD_K_ACT_ROUND_BFLOAT16};
  if (e->act > IFD_K_ACT_HARD_SWISH) return;
  e->rounding = kinds[rand_in(state, 0, 3)];
  e->rounds_sums = e->rounding && rand_in(state, 0, 3) == 0;
}

#endif
