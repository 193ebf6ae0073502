#include "ops/shared/sampling.h"

#include "kernels/conv/conv.h"
#include "kernels/kernels.h"

static int64_t blocks_of(const ifd_sampling *s) { return ifd_ceil_div(s->channels, IFD_BLOCK); }

static float *block_at(const ifd_sampling *s, const ifd_args *args, int64_t image, int64_t block) {
  return (float *)((char *)args->shared + s->at) + (image * blocks_of(s) + block) * s->plane * IFD_BLOCK;
}

/* A task is a block of one image. */
static void run_blocking(const void *params, const ifd_args *args, int task) {
  const ifd_sampling *s = params;
  int64_t image = task / blocks_of(s), block = task % blocks_of(s);
  const float *in = (const float *)args->in[s->input] + image * s->channels * s->plane;
  s->layouts->planar_to_blocked(block_at(s, args, image, 0), in, s->channels, s->plane, block, block + 1);
}

ifd_status ifd_lower_sampling(ifd_lower *x, ifd_sampling *s, int input, int64_t channels, int64_t apart,
                              int64_t images, int64_t plane, double taps) {
  enum { FEW_CHANNELS = 4 };
  *s = (ifd_sampling){.kernels = ifd_k_sample(x->isa),
                      .layouts = ifd_k_conv(x->isa),
                      .input = input,
                      .channels = channels,
                      .plane = plane};
  bool whole_blocks = apart == channels || apart % IFD_BLOCK == 0;
  if (channels < FEW_CHANNELS || !whole_blocks || taps < (double)images * (double)plane) return IFD_OK;
  s->blocked = true;
  s->at = (x->work->shared + 63) / 64 * 64;
  x->work->shared = s->at + (size_t)(images * blocks_of(s) * plane * IFD_BLOCK) * sizeof(float);
  return ifd_lower_launch(x, run_blocking, s, sizeof *s, images * blocks_of(s), 0);
}

static const float *planes(const ifd_sampling *s, const ifd_args *args, int64_t image, int64_t first) {
  return (const float *)args->in[s->input] + (image * s->channels + first) * s->plane;
}

void ifd_sampling_run(const ifd_sampling *s, const ifd_args *args, const ifd_k_samples *points, int64_t image,
                      int64_t first, int64_t n, float *y, int64_t y_stride) {
  if (!s->blocked) {
    s->kernels->planar(points, planes(s, args, image, first), s->plane, n, y, y_stride);
    return;
  }
  for (int64_t c = 0; c < n; c += IFD_BLOCK)
    s->kernels->blocked(points, block_at(s, args, image, (first + c) / IFD_BLOCK),
                        (int)ifd_min_i64(IFD_BLOCK, n - c), y + c * y_stride, y_stride);
}

void ifd_sampling_taps(const ifd_sampling *s, const ifd_args *args, const ifd_k_taps *taps,
                       ifd_taps_inside *inside, int64_t image, int64_t first, int64_t n, float *y,
                       int64_t y_stride) {
  if (!s->blocked) {
    s->kernels->taps(taps, planes(s, args, image, first), s->plane, n, y, y_stride);
    return;
  }
  const ifd_k_samples points = ifd_taps_samples(taps, inside);
  ifd_sampling_run(s, args, &points, image, first, n, y, y_stride);
}
