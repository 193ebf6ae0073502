/* NegativeLogLikelihoodLoss, SoftmaxCrossEntropyLoss: computed and summed in double, rounded once. */
#include <math.h>

#include "ops/shared/move.h"
#include "ops/shared/values.h"

/* Input 0 is [N, C, D…], targets are [N, D…]: seen as [n, c, d] and [n, d]. */
typedef struct loss {
  int64_t n, c, d;
  const int64_t *target;
  const double *weight; /* of each class, or NULL */
  bool ignores;
  int64_t ignored;
} loss;

static ifd_status read_loss(ifd_eval *x, loss *l) {
  const ifd_shape *s = ifd_eval_shape(x, 0), *t = ifd_eval_shape(x, 1);
  int64_t n;
  EXPECT(x->err, s->rank >= 2, BAD_INPUT, "input 0 has rank %d, not [N, C, …]", s->rank);
  bool fits = t->rank == s->rank - 1 && t->dim[0] == s->dim[0];
  for (int i = 1; fits && i < t->rank; i++) fits = t->dim[i] == s->dim[i + 1];
  char ts[256], tt[256];
  EXPECT(x->err, fits, BAD_INPUT, "targets %s do not fit input %s", ifd_shape_text(t, tt, sizeof tt),
         ifd_shape_text(s, ts, sizeof ts));
  *l = (loss){.n = s->dim[0],
              .c = s->dim[1],
              .d = ifd_shape_span(s, 2, s->rank),
              .ignores = ifd_node_find_attr(x->node, "ignore_index") != NULL,
              .ignored = ifd_node_int(x->node, "ignore_index", 0)};
  TRY(ifd_eval_ints(x, &l->target, &n, 1));
  for (int64_t i = 0; i < n; i++)
    EXPECT(x->err, (l->target[i] >= 0 && l->target[i] < l->c) || (l->ignores && l->target[i] == l->ignored),
           BAD_INPUT, "target %lld is outside [0, %lld)", (long long)l->target[i], (long long)l->c);
  return ifd_eval_find_f64_n(x, &l->weight, 2, l->c, "weight");
}

/* Output 0 from the logarithms of the probabilities. Targets that are ignored have no loss and no weight. */
static ifd_status put_loss(ifd_eval *x, const loss *l, const double *log_prob) {
  double *y, sum = 0, weights = 0;
  TRY(ifd_eval_zeros(x, &y, l->n * l->d));
  for (int64_t i = 0; i < l->n * l->d; i++) {
    int64_t c = l->target[i];
    if (l->ignores && c == l->ignored) continue;
    double weight = l->weight ? l->weight[c] : 1;
    y[i] = -log_prob[(i / l->d * l->c + c) * l->d + i % l->d] * weight;
    sum += y[i];
    weights += weight;
  }
  ifd_dtype dtype = ifd_eval_dtype(x, 0);
  if (ifd_node_string_is(x->node, "reduction", "mean", "none"))
    return ifd_eval_put_f64(x, 0, dtype, ifd_eval_shape(x, 1), y);
  bool mean = ifd_node_string_is(x->node, "reduction", "mean", "mean");
  EXPECT(x->err, mean || ifd_node_string_is(x->node, "reduction", "mean", "sum"), BAD_MODEL,
         "attribute reduction is not none, sum or mean");
  if (mean) sum /= weights;
  return ifd_eval_put_f64(x, 0, dtype, &(ifd_shape){0}, &sum);
}

static ifd_status eval_NegativeLogLikelihoodLoss(ifd_eval *x) {
  loss l;
  const double *in;
  TRY(read_loss(x, &l));
  TRY(ifd_eval_f64(x, &in, 0));
  return put_loss(x, &l, in);
}

/* out = log(softmax(in)) of n classes, `stride` apart. */
static void log_softmax(const double *in, double *out, int64_t n, int64_t stride) {
  double top = -INFINITY, sum = 0;
  for (int64_t i = 0; i < n; i++) top = fmax(top, in[i * stride]);
  for (int64_t i = 0; i < n; i++) sum += exp(in[i * stride] - top);
  for (int64_t i = 0; i < n; i++) out[i * stride] = in[i * stride] - top - log(sum);
}

static ifd_status eval_SoftmaxCrossEntropyLoss(ifd_eval *x) {
  loss l;
  const double *in;
  double *y;
  TRY(read_loss(x, &l));
  TRY(ifd_eval_f64(x, &in, 0));
  TRY(ifd_eval_zeros(x, &y, l.n * l.c * l.d));
  for (int64_t i = 0; i < l.n * l.d; i++) {
    int64_t at = i / l.d * l.c * l.d + i % l.d;
    log_softmax(in + at, y + at, l.c, l.d);
  }
  TRY(put_loss(x, &l, y));
  return ifd_eval_put_f64(x, 1, ifd_eval_dtype(x, 0), ifd_eval_shape(x, 0), y);
}

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

#define ROW(name_)                                                                                           \
  { .name = #name_, .since = 12, .infer = infer_loss, .eval = eval_##name_, .mixes_batch = mixes_batch }
const ifd_op ifd_ops_loss[] = {ROW(NegativeLogLikelihoodLoss), ROW(SoftmaxCrossEntropyLoss), {0}};
