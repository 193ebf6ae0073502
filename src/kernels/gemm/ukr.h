/* The micro-kernels of every product: tiles of M rows by NV vectors of 16 columns, summed in registers, one
 * below another over the same panels of B.
 *
 *     sum[i][j] = init[i][j] + Σ_s Σ_k a[at[s] + i * 16 + k] * b[s][k][j]
 *
 * Every IFD_UKR_CHAIN segments are one chain of fmas in this order, from 0; the ends of chains are added up
 * one after another, from init. Errors grow with the length of a chain (Higham, "The accuracy of floating
 * point summation", 1993): this way they are those of some 256 products, not of thousands.
 *
 * A comes in segments of 16 consecutive floats of k, one of k_head < 16 before them and some of k_part < 16
 * behind; at[] says where each begins, so that a segment may be a row's next 16 elements, a packed block or a
 * tap of a convolution. B panels are contiguous in read order, [k][16], b_vs apart. */
#ifndef IFD_KERNELS_GEMM_UKR_H
#define IFD_KERNELS_GEMM_UKR_H

#include "base/checked.h"
#include "kernels/epilogue.h"

/* The most rows of a tile of 1, 2, 3 and 4 vectors: its sums, a row of B and an element of A stay in
 * registers. */
#if defined(IFD_ISA_avx512)
#define IFD_UKR_TILES 0, 14, 14, 9, 6
enum { IFD_UKR_ROWS = 14, IFD_UKR_TILE = 14 * 2 * 16 };
#elif defined(IFD_ISA_avx2)
#define IFD_UKR_TILES 0, 6, 3, 1, 1
enum { IFD_UKR_ROWS = 6, IFD_UKR_TILE = 6 * 16 };
#else
#define IFD_UKR_TILES 0, 4, 2, 1, 1
enum { IFD_UKR_ROWS = 4, IFD_UKR_TILE = 4 * 16 };
#endif
enum { IFD_UKR_MAX_VECTORS = 4, IFD_UKR_CHAIN = 16 /* segments */ };

/* Where half of a vector is of no account, and would fill a register by itself: the tile of two vectors that
 * has it leaves it out, and takes more rows instead. */
typedef enum ifd_ukr_edge {
  IFD_UKR_WHOLE,
  IFD_UKR_HIGH_FIRST, /* of the first vector, the high half alone */
  IFD_UKR_LOW_LAST,   /* of the last one, the low half alone */
} ifd_ukr_edge;
#if defined(IFD_ISA_avx2)
enum { IFD_UKR_EDGE_ROWS = 4, IFD_UKR_N_EDGES = 3 };
#else
enum { IFD_UKR_EDGE_ROWS = 1, IFD_UKR_N_EDGES = 1 };
#endif

typedef struct ifd_ukr_args {
  const float *a;
  const int64_t *at; /* offsets in floats, of all segments */
  int64_t k_head;    /* 0: there is no such segment */
  int64_t n_full, n_part, k_part;
  const float *b;
  int64_t b_vs;
  ifd_ukr_edge edge;
  bool fetches_a; /* a tile fetches the rows of the next one */
  const float
      *next; /* what to fetch meanwhile, next_vs apart; NULL: the next panels, if several tiles read these */
  int64_t next_vs;   /* 0: b_vs */
  bool near;         /* these are in L2: nothing is fetched unless `next` says so */
  int64_t n_next;    /* lines of it with each segment for each vector, all tiles together */
  const float *init; /* sums so far; NULL: 0. It may be c. */
  int64_t init_rs, init_vs;
  float *c;
  int64_t c_rs, c_vs;
  bool finish;        /* store min(max(sum + bias + other, lo), hi) and what comes after, else the sums */
  int64_t lanes;      /* of the last vector that are finished; */
  bool fill;          /* zeros beyond, else these are left alone */
  int64_t skip;       /* lanes of the first vector that are left alone */
  const float *bias;  /* NV * 16 of them, or NULL: 0 */
  const float *other; /* or NULL: not added. It may be c. */
  int64_t other_rs, other_vs;
  float lo, hi;
  ifd_k_after after; /* of what is stored within these */
  /* Instead of c: takes each tile's sums, vector v of its row i at sums + (v * n_rows + i) * 16; or NULL. */
  void (*take)(const void *taker, const float *sums, int64_t row, int64_t n_rows);
  const void *taker;
} ifd_ukr_args;

/* Rows [0, n_rows) of 1 <= vectors <= 4 vectors, in tiles of about equal height. */
void IFD_K(ifd_ukr_run)(const ifd_ukr_args *t, int64_t n_rows, int64_t vectors);
/* The most rows of a tile of so many vectors. */
IFD_INLINE int64_t ifd_ukr_rows(int64_t vectors) {
  static const int8_t rows[] = {IFD_UKR_TILES};
  return rows[vectors];
}
/* Tiles over n_rows rows. Divisors that the compiler knows take it a multiplication. */
IFD_INLINE int64_t ifd_ukr_tiles(int64_t n_rows, int64_t vectors) {
  static const int8_t rows[] = {IFD_UKR_TILES};
  switch (vectors) {
  case 1: return ifd_ceil_div(n_rows, rows[1]);
  case 2: return ifd_ceil_div(n_rows, rows[2]);
  case 3: return ifd_ceil_div(n_rows, rows[3]);
  default: return ifd_ceil_div(n_rows, rows[4]);
  }
}
/* How many vectors a tile should take, where n_rows rows and n_vectors vectors are left. Of the usual tile
 * and others the fewest for each vector, since what a tile takes besides its sums is the same for all. One of
 * few rows reads more of B for its sums: only where it holds all rows. */
IFD_INLINE int64_t ifd_ukr_vectors(int64_t n_rows, int64_t n_vectors) {
  int64_t best = ifd_min_i64(IFD_UKR_TILE / (IFD_UKR_ROWS * 16), n_vectors);
  int64_t least = ifd_ukr_tiles(n_rows, best);
  for (int64_t v = best + 1; v <= IFD_UKR_MAX_VECTORS && v <= n_vectors; v++) {
    int64_t tiles = ifd_ukr_tiles(n_rows, v);
    bool suits = tiles == 1 || ifd_ukr_rows(v) > IFD_UKR_ROWS / 2;
    if (suits && tiles * best < least * v) best = v, least = tiles;
  }
  return best;
}

#endif
