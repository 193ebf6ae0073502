#include "recalibrate/recalibrate.h"

#include "inspect/norm.h"
#include "inspect/survey.h"
#include <string.h>

/* ---- depths ---- */

/* Layers on the longest way to what the node reads, and whether an input of the model reaches it. */
static ifd_status look_before(ifd_recalibration *r, const ifd_node *node, int *depth, bool *is_fed) {
  r->reads.n = 0;
  *depth = 0;
  *is_fed = node->op && (node->op->flags & IFD_OP_IMPURE);
  TRY(ifd_node_add_reads(r->err, &r->arena, node, &r->reads));
  for (int i = 0; i < r->reads.n; i++) {
    const ifd_value *v = r->reads.v[i];
    if (v->graph != node->graph || ifd_value_constant(v)) continue;
    if (v->producer && r->depth_of[v->producer->id] > *depth) *depth = r->depth_of[v->producer->id];
    *is_fed |= v->producer ? r->is_fed[v->producer->id] : true;
  }
  return IFD_OK;
}

static ifd_stat_layer *layer_of(ifd_recalibration *r, const ifd_node *node) {
  for (int i = 0; i < r->layers.n; i++)
    if (r->layers.v[i].node == node) return &r->layers.v[i];
  return NULL;
}

static ifd_status find_depths(ifd_recalibration *r) {
  r->n_depths = 0;
  IFD_EACH_NODE(node, r->work->ir->graph) {
    int depth;
    bool is_fed;
    ifd_stat_layer *l = ifd_node_is(node, "BatchNormalization") ? layer_of(r, node) : NULL;
    TRY(look_before(r, node, &depth, &is_fed));
    if (l && !l->skipped) l->depth = ++depth;
    r->depth_of[node->id] = depth;
    if (depth > r->n_depths) r->n_depths = depth;
  }
  return IFD_OK;
}

/* ---- which layers there are ---- */

/* The constant behind a value, as the given model has it. */
static const ifd_value *constant_in_model(const ifd_recalibration *r, const ifd_value *v) {
  while (v && v->producer && ifd_node_is(v->producer, "Identity")) v = v->producer->inputs[0];
  const ifd_value *there = v ? ifd_map_find(&r->model->ir->graph->values, v->name) : NULL;
  return there && ifd_norm_constant(there) && (!there->producer || ifd_node_is(there->producer, "Constant"))
             ? there
             : NULL;
}

static bool has_only_one_output(const ifd_node *node) {
  for (int i = 1; i < node->n_outputs; i++)
    if (node->outputs[i] && ifd_value_n_readers(node->outputs[i])) return false;
  return true;
}

static const char *reason_to_skip(const ifd_node *bn, const ifd_value *mean, const ifd_value *var,
                                  bool is_fed) {
  const ifd_value *x = bn->inputs[0];
  const ifd_type *t = x->type;
  if (!is_fed) return "it normalizes a constant";
  if (!mean || !var) return "its statistics are no constants of the main graph";
  if (!has_only_one_output(bn)) return "its new running statistics are read: the model is for training";
  if (ifd_op_mixes_batch(bn) && t->has_rank && t->rank > 2 && t->dims[0] == 1 && x->producer &&
      ifd_node_is(x->producer, "Reshape"))
    return "it normalizes each sample by itself, behind a Reshape to a batch of 1";
  if (ifd_tensor_count(ifd_norm_constant(mean)) != ifd_tensor_count(ifd_norm_constant(var)))
    return "mean and variance differ in length";
  return NULL;
}

static ifd_status add_layer(ifd_recalibration *r, ifd_node *bn) {
  ifd_stat_layer l = {.node = bn, .twin = r->layers.n};
  const ifd_value *mean = constant_in_model(r, bn->inputs[3]), *var = constant_in_model(r, bn->inputs[4]);
  ALLOC(r->err, l.name, ifd_arena_strdup(&r->arena, ifd_survey_node_name(bn)));
  const ifd_node *before = bn->inputs[0]->producer;
  bool is_fed = before ? r->is_fed[before->id] : !ifd_value_constant(bn->inputs[0]);
  l.skipped = reason_to_skip(bn, mean, var, is_fed);
  if (!l.skipped) {
    l.mean = mean->name;
    l.var = var->name;
    l.n = ifd_tensor_count(ifd_norm_constant(mean));
    ALLOC(r->err, l.moments, ifd_new_array(&r->arena, ifd_moments, l.n));
    ALLOC(r->err, l.new_mean, ifd_new_array(&r->arena, double, l.n));
    ALLOC(r->err, l.new_var, ifd_new_array(&r->arena, double, l.n));
  }
  IFD_PUSH(r->err, &r->arena, &r->layers, l);
  return IFD_OK;
}

/* Layers inside of subgraphs cannot be measured: what runs there is for the model to decide. */
static ifd_status add_inner(ifd_graph *graph, void *context) {
  ifd_recalibration *r = context;
  if (!graph->outer) return IFD_OK;
  IFD_EACH_NODE(node, graph) {
    ifd_stat_layer l = {.node = node, .twin = r->layers.n, .skipped = "it stands in a subgraph"};
    if (!ifd_node_is(node, "BatchNormalization")) continue;
    ALLOC(r->err, l.name, ifd_arena_strdup(&r->arena, ifd_survey_node_name(node)));
    IFD_PUSH(r->err, &r->arena, &r->layers, l);
  }
  return IFD_OK;
}

static ifd_status add_layers(ifd_recalibration *r) {
  IFD_EACH_NODE(node, r->work->ir->graph) {
    int depth;
    TRY(look_before(r, node, &depth, &r->is_fed[node->id]));
    if (ifd_node_is(node, "BatchNormalization") && node->n_inputs == 5) TRY(add_layer(r, node));
  }
  return ifd_graph_visit(r->work->ir->graph, add_inner, r);
}

/* ---- layers that share their statistics ---- */

static bool same_parameters(const ifd_stat_layer *a, const ifd_stat_layer *b) {
  return a->node->inputs[1] == b->node->inputs[1] && a->node->inputs[2] == b->node->inputs[2];
}

/* A layer that is used twice has one set of statistics, of both uses. Different layers that read one constant
 * (as exporters and optimizers merge equal ones) get their own. */
static void find_twins(ifd_recalibration *r) {
  for (int i = 0; i < r->layers.n; i++) {
    ifd_stat_layer *l = &r->layers.v[i];
    for (int k = 0; k < i && !l->skipped; k++) {
      ifd_stat_layer *first = &r->layers.v[k];
      if (first->skipped) continue;
      bool mean = strcmp(first->mean, l->mean) == 0, var = strcmp(first->var, l->var) == 0;
      if (mean && var && same_parameters(first, l) && l->twin == i)
        l->twin = first->twin;
      else if (mean || var)
        l->shares = first->shares = true;
    }
  }
}

/* A layer that gets constants of its own must be a node of the given model's main graph. */
static void skip_inner_sharers(ifd_recalibration *r) {
  for (int i = 0; i < r->layers.n; i++) {
    ifd_stat_layer *l = &r->layers.v[i];
    if (l->skipped || !l->shares) continue;
    const ifd_value *y = ifd_map_find(&r->model->ir->graph->values, l->node->outputs[0]->name);
    if (!y || !y->producer || !ifd_node_is(y->producer, "BatchNormalization"))
      l->skipped = "several calls of its function share the statistics";
  }
}

/* Uses of one layer at different depths: the statistics would have to come before themselves. */
static void skip_deep_twins(ifd_recalibration *r) {
  for (int i = 0; i < r->layers.n; i++) {
    ifd_stat_layer *l = &r->layers.v[i], *first = &r->layers.v[l->twin];
    if (!l->skipped && l->twin != i && l->depth != first->depth)
      l->skipped = first->skipped = "its statistics are used again behind itself";
  }
  for (int i = 0; i < r->layers.n; i++)
    if (r->layers.v[r->layers.v[i].twin].skipped)
      r->layers.v[i].skipped = r->layers.v[r->layers.v[i].twin].skipped;
}

/* ---- modes ---- */

/* Before opset 7 the mode is is_test, then the number of outputs, from 14 on training_mode. */
static ifd_status set_attributes(ifd_error *err, ifd_node *node, bool trains) {
  if (node->opset >= 14) {
    ifd_node_remove_attr(node, "training_mode");
    return trains ? ifd_node_set_int(err, node, "training_mode", 1) : IFD_OK;
  }
  return node->opset < 7 ? ifd_node_set_int(err, node, "is_test", !trains) : IFD_OK;
}

ifd_status ifd_recalibrate_set_mode(ifd_error *err, ifd_node **node, bool trains) {
  ifd_node *old = *node, *new;
  ifd_value *y = old->outputs[0];
  int n_outputs = trains && old->opset >= 7 && old->opset < 14 ? 5 : 1;
  TRY(ifd_node_new(err, &new, old->graph, "", "BatchNormalization", 5, n_outputs));
  new->name = old->name;
  for (int i = 0; i < 5; i++) TRY(ifd_node_set_input(err, new, i, old->inputs[i]));
  for (int i = 0; i < old->n_attrs; i++) TRY(ifd_node_set_attr(err, new, &old->attrs[i]));
  TRY(set_attributes(err, new, trains));
  TRY(ifd_node_set_output(err, old, 0, NULL));
  TRY(ifd_node_set_output(err, new, 0, y));
  for (int i = 1; i < n_outputs; i++) {
    ifd_value *v;
    TRY(ifd_value_new(err, &v, old->graph, NULL));
    TRY(ifd_node_set_output(err, new, i, v));
  }
  ifd_node_insert(new, old);
  ifd_node_remove(old);
  *node = new;
  return IFD_OK;
}

static ifd_status set_inference(ifd_recalibration *r) {
  for (int i = 0; i < r->layers.n; i++) {
    ifd_stat_layer *l = &r->layers.v[i];
    if (!l->skipped && ifd_op_mixes_batch(l->node)) TRY(ifd_recalibrate_set_mode(r->err, &l->node, false));
  }
  return IFD_OK;
}

ifd_status ifd_recalibrate_find_layers(ifd_recalibration *r) {
  int n_nodes = 2 * r->work->ir->n_nodes + 1; /* some get another mode, which is a new node */
  ALLOC(r->err, r->depth_of, ifd_new_array(&r->arena, int, n_nodes));
  ALLOC(r->err, r->is_fed, ifd_new_array(&r->arena, bool, n_nodes));
  TRY(add_layers(r));
  TRY(set_inference(r));
  find_twins(r);
  skip_inner_sharers(r);
  TRY(find_depths(r));
  skip_deep_twins(r);
  TRY(find_depths(r));
  for (int i = 0; i < r->layers.n; i++) r->n_left += !r->layers.v[i].skipped;
  return IFD_OK;
}
