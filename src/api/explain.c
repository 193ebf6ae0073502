#include "api/explain.h"

#include "inspect/view.h"
#include <string.h>

/* ---- nodes ---- */

typedef struct node_walk {
  ifd_node_visitor *visit;
  void *context;
} node_walk;

static ifd_status walk_graph(ifd_graph *graph, void *context) {
  const node_walk *w = context;
  IFD_EACH_NODE(node, graph) TRY(w->visit(node, w->context));
  return IFD_OK;
}

ifd_status ifd_api_each_node(const ifd_model *model, ifd_node_visitor *visit, void *context) {
  node_walk w = {visit, context};
  TRY(ifd_graph_visit(model->graph, walk_graph, &w));
  for (int i = 0; i < model->functions.n; i++)
    TRY(ifd_graph_visit(model->functions.v[i]->body, walk_graph, &w));
  return IFD_OK;
}

const char *ifd_next_origin(const char **at, size_t *len) {
  const char *name = *at;
  if (!name || !*name) return NULL;
  *len = strcspn(name, ",");
  *at = name + *len + (name[*len] == ',');
  return name;
}

static bool comes_from(const ifd_node *node, const char *name) {
  const char *at = node->provenance, *origin;
  for (size_t len; (origin = ifd_next_origin(&at, &len));)
    if (strlen(name) == len && strncmp(origin, name, len) == 0) return true;
  return false;
}

static bool is_called(const ifd_node *node, const char *name) {
  bool named = strcmp(node->name, name) == 0;
  for (int i = 0; i < node->n_outputs && !named; i++)
    named = node->outputs[i] && strcmp(node->outputs[i]->name, name) == 0;
  return named;
}

typedef struct node_search {
  bool (*fits)(const ifd_node *node, const char *name);
  const char *name;
  const ifd_node *found;
} node_search;

static ifd_status search(const ifd_node *node, void *context) {
  node_search *s = context;
  if (!s->found && s->fits(node, s->name)) s->found = node;
  return IFD_OK;
}

static const ifd_node *find_node(const infold_model *model, const char *name,
                                 bool (*fits)(const ifd_node *, const char *)) {
  node_search s = {fits, name, NULL};
  (void)ifd_api_each_node(model->ir, search, &s);
  return s.found;
}

/* ---- what a node was left for ---- */

/* What is said of nodes, and the report's refusals by name: of each, the place of the next that has its name,
 * or -1. */
typedef struct explanation {
  ifd_error *err;
  FILE *to;
  const infold_report *report;
  ifd_arena arena;
  ifd_map first; /* 1 + place */
  int *next;
  int n; /* nodes that something was said of */
} explanation;

static ifd_status index_refusals(explanation *e) {
  const ifd_optimize_report *r = &e->report->passes;
  ifd_map_init(&e->first, &e->arena);
  ALLOC(e->err, e->next, ifd_new_array(&e->arena, int, r->refusals.n));
  for (int i = r->refusals.n - 1; i >= 0; i--) {
    const char *name = r->refusals.v[i].node;
    e->next[i] = (int)(intptr_t)ifd_map_find(&e->first, name) - 1;
    EXPECT(e->err, ifd_map_set(&e->first, name, (void *)(intptr_t)(i + 1)), NO_MEMORY, "out of memory");
  }
  return IFD_OK;
}

/* Runs `say` on an explanation of the report that is written to `to`. */
static ifd_status explain(ifd_error *err, FILE *to, const infold_report *report, const char *name,
                          ifd_status (*say)(explanation *e, const char *name)) {
  explanation e = {.err = err, .to = to, .report = report};
  ifd_arena_init(&e.arena, NULL);
  ifd_status status = index_refusals(&e);
  if (status == IFD_OK) status = say(&e, name);
  ifd_arena_free(&e.arena);
  return status;
}

static void put_label(FILE *to, const ifd_node *node) {
  ifd_put_clean(to, ifd_survey_node_name(node));
  fprintf(to, " (%s): ", node->op_type);
}

static bool is_counted(const ifd_optimize_report *report, const char *pass) {
  for (int i = 0; i < report->counts.n; i++)
    if (strcmp(report->counts.v[i].pass, pass) == 0) return true;
  return false;
}

static bool has_root(const ifd_pass *pass, const char *op_type) {
  size_t len = strlen(op_type);
  for (const ifd_rule *r = pass->rules; r && r->roots; r++)
    for (const char *at = r->roots; *at; at += strcspn(at, " "), at += *at == ' ')
      if (strcspn(at, " ") == len && strncmp(at, op_type, len) == 0) return true;
  return false;
}

/* Passes for the operator that were not among those that ran. */
static int put_passes_not_run(FILE *to, const infold_report *report, const ifd_node *node) {
  int n = 0;
  for (const ifd_pass_entry *p = ifd_passes; p->name; p++) {
    if (p->pass->phase >= IFD_PHASE_INTEGER || p->pass->on_request || !has_root(p->pass, node->op_type) ||
        is_counted(&report->passes, p->name))
      continue;
    put_label(to, node);
    fprintf(to, "%s: this pass was not to run\n", p->name);
    n++;
  }
  return n;
}

static int put_refusals(const explanation *e, const ifd_node *node) {
  const char *name = ifd_survey_node_name(node);
  int n = 0;
  for (int i = (int)(intptr_t)ifd_map_find(&e->first, name) - 1; i >= 0; i = e->next[i]) {
    const ifd_refusal *r = &e->report->passes.refusals.v[i];
    if (strcmp(r->op_type, node->op_type) != 0) continue;
    put_label(e->to, node);
    fprintf(e->to, "%s: ", r->pass);
    ifd_put_clean(e->to, r->reason);
    fputc('\n', e->to);
    n++;
  }
  return n;
}

static void put_reasons(const explanation *e, const ifd_node *node) {
  long rewrites = e->report->passes.rewrites;
  int n = put_refusals(e, node) + put_passes_not_run(e->to, e->report, node);
  if (n) return;
  put_label(e->to, node);
  if (e->report->stopped)
    fprintf(e->to, "rewriting was to stop after %ld rewrite%s\n", rewrites, rewrites == 1 ? "" : "s");
  else
    ifd_explain_place(e->to, node);
}

static void put_origins(FILE *to, const ifd_node *node) {
  const char *at = node->provenance, *origin, *before = "from ";
  put_label(to, node);
  for (size_t len; (origin = ifd_next_origin(&at, &len)); before = ", ") {
    char name[256];
    snprintf(name, sizeof name, "%.*s", (int)len, origin);
    fputs(before, to);
    ifd_put_clean(to, name);
  }
  fputc('\n', to);
}

/* ---- one node ---- */

static void put_fate(FILE *to, const infold_report *report, const ifd_node *was) {
  const char *name = ifd_survey_node_name(was);
  const ifd_node *heir = find_node(report->after, name, comes_from);
  put_label(to, was);
  if (heir) {
    fprintf(to, "it is part of %s '", heir->op_type);
    ifd_put_clean(to, ifd_survey_node_name(heir));
    fputs("' now\n", to);
    return;
  }
  for (int i = 0; i < was->n_outputs; i++) {
    const ifd_value *v =
        was->outputs[i] ? ifd_graph_find_value(report->after->ir->graph, was->outputs[i]->name) : NULL;
    if (!v || !v->constant) continue;
    fputs("its result is an initializer now\n", to);
    return;
  }
  fputs("removed: what it gave is not needed any more\n", to);
}

static ifd_status say_of_node(explanation *e, const char *name) {
  const ifd_node *node = find_node(e->report->after, name, is_called);
  const ifd_node *was = node ? NULL : find_node(e->report->before, name, is_called);
  EXPECT(e->err, node || was, USAGE, "the model has no node '%s'", name);
  if (was)
    put_fate(e->to, e->report, was);
  else {
    if (node->provenance) put_origins(e->to, node);
    put_reasons(e, node);
  }
  return IFD_OK;
}

static ifd_status explain_node(ifd_error *err, FILE *to, const void *report, const char *name, int width) {
  (void)width;
  return explain(err, to, report, name, say_of_node);
}

infold_status infold_explain_node(infold_error *to, char **out, const infold_report *report,
                                  const char *node) {
  return ifd_api_write(to, out, explain_node, report, node, 0);
}

/* ---- all nodes ---- */

static bool is_asked_for(const ifd_node *node) {
  static const char *const ops[] = {"BatchNormalization", "Mul", "Add", "Reshape", "Transpose"};
  for (size_t i = 0; i < sizeof ops / sizeof *ops; i++)
    if (ifd_node_is(node, ops[i])) return true;
  return false;
}

static ifd_status explain_left(const ifd_node *node, void *context) {
  explanation *e = context;
  if (!is_asked_for(node)) return IFD_OK;
  if (!e->n++) fputs("left:\n", e->to);
  put_reasons(e, node);
  return IFD_OK;
}

static ifd_status explain_new(const ifd_node *node, void *context) {
  explanation *e = context;
  if (!node->provenance) return IFD_OK;
  if (!e->n++) fputs("new:\n", e->to);
  put_origins(e->to, node);
  return IFD_OK;
}

static ifd_status say_of_all(explanation *e, const char *name) {
  (void)name;
  TRY(ifd_api_each_node(e->report->after->ir, explain_left, e));
  int n_left = e->n;
  e->n = 0;
  TRY(ifd_api_each_node(e->report->after->ir, explain_new, e));
  if (!n_left && !e->n) fputs("nothing is new, and nothing is left to explain\n", e->to);
  return IFD_OK;
}

static ifd_status explain_report(ifd_error *err, FILE *to, const void *report, const char *what, int width) {
  (void)width;
  return explain(err, to, report, what, say_of_all);
}

infold_status infold_explain_report(infold_error *to, char **out, const infold_report *report) {
  return ifd_api_write(to, out, explain_report, report, NULL, 0);
}
