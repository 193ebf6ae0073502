#include <limits.h>
#include <string.h>

#include "base/checked.h"
#include "base/vec.h"
#include "ir/dim_priv.h"

/* Handles: expressions of the table from the bottom, unknowns (which take no memory) in the upper half. */
#define FIRST_EXPR    (INT64_MIN + 1)
#define FIRST_UNKNOWN (INT64_MIN + ((int64_t)1 << 31))

struct ifd_dims {
  ifd_arena *arena;
  ifd_expr **exprs;
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

const ifd_expr *ifd_dim_find(const ifd_dims *dims, ifd_dim d) {
  return d < FIRST_UNKNOWN ? dims->exprs[d - FIRST_EXPR] : NULL;
}

ifd_dim ifd_dim_number(ifd_dims *dims, int64_t v) { return ifd_dim_is_number(v) ? v : ifd_dim_unknown(dims); }

/* ---- the table ---- */

static bool same_expr(const ifd_expr *a, const ifd_expr *b) {
  if (a->hash != b->hash || a->kind != b->kind || a->n != b->n) return false;
  if (a->kind == IFD_EXPR_SYMBOL) return strcmp(a->name, b->name) == 0;
  if (a->kind != IFD_EXPR_POLY) return memcmp(a->args, b->args, (size_t)a->n * sizeof *a->args) == 0;
  return memcmp(a->terms, b->terms, (size_t)a->n * sizeof *a->terms) == 0;
}

static uint64_t hash_expr(const ifd_expr *e) {
  uint64_t h = e->kind == IFD_EXPR_SYMBOL ? ifd_hash_bytes(e->name, strlen(e->name))
               : e->kind == IFD_EXPR_POLY ? ifd_hash_bytes(e->terms, (size_t)e->n * sizeof *e->terms)
                                          : ifd_hash_bytes(e->args, (size_t)e->n * sizeof *e->args);
  return ifd_hash_mix(h, (uint64_t)e->kind);
}

/* Where the expression stands in the index, or the free place for it. */
static int *find_place(const ifd_dims *dims, const ifd_expr *e) {
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

static bool own_payload(ifd_dims *dims, ifd_expr *e) {
  if (e->kind == IFD_EXPR_SYMBOL) return (e->name = ifd_arena_strdup(dims->arena, e->name));
  if (e->kind != IFD_EXPR_POLY) return true;
  return (e->terms = ifd_arena_memdup(dims->arena, e->terms, (size_t)e->n * sizeof *e->terms));
}

ifd_dim ifd_dim_intern(ifd_dims *dims, ifd_expr *e) {
  e->hash = hash_expr(e);
  if (!make_room(dims)) return ifd_dim_unknown(dims);
  int *place = find_place(dims, e);
  if (!*place) {
    ifd_expr *copy = ifd_arena_memdup(dims->arena, e, sizeof *e);
    if (!copy || !own_payload(dims, copy)) return ifd_dim_unknown(dims);
    dims->exprs[dims->n++] = copy;
    *place = dims->n;
  }
  return FIRST_EXPR + *place - 1;
}

ifd_dims *ifd_dims_clone(const ifd_dims *dims, ifd_arena *arena) {
  ifd_dims *copy = ifd_dims_new(arena);
  for (int i = 0; copy && i < dims->n; i++) {
    ifd_expr e = *dims->exprs[i];
    if (ifd_dim_intern(copy, &e) != FIRST_EXPR + i) return NULL;
  }
  if (copy) copy->n_unknown = dims->n_unknown;
  return copy;
}

ifd_dim ifd_dim_symbol(ifd_dims *dims, const char *name) {
  return ifd_dim_intern(dims, &(ifd_expr){.kind = IFD_EXPR_SYMBOL, .name = name, .size = 1});
}

int ifd_dim_size(const ifd_dims *dims, ifd_dim d) {
  const ifd_expr *e = ifd_dim_find(dims, d);
  return e ? e->size : 1;
}

ifd_dim ifd_dim_call(ifd_dims *dims, ifd_expr_kind kind, const ifd_dim *args, int n) {
  ifd_expr e = {.kind = kind, .n = n, .size = 1};
  for (int i = 0; i < n; i++) {
    e.args[i] = args[i];
    e.size += ifd_dim_size(dims, args[i]);
  }
  return e.size > IFD_DIM_MAX_SIZE ? ifd_dim_unknown(dims) : ifd_dim_intern(dims, &e);
}
/* ---- evaluation ---- */

static bool eval_terms(const ifd_dims *dims, const ifd_expr *e, const ifd_binding *binding, int64_t *out) {
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

static bool eval_call(const ifd_dims *dims, const ifd_expr *e, const ifd_binding *binding, int64_t *out) {
  int64_t v;
  if (!ifd_dim_eval(dims, e->args[0], binding, out)) return false;
  for (int i = 1; i < e->n; i++) {
    if (!ifd_dim_eval(dims, e->args[i], binding, &v)) return false;
    if (e->kind == IFD_EXPR_FLOOR_DIV) {
      if (v == 0 || (v == -1 && *out == INT64_MIN)) return false;
      *out = ifd_floor_div(*out, v);
    } else {
      *out = e->kind == IFD_EXPR_MIN ? ifd_min_i64(*out, v) : ifd_max_i64(*out, v);
    }
  }
  return true;
}

bool ifd_dim_eval(const ifd_dims *dims, ifd_dim d, const ifd_binding *binding, int64_t *out) {
  if (ifd_dim_is_number(d)) {
    *out = d;
    return true;
  }
  const ifd_expr *e = ifd_dim_find(dims, d);
  if (!e) return false;
  if (e->kind == IFD_EXPR_POLY) return eval_terms(dims, e, binding, out);
  if (e->kind != IFD_EXPR_SYMBOL) return eval_call(dims, e, binding, out);
  const int64_t *bound = ifd_map_find(&binding->map, e->name);
  if (bound) *out = *bound;
  return bound;
}
