#include "tensor/convert.h"

#include <string.h>

enum { CHUNK = 256 };

static inline uint32_t bits_of(float x) {
  uint32_t u;
  memcpy(&u, &x, sizeof u);
  return u;
}

static inline float float_of(uint32_t u) {
  float x;
  memcpy(&x, &u, sizeof x);
  return x;
}

/* ---- the small float codec ---- */

typedef enum nan_form {
  NAN_IEEE,   /* all-ones exponent; the mantissa of 0 is infinity, others keep what fits of the payload */
  NAN_SIGNED, /* one code, its sign bit flipped by the sign of what was converted */
  NAN_ONE     /* one code, the one of -0, which therefore does not exist */
} nan_form;

typedef enum overflow_form {
  OVER_INF,   /* never saturates */
  OVER_ASKED, /* saturates when asked to, else becomes infinity, or NaN without one */
  OVER_MAX    /* has neither: always saturates */
} overflow_form;

typedef struct format {
  int exp, man, bias;
  uint32_t max; /* code of the largest finite value */
  uint32_t nan; /* code; of the quiet bit for NAN_IEEE */
  nan_form nan_form;
  overflow_form overflow;
} format;

/* X(dtype, type in memory, exponent bits, mantissa bits, bias, largest finite code, NaN code, NaN form,
 * overflow) IEEE 754-2008; ONNX technical/float8.md, float6.md, float4.md. Types without NaN turn one into
 * -0, as ml_dtypes does. */
#define FORMATS(X)                                                                                           \
  X(FLOAT16, uint16_t, 5, 10, 15, 0x7bff, 0x200, NAN_IEEE, OVER_INF)                                         \
  X(BFLOAT16, uint16_t, 8, 7, 127, 0x7f7f, 0x40, NAN_IEEE, OVER_INF)                                         \
  X(FLOAT8E4M3FN, uint8_t, 4, 3, 7, 0x7e, 0x7f, NAN_SIGNED, OVER_ASKED)                                      \
  X(FLOAT8E4M3FNUZ, uint8_t, 4, 3, 8, 0x7f, 0x80, NAN_ONE, OVER_ASKED)                                       \
  X(FLOAT8E5M2, uint8_t, 5, 2, 15, 0x7b, 0x02, NAN_IEEE, OVER_ASKED)                                         \
  X(FLOAT8E5M2FNUZ, uint8_t, 5, 2, 16, 0x7f, 0x80, NAN_ONE, OVER_ASKED)                                      \
  X(FLOAT6E2M3, uint8_t, 2, 3, 1, 0x1f, 0x20, NAN_SIGNED, OVER_MAX)                                          \
  X(FLOAT6E3M2, uint8_t, 3, 2, 3, 0x1f, 0x20, NAN_SIGNED, OVER_MAX)                                          \
  X(FLOAT4E2M1, uint8_t, 2, 1, 1, 0x07, 0x08, NAN_SIGNED, OVER_MAX)

/* Both directions are selects without branches, and are inlined with a constant format: the compiler folds
 * the format in and vectorizes the row loops below. A format with float's own exponent range (bfloat16)
 * shares float's subnormals. */
static inline __attribute__((always_inline)) float decode(const format f, uint32_t code) {
  const int shift = 23 - f.man, rebias = 127 - f.bias;
  const uint32_t sign_bit = 1u << (f.exp + f.man), mag = code & (sign_bit - 1);
  uint32_t u = (mag << shift) + ((uint32_t)rebias << 23);
  if (rebias > 0 && mag < (1u << f.man))
    u = bits_of((float)(int32_t)mag * float_of((uint32_t)(rebias + 1 - f.man) << 23));
  if (f.nan_form == NAN_IEEE && mag > f.max) u = 0x7f800000u | (mag << shift & 0x007fffffu);
  u |= code & sign_bit ? 0x80000000u : 0;
  bool nan = f.nan_form == NAN_ONE ? code == f.nan : f.overflow != OVER_MAX && mag == f.nan;
  if (f.nan_form != NAN_IEEE && nan) u = (u & 0x80000000u) | 0x7fc00000u;
  return float_of(u);
}

static inline __attribute__((always_inline)) uint32_t encode(const format f, float x, bool saturate) {
  const int shift = 23 - f.man, rebias = 127 - f.bias;
  const uint32_t bits = bits_of(x), u = bits & 0x7fffffffu;
  const uint32_t sign = (bits >> 31) << (f.exp + f.man);
  const uint32_t v = u - ((uint32_t)rebias << 23);
  uint32_t r = (v + ((1u << (shift - 1)) - 1) + (v >> shift & 1)) >> shift;
  if (rebias >
      0) { /* below the smallest normal, adding a power of two whose ulp is the format's rounds in hardware */
    const uint32_t magic = (uint32_t)(127 + 24 - f.bias - f.man) << 23;
    r = u < (uint32_t)(rebias + 1) << 23 ? bits_of(float_of(u) + float_of(magic)) - magic : r;
  }
  const uint32_t infinity = f.nan_form == NAN_IEEE ? f.max + 1 : f.nan;
  const bool to_max = f.overflow == OVER_MAX || (f.overflow == OVER_ASKED && saturate);
  r = r > f.max ? (to_max ? f.max : infinity) : r;
  if (f.nan_form == NAN_IEEE) {
    const uint32_t payload = u >> shift & ((1u << f.man) - 1);
    r = u > 0x7f800000u ? (f.max + 1) | (payload ? payload : f.nan) : r;
  } else {
    r = u > 0x7f800000u ? f.nan : r;
  }
  if (f.nan_form == NAN_ONE) return r == 0 || r == f.nan ? r : r | sign;
  return r ^ sign;
}

/* float8e8m0 (OCP Microscaling 1.0, 5.4.1): code c is 2^(c-127), 255 is NaN; no sign, zero or infinity. */
static inline float decode_e8m0(uint8_t code) {
  return float_of(code == 0 ? 0x00400000u : code == 255 ? 0x7fc00000u : (uint32_t)code << 23);
}

static inline uint8_t encode_e8m0(float x, bool saturate, ifd_round_mode mode) {
  const uint32_t u = x == 0 ? 0 : bits_of(x), smallest = 0x00400000u, largest = 254u << 23,
                 half = 0x00400000u;
  if (u > 0x7f800000u) return 255; /* NaN or negative */
  if (u < smallest) return saturate ? 0 : 255;
  if (u > largest) return saturate ? 254 : 255;
  /* Below 2^-126 the one code at hand, 2^-127, is a float of half the next power: its fraction is counted
   * from there. */
  const uint32_t exp = u >> 23, fraction = exp ? u & 0x007fffffu : (u - smallest) << 1;
  const uint32_t least = mode == IFD_ROUND_DOWN ? UINT32_MAX : mode == IFD_ROUND_UP ? 1 : half;
  return (uint8_t)(exp + (fraction >= least));
}

/* ---- to float, without deciding yet: a result that lies between two floats is the one whose last bit is
 * odd, so that a later rounding to at most 22 bits gives what rounding x itself would (Boldo & Melquiond
 * 2008) ---- */

static float f64_to_odd(double x) {
  float y = (float)x;
  if ((double)y == x || x != x) return y;
  uint32_t u = bits_of(y);
  double magnitude = x < 0 ? -x : x, rounded = y < 0 ? -(double)y : (double)y;
  if (rounded > magnitude) u--;
  return float_of(u | 1);
}

static float u64_to_odd(uint64_t x) {
  int extra = x >> 24 ? 40 - __builtin_clzll(x) : 0;
  uint64_t lost = x & (((uint64_t)1 << extra) - 1);
  return (float)(uint32_t)(x >> extra | (lost != 0)) * (float)((uint64_t)1 << extra);
}

static float i64_to_odd(int64_t x) { return x < 0 ? -u64_to_odd(0 - (uint64_t)x) : u64_to_odd((uint64_t)x); }

/* ---- rows ---- */

typedef struct choice {
  bool saturate;
  ifd_round_mode round_mode;
} choice;

static const choice default_choice = {true, IFD_ROUND_NEAREST};

typedef struct row_functions {
  void (*load_f32)(const void *p, float *out, int64_t n);
  void (*load_f64)(const void *p, double *out, int64_t n);
  void (*load_i64)(const void *p, int64_t *out, int64_t n);
  void (*store_f32)(void *p, const float *in, int64_t n, choice c);
  void (*store_f64)(void *p, const double *in, int64_t n, choice c);
  void (*store_i64)(void *p, const int64_t *in, int64_t n, choice c);
} row_functions;

#define ROW(TYPE_IN, TYPE_OUT, in, out, expression)                                                          \
  const TYPE_IN *in_ = in;                                                                                   \
  TYPE_OUT *out_ = out;                                                                                      \
  for (int64_t i = 0; i < n; i++) {                                                                          \
    TYPE_IN x = in_[i];                                                                                      \
    out_[i] = (TYPE_OUT)(expression);                                                                        \
  }
#define LOAD(NAME, TYPE, SUFFIX, TO, expression)                                                             \
  static void load_##SUFFIX##_##NAME(const void *p, TO *out, int64_t n) { ROW(TYPE, TO, p, out, expression) }
#define STORE(NAME, TYPE, SUFFIX, FROM, expression)                                                          \
  static void store_##SUFFIX##_##NAME(void *p, const FROM *in, int64_t n, choice c) {                        \
    (void)c;                                                                                                 \
    ROW(FROM, TYPE, in, p, expression)                                                                       \
  }

/* Toward zero, out of range to the nearer end, NaN to 0. */
static inline int64_t f64_to_i64(double x) {
  return x >= 0x1p63 ? INT64_MAX : x <= -0x1p63 ? INT64_MIN : x == x ? (int64_t)x : 0;
}

#define REALS(X) X(FLOAT, float) X(DOUBLE, double)
#define REAL_ROWS(NAME, TYPE)                                                                                \
  LOAD(NAME, TYPE, f32, float, x)                                                                            \
  LOAD(NAME, TYPE, f64, double, x)                                                                           \
  LOAD(NAME, TYPE, i64, int64_t, f64_to_i64(x))                                                              \
  STORE(NAME, TYPE, f32, float, x)                                                                           \
  STORE(NAME, TYPE, f64, double, x)                                                                          \
  STORE(NAME, TYPE, i64, int64_t, x)
REALS(REAL_ROWS)

/* X(dtype, type in memory, bits, is signed) */
#define INTEGERS(X)                                                                                          \
  X(INT2, int8_t, 2, 1)                                                                                      \
  X(INT4, int8_t, 4, 1)                                                                                      \
  X(INT8, int8_t, 8, 1)                                                                                      \
  X(INT16, int16_t, 16, 1)                                                                                   \
  X(INT32, int32_t, 32, 1)                                                                                   \
  X(INT64, int64_t, 64, 1)                                                                                   \
  X(UINT2, uint8_t, 2, 0)                                                                                    \
  X(UINT4, uint8_t, 4, 0)                                                                                    \
  X(UINT8, uint8_t, 8, 0)                                                                                    \
  X(UINT16, uint16_t, 16, 0)                                                                                 \
  X(UINT32, uint32_t, 32, 0)                                                                                 \
  X(UINT64, uint64_t, 64, 0)
/* The range is [low, high] = [-2^(bits-1), 2^(bits-1)-1] or [0, 2^bits-1]; 2^…, unlike high, is exact in
 * every float. */
#define HIGH(BITS, SIGNED) (UINT64_MAX >> (64 - BITS) >> SIGNED)
#define CLAMP(TYPE, BITS, SIGNED, REAL)                                                                      \
  (x >= (REAL)(HIGH(BITS, SIGNED) / 2 + 1) * 2          ? (TYPE)HIGH(BITS, SIGNED)                           \
   : x <= (SIGNED ? (REAL)(HIGH(BITS, 1) + 1) * -1 : 0) ? (SIGNED ? (TYPE)(~HIGH(BITS, SIGNED)) : 0)         \
   : x == x                                             ? (TYPE)x                                            \
                                                        : 0)
#define WRAP(BITS, SIGNED)                                                                                   \
  (SIGNED ? (int64_t)((uint64_t)x << (64 - BITS)) >> (64 - BITS)                                             \
          : (int64_t)((uint64_t)x << (64 - BITS) >> (64 - BITS)))
#define INTEGER_ROWS(NAME, TYPE, BITS, SIGNED)                                                               \
  LOAD(NAME, TYPE, f32, float, x)                                                                            \
  LOAD(NAME, TYPE, f64, double, x)                                                                           \
  LOAD(NAME, TYPE, i64, int64_t, x)                                                                          \
  STORE(NAME, TYPE, f32, float, CLAMP(TYPE, BITS, SIGNED, float))                                            \
  STORE(NAME, TYPE, f64, double, CLAMP(TYPE, BITS, SIGNED, double))                                          \
  STORE(NAME, TYPE, i64, int64_t, WRAP(BITS, SIGNED))
INTEGERS(INTEGER_ROWS)

LOAD(BOOL, uint8_t, f32, float, x != 0)
LOAD(BOOL, uint8_t, f64, double, x != 0)
LOAD(BOOL, uint8_t, i64, int64_t, x != 0)
STORE(BOOL, uint8_t, f32, float, x != 0)
STORE(BOOL, uint8_t, f64, double, x != 0)
STORE(BOOL, uint8_t, i64, int64_t, x != 0)

#define FORMAT_ROWS(NAME, TYPE, EXP, MAN, BIAS, MAX, NAN_CODE, NAN_FORM, OVERFLOW)                           \
  static const format format_##NAME = {EXP, MAN, BIAS, MAX, NAN_CODE, NAN_FORM, OVERFLOW};                   \
  LOAD(NAME, TYPE, f32, float, decode(format_##NAME, x))                                                     \
  LOAD(NAME, TYPE, f64, double, decode(format_##NAME, x))                                                    \
  LOAD(NAME, TYPE, i64, int64_t, f64_to_i64(decode(format_##NAME, x)))                                       \
  STORE(NAME, TYPE, f32, float, encode(format_##NAME, x, c.saturate))                                        \
  STORE(NAME, TYPE, f64, double, encode(format_##NAME, f64_to_odd(x), c.saturate))                           \
  STORE(NAME, TYPE, i64, int64_t, encode(format_##NAME, i64_to_odd(x), c.saturate))
FORMATS(FORMAT_ROWS)

LOAD(FLOAT8E8M0, uint8_t, f32, float, decode_e8m0(x))
LOAD(FLOAT8E8M0, uint8_t, f64, double, decode_e8m0(x))
LOAD(FLOAT8E8M0, uint8_t, i64, int64_t, f64_to_i64(decode_e8m0(x)))
STORE(FLOAT8E8M0, uint8_t, f32, float, encode_e8m0(x, c.saturate, c.round_mode))
STORE(FLOAT8E8M0, uint8_t, f64, double, encode_e8m0(f64_to_odd(x), c.saturate, c.round_mode))
STORE(FLOAT8E8M0, uint8_t, i64, int64_t, encode_e8m0(i64_to_odd(x), c.saturate, c.round_mode))

#define TABLE_ROW(NAME, ...)                                                                                 \
  [IFD_##NAME] = {load_f32_##NAME,  load_f64_##NAME,  load_i64_##NAME,                                       \
                  store_f32_##NAME, store_f64_##NAME, store_i64_##NAME},
static const row_functions rows[IFD_N_DTYPES] = {REALS(TABLE_ROW) INTEGERS(TABLE_ROW) FORMATS(TABLE_ROW)
                                                     TABLE_ROW(BOOL) TABLE_ROW(FLOAT8E8M0)};

void ifd_load_f32(ifd_dtype t, const void *p, float *out, int64_t n) { rows[t].load_f32(p, out, n); }
void ifd_load_f64(ifd_dtype t, const void *p, double *out, int64_t n) { rows[t].load_f64(p, out, n); }
void ifd_load_i64(ifd_dtype t, const void *p, int64_t *out, int64_t n) { rows[t].load_i64(p, out, n); }
void ifd_store_f32(ifd_dtype t, void *p, const float *in, int64_t n) {
  rows[t].store_f32(p, in, n, default_choice);
}
void ifd_store_f64(ifd_dtype t, void *p, const double *in, int64_t n) {
  rows[t].store_f64(p, in, n, default_choice);
}
void ifd_store_i64(ifd_dtype t, void *p, const int64_t *in, int64_t n) {
  rows[t].store_i64(p, in, n, default_choice);
}

float ifd_f16_to_f32(uint16_t h) { return decode(format_FLOAT16, h); }
uint16_t ifd_f32_to_f16(float x) { return (uint16_t)encode(format_FLOAT16, x, false); }
uint16_t ifd_f64_to_f16(double x) { return (uint16_t)encode(format_FLOAT16, f64_to_odd(x), false); }
float ifd_bf16_to_f32(uint16_t h) { return decode(format_BFLOAT16, h); }
uint16_t ifd_f32_to_bf16(float x) { return (uint16_t)encode(format_BFLOAT16, x, false); }

float ifd_small_to_f32(ifd_dtype t, uint8_t code) {
  float x;
  rows[t].load_f32(&code, &x, 1);
  return x;
}

uint8_t ifd_f32_to_small(ifd_dtype t, float x, bool saturate) {
  uint8_t code;
  rows[t].store_f32(&code, &x, 1, (choice){saturate, IFD_ROUND_NEAREST});
  return code;
}

/* ---- Cast ---- */

/* What a C cast does on x86-64, stated so that it holds everywhere. */
static int64_t f64_to_int(double x, ifd_dtype to) {
  if (ifd_dtypes[to].bits < 32 || to == IFD_INT32)
    return x > -0x1p31 - 1 && x < 0x1p31 ? (int64_t)x : INT32_MIN;
  if (to == IFD_UINT64 && x >= 0x1p63 && x < 0x1p64) return (int64_t)(uint64_t)x;
  return x >= -0x1p63 && x < 0x1p63 ? (int64_t)x : INT64_MIN;
}

typedef union chunk {
  float f32[CHUNK];
  double f64[CHUNK];
  int64_t i64[CHUNK];
} chunk;

static void cast_float_to_integer(ifd_dtype to, void *out, ifd_dtype from, const void *in, int64_t n) {
  double x[CHUNK];
  int64_t whole[CHUNK];
  ifd_load_f64(from, in, x, n);
  for (int64_t i = 0; i < n; i++) whole[i] = f64_to_int(x[i], to);
  ifd_store_i64(to, out, whole, n);
}

static void cast_chunk(ifd_dtype to, void *out, ifd_dtype from, const void *in, int64_t n, choice c) {
  chunk x;
  if (ifd_dtype_is_float(from) && ifd_dtype_is_integer(to)) {
    cast_float_to_integer(to, out, from, in, n);
  } else if (from == IFD_DOUBLE) {
    rows[to].store_f64(out, in, n, c);
  } else if (ifd_dtype_is_float(from)) {
    ifd_load_f32(from, in, x.f32, n);
    rows[to].store_f32(out, x.f32, n, c);
  } else if (from == IFD_UINT64 && ifd_dtype_is_float(to)) {
    const uint64_t *u = in;
    for (int64_t i = 0; i < n; i++) x.f32[i] = u64_to_odd(u[i]);
    rows[to].store_f32(out, x.f32, n, c);
  } else {
    ifd_load_i64(from, in, x.i64, n);
    rows[to].store_i64(out, x.i64, n, c);
  }
}

void ifd_cast(ifd_dtype to, void *out, ifd_dtype from, const void *in, int64_t n, bool saturate,
              ifd_round_mode round_mode) {
  choice c = {saturate, round_mode};
  size_t to_size = ifd_dtype_size(to), from_size = ifd_dtype_size(from);
  if (to == from && n)
    memcpy(out, in, (size_t)n * to_size);
  else if (to == IFD_FLOAT)
    ifd_load_f32(from, in, out, n);
  else if (to == IFD_DOUBLE)
    ifd_load_f64(from, in, out, n);
  else if (from == IFD_FLOAT && !ifd_dtype_is_integer(to))
    rows[to].store_f32(out, in, n, c);
  else
    for (int64_t i = 0; i < n; i += CHUNK)
      cast_chunk(to, (char *)out + (size_t)i * to_size, from, (const char *)in + (size_t)i * from_size,
                 n - i < CHUNK ? n - i : CHUNK, c);
}

/* ---- packing: element i takes bits [i * bits, (i + 1) * bits) of a string of bits, low bits of a byte first
 * ---- */

static inline __attribute__((always_inline)) void unpack(int bits, bool is_signed, const uint8_t *packed,
                                                         uint8_t *out, int64_t n) {
  const unsigned mask = (1u << bits) - 1, sign = is_signed ? 1u << (bits - 1) : 0;
  int64_t i = 0;
  for (const int per_byte = 8 % bits ? 0 : 8 / bits; per_byte && i + per_byte <= n; i += per_byte)
    for (int j = 0; j < per_byte; j++)
      out[i + j] = (uint8_t)((((unsigned)packed[i / per_byte] >> j * bits & mask) ^ sign) - sign);
  for (; i < n; i++) {
    uint64_t at = (uint64_t)i * (unsigned)bits;
    unsigned v = packed[at >> 3] >> (at & 7);
    if ((at & 7) + (unsigned)bits > 8) v |= (unsigned)packed[(at >> 3) + 1] << (8 - (at & 7));
    out[i] = (uint8_t)(((v & mask) ^ sign) - sign);
  }
}

void ifd_unpack(ifd_dtype t, const void *packed, void *out, int64_t n) {
  bool is_signed = ifd_dtypes[t].class == IFD_CLASS_INT;
  switch (ifd_dtypes[t].bits) { /* constants for the compiler to unroll by */
  case 2: unpack(2, is_signed, packed, out, n); break;
  case 4: unpack(4, is_signed, packed, out, n); break;
  case 6: unpack(6, is_signed, packed, out, n); break;
  default:
    if (n) memcpy(out, packed, (size_t)n * ifd_dtype_size(t));
  }
}

void ifd_pack(ifd_dtype t, const void *in, void *packed, int64_t n) {
  const unsigned bits = (unsigned)ifd_dtypes[t].bits, mask = (1u << (bits & 7)) - 1;
  const uint8_t *from = in;
  uint8_t *to = packed;
  if (!n) return;
  if (bits >= 8) {
    memcpy(packed, in, (size_t)n * ifd_dtype_size(t));
    return;
  }
  for (uint64_t i = 0; i < (uint64_t)n; i++) {
    uint64_t at = i * bits;
    unsigned v = (from[i] & mask) << (at & 7);
    to[at >> 3] = (uint8_t)(v | (at & 7 ? to[at >> 3] : 0));
    if ((at & 7) + bits > 8) to[(at >> 3) + 1] = (uint8_t)(v >> 8);
  }
}
