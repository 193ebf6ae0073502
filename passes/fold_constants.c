#include "pass/fold.h"
#include "pass/quant.h"

static ifd_status fold(ifd_rewrite *rw, ifd_node *node) {
  return ifd_rw_stays_narrow(rw, node) ? IFD_OK : ifd_rw_fold(rw, node);
}

const ifd_pass ifd_pass_fold_constants = {
    .summary = "computes what depends on constants alone; tensors of one repeated value stay short",
    .phase = IFD_PHASE_SIMPLIFY,
    .rules = (const ifd_rule[]){{"*", IFD_EXACT, fold}, {0}},
};
