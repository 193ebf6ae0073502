/* The doctor's findings for programs: JSON of its own, and SARIF 2.1.0 (Static Analysis Results Interchange
 * Format, OASIS Standard, 2020). */
#include "inspect/doctor.h"
#include "inspect/json.h"

#include <math.h>
#include <string.h>

/* ---- JSON ---- */

static json_t *range_json(const ifd_bn_layer *l, double (*value)(const ifd_bn_layer *l, int64_t c)) {
  double least = INFINITY, most = -INFINITY;
  for (int64_t c = 0; c < l->n; c++) {
    least = fmin(least, value(l, c));
    most = fmax(most, value(l, c));
  }
  return json_pack("{s:o, s:o}", "min", ifd_json_number(least), "max", ifd_json_number(most));
}

static double gain(const ifd_bn_layer *l, int64_t c) { return l->gain[c]; }
static double variance(const ifd_bn_layer *l, int64_t c) { return ifd_tensor_get_f64(l->p[IFD_BN_VAR], c); }
static double mean(const ifd_bn_layer *l, int64_t c) { return ifd_tensor_get_f64(l->p[IFD_BN_MEAN], c); }

static json_t *layer_json(const ifd_bn_layer *l) {
  json_t *row = json_pack("{s:o, s:o, s:s, s:b, s:b, s:i, s:o}", "name", ifd_json_text(l->name), "place",
                          ifd_json_text(l->place), "mode", l->mode, "trains", l->trains, "written_out",
                          l->written_out, "opset", l->node->opset, "optimize", ifd_json_text(l->outcome));
  if (row && l->outcome) row = ifd_json_set(row, "folds", json_boolean(l->folds));
  if (row && !l->written_out) row = ifd_json_set(row, "epsilon", json_real(l->epsilon));
  if (!row || !l->n) return row;
  row = ifd_json_set(row, "channels", json_integer(l->n));
  row = ifd_json_set(row, "gain", range_json(l, gain));
  row = ifd_json_set(row, "mean", range_json(l, mean));
  row = ifd_json_set(row, "variance", range_json(l, variance));
  return row;
}

static json_t *channels_json(const ifd_finding *f) {
  json_t *list = json_array();
  for (int i = 0; i < f->n_channels && i < IFD_SHOWN_CHANNELS; i++)
    list = ifd_json_append(list, json_integer(f->channels[i]));
  return list;
}

static json_t *finding_json(const ifd_finding *f) {
  return json_pack("{s:s, s:s, s:s, s:o, s:o, s:I, s:o, s:s}", "rule", f->rule->id, "severity",
                   ifd_severity_text(f->rule->severity), "title", f->rule->title, "layer",
                   ifd_json_text(f->layer->name), "message", ifd_json_text(f->message), "n_channels",
                   (json_int_t)f->n_channels, "channels", channels_json(f), "advice", f->rule->advice);
}

ifd_status ifd_doctor_json(const ifd_doctor *d, FILE *to, int width) {
  json_t *layers = json_array(), *findings = json_array(), *counts = json_object();
  (void)width;
  for (int i = 0; i < d->layers.n; i++) layers = ifd_json_append(layers, layer_json(&d->layers.v[i]));
  for (int i = 0; i < d->findings.n; i++)
    findings = ifd_json_append(findings, finding_json(&d->findings.v[i]));
  for (int i = 0; i < IFD_N_SEVERITIES; i++)
    counts = ifd_json_set(counts, ifd_severity_text((ifd_severity)i), json_integer(d->counts[i]));
  return ifd_json_print(
      d->err,
      json_pack("{s:o, s:o, s:o}", "batch_normalizations", layers, "findings", findings, "counts", counts),
      to);
}

/* ---- SARIF ---- */

static json_t *rule_json(const ifd_rule_row *r) {
  return json_pack("{s:s, s:{s:s}, s:{s:s}, s:{s:s}}", "id", r->id, "shortDescription", "text", r->title,
                   "help", "text", r->advice, "defaultConfiguration", "level",
                   ifd_severity_text(r->severity));
}

/* A path as a URI reference (RFC 3986): what is not unreserved or '/' is percent-encoded. */
static json_t *uri_json(ifd_arena *arena, const char *path) {
  static const char hex[] = "0123456789ABCDEF", scheme[] = "file://";
  bool absolute = *path == '/';
  char *text = ifd_arena_alloc(arena, 3 * strlen(path) + sizeof scheme), *to = text;
  if (!text) return NULL;
  if (absolute) to += strlen(strcpy(to, scheme));
  for (const unsigned char *s = (const unsigned char *)path; *s; s++) {
    bool plain = (*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z') || (*s >= '0' && *s <= '9') ||
                 strchr("-._~/", *s);
    if (plain)
      *to++ = (char)*s;
    else
      *to++ = '%', *to++ = hex[*s >> 4], *to++ = hex[*s & 15];
  }
  *to = 0;
  return json_string(text);
}

static json_t *location_json(const ifd_doctor *d, const ifd_bn_layer *l) {
  json_t *where = json_pack("{s:[{s:o, s:o, s:s}]}", "logicalLocations", "name", ifd_json_text(l->node->name),
                            "fullyQualifiedName", ifd_json_text(l->name), "kind", "element");
  if (where && d->model->path)
    where =
        ifd_json_set(where, "physicalLocation",
                     json_pack("{s:{s:o}}", "artifactLocation", "uri", uri_json(d->arena, d->model->path)));
  return where;
}

static json_t *result_json(const ifd_doctor *d, const ifd_finding *f) {
  char text[600];
  snprintf(text, sizeof text, "%s: %s", f->layer->name, f->message);
  return json_pack("{s:s, s:i, s:s, s:{s:o}, s:[o], s:{s:I, s:o}}", "ruleId", f->rule->id, "ruleIndex",
                   (int)(f->rule - ifd_doctor_rules), "level", ifd_severity_text(f->rule->severity),
                   "message", "text", ifd_json_text(text), "locations", location_json(d, f->layer),
                   "properties", "channelCount", (json_int_t)f->n_channels, "channels", channels_json(f));
}

ifd_status ifd_doctor_sarif(const ifd_doctor *d, FILE *to, int width) {
  json_t *rules = json_array(), *results = json_array();
  (void)width;
  for (const ifd_rule_row *r = ifd_doctor_rules; r->id; r++) rules = ifd_json_append(rules, rule_json(r));
  for (int i = 0; i < d->findings.n; i++)
    results = ifd_json_append(results, result_json(d, &d->findings.v[i]));
  return ifd_json_print(
      d->err,
      json_pack("{s:s, s:s, s:[{s:{s:{s:s, s:s, s:o}}, s:s, s:o}]}", "$schema",
                "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json",
                "version", "2.1.0", "runs", "tool", "driver", "name", "infold doctor", "version", IFD_VERSION,
                "rules", rules, "columnKind", "utf16CodeUnits", "results", results),
      to);
}
