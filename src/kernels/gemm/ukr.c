#include "kernels/gemm/ukr.h"
#include "kernels/part.h"

#define UNROLL_     _Pragma("GCC unroll 16")
#define EACH_ROW    UNROLL_ for (int i = 0; i < M; i++)
#define EACH_VECTOR UNROLL_ for (int v = 0; v < NV; v++)

/* A vector of B, in a register where all fit; else it may be better read again for each row. Without AVX-512,
 * GCC would copy sums between registers, and keep some in memory, if it chose among the forms of an fma. */
#if defined(IFD_ISA_avx512)
IFD_INLINE v16 load_b(const float *b) { return v16_keep(v16_load(b)); }
IFD_INLINE void add_product(v16 *sum, v16 a, v16 b) { v16_add_product(sum, a, b); }
#elif defined(IFD_ISA_avx2)
IFD_INLINE v16 load_b(const float *b) {
  v16 v = v16_load(b);
  __asm__("" : "+x"(v.l));
  __asm__("" : "+x"(v.h));
  return v;
}
IFD_INLINE void add_product(v16 *sum, v16 a, v16 b) {
  __asm__("vfmadd231ps %2, %1, %0" : "+x"(sum->l) : "x"(a.l), "x"(b.l));
  __asm__("vfmadd231ps %2, %1, %0" : "+x"(sum->h) : "x"(a.h), "x"(b.h));
}
#else
IFD_INLINE v16 load_b(const float *b) { return v16_load(b); }
IFD_INLINE void add_product(v16 *sum, v16 a, v16 b) { v16_add_product(sum, a, b); }
#endif

/* M and NV are constants wherever this is inlined: the sums then live in registers. */
IFD_INLINE void step(const int M, const int NV, v16 sum[][IFD_UKR_MAX_VECTORS], const float *a,
                     const float *b, int64_t b_vs) {
  v16 bv[IFD_UKR_MAX_VECTORS];
  EACH_VECTOR bv[v] = load_b(b + v * b_vs);
  EACH_ROW {
    v16 av = v16_set1(a[i * 16]);
    if (NV == 1 && IFD_PART == 16) /* the broadcast is the instruction's own */
      sum[i][0] = v16_fma(av, bv[0], sum[i][0]);
    else
      EACH_VECTOR add_product(&sum[i][v], av, bv[v]);
  }
}

/* Lanes [from, end) of vector v of a tile. What nobody stores the compiler leaves out, sums and all. */
IFD_INLINE void store_range(const int NV, const ifd_ukr_edge edge, int v, float *to, v16 y, int from,
                            int end) {
  if (edge == IFD_UKR_HIGH_FIRST && v == 0) {
    part_store_range(to + IFD_PART, part_of(y, 1), from - IFD_PART, end - IFD_PART);
  } else if (edge == IFD_UKR_LOW_LAST && v == NV - 1) {
    part_store_range(to, y, from, end < IFD_PART ? end : IFD_PART);
    if (end > IFD_PART) part_store(to + IFD_PART, v16_zero());
  } else
    v16_store_range(to, y, from, end);
}

/* The same of all its lanes; what the edge leaves out stays as it is. */
IFD_INLINE void store(const int NV, const ifd_ukr_edge edge, int v, float *to, v16 y) {
  if (edge == IFD_UKR_HIGH_FIRST && v == 0)
    part_store(to + IFD_PART, part_of(y, 1));
  else if (edge == IFD_UKR_LOW_LAST && v == NV - 1)
    part_store(to, y);
  else
    v16_store(to, y);
}

IFD_INLINE v16 clip(v16 v, const ifd_ukr_args *t) {
  return v16_min(v16_set1(t->hi), v16_max(v16_set1(t->lo), v));
}

IFD_INLINE void add_bias(const int M, const int NV, v16 sum[][IFD_UKR_MAX_VECTORS], const float *of) {
  EACH_VECTOR {
    v16 bias = of ? v16_load(of + v * 16) : v16_zero();
    EACH_ROW sum[i][v] = v16_add(sum[i][v], bias);
  }
}

/* Infinite bounds leave every sum as it is. */
IFD_INLINE void store_whole(const int M, const int NV, const ifd_ukr_edge edge,
                            v16 sum[][IFD_UKR_MAX_VECTORS], const ifd_ukr_args *t, int64_t row) {
  if (t->other) {
    EACH_VECTOR EACH_ROW {
      v16 other = v16_load(t->other + (row + i) * t->other_rs + v * t->other_vs);
      sum[i][v] = v16_add(sum[i][v], other);
    }
  }
  if (t->lo > -INFINITY) EACH_VECTOR EACH_ROW sum[i][v] = v16_max(v16_set1(t->lo), sum[i][v]);
  if (t->hi < INFINITY) EACH_VECTOR EACH_ROW sum[i][v] = v16_min(v16_set1(t->hi), sum[i][v]);
  EACH_VECTOR EACH_ROW store(NV, edge, v, t->c + (row + i) * t->c_rs + v * t->c_vs, sum[i][v]);
  if (edge == IFD_UKR_LOW_LAST && t->fill)
    EACH_ROW part_store(t->c + (row + i) * t->c_rs + (NV - 1) * t->c_vs + IFD_PART, v16_zero());
}

IFD_INLINE void store_lanes(const int M, const int NV, const ifd_ukr_edge edge,
                            v16 sum[][IFD_UKR_MAX_VECTORS], const ifd_ukr_args *t, int64_t row) {
  EACH_VECTOR {
    const int n = v < NV - 1 ? 16 : (int)t->lanes, from = v == 0 ? (int)t->skip : 0, end = t->fill ? 16 : n;
    const m16 given = m16_first(n), read = m16_andnot(given, m16_first(from));
    EACH_ROW {
      if (t->other) {
        v16 other = v16_load_lanes(t->other + (row + i) * t->other_rs + v * t->other_vs, read);
        sum[i][v] = v16_add(sum[i][v], other);
      }
      v16 y = v16_select(given, clip(sum[i][v], t), v16_zero());
      store_range(NV, edge, v, t->c + (row + i) * t->c_rs + v * t->c_vs, y, from, end);
    }
  }
}

IFD_INLINE bool is_whole(const ifd_ukr_edge edge, const ifd_ukr_args *t) {
  return t->lanes == (edge == IFD_UKR_LOW_LAST ? 8 : 16) && t->skip == (edge == IFD_UKR_HIGH_FIRST ? 8 : 0);
}

IFD_INLINE void store_finished(const int M, const int NV, const ifd_ukr_edge edge,
                               v16 sum[][IFD_UKR_MAX_VECTORS], const ifd_ukr_args *t, int64_t row) {
  add_bias(M, NV, sum, t->bias);
  if (is_whole(edge, t))
    store_whole(M, NV, edge, sum, t, row);
  else
    store_lanes(M, NV, edge, sum, t, row);
}

/* What comes after bounds, in the stored vectors of rows [row, row + n). Apart: the tiles need
 * every register. Rows side by side are done for all tiles at once, which are plain then. */
static __attribute__((noinline)) void activate_stored(const ifd_ukr_args *t, int64_t row, int64_t n,
                                                      int64_t n_vectors) {
  for (int64_t v = 0; v < n_vectors; v++) IFD_K(ifd_k_activate)
  (&t->after, t->c + row * t->c_rs + v * t->c_vs, t->c_rs, n, v == 0 ? (int)t->skip : 0,
   v < n_vectors - 1 ? 16 : (int)t->lanes);
}

IFD_INLINE void add_so_far(const int M, const int NV, v16 sum[][IFD_UKR_MAX_VECTORS], const float *so_far,
                           int64_t rs, int64_t vs) {
  EACH_VECTOR EACH_ROW sum[i][v] = v16_add(v16_load(so_far + i * rs + v * vs), sum[i][v]);
}

/* Tiles [r, end) of the n over the same panels, of which r is the one from `row` on. Each fetches `share`
 * floats of what comes next with every four steps of k. */
typedef struct column {
  int64_t row, r, end, n, share;
} column;

/* Four steps, and a fetch for them, needed or not: a branch that changes within a loop costs more. */
IFD_INLINE void four_steps(const int M, const int NV, v16 sum[][IFD_UKR_MAX_VECTORS], const float *a,
                           const float *b, int64_t b_vs, const float *next, int64_t next_vs, int64_t share) {
  EACH_VECTOR __builtin_prefetch(next + v * next_vs, 0, 2);
  if (share > 16) EACH_VECTOR __builtin_prefetch(next + v * next_vs + 16, 0, 2); /* two tiles, or three */
  step(M, NV, sum, a + 0, b + 0, b_vs);
  step(M, NV, sum, a + 1, b + 16, b_vs);
  step(M, NV, sum, a + 2, b + 32, b_vs);
  step(M, NV, sum, a + 3, b + 48, b_vs);
}

/* Where a tile's part of what comes next begins. */
IFD_INLINE const float *first_next(const int NV, const ifd_ukr_args *t, const column *in) {
  int64_t n = (t->k_head > 0) + t->n_full + t->n_part;
  return (t->next ? t->next : t->b + NV * t->b_vs) + in->r * in->share * 4 * n;
}

/* Rows of C fetched with each segment: all at once they would hold up A and B. */
enum { C_ROWS_AHEAD = 2 };

IFD_INLINE void tile(const int M, const int NV, const ifd_ukr_edge edge, const ifd_ukr_args *t,
                     const column *in) {
  v16 sum[IFD_UKR_ROWS][IFD_UKR_MAX_VECTORS];
  float aside[IFD_UKR_ROWS * IFD_UKR_MAX_VECTORS * 16] __attribute__((aligned(64)));
  const int64_t b_vs = t->b_vs, next_vs = t->next_vs ? t->next_vs : b_vs, share = in->share;
  const float *so_far = t->init ? t->init + in->row * t->init_rs : NULL;
  int64_t so_far_rs = t->init_rs, so_far_vs = t->init_vs;
  const bool fetches_a = t->fetches_a && in->r + 1 < in->n;
  const float *a_rows = t->a + in->row * 16, *b = t->b;
  const int64_t *at = t->at, *head = at + (t->k_head > 0), *full = head + t->n_full, *end = full + t->n_part;
  const float *c = t->c + in->row * t->c_rs;
  int64_t c_left = M;
  const float *next = first_next(NV, t, in);
  for (;;) {
    const int64_t *stop = end - at > IFD_UKR_CHAIN ? at + IFD_UKR_CHAIN : end;
    EACH_VECTOR EACH_ROW sum[i][v] = v16_zero();
    for (; at < stop; at++) {
      const float *a = a_rows + *at;
      for (int i = 0; i < M && fetches_a; i++) __builtin_prefetch(a + (M + i) * 16, 0, 2);
      for (int i = 0; i < C_ROWS_AHEAD && c_left > 0; i++, c_left--, c += t->c_rs)
        EACH_VECTOR __builtin_prefetch(c + v * t->c_vs, 1);
      if (at >= head && at < full) {
        for (int64_t k = 0; k < 16; k += 4, a += 4, b += 4 * 16, next += share)
          four_steps(M, NV, sum, a, b, b_vs, next, next_vs, share);
      } else
        for (int64_t k = 0, n = at < head ? t->k_head : t->k_part; k < n; k++, b += 16)
          step(M, NV, sum, a + k, b, b_vs);
    }
    if (so_far) add_so_far(M, NV, sum, so_far, so_far_rs, so_far_vs);
    if (at == end && !t->take) break;
    EACH_VECTOR EACH_ROW store(NV, edge, v, aside + (v * M + i) * 16, sum[i][v]);
    if (at == end) {
      t->take(t->taker, aside, in->row, M);
      return;
    }
    so_far = aside, so_far_rs = 16, so_far_vs = M * 16;
  }
  if (t->finish) {
    store_finished(M, NV, edge, sum, t, in->row);
    if (ifd_k_after_any(&t->after)) activate_stored(t, in->row, M, NV);
  } else
    EACH_VECTOR EACH_ROW store(NV, edge, v, t->c + (in->row + i) * t->c_rs + v * t->c_vs, sum[i][v]);
}

/* The same of one chain alone, its vectors finished whole or stored as they are: what else a tile may do
 * would take a tenth of a short one. With AVX-512 all segments are whole, and sums that are not finished go
 * side by side: any would take registers from the loop. */
#if defined(IFD_ISA_avx512)
enum { PLAIN_ENDS = 0 };
#else
enum { PLAIN_ENDS = 1 };
#endif
IFD_INLINE void plain_tile(const int M, const int NV, const ifd_ukr_edge edge, const ifd_ukr_args *t,
                           const column *in) {
  v16 sum[IFD_UKR_ROWS][IFD_UKR_MAX_VECTORS];
  const int64_t b_vs = t->b_vs, next_vs = t->next_vs ? t->next_vs : b_vs, share = in->share;
  const float *a_rows = t->a + in->row * 16, *b = t->b, *next = first_next(NV, t, in);
  EACH_VECTOR EACH_ROW sum[i][v] = v16_zero();
  for (const int64_t *at = t->at, *end = at + t->n_full; at < end; at++) {
    const float *a = a_rows + *at;
    for (int k = 0; k < 4; k++, a += 4, b += 4 * 16, next += share)
      four_steps(M, NV, sum, a, b, b_vs, next, next_vs, share);
  }
  if (PLAIN_ENDS && t->n_part) {
    const float *a = a_rows + t->at[t->n_full];
    for (int64_t k = 0; k < t->k_part; k++, b += 16) step(M, NV, sum, a + k, b, b_vs);
  }
  if (t->init) add_so_far(M, NV, sum, t->init + in->row * 16, 16, t->init_vs);
  if (t->finish) {
    add_bias(M, NV, sum, t->bias);
    store_whole(M, NV, edge, sum, t, in->row);
    return;
  }
  const int64_t c_rs = PLAIN_ENDS ? t->c_rs : 16;
  float *c = t->c + in->row * c_rs;
  EACH_VECTOR EACH_ROW store(NV, edge, v, c + i * c_rs + v * t->c_vs, sum[i][v]);
}
static bool is_plain(const ifd_ukr_args *t) {
  bool chain = t->k_head == 0 && t->n_part <= PLAIN_ENDS && t->n_full + t->n_part <= IFD_UKR_CHAIN &&
               !t->fetches_a && !t->take;
  if (!chain || (t->init && t->init_rs != 16)) return false;
  if (!t->finish) return PLAIN_ENDS || t->c_rs == 16;
  return is_whole(t->edge, t) && (!ifd_k_after_any(&t->after) || t->c_rs == 16);
}

/* By address: a copy would be read in wider pieces than it was written in, and wait for all stores before. */
typedef void tiles(const ifd_ukr_args *t, column *in);
#define KERNEL(M, NV, EDGE)                                                                                  \
  static __attribute__((noinline)) void plain_##M##x##NV##_##EDGE(const ifd_ukr_args *t, column *in) {       \
    for (; in->r < in->end; in->r++, in->row += M) plain_tile(M, NV, IFD_UKR_##EDGE, t, in);                 \
  }                                                                                                          \
  static __attribute__((noinline)) void tile_##M##x##NV##_##EDGE(const ifd_ukr_args *t, column *in) {        \
    for (; in->r < in->end; in->r++, in->row += M) tile(M, NV, IFD_UKR_##EDGE, t, in);                       \
  }
#define ROWS_1(X, NV, EDGE) X(1, NV, EDGE)
#define ROWS_2(X, NV, EDGE) ROWS_1(X, NV, EDGE) X(2, NV, EDGE)
#define ROWS_3(X, NV, EDGE) ROWS_2(X, NV, EDGE) X(3, NV, EDGE)
#define ROWS_4(X, NV, EDGE) ROWS_3(X, NV, EDGE) X(4, NV, EDGE)
#define ROWS_6(X, NV, EDGE) ROWS_4(X, NV, EDGE) X(5, NV, EDGE) X(6, NV, EDGE)
#define ROWS_9(X, NV, EDGE) ROWS_6(X, NV, EDGE) X(7, NV, EDGE) X(8, NV, EDGE) X(9, NV, EDGE)
#define ROWS_14(X, NV, EDGE)                                                                                 \
  ROWS_9(X, NV, EDGE) X(10, NV, EDGE) X(11, NV, EDGE) X(12, NV, EDGE) X(13, NV, EDGE) X(14, NV, EDGE)
#if defined(IFD_ISA_avx512)
#define TILES(X) ROWS_14(X, 1, WHOLE) ROWS_14(X, 2, WHOLE) ROWS_9(X, 3, WHOLE) ROWS_6(X, 4, WHOLE)
#elif defined(IFD_ISA_avx2)
#define WHOLE_TILES(X) ROWS_6(X, 1, WHOLE) ROWS_3(X, 2, WHOLE) ROWS_1(X, 3, WHOLE) ROWS_1(X, 4, WHOLE)
#define TILES(X)       WHOLE_TILES(X) ROWS_4(X, 2, HIGH_FIRST) ROWS_4(X, 2, LOW_LAST)
#else
#define TILES(X) ROWS_4(X, 1, WHOLE) ROWS_2(X, 2, WHOLE) ROWS_1(X, 3, WHOLE) ROWS_1(X, 4, WHOLE)
#endif
TILES(KERNEL)

/* Each of several tiles fetches its share of the next panels, side by side, which would otherwise come from
 * memory all at once; a single tile leaves that to the hardware, or is told what to fetch. */
static int64_t share_of(const ifd_ukr_args *t, int64_t n_tiles) {
  uint32_t n = t->next ? (uint32_t)t->n_next : n_tiles > 1 && !t->near ? 16 : 0;
  return (n + (uint32_t)n_tiles - 1) / (uint32_t)n_tiles * 4;
}

void IFD_K(ifd_ukr_run)(const ifd_ukr_args *t, int64_t n_rows, int64_t vectors) {
#define ENTRY(M, NV, EDGE)                                                                                   \
  [IFD_UKR_##EDGE][0][NV][M] = tile_##M##x##NV##_##EDGE,                                                     \
  [IFD_UKR_##EDGE][1][NV][M] = plain_##M##x##NV##_##EDGE,
  static tiles *const kernels[IFD_UKR_N_EDGES][2][IFD_UKR_MAX_VECTORS + 1][IFD_UKR_ROWS + 1] = {TILES(ENTRY)};
  if (n_rows == 0) return;
  const bool plain = is_plain(t);
  tiles *const *of = kernels[t->edge][plain][vectors];
  int64_t n = t->edge ? ifd_ceil_div(n_rows, IFD_UKR_EDGE_ROWS) : ifd_ukr_tiles(n_rows, vectors);
  int64_t rows = n_rows / n, higher = n_rows % n;
  column in = {.end = higher, .n = n, .share = share_of(t, n)};
  if (higher) of[rows + 1](t, &in);
  in.end = n;
  of[rows](t, &in);
  if (plain && t->finish && ifd_k_after_any(&t->after)) activate_stored(t, 0, n_rows, vectors);
}
