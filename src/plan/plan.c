#include "plan/maker.h"

/* ---- steps ---- */

/* Whether every output is bytes side by side of an input: such a step is not run either. */
static bool settle_pieces(ifd_maker *m, const ifd_draft *d, const ifd_work *work) {
  const ifd_program_node *n = d->n;
  int n_outputs = 0;
  for (int i = 0; i < n->node->n_outputs; i++) n_outputs += n->out[i] >= 0;
  if (!work->only_spans || work->n_spans != n_outputs) return false;
  for (int i = 0; i < work->n_spans; i++) {
    const ifd_span *span = &work->spans[i];
    int out = n->out[span->out];
    const ifd_slot *root = &m->slots[ifd_slot_root(m, n->in[span->in])];
    if (m->slicing.region_of[out] != d->region || m->is_output[out] || !ifd_slot_is_memory(root) ||
        root->tensor.splat || root->tensor.packed || span->bytes != m->slots[out].bytes ||
        m->slots[out].place == IFD_PLACE_CONSTANT)
      return false;
  }
  for (int i = 0; i < work->n_spans; i++)
    ifd_slot_alias(m, n->out[work->spans[i].out], n->in[work->spans[i].in], work->spans[i].in_at);
  return true;
}

/* What a step of a region sees of a value of the whole batch. */
static ifd_status see_part(ifd_maker *m, const ifd_draft *d, int slot, const ifd_tensor **out) {
  const ifd_slicing *s = &m->slicing;
  const ifd_tensor *whole = &m->slots[slot].tensor;
  ifd_tensor *part;
  *out = whole;
  if (d->region < 0 || s->region_of[slot] == d->region) return IFD_OK;
  ALLOC(m->err, part, ifd_new(&m->scratch, ifd_tensor));
  *part = (ifd_tensor){.dtype = whole->dtype,
                       .shape = ifd_batch_part(&whole->shape, s->batch, s->regions[d->region].rows)};
  *out = part;
  return IFD_OK;
}

static ifd_status lower_step(ifd_maker *m, const ifd_draft *d, ifd_step *step) {
  const ifd_program_node *n = d->n;
  const ifd_tensor **in, **out;
  bool *constant;
  ALLOC(m->err, in, ifd_new_array(&m->scratch, const ifd_tensor *, n->node->n_inputs));
  ALLOC(m->err, out, ifd_new_array(&m->scratch, const ifd_tensor *, n->node->n_outputs));
  ALLOC(m->err, constant, ifd_new_array(&m->scratch, bool, n->node->n_inputs));
  for (int i = 0; i < n->node->n_inputs; i++) {
    if (n->in[i] < 0) continue;
    if (!m->slots[n->in[i]].tensor.dtype) return IFD_OK; /* a sequence or map: evaluated */
    in[i] = &m->slots[n->in[i]].tensor;
    constant[i] = m->program->constants[n->in[i]].kind != IFD_KIND_UNKNOWN;
    if (d->region < 0 || d->roles[i] == IFD_ROLE_WHOLE) continue;
    TRY(see_part(m, d, n->in[i], &in[i]));
    constant[i] = false;
  }
  for (int i = 0; i < n->node->n_outputs; i++)
    if (n->out[i] >= 0) TRY(see_part(m, d, n->out[i], &out[i]));
  return ifd_plan_lower(m->err, &m->plan->arena, m->program, n->node, in, constant, out, &step->work);
}

/* What the node goes by in errors and profiles. */
static const char *name_of(const ifd_node *node) {
  for (int i = 0; !*node->name && i < node->n_outputs; i++)
    if (node->outputs[i]) return node->outputs[i]->name;
  return node->name;
}

static ifd_status slice_batch(ifd_maker *m) {
  int *base;
  ALLOC(m->err, base, ifd_new_array(&m->scratch, int, m->program->n_slots));
  for (int s = 0; s < m->program->n_slots; s++) base[s] = ifd_slot_root(m, s);
  m->slicing = (ifd_slicing){.program = m->program,
                             .slots = m->slots,
                             .base = base,
                             .is_output = m->is_output,
                             .drafts = m->drafts,
                             .n_drafts = m->n_drafts};
  TRY(ifd_slice_batch(m->err, &m->slicing, &m->scratch));
  m->drafts = m->slicing.drafts;
  return IFD_OK;
}

static ifd_status add_step(ifd_maker *m, const ifd_draft *d) {
  const ifd_program_node *n = d->n;
  int k = m->n_steps;
  ifd_step *step = &m->steps[k];
  *step = (ifd_step){.node = n->node,
                     .name = name_of(n->node),
                     .op_type = n->node->op_type,
                     .n_in = n->node->n_inputs,
                     .n_out = n->node->n_outputs,
                     .in = n->in,
                     .out = n->out,
                     .is_static = d->is_static};
  if (d->is_static) {
    TRY(lower_step(m, d, step));
    if (settle_pieces(m, d, &step->work)) return IFD_OK;
  }
  m->draft_of[k] = d;
  m->n_steps++;
  if (d->region < 0) return IFD_OK;
  ifd_region *region = &m->slicing.regions[d->region];
  if (!region->last) region->first = k;
  region->last = k + 1;
  return IFD_OK;
}

/* ---- constants ---- */

/* Splats and packed elements become dense where a step reads them raw; elements of whole bytes stay packed if
 * it reads them anywhere. */
static ifd_status expand_constant(ifd_maker *m, ifd_slot *slot, bool anywhere) {
  const ifd_tensor *t = &slot->tensor;
  bool is_dense = !t->splat && (!t->packed || (anywhere && ifd_dtypes[t->dtype].bits >= 8));
  if (slot->place != IFD_PLACE_CONSTANT) return IFD_OK;
  if (is_dense) return ifd_program_need(m->err, m->program, t);
  size_t bytes = (size_t)ifd_tensor_count(t) * ifd_dtype_size(t->dtype);
  const void *dense = NULL;
  if (bytes) TRY(ifd_program_pack(m->err, &dense, m->program, t, &(ifd_packing){.bytes = bytes}));
  slot->tensor.data = (void *)dense;
  slot->tensor.splat = slot->tensor.packed = false;
  return IFD_OK;
}

static bool has_bit(unsigned bits, int i) { return i < 32 && bits >> i & 1; }

static ifd_status expand_constants(ifd_maker *m) {
  for (int k = 0; k < m->n_steps; k++) {
    const ifd_program_node *n = m->draft_of[k]->n;
    const ifd_work *work = &m->steps[k].work;
    for (int i = 0; i < n->node->n_inputs; i++)
      if (n->in[i] >= 0 && !has_bit(work->unread, i))
        TRY(expand_constant(m, &m->slots[ifd_slot_root(m, n->in[i])], has_bit(work->anywhere, i)));
    for (int i = 0; i < n->n_reads; i++)
      TRY(expand_constant(m, &m->slots[ifd_slot_root(m, n->reads[i])], false));
  }
  for (int i = 0; i < m->program->n_outputs; i++)
    TRY(expand_constant(m, &m->slots[ifd_slot_root(m, m->program->outputs[i])], false));
  return IFD_OK;
}

static void sum_memory(ifd_maker *m) {
  ifd_plan *p = m->plan;
  for (int k = 0; k < m->n_steps; k++) {
    const ifd_work *w = &m->steps[k].work;
    if (w->shared > p->shared) p->shared = w->shared;
    for (int i = 0; i < w->n_launches; i++)
      if (w->launches[i].scratch > p->scratch) p->scratch = w->launches[i].scratch;
  }
  p->scratch = (p->scratch + 63) & ~(size_t)63; /* each worker's begins aligned */
  p->peak = p->slab + p->lane + p->shared + p->scratch;
  for (int s = 0; s < m->program->n_slots; s++)
    if (m->slots[s].place == IFD_PLACE_OUTPUT) p->peak += m->slots[s].bytes;
}

/* ---- making ---- */

static ifd_status make_arrays(ifd_maker *m) {
  const ifd_program *p = m->program;
  ifd_arena *arena = &m->plan->arena;
  int n_values = 0;
  for (int s = 0; s < p->n_slots; s++)
    if (m->priv->values.v[s]->id >= n_values) n_values = m->priv->values.v[s]->id + 1;
  ifd_dims *dims;
  ALLOC(m->err, dims, ifd_dims_new(&m->scratch));
  TRY(ifd_inference_init(&m->inf, m->err, &m->scratch, dims, n_values));
  ALLOC(m->err, m->slots, ifd_new_array(arena, ifd_slot, p->n_slots));
  ALLOC(m->err, m->steps, ifd_new_array(arena, ifd_step, m->priv->n_nodes));
  ALLOC(m->err, m->is_output, ifd_new_array(&m->scratch, bool, p->n_slots));
  ALLOC(m->err, m->last_read, ifd_new_array(&m->scratch, int, p->n_slots));
  ALLOC(m->err, m->within, ifd_new_array(&m->scratch, int, p->n_slots));
  ALLOC(m->err, m->drafts, ifd_new_array(&m->scratch, ifd_draft, m->priv->n_nodes));
  ALLOC(m->err, m->draft_of, ifd_new_array(&m->scratch, const ifd_draft *, m->priv->n_nodes));
  for (int i = 0; i < p->n_outputs; i++) m->is_output[p->outputs[i]] = true;
  return IFD_OK;
}

static ifd_status make(ifd_maker *m, const ifd_datum *inputs, const ifd_datum *const *captures) {
  TRY(make_arrays(m));
  TRY(ifd_plan_begin(m, inputs, captures));
  m->plan->all_static = true;
  for (int k = 0; k < m->priv->n_nodes; k++) TRY(ifd_plan_draft(m, &m->priv->nodes[k]));
  TRY(slice_batch(m));
  for (int k = 0; k < m->n_drafts; k++) TRY(add_step(m, &m->drafts[k]));
  TRY(ifd_plan_place(m));
  TRY(expand_constants(m));
  TRY(ifd_program_pack_due(m->err, m->program));
  for (int s = 0; s < m->program->n_slots; s++) ifd_slot_root(m, s);
  m->plan->steps = m->steps;
  m->plan->n_steps = m->n_steps;
  m->plan->slots = m->slots;
  sum_memory(m);
  return IFD_OK;
}

ifd_status ifd_plan_make(ifd_error *err, ifd_plan **out, ifd_program *program, const ifd_datum *inputs,
                         const ifd_datum *const *captures) {
  ifd_arena arena;
  ifd_plan *plan;
  ifd_arena_init(&arena, program->budget);
  ALLOC(err, plan, ifd_new(&arena, ifd_plan));
  plan->arena = arena;
  ifd_maker m = {.err = err, .program = program, .priv = program->priv, .plan = plan};
  ifd_arena_init(&m.scratch, program->budget);
  ifd_status status = make(&m, inputs, captures);
  ifd_arena_free(&m.scratch);
  if (status == IFD_OK)
    *out = plan;
  else
    ifd_arena_free(&plan->arena);
  return status;
}

ifd_status ifd_plan_guess(ifd_error *err, ifd_program *program, const ifd_datum *inputs) {
  ifd_program_priv *priv = program->priv;
  ifd_plan *plan;
  priv->guesses = true;
  ifd_status status = ifd_plan_make(err, &plan, program, inputs, NULL);
  priv->guesses = false;
  if (status == IFD_OK) ifd_arena_free(&plan->arena);
  return status;
}
