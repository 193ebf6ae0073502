/* Products by matrices of integers and of 16-bit floats: the bits of the product by their floats, whatever
 * the ISA and the tasks. */
#include "kcheck/buffer.h"

#include "kernels/gemm/gemm.h"
#include "kernels/kernels.h"
#include "tensor/convert.h"

/* B [k, n] or, turned, [n, k], with scales and zeros of blocks; `wide` are its floats. */
typedef struct matrix {
  int64_t n, k, block, n_blocks;
  ifd_k_narrow_form form;
  uint8_t added;
  bool turned, has_zero;
  buffer b, scale, zero, wide;
} matrix;

static int64_t at(const matrix *m, int64_t rows, int64_t i, int64_t j) {
  return m->turned ? j * rows + i : i * m->n + j;
}

static buffer integers(const matrix *m, int64_t count, uint64_t *state) {
  buffer b = buffer_new((size_t)count);
  int half = m->form == IFD_K_NARROW_HALVES ? 8 : 128;
  for (int64_t i = 0; i < count; i++)
    ((uint8_t *)b.f)[i] = (uint8_t)(rand_in(state, 0, 2 * half - 1) - (m->added ? half : 0));
  return b;
}

/* The number that a byte stands for. */
static float number(const matrix *m, const buffer *b, int64_t i) {
  uint8_t byte = ((const uint8_t *)b->f)[i];
  return m->added ? (float)(int8_t)byte : (float)byte;
}

static void make_integers(matrix *m, uint64_t *state) {
  m->has_zero = rand_in(state, 0, 1);
  m->added = rand_in(state, 0, 1) ? (m->form == IFD_K_NARROW_HALVES ? 8 : 128) : 0;
  m->block = rand_in(state, 0, 2) ? rand_in(state, 1, m->k) : 32;
  m->n_blocks = (m->k + m->block - 1) / m->block;
  m->b = integers(m, m->n * m->k, state);
  m->zero = integers(m, m->n * m->n_blocks, state);
  m->scale = buffer_floats(m->n * m->n_blocks);
  buffer_fill(&m->scale, state, rand_in(state, 0, 3) == 0);
  for (int64_t i = 0; i < m->k; i++)
    for (int64_t j = 0; j < m->n; j++) {
      int64_t shared = at(m, m->n_blocks, i / m->block, j), here = at(m, m->k, i, j);
      float zero = m->has_zero ? number(m, &m->zero, shared) : 0;
      m->wide.f[here] = (number(m, &m->b, here) - zero) * m->scale.f[shared];
    }
}

/* Where `odd`, any bits: infinities, denormals, NaN. */
static void make_floats(matrix *m, uint64_t *state) {
  ifd_dtype type = m->form == IFD_K_NARROW_FLOAT16 ? IFD_FLOAT16 : IFD_BFLOAT16;
  bool odd = rand_in(state, 0, 3) == 0;
  m->block = m->k, m->n_blocks = 1;
  m->b = buffer_new(sizeof(uint16_t) * (size_t)(m->n * m->k));
  m->scale = buffer_new(0), m->zero = buffer_new(0);
  uint16_t *halves = (uint16_t *)m->b.f;
  for (int64_t i = 0; i < m->n * m->k; i++) {
    float x = rand_float(state);
    ifd_store_f32(type, &halves[i], &x, 1);
    if (odd && rand_in(state, 0, 9) == 0) halves[i] = (uint16_t)rand_u32(state);
  }
  ifd_load_f32(type, halves, m->wide.f, m->n * m->k);
}

static bool is_floats(const matrix *m) { return m->form >= IFD_K_NARROW_FLOAT16; }

static matrix make(int64_t n, int64_t k, uint64_t *state) {
  matrix m = {.n = n, .k = k, .form = (ifd_k_narrow_form)rand_in(state, 0, 3)};
  m.turned = rand_in(state, 0, 1);
  m.wide = buffer_floats(n * k);
  (is_floats(&m) ? make_floats : make_integers)(&m, state);
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
  buffer b = buffer_new(ifd_k_narrow_len(m->form, m->n, m->k));
  buffer zero = buffer_new(ifd_k_narrow_len(IFD_K_NARROW_BYTES, m->n, blocks));
  buffer scale = buffer_new(ifd_k_gemm_packed_len(m->n, blocks));
  buffer scratch = buffer_new(ifd_k_gemm_scratch_len(grid, m->k, narrow ? IFD_K_B_NARROW : IFD_K_B_STRIDED));
  for (int part = 0; part < 2; part++) {
    int64_t j0 = part ? middle : 0, j1 = part ? m->n : middle;
    ifd_k_narrow_pack(b.f, m->form, m->added, m->b.f, rs, cs, m->k, j0, j1);
    if (is_floats(m)) continue;
    ifd_k_narrow_pack(zero.f, IFD_K_NARROW_BYTES, m->added, m->zero.f, rs, block_cs, blocks, j0, j1);
    t->pack_f32(scale.f, m->scale.f, rs, block_cs, blocks, j0, j1);
  }
  ifd_k_narrow as_is = {m->form, m->k,    m->block, (uint8_t *)b.f, is_floats(m) ? NULL : scale.f,
                        NULL,    m->added};
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
  ifd_k_gemm_grid grid = ifd_k_gemm_split(rows, n, k, false, 0),
                  other = ifd_k_gemm_split(rows, n, k, true, 1);
  g.c = want.f;
  run(&m, IFD_ISA_REF, &grid, &g, false);
  for (ifd_isa isa = IFD_ISA_REF; isa <= ifd_cpu_isa(); isa++) {
    buffer c = buffer_floats(rows * n);
    g.c = c.f;
    run(&m, isa, rand_in(state, 0, 1) ? &other : &grid, &g, true);
    if (!same_floats(c.f, want.f, rows * n))
      fail_msg("%s %dx%dx%d form %d block %d zero %d added %d turned %d", ifd_isa_name(isa), (int)rows,
               (int)n, (int)k, (int)m.form, (int)m.block, m.has_zero, m.added, m.turned);
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
