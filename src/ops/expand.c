/* Expand, Tile, ReverseSequence, Trilu: elements repeated, turned round or left out in place. */
#include "ops/shared/batch.h"
#include "ops/shared/elements.h"
#include "ops/shared/mover.h"
#include <string.h>

/* ---- Expand ---- */

/* The length of the wanted shape, or -1. */
static int wanted_rank(const ifd_infer *x) {
  const ifd_elements *want = ifd_elements_find(x, 1);
  if (want) return want->n;
  bool known = ifd_infer_rank(x, 1) == 1 && ifd_dim_is_number(ifd_infer_dim(x, 1, 0));
  return known && ifd_infer_dim(x, 1, 0) <= IFD_MAX_RANK ? (int)ifd_infer_dim(x, 1, 0) : -1;
}

static ifd_status infer_expanded_elements(ifd_infer *x, int rank, ifd_dim n) {
  const ifd_elements *e = ifd_elements_find(x, 0);
  ifd_dim copies[IFD_MAX_ELEMENTS];
  if (!e || rank > 1 || !ifd_dim_is_number(n) || n > IFD_MAX_ELEMENTS || (e->n != 1 && e->n != n))
    return IFD_OK;
  for (int i = 0; i < n; i++) copies[i] = e->d[e->n == 1 ? 0 : i];
  return ifd_infer_elements(x, 0, rank, (int)n, copies);
}

static ifd_status infer_Expand(ifd_infer *x) {
  int rank = ifd_known_rank(x, 0), n = wanted_rank(x), out = rank > n ? rank : n;
  const ifd_elements *want = ifd_elements_find(x, 1);
  ifd_dim dims[IFD_MAX_RANK];
  if (rank < 0 || n < 0 || n > IFD_MAX_RANK) return ifd_infer_unranked(x, 0, ifd_infer_dtype(x, 0));
  for (int i = 0; i < out; i++) {
    int a = i - (out - rank), b = i - (out - n);
    ifd_dim wanted = b < 0 ? 1 : want ? want->d[b] : ifd_dim_unknown(x->dims);
    TRY(ifd_infer_broadcast_dim(x, &dims[i], a < 0 ? 1 : ifd_infer_dim(x, 0, a), wanted));
  }
  TRY(ifd_infer_tensor(x, 0, ifd_infer_dtype(x, 0), out, dims));
  return infer_expanded_elements(x, out, out ? dims[0] : 1);
}

static ifd_status expand(ifd_mover *m) {
  const ifd_tensor *in = ifd_mover_in(m, 0);
  const int64_t *want;
  int64_t n;
  ifd_view to, from = ifd_mover_view(m, 0);
  TRY(ifd_mover_list(m, &want, &n, NULL, 1));
  EXPECT(m->err, n >= 0 && n <= IFD_MAX_RANK, UNSUPPORTED,
         "a shape of %lld dimensions; at most %d are supported", (long long)n, IFD_MAX_RANK);
  ifd_shape shape = {.rank = (int)n};
  for (int i = 0; i < n; i++) shape.dim[i] = want[i];
  TRY(ifd_shape_check(m->err, &shape, 1));
  TRY(ifd_shape_broadcast(m->err, &shape, &in->shape, &shape));
  TRY(ifd_mover_out(m, &to, 0, in->dtype, &shape));
  ifd_shape_broadcast_strides(&in->shape, &shape, from.stride);
  return ifd_mover_move(m, &shape, ifd_dtype_size(in->dtype), to, from);
}
IFD_MOVES(expand, 1)

/* ---- Tile ---- */

/* Copies of what is done of one axis fill the rest of it, all at once: they are one more dimension. */
static ifd_status repeat(ifd_mover *m, size_t size, ifd_view whole, const ifd_shape *done, int axis,
                         int64_t times) {
  ifd_shape part = *done;
  ifd_view to = ifd_view_from(whole, axis, done->dim[axis]), from = whole;
  EXPECT(m->err, part.rank < IFD_MAX_RANK, UNSUPPORTED, "at most %d dimensions are supported",
         IFD_MAX_RANK - 1);
  part.dim[part.rank] = times - 1;
  to.stride[part.rank] = whole.stride[axis] * done->dim[axis];
  from.stride[part.rank++] = 0;
  ifd_mover_barrier(m);
  return ifd_mover_move(m, &part, size, to, from);
}

static ifd_status tile(ifd_mover *m, const int64_t *repeats) {
  const ifd_tensor *in = ifd_mover_in(m, 0);
  ifd_shape shape = in->shape, done = in->shape;
  size_t size = ifd_dtype_size(in->dtype);
  ifd_view whole;
  for (int i = 0; i < shape.rank; i++)
    EXPECT(m->err, repeats[i] >= 0 && ifd_mul_i64(&shape.dim[i], shape.dim[i], repeats[i]), BAD_INPUT,
           "dimension %d cannot be repeated %lld times", i, (long long)repeats[i]);
  TRY(ifd_mover_out(m, &whole, 0, in->dtype, &shape));
  if (ifd_shape_count(&shape) == 0) return IFD_OK;
  TRY(ifd_mover_move(m, &in->shape, size, whole, ifd_mover_view(m, 0)));
  for (int i = shape.rank - 1; i >= 0; i--) {
    if (repeats[i] > 1) TRY(repeat(m, size, whole, &done, i, repeats[i]));
    done.dim[i] = shape.dim[i];
  }
  return IFD_OK;
}

static ifd_status read_one(ifd_mover *m, int64_t *out, int i) {
  const int64_t *v;
  int64_t n;
  TRY(ifd_mover_list(m, &v, &n, NULL, i));
  EXPECT(m->err, n == 1, BAD_INPUT, "input %d has %lld elements, not one", i, (long long)n);
  *out = *v;
  return IFD_OK;
}

static ifd_status tile_1(ifd_mover *m) {
  int64_t tiles, at, repeats[IFD_MAX_RANK];
  int axis;
  TRY(read_one(m, &tiles, 1));
  TRY(read_one(m, &at, 2));
  TRY(ifd_axis(m->err, &axis, at, ifd_mover_in(m, 0)->shape.rank));
  for (int i = 0; i < IFD_MAX_RANK; i++) repeats[i] = i == axis ? tiles : 1;
  return tile(m, repeats);
}
IFD_MOVES(tile_1, 1)

static ifd_status tile_6(ifd_mover *m) {
  const int64_t *repeats;
  int64_t n;
  int rank = ifd_mover_in(m, 0)->shape.rank;
  TRY(ifd_mover_list(m, &repeats, &n, NULL, 1));
  EXPECT(m->err, n == rank, BAD_INPUT, "%lld repeats for %d dimensions", (long long)n, rank);
  return tile(m, repeats);
}
IFD_MOVES(tile_6, 1)

static ifd_status infer_Tile_1(ifd_infer *x) {
  ifd_dim dims[IFD_MAX_RANK];
  int rank = ifd_known_rank(x, 0);
  for (int i = 0; i < rank; i++) dims[i] = ifd_dim_unknown(x->dims);
  return rank < 0 ? ifd_infer_unranked(x, 0, ifd_infer_dtype(x, 0))
                  : ifd_infer_tensor(x, 0, ifd_infer_dtype(x, 0), rank, dims);
}

static ifd_status infer_tiled_elements(ifd_infer *x, ifd_dim n) {
  const ifd_elements *e = ifd_elements_find(x, 0);
  ifd_dim d[IFD_MAX_ELEMENTS];
  if (!e || e->rank != 1 || !ifd_dim_is_number(n) || n > IFD_MAX_ELEMENTS) return IFD_OK;
  for (int i = 0; i < n; i++) d[i] = e->d[i % e->n];
  return ifd_infer_elements(x, 0, 1, (int)n, d);
}

static ifd_status infer_Tile(ifd_infer *x) {
  int rank = ifd_known_rank(x, 0);
  const ifd_elements *repeats = ifd_elements_find(x, 1);
  ifd_dim dims[IFD_MAX_RANK];
  if (rank < 0 || !repeats) return infer_Tile_1(x);
  EXPECT(x->err, repeats->n == rank, BAD_INPUT, "%d repeats for %d dimensions", repeats->n, rank);
  for (int i = 0; i < rank; i++) dims[i] = ifd_dim_mul(x->dims, ifd_infer_dim(x, 0, i), repeats->d[i]);
  TRY(ifd_infer_tensor(x, 0, ifd_infer_dtype(x, 0), rank, dims));
  return rank == 1 ? infer_tiled_elements(x, dims[0]) : IFD_OK;
}

/* ---- ReverseSequence ---- */

static ifd_status eval_ReverseSequence(ifd_eval *x) {
  const ifd_tensor *in = ifd_eval_in(x, 0);
  const int64_t *lens;
  int64_t n;
  int batch, time;
  ifd_tensor *out;
  TRY(ifd_eval_ints(x, &lens, &n, 1));
  TRY(ifd_axis(x->err, &batch, ifd_node_int(x->node, "batch_axis", 1), in->shape.rank));
  TRY(ifd_axis(x->err, &time, ifd_node_int(x->node, "time_axis", 0), in->shape.rank));
  EXPECT(x->err, batch + time == 1 && n == in->shape.dim[batch], BAD_INPUT,
         "%lld lengths for a batch of %lld along axis %d, time along axis %d", (long long)n,
         (long long)in->shape.dim[batch], batch, time);
  TRY(ifd_move_out(x, &out, 0, in->dtype, &in->shape));
  for (int64_t i = 0; i < n; i++)
    EXPECT(x->err, lens[i] >= 0 && lens[i] <= in->shape.dim[time], BAD_INPUT,
           "length %lld of sequence %lld is outside [0, %lld]", (long long)lens[i], (long long)i,
           (long long)in->shape.dim[time]);
  int64_t rows = in->shape.dim[0], columns = in->shape.dim[1];
  size_t len = (size_t)ifd_shape_span(&in->shape, 2, in->shape.rank) * ifd_dtype_size(in->dtype);
  char *to = out->data;
  for (int64_t r = 0; r < rows && len; r++)
    for (int64_t c = 0; c < columns; c++, to += len) {
      int64_t at = time ? c : r, length = lens[time ? r : c];
      int64_t source = at < length ? length - 1 - at : at;
      memcpy(to, (const char *)in->data + (size_t)(time ? r * columns + source : source * columns + c) * len,
             len);
    }
  return IFD_OK;
}

/* ---- Trilu ---- */

static ifd_status eval_Trilu(ifd_eval *x) {
  const ifd_tensor *in = ifd_eval_in(x, 0);
  int rank = in->shape.rank;
  int64_t k = 0;
  bool upper = ifd_node_int(x->node, "upper", 1);
  ifd_tensor *out;
  EXPECT(x->err, rank >= 2, BAD_INPUT, "the input has %d dimensions, not 2 or more", rank);
  if (ifd_eval_has(x, 1)) {
    const int64_t *given;
    int64_t n;
    TRY(ifd_eval_ints(x, &given, &n, 1));
    EXPECT(x->err, n == 1, BAD_INPUT, "k has %lld elements, not one", (long long)n);
    k = *given;
  }
  TRY(ifd_move_out(x, &out, 0, in->dtype, &in->shape));
  int64_t rows = in->shape.dim[rank - 2], columns = in->shape.dim[rank - 1];
  int64_t all = ifd_shape_span(&in->shape, 0, rank - 2) * rows;
  size_t size = ifd_dtype_size(in->dtype);
  k = ifd_max_i64(-rows, ifd_min_i64(k, columns));
  char *to = out->data;
  const char *from = in->data;
  size_t len = (size_t)columns * size;
  for (int64_t i = 0; i < all && columns; i++, to += len, from += len) {
    int64_t cut = i % rows + k + !upper; /* the first column of the upper part, or after the lower one */
    size_t lower = (size_t)ifd_max_i64(0, ifd_min_i64(cut, columns)) * size;
    memset(to + (upper ? 0 : lower), 0, upper ? lower : len - lower);
    memcpy(to + (upper ? lower : 0), from + (upper ? lower : 0), upper ? len - lower : lower);
  }
  return IFD_OK;
}

static const char *batch_matrices(const ifd_batch *b) { return ifd_batch_rank(b, 0) > 2 ? "pw" : NULL; }

#define MOVES(name_, since_, infer_, moves)                                                                  \
  { .name = #name_, .since = since_, .infer = infer_, .eval = eval_##moves, .lower = lower_##moves }
#define ROW(name_, since_, batch_)                                                                           \
  { .name = #name_, .since = since_, .infer = ifd_infer_like_first, .eval = eval_##name_, .batch = batch_ }
const ifd_op ifd_ops_expand[] = {MOVES(Expand, 8, infer_Expand, expand), MOVES(Tile, 1, infer_Tile_1, tile_1),
                                 MOVES(Tile, 6, infer_Tile, tile_6),     ROW(ReverseSequence, 10, NULL),
                                 ROW(Trilu, 14, batch_matrices),         {0}};
