#include "kernels/quant/tile.h"

#define UNROLL_     _Pragma("GCC unroll 16")
#define EACH_ROW    UNROLL_ for (int i = 0; i < M; i++)
#define EACH_VECTOR UNROLL_ for (int v = 0; v < NV; v++)

/* M, NV and `out` are constants where these are inlined. */
IFD_INLINE void keep(const int M, const int NV, i16 sum[][IFD_QUANT_VECTORS], int32_t *to) {
  EACH_VECTOR EACH_ROW i16_store(to + (v * IFD_QUANT_KEPT_ROWS + i) * 16, sum[i][v]);
}

IFD_INLINE void store_as(const ifd_k_quant_out out, const int M, const int NV, i16 sum[][IFD_QUANT_VECTORS],
                         const ifd_quant_store *s) {
  EACH_VECTOR {
    const ifd_quant_column c = ifd_quant_column_at(s, v * 16);
    const int64_t at = s->at + v * 16 * s->size;
    if (v < NV - 1 || s->lanes == 16) {
      EACH_ROW ifd_quant_put(out, s, &c, sum[i][v], i, s->to[i] + at, 16);
    } else {
      EACH_ROW ifd_quant_put(out, s, &c, sum[i][v], i, s->to[i] + at, (int)s->lanes);
    }
  }
}

IFD_INLINE void store(const int M, const int NV, i16 sum[][IFD_QUANT_VECTORS], const ifd_quant_store *s) {
  switch (s->f.out) {
  case IFD_K_QUANT_INT8: store_as(IFD_K_QUANT_INT8, M, NV, sum, s); break;
  case IFD_K_QUANT_FLOAT: store_as(IFD_K_QUANT_FLOAT, M, NV, sum, s); break;
  case IFD_K_QUANT_INT32: store_as(IFD_K_QUANT_INT32, M, NV, sum, s); break;
  case IFD_K_QUANT_SUM: store_as(IFD_K_QUANT_SUM, M, NV, sum, s); break;
  }
}

/* Rows by threes from one pointer: a processor adds one or two strides as it loads. */
#define ROW_(i) (a[(i) / 3] + (i) % 3 * rs)

/* Quads of A, four bytes or `parts` of these, and 16 lanes of B. */
#define TILE(name, target, parts, load_b, dot, first_of)                                                     \
  target IFD_INLINE void name(const int M, const int NV, const ifd_quant_tile *t, const uint8_t *first,      \
                              i16 sum[][IFD_QUANT_VECTORS]) {                                                \
    EACH_VECTOR EACH_ROW sum[i][v] = first_of(t, v);                                                         \
    const int64_t rs = t->a_rs, b_vs = t->b_vs;                                                              \
    const int8_t *b = t->b;                                                                                  \
    for (int64_t q = 0; q < t->pieces; q++) {                                                                \
      const uint8_t *a[(IFD_QUANT_MOST_ROWS + 2) / 3];                                                       \
      UNROLL_ for (int i = 0; i < M; i += 3) a[i / 3] = first + t->offsets[q] + i * rs;                      \
      for (int64_t k = 0; k < t->quads; k++, b += 64) UNROLL_ for (int part = 0; part < parts; part++) {     \
          i16 bv[IFD_QUANT_VECTORS];                                                                         \
          EACH_VECTOR bv[v] = load_b((const void *)(b + v * b_vs), part);                                    \
          EACH_ROW {                                                                                         \
            const i16 av = i16_set_quad(ROW_(i));                                                            \
            EACH_VECTOR sum[i][v] = dot(sum[i][v], av, bv[v]);                                               \
          }                                                                                                  \
          UNROLL_ for (int i = 0; i < M; i += 3) a[i / 3] += 4;                                              \
        }                                                                                                    \
    }                                                                                                        \
  }
/* Two quads at a time. */
#define TILE_TWICE(name, products)                                                                           \
  IFD_INLINE void name(const int M, const int NV, const ifd_quant_tile *t, const uint8_t *first,             \
                       i16 sum[][IFD_QUANT_VECTORS]) {                                                       \
    EACH_VECTOR EACH_ROW sum[i][v] = ADDED_(t, v);                                                           \
    const int64_t rs = t->a_rs, b_vs = t->b_vs;                                                              \
    const int8_t *b = t->b;                                                                                  \
    const uint8_t *a[(IFD_QUANT_MOST_ROWS + 2) / 3];                                                         \
    UNROLL_ for (int i = 0; i < M; i += 3) a[i / 3] = first + i * rs;                                        \
    for (int64_t k = 0; k < t->quads; k += 2, b += 128) {                                                    \
      i16 bv[IFD_QUANT_VECTORS], cv[IFD_QUANT_VECTORS];                                                      \
      EACH_VECTOR bv[v] = i16_load((const void *)(b + v * b_vs));                                            \
      EACH_VECTOR cv[v] = i16_load((const void *)(b + v * b_vs + 64));                                       \
      EACH_ROW {                                                                                             \
        const i16 av = i16_set_quad(ROW_(i)), next = i16_set_quad(ROW_(i) + 4);                              \
        EACH_VECTOR sum[i][v] = i16_add(sum[i][v], products(av, bv[v], next, cv[v]));                        \
      }                                                                                                      \
      UNROLL_ for (int i = 0; i < M; i += 3) a[i / 3] += 8;                                                  \
    }                                                                                                        \
  }
#define ZERO_(t, v)         i16_set1(0)
#define ADDED_(t, v)        i16_load((t)->add + (v)*16)
#define LOAD_QUADS_(p, all) i16_load(p)

#define ROWS_1(X, NV)  X(1, NV)
#define ROWS_2(X, NV)  X(1, NV) X(2, NV)
#define ROWS_3(X, NV)  ROWS_2(X, NV) X(3, NV)
#define ROWS_4(X, NV)  ROWS_3(X, NV) X(4, NV)
#define ROWS_6(X, NV)  ROWS_4(X, NV) X(5, NV) X(6, NV)
#define ROWS_7(X, NV)  ROWS_6(X, NV) X(7, NV)
#define ROWS_12(X, NV) ROWS_7(X, NV) X(8, NV) X(9, NV) X(10, NV) X(11, NV) X(12, NV)
#define ROWS_14(X, NV) ROWS_12(X, NV) X(13, NV) X(14, NV)

#define ENTRY(way, M, NV) [NV][M] = way##_##M##x##NV,
#define KERNEL(target, way, M, NV, ...)                                                                      \
  target static __attribute__((noinline)) void way##_##M##x##NV(const ifd_quant_tile *t) {                   \
    i16 sum[IFD_QUANT_MOST_ROWS][IFD_QUANT_VECTORS];                                                         \
    __VA_ARGS__                                                                                              \
  }
#define KEEPING(way, M, NV)                                                                                  \
  KERNEL(                                                                                                    \
      , way, M, NV, for (int64_t i = 0; i < t->rows; i += M) {                                               \
        way(M, NV, t, t->a + i * t->a_rs, sum);                                                              \
        keep(M, NV, sum, t->sums + i * 16);                                                                  \
      })
#define ENTRY_Q(M, NV)  ENTRY(by_quads, M, NV)
#define ENTRY_P(M, NV)  ENTRY(by_pairs, M, NV)
#define KERNEL_P(M, NV) KEEPING(by_pairs, M, NV)
#define ENTRY_W(M, NV)  ENTRY(by_words, M, NV)
#define KERNEL_W(M, NV) KEEPING(by_words, M, NV)
#define ENTRY_F(M, NV)  ENTRY(by_fours, M, NV)
#define KERNEL_F(M, NV) KEEPING(by_fours, M, NV)
#if defined(IFD_ISA_avx512)
#define QUADS(X) ROWS_14(X, 1) ROWS_14(X, 2) ROWS_6(X, 4)
#define PLAIN(X) ROWS_12(X, 1) ROWS_12(X, 2) ROWS_6(X, 4)
static const int8_t most_rows[][IFD_QUANT_VECTORS + 1] = {
    {0, 14, 14, 0, 6}, {0, 12, 12, 0, 6}, {0, 12, 12, 0, 6}};
#elif defined(IFD_ISA_avx2)
#define QUADS(X) ROWS_6(X, 1) ROWS_3(X, 2) ROWS_1(X, 4)
#define PLAIN(X) QUADS(X)
#define FOURS(X) ROWS_4(X, 1) ROWS_2(X, 2) ROWS_1(X, 4)
static const int8_t most_rows[][IFD_QUANT_VECTORS + 1] = {
    {0, 6, 3, 0, 1}, {0, 6, 3, 0, 1}, {0, 6, 3, 0, 1}, {0, 4, 2, 0, 1}};
#else
#define QUADS(X) ROWS_4(X, 1) ROWS_2(X, 2) ROWS_1(X, 4)
static const int8_t most_rows[][IFD_QUANT_VECTORS + 1] = {{0, 4, 2, 0, 1}};
#endif

typedef ifd_quant_kernel kernels[IFD_QUANT_VECTORS + 1][IFD_QUANT_MOST_ROWS + 1];
#ifdef PLAIN
#define KERNEL_Q(M, NV)                                                                                      \
  KERNEL(IFD_QUADS_TARGET, by_quads, M, NV, by_quads(M, NV, t, t->a, sum); store(M, NV, sum, &t->store);)
TILE(by_quads, IFD_QUADS_TARGET, 1, LOAD_QUADS_, dot_quads, ZERO_)
IFD_INLINE i16 add_pairs(i16 sum, i16 a, i16 b) { return i16_add(sum, mul_pairs(a, b)); }
TILE(by_pairs, , 1, LOAD_QUADS_, add_pairs, ADDED_)
PLAIN(KERNEL_P)
IFD_INLINE i16 add_words_kept(i16 sum, i16 a, i16 b) { return i16_keep(add_words(sum, a, b)); }
TILE(by_words, , 2, i16_load_words, add_words_kept, ADDED_)
PLAIN(KERNEL_W)
#ifdef FOURS
TILE_TWICE(by_fours, mul_fours)
FOURS(KERNEL_F)
#endif
#else
#define KERNEL_Q(M, NV) KEEPING(by_quads, M, NV)
TILE(by_quads, , 1, LOAD_QUADS_, dot_quads, ADDED_)
#endif
QUADS(KERNEL_Q)

ifd_quant_kernel IFD_K(ifd_quant_find)(ifd_quant_way way, int64_t rows, int64_t vectors) {
  static const kernels ways[] = {{QUADS(ENTRY_Q)},
#ifdef PLAIN
                                 {PLAIN(ENTRY_P)},
                                 {PLAIN(ENTRY_W)},
#endif
#ifdef FOURS
                                 {FOURS(ENTRY_F)}
#endif
  };
  return ways[way][vectors][rows];
}

int64_t IFD_K(ifd_quant_rows)(ifd_quant_way way, int64_t vectors) { return most_rows[way][vectors]; }
