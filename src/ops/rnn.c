/* RNN, GRU and LSTM, and LSTM on quantized weights. A sequence of the batch is computed alone; past its
 * length (sequence_lens) outputs are zero and the states stay. The reverse direction begins at the last step
 * of each sequence. */
#include <math.h>
#include <string.h>

#include "ops/shared/quant_work.h"
#include "ops/shared/recurrent.h"
#include "ops/shared/values.h"

/* ---- the operators ---- */

static ifd_status infer_layer(ifd_infer *x, int gates) {
  int64_t directions;
  bool reverse, batch_first = ifd_node_int(x->node, "layout", 0) != 0;
  ifd_rnn_direction(x->node, &directions, &reverse);
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

static void run_sequence(const ifd_recurrent *l, int d, int64_t b) {
  bool backward = d == 1 || l->reverse;
  int64_t length = l->lengths ? l->lengths[b] : l->steps;
  for (int64_t i = 0; i < length; i++) ifd_recurrent_step(l, d, b, backward ? length - 1 - i : i);
}

static ifd_status eval_layer(ifd_eval *x, const ifd_rnn_cell *cell) {
  ifd_recurrent l = {.cell = cell};
  TRY(ifd_recurrent_init(x->err, &l, x->node, ifd_eval_shape(x, 0), ifd_eval_shape(x, 1),
                         ifd_eval_shape(x, 2)));
  TRY(ifd_recurrent_read(x, &l));
  TRY(ifd_recurrent_begin(x, &l));
  for (int d = 0; d < l.directions; d++)
    for (int64_t b = 0; b < l.batch; b++) run_sequence(&l, d, b);
  return ifd_recurrent_put(x, &l);
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
static void run_quantized(const ifd_recurrent *l, int d, int64_t longest) {
  bool backward = d == 1 || l->reverse;
  for (int64_t i = 0; i < longest; i++) {
    double low = 0, high = 0;
    for (int64_t b = 0; b < l->batch; b++)
      if (i <= l->lengths[b]) widen(&low, &high, l->y_h + ifd_recurrent_state(l, d, b), l->hidden);
    for (int64_t b = 0; b < l->batch; b++) {
      int64_t t = backward ? l->lengths[b] - 1 - i : i;
      double *h = l->y_h + ifd_recurrent_state(l, d, b);
      if (i >= l->lengths[b]) continue;
      snap(h, h, l->hidden, low, high);
      ifd_recurrent_step(l, d, b, t);
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
static ifd_status set_lengths(ifd_eval *x, ifd_recurrent *l, int64_t *longest) {
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
static ifd_status snap_input(ifd_eval *x, ifd_recurrent *l, int64_t longest) {
  int64_t n = longest * l->batch * l->inputs;
  double *snapped, low = 0, high = 0;
  TRY(ifd_eval_zeros(x, &snapped, n));
  widen(&low, &high, l->x, n);
  snap(snapped, l->x, n, low, high);
  l->x = snapped;
  return IFD_OK;
}

/* The layer's weights and X are as they are multiplied. */
static ifd_status eval_steps(ifd_eval *x, ifd_recurrent *l, int64_t longest) {
  TRY(ifd_recurrent_begin(x, l));
  for (int d = 0; d < l->directions; d++) run_quantized(l, d, longest);
  return ifd_recurrent_put(x, l);
}

static ifd_status eval_quantized(ifd_eval *x) {
  ifd_recurrent l = {.cell = &ifd_lstm_cell};
  int64_t longest;
  TRY(check_inputs(x));
  ifd_shape w = swapped(ifd_eval_shape(x, 1)), r = swapped(ifd_eval_shape(x, 2));
  EXPECT(x->err, !ifd_node_int(x->node, "layout", 0), UNSUPPORTED, "attribute layout is not 0");
  TRY(ifd_recurrent_init(x->err, &l, x->node, ifd_eval_shape(x, 0), &w, &r));
  TRY(ifd_recurrent_read(x, &l));
  TRY(dequantize(x, &l.w, 1, W_SCALE));
  TRY(dequantize(x, &l.r, 2, R_SCALE));
  TRY(set_lengths(x, &l, &longest));
  TRY(snap_input(x, &l, longest));
  return eval_steps(x, &l, longest);
}

static ifd_status eval_snapping(ifd_eval *x) {
  ifd_recurrent l = {.cell = &ifd_lstm_cell};
  int64_t longest;
  TRY(ifd_recurrent_init(x->err, &l, x->node, ifd_eval_shape(x, 0), ifd_eval_shape(x, 1),
                         ifd_eval_shape(x, 2)));
  TRY(ifd_recurrent_read(x, &l));
  TRY(set_lengths(x, &l, &longest));
  return eval_steps(x, &l, longest);
}

/* ---- on kernels ---- */

static void kernel_cell(const ifd_recurrent *l, int d, ifd_k_rnn_cell *to) {
  *to = (ifd_k_rnn_cell){.clip = (float)l->clip, .input_forget = l->input_forget};
  for (int i = 0; i < l->cell->n_functions; i++) {
    const ifd_rnn_function *f = &l->f[d][i];
    to->f[i].act = f->act;
    to->f[i].alpha = (float)f->alpha;
    to->f[i].beta = (float)f->beta;
  }
}

static ifd_status lower_layer(ifd_lower *x, const ifd_rnn_cell *cell, ifd_rnn_kind kind, bool snaps) {
  ifd_recurrent l = {.cell = cell};
  TRY(ifd_recurrent_init(x->err, &l, x->node, &x->in[0]->shape, &x->in[1]->shape, &x->in[2]->shape));
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
  double weights = (double)ifd_shape_count(&in[1]) + (double)ifd_shape_count(&in[2]);
  return (double)in[0].dim[0] * (double)in[0].dim[1] * weights;
}

#define CELL(name, kind)                                                                                     \
  static ifd_status infer_##name(ifd_infer *x) { return infer_layer(x, ifd_##name##_cell.gates); }           \
  static ifd_status eval_##name(ifd_eval *x) { return eval_layer(x, &ifd_##name##_cell); }                   \
  static ifd_status lower_##name(ifd_lower *x) { return lower_layer(x, &ifd_##name##_cell, kind, false); }
CELL(simple, IFD_RNN_SIMPLE)
CELL(gru, IFD_RNN_GRU)
CELL(lstm, IFD_RNN_LSTM)
static ifd_status lower_snapping(ifd_lower *x) { return lower_layer(x, &ifd_lstm_cell, IFD_RNN_LSTM, true); }

#define ROW(name_, cell)                                                                                     \
  {                                                                                                          \
    .name = name_, .since = 1, .infer = infer_##cell, .eval = eval_##cell, .lower = lower_##cell,            \
    .cost = cost_rnn                                                                                         \
  }
const ifd_op ifd_ops_rnn[] = {ROW("RNN", simple),
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
