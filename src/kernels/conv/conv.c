#include "kernels/conv/conv.h"
#include "kernels/conv/task.h"

/* Where share `share` of n_shares of n begins, which are whole units. */
static int64_t first_of(int64_t share, int64_t n_shares, int64_t n, int64_t unit) {
  return ifd_min_i64(n, ifd_ceil_div(n, unit) * share / n_shares * unit);
}

/* Rows and blocks, then parts and samples. */
static ifd_conv_task task_at(const ifd_k_conv_plan *p, const ifd_k_conv_args *args, int64_t task) {
  const ifd_k_conv_shape *s = &p->shape;
  ifd_conv_task t = {.plan = p,
                     .packed = args->packed,
                     .prologue = args->prologue,
                     .expansion = args->expansion,
                     .shared = args->shared,
                     .x_plane = ifd_conv_volume(s->in),
                     .y_plane = ifd_conv_volume(s->out)};
  int64_t c = s->before ? s->before : s->c;
  t.x_sample = args->x_sample ? args->x_sample : ifd_conv_sample(c, s->in, ifd_k_conv_reads_plain(p->algo));
  t.y_sample =
      args->y_sample ? args->y_sample : ifd_conv_sample(s->m, s->out, ifd_k_conv_writes_plain(p->algo));
  t.epilogue = args->epilogue ? *args->epilogue : IFD_K_EPILOGUE_NONE;
  t.other_sample = t.epilogue.other_rs ? t.epilogue.other_rs : t.y_sample;
  int64_t n = p->row_tasks * p->block_tasks, at = task % n;
  int64_t row = p->rows_first ? at / p->block_tasks : at % p->row_tasks;
  int64_t block = p->rows_first ? at % p->block_tasks : at / p->row_tasks;
  task /= n;
  t.part = task % p->n_parts;
  t.sample = task / p->n_parts;
  t.r0 = first_of(row, p->row_tasks, p->n_rows, 1), t.r1 = first_of(row + 1, p->row_tasks, p->n_rows, 1);
  t.b0 = first_of(block, p->block_tasks, p->n_blocks, p->block_unit);
  t.b1 = first_of(block + 1, p->block_tasks, p->n_blocks, p->block_unit);
  t.x = args->x + t.sample * t.x_sample;
  t.y = args->y + t.sample * t.y_sample;
  if (t.epilogue.join) t.epilogue.other += t.sample * t.other_sample;
  return t;
}

/* A task of one of several parts as one of that alone, by a plan of it; false: it has no such blocks. */
static bool leave_part(ifd_conv_task *t, ifd_k_conv_plan *plan) {
  const ifd_k_conv_shape first = ifd_conv_part(&t->plan->shape, 0);
  *plan = *t->plan;
  plan->shape = ifd_conv_part(&t->plan->shape, t->part);
  int64_t y = t->part * first.m * t->y_plane;
  t->x += t->part * first.c * t->x_plane;
  t->y += y;
  t->packed += (int64_t)(plan->packed_len / sizeof(float)) / plan->n_parts * t->part;
  if (t->epilogue.join) t->epilogue.other += y;
  if (t->epilogue.bias) t->epilogue.bias += t->part * first.m;
  t->plan = plan;
  t->b1 = ifd_min_i64(t->b1, ifd_ceil_div(plan->shape.m, 16));
  return t->b0 < t->b1;
}
static void run_winograd(const ifd_conv_task *task, void *scratch) {
  ifd_conv_task t = *task;
  ifd_k_conv_plan plan;
  if (t.plan->n_parts > 1 && !leave_part(&t, &plan)) return;
  (t.plan->algo == IFD_K_CONV_WINOGRAD_LINE ? IFD_K(ifd_conv_winograd_line)
                                            : IFD_K(ifd_conv_winograd))(&t, scratch);
}

static void run(const ifd_k_conv_plan *p, const ifd_k_conv_args *args, int64_t task, void *scratch) {
  static void (*const algorithms[IFD_K_N_CONV_ALGOS])(const ifd_conv_task *, void *) = {
      [IFD_K_CONV_DIRECT] = IFD_K(ifd_conv_direct),
      [IFD_K_CONV_WINOGRAD] = run_winograd,
      [IFD_K_CONV_WINOGRAD_2] = run_winograd,
      [IFD_K_CONV_WINOGRAD_HALF] = run_winograd,
      [IFD_K_CONV_WINOGRAD_2_HALF] = run_winograd,
      [IFD_K_CONV_WINOGRAD_LINE] = run_winograd,
      [IFD_K_CONV_DEPTHWISE] = IFD_K(ifd_conv_depthwise),
      [IFD_K_CONV_EXPANDED] = IFD_K(ifd_conv_expanded),
      [IFD_K_CONV_GROUPED] = IFD_K(ifd_conv_grouped),
      [IFD_K_CONV_PHASES] = IFD_K(ifd_conv_direct),
      [IFD_K_CONV_PHASES_OUT] = IFD_K(ifd_conv_direct),
      [IFD_K_CONV_FIRST] = IFD_K(ifd_conv_first),
      [IFD_K_CONV_FRAMES] = IFD_K(ifd_conv_frames),
      [IFD_K_CONV_PLANAR] = IFD_K(ifd_conv_planar)};
  ifd_conv_task t = task_at(p, args, task);
  algorithms[p->algo](&t, scratch);
}

/* Only Winograd's algorithm has any. */
static void before(const ifd_k_conv_plan *p, const ifd_k_conv_args *args, int64_t task) {
  ifd_conv_task t = task_at(p, args, 0);
  IFD_K(ifd_conv_winograd_inputs)(&t, task, p->n_before);
}

const struct ifd_k_conv_table IFD_K(ifd_k_conv) = {.pack = IFD_K(ifd_conv_pack),
                                                   .before = before,
                                                   .run = run,
                                                   .planar_to_blocked = IFD_K(ifd_conv_planar_to_blocked),
                                                   .blocked_to_planar = IFD_K(ifd_conv_blocked_to_planar),
                                                   .pixels_to_blocked = IFD_K(ifd_conv_pixels_to_blocked),
                                                   .blocked_to_pixels = IFD_K(ifd_conv_blocked_to_pixels),
                                                   .pick = IFD_K(ifd_conv_pick)};
