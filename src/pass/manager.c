#include "pass/manager.h"

#include "ir/verify.h"

#include <stdio.h>
#include <string.h>

#define X(name) extern const ifd_pass ifd_pass_##name;
#include "passes.inc"
#undef X

const ifd_pass_entry ifd_passes[] = {
#define X(name) {#name, &ifd_pass_##name},
#include "passes.inc"
#undef X
    {0}};

enum { N_PASSES = sizeof ifd_passes / sizeof *ifd_passes - 1, MAX_SWEEPS = 200 };

/* A rule, and the next one of the same operator and phase, in order of passes. */
typedef struct rooted {
  struct rooted *next;
  const ifd_pass_entry *pass;
  const ifd_rule *rule;
} rooted;

/* The rules that are rooted at an operator. */
typedef struct root {
  struct root *next; /* of the same bucket */
  const char *name;  /* len letters of a rule's roots */
  size_t len;
  rooted *rules[IFD_N_PHASES];
} root;

typedef struct rules {
  ifd_arena arena;
  root *buckets[256];
  rooted *any[IFD_N_PHASES]; /* for every operator */
} rules;

/* The nodes of one graph that a sweep comes to. */
typedef struct agenda {
  ifd_arena arena;
  IFD_VEC(ifd_node *) nodes;
} agenda;

typedef struct sweep {
  ifd_manager *m;
  const rules *rules;
  int current;
  agenda *agenda; /* of the graph it is in */
  int depth;      /* of nodes made while others, made by rules too, are visited */
} sweep;

/* ---- which passes run ---- */

static bool listed(const char *const *names, const char *name) {
  for (; names && *names; names++)
    if (strcmp(*names, name) == 0) return true;
  return false;
}

static bool enabled(const ifd_optimize_options *o, const ifd_pass_entry *p) {
  if (listed(o->skip, p->name)) return false;
  return o->only ? listed(o->only, p->name) : !p->pass->on_request || listed(o->request, p->name);
}

static ifd_status check_names(ifd_error *err, const char *const *names) {
  for (; names && *names; names++) {
    bool known = false;
    for (const ifd_pass_entry *p = ifd_passes; p->name; p++) known |= strcmp(p->name, *names) == 0;
    EXPECT(err, known, USAGE, "there is no pass '%s' (infold passes lists them)", *names);
  }
  return IFD_OK;
}

static ifd_status put_first(ifd_error *err, rules *to, rooted **list, const ifd_pass_entry *pass,
                            const ifd_rule *rule) {
  rooted *r;
  ALLOC(err, r, ifd_new(&to->arena, rooted));
  *r = (rooted){.pass = pass, .rule = rule, .next = *list};
  *list = r;
  return IFD_OK;
}

/* Where the root of this name is linked, or is to be: then it is NULL. */
static root **find_root(rules *in, const char *name, size_t len) {
  enum { N_BUCKETS = sizeof in->buckets / sizeof *in->buckets };
  root **link = &in->buckets[ifd_hash_bytes(name, len) % N_BUCKETS];
  while (*link && !((*link)->len == len && memcmp((*link)->name, name, len) == 0)) link = &(*link)->next;
  return link;
}

static rooted *rules_of(const sweep *s, const char *name) {
  const root *found = *find_root((rules *)s->rules, name, strlen(name));
  return found ? found->rules[s->current] : NULL;
}

static ifd_status add_rule(ifd_error *err, rules *to, const ifd_pass_entry *pass, const ifd_rule *rule) {
  const ifd_phase phase = pass->pass->phase;
  if (strcmp(rule->roots, "*") == 0) return put_first(err, to, &to->any[phase], pass, rule);
  for (const char *at = rule->roots; *at;) {
    size_t len = 0;
    while (at[len] && at[len] != ' ') len++;
    root **link = find_root(to, at, len);
    if (!*link) {
      ALLOC(err, *link, ifd_new(&to->arena, root));
      (*link)->name = at, (*link)->len = len;
    }
    TRY(put_first(err, to, &(*link)->rules[phase], pass, rule));
    for (at += len; *at == ' ';) at++;
  }
  return IFD_OK;
}

static ifd_status add_rules(ifd_manager *m, rules *to, const ifd_pass_entry *pass) {
  const ifd_rule *first = pass->pass->rules, *r = first;
  while (r && r->roots) r++;
  while (r != first) {
    r--;
    if (!m->options->exact_only || r->exactness == IFD_EXACT) TRY(add_rule(m->err, to, pass, r));
  }
  return IFD_OK;
}

/* From the last one on: what is put first comes before all others then. */
static ifd_status make_rules(ifd_manager *m, rules *to) {
  const ifd_pass_entry *p = ifd_passes;
  while (p->name) p++;
  while (p != ifd_passes)
    if (enabled(m->options, --p)) TRY(add_rules(m, to, p));
  return IFD_OK;
}

/* ---- memory ---- */

/* Content that was replaced, or computed for what nobody reads any more. */
static ifd_status forget_unread(ifd_manager *m) {
  m->dead_bytes = 0;
  for (int i = 0; i < m->n_known; i++)
    if (m->known[i] && !ifd_value_n_readers(m->known_values[i])) {
      m->known_bytes -= (int64_t)ifd_tensor_bytes(m->known[i]);
      m->known[i] = NULL;
    }
  return ifd_model_collect(m->err, m->model, m->known, m->n_known);
}

/* Fresh pages cost more than most of what passes compute: memory is used again soon, but not so often that
 * the search for what is unread weighs more. */
static ifd_status forget_when_worth_it(ifd_manager *m) {
  enum { FEW = 1 << 22, FOR_EACH_VALUE = 1 << 10 };
  return m->dead_bytes > FEW + FOR_EACH_VALUE * (int64_t)m->model->n_values ? forget_unread(m) : IFD_OK;
}

/* ---- attempts ---- */

static void count_rewrite(ifd_manager *m, const ifd_pass_entry *pass) {
  m->report->rewrites++;
  m->changes++;
  if (m->rewrites_left > 0) m->rewrites_left--;
  for (int i = 0; i < m->report->counts.n; i++)
    if (strcmp(m->report->counts.v[i].pass, pass->name) == 0) m->report->counts.v[i].rewrites++;
}

static ifd_status attempt(ifd_manager *m, const rooted *r, ifd_node *node, ifd_rewrite *rw) {
  bool applied = false;
  ifd_status status = r->rule->apply(rw, node);
  if (status == IFD_OK && !rw->refused && !rw->acted) status = ifd_patch_apply(rw, &applied);
  if (status != IFD_OK)
    ifd_error_add(m->err, "pass %s at node '%s' (%s)", r->pass->name, node->name, node->op_type);
  if (applied || rw->acted)
    count_rewrite(m, r->pass);
  else
    ifd_patch_drop(rw);
  return status;
}

static ifd_status visit_node(sweep *s, ifd_node *node);

static ifd_status visit_later(sweep *s, ifd_node *node) {
  IFD_PUSH(s->m->err, &s->agenda->arena, &s->agenda->nodes, node);
  return IFD_OK;
}

/* What makes the inputs of a new node has another reader now, and is looked at again: a long chain that is
 * taken in piece by piece, from its end, needs no sweep for each. */
static ifd_status visit_makers_later(sweep *s, const ifd_node *node) {
  for (int i = 0; i < node->n_inputs; i++) {
    ifd_node *maker = node->inputs[i] ? node->inputs[i]->producer : NULL;
    if (maker && maker->graph == node->graph) TRY(visit_later(s, maker));
  }
  return IFD_OK;
}

/* What makes the values that took others' places has other readers now, too. */
static ifd_status visit_replacers_later(sweep *s, const ifd_rewrite *rw) {
  for (int k = 0; k < rw->values.n; k++) {
    ifd_node *maker = rw->values.v[k].with->producer;
    if (maker && maker->rank >= 0 && maker->graph == rw->root->graph) TRY(visit_later(s, maker));
  }
  return IFD_OK;
}

/* The nodes that a rule made: at once, or, where rules feed each other for long, later. */
static ifd_status visit_made(sweep *s, const ifd_rewrite *rw) {
  enum { MAX_DEPTH = 64 };
  ifd_status status = IFD_OK;
  s->depth++;
  for (int i = 0; i < rw->nodes.n && status == IFD_OK; i++) {
    ifd_node *node = rw->nodes.v[i];
    if (node->rank >= 0) status = s->depth < MAX_DEPTH ? visit_node(s, node) : visit_later(s, node);
    if (node->rank >= 0 && status == IFD_OK) status = visit_makers_later(s, node);
  }
  s->depth--;
  return status == IFD_OK ? visit_replacers_later(s, rw) : status;
}

/* Rules that undo each other would go on for ever: a sweep of many rewrites for each node, of those it began
 * with and of what functions became, is the last. */
static bool may_rewrite(const ifd_manager *m) {
  enum { FOR_ALL = 1024, FOR_EACH = 32 };
  long nodes = m->nodes_before + m->model->graph->n_nodes;
  return m->rewrites_left && m->report->rewrites - m->rewrites_before < FOR_ALL + FOR_EACH * nodes;
}

/* Tries one list of rules until the node is gone; the nodes they made are visited at once. */
static ifd_status try_rules(sweep *s, const rooted *list, ifd_node *node) {
  ifd_manager *m = s->m;
  for (const rooted *r = list; r && node->rank >= 0 && may_rewrite(m); r = r->next) {
    ifd_rewrite rw = {.manager = m, .pass = r->pass, .root = node};
    long before = m->report->rewrites;
    ifd_arena_init(&rw.scratch, NULL);
    ifd_status status = attempt(m, r, node, &rw);
    if (status == IFD_OK && m->report->rewrites > before) status = visit_made(s, &rw);
    ifd_arena_free(&rw.scratch);
    TRY(status);
    TRY(forget_when_worth_it(m));
  }
  return IFD_OK;
}

static ifd_status sweep_graph(sweep *s, ifd_graph *graph);

static ifd_status visit_node(sweep *s, ifd_node *node) {
  ifd_manager *m = s->m;
  if (m->facts_at != m->changes || node->graph != m->model->graph) TRY(ifd_infer_node(&m->inf, node));
  if (!*node->domain && !ifd_node_is_open(node)) {
    TRY(try_rules(s, rules_of(s, node->op_type), node));
    TRY(try_rules(s, s->rules->any[s->current], node));
  } else if (*node->domain) {
    char root[128];
    bool fits = snprintf(root, sizeof root, "%s.%s", node->domain, node->op_type) < (int)sizeof root;
    if (fits) TRY(try_rules(s, rules_of(s, root), node));
  }
  for (int i = 0; i < node->n_attrs && node->rank >= 0; i++) {
    ifd_graph *const *graphs;
    int n = ifd_attr_graphs(&node->attrs[i], &graphs);
    for (int k = 0; k < n && node->rank >= 0; k++) TRY(sweep_graph(s, graphs[k]));
  }
  return IFD_OK;
}

/* ---- sweeps ---- */

static ifd_status graph_steps(sweep *s, ifd_graph *graph) {
  ifd_manager *m = s->m;
  for (const ifd_pass_entry *p = ifd_passes; p->name && m->rewrites_left; p++) {
    if ((int)p->pass->phase != s->current || !p->pass->graph || !enabled(m->options, p)) continue;
    ifd_rewrite rw = {.manager = m, .pass = p, .root = graph->first};
    ifd_arena_init(&rw.scratch, NULL);
    long before = m->changes;
    ifd_status status = graph->first ? p->pass->graph(&rw, graph) : IFD_OK;
    if (m->changes != before) {
      count_rewrite(m, p);
      if (m->options->verify && status == IFD_OK) status = ifd_verify_model(m->err, m->model);
    }
    ifd_arena_free(&rw.scratch);
    TRY(status);
  }
  return IFD_OK;
}

/* The nodes as they stand now, as rewriting changes the list under the sweep; then those to look at again. */
static ifd_status sweep_nodes(sweep *s, ifd_graph *graph) {
  agenda *a = s->agenda;
  IFD_EACH_NODE(node, graph) IFD_PUSH(s->m->err, &a->arena, &a->nodes, node);
  for (int i = 0; i < a->nodes.n; i++)
    if (a->nodes.v[i]->rank >= 0) TRY(visit_node(s, a->nodes.v[i]));
  return IFD_OK;
}

static ifd_status sweep_graph(sweep *s, ifd_graph *graph) {
  agenda own = {0}, *outer = s->agenda;
  ifd_arena_init(&own.arena, NULL);
  s->agenda = &own;
  ifd_status status = sweep_nodes(s, graph);
  s->agenda = outer;
  ifd_arena_free(&own.arena);
  return status == IFD_OK ? graph_steps(s, graph) : status;
}

static ifd_status visit_graphs(ifd_manager *m, ifd_status (*visit)(ifd_graph *graph, void *context),
                               void *context) {
  TRY(ifd_graph_visit(m->model->graph, visit, context));
  for (int i = 0; i < m->model->functions.n; i++)
    TRY(ifd_graph_visit(m->model->functions.v[i]->body, visit, context));
  return IFD_OK;
}

static ifd_status add_bytes(ifd_graph *graph, void *context) {
  *(int64_t *)context += ifd_graph_bytes(graph);
  return IFD_OK;
}

/* Graphs that were written out elsewhere, or went, are no patches that could be added up. */
static ifd_status count_bytes(ifd_manager *m) {
  m->bytes = 0;
  for (int i = 0; i < m->model->functions.n; i++) m->bytes += ifd_header_bytes(m->model->functions.v[i]);
  return visit_graphs(m, add_bytes, &m->bytes);
}

/* Inference starts anew after a sweep that changed something, so that its memory does not pile up and no
 * stale fact survives. */
static ifd_status renew_facts(ifd_manager *m) {
  if (m->facts_at == m->changes) return IFD_OK;
  m->facts_at = m->changes;
  ifd_arena_free(&m->facts_arena);
  m->bounds = NULL;
  m->n_bounds = 0;
  TRY(forget_unread(m));
  if (!m->options->for_running) TRY(count_bytes(m));
  TRY(ifd_inference_init(&m->inf, m->err, &m->facts_arena, m->model->dims, m->model->n_values));
  return ifd_infer_graph(&m->inf, m->model->graph);
}

static ifd_status add_nodes(ifd_graph *graph, void *context) {
  *(long *)context += graph->n_nodes;
  return IFD_OK;
}

static ifd_status sweep_model(sweep *s) {
  ifd_manager *m = s->m;
  m->rewrites_before = m->report->rewrites;
  m->nodes_before = 0;
  TRY(visit_graphs(m, add_nodes, &m->nodes_before));
  TRY(renew_facts(m));
  TRY(sweep_graph(s, m->model->graph));
  for (int i = 0; i < m->model->functions.n; i++) TRY(sweep_graph(s, m->model->functions.v[i]->body));
  return IFD_OK;
}

static int n_phases(const ifd_manager *m) {
  return m->options->for_running ? IFD_N_PHASES : IFD_PHASE_INTEGER;
}

/* Each phase to its end; all again while a later phase changed something. A phase that found nothing to do
 * waits until another has changed something. */
static ifd_status run_phases(sweep *s) {
  ifd_manager *m = s->m;
  long settled[IFD_N_PHASES], started;
  int sweeps = 0;
  for (int i = 0; i < IFD_N_PHASES; i++) settled[i] = -1;
  do {
    started = m->changes;
    for (s->current = 0; s->current < n_phases(m); s->current++)
      while (settled[s->current] != m->changes && m->rewrites_left && sweeps < MAX_SWEEPS) {
        long before = settled[s->current] = m->changes;
        TRY(sweep_model(s));
        sweeps += m->changes != before;
        if (!may_rewrite(m)) sweeps = MAX_SWEEPS;
      }
  } while (m->changes != started);
  return IFD_OK;
}

/* Nothing changes any more: what is refused now stays so. */
static ifd_status look_at_what_is_left(sweep *s) {
  ifd_manager *m = s->m;
  m->last_look = true;
  for (s->current = 0; s->current < n_phases(m) && m->rewrites_left; s->current++) TRY(sweep_model(s));
  return IFD_OK;
}

/* Where nodes came from is said as long as the file does not grow by it. */
static ifd_status trim_provenance(ifd_graph *graph, void *context) {
  int64_t *room = context;
  IFD_EACH_NODE(node, graph) {
    int64_t bytes = ifd_provenance_bytes(node);
    if (bytes > *room)
      node->provenance = NULL;
    else
      *room -= bytes;
  }
  return IFD_OK;
}

/* A name of its own, or none where the file would grow by it. */
static ifd_status rename_node(ifd_manager *m, ifd_map *names, ifd_node *node) {
  const char *name;
  int64_t before = ifd_node_bytes(node);
  ALLOC(m->err, name, ifd_unique_name(names, node->name));
  EXPECT(m->err, ifd_map_set(names, name, (void *)1), NO_MEMORY, "out of memory");
  ALLOC(m->err, node->name, ifd_arena_strdup(&m->model->arena, name));
  if (!m->options->grow && m->bytes + ifd_node_bytes(node) - before > m->bytes_allowed - m->options->loan)
    node->name = "";
  m->bytes += ifd_node_bytes(node) - before;
  return IFD_OK;
}

/* Bodies that were written out twice, or beside nodes named alike, leave nodes of one name in a graph, which
 * runtimes refuse: the first keeps it. */
static ifd_status name_apart(ifd_graph *graph, void *context) {
  ifd_manager *m = context;
  ifd_map names;
  IFD_VEC(ifd_node *) twins = {0};
  ifd_map_init(&names, &m->facts_arena);
  IFD_EACH_NODE(node, graph) {
    if (ifd_map_find(&names, node->name))
      IFD_PUSH(m->err, &m->facts_arena, &twins, node);
    else if (*node->name)
      EXPECT(m->err, ifd_map_set(&names, node->name, (void *)1), NO_MEMORY, "out of memory");
  }
  for (int i = 0; i < twins.n; i++) TRY(rename_node(m, &names, twins.v[i]));
  return IFD_OK;
}

static ifd_status finish(ifd_manager *m) {
  ifd_model *model = m->model;
  if (!m->options->for_running) TRY(visit_graphs(m, name_apart, m));
  int64_t room = m->bytes_allowed - m->options->loan - m->bytes + m->provenance_bytes;
  m->report->bytes = m->bytes - m->provenance_bytes;
  m->report->nodes = 0;
  TRY(visit_graphs(m, add_nodes, &m->report->nodes));
  for (int i = 0; i < model->functions.n && !m->options->grow; i++)
    TRY(ifd_graph_visit(model->functions.v[i]->body, trim_provenance, &room));
  if (!m->options->grow) TRY(ifd_graph_visit(model->graph, trim_provenance, &room));
  TRY(ifd_model_collect(m->err, model, NULL, 0));
  /* The types that stay on the values live as long as the model. */
  TRY(ifd_inference_init(&m->inf, m->err, &model->arena, model->dims, model->n_values));
  return ifd_infer_model(&m->inf, model);
}

static ifd_status add_provenance(ifd_graph *graph, void *context) {
  IFD_EACH_NODE(node, graph) * (int64_t *)context += ifd_provenance_bytes(node);
  return IFD_OK;
}

static ifd_status prepare(ifd_manager *m, rules *rules) {
  TRY(check_names(m->err, m->options->only));
  TRY(check_names(m->err, m->options->skip));
  TRY(count_bytes(m));
  TRY(visit_graphs(m, add_provenance, &m->provenance_bytes));
  m->bytes_allowed = m->bytes + m->options->loan;
  m->report->bytes_before = m->bytes - m->provenance_bytes;
  for (const ifd_pass_entry *p = ifd_passes; p->name; p++) {
    ifd_pass_count c = {.pass = p->name};
    if (enabled(m->options, p)) IFD_PUSH(m->err, &m->report->arena, &m->report->counts, c);
  }
  return make_rules(m, rules);
}

ifd_status ifd_optimize(ifd_error *err, ifd_model *model, const ifd_optimize_options *options,
                        ifd_optimize_report *report) {
  ifd_manager m = {.err = err,
                   .model = model,
                   .options = options,
                   .report = report,
                   .rewrites_left = options->max_rewrites,
                   .facts_at = -1};
  rules all = {0};
  sweep s = {.m = &m, .rules = &all};
  ifd_arena_init(&m.facts_arena, model->arena.budget);
  ifd_arena_init(&m.maps_arena, model->arena.budget);
  ifd_status status = prepare(&m, &all);
  if (status == IFD_OK) status = run_phases(&s);
  if (status == IFD_OK && !options->no_refusals) status = look_at_what_is_left(&s);
  if (status == IFD_OK) status = finish(&m);
  ifd_arena_free(&all.arena);
  ifd_arena_free(&m.facts_arena);
  ifd_arena_free(&m.maps_arena);
  return status;
}
