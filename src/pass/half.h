/* float16 and bfloat16 in a session: values are FLOAT, and where an operator of such a type rounds its
 * result, infold.RoundFloat16 or infold.RoundBFloat16 does. */
#ifndef IFD_PASS_HALF_H
#define IFD_PASS_HALF_H

#include "pass/pass.h"

/* The op_type of infold's operator that rounds FLOAT to the values of this type. */
const char *ifd_half_rounding(ifd_dtype half);
/* Whether every element of a FLOAT value is known to be one of the type that `rounding` rounds to. */
bool ifd_rw_is_rounded(ifd_rewrite *rw, const ifd_value *v, const char *rounding);
/* A constant of 16-bit floats in FLOAT, in the model's arena. One number repeated stays one; others may lie
 * anywhere, and are read by way of a block that does not. */
ifd_status ifd_half_widen(ifd_rewrite *rw, ifd_tensor *wide, const ifd_tensor *half);

#endif
