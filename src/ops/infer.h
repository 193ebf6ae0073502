/* Inference over graphs: what is known of every value, by value id. The table belongs to its owner (pass
 * manager, plan), so that one graph can be seen with symbols by one and with the numbers of a run by
 * another. */
#ifndef IFD_OPS_INFER_H
#define IFD_OPS_INFER_H

#include "ops/op.h"

typedef struct ifd_facts {
  const ifd_type *type;         /* never NULL */
  const ifd_tensor *constant;   /* known content, or NULL */
  const ifd_elements *elements; /* known content of a small integer tensor, symbols included, or NULL */
} ifd_facts;

typedef struct ifd_inference {
  ifd_error *err;
  ifd_arena *arena;
  ifd_dims *dims;
  ifd_facts *facts; /* by value id */
  int n_facts;
} ifd_inference;

/* An empty table for the model's values. */
ifd_status ifd_inference_init(ifd_inference *inf, ifd_error *err, ifd_arena *arena, ifd_dims *dims,
                              int n_values);
/* What is known of a value; values made later than the table was are taken in. NULL only when out of
 * memory. */
ifd_facts *ifd_inference_get(ifd_inference *inf, const ifd_value *value);
/* Makes the content of a tensor known (type, constant, elements). */
ifd_status ifd_inference_set_tensor(ifd_inference *inf, const ifd_value *value, const ifd_tensor *tensor);
/* The small integer content of a tensor, or NULL when it is not one. */
ifd_status ifd_elements_of(ifd_error *err, ifd_arena *arena, const ifd_elements **out,
                           const ifd_tensor *tensor);
/* Infers one node from facts at hand, by input (NULL: absent) and output. x has err, node, arena, dims and,
 * for nodes with graphs, subgraph and driver. */
ifd_status ifd_infer_facts(ifd_infer *x, const ifd_facts *const *in, ifd_facts *out);
/* Infers one node's outputs from what is known of its inputs. */
ifd_status ifd_infer_node(ifd_inference *inf, const ifd_node *node);
/* Constants and nodes of a graph in order; its inputs take their declared types unless already known. */
ifd_status ifd_infer_graph(ifd_inference *inf, const ifd_graph *graph);
/* The main graph; the types found are put on the values (value->type). */
ifd_status ifd_infer_model(ifd_inference *inf, ifd_model *model);

#endif
