#include "ops/shared/rnn_work.h"

#include "kernels/eltwise/eltwise.h"
#include "kernels/kernels.h"
#include "kernels/reduce/reduce.h"
#include "ops/shared/gemm_work.h"
#include "ops/shared/quant_work.h"

#include <string.h>

enum { X, W, R, B, LENGTHS, INITIAL_H, INITIAL_C, P, N_INPUTS };
enum { Y, Y_H, Y_C, N_OUTPUTS };
enum { TASK_SEQUENCES = 16, MAX_PARTS = 2, MAX_DIRECTIONS = 2 };

/* Rows of R whose products are needed at once: all gates, or of a GRU that resets before it multiplies z and
 * r, then h. */
typedef struct part {
  int64_t rows, first; /* of R */
  int64_t packed;      /* where its packed form begins, in floats */
  ifd_k_gemm_grid grid;
} part;

typedef struct recurrence recurrence;
typedef struct steps steps;
struct recurrence {
  const struct ifd_k_gemm_table *gemm;
  const struct ifd_k_rnn_table *kernels;
  const struct ifd_k_reduce_table *reduce;
  ifd_el_quantize_row *quantize;
  ifd_el_dequantize_row *dequantize;
  void (*step)(const steps *s);
  ifd_rnn_layer l;
  bool has[N_INPUTS], wants[N_OUTPUTS];
  int n_parts;
  part parts[MAX_PARTS];
  const float *packed; /* R; NULL: it is not constant */
  int64_t packed_direction;
  int64_t tasks; /* of a direction */
  /* places in scratch, in floats: states, products, what a GRU keeps between its halves, the gemm's own */
  int64_t at_h, at_c, at_r, at_z, at_reset, at_candidate, at_snapped, at_bytes, at_gemm, scratch;
};

/* A task: its sequences, their lengths, and at each step their rows of the inputs' part (NULL: ended). */
struct steps {
  const recurrence *p;
  const ifd_args *args;
  int d;
  int64_t first, n;
  int64_t length[TASK_SEQUENCES];
  const float *x[TASK_SEQUENCES];
  float *h, *c, *r, *z, *reset, *candidate;
  bool backward; /* this time the last columns of R come first */
};

/* ---- one step ---- */

/* to = from · Rᵀ of a part, plus its Rb if asked; rows are dense. */
static void multiply(const steps *s, int index, const float *from, float *to, bool bias) {
  const recurrence *p = s->p;
  const part *part = &p->parts[index];
  int64_t hidden = p->l.hidden, all = p->l.gates * hidden;
  const float *packed = p->packed ? p->packed + s->d * p->packed_direction + part->packed : NULL;
  ifd_k_epilogue e = IFD_K_EPILOGUE_NONE;
  if (bias && p->has[B]) e.bias = (const float *)s->args->in[B] + (s->d * 2 + 1) * all + part->first;
  if (packed && s->n <= IFD_RNN_MAX_ROWS) {
    p->kernels->recur(from, (size_t)s->n, (size_t)hidden, packed, (size_t)part->rows, e.bias, to,
                      s->backward);
    return;
  }
  ifd_k_product g = {.m = s->n,
                     .n = part->rows,
                     .k = hidden,
                     .a = from,
                     .a_rs = hidden,
                     .a_cs = 1,
                     .b = (const float *)s->args->in[R] + (s->d * all + part->first) * hidden,
                     .b_rs = 1,
                     .b_cs = hidden,
                     .c = to,
                     .c_rs = part->rows,
                     .epilogue = &e};
  if (packed) g.b = packed, g.b_rs = g.b_cs = 0;
  for (int64_t t = 0; t < part->grid.n_tasks; t++)
    if (t % part->grid.n_m * part->grid.m_step < s->n)
      ifd_k_gemm_run(p->gemm, &g, &part->grid, t, (float *)s->args->scratch + p->at_gemm);
}

static void step_simple(const steps *s) {
  int64_t n = s->p->l.hidden;
  multiply(s, 0, s->h, s->r, false);
  for (int64_t i = 0; i < s->n; i++)
    if (s->x[i]) s->p->kernels->rnn(&s->p->l.cell[s->d], s->x[i], s->r + i * n, s->h + i * n, (size_t)n);
}

/* The states as they are multiplied. A NaN is left to the evaluation. */
static const float *snapped(const steps *s) {
  const recurrence *p = s->p;
  if (!p->l.snaps) return s->h;
  const size_t n = (size_t)(s->n * p->l.hidden);
  float *to = (float *)s->args->scratch + p->at_snapped, low, high, scale;
  void *bytes = (float *)s->args->scratch + p->at_bytes;
  uint8_t zero;
  p->reduce->rows(IFD_REDUCE_Min, s->h, 0, 1, n, &low);
  p->reduce->rows(IFD_REDUCE_Max, s->h, 0, 1, n, &high);
  if (low != low || high != high) atomic_store(s->args->failed, 1);
  ifd_quant_range(fminf(low, 0), fmaxf(high, 0), &scale, &zero);
  p->quantize(s->h, &scale, 0, &zero, 0, bytes, n);
  p->dequantize(bytes, &scale, 0, &zero, 0, to, n);
  return to;
}

static void step_lstm(const steps *s) {
  int64_t n = s->p->l.hidden;
  const float *peephole = s->p->has[P] ? (const float *)s->args->in[P] + s->d * 3 * n : NULL;
  multiply(s, 0, snapped(s), s->r, false);
  for (int64_t i = 0; i < s->n; i++)
    if (s->x[i])
      s->p->kernels->lstm(&s->p->l.cell[s->d], s->x[i], s->r + i * 4 * n, peephole, s->c + i * n,
                          s->c + i * n, s->h + i * n, (size_t)n);
}

static void step_gru_linear(const steps *s) {
  int64_t n = s->p->l.hidden;
  multiply(s, 0, s->h, s->r, true);
  for (int64_t i = 0; i < s->n; i++)
    if (s->x[i])
      s->p->kernels->gru_linear(&s->p->l.cell[s->d], s->x[i], s->r + i * 3 * n, s->h + i * n, s->h + i * n,
                                (size_t)n);
}

static void step_gru(const steps *s) {
  const ifd_k_rnn_cell *cell = &s->p->l.cell[s->d];
  int64_t n = s->p->l.hidden;
  multiply(s, 0, s->h, s->r, false);
  for (int64_t i = 0; i < s->n; i++)
    if (s->x[i])
      s->p->kernels->gru_reset(cell, s->x[i], s->r + i * 2 * n, s->h + i * n, s->z + i * n, s->reset + i * n,
                               (size_t)n);
  multiply(s, 1, s->reset, s->candidate, false);
  for (int64_t i = 0; i < s->n; i++)
    if (s->x[i])
      s->p->kernels->gru_update(cell, s->x[i] + 2 * n, s->candidate + i * n, s->z + i * n, s->h + i * n,
                                s->h + i * n, (size_t)n);
}

/* ---- the steps of a task ---- */

/* Places of step t of sequence b in the inputs' part and in Y, and of its states, in floats. */
static int64_t input_at(const recurrence *p, int d, int64_t t, int64_t b) {
  const ifd_rnn_layer *l = &p->l;
  int64_t row = l->batch_first ? b * l->steps + t : t * l->batch + b;
  return (d * l->steps * l->batch + row) * l->gates * l->hidden;
}
static int64_t output_at(const recurrence *p, int d, int64_t t, int64_t b) {
  const ifd_rnn_layer *l = &p->l;
  int64_t row =
      l->batch_first ? (b * l->steps + t) * l->directions + d : (t * l->directions + d) * l->batch + b;
  return row * l->hidden;
}
static int64_t state_at(const recurrence *p, int d, int64_t b) {
  const ifd_rnn_layer *l = &p->l;
  return (l->batch_first ? b * l->directions + d : d * l->batch + b) * l->hidden;
}

static void read_state(const steps *s, int input, float *to) {
  const recurrence *p = s->p;
  size_t bytes = sizeof(float) * (size_t)p->l.hidden;
  for (int64_t i = 0; i < s->n; i++, to += p->l.hidden)
    if (p->has[input])
      memcpy(to, (const float *)s->args->in[input] + state_at(p, s->d, s->first + i), bytes);
    else
      memset(to, 0, bytes);
}

static void write_state(const steps *s, int output, const float *from) {
  const recurrence *p = s->p;
  for (int64_t i = 0; i < s->n && p->wants[output]; i++)
    memcpy((float *)s->args->out[output] + state_at(p, s->d, s->first + i), from + i * p->l.hidden,
           sizeof(float) * (size_t)p->l.hidden);
}

/* Lengths of the task's sequences; false when one is not within the steps. */
static bool read_lengths(steps *s, int64_t *longest) {
  const recurrence *p = s->p;
  *longest = 0;
  for (int64_t i = 0; i < s->n; i++) {
    int64_t n = p->has[LENGTHS] ? ((const int32_t *)s->args->in[LENGTHS])[s->first + i] : p->l.steps;
    if (n < 0 || n > p->l.steps) return false;
    s->length[i] = n;
    *longest = ifd_max_i64(*longest, n);
  }
  return true;
}

/* Step number i of each sequence: which step of X it is. */
static int64_t step_of(const steps *s, int64_t sequence, int64_t i) {
  bool backward = s->d == 1 || s->p->l.reverse;
  return backward ? s->length[sequence] - 1 - i : i;
}

static void write_y(const steps *s, int64_t i) {
  const recurrence *p = s->p;
  for (int64_t k = 0; k < s->n && p->wants[Y]; k++)
    if (s->x[k])
      memcpy((float *)s->args->out[Y] + output_at(p, s->d, step_of(s, k, i), s->first + k),
             s->h + k * p->l.hidden, sizeof(float) * (size_t)p->l.hidden);
}

/* Y is zero past a sequence's length. */
static void clear_rest(const steps *s) {
  const recurrence *p = s->p;
  for (int64_t k = 0; k < s->n && p->wants[Y]; k++)
    for (int64_t t = s->length[k]; t < p->l.steps; t++)
      memset((float *)s->args->out[Y] + output_at(p, s->d, t, s->first + k), 0,
             sizeof(float) * (size_t)p->l.hidden);
}

static void run_steps(const void *params, const ifd_args *args, int task) {
  const recurrence *p = params;
  float *scratch = args->scratch;
  int64_t first = task % p->tasks * TASK_SEQUENCES, longest;
  steps s = {.p = p,
             .args = args,
             .d = (int)(task / p->tasks),
             .first = first,
             .n = ifd_min_i64(TASK_SEQUENCES, p->l.batch - first),
             .h = scratch + p->at_h,
             .c = scratch + p->at_c,
             .r = scratch + p->at_r,
             .z = scratch + p->at_z,
             .reset = scratch + p->at_reset,
             .candidate = scratch + p->at_candidate};
  if (!read_lengths(&s, &longest)) {
    atomic_store(args->failed, 1);
    return;
  }
  read_state(&s, INITIAL_H, s.h);
  if (p->l.kind == IFD_RNN_LSTM) read_state(&s, INITIAL_C, s.c);
  if (p->l.kind == IFD_RNN_GRU) /* rows of ended sequences are multiplied, too */
    memset(s.reset, 0, sizeof(float) * (size_t)(s.n * p->l.hidden));
  for (int64_t i = 0; i < longest; i++) {
    for (int64_t k = 0; k < s.n; k++)
      s.x[k] = i < s.length[k]
                   ? (const float *)args->shared + input_at(p, s.d, step_of(&s, k, i), s.first + k)
                   : NULL;
    p->step(&s);
    s.backward = !s.backward;
    write_y(&s, i);
  }
  clear_rest(&s);
  write_state(&s, Y_H, s.h);
  if (p->l.kind == IFD_RNN_LSTM) write_state(&s, Y_C, s.c);
}

/* ---- the inputs' part ---- */

/* Biases of each direction after the inputs' part: Wb, and Rb but where it belongs to the recurrence. */
typedef struct biases {
  int64_t at, directions, n;
  bool recurrent;
} biases;

static void run_biases(const void *params, const ifd_args *args, int task) {
  const biases *p = params;
  (void)task;
  for (int64_t d = 0; d < p->directions; d++) {
    const float *wb = (const float *)args->in[B] + d * 2 * p->n;
    float *to = (float *)args->shared + p->at + d * p->n;
    for (int64_t i = 0; i < p->n; i++) to[i] = p->recurrent ? wb[i] + wb[p->n + i] : wb[i];
  }
}

static ifd_status lower_inputs(ifd_lower *x, const recurrence *p) {
  const ifd_rnn_layer *l = &p->l;
  int64_t rows = l->steps * l->batch, n = l->gates * l->hidden;
  ifd_gemm_epilogue e = {.e = IFD_K_EPILOGUE_NONE};
  biases b = {l->directions * rows * n, l->directions, n, l->kind != IFD_RNN_GRU_LINEAR};
  if (p->has[B]) {
    e.bias = (ifd_operand){.place = IFD_OPERAND_SHARED, .offset = b.at, .step = n};
    TRY(ifd_lower_launch(x, run_biases, &b, sizeof b, 1, 0));
  }
  x->work->shared = sizeof(float) * (size_t)(b.at + l->directions * n);
  const ifd_products products = {.m = rows,
                                 .n = n,
                                 .k = l->inputs,
                                 .a_rs = l->inputs,
                                 .a_cs = 1,
                                 .b_rs = 1,
                                 .b_cs = l->inputs,
                                 .c_rs = n,
                                 .batch = {1, {l->directions}},
                                 .b_batch = {n * l->inputs},
                                 .c_batch = {rows * n},
                                 .c_shared = true,
                                 .n_lengths = p->has[LENGTHS] && !l->batch_first ? l->batch : 0,
                                 .lengths = LENGTHS};
  return ifd_lower_products(x, &products, X, W, &e);
}

/* ---- planning ---- */

typedef struct packing {
  const struct ifd_k_gemm_table *gemm;
  int64_t directions, direction, rows, hidden; /* direction: floats of a packed one; rows of R in one */
  int64_t n_parts;
  part parts[MAX_PARTS];
} packing;

/* A share is whole parts. */
static void pack(void *to, const void *from, const void *params, int share, int n_shares) {
  const packing *p = params;
  int64_t begin, end;
  ifd_packing_share(p->directions * p->n_parts, share, n_shares, &begin, &end);
  for (int64_t at = begin; at < end; at++) {
    int64_t d = at / p->n_parts, i = at % p->n_parts;
    p->gemm->pack_f32((float *)to + d * p->direction + p->parts[i].packed,
                      (const ifd_float_anywhere *)from + (d * p->rows + p->parts[i].first) * p->hidden, 1,
                      p->hidden, p->hidden, 0, p->parts[i].rows);
  }
}

static void split_parts(recurrence *p) {
  int64_t hidden = p->l.hidden;
  bool halves = p->l.kind == IFD_RNN_GRU;
  p->n_parts = halves ? 2 : 1;
  p->parts[0] = (part){.rows = (halves ? 2 : p->l.gates) * hidden};
  p->parts[1] = (part){.rows = hidden, .first = 2 * hidden};
  for (int i = 0; i < p->n_parts; i++) {
    p->parts[i].packed = p->packed_direction;
    p->packed_direction += (int64_t)(ifd_k_gemm_packed_len(p->parts[i].rows, hidden) / sizeof(float));
  }
}

static ifd_status pack_recurrence(ifd_lower *x, recurrence *p) {
  const void *packed;
  packing k;
  if (!x->constant[R]) return IFD_OK;
  memset(&k, 0, sizeof k);
  k.gemm = p->gemm;
  k.directions = p->l.directions;
  k.direction = p->packed_direction;
  k.rows = p->l.gates * p->l.hidden;
  k.hidden = p->l.hidden;
  k.n_parts = p->n_parts;
  memcpy(k.parts, p->parts, sizeof k.parts);
  TRY(x->packed(x, &packed, x->in[R],
                &(ifd_packing){.pack = pack,
                               .params = &k,
                               .params_size = sizeof k,
                               .bytes = sizeof(float) * (size_t)(k.directions * k.direction),
                               .any_shape = true}));
  p->packed = packed;
  if (!p->has[LENGTHS]) x->work->unread |= 1u << R; /* lengths may be refused: then all is evaluated */
  return IFD_OK;
}

/* Room for `n` floats for each sequence of a task. */
static int64_t reserve(recurrence *p, int64_t n) {
  int64_t at = p->scratch;
  p->scratch += (n * TASK_SEQUENCES + 15) / 16 * 16;
  return at;
}

static size_t lay_out_scratch(recurrence *p) {
  int64_t hidden = p->l.hidden;
  size_t gemm = 0;
  p->at_h = reserve(p, hidden);
  p->at_c = reserve(p, hidden);
  p->at_r = reserve(p, p->parts[0].rows);
  p->at_z = reserve(p, hidden);
  p->at_reset = reserve(p, hidden);
  p->at_candidate = reserve(p, hidden);
  p->at_snapped = p->l.snaps ? reserve(p, hidden) : 0;
  p->at_bytes = p->l.snaps ? reserve(p, hidden) : 0;
  p->at_gemm = p->scratch;
  for (int i = 0; i < p->n_parts; i++) {
    part *part = &p->parts[i];
    part->grid =
        ifd_k_gemm_split(ifd_min_i64(TASK_SEQUENCES, p->l.batch), part->rows, hidden, p->packed != NULL, 0);
    size_t len = ifd_k_gemm_scratch_len(&part->grid, hidden, p->packed ? IFD_K_B_PACKED : IFD_K_B_STRIDED);
    if (len > gemm) gemm = len;
  }
  return sizeof(float) * (size_t)p->scratch + gemm;
}

/* Inputs that are there are floats (lengths aside) with elements. */
static bool fits(const ifd_lower *x, const ifd_rnn_layer *l) {
  for (int i = 0; i < x->node->n_inputs; i++)
    if (x->in[i] && i != LENGTHS && (x->in[i]->dtype != IFD_FLOAT || ifd_tensor_count(x->in[i]) == 0))
      return false;
  const ifd_rnn_layer *n = l;
  int64_t gates = n->gates * n->hidden, states = n->directions * n->batch * n->hidden;
  const int64_t counts[N_INPUTS] = {[B] = n->directions * 2 * gates,
                                    [LENGTHS] = n->batch,
                                    [INITIAL_H] = states,
                                    [INITIAL_C] = states,
                                    [P] = n->directions * 3 * n->hidden};
  for (int i = B; i < x->node->n_inputs && i < N_INPUTS; i++)
    if (x->in[i] && ifd_tensor_count(x->in[i]) != counts[i]) return false;
  if (l->snaps && (l->batch > TASK_SEQUENCES || x->in[LENGTHS])) return false;
  return n->steps > 0 && n->batch > 0 && n->inputs > 0 && n->hidden > 0;
}

ifd_status ifd_lower_rnn(ifd_lower *x, const ifd_rnn_layer *l) {
  static void (*const kinds[])(const steps *s) = {[IFD_RNN_SIMPLE] = step_simple,
                                                  [IFD_RNN_GRU] = step_gru,
                                                  [IFD_RNN_GRU_LINEAR] = step_gru_linear,
                                                  [IFD_RNN_LSTM] = step_lstm};
  if (!fits(x, l)) return IFD_OK;
  recurrence p = {.gemm = ifd_k_gemm(x->isa),
                  .kernels = ifd_k_rnn(x->isa),
                  .reduce = ifd_k_reduce(x->isa),
                  .quantize = ifd_k_eltwise(x->isa)->quantize(IFD_UINT8),
                  .dequantize = ifd_k_eltwise(x->isa)->dequantize(IFD_UINT8),
                  .step = kinds[l->kind],
                  .l = *l};
  for (int i = 0; i < N_INPUTS; i++) p.has[i] = i < x->node->n_inputs && x->in[i];
  for (int i = 0; i < N_OUTPUTS; i++) p.wants[i] = ifd_node_has_output(x->node, i);
  split_parts(&p);
  TRY(lower_inputs(x, &p));
  TRY(pack_recurrence(x, &p));
  size_t scratch = lay_out_scratch(&p);
  p.tasks = ifd_ceil_div(l->batch, TASK_SEQUENCES);
  x->work->algorithm = "steps";
  return ifd_lower_launch(x, run_steps, &p, sizeof p, l->directions * p.tasks, scratch);
}
