/* Normalizations of a sample by its own statistics: over channels, groups or trailing dimensions.
 * The first stage (mean, variance, standardized values) is in double whatever stash_type says, which is
 * nearer the truth than any type it can name; the outputs that have the stash type are rounded to it. */
#include <math.h>

#include "kernels/kernels.h"
#include "kernels/norm/norm.h"
#include "ops/shared/batch.h"
#include "ops/shared/elementwise.h"
#include "ops/shared/rows.h"
#include "ops/shared/values.h"
#include "ops/shared/walk.h"

/* ---- standardizing ---- */

typedef struct moments {
  double mean, inv_std;
} moments;

/* Mean and 1 / sqrt(population variance + epsilon). */
static moments moments_of(const double *v, int64_t n, double epsilon) {
  double sum = 0, squares = 0;
  for (int64_t i = 0; i < n; i++) sum += v[i];
  double mean = sum / (double)n;
  for (int64_t i = 0; i < n; i++) squares += (v[i] - mean) * (v[i] - mean);
  return (moments){mean, 1 / sqrt(squares / (double)n + epsilon)};
}

/* ---- InstanceNormalization, GroupNormalization ---- */

/* X [batch, channels, plane…] in groups of channels, with a scale and bias for each of n_parameters equal
 * parts of the channels. */
static ifd_status normalize_groups(ifd_eval *x, int64_t groups, int64_t n_parameters) {
  const ifd_shape *s = ifd_eval_shape(x, 0);
  const double *in, *scale, *bias;
  double *y, epsilon = ifd_attr_float(x->node, "epsilon");
  int64_t batch = s->dim[0], channels = s->dim[1], plane = ifd_shape_span(s, 2, s->rank);
  TRY(ifd_eval_f64(x, &in, 0));
  TRY(ifd_eval_find_f64_n(x, &scale, 1, n_parameters, "scale"));
  TRY(ifd_eval_find_f64_n(x, &bias, 2, n_parameters, "bias"));
  TRY(ifd_eval_zeros(x, &y, ifd_shape_count(s)));
  int64_t in_group = groups ? channels / groups : 0, in_part = n_parameters ? channels / n_parameters : 0;
  for (int64_t g = 0; g < batch * groups; g++) {
    moments m = moments_of(in + g * in_group * plane, in_group * plane, epsilon);
    for (int64_t c = g * in_group; c < (g + 1) * in_group; c++) {
      int64_t p = c % channels / in_part;
      for (int64_t i = c * plane; i < (c + 1) * plane; i++)
        y[i] = (in[i] - m.mean) * m.inv_std * scale[p] + bias[p];
    }
  }
  return ifd_eval_put_f64(x, 0, ifd_eval_dtype(x, 0), s, y);
}

static ifd_status expect_channels(ifd_eval *x) {
  int rank = ifd_eval_shape(x, 0)->rank;
  EXPECT(x->err, rank >= 2, BAD_INPUT, "the input has rank %d; batch and channels are needed", rank);
  return IFD_OK;
}

static ifd_status eval_instance_norm(ifd_eval *x) {
  TRY(expect_channels(x));
  int64_t channels = ifd_eval_shape(x, 0)->dim[1];
  return normalize_groups(x, channels, channels);
}

static ifd_status count_groups(ifd_eval *x, int64_t *groups) {
  TRY(expect_channels(x));
  int64_t channels = ifd_eval_shape(x, 0)->dim[1];
  *groups = ifd_attr_int(x->node, "num_groups");
  EXPECT(x->err, *groups > 0 && channels % *groups == 0, BAD_INPUT,
         "%lld channels cannot be divided in %lld groups", (long long)channels, (long long)*groups);
  return IFD_OK;
}

/* Opset 18 has a scale and bias for each group, 21 for each channel. */
static ifd_status eval_group_norm_18(ifd_eval *x) {
  int64_t groups;
  TRY(count_groups(x, &groups));
  return normalize_groups(x, groups, groups);
}
static ifd_status eval_group_norm_21(ifd_eval *x) {
  int64_t groups;
  TRY(count_groups(x, &groups));
  return normalize_groups(x, groups, ifd_eval_shape(x, 0)->dim[1]);
}

/* ---- LayerNormalization, RMSNormalization ---- */

static ifd_status infer_layer_norm(ifd_infer *x) {
  TRY(ifd_infer_same(x, 0, 0));
  int rank = ifd_infer_rank(x, 0), axis;
  ifd_dtype stash = (ifd_dtype)ifd_attr_int(x->node, "stash_type");
  ifd_dim dims[IFD_MAX_RANK];
  if (rank < 0 || rank > IFD_MAX_RANK) {
    TRY(ifd_infer_unranked(x, 1, stash));
    return ifd_infer_unranked(x, 2, stash);
  }
  TRY(ifd_axis(x->err, &axis, ifd_attr_int(x->node, "axis"), rank));
  for (int i = 0; i < rank; i++) dims[i] = i < axis ? ifd_infer_dim(x, 0, i) : 1;
  TRY(ifd_infer_tensor(x, 1, stash, rank, dims));
  return ifd_infer_tensor(x, 2, stash, rank, dims);
}

static ifd_status infer_rms_norm(ifd_infer *x) { return ifd_infer_same_as(x, 0, 0, ifd_infer_dtype(x, 1)); }

/* y = y * scale + bias, both broadcast to the shape; bias may be NULL. */
static ifd_status scale_and_shift(ifd_eval *x, const ifd_shape *shape, double *y) {
  const double *p[2];
  ifd_walk w = ifd_walk_over(shape);
  for (int i = 0; i < 2; i++) {
    TRY(ifd_eval_find_f64(x, &p[i], 1 + i));
    static const ifd_shape scalar = {0};
    const ifd_shape *s = p[i] ? ifd_eval_shape(x, 1 + i) : &scalar;
    ifd_shape both;
    TRY(ifd_shape_broadcast(x->err, &both, s, shape));
    EXPECT(x->err, ifd_shape_equal(&both, shape), BAD_INPUT, "%s does not broadcast to the input",
           i ? "B" : "Scale");
    ifd_walk_add_shape(&w, s);
  }
  while (ifd_walk_next(&w))
    for (int64_t i = 0; i < w.n; i++, y++)
      *y = *y * p[0][w.offset[0] + i * w.step[0]] + (p[1] ? p[1][w.offset[1] + i * w.step[1]] : 0);
  return IFD_OK;
}

static ifd_status split_at_axis(ifd_eval *x, int *axis, int64_t *rows, int64_t *n) {
  const ifd_shape *s = ifd_eval_shape(x, 0);
  TRY(ifd_axis(x->err, axis, ifd_attr_int(x->node, "axis"), s->rank));
  *rows = ifd_shape_span(s, 0, *axis);
  *n = ifd_shape_span(s, *axis, s->rank);
  return IFD_OK;
}

static ifd_status eval_layer_norm(ifd_eval *x) {
  const ifd_shape *s = ifd_eval_shape(x, 0);
  const double *in;
  double *y, *mean, *inv_std, epsilon = ifd_attr_float(x->node, "epsilon");
  int64_t rows, n, stash = ifd_attr_int(x->node, "stash_type");
  int axis;
  TRY(split_at_axis(x, &axis, &rows, &n));
  EXPECT(x->err, ifd_dtype_valid(stash) && ifd_dtype_is_float((ifd_dtype)stash), BAD_MODEL,
         "attribute stash_type is %lld, not a float type", (long long)stash);
  TRY(ifd_eval_f64(x, &in, 0));
  TRY(ifd_eval_zeros(x, &y, rows * n));
  TRY(ifd_eval_zeros(x, &mean, rows));
  TRY(ifd_eval_zeros(x, &inv_std, rows));
  for (int64_t r = 0; r < rows; r++) {
    moments m = moments_of(in + r * n, n, epsilon);
    for (int64_t i = r * n; i < (r + 1) * n; i++) y[i] = (in[i] - m.mean) * m.inv_std;
    mean[r] = m.mean;
    inv_std[r] = m.inv_std;
  }
  TRY(scale_and_shift(x, s, y));
  ifd_shape kept = *s;
  for (int i = axis; i < kept.rank; i++) kept.dim[i] = 1;
  TRY(ifd_eval_put_f64(x, 0, ifd_eval_dtype(x, 0), s, y));
  TRY(ifd_eval_put_f64(x, 1, (ifd_dtype)stash, &kept, mean));
  return ifd_eval_put_f64(x, 2, (ifd_dtype)stash, &kept, inv_std);
}

/* The result has the type of the scale. */
static ifd_status eval_rms_norm(ifd_eval *x) {
  const ifd_shape *s = ifd_eval_shape(x, 0);
  const double *in;
  double *y, epsilon = ifd_attr_float(x->node, "epsilon");
  int64_t rows, n;
  int axis;
  TRY(split_at_axis(x, &axis, &rows, &n));
  TRY(ifd_eval_f64(x, &in, 0));
  TRY(ifd_eval_zeros(x, &y, rows * n));
  for (int64_t r = 0; r < rows; r++) {
    double squares = 0;
    for (int64_t i = r * n; i < (r + 1) * n; i++) squares += in[i] * in[i];
    double rms = sqrt(squares / (double)n + epsilon);
    for (int64_t i = r * n; i < (r + 1) * n; i++) y[i] = in[i] / rms;
  }
  TRY(scale_and_shift(x, s, y));
  return ifd_eval_put_f64(x, 0, ifd_eval_dtype(x, 1), s, y);
}

/* ---- on kernels ---- */

/* Rows of n elements, or groups of channels: every one by its own statistics. */
typedef struct norm_params {
  const struct ifd_k_norm_table *kernels;
  float epsilon;
  ifd_rows rows;
  int64_t n;
  bool has_bias, has_mean, has_inv_std;
  int64_t plane, groups, in_group; /* rows are groups of in_group planes */
  int64_t in_part;                 /* channels that share a scale */
} norm_params;

static void run_layer_norm(const void *params, const ifd_args *args, int task) {
  const norm_params *p = params;
  int64_t from, to;
  ifd_rows_of(&p->rows, task, &from, &to);
  p->kernels->layer((const float *)args->in[0] + from * p->n, (size_t)(to - from), (size_t)p->n, args->in[1],
                    p->has_bias ? args->in[2] : NULL, p->epsilon, (float *)args->out[0] + from * p->n,
                    p->has_mean ? (float *)args->out[1] + from : NULL,
                    p->has_inv_std ? (float *)args->out[2] + from : NULL);
}

static void run_rms_norm(const void *params, const ifd_args *args, int task) {
  const norm_params *p = params;
  int64_t from, to;
  ifd_rows_of(&p->rows, task, &from, &to);
  p->kernels->rms((const float *)args->in[0] + from * p->n, (size_t)(to - from), (size_t)p->n, args->in[1],
                  p->epsilon, (float *)args->out[0] + from * p->n);
}

/* A scale or bias that has one number for each element of a row, in its order. */
static bool is_row(const ifd_tensor *t, const ifd_shape *s, int axis) {
  int first = t->shape.rank - (s->rank - axis);
  for (int i = 0; i < t->shape.rank; i++)
    if (t->shape.dim[i] != (i < first ? 1 : s->dim[axis + i - first])) return false;
  return first >= 0;
}

static ifd_status lower_rows_norm(ifd_lower *x, ifd_kernel run) {
  const ifd_shape *s = &x->in[0]->shape;
  int axis;
  norm_params p = {.kernels = ifd_k_norm(x->isa),
                   .epsilon = (float)ifd_attr_float(x->node, "epsilon"),
                   .has_bias = x->node->n_inputs > 2 && x->in[2],
                   .has_mean = ifd_node_has_output(x->node, 1),
                   .has_inv_std = ifd_node_has_output(x->node, 2)};
  if (!ifd_lower_all_float(x, 3) || ifd_attr_int(x->node, "stash_type") != IFD_FLOAT) return IFD_OK;
  TRY(ifd_axis(x->err, &axis, ifd_attr_int(x->node, "axis"), s->rank));
  if (!is_row(x->in[1], s, axis) || (p.has_bias && !is_row(x->in[2], s, axis))) return IFD_OK;
  p.n = ifd_shape_span(s, axis, s->rank);
  p.rows = ifd_rows_split(ifd_shape_span(s, 0, axis), 4 * (double)p.n);
  x->work->algorithm = "rows";
  return ifd_lower_rows(x, run, &p, sizeof p, &p.rows);
}
static ifd_status lower_layer_norm(ifd_lower *x) { return lower_rows_norm(x, run_layer_norm); }
static ifd_status lower_rms_norm(ifd_lower *x) { return lower_rows_norm(x, run_rms_norm); }

/* A group with one scale for all its channels takes step 0 over it. */
static void run_group_norm(const void *params, const ifd_args *args, int task) {
  const norm_params *p = params;
  int64_t from, to, n = p->in_group * p->plane;
  ifd_rows_of(&p->rows, task, &from, &to);
  for (int64_t g = from; g < to; g++) {
    int64_t part = g % p->groups * p->in_group / p->in_part;
    p->kernels->group((const float *)args->in[0] + g * n, (size_t)p->in_group, (size_t)p->plane,
                      (const float *)args->in[1] + part, (const float *)args->in[2] + part, p->in_part == 1,
                      p->epsilon, (float *)args->out[0] + g * n);
  }
}

static ifd_status lower_groups(ifd_lower *x, int64_t groups, int64_t n_parameters) {
  const ifd_shape *s = &x->in[0]->shape;
  if (!ifd_lower_all_float(x, 3) || s->rank < 2 || groups <= 0 || s->dim[1] % groups) return IFD_OK;
  for (int i = 1; i <= 2; i++)
    if (ifd_tensor_count(x->in[i]) != n_parameters) return IFD_OK;
  norm_params p = {.kernels = ifd_k_norm(x->isa),
                   .epsilon = (float)ifd_attr_float(x->node, "epsilon"),
                   .plane = ifd_shape_span(s, 2, s->rank),
                   .groups = groups,
                   .in_group = s->dim[1] / groups,
                   .in_part = s->dim[1] / n_parameters};
  p.rows = ifd_rows_split(s->dim[0] * groups, 4 * (double)(p.in_group * p.plane));
  x->work->algorithm = "groups";
  return ifd_lower_rows(x, run_group_norm, &p, sizeof p, &p.rows);
}

static int64_t channels_of(const ifd_lower *x) {
  return x->in[0]->shape.rank > 1 ? x->in[0]->shape.dim[1] : 0;
}
static ifd_status lower_instance_norm(ifd_lower *x) {
  return lower_groups(x, channels_of(x), channels_of(x));
}
static ifd_status lower_group_norm_18(ifd_lower *x) {
  int64_t groups = ifd_attr_int(x->node, "num_groups");
  return lower_groups(x, groups, groups);
}
static ifd_status lower_group_norm_21(ifd_lower *x) {
  return lower_groups(x, ifd_attr_int(x->node, "num_groups"), channels_of(x));
}

/* Of blocked images (ops/blocked.c): attribute `channels` in num_groups. A unit is the least number of whole
 * groups that is whole blocks, or all there are. */
typedef struct blocked_params {
  const struct ifd_k_norm_table *kernels;
  float epsilon;
  int64_t channels, plane, in_group, in_part, unit, units; /* of a sample */
  ifd_rows rows;                                           /* units of all samples */
} blocked_params;

static void run_blocked_norm(const void *params, const ifd_args *args, int task) {
  const blocked_params *p = params;
  int64_t from, to, sample = ifd_ceil_div(p->channels, IFD_BLOCK) * IFD_BLOCK * p->plane;
  ifd_rows_of(&p->rows, task, &from, &to);
  for (int64_t u = from; u < to; u++) {
    int64_t c = u % p->units * p->unit, at = u / p->units * sample + c * p->plane, part = c / p->in_part;
    p->kernels->group_blocked((const float *)args->in[0] + at, (size_t)ifd_min_i64(p->unit, p->channels - c),
                              (size_t)p->plane, (size_t)p->in_group, (const float *)args->in[1] + part,
                              (const float *)args->in[2] + part, (size_t)p->in_part, p->epsilon,
                              (float *)args->out[0] + at, args->scratch);
  }
}

static int64_t least_common(int64_t n, int64_t block) {
  while (n % block) block /= 2;
  return n / block * IFD_BLOCK;
}

static ifd_status lower_blocked_norm(ifd_lower *x) {
  const ifd_shape *s = &x->in[0]->shape;
  int64_t channels = ifd_node_int(x->node, "channels", 0), groups = ifd_node_int(x->node, "num_groups", 1);
  if (!ifd_lower_all_float(x, 3)) return IFD_OK;
  blocked_params p = {.kernels = ifd_k_norm(x->isa),
                      .epsilon = ifd_node_float(x->node, "epsilon", 1e-5F),
                      .channels = channels,
                      .plane = ifd_shape_span(s, 2, s->rank - 1),
                      .in_group = channels / groups,
                      .in_part = channels / ifd_tensor_count(x->in[1])};
  p.unit = ifd_min_i64(channels, least_common(p.in_group, IFD_BLOCK));
  p.units = ifd_ceil_div(channels, p.unit);
  p.rows = ifd_rows_split(s->dim[0] * p.units, 4 * (double)(p.unit * p.plane));
  x->work->algorithm = "groups";
  return ifd_lower_launch(x, run_blocked_norm, &p, sizeof p, ifd_ceil_div(p.rows.n, p.rows.step),
                          sizeof(float) * 2 * IFD_BLOCK * (size_t)ifd_ceil_div(p.unit, IFD_BLOCK));
}

/* Scale and bias broadcast. */
static const char *batch_rows(const ifd_batch *b) { return ifd_batch_axis_is_inner(b, -1) ? "pb" : NULL; }

#define ROW(name_, since_, infer_, eval_, lower_, batch_)                                                    \
  { .name = name_, .since = since_, .infer = infer_, .eval = eval_, .lower = lower_, .batch = batch_ }
const ifd_op ifd_ops_norm[] = {
    ROW("InstanceNormalization", 1, ifd_infer_like_first, eval_instance_norm, lower_instance_norm,
        ifd_batch_first),
    ROW("GroupNormalization", 18, ifd_infer_like_first, eval_group_norm_18, lower_group_norm_18,
        ifd_batch_first),
    ROW("GroupNormalization", 21, ifd_infer_like_first, eval_group_norm_21, lower_group_norm_21,
        ifd_batch_first),
    {.name = "GroupNormalization",
     .domain = "infold",
     .infer = ifd_infer_like_first,
     .lower = lower_blocked_norm,
     .batch = ifd_batch_first},
    ROW("LayerNormalization", 17, infer_layer_norm, eval_layer_norm, lower_layer_norm, batch_rows),
    ROW("RMSNormalization", 23, infer_rms_norm, eval_rms_norm, lower_rms_norm, batch_rows),
    {0}};
