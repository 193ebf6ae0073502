/* Texts about models, operators and passes. */
#include "api/api.h"

#include "inspect/view.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- models ---- */

/* The survey names free dimensions: it works on a copy. */
static ifd_status inspect(ifd_error *err, FILE *to, const void *of, const char *what, int width) {
  const infold_model *model = of;
  infold_model *copy;
  ifd_survey *survey;
  ifd_arena arena;
  TRY(ifd_api_clone(err, &copy, model, &model->budget));
  ifd_arena_init(&arena, NULL);
  ifd_status status = ifd_survey_new(err, &survey, copy->ir, &arena);
  if (status == IFD_OK) status = ifd_survey_print(survey, what, to, width);
  ifd_arena_free(&arena);
  infold_destroy_model(copy);
  return status;
}

infold_status infold_inspect_model(infold_error *to, char **out, const infold_model *model, const char *what,
                                   int width) {
  IFD_API_COMPUTES;
  return ifd_api_write(to, out, inspect, model, what, width);
}

/* ---- operators ---- */

static const char *domain_of(const char *domain) { return domain && *domain ? domain : "ai.onnx"; }

/* Versions of an operator that rows serve: "1, 6, 7". Rows of one name need not stand together. */
static ifd_status versions_of(ifd_error *err, ifd_arena *arena, const ifd_op *op, const char **out) {
  *out = "";
  for (size_t i = 0; i < ifd_schema_count(); i++) {
    const ifd_schema *s = ifd_schema_at(i);
    const ifd_op *row = ifd_op_find(s->domain, s->name, s->since_version);
    if (strcmp(s->name, op->name) != 0 || !ifd_domain_equal(s->domain, op->domain) || !row || !row->eval ||
        s->deprecated)
      continue;
    ALLOC(err, *out, ifd_arena_printf(arena, "%s%s%d", *out, **out ? ", " : "", s->since_version));
  }
  return IFD_OK;
}

static int compare_ops(const void *a, const void *b) {
  const ifd_op *x = *(const ifd_op *const *)a, *y = *(const ifd_op *const *)b;
  int order = strcmp(domain_of(x->domain), domain_of(y->domain));
  if (!order) order = strcmp(x->name, y->name);
  return order ? order : (x->since > y->since) - (x->since < y->since);
}

/* Rows with an evaluation, sorted; operators of infold's own domain are not for models. */
static ifd_status sorted_ops(ifd_error *err, ifd_arena *arena, const ifd_op ***out, int *n) {
  int count = 0;
  while (ifd_op_at(count)) count++;
  *n = 0;
  ALLOC(err, *out, ifd_new_array(arena, const ifd_op *, count + 1));
  for (int i = 0; i < count; i++)
    if (ifd_op_at(i)->eval && ifd_schema_find(ifd_op_at(i)->domain, ifd_op_at(i)->name, ifd_op_at(i)->since))
      (*out)[(*n)++] = ifd_op_at(i);
  qsort(*out, (size_t)*n, sizeof **out, compare_ops);
  return IFD_OK;
}

static bool same_op(const ifd_op *a, const ifd_op *b) {
  return strcmp(a->name, b->name) == 0 && ifd_domain_equal(a->domain, b->domain);
}

/* Some kernels are reached through operators of infold's own domain, which passes make of ONNX's. */
static bool is_fast(const ifd_op *op) {
  for (int i = 0; ifd_op_at(i); i++) {
    const ifd_op *row = ifd_op_at(i);
    bool own = row->domain && strcmp(row->domain, "infold") == 0 && strcmp(row->name, op->name) == 0;
    if (row->lower && (own || same_op(row, op))) return true;
  }
  return false;
}

/* "float16, float, seq(float)": names of the types of a set. */
static void print_types(FILE *to, const ifd_type_set *set) {
  static const char *const kinds[IFD_SCHEMA_N_KINDS] = {"%s",
                                                        "sparse(%s)",
                                                        "seq(%s)",
                                                        "optional(%s)",
                                                        "optional(seq(%s))",
                                                        "map(int64, %s)",
                                                        "map(string, %s)",
                                                        "seq(map(int64, %s))",
                                                        "seq(map(string, %s))"};
  const char *comma = "";
  for (int kind = 0; kind < IFD_SCHEMA_N_KINDS; kind++)
    for (int t = 0; t < 64; t++) {
      if (!(set->dtypes[kind] >> t & 1)) continue;
      fputs(comma, to);
      fprintf(to, kinds[kind], ifd_dtype_name((ifd_dtype)t));
      comma = ", ";
    }
}

/* The types that the newest version's variables stand for: "T: float, double; I: int64". */
static ifd_status newest_types(ifd_error *err, ifd_arena *arena, const ifd_op *op, const char **out) {
  const ifd_schema *s = ifd_schema_find(op->domain, op->name, ifd_schema_latest_opset(op->domain));
  char *text = NULL;
  size_t len;
  *out = "";
  FILE *to = s ? open_memstream(&text, &len) : NULL;
  if (!s) return IFD_OK;
  EXPECT(err, to, NO_MEMORY, "out of memory");
  for (int i = 0; i < s->n_constraints; i++) {
    fprintf(to, "%s%s: ", i ? "; " : "", s->constraints[i].name);
    print_types(to, s->constraints[i].allowed);
  }
  fclose(to);
  *out = text ? ifd_arena_strdup(arena, text) : NULL;
  free(text);
  EXPECT(err, *out, NO_MEMORY, "out of memory");
  return IFD_OK;
}

static ifd_status list_operators(ifd_error *err, FILE *to, ifd_arena *arena, int width) {
  static const ifd_column columns[] = {
      {"Operator"}, {"Domain"}, {"Versions", .flexible = true}, {"Kernels"}, {0}};
  static const ifd_column wide[] = {{"Operator"}, {"Domain"}, {"Versions"}, {"Kernels"}, {"Types"}, {0}};
  bool markdown = width < 0;
  const ifd_op **ops;
  ifd_table table;
  int n;
  TRY(sorted_ops(err, arena, &ops, &n));
  ifd_table_init(&table, err, arena, markdown ? wide : columns);
  for (int i = 0; i < n; i++) {
    if (i && same_op(ops[i - 1], ops[i])) continue;
    const char *cells[5] = {ops[i]->name, domain_of(ops[i]->domain), NULL,
                            is_fast(ops[i]) ? "fast" : "reference"};
    TRY(versions_of(err, arena, ops[i], &cells[2]));
    if (markdown) TRY(newest_types(err, arena, ops[i], &cells[4]));
    TRY(ifd_table_add(&table, cells));
  }
  if (markdown)
    ifd_table_print_markdown(&table, to);
  else
    ifd_table_print(&table, to, width);
  fprintf(to, "\n%d operators\n", table.rows.n);
  return IFD_OK;
}

static const char *const attr_types[] = {
    "",        "float",   "int",    "string",        "tensor",         "graph", "floats", "ints",
    "strings", "tensors", "graphs", "sparse_tensor", "sparse_tensors", "type",  "types"};

static void print_default(FILE *to, const ifd_schema_attr *a) {
  if (a->required)
    fputs("required", to);
  else if (!a->has_default)
    fputs("optional", to);
  else if (a->type == IFD_ATTR_FLOAT)
    fprintf(to, "%g", a->value.f);
  else if (a->type == IFD_ATTR_INT)
    fprintf(to, "%lld", (long long)a->value.i);
  else if (a->type == IFD_ATTR_STRING)
    fprintf(to, "\"%s\"", a->value.s);
  else
    fprintf(to, "%d values", a->n_values);
}

static void print_params(FILE *to, const char *kind, const ifd_schema_param *params, int n) {
  static const char *const options[] = {"", "optional", "any number"};
  for (int i = 0; i < n; i++)
    fprintf(to, "  %-10s %-20s %-12s %s\n", i ? "" : kind, params[i].name, params[i].type,
            options[params[i].option]);
}

static void describe(FILE *to, const ifd_schema *s) {
  const ifd_op *op = ifd_op_find(s->domain, s->name, s->since_version);
  fprintf(to, "%s %s, version %d%s\n", domain_of(s->domain), s->name, s->since_version,
          s->deprecated      ? ": deprecated"
          : !op || !op->eval ? ": not supported"
          : is_fast(op)      ? ""
                             : ": by its reference");
  print_params(to, "inputs", s->inputs, s->n_inputs);
  print_params(to, "outputs", s->outputs, s->n_outputs);
  for (int i = 0; i < s->n_attrs; i++) {
    fprintf(to, "  %-10s %-20s %-12s ", i ? "" : "attributes", s->attrs[i].name,
            attr_types[s->attrs[i].type]);
    print_default(to, &s->attrs[i]);
    fputc('\n', to);
  }
  for (int i = 0; i < s->n_constraints; i++) {
    fprintf(to, "  %-10s %-20s ", i ? "" : "types", s->constraints[i].name);
    print_types(to, s->constraints[i].allowed);
    fputc('\n', to);
  }
}

static ifd_status describe_operator(ifd_error *err, FILE *to, const char *name) {
  int n = 0;
  for (size_t i = 0; i < ifd_schema_count(); i++) {
    const ifd_schema *s = ifd_schema_at(i);
    if (strcmp(s->name, name) != 0) continue;
    if (n++) fputc('\n', to);
    describe(to, s);
  }
  EXPECT(err, n, USAGE, "ONNX has no operator '%s'; 'infold ops' lists those that infold runs", name);
  return IFD_OK;
}

static ifd_status describe_operators(ifd_error *err, FILE *to, const void *of, const char *name, int width) {
  ifd_arena arena;
  (void)of;
  if (name) return describe_operator(err, to, name);
  ifd_arena_init(&arena, NULL);
  ifd_status status = list_operators(err, to, &arena, width);
  ifd_arena_free(&arena);
  return status;
}

infold_status infold_describe_operators(infold_error *to, char **out, const char *name, int width) {
  return ifd_api_write(to, out, describe_operators, NULL, name, width);
}

/* ---- passes ---- */

static const char *const phases[IFD_N_PHASES] = {
    [IFD_PHASE_SIMPLIFY] = "simplify", [IFD_PHASE_FUSE] = "fuse", [IFD_PHASE_FINISH] = "finish"};

static const char *phase_name(ifd_phase phase) { return phases[phase] ? phases[phase] : "plan"; }

static ifd_status list_passes(ifd_error *err, FILE *to, ifd_arena *arena, int width) {
  static const ifd_column columns[] = {
      {"Pass"}, {"Phase"}, {"What it does", .flexible = true, .wraps = true}, {0}};
  ifd_table table;
  ifd_table_init(&table, err, arena, columns);
  for (const ifd_pass_entry *p = ifd_passes; p->name; p++) {
    const char *cells[3] = {p->name, phase_name(p->pass->phase), p->pass->summary};
    if (p->pass->on_request)
      ALLOC(err, cells[2], ifd_arena_printf(arena, "%s (only on request)", p->pass->summary));
    TRY(ifd_table_add(&table, cells));
  }
  ifd_table_print(&table, to, width);
  return IFD_OK;
}

static ifd_status describe_pass(ifd_error *err, FILE *to, const char *name) {
  const ifd_pass_entry *p = ifd_passes;
  while (p->name && strcmp(p->name, name) != 0) p++;
  EXPECT(err, p->name, USAGE, "there is no pass '%s'; 'infold passes' lists them", name);
  fprintf(to, "%s %s.\n  phase %s%s\n", p->name, p->pass->summary, phase_name(p->pass->phase),
          p->pass->on_request ? "; runs only when it is named" : "");
  for (const ifd_rule *r = p->pass->rules; r && r->roots; r++)
    fprintf(to, "  at %s: %s\n", strcmp(r->roots, "*") == 0 ? "any operator" : r->roots,
            r->exactness == IFD_EXACT ? "same bits" : "same function, floats may differ in the last bits");
  if (p->pass->graph) fputs("  on whole graphs\n", to);
  return IFD_OK;
}

static ifd_status describe_passes(ifd_error *err, FILE *to, const void *of, const char *name, int width) {
  ifd_arena arena;
  (void)of;
  if (name) return describe_pass(err, to, name);
  ifd_arena_init(&arena, NULL);
  ifd_status status = list_passes(err, to, &arena, width);
  ifd_arena_free(&arena);
  return status;
}

infold_status infold_describe_passes(infold_error *to, char **out, const char *name, int width) {
  return ifd_api_write(to, out, describe_passes, NULL, name, width);
}
