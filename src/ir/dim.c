#include "ir/dim.h"

#include <limits.h>
#include <string.h>

#include "base/checked.h"
#include "base/vec.h"
#include "ir/cut_text.h"

/* Limits that keep every operation cheap; what goes over them becomes an unknown. */
enum { MAX_TERMS = 32, MAX_DEGREE = 12, MAX_ARGS = 8, MAX_SIZE = 1000 };

/* Handles: expressions of the table from the bottom, unknowns (which take no memory) in the upper half. */
#define FIRST_EXPR    (INT64_MIN + 1)
#define FIRST_UNKNOWN (INT64_MIN + ((int64_t)1 << 31))

/* coefficient * atoms[0] * atoms[1] …; atoms are handles, ascending, repeated for powers. */
typedef struct term {
  int64_t coefficient; /* never INT64_MIN: it can be negated */
  int64_t n;           /* as wide as the rest, so that terms compare as bytes */
  ifd_dim atoms[MAX_DEGREE];
} term;

/* A sum of terms with different atoms and coefficients other than 0, in the order of compare_terms. */
typedef struct poly {
  int n;
  term terms[MAX_TERMS];
} poly;

typedef enum expr_kind { SYMBOL, FLOOR_DIV, MIN, MAX, POLY } expr_kind; /* all but POLY are atoms */

typedef struct expr {
  expr_kind kind;
  uint64_t hash;
  int size;               /* of the whole tree: bounds recursion */
  const char *name;       /* SYMBOL */
  int n;                  /* arguments or terms */
  ifd_dim args[MAX_ARGS]; /* FLOOR_DIV (a, b), MIN and MAX (ascending) */
  const term *terms;      /* POLY */
} expr;

struct ifd_dims {
  ifd_arena *arena;
  expr **exprs;
  int n, cap;
  int *index; /* open addressing: 1 + position in exprs, 0 is free */
  int index_cap;
  int64_t n_unknown;
};

ifd_dims *ifd_dims_new(ifd_arena *arena) {
  ifd_dims *dims = ifd_new(arena, ifd_dims);
  if (dims) dims->arena = arena;
  return dims;
}

ifd_dim ifd_dim_unknown(ifd_dims *dims) {
  return FIRST_UNKNOWN + (dims->n_unknown++ & (((int64_t)1 << 31) - 1));
}

static const expr *find_expr(const ifd_dims *dims, ifd_dim d) {
  return d < FIRST_UNKNOWN ? dims->exprs[d - FIRST_EXPR] : NULL;
}

ifd_dim ifd_dim_number(ifd_dims *dims, int64_t v) { return ifd_dim_is_number(v) ? v : ifd_dim_unknown(dims); }

/* ---- the table ---- */

static bool same_expr(const expr *a, const expr *b) {
  if (a->hash != b->hash || a->kind != b->kind || a->n != b->n) return false;
  if (a->kind == SYMBOL) return strcmp(a->name, b->name) == 0;
  if (a->kind != POLY) return memcmp(a->args, b->args, (size_t)a->n * sizeof *a->args) == 0;
  return memcmp(a->terms, b->terms, (size_t)a->n * sizeof *a->terms) == 0;
}

static uint64_t hash_expr(const expr *e) {
  uint64_t h = e->kind == SYMBOL ? ifd_hash_bytes(e->name, strlen(e->name))
               : e->kind == POLY ? ifd_hash_bytes(e->terms, (size_t)e->n * sizeof *e->terms)
                                 : ifd_hash_bytes(e->args, (size_t)e->n * sizeof *e->args);
  return ifd_hash_mix(h, (uint64_t)e->kind);
}

/* Where the expression stands in the index, or the free place for it. */
static int *find_place(const ifd_dims *dims, const expr *e) {
  for (uint64_t i = e->hash;; i++) {
    int *place = &dims->index[i & (uint64_t)(dims->index_cap - 1)];
    if (!*place || same_expr(dims->exprs[*place - 1], e)) return place;
  }
}

static bool grow_index(ifd_dims *dims) {
  int cap = dims->index_cap ? dims->index_cap * 2 : 64;
  int *index = ifd_new_array(dims->arena, int, cap);
  if (!index) return false;
  dims->index = index;
  dims->index_cap = cap;
  for (int i = 0; i < dims->n; i++) *find_place(dims, dims->exprs[i]) = i + 1;
  return true;
}

static bool make_room(ifd_dims *dims) {
  if (dims->n > INT_MAX / 4) return false;
  if (dims->n == dims->cap) {
    void *grown = ifd_vec_grow(dims->arena, dims->exprs, dims->n, &dims->cap, sizeof *dims->exprs);
    if (!grown) return false;
    dims->exprs = grown;
  }
  return 4 * (dims->n + 1) <= 3 * dims->index_cap || grow_index(dims);
}

static bool own_payload(ifd_dims *dims, expr *e) {
  if (e->kind == SYMBOL) return (e->name = ifd_arena_strdup(dims->arena, e->name));
  if (e->kind != POLY) return true;
  return (e->terms = ifd_arena_memdup(dims->arena, e->terms, (size_t)e->n * sizeof *e->terms));
}

/* The one handle of an expression; e and what it points to are copied when it is new. */
static ifd_dim intern(ifd_dims *dims, expr *e) {
  e->hash = hash_expr(e);
  if (!make_room(dims)) return ifd_dim_unknown(dims);
  int *place = find_place(dims, e);
  if (!*place) {
    expr *copy = ifd_arena_memdup(dims->arena, e, sizeof *e);
    if (!copy || !own_payload(dims, copy)) return ifd_dim_unknown(dims);
    dims->exprs[dims->n++] = copy;
    *place = dims->n;
  }
  return FIRST_EXPR + *place - 1;
}

ifd_dims *ifd_dims_clone(const ifd_dims *dims, ifd_arena *arena) {
  ifd_dims *copy = ifd_dims_new(arena);
  for (int i = 0; copy && i < dims->n; i++) {
    expr e = *dims->exprs[i];
    if (intern(copy, &e) != FIRST_EXPR + i) return NULL;
  }
  if (copy) copy->n_unknown = dims->n_unknown;
  return copy;
}

ifd_dim ifd_dim_symbol(ifd_dims *dims, const char *name) {
  return intern(dims, &(expr){.kind = SYMBOL, .name = name, .size = 1});
}

static int size_of(const ifd_dims *dims, ifd_dim d) {
  const expr *e = ifd_dim_is_number(d) ? NULL : find_expr(dims, d);
  return e ? e->size : 1;
}

static ifd_dim make_call(ifd_dims *dims, expr_kind kind, const ifd_dim *args, int n) {
  expr e = {.kind = kind, .n = n, .size = 1};
  for (int i = 0; i < n; i++) {
    e.args[i] = args[i];
    e.size += size_of(dims, args[i]);
  }
  return e.size > MAX_SIZE ? ifd_dim_unknown(dims) : intern(dims, &e);
}

/* ---- polynomials ---- */

/* Higher degree first, then by atoms: a monomial order (degree-lexicographic). */
static int compare_terms(const term *a, const term *b) {
  if (a->n != b->n) return b->n - a->n;
  for (int i = 0; i < a->n; i++)
    if (a->atoms[i] != b->atoms[i]) return a->atoms[i] < b->atoms[i] ? -1 : 1;
  return 0;
}

/* p += t; false on overflow of a number or of the limits. */
static bool add_term(poly *p, const term *t) {
  int i = 0;
  while (i < p->n && compare_terms(&p->terms[i], t) < 0) i++;
  if (i < p->n && compare_terms(&p->terms[i], t) == 0) {
    int64_t *c = &p->terms[i].coefficient;
    if (!ifd_add_i64(c, *c, t->coefficient) || *c == INT64_MIN) return false;
    if (!*c) memmove(&p->terms[i], &p->terms[i + 1], (size_t)(--p->n - i) * sizeof *p->terms);
    return true;
  }
  if (!t->coefficient) return true;
  if (p->n == MAX_TERMS) return false;
  memmove(&p->terms[i + 1], &p->terms[i], (size_t)(p->n++ - i) * sizeof *p->terms);
  p->terms[i] = *t;
  return true;
}

static bool add_number(poly *p, int64_t v) { return add_term(p, &(term){.coefficient = v}); }

static bool multiply_terms(term *out, const term *a, const term *b) {
  if (a->n + b->n > MAX_DEGREE) return false;
  term t = {.n = a->n + b->n};
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

/* Quotient of the atoms of a by those of b, when there is one; the coefficient is 1. */
static bool divide_atoms(term *out, const term *a, const term *b) {
  term t = {.coefficient = 1};
  int j = 0;
  for (int i = 0; i < a->n; i++)
    if (j < b->n && a->atoms[i] == b->atoms[j])
      j++;
    else
      t.atoms[t.n++] = a->atoms[i];
  *out = t;
  return j == b->n;
}

/* p += factor * q. */
static bool add_product(poly *p, const poly *q, const term *factor) {
  for (int i = 0; i < q->n; i++) {
    term t;
    if (!multiply_terms(&t, &q->terms[i], factor) || !add_term(p, &t)) return false;
  }
  return true;
}

static void to_poly(const ifd_dims *dims, ifd_dim d, poly *out) {
  const expr *e = ifd_dim_is_number(d) ? NULL : find_expr(dims, d);
  out->n = 0;
  if (e && e->kind == POLY) {
    out->n = e->n;
    memcpy(out->terms, e->terms, (size_t)e->n * sizeof *e->terms);
  } else if (d) {
    out->n = 1;
    out->terms[0] = (term){.coefficient = 1};
    if (ifd_dim_is_number(d))
      out->terms[0].coefficient = d;
    else
      out->terms[0].atoms[out->terms[0].n++] = d;
  }
}

static ifd_dim from_poly(ifd_dims *dims, const poly *p) {
  const term *first = p->terms;
  if (!p->n) return 0;
  if (p->n == 1 && first->n == 0) return ifd_dim_number(dims, first->coefficient);
  if (p->n == 1 && first->n == 1 && first->coefficient == 1) return first->atoms[0];
  expr e = {.kind = POLY, .n = p->n, .terms = p->terms, .size = 1};
  for (int i = 0; i < p->n; i++)
    for (int j = 0; j < p->terms[i].n; j++) e.size += size_of(dims, p->terms[i].atoms[j]);
  return e.size > MAX_SIZE ? ifd_dim_unknown(dims) : intern(dims, &e);
}

/* a + factor * b */
static ifd_dim add_scaled(ifd_dims *dims, ifd_dim a, ifd_dim b, int64_t factor) {
  poly p, q;
  to_poly(dims, a, &p);
  to_poly(dims, b, &q);
  return add_product(&p, &q, &(term){.coefficient = factor}) ? from_poly(dims, &p) : ifd_dim_unknown(dims);
}

ifd_dim ifd_dim_add(ifd_dims *dims, ifd_dim a, ifd_dim b) { return add_scaled(dims, a, b, 1); }
ifd_dim ifd_dim_sub(ifd_dims *dims, ifd_dim a, ifd_dim b) { return add_scaled(dims, a, b, -1); }

ifd_dim ifd_dim_mul(ifd_dims *dims, ifd_dim a, ifd_dim b) {
  poly p, q, product = {0};
  to_poly(dims, a, &p);
  to_poly(dims, b, &q);
  for (int i = 0; i < q.n; i++)
    if (!add_product(&product, &p, &q.terms[i])) return ifd_dim_unknown(dims);
  return from_poly(dims, &product);
}

/* Long division: exact when the leading term of b divides that of the remainder at each step, which in a
 * monomial order decides it. Steps are bounded: each must lower the leading term. */
static bool divide_exactly(poly *quotient, const poly *a, const poly *b) {
  poly rest = *a;
  quotient->n = 0;
  if (!b->n) return false;
  while (rest.n) {
    const term *top = &rest.terms[0];
    term t;
    if (!divide_atoms(&t, top, &b->terms[0]) || top->coefficient % b->terms[0].coefficient) return false;
    t.coefficient = top->coefficient / b->terms[0].coefficient;
    if (!add_term(quotient, &t)) return false;
    t.coefficient = -t.coefficient;
    if (!add_product(&rest, b, &t)) return false;
  }
  return true;
}

bool ifd_dim_divides(ifd_dims *dims, ifd_dim a, ifd_dim b, ifd_dim *out) {
  poly p, q, quotient;
  to_poly(dims, a, &p);
  to_poly(dims, b, &q);
  if (!divide_exactly(&quotient, &p, &q)) return false;
  *out = from_poly(dims, &quotient);
  return true;
}

/* ---- bounds ---- */

/* All values lie in [low, high]; beyond ±UNBOUNDED nothing is known. */
#define UNBOUNDED ((int64_t)1 << 62)
typedef struct range {
  int64_t low, high;
} range;

static int64_t clamp(__int128 v) {
  return v > UNBOUNDED ? UNBOUNDED : v < -UNBOUNDED ? -UNBOUNDED : (int64_t)v;
}

static int64_t floor_div(int64_t a, int64_t b) {
  int64_t q = a / b;
  return q - (a % b != 0 && (a < 0) != (b < 0));
}

static int64_t floor_mod(int64_t a, int64_t b) {
  int64_t r = a % b;
  return r != 0 && (r < 0) != (b < 0) ? r + b : r;
}

static range add_ranges(range a, range b) {
  range r = {clamp((__int128)a.low + b.low), clamp((__int128)a.high + b.high)};
  if (a.low == -UNBOUNDED || b.low == -UNBOUNDED) r.low = -UNBOUNDED;
  if (a.high == UNBOUNDED || b.high == UNBOUNDED) r.high = UNBOUNDED;
  return r;
}

static range multiply_ranges(range a, range b) {
  __int128 corner[] = {(__int128)a.low * b.low, (__int128)a.low * b.high, (__int128)a.high * b.low,
                       (__int128)a.high * b.high};
  range r = {clamp(corner[0]), clamp(corner[0])};
  for (int i = 1; i < 4; i++) {
    r.low = ifd_min_i64(r.low, clamp(corner[i]));
    r.high = ifd_max_i64(r.high, clamp(corner[i]));
  }
  return r;
}

/* b >= 1 */
static range divide_ranges(range a, range b) {
  range r = {ifd_min_i64(a.low, 0), ifd_max_i64(a.high, 0)};
  if (b.low != b.high || b.low == UNBOUNDED) return r;
  if (a.low > -UNBOUNDED) r.low = floor_div(a.low, b.low);
  if (a.high < UNBOUNDED) r.high = floor_div(a.high, b.low);
  return r;
}

static range range_of(const ifd_dims *dims, ifd_dim d, int64_t least);

static range range_of_terms(const ifd_dims *dims, const term *terms, int n, int64_t least) {
  range sum = {0, 0};
  for (int i = 0; i < n; i++) {
    range product = {clamp(terms[i].coefficient), clamp(terms[i].coefficient)};
    for (int j = 0; j < terms[i].n; j++)
      product = multiply_ranges(product, range_of(dims, terms[i].atoms[j], least));
    sum = add_ranges(sum, product);
  }
  return sum;
}

/* When all symbols are at least `least`. */
static range range_of(const ifd_dims *dims, ifd_dim d, int64_t least) {
  range unknown = {-UNBOUNDED, UNBOUNDED};
  if (ifd_dim_is_number(d)) return (range){clamp(d), clamp(d)};
  const expr *e = find_expr(dims, d);
  if (!e) return unknown;
  if (e->kind == SYMBOL) return (range){least, UNBOUNDED};
  if (e->kind == POLY) return range_of_terms(dims, e->terms, e->n, least);
  range r = range_of(dims, e->args[0], least);
  for (int i = 1; i < e->n; i++) {
    range s = range_of(dims, e->args[i], least);
    if (e->kind == MIN) r = (range){ifd_min_i64(r.low, s.low), ifd_min_i64(r.high, s.high)};
    if (e->kind == MAX) r = (range){ifd_max_i64(r.low, s.low), ifd_max_i64(r.high, s.high)};
    if (e->kind == FLOOR_DIV) r = s.low >= 1 ? divide_ranges(r, s) : unknown;
  }
  return r;
}

bool ifd_dim_known_positive(const ifd_dims *dims, ifd_dim d) { return range_of(dims, d, 1).low > 0; }

/* a >= b whatever the free dimensions, 0 included. */
static bool known_at_least(ifd_dims *dims, ifd_dim a, ifd_dim b) {
  poly p, q;
  to_poly(dims, a, &p);
  to_poly(dims, b, &q);
  return add_product(&p, &q, &(term){.coefficient = -1}) && range_of_terms(dims, p.terms, p.n, 0).low >= 0;
}

/* ---- division ---- */

static int64_t gcd(int64_t a, int64_t b) {
  while (b) {
    int64_t t = a % b;
    a = b;
    b = t;
  }
  return a < 0 ? -a : a;
}

static int64_t number_of(const poly *p) {
  return p->n && !p->terms[p->n - 1].n ? p->terms[p->n - 1].coefficient : 0;
}

/* a = b * quotient + rest, coefficients of rest in [0, b). Fails only on overflow. */
static bool split_by_number(const poly *a, int64_t b, poly *quotient, poly *rest) {
  quotient->n = rest->n = 0;
  for (int i = 0; i < a->n; i++) {
    term t = a->terms[i], r = t;
    t.coefficient = floor_div(t.coefficient, b);
    r.coefficient = floor_mod(r.coefficient, b);
    if (!add_term(quotient, &t) || !add_term(rest, &r)) return false;
  }
  return true;
}

/* floor(rest / b) with common factors gone: floor((g*x + k) / (g*b)) = floor((x + floor(k/g)) / b). */
static void cancel_number(poly *rest, int64_t *b) {
  int64_t g = *b;
  poly reduced = {0};
  for (int i = 0; i < rest->n; i++)
    if (rest->terms[i].n) g = gcd(g, rest->terms[i].coefficient);
  for (int i = 0; i < rest->n; i++) {
    term t = rest->terms[i];
    t.coefficient = floor_div(t.coefficient, g);
    if (t.coefficient) reduced.terms[reduced.n++] = t;
  }
  *rest = reduced;
  *b /= g;
}

/* floor(r / b) = -floor((b - 1 - r) / b): of the two the one whose first coefficient is the smaller residue.
 * Moves whole parts to quotient; true when the sign was turned. */
static bool turn_sign(poly *quotient, poly *rest, int64_t b, bool *ok) {
  int64_t k = number_of(rest);
  if (!rest->n || rest->terms[0].coefficient <= b - rest->terms[0].coefficient) return false;
  poly turned = {0};
  for (int i = 0; i < rest->n && rest->terms[i].n; i++) {
    term whole = rest->terms[i];
    whole.coefficient = 1;
    *ok = *ok && add_term(quotient, &whole);
    turned.terms[turned.n] = rest->terms[i];
    turned.terms[turned.n++].coefficient = b - rest->terms[i].coefficient;
  }
  *ok = *ok && add_number(&turned, b - 1 - k);
  *rest = turned;
  return true;
}

/* floor((floor(x / m) + k) / b) = floor((x + k*m) / (m*b)) for m, b >= 1: the numerator x + k*m and m, when
 * `p` has this form. */
static bool is_nested(const ifd_dims *dims, const poly *p, ifd_dim *x, ifd_dim *m, int64_t *k) {
  int n_terms = p->n - (number_of(p) != 0);
  if (n_terms != 1 || p->terms[0].n != 1 || p->terms[0].coefficient != 1) return false;
  const expr *e = find_expr(dims, p->terms[0].atoms[0]);
  if (!e || e->kind != FLOOR_DIV) return false;
  *x = e->args[0];
  *m = e->args[1];
  *k = number_of(p);
  return true;
}

static ifd_dim divide_rest(ifd_dims *dims, const poly *rest, ifd_dim b) {
  ifd_dim x, m, a = from_poly(dims, rest);
  int64_t k;
  if (b == 1) return a;
  if (is_nested(dims, rest, &x, &m, &k))
    return ifd_dim_floor_div(dims, add_scaled(dims, x, m, k), ifd_dim_mul(dims, m, b));
  if (known_at_least(dims, a, 0) && known_at_least(dims, ifd_dim_sub(dims, b, 1), a)) return 0;
  return make_call(dims, FLOOR_DIV, (ifd_dim[]){a, b}, 2);
}

static ifd_dim divide_by_number(ifd_dims *dims, const poly *a, int64_t b) {
  poly quotient, rest;
  bool ok = split_by_number(a, b, &quotient, &rest);
  if (!ok) return ifd_dim_unknown(dims);
  cancel_number(&rest, &b);
  bool turned = turn_sign(&quotient, &rest, b, &ok);
  if (!ok) return ifd_dim_unknown(dims);
  return add_scaled(dims, from_poly(dims, &quotient), divide_rest(dims, &rest, b), turned ? -1 : 1);
}

/* The greatest term that divides every term of p and `common`. */
static void common_factor(const poly *p, term *common) {
  for (int i = 0; i < p->n; i++) {
    const term *t = &p->terms[i];
    term both = {.coefficient = gcd(common->coefficient, t->coefficient)};
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

static void cancel_common(poly *p, const term *common) {
  for (int i = 0; i < p->n; i++) {
    int64_t c = p->terms[i].coefficient / common->coefficient;
    divide_atoms(&p->terms[i], &p->terms[i], common);
    p->terms[i].coefficient = c;
  }
}

/* Moves multiples of the one term b from rest to quotient. */
static bool split_by_term(const term *b, poly *quotient, poly *rest) {
  poly a = *rest;
  quotient->n = rest->n = 0;
  for (int i = 0; i < a.n; i++) {
    term t, r = a.terms[i];
    if (divide_atoms(&t, &r, b)) {
      t.coefficient = floor_div(r.coefficient, b->coefficient);
      r.coefficient = floor_mod(r.coefficient, b->coefficient);
      if (!add_term(quotient, &t)) return false;
    }
    if (!add_term(rest, &r)) return false;
  }
  return true;
}

/* By a divisor with symbols, known to be positive. */
static ifd_dim divide_by_poly(ifd_dims *dims, poly *a, poly *b) {
  poly quotient = {0};
  term common = b->terms[0];
  common_factor(b, &common);
  common_factor(a, &common);
  /* a factor that may be negative, such as N - M, still cancels: the quotient is the same rational */
  cancel_common(a, &common);
  cancel_common(b, &common);
  ifd_dim divisor = from_poly(dims, b);
  if (common.n || common.coefficient > 1) return ifd_dim_floor_div(dims, from_poly(dims, a), divisor);
  if (b->n == 1 && !split_by_term(&b->terms[0], &quotient, a)) return ifd_dim_unknown(dims);
  return ifd_dim_add(dims, from_poly(dims, &quotient), a->n ? divide_rest(dims, a, divisor) : 0);
}

ifd_dim ifd_dim_floor_div(ifd_dims *dims, ifd_dim a, ifd_dim b) {
  poly p, q, exact;
  range r = range_of(dims, b, 1);
  if (r.low <= 0 && r.high >= 0) return ifd_dim_unknown(dims);
  if (r.high < 0) return ifd_dim_floor_div(dims, ifd_dim_sub(dims, 0, a), ifd_dim_sub(dims, 0, b));
  if (b == 1) return a;
  to_poly(dims, a, &p);
  to_poly(dims, b, &q);
  if (divide_exactly(&exact, &p, &q)) return from_poly(dims, &exact);
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

/* ---- min and max ---- */

typedef struct arg_list {
  expr_kind kind;
  int n;
  ifd_dim v[2 * MAX_ARGS];
} arg_list;

/* x makes y needless in a max (or min). */
static bool covers(ifd_dims *dims, expr_kind kind, ifd_dim x, ifd_dim y) {
  return kind == MAX ? known_at_least(dims, x, y) : known_at_least(dims, y, x);
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
  const expr *e = ifd_dim_is_number(d) ? NULL : find_expr(dims, d);
  if (!e || e->kind != list->kind) {
    push_arg(dims, list, d);
    return;
  }
  for (int i = 0; i < e->n; i++) push_arg(dims, list, e->args[i]);
}

static ifd_dim min_max(ifd_dims *dims, expr_kind kind, ifd_dim a, ifd_dim b) {
  arg_list list = {.kind = kind};
  push_args(dims, &list, a);
  push_args(dims, &list, b);
  if (list.n == 1) return list.v[0];
  return list.n > MAX_ARGS ? ifd_dim_unknown(dims) : make_call(dims, kind, list.v, list.n);
}

ifd_dim ifd_dim_min(ifd_dims *dims, ifd_dim a, ifd_dim b) { return min_max(dims, MIN, a, b); }
ifd_dim ifd_dim_max(ifd_dims *dims, ifd_dim a, ifd_dim b) { return min_max(dims, MAX, a, b); }

/* ---- evaluation ---- */

static bool eval_terms(const ifd_dims *dims, const expr *e, const ifd_binding *binding, int64_t *out) {
  int64_t sum = 0;
  for (int i = 0; i < e->n; i++) {
    int64_t product = e->terms[i].coefficient, v;
    for (int j = 0; j < e->terms[i].n; j++)
      if (!ifd_dim_eval(dims, e->terms[i].atoms[j], binding, &v) || !ifd_mul_i64(&product, product, v))
        return false;
    if (!ifd_add_i64(&sum, sum, product)) return false;
  }
  *out = sum;
  return true;
}

static bool eval_call(const ifd_dims *dims, const expr *e, const ifd_binding *binding, int64_t *out) {
  int64_t v;
  if (!ifd_dim_eval(dims, e->args[0], binding, out)) return false;
  for (int i = 1; i < e->n; i++) {
    if (!ifd_dim_eval(dims, e->args[i], binding, &v)) return false;
    if (e->kind == FLOOR_DIV) {
      if (v == 0 || (v == -1 && *out == INT64_MIN)) return false;
      *out = floor_div(*out, v);
    } else {
      *out = e->kind == MIN ? ifd_min_i64(*out, v) : ifd_max_i64(*out, v);
    }
  }
  return true;
}

bool ifd_dim_eval(const ifd_dims *dims, ifd_dim d, const ifd_binding *binding, int64_t *out) {
  if (ifd_dim_is_number(d)) {
    *out = d;
    return true;
  }
  const expr *e = find_expr(dims, d);
  if (!e) return false;
  if (e->kind == POLY) return eval_terms(dims, e, binding, out);
  if (e->kind != SYMBOL) return eval_call(dims, e, binding, out);
  const int64_t *bound = ifd_map_find(&binding->map, e->name);
  if (bound) *out = *bound;
  return bound;
}

const char *ifd_dim_name(const ifd_dims *dims, ifd_dim d) {
  const expr *e = ifd_dim_is_number(d) ? NULL : find_expr(dims, d);
  return e && e->kind == SYMBOL ? e->name : NULL;
}

/* ---- text ---- */

static void put_dim(ifd_cut_text *t, const ifd_dims *dims, ifd_dim d);

static void put_terms(ifd_cut_text *t, const ifd_dims *dims, const expr *e) {
  for (int i = 0; i < e->n; i++) {
    const term *m = &e->terms[i];
    bool minus = m->coefficient < 0;
    uint64_t size = minus ? 0 - (uint64_t)m->coefficient : (uint64_t)m->coefficient;
    ifd_cut_text_put(t, "%s", i == 0 ? (minus ? "-" : "") : (minus ? " - " : " + "));
    for (int j = 0; j < m->n; j++) {
      if (j) ifd_cut_text_put(t, "*");
      put_dim(t, dims, m->atoms[j]);
    }
    if (!m->n || size != 1) ifd_cut_text_put(t, "%s%llu", m->n ? "*" : "", (unsigned long long)size);
  }
}

static void put_operand(ifd_cut_text *t, const ifd_dims *dims, ifd_dim d) {
  const expr *e = ifd_dim_is_number(d) ? NULL : find_expr(dims, d);
  bool sum = e && e->kind == POLY;
  ifd_cut_text_put(t, "%s", sum ? "(" : "");
  put_dim(t, dims, d);
  ifd_cut_text_put(t, "%s", sum ? ")" : "");
}

static void put_call(ifd_cut_text *t, const ifd_dims *dims, const expr *e) {
  if (e->kind == FLOOR_DIV) {
    ifd_cut_text_put(t, "floor(");
    put_operand(t, dims, e->args[0]);
    ifd_cut_text_put(t, "/");
    put_operand(t, dims, e->args[1]);
  } else {
    ifd_cut_text_put(t, e->kind == MIN ? "min(" : "max(");
    for (int i = 0; i < e->n; i++) {
      if (i) ifd_cut_text_put(t, ", ");
      put_dim(t, dims, e->args[i]);
    }
  }
  ifd_cut_text_put(t, ")");
}

static void put_dim(ifd_cut_text *t, const ifd_dims *dims, ifd_dim d) {
  const expr *e = ifd_dim_is_number(d) ? NULL : find_expr(dims, d);
  if (ifd_dim_is_number(d))
    ifd_cut_text_put(t, "%lld", (long long)d);
  else if (!e)
    ifd_cut_text_put(t, "?");
  else if (e->kind == SYMBOL)
    ifd_cut_text_put(t, "%s", e->name);
  else if (e->kind == POLY)
    put_terms(t, dims, e);
  else
    put_call(t, dims, e);
}

const char *ifd_dim_text(const ifd_dims *dims, ifd_dim d, char *text, size_t n) {
  ifd_cut_text t = ifd_cut_text_begin(text, n);
  put_dim(&t, dims, d);
  return text;
}
