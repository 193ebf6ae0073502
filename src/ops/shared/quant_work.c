#include "ops/shared/quant_work.h"

#include <math.h>
#include <string.h>

#include "kernels/kernels.h"
#include "ops/shared/matmul.h"

enum { LANES = 16, MAX_K = 1 << 15 }; /* 255² times so many fit int32 */

/* ---- operands ---- */

const ifd_quant_roles ifd_quant_in_order = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13};

static const ifd_tensor *input(const ifd_lower *x, int i) {
  return i >= 0 && i < x->node->n_inputs ? x->in[i] : NULL;
}

static bool is_byte(const ifd_tensor *t) { return t && ifd_dtype_is_byte(t->dtype); }

/* Absent, or one element (of n: one for each column) of the type. */
static bool is_parameter(const ifd_tensor *t, ifd_dtype dtype, int64_t n) {
  if (!t) return true;
  int64_t count = ifd_tensor_count(t);
  return t->dtype == dtype && (count == 1 || (count == n && t->shape.rank == 1));
}

/* What is added is as large as the result. */
static bool sum_fits(const ifd_lower *x, const ifd_quant_roles *r) {
  const ifd_tensor *other = input(x, r->other), *y_zero = input(x, r->y_zero);
  if (!other) return true;
  return is_byte(other) && is_byte(x->out[0]) && ifd_shape_equal(&other->shape, &x->out[0]->shape) &&
         input(x, r->y_scale) && (!y_zero || is_byte(y_zero)) && input(x, r->other_scale) &&
         input(x, r->sum_scale) && is_parameter(input(x, r->other_scale), IFD_FLOAT, 1) &&
         is_parameter(input(x, r->other_zero), other->dtype, 1) &&
         is_parameter(input(x, r->sum_scale), IFD_FLOAT, 1) &&
         is_parameter(input(x, r->sum_zero), x->out[0]->dtype, 1);
}

bool ifd_quant_fits(const ifd_lower *x, const ifd_quant_roles *r, int64_t n) {
  const ifd_tensor *a = input(x, r->x), *w = input(x, r->w), *bias = input(x, r->bias),
                   *y_zero = input(x, r->y_zero);
  if (!is_byte(a) || !is_byte(w) || !x->out[0] || ifd_tensor_count(x->out[0]) == 0) return false;
  ifd_dtype y = x->out[0]->dtype;
  if (y != IFD_UINT8 && y != IFD_INT8 && y != IFD_INT32 && y != IFD_FLOAT) return false;
  if (bias && ((bias->dtype != IFD_INT32 && bias->dtype != IFD_FLOAT) || ifd_tensor_count(bias) != n))
    return false;
  return is_parameter(input(x, r->x_scale), IFD_FLOAT, 1) && is_parameter(input(x, r->x_zero), a->dtype, 1) &&
         is_parameter(input(x, r->w_scale), IFD_FLOAT, n) && is_parameter(input(x, r->w_zero), w->dtype, n) &&
         is_parameter(input(x, r->y_scale), IFD_FLOAT, 1) &&
         is_parameter(y_zero, input(x, r->other) && y_zero ? y_zero->dtype : y, 1) && sum_fits(x, r);
}

/* 1 where there is none. */
static float scale_at(const ifd_args *args, int i) { return i < 0 ? 1 : *(const float *)args->in[i]; }

static int32_t byte_at(const ifd_args *args, int i, bool is_signed, int64_t at) {
  if (i < 0) return 0;
  return is_signed ? ((const int8_t *)args->in[i])[at] : ((const uint8_t *)args->in[i])[at];
}

int32_t ifd_quant_x_zero(const ifd_quant_call *c, const ifd_args *args) {
  return byte_at(args, c->roles.x_zero, c->x_signed, 0) + (c->x_signed ? 128 : 0);
}

/* ---- in shared memory: the finish of all columns of all matrices, then packed weights ---- */

typedef struct columns {
  int32_t *add, *b_zero;
  float *scale, *shift;
} columns;

static int64_t padded(int64_t n) { return ifd_ceil_div(n, LANES) * LANES; }

static columns columns_of(const ifd_quant_call *c, const ifd_args *args, int64_t i) {
  int64_t n = padded(c->w.matrix.n);
  int32_t *first = (int32_t *)((char *)args->shared + c->columns_at) + i * 4 * n;
  return (columns){first, first + n, (float *)first + 2 * n, (float *)first + 3 * n};
}

const int8_t *ifd_quant_packed(const ifd_quant_call *c, const ifd_args *args, int64_t i) {
  const int8_t *first = c->packed ? c->packed : (const int8_t *)args->shared + c->packed_at;
  return first + (size_t)i * c->packed_step;
}

ifd_k_quant_finish ifd_quant_finish_of(const ifd_quant_call *c, const ifd_args *args, int64_t i) {
  columns k = columns_of(c, args, i);
  ifd_k_quant_finish f = {.out = c->out,
                          .add = k.add,
                          .b_zero = c->w_has_zero ? k.b_zero : NULL,
                          .scale = k.scale,
                          .shift = k.shift,
                          .lo = c->lo,
                          .hi = c->hi};
  if (c->out < IFD_K_QUANT_INT8) return f;
  f.zero = byte_at(args, c->roles.y_zero, c->y_signed, 0);
  ifd_quant_bounds(c->y_signed, f.zero, c->lo, c->hi, scale_at(args, c->roles.y_scale), &f.lo, &f.hi);
  return f;
}

ifd_k_quant_binary ifd_quant_sum_of(const ifd_quant_call *c, const ifd_args *args) {
  const ifd_quant_roles *r = &c->roles;
  ifd_k_quant_binary q = {.a = {.scale = scale_at(args, r->y_scale)},
                          .b = {.is_signed = c->other_signed,
                                .zero = byte_at(args, r->other_zero, c->other_signed, 0),
                                .scale = scale_at(args, r->other_scale)},
                          .scale = scale_at(args, r->sum_scale),
                          .zero = byte_at(args, r->sum_zero, c->sum_signed, 0)};
  ifd_quant_bounds(c->sum_signed, q.zero, c->sum_lo, c->sum_hi, q.scale, &q.lo, &q.hi);
  ifd_k_quant_fold(&q);
  return q;
}

/* The zero point of column j of the weights, as packed. */
static void prepare_zeros(const ifd_quant_call *c, const ifd_args *args, const columns *k, int64_t at) {
  const bool is_unsigned = c->w.matrix.is_unsigned;
  for (int64_t j = 0; j < c->w.matrix.n; j++)
    k->b_zero[j] = byte_at(args, c->roles.w_zero, !is_unsigned, c->zero_per_column ? at + j : 0) -
                   (is_unsigned ? 128 : 0);
}

/* What is added to the sums of columns: terms of the zero points, and an integer bias. */
static void prepare_sums(const ifd_quant_call *c, const ifd_args *args, const columns *k, const int32_t *sums,
                         int64_t at) {
  const int64_t n = c->w.matrix.n;
  const uint32_t x0 = (uint32_t)ifd_quant_x_zero(c, args) - (*c->w.matrix.outputs ? 128 : 0),
                 terms = (uint32_t)c->w.matrix.k;
  const uint32_t *bias =
      c->roles.bias >= 0 && !c->bias_is_float ? (const uint32_t *)args->in[c->roles.bias] + at : NULL;
  for (int64_t j = 0; j < n; j++)
    k->add[j] = (int32_t)(terms * x0 * (uint32_t)k->b_zero[j] - x0 * (uint32_t)sums[j]);
  for (int64_t j = 0; bias && j < n; j++) k->add[j] = (int32_t)((uint32_t)k->add[j] + bias[j]);
}

static void prepare_scales(const ifd_quant_call *c, const ifd_args *args, const columns *k, int64_t at) {
  const ifd_quant_roles *r = &c->roles;
  const int64_t n = c->w.matrix.n;
  const float x = scale_at(args, r->x_scale), w = scale_at(args, r->w_scale);
  const float y = c->out >= IFD_K_QUANT_INT8 ? scale_at(args, r->y_scale) : 1;
  const float *each = c->w_per_column ? (const float *)args->in[r->w_scale] + at : NULL;
  const float *bias = r->bias >= 0 && c->bias_is_float ? (const float *)args->in[r->bias] + at : NULL;
  for (int64_t j = 0; j < n; j++) k->scale[j] = each ? x * each[j] / y : x * w / y;
  for (int64_t j = 0; j < n; j++) k->shift[j] = bias ? bias[j] / y : 0;
}

/* A task is a matrix. */
static void run_prepare(const void *params, const ifd_args *args, int task) {
  const ifd_quant_call *c = params;
  int64_t n = c->w.matrix.n, at = c->w.own_columns ? task * n : 0;
  if (!c->packed) {
    ifd_k_quant_matrix m = c->w.matrix;
    m.b = (const char *)args->in[c->roles.w] + task * c->w.stride;
    ifd_k_quant_pack_b((int8_t *)args->shared + c->packed_at + (size_t)task * c->packed_step, &m, 0,
                       ifd_k_quant_parts(&m));
  }
  const int32_t *sums = ifd_k_quant_column_sums(ifd_quant_packed(c, args, task), &c->w.matrix);
  columns to = columns_of(c, args, task);
  memset(to.add, 0, sizeof(int32_t) * 4 * (size_t)padded(n));
  prepare_zeros(c, args, &to, at);
  prepare_sums(c, args, &to, sums, at);
  prepare_scales(c, args, &to, at);
}

/* ---- lowering ---- */

static size_t packed_step(const ifd_k_quant_matrix *m) { return (ifd_k_quant_packed_len(m) + 63) / 64 * 64; }

/* The groups of a matrix side by side, zeros between them: of each column all channels, of these all taps. */
static const uint8_t *join(const ifd_quant_weights *w, const uint8_t *from, uint8_t *to) {
  const int64_t n = w->matrix.n, k = w->matrix.k, own = k / w->joined;
  if (w->joined <= 1) return from;
  memset(to, w->matrix.is_unsigned ? 128 : 0, (size_t)(n * k));
  for (int64_t j = 0; j < n; j++) memcpy(to + j * k + j * w->joined / n * own, from + j * own, (size_t)own);
  return to;
}

/* A share is parts of matrices, one behind another. */
static void pack_matrices(void *to, const void *from, const void *params, int share, int n_shares) {
  const ifd_quant_weights *w = params;
  const int64_t parts = ifd_k_quant_parts(&w->matrix);
  uint8_t joined[IFD_QUANT_JOINED];
  int64_t begin, end;
  ifd_packing_share(w->count * parts, share, n_shares, &begin, &end);
  for (int64_t i = begin / parts, first = begin % parts; i * parts < end; i++, first = 0) {
    ifd_k_quant_matrix m = w->matrix;
    m.b = join(w, (const uint8_t *)from + i * w->stride, joined);
    ifd_k_quant_pack_b((int8_t *)to + (size_t)i * packed_step(&m), &m, first,
                       ifd_min_i64(parts, end - i * parts));
  }
}

bool ifd_quant_has_zero(const ifd_lower *x, const ifd_quant_roles *roles) {
  const ifd_tensor *t = input(x, roles->w_zero);
  bool is_unsigned = x->in[roles->w]->dtype == IFD_UINT8;
  int64_t none = is_unsigned ? 128 : 0;
  if (!t) return is_unsigned;
  if (!t->data) return true;
  for (int64_t j = 0; j < ifd_tensor_count(t); j++)
    if (ifd_tensor_get_i64(t, j) != none) return true;
  return false;
}

static bool is_signed(const ifd_lower *x, int i) { return input(x, i) && x->in[i]->dtype == IFD_INT8; }

static bool per_column(const ifd_lower *x, int i) { return input(x, i) && ifd_tensor_count(input(x, i)) > 1; }

ifd_status ifd_quant_prepare(ifd_lower *x, ifd_quant_call *c, const ifd_quant_roles *roles,
                             const ifd_quant_weights *w) {
  ifd_dtype y = x->out[0]->dtype;
  *c = (ifd_quant_call){.kernels = ifd_k_quant(x->isa),
                        .dot = ifd_cpu_dot(x->isa),
                        .out = input(x, roles->other) ? IFD_K_QUANT_SUM
                               : y == IFD_INT32       ? IFD_K_QUANT_INT32
                               : y == IFD_FLOAT       ? IFD_K_QUANT_FLOAT
                                                      : IFD_K_QUANT_INT8,
                        .roles = *roles,
                        .w = *w,
                        .lo = c->lo,
                        .hi = c->hi,
                        .sum_lo = c->sum_lo,
                        .sum_hi = c->sum_hi,
                        .other_signed = is_signed(x, roles->other),
                        .sum_signed = y == IFD_INT8,
                        .x_signed = x->in[roles->x]->dtype == IFD_INT8,
                        .y_signed = input(x, roles->other) ? is_signed(x, roles->y_zero) : y == IFD_INT8,
                        .w_per_column = per_column(x, roles->w_scale),
                        .zero_per_column = per_column(x, roles->w_zero),
                        .bias_is_float = input(x, roles->bias) && x->in[roles->bias]->dtype == IFD_FLOAT};
  int *all[] = {&c->roles.x_scale,     &c->roles.x_zero,     &c->roles.w_scale,   &c->roles.w_zero,
                &c->roles.y_scale,     &c->roles.y_zero,     &c->roles.bias,      &c->roles.other,
                &c->roles.other_scale, &c->roles.other_zero, &c->roles.sum_scale, &c->roles.sum_zero};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) /* runs look no further */
    if (!input(x, *all[i])) *all[i] = -1;
  c->w.matrix.is_unsigned = x->in[roles->w]->dtype == IFD_UINT8;
  c->w_has_zero = ifd_quant_has_zero(x, roles);
  c->packed_step = packed_step(&w->matrix);
  c->packed_at = sizeof(int32_t) * 4 * (size_t)(padded(w->matrix.n) * w->count);
  c->shared = c->packed_at;
  if (x->constant[roles->w]) {
    const void *packed;
    ifd_quant_weights key = c->w;
    TRY(x->packed(x, &packed, x->in[roles->w],
                  &(ifd_packing){.pack = pack_matrices,
                                 .params = &key,
                                 .params_size = sizeof key,
                                 .bytes = c->packed_step * (size_t)w->count,
                                 .any_shape = x->in[roles->w]->shape.rank <= 2}));
    c->packed = packed;
    x->work->unread |= 1u << roles->w;
  } else {
    c->shared += c->packed_step * (size_t)w->count;
  }
  x->work->shared = c->shared;
  return ifd_lower_launch(x, run_prepare, c, sizeof *c, w->count, 0);
}

/* ---- matrices ---- */

typedef struct matmul_params {
  ifd_quant_call call;
  ifd_k_quant_product p; /* sizes */
  ifd_k_quant_grid grid;
  ifd_matmul shape;
  bool direct;
} matmul_params;

/* Rows as they lie, read as uint8. */
typedef struct rows {
  const uint8_t *a;
  int64_t k;
  uint8_t flip;
} rows;

static void pack_rows(const void *source, uint8_t *to, int64_t stride, int64_t i0, int64_t i1) {
  const rows *r = source;
  for (int64_t i = i0; i < i1; i++, to += stride) {
    const uint8_t *from = r->a + i * r->k;
    for (int64_t k = 0; k < r->k; k++) to[k] = from[k] ^ r->flip;
  }
}

static void run_matmul(const void *params, const ifd_args *args, int task) {
  const matmul_params *s = params;
  int64_t product = task / s->grid.n_tasks, at[2] = {0}, rest = product;
  int64_t i0 = task % s->grid.n_tasks % s->grid.n_m * s->grid.m_step,
          j0 = task % s->grid.n_tasks / s->grid.n_m * s->grid.n_step;
  for (int d = s->shape.batch.rank - 1; d >= 0; d--) {
    int64_t index = rest % s->shape.batch.dim[d];
    rest /= s->shape.batch.dim[d];
    at[0] += index * s->shape.a_batch[d], at[1] += index * s->shape.b_batch[d];
  }
  int64_t matrix = s->call.w.count == 1 ? 0 : at[1] / s->call.w.stride;
  size_t size = (size_t)ifd_k_quant_size(s->call.out);
  ifd_k_quant_product p = s->p;
  rows r = {(const uint8_t *)args->in[s->call.roles.x] + at[0], p.k, s->call.x_signed ? 0x80 : 0};
  p.a = r.a;
  p.pack = s->direct ? NULL : pack_rows;
  p.source = &r;
  p.b = ifd_quant_packed(&s->call, args, matrix);
  p.c = (char *)args->out[0] + (size_t)(product * p.m * p.n) * size;
  p.finish = ifd_quant_finish_of(&s->call, args, matrix);
  s->call.kernels->run(&p, i0, ifd_min_i64(i0 + s->grid.m_step, p.m), j0,
                       ifd_min_i64(j0 + s->grid.n_step, p.n), args->scratch);
}

ifd_status ifd_lower_quant_matmul(ifd_lower *x, const ifd_quant_roles *roles, float lo, float hi,
                                  bool transposed) {
  matmul_params s = {.call = {.lo = lo, .hi = hi}};
  ifd_matmul *d = &s.shape;
  ifd_shape b = x->in[roles->w]->shape;
  if (transposed) b.dim[0] = x->in[roles->w]->shape.dim[1], b.dim[1] = x->in[roles->w]->shape.dim[0];
  TRY(ifd_matmul_init(x->err, d, &x->in[roles->x]->shape, &b));
  if (!ifd_quant_fits(x, roles, d->n) || d->k == 0 || d->k > MAX_K) return IFD_OK;
  ifd_quant_weights w = {.matrix = {.n = d->n,
                                    .k = d->k,
                                    .inner = d->k,
                                    .inner_rs = transposed ? 1 : d->n,
                                    .b_cs = transposed ? d->k : 1,
                                    .is_bounded = ifd_k_quant_has_pairs(x->isa, ifd_cpu_dot(x->isa))},
                         .count = 1};
  int64_t m = d->m;
  if (b.rank <= 2) { /* rows that meet the same matrix are rows of one product */
    m *= ifd_shape_count(&d->batch);
    d->batch.rank = 0;
  } else {
    w.stride = d->n * d->k;
    w.count = ifd_shape_count(&b) / w.stride;
  }
  TRY(ifd_quant_prepare(x, &s.call, roles, &w));
  s.p = (ifd_k_quant_product){.m = m, .n = d->n, .k = d->k, .dot = s.call.dot, .a_rs = d->k, .c_rs = d->n};
  s.grid = ifd_k_quant_split(&s.p, x->threads);
  s.direct = !s.call.x_signed && d->k % 4 == 0;
  x->work->algorithm = "int8 gemm";
  return ifd_lower_launch(x, run_matmul, &s, sizeof s, ifd_shape_count(&d->batch) * s.grid.n_tasks,
                          ifd_k_quant_scratch_len(&s.p, s.grid.m_step));
}
