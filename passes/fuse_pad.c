#include "pass/pass.h"

#include <math.h>

/* Pad of zeros along an image's own axes goes into the pads of the Conv or AveragePool (that counts its
 * padding) behind it; Pad of -inf, or of zeros around what is never negative, into those of MaxPool. */

enum { MAX_PADS = 2 * IFD_MAX_RANK };

/* The pads of a constant Pad, as begins and ends of all axes; false when they are not known, or run along
 * other axes than those behind batch and channels. */
static bool pads_of(ifd_rewrite *rw, const ifd_node *pad, int rank, int64_t *out) {
  const int64_t *pads;
  const ifd_tensor *t = pad->opset >= 11 ? ifd_rw_constant(rw, ifd_node_input(pad, 1)) : NULL;
  int n = t ? (int)ifd_tensor_count(t) : ifd_node_ints(pad, "pads", &pads);
  if (rank < 3 || n != 2 * rank || ifd_node_has_input(pad, 3)) return false;
  for (int i = 0; i < n; i++) {
    out[i] = t ? ifd_tensor_get_i64(t, i) : pads[i];
    if (out[i] < 0 || (i % rank < 2 && out[i])) return false;
  }
  return ifd_node_string_is(pad, "mode", "constant", "constant");
}

static bool value_of(ifd_rewrite *rw, const ifd_node *pad, double *value) {
  *value = pad->opset < 11 ? ifd_node_float(pad, "value", 0) : 0;
  return !ifd_node_has_input(pad, 2) || ifd_rw_scalar(rw, pad->inputs[2], value);
}

/* No element is below 0: then zeros around it never win against an element. */
static bool not_negative(ifd_rewrite *rw, const ifd_value *x) {
  static const char *const makers[] = {"Relu", "Sigmoid", "HardSigmoid", "Abs", "Exp", "Softmax", "Softplus"};
  double min;
  for (size_t i = 0; i < sizeof makers / sizeof *makers; i++)
    if (ifd_rw_producer(x, makers[i])) return true;
  const ifd_node *clip = ifd_rw_producer(x, "Clip");
  if (clip && clip->opset < 11) return ifd_node_float(clip, "min", -1) >= 0;
  return clip && ifd_rw_scalar(rw, ifd_node_input(clip, 1), &min) && min >= 0;
}

/* An average that leaves its own padding out must not have any. */
static bool no_own_pads(const ifd_node *node) {
  const int64_t *pads;
  for (int i = ifd_node_ints(node, "pads", &pads) - 1; i >= 0; i--)
    if (pads[i]) return false;
  return true;
}

/* Whether more padding by the operator itself is as good as elements of this value around x. */
static bool pads_alike(ifd_rewrite *rw, const ifd_node *node, const ifd_value *x, double value) {
  if (!ifd_node_string_is(node, "auto_pad", "NOTSET", "NOTSET") &&
      !ifd_node_string_is(node, "auto_pad", "NOTSET", "VALID"))
    return false;
  if (ifd_node_is(node, "Conv")) return value == 0;
  if (ifd_node_int(node, "ceil_mode", 0)) return false;
  if (ifd_node_is(node, "AveragePool"))
    return node->opset >= 7 && value == 0 &&
           (ifd_node_int(node, "count_include_pad", 0) || no_own_pads(node));
  return !ifd_node_has_output(node, 1) && (value == -INFINITY || (value == 0 && not_negative(rw, x)));
}

static bool all_readers_pad_alike(ifd_rewrite *rw, const ifd_value *v, const ifd_value *x, double value) {
  for (int i = 0; i < v->uses.n; i++) {
    const ifd_node *n = v->uses.v[i].node;
    bool pads = ifd_node_is(n, "Conv") || ifd_node_is(n, "AveragePool") || ifd_node_is(n, "MaxPool");
    if (!pads || v->uses.v[i].index || n->graph != v->graph || !pads_alike(rw, n, x, value)) return false;
  }
  return !v->n_outputs;
}

/* Padding must stay shorter than the window where the operator asks for that. */
static bool window_covers(const ifd_node *node, const int64_t *pads, int n) {
  const int64_t *kernel;
  if (ifd_node_is(node, "Conv")) return true;
  if (ifd_node_ints(node, "kernel_shape", &kernel) != n) return false;
  for (int i = 0; i < n; i++)
    if (pads[i] >= kernel[i] || pads[n + i] >= kernel[i]) return false;
  return true;
}

static ifd_status fuse(ifd_rewrite *rw, ifd_node *node) {
  int64_t all[MAX_PADS], sum[MAX_PADS] = {0};
  const int64_t *own;
  double value;
  ifd_node *pad = ifd_rw_producer(node->inputs[0], "Pad"), *fused;
  int rank = ifd_rw_rank(rw, node->inputs[0]), n = rank - 2;
  if (!pad) return IFD_OK;
  if (!pads_of(rw, pad, rank, all) || !value_of(rw, pad, &value))
    return ifd_rw_refuse(rw, "the Pad before it reaches batch or channels, reflects, or is not constant");
  if (!all_readers_pad_alike(rw, node->inputs[0], pad->inputs[0], value))
    return ifd_rw_refuse(rw,
                         "the Pad before it fills with another value than the operator, or others read it");
  int n_own = ifd_node_ints(node, "pads", &own);
  for (int i = 0; i < n; i++) {
    sum[i] = all[2 + i] + (n_own ? own[i] : 0);
    sum[n + i] = all[rank + 2 + i] + (n_own ? own[n + i] : 0);
  }
  if (!window_covers(node, sum, n)) return ifd_rw_refuse(rw, "padding would be wider than the window");
  ifd_value *inputs[3] = {pad->inputs[0], ifd_node_input(node, 1), ifd_node_input(node, 2)};
  TRY(ifd_rw_add_like(rw, &fused, node, inputs, node->n_inputs));
  ifd_node_remove_attr(fused, "auto_pad");
  TRY(ifd_node_set_ints(ifd_rw_error(rw), fused, "pads", sum, 2 * n));
  if (ifd_node_is(node, "AveragePool"))
    TRY(ifd_node_set_int(ifd_rw_error(rw), fused, "count_include_pad", 1));
  return ifd_rw_replace(rw, node->outputs[0], fused->outputs[0]);
}

const ifd_pass ifd_pass_fuse_pad = {
    .summary = "puts Pad into the Conv, AveragePool or MaxPool behind it",
    .phase = IFD_PHASE_FUSE,
    .rules = (const ifd_rule[]){{"Conv AveragePool MaxPool", IFD_EXACT, fuse}, {0}},
};
