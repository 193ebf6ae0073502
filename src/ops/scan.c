/* Scan: a graph run over the slices of its inputs, with values carried from slice to slice. Version 8 does so
 * for each sample of a batch, in dimension 0, along dimension 1, for as many slices as the sample is long. */
#include "ops/shared/trips.h"
#include "ops/shared/types.h"
#include <string.h>

/* The body's inputs are n carried values and m slices; its outputs n carried values and k elements. The node
 * has the same; at version 8 input 0 is sequence_lens. */
typedef struct counts {
  const ifd_graph *body;
  int first, n, m, k; /* inputs of the node begin at `first` */
} counts;

static ifd_status read_counts(ifd_error *err, const ifd_node *node, int first, counts *c) {
  int64_t m = ifd_node_int(node, "num_scan_inputs", 0);
  int n_in = node->n_inputs - first;
  c->body = ifd_node_graph(node, "body");
  EXPECT(err, c->body && m >= 1 && m <= n_in && c->body->inputs.n == n_in && c->body->outputs.n >= n_in - m,
         BAD_MODEL, "the body does not fit a Scan of %d inputs, %lld of them scanned", n_in, (long long)m);
  *c = (counts){.body = c->body, .first = first, .n = n_in - (int)m, .m = (int)m};
  c->k = c->body->outputs.n - c->n;
  EXPECT(err, node->n_outputs <= c->n + c->k, BAD_MODEL, "the body does not give the node's %d outputs",
         node->n_outputs);
  return IFD_OK;
}

/* Entry i of an optional list of n, or 0. */
static ifd_status read_entry(ifd_error *err, const ifd_node *node, const char *name, int i, int n,
                             int64_t *out) {
  const int64_t *list;
  int given = ifd_node_ints(node, name, &list);
  EXPECT(err, given == 0 || given == n, BAD_MODEL, "attribute %s has %d entries, not %d", name, given, n);
  *out = given ? list[i] : 0;
  return IFD_OK;
}

/* The axis along which an input (or output) of `rank` dimensions is scanned, and whether backward. */
typedef struct course {
  int axis;
  bool backward;
} course;

static ifd_status input_course(ifd_error *err, const ifd_node *node, const counts *c, int i, int rank,
                               course *out) {
  int64_t axis = 1, backward;
  if (c->first) /* version 8 */
    EXPECT(err, rank >= 2, BAD_INPUT, "scan input %d has %d dimensions, not batch and sequence", i, rank);
  else
    TRY(read_entry(err, node, "scan_input_axes", i, c->m, &axis));
  TRY(read_entry(err, node, c->first ? "directions" : "scan_input_directions", i, c->m, &backward));
  out->backward = backward;
  return ifd_axis(err, &out->axis, axis, rank);
}

static ifd_status output_course(ifd_error *err, const ifd_node *node, const counts *c, int i, int rank,
                                course *out) {
  int64_t axis = 0, backward = 0;
  if (!c->first) {
    TRY(read_entry(err, node, "scan_output_axes", i, c->k, &axis));
    TRY(read_entry(err, node, "scan_output_directions", i, c->k, &backward));
  }
  out->backward = backward;
  return ifd_axis(err, &out->axis, axis, rank);
}

/* ---- inference ---- */

/* A tensor type with a dimension fewer (axis) or more (axis, dim); unranked stays so. */
static ifd_status drop_dim(ifd_infer *x, const ifd_type **out, const ifd_type *t, int axis) {
  ifd_dim dims[IFD_MAX_RANK];
  for (int i = 0; i < t->rank; i++)
    if (i != axis) dims[i - (i > axis)] = t->dims[i];
  ALLOC(x->err, *out, ifd_type_tensor(x->arena, t->dtype, t->rank - 1, dims));
  return IFD_OK;
}

static ifd_status insert_dim(ifd_infer *x, const ifd_type **out, const ifd_type *t, int axis, ifd_dim dim) {
  ifd_dim dims[IFD_MAX_RANK + 1];
  *out = t;
  if (t->kind != IFD_KIND_TENSOR || !t->has_rank) return IFD_OK;
  if (t->rank >= IFD_MAX_RANK) {
    ALLOC(x->err, *out, ifd_type_widen(x, t));
    return IFD_OK;
  }
  for (int i = 0; i <= t->rank; i++) dims[i] = i == axis ? dim : t->dims[i - (i > axis)];
  ALLOC(x->err, *out, ifd_type_tensor(x->arena, t->dtype, t->rank + 1, dims));
  return IFD_OK;
}

static bool is_ranked(const ifd_type *t) {
  return t->kind == IFD_KIND_TENSOR && t->has_rank && t->rank <= IFD_MAX_RANK;
}

/* Types of the body's inputs; trips (and batch, at version 8) where a scan input tells. */
static ifd_status input_types(ifd_infer *x, const counts *c, const ifd_type **in, ifd_dim *trips,
                              ifd_dim *batch) {
  for (int i = 0; i < c->n + c->m; i++) {
    const ifd_type *t = x->in[c->first + i];
    in[i] = t;
    if (!is_ranked(t)) {
      ALLOC(x->err, in[i], ifd_type_widen(x, t));
      continue;
    }
    if (i >= c->n) {
      course along;
      TRY(input_course(x->err, x->node, c, i - c->n, t->rank, &along));
      if (!ifd_dim_is_number(*trips)) *trips = t->dims[along.axis];
      TRY(drop_dim(x, &in[i], t, along.axis));
    }
    if (!c->first) continue;
    EXPECT(x->err, t->rank >= 1, BAD_INPUT, "input %d has no batch dimension", c->first + i);
    if (!ifd_dim_is_number(*batch)) *batch = t->dims[0];
    TRY(drop_dim(x, &in[i], in[i], 0));
  }
  return IFD_OK;
}

static ifd_status infer(ifd_infer *x, int first) {
  counts c;
  const ifd_type **in, **out;
  TRY(read_counts(x->err, x->node, first, &c));
  ALLOC(x->err, in, ifd_new_array(x->arena, const ifd_type *, c.n + c.m));
  ALLOC(x->err, out, ifd_new_array(x->arena, const ifd_type *, c.n + c.k));
  ifd_dim trips = ifd_dim_unknown(x->dims), batch = ifd_dim_unknown(x->dims);
  TRY(input_types(x, &c, in, &trips, &batch));
  TRY(ifd_infer_repeated(x, c.body, &(ifd_carried){c.n, 0, 0}, in, c.n + c.m, out));
  for (int i = 0; i < x->node->n_outputs; i++) {
    const ifd_type *t = i < c.n ? in[i] : out[i];
    if ((i >= c.n && trips == 0) || (first && batch == 0)) ALLOC(x->err, t, ifd_type_widen(x, t));
    if (i >= c.n && is_ranked(t)) {
      course along;
      TRY(output_course(x->err, x->node, &c, i - c.n, t->rank + 1, &along));
      TRY(insert_dim(x, &t, t, along.axis, trips));
    }
    if (first) TRY(insert_dim(x, &t, t, 0, batch));
    x->out[i] = t;
  }
  return IFD_OK;
}

static ifd_status infer_Scan_8(ifd_infer *x) { return infer(x, 1); }
static ifd_status infer_Scan_9(ifd_infer *x) { return infer(x, 0); }

/* ---- evaluation ---- */

typedef struct scan {
  counts c;
  int64_t batch, most; /* 1 before version 8's batch; slices of a sample */
  const int64_t *lens; /* by sample, or NULL */
  ifd_datum *in, *made;
  bool *owned;      /* carried value i is the scan's, not the caller's */
  bool *has_output; /* output i was made */
} scan;

/* Sample b of a tensor: the tensor itself where there is no batch. */
static ifd_view sample_of(const scan *s, const ifd_tensor *t, ifd_shape *shape, int64_t b) {
  *shape = t->shape;
  ifd_view v = ifd_view_of(t);
  return s->c.first ? ifd_view_drop(v, shape, 0, b) : v;
}

static ifd_status measure(ifd_eval *x, scan *s) {
  const counts *c = &s->c;
  s->batch = 1;
  s->most = -1;
  for (int i = 0; i < c->n + c->m; i++) {
    int k = c->first + i;
    EXPECT(x->err, ifd_eval_has(x, k), BAD_MODEL, "input %d is missing", k);
    bool scanned = i >= c->n;
    EXPECT(x->err, x->in[k]->kind == IFD_KIND_TENSOR || !(scanned || c->first), BAD_INPUT,
           "input %d is no tensor", k);
    const ifd_shape *shape = &x->in[k]->tensor.shape;
    if (c->first) {
      EXPECT(x->err, shape->rank >= 1 && (i == 0 || shape->dim[0] == s->batch), BAD_INPUT,
             "input %d has another batch than %lld", k, (long long)s->batch);
      s->batch = shape->dim[0];
    }
    if (!scanned) continue;
    course along;
    TRY(input_course(x->err, x->node, c, i - c->n, shape->rank, &along));
    EXPECT(x->err, s->most < 0 || s->most == shape->dim[along.axis], BAD_INPUT,
           "input %d has %lld slices, others have %lld", k, (long long)shape->dim[along.axis],
           (long long)s->most);
    s->most = shape->dim[along.axis];
  }
  if (!c->first || !ifd_eval_has(x, 0)) return IFD_OK;
  int64_t n;
  TRY(ifd_eval_ints(x, &s->lens, &n, 0));
  EXPECT(x->err, n == s->batch, BAD_INPUT, "%lld sequence lengths for a batch of %lld", (long long)n,
         (long long)s->batch);
  for (int64_t b = 0; b < n; b++)
    EXPECT(x->err, s->lens[b] >= 0 && s->lens[b] <= s->most, BAD_INPUT, "length %lld is outside [0, %lld]",
           (long long)s->lens[b], (long long)s->most);
  return IFD_OK;
}

/* A borrowed tensor of what the view shows: in place where it is dense, else a copy in `room`. */
static ifd_status show(ifd_eval *x, ifd_datum *out, ifd_dtype dtype, const ifd_shape *shape, ifd_view v) {
  ifd_tensor t = {.dtype = dtype, .shape = *shape, .data = v.data};
  if (v.data) t.data = v.data + v.at * (int64_t)ifd_dtype_size(dtype);
  ifd_view dense = ifd_view_of(&t);
  bool in_place = true;
  for (int i = 0; i < shape->rank; i++)
    in_place = in_place && (dense.stride[i] == v.stride[i] || shape->dim[i] == 1);
  if (!in_place) {
    void *room = out->tensor.data; /* of the slice before, which is of the same size */
    if (!room) ALLOC(x->err, room, ifd_arena_alloc_data(x->scratch, ifd_tensor_bytes(&t)));
    t.data = room;
    ifd_move(shape, ifd_dtype_size(dtype), ifd_view_of(&t), v);
  }
  *out = (ifd_datum){.kind = IFD_KIND_TENSOR, .tensor = t};
  return IFD_OK;
}

/* The carried values and slices of sample b that trip t of n begins with. */
static ifd_status set_slices(ifd_eval *x, scan *s, int64_t b, int64_t t, int64_t n) {
  const counts *c = &s->c;
  for (int i = c->n; i < c->n + c->m; i++) {
    const ifd_tensor *from = ifd_eval_in(x, c->first + i);
    course along;
    ifd_shape shape;
    TRY(input_course(x->err, x->node, c, i - c->n, from->shape.rank, &along));
    ifd_view sample = sample_of(s, from, &shape, b);
    ifd_view slice = ifd_view_drop(sample, &shape, along.axis - c->first, along.backward ? n - 1 - t : t);
    TRY(show(x, &s->in[i], from->dtype, &shape, slice));
  }
  return IFD_OK;
}

/* Output i, made when its first element is there: scanned along an axis, of a batch at version 8. */
static ifd_status make_output(ifd_eval *x, scan *s, int i, const ifd_tensor *element) {
  ifd_shape shape = element->shape;
  ifd_tensor *out;
  if (i >= s->c.n) {
    course along;
    TRY(output_course(x->err, x->node, &s->c, i - s->c.n, shape.rank + 1, &along));
    TRY(ifd_shape_insert(x->err, &shape, along.axis, s->most));
  }
  if (s->c.first) TRY(ifd_shape_insert(x->err, &shape, 0, s->batch));
  TRY(ifd_move_out(x, &out, i, element->dtype, &shape));
  if (s->c.first) ifd_fill(out, NULL); /* sequences may be shorter */
  s->has_output[i] = true;
  return IFD_OK;
}

/* An element made for sample b goes to its place in output i. */
static ifd_status put(ifd_eval *x, scan *s, int i, const ifd_datum *made, int64_t b, int64_t t) {
  if (!ifd_eval_wants(x, i)) return IFD_OK;
  EXPECT(x->err, made->kind == IFD_KIND_TENSOR, BAD_INPUT, "output %d of the body is no tensor", i);
  ifd_tensor element = made->tensor;
  if (!s->has_output[i]) TRY(make_output(x, s, i, &element));
  const ifd_tensor *out = &x->out[i].tensor;
  size_t size = ifd_dtype_size(out->dtype);
  ifd_shape shape;
  ifd_view to = sample_of(s, out, &shape, b);
  if (i >= s->c.n) {
    course along;
    TRY(output_course(x->err, x->node, &s->c, i - s->c.n, shape.rank, &along));
    to = ifd_view_drop(to, &shape, along.axis, along.backward ? s->most - 1 - t : t);
  }
  TRY(ifd_expect_same_element(x->err, made, &(ifd_tensor){.dtype = out->dtype, .shape = shape}, t));
  TRY(ifd_keep_strings(x, &element));
  ifd_move(&shape, size, to, ifd_view_of(&element));
  return IFD_OK;
}

static ifd_status make_trip(ifd_eval *x, scan *s, int64_t b, int64_t t, int64_t n) {
  const counts *c = &s->c;
  TRY(ifd_trip(x));
  TRY(set_slices(x, s, b, t, n));
  TRY(x->run_graph(x, c->body, s->in, c->n + c->m, s->made, c->n + c->k));
  for (int i = 0; i < c->n; i++) {
    if (s->owned[i]) ifd_datum_unref(&s->in[i]);
    s->in[i] = s->made[i];
    s->made[i] = (ifd_datum){0};
    s->owned[i] = true;
  }
  for (int i = c->n; i < c->n + c->k; i++) TRY(put(x, s, i, &s->made[i], b, t));
  for (int i = c->n; i < c->n + c->k; i++) ifd_datum_unref(&s->made[i]);
  return IFD_OK;
}

static void drop_carried(scan *s) {
  for (int i = 0; i < s->c.n; i++) {
    if (s->owned[i]) ifd_datum_unref(&s->in[i]);
    s->in[i] = (ifd_datum){0};
    s->owned[i] = false;
  }
}

static ifd_status scan_sample(ifd_eval *x, scan *s, int64_t b) {
  const counts *c = &s->c;
  drop_carried(s);
  for (int i = 0; i < c->n; i++) {
    ifd_shape shape;
    const ifd_datum *from = x->in[c->first + i];
    if (c->first) {
      ifd_view v = sample_of(s, &from->tensor, &shape, b);
      TRY(show(x, &s->in[i], from->tensor.dtype, &shape, v));
    } else {
      s->in[i] = *from;
    }
  }
  int64_t n = s->lens ? s->lens[b] : s->most;
  for (int64_t t = 0; t < n; t++) TRY(make_trip(x, s, b, t, n));
  for (int i = 0; i < c->n && i < x->n_out; i++)
    if (c->first)
      TRY(put(x, s, i, &s->in[i], b, 0));
    else if (ifd_eval_wants(x, i))
      TRY(ifd_datum_own(x->err, &x->out[i], &s->in[i], x->budget));
  return IFD_OK;
}

/* Outputs that no trip made. */
static ifd_status finish(ifd_eval *x, const scan *s) {
  const counts *c = &s->c;
  for (int i = c->first ? 0 : c->n; i < x->n_out; i++) {
    if (s->has_output[i] || !ifd_eval_wants(x, i)) continue;
    course along = {0};
    const ifd_type *t = c->body->outputs.v[i]->type;
    int rank = t->kind == IFD_KIND_TENSOR && t->has_rank && t->rank < IFD_MAX_RANK ? t->rank + 1 : 1;
    if (i >= c->n) TRY(output_course(x->err, x->node, c, i - c->n, rank, &along));
    const int64_t lead[] = {s->batch, s->most};
    int n_lead = (c->first != 0) + (i >= c->n);
    TRY(ifd_trips_none(x, i, c->body->outputs.v[i], along.axis, c->first ? lead : lead + 1, n_lead));
  }
  return IFD_OK;
}

static ifd_status run(ifd_eval *x, scan *s) {
  const counts *c = &s->c;
  ALLOC(x->err, s->in, ifd_new_array(x->scratch, ifd_datum, c->n + c->m));
  ALLOC(x->err, s->made, ifd_new_array(x->scratch, ifd_datum, c->n + c->k));
  ALLOC(x->err, s->has_output, ifd_new_array(x->scratch, bool, c->n + c->k));
  TRY(measure(x, s));
  for (int64_t b = 0; b < s->batch; b++) TRY(scan_sample(x, s, b));
  return finish(x, s);
}

static ifd_status eval(ifd_eval *x, int first) {
  scan s = {0};
  TRY(read_counts(x->err, x->node, first, &s.c));
  ALLOC(x->err, s.owned, ifd_new_array(x->scratch, bool, s.c.n));
  ifd_status status = run(x, &s);
  if (s.in) drop_carried(&s);
  for (int i = 0; s.made && i < s.c.n + s.c.k; i++) ifd_datum_unref(&s.made[i]);
  return status;
}

static ifd_status eval_Scan_8(ifd_eval *x) { return eval(x, 1); }
static ifd_status eval_Scan_9(ifd_eval *x) { return eval(x, 0); }

const ifd_op ifd_ops_scan[] = {{.name = "Scan", .since = 8, .infer = infer_Scan_8, .eval = eval_Scan_8},
                               {.name = "Scan", .since = 9, .infer = infer_Scan_9, .eval = eval_Scan_9},
                               {0}};
