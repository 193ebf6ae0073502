#include "pass/turn.h"
#include "pass/unblock.h"

#include <math.h>

/* Convolutions run on images whose channels lie in blocks of 16 (ops/blocked.c): Conv(x) →
 * Unblock(infold.Conv(Block(x))). The conversions go away where such operators meet, and sink where elements
 * are worked on (sink_unblock). */

/* Few channels (a picture's) are read as they lie: blocks would be partly zeros. Few channels of many taps
 * each are made as they lie, too: lanes are then places, not channels. */
enum { FEW_IN = 15, FEW_OUT = 8, FEW_OUT_OF_TILES = 2, MANY_TAPS = 9 };

/* The shape of the weights, which may be computed as long as it is known. Groups that channels cannot be
 * divided in are the reference's to refuse. */
static bool fits(ifd_rewrite *rw, const ifd_node *conv, ifd_shape *w) {
  *w = (ifd_shape){.rank = ifd_rw_rank(rw, conv->inputs[1])};
  if (w->rank < 3 || w->rank > 5 || ifd_rw_rank(rw, conv->inputs[0]) != w->rank ||
      ifd_rw_dtype(rw, conv->inputs[0]) != IFD_FLOAT)
    return false;
  for (int i = 0; i < w->rank; i++) {
    w->dim[i] = ifd_rw_dim(rw, conv->inputs[1], i);
    if (!ifd_dim_is_number(w->dim[i]) || w->dim[i] < 1) return false;
  }
  int64_t group = ifd_node_int(conv, "group", 1);
  return group > 0 && w->dim[0] % group == 0;
}

static ifd_status copy_attrs(ifd_rewrite *rw, ifd_node *to, const ifd_node *from) {
  for (int i = 0; i < from->n_attrs; i++) TRY(ifd_node_set_attr(ifd_rw_error(rw), to, &from->attrs[i]));
  to->name = from->name;
  return IFD_OK;
}

/* The blocked form of x: what an Unblock was made from, or a Block of it. */
static ifd_status blocked(ifd_rewrite *rw, ifd_value **out, ifd_value *x) {
  ifd_node *unblock = ifd_rw_own_producer(x, "Unblock"), *block;
  if (unblock) {
    *out = unblock->inputs[0];
    return IFD_OK;
  }
  TRY(ifd_rw_add_node(rw, &block, "infold.Block", &x, 1, 1));
  *out = block->outputs[0];
  return IFD_OK;
}

static ifd_status block_as(ifd_rewrite *rw, ifd_node *conv, const char *op_type, bool plain,
                           int64_t channels_out) {
  ifd_value *inputs[3] = {conv->inputs[0], conv->inputs[1], ifd_node_input(conv, 2)};
  ifd_node *node;
  if (!plain) TRY(blocked(rw, &inputs[0], inputs[0]));
  TRY(ifd_rw_add_node(rw, &node, op_type, inputs, inputs[2] ? 3 : 2, 1));
  TRY(copy_attrs(rw, node, conv));
  if (plain) TRY(ifd_node_set_int(ifd_rw_error(rw), node, "plain_input", 1));
  return ifd_unblock_replace(rw, conv->outputs[0], node->outputs[0], channels_out);
}

static ifd_status make_plain(ifd_rewrite *rw, ifd_node *conv, const char *op_type, bool plain_input) {
  ifd_value *inputs[3] = {conv->inputs[0], conv->inputs[1], ifd_node_input(conv, 2)};
  ifd_node *node;
  if (!plain_input) TRY(blocked(rw, &inputs[0], inputs[0]));
  TRY(ifd_rw_add_node(rw, &node, op_type, inputs, inputs[2] ? 3 : 2, 1));
  TRY(copy_attrs(rw, node, conv));
  if (plain_input) TRY(ifd_node_set_int(ifd_rw_error(rw), node, "plain_input", 1));
  TRY(ifd_node_set_int(ifd_rw_error(rw), node, "plain_output", 1));
  return ifd_rw_replace(rw, conv->outputs[0], node->outputs[0]);
}

/* By Winograd's algorithm three channels of whole blocks take no longer than as they lie. */
static bool suits_winograd(ifd_rewrite *rw, const ifd_node *conv, const ifd_shape *w) {
  const int64_t *strides;
  int n = ifd_node_ints(conv, "strides", &strides);
  for (int i = 0; i < n; i++)
    if (strides[i] != 1) return false;
  bool three = w->rank == 4 && w->dim[2] == 3 && w->dim[3] == 3 && w->dim[1] > FEW_IN;
  return three && ifd_rw_constant(rw, conv->inputs[1]) && !ifd_rw_exact_conv(rw);
}

static ifd_status block_conv(ifd_rewrite *rw, ifd_node *conv) {
  ifd_shape w;
  if (!fits(rw, conv, &w)) return IFD_OK;
  bool one_group = ifd_node_int(conv, "group", 1) == 1;
  int64_t few = suits_winograd(rw, conv, &w) ? FEW_OUT_OF_TILES : FEW_OUT;
  if (one_group && w.dim[0] <= few && ifd_shape_span(&w, 2, w.rank) >= MANY_TAPS)
    return make_plain(rw, conv, "infold.Conv", true);
  bool plain = one_group && w.dim[1] <= FEW_IN && !ifd_rw_own_producer(conv->inputs[0], "Unblock");
  return block_as(rw, conv, "infold.Conv", plain, w.dim[0]);
}

/* Of stride 1 it is a Conv. */
static ifd_status turn(ifd_rewrite *rw, ifd_node *conv) {
  ifd_node *turned;
  ifd_shape w;
  if (!fits(rw, conv, &w)) return IFD_OK;
  TRY(ifd_turn_conv_transpose(rw, &turned, conv));
  return turned ? ifd_rw_replace(rw, conv->outputs[0], turned->outputs[0]) : IFD_OK;
}

/* Whether every box of `stride` outputs, which are then made together, needs few weights that are zero. */
static bool fills_boxes(const ifd_node *conv, const ifd_shape *w) {
  const int64_t *strides, *dilations;
  int n_strides = ifd_node_ints(conv, "strides", &strides),
      n_dilations = ifd_node_ints(conv, "dilations", &dilations);
  double taps = 1, box_taps = 1;
  for (int i = 0; i < w->rank - 2; i++) {
    int64_t stride = i < n_strides ? strides[i] : 1, dilation = i < n_dilations ? dilations[i] : 1;
    if (stride < 1 || dilation < 1 || stride > INT32_MAX || dilation > INT32_MAX) return false;
    taps *= (double)w->dim[2 + i];
    box_taps *= (double)stride * (floor(((double)w->dim[2 + i] - 1) * (double)dilation / (double)stride) + 1);
  }
  return box_taps <= 4 * taps;
}

static ifd_status block_conv_transpose(ifd_rewrite *rw, ifd_node *conv) {
  ifd_shape w;
  if (!fits(rw, conv, &w)) return IFD_OK;
  if (ifd_node_int(conv, "group", 1) == 1 && w.dim[1] <= FEW_OUT && fills_boxes(conv, &w))
    return make_plain(rw, conv, "infold.ConvTranspose", false);
  return block_as(rw, conv, "infold.ConvTranspose", false, w.dim[1] * ifd_node_int(conv, "group", 1));
}

/* What turned out to be blocked is read so. */
static ifd_status read_blocked(ifd_rewrite *rw, ifd_node *conv) {
  ifd_node *unblock = ifd_rw_own_producer(conv->inputs[0], "Unblock"), *node;
  if (!unblock || !ifd_node_int(conv, "plain_input", 0) || ifd_node_int(conv, "plain_output", 0))
    return IFD_OK;
  ifd_value *inputs[4] = {unblock->inputs[0], conv->inputs[1], ifd_node_input(conv, 2),
                          ifd_node_input(conv, 3)};
  TRY(ifd_rw_add_like(rw, &node, conv, inputs, conv->n_inputs));
  TRY(ifd_node_set_int(ifd_rw_error(rw), node, "plain_input", 0));
  return ifd_rw_replace(rw, conv->outputs[0], node->outputs[0]);
}

/* Block of Unblock is what both began with. */
static ifd_status cancel(ifd_rewrite *rw, ifd_node *block) {
  ifd_node *unblock = ifd_rw_own_producer(block->inputs[0], "Unblock");
  return unblock ? ifd_rw_replace(rw, block->outputs[0], unblock->inputs[0]) : IFD_OK;
}

const ifd_pass ifd_pass_block_conv = {
    .summary = "runs convolutions on images whose channels lie in blocks of 16",
    .phase = IFD_PHASE_PLAN,
    .rules = (const ifd_rule[]){{"Conv", IFD_EXACT, block_conv},
                                {"ConvTranspose", IFD_REASSOCIATES, turn},
                                {"ConvTranspose", IFD_EXACT, block_conv_transpose},
                                {"infold.Conv", IFD_EXACT, read_blocked},
                                {"infold.Block", IFD_EXACT, cancel},
                                {0}},
};
