#include "ops/op.h"

#include "ops/shared/signature.h"
#include "tensor/convert.h"
#include <string.h>

ifd_status ifd_axis(ifd_error *err, int *out, int64_t axis, int rank) {
  EXPECT(err, axis >= -rank && axis < rank, BAD_INPUT, "axis %lld is outside [%d, %d)", (long long)axis,
         -rank, rank);
  *out = (int)(axis < 0 ? axis + rank : axis);
  return IFD_OK;
}

ifd_status ifd_node_dtype(ifd_error *err, const ifd_node *node, const char *attr, ifd_dtype otherwise,
                          ifd_dtype *out) {
  int64_t t = ifd_node_int(node, attr, otherwise);
  EXPECT(err, t == IFD_UNDEFINED || ifd_dtype_valid(t), BAD_MODEL, "attribute %s: no type has number %lld",
         attr, (long long)t);
  *out = (ifd_dtype)t;
  return IFD_OK;
}

ifd_status ifd_eval_out(ifd_eval *x, ifd_tensor **out, int i, ifd_dtype dtype, const ifd_shape *shape) {
  if (x->float64 && dtype == IFD_FLOAT) dtype = IFD_DOUBLE;
  TRY(ifd_shape_check(x->err, shape, ifd_dtype_size(dtype)));
  ifd_datum *d = &x->out[i];
  size_t bytes = (size_t)ifd_shape_count(shape) * ifd_dtype_size(dtype);
  d->kind = IFD_KIND_TENSOR;
  *out = &d->tensor;
  if (x->planned && x->planned[i] && bytes <= x->planned_bytes[i]) {
    d->tensor = (ifd_tensor){.dtype = dtype, .shape = *shape, .data = x->planned[i]};
    return IFD_OK;
  }
  return ifd_tensor_create(x->err, &d->tensor, x->budget, dtype, shape);
}

ifd_status ifd_eval_reshape(ifd_eval *x, int i, int j, const ifd_shape *shape) {
  const ifd_tensor *from = ifd_eval_in(x, j);
  EXPECT(x->err, ifd_shape_count(shape) == ifd_tensor_count(from), BAD_INPUT,
         "%lld elements do not fit the new shape", (long long)ifd_tensor_count(from));
  if (from->buf && !(x->planned && x->planned[i])) {
    ifd_datum_ref(&x->out[i], x->in[j]);
    x->out[i].tensor.shape = *shape;
    return IFD_OK;
  }
  ifd_tensor *out;
  bool float64 = x->float64;
  x->float64 = false; /* the input already has its type */
  ifd_status status = ifd_eval_out(x, &out, i, from->dtype, shape);
  x->float64 = float64;
  TRY(status);
  if (from->data) memcpy(out->data, from->data, ifd_tensor_bytes(from));
  return IFD_OK;
}

ifd_status ifd_eval_forward(ifd_eval *x, int i, int j) {
  if (x->in[j]->kind == IFD_KIND_TENSOR) return ifd_eval_reshape(x, i, j, &x->in[j]->tensor.shape);
  ifd_datum_ref(&x->out[i], x->in[j]);
  return IFD_OK;
}

ifd_status ifd_eval_ints(ifd_eval *x, const int64_t **out, int64_t *n, int i) {
  const ifd_tensor *t = ifd_eval_in(x, i);
  int64_t *v;
  *n = ifd_tensor_count(t);
  ALLOC(x->err, v, ifd_new_array(x->scratch, int64_t, *n));
  ifd_load_i64(t->dtype, t->data, v, *n);
  *out = v;
  return IFD_OK;
}

ifd_status ifd_eval_f64(ifd_eval *x, const double **out, int i) {
  const ifd_tensor *t = ifd_eval_in(x, i);
  double *v;
  ALLOC(x->err, v, ifd_new_array(x->scratch, double, ifd_tensor_count(t)));
  ifd_load_f64(t->dtype, t->data, v, ifd_tensor_count(t));
  *out = v;
  return IFD_OK;
}

ifd_status ifd_eval_f32(ifd_eval *x, const float **out, int i) {
  const ifd_tensor *t = ifd_eval_in(x, i);
  float *v;
  ALLOC(x->err, v, ifd_new_array(x->scratch, float, ifd_tensor_count(t)));
  ifd_load_f32(t->dtype, t->data, v, ifd_tensor_count(t));
  *out = v;
  return IFD_OK;
}

/* String elements may point into inputs or scratch while an operator works; what it leaves owns its bytes. */
static ifd_status own_strings(ifd_eval *x, ifd_datum *d) {
  if (d->kind != IFD_KIND_TENSOR || d->tensor.dtype != IFD_STRING) return IFD_OK;
  ifd_datum borrowed = *d, owned;
  borrowed.tensor.buf = NULL;
  TRY(ifd_datum_own(x->err, &owned, &borrowed, x->budget));
  ifd_datum_unref(d);
  *d = owned;
  return IFD_OK;
}

ifd_status ifd_eval_node(ifd_eval *x) {
  const ifd_op *op = x->node->op;
  ifd_status status = IFD_OK;
  if (!op || !op->eval)
    status = ifd_error_set(x->err, IFD_UNSUPPORTED, "operator %s%s%s of opset %d is not supported",
                           x->node->domain, *x->node->domain ? "." : "", x->node->op_type, x->node->opset);
  if (status == IFD_OK) status = ifd_signature_check_values(x->err, x->node, x->in, x->n_in, x->float64);
  if (status == IFD_OK) status = op->eval(x);
  for (int i = 0; i < x->n_out && status == IFD_OK; i++) status = own_strings(x, &x->out[i]);
  if (status == IFD_OK) return IFD_OK;
  char label[256];
  ifd_error_add(x->err, "%s", ifd_node_label(x->node, label, sizeof label));
  for (int i = 0; i < x->n_out; i++) ifd_datum_unref(&x->out[i]);
  return status;
}
