#include "pass/half.h"

/* What goes from FLOAT to a 16-bit float and back is rounded without leaving FLOAT, and only where it may
 * change. */

/* The node as a Cast from one type to another; NULL where it is none. */
static const ifd_node *as_cast(ifd_rewrite *rw, const ifd_node *node, ifd_dtype from, ifd_dtype to) {
  bool is = node && ifd_node_is(node, "Cast") && ifd_rw_dtype(rw, node->inputs[0]) == from &&
            ifd_rw_dtype(rw, node->outputs[0]) == to;
  return is ? node : NULL;
}

/* Half of FLOAT that comes back is half of what is rounded before: those who want FLOAT then have it. */
static ifd_status round_before(ifd_rewrite *rw, ifd_node *cast, ifd_dtype half) {
  const ifd_value *y = cast->outputs[0];
  const char *rounding = ifd_half_rounding(half);
  bool comes_back = false;
  ifd_node *rounded, *again;
  for (int i = 0; i < y->uses.n; i++)
    comes_back = comes_back || as_cast(rw, y->uses.v[i].node, half, IFD_FLOAT);
  if (!comes_back || ifd_rw_is_rounded(rw, cast->inputs[0], rounding)) return IFD_OK;
  TRY(ifd_rw_add_node(rw, &rounded, half == IFD_BFLOAT16 ? "infold.RoundBFloat16" : "infold.RoundFloat16",
                      cast->inputs, 1, 1));
  TRY(ifd_rw_add_like(rw, &again, cast, rounded->outputs, 1));
  return ifd_rw_replace(rw, cast->outputs[0], again->outputs[0]);
}

static ifd_status leave_float(ifd_rewrite *rw, ifd_node *cast) {
  ifd_dtype from = ifd_rw_dtype(rw, cast->inputs[0]), to = ifd_rw_dtype(rw, cast->outputs[0]);
  if (from == IFD_FLOAT && ifd_dtype_is_half(to)) return round_before(rw, cast, to);
  if (to != IFD_FLOAT || !ifd_dtype_is_half(from)) return IFD_OK;
  const ifd_node *before = as_cast(rw, cast->inputs[0]->producer, IFD_FLOAT, from);
  if (!before || !ifd_rw_is_rounded(rw, before->inputs[0], ifd_half_rounding(from))) return IFD_OK;
  return ifd_rw_replace(rw, cast->outputs[0], before->inputs[0]);
}

static ifd_status drop(ifd_rewrite *rw, ifd_node *node) {
  if (!ifd_rw_is_rounded(rw, node->inputs[0], node->op_type)) return IFD_OK;
  return ifd_rw_replace(rw, node->outputs[0], node->inputs[0]);
}

const ifd_pass ifd_pass_round_half = {
    .summary = "rounds to float16 and bfloat16 within float",
    .phase = IFD_PHASE_PLAN,
    .rules = (const ifd_rule[]){{"Cast", IFD_EXACT, leave_float},
                                {"infold.RoundFloat16 infold.RoundBFloat16", IFD_EXACT, drop},
                                {0}},
};
