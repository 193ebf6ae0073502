#include "ops/op.h"
#include "pass/pass.h"

#include <math.h>

/* A BatchNormalization that was exported in training mode by mistake, put into inference mode. This changes
 * what the model computes, so it runs on request alone, and only where the running statistics look trained:
 * finite, no negative variance, and not the values that training starts from. The names of those that were
 * changed are its warnings. */

enum { NEAR = 4 }; /* nodes between a weight and its standardization */

static bool is_filled(const ifd_tensor *t, double x) {
  for (int64_t i = 0, n = t->splat ? 1 : ifd_tensor_count(t); i < n; i++)
    if (ifd_tensor_get_f64(t, i) != x) return false;
  return true;
}

static bool all_good(const ifd_tensor *t, double least) {
  for (int64_t i = 0, n = t->splat ? 1 : ifd_tensor_count(t); i < n; i++) {
    double v = ifd_tensor_get_f64(t, i);
    if (!isfinite(v) || v < least) return false;
  }
  return true;
}

/* Why running statistics cannot be relied on, or NULL. */
static const char *doubt(const ifd_tensor *mean, const ifd_tensor *var) {
  if (!mean || !var) return "its running statistics are not constant";
  if (!all_good(mean, -INFINITY)) return "a running mean is not a finite number";
  if (!all_good(var, 0)) return "a running variance is negative or not a finite number";
  if (is_filled(mean, 0) && is_filled(var, 1))
    return "its statistics look untrained (mean 0, variance 1): infold recalibrate measures them on data";
  if (is_filled(mean, 0) && is_filled(var, 0))
    return "its statistics look untrained (mean 0, variance 0): infold recalibrate measures them on data";
  return NULL;
}

/* The value is the same in every run: what makes it reads constants alone. */
static bool is_constant(ifd_rewrite *rw, const ifd_value *v, int depth) {
  if (ifd_rw_constant(rw, v)) return true;
  const ifd_node *node = v->producer;
  if (!node || !depth || (node->op && (node->op->flags & IFD_OP_IMPURE))) return false;
  for (int i = 0; i < node->n_inputs; i++)
    if (node->inputs[i] && !is_constant(rw, node->inputs[i], depth - 1)) return false;
  return true;
}

/* A training-mode BatchNormalization may also be meant. */
static const char *intention(ifd_rewrite *rw, const ifd_node *bn) {
  for (int i = 1; i < bn->n_outputs; i++)
    if (bn->outputs[i] && ifd_value_n_readers(bn->outputs[i]))
      return "its new running statistics are read: the model is for training";
  if (is_constant(rw, bn->inputs[0], NEAR)) return "it standardizes a constant: that is no mistake";
  if (ifd_rw_dim(rw, bn->inputs[0], 0) == 1 && ifd_rw_producer(bn->inputs[0], "Reshape"))
    return "it normalizes each sample by itself behind a Reshape to a batch of 1: that is no mistake";
  return NULL;
}

static ifd_status set_mode(ifd_node *node, ifd_error *err) {
  ifd_node_remove_attr(node, "training_mode");
  return node->opset < 7 ? ifd_node_set_int(err, node, "is_test", 1) : IFD_OK;
}

static ifd_status untrain(ifd_rewrite *rw, ifd_node *bn) {
  ifd_node *node;
  if (!ifd_op_mixes_batch(bn) || bn->n_inputs != 5) return IFD_OK;
  const char *why = intention(rw, bn);
  if (!why) why = doubt(ifd_rw_constant(rw, bn->inputs[3]), ifd_rw_constant(rw, bn->inputs[4]));
  if (why) return ifd_rw_refuse(rw, "%s", why);
  TRY(ifd_rw_add_node(rw, &node, "BatchNormalization", bn->inputs, 5, 1));
  node->name = bn->name;
  node->origin = bn->origin;
  for (int i = 0; i < bn->n_attrs; i++) TRY(ifd_node_set_attr(ifd_rw_error(rw), node, &bn->attrs[i]));
  TRY(set_mode(node, ifd_rw_error(rw)));
  TRY(ifd_rw_warn(rw, "%s", *bn->name ? bn->name : bn->outputs[0]->name));
  return ifd_rw_replace(rw, bn->outputs[0], node->outputs[0]);
}

const ifd_pass ifd_pass_untrain_bn = {
    .summary = "puts BatchNormalization exported in training mode into inference mode, which changes what "
               "the model computes (--bn-inference)",
    .phase = IFD_PHASE_SIMPLIFY,
    .on_request = true,
    .rules = (const ifd_rule[]){{"BatchNormalization", IFD_EXACT, untrain}, {0}},
};
