/* Lowering products of 8-bit integers onto the quant kernels: what QLinearMatMul, MatMulInteger, QLinearConv
 * and ConvInteger share, and plans' own forms of them, whose results may also be floats and whose bias may be
 * one. Weights are one or several matrices [k, n], packed once where they are constant, else in each run.
 *
 *     real(x) = (x - x_zero) * x_scale, real(w) = (w - w_zero) * w_scale,
 *     y = quantized(clip(real(x) · real(w) + real(bias)))
 *
 * where the sum of products and an int32 bias (of scale x_scale * w_scale) is exact, its scale is one float,
 * and one rounding to the nearest even integer follows. */
#ifndef IFD_OPS_SHARED_QUANT_WORK_H
#define IFD_OPS_SHARED_QUANT_WORK_H

#include <math.h>

#include "kernels/quant/quant.h"
#include "ops/op.h"

/* Inputs by what they are; -1: there is none. */
typedef struct ifd_quant_roles {
  int x, x_scale, x_zero, w, w_scale, w_zero, y_scale, y_zero, bias;
  int other, other_scale, other_zero, sum_scale, sum_zero; /* what is added to y, and to what */
} ifd_quant_roles;
/* In this order, as QLinearMatMul and plans' own operators have them. */
extern const ifd_quant_roles ifd_quant_in_order;

enum { IFD_QUANT_JOINED = 1 << 14 }; /* most bytes of a matrix of groups */
typedef struct ifd_quant_weights {
  ifd_k_quant_matrix matrix; /* the first; b is set when it is known */
  int64_t count, stride;     /* matrices, elements from one to the next */
  int64_t joined;            /* groups that lie one after another where b is, and are one matrix; 0: as 1 */
  bool own_columns;          /* each matrix has columns of its own among the parameters: groups */
} ifd_quant_weights;

/* What runs know of the operands: the beginning of every launch's parameters. */
typedef struct ifd_quant_call {
  const struct ifd_k_quant_table *kernels;
  ifd_dot dot;
  ifd_k_quant_out out;
  ifd_quant_roles roles;
  ifd_quant_weights w;
  bool x_signed, y_signed, w_has_zero, w_per_column, zero_per_column, bias_is_float;
  float lo, hi;         /* of real values */
  float sum_lo, sum_hi; /* the same of the sum */
  bool other_signed, sum_signed;
  const int8_t *packed;                 /* of constant weights, or NULL: they are in shared memory */
  size_t packed_step;                   /* bytes of a packed matrix */
  size_t columns_at, packed_at, shared; /* places in shared memory */
} ifd_quant_call;

/* DynamicQuantizeLinear's scale and zero point of values in [low, high], which holds 0. */
static inline void ifd_quant_range(float low, float high, float *scale, uint8_t *zero) {
  *scale = (high == low ? 1 : high - low) / 255;
  *zero = (uint8_t)rintf(fminf(fmaxf(-low / *scale, 0), 255));
}

/* Bounds before a zero point is added: the type's, and a clip's in steps. */
static inline void ifd_quant_bounds(bool is_signed, int32_t zero, float clip_lo, float clip_hi, float step,
                                    float *lo, float *hi) {
  float least = (float)((is_signed ? -128 : 0) - zero);
  *lo = fmaxf(least, clip_lo / step);
  *hi = fminf(least + 255, clip_hi / step);
}

/* Whether the roles' types and shapes are such as the kernels take: x and w bytes, scales of x and y one
 * element, those of w one or one for each column. */
bool ifd_quant_fits(const ifd_lower *x, const ifd_quant_roles *roles, int64_t n_columns);
/* Whether the weights may have a zero point; one that is known to be 0 as they are packed is none. */
bool ifd_quant_has_zero(const ifd_lower *x, const ifd_quant_roles *roles);
/* Packs the weights or adds a launch that does, and a launch that prepares the finish. */
ifd_status ifd_quant_prepare(ifd_lower *x, ifd_quant_call *call, const ifd_quant_roles *roles,
                             const ifd_quant_weights *w);
/* In a run: packed matrix i, and the finish of its columns. */
const int8_t *ifd_quant_packed(const ifd_quant_call *call, const ifd_args *args, int64_t i);
ifd_k_quant_finish ifd_quant_finish_of(const ifd_quant_call *call, const ifd_args *args, int64_t i);
/* What is added where the call's out is IFD_K_QUANT_SUM. */
ifd_k_quant_binary ifd_quant_sum_of(const ifd_quant_call *call, const ifd_args *args);
/* The zero point of x as the kernels see it: of uint8. */
int32_t ifd_quant_x_zero(const ifd_quant_call *call, const ifd_args *args);

/* MatMul-like: [.., k] by [.., k, n] of the node's inputs roles.x and roles.w; or, where `transposed`, the
 * second is one matrix [n, k]. Declines where it must. */
ifd_status ifd_lower_quant_matmul(ifd_lower *x, const ifd_quant_roles *roles, float lo, float hi,
                                  bool transposed);

#endif
