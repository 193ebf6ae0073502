/* Computing nodes that depend on constants alone, by their operators' references. */
#ifndef IFD_PASS_FOLD_H
#define IFD_PASS_FOLD_H

#include "pass/pass.h"

/* Puts what the node computes in its place where all it reads is known; refuses where that fails or is too
 * much. Splats stay short. */
ifd_status ifd_rw_fold(ifd_rewrite *rw, ifd_node *node);

#endif
