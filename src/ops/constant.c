/* Tensors from attributes and from shapes: Constant, ConstantOfShape, Range, EyeLike, Shape, Size, and
 * Identity. */
#include <math.h>
#include <string.h>

#include "ops/shared/elementwise.h"
#include "ops/shared/elements.h"
#include "ops/shared/eltwise_work.h"
#include "ops/shared/operand.h"
#include "tensor/convert.h"

/* ---- Constant ---- */

/* The tensor that an attribute of the node stands for, borrowing its data. */
static ifd_status constant_of(ifd_error *err, const ifd_node *node, ifd_tensor *out) {
  for (int k = 0; k < node->n_attrs; k++) {
    const ifd_attr *a = &node->attrs[k];
    ifd_shape list = {1, {a->n}};
    if (strncmp(a->name, "value", 5) != 0 && strcmp(a->name, "sparse_value") != 0) continue;
    switch (a->type) {
    case IFD_ATTR_TENSOR:
    case IFD_ATTR_SPARSE_TENSOR: *out = *a->tensor; return IFD_OK;
    case IFD_ATTR_FLOAT: *out = (ifd_tensor){.dtype = IFD_FLOAT, .data = (void *)&a->f}; return IFD_OK;
    case IFD_ATTR_INT: *out = (ifd_tensor){.dtype = IFD_INT64, .data = (void *)&a->i}; return IFD_OK;
    case IFD_ATTR_STRING: *out = (ifd_tensor){.dtype = IFD_STRING, .data = (void *)&a->s}; return IFD_OK;
    case IFD_ATTR_FLOATS:
      *out = (ifd_tensor){.dtype = IFD_FLOAT, .shape = list, .data = (void *)a->floats};
      return IFD_OK;
    case IFD_ATTR_INTS:
      *out = (ifd_tensor){.dtype = IFD_INT64, .shape = list, .data = (void *)a->ints};
      return IFD_OK;
    case IFD_ATTR_STRINGS:
      *out = (ifd_tensor){.dtype = IFD_STRING, .shape = list, .data = (void *)a->strings};
      return IFD_OK;
    default: break;
    }
  }
  FAIL(err, BAD_MODEL, "no attribute gives the value");
}

static ifd_status eval_Constant(ifd_eval *x) {
  ifd_tensor t;
  TRY(constant_of(x->err, x->node, &t));
  return ifd_eval_constant(x, 0, &t);
}

static bool is_small_integer(const ifd_tensor *t) {
  return t->shape.rank <= 1 && ifd_tensor_count(t) <= IFD_MAX_ELEMENTS &&
         (ifd_dtype_is_integer(t->dtype) || t->dtype == IFD_BOOL);
}

static ifd_status infer_Constant(ifd_infer *x) {
  ifd_tensor t;
  ifd_dim d[IFD_MAX_ELEMENTS];
  TRY(constant_of(x->err, x->node, &t));
  TRY(ifd_infer_tensor(x, 0, t.dtype, t.shape.rank, t.shape.dim));
  if (!is_small_integer(&t)) return IFD_OK;
  int n = (int)ifd_tensor_count(&t);
  for (int i = 0; i < n; i++) {
    d[i] = ifd_tensor_get_i64(&t, i);
    if (!ifd_dim_is_number(d[i])) return IFD_OK;
  }
  return ifd_infer_elements(x, 0, t.shape.rank, n, d);
}

/* ---- ConstantOfShape ---- */

/* The value of every element: attribute `value`, or 0.0f. */
static ifd_status value_of(ifd_error *err, const ifd_node *node, ifd_tensor *out) {
  static const float zero;
  const ifd_tensor *t = ifd_node_tensor(node, "value");
  *out = t ? *t : (ifd_tensor){.dtype = IFD_FLOAT, .data = (void *)&zero};
  EXPECT(err, ifd_tensor_count(out) == 1, BAD_MODEL, "attribute value is not one element");
  return IFD_OK;
}

static ifd_status shape_from_input(ifd_eval *x, ifd_shape *out) {
  const int64_t *dims;
  int64_t n;
  TRY(ifd_eval_ints(x, &dims, &n, 0));
  EXPECT(x->err, n <= IFD_MAX_RANK, UNSUPPORTED, "a shape of %lld dimensions; at most %d are supported",
         (long long)n, IFD_MAX_RANK);
  out->rank = (int)n;
  for (int i = 0; i < n; i++) out->dim[i] = dims[i];
  return ifd_shape_check(x->err, out, 1);
}

static ifd_status eval_ConstantOfShape(ifd_eval *x) {
  ifd_tensor value;
  TRY(value_of(x->err, x->node, &value));
  TRY(shape_from_input(x, &value.shape));
  value.splat = true;
  return ifd_eval_constant(x, 0, &value);
}

static ifd_status infer_ConstantOfShape(ifd_infer *x) {
  ifd_tensor value;
  ifd_dim d[IFD_MAX_ELEMENTS];
  TRY(value_of(x->err, x->node, &value));
  const ifd_elements *e = ifd_elements_find(x, 0);
  if (!e) {
    int rank = -1;
    if (ifd_infer_rank(x, 0) == 1 && ifd_dim_is_number(ifd_infer_dim(x, 0, 0)))
      rank = (int)ifd_min_i64(ifd_infer_dim(x, 0, 0), IFD_MAX_RANK + 1);
    if (rank < 0 || rank > IFD_MAX_RANK) return ifd_infer_unranked(x, 0, value.dtype);
    for (int i = 0; i < rank; i++) d[i] = ifd_dim_unknown(x->dims);
    return ifd_infer_tensor(x, 0, value.dtype, rank, d);
  }
  TRY(ifd_infer_tensor(x, 0, value.dtype, e->n, e->d));
  value.shape = (ifd_shape){.rank = e->n};
  if (e->n == 1) value.shape.dim[0] = ifd_dim_is_number(e->d[0]) ? e->d[0] : IFD_MAX_ELEMENTS + 1;
  if (e->n > 1 || !is_small_integer(&value)) return IFD_OK;
  value.splat = true;
  int n = (int)ifd_tensor_count(&value);
  for (int i = 0; i < n; i++) d[i] = ifd_tensor_get_i64(&value, 0);
  return n && !ifd_dim_is_number(d[0]) ? IFD_OK : ifd_infer_elements(x, 0, e->n, n, d);
}

/* ---- Range ---- */

/* max(ceil((limit - start) / delta), 0) in exact arithmetic. */
static ifd_status count_integers(ifd_error *err, int64_t start, int64_t limit, int64_t delta, int64_t *out) {
  EXPECT(err, delta != 0, BAD_INPUT, "delta is 0");
  __int128 distance = (__int128)limit - start, step = delta;
  if (step < 0) distance = -distance, step = -step;
  __int128 n = distance <= 0 ? 0 : (distance + step - 1) / step;
  EXPECT(err, n <= INT64_MAX, LIMIT, "a range of more than 2^63 elements");
  *out = (int64_t)n;
  return IFD_OK;
}

static ifd_status count_floats(ifd_error *err, double start, double limit, double delta, int64_t *out) {
  EXPECT(err, delta != 0 && isfinite(start) && isfinite(limit) && !isnan(delta), BAD_INPUT,
         "no range goes from %g to %g by %g", start, limit, delta);
  double n = ceil((limit - start) / delta);
  EXPECT(err, n < 0x1p62, LIMIT, "a range of more than 2^62 elements");
  *out = n > 0 ? (int64_t)n : 0;
  return IFD_OK;
}

enum { CHUNK = 256 }; /* elements stored at a time */

#define COUNT_UP(t)                                                                                          \
  static void count_up_##t(t *y, t next, t step, int64_t n) {                                                \
    for (int64_t i = 0; i < n; i++, next += step) y[i] = next;                                               \
  }
COUNT_UP(uint16_t)
COUNT_UP(uint32_t)
COUNT_UP(uint64_t)

static ifd_status range_of_integers(ifd_eval *x, ifd_dtype dtype) {
  ifd_shape shape = {.rank = 1};
  ifd_tensor *out;
  int64_t v[3];
  for (int k = 0; k < 3; k++) v[k] = ifd_tensor_get_i64(ifd_eval_in(x, k), 0);
  TRY(count_integers(x->err, v[0], v[1], v[2], &shape.dim[0]));
  TRY(ifd_eval_out(x, &out, 0, dtype, &shape));
  const uint64_t start = (uint64_t)v[0], step = (uint64_t)v[2];
  switch (ifd_dtype_size(dtype)) {
  case 2: count_up_uint16_t(out->data, (uint16_t)start, (uint16_t)step, shape.dim[0]); break;
  case 4: count_up_uint32_t(out->data, (uint32_t)start, (uint32_t)step, shape.dim[0]); break;
  default: count_up_uint64_t(out->data, start, step, shape.dim[0]);
  }
  return IFD_OK;
}

/* float16 and bfloat16 stand for a float sequence (stash_type 1), or a double one, rounded at the end. */
static ifd_status range_of_floats(ifd_eval *x, ifd_dtype dtype) {
  ifd_shape shape = {.rank = 1};
  ifd_tensor *out;
  double v[3];
  bool narrow = ifd_dtype_is_half(dtype) && ifd_node_int(x->node, "stash_type", 1) == 1;
  for (int k = 0; k < 3; k++) v[k] = ifd_tensor_get_f64(ifd_eval_in(x, k), 0);
  TRY(count_floats(x->err, v[0], v[1], v[2], &shape.dim[0]));
  TRY(ifd_eval_out(x, &out, 0, dtype, &shape));
  char *to = out->data;
  for (int64_t i = 0; i < shape.dim[0]; i += CHUNK) {
    double chunk[CHUNK];
    int64_t n = ifd_min_i64(CHUNK, shape.dim[0] - i);
    for (int64_t k = 0; k < n; k++) {
      chunk[k] = v[0] + (double)(i + k) * v[2];
      if (narrow) chunk[k] = (float)chunk[k];
    }
    ifd_store_f64(out->dtype, to + (size_t)i * ifd_dtype_size(out->dtype), chunk, n);
  }
  return IFD_OK;
}

static ifd_status eval_Range(ifd_eval *x) {
  for (int k = 0; k < 3; k++)
    EXPECT(x->err, ifd_tensor_count(ifd_eval_in(x, k)) == 1, BAD_INPUT, "input %d is not a scalar", k);
  ifd_dtype dtype = ifd_eval_in(x, 0)->dtype;
  return ifd_dtype_is_float(dtype) ? range_of_floats(x, dtype) : range_of_integers(x, dtype);
}

static ifd_dim symbolic_count(ifd_dims *dims, const ifd_dim *v) {
  ifd_dim distance = ifd_dim_sub(dims, v[1], v[0]);
  if (!ifd_dim_known_positive(dims, v[2])) return ifd_dim_unknown(dims);
  return ifd_dim_max(dims, ifd_dim_ceil_div(dims, distance, v[2]), 0);
}

/* The count when all three are constants or shape arithmetic, else an unknown. */
static ifd_status range_count(ifd_infer *x, ifd_dim *out) {
  const ifd_elements *e[3];
  const ifd_tensor *c[3];
  bool symbols = true, constants = true, numbers = true;
  ifd_dim v[3];
  for (int k = 0; k < 3; k++) {
    e[k] = ifd_elements_find(x, k);
    c[k] = x->constant[k];
    symbols = symbols && e[k] && e[k]->n == 1;
    constants = constants && c[k] && ifd_tensor_count(c[k]) == 1;
    v[k] = e[k] && e[k]->n == 1 ? e[k]->d[0] : 0;
    numbers = numbers && ifd_dim_is_number(v[k]);
  }
  *out = ifd_dim_unknown(x->dims);
  if (symbols && numbers) return count_integers(x->err, v[0], v[1], v[2], out);
  if (symbols) *out = symbolic_count(x->dims, v);
  if (!symbols && constants && ifd_dtype_is_float(c[0]->dtype))
    return count_floats(x->err, ifd_tensor_get_f64(c[0], 0), ifd_tensor_get_f64(c[1], 0),
                        ifd_tensor_get_f64(c[2], 0), out);
  return IFD_OK;
}

static ifd_status infer_Range(ifd_infer *x) {
  ifd_dim n, d[IFD_MAX_ELEMENTS];
  TRY(range_count(x, &n));
  TRY(ifd_infer_tensor(x, 0, ifd_infer_dtype(x, 0), 1, &n));
  const ifd_elements *start = ifd_elements_find(x, 0), *delta = ifd_elements_find(x, 2);
  if (!ifd_dim_is_number(n) || n > IFD_MAX_ELEMENTS || !start || !delta) return IFD_OK;
  for (int i = 0; i < n; i++) d[i] = ifd_dim_add(x->dims, start->d[0], ifd_dim_mul(x->dims, i, delta->d[0]));
  return ifd_infer_elements(x, 0, 1, (int)n, d);
}

/* ---- EyeLike ---- */

static ifd_status eval_EyeLike(ifd_eval *x) {
  const ifd_tensor *in = ifd_eval_in(x, 0);
  ifd_dtype dtype;
  ifd_tensor *out;
  TRY(ifd_node_dtype(x->err, x->node, "dtype", in->dtype, &dtype));
  EXPECT(x->err, in->shape.rank == 2, BAD_INPUT, "input has rank %d, expected 2", in->shape.rank);
  TRY(ifd_eval_out(x, &out, 0, dtype, &in->shape));
  int64_t rows = in->shape.dim[0], columns = in->shape.dim[1], k = ifd_attr_int(x->node, "k");
  if (ifd_tensor_count(out)) memset(out->data, 0, ifd_tensor_bytes(out));
  for (int64_t i = 0; i < rows; i++)
    if (k >= -i && k < columns - i) ifd_tensor_set_i64(out, i * columns + i + k, 1);
  return IFD_OK;
}

static ifd_status infer_EyeLike(ifd_infer *x) {
  ifd_dtype dtype;
  TRY(ifd_node_dtype(x->err, x->node, "dtype", ifd_infer_dtype(x, 0), &dtype));
  return ifd_infer_same_as(x, 0, 0, dtype);
}

/* ---- Shape, Size ---- */

/* The dimensions [*from, *to) of `rank` that attributes start and end name. */
static void shape_slice(const ifd_node *node, int rank, int *from, int *to) {
  int64_t ends[] = {ifd_node_int(node, "start", 0), ifd_node_int(node, "end", rank)};
  for (int k = 0; k < 2; k++) {
    if (ends[k] < 0) ends[k] += rank;
    ends[k] = ifd_max_i64(0, ifd_min_i64(ends[k], rank));
  }
  *from = (int)ends[0];
  *to = (int)ifd_max_i64(ends[0], ends[1]);
}

static ifd_status eval_Shape(ifd_eval *x) {
  const ifd_shape *shape = &ifd_eval_in(x, 0)->shape;
  ifd_tensor *out;
  int from, to;
  shape_slice(x->node, shape->rank, &from, &to);
  TRY(ifd_eval_out(x, &out, 0, IFD_INT64, &(ifd_shape){1, {to - from}}));
  if (to > from) memcpy(out->data, shape->dim + from, (size_t)(to - from) * sizeof *shape->dim);
  return IFD_OK;
}

static ifd_status infer_Shape(ifd_infer *x) {
  int rank = ifd_infer_rank(x, 0), from, to;
  ifd_dim n = ifd_dim_unknown(x->dims);
  if (rank < 0) return ifd_infer_tensor(x, 0, IFD_INT64, 1, &n);
  shape_slice(x->node, rank, &from, &to);
  n = to - from;
  TRY(ifd_infer_tensor(x, 0, IFD_INT64, 1, &n));
  return ifd_infer_elements(x, 0, 1, to - from, x->in[0]->dims + from);
}

static ifd_status eval_Size(ifd_eval *x) {
  ifd_tensor *out;
  TRY(ifd_eval_out(x, &out, 0, IFD_INT64, &(ifd_shape){0}));
  *(int64_t *)out->data = ifd_tensor_count(ifd_eval_in(x, 0));
  return IFD_OK;
}

static ifd_status infer_Size(ifd_infer *x) {
  int rank = ifd_infer_rank(x, 0);
  ifd_dim n = 1;
  TRY(ifd_infer_tensor(x, 0, IFD_INT64, 0, NULL));
  for (int i = 0; i < rank; i++) n = ifd_dim_mul(x->dims, n, ifd_infer_dim(x, 0, i));
  return rank < 0 ? IFD_OK : ifd_infer_elements(x, 0, 0, 1, &n);
}

/* ---- Identity ---- */

static ifd_status eval_Identity(ifd_eval *x) { return ifd_eval_forward(x, 0, 0); }

static ifd_status infer_Identity(ifd_infer *x) {
  TRY(ifd_infer_like_first(x));
  return ifd_elements_forward(x, 0);
}

#define ROW(name_, since_, flags_)                                                                           \
  { .name = #name_, .since = since_, .flags = flags_, .infer = infer_##name_, .eval = eval_##name_ }
const ifd_op ifd_ops_constant[] = {ROW(Constant, 1, 0),
                                   ROW(ConstantOfShape, 9, 0),
                                   ROW(Range, 11, 0),
                                   ROW(EyeLike, 9, 0),
                                   ROW(Shape, 1, 0),
                                   ROW(Size, 1, 0),
                                   {.name = "Identity",
                                    .since = 1,
                                    .flags = IFD_OP_ELEMENTWISE | IFD_OP_VIEW,
                                    .infer = infer_Identity,
                                    .eval = eval_Identity,
                                    .lower = ifd_lower_copy},
                                   {0}};
