/* Growable arrays in an arena: IFD_VEC(type) declares one; IFD_PUSH grows it by doubling (the old memory
 * stays with the arena until that goes). A zeroed vector is empty. */
#ifndef IFD_BASE_VEC_H
#define IFD_BASE_VEC_H

#include "base/arena.h"

#define IFD_VEC(type)                                                                                        \
  struct {                                                                                                   \
    type *v;                                                                                                 \
    int n, cap;                                                                                              \
  }

/* New storage of 2 * *cap elements with n copied, or NULL. */
void *ifd_vec_grow(ifd_arena *arena, const void *v, int n, int *cap, size_t element_size);

#define IFD_PUSH(err, arena, vec, item)                                                                      \
  do {                                                                                                       \
    if ((vec)->n == (vec)->cap) {                                                                            \
      void *grown_ = ifd_vec_grow(arena, (vec)->v, (vec)->n, &(vec)->cap, sizeof *(vec)->v);                 \
      if (!grown_) FAIL(err, NO_MEMORY, "out of memory");                                                    \
      (vec)->v = grown_;                                                                                     \
    }                                                                                                        \
    (vec)->v[(vec)->n++] = (item);                                                                           \
  } while (0)

#endif
