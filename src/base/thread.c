#include "base/thread.h"

#include <fenv.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "base/budget.h"
#include "base/os.h"

/* How long a thread stays awake for what may come at once: steps of a model follow each other within this,
 * and waking one that sleeps takes some 60 µs on a virtual machine. */
#define SPIN_SECONDS 200e-6
enum { SPINS_PER_LOOK = 64, CACHE_LINE = 64 };

/* `open` says whether a run is under way and how many pool threads are in it: bit 0 and 2 per thread. A
 * thread enters by adding 2 while bit 0 is set, so one that wakes late finds the run closed and touches
 * nothing of it; the caller clears bit 0 and waits for 0. Each wait has a flag that is raised before the last
 * look and read after the change (both sequentially consistent), so that one side always sees the other. */
struct ifd_pool {
  int n_threads, n_started;
  bool started;
  pid_t process; /* whose threads they are: a forked child has none */
  size_t size;
  atomic_flag taken; /* one run at a time */
  ifd_task fn;
  void *ctx;
  int n_shares; /* of its tasks: no more than these */
  pthread_mutex_t mutex;
  pthread_cond_t wake, done;
  _Alignas(CACHE_LINE) atomic_uint open;
  _Alignas(CACHE_LINE) atomic_uint round; /* counts runs: what sleepers wait for */
  atomic_int n_asleep;
  atomic_bool caller_asleep, stop;
  struct thread {                           /* the caller's first */
    _Alignas(CACHE_LINE) atomic_llong next; /* of its tasks */
    long long end;
    ifd_pool *pool;
    pthread_t id;
  } threads[];
};

static inline void relax(void) {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

/* Tasks side by side for each: those of the next run often read what these write. */
static void share_out(ifd_pool *p, int n_tasks) {
  p->n_shares = n_tasks < p->n_threads ? n_tasks : p->n_threads;
  for (long long i = 0, n = p->n_shares; i < n; i++) {
    p->threads[i].end = n_tasks * (i + 1) / n;
    atomic_store_explicit(&p->threads[i].next, n_tasks * i / n, memory_order_relaxed);
  }
}

/* The next of a share, or -1. */
static int take(struct thread *of) {
  if (atomic_load_explicit(&of->next, memory_order_relaxed) >= of->end) return -1;
  long long task = atomic_fetch_add_explicit(&of->next, 1, memory_order_relaxed);
  return task < of->end ? (int)task : -1;
}

/* Its own tasks, then what is left of the others'. */
static void work(ifd_pool *p, int worker) {
  for (int i = 0; i < p->n_shares; i++) {
    struct thread *of = &p->threads[(worker + i) % p->n_shares];
    for (int task; (task = take(of)) >= 0;) p->fn(p->ctx, task, worker);
  }
}

static bool enter(ifd_pool *p) {
  unsigned open = atomic_load(&p->open);
  while (open & 1)
    if (atomic_compare_exchange_weak(&p->open, &open, open + 2)) return true;
  return false;
}

static void leave(ifd_pool *p) {
  if (atomic_fetch_sub(&p->open, 2) != 2 || !atomic_load(&p->caller_asleep)) return;
  pthread_mutex_lock(&p->mutex);
  pthread_cond_signal(&p->done);
  pthread_mutex_unlock(&p->mutex);
}

static bool news(ifd_pool *p, unsigned seen) {
  return atomic_load(&p->round) != seen || atomic_load(&p->stop);
}
static bool all_left(ifd_pool *p, unsigned unused) {
  (void)unused;
  return atomic_load(&p->open) == 0;
}

/* Whether it came true within SPIN_SECONDS. */
static bool spin(ifd_pool *p, bool (*condition)(ifd_pool *, unsigned), unsigned argument) {
  for (double end = ifd_now() + SPIN_SECONDS; ifd_now() < end;)
    for (int i = 0; i < SPINS_PER_LOOK; i++) {
      if (condition(p, argument)) return true;
      relax();
    }
  return false;
}

static void sleep_until_news(ifd_pool *p, unsigned seen) {
  pthread_mutex_lock(&p->mutex);
  atomic_fetch_add(&p->n_asleep, 1);
  while (!news(p, seen)) pthread_cond_wait(&p->wake, &p->mutex);
  atomic_fetch_sub(&p->n_asleep, 1);
  pthread_mutex_unlock(&p->mutex);
}

static void *thread_main(void *argument) {
  struct thread *self = argument;
  ifd_pool *p = self->pool;
  int worker = (int)(self - p->threads);
  fesetenv(FE_DFL_ENV);
  for (unsigned seen = 0; !atomic_load(&p->stop); seen = atomic_load(&p->round)) {
    if (enter(p)) {
      work(p, worker);
      leave(p);
    }
    if (!spin(p, news, seen)) sleep_until_news(p, seen);
  }
  return NULL;
}

static void start(ifd_pool *p) {
  sigset_t all, old;
  p->started = true;
  p->process = getpid();
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &old);
  while (p->n_started < p->n_threads - 1) {
    struct thread *t = &p->threads[p->n_started + 1];
    t->pool = p;
    if (pthread_create(&t->id, NULL, thread_main, t)) break;
    p->n_started++;
  }
  pthread_sigmask(SIG_SETMASK, &old, NULL);
}

static void wake(ifd_pool *p, int n_wanted) {
  atomic_fetch_add(&p->round, 1);
  if (!atomic_load(&p->n_asleep)) return;
  pthread_mutex_lock(&p->mutex);
  int n_asleep = atomic_load(&p->n_asleep);
  if (n_asleep <= n_wanted)
    pthread_cond_broadcast(&p->wake);
  else
    for (int i = 0; i < n_wanted; i++) pthread_cond_signal(&p->wake);
  pthread_mutex_unlock(&p->mutex);
}

static void wait_for_threads(ifd_pool *p) {
  if (all_left(p, 0) || spin(p, all_left, 0)) return;
  pthread_mutex_lock(&p->mutex);
  atomic_store(&p->caller_asleep, true);
  while (!all_left(p, 0)) pthread_cond_wait(&p->done, &p->mutex);
  atomic_store(&p->caller_asleep, false);
  pthread_mutex_unlock(&p->mutex);
}

static void run_alone(int n_tasks, ifd_task fn, void *ctx) {
  for (int task = 0; task < n_tasks; task++) fn(ctx, task, 0);
}

void ifd_pool_run(ifd_pool *p, int n_tasks, ifd_task fn, void *ctx) {
  if (!p || p->n_threads == 1 || n_tasks < 2 || atomic_flag_test_and_set(&p->taken)) {
    run_alone(n_tasks, fn, ctx);
    return;
  }
  if (!p->started) start(p);
  p->fn = fn;
  p->ctx = ctx;
  share_out(p, n_tasks);
  atomic_store(&p->open, 1);
  wake(p, n_tasks - 1);
  work(p, 0);
  atomic_fetch_and(&p->open, ~1u);
  wait_for_threads(p);
  atomic_flag_clear(&p->taken);
}

int ifd_pool_size(const ifd_pool *p) { return p ? p->n_threads : 1; }

ifd_pool *ifd_pool_create(int n_threads) {
  if (n_threads < 1) n_threads = 1;
  size_t size = sizeof(ifd_pool) + (size_t)n_threads * sizeof(struct thread);
  ifd_pool *p = ifd_budget_alloc(NULL, size);
  if (!p) return NULL;
  memset(p, 0, size);
  p->n_threads = n_threads;
  p->size = size;
  atomic_flag_clear(&p->taken);
  pthread_mutex_init(&p->mutex, NULL);
  pthread_cond_init(&p->wake, NULL);
  pthread_cond_init(&p->done, NULL);
  return p;
}

static void end_threads(ifd_pool *p) {
  pthread_mutex_lock(&p->mutex);
  atomic_store(&p->stop, true);
  pthread_cond_broadcast(&p->wake);
  pthread_mutex_unlock(&p->mutex);
  for (int i = 0; i < p->n_started; i++) pthread_join(p->threads[i + 1].id, NULL);
  pthread_cond_destroy(&p->wake);
  pthread_cond_destroy(&p->done);
  pthread_mutex_destroy(&p->mutex);
}

void ifd_pool_destroy(ifd_pool *p) {
  if (!p) return;
  if (!p->started || p->process == getpid()) end_threads(p);
  ifd_budget_free(NULL, p, p->size);
}
