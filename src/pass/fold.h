/* Computing nodes that depend on constants alone, by their operators' references. */
#ifndef IFD_PASS_FOLD_H
#define IFD_PASS_FOLD_H

#include "pass/pass.h"

/* Puts what the node computes in its place where all it reads is known; refuses where that fails or is too
 * much. Splats stay short. */
ifd_status ifd_rw_fold(ifd_rewrite *rw, ifd_node *node);
/* What the reference of a node of one output gives for these tensors (NULL: absent); data in the model's
 * arena. */
ifd_status ifd_rw_evaluate(ifd_rewrite *rw, ifd_tensor *out, const ifd_node *node,
                           const ifd_tensor *const *inputs);

#endif
