#include "plan/memory.h"

#include <stdlib.h>
#include <string.h>

/* The slab as it stands at one time: blocks in address order, free or taken. */
typedef struct block {
  struct block *prev, *next;
  size_t offset, bytes;
  bool taken;
} block;

static int by_last(const void *a, const void *b) {
  const ifd_buffer *x = *(ifd_buffer *const *)a, *y = *(ifd_buffer *const *)b;
  return x->last != y->last ? (x->last > y->last) - (x->last < y->last) : (x > y) - (x < y);
}

static void join_next(block *b) {
  block *n = b->next;
  b->bytes += n->bytes;
  b->next = n->next;
  if (n->next) n->next->prev = b;
}

static void release(block *b) {
  b->taken = false;
  if (b->next && !b->next->taken) join_next(b);
  if (b->prev && !b->prev->taken) join_next(b->prev);
}

/* The smallest free block that fits, else the free end of the slab, which grows. */
static block *find_place(block *head, size_t bytes, size_t *slab, block **tail) {
  block *best = NULL;
  for (block *b = head; b; b = b->next) {
    *tail = b;
    if (!b->taken && b->bytes >= bytes && (!best || b->bytes < best->bytes)) best = b;
  }
  if (best) return best;
  if ((*tail)->taken) return NULL;
  *slab += bytes - (*tail)->bytes;
  (*tail)->bytes = bytes;
  return *tail;
}

static block *take(ifd_arena *scratch, block *head, size_t bytes, size_t *slab) {
  block *tail = head, *b = find_place(head, bytes, slab, &tail);
  block *rest = NULL;
  if (!b) {
    if (!(b = ifd_new(scratch, block))) return NULL;
    *b = (block){.prev = tail, .offset = *slab, .bytes = bytes};
    tail->next = b;
    *slab += bytes;
  } else if (b->bytes > bytes) {
    if (!(rest = ifd_new(scratch, block))) return NULL;
    *rest = (block){.prev = b, .next = b->next, .offset = b->offset + bytes, .bytes = b->bytes - bytes};
    if (b->next) b->next->prev = rest;
    b->next = rest;
    b->bytes = bytes;
  }
  b->taken = true;
  return b;
}

ifd_status ifd_memory_plan(ifd_error *err, ifd_buffer *buffers, int n, size_t *slab, ifd_arena *scratch) {
  ifd_buffer **ends;
  block **places, *head;
  *slab = 0;
  if (!n) return IFD_OK;
  ALLOC(err, ends, ifd_new_array(scratch, ifd_buffer *, n));
  ALLOC(err, places, ifd_new_array(scratch, block *, n));
  ALLOC(err, head, ifd_new(scratch, block));
  head->taken = true; /* an empty sentinel at address 0 */
  for (int i = 0; i < n; i++) ends[i] = &buffers[i];
  qsort(ends, (size_t)n, sizeof *ends, by_last);
  for (int i = 0, ended = 0; i < n; i++) {
    for (; ended < n && ends[ended]->last < buffers[i].first; ended++) release(places[ends[ended] - buffers]);
    size_t bytes = (buffers[i].bytes + 63) & ~(size_t)63;
    ALLOC(err, places[i], take(scratch, head, bytes ? bytes : 64, slab));
    buffers[i].offset = places[i]->offset;
  }
  return IFD_OK;
}
