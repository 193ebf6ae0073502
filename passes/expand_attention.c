#include <string.h>

#include "pass/foreign.h"
#include "pass/ints.h"

/* The attentions of ONNX Runtime's transformer optimizer (domain com.microsoft) are written as ONNX's
 * Attention: projections before it, masks of integers as numbers that are added to the scores. */

enum { SINCE = 13, MOST_HEADS = 1 << 20 }; /* Unsqueeze and Split with inputs */

/* What becomes Attention: of [batch, length, heads * size], or, by heads, [batch, heads, length, size]. */
typedef struct attention {
  ifd_node *node;
  ifd_value *q, *k, *v, *bias, *past_k, *past_v; /* bias, past_k, past_v may be NULL */
  ifd_value *y, *present_k, *present_v;          /* made */
  bool wants_present;
} attention;

/* ---- pieces ---- */

static ifd_status unsqueeze(ifd_rewrite *rw, ifd_value **x, const int64_t *axes, int n) {
  ifd_node *node;
  TRY(ifd_ints_add_node(rw, &node, "Unsqueeze", *x, "axes", axes, n, 1));
  *x = node->outputs[0];
  return IFD_OK;
}

/* All keys: new ones, along axis 1 of k, and past ones. */
static ifd_status count_keys(ifd_rewrite *rw, ifd_value **out, ifd_value *k, ifd_value *past_k) {
  ifd_value *past = NULL;
  TRY(ifd_foreign_length(rw, out, k, 1, true));
  if (past_k) TRY(ifd_foreign_length(rw, &past, past_k, 2, true));
  return ifd_foreign_binary(rw, out, "Add", *out, past);
}

/* ---- masks ---- */

/* [batch, keys], true where there is a key: before the end of each sample. */
static ifd_status before_end(ifd_rewrite *rw, ifd_value **seen, ifd_value *ends, ifd_value *n_keys) {
  ifd_value *at;
  TRY(ifd_foreign_count(rw, &at, n_keys));
  TRY(ifd_foreign_cast(rw, &ends, IFD_INT64));
  TRY(unsqueeze(rw, &ends, (int64_t[]){1}, 1));
  return ifd_foreign_binary(rw, seen, "Less", at, ends);
}

/* What a mask of integers adds to the scores, [batch, 1, 1 or queries, keys]: ends of samples [batch], keys
 * that count [batch, keys], or those for each query [batch, queries, keys]. *out is NULL after a refusal. */
static ifd_status mask_of(ifd_rewrite *rw, ifd_value **out, const ifd_node *node, ifd_value *mask,
                          ifd_value *n_keys) {
  ifd_value *none, *hidden, *zero, *seen;
  int rank = ifd_rw_rank(rw, mask);
  *out = NULL;
  bool ends = rank == 1 && ifd_rw_dim(rw, mask, 0) == ifd_rw_dim(rw, node->inputs[0], 0);
  if (rank != 2 && rank != 3 && !ends) return ifd_rw_refuse(rw, "its mask is of a kind that ONNX has not");
  if (ends) {
    TRY(before_end(rw, &seen, mask, n_keys));
  } else {
    TRY(ifd_foreign_number(rw, &zero, mask, 0));
    TRY(ifd_foreign_binary(rw, &seen, "Greater", mask, zero));
  }
  TRY(unsqueeze(rw, &seen, (int64_t[]){1, 2}, rank == 3 ? 1 : 2));
  TRY(ifd_rw_add_scalar(rw, &none, IFD_FLOAT, 0, "seen"));
  TRY(ifd_rw_add_scalar(rw, &hidden, IFD_FLOAT, ifd_node_float(node, "mask_filter_value", -10000.f),
                        "hidden"));
  return ifd_foreign_apply(rw, out, "Where", (ifd_value *[]){seen, none, hidden}, 3);
}

/* ---- Attention ---- */

static ifd_status add_attention(ifd_rewrite *rw, attention *a) {
  ifd_error *err = ifd_rw_error(rw);
  const ifd_node *node = a->node;
  ifd_value *in[6] = {a->q, a->k, a->v, a->bias, a->past_k, a->past_v};
  float scale = ifd_node_float(node, "scale", 0);
  int64_t heads = ifd_node_int(node, "num_heads", 0);
  ifd_node *made;
  TRY(ifd_rw_add_node(rw, &made, "Attention", in, a->past_k ? 6 : a->bias ? 4 : 3, a->wants_present ? 3 : 1));
  made->name = node->name;
  TRY(ifd_node_set_int(err, made, "q_num_heads", heads));
  TRY(ifd_node_set_int(err, made, "kv_num_heads", heads));
  if (scale != 0) TRY(ifd_node_set_float(err, made, "scale", scale));
  if (ifd_node_int(node, "unidirectional", 0)) TRY(ifd_node_set_int(err, made, "is_causal", 1));
  a->y = made->outputs[0];
  if (a->wants_present) a->present_k = made->outputs[1], a->present_v = made->outputs[2];
  return IFD_OK;
}

/* What the operators have in common: heads, and a type that numbers can be written in. */
static ifd_status begin(ifd_rewrite *rw, const ifd_node *node, const ifd_value *real, bool *fits) {
  int64_t heads = ifd_node_int(node, "num_heads", 0);
  *fits = false;
  if (!ifd_rw_offers(rw, node, "Attention")) return ifd_rw_refuse(rw, "ONNX has Attention from opset 23 on");
  if (heads < 1 || heads > MOST_HEADS) return ifd_rw_refuse(rw, "the number of its heads is not known");
  if (ifd_rw_dtype(rw, real) != IFD_FLOAT) return ifd_rw_refuse(rw, "it is not of float");
  *fits = true;
  return IFD_OK;
}

/* ---- Attention and QAttention: with the projections ---- */

/* Widths of Q, K and V side by side. */
static bool widths_of(ifd_rewrite *rw, const ifd_node *node, int64_t width[3]) {
  const ifd_value *w = node->inputs[1];
  const int64_t *sizes;
  int n = ifd_node_ints(node, "qkv_hidden_sizes", &sizes);
  if (ifd_rw_rank(rw, w) != 2 || !ifd_dim_is_number(ifd_rw_dim(rw, w, 1))) return false;
  int64_t all = ifd_rw_dim(rw, w, 1);
  for (int i = 0; i < 3; i++) width[i] = n == 3 ? sizes[i] : all / 3;
  for (int i = 0; i < 3; i++)
    if (width[i] < 1 || width[i] > all) return false;
  return width[0] == width[1] && width[0] + width[1] + width[2] == all;
}

/* Past and present are [2, batch, heads, length, size]: keys, then values. */
static ifd_status split_past(ifd_rewrite *rw, attention *a, ifd_value *past) {
  ifd_node *part[2];
  for (int i = 0; i < 2; i++) TRY(ifd_rw_add_gather(rw, &part[i], past, 0, i, false));
  a->past_k = part[0]->outputs[0];
  a->past_v = part[1]->outputs[0];
  return IFD_OK;
}

static ifd_status join_present(ifd_rewrite *rw, attention *a) {
  ifd_value *in[2] = {a->present_k, a->present_v};
  ifd_node *concat;
  for (int i = 0; i < 2; i++) TRY(unsqueeze(rw, &in[i], (int64_t[]){0}, 1));
  TRY(ifd_rw_add_node(rw, &concat, "Concat", in, 2, 1));
  TRY(ifd_node_set_int(ifd_rw_error(rw), concat, "axis", 0));
  return ifd_rw_replace(rw, a->node->outputs[1], concat->outputs[0]);
}

/* Of the projections' sums [batch, length, Q, K, V]. */
static ifd_status attend(ifd_rewrite *rw, ifd_node *node, ifd_value *sums, ifd_value *mask, ifd_value *past,
                         ifd_value *further) {
  attention a = {.node = node, .wants_present = ifd_node_has_output(node, 1)};
  int64_t width[3];
  ifd_value *n_keys, *hidden = NULL;
  ifd_node *split;
  if (!widths_of(rw, node, width)) return ifd_rw_refuse(rw, "the widths of its projections are not known");
  TRY(ifd_ints_add_split(rw, &split, sums, 2, width, 3));
  a.q = split->outputs[0], a.k = split->outputs[1], a.v = split->outputs[2];
  if (past) TRY(split_past(rw, &a, past));
  if (mask) {
    TRY(count_keys(rw, &n_keys, node->inputs[0], a.past_k));
    TRY(mask_of(rw, &hidden, node, mask, n_keys));
    if (!hidden) return IFD_OK;
  }
  TRY(ifd_foreign_binary(rw, &a.bias, "Add", hidden, further));
  TRY(add_attention(rw, &a));
  if (a.wants_present) TRY(join_present(rw, &a));
  return ifd_rw_replace(rw, node->outputs[0], a.y);
}

/* Whether attributes ask for what Attention of ONNX does not do. */
static ifd_status is_plain(ifd_rewrite *rw, const ifd_node *node, bool *plain) {
  *plain = !ifd_node_int(node, "do_rotary", 0) && !ifd_node_int(node, "past_present_share_buffer", 0);
  return *plain ? IFD_OK : ifd_rw_refuse(rw, "it turns its keys, or keeps them in place");
}

static ifd_status expand_attention(ifd_rewrite *rw, ifd_node *node) {
  enum { X, W, BIAS, MASK, PAST, ADDED, PAST_LENGTH };
  ifd_value *sums;
  bool fits, plain;
  if (!ifd_is_foreign(node, SINCE, 3)) return IFD_OK;
  TRY(begin(rw, node, node->inputs[X], &fits));
  if (fits) TRY(is_plain(rw, node, &plain));
  if (!fits || !plain) return IFD_OK;
  if (ifd_node_has_input(node, PAST_LENGTH)) return ifd_rw_refuse(rw, "it keeps its keys in place");
  TRY(ifd_foreign_binary(rw, &sums, "MatMul", node->inputs[X], node->inputs[W]));
  TRY(ifd_foreign_binary(rw, &sums, "Add", sums, ifd_node_input(node, BIAS)));
  return attend(rw, node, sums, ifd_node_input(node, MASK), ifd_node_input(node, PAST),
                ifd_node_input(node, ADDED));
}

/* q, which is quantized as a whole, or a matrix by its columns. */
static ifd_status real_of(ifd_rewrite *rw, ifd_value **out, ifd_value *q, ifd_value *scale, ifd_value *zero) {
  ifd_value *in[3] = {q, scale, zero};
  return ifd_foreign_apply(rw, out, "DequantizeLinear", in, zero ? 3 : 2);
}

static bool is_scale(ifd_rewrite *rw, const ifd_value *q, const ifd_value *scale, const ifd_value *zero) {
  int rank = ifd_rw_rank(rw, scale);
  bool columns = rank == 1 && ifd_rw_rank(rw, q) == 2 && ifd_rw_dim(rw, scale, 0) == ifd_rw_dim(rw, q, 1);
  return (rank == 0 || columns) && (!zero || ifd_rw_rank(rw, zero) == rank);
}

static ifd_status expand_quantized(ifd_rewrite *rw, ifd_node *node) {
  enum { X, W, BIAS, X_SCALE, W_SCALE, MASK, X_ZERO, W_ZERO, PAST };
  ifd_value *x_zero = ifd_node_input(node, X_ZERO), *w_zero = ifd_node_input(node, W_ZERO);
  ifd_value *x, *w, *sums;
  bool fits, plain;
  if (!ifd_is_foreign(node, SINCE, 0x1f)) return IFD_OK;
  TRY(begin(rw, node, node->inputs[BIAS], &fits));
  if (fits) TRY(is_plain(rw, node, &plain));
  if (!fits || !plain) return IFD_OK;
  if (ifd_rw_rank(rw, node->inputs[X_SCALE]) != 0 || (x_zero && ifd_rw_rank(rw, x_zero) != 0) ||
      !is_scale(rw, node->inputs[W], node->inputs[W_SCALE], w_zero))
    return ifd_rw_refuse(rw, "its scales are not such as DequantizeLinear has");
  TRY(real_of(rw, &x, node->inputs[X], node->inputs[X_SCALE], x_zero));
  TRY(real_of(rw, &w, node->inputs[W], node->inputs[W_SCALE], w_zero));
  TRY(ifd_foreign_binary(rw, &sums, "MatMul", x, w));
  TRY(ifd_foreign_binary(rw, &sums, "Add", sums, node->inputs[BIAS]));
  return attend(rw, node, sums, ifd_node_input(node, MASK), ifd_node_input(node, PAST), NULL);
}

/* ---- MultiHeadAttention: without them ---- */

enum { Q, K, V, BIAS, MASK, ADDED, PAST_K, PAST_V, FURTHER };

static ifd_status join_heads(ifd_rewrite *rw, ifd_value **x) {
  ifd_value *shape;
  TRY(ifd_rw_add_ints(rw, &shape, (int64_t[]){0, 0, -1}, 3, "shape"));
  return ifd_foreign_binary(rw, x, "Reshape", *x, shape);
}

/* x [batch, length, heads, n, size] as n of [batch, length, width]. */
static ifd_status take_apart(ifd_rewrite *rw, ifd_value *x, ifd_value **part[], int n) {
  ifd_node *split;
  TRY(ifd_ints_add_split(rw, &split, x, 3, (int64_t[]){1, 1, 1}, n));
  for (int i = 0; i < n; i++) {
    *part[i] = split->outputs[i];
    TRY(join_heads(rw, part[i]));
  }
  return IFD_OK;
}

/* x [batch, heads, length, size] as [batch, length, width]. */
static ifd_status bring_heads_together(ifd_rewrite *rw, ifd_value **x) {
  TRY(ifd_foreign_swap_heads(rw, x));
  return join_heads(rw, x);
}

/* Q, K and V, each alone, K and V in one, or all in one: *fits says whether they are. */
static ifd_status find_parts(ifd_rewrite *rw, attention *a, bool *fits) {
  ifd_node *node = a->node;
  ifd_value *k = ifd_node_input(node, K), *v = ifd_node_input(node, V);
  int rank = ifd_rw_rank(rw, node->inputs[Q]), rank_k = ifd_rw_rank(rw, k), rank_v = ifd_rw_rank(rw, v);
  a->q = node->inputs[Q], a->k = k, a->v = v;
  *fits = true;
  if (rank == 5 && !k && !v) return take_apart(rw, a->q, (ifd_value * *[]){&a->q, &a->k, &a->v}, 3);
  if (rank == 3 && rank_k == 5 && !v) return take_apart(rw, k, (ifd_value * *[]){&a->k, &a->v}, 2);
  if (rank == 3 && rank_k == 4 && rank_v == 4) {
    TRY(bring_heads_together(rw, &a->k));
    return bring_heads_together(rw, &a->v);
  }
  *fits = rank == 3 && rank_k == 3 && rank_v == 3;
  return *fits ? IFD_OK : ifd_rw_refuse(rw, "its inputs are not known to be [batch, length, width]");
}

/* The width of Q, K or V, or an unknown. */
static ifd_dim width_of(ifd_rewrite *rw, const ifd_node *node, int i) {
  const ifd_value *x = ifd_node_input(node, i);
  while (!x && i > Q) x = node->inputs[--i];
  if (ifd_rw_rank(rw, x) != 5) return ifd_rw_dim(rw, x, 2);
  ifd_dim heads = ifd_rw_dim(rw, x, 2), size = ifd_rw_dim(rw, x, 4);
  bool known =
      ifd_dim_is_number(heads) && ifd_dim_is_number(size) && heads <= MOST_HEADS && size <= MOST_HEADS;
  return known ? heads * size : ifd_dim_unknown(ifd_rw_dims(rw));
}

/* One bias for Q, K and V side by side. */
static ifd_status add_biases(ifd_rewrite *rw, attention *a, ifd_value *bias, bool *fits) {
  int64_t width[3];
  ifd_value **of[3] = {&a->q, &a->k, &a->v};
  ifd_node *split;
  *fits = true;
  if (!bias) return IFD_OK;
  for (int i = Q; i <= V; i++) {
    ifd_dim d = width_of(rw, a->node, i);
    *fits &= ifd_dim_is_number(d) && ifd_rw_rank(rw, ifd_node_input(a->node, i)) != 4;
    width[i] = d;
  }
  if (!*fits) return ifd_rw_refuse(rw, "the widths of its projections are not known");
  TRY(ifd_ints_add_split(rw, &split, bias, 0, width, 3));
  for (int i = 0; i < 3; i++) TRY(ifd_foreign_binary(rw, of[i], "Add", *of[i], split->outputs[i]));
  return IFD_OK;
}

static ifd_status expand_multi_head(ifd_rewrite *rw, ifd_node *node) {
  attention a = {.node = node, .wants_present = ifd_node_has_output(node, 1) || ifd_node_has_output(node, 2)};
  ifd_value *n_keys, *mask = ifd_node_input(node, MASK), *hidden = NULL;
  bool fits;
  if (!ifd_is_foreign(node, SINCE, 1)) return IFD_OK;
  TRY(begin(rw, node, node->inputs[Q], &fits));
  if (fits) TRY(find_parts(rw, &a, &fits));
  if (!fits) return IFD_OK;
  if (ifd_node_has_input(node, FURTHER)) return ifd_rw_refuse(rw, "it keeps its keys in place");
  a.past_k = ifd_node_input(node, PAST_K), a.past_v = ifd_node_input(node, PAST_V);
  if (!a.past_k != !a.past_v) return ifd_rw_refuse(rw, "past keys and values are not used together");
  TRY(add_biases(rw, &a, ifd_node_input(node, BIAS), &fits));
  if (!fits) return IFD_OK;
  if (mask) {
    TRY(count_keys(rw, &n_keys, a.k, a.past_k));
    TRY(mask_of(rw, &hidden, node, mask, n_keys));
    if (!hidden) return IFD_OK;
  }
  TRY(ifd_foreign_binary(rw, &a.bias, "Add", hidden, ifd_node_input(node, ADDED)));
  TRY(add_attention(rw, &a));
  if (ifd_node_has_output(node, 1)) TRY(ifd_rw_replace(rw, node->outputs[1], a.present_k));
  if (ifd_node_has_output(node, 2)) TRY(ifd_rw_replace(rw, node->outputs[2], a.present_v));
  return ifd_rw_replace(rw, node->outputs[0], a.y);
}

const ifd_pass ifd_pass_expand_attention = {
    .summary = "writes the attentions of ONNX Runtime's transformer optimizer as ONNX's own",
    .phase = IFD_PHASE_SIMPLIFY,
    .defines = true,
    .rules = (const ifd_rule[]){{"com.microsoft.Attention", IFD_REASSOCIATES, expand_attention},
                                {"com.microsoft.QAttention", IFD_REASSOCIATES, expand_quantized},
                                {"com.microsoft.MultiHeadAttention", IFD_REASSOCIATES, expand_multi_head},
                                {0}},
};
