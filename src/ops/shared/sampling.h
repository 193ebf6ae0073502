/* Lowering what samples an image at a few places of each plane, the same in all channels: where the places
 * are many the image is first laid in blocks of 16 channels, in the work's shared memory, for then a tap
 * serves all of a block. Which it is changes no bit (kernels/sample/sample.h). */
#ifndef IFD_OPS_SHARED_SAMPLING_H
#define IFD_OPS_SHARED_SAMPLING_H

#include "kernels/sample/sample.h"
#include "ops/shared/taps.h"

typedef struct ifd_sampling {
  const struct ifd_k_sample_table *kernels;
  const struct ifd_k_conv_table *layouts;
  int input; /* images [n, channels, plane] of FLOAT */
  int64_t channels, plane;
  bool blocked;
  size_t at; /* of the blocks in shared memory */
} ifd_sampling;

/* Settles how input `input` is read of which each channel has `taps` taps in all; adds the launch that lays
 * it in blocks, if it is worth it. `apart`: channels are sampled in groups of so many, each otherwise. */
ifd_status ifd_lower_sampling(ifd_lower *x, ifd_sampling *s, int input, int64_t channels, int64_t apart,
                              int64_t images, int64_t plane, double taps);
/* y[c * y_stride + i] = point i in channel `first` + c of an image, c < n. */
void ifd_sampling_run(const ifd_sampling *s, const ifd_args *args, const ifd_k_samples *points, int64_t image,
                      int64_t first, int64_t n, float *y, int64_t y_stride);

/* The same of taps that were found at once; those inside go to `inside`. */
void ifd_sampling_taps(const ifd_sampling *s, const ifd_args *args, const ifd_k_taps *taps,
                       ifd_taps_inside *inside, int64_t image, int64_t first, int64_t n, float *y,
                       int64_t y_stride);

#endif
