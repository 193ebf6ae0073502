/* QuantizeLinear, DequantizeLinear, DynamicQuantizeLinear: per tensor, per axis and in blocks. */
#include <math.h>

#include "kernels/eltwise/eltwise.h"
#include "kernels/kernels.h"
#include "kernels/reduce/reduce.h"
#include "ops/shared/batch.h"
#include "ops/shared/eltwise_loop.h"
#include "ops/shared/quant_work.h"
#include "ops/shared/elementwise.h"
#include "ops/shared/rows.h"
#include "tensor/convert.h"

enum { CHUNK = 512 };

/* ---- which scale belongs to which element ---- */

/* x is seen as [outer, n, inner]; a row of `inner` elements has one scale, or one each where blocks lie along
 * the axis: scale [outer, n_blocks, inner]. Per tensor: one row of everything. */
typedef struct granularity {
  int64_t outer, n, inner;
  int64_t block;    /* elements of the axis that share a scale; n where all do */
  int64_t n_blocks; /* scales along the axis */
  bool blocked;     /* scales differ along inner and outer too */
} granularity;

static bool fits_blocks(const ifd_shape *x, const ifd_shape *scale, int axis, int64_t block) {
  bool fits = scale->rank == x->rank && block > 0;
  for (int d = 0; fits && d < x->rank; d++) {
    int64_t expected = d == axis ? x->dim[d] / block + (x->dim[d] % block != 0) : x->dim[d];
    fits = scale->dim[d] == expected;
  }
  return fits;
}

static ifd_status match_blocks(ifd_error *err, const ifd_shape *x, const ifd_shape *scale, int axis,
                               int64_t block, granularity *g) {
  char tx[256], ts[256];
  EXPECT(err, fits_blocks(x, scale, axis, block), BAD_INPUT,
         "scale %s does not fit input %s in blocks of %lld along axis %d",
         ifd_shape_text(scale, ts, sizeof ts), ifd_shape_text(x, tx, sizeof tx), (long long)block, axis);
  g->block = block;
  g->n_blocks = scale->dim[axis];
  g->blocked = true;
  return IFD_OK;
}

static ifd_status find_granularity(ifd_error *err, const ifd_node *node, const ifd_shape *x,
                                   const ifd_shape *scale, granularity *g) {
  int axis;
  int64_t block = ifd_node_int(node, "block_size", 0);
  *g = (granularity){1, 1, ifd_shape_count(x), 1, 1, false};
  if (scale->rank == 0 || (ifd_shape_count(scale) == 1 && block == 0 && scale->rank == 1)) return IFD_OK;
  TRY(ifd_axis(err, &axis, ifd_node_int(node, "axis", 1), x->rank));
  g->outer = ifd_shape_span(x, 0, axis);
  g->n = x->dim[axis];
  g->inner = ifd_shape_span(x, axis + 1, x->rank);
  if (block) return match_blocks(err, x, scale, axis, block, g);
  EXPECT(err, scale->rank == 1 && scale->dim[0] == g->n, BAD_INPUT,
         "a scale for each of the %lld elements of axis %d is expected", (long long)g->n, axis);
  g->n_blocks = g->n;
  return IFD_OK;
}

/* Place of the scale of element (o, j, i). */
static int64_t scale_at(const granularity *g, int64_t o, int64_t j, int64_t i) {
  return g->blocked ? (o * g->n_blocks + j / g->block) * g->inner + i : j / g->block;
}

/* ---- rows ---- */

/* What is computed of n elements x with scale s and zero point z. */
typedef struct quantizer {
  void (*compute)(const struct quantizer *q, double *y, const double *x, const double *s, const double *z,
                  int64_t n);
  const ifd_tensor *x, *scale, *zero; /* zero may be NULL */
  const ifd_tensor *y;
  ifd_dtype precision; /* of the division */
  bool saturate;       /* float8 */
  double low, high;    /* of an integer type */
} quantizer;

static void load_at(const ifd_tensor *t, int64_t at, double *out, int64_t n) {
  ifd_load_f64(t->dtype, (const char *)t->data + at * (int64_t)ifd_dtype_size(t->dtype), out, n);
}

/* n parameters from `at` on, or the one there n times. */
static void load_parameters(const ifd_tensor *t, int64_t at, bool each, double *out, int64_t n) {
  if (!t) {
    for (int64_t i = 0; i < n; i++) out[i] = 0;
    return;
  }
  load_at(t, at, out, each ? n : 1);
  for (int64_t i = 1; !each && i < n; i++) out[i] = out[0];
}

/* Rounded once; the small floats as attribute saturate says. */
static void store_result(const quantizer *q, int64_t at, const double *y, int64_t n) {
  char *to = (char *)q->y->data + at * (int64_t)ifd_dtype_size(q->y->dtype);
  if (ifd_dtype_is_float(q->y->dtype) && q->y->dtype != IFD_DOUBLE)
    ifd_cast(q->y->dtype, to, IFD_DOUBLE, y, n, q->saturate, IFD_ROUND_UP);
  else
    ifd_store_f64(q->y->dtype, to, y, n);
}

static void run_row(const quantizer *q, const granularity *g, int64_t o, int64_t j) {
  double x[CHUNK], s[CHUNK], z[CHUNK], y[CHUNK];
  for (int64_t i = 0; i < g->inner; i += CHUNK) {
    int64_t n = ifd_min_i64(g->inner - i, CHUNK), at = (o * g->n + j) * g->inner + i;
    load_at(q->x, at, x, n);
    load_parameters(q->scale, scale_at(g, o, j, i), g->blocked, s, n);
    load_parameters(q->zero, scale_at(g, o, j, i), g->blocked, z, n);
    q->compute(q, y, x, s, z, n);
    store_result(q, at, y, n);
  }
}

static ifd_status run(ifd_eval *x, const quantizer *q) {
  granularity g;
  TRY(find_granularity(x->err, x->node, &q->x->shape, &q->scale->shape, &g));
  for (int64_t o = 0; o < g.outer; o++)
    for (int64_t j = 0; j < g.n; j++) run_row(q, &g, o, j);
  return IFD_OK;
}

static ifd_status take_inputs(ifd_eval *x, quantizer *q) {
  q->x = ifd_eval_in(x, 0);
  q->scale = ifd_eval_in(x, 1);
  q->zero = ifd_eval_has(x, 2) ? ifd_eval_in(x, 2) : NULL;
  EXPECT(x->err,
         !q->zero || ifd_shape_equal(&q->zero->shape, &q->scale->shape) ||
             (ifd_tensor_count(q->zero) == 1 && ifd_tensor_count(q->scale) == 1),
         BAD_INPUT, "zero point and scale differ in shape");
  return IFD_OK;
}

/* ---- QuantizeLinear ---- */

/* y = saturate(round(x / s) + z): the quotient is rounded to the precision of the division, then, for
 * integers, to the nearest even whole number. */
static void quantize(const quantizer *q, double *y, const double *x, const double *s, const double *z,
                     int64_t n) {
  char narrow[CHUNK * sizeof(double)];
  for (int64_t i = 0; i < n; i++) y[i] = x[i] / s[i];
  if (q->precision != IFD_DOUBLE) {
    ifd_store_f64(q->precision, narrow, y, n);
    ifd_load_f64(q->precision, narrow, y, n);
  }
  bool whole = ifd_dtype_is_integer(q->y->dtype);
  for (int64_t i = 0; i < n; i++) y[i] = (whole ? rint(y[i]) : y[i]) + z[i];
  for (int64_t i = 0; whole && i < n; i++) y[i] = y[i] < q->low ? q->low : y[i] > q->high ? q->high : y[i];
}

/* The type of y: that of the zero point, else the attribute's, else uint8. */
static ifd_status quantized_dtype(ifd_error *err, const ifd_node *node, ifd_dtype zero, ifd_dtype *out) {
  TRY(ifd_node_dtype(err, node, "output_dtype", IFD_UNDEFINED, out));
  EXPECT(err, !zero || !*out || zero == *out, BAD_MODEL,
         "attribute output_dtype is %s, the zero point's type %s", ifd_dtype_name(*out),
         ifd_dtype_name(zero));
  if (!*out) *out = zero ? zero : IFD_UINT8;
  return IFD_OK;
}

/* The type whose rounding the division has: the attribute's, else the scale's; scales that are powers of two
 * (float8e8m0) or whole numbers leave it to x. */
static ifd_status division_dtype(ifd_eval *x, quantizer *q) {
  TRY(ifd_node_dtype(x->err, x->node, "precision", IFD_UNDEFINED, &q->precision));
  if (!q->precision) q->precision = q->scale->dtype;
  if (q->precision == IFD_FLOAT8E8M0) q->precision = q->x->dtype;
  if (ifd_dtype_is_integer(q->precision) || (x->float64 && q->precision == IFD_FLOAT))
    q->precision = IFD_DOUBLE;
  EXPECT(x->err, ifd_dtype_is_float(q->precision), BAD_MODEL, "a division in %s",
         ifd_dtype_name(q->precision));
  return IFD_OK;
}

static ifd_status eval_QuantizeLinear(ifd_eval *x) {
  quantizer q = {.compute = quantize, .saturate = ifd_node_int(x->node, "saturate", 1)};
  ifd_dtype dtype;
  ifd_tensor *out;
  TRY(take_inputs(x, &q));
  TRY(quantized_dtype(x->err, x->node, q.zero ? q.zero->dtype : IFD_UNDEFINED, &dtype));
  TRY(division_dtype(x, &q));
  TRY(ifd_eval_out(x, &out, 0, dtype, &q.x->shape));
  q.y = out;
  int bits = ifd_dtypes[dtype].bits;
  bool is_signed = ifd_dtypes[dtype].class == IFD_CLASS_INT;
  q.low = is_signed ? -ldexp(1, bits - 1) : 0;
  q.high = ldexp(1, is_signed ? bits - 1 : bits) - 1;
  return run(x, &q);
}

static ifd_status infer_QuantizeLinear(ifd_infer *x) {
  ifd_dtype dtype;
  TRY(quantized_dtype(x->err, x->node, ifd_node_has_input(x->node, 2) ? ifd_infer_dtype(x, 2) : IFD_UNDEFINED,
                      &dtype));
  if (ifd_node_has_input(x->node, 2) && !ifd_infer_dtype(x, 2)) dtype = IFD_UNDEFINED;
  return ifd_infer_same_as(x, 0, 0, dtype);
}

/* ---- DequantizeLinear ---- */

static void dequantize(const quantizer *q, double *y, const double *x, const double *s, const double *z,
                       int64_t n) {
  (void)q;
  for (int64_t i = 0; i < n; i++) y[i] = (x[i] - z[i]) * s[i];
}

static ifd_status eval_DequantizeLinear(ifd_eval *x) {
  quantizer q = {.compute = dequantize, .saturate = true};
  ifd_dtype dtype;
  ifd_tensor *out;
  TRY(take_inputs(x, &q));
  EXPECT(x->err, !q.zero || q.zero->dtype == q.x->dtype, BAD_INPUT,
         "elements of type %s, a zero point of type %s", ifd_dtype_name(q.x->dtype),
         ifd_dtype_name(q.zero->dtype));
  TRY(ifd_node_dtype(x->err, x->node, "output_dtype", IFD_UNDEFINED, &dtype));
  if (!dtype) dtype = q.scale->dtype;
  EXPECT(x->err, ifd_dtypes[dtype].bits >= 16 && ifd_dtype_is_float(dtype), BAD_MODEL, "an output of type %s",
         ifd_dtype_name(dtype));
  TRY(ifd_eval_out(x, &out, 0, dtype, &q.x->shape));
  q.y = out;
  return run(x, &q);
}

static ifd_status infer_DequantizeLinear(ifd_infer *x) {
  ifd_dtype dtype;
  TRY(ifd_node_dtype(x->err, x->node, "output_dtype", IFD_UNDEFINED, &dtype));
  return ifd_infer_same_as(x, 0, 0, dtype ? dtype : ifd_infer_dtype(x, 1));
}

/* ---- DynamicQuantizeLinear ---- */

static double round_to(ifd_dtype t, double x) { return t == IFD_FLOAT ? (float)x : x; }

static ifd_status eval_DynamicQuantizeLinear(ifd_eval *x) {
  const ifd_tensor *in = ifd_eval_in(x, 0);
  const ifd_shape scalar = {0};
  ifd_tensor *out[3];
  const double *v;
  double low = 0, high = 0; /* the range holds 0 */
  int64_t n = ifd_tensor_count(in);
  TRY(ifd_eval_f64(x, &v, 0));
  for (int64_t i = 0; i < n; i++) low = fmin(low, v[i]), high = fmax(high, v[i]);
  double scale = round_to(in->dtype, round_to(in->dtype, high == low ? 1 : high - low) / 255);
  double zero = rint(fmin(fmax(round_to(in->dtype, -low / scale), 0), 255));
  TRY(ifd_eval_out(x, &out[0], 0, IFD_UINT8, &in->shape));
  TRY(ifd_eval_out(x, &out[1], 1, IFD_FLOAT, &scalar));
  TRY(ifd_eval_out(x, &out[2], 2, IFD_UINT8, &scalar));
  for (int64_t i = 0; i < n; i++)
    ifd_tensor_set_f64(out[0], i, fmin(fmax(rint(round_to(in->dtype, v[i] / scale)) + zero, 0), 255));
  ifd_tensor_set_f64(out[1], 0, scale);
  ifd_tensor_set_f64(out[2], 0, zero);
  return IFD_OK;
}

static ifd_status infer_DynamicQuantizeLinear(ifd_infer *x) {
  TRY(ifd_infer_same_as(x, 0, 0, IFD_UINT8));
  TRY(ifd_infer_tensor(x, 1, IFD_FLOAT, 0, NULL));
  return ifd_infer_tensor(x, 2, IFD_UINT8, 0, NULL);
}

/* ---- on kernels ---- */

typedef struct quantize_params {
  ifd_el_quantize_row *quantize; /* or */
  ifd_el_dequantize_row *dequantize;
  int scale_step, zero_step;
  bool has_zero;
} quantize_params;

static void run_quantize(const void *params, const ifd_args *args, const char *const *in, char *out,
                         size_t n) {
  const quantize_params *p = params;
  const void *zero = p->has_zero ? in[2] : NULL, *scale = in[1];
  (void)args;
  if (p->quantize)
    p->quantize((const float *)in[0], scale, p->scale_step, zero, p->zero_step, out, n);
  else
    p->dequantize(in[0], scale, p->scale_step, zero, p->zero_step, (float *)out, n);
}

/* Scales as the elements see them: one for all, or one for each index of the axis. */
static bool scale_view(const ifd_lower *x, ifd_shape *view) {
  const ifd_shape *in = &x->in[0]->shape, *scale = &x->in[1]->shape;
  int64_t axis = ifd_node_int(x->node, "axis", 1);
  *view = (ifd_shape){0};
  if (scale->rank == 0 || (scale->rank == 1 && scale->dim[0] == 1)) return true;
  if (axis < 0) axis += in->rank;
  if (scale->rank != 1 || axis < 0 || axis >= in->rank || scale->dim[0] != in->dim[axis]) return false;
  view->dim[view->rank++] = scale->dim[0];
  while (axis + view->rank < in->rank) view->dim[view->rank++] = 1;
  return true;
}

/* By blocks: rows of `inner` elements that have a scale each, or, where blocks lie side by side, of a block
 * that has one. */
typedef struct block_params {
  quantize_params q;
  granularity g;
  ifd_rows rows;
  size_t from_size, zero_size, to_size; /* of elements */
} block_params;

static void run_blocks(const void *params, const ifd_args *args, int task) {
  const block_params *p = params;
  const granularity *g = &p->g;
  const int64_t step = g->inner == 1 ? g->block : 1, n_rows = ifd_ceil_div(g->n, step);
  int64_t from, to;
  quantize_params q = p->q;
  q.scale_step = q.zero_step = g->inner > 1;
  ifd_rows_of(&p->rows, task, &from, &to);
  for (int64_t row = from; row < to; row++) {
    int64_t o = row / n_rows, j = row % n_rows * step, at = (o * g->n + j) * g->inner;
    int64_t scale = scale_at(g, o, j, 0), n = ifd_min_i64(step, g->n - j) * g->inner;
    const char *in[] = {(const char *)args->in[0] + at * (int64_t)p->from_size,
                        (const char *)args->in[1] + scale * (int64_t)sizeof(float),
                        q.has_zero ? (const char *)args->in[2] + scale * (int64_t)p->zero_size : NULL};
    run_quantize(&q, args, in, (char *)args->out[0] + at * (int64_t)p->to_size, (size_t)n);
  }
}

static ifd_status lower_blocks(ifd_lower *x, const quantize_params *q, int64_t axis) {
  const ifd_shape *in = &x->in[0]->shape;
  block_params p = {.q = *q,
                    .from_size = ifd_dtype_size(x->in[0]->dtype),
                    .zero_size = q->has_zero ? ifd_dtype_size(x->in[2]->dtype) : 0,
                    .to_size = ifd_dtype_size(x->out[0]->dtype)};
  if (axis < 0) axis += in->rank;
  bool fits = axis >= 0 && axis < in->rank && ifd_tensor_count(x->in[0]) > 0 &&
              fits_blocks(in, &x->in[1]->shape, (int)axis, ifd_node_int(x->node, "block_size", 0));
  if (!fits) return IFD_OK;
  TRY(find_granularity(x->err, x->node, in, &x->in[1]->shape, &p.g));
  int64_t rows = p.g.inner == 1 ? p.g.outer * p.g.n_blocks : p.g.outer * p.g.n;
  p.rows = ifd_rows_split(rows, 2 * (double)ifd_tensor_count(x->in[0]) / (double)rows);
  x->work->algorithm = "rows";
  return ifd_lower_rows(x, run_blocks, &p, sizeof p, &p.rows);
}

static ifd_status lower_scaled(ifd_lower *x, quantize_params *p) {
  ifd_shape view;
  ifd_loop loop = {
      .n_operands = 1, .operands = {{.size = ifd_dtype_size(x->in[0]->dtype)}}, .shape = {x->in[0]->shape}};
  p->has_zero = x->node->n_inputs > 2 && x->in[2];
  if ((!p->quantize && !p->dequantize) || x->in[1]->dtype != IFD_FLOAT) return IFD_OK;
  if (p->has_zero && !ifd_shape_equal(&x->in[2]->shape, &x->in[1]->shape)) return IFD_OK;
  if (ifd_node_int(x->node, "block_size", 0)) return lower_blocks(x, p, ifd_node_int(x->node, "axis", 1));
  if (!scale_view(x, &view)) return IFD_OK;
  int scale = ifd_loop_input(&loop, x, 1, &view);
  int zero = p->has_zero ? ifd_loop_input(&loop, x, 2, &view) : 0;
  TRY(ifd_loop_plan(&loop, x));
  p->scale_step = loop.operands[scale].step;
  p->zero_step = zero ? loop.operands[zero].step : 0;
  x->work->algorithm = "rows";
  return ifd_loop_launch(&loop, x, run_quantize, p, sizeof *p, 2, 0);
}

static ifd_status lower_QuantizeLinear(ifd_lower *x) {
  int64_t precision = ifd_node_int(x->node, "precision", 0);
  quantize_params p = {.quantize = ifd_k_eltwise(x->isa)->quantize(x->out[0]->dtype)};
  bool same = x->node->n_inputs < 3 || !x->in[2] || x->in[2]->dtype == x->out[0]->dtype;
  if (x->in[0]->dtype != IFD_FLOAT || (precision && precision != IFD_FLOAT) || !same) return IFD_OK;
  return lower_scaled(x, &p);
}

static ifd_status lower_DequantizeLinear(ifd_lower *x) {
  quantize_params p = {.dequantize = ifd_k_eltwise(x->isa)->dequantize(x->in[0]->dtype)};
  bool same = x->node->n_inputs < 3 || !x->in[2] || x->in[2]->dtype == x->in[0]->dtype;
  return x->out[0]->dtype == IFD_FLOAT && same ? lower_scaled(x, &p) : IFD_OK;
}

/* DynamicQuantizeLinear: least and greatest of parts of the input, then the scale, then the elements. */
typedef struct dynamic_params {
  const struct ifd_k_reduce_table *reduce;
  ifd_el_quantize_row *quantize;
  ifd_rows parts;
  int n_parts;
} dynamic_params;

/* In the work's shared memory, before the parts' ranges. */
typedef struct dynamic_scale {
  float scale;
  uint8_t zero;
} dynamic_scale;

static float *range_of(const ifd_args *args, int part) {
  return (float *)((char *)args->shared + sizeof(dynamic_scale)) + 2 * part;
}

static void run_range(const void *params, const ifd_args *args, int task) {
  const dynamic_params *p = params;
  int64_t from, to;
  ifd_rows_of(&p->parts, task, &from, &to);
  const float *x = (const float *)args->in[0] + from;
  p->reduce->rows(IFD_REDUCE_Min, x, 0, 1, (size_t)(to - from), &range_of(args, task)[0]);
  p->reduce->rows(IFD_REDUCE_Max, x, 0, 1, (size_t)(to - from), &range_of(args, task)[1]);
}

/* A NaN is left to the evaluation. */
static void run_scale(const void *params, const ifd_args *args, int task) {
  const dynamic_params *p = params;
  dynamic_scale *d = args->shared;
  float low = 0, high = 0; /* the range holds 0 */
  (void)task;
  for (int i = 0; i < p->n_parts; i++) {
    const float *r = range_of(args, i);
    if (r[0] != r[0] || r[1] != r[1]) atomic_store(args->failed, 1);
    if (r[0] < low) low = r[0];
    if (r[1] > high) high = r[1];
  }
  ifd_quant_range(low, high, &d->scale, &d->zero);
  if (args->out[1]) *(float *)args->out[1] = d->scale;
  if (args->out[2]) *(uint8_t *)args->out[2] = d->zero;
}

static void run_dynamic(const void *params, const ifd_args *args, int task) {
  const dynamic_params *p = params;
  const dynamic_scale *d = args->shared;
  int64_t from, to;
  ifd_rows_of(&p->parts, task, &from, &to);
  p->quantize((const float *)args->in[0] + from, &d->scale, 0, &d->zero, 0, (uint8_t *)args->out[0] + from,
              (size_t)(to - from));
}

static ifd_status lower_DynamicQuantizeLinear(ifd_lower *x) {
  int64_t n = ifd_tensor_count(x->in[0]);
  dynamic_params p = {.reduce = ifd_k_reduce(x->isa),
                      .quantize = ifd_k_eltwise(x->isa)->quantize(IFD_UINT8),
                      .parts = ifd_rows_split(n, 2)};
  if (x->in[0]->dtype != IFD_FLOAT || n == 0 || !x->out[0]) return IFD_OK;
  p.n_parts = (int)ifd_ceil_div(n, p.parts.step);
  x->work->shared = sizeof(dynamic_scale) + 2 * (size_t)p.n_parts * sizeof(float);
  x->work->algorithm = "rows";
  TRY(ifd_lower_rows(x, run_range, &p, sizeof p, &p.parts));
  TRY(ifd_lower_launch(x, run_scale, &p, sizeof p, 1, 0));
  return ifd_lower_rows(x, run_dynamic, &p, sizeof p, &p.parts);
}

/* One scale, or one for each channel. */
static const char *batch_channels(const ifd_batch *b) {
  const ifd_tensor *scale = ifd_batch_in(b, 1);
  bool passes =
      !scale || ifd_tensor_count(scale) == 1 || (scale->shape.rank == 1 && ifd_batch_axis_is_inner(b, 1));
  return passes ? "pw" : NULL;
}

#define ROW(name_, since_, ...)                                                                              \
  {                                                                                                          \
    .name = #name_, .since = since_, .infer = infer_##name_, .eval = eval_##name_, .lower = lower_##name_,   \
    __VA_ARGS__                                                                                              \
  }
const ifd_op ifd_ops_quantize[] = {ROW(QuantizeLinear, 10, .batch = batch_channels),
                                   ROW(DequantizeLinear, 10, .batch = batch_channels),
                                   ROW(DynamicQuantizeLinear, 11, .flags = IFD_OP_MIXES_BATCH),
                                   {0}};
