/* Batches in slices: which steps run on few samples at a time, and on how many.
 *
 * Time goes to values that outgrow the cache where a batch is large, and to weights that are read again for
 * each slice where slices are small. A step's best number of samples follows from its bytes of both; where it
 * changes, values of the whole batch lie between. The cheapest sequence of numbers is found by dynamic
 * programming over the steps, linear in them. */
#ifndef IFD_PLAN_SLICE_H
#define IFD_PLAN_SLICE_H

#include "ops/shared/batch.h"
#include "plan/program_priv.h"

/* A node that becomes a step. */
typedef struct ifd_draft {
  const ifd_program_node *n;
  bool is_static;
  int region;      /* -1: all at once */
  ifd_role *roles; /* of its inputs, where it is in a region */
} ifd_draft;

typedef struct ifd_slicing {
  const ifd_program *program;
  ifd_slot *slots;       /* with the types of the whole batch */
  const int *base;       /* by slot: what it is a view of, or itself */
  const bool *is_output; /* by slot */
  ifd_draft *drafts;     /* in order */
  int n_drafts;
  /* The result. Where there are regions, drafts that no sample takes part in come first, and values that one
   * region alone knows have the shape of a slice. */
  int64_t batch;
  int n_regions;
  ifd_region *regions; /* batch, rows and n_slices */
  int *region_of;      /* by slot: the region that alone knows it, or -1 */
} ifd_slicing;

/* Slices the batch of the program's inputs, where that pays. Results live in scratch. */
ifd_status ifd_slice_batch(ifd_error *err, ifd_slicing *s, ifd_arena *scratch);

#endif
