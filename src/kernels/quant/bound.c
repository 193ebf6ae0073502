/* Rows of A within bounds, and what their bytes have beyond: few have, where most are near their mean. */
#include "kernels/quant/block.h"

#if defined(IFD_ISA_avx2) || defined(IFD_ISA_avx512)
/* Rows within the bounds of pairs whatever they hold are read where they lie, but by fours where at least so
 * many columns meet them. */
enum { QUAD = 4, COLUMNS_WORTH = 64 };
#define UNROLL_ _Pragma("GCC unroll 16")

/* Those lanes of a register that a mask has, one after another; what follows them is anything. */
#if defined(IFD_ISA_avx512)
typedef struct lanes {
  __mmask16 mask;
  int n;
} lanes;
IFD_INLINE lanes lanes_of(uint8s some) {
  const __mmask16 mask = _mm512_test_epi32_mask(some, some);
  return (lanes){mask, __builtin_popcount(mask)};
}
IFD_INLINE void put_lanes(int32_t *to, lanes from, uint8s a) {
  _mm512_storeu_si512(to, _mm512_maskz_compress_epi32(from.mask, a));
}
IFD_INLINE uint8s places_at(int32_t first) {
  const uint8s each =
      _mm512_setr_epi32(0, 64, 128, 192, 256, 320, 384, 448, 512, 576, 640, 704, 768, 832, 896, 960);
  return _mm512_add_epi32(each, _mm512_set1_epi32(first));
}
IFD_INLINE uint8s places_next(uint8s places) { return _mm512_add_epi32(places, _mm512_set1_epi32(1)); }
enum { HAS_FOURS = 0 }; /* not measured */
IFD_INLINE uint8s pairs_of(uint8s a) { return _mm512_maddubs_epi16(a, _mm512_set1_epi8(1)); }
IFD_INLINE uint8s fours_of(uint8s pairs) {
  return _mm512_add_epi16(pairs, _mm512_shuffle_epi32(pairs, _MM_PERM_CDAB));
}
IFD_INLINE uint8s uint8s_where_more(uint8s sums, uint8s most, uint8s a) {
  return _mm512_maskz_mov_epi16(_mm512_cmpgt_epi16_mask(sums, most), a);
}
#else
#define LANE(mask, i) ((uint64_t)((mask) >> (i)&1) * (i) << 8 * __builtin_popcount((mask) & ((1 << (i)) - 1)))
#define LANES(mask)                                                                                          \
  (LANE(mask, 1) | LANE(mask, 2) | LANE(mask, 3) | LANE(mask, 4) | LANE(mask, 5) | LANE(mask, 6) |           \
   LANE(mask, 7))
#define LANES_4(mask)  LANES(mask), LANES((mask) + 1), LANES((mask) + 2), LANES((mask) + 3)
#define LANES_16(mask) LANES_4(mask), LANES_4((mask) + 4), LANES_4((mask) + 8), LANES_4((mask) + 12)
#define LANES_64(mask) LANES_16(mask), LANES_16((mask) + 16), LANES_16((mask) + 32), LANES_16((mask) + 48)
static const uint64_t numbers[256] = {LANES_64(0), LANES_64(64), LANES_64(128), LANES_64(192)};

typedef struct lanes {
  __m256i numbers;
  int n;
} lanes;
IFD_INLINE lanes lanes_of(uint8s some) {
  const __m256i none = _mm256_cmpeq_epi32(some, _mm256_setzero_si256());
  const int mask = _mm256_movemask_ps(_mm256_castsi256_ps(none)) ^ 0xff;
  return (lanes){_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)&numbers[mask])),
                 __builtin_popcount((unsigned)mask)};
}
IFD_INLINE void put_lanes(int32_t *to, lanes from, uint8s a) {
  _mm256_storeu_si256((__m256i *)to, _mm256_permutevar8x32_epi32(a, from.numbers));
}
IFD_INLINE uint8s places_at(int32_t first) {
  return _mm256_add_epi32(_mm256_setr_epi32(0, 64, 128, 192, 256, 320, 384, 448), _mm256_set1_epi32(first));
}
IFD_INLINE uint8s places_next(uint8s places) { return _mm256_add_epi32(places, _mm256_set1_epi32(1)); }
enum { HAS_FOURS = 1 };
/* The sums of pairs of bytes, and of these with those of the other quad of two. */
IFD_INLINE uint8s pairs_of(uint8s a) { return _mm256_maddubs_epi16(a, _mm256_set1_epi8(1)); }
IFD_INLINE uint8s fours_of(uint8s pairs) {
  return _mm256_add_epi16(pairs, _mm256_shuffle_epi32(pairs, _MM_SHUFFLE(2, 3, 0, 1)));
}
/* Pairs of a, 0 where a word of the sums is no more than one of `most`. */
IFD_INLINE uint8s uint8s_where_more(uint8s sums, uint8s most, uint8s a) {
  return _mm256_and_si256(_mm256_cmpgt_epi16(sums, most), a);
}
#endif

/* Rows from memory to memory. */
typedef struct rows {
  int64_t n, k;
  const uint8_t *from, *bases;
  ifd_k_quant_bounds bounds;
  uint8_t *to;
  int64_t from_rs, to_rs;
} rows;

/* Behind n rests those of a step; how many there are then. */
IFD_INLINE int64_t put_rests(const bool has_base, const ifd_quant_rests *rests, int64_t n, lanes some,
                             uint8s places, uint8s above, uint8s below) {
  put_lanes(rests->at + n, some, places);
  put_lanes(rests->above + n, some, above);
  if (has_base) put_lanes(rests->below + n, some, below);
  return n + some.n;
}

/* Step by step of all rows, so that rests of the same row are seldom side by side: each waits for what it is
 * added to. A rest is at most 127, so that its products fit, too: of fours, some are two. `has_base` and
 * `fours` are constants where this is inlined. The rests so far; more than `most`: not all. */
IFD_INLINE int64_t bound(const bool has_base, const bool fours, const rows *r, const ifd_quant_rests *rests,
                         int64_t n, int64_t most_rests) {
  const uint8s whole = uint8s_set1(INT8_MAX), none = uint8s_set1(0);
  for (int64_t k = 0; k < r->k && n <= most_rests; k += UINT8S) {
    const uint8s base = uint8s_load(r->bases + k), most = uint8s_load(r->bounds.bytes + k),
                 most_sums = uint8s_load(r->bounds.sums + k / 2);
    uint8s places = places_at((int32_t)(k / QUAD * 64));
    for (int64_t i = 0; i < r->n; i++, places = places_next(places)) {
      const uint8s a = uint8s_load(r->from + i * r->from_rs + k);
      const uint8s all = has_base ? uint8s_above(a, base) : a, below = uint8s_above(base, a);
      const uint8s sums = fours ? fours_of(pairs_of(all)) : pairs_of(all);
      const uint8s above = uint8s_where_more(sums, most_sums, uint8s_above(all, most));
      const lanes some = lanes_of(has_base ? uint8s_max(above, below) : above);
      uint8s_store(r->to + i * r->to_rs + k, uint8s_above(all, above));
      if (!some.n) continue;
      n = put_rests(has_base, rests, n, some, places, fours ? uint8s_min(above, whole) : above, below);
      if (!fours) continue;
      const uint8s beyond = uint8s_above(above, whole);
      const lanes large = lanes_of(beyond);
      if (large.n) n = put_rests(has_base, rests, n, large, places, beyond, none);
    }
  }
  return n;
}

static int64_t bound_rows(const rows *r, const ifd_quant_rests *rests, bool fours, int64_t n, int64_t most) {
  if (HAS_FOURS && fours)
    return rests->has_base ? bound(true, true, r, rests, n, most) : bound(false, true, r, rests, n, most);
  return rests->has_base ? bound(true, false, r, rests, n, most) : bound(false, false, r, rests, n, most);
}

static bool find_rests(ifd_quant_block *k, const ifd_quant_sizes *z, const ifd_quant_bounding *b) {
  const ifd_k_quant_product *p = k->p;
  const ifd_quant_rests *rests = &b->rests;
  rows r = {.k = p->k,
            .from_rs = k->a_rs,
            .to_rs = z->stride,
            .bases = b->bases,
            .bounds = ifd_k_quant_bounds_of(p->b, p->n, p->k, b->fours)};
  int64_t *first = rests->first, found = 0;
  for (int64_t i = 0, end; i < k->i1 - k->i0; i = end) {
    end = ifd_min_i64(k->i1 - k->i0, i + IFD_QUANT_KEPT_ROWS);
    const int64_t most = end * p->k / (QUAD * IFD_QUANT_SELDOM) + 16;
    *first++ = found;
    r.n = end - i, r.from = k->a + i * k->a_rs, r.to = b->rows + i * z->stride;
    found = bound_rows(&r, rests, b->fours, found, most);
    if (found > most) return false;
  }
  *first = found;
  k->a = b->rows, k->a_rs = z->stride, k->rests = rests;
  return true;
}

/* Somewhat more than half of the room within bounds is below the mean of some rows: above, sums of pairs
 * leave more. */
static uint8_t base_of(const ifd_quant_block *k, bool fours) {
  enum { ROWS = 4 };
  const ifd_k_quant_product *p = k->p;
  const int64_t rows = k->i1 - k->i0,
                room = ifd_quant_sum_bytes(ifd_k_quant_bounds_of(p->b, p->n, p->k, fours).bytes, p->k);
  int64_t sum = 0;
  for (int64_t i = 0; i < ROWS; i++) sum += ifd_quant_sum_bytes(k->a + rows * i / ROWS * k->a_rs, p->k);
  return (uint8_t)ifd_max_i64(0, ifd_min_i64(INT8_MAX, (sum / ROWS - room * 9 / 16) / p->k));
}

static void begin(const ifd_quant_block *k, const ifd_quant_sizes *z, ifd_quant_bounding *b) {
  const ifd_k_quant_product *p = k->p;
  const ifd_k_quant_matrix m = {.n = p->n, .k = p->k};
  const int32_t *columns = ifd_k_quant_column_sums(p->b, &m);
  const uint8_t base = base_of(k, b->fours);
  memset(b->bases, 0, (size_t)z->stride);
  memset(b->bases, base, (size_t)p->k);
  for (int64_t j = k->j0; j < ifd_ceil_div(k->j1, 16) * 16; j++)
    b->add[j] = (int32_t)((uint32_t)p->finish.add[j] + (uint32_t)columns[j] * base);
  b->has_begun = true, b->rests.has_base = base != 0;
}

/* False: too many bytes are beyond. */
static bool bound_block(ifd_quant_block *k, const ifd_quant_sizes *z, ifd_quant_bounding *b) {
  if (!b->has_begun) begin(k, z, b);
  if (!find_rests(k, z, b)) return false;
  k->way = b->fours ? IFD_QUANT_FOURS : IFD_QUANT_PAIRS;
  if (b->rests.has_base) k->add = b->add;
  return true;
}

static void widen(ifd_quant_block *k, const ifd_quant_sizes *z, uint8_t *to) {
  const int64_t to_rs = 2 * z->stride;
  for (int64_t i = 0; i < k->i1 - k->i0; i++)
    words_widen(to + i * to_rs, k->a + i * k->a_rs, ifd_ceil_div(k->p->k, QUAD));
  k->a = to, k->a_rs = to_rs, k->way = IFD_QUANT_WORDS;
}

bool IFD_K(ifd_quant_has_pairs)(const ifd_k_quant_product *p) { return p->dot == IFD_DOT_PLAIN; }

ifd_quant_bounding IFD_K(ifd_quant_bounding_of)(const ifd_k_quant_product *p, const ifd_quant_sizes *z,
                                                char *scratch) {
  ifd_quant_bounding b = {.is_open = true};
  if (p->dot != IFD_DOT_PLAIN) return b;
  b.bases = (uint8_t *)scratch + z->bases, b.rows = (uint8_t *)scratch + z->words;
  b.add = (int32_t *)(scratch + z->add);
  b.rests = (ifd_quant_rests){.first = (int64_t *)(scratch + z->first),
                              .at = (int32_t *)(scratch + z->at),
                              .above = (int32_t *)(scratch + z->above),
                              .below = (int32_t *)(scratch + z->below)};
  const uint8_t *most = ifd_k_quant_bounds_of(p->b, p->n, p->k, false).bytes;
  b.is_open = ifd_quant_sum_bytes(most, p->k) == UINT8_MAX * p->k;
  b.fours = HAS_FOURS && (!b.is_open || p->n >= COLUMNS_WORTH);
  return b;
}

bool IFD_K(ifd_quant_bound)(ifd_quant_block *k, const ifd_quant_sizes *z, ifd_quant_bounding *b) {
  k->way = IFD_QUANT_PAIRS, k->rests = NULL, k->add = k->p->finish.add;
  if (b->is_dense) {
    widen(k, z, b->rows);
    return true;
  }
  if (b->fours) {
    if (bound_block(k, z, b)) return true;
    b->fours = b->has_begun = false;
  }
  if (b->is_open) return true;
  b->is_dense = !bound_block(k, z, b);
  return !b->is_dense;
}

/* `has_base` and NV are constants where this is inlined. */
IFD_INLINE void add_rests(const bool has_base, const int NV, const ifd_quant_rests *r, int64_t part,
                          const char *b, int64_t b_vs, char *sums) {
  const int64_t n = r->first[part + 1] - r->first[part];
  const uint32_t *ats = (const uint32_t *)r->at + r->first[part];
  const int32_t *above = r->above + r->first[part], *below = r->below + r->first[part];
  for (int64_t s = 0; s < n; s++) {
    const uint64_t at = ats[s], row = at % 64;
    const i16 more = i16_set1(above[s]), less = has_base ? i16_set1(below[s]) : more;
    UNROLL_ for (int v = 0; v < NV; v++) {
      const i16 weights = i16_load((const void *)(b + v * b_vs + (at - row)));
      int32_t *sum = (int32_t *)(sums + (v * IFD_QUANT_KEPT_ROWS + row) * 64);
      const i16 products = has_base ? mul_pairs_less(more, less, weights) : mul_pairs(more, weights);
      i16_store(sum, i16_add(i16_load(sum), products));
    }
  }
}

typedef void rests_adder(const ifd_quant_rests *r, int64_t part, const char *b, int64_t b_vs, char *sums);
#define ADDER(has_base, NV)                                                                                  \
  static void add_##has_base##_##NV(const ifd_quant_rests *r, int64_t part, const char *b, int64_t b_vs,     \
                                    char *sums) {                                                            \
    add_rests(has_base, NV, r, part, b, b_vs, sums);                                                         \
  }
#define ADDERS(X) X(0, 1) X(0, 2) X(0, 4) X(1, 1) X(1, 2) X(1, 4)
ADDERS(ADDER)

void IFD_K(ifd_quant_add_rests)(const ifd_quant_rests *rests, int64_t part, const int8_t *b, int64_t b_vs,
                                int64_t panels, int32_t *sums) {
  static rests_adder *const adders[2][IFD_QUANT_VECTORS + 1] = {{NULL, add_0_1, add_0_2, NULL, add_0_4},
                                                                {NULL, add_1_1, add_1_2, NULL, add_1_4}};
  adders[rests->has_base][panels](rests, part, (const char *)b, b_vs, (char *)sums);
}
#else
bool IFD_K(ifd_quant_has_pairs)(const ifd_k_quant_product *p) {
  (void)p;
  return false;
}
ifd_quant_bounding IFD_K(ifd_quant_bounding_of)(const ifd_k_quant_product *p, const ifd_quant_sizes *z,
                                                char *scratch) {
  (void)p, (void)z, (void)scratch;
  return (ifd_quant_bounding){.is_open = true};
}
bool IFD_K(ifd_quant_bound)(ifd_quant_block *k, const ifd_quant_sizes *z, ifd_quant_bounding *b) {
  (void)k, (void)z, (void)b;
  return true;
}
void IFD_K(ifd_quant_add_rests)(const ifd_quant_rests *rests, int64_t part, const int8_t *b, int64_t b_vs,
                                int64_t panels, int32_t *sums) {
  (void)rests, (void)part, (void)b, (void)b_vs, (void)panels, (void)sums;
}
#endif
