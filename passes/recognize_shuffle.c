#include "pass/order.h"

#include <string.h>

/* Reshape, Transpose and Reshape that only put channels in another order are a Gather of them; those that put
 * pixels among the channels, or take them from there, are SpaceToDepth and DepthToSpace. */

typedef struct shuffle {
  ifd_value *x, *parts, *y; /* parts: x as the Transpose sees it */
  const ifd_node *transpose;
  ifd_order perm;
} shuffle;

static bool shuffle_of(ifd_rewrite *rw, ifd_node *last, shuffle *s) {
  ifd_node *transpose = ifd_rw_sole_producer(last->inputs[0], "Transpose"), *first;
  first = transpose ? ifd_rw_sole_producer(transpose->inputs[0], "Reshape") : NULL;
  if (!first || transpose->graph != last->graph || first->graph != last->graph) return false;
  *s = (shuffle){first->inputs[0], first->outputs[0], last->outputs[0], transpose, {0}};
  return ifd_rw_rank(rw, s->x) > 0 && ifd_order_of(rw, transpose, &s->perm);
}

static ifd_dim part(ifd_rewrite *rw, const shuffle *s, int i) { return ifd_rw_dim(rw, s->parts, i); }

static ifd_status replace(ifd_rewrite *rw, const shuffle *s, ifd_node *with) {
  with->name = s->transpose->name;
  return ifd_rw_replace(rw, s->y, with->outputs[0]);
}

/* ---- channels ---- */

/* The axis of x that is seen as two, which then change places; -1: none, or more happens. */
static int swapped_axis(ifd_rewrite *rw, const shuffle *s) {
  int at = 0, rank = ifd_rw_rank(rw, s->x);
  if (s->perm.rank != rank + 1 || !ifd_rw_same_shape(rw, s->x, s->y)) return -1;
  while (at < rank && s->perm.at[at] == at) at++;
  if (at >= rank || s->perm.at[at] != at + 1 || s->perm.at[at + 1] != at) return -1;
  for (int i = 0; i < rank; i++) {
    int behind = i > at;
    if (i == at) continue;
    if (s->perm.at[i + behind] != i + behind || part(rw, s, i + behind) != ifd_rw_dim(rw, s->x, i)) return -1;
  }
  return ifd_dim_is_number(part(rw, s, at)) && ifd_dim_is_number(part(rw, s, at + 1)) ? at : -1;
}

static ifd_status add_indices(ifd_rewrite *rw, ifd_value **out, int64_t a, int64_t b) {
  ifd_tensor t;
  TRY(ifd_tensor_new(ifd_rw_error(rw), &t, ifd_rw_arena(rw), IFD_INT32, &(ifd_shape){1, {a * b}}));
  for (int64_t i = 0; i < a * b; i++) ifd_tensor_set_i64(&t, i, i % a * b + i / a);
  return ifd_rw_add_constant(rw, out, &t, "indices");
}

static ifd_status gather_channels(ifd_rewrite *rw, ifd_node *last) {
  shuffle s;
  ifd_node *gather;
  if (!shuffle_of(rw, last, &s)) return IFD_OK;
  int axis = swapped_axis(rw, &s);
  if (axis < 0) return IFD_OK;
  if (axis == ifd_rw_rank(rw, s.x) - 1)
    return ifd_rw_refuse(rw, "it would gather single elements, which is slower than to transpose");
  ifd_value *inputs[2] = {s.x};
  TRY(add_indices(rw, &inputs[1], part(rw, &s, axis), part(rw, &s, axis + 1)));
  TRY(ifd_rw_add_node(rw, &gather, "Gather", inputs, 2, 1));
  TRY(ifd_node_set_int(ifd_rw_error(rw), gather, "axis", axis));
  return replace(rw, &s, gather);
}

/* ---- pixels and channels ---- */

/* [N, C·b·b, H, W] and [N, C, H·b, W·b] by way of the parts N, C, H, W and two b. */
typedef struct form {
  const char *op_type, *mode;
  int since;
  bool deepens; /* pixels become channels */
  int8_t perm[6];
  int8_t c, h, w, b_h, b_w; /* where they are among the parts */
} form;

static const form forms[] = {
    {"DepthToSpace", "DCR", 1, false, {0, 3, 4, 1, 5, 2}, 3, 4, 5, 1, 2},
    {"DepthToSpace", "CRD", 11, false, {0, 1, 4, 2, 5, 3}, 1, 4, 5, 2, 3},
    {"SpaceToDepth", NULL, 1, true, {0, 3, 5, 1, 2, 4}, 1, 2, 4, 3, 5},
};

static bool has_dims(ifd_rewrite *rw, const ifd_value *v, const ifd_dim *dims, int n) {
  for (int i = 0; i < n; i++)
    if (ifd_rw_dim(rw, v, i) != dims[i]) return false;
  return ifd_rw_rank(rw, v) == n;
}

static bool has_form(ifd_rewrite *rw, const shuffle *s, const form *f) {
  ifd_dims *dims = ifd_rw_dims(rw);
  ifd_dim n = part(rw, s, 0), b = part(rw, s, f->b_h), c = part(rw, s, f->c), h = part(rw, s, f->h),
          w = part(rw, s, f->w);
  if (s->perm.rank != 6 || memcmp(s->perm.at, f->perm, sizeof f->perm) != 0) return false;
  if (!ifd_dim_is_number(b) || b < 1 || part(rw, s, f->b_w) != b) return false;
  ifd_dim deep[] = {n, ifd_dim_mul(dims, c, b * b), h, w};
  ifd_dim flat[] = {n, c, ifd_dim_mul(dims, h, b), ifd_dim_mul(dims, w, b)};
  return has_dims(rw, s->x, f->deepens ? flat : deep, 4) && has_dims(rw, s->y, f->deepens ? deep : flat, 4);
}

static ifd_status name_form(ifd_rewrite *rw, ifd_node *last) {
  shuffle s;
  ifd_node *node;
  if (!shuffle_of(rw, last, &s)) return IFD_OK;
  const form *f = forms, *end = forms + sizeof forms / sizeof *forms;
  while (f < end && (last->opset < f->since || !has_form(rw, &s, f))) f++;
  if (f == end) return IFD_OK;
  ifd_dtype dtype = ifd_rw_dtype(rw, s.x);
  if (dtype != IFD_FLOAT && dtype != IFD_DOUBLE)
    return ifd_rw_refuse(rw, "it is a %s, which not every runtime has for this type", f->op_type);
  TRY(ifd_rw_add_node(rw, &node, f->op_type, &s.x, 1, 1));
  TRY(ifd_node_set_int(ifd_rw_error(rw), node, "blocksize", part(rw, &s, f->b_h)));
  if (f->since >= 11) TRY(ifd_node_set_string(ifd_rw_error(rw), node, "mode", f->mode));
  return replace(rw, &s, node);
}

const ifd_pass ifd_pass_recognize_shuffle = {
    .summary = "recognizes Gather of channels, DepthToSpace and SpaceToDepth, written as Reshape, Transpose, "
               "Reshape",
    .phase = IFD_PHASE_FUSE,
    .rules =
        (const ifd_rule[]){{"Reshape", IFD_EXACT, gather_channels}, {"Reshape", IFD_EXACT, name_form}, {0}},
};
