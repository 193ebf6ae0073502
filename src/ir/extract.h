/* Cutting a model down to the part of its main graph between some values and others. */
#ifndef IFD_IR_EXTRACT_H
#define IFD_IR_EXTRACT_H

#include "ir/ir.h"

/* What computes `outputs` from `inputs` stays, and with it the initializers, subgraphs and local functions
 * that it needs; the rest goes. Both are lists of names of values of the main graph, ended by NULL; they
 * become the graph's inputs and outputs in this order. inputs may be NULL: the graph's inputs that are
 * needed; outputs, too: the graph's. Inputs with defaults that are needed stay. Types need not be inferred,
 * but those of new inputs must be known: UNSUPPORTED else. USAGE where a name is wrong or an input is
 * missing. */
ifd_status ifd_model_extract(ifd_error *err, ifd_model *model, const char *const *inputs,
                             const char *const *outputs);

/* Removes nodes of the main graph that no output of it needs, initializers that nobody reads and functions
 * that nobody calls. Inputs stay. */
ifd_status ifd_model_prune(ifd_error *err, ifd_model *model);

#endif
