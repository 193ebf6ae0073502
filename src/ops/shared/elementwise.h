/* Elementwise operators of any type: load → compute → store.
 *
 * An operator is one expression for each of three compute types. Elements are loaded as double (every float
 * type), int64 (signed integers) or uint64 (unsigned integers, bool), computed, and stored rounded once to
 * nearest even, or wrapped to the width of an integer type. Computing in double gives exactly what float
 * arithmetic gives for + - * / sqrt on float and narrower types (double has more than twice their digits, so
 * the second rounding is harmless: Figueroa, "When is double rounding innocuous?", 1995), and the nearest
 * float, up to the last bits of libm's double, for everything else.
 *
 * A table of operators is one row an operator:
 *   IFD_COMPUTE_F64(Add, a + b)  IFD_COMPUTE_U64(Add, a + b)
 *   static const ifd_elementwise Add = {.f64 = Add_f64, .u64 = Add_u64};
 * In an expression a, b, c are elements of inputs 0, 1, 2, `p` the operator's parameters (attributes). */
#ifndef IFD_OPS_SHARED_ELEMENTWISE_H
#define IFD_OPS_SHARED_ELEMENTWISE_H

#include "ops/op.h"

/* out[i] from in[0][i] … for n elements. A missing i64 falls back on u64 (operators that do not see the sign)
 * and missing integer functions on f64. */
typedef struct ifd_elementwise {
  void (*f64)(double *out, const double *const *in, int64_t n, const double *p);
  void (*i64)(int64_t *out, const int64_t *const *in, int64_t n, const double *p);
  void (*u64)(uint64_t *out, const uint64_t *const *in, int64_t n, const double *p);
} ifd_elementwise;

enum { IFD_ELEMENTWISE_INPUTS = 3 };

#define IFD_COMPUTE(function, type, expression)                                                              \
  static void function(type *restrict out, const type *const *in, int64_t n, const double *p) {              \
    (void)p;                                                                                                 \
    for (int64_t i = 0; i < n; i++) {                                                                        \
      const type a = in[0][i], b = in[1][i], c = in[2][i];                                                   \
      (void)a, (void)b, (void)c;                                                                             \
      out[i] = (type)(expression);                                                                           \
    }                                                                                                        \
  }
#define IFD_COMPUTE_F64(name, expression) IFD_COMPUTE(name##_f64, double, expression)
#define IFD_COMPUTE_I64(name, expression) IFD_COMPUTE(name##_i64, int64_t, expression)
#define IFD_COMPUTE_U64(name, expression) IFD_COMPUTE(name##_u64, uint64_t, expression)

/* out = f(inputs broadcast to out's shape); an input may be out itself where the shapes agree. 1 to 3 inputs,
 * numbers or bool. p: the parameters for the expression. */
ifd_status ifd_elementwise_apply(ifd_error *err, const ifd_elementwise *f, const ifd_tensor *out,
                                 const ifd_tensor *const *in, int n_in, const double *p);
/* The eval of most elementwise rows: all inputs (1 to 3, present) broadcast into output 0 of element type
 * `dtype`; IFD_UNDEFINED is that of input 0. */
ifd_status ifd_elementwise_eval(ifd_eval *x, const ifd_elementwise *f, ifd_dtype dtype, const double *p);

/* ---- broadcasting before opset 7 ---- */

/* How B lies in A: its dimensions, each that of A or 1, from attribute `axis` on (absent: the last ones),
 * ones elsewhere; without attribute `broadcast` the shapes must agree. view: B's shape with ones appended. */
ifd_status ifd_legacy_broadcast(ifd_error *err, const ifd_node *node, const ifd_shape *a, const ifd_shape *b,
                                ifd_shape *view);
ifd_status ifd_elementwise_legacy_eval(ifd_eval *x, const ifd_elementwise *f, ifd_dtype dtype);

/* ---- attributes ---- */

/* The attribute's value, or the default that the node's schema gives. */
double ifd_attr_float(const ifd_node *node, const char *name);
int64_t ifd_attr_int(const ifd_node *node, const char *name);

#endif
