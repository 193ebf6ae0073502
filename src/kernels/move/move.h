/* Moving elements without looking at them: one strided copy in any number of dimensions (Transpose, Slice,
 * Concat, Split, Expand, Tile, Pad, DepthToSpace …), and gathering of rows (Gather, Embedding). Elements are
 * 1, 2, 4, 8 or 16 bytes.
 *
 * A copy is planned once, from shape and strides; the plan merges dimensions, makes short contiguous runs one
 * element, and chooses between long runs, fills, blocked transposition and single elements. Tasks are ranges
 * of its `tasks`. */
#ifndef IFD_KERNELS_MOVE_MOVE_H
#define IFD_KERNELS_MOVE_MOVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { IFD_MOVE_RANK = 16 }; /* not less than the rank of a tensor */

typedef enum ifd_move_kind {
  IFD_MOVE_RUNS,      /* the last dimension is contiguous on both sides */
  IFD_MOVE_FILL,      /* the last dimension repeats one element into a contiguous run */
  IFD_MOVE_TRANSPOSE, /* `to` is contiguous along the last dimension, `from` along the one before it */
  IFD_MOVE_ELEMENTS
} ifd_move_kind;

typedef struct ifd_k_copy {
  ifd_move_kind kind;
  size_t size;       /* bytes of an element */
  int rank;          /* at least 1; TRANSPOSE: at least 2 */
  int64_t tasks;     /* 0: nothing to move */
  int64_t pieces;    /* tasks of one row: what is left of the dimensions after those that are walked */
  int64_t piece;     /* elements of a piece, along the last dimension (TRANSPOSE: the one before it) */
  size_t task_bytes; /* that one task writes, about */
  int64_t n[IFD_MOVE_RANK], to[IFD_MOVE_RANK], from[IFD_MOVE_RANK]; /* shape; strides in bytes */
} ifd_k_copy;

/* The copy to[Σ i_d to_stride_d] = from[Σ i_d from_stride_d] for every index i of `shape`; strides count
 * elements of `size` bytes, may be 0 (from) or negative. The two sides do not overlap. rank <=
 * IFD_MOVE_RANK. */
void ifd_k_move_plan(ifd_k_copy *m, size_t size, int rank, const int64_t *shape, const int64_t *to_strides,
                     const int64_t *from_strides);

struct ifd_k_move_table {
  /* Tasks [first, last) of a copy; to and from are where index 0 lies */
  void (*copy)(const ifd_k_copy *m, void *to, const void *from, int64_t first, int64_t last);
  /* to[i] = from[index[i]], rows of row_bytes, for n indices (64 bits each if wide, else 32) in [-limit,
   * limit): negative ones count from the end. An index outside sets *failed and moves nothing. */
  void (*gather)(void *to, const void *from, size_t row_bytes, const void *index, bool wide, int64_t n,
                 int64_t limit, bool *failed);
  /* n_rows rows of n bytes, strides in bytes apart */
  void (*copy_rows)(char *to, int64_t to_stride, const char *from, int64_t from_stride, int64_t n_rows,
                    size_t n);
  /* to[r][0 … n) = from[r], elements of `size` bytes; strides in bytes */
  void (*fill_rows)(char *to, int64_t to_stride, const char *from, int64_t from_stride, int64_t n_rows,
                    size_t size, int64_t n);
};

#endif
