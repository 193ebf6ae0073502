#include "ir/text.h"

#include <locale.h>
#include <limits.h>
#include <string.h>

#include "ir/text_priv.h"
#include "ops/schema.h"

typedef IFD_VEC(const char *) name_list;

/* ---- values ---- */

/* A typed or bare name; type is unknown for a bare one. */
static ifd_status parse_value_info(ifd_parser *p, const ifd_type **type, const char **name) {
  *type = &ifd_type_unknown;
  if (ifd_parse_next_is_type(p)) TRY(ifd_parse_type(p, type));
  return ifd_lexer_name(&p->lexer, name);
}

static void declare(ifd_value *value, const ifd_type *type) {
  if (type->kind == IFD_KIND_UNKNOWN) return;
  value->declared = type;
  value->type = type;
}

static ifd_status parse_constant(ifd_parser *p, ifd_value *value, const ifd_type *type) {
  ifd_tensor tensor;
  TRY(ifd_parse_tensor(p, &tensor, type));
  return ifd_graph_add_constant(p->lexer.err, value->graph, value, &tensor);
}

static ifd_status parse_input(ifd_parser *p, ifd_graph *graph) {
  ifd_value *value;
  const ifd_type *type;
  const char *name;
  TRY(parse_value_info(p, &type, &name));
  TRY(ifd_value_new(p->lexer.err, &value, graph, name));
  declare(value, type);
  TRY(ifd_graph_add_input(p->lexer.err, graph, value));
  return ifd_lexer_take(&p->lexer, "=") ? parse_constant(p, value, type) : IFD_OK;
}

static ifd_status parse_inputs(ifd_parser *p, ifd_graph *graph) {
  TRY(ifd_lexer_expect(&p->lexer, "("));
  while (ifd_lexer_peek(&p->lexer) != ')') {
    TRY(parse_input(p, graph));
    if (!ifd_lexer_take(&p->lexer, ",")) break;
  }
  return ifd_lexer_expect(&p->lexer, ")");
}

/* Types and names that are said before the values exist. */
typedef struct claim {
  const ifd_type *type;
  const char *name;
} claim;
typedef IFD_VEC(claim) claim_list;

static ifd_status parse_claims(ifd_parser *p, claim_list *out) {
  TRY(ifd_lexer_expect(&p->lexer, "("));
  while (ifd_lexer_peek(&p->lexer) != ')') {
    claim c;
    TRY(parse_value_info(p, &c.type, &c.name));
    IFD_PUSH(p->lexer.err, p->lexer.arena, out, c);
    if (!ifd_lexer_take(&p->lexer, ",")) break;
  }
  return ifd_lexer_expect(&p->lexer, ")");
}

/* An initializer (which may be the default of an input), or the type of a value to come. */
static ifd_status parse_initializer(ifd_parser *p, ifd_graph *graph, claim_list *claims) {
  claim c;
  TRY(parse_value_info(p, &c.type, &c.name));
  if (!ifd_lexer_take(&p->lexer, "=")) {
    IFD_PUSH(p->lexer.err, p->lexer.arena, claims, c);
    return IFD_OK;
  }
  ifd_value *value = ifd_map_find(&graph->values, c.name);
  if (!value) {
    TRY(ifd_value_new(p->lexer.err, &value, graph, c.name));
    if (c.type->kind != IFD_KIND_UNKNOWN) value->type = c.type;
  }
  return parse_constant(p, value, c.type);
}

static ifd_status parse_initializers(ifd_parser *p, ifd_graph *graph, claim_list *claims) {
  if (!ifd_lexer_take(&p->lexer, "<")) return IFD_OK;
  while (ifd_lexer_peek(&p->lexer) != '>') {
    TRY(parse_initializer(p, graph, claims));
    if (!ifd_lexer_take(&p->lexer, ",")) break;
  }
  return ifd_lexer_expect(&p->lexer, ">");
}

/* ---- nodes ---- */

typedef struct node_parts {
  const char *name, *op_type, *domain, *overload;
  name_list outputs, inputs;
  ifd_attr_list attrs;
} node_parts;

/* Names between commas, where nothing before a comma is an empty name as "" is. */
static ifd_status parse_names(ifd_parser *p, name_list *out) {
  ifd_lexer *x = &p->lexer;
  do {
    const char *name = "";
    if (ifd_lexer_peek(x) == '"' || ifd_lexer_peek_identifier(x).len)
      TRY(ifd_lexer_name(x, &name));
    else if (ifd_lexer_peek(x) != ',')
      break;
    IFD_PUSH(x->err, x->arena, out, name);
  } while (ifd_lexer_take(x, ","));
  return IFD_OK;
}

/* [domain.]Op[:overload]; the domain is all before the last point. */
static ifd_status parse_operator(ifd_parser *p, node_parts *out) {
  ifd_lexer *x = &p->lexer;
  out->domain = out->overload = "";
  TRY(ifd_lexer_name(x, &out->op_type));
  while (ifd_lexer_take(x, ".")) {
    const char *domain =
        ifd_arena_printf(x->arena, "%s%s%s", out->domain, *out->domain ? "." : "", out->op_type);
    ALLOC(x->err, out->domain, domain);
    TRY(ifd_lexer_name(x, &out->op_type));
  }
  EXPECT_AT(x, *out->op_type, "an operator has no name");
  return ifd_lexer_take(x, ":") ? ifd_lexer_name(x, &out->overload) : IFD_OK;
}

static ifd_status parse_attrs(ifd_parser *p, ifd_graph *graph, ifd_attr_list *out) {
  ifd_lexer *x = &p->lexer;
  if (!ifd_lexer_take(x, "<")) return IFD_OK;
  do {
    const char *name;
    ifd_attr attr;
    TRY(ifd_lexer_name(x, &name));
    TRY(ifd_parse_attr(p, graph, name, &attr));
    IFD_PUSH(x->err, x->arena, out, attr);
  } while (ifd_lexer_take(x, ","));
  return ifd_lexer_expect(x, ">");
}

static ifd_status parse_parts(ifd_parser *p, ifd_graph *graph, node_parts *out) {
  ifd_lexer *x = &p->lexer;
  out->name = "";
  if (ifd_lexer_take(x, "[")) {
    if (ifd_lexer_peek(x) != ']') TRY(ifd_lexer_name(x, &out->name));
    TRY(ifd_lexer_expect(x, "]"));
  }
  TRY(parse_names(p, &out->outputs));
  TRY(ifd_lexer_expect(x, "="));
  TRY(parse_operator(p, out));
  TRY(parse_attrs(p, graph, &out->attrs));
  TRY(ifd_lexer_expect(x, "("));
  TRY(parse_names(p, &out->inputs));
  TRY(ifd_lexer_expect(x, ")"));
  return out->attrs.n ? IFD_OK : parse_attrs(p, graph, &out->attrs);
}

/* A reference without a type has the one that the schema gives the attribute. */
static ifd_status set_attrs(ifd_parser *p, ifd_node *node, const ifd_attr_list *attrs) {
  for (int i = 0; i < attrs->n; i++) {
    ifd_attr attr = attrs->v[i];
    const ifd_schema_attr *known = node->schema ? ifd_schema_find_attr(node->schema, attr.name) : NULL;
    if (attr.ref && attr.type == IFD_ATTR_UNDEFINED && known) attr.type = (ifd_attr_type)known->type;
    EXPECT_AT(&p->lexer, attr.type != IFD_ATTR_UNDEFINED, "attribute %s needs a type", attr.name);
    EXPECT_AT(&p->lexer, !ifd_node_find_attr(node, attr.name), "attribute %s is given twice", attr.name);
    TRY(ifd_node_set_attr(p->lexer.err, node, &attr));
  }
  return IFD_OK;
}

static ifd_status set_inputs(ifd_parser *p, ifd_node *node, const name_list *names) {
  for (int i = 0; i < names->n; i++) {
    if (!*names->v[i]) continue;
    ifd_value *value = ifd_graph_find_value(node->graph, names->v[i]);
    EXPECT_AT(&p->lexer, value, "%s is read but not defined above", names->v[i]);
    TRY(ifd_node_set_input(p->lexer.err, node, i, value));
  }
  return IFD_OK;
}

static ifd_status set_outputs(ifd_parser *p, ifd_node *node, const name_list *names) {
  for (int i = 0; i < names->n; i++) {
    ifd_value *value;
    if (!*names->v[i]) continue;
    TRY(ifd_value_new(p->lexer.err, &value, node->graph, names->v[i]));
    TRY(ifd_node_set_output(p->lexer.err, node, i, value));
  }
  return IFD_OK;
}

static ifd_status make_node(ifd_parser *p, ifd_graph *graph, const node_parts *parts) {
  ifd_node *node;
  TRY(ifd_node_new(p->lexer.err, &node, graph, parts->domain, parts->op_type, parts->inputs.n,
                   parts->outputs.n));
  node->name = parts->name;
  node->overload = parts->overload;
  TRY(set_attrs(p, node, &parts->attrs));
  TRY(set_inputs(p, node, &parts->inputs));
  TRY(set_outputs(p, node, &parts->outputs));
  ifd_node_insert(node, NULL);
  return IFD_OK;
}

static ifd_status parse_node(ifd_parser *p, ifd_graph *graph) {
  node_parts parts = {0};
  const char *start = p->lexer.at;
  TRY(parse_parts(p, graph, &parts));
  ifd_status status = make_node(p, graph, &parts);
  if (status != IFD_OK) p->lexer.at = start; /* an error is placed where the node begins */
  return status;
}

static ifd_status parse_nodes(ifd_parser *p, ifd_graph *graph) {
  TRY(ifd_lexer_expect(&p->lexer, "{"));
  while (!ifd_lexer_take(&p->lexer, "}")) TRY(parse_node(p, graph));
  return IFD_OK;
}

/* ---- graphs ---- */

static ifd_status set_graph_outputs(ifd_parser *p, ifd_graph *graph, const claim_list *outputs) {
  for (int i = 0; i < outputs->n; i++) {
    ifd_value *value = ifd_graph_find_value(graph, outputs->v[i].name);
    EXPECT_AT(&p->lexer, value, "output %s of the graph is not defined", outputs->v[i].name);
    if (value->graph == graph) declare(value, outputs->v[i].type);
    TRY(ifd_graph_add_output(p->lexer.err, graph, value));
  }
  return IFD_OK;
}

/* What is said of names that no node defines is left out. */
static void set_types(ifd_graph *graph, const claim_list *claims) {
  for (int i = 0; i < claims->n; i++) {
    ifd_value *value = ifd_map_find(&graph->values, claims->v[i].name);
    if (value) declare(value, claims->v[i].type);
  }
}

ifd_status ifd_parse_graph(ifd_parser *p, ifd_graph *graph) {
  claim_list outputs = {0}, claims = {0};
  TRY(ifd_lexer_name(&p->lexer, &graph->name));
  TRY(parse_inputs(p, graph));
  TRY(ifd_lexer_expect(&p->lexer, "=>"));
  TRY(parse_claims(p, &outputs));
  TRY(parse_initializers(p, graph, &claims));
  TRY(parse_nodes(p, graph));
  set_types(graph, &claims);
  return set_graph_outputs(p, graph, &outputs);
}

/* ---- functions ---- */

typedef struct header {
  const char *domain, *overload;
  ifd_opset *opsets;
  int n_opsets;
} header;

static ifd_status parse_function_attrs(ifd_parser *p, ifd_function *f) {
  ifd_lexer *x = &p->lexer;
  name_list required = {0};
  ifd_attr_list defaults = {0};
  if (!ifd_lexer_take(x, "<")) return IFD_OK;
  do {
    const char *name;
    ifd_attr attr;
    TRY(ifd_lexer_name(x, &name));
    if (ifd_lexer_peek(x) != ':' && ifd_lexer_peek(x) != '=') {
      IFD_PUSH(x->err, x->arena, &required, name);
      continue;
    }
    TRY(ifd_parse_attr(p, NULL, name, &attr));
    EXPECT_AT(x, attr.type != IFD_ATTR_UNDEFINED && !attr.ref, "default of %s is no value", name);
    IFD_PUSH(x->err, x->arena, &defaults, attr);
  } while (ifd_lexer_take(x, ","));
  f->attributes = required.v;
  f->n_attributes = required.n;
  f->defaults = defaults.v;
  f->n_defaults = defaults.n;
  return ifd_lexer_expect(x, ">");
}

static ifd_status parse_opsets(ifd_parser *p, header *out) {
  ifd_lexer *x = &p->lexer;
  IFD_VEC(ifd_opset) opsets = {0};
  TRY(ifd_lexer_expect(x, "["));
  while (ifd_lexer_peek(x) != ']') {
    ifd_opset opset;
    int64_t version;
    TRY(ifd_lexer_text(x, &opset.domain));
    TRY(ifd_lexer_expect(x, ":"));
    TRY(ifd_lexer_int(x, &version));
    EXPECT_AT(x, version > 0 && version <= INT_MAX, "%lld is no opset version", (long long)version);
    opset.domain = ifd_domain(opset.domain);
    opset.version = (int)version;
    IFD_PUSH(x->err, x->arena, &opsets, opset);
    if (!ifd_lexer_take(x, ",")) break;
  }
  out->opsets = opsets.v;
  out->n_opsets = opsets.n;
  return ifd_lexer_expect(x, "]");
}

/* metadata_props, which the graph has no place for. */
static ifd_status skip_pairs(ifd_parser *p) {
  ifd_str s;
  TRY(ifd_lexer_expect(&p->lexer, "["));
  while (ifd_lexer_peek(&p->lexer) != ']') {
    TRY(ifd_lexer_string(&p->lexer, &s));
    TRY(ifd_lexer_expect(&p->lexer, ":"));
    TRY(ifd_lexer_string(&p->lexer, &s));
    if (!ifd_lexer_take(&p->lexer, ",")) break;
  }
  return ifd_lexer_expect(&p->lexer, "]");
}

/* One `key: value` of the list before a model or function. */
static ifd_status parse_header_item(ifd_parser *p, header *h, bool function) {
  ifd_model *m = p->model;
  const char *ignored;
  const struct {
    const char *key;
    const char **text;
    int64_t *number;
    bool in_function;
  } items[] = {{"ir_version", NULL, &m->ir_version, false},
               {"producer_name", &m->producer_name, NULL, false},
               {"producer_version", &m->producer_version, NULL, false},
               {"model_version", NULL, &m->model_version, false},
               {"domain", function ? &h->domain : &m->domain, NULL, true},
               {"overload", &h->overload, NULL, true},
               {"doc_string", function ? &ignored : &m->doc, NULL, true}};
  const char *key;
  TRY(ifd_lexer_identifier(&p->lexer, &key));
  TRY(ifd_lexer_expect(&p->lexer, ":"));
  if (strcmp(key, "opset_import") == 0) return parse_opsets(p, h);
  if (strcmp(key, "metadata_props") == 0) return skip_pairs(p);
  for (size_t i = 0; i < sizeof items / sizeof *items; i++) {
    if (strcmp(key, items[i].key) != 0 || (function && !items[i].in_function)) continue;
    return items[i].number ? ifd_lexer_int(&p->lexer, items[i].number)
                           : ifd_lexer_text(&p->lexer, items[i].text);
  }
  FAIL(p->lexer.err, BAD_FILE, "%s is not known here", key);
}

static ifd_status parse_header(ifd_parser *p, header *h, bool function) {
  *h = (header){.domain = "", .overload = ""};
  if (!ifd_lexer_take(&p->lexer, "<")) return IFD_OK;
  do TRY(parse_header_item(p, h, function));
  while (ifd_lexer_take(&p->lexer, ","));
  return ifd_lexer_expect(&p->lexer, ">");
}

/* Types in a function's signature are claims that hold for some calls at most: read, not kept. */
static ifd_status parse_function_values(ifd_parser *p, ifd_function *f, claim_list *outputs) {
  claim_list inputs = {0}, ignored = {0};
  TRY(parse_claims(p, &inputs));
  for (int i = 0; i < inputs.n; i++) {
    ifd_value *value;
    TRY(ifd_value_new(p->lexer.err, &value, f->body, inputs.v[i].name));
    TRY(ifd_graph_add_input(p->lexer.err, f->body, value));
  }
  TRY(ifd_lexer_expect(&p->lexer, "=>"));
  TRY(parse_claims(p, outputs));
  for (int i = 0; i < outputs->n; i++) outputs->v[i].type = &ifd_type_unknown;
  return parse_initializers(p, f->body, &ignored);
}

static ifd_status parse_function(ifd_parser *p) {
  header h;
  const char *name;
  ifd_function *f;
  claim_list outputs = {0};
  TRY(parse_header(p, &h, true));
  TRY(ifd_lexer_name(&p->lexer, &name));
  TRY(ifd_function_new(p->lexer.err, &f, p->model, h.domain, name, h.overload));
  f->opsets.v = h.opsets;
  f->opsets.n = f->opsets.cap = h.n_opsets;
  f->body->name = f->name;
  TRY(parse_function_attrs(p, f));
  TRY(parse_function_values(p, f, &outputs));
  TRY(parse_nodes(p, f->body));
  return set_graph_outputs(p, f->body, &outputs);
}

/* ---- models ---- */

static ifd_status resolve_nodes(ifd_graph *graph, void *context) {
  (void)context;
  IFD_EACH_NODE(node, graph) ifd_node_resolve(node);
  return IFD_OK;
}

static ifd_status parse_model(ifd_parser *p) {
  ifd_model *m = p->model;
  header h;
  TRY(parse_header(p, &h, false));
  m->opsets.v = h.opsets;
  m->opsets.n = m->opsets.cap = h.n_opsets;
  TRY(ifd_parse_graph(p, m->graph));
  while (!ifd_lexer_at_end(&p->lexer)) TRY(parse_function(p));
  if (!m->functions.n) return IFD_OK;
  /* calls were met before the functions they mean */
  TRY(ifd_graph_visit(m->graph, resolve_nodes, NULL));
  for (int i = 0; i < m->functions.n; i++) TRY(ifd_graph_visit(m->functions.v[i]->body, resolve_nodes, NULL));
  return IFD_OK;
}

static ifd_status parse_in_c_locale(ifd_parser *p) {
  locale_t c = newlocale(LC_ALL_MASK, "C", NULL);
  EXPECT(p->lexer.err, c, NO_MEMORY, "out of memory");
  locale_t before = uselocale(c);
  ifd_status status = parse_model(p);
  uselocale(before);
  freelocale(c);
  return status;
}

ifd_status ifd_text_parse(ifd_error *err, ifd_model **out, const char *text, size_t len, ifd_budget *budget) {
  ifd_model *model;
  ALLOC(err, model, ifd_model_create(budget));
  ifd_parser p = {{err, &model->arena, text, text, text + len}, model, 0};
  ifd_status status = parse_in_c_locale(&p);
  if (status == IFD_OK) {
    *out = model;
  } else {
    ifd_lexer_add_place(&p.lexer);
    ifd_model_destroy(model);
  }
  return status;
}
