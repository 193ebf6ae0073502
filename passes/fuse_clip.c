#include "pass/pass.h"

#include <math.h>

/* Min(Max(x, low), high) is Clip(x, low, high), and so is Max(Min(x, high), low), for low <= high. */

/* One of the node's two operands is a number, which does not stretch the other, and which double holds. */
static bool find_bound(ifd_rewrite *rw, const ifd_node *node, double *bound, ifd_value **x) {
  const double most = 9007199254740992; /* 2^53 */
  if (!node || node->n_inputs != 2) return false;
  for (int side = 0; side < 2; side++) {
    *x = node->inputs[1 - side];
    const ifd_tensor *c = ifd_rw_constant(rw, node->inputs[side]);
    if (!c || c->shape.rank > ifd_rw_rank(rw, *x) || !ifd_rw_scalar(rw, node->inputs[side], bound)) continue;
    return ifd_dtype_is_float(c->dtype) || fabs(*bound) <= most;
  }
  return false;
}

static ifd_status add_clip(ifd_rewrite *rw, const ifd_node *last, ifd_value *x, double low, double high) {
  ifd_value *inputs[3] = {x};
  ifd_node *clip;
  ifd_dtype dtype = ifd_rw_dtype(rw, x);
  bool attributes = last->opset < 11;
  if (!attributes) {
    TRY(ifd_rw_add_scalar(rw, &inputs[1], dtype, low, "min"));
    TRY(ifd_rw_add_scalar(rw, &inputs[2], dtype, high, "max"));
  }
  TRY(ifd_rw_add_node(rw, &clip, "Clip", inputs, attributes ? 1 : 3, 1));
  if (attributes) {
    TRY(ifd_node_set_float(ifd_rw_error(rw), clip, "min", (float)low));
    TRY(ifd_node_set_float(ifd_rw_error(rw), clip, "max", (float)high));
  }
  return ifd_rw_replace(rw, last->outputs[0], clip->outputs[0]);
}

static ifd_status fuse(ifd_rewrite *rw, ifd_node *last) {
  ifd_value *inner, *x;
  double low, high, bound;
  bool upper = ifd_node_is(last, "Min");
  if (!find_bound(rw, last, &bound, &inner)) return IFD_OK;
  const ifd_node *first = ifd_rw_sole_producer(inner, upper ? "Max" : "Min");
  if (!find_bound(rw, first, upper ? &low : &high, &x)) return IFD_OK;
  *(upper ? &high : &low) = bound;
  ifd_dtype dtype = ifd_rw_dtype(rw, x);
  bool exists = last->opset >= 12 || (last->opset >= 11 ? ifd_dtype_is_float(dtype) : dtype == IFD_FLOAT);
  if (!exists) return ifd_rw_refuse(rw, "Clip has no such type at this opset");
  if (!(low <= high)) return ifd_rw_refuse(rw, "its bounds leave nothing in between");
  return add_clip(rw, last, x, low, high);
}

const ifd_pass ifd_pass_fuse_clip = {
    .summary = "makes one Clip of Max and Min with numbers",
    .phase = IFD_PHASE_FUSE,
    .rules = (const ifd_rule[]){{"Min Max", IFD_EXACT, fuse}, {0}},
};
