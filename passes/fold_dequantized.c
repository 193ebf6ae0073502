#include "pass/fold.h"
#include "pass/quant.h"

/* Weights that no operator takes as the integers or 16-bit floats they are become floats, once for the
 * session. */

static ifd_status fold(ifd_rewrite *rw, ifd_node *node) {
  return ifd_rw_stays_narrow(rw, node) ? ifd_rw_fold(rw, node) : IFD_OK;
}

const ifd_pass ifd_pass_fold_dequantized = {
    .summary = "dequantizes and widens constants that no kernel takes as they are",
    .phase = IFD_PHASE_CHAIN,
    .rules = (const ifd_rule[]){{"DequantizeLinear Cast", IFD_EXACT, fold}, {0}},
};
