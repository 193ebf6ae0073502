#include "pass/match.h"

/* What is done to each element of rows that Gather picks from a constant is done to the constant instead,
 * which fold_constants then computes: where at least as many rows are picked as there are. */

/* However often, nobody else reads v. */
static bool only_reads(const ifd_value *v, const ifd_node *reader) {
  for (int i = 0; i < v->uses.n; i++)
    if (v->uses.v[i].node != reader) return false;
  return !v->n_outputs;
}

/* The Gather of rows of a constant, for this reader alone, that makes v; or NULL. */
static const ifd_node *find_pick(ifd_rewrite *rw, const ifd_value *v, const ifd_node *reader) {
  const ifd_node *gather = ifd_rw_producer(v, "Gather");
  const ifd_tensor *table = gather ? ifd_rw_constant(rw, gather->inputs[0]) : NULL;
  bool fits = table && table->shape.rank >= 1 && ifd_node_int(gather, "axis", 0) == 0 &&
              only_reads(v, reader) && v->graph == reader->graph &&
              table->shape.dim[0] <= ifd_rw_least_count(rw, gather->inputs[1]);
  return fits ? gather : NULL;
}

/* The constant as it meets each row: without axes of 1 in front of those of a row. NULL: it tells rows
 * apart. */
static ifd_status meet_row(ifd_rewrite *rw, ifd_value **out, ifd_value *c, int row_rank) {
  const ifd_tensor *t = ifd_rw_constant(rw, c);
  *out = NULL;
  if (!t) return IFD_OK;
  int extra = t->shape.rank - row_rank;
  if (extra <= 0) return *out = c, IFD_OK;
  ifd_tensor less = *t;
  less.shape.rank = row_rank;
  for (int i = 0; i < t->shape.rank; i++) {
    if (i < extra && t->shape.dim[i] != 1) return IFD_OK;
    if (i >= extra) less.shape.dim[i - extra] = t->shape.dim[i];
  }
  return ifd_rw_add_constant(rw, out, &less, c->name);
}

static bool by_elements(const ifd_node *node) {
  return node->op && !*node->domain && (node->op->flags & IFD_OP_ELEMENTWISE) &&
         !(node->op->flags & IFD_OP_IMPURE) && node->n_outputs == 1 && node->opset >= 7 &&
         !ifd_node_find_attr(node, "axis") && node->n_inputs > 0 && node->n_inputs <= 4;
}

static ifd_status hoist(ifd_rewrite *rw, ifd_node *node) {
  const ifd_node *gather = NULL;
  const ifd_value *picked = NULL;
  ifd_value *inputs[4] = {0}, *rows[2];
  ifd_node *made;
  if (!ifd_rw_for_running(rw) || !by_elements(node)) return IFD_OK;
  for (int i = 0; i < node->n_inputs && !gather; i++)
    if (node->inputs[i] && (gather = find_pick(rw, node->inputs[i], node))) picked = node->inputs[i];
  if (!gather) return IFD_OK;
  int row_rank = ifd_rw_rank(rw, gather->inputs[0]) - 1;
  for (int i = 0; i < node->n_inputs; i++) {
    if (node->inputs[i] == picked)
      inputs[i] = gather->inputs[0];
    else if (node->inputs[i])
      TRY(meet_row(rw, &inputs[i], node->inputs[i], row_rank));
    if (node->inputs[i] && !inputs[i]) return ifd_rw_refuse(rw, "rows meet different operands");
  }
  TRY(ifd_rw_add_like(rw, &made, node, inputs, node->n_inputs));
  rows[0] = made->outputs[0], rows[1] = gather->inputs[1];
  TRY(ifd_rw_add_like(rw, &made, gather, rows, 2));
  return ifd_rw_replace(rw, node->outputs[0], made->outputs[0]);
}

const ifd_pass ifd_pass_hoist_gather = {
    .summary = "computes elements of a table once, not of each row that is picked from it",
    .phase = IFD_PHASE_FUSE,
    .rules = (const ifd_rule[]){{"*", IFD_EXACT, hoist}, {0}},
};
