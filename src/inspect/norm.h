/* Normalizations: which one a node is, what it normalizes over, and where its statistics come from.
 *
 * The operators (BatchNormalization, InstanceNormalization, LayerNormalization, GroupNormalization,
 * RMSNormalization, LpNormalization, MeanVarianceNormalization, LRN), and the same written out in arithmetic:
 * a root of a mean of squares that divides, a norm that divides, constants per channel that scale and shift.
 * Nothing here knows names or shapes of models; what is not recognized is no normalization. */
#ifndef IFD_INSPECT_NORM_H
#define IFD_INSPECT_NORM_H

#include "ir/ir.h"

typedef enum ifd_norm_statistics {
  IFD_NORM_GIVEN,     /* constants or inputs: the same for every sample */
  IFD_NORM_OF_SAMPLE, /* the sample's own */
  IFD_NORM_OF_BATCH   /* a sample's result depends on its batch */
} ifd_norm_statistics;

typedef struct ifd_norm {
  const char *label;  /* "LayerNormalization"; NULL: no normalization */
  bool written_out;   /* in arithmetic: the node at hand is the one that divides, or the last one */
  const char *over;   /* "axes 2,3", "32 groups of channels", "each channel" (statistics are given) */
  const ifd_value *x; /* what is normalized */
  ifd_norm_statistics statistics;
} ifd_norm;

/* What node is; texts in the arena. */
ifd_status ifd_norm_of(ifd_error *err, ifd_arena *arena, const ifd_node *node, ifd_norm *out);
/* "LayerNormalization", "LayerNormalization, written out"; NULL when out of memory. */
const char *ifd_norm_name(ifd_arena *arena, const ifd_norm *norm);
/* "given", "of the sample", "of the batch" */
const char *ifd_norm_statistics_text(ifd_norm_statistics statistics);
/* Content of an initializer or of a Constant node, through Identity; or NULL. */
const ifd_tensor *ifd_norm_constant(const ifd_value *value);

#endif
