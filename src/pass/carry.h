/* Operators that a per-channel affine map passes: node(a·x + b) = a'·node(x) + b'. What rearranges, picks,
 * averages or interpolates takes any map along an axis it leaves alone; what picks the largest takes maps
 * that rise; what brings in zeros takes scales alone. */
#ifndef IFD_PASS_CARRY_H
#define IFD_PASS_CARRY_H

#include "pass/affine.h"

enum { IFD_MOST_CARRIERS = 8 };

/* Nodes that follow upon each other from a value to a reader, each inner value read by the next alone; the
 * last one first. */
typedef struct ifd_carriers {
  int n;
  ifd_node *nodes[IFD_MOST_CARRIERS];
} ifd_carriers;

/* Whether some map may pass. */
bool ifd_is_carrier(const ifd_node *node);
/* *out(x) before node does what f does behind it: node(out(x)) = f(node(x)). *carried is false where there is
 * no such map. */
ifd_status ifd_carry_back(ifd_rewrite *rw, const ifd_node *node, const ifd_affine *f, ifd_affine *out,
                          bool *carried);
/* The other way: out(node(x)) = node(f(x)). */
ifd_status ifd_carry_on(ifd_rewrite *rw, const ifd_node *node, const ifd_affine *f, ifd_affine *out,
                        bool *carried);
/* Takes the map, which ends in `last`, back through all that carries it and through the maps met on the way,
 * which it becomes one with; *f is then of the value that the first of these reads. */
ifd_status ifd_carriers_find(ifd_rewrite *rw, const ifd_node *last, ifd_affine *f, ifd_carriers *out);
/* Nodes like these, that read x. */
ifd_status ifd_carriers_rebuild(ifd_rewrite *rw, ifd_value **out, const ifd_carriers *c, ifd_value *x);

#endif
