/* Moving elements: the one strided copy that every operator which only rearranges its input is made of.
 * Elements are moved by their size (1, 2, 4, 8 or 16 bytes), whatever they mean; strings move as ifd_str and
 * may go on pointing into the input, for the evaluator makes outputs own what they hold. */
#ifndef IFD_OPS_SHARED_MOVE_H
#define IFD_OPS_SHARED_MOVE_H

#include "ops/op.h"

/* Elements in memory: where index 0 lies and how far apart, in elements, the next of each dimension is (0:
 * the same again, negative: backward). Reading or writing is the user's choice. */
typedef struct ifd_view {
  char *data;
  int operand; /* whose data it is, where only shapes are at hand: see mover.h */
  int64_t at;  /* of index 0, in elements from data on */
  int64_t stride[IFD_MAX_RANK];
} ifd_view;

/* The whole tensor, row-major. */
ifd_view ifd_view_of(const ifd_tensor *t);
/* The view from another index of one dimension on. */
ifd_view ifd_view_from(ifd_view v, int axis, int64_t index);
/* to[i] = from[i] for every index i of `shape`; the two do not overlap. */
void ifd_move(const ifd_shape *shape, size_t size, ifd_view to, ifd_view from);
/* Every element of t becomes *value; NULL is zero (an empty string). */
void ifd_fill(const ifd_tensor *t, const void *value);
/* Makes tensor output i with elements of exactly the type `dtype`: values that are moved keep their type. */
ifd_status ifd_move_out(ifd_eval *x, ifd_tensor **out, int i, ifd_dtype dtype, const ifd_shape *shape);
/* BAD_INPUT unless tensor inputs i and j have elements of one type. */
ifd_status ifd_expect_same_type(ifd_eval *x, int i, int j);
/* An index in [-size, size) to [0, size), or BAD_INPUT naming both. */
ifd_status ifd_index(ifd_error *err, int64_t *out, int64_t index, int64_t size);

/* Rank of an input whose dimensions fit in a shape, or -1: what a file claims may be longer. */
static inline int ifd_known_rank(const ifd_infer *x, int i) {
  int rank = ifd_infer_rank(x, i);
  return rank <= IFD_MAX_RANK ? rank : -1;
}
/* The numbers of a small integer tensor input, known to inference: n, or -1 when not all are known. */
int ifd_infer_numbers(const ifd_infer *x, int i, const int64_t **out);
/* A list of integers that is an attribute at some versions and input `input` at others: the attribute when
 * `attr` is not NULL. n is -1 where there is none. */
ifd_status ifd_eval_list(ifd_eval *x, const int64_t **out, int64_t *n, const char *attr, int input);

#endif
