/* Pools over regions of interest: MaxRoiPool and RoiAlign. Regions are rectangles in the coordinates of the
 * original image; each is divided into bins, and a bin gives one output. */
#include <math.h>

#include "ops/shared/elementwise.h"
#include "ops/shared/values.h"

/* ---- shared by both ---- */

/* Output [regions, channels, height, width] of a feature map [images, channels, height, width]. */
typedef struct pooled {
  int64_t regions, channels, images;
  int64_t in_height, in_width;
  int64_t height, width;
  ifd_shape out;
} pooled;

static ifd_status pooled_init(ifd_eval *x, pooled *p, int64_t height, int64_t width, int64_t columns) {
  const ifd_shape *in = ifd_eval_shape(x, 0), *rois = ifd_eval_shape(x, 1);
  EXPECT(x->err, in->rank == 4, BAD_INPUT, "X has rank %d, not 4", in->rank);
  EXPECT(x->err, rois->rank == 2 && rois->dim[1] == columns, BAD_INPUT, "rois are not [number, %lld]",
         (long long)columns);
  EXPECT(x->err, height > 0 && height <= INT32_MAX && width > 0 && width <= INT32_MAX, BAD_MODEL,
         "a pooled shape of %lld by %lld", (long long)height, (long long)width);
  *p = (pooled){.regions = rois->dim[0],
                .images = in->dim[0],
                .channels = in->dim[1],
                .in_height = in->dim[2],
                .in_width = in->dim[3],
                .height = height,
                .width = width};
  p->out = (ifd_shape){4, {p->regions, p->channels, height, width}};
  return ifd_shape_check(x->err, &p->out, sizeof(double));
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

static double greatest_in(const double *plane, int64_t width, const int64_t *rows, const int64_t *columns) {
  double best = -INFINITY;
  if (rows[0] >= rows[1] || columns[0] >= columns[1]) return 0;
  for (int64_t r = rows[0]; r < rows[1]; r++)
    for (int64_t c = columns[0]; c < columns[1]; c++)
      if (plane[r * width + c] > best || isnan(plane[r * width + c])) best = plane[r * width + c];
  return best;
}

static void max_roi_pool(const pooled *p, const double *image, const double *roi, double scale, double *y) {
  int64_t left = pixel(roi[1] * scale), top = pixel(roi[2] * scale);
  int64_t width = ifd_max_i64(pixel(roi[3] * scale) - left + 1, 1);
  int64_t height = ifd_max_i64(pixel(roi[4] * scale) - top + 1, 1);
  for (int64_t c = 0; c < p->channels; c++, image += p->in_height * p->in_width)
    for (int64_t i = 0; i < p->height; i++)
      for (int64_t j = 0; j < p->width; j++) {
        int64_t rows[2], columns[2];
        bin_range(i, p->height, top, height, p->in_height, &rows[0], &rows[1]);
        bin_range(j, p->width, left, width, p->in_width, &columns[0], &columns[1]);
        *y++ = greatest_in(image, p->in_width, rows, columns);
      }
}

static ifd_status eval_max_roi_pool(ifd_eval *x) {
  const int64_t *sizes;
  const double *in, *rois;
  double *y, scale = ifd_attr_float(x->node, "spatial_scale");
  pooled p;
  TRY(pooled_shape(x->err, x->node, &sizes));
  EXPECT(x->err, sizes[0] <= INT32_MAX && sizes[1] <= INT32_MAX, LIMIT,
         "attribute pooled_shape is too large");
  TRY(pooled_init(x, &p, sizes[0], sizes[1], 5));
  TRY(ifd_eval_f64(x, &in, 0));
  TRY(ifd_eval_f64(x, &rois, 1));
  TRY(ifd_eval_zeros(x, &y, ifd_shape_count(&p.out)));
  for (int64_t r = 0; r < p.regions; r++) {
    TRY(check_image(x, &p, rois[r * 5]));
    max_roi_pool(&p, in + (int64_t)rois[r * 5] * p.channels * p.in_height * p.in_width, rois + r * 5, scale,
                 y + r * p.channels * p.height * p.width);
  }
  return ifd_eval_put_f64(x, 0, ifd_eval_dtype(x, 0), &p.out, y);
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

static ifd_status span_of(ifd_eval *x, const align *a, double from, double to, int64_t bins, span *s) {
  double offset = a->half_pixel ? .5 : 0;
  s->start = from * a->scale - offset;
  double length = to * a->scale - offset - s->start;
  if (!a->half_pixel && !(length > 1)) length = 1;
  s->bin = length / (double)bins;
  double samples = a->ratio > 0 ? (double)a->ratio : ceil(s->bin);
  EXPECT(x->err, !(samples > MAX_SAMPLES), LIMIT, "%g samples for a bin of a region", samples);
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
  TRY(span_of(x, a, roi[1], roi[3], p->height, &rows));
  TRY(span_of(x, a, roi[0], roi[2], p->width, &columns));
  EXPECT(x->err, rows.samples * columns.samples <= MAX_SAMPLES, LIMIT, "%lld samples for a bin of a region",
         (long long)(rows.samples * columns.samples));
  if (p->in_height == 0 || p->in_width == 0) return IFD_OK;
  for (int64_t c = 0; c < p->channels; c++, image += p->in_height * p->in_width)
    for (int64_t i = 0; i < p->height; i++)
      for (int64_t j = 0; j < p->width; j++) *y++ = align_bin(a, p, image, &rows, &columns, i, j);
  return IFD_OK;
}

static ifd_status roi_align(ifd_eval *x, bool half_pixel) {
  align a = {.half_pixel = half_pixel,
             .greatest = ifd_node_string_is(x->node, "mode", "avg", "max"),
             .ratio = ifd_attr_int(x->node, "sampling_ratio"),
             .scale = ifd_attr_float(x->node, "spatial_scale")};
  pooled p;
  const double *in, *rois;
  const int64_t *images;
  int64_t n;
  double *y;
  EXPECT(x->err, a.greatest || ifd_node_string_is(x->node, "mode", "avg", "avg"), BAD_MODEL,
         "attribute mode is neither avg nor max");
  TRY(pooled_init(x, &p, ifd_attr_int(x->node, "output_height"), ifd_attr_int(x->node, "output_width"), 4));
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

static ifd_status eval_roi_align_10(ifd_eval *x) { return roi_align(x, false); }
static ifd_status eval_roi_align_16(ifd_eval *x) {
  const char *name = "coordinate_transformation_mode";
  bool half_pixel = ifd_node_string_is(x->node, name, "half_pixel", "half_pixel");
  EXPECT(x->err, half_pixel || ifd_node_string_is(x->node, name, "half_pixel", "output_half_pixel"),
         BAD_MODEL, "attribute %s is neither half_pixel nor output_half_pixel", name);
  return roi_align(x, half_pixel);
}

const ifd_op ifd_ops_roi[] = {
    {.name = "MaxRoiPool", .since = 1, .infer = infer_max_roi_pool, .eval = eval_max_roi_pool},
    {.name = "RoiAlign", .since = 10, .infer = infer_roi_align, .eval = eval_roi_align_10},
    {.name = "RoiAlign", .since = 16, .infer = infer_roi_align, .eval = eval_roi_align_16},
    {0}};
