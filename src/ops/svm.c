/* SVMRegressor, SVMClassifier: libsvm's models (Chang & Lin, "LIBSVM: a library for support vector machines",
 * 2011), and linear ones without support vectors. The reference computes in double; else kernels are in
 * float, sums and probabilities in double. */
#include <math.h>
#include <string.h>

#include "kernels/kernels.h"
#include "kernels/svm/svm.h"
#include "ops/shared/elementwise.h"
#include "ops/shared/scores.h"
#include "ops/shared/values.h"

typedef struct svm {
  ifd_k_svm_kernel kernel;
  double gamma, coef0, degree;
  int64_t n_vectors; /* 0: coefficients are weights of features */
  const float *vectors, *coefficients, *rho, *prob_a, *prob_b;
  double *by_feature; /* support vectors, [n_features, n_vectors] */
  double *kernels;    /* of one sample and each vector, and up to a whole block */
  int n_coefficients, n_rho, n_prob;
  ifd_samples samples;
  ifd_post_transform post;
  /* on kernels, else NULL: */
  const struct ifd_k_svm_table *table;
  ifd_k_svm_vectors packed;
} svm;

typedef struct reader {
  ifd_error *err;
  const ifd_node *node;
  ifd_arena *arena;
} reader;

/* ---- attributes ---- */

static ifd_status read_kernel(ifd_error *err, svm *m, const ifd_node *node) {
  static const char *const names[] = {
      [IFD_K_SVM_LINEAR] = "LINEAR", [IFD_K_SVM_POLY] = "POLY", [IFD_K_SVM_RBF] = "RBF", "SIGMOID"};
  const float *params;
  int i = 0, n = ifd_node_floats(node, "kernel_params", &params);
  while (i < 4 && !ifd_node_string_is(node, "kernel_type", "LINEAR", names[i])) i++;
  EXPECT(err, i < 4, BAD_MODEL, "attribute kernel_type is not LINEAR, POLY, RBF or SIGMOID");
  EXPECT(err, n == 0 || n == 3, BAD_MODEL,
         "attribute kernel_params has %d elements, not gamma, coef0 and degree", n);
  m->kernel = (ifd_k_svm_kernel)i;
  if (n) m->gamma = params[0], m->coef0 = params[1], m->degree = params[2];
  return IFD_OK;
}

/* n_vectors must be set. */
static ifd_status read_svm(const reader *r, svm *m, const ifd_shape *in) {
  int n = ifd_node_floats(r->node, "support_vectors", &m->vectors);
  m->n_coefficients = ifd_node_floats(r->node, "coefficients", &m->coefficients);
  m->n_rho = ifd_node_floats(r->node, "rho", &m->rho);
  TRY(ifd_samples_of(r->err, &m->samples, in));
  TRY(read_kernel(r->err, m, r->node));
  if (m->n_vectors == 0) m->kernel = IFD_K_SVM_LINEAR;
  EXPECT(r->err, m->n_vectors == 0 || (n % m->n_vectors == 0 && n / m->n_vectors == m->samples.n_features),
         BAD_MODEL, "attribute support_vectors has %d elements: %lld vectors of %lld features are needed", n,
         (long long)m->n_vectors, (long long)m->samples.n_features);
  return ifd_post_transform_read(r->err, &m->post, r->node);
}

/* For the reference. */
static ifd_status turn_vectors(ifd_eval *x, svm *m) {
  TRY(ifd_eval_zeros(x, &m->by_feature, m->n_vectors * m->samples.n_features));
  TRY(ifd_eval_zeros(x, &m->kernels, m->n_vectors));
  for (int64_t j = 0; j < m->n_vectors; j++)
    for (int64_t f = 0; f < m->samples.n_features; f++)
      m->by_feature[f * m->n_vectors + j] = m->vectors[j * m->samples.n_features + f];
  return IFD_OK;
}

/* ---- kernels ---- */

static double apply_kernel(const svm *m, double sum) {
  switch (m->kernel) {
  case IFD_K_SVM_POLY: return pow(m->gamma * sum + m->coef0, m->degree);
  case IFD_K_SVM_RBF: return exp(-m->gamma * sum);
  case IFD_K_SVM_SIGMOID: return tanh(m->gamma * sum + m->coef0);
  default: return sum;
  }
}

/* k[j] = kernel of x and support vector j: the sums of all vectors grow feature by feature. */
static void find_kernels(const svm *m, const double *x, double *k) {
  int64_t n = m->n_vectors;
  memset(k, 0, (size_t)n * sizeof *k);
  for (int64_t f = 0; f < m->samples.n_features; f++) {
    const double *v = m->by_feature + f * n, a = x[f];
    if (m->kernel == IFD_K_SVM_RBF)
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

/* A sample: in float on kernels, else in double. */
typedef union sample {
  const double *f64;
  const float *f32;
} sample;

static sample sample_at(const svm *m, sample first, int64_t i) {
  int64_t at = i * m->samples.n_features;
  return m->table ? (sample){.f32 = first.f32 + at} : (sample){.f64 = first.f64 + at};
}

static void meet_vectors(const svm *m, sample x) {
  if (m->table)
    m->table->kernels(&m->packed, x.f32, m->kernels);
  else
    find_kernels(m, x.f64, m->kernels);
}

/* The weighted sum of the kernels of n vectors, from `first` on. */
static double weigh(const svm *m, int64_t first, const float *coefficients, int64_t n) {
  return m->table ? m->table->dot(m->kernels + first, coefficients, n)
                  : dot(m->kernels + first, coefficients, n);
}

/* ---- SVMRegressor ---- */

static ifd_status infer_SVMRegressor(ifd_infer *x) { return ifd_infer_scores(x, 0, IFD_FLOAT, 1); }

typedef struct regressor {
  svm m;
  bool one_class;
} regressor;

static ifd_status read_regressor(const reader *r, regressor *g, const ifd_shape *in) {
  svm *m = &g->m;
  *g = (regressor){.m.n_vectors = ifd_attr_int(r->node, "n_supports"),
                   .one_class = ifd_attr_int(r->node, "one_class") != 0};
  EXPECT(r->err, m->n_vectors >= 0 && m->n_vectors <= INT32_MAX, BAD_MODEL, "attribute n_supports is %lld",
         (long long)m->n_vectors);
  TRY(read_svm(r, m, in));
  int64_t needed = m->n_vectors ? m->n_vectors : m->samples.n_features;
  EXPECT(r->err, m->n_coefficients == needed && m->n_rho >= 1, BAD_MODEL,
         "%d coefficients and %d rho; %lld and one are needed", m->n_coefficients, m->n_rho,
         (long long)needed);
  return IFD_OK;
}

static double regress(const regressor *g, sample x) {
  const svm *m = &g->m;
  double y;
  if (m->n_vectors == 0) {
    y = dot(x.f64, m->coefficients, m->samples.n_features) + m->rho[0];
  } else {
    meet_vectors(m, x);
    y = weigh(m, 0, m->coefficients, m->n_vectors) + m->rho[0];
  }
  if (g->one_class) y = y > 0 ? 1 : -1;
  ifd_post_transform_apply(m->post, &y, 1);
  return y;
}

static ifd_status eval_SVMRegressor(ifd_eval *x) {
  const reader r = {x->err, x->node, x->scratch};
  regressor g;
  sample in;
  double *y;
  TRY(read_regressor(&r, &g, ifd_eval_shape(x, 0)));
  TRY(turn_vectors(x, &g.m));
  int64_t n = g.m.samples.n;
  TRY(ifd_eval_f64(x, &in.f64, 0));
  TRY(ifd_eval_zeros(x, &y, n));
  for (int64_t i = 0; i < n; i++) y[i] = regress(&g, sample_at(&g.m, in, i));
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
  double *probability; /* scratch of estimate_classes */
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

static ifd_status infer_SVMClassifier(ifd_infer *x) {
  ifd_labels labels;
  TRY(ifd_labels_read(x->err, &labels, x->node, "classlabels_ints"));
  return ifd_infer_classifier(x, "classlabels_ints", count_scores(x->node, labels.n));
}

static ifd_status count_vectors(const reader *x, classifier *c) {
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

static ifd_status check_sizes(const reader *x, const classifier *c) {
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

static ifd_status read_classifier(const reader *r, classifier *c, const ifd_shape *in) {
  *c = (classifier){0};
  TRY(ifd_labels_read(r->err, &c->labels, r->node, "classlabels_ints"));
  TRY(count_vectors(r, c));
  TRY(read_svm(r, &c->m, in));
  int64_t n = c->labels.n;
  c->n_pairs = c->m.n_vectors ? pairs_of(n) : 0;
  c->n_scores = count_scores(r->node, n);
  c->m.n_prob = c->m.n_vectors ? ifd_node_floats(r->node, "prob_a", &c->m.prob_a) : 0;
  if (c->m.n_prob) (void)ifd_node_floats(r->node, "prob_b", &c->m.prob_b);
  return check_sizes(r, c);
}

/* Memory for one sample, in doubles: decisions, what estimates probabilities, votes, scores. */
static int64_t room_to_estimate(const classifier *c) {
  int64_t n = c->labels.n;
  return c->m.n_prob ? 2 * n * n + n : 0;
}
static int64_t room_of(const classifier *c) {
  return c->n_pairs + room_to_estimate(c) + c->labels.n + c->n_scores;
}

/* Where the scores go. */
static double *use_room(classifier *c, double *room) {
  c->pairs = room;
  c->probability = c->pairs + c->n_pairs;
  c->votes = (int32_t *)(c->probability + room_to_estimate(c));
  return c->probability + room_to_estimate(c) + c->labels.n;
}

/* The part of the decision between classes i and j that the support vectors of one of them have. */
static double half_decision(const classifier *c, int64_t row, int64_t first, int64_t n) {
  return weigh(&c->m, first, c->m.coefficients + row * c->m.n_vectors + first, n);
}

static void decide_pairs(classifier *c, sample x) {
  int n = c->labels.n;
  meet_vectors(&c->m, x);
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
static int32_t choose_class(classifier *c, sample x, double *scores) {
  int n = c->labels.n;
  if (c->m.n_vectors == 0) {
    for (int j = 0; j < n; j++)
      scores[j] =
          c->m.rho[0] + dot(x.f64, c->m.coefficients + j * c->m.samples.n_features, c->m.samples.n_features);
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

static int32_t classify(classifier *c, sample x, double *scores) {
  int32_t which = choose_class(c, x, scores);
  ifd_post_transform_apply(c->m.post, scores, c->n_scores);
  return which;
}

static ifd_status eval_SVMClassifier(ifd_eval *x) {
  const reader r = {x->err, x->node, x->scratch};
  classifier c;
  sample in;
  double *scores, *room;
  int32_t *which;
  TRY(read_classifier(&r, &c, ifd_eval_shape(x, 0)));
  TRY(turn_vectors(x, &c.m));
  int64_t n = c.m.samples.n;
  TRY(ifd_eval_f64(x, &in.f64, 0));
  TRY(ifd_eval_zeros(x, &scores, n * c.n_scores));
  TRY(ifd_eval_zeros(x, &room, room_of(&c)));
  ALLOC(x->err, which, ifd_new_array(x->scratch, int32_t, n));
  (void)use_room(&c, room);
  for (int64_t i = 0; i < n; i++) which[i] = classify(&c, sample_at(&c.m, in, i), scores + i * c.n_scores);
  TRY(ifd_labels_put(x, &c.labels, which, n));
  return ifd_eval_put_f64(x, 1, IFD_FLOAT, &(ifd_shape){2, {n, c.n_scores}}, scores);
}

/* ---- on kernels ---- */

typedef struct task {
  regressor g;
  classifier c;
  int64_t grain; /* samples */
} task;

static bool runs_on_kernels(const svm *m) { return m->n_vectors && m->samples.n && m->samples.n_features; }

/* The support vectors as kernels read them. */
static ifd_status pack(ifd_lower *x, svm *m) {
  float *v;
  int64_t n_blocks = ifd_ceil_div(m->n_vectors, 16), apart = m->samples.n_features * 16;
  ALLOC(x->err, v, ifd_arena_alloc_data(x->arena, sizeof *v * (size_t)(n_blocks * apart)));
  memset(v, 0, sizeof *v * (size_t)(n_blocks * apart));
  for (int64_t j = 0; j < m->n_vectors; j++)
    for (int64_t f = 0; f < m->samples.n_features; f++)
      v[j / 16 * apart + f * 16 + j % 16] = m->vectors[j * m->samples.n_features + f];
  m->table = ifd_k_svm(x->isa);
  m->packed = (ifd_k_svm_vectors){.kernel = m->kernel,
                                  .gamma = m->gamma,
                                  .coef0 = m->coef0,
                                  .degree = m->kernel == IFD_K_SVM_POLY ? (int)m->degree : 0,
                                  .n_features = m->samples.n_features,
                                  .n_blocks = n_blocks,
                                  .vectors = v};
  return IFD_OK;
}

static size_t kernels_len(const svm *m) { return sizeof(double) * 16 * (size_t)m->packed.n_blocks; }

static void run_regressor(const void *params, const ifd_args *args, int number) {
  regressor g = ((const task *)params)->g;
  int64_t first = number * ((const task *)params)->grain;
  int64_t end = ifd_min_i64(first + ((const task *)params)->grain, g.m.samples.n);
  g.m.kernels = args->scratch;
  for (int64_t i = first; i < end; i++)
    ((float *)args->out[0])[i] = (float)regress(&g, sample_at(&g.m, (sample){.f32 = args->in[0]}, i));
}

static void run_classifier(const void *params, const ifd_args *args, int number) {
  classifier c = ((const task *)params)->c;
  int64_t first = number * ((const task *)params)->grain;
  int64_t end = ifd_min_i64(first + ((const task *)params)->grain, c.m.samples.n);
  int64_t *labels = args->out[0];
  float *to = args->out[1];
  c.m.kernels = args->scratch;
  double *scores = use_room(&c, (double *)((char *)args->scratch + kernels_len(&c.m)));
  for (int64_t i = first; i < end; i++) {
    int32_t which = classify(&c, sample_at(&c.m, (sample){.f32 = args->in[0]}, i), scores);
    if (labels) labels[i] = c.labels.ints[which];
    for (int64_t k = 0; to && k < c.n_scores; k++) to[i * c.n_scores + k] = (float)scores[k];
  }
}

/* A sample takes two operations for each feature of a vector, and some 30 for its kernel. */
static ifd_status launch(ifd_lower *x, task *t, const svm *m, size_t room,
                         void (*run)(const void *, const ifd_args *, int)) {
  t->grain =
      ifd_lower_grain(m->samples.n, (double)m->n_vectors * (2 * (double)m->samples.n_features + 30) / 16);
  x->work->algorithm = "blocks of vectors";
  return ifd_lower_launch(x, run, t, sizeof *t, ifd_ceil_div(m->samples.n, t->grain), kernels_len(m) + room);
}

static ifd_status lower_SVMRegressor(ifd_lower *x) {
  const reader r = {x->err, x->node, x->arena};
  task t = {0};
  if (x->in[0]->dtype != IFD_FLOAT) return IFD_OK;
  TRY(read_regressor(&r, &t.g, &x->in[0]->shape));
  if (!runs_on_kernels(&t.g.m)) return IFD_OK;
  TRY(pack(x, &t.g.m));
  return launch(x, &t, &t.g.m, 0, run_regressor);
}

static ifd_status lower_SVMClassifier(ifd_lower *x) {
  const reader r = {x->err, x->node, x->arena};
  task t = {0};
  if (x->in[0]->dtype != IFD_FLOAT) return IFD_OK;
  TRY(read_classifier(&r, &t.c, &x->in[0]->shape));
  if (!runs_on_kernels(&t.c.m) || t.c.labels.strings) return IFD_OK;
  TRY(pack(x, &t.c.m));
  return launch(x, &t, &t.c.m, sizeof(double) * (size_t)room_of(&t.c), run_classifier);
}

#define ROW(name_)                                                                                           \
  {                                                                                                          \
    .name = #name_, .domain = "ai.onnx.ml", .since = 1, .infer = infer_##name_, .eval = eval_##name_,        \
    .lower = lower_##name_                                                                                   \
  }
const ifd_op ifd_ops_svm[] = {ROW(SVMRegressor), ROW(SVMClassifier), {0}};
