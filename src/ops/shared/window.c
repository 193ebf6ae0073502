#include "ops/shared/window.h"

#include <string.h>

/* Attributes and dimensions stay below these, so that no sum or product of two of them overflows. */
static const int64_t MAX_ATTRIBUTE = INT32_MAX, MAX_IMAGE = (int64_t)1 << 40;

/* ---- attributes ---- */

typedef enum padding { EXPLICIT, SAME_UPPER, SAME_LOWER, VALID } padding;

/* The attributes by axis, as the node has them. kernel 0: not said. */
typedef struct attributes {
  padding padding;
  bool ceil_mode;
  int64_t kernel[IFD_MAX_RANK], stride[IFD_MAX_RANK], dilation[IFD_MAX_RANK];
  int64_t begin[IFD_MAX_RANK], end[IFD_MAX_RANK];
} attributes;

static ifd_status read_list(ifd_error *err, const ifd_node *node, const char *name, int n, int64_t least,
                            int64_t otherwise, int64_t *out) {
  const int64_t *v;
  int has = ifd_node_ints(node, name, &v);
  EXPECT(err, has == 0 || has == n, BAD_MODEL,
         "attribute %s has %d elements; the input has %d spatial dimensions", name, has, n);
  for (int i = 0; i < n; i++) {
    out[i] = has ? v[i] : otherwise;
    EXPECT(err, !has || (v[i] >= least && v[i] <= MAX_ATTRIBUTE), BAD_MODEL,
           "attribute %s has an element of %lld", name, (long long)v[i]);
  }
  return IFD_OK;
}

static ifd_status read_pads(ifd_error *err, const ifd_node *node, int n, attributes *a) {
  int64_t pads[2 * IFD_MAX_RANK];
  const int64_t *v;
  int has = ifd_node_ints(node, "pads", &v);
  EXPECT(err, has == 0 || has == 2 * n, BAD_MODEL,
         "attribute pads has %d elements; two for each of %d spatial dimensions are needed", has, n);
  TRY(read_list(err, node, "pads", 2 * n, 0, 0, pads));
  memcpy(a->begin, pads, sizeof *pads * (size_t)n);
  memcpy(a->end, pads + n, sizeof *pads * (size_t)n);
  return IFD_OK;
}

static ifd_status read_padding(ifd_error *err, const ifd_node *node, int n, attributes *a) {
  static const char *const names[] = {"NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"};
  for (int i = 0; i < 4; i++)
    if (ifd_node_string_is(node, "auto_pad", "NOTSET", names[i])) {
      a->padding = (padding)i;
      return a->padding == EXPLICIT ? read_pads(err, node, n, a) : IFD_OK;
    }
  if (ifd_node_string_is(node, "auto_pad", "NOTSET", "")) return read_pads(err, node, n, a);
  FAIL(err, BAD_MODEL, "attribute auto_pad is not NOTSET, SAME_UPPER, SAME_LOWER or VALID");
}

static ifd_status read_attributes(ifd_error *err, const ifd_node *node, int n, attributes *a) {
  memset(a, 0, sizeof *a);
  TRY(read_list(err, node, "kernel_shape", n, 1, 0, a->kernel));
  TRY(read_list(err, node, "strides", n, 1, 1, a->stride));
  TRY(read_list(err, node, "dilations", n, 1, 1, a->dilation));
  a->ceil_mode = ifd_node_int(node, "ceil_mode", 0) != 0;
  return read_padding(err, node, n, a);
}

/* Spatial dimensions of an image; an image of rank 2 has none, and one axis of one element. */
static ifd_status spatial(ifd_error *err, const ifd_shape *image, int *n) {
  EXPECT(err, image->rank >= 2, BAD_INPUT, "the input has rank %d; batch and channels are needed",
         image->rank);
  *n = image->rank - 2;
  for (int i = 0; i < *n; i++)
    EXPECT(err, image->dim[2 + i] <= MAX_IMAGE, LIMIT, "dimension %d of the input is too large", 2 + i);
  return IFD_OK;
}

static ifd_status settle_kernel(ifd_error *err, int n, const attributes *a, const ifd_shape *weights,
                                int64_t *kernel) {
  EXPECT(err, !weights || weights->rank == n + 2, BAD_INPUT, "the weights have rank %d, the input %d",
         weights ? weights->rank : 0, n + 2);
  for (int i = 0; i < n; i++) {
    kernel[i] = weights ? weights->dim[2 + i] : a->kernel[i];
    EXPECT(err, kernel[i] > 0 || weights, BAD_MODEL, "attribute kernel_shape is missing");
    EXPECT(err, kernel[i] > 0 && kernel[i] <= MAX_ATTRIBUTE, BAD_INPUT, "the kernel has a dimension of %lld",
           (long long)kernel[i]);
    EXPECT(err, !a->kernel[i] || a->kernel[i] == kernel[i], BAD_MODEL,
           "attribute kernel_shape says %lld where the weights have %lld", (long long)a->kernel[i],
           (long long)kernel[i]);
  }
  return IFD_OK;
}

/* ---- from image to windows ---- */

static ifd_status count_windows(ifd_error *err, ifd_window *w, int i, padding padding, bool ceil_mode) {
  int64_t extent = (w->kernel[i] - 1) * w->dilation[i] + 1, stride = w->stride[i], image = w->image[i];
  if (padding == SAME_UPPER || padding == SAME_LOWER) {
    w->windows[i] = ifd_ceil_div(image, stride);
    int64_t total = ifd_max_i64((w->windows[i] - 1) * stride + extent - image, 0);
    w->begin[i] = padding == SAME_UPPER ? total / 2 : total - total / 2;
    w->end[i] = total - w->begin[i];
    return IFD_OK;
  }
  int64_t room = image + w->begin[i] + w->end[i] - extent;
  EXPECT(err, room >= 0 || image == 0, BAD_INPUT, "a window of %lld is larger than the padded input, %lld",
         (long long)extent, (long long)(room + extent));
  if (room < 0)
    w->windows[i] = 0;
  else if (ceil_mode && padding != VALID)
    w->windows[i] = ifd_min_i64(ifd_ceil_div(room, stride) + 1, ifd_ceil_div(image + w->begin[i], stride));
  else
    w->windows[i] = room / stride + 1;
  return IFD_OK;
}

static void set_axes(ifd_window *w, int n, const attributes *a) {
  *w = (ifd_window){.n = n ? n : 1};
  memcpy(w->stride, a->stride, sizeof w->stride);
  memcpy(w->dilation, a->dilation, sizeof w->dilation);
  memcpy(w->begin, a->begin, sizeof w->begin);
  memcpy(w->end, a->end, sizeof w->end);
  if (n == 0) w->image[0] = w->windows[0] = w->kernel[0] = w->stride[0] = w->dilation[0] = 1;
}

ifd_status ifd_window_init(ifd_error *err, ifd_window *w, const ifd_node *node, const ifd_shape *image,
                           const ifd_shape *weights) {
  attributes a;
  int n;
  TRY(spatial(err, image, &n));
  TRY(read_attributes(err, node, n, &a));
  set_axes(w, n, &a);
  TRY(settle_kernel(err, n, &a, weights, w->kernel));
  for (int i = 0; i < n; i++) {
    w->image[i] = image->dim[2 + i];
    TRY(count_windows(err, w, i, a.padding, a.ceil_mode));
  }
  return IFD_OK;
}

/* ---- from windows to image ---- */

/* What a transposed convolution makes of its input on axis i. output: attribute output_shape, or -1. */
static ifd_status size_image(ifd_error *err, ifd_window *w, int i, padding padding, int64_t output_padding,
                             int64_t output) {
  int64_t extent = (w->kernel[i] - 1) * w->dilation[i] + 1;
  int64_t full = (w->windows[i] - 1) * w->stride[i] + extent + output_padding;
  bool same = padding == SAME_UPPER || padding == SAME_LOWER;
  if (output < 0 && same) output = w->windows[i] * w->stride[i];
  if (output < 0) {
    w->image[i] = full - w->begin[i] - w->end[i];
    EXPECT(err, w->image[i] >= 0, BAD_INPUT, "pads take more than the whole output");
    return IFD_OK;
  }
  int64_t total = full - output, half = total / 2;
  if (total < 0)
    half = -((-total + 1) / 2); /* an output larger than what is computed: rounds down as above */
  w->image[i] = output;
  w->begin[i] = padding == SAME_UPPER ? half : total - half;
  w->end[i] = total - w->begin[i];
  return IFD_OK;
}

/* Attribute output_shape by axis, -1 where it does not say; some exporters list batch and channels as
 * well. */
static ifd_status read_output_shape(ifd_error *err, const ifd_node *node, int n, int64_t *out) {
  const int64_t *v;
  int has = ifd_node_ints(node, "output_shape", &v);
  EXPECT(err, has == 0 || has == n || has == n + 2, BAD_MODEL,
         "attribute output_shape has %d elements; the input has %d spatial dimensions", has, n);
  for (int i = 0; i < n; i++) {
    out[i] = has ? v[has - n + i] : -1;
    EXPECT(err, !has || (out[i] >= 0 && out[i] <= MAX_ATTRIBUTE), BAD_MODEL,
           "attribute output_shape has an element of %lld", (long long)out[i]);
  }
  return IFD_OK;
}

ifd_status ifd_window_init_transposed(ifd_error *err, ifd_window *w, const ifd_node *node,
                                      const ifd_shape *in, const ifd_shape *weights) {
  attributes a;
  int n;
  int64_t output_padding[IFD_MAX_RANK], output[IFD_MAX_RANK];
  TRY(spatial(err, in, &n));
  TRY(read_attributes(err, node, n, &a));
  TRY(read_list(err, node, "output_padding", n, 0, 0, output_padding));
  TRY(read_output_shape(err, node, n, output));
  set_axes(w, n, &a);
  TRY(settle_kernel(err, n, &a, weights, w->kernel));
  for (int i = 0; i < n; i++) {
    w->windows[i] = in->dim[2 + i];
    EXPECT(err, w->windows[i] <= MAX_ATTRIBUTE, LIMIT, "dimension %d of the input is too large", 2 + i);
    TRY(size_image(err, w, i, a.padding, output_padding[i], output[i]));
  }
  return IFD_OK;
}

static ifd_shape shape_of(int rank, int64_t n, int64_t c, const int64_t *sizes) {
  ifd_shape s = {.rank = rank, .dim = {n, c}};
  for (int i = 2; i < rank; i++) s.dim[i] = sizes[i - 2];
  return s;
}
ifd_shape ifd_window_shape(const ifd_window *w, int rank, int64_t n, int64_t c) {
  return shape_of(rank, n, c, w->windows);
}
ifd_shape ifd_window_image_shape(const ifd_window *w, int rank, int64_t n, int64_t c) {
  return shape_of(rank, n, c, w->image);
}

/* ---- the relation ---- */

static int64_t clamp(int64_t v, int64_t low, int64_t high) { return v < low ? low : v > high ? high : v; }
/* Of multiples of b > 0: how many start in [0, a). */
static int64_t multiples_below(int64_t a, int64_t b) { return a <= 0 ? 0 : (a - 1) / b + 1; }

void ifd_window_reach(const ifd_window *w, int a, int64_t k, int64_t *from, int64_t *to) {
  int64_t start = ifd_window_at(w, a, 0, k);
  *from = clamp(multiples_below(-start, w->stride[a]), 0, w->windows[a]);
  *to = clamp(multiples_below(w->image[a] - start, w->stride[a]), *from, w->windows[a]);
}

/* Taps [*from, *to) of window o that lie in the image. */
static void taps_of(const ifd_window *w, int a, int64_t o, int64_t *from, int64_t *to) {
  int64_t start = ifd_window_at(w, a, o, 0);
  *from = clamp(multiples_below(-start, w->dilation[a]), 0, w->kernel[a]);
  *to = clamp(multiples_below(w->image[a] - start, w->dilation[a]), *from, w->kernel[a]);
}

/* Offsets of the row that the box is at. */
static void place_row(ifd_window_rows *r) {
  const ifd_window *w = r->w;
  int last = w->n - 1;
  r->window = r->image = 0;
  for (int a = 0; a < last; a++) {
    r->window = (r->window + r->box.at[a]) * w->windows[a + 1];
    r->image = (r->image + ifd_window_at(w, a, r->box.at[a], r->tap[a])) * w->image[a + 1];
  }
  r->window += r->from;
  r->image += ifd_window_at(w, last, r->from, r->tap[last]);
}

bool ifd_window_rows_start(ifd_window_rows *r, const ifd_window *w, const int64_t *tap) {
  int last = w->n - 1;
  int64_t to;
  r->w = w, r->tap = tap;
  r->box.n = last;
  for (int a = 0; a < last; a++) ifd_window_reach(w, a, tap[a], &r->box.from[a], &r->box.to[a]);
  ifd_window_reach(w, last, tap[last], &r->from, &to);
  r->n = to - r->from;
  r->step = w->stride[last];
  if (r->n <= 0 || !ifd_box_start(&r->box)) return false;
  place_row(r);
  return true;
}

bool ifd_window_rows_next(ifd_window_rows *r) {
  if (!ifd_box_next(&r->box)) return false;
  place_row(r);
  return true;
}

void ifd_window_gather(const ifd_window *w, const int64_t *tap, double weight, const double *image,
                       double *windows) {
  ifd_window_rows r;
  for (bool more = ifd_window_rows_start(&r, w, tap); more; more = ifd_window_rows_next(&r))
    for (int64_t i = 0; i < r.n; i++) windows[r.window + i] += weight * image[r.image + i * r.step];
}

void ifd_window_scatter(const ifd_window *w, const int64_t *tap, double weight, const double *windows,
                        double *image) {
  ifd_window_rows r;
  for (bool more = ifd_window_rows_start(&r, w, tap); more; more = ifd_window_rows_next(&r))
    for (int64_t i = 0; i < r.n; i++) image[r.image + i * r.step] += weight * windows[r.window + i];
}

/* ---- boxes ---- */

bool ifd_box_start(ifd_box *b) {
  for (int a = 0; a < b->n; a++) {
    if (b->from[a] >= b->to[a]) return false;
    b->at[a] = b->from[a];
  }
  return true;
}

bool ifd_box_next(ifd_box *b) {
  for (int a = b->n - 1; a >= 0; a--) {
    if (++b->at[a] < b->to[a]) return true;
    b->at[a] = b->from[a];
  }
  return false;
}

ifd_box ifd_box_of(int n, const int64_t *size) {
  ifd_box b = {.n = n};
  memcpy(b.to, size, sizeof *size * (size_t)n);
  return b;
}

ifd_box ifd_box_of_taps(const ifd_window *w, const int64_t *o) {
  ifd_box b = {.n = w->n};
  for (int a = 0; a < w->n; a++) taps_of(w, a, o[a], &b.from[a], &b.to[a]);
  return b;
}

/* ---- in symbols ---- */

/* The size of the kernel on axis i: that of the weights, or attribute kernel_shape. */
static ifd_dim kernel_dim(ifd_infer *x, const attributes *a, const ifd_dim *kernel, int i) {
  if (a->kernel[i]) return a->kernel[i];
  return kernel ? kernel[i] : ifd_dim_unknown(x->dims);
}

static ifd_dim extent_dim(ifd_infer *x, ifd_dim kernel, int64_t dilation) {
  return ifd_dim_add(x->dims, ifd_dim_mul(x->dims, ifd_dim_sub(x->dims, kernel, 1), dilation), 1);
}

static ifd_status windows_dim(ifd_infer *x, const attributes *a, int i, ifd_dim in, ifd_dim kernel,
                              ifd_dim *out) {
  ifd_dims *dims = x->dims;
  int64_t stride = a->stride[i];
  if (ifd_dim_is_number(in) && ifd_dim_is_number(kernel)) {
    ifd_window w = {.n = 1,
                    .image = {in},
                    .kernel = {kernel},
                    .stride = {stride},
                    .dilation = {a->dilation[i]},
                    .begin = {a->begin[i]},
                    .end = {a->end[i]}};
    EXPECT(x->err, in <= MAX_IMAGE && kernel > 0 && kernel <= MAX_ATTRIBUTE, BAD_MODEL,
           "an input of %lld and a kernel of %lld on an axis", (long long)in, (long long)kernel);
    TRY(count_windows(x->err, &w, 0, a->padding, a->ceil_mode));
    *out = w.windows[0];
    return IFD_OK;
  }
  if (a->padding == SAME_UPPER || a->padding == SAME_LOWER) {
    *out = ifd_dim_ceil_div(dims, in, stride);
    return IFD_OK;
  }
  ifd_dim room = ifd_dim_sub(dims, ifd_dim_add(dims, in, a->begin[i] + a->end[i]),
                             extent_dim(x, kernel, a->dilation[i]));
  if (!a->ceil_mode || a->padding == VALID) {
    *out = ifd_dim_add(dims, ifd_dim_floor_div(dims, room, stride), 1);
    return IFD_OK;
  }
  *out = ifd_dim_min(dims, ifd_dim_add(dims, ifd_dim_ceil_div(dims, room, stride), 1),
                     ifd_dim_ceil_div(dims, ifd_dim_add(dims, in, a->begin[i]), stride));
  return IFD_OK;
}

ifd_status ifd_window_infer(ifd_infer *x, int rank, const ifd_dim *in, const ifd_dim *kernel, ifd_dim *out) {
  attributes a;
  EXPECT(x->err, rank >= 2 && rank <= IFD_MAX_RANK, BAD_MODEL, "the input has rank %d", rank);
  TRY(read_attributes(x->err, x->node, rank - 2, &a));
  for (int i = 0; i < rank - 2; i++)
    TRY(windows_dim(x, &a, i, in[2 + i], kernel_dim(x, &a, kernel, i), &out[2 + i]));
  return IFD_OK;
}

ifd_status ifd_window_infer_transposed(ifd_infer *x, int rank, const ifd_dim *in, const ifd_dim *kernel,
                                       ifd_dim *out) {
  attributes a;
  int64_t output_padding[IFD_MAX_RANK], output[IFD_MAX_RANK];
  EXPECT(x->err, rank >= 2 && rank <= IFD_MAX_RANK, BAD_MODEL, "the input has rank %d", rank);
  TRY(read_attributes(x->err, x->node, rank - 2, &a));
  TRY(read_list(x->err, x->node, "output_padding", rank - 2, 0, 0, output_padding));
  TRY(read_output_shape(x->err, x->node, rank - 2, output));
  for (int i = 0; i < rank - 2; i++) {
    bool same = a.padding == SAME_UPPER || a.padding == SAME_LOWER;
    ifd_dim full = ifd_dim_mul(x->dims, ifd_dim_sub(x->dims, in[2 + i], 1), a.stride[i]);
    full = ifd_dim_add(x->dims, full, extent_dim(x, kernel_dim(x, &a, kernel, i), a.dilation[i]));
    if (output[i] >= 0)
      out[2 + i] = output[i];
    else if (same)
      out[2 + i] = ifd_dim_mul(x->dims, in[2 + i], a.stride[i]);
    else
      out[2 + i] = ifd_dim_add(x->dims, full, output_padding[i] - a.begin[i] - a.end[i]);
  }
  return IFD_OK;
}
