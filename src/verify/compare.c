#include "verify/compare.h"

#include <math.h>
#include <string.h>

static double epsilon_of(ifd_dtype t) {
  switch (t) {
  case IFD_DOUBLE: return 0x1p-52;
  case IFD_FLOAT: return 0x1p-23;
  case IFD_FLOAT16: return 0x1p-10;
  case IFD_BFLOAT16: return 0x1p-7;
  default: return ifd_dtype_is_float(t) ? 0.25 : 0;
  }
}

static void mismatch(ifd_difference *d, const char *what) {
  if (!d->same_form) return;
  d->same_form = false;
  d->form = what;
  d->worst = INFINITY;
}

static void note(ifd_difference *d, double difference, int item, int64_t at, double a, double b) {
  d->n_beyond += difference > d->limit;
  if (!(difference > d->worst)) return;
  d->worst = difference;
  d->item = item;
  d->at = at;
  d->a = a;
  d->b = b;
}

static void compare_reals(const ifd_tensor *a, const ifd_tensor *b, int item, ifd_difference *d) {
  for (int64_t i = 0, n = ifd_tensor_count(a); i < n; i++) {
    double x = ifd_tensor_get_f64(a, i), y = ifd_tensor_get_f64(b, i);
    if (isfinite(x) && fabs(x) > d->scale) d->scale = fabs(x);
    if (isnan(x) && isnan(y))
      d->n_nan++;
    else if (x != y)
      note(d, isfinite(x) && isfinite(y) ? fabs(x - y) : INFINITY, item, i, x, y);
  }
}

/* Too large for a double to hold exactly: compared as they are. */
static void compare_integers(const ifd_tensor *a, const ifd_tensor *b, int item, ifd_difference *d) {
  for (int64_t i = 0, n = ifd_tensor_count(a); i < n; i++) {
    int64_t x = ifd_tensor_get_i64(a, i), y = ifd_tensor_get_i64(b, i);
    if (fabs((double)x) > d->scale) d->scale = fabs((double)x);
    if (x != y) note(d, fmax(1, fabs((double)x - (double)y)), item, i, (double)x, (double)y);
  }
}

static void compare_texts(const ifd_tensor *a, const ifd_tensor *b, int item, ifd_difference *d) {
  const ifd_str *x = a->data, *y = b->data;
  for (int64_t i = 0, n = ifd_tensor_count(a); i < n; i++)
    if (x[i].len != y[i].len || (x[i].len && memcmp(x[i].s, y[i].s, x[i].len) != 0))
      note(d, INFINITY, item, i, 0, 0);
}

/* A complex tensor as one of twice as many reals. */
static ifd_tensor as_reals(const ifd_tensor *t) {
  ifd_tensor r = *t;
  r.dtype = t->dtype == IFD_COMPLEX64 ? IFD_FLOAT : IFD_DOUBLE;
  r.shape = (ifd_shape){.rank = 1, .dim = {2 * ifd_tensor_count(t)}};
  return r;
}

static void compare_tensors(const ifd_tensor *a, const ifd_tensor *b, bool wide, int item,
                            ifd_difference *d) {
  ifd_dtype expected = wide && a->dtype == IFD_FLOAT ? IFD_DOUBLE : a->dtype;
  if (b->dtype != expected && b->dtype != a->dtype) {
    mismatch(d, "element types");
    return;
  }
  if (!ifd_shape_equal(&a->shape, &b->shape)) {
    mismatch(d, "shapes");
    return;
  }
  d->n += ifd_tensor_count(a);
  if (a->dtype == IFD_STRING) {
    compare_texts(a, b, item, d);
  } else if (ifd_dtypes[a->dtype].class == IFD_CLASS_COMPLEX) {
    ifd_tensor x = as_reals(a), y = as_reals(b);
    compare_tensors(&x, &y, wide, item, d);
  } else if (ifd_dtype_is_float(a->dtype)) {
    d->is_float = true;
    d->epsilon = fmax(d->epsilon, epsilon_of(a->dtype));
    compare_reals(a, b, item, d);
  } else
    compare_integers(a, b, item, d);
}

static void compare_data(const ifd_datum *a, const ifd_datum *b, bool wide, int item, ifd_difference *d) {
  int n = a->list ? a->list->n : 0, m = b->list ? b->list->n : 0;
  if (a->kind != b->kind) {
    mismatch(d, "kinds");
    return;
  }
  if (a->kind == IFD_KIND_TENSOR || a->kind == IFD_KIND_MAP)
    compare_tensors(&a->tensor, &b->tensor, wide, item, d);
  if (n != m) mismatch(d, "numbers of items");
  for (int i = 0; i < n && d->same_form; i++)
    compare_data(&a->list->items[i], &b->list->items[i], wide, item < 0 ? i : item, d);
}

void ifd_compare(const ifd_datum *a, const ifd_datum *b, bool wide, ifd_difference *out) {
  *out = (ifd_difference){.same_form = true, .item = -1};
  compare_data(a, b, wide, -1, out);
}

int64_t ifd_count_beyond(const ifd_datum *a, const ifd_datum *b, double limit) {
  ifd_difference d = {.same_form = true, .item = -1, .limit = limit};
  compare_data(a, b, false, -1, &d);
  return d.n_beyond;
}
