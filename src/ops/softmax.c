/* Functions of a whole line of elements along an axis: Softmax, LogSoftmax, Hardmax, LpNormalization. */
#include <math.h>

#include "ops/shared/elementwise.h"
#include "tensor/convert.h"

/* What a function of lines knows besides the line. */
typedef struct context {
  ifd_dtype dtype; /* of the elements */
  int64_t p;       /* LpNormalization's order */
} context;

/* In place on n elements, `step` apart; n > 0. */
typedef void (*line_function)(const context *c, double *v, int64_t n, int64_t step);

/* ONNX defines Softmax and LogSoftmax by other operators, each of which rounds to the type: for the narrow
 * types that is visible, so their steps round as well. */
static double rounded(const context *c, double x) {
  if (c->dtype != IFD_FLOAT16 && c->dtype != IFD_BFLOAT16) return x;
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

/* v becomes v - its greatest; e^v goes to exps, which may be v or NULL. The sum of e^v. */
static double subtract_and_exp(const context *c, double *v, double *exps, int64_t n, int64_t step) {
  double top = greatest(v, n, step), sum = 0;
  for (int64_t i = 0; i < n; i++) {
    v[i * step] = rounded(c, v[i * step] - top);
    double e = rounded(c, exp(v[i * step]));
    if (exps) exps[i * step] = e;
    sum += e;
  }
  return rounded(c, sum);
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
  const context c = {in->dtype, p};
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

#define ROW(name_, since_, eval_)                                                                            \
  { .name = #name_, .since = since_, .infer = infer_line, .eval = eval_ }
const ifd_op ifd_ops_softmax[] = {ROW(Softmax, 1, eval_Softmax_1),
                                  ROW(Softmax, 13, eval_Softmax),
                                  ROW(LogSoftmax, 1, eval_LogSoftmax_1),
                                  ROW(LogSoftmax, 13, eval_LogSoftmax),
                                  ROW(Hardmax, 1, eval_Hardmax_1),
                                  ROW(Hardmax, 13, eval_Hardmax),
                                  ROW(LpNormalization, 1, eval_LpNormalization),
                                  {0}};
