/* Sampling at positions that are data: GridSample, AffineGrid, which makes such positions, and DeformConv, a
 * convolution whose taps are moved by them. Images have any number of spatial dimensions. */
#include <math.h>
#include <string.h>

#include "ops/shared/elementwise.h"
#include "ops/shared/values.h"
#include "ops/shared/window.h"

/* ---- samples ---- */

typedef enum outside { ZEROS, BORDER, REFLECTION } outside;

/* The neighbours of a position along one axis: index (-1: outside, zero) and weight. */
enum { MAX_NEIGHBOURS = 4, MAX_AXES = 8 };
typedef struct neighbours {
  int n;
  int64_t index[MAX_NEIGHBOURS];
  double weight[MAX_NEIGHBOURS];
} neighbours;

/* x mirrored at low and high until it lies between them. */
static double reflect(double x, double low, double high) {
  double range = high - low, beyond = x < low ? low - x : x - high;
  if (!(range > 0)) return low;
  if (x >= low && x <= high) return x;
  double rest = fmod(beyond, range);
  bool turned = fmod(floor(beyond / range), 2) != 0;
  return (x < low) == turned ? high - rest : low + rest;
}

/* The element that position i of an axis of n stands for, or -1. low and high are the mirrors of REFLECTION.
 */
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

/* The sum over all combinations of neighbours of weight products times elements of the plane. */
static double weigh(const neighbours *at, int n_axes, const int64_t *size, const double *plane) {
  double sum = 0;
  int k[MAX_AXES] = {0};
  for (;;) {
    double weight = 1;
    int64_t index = 0;
    bool inside = true;
    for (int a = 0; a < n_axes && inside; a++) {
      inside = at[a].index[k[a]] >= 0;
      index = index * size[a] + at[a].index[k[a]];
      weight *= at[a].weight[k[a]];
    }
    if (inside) sum += weight * plane[index];
    int a = n_axes - 1;
    while (a >= 0 && ++k[a] == at[a].n) k[a--] = 0;
    if (a < 0) return sum;
  }
}

/* ---- GridSample ---- */

typedef enum interpolation { NEAREST, LINEAR, CUBIC } interpolation;

typedef struct sampler {
  interpolation mode;
  outside outside;
  bool align_corners;
  int n;
  int64_t size[MAX_AXES];
} sampler;

/* Neighbours of the normalized coordinate v on axis a. */
static neighbours neighbours_of(const sampler *s, int a, double v) {
  double n = (double)s->size[a], low = s->align_corners ? 0 : -.5, high = s->align_corners ? n - 1 : n - .5;
  double x = s->align_corners ? (v + 1) / 2 * (n - 1) : ((v + 1) * n - 1) / 2;
  neighbours r = {.n = s->mode == NEAREST ? 1 : s->mode == LINEAR ? 2 : 4};
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

static ifd_status read_sampler(ifd_eval *x, sampler *s) {
  static const char *const modes[] = {"linear", "nearest", "cubic", "bilinear", "bicubic"};
  static const interpolation meaning[] = {LINEAR, NEAREST, CUBIC, LINEAR, CUBIC};
  static const char *const paddings[] = {"zeros", "border", "reflection"};
  const ifd_shape *in = ifd_eval_shape(x, 0), *grid = ifd_eval_shape(x, 1);
  int mode, padding;
  TRY(choose(x->err, x->node, "mode", modes, 5, &mode));
  TRY(choose(x->err, x->node, "padding_mode", paddings, 3, &padding));
  EXPECT(x->err, in->rank >= 3 && in->rank - 2 <= MAX_AXES, BAD_INPUT, "X has rank %d", in->rank);
  *s = (sampler){.mode = meaning[mode],
                 .outside = (outside)padding,
                 .align_corners = ifd_attr_int(x->node, "align_corners") != 0,
                 .n = in->rank - 2};
  EXPECT(x->err, grid->rank == in->rank && grid->dim[grid->rank - 1] == s->n && grid->dim[0] == in->dim[0],
         BAD_INPUT, "grid is not [%lld, …, %d]", (long long)in->dim[0], s->n);
  for (int a = 0; a < s->n; a++) s->size[a] = in->dim[2 + a];
  return IFD_OK;
}

static ifd_status eval_grid_sample(ifd_eval *x) {
  sampler s;
  const double *in, *grid;
  double *y;
  TRY(read_sampler(x, &s));
  const ifd_shape *shape = ifd_eval_shape(x, 0), *positions = ifd_eval_shape(x, 1);
  ifd_shape out = {.rank = shape->rank, .dim = {shape->dim[0], shape->dim[1]}};
  for (int i = 2; i < out.rank; i++) out.dim[i] = positions->dim[i - 1];
  TRY(ifd_shape_check(x->err, &out, sizeof(double)));
  int64_t channels = shape->dim[1], plane = ifd_shape_span(shape, 2, shape->rank);
  int64_t points = ifd_shape_span(&out, 2, out.rank);
  TRY(ifd_eval_f64(x, &in, 0));
  TRY(ifd_eval_f64(x, &grid, 1));
  TRY(ifd_eval_zeros(x, &y, ifd_shape_count(&out)));
  for (int64_t n = 0; n < shape->dim[0]; n++)
    for (int64_t p = 0; p < points; p++, grid += s.n) {
      neighbours at[MAX_AXES];
      for (int a = 0; a < s.n; a++) at[a] = neighbours_of(&s, a, grid[s.n - 1 - a]);
      for (int64_t c = n * channels; c < (n + 1) * channels; c++)
        y[c * points + p] = weigh(at, s.n, s.size, in + c * plane);
    }
  return ifd_eval_put_f64(x, 0, ifd_eval_dtype(x, 0), &out, y);
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

/* ---- DeformConv ---- */

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
 * offset_group, taps, windows…] or NULL. */
typedef struct deform {
  ifd_window w;
  int64_t n, c, m, group, offset_group;
  int64_t taps, image, windows;
  const double *x, *weights, *offset, *bias, *mask;
  double *columns; /* [c, taps]: the samples of one window */
} deform;

static ifd_status check_deform(ifd_eval *x, deform *d) {
  const ifd_shape *in = ifd_eval_shape(x, 0), *w = ifd_eval_shape(x, 1), *offset = ifd_eval_shape(x, 2);
  TRY(ifd_window_init(x->err, &d->w, x->node, in, w));
  EXPECT(x->err, d->w.n <= MAX_AXES, UNSUPPORTED, "X has rank %d", in->rank);
  d->n = in->dim[0], d->c = in->dim[1], d->m = w->dim[0];
  d->group = ifd_attr_int(x->node, "group");
  d->offset_group = ifd_attr_int(x->node, "offset_group");
  EXPECT(x->err, d->group > 0 && d->c % d->group == 0 && d->m % d->group == 0 && w->dim[1] == d->c / d->group,
         BAD_INPUT, "X has %lld channels in %lld groups; W is for %lld in each", (long long)d->c,
         (long long)d->group, (long long)w->dim[1]);
  EXPECT(x->err, d->offset_group > 0 && d->c % d->offset_group == 0, BAD_INPUT,
         "%lld channels cannot be divided in %lld offset groups", (long long)d->c,
         (long long)d->offset_group);
  d->taps = ifd_window_product(&d->w, d->w.kernel);
  d->image = ifd_window_product(&d->w, d->w.image);
  d->windows = ifd_window_product(&d->w, d->w.windows);
  bool fits = offset->rank == in->rank && offset->dim[0] == d->n &&
              offset->dim[1] == d->offset_group * d->taps * (in->rank - 2);
  for (int i = 2; i < in->rank && fits; i++) fits = offset->dim[i] == d->w.windows[i - 2];
  EXPECT(x->err, fits && in->rank > 2, BAD_INPUT, "offset has not the shape that attributes and X imply");
  return IFD_OK;
}

/* The sample of tap k, of window o (the index-th), in a plane of channel c of image n. */
static double deformed_sample(const deform *d, int64_t n, int64_t g, const int64_t *k, int64_t tap,
                              const int64_t *o, int64_t index, const double *plane) {
  neighbours at[MAX_AXES];
  int64_t row = (n * d->offset_group + g) * d->taps + tap;
  for (int a = 0; a < d->w.n; a++) {
    double v =
        (double)ifd_window_at(&d->w, a, o[a], k[a]) + d->offset[(row * d->w.n + a) * d->windows + index];
    at[a].n = 2;
    linear_weights(v - floor(v), at[a].weight);
    for (int i = 0; i < 2; i++) at[a].index[i] = resolve(ZEROS, floor(v) + i, d->w.image[a], 0, 0);
  }
  double sample = weigh(at, d->w.n, d->w.image, plane);
  return d->mask ? sample * d->mask[row * d->windows + index] : sample;
}

static void deform_window(const deform *d, int64_t n, const int64_t *o, int64_t index, double *y) {
  int64_t in_group = d->c / d->group, out_group = d->m / d->group;
  for (int64_t c = 0; c < d->c; c++) {
    ifd_box taps = ifd_box_of(d->w.n, d->w.kernel);
    int64_t tap = 0, g = c / (d->c / d->offset_group);
    for (bool more = ifd_box_start(&taps); more; more = ifd_box_next(&taps), tap++)
      d->columns[c * d->taps + tap] =
          deformed_sample(d, n, g, taps.at, tap, o, index, d->x + (n * d->c + c) * d->image);
  }
  for (int64_t m = 0; m < d->m; m++) {
    const double *w = d->weights + m * in_group * d->taps,
                 *v = d->columns + m / out_group * in_group * d->taps;
    double sum = d->bias ? d->bias[m] : 0;
    for (int64_t i = 0; i < in_group * d->taps; i++) sum += w[i] * v[i];
    y[(n * d->m + m) * d->windows + index] = sum;
  }
}

static ifd_status eval_deform_conv(ifd_eval *x) {
  deform d = {0};
  double *y;
  TRY(check_deform(x, &d));
  ifd_shape out = ifd_window_shape(&d.w, ifd_eval_shape(x, 0)->rank, d.n, d.m);
  TRY(ifd_shape_check(x->err, &out, sizeof(double)));
  TRY(ifd_eval_f64(x, &d.x, 0));
  TRY(ifd_eval_f64(x, &d.weights, 1));
  TRY(ifd_eval_f64(x, &d.offset, 2));
  TRY(ifd_eval_find_f64_n(x, &d.bias, 3, d.m, "B"));
  TRY(ifd_eval_find_f64_n(x, &d.mask, 4, d.n * d.offset_group * d.taps * d.windows, "mask"));
  TRY(ifd_eval_zeros(x, &d.columns, d.c * d.taps));
  TRY(ifd_eval_zeros(x, &y, ifd_shape_count(&out)));
  ifd_box windows = ifd_box_of(d.w.n, d.w.windows);
  for (int64_t n = 0; n < d.n; n++) {
    int64_t index = 0;
    for (bool more = ifd_box_start(&windows); more; more = ifd_box_next(&windows))
      deform_window(&d, n, windows.at, index++, y);
  }
  return ifd_eval_put_f64(x, 0, ifd_eval_dtype(x, 0), &out, y);
}

/* Each output takes the weights of its channel once. */
static double cost_deform_conv(const ifd_node *node, const ifd_shape *in, const ifd_shape *out) {
  (void)node;
  double cost = 1;
  for (int i = 0; i < out[0].rank; i++) cost *= (double)out[0].dim[i];
  for (int i = 1; i < in[1].rank; i++) cost *= (double)in[1].dim[i];
  return cost;
}

const ifd_op ifd_ops_grid[] = {
    {.name = "GridSample", .since = 16, .infer = infer_grid_sample, .eval = eval_grid_sample},
    {.name = "AffineGrid", .since = 20, .infer = infer_affine_grid, .eval = eval_affine_grid},
    {.name = "DeformConv",
     .since = 19,
     .infer = infer_deform_conv,
     .eval = eval_deform_conv,
     .cost = cost_deform_conv},
    {0}};
