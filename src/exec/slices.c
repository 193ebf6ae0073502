#include "exec/run_priv.h"

/* ---- lanes ---- */

static int most_slices(const ifd_plan *plan) {
  int most = 0;
  for (int i = 0; i < plan->n_regions; i++)
    if (plan->regions[i].n_slices > most) most = plan->regions[i].n_slices;
  return most;
}

ifd_status ifd_lanes_create(ifd_error *err, ifd_frame *f) {
  ifd_budget *budget = f->program->budget;
  int most = most_slices(f->plan), n = most < f->n_workers ? most : f->n_workers;
  ALLOC(err, f->lanes, ifd_new_array(&f->arena, ifd_frame, n));
  for (int i = 0; i < n; i++) {
    ifd_frame *lane = &f->lanes[f->n_lanes++];
    *lane = (ifd_frame){.program = f->program,
                        .plan = f->plan,
                        .own = IFD_PLACE_PART,
                        .scratch = f->scratch + (size_t)i * f->plan->scratch,
                        .n_workers = f->n_workers,
                        .slab_bytes = f->plan->lane,
                        .shared_bytes = f->plan->shared};
    ALLOC(err, lane->slots, ifd_new_array(&f->arena, ifd_datum, f->program->n_slots));
    ALLOC(err, lane->slab, ifd_budget_alloc(budget, lane->slab_bytes));
    ALLOC(err, lane->shared, ifd_budget_alloc(budget, lane->shared_bytes));
    ifd_frame_fill(lane);
  }
  return IFD_OK;
}

void ifd_lanes_destroy(ifd_frame *f) {
  for (int i = 0; i < f->n_lanes; i++) {
    ifd_budget_free(f->program->budget, f->lanes[i].slab, f->lanes[i].slab_bytes);
    ifd_budget_free(f->program->budget, f->lanes[i].shared, f->lanes[i].shared_bytes);
  }
}

/* ---- slices ---- */

/* Values of the whole batch as a slice sees them. */
static void cross_borders(ifd_frame *lane, const ifd_frame *f, const ifd_region *region, int slice) {
  int64_t sample = slice * region->rows, last = region->batch - region->rows;
  if (sample > last) sample = last;
  for (int i = 0; i < region->n_borders; i++) {
    const ifd_border *b = &region->borders[i];
    ifd_datum *d = &lane->slots[b->slot];
    *d = f->slots[b->slot];
    d->tensor.data = (char *)f->slots[b->root].tensor.data + b->offset + (size_t)sample * b->stride;
    if (b->dim0) d->tensor.shape.dim[0] = b->dim0;
  }
}

/* Slices under way at once. */
typedef struct slices {
  const ifd_runner *r;
  const ifd_region *region;
  ifd_runner *lanes; /* by worker */
  ifd_run_options *options;
  ifd_error *errors;
  ifd_status *statuses;
  atomic_int failed;
} slices;

static void run_slice(void *context, int slice, int worker) {
  slices *s = context;
  ifd_runner *lane = &s->lanes[worker];
  if (atomic_load(&s->failed)) return;
  cross_borders(lane->frame, s->r->frame, s->region, slice);
  s->statuses[worker] = ifd_run_steps(lane, s->region->first, s->region->last);
  if (s->statuses[worker] != IFD_OK) atomic_store(&s->failed, 1);
}

/* A lane runs alone, and the caller's asks whether to go on. */
static ifd_status open_lanes(slices *s, ifd_arena *arena, int n) {
  ifd_error *err = s->r->env.err;
  ALLOC(err, s->lanes, ifd_new_array(arena, ifd_runner, n));
  ALLOC(err, s->options, ifd_new_array(arena, ifd_run_options, n));
  ALLOC(err, s->errors, ifd_new_array(arena, ifd_error, n));
  ALLOC(err, s->statuses, ifd_new_array(arena, ifd_status, n));
  for (int i = 0; i < n; i++) {
    s->options[i] = *s->r->options;
    s->options[i].pool = NULL;
    if (i) s->options[i].cancelled = NULL;
    s->lanes[i] = *s->r;
    s->lanes[i].env.err = &s->errors[i];
    s->lanes[i].options = &s->options[i];
    s->lanes[i].frame = &s->r->frame->lanes[i];
  }
  return IFD_OK;
}

static ifd_status run_together(const ifd_runner *r, const ifd_region *region, int n, ifd_arena *arena) {
  slices s = {.r = r, .region = region};
  int n_lanes = r->frame->n_lanes;
  TRY(open_lanes(&s, arena, n_lanes));
  ifd_pool_run(r->options->pool, n, run_slice, &s);
  for (int i = 0; i < n_lanes; i++)
    if (s.statuses[i] != IFD_OK) {
      *r->env.err = s.errors[i];
      return s.statuses[i];
    }
  return IFD_OK;
}

static ifd_status run_apart(const ifd_runner *r, const ifd_region *region, int first) {
  ifd_runner lane = *r;
  lane.frame = &r->frame->lanes[0];
  for (int i = first; i < region->n_slices; i++) {
    cross_borders(lane.frame, r->frame, region, i);
    TRY(ifd_run_steps(&lane, region->first, region->last));
  }
  return IFD_OK;
}

ifd_status ifd_run_region(ifd_runner *r, const ifd_region *region) {
  int n_workers = r->options->pool ? ifd_pool_size(r->options->pool) : 1;
  /* A last slice that computes rows again waits for the one before: of a step that works on its result in
   * place, each would find what the other has made of them. */
  int apart = region->n_slices - (region->batch % region->rows != 0);
  int together = n_workers > 1 && !r->options->profile ? apart / n_workers * n_workers : 0;
  if (together) {
    ifd_arena arena;
    ifd_arena_init(&arena, r->env.budget);
    ifd_status status = run_together(r, region, together, &arena);
    ifd_arena_free(&arena);
    if (status != IFD_OK) return status;
  }
  return run_apart(r, region, together);
}
