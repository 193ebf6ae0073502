/* The rules of the doctor, the gravest first. Thresholds are where trained networks are not; each stands
 * beside its reason. */
#include "inspect/doctor.h"

#include "base/checked.h"
#include "ops/op.h"

#include <math.h>
#include <string.h>

/* ---- numbers of a channel ---- */

static double at(const ifd_bn_layer *l, int which, int64_t c) { return ifd_tensor_get_f64(l->p[which], c); }
static double scale_at(const ifd_bn_layer *l, int64_t c) { return at(l, IFD_BN_SCALE, c); }
static double b_at(const ifd_bn_layer *l, int64_t c) { return at(l, IFD_BN_B, c); }
static double mean_at(const ifd_bn_layer *l, int64_t c) { return at(l, IFD_BN_MEAN, c); }
static double var_at(const ifd_bn_layer *l, int64_t c) { return at(l, IFD_BN_VAR, c); }
static double gain_at(const ifd_bn_layer *l, int64_t c) { return l->gain[c]; }

static bool all(const ifd_bn_layer *l, double (*value)(const ifd_bn_layer *l, int64_t c), double x) {
  for (int64_t c = 0; c < l->n; c++)
    if (value(l, c) != x) return false;
  return l->n > 0;
}

static bool say(char *message, size_t len, const char *text) {
  snprintf(message, len, "%s", text);
  return true;
}

/* ---- the mode ---- */

static const char *one_of(const ifd_bn_layer *l) { return l->rank == 4 ? "picture" : "sample"; }

static bool outputs_are_read(const ifd_bn_layer *l) {
  for (int i = 1; i < l->node->n_outputs; i++)
    if (l->node->outputs[i] && ifd_value_n_readers(l->node->outputs[i])) return true;
  return false;
}

/* In training mode, or as good as that. */
static bool takes_statistics(const ifd_bn_layer *l) { return l->trains || l->of_batch; }

static bool trains_by_mistake(const ifd_bn_layer *l) {
  return l->trains && !outputs_are_read(l) && !l->of_weights && !l->of_instances;
}

static bool training_mode(const ifd_bn_layer *l, char *message, size_t len) {
  if (!trains_by_mistake(l)) return false;
  snprintf(message, len, "%s: this model's answer for one %s depends on the other %ss in the batch",
           l->mode + strlen("training: "), one_of(l), one_of(l));
  return true;
}

static bool batch_statistics(const ifd_bn_layer *l, char *message, size_t len) {
  if (!l->of_batch || l->of_weights || l->of_instances) return false;
  snprintf(message, len,
           "its statistics are computed from its own input: this model's answer for one %s depends on the "
           "other %ss in the batch",
           one_of(l), one_of(l));
  return true;
}

static bool training_graph(const ifd_bn_layer *l, char *message, size_t len) {
  if (!l->trains || !outputs_are_read(l)) return false;
  snprintf(message, len, "%s, and the new running statistics are read: the answer depends on the batch",
           l->mode + strlen("training: "));
  return true;
}

static bool weight_standardization(const ifd_bn_layer *l, char *message, size_t len) {
  return takes_statistics(l) && l->of_weights &&
         say(message, len, "it standardizes weights by their own statistics: its result is constant");
}

static bool instance_by_batch(const ifd_bn_layer *l, char *message, size_t len) {
  return takes_statistics(l) && l->of_instances &&
         say(message, len,
             "by the statistics of a batch of 1 behind a Reshape: it is an InstanceNormalization");
}

/* Values that each channel's statistics are made of; 0 when that is not known, or beyond counting. */
static int64_t values_per_channel(const ifd_bn_layer *l) {
  int64_t n = 1;
  if (l->rank < 2) return 0;
  for (int i = 0; i < l->rank; i++) {
    ifd_dim d = l->x->type->dims[i];
    if (i != 1 && (!ifd_dim_is_number(d) || !ifd_mul_i64(&n, n, d))) return 0;
  }
  return n;
}

static bool one_value(const ifd_bn_layer *l, char *message, size_t len) {
  return takes_statistics(l) && values_per_channel(l) == 1 &&
         say(message, len,
             "each channel has one value, which is its own mean: the output is B, whatever the input");
}

/* Below about 16 samples statistics are too rough to train by (Wu and He, Group Normalization, 2018). */
static bool small_batch(const ifd_bn_layer *l, char *message, size_t len) {
  ifd_dim batch = l->rank > 0 ? l->x->type->dims[0] : 0;
  if (!takes_statistics(l) || l->of_weights || l->of_instances || values_per_channel(l) == 1) return false;
  if (!ifd_dim_is_number(batch) || batch < 1 || batch >= 16) return false;
  snprintf(message, len, "its statistics are those of %lld %s%s", (long long)batch, one_of(l),
           batch == 1 ? " alone" : "s");
  return true;
}

static bool momentum_sense(const ifd_bn_layer *l, char *message, size_t len) {
  if (!l->trains || l->momentum >= 0.5 || !outputs_are_read(l)) return false;
  snprintf(message, len, "momentum %.4g keeps %.4g %% of the old statistics at each step", l->momentum,
           100 * l->momentum);
  return true;
}

/* ---- broken numbers ---- */

static bool not_finite(const ifd_bn_layer *l, char *message, size_t len) {
  for (int i = 0; i < IFD_BN_N; i++)
    for (int64_t c = 0, n = l->p[i] ? ifd_tensor_count(l->p[i]) : 0; c < n; c++) {
      if (isfinite(at(l, i, c))) continue;
      int64_t more = 0;
      for (int64_t k = c + 1; k < n; k++) more += !isfinite(at(l, i, k));
      int m = snprintf(message, len, "%s of channel %lld is %g", ifd_bn_names[i], (long long)c, at(l, i, c));
      if (more) snprintf(message + m, len - (size_t)m, ", and %lld more", (long long)more);
      return true;
    }
  return false;
}

static bool negative_variance(const ifd_bn_layer *l, int64_t c) { return var_at(l, c) < 0; }

static bool zero_division(const ifd_bn_layer *l, int64_t c) {
  return var_at(l, c) >= 0 && var_at(l, c) + l->epsilon <= 0;
}

/* Activations of 10,000 and more are those of no trained network. */
static bool huge_variance(const ifd_bn_layer *l, int64_t c) {
  return var_at(l, c) > 1e8 && isfinite(var_at(l, c));
}

/* Next to nothing: the channel did not move over the training data. */
static bool tiny_variance(const ifd_bn_layer *l, int64_t c) {
  return var_at(l, c) >= 0 && var_at(l, c) < 1e-12;
}

/* A quiet channel that is amplified: what it does on other data is decided by epsilon. */
static bool epsilon_dominates(const ifd_bn_layer *l, int64_t c) {
  return var_at(l, c) >= 0 && var_at(l, c) < l->epsilon && fabs(gain_at(l, c)) > 10;
}

/* Far from the bulk of the layer, and large: noise of such a channel drowns the others. */
static bool gain_outlier(const ifd_bn_layer *l, int64_t c) {
  double g = fabs(gain_at(l, c));
  return isfinite(g) && (g > 1e3 || (g > 10 && g > 100 * l->median_gain));
}

static bool dead_channel(const ifd_bn_layer *l, int64_t c) {
  return isfinite(gain_at(l, c)) && fabs(gain_at(l, c)) < 1e-6;
}

/* x - mean loses the digits that they share: 2^13 deviations leave half of float32's 24 bits. */
static bool cancels(const ifd_bn_layer *l, int64_t c) {
  double deviation = sqrt(var_at(l, c) + l->epsilon);
  return isfinite(deviation) && fabs(mean_at(l, c)) > 8192 * deviation && fabs(gain_at(l, c)) > 1e-6;
}

/* ---- statistics that nobody trained ---- */

static bool is_fresh(const ifd_bn_layer *l) {
  return !l->of_weights && !l->of_instances && all(l, mean_at, 0) && all(l, var_at, 1);
}

static bool untrained(const ifd_bn_layer *l, char *message, size_t len) {
  return is_fresh(l) && all(l, scale_at, 1) && all(l, b_at, 0) &&
         say(message, len, "mean 0, variance 1, scale 1 and B 0 in every channel: as it was created");
}

static bool statistics_unset(const ifd_bn_layer *l, char *message, size_t len) {
  return is_fresh(l) && !(all(l, scale_at, 1) && all(l, b_at, 0)) &&
         say(message, len, "mean 0 and variance 1 in every channel beside a trained scale or B");
}

static bool statistics_zero(const ifd_bn_layer *l, char *message, size_t len) {
  return all(l, mean_at, 0) && all(l, var_at, 0) &&
         say(message, len, "mean 0 and variance 0 in every channel: statistics that were never filled in");
}

/* ---- float16 ---- */

static const double largest_half = 65504;

static bool is_half(const ifd_bn_layer *l) { return l->x->type->dtype == IFD_FLOAT16; }

/* The largest magnitude among the numbers that inference computes with: the folded shift, the folded weight,
 * the variance. */
static double largest(const ifd_bn_layer *l, int64_t c) {
  double shift = fabs(b_at(l, c) - mean_at(l, c) * gain_at(l, c));
  double weight = l->weight ? fabs(l->weight[c] * gain_at(l, c)) : fabs(gain_at(l, c));
  return fmax(fmax(shift, weight), var_at(l, c));
}

static bool overflows(const ifd_bn_layer *l, int64_t c) {
  return largest(l, c) > largest_half && isfinite(gain_at(l, c)) && isfinite(var_at(l, c));
}
static bool overflows_half(const ifd_bn_layer *l, int64_t c) { return is_half(l) && overflows(l, c); }
static bool would_overflow(const ifd_bn_layer *l, int64_t c) { return !is_half(l) && overflows(l, c); }

/* ---- where it stands ---- */

static bool is_any(const ifd_node *node, const char *const *names, size_t n) {
  for (size_t i = 0; node && i < n; i++)
    if (ifd_node_is(node, names[i])) return true;
  return false;
}

static bool is_linear(const ifd_node *node) {
  static const char *const names[] = {"Conv", "ConvTranspose", "Gemm", "MatMul"};
  return is_any(node, names, sizeof names / sizeof *names);
}

static bool is_activation(const ifd_node *node) {
  static const char *const names[] = {
      "Relu", "LeakyRelu",   "PRelu",     "Elu",  "Selu", "Celu",     "Gelu",     "Sigmoid",
      "Tanh", "HardSigmoid", "HardSwish", "Mish", "Clip", "Softplus", "Softsign", "ThresholdedRelu"};
  return is_any(node, names, sizeof names / sizeof *names);
}

static bool stays(const ifd_bn_layer *l) { return !l->written_out && !(l->outcome && l->folds); }

static bool after_activation(const ifd_bn_layer *l, char *message, size_t len) {
  const ifd_node *before = l->x->producer;
  if (!stays(l) || !is_activation(before) ||
      !is_linear(before->inputs[0] ? before->inputs[0]->producer : NULL))
    return false;
  snprintf(message, len, "it stands behind %s: the %s before that cannot take it in", before->op_type,
           before->inputs[0]->producer->op_type);
  return true;
}

/* Before an activation, but with nothing linear in front: pre-activation networks. */
static bool before_activation(const ifd_bn_layer *l, char *message, size_t len) {
  const ifd_node *before = l->x->producer, *reader = ifd_value_only_reader(l->node->outputs[0]);
  if (!stays(l) || is_linear(before) || is_activation(before) || !is_activation(reader)) return false;
  snprintf(message, len, "between %s%s and %s: neither side can take it in", before ? "" : "an input",
           before ? before->op_type : "", reader->op_type);
  return true;
}

static bool is_spatial_zero(const ifd_bn_layer *l) {
  return !l->written_out && l->node->opset < 9 && !ifd_node_int(l->node, "spatial", 1);
}

static bool per_position(const ifd_bn_layer *l, char *message, size_t len) {
  return is_spatial_zero(l) && ifd_bn_is_per_position(l->node) &&
         say(message, len, "spatial = 0: each position has statistics of its own");
}

static bool spatial_beside_channels(const ifd_bn_layer *l, char *message, size_t len) {
  return is_spatial_zero(l) && !ifd_bn_is_per_position(l->node) &&
         say(message, len, "spatial = 0, but its parameters are those of channels: taken as such");
}

static bool computed_statistics(const ifd_bn_layer *l, char *message, size_t len) {
  if (takes_statistics(l) || l->written_out) return false;
  for (int i = 0; i < IFD_BN_N; i++)
    if (!l->p[i]) {
      snprintf(message, len, "%s is not constant: the layer stays, and is not examined", ifd_bn_names[i]);
      return true;
    }
  return false;
}

static bool mixed_types(const ifd_bn_layer *l, char *message, size_t len) {
  ifd_dtype x = l->x->type->dtype;
  for (int i = 0; !l->written_out && x && i < IFD_BN_N; i++)
    if (l->p[i] && l->p[i]->dtype != x) {
      snprintf(message, len, "its input is %s, its %s %s", ifd_dtype_name(x), ifd_bn_names[i],
               ifd_dtype_name(l->p[i]->dtype));
      return true;
    }
  return false;
}

static bool written_out(const ifd_bn_layer *l, char *message, size_t len) {
  return l->written_out && !l->of_batch &&
         say(message, len, "scale and shift by constants of each channel, in arithmetic");
}

/* ---- the table ---- */

#define LAYER(check)             .layer = check
#define CHANNEL(check, what, of) .channel = check, .quantity = what, .value = of

const ifd_rule_row ifd_doctor_rules[] = {
    {"training-mode", IFD_ERROR, "exported in training mode", LAYER(training_mode),
     .advice =
         "export in evaluation mode (model.eval()), or repair the file: infold optimize --bn-inference"},
    {"batch-statistics", IFD_ERROR, "normalizes by its batch", LAYER(batch_statistics),
     .advice = "export in evaluation mode, from layers that keep running statistics "
               "(track_running_stats=True): the file has none to go back to"},
    {"one-value", IFD_ERROR, "nothing to take statistics of", LAYER(one_value),
     .advice = "export in evaluation mode, or leave the layer out"},
    {"not-finite", IFD_ERROR, "a parameter is no number", LAYER(not_finite),
     .advice = "training diverged or the file was damaged: go back to an earlier checkpoint"},
    {"negative-variance", IFD_ERROR, "negative variance", CHANNEL(negative_variance, "variance", var_at),
     .advice = "averaging or converting checkpoints does this: measure the statistics anew with infold "
               "recalibrate"},
    {"zero-division", IFD_ERROR, "variance and epsilon are 0", CHANNEL(zero_division, "variance", var_at),
     .advice = "set epsilon to 1e-5"},
    {"float16-overflow", IFD_ERROR, "more than float16 can hold",
     CHANNEL(overflows_half, "variance, folded weight or shift", largest),
     .advice = "keep this layer in float32, or measure its statistics anew"},
    {"training-graph", IFD_WARNING, "a model for training", LAYER(training_graph),
     .advice = "for inference, export in evaluation mode"},
    {"untrained", IFD_WARNING, "untrained layer", LAYER(untrained),
     .advice = "check that the checkpoint was loaded; infold recalibrate measures the statistics on data"},
    {"statistics-zero", IFD_WARNING, "empty statistics", LAYER(statistics_zero),
     .advice = "the converter lost them: export again, or infold recalibrate"},
    {"small-batch", IFD_WARNING, "statistics of a small batch", LAYER(small_batch),
     .advice = "export in evaluation mode, or normalize each sample by itself (GroupNormalization)"},
    {"huge-variance", IFD_WARNING, "huge variance", CHANNEL(huge_variance, "variance", var_at),
     .advice = "its input has no sensible scale: check the preprocessing and the layer before"},
    {"epsilon-dominates", IFD_WARNING, "epsilon is larger than the variance",
     CHANNEL(epsilon_dominates, "variance", var_at),
     .advice =
         "such a channel hardly moved in training and is amplified by scale / sqrt(epsilon): check that "
         "epsilon is the one of training"},
    {"gain-outlier", IFD_WARNING, "gain far above the others", CHANNEL(gain_outlier, "gain", gain_at),
     .advice = "noise and rounding of these channels are amplified, and quantization suffers: prune them or "
               "fine-tune"},
    {"cancellation", IFD_WARNING, "mean dwarfs the deviation", CHANNEL(cancels, "mean", mean_at),
     .advice = "subtracting such a mean loses most digits of float32: center the input"},
    {"statistics-unset", IFD_NOTE, "statistics as created", LAYER(statistics_unset),
     .advice = "right where they were folded into scale and B; else infold recalibrate measures them"},
    {"would-overflow-float16", IFD_NOTE, "too large for float16",
     CHANNEL(would_overflow, "variance, folded weight or shift", largest),
     .advice = "fold and compute in float32 before converting to float16"},
    {"tiny-variance", IFD_NOTE, "variance of next to nothing", CHANNEL(tiny_variance, "variance", var_at),
     .advice = "the channel did not move over the training data: it could be pruned"},
    {"dead-channel", IFD_NOTE, "dead channels", CHANNEL(dead_channel, "gain", gain_at),
     .advice = "the output is B whatever the input: the channel could be pruned"},
    {"weight-standardization", IFD_NOTE, "standardizes weights", LAYER(weight_standardization),
     .advice = "meant so: infold optimize computes it once"},
    {"instance-normalization", IFD_NOTE, "means InstanceNormalization", LAYER(instance_by_batch),
     .advice = "meant so: infold optimize writes it as InstanceNormalization"},
    {"momentum-sense", IFD_NOTE, "momentum may be the wrong way round", LAYER(momentum_sense),
     .advice = "ONNX's momentum is the part that is kept: a framework's 0.1 is 0.9 here"},
    {"after-activation", IFD_NOTE, "stands behind the activation", LAYER(after_activation),
     .advice = "where the network is trained again, the order linear, BatchNormalization, activation costs "
               "nothing to run"},
    {"before-activation", IFD_NOTE, "nothing linear before it", LAYER(before_activation),
     .advice = "it costs a pass over its input in each run"},
    {"per-position", IFD_NOTE, "statistics of each position", LAYER(per_position),
     .advice = "few runtimes know spatial = 0; it left ONNX with opset 9"},
    {"spatial-unmeant", IFD_NOTE, "spatial = 0 is not meant", LAYER(spatial_beside_channels),
     .advice =
         "MXNet's exporter wrote it so; other runtimes refuse the model: infold optimize folds the layer, "
         "--raise-opset 13 drops the attribute"},
    {"computed-statistics", IFD_NOTE, "parameters are computed", LAYER(computed_statistics),
     .advice = "infold optimize folds them where they depend on constants alone"},
    {"mixed-types", IFD_NOTE, "mixed types", LAYER(mixed_types),
     .advice = "allowed since opset 15; not every runtime and optimizer knows"},
    {"written-out", IFD_NOTE, "BatchNormalization in arithmetic", LAYER(written_out),
     .advice = "its running statistics are no longer apart: they cannot be examined or recalibrated"},
    {0}};
