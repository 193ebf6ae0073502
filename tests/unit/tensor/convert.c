/* Conversions, exhaustively: every code of every format of 16 bits or fewer against its definition, every
 * rounding boundary and the numbers just beside it, ONNX's tables of special values, integers, Cast,
 * packing. */
#include "tensor/convert.h"
#include "tensor/tensor.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

/* One row per format, from the ONNX documents and OCP's: magnitudes in (max, 2^(exp+man)) are the specials
 * below. */
typedef struct spec {
  ifd_dtype dtype;
  int exp, man, bias;
  unsigned max; /* code of the largest finite value */
  unsigned inf; /* code of infinity; 0: none */
  unsigned nan; /* code that +NaN becomes */
  unsigned minus_nan;
  bool is_nan_one;   /* -0's code is the NaN */
  unsigned over;     /* code of +infinity and of what rounds beyond max, not saturated */
  unsigned over_sat; /* the same, saturated */
} spec;

static const spec specs[] = {
    {IFD_FLOAT16, 5, 10, 15, 0x7bff, 0x7c00, 0x7e00, 0xfe00, false, 0x7c00, 0x7c00},
    {IFD_BFLOAT16, 8, 7, 127, 0x7f7f, 0x7f80, 0x7fc0, 0xffc0, false, 0x7f80, 0x7f80},
    {IFD_FLOAT8E4M3FN, 4, 3, 7, 0x7e, 0, 0x7f, 0xff, false, 0x7f, 0x7e},
    {IFD_FLOAT8E4M3FNUZ, 4, 3, 8, 0x7f, 0, 0x80, 0x80, true, 0x80, 0x7f},
    {IFD_FLOAT8E5M2, 5, 2, 15, 0x7b, 0x7c, 0x7e, 0xfe, false, 0x7c, 0x7b},
    {IFD_FLOAT8E5M2FNUZ, 5, 2, 16, 0x7f, 0, 0x80, 0x80, true, 0x80, 0x7f},
    {IFD_FLOAT6E2M3, 2, 3, 1, 0x1f, 0, 0x20, 0x00, false, 0x1f, 0x1f},
    {IFD_FLOAT6E3M2, 3, 2, 3, 0x1f, 0, 0x20, 0x00, false, 0x1f, 0x1f},
    {IFD_FLOAT4E2M1, 2, 1, 1, 0x07, 0, 0x08, 0x00, false, 0x07, 0x07},
};
enum { N_SPECS = sizeof specs / sizeof *specs };

static unsigned sign_of(const spec *s) { return 1u << (s->exp + s->man); }

/* The value that sign, exponent and mantissa state; no specials. */
static double stated(const spec *s, unsigned code) {
  unsigned mag = code & (sign_of(s) - 1), e = mag >> s->man, m = mag & ((1u << s->man) - 1);
  double x = e ? ldexp(1 + ldexp(m, -s->man), (int)e - s->bias) : ldexp(m, 1 - s->bias - s->man);
  return code & sign_of(s) ? -x : x;
}

static double meaning(const spec *s, unsigned code) {
  unsigned mag = code & (sign_of(s) - 1);
  if (s->is_nan_one) return code == sign_of(s) ? NAN : stated(s, code);
  if (mag <= s->max) return stated(s, code);
  return s->inf && mag == s->inf ? (code & sign_of(s) ? -INFINITY : INFINITY) : NAN;
}

static unsigned load_code(const void *p, ifd_dtype t) {
  uint16_t wide;
  if (ifd_dtype_size(t) == 1) return *(const uint8_t *)p;
  memcpy(&wide, p, 2);
  return wide;
}

static void store_code(void *p, ifd_dtype t, unsigned code) {
  uint16_t wide = (uint16_t)code;
  uint8_t narrow = (uint8_t)code;
  memcpy(p, ifd_dtype_size(t) == 1 ? (void *)&narrow : (void *)&wide, ifd_dtype_size(t));
}

static unsigned from_f32(const spec *s, float x, bool saturate) {
  uint16_t code;
  ifd_cast(s->dtype, &code, IFD_FLOAT, &x, 1, saturate, IFD_ROUND_NEAREST);
  return load_code(&code, s->dtype);
}

static unsigned from_f64(const spec *s, double x, bool saturate) {
  uint16_t code;
  ifd_cast(s->dtype, &code, IFD_DOUBLE, &x, 1, saturate, IFD_ROUND_NEAREST);
  return load_code(&code, s->dtype);
}

static void same(double a, double b) {
  if (isnan(b)) {
    assert_true(isnan(a));
  } else {
    assert_true(a == b);
    assert_int_equal(!!signbit(a), !!signbit(b));
  }
}

static void every_code_means_its_definition_and_comes_back(void **state) {
  (void)state;
  for (const spec *s = specs; s < specs + N_SPECS; s++)
    for (unsigned code = 0; code < 2 * sign_of(s); code++) {
      uint16_t in;
      float x;
      double d;
      store_code(&in, s->dtype, code);
      ifd_load_f32(s->dtype, &in, &x, 1);
      ifd_load_f64(s->dtype, &in, &d, 1);
      same(x, meaning(s, code));
      same(d, meaning(s, code));
      bool no_nan = s->dtype == IFD_FLOAT4E2M1 || ifd_dtypes[s->dtype].bits == 6;
      assert_int_equal(isnan(x) && no_nan, 0);
      assert_int_equal(from_f32(s, x, false), code);
    }
}

/* lo and hi are neighbours in magnitude: what lies between goes to the nearer, the middle to the even one. */
static void check_between(const spec *s, unsigned lo, unsigned hi, double middle) {
  unsigned even = lo & 1 ? hi : lo;
  for (unsigned sign = 0; sign < 2; sign++) {
    double mid = sign ? -middle : middle, zero = 0;
    unsigned bit = sign * sign_of(s);
    unsigned to_lo = s->is_nan_one && lo == 0 ? 0 : lo | bit, to_hi = hi | bit;
    unsigned to_even = s->is_nan_one && even == 0 ? 0 : even | bit;
    assert_true((double)(float)mid == mid);
    assert_int_equal(from_f32(s, (float)mid, true), to_even);
    assert_int_equal(from_f32(s, nextafterf((float)mid, (float)zero), true), to_lo);
    assert_int_equal(from_f32(s, nextafterf((float)mid, 2 * (float)mid), true), to_hi);
    assert_int_equal(from_f64(s, mid, true), to_even);
    assert_int_equal(from_f64(s, nextafter(mid, zero), true), to_lo);
    assert_int_equal(from_f64(s, nextafter(mid, 2 * mid), true), to_hi);
  }
}

static void every_middle_goes_to_even(void **state) {
  (void)state;
  for (const spec *s = specs; s < specs + N_SPECS; s++)
    for (unsigned code = 0; code < s->max; code++)
      check_between(s, code, code + 1, (stated(s, code) + stated(s, code + 1)) / 2);
}

/* The end of the range is where the first value beyond it would begin to be nearer (ONNX's [x] > FLT_MAX). */
static void beyond_the_range(void **state) {
  (void)state;
  for (const spec *s = specs; s < specs + N_SPECS; s++) {
    double last = stated(s, s->max), edge = last + (last - stated(s, s->max - 1)) / 2;
    bool odd_max = s->max & 1;
    for (unsigned sign = 0; sign < 2; sign++) {
      double k = sign ? -1 : 1;
      unsigned bit = sign * sign_of(s), over = s->is_nan_one ? s->over : s->over | bit;
      unsigned max = s->max | bit;
      assert_int_equal(from_f64(s, k * nextafter(edge, 0), false), max);
      assert_int_equal(from_f64(s, k * edge, false), odd_max ? over : max);
      assert_int_equal(from_f64(s, k * nextafter(edge, INFINITY), false), over);
      const double far[] = {nextafter(edge, INFINITY), 2 * edge, 1e300, INFINITY};
      for (int i = 0; i < 4; i++) {
        assert_int_equal(from_f64(s, k * far[i], false), over);
        assert_int_equal(from_f64(s, k * far[i], true), s->over_sat | bit);
        assert_int_equal(from_f32(s, (float)(k * far[i] * 1.001), false), over);
        assert_int_equal(from_f32(s, (float)(k * far[i] * 1.001), true), s->over_sat | bit);
      }
    }
  }
}

static void special_values_follow_the_tables(void **state) {
  (void)state;
  for (const spec *s = specs; s < specs + N_SPECS; s++)
    for (int saturate = 0; saturate < 2; saturate++) {
      assert_int_equal(from_f32(s, 0.0f, saturate), 0);
      assert_int_equal(from_f32(s, -0.0f, saturate), s->is_nan_one ? 0 : sign_of(s));
      assert_int_equal(from_f32(s, copysignf(NAN, 1), saturate), s->nan);
      assert_int_equal(from_f32(s, copysignf(NAN, -1), saturate), s->minus_nan);
      assert_int_equal(from_f64(s, copysign(NAN, 1), saturate), s->nan);
      assert_int_equal(from_f32(s, -1e-45f, saturate), s->is_nan_one ? 0 : sign_of(s));
      assert_int_equal(from_f64(s, -1e-300, saturate), s->is_nan_one ? 0 : sign_of(s));
      assert_int_equal(from_f64(s, 1e-300, saturate), 0);
    }
}

/* A NaN whose payload lies below what the format keeps stays a NaN. */
static void nan_with_a_low_payload_stays_nan(void **state) {
  (void)state;
  for (uint32_t u = 0x7f800001; u < 0x80000000u; u = u * 2 - 0x7f800000) {
    float x;
    memcpy(&x, &u, 4);
    assert_true(isnan(ifd_f16_to_f32(ifd_f32_to_f16(x))));
    assert_true(isnan(ifd_bf16_to_f32(ifd_f32_to_bf16(x))));
    assert_true(isnan(ifd_small_to_f32(IFD_FLOAT8E5M2, ifd_f32_to_small(IFD_FLOAT8E5M2, x, true))));
  }
}

/* Integers beside the middle of two bfloat16: the int64 has more bits than a float or a double holds. */
static void large_integers_round_once(void **state) {
  (void)state;
  for (int top = 20; top < 62; top++)
    for (int64_t lead = 128; lead < 256; lead += 5) {
      int64_t low = lead << (top - 8), middle = low + ((int64_t)1 << (top - 9));
      uint16_t expected_lo = ifd_f32_to_bf16((float)low);
      for (int64_t beside = -1; beside <= 1; beside++) {
        uint16_t expected = beside > 0 || (!beside && lead % 2) ? expected_lo + 1 : expected_lo;
        int64_t x = middle + beside, minus = -x;
        uint64_t u = (uint64_t)x << 2;
        uint16_t got;
        ifd_store_i64(IFD_BFLOAT16, &got, &x, 1);
        assert_int_equal(got, expected);
        ifd_store_i64(IFD_BFLOAT16, &got, &minus, 1);
        assert_int_equal(got, expected | 0x8000);
        ifd_cast(IFD_BFLOAT16, &got, IFD_UINT64, &u, 1, true, IFD_ROUND_UP);
        assert_int_equal(got, expected + (2 << 7));
      }
    }
}

static void e8m0_is_a_power_of_two(void **state) {
  (void)state;
  for (unsigned code = 0; code < 255; code++) {
    double x = ldexp(1, (int)code - 127);
    assert_true(ifd_small_to_f32(IFD_FLOAT8E8M0, (uint8_t)code) == x);
    for (ifd_round_mode mode = IFD_ROUND_UP; mode <= IFD_ROUND_NEAREST; mode++) {
      const double at[] = {x, nextafter(x, INFINITY), nextafter(1.5 * x, 0), 1.5 * x, nextafter(2 * x, 0)};
      for (int i = 0; i < 5; i++) {
        bool up = i > 0 && (mode == IFD_ROUND_UP || (mode == IFD_ROUND_NEAREST && i >= 3));
        uint8_t got;
        ifd_cast(IFD_FLOAT8E8M0, &got, IFD_DOUBLE, &at[i], 1, true, mode);
        assert_int_equal(got, code + up > 254 ? 254 : code + up);
        float f = (float)at[i];
        if ((double)f != at[i]) continue;
        ifd_cast(IFD_FLOAT8E8M0, &got, IFD_FLOAT, &f, 1, true, mode);
        assert_int_equal(got, code + up > 254 ? 254 : code + up);
      }
    }
  }
  assert_true(isnan(ifd_small_to_f32(IFD_FLOAT8E8M0, 255)));
}

static void e8m0_special_values_follow_the_table(void **state) {
  (void)state;
  const struct {
    float x;
    int saturated, not_saturated;
  } rows[] = {{0, 0, 255},         {NAN, 255, 255},     {INFINITY, 254, 255}, {0x1.8p127f, 254, 255},
              {0x1p-128f, 0, 255}, {0x1p-149f, 0, 255}, {0x1p-127f, 0, 0},    {0x1p127f, 254, 254},
              {-1, 255, 255}};
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    assert_int_equal(ifd_f32_to_small(IFD_FLOAT8E8M0, rows[i].x, true), rows[i].saturated);
    assert_int_equal(ifd_f32_to_small(IFD_FLOAT8E8M0, rows[i].x, false), rows[i].not_saturated);
  }
}

static const ifd_dtype integers[] = {IFD_INT2,  IFD_INT4,  IFD_INT8,  IFD_INT16,  IFD_INT32,  IFD_INT64,
                                     IFD_UINT2, IFD_UINT4, IFD_UINT8, IFD_UINT16, IFD_UINT32, IFD_UINT64};

static int64_t read_integer(ifd_dtype t, const void *p) {
  int64_t x;
  ifd_load_i64(t, p, &x, 1);
  return x;
}

static void stores_of_floats_truncate_and_clamp(void **state) {
  (void)state;
  for (size_t k = 0; k < sizeof integers / sizeof *integers; k++) {
    ifd_dtype t = integers[k];
    int bits = ifd_dtypes[t].bits;
    bool is_signed = ifd_dtypes[t].class == IFD_CLASS_INT;
    int64_t most = (int64_t)(UINT64_MAX >> (64 - bits) >> is_signed), least = is_signed ? -most - 1 : 0;
    const struct {
      double x;
      int64_t expected;
    } rows[] = {{0.99, 0},
                {-0.99, 0},
                {1.5, 1},
                {-1.5, is_signed ? -1 : 0},
                {NAN, 0},
                {INFINITY, most},
                {-INFINITY, least},
                {1e30, most},
                {-1e30, least},
                {ldexp(1, bits - is_signed), most},
                {-ldexp(1, bits), least}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
      int64_t got64 = 0, got32 = 0;
      float f = (float)rows[i].x;
      ifd_store_f64(t, &got64, &rows[i].x, 1);
      ifd_store_f32(t, &got32, &f, 1);
      assert_int_equal(read_integer(t, &got64), rows[i].expected);
      assert_int_equal(read_integer(t, &got32), rows[i].expected);
    }
  }
}

static void stores_of_integers_wrap(void **state) {
  (void)state;
  for (size_t k = 0; k < sizeof integers / sizeof *integers; k++) {
    ifd_dtype t = integers[k];
    int bits = ifd_dtypes[t].bits;
    for (int64_t x = -70000; x <= 70000; x += 7) {
      int64_t cell = 0, got;
      ifd_store_i64(t, &cell, &x, 1);
      got = read_integer(t, &cell);
      if (bits < 64) {
        int64_t modulus = (int64_t)1 << bits;
        assert_int_equal((got - x) % modulus, 0);
        int64_t low = ifd_dtypes[t].class == IFD_CLASS_INT ? -modulus / 2 : 0;
        assert_true(got >= low && got < low + modulus);
      } else {
        assert_int_equal(got, x);
      }
    }
  }
}

static int64_t cast_to_integer(ifd_dtype to, double x) {
  int64_t from_double = 0, from_float = 0;
  float f = (float)x;
  ifd_cast(to, &from_double, IFD_DOUBLE, &x, 1, true, IFD_ROUND_UP);
  ifd_cast(to, &from_float, IFD_FLOAT, &f, 1, true, IFD_ROUND_UP);
  assert_int_equal(from_double, from_float);
  return read_integer(to, &from_double);
}

static void cast_outside_an_integer_type_goes_one_way(void **state) {
  (void)state;
  assert_int_equal(cast_to_integer(IFD_INT4, -9), 7);
  assert_int_equal(cast_to_integer(IFD_INT4, 15), -1);
  assert_int_equal(cast_to_integer(IFD_UINT4, -9), 7);
  assert_int_equal(cast_to_integer(IFD_INT2, 3), -1);
  assert_int_equal(cast_to_integer(IFD_UINT8, -1), 255);
  assert_int_equal(cast_to_integer(IFD_INT8, 200), -56);
  assert_int_equal(cast_to_integer(IFD_INT8, NAN), 0);
  assert_int_equal(cast_to_integer(IFD_INT32, 3e9), INT32_MIN);
  assert_int_equal(cast_to_integer(IFD_INT32, INFINITY), INT32_MIN);
  assert_int_equal(cast_to_integer(IFD_UINT32, 3e9), 3000000000);
  assert_int_equal(cast_to_integer(IFD_INT64, NAN), INT64_MIN);
  assert_int_equal(cast_to_integer(IFD_INT64, -1e30), INT64_MIN);
  assert_int_equal((uint64_t)cast_to_integer(IFD_UINT64, 0x1.8p63), 0xc000000000000000u);
  assert_int_equal(cast_to_integer(IFD_BOOL, 0.5), 1);
  assert_int_equal(cast_to_integer(IFD_BOOL, NAN), 1);
  assert_int_equal(cast_to_integer(IFD_BOOL, -0.0), 0);
}

static bool is_number(ifd_dtype t) {
  return t != IFD_UNDEFINED && t != IFD_STRING && ifd_dtypes[t].class != IFD_CLASS_COMPLEX;
}

/* Small whole numbers survive every pair of types that holds them, rows longer than any block the casts work
 * in. */
static void every_pair_of_types_keeps_small_numbers(void **state) {
  (void)state;
  enum { N = 1003 };
  static double want[N], got[N];
  static uint64_t a[N], b[N];
  for (ifd_dtype from = 1; from < IFD_N_DTYPES; from++)
    for (ifd_dtype to = 1; to < IFD_N_DTYPES; to++) {
      if (!is_number(from) || !is_number(to)) continue;
      bool no_zero = from == IFD_FLOAT8E8M0 || to == IFD_FLOAT8E8M0;
      for (int i = 0; i < N; i++) want[i] = no_zero ? 1 : i * i % 7 % 2;
      ifd_store_f64(from, a, want, N);
      ifd_cast(to, b, from, a, N, true, IFD_ROUND_UP);
      ifd_load_f64(to, b, got, N);
      assert_memory_equal(want, got, sizeof want);
    }
}

static void rows_equal_single_elements(void **state) {
  (void)state;
  enum { N = 517 };
  static float x[N];
  static uint16_t row[N];
  for (int i = 0; i < N; i++) x[i] = ldexpf((float)(i * 7919 % 4093) - 2000, i % 60 - 40);
  for (const spec *s = specs; s < specs + N_SPECS; s++) {
    ifd_store_f32(s->dtype, row, x, N);
    for (int i = 0; i < N; i++) {
      unsigned got = load_code((char *)row + (size_t)i * ifd_dtype_size(s->dtype), s->dtype);
      assert_int_equal(got, from_f32(s, x[i], true));
    }
  }
  for (int i = 0; i < N; i++) {
    assert_int_equal(ifd_f32_to_f16(x[i]), from_f32(&specs[0], x[i], false));
    assert_int_equal(ifd_f64_to_f16((double)x[i] * 1.0000001),
                     from_f64(&specs[0], (double)x[i] * 1.0000001, false));
    assert_int_equal(ifd_f32_to_bf16(x[i]), from_f32(&specs[1], x[i], false));
  }
}

/* Bytes by hand: element 0 in the lowest bits. */
static void packing_is_low_bits_first(void **state) {
  (void)state;
  const struct {
    ifd_dtype dtype;
    int n;
    uint8_t packed[4], elements[8];
  } rows[] = {
      {IFD_UINT4, 3, {0x21, 0x0f}, {1, 2, 15}},
      {IFD_INT4, 4, {0x8f, 0x71}, {0xff, 0xf8, 1, 7}},
      {IFD_FLOAT4E2M1, 2, {0xe5}, {5, 14}},
      {IFD_UINT2, 5, {0xe4, 0x01}, {0, 1, 2, 3, 1}},
      {IFD_INT2, 4, {0xe4}, {0, 1, 0xfe, 0xff}},
      {IFD_FLOAT6E2M3, 5, {0x81, 0x30, 0x10, 0x3f}, {1, 2, 3, 4, 63}},
      {IFD_UINT8, 2, {0x12, 0x34}, {0x12, 0x34}},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    uint8_t out[8], packed[4];
    size_t bytes = ifd_packed_bytes(rows[i].dtype, rows[i].n);
    ifd_unpack(rows[i].dtype, rows[i].packed, out, rows[i].n);
    assert_memory_equal(out, rows[i].elements, (size_t)rows[i].n);
    memset(packed, 0xaa, sizeof packed);
    ifd_pack(rows[i].dtype, out, packed, rows[i].n);
    assert_memory_equal(packed, rows[i].packed, bytes);
  }
}

/* Buffers of exactly the size, so that a sanitizer sees a byte too many. */
static void packing_comes_back_at_every_length(void **state) {
  (void)state;
  const ifd_dtype narrow[] = {IFD_UINT2, IFD_INT2, IFD_UINT4, IFD_INT4, IFD_FLOAT4E2M1, IFD_FLOAT6E3M2};
  for (size_t k = 0; k < sizeof narrow / sizeof *narrow; k++)
    for (int n = 0; n < 40; n++) {
      ifd_dtype t = narrow[k];
      size_t bytes = ifd_packed_bytes(t, n);
      uint8_t *in = malloc((size_t)n + 1), *out = malloc((size_t)n + 1), *packed = malloc(bytes ? bytes : 1);
      for (int i = 0; i < n; i++) {
        unsigned v = (unsigned)(i * 11 + n) & ((1u << ifd_dtypes[t].bits) - 1);
        bool negative = ifd_dtypes[t].class == IFD_CLASS_INT && v >> (ifd_dtypes[t].bits - 1);
        in[i] = (uint8_t)(negative ? v | (0xffu << ifd_dtypes[t].bits) : v);
      }
      ifd_pack(t, in, packed, n);
      ifd_unpack(t, packed, out, n);
      if (n) assert_memory_equal(in, out, (size_t)n);
      free(in);
      free(out);
      free(packed);
    }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_code_means_its_definition_and_comes_back),
      cmocka_unit_test(every_middle_goes_to_even),
      cmocka_unit_test(beyond_the_range),
      cmocka_unit_test(special_values_follow_the_tables),
      cmocka_unit_test(nan_with_a_low_payload_stays_nan),
      cmocka_unit_test(large_integers_round_once),
      cmocka_unit_test(e8m0_is_a_power_of_two),
      cmocka_unit_test(e8m0_special_values_follow_the_table),
      cmocka_unit_test(stores_of_floats_truncate_and_clamp),
      cmocka_unit_test(stores_of_integers_wrap),
      cmocka_unit_test(cast_outside_an_integer_type_goes_one_way),
      cmocka_unit_test(every_pair_of_types_keeps_small_numbers),
      cmocka_unit_test(rows_equal_single_elements),
      cmocka_unit_test(packing_is_low_bits_first),
      cmocka_unit_test(packing_comes_back_at_every_length),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
