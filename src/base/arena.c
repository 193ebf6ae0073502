#include "base/arena.h"

#include "base/os.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { FIRST_BLOCK = 4096, LARGEST_BLOCK = IFD_LARGE_PAGE };

enum { HEADER = 64 };

struct ifd_arena_block {
  ifd_arena_block *next;
  size_t size; /* with this header, of HEADER bytes */
};

void ifd_arena_init(ifd_arena *arena, ifd_budget *budget) { *arena = (ifd_arena){.budget = budget}; }

void ifd_arena_free(ifd_arena *arena) {
  ifd_arena all = *arena;
  ifd_arena_init(arena, all.budget);
  ifd_rooms_free(&all.rooms, all.budget);
  for (ifd_arena_block *b = all.blocks, *next; b; b = next) {
    next = b->next;
    ifd_budget_free(all.budget, b, b->size);
  }
}

/* Blocks double up to a large page; a large request gets a block of its own and leaves the current one in
 * use. */
static void *alloc_raw(ifd_arena *arena, size_t size, size_t align) {
  if (!size) size = 1;
  if (align == HEADER && size >= IFD_ARENA_LARGE) return ifd_rooms_take(&arena->rooms, arena->budget, size);
  uintptr_t at = ((uintptr_t)arena->at + align - 1) & ~(uintptr_t)(align - 1);
  if (arena->at && at <= (uintptr_t)arena->end && size <= (uintptr_t)arena->end - at) {
    arena->at = (char *)at + size;
    return (void *)at;
  }
  if (size > SIZE_MAX / 2 - HEADER) return NULL;
  size_t grown = arena->blocks ? arena->blocks->size * 2 : FIRST_BLOCK;
  if (grown > LARGEST_BLOCK) grown = LARGEST_BLOCK;
  bool own = size + HEADER > grown / 4;
  size_t block_size = own ? size + HEADER : grown;
  ifd_arena_block *b = ifd_budget_alloc(arena->budget, block_size);
  if (!b) return NULL;
  b->size = block_size;
  char *data = (char *)b + HEADER;
  if (own && arena->blocks) {
    b->next = arena->blocks->next;
    arena->blocks->next = b;
  } else {
    b->next = arena->blocks;
    arena->blocks = b;
    arena->at = data + size;
    arena->end = (char *)b + block_size;
  }
  return data;
}

static void *alloc_zeroed(ifd_arena *arena, size_t size, size_t align) {
  void *p = alloc_raw(arena, size, align);
  return p ? memset(p, 0, size) : NULL;
}

void ifd_arena_collect(ifd_arena *arena, ifd_keeps *keeps, void *context) {
  ifd_rooms_collect(&arena->rooms, arena->budget, keeps, context);
}

void ifd_arena_trim(const ifd_arena *arena) { ifd_rooms_trim(&arena->rooms); }

void *ifd_arena_alloc(ifd_arena *arena, size_t size) { return alloc_zeroed(arena, size, 16); }
void *ifd_arena_alloc_data(ifd_arena *arena, size_t size) { return alloc_zeroed(arena, size, 64); }
void *ifd_arena_alloc_raw_data(ifd_arena *arena, size_t size) { return alloc_raw(arena, size, 64); }

void *ifd_arena_alloc_array(ifd_arena *arena, size_t n, size_t size) {
  size_t bytes;
  return __builtin_mul_overflow(n, size, &bytes) ? NULL : ifd_arena_alloc(arena, bytes);
}

void *ifd_arena_memdup(ifd_arena *arena, const void *p, size_t size) {
  void *copy = alloc_raw(arena, size, 16);
  return copy && size ? memcpy(copy, p, size) : copy;
}

char *ifd_arena_strndup(ifd_arena *arena, const char *s, size_t len) {
  if (len == SIZE_MAX) return NULL;
  char *copy = ifd_arena_alloc(arena, len + 1);
  if (copy && len) memcpy(copy, s, len);
  return copy;
}

char *ifd_arena_strdup(ifd_arena *arena, const char *s) { return ifd_arena_strndup(arena, s, strlen(s)); }

char *ifd_arena_printf(ifd_arena *arena, const char *format, ...) {
  va_list args, again;
  va_start(args, format);
  va_copy(again, args);
  int len = vsnprintf(NULL, 0, format, args);
  va_end(args);
  char *s = len < 0 ? NULL : ifd_arena_alloc(arena, (size_t)len + 1);
  if (s) vsnprintf(s, (size_t)len + 1, format, again);
  va_end(again);
  return s;
}
