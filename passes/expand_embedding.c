#include "pass/foreign.h"
#include "pass/ints.h"

/* EmbedLayerNormalization, which ONNX Runtime's transformer optimizer makes of the head of BERT (domain
 * com.microsoft): the sum of the rows that words, positions and segments have in their tables, normalized,
 * and how many positions of each sample its mask counts. */

enum { IDS, SEGMENT_IDS, WORDS, POSITIONS, SEGMENTS, GAMMA, BETA, MASK, POSITION_IDS };

static ifd_status rows_of(ifd_rewrite *rw, ifd_value **out, ifd_value *table, ifd_value *ids) {
  return ifd_foreign_binary(rw, out, "Gather", table, ids);
}

/* Positions are 0, 1, … where none are given. */
static ifd_status positions_of(ifd_rewrite *rw, ifd_value **out, const ifd_node *node) {
  ifd_value *ids = ifd_node_input(node, POSITION_IDS), *in[4] = {node->inputs[POSITIONS]};
  if (ids) return rows_of(rw, out, in[0], ids);
  TRY(ifd_rw_add_ints(rw, &in[1], (int64_t[]){0}, 1, "starts"));
  TRY(ifd_foreign_length(rw, &in[2], node->inputs[IDS], 1, false));
  TRY(ifd_rw_add_ints(rw, &in[3], (int64_t[]){0}, 1, "axes"));
  return ifd_foreign_apply(rw, out, "Slice", in, 4);
}

static ifd_status sum_of(ifd_rewrite *rw, ifd_value **out, const ifd_node *node) {
  ifd_value *part;
  TRY(rows_of(rw, out, node->inputs[WORDS], node->inputs[IDS]));
  TRY(positions_of(rw, &part, node));
  TRY(ifd_foreign_binary(rw, out, "Add", *out, part));
  if (!ifd_node_has_input(node, SEGMENTS)) return IFD_OK;
  TRY(rows_of(rw, &part, node->inputs[SEGMENTS], node->inputs[SEGMENT_IDS]));
  return ifd_foreign_binary(rw, out, "Add", *out, part);
}

/* int32 [batch]; all 0 without a mask */
static ifd_status count_mask(ifd_rewrite *rw, ifd_node *node) {
  ifd_value *counts = ifd_node_input(node, MASK);
  ifd_node *sum;
  if (counts) {
    TRY(ifd_ints_add_node(rw, &sum, "ReduceSum", counts, "axes", (int64_t[]){1}, 1, 1));
    TRY(ifd_node_set_int(ifd_rw_error(rw), sum, "keepdims", 0));
    return ifd_rw_replace(rw, node->outputs[1], sum->outputs[0]);
  }
  TRY(ifd_foreign_length(rw, &counts, node->inputs[IDS], 0, false));
  TRY(ifd_foreign_apply(rw, &counts, "ConstantOfShape", &counts, 1));
  TRY(ifd_foreign_cast(rw, &counts, IFD_INT32));
  return ifd_rw_replace(rw, node->outputs[1], counts);
}

static ifd_status expand(ifd_rewrite *rw, ifd_node *node) {
  ifd_value *sum;
  ifd_node *norm;
  bool offered;
  if (!ifd_is_foreign(node, 13, 0x6d)) return IFD_OK; /* ReduceSum with its axes as input */
  TRY(ifd_foreign_offer(rw, &offered, node, "LayerNormalization"));
  if (!offered) return IFD_OK;
  if (ifd_node_has_input(node, SEGMENTS) && !ifd_node_has_input(node, SEGMENT_IDS))
    return ifd_rw_refuse(rw, "its segments are missing");
  TRY(sum_of(rw, &sum, node));
  TRY(ifd_rw_add_node(rw, &norm, "LayerNormalization",
                      (ifd_value *[]){sum, node->inputs[GAMMA], node->inputs[BETA]}, 3, 1));
  norm->name = node->name;
  TRY(ifd_node_set_float(ifd_rw_error(rw), norm, "epsilon", ifd_node_float(node, "epsilon", 1e-12f)));
  if (ifd_node_has_output(node, 1)) TRY(count_mask(rw, node));
  if (ifd_node_has_output(node, 2)) TRY(ifd_rw_replace(rw, node->outputs[2], sum));
  return ifd_rw_replace(rw, node->outputs[0], norm->outputs[0]);
}

const ifd_pass ifd_pass_expand_embedding = {
    .summary = "writes the embeddings of ONNX Runtime's transformer optimizer as ONNX's own operators",
    .phase = IFD_PHASE_SIMPLIFY,
    .defines = true,
    .rules = (const ifd_rule[]){{"com.microsoft.EmbedLayerNormalization", IFD_REASSOCIATES, expand}, {0}},
};
