/* ai.onnx.preview.training.Gradient written out: nodes that compute, by the chain rule backward, how a value
 * y of the graph changes with the values xs that it is computed from (Operators.md of that domain). */
#ifndef IFD_PASS_GRADIENT_H
#define IFD_PASS_GRADIENT_H

#include "ir/ir.h"

/* Every Gradient of the model becomes such nodes, in order, so that one may differentiate what another gave.
 * UNSUPPORTED names an operator on the way from xs to y whose derivative is not known here, or shapes whose
 * broadcasting is not. Types must be put on values anew afterwards. */
ifd_status ifd_expand_gradients(ifd_error *err, ifd_model *model);

#endif
