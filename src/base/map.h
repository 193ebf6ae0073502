/* A hash map from strings to pointers, in an arena. Keys are borrowed: they must outlive the map. */
#ifndef IFD_BASE_MAP_H
#define IFD_BASE_MAP_H

#include "base/arena.h"

typedef struct ifd_map_entry {
  const char *key; /* NULL: free */
  void *value;
  uint64_t hash;
} ifd_map_entry;

typedef struct ifd_map {
  ifd_arena *arena;
  ifd_map_entry *entries;
  size_t n, cap; /* cap is a power of two */
} ifd_map;

void ifd_map_init(ifd_map *map, ifd_arena *arena);
/* The value, or NULL. */
void *ifd_map_find(const ifd_map *map, const char *key);
/* Sets or replaces; false when out of memory. A value of NULL unsets. */
bool ifd_map_set(ifd_map *map, const char *key, void *value);
/* For tables in this process: not against those who look for collisions, and not the same for ever. */
uint64_t ifd_hash_bytes(const void *p, size_t n);
uint64_t ifd_hash_mix(uint64_t a, uint64_t b);

#endif
