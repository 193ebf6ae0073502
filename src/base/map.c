#include "base/map.h"

#include <string.h>

uint64_t ifd_hash_mix(uint64_t a, uint64_t b) {
  uint64_t h = a ^ (b + 0x9e3779b97f4a7c15u + (a << 6) + (a >> 2));
  h ^= h >> 33;
  h *= 0xff51afd7ed558ccdu;
  return h ^ (h >> 33);
}

/* Weights go through here: eight bytes a step, whose high bits reach the low ones with the next. */
uint64_t ifd_hash_bytes(const void *p, size_t n) {
  const unsigned char *s = p;
  uint64_t h = 0xcbf29ce484222325u, word;
  size_t i = 0;
  for (; i + sizeof word <= n; i += sizeof word) {
    memcpy(&word, s + i, sizeof word);
    h = (h ^ word) * 0x9e3779b97f4a7c15u;
    h ^= h >> 29;
  }
  for (; i < n; i++) h = (h ^ s[i]) * 0x100000001b3u;
  return ifd_hash_mix(h, n);
}

void ifd_map_init(ifd_map *map, ifd_arena *arena) { *map = (ifd_map){.arena = arena}; }

static ifd_map_entry *slot(const ifd_map *map, const char *key, uint64_t hash) {
  for (size_t i = hash & (map->cap - 1);; i = (i + 1) & (map->cap - 1)) {
    ifd_map_entry *e = &map->entries[i];
    if (!e->key || (e->hash == hash && strcmp(e->key, key) == 0)) return e;
  }
}

void *ifd_map_find(const ifd_map *map, const char *key) {
  return map->n ? slot(map, key, ifd_hash_bytes(key, strlen(key)))->value : NULL;
}

static bool grow(ifd_map *map) {
  ifd_map bigger = {.arena = map->arena, .cap = map->cap ? map->cap * 2 : 16};
  bigger.entries = ifd_new_array(map->arena, ifd_map_entry, bigger.cap);
  if (!bigger.entries) return false;
  for (size_t i = 0; i < map->cap; i++)
    if (map->entries[i].key) {
      *slot(&bigger, map->entries[i].key, map->entries[i].hash) = map->entries[i];
      bigger.n++;
    }
  *map = bigger;
  return true;
}

bool ifd_map_set(ifd_map *map, const char *key, void *value) {
  if (4 * (map->n + 1) > 3 * map->cap && !grow(map)) return false;
  uint64_t hash = ifd_hash_bytes(key, strlen(key));
  ifd_map_entry *e = slot(map, key, hash);
  if (!e->key) map->n++;
  *e = (ifd_map_entry){key, value, hash};
  return true;
}
