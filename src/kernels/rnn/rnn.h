/* What follows the matrix products in a step of LSTM, GRU and RNN: gates and states of n neurons, from
 * pre-activations in two parts, x (x W and biases) and r (h R, or NULL when x has it all). Gates lie one
 * after another in ONNX's order, n apart. Element i of the new state depends on element i of the arguments
 * alone. Outputs may be the inputs of the same name (h_out may be h, c_out may be c). */
#ifndef IFD_KERNELS_RNN_RNN_H
#define IFD_KERNELS_RNN_RNN_H

#include <stdbool.h>
#include <stddef.h>

/* The activations that the three operators name. */
#define IFD_RNN_ACT_LIST(X)                                                                                  \
  X(Sigmoid)                                                                                                 \
  X(Tanh)                                                                                                    \
  X(Relu)                                                                                                    \
  X(Affine) X(LeakyRelu) X(ThresholdedRelu) X(ScaledTanh) X(HardSigmoid) X(Elu) X(Softsign) X(Softplus)
typedef enum ifd_rnn_act {
#define X(name) IFD_RNN_##name,
  IFD_RNN_ACT_LIST(X)
#undef X
      IFD_RNN_N_ACTS
} ifd_rnn_act;

typedef struct ifd_k_rnn_cell {
  struct {
    ifd_rnn_act act;
    float alpha, beta;
  } f[3];            /* ONNX's f, g, h of the direction */
  float clip;        /* pre-activations are clipped to [-clip, clip]; INFINITY: not at all */
  bool input_forget; /* LSTM: the forget gate is 1 - input gate */
} ifd_k_rnn_cell;

enum { IFD_RNN_MAX_ROWS = 4 }; /* of `recur` */

struct ifd_k_rnn_table {
  /* to [n_rows, n_columns] = h [n_rows, n] · B + bias (NULL: none), rows dense, at most IFD_RNN_MAX_ROWS of
   * them; B is packed as kernels/gemm/gemm.h has it, and the sums are those of its products (chains,
   * kernels/gemm/ukr.h). With `backward` the last
   * columns come first: every other time, what the cache kept of B is read while it is there. */
  void (*recur)(const float *h, size_t n_rows, size_t n, const float *packed, size_t n_columns,
                const float *bias, float *to, bool backward);
  /* x, r: 4n (i, o, f, c). peephole: 3n (i, o, f) or NULL. */
  void (*lstm)(const ifd_k_rnn_cell *p, const float *x, const float *r, const float *peephole, const float *c,
               float *c_out, float *h_out, size_t n);
  /* linear_before_reset != 0. x: 3n (z, r, h) of x W + Wb; r: 3n of h R + Rb, not NULL. */
  void (*gru_linear)(const ifd_k_rnn_cell *p, const float *x, const float *r, const float *h, float *h_out,
                     size_t n);
  /* linear_before_reset = 0, first half: x, r: 2n (z, r). z becomes the update gate; reset_h = r * h, whose
   * product with Rh is the r of the second half. */
  void (*gru_reset)(const ifd_k_rnn_cell *p, const float *x, const float *r, const float *h, float *z,
                    float *reset_h, size_t n);
  /* Second half: x, r: n (h) */
  void (*gru_update)(const ifd_k_rnn_cell *p, const float *x, const float *r, const float *z, const float *h,
                     float *h_out, size_t n);
  /* x, r: n */
  void (*rnn)(const ifd_k_rnn_cell *p, const float *x, const float *r, float *h_out, size_t n);
};

#endif
