#include "pass/ints.h"
#include "pass/quant.h"
#include "pass/view.h"

#include "ops/op.h"

/* Between a Reshape of [batch, length, width] to rows and one back, whatever treats each row alike, elements,
 * and products with a matrix, can be of [batch, length, width]: the Reshapes go. */

enum { MOST = 48, MOST_RANK = 8 };

typedef struct region {
  ifd_rewrite *rw;
  const ifd_graph *graph;
  ifd_dim n_rows;
  int rank; /* of the tensors to be */
  ifd_dim lead[MOST_RANK];
  int n_nodes, n_sources;
  ifd_node *nodes[MOST];   /* in no order */
  ifd_node *sources[MOST]; /* Reshapes that make its rows */
  int n_made;
  ifd_value *old[MOST * 2], *made[MOST * 2];
} region;

/* ---- what may be in it ---- */

static bool is_inside(const region *r, const ifd_node *node) {
  for (int i = 0; i < r->n_nodes; i++)
    if (r->nodes[i] == node) return true;
  return false;
}

static bool is_source(const region *r, const ifd_node *node) {
  for (int i = 0; i < r->n_sources; i++)
    if (r->sources[i] == node) return true;
  return false;
}

/* One element, or one for each of the last axis: broadcast alike whatever stands before it. */
static bool is_for_each_row(ifd_rewrite *rw, const ifd_value *v) {
  int rank = ifd_rw_rank(rw, v);
  return rank == 0 || rank == 1;
}

static bool scales_all(ifd_rewrite *rw, const ifd_node *node) {
  for (int i = 1; i < node->n_inputs; i++)
    if (!ifd_rw_is_one(rw, node->inputs[i])) return false;
  return !ifd_node_int(node, "block_size", 0);
}

static bool is_product(ifd_rewrite *rw, const ifd_node *node) {
  for (int i = 2; i < node->n_inputs; i++)
    if (!ifd_rw_is_one(rw, node->inputs[i])) return false;
  return node->n_inputs >= 2 && ifd_rw_rank(rw, node->inputs[1]) == 2 && !node->inputs[1]->producer;
}

static bool is_along_last(const ifd_node *node, int otherwise) {
  int64_t axis = ifd_node_int(node, "axis", otherwise);
  return axis == -1 || axis == 1;
}

/* Whether a node makes rows of rows; *from has the bits of the inputs that are rows. */
static bool treats_rows_alike(ifd_rewrite *rw, const ifd_node *node, unsigned *from) {
  *from = 1;
  if (ifd_node_is_any(node, "MatMul MatMulInteger")) return is_product(rw, node);
  if (ifd_node_is(node, "DynamicQuantizeLinear")) return true;
  if (ifd_node_is_any(node, "QuantizeLinear DequantizeLinear")) return scales_all(rw, node);
  if (ifd_node_is(node, "Softmax")) return node->opset >= 13 && is_along_last(node, -1);
  if (!node->op || !(node->op->flags & IFD_OP_ELEMENTWISE) || node->n_outputs != 1 || node->n_inputs > 8)
    return false;
  if (node->n_inputs > 1 && node->opset < 7) return false; /* they meet along an axis of their own */
  *from = 0;
  for (int i = 0; i < node->n_inputs; i++)
    if (node->inputs[i] && !is_for_each_row(rw, node->inputs[i])) *from |= 1u << i;
  return *from != 0;
}

/* The axis of such as Softmax from behind. */
static ifd_status keep_axis(ifd_rewrite *rw, ifd_node *node) {
  if (!ifd_node_is(node, "Softmax") || ifd_node_int(node, "axis", -1) == -1) return IFD_OK;
  return ifd_node_set_int(ifd_rw_error(rw), node, "axis", -1);
}

static bool has_lead(const region *r, const ifd_value *v) {
  if (ifd_rw_rank(r->rw, v) != r->rank) return false;
  for (int i = 0; i < r->rank - 1; i++)
    if (ifd_rw_dim(r->rw, v, i) != r->lead[i]) return false;
  return true;
}

static bool set_lead(region *r, const ifd_value *v) {
  r->rank = ifd_rw_rank(r->rw, v);
  if (r->rank < 3 || r->rank > MOST_RANK) return false;
  for (int i = 0; i < r->rank - 1; i++) r->lead[i] = ifd_rw_dim(r->rw, v, i);
  return true;
}

/* Takes in what makes the rows v. */
static bool grow(region *r, const ifd_value *v) {
  ifd_node *node = v->producer;
  unsigned from;
  if (!node || node->graph != r->graph || ifd_node_is_open(node) || ifd_rw_rank(r->rw, v) != 2 ||
      ifd_rw_dim(r->rw, v, 0) != r->n_rows)
    return false;
  if (is_inside(r, node) || is_source(r, node)) return true;
  if (r->n_nodes == MOST || r->n_sources == MOST) return false;
  if (ifd_node_is(node, "Reshape")) {
    r->sources[r->n_sources++] = node;
    return true;
  }
  if (v->output || !treats_rows_alike(r->rw, node, &from)) return false;
  r->nodes[r->n_nodes++] = node;
  for (int i = 0; i < node->n_inputs; i++)
    if ((from >> i & 1) && !grow(r, node->inputs[i])) return false;
  return true;
}

/* Scales that come out of the region and go into it again, as products with constants, are of it. */
static bool is_of_scales(const region *r, const ifd_node *node) {
  for (int i = 0; node && i < node->n_inputs; i++) {
    const ifd_value *v = node->inputs[i];
    if (v && v->output && v->producer && is_inside(r, v->producer))
      return node->n_outputs == 1 && is_for_each_row(r->rw, node->outputs[0]);
  }
  return false;
}

static bool take_scales(region *r) {
  for (int k = 0; k < r->n_nodes; k++)
    for (int i = 0; i < r->nodes[k]->n_inputs; i++) {
      ifd_node *maker = r->nodes[k]->inputs[i] ? r->nodes[k]->inputs[i]->producer : NULL;
      if (!is_of_scales(r, maker) || is_inside(r, maker)) continue;
      if (r->n_nodes == MOST || maker->n_inputs > 8 || ifd_rw_rank(r->rw, maker->outputs[0]) > 1)
        return false;
      r->nodes[r->n_nodes++] = maker;
    }
  return true;
}

/* ---- what it gains ---- */

static bool fits_any_rank(ifd_rewrite *rw, const ifd_node *view) {
  const ifd_tensor *shape = ifd_rw_constant(rw, view->inputs[1]);
  if (!shape) return false;
  for (int64_t i = 0; i < ifd_tensor_count(shape); i++)
    if (ifd_tensor_get_i64(shape, i) == 0) return false;
  return true;
}

/* A Reshape behind the region is superfluous then. */
static bool undoes(const region *r, const ifd_node *view) {
  const ifd_value *y = view->outputs[0];
  return has_lead(r, y) && ifd_rw_dim(r->rw, y, -1) == ifd_rw_dim(r->rw, view->inputs[0], 1);
}

/* All that reads the rows v is in the region, or a Reshape, of which *gain are superfluous. */
static bool readers_fit(const region *r, const ifd_value *v, int *gain) {
  if (v->n_outputs) return false;
  for (int i = 0; i < v->uses.n; i++) {
    const ifd_node *node = v->uses.v[i].node;
    if (is_inside(r, node)) continue;
    if (node->graph != r->graph || !ifd_node_is(node, "Reshape") || v->uses.v[i].index) return false;
    if (undoes(r, node))
      ++*gain;
    else if (!fits_any_rank(r->rw, node))
      return false;
  }
  return true;
}

static bool is_read_inside_only(const region *r, const ifd_value *v) {
  for (int i = 0; i < v->uses.n; i++)
    if (!is_inside(r, v->uses.v[i].node)) return false;
  return !v->n_outputs;
}

/* The rows of a source are those of what it reads: nothing is left to do. */
static bool is_free(const region *r, const ifd_node *source) {
  const ifd_value *x = source->inputs[0];
  return has_lead(r, x) && ifd_rw_dim(r->rw, x, -1) == ifd_rw_dim(r->rw, source->outputs[0], 1);
}

/* How many Reshapes fewer there are. */
static int gain_of(const region *r) {
  int gain = 0;
  for (int i = 0; i < r->n_nodes; i++)
    if (!is_of_scales(r, r->nodes[i]) && !readers_fit(r, r->nodes[i]->outputs[0], &gain)) return 0;
  for (int i = 0; i < r->n_sources; i++) {
    const ifd_node *s = r->sources[i];
    gain += is_read_inside_only(r, s->outputs[0]) - !is_free(r, s);
  }
  return gain;
}

/* ---- making it ---- */

static ifd_value *made_of(const region *r, ifd_value *v) {
  for (int i = 0; i < r->n_made; i++)
    if (r->old[i] == v) return r->made[i];
  return v;
}

static void note_made(region *r, ifd_value *old, ifd_value *made) {
  r->old[r->n_made] = old;
  r->made[r->n_made++] = made;
}

/* *fits is false where its shape cannot be said. */
static ifd_status make_source(region *r, const ifd_node *source, bool *fits) {
  ifd_value *x = source->inputs[0], *shape;
  ifd_dim to[MOST_RANK], from[MOST_RANK];
  int64_t numbers[MOST_RANK];
  ifd_node *view;
  int rank = ifd_rw_rank(r->rw, x);
  *fits = true;
  if (is_free(r, source)) {
    note_made(r, source->outputs[0], x);
    return IFD_OK;
  }
  *fits = rank >= 0 && rank <= MOST_RANK;
  for (int i = 0; *fits && i < rank; i++) from[i] = ifd_rw_dim(r->rw, x, i);
  for (int i = 0; i < r->rank - 1; i++) to[i] = r->lead[i];
  to[r->rank - 1] = ifd_rw_dim(r->rw, source->outputs[0], 1);
  if (!*fits || !(*fits = ifd_rw_view_shape(from, rank, to, r->rank, numbers))) return IFD_OK;
  TRY(ifd_rw_add_ints(r->rw, &shape, numbers, r->rank, "shape"));
  TRY(ifd_rw_add_node(r->rw, &view, "Reshape", (ifd_value *[]){x, shape}, 2, 1));
  note_made(r, source->outputs[0], view->outputs[0]);
  return IFD_OK;
}

/* Readers of the rows v, which are in the region no more, and of what else its node made. */
static ifd_status rewire(region *r, const ifd_node *node, const ifd_node *made) {
  ifd_value *v = node->outputs[0];
  for (int i = 0; i < v->uses.n; i++) {
    ifd_node *reader = v->uses.v[i].node;
    if (is_inside(r, reader)) continue;
    TRY(undoes(r, reader) ? ifd_rw_replace(r->rw, reader->outputs[0], made->outputs[0])
                          : ifd_rw_set_input(r->rw, reader, 0, made->outputs[0]));
  }
  for (int i = 1; i < node->n_outputs; i++)
    if (node->outputs[i]) TRY(ifd_rw_replace(r->rw, node->outputs[i], made->outputs[i]));
  return IFD_OK;
}

static ifd_status make_node(region *r, const ifd_node *node) {
  ifd_value *inputs[8];
  ifd_node *made;
  for (int i = 0; i < node->n_inputs; i++) inputs[i] = node->inputs[i] ? made_of(r, node->inputs[i]) : NULL;
  TRY(ifd_rw_add_like(r->rw, &made, node, inputs, node->n_inputs));
  TRY(keep_axis(r->rw, made));
  if (is_of_scales(r, node)) {
    note_made(r, node->outputs[0], made->outputs[0]);
    return ifd_rw_replace(r->rw, node->outputs[0], made->outputs[0]);
  }
  for (int i = 0; i < node->n_outputs && i < 3; i++)
    if (node->outputs[i]) note_made(r, node->outputs[i], made->outputs[i]);
  return rewire(r, node, made);
}

static void sort(region *r) {
  for (int i = 1; i < r->n_nodes; i++)
    for (int k = i; k > 0 && r->nodes[k - 1]->rank > r->nodes[k]->rank; k--) {
      ifd_node *node = r->nodes[k];
      r->nodes[k] = r->nodes[k - 1];
      r->nodes[k - 1] = node;
    }
}

/* The dimensions before the last one: of what is made of the rows, or of what they are made of. */
static bool find_lead(region *r, const ifd_node *last) {
  const ifd_value *y = last->outputs[0];
  if (ifd_rw_dim(r->rw, y, -1) == ifd_rw_dim(r->rw, last->inputs[0], 1)) return set_lead(r, y);
  for (int i = 0; i < r->n_sources; i++) {
    const ifd_value *x = r->sources[i]->inputs[0];
    if (ifd_rw_dim(r->rw, x, -1) == ifd_rw_dim(r->rw, r->sources[i]->outputs[0], 1) && set_lead(r, x))
      return true;
  }
  return false;
}

static ifd_status unflatten(ifd_rewrite *rw, ifd_node *last) {
  region r = {.rw = rw, .graph = last->graph, .n_rows = ifd_rw_dim(rw, last->inputs[0], 0)};
  bool fits;
  if (ifd_rw_rank(rw, last->outputs[0]) < 3 || !grow(&r, last->inputs[0]) || !r.n_nodes || !take_scales(&r) ||
      !find_lead(&r, last) || gain_of(&r) <= 0)
    return IFD_OK;
  sort(&r);
  for (int i = 0; i < r.n_sources; i++) {
    TRY(make_source(&r, r.sources[i], &fits));
    if (!fits) return ifd_rw_refuse(rw, "the shape of its rows cannot be said");
  }
  for (int i = 0; i < r.n_nodes; i++) TRY(make_node(&r, r.nodes[i]));
  return IFD_OK;
}

const ifd_pass ifd_pass_unflatten_rows = {
    .summary = "leaves out Reshapes to rows and back around what treats each row alike",
    .phase = IFD_PHASE_FUSE,
    .rules = (const ifd_rule[]){{"Reshape", IFD_EXACT, unflatten}, {0}},
};
