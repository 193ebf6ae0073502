/* BatchNormalization exported in training mode, put into inference mode because the caller asks for it. */
#include "api/api.h"

#include "inspect/table.h"
#include <string.h>

enum { SHOWN = 4 };

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

/* "'a', 'b' and 7 more" */
static void print_names(FILE *to, const char *const *names, int n) {
  for (int i = 0; i < n && i < SHOWN; i++) {
    fputs(i ? ", '" : "'", to);
    ifd_put_clean(to, names[i]);
    fputc('\'', to);
  }
  if (n > SHOWN) fprintf(to, " and %d more", n - SHOWN);
}

/* The nodes refused for the reason of refusal i, unless an earlier one had that reason. */
static int same_reason(const ifd_optimize_report *r, int i, const char **names) {
  int n = 0;
  for (int k = 0; k < r->refusals.n; k++) {
    if (strcmp(r->refusals.v[k].reason, r->refusals.v[i].reason) != 0) continue;
    if (k < i) return 0;
    if (n < SHOWN) names[n] = r->refusals.v[k].node;
    n++;
  }
  return n;
}

void ifd_api_print_untrained(const ifd_optimize_report *r, FILE *to) {
  const char *names[SHOWN];
  if (r->warnings.n || r->refusals.n) fputc('\n', to);
  if (r->warnings.n) {
    fprintf(to, "changed: %d BatchNormalization from training to inference mode, as asked: ", r->warnings.n);
    print_names(to, r->warnings.v, r->warnings.n);
    fputs("\n         a sample's result depends on its batch no longer; the models compared below are both "
          "so\n",
          to);
  }
  for (int i = 0; i < r->refusals.n; i++) {
    int n = same_reason(r, i, names);
    if (!n) continue;
    fputs("left in training mode: ", to);
    print_names(to, names, n);
    fputs(": ", to);
    ifd_put_clean(to, r->refusals.v[i].reason);
    fputc('\n', to);
  }
}
