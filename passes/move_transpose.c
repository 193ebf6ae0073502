#include "pass/cut.h"
#include "pass/inline.h"
#include "pass/order.h"

#include <stdlib.h>

/* Transposes move along operators that can work on reordered images, where that leaves fewer of them: those
 * around the convolutions of channels-last exports meet and vanish.
 *
 * From a Transpose on, a region grows of values that could be kept reordered, and of the nodes that make or
 * read them and could work so. Each node is to work on images as they are (side zero) or reordered (side
 * one). A value made on one side and read on the other takes a Transpose; Transposes that give or take the
 * reordered value are on side one for free, everything outside of the region is on side zero. The least cut
 * says where the fewest Transposes stand. */

typedef struct image {
  ifd_value *v;
  ifd_order order;      /* v = Transpose(reordered, order) */
  ifd_value *reordered; /* once it is there */
} image;

typedef struct member {
  ifd_node *node;
  int id; /* of node */
  ifd_reordering r;
  ifd_node *made; /* node as it works on side one */
  int vertex;
  bool excluded; /* two of its values disagree in order: stays on side zero */
} member;

typedef struct region {
  ifd_rewrite *rw;
  ifd_graph *graph;
  ifd_cut cut;
  ifd_order seed;
  int n_values, n_nodes;         /* of the tables below, by id: what was made since is not in them */
  int *image_at, *member_at;     /* index + 1, 0: none */
  bool *gives_done, *takes_done; /* Transposes that have been in a region as its givers, takers */
  IFD_VEC(image) images;
  IFD_VEC(member) members;
  long work; /* left, of all regions of this graph */
} region;

/* ---- growing ---- */

static image *find_image(const region *g, const ifd_value *v) {
  int at = v && v->id < g->n_values ? g->image_at[v->id] : 0;
  return at ? &g->images.v[at - 1] : NULL;
}

static member *find_member(const region *g, const ifd_node *node) {
  int at = node && node->id < g->n_nodes ? g->member_at[node->id] : 0;
  return at ? &g->members.v[at - 1] : NULL;
}

static ifd_status add_image(region *g, ifd_value *v, const ifd_order *o) {
  image i = {v, *o, NULL};
  if (!v || v->id >= g->n_values || !o->rank || find_image(g, v)) return IFD_OK;
  IFD_PUSH(ifd_rw_error(g->rw), ifd_rw_scratch(g->rw), &g->images, i);
  g->image_at[v->id] = g->images.n;
  return IFD_OK;
}

/* Transpose(reordered, order) itself. */
static bool gives(region *g, const ifd_node *node, const ifd_order *o) {
  ifd_order own;
  return node && ifd_node_is(node, "Transpose") && ifd_value_n_readers(node->outputs[0]) &&
         ifd_order_of(g->rw, node, &own) && ifd_order_equal(&own, o);
}

/* Gives back what is reordered. */
static bool takes(region *g, const ifd_node *node, const ifd_order *o) {
  ifd_order back = ifd_order_inverse(o);
  return gives(g, node, &back);
}

static const ifd_order *slot_order(const member *m, bool is_output, int slot) {
  return is_output ? &m->r.out[slot] : &m->r.in[slot];
}

static ifd_status try_member(region *g, ifd_node *node, bool is_output, int slot, const ifd_order *o) {
  member m = {.node = node, .id = node->id}, *known = find_member(g, node);
  bool found;
  if (known) {
    if (!ifd_order_equal(slot_order(known, is_output, slot), o)) known->excluded = true;
    return IFD_OK;
  }
  if (node->id >= g->n_nodes || node->graph != g->graph) return IFD_OK;
  TRY(ifd_reordering_find(g->rw, &m.r, node, is_output, slot, o, &found));
  if (!found || !ifd_order_equal(slot_order(&m, is_output, slot), o)) return IFD_OK;
  IFD_PUSH(ifd_rw_error(g->rw), ifd_rw_scratch(g->rw), &g->members, m);
  g->member_at[node->id] = g->members.n;
  for (int i = 0; i < node->n_inputs; i++) TRY(add_image(g, node->inputs[i], &m.r.in[i]));
  for (int i = 0; i < node->n_outputs; i++) TRY(add_image(g, node->outputs[i], &m.r.out[i]));
  return IFD_OK;
}

static ifd_status grow_at(region *g, ifd_value *v, ifd_order o) {
  ifd_node *maker = v->graph == g->graph ? v->producer : NULL;
  g->work -= 1 + v->uses.n;
  if (maker && gives(g, maker, &o) && maker->id < g->n_nodes)
    g->gives_done[maker->id] = true;
  else if (maker)
    TRY(try_member(g, maker, true, v->output, &o));
  for (int i = 0; i < v->uses.n; i++) {
    ifd_node *reader = v->uses.v[i].node;
    if (reader->graph != g->graph || reader->id >= g->n_nodes) continue;
    if (takes(g, reader, &o))
      g->takes_done[reader->id] = true;
    else
      TRY(try_member(g, reader, false, v->uses.v[i].index, &o));
  }
  return IFD_OK;
}

/* A member and a value it holds may disagree in order when the value was met another way first. */
static void exclude_disagreeing(region *g) {
  for (int k = 0; k < g->members.n; k++) {
    member *m = &g->members.v[k];
    for (int side = 0; side < 2; side++)
      for (int i = 0; i < (side ? m->node->n_outputs : m->node->n_inputs); i++) {
        const ifd_order *o = slot_order(m, side, i);
        const image *image = find_image(g, side ? m->node->outputs[i] : m->node->inputs[i]);
        if (o->rank && !(image && ifd_order_equal(&image->order, o))) m->excluded = true;
      }
  }
}

static ifd_status grow(region *g, ifd_value *v, const ifd_order *o) {
  TRY(add_image(g, v, o));
  for (int i = 0; i < g->images.n; i++) TRY(grow_at(g, g->images.v[i].v, g->images.v[i].order));
  exclude_disagreeing(g);
  return IFD_OK;
}

/* ---- choosing sides ---- */

static int vertex_of_maker(region *g, const image *i) {
  const ifd_node *maker = i->v->graph == g->graph ? i->v->producer : NULL;
  const member *m = find_member(g, maker);
  if (m) return m->vertex;
  return gives(g, maker, &i->order) ? IFD_CUT_ONE : IFD_CUT_ZERO;
}

static int vertex_of_reader(region *g, const image *i, const ifd_use *use) {
  const member *m = use->node->graph == g->graph ? find_member(g, use->node) : NULL;
  if (m && m->r.in[use->index].rank) return m->vertex;
  return !m && use->node->graph == g->graph && takes(g, use->node, &i->order) ? IFD_CUT_ONE : IFD_CUT_ZERO;
}

/* A Transpose for this value when it is made on side zero and read on side one, and another one for the other
 * way around; *now counts those that stand while all is on side zero. */
static ifd_status price_image(region *g, const image *i, long *now) {
  ifd_cut *cut = &g->cut;
  int maker = vertex_of_maker(g, i), one, zero;
  bool read_by_one = false, read_by_zero = i->v->n_outputs > 0;
  TRY(ifd_cut_add_vertex(cut, &one));
  TRY(ifd_cut_add_vertex(cut, &zero));
  TRY(ifd_cut_add_edge(cut, one, maker, 1));
  TRY(ifd_cut_add_edge(cut, maker, zero, 1));
  if (i->v->n_outputs) TRY(ifd_cut_add_edge(cut, zero, IFD_CUT_ZERO, IFD_CUT_NEVER));
  for (int k = 0; k < i->v->uses.n; k++) {
    const ifd_use *use = &i->v->uses.v[k];
    if (i->v->graph != g->graph && use->node->graph != g->graph) continue;
    int reader = vertex_of_reader(g, i, use);
    TRY(ifd_cut_add_edge(cut, reader, one, IFD_CUT_NEVER));
    TRY(ifd_cut_add_edge(cut, zero, reader, IFD_CUT_NEVER));
    read_by_one |= reader == IFD_CUT_ONE;
    read_by_zero |= reader != IFD_CUT_ONE;
  }
  *now += maker == IFD_CUT_ONE ? read_by_zero : read_by_one;
  return IFD_OK;
}

/* Whether the least cut saves a Transpose; *is_one says for each vertex on which side it is best. */
static ifd_status choose(region *g, const bool **is_one, bool *saves) {
  long now = 0, least;
  TRY(ifd_cut_init(&g->cut, ifd_rw_error(g->rw), ifd_rw_scratch(g->rw)));
  for (int k = 0; k < g->members.n; k++) {
    member *m = &g->members.v[k];
    TRY(ifd_cut_add_vertex(&g->cut, &m->vertex));
    if (m->excluded) TRY(ifd_cut_add_edge(&g->cut, m->vertex, IFD_CUT_ZERO, IFD_CUT_NEVER));
  }
  for (int i = 0; i < g->images.n; i++) TRY(price_image(g, &g->images.v[i], &now));
  TRY(ifd_cut_solve(&g->cut, &least, is_one));
  *saves = least < now;
  return IFD_OK;
}

/* ---- rewriting ---- */

/* The reordered form of an image that a node before `before` is to read. */
static ifd_status reordered(region *g, ifd_value **out, image *i, ifd_node *before) {
  ifd_node *node;
  if (!i->reordered && gives(g, i->v->producer, &i->order)) i->reordered = i->v->producer->inputs[0];
  if (!i->reordered) {
    ifd_order back = ifd_order_inverse(&i->order);
    TRY(ifd_order_transpose(g->rw, &node, i->v, &back));
    i->reordered = node->outputs[0];
    TRY(ifd_rw_place(g->rw, before));
  }
  *out = i->reordered;
  return IFD_OK;
}

static ifd_status build(region *g, member *m) {
  const ifd_node *old = m->node;
  ifd_value **inputs;
  ALLOC(ifd_rw_error(g->rw), inputs, ifd_new_array(ifd_rw_scratch(g->rw), ifd_value *, old->n_inputs));
  for (int i = 0; i < old->n_inputs; i++) {
    inputs[i] = old->inputs[i];
    if (m->r.in[i].rank) TRY(reordered(g, &inputs[i], find_image(g, old->inputs[i]), m->node));
  }
  TRY(ifd_reordering_build(g->rw, &m->made, &m->r, inputs));
  TRY(ifd_rw_place(g->rw, m->node));
  for (int i = 0; i < old->n_outputs; i++)
    if (m->r.out[i].rank) find_image(g, old->outputs[i])->reordered = m->made->outputs[i];
  return IFD_OK;
}

/* Transposes that take the reordered value have it already. */
static ifd_status drop_takers(region *g, image *image) {
  for (int k = image->v->uses.n - 1; k >= 0; k--) {
    ifd_node *taker = image->v->uses.v[k].node;
    ifd_value *taken = taker->outputs[0];
    if (taker->graph != g->graph || !takes(g, taker, &image->order)) continue;
    TRY(ifd_splice_outputs(ifd_rw_error(g->rw), taker, &image->reordered));
    if (taken->producer != taker && taken->producer) image->reordered = taken;
    ifd_node_remove(taker);
  }
  return IFD_OK;
}

/* A value that is still read as it was is made by a Transpose. */
static ifd_status finish_output(region *g, member *m, ifd_value *v) {
  image *image = find_image(g, v);
  ifd_node *transpose;
  TRY(drop_takers(g, image));
  if (!ifd_value_n_readers(v)) return IFD_OK;
  TRY(ifd_order_transpose(g->rw, &transpose, image->reordered, &image->order));
  TRY(ifd_node_set_output(ifd_rw_error(g->rw), transpose, 0, v));
  return ifd_rw_place(g->rw, m->made->next);
}

static ifd_status finish(region *g, member *m, ifd_value *const *outputs) {
  ifd_error *err = ifd_rw_error(g->rw);
  for (int i = 0; i < m->made->n_outputs; i++) {
    if (outputs[i] && m->r.out[i].rank) {
      TRY(finish_output(g, m, outputs[i]));
    } else {
      TRY(ifd_node_set_output(err, m->made, i, NULL));
      TRY(ifd_node_set_output(err, m->made, i, outputs[i]));
    }
  }
  return ifd_infer_node(ifd_rw_inference(g->rw), m->made);
}

static int by_place(const void *a, const void *b) {
  long x = (*(member *const *)a)->node->rank, y = (*(member *const *)b)->node->rank;
  return (x > y) - (x < y);
}

/* Constants that stay as they are for others, too, are there twice then. */
static bool may_grow(region *g, member *const *chosen, int n) {
  int64_t bytes = 0;
  for (int k = 0; k < n; k++)
    for (int i = 0; i < chosen[k]->node->n_inputs; i++) {
      const ifd_value *v = chosen[k]->node->inputs[i];
      const ifd_tensor *c = ifd_rw_constant(g->rw, v);
      if (c && ifd_value_n_readers(v) > 1 && ifd_tensor_count(c) > 1) bytes += (int64_t)ifd_tensor_bytes(c);
    }
  return ifd_rw_may_grow(g->rw, bytes);
}

static ifd_status rewrite(region *g, const bool *is_one) {
  ifd_error *err = ifd_rw_error(g->rw);
  ifd_arena *scratch = ifd_rw_scratch(g->rw);
  member **chosen;
  ifd_value ***outputs;
  int n = 0;
  ALLOC(err, chosen, ifd_new_array(scratch, member *, g->members.n + 1));
  ALLOC(err, outputs, ifd_new_array(scratch, ifd_value **, g->members.n + 1));
  for (int k = 0; k < g->members.n; k++)
    if (is_one[g->members.v[k].vertex]) chosen[n++] = &g->members.v[k];
  if (!may_grow(g, chosen, n)) return IFD_OK;
  qsort(chosen, (size_t)n, sizeof *chosen, by_place);
  for (int k = 0; k < n; k++) TRY(build(g, chosen[k]));
  for (int k = n - 1; k >= 0; k--) {
    ifd_node *old = chosen[k]->node;
    ALLOC(err, outputs[k],
          ifd_arena_memdup(scratch, old->outputs, (size_t)old->n_outputs * sizeof *old->outputs));
    ifd_node_remove(old);
  }
  for (int k = 0; k < n; k++) TRY(finish(g, chosen[k], outputs[k]));
  for (int i = 0; i < g->images.n; i++) /* Transposes that nobody reads any more */
    if (g->images.v[i].v->producer) TRY(ifd_rw_remove_dead(g->rw, g->images.v[i].v->producer));
  return IFD_OK;
}

/* ---- all regions of a graph ---- */

static void forget(region *g) {
  for (int i = 0; i < g->images.n; i++) g->image_at[g->images.v[i].v->id] = 0;
  for (int k = 0; k < g->members.n; k++) g->member_at[g->members.v[k].id] = 0;
  g->images.n = g->members.n = 0;
}

static ifd_status move_from(region *g, ifd_value *v, const ifd_order *o) {
  const bool *is_one;
  bool saves;
  TRY(grow(g, v, o));
  TRY(choose(g, &is_one, &saves));
  if (saves) TRY(rewrite(g, is_one));
  forget(g);
  return IFD_OK;
}

static ifd_status move_transpose(region *g, ifd_node *t) {
  ifd_order o, back;
  if (!ifd_order_of(g->rw, t, &o) || ifd_order_is_identity(&o)) return IFD_OK;
  if (!g->gives_done[t->id]) TRY(move_from(g, t->outputs[0], &o));
  back = ifd_order_inverse(&o);
  if (t->rank >= 0 && !g->takes_done[t->id]) TRY(move_from(g, t->inputs[0], &back));
  return IFD_OK;
}

static ifd_status snapshot(region *g, ifd_node ***out, int *n) {
  *n = 0;
  ALLOC(ifd_rw_error(g->rw), *out, ifd_new_array(ifd_rw_scratch(g->rw), ifd_node *, g->graph->n_nodes));
  IFD_EACH_NODE(node, g->graph)
  if (ifd_node_is(node, "Transpose") && node->outputs[0]) (*out)[(*n)++] = node;
  return IFD_OK;
}

static ifd_status move(ifd_rewrite *rw, ifd_graph *graph) {
  enum { WORK_PER_NODE = 64 };
  const ifd_model *model = graph->model;
  ifd_error *err = ifd_rw_error(rw);
  ifd_arena *scratch = ifd_rw_scratch(rw);
  region g = {.rw = rw, .graph = graph, .n_values = model->n_values, .n_nodes = model->n_nodes};
  ifd_node **transposes;
  int n;
  TRY(snapshot(&g, &transposes, &n));
  if (!n) return IFD_OK;
  g.work = WORK_PER_NODE * (1000 + (long)graph->n_nodes);
  ALLOC(err, g.image_at, ifd_new_array(scratch, int, g.n_values));
  ALLOC(err, g.member_at, ifd_new_array(scratch, int, g.n_nodes));
  ALLOC(err, g.gives_done, ifd_new_array(scratch, bool, g.n_nodes));
  ALLOC(err, g.takes_done, ifd_new_array(scratch, bool, g.n_nodes));
  for (int i = 0; i < n && g.work > 0; i++)
    if (transposes[i]->rank >= 0) TRY(move_transpose(&g, transposes[i]));
  return IFD_OK;
}

const ifd_pass ifd_pass_move_transpose = {
    .summary = "moves Transposes to where the fewest are left",
    .phase = IFD_PHASE_SIMPLIFY,
    .graph = move,
};
