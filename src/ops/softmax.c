/* Functions of a whole line of elements along an axis: Softmax, LogSoftmax, Hardmax, LpNormalization; and
 * infold.Softmax, along the last axis, of the values of a 16-bit float, whose attribute `rounding` names the
 * operator that each step's result goes through. */
#include <math.h>

#include <string.h>

#include "kernels/eltwise/eltwise.h"
#include "kernels/kernels.h"
#include "kernels/reduce/reduce.h"
#include "kernels/softmax/softmax.h"
#include "ops/shared/batch.h"
#include "ops/shared/elementwise.h"
#include "ops/shared/epilogue.h"
#include "ops/shared/rows.h"
#include "tensor/convert.h"

/* What a function of lines knows besides the line. */
typedef struct context {
  ifd_dtype dtype;       /* of the elements */
  int64_t p;             /* LpNormalization's order */
  ifd_el_unary_row *exp; /* of doubles */
} context;

/* In place on n elements, `step` apart; n > 0. */
typedef void (*line_function)(const context *c, double *v, int64_t n, int64_t step);

/* ONNX defines Softmax and LogSoftmax by other operators, each of which rounds to the type: for the narrow
 * types that is visible, so their steps round as well. */
static double rounded(const context *c, double x) {
  if (!ifd_dtype_is_half(c->dtype)) return x;
  uint16_t narrow;
  ifd_store_f64(c->dtype, &narrow, &x, 1);
  ifd_load_f64(c->dtype, &narrow, &x, 1);
  return x;
}

static double greatest(const double *v, int64_t n, int64_t step) {
  double top = v[0];
  for (int64_t i = 1; i < n; i++)
    if (!(v[i * step] <= top)) top = v[i * step];
  return top;
}

/* v becomes v - its greatest; e^v goes to exps, which may be v or NULL. The sum of e^v. narrow: of a 16-bit
 * type. */
static inline __attribute__((always_inline)) double
exps_of_line(const context *c, const bool narrow, double *v, double *exps, int64_t n, const int64_t step) {
  enum { BLOCK = 256 };
  double top = greatest(v, n, step), sum = 0, e[BLOCK];
  for (int64_t at = 0, some; at < n; at += some, v += some * step) {
    some = ifd_min_i64(BLOCK, n - at);
    for (int64_t i = 0; i < some; i++) v[i * step] -= top;
    for (int64_t i = 0; i < some && narrow; i++) v[i * step] = rounded(c, v[i * step]);
    for (int64_t i = 0; i < some; i++) e[i] = v[i * step];
    c->exp(NULL, e, e, (size_t)some);
    for (int64_t i = 0; i < some && narrow; i++) e[i] = rounded(c, e[i]);
    for (int64_t i = 0; i < some; i++) sum += e[i];
    if (!exps) continue;
    for (int64_t i = 0; i < some; i++) exps[i * step] = e[i];
    exps += some * step;
  }
  return narrow ? rounded(c, sum) : sum;
}

static double subtract_and_exp(const context *c, double *v, double *exps, int64_t n, int64_t step) {
  if (ifd_dtype_is_half(c->dtype)) return exps_of_line(c, true, v, exps, n, step);
  return step == 1 ? exps_of_line(c, false, v, exps, n, 1) : exps_of_line(c, false, v, exps, n, step);
}

static void softmax(const context *c, double *v, int64_t n, int64_t step) {
  double sum = subtract_and_exp(c, v, v, n, step);
  for (int64_t i = 0; i < n; i++) v[i * step] /= sum;
}

static void log_softmax(const context *c, double *v, int64_t n, int64_t step) {
  double log_sum = rounded(c, log(subtract_and_exp(c, v, NULL, n, step)));
  for (int64_t i = 0; i < n; i++) v[i * step] -= log_sum;
}

/* 1 at the first greatest element, 0 elsewhere; NaN counts as greatest. */
static void hardmax(const context *c, double *v, int64_t n, int64_t step) {
  (void)c;
  int64_t best = 0;
  for (int64_t i = 1; i < n; i++)
    if (v[best * step] == v[best * step] && !(v[i * step] <= v[best * step])) best = i;
  for (int64_t i = 0; i < n; i++) v[i * step] = i == best;
}

static void lp_normalization(const context *c, double *v, int64_t n, int64_t step) {
  double norm = 0;
  for (int64_t i = 0; i < n; i++) norm += c->p == 1 ? fabs(v[i * step]) : v[i * step] * v[i * step];
  if (c->p == 2) norm = sqrt(norm);
  for (int64_t i = 0; i < n; i++) v[i * step] = norm == 0 ? 0 : v[i * step] / norm;
}

/* f on every line of a tensor seen as [outer, n, inner]. */
static ifd_status apply_to_lines(ifd_eval *x, line_function f, int64_t n, int64_t inner, int64_t p) {
  const ifd_tensor *in = ifd_eval_in(x, 0);
  const context c = {in->dtype, p, ifd_k_eltwise(x->isa)->unary(IFD_EL_Exp, IFD_DOUBLE)};
  ifd_tensor *out;
  double *v;
  TRY(ifd_eval_out(x, &out, 0, in->dtype, &in->shape));
  int64_t count = ifd_tensor_count(in);
  if (count == 0) return IFD_OK;
  ALLOC(x->err, v, ifd_new_array(x->scratch, double, n *inner));
  for (int64_t at = 0; at < count; at += n * inner) {
    ifd_load_f64(in->dtype, (const char *)in->data + at * (int64_t)ifd_dtype_size(in->dtype), v, n * inner);
    for (int64_t i = 0; i < inner; i++) f(&c, v + i, n, inner);
    ifd_store_f64(out->dtype, (char *)out->data + at * (int64_t)ifd_dtype_size(out->dtype), v, n * inner);
  }
  return IFD_OK;
}

static ifd_status along_axis(ifd_eval *x, line_function f, int64_t p) {
  const ifd_shape *s = &ifd_eval_in(x, 0)->shape;
  int axis;
  TRY(ifd_axis(x->err, &axis, ifd_attr_int(x->node, "axis"), s->rank));
  return apply_to_lines(x, f, s->dim[axis], ifd_shape_span(s, axis + 1, s->rank), p);
}

/* Before opset 13 a line is everything from the axis on. */
static ifd_status from_axis_on(ifd_eval *x, line_function f) {
  const ifd_shape *s = &ifd_eval_in(x, 0)->shape;
  int axis;
  TRY(ifd_axis(x->err, &axis, ifd_attr_int(x->node, "axis"), s->rank));
  return apply_to_lines(x, f, ifd_shape_span(s, axis, s->rank), 1, 0);
}

#define EVAL(name, f)                                                                                        \
  static ifd_status eval_##name##_1(ifd_eval *x) { return from_axis_on(x, f); }                              \
  static ifd_status eval_##name(ifd_eval *x) { return along_axis(x, f, 0); }
EVAL(Softmax, softmax)
EVAL(LogSoftmax, log_softmax)
EVAL(Hardmax, hardmax)

static ifd_status eval_LpNormalization(ifd_eval *x) {
  int64_t p = ifd_attr_int(x->node, "p");
  EXPECT(x->err, p == 1 || p == 2, BAD_MODEL, "attribute p is %lld, expected 1 or 2", (long long)p);
  return along_axis(x, lp_normalization, p);
}

static ifd_status infer_line(ifd_infer *x) {
  int axis, rank = ifd_infer_rank(x, 0);
  if (rank >= 0) TRY(ifd_axis(x->err, &axis, ifd_attr_int(x->node, "axis"), rank));
  return ifd_infer_like_first(x);
}

/* ---- on kernels ---- */

/* Lines of n elements that are rows (inner 1), or the columns of `outer` matrices [n, inner]. */
typedef struct softmax_params {
  const struct ifd_k_softmax_table *kernels;
  bool log;
  int64_t n, inner;
  ifd_rows lines;
} softmax_params;

static void run_softmax(const void *params, const ifd_args *args, int task) {
  const softmax_params *p = params;
  const float *in = args->in[0];
  float *out = args->out[0];
  int64_t from, to;
  ifd_rows_of(&p->lines, task, &from, &to);
  if (p->inner == 1) {
    in += from * p->n, out += from * p->n;
    p->kernels->rows(p->log, in, (size_t)p->n, 1, NULL, 0, out, (size_t)p->n, (size_t)(to - from),
                     (size_t)p->n);
    return;
  }
  for (int64_t columns, at; from < to; from += columns) {
    columns = ifd_columns_of(from, to, p->n, p->inner, &at);
    p->kernels->columns(p->log, in + at, out + at, (size_t)p->inner, (size_t)p->n, (size_t)columns);
  }
}

/* Elements of a line, and how far they are apart. */
static ifd_status measure_lines(ifd_lower *x, bool from_axis_on, int64_t *n, int64_t *inner) {
  const ifd_shape *s = &x->in[0]->shape;
  int axis;
  TRY(ifd_axis(x->err, &axis, ifd_attr_int(x->node, "axis"), s->rank));
  *n = from_axis_on ? ifd_shape_span(s, axis, s->rank) : s->dim[axis];
  *inner = from_axis_on ? 1 : ifd_shape_span(s, axis + 1, s->rank);
  x->work->algorithm = *inner == 1 ? "rows" : "columns";
  return IFD_OK;
}

static ifd_status lower_lines(ifd_lower *x, bool log, bool from_axis_on) {
  softmax_params p = {.kernels = ifd_k_softmax(x->isa), .log = log};
  if (!ifd_lower_all_float(x, 1)) return IFD_OK;
  TRY(measure_lines(x, from_axis_on, &p.n, &p.inner));
  p.lines = ifd_columns_split(ifd_tensor_count(x->in[0]) / p.n, p.inner, 16 * (double)p.n);
  return ifd_lower_rows(x, run_softmax, &p, sizeof p, &p.lines);
}

static ifd_status lower_Softmax_1(ifd_lower *x) { return lower_lines(x, false, true); }
static ifd_status lower_Softmax(ifd_lower *x) { return lower_lines(x, false, false); }
static ifd_status lower_LogSoftmax_1(ifd_lower *x) { return lower_lines(x, true, true); }
static ifd_status lower_LogSoftmax(ifd_lower *x) { return lower_lines(x, true, false); }

typedef struct rounded_params {
  const struct ifd_k_softmax_table *kernels;
  ifd_k_act rounding;
  int64_t n;
  ifd_rows rows;
} rounded_params;

static void run_rounded(const void *params, const ifd_args *args, int task) {
  const rounded_params *p = params;
  int64_t from, to;
  ifd_rows_of(&p->rows, task, &from, &to);
  p->kernels->rounded(p->rounding, (const float *)args->in[0] + from * p->n,
                      (float *)args->out[0] + from * p->n, (size_t)p->n, 16, 1, NULL, 0, (size_t)(to - from),
                      (size_t)p->n);
}

static ifd_status lower_rounded(ifd_lower *x) {
  const ifd_shape *s = &x->in[0]->shape;
  rounded_params p = {.kernels = ifd_k_softmax(x->isa), .rounding = ifd_epilogue_of(x->node).rounding};
  if (ifd_shape_count(s) == 0) return IFD_OK;
  p.n = s->dim[s->rank - 1];
  p.rows = ifd_rows_split(ifd_shape_count(s) / p.n, 16 * (double)p.n);
  x->work->algorithm = "rows";
  return ifd_lower_rows(x, run_rounded, &p, sizeof p, &p.rows);
}

/* Only what is empty is left to an evaluation: everything else is lowered. */
static ifd_status eval_rounded(ifd_eval *x) {
  const ifd_shape *s = &ifd_eval_in(x, 0)->shape;
  ifd_tensor *out;
  EXPECT(x->err, ifd_shape_count(s) == 0, UNSUPPORTED, "a rounded Softmax runs on kernels alone");
  return ifd_eval_out(x, &out, 0, IFD_FLOAT, s);
}

static const char *batch_rounded(const ifd_batch *b) { return b->in[0]->shape.rank > 1 ? "p" : NULL; }

/* Lines that are first reduced to a number each: Hardmax to the place of the greatest, LpNormalization to the
 * norm. */
enum { LINES = 64 };
typedef struct line_params line_params;
struct line_params {
  const struct ifd_k_reduce_table *kernels;
  /* count <= LINES lines: rows, or neighbouring columns of one matrix. */
  void (*run)(const line_params *p, const float *in, float *out, int64_t count);
  ifd_reduce norm;
  int64_t n, inner;
  ifd_rows lines;
};

static void run_hardmax(const line_params *p, const float *in, float *out, int64_t count) {
  int64_t best[LINES], line = p->inner == 1 ? p->n : 1;
  p->kernels->arg(IFD_FLOAT, p->inner > 1)(false, false, in, (size_t)(p->inner == 1 ? p->n : p->inner),
                                           (size_t)p->n, (size_t)count, best);
  if (p->inner == 1) memset(out, 0, (size_t)(count * p->n) * sizeof *out);
  for (int64_t i = 0; p->inner > 1 && i < p->n; i++)
    memset(out + i * p->inner, 0, (size_t)count * sizeof *out);
  for (int64_t l = 0; l < count; l++) out[l * line + best[l] * p->inner] = 1;
}

static void divide(const float *in, float *out, int64_t n, float norm) {
  for (int64_t i = 0; i < n; i++) out[i] = norm == 0 ? 0 : in[i] / norm;
}

static void run_lp(const line_params *p, const float *in, float *out, int64_t count) {
  float norm[LINES];
  if (p->inner == 1) {
    p->kernels->rows(p->norm, in, (size_t)p->n, (size_t)count, (size_t)p->n, norm);
    for (int64_t l = 0; l < count; l++) divide(in + l * p->n, out + l * p->n, p->n, norm[l]);
    return;
  }
  p->kernels->columns(p->norm, in, (size_t)p->inner, (size_t)p->n, (size_t)count, norm);
  for (int64_t i = 0; i < p->n; i++, in += p->inner, out += p->inner)
    for (int64_t l = 0; l < count; l++) out[l] = norm[l] == 0 ? 0 : in[l] / norm[l];
}

static void run_lines(const void *params, const ifd_args *args, int task) {
  const line_params *p = params;
  int64_t from, to;
  ifd_rows_of(&p->lines, task, &from, &to);
  for (int64_t some, at; from < to; from += some) {
    some = ifd_min_i64(LINES, ifd_columns_of(from, to, p->n, p->inner, &at));
    p->run(p, (const float *)args->in[0] + at, (float *)args->out[0] + at, some);
  }
}

static ifd_status lower_reduced(ifd_lower *x, line_params p, bool from_axis_on) {
  if (!ifd_lower_all_float(x, 1)) return IFD_OK;
  TRY(measure_lines(x, from_axis_on, &p.n, &p.inner));
  if (p.n > INT32_MAX) return IFD_OK;
  p.kernels = ifd_k_reduce(x->isa);
  p.lines = ifd_columns_split(ifd_tensor_count(x->in[0]) / p.n, p.inner, 2 * (double)p.n);
  return ifd_lower_rows(x, run_lines, &p, sizeof p, &p.lines);
}

static ifd_status lower_Hardmax_1(ifd_lower *x) {
  return lower_reduced(x, (line_params){.run = run_hardmax}, true);
}
static ifd_status lower_Hardmax(ifd_lower *x) {
  return lower_reduced(x, (line_params){.run = run_hardmax}, false);
}
static ifd_status lower_LpNormalization(ifd_lower *x) {
  int64_t p = ifd_attr_int(x->node, "p");
  if (p != 1 && p != 2) return IFD_OK;
  return lower_reduced(x, (line_params){.run = run_lp, .norm = p == 1 ? IFD_REDUCE_L1 : IFD_REDUCE_L2},
                       false);
}

static const char *batch_1(const ifd_batch *b) { return ifd_batch_axis_is_inner(b, 1) ? "p" : NULL; }

#define ROW(name_, since_, eval_, lower_, batch_)                                                            \
  { .name = #name_, .since = since_, .infer = infer_line, .eval = eval_, .lower = lower_, .batch = batch_ }
const ifd_op ifd_ops_softmax[] = {
    ROW(Softmax, 1, eval_Softmax_1, lower_Softmax_1, batch_1),
    ROW(Softmax, 13, eval_Softmax, lower_Softmax, ifd_batch_last_axis),
    ROW(LogSoftmax, 1, eval_LogSoftmax_1, lower_LogSoftmax_1, batch_1),
    ROW(LogSoftmax, 13, eval_LogSoftmax, lower_LogSoftmax, ifd_batch_last_axis),
    ROW(Hardmax, 1, eval_Hardmax_1, lower_Hardmax_1, batch_1),
    ROW(Hardmax, 13, eval_Hardmax, lower_Hardmax, ifd_batch_last_axis),
    ROW(LpNormalization, 1, eval_LpNormalization, lower_LpNormalization, ifd_batch_last_axis),
    {.name = "Softmax",
     .domain = "infold",
     .infer = ifd_infer_like_first,
     .eval = eval_rounded,
     .lower = lower_rounded,
     .batch = batch_rounded},
    {0}};
