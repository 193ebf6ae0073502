/* Resize and Upsample (ops/shared/resizing.h has what they mean): `nearest` copies elements of any type,
 * linear and cubic go axis by axis, the reference in double, kernels in float. */
#include <math.h>
#include <string.h>

#include "ops/shared/batch.h"
#include "ops/shared/move.h"
#include "ops/shared/picks.h"
#include "ops/shared/resizing.h"
#include "ops/shared/rows.h"
#include "ops/shared/values.h"
#include "tensor/convert.h"

/* ---- nearest: elements of any type ---- */

/* Elements below dimension `d` of the output at `to`, from the input at `from`. */
typedef struct copy {
  const ifd_resize *r;
  const ifd_resize_table *tables;
  const ifd_shape *out;
  const char *fill; /* one element: extrapolation_value */
  int64_t in_stride[IFD_MAX_RANK], out_stride[IFD_MAX_RANK];
  size_t size;
} copy;

static void fill_elements(char *to, const char *element, size_t size, int64_t n) {
  for (int64_t i = 0; i < n; i++) memcpy(to + (size_t)i * size, element, size);
}

static void copy_nearest(const copy *c, int d, char *to, const char *from) {
  if (d == c->r->rank) {
    memcpy(to, from, c->size);
    return;
  }
  int64_t step = c->out_stride[d] * (int64_t)c->size;
  for (int64_t i = 0; i < c->out->dim[d]; i++, to += step) {
    const ifd_resize_table *t = &c->tables[d];
    if (!t->n[i])
      fill_elements(to, c->fill, c->size, c->out_stride[d]);
    else
      copy_nearest(c, d + 1, to, from + t->index[i] * c->in_stride[d] * (int64_t)c->size);
  }
}

static ifd_status resize_nearest(ifd_eval *x, ifd_resize *r, const ifd_shape *shape) {
  const ifd_tensor *in = ifd_eval_in(x, 0);
  ifd_tensor *out, fill = {.dtype = in->dtype};
  ifd_resize_table tables[IFD_MAX_RANK];
  _Alignas(16) char element[16] = {0};
  copy c = {.r = r, .tables = tables, .out = shape, .fill = element, .size = ifd_dtype_size(in->dtype)};
  fill.data = element;
  if (in->dtype != IFD_STRING) ifd_tensor_set_f64(&fill, 0, r->extrapolation);
  for (int i = 0; i < r->rank; i++)
    TRY(ifd_resize_make_table(x->err, x->scratch, r, &r->axis[i], &tables[i]));
  ifd_shape_strides(&in->shape, c.in_stride);
  ifd_shape_strides(shape, c.out_stride);
  TRY(ifd_move_out(x, &out, 0, in->dtype, shape));
  if (ifd_shape_count(shape) > 0) copy_nearest(&c, 0, out->data, in->data);
  return IFD_OK;
}

/* ---- linear and cubic ---- */

static void add_two_f64(const double weight[2], const double *a, const double *b, double *restrict y,
                        int64_t n) {
  for (int64_t j = 0; j < n; j++) y[j] = 0 + weight[0] * a[j] + weight[1] * b[j];
}

/* Along one axis: v is [outer, a->in, inner], the result [outer, a->out, inner]. */
static ifd_status interpolate_axis(ifd_eval *x, const ifd_resize *r, const ifd_resize_axis *a, int64_t outer,
                                   int64_t inner, const double *v, double **result) {
  ifd_resize_table t;
  double *y;
  int64_t n;
  EXPECT(x->err, ifd_mul_i64(&n, outer, a->out) && ifd_mul_i64(&n, n, inner), LIMIT, "too many elements");
  TRY(ifd_resize_make_table(x->err, x->scratch, r, a, &t));
  TRY(ifd_eval_zeros(x, &y, n));
  *result = y;
  for (int64_t o = 0; o < outer; o++, v += a->in * inner)
    for (int64_t i = 0; i < a->out; i++, y += inner) {
      const int64_t *index = t.index + t.first[i];
      const double *weight = t.weight + t.first[i];
      if (t.n[i] == 2) {
        add_two_f64(weight, v + index[0] * inner, v + index[1] * inner, y, inner);
        continue;
      }
      for (int k = 0; k < t.n[i]; k++)
        for (int64_t j = 0; j < inner; j++) y[j] += weight[k] * v[index[k] * inner + j];
      for (int64_t j = 0; j < inner && !t.n[i]; j++) y[j] = r->extrapolation;
    }
  return IFD_OK;
}

/* The nearest integers as elements. Adding 1.5 * 2^52 rounds what is smaller; C's function takes longer. */
static ifd_status put_rounded(ifd_eval *x, ifd_dtype dtype, const ifd_shape *shape, const double *v) {
  enum { CHUNK = 256 };
  ifd_tensor *out;
  TRY(ifd_eval_out(x, &out, 0, dtype, shape));
  for (int64_t i = 0, n = ifd_shape_count(shape), some; i < n; i += some) {
    double whole[CHUNK];
    some = ifd_min_i64(CHUNK, n - i);
    for (int64_t k = 0; k < some; k++)
      whole[k] = fabs(v[i + k]) < 0x1p51 ? v[i + k] + 0x1.8p52 - 0x1.8p52 : nearbyint(v[i + k]);
    ifd_store_f64(out->dtype, (char *)out->data + (size_t)i * ifd_dtype_size(out->dtype), whole, some);
  }
  return IFD_OK;
}

static ifd_status resize_smooth(ifd_eval *x, ifd_resize *r, const ifd_shape *shape) {
  const double *v;
  double *y;
  ifd_shape now = *ifd_eval_shape(x, 0);
  TRY(ifd_eval_f64(x, &v, 0));
  for (int i = 0; i < r->rank; i++) {
    if (ifd_resize_is_identity(&r->axis[i])) continue;
    TRY(interpolate_axis(x, r, &r->axis[i], ifd_shape_span(&now, 0, i), ifd_shape_span(&now, i + 1, r->rank),
                         v, &y));
    now.dim[i] = r->axis[i].out;
    v = y;
  }
  ifd_dtype dtype = ifd_eval_dtype(x, 0);
  if (ifd_dtype_is_float(dtype)) return ifd_eval_put_f64(x, 0, dtype, shape, v);
  return put_rounded(x, dtype, shape, v);
}

/* ---- what each version says ---- */

enum { X, ROI, SCALES, SIZES, N_INPUTS };

/* A settler reads everything but the elements of X: attributes, and inputs, NULL where absent. */
typedef ifd_status settler(ifd_error *err, const ifd_node *node, const ifd_tensor *const *in, ifd_resize *r);

/* n numbers of a tensor. */
static ifd_status read_numbers(ifd_error *err, const ifd_tensor *t, int n, const char *name, double *out) {
  EXPECT(err, ifd_tensor_count(t) == n, BAD_INPUT, "%s has %lld elements; %d are needed", name,
         (long long)ifd_tensor_count(t), n);
  for (int i = 0; i < n; i++) out[i] = ifd_tensor_get_f64(t, i);
  return IFD_OK;
}

static bool given(const ifd_tensor *t) { return t && ifd_tensor_count(t) > 0; }

static ifd_status read_roi(ifd_error *err, const ifd_tensor *roi, ifd_resize *r, int n, const int *axes) {
  double v[2 * IFD_MAX_RANK];
  if (r->coordinates != IFD_RESIZE_TF_CROP_AND_RESIZE) return IFD_OK;
  EXPECT(err, given(roi), BAD_INPUT, "roi is missing");
  TRY(read_numbers(err, roi, 2 * n, "roi", v));
  for (int i = 0; i < n; i++) {
    r->axis[axes[i]].start = v[i];
    r->axis[axes[i]].end = v[n + i];
  }
  return IFD_OK;
}

static ifd_status settle_resize_11(ifd_error *err, const ifd_node *node, const ifd_tensor *const *in,
                                   ifd_resize *r) {
  int n, axes[IFD_MAX_RANK];
  double scales[IFD_MAX_RANK];
  int64_t sizes[IFD_MAX_RANK];
  TRY(ifd_resize_read(err, node, r));
  TRY(ifd_resize_read_axes(err, node, in[X]->shape.rank, &n, axes));
  ifd_resize_start(r, &in[X]->shape);
  EXPECT(err, given(in[SCALES]) != given(in[SIZES]), BAD_INPUT,
         "not exactly one of scales and sizes is given");
  if (given(in[SCALES])) {
    TRY(read_numbers(err, in[SCALES], n, "scales", scales));
    TRY(ifd_resize_by_scales(err, r, n, axes, scales));
  } else {
    TRY(read_numbers(err, in[SIZES], n, "sizes", scales));
    for (int i = 0; i < n; i++) sizes[i] = ifd_tensor_get_i64(in[SIZES], i);
    TRY(ifd_resize_by_sizes(err, node, r, n, axes, sizes));
  }
  return read_roi(err, in[ROI], r, n, axes);
}

/* Resize 10 and Upsample: scales for all axes, coordinates that start together. */
static ifd_status settle_scaled(ifd_error *err, const ifd_node *node, const ifd_shape *s,
                                const double *scales, int n, ifd_resize_rounding rounding, ifd_resize *r) {
  int axes[IFD_MAX_RANK];
  *r = (ifd_resize){.coordinates = IFD_RESIZE_ASYMMETRIC, .rounding = rounding, .cubic = -.75};
  TRY(ifd_resize_read_mode(err, node, r));
  EXPECT(err, n == s->rank, BAD_INPUT, "%d scales for an input of rank %d", n, s->rank);
  for (int i = 0; i < n; i++) axes[i] = i;
  ifd_resize_start(r, s);
  return ifd_resize_by_scales(err, r, n, axes, scales);
}

static ifd_status settle_scales_input(ifd_error *err, const ifd_node *node, const ifd_tensor *const *in,
                                      ifd_resize_rounding rounding, ifd_resize *r) {
  double scales[IFD_MAX_RANK];
  TRY(read_numbers(err, in[1], in[X]->shape.rank, "scales", scales));
  return settle_scaled(err, node, &in[X]->shape, scales, in[X]->shape.rank, rounding, r);
}

/* Opset 10 leaves open what is nearest; its own test cases round down when enlarging, up when reducing. */
static ifd_status settle_resize_10(ifd_error *err, const ifd_node *node, const ifd_tensor *const *in,
                                   ifd_resize *r) {
  return settle_scales_input(err, node, in, IFD_RESIZE_FLOOR_UP_CEIL_DOWN, r);
}
static ifd_status settle_upsample_9(ifd_error *err, const ifd_node *node, const ifd_tensor *const *in,
                                    ifd_resize *r) {
  return settle_scales_input(err, node, in, IFD_RESIZE_FLOOR, r);
}

/* Scales from attributes: of all axes (opset 7), or of height and width (opset 1). Returns how many. */
static int scales_7(const ifd_node *node, double *scales) {
  const float *v;
  int n = ifd_node_floats(node, "scales", &v);
  for (int i = 0; i < n && i < IFD_MAX_RANK; i++) scales[i] = v[i];
  return n;
}
static int scales_1(const ifd_node *node, double *scales) {
  scales[0] = scales[1] = 1;
  scales[2] = ifd_node_float(node, "height_scale", 1);
  scales[3] = ifd_node_float(node, "width_scale", 1);
  return 4;
}
static ifd_status settle_upsample_7(ifd_error *err, const ifd_node *node, const ifd_tensor *const *in,
                                    ifd_resize *r) {
  double scales[IFD_MAX_RANK];
  int n = scales_7(node, scales);
  return settle_scaled(err, node, &in[X]->shape, scales, n, IFD_RESIZE_FLOOR, r);
}
static ifd_status settle_upsample_1(ifd_error *err, const ifd_node *node, const ifd_tensor *const *in,
                                    ifd_resize *r) {
  double scales[IFD_MAX_RANK];
  int n = scales_1(node, scales);
  return settle_scaled(err, node, &in[X]->shape, scales, n, IFD_RESIZE_FLOOR, r);
}

static ifd_status eval(ifd_eval *x, settler *settle) {
  const ifd_tensor *in[N_INPUTS];
  ifd_shape shape;
  ifd_resize r;
  for (int i = 0; i < N_INPUTS; i++) in[i] = ifd_eval_has(x, i) ? ifd_eval_in(x, i) : NULL;
  TRY(settle(x->err, x->node, in, &r));
  TRY(ifd_resize_check(x->err, &r, &shape));
  return r.mode == IFD_RESIZE_NEAREST ? resize_nearest(x, &r, &shape) : resize_smooth(x, &r, &shape);
}

/* ---- on kernels ---- */

/* One axis of interpolation: taps in float, every position with as many. in is [outer, n_in, inner]. */
typedef struct smooth_params {
  int64_t n_in, n_out, inner;
  int taps;
  const int64_t *index;
  const float *weight;
  bool from_shared, to_shared;
  int64_t from, to; /* in shared memory, in floats */
  ifd_rows rows;    /* outer * n_out rows of inner elements; where inner is 1, outer rows */
} smooth_params;

/* Sums of some rows, tap by tap; n is a constant where rows are blocks of channels. */
static inline void add_two(const float *weight, const float *restrict a, const float *restrict b,
                           float *restrict out, int64_t n) {
  for (int64_t j = 0; j < n; j++) out[j] = weight[0] * a[j] + weight[1] * b[j];
}
static void add_four(const float *weight, const float *const x[4], float *restrict out, int64_t n) {
  const float *restrict a = x[0], *restrict b = x[1], *restrict c = x[2], *restrict d = x[3];
  for (int64_t j = 0; j < n; j++)
    out[j] = weight[0] * a[j] + weight[1] * b[j] + weight[2] * c[j] + weight[3] * d[j];
}

static void smooth_row(const smooth_params *p, int64_t i, const float *in, float *out) {
  const int64_t *index = p->index + i * p->taps;
  const float *weight = p->weight + i * p->taps;
  int k = 0;
  if (p->taps == 2 && p->inner == 16) {
    add_two(weight, in + index[0] * 16, in + index[1] * 16, out, 16);
    return;
  }
  if (p->taps >= 4) {
    const float *rows[4];
    for (; k < 4; k++) rows[k] = in + index[k] * p->inner;
    add_four(weight, rows, out, p->inner);
  } else if (p->taps >= 2) {
    add_two(weight, in + index[0] * p->inner, in + index[1] * p->inner, out, p->inner);
    k = 2;
  } else {
    for (int64_t j = 0; j < p->inner; j++) out[j] = weight[0] * in[index[0] * p->inner + j];
    k = 1;
  }
  for (; k < p->taps; k++)
    for (int64_t j = 0; j < p->inner; j++) out[j] += weight[k] * in[index[k] * p->inner + j];
}

/* A row along the last axis: as in smooth_row, element by element. */
static inline void smooth_last(const smooth_params *p, const int taps, const float *in, float *out) {
  const int64_t *index = p->index;
  const float *weight = p->weight;
  for (int64_t i = 0; i < p->n_out; i++, index += taps, weight += taps) {
    float sum = weight[0] * in[index[0]];
    for (int k = 1; k < taps; k++) sum += weight[k] * in[index[k]];
    out[i] = sum;
  }
}

/* The most common numbers of taps are constants. */
static void smooth_last_row(const smooth_params *p, const float *in, float *out) {
  switch (p->taps) {
  case 1: smooth_last(p, 1, in, out); break;
  case 2: smooth_last(p, 2, in, out); break;
  case 4: smooth_last(p, 4, in, out); break;
  default: smooth_last(p, p->taps, in, out);
  }
}

static void run_smooth(const void *params, const ifd_args *args, int task) {
  const smooth_params *p = params;
  const float *in = p->from_shared ? (const float *)args->shared + p->from : args->in[X];
  float *out = p->to_shared ? (float *)args->shared + p->to : args->out[0];
  int64_t from, to;
  ifd_rows_of(&p->rows, task, &from, &to);
  if (p->inner == 1) {
    for (int64_t r = from; r < to; r++) smooth_last_row(p, in + r * p->n_in, out + r * p->n_out);
    return;
  }
  for (int64_t r = from, end; r < to; r = end) {
    int64_t outer = r / p->n_out, first = outer * p->n_out;
    end = ifd_min_i64(to, first + p->n_out);
    for (int64_t i = r; i < end; i++)
      smooth_row(p, i - first, in + outer * p->n_in * p->inner, out + i * p->inner);
  }
}

/* The table with the same number of taps everywhere (weight 0 where there were fewer), in float. */
static ifd_status even_table(ifd_lower *x, const ifd_resize *r, const ifd_resize_axis *a, smooth_params *p) {
  ifd_resize_table t;
  int64_t *index;
  float *weight;
  TRY(ifd_resize_make_table(x->err, x->arena, r, a, &t));
  p->taps = 1;
  for (int64_t i = 0; i < a->out; i++)
    if (t.n[i] > p->taps) p->taps = t.n[i];
  ALLOC(x->err, index, ifd_new_array(x->arena, int64_t, a->out * p->taps));
  ALLOC(x->err, weight, ifd_new_array(x->arena, float, a->out * p->taps));
  for (int64_t i = 0; i < a->out; i++)
    for (int k = 0; k < p->taps; k++) {
      int64_t tap = t.first[i] + (k < t.n[i] ? k : 0);
      index[i * p->taps + k] = t.index[tap];
      weight[i * p->taps + k] = k < t.n[i] ? (float)t.weight[tap] : 0;
    }
  p->index = index;
  p->weight = weight;
  return IFD_OK;
}

static ifd_status lower_smooth(ifd_lower *x, const ifd_resize *r, const int *axes, int n) {
  ifd_shape now = x->in[X]->shape;
  int64_t at = 0;
  for (int k = 0; k < n; k++) {
    const ifd_resize_axis *a = &r->axis[axes[k]];
    smooth_params p = {.n_in = a->in,
                       .n_out = a->out,
                       .inner = ifd_shape_span(&now, axes[k] + 1, now.rank),
                       .from_shared = k > 0,
                       .from = at,
                       .to_shared = k < n - 1};
    int64_t outer = ifd_shape_span(&now, 0, axes[k]);
    if (k > 0) at += ifd_shape_count(&now);
    p.to = at;
    TRY(even_table(x, r, a, &p));
    p.rows = p.inner > 1 ? ifd_rows_split(outer * a->out, (double)(p.inner * p.taps))
                         : ifd_rows_split(outer, (double)(a->out * p.taps));
    TRY(ifd_lower_rows(x, run_smooth, &p, sizeof p, &p.rows));
    now.dim[axes[k]] = a->out;
    if (p.to_shared) x->work->shared = sizeof(float) * (size_t)(at + ifd_shape_count(&now));
  }
  x->work->algorithm = "separable";
  return IFD_OK;
}

static ifd_status lower_nearest(ifd_lower *x, const ifd_resize *r) {
  const int64_t *index[IFD_MAX_RANK];
  for (int i = 0; i < r->rank; i++) {
    ifd_resize_table t;
    TRY(ifd_resize_make_table(x->err, x->arena, r, &r->axis[i], &t));
    index[i] = t.index;
  }
  TRY(ifd_lower_picks(x, &x->in[X]->shape, ifd_dtype_size(x->in[X]->dtype), index, NULL));
  x->work->algorithm = "nearest";
  return IFD_OK;
}

/* Declines what depends on data not yet known, extrapolates, or changes more axes than a work has
 * launches. */
static ifd_status lower(ifd_lower *x, settler *settle) {
  const ifd_tensor *in[N_INPUTS];
  ifd_shape shape;
  ifd_resize r;
  int n = 0, axes[IFD_MAX_RANK];
  for (int i = 0; i < N_INPUTS; i++) {
    in[i] = i < x->node->n_inputs ? x->in[i] : NULL;
    if (i != X && in[i] && ifd_tensor_count(in[i]) && !in[i]->data) return IFD_OK;
  }
  TRY(settle(x->err, x->node, in, &r));
  TRY(ifd_resize_check(x->err, &r, &shape));
  if (!ifd_shape_equal(&shape, &x->out[0]->shape) || ifd_shape_count(&shape) == 0 || r.rank == 0)
    return IFD_OK;
  if (r.coordinates == IFD_RESIZE_TF_CROP_AND_RESIZE || x->in[X]->dtype == IFD_STRING) return IFD_OK;
  for (int i = 0; i < r.rank; i++)
    if (!ifd_resize_is_identity(&r.axis[i])) axes[n++] = i;
  if (r.mode == IFD_RESIZE_NEAREST) return lower_nearest(x, &r);
  if (x->in[X]->dtype != IFD_FLOAT || n == 0 || n > IFD_MAX_LAUNCHES) return IFD_OK;
  return lower_smooth(x, &r, axes, n);
}

/* ---- inference ---- */

/* floor(d * scale), where that is known: whole scales and whole fractions of symbols. */
static ifd_status scaled_dim(ifd_infer *x, ifd_dim d, double scale, ifd_dim *out) {
  EXPECT(x->err, scale > 0 && scale < INT32_MAX, BAD_MODEL, "a scale of %g", scale);
  double inverse = rint(1 / scale);
  if (ifd_dim_is_number(d)) return ifd_resize_length(x->err, d, scale, out);
  if (scale == rint(scale))
    *out = ifd_dim_mul(x->dims, d, (int64_t)scale);
  else if (scale * inverse == 1 && inverse < INT32_MAX)
    *out = ifd_dim_floor_div(x->dims, d, (int64_t)inverse);
  else
    *out = ifd_dim_unknown(x->dims);
  return IFD_OK;
}

/* Output 0 with the dimensions of input 0, those of `axes` scaled; scales NULL: not known. */
static ifd_status infer_scaled(ifd_infer *x, const double *scales, int n, const int *axes) {
  int rank = ifd_infer_rank(x, 0);
  ifd_dim out[IFD_MAX_RANK];
  for (int i = 0; i < rank; i++) out[i] = ifd_infer_dim(x, 0, i);
  for (int i = 0; i < n; i++) {
    ifd_dim *d = &out[axes[i]];
    if (scales)
      TRY(scaled_dim(x, *d, scales[i], d));
    else
      *d = ifd_dim_unknown(x->dims);
  }
  return ifd_infer_tensor(x, 0, ifd_infer_dtype(x, 0), rank, out);
}

/* Sizes that are known, stretched or of one scale; unknown dimensions where symbols do not tell. */
static ifd_status infer_sizes(ifd_infer *x, const ifd_elements *sizes, int n, const int *axes) {
  int rank = ifd_infer_rank(x, 0);
  bool stretch = ifd_node_string_is(x->node, "keep_aspect_ratio_policy", "stretch", "stretch"),
       numbers = true;
  ifd_dim out[IFD_MAX_RANK];
  ifd_shape in = {.rank = rank};
  ifd_resize r = {0};
  for (int i = 0; i < rank; i++) {
    out[i] = in.dim[i] = ifd_infer_dim(x, 0, i);
    numbers &= ifd_dim_is_number(out[i]);
  }
  for (int i = 0; i < n; i++) numbers &= ifd_dim_is_number(sizes->d[i]);
  if (numbers && !stretch) {
    ifd_resize_start(&r, &in);
    TRY(ifd_resize_by_sizes(x->err, x->node, &r, n, axes, sizes->d));
  }
  for (int i = 0; i < n; i++)
    out[axes[i]] = stretch ? sizes->d[i] : numbers ? r.axis[axes[i]].out : ifd_dim_unknown(x->dims);
  return ifd_infer_tensor(x, 0, ifd_infer_dtype(x, 0), rank, out);
}

/* Constant scales in input i as doubles: how many, 0 when not known, negative when not as many as axes. */
static int constant_scales(ifd_infer *x, int i, int n, double *scales) {
  const ifd_tensor *t = i < x->node->n_inputs ? x->constant[i] : NULL;
  int64_t count = t ? ifd_tensor_count(t) : 0;
  if (count == 0) return 0;
  if (count != n) return -1;
  for (int k = 0; k < n; k++) scales[k] = ifd_tensor_get_f64(t, k);
  return n;
}

static ifd_status infer_resize(ifd_infer *x) {
  int rank = ifd_infer_rank(x, 0), n, axes[IFD_MAX_RANK];
  double scales[IFD_MAX_RANK];
  if (rank < 0 || rank > IFD_MAX_RANK) return ifd_infer_unranked(x, 0, ifd_infer_dtype(x, 0));
  TRY(ifd_resize_read_axes(x->err, x->node, rank, &n, axes));
  const ifd_elements *sizes = SIZES < x->node->n_inputs ? x->elements[SIZES] : NULL;
  if (sizes && sizes->n == n && n > 0) return infer_sizes(x, sizes, n, axes);
  int known = constant_scales(x, SCALES, n, scales);
  EXPECT(x->err, known >= 0, BAD_MODEL, "scales has not %d elements", n);
  return infer_scaled(x, known ? scales : NULL, n, axes);
}

static ifd_status infer_all_scaled(ifd_infer *x, const double *scales, int n) {
  int rank = ifd_infer_rank(x, 0), axes[IFD_MAX_RANK];
  EXPECT(x->err, !scales || n == rank, BAD_MODEL, "%d scales for an input of rank %d", n, rank);
  for (int i = 0; i < rank; i++) axes[i] = i;
  return infer_scaled(x, scales, rank, axes);
}
static bool unranked(ifd_infer *x) { return ifd_infer_rank(x, 0) < 0 || ifd_infer_rank(x, 0) > IFD_MAX_RANK; }

/* Scales are input 1 (Resize 10, Upsample 9). */
static ifd_status infer_scales_input(ifd_infer *x) {
  double scales[IFD_MAX_RANK];
  if (unranked(x)) return ifd_infer_unranked(x, 0, ifd_infer_dtype(x, 0));
  int rank = ifd_infer_rank(x, 0), known = constant_scales(x, 1, rank, scales);
  EXPECT(x->err, known >= 0, BAD_MODEL, "scales has not %d elements", rank);
  return infer_all_scaled(x, known ? scales : NULL, rank);
}
static ifd_status infer_upsample_7(ifd_infer *x) {
  double scales[IFD_MAX_RANK];
  if (unranked(x)) return ifd_infer_unranked(x, 0, ifd_infer_dtype(x, 0));
  return infer_all_scaled(x, scales, scales_7(x->node, scales));
}
static ifd_status infer_upsample_1(ifd_infer *x) {
  double scales[IFD_MAX_RANK];
  if (unranked(x)) return ifd_infer_unranked(x, 0, ifd_infer_dtype(x, 0));
  return infer_all_scaled(x, scales, scales_1(x->node, scales));
}

#define VERSION(name)                                                                                        \
  static ifd_status eval_##name(ifd_eval *x) { return eval(x, settle_##name); }                              \
  static ifd_status lower_##name(ifd_lower *x) { return lower(x, settle_##name); }
VERSION(resize_10)
VERSION(resize_11)
VERSION(upsample_1)
VERSION(upsample_7)
VERSION(upsample_9)

/* Other scales of the first axis may leave its length as it was, and still mix samples. */
static const char *batch_scales(const ifd_batch *b, int i) {
  const int64_t *axes;
  const ifd_tensor *scales = ifd_batch_in(b, i);
  if (ifd_node_string_is(b->node, "coordinate_transformation_mode", "", "tf_crop_and_resize")) return NULL;
  if (ifd_node_ints(b->node, "axes", &axes)) return ifd_batch_axes_are_inner(b, i) ? "pw" : NULL;
  if (!scales || !scales->data || ifd_tensor_count(scales) != ifd_batch_rank(b, 0)) return NULL;
  return ifd_tensor_get_f64(scales, 0) == 1 ? "pw" : NULL;
}
static const char *batch_scales_1(const ifd_batch *b) { return batch_scales(b, 1); }
static const char *batch_scales_2(const ifd_batch *b) { return batch_scales(b, 2); }
static const char *batch_upsample_7(const ifd_batch *b) {
  const float *scales;
  return ifd_node_floats(b->node, "scales", &scales) && scales[0] == 1 ? "p" : NULL;
}

#define ROW(name_, since_, infer_, version, batch_)                                                          \
  {                                                                                                          \
    .name = name_, .since = since_, .infer = infer_, .eval = eval_##version, .lower = lower_##version,       \
    .batch = batch_                                                                                          \
  }
const ifd_op ifd_ops_resize[] = {ROW("Resize", 10, infer_scales_input, resize_10, batch_scales_1),
                                 ROW("Resize", 11, infer_resize, resize_11, batch_scales_2),
                                 ROW("Upsample", 1, infer_upsample_1, upsample_1, ifd_batch_each),
                                 ROW("Upsample", 7, infer_upsample_7, upsample_7, batch_upsample_7),
                                 ROW("Upsample", 9, infer_scales_input, upsample_9, batch_scales_1),
                                 {0}};
