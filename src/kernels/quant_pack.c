/* Weights of integer products in the order in which the kernels read them: the same for every ISA. */
#include <string.h>

#include "kernels/quant/quant.h"
#include "kernels/quant/sizes.h"
#include "kernels/quant/winograd.h"

enum { LANES = 16, QUAD = 4, TAPS = 8 };

static int64_t panels(int64_t n) { return ifd_ceil_div(n, LANES); }
static size_t panel_len(int64_t k) { return (size_t)ifd_quant_quads(k) * LANES * QUAD; }

static size_t whole_len(int64_t n, int64_t k) {
  return (size_t)panels(n) * (panel_len(k) + LANES * sizeof(int32_t));
}

/* ---- what saturates ---- */

bool ifd_k_quant_has_pairs(ifd_isa isa, ifd_dot dot) { return isa != IFD_ISA_REF && dot == IFD_DOT_PLAIN; }

ifd_k_quant_bounds ifd_k_quant_bounds_of(const int8_t *packed, int64_t n, int64_t k, bool fours) {
  const int64_t len = ifd_quant_quads(k) * QUAD;
  const uint8_t *bytes = (const uint8_t *)packed + whole_len(n, k) + (fours ? 2 * len : 0);
  return (ifd_k_quant_bounds){bytes, (const int16_t *)(bytes + len)};
}

/* The two pairs of a quad, of four columns. */
typedef int16_t words __attribute__((vector_size(16)));
typedef uint16_t uwords __attribute__((vector_size(16)));
static inline words greater(words a, words b) { /* element by element: GCC has an instruction for that */
  for (size_t i = 0; i < sizeof a / sizeof a[0]; i++) a[i] = a[i] > b[i] ? a[i] : b[i];
  return a;
}
static inline words magnitude(words a) { return greater(a, -a); }

/* Of pairs: what weights of either sign sum up to, and the most that one weight is. */
typedef struct signs {
  words above, below, weight;
} signs;
static inline signs signs_of(const int8_t *columns) {
  words pairs, zero = {0};
  memcpy(&pairs, columns, sizeof pairs);
  const words even = (words)((uwords)pairs << 8) >> 8, odd = pairs >> 8;
  const words above = greater(even, zero) + greater(odd, zero);
  return (signs){above, above - even - odd, greater(magnitude(even), magnitude(odd))};
}

/* The most that weights of one sign sum up to in a pair of either of two quads, and in both; and that one
 * weight is. */
typedef struct most {
  words sum[2], sums, weight[2];
} most;
static inline void add_greatest(most *m, const int8_t *columns) {
  const signs s[2] = {signs_of(columns), signs_of(columns + LANES * QUAD)};
  for (int i = 0; i < 2; i++) {
    m->sum[i] = greater(m->sum[i], greater(s[i].above, s[i].below));
    m->weight[i] = greater(m->weight[i], s[i].weight);
  }
  m->sums = greater(m->sums, greater(s[0].above + s[1].above, s[0].below + s[1].below));
}

static int greatest_of_pair(words columns, int pair) {
  int greatest = 1;
  for (int l = pair; l < 2 * QUAD; l += 2) greatest = columns[l] > greatest ? columns[l] : greatest;
  return greatest;
}

/* The bounds of a quad's pairs. */
static void put_bounds(const ifd_k_quant_bounds *to, int64_t quad, words sum, words weight) {
  uint8_t *bytes = (uint8_t *)(uintptr_t)to->bytes + quad * QUAD;
  int16_t *sums = (int16_t *)(uintptr_t)to->sums + quad * 2;
  for (int pair = 0; pair < 2; pair++) {
    bytes[2 * pair] = bytes[2 * pair + 1] =
        (uint8_t)ifd_min_i64(UINT8_MAX, INT16_MAX / greatest_of_pair(sum, pair));
    sums[pair] = (int16_t)(INT16_MAX / greatest_of_pair(weight, pair));
  }
}

/* Of some quads of all panels, two at a time. */
enum { QUADS_ONCE = 32 };
static void bound_quads(int8_t *packed, int64_t n, int64_t k, int64_t first, int64_t quads) {
  const ifd_k_quant_bounds pairs = ifd_k_quant_bounds_of(packed, n, k, false),
                           fours = ifd_k_quant_bounds_of(packed, n, k, true);
  most m[QUADS_ONCE / 2] = {0};
  for (int64_t j = 0; j < panels(n); j++) {
    const int8_t *b = packed + (size_t)j * panel_len(k) + first * LANES * QUAD;
    for (int64_t q = 0; q < quads; q += 2, b += 2 * LANES * QUAD)
      for (int i = 0; i < LANES; i += QUAD) add_greatest(&m[q / 2], b + i * QUAD);
  }
  for (int64_t q = 0; q < quads; q++) {
    const most *p = &m[q / 2];
    put_bounds(&pairs, first + q, p->sum[q % 2], p->weight[q % 2]);
    put_bounds(&fours, first + q, p->sums, greater(p->weight[0], p->weight[1]));
  }
}

static void bound(int8_t *packed, int64_t n, int64_t k) {
  for (int64_t q = 0; q < ifd_quant_quads(k); q += QUADS_ONCE)
    bound_quads(packed, n, k, q, ifd_min_i64(QUADS_ONCE, ifd_quant_quads(k) - q));
}

/* ---- weights ---- */

/* Bytes of 16 columns. */
static size_t columns_len(const ifd_k_quant_matrix *m) {
  return *m->outputs ? ifd_quant_points_len(m->outputs, m->inner) : panel_len(m->k);
}

size_t ifd_k_quant_packed_len(const ifd_k_quant_matrix *m) {
  if (*m->outputs) return (size_t)panels(m->n) * (columns_len(m) + LANES * sizeof(int32_t));
  return whole_len(m->n, m->k) + (m->is_bounded ? (size_t)(ifd_quant_quads(m->k) * QUAD * 4) : 0);
}

const int32_t *ifd_k_quant_column_sums(const int8_t *packed, const ifd_k_quant_matrix *m) {
  return (const int32_t *)(packed + (size_t)panels(m->n) * columns_len(m));
}

/* Which tap row i is of, or -1 for none. */
static int64_t tap_of(const ifd_k_quant_matrix *m, int64_t i) {
  if (!m->piece) return i / m->inner;
  int64_t places = i % m->piece / m->inner, tap = places / m->merge,
          line = i / m->piece * m->merge + places % m->merge;
  return tap < m->line && line < m->lines ? line * m->line_rs + tap * m->tap_rs : -1;
}

/* NULL: a row of zeros. */
static const uint8_t *row_of(const ifd_k_quant_matrix *m, int64_t i) {
  int64_t tap = tap_of(m, i), inner = (m->piece ? i % m->piece : i) % m->inner;
  return tap < 0 ? NULL : (const uint8_t *)m->b + tap * m->outer_rs + inner * m->inner_rs;
}

/* Four rows by the columns of a panel, all there and side by side: what attention multiplies by is packed in
 * every run. */
static void pack_block(int8_t *restrict to, int32_t *restrict sums, const uint8_t *const rows[QUAD],
                       uint8_t flip) {
  const uint8_t *restrict a = rows[0], *restrict b = rows[1], *restrict c = rows[2], *restrict d = rows[3];
  for (int j = 0; j < LANES; j++) {
    to[QUAD * j] = (int8_t)(a[j] ^ flip), to[QUAD * j + 1] = (int8_t)(b[j] ^ flip);
    to[QUAD * j + 2] = (int8_t)(c[j] ^ flip), to[QUAD * j + 3] = (int8_t)(d[j] ^ flip);
  }
  for (int j = 0; j < LANES; j++)
    sums[j] += (int8_t)(a[j] ^ flip) + (int8_t)(b[j] ^ flip) + (int8_t)(c[j] ^ flip) + (int8_t)(d[j] ^ flip);
}

/* Columns [j0, n) of row i to their places in the panels, adding to the sums of columns. */
static void pack_row(int8_t *packed, int32_t *sums, const ifd_k_quant_matrix *m, int64_t i, int64_t j0) {
  const uint8_t *row = row_of(m, i);
  const uint8_t flip = m->is_unsigned ? 0x80 : 0;
  const size_t panel = panel_len(m->k);
  int8_t *to = packed + i / QUAD * LANES * QUAD + i % QUAD;
  for (int64_t j = j0; row && j < m->n; j++) {
    int8_t v = (int8_t)(row[j * m->b_cs] ^ flip);
    to[(size_t)(j / LANES) * panel + (size_t)(j % LANES * QUAD)] = v;
    sums[j] = (int32_t)((uint32_t)sums[j] + (uint32_t)v);
  }
}

static int64_t whole_columns(const ifd_k_quant_matrix *m) { return m->n / LANES * LANES; }

/* The whole panels of rows i to i + 3, whose columns are side by side. */
static void pack_blocks(int8_t *packed, int32_t *sums, const ifd_k_quant_matrix *m, int64_t i) {
  const uint8_t *rows[QUAD];
  for (int r = 0; r < QUAD; r++) rows[r] = row_of(m, i + r);
  for (int64_t j = 0; j < whole_columns(m); j += LANES) {
    pack_block(packed + (size_t)(j / LANES) * panel_len(m->k) + i * LANES, sums + j, rows,
               m->is_unsigned ? 0x80 : 0);
    for (int r = 0; r < QUAD; r++) rows[r] += LANES;
  }
}

/* ---- columns far apart ---- */

/* Row where those of a tap begin: tap_of, the other way round. */
static int64_t first_row(const ifd_k_quant_matrix *m, int64_t tap) {
  if (!m->piece) return tap * m->inner;
  int64_t line = tap / m->line_rs, at = tap % m->line_rs / m->tap_rs;
  return line / m->merge * m->piece + (at * m->merge + line % m->merge) * m->inner;
}

/* Vectors of 16 bytes: four quads of a column, or a quad of four columns. */
typedef uint8_t bytes __attribute__((vector_size(16)));
typedef uint16_t pairs __attribute__((vector_size(16)));
typedef uint32_t quads __attribute__((vector_size(16)));
typedef uint64_t halves __attribute__((vector_size(16)));

static inline bytes load_half(const uint8_t *from) {
  uint64_t half;
  memcpy(&half, from, sizeof half);
  return (bytes)(halves){half};
}

static inline pairs zip_bytes(bytes a, bytes b) {
  return (pairs)__builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
}

/* Bytes 0 to 7 of four rows of a column as eight quads. */
static inline void zip(quads *first, quads *last, const uint8_t *from, int64_t row) {
  pairs a = zip_bytes(load_half(from), load_half(from + row)),
        b = zip_bytes(load_half(from + 2 * row), load_half(from + 3 * row));
  *first = (quads)__builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11);
  *last = (quads)__builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15);
}

/* Element i of vector j becomes element j of vector i. */
static inline void turn(quads v[QUAD]) {
  quads a = __builtin_shufflevector(v[0], v[1], 0, 4, 1, 5),
        b = __builtin_shufflevector(v[0], v[1], 2, 6, 3, 7),
        c = __builtin_shufflevector(v[2], v[3], 0, 4, 1, 5),
        d = __builtin_shufflevector(v[2], v[3], 2, 6, 3, 7);
  v[0] = __builtin_shufflevector(a, c, 0, 1, 4, 5), v[1] = __builtin_shufflevector(a, c, 2, 3, 6, 7);
  v[2] = __builtin_shufflevector(b, d, 0, 1, 4, 5), v[3] = __builtin_shufflevector(b, d, 2, 3, 6, 7);
}

/* Sixteen columns, and the sums of fours of them. */
typedef struct panel {
  ifd_k_quant_matrix m;
  int8_t *to;
  quads sums[LANES / QUAD];
} panel;

static const uint8_t *column_of(const panel *p, int four, int i) {
  return (const uint8_t *)p->m.b + (four * QUAD + i) * p->m.b_cs;
}

/* Rows i to i + 3 of four columns. */
static inline void put(panel *p, int64_t i, int four, quads v) {
  const uint32_t low = 0x00ff00ff;
  if (p->m.is_unsigned) v ^= 0x80808080;
  memcpy(p->to + (i * LANES + four * QUAD * QUAD), &v, sizeof v);
  v ^= 0x80808080;
  v = (v & low) + (v >> 8 & low);
  p->sums[four] += (v & 0xffff) + (v >> 16) - QUAD * 128;
}

/* Of eight taps side by side, from `tap` on, those from number `first` on. */
static void pack_taps(panel *p, int64_t tap, int first) {
  const int64_t row = p->m.inner_rs;
  int64_t to[TAPS];
  for (int t = 0; t < TAPS; t++) to[t] = first_row(&p->m, tap + t);
  for (int64_t c = 0; c < p->m.inner; c += QUAD)
    for (int four = 0; four < LANES / QUAD; four++) {
      quads v[2][QUAD];
      for (int i = 0; i < QUAD; i++) zip(&v[0][i], &v[1][i], column_of(p, four, i) + tap + c * row, row);
      turn(v[0]), turn(v[1]);
      for (int t = first; t < TAPS; t++) put(p, to[t] + c, four, v[t / QUAD][t % QUAD]);
    }
}

static void pack_tap(panel *p, int64_t tap) {
  const int64_t row = p->m.inner_rs, from = tap * p->m.outer_rs, to = first_row(&p->m, tap);
  for (int64_t c = 0; c < p->m.inner; c += QUAD)
    for (int four = 0; four < LANES / QUAD; four++) {
      uint8_t block[QUAD][QUAD];
      for (int i = 0; i < QUAD; i++)
        for (int r = 0; r < QUAD; r++) block[i][r] = column_of(p, four, i)[from + (c + r) * row];
      put(p, to + c, four, *(const quads *)memcpy(&(quads){0}, block, sizeof block));
    }
}

/* Taps of whole quads of channels. */
static void pack_channels(panel *p) {
  const ifd_k_quant_matrix *m = &p->m;
  const int64_t taps = m->piece ? m->lines * m->line : m->k / m->inner;
  if (taps < TAPS || m->outer_rs != 1)
    for (int64_t tap = 0; tap < taps; tap++) pack_tap(p, tap);
  else
    for (int64_t done = 0, tap; done < taps; done = tap + TAPS) {
      tap = ifd_min_i64(done, taps - TAPS);
      pack_taps(p, tap, (int)(done - tap));
    }
}

/* Rows side by side. */
static void pack_lines(panel *p) {
  for (int64_t i = 0; i + QUAD <= p->m.k; i += QUAD * QUAD) {
    const int n = (int)ifd_min_i64((p->m.k - i) / QUAD, QUAD);
    for (int four = 0; four < LANES / QUAD; four++) {
      quads v[QUAD] = {{0}};
      for (int l = 0; l < QUAD; l++) memcpy(&v[l], column_of(p, four, l) + i, (size_t)(n * QUAD));
      turn(v);
      for (int u = 0; u < n; u++) put(p, i + u * QUAD, four, v[u]);
    }
  }
}

/* Any others: what is read for one quad is near what the next one reads. */
static void pack_apart(panel *p) {
  const uint8_t zero = p->m.is_unsigned ? 0x80 : 0;
  for (int64_t i = 0; i + QUAD <= p->m.k; i += QUAD) {
    uint8_t block[LANES][QUAD];
    quads v[LANES / QUAD];
    for (int r = 0; r < QUAD; r++) {
      const uint8_t *row = row_of(&p->m, i + r);
      for (int l = 0; l < LANES; l++) block[l][r] = row ? row[l * p->m.b_cs] : zero;
    }
    memcpy(v, block, sizeof v);
    for (int four = 0; four < LANES / QUAD; four++) put(p, i, four, v[four]);
  }
}

/* How whole quads of whole panels are packed; NULL: by rows, whose columns are side by side. */
typedef void pack_panel(panel *p);
static pack_panel *how_to_pack(const ifd_k_quant_matrix *m) {
  if (m->b_cs == 1 && !m->piece) return NULL;
  if (m->inner_rs == 1 && m->inner == m->k && !m->piece) return pack_lines;
  return m->inner % QUAD == 0 && m->piece % QUAD == 0 ? pack_channels : pack_apart;
}

static void pack_panels(int8_t *packed, int32_t *sums, const ifd_k_quant_matrix *m, pack_panel *pack) {
  for (int64_t j = 0; j < whole_columns(m); j += LANES) {
    panel p = {.m = *m, .to = packed + (size_t)(j / LANES) * panel_len(m->k)};
    p.m.b = (const uint8_t *)m->b + j * m->b_cs;
    pack(&p);
    memcpy(sums + j, p.sums, sizeof p.sums);
  }
}

/* What nothing is packed to: rows that fill the last quads, and those that are no tap's, of whole panels. */
static void clear(int8_t *packed, const ifd_k_quant_matrix *m) {
  const size_t len = panel_len(m->k), written = m->piece ? 0 : (size_t)(m->k / QUAD * QUAD * LANES);
  for (int64_t j = 0; j < m->n; j += LANES, packed += len) {
    size_t from = j + LANES <= m->n ? written : 0;
    memset(packed + from, 0, len - from);
  }
}

static void pack_columns(int8_t *packed, int32_t *sums, const ifd_k_quant_matrix *m) {
  pack_panel *pack = how_to_pack(m);
  clear(packed, m);
  memset(sums, 0, (size_t)(panels(m->n) * LANES) * sizeof *sums);
  if (pack) pack_panels(packed, sums, m, pack);
  for (int64_t i = 0; i < m->k; i += QUAD) {
    int64_t rows = ifd_min_i64(QUAD, m->k - i);
    if (rows == QUAD && !pack) pack_blocks(packed, sums, m, i);
    const int64_t first = rows == QUAD ? whole_columns(m) : 0;
    for (int64_t r = i; r < i + rows && first < m->n; r++) pack_row(packed, sums, m, r, first);
  }
}

int64_t ifd_k_quant_parts(const ifd_k_quant_matrix *m) { return m->is_bounded ? 1 : panels(m->n); }

void ifd_k_quant_pack_b(int8_t *packed, const ifd_k_quant_matrix *from, int64_t begin, int64_t end) {
  int32_t *sums = (int32_t *)ifd_k_quant_column_sums(packed, from);
  ifd_k_quant_matrix part = *from;
  if (*from->outputs) {
    ifd_quant_pack_points(packed, sums, from, begin, end);
    return;
  }
  if (!from->is_bounded) {
    part.b = (const uint8_t *)from->b + begin * LANES * from->b_cs;
    part.n = ifd_min_i64(from->n, end * LANES) - begin * LANES;
    packed += (size_t)begin * panel_len(from->k), sums += begin * LANES;
  }
  pack_columns(packed, sums, &part);
  if (from->is_bounded) bound(packed, from->n, from->k);
}
