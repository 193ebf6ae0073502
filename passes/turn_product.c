#include "pass/pass.h"
#include "pass/view.h"

/* A product by a few constant columns beside a Transpose that only takes an axis of x to the end, or back
 * from there, works on x as it lies: MatMul(Transpose(x), W) = Transpose(Wᵀ x). Rows of a few floats would
 * fill few lanes, and Transposes meet others. Talking heads are such: a head is the axis, all scores lie
 * behind it. */

enum { FEW = 16 }; /* a vector */

/* The product by W along an axis of x. */
typedef struct turned {
  ifd_value *x, *w;
  int rank, axis;
  ifd_dim dims[IFD_MAX_RANK]; /* of the result */
} turned;

/* The axis that a Transpose takes to the end, `back` from there; -1: it does something else. */
static int moved_axis(ifd_rewrite *rw, const ifd_node *transpose, bool back) {
  const int64_t *perm;
  int rank = ifd_node_ints(transpose, "perm", &perm), axis = 0;
  if (rank < 3 || rank > IFD_MAX_RANK || ifd_rw_rank(rw, transpose->inputs[0]) != rank) return -1;
  while (axis < rank - 1 && perm[axis] == axis) axis++;
  if (axis == rank - 1 || perm[back ? axis : rank - 1] != (back ? rank - 1 : axis)) return -1;
  for (int i = axis; i < rank - 1; i++)
    if (back ? perm[i + 1] != i : perm[i] != i + 1) return -1;
  return axis;
}

/* W where the node is a product of floats by a constant matrix of few rows and columns; else NULL. */
static ifd_value *few_columns(ifd_rewrite *rw, const ifd_node *product) {
  ifd_value *w = product && product->n_inputs == 2 ? product->inputs[1] : NULL;
  const ifd_tensor *known = ifd_rw_constant(rw, w);
  if (!known || known->dtype != IFD_FLOAT || known->shape.rank != 2) return NULL;
  return known->shape.dim[0] < FEW && known->shape.dim[1] < FEW ? w : NULL;
}

static ifd_status reshape(ifd_rewrite *rw, ifd_value **v, const int64_t *shape, int rank) {
  ifd_value *inputs[2] = {*v};
  ifd_node *node;
  TRY(ifd_rw_add_ints(rw, &inputs[1], shape, rank, "shape"));
  TRY(ifd_rw_add_node(rw, &node, "Reshape", inputs, 2, 1));
  *v = node->outputs[0];
  return IFD_OK;
}

/* Wᵀ times x, whose axes behind the product's become one; *out is NULL where shapes do not say how. */
static ifd_status multiply(ifd_rewrite *rw, ifd_value **out, const turned *t) {
  const int64_t matrix[] = {1, 0};
  const int n = t->axis + 2;
  ifd_dim from[IFD_MAX_RANK], *places = &from[n - 1];
  int64_t flat[IFD_MAX_RANK] = {0}, shape[IFD_MAX_RANK];
  ifd_value *inputs[2], *x = t->x;
  ifd_node *node;
  for (int i = 0; i < n; i++) from[i] = t->dims[i];
  for (int i = n; i < t->rank; i++) *places = ifd_dim_mul(ifd_rw_dims(rw), *places, t->dims[i]);
  *out = NULL;
  if (!ifd_rw_view_shape(from, n, t->dims, t->rank, shape)) return IFD_OK;
  flat[n - 1] = -1;
  TRY(ifd_rw_add_node(rw, &node, "Transpose", (ifd_value *[]){t->w}, 1, 1));
  TRY(ifd_node_set_ints(ifd_rw_error(rw), node, "perm", matrix, 2));
  if (n < t->rank) TRY(reshape(rw, &x, flat, n));
  inputs[0] = node->outputs[0], inputs[1] = x;
  TRY(ifd_rw_add_node(rw, &node, "MatMul", inputs, 2, 1));
  *out = node->outputs[0];
  return n < t->rank ? reshape(rw, out, shape, t->rank) : IFD_OK;
}

/* The result's dimensions: those of v but for axis `from`, and the product's. */
static void set_dims(ifd_rewrite *rw, turned *t, const ifd_value *v, int from) {
  t->rank = ifd_rw_rank(rw, v);
  for (int i = 0, k = 0; i < t->rank; i++) {
    if (i == t->axis) {
      t->dims[i] = ifd_rw_dim(rw, t->w, 1);
      continue;
    }
    if (k == from) k++;
    t->dims[i] = ifd_rw_dim(rw, v, k++);
  }
}

static ifd_status turn_behind(ifd_rewrite *rw, ifd_node *product) {
  turned t = {.w = few_columns(rw, product)};
  ifd_node *transpose = t.w ? ifd_rw_sole_producer(product->inputs[0], "Transpose") : NULL, *moved;
  ifd_value *y;
  if (!ifd_rw_for_running(rw) || !transpose) return IFD_OK;
  t.x = transpose->inputs[0], t.axis = moved_axis(rw, transpose, false);
  if (t.axis < 0) return IFD_OK;
  set_dims(rw, &t, t.x, t.axis);
  TRY(multiply(rw, &y, &t));
  if (!y) return IFD_OK;
  TRY(ifd_rw_add_like(rw, &moved, transpose, &y, 1));
  return ifd_rw_replace(rw, product->outputs[0], moved->outputs[0]);
}

static ifd_status turn_before(ifd_rewrite *rw, ifd_node *transpose) {
  ifd_node *product = ifd_rw_sole_producer(transpose->inputs[0], "MatMul"), *moved;
  turned t = {.w = few_columns(rw, product)};
  ifd_value *y;
  if (!ifd_rw_for_running(rw) || !t.w) return IFD_OK;
  t.axis = moved_axis(rw, transpose, true);
  if (t.axis < 0) return IFD_OK;
  set_dims(rw, &t, product->inputs[0], ifd_rw_rank(rw, product->inputs[0]) - 1);
  TRY(ifd_rw_add_like(rw, &moved, transpose, &product->inputs[0], 1));
  t.x = moved->outputs[0];
  TRY(multiply(rw, &y, &t));
  return y ? ifd_rw_replace(rw, transpose->outputs[0], y) : IFD_OK;
}

const ifd_pass ifd_pass_turn_product = {
    .summary = "multiplies by a few columns before a Transpose to the end, or behind one back from there",
    .phase = IFD_PHASE_FUSE,
    .rules = (const ifd_rule[]){{"MatMul", IFD_REASSOCIATES, turn_behind},
                                {"Transpose", IFD_REASSOCIATES, turn_before},
                                {0}},
};
