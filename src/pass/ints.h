/* Integers that an operator has as an attribute, and in later versions as an input of the same name: axes,
 * split, starts, ends, pads, repeats. Which it is at a node, its schema says. */
#ifndef IFD_PASS_INTS_H
#define IFD_PASS_INTS_H

#include "pass/pass.h"

enum { IFD_MAX_INTS = 64 };

typedef struct ifd_ints {
  bool given;
  int n; /* 0 where not given */
  int64_t v[IFD_MAX_INTS];
} ifd_ints;

/* False when the integers are not known, or too many. */
bool ifd_ints_of(ifd_rewrite *rw, const ifd_node *node, const char *name, ifd_ints *out);
/* Its one integer; false when that is not known, or there is not one. */
bool ifd_ints_one(ifd_rewrite *rw, const ifd_node *node, const char *name, int64_t *out);
/* "axes" of a value of known rank, counted from the front; false also when one is out of range. */
bool ifd_ints_axes(ifd_rewrite *rw, const ifd_node *node, int rank, ifd_ints *out);
/* The same as bits, no axis twice; *axes is 0 where none are given. A rank of at most 31. */
bool ifd_ints_axis_bits(ifd_rewrite *rw, const ifd_node *node, int rank, unsigned *axes);

/* Puts integers where a node of the patch has them. */
ifd_status ifd_ints_store(ifd_rewrite *rw, ifd_node *node, const char *name, const int64_t *v, int n);
/* A new node that reads x and the integers. */
ifd_status ifd_ints_add_node(ifd_rewrite *rw, ifd_node **out, const char *op_type, ifd_value *x,
                             const char *name, const int64_t *v, int n, int n_outputs);
/* x in parts of such lengths along an axis. */
ifd_status ifd_ints_add_split(ifd_rewrite *rw, ifd_node **out, ifd_value *x, int64_t axis,
                              const int64_t *lengths, int n);
/* Of x, axis axes[i] from starts[i] to ends[i] in steps of steps[i], which may be NULL: of 1. */
ifd_status ifd_ints_add_slice(ifd_rewrite *rw, ifd_node **out, ifd_value *x, const int64_t *starts,
                              const int64_t *ends, const int64_t *axes, const int64_t *steps, int n);

#endif
