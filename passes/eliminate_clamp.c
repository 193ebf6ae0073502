#include "pass/range.h"

#include <math.h>

/* Relu of what is never negative, Clip of what is within its bounds, Abs, LeakyRelu, PRelu, Elu of what is
 * not negative, the Max of a number and of what never falls below it: each is its input.
 *
 * Relu, Clip and the like forward NaN, so where the bounds hold of what is computed, nothing changes. That
 * real numbers are not negative is enough, too (src/pass/range.h), but then what should be 0 may come out as
 * -1e-7, and loses the clamp that made it 0. This is one rounding error among others where all that comes of
 * it is continuous and defined below 0: sums, products, pools, views, activations, up to where another clamp
 * makes it 0 again, or to the end. Sqrt, Log, Pow, Div, Reciprocal, Sign, rounding, comparisons, sorting and
 * normalization (of a channel that should be all 0) may make more of it: where one of these, or an operator
 * that is not known, reads it or what comes of it, the clamp stays. */

/* ---- what a clamp leaves alone ---- */

typedef const ifd_range *bounds; /* of each input */

static bool keeps_positive(const ifd_node *n, bounds in) { return (void)n, in[0].lo >= 0; }

static bool keeps_within(const ifd_node *n, bounds in) {
  if (n->opset < 11)
    return in[0].lo >= ifd_node_float(n, "min", -INFINITY) && in[0].hi <= ifd_node_float(n, "max", INFINITY);
  return (!ifd_node_has_input(n, 1) || in[0].lo >= in[1].hi) &&
         (!ifd_node_has_input(n, 2) || in[0].hi <= in[2].lo);
}

/* Input i against all others; they may be as large as it is. */
static bool is_greatest(const ifd_node *n, bounds in, int i) {
  for (int k = 0; k < n->n_inputs; k++)
    if (k != i && in[i].lo < in[k].hi) return false;
  return true;
}

static bool is_least(const ifd_node *n, bounds in, int i) {
  for (int k = 0; k < n->n_inputs; k++)
    if (k != i && in[i].hi > in[k].lo) return false;
  return true;
}

/* The input that the node forwards, or -1. */
static int forwards(const ifd_node *n, bounds in) {
  static const struct {
    const char *op_types;
    bool (*keeps)(const ifd_node *n, bounds in);
  } table[] = {{"Relu Abs LeakyRelu PRelu Elu Celu", keeps_positive}, {"Clip", keeps_within}};
  for (size_t i = 0; i < sizeof table / sizeof *table; i++)
    if (ifd_node_is_any(n, table[i].op_types)) return table[i].keeps(n, in) ? 0 : -1;
  for (int i = 0; i < n->n_inputs; i++)
    if (ifd_node_is(n, "Max") ? is_greatest(n, in, i) : is_least(n, in, i)) return i;
  return -1;
}

/* ---- what bears a rounding error instead of 0 ---- */

enum { MAX_VALUES = 128 };

static const char passes_on[] = "Conv ConvTranspose Gemm MatMul Add Sub Sum Mean Mul Neg Max Min "
                                "BatchNormalization LRN AveragePool MaxPool "
                                "GlobalAveragePool GlobalMaxPool ReduceMean ReduceSum ReduceMax ReduceMin "
                                "Identity Reshape Flatten Squeeze "
                                "Unsqueeze Transpose Slice Split Pad Expand Tile Concat DepthToSpace "
                                "SpaceToDepth Resize Upsample Clip LeakyRelu "
                                "PRelu Elu Celu Selu Tanh Erf Gelu Swish HardSwish Mish Softsign Sigmoid "
                                "HardSigmoid Softmax LogSoftmax Exp "
                                "Softplus";

typedef struct spread { /* what may be off by a rounding error */
  const ifd_value *v[MAX_VALUES];
  int n;
} spread;

static bool add(spread *s, const ifd_value *v) {
  for (int i = 0; i < s->n; i++)
    if (s->v[i] == v) return true;
  if (s->n == MAX_VALUES) return false;
  s->v[s->n++] = v;
  return true;
}

/* What makes 0 of it, or reads but its shape. */
static bool stops(ifd_rewrite *rw, const ifd_node *reader) {
  double low;
  if (ifd_node_is_any(reader, "Relu Abs Shape Size")) return true;
  if (!ifd_node_is(reader, "Clip")) return false;
  if (reader->opset < 11) return ifd_node_float(reader, "min", -1) >= 0;
  return ifd_rw_scalar(rw, ifd_node_input(reader, 1), &low) && low >= 0;
}

static const char *spread_to(ifd_rewrite *rw, spread *s, const ifd_node *reader, int input) {
  bool as_parameter = input && ifd_node_is_any(reader, "Reshape Slice Split Pad Expand Tile Resize Upsample");
  if (ifd_node_is_open(reader) || as_parameter) return reader->op_type;
  if (stops(rw, reader)) return NULL;
  if (!ifd_node_is_any(reader, passes_on)) return reader->op_type;
  for (int i = 0; i < reader->n_outputs; i++)
    if (reader->outputs[i] && !add(s, reader->outputs[i])) return "one of very many nodes";
  return NULL;
}

/* The operator that would make more of a rounding error of y than that, or NULL. */
static const char *find_touchy(ifd_rewrite *rw, const ifd_value *y) {
  spread s = {{y}, 1};
  const char *touchy = NULL;
  for (int i = 0; i < s.n && !touchy; i++) {
    bool leaves = s.v[i]->graph->outer || s.v[i]->graph->function;
    if (leaves && s.v[i]->n_outputs) return "what reads it outside the subgraph or function";
    for (int k = 0; k < s.v[i]->uses.n && !touchy; k++)
      touchy = spread_to(rw, &s, s.v[i]->uses.v[k].node, s.v[i]->uses.v[k].index);
  }
  return touchy;
}

/* ---- the rules ---- */

/* Of what holds of real numbers only "not negative" is used: what is lost is a 0. */
static ifd_range bounds_of(const ifd_bounds *b, bool real) {
  return (ifd_range){real ? fmax(b->rounded.lo, fmin(b->real.lo, 0)) : b->rounded.lo, b->rounded.hi};
}

static ifd_status find_forwarded(ifd_rewrite *rw, const ifd_node *node, bool real, int *out) {
  ifd_range *in;
  ifd_bounds b;
  ALLOC(ifd_rw_error(rw), in, ifd_new_array(ifd_rw_scratch(rw), ifd_range, node->n_inputs));
  for (int i = 0; i < node->n_inputs; i++) {
    TRY(ifd_rw_bounds(rw, &b, node->inputs[i]));
    in[i] = bounds_of(&b, real);
  }
  *out = forwards(node, in);
  return IFD_OK;
}

static ifd_status forward(ifd_rewrite *rw, ifd_node *node, int i) {
  ifd_value *x = node->inputs[i], *y = node->outputs[0];
  bool same = node->n_inputs == 1 || !ifd_node_is_any(node, "Max Min") || ifd_rw_same_shape(rw, x, y);
  if (!same) return ifd_rw_refuse(rw, "its other inputs stretch the one that it forwards");
  return ifd_rw_replace(rw, y, x);
}

static ifd_status eliminate(ifd_rewrite *rw, ifd_node *node) {
  int i;
  TRY(find_forwarded(rw, node, false, &i));
  return i < 0 ? IFD_OK : forward(rw, node, i);
}

static ifd_status eliminate_but_for_rounding(ifd_rewrite *rw, ifd_node *node) {
  int i;
  TRY(find_forwarded(rw, node, true, &i));
  if (i < 0) return IFD_OK;
  const char *touchy = find_touchy(rw, node->outputs[0]);
  if (touchy)
    return ifd_rw_refuse(rw, "it does nothing but for rounding errors, of which %s may make more", touchy);
  return forward(rw, node, i);
}

#define CLAMPS "Relu Clip Abs LeakyRelu PRelu Elu Celu Max Min"

const ifd_pass ifd_pass_eliminate_clamp = {
    .summary = "removes Relu, Clip, Abs, Max … of what is within their bounds anyway",
    .phase = IFD_PHASE_SIMPLIFY,
    .rules = (const ifd_rule[]){{CLAMPS, IFD_EXACT, eliminate},
                                {CLAMPS, IFD_REASSOCIATES, eliminate_but_for_rounding},
                                {0}},
};
