/* The BatchNormalization doctor: every layer of a model examined by the rules of one table.
 *
 * Layers are the BatchNormalization nodes of the main graph, of subgraphs, and of local functions (once for
 * each call that reaches them, with the call's own statistics), and chains of arithmetic that scale and shift
 * each channel by constants. Gathering finds the layers; the caller may then say what the optimizer does with
 * each; examining applies the rules. A rule is a row {id, severity, title, check, advice}. Everything lives
 * in the arena; model types must be inferred. */
#ifndef IFD_INSPECT_DOCTOR_H
#define IFD_INSPECT_DOCTOR_H

#include "base/vec.h"
#include "ir/ir.h"

#include <stdio.h>

typedef enum ifd_severity { IFD_NOTE, IFD_WARNING, IFD_ERROR, IFD_N_SEVERITIES } ifd_severity;

enum { IFD_BN_SCALE, IFD_BN_B, IFD_BN_MEAN, IFD_BN_VAR, IFD_BN_N };
extern const char *const ifd_bn_names[IFD_BN_N]; /* "scale", "B", "mean", "var" */

typedef struct ifd_bn_layer {
  const ifd_node *node;
  const char *name;  /* of the node, or of its first output; "call/name" in the body of a function */
  const char *place; /* "" in the main graph, else "in then_branch of If 'x'" */
  bool written_out;  /* in arithmetic: of what follows, only of_batch, x and its rank are set */
  bool trains;
  bool of_batch;    /* in inference mode, by statistics that are computed from x itself */
  const char *mode; /* "inference", "training: 3 outputs" */
  const ifd_value *x;
  int rank; /* of x; -1: not known */
  double epsilon, momentum;
  const ifd_tensor *p[IFD_BN_N]; /* scale, B, mean, var where constant, else NULL */
  int64_t n;                     /* channels, when all four are constant and agree; else 0 */
  const double *gain;            /* scale / sqrt(var + epsilon) of each channel; NaN where that is none */
  double median_gain;            /* of magnitudes */
  const double *weight;          /* largest magnitude among the weights before each channel, or NULL */
  bool of_weights;               /* x is a constant, behind views of it: weights are standardized */
  bool of_instances;             /* x is [N,C,...] seen as [1,N*C,...]: each sample by itself */
  const char *outcome;           /* what the optimizer does with it; NULL: not asked */
  bool folds;                    /* it is gone afterwards */
} ifd_bn_layer;

typedef struct ifd_rule_row ifd_rule_row;

enum { IFD_SHOWN_CHANNELS = 8 };
typedef struct ifd_finding {
  const ifd_rule_row *rule;
  const ifd_bn_layer *layer;
  const char *message;                  /* "variance of channel 3 is -0.5" */
  int64_t n_channels;                   /* that it is about; 0: the whole layer */
  int64_t channels[IFD_SHOWN_CHANNELS]; /* the first of them */
  int n_same;                           /* findings of this rule with these words; 0: not the first of them */
  int next_same;                        /* index of the next one, 0: none */
} ifd_finding;

/* A check on a whole layer writes its message; a check on a channel only answers, and the message is made of
 * `quantity` and the values of the channels found. */
struct ifd_rule_row {
  const char *id;
  ifd_severity severity;
  const char *title;
  bool (*layer)(const ifd_bn_layer *l, char *message, size_t len);
  bool (*channel)(const ifd_bn_layer *l, int64_t c);
  double (*value)(const ifd_bn_layer *l, int64_t c);
  const char *quantity;
  const char *advice;
};
/* Ended by a row without an id. */
extern const ifd_rule_row ifd_doctor_rules[];

typedef struct ifd_doctor {
  ifd_error *err;
  ifd_arena *arena;
  const ifd_model *model;
  IFD_VEC(ifd_bn_layer) layers;
  IFD_VEC(ifd_finding) findings; /* by rule, in the table's order, then by layer */
  int counts[IFD_N_SEVERITIES];
  ifd_map last_same; /* "rule: message" -> index of its last finding + 1 */
  ifd_map first_same;
} ifd_doctor;

ifd_status ifd_doctor_gather(ifd_error *err, ifd_doctor **out, const ifd_model *model, ifd_arena *arena);
/* Parameters that are computed are those of `node`, the same BatchNormalization where constants were folded;
 * its model must live as long as the doctor. */
ifd_status ifd_doctor_complete(ifd_doctor *doctor, ifd_bn_layer *layer, const ifd_node *node);
ifd_status ifd_doctor_examine(ifd_doctor *doctor);
const char *ifd_severity_text(ifd_severity severity); /* as SARIF calls them: "error", "warning", "note" */

/* ---- reports ---- */

ifd_status ifd_doctor_print(const ifd_doctor *doctor, FILE *to, int width);
ifd_status ifd_doctor_json(const ifd_doctor *doctor, FILE *to, int width);
/* SARIF 2.1.0 (OASIS, 2020), the model's path as the artifact. */
ifd_status ifd_doctor_sarif(const ifd_doctor *doctor, FILE *to, int width);

#endif
