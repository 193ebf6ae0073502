/* Model-local functions written out where they are called (FunctionProto; IR.md, "Functions"). */
#ifndef IFD_PASS_INLINE_H
#define IFD_PASS_INLINE_H

#include "ir/ir.h"

/* Every call in the model, nested ones and those in subgraphs too, becomes the function's nodes. Recursive
 * functions are BAD_MODEL; a model that grows past a million nodes is LIMIT. Nodes keep the version of
 * their operators, whatever the model imports: it is for running alone. */
ifd_status ifd_inline_functions(ifd_error *err, ifd_model *model);

/* One call becomes the function's nodes, calls among them stay, and the model can be written; *done is false
 * where an operator of the function would mean something else at the version that the call's graph imports.
 */
ifd_status ifd_inline_call(ifd_error *err, ifd_arena *scratch, ifd_node *call, bool *done);

/* The readers of a node's outputs read `made` (by output) instead; outputs of the graph keep their names. The
 * node stays. */
ifd_status ifd_splice_outputs(ifd_error *err, ifd_node *call, ifd_value *const *made);

#endif
