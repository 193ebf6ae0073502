#include "pass/ints.h"

/* Values stacked to be reduced over the axis of the stack: ReduceMax of a Concat of single slices, which
 * Unsqueeze mostly made, is Max of them; so are the least, the sum and the mean. */

enum { MOST = 8 }; /* a long stack is one pass over memory, its Max many */

/* Of what the slices are views for this alone, the values themselves. */
typedef struct stack {
  ifd_value *v[MOST];
  int n, axis;
  bool plain; /* without the axis */
} stack;

static const char *elementwise(const ifd_node *reduce) {
  static const char *const table[][2] = {
      {"ReduceMax", "Max"}, {"ReduceMin", "Min"}, {"ReduceSum", "Sum"}, {"ReduceMean", "Mean"}};
  for (size_t i = 0; i < sizeof table / sizeof *table; i++)
    if (ifd_node_is(reduce, table[i][0])) return table[i][1];
  return NULL;
}

/* Sum and Mean are of these alone. */
static bool is_float(ifd_dtype dtype) {
  return dtype == IFD_FLOAT || dtype == IFD_FLOAT16 || dtype == IFD_DOUBLE;
}

static bool is_unsqueezed(ifd_rewrite *rw, const ifd_value *v, int rank, int axis) {
  const ifd_node *node = ifd_rw_producer(v, "Unsqueeze");
  unsigned axes;
  return node && ifd_ints_axis_bits(rw, node, rank, &axes) && axes == 1u << axis;
}

static bool stack_of(ifd_rewrite *rw, const ifd_node *concat, stack *s) {
  int rank = ifd_rw_rank(rw, concat->outputs[0]);
  int64_t axis = ifd_node_int(concat, "axis", 1);
  if (rank < 1 || rank > IFD_MAX_RANK || axis < -rank || axis >= rank || concat->n_inputs > MOST)
    return false;
  *s = (stack){.n = concat->n_inputs, .axis = (int)(axis < 0 ? axis + rank : axis), .plain = true};
  for (int i = 0; i < s->n; i++) {
    if (ifd_rw_dim(rw, concat->inputs[i], s->axis) != 1) return false;
    s->plain = s->plain && is_unsqueezed(rw, concat->inputs[i], rank, s->axis);
  }
  for (int i = 0; i < s->n; i++)
    s->v[i] = s->plain ? concat->inputs[i]->producer->inputs[0] : concat->inputs[i];
  return s->n > 1;
}

static ifd_status unstack(ifd_rewrite *rw, ifd_node *reduce) {
  const ifd_node *concat = ifd_rw_producer(reduce->inputs[0], "Concat");
  stack s;
  unsigned axes;
  ifd_node *node;
  if (!concat || concat->graph != reduce->graph || reduce->opset < 8 || !stack_of(rw, concat, &s) ||
      !is_float(ifd_rw_dtype(rw, concat->outputs[0])) ||
      !ifd_ints_axis_bits(rw, reduce, ifd_rw_rank(rw, concat->outputs[0]), &axes) || axes != 1u << s.axis)
    return IFD_OK;
  if (ifd_value_n_readers(concat->outputs[0]) != 1)
    return ifd_rw_refuse(rw, "what it reduces is read by others too, or is an output of the graph");
  bool keeps = ifd_node_int(reduce, "keepdims", 1) != 0;
  TRY(ifd_rw_add_node(rw, &node, elementwise(reduce), s.v, s.n, 1));
  node->name = reduce->name;
  if (keeps == s.plain)
    TRY(ifd_ints_add_node(rw, &node, keeps ? "Unsqueeze" : "Squeeze", node->outputs[0], "axes",
                          &(int64_t){s.axis}, 1, 1));
  return ifd_rw_replace(rw, reduce->outputs[0], node->outputs[0]);
}

const ifd_pass ifd_pass_unstack_reduce = {
    .summary = "reduces stacked values by Max, Min, Sum or Mean of them",
    .phase = IFD_PHASE_SIMPLIFY, /* before Transposes go behind the Concat */
    .rules = (const ifd_rule[]){{"ReduceMax ReduceMin ReduceSum ReduceMean", IFD_REASSOCIATES, unstack}, {0}},
};
