#include "pass/foreign.h"
#include "pass/ints.h"

/* GroupQueryAttention and RotaryEmbedding, which language models are exported with (domain com.microsoft),
 * are written as ONNX's own. New keys are written behind those that each sample has (TensorScatter), and
 * Attention sees so many of them. */

enum { SINCE = 13, ATTENDS = 23, SCATTERS = 24, HAS_WINDOW = 25, MOST_HEADS = 1 << 20, MOST_SIZE = 1 << 20 };
enum { QUERY, KEY, VALUE, PAST_KEY, PAST_VALUE, SEQLENS, TOTAL, COS, SIN, POSITIONS, BIAS, FURTHER };

typedef struct group_query {
  ifd_node *node;
  int64_t heads, kv_heads, size;
  ifd_value *q, *k, *v;             /* [batch, heads, length, size] */
  ifd_value *length, *total, *past; /* int64: [1] new ones, [1] all, [batch] of each sample's before them */
} group_query;

static ifd_status reshape(ifd_rewrite *rw, ifd_value **x, const int64_t *shape, int n) {
  ifd_value *c;
  TRY(ifd_rw_add_ints(rw, &c, shape, n, "shape"));
  return ifd_foreign_binary(rw, x, "Reshape", *x, c);
}

/* [1, length]: `from` [1], or of each sample [batch, 1], and the numbers behind it. */
static ifd_status count_from(ifd_rewrite *rw, ifd_value **out, ifd_value *from, ifd_value *length) {
  TRY(reshape(rw, &length, NULL, 0));
  TRY(ifd_foreign_count(rw, out, length));
  return ifd_foreign_binary(rw, out, "Add", *out, from);
}

/* ---- RotaryEmbedding ---- */

/* As ONNX's has it: x by heads or not, positions [batch, length]. */
static ifd_status turn(ifd_rewrite *rw, ifd_node **out, ifd_value *x, ifd_value *cos, ifd_value *sin,
                       ifd_value *positions, bool interleaved) {
  TRY(ifd_rw_add_node(rw, out, "RotaryEmbedding", (ifd_value *[]){x, cos, sin, positions}, 4, 1));
  return interleaved ? ifd_node_set_int(ifd_rw_error(rw), *out, "interleaved", 1) : IFD_OK;
}

/* One number is the first position of every sample. */
static ifd_status spread_positions(ifd_rewrite *rw, ifd_value **positions, ifd_value *x, int length_axis) {
  ifd_value *length, *shape[2];
  ifd_node *concat;
  if (ifd_rw_rank(rw, *positions) == 2) return IFD_OK;
  TRY(ifd_foreign_length(rw, &length, x, length_axis, false));
  TRY(count_from(rw, positions, *positions, length));
  TRY(ifd_foreign_length(rw, &shape[0], x, 0, false));
  shape[1] = length;
  TRY(ifd_rw_add_node(rw, &concat, "Concat", shape, 2, 1));
  TRY(ifd_node_set_int(ifd_rw_error(rw), concat, "axis", 0));
  return ifd_foreign_binary(rw, positions, "Expand", *positions, concat->outputs[0]);
}

static ifd_status expand_rotary(ifd_rewrite *rw, ifd_node *node) {
  enum { X, AT, COS_CACHE, SIN_CACHE };
  ifd_error *err = ifd_rw_error(rw);
  ifd_node *made;
  if (!ifd_is_foreign(node, SINCE, 0xf)) return IFD_OK;
  if (!ifd_rw_offers(rw, node, "RotaryEmbedding"))
    return ifd_rw_refuse(rw, "ONNX has RotaryEmbedding from opset 23 on");
  ifd_value *x = node->inputs[X], *at = node->inputs[AT];
  int rank = ifd_rw_rank(rw, x), rank_at = ifd_rw_rank(rw, at);
  ifd_dim width = ifd_rw_dim(rw, x, 2), half = ifd_rw_dim(rw, node->inputs[COS_CACHE], 1);
  int64_t heads = ifd_node_int(node, "num_heads", 0), turned = ifd_node_int(node, "rotary_embedding_dim", 0);
  bool known = ifd_dim_is_number(width) && ifd_dim_is_number(half) && half > 0;
  if (rank == 3 && !heads && !turned && known) heads = width / 2 / half;
  if ((rank != 4 && (rank != 3 || heads < 1)) || (rank_at != 1 && rank_at != 2) || turned < 0)
    return ifd_rw_refuse(rw, "the shapes of its inputs are not known");
  if (ifd_node_int(node, "is_packed_batching", 0)) return ifd_rw_refuse(rw, "its samples stand in one");
  TRY(spread_positions(rw, &at, x, rank - 2));
  TRY(turn(rw, &made, x, node->inputs[COS_CACHE], node->inputs[SIN_CACHE], at,
           ifd_node_int(node, "interleaved", 0) != 0));
  made->name = node->name;
  if (rank == 3) TRY(ifd_node_set_int(err, made, "num_heads", heads));
  if (turned) TRY(ifd_node_set_int(err, made, "rotary_embedding_dim", turned));
  return ifd_rw_replace(rw, node->outputs[0], made->outputs[0]);
}

/* ---- GroupQueryAttention ---- */

/* Its size of heads, 0 where that is not known. */
static int64_t size_of_heads(ifd_rewrite *rw, const group_query *g) {
  const ifd_value *past = ifd_node_input(g->node, PAST_KEY), *q = g->node->inputs[QUERY];
  bool packed = !ifd_node_has_input(g->node, KEY);
  ifd_dim of_past = ifd_rw_dim(rw, past, 3), width = ifd_rw_dim(rw, q, 2);
  int64_t all = g->heads + (packed ? 2 * g->kv_heads : 0);
  if (past && ifd_dim_is_number(of_past) && of_past > 0 && of_past <= MOST_SIZE) return of_past;
  return ifd_dim_is_number(width) && width > 0 && width % all == 0 ? width / all : 0;
}

/* The opset that has what it is written as. */
static int since_of(const ifd_node *node) {
  if (ifd_node_int(node, "local_window_size", -1) > 0) return HAS_WINDOW;
  return ifd_node_has_input(node, PAST_KEY) ? SCATTERS : ATTENDS;
}

/* What ONNX's Attention does not say. */
static const char *more_than_onnx(ifd_rewrite *rw, const ifd_node *node) {
  int since = since_of(node);
  if (ifd_rw_opset(node) < since && !ifd_rw_for_running(rw))
    return since == HAS_WINDOW ? "ONNX has windows of Attention from opset 25 on"
           : since == SCATTERS ? "ONNX has TensorScatter from opset 24 on"
                               : "ONNX has Attention from opset 23 on";
  for (int i = FURTHER; i < node->n_inputs; i++)
    if (node->inputs[i]) return "it has a sink, or quantized keys";
  if (ifd_node_int(node, "smooth_softmax", 0) > 0) return "its softmax is smoothed";
  if (ifd_node_int(node, "qk_output", 0) || ifd_node_has_output(node, 3)) return "its scores are read";
  if (!ifd_node_string_is(node, "k_quant_type", "NONE", "NONE")) return "its keys are quantized";
  return NULL;
}

static const char *settle(ifd_rewrite *rw, group_query *g) {
  const ifd_node *node = g->node;
  g->heads = ifd_node_int(node, "num_heads", 0);
  g->kv_heads = ifd_node_int(node, "kv_num_heads", 0);
  if (g->heads < 1 || g->heads > MOST_HEADS || g->kv_heads < 1 || g->kv_heads > g->heads)
    return "the number of its heads is not known";
  if (ifd_rw_rank(rw, node->inputs[QUERY]) != 3 || !(g->size = size_of_heads(rw, g)))
    return "the size of its heads is not known";
  if (!ifd_node_has_input(node, KEY) != !ifd_node_has_input(node, VALUE) ||
      !ifd_node_has_input(node, PAST_KEY) != !ifd_node_has_input(node, PAST_VALUE))
    return "keys and values are not given together";
  if (ifd_node_int(node, "do_rotary", 0) && !(ifd_node_has_input(node, COS) && ifd_node_has_input(node, SIN)))
    return "it turns its keys, and by what is missing";
  if (ifd_rw_rank(rw, node->inputs[SEQLENS]) != 1) return "the lengths of its samples are not one for each";
  return more_than_onnx(rw, node);
}

/* Queries, keys and values by heads, of three inputs or one. */
static ifd_status split_heads(ifd_rewrite *rw, group_query *g) {
  int64_t q = g->heads * g->size, k = g->kv_heads * g->size;
  ifd_value *part[3] = {g->node->inputs[QUERY], ifd_node_input(g->node, KEY), ifd_node_input(g->node, VALUE)};
  ifd_node *split;
  if (!part[1]) {
    TRY(ifd_ints_add_split(rw, &split, part[0], 2, (int64_t[]){q, k, k}, 3));
    for (int i = 0; i < 3; i++) part[i] = split->outputs[i];
  }
  for (int i = 0; i < 3; i++) {
    TRY(reshape(rw, &part[i], (int64_t[]){0, 0, i ? g->kv_heads : g->heads, g->size}, 4));
    TRY(ifd_foreign_swap_heads(rw, &part[i]));
  }
  g->q = part[0], g->k = part[1], g->v = part[2];
  return IFD_OK;
}

/* How many keys each sample has before the new ones: none, as long as all there are are new. */
static ifd_status count_past(ifd_rewrite *rw, group_query *g) {
  ifd_value *none, *one, *first, *seen = g->node->inputs[SEQLENS];
  TRY(ifd_foreign_length(rw, &g->length, g->node->inputs[QUERY], 1, false));
  g->total = g->node->inputs[TOTAL];
  TRY(ifd_foreign_cast(rw, &g->total, IFD_INT64));
  TRY(reshape(rw, &g->total, (int64_t[]){1}, 1));
  TRY(ifd_rw_add_scalar(rw, &none, IFD_INT64, 0, "none"));
  TRY(ifd_rw_add_scalar(rw, &one, IFD_INT64, 1, "one"));
  TRY(ifd_foreign_cast(rw, &seen, IFD_INT64));
  TRY(ifd_foreign_binary(rw, &seen, "Add", seen, one));
  TRY(ifd_foreign_binary(rw, &seen, "Sub", seen, g->length));
  TRY(ifd_foreign_binary(rw, &first, "Equal", g->length, g->total));
  return ifd_foreign_apply(rw, &g->past, "Where", (ifd_value *[]){first, none, seen}, 3);
}

static ifd_status rotate(ifd_rewrite *rw, group_query *g) {
  const ifd_node *node = g->node;
  ifd_value *at = ifd_node_input(node, POSITIONS), *past = g->past;
  bool interleaved = ifd_node_int(node, "rotary_interleaved", 0) != 0;
  ifd_dim half = ifd_rw_dim(rw, node->inputs[COS], 1);
  ifd_value **x[2] = {&g->q, &g->k};
  ifd_node *made;
  if (!at) {
    TRY(reshape(rw, &past, (int64_t[]){-1, 1}, 2));
    TRY(count_from(rw, &at, past, g->length));
  }
  for (int i = 0; i < 2; i++) {
    TRY(turn(rw, &made, *x[i], node->inputs[COS], node->inputs[SIN], at, interleaved));
    if (ifd_dim_is_number(half) && half > 0 && half < g->size / 2)
      TRY(ifd_node_set_int(ifd_rw_error(rw), made, "rotary_embedding_dim", 2 * half));
    *x[i] = made->outputs[0];
  }
  return IFD_OK;
}

/* New ones behind the past ones, whose buffer grows to hold all. */
static ifd_status append(ifd_rewrite *rw, const group_query *g, ifd_value **x, ifd_value *past) {
  ifd_value *room, *none, *pads[3];
  ifd_node *concat, *scatter;
  TRY(ifd_foreign_length(rw, &room, past, 2, false));
  TRY(ifd_foreign_binary(rw, &room, "Sub", g->total, room));
  TRY(ifd_rw_add_ints(rw, &none, (int64_t[]){0}, 1, "none"));
  TRY(ifd_foreign_binary(rw, &pads[1], "Max", room, none));
  TRY(ifd_rw_add_ints(rw, &pads[0], (int64_t[]){0, 0, 0, 0, 0, 0}, 6, "before"));
  pads[2] = none;
  TRY(ifd_rw_add_node(rw, &concat, "Concat", pads, 3, 1));
  TRY(ifd_node_set_int(ifd_rw_error(rw), concat, "axis", 0));
  TRY(ifd_foreign_binary(rw, &past, "Pad", past, concat->outputs[0]));
  TRY(ifd_rw_add_node(rw, &scatter, "TensorScatter", (ifd_value *[]){past, *x, g->past}, 3, 1));
  *x = scatter->outputs[0];
  return IFD_OK;
}

static ifd_status attend(ifd_rewrite *rw, const group_query *g, ifd_value **out, ifd_value *lengths) {
  ifd_error *err = ifd_rw_error(rw);
  const ifd_node *node = g->node;
  ifd_value *bias = ifd_node_input(node, BIAS), *in[7] = {g->q, g->k, g->v, bias, NULL, NULL, lengths};
  float scale = ifd_node_float(node, "scale", 0), softcap = ifd_node_float(node, "softcap", 0);
  int64_t window = ifd_node_int(node, "local_window_size", -1);
  ifd_node *made;
  TRY(ifd_rw_add_node(rw, &made, "Attention", in, lengths ? 7 : bias ? 4 : 3, 1));
  ifd_foreign_raise(made, since_of(node));
  made->name = node->name;
  TRY(ifd_node_set_int(err, made, "is_causal", 1));
  if (scale != 0) TRY(ifd_node_set_float(err, made, "scale", scale));
  if (softcap > 0) TRY(ifd_node_set_float(err, made, "softcap", softcap));
  if (window > 0) TRY(ifd_node_set_int(err, made, "left_window_size", window - 1));
  *out = made->outputs[0];
  return IFD_OK;
}

static ifd_status expand_group_query(ifd_rewrite *rw, ifd_node *node) {
  group_query g = {.node = node};
  ifd_value *lengths = NULL, *y;
  if (!ifd_is_foreign(node, SINCE, 1u << QUERY | 1u << SEQLENS | 1u << TOTAL)) return IFD_OK;
  const char *why = settle(rw, &g);
  if (why) return ifd_rw_refuse(rw, "%s", why);
  TRY(split_heads(rw, &g));
  TRY(count_past(rw, &g));
  if (ifd_node_int(node, "do_rotary", 0)) TRY(rotate(rw, &g));
  if (ifd_node_has_input(node, PAST_KEY)) {
    TRY(append(rw, &g, &g.k, node->inputs[PAST_KEY]));
    TRY(append(rw, &g, &g.v, node->inputs[PAST_VALUE]));
    TRY(ifd_foreign_binary(rw, &lengths, "Add", g.past, g.length));
  }
  TRY(attend(rw, &g, &y, lengths));
  TRY(ifd_foreign_swap_heads(rw, &y));
  TRY(reshape(rw, &y, (int64_t[]){0, 0, g.heads * g.size}, 3));
  if (ifd_node_has_output(node, 1)) TRY(ifd_rw_replace(rw, node->outputs[1], g.k));
  if (ifd_node_has_output(node, 2)) TRY(ifd_rw_replace(rw, node->outputs[2], g.v));
  return ifd_rw_replace(rw, node->outputs[0], y);
}

const ifd_pass ifd_pass_expand_group_query = {
    .summary = "writes GroupQueryAttention and RotaryEmbedding of language models as ONNX's own operators",
    .phase = IFD_PHASE_SIMPLIFY,
    .defines = true,
    .rules = (const ifd_rule[]){{"com.microsoft.GroupQueryAttention", IFD_REASSOCIATES, expand_group_query},
                                {"com.microsoft.RotaryEmbedding", IFD_REASSOCIATES, expand_rotary},
                                {0}},
};
