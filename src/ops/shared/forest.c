#include "ops/shared/forest.h"

#include <math.h>
#include <string.h>

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
  return IFD_OK;
}

ifd_status ifd_forest_check(ifd_error *err, ifd_forest *f, ifd_arena *scratch) {
  checker c = {.err = err, .f = f};
  ALLOC(err, c.reached, ifd_new_array(scratch, bool, f->n_nodes));
  ALLOC(err, c.stack, ifd_new_array(scratch, int32_t, f->n_nodes));
  f->max_feature = -1;
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

/* ---- packing ---- */

enum { EQUAL = 1, NAN_IS_YES = 2 }; /* flags of a slot */

/* Goes to `at`, whatever the feature. */
static ifd_tree_slot led_to(int32_t at) { return (ifd_tree_slot){.value = NAN, .child = at}; }

/* The largest number below v: x < v is x <= before(v). NaN where no number is below. */
static double before(double v) { return v == -INFINITY ? NAN : nextafter(v, -INFINITY); }

/* The comparison of a node as a slot's, its children swapped where that one is the opposite: > is not <=. */
static bool compare_as(const ifd_tree_node *n, ifd_tree_slot *slot, uint8_t *flags) {
  bool swaps = n->mode == IFD_BRANCH_GT || n->mode == IFD_BRANCH_GTE || n->mode == IFD_BRANCH_NEQ;
  bool equal = n->mode == IFD_BRANCH_EQ || n->mode == IFD_BRANCH_NEQ;
  bool below = n->mode == IFD_BRANCH_LT || n->mode == IFD_BRANCH_GTE;
  slot->feature = n->feature;
  slot->value = below ? before(n->value) : n->value;
  if (swaps && !equal && isnan(n->value)) slot->value = INFINITY; /* no number is > or >= NaN */
  *flags = (uint8_t)((equal ? EQUAL : 0) | ((n->missing != 0) != swaps ? NAN_IS_YES : 0));
  return swaps;
}

typedef struct packer {
  ifd_forest *f;
  const int32_t *first_vote; /* of nodes */
  const ifd_vote *votes;
  int32_t *node_of, *slot_of; /* node_of[slot]; slot_of[node], -1: none yet */
  int32_t n_slots, n_votes;
} packer;

/* Slot i gets its node; new ones are asked for its children. A node that has a slot already is led to. */
static void pack_slot(packer *p, int32_t i) {
  ifd_forest *f = p->f;
  int32_t node = p->node_of[i];
  const ifd_tree_node *n = &f->nodes[node];
  f->first_vote[i] = p->n_votes;
  f->slots[i] = led_to(p->slot_of[node] < 0 ? i : p->slot_of[node]);
  if (p->slot_of[node] >= 0) return;
  p->slot_of[node] = i;
  for (int32_t v = p->first_vote[node]; v < p->first_vote[node + 1]; v++)
    f->votes[p->n_votes++] = p->votes[v];
  if (n->mode == IFD_BRANCH_LEAF) return;
  bool swaps = compare_as(n, &f->slots[i], &f->flags[i]);
  f->all_flags |= f->flags[i];
  f->slots[i].child = p->n_slots;
  for (int k = 0; k < 2; k++) p->node_of[p->n_slots++] = n->child[k ^ swaps];
}

ifd_status ifd_forest_pack(ifd_error *err, ifd_forest *f, ifd_arena *arena) {
  packer p = {.f = f, .first_vote = f->first_vote, .votes = f->votes};
  int64_t n = f->n_trees;
  for (int32_t i = 0; i < f->n_nodes; i++) n += f->nodes[i].mode == IFD_BRANCH_LEAF ? 0 : 2;
  EXPECT(err, n < INT32_MAX, LIMIT, "trees of %lld nodes", (long long)n);
  ALLOC(err, f->slots, ifd_new_array(arena, ifd_tree_slot, n + 1));
  ALLOC(err, f->flags, ifd_new_array(arena, uint8_t, n + 1));
  ALLOC(err, f->first_vote, ifd_new_array(arena, int32_t, n + 1));
  ALLOC(err, f->votes, ifd_new_array(arena, ifd_vote, f->n_votes + 1));
  ALLOC(err, p.node_of, ifd_new_array(arena, int32_t, n + 1));
  ALLOC(err, p.slot_of, ifd_new_array(arena, int32_t, f->n_nodes + 1));
  for (int32_t i = 0; i < f->n_nodes; i++) p.slot_of[i] = -1;
  for (int32_t t = 0, i = 0; t < f->n_trees; t++) {
    p.node_of[p.n_slots++] = f->roots[t];
    f->roots[t] = i;
    for (; i < p.n_slots; i++) pack_slot(&p, i);
  }
  f->first_vote[p.n_slots] = p.n_votes;
  return IFD_OK;
}

/* ---- walking ---- */

/* Walks go on together, so that the memory accesses of one do not wait for those of another. */
enum { LANES = 8, BLOCK = 64, BLOCK_BYTES = 1 << 20 };

static inline int flagged(const ifd_tree_slot *s, uint8_t flags, double x) {
  return (flags & EQUAL ? x == s->value : x <= s->value) | (flags & NAN_IS_YES && x != x);
}

/* at[k]: a root, then the leaf of the sample row[k]. `plain`, a constant: no flag matters. */
static inline void walk(const ifd_forest *f, bool plain, const double *const *row, int32_t *at) {
  int32_t moved, here[LANES];
  memcpy(here, at, sizeof here);
  do {
    moved = 0;
#pragma GCC unroll 8
    for (int k = 0; k < LANES; k++) {
      const ifd_tree_slot *s = &f->slots[here[k]];
      double x = row[k][s->feature];
      int32_t next = s->child + (plain ? x <= s->value : flagged(s, f->flags[here[k]], x));
      moved |= next ^ here[k];
      here[k] = next;
    }
  } while (moved);
  memcpy(at, here, sizeof here);
}

static void find_leaves(const ifd_forest *f, bool plain, const double *const *row, int32_t *at) {
  if (plain)
    walk(f, true, row, at);
  else
    walk(f, false, row, at);
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

/* Whether the walk may ignore flags: they speak of NaN alone, and there is none. */
static bool is_plain(const ifd_forest *f, const double *x, int64_t n) {
  bool any = false;
  if (f->all_flags & EQUAL) return false;
  for (int64_t i = 0; i < n && f->all_flags; i++) any |= x[i] != x[i];
  return !any;
}

/* Trees of samples, tree by tree; each sample meets its trees in order. */
static void score_block(const ifd_forest *f, double *scores, const double *x, int64_t n, int64_t n_features) {
  double start = f->aggregate == IFD_MIN || f->aggregate == IFD_MAX ? NAN : 0;
  bool plain = is_plain(f, x, n * n_features);
  for (int64_t i = 0; i < n * f->n_targets; i++) scores[i] = start;
  for (int64_t tree = 0, sample = 0; tree < f->n_trees;) {
    const double *row[LANES];
    double *to[LANES];
    int32_t at[LANES];
    int n_lanes = 0;
    for (; n_lanes < LANES && tree < f->n_trees; n_lanes++) {
      row[n_lanes] = x + sample * n_features;
      to[n_lanes] = scores + sample * f->n_targets;
      at[n_lanes] = f->roots[tree];
      if (++sample == n) sample = 0, tree++;
    }
    for (int k = n_lanes; k < LANES; k++) row[k] = row[0], at[k] = at[0];
    find_leaves(f, plain, row, at);
    for (int k = 0; k < n_lanes; k++) count_votes(f, to[k], at[k]);
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
