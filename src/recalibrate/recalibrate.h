/* Re-estimating the running statistics of BatchNormalization: what the files recalibrate*.c share.
 *
 * Work is done on a copy with local functions written out. A layer is a BatchNormalization of its main graph
 * whose mean and variance are constants of the given model's main graph; its depth is the largest number of
 * layers on a way from the inputs to it, itself included. Layers of one depth do not depend on each other. */
#ifndef IFD_RECALIBRATE_RECALIBRATE_H
#define IFD_RECALIBRATE_RECALIBRATE_H

#include "recalibrate/calibration.h"
#include "recalibrate/moments.h"

typedef struct ifd_stat_layer {
  ifd_node *node; /* of the work model */
  const char *name;
  const char *skipped;    /* why it is left as it was; NULL: it is not */
  const char *mean, *var; /* names of the constants */
  bool shares;            /* other layers read these constants, too, and are not the same layer */
  int depth;
  int twin;             /* the first layer with the same parameters, whose statistics are one; else itself */
  int64_t n;            /* statistics of each kind */
  ifd_moments *moments; /* n, of the data */
  double *new_mean, *new_var; /* n */
} ifd_stat_layer;

typedef struct ifd_recalibration {
  ifd_error *err;
  ifd_arena arena;
  const infold_recalibrate_options *options;
  const infold_model *model;
  infold_model *work;
  ifd_calibration data;
  IFD_VEC(ifd_stat_layer) layers;
  int n_left; /* layers that are not skipped */
  int n_depths;
  int *depth_of;    /* by node id of the work model: layers on the longest way to it, itself included */
  bool *is_fed;     /* by node id: an input of the model reaches it */
  ifd_values reads; /* scratch: what a node reads */
} ifd_recalibration;

/* recalibrate_layers.c: finds the layers and their depths; the work model's are then in inference mode. */
ifd_status ifd_recalibrate_find_layers(ifd_recalibration *r);
/* The node in another mode: a new one in its place. */
ifd_status ifd_recalibrate_set_mode(ifd_error *err, ifd_node **node, bool trains);

/* Some values of the graph, for each batch of the data. Those of the start are the calibration's. */
typedef struct ifd_held {
  ifd_arena arena;
  const char **names;
  int n, n_batches;
  infold_value **values; /* [n_batches][n] */
  bool borrowed;
  size_t bytes;
} ifd_held;

/* recalibrate_run.c */
void ifd_recalibrate_tell(const ifd_recalibration *r, const char *what, int done, int total);
/* What makes the values `to` of the values `from`, by name, in the work model as it is now; lists end in
 * NULL. */
ifd_status ifd_recalibrate_open(ifd_recalibration *r, infold_session **out, const char *const *from,
                                const char *const *to);
/* With n inputs given; those behind them have defaults. */
ifd_status ifd_recalibrate_run(ifd_recalibration *r, const infold_session *s, infold_value *const *given,
                               int n, infold_value **outputs);
/* Adds the input of a layer to its n moments; BAD_INPUT when these are not finite then. */
ifd_status ifd_recalibrate_add_moments(ifd_recalibration *r, const ifd_stat_layer *l,
                                       const infold_value *value, ifd_moments *moments);
/* BAD_INPUT when a channel's n values are too few for a variance. */
ifd_status ifd_recalibrate_check_count(ifd_recalibration *r, const ifd_stat_layer *l, double n);
ifd_status ifd_held_new(ifd_recalibration *r, ifd_held *h, int n);
/* The inputs that the data gives, borrowed from the calibration. */
ifd_status ifd_held_inputs(ifd_recalibration *r, ifd_held *h);
void ifd_held_drop(ifd_held *h);

/* recalibrate_exact.c, recalibrate_train.c: fill the layers' new statistics. */
/* Of all data together, depth by depth, each layer behind the earlier ones as they now are. */
ifd_status ifd_recalibrate_exactly(ifd_recalibration *r);
/* As training does: batch by batch, every layer normalizing by the batch's own statistics. */
ifd_status ifd_recalibrate_by_batches(ifd_recalibration *r);

/* recalibrate_report.c */
ifd_status ifd_recalibrate_report(ifd_recalibration *r, char **out);

#endif
