#include "pass/fold.h"
#include "pass/quant.h"

/* Weights that no operator takes as the integers they are become floats, once for the session. */

static ifd_status fold(ifd_rewrite *rw, ifd_node *node) {
  return ifd_rw_stays_quantized(rw, node) ? ifd_rw_fold(rw, node) : IFD_OK;
}

const ifd_pass ifd_pass_fold_dequantized = {
    .summary = "dequantizes constants that no integer kernel takes",
    .phase = IFD_PHASE_CHAIN,
    .rules = (const ifd_rule[]){{"DequantizeLinear", IFD_EXACT, fold}, {0}},
};
