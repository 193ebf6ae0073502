#include "verify/verify.h"

/* Inner values that are compared at once. */
enum { CHUNK = 32 };

static const char *place_text(ifd_verifier *v, const ifd_value *value, const ifd_difference *d,
                              const ifd_datum *datum) {
  const ifd_datum *t = d->item >= 0 && datum->list ? &datum->list->items[d->item] : datum;
  const char *text = d->item >= 0 ? ifd_arena_printf(&v->arena, "'%s' item %d [", value->name, d->item)
                                  : ifd_arena_printf(&v->arena, "'%s' [", value->name);
  int64_t rest = d->at, span = ifd_shape_count(&t->tensor.shape);
  for (int i = 0; text && i < t->tensor.shape.rank && span; i++) {
    span /= t->tensor.shape.dim[i];
    text = ifd_arena_printf(&v->arena, "%s%s%lld", text, i ? "," : "", (long long)(rest / span));
    rest %= span;
  }
  text = text ? ifd_arena_printf(&v->arena, "%s]", text) : NULL;
  return text ? text : value->name;
}

/* ---- the first value that differs ---- */

typedef IFD_VEC(const ifd_value *) shared_values;

/* Tensors that nodes of both main graphs make under one name, in a's order. */
static ifd_status find_shared(ifd_verifier *v, shared_values *out) {
  const ifd_graph *b = v->b->ir->graph;
  IFD_EACH_NODE(node, v->a->ir->graph)
  for (int i = 0; i < node->n_outputs; i++) {
    const ifd_value *x = node->outputs[i], *y = x ? ifd_graph_find_value(b, x->name) : NULL;
    if (!y || !y->producer || x->n_outputs || x->type->kind != IFD_KIND_TENSOR) continue;
    IFD_PUSH(v->err, &v->arena, out, x);
  }
  return IFD_OK;
}

/* A copy of the model whose outputs are some of its inner values. */
static ifd_status expose(ifd_verifier *v, infold_session **out, const infold_model *model,
                         const ifd_value *const *values, int n) {
  infold_model *copy;
  ifd_budget limited = ifd_api_limited(v->options->max_memory);
  TRY(ifd_api_clone(v->err, &copy, model, &limited));
  ifd_graph *g = copy->ir->graph;
  for (int i = 0; i < g->outputs.n; i++) g->outputs.v[i]->n_outputs--;
  g->outputs.n = 0;
  ifd_status status = IFD_OK;
  for (int i = 0; i < n && status == IFD_OK; i++)
    status = ifd_graph_add_output(v->err, g, ifd_graph_find_value(g, values[i]->name));
  if (status == IFD_OK) status = ifd_verifier_open(v, out, copy, false);
  infold_destroy_model(copy);
  return status;
}

/* The first of n values that differs, or -1. */
static int search_values(ifd_verifier *v, const ifd_trial *t, const ifd_value *const *values, int n,
                         ifd_difference *d) {
  infold_session *a = NULL, *b = NULL;
  infold_value *of_a[CHUNK] = {0}, *of_b[CHUNK] = {0};
  infold_error e;
  int found = -1;
  if (expose(v, &a, v->a, values, n) == IFD_OK && expose(v, &b, v->b, values, n) == IFD_OK &&
      ifd_verifier_run(v, a, t->inputs, of_a, &e) == IFD_OK &&
      ifd_verifier_run(v, b, t->inputs, of_b, &e) == IFD_OK)
    for (int i = 0; i < n && found < 0; i++) {
      ifd_compare(&of_a[i]->datum, &of_b[i]->datum, false, d);
      if (!d->same_form || d->worst > ifd_verifier_tolerance(v, d)) found = i;
    }
  ifd_api_drop_values(of_a, n);
  ifd_api_drop_values(of_b, n);
  infold_destroy_session(a);
  infold_destroy_session(b);
  return found;
}

/* Says where the two part, as far as that can be found out. */
static const char *first_difference(ifd_verifier *v, const ifd_trial *t) {
  shared_values shared = {0};
  ifd_error *kept = v->err, ignored = {0};
  ifd_difference d;
  const char *text = "no inner value that both have differs";
  v->err = &ignored;
  if (find_shared(v, &shared) != IFD_OK || !shared.n) text = "the models share no inner values";
  for (int i = 0; i < shared.n; i += CHUNK) {
    int n = shared.n - i < CHUNK ? shared.n - i : CHUNK;
    int found = search_values(v, t, &shared.v[i], n, &d);
    if (ignored.code != IFD_OK) text = "inner values could not be compared";
    if (found < 0) continue;
    const ifd_value *x = shared.v[i + found];
    text = ifd_arena_printf(&v->arena, "the first value that differs is '%s' of node '%s' (%s), by %g",
                            x->name, x->producer->name, x->producer->op_type, d.worst);
    break;
  }
  v->err = kept;
  return text ? text : "out of memory";
}

const char *ifd_trial_text(ifd_verifier *v, const ifd_trial *t) {
  const char *text = t->batch && ifd_trial_has_free(v, true)
                         ? ifd_arena_printf(&v->arena, "%s inputs, batch %lld", t->how, (long long)t->batch)
                         : ifd_arena_printf(&v->arena, "%s inputs", t->how);
  return text ? text : t->how;
}

ifd_status ifd_verifier_report(ifd_verifier *v, const ifd_trial *t, int output, const ifd_difference *d) {
  const ifd_value *value = v->a->ir->graph->outputs.v[output];
  if (!d->same_form)
    FAIL(v->err, DIFFERS, "output '%s' (%s): %s differ; %s", value->name, ifd_trial_text(v, t), d->form,
         first_difference(v, t));
  FAIL(v->err, DIFFERS, "output %s (%s): %g against %g, where the largest value is %g; %s",
       place_text(v, value, d, &t->outputs[output]->datum), ifd_trial_text(v, t), d->a, d->b, d->scale,
       first_difference(v, t));
}
