/* Lowering Attention of floats: a task takes some queries of one head: scores, what is added to them, their
 * softmax, and the mix of values. Past keys and values are joined to the new ones first. Rows of queries
 * depend on themselves alone. */
#ifndef IFD_OPS_SHARED_ATTENTION_WORK_H
#define IFD_OPS_SHARED_ATTENTION_WORK_H

#include "kernels/epilogue.h"
#include "ops/op.h"

/* Where a tensor's rows are: element d of row t of head h of sample b is number
 * offset + b * sample + h * head + t * row + d * element. */
typedef struct ifd_attention_rows {
  int64_t offset, sample, head, row, element;
} ifd_attention_rows;
/* Of a dense tensor [batch, heads, length, size], or, packed, [batch, length, heads * size]. */
ifd_attention_rows ifd_attention_rows_of(bool packed, int64_t heads, int64_t length, int64_t size);

/* What attributes and shapes say (inputs Q, K, V, attn_mask, past_key, past_value, nonpad_kv_seqlen; outputs
 * Y, present_key, present_value, qk_matmul_output). */
typedef struct ifd_attention_layer {
  int64_t batch, q_heads, kv_heads, q_len, kv_len, size, v_size, past; /* kv_len: past included */
  ifd_attention_rows q, k, v, y;                                       /* k, v without the past */
  bool is_softmax;    /* a row of scores that are all -inf is NaN, as Softmax has it, and not zero */
  bool zeroes;        /* a row of weights that are NaN is zero; of plain layers alone */
  ifd_k_act rounding; /* of each step's result to a 16-bit float, as Softmax has it; of plain layers alone */
  float scale, softcap;
  bool causal;
  int64_t left, right; /* window; -1: unbounded */
  int mode;            /* of output 3: scores, capped, biased, probabilities */
  bool mask_is_bool;
  int64_t mask_length, mask_strides[4]; /* keys beyond the length see nothing */
} ifd_attention_layer;

/* Declines what is not float (a mask may be bool) or has no elements. */
ifd_status ifd_lower_attention(ifd_lower *x, const ifd_attention_layer *l);

#endif
