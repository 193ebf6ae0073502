/* SVMRegressor, SVMClassifier: libsvm's models (Chang & Lin, "LIBSVM: a library for support vector machines",
 * 2011), and linear ones without support vectors. Kernels, sums and probabilities are in double. */
#include <math.h>
#include <string.h>

#include "ops/shared/elementwise.h"
#include "ops/shared/scores.h"
#include "ops/shared/values.h"

typedef enum svm_kernel { LINEAR, POLY, RBF, SIGMOID } svm_kernel;

typedef struct svm {
  svm_kernel kernel;
  double gamma, coef0, degree;
  int64_t n_vectors; /* 0: coefficients are weights of features */
  const float *coefficients, *rho, *prob_a, *prob_b;
  double *by_feature; /* support vectors, [n_features, n_vectors] */
  double *kernels;    /* of one sample and each vector */
  int n_coefficients, n_rho, n_prob;
  ifd_samples samples;
  ifd_post_transform post;
} svm;

/* ---- attributes ---- */

static ifd_status read_kernel(ifd_error *err, svm *m, const ifd_node *node) {
  static const char *const names[] = {"LINEAR", "POLY", "RBF", "SIGMOID"};
  const float *params;
  int i = 0, n = ifd_node_floats(node, "kernel_params", &params);
  while (i < 4 && !ifd_node_string_is(node, "kernel_type", "LINEAR", names[i])) i++;
  EXPECT(err, i < 4, BAD_MODEL, "attribute kernel_type is not LINEAR, POLY, RBF or SIGMOID");
  EXPECT(err, n == 0 || n == 3, BAD_MODEL,
         "attribute kernel_params has %d elements, not gamma, coef0 and degree", n);
  m->kernel = (svm_kernel)i;
  if (n) m->gamma = params[0], m->coef0 = params[1], m->degree = params[2];
  return IFD_OK;
}

/* n_vectors must be set. */
static ifd_status read_svm(ifd_eval *x, svm *m) {
  const float *vectors;
  int n = ifd_node_floats(x->node, "support_vectors", &vectors);
  m->n_coefficients = ifd_node_floats(x->node, "coefficients", &m->coefficients);
  m->n_rho = ifd_node_floats(x->node, "rho", &m->rho);
  TRY(ifd_samples_of(x->err, &m->samples, ifd_eval_shape(x, 0)));
  TRY(read_kernel(x->err, m, x->node));
  if (m->n_vectors == 0) m->kernel = LINEAR;
  EXPECT(x->err, m->n_vectors == 0 || (n % m->n_vectors == 0 && n / m->n_vectors == m->samples.n_features),
         BAD_MODEL, "attribute support_vectors has %d elements: %lld vectors of %lld features are needed", n,
         (long long)m->n_vectors, (long long)m->samples.n_features);
  TRY(ifd_eval_zeros(x, &m->by_feature, m->n_vectors * m->samples.n_features));
  TRY(ifd_eval_zeros(x, &m->kernels, m->n_vectors));
  for (int64_t j = 0; j < m->n_vectors; j++)
    for (int64_t f = 0; f < m->samples.n_features; f++)
      m->by_feature[f * m->n_vectors + j] = vectors[j * m->samples.n_features + f];
  return ifd_post_transform_read(x->err, &m->post, x->node);
}

/* ---- kernels ---- */

static double apply_kernel(const svm *m, double sum) {
  switch (m->kernel) {
  case POLY: return pow(m->gamma * sum + m->coef0, m->degree);
  case RBF: return exp(-m->gamma * sum);
  case SIGMOID: return tanh(m->gamma * sum + m->coef0);
  default: return sum;
  }
}

/* k[j] = kernel of x and support vector j: the sums of all vectors grow feature by feature. */
static void find_kernels(const svm *m, const double *x, double *k) {
  int64_t n = m->n_vectors;
  memset(k, 0, (size_t)n * sizeof *k);
  for (int64_t f = 0; f < m->samples.n_features; f++) {
    const double *v = m->by_feature + f * n, a = x[f];
    if (m->kernel == RBF)
      for (int64_t j = 0; j < n; j++) k[j] += (a - v[j]) * (a - v[j]);
    else
      for (int64_t j = 0; j < n; j++) k[j] += a * v[j];
  }
  for (int64_t j = 0; j < n; j++) k[j] = apply_kernel(m, k[j]);
}

static double dot(const double *a, const float *b, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; i++) sum += a[i] * b[i];
  return sum;
}

/* ---- SVMRegressor ---- */

static ifd_status infer_regressor(ifd_infer *x) { return ifd_infer_scores(x, 0, IFD_FLOAT, 1); }

static double regress(const svm *m, const double *x) {
  if (m->n_vectors == 0) return dot(x, m->coefficients, m->samples.n_features) + m->rho[0];
  find_kernels(m, x, m->kernels);
  return dot(m->kernels, m->coefficients, m->n_vectors) + m->rho[0];
}

static ifd_status eval_regressor(ifd_eval *x) {
  svm m = {.n_vectors = ifd_attr_int(x->node, "n_supports")};
  const double *in;
  double *y;
  bool one_class = ifd_attr_int(x->node, "one_class") != 0;
  EXPECT(x->err, m.n_vectors >= 0, BAD_MODEL, "attribute n_supports is %lld", (long long)m.n_vectors);
  TRY(read_svm(x, &m));
  int64_t n = m.samples.n, needed = m.n_vectors ? m.n_vectors : m.samples.n_features;
  EXPECT(x->err, m.n_coefficients == needed && m.n_rho >= 1, BAD_MODEL,
         "%d coefficients and %d rho; %lld and one are needed", m.n_coefficients, m.n_rho, (long long)needed);
  TRY(ifd_eval_f64(x, &in, 0));
  TRY(ifd_eval_zeros(x, &y, n));
  for (int64_t i = 0; i < n; i++) {
    y[i] = regress(&m, in + i * m.samples.n_features);
    if (one_class) y[i] = y[i] > 0 ? 1 : -1;
    ifd_post_transform_apply(m.post, &y[i], 1);
  }
  return ifd_eval_put_f64(x, 0, IFD_FLOAT, &(ifd_shape){2, {n, 1}}, y);
}

/* ---- SVMClassifier ---- */

/* Classes meet in pairs: a decision for each of them, a vote for the winner. */
typedef struct classifier {
  svm m;
  ifd_labels labels;
  const int64_t *per_class; /* support vectors of each class, one class after another */
  int64_t n_pairs, n_scores;
  double *pairs;       /* of one sample */
  double *probability; /* scratch of estimate_classes, NULL without attributes prob_a and prob_b */
  int32_t *votes;
} classifier;

static int64_t pairs_of(int64_t n) { return n * (n - 1) / 2; }

/* How many scores a sample gets: a probability for each class or the decision of each pair (both signs of the
 * only one); of a linear model a score for each class. */
static int64_t count_scores(const ifd_node *node, int64_t n_classes) {
  const int64_t *per_class;
  const float *prob_a;
  if (ifd_node_ints(node, "vectors_per_class", &per_class) == 0 || ifd_node_floats(node, "prob_a", &prob_a))
    return n_classes;
  return n_classes <= 2 ? n_classes : pairs_of(n_classes);
}

static ifd_status infer_classifier(ifd_infer *x) {
  ifd_labels labels;
  TRY(ifd_labels_read(x->err, &labels, x->node, "classlabels_ints"));
  return ifd_infer_classifier(x, "classlabels_ints", count_scores(x->node, labels.n));
}

static ifd_status count_vectors(ifd_eval *x, classifier *c) {
  int n = ifd_node_ints(x->node, "vectors_per_class", &c->per_class);
  EXPECT(x->err, n == 0 || n == c->labels.n, BAD_MODEL,
         "attribute vectors_per_class has %d elements for %d classes", n, c->labels.n);
  for (int i = 0; i < n; i++)
    EXPECT(x->err,
           c->per_class[i] >= 0 && ifd_add_i64(&c->m.n_vectors, c->m.n_vectors, c->per_class[i]) &&
               c->m.n_vectors <= INT32_MAX,
           BAD_MODEL, "attribute vectors_per_class says %lld", (long long)c->per_class[i]);
  EXPECT(x->err, n == 0 || c->m.n_vectors, BAD_MODEL, "attribute vectors_per_class is all 0");
  return IFD_OK;
}

static ifd_status check_sizes(ifd_eval *x, const classifier *c) {
  const svm *m = &c->m;
  int64_t rows = m->n_vectors ? ifd_max_i64(c->labels.n - 1, 1) : c->labels.n;
  int64_t needed = rows * (m->n_vectors ? m->n_vectors : m->samples.n_features);
  int64_t n_rho = m->n_vectors ? c->n_pairs : 1;
  EXPECT(x->err, m->n_coefficients == needed && m->n_rho >= n_rho, BAD_MODEL,
         "%d coefficients and %d rho; %lld and %lld are needed", m->n_coefficients, m->n_rho,
         (long long)needed, (long long)n_rho);
  int n_b = ifd_node_floats(x->node, "prob_b", &(const float *){NULL});
  EXPECT(x->err, m->n_prob == n_b && (m->n_prob == 0 || m->n_prob >= c->n_pairs), BAD_MODEL,
         "attributes prob_a and prob_b have %d and %d elements for %lld pairs of classes", m->n_prob, n_b,
         (long long)c->n_pairs);
  return IFD_OK;
}

static ifd_status read_classifier(ifd_eval *x, classifier *c) {
  TRY(ifd_labels_read(x->err, &c->labels, x->node, "classlabels_ints"));
  TRY(count_vectors(x, c));
  TRY(read_svm(x, &c->m));
  int64_t n = c->labels.n;
  c->n_pairs = c->m.n_vectors ? pairs_of(n) : 0;
  c->n_scores = count_scores(x->node, n);
  c->m.n_prob = c->m.n_vectors ? ifd_node_floats(x->node, "prob_a", &c->m.prob_a) : 0;
  if (c->m.n_prob) (void)ifd_node_floats(x->node, "prob_b", &c->m.prob_b);
  TRY(check_sizes(x, c));
  TRY(ifd_eval_zeros(x, &c->pairs, c->n_pairs));
  if (c->m.n_prob) TRY(ifd_eval_zeros(x, &c->probability, 2 * n * n + n));
  ALLOC(x->err, c->votes, ifd_new_array(x->scratch, int32_t, n));
  return IFD_OK;
}

/* The part of the decision between classes i and j that the support vectors of one of them have. */
static double half_decision(const classifier *c, int64_t row, int64_t first, int64_t n) {
  const float *coefficients = c->m.coefficients + row * c->m.n_vectors + first;
  return dot(c->m.kernels + first, coefficients, n);
}

static void decide_pairs(classifier *c, const double *x) {
  int n = c->labels.n;
  find_kernels(&c->m, x, c->m.kernels);
  memset(c->votes, 0, (size_t)n * sizeof *c->votes);
  int64_t pair = 0, first_i = 0;
  for (int i = 0; i < n; first_i += c->per_class[i++]) {
    int64_t first_j = first_i + c->per_class[i];
    for (int j = i + 1; j < n; first_j += c->per_class[j++], pair++) {
      c->pairs[pair] = c->m.rho[pair] + half_decision(c, j - 1, first_i, c->per_class[i]) +
                       half_decision(c, i, first_j, c->per_class[j]);
      c->votes[c->pairs[pair] > 0 ? i : j]++;
    }
  }
}

/* One round of the fixed-point iteration: p stays a distribution. */
static void improve(double *p, double *qp, double pqp, const double *q, int64_t n) {
  for (int64_t t = 0; t < n; t++) {
    double step = (pqp - qp[t]) / q[t * n + t];
    p[t] += step;
    pqp = (pqp + step * (step * q[t * n + t] + 2 * qp[t])) / (1 + step) / (1 + step);
    for (int64_t j = 0; j < n; j++) {
      qp[j] = (qp[j] + step * q[t * n + j]) / (1 + step);
      p[j] /= 1 + step;
    }
  }
}

/* p: the n class probabilities that fit those of the pairs, r[i][j] of i against j, best (Wu, Lin & Weng,
 * "Probability estimates for multi-class classification by pairwise coupling", 2004, second method), iterated
 * as far as libsvm does. */
static void couple(double *p, double *q, double *qp, const double *r, int64_t n) {
  for (int64_t i = 0; i < n; i++) {
    p[i] = 1.0 / (double)n;
    q[i * n + i] = 0;
    for (int64_t j = 0; j < n; j++) {
      if (j == i) continue;
      q[i * n + i] += r[j * n + i] * r[j * n + i];
      q[i * n + j] = -r[j * n + i] * r[i * n + j];
    }
  }
  for (int64_t round = 0, rounds = n > 100 ? n : 100; round < rounds; round++) {
    double pqp = 0, error = 0;
    for (int64_t i = 0; i < n; i++) {
      qp[i] = 0;
      for (int64_t j = 0; j < n; j++) qp[i] += q[i * n + j] * p[j];
      pqp += p[i] * qp[i];
    }
    for (int64_t i = 0; i < n; i++) error = fmax(error, fabs(qp[i] - pqp));
    if (error < 0.005 / (double)n) return;
    improve(p, qp, pqp, q, n);
  }
}

/* Platt's sigmoid makes a probability of each decision. */
static void estimate_classes(const classifier *c, double *p) {
  static const double least = 1e-7;
  int64_t n = c->labels.n, pair = 0;
  double *r = c->probability, *q = r + n * n, *qp = q + n * n;
  for (int64_t i = 0; i < n; i++)
    for (int64_t j = i + 1; j < n; j++, pair++) {
      double v = ifd_logistic(-(c->pairs[pair] * c->m.prob_a[pair] + c->m.prob_b[pair]));
      r[i * n + j] = fmin(fmax(v, least), 1 - least);
      r[j * n + i] = 1 - r[i * n + j];
    }
  couple(p, q, qp, r, n);
}

/* Fills the scores of a sample; the index of its label, which the votes decide even where probabilities say
 * otherwise. */
static int32_t classify(classifier *c, const double *x, double *scores) {
  int n = c->labels.n;
  if (c->m.n_vectors == 0) {
    for (int j = 0; j < n; j++)
      scores[j] =
          c->m.rho[0] + dot(x, c->m.coefficients + j * c->m.samples.n_features, c->m.samples.n_features);
    return ifd_top_score(scores, n);
  }
  decide_pairs(c, x);
  if (c->m.n_prob)
    estimate_classes(c, scores);
  else if (n == 2)
    scores[0] = -c->pairs[0], scores[1] = c->pairs[0];
  else
    memcpy(scores, c->pairs, (size_t)c->n_pairs * sizeof *scores);
  int32_t top = 0;
  for (int32_t i = 1; i < n; i++)
    if (c->votes[i] > c->votes[top]) top = i;
  return top;
}

static ifd_status eval_classifier(ifd_eval *x) {
  classifier c = {0};
  const double *in;
  double *scores;
  int32_t *which;
  TRY(read_classifier(x, &c));
  int64_t n = c.m.samples.n;
  TRY(ifd_eval_f64(x, &in, 0));
  TRY(ifd_eval_zeros(x, &scores, n * c.n_scores));
  ALLOC(x->err, which, ifd_new_array(x->scratch, int32_t, n));
  for (int64_t i = 0; i < n; i++) {
    which[i] = classify(&c, in + i * c.m.samples.n_features, scores + i * c.n_scores);
    ifd_post_transform_apply(c.m.post, scores + i * c.n_scores, c.n_scores);
  }
  TRY(ifd_labels_put(x, &c.labels, which, n));
  return ifd_eval_put_f64(x, 1, IFD_FLOAT, &(ifd_shape){2, {n, c.n_scores}}, scores);
}

const ifd_op ifd_ops_svm[] = {{.name = "SVMRegressor",
                               .domain = "ai.onnx.ml",
                               .since = 1,
                               .infer = infer_regressor,
                               .eval = eval_regressor},
                              {.name = "SVMClassifier",
                               .domain = "ai.onnx.ml",
                               .since = 1,
                               .infer = infer_classifier,
                               .eval = eval_classifier},
                              {0}};
