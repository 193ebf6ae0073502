/* Shape arithmetic in infer: the elements of small integer tensors as dims, carried through operators, so
 * that a shape computed in the graph (Shape → Gather → Mul → Concat → Reshape) is known while its numbers are
 * not. */
#ifndef IFD_OPS_SHARED_ELEMENTS_H
#define IFD_OPS_SHARED_ELEMENTS_H

#include "ops/op.h"

enum { IFD_MAX_ELEMENTS = 64 }; /* longer tensors are no shapes */

/* Elements of input i, from shape arithmetic or from a small constant of an integer type or bool; false when
 * unknown. d: room for IFD_MAX_ELEMENTS dims, which out->d may point to. */
bool ifd_elements_of(const ifd_infer *x, int i, ifd_elements *out, ifd_dim *d);
/* Output 0 has the elements of input i, if those are known. */
ifd_status ifd_elements_forward(ifd_infer *x, int i);
/* Output 0 = f(input 0, …, input n - 1) element by element, broadcast, when all are known; f may answer
 * ifd_dim_unknown. n <= 3. */
ifd_status ifd_elements_map(ifd_infer *x, int n, ifd_dim (*f)(ifd_dims *dims, const ifd_dim *operands));

#endif
