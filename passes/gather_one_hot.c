#include "pass/ints.h"
#include "pass/match.h"

#include <math.h>
#include <string.h>

/* A one-hot vector times constant weights picks a row of them: MatMul of OneHot, or of Cast(Equal(x, 0 …
 * n-1)), is Gather. An index beyond picks zeros, for which there is a row before the weights and one behind.
 * For running alone: OneHot counts from the end, too, and the weights are there twice. */

typedef struct one_hot {
  ifd_value *index; /* int32 or int64 */
  bool squeezes;    /* its last axis, of length 1, goes */
  bool flattens;    /* or all its axes are one */
  int64_t first, n; /* of what it is compared with: consecutive integers */
  int copies;       /* of the weights, for so many times n of these */
} one_hot;

static bool is_index(ifd_rewrite *rw, const ifd_value *v) {
  ifd_dtype dtype = ifd_rw_dtype(rw, v);
  return dtype == IFD_INT32 || dtype == IFD_INT64;
}

static bool in_range(int64_t first, int64_t n) {
  return n > 0 && n < INT32_MAX / 4 && first > INT32_MIN / 4 && first < INT32_MAX / 4;
}

/* Consecutive integers along the last axis, the only one longer than 1. */
static bool is_count(ifd_rewrite *rw, const ifd_value *v, one_hot *o) {
  const ifd_tensor *t = ifd_rw_constant(rw, v);
  if (!t || t->shape.rank < 1 || ifd_tensor_count(t) < 2) return false;
  o->n = t->shape.dim[t->shape.rank - 1];
  o->first = ifd_tensor_get_i64(t, 0);
  if (ifd_tensor_count(t) != o->n || !in_range(o->first, o->n)) return false;
  for (int64_t i = 1; i < o->n; i++)
    if (ifd_tensor_get_i64(t, i) != o->first + i) return false;
  return true;
}

/* Cast(Equal(index, count)). */
static bool is_compared(ifd_rewrite *rw, ifd_value *v, one_hot *o) {
  const ifd_node *cast = ifd_made_by(v, "Cast"), *equal = cast ? ifd_made_by(cast->inputs[0], "Equal") : NULL;
  for (int i = 0; equal && equal->opset >= 7 && i < 2; i++) {
    o->index = equal->inputs[i];
    if (is_index(rw, o->index) && ifd_rw_rank(rw, o->index) == ifd_rw_rank(rw, v) &&
        ifd_rw_dim(rw, o->index, -1) == 1 && is_count(rw, equal->inputs[1 - i], o) &&
        ifd_rw_rank(rw, equal->inputs[1 - i]) <= ifd_rw_rank(rw, v))
      return o->squeezes = true, o->copies = 1, true;
  }
  return false;
}

/* OneHot along the last axis, of 0 and 1. */
static bool is_one_hot(ifd_rewrite *rw, ifd_value *v, one_hot *o) {
  const ifd_node *node = ifd_made_by(v, "OneHot");
  const ifd_tensor *values = node ? ifd_rw_constant(rw, node->inputs[2]) : NULL;
  int64_t axis = node ? ifd_node_int(node, "axis", -1) : 0;
  double depth;
  if (!values || (axis != -1 && axis != ifd_rw_rank(rw, v) - 1) || !is_index(rw, node->inputs[0]) ||
      !ifd_rw_scalar(rw, node->inputs[1], &depth) || ifd_tensor_count(values) != 2 ||
      ifd_tensor_get_f64(values, 0) != 0 || ifd_tensor_get_f64(values, 1) != 1)
    return false;
  *o = (one_hot){.index = node->inputs[0], .n = (int64_t)depth, .first = -(int64_t)depth, .copies = 2};
  return in_range(o->first, o->n);
}

static bool is_vector(ifd_rewrite *rw, ifd_value *v, one_hot *o) {
  return is_compared(rw, v, o) || is_one_hot(rw, v, o);
}

/* The same, or rows of it, as exporters of products over more than two axes make them. */
static bool are_vectors(ifd_rewrite *rw, ifd_value *v, one_hot *o) {
  const ifd_node *view = ifd_made_by(v, "Reshape");
  if (is_vector(rw, v, o)) return true;
  if (!view || ifd_rw_rank(rw, v) != 2 || !is_vector(rw, view->inputs[0], o)) return false;
  o->flattens = true;
  return ifd_rw_dim(rw, v, 1) == o->n;
}

/* Weights [n, columns] of floats. */
static bool are_weights(const ifd_tensor *w, int64_t n) {
  return w && w->dtype == IFD_FLOAT && w->shape.rank == 2 && w->shape.dim[0] == n;
}

static bool all_finite(const float *v, int64_t n) {
  for (int64_t i = 0; i < n; i++)
    if (!isfinite(v[i])) return false;
  return true;
}

/* A row of zeros, the weights, so often, a row of zeros; NULL where a zero times them is none. */
static ifd_status add_table(ifd_rewrite *rw, ifd_value **out, const ifd_tensor *w, int copies,
                            const char *hint) {
  ifd_tensor t;
  int64_t columns = w->shape.dim[1], n = ifd_tensor_count(w);
  ifd_shape shape = {2, {w->shape.dim[0] * copies + 2, columns}};
  TRY(ifd_tensor_new(ifd_rw_error(rw), &t, ifd_rw_arena(rw), IFD_FLOAT, &shape));
  float *to = t.data, *first = to + columns;
  ifd_tensor_expand(w, first);
  *out = NULL;
  if (!all_finite(first, n)) return IFD_OK;
  if (copies == 2) memcpy(first + n, first, sizeof *to * (size_t)n);
  memset(to, 0, sizeof *to * (size_t)columns);
  memset(first + copies * n, 0, sizeof *to * (size_t)columns);
  return ifd_rw_add_constant(rw, out, &t, hint);
}

/* Where an index is in the table: 0 and the last are what lies beyond. */
static ifd_status add_place(ifd_rewrite *rw, ifd_value **out, const one_hot *o) {
  ifd_dtype dtype = ifd_rw_dtype(rw, o->index);
  ifd_value *bounds[3] = {o->index}, *sum[2];
  ifd_node *node;
  TRY(ifd_rw_add_scalar(rw, &bounds[1], dtype, (double)(o->first - 1), "least"));
  TRY(ifd_rw_add_scalar(rw, &bounds[2], dtype, (double)(o->first + o->n * o->copies), "most"));
  TRY(ifd_rw_add_node(rw, &node, "Clip", bounds, 3, 1));
  sum[0] = node->outputs[0];
  TRY(ifd_rw_add_scalar(rw, &sum[1], dtype, (double)(1 - o->first), "shift"));
  TRY(ifd_rw_add_node(rw, &node, "Add", sum, 2, 1));
  *out = node->outputs[0];
  return IFD_OK;
}

static ifd_status change_axes(ifd_rewrite *rw, ifd_value **v, bool flattens) {
  ifd_node *node;
  ifd_value *inputs[2] = {*v};
  if (flattens) {
    TRY(ifd_rw_add_ints(rw, &inputs[1], (const int64_t[]){-1}, 1, "shape"));
    TRY(ifd_rw_add_node(rw, &node, "Reshape", inputs, 2, 1));
  } else {
    TRY(ifd_ints_add_node(rw, &node, "Squeeze", *v, "axes", (const int64_t[]){-1}, 1, 1));
  }
  *v = node->outputs[0];
  return IFD_OK;
}

static ifd_status fuse(ifd_rewrite *rw, ifd_node *matmul) {
  one_hot o = {0};
  const ifd_tensor *w = ifd_rw_constant(rw, matmul->inputs[1]);
  ifd_value *inputs[2];
  ifd_node *node;
  if (!ifd_rw_for_running(rw) || matmul->opset < 12 || ifd_rw_rank(rw, matmul->inputs[0]) < 2 ||
      !are_vectors(rw, matmul->inputs[0], &o))
    return IFD_OK;
  if (!are_weights(w, o.n)) return ifd_rw_refuse(rw, "its weights are not a constant matrix of floats");
  TRY(add_table(rw, &inputs[0], w, o.copies, matmul->inputs[1]->name));
  if (!inputs[0]) return ifd_rw_refuse(rw, "its weights are not all finite");
  TRY(add_place(rw, &inputs[1], &o));
  if (o.squeezes || o.flattens) TRY(change_axes(rw, &inputs[1], o.flattens));
  TRY(ifd_rw_add_node(rw, &node, "Gather", inputs, 2, 1));
  return ifd_rw_replace(rw, matmul->outputs[0], node->outputs[0]);
}

const ifd_pass ifd_pass_gather_one_hot = {
    .summary = "picks rows of weights instead of multiplying them by one-hot vectors",
    .phase = IFD_PHASE_FUSE,
    .rules = (const ifd_rule[]){{"MatMul", IFD_REASSOCIATES, fuse}, {0}},
};
