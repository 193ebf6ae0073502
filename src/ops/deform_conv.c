/* DeformConv: a convolution whose taps are moved by offsets that are data, and weighted by a mask. */
#include <math.h>

#include "kernels/gemm/gemm.h"
#include "kernels/kernels.h"
#include "ops/shared/elementwise.h"
#include "ops/shared/rows.h"
#include "ops/shared/sampling.h"
#include "ops/shared/taps.h"
#include "ops/shared/values.h"
#include "ops/shared/window.h"

static ifd_status infer_deform_conv(ifd_infer *x) {
  int rank = ifd_infer_rank(x, 0), w_rank = ifd_infer_rank(x, 1);
  ifd_dim out[IFD_MAX_RANK];
  if (rank < 0) return ifd_infer_unranked(x, 0, ifd_infer_dtype(x, 0));
  EXPECT(x->err, w_rank < 0 || w_rank == rank, BAD_MODEL, "W has rank %d, X %d", w_rank, rank);
  const ifd_dim *w = w_rank < 0 ? NULL : x->in[1]->dims;
  TRY(ifd_window_infer(x, rank, x->in[0]->dims, w ? w + 2 : NULL, out));
  out[0] = ifd_infer_dim(x, 0, 0);
  out[1] = w ? w[0] : ifd_dim_unknown(x->dims);
  return ifd_infer_tensor(x, 0, ifd_infer_dtype(x, 0), rank, out);
}

/* X [n, c, image…], W [m, c / group, kernel…]; offset [n, offset_group, taps, axes, windows…]; mask [n,
 * offset_group, taps, windows…]. */
typedef struct deform {
  ifd_window w;
  int64_t n, c, m, group, offset_group;
  int64_t taps, image, windows;
} deform;

static ifd_status read_deform(ifd_error *err, const ifd_node *node, const ifd_shape *in, const ifd_shape *w,
                              const ifd_shape *offset, deform *d) {
  TRY(ifd_window_init(err, &d->w, node, in, w));
  EXPECT(err, d->w.n <= IFD_TAPS_AXES, UNSUPPORTED, "X has rank %d", in->rank);
  d->n = in->dim[0], d->c = in->dim[1], d->m = w->dim[0];
  d->group = ifd_attr_int(node, "group");
  d->offset_group = ifd_attr_int(node, "offset_group");
  EXPECT(err, d->group > 0 && d->c % d->group == 0 && d->m % d->group == 0 && w->dim[1] == d->c / d->group,
         BAD_INPUT, "X has %lld channels in %lld groups; W is for %lld in each", (long long)d->c,
         (long long)d->group, (long long)w->dim[1]);
  EXPECT(err, d->offset_group > 0 && d->c % d->offset_group == 0, BAD_INPUT,
         "%lld channels cannot be divided in %lld offset groups", (long long)d->c,
         (long long)d->offset_group);
  d->taps = ifd_window_product(&d->w, d->w.kernel);
  d->image = ifd_window_product(&d->w, d->w.image);
  d->windows = ifd_window_product(&d->w, d->w.windows);
  bool fits = offset->rank == in->rank && offset->dim[0] == d->n &&
              offset->dim[1] == d->offset_group * d->taps * (in->rank - 2);
  for (int i = 2; i < in->rank && fits; i++) fits = offset->dim[i] == d->w.windows[i - 2];
  EXPECT(err, fits && in->rank > 2, BAD_INPUT, "offset has not the shape that attributes and X imply");
  return IFD_OK;
}

/* Where in the offsets, and in the mask, tap `tap` of group g of image n stands. */
static int64_t offset_row(const deform *d, int64_t n, int64_t g, int64_t tap) {
  return (n * d->offset_group + g) * d->taps + tap;
}

/* ---- the reference ---- */

typedef struct deform_data {
  const double *x, *weights, *offset, *bias, *mask; /* bias and mask: or NULL */
  double *columns;                                  /* [c, taps]: the samples of one window */
} deform_data;

/* The samples of window o, the window-th, of image n. */
static void sample_window(const deform *d, const deform_data *v, int64_t n, const int64_t *o,
                          int64_t window) {
  int64_t index[1 << IFD_TAPS_AXES];
  double weight[1 << IFD_TAPS_AXES];
  for (int64_t c = 0; c < d->c; c++) {
    ifd_box taps = ifd_box_of(d->w.n, d->w.kernel);
    int64_t row = offset_row(d, n, c / (d->c / d->offset_group), 0);
    double *to = v->columns + c * d->taps;
    for (bool more = ifd_box_start(&taps); more; more = ifd_box_next(&taps), row++) {
      ifd_neighbours at[IFD_TAPS_AXES];
      for (int a = 0; a < d->w.n; a++)
        at[a] = ifd_neighbours_linear((double)ifd_window_at(&d->w, a, o[a], taps.at[a]) +
                                          v->offset[(row * d->w.n + a) * d->windows + window],
                                      d->w.image[a]);
      int64_t inside = ifd_taps_find(at, d->w.n, d->w.image, index, weight);
      double sample = ifd_taps_sum(index, weight, inside, v->x + (n * d->c + c) * d->image);
      *to++ = v->mask ? sample * v->mask[row * d->windows + window] : sample;
    }
  }
}

static void deform_window(const deform *d, const deform_data *v, int64_t n, const int64_t *o, int64_t index,
                          double *y) {
  int64_t out_group = d->m / d->group, len = d->c / d->group * d->taps;
  sample_window(d, v, n, o, index);
  for (int64_t m = 0; m < d->m; m++) {
    const double *w = v->weights + m * len, *samples = v->columns + m / out_group * len;
    double sum = v->bias ? v->bias[m] : 0;
    for (int64_t i = 0; i < len; i++) sum += w[i] * samples[i];
    y[(n * d->m + m) * d->windows + index] = sum;
  }
}

static ifd_status eval_deform_conv(ifd_eval *x) {
  deform d = {0};
  deform_data v = {0};
  double *y;
  TRY(read_deform(x->err, x->node, ifd_eval_shape(x, 0), ifd_eval_shape(x, 1), ifd_eval_shape(x, 2), &d));
  ifd_shape out = ifd_window_shape(&d.w, ifd_eval_shape(x, 0)->rank, d.n, d.m);
  TRY(ifd_shape_check(x->err, &out, sizeof(double)));
  TRY(ifd_eval_f64(x, &v.x, 0));
  TRY(ifd_eval_f64(x, &v.weights, 1));
  TRY(ifd_eval_f64(x, &v.offset, 2));
  TRY(ifd_eval_find_f64_n(x, &v.bias, 3, d.m, "B"));
  TRY(ifd_eval_find_f64_n(x, &v.mask, 4, d.n * d.offset_group * d.taps * d.windows, "mask"));
  TRY(ifd_eval_zeros(x, &v.columns, d.c * d.taps));
  TRY(ifd_eval_zeros(x, &y, ifd_shape_count(&out)));
  ifd_box windows = ifd_box_of(d.w.n, d.w.windows);
  for (int64_t n = 0; n < d.n; n++) {
    int64_t index = 0;
    for (bool more = ifd_box_start(&windows); more; more = ifd_box_next(&windows))
      deform_window(&d, &v, n, windows.at, index++, y);
  }
  return ifd_eval_put_f64(x, 0, ifd_eval_dtype(x, 0), &out, y);
}

/* ---- lowered: the samples of a block of windows are the columns of a matrix product for each group ---- */

typedef struct deform_work {
  const struct ifd_k_gemm_table *gemm;
  deform d;
  ifd_sampling in;
  ifd_k_gemm_grid grid; /* of one product */
  int64_t blocks;       /* of the windows of an image */
  bool has_bias, has_mask;
  size_t columns_len, gemm_len; /* bytes of scratch: columns, the product's, taps */
} deform_work;

/* Digits of `number` in the mixed radix of sizes, the last one fastest. */
static void split_index(int64_t number, const int64_t *sizes, int n, int64_t *out) {
  for (int a = n - 1; a >= 0; number /= sizes[a--]) out[a] = number % sizes[a];
}

static void next_index(int64_t *at, const int64_t *sizes, int n) {
  for (int a = n - 1; a >= 0 && ++at[a] == sizes[a]; a--) at[a] = 0;
}

/* The taps that kernel element k, the tap-th, has in the block of windows from `first` on. */
static void find_taps(const deform_work *p, const ifd_args *args, int64_t row, const int64_t *k,
                      int64_t first, ifd_k_taps *t) {
  const deform *d = &p->d;
  const float *offset = (const float *)args->in[2] + row * d->w.n * d->windows;
  const float *mask = p->has_mask ? (const float *)args->in[4] + row * d->windows : NULL;
  ifd_k_taps_axis axes[IFD_TAPS_AXES];
  double x[IFD_TAPS_AXES][IFD_TAPS_BLOCK];
  int64_t o[IFD_MAX_RANK];
  split_index(first, d->w.windows, d->w.n, o);
  for (int i = 0; i < t->n_points; i++, next_index(o, d->w.windows, d->w.n))
    for (int a = 0; a < d->w.n; a++)
      x[a][i] = (double)ifd_window_at(&d->w, a, o[a], k[a]) + offset[a * d->windows + first + i];
  for (int a = 0; a < d->w.n; a++) {
    axes[a].size = d->w.image[a];
    p->in.kernels->neighbours(&axes[a], x[a], t->n_points);
  }
  p->in.kernels->cross(t, axes, d->w.n, mask ? mask + first : NULL);
}

/* columns [c * taps, IFD_TAPS_BLOCK] of the block. */
static void sample_block(const deform_work *p, const ifd_args *args, int64_t n, int64_t first,
                         ifd_taps_scratch *scratch, float *columns) {
  const deform *d = &p->d;
  ifd_k_taps *t = &scratch->taps;
  int64_t channels = d->c / d->offset_group;
  for (int64_t g = 0; g < d->offset_group; g++)
    for (int64_t tap = 0; tap < d->taps; tap++) {
      int64_t k[IFD_MAX_RANK];
      split_index(tap, d->w.kernel, d->w.n, k);
      find_taps(p, args, offset_row(d, n, g, tap), k, first, t);
      ifd_sampling_taps(&p->in, args, t, &scratch->inside, n, g * channels, channels,
                        columns + (g * channels * d->taps + tap) * IFD_TAPS_BLOCK, d->taps * IFD_TAPS_BLOCK);
    }
}

static void run_deform_block(const void *params, const ifd_args *args, int task) {
  const deform_work *p = params;
  const deform *d = &p->d;
  int64_t n = task / p->blocks, first = task % p->blocks * IFD_TAPS_BLOCK;
  int64_t m = d->m / d->group, k = d->c / d->group * d->taps;
  float *columns = args->scratch;
  ifd_taps_scratch *scratch = (ifd_taps_scratch *)((char *)args->scratch + p->columns_len + p->gemm_len);
  ifd_k_taps *taps = &scratch->taps;
  taps->n_points = (int)ifd_min_i64(IFD_TAPS_BLOCK, d->windows - first);
  sample_block(p, args, n, first, scratch, columns);
  for (int64_t g = 0; g < d->group; g++) {
    ifd_k_epilogue e = IFD_K_EPILOGUE_NONE;
    if (p->has_bias) e.row_bias = (const float *)args->in[3] + g * m;
    ifd_k_product product = {.m = m,
                             .n = taps->n_points,
                             .k = k,
                             .a = (const float *)args->in[1] + g * m * k,
                             .a_rs = k,
                             .a_cs = 1,
                             .b = columns + g * k * IFD_TAPS_BLOCK,
                             .b_rs = IFD_TAPS_BLOCK,
                             .b_cs = 1,
                             .c = (float *)args->out[0] + (n * d->m + g * m) * d->windows + first,
                             .c_rs = d->windows,
                             .epilogue = &e};
    p->gemm->run_f32(&product, 0, m, 0, product.n, (char *)args->scratch + p->columns_len);
  }
}

static ifd_status lower_deform_conv(ifd_lower *x) {
  deform_work p = {.gemm = ifd_k_gemm(x->isa)};
  deform *d = &p.d;
  if (!ifd_lower_all_float(x, 5)) return IFD_OK;
  TRY(read_deform(x->err, x->node, &x->in[0]->shape, &x->in[1]->shape, &x->in[2]->shape, d));
  p.has_bias = x->node->n_inputs > 3 && x->in[3], p.has_mask = x->node->n_inputs > 4 && x->in[4];
  bool fits = (!p.has_bias || ifd_tensor_count(x->in[3]) == d->m) &&
              (!p.has_mask || ifd_tensor_count(x->in[4]) == d->n * d->offset_group * d->taps * d->windows);
  int64_t k = d->c / d->group * d->taps;
  if (!fits || d->image >= INT32_MAX || (1 << d->w.n) > IFD_TAPS || k == 0) return IFD_OK;
  p.blocks = ifd_ceil_div(d->windows, IFD_TAPS_BLOCK);
  p.columns_len = (size_t)(d->c * d->taps) * IFD_TAPS_BLOCK * sizeof(float);
  p.grid = (ifd_k_gemm_grid){.m_step = d->m / d->group, .n_step = IFD_TAPS_BLOCK, .n_m = 1, .n_tasks = 1};
  p.gemm_len = ifd_k_gemm_scratch_len(&p.grid, k, IFD_K_B_STRIDED);
  TRY(ifd_lower_sampling(x, &p.in, 0, d->c, d->c / d->offset_group, d->n, d->image,
                         (double)((d->n * d->windows * d->taps) << d->w.n)));
  x->work->algorithm = "taps and gemm";
  return ifd_lower_launch(x, run_deform_block, &p, sizeof p, d->n * p.blocks,
                          p.columns_len + p.gemm_len + sizeof(ifd_taps_scratch));
}

/* Each output takes the weights of its channel once. */
static double cost_deform_conv(const ifd_node *node, const ifd_shape *in, const ifd_shape *out) {
  (void)node;
  double cost = 1;
  for (int i = 0; i < out[0].rank; i++) cost *= (double)out[0].dim[i];
  for (int i = 1; i < in[1].rank; i++) cost *= (double)in[1].dim[i];
  return cost;
}

const ifd_op ifd_ops_deform_conv[] = {{.name = "DeformConv",
                                       .since = 19,
                                       .infer = infer_deform_conv,
                                       .eval = eval_deform_conv,
                                       .lower = lower_deform_conv,
                                       .cost = cost_deform_conv},
                                      {0}};
