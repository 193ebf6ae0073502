#include "ops/shared/batch.h"

/* The first output there is. */
static const ifd_shape *result(const ifd_batch *b) {
  for (int i = 0; i < b->node->n_outputs; i++)
    if (b->out[i]) return &b->out[i]->shape;
  return NULL;
}

bool ifd_batch_is_first(const ifd_batch *b, int64_t axis) {
  return axis == 0 || axis == -ifd_batch_rank(b, 0);
}

bool ifd_batch_axis_is_inner(const ifd_batch *b, int64_t otherwise) {
  return !ifd_batch_is_first(b, ifd_node_int(b->node, "axis", otherwise));
}

bool ifd_batch_axes_are_inner(const ifd_batch *b, int i) {
  const int64_t *axes;
  int n = ifd_node_ints(b->node, "axes", &axes);
  const ifd_tensor *t = ifd_batch_in(b, i);
  for (int k = 0; k < n; k++)
    if (ifd_batch_is_first(b, axes[k])) return false;
  if (n || !t || !t->data) return n > 0;
  int64_t count = ifd_tensor_count(t);
  for (int64_t k = 0; k < count; k++)
    if (ifd_batch_is_first(b, ifd_tensor_get_i64(t, k))) return false;
  return count > 0;
}

const char *ifd_batch_each(const ifd_batch *b) { return (void)b, "p"; }
const char *ifd_batch_first(const ifd_batch *b) { return (void)b, "pw"; }
const char *ifd_batch_inner_axis(const ifd_batch *b) { return ifd_batch_axis_is_inner(b, 0) ? "pw" : NULL; }
const char *ifd_batch_last_axis(const ifd_batch *b) { return ifd_batch_axis_is_inner(b, -1) ? "pw" : NULL; }

/* ---- roles ---- */

static ifd_role broadcasts(const ifd_shape *s, int rank, int64_t first) {
  return s->rank == rank && s->dim[0] == first ? IFD_ROLE_PARTS : IFD_ROLE_WHOLE;
}

/* A factor's first dimension is the result's where it is one of its batch, or, of the left one, of its
 * rows. */
static ifd_role role_of_factor(const ifd_batch *b, const ifd_shape *s, int i, const ifd_shape *y) {
  if (i == 0 && s->rank == 2 && y->rank == 2) return IFD_ROLE_PARTS;
  if (i == 0 && s->rank == y->rank + 1 && ifd_batch_rank(b, 1) == 1) return IFD_ROLE_PARTS;
  return s->rank > 2 ? broadcasts(s, y->rank, y->dim[0]) : IFD_ROLE_WHOLE;
}

static int rank_of_scores(const ifd_batch *b) {
  const int64_t *axes;
  return ifd_node_ints(b->node, "q_axes", &axes) && axes[1] >= 0 ? 4 : 3;
}

static ifd_role role_of(const ifd_batch *b, char code, int i) {
  const ifd_shape *s = &b->in[i]->shape, *y = result(b);
  switch (code) {
  case 'p': return IFD_ROLE_PARTS;
  case 'b': return broadcasts(s, y->rank, y->dim[0]);
  case 's': return broadcasts(s, rank_of_scores(b), y->dim[0]);
  case 'm': return role_of_factor(b, s, i, y);
  default: return IFD_ROLE_WHOLE;
  }
}

static bool divides_all(const ifd_batch *b, int64_t n) {
  bool any = false;
  for (int i = 0; i < b->node->n_outputs; i++) {
    const ifd_tensor *t = b->out[i];
    if (!t) continue;
    if (t->dtype == IFD_STRING || !ifd_batch_divides(&t->shape, n) || ifd_tensor_count(t) == 0) return false;
    any = true;
  }
  return any;
}

static const char *roles_of_inputs(const ifd_batch *b) {
  const ifd_op *op = b->node->op;
  if (!op || (op->flags & (IFD_OP_IMPURE | IFD_OP_VIEW))) return NULL;
  if (op->flags & IFD_OP_ELEMENTWISE) return ifd_node_int(b->node, "broadcast", 0) ? NULL : "b";
  return op->batch ? op->batch(b) : NULL;
}

bool ifd_batch_passes(const ifd_batch *b, int64_t n, ifd_role *roles) {
  const char *code = roles_of_inputs(b);
  if (!code || !divides_all(b, n)) return false;
  bool any = false;
  for (int i = 0; i < b->node->n_inputs; i++) {
    roles[i] = IFD_ROLE_WHOLE;
    if (b->in[i]) {
      roles[i] = role_of(b, *code, i);
      bool parts = roles[i] == IFD_ROLE_PARTS;
      bool fits = b->in[i]->shape.rank > 0 && b->in[i]->shape.dim[0] == result(b)->dim[0];
      if (b->in[i]->dtype == IFD_STRING || (parts && !fits)) return false;
      any |= parts;
    }
    if (code[1]) code++;
  }
  return any;
}
