/* Reductions over axes: a start, a step for each element and an end, computed in double, int64 or uint64 in
 * row-major order of the reduced elements. */
#include <math.h>

#include "kernels/kernels.h"
#include "kernels/reduce/reduce.h"
#include "ops/shared/batch.h"
#include "ops/shared/elements.h"
#include "ops/shared/elementwise.h"
#include "ops/shared/rows.h"
#include "ops/shared/walk.h"
#include "tensor/convert.h"

typedef struct reduction {
  double start; /* of the empty set; ±infinity is the end of an integer type */
  bool mean;
  void (*f64)(double *y, const double *in, int64_t n, int64_t step);
  /* integers; NULL: through double */
  void (*i64)(int64_t *y, const int64_t *in, int64_t n, int64_t step);
  void (*u64)(uint64_t *y, const uint64_t *in, int64_t n, int64_t step);
  double (*end)(double y);
} reduction;

/* ---- steps: y becomes an expression of itself and the next element a ---- */

#define STEP(name, type, expression)                                                                         \
  static void name(type *to, const type *in, int64_t n, int64_t step) {                                      \
    for (int64_t i = 0; i < n; i++) {                                                                        \
      const type a = in[i], y = to[i * step];                                                                \
      to[i * step] = (type)(expression);                                                                     \
    }                                                                                                        \
  }

/* log(e^a + e^b), which neither overflows nor loses an infinity. */
static inline double log_add_exp(double a, double b) {
  return a == b ? a + M_LN2 : (a > b ? a : b) + log1p(exp(-fabs(a - b)));
}

#define MAGNITUDE(a) ((a) < 0 ? -(uint64_t)(a) : (uint64_t)(a))
STEP(sum_f64, double, y + a)
STEP(sum_u64, uint64_t, y + a)
STEP(l1_f64, double, y + fabs(a))
STEP(l1_i64, int64_t, (uint64_t)y + MAGNITUDE(a))
STEP(square_f64, double, y + a * a)
STEP(square_u64, uint64_t, y + a * a)
STEP(prod_f64, double, y *a)
STEP(prod_u64, uint64_t, y *a)
STEP(max_f64, double, y > a || y != y ? y : a)
STEP(max_i64, int64_t, y > a ? y : a)
STEP(max_u64, uint64_t, y > a ? y : a)
STEP(min_f64, double, y < a || y != y ? y : a)
STEP(min_i64, int64_t, y < a ? y : a)
STEP(min_u64, uint64_t, y < a ? y : a)
STEP(log_sum_exp_f64, double, log_add_exp(y, a))

/* X(name, the version since which axes are an input, the kernel, the same on dims or NULL, initializers) */
#define REDUCTIONS(X)                                                                                        \
  X(ReduceSum, 13, IFD_REDUCE_Sum, ifd_dim_add, .f64 = sum_f64, .u64 = sum_u64)                              \
  X(ReduceMean, 18, IFD_REDUCE_Mean, NULL, .mean = true, .f64 = sum_f64, .u64 = sum_u64)                     \
  X(ReduceL1, 18, IFD_REDUCE_L1, NULL, .f64 = l1_f64, .i64 = l1_i64, .u64 = sum_u64)                         \
  X(ReduceL2, 18, IFD_REDUCE_L2, NULL, .f64 = square_f64, .end = sqrt)                                       \
  X(ReduceSumSquare, 18, IFD_REDUCE_SumSquare, NULL, .f64 = square_f64, .u64 = square_u64)                   \
  X(ReduceProd, 18, IFD_REDUCE_Prod, ifd_dim_mul, .start = 1, .f64 = prod_f64, .u64 = prod_u64)              \
  X(ReduceMax, 18, IFD_REDUCE_Max, ifd_dim_max, .start = -INFINITY, .f64 = max_f64, .i64 = max_i64,          \
    .u64 = max_u64)                                                                                          \
  X(ReduceMin, 18, IFD_REDUCE_Min, ifd_dim_min, .start = INFINITY, .f64 = min_f64, .i64 = min_i64,           \
    .u64 = min_u64)                                                                                          \
  X(ReduceLogSum, 18, IFD_REDUCE_LogSum, NULL, .f64 = sum_f64, .end = log)                                   \
  X(ReduceLogSumExp, 18, IFD_REDUCE_LogSumExp, NULL, .start = -INFINITY, .f64 = log_sum_exp_f64)

/* ---- axes ---- */

typedef struct axes {
  bool reduced[IFD_MAX_RANK];
} axes;

/* No axes are all axes, unless the node says that they are none. */
static ifd_status read_axes(ifd_error *err, const ifd_node *node, const int64_t *list, int64_t n, int rank,
                            axes *out) {
  bool all = n == 0 && !ifd_node_int(node, "noop_with_empty_axes", 0);
  *out = (axes){{false}};
  for (int d = 0; d < rank; d++) out->reduced[d] = all;
  for (int64_t i = 0; i < n; i++) {
    int axis;
    TRY(ifd_axis(err, &axis, list[i], rank));
    EXPECT(err, !out->reduced[axis], BAD_INPUT, "axis %d is given twice", axis);
    out->reduced[axis] = true;
  }
  return IFD_OK;
}

static ifd_status axes_attr(ifd_error *err, const ifd_node *node, int rank, axes *out) {
  const int64_t *list;
  int n = ifd_node_ints(node, "axes", &list);
  return read_axes(err, node, list, n, rank, out);
}

/* ---- evaluation ---- */

enum { CHUNK = 512 };
typedef enum compute { F64, I64, U64 } compute;

static compute choose(const reduction *r, ifd_dtype t) {
  if (ifd_dtype_is_float(t) || (!r->i64 && !r->u64)) return F64;
  return r->i64 && ifd_dtypes[t].class == IFD_CLASS_INT ? I64 : U64;
}

/* All accumulators at the value of the empty set, in the range of the type. */
static void start_all(const reduction *r, compute c, ifd_dtype t, int64_t *y, int64_t n) {
  char element[16];
  int64_t whole = r->start > 0;
  if (t != IFD_BOOL) {
    ifd_store_f64(t, element, &r->start, 1);
    ifd_load_i64(t, element, &whole, 1);
  }
  for (int64_t i = 0; i < n; i++)
    if (c == F64)
      ((double *)y)[i] = r->start;
    else
      y[i] = whole;
}

/* Every element of `in` into its accumulator; out_strides is 0 along reduced axes. */
static void accumulate(const reduction *r, compute c, const ifd_tensor *in, const int64_t *out_strides,
                       int64_t *y) {
  union {
    double f64[CHUNK];
    int64_t i64[CHUNK];
    uint64_t u64[CHUNK];
  } values;
  ifd_walk w = ifd_walk_over(&in->shape);
  ifd_walk_add_shape(&w, &in->shape);
  ifd_walk_add(&w, out_strides);
  while (ifd_walk_next(&w))
    for (int64_t i = 0; i < w.n; i += CHUNK) {
      int64_t n = ifd_min_i64(w.n - i, CHUNK), *to = y + w.offset[1] + i * w.step[1];
      const char *from = (const char *)in->data + (w.offset[0] + i) * (int64_t)ifd_dtype_size(in->dtype);
      if (c == F64) {
        ifd_load_f64(in->dtype, from, values.f64, n);
        r->f64((double *)to, values.f64, n, w.step[1]);
        continue;
      }
      ifd_load_i64(in->dtype, from, values.i64, n);
      if (c == I64)
        r->i64(to, values.i64, n, w.step[1]);
      else
        r->u64((uint64_t *)to, values.u64, n, w.step[1]);
    }
}

static void finish(const reduction *r, compute c, const ifd_tensor *out, int64_t *y, int64_t n_reduced) {
  int64_t n = ifd_tensor_count(out);
  double *f = (double *)y;
  bool is_signed = ifd_dtypes[out->dtype].class == IFD_CLASS_INT;
  for (int64_t i = 0; r->mean && i < n; i++)
    if (c == F64)
      f[i] /= (double)n_reduced;
    else if (n_reduced)
      y[i] = is_signed ? y[i] / n_reduced : (int64_t)((uint64_t)y[i] / (uint64_t)n_reduced);
  for (int64_t i = 0; r->end && i < n; i++) f[i] = r->end(f[i]);
  if (c == F64)
    ifd_store_f64(out->dtype, out->data, f, n);
  else
    ifd_store_i64(out->dtype, out->data, y, n);
}

static ifd_status reduce(ifd_eval *x, const reduction *r, const axes *a) {
  const ifd_tensor *in = ifd_eval_in(x, 0);
  bool keep = ifd_attr_int(x->node, "keepdims");
  ifd_shape kept = in->shape, shape = {0};
  int64_t strides[IFD_MAX_RANK], n_reduced = 1, *y;
  for (int d = 0; d < in->shape.rank; d++) {
    if (!a->reduced[d] || keep) shape.dim[shape.rank++] = a->reduced[d] ? 1 : in->shape.dim[d];
    if (!a->reduced[d]) continue;
    n_reduced *= in->shape.dim[d];
    kept.dim[d] = 1;
  }
  ifd_tensor *out;
  TRY(ifd_eval_out(x, &out, 0, in->dtype, &shape));
  ALLOC(x->err, y, ifd_new_array(x->scratch, int64_t, ifd_shape_count(&shape)));
  ifd_shape_broadcast_strides(&kept, &in->shape, strides);
  compute c = choose(r, in->dtype);
  start_all(r, c, in->dtype, y, ifd_shape_count(&shape));
  accumulate(r, c, in, strides, y);
  finish(r, c, out, y, n_reduced);
  return IFD_OK;
}

static ifd_status eval_attr(ifd_eval *x, const reduction *r) {
  axes a;
  TRY(axes_attr(x->err, x->node, ifd_eval_in(x, 0)->shape.rank, &a));
  return reduce(x, r, &a);
}

static ifd_status eval_input(ifd_eval *x, const reduction *r) {
  const int64_t *list = NULL;
  int64_t n = 0;
  axes a;
  if (ifd_eval_has(x, 1)) TRY(ifd_eval_ints(x, &list, &n, 1));
  TRY(read_axes(x->err, x->node, list, n, ifd_eval_in(x, 0)->shape.rank, &a));
  return reduce(x, r, &a);
}

#define EVAL(name, since_, kernel, fold_, ...)                                                               \
  static const reduction name = {__VA_ARGS__};                                                               \
  static ifd_status eval_##name##_1(ifd_eval *x) { return eval_attr(x, &name); }                             \
  static ifd_status eval_##name(ifd_eval *x) { return eval_input(x, &name); }
REDUCTIONS(EVAL)

/* ---- on kernels ---- */

/* One run of adjoining axes reduced: [outer, n, inner] to [outer, inner]. */
typedef struct stage {
  const struct ifd_k_reduce_table *kernels;
  ifd_reduce op;
  ifd_reduce_plain *plain; /* NULL: FLOAT */
  size_t size;             /* of an element */
  int64_t n, inner;
  int64_t from, to; /* bytes into the work's shared memory; -1: the node's own input, output */
  ifd_rows results;
} stage;

static void run_stage(const void *params, const ifd_args *args, int task) {
  const stage *s = params;
  const char *in = s->from < 0 ? args->in[0] : (const char *)args->shared + s->from;
  char *out = s->to < 0 ? args->out[0] : (char *)args->shared + s->to;
  int64_t from, to;
  ifd_rows_of(&s->results, task, &from, &to);
  if (s->inner == 1) {
    const char *x = in + (size_t)(from * s->n) * s->size;
    char *y = out + (size_t)from * s->size;
    if (s->plain)
      s->plain(x, (size_t)s->n, (size_t)s->n, (size_t)(to - from), y);
    else
      s->kernels->rows(s->op, (const float *)x, (size_t)s->n, (size_t)(to - from), (size_t)s->n, (float *)y);
    return;
  }
  for (int64_t columns, at; from < to; from += columns) {
    columns = ifd_columns_of(from, to, s->n, s->inner, &at);
    const char *x = in + (size_t)at * s->size;
    char *y = out + (size_t)from * s->size;
    if (s->plain)
      s->plain(x, (size_t)s->inner, (size_t)s->n, (size_t)columns, y);
    else
      s->kernels->columns(s->op, (const float *)x, (size_t)s->inner, (size_t)s->n, (size_t)columns,
                          (float *)y);
  }
}

/* What a reduction over axes that do not adjoin goes on with after its first run of axes. */
static const ifd_reduce continued[IFD_N_REDUCE] = {
    [IFD_REDUCE_Sum] = IFD_REDUCE_Sum,       [IFD_REDUCE_Mean] = IFD_REDUCE_Mean,
    [IFD_REDUCE_Max] = IFD_REDUCE_Max,       [IFD_REDUCE_Min] = IFD_REDUCE_Min,
    [IFD_REDUCE_Prod] = IFD_REDUCE_Prod,     [IFD_REDUCE_SumSquare] = IFD_REDUCE_Sum,
    [IFD_REDUCE_L1] = IFD_REDUCE_Sum,        [IFD_REDUCE_L2] = IFD_REDUCE_L2,
    [IFD_REDUCE_LogSum] = IFD_REDUCE_LogSum, [IFD_REDUCE_LogSumExp] = IFD_REDUCE_LogSumExp,
};

/* The shape as runs of dimensions that are all kept or all reduced. */
typedef struct runs {
  int n;
  int64_t size[IFD_MAX_RANK + 1];
  bool reduced[IFD_MAX_RANK + 1];
} runs;

static runs runs_of(const ifd_shape *s, const axes *a) {
  runs r = {0};
  for (int d = 0; d < s->rank; d++) {
    if (s->dim[d] == 1) continue;
    if (r.n == 0 || r.reduced[r.n - 1] != a->reduced[d]) {
      r.size[r.n] = 1;
      r.reduced[r.n++] = a->reduced[d];
    }
    r.size[r.n - 1] *= s->dim[d];
  }
  return r;
}

/* The last reduced run, or none: then every element is reduced alone. */
static stage take_stage(runs *r) {
  stage s = {.n = 1, .inner = 1};
  int64_t outer = 1;
  int k = r->n - 1;
  while (k >= 0 && !r->reduced[k]) s.inner *= r->size[k--];
  for (int i = 0; i < k; i++) outer *= r->size[i];
  if (k >= 0) {
    s.n = r->size[k];
    r->size[k] = s.inner;
    r->reduced[k] = false;
    r->n = k + 1;
  } else {
    outer = s.inner;
    s.inner = 1;
    r->n = 0;
  }
  s.results.n = outer * s.inner;
  return s;
}

static bool has_reduced(const runs *r) {
  for (int k = 0; k < r->n; k++)
    if (r->reduced[k]) return true;
  return false;
}

static ifd_status lower_stages(ifd_lower *x, ifd_reduce op, const axes *a) {
  const ifd_tensor *in = x->in[0];
  const struct ifd_k_reduce_table *kernels = ifd_k_reduce(x->isa);
  runs r = runs_of(&in->shape, a);
  int64_t from = -1;
  if (in->dtype != IFD_FLOAT && !kernels->plain(op, in->dtype, false)) return IFD_OK;
  if (ifd_tensor_count(in) == 0 || in->splat) return IFD_OK;
  do {
    stage s = take_stage(&r);
    bool last = !has_reduced(&r);
    /* A truncated mean of means is not the mean; LogSum of LogSums is not LogSum. */
    if (!last &&
        ((op == IFD_REDUCE_Mean && in->dtype != IFD_FLOAT) || x->work->n_launches == IFD_MAX_LAUNCHES)) {
      x->work->n_launches = 0;
      return IFD_OK;
    }
    s.kernels = kernels;
    s.op = !last && op == IFD_REDUCE_LogSum ? IFD_REDUCE_Sum : op;
    s.plain = in->dtype == IFD_FLOAT ? NULL : kernels->plain(s.op, in->dtype, s.inner > 1);
    s.size = ifd_dtype_size(in->dtype);
    s.from = from;
    s.to = last ? -1 : (int64_t)x->work->shared;
    s.results = ifd_columns_split(s.results.n, s.inner, (double)s.n * (op == IFD_REDUCE_LogSumExp ? 8 : 1));
    if (!last) x->work->shared += (size_t)s.results.n * s.size;
    TRY(ifd_lower_rows(x, run_stage, &s, sizeof s, &s.results));
    from = s.to;
    op = continued[op];
  } while (from >= 0);
  x->work->algorithm = "reduce";
  return IFD_OK;
}

static ifd_status lower_attr(ifd_lower *x, ifd_reduce op) {
  axes a;
  TRY(axes_attr(x->err, x->node, x->in[0]->shape.rank, &a));
  return lower_stages(x, op, &a);
}

static ifd_status lower_input(ifd_lower *x, ifd_reduce op) {
  int64_t list[IFD_MAX_RANK], n = 0;
  axes a;
  if (x->node->n_inputs > 1 && x->in[1]) {
    n = ifd_tensor_count(x->in[1]);
    if (n > IFD_MAX_RANK || (n && !x->in[1]->data)) return IFD_OK;
    for (int64_t i = 0; i < n; i++) list[i] = ifd_tensor_get_i64(x->in[1], i);
  }
  TRY(read_axes(x->err, x->node, list, n, x->in[0]->shape.rank, &a));
  return lower_stages(x, op, &a);
}

#define LOWER(name, since_, kernel, fold_, ...)                                                              \
  static ifd_status lower_##name##_1(ifd_lower *x) { return lower_attr(x, kernel); }                         \
  static ifd_status lower_##name(ifd_lower *x) { return lower_input(x, kernel); }
REDUCTIONS(LOWER)

/* ---- inference ---- */

static ifd_status infer_shape(ifd_infer *x, const axes *a) {
  int rank = 0;
  ifd_dim d[IFD_MAX_RANK];
  bool keep = ifd_attr_int(x->node, "keepdims");
  for (int i = 0; i < ifd_infer_rank(x, 0); i++)
    if (!a->reduced[i] || keep) d[rank++] = a->reduced[i] ? 1 : ifd_infer_dim(x, 0, i);
  return ifd_infer_tensor(x, 0, ifd_infer_dtype(x, 0), rank, d);
}

static ifd_status infer_attr(ifd_infer *x) {
  int rank = ifd_infer_rank(x, 0);
  axes a;
  if (rank < 0 || rank > IFD_MAX_RANK) return ifd_infer_unranked(x, 0, ifd_infer_dtype(x, 0));
  TRY(axes_attr(x->err, x->node, rank, &a));
  return infer_shape(x, &a);
}

/* The axes are not known, at most how many they are. */
static ifd_status infer_unknown_axes(ifd_infer *x, int rank) {
  ifd_dtype dtype = ifd_infer_dtype(x, 0);
  ifd_dim d[IFD_MAX_RANK];
  bool counted = ifd_infer_rank(x, 1) == 1 && ifd_dim_is_number(ifd_infer_dim(x, 1, 0));
  ifd_dim n = counted ? ifd_infer_dim(x, 1, 0) : 0;
  if (!ifd_attr_int(x->node, "keepdims")) {
    if (n == 0 || n > rank) return ifd_infer_unranked(x, 0, dtype);
    rank -= (int)n;
  }
  for (int i = 0; i < rank; i++) d[i] = ifd_dim_unknown(x->dims);
  return ifd_infer_tensor(x, 0, dtype, rank, d);
}

static ifd_status infer_input(ifd_infer *x) {
  int rank = ifd_infer_rank(x, 0);
  axes a;
  if (rank < 0 || rank > IFD_MAX_RANK) return ifd_infer_unranked(x, 0, ifd_infer_dtype(x, 0));
  const ifd_elements *e = ifd_elements_find(x, 1);
  bool known = !ifd_node_has_input(x->node, 1) || e;
  for (int i = 0; e && i < e->n; i++) known = known && ifd_dim_is_number(e->d[i]);
  if (!known) return infer_unknown_axes(x, rank);
  TRY(read_axes(x->err, x->node, e ? e->d : NULL, e ? e->n : 0, rank, &a));
  return infer_shape(x, &a);
}

/* A product, sum, greatest or least of the elements of a shape is shape arithmetic too. */
typedef ifd_dim (*fold)(ifd_dims *dims, ifd_dim a, ifd_dim b);

static ifd_status fold_elements(ifd_infer *x, fold f) {
  const ifd_elements *e = ifd_elements_find(x, 0);
  const ifd_type *out = x->out[0];
  bool whole = out && out->has_rank && (out->rank == 0 || (out->rank == 1 && out->dims[0] == 1));
  if (!f || !e || e->n == 0 || e->rank != 1 || !whole) return IFD_OK;
  ifd_dim y = e->d[0];
  for (int i = 1; i < e->n; i++) y = f(x->dims, y, e->d[i]);
  return ifd_infer_elements(x, 0, out->rank, 1, &y);
}

#define INFER(name, since_, kernel, fold_, ...)                                                              \
  static ifd_status infer_##name##_1(ifd_infer *x) {                                                         \
    TRY(infer_attr(x));                                                                                      \
    return fold_elements(x, fold_);                                                                          \
  }                                                                                                          \
  static ifd_status infer_##name(ifd_infer *x) {                                                             \
    TRY(infer_input(x));                                                                                     \
    return fold_elements(x, fold_);                                                                          \
  }
REDUCTIONS(INFER)

static const char *batch_axes(const ifd_batch *b) { return ifd_batch_axes_are_inner(b, 1) ? "pw" : NULL; }

#define ROWS(name_, since_, kernel, fold_, ...)                                                              \
  {.name = #name_,                                                                                           \
   .since = 1,                                                                                               \
   .infer = infer_##name_##_1,                                                                               \
   .eval = eval_##name_##_1,                                                                                 \
   .lower = lower_##name_##_1,                                                                               \
   .batch = batch_axes},                                                                                     \
      {.name = #name_,                                                                                       \
       .since = since_,                                                                                      \
       .infer = infer_##name_,                                                                               \
       .eval = eval_##name_,                                                                                 \
       .lower = lower_##name_,                                                                               \
       .batch = batch_axes},
const ifd_op ifd_ops_reduce[] = {REDUCTIONS(ROWS){0}};
