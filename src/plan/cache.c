#include "plan/maker.h"
#include <string.h>

enum { KEPT_PLANS = 8 };

static int64_t *key_add(int64_t *key, const ifd_datum *d) {
  *key++ = (int64_t)d->kind << 16 | d->tensor.dtype << 8 |
           (d->kind == IFD_KIND_TENSOR ? d->tensor.shape.rank : (int)d->elem);
  for (int i = 0; d->kind == IFD_KIND_TENSOR && i < d->tensor.shape.rank; i++)
    *key++ = d->tensor.shape.dim[i];
  return key;
}

static ifd_plan *find_plan(ifd_program *program, const int64_t *key, int n_key, uint64_t hash) {
  for (ifd_plan **link = &program->plans; *link; link = &(*link)->next) {
    ifd_plan *plan = *link;
    if (plan->key_hash != hash || plan->n_key != n_key || memcmp(plan->key, key, (size_t)n_key * sizeof *key))
      continue;
    *link = plan->next; /* to the front */
    plan->next = program->plans;
    return program->plans = plan;
  }
  return NULL;
}

static void forget_oldest(ifd_program *program, void (*free_frames)(ifd_plan *plan)) {
  ifd_plan **link = &program->plans;
  for (int kept = 0; *link; link = &(*link)->next)
    if (++kept > KEPT_PLANS && !(*link)->users) {
      ifd_plan *old = *link;
      *link = old->next;
      free_frames(old);
      ifd_arena_free(&old->arena);
      return;
    }
}

static ifd_status get_plan(ifd_error *err, ifd_plan **out, ifd_program *program, const ifd_datum *inputs,
                           const ifd_datum *const *captures, void (*free_frames)(ifd_plan *plan),
                           ifd_arena *scratch) {
  int64_t *key, *end;
  ALLOC(err, key,
        ifd_new_array(scratch, int64_t, (program->n_inputs + program->captures.n) * (IFD_MAX_RANK + 1)));
  end = key;
  for (int i = 0; i < program->n_inputs; i++) end = key_add(end, &inputs[i]);
  for (int i = 0; i < program->captures.n; i++) end = key_add(end, captures[i]);
  int n_key = (int)(end - key);
  uint64_t hash = ifd_hash_bytes(key, (size_t)n_key * sizeof *key);
  if (!(*out = find_plan(program, key, n_key, hash))) {
    TRY(ifd_plan_make(err, out, program, inputs, captures));
    ifd_plan *plan = *out;
    plan->key_hash = hash;
    plan->n_key = n_key;
    plan->key = ifd_arena_memdup(&plan->arena, key, (size_t)n_key * sizeof *key);
    if (!plan->key) {
      ifd_arena_free(&plan->arena);
      FAIL(err, NO_MEMORY, "out of memory");
    }
    plan->next = program->plans;
    program->plans = plan;
    forget_oldest(program, free_frames);
  }
  (*out)->users++;
  return IFD_OK;
}

ifd_status ifd_plan_get(ifd_error *err, ifd_plan **out, ifd_program *program, const ifd_datum *inputs,
                        const ifd_datum *const *captures, void (*free_frames)(ifd_plan *plan)) {
  ifd_arena scratch;
  char first[2048];
  ifd_arena_init(&scratch, NULL);
  scratch.at = first, scratch.end = first + sizeof first;
  pthread_mutex_lock(&program->lock);
  ifd_status status = get_plan(err, out, program, inputs, captures, free_frames, &scratch);
  pthread_mutex_unlock(&program->lock);
  ifd_arena_free(&scratch);
  return status;
}
