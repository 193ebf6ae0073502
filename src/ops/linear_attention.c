/* LinearAttention, which keeps a matrix per head as its state and adds each token to it, and RotaryEmbedding,
 * which turns pairs of a head's elements by angles of the token's position. */
#include <math.h>
#include <string.h>

#include "ops/shared/elementwise.h"
#include "ops/shared/rows.h"
#include "ops/shared/values.h"

/* ---- RotaryEmbedding ---- */

/* Input [batch, heads, length, size] or [batch, length, heads * size]: strides of its parts. */
typedef struct rotary {
  int64_t batch, heads, length, size, turned; /* turned: how many elements of a head take part */
  int64_t head_stride, token_stride;
  bool interleaved;
  bool by_position; /* caches are [n_positions, turned / 2], else [batch, length, turned / 2] */
  int64_t n_positions;
} rotary;

static ifd_status read_rotary(ifd_error *err, const ifd_node *node, const ifd_shape *s, rotary *r) {
  EXPECT(err, s->rank == 3 || s->rank == 4, BAD_INPUT, "X has rank %d, not 3 or 4", s->rank);
  r->batch = s->dim[0];
  r->heads = s->rank == 4 ? s->dim[1] : ifd_attr_int(node, "num_heads");
  r->length = s->dim[s->rank - 2];
  EXPECT(err, s->rank == 4 || (r->heads > 0 && s->dim[2] % r->heads == 0), BAD_INPUT,
         "attribute num_heads, %lld, does not divide the last dimension, %lld", (long long)r->heads,
         (long long)s->dim[s->rank - 1]);
  r->size = s->rank == 4 ? s->dim[3] : s->dim[2] / r->heads;
  r->head_stride = s->rank == 4 ? r->length * r->size : r->size;
  r->token_stride = s->rank == 4 ? r->size : r->heads * r->size;
  r->turned = ifd_attr_int(node, "rotary_embedding_dim");
  if (r->turned == 0) r->turned = r->size;
  EXPECT(err, r->turned > 0 && r->turned <= r->size && r->turned % 2 == 0, BAD_INPUT,
         "%lld elements of a head of %lld cannot be turned in pairs", (long long)r->turned,
         (long long)r->size);
  r->interleaved = ifd_attr_int(node, "interleaved") != 0;
  return IFD_OK;
}

/* positions: input position_ids, or NULL. */
static ifd_status read_caches(ifd_error *err, const ifd_shape *cos, const ifd_shape *sin,
                              const ifd_tensor *positions, rotary *r) {
  int64_t half = r->turned / 2, tokens = r->batch * r->length;
  r->by_position = positions != NULL;
  EXPECT(err,
         ifd_shape_equal(cos, sin) && cos->rank == (positions ? 2 : 3) && cos->dim[cos->rank - 1] == half &&
             (positions || (cos->dim[0] == r->batch && cos->dim[1] == r->length)),
         BAD_INPUT, "the caches do not have the shape for %lld pairs", (long long)half);
  EXPECT(err, !positions || ifd_tensor_count(positions) == tokens, BAD_INPUT,
         "%lld position_ids for %lld tokens", (long long)ifd_tensor_count(positions), (long long)tokens);
  r->n_positions = cos->dim[0];
  return IFD_OK;
}

/* Turns the pairs of one head: halves of the turned part, or neighbours. */
#define TURN(type)                                                                                           \
  static void turn_##type(const rotary *r, const type *restrict in, const type *restrict cos,                \
                          const type *restrict sin, type *restrict y) {                                      \
    int64_t half = r->turned / 2;                                                                            \
    for (int64_t i = 0; !r->interleaved && i < half; i++) {                                                  \
      y[i] = cos[i] * in[i] - sin[i] * in[half + i];                                                         \
      y[half + i] = sin[i] * in[i] + cos[i] * in[half + i];                                                  \
    }                                                                                                        \
    for (int64_t i = 0; r->interleaved && i < half; i++) {                                                   \
      y[2 * i] = cos[i] * in[2 * i] - sin[i] * in[2 * i + 1];                                                \
      y[2 * i + 1] = sin[i] * in[2 * i] + cos[i] * in[2 * i + 1];                                            \
    }                                                                                                        \
    for (int64_t i = r->turned; i < r->size; i++) y[i] = in[i];                                              \
  }                                                                                                          \
  /* All heads of a token; false where its position has no place in the caches. */                           \
  static bool turn_token_##type(const rotary *r, int64_t token, const type *in, const type *cos,             \
                                const type *sin, const int64_t *positions, type *y) {                        \
    int64_t row = r->by_position ? positions[token] : token, b = token / r->length;                          \
    if (r->by_position && (row < 0 || row >= r->n_positions)) return false;                                  \
    int64_t at = b * r->heads * r->length * r->size + token % r->length * r->token_stride;                   \
    row *= r->turned / 2;                                                                                    \
    for (int64_t h = 0; h < r->heads; h++, at += r->head_stride)                                             \
      turn_##type(r, in + at, cos + row, sin + row, y + at);                                                 \
    return true;                                                                                             \
  }
TURN(float)
TURN(double)

static ifd_status eval_rotary_embedding(ifd_eval *x) {
  rotary r = {0};
  const double *in, *cos, *sin;
  const int64_t *positions = NULL;
  int64_t n;
  double *y;
  TRY(read_rotary(x->err, x->node, ifd_eval_shape(x, 0), &r));
  TRY(read_caches(x->err, ifd_eval_shape(x, 1), ifd_eval_shape(x, 2),
                  ifd_eval_has(x, 3) ? ifd_eval_in(x, 3) : NULL, &r));
  TRY(ifd_eval_f64(x, &in, 0));
  TRY(ifd_eval_f64(x, &cos, 1));
  TRY(ifd_eval_f64(x, &sin, 2));
  if (r.by_position) TRY(ifd_eval_ints(x, &positions, &n, 3));
  TRY(ifd_eval_zeros(x, &y, ifd_tensor_count(ifd_eval_in(x, 0))));
  for (int64_t token = 0; token < r.batch * r.length; token++)
    EXPECT(x->err, turn_token_double(&r, token, in, cos, sin, positions, y), BAD_INPUT,
           "position %lld; the caches have %lld", (long long)positions[token], (long long)r.n_positions);
  return ifd_eval_put_f64(x, 0, ifd_eval_dtype(x, 0), ifd_eval_shape(x, 0), y);
}

typedef struct rotary_work {
  rotary r;
  ifd_rows tokens;
} rotary_work;

static void run_rotary(const void *params, const ifd_args *args, int task) {
  const rotary_work *w = params;
  const int64_t *positions = w->r.by_position ? args->in[3] : NULL;
  int64_t from, to;
  ifd_rows_of(&w->tokens, task, &from, &to);
  for (; from < to; from++)
    if (!turn_token_float(&w->r, from, args->in[0], args->in[1], args->in[2], positions, args->out[0]))
      *args->failed = 1;
}

static ifd_status lower_rotary_embedding(ifd_lower *x) {
  rotary_work w = {0};
  if (!ifd_lower_all_float(x, 3)) return IFD_OK;
  TRY(read_rotary(x->err, x->node, &x->in[0]->shape, &w.r));
  TRY(read_caches(x->err, &x->in[1]->shape, &x->in[2]->shape, x->node->n_inputs > 3 ? x->in[3] : NULL, &w.r));
  w.tokens = ifd_rows_split(w.r.batch * w.r.length, 2 * (double)(w.r.heads * w.r.size));
  x->work->algorithm = "pairs";
  return ifd_lower_rows(x, run_rotary, &w, sizeof w, &w.tokens);
}

/* ---- LinearAttention ---- */

enum { QUERY, KEY, VALUE, PAST, DECAY, BETA };

typedef struct linear {
  int64_t batch, length, q_heads, kv_heads, k_size, v_size;
  bool gated, delta;
  double scale;
  const double *q, *k, *v, *decay, *beta;
  int64_t decays, betas; /* elements of decay and beta for each token */
  double *state;         /* [batch, kv_heads, k_size, v_size] */
  double *update;        /* [v_size] */
} linear;

static ifd_status read_rule(ifd_eval *x, linear *l) {
  static const char *const names[] = {"linear", "gated", "delta", "gated_delta"};
  int rule = 0;
  while (rule < 4 && !ifd_node_string_is(x->node, "update_rule", "gated_delta", names[rule])) rule++;
  EXPECT(x->err, rule < 4, BAD_MODEL, "attribute update_rule is not linear, gated, delta or gated_delta");
  l->gated = rule & 1;
  l->delta = rule & 2;
  EXPECT(x->err, ifd_eval_has(x, DECAY) == l->gated, BAD_INPUT, "decay is %s by update_rule %s",
         l->gated ? "needed" : "not taken", names[rule]);
  EXPECT(x->err, ifd_eval_has(x, BETA) == l->delta, BAD_INPUT, "beta is %s by update_rule %s",
         l->delta ? "needed" : "not taken", names[rule]);
  return IFD_OK;
}

/* The last dimension of input i, which must be [batch, length, n]. */
static ifd_status last_dim(ifd_eval *x, int i, int64_t *n) {
  const ifd_shape *s = ifd_eval_shape(x, i), *q = ifd_eval_shape(x, QUERY);
  EXPECT(x->err, s->rank == 3 && s->dim[0] == q->dim[0] && s->dim[1] == q->dim[1], BAD_INPUT,
         "input %d is not [batch, length, n] as the query is", i);
  *n = s->dim[2];
  return IFD_OK;
}

static ifd_status read_linear(ifd_eval *x, linear *l) {
  int64_t q, k, v;
  TRY(last_dim(x, QUERY, &q));
  TRY(last_dim(x, KEY, &k));
  TRY(last_dim(x, VALUE, &v));
  l->q_heads = ifd_attr_int(x->node, "q_num_heads");
  l->kv_heads = ifd_attr_int(x->node, "kv_num_heads");
  EXPECT(x->err,
         l->kv_heads > 0 && l->q_heads > 0 && l->q_heads <= INT32_MAX && l->kv_heads <= INT32_MAX &&
             l->q_heads % l->kv_heads == 0,
         BAD_MODEL, "%lld query heads for %lld key heads", (long long)l->q_heads, (long long)l->kv_heads);
  l->batch = ifd_eval_shape(x, QUERY)->dim[0];
  l->length = ifd_eval_shape(x, QUERY)->dim[1];
  l->k_size = q / l->q_heads;
  l->v_size = v / l->kv_heads;
  EXPECT(x->err, q == l->q_heads * l->k_size && k == l->kv_heads * l->k_size && v == l->kv_heads * l->v_size,
         BAD_INPUT, "the numbers of heads do not divide query, key and value");
  TRY(read_rule(x, l));
  if (l->gated) TRY(last_dim(x, DECAY, &l->decays));
  if (l->delta) TRY(last_dim(x, BETA, &l->betas));
  EXPECT(x->err, !l->gated || l->decays == l->kv_heads || l->decays == k, BAD_INPUT,
         "decay has %lld for each token", (long long)l->decays);
  EXPECT(x->err, !l->delta || l->betas == l->kv_heads || l->betas == 1, BAD_INPUT,
         "beta has %lld for each token", (long long)l->betas);
  double scale = ifd_attr_float(x->node, "scale");
  l->scale = scale == 0 ? 1 / sqrt((double)l->k_size) : scale;
  return IFD_OK;
}

static ifd_status read_state(ifd_eval *x, linear *l, ifd_shape *shape) {
  const double *past;
  *shape = (ifd_shape){4, {l->batch, l->kv_heads, l->k_size, l->v_size}};
  TRY(ifd_shape_check(x->err, shape, sizeof(double)));
  int64_t n = ifd_shape_count(shape);
  TRY(ifd_eval_find_f64_n(x, &past, PAST, n, "past_state"));
  TRY(ifd_eval_zeros(x, &l->state, n));
  if (past && n) memcpy(l->state, past, sizeof *past * (size_t)n);
  return ifd_eval_zeros(x, &l->update, l->v_size);
}

/* Adds a token to the state of a head: S = e^g S; S += k ⊗ v, or k ⊗ β (v - Sᵀ k). */
static void add_token(const linear *l, int64_t token, int64_t h, double *state) {
  const double *k = l->k + (token * l->kv_heads + h) * l->k_size,
               *v = l->v + (token * l->kv_heads + h) * l->v_size;
  for (int64_t i = 0; i < l->k_size && l->gated; i++) {
    const double *g = l->decay + token * l->decays;
    double factor = exp(l->decays == l->kv_heads ? g[h] : g[h * l->k_size + i]);
    for (int64_t j = 0; j < l->v_size; j++) state[i * l->v_size + j] *= factor;
  }
  double beta = l->delta ? l->beta[token * l->betas + (l->betas == 1 ? 0 : h)] : 1;
  for (int64_t j = 0; j < l->v_size; j++) {
    double known = 0;
    for (int64_t i = 0; i < l->k_size && l->delta; i++) known += state[i * l->v_size + j] * k[i];
    l->update[j] = beta * (v[j] - known);
  }
  for (int64_t i = 0; i < l->k_size; i++)
    for (int64_t j = 0; j < l->v_size; j++) state[i * l->v_size + j] += k[i] * l->update[j];
}

/* y = scale · Sᵀ q for each query head that reads this state. */
static void read_token(const linear *l, int64_t token, int64_t h, const double *state, double *y) {
  int64_t group = l->q_heads / l->kv_heads;
  for (int64_t head = token * l->q_heads + h * group, end = head + group; head < end; head++)
    for (int64_t j = 0; j < l->v_size; j++) {
      double sum = 0;
      for (int64_t i = 0; i < l->k_size; i++) sum += l->q[head * l->k_size + i] * state[i * l->v_size + j];
      y[head * l->v_size + j] = l->scale * sum;
    }
}

static ifd_status eval_linear_attention(ifd_eval *x) {
  linear l = {0};
  ifd_shape state_shape;
  double *y;
  TRY(read_linear(x, &l));
  TRY(read_state(x, &l, &state_shape));
  TRY(ifd_eval_f64(x, &l.q, QUERY));
  TRY(ifd_eval_f64(x, &l.k, KEY));
  TRY(ifd_eval_f64(x, &l.v, VALUE));
  TRY(ifd_eval_find_f64(x, &l.decay, DECAY));
  TRY(ifd_eval_find_f64(x, &l.beta, BETA));
  ifd_shape out = {3, {l.batch, l.length, l.q_heads * l.v_size}};
  TRY(ifd_shape_check(x->err, &out, sizeof(double)));
  TRY(ifd_eval_zeros(x, &y, ifd_shape_count(&out)));
  for (int64_t b = 0; b < l.batch; b++)
    for (int64_t h = 0; h < l.kv_heads; h++) {
      double *state = l.state + (b * l.kv_heads + h) * l.k_size * l.v_size;
      for (int64_t t = b * l.length; t < (b + 1) * l.length; t++) {
        add_token(&l, t, h, state);
        read_token(&l, t, h, state, y);
      }
    }
  TRY(ifd_eval_put_f64(x, 0, ifd_eval_dtype(x, QUERY), &out, y));
  return ifd_eval_put_f64(x, 1, ifd_eval_dtype(x, ifd_eval_has(x, PAST) ? PAST : QUERY), &state_shape,
                          l.state);
}

static ifd_status infer_linear_attention(ifd_infer *x) {
  int64_t q_heads = ifd_node_int(x->node, "q_num_heads", 1),
          kv_heads = ifd_node_int(x->node, "kv_num_heads", 1);
  bool past = ifd_node_has_input(x->node, PAST);
  EXPECT(x->err, q_heads > 0 && q_heads <= INT32_MAX && kv_heads > 0 && kv_heads <= INT32_MAX, BAD_MODEL,
         "%lld query heads for %lld key heads", (long long)q_heads, (long long)kv_heads);
  ifd_dtype state_dtype = ifd_infer_dtype(x, past ? PAST : QUERY);
  if (ifd_infer_rank(x, QUERY) != 3 || ifd_infer_rank(x, VALUE) != 3) {
    TRY(ifd_infer_unranked(x, 0, ifd_infer_dtype(x, QUERY)));
    return ifd_infer_unranked(x, 1, state_dtype);
  }
  ifd_dim k_size = ifd_dim_floor_div(x->dims, ifd_infer_dim(x, QUERY, 2), q_heads);
  ifd_dim v_size = ifd_dim_floor_div(x->dims, ifd_infer_dim(x, VALUE, 2), kv_heads);
  const ifd_dim out[] = {ifd_infer_dim(x, QUERY, 0), ifd_infer_dim(x, QUERY, 1),
                         ifd_dim_mul(x->dims, v_size, q_heads)};
  const ifd_dim state[] = {ifd_infer_dim(x, QUERY, 0), kv_heads, k_size, v_size};
  TRY(ifd_infer_tensor(x, 0, ifd_infer_dtype(x, QUERY), 3, out));
  return ifd_infer_tensor(x, 1, state_dtype, 4, state);
}

/* Each token reads and writes the state of every head: twice, and once more to correct what it holds. */
static double cost_linear_attention(const ifd_node *node, const ifd_shape *in, const ifd_shape *out) {
  (void)node, (void)out;
  double q_heads = (double)ifd_node_int(node, "q_num_heads", 1);
  return (double)in[QUERY].dim[0] * (double)in[QUERY].dim[1] * (double)in[QUERY].dim[2] / q_heads *
         (double)in[VALUE].dim[2] * 3;
}

const ifd_op ifd_ops_linear_attention[] = {{.name = "RotaryEmbedding",
                                            .since = 23,
                                            .infer = ifd_infer_like_first,
                                            .eval = eval_rotary_embedding,
                                            .lower = lower_rotary_embedding},
                                           {.name = "LinearAttention",
                                            .since = 27,
                                            .infer = infer_linear_attention,
                                            .eval = eval_linear_attention,
                                            .cost = cost_linear_attention},
                                           {0}};
