/* The walk of every float product, of matrices and of convolutions: blocks of columns, in them blocks of
 * rows, in them blocks of segments of k whose A is packed; in these, tiles. The chain of an element is the
 * same whatever the blocks, so they are chosen for the caches alone. */
#ifndef IFD_KERNELS_GEMM_PRODUCT_H
#define IFD_KERNELS_GEMM_PRODUCT_H

#include "base/checked.h"
#include "kernels/gemm/gemm.h"

/* Segments in a block of k, many where L1 has 48 KB and L2 2 MB, as processors with AVX-512 mostly have them;
 * else few: a panel of B stays in an L1 of 32 KB, packed A and sums in an L2 of 512 KB. */
enum { IFD_PRODUCT_MANY = 64, IFD_PRODUCT_FEW = 16 };
#if defined(IFD_ISA_avx512)
enum { IFD_PRODUCT_SEGMENTS = IFD_PRODUCT_MANY, IFD_PRODUCT_NEAR = 0 /* segments of rows in L1 */ };
#else /* planners, too: more blocks need more memory */
enum { IFD_PRODUCT_SEGMENTS = IFD_PRODUCT_FEW, IFD_PRODUCT_NEAR = 448 };
#endif

enum {
  IFD_PRODUCT_ROWS = 112,     /* of A packed at a time */
  IFD_PRODUCT_LONG = 256,     /* of one row, whose A is small and whose B comes in fewer, longer streams */
  IFD_PRODUCT_COLUMNS = 1024, /* for which A is packed */
  IFD_PRODUCT_OWN_B = 256,    /* whose B is packed at a time */
  IFD_PRODUCT_WIDE = 16,      /* whose narrow B is in L1 as floats, */
  IFD_PRODUCT_VECTORS = 4,    /* of columns of a tile, at most */
};

/* C [m, n] = epilogue(A · B); pointers are those of row 0 and column 0. */
typedef struct ifd_product {
  int64_t m, n;
  int64_t n_full, n_part, k_part; /* segments of k: n_full of 16, then n_part of k_part */
  int64_t k_head;                 /* before them, the last k_head floats of a segment; 0: none */
  /* A by segments [s][row][16]. pack() copies rows [i0, i1) of segments [s0, s1); without it, row i of
   * segment s is a + s * a_segment + i * 16. */
  void (*pack)(const void *source, float *to, int64_t i0, int64_t i1, int64_t s0, int64_t s1);
  const void *source;
  const float *a;
  int64_t a_segment;
  const int64_t *at; /* or segment s is a + at[s] + i * 16; NULL: not */
  /* B by panels of 16 columns, or, with strides, as b[k * b_rs + j * b_cs] to be packed here, or narrow. */
  const float *b;
  int64_t b_rs, b_cs;
  const ifd_k_narrow *narrow; /* NULL: b */
  int64_t b_steps;            /* of a packed panel, of which these may be some; 0: k's */
  bool streams;               /* all of B, of which this may be a part, is too large to be near */
  float *c;                   /* row i, vector v of 16 columns: c + i * c_rs + v * c_vs */
  int64_t c_rs, c_vs, other_rs, other_vs;
  bool fill; /* columns beyond n of the last vector are there and get zeros, else they are left alone */
  /* Instead of c: takes the sums of a block, of 16 * 1, 2 … columns from j0 on, each row `columns` apart. */
  void (*store)(const struct ifd_product *p, const float *sums, int64_t columns, int64_t i0, int64_t i1,
                int64_t j0, int64_t j1);
  int64_t skip; /* columns, fewer than 16, that are left alone: c and what else has columns begin with them */
  const ifd_k_epilogue *epilogue;
} ifd_product;

/* Whether B of n columns and k steps does not stay in L2 beside what else a run meets. */
static inline bool ifd_product_streams(int64_t n, int64_t k) { return (double)n * (double)k >= 1 << 18; }

/* Segments in a block of k of so many rows. */
static inline int64_t ifd_product_segments(int64_t m, ifd_k_gemm_b b) {
  if (b == IFD_K_B_NARROW) return IFD_PRODUCT_WIDE;
  return m == 1 ? IFD_PRODUCT_LONG : IFD_PRODUCT_SEGMENTS;
}

/* The parts of the scratch of a product, in bytes. */
typedef struct ifd_product_scratch {
  int64_t rows, columns, n_k; /* the largest block; blocks of k */
  size_t sums, b, len;        /* A comes first */
} ifd_product_scratch;

static inline size_t ifd_round_64(size_t n) { return (n + 63) / 64 * 64; }

/* For up to m rows and n columns over k in so many segments. More of each never needs less. */
static inline ifd_product_scratch ifd_product_scratch_of(int64_t m, int64_t n, int64_t k, int64_t n_segments,
                                                         ifd_k_gemm_b b, bool stores) {
  int64_t columns = ifd_min_i64(ifd_ceil_div(n, 16) * 16, b ? IFD_PRODUCT_COLUMNS : IFD_PRODUCT_OWN_B);
  ifd_product_scratch s = {.rows = ifd_min_i64(m, IFD_PRODUCT_ROWS),
                           .columns = columns,
                           .n_k = ifd_max_i64(1, ifd_ceil_div(n_segments, ifd_product_segments(m, b)))};
  bool waits = stores || s.n_k > 1;
  int64_t segments = ifd_max_i64(s.rows * ifd_min_i64(n_segments, IFD_PRODUCT_MANY),
                                 ifd_min_i64(n_segments, IFD_PRODUCT_LONG));
  s.sums = 64 * (size_t)segments;
  s.b = s.sums + (waits ? sizeof(float) * (size_t)s.rows * (size_t)s.columns : 0);
  s.len = s.b;
  if (b == IFD_K_B_STRIDED) s.len += sizeof(float) * (size_t)s.columns * (size_t)k;
  if (b == IFD_K_B_NARROW)
    s.len += 64 * 16 * IFD_PRODUCT_VECTORS * (size_t)ifd_min_i64(n_segments, IFD_PRODUCT_WIDE);
  return s;
}

#ifdef IFD_ISA
void IFD_K(ifd_product_run)(const ifd_product *p, void *scratch);
/* Rows [i0, i1) of g (kernels/gemm/gemm.h). */
void IFD_K(ifd_product_run_f64)(const ifd_k_product_f64 *g, int64_t i0, int64_t i1);
#endif
#endif
