#include "base/checked.h"
#include "kernels/move/rows.h"

/* ---- one row of elements ---- */

#define STRIDED(type)                                                                                        \
  static void strided_##type(char *restrict to, int64_t to_stride, const char *restrict from,                \
                             int64_t from_stride, int64_t n) {                                               \
    if (to_stride == (int64_t)sizeof(type))                                                                  \
      for (int64_t i = 0; i < n; i++) ((type *)to)[i] = *(const type *)(from + i * from_stride);             \
    else                                                                                                     \
      for (int64_t i = 0; i < n; i++)                                                                        \
        *(type *)(to + i * to_stride) = *(const type *)(from + i * from_stride);                             \
  }

/* ---- transposition of a strip: n rows of `to`, m elements each ---- */

/* to[r][c] = from[c][r], rows and columns strides in bytes apart */
#define CORNER(type)                                                                                         \
  IFD_INLINE void corner_##type(char *to, int64_t to_stride, const char *from, int64_t from_stride,          \
                                int64_t n, int64_t m) {                                                      \
    for (int64_t r = 0; r < n; r++)                                                                          \
      for (int64_t c = 0; c < m; c++)                                                                        \
        *(type *)(to + r * to_stride + c * (int64_t)sizeof(type)) =                                          \
            *(const type *)(from + c * from_stride + r * (int64_t)sizeof(type));                             \
  }
/* In strips of m columns, first such that rows of `to` fill a cache line; TILE rows of TILE columns at a time
 * go through tile_type, what is left one by one. */
#define TRANSPOSE(type, TILE)                                                                                \
  static void transpose_##type(char *to, int64_t to_stride, const char *from, int64_t from_stride,           \
                               int64_t n, int64_t m) {                                                       \
    enum { LINE = 64 / sizeof(type) };                                                                       \
    for (int64_t strip; m >= TILE;                                                                           \
         m -= strip, to += strip * (int64_t)sizeof(type), from += strip * from_stride) {                     \
      int64_t r = 0;                                                                                         \
      strip = m < LINE ? m / TILE * TILE : LINE;                                                             \
      for (; r + TILE <= n; r += TILE)                                                                       \
        for (int64_t k = 0; k < strip; k += TILE)                                                            \
          tile_##type(to + r * to_stride + k * (int64_t)sizeof(type), to_stride,                             \
                      from + k * from_stride + r * (int64_t)sizeof(type), from_stride);                      \
      corner_##type(to + r * to_stride, to_stride, from + r * (int64_t)sizeof(type), from_stride, n - r,     \
                    strip);                                                                                  \
    }                                                                                                        \
    corner_##type(to, to_stride, from, from_stride, n, m);                                                   \
  }

#define FOR_EACH_TYPE(X) X(e1) X(e2) X(e4) X(e8) X(e16)
FOR_EACH_TYPE(STRIDED)
CORNER(e1)
CORNER(e2)
CORNER(e4)
CORNER(e8)

#define PLAIN_TILE(type)                                                                                     \
  IFD_INLINE void tile_##type(char *to, int64_t to_stride, const char *from, int64_t from_stride) {          \
    corner_##type(to, to_stride, from, from_stride, 8, 8);                                                   \
  }
#if defined(IFD_ISA_ref)
PLAIN_TILE(e1)
PLAIN_TILE(e2)
PLAIN_TILE(e4)
PLAIN_TILE(e8)
#else
/* Eight rows of eight bytes: each round interleaves rows that lie half the rows apart. */
IFD_INLINE void tile_e1(char *to, int64_t to_stride, const char *from, int64_t from_stride) {
  __m128i a[8], b[4];
  for (int i = 0; i < 8; i++) a[i] = _mm_loadl_epi64((const __m128i *)(from + i * from_stride));
  for (int i = 0; i < 4; i++) b[i] = _mm_unpacklo_epi8(a[i], a[i + 4]); /* 0 4 0 4 … */
  a[0] = _mm_unpacklo_epi8(b[0], b[2]), a[1] = _mm_unpackhi_epi8(b[0], b[2]);
  a[2] = _mm_unpacklo_epi8(b[1], b[3]), a[3] = _mm_unpackhi_epi8(b[1], b[3]);
  for (int h = 0; h < 2; h++) {
    const __m128i low = _mm_unpacklo_epi8(a[h], a[h + 2]), high = _mm_unpackhi_epi8(a[h], a[h + 2]);
    char *row = to + 4 * h * to_stride;
    _mm_storel_epi64((__m128i *)row, low);
    _mm_storel_epi64((__m128i *)(row + to_stride), _mm_unpackhi_epi64(low, low));
    _mm_storel_epi64((__m128i *)(row + 2 * to_stride), high);
    _mm_storel_epi64((__m128i *)(row + 3 * to_stride), _mm_unpackhi_epi64(high, high));
  }
}
IFD_INLINE void tile_e2(char *to, int64_t to_stride, const char *from, int64_t from_stride) {
  __m128i a[8], b[8];
  for (int i = 0; i < 8; i++) a[i] = _mm_loadu_si128((const __m128i *)(from + i * from_stride));
  for (int round = 0; round < 3; round++) {
    for (int i = 0; i < 4; i++) {
      b[2 * i] = _mm_unpacklo_epi16(a[i], a[i + 4]);
      b[2 * i + 1] = _mm_unpackhi_epi16(a[i], a[i + 4]);
    }
    memcpy(a, b, sizeof a);
  }
  for (int i = 0; i < 8; i++) _mm_storeu_si128((__m128i *)(to + i * to_stride), a[i]);
}
/* 8 × 8 by three rounds of exchanges: pairs, fours, halves. */
IFD_INLINE void tile_e4(char *to, int64_t to_stride, const char *from, int64_t from_stride) {
  __m256 a[8], b[8];
  for (int i = 0; i < 4; i++) { /* rows i and i + 4 side by side, so that halves are exchanged by the loads */
    const float *low = (const float *)(from + i * from_stride),
                *high = (const float *)(from + (i + 4) * from_stride);
    a[i] = _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(low)), _mm_loadu_ps(high), 1);
    a[i + 4] = _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(low + 4)), _mm_loadu_ps(high + 4), 1);
  }
  for (int h = 0; h < 8; h += 4) {
    b[h] = _mm256_unpacklo_ps(a[h], a[h + 1]);
    b[h + 1] = _mm256_unpackhi_ps(a[h], a[h + 1]);
    b[h + 2] = _mm256_unpacklo_ps(a[h + 2], a[h + 3]);
    b[h + 3] = _mm256_unpackhi_ps(a[h + 2], a[h + 3]);
    a[h] = _mm256_shuffle_ps(b[h], b[h + 2], 0x44);
    a[h + 1] = _mm256_shuffle_ps(b[h], b[h + 2], 0xee);
    a[h + 2] = _mm256_shuffle_ps(b[h + 1], b[h + 3], 0x44);
    a[h + 3] = _mm256_shuffle_ps(b[h + 1], b[h + 3], 0xee);
  }
  for (int i = 0; i < 8; i++) _mm256_storeu_ps((float *)(to + i * to_stride), a[i]);
}
/* 8 × 8 as four of 4 × 4 */
IFD_INLINE void tile_e8(char *to, int64_t to_stride, const char *from, int64_t from_stride) {
  for (int r = 0; r < 8; r += 4)
    for (int c = 0; c < 8; c += 4) {
      __m256d a[4], b[4];
      for (int i = 0; i < 4; i++) a[i] = _mm256_loadu_pd((const double *)(from + (c + i) * from_stride) + r);
      for (int i = 0; i < 4; i += 2) {
        b[i] = _mm256_unpacklo_pd(a[i], a[i + 1]);
        b[i + 1] = _mm256_unpackhi_pd(a[i], a[i + 1]);
      }
      for (int i = 0; i < 4; i++) {
        __m256d row = i < 2 ? _mm256_permute2f128_pd(b[i], b[i + 2], 0x20)
                            : _mm256_permute2f128_pd(b[i - 2], b[i], 0x31);
        _mm256_storeu_pd((double *)(to + (r + i) * to_stride) + c, row);
      }
    }
}
#endif
#if defined(IFD_ISA_ref)
IFD_INLINE int64_t part_small(const int N, const int SIZE, char *to, int64_t to_stride, const char *from,
                              int64_t m) {
  (void)N, (void)SIZE, (void)to, (void)to_stride, (void)from, (void)m;
  return 0;
}
static int64_t interleave(char *to, const char *from, int64_t from_stride, int64_t n, int64_t m) {
  (void)to, (void)from, (void)from_stride, (void)n, (void)m;
  return 0;
}
#else
/* N rows of elements of SIZE bytes that take turns in `from`, sixteen bytes of each at a time, picked from N
 * vectors. How many elements were done. */
IFD_INLINE int64_t part_small(const int N, const int SIZE, char *to, int64_t to_stride, const char *from,
                              int64_t m) {
  enum { MOST = 4, WORTH = 128 };
  const int count = 16 / SIZE;
  __m128i pick[MOST][MOST];
  int64_t c = 0;
  if (m < WORTH) return 0;
  for (int r = 0; r < N; r++)
    for (int k = 0; k < N; k++) {
      char at[16];
      for (int i = 0; i < 16; i++) {
        const int byte = (i / SIZE * N + r) * SIZE + i % SIZE - 16 * k;
        at[i] = (char)(byte >= 0 && byte < 16 ? byte : -1);
      }
      pick[r][k] = _mm_loadu_si128((const __m128i *)at);
    }
  for (; c + count <= m; c += count) {
    __m128i v[MOST];
    for (int k = 0; k < N; k++) v[k] = _mm_loadu_si128((const __m128i *)(from + c * N * SIZE + 16 * k));
    for (int r = 0; r < N; r++) {
      __m128i y = _mm_shuffle_epi8(v[0], pick[r][0]);
      for (int k = 1; k < N; k++) y = _mm_or_si128(y, _mm_shuffle_epi8(v[k], pick[r][k]));
      _mm_storeu_si128((__m128i *)(to + r * to_stride + c * SIZE), y);
    }
  }
  return c;
}
/* Rows of m bytes, 2 to 4, one behind the other (pixels of few channels), sixteen at a time: fours of bytes,
 * of which the first m of each are kept. A store spills over rows that are written next. How many were
 * done. */
static int64_t interleave(char *to, const char *from, int64_t from_stride, int64_t n, int64_t m) {
  char kept[16];
  int64_t r = 0;
  for (int64_t i = 0; i < 16; i++) kept[i] = (char)(i < 4 * m ? i / m * 4 + i % m : 0);
  const __m128i order = _mm_loadu_si128((const __m128i *)kept);
  for (; (n - r) * m >= 12 * m + 16; r += 16) {
    __m128i line[4] = {_mm_setzero_si128(), _mm_setzero_si128(), _mm_setzero_si128(), _mm_setzero_si128()};
    for (int64_t c = 0; c < m; c++) line[c] = _mm_loadu_si128((const __m128i *)(from + c * from_stride + r));
    const __m128i low[2] = {_mm_unpacklo_epi8(line[0], line[1]), _mm_unpacklo_epi8(line[2], line[3])};
    const __m128i high[2] = {_mm_unpackhi_epi8(line[0], line[1]), _mm_unpackhi_epi8(line[2], line[3])};
    const __m128i fours[4] = {_mm_unpacklo_epi16(low[0], low[1]), _mm_unpackhi_epi16(low[0], low[1]),
                              _mm_unpacklo_epi16(high[0], high[1]), _mm_unpackhi_epi16(high[0], high[1])};
    for (int i = 0; i < 4; i++)
      _mm_storeu_si128((__m128i *)(to + (r + 4 * i) * m), _mm_shuffle_epi8(fours[i], order));
  }
  return r;
}
#endif
TRANSPOSE(e1, 8)
TRANSPOSE(e2, 8)
TRANSPOSE(e4, 8)
TRANSPOSE(e8, 8)

/* Two rows of elements that take turns in `from`, sixteen of each at a time. How many were done. */
static int64_t part_pairs(char *to, int64_t to_stride, const char *from, int64_t m) {
  const ifd_float_anywhere *f = (const ifd_float_anywhere *)from;
  int64_t c = 0;
  for (; c + 16 < m; c += 16) { /* the odd ones are read one further on */
    v16_store((float *)(to + 4 * c), v16_even(v16_load(f + 2 * c), v16_load(f + 2 * c + 16)));
    v16_store((float *)(to + to_stride + 4 * c), v16_even(v16_load(f + 2 * c + 1), v16_load(f + 2 * c + 17)));
  }
  return c;
}
/* Likewise N rows: lane l of row r is element l * N + r of N vectors. */
IFD_INLINE int64_t part_rows(const int N, char *to, int64_t to_stride, const char *from, int64_t m) {
  enum { MOST = 4 };
  const ifd_float_anywhere *f = (const ifd_float_anywhere *)from;
  i16 lane[MOST];
  m16 before[MOST][MOST]; /* those that lie before vector k + 1 */
  for (int r = 0; r < N; r++) {
    int32_t at[16];
    for (int l = 0; l < 16; l++) at[l] = (l * N + r) % 16;
    lane[r] = i16_load(at);
    for (int k = 0; k < N; k++) before[r][k] = m16_first(((k + 1) * 16 - r + N - 1) / N);
  }
  int64_t c = 0;
  for (; c + 16 <= m; c += 16) {
    v16 v[MOST];
    for (int k = 0; k < N; k++) v[k] = v16_load(f + c * N + 16 * k);
    for (int r = 0; r < N; r++) {
      v16 y = v16_permute(v[N - 1], lane[r]);
      for (int k = N - 2; k >= 0; k--) y = v16_select(before[r][k], v16_permute(v[k], lane[r]), y);
      v16_store((float *)(to + r * to_stride + 4 * c), y);
    }
  }
  return c;
}
#define PART(name, rows, ...)                                                                                \
  static int64_t name(char *to, int64_t to_stride, const char *from, int64_t m) {                            \
    return rows(__VA_ARGS__, to, to_stride, from, m);                                                        \
  }
PART(part_threes, part_rows, 3)
PART(part_fours, part_rows, 4)
PART(part_e1_2, part_small, 2, 1)
PART(part_e1_3, part_small, 3, 1)
PART(part_e1_4, part_small, 4, 1)
PART(part_e2_2, part_small, 2, 2)
PART(part_e2_3, part_small, 3, 2)
PART(part_e2_4, part_small, 4, 2)

/* The first elements of n rows that take turns, where there is a way of their own. */
static int64_t part(int size, char *to, int64_t to_stride, const char *from, int64_t n, int64_t m) {
  enum { FEWEST = 2, MOST = 4 };
  static int64_t (*const parts[][MOST - FEWEST + 1])(char *, int64_t, const char *,
                                                     int64_t) = {{part_e1_2, part_e1_3, part_e1_4},
                                                                 {part_e2_2, part_e2_3, part_e2_4},
                                                                 {part_pairs, part_threes, part_fours}};
  return n >= FEWEST && n <= MOST && size < 3 ? parts[size][n - FEWEST](to, to_stride, from, m) : 0;
}

static void transpose(int size, char *to, int64_t to_stride, const char *from, int64_t from_stride, int64_t n,
                      int64_t m) {
  static void (*const transposes[])(char *, int64_t, const char *, int64_t, int64_t,
                                    int64_t) = {transpose_e1, transpose_e2, transpose_e4, transpose_e8};
  const int64_t bytes = 1 << size;
  int64_t columns = 0, rows = 0;
  if (from_stride == n * bytes) columns = part(size, to, to_stride, from, n, m);
  if (size == 0 && m >= 2 && m <= 4 && to_stride == m) rows = interleave(to, from, from_stride, n, m);
  transposes[size](to + columns * bytes + rows * to_stride, to_stride,
                   from + columns * from_stride + rows * bytes, from_stride, n - rows, m - columns);
}

/* ---- copies ---- */

static int size_index(size_t size) {
  return size == 1 ? 0 : size == 2 ? 1 : size == 4 ? 2 : size == 8 ? 3 : 4;
}

/* Elements [at, at + count) (of `to`'s rows, in a transposition) of n_rows rows along the dimension before */
static void copy_rows(const ifd_k_copy *m, char *to, const char *from, int64_t n_rows, int64_t count) {
  static void (*const strided[])(char *, int64_t, const char *, int64_t,
                                 int64_t) = {strided_e1, strided_e2, strided_e4, strided_e8, strided_e16};
  const int last = m->rank - 1, size = size_index(m->size), along = last - (m->kind == IFD_MOVE_TRANSPOSE);
  const int64_t to_stride = along ? m->to[along - 1] : 0, from_stride = along ? m->from[along - 1] : 0;
  switch (m->kind) {
  case IFD_MOVE_RUNS:
    IFD_K(ifd_move_copy_rows)(to, to_stride, from, from_stride, n_rows, (size_t)count * m->size);
    break;
  case IFD_MOVE_FILL:
    IFD_K(ifd_move_fill_rows)(to, to_stride, from, from_stride, n_rows, m->size, count);
    break;
  case IFD_MOVE_ELEMENTS:
    for (int64_t r = 0; r < n_rows; r++, to += to_stride, from += from_stride)
      strided[size](to, m->to[last], from, m->from[last], count);
    break;
  case IFD_MOVE_TRANSPOSE:
    for (int64_t r = 0; r < n_rows; r++, to += to_stride, from += from_stride)
      transpose(size, to, m->to[last - 1], from, m->from[last], count, m->n[last]);
    break;
  }
}

static void copy(const ifd_k_copy *m, void *to, const void *from, int64_t first, int64_t last) {
  const int along = m->rank - (m->kind == IFD_MOVE_TRANSPOSE ? 2 : 1);
  int64_t index[IFD_MOVE_RANK], row = first / m->pieces, piece = first % m->pieces;
  char *t = to;
  const char *f = from;
  for (int d = along - 1; d >= 0; d--) {
    index[d] = row % m->n[d];
    row /= m->n[d];
    t += index[d] * m->to[d];
    f += index[d] * m->from[d];
  }
  for (int64_t task = first; task < last;) {
    const int64_t at = piece * m->piece, rest = m->n[along] - at;
    int64_t n_rows = 1;
    if (m->pieces == 1 && along) n_rows = ifd_min_i64(m->n[along - 1] - index[along - 1], last - task);
    copy_rows(m, t + at * m->to[along], f + at * m->from[along], n_rows, ifd_min_i64(rest, m->piece));
    task += n_rows;
    if (++piece < m->pieces) continue;
    piece = 0;
    for (int d = along - 1; d >= 0; d--, n_rows = 1) { /* to the next row */
      t += n_rows * m->to[d];
      f += n_rows * m->from[d];
      if ((index[d] += n_rows) < m->n[d]) break;
      index[d] = 0;
      t -= m->n[d] * m->to[d];
      f -= m->n[d] * m->from[d];
    }
  }
}

const struct ifd_k_move_table IFD_K(ifd_k_move) = {.copy = copy,
                                                   .gather = IFD_K(ifd_move_gather),
                                                   .copy_rows = IFD_K(ifd_move_copy_rows),
                                                   .fill_rows = IFD_K(ifd_move_fill_rows)};
