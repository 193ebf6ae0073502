/* Steps of recurrent layers: the same bits on every ISA for every width, and values against double, with the
 * usual activations and with any. */
#include "kcheck/buffer.h"

#include "kernels/gemm/gemm.h"
#include "kernels/kernels.h"
#include "kernels/rnn/rnn.h"

enum { MAX = 70 };

static double call(const ifd_k_rnn_cell *p, int which, double x) {
  const double a = p->f[which].alpha, b = p->f[which].beta;
  x = x < -p->clip ? -p->clip : x > p->clip ? p->clip : x;
  switch (p->f[which].act) {
  case IFD_RNN_Sigmoid: return 1 / (1 + exp(-x));
  case IFD_RNN_Tanh: return tanh(x);
  case IFD_RNN_Relu: return x < 0 ? 0 : x;
  case IFD_RNN_Affine: return a * x + b;
  case IFD_RNN_LeakyRelu: return x < 0 ? a * x : x;
  case IFD_RNN_ThresholdedRelu: return x < a ? 0 : x;
  case IFD_RNN_ScaledTanh: return a * tanh(b * x);
  case IFD_RNN_HardSigmoid: return fmin(1, fmax(0, a * x + b));
  case IFD_RNN_Elu: return x < 0 ? a * expm1(x) : x;
  case IFD_RNN_Softsign: return x / (1 + fabs(x));
  default: return log1p(exp(-fabs(x))) + (x > 0 ? x : 0);
  }
}

/* One step of every kind; results one after another in y (8 * n). */
static void run(ifd_isa isa, const ifd_k_rnn_cell *p, const float *x, const float *r, const float *peephole,
                const float *h, const float *c, float *y, size_t n) {
  const struct ifd_k_rnn_table *t = ifd_k_rnn(isa);
  t->lstm(p, x, r, peephole, c, y, y + n, n);
  if (r) t->gru_linear(p, x, r, h, y + 2 * n, n);
  t->gru_reset(p, x, r, h, y + 3 * n, y + 4 * n, n);
  t->gru_update(p, x + 2 * n, r ? r + 2 * n : NULL, y + 3 * n, h, y + 5 * n, n);
  t->rnn(p, x, r, y + 6 * n, n);
  memcpy(y + 7 * n, h, n * sizeof *y); /* in place */
  t->gru_update(p, x + 2 * n, r ? r + 2 * n : NULL, y + 3 * n, y + 7 * n, y + 7 * n, n);
}

static void run_f64(const ifd_k_rnn_cell *p, const float *x, const float *r, const float *peephole,
                    const float *h, const float *c, double *y, size_t n) {
  for (size_t i = 0; i < n; i++) {
    double gate[4], peep[3] = {0};
    for (size_t g = 0; g < 4; g++) gate[g] = (double)x[g * n + i] + (r ? r[g * n + i] : 0);
    for (size_t g = 0; g < 3 && peephole; g++) peep[g] = (double)peephole[g * n + i] * c[i];
    const double in = call(p, 0, gate[0] + peep[0]);
    const double forget = p->input_forget ? 1 - in : call(p, 0, gate[2] + peep[2]);
    y[i] = forget * c[i] + in * call(p, 1, gate[3]);
    if (peephole) peep[1] = peephole[n + i] * y[i]; /* the output gate sees the new cell */
    y[n + i] = call(p, 0, gate[1] + peep[1]) * call(p, 2, y[i]);
    const double z = call(p, 0, gate[0]), reset = call(p, 0, gate[1]);
    if (r) y[2 * n + i] = (1 - z) * call(p, 1, x[2 * n + i] + reset * r[2 * n + i]) + z * h[i];
    y[3 * n + i] = z;
    y[4 * n + i] = reset * h[i];
    y[5 * n + i] = y[7 * n + i] = (1 - z) * call(p, 1, gate[2]) + z * h[i];
    y[6 * n + i] = call(p, 0, gate[0]);
  }
}

static void check(const ifd_k_rnn_cell *p, size_t n, bool has_r, bool has_peephole, bool odd,
                  uint64_t *state) {
  buffer x = buffer_floats(4 * (int64_t)n), r = buffer_floats(4 * (int64_t)n),
         peephole = buffer_floats(3 * (int64_t)n), h = buffer_floats((int64_t)n),
         c = buffer_floats((int64_t)n), want = buffer_floats(8 * (int64_t)n);
  double y[8 * MAX];
  buffer *const all[] = {&x, &r, &peephole, &h, &c};
  for (int i = 0; i < 5; i++) buffer_fill(all[i], state, odd);
  for (size_t i = 0; i < 4 * n; i++) x.f[i] *= 4;
  memset(want.f, 0, want.len);
  const float *recurrent = has_r ? r.f : NULL, *peep = has_peephole ? peephole.f : NULL;
  run(IFD_ISA_REF, p, x.f, recurrent, peep, h.f, c.f, want.f, n);
  memset(y, 0, sizeof y);
  run_f64(p, x.f, recurrent, peep, h.f, c.f, y, n);
  for (size_t i = 0; i < 8 * n && !odd; i++)
    if (!(fabs(want.f[i] - y[i]) <= 2e-6 * (1 + fabs(y[i]))))
      fail_msg("result %zu, neuron %zu of %zu: %a, not %a", i / n, i % n, n, (double)want.f[i], y[i]);
  for (ifd_isa isa = IFD_ISA_AVX2; isa <= ifd_cpu_isa(); isa++) {
    buffer z = buffer_floats(8 * (int64_t)n);
    memset(z.f, 0, z.len);
    run(isa, p, x.f, recurrent, peep, h.f, c.f, z.f, n);
    assert_true(same_floats(z.f, want.f, 8 * (int64_t)n));
    buffer_free(&z);
  }
  for (int i = 0; i < 5; i++) buffer_free(all[i]);
  buffer_free(&want);
}

static void usual_cells(void **unused) {
  (void)unused;
  uint64_t state = 1;
  const ifd_k_rnn_cell p = {.f = {{IFD_RNN_Sigmoid}, {IFD_RNN_Tanh}, {IFD_RNN_Tanh}}, .clip = INFINITY};
  for (size_t n = 1; n < MAX; n++) check(&p, n, n & 1, n & 2, n % 5 == 4, &state);
}

static void any_cells(void **unused) {
  (void)unused;
  uint64_t state = 2;
  for (int round = 0; round < 200; round++) {
    ifd_k_rnn_cell p = {.clip = round & 1 ? 1.5f : INFINITY, .input_forget = round & 2};
    for (int i = 0; i < 3; i++) {
      p.f[i].act = (ifd_rnn_act)(rand_u32(&state) % IFD_RNN_N_ACTS);
      p.f[i].alpha = 0.3f + rand_float(&state) / 4, p.f[i].beta = 0.5f;
      if (p.f[i].act == IFD_RNN_ThresholdedRelu) p.f[i].alpha = -100; /* no element near the step */
    }
    check(&p, (size_t)rand_in(&state, 1, MAX - 1), round & 4, round & 8, round % 5 == 4, &state);
  }
}

/* h R of a few rows: the bits of the product that more rows take, whichever columns come first. */
static void recurrence(void **unused) {
  (void)unused;
  uint64_t state = 3;
  for (int round = 0; round < 300; round++) {
    const int64_t rows = rand_in(&state, 1, IFD_RNN_MAX_ROWS), n = rand_in(&state, 1, round % 6 ? 40 : 800),
                  columns = rand_in(&state, 1, 300); /* a chain is of 256 */
    buffer h = buffer_floats(rows * n), b = buffer_floats(n * columns), bias = buffer_floats(columns),
           packed = buffer_floats((int64_t)(ifd_k_gemm_packed_len(columns, n) / sizeof(float))),
           want = buffer_floats(rows * columns);
    buffer *const all[] = {&h, &b, &bias, &packed, &want};
    for (int i = 0; i < 3; i++) buffer_fill(all[i], &state, round % 5 == 4);
    const float *given = round & 1 ? bias.f : NULL;
    const ifd_k_epilogue e = {.scale = 1, .bias = given};
    const ifd_k_gemm_grid whole = {rows, columns, 1, 1};
    void *scratch = aligned_alloc(64, ifd_k_gemm_scratch_len(&whole, n, IFD_K_B_STRIDED));
    ifd_k_gemm(IFD_ISA_REF)->pack_f32(packed.f, b.f, columns, 1, n, 0, columns);
    ifd_k_gemm_run(ifd_k_gemm(IFD_ISA_REF),
                   &(ifd_k_product){.m = rows,
                                    .n = columns,
                                    .k = n,
                                    .a = h.f,
                                    .a_rs = n,
                                    .a_cs = 1,
                                    .b = b.f,
                                    .b_rs = columns,
                                    .b_cs = 1,
                                    .c = want.f,
                                    .c_rs = columns,
                                    .epilogue = &e},
                   &whole, 0, scratch);
    for (ifd_isa isa = IFD_ISA_REF; isa <= ifd_cpu_isa(); isa++)
      for (int backward = 0; backward < 2; backward++) {
        buffer y = buffer_floats(rows * columns);
        ifd_k_rnn(isa)->recur(h.f, (size_t)rows, (size_t)n, packed.f, (size_t)columns, given, y.f, backward);
        assert_true(same_floats(y.f, want.f, rows * columns));
        buffer_free(&y);
      }
    for (int i = 0; i < 5; i++) buffer_free(all[i]);
    free(scratch);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(usual_cells), cmocka_unit_test(any_cells),
                                     cmocka_unit_test(recurrence)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
