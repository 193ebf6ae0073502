#include "pass/pass.h"

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

const ifd_pass ifd_pass_block_transpose = {
    .summary = "copies blocked images from and to channels last at once",
    .phase = IFD_PHASE_PLAN,
    .rules = (const ifd_rule[]){{"infold.Block", IFD_EXACT, block}, {"Transpose", IFD_EXACT, unblock}, {0}},
};
