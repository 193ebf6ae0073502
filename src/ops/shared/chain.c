#include "ops/shared/chain.h"

#include "ops/shared/eltwise_work.h"
#include <math.h>

/* ---- operators whose inputs or attributes choose the kernel ---- */

typedef bool scalar_of(void *context, const ifd_value *v, double *out);

static bool clip_part(const ifd_node *node, scalar_of *scalar, void *context, ifd_chain_part *part) {
  if (node->op->since < 11) return false;
  for (int i = 0; i < 2; i++) {
    double bound = i ? INFINITY : -INFINITY;
    if (ifd_node_has_input(node, i + 1) && !scalar(context, node->inputs[i + 1], &bound)) return false;
    part->p[i] = (float)bound;
  }
  part->n_operands = 1;
  return true;
}

/* As the operator's own lowering has it: squares and cubes are products. */
static bool pow_part(const ifd_node *node, scalar_of *scalar, void *context, ifd_chain_part *part) {
  double exponent;
  if (node->op->since < 7) return false;
  if (!scalar(context, node->inputs[1], &exponent) || (exponent != 2 && exponent != 3)) return true;
  part->n_operands = 1;
  part->n_steps = (int)exponent - 1;
  part->op = IFD_EL_Mul;
  part->squares = true;
  return true;
}

bool ifd_chain_part_of(const ifd_node *node, scalar_of *scalar, void *context, ifd_chain_part *out) {
  *out = (ifd_chain_part){.n_operands = node->n_inputs, .n_steps = 1};
  if (!node->op || !(node->op->flags & IFD_OP_ELEMENTWISE) || node->n_outputs != 1 || node->n_inputs == 0)
    return false;
  out->op = ifd_eltwise_find(node, out->p);
  if (out->op == IFD_EL_Gelu && ifd_node_string_is(node, "approximate", "none", "tanh"))
    out->op = IFD_EL_GeluTanh;
  if (out->op == IFD_EL_Clip) return clip_part(node, scalar, context, out);
  if (out->op == IFD_EL_Pow) return pow_part(node, scalar, context, out);
  if (out->op < IFD_EL_N_UNARY) return node->n_inputs == 1;
  out->n_steps = node->n_inputs - 1;
  return out->op < IFD_EL_N_FLOAT && node->op->since >= 7 && node->n_inputs >= 2;
}
