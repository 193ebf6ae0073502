/* Threads that sessions share. */
#include "api/api.h"

#include "base/cpu.h"
#include <stdlib.h>

static ifd_status create(ifd_error *err, infold_pool **out, int threads) {
  enum { MOST = 4096 };
  infold_pool *pool;
  EXPECT(err, threads >= 0 && threads <= MOST, USAGE, "threads are 0 to %d, not %d", MOST, threads);
  if (!threads) threads = ifd_cpu_count();
  ALLOC(err, pool, calloc(1, sizeof *pool));
  pool->refs = 1;
  if (threads > 1 && !(pool->threads = ifd_pool_create(threads))) {
    free(pool);
    FAIL(err, NO_MEMORY, "out of memory for %d threads", threads);
  }
  *out = pool;
  return IFD_OK;
}

infold_status infold_create_pool(infold_error *to, infold_pool **out, int threads) {
  ifd_error err = {0};
  *out = NULL;
  return ifd_api_report(to, &err, NULL, create(&err, out, threads));
}

void infold_destroy_pool(infold_pool *pool) {
  if (!pool || atomic_fetch_sub(&pool->refs, 1) != 1) return;
  ifd_pool_destroy(pool->threads);
  free(pool);
}

ifd_status ifd_api_get_pool(ifd_error *err, infold_pool **out, infold_pool *given, int threads) {
  if (!given) return create(err, out, threads);
  atomic_fetch_add(&given->refs, 1);
  *out = given;
  return IFD_OK;
}
