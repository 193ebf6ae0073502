#include "pass/ints.h"
#include "pass/match.h"

/* Picking one index and putting its axis back is picking a list of one; picking from a Shape is a Shape of
 * one dimension (since version 15); parts of length 1 of a Split that lose their axis are picked one by one;
 * picking everything in order is a Reshape. */

/* The axis that a Squeeze or Unsqueeze of such a rank has alone, or -1. */
static int64_t only_axis(ifd_rewrite *rw, const ifd_node *node, int rank) {
  ifd_ints axes;
  return ifd_ints_axes(rw, node, rank, &axes) && axes.n == 1 ? axes.v[0] : -1;
}

static int64_t axis_of(ifd_rewrite *rw, const ifd_node *node, const ifd_value *x) {
  int64_t axis = ifd_node_int(node, "axis", 0);
  return axis < 0 ? axis + ifd_rw_rank(rw, x) : axis;
}

static ifd_status unsqueeze_gather(ifd_rewrite *rw, ifd_node *unsqueeze) {
  ifd_node *gather = ifd_rw_producer(unsqueeze->inputs[0], "Gather"), *list;
  double index;
  if (!gather || gather->graph != unsqueeze->graph || ifd_rw_rank(rw, gather->inputs[0]) < 0 ||
      ifd_rw_rank(rw, gather->inputs[1]) != 0 || !ifd_rw_scalar(rw, gather->inputs[1], &index))
    return IFD_OK;
  int64_t axis = axis_of(rw, gather, gather->inputs[0]);
  if (only_axis(rw, unsqueeze, ifd_rw_rank(rw, gather->inputs[0])) != axis) return IFD_OK;
  for (int i = 0; i < unsqueeze->inputs[0]->uses.n; i++)
    if (!ifd_node_is(unsqueeze->inputs[0]->uses.v[i].node, "Unsqueeze"))
      return ifd_rw_refuse(rw, "what Gather picks is read without the axis, too");
  if (unsqueeze->inputs[0]->n_outputs) return IFD_OK;
  TRY(ifd_rw_add_gather(rw, &list, gather->inputs[0], axis, (int64_t)index, true));
  return ifd_rw_replace(rw, unsqueeze->outputs[0], list->outputs[0]);
}

/* One dimension, or several that follow each other. */
static ifd_status gather_shape(ifd_rewrite *rw, ifd_node *gather) {
  ifd_node *shape = ifd_rw_producer(gather->inputs[0], "Shape"), *part;
  const ifd_tensor *indices = ifd_rw_constant(rw, gather->inputs[1]);
  if (!shape || shape->graph != gather->graph || !indices || gather->opset < 15) return IFD_OK;
  int rank = ifd_rw_rank(rw, shape->inputs[0]);
  int64_t n = ifd_tensor_count(indices), first = n ? ifd_tensor_get_i64(indices, 0) : -1;
  if (indices->shape.rank != 1 || rank < 0 || ifd_node_find_attr(shape, "start") ||
      ifd_node_find_attr(shape, "end"))
    return IFD_OK;
  if (first < 0) first += rank;
  for (int64_t i = 0; i < n; i++) {
    int64_t at = ifd_tensor_get_i64(indices, i);
    if (at < 0) at += rank;
    if (at != first + i || at < 0 || at >= rank)
      return ifd_rw_refuse(rw, "the dimensions it picks do not follow each other");
  }
  if (!n) return IFD_OK;
  TRY(ifd_rw_add_node(rw, &part, "Shape", shape->inputs, 1, 1));
  if (first) TRY(ifd_node_set_int(ifd_rw_error(rw), part, "start", first));
  if (first + n < rank) TRY(ifd_node_set_int(ifd_rw_error(rw), part, "end", first + n));
  return ifd_rw_replace(rw, gather->outputs[0], part->outputs[0]);
}

/* All that there is, in its order: the same elements under another shape. */
static ifd_status gather_all(ifd_rewrite *rw, ifd_node *gather) {
  const ifd_tensor *indices = ifd_rw_constant(rw, gather->inputs[1]);
  int64_t shape[IFD_MAX_RANK], n = indices ? ifd_tensor_count(indices) : 0;
  ifd_value *x = gather->inputs[0], *y = gather->outputs[0], *inputs[2] = {x};
  ifd_node *reshape;
  if (!n || gather->opset < 5 || ifd_rw_dim(rw, x, (int)ifd_node_int(gather, "axis", 0)) != n) return IFD_OK;
  for (int64_t i = 0; i < n; i++) {
    int64_t at = ifd_tensor_get_i64(indices, i);
    if (at != i && at != i - n) return IFD_OK;
  }
  if (ifd_rw_same_shape(rw, x, y)) return ifd_rw_replace(rw, y, x);
  if (!ifd_view_shape(rw, x, y, shape)) return IFD_OK;
  TRY(ifd_rw_add_ints(rw, &inputs[1], shape, ifd_rw_rank(rw, y), "shape"));
  TRY(ifd_rw_add_node(rw, &reshape, "Reshape", inputs, 2, 1));
  reshape->name = gather->name;
  return ifd_rw_replace(rw, y, reshape->outputs[0]);
}

/* The one Squeeze of the axis that reads a part. */
static ifd_node *squeezed(ifd_rewrite *rw, const ifd_value *part, int64_t axis) {
  ifd_node *reader = part ? ifd_value_only_reader(part) : NULL;
  bool squeezes = reader && ifd_node_is(reader, "Squeeze") && reader->graph == part->graph &&
                  ifd_rw_dim(rw, part, (int)axis) == 1 &&
                  only_axis(rw, reader, ifd_rw_rank(rw, part)) == axis;
  return squeezes ? reader : NULL;
}

static ifd_status squeeze_split(ifd_rewrite *rw, ifd_node *split) {
  if (ifd_rw_rank(rw, split->inputs[0]) < 1 || split->opset < 2) return IFD_OK;
  int64_t axis = axis_of(rw, split, split->inputs[0]);
  for (int i = 0; i < split->n_outputs; i++)
    if (!squeezed(rw, split->outputs[i], axis)) return IFD_OK;
  for (int i = 0; i < split->n_outputs; i++) {
    ifd_node *gather;
    TRY(ifd_rw_add_gather(rw, &gather, split->inputs[0], axis, i, false));
    TRY(ifd_rw_replace(rw, squeezed(rw, split->outputs[i], axis)->outputs[0], gather->outputs[0]));
  }
  return IFD_OK;
}

const ifd_pass ifd_pass_merge_gather = {
    .summary = "merges Gather of one index with Unsqueeze, Gather of Shape, Split into single elements",
    .phase = IFD_PHASE_FUSE,
    .rules = (const ifd_rule[]){{"Unsqueeze", IFD_EXACT, unsqueeze_gather},
                                {"Gather", IFD_EXACT, gather_shape},
                                {"Gather", IFD_EXACT, gather_all},
                                {"Split", IFD_EXACT, squeeze_split},
                                {0}},
};
