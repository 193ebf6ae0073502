#include "ops/schema.h"

#include <string.h>

/* The words that schema.inc is written in. */
#define COUNT(list) (sizeof(list) / sizeof *(list))
#define MANY        IFD_SCHEMA_UNBOUNDED

/* The members of a type set: TENSOR(FLOAT | DOUBLE). */
#define TENSOR(bits)          [IFD_SCHEMA_TENSOR] = bits
#define SEQ(bits)             [IFD_SCHEMA_SEQ] = bits
#define OPTIONAL_TENSOR(bits) [IFD_SCHEMA_OPTIONAL] = bits
#define OPTIONAL_SEQ(bits)    [IFD_SCHEMA_OPTIONAL_SEQ] = bits
#define MAP_INT64(bits)       [IFD_SCHEMA_MAP_INT64] = bits
#define MAP_STRING(bits)      [IFD_SCHEMA_MAP_STRING] = bits
#define SEQ_MAP_INT64(bits)   [IFD_SCHEMA_SEQ_MAP_INT64] = bits
#define SEQ_MAP_STRING(bits)  [IFD_SCHEMA_SEQ_MAP_STRING] = bits

/* Parameters: name, type, and what the type is: the constraint of that index, or only tensors of one dtype.
 * MIXED is a variadic parameter that is not homogeneous. */
#define OF(index)    .constraint = index
#define ONLY(dtype_) .constraint = -1, .dtype = DTYPE_##dtype_
#define PARAM(option_, n, t, ...)                                                                            \
  { .name = n, .type = t, .option = IFD_PARAM_##option_, __VA_ARGS__ }
#define SINGLE(n, t, which)      PARAM(SINGLE, n, t, .homogeneous = true, .min_arity = 1, which)
#define OPTIONAL(n, t, which)    PARAM(OPTIONAL, n, t, .homogeneous = true, .min_arity = 1, which)
#define VARIADIC(n, t, which, m) PARAM(VARIADIC, n, t, .homogeneous = true, .min_arity = m, which)
#define MIXED(n, t, which, m)    PARAM(VARIADIC, n, t, .homogeneous = false, .min_arity = m, which)

/* Attributes: required ones, ones without a default, and ones with. */
#define REQUIRED(n, type_)                                                                                   \
  { .name = n, .type = ATTR_##type_, .required = true }
#define FREE(n, type_)                                                                                       \
  { .name = n, .type = ATTR_##type_ }
#define DEFAULT(n, type_, ...)                                                                               \
  { .name = n, .type = ATTR_##type_, .has_default = true, __VA_ARGS__ }
#define DEFAULT_LIST(n, type_, c_type, member, ...)                                                          \
  DEFAULT(n, type_, .n_values = COUNT(((c_type[]){__VA_ARGS__})), .value.member = (c_type[]){__VA_ARGS__})
#define DEFAULT_FLOAT(n, x)     DEFAULT(n, FLOAT, .value.f = x)
#define DEFAULT_INT(n, x)       DEFAULT(n, INT, .value.i = x)
#define DEFAULT_STRING(n, x)    DEFAULT(n, STRING, .value.s = x)
#define DEFAULT_FLOATS(n, ...)  DEFAULT_LIST(n, FLOATS, const float, floats, __VA_ARGS__)
#define DEFAULT_INTS(n, ...)    DEFAULT_LIST(n, INTS, const int64_t, ints, __VA_ARGS__)
#define DEFAULT_STRINGS(n, ...) DEFAULT_LIST(n, STRINGS, const char *const, strings, __VA_ARGS__)

/* The lists of a schema. */
#define IN(list)    .inputs = list, .n_inputs = COUNT(list)
#define OUT(list)   .outputs = list, .n_outputs = COUNT(list)
#define ATTRS(list) .attrs = list, .n_attrs = COUNT(list)
#define TYPES(list) .constraints = list, .n_constraints = COUNT(list)
#define FUNCTION    .has_function = true
#define DEPRECATED  .deprecated = true

typedef struct domain_range {
  const char *name;
  int latest_opset;
} domain_range;

#include "ops/schema.inc"

static const char *canonical(const char *domain) {
  return domain && strcmp(domain, "ai.onnx") != 0 ? domain : "";
}

/* The order of the table. */
static int compare(const ifd_schema *schema, const char *domain, const char *name, int version) {
  int c = strcmp(schema->domain, domain);
  if (c == 0) c = strcmp(schema->name, name);
  if (c == 0) c = (schema->since_version > version) - (schema->since_version < version);
  return c;
}

const ifd_schema *ifd_schema_find(const char *domain, const char *name, int opset_version) {
  domain = canonical(domain);
  size_t low = 0,
         high = COUNT(schemas); /* everything before low is <= what is sought, everything from high on is > */
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (compare(&schemas[middle], domain, name, opset_version) <= 0)
      low = middle + 1;
    else
      high = middle;
  }
  if (low == 0) return NULL;
  const ifd_schema *last = &schemas[low - 1];
  return strcmp(last->domain, domain) == 0 && strcmp(last->name, name) == 0 ? last : NULL;
}

size_t ifd_schema_count(void) { return COUNT(schemas); }

const ifd_schema *ifd_schema_at(size_t i) { return &schemas[i]; }

int ifd_schema_latest_opset(const char *domain) {
  domain = canonical(domain);
  for (size_t i = 0; i < COUNT(domains); i++)
    if (strcmp(domains[i].name, domain) == 0) return domains[i].latest_opset;
  return 0;
}

const ifd_schema_attr *ifd_schema_find_attr(const ifd_schema *schema, const char *name) {
  for (size_t i = 0; i < schema->n_attrs; i++)
    if (strcmp(schema->attrs[i].name, name) == 0) return &schema->attrs[i];
  return NULL;
}

static const ifd_schema_param *find_param(const ifd_schema_param *params, size_t n_params, size_t i) {
  if (i < n_params) return &params[i];
  if (n_params == 0) return NULL;
  const ifd_schema_param *last = &params[n_params - 1];
  return last->option == IFD_PARAM_VARIADIC ? last : NULL;
}

const ifd_schema_param *ifd_schema_find_input(const ifd_schema *schema, size_t i) {
  return find_param(schema->inputs, schema->n_inputs, i);
}

const ifd_schema_param *ifd_schema_find_output(const ifd_schema *schema, size_t i) {
  return find_param(schema->outputs, schema->n_outputs, i);
}

bool ifd_type_set_has(const ifd_type_set *set, ifd_schema_kind kind, int dtype) {
  return dtype >= 0 && dtype < 64 && (set->dtypes[kind] >> dtype & 1) != 0;
}

bool ifd_schema_type_allowed(const ifd_schema *schema, const ifd_schema_param *param, ifd_schema_kind kind,
                             int dtype) {
  if (param->constraint < 0) return kind == IFD_SCHEMA_TENSOR && dtype == param->dtype;
  return ifd_type_set_has(schema->constraints[param->constraint].allowed, kind, dtype);
}
