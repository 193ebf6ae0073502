/* Division by one scale, rounded as division is, at the price of some multiplications: where r is 1 / b
 * rounded, q within one unit in the last place of a / b and a - q * b exact, q + (a - q * b) * r rounds to
 * what a / b rounds to (P. Markstein, IBM J. Res. Dev. 34, 1990). The first step brings a * r that near. */
#ifndef IFD_KERNELS_QUOTIENT_H
#define IFD_KERNELS_QUOTIENT_H

#include <math.h>

#include "kernels/simd.h"

/* Scales that all of this holds for, with |a| <= 2^90, and 0 or at least 2^-60; smaller ones give a quotient
 * below 2^-30. */
static inline bool ifd_has_quotients(float scale) {
  return fabsf(scale) >= 0x1p-30f && fabsf(scale) <= 0x1p30f;
}

IFD_INLINE v16 ifd_v_quotient(v16 a, v16 b, v16 r) {
  v16 q = v16_mul(a, r);
  for (int i = 0; i < 2; i++) q = v16_fma(v16_fma(v16_neg(q), b, a), r, q);
  return q;
}

#endif
