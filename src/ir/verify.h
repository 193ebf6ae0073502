/* Structural rules that every graph of infold keeps; run after reading and, in tests, after every pass: names
 * unique in scope, use-lists and producers agree, nodes sorted, outputs defined, outer values visible,
 * attributes as the schema has them, input and output counts and types allowed by the schema. */
#ifndef IFD_IR_VERIFY_H
#define IFD_IR_VERIFY_H

#include "ir/ir.h"

/* BAD_MODEL with node and field when a rule is broken by the file (read) or by a pass. */
ifd_status ifd_verify_model(ifd_error *err, const ifd_model *model);

#endif
