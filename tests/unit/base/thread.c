/* The pool: every task once, whatever the threads, the callers, and what the system grants. */
#include "base/cpu.h"
#include "base/thread.h"

#include <dlfcn.h>
#include <errno.h>
#include <fenv.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

enum { MOST_TASKS = 5000, MOST_WORKERS = 16 };

/* Threads that may still be made; the rest fail as when the system has none left. */
static atomic_int n_grants = 1000000;
static atomic_int n_made;
int pthread_create(pthread_t *id, const pthread_attr_t *attr, void *(*fn)(void *), void *arg) {
  if (atomic_fetch_sub(&n_grants, 1) <= 0) return EAGAIN;
  int (*real)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
  *(void **)&real = dlsym(RTLD_NEXT, "pthread_create");
  atomic_fetch_add(&n_made, 1);
  return real(id, attr, fn, arg);
}

typedef struct tally {
  int size;
  atomic_int done[MOST_TASKS];
  atomic_int busy[MOST_WORKERS]; /* a worker runs one task at a time */
  atomic_int n_wrong;
  int plain[MOST_TASKS]; /* written without atomics: run must publish it */
} tally;

static void count(void *ctx, int task, int worker) {
  tally *t = ctx;
  if (worker < 0 || worker >= t->size || atomic_fetch_add(&t->busy[worker], 1) != 0)
    atomic_fetch_add(&t->n_wrong, 1);
  atomic_fetch_add(&t->done[task], 1);
  t->plain[task]++;
  atomic_fetch_sub(&t->busy[worker], 1);
}

static int check(const tally *t, int n_tasks, int times) {
  int wrong = atomic_load(&t->n_wrong);
  for (int i = 0; i < MOST_TASKS; i++) {
    int expected = i < n_tasks ? times : 0;
    wrong += atomic_load(&t->done[i]) != expected || t->plain[i] != expected;
  }
  return wrong;
}

static void count_task(void *ctx, int task, int worker) {
  (void)task, (void)worker;
  atomic_fetch_add((atomic_int *)ctx, 1);
}

static void every_task_runs_once(void **state) {
  (void)state;
  const int sizes[] = {-1, 1, 2, 3, 8}, tasks[] = {0, 1, 2, 3, 7, 100, MOST_TASKS};
  for (int s = 0; s < 5; s++) {
    ifd_pool *pool = ifd_pool_create(sizes[s]);
    assert_non_null(pool);
    assert_int_equal(ifd_pool_size(pool), sizes[s] < 1 ? 1 : sizes[s]);
    for (int k = 0; k < 7; k++) {
      static tally t;
      t = (tally){.size = ifd_pool_size(pool)};
      for (int times = 1; times <= 20; times++) {
        ifd_pool_run(pool, tasks[k], count, &t);
        assert_int_equal(t.plain[0], tasks[k] ? times : 0);
      }
      assert_int_equal(check(&t, tasks[k], 20), 0);
    }
    ifd_pool_destroy(pool);
  }
  ifd_pool_destroy(NULL);
}

static void note_order(void *ctx, int task, int worker) {
  int *next = ctx;
  assert_int_equal(task, *next);
  assert_int_equal(worker, 0);
  ++*next;
}

static void one_thread_or_none_runs_in_order(void **state) {
  (void)state;
  int before = atomic_load(&n_made), next = 0;
  ifd_pool *pool = ifd_pool_create(1);
  ifd_pool_run(pool, 50, note_order, &next);
  assert_int_equal(next, 50);
  next = 0;
  ifd_pool_run(NULL, 50, note_order, &next);
  assert_int_equal(next, 50);
  assert_int_equal(ifd_pool_size(NULL), 1);
  ifd_pool_destroy(pool);
  pool = ifd_pool_create(4);
  next = 0;
  ifd_pool_run(pool, 1, note_order, &next);
  ifd_pool_destroy(pool);
  assert_int_equal(atomic_load(&n_made), before);
}

/* Asleep between runs, then many runs back to back. */
static void threads_wake_again(void **state) {
  (void)state;
  static tally t;
  t = (tally){.size = 3};
  ifd_pool *pool = ifd_pool_create(3);
  for (int i = 0; i < 20; i++) {
    ifd_pool_run(pool, 40, count, &t);
    usleep(i % 3 * 300);
  }
  for (int i = 0; i < 3000; i++) ifd_pool_run(pool, 40, count, &t);
  assert_int_equal(check(&t, 40, 3020), 0);
  ifd_pool_destroy(pool);
}

/* Two tasks wait for each other: only truly concurrent threads get through. */
static void meet(void *ctx, int task, int worker) {
  (void)task, (void)worker;
  atomic_int *here = ctx;
  atomic_fetch_add(here, 1);
  while (atomic_load(here) < 2) usleep(10);
}

static void tasks_run_at_the_same_time(void **state) {
  (void)state;
  ifd_pool *pool = ifd_pool_create(2);
  for (int i = 0; i < 20; i++) {
    atomic_int here = 0;
    ifd_pool_run(pool, 2, meet, &here);
    assert_int_equal(here, 2);
    usleep(i % 2 * 500);
  }
  ifd_pool_destroy(pool);
}

typedef struct caller {
  ifd_pool *pool;
  tally t;
  pthread_t id;
} caller;

static void *call_often(void *argument) {
  caller *c = argument;
  for (int i = 0; i < 300; i++) ifd_pool_run(c->pool, 60, count, &c->t);
  return NULL;
}

static void callers_share_a_pool(void **state) {
  (void)state;
  static caller callers[4];
  ifd_pool *pool = ifd_pool_create(3);
  for (int i = 0; i < 4; i++) {
    callers[i] = (caller){.pool = pool, .t = {.size = 3}};
    assert_int_equal(pthread_create(&callers[i].id, NULL, call_often, &callers[i]), 0);
  }
  for (int i = 0; i < 4; i++) {
    pthread_join(callers[i].id, NULL);
    assert_int_equal(check(&callers[i].t, 60, 300), 0);
  }
  ifd_pool_destroy(pool);
}

typedef struct nest {
  ifd_pool *pool;
  tally *inner; /* one per outer task */
} nest;

static void run_inner(void *ctx, int task, int worker) {
  (void)worker;
  nest *n = ctx;
  ifd_pool_run(n->pool, 30, count, &n->inner[task]);
}

static void a_task_may_use_the_pool(void **state) {
  (void)state;
  static tally inner[8];
  nest n = {.pool = ifd_pool_create(3), .inner = inner};
  for (int i = 0; i < 8; i++) inner[i].size = 3;
  ifd_pool_run(n.pool, 8, run_inner, &n);
  for (int i = 0; i < 8; i++) assert_int_equal(check(&inner[i], 30, 1), 0);
  ifd_pool_destroy(n.pool);
}

static void fewer_threads_than_asked_do_the_work(void **state) {
  (void)state;
  for (int granted = 0; granted < 3; granted++) {
    static tally t;
    t = (tally){.size = 8};
    ifd_pool *pool = ifd_pool_create(8);
    int before = atomic_load(&n_made);
    atomic_store(&n_grants, granted);
    for (int i = 0; i < 5; i++) ifd_pool_run(pool, 200, count, &t);
    atomic_store(&n_grants, 1000000);
    assert_int_equal(atomic_load(&n_made) - before, granted);
    assert_int_equal(check(&t, 200, 5), 0);
    ifd_pool_destroy(pool);
  }
}

typedef struct surroundings {
  atomic_int here;
  int rounding[2];
  bool blocks[2];
} surroundings;

static void look_around(void *ctx, int task, int worker) {
  (void)worker;
  surroundings *s = ctx;
  atomic_fetch_add(&s->here, 1);
  while (atomic_load(&s->here) < 2) usleep(10);
  sigset_t set;
  pthread_sigmask(SIG_SETMASK, NULL, &set);
  s->rounding[task] = fegetround();
  s->blocks[task] = sigismember(&set, SIGUSR1);
}

static void threads_round_to_nearest_and_take_no_signals(void **state) {
  (void)state;
  surroundings s = {0};
  ifd_pool *pool = ifd_pool_create(2);
  fesetround(FE_UPWARD);
  ifd_pool_run(pool, 2, look_around, &s);
  int mine = fegetround();
  fesetround(FE_TONEAREST);
  assert_int_equal(mine, FE_UPWARD);
  assert_true((s.rounding[0] == FE_TONEAREST) != (s.rounding[1] == FE_TONEAREST));
  assert_true(s.blocks[0] != s.blocks[1]);
  ifd_pool_destroy(pool);
}

/* A forked child has no threads but the caller, which does all the work. */
static void a_forked_child_works_alone(void **state) {
  (void)state;
  static tally t;
  t = (tally){.size = 2};
  ifd_pool *pool = ifd_pool_create(2);
  ifd_pool_run(pool, 10, count, &t);
  usleep(5000);
  pid_t child = fork();
  if (child == 0) {
    alarm(20);
    ifd_pool_run(pool, 10, count, &t);
    ifd_pool_destroy(pool); /* there is no thread to wait for */
    _exit(check(&t, 10, 2) != 0);
  }
  int status = -1;
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  ifd_pool_destroy(pool);
}

/* On one processor a pool of its own count has one thread, and a larger one still ends: who waits, sleeps. */
static void one_processor_is_enough(void **state) {
  (void)state;
  cpu_set_t before, one;
  atomic_int n = 0;
  assert_int_equal(sched_getaffinity(0, sizeof before, &before), 0);
  CPU_ZERO(&one);
  for (int i = 0; i < CPU_SETSIZE && !CPU_COUNT(&one); i++)
    if (CPU_ISSET(i, &before)) CPU_SET(i, &one);
  assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
  assert_int_equal(ifd_cpu_count(), 1);
  ifd_pool *p = ifd_pool_create(4);
  for (int run = 0; run < 300; run++) ifd_pool_run(p, 8, count_task, &n);
  ifd_pool_destroy(p);
  assert_int_equal(n, 300 * 8);
  assert_int_equal(sched_setaffinity(0, sizeof before, &before), 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_task_runs_once),
      cmocka_unit_test(one_thread_or_none_runs_in_order),
      cmocka_unit_test(threads_wake_again),
      cmocka_unit_test(tasks_run_at_the_same_time),
      cmocka_unit_test(callers_share_a_pool),
      cmocka_unit_test(a_task_may_use_the_pool),
      cmocka_unit_test(fewer_threads_than_asked_do_the_work),
      cmocka_unit_test(threads_round_to_nearest_and_take_no_signals),
      cmocka_unit_test(a_forked_child_works_alone),
      cmocka_unit_test(one_processor_is_enough),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
