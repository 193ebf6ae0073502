#include "ops/shared/move.h"

#include "ops/shared/walk.h"
#include <string.h>

ifd_view ifd_view_of(const ifd_tensor *t) {
  ifd_view v = {.data = t->data};
  ifd_shape_strides(&t->shape, v.stride);
  return v;
}

ifd_view ifd_view_from(ifd_view v, int axis, int64_t index) {
  v.at += index * v.stride[axis];
  return v;
}

/* ---- a row ---- */

/* One loop an element size: memcpy of a fixed size is one move, whatever the type and alignment. */
#define MOVE_ROW(size)                                                                                       \
  static void move_##size(char *restrict to, int64_t to_step, const char *restrict from, int64_t from_step,  \
                          int64_t n) {                                                                       \
    if (to_step == 1)                                                                                        \
      for (int64_t i = 0; i < n; i++) memcpy(to + i * size, from + i * from_step * size, size);              \
    else                                                                                                     \
      for (int64_t i = 0; i < n; i++) memcpy(to + i * to_step * size, from + i * from_step * size, size);    \
  }
MOVE_ROW(1)
MOVE_ROW(2)
MOVE_ROW(4)
MOVE_ROW(8)
MOVE_ROW(16)

static void move_row(size_t size, char *to, int64_t to_step, const char *from, int64_t from_step, int64_t n) {
  if (to_step == 1 && from_step == 1)
    memcpy(to, from, (size_t)n * size);
  else if (size == 1)
    move_1(to, to_step, from, from_step, n);
  else if (size == 2)
    move_2(to, to_step, from, from_step, n);
  else if (size == 4)
    move_4(to, to_step, from, from_step, n);
  else if (size == 8)
    move_8(to, to_step, from, from_step, n);
  else
    move_16(to, to_step, from, from_step, n);
}

void ifd_move(const ifd_shape *shape, size_t size, ifd_view to, ifd_view from) {
  ifd_walk w = ifd_walk_over(shape);
  ifd_walk_add(&w, to.stride);
  ifd_walk_add(&w, from.stride);
  while (ifd_walk_next(&w))
    move_row(size, to.data + (to.at + w.offset[0]) * (int64_t)size, w.step[0],
             from.data + (from.at + w.offset[1]) * (int64_t)size, w.step[1], w.n);
}

void ifd_fill(const ifd_tensor *t, const void *value) {
  if (!t->data) return;
  if (!value)
    memset(t->data, 0, ifd_tensor_bytes(t));
  else
    move_row(ifd_dtype_size(t->dtype), t->data, 1, value, 0, ifd_tensor_count(t));
}

ifd_status ifd_move_out(ifd_eval *x, ifd_tensor **out, int i, ifd_dtype dtype, const ifd_shape *shape) {
  bool float64 = x->float64;
  x->float64 = false;
  ifd_status status = ifd_eval_out(x, out, i, dtype, shape);
  x->float64 = float64;
  return status;
}

ifd_status ifd_expect_same_type(ifd_eval *x, int i, int j) {
  ifd_dtype a = ifd_eval_in(x, i)->dtype, b = ifd_eval_in(x, j)->dtype;
  EXPECT(x->err, a == b, BAD_INPUT, "input %d holds %s and input %d %s", i, ifd_dtype_name(a), j,
         ifd_dtype_name(b));
  return IFD_OK;
}

ifd_status ifd_index(ifd_error *err, int64_t *out, int64_t index, int64_t size) {
  EXPECT(err, index >= -size && index < size, BAD_INPUT, "index %lld is outside [%lld, %lld)",
         (long long)index, (long long)-size, (long long)size);
  *out = index < 0 ? index + size : index;
  return IFD_OK;
}

/* ---- lists of integers ---- */

int ifd_infer_numbers(const ifd_infer *x, int i, const int64_t **out) {
  const ifd_elements *e = i < x->node->n_inputs ? x->elements[i] : NULL;
  if (!e) return -1;
  for (int k = 0; k < e->n; k++)
    if (!ifd_dim_is_number(e->d[k])) return -1;
  *out = e->d;
  return e->n;
}

ifd_status ifd_eval_list(ifd_eval *x, const int64_t **out, int64_t *n, const char *attr, int input) {
  *n = -1;
  *out = NULL;
  if (!attr) return ifd_eval_has(x, input) ? ifd_eval_ints(x, out, n, input) : IFD_OK;
  if (ifd_node_find_attr(x->node, attr)) *n = ifd_node_ints(x->node, attr, out);
  return IFD_OK;
}
