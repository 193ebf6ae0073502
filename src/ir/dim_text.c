#include "ir/cut_text.h"
#include "ir/dim_priv.h"

const char *ifd_dim_name(const ifd_dims *dims, ifd_dim d) {
  const ifd_expr *e = ifd_dim_find(dims, d);
  return e && e->kind == IFD_EXPR_SYMBOL ? e->name : NULL;
}
static void put_dim(ifd_cut_text *t, const ifd_dims *dims, ifd_dim d);

static void put_terms(ifd_cut_text *t, const ifd_dims *dims, const ifd_expr *e) {
  for (int i = 0; i < e->n; i++) {
    const ifd_poly_term *m = &e->terms[i];
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
  const ifd_expr *e = ifd_dim_find(dims, d);
  bool sum = e && e->kind == IFD_EXPR_POLY;
  ifd_cut_text_put(t, "%s", sum ? "(" : "");
  put_dim(t, dims, d);
  ifd_cut_text_put(t, "%s", sum ? ")" : "");
}

static void put_call(ifd_cut_text *t, const ifd_dims *dims, const ifd_expr *e) {
  if (e->kind == IFD_EXPR_FLOOR_DIV) {
    ifd_cut_text_put(t, "floor(");
    put_operand(t, dims, e->args[0]);
    ifd_cut_text_put(t, "/");
    put_operand(t, dims, e->args[1]);
  } else {
    ifd_cut_text_put(t, e->kind == IFD_EXPR_MIN ? "min(" : "max(");
    for (int i = 0; i < e->n; i++) {
      if (i) ifd_cut_text_put(t, ", ");
      put_dim(t, dims, e->args[i]);
    }
  }
  ifd_cut_text_put(t, ")");
}

static void put_dim(ifd_cut_text *t, const ifd_dims *dims, ifd_dim d) {
  const ifd_expr *e = ifd_dim_find(dims, d);
  if (ifd_dim_is_number(d))
    ifd_cut_text_put(t, "%lld", (long long)d);
  else if (!e)
    ifd_cut_text_put(t, "?");
  else if (e->kind == IFD_EXPR_SYMBOL)
    ifd_cut_text_put(t, "%s", e->name);
  else if (e->kind == IFD_EXPR_POLY)
    put_terms(t, dims, e);
  else
    put_call(t, dims, e);
}

const char *ifd_dim_text(const ifd_dims *dims, ifd_dim d, char *text, size_t n) {
  ifd_cut_text t = ifd_cut_text_begin(text, n);
  put_dim(&t, dims, d);
  return text;
}
