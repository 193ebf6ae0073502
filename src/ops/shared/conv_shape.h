/* What the kernels call a convolution's shape, from the operator's window. */
#ifndef IFD_OPS_SHARED_CONV_SHAPE_H
#define IFD_OPS_SHARED_CONV_SHAPE_H

#include "kernels/conv/conv.h"
#include "ops/shared/window.h"

/* The last of up to three axes is W, the one before H, then D. */
static inline ifd_k_conv_shape ifd_conv_shape_of(const ifd_window *w, int64_t c, int64_t m, int64_t groups,
                                                 bool transposed) {
  ifd_k_conv_shape s = {.c = c, .m = m, .groups = groups, .transposed = transposed};
  for (int d = 0; d < IFD_K_DIMS; d++) {
    int a = d - (IFD_K_DIMS - w->n);
    s.in[d] = a < 0 ? 1 : transposed ? w->windows[a] : w->image[a];
    s.out[d] = a < 0 ? 1 : transposed ? w->image[a] : w->windows[a];
    s.kernel[d] = a < 0 ? 1 : w->kernel[a];
    s.stride[d] = a < 0 ? 1 : w->stride[a];
    s.dilation[d] = a < 0 ? 1 : w->dilation[a];
    s.pad[d] = a < 0 ? 0 : w->begin[a];
  }
  return s;
}

#endif
