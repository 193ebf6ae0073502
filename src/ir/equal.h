/* Equality by content: what finds duplicates. Numbers are compared by their bits (so 0 and -0 differ and a
 * NaN equals itself), names and origins are not looked at. Equal things have equal hashes. */
#ifndef IFD_IR_EQUAL_H
#define IFD_IR_EQUAL_H

#include "ir/ir.h"

/* The same type, shape and elements, however they are stored (splat, packed or plain). */
bool ifd_tensor_equal(const ifd_tensor *a, const ifd_tensor *b);
uint64_t ifd_tensor_hash(const ifd_tensor *t);
/* A hash of some of the elements: enough to look for equals among weights without reading them all. */
uint64_t ifd_tensor_sketch(const ifd_tensor *t);

/* Whether two nodes compute the same: operator, version, inputs and attributes (in any order), and the same
 * number of outputs. That the operator is pure is the caller's to ask. */
bool ifd_node_equal(const ifd_node *a, const ifd_node *b);
uint64_t ifd_node_hash(const ifd_node *node);

#endif
