#include "ops/shared/recurrent.h"

#include <math.h>
#include <string.h>
#include <strings.h>

#include "ops/shared/values.h"

/* ---- activation functions ---- */

static double relu(double v, double a, double b) { return (void)a, (void)b, v > 0 ? v : v != v ? v : 0; }
static double tanh_(double v, double a, double b) { return (void)a, (void)b, tanh(v); }
static double sigmoid(double v, double a, double b) { return (void)a, (void)b, 1 / (1 + exp(-v)); }
static double affine(double v, double a, double b) { return a * v + b; }
static double leaky_relu(double v, double a, double b) { return (void)b, v < 0 ? a * v : v; }
static double thresholded_relu(double v, double a, double b) { return (void)b, v < a ? 0 : v; }
static double scaled_tanh(double v, double a, double b) { return a * tanh(b * v); }
static double hard_sigmoid(double v, double a, double b) {
  double y = a * v + b;
  return y < 0 ? 0 : y > 1 ? 1 : y;
}
static double elu(double v, double a, double b) { return (void)b, v < 0 ? a * expm1(v) : v; }
static double softsign(double v, double a, double b) { return (void)a, (void)b, v / (1 + fabs(v)); }
static double softplus(double v, double a, double b) {
  return (void)a, (void)b, log1p(exp(-fabs(v))) + (v > 0 ? v : 0);
}

static const ifd_rnn_function functions[] = {
    {"Relu", IFD_RNN_Relu, relu},
    {"Tanh", IFD_RNN_Tanh, tanh_},
    {"Sigmoid", IFD_RNN_Sigmoid, sigmoid},
    {"Affine", IFD_RNN_Affine, affine, true, true, 1, 0},
    {"LeakyRelu", IFD_RNN_LeakyRelu, leaky_relu, true, false, .01f, 0},
    {"ThresholdedRelu", IFD_RNN_ThresholdedRelu, thresholded_relu, true, false, 1, 0},
    {"ScaledTanh", IFD_RNN_ScaledTanh, scaled_tanh, true, true, 1, 1},
    {"HardSigmoid", IFD_RNN_HardSigmoid, hard_sigmoid, true, true, .2f, .5f},
    {"Elu", IFD_RNN_Elu, elu, true, false, 1, 0},
    {"Softsign", IFD_RNN_Softsign, softsign},
    {"Softplus", IFD_RNN_Softplus, softplus},
    {0}};

static const ifd_rnn_function *find_function(ifd_str name) {
  for (const ifd_rnn_function *f = functions; f->name; f++)
    if (strlen(f->name) == name.len && strncasecmp(f->name, name.s, name.len) == 0) return f;
  return NULL;
}

/* ---- the layer ---- */

const char *ifd_rnn_direction(const ifd_node *node, int64_t *directions, bool *reverse) {
  *reverse = ifd_node_string_is(node, "direction", "forward", "reverse");
  bool both = ifd_node_string_is(node, "direction", "forward", "bidirectional");
  *directions = both ? 2 : 1;
  return both || *reverse || ifd_node_string_is(node, "direction", "forward", "forward")
             ? NULL
             : "attribute direction is not forward, reverse or bidirectional";
}

static ifd_status read_functions(ifd_error *err, const ifd_node *node, ifd_recurrent *l) {
  const ifd_attr *names = ifd_node_find_attr(node, "activations");
  const float *alpha, *beta;
  int n_alpha = ifd_node_floats(node, "activation_alpha", &alpha), used_alpha = 0;
  int n_beta = ifd_node_floats(node, "activation_beta", &beta), used_beta = 0;
  int n = l->cell->n_functions, all = n * (int)l->directions;
  EXPECT(err, !names || names->type == IFD_ATTR_STRINGS, BAD_MODEL,
         "attribute activations is not a list of names");
  EXPECT(err, !names || names->n >= all, BAD_MODEL, "attribute activations has %d names; %d are needed",
         names ? names->n : 0, all);
  for (int i = 0; i < all; i++) {
    const char *standard = l->cell->defaults[i % n];
    ifd_str name = names ? names->strings[i] : (ifd_str){standard, strlen(standard)};
    const ifd_rnn_function *f = find_function(name);
    EXPECT(err, f, BAD_MODEL, "attribute activations has '%.*s', which is no activation function",
           (int)(name.len < 40 ? name.len : 40), name.s);
    ifd_rnn_function *to = &l->f[i / n][i % n];
    *to = *f;
    if (f->has_alpha && used_alpha < n_alpha) to->alpha = alpha[used_alpha++];
    if (f->has_beta && used_beta < n_beta) to->beta = beta[used_beta++];
  }
  return IFD_OK;
}

static ifd_status read_attributes(ifd_error *err, const ifd_node *node, ifd_recurrent *l) {
  const char *wrong = ifd_rnn_direction(node, &l->directions, &l->reverse);
  EXPECT(err, !wrong, BAD_MODEL, "%s", wrong);
  const ifd_attr *clip = ifd_node_find_attr(node, "clip");
  l->clip = clip ? ifd_node_float(node, "clip", 0) : INFINITY;
  EXPECT(err, l->clip >= 0, BAD_MODEL, "attribute clip is %g", l->clip);
  l->batch_first = ifd_node_int(node, "layout", 0) != 0;
  l->linear_before_reset = ifd_node_int(node, "linear_before_reset", 0) != 0;
  l->input_forget = ifd_node_int(node, "input_forget", 0) != 0;
  return read_functions(err, node, l);
}

static ifd_status read_sizes(ifd_error *err, ifd_recurrent *l, const ifd_node *node, const ifd_shape *in,
                             const ifd_shape *w, const ifd_shape *r) {
  EXPECT(err, in->rank == 3 && w->rank == 3 && r->rank == 3, BAD_INPUT,
         "X, W and R have ranks %d, %d, %d, not 3", in->rank, w->rank, r->rank);
  l->steps = in->dim[l->batch_first];
  l->batch = in->dim[!l->batch_first];
  l->inputs = in->dim[2];
  l->hidden = r->dim[2];
  int64_t rows = l->cell->gates * l->hidden, said = ifd_node_int(node, "hidden_size", l->hidden);
  EXPECT(err, said == l->hidden, BAD_MODEL, "attribute hidden_size is %lld; R has %lld", (long long)said,
         (long long)l->hidden);
  EXPECT(err, w->dim[0] == l->directions && w->dim[1] == rows && w->dim[2] == l->inputs, BAD_INPUT,
         "W is not [%lld,%lld,%lld]", (long long)l->directions, (long long)rows, (long long)l->inputs);
  EXPECT(err, r->dim[0] == l->directions && r->dim[1] == rows, BAD_INPUT, "R is not [%lld,%lld,%lld]",
         (long long)l->directions, (long long)rows, (long long)l->hidden);
  return IFD_OK;
}

ifd_status ifd_recurrent_init(ifd_error *err, ifd_recurrent *l, const ifd_node *node, const ifd_shape *in,
                              const ifd_shape *w, const ifd_shape *r) {
  TRY(read_attributes(err, node, l));
  return read_sizes(err, l, node, in, w, r);
}

/* ---- one step ---- */

static double clipped(const ifd_recurrent *l, double v) {
  return v > l->clip ? l->clip : v < -l->clip ? -l->clip : v;
}

static double activate(const ifd_recurrent *l, const ifd_rnn_function *f, double v) {
  return f->call(clipped(l, v), f->alpha, f->beta);
}

/* Rows of the recurrence weights, and its bias, of a gate. */
static const double *recurrence(const ifd_recurrent *l, int direction, int gate) {
  return l->r + (direction * l->cell->gates + gate) * l->hidden * l->hidden;
}
static double bias_of(const ifd_recurrent *l, int direction, bool recurrent, int gate, int64_t j) {
  return l->b ? l->b[((direction * 2 + recurrent) * l->cell->gates + gate) * l->hidden + j] : 0;
}

static double dot(const double *a, const double *b, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; i++) sum += a[i] * b[i];
  return sum;
}

/* out[j] = R_gate[j] · h + Rb_gate[j] */
static void recur(const ifd_recurrent *l, int direction, int gate, const double *h, double *out) {
  const double *r = recurrence(l, direction, gate);
  for (int64_t j = 0; j < l->hidden; j++)
    out[j] = dot(r + j * l->hidden, h, l->hidden) + bias_of(l, direction, true, gate, j);
}

static void rnn_step(const ifd_recurrent *l, int d, const double *x_part, double *h, double *c) {
  (void)c;
  recur(l, d, 0, h, l->gate[0]);
  for (int64_t j = 0; j < l->hidden; j++) h[j] = activate(l, &l->f[d][0], x_part[j] + l->gate[0][j]);
}

static void gru_step(const ifd_recurrent *l, int d, const double *x_part, double *h, double *c) {
  (void)c;
  enum { Z, R, H };
  int64_t n = l->hidden;
  double *z = l->gate[Z], *r = l->gate[R], *candidate = l->gate[H];
  recur(l, d, Z, h, z);
  recur(l, d, R, h, r);
  for (int64_t j = 0; j < n; j++) {
    z[j] = activate(l, &l->f[d][0], x_part[Z * n + j] + z[j]);
    r[j] = activate(l, &l->f[d][0], x_part[R * n + j] + r[j]);
    l->reset[j] = r[j] * h[j];
  }
  recur(l, d, H, l->linear_before_reset ? h : l->reset, candidate);
  for (int64_t j = 0; j < n; j++) {
    double recurrent = l->linear_before_reset ? r[j] * candidate[j] : candidate[j];
    candidate[j] = activate(l, &l->f[d][1], x_part[H * n + j] + recurrent);
  }
  for (int64_t j = 0; j < n; j++) h[j] = (1 - z[j]) * candidate[j] + z[j] * h[j];
}

static void lstm_step(const ifd_recurrent *l, int d, const double *x_part, double *h, double *c) {
  enum { I, O, F, C };
  int64_t n = l->hidden;
  const ifd_rnn_function *f = l->f[d];
  const double *p = l->p ? l->p + d * 3 * n : NULL;
#define PEEP(gate) (p ? p[(gate)*n + j] * c[j] : 0)
  for (int g = 0; g < 4; g++) {
    recur(l, d, g, h, l->gate[g]);
    for (int64_t j = 0; j < n; j++) l->gate[g][j] += x_part[g * n + j];
  }
  for (int64_t j = 0; j < n; j++) {
    double in = activate(l, &f[0], l->gate[I][j] + PEEP(I));
    double forget = l->input_forget ? 1 - in : activate(l, &f[0], l->gate[F][j] + PEEP(F));
    c[j] = forget * c[j] + in * activate(l, &f[1], l->gate[C][j]);
    h[j] = activate(l, &f[0], l->gate[O][j] + PEEP(O)) * activate(l, &f[2], c[j]);
  }
#undef PEEP
}

const ifd_rnn_cell ifd_simple_cell = {1, 1, {"Tanh"}, rnn_step};
const ifd_rnn_cell ifd_gru_cell = {3, 2, {"Sigmoid", "Tanh"}, gru_step};
const ifd_rnn_cell ifd_lstm_cell = {4, 3, {"Sigmoid", "Tanh", "Tanh"}, lstm_step};

/* ---- a sequence ---- */

/* Places in X and Y of step t of sequence b, and of its states, by layout. */
static const double *input_at(const ifd_recurrent *l, int64_t t, int64_t b) {
  return l->x + (l->batch_first ? b * l->steps + t : t * l->batch + b) * l->inputs;
}
static double *output_at(const ifd_recurrent *l, int64_t t, int64_t d, int64_t b) {
  int64_t at =
      l->batch_first ? (b * l->steps + t) * l->directions + d : (t * l->directions + d) * l->batch + b;
  return l->y + at * l->hidden;
}
int64_t ifd_recurrent_state(const ifd_recurrent *l, int64_t d, int64_t b) {
  return (l->batch_first ? b * l->directions + d : d * l->batch + b) * l->hidden;
}

/* x_part = W x + Wb for every gate. */
static void project(const ifd_recurrent *l, int d, const double *x) {
  const double *w = l->w + d * l->cell->gates * l->hidden * l->inputs;
  for (int g = 0; g < l->cell->gates; g++)
    for (int64_t j = 0; j < l->hidden; j++, w += l->inputs)
      l->x_part[g * l->hidden + j] = dot(w, x, l->inputs) + bias_of(l, d, false, g, j);
}

void ifd_recurrent_step(const ifd_recurrent *l, int d, int64_t b, int64_t t) {
  double *h = l->y_h + ifd_recurrent_state(l, d, b), *c = l->y_c + ifd_recurrent_state(l, d, b);
  project(l, d, input_at(l, t, b));
  l->cell->step(l, d, l->x_part, h, c);
  memcpy(output_at(l, t, d, b), h, (size_t)l->hidden * sizeof *h);
}

/* ---- inputs and outputs ---- */

static ifd_status read_lengths(ifd_eval *x, ifd_recurrent *l) {
  int64_t n;
  if (!ifd_eval_has(x, 4)) return IFD_OK;
  TRY(ifd_eval_ints(x, &l->lengths, &n, 4));
  EXPECT(x->err, n == l->batch, BAD_INPUT, "%lld sequence_lens for a batch of %lld", (long long)n,
         (long long)l->batch);
  for (int64_t i = 0; i < n; i++)
    EXPECT(x->err, l->lengths[i] >= 0 && l->lengths[i] <= l->steps, BAD_INPUT,
           "a sequence of length %lld; there are %lld steps", (long long)l->lengths[i], (long long)l->steps);
  return IFD_OK;
}

ifd_status ifd_recurrent_read(ifd_eval *x, ifd_recurrent *l) {
  int64_t states = l->directions * l->batch * l->hidden, gates = l->cell->gates * l->hidden;
  TRY(ifd_eval_f64(x, &l->x, 0));
  TRY(ifd_eval_f64(x, &l->w, 1));
  TRY(ifd_eval_f64(x, &l->r, 2));
  TRY(ifd_eval_find_f64_n(x, &l->b, 3, l->directions * 2 * gates, "B"));
  TRY(read_lengths(x, l));
  TRY(ifd_eval_find_f64_n(x, &l->initial_h, 5, states, "initial_h"));
  TRY(ifd_eval_find_f64_n(x, &l->initial_c, 6, states, "initial_c"));
  TRY(ifd_eval_find_f64_n(x, &l->p, 7, l->directions * 3 * l->hidden, "P"));
  for (int g = 0; g < l->cell->gates; g++) TRY(ifd_eval_zeros(x, &l->gate[g], l->hidden));
  TRY(ifd_eval_zeros(x, &l->x_part, gates));
  TRY(ifd_eval_zeros(x, &l->reset, l->hidden));
  TRY(ifd_eval_zeros(x, &l->y_h, states));
  return ifd_eval_zeros(x, &l->y_c, states);
}

static ifd_shape output_shape(const ifd_recurrent *l) {
  if (l->batch_first) return (ifd_shape){4, {l->batch, l->steps, l->directions, l->hidden}};
  return (ifd_shape){4, {l->steps, l->directions, l->batch, l->hidden}};
}
static ifd_shape state_shape(const ifd_recurrent *l) {
  if (l->batch_first) return (ifd_shape){3, {l->batch, l->directions, l->hidden}};
  return (ifd_shape){3, {l->directions, l->batch, l->hidden}};
}

ifd_status ifd_recurrent_begin(ifd_eval *x, ifd_recurrent *l) {
  ifd_shape y = output_shape(l);
  size_t states = (size_t)(l->directions * l->batch * l->hidden) * sizeof(double);
  TRY(ifd_shape_check(x->err, &y, sizeof(double)));
  if (l->initial_h) memcpy(l->y_h, l->initial_h, states);
  if (l->initial_c) memcpy(l->y_c, l->initial_c, states);
  return ifd_eval_zeros(x, &l->y, ifd_shape_count(&y));
}

ifd_status ifd_recurrent_put(ifd_eval *x, const ifd_recurrent *l) {
  ifd_shape y = output_shape(l), state = state_shape(l);
  TRY(ifd_eval_put_f64(x, 0, ifd_eval_dtype(x, 0), &y, l->y));
  TRY(ifd_eval_put_f64(x, 1, ifd_eval_dtype(x, 0), &state, l->y_h));
  return ifd_eval_put_f64(x, 2, ifd_eval_dtype(x, 0), &state, l->y_c);
}
