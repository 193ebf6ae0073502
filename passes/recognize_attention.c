#include "pass/match.h"
#include "pass/order.h"

#include <math.h>

/* Softmax(a·Q Kᵀ + mask) V, or with a mask of bool by Where, is Attention, an operator since version 23.
 * Heads that are parted before it and joined behind it by Reshape and Transpose are its own business: then it
 * takes and gives [batch, sequence, heads · size]. Rows whose every key is masked by −inf give zeros, where
 * Softmax alone gave NaN. */

typedef struct attention {
  ifd_value *q, *k_turned, *v, *mask; /* mask: or NULL */
  double scale;
  int rank;
} attention;

static bool is_last_axis(ifd_rewrite *rw, const ifd_node *softmax) {
  int rank = ifd_rw_rank(rw, softmax->inputs[0]);
  int64_t axis = ifd_node_int(softmax, "axis", -1);
  return rank > 0 && (axis == -1 || axis == rank - 1);
}

static bool same_dims(ifd_rewrite *rw, const ifd_value *a, int i, const ifd_value *b, int j) {
  return ifd_rw_dim(rw, a, i) == ifd_rw_dim(rw, b, j);
}

/* A mask of every query and key, for all or each of the batch and the heads. */
static bool is_mask(ifd_rewrite *rw, const ifd_value *m, const ifd_value *scores, ifd_dtype dtype) {
  int rank = ifd_rw_rank(rw, m), of_scores = ifd_rw_rank(rw, scores);
  if ((rank != 2 && rank != of_scores) || of_scores != 4 || ifd_rw_dtype(rw, m) != dtype) return false;
  for (int i = 0; i < rank - 2; i++)
    if (ifd_rw_dim(rw, m, i) != 1 && !same_dims(rw, m, i, scores, i)) return false;
  return same_dims(rw, m, -1, scores, -1) && same_dims(rw, m, -2, scores, -2);
}

/* Takes a number that v is multiplied by into *scale. */
static ifd_status take_scale(ifd_rewrite *rw, ifd_value **v, double *scale) {
  double a, shift;
  ifd_value *x;
  int n = 0;
  TRY(ifd_line_of(rw, *v, &a, &shift, &x, &n));
  if (shift != 0 || ifd_rw_rank(rw, x) != ifd_rw_rank(rw, *v)) return IFD_OK;
  *scale *= a;
  *v = x;
  return IFD_OK;
}

/* Scores without a mask: scale · (product), the product made for that alone. */
static ifd_status find_scores(ifd_rewrite *rw, ifd_value *s, attention *a, bool *found) {
  a->scale = 1;
  TRY(take_scale(rw, &s, &a->scale));
  const ifd_node *node = ifd_made_by(s, "MatMul");
  if (!node) return IFD_OK;
  a->q = node->inputs[0], a->k_turned = node->inputs[1];
  TRY(take_scale(rw, &a->q, &a->scale));
  TRY(take_scale(rw, &a->k_turned, &a->scale));
  *found = true;
  return IFD_OK;
}

static ifd_status find(ifd_rewrite *rw, const ifd_node *last, attention *a, bool *found) {
  const ifd_node *softmax = ifd_made_by(last->inputs[0], "Softmax");
  *found = false;
  *a = (attention){.v = last->inputs[1], .rank = ifd_rw_rank(rw, last->outputs[0])};
  if (!softmax || !is_last_axis(rw, softmax) || ifd_value_n_readers(softmax->inputs[0]) != 1) return IFD_OK;
  TRY(find_scores(rw, softmax->inputs[0], a, found));
  if (*found) return IFD_OK;
  ifd_value *scores = softmax->inputs[0];
  const ifd_node *add = ifd_made_by(scores, "Add");
  for (int i = 0; add && i < 2 && !*found; i++)
    if (is_mask(rw, add->inputs[i], scores, ifd_rw_dtype(rw, scores))) {
      a->mask = add->inputs[i];
      TRY(find_scores(rw, add->inputs[1 - i], a, found));
    }
  ifd_masked m;
  if (!ifd_masked_of(rw, scores, &m) || !m.shows || m.hidden != -INFINITY ||
      !is_mask(rw, m.mask, scores, IFD_BOOL))
    return IFD_OK;
  a->mask = m.mask;
  return find_scores(rw, m.scores, a, found);
}

/* Batch and heads are the same in all three. */
static bool fits(ifd_rewrite *rw, const attention *a) {
  if (a->rank != 3 && a->rank != 4) return false;
  const ifd_value *all[] = {a->k_turned, a->v};
  for (int k = 0; k < 2; k++) {
    if (ifd_rw_rank(rw, all[k]) != a->rank || ifd_rw_rank(rw, a->q) != a->rank) return false;
    for (int i = 0; i < a->rank - 2; i++)
      if (!same_dims(rw, a->q, i, all[k], i)) return false;
  }
  return same_dims(rw, a->k_turned, -1, a->v, -2);
}

/* K from Kᵀ: what was transposed, or transposed otherwise. */
static ifd_status turn_keys(ifd_rewrite *rw, ifd_value **k, const attention *a) {
  ifd_node *made = ifd_made_by(a->k_turned, "Transpose"), *node;
  ifd_order o = {.rank = a->rank};
  for (int i = 0; i < a->rank; i++) o.at[i] = (int8_t)i;
  *k = a->k_turned;
  if (made && ifd_order_of(rw, made, &o)) *k = made->inputs[0];
  int8_t last = o.at[a->rank - 1];
  o.at[a->rank - 1] = o.at[a->rank - 2];
  o.at[a->rank - 2] = last;
  if (ifd_order_is_identity(&o)) return IFD_OK;
  TRY(ifd_order_transpose(rw, &node, *k, &o));
  *k = node->outputs[0];
  return IFD_OK;
}

static ifd_status set_heads(ifd_rewrite *rw, ifd_node *node, int64_t n) {
  TRY(ifd_node_set_int(ifd_rw_error(rw), node, "q_num_heads", n));
  return ifd_node_set_int(ifd_rw_error(rw), node, "kv_num_heads", n);
}

static ifd_status fuse(ifd_rewrite *rw, ifd_node *last) {
  attention a;
  bool found;
  ifd_value *inputs[4];
  ifd_node *node;
  if (ifd_rw_for_running(rw)) return IFD_OK; /* fuse_attention reads through more */
  if (last->opset < 23 || ifd_rw_dtype(rw, last->outputs[0]) == IFD_FLOAT16 ||
      ifd_rw_dtype(rw, last->outputs[0]) == IFD_BFLOAT16)
    return IFD_OK; /* half precision would be rounded elsewhere */
  TRY(find(rw, last, &a, &found));
  if (!found) return IFD_OK;
  if (!fits(rw, &a))
    return ifd_rw_refuse(rw, "queries, keys and values are not known to be of the same batch and heads");
  if (a.scale <= 0) return ifd_rw_refuse(rw, "the scale of the scores is not positive");
  inputs[0] = a.q, inputs[2] = a.v, inputs[3] = a.mask;
  TRY(turn_keys(rw, &inputs[1], &a));
  TRY(ifd_rw_add_node(rw, &node, "Attention", inputs, a.mask ? 4 : 3, 1));
  TRY(ifd_node_set_float(ifd_rw_error(rw), node, "scale", (float)a.scale));
  if (a.rank == 3) TRY(set_heads(rw, node, 1));
  return ifd_rw_replace(rw, last->outputs[0], node->outputs[0]);
}

/* ---- heads ---- */

static bool swaps_heads(ifd_rewrite *rw, const ifd_node *transpose) {
  ifd_order o;
  return transpose && ifd_order_of(rw, transpose, &o) && o.rank == 4 && o.at[0] == 0 && o.at[1] == 2 &&
         o.at[2] == 1 && o.at[3] == 3;
}

/* Whether 4 dimensions [B, S, H, D] and 3 of [B, S, H·D] are one value's. */
static bool joins(ifd_rewrite *rw, const ifd_value *four, const ifd_value *three) {
  ifd_dim h = ifd_rw_dim(rw, four, 2), d = ifd_rw_dim(rw, four, 3);
  return ifd_rw_rank(rw, four) == 4 && ifd_rw_rank(rw, three) == 3 && same_dims(rw, four, 0, three, 0) &&
         same_dims(rw, four, 1, three, 1) && ifd_rw_dim(rw, three, 2) == ifd_dim_mul(ifd_rw_dims(rw), h, d);
}

/* What was parted into the heads of v, or NULL. */
static ifd_value *whole(ifd_rewrite *rw, ifd_value *v) {
  const ifd_node *transpose = ifd_made_by(v, "Transpose");
  const ifd_node *reshape = swaps_heads(rw, transpose) ? ifd_made_by(transpose->inputs[0], "Reshape") : NULL;
  return reshape && joins(rw, reshape->outputs[0], reshape->inputs[0]) ? reshape->inputs[0] : NULL;
}

static ifd_status take_heads(ifd_rewrite *rw, ifd_node *node) {
  ifd_value *inputs[4] = {NULL};
  ifd_dim heads = ifd_rw_dim(rw, node->inputs[0], 1);
  ifd_node *transpose = ifd_value_only_reader(node->outputs[0]), *made;
  if (ifd_rw_rank(rw, node->inputs[0]) != 4 || node->n_inputs > 4 || !ifd_dim_is_number(heads)) return IFD_OK;
  for (int i = 0; i < 3; i++)
    if (!(inputs[i] = whole(rw, node->inputs[i])))
      return ifd_rw_refuse(rw, "not all of its inputs are parted into heads by Reshape and Transpose");
  if (!transpose || !ifd_node_is(transpose, "Transpose") || !swaps_heads(rw, transpose)) return IFD_OK;
  ifd_node *reshape = ifd_value_only_reader(transpose->outputs[0]);
  if (!reshape || !ifd_node_is(reshape, "Reshape") || !joins(rw, transpose->outputs[0], reshape->outputs[0]))
    return ifd_rw_refuse(rw, "its heads are not joined by Transpose and Reshape");
  inputs[3] = ifd_node_input(node, 3);
  TRY(ifd_rw_add_like(rw, &made, node, inputs, node->n_inputs));
  TRY(set_heads(rw, made, heads));
  return ifd_rw_replace(rw, reshape->outputs[0], made->outputs[0]);
}

const ifd_pass ifd_pass_recognize_attention = {
    .summary = "makes Attention of Softmax(Q·Kᵀ)·V, heads included",
    .phase = IFD_PHASE_FUSE,
    .rules = (const ifd_rule[]){{"MatMul", IFD_REASSOCIATES, fuse},
                                {"Attention", IFD_REASSOCIATES, take_heads},
                                {0}},
};
