/* LinearRegressor, LinearClassifier: scores that are weighted sums of features. Float samples go to the
 * kernels of matrix products; any others are summed in double. */
#include "kernels/gemm/gemm.h"
#include "kernels/kernels.h"
#include "ops/shared/elementwise.h"
#include "ops/shared/matmul.h"
#include "ops/shared/scores.h"
#include "ops/shared/values.h"

/* A row of coefficients and, maybe, an intercept for each target. */
typedef struct linear {
  ifd_samples samples;
  int64_t n_targets;
  const float *coefficients, *intercepts; /* intercepts: NULL where there are none */
  ifd_labels labels;                      /* of a classifier */
  bool pair; /* two classes have one score, that of the second; the first has its negative */
  ifd_post_transform post;
} linear;

static int64_t n_scores(const linear *m) { return m->pair ? 2 : m->n_targets; }

/* ---- attributes ---- */

/* n_targets must be set. */
static ifd_status read_linear(ifd_error *err, linear *m, const ifd_node *node) {
  int n = ifd_node_floats(node, "coefficients", &m->coefficients);
  int n_intercepts = ifd_node_floats(node, "intercepts", &m->intercepts);
  int64_t features = m->samples.n_features;
  EXPECT(err, m->n_targets > 0 && n % m->n_targets == 0 && n / m->n_targets == features, BAD_MODEL,
         "%d coefficients for %lld targets and %lld features", n, (long long)m->n_targets,
         (long long)features);
  EXPECT(err, n_intercepts == 0 || n_intercepts == m->n_targets, BAD_MODEL, "%d intercepts for %lld targets",
         n_intercepts, (long long)m->n_targets);
  if (n_intercepts == 0) m->intercepts = NULL;
  return ifd_post_transform_read(err, &m->post, node);
}

static ifd_status read_regressor(ifd_error *err, linear *m, const ifd_node *node, const ifd_shape *shape) {
  *m = (linear){.n_targets = ifd_attr_int(node, "targets")};
  TRY(ifd_samples_of(err, &m->samples, shape));
  return read_linear(err, m, node);
}

static ifd_status read_classifier(ifd_error *err, linear *m, const ifd_node *node, const ifd_shape *shape) {
  const float *coefficients;
  *m = (linear){0};
  TRY(ifd_samples_of(err, &m->samples, shape));
  TRY(ifd_labels_read(err, &m->labels, node, "classlabels_ints"));
  m->pair = m->labels.n == 2 && ifd_node_floats(node, "coefficients", &coefficients) == m->samples.n_features;
  m->n_targets = m->pair ? 1 : m->labels.n;
  return read_linear(err, m, node);
}

static ifd_status infer_LinearRegressor(ifd_infer *x) {
  return ifd_infer_scores(x, 0, IFD_FLOAT, ifd_attr_int(x->node, "targets"));
}

static ifd_status infer_LinearClassifier(ifd_infer *x) {
  ifd_labels labels;
  TRY(ifd_labels_read(x->err, &labels, x->node, "classlabels_ints"));
  return ifd_infer_classifier(x, "classlabels_ints", labels.n);
}

/* ---- evaluation ---- */

/* The scores of one sample, with room for a pair; the index of its label. */
static int32_t finish(const linear *m, double *s) {
  if (m->pair) s[1] = s[0], s[0] = -s[0];
  int32_t label = ifd_top_score(s, n_scores(m));
  ifd_post_transform_apply(m->post, s, n_scores(m));
  return label;
}

/* Samples of input 0 times coefficients: [n, n_targets] in scratch. */
static ifd_status multiply(ifd_eval *x, const linear *m, double **out) {
  int64_t n = m->samples.n, features = m->samples.n_features, n_coefficients = m->n_targets * features;
  const double *in;
  double *b, *y;
  TRY(ifd_eval_f64(x, &in, 0));
  TRY(ifd_eval_zeros(x, &b, n_coefficients));
  TRY(ifd_eval_zeros(x, &y, n * m->n_targets));
  for (int64_t i = 0; i < n_coefficients; i++) b[i] = m->coefficients[i];
  ifd_matmul_add_f64(y, (ifd_matrix_f64){in, features, 1}, (ifd_matrix_f64){b, 1, features}, n, m->n_targets,
                     features);
  for (int64_t i = 0; m->intercepts && i < n * m->n_targets; i++) y[i] += m->intercepts[i % m->n_targets];
  *out = y;
  return IFD_OK;
}

/* Scores are output i; labels, of a classifier, output 0. */
static ifd_status evaluate(ifd_eval *x, const linear *m, int i) {
  int64_t n = m->samples.n, n_out = n_scores(m);
  double *sums, *y;
  int32_t *which;
  TRY(multiply(x, m, &sums));
  TRY(ifd_eval_zeros(x, &y, n * n_out));
  ALLOC(x->err, which, ifd_new_array(x->scratch, int32_t, n));
  for (int64_t r = 0; r < n; r++) {
    for (int64_t k = 0; k < m->n_targets; k++) y[r * n_out + k] = sums[r * m->n_targets + k];
    which[r] = finish(m, y + r * n_out);
  }
  if (i == 1) TRY(ifd_labels_put(x, &m->labels, which, n));
  return ifd_eval_put_f64(x, i, IFD_FLOAT, &(ifd_shape){2, {n, n_out}}, y);
}

static ifd_status eval_LinearRegressor(ifd_eval *x) {
  linear m;
  TRY(read_regressor(x->err, &m, x->node, ifd_eval_shape(x, 0)));
  return evaluate(x, &m, 0);
}

static ifd_status eval_LinearClassifier(ifd_eval *x) {
  linear m;
  TRY(read_classifier(x->err, &m, x->node, ifd_eval_shape(x, 0)));
  return evaluate(x, &m, 1);
}

/* ---- lowering ---- */

enum { AT_ONCE = 56 }; /* samples whose sums wait in scratch */

typedef struct task {
  linear m;
  const struct ifd_k_gemm_table *kernels;
  ifd_k_product g; /* of AT_ONCE samples */
  ifd_k_epilogue epilogue;
  size_t sums, scores; /* where they are in scratch */
  int64_t grain;       /* samples of a task */
} task;

static void finish_samples(const task *t, const ifd_args *args, int64_t first, int64_t n) {
  const float *sums = (const float *)((char *)args->scratch + t->sums);
  double *s = (double *)((char *)args->scratch + t->scores);
  int64_t n_out = n_scores(&t->m), *labels = t->m.labels.n ? args->out[0] : NULL;
  float *out = args->out[t->m.labels.n ? 1 : 0];
  for (int64_t i = 0; i < n; i++) {
    for (int64_t k = 0; k < t->m.n_targets; k++) s[k] = sums[i * t->m.n_targets + k];
    int32_t label = finish(&t->m, s);
    if (labels) labels[first + i] = t->m.labels.ints[label];
    for (int64_t k = 0; out && k < n_out; k++) out[(first + i) * n_out + k] = (float)s[k];
  }
}

/* The sums of a regressor are its scores where nothing becomes of them. */
static bool is_plain(const linear *m) { return m->labels.n == 0 && m->post == IFD_POST_NONE; }

static void run_task(const void *params, const ifd_args *args, int number) {
  const task *t = params;
  int64_t first = number * t->grain, end = ifd_min_i64(first + t->grain, t->m.samples.n);
  ifd_k_product g = t->g;
  g.epilogue = &t->epilogue;
  g.c = (float *)((char *)args->scratch + t->sums);
  for (; first < end; first += AT_ONCE) {
    int64_t n = ifd_min_i64(AT_ONCE, end - first);
    if (is_plain(&t->m)) g.c = (float *)args->out[0] + first * g.n;
    g.m = n;
    g.a = (const float *)args->in[0] + first * g.k;
    t->kernels->run_f32(&g, 0, n, 0, g.n, args->scratch);
    if (!is_plain(&t->m)) finish_samples(t, args, first, n);
  }
}

/* One after another in scratch: what the product needs, its sums, the scores of a sample. */
static size_t lay_out(task *t) {
  int64_t n = t->m.n_targets;
  const ifd_k_gemm_grid all = {.m_step = AT_ONCE, .n_step = ifd_ceil_div(n, 64) * 64, .n_m = 1, .n_tasks = 1};
  t->sums = ifd_k_gemm_scratch_len(&all, t->g.k, IFD_K_B_PACKED) / 64 * 64 + 64;
  t->scores = t->sums + (size_t)ifd_ceil_div(AT_ONCE * n * (int64_t)sizeof(float), 64) * 64;
  return t->scores + (size_t)n_scores(&t->m) * sizeof(double);
}

static ifd_status lower(ifd_lower *x, task *t) {
  int64_t n = t->m.n_targets, k = t->m.samples.n_features;
  float *packed;
  if (x->in[0]->dtype != IFD_FLOAT || t->m.labels.strings || t->m.samples.n == 0 || k == 0) return IFD_OK;
  ALLOC(x->err, packed, ifd_arena_alloc_data(x->arena, ifd_k_gemm_packed_len(n, k)));
  t->kernels = ifd_k_gemm(x->isa);
  t->kernels->pack_f32(packed, t->m.coefficients, 1, k, k, 0, n);
  t->g = (ifd_k_product){.n = n, .k = k, .a_rs = k, .a_cs = 1, .b = packed, .c_rs = n};
  t->epilogue = IFD_K_EPILOGUE_NONE;
  t->epilogue.bias = t->m.intercepts;
  t->grain = ifd_lower_grain(t->m.samples.n, (double)(n * k));
  size_t scratch = lay_out(t);
  x->work->algorithm = "gemm";
  return ifd_lower_launch(x, run_task, t, sizeof *t, ifd_ceil_div(t->m.samples.n, t->grain), scratch);
}

static ifd_status lower_LinearRegressor(ifd_lower *x) {
  task t = {0};
  TRY(read_regressor(x->err, &t.m, x->node, &x->in[0]->shape));
  return lower(x, &t);
}

static ifd_status lower_LinearClassifier(ifd_lower *x) {
  task t = {0};
  TRY(read_classifier(x->err, &t.m, x->node, &x->in[0]->shape));
  return lower(x, &t);
}

#define ROW(name_)                                                                                           \
  {                                                                                                          \
    .name = #name_, .domain = "ai.onnx.ml", .since = 1, .infer = infer_##name_, .eval = eval_##name_,        \
    .lower = lower_##name_                                                                                   \
  }
const ifd_op ifd_ops_linear_model[] = {ROW(LinearRegressor), ROW(LinearClassifier), {0}};
