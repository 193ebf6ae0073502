/* A value as elements of another one, rearranged. Transpose, Reshape, Squeeze, Unsqueeze, and the choice of
 * one of equal parts (Gather of one index, Split, Slice) are looked through: each axis of the value first
 * looked at is a factor of an axis of the value that its elements come from. */
#ifndef IFD_PASS_VIEW_H
#define IFD_PASS_VIEW_H

#include "pass/pass.h"

enum { IFD_VIEW_PART = -1, IFD_VIEW_FACTORS = 12 };

typedef struct ifd_factor {
  int role; /* as ifd_rw_view_of was told; IFD_VIEW_PART: of these only one is taken */
  int axis; /* of `v` */
  ifd_dim n;
} ifd_factor;

typedef struct ifd_rw_view {
  ifd_value *v;
  int n_factors;
  ifd_factor factors[IFD_VIEW_FACTORS]; /* in the order of v's elements: outer ones first */
  int64_t part;                         /* the last one taken, of its factor */
} ifd_rw_view;

/* The value itself, its axes having these roles. False when its rank is not known, or too high. */
bool ifd_rw_view_of(ifd_rewrite *rw, ifd_rw_view *out, ifd_value *v, const int *roles);
/* Looks through the node that makes v; false, and nothing changes, when that cannot be. */
bool ifd_rw_view_step(ifd_rewrite *rw, ifd_rw_view *view);
/* The shape by which Reshape makes `to` of a value of dimensions `from`; false when more than one number
 * would be left open. */
bool ifd_rw_view_shape(const ifd_dim *from, int n_from, const ifd_dim *to, int n_to, int64_t *shape);

#endif
