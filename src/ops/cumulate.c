/* CumSum and CumProd: running folds along an axis. */
#include "kernels/kernels.h"
#include "kernels/reduce/reduce.h"
#include "ops/shared/batch.h"
#include "ops/shared/elementwise.h"
#include "ops/shared/rows.h"
#include "tensor/convert.h"

/* What runs along the axis, in double and, wrapping, in integers; `start` is before the first element. */
typedef struct running {
  int64_t start;
  void (*f64)(double *sum, const double *in, int64_t n);
  void (*u64)(uint64_t *sum, const uint64_t *in, int64_t n);
} running;

#define STEP(name, type, expression)                                                                         \
  static void name(type *restrict y, const type *in, int64_t n) {                                            \
    for (int64_t i = 0; i < n; i++) y[i] = expression;                                                       \
  }
STEP(add_f64, double, y[i] + in[i])
STEP(add_u64, uint64_t, y[i] + in[i])
STEP(multiply_f64, double, y[i] * in[i])
STEP(multiply_u64, uint64_t, y[i] * in[i])
static const running sum = {0, add_f64, add_u64}, product = {1, multiply_f64, multiply_u64};

/* Rows of `inner` elements stand along the axis: row j of `in` goes into the running row, which is written
 * after that, or before when exclusive. Two rows of scratch: the running one and the one read. */
static void run_along(const running *r, const ifd_tensor *in, const ifd_tensor *out, int64_t first, int64_t n,
                      int64_t inner, bool reverse, bool exclusive, void *scratch) {
  bool is_float = ifd_dtype_is_float(in->dtype);
  double *f = scratch, *f_in = f + inner;
  int64_t *y = scratch, *y_in = y + inner, in_size = (int64_t)ifd_dtype_size(in->dtype),
          out_size = (int64_t)ifd_dtype_size(out->dtype);
  for (int64_t i = 0; i < inner; i++)
    if (is_float)
      f[i] = (double)r->start;
    else
      y[i] = r->start;
  for (int64_t j = 0; j < n; j++) {
    int64_t at = first + (reverse ? n - 1 - j : j) * inner;
    const char *from = (const char *)in->data + at * in_size;
    char *to = (char *)out->data + at * out_size;
    if (is_float) {
      ifd_load_f64(in->dtype, from, f_in, inner);
      if (exclusive) ifd_store_f64(out->dtype, to, f, inner);
      r->f64(f, f_in, inner);
      if (!exclusive) ifd_store_f64(out->dtype, to, f, inner);
    } else {
      ifd_load_i64(in->dtype, from, y_in, inner);
      if (exclusive) ifd_store_i64(out->dtype, to, y, inner);
      r->u64((uint64_t *)y, (const uint64_t *)y_in, inner);
      if (!exclusive) ifd_store_i64(out->dtype, to, y, inner);
    }
  }
}

static ifd_status cumulate(ifd_eval *x, const running *r) {
  const ifd_tensor *in = ifd_eval_in(x, 0), *axis_input = ifd_eval_in(x, 1);
  ifd_tensor *out;
  void *scratch;
  int axis;
  EXPECT(x->err, ifd_tensor_count(axis_input) == 1, BAD_INPUT, "axis is not a scalar");
  TRY(ifd_axis(x->err, &axis, ifd_tensor_get_i64(axis_input, 0), in->shape.rank));
  TRY(ifd_eval_out(x, &out, 0, in->dtype, &in->shape));
  int64_t n = in->shape.dim[axis], inner = ifd_shape_span(&in->shape, axis + 1, in->shape.rank);
  if (ifd_tensor_count(in) == 0) return IFD_OK;
  ALLOC(x->err, scratch, ifd_arena_alloc_array(x->scratch, (size_t)inner, 2 * sizeof(double)));
  for (int64_t o = 0, outer = ifd_shape_span(&in->shape, 0, axis); o < outer; o++)
    run_along(r, in, out, o * n * inner, n, inner, ifd_attr_int(x->node, "reverse"),
              ifd_attr_int(x->node, "exclusive"), scratch);
  return IFD_OK;
}

static ifd_status eval_CumSum(ifd_eval *x) { return cumulate(x, &sum); }
static ifd_status eval_CumProd(ifd_eval *x) { return cumulate(x, &product); }

/* ---- in tasks ---- */

typedef struct fold_params {
  ifd_reduce_running *fold;
  size_t size;
  int64_t n, inner;
  bool reverse, exclusive;
  ifd_rows lines;
} fold_params;

static void run_folds(const void *params, const ifd_args *args, int task) {
  const fold_params *p = params;
  const size_t stride = (size_t)(p->inner == 1 ? p->n : p->inner);
  int64_t from, to;
  ifd_rows_of(&p->lines, task, &from, &to);
  for (int64_t some, at; from < to; from += some) {
    some = ifd_columns_of(from, to, p->n, p->inner, &at);
    const size_t byte = (size_t)at * p->size;
    p->fold((const char *)args->in[0] + byte, (char *)args->out[0] + byte, stride, (size_t)p->n, (size_t)some,
            p->reverse, p->exclusive);
  }
}

static ifd_status lower_cumulate(ifd_lower *x, bool product) {
  const ifd_tensor *in = x->in[0], *axis_input = x->in[1];
  int axis;
  if (ifd_tensor_count(in) == 0 || !axis_input->data || ifd_tensor_count(axis_input) != 1) return IFD_OK;
  TRY(ifd_axis(x->err, &axis, ifd_tensor_get_i64(axis_input, 0), in->shape.rank));
  fold_params p = {.size = ifd_dtype_size(in->dtype),
                   .n = in->shape.dim[axis],
                   .inner = ifd_shape_span(&in->shape, axis + 1, in->shape.rank),
                   .reverse = ifd_attr_int(x->node, "reverse"),
                   .exclusive = ifd_attr_int(x->node, "exclusive")};
  p.fold = ifd_k_reduce(x->isa)->running(product, in->dtype, p.inner > 1);
  if (!p.fold) return IFD_OK;
  p.lines = ifd_columns_split(ifd_tensor_count(in) / p.n, p.inner, 4 * (double)p.n);
  x->work->algorithm = p.inner == 1 ? "rows" : "columns";
  return ifd_lower_rows(x, run_folds, &p, sizeof p, &p.lines);
}

static ifd_status lower_CumSum(ifd_lower *x) { return lower_cumulate(x, false); }
static ifd_status lower_CumProd(ifd_lower *x) { return lower_cumulate(x, true); }

static const char *batch_lines(const ifd_batch *b) {
  const ifd_tensor *axis = ifd_batch_in(b, 1);
  bool known = axis && axis->data && ifd_tensor_count(axis) == 1;
  return known && !ifd_batch_is_first(b, ifd_tensor_get_i64(axis, 0)) ? "pw" : NULL;
}

#define ROW(name_, since_)                                                                                   \
  {                                                                                                          \
    .name = #name_, .since = since_, .infer = ifd_infer_like_first, .eval = eval_##name_,                    \
    .lower = lower_##name_, .batch = batch_lines                                                             \
  }
const ifd_op ifd_ops_cumulate[] = {ROW(CumSum, 11), ROW(CumProd, 26), {0}};
