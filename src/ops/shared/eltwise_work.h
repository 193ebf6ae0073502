/* Lowering elementwise operators onto the row kernels: a short program over operands that broadcast to output
 * 0, each step of which is a kernel (kernels/eltwise/eltwise.h), done for a block
 * of elements at a time. Which kernel an operator has, and which attributes are its parameters, is a table;
 * most rows of operators name ifd_lower_elementwise alone. float16 and bfloat16 are computed in float,
 * rounded once at the end of the program. */
#ifndef IFD_OPS_SHARED_ELTWISE_WORK_H
#define IFD_OPS_SHARED_ELTWISE_WORK_H

#include "kernels/eltwise/eltwise.h"
#include "ops/shared/eltwise_loop.h"

enum { IFD_ELTWISE_STEPS = IFD_LOOP_OPERANDS + 2, IFD_ELTWISE_RESULT = -1 };

typedef struct ifd_eltwise_step {
  ifd_el_unary_row *unary; /* or */
  ifd_el_binary_row *binary;
  int a, b; /* operands, or IFD_ELTWISE_RESULT: what the step before gave */
  float p[IFD_EL_PARAMS];
  int p_from[IFD_EL_PARAMS]; /* 1 + the operand that gives the parameter in a run, or 0 */
  /* NULL, or how to see that b has no zero: integer division */
  bool (*has_zero)(size_t element_size, const void *x, size_t n);
} ifd_eltwise_step;

typedef struct ifd_eltwise {
  ifd_lower *x;
  ifd_dtype dtype;   /* of the operands */
  ifd_dtype compute; /* of the kernels */
  ifd_loop loop;
  int n_steps;
  ifd_eltwise_step steps[IFD_ELTWISE_STEPS];
  double item_ops;
} ifd_eltwise;

/* ---- programs ---- */

/* An empty program over operands of input 0's type. */
ifd_eltwise ifd_eltwise_of(ifd_lower *x);
/* Operands, by number: an input (of the program's type, seen as `view`; NULL: as it is) or a number. */
int ifd_eltwise_input(ifd_eltwise *e, int i, const ifd_shape *view);
int ifd_eltwise_value(ifd_eltwise *e, double value);
/* Another step; p may be NULL. A kernel that does not exist declines the program. */
ifd_eltwise_step *ifd_eltwise_unary(ifd_eltwise *e, ifd_el op, int a, const float *p);
void ifd_eltwise_binary(ifd_eltwise *e, ifd_el op, int a, int b);
/* A step of kernels/eltwise/integer.h. */
void ifd_eltwise_integer(ifd_eltwise *e, ifd_integer_op op, int a, int b);
/* Lowers the node to the program, in place where no later step reads an operand. */
ifd_status ifd_eltwise_lower(ifd_eltwise *e);

/* ---- operators ---- */

/* The kernel of an operator of ai.onnx, IFD_EL_N where there is none, and its parameters from attributes. */
ifd_el ifd_eltwise_find(const ifd_node *node, float p[IFD_EL_PARAMS]);
/* The lower of rows: the operator's kernel, over one input, two, or from the left over many. */
ifd_status ifd_lower_elementwise(ifd_lower *x);
/* The same of two inputs that broadcast as before opset 7. */
ifd_status ifd_lower_elementwise_legacy(ifd_lower *x);
/* Output 0 is input 0, whatever the type. */
ifd_status ifd_lower_copy(ifd_lower *x);

#endif
