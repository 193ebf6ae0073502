#include "ops/shared/eltwise_loop.h"

#include "kernels/kernels.h"
#include "kernels/move/move.h"
#include <string.h>

/* ---- operands ---- */

static int add_operand(ifd_loop *loop, const ifd_loop_operand *operand, const ifd_shape *shape) {
  if (loop->n_operands == IFD_LOOP_OPERANDS) {
    loop->declined = true;
    return 0;
  }
  loop->operands[loop->n_operands] = *operand;
  loop->shape[loop->n_operands] = *shape;
  return loop->n_operands++;
}

int ifd_loop_value(ifd_loop *loop, const void *value, size_t size) {
  ifd_loop_operand operand = {.input = -1, .size = size};
  memcpy(&operand.value, value, size);
  return add_operand(loop, &operand, &(ifd_shape){0});
}

int ifd_loop_input(ifd_loop *loop, ifd_lower *x, int i, const ifd_shape *view) {
  const ifd_tensor *t = x->in[i];
  size_t size = ifd_dtype_size(t->dtype);
  bool one = t->splat || ifd_tensor_count(t) == 1;
  if (t->data && one && !t->packed && size <= sizeof(uint64_t) && t->dtype != IFD_STRING) {
    if (i < 32) x->work->unread |= 1u << i;
    int k = ifd_loop_value(loop, t->data, size);
    loop->shape[k] = view ? *view : t->shape;
    return k;
  }
  return add_operand(loop, &(ifd_loop_operand){.input = i, .size = size}, view ? view : &t->shape);
}

bool ifd_loop_is_whole(const ifd_loop *loop, const ifd_lower *x, int k) {
  return loop->operands[k].input >= 0 && ifd_shape_count(&loop->shape[k]) == ifd_tensor_count(x->out[0]);
}

/* ---- the walk ---- */

/* The first element of a task: how far each operand has come in the outer dimensions, in bytes. */
static void seek(const ifd_loop *loop, int64_t row, int64_t *at, int64_t *offset) {
  for (int k = 0; k < loop->n_operands; k++) offset[k] = 0;
  for (int d = loop->rank - 1; d >= 0; d--) {
    at[d] = row % loop->dim[d];
    row /= loop->dim[d];
    for (int k = 0; k < loop->n_operands; k++) offset[k] += at[d] * loop->operands[k].stride[d];
  }
}

static void next_row(const ifd_loop *loop, int64_t *at, int64_t *offset) {
  for (int d = loop->rank - 1; d >= 0; d--) {
    for (int k = 0; k < loop->n_operands; k++) offset[k] += loop->operands[k].stride[d];
    if (++at[d] < loop->dim[d]) return;
    for (int k = 0; k < loop->n_operands; k++) offset[k] -= loop->operands[k].stride[d] * loop->dim[d];
    at[d] = 0;
  }
}

static void operand_bases(const ifd_loop *loop, const ifd_args *args, const char **base) {
  for (int k = 0; k < loop->n_operands; k++) {
    const ifd_loop_operand *o = &loop->operands[k];
    base[k] = o->input < 0 ? (const char *)&o->value : args->in[o->input];
  }
}

/* ---- short rows ---- */

enum { SHORT_ROW = 256, TILE = 1024, TILE_BYTES = TILE * sizeof(uint64_t) };

/* What stands in an operand's tile: the elements of `row` from that column of a short row on. */
typedef struct tile {
  const char *row;
  int64_t column, n;
} tile;

/* Elements [begin, begin + n) of a row: the end of a short row, whole ones, the beginning of another. */
static const char *write_out(const ifd_loop *loop, const ifd_loop_operand *o, tile *t, char *to,
                             const char *row, int64_t begin, int64_t n) {
  int64_t first = begin / loop->short_n, column = begin % loop->short_n, size = (int64_t)o->size;
  bool same = o->tile_stride == 0 && t->row == row && t->column == column && t->n >= n;
  *t = (tile){row, column, same ? t->n : n};
  for (int64_t i = 0; i < n && !same; column = 0) {
    int64_t length = ifd_min_i64(loop->short_n - column, n - i), n_rows = 1;
    if (column == 0 && n - i > length) n_rows = (n - i) / length;
    const char *from = row + first * o->tile_stride + column * o->tile_step * size;
    if (o->tile_step)
      loop->move->copy_rows(to + i * size, length * size, from, o->tile_stride, n_rows,
                            (size_t)(length * size));
    else
      loop->move->fill_rows(to + i * size, length * size, from, o->tile_stride, n_rows, o->size, length);
    first += n_rows;
    i += n_rows * length;
  }
  return to;
}

/* Elements [begin, begin + n) of the row that operands are at, block by block. */
static void run_tiles(const ifd_loop *loop, const ifd_args *args, const char *const *row, tile *tiles,
                      int64_t begin, char *out, int64_t n) {
  const char *in[IFD_LOOP_OPERANDS];
  int64_t block = TILE / loop->short_n * loop->short_n;
  for (int64_t i = 0; i < n; i += block) {
    int64_t length = ifd_min_i64(block, n - i), at = begin + i;
    for (int k = 0; k < loop->n_operands; k++) {
      const ifd_loop_operand *o = &loop->operands[k];
      char *memory = (char *)args->scratch + loop->tiles + (size_t)k * TILE_BYTES;
      in[k] = o->tiled ? write_out(loop, o, &tiles[k], memory, row[k], at, length)
                       : row[k] + at * o->step * (int64_t)o->size;
    }
    loop->row(loop->params, args, in, out + i * (int64_t)loop->out_size, (size_t)length);
  }
}

static void run_short_rows(const void *params, const ifd_args *args, int task) {
  const ifd_loop *loop = params;
  const char *base[IFD_LOOP_OPERANDS], *row[IFD_LOOP_OPERANDS];
  int64_t at[IFD_MAX_RANK], offset[IFD_LOOP_OPERANDS];
  int64_t from = task * loop->grain, to = ifd_min_i64(from + loop->grain, loop->count);
  int64_t begin = from % loop->n;
  tile tiles[IFD_LOOP_OPERANDS] = {{0}};
  operand_bases(loop, args, base);
  seek(loop, from / loop->n, at, offset);
  while (from < to) {
    int64_t n = ifd_min_i64(loop->n - begin, to - from);
    for (int k = 0; k < loop->n_operands; k++) row[k] = base[k] + offset[k];
    run_tiles(loop, args, row, tiles, begin, (char *)args->out[0] + from * (int64_t)loop->out_size, n);
    from += n;
    begin = 0;
    if (from < to) next_row(loop, at, offset);
  }
}

static void run_loop(const void *params, const ifd_args *args, int task) {
  const ifd_loop *loop = params;
  const char *base[IFD_LOOP_OPERANDS], *in[IFD_LOOP_OPERANDS];
  int64_t at[IFD_MAX_RANK], offset[IFD_LOOP_OPERANDS];
  int64_t from = task * loop->grain, to = ifd_min_i64(from + loop->grain, loop->count);
  int64_t begin = from % loop->n;
  operand_bases(loop, args, base);
  seek(loop, from / loop->n, at, offset);
  while (from < to) {
    int64_t n = ifd_min_i64(loop->n - begin, to - from);
    for (int k = 0; k < loop->n_operands; k++)
      in[k] = base[k] + offset[k] + begin * loop->operands[k].step * (int64_t)loop->operands[k].size;
    loop->row(loop->params, args, in, (char *)args->out[0] + from * (int64_t)loop->out_size, (size_t)n);
    from += n;
    begin = 0;
    if (from < to) next_row(loop, at, offset);
  }
}

/* ---- planning ---- */

typedef int64_t strides[IFD_MAX_RANK];

static bool fits(const ifd_shape *s, const ifd_shape *out) {
  int first = out->rank - s->rank;
  for (int i = 0; i < s->rank && first >= 0; i++)
    if (s->dim[i] != 1 && s->dim[i] != out->dim[first + i]) return false;
  return first >= 0;
}

static bool mergeable(const ifd_loop *loop, const strides *stride, int64_t inner, int d) {
  for (int k = 0; k < loop->n_operands; k++)
    if (stride[k][d] != stride[k][d + 1] * inner) return false;
  return true;
}

/* Drops dimensions of one element and merges what can be; what is left of `shape` is at its front. */
static void merge_dims(const ifd_loop *loop, ifd_shape *shape, strides *stride) {
  int to = shape->rank; /* kept dimensions are [to, rank) */
  for (int d = shape->rank - 1; d >= 0; d--) {
    if (shape->dim[d] == 1) continue;
    to--;
    shape->dim[to] = shape->dim[d];
    for (int k = 0; k < loop->n_operands; k++) stride[k][to] = stride[k][d];
    if (to + 1 == shape->rank || !mergeable(loop, stride, shape->dim[to + 1], to)) continue;
    shape->dim[to + 1] *= shape->dim[to];
    to++;
  }
  shape->rank -= to;
  memmove(shape->dim, shape->dim + to, (size_t)shape->rank * sizeof *shape->dim);
  for (int k = 0; k < loop->n_operands; k++)
    memmove(stride[k], stride[k] + to, (size_t)shape->rank * sizeof **stride);
}

/* Lays short rows end to end along the innermost outer dimension. An operand that goes on evenly, or stays
 * where it is, needs no tile. */
static void join_short_rows(ifd_loop *loop, const ifd_shape *shape, strides *stride) {
  int inner = shape->rank - 2;
  if (inner < 0 || shape->dim[inner + 1] >= SHORT_ROW) return;
  for (int k = 0; k < loop->n_operands; k++)
    if (loop->operands[k].size > sizeof(uint64_t)) return;
  loop->short_n = shape->dim[inner + 1];
  for (int k = 0; k < loop->n_operands; k++) {
    ifd_loop_operand *o = &loop->operands[k];
    o->tile_step = (int)stride[k][inner + 1];
    o->tile_stride = stride[k][inner] * (int64_t)o->size;
    bool goes_on = o->tile_step && stride[k][inner] == loop->short_n;
    bool stays = !o->tile_step && !stride[k][inner];
    o->tiled = !goes_on && !stays;
    stride[k][inner] = o->tile_step || o->tiled;
  }
}

static ifd_status settle_rows(ifd_loop *loop, ifd_lower *x) {
  ifd_shape shape = x->out[0]->shape;
  strides stride[IFD_LOOP_OPERANDS];
  for (int k = 0; k < loop->n_operands; k++) {
    if (loop->operands[k].input < 0)
      memset(stride[k], 0, sizeof *stride);
    else
      ifd_shape_broadcast_strides(&loop->shape[k], &shape, stride[k]);
  }
  merge_dims(loop, &shape, stride);
  join_short_rows(loop, &shape, stride);
  if (loop->short_n) {
    shape.rank--;
    shape.dim[shape.rank - 1] *= loop->short_n;
  }
  loop->rank = shape.rank > 0 ? shape.rank - 1 : 0;
  loop->n = shape.rank > 0 ? shape.dim[loop->rank] : 1;
  ALLOC(x->err, loop->dim, ifd_arena_memdup(x->arena, shape.dim, (size_t)loop->rank * sizeof *shape.dim));
  for (int k = 0; k < loop->n_operands; k++) {
    ifd_loop_operand *o = &loop->operands[k];
    o->step = shape.rank > 0 ? (int)stride[k][loop->rank] : 0;
    for (int d = 0; d < loop->rank; d++) stride[k][d] *= (int64_t)o->size;
    ALLOC(x->err, o->stride, ifd_arena_memdup(x->arena, stride[k], (size_t)loop->rank * sizeof **stride));
  }
  return IFD_OK;
}

ifd_status ifd_loop_plan(ifd_loop *loop, ifd_lower *x) {
  const ifd_tensor *out = x->out[0];
  loop->count = ifd_tensor_count(out);
  loop->out_size = ifd_dtype_size(out->dtype);
  for (int k = 0; k < loop->n_operands; k++)
    loop->declined = loop->declined || !fits(&loop->shape[k], &out->shape);
  loop->declined = loop->declined || loop->count == 0;
  return loop->declined ? IFD_OK : settle_rows(loop, x);
}

ifd_status ifd_loop_launch(ifd_loop *loop, ifd_lower *x, ifd_loop_row *row, const void *params,
                           size_t params_size, double item_ops, size_t scratch) {
  enum { LINE = 64 }; /* tasks begin at multiples of it: no two write to one cache line */
  if (loop->declined) {
    x->work->unread = 0;
    x->work->in_place = 0;
    return IFD_OK;
  }
  loop->row = row;
  loop->move = ifd_k_move(x->isa);
  loop->tiles = (scratch + 63) & ~(size_t)63;
  if (loop->short_n) scratch = loop->tiles + (size_t)loop->n_operands * TILE_BYTES;
  loop->grain = ifd_ceil_div(ifd_lower_grain(loop->count, item_ops), LINE) * LINE;
  ALLOC(x->err, loop->params, ifd_arena_memdup(x->arena, params, params_size));
  return ifd_lower_launch(x, loop->short_n ? run_short_rows : run_loop, loop, offsetof(ifd_loop, shape),
                          ifd_ceil_div(loop->count, loop->grain), scratch);
}
