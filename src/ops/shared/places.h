/* Indices that data brings, checked and made flat: the places of the blocks of elements that an operator
 * gathers or scatters, counted in blocks from the start of the data. They come in batches that fit the cache:
 *
 *   while (ifd_places_next(&p)) … p.first, p.n, p.at[0 … p.n - 1]
 *   TRY(p.status);
 */
#ifndef IFD_OPS_SHARED_PLACES_H
#define IFD_OPS_SHARED_PLACES_H

#include "ops/shared/move.h"
#include "ops/shared/walk.h"

enum { IFD_PLACES_BATCH = 512 };

typedef struct ifd_places {
  ifd_status status; /* BAD_INPUT after an index that is outside */
  int64_t all;       /* places in all */
  int64_t block;     /* elements of a block */
  int64_t first, n;  /* of this batch */
  int64_t at[IFD_PLACES_BATCH];
  /* private */
  ifd_error *err;
  const ifd_tensor *indices;
  int64_t done;
  void (*fill)(struct ifd_places *p);
  ifd_walk walk; /* along: the data's rows, as the indices go through them */
  int64_t in_row, stride, limit;
  const ifd_shape *data; /* of tuples */
  int64_t tuple, batch_dims, in_batch;
} ifd_places;

/* Indices along one axis (GatherElements, ScatterElements): element i of tensor input `indices` stands for
 * the element of `data` that has its other indices. */
ifd_status ifd_places_along(ifd_eval *x, ifd_places *out, const ifd_shape *data, int indices, int axis);
/* Index tuples (GatherND, ScatterND): the last dimension of tensor input `indices` are the indices of the
 * dimensions of `data` from `batch_dims` on; what dimensions remain are the block. data must stay. */
ifd_status ifd_places_of_tuples(ifd_eval *x, ifd_places *out, const ifd_shape *data, int indices,
                                int64_t batch_dims);
/* The next batch; false at the end or after a failure. */
bool ifd_places_next(ifd_places *p);
/* to[i] = from[at[i]] for n blocks of `bytes`. */
void ifd_gather_blocks(void *to, const void *from, const int64_t *at, int64_t n, size_t bytes);
/* to[at[i]] = from[i], one after another. */
void ifd_scatter_blocks(void *to, const void *from, const int64_t *at, int64_t n, size_t bytes);
/* Whether all the indices of an input lie in [-size, size), made non-negative: a copy in scratch. */
ifd_status ifd_indices(ifd_eval *x, const int64_t **out, int64_t *n, int input, int64_t size);

#endif
