#include "pass/pass.h"

#include <math.h>

/* A scale and a shift of channels and a Relu or Clip of bounds, which a pointwise convolution alone reads,
 * are done while it reads: BatchNormalization and Relu before a convolution, as in DenseNet, which nothing
 * can fold. */

/* The operand of a node that has one number for each of `channels` channels, blocked. */
static ifd_value *by_channels(ifd_rewrite *rw, const ifd_node *node, int64_t channels) {
  const ifd_tensor *t = node->n_inputs == 2 ? ifd_rw_constant(rw, node->inputs[1]) : NULL;
  bool fits = t && t->dtype == IFD_FLOAT && t->shape.rank >= 4 &&
              t->shape.dim[1] == ifd_ceil_div(channels, IFD_BLOCK) &&
              t->shape.dim[t->shape.rank - 1] == IFD_BLOCK &&
              ifd_tensor_count(t) == t->shape.dim[1] * IFD_BLOCK;
  return fits ? node->inputs[1] : NULL;
}

static bool bounds_of(ifd_rewrite *rw, const ifd_node *clip, float bounds[2]) {
  bounds[0] = 0, bounds[1] = INFINITY;
  if (ifd_node_is(clip, "Relu")) return true;
  for (int i = 0; i < 2; i++) {
    double x;
    if (clip->opset < 11 || !ifd_node_has_input(clip, i + 1) || !ifd_rw_scalar(rw, clip->inputs[i + 1], &x))
      return false;
    bounds[i] = (float)x;
  }
  return bounds[0] <= bounds[1];
}

static bool is_pointwise(ifd_rewrite *rw, const ifd_node *conv, int64_t *channels) {
  const ifd_tensor *w = ifd_rw_constant(rw, conv->inputs[1]);
  const int64_t *v;
  if (!w || ifd_node_int(conv, "group", 1) != 1 || ifd_node_int(conv, "plain_input", 0)) return false;
  for (int i = 2; i < w->shape.rank; i++)
    if (w->shape.dim[i] != 1) return false;
  for (int i = 0, n = ifd_node_ints(conv, "pads", &v); i < n; i++)
    if (v[i]) return false;
  *channels = w->shape.dim[1];
  return ifd_node_string_is(conv, "auto_pad", "NOTSET", "NOTSET");
}

static ifd_status fuse(ifd_rewrite *rw, ifd_node *conv) {
  int64_t channels;
  float bounds[2], *kept;
  if (ifd_node_find_attr(conv, "prologue") || !is_pointwise(rw, conv, &channels)) return IFD_OK;
  const ifd_node *clip = ifd_rw_sole_producer(conv->inputs[0], "Relu");
  if (!clip) clip = ifd_rw_sole_producer(conv->inputs[0], "Clip");
  const ifd_node *add = clip ? ifd_rw_sole_producer(clip->inputs[0], "Add") : NULL;
  const ifd_node *mul = add ? ifd_rw_sole_producer(add->inputs[0], "Mul") : NULL;
  if (!mul || !bounds_of(rw, clip, bounds)) return IFD_OK;
  ifd_value *scale = by_channels(rw, mul, channels), *shift = by_channels(rw, add, channels);
  if (!scale || !shift) return ifd_rw_refuse(rw, "what is scaled before it is not by channels alone");
  ifd_value *inputs[6] = {mul->inputs[0],          conv->inputs[1], ifd_node_input(conv, 2),
                          ifd_node_input(conv, 3), scale,           shift};
  ifd_node *fused;
  ALLOC(ifd_rw_error(rw), kept, ifd_arena_memdup(ifd_rw_arena(rw), bounds, sizeof bounds));
  TRY(ifd_rw_add_like(rw, &fused, conv, inputs, 6));
  TRY(ifd_node_set_attr(ifd_rw_error(rw), fused,
                        &(ifd_attr){.name = "prologue", .type = IFD_ATTR_FLOATS, .n = 2, .floats = kept}));
  return ifd_rw_replace(rw, conv->outputs[0], fused->outputs[0]);
}

const ifd_pass ifd_pass_fuse_prologue = {
    .summary = "scales, shifts and clips what a pointwise convolution reads while it is read",
    .phase = IFD_PHASE_PLAN,
    .rules = (const ifd_rule[]){{"infold.Conv", IFD_EXACT, fuse}, {0}},
};
