/* Diagnosing a model: the doctor, and what the optimizer would do with each of its layers. */
#include "api/api.h"

#include "inspect/doctor.h"
#include "inspect/survey.h"
#include <stdlib.h>
#include <string.h>

struct infold_diagnosis {
  ifd_arena arena;
  infold_model *model;
  infold_model *folded; /* its copy with constants folded, where that was needed */
  ifd_doctor *doctor;
};

/* ---- nodes by name ---- */

/* The nodes of an optimized model: by name, and by the names of those they came from. */
typedef struct nodes_index {
  ifd_error *err;
  ifd_arena *arena;
  ifd_map itself, heirs;
} nodes_index;

static ifd_status set_once(nodes_index *x, ifd_map *map, const char *key, const ifd_node *node) {
  if (ifd_map_find(map, key)) return IFD_OK;
  EXPECT(x->err, ifd_map_set(map, key, (void *)node), NO_MEMORY, "out of memory");
  return IFD_OK;
}

static ifd_status add_origins(nodes_index *x, const ifd_node *node) {
  char *names, *save;
  ALLOC(x->err, names, ifd_arena_strdup(x->arena, node->provenance));
  for (char *name = strtok_r(names, ",", &save); name; name = strtok_r(NULL, ",", &save))
    TRY(set_once(x, &x->heirs, name, node));
  return IFD_OK;
}

static ifd_status index_graph(ifd_graph *graph, void *context) {
  nodes_index *x = context;
  IFD_EACH_NODE(node, graph) {
    TRY(set_once(x, &x->itself, ifd_survey_node_name(node), node));
    if (node->provenance) TRY(add_origins(x, node));
  }
  return IFD_OK;
}

static ifd_status index_model(nodes_index *x, ifd_error *err, ifd_arena *arena, const infold_model *model) {
  *x = (nodes_index){.err = err, .arena = arena};
  ifd_map_init(&x->itself, arena);
  ifd_map_init(&x->heirs, arena);
  TRY(ifd_graph_visit(model->ir->graph, index_graph, x));
  for (int i = 0; i < model->ir->functions.n; i++)
    TRY(ifd_graph_visit(model->ir->functions.v[i]->body, index_graph, x));
  return IFD_OK;
}

static const ifd_node *find_bn(const nodes_index *x, const char *name) {
  const ifd_node *node = ifd_map_find(&x->itself, name);
  return node && ifd_node_is(node, "BatchNormalization") ? node : NULL;
}

/* ---- what the optimizer does ---- */

typedef struct outcomes {
  ifd_error *err;
  ifd_doctor *doctor;
  nodes_index after;
  ifd_map refusals, not_untrained; /* by node: why */
} outcomes;

static ifd_status index_refusals(outcomes *o, ifd_map *map, const ifd_optimize_report *report) {
  ifd_map_init(map, o->after.arena);
  for (int i = 0; i < report->refusals.n; i++) {
    const ifd_refusal *r = &report->refusals.v[i];
    if (!ifd_map_find(map, r->node))
      EXPECT(o->err, ifd_map_set(map, r->node, (void *)r->reason), NO_MEMORY, "out of memory");
  }
  return IFD_OK;
}

/* What took the node in: the node made of it, or of those that read it alone, one behind the other. */
static const ifd_node *heir_of(const outcomes *o, const ifd_node *node) {
  enum { FAR = 16 };
  for (int steps = 0; node && node->outputs[0] && steps < FAR; steps++) {
    const char *name = ifd_survey_node_name(node);
    const ifd_node *heir = ifd_map_find(&o->after.heirs, name);
    if (!heir && steps) heir = ifd_map_find(&o->after.itself, name);
    if (heir) return heir;
    node = ifd_value_only_reader(node->outputs[0]);
  }
  return NULL;
}

/* Whether each call of a local function gives the layer other parameters. */
static bool is_given_parameters(const ifd_node *bn) {
  for (int i = 1; bn->graph->function && i < bn->n_inputs; i++)
    if (bn->inputs[i] && bn->inputs[i]->is_input) return true;
  return false;
}

static ifd_status describe_stay(outcomes *o, ifd_bn_layer *l, const char *name) {
  const char *why = ifd_map_find(&o->refusals, name);
  if (is_given_parameters(l->node))
    why = "its parameters are inputs of the local function, which stays whole";
  const char *left = ifd_map_find(&o->not_untrained, name);
  const char *repair = !l->trains ? ""
                       : left     ? "; --bn-inference leaves it: "
                                  : "; --bn-inference repairs it";
  ALLOC(o->err, l->outcome,
        ifd_arena_printf(o->doctor->arena, "stays%s%s%s%s", why ? ": " : "", why ? why : "", repair,
                         l->trains && left ? left : ""));
  return IFD_OK;
}

static ifd_status describe_outcome(outcomes *o, ifd_bn_layer *l) {
  const char *name = ifd_survey_node_name(l->node);
  l->folds = !find_bn(&o->after, name);
  if (!l->folds) return describe_stay(o, l, name);
  const ifd_node *heir = l->of_weights ? NULL : heir_of(o, l->node);
  l->outcome = "becomes constants";
  if (heir)
    ALLOC(o->err, l->outcome,
          ifd_arena_printf(o->doctor->arena, "goes into %s '%s'", heir->op_type, ifd_survey_node_name(heir)));
  return IFD_OK;
}

static ifd_status find_outcomes(outcomes *o, const infold_model *optimized, ifd_arena *arena,
                                const ifd_optimize_report *report, const ifd_optimize_report *untrained) {
  TRY(index_model(&o->after, o->err, arena, optimized));
  TRY(index_refusals(o, &o->refusals, report));
  TRY(index_refusals(o, &o->not_untrained, untrained));
  for (int i = 0; i < o->doctor->layers.n; i++)
    if (!o->doctor->layers.v[i].written_out) TRY(describe_outcome(o, &o->doctor->layers.v[i]));
  return IFD_OK;
}

/* The optimizer itself is asked, on a copy: what it says here is what it does. */
static ifd_status ask_optimizer(ifd_error *err, ifd_doctor *doctor, const infold_model *model) {
  ifd_optimize_options options = {.max_rewrites = -1, .provenance = true};
  ifd_optimize_report report = {0}, untrained = {0};
  infold_model *copy = NULL, *repaired = NULL;
  outcomes o = {.err = err, .doctor = doctor};
  ifd_arena scratch;
  ifd_arena_init(&scratch, NULL);
  ifd_arena_init(&report.arena, NULL);
  ifd_arena_init(&untrained.arena, NULL);
  ifd_status status = ifd_api_clone(err, &copy, model, &model->budget);
  if (status == IFD_OK) status = ifd_optimize(err, copy->ir, &options, &report);
  if (status == IFD_OK) status = ifd_api_untrain(err, &repaired, &untrained, model);
  if (status == IFD_OK) status = find_outcomes(&o, copy, &scratch, &report, &untrained);
  infold_destroy_model(copy);
  infold_destroy_model(repaired);
  ifd_arena_free(&report.arena);
  ifd_arena_free(&untrained.arena);
  ifd_arena_free(&scratch);
  return status;
}

/* ---- parameters that are computed from constants ---- */

static bool is_incomplete(const ifd_bn_layer *l) {
  return !l->written_out && !(l->p[0] && l->p[1] && l->p[2] && l->p[3]);
}

static ifd_status fold(ifd_error *err, infold_model **out, const infold_model *model) {
  static const char *const passes[] = {"fold_constants", NULL};
  ifd_optimize_options options = {.only = passes, .max_rewrites = -1, .grow = true};
  ifd_optimize_report report = {0};
  ifd_arena_init(&report.arena, NULL);
  ifd_status status = ifd_api_clone(err, out, model, &model->budget);
  if (status == IFD_OK) status = ifd_optimize(err, (*out)->ir, &options, &report);
  ifd_arena_free(&report.arena);
  return status;
}

/* The copy with folded constants stays with the diagnosis. */
static ifd_status complete(ifd_error *err, infold_diagnosis *d) {
  int n_incomplete = 0;
  nodes_index folded;
  for (int i = 0; i < d->doctor->layers.n; i++) n_incomplete += is_incomplete(&d->doctor->layers.v[i]);
  if (!n_incomplete) return IFD_OK;
  TRY(fold(err, &d->folded, d->model));
  TRY(index_model(&folded, err, &d->arena, d->folded));
  for (int i = 0; i < d->doctor->layers.n; i++) {
    ifd_bn_layer *l = &d->doctor->layers.v[i];
    const ifd_node *same = is_incomplete(l) ? find_bn(&folded, ifd_survey_node_name(l->node)) : NULL;
    if (same) TRY(ifd_doctor_complete(d->doctor, l, same));
  }
  return IFD_OK;
}

/* ---- the object ---- */

static ifd_status diagnose(ifd_error *err, infold_diagnosis *d) {
  TRY(ifd_doctor_gather(err, &d->doctor, d->model->ir, &d->arena));
  TRY(complete(err, d));
  if (d->doctor->layers.n) TRY(ask_optimizer(err, d->doctor, d->model));
  return ifd_doctor_examine(d->doctor);
}

infold_status infold_diagnose_model(infold_error *to, infold_diagnosis **out, const infold_model *model) {
  IFD_API_COMPUTES;
  ifd_error err = {0};
  *out = NULL;
  infold_diagnosis *d = calloc(1, sizeof *d);
  if (!d) return ifd_api_report(to, &err, NULL, ifd_error_set(&err, IFD_NO_MEMORY, "out of memory"));
  ifd_arena_init(&d->arena, NULL);
  d->model = ifd_api_ref(model);
  ifd_status status = diagnose(&err, d);
  if (status == IFD_OK)
    *out = d;
  else
    infold_destroy_diagnosis(d);
  return ifd_api_report(to, &err, NULL, status);
}

void infold_destroy_diagnosis(infold_diagnosis *d) {
  if (!d) return;
  infold_destroy_model(d->model);
  infold_destroy_model(d->folded);
  ifd_arena_free(&d->arena);
  free(d);
}

int infold_count_findings(const infold_diagnosis *d, infold_severity severity) {
  return (int)severity < (int)IFD_N_SEVERITIES ? d->doctor->counts[severity] : 0;
}

static ifd_status format(ifd_error *err, FILE *to, const void *of, const char *name, int width) {
  const infold_diagnosis *d = of;
  static const struct {
    const char *name;
    ifd_status (*print)(const ifd_doctor *doctor, FILE *to, int width);
  } formats[] = {{"table", ifd_doctor_print}, {"json", ifd_doctor_json}, {"sarif", ifd_doctor_sarif}};
  size_t f = 0;
  while (f < 3 && strcmp(formats[f].name, name) != 0) f++;
  EXPECT(err, f < 3, USAGE, "a diagnosis is a table, json or sarif, not '%s'", name);
  return formats[f].print(d->doctor, to, width);
}

infold_status infold_format_diagnosis(infold_error *to, char **out, const infold_diagnosis *d,
                                      const char *name, int width) {
  return ifd_api_write(to, out, format, d, name, width);
}
