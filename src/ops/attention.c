/* Attention and FlexAttention: softmax(Q Kᵀ · scale, capped, biased) V for each head of each sequence. Query
 * heads share key and value heads in contiguous groups. Everything is in double; types narrower than that are
 * met again where a result is stored, or handed to a graph that modifies scores. */
#include <math.h>
#include <string.h>

#include "ops/shared/attention_work.h"
#include "ops/shared/elementwise.h"
#include "ops/shared/values.h"
#include "tensor/convert.h"

/* ---- the common part ---- */

typedef struct attention {
  int64_t batch, q_heads, kv_heads, q_len, kv_len, size, v_size; /* kv_len: all keys, past ones included */
  double scale;
  const double *q, *k, *v; /* [batch, heads, length, size] */
} attention;

static const double *head_of(const double *v, int64_t b, int64_t heads, int64_t h, int64_t length,
                             int64_t size) {
  return v + (b * heads + h) * length * size;
}

/* scores[i, j] = q[i] · k[j] · scale for one head. */
static void score(const attention *a, int64_t b, int64_t h, double *scores) {
  const double *q = head_of(a->q, b, a->q_heads, h, a->q_len, a->size);
  const double *k = head_of(a->k, b, a->kv_heads, h / (a->q_heads / a->kv_heads), a->kv_len, a->size);
  for (int64_t i = 0; i < a->q_len; i++, q += a->size)
    for (int64_t j = 0; j < a->kv_len; j++) {
      double sum = 0;
      for (int64_t d = 0; d < a->size; d++) sum += q[d] * k[j * a->size + d];
      *scores++ = sum * a->scale;
    }
}

/* y[i] = sum of p[i, j] * v[j] for one head; rows of y are `stride` apart. */
static void mix(const attention *a, int64_t b, int64_t h, const double *p, double *y, int64_t stride) {
  const double *v = head_of(a->v, b, a->kv_heads, h / (a->q_heads / a->kv_heads), a->kv_len, a->v_size);
  for (int64_t i = 0; i < a->q_len; i++, p += a->kv_len, y += stride)
    for (int64_t j = 0; j < a->kv_len; j++)
      for (int64_t d = 0; d < a->v_size; d++) y[d] += p[j] * v[j * a->v_size + d];
}

/* A row becomes its softmax; one of nothing but -inf becomes zeros. */
static void softmax(double *row, int64_t n) {
  double most = -INFINITY, sum = 0;
  for (int64_t j = 0; j < n; j++)
    if (row[j] > most || isnan(row[j])) most = row[j];
  for (int64_t j = 0; j < n; j++) sum += row[j] = most == -INFINITY ? 0 : exp(row[j] - most);
  for (int64_t j = 0; j < n; j++) row[j] /= sum == 0 ? 1 : sum;
}

static ifd_status check_sizes(ifd_error *err, const attention *a, int64_t k_size, int64_t v_heads,
                              int64_t v_len) {
  int64_t n;
  EXPECT(err, k_size == a->size && v_heads == a->kv_heads && v_len == a->kv_len, BAD_INPUT,
         "Q, K and V have sizes that do not fit");
  EXPECT(err, a->kv_heads > 0 ? a->q_heads % a->kv_heads == 0 : a->q_heads == 0, BAD_INPUT,
         "%lld query heads for %lld key heads", (long long)a->q_heads, (long long)a->kv_heads);
  EXPECT(err,
         ifd_mul_i64(&n, a->batch, a->q_heads) && ifd_mul_i64(&n, n, a->q_len) &&
             ifd_mul_i64(&n, n, a->kv_len) && n < INT64_MAX / (int64_t)sizeof(double),
         LIMIT, "too many scores");
  return IFD_OK;
}

static double cost_attention(const ifd_node *node, const ifd_shape *in, const ifd_shape *out) {
  (void)out;
  const ifd_shape *q = &in[0], *k = &in[1], *v = &in[2];
  if (q->rank == 4)
    return (double)q->dim[0] * (double)q->dim[1] * (double)q->dim[2] * (double)k->dim[2] *
           (double)(q->dim[3] + v->dim[3]);
  double kv_heads = (double)ifd_node_int(node, "kv_num_heads", 1),
         heads = (double)ifd_node_int(node, "q_num_heads", 1);
  return (double)q->dim[0] * (double)q->dim[1] * (double)k->dim[1] *
         ((double)q->dim[2] + heads * (double)v->dim[2] / kv_heads);
}

/* ---- Attention: inputs ---- */

enum { Q, K, V, MASK, PAST_KEY, PAST_VALUE, LENGTHS, N_INPUTS };
enum { SCORES, CAPPED, BIASED, PROBABILITIES }; /* what output 3 is, by attribute */

typedef struct options {
  bool packed; /* inputs are [batch, length, heads * size] */
  bool causal;
  int64_t left, right; /* window; -1: unbounded */
  double softcap;
  int64_t mode;
  int64_t past; /* length */
  const int64_t *lengths;
  const double *mask;
  bool mask_is_bool;
  int64_t mask_length; /* of its last dimension; keys beyond see nothing */
  int64_t mask_strides[4];
} options;

/* Heads, length and size of a tensor of 3 (heads given by an attribute) or 4 dimensions. */
static ifd_status split_heads(ifd_error *err, const ifd_node *node, const ifd_shape *const *shapes, int i,
                              const char *attr, int64_t *heads, int64_t *length, int64_t *size) {
  const ifd_shape *s = shapes[i], *q = shapes[Q];
  EXPECT(err, s->rank == 3 || s->rank == 4, BAD_INPUT, "input %d has rank %d, not 3 or 4", i, s->rank);
  EXPECT(err, s->rank == q->rank && s->dim[0] == q->dim[0], BAD_INPUT,
         "Q, K and V do not have the same rank and batch");
  *heads = s->rank == 4 ? s->dim[1] : ifd_node_int(node, attr, 0);
  EXPECT(err, s->rank == 4 || (*heads > 0 && s->dim[2] % *heads == 0), BAD_INPUT,
         "attribute %s does not divide the last dimension of input %d, %lld", attr, i, (long long)s->dim[2]);
  *length = s->dim[s->rank - 2];
  *size = s->rank == 4 ? s->dim[3] : s->dim[2] / *heads;
  return IFD_OK;
}

/* A past key or value must be [batch, heads, length, size]; its length. */
static ifd_status past_length(ifd_error *err, const ifd_shape *const *shapes, int i, int64_t heads,
                              int64_t size, int64_t *length) {
  const ifd_shape *p = shapes[i];
  EXPECT(err, p->rank == 4 && p->dim[0] == shapes[Q]->dim[0] && p->dim[1] == heads && p->dim[3] == size,
         BAD_INPUT, "input %d is not [%lld,%lld,length,%lld]", i, (long long)shapes[Q]->dim[0],
         (long long)heads, (long long)size);
  *length = p->dim[2];
  return IFD_OK;
}

static ifd_status settle_sizes(ifd_error *err, const ifd_node *node, const ifd_shape *const *shapes,
                               attention *a, options *o) {
  int64_t k_size, v_heads, v_len, v_past = 0;
  TRY(split_heads(err, node, shapes, Q, "q_num_heads", &a->q_heads, &a->q_len, &a->size));
  TRY(split_heads(err, node, shapes, K, "kv_num_heads", &a->kv_heads, &a->kv_len, &k_size));
  TRY(split_heads(err, node, shapes, V, "kv_num_heads", &v_heads, &v_len, &a->v_size));
  EXPECT(err, !shapes[PAST_KEY] == !shapes[PAST_VALUE], BAD_INPUT,
         "past_key and past_value are not used together");
  a->batch = shapes[Q]->dim[0];
  o->packed = shapes[Q]->rank == 3;
  if (shapes[PAST_KEY]) {
    TRY(past_length(err, shapes, PAST_KEY, a->kv_heads, k_size, &o->past));
    TRY(past_length(err, shapes, PAST_VALUE, v_heads, a->v_size, &v_past));
    a->kv_len += o->past;
    v_len += v_past;
  }
  return check_sizes(err, a, k_size, v_heads, v_len);
}

/* The mask broadcasts to [batch, heads, queries, keys]; its last dimension may be shorter than the keys. Up
 * to opset 23 one of 1 is broadcast like the others; since, it is short. */
static ifd_status settle_mask(ifd_error *err, const ifd_shape *mask, bool one_is_short, const attention *a,
                              options *o) {
  if (!mask) return IFD_OK;
  ifd_shape whole = {4, {a->batch, a->q_heads, a->q_len, a->kv_len}}, both;
  EXPECT(err, mask->rank >= 1 && mask->rank <= 4, BAD_INPUT, "attn_mask has rank %d", mask->rank);
  int64_t last = mask->dim[mask->rank - 1];
  bool broadcast = last == 1 && !one_is_short;
  EXPECT(err, last <= a->kv_len, BAD_INPUT, "attn_mask is for %lld keys; there are %lld", (long long)last,
         (long long)a->kv_len);
  if (!broadcast) whole.dim[3] = last;
  TRY(ifd_shape_broadcast(err, &both, mask, &whole));
  EXPECT(err, ifd_shape_equal(&both, &whole), BAD_INPUT, "attn_mask does not broadcast to the scores");
  ifd_shape_broadcast_strides(mask, &whole, o->mask_strides);
  o->mask_length = broadcast ? a->kv_len : last;
  return IFD_OK;
}

/* All that attributes and shapes (by input, NULL: absent) say. */
static ifd_status settle(ifd_error *err, const ifd_node *node, const ifd_shape *const *shapes,
                         bool one_is_short, attention *a, options *o) {
  o->causal = ifd_attr_int(node, "is_causal") != 0;
  o->softcap = ifd_attr_float(node, "softcap");
  o->mode = ifd_attr_int(node, "qk_matmul_output_mode");
  o->left = ifd_node_int(node, "left_window_size", -1);
  o->right = ifd_node_int(node, "right_window_size", -1);
  EXPECT(err, o->left >= -1 && o->right >= -1, BAD_MODEL, "a window size is below -1");
  EXPECT(err, o->mode >= SCORES && o->mode <= PROBABILITIES, BAD_MODEL,
         "attribute qk_matmul_output_mode is %lld", (long long)o->mode);
  TRY(settle_sizes(err, node, shapes, a, o));
  const ifd_attr *scale = ifd_node_find_attr(node, "scale");
  a->scale = scale ? ifd_node_float(node, "scale", 0) : 1 / sqrt((double)a->size);
  if (shapes[LENGTHS])
    EXPECT(err, ifd_shape_count(shapes[LENGTHS]) == a->batch && !shapes[PAST_KEY], BAD_INPUT,
           "nonpad_kv_seqlen has not one element for each of %lld samples, or is used with past keys",
           (long long)a->batch);
  return settle_mask(err, shapes[MASK], one_is_short, a, o);
}

static void input_shapes(const ifd_eval *x, const ifd_shape **shapes) {
  for (int i = 0; i < N_INPUTS; i++) shapes[i] = ifd_eval_has(x, i) ? ifd_eval_shape(x, i) : NULL;
}

/* Input i as [batch, heads, past + length, size], with what input `past` holds before it. */
static ifd_status gather(ifd_eval *x, const double **out, int i, int past, int64_t heads, int64_t size) {
  const ifd_shape *s = ifd_eval_shape(x, i);
  const double *v, *before = NULL;
  double *to;
  int64_t batch = s->dim[0], length = s->dim[s->rank - 2], n_past = 0;
  bool packed = s->rank == 3;
  TRY(ifd_eval_f64(x, &v, i));
  if (past && ifd_eval_has(x, past)) {
    n_past = ifd_eval_shape(x, past)->dim[2];
    TRY(ifd_eval_f64(x, &before, past));
  }
  ifd_shape whole = {4, {batch, heads, n_past + length, size}};
  TRY(ifd_shape_check(x->err, &whole, sizeof(double)));
  TRY(ifd_eval_zeros(x, &to, ifd_shape_count(&whole)));
  *out = to;
  for (int64_t r = 0; r < batch * heads; r++) {
    if (n_past) memcpy(to, before + r * n_past * size, sizeof *to * (size_t)(n_past * size));
    to += n_past * size;
    for (int64_t t = 0; t < length; t++, to += size) {
      int64_t from = packed ? ((r / heads * length + t) * heads + r % heads) * size : (r * length + t) * size;
      if (size) memcpy(to, v + from, sizeof *to * (size_t)size);
    }
  }
  return IFD_OK;
}

static ifd_status read_tensors(ifd_eval *x, attention *a) {
  TRY(gather(x, &a->q, Q, 0, a->q_heads, a->size));
  TRY(gather(x, &a->k, K, PAST_KEY, a->kv_heads, a->size));
  return gather(x, &a->v, V, PAST_VALUE, a->kv_heads, a->v_size);
}

static ifd_status read_bias(ifd_eval *x, const attention *a, options *o) {
  int64_t n;
  if (ifd_eval_has(x, LENGTHS)) {
    TRY(ifd_eval_ints(x, &o->lengths, &n, LENGTHS));
    for (int64_t b = 0; b < n; b++)
      EXPECT(x->err, o->lengths[b] >= 0 && o->lengths[b] <= a->kv_len, BAD_INPUT,
             "nonpad_kv_seqlen has %lld; there are %lld keys", (long long)o->lengths[b],
             (long long)a->kv_len);
  }
  o->mask_is_bool = ifd_eval_has(x, MASK) && ifd_eval_dtype(x, MASK) == IFD_BOOL;
  return ifd_eval_find_f64(x, &o->mask, MASK);
}

/* ---- Attention: scores ---- */

static double cap(double v, double softcap) { return softcap > 0 ? softcap * tanh(v / softcap) : v; }

/* What is added to the score of query i and key j: 0, a number of the mask, or -inf. */
static double bias_at(const options *o, const attention *a, int64_t b, int64_t h, int64_t i, int64_t j) {
  int64_t offset = o->lengths ? o->lengths[b] - a->q_len : o->past, at = i + offset;
  if (o->causal && j > at) return -INFINITY;
  if (o->left >= 0 && at - j > o->left) return -INFINITY;
  if (o->right >= 0 && j - at > o->right) return -INFINITY;
  if (o->lengths && j >= o->lengths[b]) return -INFINITY;
  if (!o->mask) return 0;
  if (j >= o->mask_length) return -INFINITY;
  const int64_t *s = o->mask_strides;
  double m = o->mask[b * s[0] + h * s[1] + i * s[2] + j * s[3]];
  return o->mask_is_bool ? (m != 0 ? 0 : -INFINITY) : m;
}

/* One row of scores to probabilities; `keep` receives what output 3 asks for. A row that may see no key is
 * zero, whatever its scores are. */
static void finish_row(const options *o, const attention *a, int64_t b, int64_t h, int64_t i, double *row,
                       double *keep) {
  size_t bytes = sizeof *row * (size_t)a->kv_len;
  bool sees = false;
  if (o->mode == SCORES) memcpy(keep, row, bytes);
  for (int64_t j = 0; j < a->kv_len; j++) row[j] = cap(row[j], o->softcap);
  if (o->mode == CAPPED) memcpy(keep, row, bytes);
  for (int64_t j = 0; j < a->kv_len; j++) {
    double bias = bias_at(o, a, b, h, i, j);
    sees |= bias != -INFINITY;
    row[j] += bias;
  }
  if (o->mode == BIASED) memcpy(keep, row, bytes);
  softmax(row, a->kv_len);
  for (int64_t j = 0; j < a->kv_len && !sees; j++) row[j] = 0;
  if (o->mode == PROBABILITIES) memcpy(keep, row, bytes);
}

static ifd_status attend(ifd_eval *x, const attention *a, const options *o, double *y, double *kept) {
  double *rows;
  TRY(ifd_eval_zeros(x, &rows, a->q_len * a->kv_len));
  for (int64_t b = 0; b < a->batch; b++)
    for (int64_t h = 0; h < a->q_heads; h++) {
      score(a, b, h, rows);
      for (int64_t i = 0; i < a->q_len; i++, kept += a->kv_len)
        finish_row(o, a, b, h, i, rows + i * a->kv_len, kept);
      int64_t at = o->packed ? b * a->q_len * a->q_heads + h : (b * a->q_heads + h) * a->q_len;
      mix(a, b, h, rows, y + at * a->v_size, o->packed ? a->q_heads * a->v_size : a->v_size);
    }
  return IFD_OK;
}

static ifd_status eval_attention(ifd_eval *x, bool one_is_short) {
  attention a = {0};
  options o = {0};
  double *y, *kept;
  const ifd_shape *shapes[N_INPUTS];
  input_shapes(x, shapes);
  TRY(settle(x->err, x->node, shapes, one_is_short, &a, &o));
  TRY(read_tensors(x, &a));
  TRY(read_bias(x, &a, &o));
  ifd_shape out = {4, {a.batch, a.q_heads, a.q_len, a.v_size}};
  if (o.packed) out = (ifd_shape){3, {a.batch, a.q_len, a.q_heads * a.v_size}};
  ifd_shape key = {4, {a.batch, a.kv_heads, a.kv_len, a.size}},
            value = {4, {a.batch, a.kv_heads, a.kv_len, a.v_size}};
  ifd_shape scores = {4, {a.batch, a.q_heads, a.q_len, a.kv_len}};
  TRY(ifd_shape_check(x->err, &out, sizeof(double)));
  TRY(ifd_eval_zeros(x, &y, ifd_shape_count(&out)));
  TRY(ifd_eval_zeros(x, &kept, ifd_shape_count(&scores)));
  TRY(attend(x, &a, &o, y, kept));
  TRY(ifd_eval_put_f64(x, 0, ifd_eval_dtype(x, Q), &out, y));
  TRY(ifd_eval_put_f64(x, 1, ifd_eval_dtype(x, K), &key, a.k));
  TRY(ifd_eval_put_f64(x, 2, ifd_eval_dtype(x, V), &value, a.v));
  return ifd_eval_put_f64(x, 3, ifd_eval_dtype(x, Q), &scores, kept);
}
static ifd_status eval_attention_23(ifd_eval *x) { return eval_attention(x, false); }
static ifd_status eval_attention_24(ifd_eval *x) { return eval_attention(x, true); }

/* ---- Attention: on kernels ---- */

static ifd_status lower_attention(ifd_lower *x, bool one_is_short) {
  const ifd_shape *shapes[N_INPUTS];
  attention a = {0};
  options o = {0};
  for (int i = 0; i < N_INPUTS; i++) shapes[i] = i < x->node->n_inputs && x->in[i] ? &x->in[i]->shape : NULL;
  TRY(settle(x->err, x->node, shapes, one_is_short, &a, &o));
  ifd_attention_layer l = {.batch = a.batch,
                           .q_heads = a.q_heads,
                           .kv_heads = a.kv_heads,
                           .q_len = a.q_len,
                           .kv_len = a.kv_len,
                           .size = a.size,
                           .v_size = a.v_size,
                           .past = o.past,
                           .scale = (float)a.scale,
                           .softcap = (float)o.softcap,
                           .causal = o.causal,
                           .left = o.left,
                           .right = o.right,
                           .mode = (int)o.mode,
                           .mask_is_bool = shapes[MASK] && x->in[MASK]->dtype == IFD_BOOL,
                           .mask_length = o.mask_length};
  memcpy(l.mask_strides, o.mask_strides, sizeof l.mask_strides);
  l.q = ifd_attention_rows_of(o.packed, a.q_heads, a.q_len, a.size);
  l.k = ifd_attention_rows_of(o.packed, a.kv_heads, a.kv_len - o.past, a.size);
  l.v = ifd_attention_rows_of(o.packed, a.kv_heads, a.kv_len - o.past, a.v_size);
  l.y = ifd_attention_rows_of(o.packed, a.q_heads, a.q_len, a.v_size);
  return ifd_lower_attention(x, &l);
}
static ifd_status lower_attention_23(ifd_lower *x) { return lower_attention(x, false); }
static ifd_status lower_attention_24(ifd_lower *x) { return lower_attention(x, true); }

/* ---- Attention: inference ---- */

/* Dimensions [batch, heads, length, size] of an input of 3 or 4 dimensions. */
static ifd_status infer_heads(ifd_infer *x, int i, const char *attr, ifd_dim *d) {
  int rank = ifd_infer_rank(x, i);
  for (int k = 0; k < 4; k++) d[k] = ifd_dim_unknown(x->dims);
  if (rank == 4)
    for (int k = 0; k < 4; k++) d[k] = ifd_infer_dim(x, i, k);
  if (rank != 3) return IFD_OK;
  d[0] = ifd_infer_dim(x, i, 0);
  d[1] = ifd_node_int(x->node, attr, 1);
  EXPECT(x->err, d[1] > 0 && d[1] <= INT32_MAX, BAD_MODEL, "attribute %s is %lld", attr, (long long)d[1]);
  d[2] = ifd_infer_dim(x, i, 1);
  d[3] = ifd_dim_floor_div(x->dims, ifd_infer_dim(x, i, 2), d[1]);
  return IFD_OK;
}

static ifd_dim with_past(ifd_infer *x, ifd_dim length, int past) {
  if (!ifd_node_has_input(x->node, past)) return length;
  return ifd_infer_rank(x, past) == 4 ? ifd_dim_add(x->dims, length, ifd_infer_dim(x, past, 2))
                                      : ifd_dim_unknown(x->dims);
}

static ifd_status infer_attention(ifd_infer *x) {
  ifd_dim q[4], k[4], v[4];
  int rank = ifd_infer_rank(x, Q);
  TRY(infer_heads(x, Q, "q_num_heads", q));
  TRY(infer_heads(x, K, "kv_num_heads", k));
  TRY(infer_heads(x, V, "kv_num_heads", v));
  k[2] = with_past(x, k[2], PAST_KEY);
  v[2] = with_past(x, v[2], PAST_VALUE);
  const ifd_dim y3[] = {q[0], q[2], ifd_dim_mul(x->dims, q[1], v[3])}, y4[] = {q[0], q[1], q[2], v[3]};
  const ifd_dim scores[] = {q[0], q[1], q[2], k[2]};
  if (rank < 0)
    TRY(ifd_infer_unranked(x, 0, ifd_infer_dtype(x, Q)));
  else
    TRY(ifd_infer_tensor(x, 0, ifd_infer_dtype(x, Q), rank == 3 ? 3 : 4, rank == 3 ? y3 : y4));
  TRY(ifd_infer_tensor(x, 1, ifd_infer_dtype(x, K), 4, k));
  TRY(ifd_infer_tensor(x, 2, ifd_infer_dtype(x, V), 4, v));
  return ifd_infer_tensor(x, 3, ifd_infer_dtype(x, Q), 4, scores);
}

/* ---- FlexAttention ---- */

/* The type of scores: attribute softmax_precision, or float, or double for double. */
static ifd_dtype score_dtype(const ifd_node *node, ifd_dtype q) {
  return (ifd_dtype)ifd_node_int(node, "softmax_precision", q == IFD_DOUBLE ? IFD_DOUBLE : IFD_FLOAT);
}

static ifd_status infer_flex_attention(ifd_infer *x) {
  static const char *const graphs[] = {"score_mod", "prob_mod"};
  ifd_dim q[4], k[4], v[4];
  TRY(infer_heads(x, Q, "", q));
  TRY(infer_heads(x, K, "", k));
  TRY(infer_heads(x, V, "", v));
  const ifd_dim y[] = {q[0], q[1], q[2], v[3]}, scores[] = {q[0], q[1], q[2], k[2]};
  const ifd_type *type, *result;
  ALLOC(x->err, type, ifd_type_tensor(x->arena, score_dtype(x->node, ifd_infer_dtype(x, Q)), 4, scores));
  for (int i = 0; i < 2; i++) {
    const ifd_graph *graph = ifd_node_graph(x->node, graphs[i]);
    if (!graph) continue;
    EXPECT(x->err, graph->inputs.n == 1 && graph->outputs.n == 1, BAD_MODEL,
           "attribute %s has not one input and one output", graphs[i]);
    TRY(x->subgraph(x, graph, &type, 1, &result, 1));
  }
  return ifd_infer_tensor(x, 0, ifd_infer_dtype(x, Q), 4, y);
}

/* values = graph(values), as a tensor of `dtype` and the shape. */
static ifd_status modify(ifd_eval *x, const char *attr, ifd_dtype dtype, const ifd_shape *shape,
                         double *values) {
  const ifd_graph *graph = ifd_node_graph(x->node, attr);
  if (!graph) return IFD_OK;
  EXPECT(x->err, graph->inputs.n == 1 && graph->outputs.n == 1, BAD_MODEL,
         "attribute %s has not one input and one output", attr);
  EXPECT(x->err, x->run_graph, UNSUPPORTED, "no graph can be run here");
  ifd_datum in = {.kind = IFD_KIND_TENSOR}, out = {0};
  if (x->float64 && dtype == IFD_FLOAT) dtype = IFD_DOUBLE;
  TRY(ifd_tensor_create(x->err, &in.tensor, x->budget, dtype, shape));
  int64_t n = ifd_shape_count(shape);
  ifd_store_f64(dtype, in.tensor.data, values, n);
  ifd_status status = x->run_graph(x, graph, &in, 1, &out, 1);
  bool fits = status == IFD_OK && out.kind == IFD_KIND_TENSOR && ifd_shape_equal(&out.tensor.shape, shape) &&
              ifd_dtype_is_float(out.tensor.dtype);
  if (fits) ifd_load_f64(out.tensor.dtype, out.tensor.data, values, n);
  ifd_datum_unref(&in);
  ifd_datum_unref(&out);
  TRY(status);
  EXPECT(x->err, fits, BAD_INPUT, "attribute %s does not keep the scores' shape", attr);
  return IFD_OK;
}

static ifd_status eval_flex_attention(ifd_eval *x) {
  attention a = {0};
  options o = {0};
  double *scores, *y;
  EXPECT(x->err, ifd_eval_shape(x, Q)->rank == 4, BAD_INPUT, "Q has rank %d, not 4",
         ifd_eval_shape(x, Q)->rank);
  const ifd_shape *shapes[N_INPUTS];
  input_shapes(x, shapes);
  TRY(settle_sizes(x->err, x->node, shapes, &a, &o));
  TRY(read_tensors(x, &a));
  const ifd_attr *scale = ifd_node_find_attr(x->node, "scale");
  a.scale = scale ? ifd_node_float(x->node, "scale", 0) : 1 / sqrt((double)a.size);
  ifd_shape shape = {4, {a.batch, a.q_heads, a.q_len, a.kv_len}},
            out = {4, {a.batch, a.q_heads, a.q_len, a.v_size}};
  TRY(ifd_shape_check(x->err, &out, sizeof(double)));
  int64_t per_head = a.q_len * a.kv_len, heads = a.batch * a.q_heads;
  ifd_dtype dtype = score_dtype(x->node, ifd_eval_dtype(x, Q));
  EXPECT(x->err, ifd_dtype_valid(dtype) && ifd_dtype_is_float(dtype), BAD_MODEL,
         "attribute softmax_precision is not a float type");
  TRY(ifd_eval_zeros(x, &scores, heads * per_head));
  TRY(ifd_eval_zeros(x, &y, ifd_shape_count(&out)));
  for (int64_t r = 0; r < heads; r++) score(&a, r / a.q_heads, r % a.q_heads, scores + r * per_head);
  TRY(modify(x, "score_mod", dtype, &shape, scores));
  for (int64_t i = 0; i < heads * a.q_len; i++) softmax(scores + i * a.kv_len, a.kv_len);
  TRY(modify(x, "prob_mod", dtype, &shape, scores));
  for (int64_t r = 0; r < heads; r++)
    mix(&a, r / a.q_heads, r % a.q_heads, scores + r * per_head, y + r * a.q_len * a.v_size, a.v_size);
  return ifd_eval_put_f64(x, 0, ifd_eval_dtype(x, Q), &out, y);
}

const ifd_op ifd_ops_attention[] = {{.name = "Attention",
                                     .since = 23,
                                     .infer = infer_attention,
                                     .eval = eval_attention_23,
                                     .lower = lower_attention_23,
                                     .cost = cost_attention},
                                    {.name = "Attention",
                                     .since = 24,
                                     .infer = infer_attention,
                                     .eval = eval_attention_24,
                                     .lower = lower_attention_24,
                                     .cost = cost_attention},
                                    {.name = "FlexAttention",
                                     .domain = "ai.onnx.preview",
                                     .since = 1,
                                     .infer = infer_flex_attention,
                                     .eval = eval_flex_attention,
                                     .cost = cost_attention},
                                    {0}};
