/* infold.Chain: elementwise FLOAT operators on one shape that run as one pass over memory. Its attributes are
 * the steps: `steps` has three integers for each (the kernel's ifd_el, and what it reads: input i is i, the
 * result of step k is IFD_CHAIN_RESULT + k), `parameters` two floats for each. A result is read once, by a
 * later step; the last is output 0. No more than IFD_CHAIN_HELD results wait to be read at any time. */
#ifndef IFD_OPS_SHARED_CHAIN_H
#define IFD_OPS_SHARED_CHAIN_H

#include "ops/op.h"

enum { IFD_CHAIN_INPUTS = 16, IFD_CHAIN_STEPS = 24, IFD_CHAIN_RESULT = IFD_CHAIN_INPUTS, IFD_CHAIN_HELD = 6 };

typedef struct ifd_chain_step {
  int64_t op, from[2];
  float p[2];
} ifd_chain_step;

/* What an operator of ai.onnx is as steps: kernels over its operands, from the left. */
typedef struct ifd_chain_part {
  int n_operands; /* inputs 0 … n_operands - 1 of the node */
  int n_steps;
  int64_t op;   /* of each step */
  float p[2];   /* of a unary one */
  bool squares; /* step 0 multiplies operand 0 with itself; further ones multiply by it again */
} ifd_chain_part;

/* Whether a node is elementwise in a way that a chain can do; scalar gives the number of a constant input of
 * one element. */
bool ifd_chain_part_of(const ifd_node *node, bool (*scalar)(void *context, const ifd_value *v, double *out),
                       void *context, ifd_chain_part *out);

#endif
