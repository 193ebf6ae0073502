#include "inspect/view.h"

#include "ir/text.h"
#include <math.h>
#include <string.h>

/* ---- text ---- */

enum { SHOWN_ELEMENTS = 16 };

static ifd_status print_text(const ifd_survey *s, FILE *to, int width) {
  char *text;
  (void)width;
  ifd_text_options options = {.types = true, .max_elements = SHOWN_ELEMENTS};
  TRY(ifd_text_print(s->err, &text, s->arena, s->model, &options));
  fputs(text, to);
  return IFD_OK;
}

/* ---- nodes ---- */

/* Weights are left out: they are in the table of weights. */
static const char *names_of(ifd_arena *arena, ifd_value *const *values, int n) {
  const char *text = "";
  for (int i = 0; i < n && text; i++)
    if (values[i] && !ifd_value_constant(values[i]))
      text = ifd_arena_printf(arena, "%s%s%s", text, *text ? ", " : "", values[i]->name);
  return text;
}

static const char *types_of(const ifd_survey *s, ifd_value *const *values, int n) {
  const char *text = "";
  char type[256];
  for (int i = 0; i < n && text; i++)
    if (values[i])
      text = ifd_arena_printf(s->arena, "%s%s%s", text, *text ? ", " : "",
                              ifd_type_text(s->model->dims, values[i]->type, type, sizeof type));
  return text;
}

static const char *macs_of(const ifd_survey *s, const ifd_node_row *row) {
  char text[256];
  if (!row->has_macs) return "?";
  if (row->macs == 0) return "";
  if (ifd_dim_is_number(row->macs)) return ifd_text_short(s->arena, (double)row->macs);
  return ifd_arena_strdup(s->arena, ifd_dim_text(s->model->dims, row->macs, text, sizeof text));
}

static ifd_status print_nodes(const ifd_survey *s, FILE *to, int width) {
  static const ifd_column columns[] = {{"Node", .flexible = true},
                                       {"Operator", .flexible = true},
                                       {"Inputs", .flexible = true},
                                       {"Outputs", .flexible = true},
                                       {"Type", .flexible = true},
                                       {"MACs", .right = true, .flexible = true},
                                       {0}};
  ifd_table table;
  ifd_table_init(&table, s->err, s->arena, columns);
  for (int i = 0; i < s->nodes.n; i++) {
    const ifd_node_row *r = &s->nodes.v[i];
    const ifd_node *n = r->node;
    const char *cells[6] = {
        ifd_arena_printf(s->arena, "%*s%s", 2 * r->depth, "", ifd_survey_node_name(n)),
        ifd_arena_printf(s->arena, "%s%s%s", n->domain, *n->domain ? "." : "", n->op_type),
        names_of(s->arena, n->inputs, n->n_inputs),
        names_of(s->arena, n->outputs, n->n_outputs),
        types_of(s, n->outputs, n->n_outputs),
        macs_of(s, r)};
    TRY(ifd_table_add(&table, cells));
  }
  ifd_table_print(&table, to, width);
  return IFD_OK;
}

/* ---- weights ---- */

static const char *number(ifd_arena *arena, double x) {
  return isnan(x) ? "-" : ifd_arena_printf(arena, "%.4g", x);
}

static const char *count(ifd_arena *arena, int64_t n) { return n ? ifd_text_count(arena, (double)n) : ""; }

static ifd_status print_weights(const ifd_survey *s, FILE *to, int width) {
  static const ifd_column columns[] = {{"Weight", .flexible = true}, {"Type", .flexible = true},
                                       {"Bytes", .right = true},     {"Min", .right = true},
                                       {"Max", .right = true},       {"Mean", .right = true},
                                       {"Zeros", .right = true},     {"NaN", .right = true},
                                       {"Inf", .right = true},       {0}};
  ifd_table table;
  ifd_table_init(&table, s->err, s->arena, columns);
  for (int i = 0; i < s->weights.n; i++) {
    const ifd_weight_row *w = &s->weights.v[i];
    char shape[256];
    ifd_weight_facts f;
    ifd_weight_measure(w->tensor, &f);
    const char *cells[9] = {w->name,
                            ifd_arena_printf(s->arena, "%s%s", ifd_dtype_name(w->tensor->dtype),
                                             ifd_shape_text(&w->tensor->shape, shape, sizeof shape)),
                            ifd_text_bytes(s->arena, (double)ifd_tensor_bytes(w->tensor)),
                            number(s->arena, f.min),
                            number(s->arena, f.max),
                            number(s->arena, f.mean),
                            count(s->arena, f.n_zero),
                            count(s->arena, f.n_nan),
                            count(s->arena, f.n_inf)};
    TRY(ifd_table_add(&table, cells));
  }
  ifd_table_print(&table, to, width);
  return IFD_OK;
}

/* ---- normalizations ---- */

static ifd_status print_norms(const ifd_survey *s, FILE *to, int width) {
  static const ifd_column columns[] = {{"Layer", .flexible = true}, {"Normalization"},
                                       {"Over", .flexible = true},  {"Statistics"},
                                       {"After", .flexible = true}, {0}};
  ifd_table table;
  ifd_table_init(&table, s->err, s->arena, columns);
  for (int i = 0; i < s->norms.n; i++) {
    const ifd_norm_row *r = &s->norms.v[i];
    const char *cells[5] = {ifd_survey_node_name(r->node), ifd_norm_name(s->arena, &r->norm), r->norm.over,
                            ifd_norm_statistics_text(r->norm.statistics), r->after};
    TRY(ifd_table_add(&table, cells));
  }
  ifd_table_print(&table, to, width);
  return IFD_OK;
}

/* ---- all of them ---- */

ifd_status ifd_survey_print(const ifd_survey *s, const char *what, FILE *to, int width) {
  static const struct {
    const char *name;
    ifd_status (*print)(const ifd_survey *survey, FILE *to, int width);
  } views[] = {{"summary", ifd_survey_summary}, {"nodes", print_nodes}, {"weights", print_weights},
               {"norms", print_norms},          {"text", print_text},   {"json", ifd_survey_json},
               {"dot", ifd_survey_dot}};
  for (size_t i = 0; i < sizeof views / sizeof *views; i++)
    if (strcmp(views[i].name, what) == 0) return views[i].print(s, to, width);
  FAIL(s->err, USAGE, "a view is summary, nodes, weights, norms, text, json or dot, not '%s'", what);
}
