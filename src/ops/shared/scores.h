/* What the models of ai.onnx.ml share: samples as rows of doubles, the transform that ends a score, and the
 * labels of classifiers. Scores are computed in double and rounded once. */
#ifndef IFD_OPS_SHARED_SCORES_H
#define IFD_OPS_SHARED_SCORES_H

#include "ops/op.h"

/* ---- samples ---- */

/* Rows of features: an input [N, F], or [F] for a single one. */
typedef struct ifd_samples {
  int64_t n, n_features;
} ifd_samples;
/* BAD_INPUT for any other rank. */
ifd_status ifd_samples_of(ifd_error *err, ifd_samples *out, const ifd_shape *shape);
/* The number of samples in input 0, in symbols. */
ifd_dim ifd_infer_samples(const ifd_infer *x);
/* The infer of regressors: output 0 is [N, n_targets] of element type `dtype`. */
ifd_status ifd_infer_scores(ifd_infer *x, int output, ifd_dtype dtype, int64_t n_targets);

/* ---- transforms ---- */

/* Attribute post_transform; the numbers are those of TreeEnsemble. */
typedef enum ifd_post_transform {
  IFD_POST_NONE,
  IFD_POST_SOFTMAX,
  IFD_POST_LOGISTIC,
  IFD_POST_SOFTMAX_ZERO, /* softmax of the scores that are not 0; those stay 0 */
  IFD_POST_PROBIT,       /* the inverse of the normal distribution function */
} ifd_post_transform;
/* Attribute post_transform of a node that spells it as text. */
ifd_status ifd_post_transform_read(ifd_error *err, ifd_post_transform *out, const ifd_node *node);
/* The same as a number. */
ifd_status ifd_post_transform_number(ifd_error *err, ifd_post_transform *out, int64_t number);
/* The n scores of one sample, in place. */
void ifd_post_transform_apply(ifd_post_transform t, double *scores, int64_t n);
/* 1 / (1 + exp(-v)). */
double ifd_logistic(double v);

/* ---- labels ---- */

/* Class labels: one list of the two is not NULL. */
typedef struct ifd_labels {
  int n;
  const int64_t *ints;
  const ifd_str *strings;
} ifd_labels;
/* From attributes `ints` and classlabels_strings, of which exactly one must be there (BAD_MODEL). */
ifd_status ifd_labels_read(ifd_error *err, ifd_labels *out, const ifd_node *node, const char *ints);
/* The infer of classifiers: output 0 the label of each sample, output 1 their n_scores scores. */
ifd_status ifd_infer_classifier(ifd_infer *x, const char *ints, int64_t n_scores);
/* Output 0: labels by their indices, one for each sample. */
ifd_status ifd_labels_put(ifd_eval *x, const ifd_labels *labels, const int32_t *which, int64_t n);
/* The index of the greatest of n scores (at least one), the first of equals. */
int ifd_top_score(const double *scores, int64_t n);

#endif
