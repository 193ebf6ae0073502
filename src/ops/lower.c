#include "ops/op.h"

#include <math.h>

ifd_status ifd_lower_launch(ifd_lower *x, ifd_kernel run, const void *params, size_t params_size,
                            int64_t n_tasks, size_t scratch) {
  void *copy;
  if (n_tasks <= 0) return IFD_OK;
  EXPECT(x->err, x->work->n_launches < IFD_MAX_LAUNCHES && n_tasks <= INT32_MAX, LIMIT,
         "the work has too many parts");
  ALLOC(x->err, copy, ifd_arena_memdup(x->arena, params, params_size));
  x->work->launches[x->work->n_launches++] =
      (ifd_launch){.run = run, .params = copy, .n_tasks = (int)n_tasks, .scratch = scratch};
  return IFD_OK;
}

/* A task of some 7 µs is worth handing to another thread, and 32 tasks are enough to balance; all are about
 * equally large. */
int64_t ifd_lower_grain(int64_t n, double item_ops) {
  enum { TASK_OPS = 1 << 16, TASKS = 32 };
  double tasks = (double)n * (item_ops < 1 ? 1 : item_ops) / TASK_OPS;
  return ifd_max_i64(1, ifd_ceil_div(n, (int64_t)ceil(fmin(fmax(tasks, 1), TASKS))));
}
