/* Indices that data brings, checked and made flat: the place of each block of elements that an operator
 * gathers or scatters, counted in blocks from the start of the data. */
#ifndef IFD_OPS_SHARED_PLACES_H
#define IFD_OPS_SHARED_PLACES_H

#include "ops/shared/move.h"

typedef struct ifd_places {
  int64_t n;
  int64_t *at;   /* n places, in scratch */
  int64_t block; /* elements of a block */
} ifd_places;

/* Indices along one axis (GatherElements, ScatterElements): element i of tensor input `indices` stands for
 * the element of `data` that has its other indices. */
ifd_status ifd_places_along(ifd_eval *x, ifd_places *out, const ifd_shape *data, int indices, int axis);
/* Index tuples (GatherND, ScatterND): the last dimension of tensor input `indices` are the indices of the
 * dimensions of `data` from `batch_dims` on; what dimensions remain are the block. */
ifd_status ifd_places_of_tuples(ifd_eval *x, ifd_places *out, const ifd_shape *data, int indices,
                                int64_t batch_dims);
/* to[i] = from[at[i]] for n blocks of `bytes`. */
void ifd_gather_blocks(void *to, const void *from, const int64_t *at, int64_t n, size_t bytes);
/* Whether all the indices of an input lie in [-size, size), made non-negative: a copy in scratch. */
ifd_status ifd_indices(ifd_eval *x, const int64_t **out, int64_t *n, int input, int64_t size);

#endif
