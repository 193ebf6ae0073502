/* Slice: every step-th index of some dimensions, forward or backward. */
#include "ops/shared/batch.h"
#include "ops/shared/elements.h"
#include "ops/shared/mover.h"

/* The four lists of a node, as attributes (1) or inputs (10); n entries each. axes and steps may be
 * absent. */
enum { STARTS, ENDS, AXES, STEPS, N_LISTS };
static const char *const names[] = {"starts", "ends", "axes", "steps"};

/* What is taken of one dimension. */
typedef struct range {
  int64_t first, step, count;
} range;

/* The clamping of the specification (Slice 13). */
static range clamp_range(int64_t dim, int64_t start, int64_t end, int64_t step) {
  range r = {.step = step};
  if (start < 0) start += dim;
  if (end < 0) end += dim;
  if (step > 0) {
    start = ifd_max_i64(0, ifd_min_i64(start, dim));
    end = ifd_max_i64(0, ifd_min_i64(end, dim));
    if (start < end) r.count = (end - start - 1) / step + 1;
  } else {
    start = ifd_max_i64(0, ifd_min_i64(start, dim - 1));
    end = ifd_max_i64(-1, ifd_min_i64(end, dim - 1));
    if (start > end && dim) r.count = (int64_t)((uint64_t)(start - end - 1) / -(uint64_t)step) + 1;
  }
  r.first = r.count ? start : 0;
  if (r.count < 2) r.step = 1;
  return r;
}

/* The axis that entry i of the lists speaks of. */
static ifd_status axis_of(ifd_error *err, int *axis, const int64_t *axes, int64_t i, int rank, bool *seen) {
  TRY(ifd_axis(err, axis, axes ? axes[i] : i, rank));
  EXPECT(err, !seen[*axis], BAD_INPUT, "axis %d is named twice", *axis);
  seen[*axis] = true;
  return IFD_OK;
}

/* ---- inference ---- */

/* An end (or a start for a backward step) at least this far away means the end of any dimension. */
static bool is_far(ifd_dim d) { return ifd_dim_is_number(d) && (d >= INT32_MAX || d <= -INT32_MAX); }

/* Where a forward slice of `dim` starts or ends, in [0, dim]; an unknown where its sign is not known. */
static ifd_dim clamp_place(ifd_dims *dims, ifd_dim dim, ifd_dim at) {
  if (is_far(at)) return at > 0 ? dim : 0;
  if (at == 0) return 0;
  if (ifd_dim_is_number(at) && at < 0) return ifd_dim_max(dims, 0, ifd_dim_add(dims, dim, at));
  if (!ifd_dim_known_positive(dims, at)) return ifd_dim_unknown(dims);
  return ifd_dim_min(dims, dim, at);
}

static ifd_dim count_of(ifd_dims *dims, ifd_dim dim, ifd_dim start, ifd_dim end, ifd_dim step) {
  if (!ifd_dim_is_number(step)) return ifd_dim_unknown(dims);
  if (ifd_dim_is_number(dim) && ifd_dim_is_number(start) && ifd_dim_is_number(end))
    return clamp_range(dim, start, end, step).count;
  if (step < 0) { /* all of it backward, or not known */
    bool all = is_far(end) && end < 0 && (start == -1 || (is_far(start) && start > 0));
    return all ? ifd_dim_ceil_div(dims, dim, -step) : ifd_dim_unknown(dims);
  }
  ifd_dim length = ifd_dim_sub(dims, clamp_place(dims, dim, end), clamp_place(dims, dim, start));
  return ifd_dim_max(dims, 0, ifd_dim_ceil_div(dims, length, step));
}

/* The lists as inference knows them. */
typedef struct lists {
  int n;                      /* -1: not known */
  const ifd_dim *of[N_LISTS]; /* NULL: absent */
} lists;

/* A number of a file as a dim: the least ones, which mean "to the far end", are where handles lie. */
static ifd_dim bounded(int64_t v) { return ifd_max_i64(v, -INT64_MAX / 2); }

/* List k; n is -1 when it is absent, -2 when it is not known. */
static ifd_status read_list(ifd_infer *x, int k, bool attrs, int *n, const ifd_dim **out) {
  const int64_t *ints = NULL;
  const ifd_tensor *t = attrs || k + 1 >= x->node->n_inputs ? NULL : x->constant[k + 1];
  const ifd_elements *e = attrs ? NULL : ifd_elements_find(x, k + 1);
  *out = NULL;
  *n = -1;
  if (attrs ? !ifd_node_find_attr(x->node, names[k]) : !ifd_node_has_input(x->node, k + 1)) return IFD_OK;
  if (!attrs && (!t || ifd_tensor_count(t) > IFD_MAX_RANK)) {
    *n = e ? e->n : -2;
    *out = e ? e->d : NULL;
    return IFD_OK;
  }
  ifd_dim *d;
  *n = attrs ? ifd_node_ints(x->node, names[k], &ints) : (int)ifd_tensor_count(t);
  ALLOC(x->err, d, ifd_new_array(x->arena, ifd_dim, *n));
  for (int i = 0; i < *n; i++) d[i] = bounded(attrs ? ints[i] : ifd_tensor_get_i64(t, i));
  *out = d;
  return IFD_OK;
}

/* The lists, with unknowns in place of starts, ends or steps that are not known; l->n is -1 unless at least
 * the axes are. */
static ifd_status read_lists(ifd_infer *x, lists *l, bool attrs) {
  int n[N_LISTS], most = -1;
  for (int k = 0; k < N_LISTS; k++) {
    TRY(read_list(x, k, attrs, &n[k], &l->of[k]));
    if (n[k] > most) most = n[k];
  }
  l->n = n[AXES] == -2 ? -1 : most;
  for (int k = 0; k < N_LISTS; k++) {
    bool absent = n[k] == -1;
    EXPECT(x->err, n[k] == most || n[k] == -2 || (absent && (k >= AXES || most < 0)), BAD_INPUT,
           "%s has %d entries where %d are needed", names[k], absent ? 0 : n[k], most);
    if (n[k] != -2 || l->n < 0) continue;
    ifd_dim *unknown;
    ALLOC(x->err, unknown, ifd_new_array(x->arena, ifd_dim, most));
    for (int i = 0; i < most; i++) unknown[i] = ifd_dim_unknown(x->dims);
    l->of[k] = unknown;
  }
  return IFD_OK;
}

static ifd_status infer_elements(ifd_infer *x, const lists *l) {
  const ifd_elements *e = ifd_elements_find(x, 0);
  ifd_dim d[IFD_MAX_ELEMENTS];
  if (!e || e->rank != 1) return IFD_OK;
  if (l->n == 0) return ifd_elements_forward(x, 0);
  ifd_dim start = l->of[STARTS][0], end = l->of[ENDS][0], step = l->of[STEPS] ? l->of[STEPS][0] : 1;
  if (!ifd_dim_is_number(start) || !ifd_dim_is_number(end) || !ifd_dim_is_number(step)) return IFD_OK;
  range r = clamp_range(e->n, start, end, step);
  for (int i = 0; i < r.count; i++) d[i] = e->d[r.first + i * r.step];
  return ifd_infer_elements(x, 0, 1, (int)r.count, d);
}

static ifd_status infer(ifd_infer *x, bool attrs) {
  int rank = ifd_known_rank(x, 0), axis;
  ifd_dim dims[IFD_MAX_RANK];
  bool seen[IFD_MAX_RANK] = {false};
  lists l;
  if (rank < 0) return ifd_infer_unranked(x, 0, ifd_infer_dtype(x, 0));
  TRY(read_lists(x, &l, attrs));
  bool known = l.n >= 0;
  for (int i = 0; i < rank; i++) dims[i] = known ? ifd_infer_dim(x, 0, i) : ifd_dim_unknown(x->dims);
  for (int i = 0; known && i < l.n; i++) {
    ifd_dim step = l.of[STEPS] ? l.of[STEPS][i] : 1;
    EXPECT(x->err, step != 0, BAD_INPUT, "step %d is 0", i);
    EXPECT(x->err, !l.of[AXES] || ifd_dim_is_number(l.of[AXES][i]), BAD_INPUT, "axis %d is no number", i);
    TRY(axis_of(x->err, &axis, l.of[AXES], i, rank, seen));
    dims[axis] = count_of(x->dims, dims[axis], l.of[STARTS][i], l.of[ENDS][i], step);
  }
  TRY(ifd_infer_tensor(x, 0, ifd_infer_dtype(x, 0), rank, dims));
  return known ? infer_elements(x, &l) : IFD_OK;
}

static ifd_status infer_Slice_1(ifd_infer *x) { return infer(x, true); }
static ifd_status infer_Slice_10(ifd_infer *x) { return infer(x, false); }

/* ---- what goes where ---- */

static ifd_status slice(ifd_mover *m, bool attrs) {
  const ifd_tensor *in = ifd_mover_in(m, 0);
  const int64_t *list[N_LISTS];
  int64_t n[N_LISTS];
  int axis;
  bool seen[IFD_MAX_RANK] = {false};
  for (int k = 0; k < N_LISTS; k++) {
    TRY(ifd_mover_list(m, &list[k], &n[k], attrs ? names[k] : NULL, k + 1));
    EXPECT(m->err, n[k] == n[STARTS] || (n[k] < 0 && k >= AXES), BAD_INPUT,
           "%s has %lld entries, starts has %lld", names[k], (long long)n[k], (long long)n[STARTS]);
  }
  ifd_shape shape = in->shape;
  ifd_view from = ifd_mover_view(m, 0), to;
  for (int64_t i = 0; i < n[STARTS]; i++) {
    int64_t step = n[STEPS] < 0 ? 1 : list[STEPS][i];
    EXPECT(m->err, step != 0, BAD_INPUT, "step %lld is 0", (long long)i);
    TRY(axis_of(m->err, &axis, n[AXES] < 0 ? NULL : list[AXES], i, shape.rank, seen));
    range r = clamp_range(shape.dim[axis], list[STARTS][i], list[ENDS][i], step);
    shape.dim[axis] = r.count;
    from = ifd_view_from(from, axis, r.first);
    from.stride[axis] *= r.step;
  }
  TRY(ifd_mover_out(m, &to, 0, in->dtype, &shape));
  return ifd_mover_move(m, &shape, ifd_dtype_size(in->dtype), to, from);
}

static ifd_status slice_1(ifd_mover *m) { return slice(m, true); }
static ifd_status slice_10(ifd_mover *m) { return slice(m, false); }
IFD_MOVES(slice_1, 1)
IFD_MOVES(slice_10, 1)

static const char *batch_axes(const ifd_batch *b) { return ifd_batch_axes_are_inner(b, 3) ? "pw" : NULL; }

const ifd_op ifd_ops_slice[] = {{.name = "Slice",
                                 .since = 1,
                                 .infer = infer_Slice_1,
                                 .eval = eval_slice_1,
                                 .lower = lower_slice_1,
                                 .batch = batch_axes},
                                {.name = "Slice",
                                 .since = 10,
                                 .infer = infer_Slice_10,
                                 .eval = eval_slice_10,
                                 .lower = lower_slice_10,
                                 .batch = batch_axes},
                                {0}};
