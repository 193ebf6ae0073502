/* Weights of integer products in the order in which the kernels read them: the same for every ISA but for
 * what saturates. */
#include <string.h>

#include "kernels/quant/quant.h"
#include "kernels/quant/sizes.h"

enum { LANES = 16, QUAD = 4 };

static int64_t panels(int64_t n) { return ifd_ceil_div(n, LANES); }
static size_t panel_len(int64_t k) { return (size_t)ifd_quant_quads(k) * LANES * QUAD; }

static size_t whole_len(int64_t n, int64_t k) {
  return (size_t)panels(n) * (panel_len(k) + LANES * sizeof(int32_t));
}

/* ---- what saturates ---- */

int ifd_k_quant_pair_lanes(ifd_isa isa, ifd_dot dot) {
  static const int lanes[IFD_N_ISAS] = {[IFD_ISA_AVX2] = 8, [IFD_ISA_AVX512] = 16};
  return dot == IFD_DOT_PLAIN ? lanes[isa] : 0;
}

/* Places of the excess behind the whole: of all `units` of so many columns, in at most `most` quads. */
typedef struct layout {
  int64_t units, quads, most;
  size_t first, places, excess, len;
} layout;

/* Excess of more than half of the quads is not worth while. */
static layout layout_of(int64_t n, int64_t k, int lanes) {
  layout l = {.units = lanes ? panels(n) * (LANES / lanes) : 0, .quads = ifd_ceil_div(k, QUAD)};
  l.most = l.units * l.quads / 2;
  l.first = whole_len(n, k);
  l.places = l.first + ifd_quant_whole((size_t)(l.units + 1) * sizeof(int32_t));
  l.excess = l.places + ifd_quant_whole((size_t)l.most * sizeof(int32_t));
  l.len = lanes ? l.excess + (size_t)(l.most * lanes * QUAD) : l.first;
  return l;
}

size_t ifd_k_quant_packed_len(int64_t n, int64_t k, int pair_lanes) {
  return layout_of(n, k, pair_lanes).len;
}

enum { UNSPLIT = -1 };

ifd_k_quant_excess ifd_k_quant_excess_of(const int8_t *packed, int64_t n, int64_t k, int pair_lanes) {
  layout l = layout_of(n, k, pair_lanes);
  const int32_t *first = (const int32_t *)(packed + l.first);
  if (!pair_lanes || *first == UNSPLIT) return (ifd_k_quant_excess){0};
  return (ifd_k_quant_excess){first, (const int32_t *)(packed + l.places), packed + l.excess};
}

/* What the sum of a pair is beyond [-128, 128]: 255 times so much fits 16 bits. It is less than either of the
 * two and has their sign. */
static inline int excess_of(int sum) { return sum > 128 ? sum - 128 : sum < -128 ? sum + 128 : 0; }

static bool has_excess(const int8_t *b, int lanes) {
  int16_t pairs[LANES * QUAD / 2], any = 0;
  memcpy(pairs, b, (size_t)(lanes * QUAD));
  for (int i = 0; i < lanes * QUAD / 2; i++) any |= (int16_t)excess_of((int8_t)pairs[i] + (pairs[i] >> 8));
  return any != 0;
}

/* Takes the excess out of quads of `lanes` columns. */
static void split_quads(int8_t *restrict b, int8_t *restrict excess, int lanes) {
  memset(excess, 0, (size_t)(lanes * QUAD));
  for (int i = 0; i < lanes * QUAD; i += 2) {
    excess[i] = (int8_t)excess_of(b[i] + b[i + 1]);
    b[i] = (int8_t)(b[i] - excess[i]);
  }
}

/* Which quads of column group u have excess, in order. */
static int64_t find_excess(const int8_t *b, int64_t quads, int lanes, int32_t *found, int64_t most) {
  int64_t n = 0;
  for (int64_t q = 0; q < quads && n <= most; q++, b += LANES * QUAD) {
    if (!has_excess(b, lanes)) continue;
    if (n < most) found[n] = (int32_t)q;
    n++;
  }
  return n;
}

static int8_t *group_at(int8_t *packed, int64_t k, int lanes, int64_t u) {
  const int64_t per_panel = LANES / lanes;
  return packed + (size_t)(u / per_panel) * panel_len(k) + u % per_panel * lanes * QUAD;
}

static void split_pairs(int8_t *packed, int64_t n, int64_t k, int lanes) {
  const layout l = layout_of(n, k, lanes);
  int32_t *first = (int32_t *)(packed + l.first), *quads = (int32_t *)(packed + l.places);
  int64_t steps = 0;
  for (int64_t u = 0; u < l.units; u++) {
    first[u] = (int32_t)steps;
    steps += find_excess(group_at(packed, k, lanes, u), l.quads, lanes, quads + steps, l.most - steps);
    if (steps > l.most) {
      *first = UNSPLIT;
      return;
    }
  }
  first[l.units] = (int32_t)steps;
  for (int64_t u = 0, s = 0; u < l.units; u++)
    for (; s < first[u + 1]; s++)
      split_quads(group_at(packed, k, lanes, u) + (int64_t)quads[s] * LANES * QUAD,
                  packed + l.excess + (size_t)(s * lanes * QUAD), lanes);
}

/* ---- what stays whole ---- */

const int32_t *ifd_k_quant_column_sums(const int8_t *packed, int64_t n, int64_t k) {
  return (const int32_t *)(packed + (size_t)panels(n) * panel_len(k));
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

/* Whole panel j of whole quads, whose columns are far apart: what is read for one quad is near what the next
 * one reads. */
static void pack_panel(int8_t *packed, int32_t *sums, const ifd_k_quant_matrix *m, int64_t j) {
  const uint8_t flip = m->is_unsigned ? 0x80 : 0;
  int8_t *to = packed + (size_t)(j / LANES) * panel_len(m->k);
  for (int64_t i = 0; i + QUAD <= m->k; i += QUAD, to += LANES * QUAD) {
    uint8_t block[QUAD][LANES];
    const uint8_t *const rows[QUAD] = {block[0], block[1], block[2], block[3]};
    for (int r = 0; r < QUAD; r++) {
      const uint8_t *row = row_of(m, i + r);
      for (int l = 0; l < LANES; l++) block[r][l] = row ? row[(j + l) * m->b_cs] : flip;
    }
    pack_block(to, sums + j, rows, flip);
  }
}

void ifd_k_quant_pack_b(int8_t *packed, const ifd_k_quant_matrix *from) {
  memset(packed, 0, whole_len(from->n, from->k));
  int32_t *sums = (int32_t *)ifd_k_quant_column_sums(packed, from->n, from->k);
  const bool in_rows = from->b_cs == 1 && !from->piece;
  for (int64_t j = 0; j < whole_columns(from) && !in_rows; j += LANES) pack_panel(packed, sums, from, j);
  for (int64_t i = 0; i < from->k; i += QUAD) {
    int64_t rows = ifd_min_i64(QUAD, from->k - i);
    if (rows == QUAD && in_rows) pack_blocks(packed, sums, from, i);
    for (int64_t r = i; r < i + rows; r++)
      pack_row(packed, sums, from, r, rows == QUAD ? whole_columns(from) : 0);
  }
  if (from->pair_lanes) split_pairs(packed, from->n, from->k, from->pair_lanes);
}
