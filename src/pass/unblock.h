/* Blocked images (ops/blocked.c) in the plain order of a graph's values. */
#ifndef IFD_PASS_UNBLOCK_H
#define IFD_PASS_UNBLOCK_H

#include "pass/pass.h"

/* Adds Unblock(x), of so many channels, to the patch. */
static inline ifd_status ifd_unblock_add(ifd_rewrite *rw, ifd_node **out, ifd_value *x, int64_t channels) {
  TRY(ifd_rw_add_node(rw, out, "infold.Unblock", &x, 1, 1));
  return ifd_node_set_int(ifd_rw_error(rw), *out, "channels", channels);
}

/* y = Unblock(x) */
static inline ifd_status ifd_unblock_replace(ifd_rewrite *rw, ifd_value *y, ifd_value *x, int64_t channels) {
  ifd_node *unblock;
  TRY(ifd_unblock_add(rw, &unblock, x, channels));
  return ifd_rw_replace(rw, y, unblock->outputs[0]);
}

#endif
