#include "base/vec.h"

#include <limits.h>
#include <string.h>

void *ifd_vec_grow(ifd_arena *arena, const void *v, int n, int *cap, size_t element_size) {
  if (*cap > INT_MAX / 2) return NULL;
  int grown = *cap ? *cap * 2 : 8;
  void *p = ifd_arena_alloc_array(arena, (size_t)grown, element_size);
  if (!p) return NULL;
  if (n) memcpy(p, v, (size_t)n * element_size);
  *cap = grown;
  return p;
}
