/* MeanVarianceNormalization: over any axes. */
#include <math.h>

#include "kernels/kernels.h"
#include "kernels/reduce/reduce.h"
#include "ops/shared/rows.h"
#include "ops/shared/values.h"
#include "ops/shared/walk.h"

static const double mean_variance_epsilon = 1e-9; /* of the function that ONNX defines the operator by */

/* The shape of the means, 1 along the axes, and which those are (false on entry). */
static ifd_status kept_shape(ifd_error *err, const ifd_node *node, const ifd_shape *s, ifd_shape *kept,
                             bool *reduced) {
  static const int64_t by_channel[] = {0, 2, 3};
  const int64_t *axes;
  int n = ifd_node_ints(node, "axes", &axes);
  *kept = *s;
  if (!ifd_node_find_attr(node, "axes")) axes = by_channel, n = 3;
  for (int i = 0; i < n; i++) {
    int axis;
    TRY(ifd_axis(err, &axis, axes[i], s->rank));
    kept->dim[axis] = 1;
    reduced[axis] = true;
  }
  return IFD_OK;
}

/* Adds f(v) to the sum that each element belongs to. */
static void sum_over(const ifd_shape *s, const int64_t *strides, const double *v, const double *mean,
                     double *sum) {
  ifd_walk w = ifd_walk_over(s);
  ifd_walk_add(&w, strides);
  while (ifd_walk_next(&w))
    for (int64_t i = 0; i < w.n; i++, v++) {
      int64_t to = w.offset[0] + i * w.step[0];
      sum[to] += mean ? (*v - mean[to]) * (*v - mean[to]) : *v;
    }
}

static ifd_status eval_mean_variance_norm(ifd_eval *x) {
  const ifd_shape *s = ifd_eval_shape(x, 0);
  const double *in;
  double *y, *mean, *var;
  int64_t strides[IFD_MAX_RANK];
  ifd_shape kept;
  bool reduced[IFD_MAX_RANK] = {false};
  TRY(kept_shape(x->err, x->node, s, &kept, reduced));
  ifd_shape_broadcast_strides(&kept, s, strides);
  int64_t count = ifd_shape_count(&kept);
  TRY(ifd_eval_f64(x, &in, 0));
  TRY(ifd_eval_zeros(x, &y, ifd_shape_count(s)));
  TRY(ifd_eval_zeros(x, &mean, count));
  TRY(ifd_eval_zeros(x, &var, count));
  double n = count ? (double)ifd_shape_count(s) / (double)count : 0;
  sum_over(s, strides, in, NULL, mean);
  for (int64_t i = 0; i < count; i++) mean[i] /= n;
  sum_over(s, strides, in, mean, var);
  ifd_walk w = ifd_walk_over(s);
  ifd_walk_add(&w, strides);
  double *to = y;
  while (ifd_walk_next(&w))
    for (int64_t i = 0; i < w.n; i++, in++) {
      int64_t at = w.offset[0] + i * w.step[0];
      *to++ = (*in - mean[at]) / (sqrt(var[at] / n) + mean_variance_epsilon);
    }
  return ifd_eval_put_f64(x, 0, ifd_eval_dtype(x, 0), s, y);
}

/* Over the batch, too: the default. */
static bool mean_variance_mixes(const ifd_node *node) {
  const ifd_type *t = node->inputs[0] ? node->inputs[0]->type : &ifd_type_unknown;
  const int64_t *axes;
  int n = ifd_node_ints(node, "axes", &axes);
  for (int i = 0; i < n; i++)
    if (axes[i] == 0 || (t->has_rank && axes[i] == -t->rank)) return true;
  return n == 0;
}

/* Over the outer and the innermost of three axes [outer, kept, inner]: a task is
 * one of those kept, whose `outer` rows are summed on the kernels and then joined in double. */
typedef struct variance_params {
  const struct ifd_k_reduce_table *reduce;
  int64_t outer, kept, inner;
} variance_params;

/* The mean of the rows' sums. */
static double mean_of_rows(const variance_params *p, ifd_reduce op, const float *x, float *sums) {
  double sum = 0;
  p->reduce->rows(op, x, (size_t)(p->kept * p->inner), (size_t)p->outer, (size_t)p->inner, sums);
  for (int64_t o = 0; o < p->outer; o++) sum += sums[o];
  return sum / (double)(p->outer * p->inner);
}

static void run_mean_variance(const void *params, const ifd_args *args, int task) {
  const variance_params *p = params;
  int64_t row = p->kept * p->inner;
  const float *x = (const float *)args->in[0] + task * p->inner;
  float *y = (float *)args->out[0] + task * p->inner;
  float mean = (float)mean_of_rows(p, IFD_REDUCE_Sum, x, args->scratch);
  for (int64_t o = 0; o < p->outer; o++)
    for (int64_t i = 0; i < p->inner; i++) y[o * row + i] = x[o * row + i] - mean;
  float deviation =
      (float)(sqrt(mean_of_rows(p, IFD_REDUCE_SumSquare, y, args->scratch)) + mean_variance_epsilon);
  for (int64_t o = 0; o < p->outer; o++)
    for (int64_t i = 0; i < p->inner; i++) y[o * row + i] /= deviation;
}

static ifd_status lower_mean_variance(ifd_lower *x) {
  const ifd_shape *s = &x->in[0]->shape;
  variance_params p = {.reduce = ifd_k_reduce(x->isa), .outer = 1, .kept = 1, .inner = 1};
  ifd_shape kept;
  bool reduced[IFD_MAX_RANK] = {false};
  int d = 0;
  if (!ifd_lower_all_float(x, 1)) return IFD_OK;
  TRY(kept_shape(x->err, x->node, s, &kept, reduced));
  for (; d < s->rank && reduced[d]; d++) p.outer *= s->dim[d];
  for (; d < s->rank && !reduced[d]; d++) p.kept *= s->dim[d];
  if (d == s->rank) return IFD_OK; /* columns */
  for (; d < s->rank && reduced[d]; d++) p.inner *= s->dim[d];
  if (d < s->rank) return IFD_OK;
  x->work->algorithm = "planes";
  return ifd_lower_launch(x, run_mean_variance, &p, sizeof p, p.kept, (size_t)p.outer * sizeof(float));
}

const ifd_op ifd_ops_mean_variance[] = {{.name = "MeanVarianceNormalization",
                                         .since = 9,
                                         .infer = ifd_infer_like_first,
                                         .eval = eval_mean_variance_norm,
                                         .lower = lower_mean_variance,
                                         .mixes_batch = mean_variance_mixes},
                                        {0}};
