/* What plan/ alone knows of a program. */
#ifndef IFD_PLAN_PROGRAM_PRIV_H
#define IFD_PLAN_PROGRAM_PRIV_H

#include "ops/infer.h"
#include "plan/plan.h"

/* A constant in the form that a kernel reads, by what it was made from. */
typedef struct ifd_packed {
  struct ifd_packed *next;     /* of the same bucket */
  struct ifd_packed *next_due; /* of those to be packed */
  uint64_t hash;
  ifd_tensor from;
  ifd_packing how; /* pack NULL: its elements, dense */
  void *memory;
} ifd_packed;

/* Memory that forms share. */
typedef struct ifd_slab {
  struct ifd_slab *next;
  char *memory;
  size_t size, used;
} ifd_slab;

typedef struct ifd_program_node {
  const ifd_node *node;
  const int *in, *out; /* slots, -1 absent */
  int n_reads;
  const int *reads; /* slots that graphs inside the node capture */
  ifd_arena kept;   /* of what was made of its attributes, or empty */
  const void *made; /* guarded by pack_lock */
} ifd_program_node;

typedef struct ifd_program_priv {
  IFD_VEC(const ifd_value *) values; /* by slot */
  IFD_VEC(ifd_datum) constants;      /* by slot */
  ifd_map slots;                     /* value name -> slot + 1 */
  int n_nodes;
  ifd_program_node *nodes;
  pthread_mutex_t pack_lock; /* root program: guards what follows */
  int n_packed, n_buckets;   /* as many buckets, a power of two, as forms, or more */
  ifd_packed **packed;
  ifd_slab *slabs;
  size_t slab_bytes;
  ifd_packed *due, *last_due; /* whose memory is not filled yet, oldest first */
  bool guesses;               /* a plan of guessed shapes is being made: only any_shape is packed for it */
} ifd_program_priv;

/* Memory for a constant's packed form, one for all plans of the root program; ifd_program_pack_due fills it.
 * Where pack is NULL, it is its elements, dense. */
ifd_status ifd_program_pack(ifd_error *err, const void **out, ifd_program *program, const ifd_tensor *from,
                            const ifd_packing *how);
/* Packs what was asked for, by this plan or another, on the pool's threads: before a step may run. */
ifd_status ifd_program_pack_due(ifd_error *err, ifd_program *program);
/* A node of the program. */
ifd_program_node *ifd_program_node_of(const ifd_program *program, const ifd_node *node);
/* What make makes of the node, by the first who asks. */
ifd_status ifd_program_make_once(ifd_error *err, const void **out, ifd_program *program, const ifd_node *node,
                                 ifd_make *make);
/* Sees to it that a constant's own bytes are there, for good: a step reads them. */
ifd_status ifd_program_need(ifd_error *err, ifd_program *program, const ifd_tensor *constant);
/* Lowers a node into work (n_launches 0: it declined). in and out as ifd_lower has them. */
ifd_status ifd_plan_lower(ifd_error *err, ifd_arena *arena, ifd_program *program, const ifd_node *node,
                          const ifd_tensor *const *in, const bool *constant, const ifd_tensor *const *out,
                          ifd_work *work);

#endif
