/* Matrix products C = epilogue(A · B), C [m, n], A [m, k], B [k, n].
 *
 * float: each element of C is one chain of fused multiply-adds over k = 0, 1, 2 …, begun at 0, whatever the
 * tiles, the ISA, and whether B was packed. So any split of C in tasks gives the same bits.
 *
 * B is read by panels of 16 columns, [ceil(n / 16)][k][16] with zeros beyond n, the same on every ISA: a
 * constant B is packed once (pack_f32, ifd_k_gemm_packed_len), any other by each task into its scratch. A is
 * read by segments of k, [ceil(k / 16)][rows][16]: packed by each task, or, where several read the same rows,
 * before them all (pack_a_f32), or made so by whoever wrote it. */
#ifndef IFD_KERNELS_GEMM_GEMM_H
#define IFD_KERNELS_GEMM_GEMM_H

#include "kernels/anywhere.h"
#include "kernels/epilogue.h"
#include "kernels/gemm/narrow.h"

/* How B comes. */
typedef enum ifd_k_gemm_b { IFD_K_B_STRIDED, IFD_K_B_PACKED, IFD_K_B_NARROW } ifd_k_gemm_b;

typedef struct ifd_k_product {
  int64_t m, n, k;
  const float *a; /* A[i, k] = a[i * a_rs + k * a_cs], or, packed, a[k / 16 * a_vs + i * 16 + k % 16] */
  int64_t a_rs, a_cs;
  int64_t a_vs;   /* 0: not packed */
  const float *b; /* B[k, j] = b[k * b_rs + j * b_cs]; both strides 0: packed, or */
  int64_t b_rs, b_cs;
  int64_t b_steps;                /* of packed panels, of which k are read; 0: k */
  const ifd_k_narrow *narrow;     /* narrow, where this is not NULL */
  float *c;                       /* C[i, j] = c[i * c_rs + j / 16 * c_vs + j % 16] */
  int64_t c_rs, c_vs;             /* c_vs 0: 16, columns side by side */
  const ifd_k_epilogue *epilogue; /* pointers for row 0 and column 0 of C; NULL: the sums alone */
} ifd_k_product;

/* The same in double, with v = scale * sum + bias[j], or bias[i], as its whole epilogue. */
typedef struct ifd_k_product_f64 {
  int64_t m, n, k;
  const double *a;
  int64_t a_rs, a_cs;
  const double *b;
  int64_t b_rs, b_cs;
  double *c; /* C[i, j] = c[i * c_rs + j * c_cs] */
  int64_t c_rs, c_cs;
  double scale;
  const double *bias; /* or NULL */
  bool bias_by_row;
} ifd_k_product_f64;

/* C split in ceil(m / m_step) × ceil(n / n_step) tasks, rows fastest. Steps are multiples of 16 but for the
 * whole. */
typedef struct ifd_k_gemm_grid {
  int64_t m_step, n_step, n_m, n_tasks;
} ifd_k_gemm_grid;

/* A split that gives a few threads work of at least some ten microseconds each; from the shape alone, but for
 * one thread, which has it all. `threads`: 0 where several may be. `packed`: B is packed already. m, n, k >=
 * 1. */
ifd_k_gemm_grid ifd_k_gemm_split(int64_t m, int64_t n, int64_t k, bool packed, int threads);
/* Whether A should be packed before the tasks of a grid, several of which read the same rows. */
bool ifd_k_gemm_shares_a(const ifd_k_gemm_grid *grid, int64_t m, int64_t k, int64_t a_cs);
/* Bytes of packed A. */
size_t ifd_k_gemm_packed_a_len(int64_t m, int64_t k);
/* Bytes of packed B. */
size_t ifd_k_gemm_packed_len(int64_t n, int64_t k);
/* Bytes of scratch that run_f32 needs for a task of the grid; any smaller task of the same k needs no
 * more. */
size_t ifd_k_gemm_scratch_len(const ifd_k_gemm_grid *grid, int64_t k, ifd_k_gemm_b b);

struct ifd_k_gemm_table {
  /* Packs columns [j0, j1) of B[k, j] = b[k * b_rs + j * b_cs] to their place in `packed`; j0 is a multiple
   * of 16, and so is j1 unless it is n. */
  void (*pack_f32)(float *packed, const ifd_float_anywhere *b, int64_t b_rs, int64_t b_cs, int64_t k,
                   int64_t j0, int64_t j1);
  /* Packs segments [s0, s1) of rows [i0, i1) of g's A to their place among its m rows in `packed`. */
  void (*pack_a_f32)(float *packed, const ifd_k_product *g, int64_t i0, int64_t i1, int64_t s0, int64_t s1);
  /* Rows [i0, i1) and columns [j0, j1) of C; j0 is a multiple of 16. Scratch is 64-aligned. k = 0 gives
   * sums of 0. */
  void (*run_f32)(const ifd_k_product *g, int64_t i0, int64_t i1, int64_t j0, int64_t j1, void *scratch);
  void (*run_f64)(const ifd_k_product_f64 *g, int64_t i0, int64_t i1);
};

/* One task of the grid. */
static inline void ifd_k_gemm_run(const struct ifd_k_gemm_table *t, const ifd_k_product *g,
                                  const ifd_k_gemm_grid *grid, int64_t task, void *scratch) {
  int64_t i0 = task % grid->n_m * grid->m_step, j0 = task / grid->n_m * grid->n_step;
  int64_t i1 = i0 + grid->m_step < g->m ? i0 + grid->m_step : g->m;
  int64_t j1 = j0 + grid->n_step < g->n ? j0 + grid->n_step : g->n;
  t->run_f32(g, i0, i1, j0, j1, scratch);
}

#endif
