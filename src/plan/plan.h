/* Programs and plans: what the executor runs.
 *
 * A program is a graph made ready once: every value has a slot, every node's inputs are slots, constants are
 * dense, the graphs inside its nodes are child programs. A plan is a program for given input shapes: flat
 * steps with kernels and parameters where shapes are known beforehand, memory offsets in one slab, and steps
 * that are prepared when reached where shapes depend on data. Both are immutable once made and shared by
 * threads; they know nothing of runs. The executor sees this header only: nodes and graphs are opaque
 * here. */
#ifndef IFD_PLAN_PLAN_H
#define IFD_PLAN_PLAN_H

#include "base/cpu.h"
#include "base/thread.h"
#include "base/vec.h"
#include "kernels/launch.h"
#include "tensor/tensor.h"
#include <pthread.h>

struct ifd_node;
struct ifd_graph;
struct ifd_model;

typedef struct ifd_program ifd_program;
typedef struct ifd_plan ifd_plan;

typedef struct ifd_program_options {
  ifd_isa isa;
  bool reference;  /* evaluate everything by its reference */
  bool float64;    /* float32 in double; implies reference */
  bool exact_conv; /* no convolution by Winograd's algorithm or a fast transform */
  ifd_pool *pool;  /* packs weights; NULL: the caller alone */
  ifd_caches caches;
  /* Told of a constant that was packed, so that its one reader has no more use for its bytes, and, with NULL,
   * of the end of a batch of these; or NULL. */
  void (*let_go)(void *owner, const void *data, size_t bytes);
  /* Asks for a constant's bytes, which may have gone: now, or for good; or NULL. */
  ifd_status (*need)(ifd_error *err, void *owner, const void *data, bool for_good);
  void *owner;
} ifd_program_options;

/* A value of an outer graph that this program reads. */
typedef struct ifd_capture {
  int outer; /* slot in the parent program */
  int slot;
} ifd_capture;

struct ifd_program {
  ifd_arena arena;
  ifd_budget *budget;
  ifd_program_options options;
  const struct ifd_graph *graph;
  ifd_program *parent;
  int n_slots;
  int n_inputs, n_outputs;
  const int *inputs, *outputs; /* slots */
  IFD_VEC(ifd_capture) captures;
  const ifd_datum *constants; /* by slot; kind UNKNOWN where not constant; may be splat or packed */
  IFD_VEC(ifd_program *) children;
  void *priv;           /* plan/: values by slot, nodes, packed constants */
  pthread_mutex_t lock; /* guards plans and what the executor keeps beside them */
  ifd_plan *plans;      /* most recently used first */
};

/* Where a slot's value lives in a plan. */
typedef enum ifd_place {
  IFD_PLACE_NONE,     /* never materialized */
  IFD_PLACE_INPUT,    /* given by the caller: graph inputs and captures */
  IFD_PLACE_CONSTANT, /* program or plan constant: slot.tensor has data */
  IFD_PLACE_SLAB,     /* at slot.offset */
  IFD_PLACE_OUTPUT,   /* memory of its own, made in each run: graph outputs of known size */
  IFD_PLACE_ALIAS,    /* within the memory of slot.alias, from slot.offset on */
  IFD_PLACE_PART,     /* of some samples at a time: at slot.offset in a lane of the slab */
  IFD_PLACE_DYNAMIC   /* made when its step runs */
} ifd_place;

typedef struct ifd_slot {
  ifd_place place;
  int alias;
  size_t offset, bytes;
  ifd_tensor tensor; /* dtype and shape, where known */
} ifd_slot;

typedef struct ifd_step {
  const struct ifd_node *node;
  const char *name, *op_type;
  int n_in, n_out;
  const int *in, *out; /* slots; -1 absent */
  bool is_static;      /* output types are known: see the slots */
  ifd_work work;       /* n_launches 0: evaluated, or (not static) prepared when reached */
  int n_release;
  const int *release; /* dynamic slots that nobody reads after this step */
} ifd_step;

/* A slot of the whole batch, or of all samples together, as a region's steps see it: within the memory of
 * root, `stride` bytes further for each sample. */
typedef struct ifd_border {
  int slot, root;
  size_t offset, stride;
  int64_t dim0; /* of the samples of a slice; 0: as the slot has it */
} ifd_border;

/* Steps [first, last) that run on `rows` samples of the batch at a time, so that their values stay in the
 * cache; the last slice begins where it ends with the batch, and what it computes again has the same bits. */
typedef struct ifd_region {
  int first, last;
  int64_t batch, rows;
  int n_slices;
  int n_borders;
  const ifd_border *borders;
} ifd_region;

struct ifd_plan {
  ifd_arena arena;
  ifd_plan *next;
  uint64_t key_hash;
  int n_key;
  const int64_t *key; /* kinds, dtypes and shapes of inputs and captures */
  int n_steps;
  const ifd_step *steps;
  int n_regions;
  const ifd_region *regions; /* in order */
  const ifd_slot *slots;
  size_t slab, scratch, shared; /* bytes: slab of a run, scratch for each worker, memory between launches */
  size_t lane;                  /* bytes of slab for each slice that is under way */
  size_t peak; /* bytes a run on one thread holds at most, where all is static: slab + outputs + shared */
  bool all_static;
  void *frames; /* the executor's idle frames of this plan */
  int users;    /* runs that hold it now; under the program's lock */
};

/* What evaluating a node needs from a run. */
typedef struct ifd_env {
  ifd_error *err;
  ifd_budget *budget;
  uint64_t *random;
  int64_t *steps_left; /* loop trips */
  ifd_status (*run_graph)(struct ifd_env *env, const struct ifd_graph *graph, const ifd_datum *in, int n_in,
                          ifd_datum *out, int n_out);
} ifd_env;

/* Makes the program of a graph. The model must outlive it. Fails with all unsupported operators in one
 * text. */
ifd_status ifd_program_create(ifd_error *err, ifd_program **out, const struct ifd_graph *graph,
                              ifd_program *parent, const ifd_program_options *options, ifd_budget *budget);
void ifd_program_destroy(ifd_program *program);

/* The plan for these inputs (values by program->inputs) and captures (by program->captures): found or made.
 * Thread-safe. free_frames releases a forgotten plan's idle frames. */
ifd_status ifd_plan_get(ifd_error *err, ifd_plan **out, ifd_program *program, const ifd_datum *inputs,
                        const ifd_datum *const *captures, void (*free_frames)(ifd_plan *plan));

/* Packs the constants whose form does not depend on shapes, as a plan for these inputs wants them: what a
 * model needs that leaves its shapes open. Before the program is shared by threads. */
ifd_status ifd_plan_guess(ifd_error *err, ifd_program *program, const ifd_datum *inputs);

/* A step of unknown output types with its inputs now at hand: fills work and the types of its outputs (data
 * NULL) when they follow; else work->n_launches stays 0 and the step is to be evaluated. Parameters live in
 * arena. */
ifd_status ifd_step_prepare(ifd_error *err, ifd_arena *arena, ifd_program *program, const ifd_step *step,
                            const ifd_datum *const *in, ifd_work *work, ifd_tensor *out);

/* Multiply-accumulates of a step that has run, as its operator counts them (a convolution's direct ones,
 * whatever the kernel); 0 where it does not. */
ifd_status ifd_step_macs(ifd_error *err, ifd_arena *arena, const ifd_step *step, const ifd_datum *slots,
                         double *macs);
/* Evaluates a step by its operator's reference. planned[i] is memory for output i of planned_bytes[i], or
 * NULL. */
ifd_status ifd_step_evaluate(ifd_env *env, const ifd_program *program, const ifd_step *step,
                             const ifd_datum *const *in, ifd_datum *out, void *const *planned,
                             const size_t *planned_bytes);

#endif
