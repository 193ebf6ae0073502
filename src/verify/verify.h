/* Comparing two models by running them: what the files that do it share. */
#ifndef IFD_VERIFY_VERIFY_H
#define IFD_VERIFY_VERIFY_H

#include "api/api.h"
#include "verify/compare.h"
#include "verify/evidence.h"
#include "base/sha256.h"

/* The worst that was seen of an output, over all runs. */
typedef struct ifd_outcome {
  double worst, allowed; /* as parts of the scale */
  int64_t n, n_nan;
  bool is_float;
} ifd_outcome;

/* How the inputs of a run are made. */
typedef struct ifd_trial {
  const char *how;         /* "random", "zeros" or "given" */
  int64_t batch, other;    /* numbers for free dimensions */
  const ifd_shape *shapes; /* of all inputs (rank -1: not a tensor, or its default), where known; else NULL */
  char sha256[IFD_SHA256_TEXT];     /* of given inputs, once they were run on */
  infold_value **inputs, **outputs; /* once a has run: by a's inputs and outputs */
} ifd_trial;

typedef struct ifd_verifier {
  ifd_error *err;
  ifd_arena arena;
  const infold_verify_options *options;
  const infold_model *a, *b;
  infold_session *run_a, *run_b; /* never both at once: each holds its weights, packed */
  infold_session *wide;          /* a in double, made when needed */
  double deadline;               /* 0: none */
  double tolerance;
  double epsilon; /* of the coarsest float type that the models compute in */
  int n_in, n_out;
  infold_value **inputs;  /* by a's inputs */
  ifd_outcome *outcomes;  /* by a's outputs */
  ifd_evidence *evidence; /* by a's outputs: errors against a run in double; NULL when they are not wanted */
  bool no_wide;           /* a does not run in double */
  infold_value **exact, **shaken; /* by a's outputs, of the trial at hand, where needed: a in double; the same
                                     on inputs that are a little off */
  IFD_VEC(ifd_trial) trials;      /* that a ran on */
  int n_runs;                     /* that were compared */
  bool late;                      /* time was up before all cases were run */
} ifd_verifier;

/* Inputs and outputs agree, a is open; ends with ifd_verifier_end, whatever the status. */
ifd_status ifd_verifier_begin(ifd_verifier *v, ifd_error *err, const infold_model *a, const infold_model *b,
                              const infold_verify_options *options);
void ifd_verifier_end(ifd_verifier *v);
/* Runs a on v->inputs, which the trial takes over; *ran says whether a ran; if not, *e says why. */
ifd_status ifd_verifier_try(ifd_verifier *v, const ifd_trial *trial, bool *ran, infold_error *e);
/* The trials that the options ask for: one at least. */
ifd_status ifd_verifier_try_all(ifd_verifier *v);
/* Closes a, runs b on all trials and compares. */
ifd_status ifd_verifier_compare(ifd_verifier *v);

/* A session of a model as it stands; wide: in double, by reference kernels. */
ifd_status ifd_verifier_open(ifd_verifier *v, infold_session **out, const infold_model *model, bool wide);
/* Runs on a's inputs, which may come in another order there. */
ifd_status ifd_verifier_run(ifd_verifier *v, infold_session *s, infold_value *const *inputs,
                            infold_value **outputs, infold_error *e);

/* ---- difference.c: where two runs part ---- */

/* On which inputs, for errors. */
const char *ifd_trial_text(ifd_verifier *v, const ifd_trial *t);
/* DIFFERS, naming the element of the output and, as far as that can be found out, the first value inside. */
ifd_status ifd_verifier_report(ifd_verifier *v, const ifd_trial *t, int output, const ifd_difference *d);

/* ---- noise.c: what a's own arithmetic may be off by ---- */

/* Makes v->exact; false when that cannot be had. */
bool ifd_noise_run_wide(ifd_verifier *v, const ifd_trial *trial);
/* Whether b's output, which is d from a's, is as near as a's arithmetic allows to tell; *allowed is how near
 * that is. */
bool ifd_noise_explains(ifd_verifier *v, const ifd_trial *trial, int output, const infold_value *b,
                        const ifd_difference *d, double *allowed);
/* What float outputs may differ by without asking. */
double ifd_verifier_tolerance(const ifd_verifier *v, const ifd_difference *d);

/* ---- certificate.c ---- */

/* What a certificate says of runs and outputs. */
ifd_status ifd_certificate_evidence(ifd_verifier *v, json_t **out);
/* Of a's inputs: kinds, types, shapes, elements. */
void ifd_certificate_hash_inputs(infold_value *const *inputs, int n, char text[IFD_SHA256_TEXT]);
#define IFD_CERTIFICATE_FORMAT "infold certificate 1"
/* Name, size and SHA-256 of the files of a model that was read from one, called `name`; NULL when out of
 * memory. */
json_t *ifd_certificate_files(const infold_model *model, const char *name);

/* ---- trials.c: made inputs ---- */

/* Whether a has a free dimension that is (or is not) the batch. */
bool ifd_trial_has_free(const ifd_verifier *v, bool batch);
/* Makes the inputs and runs a. */
ifd_status ifd_trial_run(ifd_verifier *v, const ifd_trial *trial, bool *ran, infold_error *e);
/* Runs a on inputs of this batch: the first kind that a runs on, which *good keeps for the next time. Where
 * it runs on none, *why says why not on the first of all. */
ifd_status ifd_trial_find(ifd_verifier *v, int64_t batch, ifd_trial *good, infold_error *why);

#endif
