#include "ops/shared/scores.h"

#include <math.h>
#include <string.h>

/* ---- samples ---- */

ifd_status ifd_samples_of(ifd_error *err, ifd_samples *out, const ifd_shape *shape) {
  EXPECT(err, shape->rank == 1 || shape->rank == 2, BAD_INPUT,
         "the input has rank %d; samples are [N, F], or [F] for one", shape->rank);
  *out = (ifd_samples){shape->rank == 2 ? shape->dim[0] : 1, shape->dim[shape->rank - 1]};
  return IFD_OK;
}

ifd_dim ifd_infer_samples(const ifd_infer *x) {
  int rank = ifd_infer_rank(x, 0);
  return rank == 2 ? ifd_infer_dim(x, 0, 0) : rank == 1 ? 1 : ifd_dim_unknown(x->dims);
}

ifd_status ifd_infer_scores(ifd_infer *x, int output, ifd_dtype dtype, int64_t n_targets) {
  const ifd_dim dims[] = {ifd_infer_samples(x), ifd_dim_number(x->dims, n_targets)};
  return ifd_infer_tensor(x, output, dtype, 2, dims);
}

/* ---- transforms ---- */

ifd_status ifd_post_transform_read(ifd_error *err, ifd_post_transform *out, const ifd_node *node) {
  static const char *const names[] = {"NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT"};
  for (int i = 0; i < (int)(sizeof names / sizeof *names); i++)
    if (ifd_node_string_is(node, "post_transform", "NONE", names[i])) {
      *out = (ifd_post_transform)i;
      return IFD_OK;
    }
  ifd_str s = ifd_node_string(node, "post_transform", "");
  FAIL(err, BAD_MODEL, "attribute post_transform is '%.*s', not a transform", (int)(s.len < 64 ? s.len : 64),
       s.s);
}

ifd_status ifd_post_transform_number(ifd_error *err, ifd_post_transform *out, int64_t number) {
  EXPECT(err, number >= 0 && number <= IFD_POST_PROBIT, BAD_MODEL,
         "attribute post_transform is %lld; transforms are 0 to %d", (long long)number, IFD_POST_PROBIT);
  *out = (ifd_post_transform)number;
  return IFD_OK;
}

double ifd_logistic(double v) {
  double e = exp(-fabs(v)); /* never overflows, and keeps its digits where the result is near 0 */
  return v < 0 ? e / (1 + e) : 1 / (1 + e);
}

/* The z for which a normal number is below z with probability p. A formula for the inverse of erf good to
 * 0.2 % (Winitzki, "A handy approximation for the error function and its inverse", 2008), then Halley's
 * method, which triples the digits each time. */
static double probit(double p) {
  static const double a = 0.147;
  if (!(p > 0 && p < 1)) return p == 0 ? -INFINITY : p == 1 ? INFINITY : NAN;
  if (p > 0.5) return -probit(1 - p);
  double l = log(4 * p * (1 - p)), v = 2 / (M_PI * a) + l / 2;
  double z = -M_SQRT2 * sqrt(sqrt(v * v - l / a) - v);
  for (int i = 0; i < 3; i++) {
    double error = erfc(-z * M_SQRT1_2) / 2 - p, step = error * sqrt(2 * M_PI) * exp(z * z / 2);
    z -= step / (1 + z * step / 2);
  }
  return z;
}

/* With `zeros`, scores of 0 (up to 1e-7) are left out and stay 0. */
static void softmax(double *s, int64_t n, bool zeros) {
  double top = -INFINITY, sum = 0;
  for (int64_t i = 0; i < n; i++) top = s[i] > top ? s[i] : top;
  for (int64_t i = 0; i < n; i++) {
    s[i] = zeros && fabs(s[i]) <= 1e-7 ? s[i] * exp(-top) : exp(s[i] - top);
    sum += s[i];
  }
  for (int64_t i = 0; i < n; i++) s[i] = zeros && sum == 0 ? 0.5 : s[i] / sum;
}

void ifd_post_transform_apply(ifd_post_transform t, double *scores, int64_t n) {
  switch (t) {
  case IFD_POST_NONE: return;
  case IFD_POST_SOFTMAX:
  case IFD_POST_SOFTMAX_ZERO: softmax(scores, n, t == IFD_POST_SOFTMAX_ZERO); return;
  case IFD_POST_LOGISTIC:
    for (int64_t i = 0; i < n; i++) scores[i] = ifd_logistic(scores[i]);
    return;
  case IFD_POST_PROBIT:
    for (int64_t i = 0; i < n; i++) scores[i] = probit(scores[i]);
  }
}

/* ---- labels ---- */

ifd_status ifd_labels_read(ifd_error *err, ifd_labels *out, const ifd_node *node, const char *ints) {
  const ifd_attr *strings = ifd_node_find_attr(node, "classlabels_strings");
  ifd_labels l = {0};
  int n_ints = ifd_node_ints(node, ints, &l.ints);
  int n_strings = strings && strings->type == IFD_ATTR_STRINGS ? strings->n : 0;
  EXPECT(err, !n_ints != !n_strings, BAD_MODEL,
         "%s of the attributes %s and classlabels_strings must be given", n_ints ? "only one" : "one", ints);
  l.n = n_ints + n_strings;
  if (n_strings) l.strings = strings->strings;
  *out = l;
  return IFD_OK;
}

ifd_status ifd_infer_classifier(ifd_infer *x, const char *ints, int64_t n_scores) {
  ifd_labels labels;
  TRY(ifd_labels_read(x->err, &labels, x->node, ints));
  ifd_dim n = ifd_infer_samples(x);
  TRY(ifd_infer_tensor(x, 0, labels.strings ? IFD_STRING : IFD_INT64, 1, &n));
  return ifd_infer_scores(x, 1, IFD_FLOAT, n_scores);
}

ifd_status ifd_labels_put(ifd_eval *x, const ifd_labels *labels, const int32_t *which, int64_t n) {
  ifd_tensor *out;
  if (!ifd_eval_wants(x, 0)) return IFD_OK;
  TRY(ifd_eval_out(x, &out, 0, labels->strings ? IFD_STRING : IFD_INT64, &(ifd_shape){1, {n}}));
  for (int64_t i = 0; i < n; i++)
    if (labels->strings)
      ((ifd_str *)out->data)[i] = labels->strings[which[i]];
    else
      ((int64_t *)out->data)[i] = labels->ints[which[i]];
  return IFD_OK;
}

int ifd_top_score(const double *scores, int64_t n) {
  int top = 0;
  for (int64_t i = 1; i < n; i++)
    if (scores[i] > scores[top]) top = (int)i;
  return top;
}
