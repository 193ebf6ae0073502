#include "pass/ints.h"
#include "pass/unblock.h"

/* Pools of blocked images (ops/blocked.c): MaxPool(Unblock(x)) → Unblock(infold.MaxPool(x)), LRN and
 * normalizations of channels likewise; what runs over whole images is a reduction of the blocked tensor's
 * image axes. */

/* y = Unblock(made), in the place of old's output, which may lack the image axes, then of 1. */
static ifd_status unblock_instead(ifd_rewrite *rw, ifd_node *old, ifd_value *made, int64_t channels) {
  ifd_node *plain;
  TRY(ifd_unblock_add(rw, &plain, made, channels));
  if (ifd_rw_rank(rw, old->outputs[0]) == 2)
    TRY(ifd_rw_add_node(rw, &plain, "Flatten", plain->outputs, 1, 1));
  return ifd_rw_replace(rw, old->outputs[0], plain->outputs[0]);
}

static ifd_status pool(ifd_rewrite *rw, ifd_node *node) {
  ifd_node *before = ifd_rw_own_producer(node->inputs[0], "Unblock"), *moved;
  int rank = ifd_rw_rank(rw, node->inputs[0]);
  bool indices = ifd_node_has_output(node, 1) && ifd_value_n_readers(node->outputs[1]);
  if (!before || indices || rank < 3 || rank > 5) return IFD_OK;
  const char *op_type = ifd_node_is(node, "MaxPool") ? "infold.MaxPool" : "infold.AveragePool";
  TRY(ifd_rw_add_node(rw, &moved, op_type, before->inputs, 1, 1));
  for (int i = 0; i < node->n_attrs; i++) TRY(ifd_node_set_attr(ifd_rw_error(rw), moved, &node->attrs[i]));
  moved->name = node->name;
  return unblock_instead(rw, node, moved->outputs[0], ifd_node_int(before, "channels", 0));
}

/* Regions that reach no further than the next block. */
static ifd_status lrn(ifd_rewrite *rw, ifd_node *node) {
  ifd_node *before = ifd_rw_own_producer(node->inputs[0], "Unblock"), *moved;
  int64_t size = ifd_node_int(node, "size", 0);
  if (!before || size < 1 || size > 2 * IFD_BLOCK - 1) return IFD_OK;
  TRY(ifd_rw_add_node(rw, &moved, "infold.LRN", before->inputs, 1, 1));
  for (int i = 0; i < node->n_attrs; i++) TRY(ifd_node_set_attr(ifd_rw_error(rw), moved, &node->attrs[i]));
  int64_t channels = ifd_node_int(before, "channels", 0);
  TRY(ifd_node_set_int(ifd_rw_error(rw), moved, "channels", channels));
  moved->name = node->name;
  return unblock_instead(rw, node, moved->outputs[0], channels);
}

/* Numbers for each channel, or for each group. */
static bool is_parameter(ifd_rewrite *rw, const ifd_value *v, int64_t channels, int64_t groups) {
  if (!v || ifd_rw_dtype(rw, v) != IFD_FLOAT || ifd_rw_rank(rw, v) != 1) return false;
  ifd_dim n = ifd_rw_dim(rw, v, 0);
  return n == channels || n == groups;
}

/* By groups of channels, or each channel by itself. */
static ifd_status normalize(ifd_rewrite *rw, ifd_node *node) {
  ifd_node *before = ifd_rw_own_producer(node->inputs[0], "Unblock"), *moved;
  ifd_value *inputs[3] = {before ? before->inputs[0] : NULL, ifd_node_input(node, 1),
                          ifd_node_input(node, 2)};
  int64_t channels = before ? ifd_node_int(before, "channels", 0) : 0;
  int64_t groups = ifd_node_is(node, "GroupNormalization") ? ifd_node_int(node, "num_groups", 0) : channels;
  bool floats = ifd_node_int(node, "stash_type", IFD_FLOAT) == IFD_FLOAT;
  if (!before || ifd_rw_rank(rw, node->inputs[0]) < 3 || groups < 1 || channels % groups || !floats)
    return IFD_OK;
  for (int i = 1; i < 3; i++)
    if (!is_parameter(rw, inputs[i], channels, groups) ||
        ifd_rw_dim(rw, inputs[i], 0) != ifd_rw_dim(rw, inputs[1], 0))
      return IFD_OK;
  TRY(ifd_rw_add_node(rw, &moved, "infold.GroupNormalization", inputs, 3, 1));
  TRY(ifd_node_set_int(ifd_rw_error(rw), moved, "channels", channels));
  TRY(ifd_node_set_int(ifd_rw_error(rw), moved, "num_groups", groups));
  TRY(ifd_node_set_float(ifd_rw_error(rw), moved, "epsilon", ifd_node_float(node, "epsilon", 1e-5F)));
  moved->name = node->name;
  return unblock_instead(rw, node, moved->outputs[0], channels);
}

/* Reduces the image axes [2, rank) of the blocked tensor, keeping them as ones. */
static ifd_status reduce(ifd_rewrite *rw, ifd_node *node, const char *op_type, ifd_node *before, int rank) {
  int64_t axes[IFD_MAX_RANK];
  ifd_node *moved;
  for (int i = 2; i < rank; i++) axes[i - 2] = i;
  TRY(ifd_ints_add_node(rw, &moved, op_type, before->inputs[0], "axes", axes, rank - 2, 1));
  moved->name = node->name;
  return unblock_instead(rw, node, moved->outputs[0], ifd_node_int(before, "channels", 0));
}

static ifd_status global(ifd_rewrite *rw, ifd_node *node) {
  ifd_node *before = ifd_rw_own_producer(node->inputs[0], "Unblock");
  int rank = ifd_rw_rank(rw, node->inputs[0]);
  if (!before || rank < 3) return IFD_OK;
  return reduce(rw, node, ifd_node_is(node, "GlobalMaxPool") ? "ReduceMax" : "ReduceMean", before, rank);
}

/* A reduction of exactly the image axes, of zeros to zero. */
static ifd_status reduction(ifd_rewrite *rw, ifd_node *node) {
  ifd_node *before = ifd_rw_own_producer(node->inputs[0], "Unblock");
  int rank = ifd_rw_rank(rw, node->inputs[0]);
  unsigned axes;
  if (!before || rank < 3 || !ifd_ints_axis_bits(rw, node, rank, &axes) || axes != (1u << rank) - 4)
    return IFD_OK;
  return reduce(rw, node, node->op_type, before, rank);
}

/* One pixel, whole blocks: the blocked form and the plain one lie alike, and a Reshape tells them apart. */
static bool one_pixel(ifd_rewrite *rw, const ifd_value *plain) {
  int rank = ifd_rw_rank(rw, plain);
  ifd_dim c = rank < 3 ? 0 : ifd_rw_dim(rw, plain, 1);
  for (int i = 2; i < rank; i++)
    if (ifd_rw_dim(rw, plain, i) != 1) return false;
  return rank >= 3 && ifd_dim_is_number(c) && c % IFD_BLOCK == 0;
}

static ifd_status as_reshape(ifd_rewrite *rw, ifd_node *node, int64_t channels, int rank, bool blocks) {
  int64_t shape[IFD_MAX_RANK + 1] = {0, blocks ? channels / IFD_BLOCK : channels};
  ifd_value *inputs[2] = {node->inputs[0]};
  ifd_node *reshape;
  for (int i = 2; i < rank; i++) shape[i] = 1;
  shape[rank] = IFD_BLOCK;
  TRY(ifd_rw_add_ints(rw, &inputs[1], shape, rank + blocks, "shape"));
  TRY(ifd_rw_add_node(rw, &reshape, "Reshape", inputs, 2, 1));
  return ifd_rw_replace(rw, node->outputs[0], reshape->outputs[0]);
}

static ifd_status view_block(ifd_rewrite *rw, ifd_node *block) {
  if (ifd_rw_opset(block) < 5 || !one_pixel(rw, block->inputs[0])) return IFD_OK;
  return as_reshape(rw, block, ifd_rw_dim(rw, block->inputs[0], 1), ifd_rw_rank(rw, block->inputs[0]), true);
}

/* Only where nothing blocked follows: an Unblock in the middle still has to meet its Block. */
static ifd_status view_unblock(ifd_rewrite *rw, ifd_node *unblock) {
  const ifd_value *y = unblock->outputs[0];
  if (ifd_rw_opset(unblock) < 5 || !one_pixel(rw, y)) return IFD_OK;
  for (int i = 0; i < y->uses.n; i++)
    if (!ifd_node_is(y->uses.v[i].node, "Flatten") && !ifd_node_is(y->uses.v[i].node, "Reshape") &&
        !ifd_node_is(y->uses.v[i].node, "Squeeze"))
      return IFD_OK;
  return as_reshape(rw, unblock, ifd_rw_dim(rw, y, 1), ifd_rw_rank(rw, y), false);
}

const ifd_pass ifd_pass_block_pool = {
    .summary = "pools and normalizes blocked images as they are",
    .phase = IFD_PHASE_PLAN,
    .rules = (const ifd_rule[]){{"MaxPool AveragePool", IFD_EXACT, pool},
                                {"LRN", IFD_EXACT, lrn},
                                {"InstanceNormalization GroupNormalization", IFD_REASSOCIATES, normalize},
                                {"GlobalAveragePool GlobalMaxPool", IFD_REASSOCIATES, global},
                                {"ReduceMean ReduceMax ReduceSum ReduceMin ReduceL1 ReduceL2 ReduceSumSquare",
                                 IFD_REASSOCIATES, reduction},
                                {"infold.Block", IFD_EXACT, view_block},
                                {"infold.Unblock", IFD_EXACT, view_unblock},
                                {0}},
};
