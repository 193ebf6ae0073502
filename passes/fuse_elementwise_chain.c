#include "ops/shared/chain.h"
#include "pass/pass.h"

/* Elementwise operators of one shape, each read by the next alone, become one infold.Chain: a tree of them
 * costs one pass over memory and one step of the plan. */

typedef struct tree {
  ifd_rewrite *rw;
  ifd_value *shape; /* of all results */
  int n_nodes, n_inputs, n_steps;
  int leaves, steps_due; /* inputs and steps there will be at most */
  ifd_value *inputs[IFD_CHAIN_INPUTS];
  ifd_chain_step steps[IFD_CHAIN_STEPS];
} tree;

static bool scalar(void *rw, const ifd_value *v, double *out) { return ifd_rw_scalar(rw, v, out); }

/* What a unary step reads has an element for each of the result's; other operands may broadcast. */
static bool fits(ifd_rewrite *rw, const ifd_value *operand, const ifd_value *result, bool alone) {
  if (!operand || ifd_rw_dtype(rw, operand) != IFD_FLOAT || ifd_rw_rank(rw, operand) < 0) return false;
  return !alone || ifd_rw_same_shape(rw, operand, result);
}

static bool part_of(ifd_rewrite *rw, const ifd_node *node, ifd_chain_part *part) {
  if (!node || !ifd_chain_part_of(node, scalar, rw, part) || part->n_operands > IFD_CHAIN_INPUTS)
    return false;
  if (ifd_rw_dtype(rw, node->outputs[0]) != IFD_FLOAT || ifd_rw_rank(rw, node->outputs[0]) < 0) return false;
  for (int i = 0; i < part->n_operands; i++)
    if (!fits(rw, node->inputs[i], node->outputs[0], part->n_operands == 1)) return false;
  return true;
}

/* The node that makes v, if it may vanish into the tree: `held` results wait while it is computed. */
static const ifd_node *own_part(tree *t, const ifd_value *v, int held, ifd_chain_part *part) {
  if (ifd_value_n_readers(v) != 1 || v->graph != t->shape->graph || held >= IFD_CHAIN_HELD ||
      !ifd_rw_same_shape(t->rw, v, t->shape))
    return NULL;
  if (!part_of(t->rw, v->producer, part)) return NULL;
  if (t->leaves + part->n_operands - 1 > IFD_CHAIN_INPUTS || t->steps_due + part->n_steps > IFD_CHAIN_STEPS)
    return NULL;
  return v->producer;
}

static int64_t input_number(tree *t, ifd_value *v) {
  int i = 0;
  while (i < t->n_inputs && t->inputs[i] != v) i++;
  if (i == t->n_inputs) t->inputs[t->n_inputs++] = v;
  return i;
}

static int64_t add_step(tree *t, int64_t op, int64_t a, int64_t b, const float *p) {
  t->steps[t->n_steps] = (ifd_chain_step){.op = op, .from = {a, b}, .p = {p[0], p[1]}};
  return IFD_CHAIN_RESULT + t->n_steps++;
}

static int64_t take_node(tree *t, const ifd_node *node, const ifd_chain_part *part, int held);

static int64_t take_value(tree *t, ifd_value *v, int held, bool once) {
  ifd_chain_part part;
  const ifd_node *node = once ? own_part(t, v, held, &part) : NULL;
  return node ? take_node(t, node, &part, held) : input_number(t, v);
}

static int64_t take_node(tree *t, const ifd_node *node, const ifd_chain_part *part, int held) {
  t->n_nodes++;
  t->leaves += part->n_operands - 1;
  t->steps_due += part->n_steps;
  int64_t a = take_value(t, node->inputs[0], held, !part->squares);
  if (part->n_operands == 1 && !part->squares) return add_step(t, part->op, a, a, part->p);
  if (part->squares) {
    int64_t y = add_step(t, part->op, a, a, part->p);
    return part->n_steps == 1 ? y : add_step(t, part->op, y, a, part->p);
  }
  for (int i = 1; i < part->n_operands; i++) {
    int64_t b = take_value(t, node->inputs[i], held + (a >= IFD_CHAIN_RESULT), true);
    a = add_step(t, part->op, a, b, part->p);
  }
  return a;
}

/* Whether the one reader of a result takes it into a tree of its own. */
static bool is_taken(ifd_rewrite *rw, const ifd_value *v) {
  ifd_chain_part part;
  const ifd_node *reader = ifd_value_only_reader(v);
  return reader && reader->graph == v->graph && reader->n_outputs == 1 &&
         ifd_rw_same_shape(rw, reader->outputs[0], v) && part_of(rw, reader, &part) &&
         !(part.squares && reader->inputs[0] == v);
}

static ifd_status set_steps(ifd_rewrite *rw, ifd_node *chain, const tree *t) {
  int64_t *steps;
  float *p;
  ALLOC(ifd_rw_error(rw), steps, ifd_new_array(ifd_rw_arena(rw), int64_t, 3 * t->n_steps));
  ALLOC(ifd_rw_error(rw), p, ifd_new_array(ifd_rw_arena(rw), float, 2 * t->n_steps));
  for (int k = 0; k < t->n_steps; k++) {
    steps[3 * k] = t->steps[k].op;
    for (int i = 0; i < 2; i++) steps[3 * k + 1 + i] = t->steps[k].from[i], p[2 * k + i] = t->steps[k].p[i];
  }
  TRY(ifd_node_set_ints(ifd_rw_error(rw), chain, "steps", steps, 3 * t->n_steps));
  ifd_attr attr = {.name = "parameters", .type = IFD_ATTR_FLOATS, .n = 2 * t->n_steps, .floats = p};
  return ifd_node_set_attr(ifd_rw_error(rw), chain, &attr);
}

static ifd_status fuse(ifd_rewrite *rw, ifd_node *root) {
  ifd_chain_part part;
  ifd_node *chain;
  if (!part_of(rw, root, &part) || is_taken(rw, root->outputs[0])) return IFD_OK;
  tree t = {.rw = rw, .shape = root->outputs[0], .leaves = 1};
  take_node(&t, root, &part, 0);
  if (t.n_nodes < 2) return IFD_OK;
  TRY(ifd_rw_add_node(rw, &chain, "infold.Chain", t.inputs, t.n_inputs, 1));
  TRY(set_steps(rw, chain, &t));
  return ifd_rw_replace(rw, root->outputs[0], chain->outputs[0]);
}

const ifd_pass ifd_pass_fuse_elementwise_chain = {
    .summary = "runs elementwise operators that follow one another in one pass over memory",
    .phase = IFD_PHASE_CHAIN,
    .rules = (const ifd_rule[]){{"*", IFD_EXACT, fuse},
                                {"infold.RoundFloat16 infold.RoundBFloat16", IFD_EXACT, fuse},
                                {0}},
};
