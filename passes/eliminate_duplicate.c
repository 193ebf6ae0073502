#include "ir/equal.h"
#include "pass/affine.h"

/* Nodes that compute the same from the same inputs, and equal constants, become one. */

typedef struct seen {
  uint64_t hash;
  ifd_node *node;
} seen;

typedef struct table {
  seen *slots;
  size_t cap; /* a power of two, at most half full */
} table;

/* Runtimes may write a training BatchNormalization's new statistics over the old ones: equal ones stay
 * apart. */
static bool may_be_overwritten(const ifd_value *v) {
  for (int i = 0; i < v->uses.n; i++)
    if (ifd_node_is(v->uses.v[i].node, "BatchNormalization") && ifd_bn_trains(v->uses.v[i].node)) return true;
  return false;
}

static bool can_merge(const ifd_node *node) {
  if (!node->op || (node->op->flags & IFD_OP_IMPURE)) return false;
  for (int i = 0; i < node->n_outputs; i++)
    if (node->outputs[i] && (node->outputs[i]->n_outputs || may_be_overwritten(node->outputs[i])))
      return false;
  return true;
}

static ifd_node *find_or_add(table *t, ifd_node *node) {
  uint64_t hash = ifd_node_hash(node);
  for (size_t i = hash & (t->cap - 1);; i = (i + 1) & (t->cap - 1)) {
    seen *s = &t->slots[i];
    if (!s->node) {
      *s = (seen){hash, node};
      return NULL;
    }
    if (s->hash == hash && s->node->rank >= 0 && ifd_node_equal(s->node, node)) return s->node;
  }
}

/* Every output read must exist in the first node too. */
static bool covers(const ifd_node *first, const ifd_node *node) {
  for (int i = 0; i < node->n_outputs; i++)
    if (node->outputs[i] && ifd_value_n_readers(node->outputs[i]) && !ifd_node_has_output(first, i))
      return false;
  return true;
}

static ifd_status merge_nodes(ifd_rewrite *rw, ifd_graph *graph) {
  table t = {.cap = 16};
  while (t.cap < 2 * (size_t)graph->n_nodes) t.cap *= 2;
  ALLOC(ifd_rw_error(rw), t.slots, ifd_new_array(ifd_rw_scratch(rw), seen, t.cap));
  IFD_EACH_NODE(node, graph) {
    ifd_node *first = can_merge(node) ? find_or_add(&t, node) : NULL;
    if (!first || !covers(first, node)) continue;
    for (int i = 0; i < node->n_outputs && node->rank >= 0; i++)
      if (node->outputs[i]) TRY(ifd_rw_merge(rw, node->outputs[i], first->outputs[i]));
  }
  return IFD_OK;
}

typedef struct seen_constant {
  uint64_t hash;
  ifd_value *value;
} seen_constant;

static ifd_status merge_constants(ifd_rewrite *rw, ifd_graph *graph) {
  size_t cap = 16;
  seen_constant *slots;
  while (cap < 2 * (size_t)graph->constants.n) cap *= 2;
  ALLOC(ifd_rw_error(rw), slots, ifd_new_array(ifd_rw_scratch(rw), seen_constant, cap));
  for (int k = 0; k < graph->constants.n; k++) {
    ifd_value *v = graph->constants.v[k];
    const ifd_tensor *t = ifd_value_constant(v);
    if (!t || !v->uses.n || v->n_outputs || may_be_overwritten(v)) continue;
    uint64_t hash = ifd_tensor_sketch(t);
    for (size_t i = hash & (cap - 1);; i = (i + 1) & (cap - 1)) {
      if (!slots[i].value) {
        slots[i] = (seen_constant){hash, v};
        break;
      }
      if (slots[i].hash != hash || !ifd_tensor_equal(ifd_value_constant(slots[i].value), t)) continue;
      TRY(ifd_rw_merge(rw, v, slots[i].value));
      break;
    }
  }
  return IFD_OK;
}

static ifd_status merge(ifd_rewrite *rw, ifd_graph *graph) {
  TRY(merge_constants(rw, graph));
  return merge_nodes(rw, graph);
}

const ifd_pass ifd_pass_eliminate_duplicate = {
    .summary = "computes equal things once and keeps equal constants once",
    .phase = IFD_PHASE_FINISH,
    .graph = merge,
};
