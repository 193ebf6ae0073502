/* Saying why nodes were left as they are, and where new ones came from. */
#ifndef IFD_API_EXPLAIN_H
#define IFD_API_EXPLAIN_H

#include "api/api.h"

/* Calls visit for every node of a model, those of subgraphs and local functions included. */
typedef ifd_status ifd_node_visitor(const ifd_node *node, void *context);
ifd_status ifd_api_each_node(const ifd_model *model, ifd_node_visitor *visit, void *context);

/* Names in a provenance (ifd_node.provenance): the next one at *at, its length in *len; NULL at the end. */
const char *ifd_next_origin(const char **at, size_t *len);

/* Why an operator of this kind stays where no pass had anything to say: what stands around it. */
void ifd_explain_place(FILE *to, const ifd_node *node);

#endif
