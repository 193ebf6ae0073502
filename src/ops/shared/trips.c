#include "ops/shared/trips.h"

#include <string.h>

ifd_status ifd_trip(ifd_eval *x) {
  EXPECT(x->err, --*x->steps_left >= 0, LIMIT, "the run takes more loop trips than its limit allows");
  return IFD_OK;
}

ifd_status ifd_shape_insert(ifd_error *err, ifd_shape *shape, int axis, int64_t dim) {
  EXPECT(err, shape->rank < IFD_MAX_RANK, UNSUPPORTED, "at most %d dimensions are supported", IFD_MAX_RANK);
  memmove(&shape->dim[axis + 1], &shape->dim[axis], (size_t)(shape->rank - axis) * sizeof *shape->dim);
  shape->dim[axis] = dim;
  shape->rank++;
  return IFD_OK;
}

ifd_view ifd_view_drop(ifd_view whole, ifd_shape *shape, int axis, int64_t index) {
  ifd_view v = ifd_view_from(whole, axis, index);
  size_t after = (size_t)(shape->rank - axis - 1) * sizeof *v.stride;
  memmove(&v.stride[axis], &v.stride[axis + 1], after);
  memmove(&shape->dim[axis], &shape->dim[axis + 1], after);
  shape->rank--;
  return v;
}

ifd_status ifd_trips_none(ifd_eval *x, int i, const ifd_value *value, int axis, const int64_t *lead,
                          int n_lead) {
  const ifd_type *t = value->type->kind == IFD_KIND_TENSOR ? value->type : value->declared;
  ifd_shape shape = {0};
  ifd_tensor *out;
  EXPECT(x->err, t && t->kind == IFD_KIND_TENSOR && t->dtype, UNSUPPORTED,
         "no trip was made and the type of output '%s' is not known", value->name);
  bool known = t->has_rank && t->rank + n_lead <= IFD_MAX_RANK;
  for (int d = 0; known && d < t->rank; d++)
    shape.dim[shape.rank++] = ifd_dim_is_number(t->dims[d]) ? t->dims[d] : 0;
  for (int k = n_lead - 1; k >= 0; k--)
    TRY(ifd_shape_insert(x->err, &shape, axis < shape.rank ? axis : shape.rank, lead[k]));
  TRY(ifd_eval_out(x, &out, i, t->dtype, &shape));
  ifd_fill(out, NULL);
  return IFD_OK;
}

ifd_status ifd_expect_same_element(ifd_error *err, const ifd_datum *made, const ifd_tensor *first,
                                   int64_t trip) {
  char ta[256], tb[256];
  EXPECT(err, made->kind == IFD_KIND_TENSOR, BAD_INPUT, "trip %lld made no tensor where one is scanned",
         (long long)trip);
  const ifd_tensor *t = &made->tensor;
  EXPECT(err, t->dtype == first->dtype && ifd_shape_equal(&t->shape, &first->shape), BAD_INPUT,
         "trip %lld made %s%s where the first made %s%s", (long long)trip, ifd_dtype_name(t->dtype),
         ifd_shape_text(&t->shape, ta, sizeof ta), ifd_dtype_name(first->dtype),
         ifd_shape_text(&first->shape, tb, sizeof tb));
  return IFD_OK;
}

ifd_status ifd_keep_strings(ifd_eval *x, ifd_tensor *t) {
  const ifd_str *from = t->data;
  int64_t n = ifd_tensor_count(t);
  ifd_str *to;
  if (t->dtype != IFD_STRING) return IFD_OK;
  ALLOC(x->err, to, ifd_new_array(x->scratch, ifd_str, n));
  for (int64_t i = 0; i < n; i++) {
    to[i].len = from[i].len;
    ALLOC(x->err, to[i].s, ifd_arena_strndup(x->scratch, from[i].s, from[i].len));
  }
  t->data = to;
  return IFD_OK;
}
