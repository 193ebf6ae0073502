#include "plan/maker.h"
#include "plan/memory.h"

/* ---- aliases ---- */

int ifd_slot_root(ifd_maker *m, int slot) {
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

void ifd_slot_alias(ifd_maker *m, int slot, int of, size_t offset) {
  ifd_slot *s = &m->slots[slot];
  s->place = IFD_PLACE_ALIAS, s->alias = of, s->offset = offset;
  m->within[slot] = of;
}

static size_t offset_of(const ifd_maker *m, int slot) {
  return m->slots[slot].place == IFD_PLACE_ALIAS ? m->slots[slot].offset : 0;
}

bool ifd_slot_is_memory(const ifd_slot *s) {
  return s->place == IFD_PLACE_SLAB || s->place == IFD_PLACE_PART || s->place == IFD_PLACE_INPUT ||
         s->place == IFD_PLACE_CONSTANT;
}

/* ---- lifetimes ---- */

/* The region of a step, or NULL. */
static const ifd_region *region_of(const ifd_maker *m, int step) {
  int region = m->draft_of[step]->region;
  return region < 0 ? NULL : &m->slicing.regions[region];
}

/* What lies outside of a region's slices is read until the last of them. */
static void read_slot(ifd_maker *m, int slot, int step) {
  if (slot < 0) return;
  int root = ifd_slot_root(m, slot);
  const ifd_region *region = step < m->n_steps ? region_of(m, step) : NULL;
  m->last_read[root] = region && m->slots[root].place != IFD_PLACE_PART ? region->last - 1 : step;
}

static void find_lifetimes(ifd_maker *m) {
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

/* ---- memory ---- */

/* Whether a step may make its part in the memory of the whole. */
static bool joins(const ifd_maker *m, int step, const ifd_slot *part, const ifd_slot *whole) {
  if (part->place == IFD_PLACE_PART && whole->place == IFD_PLACE_PART) return true;
  bool memory = whole->place == IFD_PLACE_SLAB || whole->place == IFD_PLACE_OUTPUT;
  return memory && part->place == (region_of(m, step) ? IFD_PLACE_PART : IFD_PLACE_SLAB);
}

/* What a step only copies whole to a part of its output is made there; what is all there need not run. */
static void join_in_place(ifd_maker *m) {
  for (int k = 0; k < m->n_steps; k++) {
    ifd_step *step = &m->steps[k];
    int n_placed = 0;
    for (int i = 0; i < step->work.n_spans; i++) {
      const ifd_span *span = &step->work.spans[i];
      int in = step->in[span->in], part = ifd_slot_root(m, in), whole = step->out[span->out];
      const ifd_slot *a = &m->slots[part], *b = &m->slots[whole];
      if (!joins(m, k, a, b) || part == whole || span->bytes != a->bytes || m->slots[in].bytes != a->bytes)
        continue;
      ifd_slot_alias(m, part, whole, span->out_at);
      if (m->last_read[part] > m->last_read[whole]) m->last_read[whole] = m->last_read[part];
      n_placed++;
    }
    bool done = step->work.only_spans && n_placed && n_placed == step->work.n_spans;
    for (int i = 0; i < step->work.n_launches && done; i++) step->work.launches[i].n_tasks = 0;
  }
}

/* Whether a step reads other places of the memory that input i lies in. */
static bool reads_around(ifd_maker *m, const ifd_step *step, int i) {
  for (int k = 0; k < step->n_in; k++)
    if (step->in[k] >= 0 && ifd_slot_root(m, step->in[k]) == ifd_slot_root(m, step->in[i]) &&
        (offset_of(m, step->in[k]) != offset_of(m, step->in[i]) ||
         m->slots[step->in[k]].bytes != m->slots[step->in[i]].bytes))
      return true;
  return false;
}

/* Output 0 takes over the memory of an input that nobody reads later. */
static void share_in_place(ifd_maker *m) {
  for (int k = 0; k < m->n_steps; k++) {
    const ifd_step *step = &m->steps[k];
    int i = step->work.in_place - 1;
    if (i < 0 || step->in[i] < 0 || step->out[0] < 0) continue;
    int in = step->in[i], from = ifd_slot_root(m, in), to = step->out[0];
    ifd_place own = region_of(m, k) ? IFD_PLACE_PART : IFD_PLACE_SLAB;
    if (m->slots[from].place != own || m->slots[to].place != own || m->last_read[from] != k ||
        m->slots[to].bytes > m->slots[in].bytes || reads_around(m, step, i))
      continue;
    ifd_slot_alias(m, to, in, 0);
    m->last_read[from] = m->last_read[to];
  }
}

/* Offsets of the values of one place, a slab's or a lane's. */
static ifd_status plan_place(ifd_maker *m, ifd_place place, size_t *bytes) {
  ifd_buffer *buffers;
  int *slot_of_buffer, n = 0;
  bool *placed;
  ALLOC(m->err, placed, ifd_new_array(&m->scratch, bool, m->program->n_slots));
  ALLOC(m->err, buffers, ifd_new_array(&m->scratch, ifd_buffer, m->program->n_slots));
  ALLOC(m->err, slot_of_buffer, ifd_new_array(&m->scratch, int, m->program->n_slots));
  for (int k = 0; k < m->n_steps; k++) {
    const ifd_region *region = place == IFD_PLACE_SLAB ? region_of(m, k) : NULL;
    for (int i = 0; i < m->steps[k].n_out; i++) {
      int s = m->steps[k].out[i] < 0 ? -1 : ifd_slot_root(m, m->steps[k].out[i]);
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
static size_t stride_of(const ifd_maker *m, int slot) {
  while (m->slicing.region_of[slot] >= 0) slot = m->within[slot];
  const ifd_tensor *t = &m->slots[slot].tensor;
  return (size_t)(ifd_tensor_count(t) / m->slicing.batch) * ifd_dtype_size(t->dtype);
}

/* seen: the last region that has a slot among its borders. */
static void add_border(ifd_maker *m, const ifd_draft *d, ifd_region *r, ifd_border *borders, int *seen,
                       int slot, ifd_role role) {
  if (slot < 0 || seen[slot] == m->plan->n_regions) return;
  int root = ifd_slot_root(m, slot);
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

static ifd_status find_borders(ifd_maker *m, ifd_region *r, int *seen) {
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

static ifd_status add_regions(ifd_maker *m) {
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

/* ---- releases ---- */

/* Which dynamic values a step is the last to need. */
static ifd_status add_releases(ifd_maker *m) {
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

ifd_status ifd_plan_place(ifd_maker *m) {
  find_lifetimes(m);
  join_in_place(m);
  share_in_place(m);
  TRY(plan_place(m, IFD_PLACE_SLAB, &m->plan->slab));
  TRY(plan_place(m, IFD_PLACE_PART, &m->plan->lane));
  TRY(add_regions(m));
  return add_releases(m);
}
