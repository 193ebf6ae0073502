/* Plans of strided copies: the same for every ISA. */
#include "kernels/move/move.h"

typedef struct dim {
  int64_t n, to, from;
} dim;

static int64_t magnitude(int64_t a) { return a < 0 ? -a : a; }

/* The order in which `to` lies in memory: largest stride first; equal strides (dimensions of 1) keep their
 * order. */
static void sort_dims(dim *d, int rank) {
  for (int i = 1; i < rank; i++)
    for (int k = i; k > 0 && magnitude(d[k - 1].to) < magnitude(d[k].to); k--) {
      dim swap = d[k];
      d[k] = d[k - 1];
      d[k - 1] = swap;
    }
}

/* Neighbours that are one dimension on both sides become one. */
static int merge_dims(dim *d, int rank) {
  int n = 0;
  for (int i = 0; i < rank; i++) {
    if (d[i].n == 1) continue;
    if (n && d[n - 1].to == d[i].to * d[i].n && d[n - 1].from == d[i].from * d[i].n)
      d[n - 1] = (dim){d[n - 1].n * d[i].n, d[i].to, d[i].from};
    else
      d[n++] = d[i];
  }
  return n;
}

static bool aligned(const dim *d, int rank, int64_t size) {
  for (int i = 0; i < rank; i++)
    if (d[i].to % size || d[i].from % size) return false;
  return true;
}

/* A contiguous run of 2, 4, 8 or 16 bytes at the end, if all strides are whole multiples, is an element. */
static int grow_element(dim *d, int rank, size_t *size) {
  if (!rank || d[rank - 1].to != (int64_t)*size || d[rank - 1].from != (int64_t)*size) return rank;
  const int64_t run = d[rank - 1].n * (int64_t)*size;
  if ((run != 2 && run != 4 && run != 8 && run != 16) || !aligned(d, rank - 1, run)) return rank;
  *size = (size_t)run;
  return rank - 1;
}

static void swap_into(dim *d, int from, int to) {
  dim moved = d[from];
  for (; from < to; from++) d[from] = d[from + 1];
  d[to] = moved;
}

static ifd_move_kind choose(dim *d, int rank, int64_t size) {
  const dim *last = &d[rank - 1];
  if (last->to != size) return IFD_MOVE_ELEMENTS;
  if (last->from == size) return IFD_MOVE_RUNS;
  if (last->from == 0) return IFD_MOVE_FILL;
  for (int i = 0; i < rank - 1; i++)
    if (d[i].from == size && size <= 8) {
      swap_into(d, i, rank - 2);
      return IFD_MOVE_TRANSPOSE;
    }
  return IFD_MOVE_ELEMENTS;
}

/* What tasks are: long rows are cut, in transpositions into strips of a few cache lines. */
static void split(ifd_k_copy *m) {
  enum { PIECE_BYTES = 1 << 16, STRIP_BYTES = 256 };
  const bool transpose = m->kind == IFD_MOVE_TRANSPOSE;
  const int along = m->rank - (transpose ? 2 : 1);
  m->piece = (transpose ? STRIP_BYTES : PIECE_BYTES) / (int64_t)m->size;
  if (m->piece > m->n[along]) m->piece = m->n[along];
  m->pieces = (m->n[along] + m->piece - 1) / m->piece;
  m->tasks = m->pieces;
  for (int i = 0; i < along; i++) m->tasks *= m->n[i];
  m->task_bytes = (size_t)m->piece * m->size * (transpose ? (size_t)m->n[m->rank - 1] : 1);
}

void ifd_k_move_plan(ifd_k_copy *m, size_t size, int rank, const int64_t *shape, const int64_t *to_strides,
                     const int64_t *from_strides) {
  dim d[IFD_MOVE_RANK];
  *m = (ifd_k_copy){.size = size};
  for (int i = 0; i < rank; i++) {
    d[i] = (dim){shape[i], to_strides[i] * (int64_t)size, from_strides[i] * (int64_t)size};
    if (shape[i] == 0) return;
  }
  sort_dims(d, rank);
  rank = grow_element(d, merge_dims(d, rank), &m->size);
  if (rank == 0) d[rank++] = (dim){1, (int64_t)m->size, (int64_t)m->size};
  m->kind = choose(d, rank, (int64_t)m->size);
  m->rank = rank;
  for (int i = 0; i < rank; i++) m->n[i] = d[i].n, m->to[i] = d[i].to, m->from[i] = d[i].from;
  split(m);
}
