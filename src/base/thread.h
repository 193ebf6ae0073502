/* A pool of threads that share out numbered tasks.
 *
 * The caller of ifd_pool_run takes part and returns when every task is done; each thread begins with tasks
 * side by side of its own, and then takes those that are left of the others', so nothing may depend on who
 * runs which task. Threads start with the first run that has work for them; if the system gives none, the
 * work is done by fewer. They wait for the next run awake for a short time, then asleep. A pool may be used
 * from many threads at once, and from inside a task: whoever finds it taken works alone. No affinities are
 * set; the pool's threads take no signals and run with the default floating-point environment.
 */
#ifndef IFD_BASE_THREAD_H
#define IFD_BASE_THREAD_H

typedef struct ifd_pool ifd_pool;
/* worker: 0 is the caller; in [0, ifd_pool_size), never two of the same at once within one run. */
typedef void (*ifd_task)(void *ctx, int task, int worker);

/* A pool of n_threads including the caller (less than 1 counts as 1), or NULL when out of memory. */
ifd_pool *ifd_pool_create(int n_threads);
/* Ends the threads; no run may be under way. NULL is fine. In a forked child, which has none of them, the
 * pool runs on the caller alone. */
void ifd_pool_destroy(ifd_pool *pool);
/* The most threads a run can use: n_threads. */
int ifd_pool_size(const ifd_pool *pool);
/* fn(ctx, task, worker) for each task in [0, n_tasks). A pool that is NULL or of one thread runs them in
 * order. */
void ifd_pool_run(ifd_pool *pool, int n_tasks, ifd_task fn, void *ctx);

#endif
