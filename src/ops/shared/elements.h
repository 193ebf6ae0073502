/* Shape arithmetic in infer: the elements of small integer tensors as dims, carried through operators, so
 * that a shape computed in the graph (Shape → Gather → Mul → Concat → Reshape) is known while its numbers are
 * not. */
#ifndef IFD_OPS_SHARED_ELEMENTS_H
#define IFD_OPS_SHARED_ELEMENTS_H

#include "ops/op.h"

enum { IFD_MAX_ELEMENTS = 256 };

/* Elements of input i, or NULL: unknown, absent, or too many. */
const ifd_elements *ifd_elements_find(const ifd_infer *x, int i);
/* The one element of input i, or an unknown. */
ifd_dim ifd_elements_only(const ifd_infer *x, int i);
/* Output 0 has the elements of input i, if those are known. */
ifd_status ifd_elements_forward(ifd_infer *x, int i);
/* Output 0 = f(input 0, …, input n - 1) element by element, broadcast, when all are known; f may answer
 * ifd_dim_unknown. n <= 3. */
ifd_status ifd_elements_map(ifd_infer *x, int n, ifd_dim (*f)(ifd_dims *dims, const ifd_dim *operands));

#endif
