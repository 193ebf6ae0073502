#include "ops/shared/places.h"

#include "tensor/convert.h"
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

/* n indices from element `from` of the tensor on. */
static void load(const ifd_places *p, int64_t *to, int64_t from, int64_t n) {
  const ifd_tensor *t = p->indices;
  ifd_load_i64(t->dtype, (const char *)t->data + (size_t)from * ifd_dtype_size(t->dtype), to, n);
}

/* ---- along an axis ---- */

/* at[i] = start + i * step + index * stride for n elements of a row, indices in at; false when one is
 * outside. */
static bool place_row(int64_t *at, int64_t n, int64_t start, int64_t step, int64_t stride, int64_t limit) {
  bool outside = false;
  for (int64_t i = 0; i < n; i++) {
    int64_t index = at[i] < 0 ? at[i] + limit : at[i];
    outside |= (uint64_t)index >= (uint64_t)limit;
    at[i] = (int64_t)((uint64_t)(start + i * step) + (uint64_t)index * (uint64_t)stride);
  }
  return !outside;
}

static void find_outside(ifd_places *p, int64_t from, int64_t n) {
  for (int64_t i = 0, index; i < n && p->status == IFD_OK; i++) {
    load(p, &index, from + i, 1);
    p->status = ifd_index(p->err, &index, index, p->limit);
  }
}

static void fill_along(ifd_places *p) {
  while (p->n < IFD_PLACES_BATCH && p->done < p->all) {
    ifd_walk *w = &p->walk;
    if (p->in_row == w->n) p->in_row = 0;
    if (p->in_row == 0 && !ifd_walk_next(w)) return;
    int64_t n = ifd_min_i64(w->n - p->in_row, IFD_PLACES_BATCH - p->n), *at = p->at + p->n;
    load(p, at, p->done, n);
    if (!place_row(at, n, w->offset[0] + p->in_row * w->step[0], w->step[0], p->stride, p->limit)) {
      find_outside(p, p->done, n);
      return;
    }
    p->in_row += n, p->n += n, p->done += n;
  }
}

ifd_status ifd_places_along(ifd_eval *x, ifd_places *out, const ifd_shape *data, int indices, int axis) {
  const ifd_shape *s = &ifd_eval_in(x, indices)->shape;
  int64_t strides[IFD_MAX_RANK];
  char ts[256], td[256];
  bool fits = s->rank == data->rank;
  for (int i = 0; fits && i < s->rank; i++) fits = i == axis || s->dim[i] <= data->dim[i];
  EXPECT(x->err, fits, BAD_INPUT, "indices of shape %s do not lie in data of shape %s along axis %d",
         ifd_shape_text(s, ts, sizeof ts), ifd_shape_text(data, td, sizeof td), axis);
  ifd_shape_strides(data, strides);
  *out = (ifd_places){.err = x->err,
                      .indices = ifd_eval_in(x, indices),
                      .fill = fill_along,
                      .all = ifd_shape_count(s),
                      .block = 1,
                      .stride = strides[axis],
                      .limit = data->dim[axis],
                      .walk = ifd_walk_over(s)};
  strides[axis] = 0;
  ifd_walk_add(&out->walk, strides);
  return IFD_OK;
}

/* ---- tuples ---- */

enum { NUMBERS = 512 }; /* of tuples read at a time */

/* The place of tuple `done`, its indices in v; *outside: one is none. */
static int64_t place_tuple(const ifd_places *p, int64_t done, const int64_t *v, bool *outside) {
  int64_t at = p->batch_dims ? done / p->in_batch : 0;
  for (int64_t d = 0; d < p->tuple; d++) {
    int64_t size = p->data->dim[p->batch_dims + d], index = v[d] < 0 ? v[d] + size : v[d];
    *outside |= (uint64_t)index >= (uint64_t)size;
    at = (int64_t)((uint64_t)at * (uint64_t)size + (uint64_t)index);
  }
  return at;
}

static void find_outside_tuples(ifd_places *p, const int64_t *v, int64_t n) {
  int64_t one;
  for (int64_t i = 0; i < n * p->tuple && p->status == IFD_OK; i++)
    p->status = ifd_index(p->err, &one, v[i], p->data->dim[p->batch_dims + i % p->tuple]);
}

static void fill_tuples(ifd_places *p) {
  int64_t v[NUMBERS];
  while (p->n < IFD_PLACES_BATCH && p->done < p->all) {
    int64_t n = ifd_min_i64(ifd_min_i64(p->all - p->done, IFD_PLACES_BATCH - p->n), NUMBERS / p->tuple);
    bool outside = false;
    load(p, v, p->done * p->tuple, n * p->tuple);
    for (int64_t i = 0; i < n; i++) p->at[p->n + i] = place_tuple(p, p->done + i, v + i * p->tuple, &outside);
    if (outside) {
      find_outside_tuples(p, v, n);
      return;
    }
    p->n += n, p->done += n;
  }
}

ifd_status ifd_places_of_tuples(ifd_eval *x, ifd_places *out, const ifd_shape *data, int indices,
                                int64_t batch_dims) {
  const ifd_shape *s = &ifd_eval_in(x, indices)->shape;
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
  *out = (ifd_places){.err = x->err,
                      .indices = ifd_eval_in(x, indices),
                      .fill = fill_tuples,
                      .all = ifd_shape_span(s, 0, s->rank - 1),
                      .block = ifd_shape_span(data, b + (int)k, data->rank),
                      .data = data,
                      .tuple = k,
                      .batch_dims = b,
                      .in_batch = ifd_shape_span(s, b, s->rank - 1)};
  return IFD_OK;
}

bool ifd_places_next(ifd_places *p) {
  p->first = p->done;
  p->n = 0;
  p->fill(p);
  return p->n > 0 && p->status == IFD_OK;
}

/* ---- blocks ---- */

/* A loop for each size that is one move. */
#define BY_SIZE(MOVE)                                                                                        \
  if (bytes == 1)                                                                                            \
    for (int64_t i = 0; i < n; i++) MOVE(1);                                                                 \
  else if (bytes == 2)                                                                                       \
    for (int64_t i = 0; i < n; i++) MOVE(2);                                                                 \
  else if (bytes == 4)                                                                                       \
    for (int64_t i = 0; i < n; i++) MOVE(4);                                                                 \
  else if (bytes == 8)                                                                                       \
    for (int64_t i = 0; i < n; i++) MOVE(8);                                                                 \
  else if (bytes)                                                                                            \
    for (int64_t i = 0; i < n; i++) MOVE((int64_t)bytes);

void ifd_gather_blocks(void *to, const void *from, const int64_t *at, int64_t n, size_t bytes) {
  char *restrict t = to;
  const char *f = from;
#define MOVE(size) memcpy(t + i * (size), f + at[i] * (size), (size_t)(size))
  BY_SIZE(MOVE)
#undef MOVE
}

void ifd_scatter_blocks(void *to, const void *from, const int64_t *at, int64_t n, size_t bytes) {
  char *t = to;
  const char *f = from;
#define MOVE(size) memcpy(t + at[i] * (size), f + i * (size), (size_t)(size))
  BY_SIZE(MOVE)
#undef MOVE
}
