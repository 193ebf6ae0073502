#include "ir/text_priv.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_DEPTH = 100 };

const char *const ifd_attr_type_names[] = {
    [IFD_ATTR_UNDEFINED] = "undefined",
    [IFD_ATTR_FLOAT] = "float",
    [IFD_ATTR_INT] = "int",
    [IFD_ATTR_STRING] = "string",
    [IFD_ATTR_TENSOR] = "tensor",
    [IFD_ATTR_GRAPH] = "graph",
    [IFD_ATTR_FLOATS] = "floats",
    [IFD_ATTR_INTS] = "ints",
    [IFD_ATTR_STRINGS] = "strings",
    [IFD_ATTR_TENSORS] = "tensors",
    [IFD_ATTR_GRAPHS] = "graphs",
    [IFD_ATTR_SPARSE_TENSOR] = "sparse_tensor",
    [IFD_ATTR_SPARSE_TENSORS] = "sparse_tensors",
    [IFD_ATTR_TYPE_PROTO] = "type_proto",
    [IFD_ATTR_TYPE_PROTOS] = "type_protos",
};

enum { N_ATTR_TYPES = sizeof ifd_attr_type_names / sizeof *ifd_attr_type_names };

/* A list type and the type of its elements. */
static const struct {
  ifd_attr_type list, element;
} lists[] = {
    {IFD_ATTR_FLOATS, IFD_ATTR_FLOAT},           {IFD_ATTR_INTS, IFD_ATTR_INT},
    {IFD_ATTR_STRINGS, IFD_ATTR_STRING},         {IFD_ATTR_TENSORS, IFD_ATTR_TENSOR},
    {IFD_ATTR_GRAPHS, IFD_ATTR_GRAPH},           {IFD_ATTR_SPARSE_TENSORS, IFD_ATTR_SPARSE_TENSOR},
    {IFD_ATTR_TYPE_PROTOS, IFD_ATTR_TYPE_PROTO},
};

enum { N_LISTS = sizeof lists / sizeof *lists };

ifd_attr_type ifd_attr_element_type(ifd_attr_type type) {
  for (int i = 0; i < N_LISTS; i++)
    if (lists[i].list == type) return lists[i].element;
  return IFD_ATTR_UNDEFINED;
}

static ifd_attr_type list_of(ifd_attr_type element) {
  for (int i = 0; i < N_LISTS; i++)
    if (lists[i].element == element) return lists[i].list;
  return IFD_ATTR_UNDEFINED;
}

/* ---- types ---- */

static const char *const type_words[] = {"seq", "optional", "map", "sparse_tensor", "opaque"};

static bool is_type_word(ifd_str word) {
  for (size_t i = 0; i < sizeof type_words / sizeof *type_words; i++)
    if (word.len == strlen(type_words[i]) && memcmp(word.s, type_words[i], word.len) == 0) return true;
  return ifd_dtype_find(word.s, word.len) != IFD_UNDEFINED;
}

bool ifd_text_is_reserved(const char *name) {
  ifd_str word = {name, strlen(name)};
  return is_type_word(word) || ifd_is_float_word(word);
}

bool ifd_parse_next_is_type(ifd_parser *p) { return is_type_word(ifd_lexer_peek_identifier(&p->lexer)); }

static ifd_status parse_dim(ifd_parser *p, ifd_dim *out) {
  ifd_lexer *x = &p->lexer;
  const char *name;
  bool unknown = ifd_lexer_take(x, "?");
  bool named = !unknown && (ifd_lexer_peek(x) == '"' || ifd_lexer_peek_identifier(x).len);
  *out = 0;
  if (named) {
    TRY(ifd_lexer_name(x, &name));
    unknown = !*name || strcmp(name, "?") == 0;
    if (!unknown) *out = ifd_dim_symbol(p->model->dims, name);
  } else if (!unknown) {
    TRY(ifd_lexer_int(x, out));
    EXPECT_AT(x, *out >= 0, "a dimension is negative");
  }
  if (unknown) *out = ifd_dim_unknown(p->model->dims);
  return IFD_OK;
}

/* [] is a tensor of unknown rank, no brackets a scalar. */
static ifd_status parse_tensor_type(ifd_parser *p, const ifd_type **out, ifd_kind kind) {
  ifd_lexer *x = &p->lexer;
  ifd_dim dims[IFD_MAX_RANK];
  ifd_str word = ifd_lexer_peek_identifier(x);
  ifd_type type = {.kind = kind, .dtype = ifd_dtype_find(word.s, word.len), .has_rank = true};
  EXPECT_AT(x, type.dtype != IFD_UNDEFINED, "an element type was expected");
  x->at += word.len;
  if (ifd_lexer_take(x, "[")) {
    type.has_rank = !ifd_lexer_take(x, "]");
    while (type.has_rank) {
      EXPECT_AT(x, type.rank < IFD_MAX_RANK, "more than %d dimensions", IFD_MAX_RANK);
      TRY(parse_dim(p, &dims[type.rank++]));
      if (!ifd_lexer_take(x, ",")) break;
    }
    if (type.has_rank) TRY(ifd_lexer_expect(x, "]"));
  }
  ALLOC(x->err, type.dims, ifd_arena_memdup(x->arena, dims, (size_t)type.rank * sizeof *dims));
  ALLOC(x->err, *out, ifd_arena_memdup(x->arena, &type, sizeof type));
  return IFD_OK;
}

static ifd_status parse_map_type(ifd_parser *p, const ifd_type **out) {
  ifd_lexer *x = &p->lexer;
  const ifd_type *value;
  ifd_str word = ifd_lexer_peek_identifier(x);
  ifd_dtype key = ifd_dtype_find(word.s, word.len);
  EXPECT_AT(x, key != IFD_UNDEFINED, "the type of a map's keys was expected");
  x->at += word.len;
  TRY(ifd_lexer_expect(x, ","));
  TRY(ifd_parse_type(p, &value));
  ALLOC(x->err, *out, ifd_type_map(x->arena, key, value));
  return IFD_OK;
}

/* infold has no such values: the type is unknown. */
static ifd_status parse_opaque_type(ifd_parser *p, const ifd_type **out) {
  const char *name;
  *out = &ifd_type_unknown;
  while (ifd_lexer_peek(&p->lexer) != ')') {
    TRY(ifd_lexer_identifier(&p->lexer, &name));
    if (!ifd_lexer_take(&p->lexer, ".") && !ifd_lexer_take(&p->lexer, ",")) break;
  }
  return IFD_OK;
}

static ifd_status parse_container_type(ifd_parser *p, const ifd_type **out, ifd_kind kind) {
  const ifd_type *elem;
  TRY(ifd_parse_type(p, &elem));
  ALLOC(p->lexer.err, *out, ifd_type_of(p->lexer.arena, kind, elem));
  return IFD_OK;
}

static ifd_status parse_type_of_word(ifd_parser *p, const ifd_type **out) {
  ifd_lexer *x = &p->lexer;
  const char *word;
  TRY(ifd_lexer_identifier(x, &word));
  TRY(ifd_lexer_expect(x, "("));
  if (strcmp(word, "seq") == 0)
    TRY(parse_container_type(p, out, IFD_KIND_SEQUENCE));
  else if (strcmp(word, "optional") == 0)
    TRY(parse_container_type(p, out, IFD_KIND_OPTIONAL));
  else if (strcmp(word, "map") == 0)
    TRY(parse_map_type(p, out));
  else if (strcmp(word, "sparse_tensor") == 0)
    TRY(parse_tensor_type(p, out, IFD_KIND_SPARSE_TENSOR));
  else
    TRY(parse_opaque_type(p, out));
  return ifd_lexer_expect(x, ")");
}

ifd_status ifd_parse_type(ifd_parser *p, const ifd_type **out) {
  ifd_str word = ifd_lexer_peek_identifier(&p->lexer);
  EXPECT_AT(&p->lexer, is_type_word(word), "a type was expected");
  EXPECT_AT(&p->lexer, p->depth < MAX_DEPTH, "more than %d levels of nesting", MAX_DEPTH);
  if (ifd_dtype_find(word.s, word.len) != IFD_UNDEFINED) return parse_tensor_type(p, out, IFD_KIND_TENSOR);
  p->depth++;
  TRY(parse_type_of_word(p, out));
  p->depth--;
  return IFD_OK;
}

/* ---- attributes ---- */

static bool next_is_constant(ifd_lexer *x) {
  char c = ifd_lexer_peek(x);
  return c == '{' || c == '=' || c == '"' || ifd_lexer_peek_identifier(x).len;
}

/* A type alone, or a constant: type [name] [=] elements. */
static ifd_status parse_typed(ifd_parser *p, ifd_attr *out) {
  ifd_lexer *x = &p->lexer;
  const ifd_type *type;
  const char *name;
  ifd_tensor *tensor;
  TRY(ifd_parse_type(p, &type));
  if (!next_is_constant(x)) {
    out->type = IFD_ATTR_TYPE_PROTO;
    out->type_proto = type;
    return IFD_OK;
  }
  if (ifd_lexer_peek(x) != '{' && ifd_lexer_peek(x) != '=') TRY(ifd_lexer_name(x, &name));
  ifd_lexer_take(x, "=");
  ALLOC(x->err, tensor, ifd_new(x->arena, ifd_tensor));
  TRY(ifd_parse_tensor(p, tensor, type));
  out->type = IFD_ATTR_TENSOR;
  out->tensor = tensor;
  return IFD_OK;
}

static ifd_status parse_number(ifd_parser *p, ifd_attr_type expected, ifd_attr *out) {
  ifd_lexer at = p->lexer;
  ifd_literal literal;
  TRY(ifd_lexer_number(&p->lexer, &literal));
  out->type = literal.is_float || expected == IFD_ATTR_FLOAT ? IFD_ATTR_FLOAT : IFD_ATTR_INT;
  if (out->type == IFD_ATTR_FLOAT) {
    out->f = strtof(literal.text, NULL);
    return IFD_OK;
  }
  p->lexer = at;
  return ifd_lexer_int(&p->lexer, &out->i);
}

static ifd_status parse_subgraph(ifd_parser *p, ifd_graph *outer, ifd_attr *out) {
  EXPECT_AT(&p->lexer, p->depth < MAX_DEPTH, "more than %d levels of nesting", MAX_DEPTH);
  EXPECT_AT(&p->lexer, outer, "a graph cannot stand here");
  out->type = IFD_ATTR_GRAPH;
  ALLOC(p->lexer.err, out->graph, ifd_graph_new(p->model, outer));
  p->depth++;
  TRY(ifd_parse_graph(p, out->graph));
  p->depth--;
  return IFD_OK;
}

/* A quoted text is a string, but a graph's name when its inputs follow. */
static ifd_status parse_quoted(ifd_parser *p, ifd_graph *graph, ifd_attr *out) {
  ifd_lexer at = p->lexer;
  out->type = IFD_ATTR_STRING;
  TRY(ifd_lexer_string(&p->lexer, &out->s));
  if (ifd_lexer_peek(&p->lexer) != '(') return IFD_OK;
  p->lexer = at;
  return parse_subgraph(p, graph, out);
}

static ifd_status parse_value(ifd_parser *p, ifd_graph *graph, ifd_attr_type expected, ifd_attr *out) {
  ifd_lexer *x = &p->lexer;
  ifd_str word = ifd_lexer_peek_identifier(x);
  if (is_type_word(word))
    TRY(parse_typed(p, out));
  else if (ifd_lexer_peek(x) == '"')
    TRY(parse_quoted(p, graph, out));
  else if (word.len && !ifd_is_float_word(word))
    TRY(parse_subgraph(p, graph, out));
  else
    TRY(parse_number(p, expected, out));
  if (expected == IFD_ATTR_SPARSE_TENSOR && out->type == IFD_ATTR_TENSOR) out->type = expected;
  EXPECT_AT(x, expected == IFD_ATTR_UNDEFINED || out->type == expected, "%s was expected, not %s",
            ifd_attr_type_names[expected], ifd_attr_type_names[out->type]);
  return IFD_OK;
}

/* One member of each value, as an array. */
static ifd_status gather(ifd_parser *p, void *out, const ifd_attr *v, int n, size_t offset, size_t size) {
  char *array;
  ALLOC(p->lexer.err, array, ifd_arena_alloc_array(p->lexer.arena, (size_t)n, size));
  for (int i = 0; i < n; i++) memcpy(array + (size_t)i * size, (const char *)&v[i] + offset, size);
  memcpy(out, &array, sizeof array);
  return IFD_OK;
}

/* The values of a list attribute as its kind keeps them; of types the first alone, as no operator has
 * more. */
static ifd_status store_list(ifd_parser *p, ifd_attr *out, const ifd_attr *v, int n) {
#define GATHER(list, member) gather(p, &out->list, v, n, offsetof(ifd_attr, member), sizeof v->member)
  out->n = n;
  switch (out->type) {
  case IFD_ATTR_FLOATS: return GATHER(floats, f);
  case IFD_ATTR_INTS: return GATHER(ints, i);
  case IFD_ATTR_STRINGS: return GATHER(strings, s);
  case IFD_ATTR_GRAPHS: return GATHER(graphs, graph);
  case IFD_ATTR_TYPE_PROTOS: out->type_proto = n ? v->type_proto : NULL; return IFD_OK;
  default: break;
  }
#undef GATHER
  ifd_tensor *tensors;
  ALLOC(p->lexer.err, tensors, ifd_new_array(p->lexer.arena, ifd_tensor, n));
  for (int i = 0; i < n; i++) tensors[i] = *v[i].tensor;
  out->tensors = tensors;
  return IFD_OK;
}

static ifd_status parse_list(ifd_parser *p, ifd_graph *graph, ifd_attr *out) {
  ifd_lexer *x = &p->lexer;
  ifd_attr_type element = ifd_attr_element_type(out->type);
  IFD_VEC(ifd_attr) values = {0};
  EXPECT_AT(x, out->type == IFD_ATTR_UNDEFINED || element != IFD_ATTR_UNDEFINED, "%s is no list",
            ifd_attr_type_names[out->type]);
  while (ifd_lexer_peek(x) != ']') {
    ifd_attr value = {0};
    TRY(parse_value(p, graph, element, &value));
    IFD_PUSH(x->err, x->arena, &values, value);
    element = value.type;
    if (!ifd_lexer_take(x, ",")) break;
  }
  EXPECT_AT(x, element != IFD_ATTR_UNDEFINED, "an empty list needs a type");
  out->type = list_of(element);
  TRY(store_list(p, out, values.v, values.n));
  return ifd_lexer_expect(x, "]");
}

static ifd_status parse_attr_type(ifd_parser *p, ifd_attr_type *out) {
  ifd_str word = ifd_lexer_peek_identifier(&p->lexer);
  for (int t = IFD_ATTR_UNDEFINED + 1; t < N_ATTR_TYPES; t++)
    if (ifd_lexer_peek_word(&p->lexer, ifd_attr_type_names[t])) *out = (ifd_attr_type)t;
  EXPECT_AT(&p->lexer, *out != IFD_ATTR_UNDEFINED, "an attribute's type was expected");
  p->lexer.at += word.len;
  return IFD_OK;
}

ifd_status ifd_parse_attr(ifd_parser *p, ifd_graph *graph, const char *name, ifd_attr *out) {
  *out = (ifd_attr){.name = name};
  if (ifd_lexer_take(&p->lexer, ":")) TRY(parse_attr_type(p, &out->type));
  TRY(ifd_lexer_expect(&p->lexer, "="));
  if (ifd_lexer_take(&p->lexer, "@")) return ifd_lexer_name(&p->lexer, &out->ref);
  if (ifd_lexer_take(&p->lexer, "[")) return parse_list(p, graph, out);
  return parse_value(p, graph, out->type, out);
}
