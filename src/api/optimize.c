/* Optimizing. */
#include "api/api.h"

#include "base/os.h"
#include "pass/raise.h"
#include <jansson.h>
#include <stdlib.h>

/* ---- optimizing ---- */

static ifd_status optimize(ifd_error *err, infold_model *after, infold_report *report,
                           const infold_optimize_options *o) {
  ifd_optimize_options options = {.only = o->only,
                                  .skip = o->skip,
                                  .max_rewrites = o->has_max_rewrites ? o->max_rewrites : -1,
                                  .grow = o->grow,
                                  .verify = o->verify_patches,
                                  .keep_bn = o->keep_bn,
                                  .provenance = !o->no_provenance};
  double start = ifd_now();
  TRY(ifd_optimize(err, after->ir, &options, &report->passes));
  report->seconds = ifd_now() - start;
  report->stopped = o->has_max_rewrites && report->passes.rewrites >= o->max_rewrites;
  return IFD_OK;
}

static ifd_status run(ifd_error *err, infold_model **out, infold_report **out_report,
                      const infold_model *model, const infold_optimize_options *options) {
  static const infold_optimize_options usual = {0};
  infold_report *report;
  infold_model *after;
  ALLOC(err, report, calloc(1, sizeof *report));
  ifd_arena_init(&report->passes.arena, NULL);
  ifd_arena_init(&report->untrained.arena, NULL);
  if (!options) options = &usual;
  report->bn_inference = options->bn_inference;
  ifd_status status = IFD_OK;
  if (options->bn_inference)
    status = ifd_api_untrain(err, &report->before, &report->untrained, model);
  else
    report->before = ifd_api_ref(model);
  if (status == IFD_OK) status = ifd_api_clone_to_write(err, &after, report->before, model->budget.limit);
  if (status == IFD_OK) {
    report->after = after;
    if (options->raise_opset) status = ifd_raise_opset(err, after->ir, options->raise_opset);
    if (status == IFD_OK) status = optimize(err, after, report, options);
    status = ifd_api_name_limit(err, status, &after->budget);
  }
  if (status == IFD_OK) *out = ifd_api_ref(after);
  if (status == IFD_OK && out_report)
    *out_report = report;
  else
    infold_destroy_report(report);
  return status;
}

infold_status infold_optimize_model(infold_error *to, infold_model **out, infold_report **report,
                                    const infold_model *model, const infold_optimize_options *options) {
  IFD_API_COMPUTES;
  ifd_error err = {0};
  *out = NULL;
  if (report) *report = NULL;
  return ifd_api_report(to, &err, NULL, run(&err, out, report, model, options));
}

void infold_destroy_report(infold_report *report) {
  if (!report) return;
  ifd_arena_free(&report->passes.arena);
  ifd_arena_free(&report->untrained.arena);
  infold_destroy_model(report->before);
  infold_destroy_model(report->after);
  free(report->verified);
  json_decref(report->evidence);
  free(report);
}
