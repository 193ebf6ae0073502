/* Convolutions over images of any rank: Conv, ConvTranspose, ConvInteger, QLinearConv and the causal
 * depthwise CausalConvWithState. The reference adds the taps of a kernel one at a time to a whole plane of
 * outputs, in double: bias, then channel by channel, tap by tap. */
#include <math.h>
#include <string.h>

#include "ops/shared/batch.h"
#include "ops/shared/values.h"
#include "ops/shared/window.h"

/* ---- shared by all ---- */

/* A convolution with its sizes: x [n, c, image…], w [m, c / group, kernel…] → y [n, m, windows…]. */
typedef struct conv {
  ifd_window window;
  int64_t n, c, m, group;
  int64_t c_group, m_group;
  int64_t in_plane, out_plane, taps;
  ifd_shape out;
} conv;

static ifd_status check_group(ifd_error *err, const ifd_node *node, conv *k, int64_t weights_first,
                              int64_t weights_second, bool transposed) {
  k->group = ifd_node_int(node, "group", 1);
  EXPECT(err, k->group > 0, BAD_MODEL, "attribute group is %lld", (long long)k->group);
  int64_t c = transposed ? weights_first : weights_second;
  EXPECT(err, transposed ? c == k->c && c % k->group == 0 : k->c % k->group == 0 && c == k->c / k->group,
         BAD_INPUT, "the input has %lld channels in %lld groups; the weights are for %lld%s", (long long)k->c,
         (long long)k->group, (long long)c, transposed ? "" : " in each");
  if (transposed)
    EXPECT(err, ifd_mul_i64(&k->m, weights_second, k->group), BAD_INPUT, "too many channels");
  else
    k->m = weights_first;
  EXPECT(err, k->m % k->group == 0, BAD_INPUT, "%lld output channels cannot be divided in %lld groups",
         (long long)k->m, (long long)k->group);
  k->c_group = k->c / k->group;
  k->m_group = k->m / k->group;
  return IFD_OK;
}

static ifd_status conv_init(ifd_error *err, conv *k, const ifd_node *node, const ifd_shape *x,
                            const ifd_shape *w) {
  TRY(ifd_window_init(err, &k->window, node, x, w));
  k->n = x->dim[0];
  k->c = x->dim[1];
  TRY(check_group(err, node, k, w->dim[0], w->dim[1], false));
  k->in_plane = ifd_window_product(&k->window, k->window.image);
  k->taps = ifd_window_product(&k->window, k->window.kernel);
  k->out = ifd_window_shape(&k->window, x->rank, k->n, k->m);
  TRY(ifd_shape_check(err, &k->out, sizeof(double)));
  k->out_plane = ifd_window_product(&k->window, k->window.windows);
  return IFD_OK;
}

/* y += x * w for one image and output channel: y is a plane of windows. */
static void conv_channel(const conv *k, const double *x, const double *w, double *y) {
  ifd_box taps = ifd_box_of(k->window.n, k->window.kernel);
  for (int64_t c = 0; c < k->c_group; c++, x += k->in_plane)
    for (bool more = ifd_box_start(&taps); more; more = ifd_box_next(&taps))
      ifd_window_gather(&k->window, taps.at, *w++, x, y);
}

static void conv_run(const conv *k, const double *x, const double *w, double *y) {
  if (k->out_plane == 0) return;
  for (int64_t n = 0; n < k->n; n++)
    for (int64_t m = 0; m < k->m; m++, y += k->out_plane)
      conv_channel(k, x + (n * k->c + m / k->m_group * k->c_group) * k->in_plane,
                   w + m * k->c_group * k->taps, y);
}

/* Every plane of y begins as its channel's bias. */
static void fill_bias(double *y, int64_t n, int64_t m, int64_t plane, const double *bias) {
  if (!bias) return;
  for (int64_t i = 0; i < n * m; i++)
    for (int64_t j = 0; j < plane; j++) y[i * plane + j] = bias[i % m];
}

/* Channels must split in groups that fit the weights; symbols are taken to fit. */
static ifd_status check_channels(ifd_infer *x, ifd_dim c, ifd_dim m, ifd_dim c_group) {
  int64_t group = ifd_node_int(x->node, "group", 1);
  EXPECT(x->err, group > 0, BAD_MODEL, "attribute group is %lld", (long long)group);
  EXPECT(x->err, !ifd_dim_is_number(m) || m % group == 0, BAD_MODEL,
         "%lld output channels cannot be divided in %lld groups", (long long)m, (long long)group);
  if (!ifd_dim_is_number(c) || !ifd_dim_is_number(c_group)) return IFD_OK;
  EXPECT(x->err, c % group == 0 && c / group == c_group, BAD_MODEL,
         "the input has %lld channels in %lld groups; the weights are for %lld in each", (long long)c,
         (long long)group, (long long)c_group);
  return IFD_OK;
}

/* Attribute group, which takes part in dimensions. */
static ifd_status read_group(ifd_error *err, const ifd_node *node, int64_t *group) {
  *group = ifd_node_int(node, "group", 1);
  EXPECT(err, *group > 0 && *group <= INT32_MAX, BAD_MODEL, "attribute group is %lld", (long long)*group);
  return IFD_OK;
}

static ifd_status infer_conv_as(ifd_infer *x, ifd_dtype dtype, int weights) {
  int rank = ifd_infer_rank(x, 0);
  int64_t group;
  TRY(read_group(x->err, x->node, &group));
  if (rank < 0) return ifd_infer_unranked(x, 0, dtype);
  const ifd_dim *in = x->in[0]->dims;
  ifd_dim out[IFD_MAX_RANK];
  int w_rank = ifd_infer_rank(x, weights);
  EXPECT(x->err, w_rank < 0 || w_rank == rank, BAD_MODEL, "the weights have rank %d, the input %d", w_rank,
         rank);
  const ifd_dim *w = w_rank < 0 ? NULL : x->in[weights]->dims;
  if (w && rank >= 2) TRY(check_channels(x, in[1], w[0], w[1]));
  TRY(ifd_window_infer(x, rank, in, w ? w + 2 : NULL, out));
  out[0] = in[0];
  out[1] = w ? w[0] : ifd_dim_unknown(x->dims);
  return ifd_infer_tensor(x, 0, dtype, rank, out);
}

/* ---- Conv ---- */

static ifd_status infer_conv(ifd_infer *x) { return infer_conv_as(x, ifd_infer_dtype(x, 0), 1); }

static ifd_status eval_conv(ifd_eval *x) {
  const double *in, *w, *bias;
  double *y;
  conv k;
  TRY(conv_init(x->err, &k, x->node, ifd_eval_shape(x, 0), ifd_eval_shape(x, 1)));
  TRY(ifd_eval_f64(x, &in, 0));
  TRY(ifd_eval_f64(x, &w, 1));
  TRY(ifd_eval_find_f64_n(x, &bias, 2, k.m, "B"));
  TRY(ifd_eval_zeros(x, &y, ifd_shape_count(&k.out)));
  fill_bias(y, k.n, k.m, k.out_plane, bias);
  conv_run(&k, in, w, y);
  return ifd_eval_put_f64(x, 0, ifd_eval_dtype(x, 0), &k.out, y);
}

/* Each output takes the weights of its channel once. */
static double cost_of(const ifd_shape *w, const ifd_shape *out) {
  double outputs = 1, per_output = 1;
  for (int i = 0; i < out->rank; i++) outputs *= (double)out->dim[i];
  for (int i = 1; i < w->rank; i++) per_output *= (double)w->dim[i];
  return outputs * per_output;
}
static double cost_conv(const ifd_node *node, const ifd_shape *in, const ifd_shape *out) {
  (void)node;
  return cost_of(&in[1], &out[0]);
}

/* ---- ConvTranspose ---- */

static ifd_status infer_conv_transpose(ifd_infer *x) {
  int rank = ifd_infer_rank(x, 0), w_rank = ifd_infer_rank(x, 1);
  int64_t group;
  TRY(read_group(x->err, x->node, &group));
  if (rank < 0) return ifd_infer_unranked(x, 0, ifd_infer_dtype(x, 0));
  const ifd_dim *in = x->in[0]->dims;
  ifd_dim out[IFD_MAX_RANK];
  EXPECT(x->err, w_rank < 0 || w_rank == rank, BAD_MODEL, "the weights have rank %d, the input %d", w_rank,
         rank);
  const ifd_dim *w = w_rank < 0 ? NULL : x->in[1]->dims;
  TRY(ifd_window_infer_transposed(x, rank, in, w ? w + 2 : NULL, out));
  out[0] = in[0];
  out[1] = w ? ifd_dim_mul(x->dims, w[1], group) : ifd_dim_unknown(x->dims);
  return ifd_infer_tensor(x, 0, ifd_infer_dtype(x, 0), rank, out);
}

/* y += x * w for one image and output channel: y is an image, x are planes of windows; w is [c, m / group,
 * kernel…]. */
static void transposed_channel(const conv *k, const double *x, const double *w, double *y) {
  ifd_box taps = ifd_box_of(k->window.n, k->window.kernel);
  for (int64_t c = 0; c < k->c_group; c++, x += k->in_plane, w += k->m_group * k->taps) {
    const double *weight = w;
    for (bool more = ifd_box_start(&taps); more; more = ifd_box_next(&taps))
      ifd_window_scatter(&k->window, taps.at, *weight++, x, y);
  }
}

static ifd_status transposed_init(ifd_error *err, conv *k, const ifd_node *node, const ifd_shape *x,
                                  const ifd_shape *w) {
  TRY(ifd_window_init_transposed(err, &k->window, node, x, w));
  k->n = x->dim[0];
  k->c = x->dim[1];
  TRY(check_group(err, node, k, w->dim[0], w->dim[1], true));
  k->in_plane = ifd_window_product(&k->window, k->window.windows);
  k->taps = ifd_window_product(&k->window, k->window.kernel);
  k->out = ifd_window_image_shape(&k->window, x->rank, k->n, k->m);
  TRY(ifd_shape_check(err, &k->out, sizeof(double)));
  k->out_plane = ifd_window_product(&k->window, k->window.image);
  return IFD_OK;
}

static ifd_status eval_conv_transpose(ifd_eval *x) {
  const double *in, *w, *bias;
  double *y;
  conv k;
  TRY(transposed_init(x->err, &k, x->node, ifd_eval_shape(x, 0), ifd_eval_shape(x, 1)));
  TRY(ifd_eval_f64(x, &in, 0));
  TRY(ifd_eval_f64(x, &w, 1));
  TRY(ifd_eval_find_f64_n(x, &bias, 2, k.m, "B"));
  TRY(ifd_eval_zeros(x, &y, ifd_shape_count(&k.out)));
  fill_bias(y, k.n, k.m, k.out_plane, bias);
  if (k.out_plane > 0)
    for (int64_t n = 0; n < k.n; n++)
      for (int64_t m = 0; m < k.m; m++) {
        int64_t g = m / k.m_group;
        transposed_channel(&k, in + (n * k.c + g * k.c_group) * k.in_plane,
                           w + (g * k.c_group * k.m_group + m % k.m_group) * k.taps,
                           y + (n * k.m + m) * k.out_plane);
      }
  return ifd_eval_put_f64(x, 0, ifd_eval_dtype(x, 0), &k.out, y);
}

/* Each input goes to the weights of its channel once. */
static double cost_conv_transpose(const ifd_node *node, const ifd_shape *in, const ifd_shape *out) {
  (void)node, (void)out;
  return cost_of(&in[1], &in[0]);
}

/* ---- ConvInteger, QLinearConv ---- */

static ifd_status infer_conv_integer(ifd_infer *x) { return infer_conv_as(x, IFD_INT32, 1); }
static ifd_status infer_qlinear_conv(ifd_infer *x) { return infer_conv_as(x, ifd_infer_dtype(x, 7), 3); }

/* Input i less its zero point (input zp, one element or one for each of the first dimension). */
static ifd_status less_zero_point(ifd_eval *x, double **out, int i, int zp) {
  const double *v, *zero;
  TRY(ifd_eval_f64(x, &v, i));
  TRY(ifd_eval_find_f64(x, &zero, zp));
  int64_t n = ifd_tensor_count(ifd_eval_in(x, i)), first = ifd_eval_shape(x, i)->dim[0];
  int64_t zeros = zero ? ifd_tensor_count(ifd_eval_in(x, zp)) : 1;
  EXPECT(x->err, zeros == 1 || zeros == first, BAD_INPUT, "a zero point of %lld elements for %lld channels",
         (long long)zeros, (long long)first);
  TRY(ifd_eval_zeros(x, out, n));
  for (int64_t j = 0; j < n; j++) (*out)[j] = v[j] - (zero ? zero[zeros == 1 ? 0 : j / (n / first)] : 0);
  return IFD_OK;
}

/* The sums of products of a quantized convolution: whole numbers, which double holds exactly. */
static ifd_status integer_conv(ifd_eval *x, conv *k, double **y, int in, int in_zp, int w, int w_zp) {
  double *image, *weights;
  TRY(conv_init(x->err, k, x->node, ifd_eval_shape(x, in), ifd_eval_shape(x, w)));
  EXPECT(x->err, !ifd_eval_has(x, in_zp) || ifd_tensor_count(ifd_eval_in(x, in_zp)) == 1, BAD_INPUT,
         "the input's zero point is not a scalar");
  TRY(less_zero_point(x, &image, in, in_zp));
  TRY(less_zero_point(x, &weights, w, w_zp));
  TRY(ifd_eval_zeros(x, y, ifd_shape_count(&k->out)));
  conv_run(k, image, weights, *y);
  return IFD_OK;
}

static ifd_status eval_conv_integer(ifd_eval *x) {
  conv k;
  double *y;
  TRY(integer_conv(x, &k, &y, 0, 2, 1, 3));
  return ifd_eval_put_sums(x, 0, &k.out, y);
}

static ifd_status eval_qlinear_conv(ifd_eval *x) {
  enum { X, X_SCALE, X_ZERO, W, W_SCALE, W_ZERO, Y_SCALE, Y_ZERO, B };
  conv k;
  double *y;
  const double *x_scale, *w_scale, *y_scale, *y_zero, *bias;
  TRY(integer_conv(x, &k, &y, X, X_ZERO, W, W_ZERO));
  TRY(ifd_eval_find_f64_n(x, &x_scale, X_SCALE, 1, "x_scale"));
  TRY(ifd_eval_find_f64_n(x, &y_scale, Y_SCALE, 1, "y_scale"));
  TRY(ifd_eval_find_f64_n(x, &y_zero, Y_ZERO, 1, "y_zero_point"));
  TRY(ifd_eval_find_f64_n(x, &bias, B, k.m, "B"));
  int64_t n_scales = ifd_tensor_count(ifd_eval_in(x, W_SCALE));
  TRY(ifd_eval_find_f64_n(x, &w_scale, W_SCALE, n_scales == 1 ? 1 : k.m, "w_scale"));
  for (int64_t i = 0; i < k.n * k.m; i++) {
    int64_t m = i % k.m;
    double scale = x_scale[0] * w_scale[n_scales == 1 ? 0 : m] / y_scale[0];
    for (double *v = y + i * k.out_plane, *end = v + k.out_plane; v < end; v++)
      *v = nearbyint((*v + (bias ? bias[m] : 0)) * scale) + y_zero[0];
  }
  return ifd_eval_put_f64(x, 0, ifd_eval_dtype(x, Y_ZERO), &k.out, y);
}

static double cost_qlinear_conv(const ifd_node *node, const ifd_shape *in, const ifd_shape *out) {
  (void)node;
  return cost_of(&in[3], &out[0]);
}

/* ---- CausalConvWithState ---- */

/* The state is what precedes the input of the next call: the last k - 1 elements of state and input. */
static ifd_status infer_causal_conv(ifd_infer *x) {
  TRY(ifd_infer_same(x, 0, 0));
  if (ifd_infer_rank(x, 0) != 3 || ifd_infer_rank(x, 1) != 3) {
    return ifd_infer_rank(x, 3) == 3 ? ifd_infer_same(x, 1, 3)
                                     : ifd_infer_unranked(x, 1, ifd_infer_dtype(x, 0));
  }
  const ifd_dim state[] = {ifd_infer_dim(x, 0, 0), ifd_infer_dim(x, 0, 1),
                           ifd_dim_sub(x->dims, ifd_infer_dim(x, 1, 2), 1)};
  return ifd_infer_tensor(x, 1, ifd_infer_dtype(x, 0), 3, state);
}

static ifd_status causal_activation(ifd_eval *x, bool *silu) {
  *silu = ifd_node_string_is(x->node, "activation", "none", "silu") ||
          ifd_node_string_is(x->node, "activation", "none", "swish");
  EXPECT(x->err, *silu || ifd_node_string_is(x->node, "activation", "none", "none"), BAD_MODEL,
         "attribute activation is not none, silu or swish");
  return IFD_OK;
}

/* One row: y[t] = bias + sum of w[j] * padded[t + j], rounded to the type before the activation. */
static void causal_row(const double *padded, const double *w, int64_t taps, double bias, bool silu,
                       ifd_dtype dtype, double *y, int64_t length) {
  for (int64_t t = 0; t < length; t++) {
    double sum = bias;
    for (int64_t j = 0; j < taps; j++) sum += w[j] * padded[t + j];
    if (silu) {
      sum = ifd_round_to(dtype, sum);
      sum = sum / (1 + exp(-sum));
    }
    y[t] = sum;
  }
}

static ifd_status eval_causal_conv(ifd_eval *x) {
  const ifd_shape *in = ifd_eval_shape(x, 0), *weights = ifd_eval_shape(x, 1);
  const double *v, *w, *bias, *past;
  double *y, *padded, *state;
  bool silu;
  TRY(causal_activation(x, &silu));
  EXPECT(x->err,
         in->rank == 3 && weights->rank == 3 && weights->dim[0] == in->dim[1] && weights->dim[1] == 1 &&
             weights->dim[2] > 0,
         BAD_INPUT, "the weights are not [channels, 1, k] for an input [batch, channels, length]");
  int64_t rows = in->dim[0] * in->dim[1], channels = in->dim[1], length = in->dim[2],
          keep = weights->dim[2] - 1;
  TRY(ifd_eval_f64(x, &v, 0));
  TRY(ifd_eval_f64(x, &w, 1));
  TRY(ifd_eval_find_f64_n(x, &bias, 2, channels, "bias"));
  TRY(ifd_eval_find_f64_n(x, &past, 3, rows * keep, "past_state"));
  TRY(ifd_eval_zeros(x, &y, rows * length));
  TRY(ifd_eval_zeros(x, &padded, keep + length));
  TRY(ifd_eval_zeros(x, &state, rows * keep));
  for (int64_t r = 0; r < rows; r++) {
    for (int64_t i = 0; i < keep; i++) padded[i] = past ? past[r * keep + i] : 0;
    memcpy(padded + keep, v + r * length, sizeof *v * (size_t)length);
    causal_row(padded, w + r % channels * (keep + 1), keep + 1, bias ? bias[r % channels] : 0, silu,
               ifd_eval_dtype(x, 0), y + r * length, length);
    memcpy(state + r * keep, padded + length, sizeof *v * (size_t)keep);
  }
  ifd_shape state_shape = {3, {in->dim[0], channels, keep}};
  TRY(ifd_eval_put_f64(x, 0, ifd_eval_dtype(x, 0), in, y));
  return ifd_eval_put_f64(x, 1, ifd_eval_dtype(x, 0), &state_shape, state);
}

static double cost_causal_conv(const ifd_node *node, const ifd_shape *in, const ifd_shape *out) {
  (void)node;
  return cost_of(&in[1], &out[0]);
}

const ifd_op ifd_ops_conv[] = {{.name = "Conv",
                                .since = 1,
                                .infer = infer_conv,
                                .eval = eval_conv,
                                .cost = cost_conv,
                                .batch = ifd_batch_first},
                               {.name = "ConvTranspose",
                                .since = 1,
                                .infer = infer_conv_transpose,
                                .eval = eval_conv_transpose,
                                .cost = cost_conv_transpose,
                                .batch = ifd_batch_first},
                               {.name = "ConvInteger",
                                .since = 10,
                                .infer = infer_conv_integer,
                                .eval = eval_conv_integer,
                                .cost = cost_conv},
                               {.name = "QLinearConv",
                                .since = 10,
                                .infer = infer_qlinear_conv,
                                .eval = eval_qlinear_conv,
                                .cost = cost_qlinear_conv,
                                .batch = ifd_batch_first},
                               {.name = "CausalConvWithState",
                                .since = 27,
                                .infer = infer_causal_conv,
                                .eval = eval_causal_conv,
                                .cost = cost_causal_conv},
                               {0}};
