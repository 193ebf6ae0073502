#include "base/checked.h"
#include "ir/dim_priv.h"

static int64_t gcd(int64_t a, int64_t b) {
  while (b) {
    int64_t t = a % b;
    a = b;
    b = t;
  }
  return a < 0 ? -a : a;
}

static int64_t number_of(const ifd_poly *p) {
  return p->n && !p->terms[p->n - 1].n ? p->terms[p->n - 1].coefficient : 0;
}

/* a = b * quotient + rest, coefficients of rest in [0, b). Fails only on overflow. */
static bool split_by_number(const ifd_poly *a, int64_t b, ifd_poly *quotient, ifd_poly *rest) {
  quotient->n = rest->n = 0;
  for (int i = 0; i < a->n; i++) {
    ifd_poly_term t = a->terms[i], r = t;
    t.coefficient = ifd_floor_div(t.coefficient, b);
    r.coefficient = ifd_floor_mod(r.coefficient, b);
    if (!ifd_poly_add(quotient, &t) || !ifd_poly_add(rest, &r)) return false;
  }
  return true;
}

/* floor(rest / b) with common factors gone: floor((g*x + k) / (g*b)) = floor((x + floor(k/g)) / b). */
static void cancel_number(ifd_poly *rest, int64_t *b) {
  int64_t g = *b;
  int n = 0;
  for (int i = 0; i < rest->n; i++)
    if (rest->terms[i].n) g = gcd(g, rest->terms[i].coefficient);
  for (int i = 0; i < rest->n; i++) {
    ifd_poly_term t = rest->terms[i];
    t.coefficient = ifd_floor_div(t.coefficient, g);
    if (t.coefficient) rest->terms[n++] = t;
  }
  rest->n = n;
  *b /= g;
}

/* floor(r / b) = -floor((b - 1 - r) / b): of the two the one whose first coefficient is the smaller residue.
 * Moves whole parts to quotient; true when the sign was turned. */
static bool turn_sign(ifd_poly *quotient, ifd_poly *rest, int64_t b, bool *ok) {
  int64_t k = number_of(rest);
  if (!rest->n || rest->terms[0].coefficient <= b - rest->terms[0].coefficient) return false;
  ifd_poly turned;
  turned.n = 0;
  for (int i = 0; i < rest->n && rest->terms[i].n; i++) {
    ifd_poly_term whole = rest->terms[i];
    whole.coefficient = 1;
    *ok = *ok && ifd_poly_add(quotient, &whole);
    turned.terms[turned.n] = rest->terms[i];
    turned.terms[turned.n++].coefficient = b - rest->terms[i].coefficient;
  }
  *ok = *ok && ifd_poly_add(&turned, &(ifd_poly_term){.coefficient = b - 1 - k});
  ifd_poly_copy(rest, &turned);
  return true;
}

/* floor((floor(x / m) + k) / b) = floor((x + k*m) / (m*b)) for m, b >= 1: the numerator x + k*m and m, when
 * `p` has this form. */
static bool is_nested(const ifd_dims *dims, const ifd_poly *p, ifd_dim *x, ifd_dim *m, int64_t *k) {
  int n_terms = p->n - (number_of(p) != 0);
  if (n_terms != 1 || p->terms[0].n != 1 || p->terms[0].coefficient != 1) return false;
  const ifd_expr *e = ifd_dim_find(dims, p->terms[0].atoms[0]);
  if (!e || e->kind != IFD_EXPR_FLOOR_DIV) return false;
  *x = e->args[0];
  *m = e->args[1];
  *k = number_of(p);
  return true;
}

static ifd_dim divide_rest(ifd_dims *dims, const ifd_poly *rest, ifd_dim b) {
  ifd_dim x, m, a = ifd_poly_dim(dims, rest);
  int64_t k;
  if (b == 1) return a;
  if (is_nested(dims, rest, &x, &m, &k))
    return ifd_dim_floor_div(dims, ifd_dim_add_scaled(dims, x, m, k), ifd_dim_mul(dims, m, b));
  if (ifd_dim_known_at_least(dims, a, 0) && ifd_dim_known_at_least(dims, ifd_dim_sub(dims, b, 1), a))
    return 0;
  return ifd_dim_call(dims, IFD_EXPR_FLOOR_DIV, (ifd_dim[]){a, b}, 2);
}

static ifd_dim divide_by_number(ifd_dims *dims, const ifd_poly *a, int64_t b) {
  ifd_poly quotient, rest;
  bool ok = split_by_number(a, b, &quotient, &rest);
  if (!ok) return ifd_dim_unknown(dims);
  cancel_number(&rest, &b);
  bool turned = turn_sign(&quotient, &rest, b, &ok);
  if (!ok) return ifd_dim_unknown(dims);
  return ifd_dim_add_scaled(dims, ifd_poly_dim(dims, &quotient), divide_rest(dims, &rest, b),
                            turned ? -1 : 1);
}

/* The greatest term that divides every term of p and `common`. */
static void common_factor(const ifd_poly *p, ifd_poly_term *common) {
  for (int i = 0; i < p->n; i++) {
    const ifd_poly_term *t = &p->terms[i];
    ifd_poly_term both = {.coefficient = gcd(common->coefficient, t->coefficient)};
    for (int j = 0, k = 0; j < common->n && k < t->n;)
      if (common->atoms[j] == t->atoms[k])
        both.atoms[both.n++] = t->atoms[k++], j++;
      else if (common->atoms[j] < t->atoms[k])
        j++;
      else
        k++;
    *common = both;
  }
}

static void cancel_common(ifd_poly *p, const ifd_poly_term *common) {
  for (int i = 0; i < p->n; i++) {
    int64_t c = p->terms[i].coefficient / common->coefficient;
    ifd_poly_divide_term(&p->terms[i], &p->terms[i], common);
    p->terms[i].coefficient = c;
  }
}

/* Moves multiples of the one term b from rest to quotient. */
static bool split_by_term(const ifd_poly_term *b, ifd_poly *quotient, ifd_poly *rest) {
  ifd_poly a;
  ifd_poly_copy(&a, rest);
  quotient->n = rest->n = 0;
  for (int i = 0; i < a.n; i++) {
    ifd_poly_term t, r = a.terms[i];
    if (ifd_poly_divide_term(&t, &r, b)) {
      t.coefficient = ifd_floor_div(r.coefficient, b->coefficient);
      r.coefficient = ifd_floor_mod(r.coefficient, b->coefficient);
      if (!ifd_poly_add(quotient, &t)) return false;
    }
    if (!ifd_poly_add(rest, &r)) return false;
  }
  return true;
}

/* By a divisor with symbols, known to be positive. */
static ifd_dim divide_by_poly(ifd_dims *dims, ifd_poly *a, ifd_poly *b) {
  ifd_poly quotient;
  ifd_poly_term common = b->terms[0];
  quotient.n = 0;
  common_factor(b, &common);
  common_factor(a, &common);
  /* a factor that may be negative, such as N - M, still cancels: the quotient is the same rational */
  cancel_common(a, &common);
  cancel_common(b, &common);
  ifd_dim divisor = ifd_poly_dim(dims, b);
  if (common.n || common.coefficient > 1) return ifd_dim_floor_div(dims, ifd_poly_dim(dims, a), divisor);
  if (b->n == 1 && !split_by_term(&b->terms[0], &quotient, a)) return ifd_dim_unknown(dims);
  return ifd_dim_add(dims, ifd_poly_dim(dims, &quotient), a->n ? divide_rest(dims, a, divisor) : 0);
}

ifd_dim ifd_dim_floor_div(ifd_dims *dims, ifd_dim a, ifd_dim b) {
  ifd_poly p, q, exact;
  if (b > 0 && ifd_dim_is_number(a)) return ifd_floor_div(a, b);
  ifd_dim_range r = ifd_dim_range_of(dims, b, 1);
  if (r.low <= 0 && r.high >= 0) return ifd_dim_unknown(dims);
  if (r.high < 0) return ifd_dim_floor_div(dims, ifd_dim_sub(dims, 0, a), ifd_dim_sub(dims, 0, b));
  if (b == 1) return a;
  ifd_poly_of(dims, a, &p);
  ifd_poly_of(dims, b, &q);
  if (ifd_poly_divide(&exact, &p, &q)) return ifd_poly_dim(dims, &exact);
  return ifd_dim_is_number(b) ? divide_by_number(dims, &p, b) : divide_by_poly(dims, &p, &q);
}

ifd_dim ifd_dim_ceil_div(ifd_dims *dims, ifd_dim a, ifd_dim b) {
  if (!ifd_dim_known_positive(dims, b)) /* ceil(a/b) = -floor(-a/b) */
    return ifd_dim_sub(dims, 0, ifd_dim_floor_div(dims, ifd_dim_sub(dims, 0, a), b));
  return ifd_dim_floor_div(dims, ifd_dim_add(dims, a, ifd_dim_sub(dims, b, 1)), b);
}

ifd_dim ifd_dim_mod(ifd_dims *dims, ifd_dim a, ifd_dim b) {
  return ifd_dim_sub(dims, a, ifd_dim_mul(dims, b, ifd_dim_floor_div(dims, a, b)));
}
