#include "plan/program_priv.h"

#include "ops/shared/signature.h"

static ifd_status pack_constant(ifd_lower *x, const void **out, const ifd_tensor *from,
                                const ifd_packing *packing) {
  return ifd_program_pack(x->err, out, x->session, from, packing);
}

static ifd_status make_once(ifd_lower *x, const void **out, ifd_make *make) {
  return ifd_program_make_once(x->err, out, x->session, x->node, make);
}

static bool makes_nothing(const ifd_node *node, const ifd_tensor *const *out) {
  for (int i = 0; i < node->n_outputs; i++)
    if (out[i] && ifd_tensor_count(out[i])) return false;
  return true;
}

ifd_status ifd_plan_lower(ifd_error *err, ifd_arena *arena, ifd_program *program, const ifd_node *node,
                          const ifd_tensor *const *in, const bool *constant, const ifd_tensor *const *out,
                          ifd_work *work) {
  *work = (ifd_work){0};
  if (program->options.reference || program->options.float64 || !node->op || !node->op->lower) return IFD_OK;
  ifd_lower x = {.err = err,
                 .node = node,
                 .arena = arena,
                 .isa = program->options.isa,
                 .exact_conv = program->options.exact_conv,
                 .threads = ifd_pool_size(program->options.pool),
                 .in = in,
                 .out = out,
                 .constant = constant,
                 .work = work,
                 .packed = pack_constant,
                 .once = make_once,
                 .session = program};
  ifd_status status = ifd_signature_check_tensors(err, node, in);
  if (status == IFD_OK) status = node->op->lower(&x);
  /* Trained weights have many: decay takes those of a channel that nobody needs there. */
  work->flushes = node->op->cost != NULL;
  /* Of a batch of none, operators that cannot be evaluated have nothing to do: no task of one launch. */
  if (!work->n_launches && !node->op->eval && makes_nothing(node, out)) work->n_launches = 1;
  if (status != IFD_OK) ifd_error_add(err, "node '%s' (%s)", node->name, node->op_type);
  return status;
}

/* ---- steps whose shapes depend on data ---- */

static ifd_status facts_of(ifd_error *err, ifd_arena *arena, const ifd_datum *d, ifd_facts *f) {
  ALLOC(err, f->type, ifd_type_of_tensor(arena, &d->tensor));
  f->constant = &d->tensor;
  return ifd_elements_of(err, arena, &f->elements, &d->tensor);
}

static bool numbers(const ifd_type *t, ifd_tensor *out) {
  if (t->kind != IFD_KIND_TENSOR || !t->dtype || !t->has_rank || t->rank > IFD_MAX_RANK) return false;
  *out = (ifd_tensor){.dtype = t->dtype, .shape.rank = t->rank};
  for (int i = 0; i < t->rank; i++) {
    if (!ifd_dim_is_number(t->dims[i])) return false;
    out->shape.dim[i] = t->dims[i];
  }
  return true;
}

ifd_status ifd_step_prepare(ifd_error *err, ifd_arena *arena, ifd_program *program, const ifd_step *step,
                            const ifd_datum *const *in, ifd_work *work, ifd_tensor *out) {
  const ifd_node *node = step->node;
  *work = (ifd_work){0};
  if (program->options.reference || program->options.float64 || !node->op->lower) return IFD_OK;
  const ifd_facts **fact_in;
  ifd_facts *facts, *fact_out;
  const ifd_tensor **tensors, **out_tensors;
  bool *constant;
  ifd_dims *dims;
  ALLOC(err, fact_in, ifd_new_array(arena, const ifd_facts *, step->n_in));
  ALLOC(err, facts, ifd_new_array(arena, ifd_facts, step->n_in));
  ALLOC(err, fact_out, ifd_new_array(arena, ifd_facts, step->n_out));
  ALLOC(err, tensors, ifd_new_array(arena, const ifd_tensor *, step->n_in));
  ALLOC(err, out_tensors, ifd_new_array(arena, const ifd_tensor *, step->n_out));
  ALLOC(err, constant, ifd_new_array(arena, bool, step->n_in));
  ALLOC(err, dims, ifd_dims_new(arena));
  for (int i = 0; i < step->n_in; i++) {
    if (!in[i]) continue;
    if (in[i]->kind != IFD_KIND_TENSOR) return IFD_OK;
    TRY(facts_of(err, arena, in[i], &facts[i]));
    fact_in[i] = &facts[i];
    tensors[i] = &in[i]->tensor;
    constant[i] = program->constants[step->in[i]].kind != IFD_KIND_UNKNOWN;
  }
  ifd_infer x = {.err = err, .node = node, .arena = arena, .dims = dims};
  TRY(ifd_infer_facts(&x, fact_in, fact_out));
  for (int i = 0; i < step->n_out; i++) {
    if (step->out[i] < 0) continue;
    if (!numbers(fact_out[i].type, &out[i]) || out[i].dtype == IFD_STRING) return IFD_OK;
    TRY(ifd_shape_check(err, &out[i].shape, ifd_dtype_size(out[i].dtype)));
    out_tensors[i] = &out[i];
  }
  TRY(ifd_plan_lower(err, arena, program, node, tensors, constant, out_tensors, work));
  return ifd_program_pack_due(err, program);
}

/* ---- what a step cost ---- */

static ifd_status shapes_of(ifd_error *err, ifd_arena *arena, const int *slots, int n,
                            const ifd_datum *values, ifd_shape **out) {
  ALLOC(err, *out, ifd_new_array(arena, ifd_shape, n));
  for (int i = 0; i < n; i++)
    if (slots[i] >= 0 && values[slots[i]].kind == IFD_KIND_TENSOR) (*out)[i] = values[slots[i]].tensor.shape;
  return IFD_OK;
}

ifd_status ifd_step_macs(ifd_error *err, ifd_arena *arena, const ifd_step *step, const ifd_datum *slots,
                         double *macs) {
  const ifd_op *op = step->node->op;
  ifd_shape *in, *out;
  *macs = 0;
  if (!op || !op->cost) return IFD_OK;
  TRY(shapes_of(err, arena, step->in, step->n_in, slots, &in));
  TRY(shapes_of(err, arena, step->out, step->n_out, slots, &out));
  *macs = op->cost(step->node, in, out);
  return IFD_OK;
}

/* ---- evaluation ---- */

static ifd_status run_graph(ifd_eval *x, const ifd_graph *graph, const ifd_datum *in, int n_in,
                            ifd_datum *out, int n_out) {
  ifd_env *env = x->runner;
  return env->run_graph(env, graph, in, n_in, out, n_out);
}

ifd_status ifd_step_evaluate(ifd_env *env, const ifd_program *program, const ifd_step *step,
                             const ifd_datum *const *in, ifd_datum *out, void *const *planned,
                             const size_t *planned_bytes) {
  ifd_arena scratch;
  ifd_arena_init(&scratch, env->budget);
  ifd_eval x = {.err = env->err,
                .node = step->node,
                .n_in = step->n_in,
                .n_out = step->n_out,
                .in = in,
                .out = out,
                .scratch = &scratch,
                .budget = env->budget,
                .float64 = program->options.float64,
                .isa = program->options.reference || program->options.float64 ? IFD_ISA_REF
                                                                              : program->options.isa,
                .random = env->random,
                .steps_left = env->steps_left,
                .planned = planned,
                .planned_bytes = planned_bytes,
                .run_graph = run_graph,
                .runner = env};
  ifd_status status = ifd_eval_node(&x);
  ifd_arena_free(&scratch);
  return status;
}
