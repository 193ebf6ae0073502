#include "ops/shared/places.h"

#include "ops/shared/walk.h"
#include <string.h>

ifd_status ifd_indices(ifd_eval *x, const int64_t **out, int64_t *n, int input, int64_t size) {
  const int64_t *given;
  int64_t *indices;
  TRY(ifd_eval_ints(x, &given, n, input));
  ALLOC(x->err, indices, ifd_new_array(x->scratch, int64_t, *n));
  for (int64_t i = 0; i < *n; i++) TRY(ifd_index(x->err, &indices[i], given[i], size));
  *out = indices;
  return IFD_OK;
}

ifd_status ifd_places_along(ifd_eval *x, ifd_places *out, const ifd_shape *data, int indices, int axis) {
  const ifd_shape *s = &ifd_eval_in(x, indices)->shape;
  const int64_t *index;
  int64_t *at, strides[IFD_MAX_RANK];
  char ts[256], td[256];
  bool fits = s->rank == data->rank;
  for (int i = 0; fits && i < s->rank; i++) fits = i == axis || s->dim[i] <= data->dim[i];
  EXPECT(x->err, fits, BAD_INPUT, "indices of shape %s do not lie in data of shape %s along axis %d",
         ifd_shape_text(s, ts, sizeof ts), ifd_shape_text(data, td, sizeof td), axis);
  TRY(ifd_indices(x, &index, &out->n, indices, data->dim[axis]));
  ALLOC(x->err, at, ifd_new_array(x->scratch, int64_t, out->n));
  ifd_shape_strides(data, strides);
  int64_t stride = strides[axis], i = 0;
  strides[axis] = 0;
  ifd_walk w = ifd_walk_over(s);
  ifd_walk_add(&w, strides);
  while (ifd_walk_next(&w))
    for (int64_t k = 0; k < w.n; k++, i++) at[i] = w.offset[0] + k * w.step[0] + index[i] * stride;
  out->at = at;
  out->block = 1;
  return IFD_OK;
}

ifd_status ifd_places_of_tuples(ifd_eval *x, ifd_places *out, const ifd_shape *data, int indices,
                                int64_t batch_dims) {
  const ifd_shape *s = &ifd_eval_in(x, indices)->shape;
  const int64_t *index;
  int64_t count, *at;
  EXPECT(x->err, s->rank >= 1 && batch_dims >= 0 && batch_dims < s->rank && batch_dims < data->rank,
         BAD_INPUT, "%lld batch dimensions in indices of rank %d and data of rank %d", (long long)batch_dims,
         s->rank, data->rank);
  int b = (int)batch_dims;
  int64_t k = s->dim[s->rank - 1];
  EXPECT(x->err, k >= 1 && k <= data->rank - b, BAD_INPUT, "index tuples of %lld for %d dimensions",
         (long long)k, data->rank - b);
  for (int i = 0; i < b; i++)
    EXPECT(x->err, s->dim[i] == data->dim[i], BAD_INPUT,
           "batch dimension %d is %lld in data, %lld in indices", i, (long long)data->dim[i],
           (long long)s->dim[i]);
  TRY(ifd_eval_ints(x, &index, &count, indices));
  out->n = count / k;
  out->block = ifd_shape_span(data, b + (int)k, data->rank);
  ALLOC(x->err, at, ifd_new_array(x->scratch, int64_t, out->n));
  int64_t in_batch = ifd_shape_span(s, b, s->rank - 1);
  for (int64_t i = 0; i < out->n; i++) {
    at[i] = i / in_batch;
    for (int64_t d = 0; d < k; d++) {
      int64_t size = data->dim[b + d], one;
      TRY(ifd_index(x->err, &one, index[i * k + d], size));
      at[i] = at[i] * size + one;
    }
  }
  out->at = at;
  return IFD_OK;
}

#define GATHER(bytes)                                                                                        \
  for (int64_t i = 0; i < n; i++) memcpy(t + i * (bytes), f + at[i] * (bytes), bytes)

void ifd_gather_blocks(void *to, const void *from, const int64_t *at, int64_t n, size_t bytes) {
  char *restrict t = to;
  const char *f = from;
  if (bytes == 1)
    GATHER(1);
  else if (bytes == 2)
    GATHER(2);
  else if (bytes == 4)
    GATHER(4);
  else if (bytes == 8)
    GATHER(8);
  else if (bytes)
    GATHER((size_t)bytes);
}
