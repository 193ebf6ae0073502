#include "inspect/doctor.h"

#include "inspect/survey.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *const ifd_bn_names[IFD_BN_N] = {"scale", "B", "mean", "var"};

const char *ifd_severity_text(ifd_severity severity) {
  static const char *const texts[] = {"note", "warning", "error"};
  return texts[severity];
}

/* ---- where a node stands ---- */

enum { MAX_VISITS = 100000 }; /* graphs entered: functions that call functions may double without end */

/* A graph being visited: the body of a function as one call sees it, or any other graph. */
typedef struct scope {
  const struct scope *outer;
  const ifd_graph *body; /* of the function, or the main graph */
  const ifd_node *call;  /* NULL: the main graph */
  const char *prefix;    /* "call/" of the calls around, "" */
} scope;

typedef struct gathering {
  ifd_doctor *doctor;
  int n_visits;
} gathering;

/* The value that an input of a function's body is, as this call gives it. */
static const ifd_value *given(const scope **at, const ifd_value *v) {
  while (v && (*at)->call && v->is_input && v->graph == (*at)->body) {
    int i = 0;
    while (i < v->graph->inputs.n && v->graph->inputs.v[i] != v) i++;
    v = ifd_node_input((*at)->call, i);
    *at = (*at)->outer;
  }
  return v;
}

/* An attribute as this call gives it: a reference to a parameter of the function is looked up. */
static const ifd_attr *find_attr(const scope *at, const ifd_node *node, const char *name) {
  const ifd_attr *a = ifd_node_find_attr(node, name);
  while (a && a->ref && at && at->call) {
    const char *parameter = a->ref;
    const ifd_function *f = at->body->function;
    a = ifd_node_find_attr(at->call, parameter);
    for (int i = 0; !a && f && i < f->n_defaults; i++)
      if (strcmp(f->defaults[i].name, parameter) == 0) a = &f->defaults[i];
    at = at->outer;
  }
  return a && !a->ref ? a : NULL;
}

static int64_t int_attr(const scope *at, const ifd_node *node, const char *name) {
  const ifd_attr *a = find_attr(at, node, name);
  return a && a->type == IFD_ATTR_INT ? a->i : 0;
}

static double float_attr(const scope *at, const ifd_node *node, const char *name, float otherwise) {
  const ifd_attr *a = find_attr(at, node, name);
  return a && a->type == IFD_ATTR_FLOAT ? a->f : otherwise;
}

/* ---- one layer ---- */

/* The mode by the rules of the version: is_test before 7, the number of outputs before 14, training_mode. */
static ifd_status find_mode(ifd_doctor *d, const scope *at, ifd_bn_layer *l) {
  const ifd_node *node = l->node;
  int n_outputs = 0;
  for (int i = 0; i < node->n_outputs; i++) n_outputs += node->outputs[i] != NULL;
  l->mode = "inference";
  if (node->opset >= 14) {
    l->trains = int_attr(at, node, "training_mode") != 0;
    if (l->trains) l->mode = "training: training_mode = 1";
  } else if (node->opset >= 7) {
    l->trains = n_outputs > 1;
    if (l->trains) ALLOC(d->err, l->mode, ifd_arena_printf(d->arena, "training: %d outputs", n_outputs));
  } else {
    l->trains = int_attr(at, node, "is_test") == 0;
    if (l->trains)
      l->mode = find_attr(at, node, "is_test") ? "training: is_test = 0" : "training: is_test is not set";
  }
  return IFD_OK;
}

static int compare_doubles(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static ifd_status find_gain(ifd_doctor *d, ifd_bn_layer *l) {
  double *gain, *sorted;
  ALLOC(d->err, gain, ifd_new_array(d->arena, double, l->n));
  ALLOC(d->err, sorted, ifd_new_array(d->arena, double, l->n));
  int64_t finite = 0;
  for (int64_t c = 0; c < l->n; c++) {
    gain[c] = ifd_tensor_get_f64(l->p[IFD_BN_SCALE], c) /
              sqrt(ifd_tensor_get_f64(l->p[IFD_BN_VAR], c) + l->epsilon);
    if (isfinite(gain[c])) sorted[finite++] = fabs(gain[c]);
  }
  if (finite) qsort(sorted, (size_t)finite, sizeof *sorted, compare_doubles);
  l->median_gain = finite ? sorted[finite / 2] : NAN;
  l->gain = gain;
  return IFD_OK;
}

/* The axis of a linear operator's weight that runs along its output channels; -1 for other nodes. */
static int output_axis(const ifd_node *node) {
  if (ifd_node_is(node, "Conv")) return 0;
  if (ifd_node_is(node, "ConvTranspose")) return ifd_node_int(node, "group", 1) == 1 ? 1 : -1;
  if (ifd_node_is(node, "Gemm")) return ifd_node_int(node, "transB", 0) ? 0 : 1;
  return ifd_node_is(node, "MatMul") ? 1 : -1;
}

static ifd_status find_weights(ifd_doctor *d, ifd_bn_layer *l) {
  const ifd_node *node = l->x ? l->x->producer : NULL;
  int axis = node ? output_axis(node) : -1;
  const ifd_tensor *w = axis >= 0 ? ifd_norm_constant(ifd_node_input(node, 1)) : NULL;
  if (!w || w->shape.rank < 2 || w->shape.dim[axis] != l->n || !ifd_dtype_is_float(w->dtype)) return IFD_OK;
  double *most;
  int64_t inner = ifd_shape_span(&w->shape, axis + 1, w->shape.rank);
  ALLOC(d->err, most, ifd_new_array(d->arena, double, l->n));
  for (int64_t i = 0, n = w->splat ? 0 : ifd_tensor_count(w); i < n; i++)
    most[i / inner % l->n] = fmax(most[i / inner % l->n], fabs(ifd_tensor_get_f64(w, i)));
  for (int64_t c = 0; w->splat && c < l->n; c++) most[c] = fabs(ifd_tensor_get_f64(w, 0));
  l->weight = most;
  return IFD_OK;
}

/* Statistics count when all four are vectors of one length. */
static ifd_status judge_statistics(ifd_doctor *d, ifd_bn_layer *l) {
  for (int i = 0; i < IFD_BN_N; i++)
    if (!l->p[i] || !l->p[0] || ifd_tensor_count(l->p[i]) != ifd_tensor_count(l->p[0]) ||
        !ifd_dtype_is_float(l->p[i]->dtype))
      return IFD_OK;
  l->n = ifd_tensor_count(l->p[0]);
  TRY(find_gain(d, l));
  return find_weights(d, l);
}

static ifd_status find_statistics(ifd_doctor *d, const scope *at, ifd_bn_layer *l) {
  for (int i = 0; i < IFD_BN_N; i++) {
    const scope *from = at;
    l->p[i] = ifd_norm_constant(given(&from, ifd_node_input(l->node, 1 + i)));
  }
  return judge_statistics(d, l);
}

ifd_status ifd_doctor_complete(ifd_doctor *d, ifd_bn_layer *l, const ifd_node *node) {
  for (int i = 0; i < IFD_BN_N; i++)
    if (!l->p[i]) l->p[i] = ifd_norm_constant(ifd_node_input(node, 1 + i));
  return judge_statistics(d, l);
}

/* ---- training modes that are meant ---- */

static bool makes_a_view(const ifd_value *v) {
  static const char *const views[] = {"Reshape", "Identity", "Cast", "Flatten", "Unsqueeze", "Transpose"};
  for (size_t i = 0; i < sizeof views / sizeof *views; i++)
    if (v->producer && ifd_node_is(v->producer, views[i])) return true;
  return false;
}

static void find_intention(ifd_bn_layer *l) {
  const ifd_value *v = l->x;
  for (int steps = 0; steps < 8 && v && makes_a_view(v); steps++) v = ifd_node_input(v->producer, 0);
  l->of_weights = v && ifd_norm_constant(v);
  l->of_instances = !l->of_weights && l->rank >= 3 && l->x->type->dims[0] == 1 && l->x->producer &&
                    ifd_node_is(l->x->producer, "Reshape");
}

static ifd_status find_place(ifd_doctor *d, const ifd_node *node, const char **out) {
  const ifd_graph *g = node->graph;
  *out = "";
  if (g->owner) {
    const char *branch = "a subgraph";
    for (int i = 0; i < g->owner->n_attrs; i++) {
      ifd_graph *const *graphs;
      for (int k = 0, n = ifd_attr_graphs(&g->owner->attrs[i], &graphs); k < n; k++)
        if (graphs[k] == g) branch = g->owner->attrs[i].name;
    }
    ALLOC(d->err, *out,
          ifd_arena_printf(d->arena, "in %s of %s '%s'", branch, g->owner->op_type,
                           ifd_survey_node_name(g->owner)));
  } else if (g->function)
    ALLOC(d->err, *out, ifd_arena_printf(d->arena, "in function %s", g->function->name));
  return IFD_OK;
}

static ifd_status add_layer(ifd_doctor *d, const scope *at, const ifd_node *node, const ifd_norm *norm) {
  ifd_bn_layer l = {.node = node, .written_out = norm->written_out, .rank = -1};
  const scope *from = at;
  ALLOC(d->err, l.name, ifd_arena_printf(d->arena, "%s%s", at->prefix, ifd_survey_node_name(node)));
  TRY(find_place(d, node, &l.place));
  l.x = given(&from, norm->x);
  if (!l.x) l.x = norm->x;
  if (l.x->type->kind == IFD_KIND_TENSOR && l.x->type->has_rank) l.rank = l.x->type->rank;
  l.epsilon = float_attr(at, node, "epsilon", 1e-5f);
  l.momentum = float_attr(at, node, "momentum", 0.9f);
  l.mode = "written out";
  if (!l.written_out) TRY(find_mode(d, at, &l));
  l.of_batch = norm->statistics == IFD_NORM_OF_BATCH && !l.trains;
  if (l.of_batch && !l.written_out) l.mode = "of the batch";
  if (!l.written_out) TRY(find_statistics(d, at, &l));
  find_intention(&l);
  IFD_PUSH(d->err, d->arena, &d->layers, l);
  return IFD_OK;
}

/* ---- all of them ---- */

static ifd_status visit_graph(gathering *g, const scope *at, const ifd_graph *graph);

static ifd_status visit_call(gathering *g, const scope *at, const ifd_node *node, const ifd_function *f) {
  scope inner = {.outer = at, .body = f->body, .call = node};
  for (const scope *s = at; s; s = s->outer)
    EXPECT(g->doctor->err, s->body != f->body, BAD_MODEL, "function %s calls itself", f->name);
  ALLOC(g->doctor->err, inner.prefix,
        ifd_arena_printf(g->doctor->arena, "%s%s/", at->prefix, ifd_survey_node_name(node)));
  return visit_graph(g, &inner, f->body);
}

static ifd_status visit_node(gathering *g, const scope *at, const ifd_node *node) {
  const ifd_function *f =
      ifd_model_find_function(g->doctor->model, node->domain, node->op_type, node->overload);
  ifd_norm norm;
  if (f) return visit_call(g, at, node, f);
  TRY(ifd_norm_of(g->doctor->err, g->doctor->arena, node, &norm));
  if (norm.label && strcmp(norm.label, "BatchNormalization") == 0) TRY(add_layer(g->doctor, at, node, &norm));
  for (int i = 0; i < node->n_attrs; i++) {
    ifd_graph *const *graphs;
    for (int k = 0, n = ifd_attr_graphs(&node->attrs[i], &graphs); k < n; k++)
      TRY(visit_graph(g, at, graphs[k]));
  }
  return IFD_OK;
}

static ifd_status visit_graph(gathering *g, const scope *at, const ifd_graph *graph) {
  EXPECT(g->doctor->err, ++g->n_visits <= MAX_VISITS, LIMIT, "functions are called more than %d times",
         MAX_VISITS);
  IFD_EACH_NODE(node, graph) TRY(visit_node(g, at, node));
  return IFD_OK;
}

ifd_status ifd_doctor_gather(ifd_error *err, ifd_doctor **out, const ifd_model *model, ifd_arena *arena) {
  ifd_doctor *d;
  ALLOC(err, d, ifd_new(arena, ifd_doctor));
  *d = (ifd_doctor){.err = err, .arena = arena, .model = model};
  ifd_map_init(&d->last_same, arena);
  ifd_map_init(&d->first_same, arena);
  gathering g = {.doctor = d};
  scope main = {.body = model->graph, .prefix = ""};
  TRY(visit_graph(&g, &main, model->graph));
  *out = d;
  return IFD_OK;
}

/* ---- examining ---- */

/* Links the newest finding to the one of the same rule and words before it. */
static ifd_status link_finding(ifd_doctor *d) {
  int index = d->findings.n - 1;
  ifd_finding *f = &d->findings.v[index];
  const char *key;
  ALLOC(d->err, key, ifd_arena_printf(d->arena, "%s: %s", f->rule->id, f->message));
  intptr_t last = (intptr_t)ifd_map_find(&d->last_same, key),
           first = (intptr_t)ifd_map_find(&d->first_same, key);
  if (last) d->findings.v[last - 1].next_same = index;
  if (!first)
    EXPECT(d->err, ifd_map_set(&d->first_same, key, (void *)(intptr_t)(index + 1)), NO_MEMORY,
           "out of memory");
  d->findings.v[first ? first - 1 : index].n_same++;
  EXPECT(d->err, ifd_map_set(&d->last_same, key, (void *)(intptr_t)(index + 1)), NO_MEMORY, "out of memory");
  return IFD_OK;
}

static ifd_status add_finding(ifd_doctor *d, ifd_finding *f, const char *message) {
  ALLOC(d->err, f->message, ifd_arena_strdup(d->arena, message));
  IFD_PUSH(d->err, d->arena, &d->findings, *f);
  d->counts[f->rule->severity]++;
  return link_finding(d);
}

/* "variance of channel 3 is -0.5", "gain of 3 of 64 channels (0, 7, 9) is 2000 to 5000" */
static ifd_status add_channels(ifd_doctor *d, ifd_finding *f, double least, double most) {
  char list[160], message[400];
  int n = 0;
  if (f->n_channels == 1)
    snprintf(message, sizeof message, "%s of channel %lld is %.6g", f->rule->quantity,
             (long long)f->channels[0], least);
  else {
    for (int i = 0; i < f->n_channels && i < IFD_SHOWN_CHANNELS; i++)
      n += snprintf(list + n, sizeof list - (size_t)n, "%s%lld", i ? ", " : "", (long long)f->channels[i]);
    n = snprintf(message, sizeof message, "%s of %lld of %lld channels (%s%s) is %.4g", f->rule->quantity,
                 (long long)f->n_channels, (long long)f->layer->n, list,
                 f->n_channels > IFD_SHOWN_CHANNELS ? " …" : "", least);
    if (most != least) snprintf(message + n, sizeof message - (size_t)n, " to %.4g", most);
  }
  return add_finding(d, f, message);
}

static ifd_status examine_channels(ifd_doctor *d, ifd_finding *f) {
  double least = INFINITY, most = -INFINITY;
  for (int64_t c = 0; c < f->layer->n; c++) {
    if (!f->rule->channel(f->layer, c)) continue;
    if (f->n_channels < IFD_SHOWN_CHANNELS) f->channels[f->n_channels] = c;
    f->n_channels++;
    least = fmin(least, f->rule->value(f->layer, c));
    most = fmax(most, f->rule->value(f->layer, c));
  }
  return f->n_channels ? add_channels(d, f, least, most) : IFD_OK;
}

static ifd_status examine_layer(ifd_doctor *d, const ifd_rule_row *rule, const ifd_bn_layer *l) {
  ifd_finding f = {.rule = rule, .layer = l};
  char message[400];
  if (rule->channel) return examine_channels(d, &f);
  return rule->layer(l, message, sizeof message) ? add_finding(d, &f, message) : IFD_OK;
}

ifd_status ifd_doctor_examine(ifd_doctor *d) {
  for (const ifd_rule_row *r = ifd_doctor_rules; r->id; r++)
    for (int i = 0; i < d->layers.n; i++) TRY(examine_layer(d, r, &d->layers.v[i]));
  return IFD_OK;
}
