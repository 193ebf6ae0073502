/* Optimizers of ai.onnx.preview.training: one step of Adagrad, Adam or Momentum for any number of tensors,
 * element by element. Inputs are R, T and then lists of equal length: the tensors X, their gradients G, and
 * one or two accumulated states; outputs are the new X and the new states. */
#include <math.h>
#include <string.h>

#include "ops/shared/elementwise.h"
#include "ops/shared/values.h"

enum { MAX_STATES = 2 };

typedef struct settings {
  double r, t; /* learning rate, already adjusted for t where the element does not matter; update count */
  double alpha, beta, epsilon, norm, norm_post;
  bool nesterov;
} settings;

typedef struct optimizer {
  int n_states;
  ifd_status (*prepare)(ifd_eval *x, settings *s);
  void (*update)(const settings *s, double *x, double g, double *state0, double *state1);
} optimizer;

static ifd_status prepare_adagrad(ifd_eval *x, settings *s) {
  s->r /= 1 + s->t * ifd_attr_float(x->node, "decay_factor");
  return IFD_OK;
}

static void adagrad(const settings *s, double *x, double g, double *h, double *unused) {
  (void)unused;
  g += s->norm * *x;
  *h += g * g;
  *x -= s->r * g / (sqrt(*h) + s->epsilon);
}

static ifd_status prepare_adam(ifd_eval *x, settings *s) {
  s->norm_post = ifd_attr_float(x->node, "norm_coefficient_post");
  if (s->t > 0) s->r *= sqrt(1 - pow(s->beta, s->t)) / (1 - pow(s->alpha, s->t));
  return IFD_OK;
}

static void adam(const settings *s, double *x, double g, double *v, double *h) {
  g += s->norm * *x;
  *v = s->alpha * *v + (1 - s->alpha) * g;
  *h = s->beta * *h + (1 - s->beta) * g * g;
  *x = (1 - s->norm_post) * (*x - s->r * *v / (sqrt(*h) + s->epsilon));
}

static ifd_status prepare_momentum(ifd_eval *x, settings *s) {
  s->nesterov = ifd_node_string_is(x->node, "mode", "", "nesterov");
  EXPECT(x->err, s->nesterov || ifd_node_string_is(x->node, "mode", "", "standard"), BAD_MODEL,
         "attribute mode is neither nesterov nor standard");
  if (!(s->t > 0)) s->beta = 1;
  return IFD_OK;
}

static void momentum(const settings *s, double *x, double g, double *v, double *unused) {
  (void)unused;
  g += s->norm * *x;
  *v = s->alpha * *v + s->beta * g;
  *x -= s->r * (s->nesterov ? g + s->alpha * *v : *v);
}

static const optimizer Adagrad = {1, prepare_adagrad, adagrad};
static const optimizer Adam = {2, prepare_adam, adam};
static const optimizer Momentum = {1, prepare_momentum, momentum};

/* How many tensors the node optimizes. */
static ifd_status count_tensors(ifd_error *err, const ifd_node *node, const optimizer *o, int *n) {
  *n = (node->n_inputs - 2) / (2 + o->n_states);
  EXPECT(err, node->n_inputs - 2 == *n * (2 + o->n_states) && node->n_outputs <= *n * (1 + o->n_states),
         BAD_MODEL, "%d inputs and %d outputs are not those of whole tensors", node->n_inputs,
         node->n_outputs);
  for (int i = 0; i < node->n_inputs; i++) EXPECT(err, node->inputs[i], BAD_MODEL, "input %d is missing", i);
  return IFD_OK;
}

static ifd_status infer(ifd_infer *x, const optimizer *o) {
  int n;
  TRY(count_tensors(x->err, x->node, o, &n));
  for (int i = 0; i < n; i++)
    for (int k = 0; k <= o->n_states; k++) TRY(ifd_infer_same(x, k * n + i, 2 + i + (k ? k + 1 : 0) * n));
  return IFD_OK;
}

static ifd_status read_settings(ifd_eval *x, const optimizer *o, settings *s) {
  const double *r, *t;
  TRY(ifd_eval_find_f64_n(x, &r, 0, 1, "R"));
  TRY(ifd_eval_find_f64_n(x, &t, 1, 1, "T"));
  *s = (settings){.r = *r,
                  .t = *t,
                  .alpha = ifd_attr_float(x->node, "alpha"),
                  .beta = ifd_attr_float(x->node, "beta"),
                  .epsilon = ifd_attr_float(x->node, "epsilon"),
                  .norm = ifd_attr_float(x->node, "norm_coefficient")};
  return o->prepare(x, s);
}

/* A copy of input i, of count elements, that may be changed. */
static ifd_status copy_input(ifd_eval *x, double **out, int i, int64_t count) {
  const double *v;
  TRY(ifd_eval_find_f64_n(x, &v, i, count, "a gradient or state"));
  TRY(ifd_eval_zeros(x, out, count));
  if (count) memcpy(*out, v, sizeof *v * (size_t)count);
  return IFD_OK;
}

static ifd_status update_tensor(ifd_eval *x, const optimizer *o, const settings *s, int i, int n) {
  double *values[1 + MAX_STATES] = {0};
  const double *g;
  int64_t count = ifd_tensor_count(ifd_eval_in(x, 2 + i));
  TRY(copy_input(x, &values[0], 2 + i, count));
  TRY(ifd_eval_find_f64_n(x, &g, 2 + n + i, count, "a gradient"));
  for (int k = 1; k <= o->n_states; k++) TRY(copy_input(x, &values[k], 2 + (k + 1) * n + i, count));
  if (o->n_states < MAX_STATES) TRY(ifd_eval_zeros(x, &values[MAX_STATES], count));
  for (int64_t e = 0; e < count; e++) o->update(s, &values[0][e], g[e], &values[1][e], &values[2][e]);
  for (int k = 0; k <= o->n_states; k++)
    TRY(ifd_eval_put_f64(x, k * n + i, ifd_eval_dtype(x, 2 + i), ifd_eval_shape(x, 2 + i), values[k]));
  return IFD_OK;
}

static ifd_status eval(ifd_eval *x, const optimizer *o) {
  int n;
  settings s;
  TRY(count_tensors(x->err, x->node, o, &n));
  TRY(read_settings(x, o, &s));
  for (int i = 0; i < n; i++) TRY(update_tensor(x, o, &s, i, n));
  return IFD_OK;
}

#define OPTIMIZER(name)                                                                                      \
  static ifd_status infer_##name(ifd_infer *x) { return infer(x, &name); }                                   \
  static ifd_status eval_##name(ifd_eval *x) { return eval(x, &name); }
#define ROW(name_)                                                                                           \
  {                                                                                                          \
    .name = #name_, .domain = "ai.onnx.preview.training", .since = 1, .infer = infer_##name_,                \
    .eval = eval_##name_                                                                                     \
  }
OPTIMIZER(Adagrad)
OPTIMIZER(Adam)
OPTIMIZER(Momentum)
const ifd_op ifd_ops_training[] = {ROW(Adagrad), ROW(Adam), ROW(Momentum), {0}};
