#include "ops/shared/attention_work.h"

#include "kernels/eltwise/eltwise.h"
#include "kernels/gemm/gemm.h"
#include "kernels/kernels.h"
#include "kernels/softmax/softmax.h"
#include "ops/shared/rows.h"

#include <math.h>
#include <string.h>

enum { Q, K, V, MASK, PAST_KEY, PAST_VALUE, LENGTHS, N_INPUTS };
enum { Y, PRESENT_KEY, PRESENT_VALUE, SCORES, N_OUTPUTS };
enum { RAW, CAPPED, BIASED, PROBABILITIES };
enum { TASKS = 16, FEW_ROWS = 4 };

ifd_attention_rows ifd_attention_rows_of(bool packed, int64_t heads, int64_t length, int64_t size) {
  return packed ? (ifd_attention_rows){0, length * heads * size, size, heads * size, 1}
                : (ifd_attention_rows){0, heads * length * size, length * size, size, 1};
}
static int64_t row_at(const ifd_attention_rows *r, int64_t b, int64_t h, int64_t t) {
  return r->offset + b * r->sample + h * r->head + t * r->row;
}

typedef struct params {
  const struct ifd_k_gemm_table *gemm;
  const struct ifd_k_softmax_table *softmax;
  ifd_el_unary_row *tanh;
  ifd_attention_layer l;
  bool has[N_INPUTS], wants[N_OUTPUTS];
  ifd_attention_rows k, v;    /* past keys and values included */
  bool joined;                /* keys and values are joined in outputs 1 and 2, or shared memory */
  int64_t shared_v;           /* where values begin there, in floats */
  bool is_plain;              /* nobody asks what scores are between product and weights */
  bool hides, adds_mask;      /* rows of what is added to scores are made here; they are the mask's */
  bool one_query;             /* of several heads that share keys: these are the layer's rows */
  int64_t queries, blocks;    /* of a task; tasks of a head */
  int64_t rows;               /* queries whose scores are there at a time */
  int64_t k_packed, v_packed; /* floats of a head's packed keys and values */
  bool packs, shares;         /* else they are read where they are; by a launch before, to shared memory */
  size_t at_packed;           /* there, or in the scratch of a task */
  size_t at_factors, at_bias, at_gemm; /* in the scratch */
  ifd_rows heads;                      /* of the joining launch */
} params;

/* ---- joining ---- */

static float *joined_at(const params *p, const ifd_args *args, int output) {
  if (p->wants[output]) return args->out[output];
  return (float *)args->shared + (output == PRESENT_VALUE ? p->shared_v : 0);
}

static void join(const params *p, const ifd_args *args, int64_t b, int64_t h, int input, int past, int output,
                 const ifd_attention_rows *from, int64_t size) {
  int64_t head = b * p->l.kv_heads + h, length = p->l.kv_len - p->l.past;
  float *to = joined_at(p, args, output) + head * p->l.kv_len * size;
  size_t row = sizeof *to * (size_t)size;
  if (p->has[past])
    memcpy(to, (const float *)args->in[past] + head * p->l.past * size, row * (size_t)p->l.past);
  to += p->l.past * size;
  for (int64_t t = 0; t < length; t++, to += size)
    memcpy(to, (const float *)args->in[input] + row_at(from, b, h, t), row);
}

static void run_join(const void *context, const ifd_args *args, int task) {
  const params *p = context;
  const ifd_attention_layer *l = &p->l;
  int64_t from, to;
  ifd_rows_of(&p->heads, task, &from, &to);
  for (int64_t i = from; i < to; i++) {
    join(p, args, i / l->kv_heads, i % l->kv_heads, K, PAST_KEY, PRESENT_KEY, &l->k, l->size);
    join(p, args, i / l->kv_heads, i % l->kv_heads, V, PAST_VALUE, PRESENT_VALUE, &l->v, l->v_size);
  }
}

/* ---- some queries of a head ---- */

typedef struct span {
  int64_t b, h, first, n;
  int64_t from, n_keys; /* what any of them may see but for the mask; from % 16 == 0 */
  const float *k, *v;   /* of the head */
  const float *bias;    /* is added to their scores, rows bias_rs apart (0: one for all); NULL: nothing */
  int64_t bias_rs;
} span;

static void *scratch_at(const ifd_args *args, size_t at) { return (char *)args->scratch + at; }

/* Keys [*from, *to) that query i of sample b may see but for the mask; both grow with i. */
static void visible(const params *p, const ifd_args *args, int64_t b, int64_t i, int64_t *from, int64_t *to) {
  const ifd_attention_layer *l = &p->l;
  int64_t length = p->has[LENGTHS] ? ((const int64_t *)args->in[LENGTHS])[b] : l->kv_len;
  int64_t at = p->one_query ? 0 : i;
  at += p->has[LENGTHS] ? length - (p->one_query ? 1 : l->q_len) : l->past;
  *from = l->left >= 0 ? at - l->left : 0;
  *to = length;
  if (l->causal) *to = ifd_min_i64(*to, at + 1);
  if (l->right >= 0) *to = ifd_min_i64(*to, at < l->kv_len - l->right ? at + l->right + 1 : l->kv_len);
  if (p->has[MASK]) *to = ifd_min_i64(*to, l->mask_length);
  *from = ifd_min_i64(ifd_max_i64(*from, 0), l->kv_len);
  *to = ifd_max_i64(*to, *from);
}

/* The mask's n numbers from there on; of a bool, 0 or -inf. */
static void copy_mask(const params *p, const ifd_args *args, int64_t at, float *to, int64_t n) {
  const ifd_attention_layer *l = &p->l;
  const int64_t step = l->mask_strides[3];
  if (l->mask_is_bool) {
    const uint8_t *m = (const uint8_t *)args->in[MASK] + at;
    for (int64_t j = 0; j < n; j++) to[j] = m[j * step] ? 0 : -INFINITY;
  } else {
    const float *m = (const float *)args->in[MASK] + at;
    for (int64_t j = 0; j < n; j++) to[j] = m[j * step];
  }
}

static int64_t mask_row(const params *p, const span *s, int64_t i) {
  const int64_t *strides = p->l.mask_strides;
  return s->b * strides[0] + s->h * strides[1] + i * strides[2];
}

/* What is added to the scores of query i: the mask to what it may see, -inf to the rest. */
static void make_bias(const params *p, const ifd_args *args, const span *s, int64_t i, float *row) {
  int64_t from, to, end = s->from + s->n_keys;
  visible(p, args, s->b, i, &from, &to);
  from = ifd_min_i64(from, end), to = ifd_min_i64(to, end);
  for (int64_t j = s->from; j < from; j++) *row++ = -INFINITY;
  if (p->has[MASK])
    copy_mask(p, args, mask_row(p, s, i) + from * p->l.mask_strides[3], row, to - from);
  else
    memset(row, 0, sizeof *row * (size_t)(to - from));
  for (row += to - from; to < end; to++) *row++ = -INFINITY;
}

static bool same_for_all(const params *p) {
  const ifd_attention_layer *l = &p->l;
  bool see_the_same = p->one_query || (!l->causal && l->left < 0 && l->right < 0);
  return see_the_same && l->mask_strides[2] == 0;
}

/* −inf, or a number that scores are lost in: weights are zero, unless that is all that a query has. */
static bool is_hidden(float bias) { return bias <= -0x1p100f; }

/* Leaves out keys at both ends that are hidden from all queries, each of which sees some key. */
static void trim(span *s) {
  const int64_t rows = s->bias_rs ? s->n : 1;
  const float *row = s->bias;
  int64_t from = s->n_keys, to = 0;
  for (int64_t i = 0; i < rows; i++, row += s->bias_rs) {
    int64_t first = 0, end = s->n_keys;
    while (end > 0 && is_hidden(row[end - 1])) end--;
    if (end == 0) return;
    while (is_hidden(row[first])) first++;
    from = ifd_min_i64(from, first / 16 * 16), to = ifd_max_i64(to, end);
  }
  s->bias += from, s->from += from, s->n_keys = to - from;
}

/* Finds the span's keys, and what is added to their scores. */
static void place_keys(const params *p, const ifd_args *args, span *s) {
  const ifd_attention_layer *l = &p->l;
  int64_t to, from, rows = same_for_all(p) ? 1 : s->n;
  visible(p, args, s->b, s->first, &s->from, &to);
  visible(p, args, s->b, s->first + s->n - 1, &from, &to);
  s->from = p->wants[SCORES] ? 0 : s->from / 16 * 16;
  s->n_keys = (p->wants[SCORES] ? l->kv_len : to) - s->from;
  s->bias = NULL, s->bias_rs = 0;
  if (p->adds_mask) {
    s->bias = (const float *)args->in[MASK] + mask_row(p, s, s->first) + s->from;
    s->bias_rs = l->mask_strides[2];
  } else if (p->hides) {
    float *bias = scratch_at(args, p->at_bias);
    s->bias = bias, s->bias_rs = rows > 1 ? l->kv_len : 0;
    for (int64_t i = 0; i < rows; i++) make_bias(p, args, s, s->first + i, bias + i * l->kv_len);
  }
  if (s->bias && !p->wants[SCORES]) trim(s);
}

/* ---- one row of scores ---- */

static void cap(const params *p, float *row, size_t n) {
  const ifd_attention_layer *l = &p->l;
  for (size_t j = 0; j < n; j++) row[j] /= l->softcap;
  p->tanh(NULL, row, row, n);
  for (size_t j = 0; j < n; j++) row[j] *= l->softcap;
}

/* Whether all scores are -inf: the kernel's softmax would be NaN, Attention's is zero. */
static bool is_blind(const float *row, int64_t n) {
  for (int64_t j = 0; j < n; j++)
    if (row[j] != -INFINITY) return false;
  return true;
}

static void keep(const params *p, int mode, const float *row, float *kept) {
  if (kept && p->l.mode == mode) memcpy(kept, row, sizeof *row * (size_t)p->l.kv_len);
}

static void finish_row(const params *p, const float *bias, float *row, int64_t n_keys, float *kept) {
  const ifd_attention_layer *l = &p->l;
  const size_t n = (size_t)n_keys;
  keep(p, RAW, row, kept);
  if (l->softcap > 0) cap(p, row, n);
  keep(p, CAPPED, row, kept);
  for (size_t j = 0; bias && j < n; j++) row[j] += bias[j];
  keep(p, BIASED, row, kept);
  if (!l->is_softmax && is_blind(row, n_keys))
    memset(row, 0, sizeof *row * n);
  else
    p->softmax->rows(false, row, n, 1, NULL, 0, row, n, 1, n);
  keep(p, PROBABILITIES, row, kept);
}

/* ---- a task ---- */

static const float *keys_at(const params *p, const ifd_args *args, int64_t b, int64_t h) {
  return (p->joined ? joined_at(p, args, PRESENT_KEY) : (const float *)args->in[K]) + row_at(&p->k, b, h, 0);
}
static const float *values_at(const params *p, const ifd_args *args, int64_t b, int64_t h) {
  return (p->joined ? joined_at(p, args, PRESENT_VALUE) : (const float *)args->in[V]) +
         row_at(&p->v, b, h, 0);
}

/* Keys and values of a head as panels that products read. */
static void pack_head(const params *p, const ifd_args *args, int64_t kv_head, float *to) {
  const ifd_attention_layer *l = &p->l;
  int64_t b = kv_head / l->kv_heads, h = kv_head % l->kv_heads;
  p->gemm->pack_f32(to, keys_at(p, args, b, h), p->k.element, p->k.row, l->size, 0, l->kv_len);
  p->gemm->pack_f32(to + p->k_packed, values_at(p, args, b, h), p->v.row, p->v.element, l->kv_len, 0,
                    l->v_size);
}

static float *shared_head(const params *p, const ifd_args *args, int64_t kv_head) {
  return (float *)((char *)args->shared + p->at_packed) + kv_head * (p->k_packed + p->v_packed);
}

static void run_pack(const void *context, const ifd_args *args, int task) {
  const params *p = context;
  pack_head(p, args, task, shared_head(p, args, task));
}

/* Rows whose weights are NaN become rows of zeros. */
static void clear_nan(float *weights, int64_t vs, float *factors, const span *s) {
  for (int64_t i = 0; i < s->n; i++, weights += 16) {
    if (factors[i] == factors[i]) continue;
    for (int64_t j = 0; j < s->n_keys; j++) weights[j / 16 * vs + j % 16] = 0;
    factors[i] = 0;
  }
}

/* Scores lie as the mix of values reads them: packed A. Their weights are divided by their sums last. */
static void run_plain(const params *p, const ifd_args *args, const span *s, ifd_k_product *score,
                      ifd_k_product *mix) {
  const ifd_attention_layer *l = &p->l;
  float *factors = scratch_at(args, p->at_factors);
  void *gemm = scratch_at(args, p->at_gemm);
  score->c_rs = 16, score->c_vs = s->n * 16;
  p->gemm->run_f32(score, 0, s->n, 0, s->n_keys, gemm);
  p->softmax->weights(score->c, 16, (size_t)s->n * 16, l->scale, s->bias, (size_t)s->bias_rs, !l->is_softmax,
                      factors, (size_t)s->n, (size_t)s->n_keys);
  if (l->zeroes) clear_nan(score->c, score->c_vs, factors, s);
  mix->a_vs = score->c_vs;
  p->gemm->run_f32(mix, 0, s->n, 0, l->v_size, gemm);
  p->softmax->scale_rows(mix->c, (size_t)mix->c_rs, factors, (size_t)s->n, (size_t)l->v_size);
}

/* The same, each result rounded: weights are divided at once. */
static void run_rounded(const params *p, const ifd_args *args, const span *s, ifd_k_product *score,
                        ifd_k_product *mix) {
  const ifd_attention_layer *l = &p->l;
  const ifd_k_epilogue e = {.scale = 1, .rounding = l->rounding};
  const size_t vs = (size_t)s->n * 16;
  void *gemm = scratch_at(args, p->at_gemm);
  score->epilogue = mix->epilogue = &e;
  score->c_rs = 16, score->c_vs = mix->a_vs = s->n * 16;
  p->gemm->run_f32(score, 0, s->n, 0, s->n_keys, gemm);
  p->softmax->rounded(l->rounding, score->c, score->c, 16, vs, l->scale, s->bias, (size_t)s->bias_rs,
                      (size_t)s->n, (size_t)s->n_keys);
  p->gemm->run_f32(mix, 0, s->n, 0, l->v_size, gemm);
}

static void run_general(const params *p, const ifd_args *args, const span *s, ifd_k_product *score,
                        ifd_k_product *mix) {
  const ifd_attention_layer *l = &p->l;
  float *kept = p->wants[SCORES] ? args->out[SCORES] : NULL;
  void *gemm = scratch_at(args, p->at_gemm);
  ifd_k_epilogue scaled = {.scale = l->scale};
  if (kept) kept += ((s->b * l->q_heads + s->h) * l->q_len + s->first) * l->kv_len;
  score->epilogue = &scaled;
  p->gemm->run_f32(score, 0, s->n, 0, s->n_keys, gemm);
  for (int64_t i = 0; i < s->n; i++)
    finish_row(p, s->bias ? s->bias + i * s->bias_rs : NULL, score->c + i * score->c_rs, s->n_keys,
               kept ? kept + i * l->kv_len : NULL);
  p->gemm->run_f32(mix, 0, s->n, 0, l->v_size, gemm);
}

static void run_span(const params *p, const ifd_args *args, const span *s) {
  const ifd_attention_layer *l = &p->l;
  ifd_k_product score = {.m = s->n,
                         .n = s->n_keys,
                         .k = l->size,
                         .a = (const float *)args->in[Q] + row_at(&l->q, s->b, s->h, s->first),
                         .a_rs = l->q.row,
                         .a_cs = l->q.element,
                         .b = s->k + s->from * (p->packs ? l->size : p->k.row),
                         .c = args->scratch,
                         .c_rs = s->n_keys};
  ifd_k_product mix = {.m = s->n,
                       .n = l->v_size,
                       .k = s->n_keys,
                       .a = args->scratch,
                       .a_rs = s->n_keys,
                       .a_cs = 1,
                       .b = s->v + s->from * (p->packs ? 16 : p->v.row),
                       .b_steps = l->kv_len,
                       .c = (float *)args->out[Y] + row_at(&l->y, s->b, s->h, s->first),
                       .c_rs = l->y.row};
  if (!p->packs) {
    score.b_rs = p->k.element, score.b_cs = p->k.row;
    mix.b_rs = p->v.row, mix.b_cs = p->v.element;
  }
  (l->rounding ? run_rounded : p->is_plain ? run_plain : run_general)(p, args, s, &score, &mix);
}

static void run_attention(const void *context, const ifd_args *args, int task) {
  const params *p = context;
  const ifd_attention_layer *l = &p->l;
  int64_t head = task / p->blocks, first = task % p->blocks * p->queries,
          end = ifd_min_i64(first + p->queries, l->q_len);
  span s = {.b = head / l->q_heads, .h = head % l->q_heads};
  int64_t kv_head = s.b * l->kv_heads + s.h / (l->q_heads / l->kv_heads);
  float *packed = p->shares ? shared_head(p, args, kv_head) : scratch_at(args, p->at_packed);
  s.k = p->packs ? packed : keys_at(p, args, s.b, kv_head % l->kv_heads);
  s.v = p->packs ? packed + p->k_packed : values_at(p, args, s.b, kv_head % l->kv_heads);
  if (p->has[LENGTHS]) {
    int64_t length = ((const int64_t *)args->in[LENGTHS])[s.b];
    if (length < 0 || length > l->kv_len) {
      atomic_store(args->failed, 1);
      return;
    }
  }
  if (p->packs && !p->shares) pack_head(p, args, kv_head, packed);
  for (s.first = first; s.first < end; s.first += s.n) {
    s.n = ifd_min_i64(p->rows, end - s.first);
    place_keys(p, args, &s);
    run_span(p, args, &s);
  }
}

/* ---- planning ---- */

static bool fits(const ifd_lower *x) {
  for (int i = 0; i < x->node->n_inputs; i++) {
    if (!x->in[i]) continue;
    bool right = x->in[i]->dtype == IFD_FLOAT || (i == MASK && x->in[i]->dtype == IFD_BOOL) || i == LENGTHS;
    if (!right || (ifd_tensor_count(x->in[i]) == 0 && i != PAST_KEY && i != PAST_VALUE)) return false;
  }
  return x->out[Y] && ifd_tensor_count(x->out[Y]) > 0;
}

static ifd_status lower_join(ifd_lower *x, params *p) {
  const ifd_attention_layer *l = &p->l;
  int64_t heads = l->batch * l->kv_heads, keys = heads * l->kv_len * l->size,
          values = heads * l->kv_len * l->v_size;
  p->joined = p->has[PAST_KEY] || p->wants[PRESENT_KEY] || p->wants[PRESENT_VALUE];
  if (!p->joined) return IFD_OK;
  p->k = ifd_attention_rows_of(false, l->kv_heads, l->kv_len, l->size);
  p->v = ifd_attention_rows_of(false, l->kv_heads, l->kv_len, l->v_size);
  p->shared_v = p->wants[PRESENT_KEY] ? 0 : keys;
  x->work->shared = sizeof(float) * (size_t)(p->shared_v + (p->wants[PRESENT_VALUE] ? 0 : values));
  p->heads = ifd_rows_split(heads, (double)(l->kv_len * (l->size + l->v_size)));
  return ifd_lower_rows(x, run_join, p, sizeof *p, &p->heads);
}

/* What becomes of scores between the products. */
static void see_scores(params *p) {
  const ifd_attention_layer *l = &p->l;
  const bool all = !l->causal && l->left < 0 && l->right < 0 && !p->has[LENGTHS];
  p->is_plain = l->scale > 0 && l->softcap <= 0 && !p->wants[SCORES];
  p->adds_mask = all && p->has[MASK] && !l->mask_is_bool && l->mask_length == l->kv_len &&
                 (l->mask_strides[3] == 1 || l->kv_len == 1);
  p->hides = !p->adds_mask && (!all || p->has[MASK]);
}

/* Heads of one query each that share keys become rows of one head. */
static void join_heads(params *p) {
  ifd_attention_layer *l = &p->l;
  const int64_t n = l->q_heads / l->kv_heads;
  p->one_query = l->q_len == 1;
  if (!p->one_query || n == 1) return;
  l->q_len = n, l->q_heads = l->kv_heads;
  l->q.row = l->q.head, l->q.head *= n;
  l->y.row = l->y.head, l->y.head *= n;
  l->mask_strides[2] = l->mask_strides[1], l->mask_strides[1] *= n;
}

static size_t up(size_t n) { return (n + 63) / 64 * 64; }

/* Queries at a time: whole tiles, whose scores stay near. With AVX-512 L1 holds many, and L2 the keys and
 * values that each span meets; else L2 holds scores, lest keys and values come from L3 for a tile or two. */
typedef struct span_size {
  int64_t tile, most, scores; /* rows, rows, floats */
} span_size;

/* Where keys are left out, which a span's queries decide together, spans are the same everywhere: what is
 * left out may be 0 times an infinity, and where keys begin says how the products of all are summed. */
static span_size span_size_of(const params *p, ifd_isa isa) {
  const bool leaves_out = p->adds_mask || p->hides;
  return leaves_out || isa == IFD_ISA_AVX512 ? (span_size){14, 56, 3 << 12} : (span_size){6, 60, 3 << 15};
}

/* Spans of about as many tiles each; tasks of them, but enough. */
static void split(params *p, ifd_isa isa) {
  const ifd_attention_layer *l = &p->l;
  const span_size size = span_size_of(p, isa);
  int64_t most = ifd_max_i64(1, ifd_min_i64(size.most, size.scores / l->kv_len) / size.tile);
  p->rows = ifd_ceil_div(l->q_len, ifd_ceil_div(ifd_ceil_div(l->q_len, size.tile), most));
  int64_t fair = ifd_ceil_div(l->q_len * l->q_heads * l->batch, TASKS);
  p->queries = ifd_min_i64(l->q_len, ifd_ceil_div(fair, p->rows) * p->rows);
  p->blocks = ifd_ceil_div(l->q_len, p->queries);
}

/* Packing is worth it for more than a few rows. */
static ifd_status lower_pack(ifd_lower *x, params *p) {
  const ifd_attention_layer *l = &p->l;
  p->packs = l->q_len > FEW_ROWS;
  if (!p->packs) return IFD_OK;
  p->k_packed = (int64_t)(ifd_k_gemm_packed_len(l->kv_len, l->size) / sizeof(float));
  p->v_packed = (int64_t)(ifd_k_gemm_packed_len(l->v_size, l->kv_len) / sizeof(float));
  p->shares = p->blocks > 1 || l->q_heads > l->kv_heads;
  if (!p->shares) return IFD_OK;
  int64_t heads = l->batch * l->kv_heads;
  p->at_packed = up(x->work->shared);
  x->work->shared = p->at_packed + sizeof(float) * (size_t)(heads * (p->k_packed + p->v_packed));
  return ifd_lower_launch(x, run_pack, p, sizeof *p, heads, 0);
}

/* Places in the scratch of a task; its length. */
static size_t place(params *p) {
  const ifd_attention_layer *l = &p->l;
  ifd_k_gemm_grid score = {p->rows, l->kv_len, 1, 1}, mix = {p->rows, l->v_size, 1, 1};
  size_t len = sizeof(float) * (size_t)(p->rows * ifd_ceil_div(l->kv_len, 16) * 16);
  const ifd_k_gemm_b form = p->packs ? IFD_K_B_PACKED : IFD_K_B_STRIDED;
  size_t score_len = ifd_k_gemm_scratch_len(&score, l->size, form),
         mix_len = ifd_k_gemm_scratch_len(&mix, l->kv_len, form);
  p->at_factors = up(len);
  p->at_bias = up(p->at_factors + sizeof(float) * (size_t)p->rows);
  p->at_gemm = up(p->at_bias + (p->hides ? sizeof(float) * (size_t)(p->rows * l->kv_len) : 0));
  len = up(p->at_gemm + (score_len > mix_len ? score_len : mix_len));
  if (p->shares || !p->packs) return len;
  p->at_packed = len;
  return len + sizeof(float) * (size_t)(p->k_packed + p->v_packed);
}

ifd_status ifd_lower_attention(ifd_lower *x, const ifd_attention_layer *l) {
  params p = {.gemm = ifd_k_gemm(x->isa),
              .softmax = ifd_k_softmax(x->isa),
              .tanh = ifd_k_eltwise(x->isa)->unary(IFD_EL_Tanh, IFD_FLOAT),
              .l = *l,
              .k = l->k,
              .v = l->v};
  if (!fits(x) || l->kv_len == 0 || l->size == 0) return IFD_OK;
  for (int i = 0; i < N_INPUTS; i++) p.has[i] = i < x->node->n_inputs && x->in[i];
  for (int i = 0; i < N_OUTPUTS; i++) p.wants[i] = ifd_node_has_output(x->node, i);
  TRY(lower_join(x, &p));
  see_scores(&p);
  join_heads(&p);
  EXPECT(x->err, !(l->rounding || l->zeroes) || p.is_plain, BAD_MODEL, "rounded attention is plain");
  split(&p, x->isa);
  TRY(lower_pack(x, &p));
  size_t scratch = place(&p);
  x->work->algorithm = "attention";
  return ifd_lower_launch(x, run_attention, &p, sizeof p, p.l.batch * p.l.q_heads * p.blocks, scratch);
}
