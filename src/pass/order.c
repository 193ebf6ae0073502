#include "pass/order.h"

#include "pass/ints.h"
#include <string.h>

/* ---- orders ---- */

bool ifd_order_equal(const ifd_order *a, const ifd_order *b) {
  return a->rank == b->rank && memcmp(a->at, b->at, (size_t)a->rank) == 0;
}

bool ifd_order_is_identity(const ifd_order *o) {
  for (int i = 0; i < o->rank; i++)
    if (o->at[i] != i) return false;
  return true;
}

ifd_order ifd_order_inverse(const ifd_order *o) {
  ifd_order r = {.rank = o->rank};
  for (int i = 0; i < o->rank; i++) r.at[o->at[i]] = (int8_t)i;
  return r;
}

bool ifd_order_of(ifd_rewrite *rw, const ifd_node *transpose, ifd_order *out) {
  const int64_t *perm;
  int n = ifd_node_ints(transpose, "perm", &perm), rank = ifd_rw_rank(rw, transpose->inputs[0]);
  if (rank < 0 || rank > IFD_MAX_RANK || (n && n != rank)) return false;
  *out = (ifd_order){.rank = rank};
  for (int i = 0; i < rank; i++) out->at[i] = (int8_t)(n ? perm[i] : rank - 1 - i);
  return true;
}

ifd_status ifd_order_transpose(ifd_rewrite *rw, ifd_node **out, ifd_value *x, const ifd_order *o) {
  int64_t perm[IFD_MAX_RANK];
  for (int i = 0; i < o->rank; i++) perm[i] = o->at[i];
  TRY(ifd_rw_add_node(rw, out, "Transpose", &x, 1, 1));
  return ifd_node_set_ints(ifd_rw_error(rw), *out, "perm", perm, o->rank);
}

/* dims[at[i]] = from[i]; of equal axes in the order's rank, those missing on the left are 1. */
static void reorder_shape(ifd_shape *to, const ifd_shape *from, const ifd_order *o) {
  to->rank = o->rank;
  for (int i = 0; i < o->rank; i++) {
    int k = i - (o->rank - from->rank);
    to->dim[o->at[i]] = k < 0 ? 1 : from->dim[k];
  }
}

/* Copies elements so that the one at (…, i_k, …) of `from` goes to where the order puts it. */
static void reorder_elements(ifd_tensor *to, const ifd_tensor *from, const ifd_order *o) {
  int64_t to_strides[IFD_MAX_RANK], index[IFD_MAX_RANK] = {0}, place = 0;
  size_t size = ifd_dtype_size(from->dtype);
  int missing = o->rank - from->shape.rank;
  ifd_shape_strides(&to->shape, to_strides);
  for (int64_t e = 0, n = ifd_tensor_count(from); e < n; e++) {
    memcpy((char *)to->data + (size_t)place * size, (const char *)from->data + (size_t)e * size, size);
    for (int k = from->shape.rank - 1; k >= 0; k--) {
      int64_t stride = to_strides[o->at[k + missing]];
      place += stride;
      if (++index[k] < from->shape.dim[k]) break;
      place -= stride * index[k];
      index[k] = 0;
    }
  }
}

static void drop_leading_ones(ifd_shape *s) {
  int skip = 0;
  while (skip < s->rank && s->dim[skip] == 1) skip++;
  s->rank -= skip;
  memmove(s->dim, s->dim + skip, (size_t)s->rank * sizeof *s->dim);
}

static ifd_status add_reordered(ifd_rewrite *rw, ifd_value **out, ifd_value *c, const ifd_order *o,
                                bool trim) {
  const ifd_tensor *from = ifd_rw_constant(rw, c);
  ifd_tensor dense, t;
  *out = c;
  if (ifd_tensor_count(from) == 1) return IFD_OK;
  t = *from;
  reorder_shape(&t.shape, &from->shape, o);
  if (!from->splat) {
    dense = *from;
    if (from->packed) {
      TRY(ifd_tensor_new(ifd_rw_error(rw), &dense, ifd_rw_scratch(rw), from->dtype, &from->shape));
      ifd_tensor_expand(from, dense.data);
    }
    ifd_shape shape = t.shape;
    TRY(ifd_tensor_new(ifd_rw_error(rw), &t, ifd_rw_arena(rw), from->dtype, &shape));
    reorder_elements(&t, &dense, o);
  }
  if (trim) drop_leading_ones(&t.shape);
  return ifd_rw_add_constant(rw, out, &t, c->name);
}

/* ---- axes removed from an order, and put in ---- */

/* The order without the axes of v that are marked. */
static ifd_order without(const ifd_order *o, const bool *marked) {
  ifd_order r = {0};
  bool stored_marked[IFD_MAX_RANK] = {0};
  for (int i = 0; i < o->rank; i++) stored_marked[o->at[i]] = marked[i];
  for (int i = 0; i < o->rank; i++) {
    if (marked[i]) continue;
    int8_t place = 0;
    for (int k = 0; k < o->at[i]; k++) place += !stored_marked[k];
    r.at[r.rank++] = place;
  }
  return r;
}

/* An order of `rank` axes that gives o without the marked ones, which stay where they are. */
static ifd_order with(const ifd_order *o, const bool *marked, int rank) {
  ifd_order r = {.rank = rank};
  int8_t free_places[IFD_MAX_RANK];
  int n = 0, k = 0;
  for (int i = 0; i < rank; i++)
    if (!marked[i]) free_places[n++] = (int8_t)i;
  for (int i = 0; i < rank; i++) r.at[i] = marked[i] ? (int8_t)i : free_places[o->at[k++]];
  return r;
}

/* ---- where operators keep their axes ---- */

static void sort_list(ifd_ints *x) {
  for (int i = 1; i < x->n; i++)
    for (int k = i; k > 0 && x->v[k] < x->v[k - 1]; k--) {
      int64_t t = x->v[k];
      x->v[k] = x->v[k - 1], x->v[k - 1] = t;
    }
}

static bool single_axis(const ifd_node *node, int64_t otherwise, int rank, int64_t *axis) {
  *axis = ifd_node_int(node, "axis", otherwise);
  if (*axis < 0) *axis += rank;
  return *axis >= 0 && *axis < rank;
}

/* ---- families of operators ---- */

typedef struct family {
  const char *op_types;
  int since;    /* opset */
  int n_images; /* leading inputs that are reordered; the others stay */
  int64_t axis; /* default of the attribute */
  bool lists;   /* axes in a list, not one in `axis` */
  bool (*find)(ifd_rewrite *rw, const struct family *f, ifd_reordering *r, bool is_output, int slot,
               const ifd_order *o);
  ifd_status (*build)(ifd_rewrite *rw, const struct family *f, const ifd_reordering *r, ifd_node *node);
} family;

#define FIND(name)                                                                                           \
  static bool name(ifd_rewrite *rw, const family *f, ifd_reordering *r, bool is_output, int slot,            \
                   const ifd_order *o)
#define BUILD(name)                                                                                          \
  static ifd_status name(ifd_rewrite *rw, const family *f, const ifd_reordering *r, ifd_node *node)

static bool all_ones(ifd_rewrite *rw, const ifd_value *v) {
  int rank = ifd_rw_rank(rw, v);
  for (int i = 0; i < rank; i++)
    if (ifd_rw_dim(rw, v, i) != 1) return false;
  return rank >= 0;
}

/* Elements meet as before when all images are reordered alike, and constants with them. */
FIND(find_elementwise) {
  (void)f, (void)is_output, (void)slot;
  if (r->node->opset < 7 && r->node->n_inputs > 1) return false;
  for (int i = 0; i < r->node->n_inputs; i++) {
    const ifd_value *v = r->node->inputs[i];
    const ifd_tensor *c = ifd_rw_constant(rw, v);
    if (!v || all_ones(rw, v) || (c && c->shape.rank <= o->rank)) continue;
    if (c || ifd_rw_rank(rw, v) != o->rank) return false;
    r->in[i] = *o;
  }
  for (int i = 0; i < r->node->n_outputs; i++) {
    if (!r->node->outputs[i]) continue;
    if (ifd_rw_rank(rw, r->node->outputs[i]) != o->rank) return false;
    r->out[i] = *o;
  }
  r->x = *o;
  return true;
}

BUILD(build_elementwise) {
  (void)f;
  for (int i = 0; i < node->n_inputs; i++)
    if (ifd_rw_constant(rw, node->inputs[i]))
      TRY(add_reordered(rw, &node->inputs[i], node->inputs[i], &r->x, true));
  return IFD_OK;
}

/* Operators along axes of images that keep their rank: all images reordered alike. */
FIND(find_images) {
  (void)is_output;
  int n = f->n_images ? f->n_images : r->node->n_inputs;
  if (!is_output && slot >= n) return false;
  for (int i = 0; i < n && i < r->node->n_inputs; i++) {
    if (!r->node->inputs[i] || ifd_rw_rank(rw, r->node->inputs[i]) != o->rank) return false;
    if (!ifd_rw_constant(rw, r->node->inputs[i])) r->in[i] = *o;
  }
  for (int i = 0; i < r->node->n_outputs; i++)
    if (r->node->outputs[i]) {
      if (ifd_rw_rank(rw, r->node->outputs[i]) != o->rank) return false;
      r->out[i] = *o;
    }
  r->x = *o;
  return true;
}

FIND(find_along_axis) {
  int64_t axis;
  return single_axis(r->node, f->axis, o->rank, &axis) && find_images(rw, f, r, is_output, slot, o);
}

BUILD(build_along_axis) {
  int64_t axis;
  int n = f->n_images ? f->n_images : node->n_inputs;
  for (int i = 0; i < n && i < node->n_inputs; i++)
    if (ifd_rw_constant(rw, node->inputs[i]))
      TRY(add_reordered(rw, &node->inputs[i], node->inputs[i], &r->x, false));
  if (!single_axis(r->node, f->axis, r->x.rank, &axis)) return IFD_OK;
  return ifd_node_set_int(ifd_rw_error(rw), node, "axis", r->x.at[axis]);
}

/* ---- quantization: of the whole tensor, or along an axis ---- */

static bool per_tensor(ifd_rewrite *rw, const ifd_node *node) {
  return ifd_rw_rank(rw, node->inputs[1]) == 0;
}

FIND(find_quantize) {
  int scale_rank = ifd_rw_rank(rw, r->node->inputs[1]);
  if (scale_rank < 0 || scale_rank > 1 || ifd_node_int(r->node, "block_size", 0)) return false;
  return per_tensor(rw, r->node) ? find_images(rw, f, r, is_output, slot, o)
                                 : find_along_axis(rw, f, r, is_output, slot, o);
}

BUILD(build_quantize) { return per_tensor(rw, r->node) ? IFD_OK : build_along_axis(rw, f, r, node); }

/* The first input and output are images of the same elements; the other outputs are of all of them. */
FIND(find_scalars) {
  (void)f, (void)is_output;
  if (slot || ifd_rw_rank(rw, r->node->inputs[0]) != o->rank) return false;
  r->in[0] = r->out[0] = r->x = *o;
  return true;
}

BUILD(build_scalars) {
  (void)rw, (void)f, (void)r, (void)node;
  return IFD_OK;
}

/* ---- operators that remove axes, or keep them as 1 ---- */

/* Which axes of an image of this rank the node works along. */
static bool find_marks(ifd_rewrite *rw, const family *f, const ifd_node *node, int rank, bool *marked,
                       bool *given) {
  ifd_ints axes = {.given = true, .n = 1};
  if (!f->lists) {
    if (!single_axis(node, f->axis, rank, &axes.v[0])) return false;
  } else if (!ifd_ints_axes(rw, node, rank, &axes))
    return false;
  *given = axes.n > 0;
  for (int i = 0; i < rank; i++) marked[i] = !*given;
  for (int i = 0; i < axes.n; i++) marked[axes.v[i]] = true;
  return true;
}

/* The reordering of a node from an image to one without the marked axes. */
static bool drop_axes(ifd_reordering *r, bool is_output, int slot, const ifd_order *o, const bool *marked,
                      int rank) {
  if (slot || (!is_output && o->rank != rank)) return false;
  r->x = is_output ? with(o, marked, rank) : *o;
  r->in[0] = r->x;
  r->out[0] = without(&r->x, marked);
  return true;
}

FIND(find_reduce) {
  bool marked[IFD_MAX_RANK], given, all = true;
  int rank = ifd_rw_rank(rw, r->node->inputs[0]);
  if (rank < 1 || slot || !find_marks(rw, f, r->node, rank, marked, &given)) return false;
  if (!given && ifd_node_int(r->node, "noop_with_empty_axes", 0)) return false;
  if (!ifd_node_int(r->node, "keepdims", 1)) return drop_axes(r, is_output, slot, o, marked, rank);
  for (int i = 0; i < rank; i++) all &= marked[i];
  if (o->rank != rank) return false;
  r->x = r->in[0] = *o;
  if (!all) r->out[0] = *o;
  return true;
}

FIND(find_squeeze) {
  bool marked[IFD_MAX_RANK], given;
  int rank = ifd_rw_rank(rw, r->node->inputs[0]);
  if (rank < 1 || !find_marks(rw, f, r->node, rank, marked, &given) || !given) return false;
  return drop_axes(r, is_output, slot, o, marked, rank);
}

FIND(find_unsqueeze) {
  bool marked[IFD_MAX_RANK], given;
  int rank = ifd_rw_rank(rw, r->node->outputs[0]);
  if (rank < 1 || slot || !find_marks(rw, f, r->node, rank, marked, &given) || !given) return false;
  if (is_output && o->rank != rank) return false;
  r->x = is_output ? *o : with(o, marked, rank);
  r->out[0] = r->x;
  r->in[0] = without(&r->x, marked);
  return true;
}

BUILD(build_axes) {
  ifd_ints axes;
  if (!ifd_ints_axes(rw, r->node, r->x.rank, &axes) || !axes.n) return IFD_OK;
  for (int i = 0; i < axes.n; i++) axes.v[i] = r->x.at[axes.v[i]];
  sort_list(&axes);
  (void)f;
  return ifd_ints_store(rw, node, "axes", axes.v, axes.n);
}

/* One index takes its axis away, a list of them keeps it. */
FIND(find_gather) {
  int64_t axis;
  int rank = ifd_rw_rank(rw, r->node->inputs[0]), indices = ifd_rw_rank(rw, r->node->inputs[1]);
  bool marked[IFD_MAX_RANK] = {0};
  if (rank < 1 || indices < 0 || indices > 1 || !single_axis(r->node, f->axis, rank, &axis)) return false;
  if (indices == 1) return find_images(rw, f, r, is_output, slot, o);
  marked[axis] = true;
  return drop_axes(r, is_output, slot, o, marked, rank);
}

/* ---- operators with a number for each axis ---- */

/* v as n / rank lists of one number for each axis, reordered. */
static void reorder_list(ifd_ints *v, const ifd_order *o) {
  ifd_ints r = *v;
  for (int i = 0; i < v->n; i++) r.v[i / o->rank * o->rank + o->at[i % o->rank]] = v->v[i];
  *v = r;
}

FIND(find_pad) {
  ifd_ints pads, axes;
  int rank = ifd_rw_rank(rw, r->node->inputs[0]);
  if (!ifd_ints_axes(rw, r->node, rank, &axes) || !find_images(rw, f, r, is_output, slot, o)) return false;
  return axes.given || (ifd_ints_of(rw, r->node, "pads", &pads) && pads.n == 2 * rank);
}

BUILD(build_pad) {
  ifd_ints pads, axes;
  if (!ifd_ints_axes(rw, r->node, r->x.rank, &axes) ||
      (!axes.given && !ifd_ints_of(rw, r->node, "pads", &pads)))
    return IFD_OK;
  if (!axes.given) {
    reorder_list(&pads, &r->x);
    return ifd_ints_store(rw, node, "pads", pads.v, pads.n);
  }
  for (int i = 0; i < axes.n; i++) axes.v[i] = r->x.at[axes.v[i]];
  (void)f;
  return ifd_ints_store(rw, node, "axes", axes.v, axes.n);
}

/* Axes not given are the first ones, as many as starts. */
static bool find_slice_axes(ifd_rewrite *rw, const ifd_node *node, int rank, ifd_ints *axes) {
  const int64_t *starts;
  if (!ifd_ints_axes(rw, node, rank, axes)) return false;
  if (axes->given) return true;
  if (node->opset >= 10 && node->n_inputs < 4) return false;
  ifd_dim n = node->opset < 10 ? ifd_node_ints(node, "starts", &starts) : ifd_rw_dim(rw, node->inputs[1], 0);
  if (!ifd_dim_is_number(n) || n > rank) return false;
  axes->n = (int)n;
  for (int i = 0; i < axes->n; i++) axes->v[i] = i;
  return true;
}

FIND(find_slice) {
  ifd_ints axes;
  return find_slice_axes(rw, r->node, o->rank, &axes) && find_images(rw, f, r, is_output, slot, o);
}

BUILD(build_slice) {
  ifd_ints axes;
  (void)f;
  if (!find_slice_axes(rw, r->node, r->x.rank, &axes)) return IFD_OK;
  for (int i = 0; i < axes.n; i++) axes.v[i] = r->x.at[axes.v[i]];
  return ifd_ints_store(rw, node, "axes", axes.v, axes.n);
}

/* Expand and Tile: their second input has a number for each axis. */
static const char *counts_of(const ifd_node *node) { return ifd_node_is(node, "Tile") ? "repeats" : "shape"; }

FIND(find_counts) {
  ifd_ints counts;
  return ifd_ints_of(rw, r->node, counts_of(r->node), &counts) && counts.n == o->rank &&
         find_images(rw, f, r, is_output, slot, o);
}

BUILD(build_counts) {
  ifd_ints counts;
  (void)f;
  if (!ifd_ints_of(rw, r->node, counts_of(r->node), &counts)) return IFD_OK;
  reorder_list(&counts, &r->x);
  return ifd_ints_store(rw, node, counts_of(node), counts.v, counts.n);
}

/* Resizing is done by runtimes along the last axes, if not along all: it may move there, not away. */
FIND(find_resize) {
  ifd_ints axes;
  int rank = o->rank, last = r->node->n_inputs - 1; /* scales or sizes */
  const ifd_tensor *t = last > 0 ? ifd_rw_constant(rw, r->node->inputs[last]) : NULL;
  if (!t || ifd_tensor_count(t) != rank || !ifd_ints_axes(rw, r->node, rank, &axes) || axes.given ||
      ifd_node_string_is(r->node, "coordinate_transformation_mode", "", "tf_crop_and_resize"))
    return false;
  for (int i = 0; i < rank; i++) {
    ifd_dim same = last == 3 ? ifd_rw_dim(rw, r->node->inputs[0], i) : 1;
    if (ifd_tensor_get_f64(t, i) != (double)same && o->at[i] < rank - 2) return false;
  }
  return find_images(rw, f, r, is_output, slot, o);
}

BUILD(build_resize) {
  ifd_tensor t;
  ifd_value **last = &node->inputs[node->n_inputs - 1];
  const ifd_tensor *from = ifd_rw_constant(rw, *last);
  (void)f;
  TRY(ifd_tensor_new(ifd_rw_error(rw), &t, ifd_rw_arena(rw), from->dtype, &from->shape));
  for (int i = 0; i < r->x.rank; i++) ifd_tensor_set_f64(&t, r->x.at[i], ifd_tensor_get_f64(from, i));
  return ifd_rw_add_constant(rw, last, &t, (*last)->name);
}

/* ---- the operators ---- */

static const family elementwise = {"", 1, 0, 0, false, find_elementwise, build_elementwise};

static const family families[] = {
    {"Concat", 4, 0, 0, false, find_along_axis, build_along_axis},
    {"Split", 2, 1, 0, false, find_along_axis, build_along_axis},
    {"Softmax LogSoftmax Hardmax", 13, 1, -1, false, find_along_axis, build_along_axis},
    {"TopK", 1, 1, -1, false, find_along_axis, build_along_axis},
    {"QuantizeLinear DequantizeLinear", 10, 1, 1, false, find_quantize, build_quantize},
    {"DynamicQuantizeLinear", 11, 1, 0, false, find_scalars, build_scalars},
    {"ReduceSum ReduceMean ReduceMax ReduceMin ReduceProd ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp "
     "ReduceSumSquare",
     1, 1, 0, true, find_reduce, build_axes},
    {"ArgMax ArgMin", 1, 1, 0, false, find_reduce, build_along_axis},
    {"Squeeze", 1, 1, 0, true, find_squeeze, build_axes},
    {"Unsqueeze", 1, 1, 0, true, find_unsqueeze, build_axes},
    {"Gather", 1, 1, 0, false, find_gather, build_along_axis},
    {"Pad", 2, 1, 0, true, find_pad, build_pad},
    {"Slice", 1, 1, 0, true, find_slice, build_slice},
    {"Expand", 8, 1, 0, false, find_counts, build_counts},
    {"Tile", 6, 1, 0, false, find_counts, build_counts},
    {"Resize", 11, 1, 0, false, find_resize, build_resize},
};

static const family *family_of(const ifd_node *node) {
  if (*node->domain || !node->op || (node->op->flags & IFD_OP_IMPURE)) return NULL;
  if (node->op->flags & IFD_OP_ELEMENTWISE) return &elementwise;
  for (size_t i = 0; i < sizeof families / sizeof *families; i++)
    if (node->opset >= families[i].since && ifd_node_is_any(node, families[i].op_types)) return &families[i];
  return NULL;
}

static void drop_identities(ifd_order *o, int n) {
  for (int i = 0; i < n; i++)
    if (ifd_order_is_identity(&o[i])) o[i].rank = 0;
}

ifd_status ifd_reordering_find(ifd_rewrite *rw, ifd_reordering *out, const ifd_node *node, bool is_output,
                               int slot, const ifd_order *o, bool *found) {
  const family *f = family_of(node);
  *found = false;
  if (!f || node->n_inputs < 1 || !node->inputs[0]) return IFD_OK;
  *out = (ifd_reordering){.node = node};
  ALLOC(ifd_rw_error(rw), out->in, ifd_new_array(ifd_rw_scratch(rw), ifd_order, node->n_inputs));
  ALLOC(ifd_rw_error(rw), out->out, ifd_new_array(ifd_rw_scratch(rw), ifd_order, node->n_outputs));
  bool moves_constants = f->build == build_elementwise || f->build == build_along_axis;
  if (ifd_rw_constant(rw, node->inputs[0]) && !moves_constants) return IFD_OK;
  *found = f->find(rw, f, out, is_output, slot, o);
  for (int i = 0; i < node->n_inputs; i++)
    if (ifd_rw_constant(rw, node->inputs[i])) out->in[i].rank = 0;
  drop_identities(out->in, node->n_inputs);
  drop_identities(out->out, node->n_outputs);
  return IFD_OK;
}

ifd_status ifd_reordering_build(ifd_rewrite *rw, ifd_node **out, const ifd_reordering *r,
                                ifd_value *const *inputs) {
  const family *f = family_of(r->node);
  TRY(ifd_rw_add_like(rw, out, r->node, inputs, r->node->n_inputs));
  return f->build(rw, f, r, *out);
}
