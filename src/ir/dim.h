/* Symbolic dimensions: integers that may depend on a model's free dimensions.
 *
 * An ifd_dim is a plain number, or a handle of an expression kept by the model's ifd_dims table. Expressions
 * are canonical (sums of products of symbols with integer coefficients, over atoms: named symbols,
 * floor(a/b), max, min, mod), so equal values that can be proven equal have equal handles: compare dims with
 * ==. Handles lie below IFD_DIM_NUMBERS, all other int64 values are numbers (negative ones occur in shape
 * arithmetic). The table lives in its arena. */
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
/* The symbol of this name (dim_param), known to be >= 0; the same name gives the same dim. Out of memory in
 * any function here gives a fresh unknown, or a number's neighbourless handle that equals nothing. */
ifd_dim ifd_dim_symbol(ifd_dims *dims, const char *name);
/* An unknown that equals only itself; its text is "?". */
ifd_dim ifd_dim_unknown(ifd_dims *dims);
ifd_dim ifd_dim_add(ifd_dims *dims, ifd_dim a, ifd_dim b);
ifd_dim ifd_dim_sub(ifd_dims *dims, ifd_dim a, ifd_dim b);
ifd_dim ifd_dim_mul(ifd_dims *dims, ifd_dim a, ifd_dim b);
/* Quotient toward minus infinity / plus infinity; exact polynomial division is found (N*C*4 / C = 4*N).
 * Unknown when b may be 0. */
ifd_dim ifd_dim_floor_div(ifd_dims *dims, ifd_dim a, ifd_dim b);
ifd_dim ifd_dim_ceil_div(ifd_dims *dims, ifd_dim a, ifd_dim b);
ifd_dim ifd_dim_mod(ifd_dims *dims, ifd_dim a, ifd_dim b);
ifd_dim ifd_dim_min(ifd_dims *dims, ifd_dim a, ifd_dim b);
ifd_dim ifd_dim_max(ifd_dims *dims, ifd_dim a, ifd_dim b);
/* True only when proven for all values >= 1 of the free dimensions (dimensions named by the model are >= 1
 * unless used otherwise; see ifd_dim_at_least). */
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
