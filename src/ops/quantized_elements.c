/* Operators of infold's own domain that plans make of what happens to quantized values between products.
 *
 * QBinary   a, a_scale, a_zero_point, b, b_scale, b_zero_point, y_scale, y_zero_point: y = quantized(clip(
 *           real(a) op real(b))), op Add, Sub or Mul, broadcasting; clip as QConv has it.
 * QLookup   x, table: y[i] = table[byte x[i]], 256 bytes: any function of one value, tabulated.
 * QPool     x, x_scale, x_zero_point, y_scale, y_zero_point, of images with their channels last; attributes
 *           as MaxPool or AveragePool has them, and which: average, whole (the window is the image). A
 *           maximum takes x alone, and gives bytes as it finds them. */
#include <math.h>
#include <string.h>

#include "kernels/kernels.h"
#include "kernels/quant/quant.h"
#include "ops/shared/batch.h"
#include "ops/shared/eltwise_loop.h"
#include "ops/shared/quant_work.h"
#include "ops/shared/rows.h"
#include "ops/shared/window.h"

/* ---- shared ---- */

static bool is_one(const ifd_lower *x, int i, ifd_dtype dtype) {
  const ifd_tensor *t = i < x->node->n_inputs ? x->in[i] : NULL;
  return !t || (t->dtype == dtype && ifd_tensor_count(t) == 1);
}

static bool is_byte(const ifd_tensor *t) { return t && ifd_dtype_is_byte(t->dtype); }

static int32_t byte_of(const void *p, bool is_signed) {
  return !p ? 0 : is_signed ? *(const int8_t *)p : *(const uint8_t *)p;
}

static void bounds_of(bool is_signed, int32_t zero, const float clip[2], float step, float *lo, float *hi) {
  ifd_quant_bounds(is_signed, zero, clip[0], clip[1], step, lo, hi);
}

static void clip_of(const ifd_node *node, float clip[2]) {
  const float *p;
  clip[0] = -INFINITY, clip[1] = INFINITY;
  if (ifd_node_floats(node, "clip", &p) == 2) clip[0] = p[0], clip[1] = p[1];
}

/* Only what is empty is left to an evaluation. */
static ifd_status put_empty(ifd_eval *x, ifd_dtype dtype, const ifd_shape *shape) {
  ifd_tensor *out;
  EXPECT(x->err, ifd_shape_count(shape) == 0, UNSUPPORTED, "quantized elements run on kernels alone");
  return ifd_eval_out(x, &out, 0, dtype, shape);
}

/* ---- QBinary ---- */

enum { A, A_SCALE, A_ZERO, B, B_SCALE, B_ZERO, Y_SCALE, Y_ZERO };

static ifd_status infer_binary(ifd_infer *x) {
  ifd_dtype dtype = ifd_node_has_input(x->node, Y_ZERO) ? ifd_infer_dtype(x, Y_ZERO) : IFD_UINT8;
  int ra = ifd_infer_rank(x, A), rb = ifd_infer_rank(x, B), rank = ra > rb ? ra : rb;
  ifd_dim out[IFD_MAX_RANK];
  if (ra < 0 || rb < 0) return ifd_infer_unranked(x, 0, dtype);
  for (int i = 0; i < rank; i++) {
    ifd_dim a = i < rank - ra ? 1 : ifd_infer_dim(x, A, i - (rank - ra));
    ifd_dim b = i < rank - rb ? 1 : ifd_infer_dim(x, B, i - (rank - rb));
    TRY(ifd_infer_broadcast_dim(x, &out[i], a, b));
  }
  return ifd_infer_tensor(x, 0, dtype, rank, out);
}

typedef struct binary_params {
  const struct ifd_k_quant_table *kernels;
  bool multiplies, subtracts, a_signed, b_signed, y_signed;
  int n_inputs, a_step, b_step;
  float clip[2];
} binary_params;

static const void *parameter(const binary_params *p, const ifd_args *args, int i) {
  return i < p->n_inputs ? args->in[i] : NULL;
}

static ifd_k_quant_operand operand_of(const ifd_args *args, int i, bool is_signed) {
  return (ifd_k_quant_operand){is_signed, byte_of(args->in[i + A_ZERO - A], is_signed),
                               *(const float *)args->in[i + A_SCALE - A]};
}

/* a - b is a + b with b's scale turned, exactly. */
static ifd_k_quant_binary binary_of(const binary_params *p, const ifd_args *args) {
  float y = *(const float *)args->in[Y_SCALE];
  ifd_k_quant_binary q = {.multiplies = p->multiplies,
                          .a = operand_of(args, A, p->a_signed),
                          .b = operand_of(args, B, p->b_signed),
                          .scale = y,
                          .zero = byte_of(parameter(p, args, Y_ZERO), p->y_signed)};
  if (p->subtracts) q.b.scale = -q.b.scale;
  bounds_of(p->y_signed, q.zero, p->clip, y, &q.lo, &q.hi);
  ifd_k_quant_fold(&q);
  return q;
}

static void run_binary(const void *params, const ifd_args *args, const char *const *in, char *out, size_t n) {
  const binary_params *p = params;
  ifd_k_quant_binary q = binary_of(p, args);
  p->kernels->binary(&q, (const uint8_t *)in[0], p->a_step, (const uint8_t *)in[1], p->b_step, (uint8_t *)out,
                     (int64_t)n);
}

static binary_params params_of(const ifd_node *node, ifd_isa isa, ifd_dtype a, ifd_dtype b, ifd_dtype y) {
  binary_params p = {.kernels = ifd_k_quant(isa),
                     .multiplies = ifd_node_string_is(node, "op", "Add", "Mul"),
                     .subtracts = ifd_node_string_is(node, "op", "Add", "Sub"),
                     .a_signed = a == IFD_INT8,
                     .b_signed = b == IFD_INT8,
                     .y_signed = y == IFD_INT8,
                     .n_inputs = node->n_inputs};
  clip_of(node, p.clip);
  return p;
}

/* Of operands that do not broadcast. */
static ifd_status eval_binary(ifd_eval *x) {
  const ifd_tensor *a = ifd_eval_in(x, A), *b = ifd_eval_in(x, B);
  const void *in[Y_ZERO + 1] = {NULL};
  ifd_tensor *out;
  ifd_shape shape;
  ifd_dtype dtype = ifd_eval_has(x, Y_ZERO) ? ifd_eval_in(x, Y_ZERO)->dtype : IFD_UINT8;
  TRY(ifd_shape_broadcast(x->err, &shape, &a->shape, &b->shape));
  if (!ifd_shape_equal(&a->shape, &b->shape) || !is_byte(a) || !is_byte(b))
    return put_empty(x, dtype, &shape);
  binary_params p = params_of(x->node, IFD_ISA_REF, a->dtype, b->dtype, dtype);
  p.a_step = p.b_step = 1;
  for (int i = 0; i < x->node->n_inputs && i <= Y_ZERO; i++)
    if (ifd_eval_has(x, i)) in[i] = ifd_eval_in(x, i)->data;
  TRY(ifd_eval_out(x, &out, 0, dtype, &shape));
  run_binary(&p, &(ifd_args){.in = in}, (const char *const[]){a->data, b->data}, out->data,
             (size_t)ifd_shape_count(&shape));
  return IFD_OK;
}

static ifd_status lower_binary(ifd_lower *x) {
  ifd_loop loop = {0};
  if (!is_byte(x->in[A]) || !is_byte(x->in[B]) || !is_byte(x->out[0]) || !x->in[A_SCALE] || !x->in[B_SCALE] ||
      !x->in[Y_SCALE])
    return IFD_OK;
  bool fits = is_one(x, A_SCALE, IFD_FLOAT) && is_one(x, B_SCALE, IFD_FLOAT) &&
              is_one(x, Y_SCALE, IFD_FLOAT) && is_one(x, A_ZERO, x->in[A]->dtype) &&
              is_one(x, B_ZERO, x->in[B]->dtype) && is_one(x, Y_ZERO, x->out[0]->dtype);
  if (!fits) return IFD_OK;
  binary_params p = params_of(x->node, x->isa, x->in[A]->dtype, x->in[B]->dtype, x->out[0]->dtype);
  int a = ifd_loop_input(&loop, x, A, NULL), b = ifd_loop_input(&loop, x, B, NULL);
  TRY(ifd_loop_plan(&loop, x));
  p.a_step = loop.operands[a].step;
  p.b_step = loop.operands[b].step;
  x->work->algorithm = "int8 rows";
  return ifd_loop_launch(&loop, x, run_binary, &p, sizeof p, 4, 0);
}

/* ---- QLookup ---- */

static ifd_status infer_lookup(ifd_infer *x) { return ifd_infer_same_as(x, 0, 0, ifd_infer_dtype(x, 1)); }
static ifd_status eval_lookup(ifd_eval *x) {
  return put_empty(x, ifd_eval_in(x, 1)->dtype, &ifd_eval_in(x, 0)->shape);
}

typedef struct lookup_params {
  const struct ifd_k_quant_table *kernels;
  int step;
} lookup_params;

static void run_lookup(const void *params, const ifd_args *args, const char *const *in, char *out, size_t n) {
  const lookup_params *p = params;
  const uint8_t *table = args->in[1], *x = (const uint8_t *)in[0];
  if (p->step)
    p->kernels->lookup(table, x, (uint8_t *)out, (int64_t)n);
  else
    memset(out, table[*x], n);
}

static ifd_status lower_lookup(ifd_lower *x) {
  ifd_loop loop = {0};
  lookup_params p = {.kernels = ifd_k_quant(x->isa)};
  if (!is_byte(x->in[0]) || !is_byte(x->in[1]) || ifd_tensor_count(x->in[1]) != 256) return IFD_OK;
  ifd_loop_input(&loop, x, 0, NULL);
  TRY(ifd_loop_plan(&loop, x));
  p.step = loop.operands[0].step;
  x->work->algorithm = "int8 table";
  return ifd_loop_launch(&loop, x, run_lookup, &p, sizeof p, 2, 0);
}

/* ---- QPool ---- */

enum { P_X, P_SCALE, P_ZERO, P_Y_SCALE, P_Y_ZERO };

static ifd_status infer_pool(ifd_infer *x) {
  int rank = ifd_infer_rank(x, 0);
  ifd_dim in[IFD_MAX_RANK], out[IFD_MAX_RANK];
  bool average = ifd_node_int(x->node, "average", 0) != 0;
  ifd_dtype dtype = !average                                ? ifd_infer_dtype(x, 0)
                    : ifd_node_has_input(x->node, P_Y_ZERO) ? ifd_infer_dtype(x, P_Y_ZERO)
                                                            : IFD_UINT8;
  EXPECT(x->err, rank >= 3, BAD_MODEL, "QPool takes a batch of images");
  in[0] = ifd_infer_dim(x, 0, 0), in[1] = ifd_infer_dim(x, 0, rank - 1);
  for (int i = 2; i < rank; i++) in[i] = ifd_infer_dim(x, 0, i - 1), out[i] = 1;
  if (!ifd_node_int(x->node, "whole", 0)) TRY(ifd_window_infer(x, rank, in, NULL, out));
  out[0] = in[0];
  for (int i = 1; i < rank - 1; i++) out[i] = out[i + 1];
  out[rank - 1] = in[1];
  return ifd_infer_tensor(x, 0, dtype, rank, out);
}

/* The window on an image [N, C, image…]. */
static ifd_status window_of(ifd_error *err, ifd_window *w, const ifd_node *node, const ifd_shape *in) {
  ifd_shape plain = {.rank = in->rank, .dim = {in->dim[0], in->dim[in->rank - 1]}};
  for (int i = 2; i < in->rank; i++) plain.dim[i] = in->dim[i - 1];
  if (!ifd_node_int(node, "whole", 0)) return ifd_window_init(err, w, node, &plain, NULL);
  *w = (ifd_window){.n = in->rank - 2};
  for (int i = 0; i < w->n; i++) {
    w->image[i] = w->kernel[i] = in->dim[i + 1];
    w->windows[i] = w->stride[i] = w->dilation[i] = 1;
  }
  return IFD_OK;
}

static ifd_status eval_pool(ifd_eval *x) {
  const ifd_shape *in = &ifd_eval_in(x, 0)->shape;
  ifd_window w;
  ifd_shape out = *in;
  TRY(window_of(x->err, &w, x->node, in));
  for (int i = 0; i < w.n; i++) out.dim[i + 1] = w.windows[i];
  ifd_dtype y = ifd_eval_has(x, P_Y_ZERO) ? ifd_eval_in(x, P_Y_ZERO)->dtype : IFD_UINT8;
  return put_empty(x, ifd_node_int(x->node, "average", 0) ? y : ifd_eval_in(x, 0)->dtype, &out);
}

typedef struct pool_params {
  const struct ifd_k_quant_table *kernels;
  ifd_k_quant_pool pool;
  bool has_zero, has_y_zero, y_signed;
  ifd_rows lines;
} pool_params;

static void run_pool(const void *params, const ifd_args *args, int task) {
  static const float none[2] = {-INFINITY, INFINITY};
  const pool_params *p = params;
  ifd_k_quant_pool q = p->pool;
  int64_t from, to;
  ifd_rows_of(&p->lines, task, &from, &to);
  if (q.shape.average) {
    float y = *(const float *)args->in[P_Y_SCALE];
    q.factor = *(const float *)args->in[P_SCALE] / y;
    q.x_zero = byte_of(p->has_zero ? args->in[P_ZERO] : NULL, q.is_signed);
    q.zero = byte_of(p->has_y_zero ? args->in[P_Y_ZERO] : NULL, p->y_signed);
    bounds_of(p->y_signed, q.zero, none, y, &q.lo, &q.hi);
  }
  p->kernels->pool(&q, args->in[0], args->out[0], from, to);
}

static ifd_status lower_pool(ifd_lower *x) {
  ifd_window w;
  const ifd_shape *in = &x->in[0]->shape;
  pool_params p = {.kernels = ifd_k_quant(x->isa)};
  ifd_k_pool_shape *s = &p.pool.shape;
  TRY(window_of(x->err, &w, x->node, in));
  if (!is_byte(x->in[0]) || w.n > IFD_POOL_AXES || ifd_tensor_count(x->out[0]) == 0) return IFD_OK;
  for (int i = 0; i < IFD_POOL_AXES; i++) { /* the last axis of the window is x */
    int a = i - (IFD_POOL_AXES - w.n);
    s->image[i] = a < 0 ? 1 : w.image[a], s->windows[i] = a < 0 ? 1 : w.windows[a];
    s->kernel[i] = a < 0 ? 1 : w.kernel[a], s->stride[i] = a < 0 ? 1 : w.stride[a];
    s->dilation[i] = a < 0 ? 1 : w.dilation[a];
    s->begin[i] = a < 0 ? 0 : w.begin[a], s->end[i] = a < 0 ? 0 : w.end[a];
  }
  s->average = ifd_node_int(x->node, "average", 0) != 0;
  s->count_padding = ifd_node_int(x->node, "count_include_pad", 0) != 0;
  p.pool.c = in->dim[in->rank - 1];
  p.pool.is_signed = x->in[0]->dtype == IFD_INT8;
  p.y_signed = x->out[0]->dtype == IFD_INT8;
  p.has_zero = ifd_node_has_input(x->node, P_ZERO);
  p.has_y_zero = ifd_node_has_input(x->node, P_Y_ZERO);
  double taps = (double)s->kernel[0] * (double)s->kernel[1] * (double)s->kernel[2];
  EXPECT(x->err, taps <= 1 << 23, LIMIT, "a window of more than 2^23 elements");
  p.lines = ifd_rows_split(in->dim[0] * s->windows[0] * s->windows[1],
                           taps * (double)(s->windows[2] * p.pool.c) / 4);
  x->work->algorithm = "int8 pool";
  return ifd_lower_rows(x, run_pool, &p, sizeof p, &p.lines);
}

static const char *batch_binary(const ifd_batch *b) { return (void)b, "bwwbw"; }

#define ROW(name_, stem, batch_)                                                                             \
  {                                                                                                          \
    .name = name_, .domain = "infold", .infer = infer_##stem, .eval = eval_##stem, .lower = lower_##stem,    \
    .batch = batch_                                                                                          \
  }
const ifd_op ifd_ops_quantized_elements[] = {ROW("QBinary", binary, batch_binary),
                                             ROW("QLookup", lookup, ifd_batch_first),
                                             ROW("QPool", pool, ifd_batch_first),
                                             {0}};
