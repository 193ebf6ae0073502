/* Linear operators with constant weights: Conv, ConvTranspose, Gemm, MatMul. What a per-channel scale or
 * shift before or after one does to its weights and bias. All in double, rounded once. */
#ifndef IFD_PASS_LINEAR_H
#define IFD_PASS_LINEAR_H

#include "pass/affine.h"

/* How a weight's elements, seen as [d0, d1, inner], belong to channels: channel i0, or, for a grouped weight,
 * (i0 / (d0 / groups)) * d1 + i1. */
typedef struct ifd_channels {
  bool first;
  int64_t groups, n;
} ifd_channels;

typedef struct ifd_linear {
  ifd_node *node;
  const ifd_tensor *weight;
  const ifd_tensor *bias; /* along the output's channels, or NULL */
  int64_t d0, d1, inner;
  ifd_channels in, out;
  int axis_in, axis_out; /* of x and y, from the left */
  double alpha, beta;    /* Gemm: y = alpha·x·W + beta·bias */
  bool has_bias_input;   /* false for MatMul, whose bias is an Add */
  bool pads;             /* zeros are read around x */
} ifd_linear;

/* What `node` is; false when it is no linear operator, or one whose weights are not known (*why then says
 * so). */
bool ifd_linear_of(ifd_rewrite *rw, ifd_node *node, ifd_linear *out, const char **why);

/* A new value: the weight with each element multiplied by scale[its channel], rounded once. A splat stays one
 * when it can; where the file has no room for all of it, it becomes the Expand of one number a channel. NULL
 * where a product is more than the type can hold, as happens in half precision. */
ifd_status ifd_linear_scale(ifd_rewrite *rw, ifd_value **out, const ifd_linear *l,
                            const ifd_channels *channels, const double *scale, int64_t n_scale);
/* What a shift of x adds to each output channel: sum over a channel's weights of weight · shift[input
 * channel]. */
ifd_status ifd_linear_shift(ifd_rewrite *rw, double **out, const ifd_linear *l, const double *shift,
                            int64_t n_shift);
/* beta·bias of each output channel (zeros without one). */
ifd_status ifd_linear_bias(ifd_rewrite *rw, double **out, const ifd_linear *l);
/* Whether a scaled weight and a bias are within what the type can hold; if not, the rewrite is refused. */
bool ifd_linear_fits(ifd_rewrite *rw, const ifd_linear *l, const ifd_value *weight, const double *bias);
/* A node like l with other weight and bias (beta and, for folded ones, alpha as before); for MatMul a shift
 * that is not all zero becomes an Add. x is its new input 0. *n_nodes is how many nodes that takes. */
ifd_status ifd_linear_rebuild(ifd_rewrite *rw, ifd_value **out, const ifd_linear *l, ifd_value *x,
                              ifd_value *weight, const double *bias);
/* a·y + b of l's output y, as the output of a node like l: its channels are the map's, or the map has one
 * pair. NULL, and refused, where that is more than the type can hold. */
ifd_status ifd_linear_fold(ifd_rewrite *rw, ifd_value **out, const ifd_linear *l, const ifd_affine *f);

#endif
