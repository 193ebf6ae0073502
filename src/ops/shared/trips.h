/* What operators that run a graph many times share: counting trips, and outputs that grow by an element with
 * each. */
#ifndef IFD_OPS_SHARED_TRIPS_H
#define IFD_OPS_SHARED_TRIPS_H

#include "ops/shared/move.h"

/* One more trip of this run: LIMIT when it may take no more. */
ifd_status ifd_trip(ifd_eval *x);
/* Makes output i of a graph that made no trip: what the graph says of the shape of its output, unknown
 * dimensions 0, with the dimensions `lead` (n_lead of them) put in before dimension `axis`. */
ifd_status ifd_trips_none(ifd_eval *x, int i, const ifd_value *value, int axis, const int64_t *lead,
                          int n_lead);
/* A view of `whole` without dimension `axis`, at one index of it; *shape becomes the shape without it. */
ifd_view ifd_view_drop(ifd_view whole, ifd_shape *shape, int axis, int64_t index);
/* The shape with a dimension more before `axis`. UNSUPPORTED when there are too many. */
ifd_status ifd_shape_insert(ifd_error *err, ifd_shape *shape, int axis, int64_t dim);
/* BAD_INPUT unless the value that trip `trip` made is a tensor like `first`. */
ifd_status ifd_expect_same_element(ifd_error *err, const ifd_datum *made, const ifd_tensor *first,
                                   int64_t trip);
/* Makes *t, a tensor about to go, a copy in scratch if it holds strings, which outputs may point into. */
ifd_status ifd_keep_strings(ifd_eval *x, ifd_tensor *t);

#endif
