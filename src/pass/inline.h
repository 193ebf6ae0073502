/* Model-local functions written out where they are called (FunctionProto; IR.md, "Functions"). */
#ifndef IFD_PASS_INLINE_H
#define IFD_PASS_INLINE_H

#include "ir/ir.h"

/* Every call in the model, nested ones and those in subgraphs too, becomes the function's nodes. Recursive
 * functions are BAD_MODEL; a model that grows past a few million nodes is LIMIT. Opsets of the function must
 * agree with the model's where both import a domain and the versions mean the same for the operators used;
 * else UNSUPPORTED names them. */
ifd_status ifd_inline_functions(ifd_error *err, ifd_model *model);

/* The readers of a node's outputs read `made` (by output) instead; outputs of the graph keep their names. The
 * node stays. */
ifd_status ifd_splice_outputs(ifd_error *err, ifd_node *call, ifd_value *const *made);

#endif
