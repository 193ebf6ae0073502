/* Operators of infold's own domain that plans make of quantized ones: products and convolutions of bytes
 * (shared/quant_work.h). Both take x, x_scale, x_zero_point, w, w_scale, w_zero_point, y_scale, y_zero_point,
 * B, as QLinearConv does, and attribute clip, the least and greatest real result. Without y_scale the result
 * is float, without any scale int32. QConv's images have their channels last, [N, image…, C]; QMatMul
 * with transB reads w as [n, k].
 *
 * QConv may add what follows it: other, other_scale, other_zero_point, sum_scale, sum_zero_point and
 * attribute sum_clip make the result QBinary's (ops/quantized_elements.c) of y and another value of y's
 * shape. */
#include <math.h>
#include <string.h>

#include "kernels/kernels.h"
#include "ops/shared/batch.h"
#include "ops/shared/conv_shape.h"
#include "ops/shared/matmul.h"
#include "ops/shared/quant_work.h"

enum { X, X_SCALE, X_ZERO, W, W_SCALE, W_ZERO, Y_SCALE, Y_ZERO, B };
enum { OTHER = B + 1, OTHER_SCALE, OTHER_ZERO, SUM_SCALE, SUM_ZERO };

/* ---- shared ---- */

static ifd_dtype result_dtype(const ifd_infer *x) {
  if (ifd_node_has_input(x->node, SUM_ZERO)) return ifd_infer_dtype(x, SUM_ZERO);
  if (ifd_node_has_input(x->node, SUM_SCALE)) return IFD_UINT8;
  if (ifd_node_has_input(x->node, Y_ZERO)) return ifd_infer_dtype(x, Y_ZERO);
  if (ifd_node_has_input(x->node, Y_SCALE)) return IFD_UINT8;
  bool scaled = ifd_node_has_input(x->node, X_SCALE) || ifd_node_has_input(x->node, W_SCALE);
  return scaled ? IFD_FLOAT : IFD_INT32;
}

static void clip_of(const ifd_node *node, const char *name, float *lo, float *hi) {
  const float *p;
  *lo = -INFINITY, *hi = INFINITY;
  if (ifd_node_floats(node, name, &p) == 2) *lo = p[0], *hi = p[1];
}

/* Only what is empty is left to an evaluation: the passes make nothing that the kernels do not take. */
static ifd_status put_empty(ifd_eval *x, const ifd_shape *shape) {
  ifd_tensor *out;
  ifd_dtype dtype = ifd_eval_has(x, SUM_ZERO)                              ? ifd_eval_in(x, SUM_ZERO)->dtype
                    : ifd_eval_has(x, SUM_SCALE)                           ? IFD_UINT8
                    : ifd_eval_has(x, Y_ZERO)                              ? ifd_eval_in(x, Y_ZERO)->dtype
                    : ifd_eval_has(x, Y_SCALE)                             ? IFD_UINT8
                    : ifd_eval_has(x, X_SCALE) || ifd_eval_has(x, W_SCALE) ? IFD_FLOAT
                                                                           : IFD_INT32;
  EXPECT(x->err, ifd_shape_count(shape) == 0, UNSUPPORTED, "products of integers run on kernels alone");
  return ifd_eval_out(x, &out, 0, dtype, shape);
}

/* ---- QMatMul ---- */

static ifd_status infer_matmul(ifd_infer *x) {
  if (!ifd_node_int(x->node, "transB", 0)) return ifd_matmul_infer(x, X, W, result_dtype(x));
  int rank = ifd_infer_rank(x, X);
  EXPECT(x->err, rank >= 1 && ifd_infer_rank(x, W) == 2, BAD_MODEL, "w of transB is no matrix");
  ifd_dim out[IFD_MAX_RANK];
  memcpy(out, x->in[X]->dims, (size_t)rank * sizeof *out);
  out[rank - 1] = ifd_infer_dim(x, W, 0);
  return ifd_infer_tensor(x, 0, result_dtype(x), rank, out);
}

static ifd_status eval_matmul(ifd_eval *x) {
  ifd_matmul p;
  ifd_shape w = ifd_eval_in(x, W)->shape, turned = {2, {w.dim[1], w.dim[0]}};
  bool trans_b = ifd_node_int(x->node, "transB", 0) != 0;
  TRY(ifd_matmul_init(x->err, &p, &ifd_eval_in(x, X)->shape, trans_b ? &turned : &w));
  return put_empty(x, &p.out);
}

static ifd_status lower_matmul(ifd_lower *x) {
  float lo, hi;
  clip_of(x->node, "clip", &lo, &hi);
  return ifd_lower_quant_matmul(x, &ifd_quant_in_order, lo, hi, ifd_node_int(x->node, "transB", 0) != 0);
}

static double cost_matmul(const ifd_node *node, const ifd_shape *in, const ifd_shape *out) {
  (void)node;
  return (double)ifd_shape_count(&out[0]) * (in[X].rank ? (double)in[X].dim[in[X].rank - 1] : 1);
}

/* ---- QConv ---- */

static ifd_status infer_conv(ifd_infer *x) {
  int rank = ifd_infer_rank(x, X);
  ifd_dim in[IFD_MAX_RANK], out[IFD_MAX_RANK];
  EXPECT(x->err, rank >= 3 && ifd_infer_rank(x, W) == rank, BAD_MODEL, "the weights do not fit the input");
  in[0] = ifd_infer_dim(x, X, 0), in[1] = ifd_infer_dim(x, X, rank - 1);
  for (int i = 2; i < rank; i++) in[i] = ifd_infer_dim(x, X, i - 1);
  TRY(ifd_window_infer(x, rank, in, x->in[W]->dims + 2, out));
  out[0] = in[0];
  for (int i = 1; i < rank - 1; i++) out[i] = out[i + 1];
  out[rank - 1] = ifd_infer_dim(x, W, 0);
  return ifd_infer_tensor(x, 0, result_dtype(x), rank, out);
}

typedef struct conv_params {
  ifd_quant_call call;
  ifd_k_conv_shape shape;
  int64_t x_len;         /* bytes of all images */
  ifd_k_quant_product p; /* sizes */
  ifd_k_quant_grid grid;
  int64_t rows, step; /* depthwise: lines, lines of a task */
  int64_t joined;     /* groups that are one of the shape's */
  bool quads, direct, by_lines;
  ifd_k_quant_lines lines;
  ifd_k_quant_winograd winograd;
} conv_params;

static ifd_k_quant_image image_of(const conv_params *s, const ifd_args *args, int64_t group) {
  const uint8_t *x = args->in[X];
  return (ifd_k_quant_image){.shape = &s->shape,
                             .x = x + group * (s->shape.c / s->shape.groups),
                             .end = x + s->x_len,
                             .flip = s->call.x_signed ? 0x80 : 0,
                             .fill = (uint8_t)ifd_quant_x_zero(&s->call, args)};
}

/* Reads the image, and what `sum` becomes where something is added. */
static ifd_k_quant_product product_of(const conv_params *s, const ifd_args *args, int64_t group,
                                      const ifd_k_quant_image *image, ifd_k_quant_binary *sum) {
  size_t size = (size_t)ifd_k_quant_size(s->call.out);
  ifd_k_quant_product p = s->p;
  p.a = image->x;
  p.pack = s->direct ? NULL : s->call.kernels->gather;
  p.lines = s->by_lines ? &s->lines : NULL;
  p.source = image;
  p.b = ifd_quant_packed(&s->call, args, group);
  p.c = (char *)args->out[0] + (size_t)(group * p.n) * size;
  p.finish = ifd_quant_finish_of(&s->call, args, group);
  if (s->call.out != IFD_K_QUANT_SUM) return p;
  *sum = ifd_quant_sum_of(&s->call, args);
  p.finish.sum = sum;
  p.other = (const uint8_t *)args->in[OTHER] + group * p.n;
  return p;
}

static void run_conv(const void *params, const ifd_args *args, int task) {
  const conv_params *s = params;
  int64_t group = task / s->grid.n_tasks, part = task % s->grid.n_tasks;
  int64_t i0 = part % s->grid.n_m * s->grid.m_step, j0 = part / s->grid.n_m * s->grid.n_step;
  ifd_k_quant_image image = image_of(s, args, group);
  ifd_k_quant_binary sum;
  ifd_k_quant_product p = product_of(s, args, group, &image, &sum);
  s->call.kernels->run(&p, i0, ifd_min_i64(i0 + s->grid.m_step, p.m), j0,
                       ifd_min_i64(j0 + s->grid.n_step, p.n), args->scratch);
}

static void run_winograd(const void *params, const ifd_args *args, int task) {
  const conv_params *s = params;
  int64_t group = task / s->grid.n_tasks, part = task % s->grid.n_tasks;
  int64_t i0 = part % s->grid.n_m * s->grid.m_step, j0 = part / s->grid.n_m * s->grid.n_step;
  ifd_k_quant_image image = image_of(s, args, group);
  image.flip ^= 0x80, image.fill ^= 0x80;
  ifd_k_quant_binary sum;
  ifd_k_quant_product p = product_of(s, args, group, &image, &sum);
  s->call.kernels->winograd(&s->winograd, &p, i0, ifd_min_i64(i0 + s->grid.m_step, s->winograd.m), j0,
                            ifd_min_i64(j0 + s->grid.n_step, p.n), args->scratch);
}

static void run_depthwise(const void *params, const ifd_args *args, int task) {
  const conv_params *s = params;
  ifd_k_quant_image image = image_of(s, args, 0);
  ifd_k_quant_finish f = ifd_quant_finish_of(&s->call, args, 0);
  (s->quads ? s->call.kernels->depthwise_quads : s->call.kernels->depthwise)(
      &image, ifd_quant_packed(&s->call, args, 0), &f, args->out[0], task * s->step,
      ifd_min_i64((task + 1) * s->step, s->rows), args->scratch);
}

static ifd_status lower_depthwise(ifd_lower *x, conv_params *s, const ifd_quant_roles *roles, int64_t batch) {
  int64_t taps = s->shape.kernel[0] * s->shape.kernel[1] * s->shape.kernel[2];
  ifd_quant_weights w = {.matrix = {.n = s->shape.m, .k = taps, .inner = taps, .inner_rs = 1, .b_cs = taps},
                         .count = 1,
                         .own_columns = true};
  s->quads = ifd_k_quant_has_quads(x->isa, ifd_cpu_dot(x->isa)) && ifd_dtype_is_byte(x->out[0]->dtype) &&
             !ifd_quant_has_zero(x, roles);
  if (s->quads) ifd_k_quant_quads_matrix(&w.matrix, &s->shape);
  TRY(ifd_quant_prepare(x, &s->call, roles, &w));
  s->rows = batch * s->shape.out[IFD_K_D] * s->shape.out[IFD_K_H];
  const double line = (double)(s->shape.out[IFD_K_W] * s->shape.m * taps) / 8;
  s->step = x->threads == 1 ? s->rows : ifd_lower_grain(s->rows, line); /* tasks share lines of x */
  x->work->algorithm = "int8 depthwise";
  return ifd_lower_launch(x, run_depthwise, s, sizeof *s, ifd_ceil_div(s->rows, s->step),
                          ifd_k_quant_depthwise_scratch_len(&s->shape));
}

/* Of all groups. */
static ifd_quant_weights weights_of(const conv_params *s) {
  const ifd_k_conv_shape *c = &s->shape;
  const int64_t taps = c->kernel[0] * c->kernel[1] * c->kernel[2], cg = c->c / c->groups,
                n = c->m / c->groups;
  return (ifd_quant_weights){
      .matrix = {.n = n, .k = taps * cg, .inner = cg, .inner_rs = taps, .outer_rs = 1, .b_cs = cg * taps},
      .count = c->groups,
      .stride = n * cg / s->joined * taps,
      .joined = s->joined,
      .own_columns = true};
}

/* How many groups are one product with zeros between them: as many as fill the columns that one is computed
 * in anyway. */
enum { LANES = 16 };
static int64_t joined_groups(const ifd_lower *x, const ifd_k_conv_shape *c) {
  const int64_t weights = c->kernel[0] * c->kernel[1] * c->kernel[2] * (c->c / c->groups),
                columns = c->m / c->groups;
  int64_t n = LANES / columns;
  if (!x->constant[W] || !ifd_k_quant_has_pairs(x->isa, ifd_cpu_dot(x->isa)) ||
      ifd_quant_has_zero(x, &ifd_quant_in_order))
    return 1;
  while (n > 1 && (c->groups % n || n * n * columns * weights > IFD_QUANT_JOINED)) n--;
  return ifd_max_i64(n, 1);
}

static ifd_status lower_winograd(ifd_lower *x, conv_params *s, const ifd_quant_roles *roles) {
  const ifd_k_conv_shape *c = &s->shape;
  ifd_quant_weights w = weights_of(s);
  memcpy(w.matrix.outputs, s->winograd.outputs, sizeof w.matrix.outputs);
  TRY(ifd_quant_prepare(x, &s->call, roles, &w));
  s->p = (ifd_k_quant_product){.n = w.matrix.n, .c_rs = c->m};
  s->grid = ifd_k_quant_winograd_split(&s->winograd, w.matrix.n, x->threads);
  x->work->algorithm = "int8 winograd";
  return ifd_lower_launch(x, run_winograd, s, sizeof *s, c->groups * s->grid.n_tasks,
                          ifd_k_quant_winograd_scratch_len(&s->winograd, s->grid.m_step));
}

static bool is_pointwise(const ifd_k_conv_shape *s) {
  bool is = s->groups == 1;
  for (int d = 0; d < IFD_K_DIMS; d++)
    is = is && s->kernel[d] == 1 && s->stride[d] == 1 && s->pad[d] == 0 && s->in[d] == s->out[d];
  return is;
}

/* Rows are the output places of all samples: integers do not mind which sample is beside them. */
static ifd_status lower_product(ifd_lower *x, conv_params *s, const ifd_quant_roles *roles, int64_t batch) {
  const ifd_k_conv_shape *c = &s->shape;
  int64_t cg = c->c / c->groups;
  ifd_quant_weights w = weights_of(s);
  w.matrix.is_bounded = ifd_k_quant_has_pairs(x->isa, ifd_cpu_dot(x->isa));
  s->direct = is_pointwise(c) && x->in[roles->x]->dtype == IFD_UINT8 && cg % 4 == 0;
  s->by_lines = !s->direct && ifd_k_quant_lines_init(&s->lines, c, batch, ifd_cpu_dot(x->isa),
                                                     ifd_quant_has_zero(x, roles));
  if (s->by_lines) ifd_k_quant_lines_matrix(&w.matrix, &s->lines, c);
  TRY(ifd_quant_prepare(x, &s->call, roles, &w));
  int64_t rows = batch * c->out[IFD_K_D] * c->out[IFD_K_H] * c->out[IFD_K_W];
  s->p = (ifd_k_quant_product){.m = rows,
                               .n = w.matrix.n,
                               .k = w.matrix.k,
                               .dot = s->call.dot,
                               .a_rs = c->c,
                               .c_rs = c->m,
                               .finish = {.out = s->call.out}};
  if (s->by_lines) s->p.m = s->lines.m, s->p.lines = &s->lines;
  s->grid = ifd_k_quant_split(&s->p, x->threads);
  x->work->algorithm = s->direct ? "int8 direct" : s->by_lines ? "int8 lines" : "int8 gathered";
  return ifd_lower_launch(x, run_conv, s, sizeof *s, c->groups * s->grid.n_tasks,
                          ifd_k_quant_scratch_len(&s->p, s->grid.m_step));
}

/* [N, C, image…] of a shape whose channels are last. */
static ifd_shape channels_first(const ifd_shape *s) {
  ifd_shape plain = {.rank = s->rank, .dim = {s->dim[0], s->dim[s->rank - 1]}};
  for (int i = 2; i < s->rank; i++) plain.dim[i] = s->dim[i - 1];
  return plain;
}

static ifd_status eval_conv(ifd_eval *x) {
  ifd_window window;
  ifd_shape plain = channels_first(&ifd_eval_in(x, X)->shape), out = plain;
  const ifd_shape *w = &ifd_eval_in(x, W)->shape;
  TRY(ifd_window_init(x->err, &window, x->node, &plain, w));
  for (int i = 1; i < out.rank - 1; i++) out.dim[i] = window.windows[i - 1];
  out.dim[out.rank - 1] = w->dim[0];
  return put_empty(x, &out);
}

static ifd_status lower_conv(ifd_lower *x) {
  conv_params s = {0};
  ifd_window window;
  const ifd_shape *w = &x->in[W]->shape;
  ifd_shape plain = channels_first(&x->in[X]->shape);
  TRY(ifd_window_init(x->err, &window, x->node, &plain, w));
  int64_t groups = ifd_node_int(x->node, "group", 1), c = plain.dim[1], m = w->dim[0];
  EXPECT(x->err, groups > 0 && c % groups == 0 && m % groups == 0 && w->dim[1] == c / groups, BAD_INPUT,
         "%lld channels in %lld groups do not fit the weights", (long long)c, (long long)groups);
  EXPECT(x->err, window.n <= IFD_K_DIMS, UNSUPPORTED, "more than three axes");
  if (!ifd_quant_fits(x, &ifd_quant_in_order, m)) return IFD_OK;
  ifd_k_conv_plan sizes; /* of a float convolution: as large */
  s.shape = ifd_conv_shape_of(&window, c, m, groups, false);
  s.x_len = ifd_tensor_count(x->in[X]);
  EXPECT(x->err, ifd_k_conv_plan_init(&sizes, &s.shape, IFD_K_CONV_DIRECT, plain.dim[0], x->threads), LIMIT,
         "the convolution is larger than memory");
  clip_of(x->node, "clip", &s.call.lo, &s.call.hi);
  clip_of(x->node, "sum_clip", &s.call.sum_lo, &s.call.sum_hi);
  bool depthwise = groups == c && groups == m && groups > 1 && !ifd_node_has_input(x->node, OTHER);
  if (depthwise) return lower_depthwise(x, &s, &ifd_quant_in_order, plain.dim[0]);
  s.joined = joined_groups(x, &s.shape), s.shape.groups /= s.joined;
  if (x->constant[W] && !ifd_quant_has_zero(x, &ifd_quant_in_order) &&
      ifd_k_quant_winograd_init(&s.winograd, &s.shape, plain.dim[0], ifd_cpu_dot(x->isa)))
    return lower_winograd(x, &s, &ifd_quant_in_order);
  return lower_product(x, &s, &ifd_quant_in_order, plain.dim[0]);
}

static double cost_conv(const ifd_node *node, const ifd_shape *in, const ifd_shape *out) {
  (void)node;
  return (double)ifd_shape_count(&out[0]) * (double)ifd_shape_span(&in[W], 1, in[W].rank);
}

static const char *batch_matmul(const ifd_batch *b) {
  const ifd_tensor *scale = ifd_batch_in(b, X_SCALE);
  return scale && ifd_tensor_count(scale) > 1 ? NULL : "pwwmw";
}

/* Samples are parts of x and of what is added. */
static const char *batch_conv(const ifd_batch *b) { return (void)b, "pwwwwwwwwpw"; }

const ifd_op ifd_ops_quantized[] = {{.name = "QMatMul",
                                     .domain = "infold",
                                     .infer = infer_matmul,
                                     .eval = eval_matmul,
                                     .lower = lower_matmul,
                                     .cost = cost_matmul,
                                     .batch = batch_matmul},
                                    {.name = "QConv",
                                     .domain = "infold",
                                     .infer = infer_conv,
                                     .eval = eval_conv,
                                     .lower = lower_conv,
                                     .cost = cost_conv,
                                     .batch = batch_conv},
                                    {0}};
