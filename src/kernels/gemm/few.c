#include "kernels/gemm/few.h"

#include <string.h>

#include "base/checked.h"
#include "kernels/gemm/ukr.h"
#include "kernels/transpose.h"

enum { CHAIN = IFD_UKR_CHAIN * 16, ROWS = IFD_FEW_ROWS };

/* sum = chain, or sum + chain where it is not the first */
IFD_INLINE void end_chain(float *sum, const float *chain, int64_t n, bool first) {
  for (int64_t i = 0; i < n; i += 16) {
    const v16 c = v16_load(chain + i);
    v16_store(sum + i, first ? c : v16_add(v16_load(sum + i), c));
  }
}

/* Rows [i0, i0 + m) and columns [j, j + n) of C from their sums, rs apart. */
static void finish(const ifd_k_product *g, const float *sums, int64_t rs, int64_t i0, int64_t m, int64_t j,
                   int64_t n) {
  const ifd_k_epilogue e = g->epilogue ? *g->epilogue : IFD_K_EPILOGUE_NONE;
  const int64_t c_vs = g->c_vs ? g->c_vs : 16;
  IFD_K(ifd_k_finish)
  (&e, &(ifd_k_tile){.sums = sums,
                     .sums_rs = rs,
                     .sums_vs = 16,
                     .y = g->c + i0 * g->c_rs + j / 16 * c_vs,
                     .y_rs = g->c_rs,
                     .y_vs = c_vs,
                     .other = e.join ? e.other + i0 * e.other_rs + j : NULL,
                     .other_rs = e.other_rs,
                     .other_vs = 16,
                     .bias = e.bias ? e.bias + j : NULL,
                     .row_bias = e.row_bias ? e.row_bias + i0 : NULL,
                     .n_rows = m,
                     .n_cols = n});
}

/* ---- a step's numbers of B side by side ---- */

/* The chains and the sums of a block of columns wait in L1; some steps at once are added to them. */
enum { FLOATS = 1024 };

typedef struct block {
  int64_t n, rs; /* columns, floats between rows of chains */
  const float *b;
  int64_t b_rs;
  float a[ROWS][CHAIN]; /* of the chain's steps */
  float chain[FLOATS];
} block;

/* M and STEPS are constants wherever this is inlined. */
IFD_INLINE void add_steps(const int M, const int STEPS, block *t, int64_t step) {
  v16 a[ROWS][8];
  const float *b = t->b + step * t->b_rs;
  for (int i = 0; i < M; i++)
    for (int s = 0; s < STEPS; s++) a[i][s] = v16_set1(t->a[i][step + s]);
  for (int64_t j = 0; j < t->n; j += 16) {
    const int some = t->n - j < 16 ? (int)(t->n - j) : 16;
    v16 sum[ROWS];
    for (int i = 0; i < M; i++) sum[i] = v16_load(t->chain + i * t->rs + j);
    for (int s = 0; s < STEPS; s++) {
      const float *from = b + s * t->b_rs + j;
      const v16 vb = some == 16 ? v16_load(from) : v16_load_n(from, some);
      for (int i = 0; i < M; i++) sum[i] = v16_fma(a[i][s], vb, sum[i]);
    }
    for (int i = 0; i < M; i++) v16_store(t->chain + i * t->rs + j, sum[i]);
  }
}
#define ADD_CHAIN(M, STEPS)                                                                                  \
  static void add_chain_##M(block *t, int64_t n) {                                                           \
    int64_t k = 0;                                                                                           \
    for (; k + STEPS <= n; k += STEPS) add_steps(M, STEPS, t, k);                                            \
    for (; k < n; k++) add_steps(M, 1, t, k);                                                                \
  }

/* Steps [k0, k1) of row i of A. */
static void copy_a(float *to, const ifd_k_product *g, int64_t i, int64_t k0, int64_t k1) {
  for (int64_t k = k0; k < k1; k++, to++)
    *to = g->a_vs ? g->a[k / 16 * g->a_vs + i * 16 + k % 16] : g->a[i * g->a_rs + k * g->a_cs];
}

static void by_rows(const ifd_k_product *g, int64_t i0, int64_t i1, int64_t j0, int64_t j1,
                    void (*add_chain)(block *t, int64_t n)) {
  const int64_t m = i1 - i0;
  block t = {.b_rs = g->b_rs, .rs = FLOATS / m / 16 * 16};
  float sum[FLOATS] = {0};
  for (int64_t j = j0; j < j1; j += t.n) {
    t.n = ifd_min_i64(t.rs, j1 - j);
    for (int64_t k0 = 0, k1; k0 < g->k; k0 = k1) {
      k1 = ifd_min_i64(k0 + CHAIN, g->k);
      t.b = g->b + k0 * g->b_rs + j;
      for (int64_t i = 0; i < m; i++) copy_a(t.a[i], g, i0 + i, k0, k1);
      memset(t.chain, 0, sizeof t.chain);
      add_chain(&t, k1 - k0);
      end_chain(sum, t.chain, FLOATS, k0 == 0);
    }
    finish(g, sum, t.rs, i0, m, j, t.n);
  }
}

/* ---- a column's numbers of B side by side ---- */

/* Lanes of columns, turned in registers, are a job for one chain. Jobs at once do not wait for each other,
 * and those of one column's chains need fewer lines in one set of the cache than those of many columns. */
#if defined(IFD_ISA_avx2)
typedef __m256 lanes;
enum { LANES = 8, STEPS = 4 };
IFD_INLINE lanes zero(void) { return _mm256_setzero_ps(); }
IFD_INLINE lanes add_product(float a, lanes b, lanes sum) {
  return _mm256_fmadd_ps(_mm256_set1_ps(a), b, sum);
}
IFD_INLINE void load_turned(lanes to[STEPS], const float *b, int64_t b_cs) { ifd_turned_8x4(to, b, b_cs); }
/* With every four steps two of the eight lines of sixteen steps, two lines before they are needed. */
IFD_INLINE void fetch_ahead(const float *b, int64_t b_cs, int64_t k) {
  const float *next = b + k % 16 / 2 * b_cs + k / 16 * 16 + 32;
  __builtin_prefetch(next, 0, 3);
  __builtin_prefetch(next + b_cs, 0, 3);
}
#else
typedef v16 lanes;
enum { LANES = 16, STEPS = 16 };
IFD_INLINE lanes zero(void) { return v16_zero(); }
IFD_INLINE lanes add_product(float a, lanes b, lanes sum) { return v16_fma(v16_set1(a), b, sum); }
IFD_INLINE void load_turned(lanes to[STEPS], const float *b, int64_t b_cs) {
  for (int j = 0; j < 16; j++) to[j] = v16_load(b + j * b_cs);
  v16_transpose(to);
}
IFD_INLINE void fetch_ahead(const float *b, int64_t b_cs, int64_t k) { (void)b, (void)b_cs, (void)k; }
#endif

enum { MOST_JOBS = 4, COLUMNS = 32, CHAINS = 16 /* whose ends wait to be added up */ };

typedef struct job {
  const float *a, *b;
  float *to; /* rows are COLUMNS apart */
} job;

/* NJ jobs of n steps for M rows of A. */
IFD_INLINE void run_jobs(const int M, const int NJ, const job *jobs, int64_t a_rs, int64_t b_cs, int64_t n) {
  lanes sum[MOST_JOBS][ROWS], b[STEPS];
  const float *a_of[MOST_JOBS], *b_of[MOST_JOBS];
  int64_t k = 0;
  for (int x = 0; x < NJ; x++) {
    a_of[x] = jobs[x].a, b_of[x] = jobs[x].b;
    for (int i = 0; i < M; i++) sum[x][i] = zero();
  }
  for (; k + STEPS <= n; k += STEPS) _Pragma("GCC unroll 4") for (int x = 0; x < NJ; x++) {
      fetch_ahead(b_of[x], b_cs, k);
      load_turned(b, b_of[x] + k, b_cs);
      _Pragma("GCC unroll 16") for (int s = 0; s < STEPS; s++)
          _Pragma("GCC unroll 4") for (int i = 0; i < M; i++) sum[x][i] =
              add_product(a_of[x][i * a_rs + k + s], b[s], sum[x][i]);
    }
  for (; k < n; k++)
    for (int x = 0; x < NJ; x++) {
      float column[LANES];
      for (int l = 0; l < LANES; l++) column[l] = b_of[x][k + l * b_cs];
      memcpy(&b[0], column, sizeof b[0]);
      for (int i = 0; i < M; i++) sum[x][i] = add_product(a_of[x][i * a_rs + k], b[0], sum[x][i]);
    }
  for (int x = 0; x < NJ; x++)
    for (int i = 0; i < M; i++) memcpy(jobs[x].to + i * COLUMNS, &sum[x][i], sizeof(lanes));
}
typedef void jobs_run(const job *jobs, int64_t n_jobs, int64_t a_rs, int64_t b_cs, int64_t n);
#define RUN_JOBS(M, NJ)                                                                                      \
  static void run_jobs_##M(const job *jobs, int64_t n_jobs, int64_t a_rs, int64_t b_cs, int64_t n) {         \
    for (; n_jobs >= NJ; n_jobs -= NJ, jobs += NJ) run_jobs(M, NJ, jobs, a_rs, b_cs, n);                     \
    for (; n_jobs; n_jobs--, jobs++) run_jobs(M, 1, jobs, a_rs, b_cs, n);                                    \
  }

/* Columns [j, j + n), at least as many as lanes: the last ones begin sooner. */
static void by_columns(const ifd_k_product *g, int64_t i0, int64_t i1, int64_t j, int64_t n, jobs_run *run) {
  const int64_t m = i1 - i0;
  float sum[ROWS * COLUMNS] = {0}, ends[CHAINS][ROWS * COLUMNS];
  const float *a = g->a + i0 * g->a_rs;
  for (int64_t k0 = 0, k1; k0 < g->k; k0 = k1) {
    job jobs[CHAINS * COLUMNS / LANES], rest[COLUMNS / LANES];
    int64_t n_jobs = 0, n_rest = 0;
    k1 = ifd_min_i64(k0 + CHAINS * CHAIN, g->k);
    for (int64_t l = 0; l < n; l += LANES) {
      int64_t at = ifd_min_i64(l, n - LANES);
      for (int64_t k = k0; k < k1; k += CHAIN) {
        const job one = {a + k, g->b + k + (j + at) * g->b_cs, ends[(k - k0) / CHAIN] + at};
        if (k + CHAIN <= k1)
          jobs[n_jobs++] = one;
        else
          rest[n_rest++] = one;
      }
    }
    run(jobs, n_jobs, g->a_rs, g->b_cs, CHAIN);
    run(rest, n_rest, g->a_rs, g->b_cs, (k1 - k0) % CHAIN);
    for (int64_t k = k0; k < k1; k += CHAIN) end_chain(sum, ends[(k - k0) / CHAIN], m * COLUMNS, k == 0);
  }
  finish(g, sum, COLUMNS, i0, m, j, n);
}

/* ---- both ---- */

#if IFD_FEW_MOST == 1
#define EACH_M(X) X(1, 8, 1)
#else
#define EACH_M(X) X(1, 8, 4) X(2, 4, 4) X(3, 2, 2) X(4, 2, 2)
#endif
#define KERNELS(M, STEPS, NJ) ADD_CHAIN(M, STEPS) RUN_JOBS(M, NJ)
EACH_M(KERNELS)

void IFD_K(ifd_few_rows)(const ifd_k_product *g, int64_t i0, int64_t i1, int64_t j0, int64_t j1) {
#define ENTRY(M, STEPS, NJ) [M] = {add_chain_##M, run_jobs_##M},
  static const struct {
    void (*add_chain)(block *t, int64_t n);
    jobs_run *run;
  } kernels[] = {EACH_M(ENTRY)};
#undef ENTRY
  if (g->b_cs == 1) {
    by_rows(g, i0, i1, j0, j1, kernels[i1 - i0].add_chain);
    return;
  }
  for (int64_t j = j0, n; j < j1; j += n) {
    n = ifd_min_i64(COLUMNS, j1 - j);
    if (j1 - j > n && j1 - j - n < 16) n -= 16; /* no fewer are left */
    by_columns(g, i0, i1, j, n, kernels[i1 - i0].run);
  }
}
