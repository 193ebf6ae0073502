/* A model at a newer version of ai.onnx: every node means what it meant. */
#ifndef IFD_PASS_RAISE_H
#define IFD_PASS_RAISE_H

#include "ir/ir.h"

/* Raises the main graph, the graphs in it and the local functions to `version` of ai.onnx, at least 13 and
 * one that is known; nothing is lowered. Operators whose form has changed are written anew (axes become
 * inputs …). UNSUPPORTED names the first node whose meaning no form of the new version has, or not for
 * certain; the model is then in an unspecified state. */
ifd_status ifd_raise_opset(ifd_error *err, ifd_model *model, int version);

#endif
