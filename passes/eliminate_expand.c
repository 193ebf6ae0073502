#include "pass/pass.h"

/* Expand in front of an operator that broadcasts: it stretches by itself what the others, or the result, ask
 * for. */

/* Axis `at` of a value seen in a result of `rank` axes; 1 where it has none. */
static ifd_dim aligned(ifd_rewrite *rw, const ifd_value *v, int rank, int at) {
  int own = at - (rank - ifd_rw_rank(rw, v));
  return own < 0 ? 1 : ifd_rw_dim(rw, v, own);
}

/* Whether some input, with x in the place of number i, is as long as the result along each axis. */
static bool reaches(ifd_rewrite *rw, const ifd_node *node, int i, const ifd_value *x) {
  const ifd_value *y = node->outputs[0];
  int rank = ifd_rw_rank(rw, y), most = 0;
  for (int k = 0; k < node->n_inputs; k++) {
    int r = ifd_rw_rank(rw, k == i ? x : node->inputs[k]);
    if (r < 0) return false;
    most = r > most ? r : most;
  }
  for (int at = 0; at < rank; at++) {
    bool found = false;
    for (int k = 0; k < node->n_inputs && !found; k++)
      found = aligned(rw, k == i ? x : node->inputs[k], rank, at) == ifd_rw_dim(rw, y, at);
    if (!found) return false;
  }
  return rank >= 0 && most == rank;
}

static ifd_status eliminate(ifd_rewrite *rw, ifd_node *node) {
  if (node->opset < 8 || !node->outputs[0]) return IFD_OK;
  bool any = false;
  for (int i = 0; i < node->n_inputs; i++) {
    ifd_node *expand = ifd_rw_sole_producer(node->inputs[i], "Expand");
    if (expand && reaches(rw, node, i, expand->inputs[0]))
      return ifd_rw_set_input(rw, node, i, expand->inputs[0]);
    any |= expand != NULL;
  }
  return any ? ifd_rw_refuse(rw, "without the Expand before it, its result might have another shape")
             : IFD_OK;
}

const ifd_pass ifd_pass_eliminate_expand = {
    .summary = "removes Expand in front of operators that broadcast",
    .phase = IFD_PHASE_SIMPLIFY,
    .rules =
        (const ifd_rule[]){
            {"Add Sub Mul Div Pow Mod Max Min Sum Mean And Or Xor Equal Greater Less GreaterOrEqual "
             "LessOrEqual Where BitwiseAnd BitwiseOr BitwiseXor",
             IFD_EXACT, eliminate},
            {0}},
};
