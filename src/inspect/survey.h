/* What there is to say about a model, gathered once; the renderers only lay it out.
 *
 * Nodes are those of the main graph, of all subgraphs and, once each, of local functions; Constant nodes are
 * weights, not operators. Free dimensions without a name get one ("?1", "?2" …), so that expressions can
 * speak of them: the survey changes its model, which should be a copy of the caller's. Everything lives in
 * the arena. */
#ifndef IFD_INSPECT_SURVEY_H
#define IFD_INSPECT_SURVEY_H

#include "inspect/cost.h"
#include "inspect/norm.h"

typedef struct ifd_weight_row {
  const char *name;
  const ifd_tensor *tensor;
  const ifd_graph *graph;
} ifd_weight_row;

typedef struct ifd_node_row {
  const ifd_node *node;
  int depth; /* 0: main graph */
  bool has_macs;
  ifd_dim macs;
} ifd_node_row;

typedef struct ifd_operator_row {
  const char *domain, *op_type, *label; /* label: "Conv", "com.example.Foo" */
  int opset;                            /* version whose meaning applies; 0 when unknown */
  int n_nodes;
  bool is_function, supported;
  ifd_dim macs;       /* of the nodes whose cost is known */
  int n_unknown_macs; /* the others */
  int64_t elements;   /* of weights that its nodes read first */
} ifd_operator_row;

/* One normalization. */
typedef struct ifd_norm_row {
  const ifd_node *node;
  ifd_norm norm;
  const char *after; /* the operator before it, "an input" or "a constant" */
} ifd_norm_row;

typedef struct ifd_type_row {
  ifd_dtype dtype;
  int n_tensors;
  double elements, bytes;
} ifd_type_row;

/* A quantity as an expression, and as a number where it has one or under the probe. */
typedef struct ifd_quantity {
  const char *expression;
  bool has_number;
  bool is_exact; /* no free dimension is in it */
  double number;
} ifd_quantity;

typedef struct ifd_survey {
  const ifd_model *model;
  ifd_arena *arena;
  ifd_error *err;
  IFD_VEC(ifd_weight_row) weights;
  IFD_VEC(ifd_node_row) nodes;
  IFD_VEC(ifd_operator_row) operators; /* most nodes first */
  ifd_map operators_by_key;            /* while they are gathered: domain, name and version to 1 + index */
  IFD_VEC(ifd_norm_row) norms;
  IFD_VEC(ifd_type_row) types;   /* of weights */
  IFD_VEC(const char *) symbols; /* free dimensions of inputs */
  ifd_binding probe;             /* first dimensions are 1, others PROBE, or more where windows are larger */
  const char *probe_text;        /* "N = 1, H = W = 64"; "" when there is no free dimension */
  int n_nodes, n_batch_norms, n_graphs;
  int n_unknown_macs;     /* nodes whose cost is not known, or depends on data */
  double elements, bytes; /* of weights */
  ifd_quantity macs, memory;
  ifd_peak peak;
} ifd_survey;

enum { IFD_PROBE = 64 };

/* Gathers; model types must be inferred. */
ifd_status ifd_survey_new(ifd_error *err, ifd_survey **out, ifd_model *model, ifd_arena *arena);
/* "Conv 'conv1'"-like texts without quotes: the node's name, or its first output's. */
const char *ifd_survey_node_name(const ifd_node *node);

/* What the elements of a weight are like. */
typedef struct ifd_weight_facts {
  double min, max, mean; /* of finite elements; NaN when there are none */
  int64_t n_zero, n_nan, n_inf;
  bool is_number; /* false for strings and complex numbers: nothing else is set */
} ifd_weight_facts;
void ifd_weight_measure(const ifd_tensor *tensor, ifd_weight_facts *out);

#endif
