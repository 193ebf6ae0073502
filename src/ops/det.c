/* Det: determinants of the matrices in the last two dimensions; and com.microsoft.Inverse. */
#include <math.h>

#include "ops/shared/move.h"
#include "ops/shared/values.h"

/* The row whose number in column k is the largest from row k on. */
static int64_t find_pivot(const double *a, int64_t n, int64_t k) {
  int64_t pivot = k;
  for (int64_t i = k + 1; i < n; i++)
    if (fabs(a[i * n + k]) > fabs(a[pivot * n + k])) pivot = i;
  return pivot;
}

static void swap_rows(double *a, int64_t n, int64_t i, int64_t j) {
  for (int64_t k = 0; k < n && i != j; k++) {
    double t = a[i * n + k];
    a[i * n + k] = a[j * n + k];
    a[j * n + k] = t;
  }
}

/* The product of the pivots of an LU factorization with partial pivoting, in place. */
static double determinant(double *a, int64_t n) {
  double det = 1;
  for (int64_t k = 0; k < n; k++) {
    int64_t pivot = find_pivot(a, n, k);
    if (a[pivot * n + k] == 0) return 0;
    swap_rows(a, n, k, pivot);
    det *= pivot == k ? a[k * n + k] : -a[k * n + k];
    for (int64_t i = k + 1; i < n; i++) {
      double factor = a[i * n + k] / a[k * n + k];
      for (int64_t j = k + 1; j < n; j++) a[i * n + j] -= factor * a[k * n + j];
    }
  }
  return det;
}

static ifd_status eval_Det(ifd_eval *x) {
  ifd_shape shape = *ifd_eval_shape(x, 0);
  const double *in;
  double *y;
  EXPECT(x->err, shape.rank >= 2 && shape.dim[shape.rank - 1] == shape.dim[shape.rank - 2], BAD_INPUT,
         "the last two dimensions are no square matrix");
  int64_t n = shape.dim[shape.rank - 1];
  shape.rank -= 2;
  TRY(ifd_eval_f64(x, &in, 0));
  TRY(ifd_eval_zeros(x, &y, ifd_shape_count(&shape)));
  for (int64_t i = 0; i < ifd_shape_count(&shape); i++) y[i] = determinant((double *)in + i * n * n, n);
  return ifd_eval_put_f64(x, 0, ifd_eval_dtype(x, 0), &shape, y);
}

static ifd_status infer_Det(ifd_infer *x) {
  int rank = ifd_known_rank(x, 0);
  if (rank < 0) return ifd_infer_unranked(x, 0, ifd_infer_dtype(x, 0));
  EXPECT(x->err, rank >= 2, BAD_MODEL, "the input has rank %d; matrices are needed", rank);
  return ifd_infer_tensor(x, 0, ifd_infer_dtype(x, 0), rank - 2, x->in[0]->dims);
}

/* ---- com.microsoft.Inverse ---- */

static void add_row(double *a, int64_t n, int64_t to, int64_t from, double factor) {
  for (int64_t k = 0; k < n; k++) a[to * n + k] += factor * a[from * n + k];
}

/* Gauss-Jordan elimination with partial pivoting: a becomes the identity, and y, which is that, the inverse.
 * A singular matrix gives no numbers. */
static void invert(double *a, double *y, int64_t n) {
  for (int64_t k = 0; k < n; k++) {
    int64_t pivot = find_pivot(a, n, k);
    swap_rows(a, n, k, pivot);
    swap_rows(y, n, k, pivot);
    double diagonal = a[k * n + k];
    for (int64_t j = 0; j < n; j++) a[k * n + j] /= diagonal, y[k * n + j] /= diagonal;
    for (int64_t i = 0; i < n; i++) {
      double factor = -a[i * n + k];
      if (i != k) add_row(a, n, i, k, factor), add_row(y, n, i, k, factor);
    }
  }
}

static ifd_status eval_Inverse(ifd_eval *x) {
  const ifd_shape *shape = ifd_eval_shape(x, 0);
  const double *in;
  double *y;
  EXPECT(x->err, shape->rank >= 2 && shape->dim[shape->rank - 1] == shape->dim[shape->rank - 2], BAD_INPUT,
         "the last two dimensions are no square matrix");
  int64_t n = shape->dim[shape->rank - 1], count = ifd_shape_count(shape);
  TRY(ifd_eval_f64(x, &in, 0));
  TRY(ifd_eval_zeros(x, &y, count));
  for (int64_t i = 0; i < count; i += n * n) {
    for (int64_t k = 0; k < n; k++) y[i + k * (n + 1)] = 1;
    invert((double *)in + i, y + i, n);
  }
  return ifd_eval_put_f64(x, 0, ifd_eval_dtype(x, 0), shape, y);
}

const ifd_op ifd_ops_det[] = {{.name = "Det", .since = 11, .infer = infer_Det, .eval = eval_Det},
                              {.name = "Inverse",
                               .domain = "com.microsoft",
                               .since = 1,
                               .infer = ifd_infer_like_first,
                               .eval = eval_Inverse},
                              {0}};
