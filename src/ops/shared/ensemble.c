#include "ops/shared/ensemble.h"

#include <stdlib.h>
#include <string.h>

typedef struct reader {
  ifd_error *err;
  const ifd_node *node;
  ifd_arena *arena;
} reader;

/* ---- attributes ---- */

/* n integers; with `optional` none are fine, too. */
static ifd_status read_ints(const reader *r, const int64_t **out, const char *name, int64_t n,
                            bool optional) {
  int has = ifd_node_ints(r->node, name, out);
  if (optional && !has) *out = NULL;
  EXPECT(r->err, has == n || (optional && !has), BAD_MODEL, "attribute %s has %d elements; %lld are needed",
         name, has, (long long)n);
  return IFD_OK;
}

static ifd_status read_tensor(const reader *r, const double **out, int64_t *n, const ifd_tensor *t) {
  double *v;
  EXPECT(r->err, t->dtype != IFD_STRING && ifd_dtypes[t->dtype].class != IFD_CLASS_COMPLEX, BAD_MODEL,
         "a tensor of %s stands where numbers are needed", ifd_dtype_name(t->dtype));
  *n = ifd_tensor_count(t);
  ALLOC(r->err, v, ifd_new_array(r->arena, double, *n + 1));
  for (int64_t i = 0; i < *n; i++) v[i] = ifd_tensor_get_f64(t, i);
  *out = v;
  return IFD_OK;
}

/* Attribute `name`, or the tensor that stands for it; nothing when there is neither. */
static ifd_status read_numbers(const reader *r, const double **out, int64_t *n, const char *name,
                               const char *as_tensor) {
  const ifd_tensor *t = ifd_node_tensor(r->node, as_tensor);
  if (t) return read_tensor(r, out, n, t);
  const float *floats;
  double *v;
  *n = ifd_node_floats(r->node, name, &floats);
  ALLOC(r->err, v, ifd_new_array(r->arena, double, *n + 1));
  for (int64_t i = 0; i < *n; i++) v[i] = floats[i];
  *out = v;
  return IFD_OK;
}

/* Arrays of a forest of n nodes. */
static ifd_status make_forest(const reader *r, ifd_forest *f, int64_t n_nodes, int64_t n_trees,
                              int64_t n_votes) {
  EXPECT(r->err, n_nodes < INT32_MAX && n_votes < INT32_MAX, LIMIT, "%lld tree nodes and %lld votes",
         (long long)n_nodes, (long long)n_votes);
  f->n_nodes = (int32_t)n_nodes;
  f->n_trees = (int32_t)n_trees;
  f->n_votes = (int32_t)n_votes;
  ALLOC(r->err, f->nodes, ifd_new_array(r->arena, ifd_tree_node, n_nodes + 1));
  ALLOC(r->err, f->roots, ifd_new_array(r->arena, int32_t, n_trees + 1));
  ALLOC(r->err, f->first_vote, ifd_new_array(r->arena, int32_t, n_nodes + 1));
  ALLOC(r->err, f->votes, ifd_new_array(r->arena, ifd_vote, n_votes + 1));
  return IFD_OK;
}

/* -1, which the checks refuse, for what is no index. */
static int32_t index_of(int64_t v) { return v >= 0 && v < INT32_MAX ? (int32_t)v : -1; }

static const ifd_tree_node leaf = {.mode = IFD_BRANCH_LEAF};

int64_t ifd_ensemble_targets(const ifd_node *node, const char *ids) {
  const int64_t *targets;
  int64_t most = 0;
  int n = ifd_node_ints(node, ids, &targets);
  for (int i = 0; i < n; i++) most = ifd_max_i64(most, targets[i]);
  return ifd_node_int(node, "n_targets", most < INT32_MAX ? most + 1 : 0);
}

static ifd_status set_targets(const reader *r, ifd_forest *f, int64_t n) {
  EXPECT(r->err, n > 0 && n < INT32_MAX, BAD_MODEL, "%lld targets", (long long)n);
  f->n_targets = (int32_t)n;
  return IFD_OK;
}

static ifd_status check_base(const reader *r, const ifd_ensemble *e) {
  EXPECT(r->err, e->n_base <= 1 || e->n_base == e->forest.n_targets, BAD_MODEL,
         "%lld base values for %d targets", (long long)e->n_base, e->forest.n_targets);
  return IFD_OK;
}

/* ---- TreeEnsemble ---- */

typedef struct flat {
  int64_t n, n_leaves, n_members;
  const int64_t *feature, *yes, *no, *yes_leaf, *no_leaf, *missing, *leaf_target;
  const double *modes, *splits, *weights, *members; /* members: sets ended by NaN */
} flat;

static ifd_status read_sized_tensor(const reader *r, const double **out, const char *name, int64_t n) {
  const ifd_tensor *t = ifd_node_tensor(r->node, name);
  int64_t has = 0;
  if (t) TRY(read_tensor(r, out, &has, t));
  EXPECT(r->err, t && has == n, BAD_MODEL, "attribute %s has %lld elements; %lld are needed", name,
         (long long)has, (long long)n);
  return IFD_OK;
}

static ifd_status read_flat(const reader *r, flat *a) {
  const ifd_tensor *members = ifd_node_tensor(r->node, "membership_values");
  a->n = ifd_node_ints(r->node, "nodes_featureids", &a->feature);
  a->n_leaves = ifd_node_ints(r->node, "leaf_targetids", &a->leaf_target);
  TRY(read_ints(r, &a->yes, "nodes_truenodeids", a->n, false));
  TRY(read_ints(r, &a->no, "nodes_falsenodeids", a->n, false));
  TRY(read_ints(r, &a->yes_leaf, "nodes_trueleafs", a->n, false));
  TRY(read_ints(r, &a->no_leaf, "nodes_falseleafs", a->n, false));
  TRY(read_ints(r, &a->missing, "nodes_missing_value_tracks_true", a->n, true));
  TRY(read_sized_tensor(r, &a->modes, "nodes_modes", a->n));
  TRY(read_sized_tensor(r, &a->splits, "nodes_splits", a->n));
  TRY(read_sized_tensor(r, &a->weights, "leaf_weights", a->n_leaves));
  return members ? read_tensor(r, &a->members, &a->n_members, members) : IFD_OK;
}

/* Leaf i of the attributes is node n + i. */
static int32_t child_of(const flat *a, int64_t id, int64_t is_leaf) {
  if (id < 0 || id >= (is_leaf ? a->n_leaves : a->n)) return -1;
  return index_of(is_leaf ? a->n + id : id);
}

/* A number that the checks refuse for what is no mode. */
static uint8_t flat_mode(double mode) {
  return mode >= 0 && mode <= IFD_BRANCH_MEMBER ? (uint8_t)mode : UINT8_MAX;
}

static void place_flat(const flat *a, ifd_forest *f) {
  for (int32_t i = 0; i < (int32_t)a->n; i++)
    f->nodes[i] = (ifd_tree_node){
        .value = a->splits[i],
        .feature = index_of(a->feature[i]),
        .child = {child_of(a, a->no[i], a->no_leaf[i]), child_of(a, a->yes[i], a->yes_leaf[i])},
        .mode = flat_mode(a->modes[i]),
        .missing = a->missing && a->missing[i]};
  for (int32_t i = 0; i < (int32_t)a->n_leaves; i++) {
    int32_t at = (int32_t)a->n + i;
    f->nodes[at] = leaf;
    f->first_vote[at] = i;
    f->votes[i] = (ifd_vote){a->weights[i], index_of(a->leaf_target[i])};
  }
  for (int32_t i = (int32_t)(a->n + a->n_leaves); i <= f->n_nodes; i++) {
    if (i < f->n_nodes) f->nodes[i] = leaf; /* room for unfolded sets */
    f->first_vote[i] = f->n_votes;
  }
}

/* Membership in {a, b, …} is a chain of nodes == a, == b, … with one child where true; a NaN is decided by
 * the first. `next` nodes are in use. An empty set is a comparison with NaN. */
static ifd_status unfold_members(const reader *r, const flat *a, ifd_forest *f) {
  int64_t m = 0;
  int32_t next = (int32_t)(a->n + a->n_leaves);
  for (int32_t i = 0; i < (int32_t)a->n; i++) {
    if (f->nodes[i].mode != IFD_BRANCH_MEMBER) continue;
    ifd_tree_node *last = &f->nodes[i];
    ifd_tree_node member = *last;
    member.mode = IFD_BRANCH_EQ;
    member.value = m < a->n_members ? a->members[m] : 0;
    *last = member;
    member.missing = 0;
    while (m < a->n_members && a->members[m] == a->members[m] && ++m < a->n_members &&
           a->members[m] == a->members[m]) {
      member.value = a->members[m];
      last->child[0] = next;
      last = &f->nodes[next++];
      *last = member;
    }
    EXPECT(r->err, m < a->n_members, BAD_MODEL,
           "attribute membership_values has no set, ended by NaN, for node %d", i);
    m++;
  }
  return IFD_OK;
}

static ifd_status read_flat_trees(const reader *r, ifd_ensemble *e) {
  flat a = {0};
  const int64_t *roots;
  ifd_forest *f = &e->forest;
  int n_roots = ifd_node_ints(r->node, "tree_roots", &roots);
  int64_t aggregate = ifd_node_int(r->node, "aggregate_function", IFD_SUM);
  EXPECT(r->err, aggregate >= IFD_AVERAGE && aggregate <= IFD_MAX, BAD_MODEL,
         "attribute aggregate_function is %lld; 0 to 3 exist", (long long)aggregate);
  TRY(read_flat(r, &a));
  TRY(make_forest(r, f, a.n + a.n_leaves + a.n_members, n_roots, a.n_leaves));
  for (int i = 0; i < n_roots; i++) f->roots[i] = child_of(&a, roots[i], false);
  TRY(set_targets(r, f, ifd_ensemble_targets(r->node, "leaf_targetids")));
  f->aggregate = (ifd_aggregate)aggregate;
  place_flat(&a, f);
  TRY(ifd_forest_check(r->err, f, r->arena));
  TRY(unfold_members(r, &a, f));
  return ifd_post_transform_number(r->err, &e->post, ifd_node_int(r->node, "post_transform", 0));
}

/* ---- trees of nodes with ids: TreeEnsembleRegressor, TreeEnsembleClassifier ---- */

/* A node is named by its tree and its id; `at` is its place in the attributes. */
typedef struct tree_id {
  int64_t tree, node;
  int32_t at;
} tree_id;

typedef struct tree_ids {
  int32_t n;
  tree_id *v; /* sorted by tree, then node */
} tree_ids;

static int compare_ids(const void *a, const void *b) {
  const tree_id *x = a, *y = b;
  if (x->tree != y->tree) return x->tree < y->tree ? -1 : 1;
  return x->node < y->node ? -1 : x->node > y->node;
}

static ifd_status sort_ids(const reader *r, tree_ids *ids, const int64_t *trees, const int64_t *nodes,
                           int32_t n) {
  bool sorted = true;
  ids->n = n;
  ALLOC(r->err, ids->v, ifd_new_array(r->arena, tree_id, n + 1));
  for (int32_t i = 0; i < n; i++) {
    ids->v[i] = (tree_id){trees[i], nodes[i], i};
    sorted = sorted && (i == 0 || compare_ids(&ids->v[i - 1], &ids->v[i]) < 0);
  }
  if (!sorted) qsort(ids->v, (size_t)n, sizeof *ids->v, compare_ids);
  for (int32_t i = 1; i < n; i++)
    EXPECT(r->err, compare_ids(&ids->v[i - 1], &ids->v[i]), BAD_MODEL, "tree %lld has two nodes %lld",
           (long long)ids->v[i].tree, (long long)ids->v[i].node);
  return IFD_OK;
}

/* The place of an id, if those from `near` to it count up by one, as they mostly do; else NULL. */
static const tree_id *expect_id(const tree_ids *ids, int32_t near, const tree_id *key) {
  int64_t place;
  if (near >= ids->n || __builtin_sub_overflow(key->node, ids->v[near].node, &place) ||
      __builtin_add_overflow(place, near, &place) || place < 0 || place >= ids->n)
    return NULL;
  return compare_ids(key, &ids->v[place]) ? NULL : &ids->v[place];
}

static ifd_status find_id(const reader *r, int32_t *at, const tree_ids *ids, int32_t near, int64_t tree,
                          int64_t node) {
  const tree_id key = {tree, node, 0};
  const tree_id *found = expect_id(ids, near, &key);
  if (!found && ids->n) found = bsearch(&key, ids->v, (size_t)ids->n, sizeof *ids->v, compare_ids);
  EXPECT(r->err, found, BAD_MODEL, "tree %lld has no node %lld, which an attribute names", (long long)tree,
         (long long)node);
  *at = found->at;
  return IFD_OK;
}

static ifd_status mode_of(const reader *r, uint8_t *mode, ifd_str s) {
  static const char *const names[] = {"BRANCH_LEQ", "BRANCH_LT",  "BRANCH_GTE",    "BRANCH_GT",
                                      "BRANCH_EQ",  "BRANCH_NEQ", "BRANCH_MEMBER", "LEAF"};
  for (int i = 0; i < (int)(sizeof names / sizeof *names); i++)
    if (strlen(names[i]) == s.len && !memcmp(names[i], s.s, s.len) && i != IFD_BRANCH_MEMBER) {
      *mode = (uint8_t)i;
      return IFD_OK;
    }
  FAIL(r->err, BAD_MODEL, "'%.*s' in attribute nodes_modes is no mode", (int)(s.len < 64 ? s.len : 64), s.s);
}

typedef struct listed {
  const int64_t *tree, *id, *feature, *yes, *no, *missing;
  const ifd_str *modes;
  const double *values;
} listed;

static ifd_status read_listed(const reader *r, listed *a, int64_t n) {
  const ifd_attr *modes = ifd_node_find_attr(r->node, "nodes_modes");
  int64_t n_values;
  TRY(read_ints(r, &a->tree, "nodes_treeids", n, false));
  TRY(read_ints(r, &a->feature, "nodes_featureids", n, false));
  TRY(read_ints(r, &a->yes, "nodes_truenodeids", n, false));
  TRY(read_ints(r, &a->no, "nodes_falsenodeids", n, false));
  TRY(read_ints(r, &a->missing, "nodes_missing_value_tracks_true", n, true));
  TRY(read_numbers(r, &a->values, &n_values, "nodes_values", "nodes_values_as_tensor"));
  bool has_modes = modes && modes->type == IFD_ATTR_STRINGS && modes->n == n;
  EXPECT(r->err, (has_modes || n == 0) && n_values == n, BAD_MODEL,
         "attributes nodes_modes and nodes_values must have %lld elements, as nodes_nodeids has",
         (long long)n);
  a->modes = has_modes ? modes->strings : NULL;
  return IFD_OK;
}

/* The root of each tree is the node that is no child of another; of several the first in the file. A tree
 * without any is a circle, which the check finds from wherever it starts. */
static void find_roots(ifd_forest *f, const tree_ids *ids, const bool *is_child) {
  for (int32_t i = 0, first = 0; i < ids->n; i++) {
    bool begins = i == 0 || ids->v[i].tree != ids->v[i - 1].tree;
    if (begins) {
      first = ids->v[i].at;
      f->n_trees++;
    }
    int32_t at = ids->v[i].at;
    if (!is_child[at] && (is_child[first] || at < first)) first = at;
    f->roots[f->n_trees - 1] = first;
  }
}

static ifd_status place_listed(const reader *r, ifd_forest *f, const listed *a, const tree_ids *ids) {
  bool *is_child;
  ALLOC(r->err, is_child, ifd_new_array(r->arena, bool, ids->n + 1));
  for (int32_t i = 0; i < ids->n; i++) {
    ifd_tree_node *n = &f->nodes[i];
    *n = leaf;
    TRY(mode_of(r, &n->mode, a->modes[i]));
    if (n->mode == IFD_BRANCH_LEAF) continue;
    n->value = a->values[i];
    n->feature = index_of(a->feature[i]);
    n->missing = a->missing && a->missing[i];
    TRY(find_id(r, &n->child[0], ids, i, a->tree[i], a->no[i]));
    TRY(find_id(r, &n->child[1], ids, i, a->tree[i], a->yes[i]));
    for (int k = 0; k < 2; k++) is_child[n->child[k]] = true;
  }
  find_roots(f, ids, is_child);
  return IFD_OK;
}

/* Names of the attributes of votes: they begin with "target" or "class". */
typedef struct vote_names {
  const char *trees, *nodes, *targets, *weights, *weights_as_tensor;
} vote_names;
static const vote_names of_target = {"target_treeids", "target_nodeids", "target_ids", "target_weights",
                                     "target_weights_as_tensor"};
static const vote_names of_class = {"class_treeids", "class_nodeids", "class_ids", "class_weights",
                                    "class_weights_as_tensor"};

/* Votes by the node they belong to, in the order of the file. */
static ifd_status place_votes(const reader *r, ifd_forest *f, const vote_names *names, const tree_ids *ids,
                              const double *weights) {
  const int64_t *trees, *nodes, *targets;
  int32_t *at, *first = f->first_vote;
  TRY(read_ints(r, &trees, names->trees, f->n_votes, false));
  TRY(read_ints(r, &nodes, names->nodes, f->n_votes, false));
  TRY(read_ints(r, &targets, names->targets, f->n_votes, false));
  ALLOC(r->err, at, ifd_new_array(r->arena, int32_t, f->n_votes + 1));
  for (int32_t v = 0; v < f->n_votes; v++) {
    TRY(find_id(r, &at[v], ids, v ? at[v - 1] : 0, trees[v], nodes[v]));
    first[at[v] + 1]++;
  }
  for (int32_t i = 0; i < f->n_nodes; i++) first[i + 1] += first[i];
  for (int32_t v = f->n_votes - 1; v >= 0; v--) /* from the last: what is left in first is then the first */
    f->votes[--first[at[v] + 1]] = (ifd_vote){weights[v], index_of(targets[v])};
  memmove(first, first + 1, (size_t)f->n_nodes * sizeof *first);
  first[f->n_nodes] = f->n_votes;
  return IFD_OK;
}

/* n_targets must be set. */
static ifd_status read_trees(const reader *r, ifd_ensemble *e, const vote_names *names) {
  listed a = {0};
  tree_ids ids;
  const double *weights;
  int64_t n_votes, n = ifd_node_ints(r->node, "nodes_nodeids", &a.id);
  ifd_forest *f = &e->forest;
  TRY(read_listed(r, &a, n));
  TRY(read_numbers(r, &weights, &n_votes, names->weights, names->weights_as_tensor));
  TRY(make_forest(r, f, n, n, n_votes));
  TRY(sort_ids(r, &ids, a.tree, a.id, (int32_t)n));
  f->n_trees = 0;
  TRY(place_listed(r, f, &a, &ids));
  TRY(place_votes(r, f, names, &ids, weights));
  TRY(ifd_forest_check(r->err, f, r->arena));
  TRY(read_numbers(r, &e->base, &e->n_base, "base_values", "base_values_as_tensor"));
  TRY(check_base(r, e));
  return ifd_post_transform_read(r->err, &e->post, r->node);
}

/* ---- TreeEnsembleRegressor ---- */

static ifd_status read_aggregate(const reader *r, ifd_aggregate *out) {
  static const char *const names[] = {"AVERAGE", "SUM", "MIN", "MAX"};
  for (int i = 0; i < (int)(sizeof names / sizeof *names); i++)
    if (ifd_node_string_is(r->node, "aggregate_function", "SUM", names[i])) {
      *out = (ifd_aggregate)i;
      return IFD_OK;
    }
  FAIL(r->err, BAD_MODEL, "attribute aggregate_function is not AVERAGE, SUM, MIN or MAX");
}

static ifd_status read_regressor(const reader *r, ifd_ensemble *e) {
  TRY(set_targets(r, &e->forest, ifd_ensemble_targets(r->node, "target_ids")));
  TRY(read_aggregate(r, &e->forest.aggregate));
  return read_trees(r, e, &of_target);
}

/* ---- TreeEnsembleClassifier ---- */

/* With votes for the first of two classes alone they are, by what every converter writes, the score of the
 * second: a probability if no vote is negative and no transform would make one of it. */
static void find_lone(ifd_ensemble *e) {
  const ifd_forest *f = &e->forest;
  bool negative = false;
  e->lone = e->labels.n == 2 && f->n_votes > 0;
  for (int32_t v = 0; v < f->n_votes; v++) {
    if (f->votes[v].target != 0) e->lone = false;
    if (f->votes[v].weight < 0) negative = true;
  }
  e->probability = e->post == IFD_POST_PROBIT || (e->post == IFD_POST_NONE && !negative);
}

static ifd_status read_classifier(const reader *r, ifd_ensemble *e) {
  TRY(ifd_labels_read(r->err, &e->labels, r->node, "classlabels_int64s"));
  TRY(set_targets(r, &e->forest, e->labels.n));
  e->forest.aggregate = IFD_SUM;
  TRY(read_trees(r, e, &of_class));
  find_lone(e);
  return IFD_OK;
}

/* ---- the whole ---- */

static ifd_status make_ensemble(const reader *r, const void **out,
                                ifd_status (*read)(const reader *, ifd_ensemble *)) {
  ifd_ensemble *e;
  ALLOC(r->err, e, ifd_new(r->arena, ifd_ensemble));
  TRY(read(r, e));
  *out = e;
  return ifd_forest_pack(r->err, &e->forest, r->arena);
}
#define LOADER(name)                                                                                         \
  ifd_status ifd_ensemble_load_##name(ifd_error *err, ifd_arena *arena, const ifd_node *node,                \
                                      const void **out) {                                                    \
    return make_ensemble(&(reader){err, node, arena}, out, read_##name);                                     \
  }
LOADER(flat_trees)
LOADER(regressor)
LOADER(classifier)
