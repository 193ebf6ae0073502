/* A pointwise convolution and the depthwise one behind it as one: the bits of the two, one after another, for
 * every ISA, batch and split into tasks. */
#include "kcheck/buffer.h"

#include "base/checked.h"
#include "kernels/conv/conv.h"
#include "kernels/kernels.h"

static int64_t volume(const int64_t *n) { return n[0] * n[1] * n[2]; }
static int64_t blocked(int64_t c, const int64_t *size) { return (c + 15) / 16 * 16 * volume(size); }

static void flat(ifd_k_conv_shape *s, int d) {
  s->in[d] = s->out[d] = s->kernel[d] = s->stride[d] = s->dilation[d] = 1;
}

static ifd_k_conv_shape depthwise(uint64_t *state) {
  ifd_k_conv_shape s = {.c = rand_in(state, 2, 75), .before = rand_in(state, 1, 70)};
  s.m = s.groups = s.c;
  flat(&s, IFD_K_D);
  do {
    s.in[IFD_K_H] = rand_in(state, 1, 50), s.in[IFD_K_W] = rand_in(state, 1, 120);
    for (int d = IFD_K_H; d <= IFD_K_W; d++) {
      s.kernel[d] = rand_in(state, 1, 5), s.stride[d] = rand_in(state, 1, 3),
      s.dilation[d] = rand_in(state, 1, 2);
      s.pad[d] = rand_in(state, 0, s.kernel[d]);
      int64_t room =
          s.in[d] + s.pad[d] + rand_in(state, 0, s.kernel[d]) - (s.kernel[d] - 1) * s.dilation[d] - 1;
      s.out[d] = room < 0 ? 0 : room / s.stride[d] + 1;
    }
  } while (volume(s.out) == 0);
  return s;
}

/* What makes its input. */
static ifd_k_conv_shape pointwise(const ifd_k_conv_shape *s) {
  ifd_k_conv_shape p = {.c = s->before, .m = s->c, .groups = 1};
  for (int d = 0; d < IFD_K_DIMS; d++) {
    flat(&p, d);
    p.in[d] = p.out[d] = s->in[d];
  }
  return p;
}

static buffer pack(const ifd_k_conv_plan *plan, const buffer *w, ifd_isa isa) {
  buffer packed = buffer_new(plan->packed_len);
  ifd_k_conv(isa)->pack(plan, w->f, false, packed.f, 0, 1);
  return packed;
}

static ifd_k_conv_plan plan_of(const ifd_k_conv_shape *s, ifd_k_conv_algo algo, int64_t batch) {
  ifd_k_conv_plan plan;
  assert_true(ifd_k_conv_plan_init(&plan, s, algo, batch, 2));
  return plan;
}

static void split_anew(ifd_k_conv_plan *p, uint64_t *state) {
  p->rows = rand_in(state, 1, p->rows), p->blocks = rand_in(state, 1, p->blocks), p->block_unit = 1;
  p->row_tasks = (p->n_rows + p->rows - 1) / p->rows;
  p->block_tasks = (p->n_blocks + p->blocks - 1) / p->blocks;
  p->n_tasks = p->batch * p->row_tasks * p->block_tasks;
}

/* The batch's y, of the plan's algorithm. */
static buffer run(const ifd_k_conv_plan *plan, const buffer *packed, const buffer *x, const ifd_k_epilogue *e,
                  const ifd_k_expansion *expansion, ifd_isa isa) {
  buffer y = buffer_floats(plan->batch * blocked(plan->shape.m, plan->shape.out));
  buffer scratch = buffer_new(plan->scratch_len);
  ifd_k_conv_args args = {.x = x->f, .y = y.f, .packed = packed->f, .epilogue = e, .expansion = expansion};
  for (int64_t task = plan->n_tasks; task-- > 0;) ifd_k_conv(isa)->run(plan, &args, task, scratch.f);
  buffer_free(&scratch);
  return y;
}

static void check(const ifd_k_conv_shape *s, int64_t batch, uint64_t *state) {
  ifd_k_conv_shape before = pointwise(s), after = *s;
  after.before = 0;
  buffer x = buffer_floats(batch * blocked(s->before, s->in)), w1 = buffer_floats(s->before * s->c),
         w2 = buffer_floats(s->c * volume(s->kernel)), bias = buffer_floats(s->c);
  buffer *filled[] = {&x, &w1, &w2, &bias};
  for (int i = 0; i < 4; i++) buffer_fill(filled[i], state, false);
  static const ifd_k_act acts[] = {IFD_K_ACT_NONE, IFD_K_ACT_CLIP, IFD_K_ACT_HARD_SWISH};
  ifd_k_epilogue e1 = {.scale = 1, .act = acts[rand_in(state, 0, 2)], .p = {.1f, .5f}}, e2 = e1;
  e1.bias = rand_in(state, 0, 1) ? bias.f : NULL, e2.act = acts[rand_in(state, 0, 2)];
  buffer want = {0};
  for (ifd_isa isa = IFD_ISA_REF; isa <= ifd_cpu_isa(); isa++) {
    ifd_k_conv_plan first = plan_of(&before, IFD_K_CONV_DIRECT, batch),
                    second = plan_of(&after, IFD_K_CONV_DEPTHWISE, batch),
                    both = plan_of(s, IFD_K_CONV_EXPANDED, batch);
    buffer packed1 = pack(&first, &w1, isa), packed2 = pack(&second, &w2, isa),
           packed = pack(&both, &w2, isa);
    if (!want.f) {
      buffer made = run(&first, &packed1, &x, &e1, NULL, isa);
      want = run(&second, &packed2, &made, &e2, NULL, isa);
      buffer_free(&made);
    }
    for (int k = 0; k < 2; k++) {
      if (k) split_anew(&both, state);
      buffer y = run(&both, &packed, &x, &e2, &(ifd_k_expansion){packed1.f, &e1}, isa);
      assert_true(same_floats(want.f, y.f, (int64_t)(want.len / sizeof(float))));
      buffer_free(&y);
    }
    buffer_free(&packed1), buffer_free(&packed2), buffer_free(&packed);
  }
  for (int i = 0; i < 4; i++) buffer_free(filled[i]);
  buffer_free(&want);
}

static void as_two(void **unused) {
  (void)unused;
  uint64_t state = 6;
  for (int i = 0; i < 60; i++) {
    ifd_k_conv_shape s = depthwise(&state);
    check(&s, rand_in(&state, 1, 2), &state);
  }
}

/* More input channels than a product takes in one block of k. */
static void many_channels(void **unused) {
  (void)unused;
  uint64_t state = 7;
  ifd_k_conv_shape s = depthwise(&state);
  s.before = 1100;
  check(&s, 1, &state);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(as_two), cmocka_unit_test(many_channels)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
