/* Pad, CenterCropPad: dimensions made longer or shorter at their ends. */
#include "ops/shared/batch.h"
#include "ops/shared/elements.h"
#include "ops/shared/mover.h"
#include "tensor/convert.h"
#include <string.h>

/* ---- where a padding element comes from ---- */

/* The index in [0, n) that stands at `at`, outside of it; n > 0. */
static int64_t at_edge(int64_t at, int64_t n) { return at < 0 ? 0 : n - 1; }
static int64_t at_wrap(int64_t at, int64_t n) { return (at % n + n) % n; }
static int64_t at_reflect(int64_t at, int64_t n) {
  if (n == 1) return 0;
  int64_t period = 2 * (n - 1), i = at_wrap(at, period);
  return i < n ? i : period - i;
}

typedef int64_t source(int64_t at, int64_t n);
static const struct mode {
  const char *name;
  source *from; /* NULL: a constant */
} modes[] = {{"constant", NULL}, {"reflect", at_reflect}, {"edge", at_edge}, {"wrap", at_wrap}};

static ifd_status find_mode(ifd_error *err, const ifd_node *node, source **from) {
  for (size_t i = 0; i < sizeof modes / sizeof *modes; i++)
    if (ifd_node_string_is(node, "mode", "constant", modes[i].name)) {
      *from = modes[i].from;
      return IFD_OK;
    }
  FAIL(err, BAD_MODEL, "attribute mode is none of constant, reflect, edge and wrap");
}

/* ---- padding ---- */

/* What stays of one dimension, and where it lies in the output. */
typedef struct kept {
  int64_t from, to, n;
} kept;

static ifd_status place_dim(ifd_error *err, int64_t *dim, int64_t before, int64_t after, kept *k) {
  int64_t out = *dim;
  EXPECT(err,
         before > -INT64_MAX && after > -INT64_MAX && ifd_add_i64(&out, out, before) &&
             ifd_add_i64(&out, out, after) && out >= 0,
         BAD_INPUT, "a dimension of %lld cannot be padded by %lld and %lld", (long long)*dim,
         (long long)before, (long long)after);
  int64_t cut_before = ifd_max_i64(0, -before), cut_after = ifd_max_i64(0, -after);
  *k = (kept){.from = ifd_min_i64(cut_before, *dim), .to = ifd_min_i64(ifd_max_i64(before, 0), out)};
  k->n = ifd_max_i64(0, *dim - k->from - cut_after);
  *dim = out;
  return IFD_OK;
}

/* A run of padding along an axis that one copy makes: `n` indices from `at` on, the first of them from index
 * `source`, the others each `step` further. */
typedef struct run {
  int64_t at, n, source, step;
} run;

/* The longest run from index `at` of the output on that a mode's sources allow. */
static run next_run(const kept *k, int64_t at, int64_t end, source *from) {
  run r = {.at = at, .n = 1, .source = from(at - k->to, k->n)};
  if (at + 1 < end) r.step = from(at + 1 - k->to, k->n) - r.source;
  while (at + r.n < end && from(at + r.n - k->to, k->n) == r.source + r.n * r.step) r.n++;
  return r;
}

/* Fills the padding of one axis from what lies beside it. Axes after it are complete, of those before it only
 * what was kept. */
static ifd_status extend_axis(ifd_mover *m, const ifd_shape *out, ifd_view v, size_t size, const kept *k,
                              int axis, source *from) {
  ifd_shape slab = *out;
  const kept *here = &k[axis];
  for (int i = 0; i < axis; i++) {
    slab.dim[i] = k[i].n;
    v = ifd_view_from(v, i, k[i].to);
  }
  ifd_mover_barrier(m);
  int64_t ends[] = {here->to, out->dim[axis]}, at = 0;
  for (int side = 0; side < 2; side++, at = here->to + here->n)
    while (at < ends[side]) {
      run r = next_run(here, at, ends[side], from);
      ifd_view source = ifd_view_from(v, axis, here->to + r.source);
      source.stride[axis] *= r.step;
      slab.dim[axis] = r.n;
      TRY(ifd_mover_move(m, &slab, size, ifd_view_from(v, axis, r.at), source));
      at += r.n;
    }
  return IFD_OK;
}

/* The padding of one axis becomes *value; before and after it as in extend_axis. */
static ifd_status fill_axis(ifd_mover *m, const ifd_shape *out, ifd_view v, size_t size, const kept *k,
                            int axis, const void *value) {
  ifd_shape slab = *out;
  for (int i = 0; i < axis; i++) {
    slab.dim[i] = k[i].n;
    v = ifd_view_from(v, i, k[i].to);
  }
  slab.dim[axis] = k[axis].to;
  TRY(ifd_mover_fill(m, &slab, size, v, value));
  slab.dim[axis] = out->dim[axis] - k[axis].to - k[axis].n;
  return ifd_mover_fill(m, &slab, size, ifd_view_from(v, axis, k[axis].to + k[axis].n), value);
}

/* Rows along the last axis that is padded are more than one. */
static bool has_rows(const ifd_shape *in, const ifd_shape *out) {
  int last = out->rank - 1;
  while (last > 0 && in->dim[last] == out->dim[last]) last--;
  return ifd_shape_span(out, 0, last) > 1;
}

/* The same by an index for each place of each axis, -1 for the value. */
static ifd_status pick(ifd_mover *m, const ifd_shape *out, const kept *k, source *from, const void *value) {
  const int64_t *index[IFD_MAX_RANK];
  for (int a = 0; a < out->rank; a++) {
    int64_t *at;
    ALLOC(m->err, at, ifd_new_array(m->arena, int64_t, out->dim[a]));
    for (int64_t i = 0; i < out->dim[a]; i++) {
      int64_t place = i - k[a].to;
      if (place < 0 || place >= k[a].n) place = from ? from(place, k[a].n) : -1;
      at[i] = place < 0 ? -1 : k[a].from + place;
    }
    index[a] = at;
  }
  return ifd_mover_pick(m, index, value);
}

/* Output 0 from input 0: before[i] and after[i] elements more (or fewer) in dimension i; value NULL is
 * zero. */
static ifd_status pad(ifd_mover *m, const int64_t *before, const int64_t *after, source *from,
                      const void *value) {
  const ifd_tensor *in = ifd_mover_in(m, 0);
  ifd_shape shape = in->shape, inside = in->shape;
  size_t size = ifd_dtype_size(in->dtype);
  kept k[IFD_MAX_RANK];
  ifd_view whole, source = ifd_mover_view(m, 0), to;
  for (int i = 0; i < shape.rank; i++) {
    TRY(place_dim(m->err, &shape.dim[i], before[i], after[i], &k[i]));
    inside.dim[i] = k[i].n;
    EXPECT(m->err, !from || k[i].n || !shape.dim[i], BAD_INPUT, "dimension %d has nothing to pad with", i);
  }
  TRY(ifd_mover_out(m, &whole, 0, in->dtype, &shape));
  if (ifd_shape_count(&shape) == 0) return IFD_OK;
  if (ifd_mover_lowers(m) && ifd_tensor_count(in) && has_rows(&in->shape, &shape))
    return pick(m, &shape, k, from, value);
  to = whole;
  for (int i = 0; i < shape.rank; i++) {
    source = ifd_view_from(source, i, k[i].from);
    to = ifd_view_from(to, i, k[i].to);
  }
  TRY(ifd_mover_move(m, &inside, size, to, source));
  for (int i = shape.rank - 1; i >= 0; i--)
    TRY(from ? extend_axis(m, &shape, whole, size, k, i, from)
             : fill_axis(m, &shape, whole, size, k, i, value));
  return IFD_OK;
}

/* ---- Pad ---- */

/* Spreads n pads, begins then ends, over the axes (NULL: all in order). The pads may be symbolic. */
static ifd_status spread(ifd_error *err, int rank, const int64_t *pads, int64_t n, const int64_t *axes,
                         int64_t n_axes, int64_t *before, int64_t *after) {
  bool seen[IFD_MAX_RANK] = {false};
  int axis;
  if (!axes) n_axes = rank;
  EXPECT(err, n == 2 * n_axes, BAD_INPUT, "%lld pads for %lld axes", (long long)n, (long long)n_axes);
  for (int i = 0; i < rank; i++) before[i] = after[i] = 0;
  for (int64_t i = 0; i < n_axes; i++) {
    TRY(ifd_axis(err, &axis, axes ? axes[i] : i, rank));
    EXPECT(err, !seen[axis], BAD_INPUT, "axis %d is named twice", axis);
    seen[axis] = true;
    before[axis] = pads[i];
    after[axis] = pads[n_axes + i];
  }
  return IFD_OK;
}

/* The constant of attribute or input in the input's type; NULL where it is zero. */
static ifd_status read_value(ifd_mover *m, bool attr, uint64_t storage[2], const void **value) {
  const ifd_tensor *in = ifd_mover_in(m, 0), *given = attr ? NULL : ifd_mover_in(m, 2);
  *value = NULL;
  if (attr) {
    double v = ifd_node_float(m->node, "value", 0);
    EXPECT(m->err, ifd_dtype_is_float(in->dtype), UNSUPPORTED, "elements of type %s",
           ifd_dtype_name(in->dtype));
    ifd_store_f64(in->dtype, storage, &v, 1);
    *value = storage;
  } else if (given) {
    EXPECT(m->err, given->dtype == in->dtype, BAD_INPUT, "the constant is %s, the data %s",
           ifd_dtype_name(given->dtype), ifd_dtype_name(in->dtype));
    int64_t n = ifd_tensor_count(given);
    EXPECT(m->err, n == 1, BAD_INPUT, "the constant has %lld elements", (long long)n);
    ifd_tensor_expand(given, storage);
    *value = storage;
  }
  return IFD_OK;
}

static ifd_status pad_by(ifd_mover *m, const char *attr) {
  const int64_t *pads, *axes;
  int64_t n, n_axes, before[IFD_MAX_RANK], after[IFD_MAX_RANK];
  uint64_t storage[2];
  const void *value;
  source *from;
  TRY(find_mode(m->err, m->node, &from));
  TRY(ifd_mover_list(m, &pads, &n, attr, 1));
  TRY(ifd_mover_list(m, &axes, &n_axes, NULL, 3));
  TRY(spread(m->err, ifd_mover_in(m, 0)->shape.rank, pads, n, axes, n_axes, before, after));
  TRY(read_value(m, attr, storage, &value));
  return pad(m, before, after, from, value);
}

static ifd_status pad_1(ifd_mover *m) { return pad_by(m, "paddings"); }
static ifd_status pad_2(ifd_mover *m) { return pad_by(m, "pads"); }
static ifd_status pad_11(ifd_mover *m) { return pad_by(m, NULL); }
IFD_MOVES(pad_1, 1)
IFD_MOVES(pad_2, 1)
IFD_MOVES(pad_11, 1)

/* n < 0: the pads are not known. */
static ifd_status infer(ifd_infer *x, const ifd_dim *pads, int n, const int64_t *axes, int n_axes) {
  int rank = ifd_known_rank(x, 0);
  ifd_dim dims[IFD_MAX_RANK], before[IFD_MAX_RANK], after[IFD_MAX_RANK];
  if (rank < 0) return ifd_infer_unranked(x, 0, ifd_infer_dtype(x, 0));
  if (n >= 0) TRY(spread(x->err, rank, pads, n, axes, n_axes, before, after));
  for (int i = 0; i < rank; i++)
    dims[i] = n < 0 ? ifd_dim_unknown(x->dims)
                    : ifd_dim_add(x->dims, ifd_infer_dim(x, 0, i), ifd_dim_add(x->dims, before[i], after[i]));
  return ifd_infer_tensor(x, 0, ifd_infer_dtype(x, 0), rank, dims);
}

static ifd_status infer_by_attr(ifd_infer *x, const char *attr) {
  const int64_t *pads = NULL;
  int n = ifd_node_ints(x->node, attr, &pads);
  for (int i = 0; i < n; i++)
    EXPECT(x->err, ifd_dim_is_number(pads[i]), BAD_MODEL, "attribute %s holds %lld", attr,
           (long long)pads[i]);
  return infer(x, pads, n, NULL, 0);
}

static ifd_status infer_Pad_1(ifd_infer *x) { return infer_by_attr(x, "paddings"); }
static ifd_status infer_Pad_2(ifd_infer *x) { return infer_by_attr(x, "pads"); }
static ifd_status infer_Pad_11(ifd_infer *x) {
  const ifd_elements *pads = ifd_elements_find(x, 1);
  const int64_t *axes = NULL;
  int n_axes = ifd_node_has_input(x->node, 3) ? ifd_infer_numbers(x, 3, &axes) : 0;
  return pads && n_axes >= 0 ? infer(x, pads->d, pads->n, axes, n_axes) : infer(x, NULL, -1, NULL, 0);
}

/* ---- CenterCropPad ---- */

/* Which axes the n entries of the shape speak of. */
static ifd_status crop_axes(ifd_error *err, const ifd_node *node, int rank, int64_t n, int *axes) {
  const int64_t *list;
  bool given = ifd_node_find_attr(node, "axes"), seen[IFD_MAX_RANK] = {false};
  int n_axes = given ? ifd_node_ints(node, "axes", &list) : rank;
  EXPECT(err, n == n_axes && n <= rank, BAD_INPUT, "a shape of %lld dimensions for %d axes", (long long)n,
         n_axes);
  for (int i = 0; i < n; i++) {
    TRY(ifd_axis(err, &axes[i], given ? list[i] : i, rank));
    EXPECT(err, !seen[axes[i]], BAD_INPUT, "axis %d is named twice", axes[i]);
    seen[axes[i]] = true;
  }
  return IFD_OK;
}

static ifd_status center_crop_pad(ifd_mover *m) {
  const ifd_shape *s = &ifd_mover_in(m, 0)->shape;
  const int64_t *wanted;
  int64_t n, before[IFD_MAX_RANK] = {0}, after[IFD_MAX_RANK] = {0};
  int axes[IFD_MAX_RANK];
  TRY(ifd_mover_list(m, &wanted, &n, NULL, 1));
  TRY(crop_axes(m->err, m->node, s->rank, n, axes));
  for (int i = 0; i < n; i++) {
    EXPECT(m->err, wanted[i] >= 0, BAD_INPUT, "dimension %d is %lld", i, (long long)wanted[i]);
    int64_t more = wanted[i] - s->dim[axes[i]];
    before[axes[i]] = more / 2; /* toward zero: the odd element is added or cut at the end */
    after[axes[i]] = more - more / 2;
  }
  return pad(m, before, after, NULL, NULL);
}
IFD_MOVES(center_crop_pad, 1)

static ifd_status infer_CenterCropPad(ifd_infer *x) {
  int rank = ifd_known_rank(x, 0), axes[IFD_MAX_RANK];
  const ifd_elements *wanted = ifd_elements_find(x, 1);
  ifd_dim dims[IFD_MAX_RANK];
  if (rank < 0) return ifd_infer_unranked(x, 0, ifd_infer_dtype(x, 0));
  for (int i = 0; i < rank; i++) dims[i] = wanted ? ifd_infer_dim(x, 0, i) : ifd_dim_unknown(x->dims);
  if (wanted) TRY(crop_axes(x->err, x->node, rank, wanted->n, axes));
  for (int i = 0; wanted && i < wanted->n; i++) dims[axes[i]] = wanted->d[i];
  return ifd_infer_tensor(x, 0, ifd_infer_dtype(x, 0), rank, dims);
}

/* The first axis keeps its length by pads (begins, then ends) of nothing. */
static const char *batch_attribute(const ifd_batch *b, const char *name) {
  const int64_t *pads;
  int rank = ifd_batch_rank(b, 0);
  return ifd_node_ints(b->node, name, &pads) == 2 * rank && pads[0] == 0 && pads[rank] == 0 ? "p" : NULL;
}
static const char *batch_paddings(const ifd_batch *b) { return batch_attribute(b, "paddings"); }
static const char *batch_pads(const ifd_batch *b) { return batch_attribute(b, "pads"); }
static const char *batch_pads_input(const ifd_batch *b) {
  const ifd_tensor *pads = ifd_batch_in(b, 1);
  int rank = ifd_batch_rank(b, 0);
  if (ifd_batch_in(b, 3) || !pads || !pads->data || ifd_tensor_count(pads) != 2 * rank) return NULL;
  return ifd_tensor_get_i64(pads, 0) == 0 && ifd_tensor_get_i64(pads, rank) == 0 ? "pw" : NULL;
}

#define ROW(name_, since_, infer_, moves, batch_)                                                            \
  {                                                                                                          \
    .name = #name_, .since = since_, .infer = infer_, .eval = eval_##moves, .lower = lower_##moves,          \
    .batch = batch_                                                                                          \
  }
const ifd_op ifd_ops_pad[] = {ROW(Pad, 1, infer_Pad_1, pad_1, batch_paddings),
                              ROW(Pad, 2, infer_Pad_2, pad_2, batch_pads),
                              ROW(Pad, 11, infer_Pad_11, pad_11, batch_pads_input),
                              ROW(CenterCropPad, 18, infer_CenterCropPad, center_crop_pad, NULL),
                              {0}};
