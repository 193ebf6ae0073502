/* Whether what flows into a node is of the types its schema allows. Asked of types before a run and of values
 * in it, so that an operator may trust what it is given: kinds fit, and inputs of one type variable agree. */
#ifndef IFD_OPS_SHARED_SIGNATURE_H
#define IFD_OPS_SHARED_SIGNATURE_H

#include "ops/op.h"

/* BAD_MODEL unless the types on the node's inputs (value->type), as far as known, fit its schema. A node
 * without a schema takes everything, here and below. */
ifd_status ifd_signature_check_types(ifd_error *err, const ifd_node *node);
/* Whether input i may be of this type, as far as it is known. */
bool ifd_signature_allows(const ifd_node *node, int i, const ifd_type *type);
/* BAD_INPUT unless the tensors fit; NULL where absent. */
ifd_status ifd_signature_check_tensors(ifd_error *err, const ifd_node *node, const ifd_tensor *const *in);
/* BAD_INPUT unless the values fit; NULL where absent. With float64, double stands for float as well. */
ifd_status ifd_signature_check_values(ifd_error *err, const ifd_node *node, const ifd_datum *const *in,
                                      int n_in, bool float64);

#endif
