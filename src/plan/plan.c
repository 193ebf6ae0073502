#include "plan/plan.h"

#include "plan/memory.h"
#include "plan/program_priv.h"
#include "plan/slice.h"
#include <string.h>

enum { KEPT_PLANS = 8 };

/* A plan in the making. Arrays are by slot. */
typedef struct maker {
  ifd_error *err;
  ifd_arena scratch;
  ifd_program *program;
  ifd_program_priv *priv;
  ifd_plan *plan;
  ifd_inference inf;
  ifd_slot *slots;
  bool *is_output;
  int *last_read; /* by root slot: the last step that reads it; -1 none */
  int *within;    /* what a slot was made an alias of */
  ifd_draft *drafts;
  int n_drafts;
  ifd_slicing slicing;
  ifd_step *steps;
  const ifd_draft **draft_of; /* by step */
  int n_steps;
} maker;

/* ---- what the caller brings ---- */

static const ifd_type *type_of_datum(ifd_arena *arena, const ifd_datum *d, const ifd_type *declared) {
  if (d->kind == IFD_KIND_TENSOR) return ifd_type_of_tensor(arena, &d->tensor);
  return declared ? declared : &ifd_type_unknown;
}

static ifd_status add_given(maker *m, int slot, const ifd_datum *d) {
  const ifd_value *v = m->priv->values.v[slot];
  ifd_facts *f;
  ALLOC(m->err, f, ifd_inference_get(&m->inf, v));
  ALLOC(m->err, f->type, type_of_datum(m->inf.arena, d, v->declared ? v->declared : v->type));
  m->slots[slot] = (ifd_slot){.place = IFD_PLACE_INPUT};
  if (d->kind == IFD_KIND_TENSOR) {
    m->slots[slot].tensor = d->tensor;
    m->slots[slot].tensor.data = NULL;
    m->slots[slot].tensor.buf = NULL;
    /* A session plans for the shapes that its model declares, which nobody has given yet. */
    TRY(ifd_shape_check(m->err, &d->tensor.shape, ifd_dtype_size(d->tensor.dtype)));
  }
  return IFD_OK;
}

static ifd_status add_constants(maker *m) {
  for (int s = 0; s < m->program->n_slots; s++) {
    const ifd_datum *c = &m->program->constants[s];
    if (c->kind == IFD_KIND_UNKNOWN) continue;
    TRY(ifd_inference_set_tensor(&m->inf, m->priv->values.v[s], &c->tensor));
    m->slots[s] = (ifd_slot){.place = IFD_PLACE_CONSTANT, .tensor = c->tensor};
  }
  return IFD_OK;
}

/* ---- types of a step's outputs ---- */

static bool number_shape(const ifd_type *t, ifd_shape *shape) {
  if (t->kind != IFD_KIND_TENSOR || !t->dtype || !t->has_rank || t->rank > IFD_MAX_RANK) return false;
  shape->rank = t->rank;
  for (int i = 0; i < t->rank; i++) {
    if (!ifd_dim_is_number(t->dims[i])) return false;
    shape->dim[i] = t->dims[i];
  }
  return true;
}

static ifd_dtype run_dtype(const ifd_program *p, ifd_dtype t) {
  return p->options.float64 && t == IFD_FLOAT ? IFD_DOUBLE : t;
}

static bool known_numbers(const ifd_elements *e) {
  if (!e) return false;
  for (int i = 0; i < e->n; i++)
    if (!ifd_dim_is_number(e->d[i])) return false;
  return true;
}

/* Shape arithmetic whose result inference has already found is a constant of the plan. */
static ifd_status settle_known(maker *m, ifd_slot *slot, const ifd_elements *e) {
  ifd_tensor t;
  TRY(ifd_tensor_new(m->err, &t, &m->plan->arena, slot->tensor.dtype, &slot->tensor.shape));
  for (int i = 0; i < e->n; i++) ifd_tensor_set_i64(&t, i, e->d[i]);
  *slot = (ifd_slot){.place = IFD_PLACE_CONSTANT, .tensor = t};
  return IFD_OK;
}

static ifd_status settle_output(maker *m, int s, bool *is_static, bool *known) {
  ifd_facts *f;
  ifd_slot *slot = &m->slots[s];
  ALLOC(m->err, f, ifd_inference_get(&m->inf, m->priv->values.v[s]));
  if (f->type->kind == IFD_KIND_TENSOR && run_dtype(m->program, f->type->dtype) != f->type->dtype) {
    ifd_type *wide;
    ALLOC(m->err, wide, ifd_arena_memdup(m->inf.arena, f->type, sizeof *wide));
    wide->dtype = run_dtype(m->program, wide->dtype);
    f->type = wide;
  }
  *slot = (ifd_slot){.place = IFD_PLACE_DYNAMIC};
  if (!number_shape(f->type, &slot->tensor.shape)) {
    *is_static = *known = false;
    return IFD_OK;
  }
  slot->tensor.dtype = f->type->dtype;
  TRY(ifd_shape_check(m->err, &slot->tensor.shape, ifd_dtype_size(slot->tensor.dtype)));
  slot->bytes = ifd_tensor_bytes(&slot->tensor);
  bool fits = known_numbers(f->elements) && f->elements->n == ifd_tensor_count(&slot->tensor) &&
              (ifd_dtype_is_integer(f->type->dtype) || f->type->dtype == IFD_BOOL);
  if (fits) TRY(settle_known(m, slot, f->elements));
  *known &= fits;
  return IFD_OK;
}

static bool inputs_are_static(const maker *m, const ifd_program_node *n) {
  for (int i = 0; i < n->node->n_inputs; i++)
    if (n->in[i] >= 0 && m->slots[n->in[i]].place == IFD_PLACE_DYNAMIC) return false;
  return true;
}

/* ---- steps ---- */

/* Where a slot's memory begins: its alias becomes that of the root. */
static int root_of(maker *m, int slot) {
  ifd_slot *s = &m->slots[slot];
  if (s->place != IFD_PLACE_ALIAS) return slot;
  int root = s->alias;
  size_t offset = 0;
  for (; m->slots[root].place == IFD_PLACE_ALIAS; root = m->slots[root].alias)
    offset += m->slots[root].offset;
  for (size_t rest = offset; s->alias != root;) {
    ifd_slot *next = &m->slots[s->alias];
    s->alias = root, s->offset += rest;
    rest -= next->offset;
    s = next;
  }
  return root;
}

static void make_alias(maker *m, int slot, int of, size_t offset) {
  ifd_slot *s = &m->slots[slot];
  s->place = IFD_PLACE_ALIAS, s->alias = of, s->offset = offset;
  m->within[slot] = of;
}
static size_t offset_of(const maker *m, int slot) {
  return m->slots[slot].place == IFD_PLACE_ALIAS ? m->slots[slot].offset : 0;
}

static bool is_memory(const ifd_slot *s) {
  return s->place == IFD_PLACE_SLAB || s->place == IFD_PLACE_PART || s->place == IFD_PLACE_INPUT ||
         s->place == IFD_PLACE_CONSTANT;
}

/* A view of an input costs nothing: its slot is an alias and there is no step. */
static bool settle_view(maker *m, const ifd_program_node *n) {
  if (!(n->node->op->flags & IFD_OP_VIEW) || n->out[0] < 0 || m->is_output[n->out[0]]) return false;
  const ifd_slot *root = &m->slots[root_of(m, n->in[0])], *out = &m->slots[n->out[0]];
  if (!is_memory(root) || root->tensor.splat || out->place == IFD_PLACE_CONSTANT) return false;
  /* A shape that does not fit is for the evaluation to refuse. */
  if (ifd_tensor_count(&out->tensor) != ifd_tensor_count(&m->slots[n->in[0]].tensor)) return false;
  make_alias(m, n->out[0], n->in[0], 0);
  return true;
}

/* Whether every output is bytes side by side of an input: such a step is not run either. */
static bool settle_pieces(maker *m, const ifd_draft *d, const ifd_work *work) {
  const ifd_program_node *n = d->n;
  int n_outputs = 0;
  for (int i = 0; i < n->node->n_outputs; i++) n_outputs += n->out[i] >= 0;
  if (!work->only_spans || work->n_spans != n_outputs) return false;
  for (int i = 0; i < work->n_spans; i++) {
    const ifd_span *span = &work->spans[i];
    int out = n->out[span->out];
    const ifd_slot *root = &m->slots[root_of(m, n->in[span->in])];
    if (m->slicing.region_of[out] != d->region || m->is_output[out] || !is_memory(root) ||
        root->tensor.splat || root->tensor.packed || span->bytes != m->slots[out].bytes ||
        m->slots[out].place == IFD_PLACE_CONSTANT)
      return false;
  }
  for (int i = 0; i < work->n_spans; i++)
    make_alias(m, n->out[work->spans[i].out], n->in[work->spans[i].in], work->spans[i].in_at);
  return true;
}

/* What a step of a region sees of a value of the whole batch. */
static ifd_status see_part(maker *m, const ifd_draft *d, int slot, const ifd_tensor **out) {
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

static ifd_status lower_step(maker *m, const ifd_draft *d, ifd_step *step) {
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

static void place_outputs(maker *m, const ifd_program_node *n) {
  for (int i = 0; i < n->node->n_outputs; i++) {
    if (n->out[i] < 0) continue;
    ifd_slot *s = &m->slots[n->out[i]];
    bool plain = s->tensor.dtype && s->tensor.dtype != IFD_STRING && s->place != IFD_PLACE_CONSTANT;
    if (plain) s->place = m->is_output[n->out[i]] ? IFD_PLACE_OUTPUT : IFD_PLACE_SLAB;
  }
}

/* What the node goes by in errors and profiles. */
static const char *name_of(const ifd_node *node) {
  for (int i = 0; !*node->name && i < node->n_outputs; i++)
    if (node->outputs[i]) return node->outputs[i]->name;
  return node->name;
}

/* Types of a node's outputs; a draft unless they are known or a view. */
static ifd_status add_draft(maker *m, const ifd_program_node *n) {
  bool is_static = inputs_are_static(m, n), known = true;
  TRY(ifd_infer_node(&m->inf, n->node));
  for (int i = 0; i < n->node->n_outputs; i++)
    if (n->out[i] >= 0) TRY(settle_output(m, n->out[i], &is_static, &known));
  if (known && n->node->n_outputs && !(n->node->op->flags & IFD_OP_IMPURE)) return IFD_OK;
  if (is_static && settle_view(m, n)) return IFD_OK;
  if (is_static)
    place_outputs(m, n);
  else {
    for (int i = 0; i < n->node->n_outputs; i++)
      if (n->out[i] >= 0) m->slots[n->out[i]].place = IFD_PLACE_DYNAMIC;
    m->plan->all_static = false;
  }
  m->drafts[m->n_drafts++] = (ifd_draft){.n = n, .is_static = is_static, .region = -1};
  return IFD_OK;
}

static ifd_status slice_batch(maker *m) {
  int *base;
  ALLOC(m->err, base, ifd_new_array(&m->scratch, int, m->program->n_slots));
  for (int s = 0; s < m->program->n_slots; s++) base[s] = root_of(m, s);
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

static ifd_status add_step(maker *m, const ifd_draft *d) {
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

/* ---- lifetimes and memory ---- */

/* The region of a step, or NULL. */
static const ifd_region *region_of(const maker *m, int step) {
  int region = m->draft_of[step]->region;
  return region < 0 ? NULL : &m->slicing.regions[region];
}

/* What lies outside of a region's slices is read until the last of them. */
static void read_slot(maker *m, int slot, int step) {
  if (slot < 0) return;
  int root = root_of(m, slot);
  const ifd_region *region = step < m->n_steps ? region_of(m, step) : NULL;
  m->last_read[root] = region && m->slots[root].place != IFD_PLACE_PART ? region->last - 1 : step;
}

static void find_lifetimes(maker *m) {
  for (int s = 0; s < m->program->n_slots; s++) m->last_read[s] = -1;
  for (int k = 0; k < m->n_steps; k++) {
    const ifd_program_node *n = m->draft_of[k]->n;
    for (int i = 0; i < n->node->n_outputs; i++)
      read_slot(m, n->out[i], k); /* alive at least while written */
    for (int i = 0; i < n->node->n_inputs; i++) read_slot(m, n->in[i], k);
    for (int i = 0; i < n->n_reads; i++) read_slot(m, n->reads[i], k);
  }
  for (int i = 0; i < m->program->n_outputs; i++) read_slot(m, m->program->outputs[i], m->n_steps);
}

/* Whether a step may make its part in the memory of the whole. */
static bool joins(const maker *m, int step, const ifd_slot *part, const ifd_slot *whole) {
  if (part->place == IFD_PLACE_PART && whole->place == IFD_PLACE_PART) return true;
  bool memory = whole->place == IFD_PLACE_SLAB || whole->place == IFD_PLACE_OUTPUT;
  return memory && part->place == (region_of(m, step) ? IFD_PLACE_PART : IFD_PLACE_SLAB);
}

/* What a step only copies whole to a part of its output is made there; what is all there need not run. */
static void join_in_place(maker *m) {
  for (int k = 0; k < m->n_steps; k++) {
    ifd_step *step = &m->steps[k];
    int n_placed = 0;
    for (int i = 0; i < step->work.n_spans; i++) {
      const ifd_span *span = &step->work.spans[i];
      int in = step->in[span->in], part = root_of(m, in), whole = step->out[span->out];
      const ifd_slot *a = &m->slots[part], *b = &m->slots[whole];
      if (!joins(m, k, a, b) || part == whole || span->bytes != a->bytes || m->slots[in].bytes != a->bytes)
        continue;
      make_alias(m, part, whole, span->out_at);
      if (m->last_read[part] > m->last_read[whole]) m->last_read[whole] = m->last_read[part];
      n_placed++;
    }
    bool done = step->work.only_spans && n_placed && n_placed == step->work.n_spans;
    for (int i = 0; i < step->work.n_launches && done; i++) step->work.launches[i].n_tasks = 0;
  }
}

/* Whether a step reads other places of the memory that input i lies in. */
static bool reads_around(maker *m, const ifd_step *step, int i) {
  for (int k = 0; k < step->n_in; k++)
    if (step->in[k] >= 0 && root_of(m, step->in[k]) == root_of(m, step->in[i]) &&
        (offset_of(m, step->in[k]) != offset_of(m, step->in[i]) ||
         m->slots[step->in[k]].bytes != m->slots[step->in[i]].bytes))
      return true;
  return false;
}

/* Output 0 takes over the memory of an input that nobody reads later. */
static void share_in_place(maker *m) {
  for (int k = 0; k < m->n_steps; k++) {
    const ifd_step *step = &m->steps[k];
    int i = step->work.in_place - 1;
    if (i < 0 || step->in[i] < 0 || step->out[0] < 0) continue;
    int in = step->in[i], from = root_of(m, in), to = step->out[0];
    ifd_place own = region_of(m, k) ? IFD_PLACE_PART : IFD_PLACE_SLAB;
    if (m->slots[from].place != own || m->slots[to].place != own || m->last_read[from] != k ||
        m->slots[to].bytes > m->slots[in].bytes || reads_around(m, step, i))
      continue;
    make_alias(m, to, in, 0);
    m->last_read[from] = m->last_read[to];
  }
}

/* Offsets of the values of one place, a slab's or a lane's. */
static ifd_status plan_place(maker *m, ifd_place place, size_t *bytes) {
  ifd_buffer *buffers;
  int *slot_of_buffer, n = 0;
  bool *placed;
  ALLOC(m->err, placed, ifd_new_array(&m->scratch, bool, m->program->n_slots));
  ALLOC(m->err, buffers, ifd_new_array(&m->scratch, ifd_buffer, m->program->n_slots));
  ALLOC(m->err, slot_of_buffer, ifd_new_array(&m->scratch, int, m->program->n_slots));
  for (int k = 0; k < m->n_steps; k++) {
    const ifd_region *region = place == IFD_PLACE_SLAB ? region_of(m, k) : NULL;
    for (int i = 0; i < m->steps[k].n_out; i++) {
      int s = m->steps[k].out[i] < 0 ? -1 : root_of(m, m->steps[k].out[i]);
      if (s < 0 || m->slots[s].place != place || placed[s]) continue;
      placed[s] = true; /* by the first step that writes any part of it */
      buffers[n] = (ifd_buffer){
          .first = region ? region->first : k, .last = m->last_read[s], .bytes = m->slots[s].bytes};
      slot_of_buffer[n++] = s;
    }
  }
  TRY(ifd_memory_plan(m->err, buffers, n, bytes, &m->scratch));
  for (int i = 0; i < n; i++) m->slots[slot_of_buffer[i]].offset = buffers[i].offset;
  return IFD_OK;
}

/* ---- regions ---- */

/* Bytes between the samples of a slot that a region reads or writes. */
static size_t stride_of(const maker *m, int slot) {
  while (m->slicing.region_of[slot] >= 0) slot = m->within[slot];
  const ifd_tensor *t = &m->slots[slot].tensor;
  return (size_t)(ifd_tensor_count(t) / m->slicing.batch) * ifd_dtype_size(t->dtype);
}

/* seen: the last region that has a slot among its borders. */
static void add_border(maker *m, const ifd_draft *d, ifd_region *r, ifd_border *borders, int *seen, int slot,
                       ifd_role role) {
  if (slot < 0 || seen[slot] == m->plan->n_regions) return;
  int root = root_of(m, slot);
  const ifd_tensor *t = &m->slots[slot].tensor;
  bool parts = role == IFD_ROLE_PARTS, own = m->slicing.region_of[slot] == d->region;
  if (m->slots[root].place == IFD_PLACE_PART || (m->slots[root].place == IFD_PLACE_CONSTANT && !parts))
    return; /* a lane has it */
  seen[slot] = m->plan->n_regions;
  borders[r->n_borders++] = (ifd_border){.slot = slot,
                                         .root = root,
                                         .offset = offset_of(m, slot),
                                         .stride = parts ? stride_of(m, slot) : 0,
                                         .dim0 = parts && !own ? t->shape.dim[0] / r->batch * r->rows : 0};
}

static ifd_status find_borders(maker *m, ifd_region *r, int *seen) {
  int most = 0;
  for (int k = r->first; k < r->last; k++) most += m->steps[k].n_in + m->steps[k].n_out;
  ifd_border *borders;
  ALLOC(m->err, borders, ifd_new_array(&m->plan->arena, ifd_border, most));
  for (int k = r->first; k < r->last; k++) {
    const ifd_draft *d = m->draft_of[k];
    const ifd_step *step = &m->steps[k];
    for (int i = 0; i < step->n_in; i++) add_border(m, d, r, borders, seen, step->in[i], d->roles[i]);
    for (int i = 0; i < step->n_out; i++) add_border(m, d, r, borders, seen, step->out[i], IFD_ROLE_PARTS);
  }
  r->borders = borders;
  return IFD_OK;
}

static ifd_status add_regions(maker *m) {
  const ifd_slicing *s = &m->slicing;
  ifd_region *regions;
  int *seen;
  ALLOC(m->err, seen, ifd_new_array(&m->scratch, int, m->program->n_slots));
  ALLOC(m->err, regions, ifd_new_array(&m->plan->arena, ifd_region, s->n_regions));
  m->plan->regions = regions;
  for (int i = 0; i < s->n_regions; i++) {
    if (s->regions[i].first == s->regions[i].last) continue;
    ifd_region *r = &regions[m->plan->n_regions++];
    *r = s->regions[i];
    TRY(find_borders(m, r, seen));
  }
  return IFD_OK;
}

/* ---- what steps need ---- */

/* Which dynamic values a step is the last to need. */
static ifd_status add_releases(maker *m) {
  int *count;
  int **lists;
  ALLOC(m->err, count, ifd_new_array(&m->scratch, int, m->n_steps + 1));
  ALLOC(m->err, lists, ifd_new_array(&m->scratch, int *, m->n_steps + 1));
  for (int pass = 0; pass < 2; pass++) {
    for (int s = 0; s < m->program->n_slots; s++) {
      int last = m->last_read[s];
      if (m->slots[s].place != IFD_PLACE_DYNAMIC || last < 0 || last >= m->n_steps) continue;
      if (pass)
        lists[last][m->steps[last].n_release++] = s;
      else
        count[last]++;
    }
    for (int k = 0; k < m->n_steps && !pass; k++) {
      if (!count[k]) continue;
      ALLOC(m->err, lists[k], ifd_new_array(&m->plan->arena, int, count[k]));
      m->steps[k].release = lists[k];
    }
  }
  return IFD_OK;
}

/* Splats and packed elements become dense where a step reads them raw; elements of whole bytes stay packed if
 * it reads them anywhere. */
static ifd_status expand_constant(maker *m, ifd_slot *slot, bool anywhere) {
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

static ifd_status expand_constants(maker *m) {
  for (int k = 0; k < m->n_steps; k++) {
    const ifd_program_node *n = m->draft_of[k]->n;
    const ifd_work *work = &m->steps[k].work;
    for (int i = 0; i < n->node->n_inputs; i++)
      if (n->in[i] >= 0 && !has_bit(work->unread, i))
        TRY(expand_constant(m, &m->slots[root_of(m, n->in[i])], has_bit(work->anywhere, i)));
    for (int i = 0; i < n->n_reads; i++) TRY(expand_constant(m, &m->slots[root_of(m, n->reads[i])], false));
  }
  for (int i = 0; i < m->program->n_outputs; i++)
    TRY(expand_constant(m, &m->slots[root_of(m, m->program->outputs[i])], false));
  return IFD_OK;
}

static void sum_memory(maker *m) {
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

static ifd_status make(maker *m, const ifd_datum *inputs, const ifd_datum *const *captures) {
  ifd_program *p = m->program;
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
  TRY(add_constants(m));
  for (int i = 0; i < p->n_inputs; i++)
    if (p->constants[p->inputs[i]].kind == IFD_KIND_UNKNOWN) TRY(add_given(m, p->inputs[i], &inputs[i]));
  for (int i = 0; i < p->captures.n; i++) TRY(add_given(m, p->captures.v[i].slot, captures[i]));
  m->plan->all_static = true;
  for (int k = 0; k < m->priv->n_nodes; k++) TRY(add_draft(m, &m->priv->nodes[k]));
  TRY(slice_batch(m));
  for (int k = 0; k < m->n_drafts; k++) TRY(add_step(m, &m->drafts[k]));
  find_lifetimes(m);
  join_in_place(m);
  share_in_place(m);
  TRY(plan_place(m, IFD_PLACE_SLAB, &m->plan->slab));
  TRY(plan_place(m, IFD_PLACE_PART, &m->plan->lane));
  TRY(add_regions(m));
  TRY(add_releases(m));
  TRY(expand_constants(m));
  TRY(ifd_program_pack_due(m->err, p));
  for (int s = 0; s < p->n_slots; s++) root_of(m, s);
  m->plan->steps = m->steps;
  m->plan->n_steps = m->n_steps;
  m->plan->slots = m->slots;
  sum_memory(m);
  return IFD_OK;
}

static ifd_status make_plan(ifd_error *err, ifd_plan **out, ifd_program *program, const ifd_datum *inputs,
                            const ifd_datum *const *captures) {
  ifd_arena arena;
  ifd_plan *plan;
  ifd_arena_init(&arena, program->budget);
  ALLOC(err, plan, ifd_new(&arena, ifd_plan));
  plan->arena = arena;
  maker m = {.err = err, .program = program, .priv = program->priv, .plan = plan};
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
  ifd_status status = make_plan(err, &plan, program, inputs, NULL);
  priv->guesses = false;
  if (status != IFD_OK) return status;
  ifd_arena_free(&plan->arena);
  return IFD_OK;
}

/* ---- the cache ---- */

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
    TRY(make_plan(err, out, program, inputs, captures));
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
