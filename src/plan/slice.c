#include "plan/slice.h"

#include <float.h>
#include <string.h>

/* What memory and processors do in a second, about: only their ratios matter. */
static const double bytes_near = 30e9, bytes_far = 12e9, bytes_copied = 20e9, macs_in = 50e9,
                    step_seconds = 0.5e-6;
/* Slices must save this part of the time that is expected without. */
static const double least_gain = 0.03;

enum { MOST_SIZES = 16 };

/* A step that samples take part in. */
typedef struct item {
  ifd_draft *draft;
  bool passes;          /* it may run on few samples */
  double macs, moved;   /* of one sample: products, bytes of values */
  double fixed;         /* bytes of what all samples share */
  double joined;        /* bytes that one sample alone has in place, side by side, and several copy */
  double live;          /* bytes of a sample's values that later steps read */
  uint8_t best, before; /* sizes */
} item;

typedef struct slicer {
  ifd_error *err;
  ifd_slicing *s;
  ifd_arena *scratch;
  ifd_caches caches;
  ifd_draft *sorted; /* what no sample takes part in first */
  item *items;
  int n_items;
  double weights; /* bytes of what all samples share, of all items */
  int n_sizes;
  int64_t sizes[MOST_SIZES];     /* samples at a time, growing; the last is all */
  uint8_t (*before)[MOST_SIZES]; /* by item and size: the size of the item before */
} slicer;

static const ifd_tensor *tensor_of(const slicer *r, int slot) {
  return slot < 0 ? NULL : &r->s->slots[slot].tensor;
}

/* ---- what passes ---- */

/* The first dimension of the largest input; 0 where there is none. */
static int64_t find_batch(const ifd_slicing *s) {
  const ifd_program *p = s->program;
  int64_t most = -1, batch = 0;
  for (int i = 0; i < p->n_inputs; i++) {
    const ifd_slot *slot = &s->slots[p->inputs[i]];
    if (slot->place != IFD_PLACE_INPUT || !slot->tensor.dtype || slot->tensor.shape.rank == 0) continue;
    int64_t n = ifd_tensor_count(&slot->tensor);
    if (n > most) most = n, batch = slot->tensor.shape.dim[0];
  }
  return batch;
}

/* By slot: what is known of values. */
typedef struct marks {
  bool *moves;   /* the batch, or what must keep its place, takes part in it */
  bool *carried; /* made by a step that may run on few samples */
  uint8_t *role; /* 1 + the role in which steps read it */
} marks;

static bool stays(const ifd_program_node *n) { return n->n_reads || (n->node->op->flags & IFD_OP_IMPURE); }

static bool is_moved(const slicer *r, const marks *m, const ifd_program_node *n) {
  bool moved = stays(n);
  for (int i = 0; i < n->node->n_inputs; i++) moved |= n->in[i] >= 0 && m->moves[r->s->base[n->in[i]]];
  for (int i = 0; i < n->n_reads; i++) moved |= m->moves[r->s->base[n->reads[i]]];
  return moved;
}

/* What all samples share is there before any of them; what is read both ways would need two places. */
static bool roles_fit(const slicer *r, const marks *m, const ifd_draft *d) {
  const ifd_program_node *n = d->n;
  for (int i = 0; i < n->node->n_inputs; i++) {
    int slot = n->in[i];
    if (slot < 0) continue;
    int base = r->s->base[slot];
    if (d->roles[i] == IFD_ROLE_WHOLE && m->carried[base]) return false;
    if (!m->carried[base] && m->role[slot] && m->role[slot] != 1 + d->roles[i]) return false;
  }
  return true;
}

static ifd_status find_roles(slicer *r, const marks *m, ifd_draft *d, bool *passes) {
  const ifd_node *node = d->n->node;
  const ifd_tensor **in, **out;
  *passes = false;
  if (!d->is_static || !node->op->lower || d->n->n_reads) return IFD_OK;
  ALLOC(r->err, in, ifd_new_array(r->scratch, const ifd_tensor *, node->n_inputs));
  ALLOC(r->err, out, ifd_new_array(r->scratch, const ifd_tensor *, node->n_outputs));
  ALLOC(r->err, d->roles, ifd_new_array(r->scratch, ifd_role, node->n_inputs));
  for (int i = 0; i < node->n_inputs; i++) {
    in[i] = tensor_of(r, d->n->in[i]);
    if (in[i] && !in[i]->dtype) return IFD_OK;
  }
  for (int i = 0; i < node->n_outputs; i++) {
    out[i] = tensor_of(r, d->n->out[i]);
    if (d->n->out[i] >= 0 && r->s->slots[d->n->out[i]].place == IFD_PLACE_CONSTANT) return IFD_OK;
  }
  *passes = ifd_batch_passes(&(ifd_batch){node, in, out}, r->s->batch, d->roles) && roles_fit(r, m, d);
  return IFD_OK;
}

static void mark(marks *m, const ifd_draft *d, bool passes) {
  const ifd_program_node *n = d->n;
  for (int i = 0; i < n->node->n_outputs; i++)
    if (n->out[i] >= 0) m->moves[n->out[i]] = true, m->carried[n->out[i]] = passes;
  for (int i = 0; i < n->node->n_inputs && passes; i++)
    if (n->in[i] >= 0) m->role[n->in[i]] = (uint8_t)(1 + d->roles[i]);
}

/* ---- what steps cost ---- */

static double bytes_of(const slicer *r, int slot) {
  const ifd_tensor *t = tensor_of(r, slot);
  return t && t->dtype ? (double)ifd_tensor_count(t) * (double)ifd_dtype_size(t->dtype) : 0;
}

static ifd_status count_macs(slicer *r, item *it) {
  const ifd_program_node *n = it->draft->n;
  ifd_shape *in, *out;
  if (!n->node->op->cost || !it->draft->is_static) return IFD_OK;
  ALLOC(r->err, in, ifd_new_array(r->scratch, ifd_shape, n->node->n_inputs));
  ALLOC(r->err, out, ifd_new_array(r->scratch, ifd_shape, n->node->n_outputs));
  for (int i = 0; i < n->node->n_inputs; i++)
    if (n->in[i] >= 0) in[i] = tensor_of(r, n->in[i])->shape;
  for (int i = 0; i < n->node->n_outputs; i++)
    if (n->out[i] >= 0) out[i] = tensor_of(r, n->out[i])->shape;
  it->macs = n->node->op->cost(n->node, in, out) / (double)r->s->batch;
  return IFD_OK;
}

static ifd_status measure(slicer *r, item *it) {
  const ifd_program_node *n = it->draft->n;
  for (int i = 0; i < n->node->n_inputs; i++) {
    bool whole = it->passes && it->draft->roles[i] == IFD_ROLE_WHOLE;
    *(whole ? &it->fixed : &it->moved) += bytes_of(r, n->in[i]);
  }
  for (int i = 0; i < n->node->n_outputs; i++) it->moved += bytes_of(r, n->out[i]);
  it->moved /= (double)r->s->batch;
  if (ifd_node_is_any(n->node, "Concat Split")) it->joined = it->moved;
  r->weights += it->fixed;
  return count_macs(r, it);
}

/* Items in order, behind what no sample takes part in. */
static ifd_status find_items(slicer *r) {
  ifd_slicing *s = r->s;
  int n_slots = s->program->n_slots, n_free = 0;
  marks m;
  bool *moves;
  ALLOC(r->err, m.moves, ifd_new_array(r->scratch, bool, n_slots));
  ALLOC(r->err, m.carried, ifd_new_array(r->scratch, bool, n_slots));
  ALLOC(r->err, m.role, ifd_new_array(r->scratch, uint8_t, n_slots));
  ALLOC(r->err, r->sorted, ifd_new_array(r->scratch, ifd_draft, s->n_drafts));
  ALLOC(r->err, moves, ifd_new_array(r->scratch, bool, s->n_drafts));
  ALLOC(r->err, r->items, ifd_new_array(r->scratch, item, s->n_drafts));
  for (int i = 0; i < s->program->n_inputs; i++) {
    int slot = s->program->inputs[i];
    m.moves[slot] =
        s->slots[slot].place == IFD_PLACE_INPUT &&
        (!s->slots[slot].tensor.dtype || ifd_batch_divides(&s->slots[slot].tensor.shape, s->batch));
  }
  for (int k = 0; k < s->n_drafts; k++) {
    ifd_draft *d = &s->drafts[k];
    bool passes = false;
    if (!(moves[k] = is_moved(r, &m, d->n))) {
      n_free++;
      continue;
    }
    TRY(find_roles(r, &m, d, &passes));
    mark(&m, d, passes);
    r->items[r->n_items++].passes = passes;
  }
  for (int k = 0, first = 0, later = n_free; k < s->n_drafts; k++)
    r->sorted[moves[k] ? later++ : first++] = s->drafts[k];
  for (int i = 0; i < r->n_items; i++) {
    r->items[i].draft = &r->sorted[n_free + i];
    TRY(measure(r, &r->items[i]));
  }
  return IFD_OK;
}

/* ---- what lies between steps ---- */

/* A sample's values that are made up to an item and read after it; results lie in memory anyway. */
static ifd_status count_live(slicer *r) {
  const ifd_slicing *s = r->s;
  int n_slots = s->program->n_slots, *made, *read;
  ALLOC(r->err, made, ifd_new_array(r->scratch, int, n_slots));
  ALLOC(r->err, read, ifd_new_array(r->scratch, int, n_slots));
  for (int i = 0; i < r->n_items; i++) {
    const ifd_program_node *n = r->items[i].draft->n;
    for (int k = 0; k < n->node->n_outputs; k++)
      if (n->out[k] >= 0) made[n->out[k]] = i + 1;
    for (int k = 0; k < n->node->n_inputs; k++)
      if (n->in[k] >= 0) read[s->base[n->in[k]]] = i + 1;
    for (int k = 0; k < n->n_reads; k++) read[s->base[n->reads[k]]] = i + 1;
  }
  for (int slot = 0; slot < n_slots; slot++) {
    if (!made[slot] || read[slot] <= made[slot] || s->is_output[slot]) continue;
    double bytes = bytes_of(r, slot) / (double)s->batch;
    r->items[made[slot] - 1].live += bytes;
    r->items[read[slot] - 1].live -= bytes;
  }
  for (int i = 1; i < r->n_items; i++) r->items[i].live += r->items[i - 1].live;
  return IFD_OK;
}

/* ---- the sizes of slices ---- */

/* Seconds to bring a byte to the core when so many are in use. */
static double price(const slicer *r, double in_use) {
  double near = (double)r->caches.near, far = (double)r->caches.far;
  double past_near = (in_use - near / 2) / near, past_far = (in_use - far / 2) / far;
  past_near = past_near < 0 ? 0 : past_near > 1 ? 1 : past_near;
  past_far = past_far < 0 ? 0 : past_far > 1 ? 1 : past_far;
  return past_near / bytes_near + past_far / bytes_far;
}

static double seconds_of(const slicer *r, const item *it, int64_t rows) {
  double n = (double)ifd_ceil_div(r->s->batch, rows), samples = n * (double)rows;
  double copied = rows > 1 ? it->joined / bytes_copied : 0;
  return samples * (it->macs / macs_in + copied + it->moved * price(r, (double)rows * it->moved)) +
         n * (it->fixed * price(r, r->weights) + step_seconds);
}

/* Of values of the whole batch that one size leaves to another: written and read. */
static double seconds_between(const slicer *r, const item *it) {
  double bytes = (double)r->s->batch * it->live;
  return 2 * bytes * price(r, bytes);
}

/* Numbers that cut the batch into nearly equal slices. */
static void list_sizes(slicer *r) {
  int64_t batch = r->s->batch;
  for (int64_t rows = 1; rows < batch && r->n_sizes < MOST_SIZES - 1; rows *= 2) {
    int64_t even = ifd_ceil_div(batch, ifd_ceil_div(batch, rows));
    if (!r->n_sizes || r->sizes[r->n_sizes - 1] != even) r->sizes[r->n_sizes++] = even;
  }
  if (r->sizes[r->n_sizes - 1] != batch) r->sizes[r->n_sizes++] = batch;
}

static ifd_status choose_sizes(slicer *r) {
  int all = r->n_sizes - 1;
  double cost[MOST_SIZES] = {0}, whole = 0;
  ALLOC(r->err, r->before, ifd_arena_alloc(r->scratch, (size_t)r->n_items * sizeof *r->before));
  for (int i = 0; i < r->n_items; i++) {
    const item *it = &r->items[i];
    double next[MOST_SIZES], change = i ? seconds_between(r, it - 1) : 0;
    int least = 0;
    for (int k = 1; k <= all; k++)
      if (cost[k] <= cost[least]) least = k;
    for (int k = 0; k <= all; k++) {
      bool stay = cost[k] <= cost[least] + change;
      r->before[i][k] = (uint8_t)(stay ? k : least);
      next[k] = it->passes || k == all
                    ? (stay ? cost[k] : cost[least] + change) + seconds_of(r, it, r->sizes[k])
                    : DBL_MAX / 4;
    }
    memcpy(cost, next, sizeof next);
    whole += seconds_of(r, it, r->sizes[all]);
  }
  int at = all;
  for (int k = 0; k < all; k++)
    if (cost[k] < cost[at]) at = k;
  if (cost[at] > whole * (1 - least_gain)) return IFD_OK;
  for (int i = r->n_items - 1; i >= 0; i--) {
    r->items[i].best = (uint8_t)at;
    at = r->before[i][at];
  }
  return IFD_OK;
}

/* ---- regions ---- */

static ifd_status make_regions(slicer *r) {
  ifd_slicing *s = r->s;
  int all = r->n_sizes - 1, before = all;
  ALLOC(r->err, s->regions, ifd_new_array(r->scratch, ifd_region, r->n_items));
  for (int i = 0; i < r->n_items; before = r->items[i++].best) {
    int k = r->items[i].best;
    if (k == all) continue;
    int64_t rows = r->sizes[k];
    if (k != before)
      s->regions[s->n_regions++] =
          (ifd_region){.batch = s->batch, .rows = rows, .n_slices = (int)ifd_ceil_div(s->batch, rows)};
    r->items[i].draft->region = s->n_regions - 1;
  }
  return IFD_OK;
}

enum { NOBODY = -1, SEVERAL = -2 };

static void see(ifd_slicing *s, int slot, int region) {
  if (slot < 0) return;
  int *owner = &s->region_of[s->base[slot]];
  if (*owner != region) *owner = SEVERAL;
}

/* What one region makes and nobody else reads. */
static void find_owners(ifd_slicing *s) {
  for (int k = 0; k < s->program->n_slots; k++) s->region_of[k] = NOBODY;
  for (int k = 0; k < s->n_drafts; k++) {
    const ifd_draft *d = &s->drafts[k];
    for (int i = 0; i < d->n->node->n_outputs; i++)
      if (d->n->out[i] >= 0) s->region_of[d->n->out[i]] = s->is_output[d->n->out[i]] ? SEVERAL : d->region;
    for (int i = 0; i < d->n->node->n_inputs; i++) see(s, d->n->in[i], d->region);
    for (int i = 0; i < d->n->n_reads; i++) see(s, d->n->reads[i], NOBODY);
  }
  for (int k = 0; k < s->program->n_slots; k++) {
    int owner = s->region_of[s->base[k]];
    if (s->base[k] != k) s->region_of[k] = owner < 0 ? NOBODY : owner;
  }
  for (int k = 0; k < s->program->n_slots; k++)
    if (s->region_of[k] < 0) s->region_of[k] = NOBODY;
}

static void shape_values(ifd_slicing *s) {
  for (int k = 0; k < s->program->n_slots; k++) {
    ifd_slot *slot = &s->slots[k];
    if (s->region_of[k] < 0 || !ifd_batch_divides(&slot->tensor.shape, s->batch)) continue;
    slot->tensor.shape = ifd_batch_part(&slot->tensor.shape, s->batch, s->regions[s->region_of[k]].rows);
    slot->bytes = ifd_tensor_bytes(&slot->tensor);
    if (slot->place == IFD_PLACE_SLAB) slot->place = IFD_PLACE_PART;
  }
}

ifd_status ifd_slice_batch(ifd_error *err, ifd_slicing *s, ifd_arena *scratch) {
  const ifd_program *p = s->program;
  slicer r = {.err = err, .s = s, .scratch = scratch, .caches = p->options.caches};
  for (int k = 0; k < s->n_drafts; k++) s->drafts[k].region = -1;
  s->n_regions = 0;
  ALLOC(err, s->region_of, ifd_new_array(scratch, int, p->n_slots));
  for (int k = 0; k < p->n_slots; k++) s->region_of[k] = NOBODY;
  s->batch = find_batch(s);
  if (s->batch < 2 || p->parent || p->options.reference || p->options.float64) return IFD_OK;
  TRY(find_items(&r));
  TRY(count_live(&r));
  list_sizes(&r);
  for (int i = 0; i < r.n_items; i++) r.items[i].best = (uint8_t)(r.n_sizes - 1);
  TRY(choose_sizes(&r));
  TRY(make_regions(&r));
  if (!s->n_regions) return IFD_OK;
  s->drafts = r.sorted;
  find_owners(s);
  shape_values(s);
  return IFD_OK;
}
