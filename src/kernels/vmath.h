/* Elementary functions on sixteen float lanes, the same bits on every ISA: each is one sequence of simd.h's
 * operations, chosen lane by lane where there are two; what no lane of a vector needs is left out. The
 * coefficients are this project's own minimax fits (tools/minimax.py prints them). Results are right over the
 * whole float range: overflow gives Inf, underflow rounds to denormals, NaN gives NaN, and the limits at ±Inf
 * and the sign of zero are C's. gelu, mish and swish are x * f(x), so -Inf gives NaN as the ONNX formulas do.
 *
 * Largest error in units in the last place of the float result, against double (tests/kcheck/eltwise.c holds
 * them): exp 0.9   expm1 1.5   log 0.95   log1p 1.5   softplus 1.8   sin 1.6   cos 1.6   erf 1.3   pow 0.8
 *   tanh 2.6   sigmoid 2.3   swish 2.5   mish 4.6   gelu 2.6 (x > -5), 7 (x > -12)
 *   gelu_tanh 2.7 (x > -5); below, the rounding of its argument u costs |u| units of a result near 0
 */
#ifndef IFD_KERNELS_VMATH_H
#define IFD_KERNELS_VMATH_H

#include <float.h>

#include "kernels/simd.h"
#include "kernels/simd_double.h"
#include "kernels/vmath_pieces.h"

#define C_(x)   v16_set1(x)
#define LOG2_E_ 0x1.715476p+0f

/* x * a + b */
IFD_INLINE v16 v16_step(v16 x, v16 a, float b) { return v16_fma(x, a, C_(b)); }
/* x with the sign of s; x >= 0 */
IFD_INLINE v16 v16_or_sign(v16 x, v16 s) {
  return i16_float(i16_or(v16_bits(x), i16_and(v16_bits(s), i16_set1(INT32_MIN))));
}
IFD_INLINE v16 v16_ceil(v16 x) { return v16_neg(v16_floor(v16_neg(x))); }
/* What is added to a number below 2^22 to round it: the last bits of the sum are those of the integer and of
 * the exponent's bias, so that 2^n is a shift away. */
#define WHOLE_ (0x1.8p23f + 127)
/* The integer nearest to x * factor, ties to even, with WHOLE_ added */
IFD_INLINE v16 v16_whole(v16 x, float factor) { return v16_fma(x, C_(factor), C_(WHOLE_)); }
IFD_INLINE v16 v16_of_whole(v16 whole) { return v16_sub(whole, C_(WHOLE_)); }
/* 2^n for n in [-126, 127], 0 for -127, Inf for 128 */
IFD_INLINE v16 v16_pow2(v16 whole) { return i16_float(i16_sll(v16_bits(whole), 23)); }
/* p * 2^n rounded once, also to denormals and Inf; 0.5 <= |p| < 2, n in [-250, 250]; NaN where p is NaN */
IFD_INLINE v16 v16_scale(v16 p, v16 whole) {
  const v16 n = v16_of_whole(whole);
#if defined(IFD_ISA_avx512)
  return _mm512_scalef_ps(p, n);
#else
  if (__builtin_expect(m16_any(v16_lt(C_(126), v16_abs(n))), 0)) {
    const v16 half = v16_whole(n, 0.5f), rest = v16_add(v16_sub(n, v16_of_whole(half)), C_(WHOLE_));
    return v16_mul(v16_mul(p, v16_pow2(half)), v16_pow2(rest));
  }
  return v16_mul(p, v16_pow2(whole));
#endif
}

/* ---- exp and what it makes ---- */

/* x - n ln 2, ln 2 in two parts; the first step is exact */
IFD_INLINE v16 v16_minus_n_ln2(v16 x, v16 n) {
  return v16_fnma(n, C_(-0x1.05c610p-29f), v16_fnma(n, C_(0x1.62e430p-1f), x));
}
/* (exp(r) - 1 - r) / r^2 for |r| <= 0.3475 */
IFD_INLINE v16 v16_expm1_tail(v16 r) {
  v16 p = v16_step(C_(0x1.6a216ap-10f), r, 0x1.123b5cp-7f);
  p = v16_step(p, r, 0x1.5558d6p-5f);
  p = v16_step(p, r, 0x1.555490p-3f);
  return v16_step(p, r, 0x1.fffffcp-2f);
}
/* exp(r) - 1 */
IFD_INLINE v16 v16_expm1_poly(v16 r) { return v16_fma(v16_mul(r, r), v16_expm1_tail(r), r); }
/* exp(x - n ln 2), n the integer of `whole` nearest to x / ln 2 */
IFD_INLINE v16 v16_exp_rest(v16 x, v16 whole) {
  const v16 r = v16_minus_n_ln2(x, v16_of_whole(whole));
  return v16_step(v16_step(v16_expm1_tail(r), r, 1), r, 1);
}
/* exp(x) of x in [-104, 89], or NaN */
IFD_INLINE v16 v16_exp_inner(v16 x) {
  const v16 n = v16_whole(x, LOG2_E_);
  return v16_scale(v16_exp_rest(x, n), n);
}
/* exp(x) of x <= 0, or NaN; 0 below 2^-126.5: denormals cost a hundred cycles */
IFD_INLINE v16 v16_exp_down(v16 x) {
  const v16 t = v16_max(C_(-88), x), n = v16_whole(t, LOG2_E_);
  return v16_mul(v16_exp_rest(t, n), v16_pow2(n));
}
/* 2^x of x <= 0, or NaN; 0 below 2^-126.5 */
IFD_INLINE v16 v16_exp2_down(v16 x) {
  const v16 t = v16_max(C_(-127), x), n = v16_whole(t, 1), f = v16_sub(t, v16_of_whole(n));
  v16 p = v16_step(C_(0x1.41fc60p-13f), f, 0x1.5f3ef6p-10f);
  p = v16_step(p, f, 0x1.3b2e28p-7f);
  p = v16_step(p, f, 0x1.c6af2cp-5f);
  p = v16_step(p, f, 0x1.ebfbdap-3f);
  p = v16_step(p, f, 0x1.62e430p-1f);
  return v16_mul(v16_step(p, f, 1), v16_pow2(n));
}
IFD_INLINE v16 v16_exp(v16 x) { return v16_exp_inner(v16_max(C_(-104), v16_min(C_(89), x))); }
/* exp(x) - 1 of x in [-18, 89], or NaN; not exact for |x| < 2^-125 */
IFD_INLINE v16 v16_expm1_inner(v16 x) {
  v16 n = v16_whole(x, LOG2_E_);
  v16 p = v16_expm1_poly(v16_minus_n_ln2(x, v16_of_whole(n)));
  v16 half = v16_pow2(v16_sub(n, C_(1))); /* 2^n itself would overflow at n = 128 */
  v16 r = v16_fma(p, half, v16_sub(half, C_(0.5f)));
  return v16_add(r, r);
}
IFD_INLINE v16 v16_expm1(v16 x) {
  v16 r = v16_expm1_inner(v16_max(C_(-18), v16_min(C_(89), x)));
  return v16_select(v16_lt(v16_abs(x), C_(0x1p-100f)), x, r);
}
/* n / d, 1 <= d <= 2, where several functions may share one division */
typedef struct v16_fraction {
  v16 n, d;
} v16_fraction;

/* tanh|x| = -e / (e + 2), e = exp(-2|x|) - 1 */
IFD_INLINE v16_fraction v16_tanh_fraction(v16 x) {
  const v16 t = v16_max(C_(-18), v16_mul(C_(-2), v16_abs(x))), n = v16_whole(t, LOG2_E_), scale = v16_pow2(n);
  const v16 p = v16_expm1_poly(v16_minus_n_ln2(t, v16_of_whole(n)));
  const v16 e = v16_fma(p, scale, v16_sub(scale, C_(1)));
  return (v16_fraction){v16_or_sign(v16_abs(e), x), v16_add(e, C_(2))};
}
IFD_INLINE v16 v16_tanh(v16 x) {
  v16_fraction f = v16_tanh_fraction(x);
  return v16_div(f.n, f.d);
}
/* 1 / (1 + exp(-x)), written with exp(-|x|) so that both tails keep their bits */
IFD_INLINE v16_fraction v16_sigmoid_fraction(v16 x) {
  v16 e = v16_exp_inner(v16_max(C_(-104), v16_neg(v16_abs(x))));
  return (v16_fraction){v16_select(v16_lt(x, v16_zero()), e, C_(1)), v16_add(C_(1), e)};
}
IFD_INLINE v16 v16_sigmoid(v16 x) {
  v16_fraction f = v16_sigmoid_fraction(x);
  return v16_div(f.n, f.d);
}
/* x / (1 + exp(-a x)), -0 where exp(-a x) > 2^127.5, of which v16_pow2 makes Inf */
IFD_INLINE v16 v16_swish(v16 x, v16 a) {
  const v16 t = v16_min(C_(89), v16_max(C_(-87), v16_mul(v16_neg(a), x))), n = v16_whole(t, LOG2_E_);
  return v16_div(x, v16_fma(v16_exp_rest(t, n), v16_pow2(n), C_(1)));
}

/* ---- log and what it makes ---- */

/* log(1 + f) + e ln 2 for f in [-1/3, 1/3] */
IFD_INLINE v16 v16_log_poly(v16 f, v16 e) {
  v16 p = v16_step(C_(-0x1.08104ap-3f), f, 0x1.1e7152p-3f);
  p = v16_step(p, f, -0x1.f30ccep-4f);
  p = v16_step(p, f, 0x1.1ed530p-3f);
  p = v16_step(p, f, -0x1.559deap-3f);
  p = v16_step(p, f, 0x1.99d04ap-3f);
  p = v16_step(p, f, -0x1.fffef0p-3f);
  p = v16_step(p, f, 0x1.555506p-2f);
  p = v16_step(p, f, -0.5f);
  return v16_fma(e, C_(0x1.62e430p-1f), v16_fma(v16_mul(f, f), p, f));
}
/* the exponent field of x / (2/3), in place: x = m 2^e with m in [2/3, 4/3) has bits(x) = bits(m) + this */
IFD_INLINE i16 v16_exponent_bits(v16 x) {
  return i16_and(i16_sub(v16_bits(x), i16_set1(0x3f2aaaab)), i16_set1((int32_t)0xff800000));
}
IFD_INLINE v16 v16_exponent(i16 bits) { return i16_to_v16(i16_sra(bits, 23)); }

IFD_INLINE v16 v16_log(v16 x) {
  m16 tiny = v16_lt(x, C_(0x1p-126f));
  v16 y = v16_select(tiny, v16_mul(x, C_(0x1p23f)), x);
  i16 e = v16_exponent_bits(y);
  v16 f = v16_sub(i16_float(i16_sub(v16_bits(y), e)), C_(1));
  v16 r = v16_log_poly(f, v16_sub(v16_exponent(e), v16_select(tiny, C_(23), v16_zero())));
  r = v16_select(v16_lt(C_(FLT_MAX), x), x, r);
  r = v16_select(v16_eq(x, v16_zero()), C_(-INFINITY), r);
  return v16_select(v16_le(v16_zero(), x), r, C_(NAN));
}
/* log1p of x > -1: 1 + x = 2^e (1 + f) with f = x 2^-e + (2^-e - 1) rounded once */
IFD_INLINE v16 v16_log1p_inner(v16 x) {
  i16 e = v16_exponent_bits(v16_add(C_(1), x));
  v16 scale = i16_float(i16_sub(i16_set1(0x40800000), e)); /* 4 * 2^-e, normal also at e = 128 */
  scale = v16_mul(scale, C_(0.25f));
  v16 f = v16_fma(x, scale, v16_sub(scale, C_(1)));
  return v16_log_poly(f, v16_exponent(e));
}
IFD_INLINE v16 v16_log1p(v16 x) {
  v16 r = v16_log1p_inner(x);
  r = v16_select(v16_lt(v16_abs(x), C_(0x1p-60f)), x, r);
  r = v16_select(v16_lt(C_(FLT_MAX), x), x, r);
  r = v16_select(v16_eq(x, C_(-1)), C_(-INFINITY), r);
  return v16_select(v16_le(C_(-1), x), r, C_(NAN));
}
/* log(1 + exp(x)) = max(x, 0) + log1p(exp(-|x|)) */
IFD_INLINE v16 v16_softplus(v16 x) {
  v16 e = v16_exp_inner(v16_max(C_(-104), v16_neg(v16_abs(x))));
  return v16_add(v16_max(x, v16_zero()), v16_log1p_inner(e));
}
/* x * tanh(softplus(x)) = x n / (n + 2), n = e (e + 2), e = exp(x) */
IFD_INLINE v16 v16_mish(v16 x) {
  v16 e = v16_exp_inner(v16_max(C_(-104), v16_min(C_(20), x)));
  v16 n = v16_mul(e, v16_add(e, C_(2)));
  return v16_mul(x, v16_div(n, v16_add(n, C_(2))));
}

/* ---- erf and gelu ---- */

/* Near 0, x + x p(x^2); beyond, 1 - 2^p(|x|) */
IFD_INLINE v16 v16_erf(v16 x) {
  v16 a = v16_abs(x), s = v16_mul(x, x);
  v16 p = v16_step(C_(-0x1.453ab2p-11f), s, 0x1.49c9f4p-8f);
  p = v16_step(p, s, -0x1.b6f38ep-6f);
  p = v16_step(p, s, 0x1.ce211cp-4f);
  p = v16_step(p, s, -0x1.81270cp-2f);
  p = v16_step(p, s, 0x1.06eba8p-3f);
  v16 small = v16_fma(x, p, x);
  v16 t = v16_min(C_(4), a);
  v16 q = v16_step(C_(0x1.300fe6p-12f), t, -0x1.245f1cp-8f);
  q = v16_step(q, t, 0x1.08f982p-5f);
  q = v16_step(q, t, -0x1.34400ap-3f);
  q = v16_step(q, t, -0x1.d6550ep-1f);
  q = v16_step(q, t, -0x1.a094a0p+0f);
  q = v16_step(q, t, -0x1.942360p-13f);
  v16 n = v16_whole(q, 1), scale = v16_pow2(n);
  v16 e = v16_expm1_poly(v16_mul(v16_sub(q, v16_of_whole(n)), C_(0x1.62e430p-1f)));
  v16 large = v16_sub(C_(1), v16_fma(e, scale, scale));
  return v16_select(v16_lt(a, C_(0.875f)), small, v16_or_sign(large, x));
}
/* Phi(-t) for t in [0, 13), Phi the normal distribution function: exp(-t^2/2) times a polynomial in 1 / (1
 * + t/4); the square's rounding error goes into the exponent too. */
IFD_INLINE v16 v16_normal_tail(v16 t) {
  v16 s = v16_div(v16_sub(t, C_(2)), v16_add(t, C_(3)));
  v16 p = v16_step(C_(0x1.20b73ep-12f), s, 0x1.59b99cp-14f);
  p = v16_step(p, s, -0x1.a39aa0p-10f);
  p = v16_step(p, s, -0x1.45292ap-10f);
  p = v16_step(p, s, 0x1.327c38p-7f);
  p = v16_step(p, s, 0x1.74c940p-8f);
  p = v16_step(p, s, -0x1.609fbep-4f);
  p = v16_step(p, s, 0x1.c0c566p-3f);
  p = v16_step(p, s, -0x1.413850p-2f);
  p = v16_step(p, s, 0x1.5845dcp-3f);
  v16 square = v16_mul(t, t), low = v16_fma(t, t, v16_neg(square));
  v16 x = v16_mul(square, C_(-0.5f)), n = v16_whole(x, LOG2_E_);
  v16 r = v16_fnma(low, C_(0.5f), v16_minus_n_ln2(x, v16_of_whole(n)));
  return v16_scale(v16_fma(p, v16_expm1_poly(r), p), n);
}
/* max(x, 0) - t tail(t), t = |x|: x times a function that is 1 - tail(t) where x > 0, tail(t) where x < 0 */
IFD_INLINE v16 v16_gate(const ifd_pieces *tail, v16 t, v16 x) {
  return v16_fnma(t, v16_piece(tail, t), v16_max(v16_zero(), x));
}
IFD_INLINE v16 v16_gelu_far(v16 x) {
  v16 most = C_(12.875f), t = v16_abs(x);
  v16 tail = v16_select(v16_lt(most, t), v16_zero(), v16_normal_tail(v16_min(most, t)));
  return v16_mul(x, v16_select(v16_lt(x, v16_zero()), tail, v16_sub(C_(1), tail)));
}
/* x Phi(x); Phi is 0 where it would be denormal */
IFD_INLINE v16 v16_gelu(v16 x) {
  v16 t = v16_abs(x), near = v16_gate(&ifd_gelu_pieces, t, x);
  m16 far = v16_lt(C_(ifd_gelu_pieces.end), t);
  return __builtin_expect(m16_any(far), 0) ? v16_select(far, v16_gelu_far(x), near) : near;
}
IFD_INLINE v16 v16_gelu_tanh_far(v16 x) {
  v16 u = v16_mul(x, v16_step(v16_mul(x, x), C_(0x1.2444f2p-4f), 0x1.988454p+0f));
  v16 e = v16_exp_down(v16_neg(v16_abs(u)));
  return v16_mul(x, v16_div(v16_select(v16_lt(u, v16_zero()), e, C_(1)), v16_add(C_(1), e)));
}
/* x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) = x sigmoid(2 sqrt(2/pi) (x + 0.044715 x^3)); the
 * cubic is soon so large that a sigmoid's tail would be denormal */
IFD_INLINE v16 v16_gelu_tanh(v16 x) {
  v16 t = v16_abs(x), near = v16_gate(&ifd_gelu_tanh_pieces, t, x);
  m16 far = v16_lt(C_(ifd_gelu_tanh_pieces.end), t);
  return __builtin_expect(m16_any(far), 0) ? v16_select(far, v16_gelu_tanh_far(x), near) : near;
}

/* ---- sin and cos ---- */

/* |x| - n pi/2 for finite |x| >= 2^16, n mod 4 to *quadrant: x's 24 bits times the 96 bits of 2/pi that
 * matter, in integers (Payne and Hanek's reduction). */
static __attribute__((noinline, cold, unused)) float ifd_reduce_large(float x, int32_t *quadrant) {
  static const uint32_t two_over_pi[] = {0,          0xa2f9836e, 0x4e441529, 0xfc2757d1,
                                         0xf534ddc0, 0xdb629599, 0x3c439041, 0xfe5163ab};
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  bits &= 0x7fffffff;
  uint32_t mantissa = (bits & 0x7fffff) | 0x800000;
  int from = (int)(bits >> 23) - 150 + 30; /* of the first bit wanted, after 32 zero bits */
  const uint32_t *w = two_over_pi + from / 32;
  int shift = from % 32;
  uint64_t high = (uint64_t)w[0] << 32 | w[1], low = (uint64_t)w[2] << 32 | w[3];
  unsigned __int128 window = ((unsigned __int128)high << 64 | low) << shift >> 32;
  unsigned __int128 turn = window * mantissa << 32; /* in units of 2^-126 quarter turns, mod 4 */
  *quadrant = (int32_t)((turn + ((unsigned __int128)1 << 125)) >> 126);
  int64_t fraction = (int64_t)(uint64_t)((turn << 2) >> 64); /* signed, in units of 2^-64 */
  return (float)((double)fraction * 0x1.921fb54442d18p-64);
}
/* |x| = n pi/2 + r: r, and n mod 4 in *quadrant; NaN of Inf and NaN */
IFD_INLINE v16 v16_reduce_quarter(v16 x, i16 *quadrant) {
  v16 a = v16_abs(x), n = v16_round(v16_mul(a, C_(0x1.45f306p-1f)));
  v16 r = v16_fnma(n, C_(0x1.921fb6p+0f), a);
  r = v16_fnma(n, C_(-0x1.777a5cp-25f), r);
  r = v16_fnma(n, C_(-0x1.ee59dap-50f), r);
  *quadrant = v16_to_i16(n);
  m16 large = m16_andnot(v16_lt(C_(0x1p16f), a), v16_lt(C_(FLT_MAX), a));
  if (__builtin_expect(m16_any(large), 0)) {
    float in[16], out[16];
    int32_t q[16];
    v16_store(in, a);
    v16_store(out, r);
    i16_store(q, *quadrant);
    for (int k = 0; k < 16; k++)
      if (in[k] > 0x1p16f && in[k] <= FLT_MAX) out[k] = ifd_reduce_large(in[k], &q[k]);
    r = v16_load(out);
    *quadrant = i16_load(q);
  }
  return r;
}
/* sin(r + quadrant pi/2) for |r| <= pi/4 */
IFD_INLINE v16 v16_sin_quarter(v16 r, i16 quadrant) {
  v16 s = v16_mul(r, r);
  v16 p = v16_step(v16_step(C_(-0x1.994222p-13f), s, 0x1.110756p-7f), s, -0x1.555546p-3f);
  v16 sine = v16_fma(v16_mul(s, r), p, r);
  v16 q = v16_step(v16_step(C_(0x1.99eabep-16f), s, -0x1.6c0c2ep-10f), s, 0x1.55554ap-5f);
  v16 cosine = v16_step(v16_step(q, s, -0.5f), s, 1);
  m16 even = v16_eq(i16_to_v16(i16_and(quadrant, i16_set1(1))), v16_zero());
  i16 sign = i16_sll(i16_and(quadrant, i16_set1(2)), 30);
  return i16_float(i16_xor(v16_bits(v16_select(even, sine, cosine)), sign));
}
IFD_INLINE v16 v16_sin(v16 x) {
  i16 quadrant;
  v16 r = v16_reduce_quarter(x, &quadrant);
  i16 sign = i16_and(v16_bits(x), i16_set1(INT32_MIN));
  return i16_float(i16_xor(v16_bits(v16_sin_quarter(r, quadrant)), sign));
}
IFD_INLINE v16 v16_cos(v16 x) {
  i16 quadrant;
  v16 r = v16_reduce_quarter(x, &quadrant);
  return v16_sin_quarter(r, i16_add(quadrant, i16_set1(1)));
}

IFD_INLINE v16 v16_tan(v16 x) {
  i16 quadrant;
  v16 r = v16_reduce_quarter(x, &quadrant);
  v16 t = v16_div(v16_sin_quarter(r, quadrant), v16_sin_quarter(r, i16_add(quadrant, i16_set1(1))));
  return i16_float(i16_xor(v16_bits(t), i16_and(v16_bits(x), i16_set1(INT32_MIN))));
}

/* ---- inverse circular functions ---- */

/* asin(x) for |x| <= 1/2 */
IFD_INLINE v16 v16_asin_poly(v16 x) {
  v16 s = v16_mul(x, x);
  v16 p = v16_step(C_(0x1.59863ep-5f), s, 0x1.8c0cc8p-6f);
  p = v16_step(p, s, 0x1.7480f0p-5f);
  p = v16_step(p, s, 0x1.3301d2p-4f);
  p = v16_step(p, s, 0x1.5555c8p-3f);
  return v16_fma(v16_mul(s, x), p, x);
}
/* |x| <= 1/2: |x|; beyond: sqrt((1 - |x|) / 2), whose asin is (pi/2 - asin|x|) / 2; NaN for |x| > 1 */
IFD_INLINE v16 v16_asin_argument(v16 a, m16 small) {
  return v16_select(small, a, v16_sqrt(v16_fnma(a, C_(0.5f), C_(0.5f))));
}
IFD_INLINE v16 v16_asin(v16 x) {
  v16 a = v16_abs(x);
  m16 small = v16_le(a, C_(0.5f));
  v16 p = v16_asin_poly(v16_asin_argument(a, small));
  v16 large = v16_add(v16_fnma(p, C_(2), C_(0x1.921fb6p+0f)), C_(-0x1.777a5cp-25f));
  return v16_or_sign(v16_select(small, p, large), x);
}
IFD_INLINE v16 v16_acos(v16 x) {
  v16 a = v16_abs(x);
  m16 small = v16_le(a, C_(0.5f)), negative = v16_lt(x, v16_zero());
  v16 p = v16_asin_poly(v16_asin_argument(a, small));
  v16 q = v16_select(negative, v16_neg(p), p);
  v16 middle = v16_sub(C_(0x1.921fb6p+0f), v16_sub(q, C_(-0x1.777a5cp-25f)));
  v16 left = v16_fnma(p, C_(2), C_(0x1.921fb6p+1f));
  return v16_select(small, middle, v16_select(negative, left, v16_add(p, p)));
}
/* |x| > 1: pi/2 - atan(1/|x|) */
IFD_INLINE v16 v16_atan(v16 x) {
  v16 a = v16_abs(x);
  m16 large = v16_lt(C_(1), a);
  v16 t = v16_select(large, v16_div(C_(1), a), a), s = v16_mul(t, t);
  v16 p = v16_step(C_(0x1.7ea480p-9f), s, -0x1.0c16eap-6f);
  p = v16_step(p, s, 0x1.61ee0cp-5f);
  p = v16_step(p, s, -0x1.3550a0p-4f);
  p = v16_step(p, s, 0x1.b4de9ap-4f);
  p = v16_step(p, s, -0x1.230a92p-3f);
  p = v16_step(p, s, 0x1.9978ecp-3f);
  p = v16_step(p, s, -0x1.5554dcp-2f);
  v16 r = v16_fma(v16_mul(s, t), p, t);
  return v16_or_sign(v16_select(large, v16_sub(C_(0x1.921fb6p+0f), r), r), x);
}

/* ---- hyperbolic functions and their inverses ---- */

/* exp(x) / 2 of x in [0, 90], or NaN */
IFD_INLINE v16 v16_half_exp(v16 x) {
  v16 n = v16_whole(x, LOG2_E_);
  return v16_scale(v16_exp_rest(x, n), v16_sub(n, C_(1)));
}
/* Near 0 (e + e / (1 + e)) / 2 with e = expm1|x|; beyond, (exp|x| - exp(-|x|)) / 2 */
IFD_INLINE v16 v16_sinh(v16 x) {
  v16 a = v16_min(C_(90), v16_abs(x)), h = v16_half_exp(a), e = v16_expm1_inner(v16_min(C_(2), a));
  v16 small = v16_mul(C_(0.5f), v16_add(e, v16_div(e, v16_add(C_(1), e))));
  v16 large = v16_sub(h, v16_div(C_(0.25f), h));
  small = v16_select(v16_lt(a, C_(0x1p-60f)), a, small);
  return v16_or_sign(v16_select(v16_lt(C_(1), a), large, small), x);
}
IFD_INLINE v16 v16_cosh(v16 x) {
  v16 h = v16_half_exp(v16_min(C_(90), v16_abs(x)));
  return v16_add(h, v16_div(C_(0.25f), h));
}
/* log1p(a + a^2 / (1 + sqrt(a^2 + 1))), and for large a log(2a) */
IFD_INLINE v16 v16_asinh(v16 x) {
  v16 a = v16_abs(x), b = v16_min(C_(0x1p30f), a), s = v16_mul(b, b);
  v16 r = v16_log1p_inner(v16_add(b, v16_div(s, v16_add(C_(1), v16_sqrt(v16_add(s, C_(1)))))));
  r = v16_select(v16_lt(C_(0x1p15f), a), v16_add(v16_log(a), C_(0x1.62e430p-1f)), r);
  return v16_or_sign(v16_select(v16_lt(a, C_(0x1p-60f)), a, r), x);
}
/* log1p(t + sqrt(2t + t^2)) with t = x - 1, and for large x log(2x) */
IFD_INLINE v16 v16_acosh(v16 x) {
  v16 t = v16_sub(v16_min(C_(0x1p30f), x), C_(1));
  v16 r = v16_log1p_inner(v16_add(t, v16_sqrt(v16_fma(t, t, v16_add(t, t)))));
  r = v16_select(v16_lt(C_(0x1p15f), x), v16_add(v16_log(x), C_(0x1.62e430p-1f)), r);
  return v16_select(v16_le(C_(1), x), r, C_(NAN));
}
/* log1p(2a / (1 - a)) / 2 */
IFD_INLINE v16 v16_atanh(v16 x) {
  v16 a = v16_abs(x), r = v16_log1p(v16_div(v16_add(a, a), v16_sub(C_(1), a)));
  r = v16_select(v16_lt(a, C_(0x1p-60f)), a, v16_mul(C_(0.5f), r));
  return v16_or_sign(v16_select(v16_le(a, C_(1)), r, C_(NAN)), x);
}

/* ---- pow ---- */

/* log2(x) for x >= 0 or NaN, in double to 2^-41 */
IFD_INLINE d16 v16_log2_double(v16 x) {
  m16 tiny = v16_lt(x, C_(0x1p-126f));
  v16 y = v16_select(tiny, v16_mul(x, C_(0x1p23f)), x);
  i16 bits = v16_exponent_bits(y);
  v16 e = v16_sub(v16_exponent(bits), v16_select(tiny, C_(23), v16_zero()));
  e = v16_select(v16_eq(x, v16_zero()), C_(-INFINITY), e);
  e = v16_select(v16_lt(x, C_(INFINITY)), e, x); /* Inf and NaN */
  d16 f = v16_to_d16(v16_sub(i16_float(i16_sub(v16_bits(y), bits)), C_(1)));
  d16 s = d16_div(f, d16_add(f, d16_set1(2))), z = d16_mul(s, s);
  d16 p = d16_fma(d16_set1(0x1.29cf6402560cbp-2), z, d16_set1(0x1.46f2ae632ccaap-2));
  p = d16_fma(p, z, d16_set1(0x1.a61e9e094307cp-2));
  p = d16_fma(p, z, d16_set1(0x1.2776bc4f3f95ap-1));
  p = d16_fma(p, z, d16_set1(0x1.ec709dcb5a38fp-1));
  p = d16_fma(p, z, d16_set1(0x1.71547652b7e92p+1));
  return d16_fma(p, s, v16_to_d16(e));
}
/* 2^x */
IFD_INLINE v16 v16_exp2_double(d16 x) {
  x = d16_max(d16_set1(-200), d16_min(d16_set1(200), x));
  d16 n = d16_round(x), t = d16_sub(x, n);
  d16 p = d16_fma(d16_set1(0x1.fe17562132d27p-17), t, d16_set1(0x1.446a43d58843cp-13));
  p = d16_fma(p, t, d16_set1(0x1.5d8a710965e30p-10));
  p = d16_fma(p, t, d16_set1(0x1.3b29dc1457f56p-7));
  p = d16_fma(p, t, d16_set1(0x1.c6b08aae55951p-5));
  p = d16_fma(p, t, d16_set1(0x1.ebfbe0a4f3074p-3));
  p = d16_fma(p, t, d16_set1(0x1.62e42ff116c08p-1));
  p = d16_fma(p, t, d16_set1(0x1.ffffffffab9acp-1));
  return v16_scale(d16_to_v16(p), v16_whole(d16_to_v16(n), 1));
}
/* x^y of normal x > 0, or anything of other x; |y| < 1.9. In float, to some 2 units in the last place: y
 * times the exponent of x meets the integer part of the logarithm before it is rounded. */
IFD_INLINE v16 v16_pow_normal(v16 x, v16 y) {
  i16 bits = v16_exponent_bits(x);
  v16 e = v16_exponent(bits);
  v16 l = v16_log_poly(v16_sub(i16_float(i16_sub(v16_bits(x), bits)), C_(1)), v16_zero());
  v16 whole = v16_whole(v16_mul(y, v16_fma(l, C_(LOG2_E_), e)), 1), n = v16_of_whole(whole);
  v16 r = v16_fma(v16_fma(y, e, v16_neg(n)), C_(0x1.62e430p-1f), v16_mul(y, l));
  return v16_scale(v16_add(C_(1), v16_expm1_poly(r)), whole);
}
/* C's powf, special cases included */
IFD_INLINE v16 v16_pow(v16 x, v16 y) {
  const v16 one = C_(1), zero = v16_zero(), inf = C_(INFINITY);
  v16 a = v16_abs(x), half = v16_mul(y, C_(0.5f));
  v16 r = v16_exp2_double(d16_mul(v16_log2_double(a), v16_to_d16(y)));
  r = v16_select(m16_and(v16_eq(a, one), v16_eq(v16_abs(y), inf)), one, r);
  m16 whole = v16_eq(v16_floor(y), y), even = v16_eq(v16_floor(half), half);
  v16 signed_r = i16_float(i16_xor(v16_bits(r), i16_and(v16_bits(x), i16_set1(INT32_MIN))));
  r = v16_select(m16_andnot(whole, even), signed_r, r);
  m16 root_of_negative = m16_andnot(m16_and(v16_lt(x, zero), v16_lt(a, inf)), whole);
  r = v16_select(root_of_negative, C_(NAN), r);
  return v16_select(m16_or(v16_eq(y, zero), v16_eq(x, one)), one, r);
}

#undef WHOLE_
#undef LOG2_E_
#undef C_

#endif
