#include "pass/ints.h"

#include <string.h>

/* Products of one value with several constant matrices are one product, split: queries, keys and values.
 * Their biases are one, too. */

enum { MOST = 8 };

typedef struct branch {
  ifd_node *product;
  const ifd_tensor *weight, *bias; /* bias: or NULL */
  ifd_value *y;                    /* behind the bias */
} branch;

/* The vector that the product's one reader adds to it, or NULL. */
static const ifd_tensor *bias_of(ifd_rewrite *rw, branch *b) {
  const ifd_node *add = ifd_value_only_reader(b->y);
  if (!add || add->graph != b->product->graph || !ifd_node_is(add, "Add") || add->n_inputs != 2 ||
      add->opset < 7)
    return NULL;
  const ifd_tensor *t = ifd_rw_constant(rw, add->inputs[add->inputs[0] == b->y]);
  if (!t || t->dtype != b->weight->dtype || t->shape.rank != 1 || t->shape.dim[0] != b->weight->shape.dim[1])
    return NULL;
  b->y = add->outputs[0];
  return t;
}

static bool branch_of(ifd_rewrite *rw, const ifd_use *use, const ifd_node *first, branch *b) {
  ifd_node *node = use->node;
  const ifd_tensor *w = node->n_inputs == 2 ? ifd_rw_constant(rw, node->inputs[1]) : NULL;
  if (!ifd_node_is(node, "MatMul") || use->index || node->graph != first->graph || !w || w->splat ||
      w->shape.rank != 2 || !ifd_dtype_is_float(w->dtype) || ifd_dtypes[w->dtype].bits < 8)
    return false;
  *b = (branch){.product = node, .weight = w, .y = node->outputs[0]};
  b->bias = bias_of(rw, b);
  return true;
}

/* All that fit the first, in order; 0 when `first` is not the first of them. */
static int find_branches(ifd_rewrite *rw, const ifd_node *first, branch *all) {
  const ifd_value *x = first->inputs[0];
  int n = 0;
  for (int i = 0; i < x->uses.n; i++) {
    branch b;
    if (!branch_of(rw, &x->uses.v[i], first, &b)) continue;
    if (b.product->rank < first->rank || n == MOST) return 0;
    int at = n++;
    for (; at > 0 && all[at - 1].product->rank > b.product->rank; at--) all[at] = all[at - 1];
    all[at] = b;
  }
  for (int i = 0; i < n; i++)
    if (!all[i].bias != !all[0].bias || all[i].weight->dtype != all[0].weight->dtype) return 0;
  return n;
}

/* Rows of all tensors side by side. */
static ifd_status join(ifd_rewrite *rw, ifd_value **out, const branch *b, int n, bool biases,
                       const char *hint) {
  size_t size = ifd_dtype_size(b[0].weight->dtype);
  int64_t rows = biases ? 1 : b[0].weight->shape.dim[0], columns = 0;
  ifd_tensor t;
  for (int i = 0; i < n; i++) columns += b[i].weight->shape.dim[1];
  ifd_shape shape = biases ? (ifd_shape){1, {columns}} : (ifd_shape){2, {rows, columns}};
  TRY(ifd_tensor_new(ifd_rw_error(rw), &t, ifd_rw_arena(rw), b[0].weight->dtype, &shape));
  char *to = t.data;
  for (int64_t r = 0; r < rows; r++)
    for (int i = 0; i < n; i++) {
      ifd_tensor part = biases ? *b[i].bias : *b[i].weight;
      size_t bytes = (size_t)b[i].weight->shape.dim[1] * size;
      if (part.splat)
        ifd_tensor_expand(&part, to);
      else
        memcpy(to, (const char *)part.data + (size_t)r * bytes, bytes);
      to += bytes;
    }
  return ifd_rw_add_constant(rw, out, &t, hint);
}

static ifd_status split(ifd_rewrite *rw, ifd_node **out, ifd_value *y, const branch *b, int n) {
  int64_t lengths[MOST];
  for (int i = 0; i < n; i++) lengths[i] = b[i].weight->shape.dim[1];
  return ifd_ints_add_split(rw, out, y, ifd_rw_rank(rw, b[0].product->outputs[0]) - 1, lengths, n);
}

static ifd_status merge(ifd_rewrite *rw, ifd_node *first) {
  branch b[MOST] = {0};
  ifd_value *c, *y;
  ifd_node *node;
  if (first->opset < 7 || ifd_rw_rank(rw, first->inputs[0]) < 2) return IFD_OK;
  int n = find_branches(rw, first, b);
  if (!n || n < (b[0].bias ? 2 : 3)) return IFD_OK;
  TRY(join(rw, &c, b, n, false, first->inputs[1]->name));
  TRY(ifd_rw_add_node(rw, &node, "MatMul", (ifd_value *[]){first->inputs[0], c}, 2, 1));
  y = node->outputs[0];
  if (b[0].bias) {
    TRY(join(rw, &c, b, n, true, "bias"));
    TRY(ifd_rw_add_node(rw, &node, "Add", (ifd_value *[]){y, c}, 2, 1));
    y = node->outputs[0];
  }
  TRY(split(rw, &node, y, b, n));
  for (int i = 0; i < n; i++) TRY(ifd_rw_replace(rw, b[i].y, node->outputs[i]));
  return IFD_OK;
}

const ifd_pass ifd_pass_merge_parallel_matmul = {
    .summary = "makes one MatMul of several of one value with constant matrices, and splits it",
    .phase = IFD_PHASE_FINISH,
    .rules = (const ifd_rule[]){{"MatMul", IFD_REASSOCIATES, merge}, {0}},
};
