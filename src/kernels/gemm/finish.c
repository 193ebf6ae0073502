#include "kernels/epilogue.h"

IFD_INLINE v16 join(ifd_k_join how, v16 v, v16 other) {
  return how == IFD_K_JOIN_MUL_ACT ? v16_mul(v, other) : v16_add(v, other);
}

/* One activation; `act` is a constant where this is inlined. Stores cannot change copies, so that these stay
 * in registers. */
IFD_INLINE void finish(const ifd_k_act act, const ifd_k_epilogue *epilogue, const ifd_k_tile *tile) {
  const ifd_k_epilogue copied = *epilogue, *e = &copied;
  const ifd_k_tile copy = *tile, *t = &copy;
  const v16 scale = v16_set1(e->scale);
  for (int64_t j = 0; j < t->n_cols; j += 16) {
    int n = t->n_cols - j < 16 ? (int)(t->n_cols - j) : 16;
    v16 bias = t->bias ? v16_load_n(t->bias + j, n) : v16_zero();
    const m16 given = m16_first(n);
    const int from = j == 0 ? (int)t->skip : 0, end = t->fill ? 16 : n;
    bool whole = n == 16 && from == 0;
    for (int64_t i = 0; i < t->n_rows; i++) {
      const float *sums = t->sums + i * t->sums_rs + j / 16 * t->sums_vs;
      v16 v = n == 16 ? v16_load(sums) : v16_load_n(sums, n);
      v16 other = t->other ? v16_load_n(t->other + i * t->other_rs + j / 16 * t->other_vs, n) : v16_zero();
      v = v16_mul(v, scale);
      if (e->rounds_sums) v = v16_rounded(e->rounding, v);
      v = v16_add(v, bias);
      if (t->row_bias) v = v16_add(v, v16_set1(t->row_bias[i]));
      v = v16_rounded(e->rounding, v);
      if (e->join == IFD_K_JOIN_ADD) v = v16_rounded(e->rounding, v16_add(v, other));
      if (act) v = v16_rounded(e->rounding, v16_activate(act, v, e->p));
      if (e->join > IFD_K_JOIN_ADD) v = v16_rounded(e->rounding, join(e->join, v, other));
      float *y = t->y + i * t->y_rs + j / 16 * t->y_vs;
      if (whole)
        v16_store(y, v);
      else
        v16_store_range(y, v16_select(given, v, v16_zero()), from, end);
    }
  }
}

void IFD_K(ifd_k_finish)(const ifd_k_epilogue *e, const ifd_k_tile *t) {
#define X(name, text, value)                                                                                 \
  case IFD_K_ACT_##name: finish(IFD_K_ACT_##name, e, t); break;
  switch (e->act) {
    IFD_K_ACT_LIST(X)
  default: break;
  }
#undef X
}

IFD_INLINE void activate(const ifd_k_act act, const float *parameters, float *y, int64_t apart, int64_t n,
                         int from, int end) {
  const float p[2] = {parameters[0], parameters[1]};
  const m16 lanes = m16_andnot(m16_first(end), m16_first(from));
  if (from == 0 && end == 16)
    for (int64_t i = 0; i < n; i++) v16_store(y + i * apart, v16_activate(act, v16_load(y + i * apart), p));
  else
    for (int64_t i = 0; i < n; i++, y += apart)
      v16_store_range(y, v16_activate(act, v16_load_lanes(y, lanes), p), from, end);
}

static void activate_by(ifd_k_act act, const float *p, float *y, int64_t apart, int64_t n, int from,
                        int end) {
#define X(name, text, value)                                                                                 \
  case IFD_K_ACT_##name: activate(IFD_K_ACT_##name, p, y, apart, n, from, end); break;
  switch (act) {
    IFD_K_ACT_LIST(X)
  default: break;
  }
#undef X
}

void IFD_K(ifd_k_activate)(const ifd_k_after *a, float *y, int64_t apart, int64_t n, int from, int end) {
  if (a->rounding) activate_by(a->rounding, a->p, y, apart, n, from, end);
  if (!a->act) return;
  activate_by(a->act, a->p, y, apart, n, from, end);
  if (a->rounding) activate_by(a->rounding, a->p, y, apart, n, from, end);
}
