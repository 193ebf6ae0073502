/* Lowering loops over elements: any number of operands broadcast into output 0, cut into rows along which
 * each operand either goes along with the output or stays where it is. Dimensions that all operands step
 * through evenly are merged first, so most loops are a single row, which tasks cut anywhere. A row function
 * sees contiguous elements; an element of the result may depend on nothing but the operands' elements there,
 * so that no cut changes a bit. */
#ifndef IFD_OPS_SHARED_ELTWISE_LOOP_H
#define IFD_OPS_SHARED_ELTWISE_LOOP_H

#include "ops/op.h"

enum { IFD_LOOP_OPERANDS = 16 };

typedef struct ifd_loop_operand {
  int input;             /* of the node; -1: value */
  int step;              /* along a row, in elements: 1, or 0 where one element serves all */
  size_t size;           /* of an element */
  uint64_t value;        /* the one element of a known operand */
  const int64_t *stride; /* bytes, for each outer dimension */
  /* private: an operand of short rows that is written out */
  bool tiled;
  int tile_step;       /* along a short row, in elements */
  int64_t tile_stride; /* from one short row to the next, in bytes */
} ifd_loop_operand;

/* n elements at out from operand k's at in[k]. */
typedef void ifd_loop_row(const void *params, const ifd_args *args, const char *const *in, char *out,
                          size_t n);

/* A loop in the making, then the parameters of its launch. */
typedef struct ifd_loop {
  int n_operands;
  ifd_loop_operand operands[IFD_LOOP_OPERANDS];
  bool declined; /* cannot be lowered */
  /* private */
  ifd_loop_row *row;
  const struct ifd_k_move_table *move;
  const void *params;
  size_t out_size;
  int rank; /* dimensions outside the row */
  const int64_t *dim;
  int64_t n, count, grain; /* elements of a row, in all, of a task */
  int64_t short_n;         /* of the short rows that make a row; 0: none */
  size_t tiles;            /* where in a worker's scratch the operands are written out */
  ifd_shape shape[IFD_LOOP_OPERANDS];
} ifd_loop;

/* Another operand: input i, seen as `view` (NULL: as it is). What is known and one element throughout is
 * taken into the parameters, and its input marked unread. Gives its number. */
int ifd_loop_input(ifd_loop *loop, ifd_lower *x, int i, const ifd_shape *view);
/* Another operand: one element of `size` (at most 8) bytes. */
int ifd_loop_value(ifd_loop *loop, const void *value, size_t size);
/* Whether operand k has an element for each of the output's. */
bool ifd_loop_is_whole(const ifd_loop *loop, const ifd_lower *x, int k);
/* Settles rows and the operands' steps; declines where operands do not broadcast to output 0 or there are no
 * elements. */
ifd_status ifd_loop_plan(ifd_loop *loop, ifd_lower *x);
/* Adds the launch of a planned loop, or nothing where it was declined. `params` are copied. An element takes
 * about item_ops operations. */
ifd_status ifd_loop_launch(ifd_loop *loop, ifd_lower *x, ifd_loop_row *row, const void *params,
                           size_t params_size, double item_ops, size_t scratch);

#endif
