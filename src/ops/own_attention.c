/* infold.Attention: softmax(scale * Q Kᵀ + mask) V, found in a graph as products and a Softmax. Files never
 * see it. Inputs are Q, K, V and the mask, which broadcasts to the scores and may be absent. Attributes
 * q_axes, k_axes and v_axes say which axes of an input are batch, heads, rows and elements (-1: there is
 * none), and what index an axis not named has (q_part …): a transposition, and a choice of one of several, so
 * need no copy. The result is [batch, heads, rows, elements], without an axis of heads where Q has none, or
 * what y_order says: these axes (0 to 3) in another order, elements last. With attribute `rounding`, of
 * operators of a 16-bit float, each step's result goes through the operator that it names. With `zeroes`,
 * weights that would be NaN, which those of a query are all or none, are zero. */
#include "ops/shared/attention_work.h"

#include <string.h>

#include "ops/shared/epilogue.h"
#include "ops/shared/values.h"

enum { Q, K, V, MASK, N_VIEWS = 3 };
enum { BATCH, HEADS, ROWS, ELEMENTS, N_AXES };

/* Where the axes of an input are. */
typedef struct view {
  int axis[N_AXES];
  int part_axis; /* -1: none */
  int64_t part;
} view;

static ifd_status view_of(ifd_error *err, const ifd_node *node, int i, int rank, view *v) {
  static const char *const axes[] = {"q_axes", "k_axes", "v_axes"}, *const parts[] = {"q_part", "k_part",
                                                                                      "v_part"};
  const int64_t *a;
  bool seen[IFD_MAX_RANK] = {false};
  EXPECT(err, ifd_node_ints(node, axes[i], &a) == N_AXES, BAD_MODEL, "attribute %s has not four elements",
         axes[i]);
  *v = (view){.part_axis = -1, .part = ifd_node_int(node, parts[i], 0)};
  for (int k = 0; k < N_AXES; k++) {
    EXPECT(err, a[k] >= -(k == HEADS) && a[k] < rank && (a[k] < 0 || !seen[a[k]]), BAD_MODEL,
           "attribute %s does not name axes", axes[i]);
    v->axis[k] = (int)a[k];
    if (a[k] >= 0) seen[a[k]] = true;
  }
  for (int k = 0; k < rank; k++) {
    EXPECT(err, seen[k] || v->part_axis < 0, BAD_MODEL, "attribute %s leaves out more than one axis",
           axes[i]);
    if (!seen[k]) v->part_axis = k;
  }
  return IFD_OK;
}

/* The result's axes in their order; how many. */
static ifd_status order_of(ifd_error *err, const ifd_node *node, bool heads, int64_t *order, int *n) {
  const int64_t *given;
  int n_given = ifd_node_ints(node, "y_order", &given);
  unsigned seen = heads ? 0 : 1u << HEADS;
  *n = 0;
  for (int k = 0; k < N_AXES; k++)
    if (heads || k != HEADS) order[(*n)++] = k;
  if (!n_given) return IFD_OK;
  EXPECT(err, n_given == *n && given[*n - 1] == ELEMENTS, BAD_MODEL,
         "attribute y_order has not the result's axes");
  for (int i = 0; i < *n; i++) {
    EXPECT(err, given[i] >= 0 && given[i] < N_AXES && !(seen & 1u << given[i]), BAD_MODEL,
           "attribute y_order does not name each axis once");
    seen |= 1u << given[i];
    order[i] = given[i];
  }
  return IFD_OK;
}

/* Dimension `axis`, counted from the last, of a mask or view as the scores have it; 1 where it has none. */
static ifd_dim infer_dim(const ifd_infer *x, int i, int axis) {
  return axis >= 0 ? ifd_infer_dim(x, i, axis) : 1;
}

static ifd_status infer_attention(ifd_infer *x) {
  view v[N_VIEWS];
  ifd_dim n[N_AXES] = {1, 1, 1, 1}, out[N_AXES];
  int64_t order[N_AXES];
  int n_out;
  for (int i = 0; i < N_VIEWS; i++) {
    if (ifd_infer_rank(x, i) < 0) return ifd_infer_unranked(x, 0, IFD_FLOAT);
    TRY(view_of(x->err, x->node, i, ifd_infer_rank(x, i), &v[i]));
    for (int k = BATCH; k <= HEADS; k++)
      TRY(ifd_infer_broadcast_dim(x, &n[k], n[k], infer_dim(x, i, v[i].axis[k])));
  }
  bool heads = v[Q].axis[HEADS] >= 0;
  n[ROWS] = ifd_infer_dim(x, Q, v[Q].axis[ROWS]);
  if (ifd_node_has_input(x->node, MASK)) {
    int rank = ifd_infer_rank(x, MASK);
    if (rank < 0) return ifd_infer_unranked(x, 0, IFD_FLOAT);
    const int axis[] = {rank - 3 - heads, heads ? rank - 3 : -1, rank - 2};
    for (int k = BATCH; k <= ROWS; k++)
      TRY(ifd_infer_broadcast_dim(x, &n[k], n[k], infer_dim(x, MASK, axis[k])));
  }
  n[ELEMENTS] = ifd_infer_dim(x, V, v[V].axis[ELEMENTS]);
  TRY(order_of(x->err, x->node, heads, order, &n_out));
  for (int i = 0; i < n_out; i++) out[i] = n[order[i]];
  return ifd_infer_tensor(x, 0, IFD_FLOAT, n_out, out);
}

/* ---- sizes ---- */

/* What one operand says of the sizes; its strides are 0 where it is broadcast. */
typedef struct operand {
  int64_t n[N_AXES];
  ifd_attention_rows rows;
} operand;

static ifd_status operand_of(ifd_error *err, const ifd_node *node, int i, const ifd_shape *shape,
                             operand *o) {
  view v;
  int64_t strides[IFD_MAX_RANK], s[N_AXES];
  TRY(view_of(err, node, i, shape->rank, &v));
  ifd_shape_strides(shape, strides);
  for (int k = 0; k < N_AXES; k++) {
    o->n[k] = v.axis[k] < 0 ? 1 : shape->dim[v.axis[k]];
    s[k] = v.axis[k] < 0 || (k <= HEADS && o->n[k] == 1) ? 0 : strides[v.axis[k]];
  }
  o->rows =
      (ifd_attention_rows){.sample = s[BATCH], .head = s[HEADS], .row = s[ROWS], .element = s[ELEMENTS]};
  if (v.part_axis < 0) return IFD_OK;
  EXPECT(err, v.part >= 0 && v.part < shape->dim[v.part_axis], BAD_MODEL, "input %d has no part %lld", i,
         (long long)v.part);
  o->rows.offset = v.part * strides[v.part_axis];
  return IFD_OK;
}

/* The result's shape, and where its rows are. */
static ifd_status result_of(ifd_error *err, const ifd_node *node, bool heads, ifd_attention_layer *l,
                            ifd_shape *shape) {
  int64_t order[N_AXES], strides[N_AXES] = {0}, step = 1;
  const int64_t n[N_AXES] = {l->batch, l->q_heads, l->q_len, l->v_size};
  TRY(order_of(err, node, heads, order, &shape->rank));
  for (int i = shape->rank - 1; i >= 0; i--) {
    shape->dim[i] = n[order[i]];
    strides[order[i]] = step;
    step *= n[order[i]];
  }
  l->y = (ifd_attention_rows){
      .sample = strides[BATCH], .head = strides[HEADS], .row = strides[ROWS], .element = 1};
  return IFD_OK;
}

/* The layer but for its mask, the result's shape, and the scores' shape: [batch, rows, keys], with heads
 * second where Q has them. */
static ifd_status layer_of(ifd_error *err, const ifd_node *node, const ifd_shape *const *in,
                           const ifd_shape *mask, ifd_attention_layer *l, ifd_shape *result,
                           ifd_shape *scores) {
  operand o[N_VIEWS];
  view q;
  for (int i = 0; i < N_VIEWS; i++) TRY(operand_of(err, node, i, in[i], &o[i]));
  TRY(view_of(err, node, Q, in[Q]->rank, &q));
  bool heads = q.axis[HEADS] >= 0;
  for (int i = 0; i < N_VIEWS; i++) {
    ifd_shape s = {4, {o[i].n[BATCH], o[i].n[HEADS], i == Q ? o[Q].n[ROWS] : 1, i == K ? o[K].n[ROWS] : 1}};
    if (!heads) s = (ifd_shape){3, {s.dim[0], s.dim[2], s.dim[3]}};
    TRY(ifd_shape_broadcast(err, scores, i == Q ? &s : scores, &s));
  }
  if (mask) TRY(ifd_shape_broadcast(err, scores, scores, mask));
  int r = scores->rank;
  l->batch = scores->dim[0], l->q_heads = l->kv_heads = heads ? scores->dim[1] : 1;
  l->q_len = scores->dim[r - 2], l->kv_len = scores->dim[r - 1];
  l->size = o[Q].n[ELEMENTS], l->v_size = o[V].n[ELEMENTS];
  EXPECT(err, o[K].n[ELEMENTS] == l->size && o[V].n[ROWS] == l->kv_len, BAD_INPUT,
         "Q, K and V have sizes that do not fit");
  l->q = o[Q].rows, l->k = o[K].rows, l->v = o[V].rows;
  if (o[Q].n[ROWS] == 1) l->q.row = 0;
  if (o[K].n[ROWS] == 1) l->k.row = 0;
  l->scale = ifd_node_float(node, "scale", 1);
  l->left = l->right = -1;
  l->is_softmax = true, l->zeroes = ifd_node_int(node, "zeroes", 0);
  l->rounding = ifd_epilogue_of(node).rounding;
  return result_of(err, node, heads, l, result);
}

/* ---- running ---- */

/* Only what is empty is left to an evaluation: everything else is lowered. */
static ifd_status eval_attention(ifd_eval *x) {
  ifd_attention_layer l = {0};
  ifd_shape scores, shape;
  ifd_tensor *out;
  const ifd_shape *in[N_VIEWS];
  for (int i = 0; i < N_VIEWS; i++) in[i] = ifd_eval_shape(x, i);
  TRY(layer_of(x->err, x->node, in, ifd_eval_has(x, MASK) ? ifd_eval_shape(x, MASK) : NULL, &l, &shape,
               &scores));
  int64_t n = ifd_shape_count(&shape);
  EXPECT(x->err, n == 0 || l.kv_len == 0, UNSUPPORTED, "fused attention runs on kernels alone");
  TRY(ifd_eval_out(x, &out, 0, IFD_FLOAT, &shape));
  if (n) memset(out->data, 0, ifd_tensor_bytes(out)); /* sums of nothing */
  return IFD_OK;
}

static ifd_status lower_attention(ifd_lower *x) {
  ifd_attention_layer l = {0};
  ifd_shape scores, result;
  const ifd_shape *in[N_VIEWS], *mask = ifd_node_has_input(x->node, MASK) ? &x->in[MASK]->shape : NULL;
  for (int i = 0; i < N_VIEWS; i++) in[i] = &x->in[i]->shape;
  TRY(layer_of(x->err, x->node, in, mask, &l, &result, &scores));
  if (mask) {
    int64_t s[IFD_MAX_RANK], *to = l.mask_strides;
    ifd_shape_broadcast_strides(mask, &scores, s);
    to[BATCH] = s[0], to[HEADS] = scores.rank == 4 ? s[1] : 0;
    to[2] = s[scores.rank - 2], to[3] = s[scores.rank - 1];
    l.mask_length = l.kv_len;
  }
  return ifd_lower_attention(x, &l);
}

static double cost_attention(const ifd_node *node, const ifd_shape *in, const ifd_shape *out) {
  (void)out;
  ifd_error err = {0};
  ifd_attention_layer l = {0};
  ifd_shape scores, result;
  const ifd_shape *shapes[N_VIEWS] = {&in[Q], &in[K], &in[V]};
  if (layer_of(&err, node, shapes, NULL, &l, &result, &scores) != IFD_OK) return 0;
  return (double)(l.batch * l.q_heads) * (double)l.q_len * (double)l.kv_len * (double)(l.size + l.v_size);
}

/* Views have the batch first, and so has the result. */
static const char *batch_attention(const ifd_batch *b) {
  static const char *const axes[] = {"q_axes", "k_axes", "v_axes"};
  const int64_t *list;
  for (int i = 0; i < 3; i++)
    if (!ifd_node_ints(b->node, axes[i], &list) || list[0] != 0) return NULL;
  return ifd_node_ints(b->node, "y_order", &list) && list[0] != 0 ? NULL : "ppps";
}

const ifd_op ifd_ops_own_attention[] = {{.name = "Attention",
                                         .domain = "infold",
                                         .infer = infer_attention,
                                         .eval = eval_attention,
                                         .lower = lower_attention,
                                         .cost = cost_attention,
                                         .batch = batch_attention},
                                        {0}};
