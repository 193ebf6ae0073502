#include "pass/pass.h"

#include <math.h>
#include <string.h>

/* What follows a convolution is done while its results are stored: an activation, a residual. */

typedef struct activation {
  const char *name; /* as ops/blocked.c knows it; NULL: none */
  float p[2];
} activation;

static ifd_status bounds(ifd_rewrite *rw, const ifd_node *clip, activation *a) {
  double x;
  a->p[0] = -INFINITY, a->p[1] = INFINITY;
  for (int i = 0; i < 2; i++) {
    if (!ifd_node_has_input(clip, i + 1)) continue;
    if (!ifd_rw_scalar(rw, clip->inputs[i + 1], &x)) return IFD_OK;
    a->p[i] = (float)x;
  }
  if (clip->opset < 11) {
    a->p[0] = ifd_node_float(clip, "min", -3.402823466e38f);
    a->p[1] = ifd_node_float(clip, "max", 3.402823466e38f);
  }
  if (a->p[0] <= a->p[1]) a->name = "Clip";
  return IFD_OK;
}

static ifd_status activation_of(ifd_rewrite *rw, const ifd_node *node, activation *a) {
  *a = (activation){0};
  if (ifd_node_is(node, "Relu"))
    *a = (activation){"Clip", {0, INFINITY}};
  else if (ifd_node_is(node, "Clip"))
    return bounds(rw, node, a);
  else if (ifd_node_is(node, "LeakyRelu"))
    *a = (activation){"LeakyRelu", {ifd_node_float(node, "alpha", 0.01f)}};
  else if (ifd_node_is(node, "HardSigmoid"))
    *a = (activation){"HardSigmoid",
                      {ifd_node_float(node, "alpha", 0.2f), ifd_node_float(node, "beta", 0.5f)}};
  else if (ifd_node_is(node, "HardSwish"))
    *a = (activation){"HardSwish", {1.f / 6, 0.5f}};
  return IFD_OK;
}

/* The convolution that alone feeds this value, when its store still has room. */
static ifd_node *open_conv(const ifd_value *v) {
  ifd_node *conv = ifd_rw_own_producer(v, "Conv");
  if (!conv) conv = ifd_rw_own_producer(v, "ConvTranspose");
  return conv && ifd_value_n_readers(v) == 1 ? conv : NULL;
}

static bool activated(const ifd_node *conv) {
  return !ifd_node_string_is(conv, "activation", "None", "None");
}
static bool joined(const ifd_node *conv) { return ifd_node_find_attr(conv, "join") != NULL; }

static ifd_status fuse_activation(ifd_rewrite *rw, ifd_node *node) {
  activation a;
  ifd_node *conv = open_conv(node->inputs[0]), *fused;
  if (!conv || activated(conv)) return IFD_OK;
  TRY(activation_of(rw, node, &a));
  if (!a.name) return IFD_OK;
  float *p;
  ALLOC(ifd_rw_error(rw), p, ifd_arena_memdup(ifd_rw_arena(rw), a.p, sizeof a.p));
  TRY(ifd_rw_add_like(rw, &fused, conv, conv->inputs, conv->n_inputs));
  TRY(ifd_node_set_string(ifd_rw_error(rw), fused, "activation", a.name));
  TRY(ifd_node_set_attr(ifd_rw_error(rw), fused,
                        &(ifd_attr){.name = "activation_p", .type = IFD_ATTR_FLOATS, .n = 2, .floats = p}));
  return ifd_rw_replace(rw, node->outputs[0], fused->outputs[0]);
}

/* Whether `value` is made by a node that stands before `node`: a residual must be there when the convolution
 * runs. */
static bool made_before(const ifd_value *value, const ifd_node *node) {
  return !value->producer || value->graph != node->graph || value->producer->rank < node->rank;
}

static ifd_status fuse_join(ifd_rewrite *rw, ifd_node *node) {
  bool multiplies = ifd_node_is(node, "Mul");
  if (node->n_inputs != 2) return IFD_OK;
  /* Of two convolutions the later one takes the other's result. */
  int side = open_conv(node->inputs[1]) &&
             (!open_conv(node->inputs[0]) || made_before(node->inputs[0], node->inputs[1]->producer));
  ifd_value *mine = node->inputs[side], *other = node->inputs[1 - side];
  ifd_node *conv = open_conv(mine), *fused;
  if (!conv || mine == other || joined(conv) || (multiplies && !activated(conv)) ||
      !ifd_rw_same_shape(rw, mine, other))
    return IFD_OK;
  ifd_value *inputs[4] = {conv->inputs[0], conv->inputs[1], ifd_node_input(conv, 2), other};
  TRY(ifd_rw_add_like(rw, &fused, conv, inputs, 4));
  const char *join = multiplies ? "ActMul" : activated(conv) ? "ActAdd" : "AddAct";
  TRY(ifd_node_set_string(ifd_rw_error(rw), fused, "join", join));
  return ifd_rw_replace(rw, node->outputs[0], fused->outputs[0]);
}

const ifd_pass ifd_pass_fuse_epilogue = {
    .summary = "does activations and residuals while a convolution's results are stored",
    .phase = IFD_PHASE_PLAN,
    .rules = (const ifd_rule[]){{"Relu Clip LeakyRelu HardSigmoid HardSwish", IFD_EXACT, fuse_activation},
                                {"Add Mul", IFD_REASSOCIATES, fuse_join},
                                {0}},
};
