#include "pass/pass.h"
#include "pass/unblock.h"

/* A Transpose to channels last after Unblock, or from channels last before Block, is the way in which they
 * copy (ops/channels_last.c). */

/* Whether the node moves the channels of images last; `back`: from there to their place. */
static bool moves_channels(ifd_rewrite *rw, const ifd_node *transpose, bool back) {
  const int64_t *perm;
  int rank = transpose ? ifd_rw_rank(rw, transpose->inputs[0]) : -1;
  if (rank < 3 || ifd_node_ints(transpose, "perm", &perm) != rank || perm[0] != 0) return false;
  for (int i = 1; i < rank; i++)
    if (perm[i] != (back ? (i == 1 ? rank - 1 : i - 1) : (i == rank - 1 ? 1 : i + 1))) return false;
  return true;
}

static ifd_status block(ifd_rewrite *rw, ifd_node *block) {
  const ifd_node *transpose = ifd_rw_producer(block->inputs[0], "Transpose");
  ifd_node *node;
  if (!moves_channels(rw, transpose, true)) return IFD_OK;
  TRY(ifd_rw_add_node(rw, &node, "infold.BlockLast", transpose->inputs, 1, 1));
  return ifd_rw_replace(rw, block->outputs[0], node->outputs[0]);
}

static ifd_status unblock(ifd_rewrite *rw, ifd_node *transpose) {
  const ifd_node *unblock = ifd_rw_own_producer(transpose->inputs[0], "Unblock");
  ifd_node *node;
  if (!unblock || !moves_channels(rw, transpose, false)) return IFD_OK;
  TRY(ifd_rw_add_node(rw, &node, "infold.UnblockLast", unblock->inputs, 1, 1));
  TRY(ifd_node_set_int(ifd_rw_error(rw), node, "channels", ifd_node_int(unblock, "channels", 0)));
  return ifd_rw_replace(rw, transpose->outputs[0], node->outputs[0]);
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
