#include "pass/pass.h"

/* Concat of Concats along one axis is one Concat; parts of length 0 go; what Split has parted is put together
 * again by nothing. */

static bool axis_of(ifd_rewrite *rw, const ifd_node *concat, int64_t *axis) {
  int rank = ifd_rw_rank(rw, concat->outputs[0]);
  *axis = ifd_node_int(concat, "axis", 1); /* the default before version 4 */
  if (*axis < 0 && rank >= 0) *axis += rank;
  return *axis >= 0;
}

/* The Concat along the same axis that makes v for nobody else. */
static const ifd_node *inner_concat(ifd_rewrite *rw, const ifd_node *outer, const ifd_value *v,
                                    int64_t axis) {
  int64_t inner_axis;
  const ifd_node *inner = ifd_rw_sole_producer(v, "Concat");
  return inner && inner->graph == outer->graph && axis_of(rw, inner, &inner_axis) && inner_axis == axis
             ? inner
             : NULL;
}

/* The value that was split into exactly these parts, or NULL. */
static ifd_value *split_again(ifd_rewrite *rw, const ifd_node *concat, int64_t axis) {
  const ifd_node *split = ifd_rw_producer(concat->inputs[0], "Split");
  if (!split || split->n_outputs != concat->n_inputs) return NULL;
  int64_t split_axis = ifd_node_int(split, "axis", 0);
  if (split_axis < 0) split_axis += ifd_rw_rank(rw, split->inputs[0]);
  for (int i = 0; i < split->n_outputs; i++)
    if (split->outputs[i] != concat->inputs[i]) return NULL;
  return split_axis == axis ? split->inputs[0] : NULL;
}

static ifd_status merge(ifd_rewrite *rw, ifd_node *outer) {
  int64_t axis;
  IFD_VEC(ifd_value *) parts = {0};
  bool changed = false;
  ifd_node *merged;
  if (!axis_of(rw, outer, &axis) || outer->n_inputs < 1 || !outer->inputs[0]) return IFD_OK;
  ifd_value *whole = split_again(rw, outer, axis);
  if (whole) return ifd_rw_replace(rw, outer->outputs[0], whole);
  for (int i = 0; i < outer->n_inputs; i++) {
    ifd_value *v = outer->inputs[i];
    const ifd_node *inner = inner_concat(rw, outer, v, axis);
    bool empty = ifd_rw_dim(rw, v, (int)axis) == 0;
    for (int k = 0; inner && k < inner->n_inputs; k++)
      IFD_PUSH(ifd_rw_error(rw), ifd_rw_scratch(rw), &parts, inner->inputs[k]);
    if (!inner && !empty) IFD_PUSH(ifd_rw_error(rw), ifd_rw_scratch(rw), &parts, v);
    changed |= inner || empty;
  }
  if (!changed || !parts.n) return IFD_OK;
  TRY(ifd_rw_add_like(rw, &merged, outer, parts.v, parts.n));
  return ifd_rw_replace(rw, outer->outputs[0], merged->outputs[0]);
}

const ifd_pass ifd_pass_merge_concat = {
    .summary = "merges Concat of Concats, drops empty parts and Concat of all that Split gives",
    .phase = IFD_PHASE_SIMPLIFY,
    .rules = (const ifd_rule[]){{"Concat", IFD_EXACT, merge}, {0}},
};
