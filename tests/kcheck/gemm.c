/* Float products: every ISA, tiling and operand layout gives the bits of one fused chain for every 256
 * products of an element. */
#include "kcheck/buffer.h"

#include "kernels/gemm/gemm.h"
#include "kernels/kernels.h"
#include "kcheck/rounded.h"

typedef struct operands {
  int64_t m, n, k, a_rs, a_cs, b_rs, b_cs, c_rs;
  buffer a, b, other, bias, row_bias, want;
  ifd_k_epilogue e;
} operands;

static float element(const operands *o, int64_t i, int64_t j) {
  const ifd_k_epilogue *e = &o->e;
  float v = 0, chain = 0;
  for (int64_t k = 0; k < o->k; k++) {
    chain = fmaf(o->a.f[i * o->a_rs + k * o->a_cs], o->b.f[k * o->b_rs + j * o->b_cs], chain);
    if (k + 1 < o->k && (k + 1) % 256) continue;
    v = k < 256 ? chain : v + chain;
    chain = 0;
  }
  v *= e->scale;
  if (e->rounds_sums) v = rounded(e, v);
  v += e->bias ? e->bias[j] : 0;
  if (e->row_bias) v += e->row_bias[i];
  v = rounded(e, v);
  float other = e->join ? e->other[i * e->other_rs + j] : 0;
  if (e->join == IFD_K_JOIN_ADD) v = rounded(e, v + other);
  v = rounded(e, exactly_activated(e, v));
  return rounded(e, e->join == IFD_K_JOIN_ADD_ACT   ? v + other
                    : e->join == IFD_K_JOIN_MUL_ACT ? v * other
                                                    : v);
}

static void make_epilogue(operands *o, uint64_t *state) {
  static const float p[IFD_K_N_ACTS][2] = {[IFD_K_ACT_CLIP] = {0, 6},
                                           [IFD_K_ACT_LEAKY_RELU] = {.1f},
                                           [IFD_K_ACT_HARD_SIGMOID] = {.2f, .5f},
                                           [IFD_K_ACT_HARD_SWISH] = {1 / 6.f, .5f}};
  ifd_k_epilogue *e = &o->e;
  bool plain = rand_in(state, 0, 1);
  *e = (ifd_k_epilogue){.scale = plain || rand_in(state, 0, 1) ? 1 : .3f};
  e->act = (ifd_k_act)rand_in(state, 0, plain ? IFD_K_ACT_CLIP : IFD_K_ACT_HARD_SWISH);
  memcpy(e->p, p[e->act], sizeof e->p);
  e->join = (ifd_k_join)rand_in(state, 0, plain ? IFD_K_JOIN_ADD : IFD_K_JOIN_MUL_ACT);
  random_rounding(e, state);
  e->other = o->other.f;
  e->other_rs = o->c_rs;
  e->bias = rand_in(state, 0, 1) ? o->bias.f : NULL;
  e->row_bias = !plain && rand_in(state, 0, 1) ? o->row_bias.f : NULL;
}

static operands make(int64_t m, int64_t n, int64_t k, bool odd, uint64_t *state) {
  operands o = {.m = m, .n = n, .k = k};
  bool a_t = rand_in(state, 0, 1), b_t = rand_in(state, 0, 1);
  int64_t spare[] = {rand_in(state, 0, 3), rand_in(state, 0, 3), rand_in(state, 0, 3)};
  o.a_rs = a_t ? 1 : k + spare[0], o.a_cs = a_t ? m + spare[0] : 1;
  o.b_rs = b_t ? 1 : n + spare[1], o.b_cs = b_t ? k + spare[1] : 1;
  o.c_rs = n + spare[2];
  buffer *all[] = {&o.a, &o.b, &o.other, &o.bias, &o.row_bias, &o.want};
  int64_t sizes[] = {(m - 1) * o.a_rs + (k - 1) * o.a_cs + 1,
                     (k - 1) * o.b_rs + (n - 1) * o.b_cs + 1,
                     (m - 1) * o.c_rs + n,
                     n,
                     m,
                     (m - 1) * o.c_rs + n};
  for (int i = 0; i < 6; i++) {
    all[i]->whole = NULL;
    *all[i] = buffer_floats(sizes[i] > 0 ? sizes[i] : 0);
    if (all[i] != &o.want) buffer_fill(all[i], state, odd);
  }
  make_epilogue(&o, state);
  for (int64_t i = 0; i < m; i++)
    for (int64_t j = 0; j < n; j++) o.want.f[i * o.c_rs + j] = element(&o, i, j);
  return o;
}

static void drop(operands *o) {
  buffer *all[] = {&o->a, &o->b, &o->other, &o->bias, &o->row_bias, &o->want};
  for (int i = 0; i < 6; i++) buffer_free(all[i]);
}

static void pack_a(const struct ifd_k_gemm_table *t, const ifd_k_gemm_grid *grid, const ifd_k_product *g,
                   float *packed) {
  int64_t n = (g->k + 15) / 16, middle = n / 2;
  for (int64_t i = 0; i < g->m; i += grid->m_step) {
    int64_t end = i + grid->m_step < g->m ? i + grid->m_step : g->m;
    t->pack_a_f32(packed, g, i, end, middle, n);
    t->pack_a_f32(packed, g, i, end, 0, middle);
  }
}

static void run(const operands *o, const struct ifd_k_gemm_table *t, bool pack, bool share,
                const ifd_k_gemm_grid *grid, const ifd_k_product *g) {
  buffer a = buffer_new(ifd_k_gemm_packed_a_len(o->m, o->k));
  buffer packed = buffer_new(ifd_k_gemm_packed_len(o->n, o->k));
  buffer scratch = buffer_new(ifd_k_gemm_scratch_len(grid, o->k, pack));
  ifd_k_product p = *g;
  if (pack) {
    int64_t middle = o->n / 2 / 16 * 16;
    t->pack_f32(packed.f, o->b.f, o->b_rs, o->b_cs, o->k, 0, middle);
    t->pack_f32(packed.f, o->b.f, o->b_rs, o->b_cs, o->k, middle, o->n);
    p.b = packed.f, p.b_rs = p.b_cs = 0;
  }
  if (share) {
    pack_a(t, grid, g, a.f);
    p.a = a.f, p.a_vs = o->m * 16;
  }
  for (int64_t task = grid->n_tasks; task-- > 0;) ifd_k_gemm_run(t, &p, grid, task, scratch.f);
  buffer_free(&a);
  buffer_free(&packed);
  buffer_free(&scratch);
}

static void check(const operands *o, ifd_isa isa, uint64_t *state) {
  bool pack = rand_in(state, 0, 1), share = rand_in(state, 0, 1),
       in_place = o->e.join && rand_in(state, 0, 1);
  ifd_k_gemm_grid grid = ifd_k_gemm_split(o->m, o->n, o->k, pack, (int)rand_in(state, 0, 1));
  if (rand_in(state, 0, 1)) { /* a random split */
    grid.m_step = rand_in(state, 1, o->m), grid.n_step = 16 * rand_in(state, 1, (o->n + 15) / 16);
    grid.n_m = (o->m + grid.m_step - 1) / grid.m_step;
    grid.n_tasks = grid.n_m * ((o->n + grid.n_step - 1) / grid.n_step);
  }
  bool apart = !in_place && rand_in(state, 0, 1); /* vectors of 16 columns one below another */
  int64_t c_rs = apart ? 16 : o->c_rs, c_vs = apart ? o->m * 16 : 16;
  buffer c = buffer_floats(apart ? (o->n + 15) / 16 * c_vs : (o->m - 1) * o->c_rs + o->n);
  if (in_place) memcpy(c.f, o->other.f, c.len);
  ifd_k_epilogue e = o->e;
  if (in_place) e.other = c.f;
  ifd_k_product g = {.m = o->m,
                     .n = o->n,
                     .k = o->k,
                     .a = o->a.f,
                     .a_rs = o->a_rs,
                     .a_cs = o->a_cs,
                     .b = o->b.f,
                     .b_rs = o->b_rs,
                     .b_cs = o->b_cs,
                     .c = c.f,
                     .c_rs = c_rs,
                     .c_vs = c_vs,
                     .epilogue = &e};
  run(o, ifd_k_gemm(isa), pack, share, &grid, &g);
  for (int64_t i = 0; i < o->m; i++) {
    for (int64_t j = 0; j < o->n; j += 16)
      if (!same_floats(c.f + i * c_rs + j / 16 * c_vs, o->want.f + i * o->c_rs + j,
                       o->n - j < 16 ? o->n - j : 16))
        fail_msg("%s %dx%dx%d row %d pack %d share %d act %d join %d", ifd_isa_name(isa), (int)o->m,
                 (int)o->n, (int)o->k, (int)i, pack, share, o->e.act, o->e.join);
    uint32_t gap = 0xa5a5a5a5;
    for (int64_t j = o->n; j < o->c_rs && i + 1 < o->m && !in_place && !apart; j++)
      assert_memory_equal(c.f + i * o->c_rs + j, &gap, 4);
  }
  buffer_free(&c);
}

static void check_shape(int64_t m, int64_t n, int64_t k, uint64_t *state) {
  operands o = make(m, n, k, rand_in(state, 0, 2) == 0, state);
  for (ifd_isa isa = IFD_ISA_REF; isa <= ifd_cpu_isa(); isa++) check(&o, isa, state);
  drop(&o);
}

static void random_shapes(void **unused) {
  (void)unused;
  uint64_t state = 1;
  for (int i = 0; i < 400; i++)
    check_shape(rand_in(&state, 1, 40), rand_in(&state, 1, 70), rand_in(&state, 0, 70), &state);
}
static void tiles(void **unused) {
  (void)unused;
  uint64_t state = 2;
  for (int m = 1; m <= 30; m++)
    for (int n = 16; n <= 80; n += 16) check_shape(m, n + (m & 1), 17, &state);
}
static void blocks(void **unused) { /* beyond one block of rows, columns and k */
  (void)unused;
  uint64_t state = 3;
  check_shape(230, 37, 9, &state);
  check_shape(2, 1100, 33, &state);
  check_shape(3, 300, 1100, &state);
  check_shape(1, 530, 2100, &state);
  check_shape(120, 33, 1030, &state);
  check_shape(60, 33, 2500, &state);
  for (int i = 0; i < 30; i++) /* A packed once, of all k */
    check_shape(rand_in(&state, 2, 40), rand_in(&state, 1025, 1060), rand_in(&state, 257, 300), &state);
  for (int i = 0; i < 20; i++)
    check_shape(rand_in(&state, 1, 30), 16 * rand_in(&state, 1, 5), 256 + 64 * i, &state);
}

static void few_rows(void **unused) { /* B as it lies */
  (void)unused;
  uint64_t state = 5;
  for (int i = 0; i < 120; i++)
    check_shape(rand_in(&state, 1, 5), rand_in(&state, 1, 150), 1 + rand_in(&state, 0, 90) * (i % 9), &state);
  for (int m = 1; m < 6; m++)
    for (int i = 0; i < 3; i++) {
      check_shape(m, rand_in(&state, 16, 70), 4096 * (i % 2) + rand_in(&state, 1, 1200), &state);
      check_shape(m, 1024 + rand_in(&state, 0, 40), rand_in(&state, 1, 40), &state);
    }
}

static void doubles(void **unused) {
  (void)unused;
  uint64_t state = 4;
  for (int round = 0; round < 80; round++) {
    int64_t m = rand_in(&state, 1, 40), n = rand_in(&state, 1, round % 5 ? 140 : 8),
            k = rand_in(&state, 0, round % 4 ? 20 : 400);
    bool a_t = rand_in(&state, 0, 1), b_t = rand_in(&state, 0, 1);
    double *a = test_malloc(8 * (size_t)(m * k + 1)), *b = test_malloc(8 * (size_t)(n * k + 1)),
           *c = test_malloc(8 * (size_t)(m * n)), *bias = test_malloc(8 * (size_t)n);
    for (int64_t i = 0; i < m * k; i++) a[i] = rand_float(&state);
    for (int64_t i = 0; i < n * k; i++) b[i] = rand_float(&state);
    for (int64_t i = 0; i < n; i++) bias[i] = rand_float(&state);
    ifd_k_product_f64 g = {m,           n,           k, a, a_t ? 1 : k, a_t ? m : 1, b,
                           b_t ? 1 : n, b_t ? k : 1, c, n, 1,           2,           round % 3 ? bias : NULL,
                           false};
    for (ifd_isa isa = IFD_ISA_REF; isa <= ifd_cpu_isa(); isa++) {
      ifd_k_gemm(isa)->run_f64(&g, 0, m / 2);
      ifd_k_gemm(isa)->run_f64(&g, m / 2, m);
      for (int64_t i = 0; i < m * n; i++) {
        double want = 0;
        for (int64_t x = 0; x < k; x++)
          want = fma(a[i / n * g.a_rs + x * g.a_cs], b[x * g.b_rs + i % n * g.b_cs], want);
        assert_true(c[i] == 2 * want + (g.bias ? bias[i % n] : 0));
      }
    }
    test_free(a), test_free(b), test_free(c), test_free(bias);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(random_shapes), cmocka_unit_test(tiles),
                                     cmocka_unit_test(blocks), cmocka_unit_test(few_rows),
                                     cmocka_unit_test(doubles)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
