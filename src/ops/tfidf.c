/* TfIdfVectorizer: how often the n-grams of a pool occur in each row, skips between their items allowed. */
#include <string.h>

#include "ops/shared/lookup.h"
#include "ops/shared/scores.h"
#include "ops/shared/values.h"

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

static ifd_status read_mode(ifd_eval *x, tfidf *f) {
  const ifd_node *node = x->node;
  int n = ifd_node_floats(node, "weights", &f->weights);
  f->truncates = ifd_node_string_is(node, "mode", "", "IDF");
  bool plain = ifd_node_string_is(node, "mode", "", "TF");
  EXPECT(x->err, plain || f->truncates || ifd_node_string_is(node, "mode", "", "TFIDF"), BAD_MODEL,
         "attribute mode is not TF, IDF or TFIDF");
  if (n == 0 || plain) f->weights = NULL;
  EXPECT(x->err, !f->weights || n >= f->n_columns, BAD_MODEL,
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

static ifd_status read_tfidf(ifd_eval *x, tfidf *f) {
  const ifd_node *node = x->node;
  int n =
      ifd_attr_as_tensor(node, "pool_strings", &f->pool) + ifd_attr_as_tensor(node, "pool_int64s", &f->pool);
  EXPECT(x->err, n == 1, BAD_MODEL, "%s of the attributes pool_strings and pool_int64s must be given",
         n ? "only one" : "one");
  EXPECT(x->err, (ifd_eval_dtype(x, 0) == IFD_STRING) == (f->pool.dtype == IFD_STRING), BAD_INPUT,
         "the input is of type %s, the pool of type %s", ifd_dtype_name(ifd_eval_dtype(x, 0)),
         ifd_dtype_name(f->pool.dtype));
  f->n_ngrams = ifd_node_ints(node, "ngram_indexes", &f->columns);
  f->n_sizes = ifd_node_ints(node, "ngram_counts", &f->starts);
  f->n_columns = count_columns(node);
  f->min_len = ifd_node_int(node, "min_gram_length", 0);
  f->max_len = ifd_node_int(node, "max_gram_length", 0);
  f->max_skip = ifd_node_int(node, "max_skip_count", -1);
  EXPECT(x->err, f->min_len >= 1 && f->max_len >= f->min_len && f->max_skip >= 0, BAD_MODEL,
         "attributes min_gram_length %lld, max_gram_length %lld and max_skip_count %lld do not fit together",
         (long long)f->min_len, (long long)f->max_len, (long long)f->max_skip);
  for (int64_t i = 0; i < f->n_ngrams; i++)
    EXPECT(x->err, f->columns[i] >= 0, BAD_MODEL, "attribute ngram_indexes has %lld",
           (long long)f->columns[i]);
  return read_mode(x, f);
}

/* ---- the tree ---- */

static edge *find_edge(const tfidf *f, int64_t from, int64_t item) {
  uint64_t hash = ifd_hash_mix((uint64_t)from, (uint64_t)item);
  edge *e;
  while ((e = &f->edges[hash & f->mask])->to && (e->from != from || e->item != item)) hash++;
  return e;
}

/* n-grams of `len` items at [first, end) of the pool, the first of them number `id`. */
static ifd_status add_ngrams(ifd_eval *x, tfidf *f, int64_t len, int64_t first, int64_t end, int64_t id) {
  for (; first < end; first += len, id++) {
    int64_t node = 0;
    for (int64_t i = first; i < first + len; i++) {
      int64_t item = ifd_lookup_find(&f->items, &f->pool, i);
      edge *e = find_edge(f, node, item);
      if (!e->to) *e = (edge){node, item, f->n_nodes++};
      node = e->to;
    }
    EXPECT(x->err, id < f->n_ngrams, BAD_MODEL, "the pool has more n-grams than ngram_indexes' %lld",
           (long long)f->n_ngrams);
    f->ngram[node] = id + 1;
  }
  return IFD_OK;
}

static ifd_status build_tree(ifd_eval *x, tfidf *f) {
  int64_t n = ifd_tensor_count(&f->pool), id = 0;
  TRY(ifd_lookup_init(x->err, &f->items, x->scratch, &f->pool, IFD_LOOKUP_VALUES));
  for (f->mask = 7; f->mask < (uint64_t)n * 2;) f->mask = f->mask * 2 + 1;
  ALLOC(x->err, f->edges, ifd_new_array(x->scratch, edge, f->mask + 1));
  ALLOC(x->err, f->ngram, ifd_new_array(x->scratch, int64_t, n + 1));
  f->n_nodes = 1;
  for (int64_t i = 0; i < f->n_sizes; i++) {
    int64_t first = f->starts[i], end = i + 1 < f->n_sizes ? f->starts[i + 1] : n, len = i + 1;
    EXPECT(x->err, first >= 0 && end >= first && end <= n && (end - first) % len == 0, BAD_MODEL,
           "attribute ngram_counts does not cut the pool of %lld items into n-grams of %lld", (long long)n,
           (long long)len);
    if (len >= f->min_len && len <= f->max_len) TRY(add_ngrams(x, f, len, first, end, id));
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

static ifd_status eval_TfIdfVectorizer(ifd_eval *x) {
  const ifd_tensor *in = ifd_eval_in(x, 0);
  tfidf f = {0};
  ifd_samples s;
  int64_t *items, n = ifd_tensor_count(in);
  double *counts;
  TRY(ifd_samples_of(x->err, &s, &in->shape));
  TRY(read_tfidf(x, &f));
  TRY(build_tree(x, &f));
  ifd_shape shape = in->shape;
  shape.dim[shape.rank - 1] = f.n_columns;
  TRY(ifd_shape_check(x->err, &shape, sizeof(double)));
  ALLOC(x->err, items, ifd_new_array(x->scratch, int64_t, n));
  TRY(ifd_eval_zeros(x, &counts, s.n * f.n_columns));
  for (int64_t i = 0; i < n; i++) items[i] = ifd_lookup_find(&f.items, in, i);
  for (int64_t i = 0; i < s.n; i++) {
    count_row(&f, items + i * s.n_features, s.n_features, counts + i * f.n_columns);
    weigh(&f, counts + i * f.n_columns);
  }
  return ifd_eval_put_f64(x, 0, IFD_FLOAT, &shape, counts);
}

static ifd_status infer_TfIdfVectorizer(ifd_infer *x) {
  int rank = ifd_infer_rank(x, 0);
  if (rank < 0) return ifd_infer_unranked(x, 0, IFD_FLOAT);
  EXPECT(x->err, rank == 1 || rank == 2, BAD_MODEL, "the input has rank %d, not 1 or 2", rank);
  const ifd_dim dims[] = {ifd_infer_dim(x, 0, 0), ifd_dim_number(x->dims, count_columns(x->node))};
  return ifd_infer_tensor(x, 0, IFD_FLOAT, rank, dims + 2 - rank);
}

const ifd_op ifd_ops_tfidf[] = {
    {.name = "TfIdfVectorizer", .since = 9, .infer = infer_TfIdfVectorizer, .eval = eval_TfIdfVectorizer},
    {0}};
