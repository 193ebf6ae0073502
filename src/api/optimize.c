/* Optimizing. */
#include "api/api.h"

#include "base/os.h"
#include "pass/raise.h"
#include <jansson.h>
#include <stdlib.h>

/* ---- optimizing ---- */

/* The second run's report, with what the first one did. */
static ifd_status add_report(ifd_error *err, ifd_optimize_report *to, const ifd_optimize_report *first) {
  to->rewrites += first->rewrites;
  for (int i = 0; i < to->counts.n; i++) to->counts.v[i].rewrites += first->counts.v[i].rewrites;
  for (int i = 0; i < first->warnings.n; i++) {
    char *text;
    ALLOC(err, text, ifd_arena_strdup(&to->arena, first->warnings.v[i]));
    IFD_PUSH(err, &to->arena, &to->warnings, text);
  }
  return IFD_OK;
}

/* Some rewrites pay only together: what one adds vanishes with the next. Where growth alone stood in the way,
 * the rest is tried with a loan, and stays if that came back and nodes went. */
static ifd_status try_loan(ifd_error *err, infold_model **after, ifd_optimize_report *report,
                           ifd_optimize_options options) {
  enum { LEAST = 1 << 16 };
  ifd_optimize_report second = {0};
  ifd_error refused = {0};
  infold_model *tried;
  TRY(ifd_api_clone_to_write(err, &tried, *after));
  ifd_arena_init(&second.arena, NULL);
  options.loan = report->bytes_before + LEAST;
  ifd_status status = ifd_optimize(&refused, tried->ir, &options, &second);
  bool pays = status == IFD_OK && second.bytes <= report->bytes_before && second.nodes < report->nodes;
  if (pays) {
    infold_model *strict = *after;
    ifd_optimize_report first = *report;
    status = add_report(err, &second, &first);
    *after = tried, *report = second;
    tried = strict, second = first;
  } else if (status == IFD_LIMIT || status == IFD_NO_MEMORY) {
    status = IFD_OK;
  } else if (status != IFD_OK) {
    *err = refused;
  }
  ifd_arena_free(&second.arena);
  infold_destroy_model(tried);
  return status;
}

static ifd_status optimize(ifd_error *err, infold_model **after, infold_report *report,
                           const infold_optimize_options *o) {
  ifd_optimize_options options = {.only = o->only,
                                  .skip = o->skip,
                                  .max_rewrites = o->has_max_rewrites ? o->max_rewrites : -1,
                                  .grow = o->grow,
                                  .keep_bn = o->keep_bn,
                                  .provenance = !o->no_provenance};
  double start = ifd_now();
  TRY(ifd_optimize(err, (*after)->ir, &options, &report->passes));
  if (o->has_max_rewrites) options.max_rewrites -= report->passes.rewrites;
  if (report->passes.would_grow && options.max_rewrites) TRY(try_loan(err, after, &report->passes, options));
  report->seconds = ifd_now() - start;
  report->stopped = o->has_max_rewrites && report->passes.rewrites >= o->max_rewrites;
  return IFD_OK;
}

static ifd_status run(ifd_error *err, infold_model **out, infold_report **out_report,
                      const infold_model *model, const infold_optimize_options *options) {
  static const infold_optimize_options usual = {0};
  infold_report *report;
  infold_model *after;
  if (!options) options = &usual;
  EXPECT(err, !options->has_max_rewrites || options->max_rewrites >= 0, USAGE,
         "max_rewrites is at least 0, not %ld", options->max_rewrites);
  ALLOC(err, report, calloc(1, sizeof *report));
  ifd_arena_init(&report->passes.arena, NULL);
  ifd_arena_init(&report->untrained.arena, NULL);
  report->bn_inference = options->bn_inference;
  ifd_status status = IFD_OK;
  if (options->bn_inference)
    status = ifd_api_untrain(err, &report->before, &report->untrained, model);
  else
    report->before = ifd_api_ref(model);
  if (status == IFD_OK) status = ifd_api_clone_to_write(err, &after, report->before);
  if (status == IFD_OK) {
    report->after = after;
    if (options->raise_opset) status = ifd_raise_opset(err, after->ir, options->raise_opset);
    if (status == IFD_OK) status = optimize(err, &report->after, report, options);
    after = report->after;
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
