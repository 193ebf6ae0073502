#include "ops/shared/elements.h"

const ifd_elements *ifd_elements_find(const ifd_infer *x, int i) {
  const ifd_elements *e = i < x->node->n_inputs ? x->elements[i] : NULL;
  return e && e->n <= IFD_MAX_ELEMENTS ? e : NULL;
}

ifd_dim ifd_elements_only(const ifd_infer *x, int i) {
  const ifd_elements *e = ifd_elements_find(x, i);
  return e && e->n == 1 ? e->d[0] : ifd_dim_unknown(x->dims);
}

ifd_status ifd_elements_forward(ifd_infer *x, int i) {
  const ifd_elements *e = ifd_elements_find(x, i);
  return e ? ifd_infer_elements(x, 0, e->rank, e->n, e->d) : IFD_OK;
}

/* Types in which shapes are computed: narrower ones could wrap. */
static bool carries_shapes(ifd_dtype t) { return t == IFD_INT64 || t == IFD_INT32 || t == IFD_BOOL; }

ifd_status ifd_elements_map(ifd_infer *x, int n, ifd_dim (*f)(ifd_dims *dims, const ifd_dim *operands)) {
  const ifd_elements *e[3];
  ifd_dim result[IFD_MAX_ELEMENTS], operands[3];
  int count = 1, rank = 0;
  for (int k = 0; k < n; k++) {
    if (!carries_shapes(ifd_infer_dtype(x, k)) || !(e[k] = ifd_elements_find(x, k))) return IFD_OK;
    if (e[k]->rank > rank) rank = e[k]->rank;
    if (e[k]->n != 1) count = e[k]->n;
  }
  for (int k = 0; k < n; k++)
    if (e[k]->n != 1 && e[k]->n != count) return IFD_OK;
  for (int i = 0; i < count; i++) {
    for (int k = 0; k < n; k++) operands[k] = e[k]->d[e[k]->n == 1 ? 0 : i];
    result[i] = f(x->dims, operands);
  }
  return ifd_infer_elements(x, 0, rank, count, result);
}
