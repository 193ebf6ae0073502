/* Unique, NonZero, OneHot: elements found by their values, and the way back from indices. */
#include "kernels/eltwise/eltwise.h"
#include "kernels/kernels.h"
#include "ops/shared/elements.h"
#include "ops/shared/order.h"
#include "ops/shared/places.h"
#include "tensor/convert.h"
#include <math.h>
#include <string.h>

/* ---- Unique ---- */

/* The slices of a tensor along one axis, compared element by element. */
typedef struct slices {
  const int64_t *keys;
  int64_t n, outer, inner;
} slices;

static int compare_slices(const void *context, int64_t a, int64_t b) {
  const slices *s = context;
  for (int64_t o = 0; o < s->outer; o++) {
    const int64_t *row = s->keys + o * s->n * s->inner;
    for (int64_t i = 0; i < s->inner; i++) {
      int64_t ka = row[a * s->inner + i], kb = row[b * s->inner + i];
      if (ka != kb) return ka < kb ? -1 : 1;
    }
  }
  return 0;
}

static int compare_first(const void *context, int64_t a, int64_t b) {
  const int64_t *first = context;
  return (first[a] > first[b]) - (first[a] < first[b]);
}

/* Groups of equal slices, in the order of the output. */
typedef struct groups {
  int64_t n;
  int64_t *first, *count; /* by group */
  int64_t *group;         /* by slice */
} groups;

static ifd_status find_groups(ifd_eval *x, groups *g, const slices *s) {
  int64_t *order;
  ALLOC(x->err, order, ifd_new_array(x->scratch, int64_t, s->n));
  ALLOC(x->err, g->first, ifd_new_array(x->scratch, int64_t, s->n));
  ALLOC(x->err, g->count, ifd_new_array(x->scratch, int64_t, s->n));
  ALLOC(x->err, g->group, ifd_new_array(x->scratch, int64_t, s->n));
  for (int64_t i = 0; i < s->n; i++) order[i] = i;
  TRY(ifd_order_sort(x->err, order, s->n, x->scratch, compare_slices, s));
  g->n = 0;
  for (int64_t i = 0; i < s->n; i++) {
    if (i == 0 || compare_slices(s, order[i - 1], order[i]))
      g->first[g->n++] = order[i]; /* sorting was stable */
    g->count[g->n - 1]++;
    g->group[order[i]] = g->n - 1;
  }
  return IFD_OK;
}

/* Groups in the order in which their first slices come. */
static ifd_status order_by_first(ifd_eval *x, groups *g, int64_t n_slices) {
  int64_t *order, *new_group, *first, *count;
  ALLOC(x->err, order, ifd_new_array(x->scratch, int64_t, g->n));
  ALLOC(x->err, new_group, ifd_new_array(x->scratch, int64_t, g->n));
  ALLOC(x->err, first, ifd_new_array(x->scratch, int64_t, g->n));
  ALLOC(x->err, count, ifd_new_array(x->scratch, int64_t, g->n));
  for (int64_t i = 0; i < g->n; i++) order[i] = i;
  TRY(ifd_order_sort(x->err, order, g->n, x->scratch, compare_first, g->first));
  for (int64_t i = 0; i < g->n; i++) {
    new_group[order[i]] = i;
    first[i] = g->first[order[i]];
    count[i] = g->count[order[i]];
  }
  for (int64_t i = 0; i < n_slices; i++) g->group[i] = new_group[g->group[i]];
  g->first = first, g->count = count;
  return IFD_OK;
}

static ifd_status give_list(ifd_eval *x, int i, const int64_t *list, int64_t n) {
  ifd_tensor *out;
  if (!ifd_eval_wants(x, i)) return IFD_OK;
  TRY(ifd_move_out(x, &out, i, IFD_INT64, &(ifd_shape){1, {n}}));
  memcpy(out->data, list, (size_t)n * sizeof *list);
  return IFD_OK;
}

static ifd_status eval_Unique(ifd_eval *x) {
  const ifd_tensor *in = ifd_eval_in(x, 0);
  ifd_shape whole = in->shape, shape;
  ifd_tensor *out;
  int64_t *keys;
  groups g;
  int axis = 0;
  if (ifd_node_find_attr(x->node, "axis"))
    TRY(ifd_axis(x->err, &axis, ifd_node_int(x->node, "axis", 0), whole.rank));
  else
    whole = (ifd_shape){1, {ifd_shape_count(&whole)}};
  TRY(ifd_order_keys(x->err, &keys, x->scratch, in));
  const slices s = {keys, whole.dim[axis], ifd_shape_span(&whole, 0, axis),
                    ifd_shape_span(&whole, axis + 1, whole.rank)};
  TRY(find_groups(x, &g, &s));
  if (!ifd_node_int(x->node, "sorted", 1)) TRY(order_by_first(x, &g, s.n));
  shape = whole;
  shape.dim[axis] = g.n;
  TRY(ifd_move_out(x, &out, 0, in->dtype, &shape));
  size_t block = (size_t)s.inner * ifd_dtype_size(in->dtype);
  for (int64_t o = 0; o < s.outer; o++)
    ifd_gather_blocks((char *)out->data + (size_t)(o * g.n) * block,
                      (const char *)in->data + (size_t)(o * s.n) * block, g.first, g.n, block);
  TRY(give_list(x, 1, g.first, g.n));
  TRY(give_list(x, 2, g.group, s.n));
  return give_list(x, 3, g.count, g.n);
}

static ifd_status infer_Unique(ifd_infer *x) {
  int rank = ifd_known_rank(x, 0), axis;
  bool flat = !ifd_node_find_attr(x->node, "axis");
  ifd_dim dims[IFD_MAX_RANK], n = ifd_dim_unknown(x->dims), all = 1;
  TRY(ifd_infer_tensor(x, 1, IFD_INT64, 1, &n));
  TRY(ifd_infer_tensor(x, 3, IFD_INT64, 1, &n));
  for (int i = 0; i < rank; i++) all = ifd_dim_mul(x->dims, all, dims[i] = ifd_infer_dim(x, 0, i));
  if (rank < 0) all = ifd_dim_unknown(x->dims);
  if (flat) {
    TRY(ifd_infer_tensor(x, 2, IFD_INT64, 1, &all));
    return ifd_infer_tensor(x, 0, ifd_infer_dtype(x, 0), 1, &n);
  }
  if (rank < 0) {
    TRY(ifd_infer_tensor(x, 2, IFD_INT64, 1, &all));
    return ifd_infer_unranked(x, 0, ifd_infer_dtype(x, 0));
  }
  TRY(ifd_axis(x->err, &axis, ifd_node_int(x->node, "axis", 0), rank));
  TRY(ifd_infer_tensor(x, 2, IFD_INT64, 1, &dims[axis]));
  dims[axis] = n;
  return ifd_infer_tensor(x, 0, ifd_infer_dtype(x, 0), rank, dims);
}

/* ---- NonZero ---- */

/* Whether the element at p is not zero, or, a string, not empty. */
static bool is_nonzero(ifd_dtype dtype, const char *p) {
  double part[2] = {0};
  if (dtype == IFD_STRING) return ((const ifd_str *)p)->len != 0;
  if (dtype == IFD_COMPLEX64)
    ifd_load_f64(IFD_FLOAT, p, part, 2);
  else
    ifd_load_f64(dtype == IFD_COMPLEX128 ? IFD_DOUBLE : dtype, p, part, dtype == IFD_COMPLEX128 ? 2 : 1);
  return part[0] != 0 || part[1] != 0;
}

/* A byte for each of n elements, 1 where it is not zero, and eight more. */
static ifd_status find_nonzero(ifd_eval *x, const ifd_tensor *t, int64_t n, uint8_t **out) {
  ifd_dtype from = t->dtype == IFD_BOOL ? IFD_UINT8 : t->dtype;
  ifd_el_cast_row *cast = ifd_k_eltwise(x->isa)->cast(IFD_BOOL, from);
  ALLOC(x->err, *out, ifd_arena_alloc(x->scratch, (size_t)n + sizeof(uint64_t)));
  if (cast)
    cast(t->data, *out, (size_t)n);
  else
    for (int64_t i = 0; i < n; i++)
      (*out)[i] = is_nonzero(t->dtype, (const char *)t->data + (size_t)i * ifd_dtype_size(t->dtype));
  memset(*out + n, 0, sizeof(uint64_t));
  return IFD_OK;
}

/* The places of all n bytes that are 1. */
static void list_nonzero(const uint8_t *nonzero, int64_t n, int64_t *at) {
  uint64_t eight;
  for (int64_t i = 0, found = 0; found < n;) {
    memcpy(&eight, nonzero + i, sizeof eight);
    if (!eight) {
      i += 8;
      continue;
    }
    for (int64_t end = i + 8; i < end && found < n; i++) {
      at[found] = i;
      found += nonzero[i];
    }
  }
}

static ifd_status eval_NonZero(ifd_eval *x) {
  const ifd_tensor *in = ifd_eval_in(x, 0);
  const ifd_shape *s = &in->shape;
  ifd_tensor *out;
  uint8_t *nonzero;
  int64_t n = 0, all = ifd_tensor_count(in);
  TRY(find_nonzero(x, in, all, &nonzero));
  for (int64_t i = 0; i < all; i++) n += nonzero[i];
  TRY(ifd_move_out(x, &out, 0, IFD_INT64, &(ifd_shape){2, {s->rank, n}}));
  if (s->rank == 0) return IFD_OK;
  int64_t *first =
      out->data; /* row 0 holds what is left of the places as rows are taken off from the last on */
  list_nonzero(nonzero, n, first);
  for (int d = s->rank - 1; d > 0; d--) {
    int64_t *row = first + d * n, dim = s->dim[d];
    for (int64_t i = 0; i < n; i++) {
      int64_t rest = first[i] / dim;
      row[i] = first[i] - rest * dim;
      first[i] = rest;
    }
  }
  return IFD_OK;
}

static ifd_status infer_NonZero(ifd_infer *x) {
  int rank = ifd_known_rank(x, 0);
  ifd_dim n = ifd_dim_unknown(x->dims);
  return ifd_infer_tensor(x, 0, IFD_INT64, 2, (ifd_dim[]){rank < 0 ? ifd_dim_unknown(x->dims) : rank, n});
}

/* ---- OneHot ---- */

static ifd_status eval_one_hot(ifd_eval *x, bool from_end) {
  const ifd_tensor *values = ifd_eval_in(x, 2);
  ifd_shape shape = ifd_eval_in(x, 0)->shape;
  const int64_t *indices, *depth;
  int64_t n, n_depth;
  int axis;
  ifd_tensor *out;
  TRY(ifd_eval_ints(x, &indices, &n, 0));
  TRY(ifd_eval_ints(x, &depth, &n_depth, 1));
  EXPECT(x->err, n_depth == 1 && *depth >= 0, BAD_INPUT, "depth is %lld elements, the first %lld",
         (long long)n_depth, n_depth ? (long long)*depth : 0);
  EXPECT(x->err, ifd_tensor_count(values) == 2, BAD_INPUT, "values has %lld elements, not two",
         (long long)ifd_tensor_count(values));
  EXPECT(x->err, shape.rank < IFD_MAX_RANK, UNSUPPORTED, "at most %d dimensions are supported", IFD_MAX_RANK);
  TRY(ifd_axis(x->err, &axis, ifd_node_int(x->node, "axis", -1), shape.rank + 1));
  memmove(&shape.dim[axis + 1], &shape.dim[axis], (size_t)(shape.rank - axis) * sizeof *shape.dim);
  shape.dim[axis] = *depth;
  shape.rank++;
  TRY(ifd_move_out(x, &out, 0, values->dtype, &shape));
  ifd_fill(out, values->data);
  size_t size = ifd_dtype_size(values->dtype);
  const char *on = (const char *)values->data + size;
  int64_t inner = ifd_shape_span(&shape, axis + 1, shape.rank);
  for (int64_t i = 0; i < n; i++) {
    int64_t at = indices[i];
    if (from_end && at < 0 && at >= -*depth) at += *depth;
    if (at < 0 || at >= *depth) continue;
    int64_t place = (i / inner * *depth + at) * inner + i % inner;
    memcpy((char *)out->data + (size_t)place * size, on, size);
  }
  return IFD_OK;
}

static ifd_status eval_OneHot_9(ifd_eval *x) { return eval_one_hot(x, false); }
static ifd_status eval_OneHot_11(ifd_eval *x) { return eval_one_hot(x, true); }

/* The depth, which may be of any number type. */
static ifd_dim infer_depth(ifd_infer *x) {
  const ifd_elements *e = ifd_elements_find(x, 1);
  const ifd_tensor *t = x->constant[1];
  if (e && e->n == 1) return e->d[0];
  double depth = t && t->data && ifd_tensor_count(t) == 1 ? ifd_tensor_get_f64(t, 0) : -1;
  return depth >= 0 && depth < 0x1p31 ? (ifd_dim)depth : ifd_dim_unknown(x->dims);
}

static ifd_status infer_OneHot(ifd_infer *x) {
  int rank = ifd_known_rank(x, 0), axis;
  ifd_dim dims[IFD_MAX_RANK + 1];
  if (rank < 0) return ifd_infer_unranked(x, 0, ifd_infer_dtype(x, 2));
  TRY(ifd_axis(x->err, &axis, ifd_node_int(x->node, "axis", -1), rank + 1));
  for (int i = 0, from = 0; i <= rank; i++)
    if (i != axis)
      dims[i] = ifd_infer_dim(x, 0, from++);
    else
      dims[i] = infer_depth(x);
  return ifd_infer_tensor(x, 0, ifd_infer_dtype(x, 2), rank + 1, dims);
}

#define ROW(name_, since_, infer_, eval_)                                                                    \
  { .name = #name_, .since = since_, .infer = infer_, .eval = eval_ }
const ifd_op ifd_ops_select[] = {ROW(Unique, 11, infer_Unique, eval_Unique),
                                 ROW(NonZero, 9, infer_NonZero, eval_NonZero),
                                 ROW(OneHot, 9, infer_OneHot, eval_OneHot_9),
                                 ROW(OneHot, 11, infer_OneHot, eval_OneHot_11),
                                 {0}};
