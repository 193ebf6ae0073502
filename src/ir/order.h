/* Topological order of a node list. */
#ifndef IFD_IR_ORDER_H
#define IFD_IR_ORDER_H

#include "ir/ir.h"

/* Puts the nodes of a graph, and of all graphs nested in it, after the nodes whose outputs they (or their
 * subgraphs) read. A list that is in such order is left alone; else nodes stay in order as far as possible.
 * Linear in nodes and inputs for each level of nesting. BAD_MODEL naming a node when there is a cycle. */
ifd_status ifd_graph_sort(ifd_error *err, ifd_graph *graph);

#endif
