/* Rows of two operands as loops that the compiler vectorizes. */
#ifndef IFD_KERNELS_ELTWISE_PLAIN_H
#define IFD_KERNELS_ELTWISE_PLAIN_H

#include <stddef.h>

/* LOOP(name, a_step, b_step, …) with the steps as constants */
#define BY_STEPS(LOOP, ...)                                                                                  \
  if (a_step && b_step) {                                                                                    \
    LOOP(1, 1, __VA_ARGS__)                                                                                  \
  } else if (a_step) {                                                                                       \
    LOOP(1, 0, __VA_ARGS__)                                                                                  \
  } else if (b_step) {                                                                                       \
    LOOP(0, 1, __VA_ARGS__)                                                                                  \
  } else {                                                                                                   \
    LOOP(0, 0, __VA_ARGS__)                                                                                  \
  }

/* The operands may be the output, element for element, so no step depends on another. */
#define PLAIN_LOOP(sa, sb, from_type, to_type, expression)                                                   \
  const from_type a0 = *left, b0 = *right;                                                                   \
  _Pragma("GCC ivdep") for (size_t i = 0; i < n; i++) {                                                      \
    const from_type a = sa ? left[i] : a0, b = sb ? right[i] : b0;                                           \
    z[i] = (to_type)(expression);                                                                            \
  }
#define PLAIN(name, from_type, to_type, expression)                                                          \
  static void name(const void *x, int a_step, const void *y, int b_step, void *to, size_t n) {               \
    const from_type *left = x, *right = y;                                                                   \
    to_type *z = to;                                                                                         \
    if (n) {                                                                                                 \
      BY_STEPS(PLAIN_LOOP, from_type, to_type, expression)                                                   \
    }                                                                                                        \
  }
#endif
