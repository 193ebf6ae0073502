/* Data to calibrate with: a model's inputs in batches.
 *
 * An .npz archive has an array for each input, whose first dimension counts samples and is split in batches;
 * a folder has such archives, or ONNX's test data sets (folders of input_0.pb …, a batch each), or is one. */
#ifndef IFD_RECALIBRATE_CALIBRATION_H
#define IFD_RECALIBRATE_CALIBRATION_H

#include "api/api.h"

typedef struct ifd_calibration {
  ifd_error *err;
  ifd_arena arena;
  infold_session *reader; /* knows the inputs; reads, does not run */
  int n_inputs;
  IFD_VEC(infold_value **) batches; /* values by input, NULL where the default serves; owned by `values` */
  IFD_VEC(infold_value *) values;
  int64_t n_samples, n_left_out; /* left out: what does not fill a batch of the size that the model fixes */
} ifd_calibration;

/* Batches of `batch` samples where the model leaves their number free. Destroy it also on failure. */
ifd_status ifd_calibration_read(ifd_error *err, ifd_calibration *out, const infold_model *model,
                                const char *path, int64_t batch);
void ifd_calibration_destroy(ifd_calibration *calibration);

#endif
