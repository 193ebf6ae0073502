#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "exec/run.h"
#include "ir/text.h"

#define H "<ir_version: 10, opset_import: [\"\" : 17]>\n"

enum { LARGE = 4096 }; /* elements of a sample, of which a cache of CACHE bytes holds two or so */
static const size_t CACHE = 40000;

/* A graph of inputs x [n, LARGE] or as it declares them, and how its batch runs. */
typedef struct slice_case {
  const char *text;
  int64_t dims[3]; /* of every input */
  int rank;
  int n_regions;
  int64_t rows; /* of the first region */
} slice_case;

typedef struct bench {
  ifd_error err;
  ifd_model *model;
  ifd_program *program;
  ifd_datum inputs[2], output;
} bench;

static float value_at(int64_t i) { return (float)(i * 2654435761 % 1000) / 500 - 1; }

static void open_program(bench *b, const slice_case *c, size_t cache) {
  ifd_program_options options = {.isa = ifd_cpu_isa(), .caches = {cache, cache}};
  b->err = (ifd_error){0};
  if (ifd_text_parse(&b->err, &b->model, c->text, strlen(c->text), NULL) != IFD_OK ||
      ifd_program_create(&b->err, &b->program, b->model->graph, NULL, &options, NULL) != IFD_OK)
    fail_msg("%s\n%s: %s", c->text, b->err.where, b->err.text);
  ifd_shape shape = {c->rank, {c->dims[0], c->dims[1], c->dims[2]}};
  for (int i = 0; i < b->program->n_inputs; i++) {
    b->inputs[i] = (ifd_datum){.kind = IFD_KIND_TENSOR};
    assert_int_equal(ifd_tensor_create(&b->err, &b->inputs[i].tensor, NULL, IFD_FLOAT, &shape), IFD_OK);
    float *x = b->inputs[i].tensor.data;
    for (int64_t k = 0; k < ifd_shape_count(&shape); k++) x[k] = value_at(k + i);
  }
}

static void run(bench *b, ifd_pool *pool) {
  ifd_run_options options = {.pool = pool};
  if (ifd_run(&b->err, b->program, &options, b->inputs, &b->output) != IFD_OK)
    fail_msg("%s: %s", b->err.where, b->err.text);
}

static void close_program(bench *b) {
  for (int i = 0; i < b->program->n_inputs; i++) ifd_datum_unref(&b->inputs[i]);
  ifd_datum_unref(&b->output);
  ifd_run_free_frames(b->program);
  ifd_program_destroy(b->program);
  ifd_model_destroy(b->model);
}

static void same_bits(const bench *a, const bench *b) {
  assert_true(ifd_shape_equal(&a->output.tensor.shape, &b->output.tensor.shape));
  assert_memory_equal(a->output.tensor.data, b->output.tensor.data, ifd_tensor_bytes(&a->output.tensor));
}

/* Slices are as many and as large as expected, and change no bit, on one thread and on two. */
static void check(const slice_case *c) {
  bench sliced = {0}, whole = {0};
  open_program(&sliced, c, CACHE);
  open_program(&whole, c, SIZE_MAX / 4);
  run(&sliced, NULL);
  run(&whole, NULL);
  const ifd_plan *plan = sliced.program->plans;
  if (plan->n_regions != c->n_regions || (c->rows && plan->regions[0].rows != c->rows))
    fail_msg("%s\n%d regions, the first of %lld rows", c->text, plan->n_regions,
             plan->n_regions ? (long long)plan->regions[0].rows : 0);
  same_bits(&sliced, &whole);
  ifd_pool *pool = ifd_pool_create(2);
  ifd_datum_unref(&sliced.output);
  run(&sliced, pool);
  same_bits(&sliced, &whole);
  ifd_pool_destroy(pool);
  close_program(&sliced);
  close_program(&whole);
}

static void check_all(const slice_case *cases, size_t n) {
  for (size_t i = 0; i < n; i++) check(&cases[i]);
}
#define CHECK_ALL(cases) check_all(cases, sizeof cases / sizeof *cases)

static void samples_run_alone(void **state) {
  (void)state;
  static const slice_case cases[] = {
      {H "g (float[N,4096] x) => (y) { a = Exp (x) b = Neg (a) y = Tanh (b) }", {8, LARGE}, 2, 1, 1},
      /* a last slice that begins before the one ahead of it ends */
      {H "g (float[N,1024] x) => (y) { a = Exp (x) b = Neg (a) y = Tanh (b) }", {21, 1024}, 2, 1, 2},
      {H "g (float[N,64,64] x) => (y) { a = Exp (x) b = Softmax <axis = 2> (a) c = Transpose <perm = [0, 2, "
         "1]> (b) y = Tanh (c) }",
       {8, 64, 64},
       3,
       1,
       1},
      {H "g (float[N,64,64] x) => (y) { a = Exp (x) b = MatMul (a, x) y = Tanh (b) }", {8, 64, 64}, 3, 1, 1},
      /* views stay views, whatever they make of the first dimension */
      {H "g (float[N,64,64] x) => (y) <int64[2] s = {-1, 64}, int64[3] t = {-1, 64, 64}> { a = Exp (x) b = "
         "Reshape (a, s) c = Softmax <axis = 1> (b) d = Reshape (c, t) y = Tanh (d) }",
       {8, 64, 64},
       3,
       1,
       1},
      /* what samples share is computed before them, though it stands behind them */
      {H "g (float[N,4096] x, float[N,4096] z) => (y) <int64[2] k = {1, 4096}> { a = Exp (x) b = Add (a, z) "
         "v = ConstantOfShape (k) w = Cos (v) y = Add (b, w) }",
       {8, LARGE},
       2,
       1,
       1},
      /* parts side by side, in place for one sample */
      {H "g (float[N,64,64] x) => (y) { a = Exp (x) b = Neg (a) c = Concat <axis = 1> (a, b) d, e = Split "
         "<axis = 1> (c) f = Mul (d, e) y = Tanh (f) }",
       {8, 64, 64},
       3,
       1,
       1},
      {H "g (float[N,64,64] x) => (y) <float[3] s = {1, 0.5, 1}> { a = Exp (x) b = Resize <mode = "
         "\"linear\"> (a, , "
         "s) y = Tanh (b) }",
       {8, 64, 64},
       3,
       1,
       1},
      /* results in mid-way */
      {H "g (float[N,4096] x) => (a) { a = Exp (x) b = Neg (a) c = Tanh (b) }", {8, LARGE}, 2, 1, 1},
  };
  CHECK_ALL(cases);
}

static void rows_that_meet_run_together(void **state) {
  (void)state;
  static const slice_case cases[] = {
      {H "g (float[N,4096] x) => (y) { y = Softmax <axis = 0> (x) }", {8, LARGE}, 2, 0, 0},
      {H "g (float[N,4096] x) => (y) <int64 k = {0}> { y = CumSum (x, k) }", {8, LARGE}, 2, 0, 0},
      {H "g (float[N,4096] x) => (y) { y = ReduceMax <axes = [0], keepdims = 1> (x) }", {8, LARGE}, 2, 0, 0},
      {H "g (float[N,64,64] x) => (y) { y = Transpose <perm = [1, 0, 2]> (x) }", {8, 64, 64}, 3, 0, 0},
      {H "g (float[N,4096] x) => (y) { y = Concat <axis = 0> (x, x) }", {8, LARGE}, 2, 0, 0},
      {H "g (float[N,4096] x) => (y) { y = RandomNormalLike <seed = 1.0> (x) }", {8, LARGE}, 2, 0, 0},
      {H "g (float[N,4096] x) => (y) { t = Transpose (x) y = MatMul (x, t) }", {8, LARGE}, 2, 0, 0},
      /* as long as before, and yet between samples */
      {H "g (float[N,64,64] x) => (y) <float[3] s = {1.1, 1, 1}> { y = Resize <mode = \"linear\"> (x, , s) }",
       {7, 64, 64},
       3,
       0,
       0},
      /* a batch that lies in a sequence's place */
      {H "g (float[N,4,1024] x) => (y) <int64[3] k = {1, 12, 1024}, int64[3] l = {1, 12, 4}> { w = "
         "ConstantOfShape (k) r = ConstantOfShape (l) , y = GRU <hidden_size = 4> (x, w, r) }",
       {8, 4, 1024},
       3,
       0,
       0},
      /* training BatchNormalization */
      {H "g (float[N,64,64] x) => (y) <int64[1] k = {64}> { s = ConstantOfShape (k) y, m, v = "
         "BatchNormalization <training_mode = 1> (x, s, s, s, s) }",
       {8, 64, 64},
       3,
       0,
       0},
      /* the batch comes to stand behind */
      {H "g (float[N,64,64] x) => (y) <int64[3] t = {64, -1, 64}> { a = Reshape (x, t) y = Softmax <axis = "
         "2> (a) }",
       {7, 64, 64},
       3,
       0,
       0},
  };
  CHECK_ALL(cases);
}

static void regions_end_where_rows_meet(void **state) {
  (void)state;
  static const slice_case cases[] = {
      {H
       "g (float[N,4096] x) => (y) { a = Exp (x) b = Tanh (a) c = Sigmoid (b) d = Softmax <axis = 0> (c) e = "
       "Exp (d) f = Tanh (e) h = Sigmoid (f) y = Tanh (h) }",
       {8, LARGE},
       2,
       2,
       1},
      /* all rows of what a region made are read at once */
      {H
       "g (float[N,64,64] x) => (y) <int64[2] s = {512, 64}> { a = Exp (x) b = Tanh (a) c = Sigmoid (b) m = "
       "ReduceMean <axes = [0], keepdims = 1> (c) d = Sub (c, m) e = Exp (d) f = Tanh (e) y = Sigmoid (f) }",
       {8, 64, 64},
       3,
       2,
       1},
  };
  CHECK_ALL(cases);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(samples_run_alone),
      cmocka_unit_test(rows_that_meet_run_together),
      cmocka_unit_test(regions_end_where_rows_meet),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
