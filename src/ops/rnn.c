/* Recurrent layers: RNN, GRU and LSTM in any direction and layout. A sequence of the batch is computed alone,
 * step by step, in double; past its length (sequence_lens) outputs are zero and the states stay. The reverse
 * direction begins at the last step of each sequence. */
#include <math.h>
#include <string.h>
#include <strings.h>

#include "ops/shared/elementwise.h"
#include "ops/shared/quant_work.h"
#include "ops/shared/rnn_work.h"
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

typedef struct function {
  const char *name;
  ifd_rnn_act act; /* the kernels' number for it */
  double (*call)(double v, double alpha, double beta);
  bool has_alpha, has_beta; /* takes the next value of activation_alpha, activation_beta */
  double alpha, beta;       /* where the node gives none: the defaults of the operator of that name */
} function;

static const function functions[] = {
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

static const function *find_function(ifd_str name) {
  for (const function *f = functions; f->name; f++)
    if (strlen(f->name) == name.len && strncasecmp(f->name, name.s, name.len) == 0) return f;
  return NULL;
}

/* ---- the layer ---- */

enum { MAX_GATES = 4, MAX_FUNCTIONS = 3, MAX_DIRECTIONS = 2 };

typedef struct layer layer;
typedef struct cell {
  int gates, n_functions;
  const char *defaults[MAX_FUNCTIONS];
  /* One step of one sequence: x_part has a value for each gate and neuron, W x + Wb; h and c become the new
   * states. */
  void (*step)(const layer *l, int direction, const double *x_part, double *h, double *c);
} cell;

struct layer {
  const cell *cell;
  int64_t steps, batch, inputs, hidden, directions;
  bool batch_first, reverse; /* reverse: the first direction runs backward */
  bool linear_before_reset, input_forget;
  double clip;
  function f[MAX_DIRECTIONS][MAX_FUNCTIONS];
  const double *x, *w, *r, *b, *initial_h, *initial_c, *p;
  const int64_t *lengths;
  double *gate[MAX_GATES], *x_part, *reset; /* of one step */
  double *y, *y_h, *y_c;
};

static const char *direction_of(const ifd_node *node, int64_t *directions, bool *reverse) {
  *reverse = ifd_node_string_is(node, "direction", "forward", "reverse");
  bool both = ifd_node_string_is(node, "direction", "forward", "bidirectional");
  *directions = both ? 2 : 1;
  return both || *reverse || ifd_node_string_is(node, "direction", "forward", "forward")
             ? NULL
             : "attribute direction is not forward, reverse or bidirectional";
}

static ifd_status read_functions(ifd_error *err, const ifd_node *node, layer *l) {
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
    const function *f = find_function(name);
    EXPECT(err, f, BAD_MODEL, "attribute activations has '%.*s', which is no activation function",
           (int)(name.len < 40 ? name.len : 40), name.s);
    function *to = &l->f[i / n][i % n];
    *to = *f;
    if (f->has_alpha && used_alpha < n_alpha) to->alpha = alpha[used_alpha++];
    if (f->has_beta && used_beta < n_beta) to->beta = beta[used_beta++];
  }
  return IFD_OK;
}

static ifd_status read_attributes(ifd_error *err, const ifd_node *node, layer *l) {
  const char *wrong = direction_of(node, &l->directions, &l->reverse);
  EXPECT(err, !wrong, BAD_MODEL, "%s", wrong);
  const ifd_attr *clip = ifd_node_find_attr(node, "clip");
  l->clip = clip ? ifd_node_float(node, "clip", 0) : INFINITY;
  EXPECT(err, l->clip >= 0, BAD_MODEL, "attribute clip is %g", l->clip);
  l->batch_first = ifd_node_int(node, "layout", 0) != 0;
  l->linear_before_reset = ifd_node_int(node, "linear_before_reset", 0) != 0;
  l->input_forget = ifd_node_int(node, "input_forget", 0) != 0;
  return read_functions(err, node, l);
}

/* ---- one step ---- */

static double clipped(const layer *l, double v) {
  return v > l->clip ? l->clip : v < -l->clip ? -l->clip : v;
}

static double activate(const layer *l, const function *f, double v) {
  return f->call(clipped(l, v), f->alpha, f->beta);
}

/* Rows of the recurrence weights, and its bias, of a gate. */
static const double *recurrence(const layer *l, int direction, int gate) {
  return l->r + (direction * l->cell->gates + gate) * l->hidden * l->hidden;
}
static double bias_of(const layer *l, int direction, bool recurrent, int gate, int64_t j) {
  return l->b ? l->b[((direction * 2 + recurrent) * l->cell->gates + gate) * l->hidden + j] : 0;
}

static double dot(const double *a, const double *b, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; i++) sum += a[i] * b[i];
  return sum;
}

/* out[j] = R_gate[j] · h + Rb_gate[j] */
static void recur(const layer *l, int direction, int gate, const double *h, double *out) {
  const double *r = recurrence(l, direction, gate);
  for (int64_t j = 0; j < l->hidden; j++)
    out[j] = dot(r + j * l->hidden, h, l->hidden) + bias_of(l, direction, true, gate, j);
}

static void rnn_step(const layer *l, int d, const double *x_part, double *h, double *c) {
  (void)c;
  recur(l, d, 0, h, l->gate[0]);
  for (int64_t j = 0; j < l->hidden; j++) h[j] = activate(l, &l->f[d][0], x_part[j] + l->gate[0][j]);
}

static void gru_step(const layer *l, int d, const double *x_part, double *h, double *c) {
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

static void lstm_step(const layer *l, int d, const double *x_part, double *h, double *c) {
  enum { I, O, F, C };
  int64_t n = l->hidden;
  const function *f = l->f[d];
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

static const cell rnn_cell = {1, 1, {"Tanh"}, rnn_step};
static const cell gru_cell = {3, 2, {"Sigmoid", "Tanh"}, gru_step};
static const cell lstm_cell = {4, 3, {"Sigmoid", "Tanh", "Tanh"}, lstm_step};

/* ---- a sequence ---- */

/* Places in X and Y of step t of sequence b, and of its states, by layout. */
static const double *input_at(const layer *l, int64_t t, int64_t b) {
  return l->x + (l->batch_first ? b * l->steps + t : t * l->batch + b) * l->inputs;
}
static double *output_at(const layer *l, int64_t t, int64_t d, int64_t b) {
  int64_t at =
      l->batch_first ? (b * l->steps + t) * l->directions + d : (t * l->directions + d) * l->batch + b;
  return l->y + at * l->hidden;
}
static int64_t state_at(const layer *l, int64_t d, int64_t b) {
  return (l->batch_first ? b * l->directions + d : d * l->batch + b) * l->hidden;
}

/* x_part = W x + Wb for every gate. */
static void project(const layer *l, int d, const double *x) {
  const double *w = l->w + d * l->cell->gates * l->hidden * l->inputs;
  for (int g = 0; g < l->cell->gates; g++)
    for (int64_t j = 0; j < l->hidden; j++, w += l->inputs)
      l->x_part[g * l->hidden + j] = dot(w, x, l->inputs) + bias_of(l, d, false, g, j);
}

static void run_sequence(const layer *l, int d, int64_t b) {
  bool backward = d == 1 || l->reverse;
  int64_t length = l->lengths ? l->lengths[b] : l->steps, bytes = l->hidden * (int64_t)sizeof(double);
  double *h = l->y_h + state_at(l, d, b), *c = l->y_c + state_at(l, d, b);
  if (l->initial_h) memcpy(h, l->initial_h + state_at(l, d, b), (size_t)bytes);
  if (l->initial_c) memcpy(c, l->initial_c + state_at(l, d, b), (size_t)bytes);
  for (int64_t i = 0; i < length; i++) {
    int64_t t = backward ? length - 1 - i : i;
    project(l, d, input_at(l, t, b));
    l->cell->step(l, d, l->x_part, h, c);
    memcpy(output_at(l, t, d, b), h, (size_t)bytes);
  }
}

/* ---- the operators ---- */

static ifd_status infer_layer(ifd_infer *x, int gates) {
  int64_t directions;
  bool reverse, batch_first = ifd_node_int(x->node, "layout", 0) != 0;
  direction_of(x->node, &directions, &reverse);
  ifd_dim steps = ifd_dim_unknown(x->dims), batch = ifd_dim_unknown(x->dims),
          hidden = ifd_dim_unknown(x->dims);
  if (ifd_infer_rank(x, 0) == 3) {
    steps = ifd_infer_dim(x, 0, batch_first);
    batch = ifd_infer_dim(x, 0, !batch_first);
  }
  if (ifd_node_find_attr(x->node, "hidden_size")) {
    hidden = ifd_node_int(x->node, "hidden_size", 0);
    EXPECT(x->err, hidden > 0 && hidden <= INT32_MAX, BAD_MODEL, "attribute hidden_size is %lld",
           (long long)hidden);
  } else if (ifd_infer_rank(x, 2) == 3)
    hidden = ifd_infer_dim(x, 2, 2);
  else if (ifd_infer_rank(x, 1) == 3)
    hidden = ifd_dim_floor_div(x->dims, ifd_infer_dim(x, 1, 1), gates);
  const ifd_dim sequence_first_y[] = {steps, directions, batch, hidden};
  const ifd_dim batch_first_y[] = {batch, steps, directions, hidden};
  const ifd_dim state[] = {batch_first ? batch : directions, batch_first ? directions : batch, hidden};
  TRY(ifd_infer_tensor(x, 0, ifd_infer_dtype(x, 0), 4, batch_first ? batch_first_y : sequence_first_y));
  TRY(ifd_infer_tensor(x, 1, ifd_infer_dtype(x, 0), 3, state));
  return ifd_infer_tensor(x, 2, ifd_infer_dtype(x, 0), 3, state);
}

static ifd_status read_sizes(ifd_error *err, const ifd_node *node, layer *l, const ifd_shape *in,
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

static ifd_status read_lengths(ifd_eval *x, layer *l) {
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

static ifd_status read_inputs(ifd_eval *x, layer *l) {
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

static ifd_shape output_shape(const layer *l) {
  if (l->batch_first) return (ifd_shape){4, {l->batch, l->steps, l->directions, l->hidden}};
  return (ifd_shape){4, {l->steps, l->directions, l->batch, l->hidden}};
}
static ifd_shape state_shape(const layer *l) {
  if (l->batch_first) return (ifd_shape){3, {l->batch, l->directions, l->hidden}};
  return (ifd_shape){3, {l->directions, l->batch, l->hidden}};
}

static ifd_status make_y(ifd_eval *x, layer *l) {
  ifd_shape y = output_shape(l);
  TRY(ifd_shape_check(x->err, &y, sizeof(double)));
  return ifd_eval_zeros(x, &l->y, ifd_shape_count(&y));
}

static ifd_status put_outputs(ifd_eval *x, const layer *l) {
  ifd_shape y = output_shape(l), state = state_shape(l);
  TRY(ifd_eval_put_f64(x, 0, ifd_eval_dtype(x, 0), &y, l->y));
  TRY(ifd_eval_put_f64(x, 1, ifd_eval_dtype(x, 0), &state, l->y_h));
  return ifd_eval_put_f64(x, 2, ifd_eval_dtype(x, 0), &state, l->y_c);
}

static ifd_status eval_layer(ifd_eval *x, const cell *cell) {
  layer l = {.cell = cell};
  TRY(read_attributes(x->err, x->node, &l));
  TRY(read_sizes(x->err, x->node, &l, ifd_eval_shape(x, 0), ifd_eval_shape(x, 1), ifd_eval_shape(x, 2)));
  TRY(read_inputs(x, &l));
  TRY(make_y(x, &l));
  for (int d = 0; d < l.directions; d++)
    for (int64_t b = 0; b < l.batch; b++) run_sequence(&l, d, b);
  return put_outputs(x, &l);
}

/* ---- on quantized weights ---- */

/* com.microsoft.DynamicQuantizeLSTM, and infold.LSTM, which plans make of it: there W and R are floats, as
 * ONNX's LSTM has them, and so is X, quantized already. Of the former W [directions, inputs, 4 hidden] and R
 * [directions, hidden, 4 hidden] are bytes, with a scale and a zero point for each direction or each of its
 * columns. Before each product X, all of it, and H, of all sequences, are quantized as DynamicQuantizeLinear
 * does. */
enum { W_SCALE = 8, R_SCALE = 10 };

/* Real weights as LSTM has them: [directions, 4 hidden, columns]. */
static ifd_status dequantize(ifd_eval *x, const double **out, int i, int scale_at) {
  const ifd_shape *shape = ifd_eval_shape(x, i);
  const double *q, *scale, *zero;
  double *w;
  EXPECT(x->err, shape->rank == 3 && ifd_dtype_is_byte(ifd_eval_dtype(x, i)), BAD_INPUT,
         "input %d is not a tensor of three dimensions of 8-bit integers", i);
  int64_t directions = shape->dim[0], columns = shape->dim[1], rows = shape->dim[2];
  int64_t n = ifd_eval_has(x, scale_at) ? ifd_shape_count(ifd_eval_shape(x, scale_at)) : 0;
  EXPECT(x->err, n == directions || n == directions * rows, BAD_INPUT,
         "input %d has %lld elements; one for each direction or for each of its columns is needed", scale_at,
         (long long)n);
  TRY(ifd_eval_f64(x, &q, i));
  TRY(ifd_eval_find_f64_n(x, &scale, scale_at, n, "the scale"));
  TRY(ifd_eval_find_f64_n(x, &zero, scale_at + 1, n, "the zero point"));
  TRY(ifd_eval_zeros(x, &w, ifd_shape_count(shape)));
  for (int64_t d = 0; d < directions; d++)
    for (int64_t c = 0; c < columns; c++)
      for (int64_t r = 0; r < rows; r++) {
        int64_t s = n == directions ? d : d * rows + r;
        w[(d * rows + r) * columns + c] = (*q++ - (zero ? zero[s] : 0)) * scale[s];
      }
  *out = w;
  return IFD_OK;
}

/* What is left of n values once they are bytes: their range holds 0, and all is as in float. */
static void snap(double *to, const double *from, int64_t n, double low, double high) {
  float scale;
  uint8_t zero;
  ifd_quant_range((float)low, (float)high, &scale, &zero);
  for (int64_t i = 0; i < n; i++)
    to[i] = (fminf(fmaxf(rintf((float)from[i] / scale) + (float)zero, 0), 255) - (float)zero) * scale;
}

static void widen(double *low, double *high, const double *v, int64_t n) {
  for (int64_t i = 0; i < n; i++) {
    *low = fmin(*low, v[i]);
    *high = fmax(*high, v[i]);
  }
}

/* All sequences of a direction side by side; those that are over have no part in the range of H. */
static void run_quantized(const layer *l, int d, int64_t longest) {
  bool backward = d == 1 || l->reverse;
  for (int64_t i = 0; i < longest; i++) {
    double low = 0, high = 0;
    for (int64_t b = 0; b < l->batch; b++)
      if (i <= l->lengths[b]) widen(&low, &high, l->y_h + state_at(l, d, b), l->hidden);
    for (int64_t b = 0; b < l->batch; b++) {
      int64_t t = backward ? l->lengths[b] - 1 - i : i;
      double *h = l->y_h + state_at(l, d, b);
      if (i >= l->lengths[b]) continue;
      snap(h, h, l->hidden, low, high);
      project(l, d, input_at(l, t, b));
      l->cell->step(l, d, l->x_part, h, l->y_c + state_at(l, d, b));
      memcpy(output_at(l, t, d, b), h, (size_t)l->hidden * sizeof *h);
    }
  }
}

/* The domain has no schema: what ONNX's LSTM is promised is checked here. */
static ifd_status check_inputs(const ifd_eval *x) {
  static const int needed[] = {0, 1, 2, W_SCALE, R_SCALE};
  for (size_t i = 0; i < sizeof needed / sizeof *needed; i++)
    EXPECT(x->err, ifd_eval_has(x, needed[i]), BAD_MODEL, "input %d is missing", needed[i]);
  for (int i = 0; i < x->n_in; i++)
    EXPECT(x->err, !x->in[i] || (x->in[i]->kind == IFD_KIND_TENSOR && x->in[i]->tensor.dtype != IFD_STRING),
           BAD_INPUT, "input %d is not a tensor of numbers", i);
  EXPECT(x->err, ifd_dtype_is_float(ifd_eval_dtype(x, 0)), BAD_INPUT, "X is not of floats");
  return IFD_OK;
}

static ifd_shape swapped(const ifd_shape *s) {
  ifd_shape t = *s;
  if (s->rank == 3) t.dim[1] = s->dim[2], t.dim[2] = s->dim[1];
  return t;
}

/* Lengths of all sequences, given or not. */
static ifd_status set_lengths(ifd_eval *x, layer *l, int64_t *longest) {
  int64_t *all;
  *longest = 0;
  ALLOC(x->err, all, ifd_new_array(x->scratch, int64_t, l->batch));
  for (int64_t b = 0; b < l->batch; b++) {
    all[b] = l->lengths ? l->lengths[b] : l->steps;
    if (all[b] > *longest) *longest = all[b];
  }
  l->lengths = all;
  return IFD_OK;
}

/* X of the steps that some sequence takes. */
static ifd_status snap_input(ifd_eval *x, layer *l, int64_t longest) {
  int64_t n = longest * l->batch * l->inputs;
  double *snapped, low = 0, high = 0;
  TRY(ifd_eval_zeros(x, &snapped, n));
  widen(&low, &high, l->x, n);
  snap(snapped, l->x, n, low, high);
  l->x = snapped;
  return IFD_OK;
}

/* The layer's weights and X are as they are multiplied. */
static ifd_status eval_steps(ifd_eval *x, layer *l, int64_t longest) {
  const size_t states = (size_t)(l->directions * l->batch * l->hidden) * sizeof(double);
  TRY(make_y(x, l));
  if (l->initial_h) memcpy(l->y_h, l->initial_h, states);
  if (l->initial_c) memcpy(l->y_c, l->initial_c, states);
  for (int d = 0; d < l->directions; d++) run_quantized(l, d, longest);
  return put_outputs(x, l);
}

static ifd_status eval_quantized(ifd_eval *x) {
  layer l = {.cell = &lstm_cell};
  int64_t longest;
  TRY(check_inputs(x));
  ifd_shape w = swapped(ifd_eval_shape(x, 1)), r = swapped(ifd_eval_shape(x, 2));
  TRY(read_attributes(x->err, x->node, &l));
  EXPECT(x->err, !l.batch_first, UNSUPPORTED, "attribute layout is not 0");
  TRY(read_sizes(x->err, x->node, &l, ifd_eval_shape(x, 0), &w, &r));
  TRY(read_inputs(x, &l));
  TRY(dequantize(x, &l.w, 1, W_SCALE));
  TRY(dequantize(x, &l.r, 2, R_SCALE));
  TRY(set_lengths(x, &l, &longest));
  TRY(snap_input(x, &l, longest));
  return eval_steps(x, &l, longest);
}

static ifd_status eval_snapping(ifd_eval *x) {
  layer l = {.cell = &lstm_cell};
  int64_t longest;
  TRY(read_attributes(x->err, x->node, &l));
  TRY(read_sizes(x->err, x->node, &l, ifd_eval_shape(x, 0), ifd_eval_shape(x, 1), ifd_eval_shape(x, 2)));
  TRY(read_inputs(x, &l));
  TRY(set_lengths(x, &l, &longest));
  return eval_steps(x, &l, longest);
}

/* ---- on kernels ---- */

static void kernel_cell(const layer *l, int d, ifd_k_rnn_cell *to) {
  *to = (ifd_k_rnn_cell){.clip = (float)l->clip, .input_forget = l->input_forget};
  for (int i = 0; i < l->cell->n_functions; i++) {
    const function *f = &l->f[d][i];
    to->f[i].act = f->act;
    to->f[i].alpha = (float)f->alpha;
    to->f[i].beta = (float)f->beta;
  }
}

static ifd_status lower_layer(ifd_lower *x, const cell *cell, ifd_rnn_kind kind, bool snaps) {
  layer l = {.cell = cell};
  TRY(read_attributes(x->err, x->node, &l));
  TRY(read_sizes(x->err, x->node, &l, &x->in[0]->shape, &x->in[1]->shape, &x->in[2]->shape));
  ifd_rnn_layer k = {.kind = kind == IFD_RNN_GRU && l.linear_before_reset ? IFD_RNN_GRU_LINEAR : kind,
                     .gates = cell->gates,
                     .steps = l.steps,
                     .batch = l.batch,
                     .inputs = l.inputs,
                     .hidden = l.hidden,
                     .directions = l.directions,
                     .batch_first = l.batch_first,
                     .reverse = l.reverse,
                     .snaps = snaps};
  for (int d = 0; d < l.directions; d++) kernel_cell(&l, d, &k.cell[d]);
  return ifd_lower_rnn(x, &k);
}

/* Every step of every sequence takes all weights once. */
static double cost_rnn(const ifd_node *node, const ifd_shape *in, const ifd_shape *out) {
  (void)node, (void)out;
  double weights = 0;
  for (int i = 1; i <= 2; i++) {
    double n = 1;
    for (int a = 0; a < in[i].rank; a++) n *= (double)in[i].dim[a];
    weights += n;
  }
  return (double)in[0].dim[0] * (double)in[0].dim[1] * weights;
}

#define CELL(name, kind)                                                                                     \
  static ifd_status infer_##name(ifd_infer *x) { return infer_layer(x, name##_cell.gates); }                 \
  static ifd_status eval_##name(ifd_eval *x) { return eval_layer(x, &name##_cell); }                         \
  static ifd_status lower_##name(ifd_lower *x) { return lower_layer(x, &name##_cell, kind, false); }
CELL(rnn, IFD_RNN_SIMPLE)
CELL(gru, IFD_RNN_GRU)
CELL(lstm, IFD_RNN_LSTM)
static ifd_status lower_snapping(ifd_lower *x) { return lower_layer(x, &lstm_cell, IFD_RNN_LSTM, true); }

#define ROW(name_, cell)                                                                                     \
  {                                                                                                          \
    .name = name_, .since = 1, .infer = infer_##cell, .eval = eval_##cell, .lower = lower_##cell,            \
    .cost = cost_rnn                                                                                         \
  }
const ifd_op ifd_ops_rnn[] = {ROW("RNN", rnn),
                              ROW("GRU", gru),
                              ROW("LSTM", lstm),
                              {.name = "DynamicQuantizeLSTM",
                               .domain = "com.microsoft",
                               .since = 1,
                               .flags = IFD_OP_MIXES_BATCH,
                               .infer = infer_lstm,
                               .eval = eval_quantized,
                               .cost = cost_rnn},
                              {.name = "LSTM",
                               .domain = "infold",
                               .flags = IFD_OP_MIXES_BATCH,
                               .infer = infer_lstm,
                               .eval = eval_snapping,
                               .lower = lower_snapping,
                               .cost = cost_rnn},
                              {0}};
