/* What the files of ir/dim.h share: expressions as the table holds them, and polynomials to compute with. */
#ifndef IFD_IR_DIM_PRIV_H
#define IFD_IR_DIM_PRIV_H

#include "ir/dim.h"

/* Limits that keep every operation cheap; what goes over them becomes an unknown. */
enum { IFD_DIM_MAX_TERMS = 32, IFD_DIM_MAX_DEGREE = 12, IFD_DIM_MAX_ARGS = 8, IFD_DIM_MAX_SIZE = 1000 };

/* coefficient * atoms[0] * atoms[1] …; atoms are handles, ascending, repeated for powers. */
typedef struct ifd_poly_term {
  int64_t coefficient; /* never INT64_MIN: it can be negated */
  int64_t n;           /* as wide as the rest, so that terms compare as bytes */
  ifd_dim atoms[IFD_DIM_MAX_DEGREE];
} ifd_poly_term;

/* A sum of terms with different atoms and coefficients other than 0: higher degrees first, then by atoms. */
typedef struct ifd_poly {
  int n;
  ifd_poly_term terms[IFD_DIM_MAX_TERMS];
} ifd_poly;

/* All but polynomials are atoms. */
typedef enum ifd_expr_kind {
  IFD_EXPR_SYMBOL,
  IFD_EXPR_FLOOR_DIV,
  IFD_EXPR_MIN,
  IFD_EXPR_MAX,
  IFD_EXPR_POLY
} ifd_expr_kind;

typedef struct ifd_expr {
  ifd_expr_kind kind;
  uint64_t hash;
  int size;                       /* of the whole tree: bounds recursion */
  const char *name;               /* SYMBOL */
  int n;                          /* arguments or terms */
  ifd_dim args[IFD_DIM_MAX_ARGS]; /* FLOOR_DIV (a, b), MIN and MAX (ascending) */
  const ifd_poly_term *terms;     /* POLY */
} ifd_expr;

/* ---- dim.c: the table ---- */

/* The expression of a handle; NULL for numbers and unknowns. */
const ifd_expr *ifd_dim_find(const ifd_dims *dims, ifd_dim d);
/* The one handle of an expression; e and what it points to are copied when it is new. */
ifd_dim ifd_dim_intern(ifd_dims *dims, ifd_expr *e);
/* Parts of the tree of d. */
int ifd_dim_size(const ifd_dims *dims, ifd_dim d);
/* floor(a/b), or min or max of ascending arguments. */
ifd_dim ifd_dim_call(ifd_dims *dims, ifd_expr_kind kind, const ifd_dim *args, int n);

/* ---- dim_poly.c: polynomials; false on overflow of a number or of the limits ---- */

void ifd_poly_of(const ifd_dims *dims, ifd_dim d, ifd_poly *out);
ifd_dim ifd_poly_dim(ifd_dims *dims, const ifd_poly *p);
/* The terms that there are: there is room for many more. */
void ifd_poly_copy(ifd_poly *to, const ifd_poly *from);
/* p += t */
bool ifd_poly_add(ifd_poly *p, const ifd_poly_term *t);
/* p += factor * q */
bool ifd_poly_add_product(ifd_poly *p, const ifd_poly *q, const ifd_poly_term *factor);
/* The exact quotient a / b, when there is one. */
bool ifd_poly_divide(ifd_poly *quotient, const ifd_poly *a, const ifd_poly *b);
/* The atoms of a without those of b, when a has them all; the coefficient is 1. */
bool ifd_poly_divide_term(ifd_poly_term *out, const ifd_poly_term *a, const ifd_poly_term *b);
/* a + factor * b */
ifd_dim ifd_dim_add_scaled(ifd_dims *dims, ifd_dim a, ifd_dim b, int64_t factor);

/* ---- dim_range.c: bounds ---- */

/* All values lie in [low, high]; beyond ±IFD_UNBOUNDED nothing is known. */
#define IFD_UNBOUNDED ((int64_t)1 << 62)
typedef struct ifd_dim_range {
  int64_t low, high;
} ifd_dim_range;

/* The range of d when all symbols are at least `least`. */
ifd_dim_range ifd_dim_range_of(const ifd_dims *dims, ifd_dim d, int64_t least);
/* a >= b whatever the free dimensions, 0 included. */
bool ifd_dim_known_at_least(ifd_dims *dims, ifd_dim a, ifd_dim b);

#endif
