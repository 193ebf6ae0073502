/* The passes' machinery among its own files. */
#ifndef IFD_PASS_MANAGER_H
#define IFD_PASS_MANAGER_H

#include "pass/pass.h"

/* One run of the optimizer. */
typedef struct ifd_manager {
  ifd_error *err;
  ifd_model *model;
  const ifd_optimize_options *options;
  ifd_optimize_report *report;
  ifd_arena facts_arena; /* of inference, renewed from sweep to sweep */
  ifd_inference inf;
  struct ifd_bounds **bounds; /* by value id: what range.c found out, or NULL; renewed with the facts */
  int n_bounds;
  ifd_arena maps_arena;        /* of what affine.c found out */
  struct ifd_known_map **maps; /* by node id, or NULL */
  int n_maps;
  const ifd_tensor **known; /* by value id: content computed but not put into the file, or NULL */
  const ifd_value **known_values;
  int n_known;
  int64_t known_bytes;
  int64_t dead_bytes;           /* of constants that were removed since such memory was last given back */
  int64_t bytes, bytes_allowed; /* of the file's nodes and constants: now, and at most */
  int64_t provenance_bytes;     /* that the file had */
  long rewrites_left;           /* that the caller allows, < 0: no bound */
  long rewrites_before, nodes_before; /* as the sweep began */
  long changes;                       /* of the graph, so far */
  long facts_at;                      /* how many there were when the facts were renewed */
  bool last_look;                     /* nothing changes any more: refusals are recorded */
} ifd_manager;

typedef struct ifd_edit_input {
  ifd_node *reader;
  int index;
  ifd_value *with;
} ifd_edit_input;

typedef struct ifd_edit_value {
  ifd_value *old, *with;
} ifd_edit_value;

/* One attempt of one rule at one node. */
struct ifd_rewrite {
  ifd_manager *manager;
  const ifd_pass_entry *pass;
  ifd_node *root;
  ifd_arena scratch;
  bool refused;
  bool acted;                     /* the rule changed the graph itself */
  IFD_VEC(ifd_node *) nodes;      /* new, in order; their inputs count as reads only once applied */
  IFD_VEC(ifd_value *) constants; /* new */
  IFD_VEC(ifd_edit_value) values;
  IFD_VEC(ifd_edit_input) inputs;
  IFD_VEC(ifd_node *) doomed; /* what nobody reads once it is applied */
};

/* Applies what the attempt staged, whole or not at all; *applied says which. */
ifd_status ifd_patch_apply(ifd_rewrite *rw, bool *applied);
/* Forgets what was staged. */
void ifd_patch_drop(ifd_rewrite *rw);
/* Removes a node when nobody reads its outputs, then the nodes and constants that only it read. */
ifd_status ifd_remove_dead(ifd_manager *m, ifd_node *node);
/* Removes a constant that nobody reads. */
void ifd_remove_unread_constant(ifd_manager *m, ifd_value *value);
/* Bytes that a node (without the graphs in it, and without its provenance), its provenance, or a constant
 * takes in the file. */
int64_t ifd_node_bytes(const ifd_node *node);
int64_t ifd_provenance_bytes(const ifd_node *node);
int64_t ifd_constant_bytes(const ifd_value *value);
/* Of its nodes and constants, without those of graphs in it. */
int64_t ifd_graph_bytes(const ifd_graph *graph);
/* What a function takes beside its body. */
int64_t ifd_header_bytes(const ifd_function *f);

#endif
