#include "ops/shared/window.h"
#include "pass/pass.h"

#include <string.h>

/* Taps of a Conv's kernel that meet nothing but padding, wherever it lies on its image, are cut off: of 3×3
 * on one pixel the middle is left, a ninth of the weights. */

/* Where the kernel lies on an image of known size; false where that is not known. */
static bool window_of(ifd_rewrite *rw, const ifd_node *conv, const ifd_tensor *w, ifd_window *out) {
  ifd_shape image = {.rank = ifd_rw_rank(rw, conv->inputs[0]), .dim = {1, 1}};
  ifd_error err = {0};
  if (image.rank < 3 || image.rank != w->shape.rank) return false;
  for (int i = 2; i < image.rank; i++) {
    ifd_dim dim = ifd_rw_dim(rw, conv->inputs[0], i);
    if (!ifd_dim_is_number(dim)) return false;
    image.dim[i] = dim;
  }
  return ifd_window_init(&err, out, conv, &image, &w->shape) == IFD_OK;
}

/* The box of taps that some window reads the image with. */
static ifd_box live_taps(const ifd_window *w) {
  ifd_box taps = ifd_box_of(w->n, w->kernel);
  for (int a = 0; a < w->n; a++) {
    int64_t from, to;
    for (; taps.from[a] < taps.to[a] - 1; taps.from[a]++) {
      ifd_window_reach(w, a, taps.from[a], &from, &to);
      if (from < to || w->begin[a] < (taps.from[a] + 1) * w->dilation[a]) break;
    }
    for (; taps.to[a] - 1 > taps.from[a]; taps.to[a]--) {
      ifd_window_reach(w, a, taps.to[a] - 1, &from, &to);
      if (from < to || w->end[a] < (w->kernel[a] - taps.to[a] + 1) * w->dilation[a]) break;
    }
  }
  return taps;
}

/* The taps of the box, of all channels. */
static ifd_status crop(ifd_rewrite *rw, ifd_tensor *out, const ifd_tensor *w, const ifd_window *window,
                       ifd_box taps) {
  int64_t at[IFD_MAX_RANK], n = ifd_shape_span(&w->shape, 0, 2), last = window->n - 1;
  size_t size = ifd_dtype_size(w->dtype);
  ifd_shape shape = w->shape, plane = {.rank = window->n};
  for (int a = 0; a < window->n; a++) {
    shape.dim[a + 2] = taps.to[a] - taps.from[a];
    plane.dim[a] = window->kernel[a];
  }
  *out = *w;
  out->shape = shape;
  if (w->splat) return IFD_OK;
  TRY(ifd_tensor_new(ifd_rw_error(rw), out, ifd_rw_arena(rw), w->dtype, &shape));
  ifd_shape_strides(&plane, at);
  size_t line = (size_t)shape.dim[shape.rank - 1] * size;
  const char *from = w->data;
  char *to = out->data;
  taps.to[last] = taps.from[last] + 1;
  for (int64_t i = 0; i < n; i++, from += (size_t)ifd_shape_count(&plane) * size)
    for (bool more = ifd_box_start(&taps); more; more = ifd_box_next(&taps), to += line) {
      int64_t tap = 0;
      for (int a = 0; a < window->n; a++) tap += taps.at[a] * at[a];
      memcpy(to, from + (size_t)tap * size, line);
    }
  return IFD_OK;
}

static ifd_status crop_kernel(ifd_rewrite *rw, ifd_node *conv) {
  const ifd_tensor *w = conv->n_inputs > 1 ? ifd_rw_constant(rw, conv->inputs[1]) : NULL;
  ifd_window window;
  if (!w || ifd_dtypes[w->dtype].bits < 8 || !window_of(rw, conv, w, &window)) return IFD_OK;
  ifd_box taps = live_taps(&window);
  int64_t kernel[IFD_MAX_RANK], pads[2 * IFD_MAX_RANK], cut = 0;
  for (int a = 0; a < window.n; a++) {
    kernel[a] = taps.to[a] - taps.from[a];
    pads[a] = window.begin[a] - taps.from[a] * window.dilation[a];
    pads[window.n + a] = window.end[a] - (window.kernel[a] - taps.to[a]) * window.dilation[a];
    cut += window.kernel[a] - kernel[a];
  }
  if (!cut) return IFD_OK;
  ifd_tensor cropped;
  ifd_value *inputs[3] = {conv->inputs[0], NULL, ifd_node_input(conv, 2)};
  ifd_node *node;
  TRY(crop(rw, &cropped, w, &window, taps));
  TRY(ifd_rw_add_constant(rw, &inputs[1], &cropped, conv->inputs[1]->name));
  TRY(ifd_rw_add_like(rw, &node, conv, inputs, conv->n_inputs));
  ifd_node_remove_attr(node, "auto_pad");
  TRY(ifd_node_set_ints(ifd_rw_error(rw), node, "kernel_shape", kernel, window.n));
  TRY(ifd_node_set_ints(ifd_rw_error(rw), node, "pads", pads, 2 * window.n));
  return ifd_rw_replace(rw, conv->outputs[0], node->outputs[0]);
}

const ifd_pass ifd_pass_crop_kernel = {
    .summary = "cuts off taps of a Conv that meet padding alone",
    .phase = IFD_PHASE_FUSE,
    .rules = (const ifd_rule[]){{"Conv", IFD_EXACT, crop_kernel}, {0}},
};
