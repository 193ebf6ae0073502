#include "ops/shared/values.h"

#include "tensor/convert.h"

ifd_status ifd_eval_find_f64(ifd_eval *x, const double **out, int i) {
  *out = NULL;
  return ifd_eval_has(x, i) ? ifd_eval_f64(x, out, i) : IFD_OK;
}

ifd_status ifd_eval_find_f64_n(ifd_eval *x, const double **out, int i, int64_t n, const char *what) {
  if (ifd_eval_has(x, i)) {
    int64_t has = ifd_tensor_count(ifd_eval_in(x, i));
    EXPECT(x->err, has == n, BAD_INPUT, "%s has %lld elements; %lld are needed", what, (long long)has,
           (long long)n);
  }
  return ifd_eval_find_f64(x, out, i);
}

ifd_status ifd_eval_zeros(ifd_eval *x, double **out, int64_t n) {
  ALLOC(x->err, *out, ifd_new_array(x->scratch, double, n));
  return IFD_OK;
}

ifd_status ifd_eval_put_f64(ifd_eval *x, int i, ifd_dtype dtype, const ifd_shape *shape,
                            const double *values) {
  ifd_tensor *out;
  if (!ifd_eval_wants(x, i)) return IFD_OK;
  TRY(ifd_eval_out(x, &out, i, dtype, shape));
  ifd_store_f64(out->dtype, out->data, values, ifd_tensor_count(out));
  return IFD_OK;
}

ifd_status ifd_eval_put_i64(ifd_eval *x, int i, ifd_dtype dtype, const ifd_shape *shape,
                            const int64_t *values) {
  ifd_tensor *out;
  if (!ifd_eval_wants(x, i)) return IFD_OK;
  TRY(ifd_eval_out(x, &out, i, dtype, shape));
  ifd_store_i64(out->dtype, out->data, values, ifd_tensor_count(out));
  return IFD_OK;
}

ifd_status ifd_eval_put_sums(ifd_eval *x, int i, const ifd_shape *shape, const double *sums) {
  int64_t n = ifd_shape_count(shape), *whole;
  ALLOC(x->err, whole, ifd_new_array(x->scratch, int64_t, n));
  for (int64_t k = 0; k < n; k++) whole[k] = (int64_t)sums[k];
  return ifd_eval_put_i64(x, i, IFD_INT32, shape, whole);
}

double ifd_round_to(ifd_dtype t, double x) {
  uint64_t code;
  ifd_store_f64(t, &code, &x, 1);
  ifd_load_f64(t, &code, &x, 1);
  return x;
}
