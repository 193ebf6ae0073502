#include "pass/ints.h"

/* ScatterND whose indices count through a box of its data, which is what `x[:, 1:] = y` becomes: Slices of
 * what stays around the box, and Concat. Only where the box is most of the data. */

typedef struct box {
  int rank; /* of the indices' grid, and of the box: axes of the data from the front */
  int64_t start[IFD_MAX_RANK], size[IFD_MAX_RANK], of[IFD_MAX_RANK];
} box;

/* Whether elements at first, first + step, … of t, which lie along the grid's last axes, count up by one
 * along an axis of the grid, and stay the same along the others. */
static bool counts_up(const ifd_tensor *t, int n_axes, int64_t first, int64_t step, box *b, int axis) {
  int at = axis - (b->rank - n_axes);
  int64_t n = ifd_shape_span(&t->shape, 0, n_axes), length = at >= 0 ? t->shape.dim[at] : 1,
          inner = at >= 0 ? ifd_shape_span(&t->shape, at + 1, n_axes) : n;
  if (n_axes > b->rank || length != b->size[axis] || !n) return false;
  b->start[axis] = ifd_tensor_get_i64(t, first);
  if (b->start[axis] < -b->of[axis] || b->start[axis] >= b->of[axis]) return false;
  for (int64_t i = 0; i < n; i++)
    if (ifd_tensor_get_i64(t, first + i * step) != b->start[axis] + i / inner % length) return false;
  return true;
}

/* One column of indices that is put together from columns: Unsqueeze(Expand(numbers)). */
static bool read_column(ifd_rewrite *rw, const ifd_value *v, box *b, int axis) {
  const ifd_node *unsqueeze = ifd_rw_producer(v, "Unsqueeze");
  ifd_ints axes;
  if (!unsqueeze || !ifd_ints_axes(rw, unsqueeze, b->rank + 1, &axes) || axes.n != 1 || axes.v[0] != b->rank)
    return false;
  const ifd_node *expand = ifd_rw_producer(unsqueeze->inputs[0], "Expand");
  const ifd_tensor *t = ifd_rw_known(rw, expand ? expand->inputs[0] : unsqueeze->inputs[0]);
  return t && counts_up(t, t->shape.rank, 0, 1, b, axis);
}

static bool read_indices(ifd_rewrite *rw, const ifd_value *indices, box *b) {
  const ifd_tensor *t = ifd_rw_known(rw, indices);
  const ifd_node *concat = ifd_rw_producer(indices, "Concat");
  if (!t && (!concat || concat->n_inputs != b->rank)) return false;
  if (!t && ifd_node_int(concat, "axis", 0) != -1 && ifd_node_int(concat, "axis", 0) != b->rank) return false;
  for (int i = 0; i < b->rank; i++)
    if (t ? !counts_up(t, b->rank, i, b->rank, b, i) : !read_column(rw, concat->inputs[i], b, i))
      return false;
  return true;
}

/* Whether the box lies in the data, whose first axes it has, and is most of it. */
static bool fits(box *b) {
  double part = 1;
  for (int i = 0; i < b->rank; i++) {
    if (b->start[i] < 0) b->start[i] += b->of[i];
    if (b->start[i] < 0 || b->size[i] > b->of[i] - b->start[i]) return false;
    part *= (double)b->size[i] / (double)b->of[i];
  }
  return part >= 0.5;
}

static bool sizes_of(ifd_rewrite *rw, const ifd_node *node, box *b) {
  const ifd_value *data = node->inputs[0], *indices = node->inputs[1], *updates = node->inputs[2];
  int rank = ifd_rw_rank(rw, data);
  b->rank = ifd_rw_rank(rw, indices) - 1;
  if (b->rank < 1 || b->rank > rank || rank > IFD_MAX_RANK || ifd_rw_rank(rw, updates) != rank) return false;
  if (ifd_rw_dim(rw, indices, b->rank) != b->rank) return false;
  for (int i = 0; i < rank; i++) {
    ifd_dim of = ifd_rw_dim(rw, data, i), size = ifd_rw_dim(rw, updates, i);
    if (i >= b->rank && of != size) return false;
    if (i >= b->rank) continue;
    if (!ifd_dim_is_number(of) || !ifd_dim_is_number(size) || ifd_rw_dim(rw, indices, i) != size || !size)
      return false;
    b->of[i] = of, b->size[i] = size;
  }
  return true;
}

/* ---- building ---- */

static ifd_status slice(ifd_rewrite *rw, ifd_value **out, ifd_value *x, int64_t axis, int64_t from,
                        int64_t to) {
  ifd_node *node;
  TRY(ifd_ints_add_slice(rw, &node, x, &from, &to, &axis, NULL, 1));
  *out = node->outputs[0];
  return IFD_OK;
}

/* The first axis from `axis` on that the box has only a part of. */
static int next_part(const box *b, int axis) {
  while (axis < b->rank && b->size[axis] == b->of[axis]) axis++;
  return axis;
}

/* x, which has all of the data from `axis` on, with the box in it. */
static ifd_status surround(ifd_rewrite *rw, ifd_value **out, ifd_value *x, const box *b, int axis,
                           ifd_value *updates) {
  ifd_value *parts[3], *middle = x;
  ifd_node *node;
  int n = 0;
  axis = next_part(b, axis);
  *out = updates;
  if (axis == b->rank) return IFD_OK;
  int64_t start = b->start[axis], end = start + b->size[axis];
  if (start) TRY(slice(rw, &parts[n++], x, axis, 0, start));
  if (next_part(b, axis + 1) < b->rank) TRY(slice(rw, &middle, x, axis, start, end));
  TRY(surround(rw, &parts[n++], middle, b, axis + 1, updates));
  if (end < b->of[axis]) TRY(slice(rw, &parts[n++], x, axis, end, b->of[axis]));
  TRY(ifd_rw_add_node(rw, &node, "Concat", parts, n, 1));
  *out = node->outputs[0];
  return ifd_node_set_int(ifd_rw_error(rw), node, "axis", axis);
}

static ifd_status merge(ifd_rewrite *rw, ifd_node *node) {
  box b;
  ifd_value *y;
  if (!ifd_node_string_is(node, "reduction", "none", "none") || !sizes_of(rw, node, &b)) return IFD_OK;
  if (!read_indices(rw, node->inputs[1], &b))
    return ifd_rw_refuse(rw, "its indices are not known to count through a box");
  if (!fits(&b)) return ifd_rw_refuse(rw, "it writes less than half of its data");
  TRY(surround(rw, &y, node->inputs[0], &b, 0, node->inputs[2]));
  return ifd_rw_replace(rw, node->outputs[0], y);
}

const ifd_pass ifd_pass_merge_scatter = {
    .summary = "turns ScatterND over a box of its data into Slices and Concat",
    .phase = IFD_PHASE_SIMPLIFY,
    .rules = (const ifd_rule[]){{"ScatterND", IFD_EXACT, merge}, {0}},
};
