#include "base/budget.h"

#include "base/os.h"
#include <stdlib.h>

/* Asking what the machine allows is some dozen system calls: a tenth and more of a small session. */
enum { LEAST_KEPT = 4096, ROUNDS_KEPT = 4, LEAST_SPILLED = 1 << 20, LEAST_ASKED = 1 << 24 };

/* A freed block; it lies in the block itself. */
typedef struct ifd_kept {
  struct ifd_kept *next;
  size_t size;
  unsigned round; /* in which it was freed */
} ifd_kept;

static size_t round_up(size_t size) {
  size = (size + 63) & ~(size_t)63;
  return size ? size : 64;
}

/* ---- the system ---- */

/* Weights and activations are read in streams: of small pages, every few microseconds would wait for an
 * address. */
static void *system_alloc(size_t size) {
  void *p = NULL;
  if (size < IFD_LARGE_PAGE) return aligned_alloc(64, size);
  if (posix_memalign(&p, IFD_LARGE_PAGE, size)) return NULL;
  ifd_memory_prefer_large_pages(p, size);
  return p;
}

/* ---- kept blocks ---- */

static ifd_kept **bucket_of(ifd_budget *b, size_t size) {
  uint64_t hash = (uint64_t)size * 0x9E3779B97F4A7C15u;
  return &b->kept[hash >> 58];
}

static void *take_kept(ifd_budget *b, size_t size) {
  if (!b->is_created || size < LEAST_KEPT) return NULL;
  pthread_mutex_lock(&b->lock);
  ifd_kept **link = bucket_of(b, size);
  while (*link && (*link)->size != size) link = &(*link)->next;
  ifd_kept *found = *link;
  if (found) {
    *link = found->next;
    b->n_kept--;
  }
  pthread_mutex_unlock(&b->lock);
  return found;
}

/* Whether the block is kept now; it still counts as used. */
static bool keep(ifd_budget *b, void *p, size_t size) {
  if (!b->is_created || size < LEAST_KEPT) return false;
  pthread_mutex_lock(&b->lock);
  bool keeps = b->keeps;
  if (keeps) {
    ifd_kept *k = p, **link = bucket_of(b, size);
    *k = (ifd_kept){.next = *link, .size = size, .round = b->round};
    *link = k;
    b->n_kept++;
  }
  pthread_mutex_unlock(&b->lock);
  return keeps;
}

/* Frees kept blocks that are at least so many rounds old; the lock is held. Whether there were any. */
static bool drop_kept(ifd_budget *b, unsigned age) {
  size_t before = b->n_kept;
  for (int i = 0; i < IFD_BUDGET_BUCKETS && b->n_kept; i++)
    for (ifd_kept **link = &b->kept[i], *k; (k = *link);) {
      if (b->round - k->round < age) {
        link = &k->next;
        continue;
      }
      *link = k->next;
      b->n_kept--;
      atomic_fetch_sub(&b->used, k->size);
      free(k);
    }
  return b->n_kept != before;
}

static bool drop_all_kept(ifd_budget *b) {
  if (!b->is_created) return false;
  pthread_mutex_lock(&b->lock);
  bool any = drop_kept(b, 0);
  pthread_mutex_unlock(&b->lock);
  return any;
}

void ifd_budget_end_round(ifd_budget *b) {
  if (!b->is_created) return;
  pthread_mutex_lock(&b->lock);
  b->round++;
  drop_kept(b, ROUNDS_KEPT);
  pthread_mutex_unlock(&b->lock);
}

/* ---- counting ---- */

static bool injected_failure(ifd_budget *b) {
  if (atomic_load_explicit(&b->fail_after, memory_order_relaxed) <= 0) return false;
  if (atomic_fetch_sub(&b->fail_after, 1) != 1) return false;
  atomic_store(&b->fail_after, 1); /* and every later one, as when memory is gone */
  return true;
}

size_t ifd_budget_most(ifd_budget *b) {
  size_t limit = atomic_load_explicit(&b->limit, memory_order_relaxed), half = atomic_load(&b->half);
  if (!limit) limit = SIZE_MAX;
  if (!b->of_machine) return limit;
  if (!half) atomic_store(&b->half, half = ifd_memory_size() / 2);
  return half < limit ? half : limit;
}

static bool exceeds(ifd_budget *b, size_t used) {
  size_t limit = atomic_load_explicit(&b->limit, memory_order_relaxed);
  return (limit && used > limit) || (used > LEAST_ASKED && used > ifd_budget_most(b));
}

static bool count(ifd_budget *b, size_t size) {
  size_t used = atomic_fetch_add(&b->used, size) + size;
  if (exceeds(b, used)) {
    atomic_fetch_sub(&b->used, size);
    atomic_store(&b->was_exceeded, true);
    return false;
  }
  size_t peak = atomic_load(&b->peak);
  while (used > peak && !atomic_compare_exchange_weak(&b->peak, &peak, used)) {
  }
  return true;
}

static void uncount(ifd_budget *b, size_t size) {
  if (atomic_fetch_sub(&b->used, size) != size || !b->is_created) return;
  pthread_mutex_destroy(&b->lock);
  free(b);
}

static void *alloc_counted(ifd_budget *b, size_t size) {
  if (!count(b, size)) return NULL;
  void *p = system_alloc(size);
  if (!p) uncount(b, size);
  return p;
}

static bool spills(const ifd_budget *b, size_t size) { return b && b->spills && size >= LEAST_SPILLED; }

void *ifd_budget_alloc(ifd_budget *budget, size_t size) {
  if (size > SIZE_MAX / 2) return NULL;
  size = round_up(size);
  if (!budget) return system_alloc(size);
  if (injected_failure(budget)) return NULL;
  if (spills(budget, size)) return ifd_scratch_map(size);
  void *p = take_kept(budget, size);
  if (!p) p = alloc_counted(budget, size);
  if (!p && drop_all_kept(budget)) p = alloc_counted(budget, size);
  return p;
}

void ifd_budget_free(ifd_budget *budget, void *p, size_t size) {
  if (!p) return;
  size = round_up(size);
  if (!budget) {
    free(p);
  } else if (spills(budget, size)) {
    ifd_scratch_unmap(p, size);
  } else if (!keep(budget, p, size)) {
    free(p);
    uncount(budget, size);
  }
}

void ifd_budget_limit_like(ifd_budget *b, const ifd_budget *other) {
  b->limit = atomic_load(&other->limit);
  b->of_machine = other->of_machine;
  b->half = atomic_load(&other->half);
}

void ifd_budget_raise(ifd_budget *b, size_t limit) {
  size_t now = atomic_load(&b->limit);
  while (now < limit && !atomic_compare_exchange_weak(&b->limit, &now, limit)) {
  }
}

/* ---- a budget of its own ---- */

/* A created budget counts itself, so that it goes with whatever is freed last. */
ifd_budget *ifd_budget_create(size_t limit) {
  ifd_budget *b = calloc(1, sizeof *b);
  if (!b) return NULL;
  b->limit = limit;
  b->is_created = true;
  b->used = b->peak = sizeof *b;
#ifndef __SANITIZE_ADDRESS__ /* it watches freed blocks best when they are freed */
  b->keeps = true;
#endif
  pthread_mutex_init(&b->lock, NULL);
  return b;
}

void ifd_budget_close(ifd_budget *b) {
  if (!b) return;
  pthread_mutex_lock(&b->lock);
  b->keeps = false;
  drop_kept(b, 0);
  pthread_mutex_unlock(&b->lock);
  uncount(b, sizeof *b);
}
