#include "pass/pass.h"

/* Concat of Concats along one axis is one Concat; parts of length 0 go; what Split has parted is put together
 * again by nothing. A Concat that begins with all parts of one before it begins with that: features that grow
 * layer by layer then need not be copied again for each. */

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

/* How many parts of `whole` are all parts of another Concat, along the same axis, that comes before it and is
 * read anyway; or 0. */
static int begins_with(ifd_rewrite *rw, const ifd_node *whole, const ifd_node *part, int64_t axis) {
  int64_t part_axis;
  if (!ifd_node_is(part, "Concat") || part->graph != whole->graph || part->rank >= whole->rank ||
      part->n_inputs < 2 || part->n_inputs >= whole->n_inputs || !axis_of(rw, part, &part_axis) ||
      part_axis != axis || !ifd_value_n_readers(part->outputs[0]))
    return 0;
  for (int i = 0; i < part->n_inputs; i++)
    if (part->inputs[i] != whole->inputs[i]) return 0;
  return part->n_inputs;
}

/* The one of the first two parts, which both begin with, that fewer nodes read. */
static const ifd_value *rarer_part(const ifd_node *whole) {
  const ifd_value *a = whole->inputs[0], *b = whole->inputs[1];
  return a->uses.n <= b->uses.n ? a : b;
}

/* Lists, such as shapes, are read part by part by other rules. */
static ifd_status nest(ifd_rewrite *rw, ifd_node *whole) {
  int64_t axis;
  enum { READERS = 256 }; /* as many are looked at, so that time grows as graphs do */
  int most = 0;
  IFD_VEC(ifd_value *) parts = {0};
  ifd_node *nested;
  if (whole->n_inputs < 3 || !axis_of(rw, whole, &axis) || ifd_rw_rank(rw, whole->outputs[0]) < 2)
    return IFD_OK;
  const ifd_value *shared = rarer_part(whole);
  for (int i = 0; i < shared->uses.n && i < READERS; i++) {
    const ifd_node *part = shared->uses.v[i].node;
    int n = begins_with(rw, whole, part, axis);
    if (n <= most) continue;
    most = n, parts.n = 0;
    IFD_PUSH(ifd_rw_error(rw), ifd_rw_scratch(rw), &parts, part->outputs[0]);
  }
  if (!most) return IFD_OK;
  for (int i = most; i < whole->n_inputs; i++)
    IFD_PUSH(ifd_rw_error(rw), ifd_rw_scratch(rw), &parts, whole->inputs[i]);
  TRY(ifd_rw_add_like(rw, &nested, whole, parts.v, parts.n));
  return ifd_rw_replace(rw, whole->outputs[0], nested->outputs[0]);
}

const ifd_pass ifd_pass_merge_concat = {
    .summary = "merges Concat of Concats, drops empty parts and all parts of a Split, begins with one before",
    .phase = IFD_PHASE_SIMPLIFY,
    .rules = (const ifd_rule[]){{"Concat", IFD_EXACT, merge}, {"Concat", IFD_EXACT, nest}, {0}},
};
