/* TreeEnsemble, TreeEnsembleRegressor, TreeEnsembleClassifier. The attributes become a forest once a session
 * (shared/ensemble.h); the votes of the trees are summed in double and rounded once. */
#include "ops/shared/ensemble.h"
#include "ops/shared/values.h"
#include "tensor/convert.h"

/* ---- running ---- */

/* The scores of one sample from its votes; the index of its label. */
static int32_t finish(const ifd_ensemble *e, double *s) {
  int32_t n = e->forest.n_targets, label;
  if (e->lone) {
    double v = s[0] + (e->n_base ? e->base[e->n_base - 1] : 0);
    s[0] = (e->probability ? 1 : 0) - v;
    s[1] = v;
    label = v > (e->probability ? 0.5 : 0);
  } else {
    for (int32_t i = 0; e->n_base && i < n; i++) s[i] += e->base[e->n_base == 1 ? 0 : i];
    label = ifd_top_score(s, n);
  }
  ifd_post_transform_apply(e->post, s, n);
  return label;
}

/* What a node computes: samples of element type `dtype`. */
typedef struct task {
  const ifd_ensemble *e;
  ifd_dtype dtype, out_dtype;
  ifd_samples samples;
  int64_t grain; /* samples of a task */
} task;

static void score_samples(const task *t, double *scores, int32_t *labels, const void *x, int64_t first,
                          int64_t n, double *scratch) {
  const char *rows = (const char *)x + (size_t)(first * t->samples.n_features) * ifd_dtype_size(t->dtype);
  ifd_forest_score(&t->e->forest, scores, t->dtype, rows, n, t->samples.n_features, scratch);
  for (int64_t i = 0; i < n; i++) labels[i] = finish(t->e, scores + i * t->e->forest.n_targets);
}

static ifd_status init_task(ifd_error *err, task *t, const void *made, ifd_dtype dtype,
                            const ifd_shape *shape) {
  t->e = made;
  t->dtype = dtype;
  TRY(ifd_samples_of(err, &t->samples, shape));
  EXPECT(err, t->e->forest.max_feature < t->samples.n_features, BAD_INPUT,
         "the trees read feature %d; samples have %lld", t->e->forest.max_feature,
         (long long)t->samples.n_features);
  return IFD_OK;
}

/* Scores are output i, of element type `dtype`; labels, for a classifier, output 0. */
static ifd_status eval_trees(ifd_eval *x, ifd_make *make, int i, ifd_dtype dtype) {
  const void *made = NULL;
  task t = {0};
  double *scores, *scratch;
  int32_t *labels;
  TRY(make(x->err, x->scratch, x->node, &made));
  TRY(init_task(x->err, &t, made, ifd_eval_dtype(x, 0), ifd_eval_shape(x, 0)));
  int64_t n = t.samples.n, n_targets = t.e->forest.n_targets;
  ifd_shape shape = {2, {n, n_targets}};
  TRY(ifd_shape_check(x->err, &shape, sizeof(double)));
  TRY(ifd_eval_zeros(x, &scores, n * n_targets + 1));
  TRY(ifd_eval_zeros(x, &scratch, (int64_t)ifd_forest_scratch(t.samples.n_features)));
  ALLOC(x->err, labels, ifd_new_array(x->scratch, int32_t, n + 1));
  score_samples(&t, scores, labels, ifd_eval_in(x, 0)->data, 0, n, scratch);
  if (i == 1) TRY(ifd_labels_put(x, &t.e->labels, labels, n));
  return ifd_eval_put_f64(x, i, dtype, &shape, scores);
}

static ifd_status eval_TreeEnsemble(ifd_eval *x) {
  return eval_trees(x, ifd_ensemble_load_flat_trees, 0, ifd_eval_dtype(x, 0));
}
static ifd_status eval_TreeEnsembleRegressor(ifd_eval *x) {
  return eval_trees(x, ifd_ensemble_load_regressor, 0, IFD_FLOAT);
}
static ifd_status eval_TreeEnsembleClassifier(ifd_eval *x) {
  return eval_trees(x, ifd_ensemble_load_classifier, 1, IFD_FLOAT);
}

/* ---- lowering ---- */

enum { AT_ONCE = 64 }; /* samples whose scores wait in scratch */

static size_t align_up(size_t n) { return (n + 63) & ~(size_t)63; }

static void run_task(const void *params, const ifd_args *args, int number) {
  const task *t = params;
  int64_t n_targets = t->e->forest.n_targets, first = number * t->grain;
  int64_t end = ifd_min_i64(first + t->grain, t->samples.n);
  double *scratch = args->scratch, *scores = scratch + ifd_forest_scratch(t->samples.n_features);
  int32_t labels[AT_ONCE];
  void *out = args->out[t->e->labels.n ? 1 : 0];
  int64_t *out_labels = t->e->labels.n ? args->out[0] : NULL;
  for (; first < end; first += AT_ONCE) {
    int64_t n = ifd_min_i64(AT_ONCE, end - first);
    score_samples(t, scores, labels, args->in[0], first, n, scratch);
    if (out)
      ifd_store_f64(t->out_dtype, (char *)out + (size_t)(first * n_targets) * ifd_dtype_size(t->out_dtype),
                    scores, n * n_targets);
    for (int64_t i = 0; out_labels && i < n; i++) out_labels[first + i] = t->e->labels.ints[labels[i]];
  }
}

/* Trees are some 8 comparisons deep, and a comparison some 4 ns of waiting. */
static ifd_status lower_trees(ifd_lower *x, ifd_make *make, int i) {
  enum { OPS_OF_TREE = 64 };
  const void *made = NULL;
  task t = {0};
  TRY(x->once(x, &made, make));
  TRY(init_task(x->err, &t, made, x->in[0]->dtype, &x->in[0]->shape));
  if (t.e->labels.strings || t.samples.n == 0) return IFD_OK;
  t.out_dtype = x->out[i] ? x->out[i]->dtype : IFD_FLOAT;
  t.grain = ifd_lower_grain(t.samples.n, (double)t.e->forest.n_trees * OPS_OF_TREE);
  size_t n_scores = (size_t)ifd_min_i64(t.grain, AT_ONCE) * (size_t)t.e->forest.n_targets;
  size_t scratch = align_up((ifd_forest_scratch(t.samples.n_features) + n_scores) * sizeof(double));
  x->work->algorithm = "flat trees";
  return ifd_lower_launch(x, run_task, &t, sizeof t, ifd_ceil_div(t.samples.n, t.grain), scratch);
}

static ifd_status lower_TreeEnsemble(ifd_lower *x) { return lower_trees(x, ifd_ensemble_load_flat_trees, 0); }
static ifd_status lower_TreeEnsembleRegressor(ifd_lower *x) {
  return lower_trees(x, ifd_ensemble_load_regressor, 0);
}
static ifd_status lower_TreeEnsembleClassifier(ifd_lower *x) {
  return lower_trees(x, ifd_ensemble_load_classifier, 1);
}

/* ---- inference ---- */

static ifd_status infer_TreeEnsemble(ifd_infer *x) {
  return ifd_infer_scores(x, 0, ifd_infer_dtype(x, 0), ifd_ensemble_targets(x->node, "leaf_targetids"));
}
static ifd_status infer_TreeEnsembleRegressor(ifd_infer *x) {
  return ifd_infer_scores(x, 0, IFD_FLOAT, ifd_ensemble_targets(x->node, "target_ids"));
}
static ifd_status infer_TreeEnsembleClassifier(ifd_infer *x) {
  ifd_labels labels;
  TRY(ifd_labels_read(x->err, &labels, x->node, "classlabels_int64s"));
  return ifd_infer_classifier(x, "classlabels_int64s", labels.n);
}

#define ROW(name_, since_)                                                                                   \
  {                                                                                                          \
    .name = #name_, .domain = "ai.onnx.ml", .since = since_, .infer = infer_##name_, .eval = eval_##name_,   \
    .lower = lower_##name_                                                                                   \
  }
const ifd_op ifd_ops_tree_ensemble[] = {
    ROW(TreeEnsemble, 5), ROW(TreeEnsembleRegressor, 1), ROW(TreeEnsembleClassifier, 1), {0}};
