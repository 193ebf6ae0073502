#include "ops/shared/elements.h"

#include "tensor/tensor.h"

bool ifd_elements_of(const ifd_infer *x, int i, ifd_elements *out, ifd_dim *d) {
  if (i >= x->node->n_inputs) return false;
  if (x->elements[i]) {
    *out = *x->elements[i];
    return out->n <= IFD_MAX_ELEMENTS;
  }
  const ifd_tensor *t = x->constant[i];
  if (!t || t->shape.rank > 1 || !(ifd_dtype_is_integer(t->dtype) || t->dtype == IFD_BOOL)) return false;
  int64_t n = ifd_tensor_count(t);
  if (n > IFD_MAX_ELEMENTS) return false;
  for (int64_t k = 0; k < n; k++) {
    d[k] = ifd_tensor_get_i64(t, k);
    if (!ifd_dim_is_number(d[k])) return false;
  }
  *out = (ifd_elements){.rank = t->shape.rank, .n = (int)n, .d = d};
  return true;
}

ifd_status ifd_elements_forward(ifd_infer *x, int i) {
  ifd_elements e;
  ifd_dim d[IFD_MAX_ELEMENTS];
  if (!ifd_elements_of(x, i, &e, d)) return IFD_OK;
  return ifd_infer_elements(x, 0, e.rank, e.n, e.d);
}

ifd_status ifd_elements_map(ifd_infer *x, int n, ifd_dim (*f)(ifd_dims *dims, const ifd_dim *operands)) {
  ifd_elements e[3];
  ifd_dim room[3][IFD_MAX_ELEMENTS], result[IFD_MAX_ELEMENTS];
  int count = 1, rank = 0;
  for (int k = 0; k < n; k++) {
    if (!ifd_elements_of(x, k, &e[k], room[k])) return IFD_OK;
    if (e[k].rank > rank) rank = e[k].rank;
    if (e[k].n != 1) count = e[k].n;
  }
  for (int k = 0; k < n; k++)
    if (e[k].n != 1 && e[k].n != count) return IFD_OK;
  for (int i = 0; i < count; i++) {
    ifd_dim operands[3];
    for (int k = 0; k < n; k++) operands[k] = e[k].d[e[k].n == 1 ? 0 : i];
    result[i] = f(x->dims, operands);
  }
  return ifd_infer_elements(x, 0, rank, count, result);
}
