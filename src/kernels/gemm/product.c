#include "kernels/gemm/product.h"
#include "kernels/gemm/pack.h"
#include "kernels/gemm/ukr.h"

_Static_assert((int)IFD_PRODUCT_VECTORS == (int)IFD_UKR_MAX_VECTORS, "scratch memory holds a tile's columns");

/* Vectors of 16 columns in rows. */
typedef struct plane {
  float *at;
  int64_t rs, vs;
} plane;

static float *in_plane(const plane *p, int64_t row, int64_t vector) {
  return p->at + row * p->rs + vector * p->vs;
}

/* A block: rows [i0, i1), columns [j0, j1), segments [s0, s1). */
typedef struct block {
  const ifd_product *p;
  ifd_ukr_args t; /* what all columns share */
  int64_t i0, i1, j0, j1, s0, s1;
  const float *b;   /* panel of column j0 at the block's first k; NULL: narrow */
  float *wide;      /* for a strip of narrow B as floats */
  plane sums;       /* of the block, where they wait between blocks of k, or for store() */
  plane to;         /* where they go after this one: there, or C */
  bool first, last; /* block of k */
  bool finish;      /* the kernels can do the whole epilogue, */
  bool bare;        /* which does nothing */
  int64_t *at;      /* of a block's segments */
} block;

static int64_t n_head(const ifd_product *p) { return p->k_head > 0; }
static int64_t n_segments(const ifd_product *p) { return n_head(p) + p->n_full + p->n_part; }

/* k steps before segment s. */
static int64_t steps_before(const ifd_product *p, int64_t s) {
  if (s == 0) return 0;
  s -= n_head(p);
  return p->k_head + (s <= p->n_full ? s * 16 : p->n_full * 16 + (s - p->n_full) * p->k_part);
}

static ifd_k_gemm_b b_of(const ifd_product *p) {
  if (p->narrow) return IFD_K_B_NARROW;
  return p->b_rs == 0 && p->b_cs == 0 ? IFD_K_B_PACKED : IFD_K_B_STRIDED;
}

/* Whether the kernels can do the whole epilogue, as what comes after min(max(sum + bias + other, lo), hi). */
static bool set_finish(ifd_ukr_args *t, const ifd_product *p) {
  const ifd_k_epilogue *e = p->epilogue;
  t->lo = e->act == IFD_K_ACT_CLIP ? e->p[0] : -INFINITY;
  t->hi = e->act == IFD_K_ACT_CLIP ? e->p[1] : INFINITY;
  t->after = ifd_k_after_of(e);
  if (e->rounds_sums || (e->rounding && e->join)) return false;
  return !p->store && e->join <= IFD_K_JOIN_ADD && e->scale == 1 && !e->row_bias;
}

/* Whether the sums are the results. */
static bool is_bare(const ifd_k_epilogue *e) {
  return e->act == IFD_K_ACT_NONE && e->rounding == IFD_K_ACT_NONE && e->join == IFD_K_JOIN_NONE &&
         e->scale == 1 && !e->bias && !e->row_bias;
}

/* Lines of each panel that a tile by itself fetches ahead of those it reads, two of four, where B comes from
 * far: the hardware fetches the others, but alone is slower, or, without AVX-512, as measured on Zen 3,
 * faster by itself. */
#if defined(IFD_ISA_avx512)
enum { LINES_AHEAD = 16 };
#else
enum { LINES_AHEAD = 0 };
#endif

/* Whether A, which is not packed, comes from farther than L2, so that rows are fetched ahead. What was just
 * made and is small is near, and tiles that fetch nothing are quicker. */
static bool a_is_far(const ifd_product *p) {
  enum { NEAR = 1 << 18 };
  return !p->pack && (double)p->a_segment * (double)n_segments(p) > NEAR;
}

/* Columns [j, j + n_cols) of a block. */
typedef struct strip {
  const block *k;
  int64_t j, n_cols;
} strip;

/* Sums of a tile to C through the general epilogue. */
static void finish(const void *taker, const float *sums, int64_t row, int64_t n_rows) {
  const strip *s = taker;
  const ifd_product *p = s->k->p;
  const ifd_k_epilogue *e = p->epilogue;
  int64_t i = s->k->i0 + row, j = s->j;
  IFD_K(ifd_k_finish)
  (e, &(ifd_k_tile){.sums = sums,
                    .sums_rs = 16,
                    .sums_vs = n_rows * 16,
                    .y = p->c + i * p->c_rs + j / 16 * p->c_vs,
                    .y_rs = p->c_rs,
                    .y_vs = p->c_vs,
                    .other = e->join ? e->other + i * p->other_rs + j / 16 * p->other_vs : NULL,
                    .other_rs = p->other_rs,
                    .other_vs = p->other_vs,
                    .bias = e->bias ? e->bias + j : NULL,
                    .row_bias = e->row_bias ? e->row_bias + i : NULL,
                    .n_rows = n_rows,
                    .n_cols = s->n_cols,
                    .skip = j == 0 ? p->skip : 0,
                    .fill = p->fill});
}

/* The n floats of a last tile's bias, zeros beyond. */
static const float *padded(float *to, const float *bias, int64_t n, int64_t n_vectors) {
  for (int64_t j = 0; j < n_vectors * 16; j++) to[j] = j < n ? bias[j] : 0;
  return to;
}

/* The strip's part of narrow B, and, to fetch meanwhile, the next one's, of this block of k or the next. */
static void widen(const block *k, ifd_ukr_args *t, int64_t j, int64_t n_vectors) {
  const ifd_k_narrow *b = k->p->narrow, from = ifd_k_narrow_from(b, j);
  int64_t k0 = steps_before(k->p, k->s0), k1 = steps_before(k->p, k->s1), next = j + n_vectors * 16;
  IFD_K(ifd_narrow_widen)(k->wide, &from, n_vectors, k0, k1);
  t->b = k->wide, t->b_vs = (k1 - k0) * 16, t->near = true;
  if (next >= k->j1 && k->last) return;
  const ifd_k_narrow then = ifd_k_narrow_from(b, next < k->j1 ? next : k->j0);
  t->next = (const float *)(then.b + ifd_k_narrow_len(b->form, 16, next < k->j1 ? k0 : k1));
  t->next_vs = (int64_t)(ifd_k_narrow_len(b->form, 16, b->k) / sizeof(float));
  t->n_next = (int64_t)ifd_k_narrow_len(b->form, 16, 16) / 64;
}

/* All rows of the block by the n_vectors vectors from column j on. Apart, lest arguments that all share be
 * written anew for each. */
static __attribute__((noinline)) void run_column(const block *k, int64_t j, int64_t n_vectors,
                                                 ifd_ukr_edge edge) {
  const int64_t vector = (j - k->j0) / 16;
  const ifd_product *p = k->p;
  float bias[IFD_UKR_MAX_VECTORS * 16];
  const strip columns = {k, j, ifd_min_i64(n_vectors * 16, p->n - j)};
  bool whole = columns.n_cols == n_vectors * 16;
  ifd_ukr_args t = k->t;
  t.edge = edge;
  t.fetches_a = vector == 0 && a_is_far(p);
  if (k->b)
    t.b = k->b + vector * t.b_vs;
  else
    widen(k, &t, j, n_vectors);
  if (LINES_AHEAD && k->b && p->streams && ifd_ukr_tiles(k->i1 - k->i0, n_vectors) == 1)
    t.next = t.b + LINES_AHEAD * 16, t.n_next = LINES_AHEAD;
  if (!k->first) t.init = in_plane(&k->sums, 0, vector);
  t.c = in_plane(&k->to, 0, vector);
  const bool bare = k->bare && whole && (j > 0 || p->skip == 0);
  t.finish = k->last && k->finish && !bare;
  if (t.finish) {
    t.fill = p->fill;
    t.skip = j == 0 ? p->skip : 0;
    t.lanes = columns.n_cols - (n_vectors - 1) * 16;
    if (t.other) t.other += k->i0 * t.other_rs + j / 16 * t.other_vs;
    if (t.bias) t.bias = whole ? t.bias + j : padded(bias, t.bias + j, columns.n_cols, n_vectors);
  } else if (k->last && !p->store && !bare) {
    t.take = finish, t.taker = &columns;
  }
  IFD_K(ifd_ukr_run)(&t, k->i1 - k->i0, n_vectors);
}

/* The half of the two vectors from column j on that holds no column, if they are taken together for it. */
static ifd_ukr_edge edge_at(const block *k, int64_t j) {
  int64_t left = k->j1 - j;
  bool fits = IFD_UKR_N_EDGES > 1 && k->finish && k->i1 - k->i0 >= IFD_UKR_EDGE_ROWS;
  if (!fits || left <= 16) return IFD_UKR_WHOLE;
  if (left <= 24) return IFD_UKR_LOW_LAST;
  return j == 0 && k->p->skip >= 8 ? IFD_UKR_HIGH_FIRST : IFD_UKR_WHOLE;
}

/* Panels of B outside, so that one stays near while the rows of A pass by. */
static void run_columns(const block *k) {
  for (int64_t j = k->j0, v; j < k->j1; j += v * 16) {
    ifd_ukr_edge edge = edge_at(k, j);
    v = edge ? 2 : ifd_ukr_vectors(k->i1 - k->i0, ifd_ceil_div(k->j1 - j, 16));
    run_column(k, j, v, edge);
  }
}

/* The tiles' part of the segments. */
static void set_segments(block *k) {
  const ifd_product *p = k->p;
  int64_t first = n_head(p), full = first + p->n_full;
  k->t.k_head = k->s0 == 0 ? p->k_head : 0;
  k->t.n_full = ifd_max_i64(0, ifd_min_i64(k->s1, full) - ifd_max_i64(k->s0, first));
  k->t.n_part = k->s1 - ifd_max_i64(k->s0, first) - k->t.n_full;
}

/* The sums of the block go on, or end, in C or in store(). */
static void set_planes(block *k) {
  const ifd_product *p = k->p;
  k->to = k->last && !p->store ? (plane){p->c + k->i0 * p->c_rs + k->j0 / 16 * p->c_vs, p->c_rs, p->c_vs}
                               : k->sums;
  k->t.init_rs = k->sums.rs, k->t.init_vs = k->sums.vs;
  k->t.c_rs = k->to.rs, k->t.c_vs = k->to.vs;
}

/* Whether A of all k is packed at once, for several blocks of columns: where it stays in L2. */
static bool packs_whole(const ifd_product *p, const ifd_product_scratch *size) {
  enum { NEAR = 1 << 18 };
  const int64_t n = n_segments(p);
  if (!p->pack || p->n <= size->columns) return false;
  return size->n_k == 1 || (n <= IFD_PRODUCT_MANY && size->rows * n * 64 <= NEAR);
}

/* The block's rows and columns over all k. `a` is for packed A; it is there already if it is `whole`. */
static void run_segments(block *k, int64_t n_k, const float *b, float *a, bool whole) {
  const ifd_product *p = k->p;
  int64_t n = n_segments(p), apart = p->pack ? (k->i1 - k->i0) * 16 : p->a_segment;
  int64_t columns = ifd_ceil_div(k->j1 - k->j0, 16) * 16, n_chains = ifd_ceil_div(n, IFD_UKR_CHAIN);
  k->sums.rs = p->store ? columns : 16, k->sums.vs = p->store ? 16 : (k->i1 - k->i0) * 16;
  for (int64_t s = 0; s < ifd_product_segments(p->m, b_of(p)) && s < n; s++) k->at[s] = s * apart;
  k->t.at = k->at;
  for (int64_t i = 0; i < n_k; i++) {
    k->s0 = n_chains * i / n_k * IFD_UKR_CHAIN;
    k->s1 = ifd_min_i64(n_chains * (i + 1) / n_k * IFD_UKR_CHAIN, n);
    k->first = i == 0, k->last = i == n_k - 1;
    k->at[0] = i == 0 && p->k_head ? 16 - p->k_head : 0;
    set_segments(k);
    if (p->pack && !whole) p->pack(p->source, a, k->i0, k->i1, k->s0, k->s1);
    k->t.a = p->pack ? a : p->a + k->i0 * 16;
    if (p->at)
      k->t.at = p->at + k->s0;
    else if (!p->pack || whole)
      k->t.a += k->s0 * apart;
    k->b = b ? b + steps_before(p, k->s0) * 16 : NULL;
    set_planes(k);
    run_columns(k);
  }
  if (p->store) p->store(p, k->sums.at, columns, k->i0, k->i1, k->j0, k->j1);
}

/* Blocks of rows are about as high as each other. On AVX2 they are whole tiles: fewer in all, and fewer
 * blocks of a power of two of rows, whose segments would meet in few lines of L1. */
#if defined(IFD_ISA_avx2)
enum { BLOCK_UNIT = IFD_UKR_ROWS };
#else
enum { BLOCK_UNIT = 1 };
#endif

/* Rows of a block. What a block takes besides its products weighs where k is short; of A that is read as it
 * lies as many rows as stay in L1 while the columns pass by. */
static int64_t rows_at_once(const ifd_product *p, const ifd_product_scratch *size) {
  if (p->pack || p->store || size->n_k > 1) return IFD_PRODUCT_ROWS;
  return ifd_max_i64(IFD_PRODUCT_ROWS, IFD_PRODUCT_NEAR / ifd_max_i64(1, n_segments(p)));
}

void IFD_K(ifd_product_run)(const ifd_product *p, void *scratch) {
  int64_t steps = steps_before(p, n_segments(p));
  int64_t panel = p->b_steps ? p->b_steps : steps;
  ifd_k_gemm_b form = b_of(p);
  ifd_product_scratch size = ifd_product_scratch_of(p->m, p->n, steps, n_segments(p), form, p->store);
  char *base = scratch;
  float *own_b = (float *)(base + size.b);
  int64_t at[IFD_PRODUCT_LONG];
  block k = {.p = p, .sums.at = (float *)(base + size.sums), .at = at, .wide = own_b};
  k.t = (ifd_ukr_args){.k_part = p->k_part,
                       .b_vs = panel * 16,
                       .bias = p->epilogue->bias,
                       .other_rs = p->other_rs,
                       .other_vs = p->other_vs};
  k.t.other = p->epilogue->join ? p->epilogue->other : NULL;
  k.finish = set_finish(&k.t, p), k.bare = is_bare(p->epilogue);
  const int64_t units = ifd_ceil_div(p->m, BLOCK_UNIT);
  int64_t n_i = ifd_ceil_div(units, rows_at_once(p, &size) / BLOCK_UNIT),
          n_j = ifd_ceil_div(p->n, size.columns);
  const bool whole = packs_whole(p, &size);
  for (int64_t x = 0; x < n_i * n_j; x++) {
    int64_t i = x / n_j, j = x % n_j;
    k.i0 = units * i / n_i * BLOCK_UNIT, k.i1 = ifd_min_i64(units * (i + 1) / n_i * BLOCK_UNIT, p->m);
    k.j0 = j * size.columns, k.j1 = ifd_min_i64(k.j0 + size.columns, p->n);
    if (form == IFD_K_B_STRIDED && (i == 0 || n_j > 1))
      IFD_K(ifd_k_pack_b)(own_b, p->b + k.j0 * p->b_cs, p->b_rs, p->b_cs, steps, k.j1 - k.j0);
    const float *b = form == IFD_K_B_STRIDED ? own_b : form == IFD_K_B_PACKED ? p->b + k.j0 * panel : NULL;
    if (whole && j == 0) p->pack(p->source, scratch, k.i0, k.i1, 0, n_segments(p));
    run_segments(&k, size.n_k, b, scratch, whole);
  }
}
