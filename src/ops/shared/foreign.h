/* What is known of operators of com.microsoft, and of those that ONNX withdrew, before they are written as
 * ONNX's (passes/expand_*.c), and where they stay: the types of what they make. */
#ifndef IFD_OPS_SHARED_FOREIGN_H
#define IFD_OPS_SHARED_FOREIGN_H

#include "ops/op.h"

/* Infers a node that has no row; outputs stay unknown where nothing is known of it. */
ifd_status ifd_infer_foreign(ifd_infer *x);

#endif
