/* ArgMax and ArgMin. */
#include <math.h>
#include <string.h>

#include "ops/shared/elementwise.h"
#include "tensor/convert.h"

/* Elements as integers whose order is that of the elements, so that one search serves all types. NaN is above
 * all, for ArgMin as well: it is what both find first, as numpy's do. */
static int64_t key_of_double(double x, bool least) {
  int64_t bits;
  if (isnan(x)) return INT64_MAX;
  x += 0; /* -0 and 0 are equal */
  if (least) x = x == 0 ? 0 : -x;
  memcpy(&bits, &x, sizeof bits);
  return bits < 0 ? (int64_t)(INT64_MIN - (uint64_t)bits) : bits;
}

static int64_t key_of_integer(int64_t x, bool is_unsigned, bool least) {
  if (is_unsigned) x = (int64_t)((uint64_t)x ^ (uint64_t)1 << 63);
  return least ? ~x : x;
}

static ifd_status make_keys(ifd_eval *x, const ifd_tensor *in, bool least, int64_t **out) {
  int64_t n = ifd_tensor_count(in);
  ALLOC(x->err, *out, ifd_new_array(x->scratch, int64_t, n));
  if (ifd_dtype_is_float(in->dtype)) {
    const double *values;
    TRY(ifd_eval_f64(x, &values, 0));
    for (int64_t i = 0; i < n; i++) (*out)[i] = key_of_double(values[i], least);
    return IFD_OK;
  }
  ifd_load_i64(in->dtype, in->data, *out, n);
  bool is_unsigned = ifd_dtypes[in->dtype].class == IFD_CLASS_UINT;
  for (int64_t i = 0; i < n; i++) (*out)[i] = key_of_integer((*out)[i], is_unsigned, least);
  return IFD_OK;
}

/* Index of the greatest of n keys, `step` apart; of equal ones the first or the last. */
static int64_t find_greatest(const int64_t *keys, int64_t n, int64_t step, bool last) {
  int64_t best = 0;
  for (int64_t i = 1; i < n; i++) {
    int64_t a = keys[i * step], b = keys[best * step];
    if (a > b || (last && a == b)) best = i;
  }
  return best;
}

/* `shape` without dimension `axis`, or with 1 there. */
static void drop_axis(ifd_shape *shape, int axis, bool keep) {
  shape->dim[axis] = 1;
  if (keep) return;
  shape->rank--;
  for (int d = axis; d < shape->rank; d++) shape->dim[d] = shape->dim[d + 1];
}

static ifd_status find_along_axis(ifd_eval *x, bool least) {
  const ifd_tensor *in = ifd_eval_in(x, 0);
  ifd_shape shape = in->shape;
  bool last = ifd_node_int(x->node, "select_last_index", 0);
  int64_t *keys;
  ifd_tensor *out;
  int axis;
  TRY(ifd_axis(x->err, &axis, ifd_attr_int(x->node, "axis"), in->shape.rank));
  drop_axis(&shape, axis, ifd_attr_int(x->node, "keepdims"));
  TRY(ifd_eval_out(x, &out, 0, IFD_INT64, &shape));
  int64_t n = in->shape.dim[axis], inner = ifd_shape_span(&in->shape, axis + 1, in->shape.rank);
  EXPECT(x->err, n > 0 || ifd_shape_count(&shape) == 0, BAD_INPUT, "axis %d has no elements", axis);
  TRY(make_keys(x, in, least, &keys));
  int64_t *to = out->data;
  for (int64_t o = 0, outer = ifd_shape_span(&in->shape, 0, axis); o < outer; o++)
    for (int64_t i = 0; i < inner; i++) *to++ = find_greatest(keys + o * n * inner + i, n, inner, last);
  return IFD_OK;
}

static ifd_status eval_ArgMax(ifd_eval *x) { return find_along_axis(x, false); }
static ifd_status eval_ArgMin(ifd_eval *x) { return find_along_axis(x, true); }

static ifd_status infer_index(ifd_infer *x) {
  int rank = ifd_infer_rank(x, 0), axis;
  if (rank < 0 || rank > IFD_MAX_RANK) return ifd_infer_unranked(x, 0, IFD_INT64);
  TRY(ifd_axis(x->err, &axis, ifd_attr_int(x->node, "axis"), rank));
  ifd_shape shape = {.rank = rank};
  for (int d = 0; d < rank; d++) shape.dim[d] = ifd_infer_dim(x, 0, d);
  drop_axis(&shape, axis, ifd_attr_int(x->node, "keepdims"));
  return ifd_infer_tensor(x, 0, IFD_INT64, shape.rank, shape.dim);
}

const ifd_op ifd_ops_argument[] = {{.name = "ArgMax", .since = 1, .infer = infer_index, .eval = eval_ArgMax},
                                   {.name = "ArgMin", .since = 1, .infer = infer_index, .eval = eval_ArgMin},
                                   {0}};
