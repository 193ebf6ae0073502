#include "pass/pass.h"
#include "pass/unblock.h"

/* A Transpose to channels last after Unblock, or from channels last before Block, is the way in which they
 * copy (ops/channels_last.c). So is one of pixels as one axis, which a Reshape makes of images or images of:
 * it may as well come after the Transpose or before. */

/* Whether the node moves the channels of images last; `back`: from there to their place. */
static bool moves_channels(ifd_rewrite *rw, const ifd_node *transpose, bool back) {
  const int64_t *perm;
  int rank = transpose ? ifd_rw_rank(rw, transpose->inputs[0]) : -1;
  if (rank < 3 || ifd_node_ints(transpose, "perm", &perm) != rank || perm[0] != 0) return false;
  for (int i = 1; i < rank; i++)
    if (perm[i] != (back ? (i == 1 ? rank - 1 : i - 1) : (i == rank - 1 ? 1 : i + 1))) return false;
  return true;
}

/* The Reshape that makes v, of other image axes alone: batch and channels stay. */
static const ifd_node *image_view(ifd_rewrite *rw, const ifd_value *v) {
  const ifd_node *view = ifd_rw_producer(v, "Reshape");
  if (!view || view->opset < 5 || ifd_rw_rank(rw, v) < 3 || ifd_rw_rank(rw, view->inputs[0]) < 3) return NULL;
  for (int i = 0; i < 2; i++)
    if (ifd_rw_dim(rw, v, i) != ifd_rw_dim(rw, view->inputs[0], i)) return NULL;
  return view;
}

/* *x, channels last, as a Reshape to the shape of what the view makes, with channels moved last; NULL: that
 * cannot be said. Without a view it stays. */
static ifd_status view_last(ifd_rewrite *rw, ifd_value **x, const ifd_node *view) {
  int64_t shape[IFD_MAX_RANK] = {0};
  ifd_value *inputs[2] = {*x};
  ifd_node *reshape;
  if (!view) return IFD_OK;
  const ifd_value *v = view->outputs[0];
  int rank = ifd_rw_rank(rw, v), unknown = 0;
  *x = NULL;
  for (int i = 1; i < rank; i++) {
    ifd_dim dim = ifd_rw_dim(rw, v, i == rank - 1 ? 1 : i + 1);
    shape[i] = ifd_dim_is_number(dim) ? dim : -1;
    unknown += shape[i] < 0;
    if (shape[i] == 0 || unknown > 1) return IFD_OK;
  }
  TRY(ifd_rw_add_ints(rw, &inputs[1], shape, rank, "shape"));
  TRY(ifd_rw_add_node(rw, &reshape, "Reshape", inputs, 2, 1));
  *x = reshape->outputs[0];
  return IFD_OK;
}

static ifd_status block(ifd_rewrite *rw, ifd_node *block) {
  const ifd_node *view = image_view(rw, block->inputs[0]);
  const ifd_node *transpose = ifd_rw_producer(view ? view->inputs[0] : block->inputs[0], "Transpose");
  ifd_node *node;
  if (!moves_channels(rw, transpose, true)) return IFD_OK;
  ifd_value *x = transpose->inputs[0];
  TRY(view_last(rw, &x, view));
  if (!x) return IFD_OK;
  TRY(ifd_rw_add_node(rw, &node, "infold.BlockLast", &x, 1, 1));
  return ifd_rw_replace(rw, block->outputs[0], node->outputs[0]);
}

static ifd_status unblock(ifd_rewrite *rw, ifd_node *transpose) {
  const ifd_node *view = image_view(rw, transpose->inputs[0]);
  const ifd_node *unblock = ifd_rw_own_producer(view ? view->inputs[0] : transpose->inputs[0], "Unblock");
  ifd_node *node;
  if (!unblock || !moves_channels(rw, transpose, false)) return IFD_OK;
  TRY(ifd_rw_add_node(rw, &node, "infold.UnblockLast", unblock->inputs, 1, 1));
  TRY(ifd_node_set_int(ifd_rw_error(rw), node, "channels", ifd_node_int(unblock, "channels", 0)));
  ifd_value *y = node->outputs[0];
  TRY(view_last(rw, &y, view));
  return y ? ifd_rw_replace(rw, transpose->outputs[0], y) : IFD_OK;
}

/* Whether elements of v, and of what constants make of them, meet a blocked image of so many channels. */
static bool meets_blocks(const ifd_value *v, int64_t channels) {
  for (int depth = 0; depth < 3; depth++) {
    const ifd_node *reader = ifd_value_only_reader(v);
    if (!reader || !reader->op || !(reader->op->flags & IFD_OP_ELEMENTWISE) || reader->n_outputs != 1)
      return false;
    for (int i = 0; i < reader->n_inputs; i++) {
      const ifd_node *other = ifd_rw_own_producer(reader->inputs[i], "Unblock");
      if (other && ifd_node_int(other, "channels", 0) == channels) return true;
    }
    v = reader->outputs[0];
  }
  return false;
}

/* A Transpose from channels last whose result meets blocked images makes one. */
static ifd_status meet(ifd_rewrite *rw, ifd_node *transpose) {
  ifd_node *block;
  if (!moves_channels(rw, transpose, true) || ifd_rw_dtype(rw, transpose->inputs[0]) != IFD_FLOAT)
    return IFD_OK;
  ifd_dim channels = ifd_rw_dim(rw, transpose->inputs[0], -1);
  if (!ifd_dim_is_number(channels) || !meets_blocks(transpose->outputs[0], channels)) return IFD_OK;
  TRY(ifd_rw_add_node(rw, &block, "infold.BlockLast", transpose->inputs, 1, 1));
  return ifd_unblock_replace(rw, transpose->outputs[0], block->outputs[0], channels);
}

const ifd_pass ifd_pass_block_transpose = {
    .summary = "copies blocked images from and to channels last at once",
    .phase = IFD_PHASE_PLAN,
    .rules = (const ifd_rule[]){{"infold.Block", IFD_EXACT, block},
                                {"Transpose", IFD_EXACT, unblock},
                                {"Transpose", IFD_EXACT, meet},
                                {0}},
};
