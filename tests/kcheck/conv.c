/* Convolutions: near a plain one in double, and the same bits for every ISA, batch and split into tasks. */
#include <stdio.h>

#include "kcheck/buffer.h"

#include "base/checked.h"
#include "kernels/conv/conv.h"
#include "kernels/conv/winograd.h"
#include "kernels/conv/winograd_line.h"
#include "kernels/kernels.h"
#include "kcheck/rounded.h"

typedef struct problem {
  ifd_k_conv_shape s;
  ifd_k_conv_algo algo;
  int64_t batch, x_planes, x_sample, y_sample;
  bool odd;                               /* NaN, Inf … in x */
  buffer planar, x, w, bias, other, want; /* planar and want are unblocked */
  ifd_k_epilogue e;
} problem;

static int64_t volume(const int64_t *n) { return n[0] * n[1] * n[2]; }
static int64_t blocks(int64_t c) { return (c + 15) / 16; }

static double sigmoid(double v) { return 1 / (1 + exp(-v)); }

static double activate(const ifd_k_epilogue *e, double v) {
  double line = v * e->p[0] + e->p[1], hard = line != line ? line : line < 0 ? 0 : line > 1 ? 1 : line;
  switch (e->act) {
  case IFD_K_ACT_CLIP: return v < e->p[0] ? e->p[0] : v > e->p[1] ? e->p[1] : v;
  case IFD_K_ACT_LEAKY_RELU: return v < 0 ? v * e->p[0] : v;
  case IFD_K_ACT_HARD_SIGMOID: return hard;
  case IFD_K_ACT_HARD_SWISH: return v * hard;
  case IFD_K_ACT_SIGMOID: return sigmoid(v);
  case IFD_K_ACT_SWISH: return v * sigmoid(e->p[0] * v);
  case IFD_K_ACT_TANH: return tanh(v);
  case IFD_K_ACT_GELU: return e->p[0] * v * 0.5 * erfc(-v * M_SQRT1_2);
  case IFD_K_ACT_GELU_TANH: return e->p[0] * v * sigmoid(2 * sqrt(2 / M_PI) * (v + 0.044715 * v * v * v));
  case IFD_K_ACT_ELU: return v < 0 ? e->p[0] * expm1(v) : v;
  case IFD_K_ACT_SOFTPLUS: return fmax(v, 0) + log1p(exp(-fabs(v)));
  case IFD_K_ACT_MISH: return v * tanh(fmax(v, 0) + log1p(exp(-fabs(v))));
  case IFD_K_ACT_ERF: return erf(v);
  case IFD_K_ACT_EXP: return exp(v);
  default: return v;
  }
}

/* Input that output o of an axis meets at a tap, or -1. */
static int64_t meets(const ifd_k_conv_shape *s, int d, int64_t o, int64_t tap) {
  int64_t i = s->transposed ? o + s->pad[d] - tap * s->dilation[d]
                            : o * s->stride[d] + tap * s->dilation[d] - s->pad[d];
  if (s->transposed) {
    if (i < 0 || i % s->stride[d]) return -1;
    i /= s->stride[d];
  }
  return i >= 0 && i < s->in[d] ? i : -1;
}

static double sum_at(const problem *p, int64_t n, int64_t m, const int64_t *o, double *size) {
  const ifd_k_conv_shape *s = &p->s;
  int64_t c_group = s->c / s->groups, m_group = s->m / s->groups, taps = volume(s->kernel), g = m / m_group;
  double sum = 0;
  for (int64_t t = 0; t < taps; t++) {
    int64_t tap[] = {t / s->kernel[2] / s->kernel[1], t / s->kernel[2] % s->kernel[1], t % s->kernel[2]},
            i[3];
    for (int d = 0; d < 3; d++) i[d] = meets(s, d, o[d], tap[d]);
    if (i[0] < 0 || i[1] < 0 || i[2] < 0) continue;
    for (int64_t c = 0; c < c_group; c++) {
      double x =
          p->planar
              .f[((n * s->c + g * c_group + c) * volume(s->in)) + (i[0] * s->in[1] + i[1]) * s->in[2] + i[2]];
      int64_t at = s->transposed ? (g * c_group + c) * m_group + m % m_group : m * c_group + c;
      sum += x * p->w.f[at * taps + t];
      *size += fabs(x * p->w.f[at * taps + t]);
    }
  }
  return sum;
}

static bool plain_output(const problem *p) { return ifd_k_conv_writes_plain(p->algo); }
static int64_t y_planes(const problem *p) { return plain_output(p) ? p->s.m : blocks(p->s.m) * 16; }

static int64_t y_at(const problem *p, int64_t n, int64_t m, int64_t pixel) {
  if (plain_output(p)) return n * p->y_sample + m * volume(p->s.out) + pixel;
  return n * p->y_sample + (m / 16 * volume(p->s.out) + pixel) * 16 + m % 16;
}

static void make_epilogue(problem *p, uint64_t *state) {
  static const float params[IFD_K_N_ACTS][2] = {[IFD_K_ACT_CLIP] = {0, 6},
                                                [IFD_K_ACT_LEAKY_RELU] = {.1f},
                                                [IFD_K_ACT_HARD_SIGMOID] = {.2f, .5f},
                                                [IFD_K_ACT_HARD_SWISH] = {1 / 6.f, .5f},
                                                [IFD_K_ACT_GELU] = {1},
                                                [IFD_K_ACT_GELU_TANH] = {2},
                                                [IFD_K_ACT_SWISH] = {1.5f},
                                                [IFD_K_ACT_ELU] = {.7f}};
  ifd_k_epilogue *e = &p->e;
  bool plain = rand_in(state, 0, 1);
  *e = (ifd_k_epilogue){.scale = plain || rand_in(state, 0, 1) ? 1 : .5f};
  e->act = (ifd_k_act)rand_in(state, 0, plain ? IFD_K_ACT_CLIP : IFD_K_ACT_ROUND_FLOAT16 - 1);
  memcpy(e->p, params[e->act], sizeof e->p);
  e->join = (ifd_k_join)rand_in(state, 0, plain ? IFD_K_JOIN_ADD : IFD_K_JOIN_MUL_ACT);
  random_rounding(e, state);
  e->other = p->other.f;
  e->bias = rand_in(state, 0, 1) ? p->bias.f : NULL;
}

static void block_input(problem *p) {
  const struct ifd_k_conv_table *t = ifd_k_conv(IFD_ISA_REF);
  int64_t plane = volume(p->s.in);
  for (int64_t n = 0; n < p->batch; n++)
    if (ifd_k_conv_reads_plain(p->algo))
      memcpy(p->x.f + n * p->x_sample, p->planar.f + n * p->s.c * plane,
             sizeof(float) * (size_t)(p->s.c * plane));
    else
      t->planar_to_blocked(p->x.f + n * p->x_sample, p->planar.f + n * p->s.c * plane, p->s.c, plane, 0,
                           blocks(p->s.c));
}

static problem make(const ifd_k_conv_shape *s, ifd_k_conv_algo algo, int64_t batch, bool odd,
                    uint64_t *state) {
  problem p = {.s = *s, .algo = algo, .batch = batch, .odd = odd};
  int64_t in = volume(s->in), out = volume(s->out);
  p.x_planes = ifd_k_conv_reads_plain(algo) ? s->c : blocks(s->c) * 16;
  p.x_sample = (p.x_planes + 16 * rand_in(state, 0, 1)) * in;
  p.y_sample = (y_planes(&p) + 16 * rand_in(state, 0, 1)) * out;
  p.planar = buffer_floats(batch * s->c * in);
  p.x = buffer_floats((batch - 1) * p.x_sample + p.x_planes * in);
  p.w = buffer_floats(s->c * (s->m / s->groups) * volume(s->kernel));
  p.bias = buffer_floats(s->m);
  p.other = buffer_floats((batch - 1) * p.y_sample + y_planes(&p) * out);
  p.want = buffer_floats(p.other.len / sizeof(float));
  buffer_fill(&p.planar, state, odd);
  buffer_fill(&p.w, state, odd && rand_in(state, 0, 1));
  buffer_fill(&p.bias, state, false);
  buffer_fill(&p.other, state, false);
  memset(p.x.f, 0, p.x.len);
  block_input(&p);
  make_epilogue(&p, state);
  return p;
}

static void drop(problem *p) {
  buffer *all[] = {&p->planar, &p->x, &p->w, &p->bias, &p->other, &p->want};
  for (int i = 0; i < 6; i++) buffer_free(all[i]);
}

static void describe(const problem *p, char *to, size_t size) {
  const ifd_k_conv_shape *s = &p->s;
  snprintf(to, size,
           "%s%s c %d m %d g %d in %dx%dx%d out %dx%dx%d k %dx%dx%d s %dx%dx%d d %dx%dx%d p %dx%dx%d batch "
           "%d act %d join %d rounding %d %d",
           ifd_k_conv_algo_name(p->algo), s->transposed ? " transposed" : "", (int)s->c, (int)s->m,
           (int)s->groups, (int)s->in[0], (int)s->in[1], (int)s->in[2], (int)s->out[0], (int)s->out[1],
           (int)s->out[2], (int)s->kernel[0], (int)s->kernel[1], (int)s->kernel[2], (int)s->stride[0],
           (int)s->stride[1], (int)s->stride[2], (int)s->dilation[0], (int)s->dilation[1],
           (int)s->dilation[2], (int)s->pad[0], (int)s->pad[1], (int)s->pad[2], (int)p->batch, p->e.act,
           p->e.join, p->e.rounding, p->e.rounds_sums);
}

/* y of `batch` samples from the n-th on; split: in smaller tasks than planned. */
static buffer run(const problem *p, ifd_isa isa, int64_t n, int64_t batch, uint64_t *split) {
  ifd_k_conv_plan plan;
  assert_true(ifd_k_conv_plan_init(&plan, &p->s, p->algo, batch, n ? 2 : 1));
  if (split) {
    int64_t most = plan.rows, blocks = rand_in(split, 1, plan.blocks);
    if (blocks < plan.blocks && p->algo <= IFD_K_CONV_WINOGRAD_2_HALF && p->algo > IFD_K_CONV_DIRECT)
      most = ifd_winograd_sizes_of_plan(&plan).at_once; /* fewer blocks would have more tiles in scratch */
    if (!plan.n_before) plan.rows = rand_in(split, 1, most);
    plan.blocks = blocks, plan.block_unit = 1;
    plan.rows_first = rand_in(split, 0, 1) != 0;
    plan.row_tasks = (plan.n_rows + plan.rows - 1) / plan.rows;
    plan.block_tasks = (plan.n_blocks + plan.blocks - 1) / plan.blocks;
    plan.n_tasks = (plan.spans_batch ? 1 : batch) * plan.n_parts * plan.row_tasks * plan.block_tasks;
  }
  bool in_place = p->e.join && rand_in(split, 0, 1);
  buffer y = buffer_floats((batch - 1) * p->y_sample + y_planes(p) * volume(p->s.out));
  buffer packed = buffer_new(plan.packed_len), scratch = buffer_new(plan.scratch_len);
  buffer shared = buffer_new(plan.shared_len);
  ifd_k_conv(isa)->pack(&plan, p->w.f, false, packed.f, 0, 1);
  ifd_k_epilogue e = p->e;
  e.other = p->other.f + n * p->y_sample;
  e.other_rs = p->y_sample;
  if (in_place) {
    memcpy(y.f, e.other, y.len);
    e.other = y.f;
  }
  ifd_k_conv_args args = {.x = p->x.f + n * p->x_sample,
                          .x_sample = p->x_sample,
                          .y = y.f,
                          .y_sample = p->y_sample,
                          .packed = packed.f,
                          .shared = shared.f,
                          .epilogue = &e};
  for (int64_t task = plan.n_before; task-- > 0;) ifd_k_conv(isa)->before(&plan, &args, task);
  for (int64_t task = plan.n_tasks; task-- > 0;) ifd_k_conv(isa)->run(&plan, &args, task, scratch.f);
  buffer_free(&packed);
  buffer_free(&scratch);
  buffer_free(&shared);
  return y;
}

static const ifd_k_conv_algo winograds[] = {IFD_K_CONV_WINOGRAD, IFD_K_CONV_WINOGRAD_2,
                                            IFD_K_CONV_WINOGRAD_HALF, IFD_K_CONV_WINOGRAD_2_HALF,
                                            IFD_K_CONV_WINOGRAD_LINE};

static bool is_winograd(ifd_k_conv_algo algo) {
  for (int i = 0; i < 5; i++)
    if (winograds[i] == algo) return true;
  return false;
}

/* Winograd's error follows the largest elements, not the sum's own terms. */
static void check_values(const problem *p, const buffer *y) {
  const ifd_k_conv_shape *s = &p->s;
  for (int64_t n = 0; n < p->batch; n++)
    for (int64_t m = 0; m < y_planes(p); m++)
      for (int64_t o = 0; o < volume(s->out); o++) {
        float got = y->f[y_at(p, n, m, o)];
        if (m >= s->m) {
          assert_true(got == 0);
          continue;
        }
        double size = 1;
        double v = sum_at(
            p, n, m, (int64_t[]){o / s->out[2] / s->out[1], o / s->out[2] % s->out[1], o % s->out[2]}, &size);
        double other = p->other.f[y_at(p, n, m, o)];
        v = v * p->e.scale + (p->e.bias ? p->e.bias[m] : 0);
        if (p->e.join == IFD_K_JOIN_ADD) v += other;
        double steep = p->e.act == IFD_K_ACT_EXP ? exp(v) : 1;
        v = activate(&p->e, v);
        v = p->e.join == IFD_K_JOIN_ADD_ACT ? v + other : p->e.join == IFD_K_JOIN_MUL_ACT ? v * other : v;
        double error =
            is_winograd(p->algo) ? 1e-5 * sqrt((double)(s->c * s->kernel[0])) + 1e-6 * size : 1e-6 * size;
        if (!(fabs(got - v) <= error * (1 + fabs(v)) * (1 + steep))) {
          char text[300];
          describe(p, text, sizeof text);
          fail_msg("%s: sample %d channel %d pixel %d is %g, not %g", text, (int)n, (int)m, (int)o, got, v);
        }
      }
}

/* The sums, and what is made of each in float. */
static void check_rounded(const problem *p, const buffer *y, uint64_t *state) {
  const ifd_k_epilogue *e = &p->e;
  problem plain = *p;
  plain.e = (ifd_k_epilogue){.scale = 1};
  buffer sums = run(&plain, IFD_ISA_REF, 0, p->batch, state);
  for (int64_t n = 0; n < p->batch; n++)
    for (int64_t m = 0; m < p->s.m; m++)
      for (int64_t o = 0; o < volume(p->s.out); o++) {
        int64_t at = y_at(p, n, m, o);
        float v = sums.f[at] * e->scale, other = p->other.f[at];
        if (e->rounds_sums) v = rounded(e, v);
        v = rounded(e, v + (e->bias ? e->bias[m] : 0));
        if (e->join == IFD_K_JOIN_ADD) v = rounded(e, v + other);
        v = rounded(e, exactly_activated(e, v));
        if (e->join > IFD_K_JOIN_ADD) v = rounded(e, e->join == IFD_K_JOIN_ADD_ACT ? v + other : v * other);
        if (v == y->f[at]) continue;
        char text[300];
        describe(p, text, sizeof text);
        fail_msg("%s: sample %d channel %d pixel %d is %a, not %a", text, (int)n, (int)m, (int)o, y->f[at],
                 v);
      }
  buffer_free(&sums);
}

static void check_same(const problem *p, const buffer *a, const buffer *b, int64_t n, int64_t batch,
                       const char *what) {
  int64_t len = y_planes(p) * volume(p->s.out);
  for (int64_t i = 0; i < batch; i++)
    if (!same_floats(a->f + (n + i) * p->y_sample, b->f + i * p->y_sample, len)) {
      char text[300];
      describe(p, text, sizeof text);
      fail_msg("%s: other bits %s", text, what);
    }
}

static void check_packed(const problem *p, const ifd_k_conv_plan *plan, ifd_isa isa, bool splat,
                         const buffer *want) {
  enum { SHARES = 3 };
  buffer got = buffer_new(plan->packed_len);
  for (int share = SHARES; share-- > 0;) ifd_k_conv(isa)->pack(plan, p->w.f, splat, got.f, share, SHARES);
  assert_true(same_floats(want->f, got.f, (int64_t)(plan->packed_len / sizeof(float))));
  buffer_free(&got);
}

/* In shares, on every ISA and of one number for all as `ref` packs the whole at once. */
static void check_packing(problem *p) {
  ifd_k_conv_plan plan;
  assert_true(ifd_k_conv_plan_init(&plan, &p->s, p->algo, 1, 2));
  buffer want = buffer_new(plan.packed_len);
  for (int splat = 0; splat < 2; splat++) {
    for (size_t i = 1; splat && i < p->w.len / sizeof(float); i++) p->w.f[i] = p->w.f[0];
    ifd_k_conv(IFD_ISA_REF)->pack(&plan, p->w.f, false, want.f, 0, 1);
    for (ifd_isa isa = IFD_ISA_REF; isa <= ifd_cpu_isa(); isa++) check_packed(p, &plan, isa, splat, &want);
  }
  buffer_free(&want);
}

static void check(const ifd_k_conv_shape *s, ifd_k_conv_algo algo, int64_t batch, uint64_t *state) {
  problem p = make(s, algo, batch, rand_in(state, 0, 3) == 0, state);
  buffer want = run(&p, IFD_ISA_REF, 0, batch, state);
  if (!p.odd && p.e.rounding) check_rounded(&p, &want, state);
  if (!p.odd && !p.e.rounding) check_values(&p, &want);
  for (ifd_isa isa = IFD_ISA_AVX2; isa <= ifd_cpu_isa(); isa++) {
    buffer y = run(&p, isa, 0, batch, state);
    check_same(&p, &want, &y, 0, batch, ifd_isa_name(isa));
    buffer_free(&y);
    int64_t n = rand_in(state, 0, batch - 1);
    y = run(&p, isa, n, 1, state);
    check_same(&p, &want, &y, n, 1, "of a sample alone");
    buffer_free(&y);
  }
  buffer_free(&want);
  check_packing(&p);
  drop(&p);
}

/* A random dimension: kernel up to k_most. */
static void random_axis(ifd_k_conv_shape *s, int d, int64_t k_most, uint64_t *state) {
  do {
    s->in[d] = rand_in(state, 1, 20);
    s->kernel[d] = rand_in(state, 1, k_most), s->stride[d] = rand_in(state, 1, 3);
    s->dilation[d] = rand_in(state, 0, 3) ? 1 : rand_in(state, 2, 3);
    int64_t reach = (s->kernel[d] - 1) * s->dilation[d];
    int64_t pads = rand_in(state, s->transposed ? -4 : 0, reach); /* below 0: outputs that no tap meets */
    s->pad[d] = pads < 0 ? rand_in(state, pads, 0) : rand_in(state, 0, pads);
    int64_t more = s->transposed ? rand_in(state, 0, s->stride[d] - 1) : 0; /* output_padding */
    s->out[d] = s->transposed ? (s->in[d] - 1) * s->stride[d] + reach + 1 + more - pads
                              : (s->in[d] + pads - reach - 1) / s->stride[d] + 1;
    if (!s->transposed && s->in[d] + pads < reach + 1) s->out[d] = 0;
  } while (s->out[d] < 1 || s->out[d] > 40);
}

static void flat_axis(ifd_k_conv_shape *s, int d) {
  s->in[d] = s->out[d] = s->kernel[d] = s->stride[d] = s->dilation[d] = 1, s->pad[d] = 0;
}

static ifd_k_conv_shape random_shape(int dims, bool transposed, uint64_t *state) {
  ifd_k_conv_shape s = {.transposed = transposed, .groups = 1};
  for (int d = 0; d < 3; d++) {
    if (d < 3 - dims)
      flat_axis(&s, d);
    else
      random_axis(&s, d, dims == 3 ? 3 : 7, state);
  }
  return s;
}

/* As the planner would choose, and what else can compute it. */
static void check_all(const ifd_k_conv_shape *s, uint64_t *state) {
  int64_t batch = rand_in(state, 1, 3);
  ifd_k_conv_algo algo = ifd_k_conv_choose(s, (ifd_k_conv_wish){.plain_input = true}),
                  exact = ifd_k_conv_choose(s, (ifd_k_conv_wish){.exact = true});
  check(s, algo, batch, state);
  if (exact != algo) check(s, exact, batch, state);
  if (rand_in(state, 0, 3) == 0) check(s, IFD_K_CONV_GROUPED, batch, state);
  if (rand_in(state, 0, 1)) check(s, IFD_K_CONV_DIRECT, batch, state);
  if (s->groups == 1 && !s->transposed) check(s, IFD_K_CONV_PLANAR, batch, state);
  if (s->transposed) check(s, IFD_K_CONV_PHASES, batch, state);
  if (s->groups == 1 && s->transposed) check(s, IFD_K_CONV_PHASES_OUT, batch, state);
}

static void dense(void **unused) {
  (void)unused;
  uint64_t state = 1;
  for (int i = 0; i < 150; i++) {
    ifd_k_conv_shape s = random_shape((int)rand_in(&state, 1, 2), rand_in(&state, 0, 3) == 0, &state);
    s.c = rand_in(&state, 1, 40), s.m = rand_in(&state, 1, 70);
    check_all(&s, &state);
  }
}
static void volumes(void **unused) {
  (void)unused;
  uint64_t state = 2;
  for (int i = 0; i < 25; i++) {
    ifd_k_conv_shape s = random_shape(3, rand_in(&state, 0, 2) == 0, &state);
    for (int d = 0; d < 3; d++) /* smaller */
      if (s.in[d] > 8) s.in[d] = 8, s.kernel[d] = s.stride[d] = s.dilation[d] = 1, s.pad[d] = 0, s.out[d] = 8;
    s.c = rand_in(&state, 1, 20), s.m = rand_in(&state, 1, 40);
    if (rand_in(&state, 0, 2) == 0) s.c = s.m = s.groups = rand_in(&state, 1, 40);
    check_all(&s, &state);
  }
}
static void groups(void **unused) {
  (void)unused;
  uint64_t state = 3;
  for (int i = 0; i < 150; i++) {
    ifd_k_conv_shape s = random_shape((int)rand_in(&state, 1, 2), rand_in(&state, 0, 3) == 0, &state);
    s.groups = rand_in(&state, 2, 40);
    int64_t kind = rand_in(&state, 0, 3), wide = rand_in(&state, 0, 2) ? 5 : 40;
    if (wide > 5) s.groups = rand_in(&state, 2, 5);
    s.c = s.groups * (kind == 0 ? rand_in(&state, 1, wide) : 1);
    s.m = s.groups * (kind <= 1 ? rand_in(&state, 1, wide) : 1);
    if (kind == 3) s.groups = 2, s.c = 32, s.m = 64;
    check_all(&s, &state);
  }
}
static void windows_of_three(void **unused) {
  (void)unused;
  uint64_t state = 4;
  for (int i = 0; i < 120; i++) {
    ifd_k_conv_shape s = {.c = rand_in(&state, 1, 50), .m = rand_in(&state, 1, 70), .groups = 1};
    bool deep = rand_in(&state, 0, 4) == 0, dilated = rand_in(&state, 0, 2) != 0;
    int64_t most = dilated ? 30 : deep ? 9 : 19;
    flat_axis(&s, IFD_K_D);
    if (deep) s.in[0] = 3, s.kernel[0] = 2, s.pad[0] = 1, s.out[0] = 3;
    for (int d = 1; d < 3; d++) {
      s.kernel[d] = 3, s.stride[d] = 1, s.dilation[d] = dilated ? rand_in(&state, 1, 5) : 1;
      int64_t reach = 2 * s.dilation[d];
      s.pad[d] = rand_in(&state, 0, reach);
      s.in[d] = rand_in(&state, 1 + reach - s.pad[d], most);
      s.out[d] = s.in[d] - reach + s.pad[d] + rand_in(&state, 0, s.dilation[d]);
    }
    check(&s, winograds[i % 4], rand_in(&state, 1, 3), &state);
    if (i % 4 == 0) check(&s, IFD_K_CONV_DIRECT, 1, &state);
  }
}
/* Groups that begin and end within blocks; few or many, the last part of which may have fewer. */
static void odd_channels(ifd_k_conv_shape *s, uint64_t *state) {
  int64_t most = rand_in(state, 0, 1) ? 5 : 30;
  s->groups = rand_in(state, 2, most > 5 ? 5 : 40);
  s->c = s->groups * rand_in(state, 1, most), s->m = s->groups * rand_in(state, 1, most);
}
/* Groups of whole blocks. */
static void group_channels(ifd_k_conv_shape *s, uint64_t *state) {
  s->groups = rand_in(state, 2, 3);
  s->c = 16 * rand_in(state, 1, 2) * s->groups, s->m = 16 * rand_in(state, 1, 3) * s->groups;
}
static void groups_of_three(void **unused) {
  (void)unused;
  uint64_t state = 12;
  for (int i = 0; i < 120; i++) {
    ifd_k_conv_shape s = {0};
    flat_axis(&s, IFD_K_D);
    for (int d = 1; d < 3; d++) {
      s.kernel[d] = 3, s.stride[d] = 1, s.dilation[d] = rand_in(&state, 1, 1 + i % 2);
      s.pad[d] = s.dilation[d], s.in[d] = s.out[d] = rand_in(&state, 1, 15);
    }
    if (i % 3 == 0) s.in[0] = 2, s.kernel[0] = 2;
    (i < 40 ? group_channels : odd_channels)(&s, &state);
    check(&s, winograds[i % 4], rand_in(&state, 1, 3), &state);
  }
}
/* The last part has fewer groups than the others, and so more tiles in hand. */
static void few_groups_at_last(void **unused) {
  (void)unused;
  uint64_t state = 13;
  for (int i = 0; i < 4; i++) {
    ifd_k_conv_shape s = {.groups = 3, .c = 3 * 24, .m = 3 * 24};
    flat_axis(&s, IFD_K_D);
    for (int d = 1; d < 3; d++)
      s.kernel[d] = 3, s.stride[d] = s.dilation[d] = s.pad[d] = 1, s.in[d] = s.out[d] = 30 + 7 * i;
    check(&s, winograds[i], 1, &state);
  }
}
/* Winograd's algorithm along one axis: kernels of one and of several parts, dilated, with taps and strides of
 * the other axes. */
static void lines(void **unused) {
  (void)unused;
  uint64_t state = 10;
  for (int i = 0; i < 100; i++) {
    ifd_k_conv_shape s = {.c = rand_in(&state, 1, 50), .m = rand_in(&state, 1, 70), .groups = 1};
    int axis = i % 2 ? IFD_K_W : (int)rand_in(&state, 0, 2), n_other = (int)rand_in(&state, 0, 2);
    for (int d = 0; d < 3; d++) flat_axis(&s, d);
    for (int d = 0; d < n_other; d++) random_axis(&s, d + (d >= axis), 2, &state);
    s.kernel[axis] = rand_in(&state, 2, 12), s.dilation[axis] = rand_in(&state, 1, 1 + 4 * (i % 3));
    int64_t reach = (s.kernel[axis] - 1) * s.dilation[axis];
    if (s.dilation[axis] == 1) s.stride[axis] = rand_in(&state, 1, s.kernel[axis] / 2 + 1);
    s.pad[axis] = rand_in(&state, 0, reach + 2), s.out[axis] = rand_in(&state, 1, n_other ? 12 : 300);
    s.in[axis] = (s.out[axis] - 1) * s.stride[axis] + 1 + reach - s.pad[axis] - rand_in(&state, 0, reach);
    if (s.in[axis] < 1) s.in[axis] = 1;
    if (ifd_winograd_line_cut_of(&s).axis < 0) continue;
    if (i % 5 == 0) group_channels(&s, &state);
    check(&s, IFD_K_CONV_WINOGRAD_LINE, rand_in(&state, 1, 3), &state);
  }
}
/* One line, dilated so far that many taps lie in the padding; some outputs meet no other. */
static void far_taps(void **unused) {
  (void)unused;
  uint64_t state = 11;
  for (int i = 0; i < 60; i++) {
    ifd_k_conv_shape s = {.groups = i % 4 ? 1 : 2};
    for (int d = 0; d < 3; d++) flat_axis(&s, d);
    s.c = 16 * rand_in(&state, 1, 3) * s.groups, s.m = 16 * rand_in(&state, 1, 4) * s.groups;
    s.in[2] = rand_in(&state, 2, 150), s.kernel[2] = rand_in(&state, 2, 7);
    s.dilation[2] = rand_in(&state, 1, 1 + s.in[2]), s.stride[2] = rand_in(&state, 1, 2);
    int64_t reach = (s.kernel[2] - 1) * s.dilation[2], pads = reach + rand_in(&state, 0, 9);
    s.pad[2] = rand_in(&state, 0, 2) ? pads / 2 : pads;
    s.out[2] = (s.in[2] + pads - reach - 1) / s.stride[2] + 1;
    check(&s, IFD_K_CONV_DIRECT, rand_in(&state, 1, 2), &state);
  }
}
/* Unblocked images: strides of kernels made for them and others, long lines and kernels. */
static void unblocked(void **unused) {
  (void)unused;
  uint64_t state = 5;
  for (int i = 0; i < 60; i++) {
    ifd_k_conv_shape s = random_shape(2, false, &state);
    if (i % 4 == 0) {
      s.in[2] = rand_in(&state, 60, 400), s.kernel[2] = rand_in(&state, 1, 50),
      s.stride[2] = rand_in(&state, 1, 20);
      s.dilation[2] = 1, s.pad[2] = rand_in(&state, 0, s.kernel[2] - 1);
      s.out[2] = (s.in[2] + s.pad[2] - s.kernel[2]) / s.stride[2] + 1;
    }
    s.c = rand_in(&state, 1, i % 4 ? 15 : 3), s.m = rand_in(&state, 1, i % 2 ? 8 : 70);
    check(&s, i % 2 ? IFD_K_CONV_PLANAR : IFD_K_CONV_FIRST, rand_in(&state, 1, 2), &state);
  }
}
/* Windows of few channels as rows of a product: lines, patches and cubes, padded or not. */
static void frames(void **unused) {
  (void)unused;
  uint64_t state = 9;
  for (int i = 0; i < 60; i++) {
    ifd_k_conv_shape s = {.groups = 1};
    int n = (int)rand_in(&state, 1, 3);
    int64_t longest = n == 1 ? 300 : n == 2 ? 20 : 6, most = n == 1 ? 60 : n == 2 ? 9 : 4;
    for (int d = 0; d < 3 - n; d++) flat_axis(&s, d);
    for (int d = 3 - n; d < 3; d++) {
      s.kernel[d] = rand_in(&state, 1, longest);
      s.dilation[d] = d < IFD_K_W ? rand_in(&state, 1, 2) : 1;
      int64_t reach = (s.kernel[d] - 1) * s.dilation[d];
      s.stride[d] = rand_in(&state, 1, s.kernel[d]), s.pad[d] = rand_in(&state, 0, reach);
      s.out[d] = rand_in(&state, 1, most);
      s.in[d] =
          ifd_max_i64(1, (s.out[d] - 1) * s.stride[d] + reach + 1 - s.pad[d] - rand_in(&state, 0, reach));
    }
    s.c = rand_in(&state, 1, 5), s.m = rand_in(&state, 1, 80);
    check(&s, IFD_K_CONV_FRAMES, rand_in(&state, 1, 2), &state);
  }
}
/* Depthwise of few taps side by side and of many, most outputs near an edge. */
static void depthwise(void **unused) {
  (void)unused;
  uint64_t state = 10;
  for (int i = 0; i < 120; i++) {
    ifd_k_conv_shape s = {.c = rand_in(&state, 1, 20)};
    const bool wide = i % 3 == 0;
    flat_axis(&s, IFD_K_D);
    for (int d = IFD_K_H; d < 3; d++) {
      int64_t k = s.kernel[d] = rand_in(&state, wide && d == IFD_K_W ? 8 : 1, wide ? 33 : 7);
      s.stride[d] = rand_in(&state, 0, 3) ? 1 : 2, s.dilation[d] = rand_in(&state, 0, 3) ? 1 : 2;
      s.pad[d] = rand_in(&state, 0, (k - 1) * s.dilation[d]);
      s.in[d] = rand_in(&state, ifd_max_i64(1, (k - 1) * s.dilation[d] + 1 - s.pad[d]), 70);
      s.out[d] =
          (s.in[d] + s.pad[d] + rand_in(&state, 0, k / 2) - (k - 1) * s.dilation[d] - 1) / s.stride[d] + 1;
    }
    s.m = s.groups = s.c;
    check(&s, IFD_K_CONV_DEPTHWISE, 1, &state);
  }
}
/* Many phases of few channels: a vocoder's. */
static void many_phases(void **unused) {
  (void)unused;
  uint64_t state = 8;
  for (int i = 0; i < 20; i++) {
    ifd_k_conv_shape s = {.transposed = true, .groups = 1};
    for (int d = 0; d < 3; d++) flat_axis(&s, d);
    s.c = rand_in(&state, 1, 40), s.m = rand_in(&state, 1, 3);
    s.in[2] = rand_in(&state, 1, 150), s.stride[2] = rand_in(&state, 8, 300);
    s.kernel[2] = rand_in(&state, 1, 3 * s.stride[2]), s.pad[2] = rand_in(&state, 0, s.kernel[2] - 1);
    s.out[2] = (s.in[2] - 1) * s.stride[2] + s.kernel[2] - s.pad[2];
    if (s.out[2] < 1) continue;
    check(&s, IFD_K_CONV_PHASES, 2, &state);
    check(&s, IFD_K_CONV_PHASES_OUT, 2, &state);
  }
}
/* More than one block of k, rows and columns of the product. */
static void large(void **unused) {
  (void)unused;
  uint64_t state = 6;
  ifd_k_conv_shape s = {.c = 70, .m = 300, .groups = 1};
  for (int d = 0; d < 3; d++) flat_axis(&s, d);
  s.in[1] = 13, s.in[2] = 11, s.kernel[1] = s.kernel[2] = 3, s.out[1] = 11, s.out[2] = 9;
  check(&s, IFD_K_CONV_DIRECT, 1, &state);
  for (int i = 0; i < 4; i++) check(&s, winograds[i], 2, &state);
  s.in[0] = 3, s.kernel[0] = 2, s.out[0] = 2; /* taps of depth, too */
  check(&s, IFD_K_CONV_WINOGRAD, 1, &state);
  check(&s, IFD_K_CONV_WINOGRAD_HALF, 1, &state);
  s.c = 600, s.m = 40; /* panels that do not stay in L1 */
  check(&s, IFD_K_CONV_WINOGRAD_2, 1, &state);
  check(&s, IFD_K_CONV_WINOGRAD_2_HALF, 1, &state);
  for (int d = 0; d < 3; d++) flat_axis(&s, d); /* groups that begin at a lane, several blocks of k */
  s.in[1] = s.out[1] = 7, s.in[2] = s.out[2] = 5;
  s.groups = 3, s.c = 3 * 1100, s.m = 3 * 37;
  check(&s, IFD_K_CONV_DIRECT, 2, &state);
}

static void layouts(void **unused) {
  (void)unused;
  uint64_t state = 7;
  for (int i = 0; i < 60; i++) {
    int64_t c = rand_in(&state, 1, 50), n = rand_in(&state, 1, 40), b = blocks(c);
    buffer x = buffer_floats(c * n), back = buffer_floats(c * n), y = buffer_floats(b * 16 * n);
    buffer_fill(&x, &state, true);
    for (ifd_isa isa = IFD_ISA_REF; isa <= ifd_cpu_isa(); isa++)
      for (int pixels = 0; pixels < 2; pixels++) {
        const struct ifd_k_conv_table *t = ifd_k_conv(isa);
        int64_t end = pixels ? n : b, cut = rand_in(&state, 0, end);
        for (int half = 0; half < 2; half++)
          (pixels ? t->pixels_to_blocked : t->planar_to_blocked)(y.f, x.f, c, n, half ? cut : 0,
                                                                 half ? end : cut);
        for (int64_t k = 0; k < b * 16 * n; k++) {
          int64_t channel = k / (16 * n) * 16 + k % 16, p = k / 16 % n;
          float want = channel < c ? x.f[pixels ? p * c + channel : channel * n + p] : 0;
          assert_true(same_floats(&y.f[k], &want, 1));
        }
        for (int half = 0; half < 2; half++)
          (pixels ? t->blocked_to_pixels : t->blocked_to_planar)(back.f, y.f, c, n, half ? cut : 0,
                                                                 half ? end : cut);
        assert_true(same_floats(back.f, x.f, c * n));
      }
    buffer_free(&x), buffer_free(&back), buffer_free(&y);
  }
}

/* Lanes of up to 16 blocks, each taken by one lane or by none. */
static void picks(void **unused) {
  (void)unused;
  uint64_t state = 8;
  for (int i = 0; i < 60; i++) {
    int64_t pixels = rand_in(&state, 1, 150), n = rand_in(&state, 1, i % 2 ? 4 : 16);
    buffer x = buffer_floats(n * pixels * 16), y = buffer_floats(pixels * 16);
    ifd_k_lanes lanes[16];
    int64_t at[16];
    buffer_fill(&x, &state, true);
    for (int64_t b = 0; b < n; b++) {
      lanes[b].x = x.f + b * pixels * 16;
      memset(lanes[b].from, -1, sizeof lanes->from);
    }
    for (int l = 0; l < 16; l++) {
      int64_t block = rand_in(&state, 0, n - 1), lane = rand_in(&state, -2, 15);
      at[l] = lane < 0 ? -1 : block * pixels * 16 + lane;
      if (lane >= 0) lanes[block].from[l] = (int32_t)lane;
    }
    for (ifd_isa isa = IFD_ISA_REF; isa <= ifd_cpu_isa(); isa++) {
      ifd_k_conv(isa)->pick(y.f, lanes, (int)n, pixels);
      for (int64_t k = 0; k < pixels * 16; k++) {
        float want = at[k % 16] < 0 ? 0 : x.f[at[k % 16] + k / 16 * 16];
        assert_true(same_floats(&y.f[k], &want, 1));
      }
    }
    buffer_free(&x), buffer_free(&y);
  }
}

static void sizes_overflow(void **unused) {
  (void)unused;
  ifd_k_conv_plan plan;
  ifd_k_conv_shape s = {.c = INT64_MAX / 2, .m = INT64_MAX / 2, .groups = 1};
  for (int d = 0; d < 3; d++) flat_axis(&s, d);
  assert_false(ifd_k_conv_plan_init(&plan, &s, IFD_K_CONV_DIRECT, 1, 2));
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(layouts),         cmocka_unit_test(dense),
                                     cmocka_unit_test(volumes),         cmocka_unit_test(groups),
                                     cmocka_unit_test(unblocked),       cmocka_unit_test(windows_of_three),
                                     cmocka_unit_test(groups_of_three), cmocka_unit_test(few_groups_at_last),
                                     cmocka_unit_test(large),           cmocka_unit_test(many_phases),
                                     cmocka_unit_test(frames),          cmocka_unit_test(lines),
                                     cmocka_unit_test(far_taps),        cmocka_unit_test(depthwise),
                                     cmocka_unit_test(picks),           cmocka_unit_test(sizes_overflow)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
