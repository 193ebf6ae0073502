/* Types met where paths of control meet. */
#ifndef IFD_OPS_SHARED_TYPES_H
#define IFD_OPS_SHARED_TYPES_H

#include "ops/op.h"

/* The narrowest type that covers both: dimensions that differ become unknowns, and so on outward. NULL only
 * when out of memory. */
const ifd_type *ifd_type_join(ifd_infer *x, const ifd_type *a, const ifd_type *b);
/* A tensor of the type's dtype of which neither rank nor dimensions are known; other kinds as they are. NULL
 * only when out of memory. */
const ifd_type *ifd_type_widen(ifd_infer *x, const ifd_type *t);
/* x->subgraph for a graph that may turn out never to run: when its inference fails for another reason than
 * memory, the failure is forgotten and its outputs have the types that the graph declares. */
ifd_status ifd_infer_subgraph(ifd_infer *x, const ifd_graph *graph, const ifd_type *const *in, int n_in,
                              const ifd_type **out);
/* Values that a graph takes and gives anew in each trip: n inputs from in_first on are outputs from out_first
 * on. */
typedef struct ifd_carried {
  int n, in_first, out_first;
} ifd_carried;
/* Infers a graph run many times. in: types for the first trip, which become types for all trips (carried
 * values may change their shape); out: types of its outputs in any trip. */
ifd_status ifd_infer_repeated(ifd_infer *x, const ifd_graph *body, const ifd_carried *carried,
                              const ifd_type **in, int n_in, const ifd_type **out);

#endif
