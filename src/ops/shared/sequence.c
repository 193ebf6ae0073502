#include "ops/shared/sequence.h"

ifd_status ifd_sequence_out(ifd_eval *x, int i, ifd_dtype elem, int64_t n) {
  EXPECT(x->err, n <= INT32_MAX / 2, LIMIT, "a sequence of %lld values", (long long)n);
  ifd_datum *d = &x->out[i];
  if (x->float64 && elem == IFD_FLOAT) elem = IFD_DOUBLE;
  *d = (ifd_datum){.kind = IFD_KIND_SEQUENCE, .elem_kind = IFD_KIND_TENSOR, .elem = elem};
  ALLOC(x->err, d->list, ifd_list_create(x->budget, (int)n));
  return IFD_OK;
}

static ifd_status push(ifd_eval *x, int i, ifd_datum *item) {
  if (ifd_list_push(x->out[i].list, item)) return IFD_OK;
  ifd_datum_unref(item);
  FAIL(x->err, NO_MEMORY, "out of memory");
}

ifd_status ifd_sequence_add(ifd_eval *x, int i, const ifd_datum *item) {
  ifd_datum own;
  TRY(ifd_datum_own(x->err, &own, item, x->budget));
  return push(x, i, &own);
}

ifd_status ifd_sequence_add_view(ifd_eval *x, int i, ifd_dtype dtype, const ifd_shape *shape, ifd_view from) {
  ifd_datum d = {.kind = IFD_KIND_TENSOR};
  if (dtype != IFD_STRING) {
    TRY(ifd_tensor_create(x->err, &d.tensor, x->budget, dtype, shape));
    ifd_move(shape, ifd_dtype_size(dtype), ifd_view_of(&d.tensor), from);
    return push(x, i, &d);
  }
  TRY(ifd_tensor_new(x->err, &d.tensor, x->scratch, dtype,
                     shape)); /* borrowed: its strings are the input's */
  ifd_move(shape, ifd_dtype_size(dtype), ifd_view_of(&d.tensor), from);
  return ifd_sequence_add(x, i, &d);
}

ifd_status ifd_sequence_in(ifd_eval *x, const ifd_datum **out, int i) {
  EXPECT(x->err, ifd_eval_has(x, i) && x->in[i]->kind == IFD_KIND_SEQUENCE, BAD_INPUT,
         "input %d is not a sequence", i);
  *out = x->in[i];
  return IFD_OK;
}
