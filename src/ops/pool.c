/* Pools: the greatest element, the mean or the p-norm of each window of an image, or of the whole image, for
 * images of any rank. */
#include <math.h>
#include <string.h>

#include "kernels/kernels.h"
#include "kernels/pool/pool.h"
#include "kernels/reduce/reduce.h"
#include "ops/shared/batch.h"
#include "ops/shared/elementwise.h"
#include "ops/shared/rows.h"
#include "ops/shared/values.h"
#include "ops/shared/window.h"

/* ---- windows ---- */

/* What becomes of one window: taps are those that lie in the image, plane the elements of the image. */
typedef struct pool pool;
struct pool {
  ifd_window window;
  int64_t in_plane, out_plane, planes;
  ifd_shape out;
  double (*reduce)(const pool *p, const double *plane, const int64_t *o, ifd_box *taps);
  bool count_padding; /* mean */
  double power;       /* norm */
};

static int64_t image_index(const ifd_window *w, const int64_t *o, const int64_t *tap) {
  int64_t index = 0;
  for (int a = 0; a < w->n; a++) index = index * w->image[a] + ifd_window_at(w, a, o[a], tap[a]);
  return index;
}

/* Elements of window o that are in the image or its padding (not what ceil_mode adds beyond). */
static double padded_elements(const ifd_window *w, const int64_t *o) {
  double n = 1;
  for (int a = 0; a < w->n; a++) {
    int64_t room = w->image[a] + w->begin[a] + w->end[a] - o[a] * w->stride[a];
    n *= (double)ifd_min_i64(w->kernel[a], ifd_ceil_div(room, w->dilation[a]));
  }
  return n;
}

static double mean_of(const pool *p, const double *plane, const int64_t *o, ifd_box *taps) {
  double sum = 0, n = 0;
  for (bool more = ifd_box_start(taps); more; more = ifd_box_next(taps), n++)
    sum += plane[image_index(&p->window, o, taps->at)];
  return sum / (p->count_padding ? padded_elements(&p->window, o) : n);
}

static double norm_of(const pool *p, const double *plane, const int64_t *o, ifd_box *taps) {
  double sum = 0;
  for (bool more = ifd_box_start(taps); more; more = ifd_box_next(taps))
    sum += pow(fabs(plane[image_index(&p->window, o, taps->at)]), p->power);
  return pow(sum, 1 / p->power);
}

/* Index in the plane of the first greatest element, or of a NaN; -1 when the window holds none. */
static int64_t greatest_of(const pool *p, const double *plane, const int64_t *o, ifd_box *taps) {
  int64_t best = -1;
  for (bool more = ifd_box_start(taps); more; more = ifd_box_next(taps)) {
    int64_t i = image_index(&p->window, o, taps->at);
    if (best < 0 || plane[i] > plane[best] || isnan(plane[i])) best = i;
  }
  return best;
}

static ifd_status pool_init(ifd_error *err, pool *p, const ifd_node *node, const ifd_shape *x) {
  TRY(ifd_window_init(err, &p->window, node, x, NULL));
  p->planes = x->dim[0] * x->dim[1];
  p->in_plane = ifd_window_product(&p->window, p->window.image);
  p->out = ifd_window_shape(&p->window, x->rank, x->dim[0], x->dim[1]);
  TRY(ifd_shape_check(err, &p->out, sizeof(double)));
  p->out_plane = ifd_window_product(&p->window, p->window.windows);
  return IFD_OK;
}

static ifd_status pool_run(ifd_eval *x, const pool *p) {
  const double *in;
  double *y, *at;
  TRY(ifd_eval_f64(x, &in, 0));
  TRY(ifd_eval_zeros(x, &y, ifd_shape_count(&p->out)));
  at = y;
  ifd_box windows = ifd_box_of(p->window.n, p->window.windows);
  for (int64_t i = 0; i < p->planes; i++)
    for (bool more = ifd_box_start(&windows); more; more = ifd_box_next(&windows)) {
      ifd_box taps = ifd_box_of_taps(&p->window, windows.at);
      *at++ = p->reduce(p, in + i * p->in_plane, windows.at, &taps);
    }
  return ifd_eval_put_f64(x, 0, ifd_eval_dtype(x, 0), &p->out, y);
}

static ifd_status infer_pool(ifd_infer *x) {
  int rank = ifd_infer_rank(x, 0);
  ifd_dim out[IFD_MAX_RANK];
  if (rank < 0) {
    TRY(ifd_infer_unranked(x, 0, ifd_infer_dtype(x, 0)));
    return ifd_infer_unranked(x, 1, IFD_INT64);
  }
  TRY(ifd_window_infer(x, rank, x->in[0]->dims, NULL, out));
  out[0] = ifd_infer_dim(x, 0, 0);
  out[1] = ifd_infer_dim(x, 0, 1);
  TRY(ifd_infer_tensor(x, 0, ifd_infer_dtype(x, 0), rank, out));
  return ifd_infer_tensor(x, 1, IFD_INT64, rank, out);
}

/* ---- AveragePool, LpPool ---- */

/* Without attribute count_include_pad (opset 1) padding does not count. */
static ifd_status eval_average_pool(ifd_eval *x) {
  pool p = {.reduce = mean_of, .count_padding = ifd_attr_int(x->node, "count_include_pad") != 0};
  TRY(pool_init(x->err, &p, x->node, ifd_eval_shape(x, 0)));
  return pool_run(x, &p);
}

/* Attribute p is a float at opset 1, an integer since. */
static double power_1(const ifd_node *node) { return ifd_node_float(node, "p", 2); }
static double power_2(const ifd_node *node) { return (double)ifd_node_int(node, "p", 2); }

static ifd_status lp_pool(ifd_eval *x, double power) {
  pool p = {.reduce = norm_of, .power = power};
  TRY(pool_init(x->err, &p, x->node, ifd_eval_shape(x, 0)));
  return pool_run(x, &p);
}
static ifd_status eval_lp_pool_1(ifd_eval *x) { return lp_pool(x, power_1(x->node)); }
static ifd_status eval_lp_pool_2(ifd_eval *x) { return lp_pool(x, power_2(x->node)); }

/* ---- MaxPool ---- */

/* The index of an element of the plane with the first axis fastest. */
static int64_t column_major(const ifd_window *w, int64_t index) {
  int64_t result = 0;
  for (int a = w->n - 1; a >= 0; a--) {
    result = result * w->image[a] + index % w->image[a];
    index /= w->image[a];
  }
  return result;
}

static ifd_status eval_max_pool(ifd_eval *x) {
  pool p = {0};
  TRY(pool_init(x->err, &p, x->node, ifd_eval_shape(x, 0)));
  bool by_column = ifd_node_int(x->node, "storage_order", 0) == 1;
  const double *in;
  double *y;
  int64_t *indices, n = ifd_shape_count(&p.out), at = 0;
  TRY(ifd_eval_f64(x, &in, 0));
  TRY(ifd_eval_zeros(x, &y, n));
  ALLOC(x->err, indices, ifd_new_array(x->scratch, int64_t, n));
  ifd_box windows = ifd_box_of(p.window.n, p.window.windows);
  for (int64_t i = 0; i < p.planes; i++)
    for (bool more = ifd_box_start(&windows); more; more = ifd_box_next(&windows), at++) {
      ifd_box taps = ifd_box_of_taps(&p.window, windows.at);
      int64_t best = greatest_of(&p, in + i * p.in_plane, windows.at, &taps);
      y[at] = best < 0 ? -INFINITY : in[i * p.in_plane + best];
      if (best < 0) best = 0;
      indices[at] = i * p.in_plane + (by_column ? column_major(&p.window, best) : best);
    }
  TRY(ifd_eval_put_f64(x, 0, ifd_eval_dtype(x, 0), &p.out, y));
  return ifd_eval_put_i64(x, 1, IFD_INT64, &p.out, indices);
}

/* ---- windows on kernels ---- */

typedef struct pool_params {
  const struct ifd_k_pool_table *kernels;
  ifd_k_pool_shape pool;
  int lanes;          /* channels that lie together: 1, or a block of 16 */
  int64_t plane_rows; /* of a plane of windows */
  int64_t in_plane, out_plane;
  ifd_rows rows; /* of all planes */
} pool_params;

static void run_pool(const void *params, const ifd_args *args, int task) {
  const pool_params *p = params;
  int64_t from, to;
  ifd_rows_of(&p->rows, task, &from, &to);
  while (from < to) {
    int64_t plane = from / p->plane_rows, first = from % p->plane_rows;
    int64_t last = ifd_min_i64(first + to - from, p->plane_rows);
    p->kernels->rows(&p->pool, p->lanes, (const float *)args->in[0] + plane * p->in_plane,
                     (float *)args->out[0] + plane * p->out_plane, (size_t)first, (size_t)last);
    from += last - first;
  }
}

/* The last axis of the window is x, the one before y, then z. */
static ifd_k_pool_shape kernel_pool(const ifd_window *w) {
  ifd_k_pool_shape k = {0};
  for (int i = 0; i < IFD_POOL_AXES; i++) {
    int a = i - (IFD_POOL_AXES - w->n);
    k.image[i] = a < 0 ? 1 : w->image[a];
    k.windows[i] = a < 0 ? 1 : w->windows[a];
    k.kernel[i] = a < 0 ? 1 : w->kernel[a];
    k.stride[i] = a < 0 ? 1 : w->stride[a];
    k.dilation[i] = a < 0 ? 1 : w->dilation[a];
    k.begin[i] = a < 0 ? 0 : w->begin[a];
    k.end[i] = a < 0 ? 0 : w->end[a];
  }
  return k;
}

static ifd_status lower_lanes(ifd_lower *x, const ifd_shape *image, int lanes, bool average) {
  pool p = {0};
  TRY(pool_init(x->err, &p, x->node, image));
  if (p.window.n > IFD_POOL_AXES) return IFD_OK;
  pool_params k = {.kernels = ifd_k_pool(x->isa),
                   .pool = kernel_pool(&p.window),
                   .lanes = lanes,
                   .in_plane = p.in_plane * lanes,
                   .out_plane = p.out_plane * lanes};
  k.pool.average = average;
  k.pool.count_padding = ifd_node_int(x->node, "count_include_pad", 0) != 0;
  k.plane_rows = k.pool.windows[0] * k.pool.windows[1];
  k.rows =
      ifd_rows_split(p.planes * k.plane_rows, (double)lanes * (double)k.pool.windows[2] *
                                                  (double)ifd_window_product(&p.window, p.window.kernel));
  x->work->algorithm = "pool";
  return ifd_lower_rows(x, run_pool, &k, sizeof k, &k.rows);
}

static ifd_status lower_pool(ifd_lower *x, bool average) {
  return ifd_lower_all_float(x, 1) ? lower_lanes(x, &x->in[0]->shape, 1, average) : IFD_OK;
}
static ifd_status lower_average_pool(ifd_lower *x) { return lower_pool(x, true); }

/* ---- windows tap by tap: a task is a plane, whose windows meet one tap after another ---- */

typedef struct tap_params {
  ifd_window w;
  int64_t in_plane, out_plane;
  float power;
  const struct ifd_k_pool_table *kernels; /* of MaxPool, as the rest */
  bool by_column, indices;
} tap_params;

/* scratch: bytes for each window of a plane */
static ifd_status lower_taps(ifd_lower *x, ifd_kernel run, tap_params p, size_t scratch) {
  pool of = {0};
  TRY(pool_init(x->err, &of, x->node, &x->in[0]->shape));
  p.w = of.window, p.in_plane = of.in_plane, p.out_plane = of.out_plane;
  x->work->algorithm = "taps";
  return ifd_lower_launch(x, run, &p, sizeof p, of.planes, (size_t)p.out_plane * scratch);
}

/* Greatest elements and where they are in the plane, tap by tap. A window without taps has the first
 * element's index; columns count where the node says so. The result of indices may be wanted or not. */
#define RUN_GREATEST(t, index_t, greater)                                                                    \
  static void run_greatest_##t(const void *params, const ifd_args *args, int plane) {                        \
    const tap_params *p = params;                                                                            \
    const t *in = (const t *)args->in[0] + plane * p->in_plane;                                              \
    t *y = (t *)args->out[0] + plane * p->out_plane;                                                         \
    index_t *at = args->scratch;                                                                             \
    for (int64_t i = 0; i < p->out_plane; i++) y[i] = -INFINITY, at[i] = -1;                                 \
    ifd_box taps = ifd_box_of(p->w.n, p->w.kernel);                                                          \
    ifd_window_rows r;                                                                                       \
    for (bool more = ifd_box_start(&taps); more; more = ifd_box_next(&taps))                                 \
      for (bool row = ifd_window_rows_start(&r, &p->w, taps.at); row; row = ifd_window_rows_next(&r))        \
        p->kernels->greater(in + r.image, r.step, r.n, (index_t)r.image, y + r.window, at + r.window);       \
    int64_t *index = p->indices ? (int64_t *)args->out[1] + plane * p->out_plane : NULL;                     \
    for (int64_t i = 0; i < p->out_plane && index; i++) {                                                    \
      const int64_t k = at[i] < 0 ? 0 : at[i];                                                               \
      index[i] = plane * p->in_plane + (p->by_column ? column_major(&p->w, k) : k);                          \
    }                                                                                                        \
  }
RUN_GREATEST(float, int32_t, greater_f32)
RUN_GREATEST(double, int64_t, greater_f64)

static ifd_status lower_max_pool(ifd_lower *x) {
  const ifd_shape *s = &x->in[0]->shape;
  const tap_params p = {.kernels = ifd_k_pool(x->isa),
                        .by_column = ifd_node_int(x->node, "storage_order", 0) == 1,
                        .indices = ifd_node_has_output(x->node, 1) && x->out[1]};
  if (ifd_lower_all(x, 1, IFD_DOUBLE)) return lower_taps(x, run_greatest_double, p, sizeof(int64_t));
  if (!p.indices) return lower_pool(x, false);
  if (!ifd_lower_all_float(x, 1) || ifd_shape_span(s, 2, s->rank) > INT32_MAX) return IFD_OK;
  return lower_taps(x, run_greatest_float, p, sizeof(int32_t));
}

static void add_powers(const ifd_window_rows *r, const float *in, float power, float *y) {
  y += r->window, in += r->image;
  if (power == 2)
    for (int64_t i = 0; i < r->n; i++) y[i] += in[i * r->step] * in[i * r->step];
  else if (power == 1)
    for (int64_t i = 0; i < r->n; i++) y[i] += fabsf(in[i * r->step]);
  else
    for (int64_t i = 0; i < r->n; i++) y[i] += (float)pow(fabsf(in[i * r->step]), power);
}

static void take_root(float *y, int64_t n, float power) {
  if (power == 1) return;
  for (int64_t i = 0; i < n; i++) y[i] = power == 2 ? sqrtf(y[i]) : (float)pow(y[i], 1 / (double)power);
}

static void run_lp(const void *params, const ifd_args *args, int plane) {
  const tap_params *p = params;
  const float *in = (const float *)args->in[0] + plane * p->in_plane;
  float *y = (float *)args->out[0] + plane * p->out_plane;
  memset(y, 0, (size_t)p->out_plane * sizeof *y);
  ifd_box taps = ifd_box_of(p->w.n, p->w.kernel);
  ifd_window_rows r;
  for (bool more = ifd_box_start(&taps); more; more = ifd_box_next(&taps))
    for (bool row = ifd_window_rows_start(&r, &p->w, taps.at); row; row = ifd_window_rows_next(&r))
      add_powers(&r, in, p->power, y);
  take_root(y, p->out_plane, p->power);
}

static ifd_status lower_lp(ifd_lower *x, double power) {
  if (!ifd_lower_all_float(x, 1)) return IFD_OK;
  return lower_taps(x, run_lp, (tap_params){.power = (float)power}, 0);
}
static ifd_status lower_lp_pool_1(ifd_lower *x) { return lower_lp(x, power_1(x->node)); }
static ifd_status lower_lp_pool_2(ifd_lower *x) { return lower_lp(x, power_2(x->node)); }

/* infold's own, on images whose channels lie in blocks (blocked.c): [N, blocks, image…, 16]. */
static ifd_status infer_blocked(ifd_infer *x) {
  int rank = ifd_infer_rank(x, 0);
  ifd_dim out[IFD_MAX_RANK];
  if (rank < 0) return ifd_infer_unranked(x, 0, IFD_FLOAT);
  EXPECT(x->err, rank >= 4 && rank <= IFD_MAX_RANK, BAD_MODEL, "the input is no batch of blocked images");
  memcpy(out, x->in[0]->dims, (size_t)rank * sizeof *out);
  TRY(ifd_window_infer(x, rank - 1, x->in[0]->dims, NULL, out));
  return ifd_infer_tensor(x, 0, IFD_FLOAT, rank, out);
}

static ifd_status lower_blocked(ifd_lower *x, bool average) {
  ifd_shape image = x->in[0]->shape;
  int lanes = (int)image.dim[--image.rank];
  return lower_lanes(x, &image, lanes, average);
}
static ifd_status lower_blocked_max_pool(ifd_lower *x) { return lower_blocked(x, false); }
static ifd_status lower_blocked_average_pool(ifd_lower *x) { return lower_blocked(x, true); }

/* ---- whole images ---- */

static ifd_status infer_global(ifd_infer *x) {
  int rank = ifd_infer_rank(x, 0);
  ifd_dim out[IFD_MAX_RANK];
  if (rank < 0 || rank > IFD_MAX_RANK) return ifd_infer_unranked(x, 0, ifd_infer_dtype(x, 0));
  EXPECT(x->err, rank >= 2, BAD_MODEL, "the input has rank %d; batch and channels are needed", rank);
  for (int i = 0; i < rank; i++) out[i] = i < 2 ? ifd_infer_dim(x, 0, i) : 1;
  return ifd_infer_tensor(x, 0, ifd_infer_dtype(x, 0), rank, out);
}

static double whole_mean(const double *v, int64_t n, double power) {
  (void)power;
  double sum = 0;
  for (int64_t i = 0; i < n; i++) sum += v[i];
  return sum / (double)n;
}
static double whole_norm(const double *v, int64_t n, double power) {
  double sum = 0;
  for (int64_t i = 0; i < n; i++) sum += pow(fabs(v[i]), power);
  return pow(sum, 1 / power);
}
static double whole_greatest(const double *v, int64_t n, double power) {
  (void)power;
  double best = -INFINITY;
  for (int64_t i = 0; i < n; i++)
    if (v[i] > best || isnan(v[i])) best = v[i];
  return best;
}

static ifd_status global_pool(ifd_eval *x, double (*reduce)(const double *v, int64_t n, double power),
                              double power) {
  const ifd_shape *in = ifd_eval_shape(x, 0);
  EXPECT(x->err, in->rank >= 2, BAD_INPUT, "the input has rank %d; batch and channels are needed", in->rank);
  ifd_shape out = *in;
  int64_t planes = in->dim[0] * in->dim[1], plane = ifd_shape_span(in, 2, in->rank);
  const double *v;
  double *y;
  for (int i = 2; i < out.rank; i++) out.dim[i] = 1;
  TRY(ifd_eval_f64(x, &v, 0));
  TRY(ifd_eval_zeros(x, &y, planes));
  for (int64_t i = 0; i < planes; i++) y[i] = reduce(v + i * plane, plane, power);
  return ifd_eval_put_f64(x, 0, ifd_eval_dtype(x, 0), &out, y);
}
static ifd_status eval_global_average_pool(ifd_eval *x) { return global_pool(x, whole_mean, 0); }
static ifd_status eval_global_max_pool(ifd_eval *x) { return global_pool(x, whole_greatest, 0); }
static ifd_status eval_global_lp_pool_1(ifd_eval *x) { return global_pool(x, whole_norm, power_1(x->node)); }
static ifd_status eval_global_lp_pool_2(ifd_eval *x) { return global_pool(x, whole_norm, power_2(x->node)); }

typedef struct global_params {
  const struct ifd_k_reduce_table *kernels;
  ifd_reduce op;
  int64_t plane;
  ifd_rows planes;
} global_params;

static void run_global(const void *params, const ifd_args *args, int task) {
  const global_params *p = params;
  int64_t from, to;
  ifd_rows_of(&p->planes, task, &from, &to);
  p->kernels->rows(p->op, (const float *)args->in[0] + from * p->plane, (size_t)p->plane, (size_t)(to - from),
                   (size_t)p->plane, (float *)args->out[0] + from);
}

static ifd_status lower_global(ifd_lower *x, ifd_reduce op) {
  const ifd_shape *s = &x->in[0]->shape;
  if (!ifd_lower_all_float(x, 1)) return IFD_OK;
  global_params p = {.kernels = ifd_k_reduce(x->isa), .op = op, .plane = ifd_shape_span(s, 2, s->rank)};
  p.planes = ifd_rows_split(s->dim[0] * s->dim[1], (double)p.plane);
  x->work->algorithm = "rows";
  return ifd_lower_rows(x, run_global, &p, sizeof p, &p.planes);
}
static ifd_status lower_global_average_pool(ifd_lower *x) { return lower_global(x, IFD_REDUCE_Mean); }
static ifd_status lower_global_max_pool(ifd_lower *x) { return lower_global(x, IFD_REDUCE_Max); }
static ifd_status lower_global_lp_pool(ifd_lower *x, double power) {
  if (power != 1 && power != 2) return IFD_OK;
  return lower_global(x, power == 1 ? IFD_REDUCE_L1 : IFD_REDUCE_L2);
}
static ifd_status lower_global_lp_pool_1(ifd_lower *x) { return lower_global_lp_pool(x, power_1(x->node)); }
static ifd_status lower_global_lp_pool_2(ifd_lower *x) { return lower_global_lp_pool(x, power_2(x->node)); }

/* Indices count through the whole batch. */
static const char *batch_max_pool(const ifd_batch *b) {
  return b->node->n_outputs > 1 && b->out[1] ? NULL : "p";
}

#define ROW(name_, since_, infer_, pool, batch_)                                                             \
  {                                                                                                          \
    .name = name_, .since = since_, .infer = infer_, .eval = eval_##pool, .lower = lower_##pool,             \
    .batch = batch_                                                                                          \
  }
#define BLOCKED(name_, pool)                                                                                 \
  {                                                                                                          \
    .name = name_, .domain = "infold", .infer = infer_blocked, .lower = lower_blocked_##pool,                \
    .batch = ifd_batch_each                                                                                  \
  }
const ifd_op ifd_ops_pool[] = {ROW("MaxPool", 1, infer_pool, max_pool, batch_max_pool),
                               ROW("AveragePool", 1, infer_pool, average_pool, ifd_batch_each),
                               ROW("LpPool", 1, infer_pool, lp_pool_1, ifd_batch_each),
                               ROW("LpPool", 2, infer_pool, lp_pool_2, ifd_batch_each),
                               ROW("GlobalMaxPool", 1, infer_global, global_max_pool, ifd_batch_each),
                               ROW("GlobalAveragePool", 1, infer_global, global_average_pool, ifd_batch_each),
                               ROW("GlobalLpPool", 1, infer_global, global_lp_pool_1, ifd_batch_each),
                               ROW("GlobalLpPool", 2, infer_global, global_lp_pool_2, ifd_batch_each),
                               BLOCKED("MaxPool", max_pool),
                               BLOCKED("AveragePool", average_pool),
                               {0}};
