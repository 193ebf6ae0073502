/* Offsets of buffers in one slab from their lifetimes: a sweep over time with best fit, so linear (times log)
 * in their number. */
#ifndef IFD_PLAN_MEMORY_H
#define IFD_PLAN_MEMORY_H

#include "base/arena.h"
#include "base/status.h"

typedef struct ifd_buffer {
  int first, last; /* step that writes it, last step that reads it */
  size_t bytes;
  size_t offset; /* the result, a multiple of 64 */
} ifd_buffer;

/* Sets the offsets of n buffers (ordered by `first`) and *slab to the bytes needed. Two buffers whose
 * lifetimes meet (the last of one is the first of the other included) never overlap. */
ifd_status ifd_memory_plan(ifd_error *err, ifd_buffer *buffers, int n, size_t *slab, ifd_arena *scratch);

#endif
