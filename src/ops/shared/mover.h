/* Operators that only move elements, written once: the same function says what goes where, and the copies are
 * made at once (evaluation) or recorded as kernels of the plan (lowering).
 *
 *   static ifd_status transpose(ifd_mover *m) { … ifd_mover_out(m, &to, 0, …); ifd_mover_move(m, …); }
 *   IFD_MOVES(transpose, 1)       eval_transpose and lower_transpose; inputs from 1 on must be known to lower
 *
 * Copies between two barriers do not overlap and may be made in any order. */
#ifndef IFD_OPS_SHARED_MOVER_H
#define IFD_OPS_SHARED_MOVER_H

#include "kernels/move/move.h"
#include "ops/shared/move.h"

typedef struct ifd_recorded {
  ifd_k_copy plan;
  int to, from;          /* operands: input i, or output i as -1 - i */
  size_t to_at, from_at; /* bytes */
  uint64_t value[2];     /* the element that is copied where from is IFD_MOVER_VALUE */
} ifd_recorded;

enum { IFD_MOVER_VALUE = INT32_MAX, IFD_MOVER_PHASES = IFD_MAX_LAUNCHES };

typedef struct ifd_mover {
  ifd_error *err;
  const ifd_node *node;
  ifd_arena *arena; /* of the evaluation, or of the plan */
  int n_out;
  /* private */
  ifd_eval *eval;
  ifd_lower *lower;
  bool declined; /* cannot be lowered */
  int phase, n_phase[IFD_MOVER_PHASES];
  int n, cap;
  ifd_recorded *recorded;
} ifd_mover;

/* Tensor input i, or NULL; when lowering, with data only where it is known. */
const ifd_tensor *ifd_mover_in(const ifd_mover *m, int i);
/* The whole of input i, or of output i once it is made. */
ifd_view ifd_mover_view(const ifd_mover *m, int i);
/* A list of integers that is attribute `attr`, or input i where attr is NULL; n is -1 where there is none. */
ifd_status ifd_mover_list(ifd_mover *m, const int64_t **out, int64_t *n, const char *attr, int i);
/* Makes output i and gives the whole of it. */
ifd_status ifd_mover_out(ifd_mover *m, ifd_view *to, int i, ifd_dtype dtype, const ifd_shape *shape);
static inline bool ifd_mover_wants(const ifd_mover *m, int i) { return ifd_node_has_output(m->node, i); }
/* to[i] = from[i] for every index of `shape`, elements of `size` bytes. */
ifd_status ifd_mover_move(ifd_mover *m, const ifd_shape *shape, size_t size, ifd_view to, ifd_view from);
/* to[i] = *value; NULL is zero. */
ifd_status ifd_mover_fill(ifd_mover *m, const ifd_shape *shape, size_t size, ifd_view to, const void *value);
/* Where it lowers: output 0 is made by picks alone (picks.h), and nothing of it by moves. False: it
 * evaluates. */
bool ifd_mover_lowers(const ifd_mover *m);
ifd_status ifd_mover_pick(ifd_mover *m, const int64_t *const *index, const void *value);
/* What follows may read what was moved so far. */
void ifd_mover_barrier(ifd_mover *m);

ifd_status ifd_eval_moves(ifd_eval *x, ifd_status (*moves)(ifd_mover *m));
/* Declines strings, unknown content of the inputs from n_data on, and more work than a plan should hold. */
ifd_status ifd_lower_moves(ifd_lower *x, ifd_status (*moves)(ifd_mover *m), int n_data);
/* eval_NAME and lower_NAME from the moves NAME. */
#define IFD_MOVES(name, n_data)                                                                              \
  static ifd_status eval_##name(ifd_eval *x) { return ifd_eval_moves(x, name); }                             \
  static ifd_status lower_##name(ifd_lower *x) { return ifd_lower_moves(x, name, n_data); }

#endif
