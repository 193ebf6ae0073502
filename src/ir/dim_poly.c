#include <string.h>

#include "base/checked.h"
#include "ir/dim_priv.h"

/* Higher degree first, then by atoms: a monomial order (degree-lexicographic). */
static int compare_terms(const ifd_poly_term *a, const ifd_poly_term *b) {
  if (a->n != b->n) return b->n - a->n;
  for (int i = 0; i < a->n; i++)
    if (a->atoms[i] != b->atoms[i]) return a->atoms[i] < b->atoms[i] ? -1 : 1;
  return 0;
}

void ifd_poly_copy(ifd_poly *to, const ifd_poly *from) {
  to->n = from->n;
  memcpy(to->terms, from->terms, (size_t)from->n * sizeof *from->terms);
}

bool ifd_poly_add(ifd_poly *p, const ifd_poly_term *t) {
  int i = 0;
  while (i < p->n && compare_terms(&p->terms[i], t) < 0) i++;
  if (i < p->n && compare_terms(&p->terms[i], t) == 0) {
    int64_t *c = &p->terms[i].coefficient;
    if (!ifd_add_i64(c, *c, t->coefficient) || *c == INT64_MIN) return false;
    if (!*c) memmove(&p->terms[i], &p->terms[i + 1], (size_t)(--p->n - i) * sizeof *p->terms);
    return true;
  }
  if (!t->coefficient) return true;
  if (p->n == IFD_DIM_MAX_TERMS) return false;
  memmove(&p->terms[i + 1], &p->terms[i], (size_t)(p->n++ - i) * sizeof *p->terms);
  p->terms[i] = *t;
  return true;
}

static bool multiply_terms(ifd_poly_term *out, const ifd_poly_term *a, const ifd_poly_term *b) {
  if (a->n + b->n > IFD_DIM_MAX_DEGREE) return false;
  ifd_poly_term t = {.n = a->n + b->n};
  if (!ifd_mul_i64(&t.coefficient, a->coefficient, b->coefficient) || t.coefficient == INT64_MIN)
    return false;
  for (int i = 0, j = 0; i + j < t.n;)
    if (j == b->n || (i < a->n && a->atoms[i] <= b->atoms[j]))
      t.atoms[i + j] = a->atoms[i], i++;
    else
      t.atoms[i + j] = b->atoms[j], j++;
  *out = t;
  return true;
}

bool ifd_poly_divide_term(ifd_poly_term *out, const ifd_poly_term *a, const ifd_poly_term *b) {
  ifd_poly_term t = {.coefficient = 1};
  int j = 0;
  for (int i = 0; i < a->n; i++)
    if (j < b->n && a->atoms[i] == b->atoms[j])
      j++;
    else
      t.atoms[t.n++] = a->atoms[i];
  *out = t;
  return j == b->n;
}

bool ifd_poly_add_product(ifd_poly *p, const ifd_poly *q, const ifd_poly_term *factor) {
  for (int i = 0; i < q->n; i++) {
    ifd_poly_term t;
    if (!multiply_terms(&t, &q->terms[i], factor) || !ifd_poly_add(p, &t)) return false;
  }
  return true;
}

void ifd_poly_of(const ifd_dims *dims, ifd_dim d, ifd_poly *out) {
  const ifd_expr *e = ifd_dim_find(dims, d);
  out->n = 0;
  if (e && e->kind == IFD_EXPR_POLY) {
    out->n = e->n;
    memcpy(out->terms, e->terms, (size_t)e->n * sizeof *e->terms);
  } else if (d) {
    out->n = 1;
    out->terms[0] = (ifd_poly_term){.coefficient = 1};
    if (ifd_dim_is_number(d))
      out->terms[0].coefficient = d;
    else
      out->terms[0].atoms[out->terms[0].n++] = d;
  }
}

ifd_dim ifd_poly_dim(ifd_dims *dims, const ifd_poly *p) {
  const ifd_poly_term *first = p->terms;
  if (!p->n) return 0;
  if (p->n == 1 && first->n == 0) return ifd_dim_number(dims, first->coefficient);
  if (p->n == 1 && first->n == 1 && first->coefficient == 1) return first->atoms[0];
  ifd_expr e = {.kind = IFD_EXPR_POLY, .n = p->n, .terms = p->terms, .size = 1};
  for (int i = 0; i < p->n; i++)
    for (int j = 0; j < p->terms[i].n; j++) e.size += ifd_dim_size(dims, p->terms[i].atoms[j]);
  return e.size > IFD_DIM_MAX_SIZE ? ifd_dim_unknown(dims) : ifd_dim_intern(dims, &e);
}

/* Of numbers, which most dimensions are, and not more than a term can hold. */
static ifd_dim add_numbers(ifd_dims *dims, int64_t a, int64_t b, int64_t factor) {
  int64_t sum;
  bool fits = ifd_mul_i64(&sum, b, factor) && sum != INT64_MIN && ifd_add_i64(&sum, a, sum);
  return fits ? ifd_dim_number(dims, sum) : ifd_dim_unknown(dims);
}

ifd_dim ifd_dim_add_scaled(ifd_dims *dims, ifd_dim a, ifd_dim b, int64_t factor) {
  ifd_poly p, q;
  if (!b || !factor) return a;
  if (ifd_dim_is_number(a) && ifd_dim_is_number(b)) return add_numbers(dims, a, b, factor);
  ifd_poly_of(dims, a, &p);
  ifd_poly_of(dims, b, &q);
  return ifd_poly_add_product(&p, &q, &(ifd_poly_term){.coefficient = factor}) ? ifd_poly_dim(dims, &p)
                                                                               : ifd_dim_unknown(dims);
}

ifd_dim ifd_dim_add(ifd_dims *dims, ifd_dim a, ifd_dim b) { return ifd_dim_add_scaled(dims, a, b, 1); }
ifd_dim ifd_dim_sub(ifd_dims *dims, ifd_dim a, ifd_dim b) { return ifd_dim_add_scaled(dims, a, b, -1); }

ifd_dim ifd_dim_mul(ifd_dims *dims, ifd_dim a, ifd_dim b) {
  ifd_poly p, q, product;
  if (a == 1) return b;
  if (b == 1) return a;
  if (ifd_dim_is_number(a) && ifd_dim_is_number(b)) return add_numbers(dims, 0, a, b);
  product.n = 0;
  ifd_poly_of(dims, a, &p);
  ifd_poly_of(dims, b, &q);
  for (int i = 0; i < q.n; i++)
    if (!ifd_poly_add_product(&product, &p, &q.terms[i])) return ifd_dim_unknown(dims);
  return ifd_poly_dim(dims, &product);
}

/* Long division: exact when the leading term of b divides that of the remainder at each step, which in a
 * monomial order decides it. Steps are bounded: each must lower the leading term. */
bool ifd_poly_divide(ifd_poly *quotient, const ifd_poly *a, const ifd_poly *b) {
  ifd_poly rest;
  ifd_poly_copy(&rest, a);
  quotient->n = 0;
  if (!b->n) return false;
  while (rest.n) {
    const ifd_poly_term *top = &rest.terms[0];
    ifd_poly_term t;
    if (!ifd_poly_divide_term(&t, top, &b->terms[0]) || top->coefficient % b->terms[0].coefficient)
      return false;
    t.coefficient = top->coefficient / b->terms[0].coefficient;
    if (!ifd_poly_add(quotient, &t)) return false;
    t.coefficient = -t.coefficient;
    if (!ifd_poly_add_product(&rest, b, &t)) return false;
  }
  return true;
}

bool ifd_dim_divides(ifd_dims *dims, ifd_dim a, ifd_dim b, ifd_dim *out) {
  ifd_poly p, q, quotient;
  ifd_poly_of(dims, a, &p);
  ifd_poly_of(dims, b, &q);
  if (!ifd_poly_divide(&quotient, &p, &q)) return false;
  *out = ifd_poly_dim(dims, &quotient);
  return true;
}
