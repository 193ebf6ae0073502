/* LinearRegressor, LinearClassifier: scores that are weighted sums of features. */
#include "ops/shared/elementwise.h"
#include "ops/shared/product.h"
#include "ops/shared/scores.h"
#include "ops/shared/values.h"

/* A row of coefficients and, maybe, an intercept for each target. */
typedef struct linear {
  int64_t n_targets;
  const float *coefficients, *intercepts; /* intercepts: NULL where there are none */
} linear;

static ifd_status read_intercepts(ifd_error *err, linear *m, const ifd_node *node) {
  int n = ifd_node_floats(node, "intercepts", &m->intercepts);
  EXPECT(err, n == 0 || n == m->n_targets, BAD_MODEL, "attribute intercepts has %d elements for %lld targets",
         n, (long long)m->n_targets);
  if (n == 0) m->intercepts = NULL;
  return IFD_OK;
}

/* Samples of input 0 times coefficients: scores [n, n_targets] in scratch. */
static ifd_status score(ifd_eval *x, const linear *m, const ifd_samples *s, double **out) {
  int64_t n_coefficients = m->n_targets * s->n_features;
  const double *in;
  double *b, *y;
  TRY(ifd_eval_f64(x, &in, 0));
  TRY(ifd_eval_zeros(x, &b, n_coefficients));
  TRY(ifd_eval_zeros(x, &y, s->n * m->n_targets));
  for (int64_t i = 0; i < n_coefficients; i++) b[i] = m->coefficients[i];
  ifd_product_add_f64(y, (ifd_matrix_f64){in, s->n_features, 1}, (ifd_matrix_f64){b, 1, s->n_features}, s->n,
                      m->n_targets, s->n_features);
  for (int64_t i = 0; m->intercepts && i < s->n * m->n_targets; i++) y[i] += m->intercepts[i % m->n_targets];
  *out = y;
  return IFD_OK;
}

/* ---- LinearRegressor ---- */

static ifd_status infer_regressor(ifd_infer *x) {
  return ifd_infer_scores(x, 0, IFD_FLOAT, ifd_attr_int(x->node, "targets"));
}

static ifd_status eval_regressor(ifd_eval *x) {
  linear m = {.n_targets = ifd_attr_int(x->node, "targets")};
  ifd_samples s;
  ifd_post_transform post;
  double *y;
  int n = ifd_node_floats(x->node, "coefficients", &m.coefficients);
  TRY(ifd_samples_of(x->err, &s, ifd_eval_shape(x, 0)));
  EXPECT(x->err, m.n_targets > 0 && n % m.n_targets == 0 && n / m.n_targets == s.n_features, BAD_MODEL,
         "%d coefficients for %lld targets and %lld features", n, (long long)m.n_targets,
         (long long)s.n_features);
  TRY(read_intercepts(x->err, &m, x->node));
  TRY(ifd_post_transform_read(x->err, &post, x->node));
  TRY(score(x, &m, &s, &y));
  for (int64_t i = 0; i < s.n; i++) ifd_post_transform_apply(post, y + i * m.n_targets, m.n_targets);
  return ifd_eval_put_f64(x, 0, IFD_FLOAT, &(ifd_shape){2, {s.n, m.n_targets}}, y);
}

/* ---- LinearClassifier ---- */

/* Two classes may have one row of coefficients, whose score is that of the second; the first has its
 * negative.
 */
static bool is_pair(const linear *m, const ifd_labels *labels) { return m->n_targets == 1 && labels->n == 2; }

static ifd_status infer_classifier(ifd_infer *x) {
  ifd_labels labels;
  TRY(ifd_labels_read(x->err, &labels, x->node, "classlabels_ints"));
  return ifd_infer_classifier(x, "classlabels_ints", labels.n);
}

static ifd_status read_classifier(ifd_eval *x, linear *m, ifd_labels *labels, const ifd_samples *s) {
  int n = ifd_node_floats(x->node, "coefficients", &m->coefficients);
  TRY(ifd_labels_read(x->err, labels, x->node, "classlabels_ints"));
  m->n_targets = labels->n == 2 && n == s->n_features ? 1 : labels->n;
  EXPECT(x->err, n == m->n_targets * s->n_features, BAD_MODEL,
         "%d coefficients for %d classes and %lld features", n, labels->n, (long long)s->n_features);
  return read_intercepts(x->err, m, x->node);
}

static void spread_pairs(double *to, const double *from, int64_t n) {
  for (int64_t i = 0; i < n; i++) {
    to[2 * i] = -from[i];
    to[2 * i + 1] = from[i];
  }
}

static ifd_status eval_classifier(ifd_eval *x) {
  linear m = {0};
  ifd_samples s;
  ifd_labels labels;
  ifd_post_transform post;
  double *y;
  int32_t *which;
  TRY(ifd_samples_of(x->err, &s, ifd_eval_shape(x, 0)));
  TRY(read_classifier(x, &m, &labels, &s));
  TRY(ifd_post_transform_read(x->err, &post, x->node));
  TRY(score(x, &m, &s, &y));
  ALLOC(x->err, which, ifd_new_array(x->scratch, int32_t, s.n));
  if (is_pair(&m, &labels)) {
    double *pairs;
    TRY(ifd_eval_zeros(x, &pairs, 2 * s.n));
    spread_pairs(pairs, y, s.n);
    y = pairs;
  }
  for (int64_t i = 0; i < s.n; i++) {
    which[i] = ifd_top_score(y + i * labels.n, labels.n);
    ifd_post_transform_apply(post, y + i * labels.n, labels.n);
  }
  TRY(ifd_labels_put(x, &labels, which, s.n));
  return ifd_eval_put_f64(x, 1, IFD_FLOAT, &(ifd_shape){2, {s.n, labels.n}}, y);
}

const ifd_op ifd_ops_linear_model[] = {{.name = "LinearRegressor",
                                        .domain = "ai.onnx.ml",
                                        .since = 1,
                                        .infer = infer_regressor,
                                        .eval = eval_regressor},
                                       {.name = "LinearClassifier",
                                        .domain = "ai.onnx.ml",
                                        .since = 1,
                                        .infer = infer_classifier,
                                        .eval = eval_classifier},
                                       {0}};
