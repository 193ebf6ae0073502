/* ArgMax and ArgMin. */
#include "kernels/kernels.h"
#include "kernels/reduce/reduce.h"
#include "ops/shared/batch.h"
#include "ops/shared/elementwise.h"
#include "ops/shared/order.h"
#include "ops/shared/rows.h"

/* Keys whose greatest is what is sought. NaN is found first by ArgMin as well, as by numpy's. */
static ifd_status make_keys(ifd_eval *x, const ifd_tensor *in, bool least, int64_t **out) {
  TRY(ifd_order_keys(x->err, out, x->scratch, in));
  bool has_nan = ifd_dtype_is_float(in->dtype);
  for (int64_t i = 0, n = ifd_tensor_count(in); least && i < n; i++)
    if (!has_nan || (*out)[i] != INT64_MAX) (*out)[i] = ~(*out)[i];
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

/* ---- on kernels ---- */

typedef struct arg_params {
  ifd_reduce_arg *kernel;
  size_t size;
  bool least, last;
  int64_t n, inner;
  ifd_rows results;
} arg_params;

static void run_arg(const void *params, const ifd_args *args, int task) {
  const arg_params *p = params;
  const char *in = args->in[0];
  const size_t stride = (size_t)(p->inner == 1 ? p->n : p->inner);
  int64_t *out = args->out[0], from, to;
  ifd_rows_of(&p->results, task, &from, &to);
  for (int64_t some, at; from < to; from += some) {
    some = ifd_columns_of(from, to, p->n, p->inner, &at);
    p->kernel(p->least, p->last, in + (size_t)at * p->size, stride, (size_t)p->n, (size_t)some, out + from);
  }
}

static ifd_status lower_arg(ifd_lower *x, bool least) {
  const ifd_shape *s = &x->in[0]->shape;
  int axis;
  TRY(ifd_axis(x->err, &axis, ifd_attr_int(x->node, "axis"), s->rank));
  if (ifd_shape_count(s) == 0 || s->dim[axis] > INT32_MAX) return IFD_OK;
  arg_params p = {.least = least,
                  .last = ifd_node_int(x->node, "select_last_index", 0),
                  .n = s->dim[axis],
                  .inner = ifd_shape_span(s, axis + 1, s->rank)};
  p.kernel = ifd_k_reduce(x->isa)->arg(x->in[0]->dtype, p.inner > 1);
  p.size = ifd_dtype_size(x->in[0]->dtype);
  if (!p.kernel) return IFD_OK;
  p.results = ifd_columns_split(ifd_shape_count(s) / p.n, p.inner, 2 * (double)p.n);
  x->work->algorithm = p.inner == 1 ? "rows" : "columns";
  return ifd_lower_rows(x, run_arg, &p, sizeof p, &p.results);
}
static ifd_status lower_ArgMax(ifd_lower *x) { return lower_arg(x, false); }
static ifd_status lower_ArgMin(ifd_lower *x) { return lower_arg(x, true); }

static ifd_status infer_index(ifd_infer *x) {
  int rank = ifd_infer_rank(x, 0), axis;
  if (rank < 0 || rank > IFD_MAX_RANK) return ifd_infer_unranked(x, 0, IFD_INT64);
  TRY(ifd_axis(x->err, &axis, ifd_attr_int(x->node, "axis"), rank));
  ifd_shape shape = {.rank = rank};
  for (int d = 0; d < rank; d++) shape.dim[d] = ifd_infer_dim(x, 0, d);
  drop_axis(&shape, axis, ifd_attr_int(x->node, "keepdims"));
  return ifd_infer_tensor(x, 0, IFD_INT64, shape.rank, shape.dim);
}

const ifd_op ifd_ops_argument[] = {{.name = "ArgMax",
                                    .since = 1,
                                    .infer = infer_index,
                                    .eval = eval_ArgMax,
                                    .lower = lower_ArgMax,
                                    .batch = ifd_batch_inner_axis},
                                   {.name = "ArgMin",
                                    .since = 1,
                                    .infer = infer_index,
                                    .eval = eval_ArgMin,
                                    .lower = lower_ArgMin,
                                    .batch = ifd_batch_inner_axis},
                                   {0}};
