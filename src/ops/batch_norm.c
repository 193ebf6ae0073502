/* BatchNormalization: y = scale * (x - mean) / sqrt(var + epsilon) + B, by given statistics, or by those of
 * the input itself, which then also move the running ones. Statistics are summed in double, in two passes. */
#include <math.h>

#include "kernels/kernels.h"
#include "kernels/norm/norm.h"
#include "ops/shared/elementwise.h"
#include "ops/shared/rows.h"
#include "ops/shared/values.h"

enum { X, SCALE, BIAS, MEAN, VAR };

/* ---- the mode, by version ---- */

static bool trains_1(const ifd_node *node) { return ifd_attr_int(node, "is_test") == 0; }

static bool trains_7(const ifd_node *node) {
  for (int i = 1; i < node->n_outputs; i++)
    if (node->outputs[i]) return true;
  return false;
}

static bool trains_14(const ifd_node *node) { return ifd_attr_int(node, "training_mode") != 0; }

static bool is_spatial(const ifd_node *bn) { return bn->opset >= 9 || ifd_node_int(bn, "spatial", 1); }

/* Running and saved statistics have the type of the given ones, which from opset 14 on may differ from
 * X's. */
/* Per-channel statistics are vectors; only those of `spatial = 0` (before version 9) have an element for each
 * position. */
static ifd_status check_statistics(ifd_infer *x) {
  static const char *const names[] = {[SCALE] = "scale", [SCALE + 1] = "B", [MEAN] = "mean", [VAR] = "var"};
  int rank = ifd_infer_rank(x, X);
  bool spatial = is_spatial(x->node);
  for (int i = SCALE; spatial && i <= VAR; i++) {
    int r = ifd_infer_rank(x, i);
    EXPECT(x->err, r < 0 || r == 1, BAD_MODEL, "%s has rank %d; a vector was expected", names[i], r);
    if (r < 0 || rank < 2) continue;
    ifd_dim n = ifd_infer_dim(x, i, 0), c = ifd_infer_dim(x, X, 1);
    EXPECT(x->err, n == c || !ifd_dim_is_number(n) || !ifd_dim_is_number(c), BAD_MODEL,
           "%s has %lld elements for %lld channels", names[i], (long long)n, (long long)c);
  }
  return IFD_OK;
}

static ifd_status infer_batch_norm(ifd_infer *x) {
  TRY(check_statistics(x));
  TRY(ifd_infer_same(x, 0, X));
  for (int i = 1; i < x->node->n_outputs; i++) TRY(ifd_infer_same(x, i, i % 2 ? MEAN : VAR));
  return IFD_OK;
}

/* X seen as [batch, features, plane], where a feature is what has parameters of its own: a channel, or
 * without attribute spatial (before opset 9) an element of a sample. */
typedef struct layout {
  int64_t batch, features, plane;
} layout;

bool ifd_bn_is_per_position(const ifd_node *bn) {
  const ifd_type *x = bn->n_inputs > SCALE && bn->inputs[X] ? bn->inputs[X]->type : NULL;
  const ifd_type *scale = x && bn->inputs[SCALE] ? bn->inputs[SCALE]->type : NULL;
  bool of_channels = scale && scale->kind == IFD_KIND_TENSOR && x->kind == IFD_KIND_TENSOR &&
                     scale->has_rank && scale->rank == 1 && x->has_rank && x->rank > 2 &&
                     scale->dims[0] == x->dims[1];
  return !is_spatial(bn) && !of_channels;
}

/* An input of one dimension is a batch of one channel. */
static ifd_status layout_of(ifd_error *err, const ifd_node *node, const ifd_shape *s, const ifd_shape *scale,
                            layout *l) {
  EXPECT(err, s->rank >= 1, BAD_INPUT, "X is a scalar");
  int64_t channels = s->rank > 1 ? s->dim[1] : 1, rest = ifd_shape_span(s, s->rank > 1 ? 2 : 1, s->rank);
  *l = (layout){s->dim[0], channels, rest};
  bool of_channels = scale->rank == 1 && scale->dim[0] == channels;
  if (!is_spatial(node) && !of_channels) *l = (layout){s->dim[0], channels * rest, 1};
  return IFD_OK;
}

static void add_feature(const layout *l, const double *in, int64_t f, double mean, int power, double *sum) {
  for (int64_t n = 0; n < l->batch; n++)
    for (const double *v = in + (n * l->features + f) * l->plane, *end = v + l->plane; v < end; v++)
      *sum += power == 1 ? *v : (*v - mean) * (*v - mean);
}

/* Mean and population variance of each feature over batch and plane; not numbers where there are no
 * elements. */
static void statistics(const layout *l, const double *in, double *mean, double *var) {
  double n = (double)(l->batch * l->plane);
  for (int64_t f = 0; f < l->features; f++) {
    double sum = 0, squares = 0;
    add_feature(l, in, f, 0, 1, &sum);
    mean[f] = sum / n;
    add_feature(l, in, f, mean[f], 2, &squares);
    var[f] = squares / n;
  }
}

static void normalize(const layout *l, const double *in, const double *const *p, double epsilon, double *y) {
  for (int64_t i = 0; i < l->batch * l->features; i++) {
    int64_t f = i % l->features;
    double factor = p[SCALE][f] / sqrt(p[VAR][f] + epsilon);
    for (int64_t j = i * l->plane, end = j + l->plane; j < end; j++)
      y[j] = (in[j] - p[MEAN][f]) * factor + p[BIAS][f];
  }
}

/* Output i: given * momentum + current * (1 - momentum). */
static ifd_status put_running(ifd_eval *x, int i, int input, const double *given, const double *current,
                              int64_t features) {
  double momentum = ifd_attr_float(x->node, "momentum"), *v;
  TRY(ifd_eval_zeros(x, &v, features));
  for (int64_t f = 0; f < features; f++) v[f] = given[f] * momentum + current[f] * (1 - momentum);
  return ifd_eval_put_f64(x, i, ifd_eval_dtype(x, input), ifd_eval_shape(x, input), v);
}

/* Normalizes by the input's own statistics; outputs 3 and 4, before opset 14, are these themselves. */
static ifd_status train(ifd_eval *x, const layout *l, const double *in, const double **p) {
  double *mean, *var;
  TRY(ifd_eval_zeros(x, &mean, l->features));
  TRY(ifd_eval_zeros(x, &var, l->features));
  statistics(l, in, mean, var);
  TRY(put_running(x, 1, MEAN, p[MEAN], mean, l->features));
  TRY(put_running(x, 2, VAR, p[VAR], var, l->features));
  TRY(ifd_eval_put_f64(x, 3, ifd_eval_dtype(x, MEAN), ifd_eval_shape(x, MEAN), mean));
  TRY(ifd_eval_put_f64(x, 4, ifd_eval_dtype(x, VAR), ifd_eval_shape(x, VAR), var));
  p[MEAN] = mean;
  p[VAR] = var;
  return IFD_OK;
}

static ifd_status eval_batch_norm(ifd_eval *x) {
  static const char *const names[] = {"X", "scale", "B", "mean", "var"};
  layout l;
  const double *p[5];
  double *y;
  TRY(layout_of(x->err, x->node, ifd_eval_shape(x, X), ifd_eval_shape(x, SCALE), &l));
  TRY(ifd_eval_f64(x, &p[X], X));
  for (int i = SCALE; i <= VAR; i++) TRY(ifd_eval_find_f64_n(x, &p[i], i, l.features, names[i]));
  if (ifd_op_mixes_batch(x->node)) TRY(train(x, &l, p[X], p));
  for (int i = 1; i < x->n_out; i++)
    EXPECT(x->err, !ifd_eval_wants(x, i) || x->out[i].kind == IFD_KIND_TENSOR, BAD_MODEL,
           "output %d is asked for, but only training gives it", i);
  TRY(ifd_eval_zeros(x, &y, ifd_tensor_count(ifd_eval_in(x, X))));
  normalize(&l, p[X], p, ifd_attr_float(x->node, "epsilon"), y);
  return ifd_eval_put_f64(x, 0, ifd_eval_dtype(x, X), ifd_eval_shape(x, X), y);
}

/* ---- by given statistics, on kernels ---- */

/* y = x * factor + shift. The first launch makes factor and shift of every feature, in double, rounded
 * once. */
typedef struct affine_params {
  const struct ifd_k_norm_table *kernels;
  int64_t features, plane;
  double epsilon;
  ifd_rows rows; /* planes; or samples, where a plane is one element */
} affine_params;

static void run_factors(const void *params, const ifd_args *args, int task) {
  const affine_params *p = params;
  const float *scale = args->in[SCALE], *bias = args->in[BIAS], *mean = args->in[MEAN], *var = args->in[VAR];
  float *factor = args->shared, *shift = factor + p->features;
  (void)task;
  for (int64_t f = 0; f < p->features; f++) {
    double k = (double)scale[f] / sqrt((double)var[f] + p->epsilon);
    factor[f] = (float)k;
    shift[f] = (float)((double)bias[f] - (double)mean[f] * k);
  }
}

static void run_affine(const void *params, const ifd_args *args, int task) {
  const affine_params *p = params;
  const float *factor = args->shared, *shift = factor + p->features;
  int64_t from, to;
  ifd_rows_of(&p->rows, task, &from, &to);
  int64_t item = p->plane > 1 ? p->plane : p->features;
  const float *in = (const float *)args->in[X] + from * item;
  float *out = (float *)args->out[0] + from * item;
  if (p->plane == 1) {
    p->kernels->affine_rows(in, (size_t)(to - from), (size_t)p->features, factor, shift, false, out);
    return;
  }
  while (from < to) { /* planes of one sample at a time */
    int64_t f = from % p->features, n = ifd_min_i64(p->features - f, to - from);
    p->kernels->affine_planes(in, (size_t)n, (size_t)p->plane, factor + f, shift + f, false, out);
    in += n * p->plane, out += n * p->plane, from += n;
  }
}

/* Of doubles: planes (which may be one element) by the reference's own steps. */
static void run_planes_double(const void *params, const ifd_args *args, int task) {
  const affine_params *p = params;
  const double *scale = args->in[SCALE], *bias = args->in[BIAS], *mean = args->in[MEAN], *var = args->in[VAR];
  int64_t from, to;
  ifd_rows_of(&p->rows, task, &from, &to);
  for (int64_t i = from; i < to; i++) {
    int64_t f = i % p->features;
    double factor = scale[f] / sqrt(var[f] + p->epsilon), m = mean[f], b = bias[f];
    const double *in = (const double *)args->in[X] + i * p->plane;
    double *out = (double *)args->out[0] + i * p->plane;
    for (int64_t j = 0; j < p->plane; j++) out[j] = (in[j] - m) * factor + b;
  }
}

static ifd_status lower_batch_norm(ifd_lower *x) {
  layout l;
  bool doubles = ifd_lower_all(x, 5, IFD_DOUBLE);
  if (ifd_op_mixes_batch(x->node) || !(doubles || ifd_lower_all_float(x, 5))) return IFD_OK;
  for (int i = 1; i < x->node->n_outputs; i++)
    if (ifd_node_has_output(x->node, i)) return IFD_OK;
  TRY(layout_of(x->err, x->node, &x->in[X]->shape, &x->in[SCALE]->shape, &l));
  for (int i = SCALE; i <= VAR; i++)
    if (ifd_tensor_count(x->in[i]) != l.features) return IFD_OK;
  affine_params p = {.kernels = ifd_k_norm(x->isa),
                     .features = l.features,
                     .plane = l.plane,
                     .epsilon = ifd_attr_float(x->node, "epsilon")};
  if (doubles) {
    p.rows = ifd_rows_split(l.batch * l.features, (double)l.plane);
    return ifd_lower_rows(x, run_planes_double, &p, sizeof p, &p.rows);
  }
  int64_t n = l.plane > 1 ? l.batch * l.features : l.batch;
  p.rows = ifd_rows_split(n, (double)(l.plane > 1 ? l.plane : l.features));
  x->work->algorithm = "affine";
  x->work->shared = sizeof(float) * 2 * (size_t)l.features;
  TRY(ifd_lower_launch(x, run_factors, &p, sizeof p, 1, 0));
  return ifd_lower_rows(x, run_affine, &p, sizeof p, &p.rows);
}

/* One multiplication and addition for each element. */
static double cost_batch_norm(const ifd_node *node, const ifd_shape *in, const ifd_shape *out) {
  (void)node, (void)out;
  double n = 1;
  for (int i = 0; i < in[X].rank; i++) n *= (double)in[X].dim[i];
  return n;
}

static const char *batch_channels(const ifd_batch *b) { return ifd_op_mixes_batch(b->node) ? NULL : "pw"; }

#define ROW(version, trains)                                                                                 \
  {                                                                                                          \
    .name = "BatchNormalization", .since = version, .infer = infer_batch_norm, .eval = eval_batch_norm,      \
    .lower = lower_batch_norm, .cost = cost_batch_norm, .mixes_batch = trains, .batch = batch_channels       \
  }
const ifd_op ifd_ops_batch_norm[] = {ROW(1, trains_1), ROW(7, trains_7), ROW(14, trains_14), {0}};
