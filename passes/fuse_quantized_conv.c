#include "pass/quant.h"

/* Convolutions of quantized values run on integers (ops/quantized.c), on images whose channels lie last:
 * QuantizeLinear(Conv(DequantizeLinear(x), DequantizeLinear(w), b)) → Transpose(infold.QConv(Transpose(x),
 * w)). The Transposes between such convolutions go away. A clip before the quantization is done with it; a
 * result that is not quantized stays float. */

enum { X, X_SCALE, X_ZERO, W, W_SCALE, W_ZERO, Y_SCALE, Y_ZERO, BIAS, N_INPUTS, MOST_TERMS = 1 << 15 };

/* Rank and, of the weights, numbers that the kernels take. */
static bool fits(ifd_rewrite *rw, ifd_value *const *in) {
  int rank = ifd_rw_rank(rw, in[X]);
  int64_t terms = 1;
  if (rank < 3 || rank > 5 || ifd_rw_rank(rw, in[W]) != rank) return false;
  for (int i = 0; i < rank; i++) {
    ifd_dim d = ifd_rw_dim(rw, in[W], i);
    if (!ifd_dim_is_number(d) || d < 1) return false;
    if (i > 0) terms *= d;
    if (terms > MOST_TERMS) return false;
  }
  return true;
}

static ifd_status fuse(ifd_rewrite *rw, const ifd_node *conv, ifd_value **in, const ifd_requantized *r) {
  ifd_node *fused;
  ifd_value *plain;
  int rank = ifd_rw_rank(rw, in[X]);
  in[Y_SCALE] = r->scale, in[Y_ZERO] = r->zero;
  TRY(ifd_rw_channels_last(rw, &in[X], in[X], rank));
  TRY(ifd_rw_add_node(rw, &fused, "infold.QConv", in, N_INPUTS, 1));
  for (int i = 0; i < conv->n_attrs; i++) TRY(ifd_node_set_attr(ifd_rw_error(rw), fused, &conv->attrs[i]));
  fused->name = conv->name;
  TRY(ifd_rw_set_clip(rw, fused, r));
  TRY(ifd_rw_channels_first(rw, &plain, fused->outputs[0], rank));
  return ifd_rw_replace(rw, r->result, plain);
}

static ifd_status fuse_conv(ifd_rewrite *rw, ifd_node *conv) {
  ifd_dequantized x, w;
  ifd_requantized r;
  if (!ifd_rw_dequantized_whole(rw, conv->inputs[0], &x) || !ifd_rw_dequantized(rw, conv->inputs[1], &w))
    return IFD_OK;
  if (!ifd_rw_scales_along(rw, &w, 0))
    return ifd_rw_refuse(rw, "the scales of the weights are not by output channel");
  ifd_value *in[N_INPUTS] = {x.q, x.scale, x.zero, w.q, w.scale, w.zero, [BIAS] = ifd_node_input(conv, 2)};
  if (!fits(rw, in)) return ifd_rw_refuse(rw, "rank or size of the weights do not suit integer kernels");
  TRY(ifd_rw_requantized(rw, conv->outputs[0], &r));
  return fuse(rw, conv, in, &r);
}

static bool is_parameter(ifd_rewrite *rw, const ifd_value *v, const ifd_value *w) {
  return ifd_rw_is_one(rw, v) || (ifd_rw_rank(rw, v) == 1 && ifd_rw_dim(rw, v, 0) == ifd_rw_dim(rw, w, 0));
}

static bool is_byte(ifd_rewrite *rw, const ifd_value *v) { return ifd_dtype_is_byte(ifd_rw_dtype(rw, v)); }

static ifd_status fuse_qlinear_conv(ifd_rewrite *rw, ifd_node *conv) {
  ifd_value *in[N_INPUTS];
  for (int i = 0; i < N_INPUTS; i++) in[i] = ifd_node_input(conv, i);
  ifd_requantized r = {.result = conv->outputs[0], .scale = in[Y_SCALE], .zero = in[Y_ZERO]};
  bool whole = ifd_rw_is_one(rw, in[X_SCALE]) && ifd_rw_is_one(rw, in[X_ZERO]) &&
               ifd_rw_is_one(rw, in[Y_SCALE]) && ifd_rw_is_one(rw, in[Y_ZERO]);
  if (!fits(rw, in) || !whole || !is_parameter(rw, in[W_SCALE], in[W]) ||
      !is_parameter(rw, in[W_ZERO], in[W]) || !is_byte(rw, in[X]) || !is_byte(rw, in[W]) ||
      !is_byte(rw, in[Y_ZERO]))
    return ifd_rw_refuse(rw, "its operands do not suit integer kernels");
  return fuse(rw, conv, in, &r);
}

static ifd_status fuse_conv_integer(ifd_rewrite *rw, ifd_node *conv) {
  ifd_value *in[N_INPUTS] = {[X] = conv->inputs[0],
                             [X_ZERO] = ifd_node_input(conv, 2),
                             [W] = conv->inputs[1],
                             [W_ZERO] = ifd_node_input(conv, 3)};
  ifd_requantized r = {.result = conv->outputs[0]};
  if (!fits(rw, in) || !ifd_rw_is_one(rw, in[X_ZERO]) || !is_parameter(rw, in[W_ZERO], in[W]))
    return ifd_rw_refuse(rw, "its operands do not suit integer kernels");
  return fuse(rw, conv, in, &r);
}

const ifd_pass ifd_pass_fuse_quantized_conv = {
    .summary = "runs convolutions of quantized values on integers",
    .phase = IFD_PHASE_INTEGER,
    .rules = (const ifd_rule[]){{"Conv", IFD_REASSOCIATES, fuse_conv},
                                {"QLinearConv", IFD_EXACT, fuse_qlinear_conv},
                                {"ConvInteger", IFD_EXACT, fuse_conv_integer},
                                {0}},
};
