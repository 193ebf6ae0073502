/* Convolutions of float images in 1, 2 or 3 dimensions, and their transposes.
 *
 * Images lie blocked by 16 channels: [N, ceil(C / 16), D, H, W, 16], channels beyond C are zeros; with fewer
 * dimensions D and H are 1. A plan is made once from the shape, weights are packed once for it, and run
 * computes one task of the output. Each output element is one fixed chain of operations that follows from the
 * shape of one sample: not from the batch, the tasks, the blocks or the ISA. */
#ifndef IFD_KERNELS_CONV_CONV_H
#define IFD_KERNELS_CONV_CONV_H

#include "kernels/anywhere.h"
#include "kernels/epilogue.h"

enum { IFD_K_D, IFD_K_H, IFD_K_W, IFD_K_DIMS };

/* One sample's convolution. Sizes are in elements; dimensions that the operator lacks have in, out, kernel,
 * stride, dilation 1 and pad 0. Output o reads input o * stride + tap * dilation - pad, zeros outside. */
typedef struct ifd_k_conv_shape {
  int64_t c, m, groups; /* input channels, output channels: both multiples of groups */
  int64_t in[IFD_K_DIMS], out[IFD_K_DIMS];
  int64_t kernel[IFD_K_DIMS], stride[IFD_K_DIMS], dilation[IFD_K_DIMS];
  int64_t pad[IFD_K_DIMS]; /* at the beginning; not negative. What the end needs follows from out. */
  bool transposed;         /* ConvTranspose: input i adds to output i * stride + tap * dilation - pad */
  int64_t before; /* channels of x, of which a pointwise convolution makes the c that are read; 0: x has c */
} ifd_k_conv_shape;

typedef enum ifd_k_conv_algo {
  IFD_K_CONV_DIRECT,          /* a product for each group */
  IFD_K_CONV_WINOGRAD,        /* F(4×4, 3×3) on each slice */
  IFD_K_CONV_WINOGRAD_2,      /* F(2×2, 3×3): fewer weights to read */
  IFD_K_CONV_WINOGRAD_HALF,   /* the same two, of weights that are packed transformed along one axis alone: */
  IFD_K_CONV_WINOGRAD_2_HALF, /* still fewer to read */
  IFD_K_CONV_WINOGRAD_LINE,   /* along one axis of the kernel alone */
  IFD_K_CONV_DEPTHWISE,       /* groups = C = M */
  IFD_K_CONV_EXPANDED,        /* the same of what a pointwise convolution makes of x, some lines at a time */
  IFD_K_CONV_GROUPED,         /* groups of few channels */
  IFD_K_CONV_PHASES,     /* transposed: a product for each group, its columns the channels of all phases */
  IFD_K_CONV_PHASES_OUT, /* the same, y not blocked */
  IFD_K_CONV_FRAMES,     /* few input channels: x is [N, C, D, H, W], windows of it are rows of a product */
  IFD_K_CONV_FIRST,      /* the same, tiles along lines */
  IFD_K_CONV_PLANAR,     /* few output channels: neither x nor y is blocked */
  IFD_K_N_CONV_ALGOS
} ifd_k_conv_algo;

/* What is asked of an algorithm. */
typedef struct ifd_k_conv_wish {
  bool exact; /* no Winograd, whose rounding errors follow the largest element of a tile, and which lets NaN
                 and infinity spread over it */
  bool computed;     /* each run packs the weights anew */
  bool plain_input;  /* x may be had unblocked at no cost */
  bool plain_output; /* y must be unblocked; there is one group; x is unblocked too, unless transposed */
} ifd_k_conv_wish;

/* The algorithm for a shape that has no convolution before it. */
ifd_k_conv_algo ifd_k_conv_choose(const ifd_k_conv_shape *shape, ifd_k_conv_wish wish);
static inline bool ifd_k_conv_reads_plain(ifd_k_conv_algo algo) { return algo >= IFD_K_CONV_FRAMES; }
static inline bool ifd_k_conv_writes_plain(ifd_k_conv_algo algo) {
  return algo == IFD_K_CONV_PLANAR || algo == IFD_K_CONV_PHASES_OUT;
}
const char *ifd_k_conv_algo_name(ifd_k_conv_algo algo);

typedef struct ifd_k_conv_plan {
  ifd_k_conv_shape shape;
  ifd_k_conv_algo algo;
  int64_t batch;
  int threads;
  size_t packed_len;  /* bytes of packed weights */
  size_t scratch_len; /* bytes for each worker */
  int64_t n_tasks;    /* of the whole batch */
  /* Of tasks that come before these and hand their results on to all of them; 0: there are none. */
  int64_t n_before;
  size_t shared_len; /* bytes */
  /* How the work splits: by samples, unless rows run through the batch; by parts; by rows, at most `rows` a
   * task; by blocks of 16 output channels, at most `blocks` a task, in units of some. What a row and a part
   * are is the algorithm's. */
  bool spans_batch;
  bool rows_first; /* tasks side by side share rows, not blocks: threads part by rows */
  int64_t n_parts, n_rows, rows, row_tasks, n_blocks, block_unit, blocks, block_tasks;
} ifd_k_conv_plan;

/* False where a size overflows. All sizes are >= 1. `threads` of a run change how the work splits, which
 * changes no bit. */
bool ifd_k_conv_plan_init(ifd_k_conv_plan *plan, const ifd_k_conv_shape *shape, ifd_k_conv_algo algo,
                          int64_t batch, int threads);
/* What x becomes while it is read: min(max(x * scale + shift, lo), hi), rounded after each. */
typedef struct ifd_k_prologue {
  const float *scale, *shift; /* [ceil(c / 16)][16] */
  float lo, hi;
} ifd_k_prologue;

/* The pointwise convolution before an expanded one. */
typedef struct ifd_k_expansion {
  const float *packed;            /* as for a direct convolution of shape.before to shape.c channels */
  const ifd_k_epilogue *epilogue; /* bias [shape.c]; nothing is joined */
} ifd_k_expansion;

typedef struct ifd_k_conv_args {
  const float *x;
  int64_t x_sample; /* floats between samples; 0: dense */
  float *y;
  int64_t y_sample;
  const float *packed;            /* 64-aligned */
  const ifd_k_prologue *prologue; /* only where the algorithm is direct and places are pixels of x; NULL: x */
  const ifd_k_expansion *expansion;
  const ifd_k_epilogue *epilogue; /* bias [m]; other blocked as y. NULL: the sums alone */
  float *shared;                  /* 64-aligned, of plan->shared_len bytes */
} ifd_k_conv_args;

/* Lanes of a block that come from one other block: lane l of y is lane from[l] of x where that is not
 * negative. */
typedef struct ifd_k_lanes {
  const float *x; /* pixel 0 */
  int32_t from[16];
} ifd_k_lanes;

struct ifd_k_conv_table {
  /* Share `share` of n_shares (kernels/launch.h) of the packed weights. These are, as ONNX has them, [m, c /
   * groups, kernel…], transposed: [c, m / groups, kernel…]; a splat is one element for all. What is packed
   * depends on the algorithm and the shape's c, m, groups, kernel, stride, dilation and transposed alone. */
  void (*pack)(const ifd_k_conv_plan *plan, const ifd_float_anywhere *w, bool splat, float *packed, int share,
               int n_shares);
  /* Task in [0, plan->n_before): an own part of shared memory. */
  void (*before)(const ifd_k_conv_plan *plan, const ifd_k_conv_args *args, int64_t task);
  /* Task in [0, plan->n_tasks): an own part of y, zeros in its channels beyond m included. Scratch is
   * 64-aligned. */
  void (*run)(const ifd_k_conv_plan *plan, const ifd_k_conv_args *args, int64_t task, void *scratch);
  /* Layouts, for one sample of c channels of n_pixels: blocks [b0, b1) of 16 channels. A blocked sample is
   * [ceil(c / 16)][n_pixels][16]; planar is [c][n_pixels] (NCHW), pixels is [n_pixels][c] (NHWC). */
  void (*planar_to_blocked)(float *y, const float *x, int64_t c, int64_t n_pixels, int64_t b0, int64_t b1);
  void (*blocked_to_planar)(float *y, const float *x, int64_t c, int64_t n_pixels, int64_t b0, int64_t b1);
  /* pixels [p0, p1), all channels */
  void (*pixels_to_blocked)(float *y, const float *x, int64_t c, int64_t n_pixels, int64_t p0, int64_t p1);
  void (*blocked_to_pixels)(float *y, const float *x, int64_t c, int64_t n_pixels, int64_t p0, int64_t p1);
  /* A block y of n_pixels from the lanes of n <= 16 others; zeros in lanes that none gives. */
  void (*pick)(float *y, const ifd_k_lanes *lanes, int n, int64_t n_pixels);
};

#endif
