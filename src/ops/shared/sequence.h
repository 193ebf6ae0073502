/* Sequences: lists of values that own what they hold. */
#ifndef IFD_OPS_SHARED_SEQUENCE_H
#define IFD_OPS_SHARED_SEQUENCE_H

#include "ops/shared/move.h"

/* Makes output i an empty sequence of tensors of type `elem` with room for n; it is complete when its items
 * have been added. */
ifd_status ifd_sequence_out(ifd_eval *x, int i, ifd_dtype elem, int64_t n);
/* Adds the value, copied where it is borrowed, to the sequence that output i is. */
ifd_status ifd_sequence_add(ifd_eval *x, int i, const ifd_datum *item);
/* Adds a tensor made of the elements that `from` shows under `shape`. */
ifd_status ifd_sequence_add_view(ifd_eval *x, int i, ifd_dtype dtype, const ifd_shape *shape, ifd_view from);

/* Input i, which must be a sequence (BAD_INPUT); its length and items. */
ifd_status ifd_sequence_in(ifd_eval *x, const ifd_datum **out, int i);
static inline int ifd_sequence_len(const ifd_datum *d) { return d->list ? d->list->n : 0; }

#endif
