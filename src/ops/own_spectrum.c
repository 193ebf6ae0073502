/* infold.Spectrum: short-time Fourier transforms of a real signal, which plans make of a Conv whose weights
 * are a Fourier basis under a window. Inputs: the signal [N, 1, ones…, samples]; the window, of the
 * transform's length. Output: [N, channels, ones…, frames]; bin k's real part is channel real + k * step,
 * sign times its imaginary part channel imaginary + k * step, k < bins; either is absent where that attribute
 * is negative. Frames are `stride` samples apart, the last one inside. */
#include "kernels/fourier/fourier.h"
#include "kernels/kernels.h"
#include "ops/op.h"
#include "ops/shared/batch.h"

#include <string.h>

static int64_t attr(const ifd_node *node, const char *name) { return ifd_node_int(node, name, 0); }

static ifd_status infer_spectrum(ifd_infer *x) {
  int rank = ifd_infer_rank(x, 0);
  ifd_dim dims[IFD_MAX_RANK];
  int64_t stride = attr(x->node, "stride");
  if (rank < 0) return ifd_infer_unranked(x, 0, IFD_FLOAT);
  EXPECT(x->err, rank >= 3 && stride > 0, BAD_MODEL, "Spectrum takes signals");
  memcpy(dims, x->in[0]->dims, (size_t)rank * sizeof *dims);
  dims[1] = attr(x->node, "channels");
  ifd_dim beyond = ifd_dim_sub(x->dims, dims[rank - 1], attr(x->node, "length"));
  dims[rank - 1] = ifd_dim_add(x->dims, ifd_dim_floor_div(x->dims, beyond, stride), 1);
  return ifd_infer_tensor(x, 0, IFD_FLOAT, rank, dims);
}

typedef struct spectrum {
  const struct ifd_k_fourier_table *kernels;
  const ifd_k_transform *tables;
  int64_t samples, frames, channels; /* of one signal */
  int64_t blocks;                    /* of frames of a signal: a task each */
  int64_t stride, bins, real, imaginary, step;
  float sign;
} spectrum;

static void run_spectrum(const void *params, const ifd_args *args, int task) {
  const spectrum *p = params;
  int64_t n = task / p->blocks, first = task % p->blocks * IFD_FOURIER_FRAMES;
  float *y = (float *)args->out[0] + n * p->channels * p->frames + first;
  const ifd_k_fourier_frames frames = {.x = (const float *)args->in[0] + n * p->samples + first * p->stride,
                                       .step = p->stride,
                                       .n_frames = ifd_min_i64(IFD_FOURIER_FRAMES, p->frames - first),
                                       .window = args->in[1],
                                       .re = p->real < 0 ? NULL : y + p->real * p->frames,
                                       .im = p->imaginary < 0 ? NULL : y + p->imaginary * p->frames,
                                       .rs = p->step * p->frames,
                                       .n_bins = p->bins,
                                       .im_sign = p->sign};
  p->kernels->run(p->tables, &frames, args->scratch);
}

static ifd_status make_tables(ifd_error *err, ifd_arena *arena, const ifd_node *node, const void **out) {
  int64_t n = attr(node, "length");
  ifd_k_transform *f;
  void *tables;
  EXPECT(err, ifd_k_fourier_suits(n), BAD_MODEL, "Spectrum has a length of small factors");
  ALLOC(err, f, ifd_new(arena, ifd_k_transform));
  ALLOC(err, tables, ifd_arena_alloc_data(arena, ifd_k_fourier_tables_len(n)));
  ifd_k_fourier_init(f, n, tables);
  *out = f;
  return IFD_OK;
}

static ifd_status lower_spectrum(ifd_lower *x) {
  const ifd_shape *in = &x->in[0]->shape, *out = &x->out[0]->shape;
  const void *tables;
  spectrum p;
  memset(&p, 0, sizeof p);
  p.kernels = ifd_k_fourier(x->isa);
  p.samples = in->dim[in->rank - 1], p.frames = out->dim[out->rank - 1], p.channels = out->dim[1];
  p.blocks = ifd_ceil_div(p.frames, IFD_FOURIER_FRAMES);
  p.stride = attr(x->node, "stride"), p.bins = attr(x->node, "bins"), p.step = attr(x->node, "step");
  p.real = attr(x->node, "real"), p.imaginary = attr(x->node, "imaginary");
  p.sign = (float)attr(x->node, "sign");
  int64_t length = attr(x->node, "length"), last = p.bins > 0 ? (p.bins - 1) * p.step : 0;
  EXPECT(x->err,
         ifd_tensor_count(x->in[1]) == length && in->dim[1] == 1 && p.bins <= length / 2 + 1 &&
             p.real + last < p.channels && p.imaginary + last < p.channels &&
             (p.frames - 1) * p.stride + length <= p.samples,
         BAD_MODEL, "the attributes of Spectrum do not fit");
  if (ifd_shape_count(out) == 0) return IFD_OK;
  TRY(x->once(x, &tables, make_tables));
  p.tables = tables;
  x->work->algorithm = "fourier";
  return ifd_lower_launch(x, run_spectrum, &p, sizeof p, out->dim[0] * p.blocks,
                          ifd_k_fourier_scratch_len(length));
}

const ifd_op ifd_ops_own_spectrum[] = {{.name = "Spectrum",
                                        .domain = "infold",
                                        .infer = infer_spectrum,
                                        .lower = lower_spectrum,
                                        .batch = ifd_batch_first},
                                       {0}};
