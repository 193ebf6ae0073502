#include "pass/affine.h"
#include "pass/ints.h"
#include "pass/unblock.h"

#include <string.h>

/* f(Unblock(x), …) = Unblock(f(x, …)) where f works on elements: blocked images flow on until something needs
 * them plain. Channels beyond the last are zeros going in, and may hold anything finite coming out; f must
 * keep them finite. */

/* A constant that varies along channels alone, [C, 1, …], as [1, ceil(C / 16), 1, …, 16] with zeros beyond C;
 * or one element. */
static ifd_status block_constant(ifd_rewrite *rw, ifd_value **out, ifd_value *c, int rank, int64_t channels) {
  const ifd_tensor *t = ifd_rw_constant(rw, c);
  ifd_tensor b;
  ifd_shape shape = {.rank = rank + 1};
  *out = NULL;
  if (!t || t->dtype != IFD_FLOAT || t->shape.rank > rank) return IFD_OK;
  if (ifd_tensor_count(t) == 1) {
    TRY(ifd_tensor_new(ifd_rw_error(rw), &b, ifd_rw_arena(rw), IFD_FLOAT, &(ifd_shape){0}));
    ifd_tensor_set_f64(&b, 0, ifd_tensor_get_f64(t, 0));
    return ifd_rw_add_constant(rw, out, &b, c->name);
  }
  for (int i = 0; i < t->shape.rank; i++) {
    bool is_channel = rank - t->shape.rank + i == 1;
    if (t->shape.dim[i] != (is_channel ? channels : 1)) return IFD_OK;
  }
  for (int i = 0; i <= rank; i++)
    shape.dim[i] = i == 1 ? ifd_ceil_div(channels, IFD_BLOCK) : i == rank ? IFD_BLOCK : 1;
  TRY(ifd_tensor_new(ifd_rw_error(rw), &b, ifd_rw_arena(rw), IFD_FLOAT, &shape));
  for (int64_t i = 0; i < channels; i++) ifd_tensor_set_f64(&b, i, ifd_tensor_get_f64(t, i));
  return ifd_rw_add_constant(rw, out, &b, c->name);
}

/* A pixel of each image, or of one for all. */
static bool is_pixel(ifd_rewrite *rw, const ifd_value *v) {
  int rank = ifd_rw_rank(rw, v);
  for (int i = 2; i < rank; i++)
    if (ifd_rw_dim(rw, v, i) != 1) return false;
  return rank >= 3;
}

/* The blocked form of an operand of an `image`, or NULL: an Unblock's source of the same channels, a
 * constant, or a Block of a computed pixel, which is little beside the image. */
static ifd_status operand(ifd_rewrite *rw, ifd_value **out, ifd_value *v, const ifd_value *image,
                          int64_t channels) {
  ifd_node *unblock = ifd_rw_own_producer(v, "Unblock"), *block;
  int rank = ifd_rw_rank(rw, image);
  *out = NULL;
  if (!unblock && !ifd_rw_constant(rw, v) && ifd_rw_dtype(rw, v) == IFD_FLOAT && ifd_rw_rank(rw, v) == rank &&
      ifd_rw_dim(rw, v, 1) == channels && is_pixel(rw, v) && !is_pixel(rw, image)) {
    TRY(ifd_rw_add_node(rw, &block, "infold.Block", &v, 1, 1));
    *out = block->outputs[0];
    return IFD_OK;
  }
  if (!unblock) return block_constant(rw, out, v, rank, channels);
  if (ifd_node_int(unblock, "channels", 0) == channels && ifd_rw_rank(rw, v) == rank)
    *out = unblock->inputs[0];
  return IFD_OK;
}

static ifd_status sink(ifd_rewrite *rw, ifd_node *node) {
  ifd_value *inputs[4];
  int64_t channels = 0;
  if (!node->op || node->n_inputs > 4 || node->n_outputs != 1) return IFD_OK;
  for (int i = 0; i < node->n_inputs && !channels; i++)
    if (ifd_rw_own_producer(node->inputs[i], "Unblock"))
      channels = ifd_node_int(node->inputs[i]->producer, "channels", 0);
  int rank = ifd_rw_rank(rw, node->outputs[0]);
  if (!channels || rank < 3) return IFD_OK;
  if (node->n_inputs > 1 && node->opset < 7)
    return ifd_rw_refuse(rw, "operators of opset 6 broadcast along an axis of their own");
  for (int i = 0; i < node->n_inputs; i++) {
    inputs[i] = NULL;
    if (!node->inputs[i]) continue;
    TRY(operand(rw, &inputs[i], node->inputs[i], node->outputs[0], channels));
    if (!inputs[i]) return ifd_rw_refuse(rw, "operand %d is not blocked", i);
  }
  ifd_node *moved;
  TRY(ifd_rw_add_like(rw, &moved, node, inputs, node->n_inputs));
  return ifd_unblock_replace(rw, node->outputs[0], moved->outputs[0], channels);
}

/* What moves elements, for one reader alone. */
static ifd_node *mover_of(const ifd_value *v) {
  ifd_node *mover = ifd_value_only_reader(v) ? v->producer : NULL;
  bool moves = mover && (ifd_node_is(mover, "Reshape") || ifd_node_is(mover, "Transpose") ||
                         ifd_rw_is_own(mover, "UnblockLast"));
  return moves ? mover : NULL;
}

/* Behind what only moves elements of a blocked image: f(Reshape(Unblock(x))) = Reshape(f(Unblock(x))). */
static ifd_status sink_behind(ifd_rewrite *rw, ifd_node *node) {
  ifd_node *mover = node->n_inputs == 1 ? mover_of(node->inputs[0]) : NULL, *moved, *after;
  const ifd_node *first = mover;
  ifd_value *inputs[2] = {NULL};
  while (first && !ifd_rw_is_own(first, "UnblockLast") && !ifd_rw_own_producer(first->inputs[0], "Unblock"))
    first = mover_of(first->inputs[0]);
  if (!first) return IFD_OK;
  TRY(ifd_rw_add_like(rw, &moved, node, mover->inputs, 1));
  inputs[0] = moved->outputs[0], inputs[1] = ifd_node_input(mover, 1);
  TRY(ifd_rw_add_like(rw, &after, mover, inputs, mover->n_inputs));
  return ifd_rw_replace(rw, node->outputs[0], after->outputs[0]);
}

/* By one number that leaves zeros and whatever lies beyond the channels finite. */
static ifd_status sink_by_number(ifd_rewrite *rw, ifd_node *node) {
  double x;
  if (node->n_inputs != 2 || !ifd_rw_scalar(rw, node->inputs[1], &x)) return IFD_OK;
  return (ifd_node_is(node, "Div") ? x != 0 : x == 2 || x == 3) ? sink(rw, node) : IFD_OK;
}

/* Channels side by side stay whole blocks when each part but the last fills its own; parts of images, which
 * have the same channels, always do. */
static ifd_status sink_concat(ifd_rewrite *rw, ifd_node *node) {
  int rank = ifd_rw_rank(rw, node->outputs[0]);
  int64_t axis = ifd_node_int(node, "axis", 1), all = 0, channels = 0;
  ifd_value **inputs;
  ifd_node *moved;
  if (axis < 0) axis += rank;
  if (rank < 3 || axis < 1) return IFD_OK;
  ALLOC(ifd_rw_error(rw), inputs, ifd_new_array(ifd_rw_scratch(rw), ifd_value *, node->n_inputs));
  for (int i = 0; i < node->n_inputs; i++) {
    ifd_node *unblock = ifd_rw_own_producer(node->inputs[i], "Unblock");
    if (!unblock || (axis == 1 && all % IFD_BLOCK))
      return ifd_rw_refuse(rw, "part %d is not blocked, or begins within a block", i);
    channels = ifd_node_int(unblock, "channels", 0);
    all += channels;
    inputs[i] = unblock->inputs[0];
  }
  TRY(ifd_rw_add_like(rw, &moved, node, inputs, node->n_inputs));
  TRY(ifd_node_set_int(ifd_rw_error(rw), moved, "axis", axis));
  return ifd_unblock_replace(rw, node->outputs[0], moved->outputs[0], axis == 1 ? all : channels);
}

/* A part of an image, whose axes count as those of the blocked tensor do. */
static ifd_status sink_slice(ifd_rewrite *rw, ifd_node *node) {
  ifd_node *before = ifd_rw_own_producer(node->inputs[0], "Unblock"), *moved;
  int rank = ifd_rw_rank(rw, node->inputs[0]);
  ifd_value *inputs[5] = {NULL};
  ifd_ints axes;
  if (!before || rank < 3 || !ifd_ints_axes(rw, node, rank, &axes) || !axes.n) return IFD_OK;
  for (int i = 0; i < axes.n; i++)
    if (axes.v[i] < 2) return ifd_rw_refuse(rw, "it takes a part of batch or channels");
  for (int i = 1; i < node->n_inputs && i < 5; i++) inputs[i] = node->inputs[i];
  inputs[0] = before->inputs[0];
  TRY(ifd_rw_add_like(rw, &moved, node, inputs, node->n_inputs));
  TRY(ifd_ints_store(rw, moved, "axes", axes.v, axes.n));
  return ifd_unblock_replace(rw, node->outputs[0], moved->outputs[0], ifd_node_int(before, "channels", 0));
}

/* Padding around the image: pads of [N, C, image…] become those of the blocked tensor, when channels get
 * none. */
static ifd_status sink_pad(ifd_rewrite *rw, ifd_node *node) {
  ifd_node *before = ifd_rw_own_producer(node->inputs[0], "Unblock"), *moved;
  const ifd_tensor *pads = ifd_rw_constant(rw, ifd_node_input(node, 1));
  int rank = ifd_rw_rank(rw, node->inputs[0]);
  int64_t more[2 * (IFD_MAX_RANK + 1)] = {0};
  if (!before || node->opset < 11 || ifd_node_has_input(node, 3) || !pads || rank < 3 ||
      ifd_tensor_count(pads) != 2 * rank)
    return IFD_OK;
  for (int i = 0; i < rank; i++) {
    more[i] = ifd_tensor_get_i64(pads, i);
    more[rank + 1 + i] = ifd_tensor_get_i64(pads, rank + i);
  }
  if (more[0] || more[1] || more[rank + 1] || more[rank + 2])
    return ifd_rw_refuse(rw, "it pads batch or channels");
  ifd_value *inputs[3] = {before->inputs[0], NULL, ifd_node_input(node, 2)};
  TRY(ifd_rw_add_ints(rw, &inputs[1], more, 2 * (rank + 1), "pads"));
  TRY(ifd_rw_add_like(rw, &moved, node, inputs, node->n_inputs > 2 ? 3 : 2));
  return ifd_unblock_replace(rw, node->outputs[0], moved->outputs[0], ifd_node_int(before, "channels", 0));
}

/* The scales (one more, of 1) or sizes of a Resize of [N, C, image…] as those of the blocked tensor; NULL
 * where they are not known or change batch or channels. */
static ifd_status block_sizes(ifd_rewrite *rw, ifd_value **out, ifd_value *v, const ifd_value *x,
                              int64_t channels) {
  const ifd_tensor *t = ifd_rw_constant(rw, v);
  int rank = ifd_rw_rank(rw, x);
  bool scales = t && t->dtype == IFD_FLOAT;
  ifd_tensor more;
  *out = NULL;
  if (!t || ifd_tensor_count(t) != rank) return IFD_OK;
  double batch = scales ? 1 : (double)ifd_rw_dim(rw, x, 0), first = scales ? 1 : (double)channels;
  if ((!scales && !ifd_dim_is_number(ifd_rw_dim(rw, x, 0))) || ifd_tensor_get_f64(t, 0) != batch ||
      ifd_tensor_get_f64(t, 1) != first)
    return IFD_OK;
  ifd_shape shape = {.rank = 1, .dim = {rank + 1}};
  TRY(ifd_tensor_new(ifd_rw_error(rw), &more, ifd_rw_arena(rw), t->dtype, &shape));
  for (int i = 0; i < rank; i++) ifd_tensor_set_f64(&more, i, ifd_tensor_get_f64(t, i));
  if (!scales) ifd_tensor_set_f64(&more, 1, (double)ifd_ceil_div(channels, IFD_BLOCK));
  ifd_tensor_set_f64(&more, rank, scales ? 1 : IFD_BLOCK);
  return ifd_rw_add_constant(rw, out, &more, v->name);
}

/* Whether something that may work on blocks reads the value. */
static bool flows_on(const ifd_value *v) {
  static const char *const others[] = {"Concat", "Add", "Mul", "Sum", "Relu", "Clip", "Sigmoid", "Resize"};
  for (int i = 0; i < v->uses.n; i++) {
    const ifd_node *reader = v->uses.v[i].node;
    if (!strcmp(reader->domain, IFD_OWN_DOMAIN)) return true;
    for (size_t k = 0; k < sizeof others / sizeof *others; k++)
      if (ifd_node_is(reader, others[k])) return true;
  }
  return false;
}

/* Pixels are resized whole. The result is larger than what went in, mostly: it stays blocked only where it is
 * read so. */
static ifd_status sink_resize(ifd_rewrite *rw, ifd_node *node) {
  ifd_node *before = ifd_rw_own_producer(node->inputs[0], "Unblock"), *moved;
  ifd_value *inputs[4] = {NULL};
  int at = node->opset < 11 ? 1 : ifd_node_has_input(node, 3) ? 3 : 2;
  if (!before || node->opset < 9 || !flows_on(node->outputs[0]) || !ifd_node_has_input(node, at) ||
      ifd_node_find_attr(node, "axes") ||
      ifd_node_string_is(node, "coordinate_transformation_mode", "half_pixel", "tf_crop_and_resize") ||
      !ifd_node_string_is(node, "keep_aspect_ratio_policy", "stretch", "stretch"))
    return IFD_OK;
  int64_t channels = ifd_node_int(before, "channels", 0);
  inputs[0] = before->inputs[0];
  TRY(block_sizes(rw, &inputs[at], node->inputs[at], node->inputs[0], channels));
  if (!inputs[at]) return ifd_rw_refuse(rw, "its scales are not known, or change batch or channels");
  TRY(ifd_rw_add_like(rw, &moved, node, inputs, at + 1));
  return ifd_unblock_replace(rw, node->outputs[0], moved->outputs[0], channels);
}

/* A BatchNormalization that is left runs as a scale and a shift of the blocked image. */
static ifd_status sink_bn(ifd_rewrite *rw, ifd_node *bn) {
  ifd_node *before = ifd_rw_own_producer(bn->inputs[0], "Unblock"), *mul, *add;
  ifd_affine f;
  ifd_value *c;
  ifd_tensor t;
  bool is_affine;
  const char *why;
  int rank = ifd_rw_rank(rw, bn->inputs[0]);
  if (!before || rank < 3 || bn->opset < 7) return IFD_OK; /* Mul and Add broadcast as of 7 */
  TRY(ifd_affine_of(rw, bn, &f, &is_affine, &why));
  if (!is_affine || f.axis != 1) return IFD_OK;
  ifd_shape shape = {.rank = rank + 1};
  for (int i = 0; i <= rank; i++)
    shape.dim[i] = i == 1 ? ifd_ceil_div(f.n, IFD_BLOCK) : i == rank ? IFD_BLOCK : 1;
  TRY(ifd_tensor_new(ifd_rw_error(rw), &t, ifd_rw_arena(rw), IFD_FLOAT, &shape));
  for (int64_t i = 0; i < f.n; i++) ifd_tensor_set_f64(&t, i, f.a[i]);
  TRY(ifd_rw_add_constant(rw, &c, &t, "scale"));
  TRY(ifd_rw_add_node(rw, &mul, "Mul", (ifd_value *[]){before->inputs[0], c}, 2, 1));
  TRY(ifd_tensor_new(ifd_rw_error(rw), &t, ifd_rw_arena(rw), IFD_FLOAT, &shape));
  for (int64_t i = 0; i < f.n; i++) ifd_tensor_set_f64(&t, i, f.b[i]);
  TRY(ifd_rw_add_constant(rw, &c, &t, "shift"));
  TRY(ifd_rw_add_node(rw, &add, "Add", (ifd_value *[]){mul->outputs[0], c}, 2, 1));
  return ifd_unblock_replace(rw, bn->outputs[0], add->outputs[0], ifd_node_int(before, "channels", 0));
}

/* Operators of elements that keep finite elements finite; Div and Pow by channels would make NaN of the zeros
 * beyond the last. */
static const char elementwise[] =
    "Relu LeakyRelu Clip Sigmoid Tanh HardSigmoid HardSwish Swish Mish Gelu Elu Selu Softplus Softsign "
    "Erf PRelu Abs Neg Add Sub Mul Max Min Sum Identity infold.RoundFloat16 infold.RoundBFloat16";

const ifd_pass ifd_pass_sink_unblock = {
    .summary = "works on elements of blocked images as they are",
    .phase = IFD_PHASE_PLAN,
    .rules = (const ifd_rule[]){{elementwise, IFD_EXACT, sink},
                                {elementwise, IFD_EXACT, sink_behind},
                                {"Div Pow", IFD_EXACT, sink_by_number},
                                {"Concat", IFD_EXACT, sink_concat},
                                {"Slice", IFD_EXACT, sink_slice},
                                {"Pad", IFD_EXACT, sink_pad},
                                {"Resize Upsample", IFD_EXACT, sink_resize},
                                {"BatchNormalization", IFD_REASSOCIATES, sink_bn},
                                {0}},
};
