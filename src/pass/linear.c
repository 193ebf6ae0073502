#include "pass/linear.h"

#include "ops/shared/values.h"

#include <math.h>
#include <string.h>

/* ---- recognizing ---- */

static bool all_equal(const int64_t *v, int n, int64_t x) {
  for (int i = 0; i < n; i++)
    if (v[i] != x) return false;
  return true;
}

static bool reads_padding(const ifd_node *conv) {
  const int64_t *pads;
  int n = ifd_node_ints(conv, "pads", &pads);
  if (ifd_node_string_is(conv, "auto_pad", "NOTSET", "VALID")) return false;
  return !ifd_node_string_is(conv, "auto_pad", "NOTSET", "NOTSET") || !all_equal(pads, n, 0);
}

static bool conv_of(ifd_node *node, ifd_linear *l) {
  bool transposed = ifd_node_is(node, "ConvTranspose");
  const ifd_tensor *w = l->weight;
  if (w->shape.rank < 3) return false;
  int64_t groups = ifd_node_int(node, "group", 1);
  l->d0 = w->shape.dim[0];
  l->d1 = w->shape.dim[1];
  l->inner = ifd_shape_span(&w->shape, 2, w->shape.rank);
  if (groups < 1 || l->d0 % groups) return false;
  ifd_channels by_first = {true, 1, l->d0}, by_second = {false, groups, l->d1 * groups};
  l->out = transposed ? by_second : by_first;
  l->in = transposed ? by_first : by_second;
  l->axis_in = l->axis_out = 1;
  l->has_bias_input = true;
  l->pads = transposed || reads_padding(node); /* a transposed one also reaches past its input */
  return true;
}

static bool product_of(ifd_rewrite *rw, ifd_node *node, ifd_linear *l) {
  bool gemm = ifd_node_is(node, "Gemm"), transposed = gemm && ifd_node_int(node, "transB", 0);
  const ifd_tensor *w = l->weight;
  int rank = ifd_rw_rank(rw, node->inputs[0]);
  if (w->shape.rank != 2 || rank < 2) return false;
  l->d0 = w->shape.dim[0];
  l->d1 = w->shape.dim[1];
  l->inner = 1;
  ifd_channels by_first = {true, 1, l->d0}, by_second = {false, 1, l->d1};
  l->out = transposed ? by_first : by_second;
  l->in = transposed ? by_second : by_first;
  l->axis_out = rank - 1;
  l->axis_in = gemm && ifd_node_int(node, "transA", 0) ? 0 : rank - 1;
  l->has_bias_input = gemm;
  if (gemm) {
    l->alpha = ifd_node_float(node, "alpha", 1);
    l->beta = ifd_node_float(node, "beta", 1);
  }
  return true;
}

/* A bias counts when it is one number for each output channel. */
static bool find_bias(ifd_rewrite *rw, ifd_linear *l, const char **why) {
  if (!l->has_bias_input || !ifd_node_has_input(l->node, 2)) return true;
  const ifd_tensor *b = l->bias = ifd_rw_constant(rw, l->node->inputs[2]);
  if (!b) return *why = "the bias is not constant", false;
  int64_t n = ifd_tensor_count(b);
  bool last = b->shape.rank == 0 || b->shape.dim[b->shape.rank - 1] == n;
  if ((n == 1 || n == l->out.n) && last) return true;
  return *why = "the bias differs along another axis than the channels", false;
}

bool ifd_linear_of(ifd_rewrite *rw, ifd_node *node, ifd_linear *out, const char **why) {
  bool conv = ifd_node_is(node, "Conv") || ifd_node_is(node, "ConvTranspose");
  bool product = (ifd_node_is(node, "Gemm") && node->opset >= 7) || ifd_node_is(node, "MatMul");
  *why = NULL;
  if (!conv && !product) return false;
  *out = (ifd_linear){
      .node = node, .alpha = 1, .beta = 1, .weight = ifd_rw_constant(rw, ifd_node_input(node, 1))};
  if (!out->weight) return *why = "the weights are not constant", false;
  if (!ifd_dtype_is_float(out->weight->dtype) || ifd_dtypes[out->weight->dtype].bits < 8)
    return *why = "the weights are not of a plain float type", false;
  if (!ifd_tensor_count(out->weight)) return *why = "there are no weights", false;
  if (!(conv ? conv_of(node, out) : product_of(rw, node, out)))
    return *why = "the weights do not have the expected shape", false;
  return find_bias(rw, out, why);
}

/* ---- arithmetic on weights ---- */

static int64_t channel(const ifd_linear *l, const ifd_channels *c, int64_t i0, int64_t i1) {
  return c->first ? i0 : i0 / (l->d0 / c->groups) * l->d1 + i1;
}

static bool one_number(const double *v, int64_t n) {
  for (int64_t i = 1; i < n; i++)
    if (v[i] != v[0]) return false;
  return true;
}

#define COUNT_INFINITE(type, exponent)                                                                       \
  for (int64_t i = 0; i < n; i++) count += (((const type *)v)[i] & (exponent)) == (exponent)

/* Whether one of some hundreds or thousands of elements is infinite or no number. */
static bool any_infinite(ifd_dtype dtype, const void *v, int64_t n) {
  int count = 0;
  if (dtype == IFD_FLOAT) COUNT_INFINITE(uint32_t, 0x7f800000u);
  if (dtype == IFD_FLOAT16) COUNT_INFINITE(uint16_t, 0x7c00);
  if (dtype == IFD_BFLOAT16) COUNT_INFINITE(uint16_t, 0x7f80);
  return count != 0;
}

static float float_at(const char *p, int64_t i) {
  float x;
  memcpy(&x, p + (size_t)i * sizeof x, sizeof x);
  return x;
}

/* n floats, wherever they lie in a file, times one number, or each times its own. */
static void scale_floats(void *out, const char *from, int64_t n, double s) {
  float *to = out;
  for (int64_t i = 0; i < n; i++) to[i] = (float)(float_at(from, i) * s);
}

static void scale_each_float(void *out, const char *from, int64_t n, const double *s) {
  float *to = out;
  for (int64_t i = 0; i < n; i++) to[i] = (float)(float_at(from, i) * s[i]);
}

/* Row i0 of a weight, [d1, inner], times the scale of each channel; `row` has room for it. */
static void write_row(ifd_tensor *t, const ifd_linear *l, const ifd_channels *channels, int64_t i0,
                      const double *scale, int64_t n_scale, double *row) {
  const ifd_tensor *w = l->weight;
  int64_t d1 = t->shape.dim[1], n = ifd_tensor_count(t) / t->shape.dim[0], inner = n / d1;
  const double *s = n_scale == 1 ? scale : scale + channel(l, channels, i0, 0);
  size_t at = (size_t)(i0 * n) * sizeof(float);
  bool one = channels->first || n_scale == 1, floats = w->dtype == IFD_FLOAT && !w->splat;
  if (floats && one) {
    scale_floats((char *)t->data + at, (const char *)w->data + at, n, *s);
  } else if (floats && inner == 1) {
    scale_each_float((char *)t->data + at, (const char *)w->data + at, n, s);
  } else {
    ifd_tensor_get_f64s(w, i0 * n, row, n);
    for (int64_t i1 = 0; i1 < d1; i1++)
      for (int64_t k = 0; k < inner; k++) row[i1 * inner + k] *= s[one ? 0 : i1];
    ifd_tensor_set_f64s(t, i0 * n, row, n);
  }
}

/* The weight, seen as [d0, d1, inner] with the parts of it that *t has, times the scale of each channel;
 * false when a product is more than the type can hold. */
static ifd_status scale_rows(ifd_rewrite *rw, ifd_tensor *t, const ifd_linear *l,
                             const ifd_channels *channels, const double *scale, int64_t n_scale, bool *fits) {
  int64_t d0 = t->shape.dim[0], n = ifd_tensor_count(t) / d0;
  size_t bytes = (size_t)n * ifd_dtype_size(t->dtype);
  double *row;
  ALLOC(ifd_rw_error(rw), row, ifd_new_array(ifd_rw_scratch(rw), double, n));
  for (int64_t i0 = 0; i0 < d0 && *fits; i0++) {
    write_row(t, l, channels, i0, scale, n_scale, row);
    *fits = !any_infinite(t->dtype, (const char *)t->data + (size_t)i0 * bytes, n);
  }
  return IFD_OK;
}

/* The least that a splat times the scales varies over: [n, 1, …], [1, n, 1, …], or, grouped, both. */
static ifd_shape channel_shape(const ifd_linear *l, const ifd_channels *channels) {
  ifd_shape shape = l->weight->shape;
  for (int i = 0; i < shape.rank; i++) shape.dim[i] = 1;
  if (channels->first || channels->groups > 1) shape.dim[0] = l->d0;
  if (!channels->first) shape.dim[1] = l->d1;
  return shape;
}

static ifd_status add_expand(ifd_rewrite *rw, ifd_value **out, const ifd_tensor *t, const ifd_linear *l) {
  ifd_value *inputs[2];
  ifd_node *expand;
  const ifd_shape *shape = &l->weight->shape;
  TRY(ifd_rw_add_constant(rw, &inputs[0], t, l->node->inputs[1]->name));
  TRY(ifd_rw_add_ints(rw, &inputs[1], shape->dim, shape->rank, "shape"));
  TRY(ifd_rw_add_node(rw, &expand, "Expand", inputs, 2, 1));
  *out = expand->outputs[0];
  return IFD_OK;
}

ifd_status ifd_linear_scale(ifd_rewrite *rw, ifd_value **out, const ifd_linear *l,
                            const ifd_channels *channels, const double *scale, int64_t n_scale) {
  const ifd_tensor *w = l->weight;
  ifd_tensor t;
  bool splat = w->splat && one_number(scale, n_scale), fits = true;
  bool expands = w->splat && !splat && l->node->opset >= 8 &&
                 !ifd_rw_may_grow(rw, (int64_t)ifd_packed_bytes(w->dtype, ifd_tensor_count(w)));
  ifd_shape one = {1, {1}}, shape = splat ? one : expands ? channel_shape(l, channels) : w->shape;
  TRY(ifd_tensor_new_raw(ifd_rw_error(rw), &t, ifd_rw_arena(rw), w->dtype, &shape));
  if (splat) {
    ifd_tensor_set_f64(&t, 0, ifd_tensor_get_f64(w, 0) * scale[0]);
    fits = !any_infinite(t.dtype, t.data, 1);
    t.shape = w->shape;
    t.splat = true;
  } else {
    TRY(scale_rows(rw, &t, l, channels, scale, n_scale, &fits));
  }
  *out = NULL;
  if (!fits) return IFD_OK;
  return expands ? add_expand(rw, out, &t, l) : ifd_rw_add_constant(rw, out, &t, l->node->inputs[1]->name);
}

bool ifd_linear_fits(ifd_rewrite *rw, const ifd_linear *l, const ifd_value *weight, const double *bias) {
  bool fits = weight != NULL;
  ifd_dtype dtype = l->weight->dtype;
  for (int64_t c = 0; c < l->out.n; c++) fits &= !isfinite(bias[c]) || isfinite(ifd_round_to(dtype, bias[c]));
  if (!fits) (void)!ifd_rw_refuse(rw, "folded, it would be more than %s can hold", ifd_dtype_name(dtype));
  return fits;
}

ifd_status ifd_linear_shift(ifd_rewrite *rw, double **out, const ifd_linear *l, const double *shift,
                            int64_t n_shift) {
  ALLOC(ifd_rw_error(rw), *out, ifd_new_array(ifd_rw_scratch(rw), double, l->out.n));
  int64_t n = l->d1 * l->inner;
  double *row;
  ALLOC(ifd_rw_error(rw), row, ifd_new_array(ifd_rw_scratch(rw), double, n));
  for (int64_t i0 = 0; i0 < l->d0; i0++) {
    const double *s = n_shift == 1 ? shift : shift + channel(l, &l->in, i0, 0);
    double *to = *out + channel(l, &l->out, i0, 0);
    int in_step = n_shift > 1 && !l->in.first, out_step = !l->out.first;
    ifd_tensor_get_f64s(l->weight, i0 * n, row, n);
    for (int64_t i1 = 0; i1 < l->d1; i1++) {
      double sum = 0;
      for (int64_t k = 0; k < l->inner; k++) sum += row[i1 * l->inner + k];
      to[i1 * out_step] += sum * s[i1 * in_step] * l->alpha;
    }
  }
  return IFD_OK;
}

ifd_status ifd_linear_bias(ifd_rewrite *rw, double **out, const ifd_linear *l) {
  ALLOC(ifd_rw_error(rw), *out, ifd_new_array(ifd_rw_scratch(rw), double, l->out.n));
  int64_t n = l->bias ? ifd_tensor_count(l->bias) : 0;
  for (int64_t c = 0; n && c < l->out.n; c++)
    (*out)[c] = l->beta * ifd_tensor_get_f64(l->bias, n == 1 ? 0 : c);
  return IFD_OK;
}

/* ---- building ---- */

static bool all_zero(const double *v, int64_t n) {
  for (int64_t i = 0; i < n; i++)
    if (v[i] != 0) return false;
  return true;
}

ifd_status ifd_linear_rebuild(ifd_rewrite *rw, ifd_value **out, const ifd_linear *l, ifd_value *x,
                              ifd_value *weight, const double *bias) {
  const ifd_node *old = l->node;
  ifd_value *inputs[3] = {x, weight, NULL};
  ifd_dtype dtype = l->weight->dtype;
  const char *bias_hint = ifd_node_has_input(old, 2) ? old->inputs[2]->name : "bias";
  bool shifts = !all_zero(bias, l->out.n);
  ifd_node *node;
  if (shifts) TRY(ifd_affine_add_vector(rw, &inputs[2], dtype, bias, l->out.n, bias_hint));
  bool slot = l->has_bias_input && shifts;
  if (ifd_node_is(old, "Gemm") && old->opset < 11 && !inputs[2]) {
    double *zeros; /* C is required before version 11 */
    ALLOC(ifd_rw_error(rw), zeros, ifd_new_array(ifd_rw_scratch(rw), double, l->out.n));
    TRY(ifd_affine_add_vector(rw, &inputs[2], dtype, zeros, l->out.n, bias_hint));
    slot = true;
  }
  TRY(ifd_rw_add_like(rw, &node, old, inputs, slot ? 3 : 2));
  if (l->beta != 1) ifd_node_remove_attr(node, "beta");
  *out = node->outputs[0];
  if (l->has_bias_input || !shifts) return IFD_OK;
  TRY(ifd_rw_add_node(rw, &node, "Add", (ifd_value *[]){*out, inputs[2]}, 2, 1));
  if (old->opset < 7) TRY(ifd_node_set_int(ifd_rw_error(rw), node, "broadcast", 1));
  *out = node->outputs[0];
  return IFD_OK;
}

ifd_status ifd_linear_fold(ifd_rewrite *rw, ifd_value **out, const ifd_linear *l, const ifd_affine *f) {
  ifd_value *weight = l->node->inputs[1];
  double *bias;
  *out = NULL;
  TRY(ifd_linear_bias(rw, &bias, l));
  for (int64_t c = 0; c < l->out.n; c++)
    bias[c] = f->a[f->n == 1 ? 0 : c] * bias[c] + f->b[f->n == 1 ? 0 : c];
  if (f->scales) TRY(ifd_linear_scale(rw, &weight, l, &l->out, f->a, f->n));
  if (!ifd_linear_fits(rw, l, weight, bias)) return IFD_OK;
  return ifd_linear_rebuild(rw, out, l, l->node->inputs[0], weight, bias);
}
