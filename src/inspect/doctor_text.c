/* The doctor's findings for people. */
#include "inspect/doctor.h"
#include "inspect/table.h"

#include <math.h>
#include <string.h>

enum { SHOWN_NAMES = 3 };

/* ---- layers ---- */

static const char *gain_text(const ifd_doctor *d, const ifd_bn_layer *l) {
  double least = INFINITY, most = 0;
  for (int64_t c = 0; c < l->n; c++) {
    least = fmin(least, fabs(l->gain[c]));
    most = fmax(most, fabs(l->gain[c]));
  }
  return l->n ? ifd_arena_printf(d->arena, "%.3g … %.3g", least, most) : "";
}

/* "training: 3 outputs" is told among the findings: the table has the first word. */
static const char *mode_text(const ifd_doctor *d, const ifd_bn_layer *l) {
  return ifd_arena_strndup(d->arena, l->mode, strcspn(l->mode, ":"));
}

static ifd_status print_layers(const ifd_doctor *d, FILE *to, int width) {
  static const ifd_column columns[] = {{"Layer", .flexible = true},
                                       {"Mode"},
                                       {"Channels", .right = true},
                                       {"Gain"},
                                       {"optimize", .flexible = true, .wraps = true},
                                       {0}};
  ifd_table table;
  ifd_table_init(&table, d->err, d->arena, columns);
  for (int i = 0; i < d->layers.n; i++) {
    const ifd_bn_layer *l = &d->layers.v[i];
    const char *cells[5] = {*l->place ? ifd_arena_printf(d->arena, "%s %s", l->name, l->place) : l->name,
                            mode_text(d, l), l->n ? ifd_text_count(d->arena, (double)l->n) : "",
                            gain_text(d, l), l->outcome ? l->outcome : ""};
    TRY(ifd_table_add(&table, cells));
  }
  ifd_table_print(&table, to, width);
  return IFD_OK;
}

/* ---- findings ---- */

/* "  a, b, c and 5 more: message" for the first finding of its words, nothing for the others. */
static void print_finding(const ifd_doctor *d, FILE *to, int i) {
  const ifd_finding *f = &d->findings.v[i];
  if (!f->n_same) return;
  for (int n = 0, k = i; n < SHOWN_NAMES && (k || !n); n++, k = d->findings.v[k].next_same) {
    fputs(n ? ", " : "  ", to);
    ifd_put_clean(to, d->findings.v[k].layer->name);
  }
  if (f->n_same > SHOWN_NAMES) fprintf(to, " and %d more", f->n_same - SHOWN_NAMES);
  fputs(": ", to);
  ifd_put_clean(to, f->message);
  fputc('\n', to);
}

static void print_findings(const ifd_doctor *d, FILE *to) {
  const ifd_rule_row *rule = NULL;
  for (int i = 0; i < d->findings.n; i++) {
    const ifd_finding *f = &d->findings.v[i];
    if (f->rule != rule)
      fprintf(to, "\n%s: %s [%s]\n", ifd_severity_text(f->rule->severity), f->rule->title, f->rule->id);
    rule = f->rule;
    print_finding(d, to, i);
    if (i + 1 == d->findings.n || d->findings.v[i + 1].rule != rule) fprintf(to, "  → %s\n", rule->advice);
  }
}

static void print_count(FILE *to, const char *what, int n, const char *between) {
  fprintf(to, "%d %s%s%s", n, what, n == 1 ? "" : "s", between);
}

static void print_heading(const ifd_doctor *d, FILE *to) {
  int n = d->layers.n, training = 0, written_out = 0, folds = 0;
  for (int i = 0; i < n; i++) {
    training += d->layers.v[i].trains;
    written_out += d->layers.v[i].written_out;
    folds += d->layers.v[i].folds;
  }
  fprintf(to, "%d BatchNormalization", n);
  if (training) fprintf(to, ", %d in training mode", training);
  if (written_out) fprintf(to, ", %d written out in arithmetic", written_out);
  fprintf(to, ": optimize leaves %d\n\n", n - folds);
}

ifd_status ifd_doctor_print(const ifd_doctor *d, FILE *to, int width) {
  if (!d->layers.n) {
    fputs("no BatchNormalization: none was there, or they are folded\n", to);
    return IFD_OK;
  }
  print_heading(d, to);
  TRY(print_layers(d, to, width));
  print_findings(d, to);
  fputc('\n', to);
  if (!d->findings.n)
    fputs("nothing found", to);
  else {
    print_count(to, "error", d->counts[IFD_ERROR], ", ");
    print_count(to, "warning", d->counts[IFD_WARNING], ", ");
    print_count(to, "note", d->counts[IFD_NOTE], "");
  }
  fputc('\n', to);
  return IFD_OK;
}
