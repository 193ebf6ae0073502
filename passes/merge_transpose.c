#include "pass/pass.h"

/* Transpose of Transpose is one Transpose, or none. */

static int permutation(ifd_rewrite *rw, const ifd_node *node, int64_t *perm) {
  const int64_t *given;
  int n = ifd_node_ints(node, "perm", &given), rank = ifd_rw_rank(rw, node->inputs[0]);
  if (rank < 0 || rank > IFD_MAX_RANK || (n && n != rank)) return -1;
  for (int i = 0; i < rank; i++) perm[i] = n ? given[i] : rank - 1 - i;
  return rank;
}

static ifd_status merge(ifd_rewrite *rw, ifd_node *second) {
  int64_t p[IFD_MAX_RANK], q[IFD_MAX_RANK], both[IFD_MAX_RANK];
  ifd_node *first = ifd_rw_producer(second->inputs[0], "Transpose"), *merged;
  if (!first) return IFD_OK;
  int rank = permutation(rw, first, p);
  if (rank < 0 || permutation(rw, second, q) != rank) return IFD_OK;
  for (int i = 0; i < rank; i++) both[i] = p[q[i]];
  TRY(ifd_rw_add_node(rw, &merged, "Transpose", first->inputs, 1, 1));
  TRY(ifd_node_set_ints(ifd_rw_error(rw), merged, "perm", both, rank));
  return ifd_rw_replace(rw, second->outputs[0], merged->outputs[0]);
}

const ifd_pass ifd_pass_merge_transpose = {
    .summary = "merges Transpose of Transpose",
    .phase = IFD_PHASE_SIMPLIFY,
    .rules = (const ifd_rule[]){{"Transpose", IFD_EXACT, merge}, {0}},
};
