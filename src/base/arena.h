/* Arenas: zeroed memory that lives until its arena is freed; nothing in it is freed alone. A pointer points
 * only into its own arena or a longer-lived one. */
#ifndef IFD_BASE_ARENA_H
#define IFD_BASE_ARENA_H

#include "base/rooms.h"

typedef struct ifd_arena_block ifd_arena_block;
typedef struct ifd_arena {
  ifd_budget *budget; /* borrowed; may be NULL */
  ifd_arena_block *blocks;
  char *at, *end;
  ifd_rooms rooms; /* of large data */
} ifd_arena;

void ifd_arena_init(ifd_arena *arena, ifd_budget *budget);
/* Frees everything; the arena can be used again, unless it lies in its own memory and went with it. */
void ifd_arena_free(ifd_arena *arena);
/* Zeroed memory aligned to 16 bytes, or NULL. */
void *ifd_arena_alloc(ifd_arena *arena, size_t size);
/* Zeroed memory aligned to 64 bytes, or NULL: tensor data. A piece of IFD_ARENA_LARGE bytes or more can be
 * given back by itself. */
void *ifd_arena_alloc_data(ifd_arena *arena, size_t size);
enum { IFD_ARENA_LARGE = 1 << 16 };
/* The same, not zeroed: for what is written before it is read. */
void *ifd_arena_alloc_raw_data(ifd_arena *arena, size_t size);
/* Gives back large data that keeps(context, data, size) denies. */
void ifd_arena_collect(ifd_arena *arena, ifd_keeps *keeps, void *context);
/* Lets go of the pages of large data that was given back, which else stay for more of it. */
void ifd_arena_trim(const ifd_arena *arena);
/* n * size with overflow checked. */
void *ifd_arena_alloc_array(ifd_arena *arena, size_t n, size_t size);
char *ifd_arena_strndup(ifd_arena *arena, const char *s, size_t len);
char *ifd_arena_strdup(ifd_arena *arena, const char *s);
char *ifd_arena_printf(ifd_arena *arena, const char *format, ...) __attribute__((format(printf, 2, 3)));
void *ifd_arena_memdup(ifd_arena *arena, const void *p, size_t size);

#define ifd_new(arena, type)          ((type *)ifd_arena_alloc(arena, sizeof(type)))
#define ifd_new_array(arena, type, n) ((type *)ifd_arena_alloc_array(arena, (size_t)(n), sizeof(type)))

#endif
