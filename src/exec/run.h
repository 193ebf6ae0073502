/* Running programs: inputs in, outputs out.
 *
 * A session shares one immutable program among any number of threads; each run takes a frame (slab and slots
 * of one plan) from the plan's idle ones, so that running again allocates nothing but outputs. Tasks of a
 * step go to the pool; no result depends on how many threads it has. */
#ifndef IFD_EXEC_RUN_H
#define IFD_EXEC_RUN_H

#include "base/thread.h"
#include "plan/plan.h"

/* One evaluated or lowered step as it ran. */
typedef struct ifd_profile_entry {
  const char *name, *op_type, *algorithm; /* algorithm NULL: evaluated by the reference */
  double start, seconds;
  size_t bytes; /* read and written, where known */
  double macs;  /* multiply-accumulates, of operators that count them */
} ifd_profile_entry;

typedef struct ifd_profile {
  ifd_arena arena;
  IFD_VEC(ifd_profile_entry) entries;
} ifd_profile;

typedef struct ifd_run_options {
  ifd_pool *pool;       /* NULL: the caller alone */
  int64_t max_steps;    /* loop trips; 0: the default */
  ifd_profile *profile; /* or NULL */
  /* asked between steps: true ends the run with LIMIT; or NULL */
  bool (*cancelled)(void *context);
  void *cancel_context;
} ifd_run_options;

enum { IFD_DEFAULT_MAX_STEPS = 1000000 };

/* Runs a root program. inputs by program->inputs, borrowed; outputs by program->outputs, owned by the caller
 * (unref them). On failure no output is left. Thread-safe. */
ifd_status ifd_run(ifd_error *err, ifd_program *program, const ifd_run_options *options,
                   const ifd_datum *inputs, ifd_datum *outputs);

/* Makes the plan of runs with inputs of these types (no data needed) and packs the weights that it reads, so
 * that the first run need not. Where shapes are but guessed, packs only what does not depend on them. */
ifd_status ifd_run_prepare(ifd_error *err, ifd_program *program, const ifd_datum *inputs, bool guessed);

/* Bytes that a run with these inputs holds at most, or 0 where shapes depend on data. Plans it, runs
 * nothing. */
ifd_status ifd_run_peak(ifd_error *err, size_t *out, ifd_program *program, const ifd_datum *inputs);

/* Frees what runs left with the program's plans; before ifd_program_destroy. */
void ifd_run_free_frames(ifd_program *program);

#endif
