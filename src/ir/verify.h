/* Structural rules that every graph of infold keeps; run after reading and, in tests, after every pass: names
 * unique in scope, use-lists and producers agree, nodes sorted, outputs defined, outer values visible,
 * attributes as the schema has them, input and output counts and types allowed by the schema, functions not
 * recursive. Linear in the size of the model. */
#ifndef IFD_IR_VERIFY_H
#define IFD_IR_VERIFY_H

#include "ir/ir.h"

/* BAD_MODEL with node and field when a rule is broken by the file (read) or by a pass. */
ifd_status ifd_verify_model(ifd_error *err, const ifd_model *model);

/* The rules that a node's schema sets for it alone: the operator exists at its opset, counts, attributes and
 * types. Types that are only claimed by the file (declared, not inferred) are not held against it. */
ifd_status ifd_verify_node(ifd_error *err, const ifd_node *node);

#endif
