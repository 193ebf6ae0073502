/* A ConvTranspose of stride 1 is the Conv whose kernels are turned around, of dilation * (kernel - 1) - pad
 * padding: it then runs as any Conv does, Winograd's algorithm included. */
#ifndef IFD_PASS_TURN_H
#define IFD_PASS_TURN_H

#include "pass/pass.h"

/* Adds the Conv to the patch; *out is NULL where there is none: another stride, weights that are not known,
 * or an output that is cut by more than the kernel reaches. */
ifd_status ifd_turn_conv_transpose(ifd_rewrite *rw, ifd_node **out, const ifd_node *conv);

#endif
