/* Weights of 3×3 taps as points of Winograd's algorithm, in whole numbers. */
#include <string.h>

#include "kernels/quant/winograd.h"

enum { LANES = 16, PAIR = 2, TAPS = IFD_QUANT_TAPS, MOST = IFD_QUANT_MOST_POINTS };

/* Pairs of channels of 16 columns, or of eight as bytes. */
typedef int16_t words __attribute__((vector_size(16)));
typedef int8_t bytes __attribute__((vector_size(16)));
enum { COLUMNS = sizeof(words) / sizeof(int16_t), VECTORS = LANES * PAIR / COLUMNS };

typedef int16_t quads[MOST][MOST][LANES][PAIR];

/* ---- taps ---- */

/* Taps of two channels of some columns. */
typedef struct taps {
  const uint8_t *at; /* of the first channel of the first column */
  int64_t column, channel, tap;
  uint8_t flip;
} taps;

static int8_t tap_of(const taps *x, int64_t i, int64_t r, int t) {
  return (int8_t)(x->at[i * x->column + r * x->channel + t * x->tap] ^ x->flip);
}

static void load_tap(quads to, const taps *x, int t, int64_t columns, int64_t channels) {
  for (int64_t i = 0; i < columns; i++)
    for (int64_t r = 0; r < channels; r++) to[t / TAPS][t % TAPS][i][r] = tap_of(x, i, r, t);
}

static inline bytes zip_bytes(bytes a, bytes b) {
  return __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
}
static inline bytes last_half(bytes a) {
  return __builtin_shufflevector(a, a, 8, 9, 10, 11, 12, 13, 14, 15, 8, 9, 10, 11, 12, 13, 14, 15);
}

static inline bytes load_half(const uint8_t *from) {
  typedef uint64_t halves __attribute__((vector_size(16)));
  uint64_t half;
  memcpy(&half, from, sizeof half);
  return (bytes)(halves){half};
}

/* Element i of vector j becomes element j of vector i. */
static inline void turn(words v[COLUMNS]) {
  for (int bit = 1; bit < COLUMNS; bit *= 2) {
    words a[COLUMNS];
    for (int i = 0; i < COLUMNS / 2; i++) {
      const words x = v[i], y = v[i + COLUMNS / 2];
      a[2 * i] = __builtin_shufflevector(x, y, 0, 8, 1, 9, 2, 10, 3, 11);
      a[2 * i + 1] = __builtin_shufflevector(x, y, 4, 12, 5, 13, 6, 14, 7, 15);
    }
    memcpy(v, a, sizeof a);
  }
}

/* Taps 0 to 7, side by side, of eight columns. */
static void load_eight(quads to, const taps *x, int64_t column) {
  const uint8_t *at = x->at + column * x->column;
  words v[COLUMNS];
  for (int i = 0; i < COLUMNS; i++, at += x->column)
    v[i] = (words)zip_bytes(load_half(at), load_half(at + x->channel));
  turn(v);
  for (int t = 0; t < COLUMNS; t++) {
    const bytes b = (bytes)v[t] ^ (int8_t)x->flip;
    words *first = (words *)&to[t / TAPS][t % TAPS][column];
    first[0] = (words)zip_bytes(b, b) >> 8;
    first[1] = (words)zip_bytes(last_half(b), last_half(b)) >> 8;
  }
}

static void load_taps(quads to, const taps *x, int64_t columns, int64_t channels) {
  const bool whole = columns == LANES && channels == PAIR;
  int t = 0;
  if (!whole) memset(to, 0, sizeof(quads));
  if (whole && x->tap == 1)
    for (int64_t i = 0; i < LANES; i += t = COLUMNS) load_eight(to, x, i);
  for (; t < TAPS * TAPS; t++) load_tap(to, x, t, columns, channels);
}

static void add_sums(int32_t *sums, const quads v) {
  typedef int32_t pairs __attribute__((vector_size(16)));
  const words *first = (const words *)v;
  for (int i = 0; i < VECTORS; i++) {
    words sum = {0};
    for (int t = 0; t < TAPS * TAPS; t++) sum += first[(t / TAPS * MOST + t % TAPS) * VECTORS + i];
    const pairs both = (pairs)sum;
    pairs *to = (pairs *)sums + i;
    *to += (both << 16 >> 16) + (both >> 16);
  }
}

/* ---- points ---- */

/* n taps become n + outputs - 1 points, `step` vectors apart. */
static void points_of(int64_t outputs, words *v, int64_t step) {
  const words g0 = v[0], g1 = v[step], g2 = v[2 * step], sum = g0 + g2;
  v[step] = sum + g1, v[2 * step] = sum - g1;
  if (outputs == 2) {
    v[0] = g0 * 2, v[3 * step] = g2 * 2;
  } else {
    const words even = g0 + g2 * 4, odd = g1 * 2;
    v[0] = g0 * 6, v[5 * step] = g2 * 6;
    v[3 * step] = even + odd, v[4 * step] = even - odd;
  }
}

static void transform(quads v, const int64_t outputs[2]) {
  words *first = (words *)v;
  const int64_t points = outputs[0] + TAPS - 1, line = MOST * VECTORS;
  for (int64_t i = 0; i < TAPS * VECTORS; i++) points_of(outputs[0], first + i, line);
  for (int64_t h = 0; h < points; h++)
    for (int64_t i = 0; i < VECTORS; i++) points_of(outputs[1], first + h * line + i, VECTORS);
}

void ifd_quant_pack_points(int8_t *packed, int32_t *sums, const ifd_k_quant_matrix *m, int64_t begin,
                           int64_t end) {
  const int64_t pairs = ifd_quant_pairs(m->inner), *outputs = m->outputs;
  const int64_t points[] = {outputs[0] + TAPS - 1, outputs[1] + TAPS - 1};
  taps x = {.column = m->b_cs, .channel = m->inner_rs, .tap = m->outer_rs, .flip = m->is_unsigned ? 0x80 : 0};
  memset(sums + begin * LANES, 0, (size_t)((end - begin) * LANES) * sizeof *sums);
  for (int64_t panel = begin; panel < end; panel++) {
    int16_t *to = (int16_t *)(packed + (size_t)panel * ifd_quant_points_len(outputs, m->inner));
    const int64_t n = ifd_min_i64(LANES, m->n - panel * LANES);
    for (int64_t c = 0; c < m->inner; c += PAIR, to += LANES * PAIR) {
      _Alignas(words) quads v;
      x.at = (const uint8_t *)m->b + panel * LANES * m->b_cs + c * m->inner_rs;
      load_taps(v, &x, n, ifd_min_i64(PAIR, m->inner - c));
      add_sums(sums + panel * LANES, v);
      transform(v, outputs);
      for (int64_t h = 0, i = 0; h < points[0]; h++)
        for (int64_t w = 0; w < points[1]; w++, i++)
          memcpy(to + i * pairs * LANES * PAIR, v[h][w], sizeof v[h][w]);
    }
  }
}
