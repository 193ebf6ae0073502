#include "ops/shared/operand.h"

#include "tensor/convert.h"

ifd_status ifd_eval_as(ifd_eval *x, const ifd_tensor **out, int i, ifd_dtype dtype) {
  const ifd_tensor *in = *out = ifd_eval_in(x, i);
  if (in->dtype == dtype) return IFD_OK;
  EXPECT(x->err, ifd_dtype_is_float(in->dtype) && ifd_dtype_is_float(dtype), BAD_MODEL,
         "input %d has elements of type %s, expected %s", i, ifd_dtype_name(in->dtype),
         ifd_dtype_name(dtype));
  ifd_tensor *t;
  ALLOC(x->err, t, ifd_new(x->scratch, ifd_tensor));
  TRY(ifd_tensor_new(x->err, t, x->scratch, dtype, &in->shape));
  ifd_cast(dtype, t->data, in->dtype, in->data, ifd_tensor_count(in), true, IFD_ROUND_UP);
  *out = t;
  return IFD_OK;
}

ifd_status ifd_eval_constant(ifd_eval *x, int i, const ifd_tensor *constant) {
  ifd_tensor *out, dense;
  TRY(ifd_eval_out(x, &out, i, constant->dtype, &constant->shape));
  if (out->dtype == constant->dtype) {
    ifd_tensor_expand(constant, out->data);
    return IFD_OK;
  }
  TRY(ifd_tensor_new(x->err, &dense, x->scratch, constant->dtype, &constant->shape));
  ifd_tensor_expand(constant, dense.data);
  ifd_cast(out->dtype, out->data, dense.dtype, dense.data, ifd_tensor_count(&dense), true, IFD_ROUND_UP);
  return IFD_OK;
}
