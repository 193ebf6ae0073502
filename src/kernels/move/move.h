/* Moving elements without looking at them: one strided copy in any number of dimensions (Transpose, Slice,
 * Concat, Split, Expand, Tile, Pad, DepthToSpace …), and gathering of rows or elements (Gather,
 * GatherElements). Elements are 1, 2, 4, 8 or 16 bytes.
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

/* Runs of `size` bytes picked by indices in [-limit, limit), of 64 bits if wide, else 32: negative ones count
 * from the end. An index outside sets *failed and moves nothing. */
typedef struct ifd_k_gather {
  size_t size;
  int64_t step,
      stride; /* bytes from what index 0 picks to what the next one does, from one index to the next */
  int64_t limit;
  bool wide;
} ifd_k_gather;

struct ifd_k_move_table {
  /* Tasks [first, last) of a copy; to and from are where index 0 lies */
  void (*copy)(const ifd_k_copy *m, void *to, const void *from, int64_t first, int64_t last);
  /* to[i] = the run at from + i * step + index[i] * stride, for n indices */
  void (*gather)(const ifd_k_gather *g, void *to, const void *from, const void *index, int64_t n,
                 bool *failed);
  /* n_rows rows of n bytes, strides in bytes apart */
  void (*copy_rows)(char *to, int64_t to_stride, const char *from, int64_t from_stride, int64_t n_rows,
                    size_t n);
  /* to[r][0 … n) = from[r], elements of `size` bytes; strides in bytes */
  void (*fill_rows)(char *to, int64_t to_stride, const char *from, int64_t from_stride, int64_t n_rows,
                    size_t size, int64_t n);
};

#endif
