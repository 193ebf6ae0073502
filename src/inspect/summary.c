#include "inspect/view.h"

#include <string.h>

enum { LABEL = 12, SHOWN = 64 };

static void label(FILE *to, const char *text) { fprintf(to, "%-*s", LABEL, text); }

static void clean_line(FILE *to, const char *name, const char *text) {
  label(to, name);
  ifd_put_clean(to, text);
  fputc('\n', to);
}

/* ---- where it comes from ---- */

static void print_origin(const ifd_survey *s, FILE *to) {
  const ifd_model *m = s->model;
  if (m->producer_name && *m->producer_name) {
    label(to, "producer");
    ifd_put_clean(to, m->producer_name);
    if (m->producer_version && *m->producer_version) {
      fputc(' ', to);
      ifd_put_clean(to, m->producer_version);
    }
    fputc('\n', to);
  }
  label(to, "format");
  fprintf(to, "IR %lld, opset", (long long)m->ir_version);
  for (int i = 0; i < m->opsets.n; i++) {
    const char *domain = m->opsets.v[i].domain;
    fputs(i ? ", " : " ", to);
    ifd_put_clean(to, domain && *domain ? domain : "ai.onnx");
    fprintf(to, " %d", m->opsets.v[i].version);
  }
  fputc('\n', to);
  if (m->doc && *m->doc) clean_line(to, "doc", m->doc);
}

/* ---- inputs and outputs ---- */

static void print_value(const ifd_survey *s, FILE *to, const char *kind, const ifd_value *v, int name_width) {
  char type[512];
  label(to, kind);
  ifd_put_clean(to, v->name);
  int pad = name_width - (int)strlen(v->name);
  fprintf(to, "%*s  ", pad > 0 ? pad : 0, "");
  ifd_put_clean(to, ifd_type_text(s->model->dims, v->type, type, sizeof type));
  if (v->is_input && v->constant) fputs("  (has a default)", to);
  fputc('\n', to);
}

/* Initializers that a file of IR 3 lists as inputs are weights to a reader. */
static bool is_shown(const ifd_value *v) { return !ifd_value_constant(v); }

static void print_values(const ifd_survey *s, FILE *to) {
  const ifd_graph *g = s->model->graph;
  int width = 0, hidden = 0;
  for (int i = 0; i < g->inputs.n; i++)
    if (is_shown(g->inputs.v[i]) && (int)strlen(g->inputs.v[i]->name) > width)
      width = (int)strlen(g->inputs.v[i]->name);
  for (int i = 0; i < g->outputs.n; i++)
    if ((int)strlen(g->outputs.v[i]->name) > width) width = (int)strlen(g->outputs.v[i]->name);
  if (width > 40) width = 40;
  for (int i = 0; i < g->inputs.n; i++) {
    if (is_shown(g->inputs.v[i]))
      print_value(s, to, "input", g->inputs.v[i], width);
    else
      hidden++;
  }
  if (hidden) fprintf(to, "%-*s%d initializers are listed as inputs (IR 3)\n", LABEL, "", hidden);
  for (int i = 0; i < g->outputs.n; i++) print_value(s, to, "output", g->outputs.v[i], width);
}

/* ---- quantities ---- */

static void print_quantity(const ifd_survey *s, FILE *to, const char *name, const ifd_quantity *q,
                           const char *(*text)(ifd_arena *arena, double n), const char *note) {
  label(to, name);
  const char *number = q->has_number ? text(s->arena, q->number) : NULL;
  if (q->is_exact)
    fprintf(to, "%s", number ? number : q->expression);
  else if (number && strlen(q->expression) <= SHOWN)
    fprintf(to, "%s at %s: %s", number, s->probe_text, q->expression);
  else if (number)
    fprintf(to, "%s at %s", number, s->probe_text);
  else
    fprintf(to, "%s", strlen(q->expression) <= SHOWN ? q->expression : "depends on data");
  fprintf(to, "%s\n", note);
}

static ifd_status print_parameters(const ifd_survey *s, FILE *to) {
  label(to, "parameters");
  fprintf(to, "%s, %s", ifd_text_short(s->arena, s->elements), ifd_text_bytes(s->arena, s->bytes));
  for (int i = 0; i < s->types.n; i++) {
    const ifd_type_row *t = &s->types.v[i];
    fprintf(to, "%s%s %s in %d", i ? ", " : " (", ifd_dtype_name(t->dtype),
            ifd_text_short(s->arena, t->elements), t->n_tensors);
  }
  fputs(s->types.n ? (s->weights.n > 1 ? " tensors)\n" : " tensor)\n") : "\n", to);
  return IFD_OK;
}

static ifd_status print_costs(const ifd_survey *s, FILE *to) {
  const char *macs_note = "", *memory_note = "";
  TRY(print_parameters(s, to));
  if (s->n_unknown_macs)
    ALLOC(s->err, macs_note,
          ifd_arena_printf(s->arena, ", besides %d node%s whose shapes depend on data", s->n_unknown_macs,
                           s->n_unknown_macs > 1 ? "s" : ""));
  if (s->peak.n_unknown)
    ALLOC(s->err, memory_note,
          ifd_arena_printf(s->arena, ", besides %d value%s of unknown size", s->peak.n_unknown,
                           s->peak.n_unknown > 1 ? "s" : ""));
  if (s->n_unknown_macs && s->macs.has_number && s->macs.number == 0)
    fprintf(to, "%-*sof %d node%s not known: shapes depend on data (--shape may tell)\n", LABEL, "MACs",
            s->n_unknown_macs, s->n_unknown_macs > 1 ? "s" : "");
  else
    print_quantity(s, to, "MACs", &s->macs, ifd_text_short, macs_note);
  print_quantity(s, to, "memory", &s->memory, ifd_text_bytes, memory_note);
  return IFD_OK;
}

/* ---- tables ---- */

/* "1.2 M + ?" where some nodes' are not known. */
static const char *macs_cell(const ifd_survey *s, const ifd_operator_row *o) {
  int64_t number = 0;
  if (o->macs != 0 && !ifd_dim_eval(s->model->dims, o->macs, &s->probe, &number)) return "?";
  if (o->macs == 0) return o->n_unknown_macs && !o->is_function ? "?" : "";
  const char *known = ifd_text_short(s->arena, (double)number);
  return known && o->n_unknown_macs ? ifd_arena_printf(s->arena, "%s + ?", known) : known;
}

static ifd_status print_operators(const ifd_survey *s, FILE *to, int width) {
  static const ifd_column columns[] = {{"Operator", .flexible = true},
                                       {"Since", .right = true},
                                       {"Nodes", .right = true},
                                       {"Parameters", .right = true},
                                       {"MACs", .right = true},
                                       {"", .flexible = true},
                                       {0}};
  ifd_table table;
  ifd_table_init(&table, s->err, s->arena, columns);
  for (int i = 0; i < s->operators.n; i++) {
    const ifd_operator_row *o = &s->operators.v[i];
    const char *cells[6] = {o->label,
                            o->opset ? ifd_arena_printf(s->arena, "%d", o->opset) : "",
                            ifd_arena_printf(s->arena, "%d", o->n_nodes),
                            o->elements ? ifd_text_short(s->arena, (double)o->elements) : "",
                            macs_cell(s, o),
                            o->is_function ? "function of the model"
                            : o->supported ? ""
                                           : "not supported"};
    TRY(ifd_table_add(&table, cells));
  }
  fputc('\n', to);
  ifd_table_print(&table, to, width);
  return IFD_OK;
}

/* Normalizations that read alike are one line. */
static bool same_norm(const ifd_norm_row *a, const ifd_norm_row *b) {
  return strcmp(a->norm.label, b->norm.label) == 0 && a->norm.written_out == b->norm.written_out &&
         a->norm.statistics == b->norm.statistics && strcmp(a->norm.over, b->norm.over) == 0 &&
         strcmp(a->after, b->after) == 0;
}

static ifd_status add_norm_row(const ifd_survey *s, ifd_table *table, const ifd_norm_row *r, int n) {
  const char *cells[6] = {ifd_norm_name(s->arena, &r->norm),
                          r->norm.over,
                          ifd_norm_statistics_text(r->norm.statistics),
                          r->after,
                          ifd_arena_printf(s->arena, "%d", n),
                          ifd_survey_node_name(r->node)};
  return ifd_table_add(table, cells);
}

static ifd_status print_norms(const ifd_survey *s, FILE *to, int width) {
  static const ifd_column columns[] = {{"Normalization"},
                                       {"Over", .flexible = true},
                                       {"Statistics"},
                                       {"After", .flexible = true},
                                       {"Nodes", .right = true},
                                       {"First", .flexible = true},
                                       {0}};
  ifd_table table;
  bool mixes = false;
  if (!s->norms.n) return IFD_OK;
  ifd_table_init(&table, s->err, s->arena, columns);
  for (int i = 0; i < s->norms.n; i++) {
    int first = 0, n = 0;
    while (!same_norm(&s->norms.v[first], &s->norms.v[i])) first++;
    for (int k = i; first == i && k < s->norms.n; k++) n += same_norm(&s->norms.v[i], &s->norms.v[k]);
    if (n) TRY(add_norm_row(s, &table, &s->norms.v[i], n));
    mixes |= s->norms.v[i].norm.statistics == IFD_NORM_OF_BATCH;
  }
  fputc('\n', to);
  ifd_table_print(&table, to, width);
  if (mixes) fputs("Where statistics are of the batch, a sample's result depends on its batch.\n", to);
  return IFD_OK;
}

static void print_unsupported(const ifd_survey *s, FILE *to) {
  int n = 0;
  for (int i = 0; i < s->operators.n; i++) {
    const ifd_operator_row *o = &s->operators.v[i];
    if (o->supported) continue;
    fputs(n++ ? ", " : "\nNot supported: ", to);
    ifd_put_clean(to, o->label);
    if (o->opset) fprintf(to, " (opset %d)", o->opset);
  }
  if (n) fputc('\n', to);
}

ifd_status ifd_survey_summary(const ifd_survey *s, FILE *to, int width) {
  print_origin(s, to);
  label(to, "graph");
  ifd_put_clean(to, s->model->graph->name ? s->model->graph->name : "");
  fprintf(to, "%s%d node%s", s->model->graph->name && *s->model->graph->name ? ": " : "", s->n_nodes,
          s->n_nodes == 1 ? "" : "s");
  if (s->n_graphs > 1) fprintf(to, " in %d graphs", s->n_graphs);
  if (s->model->functions.n)
    fprintf(to, ", %d function%s", s->model->functions.n, s->model->functions.n > 1 ? "s" : "");
  fputc('\n', to);
  print_values(s, to);
  TRY(print_costs(s, to));
  TRY(print_operators(s, to, width));
  TRY(print_norms(s, to, width));
  print_unsupported(s, to);
  return IFD_OK;
}
