/* Operators of infold's own domain, which plans make and files never see: images whose channels lie in blocks
 * of 16. Block turns [N, C, image…] into [N, ceil(C / 16), image…, 16], with zeros beyond C; Unblock turns it
 * back. Such a tensor is an ordinary one of its shape, so operators of elements run on it as they are. Conv
 * and ConvTranspose take and give it, with what follows them (bias, activation, a residual) in their stores:
 * their attributes are those of shared/epilogue.h.
 * Input 0 of Conv may also be plain ([N, C, image…]): attribute plain_input; so may the output, then:
 * plain_output. ConvTranspose of one group may have a plain output of its blocked input.
 * A pointwise Conv of one group may scale, shift and clip what it reads: inputs 4 and 5 have these for each
 * channel, blocked, attribute `prologue` the bounds. A depthwise Conv may read what a pointwise one of one
 * group makes of input 0: inputs 6 and 7 are its weights and bias, attributes `expansion`,
 * `expansion_p` and `expansion_rounding` its activation and rounding. */
#include "kernels/kernels.h"
#include "ops/op.h"
#include "ops/shared/batch.h"
#include "ops/shared/conv_shape.h"
#include "ops/shared/epilogue.h"

#include <string.h>

/* ---- Block, Unblock ---- */

static ifd_status infer_block(ifd_infer *x) {
  int rank = ifd_infer_rank(x, 0);
  ifd_dim out[IFD_MAX_RANK];
  if (rank < 0) return ifd_infer_unranked(x, 0, IFD_FLOAT);
  EXPECT(x->err, rank >= 3 && rank < IFD_MAX_RANK, BAD_MODEL, "Block takes a batch of images");
  memcpy(out, x->in[0]->dims, (size_t)rank * sizeof *out);
  out[1] = ifd_dim_ceil_div(x->dims, out[1], IFD_BLOCK);
  out[rank] = IFD_BLOCK;
  return ifd_infer_tensor(x, 0, IFD_FLOAT, rank + 1, out);
}

static ifd_status infer_unblock(ifd_infer *x) {
  int rank = ifd_infer_rank(x, 0);
  ifd_dim out[IFD_MAX_RANK];
  if (rank < 0) return ifd_infer_unranked(x, 0, IFD_FLOAT);
  EXPECT(x->err, rank >= 4, BAD_MODEL, "Unblock takes blocked images");
  memcpy(out, x->in[0]->dims, (size_t)(rank - 1) * sizeof *out);
  out[1] = ifd_node_int(x->node, "channels", 0);
  return ifd_infer_tensor(x, 0, IFD_FLOAT, rank - 1, out);
}

typedef struct layout_params {
  const struct ifd_k_conv_table *kernels;
  int64_t channels, blocks, pixels;
  int64_t step, tasks; /* blocks of a task, tasks of a sample */
  bool to_blocked;
} layout_params;

static void run_layout(const void *params, const ifd_args *args, int task) {
  const layout_params *p = params;
  int64_t n = task / p->tasks, b0 = task % p->tasks * p->step, b1 = ifd_min_i64(b0 + p->step, p->blocks);
  int64_t plain = n * p->channels * p->pixels, blocked = n * p->blocks * p->pixels * IFD_BLOCK;
  if (p->to_blocked)
    p->kernels->planar_to_blocked((float *)args->out[0] + blocked, (const float *)args->in[0] + plain,
                                  p->channels, p->pixels, b0, b1);
  else
    p->kernels->blocked_to_planar((float *)args->out[0] + plain, (const float *)args->in[0] + blocked,
                                  p->channels, p->pixels, b0, b1);
}

/* plain is [N, C, image…] of the two shapes. */
static layout_params layout_of(const ifd_lower *x, const ifd_shape *plain, bool to_blocked) {
  layout_params p = {.kernels = ifd_k_conv(x->isa), .channels = plain->dim[1], .to_blocked = to_blocked};
  p.pixels = ifd_shape_span(plain, 2, plain->rank);
  p.blocks = ifd_ceil_div(p.channels, IFD_BLOCK);
  p.step = ifd_lower_grain(p.blocks, (double)p.pixels * IFD_BLOCK * 4);
  p.tasks = ifd_ceil_div(p.blocks, p.step);
  return p;
}

static ifd_status lower_layout(ifd_lower *x, const ifd_shape *plain, bool to_blocked) {
  layout_params p = layout_of(x, plain, to_blocked);
  x->work->algorithm = to_blocked ? "block" : "unblock";
  return ifd_lower_launch(x, run_layout, &p, sizeof p, plain->dim[0] * p.tasks, 0);
}

static ifd_status lower_block(ifd_lower *x) { return lower_layout(x, &x->in[0]->shape, true); }
static ifd_status lower_unblock(ifd_lower *x) { return lower_layout(x, &x->out[0]->shape, false); }

/* ---- Conv, ConvTranspose ---- */

/* The input's shape as ONNX has it: a blocked one knows its channels from the weights. */
static ifd_shape plain_shape(const ifd_node *node, const ifd_shape *x, const ifd_shape *w, bool transposed) {
  ifd_shape s = *x;
  if (ifd_node_int(node, "plain_input", 0)) return s;
  s.rank--;
  s.dim[1] = transposed ? w->dim[0] : w->dim[1] * ifd_node_int(node, "group", 1);
  return s;
}

/* The channels that the weights, or an expansion's, are for are those of the input, or fill its blocks. */
static ifd_status check_channels(ifd_infer *x, bool transposed) {
  const ifd_dim *w = x->in[1]->dims, group = ifd_node_int(x->node, "group", 1);
  bool expanded = x->node->n_inputs > 6 && ifd_infer_rank(x, 6) > 1;
  ifd_dim need = transposed ? w[0] : expanded ? ifd_infer_dim(x, 6, 1) : ifd_dim_mul(x->dims, w[1], group);
  ifd_dim have = ifd_infer_dim(x, 0, 1);
  if (!ifd_node_int(x->node, "plain_input", 0)) need = ifd_dim_ceil_div(x->dims, need, IFD_BLOCK);
  EXPECT(x->err, !ifd_dim_is_number(need) || !ifd_dim_is_number(have) || need == have, BAD_INPUT,
         "the input has %lld channels, or blocks of them; the weights are for %lld", (long long)have,
         (long long)need);
  return IFD_OK;
}

static ifd_status infer_conv_as(ifd_infer *x, bool transposed) {
  int rank = ifd_infer_rank(x, 0), plain_rank = rank - !ifd_node_int(x->node, "plain_input", 0);
  ifd_dim out[IFD_MAX_RANK];
  const ifd_type *w = x->in[1];
  if (rank < 0) return ifd_infer_unranked(x, 0, IFD_FLOAT);
  EXPECT(x->err, rank >= 3 && w->has_rank && w->rank == plain_rank, BAD_MODEL,
         "the weights do not fit the input");
  TRY(check_channels(x, transposed));
  if (transposed)
    TRY(ifd_window_infer_transposed(x, plain_rank, x->in[0]->dims, w->dims + 2, out));
  else
    TRY(ifd_window_infer(x, plain_rank, x->in[0]->dims, w->dims + 2, out));
  ifd_dim m = transposed ? ifd_dim_mul(x->dims, w->dims[1], ifd_node_int(x->node, "group", 1)) : w->dims[0];
  bool plain_output = ifd_node_int(x->node, "plain_output", 0);
  out[0] = ifd_infer_dim(x, 0, 0);
  out[1] = plain_output ? m : ifd_dim_ceil_div(x->dims, m, IFD_BLOCK);
  out[plain_rank] = IFD_BLOCK;
  return ifd_infer_tensor(x, 0, IFD_FLOAT, plain_rank + !plain_output, out);
}

static ifd_status infer_conv(ifd_infer *x) { return infer_conv_as(x, false); }
static ifd_status infer_conv_transpose(ifd_infer *x) { return infer_conv_as(x, true); }

typedef struct conv_params {
  const struct ifd_k_conv_table *kernels;
  ifd_k_conv_plan plan;
  ifd_k_epilogue epilogue, expansion; /* pointers are of the run */
  const float *packed;                /* NULL: by the run, at the beginning of shared memory */
  const float *packed_expansion;      /* NULL: there is none */
  size_t x_at, before_at;             /* of shared memory: x, where it was blocked into it; the plan's */
  float bounds[2];                    /* of the prologue */
  bool from_shared;                   /* x was blocked into shared memory */
  bool has_bias, has_other, has_prologue, has_expansion_bias;
} conv_params;

static ifd_k_conv_args conv_args(const conv_params *p, const ifd_args *args) {
  char *shared = args->shared;
  return (ifd_k_conv_args){.x = p->from_shared ? (const float *)(shared + p->x_at) : args->in[0],
                           .y = args->out[0],
                           .packed = p->packed ? p->packed : args->shared,
                           .shared = p->plan.n_before ? (float *)(shared + p->before_at) : NULL};
}

static void run_before(const void *params, const ifd_args *args, int task) {
  const conv_params *p = params;
  ifd_k_conv_args a = conv_args(p, args);
  p->kernels->before(&p->plan, &a, task);
}

static void run_conv(const void *params, const ifd_args *args, int task) {
  const conv_params *p = params;
  ifd_k_epilogue e = p->epilogue;
  e.bias = p->has_bias ? args->in[2] : NULL;
  e.other = p->has_other ? args->in[3] : NULL;
  ifd_k_prologue prologue = {.lo = p->bounds[0], .hi = p->bounds[1]};
  if (p->has_prologue) prologue.scale = args->in[4], prologue.shift = args->in[5];
  ifd_k_conv_args a = conv_args(p, args);
  ifd_k_epilogue expansion_e = p->expansion;
  expansion_e.bias = p->has_expansion_bias ? args->in[7] : NULL;
  ifd_k_expansion expansion = {p->packed_expansion, &expansion_e};
  a.epilogue = &e;
  a.expansion = p->packed_expansion ? &expansion : NULL;
  a.prologue = p->has_prologue ? &prologue : NULL;
  p->kernels->run(&p->plan, &a, task, args->scratch);
}

typedef struct shared_layout_params {
  layout_params layout; /* first */
  size_t x_at;
} shared_layout_params;

static void run_block_to_shared(const void *params, const ifd_args *args, int task) {
  const shared_layout_params *p = params;
  ifd_args to_shared = *args;
  void *out[1] = {(char *)args->shared + p->x_at};
  to_shared.out = out;
  run_layout(params, &to_shared, task);
}

typedef struct conv_packing {
  const struct ifd_k_conv_table *kernels;
  ifd_k_conv_plan plan;
  int n_shares; /* where each run packs */
  bool splat;
} conv_packing;

/* Plans that differ in batch, image or task split alone may share packed weights: what packing reads is kept
 * in the key. */
static void packing_of(const ifd_lower *x, const ifd_k_conv_plan *plan, conv_packing *out) {
  memset(out, 0, sizeof *out);
  out->kernels = ifd_k_conv(x->isa);
  out->plan.shape = plan->shape;
  out->plan.algo = plan->algo;
  out->plan.packed_len = plan->packed_len;
  for (int d = 0; d < IFD_K_DIMS; d++)
    out->plan.shape.in[d] = out->plan.shape.out[d] = out->plan.shape.pad[d] = 0;
}

static void pack_conv(void *to, const void *from, const void *params, int share, int n_shares) {
  const conv_packing *p = params;
  p->kernels->pack(&p->plan, from, p->splat, to, share, n_shares);
}

static void run_pack(const void *params, const ifd_args *args, int task) {
  const conv_packing *p = params;
  pack_conv(args->shared, args->in[1], params, task, p->n_shares);
}

/* Constant weights, packed once for the session. */
static ifd_status pack_once(ifd_lower *x, const float **out, int input, conv_packing *how) {
  const void *packed;
  how->splat = x->in[input]->splat;
  TRY(x->packed(x, &packed, x->in[input],
                &(ifd_packing){.pack = pack_conv,
                               .params = how,
                               .params_size = sizeof *how,
                               .bytes = how->plan.packed_len,
                               .takes_splat = true}));
  *out = packed;
  x->work->unread |= 1u << input;
  return IFD_OK;
}

/* Packed weights: once for the session where they are constant, otherwise by the run. */
static ifd_status place_weights(ifd_lower *x, conv_params *p) {
  enum { SHARE = 1 << 17 };
  conv_packing how;
  packing_of(x, &p->plan, &how);
  if (!x->constant[1]) {
    p->x_at = x->work->shared = (p->plan.packed_len + 63) & ~(size_t)63;
    how.n_shares = 1 + (int)ifd_min_i64((int64_t)(p->plan.packed_len / SHARE), 15);
    return ifd_lower_launch(x, run_pack, &how, sizeof how, how.n_shares, 0);
  }
  return pack_once(x, &p->packed, 1, &how);
}

static bool is_expanded(const ifd_lower *x) { return x->node->n_inputs > 6 && x->in[6]; }

/* The pointwise convolution before a depthwise one. */
static ifd_status place_expansion(ifd_lower *x, conv_params *p) {
  const ifd_k_conv_shape *s = &p->plan.shape;
  ifd_k_conv_shape before = {.c = s->before, .m = s->c, .groups = 1};
  ifd_k_conv_plan plan;
  conv_packing how;
  EXPECT(x->err,
         s->groups == s->c && s->groups == s->m && s->in[IFD_K_D] == 1 && s->kernel[IFD_K_D] == 1 &&
             x->constant[6],
         BAD_MODEL, "a Conv with an expansion is depthwise");
  for (int d = 0; d < IFD_K_DIMS; d++) {
    before.in[d] = before.out[d] = s->in[d];
    before.kernel[d] = before.stride[d] = before.dilation[d] = 1;
  }
  EXPECT(x->err, ifd_k_conv_plan_init(&plan, &before, IFD_K_CONV_DIRECT, 1, x->threads), LIMIT,
         "the convolution is larger than memory");
  packing_of(x, &plan, &how);
  p->expansion = ifd_epilogue_act(x->node, "expansion", "expansion_p", "expansion_rounding");
  p->has_expansion_bias = x->node->n_inputs > 7 && x->in[7];
  return pack_once(x, &p->packed_expansion, 6, &how);
}

/* The input, blocked by the run. */
static ifd_status place_input(ifd_lower *x, const conv_params *p, const ifd_shape *plain) {
  shared_layout_params block = {layout_of(x, plain, true), p->x_at};
  const layout_params *l = &block.layout;
  x->work->shared += (size_t)(plain->dim[0] * l->blocks * l->pixels * IFD_BLOCK) * sizeof(float);
  return ifd_lower_launch(x, run_block_to_shared, &block, sizeof block, plain->dim[0] * l->tasks, 0);
}

/* What tasks of the plan hand on to the others, behind the rest of shared memory. */
static ifd_status place_before(ifd_lower *x, conv_params *p) {
  p->before_at = (x->work->shared + 63) & ~(size_t)63;
  x->work->shared = p->before_at + p->plan.shared_len;
  return ifd_lower_launch(x, run_before, p, sizeof *p, p->plan.n_before, 0);
}

static ifd_status read_prologue(ifd_lower *x, conv_params *p) {
  const float *bounds;
  p->has_prologue = ifd_node_floats(x->node, "prologue", &bounds) == 2;
  if (!p->has_prologue) return IFD_OK;
  EXPECT(x->err, p->plan.algo == IFD_K_CONV_DIRECT && x->node->n_inputs == 6, BAD_MODEL,
         "a Conv with a prologue is direct");
  memcpy(p->bounds, bounds, sizeof p->bounds);
  return IFD_OK;
}

static ifd_status lower_conv_as(ifd_lower *x, bool transposed) {
  const ifd_tensor *in = x->in[0], *w = x->in[1];
  ifd_shape plain = plain_shape(x->node, &in->shape, &w->shape, transposed);
  ifd_window window;
  if (transposed)
    TRY(ifd_window_init_transposed(x->err, &window, x->node, &plain, &w->shape));
  else
    TRY(ifd_window_init(x->err, &window, x->node, &plain, &w->shape));
  int64_t groups = ifd_node_int(x->node, "group", 1),
          m = transposed ? w->shape.dim[1] * groups : w->shape.dim[0];
  ifd_k_conv_wish wish = {.exact = x->exact_conv,
                          .computed = !x->constant[1],
                          .plain_input = ifd_node_int(x->node, "plain_input", 0),
                          .plain_output = ifd_node_int(x->node, "plain_output", 0)};
  EXPECT(x->err, window.n <= IFD_K_DIMS, UNSUPPORTED, "blocked convolutions have at most three axes");
  if (ifd_shape_count(&x->out[0]->shape) == 0) return IFD_OK;
  ifd_k_conv_shape shape = ifd_conv_shape_of(&window, plain.dim[1], m, groups, transposed);
  shape.before = is_expanded(x) ? x->in[6]->shape.dim[1] : 0;
  ifd_k_conv_algo algo = shape.before ? IFD_K_CONV_EXPANDED : ifd_k_conv_choose(&shape, wish);
  conv_params p = {.kernels = ifd_k_conv(x->isa), .epilogue = ifd_epilogue_of(x->node)};
  EXPECT(x->err, ifd_k_conv_plan_init(&p.plan, &shape, algo, plain.dim[0], x->threads), LIMIT,
         "the convolution is larger than memory");
  p.has_bias = x->node->n_inputs > 2 && x->in[2];
  p.has_other = x->node->n_inputs > 3 && x->in[3];
  p.from_shared = wish.plain_input && !ifd_k_conv_reads_plain(algo);
  p.epilogue.other_rs = ifd_shape_span(&x->out[0]->shape, 1, x->out[0]->shape.rank);
  x->work->algorithm = ifd_k_conv_algo_name(algo);
  TRY(read_prologue(x, &p));
  TRY(place_weights(x, &p));
  if (shape.before) TRY(place_expansion(x, &p));
  if (p.from_shared) TRY(place_input(x, &p, &plain));
  if (p.plan.n_before) TRY(place_before(x, &p));
  return ifd_lower_launch(x, run_conv, &p, sizeof p, p.plan.n_tasks, p.plan.scratch_len);
}

static ifd_status lower_conv(ifd_lower *x) { return lower_conv_as(x, false); }
static ifd_status lower_conv_transpose(ifd_lower *x) { return lower_conv_as(x, true); }

static double cost_conv(const ifd_node *node, const ifd_shape *in, const ifd_shape *out) {
  double products = (double)ifd_shape_count(&out[0]) * (double)ifd_shape_span(&in[1], 1, in[1].rank);
  if (node->n_inputs <= 6) return products;
  double places = (double)ifd_shape_count(&in[0]) / ((double)in[0].dim[1] * IFD_BLOCK);
  return products + places * (double)ifd_shape_count(&in[6]);
}

static double cost_conv_transpose(const ifd_node *node, const ifd_shape *in, const ifd_shape *out) {
  (void)node, (void)out;
  return (double)ifd_shape_count(&in[0]) * (double)ifd_shape_span(&in[1], 1, in[1].rank);
}

static const char *batch_conv(const ifd_batch *b) { return (void)b, "pwwpw"; }

const ifd_op ifd_ops_blocked[] = {{.name = "Block",
                                   .domain = "infold",
                                   .infer = infer_block,
                                   .lower = lower_block,
                                   .batch = ifd_batch_each},
                                  {.name = "Unblock",
                                   .domain = "infold",
                                   .infer = infer_unblock,
                                   .lower = lower_unblock,
                                   .batch = ifd_batch_each},
                                  {.name = "Conv",
                                   .domain = "infold",
                                   .infer = infer_conv,
                                   .lower = lower_conv,
                                   .cost = cost_conv,
                                   .batch = batch_conv},
                                  {.name = "ConvTranspose",
                                   .domain = "infold",
                                   .infer = infer_conv_transpose,
                                   .lower = lower_conv_transpose,
                                   .cost = cost_conv_transpose,
                                   .batch = batch_conv},
                                  {0}};
