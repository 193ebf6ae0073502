/* What the files of exec/ share: a run and its memory. */
#ifndef IFD_EXEC_RUN_PRIV_H
#define IFD_EXEC_RUN_PRIV_H

#include "exec/run.h"

/* The memory of one run of one plan, or, a lane, of one slice after another of its regions. */
typedef struct ifd_frame {
  struct ifd_frame *next; /* idle frames of the plan */
  ifd_arena arena;
  ifd_program *program;
  ifd_plan *plan;
  ifd_place own; /* the slots that lie in slab: SLAB, or PART in a lane */
  ifd_datum *slots;
  char *slab, *scratch, *shared;
  size_t slab_bytes, scratch_bytes, shared_bytes;
  int n_workers;
  int n_patched;
  int *patched; /* slots whose memory changes from run to run: aliases of inputs */
  int n_lanes;  /* slices that may be under way at once */
  struct ifd_frame *lanes;
} ifd_frame;

typedef struct ifd_runner {
  ifd_env env; /* first: an env is its runner */
  const ifd_run_options *options;
  ifd_frame *frame;
  int depth; /* of graphs within graphs */
} ifd_runner;

/* An idle frame of the plan, or a new one, for so many workers. */
ifd_status ifd_frame_take(ifd_error *err, ifd_frame **out, ifd_program *program, ifd_plan *plan,
                          int n_workers);
/* The frame is idle again (NULL: there was none), and the plan, which ifd_plan_get gave, has a user less. */
void ifd_frame_give_back(ifd_program *program, ifd_plan *plan, ifd_frame *f);
/* Frees the idle frames of a plan. */
void ifd_frames_free(ifd_plan *plan);
/* Where the slots lie that are neither the caller's nor made by steps. */
void ifd_frame_fill(ifd_frame *f);
/* Before the steps: inputs and captures, borrowed, into their slots, memory for outputs. */
ifd_status ifd_frame_enter(ifd_error *err, ifd_frame *f, const ifd_datum *inputs,
                           const ifd_datum *const *captures);
/* After them: the outputs, owned by the caller. */
ifd_status ifd_frame_leave(ifd_error *err, ifd_frame *f, ifd_datum *outputs);
/* Inputs and captures are borrowed; what the run made and still holds is released. */
void ifd_frame_clear(ifd_frame *f);
/* Runs steps [first, last) of the frame's plan. */
ifd_status ifd_run_steps(ifd_runner *r, int first, int last);

/* The lanes of a frame whose plan has regions; what was made on failure is for ifd_lanes_destroy. */
ifd_status ifd_lanes_create(ifd_error *err, ifd_frame *f);
void ifd_lanes_destroy(ifd_frame *f);
/* Runs a region's steps on all slices of the batch: as many at once as there are workers, each alone, and the
 * rest one after another, each on all workers. */
ifd_status ifd_run_region(ifd_runner *r, const ifd_region *region);

#endif
