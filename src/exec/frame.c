#include "exec/run_priv.h"

/* ---- making and keeping ---- */

static void destroy_frame(ifd_frame *f) {
  ifd_budget *budget = f->program->budget;
  ifd_lanes_destroy(f);
  ifd_budget_free(budget, f->slab, f->slab_bytes);
  ifd_budget_free(budget, f->scratch, f->scratch_bytes);
  ifd_budget_free(budget, f->shared, f->shared_bytes);
  ifd_arena_free(&f->arena);
}

void ifd_frames_free(ifd_plan *plan) {
  for (ifd_frame *f = plan->frames, *next; f; f = next) {
    next = f->next;
    destroy_frame(f);
  }
  plan->frames = NULL;
}

void ifd_run_free_frames(ifd_program *program) {
  for (ifd_plan *plan = program->plans; plan; plan = plan->next) ifd_frames_free(plan);
  for (int i = 0; i < program->children.n; i++) ifd_run_free_frames(program->children.v[i]);
}

void ifd_frame_fill(ifd_frame *f) {
  const ifd_plan *plan = f->plan;
  for (int s = 0; s < f->program->n_slots; s++) {
    const ifd_slot *slot = &plan->slots[s],
                   *root = slot->place == IFD_PLACE_ALIAS ? &plan->slots[slot->alias] : slot;
    size_t within = slot != root ? slot->offset : 0;
    ifd_datum *d = &f->slots[s];
    if (slot->tensor.dtype && root->place != IFD_PLACE_DYNAMIC) {
      d->kind = IFD_KIND_TENSOR;
      d->tensor = slot->tensor;
    }
    if (root->place == f->own)
      d->tensor.data = f->slab + root->offset + within;
    else if (root->place == IFD_PLACE_CONSTANT)
      d->tensor.data = (char *)root->tensor.data + within;
    else if (slot != root && f->patched && root->place != IFD_PLACE_PART)
      f->patched[f->n_patched++] = s;
  }
}

static ifd_status create_frame(ifd_error *err, ifd_frame **out, ifd_program *program, ifd_plan *plan,
                               int n_workers) {
  ifd_arena arena;
  ifd_frame *f;
  ifd_arena_init(&arena, program->budget);
  ALLOC(err, f, ifd_new(&arena, ifd_frame));
  *f = (ifd_frame){.arena = arena,
                   .program = program,
                   .plan = plan,
                   .own = IFD_PLACE_SLAB,
                   .n_workers = n_workers,
                   .slab_bytes = plan->slab,
                   .shared_bytes = plan->shared,
                   .scratch_bytes = plan->scratch * (size_t)n_workers};
  f->slots = ifd_new_array(&f->arena, ifd_datum, program->n_slots);
  f->patched = ifd_new_array(&f->arena, int, program->n_slots);
  f->slab = ifd_budget_alloc(program->budget, f->slab_bytes);
  f->scratch = ifd_budget_alloc(program->budget, f->scratch_bytes);
  f->shared = ifd_budget_alloc(program->budget, f->shared_bytes);
  if (!f->slots || !f->patched || !f->slab || !f->scratch || !f->shared) {
    destroy_frame(f);
    FAIL(err, NO_MEMORY, "out of memory: a run of this shape takes %zu bytes", plan->peak);
  }
  ifd_frame_fill(f);
  ifd_status status = ifd_lanes_create(err, f);
  if (status != IFD_OK)
    destroy_frame(f);
  else
    *out = f;
  return status;
}

ifd_status ifd_frame_take(ifd_error *err, ifd_frame **out, ifd_program *program, ifd_plan *plan,
                          int n_workers) {
  pthread_mutex_lock(&program->lock);
  ifd_frame *f = plan->frames;
  if (f) plan->frames = f->next;
  pthread_mutex_unlock(&program->lock);
  if (f && f->n_workers >= n_workers) {
    *out = f;
    return IFD_OK;
  }
  if (f) destroy_frame(f);
  return create_frame(err, out, program, plan, n_workers);
}

void ifd_frame_give_back(ifd_program *program, ifd_plan *plan, ifd_frame *f) {
  pthread_mutex_lock(&program->lock);
  if (f) {
    f->next = plan->frames;
    plan->frames = f;
  }
  plan->users--;
  pthread_mutex_unlock(&program->lock);
}

/* ---- a run of it ---- */

ifd_status ifd_frame_enter(ifd_error *err, ifd_frame *f, const ifd_datum *inputs,
                           const ifd_datum *const *captures) {
  const ifd_program *p = f->program;
  for (int i = 0; i < p->n_inputs; i++)
    if (p->constants[p->inputs[i]].kind == IFD_KIND_UNKNOWN) f->slots[p->inputs[i]] = inputs[i];
  for (int i = 0; i < p->captures.n; i++) f->slots[p->captures.v[i].slot] = *captures[i];
  for (int i = 0; i < p->n_outputs; i++) {
    int s = p->outputs[i];
    const ifd_slot *slot = &f->plan->slots[s];
    if (slot->place != IFD_PLACE_OUTPUT || f->slots[s].tensor.buf) continue;
    TRY(ifd_tensor_create(err, &f->slots[s].tensor, p->budget, slot->tensor.dtype, &slot->tensor.shape));
  }
  for (int i = 0; i < f->n_patched; i++) {
    int s = f->patched[i];
    const ifd_slot *slot = &f->plan->slots[s];
    f->slots[s].tensor.data = (char *)f->slots[slot->alias].tensor.data + slot->offset;
  }
  return IFD_OK;
}

ifd_status ifd_frame_leave(ifd_error *err, ifd_frame *f, ifd_datum *outputs) {
  const ifd_program *p = f->program;
  for (int i = 0; i < p->n_outputs; i++)
    TRY(ifd_datum_own(err, &outputs[i], &f->slots[p->outputs[i]], p->budget));
  return IFD_OK;
}

void ifd_frame_clear(ifd_frame *f) {
  const ifd_program *p = f->program;
  for (int s = 0; s < p->n_slots; s++) {
    ifd_place place = f->plan->slots[s].place;
    if (place == IFD_PLACE_DYNAMIC)
      ifd_datum_unref(&f->slots[s]);
    else if (place == IFD_PLACE_OUTPUT) {
      ifd_buf_unref(f->slots[s].tensor.buf);
      f->slots[s].tensor.buf = NULL;
      f->slots[s].tensor.data = NULL;
    } else if (place == IFD_PLACE_INPUT)
      f->slots[s] = (ifd_datum){0};
  }
}
