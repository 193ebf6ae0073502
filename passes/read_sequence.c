#include "pass/pass.h"

/* Sequences whose making is in sight: SequenceAt, SequenceLength and ConcatFromSequence of what
 * SequenceConstruct, SequenceEmpty, SequenceInsert and SequenceErase put together. */

enum { MOST = 256 };

typedef struct list {
  int n;
  ifd_value *v[MOST];
} list;

/* Position `at` of a node in [-n, n), counted from the front; `last` where the node gives none. */
static bool position_of(ifd_rewrite *rw, const ifd_node *node, int at, int n, int last, int *out) {
  double x = last;
  if (ifd_node_has_input(node, at) && !ifd_rw_scalar(rw, node->inputs[at], &x)) return false;
  if (x < 0) x += n;
  if (!(x >= 0 && x <= last)) return false;
  *out = (int)x;
  return true;
}

static bool change(ifd_rewrite *rw, const ifd_node *node, list *l) {
  int at;
  if (ifd_node_is(node, "SequenceInsert")) {
    if (l->n == MOST || !position_of(rw, node, 2, l->n, l->n, &at)) return false;
    for (int i = l->n++; i > at; i--) l->v[i] = l->v[i - 1];
    l->v[at] = node->inputs[1];
    return true;
  }
  if (!l->n || !position_of(rw, node, 1, l->n, l->n - 1, &at)) return false;
  for (l->n--; at < l->n; at++) l->v[at] = l->v[at + 1];
  return true;
}

/* The elements of a sequence; false where they are not in sight. */
static bool list_of(ifd_rewrite *rw, const ifd_value *sequence, list *l) {
  const ifd_node *changes[MOST], *node;
  int n = 0;
  for (; (node = sequence->producer) && ifd_node_is_any(node, "SequenceInsert SequenceErase");
       sequence = node->inputs[0]) {
    if (n == MOST) return false;
    changes[n++] = node;
  }
  l->n = 0;
  if (!node || !ifd_node_is_any(node, "SequenceConstruct SequenceEmpty") || node->n_inputs > MOST)
    return false;
  for (int i = 0; i < node->n_inputs; i++) l->v[l->n++] = node->inputs[i];
  while (n)
    if (!change(rw, changes[--n], l)) return false;
  return true;
}

static ifd_status take(ifd_rewrite *rw, ifd_node *node) {
  list l;
  int at;
  if (!list_of(rw, node->inputs[0], &l))
    return ifd_rw_refuse(rw, "the making of its sequence is not in sight");
  if (!l.n || !position_of(rw, node, 1, l.n, l.n - 1, &at))
    return ifd_rw_refuse(rw, "which element it takes is not known");
  return ifd_rw_replace(rw, node->outputs[0], l.v[at]);
}

static ifd_status count(ifd_rewrite *rw, ifd_node *node) {
  list l;
  ifd_value *n;
  if (!list_of(rw, node->inputs[0], &l)) return IFD_OK;
  TRY(ifd_rw_add_scalar(rw, &n, IFD_INT64, l.n, "length"));
  return ifd_rw_replace(rw, node->outputs[0], n);
}

static ifd_status concat(ifd_rewrite *rw, ifd_node *node) {
  list l;
  ifd_node *made;
  if (ifd_node_int(node, "new_axis", 0) || !list_of(rw, node->inputs[0], &l) || !l.n) return IFD_OK;
  TRY(ifd_rw_add_node(rw, &made, "Concat", l.v, l.n, 1));
  TRY(ifd_node_set_int(ifd_rw_error(rw), made, "axis", ifd_node_int(node, "axis", 0)));
  return ifd_rw_replace(rw, node->outputs[0], made->outputs[0]);
}

const ifd_pass ifd_pass_read_sequence = {
    .summary = "takes elements of sequences from where the sequences have them",
    .phase = IFD_PHASE_SIMPLIFY,
    .rules = (const ifd_rule[]){{"SequenceAt", IFD_EXACT, take},
                                {"SequenceLength", IFD_EXACT, count},
                                {"ConcatFromSequence", IFD_EXACT, concat},
                                {0}},
};
