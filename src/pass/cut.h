/* Least cuts: which things should be one way and which the other, when each disagreement has a price.
 *
 * Vertices are numbered from 0; vertex IFD_CUT_ONE is on side one, IFD_CUT_ZERO on side zero, others are
 * free. An edge a → b of a price is paid when a is on side one and b on side zero. Solving finds sides of
 * least total price (maximum flow by Dinic, 1970); of several such, the one with the fewest vertices on side
 * one. */
#ifndef IFD_PASS_CUT_H
#define IFD_PASS_CUT_H

#include "base/arena.h"
#include "base/status.h"
#include "base/vec.h"

enum { IFD_CUT_ONE, IFD_CUT_ZERO };
#define IFD_CUT_NEVER (1 << 28) /* a price that is never worth paying */

typedef struct ifd_cut_edge {
  int to, next; /* next edge of the same vertex, or -1; edge e ^ 1 runs back */
  int left;     /* of its price */
} ifd_cut_edge;

typedef struct ifd_cut {
  ifd_error *err;
  ifd_arena *arena; /* owns all below */
  IFD_VEC(int) first;
  IFD_VEC(ifd_cut_edge) edges;
} ifd_cut;

/* With the two fixed vertices. */
ifd_status ifd_cut_init(ifd_cut *cut, ifd_error *err, ifd_arena *arena);
ifd_status ifd_cut_add_vertex(ifd_cut *cut, int *out);
ifd_status ifd_cut_add_edge(ifd_cut *cut, int from, int to, int price);
/* The least price, and for each vertex whether it is on side one. */
ifd_status ifd_cut_solve(ifd_cut *cut, long *price, const bool **is_one);

#endif
