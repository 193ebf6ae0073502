#include "ops/shared/batch.h"

#include <stdlib.h>
#include <string.h>

typedef struct batch {
  const ifd_node *node;
  const ifd_tensor *const *in, *const *out;
} batch;

static const ifd_tensor *input(const batch *b, int i) { return i < b->node->n_inputs ? b->in[i] : NULL; }
static int rank_of(const batch *b, int i) { return input(b, i) ? b->in[i]->shape.rank : 0; }
/* The first output there is. */
static const ifd_shape *result(const batch *b) {
  for (int i = 0; i < b->node->n_outputs; i++)
    if (b->out[i]) return &b->out[i]->shape;
  return NULL;
}

/* ---- axes ---- */

static bool is_first(int64_t axis, int rank) { return axis == 0 || axis == -rank; }

static bool axis_is_inner(const batch *b, int64_t otherwise) {
  return !is_first(ifd_node_int(b->node, "axis", otherwise), rank_of(b, 0));
}
static bool by_axis_0(const batch *b) { return axis_is_inner(b, 0); }
static bool by_axis_1(const batch *b) { return axis_is_inner(b, 1); }
static bool by_last_axis(const batch *b) { return axis_is_inner(b, -1); }
static bool by_softmax_axis(const batch *b) { return axis_is_inner(b, b->node->opset < 13 ? 1 : -1); }

/* Axes of an attribute or of input i, known and none of them the first. */
static bool axes_are_inner(const batch *b, int i) {
  const int64_t *axes;
  int n = ifd_node_ints(b->node, "axes", &axes);
  const ifd_tensor *t = input(b, i);
  for (int k = 0; k < n; k++)
    if (is_first(axes[k], rank_of(b, 0))) return false;
  if (n || !t || !t->data) return n > 0;
  int64_t count = ifd_tensor_count(t);
  for (int64_t k = 0; k < count; k++)
    if (is_first(ifd_tensor_get_i64(t, k), rank_of(b, 0))) return false;
  return count > 0;
}
static bool by_axes_in_1(const batch *b) { return axes_are_inner(b, 1); }
static bool by_axes_in_3(const batch *b) { return axes_are_inner(b, 3); }

static bool cumulates(const batch *b) {
  const ifd_tensor *axis = input(b, 1);
  return axis && axis->data && ifd_tensor_count(axis) == 1 &&
         !is_first(ifd_tensor_get_i64(axis, 0), rank_of(b, 0));
}

static bool transposes(const batch *b) {
  const int64_t *perm;
  return ifd_node_ints(b->node, "perm", &perm) && perm[0] == 0;
}

static bool pads(const batch *b) {
  const int64_t *list;
  const ifd_tensor *t = input(b, 1);
  int rank = rank_of(b, 0), n = ifd_node_ints(b->node, b->node->opset < 2 ? "paddings" : "pads", &list);
  if (input(b, 3)) return false;
  if (n) return n == 2 * rank && list[0] == 0 && list[rank] == 0;
  return t && t->data && ifd_tensor_count(t) == 2 * rank && ifd_tensor_get_i64(t, 0) == 0 &&
         ifd_tensor_get_i64(t, rank) == 0;
}

/* ---- others ---- */

/* Other scales of the first axis may leave its length as it was, and still mix samples. */
static bool scales(const batch *b) {
  const int64_t *axes;
  const float *listed;
  const ifd_tensor *t = input(b, b->node->opset < 11 ? 1 : 2);
  int n = ifd_node_ints(b->node, "axes", &axes);
  if (ifd_node_string_is(b->node, "coordinate_transformation_mode", "", "tf_crop_and_resize")) return false;
  for (int k = 0; k < n; k++)
    if (is_first(axes[k], rank_of(b, 0))) return false;
  if (n) return true;
  if (ifd_node_floats(b->node, "scales", &listed)) return listed[0] == 1;
  return t && t->data && ifd_tensor_count(t) == rank_of(b, 0) && ifd_tensor_get_f64(t, 0) == 1;
}
static bool normalizes(const batch *b) { return !ifd_op_mixes_batch(b->node); }
/* Indices count through the whole batch. */
static bool pools(const batch *b) { return b->node->n_outputs < 2 || !b->out[1]; }
static bool is_not_turned(const batch *b) { return !ifd_node_int(b->node, "transA", 0); }
static bool is_matrices(const batch *b) { return rank_of(b, 0) > 2; }
static bool has_one_scale(const batch *b) {
  return !input(b, 1) || ifd_tensor_count(input(b, 1)) == 1 || (rank_of(b, 1) == 1 && axis_is_inner(b, 1));
}

/* Views have the batch first, and so has the result. */
static bool attends(const batch *b) {
  static const char *const axes[] = {"q_axes", "k_axes", "v_axes"};
  const int64_t *list;
  for (int i = 0; i < 3; i++)
    if (!ifd_node_ints(b->node, axes[i], &list) || list[0] != 0) return false;
  return !ifd_node_ints(b->node, "y_order", &list) || list[0] == 0;
}

/* ---- rules ---- */

/* roles: for each input, the last for all that follow. p: parts. w: whole. b: as it broadcasts: in parts
 * where its first dimension is the result's. s: the same beside the scores of an Attention. m: a factor of a
 * product. */
typedef struct rule {
  const char *name, *roles;
  bool (*passes)(const batch *b); /* or NULL */
} rule;

/* In the order of their names. */
static const rule onnx_rules[] = {
    {"ArgMax", "p", by_axis_0},
    {"ArgMin", "p", by_axis_0},
    {"AveragePool", "p", pools},
    {"BatchNormalization", "pw", normalizes},
    {"Concat", "p", by_axis_1},
    {"Conv", "pw", NULL},
    {"ConvTranspose", "pw", NULL},
    {"CumSum", "pw", cumulates},
    {"DepthToSpace", "p", NULL},
    {"DequantizeLinear", "pw", has_one_scale},
    {"Gather", "pw", by_axis_0},
    {"GatherElements", "p", by_axis_0},
    {"Gemm", "pwb", is_not_turned},
    {"GlobalAveragePool", "p", NULL},
    {"GlobalLpPool", "p", NULL},
    {"GlobalMaxPool", "p", NULL},
    {"GridSample", "p", NULL},
    {"GroupNormalization", "pw", NULL},
    {"Hardmax", "p", by_softmax_axis},
    {"InstanceNormalization", "pw", NULL},
    {"LRN", "p", NULL},
    {"LayerNormalization", "pb", by_last_axis},
    {"LogSoftmax", "p", by_softmax_axis},
    {"LpNormalization", "p", by_last_axis},
    {"LpPool", "p", NULL},
    {"MatMul", "m", NULL},
    {"MaxPool", "p", pools},
    {"Pad", "pw", pads},
    {"QLinearConv", "pw", NULL},
    {"QuantizeLinear", "pw", has_one_scale},
    {"RMSNormalization", "pb", by_last_axis},
    {"ReduceL1", "pw", by_axes_in_1},
    {"ReduceL2", "pw", by_axes_in_1},
    {"ReduceLogSum", "pw", by_axes_in_1},
    {"ReduceLogSumExp", "pw", by_axes_in_1},
    {"ReduceMax", "pw", by_axes_in_1},
    {"ReduceMean", "pw", by_axes_in_1},
    {"ReduceMin", "pw", by_axes_in_1},
    {"ReduceProd", "pw", by_axes_in_1},
    {"ReduceSum", "pw", by_axes_in_1},
    {"ReduceSumSquare", "pw", by_axes_in_1},
    {"Resize", "pw", scales},
    {"Slice", "pw", by_axes_in_3},
    {"Softmax", "p", by_softmax_axis},
    {"SpaceToDepth", "p", NULL},
    {"Split", "pw", by_axis_0},
    {"TopK", "pw", by_last_axis},
    {"Transpose", "p", transposes},
    {"Trilu", "pw", is_matrices},
    {"Upsample", "pw", scales},
};

/* Of the domain infold, in the order of their names. */
static const rule own_rules[] = {
    {"Attention", "ppps", attends},
    {"AveragePool", "p", NULL},
    {"Block", "p", NULL},
    {"BlockLast", "p", NULL},
    {"Chain", "b", NULL},
    {"Conv", "pwwpw", NULL},
    {"ConvTranspose", "pwwpw", NULL},
    {"MatMul", "mmwp", NULL},
    {"MaxPool", "p", NULL},
    {"PickChannels", "p", NULL},
    {"QBinary", "bwwbw", NULL},
    {"QConv", "pw", NULL},
    {"QLookup", "pw", NULL},
    {"QMatMul", "pwwmw", has_one_scale},
    {"QPool", "pw", NULL},
    {"Unblock", "p", NULL},
    {"UnblockLast", "p", NULL},
};

static const rule broadcasting = {"", "b", NULL};

static int by_name(const void *name, const void *entry) { return strcmp(name, ((const rule *)entry)->name); }

/* Before opset 7 operands could lie along axes of the attributes' choice. */
static const rule *find_rule(const ifd_node *node) {
  bool own = strcmp(node->domain, "infold") == 0;
  if (!node->op || (*node->domain && !own) || (node->op->flags & (IFD_OP_IMPURE | IFD_OP_VIEW))) return NULL;
  if (node->op->flags & IFD_OP_ELEMENTWISE) return ifd_node_int(node, "broadcast", 0) ? NULL : &broadcasting;
  return own ? bsearch(node->op_type, own_rules, sizeof own_rules / sizeof *own_rules, sizeof *own_rules,
                       by_name)
             : bsearch(node->op_type, onnx_rules, sizeof onnx_rules / sizeof *onnx_rules, sizeof *onnx_rules,
                       by_name);
}

static ifd_role broadcasts(const ifd_shape *s, int rank, int64_t first) {
  return s->rank == rank && s->dim[0] == first ? IFD_ROLE_PARTS : IFD_ROLE_WHOLE;
}

/* A factor's first dimension is the result's where it is one of its batch, or, of the left one, of its rows.
 */
static ifd_role role_of_factor(const batch *b, const ifd_shape *s, int i, const ifd_shape *y) {
  if (i == 0 && s->rank == 2 && y->rank == 2) return IFD_ROLE_PARTS;
  if (i == 0 && s->rank == y->rank + 1 && rank_of(b, 1) == 1) return IFD_ROLE_PARTS;
  return s->rank > 2 ? broadcasts(s, y->rank, y->dim[0]) : IFD_ROLE_WHOLE;
}

static int rank_of_scores(const batch *b) {
  const int64_t *axes;
  return ifd_node_ints(b->node, "q_axes", &axes) && axes[1] >= 0 ? 4 : 3;
}

static ifd_role role_of(const batch *b, char code, int i) {
  const ifd_shape *s = &b->in[i]->shape, *y = result(b);
  switch (code) {
  case 'p': return IFD_ROLE_PARTS;
  case 'b': return broadcasts(s, y->rank, y->dim[0]);
  case 's': return broadcasts(s, rank_of_scores(b), y->dim[0]);
  case 'm': return role_of_factor(b, s, i, y);
  default: return IFD_ROLE_WHOLE;
  }
}

/* Rows of a table that are picked by the batch. */
static bool picks_rows(const batch *b) {
  return ifd_node_is(b->node, "Gather") && rank_of(b, 0) > 0 && rank_of(b, 1) > 0 && !by_axis_0(b);
}

static bool divides_all(const batch *b, int64_t n) {
  bool any = false;
  for (int i = 0; i < b->node->n_outputs; i++) {
    const ifd_tensor *t = b->out[i];
    if (!t) continue;
    if (t->dtype == IFD_STRING || !ifd_batch_divides(&t->shape, n) || ifd_tensor_count(t) == 0) return false;
    any = true;
  }
  return any;
}

bool ifd_batch_passes(const ifd_node *node, const ifd_tensor *const *in, const ifd_tensor *const *out,
                      int64_t n, ifd_role *roles) {
  batch b = {node, in, out};
  const rule *r = find_rule(node);
  if (!r || !divides_all(&b, n)) return false;
  bool picks = picks_rows(&b), any = false;
  const char *code = picks ? "wp" : r->roles;
  if (!picks && r->passes && !r->passes(&b)) return false;
  for (int i = 0; i < node->n_inputs; i++) {
    roles[i] = IFD_ROLE_WHOLE;
    if (in[i]) {
      roles[i] = role_of(&b, *code, i);
      bool parts = roles[i] == IFD_ROLE_PARTS;
      bool fits = in[i]->shape.rank > 0 && in[i]->shape.dim[0] == result(&b)->dim[0];
      if (in[i]->dtype == IFD_STRING || (parts && !fits)) return false;
      any |= parts;
    }
    if (code[1]) code++;
  }
  return any;
}
