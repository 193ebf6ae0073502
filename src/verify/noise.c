/* How exact a model's own arithmetic is: what two equal models may differ by.
 *
 * Against a run in double, the first model's error is what its float32 arithmetic makes of rounding: ten
 * times that is allowed. A model that quantizes also rounds to steps: a value between two steps goes either
 * way by its last bits, seldom, and by a whole step. One run may show none of that and another one some; so
 * the model is run in double once more, on inputs that are off by 2^-17, some 100 times what rounding does
 * and less than what outputs may differ by: elements may then be as far off as they are there, and no more of
 * them. */
#include "verify/verify.h"

#include "base/os.h"
#include <math.h>

enum { NOISE = 10, PATIENCE = 4 }; /* PATIENCE: of a suspicion's own time, to that for all runs */
static const double shake = 0x1p-17;

/* Runs a in double on these inputs, once. */
static bool run_wide(ifd_verifier *v, infold_value *const *inputs, infold_value **outputs, double deadline) {
  ifd_error *kept = v->err, ignored = {0};
  infold_error e;
  if (v->n_out && outputs[0]) return true;
  v->err = &ignored;
  bool ran = !v->no_wide && (v->wide || ifd_verifier_open(v, &v->wide, v->a, true) == IFD_OK);
  if (ran) v->wide->deadline = deadline;
  ran = ran && ifd_verifier_run(v, v->wide, inputs, outputs, &e) == IFD_OK;
  v->err = kept;
  return ran;
}

bool ifd_noise_run_wide(ifd_verifier *v, const ifd_trial *t) {
  return run_wide(v, t->inputs, v->exact, v->deadline);
}

/* What looks like a difference is not called one because time is up. */
static double deadline_of_suspicion(const ifd_verifier *v) {
  return v->deadline > 0 ? ifd_now() + PATIENCE * v->options->max_seconds : 0;
}

/* ---- models that round to steps ---- */

static ifd_status find_steps(ifd_graph *graph, void *context) {
  static const char *const rounding[] = {"QuantizeLinear", "DynamicQuantizeLinear", "QLinearConv",
                                         "QLinearMatMul", "Round"};
  bool *found = context;
  IFD_EACH_NODE(node, graph)
  for (size_t i = 0; i < sizeof rounding / sizeof *rounding; i++) *found |= ifd_node_is(node, rounding[i]);
  return IFD_OK;
}

static bool rounds_to_steps(const ifd_verifier *v) {
  bool found = false;
  return ifd_graph_visit(v->a->ir->graph, find_steps, &found) == IFD_OK && found;
}

/* Each float a little more or less, in no pattern; what is no float stays. */
static ifd_status shake_input(ifd_verifier *v, infold_value **out, const infold_value *x) {
  ifd_datum d = {.kind = IFD_KIND_TENSOR};
  const ifd_tensor *from = &x->datum.tensor;
  if (x->datum.kind != IFD_KIND_TENSOR || from->dtype != IFD_FLOAT) return IFD_OK;
  TRY(ifd_tensor_create(v->err, &d.tensor, NULL, IFD_FLOAT, &from->shape));
  const float *in = from->data;
  float *to = d.tensor.data;
  for (int64_t i = 0, n = ifd_tensor_count(from); i < n; i++)
    to[i] = (float)(in[i] * (1 + (ifd_hash_mix((uint64_t)i, 1) & 1 ? shake : -shake)));
  return ifd_api_value(v->err, out, &d);
}

static bool run_shaken(ifd_verifier *v, const ifd_trial *t) {
  infold_value **inputs = ifd_new_array(&v->arena, infold_value *, v->n_in),
               **own = ifd_new_array(&v->arena, infold_value *, v->n_in);
  ifd_error *kept = v->err, ignored = {0};
  bool ran = inputs && own;
  v->err = &ignored;
  for (int i = 0; ran && i < v->n_in; i++) {
    ran = !t->inputs[i] || shake_input(v, &own[i], t->inputs[i]) == IFD_OK;
    inputs[i] = own[i] ? own[i] : t->inputs[i];
  }
  v->err = kept;
  ran = ran && run_wide(v, inputs, v->shaken, deadline_of_suspicion(v));
  ifd_api_drop_values(own, v->n_in);
  return ran;
}

/* No farther off, and not more often. */
static bool steps_explain(ifd_verifier *v, const ifd_trial *t, int output, const infold_value *b,
                          const ifd_difference *d, double *allowed) {
  const ifd_datum *exact = &v->exact[output]->datum, *shaken;
  ifd_difference steps;
  if (!run_shaken(v, t)) return false;
  shaken = &v->shaken[output]->datum;
  ifd_compare(exact, shaken, false, &steps);
  double limit = ifd_verifier_tolerance(v, d);
  *allowed = steps.worst;
  return steps.same_form && d->worst <= steps.worst &&
         ifd_count_beyond(&t->outputs[output]->datum, &b->datum, limit) <=
             ifd_count_beyond(exact, shaken, limit);
}

bool ifd_noise_explains(ifd_verifier *v, const ifd_trial *t, int output, const infold_value *b,
                        const ifd_difference *d, double *allowed) {
  ifd_difference noise;
  *allowed = NAN;
  if (!run_wide(v, t->inputs, v->exact, deadline_of_suspicion(v))) return false;
  ifd_compare(&t->outputs[output]->datum, &v->exact[output]->datum, true, &noise);
  *allowed = NOISE * noise.worst;
  if (d->worst <= *allowed) return true;
  return rounds_to_steps(v) && steps_explain(v, t, output, b, d, allowed);
}
