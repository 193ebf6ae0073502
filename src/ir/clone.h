/* Deep copies: of a model (constants borrowed from the source, which must live longer), of a graph into a
 * node list (to inline a function or branch). */
#ifndef IFD_IR_CLONE_H
#define IFD_IR_CLONE_H

#include "ir/ir.h"

ifd_status ifd_model_clone(ifd_error *err, ifd_model **out, const ifd_model *model, ifd_budget *budget);

/* Copies the nodes of `body` before `before` in `into` (names made unique), with body inputs mapped to
 * `inputs` (NULL: absent); gives the values that the body's outputs became. References to function attributes
 * (`ref`) are replaced from `attrs` (n_attrs, the caller's) or dropped. Values of outer graphs stay shared.
 */
ifd_status ifd_graph_inline(ifd_error *err, ifd_graph *into, ifd_node *before, const ifd_graph *body,
                            ifd_value **inputs, ifd_value **outputs, const ifd_attr *attrs, int n_attrs);
/* A copy of `graph` as a subgraph of `outer`. */
ifd_status ifd_graph_clone(ifd_error *err, ifd_graph **out, const ifd_graph *graph, ifd_graph *outer);

#endif
