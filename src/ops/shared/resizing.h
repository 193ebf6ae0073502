/* What a Resize or Upsample means for each axis: sizes, coordinates, and the taps of every output position.
 *
 * The operator is separable: along each axis an output position becomes a coordinate of the input, and the
 * output a weighted sum of the inputs around it. Tables live in the arena that they are made in.
 *
 * Sources: Resize in ONNX Operators.md; where that and ONNX's test cases part (align_corners and
 * tf_crop_and_resize under scales that do not give whole sizes), the test cases: lengths stay fractional
 * there. */
#ifndef IFD_OPS_SHARED_RESIZING_H
#define IFD_OPS_SHARED_RESIZING_H

#include "ops/op.h"

typedef enum ifd_resize_coordinates {
  IFD_RESIZE_HALF_PIXEL,
  IFD_RESIZE_HALF_PIXEL_SYMMETRIC,
  IFD_RESIZE_PYTORCH_HALF_PIXEL,
  IFD_RESIZE_TF_HALF_PIXEL_FOR_NN,
  IFD_RESIZE_ALIGN_CORNERS,
  IFD_RESIZE_ASYMMETRIC,
  IFD_RESIZE_TF_CROP_AND_RESIZE,
  IFD_RESIZE_N_COORDINATES
} ifd_resize_coordinates;

typedef enum ifd_resize_rounding {
  IFD_RESIZE_PREFER_FLOOR,
  IFD_RESIZE_PREFER_CEIL,
  IFD_RESIZE_FLOOR,
  IFD_RESIZE_CEIL,
  IFD_RESIZE_FLOOR_UP_CEIL_DOWN /* when enlarging, when reducing: no attribute says so */
} ifd_resize_rounding;

typedef enum ifd_resize_mode { IFD_RESIZE_NEAREST, IFD_RESIZE_LINEAR, IFD_RESIZE_CUBIC } ifd_resize_mode;

/* One axis: sizes, and `scale` and `length`, the output's length before it was made a whole number. */
typedef struct ifd_resize_axis {
  int64_t in, out;
  double scale, length;
  double start, end; /* region of interest */
} ifd_resize_axis;

typedef struct ifd_resize {
  ifd_resize_mode mode;
  ifd_resize_coordinates coordinates;
  ifd_resize_rounding rounding;
  double cubic, extrapolation;
  bool exclude_outside, antialias;
  int rank;
  ifd_resize_axis axis[IFD_MAX_RANK];
} ifd_resize;

/* For each output position of an axis: taps [first, first + n) of index and weight; n 0: extrapolated. */
typedef struct ifd_resize_table {
  int64_t *first, *index;
  double *weight;
  int *n;
} ifd_resize_table;

/* The attributes of Resize from opset 11 on; of the mode alone. BAD_MODEL for values that ONNX has not. */
ifd_status ifd_resize_read(ifd_error *err, const ifd_node *node, ifd_resize *r);
ifd_status ifd_resize_read_mode(ifd_error *err, const ifd_node *node, ifd_resize *r);
/* The n axes that roi, scales and sizes speak of: attribute axes, or all. */
ifd_status ifd_resize_read_axes(ifd_error *err, const ifd_node *node, int rank, int *n, int *axes);

/* Every axis as it is; then n of them by a scale each, or by sizes under keep_aspect_ratio_policy. */
void ifd_resize_start(ifd_resize *r, const ifd_shape *s);
ifd_status ifd_resize_by_scales(ifd_error *err, ifd_resize *r, int n, const int *axes, const double *scales);
ifd_status ifd_resize_by_sizes(ifd_error *err, const ifd_node *node, ifd_resize *r, int n, const int *axes,
                               const int64_t *sizes);
/* floor(length * scale), multiplied in float as ONNX's shape inference does. */
ifd_status ifd_resize_length(ifd_error *err, int64_t length, double scale, int64_t *out);
/* The shape of the result. BAD_INPUT where elements would come from none. */
ifd_status ifd_resize_check(ifd_error *err, const ifd_resize *r, ifd_shape *out);

/* Whether the axis comes out as it went in. */
bool ifd_resize_is_identity(const ifd_resize_axis *a);
ifd_status ifd_resize_make_table(ifd_error *err, ifd_arena *arena, const ifd_resize *r,
                                 const ifd_resize_axis *a, ifd_resize_table *t);

#endif
