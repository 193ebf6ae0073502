/* What passes of quantized models look for and make: values that are dequantized integers, and what becomes
 * of a result before it is quantized. For sessions alone. */
#ifndef IFD_PASS_QUANT_H
#define IFD_PASS_QUANT_H

#include "pass/pass.h"

/* v = DequantizeLinear(q, scale, zero): float, of bytes, not in blocks. `zero` may be NULL. */
typedef struct ifd_dequantized {
  ifd_node *node;
  ifd_value *q, *scale, *zero;
} ifd_dequantized;
bool ifd_rw_dequantized(ifd_rewrite *rw, const ifd_value *v, ifd_dequantized *out);
/* The same, and one scale for all. */
bool ifd_rw_dequantized_whole(ifd_rewrite *rw, const ifd_value *v, ifd_dequantized *out);
/* Whether q has one scale, or one for each index of an axis of its tensor. */
bool ifd_rw_scales_along(ifd_rewrite *rw, const ifd_dequantized *d, int axis);
/* NULL or a value of one element. */
bool ifd_rw_is_one(ifd_rewrite *rw, const ifd_value *v);
/* The same value, or constants of the same elements; both may be NULL. */
bool ifd_rw_same_content(ifd_rewrite *rw, const ifd_value *a, const ifd_value *b);

/* MatMul, or the Gemm that is one with a bias, by a large constant matrix q [k, n] or, turned, [n, k] that
 * products read as it is: of 16-bit floats, `scale` NULL, or of integers of at most
 * 8 bits with one scale, one for each column, or one for each column of each block of k (block 0: none).
 * `zero` and `bias` may be NULL. */
typedef struct ifd_narrow_product {
  ifd_value *q, *scale, *zero, *bias;
  int64_t block;
  bool turned;
} ifd_narrow_product;
bool ifd_rw_narrow_product(ifd_rewrite *rw, const ifd_node *product, ifd_narrow_product *out);
/* Whether the product of 16-bit floats, once it is one of FLOAT, is such a product by this input. */
bool ifd_rw_stays_half(ifd_rewrite *rw, const ifd_node *product, int input);

/* What is done to a result that nobody else reads: a clip of real values, then a quantization. */
typedef struct ifd_requantized {
  ifd_value *result; /* the last value of the chain */
  bool clipped;
  float clip[2];
  ifd_value *scale, *zero; /* NULL: it stays float */
} ifd_requantized;
ifd_status ifd_rw_requantized(ifd_rewrite *rw, ifd_value *v, ifd_requantized *out);
/* Bounds of a Relu or Clip; false for anything else. */
bool ifd_rw_clip_of(ifd_rewrite *rw, const ifd_node *node, float clip[2]);
ifd_status ifd_rw_set_clip(ifd_rewrite *rw, ifd_node *node, const ifd_requantized *r);

/* x [N, C, image…], of this rank, with its channels last, and back. */
ifd_status ifd_rw_channels_last(ifd_rewrite *rw, ifd_value **out, ifd_value *x, int rank);
ifd_status ifd_rw_channels_first(ifd_rewrite *rw, ifd_value **out, ifd_value *x, int rank);
/* The channels-last form of x where that is what it is made from; else NULL. */
ifd_value *ifd_rw_find_channels_last(ifd_rewrite *rw, const ifd_value *x);

/* Whether a session may yet run this DequantizeLinear or Cast of a constant as the numbers it has: then it is
 * not folded before the last phase. */
bool ifd_rw_stays_narrow(ifd_rewrite *rw, const ifd_node *node);

#endif
