/* Applying a patch: everything is checked before anything changes. */
#include "pass/manager.h"

#include "ir/verify.h"
#include "ops/shared/signature.h"
#include <stdio.h>
#include <string.h>

/* ---- removal ---- */

void ifd_remove_unread_constant(ifd_manager *m, ifd_value *v) {
  if (!v->constant || ifd_value_n_readers(v) || !ifd_value_constant(v)) return;
  enum { WORTH_IT = 1 << 18 };
  size_t bytes = ifd_tensor_stored_bytes(v->constant);
  if (bytes >= WORTH_IT) ifd_model_let_go(m->model, v->constant->data, bytes);
  m->bytes -= ifd_constant_bytes(v);
  m->dead_bytes += (int64_t)bytes;
  ifd_graph_remove_constant(v);
}

static bool unread(const ifd_node *node) {
  for (int i = 0; i < node->n_outputs; i++)
    if (node->outputs[i] && ifd_value_n_readers(node->outputs[i])) return false;
  return true;
}

ifd_status ifd_remove_dead(ifd_manager *m, ifd_node *node) {
  ifd_arena arena;
  IFD_VEC(ifd_node *) work = {0};
  ifd_values reads = {0};
  ifd_status status = IFD_OK;
  ifd_arena_init(&arena, NULL);
  for (; node && status == IFD_OK; node = work.n ? work.v[--work.n] : NULL) {
    if (node->rank < 0 || !unread(node)) continue;
    reads.n = 0;
    status = ifd_node_add_reads(m->err, &arena, node, &reads);
    if (status != IFD_OK) break;
    m->bytes -= ifd_node_bytes(node);
    m->changes++;
    ifd_node_remove(node);
    for (int i = 0; i < reads.n; i++) {
      ifd_value *v = reads.v[i];
      if (v->producer) {
        if (work.n == work.cap && !(work.v = ifd_vec_grow(&arena, work.v, work.n, &work.cap, sizeof *work.v)))
          status = ifd_error_set(m->err, IFD_NO_MEMORY, "out of memory");
        else
          work.v[work.n++] = v->producer;
      } else
        ifd_remove_unread_constant(m, v);
      if (status != IFD_OK) break;
    }
  }
  ifd_arena_free(&arena);
  return status;
}

/* ---- checks ---- */

/* The node of `graph` inside which `node` stands. */
static const ifd_node *level(const ifd_node *node, const ifd_graph *graph) {
  while (node && node->graph != graph) node = node->graph->owner;
  return node;
}

static bool is_new(const ifd_rewrite *rw, const ifd_node *node) {
  for (int i = 0; i < rw->nodes.n; i++)
    if (rw->nodes.v[i] == node) return true;
  return false;
}

/* The last of `after` and what new nodes read. */
static const ifd_node *last_read(const ifd_rewrite *rw, const ifd_node *after) {
  for (int k = 0; k < rw->nodes.n; k++)
    for (int i = 0; i < rw->nodes.v[k]->n_inputs; i++) {
      const ifd_value *v = rw->nodes.v[k]->inputs[i];
      const ifd_node *p = v && v->graph == rw->root->graph ? v->producer : NULL;
      if (p && !is_new(rw, p) && (!after || p->rank > after->rank)) after = p;
    }
  return after;
}

/* Whether all that reads what is made, new nodes standing behind rank `limit`, stands behind it. */
static bool readers_follow(const ifd_rewrite *rw, long limit) {
  ifd_graph *graph = rw->root->graph;
  for (int k = 0; k < rw->values.n; k++) {
    const ifd_edit_value *e = &rw->values.v[k];
    bool made_here = e->with->producer && is_new(rw, e->with->producer);
    long made = made_here                                      ? limit
                : e->with->graph == graph && e->with->producer ? e->with->producer->rank
                                                               : -1;
    for (int i = 0; i < e->old->uses.n; i++) {
      const ifd_node *reader = level(e->old->uses.v[i].node, graph);
      if (!reader || reader->rank <= made) return false;
    }
  }
  for (int k = 0; k < rw->inputs.n; k++) {
    const ifd_edit_input *e = &rw->inputs.v[k];
    const ifd_node *p = e->with ? e->with->producer : NULL;
    if (!p || p->graph != graph) continue;
    const ifd_node *reader = level(e->reader, graph);
    if (!reader || reader->rank <= (is_new(rw, p) ? limit : p->rank)) return false;
  }
  return true;
}

/* New nodes stand after the last of what they read and after nothing that reads them: before which node is
 * that? Before the root, or as early as can be. */
static bool find_place(const ifd_rewrite *rw, ifd_node **before) {
  const ifd_node *starts[] = {rw->root->prev, NULL};
  for (int i = 0; i < 2; i++) {
    const ifd_node *after = last_read(rw, starts[i]);
    *before = after ? after->next : rw->root->graph->first;
    if (readers_follow(rw, after ? after->rank : -1)) return true;
  }
  return false;
}

/* No contradiction: same kind, element type and rank, and no two different numbers for one dimension. */
static bool agree(const ifd_type *a, const ifd_type *b) {
  if (a->kind == IFD_KIND_UNKNOWN || b->kind == IFD_KIND_UNKNOWN) return true;
  if (a->kind != b->kind) return false;
  if (a->kind != IFD_KIND_TENSOR) return true;
  if (a->dtype && b->dtype && a->dtype != b->dtype) return false;
  if (!a->has_rank || !b->has_rank) return true;
  if (a->rank != b->rank) return false;
  for (int i = 0; i < a->rank; i++)
    if (ifd_dim_is_number(a->dims[i]) && ifd_dim_is_number(b->dims[i]) && a->dims[i] != b->dims[i])
      return false;
  return true;
}

/* A value that exists already can take over the name of a graph output only when it is made by a node
 * here. */
static bool can_rename(const ifd_rewrite *rw, const ifd_edit_value *e) {
  if (!e->old->n_outputs) return true;
  if (e->with->graph != e->old->graph || !e->with->producer || e->with->n_outputs) return false;
  for (int k = 0; k < rw->values.n; k++)
    if (&rw->values.v[k] != e && rw->values.v[k].with == e->with && rw->values.v[k].old->n_outputs)
      return false;
  return true;
}

static ifd_status infer_new(ifd_rewrite *rw) {
  for (int i = 0; i < rw->nodes.n; i++) TRY(ifd_infer_node(&rw->manager->inf, rw->nodes.v[i]));
  return IFD_OK;
}

/* ---- growth ---- */

/* How often the patch leaves a value read, were nothing dead. */
static int readers_after(const ifd_rewrite *rw, const ifd_value *v) {
  int n = ifd_value_n_readers(v);
  for (int k = 0; k < rw->values.n; k++) {
    if (rw->values.v[k].old == v) n = 0;
    if (rw->values.v[k].with == v) n += ifd_value_n_readers(rw->values.v[k].old);
  }
  for (int k = 0; k < rw->inputs.n; k++) {
    const ifd_edit_input *e = &rw->inputs.v[k];
    n += (e->with == v) - (e->reader->inputs[e->index] == v);
  }
  for (int k = 0; k < rw->nodes.n; k++)
    for (int i = 0; i < rw->nodes.v[k]->n_inputs; i++) n += rw->nodes.v[k]->inputs[i] == v;
  return n;
}

/* What dies with the patch: values to look at, and how many of their readers are dead by now. */
typedef struct deaths {
  ifd_rewrite *rw;
  ifd_values suspects, lost; /* lost: one entry a reader */
  int64_t bytes;
} deaths;

static bool is_doomed(const ifd_rewrite *rw, const ifd_node *node) {
  for (int i = 0; i < rw->doomed.n; i++)
    if (rw->doomed.v[i] == node) return true;
  return false;
}

static int readers_left(const deaths *d, const ifd_value *v) {
  int n = readers_after(d->rw, v);
  for (int i = 0; i < d->lost.n; i++) n -= d->lost.v[i] == v;
  return n;
}

static bool dies(const deaths *d, const ifd_node *node) {
  if (!node || is_new(d->rw, node) || is_doomed(d->rw, node)) return false;
  for (int i = 0; i < node->n_outputs; i++)
    if (node->outputs[i] && readers_left(d, node->outputs[i]) > 0) return false;
  return true;
}

static ifd_status bury(deaths *d, ifd_node *node) {
  ifd_error *err = d->rw->manager->err;
  ifd_arena *arena = &d->rw->scratch;
  int first = d->lost.n;
  IFD_PUSH(err, arena, &d->rw->doomed, node);
  d->bytes += ifd_node_bytes(node);
  TRY(ifd_node_add_reads(err, arena, node, &d->lost));
  for (int i = first; i < d->lost.n; i++) IFD_PUSH(err, arena, &d->suspects, d->lost.v[i]);
  return IFD_OK;
}

/* A constant may be suspected once for each reader that it loses: it is freed with the last. */
static bool is_suspected(const deaths *d, const ifd_value *v) {
  for (int i = 0; i < d->suspects.n; i++)
    if (d->suspects.v[i] == v) return true;
  return false;
}

/* Finds the nodes that the patch will leave unread, and the bytes of them and of their constants. */
static ifd_status find_doomed(ifd_rewrite *rw, int64_t *bytes) {
  ifd_manager *m = rw->manager;
  deaths d = {.rw = rw};
  for (int k = 0; k < rw->values.n; k++) IFD_PUSH(m->err, &rw->scratch, &d.suspects, rw->values.v[k].old);
  for (int k = 0; k < rw->inputs.n; k++) {
    ifd_value *v = rw->inputs.v[k].reader->inputs[rw->inputs.v[k].index];
    if (v) IFD_PUSH(m->err, &rw->scratch, &d.suspects, v);
  }
  while (d.suspects.n) {
    ifd_value *v = d.suspects.v[--d.suspects.n];
    if (readers_left(&d, v) > 0) continue;
    if (ifd_value_constant(v)) {
      if (!is_suspected(&d, v)) d.bytes += ifd_constant_bytes(v);
    } else if (dies(&d, v->producer))
      TRY(bury(&d, v->producer));
  }
  *bytes = d.bytes;
  return IFD_OK;
}

static bool is_staged(const ifd_rewrite *rw, const ifd_value *constant) {
  for (int k = 0; k < rw->constants.n; k++)
    if (rw->constants.v[k] == constant) return true;
  return false;
}

/* A constant made here that takes the place, and the name, of what a node made. */
static bool takes_name(const ifd_rewrite *rw, const ifd_edit_value *e) {
  return e->old->producer && e->old->graph == e->with->graph && is_staged(rw, e->with);
}

static int64_t bytes_added(const ifd_rewrite *rw) {
  int64_t bytes = 0;
  for (int k = 0; k < rw->values.n; k++) {
    const ifd_edit_value *e = &rw->values.v[k];
    if (!takes_name(rw, e)) continue;
    e->with->was_node |= ifd_node_is(e->old->producer, "Constant");
    bytes += (int64_t)strlen(e->old->name) - (int64_t)strlen(e->with->name);
  }
  for (int i = 0; i < rw->nodes.n; i++) bytes += ifd_node_bytes(rw->nodes.v[i]);
  for (int i = 0; i < rw->constants.n; i++) bytes += ifd_constant_bytes(rw->constants.v[i]);
  return bytes;
}

/* ---- provenance ---- */

static const char *label(const ifd_node *n) {
  if (n->provenance) return n->provenance;
  if (*n->name) return n->name;
  for (int i = 0; i < n->n_outputs; i++)
    if (n->outputs[i]) return n->outputs[i]->name;
  return n->op_type;
}

static bool has_name(const char *list, const char *name, size_t len) {
  for (const char *at = list; at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL)
    if (strcspn(at, ",") == len && strncmp(at, name, len) == 0) return true;
  return false;
}

/* The names of `list` that *to lacks, behind those it has; "…" stands for the rest of very many. */
static ifd_status add_names(ifd_manager *m, const char **to, const char *list) {
  enum { LONGEST = 1 << 10 };
  for (const char *at = list; at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL) {
    const char *name = *to && strlen(*to) > LONGEST ? "…" : at;
    size_t len = strcspn(name, ",");
    if (!len || (*to && has_name(*to, name, len))) continue;
    ALLOC(m->err, *to,
          ifd_arena_printf(&m->model->arena, "%s%s%.*s", *to ? *to : "", *to ? "," : "", (int)len, name));
  }
  return IFD_OK;
}

/* New nodes come from all that dies for them, named in the order of the graph. */
static ifd_status note_provenance(ifd_rewrite *rw) {
  ifd_manager *m = rw->manager;
  const char *from = NULL;
  for (long last = -1;;) {
    const ifd_node *next = NULL;
    for (int i = 0; i < rw->doomed.n; i++) {
      const ifd_node *n = rw->doomed.v[i];
      if (n->graph == rw->root->graph && n->rank > last && (!next || n->rank < next->rank)) next = n;
    }
    if (!next) break;
    last = next->rank;
    TRY(add_names(m, &from, label(next)));
  }
  for (int k = 0; from && k < rw->nodes.n; k++)
    if (strcmp(rw->nodes.v[k]->name, from) != 0) rw->nodes.v[k]->provenance = from;
  return IFD_OK;
}

/* ---- applying ---- */

/* A fresh value's node makes the old value instead: its name, readers and place among the outputs stay. */
static ifd_status take_over(ifd_rewrite *rw, ifd_value *old, ifd_value *with) {
  ifd_error *err = rw->manager->err;
  ifd_node *maker = with->producer;
  int output = with->output;
  if (old->producer) TRY(ifd_node_set_output(err, old->producer, old->output, NULL));
  TRY(ifd_value_replace(err, with, old, false));
  for (int k = 0; k < rw->nodes.n; k++)
    for (int i = 0; i < rw->nodes.v[k]->n_inputs; i++)
      if (rw->nodes.v[k]->inputs[i] == with) rw->nodes.v[k]->inputs[i] = old;
  for (int k = 0; k < rw->values.n; k++)
    if (rw->values.v[k].with == with) rw->values.v[k].with = old;
  for (int k = 0; k < rw->inputs.n; k++)
    if (rw->inputs.v[k].with == with) rw->inputs.v[k].with = old;
  return ifd_node_set_output(err, maker, output, old);
}

static ifd_status take_name(ifd_rewrite *rw, ifd_value *old, ifd_value *with) {
  const char *name = with->name;
  ifd_map *names = &with->graph->values;
  EXPECT(rw->manager->err, ifd_map_set(names, old->name, with) && ifd_map_set(names, name, old), NO_MEMORY,
         "out of memory");
  with->name = old->name;
  old->name = name;
  /* The node that goes is counted with the name it has now. */
  rw->manager->bytes += (int64_t)strlen(old->name) - (int64_t)strlen(with->name);
  return IFD_OK;
}

static ifd_status replace_value(ifd_rewrite *rw, ifd_edit_value *e) {
  ifd_value *old = e->old, *with = e->with;
  if (old == with) return IFD_OK;
  if (takes_name(rw, e)) TRY(take_name(rw, old, with));
  bool fresh = with->producer && is_new(rw, with->producer) && old->producer && old->graph == with->graph;
  if (fresh || old->n_outputs) return take_over(rw, old, with);
  return ifd_value_replace(rw->manager->err, old, with, false);
}

static ifd_status count_reads(ifd_rewrite *rw, ifd_node *node) {
  for (int i = 0; i < node->n_inputs; i++) {
    ifd_value *v = node->inputs[i];
    node->inputs[i] = NULL;
    TRY(ifd_node_set_input(rw->manager->err, node, i, v));
  }
  return IFD_OK;
}

bool ifd_rw_may_grow(const ifd_rewrite *rw, int64_t bytes) {
  const ifd_manager *m = rw->manager;
  bool may = m->options->grow || bytes <= 0 || m->bytes + bytes <= m->bytes_allowed;
  m->report->would_grow |= !may;
  return may;
}

static ifd_status place_constants(ifd_rewrite *rw) {
  for (int k = 0; k < rw->constants.n; k++) {
    ifd_value *v = rw->constants.v[k];
    const ifd_tensor *t = v->constant;
    v->constant = NULL;
    TRY(ifd_graph_add_constant(rw->manager->err, v->graph, v, t));
  }
  return IFD_OK;
}

ifd_status ifd_rw_place(ifd_rewrite *rw, ifd_node *before) {
  rw->manager->bytes += bytes_added(rw);
  TRY(place_constants(rw));
  for (int k = 0; k < rw->nodes.n; k++) {
    ifd_node_insert(rw->nodes.v[k], before);
    TRY(count_reads(rw, rw->nodes.v[k]));
    TRY(ifd_infer_node(&rw->manager->inf, rw->nodes.v[k]));
  }
  rw->manager->changes++;
  rw->nodes.n = rw->constants.n = 0;
  return IFD_OK;
}

static ifd_status commit(ifd_rewrite *rw, ifd_node *before) {
  ifd_manager *m = rw->manager;
  IFD_VEC(ifd_node *) suspects = {0};
  for (int k = 0; k < rw->values.n; k++)
    if (rw->values.v[k].old->producer)
      IFD_PUSH(m->err, &rw->scratch, &suspects, rw->values.v[k].old->producer);
  for (int k = 0; k < rw->inputs.n; k++) {
    ifd_value *v = rw->inputs.v[k].reader->inputs[rw->inputs.v[k].index];
    if (v && v->producer) IFD_PUSH(m->err, &rw->scratch, &suspects, v->producer);
  }
  m->bytes += bytes_added(rw);
  TRY(place_constants(rw));
  for (int k = 0; k < rw->nodes.n; k++) ifd_node_insert(rw->nodes.v[k], before);
  for (int k = 0; k < rw->values.n; k++) TRY(replace_value(rw, &rw->values.v[k]));
  for (int k = 0; k < rw->nodes.n; k++) TRY(count_reads(rw, rw->nodes.v[k]));
  for (int k = 0; k < rw->inputs.n; k++) {
    const ifd_edit_input *e = &rw->inputs.v[k];
    ifd_value *was = e->reader->inputs[e->index];
    TRY(ifd_node_set_input(m->err, e->reader, e->index, e->with));
    if (was && !was->producer) ifd_remove_unread_constant(m, was);
  }
  for (int k = 0; k < suspects.n; k++) TRY(ifd_remove_dead(m, suspects.v[k]));
  for (int k = 0; k < rw->constants.n; k++) ifd_remove_unread_constant(m, rw->constants.v[k]);
  return IFD_OK;
}

void ifd_patch_drop(ifd_rewrite *rw) {
  for (int k = 0; k < rw->nodes.n; k++)
    for (int i = 0; i < rw->nodes.v[k]->n_outputs; i++)
      if (rw->nodes.v[k]->outputs[i])
        (void)ifd_map_set(&rw->root->graph->values, rw->nodes.v[k]->outputs[i]->name, NULL);
  for (int k = 0; k < rw->constants.n; k++)
    (void)ifd_map_set(&rw->root->graph->values, rw->constants.v[k]->name, NULL);
}

/* A BatchNormalization that dies and does not come back with its parameters, or NULL. */
static const ifd_node *lost_batch_norm(const ifd_rewrite *rw) {
  for (int i = 0; i < rw->doomed.n; i++) {
    const ifd_node *bn = rw->doomed.v[i];
    bool back = false;
    if (!ifd_node_is(bn, "BatchNormalization")) continue;
    for (int k = 0; k < rw->nodes.n && !back; k++) {
      const ifd_node *n = rw->nodes.v[k];
      back = ifd_node_is(n, "BatchNormalization") && n->n_inputs == bn->n_inputs &&
             memcmp(n->inputs + 1, bn->inputs + 1, (size_t)(bn->n_inputs - 1) * sizeof *bn->inputs) == 0;
    }
    if (!back) return bn;
  }
  return NULL;
}

/* A new node that does not take what it reads, at the version of its operator, or NULL. */
static const ifd_node *find_misfit(ifd_rewrite *rw) {
  for (int k = 0; k < rw->nodes.n; k++) {
    const ifd_node *n = rw->nodes.v[k];
    for (int i = 0; i < n->n_inputs; i++)
      if (n->inputs[i] && !ifd_signature_allows(n, i, ifd_rw_facts(rw, n->inputs[i])->type)) return n;
  }
  return NULL;
}

/* A file keeps an operator that others may not know, rather than have several for it. */
static bool spells_out(const ifd_rewrite *rw) {
  const ifd_optimize_options *o = rw->manager->options;
  return rw->pass->pass->defines && !o->for_running && !o->grow && rw->nodes.n > rw->doomed.n;
}

ifd_status ifd_patch_apply(ifd_rewrite *rw, bool *applied) {
  ifd_manager *m = rw->manager;
  ifd_node *before;
  int64_t freed;
  *applied = false;
  if (!rw->values.n && !rw->inputs.n) return IFD_OK;
  TRY(infer_new(rw));
  for (int k = 0; k < rw->values.n; k++) {
    const ifd_edit_value *e = &rw->values.v[k];
    if (!agree(ifd_rw_facts(rw, e->old)->type, ifd_rw_facts(rw, e->with)->type))
      return ifd_rw_refuse(rw, "the new value would have another type");
    if (!can_rename(rw, e))
      return ifd_rw_refuse(rw, "'%s' is an output of the graph and must keep its name", e->old->name);
  }
  const ifd_node *misfit = find_misfit(rw);
  if (misfit)
    return ifd_rw_refuse(rw, "%s of opset %d does not take such elements", misfit->op_type, misfit->opset);
  if (!find_place(rw, &before))
    return ifd_rw_refuse(
        rw, "no place in the order of nodes has what the new ones read and precedes their readers");
  TRY(find_doomed(rw, &freed));
  if (spells_out(rw))
    return ifd_rw_refuse(rw, "it would be %d operators of ONNX (--grow allows it)", rw->nodes.n);
  const ifd_node *bn = m->options->keep_bn ? lost_batch_norm(rw) : NULL;
  if (bn && bn == rw->root) return ifd_rw_refuse(rw, "it is to be kept (--keep-bn)");
  if (bn) return ifd_rw_refuse(rw, "BatchNormalization '%s' is to be kept (--keep-bn)", label(bn));
  if (m->options->provenance) TRY(note_provenance(rw));
  int64_t growth = bytes_added(rw) - freed;
  if (!ifd_rw_may_grow(rw, growth))
    return ifd_rw_refuse(rw, "the file would grow by %lld bytes (--grow allows it)", (long long)growth);
  *applied = true;
  TRY(commit(rw, before));
  if (m->options->verify) {
    ifd_status status = ifd_verify_model(m->err, m->model);
    if (status != IFD_OK) ifd_error_add(m->err, "after pass %s", rw->pass->name);
    return status;
  }
  return IFD_OK;
}
