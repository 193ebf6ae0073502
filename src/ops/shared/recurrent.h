/* Recurrent layers by reference: RNN, GRU and LSTM in any direction and layout, step by step in double. */
#ifndef IFD_OPS_SHARED_RECURRENT_H
#define IFD_OPS_SHARED_RECURRENT_H

#include "ops/op.h"
#include "ops/shared/rnn_work.h"

typedef struct ifd_rnn_function {
  const char *name;
  ifd_rnn_act act; /* the kernels' number for it */
  double (*call)(double v, double alpha, double beta);
  bool has_alpha, has_beta; /* takes the next value of activation_alpha, activation_beta */
  double alpha, beta;       /* where the node gives none: the defaults of the operator of that name */
} ifd_rnn_function;

enum { IFD_RNN_GATES = 4, IFD_RNN_FUNCTIONS = 3, IFD_RNN_DIRECTIONS = 2 };

typedef struct ifd_recurrent ifd_recurrent;
typedef struct ifd_rnn_cell {
  int gates, n_functions;
  const char *defaults[IFD_RNN_FUNCTIONS];
  /* One step of one sequence: x_part has a value for each gate and neuron, W x + Wb; h and c become the new
   * states. */
  void (*step)(const ifd_recurrent *l, int direction, const double *x_part, double *h, double *c);
} ifd_rnn_cell;

struct ifd_recurrent {
  const ifd_rnn_cell *cell;
  int64_t steps, batch, inputs, hidden, directions;
  bool batch_first, reverse; /* reverse: the first direction runs backward */
  bool linear_before_reset, input_forget;
  double clip;
  ifd_rnn_function f[IFD_RNN_DIRECTIONS][IFD_RNN_FUNCTIONS];
  const double *x, *w, *r, *b, *initial_h, *initial_c, *p; /* the inputs; b and those after it may be NULL */
  const int64_t *lengths;                                  /* NULL: all steps */
  double *gate[IFD_RNN_GATES], *x_part, *reset;            /* of one step */
  double *y, *y_h, *y_c;
};

extern const ifd_rnn_cell ifd_simple_cell, ifd_gru_cell, ifd_lstm_cell;

/* What attribute direction says; the result is what is wrong with it, or NULL. */
const char *ifd_rnn_direction(const ifd_node *node, int64_t *directions, bool *reverse);
/* Attributes and sizes of a layer whose cell is set, for X, W and R of these shapes. */
ifd_status ifd_recurrent_init(ifd_error *err, ifd_recurrent *l, const ifd_node *node, const ifd_shape *in,
                              const ifd_shape *w, const ifd_shape *r);
/* Reads the inputs of an evaluation and makes room for its steps. */
ifd_status ifd_recurrent_read(ifd_eval *x, ifd_recurrent *l);
/* Outputs of zeros, states as they are at first. */
ifd_status ifd_recurrent_begin(ifd_eval *x, ifd_recurrent *l);
/* Step t of sequence b: of its states and X, its new states and a part of Y. */
void ifd_recurrent_step(const ifd_recurrent *l, int direction, int64_t b, int64_t t);
/* Where the state of a sequence is in y_h and y_c. */
int64_t ifd_recurrent_state(const ifd_recurrent *l, int64_t direction, int64_t b);
/* Y, Y_h and Y_c become the outputs. */
ifd_status ifd_recurrent_put(ifd_eval *x, const ifd_recurrent *l);

#endif
