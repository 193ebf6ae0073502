/* Sessions from outside: what outlives them, and what their results do not depend on. */
#include "infold/infold.h"

#include <fenv.h>
#include <malloc.h>
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static infold_session *open_text(const char *text) {
  infold_error err;
  infold_model *model;
  infold_session *session;
  if (infold_parse_model(&err, &model, text, strlen(text))) fail_msg("%s", err.message);
  infold_session_options options = {.threads = 2};
  if (infold_create_session(&err, &session, model, &options)) fail_msg("%s", err.message);
  infold_destroy_model(model);
  return session;
}

static infold_value *run_random(infold_session *session, int64_t rows) {
  infold_error err;
  infold_value *in, *out;
  if (infold_make_value(&err, &in, session, 0, "random", 7, rows, 1)) fail_msg("%s", err.message);
  const infold_value *ins[] = {in};
  if (infold_run(&err, &out, session, ins, NULL)) fail_msg("%s", err.message);
  infold_destroy_value(in);
  return out;
}

static size_t bytes_of(const infold_value *v) {
  size_t n = sizeof(float);
  for (int i = 0; i < infold_get_rank(v); i++) n *= (size_t)infold_get_dims(v)[i];
  return n;
}

static const char net[] =
    "<ir_version: 8, opset_import: [\"\" : 17]>\n"
    "g (float[N,3,19,19] x) => (float[N,24,17,17] y)\n"
    "<float[24,3,3,3] w = random 1, float[24] b = random 2, float[24,1,1] s = random 3>\n"
    "{ c = Conv(x, w, b)\n m = Mul(c, s)\n e = Exp(m)\n t = Tanh(e)\n y = Div(t, m) }\n";

static void outputs_outlive_the_session(void **state) {
  (void)state;
  infold_session *session = open_text(net);
  infold_value *first = run_random(session, 2), *second = run_random(session, 2);
  infold_destroy_value(first);
  void *before = malloc(bytes_of(second));
  memcpy(before, infold_get_data(second), bytes_of(second));
  infold_destroy_session(session);
  assert_memory_equal(infold_get_data(second), before, bytes_of(second));
  infold_destroy_value(second);
  free(before);
}

/* A kept block must not be handed out while a value still has it. */
static void outputs_of_runs_are_apart(void **state) {
  (void)state;
  infold_session *session = open_text(net);
  infold_value *values[6];
  for (int i = 0; i < 6; i++) values[i] = run_random(session, 1 + i % 3);
  for (int i = 0; i < 3; i++) {
    assert_int_equal(bytes_of(values[i]), bytes_of(values[i + 3]));
    assert_memory_equal(infold_get_data(values[i]), infold_get_data(values[i + 3]), bytes_of(values[i]));
  }
  for (int i = 0; i < 6; i++)
    for (int k = 0; k < i; k++) assert_true(infold_get_data(values[i]) != infold_get_data(values[k]));
  for (int i = 0; i < 6; i++) infold_destroy_value(values[i]);
  infold_destroy_session(session);
}

/* Inputs that the model has values for, one element for all or each its own, given or not. */
static const char defaults[] = "<ir_version: 8, opset_import: [\"\" : 17]>\n"
                               "g (float[N,2] x, float[2] d, float[3,2] e) => (float[3,2] y)\n"
                               "<float[2] d = {1, 2}, float[3,2] e = {4, 4, 4, 4, 4, 4}>\n"
                               "{ a = Add(x, d)\n y = Mul(a, e) }\n";

static void run_defaults(infold_session *session, const infold_value *x, const infold_value *d, float want0,
                         float want1) {
  infold_error err;
  infold_value *out;
  const infold_value *ins[] = {x, d, NULL};
  if (infold_run(&err, &out, session, ins, NULL)) fail_msg("%s", err.message);
  const float *y = infold_get_data(out);
  for (int i = 0; i < 6; i++) assert_true(y[i] == (i % 2 ? want1 : want0));
  infold_destroy_value(out);
}

static void defaults_stand_in_for_inputs(void **state) {
  (void)state;
  infold_error err;
  infold_value *x, *d;
  infold_session *session = open_text(defaults);
  assert_true(infold_input_has_default(session, 1) && infold_input_has_default(session, 2));
  if (infold_make_value(&err, &x, session, 0, "zeros", 0, 1, 1)) fail_msg("%s", err.message);
  if (infold_make_value(&err, &d, session, 1, "zeros", 0, 1, 1)) fail_msg("%s", err.message);
  for (int i = 0; i < 2; i++) {
    run_defaults(session, x, NULL, 4, 8);
    run_defaults(session, x, d, 0, 0);
  }
  infold_destroy_value(x), infold_destroy_value(d);
  infold_destroy_session(session);
}

static void set_environment(int rounding, bool flush) {
  fesetround(rounding);
#if defined(__x86_64__)
  unsigned mxcsr = __builtin_ia32_stmxcsr();
  __builtin_ia32_ldmxcsr(flush ? mxcsr | 0x8040 : mxcsr & ~0x8040u);
#else
  (void)flush;
#endif
}

static const char small[] = "<ir_version: 8, opset_import: [\"\" : 17]>\n"
                            "g (float[N,40] x) => (float[N,40] y)\n"
                            "<float tiny = {1e-38}, float third = {0.333333}, float big = {1e38},\n"
                            " float a = {1.1}, float b = {0.7}>\n"
                            "{ c = Mul(x, tiny)\n d = Mul(c, third)\n e = Mul(d, big)\n f = Div(a, b)\n"
                            "  y = Add(e, f) }\n";

static void a_batch_of_none_gives_none(void **state) {
  (void)state;
  infold_session *session = open_text(net);
  infold_error err;
  infold_value *in, *out;
  const int64_t dims[] = {0, 3, 19, 19};
  if (infold_create_tensor(&err, &in, 1 /* FLOAT */, dims, 4, "")) fail_msg("%s", err.message);
  const infold_value *ins[] = {in};
  if (infold_run(&err, &out, session, ins, NULL)) fail_msg("%s", err.message);
  assert_int_equal(infold_get_rank(out), 4);
  assert_int_equal(infold_get_dims(out)[0], 0);
  assert_int_equal(infold_get_dims(out)[1], 24);
  infold_destroy_value(in), infold_destroy_value(out);
  infold_destroy_session(session);
}

/* Dimensions whose product no number holds: a session plans for what its model declares, and does not count
 * such elements (sanitized, an overflow is seen). Nobody can give them. */
static void declared_inputs_beyond_memory(void **state) {
  static const char text[] = "<ir_version: 8, opset_import: [\"\" : 17]>\n"
                             "g (float[2,4611686018427387904] x) => (float y)\n"
                             "{ y = ReduceSum<keepdims = 0>(x) }\n";
  (void)state;
  infold_session *session = open_text(text);
  infold_error err;
  infold_value *in;
  assert_int_not_equal(infold_make_value(&err, &in, session, 0, "zeros", 0, 1, 1), INFOLD_OK);
  infold_destroy_session(session);
}

/* Denormal weights count as zeros in sums of products, on every thread; what works element by element keeps
 * such numbers. */
static const char faint[] =
    "<ir_version: 8, opset_import: [\"\" : 17]>\n"
    "g (float[N,512] x) => (float[N,1024] y)\n"
    "<float[512,512] w = splat 1e-39, float faint = {1e-39}>\n"
    "{ p = MatMul(x, w)\n q = Abs(x)\n r = Mul(q, faint)\n y = Concat<axis = 1>(p, r) }\n";

static void sums_of_products_take_denormals_for_zeros(void **state) {
  (void)state;
  infold_session *session = open_text(faint);
  infold_error err;
  infold_value *in, *out;
  if (infold_make_value(&err, &in, session, 0, "random", 7, 64, 1)) fail_msg("%s", err.message);
  const infold_value *ins[] = {in};
  if (infold_run(&err, &out, session, ins, NULL)) fail_msg("%s", err.message);
  const float *x = infold_get_data(in), *y = infold_get_data(out);
  for (int i = 0; i < 64 * 512; i++) {
    const float *row = y + i / 512 * 1024 + i % 512;
    assert_true(row[0] == 0 && row[512] == fabsf(x[i]) * 1e-39f);
  }
  infold_destroy_value(in), infold_destroy_value(out);
  infold_destroy_session(session);
}

/* Rounding and flushing of subnormals are the caller's own affair, while a session is made and while it
 * runs. */
static void bits_do_not_depend_on_the_callers_environment(void **state) {
  static const int roundings[] = {FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO};
  (void)state;
  for (int m = 0; m < 2; m++) {
    infold_session *session = open_text(m ? small : net);
    infold_value *expected = run_random(session, 3);
    for (int i = 0; i < 3; i++) {
      set_environment(roundings[i], true);
      infold_session *again = open_text(m ? small : net);
      infold_value *a = run_random(session, 3), *b = run_random(again, 3);
      int rounding = fegetround();
      set_environment(FE_TONEAREST, false);
      assert_int_equal(rounding, roundings[i]);
      assert_memory_equal(infold_get_data(a), infold_get_data(expected), bytes_of(expected));
      assert_memory_equal(infold_get_data(b), infold_get_data(expected), bytes_of(expected));
      infold_destroy_value(a);
      infold_destroy_value(b);
      infold_destroy_session(again);
    }
    infold_destroy_value(expected);
    infold_destroy_session(session);
  }
}

static void statistics_do_not_either(void **state) {
  (void)state;
  void *bytes[2];
  size_t len[2];
  infold_error err;
  infold_model *model, *measured;
  infold_recalibrate_options options = {.data = "models/digits_test.npz"};
  if (infold_load_model(&err, &model, "models/digits.onnx", NULL)) fail_msg("%s", err.message);
  for (int i = 0; i < 2; i++) {
    set_environment(i ? FE_UPWARD : FE_TONEAREST, i);
    infold_status status = infold_recalibrate_model(&err, &measured, NULL, model, &options);
    set_environment(FE_TONEAREST, false);
    if (status || infold_save_model_to_memory(&err, &bytes[i], &len[i], measured))
      fail_msg("%s", err.message);
    infold_destroy_model(measured);
  }
  assert_int_equal(len[0], len[1]);
  assert_memory_equal(bytes[0], bytes[1], len[0]);
  infold_free(bytes[0]), infold_free(bytes[1]);
  infold_destroy_model(model);
}

/* Weights of convolutions take a form, by way of sums, that a plan for images of this size wants. */
static void nor_do_plans(void **state) {
  static const char text[] = "<ir_version: 8, opset_import: [\"\" : 17]>\n"
                             "g (float[N,64,H,W] x) => (float[N,64,P,Q] y)\n"
                             "<float[64,64,3,3] w = random 1> { y = Conv<pads = [1, 1, 1, 1]>(x, w) }\n";
  (void)state;
  size_t peak;
  infold_error err;
  infold_session *sessions[] = {open_text(text), open_text(text)};
  infold_value *in, *outs[2];
  if (infold_make_value(&err, &in, sessions[0], 0, "random", 7, 1, 9)) fail_msg("%s", err.message);
  const infold_value *ins[] = {in};
  for (int i = 0; i < 2; i++) {
    set_environment(i ? FE_UPWARD : FE_TONEAREST, i);
    infold_status status = infold_get_peak_memory(&err, &peak, sessions[i], ins);
    set_environment(FE_TONEAREST, false);
    assert_int_equal(status, INFOLD_OK);
    if (infold_run(&err, &outs[i], sessions[i], ins, NULL)) fail_msg("%s", err.message);
  }
  assert_memory_equal(infold_get_data(outs[0]), infold_get_data(outs[1]), bytes_of(outs[0]));
  infold_destroy_value(in), infold_destroy_value(outs[0]), infold_destroy_value(outs[1]);
  infold_destroy_session(sessions[0]), infold_destroy_session(sessions[1]);
}

static void flags_are_the_callers(void **state) {
  (void)state;
  infold_session *session = open_text(net);
  feclearexcept(FE_ALL_EXCEPT);
  infold_destroy_value(run_random(session, 3));
  int none = fetestexcept(FE_ALL_EXCEPT);
  feraiseexcept(FE_OVERFLOW);
  infold_destroy_value(run_random(session, 3));
  int raised = fetestexcept(FE_OVERFLOW);
  feclearexcept(FE_ALL_EXCEPT);
  assert_int_equal(none, 0);
  assert_int_equal(raised, FE_OVERFLOW);
  infold_destroy_session(session);
}

static infold_session *open_sharing(infold_pool *pool) {
  infold_error err;
  infold_model *model;
  infold_session *session;
  if (infold_parse_model(&err, &model, net, strlen(net))) fail_msg("%s", err.message);
  infold_session_options options = {.pool = pool};
  if (infold_create_session(&err, &session, model, &options)) fail_msg("%s", err.message);
  infold_destroy_model(model);
  return session;
}

static void *run_often(void *session) {
  infold_value *first = run_random(session, 3);
  for (int i = 0; i < 50; i++) {
    infold_value *next = run_random(session, 3);
    if (memcmp(infold_get_data(first), infold_get_data(next), bytes_of(first)) != 0) return session;
    infold_destroy_value(next);
  }
  infold_destroy_value(first);
  return NULL;
}

/* Two at once on the threads of one pool, which the caller has given up by then. */
static void sessions_share_a_pool(void **state) {
  (void)state;
  infold_error err;
  infold_pool *pool;
  infold_session *sessions[2];
  pthread_t callers[2];
  void *differs;
  assert_int_equal(infold_create_pool(&err, &pool, 3), INFOLD_OK);
  for (int i = 0; i < 2; i++) sessions[i] = open_sharing(pool);
  infold_destroy_pool(pool);
  infold_destroy_pool(NULL);
  for (int i = 0; i < 2; i++) assert_int_equal(pthread_create(&callers[i], NULL, run_often, sessions[i]), 0);
  for (int i = 0; i < 2; i++) {
    assert_int_equal(pthread_join(callers[i], &differs), 0);
    assert_null(differs);
  }
  for (int i = 0; i < 2; i++) infold_destroy_session(sessions[i]);
}

static size_t held(void) {
  struct mallinfo2 m = mallinfo2();
  return m.uordblks + m.hblkhd;
}

/* A run allocates its result and its slab, no weights, whose packed form takes 4 MiB: the batch alone is
 * free. */
static void weights_are_packed_before_the_first_run(void **state) {
  static const char *const nets[] = {
      "<ir_version: 8, opset_import: [\"\" : 17]>\n"
      "g (float[N,tokens,1024] x) => (float[N,tokens,1024] y) <float[1024,1024] w = random 1> { y = "
      "MatMul(x, "
      "w) }\n",
      "<ir_version: 8, opset_import: [\"\" : 17]>\n"
      "g (float[N,1024] x) => (float[N,1024] y) <float[1024,1024] w = random 1> { y = MatMul(x, w) }\n",
      "<ir_version: 8, opset_import: [\"\" : 17]>\n"
      "g (float[1,1024,4,4] x) => (float[1,1024,4,4] y) <float[1024,1024,1,1] w = random 1> { y = Conv(x, w) "
      "}\n"};
  (void)state;
  for (int i = 0; i < 3; i++) {
    infold_session *session = open_text(nets[i]);
    size_t before = held();
    infold_destroy_value(run_random(session, 1));
    assert_true(held() < before + (1 << 20));
    infold_destroy_session(session);
  }
}

static infold_value *row_of(int64_t n) {
  infold_error err;
  infold_value *v;
  float *data = calloc((size_t)n, sizeof *data);
  for (int64_t i = 0; i < n; i++) data[i] = (float)i;
  if (infold_create_tensor(&err, &v, 1 /* FLOAT */, &n, 1, data)) fail_msg("%s", err.message);
  free(data);
  return v;
}

/* Exporters give dimensions that differ one name. The Expand is none where N is one number. */
static void names_of_dimensions_may_not_hold(void **state) {
  (void)state;
  static const char expands[] = "<ir_version: 8, opset_import: [\"\" : 17]>\n"
                                "g (float[N] a, float[N] b) => (float[N] y, float[M] z)\n"
                                "{ s = Shape(a)\n y = Expand(b, s)\n z = Concat<axis = 0>(a, b) }\n";
  infold_session *session = open_text(expands);
  static const struct {
    int64_t a, b;
    bool fits;
  } cases[] = {{4, 4, true}, {4, 1, true}, {4, 3, false}, {5, 1, true}, {3, 3, true}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    infold_error err;
    infold_value *in[] = {row_of(cases[i].a), row_of(cases[i].b)}, *out[2];
    size_t peak;
    infold_status status = infold_run(&err, out, session, (const infold_value *const *)in, NULL);
    assert_int_equal(status, cases[i].fits ? INFOLD_OK : INFOLD_BAD_INPUT);
    if (cases[i].fits) {
      assert_int_equal(infold_get_peak_memory(&err, &peak, session, (const infold_value *const *)in),
                       INFOLD_OK);
      assert_int_equal(infold_get_dims(out[0])[0], cases[i].a);
      assert_int_equal(infold_get_dims(out[1])[0], cases[i].a + cases[i].b);
      const float *y = infold_get_data(out[0]);
      for (int64_t k = 0; k < cases[i].a; k++) assert_true(y[k] == (cases[i].b == 1 ? 0 : (float)k));
    } else
      assert_non_null(strstr(err.message, "input 'b': dimension 0 (N) is 3, but 4 in an earlier input"));
    for (int k = 0; k < 2; k++) infold_destroy_value(in[k]), infold_destroy_value(out[k]);
  }
  infold_destroy_session(session);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(outputs_outlive_the_session),
      cmocka_unit_test(outputs_of_runs_are_apart),
      cmocka_unit_test(defaults_stand_in_for_inputs),
      cmocka_unit_test(a_batch_of_none_gives_none),
      cmocka_unit_test(declared_inputs_beyond_memory),
      cmocka_unit_test(sums_of_products_take_denormals_for_zeros),
      cmocka_unit_test(bits_do_not_depend_on_the_callers_environment),
      cmocka_unit_test(statistics_do_not_either),
      cmocka_unit_test(nor_do_plans),
      cmocka_unit_test(flags_are_the_callers),
      cmocka_unit_test(sessions_share_a_pool),
      cmocka_unit_test(weights_are_packed_before_the_first_run),
      cmocka_unit_test(names_of_dimensions_may_not_hold),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
