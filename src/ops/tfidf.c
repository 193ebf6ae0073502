/* TfIdfVectorizer: how often the n-grams of a pool occur in each row, skips between their items allowed. */
#include <string.h>

#include "ops/shared/lookup.h"
#include "ops/shared/scores.h"
#include "tensor/convert.h"

/* The n-grams as a tree of items: edge (node, item) leads to a node, found by hashing. Items are named by
 * their place in the pool, the last of equals. */
typedef struct edge {
  int64_t from, item;
  int64_t to; /* 0: free slot; node 0 is the root */
} edge;

typedef struct tfidf {
  ifd_tensor pool;
  ifd_lookup items;
  edge *edges;
  uint64_t mask;
  int64_t n_nodes;
  int64_t *ngram; /* of each node: 1 + the n-gram that ends there, or 0 */
  const int64_t *columns, *starts;
  int64_t n_ngrams, n_sizes, n_columns;
  int64_t min_len, max_len, max_skip;
  const float *weights; /* of each column, or NULL */
  bool truncates;       /* counts to 1 */
} tfidf;

/* ---- attributes ---- */

typedef struct reader {
  ifd_error *err;
  const ifd_node *node;
  ifd_arena *arena;
} reader;

static ifd_status read_mode(const reader *r, tfidf *f) {
  const ifd_node *node = r->node;
  int n = ifd_node_floats(node, "weights", &f->weights);
  f->truncates = ifd_node_string_is(node, "mode", "", "IDF");
  bool plain = ifd_node_string_is(node, "mode", "", "TF");
  EXPECT(r->err, plain || f->truncates || ifd_node_string_is(node, "mode", "", "TFIDF"), BAD_MODEL,
         "attribute mode is not TF, IDF or TFIDF");
  if (n == 0 || plain) f->weights = NULL;
  EXPECT(r->err, !f->weights || n >= f->n_columns, BAD_MODEL,
         "attribute weights has %d elements for %lld columns", n, (long long)f->n_columns);
  return IFD_OK;
}

static int64_t count_columns(const ifd_node *node) {
  const int64_t *columns;
  int64_t most = -1;
  int n = ifd_node_ints(node, "ngram_indexes", &columns);
  for (int i = 0; i < n; i++) most = ifd_max_i64(most, columns[i]);
  return most < INT64_MAX ? most + 1 : most;
}

static ifd_status read_tfidf(const reader *r, tfidf *f, ifd_dtype dtype) {
  const ifd_node *node = r->node;
  int n =
      ifd_attr_as_tensor(node, "pool_strings", &f->pool) + ifd_attr_as_tensor(node, "pool_int64s", &f->pool);
  EXPECT(r->err, n == 1, BAD_MODEL, "%s of the attributes pool_strings and pool_int64s must be given",
         n ? "only one" : "one");
  EXPECT(r->err, (dtype == IFD_STRING) == (f->pool.dtype == IFD_STRING), BAD_INPUT,
         "the input is of type %s, the pool of type %s", ifd_dtype_name(dtype),
         ifd_dtype_name(f->pool.dtype));
  f->n_ngrams = ifd_node_ints(node, "ngram_indexes", &f->columns);
  f->n_sizes = ifd_node_ints(node, "ngram_counts", &f->starts);
  f->n_columns = count_columns(node);
  f->min_len = ifd_node_int(node, "min_gram_length", 0);
  f->max_len = ifd_node_int(node, "max_gram_length", 0);
  f->max_skip = ifd_node_int(node, "max_skip_count", -1);
  EXPECT(r->err, f->min_len >= 1 && f->max_len >= f->min_len && f->max_skip >= 0, BAD_MODEL,
         "attributes min_gram_length %lld, max_gram_length %lld and max_skip_count %lld do not fit together",
         (long long)f->min_len, (long long)f->max_len, (long long)f->max_skip);
  for (int64_t i = 0; i < f->n_ngrams; i++)
    EXPECT(r->err, f->columns[i] >= 0, BAD_MODEL, "attribute ngram_indexes has %lld",
           (long long)f->columns[i]);
  return read_mode(r, f);
}

/* ---- the tree ---- */

static edge *find_edge(const tfidf *f, int64_t from, int64_t item) {
  uint64_t hash = ifd_hash_mix((uint64_t)from, (uint64_t)item);
  edge *e;
  while ((e = &f->edges[hash & f->mask])->to && (e->from != from || e->item != item)) hash++;
  return e;
}

/* n-grams of `len` items at [first, end) of the pool, the first of them number `id`. */
static ifd_status add_ngrams(const reader *r, tfidf *f, int64_t len, int64_t first, int64_t end, int64_t id) {
  for (; first < end; first += len, id++) {
    int64_t node = 0;
    for (int64_t i = first; i < first + len; i++) {
      int64_t item = ifd_lookup_find(&f->items, f->pool.dtype, f->pool.data, i);
      edge *e = find_edge(f, node, item);
      if (!e->to) *e = (edge){node, item, f->n_nodes++};
      node = e->to;
    }
    EXPECT(r->err, id < f->n_ngrams, BAD_MODEL, "the pool has more n-grams than ngram_indexes' %lld",
           (long long)f->n_ngrams);
    f->ngram[node] = id + 1;
  }
  return IFD_OK;
}

static ifd_status build_tree(const reader *r, tfidf *f) {
  int64_t n = ifd_tensor_count(&f->pool), id = 0;
  TRY(ifd_lookup_init(r->err, &f->items, r->arena, &f->pool, IFD_LOOKUP_VALUES));
  for (f->mask = 7; f->mask < (uint64_t)n * 2;) f->mask = f->mask * 2 + 1;
  ALLOC(r->err, f->edges, ifd_new_array(r->arena, edge, f->mask + 1));
  ALLOC(r->err, f->ngram, ifd_new_array(r->arena, int64_t, n + 1));
  f->n_nodes = 1;
  for (int64_t i = 0; i < f->n_sizes; i++) {
    int64_t first = f->starts[i], end = i + 1 < f->n_sizes ? f->starts[i + 1] : n, len = i + 1;
    EXPECT(r->err, first >= 0 && end >= first && end <= n && (end - first) % len == 0, BAD_MODEL,
           "attribute ngram_counts does not cut the pool of %lld items into n-grams of %lld", (long long)n,
           (long long)len);
    if (len >= f->min_len && len <= f->max_len) TRY(add_ngrams(r, f, len, first, end, id));
    id += (end - first) / len;
  }
  return IFD_OK;
}

/* ---- counting ---- */

/* Counts the n-grams of at least `least` items that begin at `at` and take every `step`-th item. */
static void count_from(const tfidf *f, const int64_t *items, int64_t n, int64_t at, int64_t step,
                       int64_t least, double *counts) {
  int64_t node = 0;
  for (int64_t len = 1; len <= f->max_len && at < n && items[at] >= 0; len++, at += step) {
    node = find_edge(f, node, items[at])->to;
    if (!node) return;
    if (len >= least && f->ngram[node]) counts[f->columns[f->ngram[node] - 1]]++;
    if (step > n) return;
  }
}

/* Single items are no matter of skips: they are counted once. */
static void count_row(const tfidf *f, const int64_t *items, int64_t n, double *counts) {
  int64_t least = f->min_len;
  for (int64_t step = 1; step - 1 <= f->max_skip && step <= n; step++) {
    for (int64_t at = 0; at < n; at++) count_from(f, items, n, at, step, least, counts);
    if (least == 1 && ++least > f->max_len) return;
  }
}

static void weigh(const tfidf *f, double *counts) {
  for (int64_t i = 0; i < f->n_columns; i++) {
    if (f->truncates && counts[i] > 1) counts[i] = 1;
    if (f->weights) counts[i] *= f->weights[i];
  }
}

/* Rows [first, last) of input and output. scratch: a row of items, then a row of counts. */
typedef struct rows {
  tfidf f;
  ifd_samples s;
  ifd_dtype in, out;
  int64_t grain;
} rows;

static int64_t scratch_of(const rows *t) { return t->s.n_features + t->f.n_columns; }

static void count_rows(const rows *t, const void *in, void *out, int64_t first, int64_t last, void *scratch) {
  int64_t *items = scratch, n = t->s.n_features;
  double *counts = (double *)(items + n);
  for (int64_t r = first; r < last; r++) {
    for (int64_t i = 0; i < n; i++) items[i] = ifd_lookup_find(&t->f.items, t->in, in, r * n + i);
    memset(counts, 0, (size_t)t->f.n_columns * sizeof *counts);
    count_row(&t->f, items, n, counts);
    weigh(&t->f, counts);
    ifd_store_f64(t->out, (char *)out + (size_t)(r * t->f.n_columns) * ifd_dtype_size(t->out), counts,
                  t->f.n_columns);
  }
}

static ifd_status init_rows(const reader *r, rows *t, const ifd_shape *shape, ifd_dtype dtype) {
  *t = (rows){.in = dtype};
  TRY(ifd_samples_of(r->err, &t->s, shape));
  TRY(read_tfidf(r, &t->f, dtype));
  return build_tree(r, &t->f);
}

static ifd_status eval_TfIdfVectorizer(ifd_eval *x) {
  const ifd_tensor *in = ifd_eval_in(x, 0);
  const reader r = {x->err, x->node, x->scratch};
  ifd_tensor *out;
  rows t;
  void *scratch;
  TRY(init_rows(&r, &t, &in->shape, in->dtype));
  ifd_shape shape = in->shape;
  shape.dim[shape.rank - 1] = t.f.n_columns;
  TRY(ifd_eval_out(x, &out, 0, IFD_FLOAT, &shape));
  t.out = out->dtype;
  ALLOC(x->err, scratch, ifd_arena_alloc_array(x->scratch, (size_t)scratch_of(&t), 8));
  count_rows(&t, in->data, out->data, 0, t.s.n, scratch);
  return IFD_OK;
}

static void run_rows(const void *params, const ifd_args *args, int task) {
  const rows *t = params;
  int64_t first = task * t->grain;
  count_rows(t, args->in[0], args->out[0], first, ifd_min_i64(first + t->grain, t->s.n), args->scratch);
}

static ifd_status lower_TfIdfVectorizer(ifd_lower *x) {
  enum { ITEM_OPS = 64 };
  const reader r = {x->err, x->node, x->arena};
  rows t;
  if (!x->out[0]) return IFD_OK;
  TRY(init_rows(&r, &t, &x->in[0]->shape, x->in[0]->dtype));
  t.out = x->out[0]->dtype;
  t.grain = ifd_lower_grain(t.s.n, (double)t.s.n_features * ITEM_OPS + (double)t.f.n_columns);
  x->work->algorithm = "hash tree";
  return ifd_lower_launch(x, run_rows, &t, sizeof t, ifd_ceil_div(t.s.n, t.grain),
                          (size_t)scratch_of(&t) * 8);
}

static ifd_status infer_TfIdfVectorizer(ifd_infer *x) {
  int rank = ifd_infer_rank(x, 0);
  if (rank < 0) return ifd_infer_unranked(x, 0, IFD_FLOAT);
  EXPECT(x->err, rank == 1 || rank == 2, BAD_MODEL, "the input has rank %d, not 1 or 2", rank);
  const ifd_dim dims[] = {ifd_infer_dim(x, 0, 0), ifd_dim_number(x->dims, count_columns(x->node))};
  return ifd_infer_tensor(x, 0, IFD_FLOAT, rank, dims + 2 - rank);
}

const ifd_op ifd_ops_tfidf[] = {{.name = "TfIdfVectorizer",
                                 .since = 9,
                                 .infer = infer_TfIdfVectorizer,
                                 .eval = eval_TfIdfVectorizer,
                                 .lower = lower_TfIdfVectorizer},
                                {0}};
