/* Reductions: the same bits on every ISA for every length and offset, values against double, and the same
 * bits however rows and columns are split. */
#include "kcheck/buffer.h"

#include "kernels/kernels.h"
#include "kernels/reduce/reduce.h"
#include "tensor/convert.h"

static double reduce_f64(ifd_reduce op, const float *x, size_t stride, size_t n) {
  double y = op == IFD_REDUCE_Max ? -INFINITY : op == IFD_REDUCE_Min ? INFINITY : op == IFD_REDUCE_Prod;
  double max = -INFINITY;
  for (size_t i = 0; i < n; i++) max = fmax(max, x[i * stride]);
  for (size_t i = 0; i < n; i++) {
    const double a = x[i * stride];
    switch (op) {
    case IFD_REDUCE_Max: y = y > a || y != y ? y : a; break;
    case IFD_REDUCE_Min: y = y < a || y != y ? y : a; break;
    case IFD_REDUCE_Prod: y *= a; break;
    case IFD_REDUCE_SumSquare:
    case IFD_REDUCE_L2: y += a * a; break;
    case IFD_REDUCE_L1: y += fabs(a); break;
    case IFD_REDUCE_LogSumExp: y += exp(a - max); break;
    default: y += a;
    }
  }
  switch (op) {
  case IFD_REDUCE_Mean: return y / (double)n;
  case IFD_REDUCE_L2: return sqrt(y);
  case IFD_REDUCE_LogSum: return log(y);
  case IFD_REDUCE_LogSumExp: return isfinite(max) ? max + log(y) : max;
  default: return y;
  }
}

/* What the rounding of so many terms may add up to. */
static double tolerance(ifd_reduce op, const float *x, size_t stride, size_t n, double want) {
  double sum = 0;
  for (size_t i = 0; i < n; i++) sum += fabs((double)x[i * stride]);
  if (op == IFD_REDUCE_Prod) return fabs(want) * 2e-7 * (double)n + 1e-37;
  if (op == IFD_REDUCE_LogSum) return fabs(sum * 1e-6 / exp(want)) + 1e-6 * fabs(want) + 1e-6;
  if (op == IFD_REDUCE_Mean) sum /= (double)n;
  return op == IFD_REDUCE_Max || op == IFD_REDUCE_Min ? 0 : 1e-6 * (sum + fabs(want)) + 1e-37;
}

static float *numbers(size_t n, uint64_t *state, bool odd) {
  float *x = malloc(n * sizeof *x + 1);
  assert_non_null(x);
  for (size_t i = 0; i < n; i++) {
    x[i] = rand_float(state) * 2;
    if (odd && rand_u32(state) % 40 == 0)
      x[i] = (const float[]){0, -0.f, 1e-45f, 1e30f, INFINITY, -INFINITY, NAN}[rand_u32(state) % 7];
  }
  return x;
}

static void check_rows(ifd_reduce op, size_t rows, size_t n, size_t gap, bool odd, uint64_t *state) {
  float *x = numbers(rows * (n + gap), state, odd), *want = malloc(4 * rows);
  ifd_k_reduce(IFD_ISA_REF)->rows(op, x, n + gap, rows, n, want);
  for (size_t r = 0; r < rows && !odd; r++) {
    double y = reduce_f64(op, x + r * (n + gap), 1, n);
    if (!(fabs(y - want[r]) <= tolerance(op, x + r * (n + gap), 1, n, y)) && y != want[r] &&
        !(isnan(y) && isnan(want[r])))
      fail_msg("op %d, %zu elements: %a, not %a", op, n, (double)want[r], y);
  }
  for (ifd_isa isa = IFD_ISA_AVX2; isa <= ifd_cpu_isa(); isa++) {
    buffer y = buffer_floats((int64_t)rows);
    ifd_k_reduce(isa)->rows(op, x, n + gap, rows / 2, n, y.f);
    ifd_k_reduce(isa)->rows(op, x + rows / 2 * (n + gap), n + gap, rows - rows / 2, n, y.f + rows / 2);
    assert_true(same_floats(y.f, want, (int64_t)rows));
    buffer_free(&y);
  }
  free(x), free(want);
}

static void rows(void **unused) {
  (void)unused;
  uint64_t state = 1;
  for (ifd_reduce op = 0; op < IFD_N_REDUCE; op++) {
    for (size_t n = 0; n < 70; n++) {
      check_rows(op, n < 20 ? 35 : 3, n, n % 3, false, &state);
      check_rows(op, n < 20 ? 41 : 5, n, n % 4, true, &state);
    }
    check_rows(op, 2, 4096, 0, false, &state);
    check_rows(op, 2, 4097, 1, false, &state);
    check_rows(op, 2, 20011, 0, false, &state);
  }
}

static void check_columns(ifd_reduce op, size_t n, size_t columns, size_t gap, bool odd, uint64_t *state) {
  const size_t stride = columns + gap;
  float *x = numbers(n * stride, state, odd), *want = malloc(4 * columns + 1);
  ifd_k_reduce(IFD_ISA_REF)->columns(op, x, stride, n, columns, want);
  for (size_t j = 0; j < columns && !odd; j++) {
    double y = reduce_f64(op, x + j, stride, n);
    if (!(fabs(y - want[j]) <= tolerance(op, x + j, stride, n, y)) && y != want[j] &&
        !(isnan(y) && isnan(want[j])))
      fail_msg("op %d, column of %zu: %a, not %a", op, n, (double)want[j], y);
  }
  for (ifd_isa isa = IFD_ISA_AVX2; isa <= ifd_cpu_isa(); isa++) {
    buffer y = buffer_floats((int64_t)columns);
    ifd_k_reduce(isa)->columns(op, x, stride, n, columns / 3, y.f);
    ifd_k_reduce(isa)->columns(op, x + columns / 3, stride, n, columns - columns / 3, y.f + columns / 3);
    assert_true(same_floats(y.f, want, (int64_t)columns));
    buffer_free(&y);
  }
  free(x), free(want);
}

static void columns(void **unused) {
  (void)unused;
  uint64_t state = 2;
  for (ifd_reduce op = 0; op < IFD_N_REDUCE; op++) {
    for (size_t c = 1; c < 40; c++) {
      check_columns(op, c % 7, c, c % 3, false, &state);
      check_columns(op, 5 + c % 9, c, 1, true, &state);
    }
    check_columns(op, 3, 1100, 0, false, &state);
    check_columns(op, 600, 19, 0, false, &state);
  }
}

static double *doubles_of(const float *x, size_t n) {
  double *y = malloc(n * sizeof *y + 1);
  assert_non_null(y);
  for (size_t i = 0; i < n; i++) y[i] = x[i];
  return y;
}

/* m rows or columns of n doubles */
static void check_doubles(ifd_reduce op, size_t n, size_t m, bool columns, bool odd, uint64_t *state) {
  const size_t stride = columns ? m : n, row = columns ? 1 : n, step = columns ? m : 1;
  float *x = numbers(n * m, state, odd);
  double *in = doubles_of(x, n * m), want[64], y[64];
  ifd_k_reduce(IFD_ISA_REF)->plain(op, IFD_DOUBLE, columns)(in, stride, n, m, want);
  for (size_t j = 0; j < m && (!odd || op == IFD_REDUCE_Max || op == IFD_REDUCE_Min); j++) {
    const double of = reduce_f64(op, x + j * row, step, n);
    assert_true(fabs(want[j] - of) <= tolerance(op, x + j * row, step, n, of) || of == want[j] ||
                (isnan(of) && isnan(want[j])));
  }
  for (ifd_isa isa = IFD_ISA_REF; isa <= ifd_cpu_isa(); isa++) {
    ifd_k_reduce(isa)->plain(op, IFD_DOUBLE, columns)(in, stride, n, m / 3, y);
    ifd_k_reduce(isa)->plain(op, IFD_DOUBLE, columns)(in + m / 3 * row, stride, n, m - m / 3, y + m / 3);
    for (size_t j = 0; j < m; j++)
      assert_true(!memcmp(y + j, want + j, sizeof *y) || (isnan(y[j]) && isnan(want[j])));
  }
  free(x), free(in);
}

static void doubles(void **unused) {
  (void)unused;
  uint64_t state = 5;
  for (ifd_reduce op = 0; op < IFD_N_REDUCE; op++)
    for (size_t n = 1; n < 150 && ifd_k_reduce(IFD_ISA_REF)->plain(op, IFD_DOUBLE, false); n += 1 + n / 40)
      for (int mode = 0; mode < 4; mode++)
        check_doubles(op, n, 1 + (n * 7 + (size_t)mode) % 40, mode & 1, mode & 2, &state);
}

static int64_t arg_of(bool smallest, bool last, const float *x, size_t stride, size_t n) {
  size_t best = 0;
  for (size_t i = 1; i < n; i++) {
    const float a = x[i * stride], b = x[best * stride];
    if (isnan(b) ? last && isnan(a) : isnan(a) || (smallest ? a < b : a > b) || (last && a == b)) best = i;
  }
  return (int64_t)best;
}

static void arguments(void **unused) {
  (void)unused;
  uint64_t state = 3;
  for (ifd_isa isa = IFD_ISA_REF; isa <= ifd_cpu_isa(); isa++)
    for (size_t n = 1; n < 200; n += 1 + n / 40)
      for (int mode = 0; mode < 4; mode++) {
        const bool smallest = mode & 1, last = mode >> 1;
        const size_t m = 1 + n % 40;
        float *x = numbers(n * m, &state, false);
        for (size_t i = 0; i < n * m; i++) x[i] = floorf(x[i] * 3); /* many are equal */
        if (n % 4 == 0) x[rand_u32(&state) % (n * m)] = NAN, x[rand_u32(&state) % (n * m)] = NAN;
        double *wide = doubles_of(x, n * m);
        int64_t y[64];
        for (int t = 0; t < 2; t++) {
          const ifd_dtype dtype = t ? IFD_DOUBLE : IFD_FLOAT;
          const void *in = t ? (const void *)wide : x;
          ifd_k_reduce(isa)->arg(dtype, false)(smallest, last, in, n, n, m, y);
          for (size_t r = 0; r < m; r++) assert_int_equal(y[r], arg_of(smallest, last, x + r * n, 1, n));
          ifd_k_reduce(isa)->arg(dtype, true)(smallest, last, in, m, n, m, y);
          for (size_t j = 0; j < m; j++) assert_int_equal(y[j], arg_of(smallest, last, x + j, m, n));
        }
        free(x), free(wide);
      }
}

static int64_t arg_of_keys(bool smallest, bool last, const int64_t *keys, size_t stride, size_t n) {
  size_t best = 0;
  for (size_t i = 1; i < n; i++) {
    const int64_t a = keys[i * stride], b = keys[best * stride];
    if ((smallest ? a < b : a > b) || (last && a == b)) best = i;
  }
  return (int64_t)best;
}

static void arguments_of_integers(void **unused) {
  (void)unused;
  uint64_t state = 4;
  for (ifd_isa isa = IFD_ISA_REF; isa <= ifd_cpu_isa(); isa++)
    for (ifd_dtype t = 0; t < IFD_N_DTYPES; t++)
      for (size_t n = 1; n < 200 && ifd_dtype_is_integer(t) && ifd_k_reduce(isa)->arg(t, false);
           n += 1 + n / 7)
        for (int mode = 0; mode < 4; mode++) {
          const bool smallest = mode & 1, last = mode >> 1;
          const size_t m = 1 + n % 40, size = ifd_dtype_size(t);
          char *x = malloc(n * m * size);
          int64_t *keys = malloc(n * m * sizeof *keys), y[64];
          for (size_t i = 0; i < n * m; i++) { /* many are equal; the greatest of the type among them */
            keys[i] = rand_in(&state, 0, 3) ? rand_in(&state, 0, 60) : -(int64_t)(rand_u32(&state) % 3);
            memcpy(x + i * size, &keys[i], size);
            ifd_load_i64(t, x + i * size, &keys[i], 1);
            if (t == IFD_UINT64) keys[i] ^= INT64_MIN; /* its order as that of signed integers */
          }
          ifd_k_reduce(isa)->arg(t, false)(smallest, last, x, n, n, m, y);
          for (size_t r = 0; r < m; r++)
            assert_int_equal(y[r], arg_of_keys(smallest, last, keys + r * n, 1, n));
          ifd_k_reduce(isa)->arg(t, true)(smallest, last, x, m, n, m, y);
          for (size_t j = 0; j < m; j++) assert_int_equal(y[j], arg_of_keys(smallest, last, keys + j, m, n));
          free(x), free(keys);
        }
}

/* Element i of type t whose key this is: a small integer, or for reals an infinity or NaN, too. */
static void put_key(ifd_dtype t, void *x, size_t i, int64_t key) {
  const double v = key == 100 ? NAN : key == 99 ? INFINITY : key == -99 ? -INFINITY : key ? (double)key : -0.;
  if (ifd_dtype_is_float(t))
    ifd_store_f64(t, (char *)x + i * ifd_dtype_size(t), &v, 1);
  else
    ifd_store_i64(t, (char *)x + i * ifd_dtype_size(t), &key, 1);
}

static int64_t any_key(ifd_dtype t, uint64_t *state) {
  static const int64_t odd[] = {100, 99, -99};
  const bool real = ifd_dtype_is_float(t), sign = real || ifd_dtypes[t].class == IFD_CLASS_INT;
  return real && rand_u32(state) % 8 == 0 ? odd[rand_u32(state) % 3] : rand_in(state, sign ? -9 : 0, 9);
}

/* The k best of each row or column, one after another: of those that are left. */
static void check_top(ifd_isa isa, ifd_dtype t, size_t n, size_t m, size_t k, bool smallest,
                      uint64_t *state) {
  char *x = malloc(n * m * ifd_dtype_size(t));
  int64_t *keys = malloc(n * m * sizeof *keys);
  int64_t *y = malloc(k * m * sizeof *y);
  for (size_t i = 0; i < n * m; i++) put_key(t, x, i, keys[i] = any_key(t, state));
  for (int columns = 0; columns < 2; columns++) {
    const size_t across = columns ? 1 : n, along = columns ? m : 1;
    ifd_k_reduce(isa)->top(t, columns)(smallest, x, columns ? m : n, n, m, k, y);
    for (size_t j = 0; j < m; j++) {
      bool taken[IFD_REDUCE_FEW] = {false};
      for (size_t i = 0; i < k; i++) {
        size_t best = 0;
        while (taken[best]) best++;
        for (size_t h = best + 1; h < n; h++) {
          const int64_t a = keys[j * across + h * along], b = keys[j * across + best * along];
          if (!taken[h] && (smallest ? a < b : a > b)) best = h;
        }
        taken[best] = true;
        assert_int_equal(columns ? y[i * m + j] : y[j * k + i], (int64_t)best);
      }
    }
  }
  free(x), free(keys), free(y);
}

static void tops(void **unused) {
  (void)unused;
  uint64_t state = 5;
  for (ifd_isa isa = IFD_ISA_REF; isa <= ifd_cpu_isa(); isa++)
    for (ifd_dtype t = 0; t < IFD_N_DTYPES; t++)
      for (size_t n = 1; n <= IFD_REDUCE_FEW && ifd_k_reduce(isa)->top(t, false); n++)
        check_top(isa, t, n, 1 + 37 * n % 200, 1 + n / 3, n % 2, &state),
            check_top(isa, t, n, 1 + 37 * n % 200, n, n % 3, &state);
}

/* A running fold of m rows or columns, as plainly as can be. */
static void run_over(bool product, ifd_dtype t, const void *x, void *y, size_t line, size_t step, size_t n,
                     size_t m, bool reverse, bool exclusive) {
  const size_t size = ifd_dtype_size(t);
  for (size_t j = 0; j < m; j++) {
    double f = product, element;
    uint64_t u = product, whole;
    for (size_t k = 0; k < n; k++) {
      const size_t at = (j * line + (reverse ? n - 1 - k : k) * step) * size;
      const double before = f;
      const uint64_t whole_before = u;
      if (ifd_dtype_is_float(t)) {
        ifd_load_f64(t, (const char *)x + at, &element, 1);
        f = product ? f * element : f + element;
        ifd_store_f64(t, (char *)y + at, exclusive ? &before : &f, 1);
      } else {
        ifd_load_i64(t, (const char *)x + at, (int64_t *)&whole, 1);
        u = product ? u * whole : u + whole;
        ifd_store_i64(t, (char *)y + at, (const int64_t *)(exclusive ? &whole_before : &u), 1);
      }
    }
  }
}

static void running(void **unused) {
  static const ifd_dtype types[] = {IFD_FLOAT, IFD_DOUBLE, IFD_INT32, IFD_INT64, IFD_UINT64};
  enum { MOST = 40 * 600 };
  static uint64_t x[MOST], y[MOST], want[MOST];
  uint64_t state = 6;
  (void)unused;
  for (ifd_isa isa = IFD_ISA_REF; isa <= ifd_cpu_isa(); isa++)
    for (int round = 0; round < 160; round++) {
      const ifd_dtype t = types[round % 5];
      const bool columns = round & 1, reverse = round & 2, exclusive = round & 4, product = round & 8;
      const size_t n = (size_t)rand_in(&state, 1, 40), m = (size_t)rand_in(&state, 1, round % 9 ? 30 : 600);
      const size_t size = ifd_dtype_size(t), line = columns ? 1 : n, step = columns ? m : 1;
      for (size_t i = 0; i < n * m; i++) {
        const double v = rand_float(&state) * 3;
        const int64_t k = rand_in(&state, 0, 1000) - 500;
        if (ifd_dtype_is_float(t))
          ifd_store_f64(t, (char *)x + i * size, &v, 1);
        else
          ifd_store_i64(t, (char *)x + i * size, &k, 1);
      }
      run_over(product, t, x, want, line, step, n, m, reverse, exclusive);
      ifd_reduce_running *run = ifd_k_reduce(isa)->running(product, t, columns);
      run(x, y, columns ? m : n, n, m / 3, reverse, exclusive);
      run((char *)x + m / 3 * line * size, (char *)y + m / 3 * line * size, columns ? m : n, n, m - m / 3,
          reverse, exclusive);
      assert_memory_equal(y, want, n * m * size);
    }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(rows),
                                     cmocka_unit_test(columns),
                                     cmocka_unit_test(doubles),
                                     cmocka_unit_test(arguments),
                                     cmocka_unit_test(arguments_of_integers),
                                     cmocka_unit_test(tops),
                                     cmocka_unit_test(running)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
