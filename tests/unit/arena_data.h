/* Whether an arena holds data in a block of its own. */
#ifndef TESTS_UNIT_ARENA_DATA_H
#define TESTS_UNIT_ARENA_DATA_H

#include "base/arena.h"

typedef struct sought {
  const void *data;
  size_t size;
  bool found;
} sought;

static inline bool seek(void *context, const void *data, size_t size) {
  sought *s = context;
  s->found |= data == s->data && size >= s->size;
  return true;
}

static inline bool arena_has_data(ifd_arena *arena, const void *data, size_t size) {
  sought s = {.data = data, .size = size};
  ifd_arena_collect(arena, seek, &s);
  return s.found;
}

#endif
