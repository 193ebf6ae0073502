#include "ops/shared/gemm_work.h"

#include "kernels/gemm/few.h"
#include "kernels/kernels.h"

#include <string.h>

bool ifd_lower_all(const ifd_lower *x, int n, ifd_dtype dtype) {
  for (int i = 0; i < n && i < x->node->n_inputs; i++)
    if (x->in[i] && (x->in[i]->dtype != dtype || ifd_tensor_count(x->in[i]) == 0)) return false;
  return x->out[0] && x->out[0]->dtype == dtype && ifd_tensor_count(x->out[0]) > 0;
}

bool ifd_lower_all_float(const ifd_lower *x, int n) { return ifd_lower_all(x, n, IFD_FLOAT); }

ifd_products ifd_products_of(const ifd_matmul *s, int b_rank) {
  ifd_products p = {
      .m = s->m, .n = s->n, .k = s->k, .a_rs = s->k, .a_cs = 1, .b_rs = s->n, .b_cs = 1, .c_rs = s->n};
  if (b_rank <= 2) {
    p.m *= ifd_shape_count(&s->batch);
    return p;
  }
  p.batch = s->batch;
  memcpy(p.a_batch, s->a_batch, sizeof p.a_batch);
  memcpy(p.b_batch, s->b_batch, sizeof p.b_batch);
  ifd_shape_strides(&s->batch, p.c_batch);
  for (int i = 0; i < s->batch.rank; i++) p.c_batch[i] *= s->m * s->n;
  return p;
}

/* ---- packing a constant B ---- */

typedef struct packing {
  const struct ifd_k_gemm_table *kernels;
  int64_t n, k, rs, cs, count, stride; /* of count matrices, stride apart */
} packing;

static int64_t packed_floats(const packing *p) {
  return (int64_t)(ifd_k_gemm_packed_len(p->n, p->k) / sizeof(float));
}

/* A share is columns of all matrices. */
static void pack(void *to, const void *from, const void *params, int share, int n_shares) {
  const packing *p = params;
  int64_t begin, end;
  ifd_packing_share(ifd_ceil_div(p->n, 16), share, n_shares, &begin, &end);
  for (int64_t i = 0; i < p->count && begin < end; i++)
    p->kernels->pack_f32((float *)to + i * packed_floats(p), (const ifd_float_anywhere *)from + i * p->stride,
                         p->rs, p->cs, p->k, begin * 16, ifd_min_i64(end * 16, p->n));
}

/* Matrices of B that differ: those of a dense batch, or one. False where they lie otherwise. */
static bool distinct(const ifd_products *p, int64_t *count, int64_t *stride) {
  *count = 1, *stride = 0;
  for (int i = p->batch.rank - 1; i >= 0; i--) {
    if (p->batch.dim[i] == 1 || (p->b_batch[i] == 0 && *count == 1)) continue;
    if (*count == 1) *stride = p->b_batch[i];
    if (p->b_batch[i] != *count * *stride) return false;
    *count *= p->batch.dim[i];
  }
  return true;
}

/* ---- running ---- */

typedef struct params {
  const struct ifd_k_gemm_table *kernels;
  ifd_k_product g; /* sizes and strides */
  ifd_k_gemm_grid grid;
  int64_t batches, group; /* group: whole products of a task, where a product is one task */
  ifd_products p;
  int a, b;
  const float *packed; /* B, or NULL */
  ifd_k_narrow narrow; /* or so */
  ifd_k_gemm_b form;
  int64_t packed_stride;
  bool shares_a;    /* A is packed by a launch before, to shared memory */
  size_t a_shared;  /* its place there */
  int64_t b_stride; /* of matrices in B where it is packed */
  ifd_gemm_epilogue e;
} params;

/* The operand of product i. */
static const float *operand(const ifd_operand *o, const ifd_args *args, int64_t i) {
  if (o->place == IFD_OPERAND_NONE) return NULL;
  const float *start = o->place == IFD_OPERAND_SHARED ? args->shared : args->in[o->input];
  return start + o->offset + i * o->step;
}

/* Where the parts of a product lie, counted in floats. */
static void locate(const ifd_products *p, int64_t index, int64_t *a, int64_t *b, int64_t *c) {
  *a = *b = *c = 0;
  for (int i = p->batch.rank - 1; i >= 0; i--) {
    int64_t at = index % p->batch.dim[i];
    index /= p->batch.dim[i];
    *a += at * p->a_batch[i];
    *b += at * p->b_batch[i];
    *c += at * p->c_batch[i];
  }
}

/* Rows of each product that anybody needs. */
static int64_t needed_rows(const params *p, const ifd_args *args) {
  const int32_t *lengths = args->in[p->p.lengths];
  int64_t n = p->p.n_lengths, longest = 0;
  if (!n) return p->g.m;
  for (int64_t i = 0; i < n; i++) longest = ifd_max_i64(longest, lengths[i]);
  return ifd_min_i64(longest, p->g.m / n) * n;
}

static float *packed_a(const params *p, const ifd_args *args) {
  return (float *)((char *)args->shared + p->a_shared);
}

enum { PACKED_SEGMENTS = 16 }; /* of A by one task */

static void run_pack_a(const void *context, const ifd_args *args, int task) {
  const params *p = context;
  ifd_k_product g = p->g;
  g.a = args->in[p->a];
  int64_t i0 = task % p->grid.n_m * p->grid.m_step,
          i1 = ifd_min_i64(i0 + p->grid.m_step, needed_rows(p, args));
  int64_t s0 = task / p->grid.n_m * PACKED_SEGMENTS,
          s1 = ifd_min_i64(s0 + PACKED_SEGMENTS, ifd_ceil_div(g.k, 16));
  if (i0 >= i1) return;
  p->kernels->pack_a_f32(packed_a(p, args), &g, i0, i1, s0, s1);
}

static ifd_status lower_pack_a(ifd_lower *x, params *p) {
  bool packs = p->form != IFD_K_B_STRIDED || p->g.m > IFD_FEW_ROWS;
  p->shares_a =
      packs && p->batches == 1 && !p->g.a_vs && ifd_k_gemm_shares_a(&p->grid, p->g.m, p->g.k, p->g.a_cs);
  if (!p->shares_a) return IFD_OK;
  p->a_shared = (x->work->shared + 63) / 64 * 64;
  x->work->shared = p->a_shared + ifd_k_gemm_packed_a_len(p->g.m, p->g.k);
  return ifd_lower_launch(x, run_pack_a, p, sizeof *p,
                          p->grid.n_m * ifd_ceil_div(p->g.k, 16 * PACKED_SEGMENTS), 0);
}

static void run_products(const void *context, const ifd_args *args, int task) {
  const params *p = context;
  int64_t first = p->group > 1 ? task * p->group : task / p->grid.n_tasks;
  int64_t last = p->group > 1 ? ifd_min_i64(first + p->group, p->batches) : first + 1;
  ifd_k_epilogue e = p->e.e;
  ifd_k_product g = p->g;
  g.m = needed_rows(p, args);
  g.epilogue = &e;
  if (p->form == IFD_K_B_NARROW) g.narrow = &p->narrow;
  int64_t part = p->group > 1 ? 0 : task % p->grid.n_tasks;
  if (part % p->grid.n_m * p->grid.m_step >= g.m) return;
  for (int64_t i = first; i < last; i++) {
    int64_t a, b, c;
    locate(&p->p, i, &a, &b, &c);
    e.bias = operand(&p->e.bias, args, i);
    e.row_bias = operand(&p->e.row_bias, args, i);
    e.other = operand(&p->e.other, args, i);
    g.a = (const float *)args->in[p->a] + a;
    if (p->shares_a) g.a = packed_a(p, args), g.a_vs = p->g.m * 16;
    g.c = (float *)(p->p.c_shared ? args->shared : args->out[0]) + c;
    g.b = p->packed ? p->packed + (p->b_stride ? b / p->b_stride * p->packed_stride : 0)
                    : (const float *)args->in[p->b] + b;
    ifd_k_gemm_run(p->kernels, &g, &p->grid, part, args->scratch);
  }
}

static ifd_status pack_b(ifd_lower *x, params *p, int b) {
  packing k = {.kernels = p->kernels, .n = p->g.n, .k = p->g.k, .rs = p->p.b_rs, .cs = p->p.b_cs};
  const void *packed;
  if (p->form == IFD_K_B_NARROW || !x->constant[b] || !distinct(&p->p, &k.count, &k.stride)) return IFD_OK;
  p->packed_stride = packed_floats(&k);
  p->b_stride = k.stride;
  if (x->in[b]->splat) k.rs = k.cs = k.stride = 0;
  TRY(x->packed(x, &packed, x->in[b],
                &(ifd_packing){.pack = pack,
                               .params = &k,
                               .params_size = sizeof k,
                               .bytes = sizeof(float) * (size_t)(k.count * p->packed_stride),
                               .takes_splat = true,
                               .any_shape = x->in[b]->shape.rank <= 2}));
  p->packed = packed;
  p->form = IFD_K_B_PACKED;
  p->g.b_rs = p->g.b_cs = 0;
  x->work->unread |= 1u << b;
  return IFD_OK;
}

/* A product of one column is one of one row, the rows of A its columns: what lies side by side stays so. */
static bool turn_column(const ifd_lower *x, ifd_products *p, int *a, int *b, ifd_gemm_epilogue *e) {
  bool dense = p->n == 1 && p->a_cs == 1 && p->c_rs == 1 && !p->a_vs && !p->c_vs;
  bool plain = !p->narrow && !p->n_lengths && !x->in[*a]->splat && !x->in[*b]->splat;
  if (!dense || !plain || (e->e.join && e->e.other_rs != 1)) return false;
  const ifd_products column = *p;
  const ifd_operand bias = e->bias;
  const int vector = *b;
  p->m = 1, p->n = p->c_rs = column.m;
  p->a_rs = 0, p->a_cs = column.b_rs, p->b_rs = 1, p->b_cs = column.a_rs;
  memcpy(p->a_batch, column.b_batch, sizeof p->a_batch);
  memcpy(p->b_batch, column.a_batch, sizeof p->b_batch);
  e->bias = e->row_bias, e->row_bias = bias;
  *b = *a, *a = vector;
  return true;
}

ifd_status ifd_lower_products(ifd_lower *x, const ifd_products *products, int a, int b,
                              const ifd_gemm_epilogue *given) {
  ifd_products as_row = *products, *p = &as_row;
  ifd_gemm_epilogue turned = *given, *epilogue = &turned;
  bool column = turn_column(x, p, &a, &b, epilogue);
  params k = {.kernels = ifd_k_gemm(x->isa), .p = *p, .a = a, .b = b, .e = *epilogue};
  k.batches = ifd_shape_count(&p->batch);
  if (p->m == 0 || p->n == 0 || p->k == 0 || k.batches == 0) return IFD_OK;
  k.g = (ifd_k_product){.m = p->m,
                        .n = p->n,
                        .k = p->k,
                        .a_rs = p->a_rs,
                        .a_cs = p->a_cs,
                        .a_vs = p->a_vs,
                        .b_rs = p->b_rs,
                        .b_cs = p->b_cs,
                        .c_rs = p->c_rs,
                        .c_vs = p->c_vs};
  if (p->narrow) k.narrow = *p->narrow, k.form = IFD_K_B_NARROW;
  if (!column) TRY(pack_b(x, &k, b));
  k.grid = ifd_k_gemm_split(p->m, p->n, p->k, k.form != IFD_K_B_STRIDED, x->threads);
  TRY(lower_pack_a(x, &k));
  k.group =
      k.grid.n_tasks > 1 ? 1 : ifd_lower_grain(k.batches, (double)p->m * (double)p->n * (double)p->k / 8);
  int64_t tasks = k.group > 1 ? ifd_ceil_div(k.batches, k.group) : k.batches * k.grid.n_tasks;
  x->work->algorithm = p->a_vs ? "gemm packed" : "gemm";
  return ifd_lower_launch(x, run_products, &k, sizeof k, tasks,
                          ifd_k_gemm_scratch_len(&k.grid, p->k, k.form));
}

/* ---- doubles ---- */

typedef struct params_f64 {
  const struct ifd_k_gemm_table *kernels;
  ifd_k_product_f64 g; /* sizes, strides and scale */
  ifd_products p;
  int64_t step, row_tasks; /* rows of a task, tasks of a product */
  int a, b, bias;
} params_f64;

static void run_products_f64(const void *context, const ifd_args *args, int task) {
  const params_f64 *p = context;
  int64_t a, b, c, i0 = task % p->row_tasks * p->step;
  locate(&p->p, task / p->row_tasks, &a, &b, &c);
  ifd_k_product_f64 g = p->g;
  g.a = (const double *)args->in[p->a] + a;
  g.b = (const double *)args->in[p->b] + b;
  g.c = (double *)args->out[0] + c;
  g.bias = p->bias < 0 ? NULL : args->in[p->bias];
  p->kernels->run_f64(&g, i0, ifd_min_i64(i0 + p->step, g.m));
}

ifd_status ifd_lower_products_f64(ifd_lower *x, const ifd_products *p, int a, int b, double scale, int bias) {
  int64_t batches = ifd_shape_count(&p->batch);
  if (p->m == 0 || p->n == 0 || p->k == 0 || batches == 0) return IFD_OK;
  params_f64 k = {.kernels = ifd_k_gemm(x->isa), .p = *p, .a = a, .b = b, .bias = bias};
  k.g = (ifd_k_product_f64){.m = p->m,
                            .n = p->n,
                            .k = p->k,
                            .a_rs = p->a_rs,
                            .a_cs = p->a_cs,
                            .b_rs = p->b_rs,
                            .b_cs = p->b_cs,
                            .c_rs = p->c_rs,
                            .c_cs = 1,
                            .scale = scale};
  k.step = ifd_k_gemm_split(p->m, p->n, p->k, true, 0).m_step;
  k.row_tasks = ifd_ceil_div(p->m, k.step);
  x->work->algorithm = "gemm";
  return ifd_lower_launch(x, run_products_f64, &k, sizeof k, batches * k.row_tasks, 0);
}
