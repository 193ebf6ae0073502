#include "pass/ints.h"

/* A sequence made of a tensor's parts, of which known ones are taken: the parts of a Split. */

enum { MAX_PARTS = 256 };

/* The lengths of the parts along an axis of length n; 0 when they are not known. */
static int lengths_of(ifd_rewrite *rw, const ifd_node *node, int64_t n, int64_t *out) {
  const ifd_tensor *split = ifd_rw_constant(rw, ifd_node_input(node, 1));
  bool given = ifd_node_has_input(node, 1), list = split && split->shape.rank == 1;
  int64_t sum = 0, count = list ? ifd_tensor_count(split) : 0;
  if (given && !split) return 0;
  for (int64_t each = given ? ifd_tensor_get_i64(split, 0) : 1;
       !list && each > 0 && sum < n && count <= MAX_PARTS; sum += each, count++)
    if (count < MAX_PARTS) out[count] = each < n - sum ? each : n - sum;
  for (int64_t i = 0; list && i < count && i < MAX_PARTS; i++) out[i] = ifd_tensor_get_i64(split, i);
  return count <= MAX_PARTS ? (int)count : 0;
}

/* Which part a reader takes; -1 when it does something else, or that is not known. */
static int64_t part_taken(ifd_rewrite *rw, const ifd_node *reader, int n) {
  double at;
  if (!ifd_node_is(reader, "SequenceAt") || !ifd_rw_scalar(rw, reader->inputs[1], &at)) return -1;
  if (at < 0) at += n;
  return at >= 0 && at < n ? (int64_t)at : -1;
}

static ifd_status split(ifd_rewrite *rw, ifd_node *node) {
  int64_t lengths[MAX_PARTS];
  const ifd_value *sequence = node->outputs[0];
  ifd_node *made;
  ifd_dim of = ifd_rw_dim(rw, node->inputs[0], (int)ifd_node_int(node, "axis", 0));
  bool keeps = ifd_node_has_input(node, 1) || ifd_node_int(node, "keepdims", 1);
  if (!ifd_dim_is_number(of) || sequence->n_outputs) return IFD_OK;
  int n = lengths_of(rw, node, of, lengths);
  if (!n || !keeps)
    return ifd_rw_refuse(rw, "the lengths of its parts are not known, or they lose their axis");
  for (int i = 0; i < sequence->uses.n; i++)
    if (part_taken(rw, sequence->uses.v[i].node, n) < 0 || sequence->uses.v[i].node->graph != node->graph)
      return ifd_rw_refuse(rw, "the sequence is read otherwise than part by part");
  TRY(ifd_ints_add_split(rw, &made, node->inputs[0], ifd_node_int(node, "axis", 0), lengths, n));
  made->name = node->name;
  for (int i = 0; i < sequence->uses.n; i++) {
    const ifd_node *at = sequence->uses.v[i].node;
    TRY(ifd_rw_replace(rw, at->outputs[0], made->outputs[part_taken(rw, at, n)]));
  }
  return IFD_OK;
}

const ifd_pass ifd_pass_split_sequence = {
    .summary = "turns SplitToSequence, of which known parts are taken, into Split",
    .phase = IFD_PHASE_SIMPLIFY,
    .rules = (const ifd_rule[]){{"SplitToSequence", IFD_EXACT, split}, {0}},
};
