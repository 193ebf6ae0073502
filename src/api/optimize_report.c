/* What optimizing did, as a table, JSON or Markdown. */
#include "api/api.h"

#include "api/explain.h"
#include "inspect/json.h"
#include "inspect/view.h"
#include <string.h>

/* Surveys of both models, on copies of theirs. */
typedef struct comparison {
  ifd_error *err;
  ifd_arena arena;
  infold_model *copies[2];
  ifd_survey *before, *after;
  const infold_report *report;
} comparison;

static ifd_status survey(comparison *c, int which, const infold_model *model, ifd_survey **out) {
  TRY(ifd_api_clone(c->err, &c->copies[which], model, &model->budget));
  return ifd_survey_new(c->err, out, c->copies[which]->ir, &c->arena);
}

static const char *change(comparison *c, double before, double after) {
  if (before == after) return "";
  if (before == 0) return "new";
  return ifd_arena_printf(&c->arena, "%+.1f %%", 100 * (after - before) / before);
}

static ifd_status add_row(ifd_table *table, const char *name, const char *before, const char *after,
                          const char *change) {
  const char *cells[4] = {name, before, after, change};
  return ifd_table_add(table, cells);
}

static ifd_status add_numbers(comparison *c, ifd_table *table, const char *name, double before, double after,
                              const char *(*text)(ifd_arena *arena, double n)) {
  return add_row(table, name, text(&c->arena, before), text(&c->arena, after), change(c, before, after));
}

static ifd_status add_quantities(comparison *c, ifd_table *table, const char *name,
                                 const ifd_quantity *before, const ifd_quantity *after,
                                 const char *(*text)(ifd_arena *arena, double n)) {
  const char *title = name;
  if (!before->has_number || !after->has_number) return IFD_OK;
  if (!before->is_exact || !after->is_exact)
    ALLOC(c->err, title, ifd_arena_printf(&c->arena, "%s at %s", name, c->before->probe_text));
  return add_numbers(c, table, title, before->number, after->number, text);
}

/* Nodes of one label in each model. */
typedef struct operator_row {
  const char *label;
  int nodes[2];
} operator_row;

typedef struct operator_rows {
  ifd_map by_label;          /* 1 + index */
  IFD_VEC(operator_row) all; /* in the order of the first model, then of the second */
} operator_rows;

static ifd_status add_operators(comparison *c, operator_rows *rows, const ifd_survey *s, int which) {
  for (int i = 0; i < s->operators.n; i++) {
    const char *label = s->operators.v[i].label;
    uintptr_t at = (uintptr_t)ifd_map_find(&rows->by_label, label);
    if (!at) {
      IFD_PUSH(c->err, &c->arena, &rows->all, ((operator_row){.label = label}));
      at = (uintptr_t)rows->all.n;
      EXPECT(c->err, ifd_map_set(&rows->by_label, label, (void *)at), NO_MEMORY, "out of memory");
    }
    rows->all.v[at - 1].nodes[which] += s->operators.v[i].n_nodes;
  }
  return IFD_OK;
}

static ifd_status fill_operators(comparison *c, ifd_table *table) {
  operator_rows rows = {0};
  ifd_map_init(&rows.by_label, &c->arena);
  TRY(add_operators(c, &rows, c->before, 0));
  TRY(add_operators(c, &rows, c->after, 1));
  for (int i = 0; i < rows.all.n; i++) {
    const operator_row *r = &rows.all.v[i];
    TRY(add_numbers(c, table, r->label, r->nodes[0], r->nodes[1], ifd_text_count));
  }
  return IFD_OK;
}

static ifd_status fill_table(comparison *c, ifd_table *table) {
  static const ifd_column columns[] = {{"Operator", .flexible = true},
                                       {"Before", .right = true},
                                       {"After", .right = true},
                                       {"Change", .right = true},
                                       {0}};
  const ifd_survey *a = c->before, *b = c->after;
  ifd_table_init(table, c->err, &c->arena, columns);
  TRY(fill_operators(c, table));
  TRY(ifd_table_add_rule(table));
  TRY(add_numbers(c, table, "Nodes", a->n_nodes, b->n_nodes, ifd_text_count));
  if (!a->n_batch_norms && !b->n_batch_norms) /* else it has its own line above */
    TRY(add_numbers(c, table, "BatchNormalization", 0, 0, ifd_text_count));
  TRY(add_numbers(c, table, "Parameters", a->elements, b->elements, ifd_text_count));
  TRY(add_numbers(c, table, "Bytes of parameters", a->bytes, b->bytes, ifd_text_bytes));
  if (strcmp(a->probe_text, b->probe_text) != 0) return IFD_OK; /* numbers at different places */
  if (a->n_unknown_macs == b->n_unknown_macs)
    TRY(add_quantities(c, table, "Multiply-accumulates", &a->macs, &b->macs, ifd_text_short));
  return add_quantities(c, table, "Memory of values", &a->memory, &b->memory, ifd_text_bytes);
}

static void print_passes(const comparison *c, FILE *to) {
  const ifd_optimize_report *p = &c->report->passes;
  int n = 0;
  fprintf(to, "\n%ld rewrite%s in %.0f ms", p->rewrites, p->rewrites == 1 ? "" : "s",
          c->report->seconds * 1e3);
  for (int i = 0; i < p->counts.n; i++)
    if (p->counts.v[i].rewrites)
      fprintf(to, "%s%s %ld", n++ ? ", " : ": ", p->counts.v[i].pass, p->counts.v[i].rewrites);
  fputc('\n', to);
  for (int i = 0; i < p->warnings.n; i++) {
    fputs("warning: ", to);
    ifd_put_clean(to, p->warnings.v[i]);
    fputc('\n', to);
  }
  if (c->report->verified) fprintf(to, "%s\n", c->report->verified);
}

/* ---- what was left, and why ---- */

enum { NAMES_SHOWN = 4 };

/* Nodes that a pass left for one reason. */
typedef struct refusal_group {
  const ifd_refusal *first;
  const char *names[NAMES_SHOWN]; /* of the first nodes */
  int n;
} refusal_group;

typedef struct refusal_groups {
  ifd_map by_reason;          /* 1 + index */
  IFD_VEC(refusal_group) all; /* in the order of their first nodes */
} refusal_groups;

static ifd_status add_refusal(comparison *c, refusal_groups *groups, const ifd_refusal *r) {
  const char *key;
  ALLOC(c->err, key, ifd_arena_printf(&c->arena, "%s\n%s", r->pass, r->reason));
  uintptr_t i = (uintptr_t)ifd_map_find(&groups->by_reason, key);
  if (!i) {
    IFD_PUSH(c->err, &c->arena, &groups->all, ((refusal_group){.first = r}));
    i = (uintptr_t)groups->all.n;
    EXPECT(c->err, ifd_map_set(&groups->by_reason, key, (void *)i), NO_MEMORY, "out of memory");
  }
  refusal_group *g = &groups->all.v[i - 1];
  if (g->n < NAMES_SHOWN) g->names[g->n] = r->node;
  g->n++;
  return IFD_OK;
}

/* Of BatchNormalization; other nodes are asked for by name. */
static ifd_status group_refusals(comparison *c, const ifd_optimize_report *report, refusal_groups *out) {
  *out = (refusal_groups){0};
  ifd_map_init(&out->by_reason, &c->arena);
  for (int i = 0; i < report->refusals.n; i++)
    if (strcmp(report->refusals.v[i].op_type, "BatchNormalization") == 0)
      TRY(add_refusal(c, out, &report->refusals.v[i]));
  return IFD_OK;
}

static ifd_status print_left(comparison *c, FILE *to) {
  refusal_groups groups;
  TRY(group_refusals(c, &c->report->passes, &groups));
  for (int i = 0; i < groups.all.n; i++) {
    const refusal_group *g = &groups.all.v[i];
    fputs("left: BatchNormalization '", to);
    ifd_put_clean(to, g->first->node);
    fputc('\'', to);
    if (g->n > 1) fprintf(to, " and %d more", g->n - 1);
    fprintf(to, ": %s: ", g->first->pass);
    ifd_put_clean(to, g->first->reason);
    fputc('\n', to);
  }
  return IFD_OK;
}

/* "'a', 'b' and 7 more" */
static void print_names(FILE *to, const char *const *names, int n) {
  for (int i = 0; i < n && i < NAMES_SHOWN; i++) {
    fputs(i ? ", '" : "'", to);
    ifd_put_clean(to, names[i]);
    fputc('\'', to);
  }
  if (n > NAMES_SHOWN) fprintf(to, " and %d more", n - NAMES_SHOWN);
}

/* What became of BatchNormalization in training mode, where that was to be changed. */
static ifd_status print_untrained(comparison *c, FILE *to) {
  const ifd_optimize_report *r = &c->report->untrained;
  refusal_groups groups;
  TRY(group_refusals(c, r, &groups));
  if (r->warnings.n || groups.all.n) fputc('\n', to);
  if (r->warnings.n) {
    fprintf(to, "changed: %d BatchNormalization from training to inference mode, as asked: ", r->warnings.n);
    print_names(to, r->warnings.v, r->warnings.n);
    fputs("\n         a sample's result depends on its batch no longer; the models compared below are both "
          "so\n",
          to);
  }
  for (int i = 0; i < groups.all.n; i++) {
    fputs("left in training mode: ", to);
    print_names(to, groups.all.v[i].names, groups.all.v[i].n);
    fputs(": ", to);
    ifd_put_clean(to, groups.all.v[i].first->reason);
    fputc('\n', to);
  }
  return IFD_OK;
}

/* ---- forms ---- */

static ifd_status print_text(comparison *c, FILE *to, int width, bool markdown) {
  ifd_table table;
  TRY(fill_table(c, &table));
  if (markdown)
    ifd_table_print_markdown(&table, to);
  else
    ifd_table_print(&table, to, width);
  TRY(print_untrained(c, to));
  print_passes(c, to);
  return print_left(c, to);
}

static ifd_status print_table(comparison *c, FILE *to, int width) { return print_text(c, to, width, false); }
static ifd_status print_markdown(comparison *c, FILE *to, int width) {
  return print_text(c, to, width, true);
}

static ifd_status add_new(const ifd_node *node, void *list) {
  const char *at = node->provenance, *name;
  json_t *from = at ? json_array() : NULL;
  for (size_t len; (name = ifd_next_origin(&at, &len));) {
    char text[256];
    snprintf(text, sizeof text, "%.*s", (int)len, name);
    json_array_append_new(from, ifd_json_text(text));
  }
  if (from)
    json_array_append_new(list,
                          json_pack("{s:o, s:o, s:o}", "node", ifd_json_text(ifd_survey_node_name(node)),
                                    "operator", ifd_json_text(node->op_type), "from", from));
  return IFD_OK;
}

static ifd_status print_json(comparison *c, FILE *to, int width) {
  const ifd_optimize_report *p = &c->report->passes;
  json_t *passes = json_object(), *warnings = json_array(), *left = json_array(), *new = json_array(),
         *untrained = json_array();
  (void)width;
  for (int i = 0; i < p->counts.n; i++)
    if (p->counts.v[i].rewrites)
      json_object_set_new(passes, p->counts.v[i].pass, json_integer(p->counts.v[i].rewrites));
  for (int i = 0; i < p->warnings.n; i++) json_array_append_new(warnings, ifd_json_text(p->warnings.v[i]));
  for (int i = 0; i < c->report->untrained.warnings.n; i++)
    json_array_append_new(untrained, ifd_json_text(c->report->untrained.warnings.v[i]));
  for (int i = 0; i < p->refusals.n; i++) {
    const ifd_refusal *r = &p->refusals.v[i];
    json_array_append_new(left, json_pack("{s:o, s:o, s:s, s:o}", "node", ifd_json_text(r->node), "operator",
                                          ifd_json_text(r->op_type), "pass", r->pass, "reason",
                                          ifd_json_text(r->reason)));
  }
  TRY(ifd_api_each_node(c->report->after->ir, add_new, new));
  return ifd_json_print(c->err,
                        json_pack("{s:o, s:o, s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:f}", "before",
                                  ifd_json_survey(c->before, false), "after",
                                  ifd_json_survey(c->after, false), "rewrites", (json_int_t)p->rewrites,
                                  "passes", passes, "untrained", untrained, "warnings", warnings, "left",
                                  left, "new", new, "verification", ifd_json_text(c->report->verified),
                                  "seconds", c->report->seconds),
                        to);
}

static ifd_status format_report(ifd_error *err, FILE *to, const void *report, const char *format, int width) {
  static const struct {
    const char *name;
    ifd_status (*print)(comparison *c, FILE *to, int width);
  } formats[] = {{"table", print_table}, {"json", print_json}, {"markdown", print_markdown}};
  size_t f = 0;
  while (f < 3 && strcmp(formats[f].name, format) != 0) f++;
  EXPECT(err, f < 3, USAGE, "a report is a table, json or markdown, not '%s'", format);
  comparison c = {.err = err, .report = report};
  ifd_arena_init(&c.arena, NULL);
  ifd_status status = survey(&c, 0, c.report->before, &c.before);
  if (status == IFD_OK) status = survey(&c, 1, c.report->after, &c.after);
  if (status == IFD_OK) status = formats[f].print(&c, to, width);
  infold_destroy_model(c.copies[0]);
  infold_destroy_model(c.copies[1]);
  ifd_arena_free(&c.arena);
  return status;
}

infold_status infold_format_report(infold_error *to, char **out, const infold_report *report,
                                   const char *format, int width) {
  return ifd_api_write(to, out, format_report, report, format, width);
}
