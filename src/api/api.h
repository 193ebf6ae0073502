/* What the public types are made of, and how api/ files speak to the layers. */
#ifndef IFD_API_API_H
#define IFD_API_API_H

#include "base/fenv.h"
#include "exec/run.h"
#include "infold/infold.h"
#include "pass/pass.h"
#include <stdio.h>

/* A model shared by its handle and by sessions; `source` is kept alive for constants that are borrowed from
 * it. */
struct infold_model {
  _Atomic int refs;
  ifd_budget budget;
  ifd_model *ir;
  infold_model *source;
};

struct infold_report {
  ifd_optimize_report passes;
  ifd_optimize_report untrained; /* of what was asked for first: empty unless it was */
  infold_model *before, *after;  /* before: after that */
  double seconds;
  bool stopped;            /* by max_rewrites */
  bool bn_inference;       /* asked for: before is not the model that was given */
  char *verified;          /* what running both showed, or NULL */
  struct json_t *evidence; /* the same for a certificate, where it was measured, or NULL */
};

/* Values own what they hold, through datum's counted memory, `borrowed` tensors aside. */
struct infold_value {
  ifd_datum datum;
  ifd_budget *budget;  /* NULL: the machine's memory */
  infold_value *items; /* views handed out by infold_get_item, made on first use */
};

struct infold_pool {
  _Atomic int refs;
  ifd_pool *threads; /* NULL: the caller alone */
};

/* A block that passes computed for the model that runs: of a constant, or of several. */
typedef struct ifd_weight {
  const char *data;
  size_t bytes;
  int readers;
  bool gone, needed; /* let go of; read as it is */
} ifd_weight;

struct infold_session {
  infold_model *model;         /* as given: names, types */
  infold_model *ready;         /* what runs */
  bool keeps_weights;          /* that were packed: some were needed again */
  IFD_VEC(ifd_weight) weights; /* of ready, by address */
  ifd_budget *budget;          /* lives as long as the session's results */
  infold_session_options options;
  size_t base_limit; /* without inputs */
  ifd_program *program;
  infold_pool *pool;
  char **input_types, **output_types;
  ifd_arena arena;
  pthread_mutex_t lock; /* guards the profile and what is loose */
  ifd_profile profile;
  double profile_seconds;
  double deadline;       /* of runs, on the clock of ifd_now; 0: none */
  infold_session *loose; /* for inputs that contradict names of dimensions, once there were any */
  bool runs_loose;       /* the last run was such a one */
};

/* The session of the model without names of free dimensions, made when it is first asked for, with the same
 * deadline; it lives as long as this one. */
ifd_status ifd_api_get_loose(ifd_error *err, infold_session **out, infold_session *session);

/* Copies an error to the caller's record and gives its status; clears the result through `out` unless OK. */
infold_status ifd_api_report(infold_error *to, const ifd_error *from, const char *file, ifd_status status);
/* The other way: what a call of infold.h failed with. */
ifd_status ifd_api_fail_as(ifd_error *err, const infold_error *from);
/* Closes the memory stream that made *out, which is freed unless all went well; f is NULL when it could not
 * be opened. */
ifd_status ifd_api_text_end(ifd_error *err, FILE *f, char **out, ifd_status status);
/* Writes something of infold.h in the form that `what` names, so wide. */
typedef ifd_status ifd_api_writer(ifd_error *err, FILE *to, const void *of, const char *what, int width);
/* What it writes as a text for the caller: the body of a function of infold.h. */
infold_status ifd_api_write(infold_error *to, char **out, ifd_api_writer *write, const void *of,
                            const char *what, int width);
/* A heap copy for the caller; NO_MEMORY when that fails. */
ifd_status ifd_api_text(ifd_error *err, char **out, const char *text);

/* First in functions that compute: the default floating-point environment (rounding to nearest, subnormals
 * kept, no traps) until they return, then the caller's again, flags included. */
#define IFD_API_COMPUTES __attribute__((cleanup(ifd_fenv_leave))) ifd_fenv callers_ = ifd_fenv_enter()
/* The limit that was asked for, or, where that is 0, what the machine allows. */
ifd_budget ifd_api_limited(size_t asked);
/* The limit that was asked for, or the default (see infold.h) where that is 0, before there are inputs; the
 * machine's aside. */
size_t ifd_api_memory_limit(size_t asked, const infold_model *model);
/* The largest input that is made up for a session. */
size_t ifd_api_input_limit(const infold_session *s);
/* Says in the error when memory ran out for the budget's limit; returns the status. */
ifd_status ifd_api_name_limit(ifd_error *err, ifd_status status, ifd_budget *budget);
/* A deep copy whose constants are borrowed from `model`, which it keeps alive, under the limits of `like`. */
ifd_status ifd_api_clone(ifd_error *err, infold_model **out, const infold_model *model,
                         const ifd_budget *like);
/* The same for a model that will be written: where the source has external data, large new weights are kept
 * in a file, too. */
ifd_status ifd_api_clone_to_write(ifd_error *err, infold_model **out, const infold_model *model);
/* Whether the model, or what it is a copy of, was read with external data. */
bool ifd_api_has_external_data(const infold_model *model);
infold_model *ifd_api_ref(const infold_model *model);
/* A copy whose training-mode BatchNormalization is in inference mode, where its statistics look trained; the
 * report (its arena initialized) says which was changed, and why others were not. */
ifd_status ifd_api_untrain(ifd_error *err, infold_model **out, ifd_optimize_report *report,
                           const infold_model *model);
/* Whether a path ends so, in ".npz" for example. */
bool ifd_api_ends_with(const char *text, const char *end);
/* Infers the types of all values anew. */
ifd_status ifd_api_infer(ifd_error *err, ifd_model *ir);
/* A tensor of this element type and shape: how is "random" (seeded: floats in [-1, 1), integers in [0, 4),
 * any boolean, one-letter strings) or "zeros". Of more than `limit` bytes: LIMIT. */
ifd_status ifd_api_make_tensor(ifd_error *err, ifd_datum *out, ifd_dtype dtype, const ifd_shape *shape,
                               const char *how, uint64_t seed, size_t limit);
/* Whether dimension k of an input's type, a free one, is the batch. The batch is what comes first, or second
 * behind a number when it is the only one without a name: the layers of recurrent nets stand before the batch
 * in their states. */
bool ifd_api_is_batch(const ifd_model *model, const ifd_type *t, int k);
/* .npz archives, as infold_read_inputs and infold_write_outputs take them; values that were read stay on
 * failure. */
ifd_status ifd_api_read_archive(ifd_error *err, infold_value **values, const infold_session *s,
                                const char *path);
/* The same of an archive that may hold other arrays too. */
ifd_status ifd_api_read_among(ifd_error *err, infold_value **values, const infold_session *s,
                              const char *path);
/* The array that has the name of this input. */
ifd_status ifd_api_read_from_archive(ifd_error *err, infold_value **out, const infold_session *s,
                                     const char *path, int input);
ifd_status ifd_api_write_archive(ifd_error *err, infold_value *const *values, const infold_session *s,
                                 const char *path);
/* Makes s->ready, the model that runs: a copy of the session's model with local functions and gradients
 * written out, then optimized for running. */
ifd_status ifd_api_make_ready(ifd_error *err, infold_session *s);
/* let_go and need of a session's program (plan.h), which see to it that one of them runs at a time. */
void ifd_api_let_go(void *session, const void *data, size_t bytes);
ifd_status ifd_api_need(ifd_error *err, void *session, const void *data, bool for_good);
/* One more reference to the pool that was given, or, where that is NULL, a new one. */
ifd_status ifd_api_get_pool(ifd_error *err, infold_pool **out, infold_pool *given, int threads);
/* A value that takes over the datum, which is released on failure too. */
ifd_status ifd_api_value(ifd_error *err, infold_value **out, ifd_datum *datum);
/* Destroys n values, of which any may be NULL, and leaves NULL; values may be NULL itself. */
void ifd_api_drop_values(infold_value **values, int n);

#endif
