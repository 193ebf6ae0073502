/* Gather, GatherElements, GatherND, Compress: elements picked out by index. */
#include "kernels/kernels.h"
#include "kernels/move/move.h"
#include "ops/shared/batch.h"
#include "ops/shared/elements.h"
#include "ops/shared/mover.h"
#include "ops/shared/places.h"
#include <string.h>

/* ---- Gather ---- */

static ifd_status infer_Gather(ifd_infer *x) {
  int rank = ifd_known_rank(x, 0), q = ifd_known_rank(x, 1), axis, n = 0;
  ifd_dim dims[2 * IFD_MAX_RANK];
  if (rank < 0 || q < 0) return ifd_infer_unranked(x, 0, ifd_infer_dtype(x, 0));
  TRY(ifd_axis(x->err, &axis, ifd_node_int(x->node, "axis", 0), rank));
  for (int i = 0; i < axis; i++) dims[n++] = ifd_infer_dim(x, 0, i);
  for (int i = 0; i < q; i++) dims[n++] = ifd_infer_dim(x, 1, i);
  for (int i = axis + 1; i < rank; i++) dims[n++] = ifd_infer_dim(x, 0, i);
  TRY(ifd_infer_tensor(x, 0, ifd_infer_dtype(x, 0), n, dims));

  const ifd_elements *e = ifd_elements_find(x, 0);
  const int64_t *index;
  ifd_dim d[IFD_MAX_ELEMENTS];
  int n_index = ifd_infer_numbers(x, 1, &index);
  if (!e || e->rank != 1 || n_index < 0 || n_index > IFD_MAX_ELEMENTS) return IFD_OK;
  for (int i = 0; i < n_index; i++) {
    int64_t at;
    TRY(ifd_index(x->err, &at, index[i], e->n));
    d[i] = e->d[at];
  }
  return ifd_infer_elements(x, 0, q, n_index, d);
}

static ifd_status eval_Gather(ifd_eval *x) {
  const ifd_tensor *in = ifd_eval_in(x, 0);
  const ifd_shape *s = &in->shape, *si = &ifd_eval_in(x, 1)->shape;
  const int64_t *index;
  int64_t n;
  int axis;
  TRY(ifd_axis(x->err, &axis, ifd_node_int(x->node, "axis", 0), s->rank));
  EXPECT(x->err, s->rank + si->rank - 1 <= IFD_MAX_RANK, UNSUPPORTED, "at most %d dimensions are supported",
         IFD_MAX_RANK);
  TRY(ifd_indices(x, &index, &n, 1, s->dim[axis]));
  ifd_shape shape = {.rank = s->rank + si->rank - 1};
  memcpy(shape.dim, s->dim, (size_t)axis * sizeof *s->dim);
  memcpy(shape.dim + axis, si->dim, (size_t)si->rank * sizeof *s->dim);
  memcpy(shape.dim + axis + si->rank, s->dim + axis + 1, (size_t)(s->rank - axis - 1) * sizeof *s->dim);
  ifd_tensor *out;
  TRY(ifd_move_out(x, &out, 0, in->dtype, &shape));
  if (ifd_shape_count(&shape) == 0) return IFD_OK;
  int64_t outer = ifd_shape_span(s, 0, axis);
  size_t block = (size_t)ifd_shape_span(s, axis + 1, s->rank) * ifd_dtype_size(in->dtype);
  const char *from = in->data;
  char *to = out->data;
  for (int64_t i = 0; i < outer; i++) {
    ifd_gather_blocks(to, from, index, n, block);
    to += (size_t)n * block;
    from += (size_t)s->dim[axis] * block;
  }
  return IFD_OK;
}

typedef struct gather_params {
  const struct ifd_k_move_table *kernels;
  ifd_k_gather kernel;
  int64_t outer, n; /* outer times n rows */
  int64_t grain;    /* rows of a task */
} gather_params;

static ifd_k_gather picks_of(const ifd_tensor *index, size_t size, int64_t limit) {
  return (ifd_k_gather){
      .size = size, .stride = (int64_t)size, .limit = limit, .wide = index->dtype == IFD_INT64};
}

static const char *index_at(const ifd_k_gather *g, const void *index, int64_t i) {
  return (const char *)index + i * (g->wide ? 8 : 4);
}

static void run_gather(const void *params, const ifd_args *args, int task) {
  const gather_params *p = params;
  int64_t at = task * p->grain, end = ifd_min_i64(at + p->grain, p->outer * p->n);
  bool failed = false;
  while (at < end) {
    int64_t o = at / p->n, i = at % p->n, rows = ifd_min_i64(p->n - i, end - at);
    const ifd_k_gather *g = &p->kernel;
    p->kernels->gather(g, (char *)args->out[0] + at * g->stride,
                       (const char *)args->in[0] + o * g->limit * g->stride, index_at(g, args->in[1], i),
                       rows, &failed);
    at += rows;
  }
  if (failed) atomic_store(args->failed, 1);
}

/* Where index k points, or -1: outside. */
static int64_t place_of(const ifd_tensor *index, int64_t k, int64_t limit) {
  int64_t at = ifd_tensor_get_i64(index, k);
  if (at < 0) at += limit;
  return at < limit ? ifd_max_i64(at, -1) : -1;
}

/* Whether index i points to *first plus the sum of its i_d * step[d], and none outside. */
static bool find_steps(const ifd_tensor *index, int64_t limit, int64_t *first, int64_t *step) {
  int64_t i[IFD_MAX_RANK] = {0}, stride[IFD_MAX_RANK], expected = *first = place_of(index, 0, limit);
  const ifd_shape *s = &index->shape;
  ifd_shape_strides(s, stride);
  for (int d = 0; d < s->rank; d++) step[d] = s->dim[d] > 1 ? place_of(index, stride[d], limit) - *first : 0;
  for (int64_t k = 0, n = ifd_tensor_count(index); k < n; k++) {
    if (expected < 0 || place_of(index, k, limit) != expected) return false;
    for (int d = s->rank - 1; d >= 0; d--) {
      expected += step[d];
      if (++i[d] < s->dim[d]) break;
      expected -= step[d] * s->dim[d];
      i[d] = 0;
    }
  }
  return true;
}

/* Windows, as exporters unfold images, and other even steps are a copy. */
static ifd_status gather_steps(ifd_mover *m) {
  const ifd_tensor *in = ifd_mover_in(m, 0), *index = ifd_mover_in(m, 1);
  ifd_view to, whole = ifd_mover_view(m, 0), from = whole;
  int64_t first, step[IFD_MAX_RANK];
  int axis, n_index = index->shape.rank;
  TRY(ifd_axis(m->err, &axis, ifd_node_int(m->node, "axis", 0), in->shape.rank));
  m->declined |= !find_steps(index, in->shape.dim[axis], &first, step);
  if (m->declined) return IFD_OK;
  const ifd_shape *shape = &m->lower->out[0]->shape;
  from.at += first * whole.stride[axis];
  for (int d = 0; d < n_index; d++) from.stride[axis + d] = step[d] * whole.stride[axis];
  for (int d = axis + 1; d < in->shape.rank; d++) from.stride[d + n_index - 1] = whole.stride[d];
  TRY(ifd_mover_out(m, &to, 0, in->dtype, shape));
  return ifd_mover_move(m, shape, ifd_dtype_size(in->dtype), to, from);
}

static ifd_status lower_Gather(ifd_lower *x) {
  const ifd_tensor *in = x->in[0], *index = x->in[1];
  int axis;
  TRY(ifd_axis(x->err, &axis, ifd_node_int(x->node, "axis", 0), in->shape.rank));
  if (in->dtype == IFD_STRING || ifd_tensor_count(x->out[0]) == 0) return IFD_OK;
  if (index->data) TRY(ifd_lower_moves(x, gather_steps, 1));
  if (x->work->algorithm) return IFD_OK;
  size_t row_bytes = (size_t)ifd_shape_span(&in->shape, axis + 1, in->shape.rank) * ifd_dtype_size(in->dtype);
  gather_params p = {.kernels = ifd_k_move(x->isa),
                     .kernel = picks_of(index, row_bytes, in->shape.dim[axis]),
                     .outer = ifd_shape_span(&in->shape, 0, axis),
                     .n = ifd_tensor_count(index)};
  p.grain = ifd_lower_grain(p.outer * p.n, (double)row_bytes);
  x->work->algorithm = "rows";
  x->work->anywhere = 1;
  return ifd_lower_launch(x, run_gather, &p, sizeof p, ifd_ceil_div(p.outer * p.n, p.grain), 0);
}

/* ---- GatherElements ---- */

static ifd_status infer_GatherElements(ifd_infer *x) {
  return ifd_infer_same_as(x, 0, 1, ifd_infer_dtype(x, 0));
}

static ifd_status gather_places(ifd_places *p, const ifd_tensor *out, const ifd_tensor *in) {
  size_t bytes = (size_t)p->block * ifd_dtype_size(in->dtype);
  while (ifd_places_next(p))
    ifd_gather_blocks((char *)out->data + (size_t)p->first * bytes, in->data, p->at, p->n, bytes);
  return p->status;
}

static ifd_status eval_GatherElements(ifd_eval *x) {
  const ifd_tensor *in = ifd_eval_in(x, 0);
  ifd_places p;
  ifd_tensor *out;
  int axis;
  TRY(ifd_axis(x->err, &axis, ifd_node_int(x->node, "axis", 0), in->shape.rank));
  TRY(ifd_places_along(x, &p, &in->shape, 1, axis));
  TRY(ifd_move_out(x, &out, 0, in->dtype, &ifd_eval_in(x, 1)->shape));
  return gather_places(&p, out, in);
}

typedef struct elements_params {
  const struct ifd_k_move_table *kernels;
  ifd_k_gather kernel;
  ifd_shape rows;               /* of indices: all dimensions but the last, */
  int64_t stride[IFD_MAX_RANK]; /* bytes of the data that lie between two of them */
  int64_t n, grain;             /* indices of a row, rows of a task */
} elements_params;

static void run_gather_elements(const void *params, const ifd_args *args, int task) {
  const elements_params *p = params;
  const ifd_k_gather *g = &p->kernel;
  int64_t first = task * p->grain, last = ifd_min_i64(first + p->grain, ifd_shape_count(&p->rows));
  bool failed = false;
  for (int64_t row = first; row < last; row++) {
    const char *from = args->in[0];
    for (int64_t d = p->rows.rank - 1, rest = row; d >= 0; rest /= p->rows.dim[d--])
      from += rest % p->rows.dim[d] * p->stride[d];
    p->kernels->gather(g, (char *)args->out[0] + row * p->n * (int64_t)g->size, from,
                       index_at(g, args->in[1], row * p->n), p->n, &failed);
  }
  if (failed) atomic_store(args->failed, 1);
}

static ifd_status lower_GatherElements(ifd_lower *x) {
  const ifd_tensor *in = x->in[0], *index = x->in[1];
  const ifd_shape *s = &index->shape;
  int axis, last = s->rank - 1;
  TRY(ifd_axis(x->err, &axis, ifd_node_int(x->node, "axis", 0), in->shape.rank));
  if (in->dtype == IFD_STRING || ifd_tensor_count(x->out[0]) == 0 || s->rank != in->shape.rank) return IFD_OK;
  for (int i = 0; i <= last; i++)
    if (i != axis && s->dim[i] > in->shape.dim[i]) return IFD_OK;
  elements_params p = {.kernels = ifd_k_move(x->isa),
                       .kernel = picks_of(index, ifd_dtype_size(in->dtype), in->shape.dim[axis]),
                       .rows = {.rank = last},
                       .n = s->dim[last]};
  ifd_shape_strides(&in->shape, p.stride);
  for (int i = 0; i <= last; i++) p.stride[i] *= (int64_t)p.kernel.size;
  p.kernel.stride = p.stride[axis];
  p.stride[axis] = 0;
  p.kernel.step = p.stride[last];
  memcpy(p.rows.dim, s->dim, (size_t)last * sizeof *s->dim);
  int64_t n_rows = ifd_shape_count(&p.rows);
  p.grain = ifd_lower_grain(n_rows, 4 * (double)p.n);
  x->work->algorithm = "elements";
  x->work->anywhere = 1;
  return ifd_lower_launch(x, run_gather_elements, &p, sizeof p, ifd_ceil_div(n_rows, p.grain), 0);
}

/* ---- GatherND ---- */

static ifd_status infer_GatherND(ifd_infer *x) {
  int rank = ifd_known_rank(x, 0), q = ifd_known_rank(x, 1), n = 0;
  int64_t batch = ifd_node_int(x->node, "batch_dims", 0);
  ifd_dim dims[2 * IFD_MAX_RANK];
  if (rank < 0 || q < 1 || !ifd_dim_is_number(ifd_infer_dim(x, 1, q - 1)))
    return ifd_infer_unranked(x, 0, ifd_infer_dtype(x, 0));
  ifd_dim k = ifd_infer_dim(x, 1, q - 1);
  EXPECT(x->err, batch >= 0 && batch < q && k >= 1 && k <= rank - batch, BAD_MODEL,
         "index tuples of %lld after %lld batch dimensions do not fit %d dimensions", (long long)k,
         (long long)batch, rank);
  for (int i = 0; i < q - 1; i++) dims[n++] = ifd_infer_dim(x, 1, i);
  for (int i = (int)(batch + k); i < rank; i++) dims[n++] = ifd_infer_dim(x, 0, i);
  return ifd_infer_tensor(x, 0, ifd_infer_dtype(x, 0), n, dims);
}

static ifd_status eval_GatherND(ifd_eval *x) {
  const ifd_tensor *in = ifd_eval_in(x, 0);
  const ifd_shape *si = &ifd_eval_in(x, 1)->shape;
  int64_t batch = ifd_node_int(x->node, "batch_dims", 0);
  ifd_places p;
  TRY(ifd_places_of_tuples(x, &p, &in->shape, 1, batch));
  int from = (int)(batch + si->dim[si->rank - 1]);
  ifd_shape shape = {.rank = si->rank - 1};
  EXPECT(x->err, shape.rank + in->shape.rank - from <= IFD_MAX_RANK, UNSUPPORTED,
         "at most %d dimensions are supported", IFD_MAX_RANK);
  memcpy(shape.dim, si->dim, (size_t)shape.rank * sizeof *shape.dim);
  for (int i = from; i < in->shape.rank; i++) shape.dim[shape.rank++] = in->shape.dim[i];
  ifd_tensor *out;
  TRY(ifd_move_out(x, &out, 0, in->dtype, &shape));
  return gather_places(&p, out, in);
}

/* ---- Compress ---- */

static ifd_status infer_Compress(ifd_infer *x) {
  int rank = ifd_known_rank(x, 0), axis, n;
  const int64_t *condition;
  ifd_dim dims[IFD_MAX_RANK], kept = 0;
  if ((n = ifd_infer_numbers(x, 1, &condition)) < 0) kept = ifd_dim_unknown(x->dims);
  for (int i = 0; i < n; i++) kept += condition[i] != 0;
  if (!ifd_node_find_attr(x->node, "axis")) return ifd_infer_tensor(x, 0, ifd_infer_dtype(x, 0), 1, &kept);
  if (rank < 0) return ifd_infer_unranked(x, 0, ifd_infer_dtype(x, 0));
  TRY(ifd_axis(x->err, &axis, ifd_node_int(x->node, "axis", 0), rank));
  memcpy(dims, x->in[0]->dims, (size_t)rank * sizeof *dims);
  dims[axis] = kept;
  return ifd_infer_tensor(x, 0, ifd_infer_dtype(x, 0), rank, dims);
}

static ifd_status eval_Compress(ifd_eval *x) {
  const ifd_tensor *in = ifd_eval_in(x, 0);
  ifd_shape whole = in->shape, shape;
  const int64_t *condition;
  int64_t n, n_kept = 0, *kept;
  int axis = 0;
  if (ifd_node_find_attr(x->node, "axis"))
    TRY(ifd_axis(x->err, &axis, ifd_node_int(x->node, "axis", 0), whole.rank));
  else
    whole = (ifd_shape){1, {ifd_shape_count(&whole)}};
  TRY(ifd_eval_ints(x, &condition, &n, 1));
  ALLOC(x->err, kept, ifd_new_array(x->scratch, int64_t, n));
  for (int64_t i = 0; i < n; i++)
    if (condition[i]) kept[n_kept++] = i;
  EXPECT(x->err, !n_kept || kept[n_kept - 1] < whole.dim[axis], BAD_INPUT,
         "the condition is true at %lld, past the end of %lld", (long long)kept[n_kept - 1],
         (long long)whole.dim[axis]);
  shape = whole;
  shape.dim[axis] = n_kept;
  ifd_tensor *out;
  TRY(ifd_move_out(x, &out, 0, in->dtype, &shape));
  if (ifd_shape_count(&shape) == 0) return IFD_OK;
  size_t block = (size_t)ifd_shape_span(&whole, axis + 1, whole.rank) * ifd_dtype_size(in->dtype);
  for (int64_t i = 0, outer = ifd_shape_span(&whole, 0, axis); i < outer; i++)
    ifd_gather_blocks((char *)out->data + (size_t)(i * n_kept) * block,
                      (const char *)in->data + (size_t)(i * whole.dim[axis]) * block, kept, n_kept, block);
  return IFD_OK;
}

/* Along the first axis the batch may be one of indices, which pick rows of a table. */
static const char *batch_gather(const ifd_batch *b) {
  if (ifd_batch_axis_is_inner(b, 0)) return "pw";
  return ifd_batch_rank(b, 0) > 0 && ifd_batch_rank(b, 1) > 0 ? "wp" : NULL;
}
static const char *batch_gather_elements(const ifd_batch *b) {
  return ifd_batch_axis_is_inner(b, 0) ? "p" : NULL;
}

#define ROW(name_, since_, ...)                                                                              \
  { .name = #name_, .since = since_, .infer = infer_##name_, .eval = eval_##name_, __VA_ARGS__ }
const ifd_op ifd_ops_gather[] = {
    ROW(Gather, 1, .lower = lower_Gather, .batch = batch_gather),
    ROW(GatherElements, 11, .lower = lower_GatherElements, .batch = batch_gather_elements),
    ROW(GatherND, 11, ),
    ROW(Compress, 9, ),
    {0}};
