#include "base/checked.h"
#include "ir/dim_priv.h"

static int64_t clamp(__int128 v) {
  return v > IFD_UNBOUNDED ? IFD_UNBOUNDED : v < -IFD_UNBOUNDED ? -IFD_UNBOUNDED : (int64_t)v;
}

static ifd_dim_range add_ranges(ifd_dim_range a, ifd_dim_range b) {
  ifd_dim_range r = {clamp((__int128)a.low + b.low), clamp((__int128)a.high + b.high)};
  if (a.low == -IFD_UNBOUNDED || b.low == -IFD_UNBOUNDED) r.low = -IFD_UNBOUNDED;
  if (a.high == IFD_UNBOUNDED || b.high == IFD_UNBOUNDED) r.high = IFD_UNBOUNDED;
  return r;
}

static ifd_dim_range multiply_ranges(ifd_dim_range a, ifd_dim_range b) {
  __int128 corner[] = {(__int128)a.low * b.low, (__int128)a.low * b.high, (__int128)a.high * b.low,
                       (__int128)a.high * b.high};
  ifd_dim_range r = {clamp(corner[0]), clamp(corner[0])};
  for (int i = 1; i < 4; i++) {
    r.low = ifd_min_i64(r.low, clamp(corner[i]));
    r.high = ifd_max_i64(r.high, clamp(corner[i]));
  }
  return r;
}

/* b >= 1 */
static ifd_dim_range divide_ranges(ifd_dim_range a, ifd_dim_range b) {
  ifd_dim_range r = {ifd_min_i64(a.low, 0), ifd_max_i64(a.high, 0)};
  if (b.low != b.high || b.low == IFD_UNBOUNDED) return r;
  if (a.low > -IFD_UNBOUNDED) r.low = ifd_floor_div(a.low, b.low);
  if (a.high < IFD_UNBOUNDED) r.high = ifd_floor_div(a.high, b.low);
  return r;
}

static ifd_dim_range range_of_terms(const ifd_dims *dims, const ifd_poly_term *terms, int n, int64_t least) {
  ifd_dim_range sum = {0, 0};
  for (int i = 0; i < n; i++) {
    ifd_dim_range product = {clamp(terms[i].coefficient), clamp(terms[i].coefficient)};
    for (int j = 0; j < terms[i].n; j++)
      product = multiply_ranges(product, ifd_dim_range_of(dims, terms[i].atoms[j], least));
    sum = add_ranges(sum, product);
  }
  return sum;
}

ifd_dim_range ifd_dim_range_of(const ifd_dims *dims, ifd_dim d, int64_t least) {
  ifd_dim_range unknown = {-IFD_UNBOUNDED, IFD_UNBOUNDED};
  if (ifd_dim_is_number(d)) return (ifd_dim_range){clamp(d), clamp(d)};
  const ifd_expr *e = ifd_dim_find(dims, d);
  if (!e) return unknown;
  if (e->kind == IFD_EXPR_SYMBOL) return (ifd_dim_range){least, IFD_UNBOUNDED};
  if (e->kind == IFD_EXPR_POLY) return range_of_terms(dims, e->terms, e->n, least);
  ifd_dim_range r = ifd_dim_range_of(dims, e->args[0], least);
  for (int i = 1; i < e->n; i++) {
    ifd_dim_range s = ifd_dim_range_of(dims, e->args[i], least);
    if (e->kind == IFD_EXPR_MIN) r = (ifd_dim_range){ifd_min_i64(r.low, s.low), ifd_min_i64(r.high, s.high)};
    if (e->kind == IFD_EXPR_MAX) r = (ifd_dim_range){ifd_max_i64(r.low, s.low), ifd_max_i64(r.high, s.high)};
    if (e->kind == IFD_EXPR_FLOOR_DIV) r = s.low >= 1 ? divide_ranges(r, s) : unknown;
  }
  return r;
}

bool ifd_dim_known_positive(const ifd_dims *dims, ifd_dim d) { return ifd_dim_range_of(dims, d, 1).low > 0; }

bool ifd_dim_known_at_least(ifd_dims *dims, ifd_dim a, ifd_dim b) {
  ifd_poly p, q;
  ifd_poly_of(dims, a, &p);
  ifd_poly_of(dims, b, &q);
  return ifd_poly_add_product(&p, &q, &(ifd_poly_term){.coefficient = -1}) &&
         range_of_terms(dims, p.terms, p.n, 0).low >= 0;
}

/* ---- min and max ---- */

typedef struct arg_list {
  ifd_expr_kind kind;
  int n;
  ifd_dim v[2 * IFD_DIM_MAX_ARGS];
} arg_list;

/* x makes y needless in a max (or min). */
static bool covers(ifd_dims *dims, ifd_expr_kind kind, ifd_dim x, ifd_dim y) {
  return kind == IFD_EXPR_MAX ? ifd_dim_known_at_least(dims, x, y) : ifd_dim_known_at_least(dims, y, x);
}

static void push_arg(ifd_dims *dims, arg_list *list, ifd_dim d) {
  int kept = 0;
  for (int i = 0; i < list->n; i++)
    if (list->v[i] == d || covers(dims, list->kind, list->v[i], d)) return;
  for (int i = 0; i < list->n; i++)
    if (!covers(dims, list->kind, d, list->v[i])) list->v[kept++] = list->v[i];
  int at = list->n = kept;
  for (; at && list->v[at - 1] > d; at--) list->v[at] = list->v[at - 1];
  list->v[at] = d;
  list->n++;
}

static void push_args(ifd_dims *dims, arg_list *list, ifd_dim d) {
  const ifd_expr *e = ifd_dim_find(dims, d);
  if (!e || e->kind != list->kind) {
    push_arg(dims, list, d);
    return;
  }
  for (int i = 0; i < e->n; i++) push_arg(dims, list, e->args[i]);
}

static ifd_dim min_max(ifd_dims *dims, ifd_expr_kind kind, ifd_dim a, ifd_dim b) {
  arg_list list = {.kind = kind};
  push_args(dims, &list, a);
  push_args(dims, &list, b);
  if (list.n == 1) return list.v[0];
  return list.n > IFD_DIM_MAX_ARGS ? ifd_dim_unknown(dims) : ifd_dim_call(dims, kind, list.v, list.n);
}

ifd_dim ifd_dim_min(ifd_dims *dims, ifd_dim a, ifd_dim b) { return min_max(dims, IFD_EXPR_MIN, a, b); }
ifd_dim ifd_dim_max(ifd_dims *dims, ifd_dim a, ifd_dim b) { return min_max(dims, IFD_EXPR_MAX, a, b); }
