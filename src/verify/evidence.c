#include "verify/evidence.h"

#include "verify/compare.h"
#include "inspect/json.h"
#include <math.h>

static const double some_size = 1e-3;

/* Bits behind the leading one; 0 for what is no plain float. */
static int mantissa_of(ifd_dtype t) {
  switch (t) {
  case IFD_DOUBLE: return 52;
  case IFD_FLOAT: return 23;
  case IFD_FLOAT16: return 10;
  case IFD_BFLOAT16: return 7;
  default: return 0;
  }
}

static double spacing_at(double y, int mantissa) {
  int exponent;
  (void)frexp(y, &exponent);
  return ldexp(1, exponent - 1 - mantissa);
}

static void add_elements(ifd_deviation *worst, const ifd_tensor *x, const ifd_tensor *y, double scale) {
  int mantissa = mantissa_of(x->dtype);
  for (int64_t i = 0, n = mantissa ? ifd_tensor_count(x) : 0; i < n; i++) {
    double a = ifd_tensor_get_f64(x, i), b = ifd_tensor_get_f64(y, i), off = fabs(a - b);
    if (!isfinite(a) || !isfinite(b) || b == 0 || fabs(b) < some_size * scale) continue;
    worst->relative = fmax(worst->relative, off / fabs(b));
    worst->ulp = fmax(worst->ulp, off / spacing_at(b, mantissa));
  }
}

static void add_data(ifd_deviation *worst, const ifd_datum *x, const ifd_datum *y, double scale) {
  if (x->kind == IFD_KIND_TENSOR || x->kind == IFD_KIND_MAP)
    add_elements(worst, &x->tensor, &y->tensor, scale);
  for (int i = 0; x->list && i < x->list->n; i++)
    add_data(worst, &x->list->items[i], &y->list->items[i], scale);
}

void ifd_deviation_add(ifd_deviation *worst, const ifd_datum *x, const ifd_datum *y) {
  ifd_difference d;
  ifd_compare(x, y, true, &d);
  worst->absolute = fmax(worst->absolute, d.worst);
  if (d.same_form) add_data(worst, x, y, d.scale);
}

json_t *ifd_deviation_json(const ifd_deviation *d) {
  return json_pack("{s:o, s:o, s:o}", "absolute", ifd_json_number(d->absolute), "relative",
                   ifd_json_number(d->relative), "ulp", ifd_json_number(d->ulp));
}
