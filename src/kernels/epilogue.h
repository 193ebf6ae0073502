/* What a product or convolution does to its sums before they reach memory:
 *
 *     v = scale * sum + bias + row_bias           (each where given)
 *     y = act(v), act(v + other), act(v) + other or act(v) * other
 *
 * With `rounding`, v and the result of each operation on it is the nearest value of a 16-bit float, as where
 * these are operators of such a type; with rounds_sums, scale * sum, too. `other` is a tensor laid out as the
 * output (a residual, a gate); it may be the output's own memory. A NaN stays a NaN through every activation.
 * Planners include this header for the types; a kernel's build (IFD_ISA) also gets the functions. */
#ifndef IFD_KERNELS_EPILOGUE_H
#define IFD_KERNELS_EPILOGUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Activations with their parameters p[0], p[1]: X(enumerator, name, value of v on 16 lanes). Names are
 * ONNX's. They give the bits of the elementwise operators (kernels/eltwise). */
#define IFD_K_ACT_LIST(X)                                                                                    \
  X(NONE, "None", v)                                                                                         \
  X(CLIP, "Clip", v16_min(P_(1), v16_max(P_(0), v))) /* Relu is Clip with 0 and infinity */                  \
  X(LEAKY_RELU, "LeakyRelu", v16_select(v16_lt(v, v16_zero()), v16_mul(P_(0), v), v))                        \
  X(HARD_SIGMOID, "HardSigmoid", v16_hard_sigmoid(v, p))                                                     \
  X(HARD_SWISH, "HardSwish", v16_mul(v, v16_hard_sigmoid(v, p))) /* p: 1/6, 1/2 */                           \
  X(SIGMOID, "Sigmoid", v16_sigmoid(v))                                                                      \
  X(SWISH, "Swish", v16_swish(v, P_(0))) /* SiLU is Swish with 1 */                                          \
  X(TANH, "Tanh", v16_tanh(v))                                                                               \
  X(GELU, "Gelu", v16_mul(P_(0), v16_gelu(v))) /* p: a factor, 1 for the operator's bits */                  \
  X(GELU_TANH, "GeluTanh", v16_mul(P_(0), v16_gelu_tanh(v)))                                                 \
  X(ELU, "Elu", v16_select(v16_lt(v, v16_zero()), v16_mul(P_(0), v16_expm1(v)), v))                          \
  X(SOFTPLUS, "Softplus", v16_softplus(v))                                                                   \
  X(MISH, "Mish", v16_mish(v))                                                                               \
  X(ERF, "Erf", v16_erf(v))                                                                                  \
  X(EXP, "Exp", v16_exp(v))                                                                                  \
  X(ROUND_FLOAT16, "RoundFloat16", v16_round_float16(v))                                                     \
  X(ROUND_BFLOAT16, "RoundBFloat16", v16_round_bfloat16(v))

typedef enum ifd_k_act {
#define X(name, text, value) IFD_K_ACT_##name,
  IFD_K_ACT_LIST(X)
#undef X
      IFD_K_N_ACTS
} ifd_k_act;

static inline const char *ifd_k_act_name(ifd_k_act act) {
#define X(name, text, value) text,
  static const char *const names[] = {IFD_K_ACT_LIST(X)};
#undef X
  return names[act];
}

/* How `other` takes part. */
typedef enum ifd_k_join {
  IFD_K_JOIN_NONE,
  IFD_K_JOIN_ADD,     /* act(v + other) */
  IFD_K_JOIN_ADD_ACT, /* act(v) + other */
  IFD_K_JOIN_MUL_ACT, /* act(v) * other */
} ifd_k_join;

typedef struct ifd_k_epilogue {
  float scale; /* 1 leaves the sums as they are */
  ifd_k_act act;
  ifd_k_act rounding; /* none, or one of those to 16-bit floats */
  bool rounds_sums;
  float p[2];
  ifd_k_join join;
  const float *other;
  int64_t other_rs;      /* floats between rows of a matrix; between samples of a convolution */
  const float *bias;     /* one for each column, or output channel; NULL: none */
  const float *row_bias; /* one for each row of a matrix; NULL: none */
} ifd_k_epilogue;

#define IFD_K_EPILOGUE_NONE ((ifd_k_epilogue){.scale = 1})

#ifdef IFD_ISA
#include "kernels/vmath.h"

IFD_INLINE v16 v16_hard_sigmoid(v16 v, const float *p) {
  v16 line = v16_add(v16_mul(v, v16_set1(p[0])), v16_set1(p[1]));
  return v16_min(v16_set1(1), v16_max(v16_zero(), line));
}

/* `act` is a constant where this is inlined. The operand that may be NaN stands second in min and max. */
IFD_INLINE v16 v16_activate(ifd_k_act act, v16 v, const float *p) {
#define P_(i) v16_set1(p[i])
#define X(name, text, value)                                                                                 \
  case IFD_K_ACT_##name: return value;
  switch (act) {
    IFD_K_ACT_LIST(X)
  default: return v;
  }
#undef X
#undef P_
}

/* To the values of a 16-bit float that `rounding` names, if any. */
IFD_INLINE v16 v16_rounded(ifd_k_act rounding, v16 v) {
  if (rounding == IFD_K_ACT_ROUND_FLOAT16) return v16_round_float16(v);
  return rounding == IFD_K_ACT_ROUND_BFLOAT16 ? v16_round_bfloat16(v) : v;
}

/* What is left to do to sums that were stored within their bounds, or without any. Rounded bounds are the
 * bounds of what is rounded: there is nothing to round before. */
typedef struct ifd_k_after {
  ifd_k_act act, rounding;
  float p[2];
} ifd_k_after;

IFD_INLINE ifd_k_after ifd_k_after_of(const ifd_k_epilogue *e) {
  return (ifd_k_after){e->act > IFD_K_ACT_CLIP ? e->act : IFD_K_ACT_NONE, e->rounding, {e->p[0], e->p[1]}};
}
IFD_INLINE bool ifd_k_after_any(const ifd_k_after *a) { return a->act || a->rounding; }

/* A tile of sums in memory and where it goes: rows of n_cols columns, in vectors of 16. Distances are in
 * floats. */
typedef struct ifd_k_tile {
  const float *sums;
  int64_t sums_rs, sums_vs; /* between rows, between vectors of 16 columns */
  float *y;
  int64_t y_rs, y_vs;
  const float *other; /* like y; NULL: none */
  int64_t other_rs, other_vs;
  const float *bias;     /* for the tile's first column; NULL: none */
  const float *row_bias; /* for its first row; NULL: none */
  int64_t n_rows, n_cols;
  int64_t skip; /* columns of the first vector that are left alone */
  bool fill;    /* a last vector of fewer than 16 columns is stored whole, zeros beyond */
} ifd_k_tile;

/* Lanes [from, end) of n vectors, `apart` floats from one to the next, become what is made of them. */
void IFD_K(ifd_k_activate)(const ifd_k_after *a, float *y, int64_t apart, int64_t n, int from, int end);
/* Stores the tile through the epilogue; `e` gives scale, activation and join, the pointers are the tile's. */
void IFD_K(ifd_k_finish)(const ifd_k_epilogue *e, const ifd_k_tile *t);
#endif
#endif
