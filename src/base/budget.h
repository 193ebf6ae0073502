/* Memory that is counted.
 * A budget counts what one owner (a model, a session) holds and refuses what goes over its limit; it can be
 * told to fail the n-th request, for tests. One that a struct embeds just counts, and must outlive what it
 * gave. One that was created lives until it is closed and its last block is freed, so that results may
 * outlive the session that made them; it also keeps freed blocks for the next request of their size, because
 * fresh pages cost more than most kernels that fill them. */
#ifndef IFD_BASE_BUDGET_H
#define IFD_BASE_BUDGET_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { IFD_BUDGET_BUCKETS = 64 };

typedef struct ifd_budget {
  size_t limit;              /* bytes; 0 is no limit */
  bool of_machine;           /* nor more than half of what this process can hold, asked for when it matters */
  _Atomic size_t half;       /* that, once it was asked for */
  _Atomic size_t used;       /* bytes held now, kept blocks included */
  _Atomic size_t peak;       /* most bytes ever held */
  _Atomic long fail_after;   /* > 0: requests until one fails; 0: never */
  _Atomic bool was_exceeded; /* a request was refused for the limit */
  bool spills;               /* large blocks are mapped from a file without a name, and do not count */
  /* of created ones */
  bool is_created, keeps;
  pthread_mutex_t lock; /* guards what follows */
  unsigned round;
  size_t n_kept;
  struct ifd_kept *kept[IFD_BUDGET_BUCKETS]; /* by size, the last one freed first */
} ifd_budget;

/* Memory of at least `size` bytes, aligned to 64, not zeroed; NULL when the budget or the machine refuses.
 * Large blocks are aligned to huge pages and ask for them. budget may be NULL: the machine's memory. */
void *ifd_budget_alloc(ifd_budget *budget, size_t size);
/* Frees what ifd_budget_alloc gave for the same size; NULL is fine. */
void ifd_budget_free(ifd_budget *budget, void *p, size_t size);

/* A budget that keeps blocks, or NULL when out of memory. */
ifd_budget *ifd_budget_create(size_t limit);
/* The owner's end: kept blocks go, and the budget with its last block. NULL is fine. */
void ifd_budget_close(ifd_budget *budget);
/* Sets the limits of another one. */
void ifd_budget_limit_like(ifd_budget *budget, const ifd_budget *other);
/* The most bytes that it allows; SIZE_MAX is any. */
size_t ifd_budget_most(ifd_budget *budget);
/* Raises the limit, if it is lower. */
void ifd_budget_raise(ifd_budget *budget, size_t limit);
/* Says that a run ended: blocks that several runs had no use for go back to the system. */
void ifd_budget_end_round(ifd_budget *budget);

#endif
