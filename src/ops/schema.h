/* What ONNX says of every operator at every version: the facts of the onnx package (1.23.2) as constant
 * tables. The facts are in schema.inc, which tools/extract_schema.py writes and a test compares with the
 * package; schema.c gives them meaning. This is the form of a call only: counts, names, types, attributes and
 * their defaults. What an operator computes, infers and costs is in the rows of its family (op.h).
 *
 * Numbers are ONNX's own: dtypes those of TensorProto.DataType, attribute types those of
 * AttributeProto.AttributeType. Everything is const and lives as long as the program; nothing allocates,
 * nothing fails but by returning NULL. Source: onnx.defs.get_all_schemas_with_history(). */
#ifndef IFD_OPS_SCHEMA_H
#define IFD_OPS_SCHEMA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The shapes of types that schemas speak of; each is completed by one dtype. Maps have int64 or string keys,
 * and the dtype is that of their values. No schema allows a sparse tensor: it is here so that a value of one
 * can be asked about. */
typedef enum ifd_schema_kind {
  IFD_SCHEMA_TENSOR,
  IFD_SCHEMA_SPARSE_TENSOR,
  IFD_SCHEMA_SEQ,          /* seq(tensor(dtype)) */
  IFD_SCHEMA_OPTIONAL,     /* optional(tensor(dtype)) */
  IFD_SCHEMA_OPTIONAL_SEQ, /* optional(seq(tensor(dtype))) */
  IFD_SCHEMA_MAP_INT64,    /* map(int64, dtype) */
  IFD_SCHEMA_MAP_STRING,   /* map(string, dtype) */
  IFD_SCHEMA_SEQ_MAP_INT64,
  IFD_SCHEMA_SEQ_MAP_STRING,
  IFD_SCHEMA_N_KINDS,
} ifd_schema_kind;

/* A set of types: bit `dtype` of dtypes[kind]. */
typedef struct ifd_type_set {
  uint64_t dtypes[IFD_SCHEMA_N_KINDS];
} ifd_type_set;

/* A type variable of a schema, such as T, and the types it may stand for. Within one node it stands for one
 * type; only the values of a variadic parameter that is not homogeneous may differ. */
typedef struct ifd_schema_constraint {
  const char *name;
  const ifd_type_set *allowed;
} ifd_schema_constraint;

typedef enum ifd_param_option {
  IFD_PARAM_SINGLE,   /* must be there */
  IFD_PARAM_OPTIONAL, /* may be "", or cut off at the end */
  IFD_PARAM_VARIADIC, /* the last one; stands for any number of values */
} ifd_param_option;

/* A formal input or output. */
typedef struct ifd_schema_param {
  const char *name;
  const char *type;  /* the name of its constraint ("T"), or the type itself ("tensor(int64)") */
  uint8_t option;    /* ifd_param_option */
  bool homogeneous;  /* variadic: all its values are of the one type; true for the others */
  uint8_t min_arity; /* variadic: at least so many values; 1 for the others */
  int8_t constraint; /* index into ifd_schema.constraints; -1: exactly tensor(dtype) */
  uint8_t dtype;     /* 0 where there is a constraint */
} ifd_schema_param;

/* An attribute. required and has_default exclude each other; with neither, absence has a meaning of its
 * own. */
typedef struct ifd_schema_attr {
  const char *name;
  uint8_t type; /* AttributeProto.AttributeType; the type also selects the member of `value` */
  bool required;
  bool has_default;
  uint16_t n_values; /* elements of a default that is a list */
  union {
    float f;             /* FLOAT */
    int64_t i;           /* INT */
    const char *s;       /* STRING */
    const float *floats; /* FLOATS, INTS, STRINGS: n_values of them */
    const int64_t *ints;
    const char *const *strings;
  } value;
} ifd_schema_attr;

enum { IFD_SCHEMA_UNBOUNDED = INT32_MAX }; /* max_inputs, max_outputs after a variadic parameter */

typedef struct ifd_schema {
  const char *domain; /* "" for ai.onnx */
  const char *name;
  int since_version; /* it holds from this opset version to the one before the next schema of the name */
  int min_inputs, max_inputs;
  int min_outputs, max_outputs;
  const ifd_schema_param *inputs; /* formal parameters; NULL where there are none, as in all lists here */
  const ifd_schema_param *outputs;
  const ifd_schema_attr *attrs; /* sorted by name */
  const ifd_schema_constraint *constraints;
  uint8_t n_inputs, n_outputs, n_attrs, n_constraints;
  bool deprecated;   /* withdrawn at since_version: no node may use it */
  bool has_function; /* ONNX also defines it by a body of other operators */
} ifd_schema;

/* The schema a node means: the newest with since_version <= opset_version. NULL if the operator is unknown or
 * younger. It may be deprecated. "ai.onnx", "" and NULL are one domain, here and below. */
const ifd_schema *ifd_schema_find(const char *domain, const char *name, int opset_version);

/* All schemas, sorted by domain, name, since_version. `i` is below the count. */
size_t ifd_schema_count(void);
const ifd_schema *ifd_schema_at(size_t i);

/* The newest opset version of the domain that the tables know; 0 for a domain they do not know. */
int ifd_schema_latest_opset(const char *domain);

/* NULL if the schema has no such attribute. */
const ifd_schema_attr *ifd_schema_find_attr(const ifd_schema *schema, const char *name);

/* The formal parameter of a node's i-th input or output, a variadic one standing for all from its place on;
 * NULL if the schema takes no such value. */
const ifd_schema_param *ifd_schema_find_input(const ifd_schema *schema, size_t i);
const ifd_schema_param *ifd_schema_find_output(const ifd_schema *schema, size_t i);

/* Whether the set holds the type. dtype may be any number. */
bool ifd_type_set_has(const ifd_type_set *set, ifd_schema_kind kind, int dtype);

/* Whether a value of the type may stand for the parameter, which is one of the schema's. Looks at this value
 * alone: that a constraint means one type throughout a node is the caller's to check. */
bool ifd_schema_type_allowed(const ifd_schema *schema, const ifd_schema_param *param, ifd_schema_kind kind,
                             int dtype);

#endif
