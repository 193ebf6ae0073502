/* Pools over regions of interest: MaxRoiPool and RoiAlign. Regions are rectangles in the coordinates of the
 * original image; each is divided into bins, and a bin gives one output. */
#include <math.h>

#include "ops/shared/elementwise.h"
#include "ops/shared/rows.h"
#include "ops/shared/sampling.h"
#include "ops/shared/values.h"

/* ---- shared by both ---- */

/* Output [regions, channels, height, width] of a feature map [images, channels, height, width]. */
typedef struct pooled {
  int64_t regions, channels, images;
  int64_t in_height, in_width;
  int64_t height, width;
  ifd_shape out;
} pooled;

static ifd_status pooled_init(ifd_error *err, pooled *p, const ifd_shape *in, const ifd_shape *rois,
                              int64_t height, int64_t width, int64_t columns) {
  EXPECT(err, in->rank == 4, BAD_INPUT, "X has rank %d, not 4", in->rank);
  EXPECT(err, rois->rank == 2 && rois->dim[1] == columns, BAD_INPUT, "rois are not [number, %lld]",
         (long long)columns);
  EXPECT(err, height > 0 && height <= INT32_MAX && width > 0 && width <= INT32_MAX, BAD_MODEL,
         "a pooled shape of %lld by %lld", (long long)height, (long long)width);
  *p = (pooled){.regions = rois->dim[0],
                .images = in->dim[0],
                .channels = in->dim[1],
                .in_height = in->dim[2],
                .in_width = in->dim[3],
                .height = height,
                .width = width};
  p->out = (ifd_shape){4, {p->regions, p->channels, height, width}};
  return ifd_shape_check(err, &p->out, sizeof(double));
}

static ifd_status check_image(ifd_eval *x, const pooled *p, double image) {
  EXPECT(x->err, image >= 0 && image < (double)p->images, BAD_INPUT, "a region of image %g; there are %lld",
         image, (long long)p->images);
  return IFD_OK;
}

static ifd_status infer_pooled(ifd_infer *x, ifd_dim height, ifd_dim width) {
  EXPECT(x->err, height > 0 && height <= INT32_MAX && width > 0 && width <= INT32_MAX, BAD_MODEL,
         "a pooled shape of %lld by %lld", (long long)height, (long long)width);
  bool has = ifd_infer_rank(x, 0) == 4, rois = ifd_infer_rank(x, 1) == 2;
  const ifd_dim out[] = {rois ? ifd_infer_dim(x, 1, 0) : ifd_dim_unknown(x->dims),
                         has ? ifd_infer_dim(x, 0, 1) : ifd_dim_unknown(x->dims), height, width};
  return ifd_infer_tensor(x, 0, ifd_infer_dtype(x, 0), 4, out);
}

/* ---- MaxRoiPool ---- */

static ifd_status pooled_shape(ifd_error *err, const ifd_node *node, const int64_t **sizes) {
  EXPECT(err, ifd_node_ints(node, "pooled_shape", sizes) == 2, BAD_MODEL,
         "attribute pooled_shape has not 2 elements");
  return IFD_OK;
}

static ifd_status infer_max_roi_pool(ifd_infer *x) {
  const int64_t *sizes;
  TRY(pooled_shape(x->err, x->node, &sizes));
  return infer_pooled(x, sizes[0], sizes[1]);
}

/* Bins along one axis: bin i of n over [start, start + length) covers [*from, *to), within [0, size). */
static void bin_range(int64_t i, int64_t n, int64_t start, int64_t length, int64_t size, int64_t *from,
                      int64_t *to) {
  int64_t first = start + i * length / n, last = start + ifd_ceil_div((i + 1) * length, n);
  *from = ifd_min_i64(ifd_max_i64(first, 0), size);
  *to = ifd_min_i64(ifd_max_i64(last, *from), size);
}

/* A coordinate as a whole pixel, halves away from zero; far outside any image where it is not a number. */
static int64_t pixel(double v) {
  const double far = INT32_MAX;
  return (int64_t)round(v > far ? far : v > -far ? v : -far);
}

/* The greatest elements of the bins of one region in all channels: 0 where a bin is empty, NaN where an
 * element is. */
#define MAX_ROI_POOL(type)                                                                                   \
  static type greatest_in_##type(const type *plane, int64_t width, const int64_t *rows,                      \
                                 const int64_t *columns) {                                                   \
    enum { LANES = 8 };                                                                                      \
    int nan = 0;                                                                                             \
    type best[LANES], greatest = -INFINITY;                                                                  \
    for (int k = 0; k < LANES; k++) best[k] = -INFINITY;                                                     \
    if (rows[0] >= rows[1] || columns[0] >= columns[1]) return 0;                                            \
    for (int64_t r = rows[0]; r < rows[1]; r++)                                                              \
      for (int64_t c = columns[0]; c < columns[1]; c += LANES) {                                             \
        const type *v = plane + r * width + c;                                                               \
        int64_t n = ifd_min_i64(LANES, columns[1] - c);                                                      \
        for (int64_t k = 0; k < n; k++) {                                                                    \
          best[k] = v[k] > best[k] ? v[k] : best[k];                                                         \
          nan |= v[k] != v[k];                                                                               \
        }                                                                                                    \
      }                                                                                                      \
    for (int k = 0; k < LANES; k++) greatest = best[k] > greatest ? best[k] : greatest;                      \
    return nan ? (type)NAN : greatest;                                                                       \
  }                                                                                                          \
  static void max_roi_pool_##type(const pooled *p, const type *image, const type *roi, double scale,         \
                                  type *y) {                                                                 \
    int64_t left = pixel(roi[1] * scale), top = pixel(roi[2] * scale), plane = p->in_height * p->in_width;   \
    int64_t width = ifd_max_i64(pixel(roi[3] * scale) - left + 1, 1);                                        \
    int64_t height = ifd_max_i64(pixel(roi[4] * scale) - top + 1, 1), bins = p->height * p->width;           \
    for (int64_t i = 0; i < p->height; i++)                                                                  \
      for (int64_t j = 0; j < p->width; j++) {                                                               \
        int64_t rows[2], columns[2];                                                                         \
        bin_range(i, p->height, top, height, p->in_height, &rows[0], &rows[1]);                              \
        bin_range(j, p->width, left, width, p->in_width, &columns[0], &columns[1]);                          \
        for (int64_t c = 0; c < p->channels; c++)                                                            \
          y[c * bins + i * p->width + j] =                                                                   \
              greatest_in_##type(image + c * plane, p->in_width, rows, columns);                             \
      }                                                                                                      \
  }
MAX_ROI_POOL(float)
MAX_ROI_POOL(double)

static ifd_status eval_max_roi_pool(ifd_eval *x) {
  const int64_t *sizes;
  const double *in, *rois;
  double *y, scale = ifd_attr_float(x->node, "spatial_scale");
  pooled p;
  TRY(pooled_shape(x->err, x->node, &sizes));
  EXPECT(x->err, sizes[0] <= INT32_MAX && sizes[1] <= INT32_MAX, LIMIT,
         "attribute pooled_shape is too large");
  TRY(pooled_init(x->err, &p, ifd_eval_shape(x, 0), ifd_eval_shape(x, 1), sizes[0], sizes[1], 5));
  TRY(ifd_eval_f64(x, &in, 0));
  TRY(ifd_eval_f64(x, &rois, 1));
  TRY(ifd_eval_zeros(x, &y, ifd_shape_count(&p.out)));
  for (int64_t r = 0; r < p.regions; r++) {
    TRY(check_image(x, &p, rois[r * 5]));
    max_roi_pool_double(&p, in + (int64_t)rois[r * 5] * p.channels * p.in_height * p.in_width, rois + r * 5,
                        scale, y + r * p.channels * p.height * p.width);
  }
  return ifd_eval_put_f64(x, 0, ifd_eval_dtype(x, 0), &p.out, y);
}

typedef struct max_pool_work {
  pooled p;
  double scale;
} max_pool_work;

/* A task is a region. */
static void run_max_roi_pool(const void *params, const ifd_args *args, int task) {
  const max_pool_work *w = params;
  const pooled *p = &w->p;
  const float *roi = (const float *)args->in[1] + task * 5;
  if (!(roi[0] >= 0 && roi[0] < (float)p->images)) {
    *args->failed = 1;
    return;
  }
  max_roi_pool_float(p,
                     (const float *)args->in[0] + (int64_t)roi[0] * p->channels * p->in_height * p->in_width,
                     roi, w->scale, (float *)args->out[0] + task * p->channels * p->height * p->width);
}

static ifd_status lower_max_roi_pool(ifd_lower *x) {
  const int64_t *sizes;
  max_pool_work w = {.scale = ifd_attr_float(x->node, "spatial_scale")};
  if (!ifd_lower_all_float(x, 2)) return IFD_OK;
  TRY(pooled_shape(x->err, x->node, &sizes));
  TRY(pooled_init(x->err, &w.p, &x->in[0]->shape, &x->in[1]->shape, sizes[0], sizes[1], 5));
  x->work->algorithm = "regions";
  return ifd_lower_launch(x, run_max_roi_pool, &w, sizeof w, w.p.regions, 0);
}

/* ---- RoiAlign ---- */

static ifd_status infer_roi_align(ifd_infer *x) {
  return infer_pooled(x, ifd_attr_int(x->node, "output_height"), ifd_attr_int(x->node, "output_width"));
}

enum { MAX_SAMPLES = 1 << 20 }; /* of one bin */

typedef struct align {
  bool half_pixel, greatest;
  int64_t ratio;
  double scale;
} align;

/* The place of a sample on one axis: two neighbours and their weights; false outside the image. */
typedef struct sample {
  int64_t low, high;
  double low_weight, high_weight;
} sample;

static bool sample_at(double v, int64_t size, sample *s) {
  if (!(v >= -1 && v <= (double)size)) return false;
  if (v < 0) v = 0;
  s->low = (int64_t)v;
  s->high = s->low + 1;
  if (s->low >= size - 1) {
    s->high = s->low = size - 1;
    v = (double)s->low;
  }
  s->high_weight = v - (double)s->low;
  s->low_weight = 1 - s->high_weight;
  return true;
}

/* A region along one axis: bins of `bin` from `start` on, each with `samples` samples. */
typedef struct span {
  double start, bin;
  int64_t samples;
} span;

static ifd_status span_of(ifd_error *err, const align *a, double from, double to, int64_t bins, span *s) {
  double offset = a->half_pixel ? .5 : 0;
  s->start = from * a->scale - offset;
  double length = to * a->scale - offset - s->start;
  if (!a->half_pixel && !(length > 1)) length = 1;
  s->bin = length / (double)bins;
  double samples = a->ratio > 0 ? (double)a->ratio : ceil(s->bin);
  EXPECT(err, !(samples > MAX_SAMPLES), LIMIT, "%g samples for a bin of a region", samples);
  s->samples = samples > 0 ? (int64_t)samples : 0;
  return IFD_OK;
}

static double sample_of(const span *s, int64_t bin, int64_t i) {
  return s->start + (double)bin * s->bin + ((double)i + .5) * s->bin / (double)s->samples;
}

/* The mean of the samples of one bin; or the greatest of their weighted neighbours, which is how ONNX's mode
 * max is defined (its reference implementation and test cases). */
static double align_bin(const align *a, const pooled *p, const double *plane, const span *rows,
                        const span *columns, int64_t i, int64_t j) {
  double sum = 0, best = -INFINITY;
  int64_t n = rows->samples * columns->samples;
  for (int64_t k = 0; k < n; k++) {
    sample r, c;
    double v[4] = {0};
    if (sample_at(sample_of(rows, i, k / columns->samples), p->in_height, &r) &&
        sample_at(sample_of(columns, j, k % columns->samples), p->in_width, &c)) {
      v[0] = r.low_weight * c.low_weight * plane[r.low * p->in_width + c.low];
      v[1] = r.low_weight * c.high_weight * plane[r.low * p->in_width + c.high];
      v[2] = r.high_weight * c.low_weight * plane[r.high * p->in_width + c.low];
      v[3] = r.high_weight * c.high_weight * plane[r.high * p->in_width + c.high];
    }
    sum += v[0] + v[1] + v[2] + v[3];
    for (int q = 0; q < 4; q++) best = v[q] > best ? v[q] : best;
  }
  if (a->greatest) return n ? best : 0;
  return sum / (double)(n ? n : 1);
}

static ifd_status align_region(ifd_eval *x, const align *a, const pooled *p, const double *image,
                               const double *roi, double *y) {
  span rows, columns;
  TRY(span_of(x->err, a, roi[1], roi[3], p->height, &rows));
  TRY(span_of(x->err, a, roi[0], roi[2], p->width, &columns));
  EXPECT(x->err, rows.samples * columns.samples <= MAX_SAMPLES, LIMIT, "%lld samples for a bin of a region",
         (long long)(rows.samples * columns.samples));
  if (p->in_height == 0 || p->in_width == 0) return IFD_OK;
  for (int64_t c = 0; c < p->channels; c++, image += p->in_height * p->in_width)
    for (int64_t i = 0; i < p->height; i++)
      for (int64_t j = 0; j < p->width; j++) *y++ = align_bin(a, p, image, &rows, &columns, i, j);
  return IFD_OK;
}

/* From the node and the shapes of features and regions; from version 16 on it `chooses` what coordinates
 * mean. */
static ifd_status read_align(ifd_error *err, const ifd_node *node, bool chooses, const ifd_shape *in,
                             const ifd_shape *rois, align *a, pooled *p) {
  const char *name = "coordinate_transformation_mode";
  *a = (align){.half_pixel = chooses && ifd_node_string_is(node, name, "half_pixel", "half_pixel"),
               .greatest = ifd_node_string_is(node, "mode", "avg", "max"),
               .ratio = ifd_attr_int(node, "sampling_ratio"),
               .scale = ifd_attr_float(node, "spatial_scale")};
  EXPECT(err, !chooses || a->half_pixel || ifd_node_string_is(node, name, "half_pixel", "output_half_pixel"),
         BAD_MODEL, "attribute %s is neither half_pixel nor output_half_pixel", name);
  EXPECT(err, a->greatest || ifd_node_string_is(node, "mode", "avg", "avg"), BAD_MODEL,
         "attribute mode is neither avg nor max");
  return pooled_init(err, p, in, rois, ifd_attr_int(node, "output_height"),
                     ifd_attr_int(node, "output_width"), 4);
}

static ifd_status eval_roi_align(ifd_eval *x, bool chooses) {
  align a;
  pooled p;
  const double *in, *rois;
  const int64_t *images;
  int64_t n;
  double *y;
  TRY(read_align(x->err, x->node, chooses, ifd_eval_shape(x, 0), ifd_eval_shape(x, 1), &a, &p));
  TRY(ifd_eval_f64(x, &in, 0));
  TRY(ifd_eval_f64(x, &rois, 1));
  TRY(ifd_eval_ints(x, &images, &n, 2));
  EXPECT(x->err, n == p.regions, BAD_INPUT, "%lld batch_indices for %lld regions", (long long)n,
         (long long)p.regions);
  TRY(ifd_eval_zeros(x, &y, ifd_shape_count(&p.out)));
  for (int64_t r = 0; r < p.regions; r++) {
    TRY(check_image(x, &p, (double)images[r]));
    TRY(align_region(x, &a, &p, in + images[r] * p.channels * p.in_height * p.in_width, rois + r * 4,
                     y + r * p.channels * p.height * p.width));
  }
  return ifd_eval_put_f64(x, 0, ifd_eval_dtype(x, 0), &p.out, y);
}

/* ---- RoiAlign lowered: a bin is a point whose taps are the neighbours of its samples ---- */

/* Along one axis: the mean over a bin is separable, so neighbouring samples share taps; the greatest is not,
 * and two taps a sample are kept, -1 outside. */
enum { MOST_TAPS = 64 };

typedef struct axis_taps {
  int n;
  int32_t index[MOST_TAPS];
  float weight[MOST_TAPS];
} axis_taps;

static void push_tap(axis_taps *t, int64_t index, double weight) {
  t->index[t->n] = (int32_t)index;
  t->weight[t->n++] = (float)weight;
}

/* The weight joins that of one of the last two taps where it can. */
static void add_tap(axis_taps *t, int64_t index, double weight) {
  for (int k = t->n - 1; k >= 0 && k >= t->n - 2; k--)
    if (t->index[k] == index) {
      t->weight[k] += (float)weight;
      return;
    }
  push_tap(t, index, weight);
}

/* The taps of each bin; false where a bin has too many. */
static bool find_axis_taps(const span *s, int64_t bins, int64_t size, bool greatest, axis_taps *t) {
  if (2 * s->samples > MOST_TAPS) return false;
  for (int64_t i = 0; i < bins; i++) {
    t[i].n = 0;
    for (int64_t k = 0; k < s->samples; k++) {
      sample at = {.low = -1, .high = -1};
      bool inside = sample_at(sample_of(s, i, k), size, &at);
      if (greatest) {
        push_tap(&t[i], at.low, at.low_weight);
        push_tap(&t[i], at.high, at.high_weight);
      } else if (inside) {
        add_tap(&t[i], at.low, at.low_weight / (double)s->samples);
        add_tap(&t[i], at.high, at.high_weight / (double)s->samples);
      }
    }
  }
  return true;
}

/* Some bins in a row, as points. */
enum { BINS = 16, ROOM = 2 * MOST_TAPS * MOST_TAPS };
typedef struct bin_taps {
  int n;
  int32_t first[BINS + 1], index[ROOM];
  float weight[ROOM];
} bin_taps;

static void add_bin(bin_taps *t, const axis_taps *rows, const axis_taps *columns, int64_t width) {
  int32_t n = t->first[t->n];
  for (int r = 0; r < rows->n; r++)
    for (int c = 0; c < columns->n; c++, n++) {
      bool outside = (rows->index[r] | columns->index[c]) < 0;
      t->index[n] = outside ? -1 : (int32_t)(rows->index[r] * width + columns->index[c]);
      t->weight[n] = rows->weight[r] * columns->weight[c];
    }
  t->first[++t->n] = n;
}
static bool is_full(const bin_taps *t) {
  return t->n == BINS || t->first[t->n] > ROOM - MOST_TAPS * MOST_TAPS;
}

typedef struct align_work {
  align a;
  pooled p;
  ifd_sampling in;
} align_work;

typedef struct align_scratch {
  bin_taps bins;
  axis_taps axes[]; /* of the rows, then of the columns */
} align_scratch;

/* The taps of region `task`; false where it is not to be had, or has too many. */
static bool find_region(const align_work *w, const float *roi, int64_t image, axis_taps *axes) {
  const pooled *p = &w->p;
  ifd_error err = {0};
  span down, across;
  return image >= 0 && image < p->images && !span_of(&err, &w->a, roi[1], roi[3], p->height, &down) &&
         !span_of(&err, &w->a, roi[0], roi[2], p->width, &across) &&
         (!w->a.greatest || (down.samples && across.samples)) &&
         find_axis_taps(&down, p->height, p->in_height, w->a.greatest, axes) &&
         find_axis_taps(&across, p->width, p->in_width, w->a.greatest, axes + p->height);
}

/* A task is a region. */
static void run_roi_align(const void *params, const ifd_args *args, int task) {
  const align_work *w = params;
  const pooled *p = &w->p;
  int64_t image = ((const int64_t *)args->in[2])[task], n_bins = p->height * p->width;
  align_scratch *s = args->scratch;
  bin_taps *t = &s->bins;
  if (!find_region(w, (const float *)args->in[1] + task * 4, image, s->axes)) {
    *args->failed = 1;
    return;
  }
  float *y = (float *)args->out[0] + task * p->channels * n_bins;
  t->n = t->first[0] = 0;
  for (int64_t b = 0; b < n_bins; b++) {
    add_bin(t, &s->axes[b / p->width], &s->axes[p->height + b % p->width], p->in_width);
    if (!is_full(t) && b + 1 < n_bins) continue;
    const ifd_k_samples points = {t->n, t->first, t->index, t->weight, w->a.greatest};
    ifd_sampling_run(&w->in, args, &points, image, 0, p->channels, y + b + 1 - t->n, n_bins);
    t->n = 0;
  }
}

static ifd_status lower_roi_align(ifd_lower *x, bool chooses) {
  align_work w;
  if (!ifd_lower_all_float(x, 2) || !x->in[2] || x->in[2]->dtype != IFD_INT64) return IFD_OK;
  TRY(read_align(x->err, x->node, chooses, &x->in[0]->shape, &x->in[1]->shape, &w.a, &w.p));
  int64_t plane = w.p.in_height * w.p.in_width;
  bool fits =
      ifd_tensor_count(x->in[2]) == w.p.regions && plane < INT32_MAX && w.p.height + w.p.width <= 1 << 16;
  if (!fits) return IFD_OK;
  double samples = w.a.ratio > 0 ? (double)w.a.ratio : 2;
  double taps = 4 * samples * samples * (double)(w.p.height * w.p.width);
  TRY(ifd_lower_sampling(x, &w.in, 0, w.p.channels, w.p.channels, w.p.images, plane,
                         taps * (double)w.p.regions));
  x->work->algorithm = "taps";
  return ifd_lower_launch(x, run_roi_align, &w, sizeof w, w.p.regions,
                          sizeof(align_scratch) + (size_t)(w.p.height + w.p.width) * sizeof(axis_taps));
}

static ifd_status eval_roi_align_10(ifd_eval *x) { return eval_roi_align(x, false); }
static ifd_status eval_roi_align_16(ifd_eval *x) { return eval_roi_align(x, true); }
static ifd_status lower_roi_align_10(ifd_lower *x) { return lower_roi_align(x, false); }
static ifd_status lower_roi_align_16(ifd_lower *x) { return lower_roi_align(x, true); }

const ifd_op ifd_ops_roi[] = {{.name = "MaxRoiPool",
                               .since = 1,
                               .infer = infer_max_roi_pool,
                               .eval = eval_max_roi_pool,
                               .lower = lower_max_roi_pool},
                              {.name = "RoiAlign",
                               .since = 10,
                               .infer = infer_roi_align,
                               .eval = eval_roi_align_10,
                               .lower = lower_roi_align_10},
                              {.name = "RoiAlign",
                               .since = 16,
                               .infer = infer_roi_align,
                               .eval = eval_roi_align_16,
                               .lower = lower_roi_align_16},
                              {0}};
