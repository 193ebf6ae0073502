/* Elementwise kernels on rows of contiguous elements. A lowering looks the row function of an operator and
 * element type up once, at plan time (NULL: there is none, let the evaluator do it), and calls it for every
 * run of elements that its broadcasting leaves contiguous. Element i of the result depends on element i of
 * the operands alone, so any split of a row gives the same bits.
 *
 * Operators are called as ONNX calls them; their parameters p are the attributes in the order of the lists
 * below. The output may be an operand itself (the same first element), not overlap it otherwise. */
#ifndef IFD_KERNELS_ELTWISE_ELTWISE_H
#define IFD_KERNELS_ELTWISE_ELTWISE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/eltwise/integer.h"
#include "tensor/dtype.h"

/* FLOAT to FLOAT. GeluTanh is Gelu with approximate="tanh". RoundFloat16 and RoundBFloat16 give the nearest
 * value of that type, ties to even. Parameters: alpha of LeakyRelu, Elu, Celu, Swish
 * and ThresholdedRelu; alpha, gamma of Selu; alpha, beta of HardSigmoid; lambd, bias of Shrink; min, max of
 * Clip, whose bounds may be ±Inf and which leaves NaN a NaN. */
/* clang-format off */
#define IFD_EL_UNARY_LIST(X)                                                                                 \
  X(Identity) X(Abs) X(Neg) X(Sign) X(Reciprocal) X(Sqrt) X(Exp) X(Log) X(Sin) X(Cos) X(Tan) X(Asin) X(Acos) \
  X(Atan) X(Sinh) X(Cosh) X(Asinh) X(Acosh) X(Atanh) X(Erf) X(Ceil) X(Floor) X(Round) X(Relu) X(LeakyRelu)   \
  X(Elu) X(Celu) X(Selu) X(HardSigmoid) X(HardSwish) X(Mish) X(Sigmoid) X(Softplus) X(Softsign) X(Swish)     \
  X(ThresholdedRelu) X(Shrink) X(Tanh) X(Gelu) X(GeluTanh) X(Clip) X(RoundFloat16) X(RoundBFloat16)
/* clang-format on */
/* To BOOL */
#define IFD_EL_TEST_LIST(X) X(IsNaN) X(IsInf) /* detect_negative, detect_positive: 0 or 1 */ X(Not)
/* To the type of the operands */
#define IFD_EL_BINARY_LIST(X) X(Add) X(Sub) X(Mul) X(Div) X(Min) X(Max) X(Pow) X(PRelu)
#define IFD_EL_BIT_LIST(X)    X(And) X(Or) X(Xor)
/* To BOOL */
#define IFD_EL_COMPARE_LIST(X) X(Equal) X(Less) X(LessOrEqual) X(Greater) X(GreaterOrEqual)

typedef enum ifd_el {
#define X(name) IFD_EL_##name,
  IFD_EL_UNARY_LIST(X) IFD_EL_N_UNARY,
  IFD_EL_BEFORE_BINARY = IFD_EL_N_UNARY - 1,
  IFD_EL_BINARY_LIST(X) IFD_EL_N_FLOAT,
  IFD_EL_BEFORE_REST = IFD_EL_N_FLOAT - 1,
  IFD_EL_TEST_LIST(X) IFD_EL_BIT_LIST(X) IFD_EL_COMPARE_LIST(X) IFD_EL_N
#undef X
} ifd_el;

enum { IFD_EL_PARAMS = 2 };

/* y[i] = op(x[i]) for n elements */
typedef void ifd_el_unary_row(const float *p, const void *x, void *y, size_t n);
/* z[i] = a[i * a_step] op b[i * b_step]; steps are 0 (one element against all) or 1 */
typedef void ifd_el_binary_row(const void *a, int a_step, const void *b, int b_step, void *z, size_t n);
/* z[i] = c[i * c_step] ? a[i * a_step] : b[i * b_step]; c of bytes */
typedef void ifd_el_select_row(const uint8_t *c, int c_step, const void *a, int a_step, const void *b,
                               int b_step, void *z, size_t n);
/* y[i] = x[i] as ONNX's Cast has it (tensor/convert.h, ifd_cast); x and y do not overlap */
typedef void ifd_el_cast_row(const void *x, void *y, size_t n);
/* y[i] = saturate(round(x[i] / scale[i * scale_step]) + zero[i * zero_step]), ties to even, NaN is 0; zero
 * has y's type and may be NULL. No overlap. */
typedef void ifd_el_quantize_row(const float *x, const float *scale, int scale_step, const void *zero,
                                 int zero_step, void *y, size_t n);
/* y[i] = (x[i] - zero[i * zero_step]) * scale[i * scale_step]; zero has x's type and may be NULL. No
 * overlap. */
typedef void ifd_el_dequantize_row(const void *x, const float *scale, int scale_step, const void *zero,
                                   int zero_step, float *y, size_t n);

/* A chain: steps on FLOAT values, run over a row block by block so that what is between them never leaves L1.
 * A value is a number: IFD_EL_IN + i is input i, IFD_EL_REGISTER + i a register, IFD_EL_OUT + i output i,
 * which can be read once it is written. A unary step reads from[0]. An output may be the memory of an input
 * that no step reads after the one that writes the output. */
enum { IFD_EL_IN = 0, IFD_EL_REGISTER = 16, IFD_EL_OUT = 24, IFD_EL_VALUES = 28 };
typedef struct ifd_el_step {
  uint8_t op; /* of IFD_EL_UNARY_LIST or IFD_EL_BINARY_LIST */
  uint8_t to;
  uint8_t from[2];
  float p[IFD_EL_PARAMS];
} ifd_el_step;

struct ifd_k_eltwise_table {
  /* FLOAT: all of UNARY_LIST, IsNaN, IsInf. INT64, INT32: Identity, Abs, Neg, Sign, Relu. DOUBLE: those,
   * Sqrt, Reciprocal, Floor, Ceil, Round, Tanh, IsNaN, IsInf. BOOL: Not. */
  ifd_el_unary_row *(*unary)(ifd_el op, ifd_dtype t);
  /* FLOAT: BINARY_LIST. DOUBLE: those but Pow. Integers of 8 to 64 bits: Add, Sub, Mul (they wrap), Min, Max;
   * INT64, INT32: PRelu. Integers and BOOL: BIT_LIST (bitwise). All of these: COMPARE_LIST. Min and Max: NaN
   * wins. */
  ifd_el_binary_row *(*binary)(ifd_el op, ifd_dtype t);
  /* NULL where the type has no such row. */
  ifd_el_binary_row *(*integer)(ifd_integer_op op, ifd_dtype t);
  /* Whether one of n integers of 1, 2, 4 or 8 bytes is 0 */
  bool (*has_zero)(size_t element_size, const void *x, size_t n);
  /* Elements of 1, 2, 4 or 8 bytes */
  ifd_el_select_row *(*select)(size_t element_size);
  /* Among FLOAT, DOUBLE, FLOAT16, BFLOAT16, BOOL and the integers of 8 to 64 bits, but not from a
   * real to itself, from DOUBLE or a 16-bit float to a 16-bit float, or from 32 bits or more to BFLOAT16 */
  ifd_el_cast_row *(*cast)(ifd_dtype to, ifd_dtype from);
  /* To the integers of 2 to 16 bits, those of less than 8 in a byte each */
  ifd_el_quantize_row *(*quantize)(ifd_dtype to);
  /* From those and INT32 */
  ifd_el_dequantize_row *(*dequantize)(ifd_dtype from);
  /* in_step as in ifd_el_binary_row, one for each input */
  void (*chain)(const ifd_el_step *steps, int n_steps, const float *const *in, const int *in_step, int n_in,
                float *const *out, int n_out, size_t n);
};

#endif
