/* Operators of com.microsoft, which ONNX Runtime's optimizer and quantizer write into files: what the passes
 * share that say them in ONNX's own words (passes/expand_*.c). */
#ifndef IFD_PASS_FOREIGN_H
#define IFD_PASS_FOREIGN_H

#include "pass/pass.h"

/* Whether it is the operator that everybody knows (a model may define a function of the same name), has its
 * first output and the inputs that it needs (bit i: input i), and stands where ai.onnx is of version `since`
 * or newer, which has what it is written as. No schema promises any of it. */
bool ifd_is_foreign(const ifd_node *node, int since, unsigned needed);

/* Whether the operator is one that ai.onnx offers at the node (ifd_rw_offers); refuses where it is not. */
ifd_status ifd_foreign_offer(ifd_rewrite *rw, bool *offered, const ifd_node *node, const char *op_type);
/* The node becomes ai.onnx's operator of its name, of one output, where that is offered. */
ifd_status ifd_foreign_rename(ifd_rewrite *rw, ifd_node *node);
/* A new node of ai.onnx in the place of a foreign one, with its name, and of its inputs and attributes
 * those that the operator has. */
ifd_status ifd_foreign_add(ifd_rewrite *rw, ifd_node **out, const ifd_node *node, const char *op_type,
                           ifd_value *const *inputs, int n_inputs, int n_outputs);
/* Gives `made` those attributes of node that it may have. */
ifd_status ifd_foreign_keep(ifd_rewrite *rw, ifd_node *made, const ifd_node *node);
/* A new node of one output, without attributes. */
ifd_status ifd_foreign_apply(ifd_rewrite *rw, ifd_value **out, const char *op_type, ifd_value *const *inputs,
                             int n_inputs);
/* a op b; what is absent (NULL) leaves the other. */
ifd_status ifd_foreign_binary(ifd_rewrite *rw, ifd_value **out, const char *op_type, ifd_value *a,
                              ifd_value *b);
/* *x in another element type, where it is not known to be of it. */
ifd_status ifd_foreign_cast(ifd_rewrite *rw, ifd_value **x, ifd_dtype dtype);
/* [batch, length, heads, size] as [batch, heads, length, size], or back. */
ifd_status ifd_foreign_swap_heads(ifd_rewrite *rw, ifd_value **x);
/* The length of x along an axis, int64 [1] or, where `scalar`, []. */
ifd_status ifd_foreign_length(ifd_rewrite *rw, ifd_value **out, ifd_value *x, int64_t axis, bool scalar);
/* 0, 1, … n - 1, of int64 n of rank 0. */
ifd_status ifd_foreign_count(ifd_rewrite *rw, ifd_value **out, ifd_value *n);
/* The node becomes version `since` of its operator, where it is older (of a session's model alone). */
void ifd_foreign_raise(ifd_node *node, int since);
/* Numbers in the type of x, which is known. */
ifd_status ifd_foreign_number(ifd_rewrite *rw, ifd_value **out, const ifd_value *x, double number);

#endif
