#include "kernels/gemm/pack.h"
#include "kernels/transpose.h"

IFD_INLINE v16 load_some(const ifd_float_anywhere *p, int n) {
  return n == 16 ? v16_load(p) : v16_load_n(p, n);
}

/* n rows of n_lanes consecutive floats: as they are, zeros beyond. */
static void copy_rows(float *to, const ifd_float_anywhere *from, int64_t rs, int64_t n, int n_lanes) {
  for (int64_t i = 0; i < n; i++) v16_store(to + i * 16, load_some(from + i * rs, n_lanes));
}

/* n rows whose n_lanes lanes are ls apart, consecutive rows side by side: by squares. */
static void turn_rows(float *to, const ifd_float_anywhere *from, int64_t ls, int64_t n, int n_lanes) {
  int64_t i = 0;
  for (; n_lanes == 16 && i + 16 <= n; i += 16) ifd_turn_square(to + i * 16, 16, from + i, ls);
  for (; i < n; i += 16) {
    v16 t[16];
    int rows = n - i < 16 ? (int)(n - i) : 16;
    for (int l = 0; l < 16; l++) t[l] = l < n_lanes ? load_some(from + i + l * ls, rows) : v16_zero();
    v16_transpose(t);
    for (int r = 0; r < rows; r++) v16_store(to + (i + r) * 16, t[r]);
  }
}

static void pick_rows(float *to, const ifd_float_anywhere *from, int64_t rs, int64_t ls, int64_t n,
                      int n_lanes) {
  for (int64_t i = 0; i < n; i++)
    for (int l = 0; l < 16; l++) to[i * 16 + l] = l < n_lanes ? from[i * rs + l * ls] : 0;
}

/* n rows of 16 lanes from floats rs and ls apart. */
static void pack_rows(float *to, const ifd_float_anywhere *from, int64_t rs, int64_t ls, int64_t n,
                      int n_lanes) {
  if (ls == 1)
    copy_rows(to, from, rs, n, n_lanes);
  else if (rs == 1)
    turn_rows(to, from, ls, n, n_lanes);
  else
    pick_rows(to, from, rs, ls, n, n_lanes);
}

/* The whole segments of rows whose k are side by side: row by row, each from begin to end. */
static void copy_segments(float *to, int64_t apart, const ifd_float_anywhere *a, int64_t a_rs, int64_t rows,
                          int64_t n_segments) {
  for (int64_t i = 0; i < rows; i++, a += a_rs)
    for (int64_t s = 0; s < n_segments; s++) {
      __builtin_prefetch(a + s * 16 + 2 * a_rs);
      v16_store(to + s * apart + i * 16, v16_load(a + s * 16));
    }
}

void IFD_K(ifd_k_pack_a)(float *to, int64_t apart, const ifd_float_anywhere *a, int64_t a_rs, int64_t a_cs,
                         int64_t rows, int64_t k) {
  const int64_t whole = a_cs == 1 ? k / 16 : 0;
  copy_segments(to, apart, a, a_rs, rows, whole);
  for (int64_t s = whole; s * 16 < k; s++)
    pack_rows(to + s * apart, a + s * 16 * a_cs, a_rs, a_cs, rows, k - s * 16 < 16 ? (int)(k - s * 16) : 16);
}

/* Rows of k that are read for all columns before the next, so that memory far apart is met less often. */
enum { ROWS_AT_ONCE = 64 };

void IFD_K(ifd_k_pack_b)(float *to, const ifd_float_anywhere *b, int64_t b_rs, int64_t b_cs, int64_t k,
                         int64_t n) {
  for (int64_t i = 0; i < k; i += ROWS_AT_ONCE) {
    int64_t rows = k - i < ROWS_AT_ONCE ? k - i : ROWS_AT_ONCE;
    for (int64_t j = 0; j < n; j += 16)
      pack_rows(to + (j * k + i * 16), b + i * b_rs + j * b_cs, b_rs, b_cs, rows,
                n - j < 16 ? (int)(n - j) : 16);
  }
}
