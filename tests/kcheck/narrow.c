/* Products by matrices of integers: the bits of the product by their floats, whatever the ISA and the tasks.
 */
#include "kcheck/buffer.h"

#include "kernels/gemm/gemm.h"
#include "kernels/kernels.h"

/* B [k, n] or, turned, [n, k], with scales and zeros of blocks; `wide` are its floats. */
typedef struct matrix {
  int64_t n, k, block, n_blocks;
  int bits;
  uint8_t added;
  bool turned, has_zero;
  buffer b, scale, zero, wide;
} matrix;

static int64_t at(const matrix *m, int64_t rows, int64_t i, int64_t j) {
  return m->turned ? j * rows + i : i * m->n + j;
}

static buffer integers(const matrix *m, int64_t count, uint64_t *state) {
  buffer b = buffer_new((size_t)count);
  int half = m->bits == 4 ? 8 : 128;
  for (int64_t i = 0; i < count; i++)
    ((uint8_t *)b.f)[i] = (uint8_t)(rand_in(state, 0, 2 * half - 1) - (m->added ? half : 0));
  return b;
}

/* The number that a byte stands for. */
static float number(const matrix *m, const buffer *b, int64_t i) {
  uint8_t byte = ((const uint8_t *)b->f)[i];
  return m->added ? (float)(int8_t)byte : (float)byte;
}

static matrix make(int64_t n, int64_t k, uint64_t *state) {
  matrix m = {.n = n, .k = k, .bits = rand_in(state, 0, 1) ? 4 : 8, .turned = rand_in(state, 0, 1)};
  m.has_zero = rand_in(state, 0, 1);
  m.added = rand_in(state, 0, 1) ? (m.bits == 4 ? 8 : 128) : 0;
  m.block = rand_in(state, 0, 2) ? rand_in(state, 1, k) : 32;
  m.n_blocks = (k + m.block - 1) / m.block;
  m.b = integers(&m, n * k, state);
  m.zero = integers(&m, n * m.n_blocks, state);
  m.scale = buffer_floats(n * m.n_blocks);
  m.wide = buffer_floats(n * k);
  buffer_fill(&m.scale, state, rand_in(state, 0, 3) == 0);
  for (int64_t i = 0; i < k; i++)
    for (int64_t j = 0; j < n; j++) {
      int64_t shared = at(&m, m.n_blocks, i / m.block, j);
      float zero = m.has_zero ? number(&m, &m.zero, shared) : 0;
      m.wide.f[at(&m, k, i, j)] = (number(&m, &m.b, at(&m, k, i, j)) - zero) * m.scale.f[shared];
    }
  return m;
}

static void drop(matrix *m) {
  buffer *all[] = {&m->b, &m->scale, &m->zero, &m->wide};
  for (int i = 0; i < 4; i++) buffer_free(all[i]);
}

/* C by the floats of B, or by B as it is, in two pieces. */
static void run(const matrix *m, ifd_isa isa, const ifd_k_gemm_grid *grid, const ifd_k_product *product,
                bool narrow) {
  const struct ifd_k_gemm_table *t = ifd_k_gemm(isa);
  ifd_k_product g = *product;
  int64_t middle = m->n / 2 / 16 * 16, rs = m->turned ? 1 : m->n, blocks = m->n_blocks;
  int64_t cs = m->turned ? m->k : 1, block_cs = m->turned ? blocks : 1;
  buffer b = buffer_new(ifd_k_narrow_len(m->bits, m->n, m->k));
  buffer zero = buffer_new(ifd_k_narrow_len(8, m->n, blocks));
  buffer scale = buffer_new(ifd_k_gemm_packed_len(m->n, blocks));
  buffer scratch = buffer_new(ifd_k_gemm_scratch_len(grid, m->k, narrow ? IFD_K_B_NARROW : IFD_K_B_STRIDED));
  for (int part = 0; part < 2; part++) {
    int64_t j0 = part ? middle : 0, j1 = part ? m->n : middle;
    ifd_k_narrow_pack((uint8_t *)b.f, m->bits, m->added, (uint8_t *)m->b.f, rs, cs, m->k, j0, j1);
    ifd_k_narrow_pack((uint8_t *)zero.f, 8, m->added, (uint8_t *)m->zero.f, rs, block_cs, blocks, j0, j1);
    t->pack_f32(scale.f, m->scale.f, rs, block_cs, blocks, j0, j1);
  }
  ifd_k_narrow as_is = {m->bits, m->k, m->block, (uint8_t *)b.f, scale.f, NULL, m->added};
  if (m->has_zero) as_is.zero = (uint8_t *)zero.f;
  if (narrow)
    g.narrow = &as_is;
  else
    g.b = m->wide.f, g.b_rs = rs, g.b_cs = cs;
  for (int64_t task = grid->n_tasks; task-- > 0;) ifd_k_gemm_run(t, &g, grid, task, scratch.f);
  buffer_free(&b);
  buffer_free(&zero);
  buffer_free(&scale);
  buffer_free(&scratch);
}

static void check_shape(int64_t rows, int64_t n, int64_t k, uint64_t *state) {
  matrix m = make(n, k, state);
  bool across = rand_in(state, 0, 3) == 0;
  buffer a = buffer_floats(rows * k), bias = buffer_floats(n), want = buffer_floats(rows * n);
  buffer_fill(&a, state, false);
  buffer_fill(&bias, state, false);
  ifd_k_epilogue e = IFD_K_EPILOGUE_NONE;
  if (rand_in(state, 0, 1)) e.bias = bias.f;
  ifd_k_product g = {.m = rows, .n = n, .k = k, .a = a.f, .a_rs = k, .a_cs = 1, .c_rs = n, .epilogue = &e};
  if (across) g.a_rs = 1, g.a_cs = rows;
  ifd_k_gemm_grid grid = ifd_k_gemm_split(rows, n, k, false), other = ifd_k_gemm_split(rows, n, k, true);
  g.c = want.f;
  run(&m, IFD_ISA_REF, &grid, &g, false);
  for (ifd_isa isa = IFD_ISA_REF; isa <= ifd_cpu_isa(); isa++) {
    buffer c = buffer_floats(rows * n);
    g.c = c.f;
    run(&m, isa, rand_in(state, 0, 1) ? &other : &grid, &g, true);
    if (!same_floats(c.f, want.f, rows * n))
      fail_msg("%s %dx%dx%d bits %d block %d zero %d added %d turned %d", ifd_isa_name(isa), (int)rows,
               (int)n, (int)k, m.bits, (int)m.block, m.has_zero, m.added, m.turned);
    buffer_free(&c);
  }
  buffer_free(&a);
  buffer_free(&bias);
  buffer_free(&want);
  drop(&m);
}

static void random_shapes(void **unused) {
  (void)unused;
  uint64_t state = 1;
  for (int i = 0; i < 600; i++)
    check_shape(rand_in(&state, 0, 1) ? 1 : rand_in(&state, 2, 40), rand_in(&state, 1, 90),
                rand_in(&state, 1, i % 4 ? 70 : 600), &state);
}

static void blocks(void **unused) { /* beyond one block of rows, columns and k */
  (void)unused;
  uint64_t state = 2;
  check_shape(1, 1100, 2100, &state);
  check_shape(2, 1100, 1100, &state);
  check_shape(130, 200, 2500, &state);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(random_shapes), cmocka_unit_test(blocks)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
