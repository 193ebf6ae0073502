#include "pass/pass.h"

/* A pointwise convolution that alone feeds a depthwise one, as in MobileNetV2 and what came of it, makes
 * several times what it reads. Where that is too large to stay near, both become one, a few lines at a time.
 */

enum { FAR = 1 << 19 /* floats: what L2 holds */ };

/* The weights of a blocked convolution of images of two axes, constant. */
static const ifd_tensor *weights_of(ifd_rewrite *rw, const ifd_node *conv) {
  const ifd_tensor *w = ifd_rw_constant(rw, conv->inputs[1]);
  bool blocked = !ifd_node_int(conv, "plain_input", 0) && !ifd_node_int(conv, "plain_output", 0);
  return w && blocked && w->shape.rank == 4 && !ifd_node_has_input(conv, 6) ? w : NULL;
}

static bool all_are(const ifd_node *node, const char *attribute, int64_t x) {
  const int64_t *v;
  for (int i = 0, n = ifd_node_ints(node, attribute, &v); i < n; i++)
    if (v[i] != x) return false;
  return true;
}

static bool is_depthwise(ifd_rewrite *rw, const ifd_node *conv) {
  const ifd_tensor *w = weights_of(rw, conv);
  return w && w->shape.dim[1] == 1 && w->shape.dim[0] > 1 &&
         ifd_node_int(conv, "group", 1) == w->shape.dim[0] && !ifd_node_find_attr(conv, "prologue");
}

/* One group, one tap, nothing joined. */
static bool is_pointwise(ifd_rewrite *rw, const ifd_node *conv) {
  const ifd_tensor *w = weights_of(rw, conv);
  return w && ifd_shape_span(&w->shape, 2, 4) == 1 && ifd_node_int(conv, "group", 1) == 1 &&
         !ifd_node_find_attr(conv, "prologue") && !ifd_node_find_attr(conv, "join") &&
         all_are(conv, "strides", 1) && all_are(conv, "pads", 0) &&
         ifd_node_string_is(conv, "auto_pad", "NOTSET", "NOTSET");
}

/* Of one sample. */
static bool is_far(ifd_rewrite *rw, const ifd_value *v) {
  double floats = 1;
  for (int i = 1; i < ifd_rw_rank(rw, v); i++) {
    ifd_dim d = ifd_rw_dim(rw, v, i);
    if (!ifd_dim_is_number(d)) return false;
    floats *= (double)d;
  }
  return floats >= FAR;
}

static ifd_status copy_activation(ifd_rewrite *rw, ifd_node *to, const ifd_node *from) {
  static const char *const names[][2] = {
      {"activation", "expansion"}, {"activation_p", "expansion_p"}, {"rounding", "expansion_rounding"}};
  for (int i = 0; i < 3; i++) {
    const ifd_attr *found = ifd_node_find_attr(from, names[i][0]);
    if (!found) continue;
    ifd_attr a = *found;
    a.name = names[i][1];
    TRY(ifd_node_set_attr(ifd_rw_error(rw), to, &a));
  }
  return IFD_OK;
}

static ifd_status fuse(ifd_rewrite *rw, ifd_node *conv) {
  if (!is_depthwise(rw, conv)) return IFD_OK;
  ifd_value *x = conv->inputs[0];
  const ifd_node *before = ifd_rw_own_producer(x, "Conv");
  if (!before || ifd_value_n_readers(x) != 1 || before->graph != conv->graph || !is_pointwise(rw, before))
    return IFD_OK;
  if (!is_far(rw, x)) return ifd_rw_refuse(rw, "what is read stays near, or is of unknown size");
  ifd_value *inputs[8] = {before->inputs[0],
                          conv->inputs[1],
                          ifd_node_input(conv, 2),
                          ifd_node_input(conv, 3),
                          NULL,
                          NULL,
                          before->inputs[1],
                          ifd_node_input(before, 2)};
  ifd_node *fused;
  TRY(ifd_rw_add_like(rw, &fused, conv, inputs, inputs[7] ? 8 : 7));
  TRY(copy_activation(rw, fused, before));
  return ifd_rw_replace(rw, conv->outputs[0], fused->outputs[0]);
}

const ifd_pass ifd_pass_fuse_expansion = {
    .summary = "makes what a depthwise convolution reads of a pointwise one's input, some lines at a time",
    .phase = IFD_PHASE_CHAIN,
    .rules = (const ifd_rule[]){{"infold.Conv", IFD_EXACT, fuse}, {0}},
};
