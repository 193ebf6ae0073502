/* What the attributes of TreeEnsemble, TreeEnsembleRegressor and TreeEnsembleClassifier say, as a forest of
 * flat arrays (forest.h). */
#ifndef IFD_OPS_SHARED_ENSEMBLE_H
#define IFD_OPS_SHARED_ENSEMBLE_H

#include "ops/shared/forest.h"
#include "ops/shared/scores.h"

typedef struct ifd_ensemble {
  ifd_forest forest;
  ifd_post_transform post;
  int64_t n_base;
  const double *base; /* for each target, or one for all */
  ifd_labels labels;  /* of classifiers */
  bool lone;          /* of two classes only one has votes: its score is that of the second class */
  bool probability;   /* a lone score is a probability, not a margin */
} ifd_ensemble;

/* Each makes an ifd_ensemble of a node in the arena: of TreeEnsemble, of the other two. */
ifd_make ifd_ensemble_load_flat_trees, ifd_ensemble_load_regressor, ifd_ensemble_load_classifier;
/* Attribute n_targets, or as many as there are votes for in attribute `ids`. */
int64_t ifd_ensemble_targets(const ifd_node *node, const char *ids);

#endif
