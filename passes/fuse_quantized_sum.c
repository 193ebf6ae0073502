#include "pass/quant.h"

/* infold.QBinary(infold.QConv(x), y) → infold.QConv(x) that adds y as it stores: the sum of a residual
 * network's branches costs no pass over memory. The same bits: each step rounds as before. */

enum { A, A_SCALE, A_ZERO, B, B_SCALE, B_ZERO, SUM_SCALE, SUM_ZERO }; /* of the QBinary */
enum { X, W = 3, Y_SCALE = 6, Y_ZERO, OTHER = 9, N_INPUTS = 14 };     /* of the QConv */

/* The product that makes operand `a` of the sum for it alone, as bytes of the operand's own scale. */
static ifd_node *product_of(ifd_rewrite *rw, const ifd_node *sum, int a) {
  ifd_node *conv = ifd_rw_own_producer(sum->inputs[a], "QConv");
  if (!conv || ifd_value_n_readers(sum->inputs[a]) != 1 || conv->graph != sum->graph ||
      ifd_node_has_input(conv, OTHER) || !ifd_node_has_input(conv, Y_SCALE))
    return NULL;
  bool same = ifd_rw_same_content(rw, conv->inputs[Y_SCALE], sum->inputs[a + A_SCALE]) &&
              ifd_rw_same_content(rw, ifd_node_input(conv, Y_ZERO), ifd_node_input(sum, a + A_ZERO));
  return same ? conv : NULL;
}

/* Each group of one channel: summed by another kernel. */
static bool is_depthwise(ifd_rewrite *rw, const ifd_node *conv) {
  int64_t group = ifd_node_int(conv, "group", 1);
  return group > 1 && ifd_rw_dim(rw, conv->inputs[W], 0) == group;
}

static ifd_status fuse(ifd_rewrite *rw, const ifd_node *sum, const ifd_node *conv, int b) {
  ifd_value *in[N_INPUTS] = {0};
  const ifd_attr *clip = ifd_node_find_attr(sum, "clip");
  ifd_node *made;
  for (int i = 0; i < OTHER; i++) in[i] = ifd_node_input(conv, i);
  for (int i = 0; i < 3; i++) in[OTHER + i] = sum->inputs[b + i];
  in[OTHER + 3] = sum->inputs[SUM_SCALE], in[OTHER + 4] = ifd_node_input(sum, SUM_ZERO);
  TRY(ifd_rw_add_like(rw, &made, conv, in, N_INPUTS));
  if (clip) {
    ifd_attr sum_clip = *clip;
    sum_clip.name = "sum_clip";
    TRY(ifd_node_set_attr(ifd_rw_error(rw), made, &sum_clip));
  }
  return ifd_rw_replace(rw, sum->outputs[0], made->outputs[0]);
}

static ifd_status fuse_sum(ifd_rewrite *rw, ifd_node *sum) {
  if (!ifd_node_string_is(sum, "op", "Add", "Add")) return IFD_OK;
  for (int a = A; a <= B; a += B) {
    int b = B - a;
    ifd_node *conv = product_of(rw, sum, a);
    if (!conv || is_depthwise(rw, conv)) continue;
    if (!ifd_rw_same_shape(rw, sum->inputs[a], sum->inputs[b]))
      return ifd_rw_refuse(rw, "what is added has another shape");
    return fuse(rw, sum, conv, b);
  }
  return IFD_OK;
}

const ifd_pass ifd_pass_fuse_quantized_sum = {
    .summary = "adds quantized values in the stores of convolutions",
    .phase = IFD_PHASE_PLAN,
    .rules = (const ifd_rule[]){{"infold.QBinary", IFD_EXACT, fuse_sum}, {0}},
};
