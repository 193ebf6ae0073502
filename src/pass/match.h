/* Pieces of formulas that exporters write out in elementary operators, as rules look for them. */
#ifndef IFD_PASS_MATCH_H
#define IFD_PASS_MATCH_H

#include "pass/pass.h"

/* scale · factors[0] · factors[1] … : a tree of Mul, and of Div by one number, whose inner values nobody else
 * reads. */
enum { IFD_MAX_FACTORS = 4 };
typedef struct ifd_factors {
  double scale;
  int n, n_nodes;
  ifd_value *factors[IFD_MAX_FACTORS];
} ifd_factors;

/* False when `last` is no such product, or one of too many factors. */
bool ifd_factors_of(ifd_rewrite *rw, ifd_node *last, ifd_factors *out);
/* Whether the one reader of the node only scales it by a number: then that one is the product's end. */
bool ifd_factors_go_on(ifd_rewrite *rw, const ifd_node *last);

/* Whether x is `exact` as an element type holds it, or as float32 does. */
bool ifd_is_near(double x, double exact, ifd_dtype dtype);
/* a·x + b of one pair of numbers that v is of *x; x itself is 1·x + 0. Inner values are read by the next
 * alone, v by one reader. */
ifd_status ifd_line_of(ifd_rewrite *rw, ifd_value *v, double *a, double *b, ifd_value **x, int *n_nodes);
/* Whether the value is there when the node runs. */
bool ifd_made_before(const ifd_value *value, const ifd_node *node);
/* The node of this type that makes v for one reader alone, or NULL. */
ifd_node *ifd_made_by(ifd_value *v, const char *op_type);
/* Whether v is a number for each column of a product's result, whatever dimensions of 1 stand before. */
bool ifd_rw_is_row(ifd_rewrite *rw, const ifd_value *v, const ifd_value *result);
/* Whether the node is a MatMul, or the Gemm that is one, with a bias for each column or none. */
bool ifd_rw_is_product(ifd_rewrite *rw, const ifd_node *node);
/* Elements that v has where each dimension that is not known is 1; INT64_MAX where these are more. */
int64_t ifd_rw_least_count(ifd_rewrite *rw, const ifd_value *v);
/* Whether v is x², as Pow or Mul. */
bool ifd_is_square(ifd_rewrite *rw, const ifd_value *v, ifd_value **x);
/* The value of which v is the mean over these axes (bits), which stay as ones (*kept) or go; else NULL. */
ifd_value *ifd_mean_over(ifd_rewrite *rw, const ifd_value *v, unsigned *axes, bool *kept);
/* The value of which v is the mean over the last n dimensions, which stay as ones; else NULL. */
ifd_value *ifd_mean_of(ifd_rewrite *rw, const ifd_value *v, int *n);
/* Scores before Softmax of which Where shows some, and puts a number that scores are lost in, such as −inf,
 * for the others. */
typedef struct ifd_masked {
  ifd_value *mask, *scores;
  bool shows; /* where the mask is true; else it hides there */
  double hidden;
} ifd_masked;
/* Whether v, read once, is such. */
bool ifd_masked_of(ifd_rewrite *rw, ifd_value *v, ifd_masked *out);
/* What a Reshape of x to y's shape takes as its shape, IFD_MAX_RANK numbers at most: numbers, 0 for a
 * dimension that x has in the same place, -1 for one other; false when that does not say it. */
bool ifd_view_shape(ifd_rewrite *rw, const ifd_value *x, const ifd_value *y, int64_t *shape);

#endif
