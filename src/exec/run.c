#include "exec/run_priv.h"

#include "base/denormal.h"
#include "base/os.h"
#include <string.h>

enum { MAX_DEPTH = 64 };

/* ---- launches ---- */

typedef struct task_context {
  const ifd_launch *launch;
  bool flushes;
  const ifd_args *args;
  char *scratch;
  size_t stride;
} task_context;

static void run_task(void *context, int task, int worker) {
  const task_context *c = context;
  ifd_args args = *c->args;
  args.scratch = c->scratch + (size_t)worker * c->stride;
  ifd_denormal_mode mode = c->flushes ? ifd_denormal_flush() : 0;
  c->launch->run(c->launch->params, &args, task);
  if (c->flushes) ifd_denormal_restore(mode);
}

static void run_alone(const ifd_work *work, const ifd_launch *l, ifd_args *args) {
  ifd_denormal_mode mode = work->flushes ? ifd_denormal_flush() : 0;
  for (int t = 0; t < l->n_tasks; t++) l->run(l->params, args, t);
  if (work->flushes) ifd_denormal_restore(mode);
}

static void run_work(const ifd_work *work, ifd_args *args, ifd_pool *pool, char *scratch, size_t stride) {
  for (int i = 0; i < work->n_launches; i++) {
    const ifd_launch *l = &work->launches[i];
    if (l->n_tasks <= 1 || !pool) {
      args->scratch = scratch;
      run_alone(work, l, args);
    } else {
      task_context c = {
          .launch = l, .flushes = work->flushes, .args = args, .scratch = scratch, .stride = stride};
      ifd_pool_run(pool, l->n_tasks, run_task, &c);
    }
  }
}

enum { FEW = 16 };

/* Pointers of a step's tensors, on the stack for ordinary nodes. */
typedef struct operands {
  const void *few_in[FEW];
  void *few_out[FEW];
  const void **in;
  void **out;
} operands;

static ifd_status gather(ifd_error *err, operands *o, ifd_arena *arena, const ifd_frame *f,
                         const ifd_step *step) {
  o->in = o->few_in, o->out = o->few_out;
  if (step->n_in > FEW) ALLOC(err, o->in, ifd_new_array(arena, const void *, step->n_in));
  if (step->n_out > FEW) ALLOC(err, o->out, ifd_new_array(arena, void *, step->n_out));
  for (int i = 0; i < step->n_in; i++) o->in[i] = step->in[i] < 0 ? NULL : f->slots[step->in[i]].tensor.data;
  for (int i = 0; i < step->n_out; i++)
    o->out[i] = step->out[i] < 0 ? NULL : f->slots[step->out[i]].tensor.data;
  return IFD_OK;
}

/* ---- steps ---- */

static const ifd_datum **inputs_of(ifd_arena *arena, ifd_frame *f, const ifd_step *step) {
  const ifd_datum **in = ifd_new_array(arena, const ifd_datum *, step->n_in);
  for (int i = 0; in && i < step->n_in; i++) in[i] = step->in[i] < 0 ? NULL : &f->slots[step->in[i]];
  return in;
}

/* Both are of the type; of nothing at all (a Loop made no trip), the plan may know the sizes alone. */
static bool is_as_planned(const ifd_datum *made, const ifd_tensor *planned) {
  const ifd_tensor *t = &made->tensor;
  return made->kind == IFD_KIND_TENSOR && t->dtype == planned->dtype &&
         (ifd_shape_equal(&t->shape, &planned->shape) ||
          (!ifd_tensor_count(t) && !ifd_tensor_count(planned)));
}

/* An evaluated output moves into its slot; one whose memory was planned elsewhere is copied there. */
static ifd_status settle(ifd_runner *r, const ifd_step *step, int slot, ifd_datum *made, void *planned,
                         size_t planned_bytes) {
  ifd_datum *d = &r->frame->slots[slot];
  if (!planned) {
    *d = *made;
    return IFD_OK;
  }
  EXPECT(r->env.err, is_as_planned(made, &d->tensor), UNSUPPORTED,
         "node '%s' (%s): the result has another type than inference foresaw", step->name, step->op_type);
  if (made->tensor.data != planned && made->tensor.data) {
    size_t bytes = ifd_tensor_bytes(&made->tensor);
    memcpy(planned, made->tensor.data, bytes < planned_bytes ? bytes : planned_bytes);
  }
  ifd_datum_unref(made);
  return IFD_OK;
}

static ifd_status evaluate(ifd_runner *r, const ifd_step *step, ifd_arena *arena) {
  ifd_frame *f = r->frame;
  ifd_error *err = r->env.err;
  const ifd_datum **in;
  ifd_datum *out;
  void **planned;
  size_t *bytes;
  ALLOC(err, in, inputs_of(arena, f, step));
  ALLOC(err, out, ifd_new_array(arena, ifd_datum, step->n_out));
  ALLOC(err, planned, ifd_new_array(arena, void *, step->n_out));
  ALLOC(err, bytes, ifd_new_array(arena, size_t, step->n_out));
  for (int i = 0; i < step->n_out; i++) {
    if (step->out[i] < 0) continue;
    const ifd_slot *slot = &f->plan->slots[step->out[i]];
    if (slot->place == IFD_PLACE_DYNAMIC) continue;
    planned[i] = f->slots[step->out[i]].tensor.data;
    bytes[i] = slot->bytes;
  }
  TRY(ifd_step_evaluate(&r->env, f->program, step, in, out, planned, bytes));
  ifd_status status = IFD_OK;
  for (int i = 0; i < step->n_out; i++) {
    if (step->out[i] < 0 || status != IFD_OK)
      ifd_datum_unref(&out[i]);
    else
      status = settle(r, step, step->out[i], &out[i], planned[i], bytes[i]);
  }
  return status;
}

static ifd_status run_static(ifd_runner *r, const ifd_step *step, ifd_arena *arena) {
  ifd_frame *f = r->frame;
  operands o;
  atomic_int failed = 0;
  TRY(gather(r->env.err, &o, arena, f, step));
  ifd_args args = {.in = o.in, .out = o.out, .shared = f->shared, .failed = &failed};
  run_work(&step->work, &args, r->options->pool, f->scratch, f->plan->scratch);
  /* The kernels met data they must refuse: the reference says what. */
  return atomic_load(&failed) ? evaluate(r, step, arena) : IFD_OK;
}

/* Memory for a work that was prepared in mid-run. */
static ifd_status run_prepared(ifd_runner *r, const ifd_step *step, const ifd_work *work,
                               const ifd_tensor *types, ifd_arena *arena) {
  ifd_frame *f = r->frame;
  ifd_error *err = r->env.err;
  operands o;
  size_t scratch = 0;
  atomic_int failed = 0;
  for (int i = 0; i < work->n_launches; i++)
    if (work->launches[i].scratch > scratch) scratch = work->launches[i].scratch;
  scratch = (scratch + 63) & ~(size_t)63;
  char *memory;
  ALLOC(err, memory, ifd_arena_alloc_data(arena, scratch * (size_t)f->n_workers + work->shared));
  for (int i = 0; i < step->n_out; i++) {
    if (step->out[i] < 0) continue;
    ifd_datum *d = &f->slots[step->out[i]];
    TRY(ifd_tensor_create(err, &d->tensor, f->program->budget, types[i].dtype, &types[i].shape));
    d->kind = IFD_KIND_TENSOR;
  }
  TRY(gather(err, &o, arena, f, step));
  ifd_args args = {
      .in = o.in, .out = o.out, .shared = memory + scratch * (size_t)f->n_workers, .failed = &failed};
  run_work(work, &args, r->options->pool, memory, scratch);
  if (!atomic_load(&failed)) return IFD_OK;
  for (int i = 0; i < step->n_out; i++)
    if (step->out[i] >= 0) ifd_datum_unref(&f->slots[step->out[i]]);
  return evaluate(r, step, arena);
}

static ifd_status run_dynamic(ifd_runner *r, const ifd_step *step, ifd_arena *arena) {
  const ifd_datum **in;
  ifd_tensor *types;
  ifd_work work;
  ALLOC(r->env.err, in, inputs_of(arena, r->frame, step));
  ALLOC(r->env.err, types, ifd_new_array(arena, ifd_tensor, step->n_out));
  TRY(ifd_step_prepare(r->env.err, arena, r->frame->program, step, in, &work, types));
  return work.n_launches ? run_prepared(r, step, &work, types, arena) : evaluate(r, step, arena);
}

static size_t bytes_of(const ifd_frame *f, const ifd_step *step) {
  size_t bytes = 0;
  for (int i = 0; i < step->n_in + step->n_out; i++) {
    int s = i < step->n_in ? step->in[i] : step->out[i - step->n_in];
    if (s >= 0 && f->slots[s].kind == IFD_KIND_TENSOR) bytes += ifd_tensor_bytes(&f->slots[s].tensor);
  }
  return bytes;
}

static ifd_status run_step(ifd_runner *r, const ifd_step *step, ifd_arena *arena) {
  ifd_profile *profile = r->options->profile;
  double start = profile ? ifd_now() : 0;
  bool lowered = step->is_static && step->work.n_launches;
  if (lowered)
    TRY(run_static(r, step, arena));
  else if (step->is_static)
    TRY(evaluate(r, step, arena));
  else
    TRY(run_dynamic(r, step, arena));
  if (profile) {
    ifd_profile_entry e = {.name = step->name,
                           .op_type = step->op_type,
                           .algorithm = lowered ? step->work.algorithm : NULL,
                           .start = start,
                           .seconds = ifd_now() - start,
                           .bytes = bytes_of(r->frame, step)};
    TRY(ifd_step_macs(r->env.err, arena, step, r->frame->slots, &e.macs));
    IFD_PUSH(r->env.err, &profile->arena, &profile->entries, e);
  }
  for (int i = 0; i < step->n_release; i++) ifd_datum_unref(&r->frame->slots[step->release[i]]);
  return IFD_OK;
}

ifd_status ifd_run_steps(ifd_runner *r, int first, int last) {
  ifd_arena arena;
  ifd_status status = IFD_OK;
  const ifd_plan *plan = r->frame->plan;
  ifd_arena_init(&arena, r->env.budget);
  for (int k = first; k < last && status == IFD_OK; k++) {
    status = run_step(r, &plan->steps[k], &arena);
    if (arena.blocks) ifd_arena_free(&arena);
    if (status == IFD_OK && r->options->cancelled && r->options->cancelled(r->options->cancel_context))
      status = ifd_error_set(r->env.err, IFD_LIMIT, "the run was cancelled");
  }
  ifd_arena_free(&arena);
  return status;
}

/* Steps of all samples one after another, regions between them. */
static ifd_status run_plan(ifd_runner *r) {
  const ifd_plan *plan = r->frame->plan;
  int k = 0;
  for (int i = 0; i < plan->n_regions; i++) {
    const ifd_region *region = &plan->regions[i];
    TRY(ifd_run_steps(r, k, region->first));
    TRY(ifd_run_region(r, region));
    k = region->last;
  }
  return ifd_run_steps(r, k, plan->n_steps);
}

/* ---- a run ---- */

static ifd_status run_program(ifd_program *program, ifd_runner *r, const ifd_datum *inputs,
                              const ifd_datum *const *captures, ifd_datum *outputs) {
  ifd_plan *plan;
  ifd_error *err = r->env.err;
  int n_workers = r->options->pool ? ifd_pool_size(r->options->pool) : 1;
  TRY(ifd_plan_get(err, &plan, program, inputs, captures, ifd_frames_free));
  ifd_status status = ifd_frame_take(err, &r->frame, program, plan, n_workers);
  if (status != IFD_OK) {
    ifd_frame_give_back(program, plan, NULL);
    return status;
  }
  memset(outputs, 0, (size_t)program->n_outputs * sizeof *outputs);
  status = ifd_frame_enter(err, r->frame, inputs, captures);
  if (status == IFD_OK) status = run_plan(r);
  if (status == IFD_OK) status = ifd_frame_leave(err, r->frame, outputs);
  if (status != IFD_OK)
    for (int i = 0; i < program->n_outputs; i++) ifd_datum_unref(&outputs[i]);
  ifd_frame_clear(r->frame);
  ifd_frame_give_back(program, plan, r->frame);
  return status;
}

static ifd_program *find_child(ifd_program *program, const struct ifd_graph *graph) {
  for (int i = 0; i < program->children.n; i++)
    if (program->children.v[i]->graph == graph) return program->children.v[i];
  return NULL;
}

static ifd_status run_graph(ifd_env *env, const struct ifd_graph *graph, const ifd_datum *in, int n_in,
                            ifd_datum *out, int n_out) {
  ifd_runner *parent = (ifd_runner *)env;
  ifd_program *child = find_child(parent->frame->program, graph);
  EXPECT(env->err, child, BAD_MODEL, "the node has no such graph");
  EXPECT(env->err, n_in == child->n_inputs && n_out == child->n_outputs, BAD_MODEL,
         "the graph takes %d inputs and gives %d outputs; %d and %d were expected", child->n_inputs,
         child->n_outputs, n_in, n_out);
  EXPECT(env->err, parent->depth < MAX_DEPTH, LIMIT, "graphs are nested more than %d deep", MAX_DEPTH);
  ifd_arena arena;
  ifd_arena_init(&arena, env->budget);
  const ifd_datum **captures = ifd_new_array(&arena, const ifd_datum *, child->captures.n);
  ifd_status status = IFD_NO_MEMORY;
  if (captures) {
    for (int i = 0; i < child->captures.n; i++)
      captures[i] = &parent->frame->slots[child->captures.v[i].outer];
    ifd_runner r = {.env = *env, .options = parent->options, .depth = parent->depth + 1};
    status = run_program(child, &r, in, captures, out);
  } else
    status = ifd_error_set(env->err, IFD_NO_MEMORY, "out of memory");
  ifd_arena_free(&arena);
  return status;
}

ifd_status ifd_run(ifd_error *err, ifd_program *program, const ifd_run_options *options,
                   const ifd_datum *inputs, ifd_datum *outputs) {
  uint64_t random = 0; /* the same numbers in each run */
  int64_t steps_left = options->max_steps ? options->max_steps : IFD_DEFAULT_MAX_STEPS;
  ifd_runner r = {.options = options};
  r.env = (ifd_env){.err = err,
                    .budget = program->budget,
                    .random = &random,
                    .steps_left = &steps_left,
                    .run_graph = run_graph};
  return run_program(program, &r, inputs, NULL, outputs);
}

ifd_status ifd_run_peak(ifd_error *err, size_t *out, ifd_program *program, const ifd_datum *inputs) {
  ifd_plan *plan;
  TRY(ifd_plan_get(err, &plan, program, inputs, NULL, ifd_frames_free));
  *out = plan->all_static ? plan->peak : 0;
  ifd_frame_give_back(program, plan, NULL);
  return IFD_OK;
}

ifd_status ifd_run_prepare(ifd_error *err, ifd_program *program, const ifd_datum *inputs, bool guessed) {
  size_t peak;
  return guessed ? ifd_plan_guess(err, program, inputs) : ifd_run_peak(err, &peak, program, inputs);
}
