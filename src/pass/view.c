#include "pass/view.h"

bool ifd_rw_view_of(ifd_rewrite *rw, ifd_rw_view *out, ifd_value *v, const int *roles) {
  int rank = ifd_rw_rank(rw, v);
  *out = (ifd_rw_view){.v = v, .n_factors = rank};
  if (rank < 0 || rank > IFD_VIEW_FACTORS) return false;
  for (int i = 0; i < rank; i++) out->factors[i] = (ifd_factor){roles[i], i, ifd_rw_dim(rw, v, i)};
  return true;
}

/* Factors by axis, those of one axis in their order. */
static void sort(ifd_rw_view *view) {
  for (int i = 1; i < view->n_factors; i++)
    for (int k = i; k > 0 && view->factors[k - 1].axis > view->factors[k].axis; k--) {
      ifd_factor f = view->factors[k];
      view->factors[k] = view->factors[k - 1];
      view->factors[k - 1] = f;
    }
}

static bool step_transpose(ifd_rewrite *rw, ifd_rw_view *view) {
  const ifd_node *node = ifd_rw_producer(view->v, "Transpose");
  const int64_t *perm;
  if (!node || ifd_node_ints(node, "perm", &perm) != ifd_rw_rank(rw, view->v)) return false;
  for (int i = 0; i < view->n_factors; i++) view->factors[i].axis = (int)perm[view->factors[i].axis];
  sort(view);
  view->v = node->inputs[0];
  return true;
}

/* v is part `part` of the n equal ones along an axis of `from`, where it has `axes` (0 or 1) axes itself. */
static bool take_part(ifd_rw_view *view, ifd_value *from, int axis, int axes, int64_t part, int64_t n) {
  if (view->n_factors == IFD_VIEW_FACTORS || part < 0 || part >= n) return false;
  for (int i = 0; i < view->n_factors; i++) view->factors[i].axis += !axes && view->factors[i].axis >= axis;
  for (int i = view->n_factors++; i > 0; i--) view->factors[i] = view->factors[i - 1];
  view->factors[0] = (ifd_factor){IFD_VIEW_PART, axis, n}; /* first of its axis, once sorted */
  sort(view);
  view->part = part;
  view->v = from;
  return true;
}

static int axis_of(ifd_rewrite *rw, const ifd_value *v, int64_t axis) {
  int rank = ifd_rw_rank(rw, v);
  if (axis < 0) axis += rank;
  return axis >= 0 && axis < rank ? (int)axis : -1;
}

static bool step_gather(ifd_rewrite *rw, ifd_rw_view *view) {
  const ifd_node *node = ifd_rw_producer(view->v, "Gather");
  double index;
  if (!node || ifd_rw_rank(rw, node->inputs[1]) != 0 || !ifd_rw_scalar(rw, node->inputs[1], &index))
    return false;
  int axis = axis_of(rw, node->inputs[0], ifd_node_int(node, "axis", 0));
  ifd_dim n = ifd_rw_dim(rw, node->inputs[0], axis);
  if (axis < 0 || !ifd_dim_is_number(n)) return false;
  return take_part(view, node->inputs[0], axis, 0, (int64_t)index + (index < 0 ? n : 0), n);
}

static bool step_split(ifd_rewrite *rw, ifd_rw_view *view) {
  const ifd_node *node = ifd_rw_producer(view->v, "Split");
  int axis = node ? axis_of(rw, node->inputs[0], ifd_node_int(node, "axis", 0)) : -1, part = 0;
  if (axis < 0) return false;
  for (int i = 0; i < node->n_outputs; i++) {
    if (node->outputs[i] == view->v) part = i;
    if (!node->outputs[i] || ifd_rw_dim(rw, node->outputs[i], axis) != ifd_rw_dim(rw, view->v, axis))
      return false;
  }
  return take_part(view, node->inputs[0], axis, 1, part, node->n_outputs);
}

/* A Slice along one axis, from `start` on. */
static bool one_axis(ifd_rewrite *rw, const ifd_node *node, double *start, double *axis) {
  double step = 1;
  const ifd_value *axes = ifd_node_input(node, 3), *steps = ifd_node_input(node, 4);
  *axis = 0;
  return node->opset >= 10 && ifd_rw_scalar(rw, node->inputs[1], start) &&
         (!axes || ifd_rw_scalar(rw, axes, axis)) && (!steps || ifd_rw_scalar(rw, steps, &step)) && step == 1;
}

static bool step_slice(ifd_rewrite *rw, ifd_rw_view *view) {
  const ifd_node *node = ifd_rw_producer(view->v, "Slice");
  double start, along;
  if (!node || !one_axis(rw, node, &start, &along)) return false;
  int axis = axis_of(rw, node->inputs[0], (int64_t)along);
  ifd_dim n = ifd_rw_dim(rw, node->inputs[0], axis), length = ifd_rw_dim(rw, view->v, axis);
  if (axis < 0 || !ifd_dim_is_number(n) || !ifd_dim_is_number(length) || length == 0 || n % length)
    return false;
  int64_t first = (int64_t)start + (start < 0 ? n : 0);
  return first >= 0 && first % length == 0 &&
         take_part(view, node->inputs[0], axis, 1, first / length, n / length);
}

/* Factors to the axes of `from`, whose elements are v's in the same order. */
static bool regroup(ifd_rewrite *rw, ifd_rw_view *view, const ifd_value *from) {
  int rank = ifd_rw_rank(rw, from), f = 0;
  for (int axis = 0; axis < rank; axis++) {
    ifd_dim product = 1, want = ifd_rw_dim(rw, from, axis);
    for (; product != want && f < view->n_factors; f++) {
      product = ifd_dim_mul(ifd_rw_dims(rw), product, view->factors[f].n);
      view->factors[f].axis = axis;
    }
    if (product != want) return false;
  }
  for (; f < view->n_factors; f++) {
    if (view->factors[f].n != 1) return false;
    view->factors[f].axis = rank - 1;
  }
  return rank > 0;
}

static bool step_reshape(ifd_rewrite *rw, ifd_rw_view *view) {
  const ifd_node *node = view->v->producer;
  ifd_rw_view made = *view;
  if (!node || !ifd_node_is_any(node, "Reshape Squeeze Unsqueeze Flatten") ||
      !regroup(rw, &made, node->inputs[0]))
    return false;
  *view = made;
  view->v = node->inputs[0];
  return true;
}

bool ifd_rw_view_step(ifd_rewrite *rw, ifd_rw_view *view) {
  return step_transpose(rw, view) || step_gather(rw, view) || step_split(rw, view) || step_slice(rw, view) ||
         step_reshape(rw, view);
}

bool ifd_rw_view_shape(const ifd_dim *from, int n_from, const ifd_dim *to, int n_to, int64_t *shape) {
  int n_open = 0;
  for (int i = 0; i < n_to; i++) {
    if (to[i] == 0) return false; /* which would mean the dimension of `from` */
    shape[i] = ifd_dim_is_number(to[i]) ? to[i] : i < n_from && from[i] == to[i] ? 0 : -1;
    n_open += shape[i] == -1;
  }
  return n_open <= 1;
}
