#include "pass/pass.h"

/* What the body of a Loop hands on as it came, trip by trip, is what the Loop begins with. Its nodes read
 * that where it comes from, as they read other values around them, and it is carried no more. Exporters carry
 * weights so. */

enum { CARRIED = 2, MADE = 1 /* the first input, the body's first output */ };

static bool is_handed_on(const ifd_node *loop, const ifd_graph *body, int i) {
  const ifd_value *inside = body->inputs.v[CARRIED + i];
  return loop->inputs[CARRIED + i] && body->outputs.v[MADE + i] == inside && inside->n_outputs == 1;
}

/* Before opset 11 a Loop carries one value at least. */
static ifd_status capture_from(ifd_rewrite *rw, ifd_node *loop) {
  const ifd_graph *body = ifd_node_graph(loop, "body");
  int least = loop->opset < 11 ? CARRIED + 1 : CARRIED;
  if (!body || body->inputs.n != loop->n_inputs || body->outputs.n < loop->n_inputs - CARRIED + MADE)
    return IFD_OK;
  for (int i = loop->n_inputs - CARRIED - 1; i >= 0 && loop->rank >= 0 && loop->n_inputs > least; i--)
    if (is_handed_on(loop, body, i)) TRY(ifd_rw_drop_carried(rw, loop, i));
  return IFD_OK;
}

static ifd_status capture(ifd_rewrite *rw, ifd_graph *graph) {
  IFD_EACH_NODE(node, graph) if (ifd_node_is(node, "Loop")) TRY(capture_from(rw, node));
  return IFD_OK;
}

const ifd_pass ifd_pass_capture_invariant = {
    .summary = "lets the body of a Loop read values around it that it carries as they are",
    .phase = IFD_PHASE_SIMPLIFY,
    .graph = capture,
};
