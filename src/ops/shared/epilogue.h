/* The attributes of infold's own Conv, ConvTranspose and MatMul that say what is done while results are
 * stored: `activation` names it, `activation_p` has its parameters, `join` says how input 3 takes part. */
#ifndef IFD_OPS_SHARED_EPILOGUE_H
#define IFD_OPS_SHARED_EPILOGUE_H

#include "kernels/epilogue.h"
#include "ops/op.h"

/* Without pointers. */
ifd_k_epilogue ifd_epilogue_of(const ifd_node *node);

#endif
