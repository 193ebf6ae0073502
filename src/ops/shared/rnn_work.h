/* Lowering RNN, GRU and LSTM of floats: the inputs' part of all steps is one product for each direction; the
 * steps then follow one another inside a task, which takes one direction and some sequences. A sequence's
 * bits depend on neither the others nor the tasks. */
#ifndef IFD_OPS_SHARED_RNN_WORK_H
#define IFD_OPS_SHARED_RNN_WORK_H

#include "kernels/rnn/rnn.h"
#include "ops/op.h"

typedef enum ifd_rnn_kind { IFD_RNN_SIMPLE, IFD_RNN_GRU, IFD_RNN_GRU_LINEAR, IFD_RNN_LSTM } ifd_rnn_kind;

typedef struct ifd_rnn_layer {
  ifd_rnn_kind kind; /* GRU_LINEAR: linear_before_reset */
  int64_t gates, steps, batch, inputs, hidden, directions;
  bool batch_first, reverse; /* layout 1; the first direction runs backward */
  bool snaps;             /* LSTM: H is multiplied as DynamicQuantizeLinear leaves it, all sequences as one */
  ifd_k_rnn_cell cell[2]; /* by direction */
} ifd_rnn_layer;

/* Inputs and outputs are those of the operators, their shapes checked for X, W and R. Declines what is not
 * float or has no elements. */
ifd_status ifd_lower_rnn(ifd_lower *x, const ifd_rnn_layer *l);

#endif
