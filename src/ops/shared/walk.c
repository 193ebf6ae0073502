#include "ops/shared/walk.h"

#include <string.h>

ifd_walk ifd_walk_over(const ifd_shape *shape) { return (ifd_walk){.shape = *shape}; }

void ifd_walk_add(ifd_walk *w, const int64_t *strides) {
  memcpy(w->stride[w->n_operands++], strides, sizeof *strides * (size_t)w->shape.rank);
}

void ifd_walk_add_shape(ifd_walk *w, const ifd_shape *s) {
  int64_t strides[IFD_MAX_RANK];
  ifd_shape_broadcast_strides(s, &w->shape, strides);
  ifd_walk_add(w, strides);
}

/* Whether every operand goes through dimensions d and d + 1 as through one. */
static bool mergeable(const ifd_walk *w, int d) {
  for (int k = 0; k < w->n_operands; k++)
    if (w->stride[k][d] != w->stride[k][d + 1] * w->shape.dim[d + 1]) return false;
  return true;
}

static void drop_dim(ifd_walk *w, int d) {
  w->shape.rank--;
  for (int i = d; i < w->shape.rank; i++) {
    w->shape.dim[i] = w->shape.dim[i + 1];
    for (int k = 0; k < w->n_operands; k++) w->stride[k][i] = w->stride[k][i + 1];
  }
}

static void merge_dims(ifd_walk *w) {
  for (int d = w->shape.rank - 1; d >= 0; d--)
    if (w->shape.dim[d] == 1) drop_dim(w, d);
  for (int d = w->shape.rank - 2; d >= 0; d--)
    if (mergeable(w, d)) {
      w->shape.dim[d + 1] *= w->shape.dim[d];
      drop_dim(w, d);
    }
}

static bool start(ifd_walk *w) {
  w->started = true;
  if (ifd_shape_count(&w->shape) == 0) return false;
  merge_dims(w);
  int last = w->shape.rank - 1;
  w->n = last < 0 ? 1 : w->shape.dim[last];
  for (int k = 0; k < w->n_operands; k++) w->step[k] = last < 0 ? 0 : w->stride[k][last];
  return true;
}

bool ifd_walk_next(ifd_walk *w) {
  if (!w->started) return start(w);
  for (int d = w->shape.rank - 2; d >= 0; d--) {
    for (int k = 0; k < w->n_operands; k++) w->offset[k] += w->stride[k][d];
    if (++w->at[d] < w->shape.dim[d]) return true;
    for (int k = 0; k < w->n_operands; k++) w->offset[k] -= w->stride[k][d] * w->shape.dim[d];
    w->at[d] = 0;
  }
  return false;
}
