/* Einsum's equation as labels: 0 … 51 the letters in ASCII order, from 52 on the dimensions of the ellipsis.
 * Source: Einsum in ONNX Operators.md. */
#ifndef IFD_OPS_SHARED_EQUATION_H
#define IFD_OPS_SHARED_EQUATION_H

#include "ops/op.h"

enum { IFD_LETTERS = 52, IFD_LABELS = IFD_LETTERS + IFD_MAX_RANK, IFD_EQUATION_OPERANDS = 64 };

/* The labels of a term, by dimension. */
typedef struct ifd_term {
  int n;
  int label[IFD_LABELS];
} ifd_term;

typedef struct ifd_equation {
  int n; /* operands */
  ifd_term in[IFD_EQUATION_OPERANDS];
  ifd_term out;
} ifd_equation;

/* The equation of an Einsum whose n inputs have these ranks; BAD_MODEL where it does not fit them. */
ifd_status ifd_equation_parse(ifd_error *err, ifd_equation *e, const ifd_node *node, int n, const int *rank);
/* Bytes that the text of n terms and the result takes at most. */
static inline size_t ifd_equation_text_size(int n) { return (size_t)(n + 1) * (IFD_MAX_RANK + 1) + 2; }
/* The text of terms that hold letters alone. */
void ifd_equation_text(char *out, const ifd_term *in, int n, const ifd_term *result);

#endif
