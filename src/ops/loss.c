/* NegativeLogLikelihoodLoss, SoftmaxCrossEntropyLoss: losses are summed in double. The softmax of float
 * elements is that of operator LogSoftmax's kernels; any other is computed in double, too. */
#include <math.h>

#include "kernels/kernels.h"
#include "kernels/softmax/softmax.h"
#include "ops/shared/values.h"
#include "tensor/convert.h"

/* Input 0 is [N, C, D…], targets are [N, D…]: seen as [n, c, d] and [n, d]. */
typedef struct loss {
  int64_t n, c, d;
  const int64_t *target;
  const double *weight; /* of each class, or NULL */
  bool ignores;
  int64_t ignored;
} loss;

/* False unless target [n, d] and weight [c] (or NULL) fit the input. */
static bool check_shapes(loss *l, const ifd_shape *in, const ifd_shape *target, const ifd_shape *weight) {
  bool fits = in->rank >= 2 && target->rank == in->rank - 1 && target->dim[0] == in->dim[0];
  for (int i = 1; fits && i < target->rank; i++) fits = target->dim[i] == in->dim[i + 1];
  if (!fits) return false;
  *l = (loss){.n = in->dim[0], .c = in->dim[1], .d = ifd_shape_span(in, 2, in->rank)};
  return !weight || ifd_shape_count(weight) == l->c;
}

static void read_ignored(loss *l, const ifd_node *node) {
  l->ignores = ifd_node_find_attr(node, "ignore_index") != NULL;
  l->ignored = ifd_node_int(node, "ignore_index", 0);
}

static ifd_status read_loss(ifd_eval *x, loss *l) {
  const ifd_shape *s = ifd_eval_shape(x, 0), *t = ifd_eval_shape(x, 1);
  int64_t n;
  char ts[256], tt[256];
  EXPECT(x->err, check_shapes(l, s, t, NULL), BAD_INPUT,
         "targets %s do not fit input %s: [N, …] and [N, C, …] of rank 2 or more are needed",
         ifd_shape_text(t, tt, sizeof tt), ifd_shape_text(s, ts, sizeof ts));
  read_ignored(l, x->node);
  TRY(ifd_eval_ints(x, &l->target, &n, 1));
  for (int64_t i = 0; i < n; i++)
    EXPECT(x->err, (l->target[i] >= 0 && l->target[i] < l->c) || (l->ignores && l->target[i] == l->ignored),
           BAD_INPUT, "target %lld is outside [0, %lld)", (long long)l->target[i], (long long)l->c);
  return ifd_eval_find_f64_n(x, &l->weight, 2, l->c, "weight");
}

/* What a loss is reduced to. */
typedef enum reduction { NONE, SUM, MEAN } reduction;

static ifd_status read_reduction(ifd_error *err, const ifd_node *node, reduction *out) {
  static const char *const names[] = {"none", "sum", "mean"};
  for (int i = 0; i < 3; i++)
    if (ifd_node_string_is(node, "reduction", "mean", names[i])) {
      *out = (reduction)i;
      return IFD_OK;
    }
  FAIL(err, BAD_MODEL, "attribute reduction is not none, sum or mean");
}

/* Place of the class of target i in the input. */
static int64_t place_of(const loss *l, int64_t i) {
  return (i / l->d * l->c + l->target[i]) * l->d + i % l->d;
}

static bool is_ignored(const loss *l, int64_t i) { return l->ignores && l->target[i] == l->ignored; }

/* Output 0 from the logarithms of the probabilities of the targets. Those that are ignored have no loss and
 * no weight. */
static ifd_status put_loss(ifd_eval *x, const loss *l, double *log_prob) {
  double sum = 0, weights = 0;
  reduction to;
  TRY(read_reduction(x->err, x->node, &to));
  for (int64_t i = 0; i < l->n * l->d; i++) {
    double weight = is_ignored(l, i) ? 0 : l->weight ? l->weight[l->target[i]] : 1;
    log_prob[i] = is_ignored(l, i) ? 0 : -log_prob[i] * weight;
    sum += log_prob[i];
    weights += weight;
  }
  ifd_dtype dtype = ifd_eval_dtype(x, 0);
  if (to == NONE) return ifd_eval_put_f64(x, 0, dtype, ifd_eval_shape(x, 1), log_prob);
  if (to == MEAN) sum /= weights;
  return ifd_eval_put_f64(x, 0, dtype, &(ifd_shape){0}, &sum);
}

static ifd_status eval_NegativeLogLikelihoodLoss(ifd_eval *x) {
  loss l;
  double *picked;
  TRY(read_loss(x, &l));
  TRY(ifd_eval_zeros(x, &picked, l.n * l.d));
  for (int64_t i = 0; i < l.n * l.d; i++)
    if (!is_ignored(&l, i)) picked[i] = ifd_tensor_get_f64(ifd_eval_in(x, 0), place_of(&l, i));
  return put_loss(x, &l, picked);
}

/* out = log(softmax(in)) of n classes, `stride` apart. */
static void log_softmax(const double *in, double *out, int64_t n, int64_t stride) {
  double top = -INFINITY, sum = 0;
  for (int64_t i = 0; i < n; i++) top = fmax(top, in[i * stride]);
  for (int64_t i = 0; i < n; i++) sum += exp(in[i * stride] - top);
  double shift = top + log(sum);
  for (int64_t i = 0; i < n; i++) out[i * stride] = in[i * stride] - shift;
}

/* The logarithms of all probabilities, [n, c, d] in scratch. */
static ifd_status log_probabilities(ifd_eval *x, const loss *l, double **out) {
  const double *in;
  TRY(ifd_eval_f64(x, &in, 0));
  TRY(ifd_eval_zeros(x, out, l->n * l->c * l->d));
  for (int64_t i = 0; i < l->n * l->d; i++) {
    int64_t at = i / l->d * l->c * l->d + i % l->d;
    log_softmax(in + at, *out + at, l->c, l->d);
  }
  return IFD_OK;
}

static ifd_status eval_SoftmaxCrossEntropyLoss(ifd_eval *x) {
  loss l;
  double *all, *picked;
  TRY(read_loss(x, &l));
  TRY(log_probabilities(x, &l, &all));
  TRY(ifd_eval_zeros(x, &picked, l.n * l.d));
  for (int64_t i = 0; i < l.n * l.d; i++)
    if (!is_ignored(&l, i)) picked[i] = all[place_of(&l, i)];
  TRY(put_loss(x, &l, picked));
  return ifd_eval_put_f64(x, 1, ifd_eval_dtype(x, 0), ifd_eval_shape(x, 0), all);
}

/* ---- lowering ---- */

/* Of float elements. NegativeLogLikelihoodLoss is given the logarithms of the probabilities;
 * SoftmaxCrossEntropyLoss makes them first, to output 1 or, where nobody wants it, to shared memory. Then the
 * losses, which one task sums in their order. */
typedef struct loss_params {
  const struct ifd_k_softmax_table *kernels;
  loss l; /* without pointers */
  reduction to;
  ifd_dtype target_dtype;
  bool weighted, given, kept; /* the logarithms are input 0; output 1 is wanted */
  int64_t grain;              /* samples of a task */
} loss_params;
enum { TARGETS = 256 /* read at a time */ };

static float *made_at(const loss_params *p, const ifd_args *args) {
  return p->kept ? args->out[1] : args->shared;
}

static void run_log_softmax(const void *params, const ifd_args *args, int task) {
  const loss_params *p = params;
  size_t c = (size_t)p->l.c, d = (size_t)p->l.d, size = c * d;
  size_t first = (size_t)(task * p->grain), last = (size_t)ifd_min_i64((int64_t)first + p->grain, p->l.n);
  const float *in = args->in[0];
  float *out = made_at(p, args);
  if (d == 1)
    p->kernels->rows(true, in + first * c, c, 1, NULL, 0, out + first * c, c, last - first, c);
  else
    for (size_t i = first; i < last; i++) p->kernels->columns(true, in + i * size, out + i * size, d, c, d);
}

/* The sums of losses and of weights. */
typedef struct loss_sums {
  double loss, weight;
} loss_sums;

/* Targets [from, from + some) of sample i: false if one is no class. */
static bool add_losses(const loss_params *p, const ifd_args *args, const float *log_prob, int64_t i,
                       int64_t from, int64_t some, loss_sums *sums) {
  const loss *l = &p->l;
  const float *weight = p->weighted ? args->in[2] : NULL;
  const int64_t first = i * l->d + from;
  float *out = p->to == NONE && args->out[0] ? (float *)args->out[0] + first : NULL;
  int64_t target[TARGETS];
  ifd_load_i64(p->target_dtype, (const char *)args->in[1] + (size_t)first * ifd_dtype_size(p->target_dtype),
               target, some);
  log_prob += i * l->c * l->d + from;
  for (int64_t k = 0; k < some; k++) {
    int64_t c = target[k];
    bool ignored = l->ignores && c == l->ignored;
    if (!ignored && (c < 0 || c >= l->c)) return false;
    double w = ignored ? 0 : weight ? weight[c] : 1;
    double v = ignored ? 0 : -log_prob[c * l->d + k] * w;
    if (out) out[k] = (float)v;
    sums->loss += v;
    sums->weight += w;
  }
  return true;
}

static void run_loss(const void *params, const ifd_args *args, int task) {
  const loss_params *p = params;
  const float *log_prob = p->given ? args->in[0] : made_at(p, args);
  loss_sums sums = {0};
  float *out = args->out[0];
  (void)task;
  for (int64_t i = 0; i < p->l.n; i++)
    for (int64_t at = 0; at < p->l.d; at += TARGETS)
      if (!add_losses(p, args, log_prob, i, at, ifd_min_i64(TARGETS, p->l.d - at), &sums)) {
        *args->failed = 1;
        return;
      }
  if (p->to != NONE && out) *out = (float)(p->to == MEAN ? sums.loss / sums.weight : sums.loss);
}

/* Whether the kernels take the node; the evaluation says what does not fit. */
static ifd_status read_params(ifd_lower *x, loss_params *p, bool *fits) {
  const ifd_tensor *in = x->in[0], *target = x->in[1], *weight = x->node->n_inputs > 2 ? x->in[2] : NULL;
  *p = (loss_params){
      .kernels = ifd_k_softmax(x->isa), .target_dtype = target->dtype, .weighted = weight != NULL};
  *fits = in->dtype == IFD_FLOAT && (!weight || weight->dtype == IFD_FLOAT) &&
          check_shapes(&p->l, &in->shape, &target->shape, weight ? &weight->shape : NULL) &&
          ifd_tensor_count(in) > 0;
  read_ignored(&p->l, x->node);
  return read_reduction(x->err, x->node, &p->to);
}

static ifd_status lower_NegativeLogLikelihoodLoss(ifd_lower *x) {
  loss_params p;
  bool fits;
  TRY(read_params(x, &p, &fits));
  if (!fits) return IFD_OK;
  p.given = true;
  x->work->algorithm = "sum";
  return ifd_lower_launch(x, run_loss, &p, sizeof p, 1, 0);
}

static ifd_status lower_SoftmaxCrossEntropyLoss(ifd_lower *x) {
  enum { ELEMENT_OPS = 8 };
  loss_params p;
  bool fits;
  TRY(read_params(x, &p, &fits));
  if (!fits) return IFD_OK;
  p.kept = x->node->n_outputs > 1 && x->out[1];
  p.grain = ifd_lower_grain(p.l.n, (double)(p.l.c * p.l.d) * ELEMENT_OPS);
  if (!p.kept) x->work->shared = ifd_tensor_bytes(x->in[0]);
  x->work->algorithm = "softmax, sum";
  TRY(ifd_lower_launch(x, run_log_softmax, &p, sizeof p, ifd_ceil_div(p.l.n, p.grain), 0));
  return ifd_lower_launch(x, run_loss, &p, sizeof p, 1, 0);
}

/* ---- inference ---- */

static ifd_status infer_loss(ifd_infer *x) {
  ifd_dtype dtype = ifd_infer_dtype(x, 0);
  if (ifd_node_string_is(x->node, "reduction", "mean", "none"))
    TRY(ifd_infer_same_as(x, 0, 1, dtype));
  else
    TRY(ifd_infer_tensor(x, 0, dtype, 0, NULL));
  return x->node->n_outputs > 1 ? ifd_infer_same(x, 1, 0) : IFD_OK;
}

/* A reduced loss is one number for the batch. */
static bool mixes_batch(const ifd_node *node) {
  return !ifd_node_string_is(node, "reduction", "mean", "none");
}

const ifd_op ifd_ops_loss[] = {{.name = "NegativeLogLikelihoodLoss",
                                .since = 12,
                                .infer = infer_loss,
                                .eval = eval_NegativeLogLikelihoodLoss,
                                .lower = lower_NegativeLogLikelihoodLoss,
                                .mixes_batch = mixes_batch},
                               {.name = "SoftmaxCrossEntropyLoss",
                                .since = 12,
                                .infer = infer_loss,
                                .eval = eval_SoftmaxCrossEntropyLoss,
                                .lower = lower_SoftmaxCrossEntropyLoss,
                                .mixes_batch = mixes_batch},
                               {0}};
