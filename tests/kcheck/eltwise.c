/* Elementwise rows: the same bits on every ISA for every length, offset and odd value; values against double
 * and against the evaluator's casts. Limits of error are those that kernels/vmath.h states. */
#include "kcheck/buffer.h"

#include "base/checked.h"
#include "kernels/eltwise/eltwise.h"
#include "kernels/kernels.h"
#include "tensor/convert.h"

static const struct ifd_k_eltwise_table *table(ifd_isa isa) { return ifd_k_eltwise(isa); }

/* n floats of any magnitude with odd values among them, in memory of exactly their size */
static float *floats_new(size_t n, uint64_t *state) {
  float *x = malloc(n ? n * sizeof *x : 1);
  assert_non_null(x);
  for (size_t i = 0; i < n; i++) {
    uint32_t bits = rand_u32(state), kind = rand_u32(state) % 4;
    memcpy(&x[i], &bits, sizeof bits);
    if (kind < 3) x[i] = rand_float(state) * (kind == 0 ? 1 : kind == 1 ? 12 : 100);
    if (rand_u32(state) % 24 == 0)
      x[i] = (const float[]){0, -0.f, 1, -1, 1e-45f, -1e-40f, INFINITY, -INFINITY, NAN}[rand_u32(state) % 9];
  }
  return x;
}

/* ---- unary ---- */

static double sign(double x) { return x > 0 ? 1 : x < 0 ? -1 : x; }
static double identity(double x) { return x; }
static double negative(double x) { return -x; }
static double reciprocal(double x) { return 1 / x; }
static double relu(double x) { return x < 0 ? 0 : x; }
static double leaky_relu(double x) { return x < 0 ? 0.25 * x : x; }
static double elu(double x) { return x < 0 ? 0.25 * expm1(x) : x; }
static double celu(double x) { return x > 0 ? x : 0.25 * expm1(x / 0.25); }
static double selu(double x) { return 1.5 * (x > 0 ? x : 0.25 * expm1(x)); }
static double hard_sigmoid(double x) { return x != x ? x : fmin(1, fmax(0, 0.25 * x + 1.5)); }
static double hard_swish(double x) {
  return x * (x != x ? x : fmin(1, fmax(0, x * (double)(1.f / 6) + 0.5)));
}
static double sigmoid(double x) { return 1 / (1 + exp(-x)); }
static double softplus(double x) { return log1p(exp(-fabs(x))) + (x > 0 ? x : 0); }
static double mish(double x) { return x * tanh(softplus(x)); }
static double softsign(double x) { return x / (1 + fabs(x)); }
static double swish(double x) { return x * sigmoid(0.25 * x); }
static double thresholded_relu(double x) { return x > 0.25 ? x : 0; }
static double shrink(double x) { return x < -0.25 ? x + 1.5 : x > 0.25 ? x - 1.5 : 0; }
static double gelu(double x) { return .5 * x * erfc(-x * M_SQRT1_2); }
static double gelu_tanh(double x) { return x * sigmoid(2 * sqrt(2 / M_PI) * (x + .044715 * x * x * x)); }
static double clip(double x) { return x < 0.25 ? 0.25 : x > 1.5 ? 1.5 : x; }
static double round_float16(double x) { return (double)ifd_f16_to_f32(ifd_f64_to_f16(x)); }
static double round_bfloat16(double x) { return (double)ifd_bf16_to_f32(ifd_f32_to_bf16((float)x)); }

static const float params[IFD_EL_PARAMS] = {0.25f, 1.5f};

/* The function in double and the largest error in ulp, for x >= from. */
static const struct {
  ifd_el op;
  double (*f)(double);
  double ulp, from;
} functions[] = {
    {IFD_EL_Identity, identity, 0, -INFINITY},
    {IFD_EL_Abs, fabs, 0, -INFINITY},
    {IFD_EL_Neg, negative, 0, -INFINITY},
    {IFD_EL_Sign, sign, 0, -INFINITY},
    {IFD_EL_Reciprocal, reciprocal, 0.501, -INFINITY},
    {IFD_EL_Sqrt, sqrt, 0.501, -INFINITY},
    {IFD_EL_Exp, exp, 0.9, -INFINITY},
    {IFD_EL_Log, log, 1, -INFINITY},
    {IFD_EL_Sin, sin, 1.6, -INFINITY},
    {IFD_EL_Cos, cos, 1.6, -INFINITY},
    {IFD_EL_Tan, tan, 3.3, -INFINITY},
    {IFD_EL_Asin, asin, 2.1, -INFINITY},
    {IFD_EL_Acos, acos, 1.5, -INFINITY},
    {IFD_EL_Atan, atan, 2, -INFINITY},
    {IFD_EL_Sinh, sinh, 2.6, -INFINITY},
    {IFD_EL_Cosh, cosh, 1.5, -INFINITY},
    {IFD_EL_Asinh, asinh, 2, -INFINITY},
    {IFD_EL_Acosh, acosh, 2, -INFINITY},
    {IFD_EL_Atanh, atanh, 2.2, -INFINITY},
    {IFD_EL_Erf, erf, 1.3, -INFINITY},
    {IFD_EL_Ceil, ceil, 0, -INFINITY},
    {IFD_EL_Floor, floor, 0, -INFINITY},
    {IFD_EL_Round, rint, 0, -INFINITY},
    {IFD_EL_Relu, relu, 0, -INFINITY},
    {IFD_EL_LeakyRelu, leaky_relu, 0.501, -INFINITY},
    {IFD_EL_Elu, elu, 1.6, -INFINITY},
    {IFD_EL_Celu, celu, 1.6, -INFINITY},
    {IFD_EL_Selu, selu, 2.6, -INFINITY},
    {IFD_EL_HardSigmoid, hard_sigmoid, 0x1p24, -INFINITY}, /* cancels: held to 1e-6 below */
    {IFD_EL_HardSwish, hard_swish, 0x1p24, -INFINITY},
    {IFD_EL_Mish, mish, 4.6, -87},
    {IFD_EL_Sigmoid, sigmoid, 2.3, -INFINITY},
    {IFD_EL_Softplus, softplus, 1.8, -INFINITY},
    {IFD_EL_Softsign, softsign, 1.5, -INFINITY},
    {IFD_EL_Swish, swish, 2.5, -340},
    {IFD_EL_ThresholdedRelu, thresholded_relu, 0, -INFINITY},
    {IFD_EL_Shrink, shrink, 0.501, -INFINITY},
    {IFD_EL_Tanh, tanh, 2.6, -INFINITY},
    {IFD_EL_Gelu, gelu, 7, -12},
    {IFD_EL_GeluTanh, gelu_tanh, 2.7, -5},
    {IFD_EL_Clip, clip, 0, -INFINITY},
    {IFD_EL_RoundFloat16, round_float16, 0, -INFINITY},
    {IFD_EL_RoundBFloat16, round_bfloat16, 0, -INFINITY},
};

/* Distance of y from the real number r in units of the last place of r as a float */
static double ulps(double r, float y) {
  int e;
  if (isnan(r) || isnan(y)) return isnan(r) && isnan(y) ? 0 : INFINITY;
  if (isinf(y)) return fabs(r) > 0x1.fffffep127 && signbit(r) == signbit((double)y) ? 0 : INFINITY;
  if (isinf(r)) return INFINITY;
  if (r == 0 && y == 0) return signbit(r) == signbit((double)y) ? 0 : INFINITY;
  frexp(r, &e);
  return fabs(y - r) / ldexp(1, (e < -125 ? -125 : e) - 24);
}

static void check_values(size_t f, const float *x, size_t n) {
  float y[4096];
  table(ifd_cpu_isa())->unary(functions[f].op, IFD_FLOAT)(params, x, y, n);
  for (size_t i = 0; i < n; i++) {
    if (x[i] < functions[f].from) continue;
    double want = functions[f].f(x[i]), limit = functions[f].ulp;
    if (limit == 0x1p24 ? fabs(y[i] - want) <= 1e-6 * (1 + fabs(want)) : ulps(want, y[i]) <= limit) continue;
    if (limit == 0x1p24 && isinf(want) && y[i] == want) continue;
    if (isnan(want) && isnan(y[i])) continue;
    fail_msg("operator %d of %a gives %a, not %a", functions[f].op, (double)x[i], (double)y[i], want);
  }
}

/* Numbers from all over the float range, and again between -32 and 32. */
static void unary_values(void **unused) {
  (void)unused;
  static float x[4096];
  for (size_t f = 0; f < sizeof functions / sizeof *functions; f++) {
    uint64_t bits = 0;
    while (bits < (uint64_t)1 << 32) {
      for (size_t i = 0; i < 4096; i++, bits += 65521) {
        uint32_t b = (uint32_t)bits;
        memcpy(&x[i], &b, sizeof b);
      }
      check_values(f, x, 4096);
    }
    for (int block = 0; block < 8; block++) {
      for (int i = 0; i < 4096; i++) x[i] = (float)(block * 4096 + i - 16384) * 0x1.001p-9f;
      check_values(f, x, 4096);
    }
  }
}

static void check_bits(size_t f, const float *x, size_t n) {
  float *want = malloc((n + 1) * sizeof *want);
  assert_non_null(want);
  table(IFD_ISA_REF)->unary(functions[f].op, IFD_FLOAT)(params, x, want, n);
  for (ifd_isa isa = IFD_ISA_AVX2; isa <= ifd_cpu_isa(); isa++) {
    buffer y = buffer_floats((int64_t)n);
    table(isa)->unary(functions[f].op, IFD_FLOAT)(params, x, y.f, n);
    assert_true(same_floats(y.f, want, (int64_t)n));
    memcpy(y.f, x, n * sizeof(float)); /* in place */
    table(isa)->unary(functions[f].op, IFD_FLOAT)(params, y.f, y.f, n);
    assert_true(same_floats(y.f, want, (int64_t)n));
    buffer_free(&y);
  }
  free(want);
}

static void unary_bits(void **unused) {
  (void)unused;
  uint64_t state = 1;
  for (size_t f = 0; f < sizeof functions / sizeof *functions; f++)
    for (size_t n = 0; n < 70; n++) {
      size_t offset = n % 5;
      float *x = floats_new(n + offset, &state);
      check_bits(f, x + offset, n);
      free(x);
    }
}

/* Numbers in order, so that vectors lie on one side of each limit: kernels may leave out the other. */
static void unary_bits_in_order(void **unused) {
  (void)unused;
  static float x[1 << 14];
  enum { N = sizeof x / sizeof *x };
  for (size_t f = 0; f < sizeof functions / sizeof *functions; f++) {
    for (int i = 0; i < N; i++) x[i] = (float)(i - N / 2) * 0x1.9p-10f;
    x[N / 2 - 3] = NAN;
    check_bits(f, x, N);
  }
}

static void tests_and_integers(void **unused) {
  (void)unused;
  enum { N = 100 };
  uint64_t state = 2;
  float *x = floats_new(N, &state);
  int64_t w[N], wide[N];
  int32_t v[N], narrow[N];
  uint8_t bytes[N];
  const float positive[] = {0, 1};
  for (int i = 0; i < N; i++) {
    w[i] = (int64_t)((uint64_t)rand_u32(&state) << 32 | rand_u32(&state));
    v[i] = i < 4 ? INT32_MIN : (int32_t)w[i] >> (i % 32);
    if (i < 3) w[i] = INT64_MIN;
  }
  for (ifd_isa isa = IFD_ISA_REF; isa <= ifd_cpu_isa(); isa++) {
    const struct ifd_k_eltwise_table *t = table(isa);
    t->unary(IFD_EL_IsNaN, IFD_FLOAT)(NULL, x, bytes, N);
    for (int i = 0; i < N; i++) assert_int_equal(bytes[i], isnan(x[i]) != 0);
    t->unary(IFD_EL_IsInf, IFD_FLOAT)(positive, x, bytes, N);
    for (int i = 0; i < N; i++) assert_int_equal(bytes[i], x[i] == INFINITY);
    t->unary(IFD_EL_Abs, IFD_INT64)(NULL, w, wide, N);
    t->unary(IFD_EL_Sign, IFD_INT32)(NULL, v, narrow, N);
    for (int i = 0; i < N; i++) {
      assert_true(wide[i] == (w[i] < 0 ? (int64_t) - (uint64_t)w[i] : w[i]));
      assert_int_equal(narrow[i], (v[i] > 0) - (v[i] < 0));
    }
    assert_null(t->unary(IFD_EL_Exp, IFD_INT64));
    assert_null(t->unary(IFD_EL_Not, IFD_FLOAT));
  }
  free(x);
}

/* ---- binary ---- */

static double binary_f64(ifd_el op, double a, double b) {
  switch (op) {
  case IFD_EL_Add: return a + b;
  case IFD_EL_Sub: return a - b;
  case IFD_EL_Mul: return a * b;
  case IFD_EL_Div: return a / b;
  case IFD_EL_Min: return a < b || a != a ? a : b;
  case IFD_EL_Max: return a > b || a != a ? a : b;
  case IFD_EL_Pow: return pow(a, b);
  case IFD_EL_PRelu: return a > 0 ? a : a * b;
  case IFD_EL_Equal: return a == b;
  case IFD_EL_Less: return a < b;
  case IFD_EL_LessOrEqual: return a <= b;
  case IFD_EL_Greater: return a > b;
  default: return a >= b;
  }
}

static void binary_floats(void **unused) {
  (void)unused;
  uint64_t state = 3;
  for (ifd_el op = IFD_EL_N_UNARY; op < IFD_EL_N_FLOAT; op++)
    for (size_t n = 0; n < 70; n++)
      for (int steps = 0; steps < 4; steps++) {
        const int sa = steps & 1, sb = steps >> 1;
        float *a = floats_new(sa ? n : 1, &state), *b = floats_new(sb ? n : 1, &state);
        float *want = malloc((n + 1) * sizeof *want);
        table(IFD_ISA_REF)->binary(op, IFD_FLOAT)(a, sa, b, sb, want, n);
        for (size_t i = 0; i < n; i++)
          assert_true(ulps(binary_f64(op, a[sa ? i : 0], b[sb ? i : 0]), want[i]) <= 0.8);
        for (ifd_isa isa = IFD_ISA_AVX2; isa <= ifd_cpu_isa(); isa++) {
          buffer z = buffer_floats((int64_t)n);
          table(isa)->binary(op, IFD_FLOAT)(a, sa, b, sb, z.f, n);
          assert_true(same_floats(z.f, want, (int64_t)n));
          buffer_free(&z);
        }
        free(a), free(b), free(want);
      }
}

/* One divisor against many elements: what division gives, at the edges of what multiplications do, too. */
static void quotients(void **unused) {
  (void)unused;
  uint64_t state = 11;
  enum { N = 4099 };
  static const float divisors[] = {3,      -7.1f, 0x1p-30f, 0x1.fffffep-31f, 0x1p30f, 0x1.000002p30f,
                                   1e-40f, 0,     INFINITY};
  float *a = malloc(N * sizeof *a), *z = malloc(N * sizeof *z);
  for (int round = 0; round < 300; round++) {
    const float b =
        round < 9 ? divisors[round] : rand_float(&state) * ldexpf(1, (int)rand_in(&state, -32, 32));
    const int spread = (int)rand_in(&state, 0, 140);
    for (int i = 0; i < N; i++) a[i] = rand_float(&state) * ldexpf(1, (int)rand_in(&state, -spread, spread));
    for (int i = 0; i < N; i += 61)
      a[i] = (const float[]){0, -0.f, 1e-45f, INFINITY, NAN, b}[rand_u32(&state) % 6];
    for (ifd_isa isa = IFD_ISA_REF; isa <= ifd_cpu_isa(); isa++) {
      table(isa)->binary(IFD_EL_Div, IFD_FLOAT)(a, 1, &b, 0, z, N);
      for (int i = 0; i < N; i++) {
        const float want = a[i] / b;
        assert_true(same_floats(&z[i], &want, 1));
      }
    }
  }
  free(a), free(z);
}

static void comparisons(void **unused) {
  (void)unused;
  uint64_t state = 4;
  enum { N = 67 };
  for (ifd_isa isa = IFD_ISA_REF; isa <= ifd_cpu_isa(); isa++)
    for (ifd_el op = IFD_EL_Equal; op < IFD_EL_N; op++) {
      float *a = floats_new(N, &state), *b = floats_new(N, &state);
      int64_t ia[N], ib[N];
      uint8_t z[N];
      for (int i = 0; i < N; i++) {
        if (i % 3 == 0) b[i] = a[i];
        ia[i] = (int64_t)rand_u32(&state) << 30, ib[i] = i % 3 ? -ia[i] : ia[i];
      }
      table(isa)->binary(op, IFD_FLOAT)(a, 1, b, 1, z, N);
      for (int i = 0; i < N; i++) assert_int_equal(z[i], (int)binary_f64(op, a[i], b[i]));
      table(isa)->binary(op, IFD_INT64)(ia, 1, ib, 0, z, N);
      for (int i = 0; i < N; i++) assert_int_equal(z[i], (int)binary_f64(op, (double)ia[i], (double)ib[0]));
      free(a), free(b);
    }
}

static void integers(void **unused) {
  (void)unused;
  uint64_t state = 5;
  enum { N = 45 };
  for (ifd_isa isa = IFD_ISA_REF; isa <= ifd_cpu_isa(); isa++)
    for (int round = 0; round < 20; round++) {
      int32_t a[N], b[N], z[N];
      uint8_t ba[N], bb[N], bz[N];
      for (int i = 0; i < N; i++) {
        a[i] = (int32_t)rand_u32(&state), b[i] = (int32_t)rand_u32(&state);
        ba[i] = (uint8_t)a[i], bb[i] = (uint8_t)b[i];
      }
      const struct ifd_k_eltwise_table *t = table(isa);
      t->binary(IFD_EL_Mul, IFD_INT32)(a, 1, b, round & 1, z, N);
      for (int i = 0; i < N; i++)
        assert_int_equal(z[i], (int32_t)((uint32_t)a[i] * (uint32_t)b[round & 1 ? i : 0]));
      t->binary(IFD_EL_Sub, IFD_UINT8)(ba, round & 1, bb, 1, bz, N);
      for (int i = 0; i < N; i++) assert_int_equal(bz[i], (uint8_t)(ba[round & 1 ? i : 0] - bb[i]));
      t->binary(IFD_EL_Max, IFD_INT32)(a, 1, b, 1, a, N); /* in place */
      for (int i = 0; i < N; i++) assert_true(a[i] >= b[i]);
      t->binary(IFD_EL_Xor, IFD_UINT32)(a, 1, b, 1, z, N);
      for (int i = 0; i < N; i++) assert_int_equal(z[i], a[i] ^ b[i]);
      assert_null(t->binary(IFD_EL_Div, IFD_INT32));
      assert_null(t->binary(IFD_EL_And, IFD_FLOAT));
    }
}

/* Operands of `size` bytes: any, small ones, the least and the greatest. */
static void draw_integers(void *to, size_t size, int n, uint64_t *state) {
  for (int i = 0; i < n; i++) {
    uint64_t v = (uint64_t)rand_u32(state) << 32 | rand_u32(state);
    int kind = (int)rand_in(state, 0, 5);
    v = kind == 0   ? (uint64_t)rand_in(state, -3, 3)
        : kind == 1 ? (uint64_t)1 << (8 * size - 1)
        : kind == 2 ? ((uint64_t)1 << (8 * size - 1)) - 1
        : kind == 3 ? v % 1000
                    : v;
    memcpy((char *)to + i * (int)size, &v, size);
  }
}

static bool is_signed(ifd_dtype t) {
  return t == IFD_INT8 || t == IFD_INT16 || t == IFD_INT32 || t == IFD_INT64;
}

static int64_t divided(ifd_integer_op op, ifd_dtype t, const void *x, const void *y) {
  int64_t a, b;
  ifd_load_i64(t, x, &a, 1), ifd_load_i64(t, y, &b, 1);
  if (!is_signed(t)) return (int64_t)(op ? (uint64_t)a % (uint64_t)b : (uint64_t)a / (uint64_t)b);
  return op == IFD_INTEGER_DIV         ? ifd_quotient(a, b)
         : op == IFD_INTEGER_FLOOR_MOD ? ifd_floor_mod(a, b)
                                       : ifd_remainder(a, b);
}

static uint64_t combined(ifd_el op, ifd_dtype t, uint64_t a, uint64_t b) {
  const bool less = is_signed(t) ? (int64_t)a < (int64_t)b : a < b;
  switch (op) {
  case IFD_EL_Add: return a + b;
  case IFD_EL_Sub: return a - b;
  case IFD_EL_Mul: return a * b;
  case IFD_EL_Min: return less ? a : b;
  case IFD_EL_Max: return less ? b : a;
  case IFD_EL_And: return a & b;
  case IFD_EL_Or: return a | b;
  case IFD_EL_Xor: return a ^ b;
  case IFD_EL_Equal: return a == b;
  case IFD_EL_Less: return less;
  case IFD_EL_LessOrEqual: return less || a == b;
  case IFD_EL_Greater: return !less && a != b;
  default: return !less;
  }
}

static void integers_of_any_size(void **unused) {
  (void)unused;
  uint64_t state = 16;
  enum { N = 67 };
  for (ifd_isa isa = IFD_ISA_REF; isa <= ifd_cpu_isa(); isa++)
    for (ifd_dtype t = 0; t < IFD_N_DTYPES; t++)
      for (ifd_el op = IFD_EL_Add; op < IFD_EL_N && table(isa)->integer(IFD_INTEGER_DIV, t); op++)
        for (int round = 0; round < 4 && ifd_dtype_is_integer(t) && table(isa)->binary(op, t); round++) {
          const size_t size = ifd_dtype_size(t), out_size = op < IFD_EL_Equal ? size : 1;
          const int sa = round & 1, sb = round >> 1 & 1;
          uint64_t a[N], b[N], z[N];
          int64_t wide_a[N], wide_b[N];
          draw_integers(a, size, N, &state), draw_integers(b, size, N, &state);
          if (op >= IFD_EL_Equal) memcpy(a, b, size * N / 2);
          ifd_load_i64(t, a, wide_a, N), ifd_load_i64(t, b, wide_b, N);
          table(isa)->binary(op, t)(a, sa, b, sb, z, N);
          for (int i = 0; i < N && op != IFD_EL_PRelu; i++) {
            const uint64_t want = combined(op, t, (uint64_t)wide_a[sa ? i : 0], (uint64_t)wide_b[sb ? i : 0]);
            assert_memory_equal((char *)z + (size_t)i * out_size, &want, out_size);
          }
        }
}

static void divisions(void **unused) {
  (void)unused;
  uint64_t state = 15;
  enum { N = 67 };
  for (ifd_isa isa = IFD_ISA_REF; isa <= ifd_cpu_isa(); isa++)
    for (ifd_dtype t = 0; t < IFD_N_DTYPES; t++)
      for (int round = 0; round < 40 && table(isa)->integer(IFD_INTEGER_DIV, t); round++) {
        size_t size = ifd_dtype_size(t);
        uint64_t a[N], b[N], z[N];
        const char *x = (char *)a, *y = (char *)b;
        const int sa = round & 1, sb = round >> 1 & 1;
        draw_integers(a, size, N, &state), draw_integers(b, size, N, &state);
        for (int i = 0; i < N; i++)
          while (table(isa)->has_zero(size, y + i * (int)size, 1))
            draw_integers((char *)b + i * (int)size, size, 1, &state);
        assert_false(table(isa)->has_zero(size, b, N));
        for (int op = IFD_INTEGER_DIV; op <= IFD_INTEGER_TRUNC_MOD; op++) {
          table(isa)->integer(op, t)(a, sa, b, sb, z, N);
          for (int i = 0; i < N; i++) {
            int64_t want = divided(op, t, x + (sa ? i : 0) * (int)size, y + (sb ? i : 0) * (int)size);
            assert_memory_equal((char *)z + i * (int)size, &want, size);
          }
        }
        memset((char *)b + rand_in(&state, 0, N - 1) * (int64_t)size, 0, size);
        assert_true(table(isa)->has_zero(size, b, N));
      }
}

static void remainders_of_floats(void **unused) {
  (void)unused;
  uint64_t state = 17;
  enum { N = 64 * 5 + 7 };
  float x[N], y[N], z[N];
  for (int round = 0; round < 200; round++) {
    const int sa = round % 3 != 1, sb = round % 3 != 2, apart = (int)rand_in(&state, 1, 40);
    for (int i = 0; i < N; i++) {
      x[i] = ldexpf(rand_float(&state), (int)rand_in(&state, -apart, apart));
      y[i] = ldexpf(rand_float(&state), (int)rand_in(&state, -apart, apart));
      if (rand_u32(&state) % 8 == 0) x[i] = y[i] * (float)rand_in(&state, -9, 9);
    }
    if (round % 2) /* what has a remainder of its own */
      for (int i = 0; i < 6; i++) {
        x[rand_in(&state, 0, N - 1)] = (float[]){0, -0.f, INFINITY, -INFINITY, NAN, 1e-45f}[i];
        y[rand_in(&state, 0, N - 1)] = (float[]){0, -0.f, INFINITY, -INFINITY, NAN, 1e-45f}[i];
      }
    for (ifd_isa isa = IFD_ISA_REF; isa <= ifd_cpu_isa(); isa++) {
      table(isa)->integer(IFD_INTEGER_TRUNC_MOD, IFD_FLOAT)(x, sa, y, sb, z, N);
      for (int i = 0; i < N; i++) {
        const float want = fmodf(x[sa ? i : 0], y[sb ? i : 0]);
        assert_true(isnan(want) ? isnan(z[i]) : memcmp(&z[i], &want, sizeof want) == 0);
      }
    }
  }
}

static void tests_of_doubles(void **unused) {
  (void)unused;
  const double x[] = {1, -INFINITY, NAN, INFINITY, -0., 1e308, -NAN, INFINITY, 3, INFINITY, NAN};
  const float both[] = {1, 1}, high[] = {0, 1};
  enum { N = sizeof x / sizeof *x };
  uint8_t y[N];
  for (ifd_isa isa = IFD_ISA_REF; isa <= ifd_cpu_isa(); isa++) {
    table(isa)->unary(IFD_EL_IsNaN, IFD_DOUBLE)(NULL, x, y, N);
    for (int i = 0; i < N; i++) assert_int_equal(y[i], isnan(x[i]) != 0);
    table(isa)->unary(IFD_EL_IsInf, IFD_DOUBLE)(both, x, y, N);
    for (int i = 0; i < N; i++) assert_int_equal(y[i], isinf(x[i]) != 0);
    table(isa)->unary(IFD_EL_IsInf, IFD_DOUBLE)(high, x, y, N);
    for (int i = 0; i < N; i++) assert_int_equal(y[i], x[i] == INFINITY);
  }
}

static void exp_of_doubles(void **unused) {
  (void)unused;
  uint64_t state = 17;
  enum { N = 20011 };
  static double x[N], want[N], y[N];
  for (int i = 0; i < N; i++)
    x[i] = ((double)rand_u32(&state) * 0x1p-31 - 1) * (const double[]){.01, 1, 40, 707}[rand_u32(&state) % 4];
  memcpy(x + N / 2, (double[]){0, -0., INFINITY, -INFINITY, NAN, 709.5, 710, -708.5, -740, -746},
         10 * sizeof *x);
  for (ifd_isa isa = IFD_ISA_REF; isa <= ifd_cpu_isa(); isa++) {
    table(isa)->unary(IFD_EL_Exp, IFD_DOUBLE)(NULL, x, isa == IFD_ISA_REF ? want : y, N);
    for (int i = 0; i < N && isa == IFD_ISA_REF; i++) {
      const long double e = expl(x[i]);
      int exponent;
      frexpl(e, &exponent);
      assert_true(fabs(x[i]) < 708 ? fabsl(want[i] - e) <= ldexpl(0.511L, exponent - 53)
                  : isnan(x[i])    ? isnan(want[i])
                                   : want[i] == exp(x[i]));
    }
    for (int i = 0; i < N && isa != IFD_ISA_REF; i++)
      assert_true(isnan(want[i]) ? isnan(y[i]) : memcmp(&y[i], &want[i], sizeof *y) == 0);
  }
}

static void tanh_of_doubles(void **unused) {
  (void)unused;
  uint64_t state = 16;
  enum { N = 20011 };
  static double x[N], want[N], y[N];
  for (int i = 0; i < N; i++) {
    double unit = (double)rand_u32(&state) * 0x1p-32 * (rand_u32(&state) & 1 ? 1 : -1);
    x[i] = i % 2 ? unit * 25 : ldexp(unit, (int)rand_in(&state, -1060, 6));
  }
  memcpy(x, (double[]){0, -0., INFINITY, -INFINITY, NAN, 0.625, 22.5, 1e300}, 8 * sizeof *x);
  for (ifd_isa isa = IFD_ISA_REF; isa <= ifd_cpu_isa(); isa++) {
    table(isa)->unary(IFD_EL_Tanh, IFD_DOUBLE)(NULL, x, isa == IFD_ISA_REF ? want : y, N);
    for (int i = 0; i < N && isa == IFD_ISA_REF; i++) {
      double t = tanh(x[i]);
      assert_true(isnan(t) ? isnan(want[i])
                           : fabs(want[i] - t) <= 3 * (nextafter(fabs(t), INFINITY) - fabs(t)));
      assert_true(isnan(t) || !signbit(want[i]) == !signbit(x[i]));
    }
    for (int i = 0; i < N && isa != IFD_ISA_REF; i++)
      assert_true(isnan(want[i]) ? isnan(y[i]) : memcmp(&y[i], &want[i], sizeof *y) == 0);
  }
}

static void selections(void **unused) {
  (void)unused;
  uint64_t state = 6;
  enum { N = 75 };
  unsigned char a[8 * N], b[8 * N], want[8 * N];
  uint8_t c[N];
  for (int i = 0; i < 8 * N; i++)
    a[i] = (unsigned char)rand_u32(&state), b[i] = (unsigned char)rand_u32(&state);
  for (ifd_isa isa = IFD_ISA_REF; isa <= ifd_cpu_isa(); isa++)
    for (size_t size = 1; size <= 8; size *= 2)
      for (int steps = 0; steps < 8; steps++) {
        const int sc = steps & 1, sa = steps >> 1 & 1, sb = steps >> 2;
        buffer z = buffer_new(size * N);
        for (size_t i = 0; i < N; i++) {
          c[i] = (uint8_t)(rand_u32(&state) % 2);
          memcpy(want + i * size, c[sc ? i : 0] ? a + (sa ? i * size : 0) : b + (sb ? i * size : 0), size);
        }
        table(isa)->select(size)(c, sc, a, sa, b, sb, z.f, N);
        assert_memory_equal(z.f, want, size * N);
        buffer_free(&z);
      }
}

/* ---- casts ---- */

static bool both_nan(ifd_dtype t, const void *a, const void *b, size_t i) {
  float x, y;
  if (!ifd_dtype_is_float(t)) return false;
  ifd_load_f32(t, (const char *)a + i * ifd_dtype_size(t), &x, 1);
  ifd_load_f32(t, (const char *)b + i * ifd_dtype_size(t), &y, 1);
  return isnan(x) && isnan(y);
}

static void casts(void **unused) {
  (void)unused;
  enum { N = 65536 };
  static const ifd_dtype types[] = {IFD_FLOAT,  IFD_FLOAT16, IFD_BFLOAT16, IFD_DOUBLE, IFD_INT64,
                                    IFD_INT32,  IFD_INT16,   IFD_INT8,     IFD_UINT64, IFD_UINT32,
                                    IFD_UINT16, IFD_UINT8,   IFD_BOOL};
  uint64_t state = 7, *x = malloc(8 * N), *want = malloc(8 * N);
  int pairs = 0;
  for (size_t f = 0; f < sizeof types / sizeof *types; f++)
    for (size_t t = 0; t < sizeof types / sizeof *types; t++) {
      const size_t from = ifd_dtype_size(types[f]), to = ifd_dtype_size(types[t]);
      if (!table(IFD_ISA_REF)->cast(types[t], types[f])) continue;
      pairs++;
      for (size_t i = 0; i < N; i++) { /* every 16-bit pattern, and numbers of every size */
        float number = rand_float(&state) * exp2f((float)(i % 70));
        double wide = number;
        if (i % 8 == 1) /* halfway between 16-bit floats, or not quite */
          wide = (1 + (double)(i % 2048) * 0x1p-11 + (double)((int)(i % 3) - 1) * 0x1p-45) *
                 exp2((double)(i % 40) - 26);
        uint64_t random = (uint64_t)rand_u32(&state) << 32 | rand_u32(&state);
        if (types[f] == IFD_FLOAT && i % 2) memcpy(&random, &number, sizeof number);
        if (types[f] == IFD_DOUBLE && i % 2) memcpy(&random, &wide, sizeof wide);
        if (ifd_dtype_is_integer(types[f]) && i % 4 == 3) random >>= i % 64;
        if (i / 256 % 2 && from > 2) { /* blocks that 32 bits hold, but for some of their elements */
          const int64_t whole = rand_in(&state, INT32_MIN, INT32_MAX) >> i % 32;
          number = (float)whole * .75f, wide = (double)whole * .75;
          if (ifd_dtype_is_integer(types[f])) memcpy(&random, &whole, sizeof whole);
          if (types[f] == IFD_FLOAT) memcpy(&random, &number, sizeof number);
          if (types[f] == IFD_DOUBLE) memcpy(&random, &wide, sizeof wide);
          if (types[f] == IFD_UINT64 && i / 512 % 2) random &= INT32_MAX;
        }
        if (types[f] == IFD_BOOL) random &= 0x0101010101010101;
        if (from == 2) random = i * 0x0001000100010001;
        memcpy((char *)x + i * from, &random, from);
      }
      ifd_cast(types[t], want, types[f], x, N, true, IFD_ROUND_NEAREST);
      for (ifd_isa isa = IFD_ISA_REF; isa <= ifd_cpu_isa(); isa++)
        for (size_t n = N - 37; n <= N; n += 37) {
          buffer y = buffer_new(n * to);
          table(isa)->cast(types[t], types[f])(x, y.f, n);
          for (size_t i = 0; i < n; i++)
            if (memcmp((char *)y.f + i * to, (char *)want + i * to, to) && !both_nan(types[t], y.f, want, i))
              fail_msg("%s to %s on %s: element %zu", ifd_dtype_name(types[f]), ifd_dtype_name(types[t]),
                       ifd_isa_name(isa), i);
          buffer_free(&y);
        }
    }
  assert_int_equal(pairs, 157);
  free(x), free(want);
}

/* ---- quantization ---- */

static int64_t integer_at(ifd_dtype t, const void *p, size_t i) {
  int64_t v;
  ifd_load_i64(t, (const char *)p + i * ifd_dtype_size(t), &v, 1);
  return v;
}

static void quantization(void **unused) {
  (void)unused;
  enum { N = 77 };
  static const struct {
    ifd_dtype t;
    double least, most;
  } types[] = {{IFD_UINT8, 0, 255}, {IFD_INT8, -128, 127}, {IFD_UINT16, 0, 65535}, {IFD_INT16, -32768, 32767},
               {IFD_UINT4, 0, 15},  {IFD_INT4, -8, 7},     {IFD_UINT2, 0, 3},      {IFD_INT2, -2, 1}};
  uint64_t state = 10;
  for (int round = 0; round < 128; round++) {
    const ifd_dtype t = types[round % 8].t;
    const double least = types[round % 8].least, most = types[round % 8].most;
    const int ss = round >> 3 & 1, zs = round >> 4 & 1;
    const size_t size = ifd_dtype_size(t);
    float *x = floats_new(N, &state), scale[N], want[N];
    unsigned char zero[2 * N];
    for (int i = 0; i < N; i++) scale[i] = 0.01f + 0.5f * fabsf(rand_float(&state));
    if (round >> 3 == 5) *scale *= 0x1p-40f;
    if (round >> 3 == 9) *scale *= 0x1p120f;
    for (size_t i = 0; i < sizeof zero; i++)
      zero[i] = (unsigned char)(size == 1 ? rand_in(&state, (int)least, (int)most) : rand_in(&state, 0, 255));
    for (int i = 0; i < N; i += 3) x[i] = scale[ss ? i : 0] * (float)(i - 20) / 2; /* ties */
    const void *z = round & 32 ? zero : NULL;
    for (ifd_isa isa = IFD_ISA_REF; isa <= ifd_cpu_isa(); isa++) {
      buffer y = buffer_new(N * size), back = buffer_floats(N);
      table(isa)->quantize(t)(x, scale, ss, z, zs, y.f, N);
      table(isa)->dequantize(t)(y.f, scale, ss, z, zs, back.f, N);
      for (size_t i = 0; i < N; i++) {
        const int64_t shift = z ? integer_at(t, z, zs ? i : 0) : 0;
        const double q = isnan(x[i]) ? 0 : rint((double)(x[i] / scale[ss ? i : 0])) + (double)shift;
        assert_true(integer_at(t, y.f, i) == (int64_t)(q < least ? least : q > most ? most : q));
        want[i] = (float)(integer_at(t, y.f, i) - shift) * scale[ss ? i : 0];
      }
      assert_true(same_floats(back.f, want, N));
      buffer_free(&y), buffer_free(&back);
    }
    free(x);
  }
}

/* ---- chains ---- */

/* y0 = max(a, s), y1 = gelu(y0 * b + a) over blocks and their tails, against rows one after another */
static void chains(void **unused) {
  (void)unused;
  uint64_t state = 8;
  static const ifd_el_step steps[] = {
      {IFD_EL_Max, IFD_EL_OUT, {IFD_EL_IN, IFD_EL_IN + 2}, {0}},
      {IFD_EL_Mul, IFD_EL_REGISTER, {IFD_EL_OUT, IFD_EL_IN + 1}, {0}},
      {IFD_EL_Add, IFD_EL_REGISTER + 7, {IFD_EL_REGISTER, IFD_EL_IN}, {0}},
      {IFD_EL_Swish, IFD_EL_OUT + 1, {IFD_EL_REGISTER + 7}, {1.702f}},
  };
  for (size_t n = 0; n < 5000; n = n * 2 + 7) {
    float *a = floats_new(n, &state), *b = floats_new(n, &state), *s = floats_new(1, &state);
    float *y0 = malloc(4 * n + 1), *y1 = malloc(4 * n + 1);
    const struct ifd_k_eltwise_table *ref = table(IFD_ISA_REF);
    ref->binary(IFD_EL_Max, IFD_FLOAT)(a, 1, s, 0, y0, n);
    ref->binary(IFD_EL_Mul, IFD_FLOAT)(y0, 1, b, 1, y1, n);
    ref->binary(IFD_EL_Add, IFD_FLOAT)(y1, 1, a, 1, y1, n);
    ref->unary(IFD_EL_Swish, IFD_FLOAT)(steps[3].p, y1, y1, n);
    for (ifd_isa isa = IFD_ISA_REF; isa <= ifd_cpu_isa(); isa++) {
      buffer z0 = buffer_floats((int64_t)n), z1 = buffer_floats((int64_t)n);
      table(isa)->chain(steps, 4, (const float *const[]){a, b, s}, (const int[]){1, 1, 0}, 3,
                        (float *const[]){z0.f, z1.f}, 2, n);
      assert_true(same_floats(z0.f, y0, (int64_t)n) && same_floats(z1.f, y1, (int64_t)n));
      buffer_free(&z0), buffer_free(&z1);
    }
    free(a), free(b), free(s), free(y0), free(y1);
  }
}

/* A unary step on an input of one element reads that alone. */
static void chain_of_one_element(void **unused) {
  (void)unused;
  enum { N = 1500 };
  static const ifd_el_step steps[] = {{IFD_EL_Exp, IFD_EL_REGISTER, {IFD_EL_IN + 1}, {0}},
                                      {IFD_EL_Mul, IFD_EL_OUT, {IFD_EL_IN, IFD_EL_REGISTER}, {0}}};
  uint64_t state = 9;
  float *a = floats_new(N, &state), *s = malloc(sizeof *s), want[N], e;
  *s = 0.75f;
  table(IFD_ISA_REF)->unary(IFD_EL_Exp, IFD_FLOAT)(NULL, s, &e, 1);
  for (int i = 0; i < N; i++) want[i] = a[i] * e;
  for (ifd_isa isa = IFD_ISA_REF; isa <= ifd_cpu_isa(); isa++) {
    buffer z = buffer_floats(N);
    table(isa)->chain(steps, 2, (const float *const[]){a, s}, (const int[]){1, 0}, 2, (float *const[]){z.f},
                      1, N);
    assert_true(same_floats(z.f, want, N));
    buffer_free(&z);
  }
  free(a), free(s);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(unary_values),         cmocka_unit_test(unary_bits),
      cmocka_unit_test(unary_bits_in_order),  cmocka_unit_test(tests_and_integers),
      cmocka_unit_test(binary_floats),        cmocka_unit_test(quotients),
      cmocka_unit_test(comparisons),          cmocka_unit_test(integers),
      cmocka_unit_test(integers_of_any_size), cmocka_unit_test(divisions),
      cmocka_unit_test(remainders_of_floats), cmocka_unit_test(tests_of_doubles),
      cmocka_unit_test(exp_of_doubles),       cmocka_unit_test(tanh_of_doubles),
      cmocka_unit_test(selections),           cmocka_unit_test(casts),
      cmocka_unit_test(quantization),         cmocka_unit_test(chains),
      cmocka_unit_test(chain_of_one_element)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
