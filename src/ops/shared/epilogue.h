/* The attributes of infold's own Conv, ConvTranspose and MatMul that say what is done while results are
 * stored: `activation` names it, `activation_p` has its parameters, `join` says how input 3 takes part. Where
 * each operator's result is one of a 16-bit float, `rounding` names the infold operator that makes it one;
 * rounds_sums says that the bias is an operator of its own. */
#ifndef IFD_OPS_SHARED_EPILOGUE_H
#define IFD_OPS_SHARED_EPILOGUE_H

#include "kernels/epilogue.h"
#include "ops/op.h"

/* Without pointers. */
ifd_k_epilogue ifd_epilogue_of(const ifd_node *node);
/* The same of three attributes alone: an activation, its parameters and the rounding. */
ifd_k_epilogue ifd_epilogue_act(const ifd_node *node, const char *activation, const char *parameters,
                                const char *rounding);

#endif
