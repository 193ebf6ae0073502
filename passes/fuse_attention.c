#include "pass/match.h"

/* softmax(scale * Q Kᵀ + mask) V runs as one operator, which computes some rows of scores at a time
 * (ops/own_attention.c). Scales of Q and of K are one with that of the scores; transpositions, and the choice
 * of Q, K or V from a tensor of all three, are read through. */

enum { BATCH, HEADS, ROWS, ELEMENTS, N_AXES };

/* A matrix operand of each head, in the value it is made from. */
typedef struct view {
  ifd_value *v;
  int64_t axis[N_AXES]; /* -1: none */
  int64_t part;         /* of the axis that is not named; -1: all are */
  double scale;
} view;

/* ---- what makes an operand ---- */

static bool see_scale(ifd_rewrite *rw, view *o) {
  ifd_node *mul = ifd_made_by(o->v, "Mul"), *node = mul ? mul : ifd_made_by(o->v, "Div");
  double c;
  for (int i = 0; node && node->n_inputs == 2 && i < (mul ? 2 : 1); i++) {
    if (!ifd_rw_scalar(rw, node->inputs[1 - i], &c) || c == 0 ||
        ifd_rw_rank(rw, node->inputs[i]) != ifd_rw_rank(rw, o->v))
      continue;
    o->scale = mul ? o->scale * c : o->scale / c;
    o->v = node->inputs[i];
    return true;
  }
  return false;
}

static bool see_transpose(ifd_rewrite *rw, view *o) {
  const ifd_node *node = ifd_rw_producer(o->v, "Transpose");
  const int64_t *perm;
  int rank = node ? ifd_rw_rank(rw, o->v) : -1;
  if (rank < 0 || ifd_node_ints(node, "perm", &perm) != rank) return false;
  for (int i = 0; i < N_AXES; i++)
    if (o->axis[i] >= 0) o->axis[i] = perm[o->axis[i]];
  o->v = node->inputs[0];
  return true;
}

/* `from` has one more axis, `axis`, of which this is one element. */
static bool take_part(ifd_rewrite *rw, view *o, ifd_value *from, int64_t axis, int64_t part) {
  int rank = ifd_rw_rank(rw, from);
  ifd_dim n = ifd_rw_dim(rw, from, (int)axis);
  if (axis < 0) axis += rank;
  if (rank < 1 || axis < 0 || axis >= rank || !ifd_dim_is_number(n)) return false;
  if (part < 0) part += n;
  if (part < 0 || part >= n) return false;
  for (int i = 0; i < N_AXES; i++) o->axis[i] += o->axis[i] >= axis;
  o->part = part;
  o->v = from;
  return true;
}

static bool see_gather(ifd_rewrite *rw, view *o) {
  const ifd_node *gather = ifd_rw_producer(o->v, "Gather");
  double index;
  if (!gather || !ifd_rw_scalar(rw, gather->inputs[1], &index) || ifd_rw_rank(rw, gather->inputs[1]) != 0)
    return false;
  return take_part(rw, o, gather->inputs[0], ifd_node_int(gather, "axis", 0), (int64_t)index);
}

/* Squeeze of one of the results of a Split into single elements. */
static bool see_split(ifd_rewrite *rw, view *o) {
  const ifd_node *squeeze = ifd_rw_producer(o->v, "Squeeze");
  const ifd_node *split = squeeze ? ifd_rw_producer(squeeze->inputs[0], "Split") : NULL;
  if (!split || ifd_rw_rank(rw, squeeze->inputs[0]) != ifd_rw_rank(rw, o->v) + 1) return false;
  int64_t axis = ifd_node_int(split, "axis", 0);
  if (axis < 0) axis += ifd_rw_rank(rw, split->inputs[0]);
  for (int i = 0; i < split->n_outputs; i++)
    if (!split->outputs[i] || ifd_rw_dim(rw, split->outputs[i], (int)axis) != 1) return false;
  ifd_value *whole = squeeze->inputs[0];
  for (int i = 0, k = 0; i < ifd_rw_rank(rw, whole); i++) /* it is that axis which goes */
    if (i != axis && ifd_rw_dim(rw, whole, i) != ifd_rw_dim(rw, o->v, k++)) return false;
  for (int i = 0; i < split->n_outputs; i++)
    if (split->outputs[i] == whole) return take_part(rw, o, split->inputs[0], axis, i);
  return false;
}

static bool see_through(ifd_rewrite *rw, ifd_value *v, bool turned, view *o) {
  int rank = ifd_rw_rank(rw, v), at = rank - 2;
  if (rank < 3 || rank > 4 || ifd_rw_dtype(rw, v) != IFD_FLOAT) return false;
  *o = (view){.v = v, .part = -1, .scale = 1};
  o->axis[BATCH] = 0, o->axis[HEADS] = rank == 4 ? 1 : -1;
  o->axis[ROWS] = at + turned, o->axis[ELEMENTS] = at + !turned;
  for (int n = 0; n < 6; n++)
    if (!see_scale(rw, o) && !see_transpose(rw, o) &&
        (o->part >= 0 || (!see_gather(rw, o) && !see_split(rw, o))))
      break;
  return true;
}

/* ---- the whole ---- */

typedef struct attention {
  view q, k, v;
  ifd_value *mask;
  double scale;
} attention;

/* The MatMul that, scaled, makes the scores; NULL if these are none. */
static ifd_node *product_of(ifd_rewrite *rw, ifd_value *scores, double *scale) {
  view o = {.v = scores, .scale = 1};
  while (see_scale(rw, &o)) continue;
  *scale = o.scale;
  return ifd_made_by(o.v, "MatMul");
}

static ifd_node *find_scores(ifd_rewrite *rw, ifd_value *v, attention *a) {
  ifd_node *product = product_of(rw, v, &a->scale), *add = ifd_made_by(v, "Add");
  for (int i = 0; !product && add && add->n_inputs == 2 && i < 2; i++) {
    product = product_of(rw, add->inputs[i], &a->scale);
    a->mask = add->inputs[1 - i];
  }
  return product;
}

static ifd_node *find_softmax(ifd_rewrite *rw, ifd_value *v) {
  ifd_node *softmax = ifd_made_by(v, "Softmax");
  int rank = softmax ? ifd_rw_rank(rw, v) : -1;
  int64_t axis = softmax ? ifd_node_int(softmax, "axis", softmax->opset < 13 ? 1 : -1) : 0;
  return rank > 0 && (axis == -1 || axis == rank - 1) ? softmax : NULL;
}

/* Batches and heads may broadcast as they do in MatMul; there are elements to sum over. */
static bool fits(ifd_rewrite *rw, const ifd_node *scores, const ifd_node *root, const attention *a) {
  int rank = ifd_rw_rank(rw, scores->inputs[0]);
  ifd_dim size = ifd_rw_dim(rw, scores->inputs[0], -1);
  return rank == ifd_rw_rank(rw, scores->inputs[1]) && rank == ifd_rw_rank(rw, root->inputs[1]) &&
         a->v.scale == 1 && ifd_dim_is_number(size) && size > 0 &&
         (!a->mask || (ifd_rw_rank(rw, a->mask) >= 0 && ifd_rw_rank(rw, a->mask) <= rank &&
                       ifd_rw_dtype(rw, a->mask) == IFD_FLOAT));
}

static ifd_status set_view(ifd_rewrite *rw, ifd_node *node, const char *axes, const char *part,
                           const view *o) {
  int64_t *copy;
  ALLOC(ifd_rw_error(rw), copy, ifd_arena_memdup(ifd_rw_arena(rw), o->axis, sizeof o->axis));
  TRY(ifd_node_set_ints(ifd_rw_error(rw), node, axes, copy, N_AXES));
  return o->part < 0 ? IFD_OK : ifd_node_set_int(ifd_rw_error(rw), node, part, o->part);
}

static ifd_status build(ifd_rewrite *rw, ifd_node *root, const attention *a) {
  ifd_value *inputs[] = {a->q.v, a->k.v, a->v.v, a->mask};
  ifd_node *node;
  TRY(ifd_rw_add_node(rw, &node, "infold.Attention", inputs, a->mask ? 4 : 3, 1));
  node->name = root->name;
  TRY(set_view(rw, node, "q_axes", "q_part", &a->q));
  TRY(set_view(rw, node, "k_axes", "k_part", &a->k));
  TRY(set_view(rw, node, "v_axes", "v_part", &a->v));
  TRY(ifd_node_set_float(ifd_rw_error(rw), node, "scale", (float)(a->scale * a->q.scale * a->k.scale)));
  return ifd_rw_replace(rw, root->outputs[0], node->outputs[0]);
}

static ifd_status fuse(ifd_rewrite *rw, ifd_node *root) {
  attention a = {0};
  const ifd_node *softmax = find_softmax(rw, root->inputs[0]);
  const ifd_node *scores = softmax ? find_scores(rw, softmax->inputs[0], &a) : NULL;
  if (!scores || !see_through(rw, scores->inputs[0], false, &a.q) ||
      !see_through(rw, scores->inputs[1], true, &a.k) || !see_through(rw, root->inputs[1], false, &a.v) ||
      !fits(rw, scores, root, &a))
    return IFD_OK;
  return build(rw, root, &a);
}

/* Transpose to [batch, rows, heads, elements] is how the results are stored. */
static ifd_status fuse_transpose(ifd_rewrite *rw, ifd_node *transpose) {
  ifd_node *attention = ifd_rw_own_producer(transpose->inputs[0], "Attention"), *fused;
  const int64_t *p;
  if (!attention || ifd_value_n_readers(transpose->inputs[0]) != 1 ||
      ifd_node_int(attention, "rows_first", 0) || ifd_node_ints(transpose, "perm", &p) != N_AXES ||
      p[0] != 0 || p[1] != 2 || p[2] != 1)
    return IFD_OK;
  TRY(ifd_rw_add_like(rw, &fused, attention, attention->inputs, attention->n_inputs));
  TRY(ifd_node_set_int(ifd_rw_error(rw), fused, "rows_first", 1));
  return ifd_rw_replace(rw, transpose->outputs[0], fused->outputs[0]);
}

const ifd_pass ifd_pass_fuse_attention = {
    .summary = "runs softmax(Q Kᵀ) V as one operator, a few rows of scores at a time",
    .phase = IFD_PHASE_PLAN,
    .rules =
        (const ifd_rule[]){{"MatMul", IFD_REASSOCIATES, fuse}, {"Transpose", IFD_EXACT, fuse_transpose}, {0}},
};
