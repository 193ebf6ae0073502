/* A launch over equal items (rows, planes): how many a task takes, and which. */
#ifndef IFD_OPS_SHARED_ROWS_H
#define IFD_OPS_SHARED_ROWS_H

#include "ops/op.h"

typedef struct ifd_rows {
  int64_t n, step; /* items, items of a task */
} ifd_rows;

/* n items of about item_ops operations each. */
static inline ifd_rows ifd_rows_split(int64_t n, double item_ops) {
  return (ifd_rows){n, ifd_lower_grain(n, item_ops)};
}
/* n columns of matrices whose rows have `inner` elements. What a task reads of a row should lie on lines of
 * its own, and be long enough to be fetched ahead. */
static inline ifd_rows ifd_columns_split(int64_t n, int64_t inner, double column_ops) {
  enum { LEAST = 256 };
  ifd_rows r = ifd_rows_split(n, column_ops);
  if (inner > 1) r.step = ifd_max_i64(r.step, ifd_min_i64(inner, LEAST));
  return r;
}
/* Items [*from, *to) of a task. */
static inline void ifd_rows_of(const ifd_rows *r, int task, int64_t *from, int64_t *to) {
  *from = task * r->step;
  *to = ifd_min_i64(*from + r->step, r->n);
}
/* Of columns [from, to) of matrices [n][inner] how many a call takes: those of one matrix, or, of a row each,
 * all. The first begins at element *at. */
static inline int64_t ifd_columns_of(int64_t from, int64_t to, int64_t n, int64_t inner, int64_t *at) {
  const int64_t column = from % inner;
  *at = from / inner * n * inner + column;
  return inner == 1 ? to - from : ifd_min_i64(inner - column, to - from);
}
/* Adds the launch, without scratch; `rows` is the one in the parameters. */
static inline ifd_status ifd_lower_rows(ifd_lower *x, ifd_kernel run, const void *params, size_t params_size,
                                        const ifd_rows *rows) {
  return ifd_lower_launch(x, run, params, params_size, ifd_ceil_div(rows->n, rows->step), 0);
}

/* Whether inputs [0, n) that are there, and output 0, are tensors of a type with elements. */
bool ifd_lower_all(const ifd_lower *x, int n, ifd_dtype dtype);
bool ifd_lower_all_float(const ifd_lower *x, int n);

#endif
