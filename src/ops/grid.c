/* Sampling at positions that are data: GridSample, and AffineGrid, which makes such positions. Images have
 * any number of spatial dimensions. */
#include <math.h>
#include <string.h>

#include "ops/shared/batch.h"
#include "ops/shared/elementwise.h"
#include "ops/shared/rows.h"
#include "ops/shared/sampling.h"
#include "ops/shared/taps.h"
#include "ops/shared/values.h"
#include "ops/shared/window.h"

/* ---- samples ---- */

typedef enum outside { ZEROS, BORDER, REFLECTION } outside;

/* x mirrored at low and high until it lies between them. */
static double reflect(double x, double low, double high) {
  double range = high - low, beyond = x < low ? low - x : x - high;
  if (!(range > 0)) return low;
  if (x >= low && x <= high) return x;
  double rest = fmod(beyond, range);
  bool turned = fmod(floor(beyond / range), 2) != 0;
  return (x < low) == turned ? high - rest : low + rest;
}

/* The element that position i of an axis of n stands for, or -1. low and high are the mirrors of
 * REFLECTION. */
static int64_t resolve(outside o, double i, int64_t n, double low, double high) {
  if (i >= 0 && i <= (double)(n - 1)) return (int64_t)i;
  if (o == ZEROS || n == 0 || i != i) return -1;
  if (o == REFLECTION) i = reflect(i, low, high);
  return i < 0 ? 0 : i > (double)(n - 1) ? n - 1 : (int64_t)i;
}

static void linear_weights(double t, double *w) {
  w[0] = 1 - t;
  w[1] = t;
}

/* Cubic convolution with a = -0.75 (Keys, 1981). */
static void cubic_weights(double t, double *w) {
  const double a = -.75;
  for (int i = 0; i < 4; i++) {
    double d = fabs(t - (i - 1));
    w[i] = d <= 1 ? ((a + 2) * d - (a + 3)) * d * d + 1 : ((a * d - 5 * a) * d + 8 * a) * d - 4 * a;
  }
}

/* ---- GridSample ---- */

typedef enum interpolation { NEAREST, LINEAR, CUBIC } interpolation;

typedef struct sampler {
  interpolation mode;
  outside outside;
  bool align_corners;
  int n;
  int64_t size[IFD_TAPS_AXES];
} sampler;

/* The normalized coordinate v on axis a, in elements. */
static double position_of(const sampler *s, int a, double v) {
  double n = (double)s->size[a];
  return s->align_corners ? (v + 1) / 2 * (n - 1) : ((v + 1) * n - 1) / 2;
}

/* Neighbours of position x on axis a. */
static ifd_neighbours neighbours_of(const sampler *s, int a, double x) {
  double n = (double)s->size[a], low = s->align_corners ? 0 : -.5, high = s->align_corners ? n - 1 : n - .5;
  ifd_neighbours r = {.n = s->mode == NEAREST ? 1 : s->mode == LINEAR ? 2 : 4};
  if (s->mode == NEAREST) x = nearbyint(x);
  /* Under BORDER the taps of cubic go to the border one by one, as in PyTorch, whose grid_sample this is. */
  if (x < low || x > high) {
    if (s->outside == BORDER && s->mode != CUBIC) x = x < 0 ? 0 : n - 1;
    if (s->outside == REFLECTION) x = reflect(x, low, high);
  }
  double base = s->mode == NEAREST ? x : s->mode == LINEAR ? floor(x) : floor(x) - 1;
  r.weight[0] = 1;
  if (s->mode == LINEAR) linear_weights(x - floor(x), r.weight);
  if (s->mode == CUBIC) cubic_weights(x - floor(x), r.weight);
  for (int k = 0; k < r.n; k++) r.index[k] = resolve(s->outside, base + k, s->size[a], low, high);
  return r;
}

static ifd_status infer_grid_sample(ifd_infer *x) {
  int rank = ifd_infer_rank(x, 0), grid = ifd_infer_rank(x, 1);
  ifd_dim out[IFD_MAX_RANK];
  if (rank < 0 && grid < 0) return ifd_infer_unranked(x, 0, ifd_infer_dtype(x, 0));
  if (rank < 0) rank = grid;
  EXPECT(x->err, rank >= 3 && rank <= IFD_MAX_RANK && (grid < 0 || grid == rank), BAD_MODEL,
         "X has rank %d and grid %d", rank, grid);
  out[0] = ifd_infer_rank(x, 0) < 0 ? ifd_infer_dim(x, 1, 0) : ifd_infer_dim(x, 0, 0);
  out[1] = ifd_infer_rank(x, 0) < 0 ? ifd_dim_unknown(x->dims) : ifd_infer_dim(x, 0, 1);
  for (int i = 2; i < rank; i++) out[i] = grid < 0 ? ifd_dim_unknown(x->dims) : ifd_infer_dim(x, 1, i - 1);
  return ifd_infer_tensor(x, 0, ifd_infer_dtype(x, 0), rank, out);
}

/* The index of an attribute's value among names: modes are called bilinear and bicubic before opset 20. */
static ifd_status choose(ifd_error *err, const ifd_node *node, const char *attr, const char *const *names,
                         int n, int *out) {
  for (*out = 0; *out < n; ++*out)
    if (ifd_node_string_is(node, attr, names[0], names[*out])) return IFD_OK;
  FAIL(err, BAD_MODEL, "attribute %s has an unknown value", attr);
}

static ifd_status read_sampler(ifd_error *err, const ifd_node *node, const ifd_shape *in,
                               const ifd_shape *grid, sampler *s) {
  static const char *const modes[] = {"linear", "nearest", "cubic", "bilinear", "bicubic"};
  static const interpolation meaning[] = {LINEAR, NEAREST, CUBIC, LINEAR, CUBIC};
  static const char *const paddings[] = {"zeros", "border", "reflection"};
  int mode, padding;
  TRY(choose(err, node, "mode", modes, 5, &mode));
  TRY(choose(err, node, "padding_mode", paddings, 3, &padding));
  EXPECT(err, in->rank >= 3 && in->rank - 2 <= IFD_TAPS_AXES, BAD_INPUT, "X has rank %d", in->rank);
  *s = (sampler){.mode = meaning[mode],
                 .outside = (outside)padding,
                 .align_corners = ifd_attr_int(node, "align_corners") != 0,
                 .n = in->rank - 2};
  EXPECT(err, grid->rank == in->rank && grid->dim[grid->rank - 1] == s->n && grid->dim[0] == in->dim[0],
         BAD_INPUT, "grid is not [%lld, …, %d]", (long long)in->dim[0], s->n);
  for (int a = 0; a < s->n; a++) s->size[a] = in->dim[2 + a];
  return IFD_OK;
}

static ifd_status eval_grid_sample(ifd_eval *x) {
  sampler s;
  const double *in, *grid;
  double *y, *weight;
  TRY(read_sampler(x->err, x->node, ifd_eval_shape(x, 0), ifd_eval_shape(x, 1), &s));
  const ifd_shape *shape = ifd_eval_shape(x, 0), *positions = ifd_eval_shape(x, 1);
  int64_t *index;
  ifd_shape out = {.rank = shape->rank, .dim = {shape->dim[0], shape->dim[1]}};
  for (int i = 2; i < out.rank; i++) out.dim[i] = positions->dim[i - 1];
  TRY(ifd_shape_check(x->err, &out, sizeof(double)));
  int64_t channels = shape->dim[1], plane = ifd_shape_span(shape, 2, shape->rank);
  int64_t points = ifd_shape_span(&out, 2, out.rank);
  TRY(ifd_eval_f64(x, &in, 0));
  TRY(ifd_eval_f64(x, &grid, 1));
  TRY(ifd_eval_zeros(x, &y, ifd_shape_count(&out)));
  size_t n_taps = (size_t)1 << (s.mode == NEAREST ? 0 : s.mode == LINEAR ? s.n : 2 * s.n);
  ALLOC(x->err, index, ifd_new_array(x->scratch, int64_t, n_taps));
  ALLOC(x->err, weight, ifd_new_array(x->scratch, double, n_taps));
  for (int64_t n = 0; n < shape->dim[0]; n++)
    for (int64_t p = 0; p < points; p++, grid += s.n) {
      ifd_neighbours at[IFD_TAPS_AXES];
      for (int a = 0; a < s.n; a++) at[a] = neighbours_of(&s, a, position_of(&s, a, grid[s.n - 1 - a]));
      int64_t inside = ifd_taps_find(at, s.n, s.size, index, weight);
      for (int64_t c = n * channels; c < (n + 1) * channels; c++)
        y[c * points + p] = ifd_taps_sum(index, weight, inside, in + c * plane);
    }
  return ifd_eval_put_f64(x, 0, ifd_eval_dtype(x, 0), &out, y);
}

/* A task is a block of points of one image, in all channels. */
typedef struct sampling {
  sampler s;
  ifd_sampling in;
  int64_t points, blocks;
} sampling;

/* Of n positions, whose normalized coordinates are `apart` floats from each other. */
static void find_axis(const sampling *g, int a, const float *grid, int apart, int n, ifd_k_taps_axis *to) {
  const sampler *s = &g->s;
  double x[IFD_TAPS_BLOCK];
  for (int i = 0; i < n; i++) x[i] = position_of(s, a, grid[i * apart]);
  to->size = s->size[a];
  if (s->mode != CUBIC && s->outside == ZEROS) {
    (s->mode == LINEAR ? g->in.kernels->neighbours : g->in.kernels->nearest)(to, x, n);
    return;
  }
  for (int i = 0; i < n; i++) {
    ifd_neighbours at = neighbours_of(s, a, x[i]);
    ifd_taps_axis_put(to, i, &at);
  }
}

static void run_grid_sample(const void *params, const ifd_args *args, int task) {
  const sampling *g = params;
  ifd_taps_scratch *scratch = args->scratch;
  ifd_k_taps *taps = &scratch->taps;
  ifd_k_taps_axis axes[IFD_TAPS_AXES];
  int n_axes = g->s.n;
  int64_t image = task / g->blocks, first = task % g->blocks * IFD_TAPS_BLOCK;
  const float *grid = (const float *)args->in[1] + (image * g->points + first) * n_axes;
  taps->n_points = (int)ifd_min_i64(IFD_TAPS_BLOCK, g->points - first);
  for (int a = 0; a < n_axes; a++) find_axis(g, a, grid + n_axes - 1 - a, n_axes, taps->n_points, &axes[a]);
  g->in.kernels->cross(taps, axes, n_axes, NULL);
  ifd_sampling_taps(&g->in, args, taps, &scratch->inside, image, 0, g->in.channels,
                    (float *)args->out[0] + image * g->in.channels * g->points + first, g->points);
}

static ifd_status lower_grid_sample(ifd_lower *x) {
  sampling g;
  if (!ifd_lower_all_float(x, 2)) return IFD_OK;
  const ifd_shape *in = &x->in[0]->shape, *out = &x->out[0]->shape;
  TRY(read_sampler(x->err, x->node, in, &x->in[1]->shape, &g.s));
  int64_t plane = ifd_shape_span(in, 2, in->rank);
  g.points = ifd_shape_span(out, 2, out->rank);
  g.blocks = ifd_ceil_div(g.points, IFD_TAPS_BLOCK);
  double taps = pow(g.s.mode == NEAREST ? 1 : g.s.mode == LINEAR ? 2 : 4, g.s.n);
  if (taps > IFD_TAPS || plane >= INT32_MAX) return IFD_OK;
  TRY(ifd_lower_sampling(x, &g.in, 0, in->dim[1], in->dim[1], in->dim[0], plane,
                         taps * (double)(in->dim[0] * g.points)));
  x->work->algorithm = "taps";
  return ifd_lower_launch(x, run_grid_sample, &g, sizeof g, in->dim[0] * g.blocks, sizeof(ifd_taps_scratch));
}

/* ---- AffineGrid ---- */

static ifd_status infer_affine_grid(ifd_infer *x) {
  const ifd_elements *size = x->elements[1];
  ifd_dim out[IFD_MAX_RANK];
  bool theta = ifd_infer_rank(x, 0) == 3;
  int n = size                                                 ? size->n - 2
          : theta && ifd_dim_is_number(ifd_infer_dim(x, 0, 1)) ? (int)ifd_infer_dim(x, 0, 1)
                                                               : -1;
  if (n != 2 && n != 3) return ifd_infer_unranked(x, 0, ifd_infer_dtype(x, 0));
  out[0] = size ? size->d[0] : ifd_infer_dim(x, 0, 0);
  for (int i = 0; i < n; i++) out[1 + i] = size ? size->d[2 + i] : ifd_dim_unknown(x->dims);
  out[n + 1] = n;
  return ifd_infer_tensor(x, 0, ifd_infer_dtype(x, 0), n + 2, out);
}

/* Position i of n evenly spaced ones: from centre to centre of the outermost, or from edge to edge. */
static double spaced(int64_t i, int64_t n, bool align_corners) {
  if (align_corners) return n > 1 ? -1 + 2 * (double)i / (double)(n - 1) : 0;
  return (2 * (double)i + 1) / (double)n - 1;
}

static ifd_status eval_affine_grid(ifd_eval *x) {
  bool align = ifd_attr_int(x->node, "align_corners") != 0;
  const ifd_shape *theta_shape = ifd_eval_shape(x, 0);
  const int64_t *size;
  const double *theta;
  double *y;
  int64_t count;
  TRY(ifd_eval_ints(x, &size, &count, 1));
  EXPECT(x->err, count == 4 || count == 5, BAD_INPUT, "size has %lld elements, not 4 or 5", (long long)count);
  int n = (int)count - 2;
  EXPECT(x->err,
         theta_shape->rank == 3 && theta_shape->dim[0] == size[0] && theta_shape->dim[1] == n &&
             theta_shape->dim[2] == n + 1,
         BAD_INPUT, "theta is not [%lld,%d,%d]", (long long)size[0], n, n + 1);
  ifd_shape out = {.rank = n + 2, .dim = {size[0]}};
  for (int i = 0; i < n; i++) out.dim[1 + i] = size[2 + i];
  out.dim[n + 1] = n;
  TRY(ifd_shape_check(x->err, &out, sizeof(double)));
  TRY(ifd_eval_f64(x, &theta, 0));
  TRY(ifd_eval_zeros(x, &y, ifd_shape_count(&out)));
  double *to = y;
  ifd_box points = ifd_box_of(n, out.dim + 1);
  for (int64_t b = 0; b < size[0]; b++, theta += n * (n + 1))
    for (bool more = ifd_box_start(&points); more; more = ifd_box_next(&points))
      for (int row = 0; row < n; row++) {
        double sum = theta[row * (n + 1) + n];
        for (int a = 0; a < n; a++)
          sum += theta[row * (n + 1) + a] * spaced(points.at[n - 1 - a], out.dim[n - a], align);
        *to++ = sum;
      }
  return ifd_eval_put_f64(x, 0, ifd_eval_dtype(x, 0), &out, y);
}

/* A task is a row of positions along the last axis. */
typedef struct affine {
  int n;
  bool align_corners;
  int64_t size[3]; /* of the image's axes */
} affine;

static void run_affine_row(const void *params, const ifd_args *args, int task) {
  const affine *p = params;
  int n = p->n;
  int64_t rest = task, width = p->size[n - 1];
  double at[3], base[3], slope[3];
  for (int a = n - 2; a >= 0; rest /= p->size[a--])
    at[a] = spaced(rest % p->size[a], p->size[a], p->align_corners);
  const float *theta = (const float *)args->in[0] + rest * n * (n + 1);
  for (int row = 0; row < n; row++, theta += n + 1) {
    base[row] = theta[n];
    for (int a = 0; a < n - 1; a++) base[row] += (double)theta[n - 1 - a] * at[a];
    slope[row] = theta[0];
  }
  float *out = (float *)args->out[0] + task * width * n;
  for (int64_t i = 0; i < width; i++) {
    double x = spaced(i, width, p->align_corners);
    for (int row = 0; row < n; row++) *out++ = (float)(base[row] + slope[row] * x);
  }
}

static ifd_status lower_affine_grid(ifd_lower *x) {
  affine p = {.align_corners = ifd_attr_int(x->node, "align_corners") != 0};
  if (!ifd_lower_all_float(x, 1)) return IFD_OK;
  const ifd_shape *theta = &x->in[0]->shape, *out = &x->out[0]->shape;
  p.n = out->rank - 2;
  bool fits = (p.n == 2 || p.n == 3) && theta->rank == 3 && theta->dim[0] == out->dim[0] &&
              theta->dim[1] == p.n && theta->dim[2] == p.n + 1;
  if (!fits) return IFD_OK;
  memcpy(p.size, out->dim + 1, (size_t)p.n * sizeof *p.size);
  x->work->algorithm = "rows";
  return ifd_lower_launch(x, run_affine_row, &p, sizeof p, ifd_shape_span(out, 0, out->rank - 2), 0);
}

const ifd_op ifd_ops_grid[] = {{.name = "GridSample",
                                .since = 16,
                                .infer = infer_grid_sample,
                                .eval = eval_grid_sample,
                                .lower = lower_grid_sample,
                                .batch = ifd_batch_each},
                               {.name = "AffineGrid",
                                .since = 20,
                                .infer = infer_affine_grid,
                                .eval = eval_affine_grid,
                                .lower = lower_affine_grid},
                               {0}};
