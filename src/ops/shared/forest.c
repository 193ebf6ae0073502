#include "ops/shared/forest.h"

#include <math.h>

#include "tensor/convert.h"

/* ---- checking ---- */

typedef struct checker {
  ifd_error *err;
  const ifd_forest *f;
  bool *reached;
  int32_t *stack; /* each node is put there once */
  int32_t depth;
} checker;

static ifd_status reach(checker *c, int32_t node, int32_t from) {
  EXPECT(c->err, node >= 0 && node < c->f->n_nodes, BAD_MODEL, "tree node %d leads to node %d of %d", from,
         node, c->f->n_nodes);
  if (c->f->nodes[node].mode == IFD_BRANCH_LEAF) return IFD_OK;
  EXPECT(c->err, !c->reached[node], BAD_MODEL, "tree node %d is reached a second time, from node %d", node,
         from);
  c->reached[node] = true;
  c->stack[c->depth++] = node;
  return IFD_OK;
}

static ifd_status check_node(ifd_error *err, ifd_forest *f, int32_t i) {
  const ifd_tree_node *n = &f->nodes[i];
  EXPECT(err, n->mode <= IFD_BRANCH_MEMBER, BAD_MODEL, "tree node %d has mode %d, which does not exist", i,
         n->mode);
  EXPECT(err, n->feature >= 0, BAD_MODEL, "tree node %d reads feature %d", i, n->feature);
  if (n->feature > f->max_feature) f->max_feature = n->feature;
  if (f->mode == -2) f->mode = n->mode;
  if (f->mode != n->mode) f->mode = -1;
  return IFD_OK;
}

ifd_status ifd_forest_check(ifd_error *err, ifd_forest *f, ifd_arena *scratch) {
  checker c = {.err = err, .f = f};
  ALLOC(err, c.reached, ifd_new_array(scratch, bool, f->n_nodes));
  ALLOC(err, c.stack, ifd_new_array(scratch, int32_t, f->n_nodes));
  f->max_feature = -1;
  f->mode = -2; /* none seen */
  for (int32_t t = 0; t < f->n_trees; t++) {
    TRY(reach(&c, f->roots[t], f->roots[t]));
    while (c.depth) {
      int32_t i = c.stack[--c.depth];
      TRY(check_node(err, f, i));
      for (int k = 0; k < 2; k++) TRY(reach(&c, f->nodes[i].child[k], i));
    }
  }
  for (int32_t i = 0; i < f->n_nodes; i++)
    EXPECT(err, c.reached[i] || f->nodes[i].mode == IFD_BRANCH_LEAF, BAD_MODEL,
           "tree node %d is reached from no root", i);
  for (int32_t v = 0; v < f->n_votes; v++)
    EXPECT(err, f->votes[v].target >= 0 && f->votes[v].target < f->n_targets, BAD_MODEL,
           "vote %d is for target %d of %d", v, f->votes[v].target, f->n_targets);
  return IFD_OK;
}

/* ---- walking ---- */

/* A comparison with NaN is false, but for NEQ, so NaN is asked for apart. */
static inline int branch(const ifd_tree_node *n, double x, int mode) {
  int yes;
  switch (mode) {
  case IFD_BRANCH_LEQ: yes = x <= n->value; break;
  case IFD_BRANCH_LT: yes = x < n->value; break;
  case IFD_BRANCH_GTE: yes = x >= n->value; break;
  case IFD_BRANCH_GT: yes = x > n->value; break;
  case IFD_BRANCH_EQ: yes = x == n->value; break;
  default: yes = x != n->value && x == x;
  }
  return yes | ((x != x) & n->missing);
}

/* Samples go down a tree together, so that the memory accesses of one do not wait for those of another. */
enum { LANES = 8, BLOCK = 64, BLOCK_BYTES = 1 << 20 };

/* at[k]: the leaf of sample k of n, a constant. */
static inline void walk(const ifd_tree_node *nodes, int mode, const double *x, int64_t n_features,
                        int32_t *at, int n) {
  int32_t moved;
  do {
    moved = 0;
    for (int k = 0; k < n; k++) {
      const ifd_tree_node *node = &nodes[at[k]];
      int32_t next =
          node->child[branch(node, x[k * n_features + node->feature], mode < 0 ? node->mode : mode)];
      moved |= next ^ at[k];
      at[k] = next;
    }
  } while (moved);
}

/* One loop for each mode that all nodes are likely to have. */
static inline void find_leaves(const ifd_forest *f, int32_t root, const double *x, int64_t n_features,
                               int32_t *at, int n) {
  for (int k = 0; k < n; k++) at[k] = root;
  switch (f->mode) {
  case IFD_BRANCH_LEQ: walk(f->nodes, IFD_BRANCH_LEQ, x, n_features, at, n); return;
  case IFD_BRANCH_LT: walk(f->nodes, IFD_BRANCH_LT, x, n_features, at, n); return;
  default: walk(f->nodes, -1, x, n_features, at, n);
  }
}

/* ---- scoring ---- */

static inline void vote(ifd_aggregate aggregate, double *score, double weight) {
  switch (aggregate) {
  case IFD_MIN: *score = *score <= weight ? *score : weight; return; /* NaN: no vote yet */
  case IFD_MAX: *score = *score >= weight ? *score : weight; return;
  default: *score += weight;
  }
}

static void finish(const ifd_forest *f, double *scores, int64_t n) {
  for (int64_t i = 0; i < n; i++)
    if (f->aggregate == IFD_AVERAGE)
      scores[i] /= f->n_trees ? f->n_trees : 1;
    else if (f->aggregate != IFD_SUM && isnan(scores[i]))
      scores[i] = 0;
}

static void count_votes(const ifd_forest *f, double *scores, int32_t leaf) {
  for (int32_t v = f->first_vote[leaf]; v < f->first_vote[leaf + 1]; v++)
    vote(f->aggregate, &scores[f->votes[v].target], f->votes[v].weight);
}

static void score_block(const ifd_forest *f, double *scores, const double *x, int64_t n, int64_t n_features) {
  double start = f->aggregate == IFD_MIN || f->aggregate == IFD_MAX ? NAN : 0;
  int32_t at[LANES];
  for (int64_t i = 0; i < n * f->n_targets; i++) scores[i] = start;
  for (int32_t t = 0; t < f->n_trees; t++) {
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES) {
      find_leaves(f, f->roots[t], x + i * n_features, n_features, at, LANES);
      for (int k = 0; k < LANES; k++) count_votes(f, scores + (i + k) * f->n_targets, at[k]);
    }
    for (; i < n; i++) {
      find_leaves(f, f->roots[t], x + i * n_features, n_features, at, 1);
      count_votes(f, scores + i * f->n_targets, *at);
    }
  }
  finish(f, scores, n * f->n_targets);
}

static int64_t block_of(int64_t n_features) {
  int64_t n = BLOCK_BYTES / (int64_t)sizeof(double) / (n_features + 1);
  return ifd_max_i64(1, ifd_min_i64(n, BLOCK));
}

size_t ifd_forest_scratch(int64_t n_features) { return (size_t)(block_of(n_features) * n_features + 1); }

void ifd_forest_score(const ifd_forest *f, double *scores, ifd_dtype dtype, const void *rows, int64_t n,
                      int64_t n_features, double *scratch) {
  int64_t block = block_of(n_features);
  size_t row_bytes = (size_t)n_features * ifd_dtype_size(dtype);
  *scratch = 0; /* what leaves look at where there are no features */
  for (int64_t i = 0; i < n; i += block) {
    int64_t some = ifd_min_i64(block, n - i);
    ifd_load_f64(dtype, (const char *)rows + (size_t)i * row_bytes, scratch, some * n_features);
    score_block(f, scores + i * f->n_targets, scratch, some, n_features);
  }
}
