#include "plan/memory.h"

#include <stdlib.h>
#include <string.h>

/* A piece of the slab as it stands at one time, free or taken. */
typedef struct block {
  struct block *prev, *next;           /* in address order */
  struct block *prev_free, *next_free; /* of the free ones of its class */
  size_t offset, bytes;
  bool taken;
} block;

enum { N_CLASSES = 64 }; /* of sizes, by their highest bit */

typedef struct slab {
  ifd_arena *scratch;
  block *last;
  size_t bytes;
  block *free[N_CLASSES];
} slab;

static int by_last(const void *a, const void *b) {
  const ifd_buffer *x = *(ifd_buffer *const *)a, *y = *(ifd_buffer *const *)b;
  return x->last != y->last ? (x->last > y->last) - (x->last < y->last) : (x > y) - (x < y);
}

/* ---- free blocks ---- */

static int class_of(size_t bytes) { return 63 - __builtin_clzll((unsigned long long)bytes); }

static void add_free(slab *s, block *b) {
  block **first = &s->free[class_of(b->bytes)];
  b->taken = false;
  b->prev_free = NULL;
  b->next_free = *first;
  if (*first) (*first)->prev_free = b;
  *first = b;
}

static void remove_free(slab *s, block *b) {
  if (b->next_free) b->next_free->prev_free = b->prev_free;
  if (b->prev_free)
    b->prev_free->next_free = b->next_free;
  else
    s->free[class_of(b->bytes)] = b->next_free;
  b->taken = true;
}

/* The smallest free block that fits, the first in memory of several; or NULL. */
static block *find_free(const slab *s, size_t bytes) {
  block *best = NULL;
  for (int c = class_of(bytes); c < N_CLASSES && !best; c++)
    for (block *b = s->free[c]; b; b = b->next_free) {
      bool better = !best || b->bytes < best->bytes || (b->bytes == best->bytes && b->offset < best->offset);
      if (b->bytes >= bytes && better) best = b;
    }
  return best;
}

/* ---- taking and giving back ---- */

static block *add_block(slab *s, block *after, size_t offset, size_t bytes) {
  block *b = ifd_new(s->scratch, block);
  if (!b) return NULL;
  *b = (block){
      .prev = after, .next = after ? after->next : NULL, .offset = offset, .bytes = bytes, .taken = true};
  if (b->next) b->next->prev = b;
  if (after) after->next = b;
  if (!b->next) s->last = b;
  return b;
}

/* The end of the slab, which grows. */
static block *extend(slab *s, size_t bytes) {
  block *last = s->last;
  if (!last || last->taken) {
    s->bytes += bytes;
    return add_block(s, last, s->bytes - bytes, bytes);
  }
  remove_free(s, last);
  s->bytes += bytes - last->bytes;
  last->bytes = bytes;
  return last;
}

static block *take(slab *s, size_t bytes) {
  block *b = find_free(s, bytes);
  if (!b) return extend(s, bytes);
  remove_free(s, b);
  if (b->bytes > bytes) {
    block *rest = add_block(s, b, b->offset + bytes, b->bytes - bytes);
    if (!rest) return NULL;
    b->bytes = bytes;
    add_free(s, rest);
  }
  return b;
}

/* b takes in the free block after it. */
static void join_next(slab *s, block *b) {
  block *n = b->next;
  remove_free(s, n);
  b->bytes += n->bytes;
  b->next = n->next;
  if (b->next)
    b->next->prev = b;
  else
    s->last = b;
}

static void give_back(slab *s, block *b) {
  if (b->next && !b->next->taken) join_next(s, b);
  add_free(s, b);
  if (b->prev && !b->prev->taken) {
    b = b->prev;
    remove_free(s, b);
    join_next(s, b);
    add_free(s, b);
  }
}

ifd_status ifd_memory_plan(ifd_error *err, ifd_buffer *buffers, int n, size_t *slab_bytes,
                           ifd_arena *scratch) {
  ifd_buffer **ends;
  block **places;
  slab s = {.scratch = scratch};
  *slab_bytes = 0;
  if (!n) return IFD_OK;
  ALLOC(err, ends, ifd_new_array(scratch, ifd_buffer *, n));
  ALLOC(err, places, ifd_new_array(scratch, block *, n));
  for (int i = 0; i < n; i++) ends[i] = &buffers[i];
  qsort(ends, (size_t)n, sizeof *ends, by_last);
  for (int i = 0, ended = 0; i < n; i++) {
    for (; ended < n && ends[ended]->last < buffers[i].first; ended++)
      give_back(&s, places[ends[ended] - buffers]);
    size_t bytes = (buffers[i].bytes + 63) & ~(size_t)63;
    ALLOC(err, places[i], take(&s, bytes ? bytes : 64));
    buffers[i].offset = places[i]->offset;
  }
  *slab_bytes = s.bytes;
  return IFD_OK;
}
