/* Weights of 3×3 taps as points of Winograd's algorithm, in whole numbers. */
#include <string.h>

#include "kernels/quant/winograd.h"

enum { LANES = 16, PAIR = 2, TAPS = IFD_QUANT_TAPS, MOST = IFD_QUANT_MOST_POINTS };

/* A pair of channels of 16 columns. */
typedef int16_t words __attribute__((vector_size(16)));
enum { VECTORS = LANES * PAIR * 2 / (int)sizeof(words) };

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

typedef int16_t quads[MOST][MOST][LANES][PAIR];

/* Taps of channels c and c + 1 of n columns from column j on, and their sums. */
static void load_taps(quads to, int32_t *sums, const ifd_k_quant_matrix *m, int64_t c, int64_t j, int64_t n) {
  const uint8_t flip = m->is_unsigned ? 0x80 : 0;
  memset(to, 0, sizeof(quads));
  for (int64_t i = 0; i < n; i++)
    for (int64_t r = 0; r < PAIR && c + r < m->inner; r++) {
      const uint8_t *from = (const uint8_t *)m->b + (j + i) * m->b_cs + (c + r) * m->inner_rs;
      int32_t sum = 0;
      for (int t = 0; t < TAPS * TAPS; t++) {
        int8_t v = (int8_t)(from[t * m->outer_rs] ^ flip);
        to[t / TAPS][t % TAPS][i][r] = v;
        sum += v;
      }
      sums[i] += sum;
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
  const int64_t line = outputs[1] + TAPS - 1, points = ifd_quant_points(outputs);
  memset(sums + begin * LANES, 0, (size_t)((end - begin) * LANES) * sizeof *sums);
  for (int64_t panel = begin; panel < end; panel++) {
    int16_t *to = (int16_t *)(packed + (size_t)panel * ifd_quant_points_len(outputs, m->inner));
    const int64_t n = ifd_min_i64(LANES, m->n - panel * LANES);
    for (int64_t q = 0; q < pairs; q++, to += LANES * PAIR) {
      _Alignas(words) quads v;
      load_taps(v, sums + panel * LANES, m, q * PAIR, panel * LANES, n);
      transform(v, outputs);
      for (int64_t i = 0; i < points; i++)
        memcpy(to + i * pairs * LANES * PAIR, v[i / line][i % line], sizeof v[0][0]);
    }
  }
}
