/* Symbolic dimensions: integers that may depend on a model's free dimensions.
 *
 * An ifd_dim is a plain number, or a handle of an expression kept by the model's ifd_dims table. Expressions
 * are canonical (sums of products of atoms with integer coefficients; atoms are named symbols, unknowns,
 * floor(a/b), max and min; a mod b is a - b*floor(a/b)), so equal values that can be proven equal have equal
 * handles: compare dims with ==. Handles lie below IFD_DIM_NUMBERS, all other int64 values are numbers
 * (negative ones occur in shape arithmetic); a number from outside becomes a dim by ifd_dim_number. What
 * grows past fixed limits (32 terms, degree 12, 1000 parts) or overflows becomes an unknown. The table lives
 * in its arena. */
#ifndef IFD_IR_DIM_H
#define IFD_IR_DIM_H

#include "base/arena.h"
#include "base/map.h"
#include "base/status.h"

typedef int64_t ifd_dim;
#define IFD_DIM_NUMBERS (INT64_MIN + ((int64_t)1 << 32))

typedef struct ifd_dims ifd_dims;

static inline bool ifd_dim_is_number(ifd_dim d) { return d >= IFD_DIM_NUMBERS; }

/* NULL when out of memory. */
ifd_dims *ifd_dims_new(ifd_arena *arena);
/* A table in which the handles of `dims` mean the same; the two then grow apart. NULL when out of memory. */
ifd_dims *ifd_dims_clone(const ifd_dims *dims, ifd_arena *arena);
/* Out of memory in any function that makes a dim gives a fresh unknown, which takes no memory. */
/* The number, or an unknown where its value is taken by handles (the lowest 2^32). */
ifd_dim ifd_dim_number(ifd_dims *dims, int64_t v);
/* The symbol of this name (dim_param), known to be >= 0; the same name gives the same dim. */
ifd_dim ifd_dim_symbol(ifd_dims *dims, const char *name);
/* An unknown that equals only itself; its text is "?". */
ifd_dim ifd_dim_unknown(ifd_dims *dims);
ifd_dim ifd_dim_add(ifd_dims *dims, ifd_dim a, ifd_dim b);
ifd_dim ifd_dim_sub(ifd_dims *dims, ifd_dim a, ifd_dim b);
ifd_dim ifd_dim_mul(ifd_dims *dims, ifd_dim a, ifd_dim b);
/* Quotient toward minus infinity / plus infinity, and floor's remainder (sign of b); exact polynomial
 * division is found (N*C*4 / C = 4*N). Unknown when b may be 0. */
ifd_dim ifd_dim_floor_div(ifd_dims *dims, ifd_dim a, ifd_dim b);
ifd_dim ifd_dim_ceil_div(ifd_dims *dims, ifd_dim a, ifd_dim b);
ifd_dim ifd_dim_mod(ifd_dims *dims, ifd_dim a, ifd_dim b);
ifd_dim ifd_dim_min(ifd_dims *dims, ifd_dim a, ifd_dim b);
ifd_dim ifd_dim_max(ifd_dims *dims, ifd_dim a, ifd_dim b);
/* True only when proven for all values >= 1 of the free dimensions. (Other simplifications hold for 0, too,
 * but for a division by a symbol, which takes it to be >= 1.) */
bool ifd_dim_known_positive(const ifd_dims *dims, ifd_dim d);
/* Exact quotient a / b when b divides a as polynomials: true and *out. */
bool ifd_dim_divides(ifd_dims *dims, ifd_dim a, ifd_dim b, ifd_dim *out);

/* Binding of free symbols to numbers, for one run or one --shape. */
typedef struct ifd_binding {
  ifd_map map; /* symbol name -> (int64_t *) */
} ifd_binding;
/* The number under a binding; false when a symbol is unbound or arithmetic overflows. */
bool ifd_dim_eval(const ifd_dims *dims, ifd_dim d, const ifd_binding *binding, int64_t *out);
/* "N*196 + 1" into text; returns text. */
const char *ifd_dim_text(const ifd_dims *dims, ifd_dim d, char *text, size_t n);
/* The name when d is one named symbol alone, else NULL. */
const char *ifd_dim_name(const ifd_dims *dims, ifd_dim d);

#endif
