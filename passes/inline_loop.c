#include "pass/ints.h"

/* A Loop of one trip is its body; one of none gives what it began with. */

enum { CARRIED = 2 /* the first input that is carried */ };

/* How many trips there are, where that is known and one at most; else -1. */
static int trips_of(ifd_rewrite *rw, const ifd_node *loop) {
  const ifd_tensor *most = ifd_rw_constant(rw, ifd_node_input(loop, 0)),
                   *condition = ifd_rw_constant(rw, ifd_node_input(loop, 1));
  if ((most && ifd_tensor_count(most) != 1) || (condition && ifd_tensor_count(condition) != 1)) return -1;
  bool begins = condition ? ifd_tensor_get_i64(condition, 0) != 0 : !ifd_node_has_input(loop, 1);
  int64_t n = most ? ifd_tensor_get_i64(most, 0) : 2;
  if ((condition && !begins) || n <= 0) return 0;
  return begins && n == 1 ? 1 : -1;
}

/* What the body reads on its only trip: 0, true, and what the Loop begins with. */
static ifd_status add_inputs(ifd_rewrite *rw, const ifd_node *loop, ifd_value **inputs) {
  TRY(ifd_rw_add_scalar(rw, &inputs[0], IFD_INT64, 0, "iteration"));
  inputs[1] = loop->inputs[1];
  if (!inputs[1]) TRY(ifd_rw_add_scalar(rw, &inputs[1], IFD_BOOL, 1, "condition"));
  for (int i = CARRIED; i < loop->n_inputs; i++) inputs[i] = loop->inputs[i];
  return IFD_OK;
}

/* Scan outputs are the trips' values along a new first axis. */
static ifd_status stack_scans(ifd_rewrite *rw, ifd_node *loop, ifd_value **made) {
  for (int i = loop->n_inputs - CARRIED; i < loop->n_outputs; i++) {
    ifd_node *unsqueeze;
    if (!loop->outputs[i]) continue;
    TRY(ifd_ints_add_node(rw, &unsqueeze, "Unsqueeze", made[i], "axes", (int64_t[]){0}, 1, 1));
    made[i] = unsqueeze->outputs[0];
  }
  return ifd_rw_place(rw, loop);
}

static ifd_status run_once(ifd_rewrite *rw, ifd_node *loop, const ifd_graph *body) {
  ifd_value **inputs, **made;
  ALLOC(ifd_rw_error(rw), inputs, ifd_new_array(ifd_rw_scratch(rw), ifd_value *, body->inputs.n));
  ALLOC(ifd_rw_error(rw), made, ifd_new_array(ifd_rw_scratch(rw), ifd_value *, body->outputs.n));
  TRY(add_inputs(rw, loop, inputs));
  TRY(ifd_rw_place(rw, loop));
  TRY(ifd_rw_copy_body(rw, body, inputs, made, loop));
  TRY(stack_scans(rw, loop, made + 1)); /* behind the condition for a next trip */
  return ifd_rw_supplant(rw, loop, made + 1);
}

static ifd_status skip(ifd_rewrite *rw, ifd_node *loop) {
  for (int i = loop->n_inputs - CARRIED; i < loop->n_outputs; i++)
    if (loop->outputs[i] && ifd_value_n_readers(loop->outputs[i]))
      return ifd_rw_refuse(rw, "it has no trip, and what it would stack up is read");
  for (int i = 0; i < loop->n_inputs - CARRIED && i < loop->n_outputs; i++)
    if (loop->outputs[i]) TRY(ifd_rw_replace(rw, loop->outputs[i], loop->inputs[i + CARRIED]));
  return IFD_OK;
}

static ifd_status inline_loop(ifd_rewrite *rw, ifd_node *loop) {
  const ifd_graph *body = ifd_node_graph(loop, "body");
  int trips = trips_of(rw, loop);
  if (!body || loop->n_inputs < CARRIED || body->inputs.n != loop->n_inputs ||
      body->outputs.n <= loop->n_outputs)
    return IFD_OK;
  if (trips < 0) return ifd_rw_refuse(rw, "it is not known to have one trip, or none");
  return trips ? run_once(rw, loop, body) : skip(rw, loop);
}

const ifd_pass ifd_pass_inline_loop = {
    .summary = "puts the body of a Loop of one trip in its place, and drops one of none",
    .phase = IFD_PHASE_SIMPLIFY,
    .rules = (const ifd_rule[]){{"Loop", IFD_EXACT, inline_loop}, {0}},
};
