/* Concat, Split and their counterparts for sequences: tensors joined and cut along one axis. */
#include "ops/shared/batch.h"
#include "ops/shared/elements.h"
#include "ops/shared/mover.h"
#include "ops/shared/sequence.h"
#include <string.h>

/* ---- joining ---- */

static ifd_status expect_joinable(ifd_error *err, const ifd_tensor *a, const ifd_tensor *b, int k, int axis) {
  bool fits = a->dtype == b->dtype && a->shape.rank == b->shape.rank;
  for (int d = 0; fits && d < a->shape.rank; d++) fits = d == axis || a->shape.dim[d] == b->shape.dim[d];
  char ta[256], tb[256];
  EXPECT(err, fits, BAD_INPUT, "tensor %d, %s%s, cannot be joined to tensor 0, %s%s, along axis %d", k,
         ifd_dtype_name(b->dtype), ifd_shape_text(&b->shape, tb, sizeof tb), ifd_dtype_name(a->dtype),
         ifd_shape_text(&a->shape, ta, sizeof ta), axis);
  return IFD_OK;
}

/* The shape of n tensors (at least one) after one another along the axis. */
static ifd_status join_shapes(ifd_error *err, ifd_shape *out, const ifd_tensor *const *in, int n, int axis) {
  *out = in[0]->shape;
  for (int k = 1; k < n; k++) {
    TRY(expect_joinable(err, in[0], in[k], k, axis));
    EXPECT(err, ifd_add_i64(&out->dim[axis], out->dim[axis], in[k]->shape.dim[axis]), LIMIT,
           "the joined dimension is larger than memory can address");
  }
  return IFD_OK;
}

static ifd_status concat(ifd_mover *m) {
  const ifd_tensor **in;
  int axis, n = m->node->n_inputs;
  EXPECT(m->err, n > 0, BAD_MODEL, "no inputs");
  ALLOC(m->err, in, ifd_new_array(m->arena, const ifd_tensor *, n));
  for (int k = 0; k < n; k++) EXPECT(m->err, in[k] = ifd_mover_in(m, k), BAD_MODEL, "input %d is missing", k);
  TRY(ifd_axis(m->err, &axis, ifd_node_int(m->node, "axis", 1), in[0]->shape.rank));
  ifd_shape shape;
  ifd_view to;
  TRY(join_shapes(m->err, &shape, in, n, axis));
  TRY(ifd_mover_out(m, &to, 0, in[0]->dtype, &shape));
  for (int k = 0; k < n; k++) {
    TRY(ifd_mover_move(m, &in[k]->shape, ifd_dtype_size(in[0]->dtype), to, ifd_mover_view(m, k)));
    to = ifd_view_from(to, axis, in[k]->shape.dim[axis]);
  }
  return IFD_OK;
}
IFD_MOVES(concat, INT32_MAX)

static ifd_status eval_ConcatFromSequence(ifd_eval *x) {
  const ifd_datum *sequence;
  const ifd_tensor **in;
  bool stack = ifd_node_int(x->node, "new_axis", 0);
  int axis = 0;
  TRY(ifd_sequence_in(x, &sequence, 0));
  int n = ifd_sequence_len(sequence);
  EXPECT(x->err, n > 0, BAD_INPUT, "the sequence is empty");
  ALLOC(x->err, in, ifd_new_array(x->scratch, const ifd_tensor *, n));
  for (int k = 0; k < n; k++) {
    const ifd_datum *item = &sequence->list->items[k];
    EXPECT(x->err, item->kind == IFD_KIND_TENSOR, BAD_INPUT, "item %d is not a tensor", k);
    ifd_tensor *t;
    ALLOC(x->err, t, ifd_arena_memdup(x->scratch, &item->tensor, sizeof *t));
    ifd_shape *s = &t->shape;
    in[k] = t;
    EXPECT(x->err, s->rank + stack <= IFD_MAX_RANK, UNSUPPORTED, "at most %d dimensions are supported",
           IFD_MAX_RANK);
    if (k == 0) TRY(ifd_axis(x->err, &axis, ifd_node_int(x->node, "axis", 0), s->rank + stack));
    if (!stack || axis > s->rank) continue;
    memmove(&s->dim[axis + 1], &s->dim[axis], (size_t)(s->rank - axis) * sizeof *s->dim);
    s->dim[axis] = 1;
    s->rank++;
  }
  ifd_shape shape;
  ifd_tensor *out;
  TRY(join_shapes(x->err, &shape, in, n, axis));
  TRY(ifd_move_out(x, &out, 0, in[0]->dtype, &shape));
  ifd_view to = ifd_view_of(out);
  for (int k = 0; k < n; k++) {
    ifd_move(&in[k]->shape, ifd_dtype_size(out->dtype), to, ifd_view_of(in[k]));
    to = ifd_view_from(to, axis, in[k]->shape.dim[axis]);
  }
  return IFD_OK;
}

/* Elements of input k, unknown ones where only their number is known; n is -1 where not even that is. */
static int append_elements(ifd_infer *x, int k, ifd_dim *to, int room, bool *any) {
  const ifd_elements *e = ifd_elements_find(x, k);
  if (e) {
    if (e->rank != 1 || e->n > room) return -1;
    memcpy(to, e->d, (size_t)e->n * sizeof *to);
    *any = true;
    return e->n;
  }
  if (ifd_infer_rank(x, k) != 1 || !ifd_dim_is_number(ifd_infer_dim(x, k, 0)) ||
      ifd_infer_dim(x, k, 0) > room)
    return -1;
  int n = (int)ifd_infer_dim(x, k, 0);
  for (int i = 0; i < n; i++) to[i] = ifd_dim_unknown(x->dims);
  return n;
}

static ifd_status infer_joined_elements(ifd_infer *x) {
  ifd_dim d[IFD_MAX_ELEMENTS];
  bool any = false;
  int n = 0;
  for (int k = 0, more; k < x->node->n_inputs; k++, n += more)
    if ((more = append_elements(x, k, d + n, IFD_MAX_ELEMENTS - n, &any)) < 0) return IFD_OK;
  return any ? ifd_infer_elements(x, 0, 1, n, d) : IFD_OK;
}

/* What is known of a dimension that two tensors must agree in. */
static ifd_status meet_dim(ifd_infer *x, ifd_dim *a, ifd_dim b) {
  if (ifd_dim_is_number(*a) && ifd_dim_is_number(b))
    EXPECT(x->err, *a == b, BAD_MODEL,
           "inputs cannot be joined: a dimension is %lld in one and %lld in another", (long long)*a,
           (long long)b);
  if (!ifd_dim_is_number(*a) && (ifd_dim_is_number(b) || ifd_dim_name(x->dims, b))) *a = b;
  return IFD_OK;
}

static ifd_dtype known_dtype(const ifd_infer *x) {
  ifd_dtype dtype = IFD_UNDEFINED;
  for (int k = 0; k < x->node->n_inputs && !dtype; k++) dtype = ifd_infer_dtype(x, k);
  return dtype;
}

static ifd_status infer_Concat(ifd_infer *x) {
  int rank = -1, axis, n = x->node->n_inputs;
  ifd_dim dims[IFD_MAX_RANK], sum = 0;
  for (int k = 0; k < n && rank < 0; k++)
    if ((rank = ifd_known_rank(x, k)) > 0) memcpy(dims, x->in[k]->dims, (size_t)rank * sizeof *dims);
  if (rank < 0) return ifd_infer_unranked(x, 0, known_dtype(x));
  TRY(ifd_axis(x->err, &axis, ifd_node_int(x->node, "axis", 1), rank));
  for (int k = 0; k < n; k++) {
    int r = ifd_known_rank(x, k);
    EXPECT(x->err, r < 0 || r == rank, BAD_MODEL, "inputs of %d and %d dimensions cannot be joined", rank, r);
    for (int d = 0; d < r; d++)
      if (d != axis) TRY(meet_dim(x, &dims[d], ifd_infer_dim(x, k, d)));
    sum = ifd_dim_add(x->dims, sum, r < 0 ? ifd_dim_unknown(x->dims) : ifd_infer_dim(x, k, axis));
  }
  dims[axis] = sum;
  TRY(ifd_infer_tensor(x, 0, known_dtype(x), rank, dims));
  return rank == 1 ? infer_joined_elements(x) : IFD_OK;
}

static ifd_status infer_ConcatFromSequence(ifd_infer *x) {
  const ifd_type *item = x->in[0]->kind == IFD_KIND_SEQUENCE ? x->in[0]->elem : NULL;
  ifd_dtype dtype = item && item->kind == IFD_KIND_TENSOR ? item->dtype : IFD_UNDEFINED;
  bool stack = ifd_node_int(x->node, "new_axis", 0);
  ifd_dim dims[IFD_MAX_RANK];
  int axis;
  if (!dtype || !item->has_rank || item->rank + stack > IFD_MAX_RANK) return ifd_infer_unranked(x, 0, dtype);
  TRY(ifd_axis(x->err, &axis, ifd_node_int(x->node, "axis", 0), item->rank + stack));
  for (int i = 0, from = 0; i < item->rank + stack; i++) {
    bool added = stack && i == axis;
    dims[i] = i == axis ? ifd_dim_unknown(x->dims) : item->dims[from];
    from += !added;
  }
  return ifd_infer_tensor(x, 0, dtype, item->rank + stack, dims);
}

/* ---- cutting ---- */

/* The lengths of n parts of a dimension: as listed (n_list >= 0), or equal, the last ones smaller where
 * `uneven`. */
static ifd_status part_lengths(ifd_error *err, ifd_dims *dims, ifd_dim dim, int n, int64_t n_list,
                               const ifd_dim *list, bool uneven, ifd_dim *out) {
  if (n_list >= 0) {
    EXPECT(err, n_list == n, BAD_INPUT, "%lld lengths for %d outputs", (long long)n_list, n);
    ifd_dim sum = 0;
    for (int i = 0; i < n; i++) {
      EXPECT(err, !ifd_dim_is_number(list[i]) || list[i] >= 0, BAD_INPUT, "part %d has length %lld", i,
             (long long)list[i]);
      sum = ifd_dim_add(dims, sum, out[i] = list[i]);
    }
    EXPECT(err, !ifd_dim_is_number(sum) || !ifd_dim_is_number(dim) || sum == dim, BAD_INPUT,
           "the lengths add up to %lld, the dimension is %lld", (long long)sum, (long long)dim);
    return IFD_OK;
  }
  EXPECT(err, n > 0, BAD_MODEL, "no outputs");
  EXPECT(err, uneven || !ifd_dim_is_number(dim) || dim % n == 0, BAD_INPUT,
         "a dimension of %lld cannot be cut into %d equal parts", (long long)dim, n);
  ifd_dim each = ifd_dim_ceil_div(dims, dim, n);
  for (int i = 0; i < n; i++) {
    ifd_dim left = ifd_dim_sub(dims, dim, ifd_dim_mul(dims, each, i));
    out[i] = uneven ? ifd_dim_max(dims, 0, ifd_dim_min(dims, each, left)) : each;
  }
  return IFD_OK;
}

static ifd_status expect_num_outputs(ifd_error *err, const ifd_node *node) {
  int64_t n = ifd_node_int(node, "num_outputs", node->n_outputs);
  EXPECT(err, n == node->n_outputs, BAD_MODEL, "attribute num_outputs is %lld, but there are %d outputs",
         (long long)n, node->n_outputs);
  return IFD_OK;
}

static ifd_status infer_split(ifd_infer *x, int64_t n_list, const ifd_dim *list, bool known, bool uneven) {
  int rank = ifd_known_rank(x, 0), axis, n = x->node->n_outputs;
  ifd_dtype dtype = ifd_infer_dtype(x, 0);
  ifd_dim dims[IFD_MAX_RANK], *lengths;
  TRY(expect_num_outputs(x->err, x->node));
  if (rank < 0) {
    for (int i = 0; i < n; i++) TRY(ifd_infer_unranked(x, i, dtype));
    return IFD_OK;
  }
  TRY(ifd_axis(x->err, &axis, ifd_node_int(x->node, "axis", 0), rank));
  ALLOC(x->err, lengths, ifd_new_array(x->arena, ifd_dim, n));
  if (known) TRY(part_lengths(x->err, x->dims, ifd_infer_dim(x, 0, axis), n, n_list, list, uneven, lengths));
  const ifd_elements *e = ifd_elements_find(x, 0);
  memcpy(dims, x->in[0]->dims, (size_t)rank * sizeof *dims);
  for (int i = 0, at = 0; i < n; i++) {
    dims[axis] = known ? lengths[i] : ifd_dim_unknown(x->dims);
    TRY(ifd_infer_tensor(x, i, dtype, rank, dims));
    if (!e || e->rank != 1 || !ifd_dim_is_number(dims[0]) || dims[0] > e->n - at) {
      e = NULL;
      continue;
    }
    TRY(ifd_infer_elements(x, i, 1, (int)dims[0], e->d + at));
    at += (int)dims[0];
  }
  return IFD_OK;
}

static ifd_status infer_by_attr(ifd_infer *x) {
  const int64_t *list = NULL;
  int n = ifd_node_find_attr(x->node, "split") ? ifd_node_ints(x->node, "split", &list) : -1;
  return infer_split(x, n, list, true, false);
}

static ifd_status infer_by_input(ifd_infer *x, bool uneven) {
  if (!ifd_node_has_input(x->node, 1)) return infer_split(x, -1, NULL, true, uneven);
  const ifd_elements *e = ifd_elements_find(x, 1);
  return infer_split(x, e ? e->n : -1, e ? e->d : NULL, e, uneven);
}

static ifd_status infer_Split_1(ifd_infer *x) {
  return ifd_node_find_attr(x->node, "split") ? infer_by_attr(x) : infer_by_input(x, false);
}
static ifd_status infer_Split_2(ifd_infer *x) { return infer_by_attr(x); }
static ifd_status infer_Split_13(ifd_infer *x) { return infer_by_input(x, false); }
static ifd_status infer_Split_18(ifd_infer *x) { return infer_by_input(x, true); }

static ifd_status split(ifd_mover *m, const char *attr, bool uneven) {
  const ifd_tensor *in = ifd_mover_in(m, 0);
  const int64_t *list;
  int64_t n_list, *lengths;
  int axis;
  ifd_dims *dims;
  TRY(expect_num_outputs(m->err, m->node));
  TRY(ifd_mover_list(m, &list, &n_list, attr, 1));
  TRY(ifd_axis(m->err, &axis, ifd_node_int(m->node, "axis", 0), in->shape.rank));
  ALLOC(m->err, dims, ifd_dims_new(m->arena));
  ALLOC(m->err, lengths, ifd_new_array(m->arena, int64_t, m->n_out));
  for (int64_t i = 0, sum = 0; i < n_list; i++)
    EXPECT(m->err, list[i] >= 0 && ifd_add_i64(&sum, sum, list[i]), BAD_INPUT, "part %lld has length %lld",
           (long long)i, (long long)list[i]);
  TRY(part_lengths(m->err, dims, in->shape.dim[axis], m->n_out, n_list, list, uneven, lengths));
  ifd_view from = ifd_mover_view(m, 0), to;
  for (int i = 0; i < m->n_out; i++) {
    ifd_shape shape = in->shape;
    shape.dim[axis] = lengths[i];
    if (ifd_mover_wants(m, i)) {
      TRY(ifd_mover_out(m, &to, i, in->dtype, &shape));
      TRY(ifd_mover_move(m, &shape, ifd_dtype_size(in->dtype), to, from));
    }
    from = ifd_view_from(from, axis, lengths[i]);
  }
  return IFD_OK;
}

static ifd_status split_1(ifd_mover *m) {
  return split(m, ifd_node_find_attr(m->node, "split") ? "split" : NULL, false);
}
static ifd_status split_2(ifd_mover *m) { return split(m, "split", false); }
static ifd_status split_13(ifd_mover *m) { return split(m, NULL, false); }
static ifd_status split_18(ifd_mover *m) { return split(m, NULL, true); }
IFD_MOVES(split_1, 1)
IFD_MOVES(split_2, 1)
IFD_MOVES(split_13, 1)
IFD_MOVES(split_18, 1)

/* ---- into a sequence ---- */

/* keepdims has no meaning where the lengths are given. */
static bool drops_axis(const ifd_node *node) {
  return !ifd_node_has_input(node, 1) && !ifd_node_int(node, "keepdims", 1);
}

static void drop_dim(int64_t *dim, int *rank, int axis) {
  memmove(&dim[axis], &dim[axis + 1], (size_t)(*rank - axis - 1) * sizeof *dim);
  --*rank;
}

static ifd_status infer_SplitToSequence(ifd_infer *x) {
  int rank = ifd_known_rank(x, 0), axis;
  ifd_dtype dtype = ifd_infer_dtype(x, 0);
  const ifd_type *item;
  if (rank >= 0) {
    ifd_dim dims[IFD_MAX_RANK];
    const int64_t *list;
    memcpy(dims, x->in[0]->dims, (size_t)rank * sizeof *dims);
    TRY(ifd_axis(x->err, &axis, ifd_node_int(x->node, "axis", 0), rank));
    int n = ifd_node_has_input(x->node, 1) ? ifd_infer_numbers(x, 1, &list) : -1;
    bool divides = n == 1 && list[0] > 0 && ifd_dim_mod(x->dims, dims[axis], list[0]) == 0;
    dims[axis] = !ifd_node_has_input(x->node, 1) ? 1 : divides ? list[0] : ifd_dim_unknown(x->dims);
    if (drops_axis(x->node)) drop_dim(dims, &rank, axis);
    ALLOC(x->err, item, ifd_type_tensor(x->arena, dtype, rank, dims));
  } else {
    ALLOC(x->err, item, ifd_type_tensor_unranked(x->arena, dtype));
  }
  ALLOC(x->err, x->out[0], ifd_type_of(x->arena, IFD_KIND_SEQUENCE, item));
  return IFD_OK;
}

static ifd_status eval_SplitToSequence(ifd_eval *x) {
  const ifd_tensor *in = ifd_eval_in(x, 0);
  const int64_t *list;
  int64_t n_list;
  int axis;
  TRY(ifd_eval_list(x, &list, &n_list, NULL, 1));
  TRY(ifd_axis(x->err, &axis, ifd_node_int(x->node, "axis", 0), in->shape.rank));
  int64_t dim = in->shape.dim[axis], sum = 0;
  bool each = n_list >= 0 && ifd_eval_in(x, 1)->shape.rank == 0;
  for (int64_t i = 0; i < n_list; i++)
    EXPECT(x->err, list[i] >= each && ifd_add_i64(&sum, sum, list[i]), BAD_INPUT, "part %lld has length %lld",
           (long long)i, (long long)list[i]);
  EXPECT(x->err, n_list < 0 || each || sum == dim, BAD_INPUT,
         "the lengths add up to %lld, the dimension is %lld", (long long)sum, (long long)dim);
  int64_t longest = each ? ifd_min_i64(list[0], ifd_max_i64(dim, 1)) : 1;
  int64_t n = n_list < 0 || each ? ifd_ceil_div(dim, longest) : n_list;
  ifd_view from = ifd_view_of(in);
  TRY(ifd_sequence_out(x, 0, in->dtype, n));
  for (int64_t i = 0, left = dim; i < n; i++) {
    ifd_shape shape = in->shape;
    int64_t length = shape.dim[axis] = n_list < 0 || each ? ifd_min_i64(longest, left) : list[i];
    ifd_view part = from;
    if (drops_axis(x->node)) {
      int rank = shape.rank;
      drop_dim(part.stride, &rank, axis);
      drop_dim(shape.dim, &shape.rank, axis);
    }
    TRY(ifd_sequence_add_view(x, 0, in->dtype, &shape, part));
    from = ifd_view_from(from, axis, length);
    left -= length;
  }
  return IFD_OK;
}

/* Version 1 joins along axis 1 where none is given. */
static const char *batch_concat(const ifd_batch *b) { return ifd_batch_axis_is_inner(b, 1) ? "p" : NULL; }

#define MOVES(name_, since_, infer_, moves, batch_)                                                          \
  {                                                                                                          \
    .name = #name_, .since = since_, .infer = infer_, .eval = eval_##moves, .lower = lower_##moves,          \
    .batch = batch_                                                                                          \
  }
#define ROW(name_, since_)                                                                                   \
  { .name = #name_, .since = since_, .infer = infer_##name_, .eval = eval_##name_ }
const ifd_op ifd_ops_concat[] = {MOVES(Concat, 1, infer_Concat, concat, batch_concat),
                                 MOVES(Split, 1, infer_Split_1, split_1, ifd_batch_inner_axis),
                                 MOVES(Split, 2, infer_Split_2, split_2, ifd_batch_inner_axis),
                                 MOVES(Split, 13, infer_Split_13, split_13, ifd_batch_inner_axis),
                                 MOVES(Split, 18, infer_Split_18, split_18, ifd_batch_inner_axis),
                                 ROW(ConcatFromSequence, 11),
                                 ROW(SplitToSequence, 11),
                                 {0}};
