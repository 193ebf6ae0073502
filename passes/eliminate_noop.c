#include "pass/pass.h"

/* Operators whose output is their input: Cast to the same type, Reshape and Expand to the same shape,
 * Transpose in order, Slice of all, Pad by nothing, Resize to the same size, Concat of one, Add of 0, Mul by
 * 1 … Each is decided from types and constants, never from declared shapes. */

static ifd_status forward(ifd_rewrite *rw, ifd_node *node) {
  return ifd_rw_replace(rw, node->outputs[0], node->inputs[0]);
}

static ifd_status cast(ifd_rewrite *rw, ifd_node *node) {
  ifd_dtype from = ifd_rw_dtype(rw, node->inputs[0]);
  return from && from == ifd_rw_dtype(rw, node->outputs[0]) ? forward(rw, node) : IFD_OK;
}

/* Outputs hold the input's elements in its order: the same shape is the same tensor. */
static ifd_status reshape(ifd_rewrite *rw, ifd_node *node) {
  return ifd_rw_same_shape(rw, node->inputs[0], node->outputs[0]) ? forward(rw, node) : IFD_OK;
}

static ifd_status transpose(ifd_rewrite *rw, ifd_node *node) {
  const int64_t *perm;
  int n = ifd_node_ints(node, "perm", &perm), rank = ifd_rw_rank(rw, node->inputs[0]);
  if (!n) return rank == 0 || rank == 1 ? forward(rw, node) : IFD_OK;
  for (int i = 0; i < n; i++)
    if (perm[i] != i) return IFD_OK;
  return forward(rw, node);
}

/* A slice as long as its input in every dimension is all of it, when it does not run backwards. */
static ifd_status slice(ifd_rewrite *rw, ifd_node *node) {
  const ifd_tensor *steps = ifd_rw_constant(rw, ifd_node_input(node, 4));
  if (ifd_node_has_input(node, 4) && !steps) return IFD_OK;
  for (int64_t i = 0, n = steps ? ifd_tensor_count(steps) : 0; i < n; i++)
    if (ifd_tensor_get_i64(steps, i) < 0) return IFD_OK;
  return reshape(rw, node);
}

static ifd_status pad(ifd_rewrite *rw, ifd_node *node) {
  const int64_t *pads;
  int n = ifd_node_ints(node, "pads", &pads);
  if (node->opset < 11) {
    for (int i = 0; i < n; i++)
      if (pads[i]) return IFD_OK;
    return n ? forward(rw, node) : IFD_OK;
  }
  return ifd_rw_is_filled_with(rw, ifd_node_input(node, 1), 0) ? forward(rw, node) : IFD_OK;
}

/* Scales of 1, or the sizes that are there, which no policy changes: every place reads itself. Sizes that
 * scales of another number come to are no such thing. */
static ifd_status resize(ifd_rewrite *rw, ifd_node *node) {
  int scales = node->opset < 11 ? 1 : 2;
  bool sizes = scales == 2 && ifd_node_has_input(node, 3);
  if (ifd_node_string_is(node, "coordinate_transformation_mode", "half_pixel", "tf_crop_and_resize") ||
      !ifd_node_string_is(node, "keep_aspect_ratio_policy", "stretch", "stretch"))
    return IFD_OK;
  return sizes || ifd_rw_is_filled_with(rw, ifd_node_input(node, scales), 1) ? reshape(rw, node) : IFD_OK;
}

static ifd_status single(ifd_rewrite *rw, ifd_node *node) {
  return node->n_inputs == 1 && node->inputs[0] ? forward(rw, node) : IFD_OK;
}

/* x + 0, x - 0, x * 1, x / 1, x ^ 1. Adding 0 turns -0 into 0, the same number. */
static ifd_status neutral(ifd_rewrite *rw, ifd_node *node) {
  double neutral_value = ifd_node_is(node, "Add") || ifd_node_is(node, "Sub") ? 0 : 1;
  bool commutes = ifd_node_is(node, "Add") || ifd_node_is(node, "Mul");
  if (node->n_inputs != 2 || node->opset < 7) return IFD_OK;
  for (int i = 1; i >= (commutes ? 0 : 1); i--)
    if (ifd_rw_is_filled_with(rw, node->inputs[i], neutral_value) &&
        ifd_rw_same_shape(rw, node->inputs[1 - i], node->outputs[0]) &&
        ifd_rw_dtype(rw, node->inputs[1 - i]) == ifd_rw_dtype(rw, node->outputs[0]))
      return ifd_rw_replace(rw, node->outputs[0], node->inputs[1 - i]);
  return IFD_OK;
}

/* Relu of Relu, Abs of Abs … */
static ifd_status idempotent(ifd_rewrite *rw, ifd_node *node) {
  return ifd_rw_producer(node->inputs[0], node->op_type) ? forward(rw, node) : IFD_OK;
}

const ifd_pass ifd_pass_eliminate_noop = {
    .summary = "removes operators whose output is their input",
    .phase = IFD_PHASE_SIMPLIFY,
    .rules = (const ifd_rule[]){{"Cast CastLike", IFD_EXACT, cast},
                                {"Reshape Expand Tile Squeeze Unsqueeze Flatten", IFD_EXACT, reshape},
                                {"Transpose", IFD_EXACT, transpose},
                                {"Slice", IFD_EXACT, slice},
                                {"Pad", IFD_EXACT, pad},
                                {"Resize Upsample", IFD_EXACT, resize},
                                {"Concat Sum Max Min Mean", IFD_EXACT, single},
                                {"Add Sub Mul Div Pow", IFD_EXACT, neutral},
                                {"Relu Abs Ceil Floor Round Sign", IFD_EXACT, idempotent},
                                {0}},
};
