/* Activations as kernels have them (kernels/epilogue.h), found in a graph: as one operator, or written out in
 * several. */
#ifndef IFD_PASS_ACTIVATION_H
#define IFD_PASS_ACTIVATION_H

#include "pass/pass.h"

typedef struct ifd_activation {
  const char *name; /* the kernels'; NULL: none was found */
  float p[2];
  ifd_value *x; /* what it is applied to */
  int n_uses;   /* of x by the nodes that make it up */
} ifd_activation;

/* The activation whose result `root` makes. */
ifd_activation ifd_rw_find_activation(ifd_rewrite *rw, ifd_node *root);

#endif
