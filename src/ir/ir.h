/* The graph: models, graphs, nodes, values, attributes.
 *
 * Everything lives in its model's arena. A value is made once (by a node, or as graph input or constant) and
 * knows its readers; names are unique in a graph and its outer graphs. Nodes stand in one topologically
 * sorted list per graph. A subgraph reads values of outer graphs by pointer. What infold does not interpret
 * is kept as `origin`, a pointer that only io/ understands, so that loading and saving loses nothing. Only
 * the making functions below change a graph; passes use them through a patch (pass/rewrite.h). */
#ifndef IFD_IR_IR_H
#define IFD_IR_IR_H

#include "base/arena.h"
#include "base/map.h"
#include "base/status.h"
#include "base/vec.h"
#include "ir/dim.h"
#include "tensor/tensor.h"

struct ifd_op;     /* ops/op.h */
struct ifd_schema; /* ops/schema.h */

/* metadata_props of a node: the names of the nodes it came from (ifd_node.provenance). */
#define IFD_PROVENANCE_KEY "infold.from"

typedef struct ifd_type ifd_type;
typedef struct ifd_value ifd_value;
typedef struct ifd_node ifd_node;
typedef struct ifd_graph ifd_graph;
typedef struct ifd_model ifd_model;

/* The type of a value, as far as known. Immutable once attached. */
struct ifd_type {
  ifd_kind kind;
  ifd_dtype dtype;      /* tensor and sparse tensor: elements, IFD_UNDEFINED when unknown; map: keys */
  const ifd_type *elem; /* sequence and optional: element; map: value; NULL when unknown */
  bool has_rank;        /* tensor: rank and dims are known (dims may be symbolic) */
  int rank;
  const ifd_dim *dims;
};

typedef IFD_VEC(ifd_value *) ifd_values;

typedef struct ifd_use {
  ifd_node *node;
  int index; /* which input of node */
} ifd_use;

struct ifd_value {
  const char *name;
  int id;                     /* dense in the model: side tables are arrays by id */
  ifd_graph *graph;           /* where it is defined */
  ifd_node *producer;         /* NULL for graph inputs and constants */
  int output;                 /* which output of producer */
  const ifd_type *type;       /* inferred, or declared where inference has nothing to say; never NULL */
  const ifd_type *declared;   /* what the file claims, or NULL: a claim, not a fact */
  const ifd_tensor *constant; /* initializer; see ifd_value_constant */
  bool is_input;              /* graph input of its graph */
  bool is_initializer;   /* in the graph's initializer list (constants of an IR 3 model are inputs as well) */
  bool was_node;         /* a constant that a Constant node made */
  int64_t sparse_bytes;  /* of the constant in its file, where it is sparse there; else 0 */
  int n_outputs;         /* how often its graph lists it as output */
  IFD_VEC(ifd_use) uses; /* readers, in no order; graph outputs are not among them */
  const void *origin;    /* io: ValueInfoProto; NULL also when `declared` is not what it says any more */
  const char *old_name;  /* under which its origins know it, once it was renamed; else NULL */
  const void *constant_origin; /* io: TensorProto or SparseTensorProto of the initializer */
};

/* As AttributeProto.AttributeType numbers them. */
typedef enum ifd_attr_type {
  IFD_ATTR_UNDEFINED,
  IFD_ATTR_FLOAT,
  IFD_ATTR_INT,
  IFD_ATTR_STRING,
  IFD_ATTR_TENSOR,
  IFD_ATTR_GRAPH,
  IFD_ATTR_FLOATS,
  IFD_ATTR_INTS,
  IFD_ATTR_STRINGS,
  IFD_ATTR_TENSORS,
  IFD_ATTR_GRAPHS,
  IFD_ATTR_SPARSE_TENSOR,
  IFD_ATTR_SPARSE_TENSORS,
  IFD_ATTR_TYPE_PROTO,
  IFD_ATTR_TYPE_PROTOS
} ifd_attr_type;

typedef struct ifd_attr {
  const char *name;
  ifd_attr_type type;
  const char *ref; /* ref_attr_name inside a function, or NULL */
  int n;           /* elements of the plural kinds */
  union {
    float f;
    int64_t i;
    ifd_str s;
    const ifd_tensor *tensor; /* also a SPARSE_TENSOR, made dense */
    ifd_graph *graph;
    const float *floats;
    const int64_t *ints;
    const ifd_str *strings;
    const ifd_tensor *tensors;
    ifd_graph **graphs;
    const ifd_type *type_proto;
  };
  const void *origin; /* io: AttributeProto */
} ifd_attr;

struct ifd_node {
  int id; /* dense in the model */
  ifd_graph *graph;
  ifd_node *prev, *next;
  const char *name;                        /* "" when the file gives none */
  const char *op_type, *domain, *overload; /* domain "" is ai.onnx */
  int opset;                               /* version of its domain that applies */
  const struct ifd_schema *schema;         /* NULL for unknown operators and local functions */
  const struct ifd_op *op;                 /* NULL when infold cannot run it */
  int n_inputs, n_outputs;
  ifd_value **inputs;  /* NULL: absent optional input */
  int *use_at;         /* of each input: where in its uses this reader stands */
  ifd_value **outputs; /* NULL: output not asked for */
  int n_attrs;
  ifd_attr *attrs;
  long rank;              /* order key: grows along the list; -1 once removed */
  const char *provenance; /* names of the nodes this one came from, comma separated, or NULL */
  const void *origin;     /* io: NodeProto */
};

struct ifd_graph {
  ifd_model *model;
  ifd_graph *outer;              /* NULL for the main graph and function bodies */
  ifd_node *owner;               /* the node whose attribute it is */
  struct ifd_function *function; /* in whose body it stands, or NULL: its opsets apply */
  const char *name;
  ifd_node *first, *last;
  int n_nodes;
  IFD_VEC(ifd_value *) inputs;
  IFD_VEC(ifd_value *) outputs;
  IFD_VEC(ifd_value *)
  constants;      /* initializers, in file order, unused ones included; removed ones have constant == NULL */
  ifd_map values; /* by name */
  const void *origin; /* io: GraphProto */
};

typedef struct ifd_opset {
  const char *domain;
  int version;
} ifd_opset;

/* A model-local function. Its body is a graph whose inputs and outputs have no types. */
typedef struct ifd_function {
  const char *domain, *name, *overload;
  ifd_graph *body;
  int n_attributes;
  const char *const *attributes; /* required attribute parameters */
  int n_defaults;
  ifd_attr *defaults; /* attribute parameters with default values */
  IFD_VEC(ifd_opset) opsets;
  const void *origin;            /* io: FunctionProto */
  int id;                        /* place in the model's list */
  struct ifd_function *same_key; /* see function_keys of the model */
} ifd_function;

typedef struct ifd_warning {
  const char *text;
} ifd_warning;

/* What the tables of schemas and operators have for a name: they are long, and a model names few. */
typedef struct ifd_resolved {
  const char *domain, *op_type; /* NULL: nothing yet */
  int opset;
  const struct ifd_schema *schema;
  const struct ifd_op *op;
} ifd_resolved;

enum { IFD_RESOLVED = 64 };

struct ifd_model {
  ifd_arena arena;
  ifd_dims *dims;
  int64_t ir_version;
  const char *producer_name, *producer_version, *domain, *doc;
  int64_t model_version;
  IFD_VEC(ifd_opset) opsets;
  IFD_VEC(ifd_function *) functions;
  ifd_graph *graph;
  int n_values, n_nodes;               /* next ids */
  const char *path;                    /* file it came from, or NULL */
  ifd_map names;                       /* of all values; kept by graph.c for ifd_graph_unique_name */
  ifd_map function_keys;               /* kept by graph.c for ifd_model_find_function */
  ifd_resolved resolved[IFD_RESOLVED]; /* kept by node.c, by hashes of names */
  const void *origin;                  /* io: ModelProto */
  void *files; /* io: mapped files that constants borrow from; a clone has those of its source */
  void (*release_files)(void *files); /* when the model is destroyed; NULL in a clone */
  void (*let_files_go)(void *files, const void *p, size_t len);
};

/* ---- making ---- */
/* An empty model with an empty main graph, or NULL when out of memory. */
ifd_model *ifd_model_create(ifd_budget *budget);
void ifd_model_destroy(ifd_model *model);
/* Says that constants that the model borrows in [p, p + len) will hardly be read again, those of all its
 * files where p is NULL: pages of a mapped file go, and come back when they are. */
void ifd_model_let_go(const ifd_model *model, const void *p, size_t len);
/* Frees large data in the model's arena that no constant or attribute of it uses any more, nor any of n other
 * tensors (NULLs among them are fine). Nothing else may point to such data. */
ifd_status ifd_model_collect(ifd_error *err, ifd_model *model, const ifd_tensor *const *others, int n);
ifd_graph *ifd_graph_new(ifd_model *model, ifd_graph *outer);
/* A function with an empty body, in the model's list. Set its opsets before making nodes in its body. */
ifd_status ifd_function_new(ifd_error *err, ifd_function **out, ifd_model *model, const char *domain,
                            const char *name, const char *overload);
/* A value named `name` (copied; NULL makes a unique one); fails when the graph already has the name. */
ifd_status ifd_value_new(ifd_error *err, ifd_value **out, ifd_graph *graph, const char *name);
/* A name no graph of the model uses: `hint`, else hint_1, hint_2 … */
const char *ifd_graph_unique_name(ifd_graph *graph, const char *hint);
/* The same among `names`, which hold every name in use with the last suffix tried on it, at first 1, so that
 * many names from one hint stay linear. NULL when out of memory. */
const char *ifd_unique_name(ifd_map *names, const char *hint);
ifd_status ifd_graph_add_input(ifd_error *err, ifd_graph *graph, ifd_value *value);
/* Outputs of a graph are its own values: one of an outer graph is passed through an Identity node,
 * appended. */
ifd_status ifd_graph_add_output(ifd_error *err, ifd_graph *graph, ifd_value *value);
/* An input, which nobody reads, and its name go; an output is none any more. */
void ifd_graph_drop_input(ifd_graph *graph, int index);
void ifd_graph_drop_output(ifd_graph *graph, int index);
/* Makes the value an initializer; *tensor is copied, its data borrowed. */
ifd_status ifd_graph_add_constant(ifd_error *err, ifd_graph *graph, ifd_value *value,
                                  const ifd_tensor *tensor);
/* Drops the functions that nothing calls, from the main graph on. */
ifd_status ifd_model_drop_uncalled(ifd_error *err, ifd_model *model);
/* The value is no initializer any more. */
void ifd_graph_remove_constant(ifd_value *value);
/* A node with room for its inputs and outputs (all NULL), not yet in any list. Resolves opset, schema and
 * op. */
ifd_status ifd_node_new(ifd_error *err, ifd_node **out, ifd_graph *graph, const char *domain,
                        const char *op_type, int n_inputs, int n_outputs);
/* A node with room for its values like those of another, and its operator, opset, schema, op, names and
 * origin, which are borrowed; no values, no attributes yet. */
ifd_status ifd_node_new_like(ifd_error *err, ifd_node **out, ifd_graph *graph, const ifd_node *like);
/* Finds opset, schema and op anew, after opset imports, functions or the node's overload have changed. */
void ifd_node_resolve(ifd_node *node);
ifd_status ifd_node_set_input(ifd_error *err, ifd_node *node, int index, ifd_value *value);
/* The value must not have a producer: remove the old one first. */
ifd_status ifd_node_set_output(ifd_error *err, ifd_node *node, int index, ifd_value *value);
/* An input or output goes, and those behind it move up. */
void ifd_node_drop_input(ifd_node *node, int index);
void ifd_node_drop_output(ifd_node *node, int index);
/* Sets or replaces an attribute; the name is copied, the payload borrowed (graphs get this owner). */
ifd_status ifd_node_set_attr(ifd_error *err, ifd_node *node, const ifd_attr *attr);
ifd_status ifd_node_set_int(ifd_error *err, ifd_node *node, const char *name, int64_t i);
ifd_status ifd_node_set_float(ifd_error *err, ifd_node *node, const char *name, float f);
ifd_status ifd_node_set_string(ifd_error *err, ifd_node *node, const char *name, const char *s);
ifd_status ifd_node_set_ints(ifd_error *err, ifd_node *node, const char *name, const int64_t *v, int n);
void ifd_node_remove_attr(ifd_node *node, const char *name);
/* Into the list before `before` (NULL: at the end). */
void ifd_node_insert(ifd_node *node, ifd_node *before);
/* Out of the list, for good; inputs (of its subgraphs' nodes, too) lose this reader, outputs lose their
 * producer. */
void ifd_node_remove(ifd_node *node);
/* Gives a value another name (copied), which no value that sees it, or that it sees, may have: USAGE else. */
ifd_status ifd_value_rename(ifd_error *err, ifd_value *value, const char *name);
/* All readers of `from`, and its places among the outputs of its graph when `outputs`, now read `to`. */
ifd_status ifd_value_replace(ifd_error *err, ifd_value *from, ifd_value *to, bool outputs);

/* ---- asking ---- */
/* The version of a domain that the model imports; 0 when it does not. */
int ifd_model_opset(const ifd_model *model, const char *domain);
/* The version that applies to nodes of a graph: the model's, or in a function's body the function's. */
int ifd_graph_opset(const ifd_graph *graph, const char *domain);
/* "" for NULL and "ai.onnx", else the domain itself. */
const char *ifd_domain(const char *domain);
bool ifd_domain_equal(const char *a, const char *b);
const ifd_function *ifd_model_find_function(const ifd_model *model, const char *domain, const char *name,
                                            const char *overload);
/* The model's own function that a node calls, or NULL. */
const ifd_function *ifd_node_find_function(const ifd_node *node);
ifd_value *ifd_graph_find_value(const ifd_graph *graph, const char *name); /* this graph, then outer ones */
const ifd_attr *ifd_node_find_attr(const ifd_node *node, const char *name);
/* The attribute's value, or the given default when absent or of another type. */
int64_t ifd_node_int(const ifd_node *node, const char *name, int64_t otherwise);
float ifd_node_float(const ifd_node *node, const char *name, float otherwise);
/* Terminated copy-free text when absent: `otherwise`. */
ifd_str ifd_node_string(const ifd_node *node, const char *name, const char *otherwise);
bool ifd_node_string_is(const ifd_node *node, const char *name, const char *otherwise, const char *expected);
/* n and the array, or 0 and NULL. */
int ifd_node_ints(const ifd_node *node, const char *name, const int64_t **out);
int ifd_node_floats(const ifd_node *node, const char *name, const float **out);
const ifd_tensor *ifd_node_tensor(const ifd_node *node, const char *name);
ifd_graph *ifd_node_graph(const ifd_node *node, const char *name);
/* The graphs of an attribute (GRAPH or GRAPHS): how many, and the array. */
int ifd_attr_graphs(const ifd_attr *attr, ifd_graph *const **out);
bool ifd_node_has_graphs(const ifd_node *node);
bool ifd_node_is(const ifd_node *node, const char *op_type); /* of domain ai.onnx */
/* Whether an attribute is one of the function's in whose body the node stands: each call gives it another
 * value, and what the node computes is not known before. */
bool ifd_node_is_open(const ifd_node *node);
/* One of these of ai.onnx, separated by spaces. */
bool ifd_node_is_any(const ifd_node *node, const char *op_types);
/* "node 'conv1' (Conv)" into text; returns text. For errors. A node without a name goes by its first
 * output. */
const char *ifd_node_label(const ifd_node *node, char *text, size_t n);
static inline bool ifd_node_has_input(const ifd_node *n, int i) {
  return i >= 0 && i < n->n_inputs && n->inputs[i];
}
static inline bool ifd_node_has_output(const ifd_node *n, int i) {
  return i >= 0 && i < n->n_outputs && n->outputs[i];
}
static inline ifd_value *ifd_node_input(const ifd_node *n, int i) {
  return i < n->n_inputs ? n->inputs[i] : NULL;
}
static inline ifd_value *ifd_node_output(const ifd_node *n, int i) {
  return i < n->n_outputs ? n->outputs[i] : NULL;
}
/* The tensor when the value is the same in every run: an initializer that no caller may override (an
 * initializer that is also a graph input is a default since IR 4; IR 3 lists all of them as inputs and they
 * count as constant). Else NULL. */
const ifd_tensor *ifd_value_constant(const ifd_value *value);
/* Whether a constant, a tensor of one repeated value, is written to files as the ConstantOfShape that makes
 * it, which is shorter. */
bool ifd_value_is_splat_node(const ifd_value *value);
/* How many nodes read it plus how often it is a graph output. */
int ifd_value_n_readers(const ifd_value *value);
/* The node that made it, or NULL; the one reader when there is exactly one and it is no graph output, else
 * NULL. */
ifd_node *ifd_value_only_reader(const ifd_value *value);
/* Types made in an arena; NULL when out of memory. dims are copied. */
const ifd_type *ifd_type_tensor(ifd_arena *arena, ifd_dtype dtype, int rank, const ifd_dim *dims);
const ifd_type *ifd_type_tensor_unranked(ifd_arena *arena, ifd_dtype dtype);
const ifd_type *ifd_type_of(ifd_arena *arena, ifd_kind kind, const ifd_type *elem); /* sequence, optional */
const ifd_type *ifd_type_map(ifd_arena *arena, ifd_dtype key, const ifd_type *value);
const ifd_type *ifd_type_of_tensor(ifd_arena *arena, const ifd_tensor *tensor);
extern const ifd_type ifd_type_unknown;
bool ifd_type_equal(const ifd_type *a, const ifd_type *b);
/* "float[N,3,224,224]", "seq(float[?])" into text; returns text. */
const char *ifd_type_text(const ifd_dims *dims, const ifd_type *type, char *text, size_t n);

/* Adds the values that a node reads, those read by the nodes of graphs inside it included; once for each time
 * it is read. */
ifd_status ifd_node_add_reads(ifd_error *err, ifd_arena *arena, const ifd_node *node, ifd_values *reads);

/* for each node, outer to inner not included; safe against removal of `node` itself */
#define IFD_EACH_NODE(node, graph)                                                                           \
  for (ifd_node *node = (graph)->first, *node##_next_ = node ? node->next : NULL; node;                      \
       node = node##_next_, node##_next_ = node ? node->next : NULL)

/* Calls visit for a graph and all graphs nested in it, outer first; stops at the first failure. */
ifd_status ifd_graph_visit(ifd_graph *graph, ifd_status (*visit)(ifd_graph *graph, void *context),
                           void *context);

#endif
