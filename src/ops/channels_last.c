/* infold.BlockLast and UnblockLast: between [N, image…, C] and images whose channels lie in blocks of 16
 * (blocked.c), which plans make of a Transpose beside Block or Unblock. A block of a pixel is sixteen numbers
 * side by side on both sides. */
#include "ops/shared/batch.h"
#include "ops/shared/rows.h"

#include <string.h>

static ifd_status infer_block_last(ifd_infer *x) {
  int rank = ifd_infer_rank(x, 0);
  ifd_dim out[IFD_MAX_RANK];
  if (rank < 0) return ifd_infer_unranked(x, 0, IFD_FLOAT);
  EXPECT(x->err, rank >= 3 && rank < IFD_MAX_RANK, BAD_MODEL, "BlockLast takes a batch of images");
  out[0] = ifd_infer_dim(x, 0, 0);
  out[1] = ifd_dim_ceil_div(x->dims, ifd_infer_dim(x, 0, rank - 1), IFD_BLOCK);
  for (int i = 1; i < rank - 1; i++) out[i + 1] = ifd_infer_dim(x, 0, i);
  out[rank] = IFD_BLOCK;
  return ifd_infer_tensor(x, 0, IFD_FLOAT, rank + 1, out);
}

static ifd_status infer_unblock_last(ifd_infer *x) {
  int rank = ifd_infer_rank(x, 0);
  ifd_dim out[IFD_MAX_RANK];
  if (rank < 0) return ifd_infer_unranked(x, 0, IFD_FLOAT);
  EXPECT(x->err, rank >= 4, BAD_MODEL, "UnblockLast takes blocked images");
  out[0] = ifd_infer_dim(x, 0, 0);
  for (int i = 2; i < rank - 1; i++) out[i - 1] = ifd_infer_dim(x, 0, i);
  out[rank - 2] = ifd_node_int(x->node, "channels", 0);
  return ifd_infer_tensor(x, 0, IFD_FLOAT, rank - 1, out);
}

typedef struct layout {
  int64_t channels, pixels; /* of a sample */
  ifd_rows rows;            /* pixels of all samples */
} layout;

/* Where block 0 of pixel i of all samples is. */
static int64_t blocked_at(const layout *p, int64_t i) {
  int64_t sample = ifd_ceil_div(p->channels, IFD_BLOCK) * p->pixels * IFD_BLOCK;
  return i / p->pixels * sample + i % p->pixels * IFD_BLOCK;
}

static void run_block_last(const void *params, const ifd_args *args, int task) {
  const layout *p = params;
  int64_t from, to;
  ifd_rows_of(&p->rows, task, &from, &to);
  for (int64_t i = from; i < to; i++) {
    const float *x = (const float *)args->in[0] + i * p->channels;
    float *y = (float *)args->out[0] + blocked_at(p, i);
    int64_t c = 0;
    for (; c + IFD_BLOCK <= p->channels; c += IFD_BLOCK, y += p->pixels * IFD_BLOCK)
      memcpy(y, x + c, IFD_BLOCK * sizeof *y);
    if (c == p->channels) continue;
    memset(y, 0, IFD_BLOCK * sizeof *y);
    memcpy(y, x + c, (size_t)(p->channels - c) * sizeof *y);
  }
}

static void run_unblock_last(const void *params, const ifd_args *args, int task) {
  const layout *p = params;
  int64_t from, to;
  ifd_rows_of(&p->rows, task, &from, &to);
  for (int64_t i = from; i < to; i++) {
    const float *x = (const float *)args->in[0] + blocked_at(p, i);
    float *y = (float *)args->out[0] + i * p->channels;
    int64_t c = 0;
    for (; c + IFD_BLOCK <= p->channels; c += IFD_BLOCK, x += p->pixels * IFD_BLOCK)
      memcpy(y + c, x, IFD_BLOCK * sizeof *y);
    memcpy(y + c, x, (size_t)(p->channels - c) * sizeof *y);
  }
}

/* `last` is [N, image…, C]. */
static ifd_status lower_layout(ifd_lower *x, const ifd_shape *last, ifd_kernel run) {
  layout p = {.channels = last->dim[last->rank - 1], .pixels = ifd_shape_span(last, 1, last->rank - 1)};
  if (ifd_shape_count(last) == 0) return IFD_OK;
  p.rows = ifd_rows_split(last->dim[0] * p.pixels, (double)p.channels);
  x->work->algorithm = "channels last";
  return ifd_lower_rows(x, run, &p, sizeof p, &p.rows);
}

static ifd_status lower_block_last(ifd_lower *x) { return lower_layout(x, &x->in[0]->shape, run_block_last); }
static ifd_status lower_unblock_last(ifd_lower *x) {
  return lower_layout(x, &x->out[0]->shape, run_unblock_last);
}

const ifd_op ifd_ops_channels_last[] = {{.name = "BlockLast",
                                         .domain = "infold",
                                         .infer = infer_block_last,
                                         .lower = lower_block_last,
                                         .batch = ifd_batch_each},
                                        {.name = "UnblockLast",
                                         .domain = "infold",
                                         .infer = infer_unblock_last,
                                         .lower = lower_unblock_last,
                                         .batch = ifd_batch_each},
                                        {0}};
