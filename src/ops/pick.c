/* PickChannels of infold's own domain: a blocked image (ops/blocked.c) whose channel i is channel order[i] of
 * the inputs', which are blocked images side by side, of `channels` each, or zero where order[i] is negative.
 * Concatenations, parts, shuffles and padding of channels that are no whole blocks are this. */
#include "kernels/conv/conv.h"
#include "kernels/kernels.h"
#include "ops/op.h"
#include "ops/shared/batch.h"

#include <string.h>

static ifd_status infer_pick(ifd_infer *x) {
  int rank = ifd_infer_rank(x, 0);
  const int64_t *order;
  ifd_dim out[IFD_MAX_RANK];
  EXPECT(x->err, rank >= 4, BAD_MODEL, "PickChannels takes blocked images");
  memcpy(out, x->in[0]->dims, (size_t)rank * sizeof *out);
  out[1] = ifd_ceil_div(ifd_node_ints(x->node, "order", &order), IFD_BLOCK);
  return ifd_infer_tensor(x, 0, IFD_FLOAT, rank, out);
}

/* Where a channel lies; input NOWHERE: it is zero. */
enum { NOWHERE = -1 };
typedef struct origin {
  int input, channel;
} origin;

typedef struct pick_params {
  const struct ifd_k_conv_table *kernels;
  const origin *origins;   /* of each output channel */
  const int64_t *n_blocks; /* of each input */
  int64_t n, pixels;
} pick_params;

/* The blocks that output channels [first, first + 16) come from, of sample `sample`. */
static int sources_of(const pick_params *p, const ifd_args *args, int64_t sample, int64_t first,
                      ifd_k_lanes lanes[IFD_BLOCK]) {
  int n = 0;
  for (int lane = 0; lane < ifd_min_i64(IFD_BLOCK, p->n - first); lane++) {
    const origin *o = &p->origins[first + lane];
    if (o->input == NOWHERE) continue;
    int64_t block = sample * p->n_blocks[o->input] + o->channel / IFD_BLOCK;
    const float *x = (const float *)args->in[o->input] + block * p->pixels * IFD_BLOCK;
    int i = 0;
    while (i < n && lanes[i].x != x) i++;
    if (i == n) {
      lanes[n].x = x;
      memset(lanes[n++].from, -1, sizeof lanes->from);
    }
    lanes[i].from[lane] = o->channel % IFD_BLOCK;
  }
  return n;
}

/* A task is a block of a sample. */
static void run_pick(const void *params, const ifd_args *args, int task) {
  const pick_params *p = params;
  ifd_k_lanes lanes[IFD_BLOCK];
  int64_t n_blocks = ifd_ceil_div(p->n, IFD_BLOCK), sample = task / n_blocks, block = task % n_blocks;
  int n = sources_of(p, args, sample, block * IFD_BLOCK, lanes);
  float *y = (float *)args->out[0] + task * p->pixels * IFD_BLOCK;
  if (!n || lanes[0].x != y) p->kernels->pick(y, lanes, n, p->pixels);
}

/* Channels by number become channels of inputs. */
static ifd_status find_origins(ifd_lower *x, pick_params *p) {
  const int64_t *order, *channels;
  int n_inputs = ifd_node_ints(x->node, "channels", &channels);
  origin *origins;
  int64_t *n_blocks;
  p->n = ifd_node_ints(x->node, "order", &order);
  EXPECT(x->err, n_inputs == x->node->n_inputs, BAD_MODEL, "PickChannels has the channels of each input");
  ALLOC(x->err, origins, ifd_new_array(x->arena, origin, p->n));
  ALLOC(x->err, n_blocks, ifd_new_array(x->arena, int64_t, n_inputs));
  for (int i = 0; i < n_inputs; i++) n_blocks[i] = x->in[i]->shape.dim[1];
  for (int64_t i = 0; i < p->n; i++) {
    int64_t channel = order[i];
    int input = 0;
    origins[i] = (origin){NOWHERE, 0};
    if (channel < 0) continue;
    while (input < n_inputs && channel >= channels[input]) channel -= channels[input++];
    EXPECT(x->err, input < n_inputs && channel < n_blocks[input] * IFD_BLOCK, BAD_MODEL,
           "PickChannels picks a channel that is not there");
    origins[i] = (origin){input, (int)channel};
  }
  p->origins = origins, p->n_blocks = n_blocks;
  return IFD_OK;
}

/* Whether channels [first, first + n) of the output are those of an input from `channel` on, in whole
 * blocks. */
static bool is_span(const pick_params *p, int64_t first, int64_t n, int input, int64_t channel) {
  if (first % IFD_BLOCK || channel % IFD_BLOCK || first + n > p->n || (n % IFD_BLOCK && first + n != p->n))
    return false;
  for (int64_t i = 0; i < n; i++) {
    const origin *o = &p->origins[first + i];
    if (o->input != input || o->channel != channel + i) return false;
  }
  return true;
}

/* Of one sample alone: inputs that are parts of the output, or the output a piece of an input. */
static ifd_status find_spans(ifd_lower *x, const pick_params *p) {
  const int64_t *channels;
  int n = ifd_node_ints(x->node, "channels", &channels);
  size_t block = (size_t)p->pixels * IFD_BLOCK * sizeof(float);
  ifd_span *spans;
  ALLOC(x->err, spans, ifd_new_array(x->arena, ifd_span, n));
  x->work->spans = spans;
  int input = p->origins[0].input, from = p->origins[0].channel;
  if (input != NOWHERE && is_span(p, 0, p->n, input, from)) {
    size_t at = (size_t)(from / IFD_BLOCK) * block;
    spans[x->work->n_spans++] = (ifd_span){.in = input, .in_at = at, .bytes = ifd_tensor_bytes(x->out[0])};
    x->work->only_spans = true;
    return IFD_OK;
  }
  for (int64_t i = 0; i < p->n; i += IFD_BLOCK) {
    input = p->origins[i].input;
    if (input == NOWHERE || !is_span(p, i, channels[input], input, 0)) continue;
    size_t at = (size_t)(i / IFD_BLOCK) * block;
    bool seen = false;
    for (int k = 0; k < x->work->n_spans; k++) seen = seen || spans[k].in == input;
    if (!seen)
      spans[x->work->n_spans++] =
          (ifd_span){.in = input, .out_at = at, .bytes = ifd_tensor_bytes(x->in[input])};
  }
  return IFD_OK;
}

static ifd_status lower_pick(ifd_lower *x) {
  const ifd_shape *y = &x->out[0]->shape;
  pick_params p = {.kernels = ifd_k_conv(x->isa), .pixels = ifd_shape_span(y, 2, y->rank - 1)};
  TRY(find_origins(x, &p));
  for (int i = 0; i < x->node->n_inputs; i++)
    EXPECT(x->err,
           x->in[i]->shape.dim[0] == y->dim[0] &&
               ifd_shape_span(&x->in[i]->shape, 2, y->rank - 1) == p.pixels,
           BAD_MODEL, "PickChannels takes images of one size");
  x->work->algorithm = "pick";
  if (y->dim[0] == 1 && p.n && p.pixels) TRY(find_spans(x, &p));
  return ifd_lower_launch(x, run_pick, &p, sizeof p, p.pixels ? y->dim[0] * y->dim[1] : 0, 0);
}

const ifd_op ifd_ops_pick[] = {{.name = "PickChannels",
                                .domain = "infold",
                                .infer = infer_pick,
                                .lower = lower_pick,
                                .batch = ifd_batch_each},
                               {0}};
