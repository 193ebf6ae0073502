/* Decision trees as flat arrays, and the walk from their roots to their leaves.
 *
 * A node compares one feature of the sample with its threshold and goes on to one of two children; a leaf has
 * votes: weights for targets. Nodes come from a file: ifd_forest_check accepts them only if every child
 * exists and every interior node is reached exactly once from the roots, so that a walk ends after at most as
 * many steps as there are nodes. A NaN follows the branch that the node names for it. For walking, nodes
 * become slots of 16 bytes, a tree's together: both children of a slot are neighbours, what stands still or
 * leads on compares with NaN, and every comparison is x <= value or, flagged, x == value. Everything lives in
 * the arena that the maker of the forest used. */
#ifndef IFD_OPS_SHARED_FOREST_H
#define IFD_OPS_SHARED_FOREST_H

#include "ops/op.h"

/* The numbers are those of TreeEnsemble's nodes_modes. */
typedef enum ifd_branch {
  IFD_BRANCH_LEQ,
  IFD_BRANCH_LT,
  IFD_BRANCH_GTE,
  IFD_BRANCH_GT,
  IFD_BRANCH_EQ,
  IFD_BRANCH_NEQ,
  IFD_BRANCH_MEMBER, /* only until its maker has unfolded it to a chain of EQ */
  IFD_BRANCH_LEAF
} ifd_branch;

typedef struct ifd_tree_node {
  double value; /* threshold */
  int32_t feature;
  int32_t child[2]; /* where the comparison is false, true */
  uint8_t mode;     /* ifd_branch */
  uint8_t missing;  /* the branch for NaN: 0 or 1 */
} ifd_tree_node;

typedef struct ifd_tree_slot {
  double value;
  int32_t feature; /* 0 where nothing is compared */
  int32_t child;   /* where the comparison is false; the next one where it is true. A leaf's is itself. */
} ifd_tree_slot;

typedef struct ifd_vote {
  double weight;
  int32_t target;
} ifd_vote;

typedef enum ifd_aggregate {
  IFD_AVERAGE,
  IFD_SUM,
  IFD_MIN,
  IFD_MAX
} ifd_aggregate; /* TreeEnsemble's numbers */

typedef struct ifd_forest {
  int32_t n_nodes, n_trees, n_votes, n_targets;
  ifd_tree_node *nodes;
  int32_t *roots;      /* n_trees; slots, once packed */
  int32_t *first_vote; /* of each node, and one more: its votes are [first_vote[i], first_vote[i + 1]); once
                          packed, of each slot */
  ifd_vote *votes;
  ifd_aggregate aggregate;
  int32_t max_feature; /* set by ifd_forest_check */
  /* set by ifd_forest_pack */
  ifd_tree_slot *slots;
  uint8_t *flags; /* of each slot */
  uint8_t all_flags;
} ifd_forest;

/* BAD_MODEL, naming the node, unless roots, children, features and targets are sound. scratch: for the
 * check. */
ifd_status ifd_forest_check(ifd_error *err, ifd_forest *f, ifd_arena *scratch);
/* Makes the slots of a forest that is checked; its nodes are needed no more. */
ifd_status ifd_forest_pack(ifd_error *err, ifd_forest *f, ifd_arena *arena);
/* Doubles of scratch for ifd_forest_score. */
size_t ifd_forest_scratch(int64_t n_features);
/* scores [n, n_targets] of n samples: rows of n_features (more than max_feature) elements of `dtype`. What
 * one sample gets does not depend on the others. A target without votes gets 0. */
void ifd_forest_score(const ifd_forest *f, double *scores, ifd_dtype dtype, const void *rows, int64_t n,
                      int64_t n_features, double *scratch);

#endif
