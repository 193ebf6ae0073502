#include "ops/shared/resizing.h"

#include <math.h>

/* ---- what the node says ---- */

static const char *const coordinate_names[IFD_RESIZE_N_COORDINATES] = {
    "half_pixel",    "half_pixel_symmetric", "pytorch_half_pixel", "tf_half_pixel_for_nn",
    "align_corners", "asymmetric",           "tf_crop_and_resize"};

static const char *const rounding_names[] = {"round_prefer_floor", "round_prefer_ceil", "floor", "ceil"};

static ifd_status find_name(ifd_error *err, const ifd_node *node, const char *attr, const char *otherwise,
                            const char *const *names, int n, int *out) {
  for (*out = 0; *out < n; ++*out)
    if (ifd_node_string_is(node, attr, otherwise, names[*out])) return IFD_OK;
  FAIL(err, BAD_MODEL, "attribute %s has an unknown value", attr);
}

ifd_status ifd_resize_read_mode(ifd_error *err, const ifd_node *node, ifd_resize *r) {
  static const char *const names[] = {"nearest", "linear", "cubic", "bilinear"};
  int mode;
  TRY(find_name(err, node, "mode", "nearest", names, 4, &mode));
  r->mode = mode == 3 ? IFD_RESIZE_LINEAR : (ifd_resize_mode)mode;
  return IFD_OK;
}

ifd_status ifd_resize_read(ifd_error *err, const ifd_node *node, ifd_resize *r) {
  int found;
  TRY(ifd_resize_read_mode(err, node, r));
  TRY(find_name(err, node, "coordinate_transformation_mode", "half_pixel", coordinate_names,
                IFD_RESIZE_N_COORDINATES, &found));
  r->coordinates = (ifd_resize_coordinates)found;
  TRY(find_name(err, node, "nearest_mode", "round_prefer_floor", rounding_names,
                IFD_RESIZE_FLOOR_UP_CEIL_DOWN, &found));
  r->rounding = (ifd_resize_rounding)found;
  r->cubic = ifd_node_float(node, "cubic_coeff_a", -.75f);
  r->extrapolation = ifd_node_float(node, "extrapolation_value", 0);
  r->exclude_outside = ifd_node_int(node, "exclude_outside", 0) != 0;
  r->antialias = ifd_node_int(node, "antialias", 0) != 0;
  return IFD_OK;
}

/* ---- sizes ---- */

/* The axes that roi, scales and sizes speak of: attribute axes, or all. */
ifd_status ifd_resize_read_axes(ifd_error *err, const ifd_node *node, int rank, int *n, int *axes) {
  const int64_t *v;
  *n = rank;
  for (int i = 0; i < rank; i++) axes[i] = i;
  if (!ifd_node_find_attr(node, "axes")) return IFD_OK;
  *n = ifd_node_ints(node, "axes", &v);
  EXPECT(err, *n <= rank, BAD_MODEL, "attribute axes has %d elements for rank %d", *n, rank);
  for (int i = 0; i < *n; i++) TRY(ifd_axis(err, &axes[i], v[i], rank));
  return IFD_OK;
}

/* floor(length * scale), multiplied in float as ONNX's shape inference does. */
ifd_status ifd_resize_length(ifd_error *err, int64_t length, double scale, int64_t *out) {
  EXPECT(err, scale > 0 && scale < INFINITY, BAD_INPUT, "a scale of %g", scale);
  float product = floorf((float)length * (float)scale);
  EXPECT(err, product < (float)INT32_MAX, LIMIT, "a scale of %g makes %g of a dimension", scale, product);
  *out = (int64_t)product;
  return IFD_OK;
}

ifd_status ifd_resize_by_scales(ifd_error *err, ifd_resize *r, int n, const int *axes, const double *scales) {
  for (int i = 0; i < n; i++) {
    ifd_resize_axis *a = &r->axis[axes[i]];
    a->scale = scales[i];
    TRY(ifd_resize_length(err, a->in, a->scale, &a->out));
    a->length = a->scale * (double)a->in;
  }
  return IFD_OK;
}

/* Under keep_aspect_ratio_policy one scale for all axes: the least or greatest that a size asks for; else
 * 0. */
static ifd_status common_scale(ifd_error *err, const ifd_node *node, const ifd_resize *r, int n,
                               const int *axes, const int64_t *sizes, double *scale) {
  static const char *const names[] = {"stretch", "not_larger", "not_smaller"};
  int policy;
  TRY(find_name(err, node, "keep_aspect_ratio_policy", "stretch", names, 3, &policy));
  *scale = 0;
  for (int i = 0; i < n && policy; i++) {
    double s = (double)sizes[i] / (double)r->axis[axes[i]].in;
    EXPECT(err, s > 0 && s < INFINITY, BAD_INPUT, "a size of %lld for a dimension of %lld",
           (long long)sizes[i], (long long)r->axis[axes[i]].in);
    if (i == 0 || (policy == 1 ? s < *scale : s > *scale)) *scale = s;
  }
  return IFD_OK;
}

ifd_status ifd_resize_by_sizes(ifd_error *err, const ifd_node *node, ifd_resize *r, int n, const int *axes,
                               const int64_t *sizes) {
  double common;
  for (int i = 0; i < n; i++)
    EXPECT(err, sizes[i] >= 0 && sizes[i] <= INT32_MAX, BAD_INPUT, "a size of %lld", (long long)sizes[i]);
  TRY(common_scale(err, node, r, n, axes, sizes, &common));
  for (int i = 0; i < n; i++) {
    ifd_resize_axis *a = &r->axis[axes[i]];
    a->out = sizes[i];
    a->scale = (double)a->out / (double)a->in;
    a->length = (double)a->out;
    if (common == 0) continue;
    a->scale = common;
    a->length = common * (double)a->in;
    EXPECT(err, a->length < INT32_MAX, LIMIT, "a dimension of %g", a->length);
    a->out = (int64_t)floor(a->length + .5);
  }
  return IFD_OK;
}

void ifd_resize_start(ifd_resize *r, const ifd_shape *s) {
  r->rank = s->rank;
  for (int i = 0; i < s->rank; i++)
    r->axis[i] = (ifd_resize_axis){
        .in = s->dim[i], .out = s->dim[i], .scale = 1, .length = (double)s->dim[i], .end = 1};
}

ifd_status ifd_resize_check(ifd_error *err, const ifd_resize *r, ifd_shape *out) {
  *out = (ifd_shape){.rank = r->rank};
  for (int i = 0; i < r->rank; i++) {
    out->dim[i] = r->axis[i].out;
    EXPECT(err, r->axis[i].in > 0 || r->axis[i].out == 0, BAD_INPUT, "dimension %d has no elements to resize",
           i);
  }
  return ifd_shape_check(err, out, sizeof(double));
}

/* ---- tables ---- */

/* The coordinate in the input of output position i. */
static double coordinate(const ifd_resize *r, const ifd_resize_axis *a, int64_t i) {
  double at = (double)i, in = (double)a->in;
  switch (r->coordinates) {
  case IFD_RESIZE_ASYMMETRIC: return at / a->scale;
  case IFD_RESIZE_ALIGN_CORNERS: return a->length == 1 ? 0 : at * (in - 1) / (a->length - 1);
  case IFD_RESIZE_PYTORCH_HALF_PIXEL: return a->out > 1 ? (at + .5) / a->scale - .5 : 0;
  case IFD_RESIZE_TF_HALF_PIXEL_FOR_NN: return (at + .5) / a->scale;
  case IFD_RESIZE_HALF_PIXEL_SYMMETRIC:
    return in / 2 * (1 - (double)a->out / a->length) + (at + .5) / a->scale - .5;
  case IFD_RESIZE_TF_CROP_AND_RESIZE: {
    double span = (a->end - a->start) * (in - 1);
    return a->start * (in - 1) + (a->length == 1 ? span / 2 : at * span / (a->length - 1));
  }
  default: return (at + .5) / a->scale - .5;
  }
}

static double kernel(const ifd_resize *r, double t) {
  double a = r->cubic;
  t = fabs(t);
  if (r->mode == IFD_RESIZE_LINEAR) return t < 1 ? 1 - t : 0;
  if (t <= 1) return ((a + 2) * t - (a + 3)) * t * t + 1;
  return t < 2 ? ((a * t - 5 * a) * t + 8 * a) * t - 4 * a : 0;
}

static double nearest(const ifd_resize *r, const ifd_resize_axis *a, double x) {
  switch (r->rounding) {
  case IFD_RESIZE_PREFER_FLOOR: return ceil(x - .5);
  case IFD_RESIZE_PREFER_CEIL: return floor(x + .5);
  case IFD_RESIZE_FLOOR: return floor(x);
  case IFD_RESIZE_CEIL: return ceil(x);
  default: return a->scale < 1 ? ceil(x) : floor(x);
  }
}

/* How far from a coordinate inputs still have weight. */
static double reach(const ifd_resize *r, const ifd_resize_axis *a) {
  double shrink = r->antialias && a->scale < 1 ? a->scale : 1;
  return (r->mode == IFD_RESIZE_CUBIC ? 2 : 1) / shrink;
}

static int64_t clamp_index(double v, int64_t n) {
  return v < 0 ? 0 : v > (double)(n - 1) ? n - 1 : (int64_t)v;
}

/* Taps of coordinate x into index and weight; returns how many. Positions outside stand for the edge, or have
 * no weight under exclude_outside. */
static int taps_at(const ifd_resize *r, const ifd_resize_axis *a, double x, int64_t *index, double *weight) {
  double radius = reach(r, a), sum = 0;
  double shrink = r->antialias && a->scale < 1 ? a->scale : 1;
  int n = 0;
  for (double i = floor(x - radius) + 1; i < x + radius; i++, n++) {
    bool outside = i < 0 || i > (double)(a->in - 1);
    index[n] = clamp_index(i, a->in);
    weight[n] = outside && r->exclude_outside ? 0 : kernel(r, (i - x) * shrink);
    sum += weight[n];
  }
  if ((r->exclude_outside || shrink < 1) && sum != 0)
    for (int k = 0; k < n; k++) weight[k] /= sum;
  return n;
}

/* Whether the axis comes out as it went in. */
bool ifd_resize_is_identity(const ifd_resize_axis *a) {
  return a->in == a->out && a->length == (double)a->in && a->start == 0 && a->end == 1;
}

ifd_status ifd_resize_make_table(ifd_error *err, ifd_arena *arena, const ifd_resize *r,
                                 const ifd_resize_axis *a, ifd_resize_table *t) {
  double most = r->mode == IFD_RESIZE_NEAREST ? 1 : 2 * ceil(reach(r, a)) + 1;
  int64_t room;
  EXPECT(err, most < INT32_MAX && ifd_mul_i64(&room, a->out, (int64_t)most), LIMIT, "a scale of %g",
         a->scale);
  ALLOC(err, t->first, ifd_new_array(arena, int64_t, a->out));
  ALLOC(err, t->n, ifd_new_array(arena, int, a->out));
  ALLOC(err, t->index, ifd_new_array(arena, int64_t, room));
  ALLOC(err, t->weight, ifd_new_array(arena, double, room));
  for (int64_t i = 0; i < a->out; i++) {
    double at = ifd_resize_is_identity(a) ? (double)i : coordinate(r, a, i);
    int64_t first = t->first[i] = i * (int64_t)most;
    if (r->coordinates == IFD_RESIZE_TF_CROP_AND_RESIZE && !(at >= 0 && at <= (double)(a->in - 1))) continue;
    if (r->mode == IFD_RESIZE_NEAREST) {
      t->index[first] = clamp_index(nearest(r, a, at), a->in);
      t->n[i] = 1;
    } else
      t->n[i] = taps_at(r, a, at, t->index + first, t->weight + first);
  }
  return IFD_OK;
}
