#include "api/machine.h"

#include "base/budget.h"
#include "base/os.h"
#include "kernels/kernels.h"
#include "kernels/peak/peak.h"
#include <stdatomic.h>
#include <string.h>

enum { TRIES = 32, ROUNDS = 4000, PIECES = 64, PIECE = 1 << 18 /* floats */ };
#define TRY_SECONDS 5e-4

typedef struct trial {
  const struct ifd_k_peak_table *kernels;
  double end;
  atomic_llong rounds;
  atomic_int sums; /* so that they are computed */
  float *memory;
} trial;

static void keep(trial *t, float sum) { atomic_fetch_add(&t->sums, sum > 0); }

static void multiply(void *context, int task, int worker) {
  trial *t = context;
  (void)task, (void)worker;
  do {
    keep(t, t->kernels->multiply(0.5F, 1, ROUNDS));
    atomic_fetch_add(&t->rounds, ROUNDS);
  } while (ifd_now() < t->end);
}

static void write_piece(void *context, int task, int worker) {
  trial *t = context;
  (void)worker;
  memset(t->memory + (size_t)task * PIECE, 1, sizeof(float) * PIECE);
}

static void read_piece(void *context, int task, int worker) {
  trial *t = context;
  (void)worker;
  keep(t, t->kernels->read(t->memory + (size_t)task * PIECE, PIECE));
}

static double try_macs(ifd_pool *pool, trial *t) {
  double start = ifd_now();
  t->end = start + TRY_SECONDS;
  atomic_store(&t->rounds, 0);
  ifd_pool_run(pool, ifd_pool_size(pool), multiply, t);
  return (double)atomic_load(&t->rounds) * 16 * (double)t->kernels->chains / (ifd_now() - start);
}

static double try_bytes(ifd_pool *pool, trial *t) {
  double start = ifd_now();
  ifd_pool_run(pool, PIECES, read_piece, t);
  return sizeof(float) * (double)PIECE * PIECES / (ifd_now() - start);
}

static double best_of(int n, double (*trial_of)(ifd_pool *pool, trial *t), ifd_pool *pool, trial *t) {
  double best = 0;
  for (int i = 0; i < n; i++) {
    double rate = trial_of(pool, t);
    if (rate > best) best = rate;
  }
  return best;
}

ifd_machine ifd_machine_measure(ifd_pool *pool, ifd_isa isa) {
  trial t = {.kernels = ifd_k_peak(isa)};
  const size_t bytes = sizeof(float) * (size_t)PIECE * PIECES;
  ifd_machine m = {.macs = best_of(TRIES, try_macs, pool, &t)};
  t.memory = ifd_budget_alloc(NULL, bytes);
  if (!t.memory) return m;
  ifd_pool_run(pool, PIECES, write_piece, &t);
  m.bytes = best_of(TRIES / 8, try_bytes, pool, &t);
  ifd_budget_free(NULL, t.memory, bytes);
  return m;
}
