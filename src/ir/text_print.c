#include "ir/text.h"

#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ir/equal.h"
#include "ir/text_priv.h"

/* Text grows in scratch memory and is copied once. Out of memory is remembered, so that the functions below
 * read like the syntax. */
typedef struct printer {
  ifd_arena scratch;
  const ifd_text_options *options;
  const ifd_dims *dims;
  int indent;
  bool failed;
  IFD_VEC(char) text;
} printer;

static void put_bytes(printer *p, const char *s, size_t n) {
  if (p->failed || n > (size_t)(INT32_MAX / 4 - p->text.n)) {
    p->failed = true;
    return;
  }
  while ((size_t)(p->text.cap - p->text.n) < n) {
    void *grown = ifd_vec_grow(&p->scratch, p->text.v, p->text.n, &p->text.cap, 1);
    p->failed = !grown;
    if (p->failed) return;
    p->text.v = grown;
  }
  memcpy(p->text.v + p->text.n, s, n);
  p->text.n += (int)n;
}

static void put(printer *p, const char *s) { put_bytes(p, s, strlen(s)); }

__attribute__((format(printf, 2, 3))) static void put_format(printer *p, const char *format, ...) {
  char text[128];
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  put(p, text);
}

static void put_line(printer *p) {
  put(p, "\n");
  for (int i = 0; i < p->indent; i++) put(p, "  ");
}

static void put_quoted(printer *p, ifd_str s) {
  put(p, "\"");
  for (size_t i = 0; i < s.len; i++) {
    if (s.s[i] == '"' || s.s[i] == '\\') put(p, "\\");
    if (s.s[i] == '\0')
      put(p, "\\x00");
    else
      put_bytes(p, &s.s[i], 1);
  }
  put(p, "\"");
}

static void put_text(printer *p, const char *s) { put_quoted(p, (ifd_str){s, strlen(s)}); }

static void put_name(printer *p, const char *name) {
  if (ifd_is_identifier(name, strlen(name)) && !ifd_text_is_reserved(name))
    put(p, name);
  else
    put_text(p, name);
}

/* ---- numbers ---- */

/* The fewest digits that read back as the same number. A float attribute must not look like an integer. */
static void put_float(printer *p, double x, bool single, bool point) {
  char text[40];
  if (isnan(x)) {
    put(p, signbit(x) ? "-nan" : "nan");
    return;
  }
  for (int digits = 1; digits <= 17; digits++) {
    snprintf(text, sizeof text, "%.*g", digits, x);
    if (single ? strtof(text, NULL) == (float)x : strtod(text, NULL) == x) break;
  }
  put(p, text);
  if (point && isfinite(x) && !strpbrk(text, ".e")) put(p, ".0");
}

static void put_element(printer *p, ifd_dtype dtype, const void *at) {
  const ifd_dtype_info *info = &ifd_dtypes[dtype];
  if (info->class == IFD_CLASS_STRING) {
    put_quoted(p, *(const ifd_str *)at);
  } else if (dtype == IFD_FLOAT || dtype == IFD_DOUBLE) {
    put_float(p, dtype == IFD_FLOAT ? *(const float *)at : *(const double *)at, dtype == IFD_FLOAT, false);
  } else if (info->class == IFD_CLASS_COMPLEX) {
    ifd_dtype part = dtype == IFD_COMPLEX64 ? IFD_FLOAT : IFD_DOUBLE;
    put_element(p, part, at);
    put(p, ", ");
    put_element(p, part, (const char *)at + ifd_dtype_size(part));
  } else if (info->class == IFD_CLASS_INT) {
    int64_t v = 0;
    memcpy(&v, at, (size_t)info->size);
    int unused = 64 - 8 * info->size;
    put_format(p, "%lld", (long long)((int64_t)((uint64_t)v << unused) >> unused));
  } else { /* unsigned, bool, and the bits of floats without a literal of their own */
    uint64_t v = 0;
    memcpy(&v, at, (size_t)info->size);
    put_format(p, "%llu", (unsigned long long)v);
  }
}

/* ---- types ---- */

/* A dim that is no number and no name is written as a name, but for one with unknowns in it, which would then
 * equal others of the same text. */
static void put_dim(printer *p, ifd_dim d) {
  char text[512];
  const char *name = ifd_dim_is_number(d) ? NULL : ifd_dim_name(p->dims, d);
  if (name) {
    put_name(p, name);
    return;
  }
  ifd_dim_text(p->dims, d, text, sizeof text);
  if (ifd_dim_is_number(d))
    put(p, text);
  else if (strchr(text, '?') || strlen(text) == sizeof text - 1)
    put(p, "?");
  else
    put_text(p, text);
}

static void put_tensor_type(printer *p, const ifd_type *type) {
  put(p, ifd_dtype_name(type->dtype));
  if (type->has_rank && !type->rank) return;
  put(p, "[");
  for (int i = 0; type->has_rank && i < type->rank; i++) {
    if (i) put(p, ",");
    put_dim(p, type->dims[i]);
  }
  put(p, "]");
}

/* Whether the syntax can say the type. */
static bool is_writable(const ifd_type *type) {
  for (; type; type = type->elem)
    if (type->kind == IFD_KIND_TENSOR || type->kind == IFD_KIND_SPARSE_TENSOR)
      return type->dtype != IFD_UNDEFINED;
  return false;
}

static void put_type(printer *p, const ifd_type *type) {
  switch (type->kind) {
  case IFD_KIND_TENSOR: put_tensor_type(p, type); return;
  case IFD_KIND_SPARSE_TENSOR:
    put(p, "sparse_tensor(");
    put_tensor_type(p, type);
    break;
  case IFD_KIND_MAP:
    put_format(p, "map(%s, ", ifd_dtype_name(type->dtype));
    put_type(p, type->elem);
    break;
  default: put(p, type->kind == IFD_KIND_SEQUENCE ? "seq(" : "optional("); put_type(p, type->elem);
  }
  put(p, ")");
}

static const ifd_type *known_type(const ifd_value *value) {
  if (is_writable(value->type)) return value->type;
  return is_writable(value->declared) ? value->declared : NULL;
}

static void put_typed_name(printer *p, const ifd_value *value, const ifd_type *type) {
  if (type) {
    put_type(p, type);
    put(p, " ");
  }
  put_name(p, value->name);
}

/* ---- constants ---- */

static void put_elements(printer *p, const ifd_tensor *t) {
  int64_t n = ifd_tensor_count(t);
  size_t size = ifd_dtype_size(t->dtype);
  const char *data = t->data;
  if (t->packed) {
    char *whole = ifd_arena_alloc_data(&p->scratch, ifd_tensor_bytes(t));
    p->failed = p->failed || !whole;
    if (p->failed) return;
    ifd_tensor_expand(t, whole);
    data = whole;
  }
  for (int64_t i = 0; i < n && !p->failed; i++) {
    if (i) put(p, ", ");
    put_element(p, t->dtype, data + (size_t)i * size);
  }
}

static void put_shape(printer *p, const ifd_shape *shape) {
  char text[32 * IFD_MAX_RANK];
  if (shape->rank) put(p, ifd_shape_text(shape, text, sizeof text));
}

/* A splat is written by its one element, read from a tensor of one. */
static void put_splat(printer *p, const ifd_tensor *t) {
  ifd_tensor one = *t;
  one.splat = false;
  one.shape = (ifd_shape){.rank = 1, .dim = {1}};
  put(p, "splat ");
  put_elements(p, &one);
}

static void put_data(printer *p, const ifd_tensor *t) {
  int64_t n = ifd_tensor_count(t), most = p->options->max_elements;
  if (t->splat && n > 1) {
    put_splat(p, t);
  } else if (most > 0 && n > most) {
    put_format(p, "{… %lld elements, hash %016llx}", (long long)n, (unsigned long long)ifd_tensor_hash(t));
  } else {
    put(p, "{");
    put_elements(p, t);
    put(p, "}");
  }
}

static void put_constant(printer *p, const ifd_tensor *t) {
  put(p, ifd_dtype_name(t->dtype));
  put_shape(p, &t->shape);
  put(p, t->splat ? " = " : " ");
  put_data(p, t);
}

/* ---- attributes ---- */

static void put_graph(printer *p, const ifd_graph *graph);

static void put_single(printer *p, const ifd_attr *attr, ifd_attr_type type, int i, bool list) {
  switch (type) {
  case IFD_ATTR_FLOAT: put_float(p, list ? attr->floats[i] : attr->f, true, true); break;
  case IFD_ATTR_INT: put_format(p, "%lld", (long long)(list ? attr->ints[i] : attr->i)); break;
  case IFD_ATTR_STRING: put_quoted(p, list ? attr->strings[i] : attr->s); break;
  case IFD_ATTR_GRAPH:
    p->indent++;
    put_graph(p, list ? attr->graphs[i] : attr->graph);
    p->indent--;
    break;
  case IFD_ATTR_TENSOR:
  case IFD_ATTR_SPARSE_TENSOR: put_constant(p, list ? &attr->tensors[i] : attr->tensor); break;
  case IFD_ATTR_TYPE_PROTO: put_type(p, attr->type_proto); break;
  default: break;
  }
}

static bool is_empty_type(const ifd_attr *attr) {
  return (attr->type == IFD_ATTR_TYPE_PROTO || attr->type == IFD_ATTR_TYPE_PROTOS) &&
         !is_writable(attr->type_proto);
}

static void put_list(printer *p, const ifd_attr *attr, ifd_attr_type element) {
  int n = element == IFD_ATTR_TYPE_PROTO ? !is_empty_type(attr) : attr->n;
  put(p, "[");
  for (int i = 0; i < n; i++) {
    if (i) put(p, ", ");
    put_single(p, attr, element, i, true);
  }
  put(p, "]");
}

/* Types that a value does not show are written. */
static bool shows_type(const ifd_attr *attr) {
  switch (attr->type) {
  case IFD_ATTR_FLOATS:
  case IFD_ATTR_INTS:
  case IFD_ATTR_STRINGS: return attr->n > 0 && !attr->ref;
  case IFD_ATTR_FLOAT:
  case IFD_ATTR_INT:
  case IFD_ATTR_STRING:
  case IFD_ATTR_TENSOR:
  case IFD_ATTR_GRAPH:
  case IFD_ATTR_TYPE_PROTO: return !attr->ref;
  default: return false;
  }
}

static void put_attr(printer *p, const ifd_attr *attr) {
  ifd_attr_type element = ifd_attr_element_type(attr->type);
  put_name(p, attr->name);
  if (!shows_type(attr)) put_format(p, ": %s", ifd_attr_type_names[attr->type]);
  put(p, " = ");
  if (attr->ref) {
    put(p, "@");
    put_name(p, attr->ref);
  } else if (element != IFD_ATTR_UNDEFINED) {
    put_list(p, attr, element);
  } else {
    put_single(p, attr, attr->type, 0, false);
  }
}

/* An attribute that holds an unknown type has no text. */
static void put_attrs(printer *p, const ifd_attr *attrs, int n) {
  bool any = false;
  for (int i = 0; i < n; i++) {
    if (attrs[i].type == IFD_ATTR_TYPE_PROTO && !attrs[i].ref && is_empty_type(&attrs[i])) continue;
    put(p, any ? ", " : " <");
    put_attr(p, &attrs[i]);
    any = true;
  }
  if (any) put(p, ">");
}

/* ---- nodes ---- */

static void put_values(printer *p, ifd_value *const *values, int n) {
  for (int i = 0; i < n; i++) {
    if (i) put(p, ", ");
    put_name(p, values[i] ? values[i]->name : "");
  }
}

static void put_domain(printer *p, const char *domain) {
  for (const char *part = domain; *part;) {
    size_t len = strcspn(part, ".");
    if (!ifd_is_identifier(part, len)) {
      put_text(p, domain);
      put(p, ".");
      return;
    }
    part += len + (part[len] == '.');
  }
  if (*domain) {
    put(p, domain);
    put(p, ".");
  }
}

static void put_output_types(printer *p, const ifd_node *node) {
  put(p, "  #");
  for (int i = 0; i < node->n_outputs; i++) {
    const ifd_value *out = node->outputs[i];
    put(p, i ? ", " : " ");
    if (out && is_writable(out->type))
      put_type(p, out->type);
    else
      put(p, out ? "?" : "-");
  }
}

static void put_node(printer *p, const ifd_node *node) {
  bool last = ifd_node_has_graphs(node); /* graphs are read more easily behind the inputs */
  put_line(p);
  if (*node->name) {
    put(p, "[");
    put_name(p, node->name);
    put(p, "] ");
  }
  put_values(p, node->outputs, node->n_outputs);
  put(p, node->n_outputs ? " = " : "= ");
  put_domain(p, node->domain);
  put_name(p, node->op_type);
  if (*node->overload) {
    put(p, ":");
    put_name(p, node->overload);
  }
  if (!last) put_attrs(p, node->attrs, node->n_attrs);
  put(p, " (");
  put_values(p, node->inputs, node->n_inputs);
  put(p, ")");
  if (last) put_attrs(p, node->attrs, node->n_attrs);
  if (p->options->types && node->n_outputs) put_output_types(p, node);
}

static void put_nodes(printer *p, const ifd_graph *graph) {
  put(p, "{");
  p->indent++;
  for (const ifd_node *node = graph->first; node; node = node->next) put_node(p, node);
  p->indent--;
  put_line(p);
  put(p, "}");
}

/* ---- graphs ---- */

static void put_inputs(printer *p, const ifd_graph *graph) {
  put(p, "(");
  for (int i = 0; i < graph->inputs.n; i++) {
    const ifd_value *v = graph->inputs.v[i];
    if (i) put(p, ", ");
    put_typed_name(p, v, known_type(v));
  }
  put(p, ")");
}

static void put_outputs(printer *p, const ifd_graph *graph) {
  put(p, "(");
  for (int i = 0; i < graph->outputs.n; i++) {
    const ifd_value *v = graph->outputs.v[i];
    bool repeated = v->is_input;
    if (i) put(p, ", ");
    put_typed_name(p, v, repeated ? NULL : known_type(v));
  }
  put(p, ")");
}

static void put_entry(printer *p, bool *any) {
  if (!*any) put_line(p);
  put(p, *any ? "," : "<");
  p->indent++;
  put_line(p);
  p->indent--;
  *any = true;
}

static void put_initializer(printer *p, const ifd_value *v) {
  put(p, ifd_dtype_name(v->constant->dtype));
  put_shape(p, &v->constant->shape);
  put(p, " ");
  put_name(p, v->name);
  put(p, " = ");
  put_data(p, v->constant);
}

/* Initializers, then what is declared of values that nodes make. */
static void put_initializers(printer *p, const ifd_graph *graph) {
  bool any = false;
  for (int i = 0; i < graph->constants.n; i++) {
    const ifd_value *v = graph->constants.v[i];
    if (!v->constant) continue;
    put_entry(p, &any);
    put_initializer(p, v);
  }
  for (const ifd_node *node = graph->first; node; node = node->next)
    for (int i = 0; i < node->n_outputs; i++) {
      const ifd_value *v = node->outputs[i];
      if (!v || v->n_outputs || !is_writable(v->declared)) continue;
      put_entry(p, &any);
      put_typed_name(p, v, v->declared);
    }
  if (any) {
    put_line(p);
    put(p, ">");
  }
  put_line(p);
}

static void put_graph(printer *p, const ifd_graph *graph) {
  put_name(p, graph->name);
  put(p, " ");
  put_inputs(p, graph);
  put(p, " => ");
  put_outputs(p, graph);
  put_initializers(p, graph);
  put_nodes(p, graph);
}

/* ---- functions and models ---- */

static void put_opsets(printer *p, const ifd_opset *opsets, int n) {
  put(p, "opset_import: [");
  for (int i = 0; i < n; i++) {
    if (i) put(p, ", ");
    put_text(p, opsets[i].domain);
    put_format(p, " : %d", opsets[i].version);
  }
  put(p, "]");
}

static void put_pair(printer *p, const char *key, const char *text) {
  if (!text || !*text) return;
  put(p, ",\n  ");
  put(p, key);
  put(p, ": ");
  put_text(p, text);
}

static void put_parameters(printer *p, const ifd_function *f) {
  int n = 0;
  for (int i = 0; i < f->n_attributes; i++) {
    put(p, n++ ? ", " : " <");
    put_name(p, f->attributes[i]);
  }
  for (int i = 0; i < f->n_defaults; i++) {
    put(p, n++ ? ", " : " <");
    put_attr(p, &f->defaults[i]);
  }
  if (n) put(p, ">");
}

static void put_function(printer *p, const ifd_function *f) {
  put(p, "\n<\n  domain: ");
  put_text(p, f->domain);
  put_pair(p, "overload", f->overload);
  put(p, ",\n  ");
  put_opsets(p, f->opsets.v, f->opsets.n);
  put(p, "\n>\n");
  put_name(p, f->name);
  put_parameters(p, f);
  put(p, " (");
  put_values(p, f->body->inputs.v, f->body->inputs.n);
  put(p, ") => (");
  put_values(p, f->body->outputs.v, f->body->outputs.n);
  put(p, ")");
  put_initializers(p, f->body);
  put_nodes(p, f->body);
  put(p, "\n");
}

static void put_model(printer *p, const ifd_model *model) {
  put_format(p, "<\n  ir_version: %lld,\n  ", (long long)model->ir_version);
  put_opsets(p, model->opsets.v, model->opsets.n);
  put_pair(p, "producer_name", model->producer_name);
  put_pair(p, "producer_version", model->producer_version);
  put_pair(p, "domain", model->domain);
  if (model->model_version) put_format(p, ",\n  model_version: %lld", (long long)model->model_version);
  put_pair(p, "doc_string", model->doc);
  put(p, "\n>\n");
  put_graph(p, model->graph);
  put(p, "\n");
  for (int i = 0; i < model->functions.n; i++) put_function(p, model->functions.v[i]);
}

static void put_in_c_locale(printer *p, const ifd_model *model) {
  locale_t c = newlocale(LC_ALL_MASK, "C", NULL);
  p->failed = !c;
  if (!c) return;
  locale_t before = uselocale(c);
  put_model(p, model);
  uselocale(before);
  freelocale(c);
}

ifd_status ifd_text_print(ifd_error *err, char **out, ifd_arena *arena, const ifd_model *model,
                          const ifd_text_options *options) {
  static const ifd_text_options whole;
  printer p = {.options = options ? options : &whole, .dims = model->dims};
  ifd_arena_init(&p.scratch, arena->budget);
  put_in_c_locale(&p, model);
  *out = p.failed ? NULL : ifd_arena_strndup(arena, p.text.v, (size_t)p.text.n);
  ifd_arena_free(&p.scratch);
  EXPECT(err, *out, NO_MEMORY, "out of memory");
  return IFD_OK;
}
