/* BatchNormalization exported in training mode, put into inference mode because the caller asks for it. */
#include "api/api.h"

ifd_status ifd_api_untrain(ifd_error *err, infold_model **out, ifd_optimize_report *report,
                           const infold_model *model) {
  static const char *const passes[] = {"inline_training_bn", "untrain_bn", NULL};
  ifd_optimize_options options = {.only = passes, .max_rewrites = -1, .grow = true, .provenance = true};
  infold_model *copy;
  *out = NULL;
  TRY(ifd_api_clone(err, &copy, model, &model->budget));
  ifd_status status = ifd_optimize(err, copy->ir, &options, report);
  if (status == IFD_OK)
    *out = copy;
  else
    infold_destroy_model(copy);
  return status;
}
