/* Matrix products: MatMul and its quantized forms, and Gemm. */
#include <math.h>
#include <string.h>

#include "ops/shared/matmul.h"
#include "ops/shared/elementwise.h"
#include "ops/shared/gemm_work.h"
#include "ops/shared/quant_work.h"
#include "ops/shared/values.h"
#include "ops/shared/walk.h"

/* ---- MatMul ---- */

static ifd_status infer_matmul(ifd_infer *x) { return ifd_matmul_infer(x, 0, 1, ifd_infer_dtype(x, 0)); }

static ifd_status matmul_floats(ifd_eval *x, const ifd_matmul *p) {
  const double *a, *b;
  double *c;
  TRY(ifd_eval_f64(x, &a, 0));
  TRY(ifd_eval_f64(x, &b, 1));
  TRY(ifd_eval_zeros(x, &c, ifd_shape_count(&p->out)));
  ifd_matmul_run_f64(p, a, b, c);
  return ifd_eval_put_f64(x, 0, ifd_eval_dtype(x, 0), &p->out, c);
}

static ifd_status matmul_integers(ifd_eval *x, const ifd_matmul *p) {
  const int64_t *a, *b;
  uint64_t *c;
  int64_t n;
  TRY(ifd_eval_ints(x, &a, &n, 0));
  TRY(ifd_eval_ints(x, &b, &n, 1));
  ALLOC(x->err, c, ifd_new_array(x->scratch, uint64_t, ifd_shape_count(&p->out)));
  ifd_matmul_run_u64(p, (const uint64_t *)a, (const uint64_t *)b, c);
  return ifd_eval_put_i64(x, 0, ifd_eval_dtype(x, 0), &p->out, (const int64_t *)c);
}

static ifd_status eval_matmul(ifd_eval *x) {
  ifd_matmul p;
  TRY(ifd_matmul_init(x->err, &p, ifd_eval_shape(x, 0), ifd_eval_shape(x, 1)));
  return ifd_dtype_is_float(ifd_eval_dtype(x, 0)) ? matmul_floats(x, &p) : matmul_integers(x, &p);
}

static ifd_status lower_matmul(ifd_lower *x) {
  ifd_matmul s;
  bool doubles = ifd_lower_all(x, 2, IFD_DOUBLE);
  if (!doubles && !ifd_lower_all_float(x, 2)) return IFD_OK;
  TRY(ifd_matmul_init(x->err, &s, &x->in[0]->shape, &x->in[1]->shape));
  ifd_products p = ifd_products_of(&s, x->in[1]->shape.rank);
  if (doubles) return ifd_lower_products_f64(x, &p, 0, 1, 1, -1);
  return ifd_lower_products(x, &p, 0, 1, &(ifd_gemm_epilogue){.e = IFD_K_EPILOGUE_NONE});
}

/* Every output is a sum over the last dimension of the first operand. */
static double cost_of(const ifd_shape *a, const ifd_shape *out) {
  double cost = a->rank ? (double)a->dim[a->rank - 1] : 0;
  for (int i = 0; i < out->rank; i++) cost *= (double)out->dim[i];
  return cost;
}
static double cost_matmul(const ifd_node *node, const ifd_shape *in, const ifd_shape *out) {
  (void)node;
  return cost_of(&in[0], &out[0]);
}

/* ---- MatMulInteger, QLinearMatMul ---- */

static ifd_status infer_matmul_integer(ifd_infer *x) { return ifd_matmul_infer(x, 0, 1, IFD_INT32); }
static ifd_status infer_qlinear_matmul(ifd_infer *x) {
  return ifd_matmul_infer(x, 0, 3, ifd_infer_dtype(x, 7));
}

/* Scales and zero points are one element, a vector with one for each row of the first operand or each column
 * of the second, or a tensor that broadcasts to the operand. The shape under which they broadcast to it. */
static ifd_shape parameter_shape(const ifd_shape *s, bool by_row) {
  ifd_shape view = *s;
  if (ifd_shape_count(s) == 1) view.rank = 0;
  if (by_row && view.rank == 1) view.dim[view.rank++] = 1;
  return view;
}

/* Strides of a parameter seen from `whole`. */
static ifd_status parameter_strides(ifd_error *err, const ifd_shape *s, bool by_row, const ifd_shape *whole,
                                    int64_t *strides) {
  ifd_shape view = parameter_shape(s, by_row), both;
  char ts[256], tw[256];
  ifd_status status = ifd_shape_broadcast(err, &both, &view, whole);
  TRY(status);
  EXPECT(err, ifd_shape_equal(&both, whole), BAD_INPUT, "scale or zero point of shape %s for shape %s",
         ifd_shape_text(s, ts, sizeof ts), ifd_shape_text(whole, tw, sizeof tw));
  ifd_shape_broadcast_strides(&view, whole, strides);
  return IFD_OK;
}

/* Operand i less its zero point (input zp, which may be absent), as doubles. */
static ifd_status less_zero_point(ifd_eval *x, double **out, int i, int zp, bool by_row) {
  const double *v, *zero;
  const ifd_shape *shape = ifd_eval_shape(x, i);
  int64_t strides[IFD_MAX_RANK], own[IFD_MAX_RANK];
  TRY(ifd_eval_f64(x, &v, i));
  TRY(ifd_eval_find_f64(x, &zero, zp));
  TRY(ifd_eval_zeros(x, out, ifd_shape_count(shape)));
  ifd_shape_strides(shape, own);
  for (int a = 0; a < shape->rank; a++) strides[a] = 0;
  if (zero) TRY(parameter_strides(x->err, ifd_eval_shape(x, zp), by_row, shape, strides));
  ifd_walk w = ifd_walk_over(shape);
  ifd_walk_add(&w, own);
  ifd_walk_add(&w, strides);
  while (ifd_walk_next(&w))
    for (int64_t j = 0; j < w.n; j++)
      (*out)[w.offset[0] + j * w.step[0]] =
          v[w.offset[0] + j * w.step[0]] - (zero ? zero[w.offset[1] + j * w.step[1]] : 0);
  return IFD_OK;
}

/* The sums of products, in double: exact for 8-bit integers. */
static ifd_status quantized_product(ifd_eval *x, ifd_matmul *p, double **c, int a, int a_zp, int b,
                                    int b_zp) {
  double *va, *vb;
  TRY(ifd_matmul_init(x->err, p, ifd_eval_shape(x, a), ifd_eval_shape(x, b)));
  TRY(less_zero_point(x, &va, a, a_zp, true));
  TRY(less_zero_point(x, &vb, b, b_zp, false));
  TRY(ifd_eval_zeros(x, c, ifd_shape_count(&p->out)));
  ifd_matmul_run_f64(p, va, vb, *c);
  return IFD_OK;
}

static ifd_status eval_matmul_integer(ifd_eval *x) {
  ifd_matmul p;
  double *c;
  TRY(quantized_product(x, &p, &c, 0, 2, 1, 3));
  return ifd_eval_put_sums(x, 0, &p.out, c);
}

/* In float, as the kernels have it. */
static double rescale(double sum, double a_scale, double b_scale, double y_scale) {
  return (float)sum * ((float)a_scale * (float)b_scale / (float)y_scale);
}

static ifd_status eval_qlinear_matmul(ifd_eval *x) {
  enum { A, A_SCALE, A_ZERO, B, B_SCALE, B_ZERO, Y_SCALE, Y_ZERO, N_PARAMETERS = 4 };
  static const int parameters[N_PARAMETERS] = {A_SCALE, B_SCALE, Y_SCALE, Y_ZERO};
  const double *v[N_PARAMETERS];
  int64_t strides[IFD_MAX_RANK];
  ifd_matmul p;
  double *c;
  TRY(quantized_product(x, &p, &c, A, A_ZERO, B, B_ZERO));
  ifd_walk w = ifd_walk_over(&p.out);
  for (int i = 0; i < N_PARAMETERS; i++) {
    int input = parameters[i];
    TRY(ifd_eval_f64(x, &v[i], input));
    TRY(parameter_strides(x->err, ifd_eval_shape(x, input), input == A_SCALE, &p.out, strides));
    ifd_walk_add(&w, strides);
  }
  bool whole = ifd_dtype_is_integer(ifd_eval_dtype(x, Y_ZERO));
  double *y = c;
  while (ifd_walk_next(&w))
    for (int64_t j = 0; j < w.n; j++, y++) {
#define AT(i) v[i][w.offset[i] + j * w.step[i]]
      double scaled = whole ? rescale(*y, AT(0), AT(1), AT(2)) : *y * (AT(0) * AT(1) / AT(2));
      *y = (whole ? nearbyint(scaled) : scaled) + AT(3);
#undef AT
    }
  return ifd_eval_put_f64(x, 0, ifd_eval_dtype(x, Y_ZERO), &p.out, c);
}

static ifd_status lower_matmul_integer(ifd_lower *x) {
  static const ifd_quant_roles roles = {0, -1, 2, 1, -1, 3, -1, -1, -1, -1, -1, -1, -1, -1};
  return ifd_lower_quant_matmul(x, &roles, -INFINITY, INFINITY, false);
}

static ifd_status lower_qlinear_matmul(ifd_lower *x) {
  return ifd_lower_quant_matmul(x, &ifd_quant_in_order, -INFINITY, INFINITY, false);
}

/* ---- Gemm ---- */

static ifd_status infer_gemm(ifd_infer *x) {
  bool ta = ifd_node_int(x->node, "transA", 0) != 0, tb = ifd_node_int(x->node, "transB", 0) != 0;
  int ra = ifd_infer_rank(x, 0), rb = ifd_infer_rank(x, 1);
  EXPECT(x->err, (ra < 0 || ra == 2) && (rb < 0 || rb == 2), BAD_MODEL, "A has rank %d and B rank %d, not 2",
         ra, rb);
  const ifd_dim out[] = {ra < 0 ? ifd_dim_unknown(x->dims) : ifd_infer_dim(x, 0, ta),
                         rb < 0 ? ifd_dim_unknown(x->dims) : ifd_infer_dim(x, 1, !tb)};
  return ifd_infer_tensor(x, 0, ifd_infer_dtype(x, 0), 2, out);
}

/* Sizes and the factors of one Gemm. */
typedef struct gemm {
  int64_t m, n, k;
  bool ta, tb;
  double alpha, beta;
  ifd_shape out;
  int64_t c[2]; /* strides of C in the output; 0 where it is broadcast */
} gemm;

static ifd_status gemm_init(ifd_error *err, gemm *g, const ifd_node *node, const ifd_shape *a,
                            const ifd_shape *b, const ifd_shape *c) {
  EXPECT(err, a->rank == 2 && b->rank == 2, BAD_INPUT, "A has rank %d and B rank %d, not 2", a->rank,
         b->rank);
  *g = (gemm){.ta = ifd_node_int(node, "transA", 0) != 0,
              .tb = ifd_node_int(node, "transB", 0) != 0,
              .alpha = ifd_attr_float(node, "alpha"),
              .beta = ifd_attr_float(node, "beta")};
  g->m = a->dim[g->ta];
  g->k = a->dim[!g->ta];
  g->n = b->dim[!g->tb];
  EXPECT(err, b->dim[g->tb] == g->k, BAD_INPUT, "A has %lld columns and B %lld rows", (long long)g->k,
         (long long)b->dim[g->tb]);
  g->out = (ifd_shape){2, {g->m, g->n}};
  TRY(ifd_shape_check(err, &g->out, sizeof(double)));
  if (!c) return IFD_OK;
  ifd_shape both;
  TRY(ifd_shape_broadcast(err, &both, c, &g->out));
  EXPECT(err, ifd_shape_equal(&both, &g->out), BAD_INPUT, "C does not broadcast to the output [%lld,%lld]",
         (long long)g->m, (long long)g->n);
  ifd_shape_broadcast_strides(c, &g->out, g->c);
  return IFD_OK;
}

static ifd_status gemm_floats(ifd_eval *x, const gemm *g) {
  const double *a, *b, *c;
  double *y;
  TRY(ifd_eval_f64(x, &a, 0));
  TRY(ifd_eval_f64(x, &b, 1));
  TRY(ifd_eval_find_f64(x, &c, 2));
  TRY(ifd_eval_zeros(x, &y, g->m * g->n));
  ifd_matmul_add_f64(y, (ifd_matrix_f64){a, g->ta ? 1 : g->k, g->ta ? g->m : 1},
                     (ifd_matrix_f64){b, g->tb ? 1 : g->n, g->tb ? g->k : 1}, g->m, g->n, g->k);
  for (int64_t i = 0; i < g->m; i++)
    for (int64_t j = 0; j < g->n; j++) {
      double *v = &y[i * g->n + j];
      *v = g->alpha * *v + (c ? g->beta * c[i * g->c[0] + j * g->c[1]] : 0);
    }
  return ifd_eval_put_f64(x, 0, ifd_eval_dtype(x, 0), &g->out, y);
}

/* With factors of one, integers wrap; other factors are real numbers, and the result is rounded toward
 * zero. */
static int64_t gemm_whole(const gemm *g, uint64_t product, int64_t c) {
  if (g->alpha == 1 && g->beta == 1) return (int64_t)(product + (uint64_t)c);
  double v = g->alpha * (double)(int64_t)product + g->beta * (double)c;
  return v >= 0x1p63 ? INT64_MAX : v < -0x1p63 ? INT64_MIN : v != v ? 0 : (int64_t)v;
}

static ifd_status gemm_integers(ifd_eval *x, const gemm *g) {
  const int64_t *a, *b, *c = NULL;
  uint64_t *y;
  int64_t n;
  TRY(ifd_eval_ints(x, &a, &n, 0));
  TRY(ifd_eval_ints(x, &b, &n, 1));
  if (ifd_eval_has(x, 2)) TRY(ifd_eval_ints(x, &c, &n, 2));
  ALLOC(x->err, y, ifd_new_array(x->scratch, uint64_t, g->m * g->n));
  ifd_matmul_add_u64(y, (ifd_matrix_u64){(const uint64_t *)a, g->ta ? 1 : g->k, g->ta ? g->m : 1},
                     (ifd_matrix_u64){(const uint64_t *)b, g->tb ? 1 : g->n, g->tb ? g->k : 1}, g->m, g->n,
                     g->k);
  int64_t *whole = (int64_t *)y;
  for (int64_t i = 0; i < g->m; i++)
    for (int64_t j = 0; j < g->n; j++)
      whole[i * g->n + j] = gemm_whole(g, y[i * g->n + j], c ? c[i * g->c[0] + j * g->c[1]] : 0);
  return ifd_eval_put_i64(x, 0, ifd_eval_dtype(x, 0), &g->out, whole);
}

/* Before opset 7 attribute broadcast must be set where C is not [M, N]; a model that leaves it out has no
 * other meaning, so it is not asked for. */
static ifd_status eval_gemm(ifd_eval *x) {
  gemm g;
  TRY(gemm_init(x->err, &g, x->node, ifd_eval_shape(x, 0), ifd_eval_shape(x, 1),
                ifd_eval_has(x, 2) ? ifd_eval_shape(x, 2) : NULL));
  return ifd_dtype_is_float(ifd_eval_dtype(x, 0)) ? gemm_floats(x, &g) : gemm_integers(x, &g);
}

/* ---- Gemm on kernels ---- */

/* shared = beta * C, as a vector or whole: what the epilogue cannot read as it lies. */
typedef struct prepare_params {
  int64_t rows, columns, step;
  int64_t row_stride, column_stride;
  float beta;
} prepare_params;

static void run_prepare(const void *params, const ifd_args *args, int task) {
  const prepare_params *p = params;
  const float *c = args->in[2];
  float *to = args->shared;
  for (int64_t i = task * p->step; i < ifd_min_i64((task + 1) * p->step, p->rows); i++)
    for (int64_t j = 0; j < p->columns; j++)
      to[i * p->columns + j] = p->beta * c[i * p->row_stride + j * p->column_stride];
}

static ifd_status prepare(ifd_lower *x, const gemm *g, int64_t rows, int64_t columns) {
  prepare_params p = {.rows = rows,
                      .columns = columns,
                      .step = ifd_lower_grain(rows, (double)columns),
                      .row_stride = g->c[0],
                      .column_stride = g->c[1],
                      .beta = (float)g->beta};
  x->work->shared = sizeof(float) * (size_t)(rows * columns);
  return ifd_lower_launch(x, run_prepare, &p, sizeof p, ifd_ceil_div(rows, p.step), 0);
}

/* C as the epilogue takes it: one for each column, one for each row, or a matrix. */
static ifd_status lower_c(ifd_lower *x, const gemm *g, ifd_gemm_epilogue *e) {
  bool by_column = g->c[0] == 0, by_row = !by_column && g->c[1] == 0;
  bool as_it_is = g->beta == 1 && (by_row || g->c[1] == 1);
  ifd_operand where = {.place = as_it_is ? IFD_OPERAND_INPUT : IFD_OPERAND_SHARED, .input = 2};
  if (by_column)
    e->bias = where;
  else if (by_row)
    e->row_bias = where;
  else {
    e->other = where;
    e->e.join = IFD_K_JOIN_ADD;
    e->e.other_rs = g->n;
  }
  if (as_it_is) return IFD_OK;
  return prepare(x, g, by_column ? 1 : g->m, by_row ? 1 : g->n);
}

static ifd_status lower_gemm(ifd_lower *x) {
  gemm g;
  bool has_c = x->node->n_inputs > 2 && x->in[2];
  bool doubles = ifd_lower_all(x, 3, IFD_DOUBLE);
  if (!doubles && !ifd_lower_all_float(x, 3)) return IFD_OK;
  TRY(gemm_init(x->err, &g, x->node, &x->in[0]->shape, &x->in[1]->shape, has_c ? &x->in[2]->shape : NULL));
  ifd_gemm_epilogue e = {.e = {.scale = (float)g.alpha}};
  ifd_products p = {.m = g.m,
                    .n = g.n,
                    .k = g.k,
                    .a_rs = g.ta ? 1 : g.k,
                    .a_cs = g.ta ? g.m : 1,
                    .b_rs = g.tb ? 1 : g.n,
                    .b_cs = g.tb ? g.k : 1,
                    .c_rs = g.n};
  if (doubles) {
    bool by_column = has_c && g.beta == 1 && g.c[0] == 0 && g.c[1] == 1;
    return has_c && !by_column ? IFD_OK : ifd_lower_products_f64(x, &p, 0, 1, g.alpha, has_c ? 2 : -1);
  }
  if (has_c) TRY(lower_c(x, &g, &e));
  return ifd_lower_products(x, &p, 0, 1, &e);
}

static double cost_gemm(const ifd_node *node, const ifd_shape *in, const ifd_shape *out) {
  int64_t k = in[0].rank == 2 ? in[0].dim[ifd_node_int(node, "transA", 0) == 0] : 0;
  return (double)k * (double)out[0].dim[0] * (double)out[0].dim[1];
}

static const char *batch_matmul(const ifd_batch *b) { return (void)b, "m"; }
static const char *batch_gemm(const ifd_batch *b) {
  return ifd_node_int(b->node, "transA", 0) ? NULL : "pwb";
}

const ifd_op ifd_ops_matmul[] = {{.name = "MatMul",
                                  .since = 1,
                                  .infer = infer_matmul,
                                  .eval = eval_matmul,
                                  .lower = lower_matmul,
                                  .cost = cost_matmul,
                                  .batch = batch_matmul},
                                 {.name = "MatMulInteger",
                                  .since = 10,
                                  .infer = infer_matmul_integer,
                                  .eval = eval_matmul_integer,
                                  .lower = lower_matmul_integer,
                                  .cost = cost_matmul},
                                 {.name = "QLinearMatMul",
                                  .since = 10,
                                  .infer = infer_qlinear_matmul,
                                  .eval = eval_qlinear_matmul,
                                  .lower = lower_qlinear_matmul,
                                  .cost = cost_matmul},
                                 {.name = "Gemm",
                                  .since = 1,
                                  .infer = infer_gemm,
                                  .eval = eval_gemm,
                                  .lower = lower_gemm,
                                  .cost = cost_gemm,
                                  .batch = batch_gemm},
                                 {0}};
